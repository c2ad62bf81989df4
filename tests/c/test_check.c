/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * The preflight: what it finds on a host that the test sets up, how it says
 * so, and that it shows everything at once.
 */
#include "launch/check/check.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "launch/qemu/private.h"
#include "tests/c/launch_rig.h"

static struct qemu_info info;

static void five_things_wrong(void)
{
	char line[512];

	put("file", "x", 0644);
	put("q",
	    "#!/bin/sh\ncase $* in *-version*) echo 'QEMU emulator "
	    "version 7.2.0' ;; esac\n",
	    0755);
	snprintf(line, sizeof(line),
		 "check --arch x86_64 --accel tcg --qemu "
		 "%s/q -s %s/none:a,ro -s %s/file:b --qemu-arg -m --status-fd "
		 "99 %s/no.img",
		 top, top, top, top);
	CHECK_EQ(parse(line), 0);
	CHECK_EQ(check_run(&c, &info, &found), EXIT_REFUSED);
	CHECK(has("share 'a': "));
	CHECK(has("/none: no such directory"));
	CHECK(has("/file is a file, not a directory"));
	CHECK(has("--qemu-arg -m: contradicts --memory"));
	CHECK(has("/no.img: no such file"));
	CHECK(has("--status-fd 99: descriptor is not open"));
	CHECK(has("this build has no vhost-user-fs device"));
}

