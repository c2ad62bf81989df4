/* rooms: base */
/* SPDX-License-Identifier: MIT */
/*
 * Confinement as root, as an ordinary user, and where namespaces are not to be
 * had. Each case runs in processes of its own: one that becomes the user, and
 * the keeper that it forks, which looks around and reports the first thing that
 * is not as it should be.
 */

#include "confine_rig.h"
#include "xattrs.h"

#include <net/if.h>

/* ---- what the running kernel has ---------------------------------------- */

static long landlock_abi;	/* of the running kernel, or negative */

/* What Landlock's rules shut, where they are to be had. */
static int shut(int err)
{
	return landlock_abi < LL_MIN_ABI ? 0 : err;
}

static bool has_openat2(void)
{
	return !syscall(SYS_openat2, -1, "", NULL, 0) || errno != ENOSYS;
}

/* The last keeper's Landlock is on, or says why the kernel has not got it. */
static void check_landlock(void)
{
	const struct fs_layer *layer = &report.place.layers[FS_LAYER_LANDLOCK];

	if (landlock_abi >= LL_MIN_ABI) {
		CHECK_EQ(layer->state, FS_LAYER_ON);
		return;
	}
	CHECK_EQ(layer->state, FS_LAYER_UNAVAILABLE);
	CHECK_STR(layer->why, landlock_abi < 0 ? "not in this kernel" :
		  "older than version 3 (Linux 6.2)");
}

static void check_layers(void)
{
	for (int i = 0; i < FS_LAYER_COUNT; i++)
		if (i != FS_LAYER_LANDLOCK && i != FS_LAYER_OPENAT2)
			CHECK_EQ(report.place.layers[i].state, FS_LAYER_ON);
	CHECK_EQ(report.place.layers[FS_LAYER_OPENAT2].state, has_openat2() ?
		 FS_LAYER_ON : FS_LAYER_UNAVAILABLE);
	check_landlock();
}

/* ---- what a keeper looks at --------------------------------------------- */

static uint64_t status_hex(const struct fs_place *p, const char *key)
{
	char text[4096], *at;
	int fd = openat(p->proc, "self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return ~0ull;
	text[n] = '\0';
	at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 16) : ~0ull;
}

/* A descriptor of a file reached again through the procfs. */
static const char *look_proc(const struct fs_place *p)
{
	char path[32];
	int fd = openat(p->root, "file", O_PATH | O_NOFOLLOW | O_CLOEXEC);

	EXPECT(fd >= 0);
	snprintf(path, sizeof(path), "self/fd/%d", fd);
	EXPECT(reads(p->proc, path) == 0);
	EXPECT(reads(AT_FDCWD, path) == 0);
	close(fd);
	return NULL;
}

static const char *look_common(const struct fs_place *p)
{
	struct rlimit lim;
	struct stat st;

	EXPECT(reads(p->root, "file") == 0);
	EXPECT(creates(p->root, "new") == 0);
	EXPECT(reads(p->root, "null") < 0);
	EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	EXPECT(!getrlimit(RLIMIT_CORE, &lim) && lim.rlim_cur == 0);
	EXPECT(!getrlimit(RLIMIT_NOFILE, &lim));
	EXPECT(lim.rlim_cur == lim.rlim_max || lim.rlim_cur == 1048576);
	/* root, proc, the pipe */
	EXPECT(open_descriptors() == 3);
	EXPECT(!fstatat(p->root, "file", &st, 0) && st.st_uid == USER);
	return look_proc(p);
}

