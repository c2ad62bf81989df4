/* rooms: base */
/* SPDX-License-Identifier: MIT */
/*
 * Confinement and the host around it: what a share's process was given and
 * must not keep, that none of its namespaces is the host's, and that what is
 * mounted on either side stays there.
 */

#include "confine_rig.h"

#include <poll.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000
#endif

#define TMPFS 0x01021994

/* ---- what was inherited -------------------------------------------------- */

static int lavish(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_CORE, &lim))
		return -1;
	lim.rlim_cur = lim.rlim_max;
	umask(077);
	return setrlimit(RLIMIT_CORE, &lim) || dup2(STDIN_FILENO, 17) < 0 ||
	       dup2(STDIN_FILENO, 500) < 0 || dup2(STDIN_FILENO, 1000) < 0 ||
	       chdir("/tmp");
}

/* errno of running the script in the share, in a process of its own. */
static int run_errno(int dir)
{
	static const char *const words[] = { "run", NULL };
	pid_t pid = fork();
	int status;

	if (!pid) {
		syscall(SYS_execveat, dir, "run", words, words + 1, 0);
		_exit(errno);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *look_given_up(const struct fs_place *p)
{
	struct rlimit lim;

	/* root, proc, the pipe */
	EXPECT(open_descriptors() == 3);
	EXPECT(umask(0) == 0);
	EXPECT(!getrlimit(RLIMIT_CORE, &lim));
	EXPECT(lim.rlim_cur == 0 && lim.rlim_max == 0);
	/* Not merely that its interpreter is not there. */
	EXPECT(p->layers[FS_LAYER_LANDLOCK].state != FS_LAYER_ON ||
	       run_errno(p->root) == EACCES);
	EXPECT(reads(AT_FDCWD, "secret") < 0);
	return NULL;
}

static void test_given_up(void)
{
	static const enum fs_sandbox sandboxes[] = {
		FS_SANDBOX_NAMESPACE, FS_SANDBOX_CHROOT, FS_SANDBOX_NONE,
	};
	struct scene s;

	write_text(share, "run", "#!/bin/sh\n", 0755, USER);
	for (size_t i = 0; i < ARRAY_SIZE(sandboxes); i++) {
		for (uid_t user = 0; user <= USER; user += USER) {
			if (user && sandboxes[i] == FS_SANDBOX_CHROOT)
				continue;
			s = scene_of(user);
			s.o.sandbox = sandboxes[i];
			s.before = lavish;
			s.look = look_given_up;
			play(&s);
			CHECK_PLAYED();
		}
	}
}

/* ---- namespaces ---------------------------------------------------------- */

static const char *const kinds[] = { "mnt", "pid", "net", "ipc", "uts" };
static char hosts[ARRAY_SIZE(kinds)][64];

static bool link_of(int dir, const char *kind, char text[64])
{
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "self/ns/%s", kind);
	n = readlinkat(dir, path, text, 63);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static const char *look_own(const struct fs_place *p)
{
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		EXPECT(link_of(p->proc, kinds[i], text));
		if (!strcmp(text, hosts[i]))
			return kinds[i];
	}
	return NULL;
}

static void test_namespaces(void)
{
	int proc = open("/proc", O_PATH | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		CHECK(link_of(proc, kinds[i], hosts[i]));
	close(proc);
	for (uid_t user = 0; user <= USER; user += USER) {
		struct scene s = scene_of(user);

		s.look = look_own;
		play(&s);
		CHECK_PLAYED();
	}
}

/* ---- mounts -------------------------------------------------------------- */

/* From 5.14 on a mount can be told so, by a call of 5.12. */
static bool has_nosymfollow(void)
{
	int major = 0, minor = 0;
	struct utsname u;

	if (syscall(SYS_mount_setattr, -1, "", 0, NULL, 0) && errno == ENOSYS)
		return false;
	return !uname(&u) && sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
	       (major > 5 || (major == 5 && minor >= 14));
}

static const char *look_flags(const struct fs_place *p)
{
	struct statfs st;

	EXPECT(!fstatfs(p->root, &st));
	EXPECT(st.f_flags & ST_NOSUID);
	EXPECT(st.f_flags & ST_NODEV);
	EXPECT(!has_nosymfollow() || st.f_flags & ST_NOSYMFOLLOW);
	/* Of a link that leads nowhere but to the share. */
	EXPECT(reads(p->root, "inner") ==
	       (has_nosymfollow() ? -ELOOP : 0));
	return NULL;
}

static void test_flags(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/inner", share);
	CHECK_EQ(symlink("file", path), 0);
	for (uid_t user = 0; user <= USER; user += USER) {
		struct scene s = scene_of(user);

		s.look = look_flags;
		play(&s);
		CHECK_PLAYED();
	}
}

/* As systemd has it: what is mounted anywhere is mounted everywhere. */
static int shared_mounts(void)
{
	return unshare(CLONE_NEWNS) ||
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
}

static unsigned int count_mounts(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned int lines = 0;
	int c;

	while (f && (c = fgetc(f)) != EOF)
		lines += c == '\n';
	if (f)
		fclose(f);
	return lines;
}

static bool there(int dir, const char *name)
{
	for (int i = 0; i < 1000; i++) {
		if (!faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW))
			return true;
		poll(NULL, 0, 10);
	}
	return false;
}

static unsigned int mounts_before;

/* What the host does meanwhile, as root; said and awaited by files. */
static int mount_on_share(void)
{
	char sub[96], path[96];

	snprintf(sub, sizeof(sub), "%s/sub", share);
	snprintf(path, sizeof(path), "%s/ready", share);
	if (!there(AT_FDCWD, path) || mount("none", sub, "tmpfs", 0, NULL))
		return -1;
	write_text(share, "mounted", "", 0644, 0);
	snprintf(path, sizeof(path), "%s/seen", share);
	/* A copy of it that is in use elsewhere would be EBUSY. */
	if (!there(AT_FDCWD, path) || umount2(sub, 0))
		return -1;
	write_text(share, "unmounted", "", 0644, 0);
	return 0;
}

static int shared_mounts_and_more(void)
{
	pid_t pid;

	if (shared_mounts())
		return -1;
	mounts_before = count_mounts();
	pid = fork();
	if (pid == 0)
		_exit(mount_on_share() ? 1 : 0);
	return pid < 0 ? -1 : 0;
}

/* The keeper mounted, moved its root and unmounted; here nothing has. */
static int mounts_after(void)
{
	struct statfs st;
	int status;

	return wait(&status) < 0 || status || !mounts_before ||
	       count_mounts() != mounts_before || statfs("/proc", &st) ||
	       st.f_type != 0x9fa0;
}

/* Is a tmpfs mounted at "sub"? */
static bool sub_is_mounted(const struct fs_place *p)
{
	int fd = openat(p->root, "sub", O_PATH | O_CLOEXEC);
	struct statfs st;
	bool is = fd >= 0 && !fstatfs(fd, &st) && st.f_type == TMPFS;

	close(fd);
	return is;
}

static bool say(const struct fs_place *p, const char *name)
{
	int fd = openat(p->root, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	close(fd);
	return fd >= 0;
}

static const char *look_mounted(const struct fs_place *p)
{
	/* An ordinary user's server sees it, a privileged one never. */
	bool sees = p->userns && mounts_are_unique();

	EXPECT(say(p, "ready"));
	EXPECT(there(p->root, "mounted"));
	EXPECT(sub_is_mounted(p) == sees);
	EXPECT(say(p, "seen"));
	EXPECT(there(p->root, "unmounted"));
	EXPECT(!sub_is_mounted(p));
	return NULL;
}

static void test_propagation(void)
{
	static const char *const said[] = {
		"ready", "mounted", "seen", "unmounted",
	};
	struct statfs st;
	char path[96];

	if (statfs(base, &st) || st.f_type == TMPFS)
		SKIP("can't tell a tmpfs on a tmpfs");
	for (uid_t user = 0; user <= USER; user += USER) {
		struct scene s = scene_of(user);

		s.before = shared_mounts_and_more;
		s.look = look_mounted;
		s.after = mounts_after;
		play(&s);
		CHECK_PLAYED();
		for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
			snprintf(path, sizeof(path), "%s/%s", share, said[i]);
			CHECK_EQ(unlink(path), 0);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "what was inherited is given up", test_given_up },
		{ "no namespace is the host's", test_namespaces },
		{ "the share's mount", test_flags },
		{ "mounts of the host, later", test_propagation },
	};

	return confine_main(cases, ARRAY_SIZE(cases), argc, argv);
}
