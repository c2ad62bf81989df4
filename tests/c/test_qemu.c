/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * QEMU: found, asked and told. Its argument vector is held against golden ones,
 * and the versions that can't be had here are scripts that answer as they did.
 */
#include "launch/qemu/qemu.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "launch/check/private.h"
#include "launch/qemu/private.h"
#include "tests/c/launch_rig.h"

#define FRONT                                                                  \
	"/q -nodefaults -no-user-config -display none -sandbox " SANDBOX_ARG " "
#define TAIL                                                                   \
	" -device virtio-rng-pci -chardev stdio,id=console -serial "           \
	"chardev:console"

static struct qemu_info info;
static char joined[16384];

static const char *join(const struct qemu_wiring *w)
{
	char **argv = qemu_argv(&c, &info, w);
	size_t len = 0;

	for (unsigned int i = 0; argv && argv[i]; i++)
		len += (size_t)snprintf(joined + len, sizeof(joined) - len,
					"%s%s", i ? " " : "", argv[i]);
	free(argv);
	return joined;
}

static void modern(void)
{
	memset(&info, 0, sizeof(info));
	strcpy(info.path, "/q");
	info.major = 7;
	info.minor = 2;
	info.machine = "q35";
	info.has_sandbox = info.has_memory_backend = true;
	info.has_vhost_user_fs = true;
}

/* ---- the vector --------------------------------------------------------- */

static void golden_disk(void)
{
	CHECK_EQ(parse("run -p 2 -m 512M -s /a,b:src,queue-size=256 "
		       "--ephemeral -f tcp:2222:22 d:1,x.img"), 0);
	modern();
	CHECK_STR(join(NULL), FRONT
		  "-machine q35,graphics=off,memory-backend="
		  "ram0 -accel tcg,thread=single -cpu max -smp 2 -m 512M "
		  "-object memory-backend-memfd,id=ram0,size=536870912,share=on"
		  " -drive if=none,id=disk0,format=raw,file=./d:1,,x.img,"
		  "snapshot=on -device virtio-blk-pci,drive=disk0,bootindex=0 "
		  "-chardev socket,id=share0,path=vmshare-src.sock -device "
		  "vhost-user-fs-pci,chardev=share0,tag=src,queue-size=256,"
		  "num-request-queues=2 -netdev user,id=net0,hostfwd="
		  "tcp:127.0.0.1:2222-:22 -device virtio-net-pci,netdev=net0,"
		  "romfile=" TAIL " -action panic=exit-failure");
}

static void golden_wired(void)
{
	struct qemu_wiring w = {
		.mem_fds = {10},
		.share_fds = {11, 12},
		.qmp_fd = 13,
		.kernel = "/boot/k",
		.initrd_fd = 14,
		.console_fd = 15,
		.credentials_fd = -1,
		.port_fds = {16, 17, 18, 19},
		.nr_ports = 4,
		.cmdline = "console=ttyS0 quiet",
	};

	CHECK_EQ(parse("run -p 1 -m 512M -s /a:src -- true"), 0);
	modern();
	info.machine = "microvm";
	info.has_pvpanic = info.has_pvpanic_pci = true;
	CHECK_STR(join(&w), FRONT
		  "-machine microvm,pcie=on,rtc=on,memory-backend="
		  "ram0 -accel tcg,thread=single -cpu max -smp 1 -m 512M "
		  "-object memory-backend-file,id=ram0,size=536870912,mem-path="
		  "/proc/self/fd/10,share=on -kernel /boot/k -initrd "
		  "/proc/self/fd/14 -append console=ttyS0 quiet -chardev "
		  "socket,id=share0,fd=11 -device vhost-user-fs-pci,chardev="
		  "share0,tag=src,queue-size=1024,num-request-queues=1 "
		  "-chardev socket,id=share1,fd=12 -device vhost-user-fs-pci,"
		  "chardev=share1,tag=vmshare-root,queue-size=1024,"
		  "num-request-queues=1 -chardev socket,id=console,fd=15 "
		  "-serial chardev:console -device virtio-serial-pci,id=ports "
		  "-chardev socket,id=port0,fd=16 -device virtserialport,bus="
		  "ports.0,chardev=port0,name=vmshare.control -chardev socket,"
		  "id=port1,fd=17 -device virtserialport,bus=ports.0,chardev="
		  "port1,name=vmshare.in -chardev socket,id=port2,fd=18 -device"
		  " virtserialport,bus=ports.0,chardev=port2,name=vmshare.out "
		  "-chardev socket,id=port3,fd=19 -device virtserialport,bus="
		  "ports.0,chardev=port3,name=vmshare.err -action "
		  "panic=exit-failure -no-reboot -chardev socket,id=qmp,fd=13 "
		  "-mon chardev=qmp,mode=control");
	info.machine = "microvm,rtc=off";
	CHECK(strstr(join(&w), "-machine microvm,rtc=off,pcie=on,memory"));
}