static void disk_in_use(void)
{
	struct flock lock = {.l_type = F_RDLCK,
			     .l_whence = SEEK_SET,
			     .l_start = 201,
			     .l_len = 1};
	char line[256], path[128];
	const char *hint;
	int fd;

	put_bootable("d.img");
	snprintf(path, sizeof(path), "%s/d.img", top);
	snprintf(line, sizeof(line), "check --accel tcg %s", path);
	CHECK_EQ(parse(line), 0);
	check_run(&c, NULL, &found);
	CHECK_EQ(found.count, 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK_EQ(fcntl(fd, F_OFD_SETLK, &lock), 0);
	check_run(&c, NULL, &found);
	hint = has("d.img: in use by another process");
	CHECK(hint && strstr(hint, "--ephemeral"));
	snprintf(line, sizeof(line), "check --accel tcg --read-only %s", path);
	CHECK_EQ(parse(line), 0);
	check_run(&c, NULL, &found);
	CHECK_EQ(found.count, 0);
	lock.l_start = 101;
	CHECK_EQ(fcntl(fd, F_OFD_SETLK, &lock), 0);
	check_run(&c, NULL, &found);
	CHECK(has("in use"));
	close(fd);
}

static void disk_in_share(void)
{
	char line[256];

	put_bootable("d.img");
	snprintf(line, sizeof(line), "check -s %s:t %s/d.img", top, top);
	CHECK_EQ(parse(line), 0);
	CHECK_EQ(check_run(&c, NULL, &found), 0);
	CHECK(has("share 't' contains the guest's own disk"));
	snprintf(line, sizeof(line), "check -s %s:t,ro %s/d.img", top, top);
	CHECK_EQ(parse(line), 0);
	check_run(&c, NULL, &found);
	CHECK_EQ(found.count, 0);
}

static int boots(const char *line)
{
	if (parse(line))
		return -2;
	check_run(&c, NULL, &found);
	for (unsigned int i = 0; i < found.count; i++)
		if (strstr(found.list[i].text, ": does not boot: it has no "
			   "boot sector and no partition table"))
			return found.list[i].status;
	return -1;
}

/* At @at of the file: a number, big endian. */
static void put_be64(const char *path, off_t at, uint64_t value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	value = htobe64(value);
	CHECK_EQ(pwrite(fd, &value, sizeof(value), at), sizeof(value));
	close(fd);
}

/* Refused is only what surely does not boot. */
static void raw_boots(void)
{
	put_bootable("d.img");
	CHECK_EQ(boots("check d.img"), -1);
	put("text", "a text, of more than one sector perhaps", 0644);
	CHECK_EQ(boots("check text"), EXIT_REFUSED);
	CHECK(strstr(has("text: does not boot"), "--root / text"));
	CHECK_EQ(truncate("text", 1 << 20), 0);
	CHECK_EQ(boots("check text"), EXIT_REFUSED);
	/* The second does, or something else that QEMU is told of. */
	CHECK_EQ(boots("check text d.img"), -1);
	CHECK_EQ(boots("check text --qemu-arg -cdrom --qemu-arg x.iso"), 0);
	CHECK_EQ(boots("check --kernel text text"), -1);
	CHECK_EQ(boots("check --root / text"), -1);
	CHECK_EQ(boots("check --disk-format vmdk text"), -1);
	/* A partition table of 4 KiB sectors; a CD. */
	put_be64("text", 4096, UINT64_C(0x4546492050415254));
	CHECK_EQ(boots("check text"), -1);
	put_be64("text", 4096, 0);
	put_be64("text", 32769, UINT64_C(0x4344303031010000));
	CHECK_EQ(boots("check text"), -1);
}

/* As qemu-img makes it: header, L1 at 0x30000, L2 at 0x40000. */
static void qcow2_boots(void)
{
	put("q", "QFI\xfb", 0644);
	CHECK_EQ(truncate("q", 0x60000), 0);
	put_be64("q", 4, UINT64_C(3) << 32);	/* version */
	put_be64("q", 16, 16);			/* bits of a cluster */
	put_be64("q", 40, 0x30000);
	CHECK_EQ(boots("check q"), EXIT_REFUSED);
	put_be64("q", 0x30000, UINT64_C(1) << 63 | 0x40000);
	CHECK_EQ(boots("check q"), EXIT_REFUSED);
	put_be64("q", 0x40000, UINT64_C(1) << 62 | 0x50000);
	CHECK_EQ(boots("check q"), -1);		/* compressed */
	put_be64("q", 0x40000, UINT64_C(1) << 63 | 0x50000);
	CHECK_EQ(boots("check q"), EXIT_REFUSED);
	put_be64("q", 0x50000 + 504, 0x55aa);
	CHECK_EQ(boots("check q"), -1);
	put_be64("q", 0x50000 + 504, 0);
	put_be64("q", 8, 0x200);		/* a backing file */
	CHECK_EQ(boots("check q"), -1);
	put_be64("q", 8, 0);
	put_be64("q", 72, 1 << 2);		/* an external data file */
	CHECK_EQ(boots("check q"), -1);
}

/* Who the command runs as can't be looked up on a disk. */
static void user_of_disk(void)
{
	char line[256];
	const char *hint;

	if (geteuid())
		SKIP("needs root to become somebody else");
	put_bootable("d.img");
	snprintf(line, sizeof(line), "check -u builder --kernel k -s /tmp:t "
		 "%s/d.img -- true", top);
	CHECK_EQ(parse(line), 0);
	CHECK_EQ(seteuid(1234), 0);
	check_run(&c, NULL, &found);
	CHECK_EQ(seteuid(0), 0);
	hint = has("share 't': is the guest's root's, since the ids of "
		   "'builder' on the disk are not known here");
	CHECK(hint && strstr(hint, "squash=UID:GID"));
}

static void listening(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[256];

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", top);
	CHECK_EQ(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	snprintf(line, sizeof(line), "serve -s /tmp --fd %d", sock);
	CHECK_EQ(parse(line), 0);
	check_run(&c, NULL, &found);
	CHECK(has(": is a socket that does not listen"));
	CHECK_EQ(listen(sock, 1), 0);
	CHECK_EQ(parse(line), 0);
	check_run(&c, NULL, &found);
	CHECK_EQ(found.count, 0);
	close(sock);
	CHECK_EQ(parse("serve -s /tmp --fd 98"), 0);
	check_run(&c, NULL, &found);
	CHECK(has("--fd 98: descriptor is not open"));
	CHECK_EQ(parse("serve -s /tmp --socket /no/where/s"), 0);
	check_run(&c, NULL, &found);
	CHECK(has("--socket /no/where/s: /no/where: no such directory"));
	put("f", "", 0644);
	snprintf(line, sizeof(line), "serve -s /tmp --socket %s/f", top);
	CHECK_EQ(parse(line), 0);
	check_run(&c, NULL, &found);
	CHECK(has("exists and is not a socket"));
}

static void forwards_in_use(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[128];

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_EQ(bind(sock, (struct sockaddr *)&sin, sizeof(sin)), 0);
	CHECK_EQ(listen(sock, 1), 0);
	CHECK_EQ(getsockname(sock, (struct sockaddr *)&sin, &len), 0);
	snprintf(line, sizeof(line), "check -f tcp:%u:22 %s/d.img",
		 ntohs(sin.sin_port), top);
	put_bootable("d.img");
	CHECK_EQ(parse(line), 0);
	check_run(&c, NULL, &found);
	CHECK(has("of 127.0.0.1: Address already in use"));
	close(sock);
}

static void findings_as_json(void)
{
	char path[128], text[1024];
	size_t n;
	FILE *f;
	int fd;

	CHECK_EQ(parse("check d"), 0);
	findings_add(&found, 0, "", "a \"quoted\" \\ \n%s", "\xc3\xa9");
	findings_add(&found, 127, "do", "x");
	findings_layer(&found, "s", &(struct confinement){
		.layer = "fences", .step = "no \"wood\""});
	snprintf(path, sizeof(path), "%s/json", top);
	fflush(stdout);
	fd = dup(1);
	CHECK(freopen(path, "we", stdout));
	findings_print_json(&found, &c);
	fflush(stdout);
	dup2(fd, 1);
	close(fd);
	f = fopen(path, "re");
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	/* What follows is this host's. */
	CHECK(strstr(text, ",\"kernel\":[") && json_valid(text));
	*strstr(text, ",\"kernel\":[") = '\0';
	CHECK_STR(text,
		  "{\"ok\":false,\"status\":127,\"command\":\"check\","
		  "\"findings\":[{\"level\":\"warning\",\"status\":0,\"text\":"
		  "\"a \\\"quoted\\\" \\\\ \\u000a\xc3\xa9\",\"hint\":\"\"},"
		  "{\"level\":\"error\",\"status\":127,\"text\":\"x\",\"hint\":"
		  "\"do\"}],\"confinement\":[{\"share\":\"s\",\"layer\":"
		  "\"fences\",\"on\":false,\"why\":\"no \\\"wood\\\"\"}]");
}

/* From here on this process is on a kernel without the calls from @first on. */
static bool old_kernel(unsigned int first)
{
	struct sock_filter code[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0,
		 offsetof(struct seccomp_data, nr)},
		{BPF_JMP | BPF_JGE | BPF_K, 0, 1, first},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
	};
	const struct sock_fprog prog = {ARRAY_SIZE(code), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

/* The status of check_run() on one, and what check says there. */
static int status_on(unsigned int first, char *words, size_t size)
{
	int out = memfd_create("said", MFD_CLOEXEC), status;
	ssize_t n;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(out, STDERR_FILENO);
		if (!old_kernel(first) || parse("check --accel tcg d") != 0)
			_exit(99);
		status = check_run(&c, NULL, &found);
		findings_print(&found, true);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	n = pread(out, words, size - 1, 0);
	words[n < 0 ? 0 : n] = '\0';
	close(out);
	return WEXITSTATUS(status);
}

static void kernels(void)
{
	const char *const needs =
		"can't wait for a process by its descriptor; vmshare needs "
		"Linux 5.4 or later";
	char words[4096];

	put_bootable("d");
	CHECK_EQ(chdir(top), 0);
	CHECK_EQ(status_on(434, words, sizeof(words)), EXIT_REFUSED);
	CHECK(strstr(words, needs));
	CHECK_EQ(status_on(435, words, sizeof(words)), 0);
	CHECK(!strstr(words, needs));
	CHECK(strstr(words, "no close_range() with its flag, of Linux 5.11"));
	CHECK(strstr(words, "note: this kernel, Linux "));
	CHECK(strstr(words, "has no mount_setattr(), of Linux 5.12"));
	CHECK(strstr(words, "has no faccessat2(), of Linux 5.8"));
	CHECK_EQ(status_on(443, words, sizeof(words)), 0);
	CHECK(!strstr(words, "has no mount_setattr()"));
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"five_things_wrong", five_things_wrong},
		{"disk_in_use", disk_in_use},
		{"disk_in_share", disk_in_share},
		{"raw_boots", raw_boots},
		{"qcow2_boots", qcow2_boots},
		{"user_of_disk", user_of_disk},
		{"listening", listening},
		{"forwards_in_use", forwards_in_use},
		{"findings_as_json", findings_as_json},
		{"kernels", kernels},
	};

	return rig_main(cases, ARRAY_SIZE(cases), argc, argv);
}