static const char *look_namespaces(const struct fs_place *p)
{
	const char *bad = look_common(p);
	char dots[] = "../../../../../etc/passwd", host[65];

	if (bad)
		return bad;
	EXPECT(p->private_proc);
	EXPECT(getpid() == 1);
	EXPECT(reads(AT_FDCWD, secret) == -ENOENT);
	EXPECT(reads(AT_FDCWD, "/etc/passwd") == -ENOENT);
	EXPECT(reads(AT_FDCWD, "/file") == 0);
	EXPECT(reads(p->root, dots) == -ENOENT);
	EXPECT(reads(p->proc, "../file") < 0);
	EXPECT(reads(p->proc, "meminfo") == -ENOENT);
	EXPECT(openat(p->proc, "self/comm", O_WRONLY | O_CLOEXEC) < 0 &&
	       errno == EROFS);
	EXPECT(reads(p->root, "link") == -ELOOP ||
	       reads(p->root, "link") == -ENOENT);
	EXPECT(reads(p->root, "null") == -EACCES);
	EXPECT(if_nametoindex("eth0") == 0);
	EXPECT(!gethostname(host, sizeof(host)));
	EXPECT(mount("none", "/sub", "tmpfs", 0, NULL) < 0);
	EXPECT(chroot("/sub") < 0);
	return NULL;
}

static const char *look_root(const struct fs_place *p)
{
	const uint64_t want = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE |
			      1u << CAP_FOWNER | 1u << CAP_FSETID |
			      1u << CAP_SETGID | 1u << CAP_SETUID |
			      1u << CAP_MKNOD | 1ull << CAP_SETFCAP;

	EXPECT(!p->userns);
	EXPECT(geteuid() == 0);
	EXPECT(status_hex(p, "CapPrm:") == want);
	EXPECT(status_hex(p, "CapEff:") == want);
	EXPECT(status_hex(p, "CapBnd:") == want);
	EXPECT(status_hex(p, "CapInh:") == 0);
	EXPECT(getgroups(0, NULL) == 0);
	return look_namespaces(p);
}

static const char *look_user(const struct fs_place *p)
{
	const uint64_t want = 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER;
	struct stat st;

	EXPECT(p->userns);
	EXPECT(p->uid == USER && p->gid == USER);
	EXPECT(geteuid() == USER);
	EXPECT(status_hex(p, "CapPrm:") == want);
	EXPECT(status_hex(p, "CapBnd:") == want);
	/* Its own file whatever the mode; others by what the mode says. */
	EXPECT(reads(p->root, "shut") == 0);
	EXPECT(reads(p->root, "roots") == 0);
	EXPECT(!fstatat(p->root, "roots", &st, 0) && st.st_uid == 65534);
	EXPECT(openat(p->root, "roots", O_WRONLY | O_CLOEXEC) < 0);
	return look_namespaces(p);
}

static const char *look_readonly(const struct fs_place *p)
{
	EXPECT(reads(p->root, "file") == 0);
	EXPECT(creates(p->root, "new") < 0);
	EXPECT(openat(p->root, "file", O_WRONLY | O_CLOEXEC) < 0);
	EXPECT(fchmodat(p->root, "file", 0600, 0) < 0 && errno == EROFS);
	EXPECT(fchmodat(p->root, "sub/x", 0600, 0) < 0 && errno == EROFS);
	EXPECT(creates(p->root, "sub/new") < 0);
	return NULL;
}

static const char *look_none(const struct fs_place *p)
{
	struct stat st;

	EXPECT(!p->private_proc);
	EXPECT(reads(AT_FDCWD, secret) == shut(-EACCES));
	EXPECT(reads(AT_FDCWD, "/etc/passwd") == shut(-EACCES));
	EXPECT(reads(p->root, "link") == shut(-EACCES));
	EXPECT(creates(AT_FDCWD, "/tmp/vmshare-escaped") == shut(-EACCES));
	EXPECT(stat(secret, &st) == 0);	/* Landlock knows no stat */
	return look_common(p);
}

/* Namespaces, but only the procfs of whoever made the container. */
static const char *look_hidden(const struct fs_place *p)
{
	EXPECT(!p->private_proc);
	EXPECT(p->layers[FS_LAYER_NAMESPACES].state == FS_LAYER_ON);
	EXPECT(reads(AT_FDCWD, "/etc/passwd") == -ENOENT);
	EXPECT(reads(p->root, "link") < 0);
	EXPECT(reads(p->proc, "meminfo") == shut(-EACCES));
	if (landlock_abi >= LL_MIN_ABI)
		EXPECT(openat(p->proc, "self/comm", O_WRONLY | O_CLOEXEC) < 0 &&
		       errno == EACCES);
	return look_common(p);
}