static void golden_numa(void)
{
	CHECK_EQ(parse("run -p 2 -m 1G --memory-type hugepages=2M --numa "
		       "cpus=0 --numa cpus=1 --net none --console none d"), 0);
	modern();
	info.kvm = true;
	CHECK_STR(join(NULL), FRONT
		  "-machine q35,graphics=off -accel kvm "
		  "-cpu host -smp 2 -m 1024M -object memory-backend-memfd,id="
		  "ram0,size=536870912,share=on,hugetlb=on,hugetlbsize=2097152,"
		  "prealloc=on -object memory-backend-memfd,id=ram1,size="
		  "536870912,share=on,hugetlb=on,hugetlbsize=2097152,prealloc="
		  "on -numa node,nodeid=0,cpus=0,memdev=ram0 -numa node,nodeid"
		  "=1,cpus=1,memdev=ram1 -drive if=none,id=disk0,format=raw,"
		  "file=d -device virtio-blk-pci,drive=disk0,bootindex=0 "
		  "-device virtio-rng-pci -serial none -action "
		  "panic=exit-failure");
}

/* Before 5.0 there was no memory-backend=, before 6.0 no -action. */
static void golden_old(void)
{
	CHECK_EQ(parse("run -p 1 -m 256M --memory-type file=/dev/shm "
		       "--kernel k --append panic=-1 --net none"
			" --initrd i --qemu-arg -s"), 0);
	modern();
	info.major = 4;
	info.has_memory_backend = info.has_sandbox = false;
	CHECK_STR(join(NULL),
		  "/q -nodefaults -no-user-config -display none "
		  "-machine q35,graphics=off -accel tcg,thread=single -cpu max"
		  " -smp 1 -m 256M -object memory-backend-file,id=ram0,size="
		  "268435456,share=on,mem-path=/dev/shm,prealloc=on -numa node"
		  ",nodeid=0,memdev=ram0 -kernel k -initrd i -append console="
		  CONSOLE " panic=-1" TAIL " -no-reboot -s");
}

static void newer_and_other(void)
{
	CHECK_EQ(parse("run --arch aarch64 --net none d"), 0);
	modern();
	info.major = 10;
	info.machine = "virt";
	info.has_pvpanic_pci = true;
	info.uefi_flash = true;
	strcpy(info.uefi_code, "/f/code");
	strcpy(info.uefi_code_format, "raw");
	strcpy(info.uefi_vars, "/f/vars");
	strcpy(info.uefi_vars_format, "qcow2");
	join(NULL);
	CHECK(strstr(joined, "-machine virt,gic-version=max,memory-backend"));
	CHECK(strstr(joined, "-accel tcg -cpu max"));
	CHECK(strstr(joined, "-device pvpanic-pci"));
	CHECK(strstr(joined, "-action panic=exit-failure") &&
	      !strstr(joined, "-no-shutdown"));
	c.dump = "core";
	join(NULL);
	CHECK(strstr(joined, "-action panic=pause -no-shutdown "
			     "-device vmcoreinfo"));
	CHECK(strstr(joined, "if=pflash,unit=0,readonly=on,format=raw,"
			     "file=/f/code "));
	CHECK(strstr(joined, "if=pflash,unit=1,snapshot=on,format=qcow2,"
			     "file=/f/vars "));
	CHECK_EQ(parse("run --arch x86_64 --share-socket /run/a,b:t d"), 0);
	CHECK(strstr(join(NULL), "socket,id=share0,path=/run/a,,b "));
}

/* What is printed is what a shell reads back, whatever is in it. */
static void quoting(void)
{
	char *argv[] = {"a",  "b c",	     "",  "it's", "x\ny", "$HOME;`ls`",
			"\\", "caf\xc3\xa9", NULL};
	char line[512], path[128], cmd[1024];
	size_t len = 0;
	FILE *out;
	int fd;

	snprintf(path, sizeof(path), "%s/printed", top);
	fflush(stdout);
	fd = dup(1);
	CHECK(freopen(path, "we", stdout));
	qemu_print(argv);
	fflush(stdout);
	dup2(fd, 1);
	close(fd);
	snprintf(cmd, sizeof(cmd),
		 "eval \"set -- $(cat %s)\"; "
		 "printf '[%%s]' \"$@\"",
		 path);
	out = popen(cmd, "re");
	len = fread(line, 1, sizeof(line) - 1, out);
	line[len] = '\0';
	CHECK_EQ(pclose(out), 0);
	CHECK_STR(line, "[a][b c][][it's][x\ny][$HOME;`ls`][\\][caf\xc3\xa9]");
}

/* ---- probing ------------------------------------------------------------ */

#define ANSWERS(version, devices)                                              \
	"#!/bin/sh\ncase $* in\n"                                              \
	"*-version*) echo 'QEMU emulator version " version "' ;;\n"            \
	"*-sandbox*) echo 'sandboxing request but seccomp is not compiled' "   \
	">&2; exit 1 ;;\n"                                                     \
	"*'-device help'*) cat <<'EOF'\n" devices "\nEOF\n;;\n"                \
	"*'-machine help'*) echo 'Supported machines are:'; "                  \
	"echo 'q35  Standard PC' ;;\nesac\n"

static bool probe(const char *name, const char *more)
{
	char line[512];

	snprintf(line, sizeof(line),
		 "run --arch x86_64 --accel tcg --qemu "
		 "%s/%s -s /tmp:t %s",
		 top, name, more);
	return !parse(line);
}

static void versions(void)
{
	unsigned int major, minor;

	CHECK_EQ(qemu_parse_version("QEMU emulator version 7.2.22 (Debian 1:7"
				    ".2+dfsg)\nCopyright",
				    &major, &minor),
		 0);
	CHECK(major == 7 && minor == 2);
	CHECK_EQ(qemu_parse_version("QEMU emulator version 10.0.2", &major,
				    &minor),
		 0);
	CHECK(major == 10 && minor == 0);
	CHECK_EQ(qemu_parse_version("cat (GNU coreutils) 9.1", &major, &minor),
		 -EINVAL);
}