static const char *look_chroot(const struct fs_place *p)
{
	EXPECT(reads(AT_FDCWD, "/etc/passwd") == -ENOENT);
	EXPECT(reads(AT_FDCWD, "/file") == 0);
	EXPECT(reads(p->root, "link") == -ENOENT);
	EXPECT(reads(p->root, "../etc/passwd") == -ENOENT);
	return look_common(p);
}

/* ---- before: what the host is like -------------------------------------- */

/* A chroot is where the kernel lets nobody make user namespaces. */
static int in_chroot(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/chroot", base);
	return (mkdir(path, 0755) && errno != EEXIST) ||
	       unshare(CLONE_NEWNS) ||
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("/", path, NULL, MS_BIND | MS_REC, NULL) ||
	       chroot(path) || chdir("/");
}

/* Every procfs but /proc itself, such as those of chroots, goes. */
static int other_procs_gone(void)
{
	char dir[256], type[32];
	FILE *mounts = fopen("/proc/mounts", "re");
	int err = mounts ? 0 : -1;

	while (!err && fscanf(mounts, "%*s %255s %31s %*[^\n]", dir, type) == 2)
		if (!strcmp(type, "proc") && strcmp(dir, "/proc") != 0)
			err = umount2(dir, MNT_DETACH);
	if (mounts)
		fclose(mounts);
	return err;
}

/* A container hides parts of /proc by mounts on it: no new one is to be had. */
static int with_hidden_proc(void)
{
	return unshare(CLONE_NEWNS) ||
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       other_procs_gone() ||
	       mount("none", "/proc/sys", "tmpfs", MS_RDONLY, "");
}

/* Another file system below the share. */
static int with_submount(void)
{
	char path[120];

	snprintf(path, sizeof(path), "%s/sub", share);
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", path, "tmpfs", 0, "mode=777"))
		return -1;
	write_text(path, "x", "x", 0666, USER);
	return 0;
}

/* ---- cases -------------------------------------------------------------- */

static void test_root(void)
{
	struct scene s = scene_of(0);

	s.look = look_root;
	play(&s);
	CHECK_PLAYED();
	check_layers();
}

/* What is taken away is gone for good, the rest is there. */
static const char *look_less(const struct fs_place *p)
{
	const uint64_t drop = 1u << CAP_MKNOD | 1ull << CAP_SETFCAP;

	EXPECT((status_hex(p, "CapPrm:") & drop) == 0);
	EXPECT((status_hex(p, "CapBnd:") & drop) == 0);
	EXPECT(status_hex(p, "CapEff:") & 1u << CAP_CHOWN);
	EXPECT(mknodat(p->root, "dev", S_IFCHR | 0600, makedev(1, 3)) < 0 &&
	       errno == EPERM);
	return look_namespaces(p);
}

static void test_drop_caps(void)
{
	struct scene s = scene_of(0);

	s.o.drop_caps = fs_caps_parse("mknod:setfcap:sys_admin");
	s.look = look_less;
	play(&s);
	CHECK_PLAYED();
}

static void test_user(void)
{
	struct scene s = scene_of(USER);

	s.look = look_user;
	play(&s);
	CHECK_PLAYED();
	check_layers();
}

static void test_readonly(void)
{
	struct scene s = scene_of(0);

	s.o.readonly = true;
	s.before = with_submount;
	s.look = look_readonly;
	play(&s);
	CHECK_PLAYED();
	s = scene_of(USER);
	s.o.readonly = true;
	s.before = with_submount;
	s.look = look_readonly;
	play(&s);
	CHECK_PLAYED();
}

/* The way of kernels without mount_setattr(2), on a tree with a submount. */
static const char *remounts(void)
{
	char path[120];
	int proc = open("/proc", O_PATH | O_CLOEXEC);

	EXPECT(!with_submount());
	EXPECT(!mount(share, share, NULL, MS_BIND | MS_REC, NULL));
	EXPECT(remount_all(proc, share, true) == 0);
	snprintf(path, sizeof(path), "%s/x", share);
	EXPECT(creates(AT_FDCWD, path) == -EROFS);
	snprintf(path, sizeof(path), "%s/sub/y", share);
	EXPECT(creates(AT_FDCWD, path) == -EROFS);
	snprintf(path, sizeof(path), "%s/null", share);
	EXPECT(reads(AT_FDCWD, path) == -EACCES);
	return NULL;
}

/* A tree over what has a mount where the tree has not even a name. */
static const char *remounts_over(void)
{
	char top[100], below[120], path[120];
	int proc = open("/proc", O_PATH | O_CLOEXEC);

	snprintf(top, sizeof(top), "%s/top", base);
	snprintf(below, sizeof(below), "%s/below", top);
	snprintf(path, sizeof(path), "%s/new", top);
	EXPECT(!mkdir(top, 0755) && !mkdir(below, 0755));
	EXPECT(!mount("none", below, "tmpfs", 0, NULL));
	EXPECT(!mount(share, top, NULL, MS_BIND, NULL));
	EXPECT(remount_all(proc, top, true) == 0);
	EXPECT(creates(AT_FDCWD, path) == -EROFS);
	return NULL;
}