static void stand_ins(void)
{
	put("old", ANSWERS("4.2.1", "name \"vhost-user-fs-pci\", bus PCI"),
	    0755);
	CHECK(probe("old", "d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), 0);
	CHECK_EQ(found.count, 1);
	CHECK(has("/old: this build has no seccomp sandbox: QEMU runs without "
		  "one"));
	CHECK(info.major == 4 && info.minor == 2 && !info.has_memory_backend);
	CHECK(!info.has_sandbox && !info.has_microvm && !info.kvm);
	CHECK(strstr(join(NULL), "-numa node,nodeid=0,memdev=ram0"));

	CHECK(probe("old", "-s /:m,ro,mount=/m d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), 0);
	CHECK(has("share 'm': QEMU 4.2 can't tell the guest of mount=/m"));

	put("older", ANSWERS("4.1.0", ""), 0755);
	CHECK(probe("older", "d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
	CHECK(has("older 4.1 is too old; 4.2 or later is needed"));

	put("bare",
	    ANSWERS("7.2.0", "name \"virtio-blk-pci\", bus PCI\n"
			     "error about vhost-user-fs-pci"),
	    0755);
	CHECK(probe("bare", "d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
	CHECK(has("bare: this build has no vhost-user-fs device"));

	put("nonsense", "#!/bin/sh\nprintf 'hello\\033[1m\\nworld'\n", 0755);
	CHECK(probe("nonsense", "d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
	CHECK(has("is not a QEMU that works: it said 'hello\\x1b[1m'"));
}

static void not_to_be_found(void)
{
	char path[128], *saved = strdup(getenv("PATH"));

	put("plain", "no program", 0644);
	CHECK(probe("plain", "d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_QEMU_NOEXEC);
	CHECK(has("/plain: is not an executable file"));
	put("binary",
	    "\x7f"
	    "ELF?",
	    0755);
	CHECK(probe("binary", "d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_QEMU_NOEXEC);
	CHECK(has("/binary: can't be executed"));
	CHECK(probe("none", "d"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_QEMU_MISSING);
	CHECK(has("/none: not found"));
	put("os-release", "NAME=x\nID=mint\nID_LIKE=\"ubuntu debian\"\n", 0644);
	snprintf(path, sizeof(path), "%s/os-release", top);
	qemu_host.os_release = path;
	CHECK_EQ(parse("run --arch x86_64 d"), 0);
	setenv("PATH", top, 1);
	qemu_probe(&c, &info, &found);
	setenv("PATH", saved, 1);
	free(saved);
	CHECK(has("qemu-system-x86_64: not found in PATH"));
	CHECK_STR(found.list[0].hint, "sudo apt install qemu-system-x86");
	CHECK_EQ(found.list[0].status, EXIT_QEMU_MISSING);
}

static void this_hosts(void)
{
	if (access("/usr/bin/qemu-system-x86_64", X_OK))
		SKIP("no QEMU here");
	CHECK_EQ(parse("run --arch x86_64 --accel tcg --qemu "
		       "qemu-system-x86_64 -s /tmp:t"), 0);
	CHECK_EQ(qemu_probe(&c, &info, &found), 0);
	CHECK(info.major >= 4 && info.has_vhost_user_fs);
	CHECK(info.has_memory_backend == (info.major >= 5));
	CHECK(info.machine);
}

/* The nearest of the distributions that it is like. */
static void packages(void)
{
	static const struct {
		const char *os_release;
		enum package what;
		const char *arch, *hint;
	} cases[] = {
		{"ID=debian\n", PACKAGE_QEMU, "x86_64",
		 "sudo apt install qemu-system-x86"},
		{"ID=debian\n", PACKAGE_QEMU, "aarch64",
		 "sudo apt install qemu-system-arm qemu-efi-aarch64"},
		{"ID=debian\n", PACKAGE_UEFI, "x86_64",
		 "sudo apt install ovmf"},
		{"ID=debian\n", PACKAGE_KERNEL, "x86_64",
		 "sudo apt install linux-image-cloud-amd64"},
		{"ID_LIKE=\"ubuntu debian\"\nID=linuxmint\n", PACKAGE_KERNEL,
		 "x86_64", "sudo apt install linux-image-generic"},
		{"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
		 PACKAGE_QEMU, "x86_64", "sudo dnf install qemu-kvm"},
		{"ID=fedora\n", PACKAGE_UEFI, "aarch64",
		 "sudo dnf install edk2-aarch64"},
		{"ID='alpine'\n", PACKAGE_KERNEL, "x86_64",
		 "sudo apk add linux-virt"},
		{"ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n",
		 PACKAGE_QEMU, "x86_64", "sudo zypper install qemu-x86"},
		{"ID=nixos\n", PACKAGE_KERNEL, "x86_64", ""},
		{"ID=plan9\n", PACKAGE_QEMU, "x86_64", ""},
		{"", PACKAGE_QEMU, "x86_64", ""},
	};
	char path[128], hint[128];

	snprintf(path, sizeof(path), "%s/os-release", top);
	qemu_host.os_release = path;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put("os-release", cases[i].os_release, 0644);
		package_hint(cases[i].what, cases[i].arch, hint, sizeof(hint));
		CHECK_STR(hint, cases[i].hint);
	}
	qemu_host.os_release = "/no/such/file";
	package_hint(PACKAGE_QEMU, "x86_64", hint, sizeof(hint));
	CHECK_STR(hint, "");
}

static void firmware(void)
{
	static const char good[] =
		"{ \"description\": \"a \\\"b\\\"\", \"interface-types\": ["
		"\"bios\", \"uefi\"], \"mapping\": { \"device\": \"flash\", "
		"\"executable\": { \"filename\": \"%s/a/code\", \"format\": "
		"\"raw\" }, \"nvram-template\": { \"filename\": \"%s/a/vars\","
		" \"format\": \"raw\" } }, \"targets\": [ { \"architecture\": "
		"\"x86_64\", \"machines\": [ \"pc-q35-*\" ] } ], \"features\": "
		"[ %s ], \"tags\": [ ] }";
	static char dirs[2][128];
	static const char *list[] = {dirs[0], dirs[1], NULL};
	char text[2048];

	for (int i = 0; i < 2; i++) {
		snprintf(dirs[i], sizeof(dirs[i]), "%s/%c", top, 'a' + i);
		mkdir(dirs[i], 0755);
	}
	qemu_host.firmware = list;
	memset(&info, 0, sizeof(info));
	CHECK_EQ(qemu_find_uefi("x86_64", "q35", &info), -ENOENT);
	put("a/code", "c", 0644);
	put("a/vars", "v", 0644);
	put("a/00-broken.json", "{ \"interface-types\": [", 0644);
	snprintf(text, sizeof(text), good, "/no", "/no", "\"secure-boot\"");
	put("a/40-secure.json", text, 0644);
	snprintf(text, sizeof(text), good, top, top, "\"acpi-s3\"");
	put("a/60.json", text, 0644);
	CHECK_EQ(qemu_find_uefi("x86_64", "q35", &info), 0);
	snprintf(text, sizeof(text), "%s/a/code", top);
	CHECK_STR(info.uefi_code, text);
	CHECK(info.uefi_flash);
	CHECK_STR(info.uefi_vars_format, "raw");
	CHECK_EQ(qemu_find_uefi("aarch64", "virt", &info), -ENOENT);
	CHECK_EQ(qemu_find_uefi("x86_64", "microvm", &info), -ENOENT);
	put("b/60.json", "", 0644); /* masks */
	CHECK_EQ(qemu_find_uefi("x86_64", "q35", &info), -ENOENT);
	CHECK(!info.uefi_code[0]);
}

static void json_values(void)
{
	static const char *const bad[] = {
		"",	    "{",   "[1,]x", "{\"a\" 1}", "\"a",
		"{\"a\":}", "[[[", "{,}",   "\"\\",
	};
	char deep[200];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(!json_valid(bad[i]));
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	CHECK(!json_valid(deep));
	CHECK(json_valid(" { \"a\" : [ ] , \"b\":[1,-2.5e3,true,null]} "));
	CHECK(!json_get("[]", "a"));
	CHECK(!json_get("{\"ab\":1}", "a"));
}

static void disk_formats(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/disk", top);
	put("disk", "QFI\xfb....", 0644);
	CHECK_STR(qemu_disk_format(path), "qcow2");
	put("disk", "KDMV", 0644);
	CHECK_STR(qemu_disk_format(path), "vmdk");
	put("disk", "QFI", 0644);
	CHECK_STR(qemu_disk_format(path), "raw");
	put("disk", "vhdxfile", 0644);
	CHECK_STR(qemu_disk_format(path), "vhdx");
}

static void conflicts(void)
{
	CHECK(qemu_arg_conflict("-m", "128"));
	CHECK(qemu_arg_conflict("--mem-path", "/x"));
	CHECK(qemu_arg_conflict("-numa", "node"));
	CHECK(qemu_arg_conflict("-machine", "q35,memory-backend=x"));
	CHECK(!qemu_arg_conflict("-machine", "usb=on"));
	CHECK(qemu_arg_conflict("-object", "memory-backend-ram,id=x"));
	CHECK(!qemu_arg_conflict("-object", "memory-backend-memfd,share=on"));
	CHECK(!qemu_arg_conflict("-object", "rng-random,id=r"));
	CHECK(!qemu_arg_conflict("-object", NULL));
	CHECK(!qemu_arg_conflict("m", "128"));
	CHECK(!qemu_arg_conflict("-mon", "chardev=x"));
}

static void credentials(void)
{
	/* printf 'src /mnt/a\\040b virtiofs ro,nofail 0 0\n' | base64 -w0 */
	static const char want[] =
		"io.systemd.credential.binary:fstab.extra="
		"c3JjIC9tbnQvYVwwNDBiIHZpcnRpb2ZzIHJvLG5vZmFpbCAwIDAK";
	char *argv[] = {"run", "-s", "/a:src,ro,mount=/mnt/a b", "-s", "/b:b",
			"d",   NULL};
	char text[256];
	ssize_t n;
	int fd;

	config_free(&c);
	CHECK_EQ(config_parse(&c, 6, argv), 0);
	fd = qemu_credentials(&c);
	CHECK(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	CHECK_EQ(n, (ssize_t)strlen(want));
	text[n] = '\0';
	CHECK_STR(text, want);
	CHECK_EQ(parse("run -s /a:src d"), 0);
	CHECK_EQ(qemu_credentials(&c), -ENOENT);
}

/* The whole domain is validated where libvirt is installed (bats). */
static void libvirt_domain(void)
{
	static const char *const wanted[] = {
		"<domain type='qemu'>",
		"<name>disk</name>",
		"<source type='memfd'/>\n    <access mode='shared'/>",
		"<cell id='1' cpus='1' memory='524288' unit='KiB' "
		"memAccess='shared'/>",
		"<type arch='x86_64' machine='q35'>hvm</type>",
		"<source file='/no/disk.img'/>",
		"<transient/>",
		"<driver type='virtiofs' queue='512'/>",
		"xattr='off'>\n        <cache mode='none'/>\n        <lock "
		"posix='on' flock='off'/>",
		"<target dir='a&amp;b&apos;'/>\n      <readonly/>",
		"<source socket='/no/s'/>",
		"<idmap>\n        <uid start='0' target='1000' count='1'/>\n"
		"        <uid start='1' target='100000' count='65536'/>\n"
		"        <gid start='0' target='100' count='1'/>\n"
		"      </idmap>\n      <source dir='/no/m'/>",
	};
	char path[128];
	size_t n;
	FILE *f;
	int fd;

	CHECK_EQ(parse("libvirt-xml --arch x86_64 -p 2 -m 1G --ephemeral "
		       "--numa cpus=0 --numa cpus=1 -s /no/x:a&b',ro,cache="
			"none,xattr=off,flock=off,queue-size=512 "
			"-s /no/m:m,uid-map=0:1000:1,uid-map=1:100000:65536"
			",gid-map=0:100:1 --share-socket /no/s:t "
			"/no/disk.img"), 0);
	modern();
	snprintf(path, sizeof(path), "%s/xml", top);
	fflush(stdout);
	fd = dup(1);
	CHECK(freopen(path, "we", stdout));
	CHECK_EQ(libvirt_print(&c, &info), 0);
	fflush(stdout);
	dup2(fd, 1);
	close(fd);
	f = fopen(path, "re");
	n = fread(joined, 1, sizeof(joined) - 1, f);
	fclose(f);
	joined[n] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (!strstr(joined, wanted[i]))
			printf("# not there: %s\n", wanted[i]);
		CHECK(strstr(joined, wanted[i]));
	}
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"golden_disk", golden_disk},
		{"golden_wired", golden_wired},
		{"golden_numa", golden_numa},
		{"golden_old", golden_old},
		{"newer_and_other", newer_and_other},
		{"quoting", quoting},
		{"versions", versions},
		{"stand_ins", stand_ins},
		{"not_to_be_found", not_to_be_found},
		{"this_hosts", this_hosts},
		{"packages", packages},
		{"firmware", firmware},
		{"json_values", json_values},
		{"disk_formats", disk_formats},
		{"conflicts", conflicts},
		{"credentials", credentials},
		{"libvirt_domain", libvirt_domain},
	};

	return rig_main(cases, ARRAY_SIZE(cases), argc, argv);
}