static void test_remount(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		const char *bad = remounts();

		if (!bad)
			bad = remounts_over();
		if (bad)
			printf("# not so: %s (%m)\n", bad);
		fflush(stdout);
		_exit(bad != NULL);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

static void test_unescape(void)
{
	char text[] = "/a\\040b\\134c\\0";

	unescape(text);
	CHECK_STR(text, "/a b\\c\\0");
}

static void test_none(void)
{
	struct scene s = scene_of(USER);

	s.o.sandbox = FS_SANDBOX_NONE;
	s.look = look_none;
	play(&s);
	CHECK_PLAYED();
	CHECK_EQ(report.place.layers[FS_LAYER_NAMESPACES].state, FS_LAYER_OFF);
	check_landlock();
	s.user = 0;
	play(&s);
	CHECK_PLAYED();
}

static void test_chroot(void)
{
	struct scene s = scene_of(0);

	s.o.sandbox = FS_SANDBOX_CHROOT;
	s.look = look_chroot;
	play(&s);
	CHECK_PLAYED();
	s.user = USER;
	play(&s);
	CHECK_EQ(report.err, -EPERM);
	CHECK_STR(report.why, "sandbox=chroot needs root");
}

/* No user namespaces here: less by default, a refusal when asked by name. */
static void test_fallback(void)
{
	struct scene s = scene_of(USER);

	s.before = in_chroot;
	s.look = look_none;
	play(&s);
	CHECK_PLAYED();
	CHECK_EQ(report.place.layers[FS_LAYER_NAMESPACES].state,
		 FS_LAYER_UNAVAILABLE);
	CHECK_EQ(report.place.layers[FS_LAYER_NAMESPACES].error, EPERM);
	CHECK_STR(report.place.layers[FS_LAYER_NAMESPACES].why,
		  "making a user namespace");
	s.o.sandbox = FS_SANDBOX_NAMESPACE;
	play(&s);
	CHECK_EQ(report.err, -EPERM);
	CHECK_STR(report.why,
		  "making a user namespace: Operation not permitted");
}

/* Then Landlock alone keeps the host's procfs shut. */
static void test_hidden_proc(void)
{
	struct scene s = scene_of(USER);

	s.before = with_hidden_proc;
	s.look = look_hidden;
	play(&s);
	CHECK_PLAYED();
	check_landlock();
}

static void test_inode_handles(void)
{
	struct scene s = scene_of(0);

	s.o.inode_handles = true;
	play(&s);
	CHECK_PLAYED();
	CHECK_EQ(report.place.layers[FS_LAYER_LANDLOCK].state, FS_LAYER_OFF);
	CHECK_STR(report.place.layers[FS_LAYER_LANDLOCK].why,
		  "inode-handles=on");
	s = scene_of(USER);
	s.o.inode_handles = true;
	play(&s);
	CHECK_EQ(report.err, -EPERM);
	CHECK_STR(report.why, "inode-handles=on: only root of the host may "
			      "open files by handle");
}

static void test_messages(void)
{
	struct scene s = scene_of(USER);
	char want[256], dir[160];

	snprintf(dir, sizeof(dir), "%s/none", base);
	s.o.dir = dir;
	play(&s);
	snprintf(want, sizeof(want), "share directory '%s' does not exist",
		 dir);
	CHECK_EQ(report.err, -ENOENT);
	CHECK_STR(report.why, want);
	s.o.dir = secret;
	play(&s);
	snprintf(want, sizeof(want), "share '%s' is not a directory", secret);
	CHECK_EQ(report.err, -ENOTDIR);
	CHECK_STR(report.why, want);
	snprintf(dir, sizeof(dir), "%s/private", base);
	mkdir(dir, 0700);
	s.o.dir = dir;
	play(&s);
	snprintf(want, sizeof(want), "share directory '%s' (mode 0700, "
		 "another user's) may not be read by uid %d", dir, USER);
	CHECK_EQ(report.err, -EACCES);
	CHECK_STR(report.why, want);
	s.o.dir = share;
	s.o.access = FS_ACCESS_PASSTHROUGH;
	play(&s);
	CHECK_EQ(report.err, -EPERM);
	CHECK(strstr(report.why, "access=passthrough needs root"));
	s.o.uid_map.range[0] = (struct id_range){ 0, USER, 1, ID_RANGE };
	s.o.uid_map.nr = 1;
	play(&s);
	CHECK(report.err == -ENOENT || report.err == -EPERM || !report.err);
	s.o.access = FS_ACCESS_SQUASH;
	play(&s);
	CHECK_EQ(report.err, -EINVAL);
	CHECK_STR(report.why, "uid-map= and gid-map= need access=passthrough");
}

/* A file system without attributes can't hold owners. */
static int on_bare(void)
{
	return unshare(CLONE_NEWNS) ||
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("proc", share, "proc", 0, NULL);
}

static void test_mapped(void)
{
	struct scene s = scene_of(0);
	char want[256];

	s.o.access = FS_ACCESS_MAPPED;
	s.before = on_bare;
	play(&s);
	snprintf(want, sizeof(want), "access=mapped: the file system of '%s' "
		 "has no user extended attributes", share);
	CHECK_EQ(report.err, -EOPNOTSUPP);
	CHECK_STR(report.why, want);
	if (!tmp_has_xattrs())
		SKIP("no user. attributes on /tmp");
	s.before = NULL;
	play(&s);
	CHECK_PLAYED();
}

static void test_probe(void)
{
	struct scene s = scene_of(0);
	struct fs_place place;
	char why[128] = "x";

	CHECK_EQ(fs_probe_layers(&s.o, &place, why, sizeof(why)), 0);
	CHECK_STR(why, "");
	CHECK_EQ(place.root, -1);
	CHECK_EQ(place.layers[FS_LAYER_NAMESPACES].state, FS_LAYER_ON);
	s.o.dir = secret;
	CHECK_EQ(fs_probe_layers(&s.o, &place, why, sizeof(why)), -ENOTDIR);
	CHECK(strstr(why, "is not a directory"));
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "root", test_root },
		{ "user", test_user },
		{ "drop_caps", test_drop_caps },
		{ "readonly", test_readonly },
		{ "remount", test_remount },
		{ "unescape", test_unescape },
		{ "none", test_none },
		{ "chroot", test_chroot },
		{ "fallback", test_fallback },
		{ "hidden_proc", test_hidden_proc },
		{ "inode_handles", test_inode_handles },
		{ "messages", test_messages },
		{ "mapped", test_mapped },
		{ "probe", test_probe },
	};

	landlock_abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LL_CREATE_RULESET_VERSION);
	return confine_main(cases, ARRAY_SIZE(cases), argc, argv);
}
