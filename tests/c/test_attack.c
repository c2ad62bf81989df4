/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * What a hostile guest tries to get out of its share, in every way the server
 * is shut in. Each case fails without the defence that it is about.
 */

#include "attack_rig.h"

#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>

/* ---- names that are paths ----------------------------------------------- */

/* A request with a name in it: what stands before it, and what behind. */
static const struct {
	uint32_t opcode;
	const char *what;
	size_t fixed;
	const char *before, *behind;
} name_ops[] = {
	{ FUSE_LOOKUP, "LOOKUP", 0, NULL, NULL },
	{ FUSE_CREATE, "CREATE", 16, NULL, NULL },
	{ FUSE_MKNOD, "MKNOD", 16, NULL, NULL },
	{ FUSE_MKDIR, "MKDIR", 8, NULL, NULL },
	{ FUSE_SYMLINK, "SYMLINK", 0, NULL, "/" },
	{ FUSE_LINK, "LINK", 8, NULL, NULL },
	{ FUSE_UNLINK, "UNLINK", 0, NULL, NULL },
	{ FUSE_RMDIR, "RMDIR", 0, NULL, NULL },
	{ FUSE_RENAME, "RENAME", 8, NULL, "x" },
	{ FUSE_RENAME, "RENAME to", 8, "good", NULL },
	{ FUSE_RENAME2, "RENAME2", 16, NULL, "x" },
	{ FUSE_RENAME2, "RENAME2 to", 16, "good", NULL },
};

static int send_name(size_t op, const char *name, size_t len, uint64_t node)
{
	uint64_t args[2] = { node, 0 };
	struct fe_call c = {
		.opcode = name_ops[op].opcode,
		.nodeid = ROOT,
		.out_size = 256,
	};
	char out[256];
	unsigned int n = 0;

	c.out = out;
	if (c.opcode == FUSE_CREATE)
		args[0] = O_RDWR | O_CREAT | (uint64_t)(S_IFREG | 0644) << 32;
	if (c.opcode == FUSE_MKNOD)
		args[0] = S_IFREG | 0644;
	if (c.opcode == FUSE_RENAME || c.opcode == FUSE_RENAME2)
		args[0] = ROOT;
	if (name_ops[op].fixed) {
		c.in[n].p = args;
		c.in[n++].len = name_ops[op].fixed;
	}
	if (name_ops[op].before) {
		c.in[n].p = name_ops[op].before;
		c.in[n++].len = strlen(name_ops[op].before) + 1;
	}
	if (len) {
		c.in[n].p = name;
		c.in[n++].len = len;
	}
	if (name_ops[op].behind) {
		c.in[n].p = name_ops[op].behind;
		c.in[n++].len = strlen(name_ops[op].behind) + 1;
	}
	return fe_call(fe, &c);
}

static void names(void)
{
	static char longest[4097];
	const struct {
		const char *text;
		size_t len;
	} bad[] = {
		{ "", 1 }, { ".", 2 }, { "..", 3 }, { "../outside/f", 13 },
		{ "../outside/dir", 15 }, { outside, strlen(outside) + 1 },
		{ "/etc/passwd", 12 }, { "dir/../../outside/f", 20 },
		{ "dir/f", 6 }, { "/", 2 }, { "dir/", 5 }, { "./good", 7 },
		{ "good\0x", 7 }, { "new\0/..", 8 }, { longest, 257 },
		{ longest, 4097 },
	};
	struct fuse_entry_out e;

	memset(longest, 'x', sizeof(longest));
	longest[256] = longest[4096] = '\0';
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	for (size_t op = 0; op < ARRAY_LEN(name_ops); op++)
		for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
			bool dots = bad[i].text[0] == '.' && bad[i].len < 4;
			int err;

			longest[256] = bad[i].len == 4097 ? 'x' : '\0';
			/* For NFS; a data part may follow a name. */
			if ((name_ops[op].opcode == FUSE_LOOKUP && dots) ||
			    (name_ops[op].behind &&
			     memchr(bad[i].text, 0, bad[i].len - 1)))
				continue;
			err = send_name(op, bad[i].text, bad[i].len, e.nodeid);
			if (err != -EINVAL && err != -ENAMETOOLONG)
				printf("# %s of '%.20s': %d\n",
				       name_ops[op].what, bad[i].text, err);
			CHECK(err == -EINVAL || err == -ENAMETOOLONG);
		}
	/* One byte less is a name, for each of them. */
	longest[255] = '\0';
	for (size_t op = 0; op < ARRAY_LEN(name_ops); op++) {
		int err = send_name(op, longest, 256, e.nodeid);

		if (err == -EINVAL || err == -ENAMETOOLONG)
			printf("# %s of 255 bytes: %d\n", name_ops[op].what,
			       err);
		CHECK(err != -EINVAL && err != -ENAMETOOLONG);
	}
	/* The renames have left that one at "x". */
	CHECK_EQ(fe_rename(fe, ROOT, "x", ROOT, "good"), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "..", &e), 0);
	CHECK_EQ(e.nodeid, ROOT);
	CHECK_EQ(sh("test $(find share | wc -l) = 4 && cat share/good "
		    ">/dev/null"), 0);
}

/* A file without a name comes with one, which has no meaning. */
static int send_tmpfile(const char *name, size_t len)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = 0600 };
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	struct fe_call c = {
		.opcode = FUSE_TMPFILE, .nodeid = ROOT,
		.in = { { &in, sizeof(in) }, { name, len } },
		.out = &out, .out_size = sizeof(out),
	};
	int err = fe_call(fe, &c);

	if (!err)
		fe_release(fe, out.entry.nodeid, out.open.fh);
	return err;
}

/* Names of attributes: what is none, what is too long, what ends early. */
static void more_names(void)
{
	static char longest[4097];
	const struct {
		const char *text;
		size_t len;
	} temporary[] = {
		{ "../outside/new", 15 }, { "/etc/new", 9 }, { "..", 3 },
		{ "new", 4 }, { "", 1 }, { longest, 4097 }, { "a\0b", 4 },
	}, attributes[] = {
		{ "", 1 }, { longest, 257 }, { longest, 4097 },
		{ "user.x\0y", 9 }, { "user.x", 6 },
	};
	struct fuse_entry_out e;

	memset(longest, 'u', 4096);
	for (size_t i = 0; i < ARRAY_LEN(temporary); i++) {
		int err = send_tmpfile(temporary[i].text, temporary[i].len);

		CHECK(!err || err == -EOPNOTSUPP);
	}
	CHECK_EQ(sh("test $(find share | wc -l) = 4"), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
		struct fuse_getxattr_in in = { .size = 16 };
		struct fe_call get = {
			.opcode = FUSE_GETXATTR, .nodeid = e.nodeid,
			.in = { { &in, sizeof(in) },
				{ attributes[i].text, attributes[i].len } },
			.dst = longest, .dst_size = 16,
		};
		struct fe_call remove = {
			.opcode = FUSE_REMOVEXATTR, .nodeid = e.nodeid,
			.in = { get.in[1] },
		};
		int got = fe_call(fe, &get), gone = fe_call(fe, &remove);

		CHECK(got == -EINVAL || got == -ERANGE);
		CHECK(gone == -EINVAL || gone == -ERANGE);
		memset(longest, 'u', 4096);
	}
	CHECK_EQ(fe_setxattr(fe, e.nodeid, "", "x", 1, 0), -ERANGE);
	CHECK_EQ(fe_setxattr(fe, e.nodeid, longest, "x", 1, 0), -ERANGE);
	longest[256] = '\0';
	CHECK_EQ(fe_setxattr(fe, e.nodeid, longest, "x", 1, 0), -ERANGE);
}

/* ---- what is no file ---------------------------------------------------- */

static int make_socket(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM, 0), err;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", share, name);
	err = bind(sock, (struct sockaddr *)&addr, sizeof(addr));
	close(sock);
	return err;
}

/* Whether any of the share's files was opened that is not "good". */
static bool saw_open(int watch)
{
	_Alignas(struct inotify_event) char buf[8192];
	bool seen = false;
	ssize_t n;

	while ((n = read(watch, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			struct inotify_event *e = (void *)p;

			if (e->len && !(e->mask & IN_ISDIR)) {
				printf("# %s was opened\n", e->name);
				seen = true;
			}
			p += sizeof(*e) + e->len;
		}
	}
	return seen;
}

/* Raw requests to open what no guest's driver would ask to. */
static void open_special(const char *name)
{
	static const uint32_t flags[] = { O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC,
					  O_RDONLY | O_NONBLOCK | O_APPEND };
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_entry_out e, f;
	struct fuse_attr_out a;
	uint64_t fh;

	CHECK_EQ(fe_lookup(fe, ROOT, name, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		CHECK(fe_open(fe, e.nodeid, flags[i], &fh) < 0);
	CHECK(fe_opendir(fe, e.nodeid, &fh) < 0);
	CHECK(fe_setattr(fe, e.nodeid, &size, &a) < 0);
	CHECK(fe_create(fe, ROOT, name, O_RDWR, 0644, &f, &fh) < 0);
	CHECK(fe_create(fe, ROOT, name, O_RDWR | O_EXCL, 0644, &f, &fh) < 0);
}

static void specials(void)
{
	static const char *const hosts[] = { "fifo", "sock", "null", "loop" };
	static const char *const guests[] = { "fifo2", "sock2", "null2" };
	bool mapped = strstr(mode->options, "mapped"), root = !geteuid();
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct fuse_entry_out e;

	CHECK_EQ(sh("mkfifo share/fifo"), 0);
	CHECK_EQ(make_socket("sock"), 0);
	if (root) {
		CHECK_EQ(sh("mknod share/null c 1 3 && chmod 666 share/null && "
			    "mknod share/loop b 7 0"), 0);
	}
	/* The guest's own; who may not is told so. */
	CHECK_EQ(fe_mknod(fe, ROOT, "fifo2", S_IFIFO | 0666, 0, &e), 0);
	CHECK_EQ(fe_mknod(fe, ROOT, "sock2", S_IFSOCK | 0666, 0, &e), 0);
	fe_mknod(fe, ROOT, "null2", S_IFCHR | 0666, 0x103, &e);
	CHECK(inotify_add_watch(watch, share, IN_OPEN) >= 0);
	for (size_t i = 0; i < (root ? 4 : 2) && !check_failed; i++)
		open_special(hosts[i]);
	CHECK(!check_failed && !saw_open(watch));
	/* A mapped one is a regular, empty file of the host. */
	for (size_t i = 0; i < 3 && !mapped && !check_failed; i++)
		if (!fe_lookup(fe, ROOT, guests[i], &e) && e.nodeid)
			open_special(guests[i]);
	CHECK(!check_failed && (mapped || !saw_open(watch)));
	CHECK(!mapped || !sh("test $(find share -type f -size 0 -name '*2' | "
			     "wc -l) -ge 2"));
	close(watch);
}

/* ---- symlinks ----------------------------------------------------------- */

static void symlinks(void)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_entry_out e, f;
	struct fuse_attr_out a;
	uint64_t fh;
	char buf[128];

	CHECK_EQ(sh("ln -s ../outside/secret share/file; "
		    "ln -s ../outside share/way; chmod 644 outside/secret"), 0);
	if (!geteuid() && as_user) {
		CHECK_EQ(sh("chown -h " USER " share/file share/way"), 0);
	}
	CHECK_EQ(fe_lookup(fe, ROOT, "file", &e), 0);
	CHECK(S_ISLNK(e.attr.mode));
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), -ELOOP);
	CHECK(fe_create(fe, ROOT, "file", O_RDWR, 0644, &f, &fh) < 0);
	CHECK(fe_setattr(fe, e.nodeid, &size, &a) < 0);
	fe_chmod(fe, e.nodeid, 0777);
	fe_chown(fe, e.nodeid, 1, 1);
	fe_utimens(fe, e.nodeid, 1, 1);
	fe_setxattr(fe, e.nodeid, "user.x", "x", 1, 0);
	/* A mapped one that was given away is a file with its target in it. */
	CHECK(strstr(mode->options, "mapped") ||
	      fe_getxattr(fe, e.nodeid, "user.x", buf, sizeof(buf)) < 0);
	snprintf(buf, sizeof(buf), "%s/secret", outside);
	CHECK(getxattr(buf, "user.x", NULL, 0) < 0);
	CHECK_EQ(sh("test $(stat -c %a outside/secret) = 644 && "
		    "test $(stat -c %Y outside/secret) != 1 && "
		    "test $(stat -c %u outside/secret) != 1"), 0);
	CHECK(getxattr(outside, "user.x", NULL, 0) < 0);
	fe_link(fe, e.nodeid, ROOT, "hard", &f);
	CHECK_EQ(sh("test $(stat -c %h outside/secret) = 1"), 0);
	/* The way through a directory that is a link. */
	CHECK_EQ(fe_lookup(fe, ROOT, "way", &e), 0);
	CHECK_EQ(fe_lookup(fe, e.nodeid, "f", &f), -ENOTDIR);
	CHECK(fe_opendir(fe, e.nodeid, &fh) < 0);
	CHECK(fe_mkdir(fe, e.nodeid, "new", 0755, &f) < 0);
	CHECK(fe_create(fe, e.nodeid, "new", O_RDWR, 0644, &f, &fh) < 0);
	CHECK(fe_unlink(fe, e.nodeid, "f") < 0);
	CHECK(fe_rename(fe, ROOT, "good", e.nodeid, "got out") < 0);
	CHECK(fe_rename(fe, e.nodeid, "f", ROOT, "got in") < 0);
}

/* ---- swapped while an operation runs ------------------------------------ */

static volatile bool swapping;

/* The host's user, or another guest of the share. */
static void *swap(void *arg)
{
	char a[128], b[128];

	(void)arg;
	while (swapping) {
		snprintf(a, sizeof(a), "%s/dir", share);
		snprintf(b, sizeof(b), "%s/way", share);
		syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2);
		snprintf(a, sizeof(a), "%s/good", share);
		snprintf(b, sizeof(b), "%s/file", share);
		syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2);
	}
	return NULL;
}

static bool reads_secret(uint64_t node)
{
	char buf[64] = "";
	uint64_t fh;
	ssize_t n;

	if (fe_open(fe, node, O_RDONLY, &fh))
		return false;
	n = fe_read(fe, node, fh, 0, buf, sizeof(buf) - 1);
	fe_release(fe, node, fh);
	return n > 0 && strstr(buf, SECRET);
}

static bool try_all(void)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_entry_out dir, e;
	struct fuse_attr_out a;
	uint64_t fh;
	bool got = false;

	if (!fe_lookup(fe, ROOT, "good", &e)) {
		got |= reads_secret(e.nodeid);
		fe_setattr(fe, e.nodeid, &size, &a);
		fe_setxattr(fe, e.nodeid, "user.x", "x", 1, 0);
		fe_chmod(fe, e.nodeid, 0600);
		fe_utimens(fe, e.nodeid, 1, 1);
		fe_forget(fe, e.nodeid, 1);
	}
	if (!fe_create(fe, ROOT, "good", O_RDWR | O_TRUNC, 0600, &e, &fh)) {
		fe_write(fe, e.nodeid, fh, 0, "x", 1);
		fe_release(fe, e.nodeid, fh);
		fe_forget(fe, e.nodeid, 1);
	}
	if (fe_lookup(fe, ROOT, "dir", &dir))
		return got;
	if (!fe_lookup(fe, dir.nodeid, "f", &e)) {
		got |= reads_secret(e.nodeid);
		fe_setattr(fe, e.nodeid, &size, &a);
		fe_forget(fe, e.nodeid, 1);
	}
	if (!fe_create(fe, dir.nodeid, "new", O_RDWR, 0600, &e, &fh)) {
		fe_release(fe, e.nodeid, fh);
		fe_unlink(fe, dir.nodeid, "new");
		fe_forget(fe, e.nodeid, 1);
	}
	fe_mkdir(fe, dir.nodeid, "sub", 0700, &e);
	fe_rmdir(fe, dir.nodeid, "sub");
	fe_unlink(fe, dir.nodeid, "secret");
	fe_forget(fe, dir.nodeid, 1);
	return got;
}

static void swaps(void)
{
	time_t end = time(NULL) + 2;
	pthread_t thread;
	bool got = false;

	CHECK_EQ(sh("ln -s ../outside/secret share/file; "
		    "ln -s ../outside share/way; chmod 666 outside/secret"), 0);
	swapping = true;
	CHECK_EQ(pthread_create(&thread, NULL, swap, NULL), 0);
	while (!got && time(NULL) < end)
		got = try_all();
	swapping = false;
	pthread_join(thread, NULL);
	CHECK(!got);
	CHECK_EQ(sh("test $(stat -c %a outside/secret) = 666 && "
		    "test $(stat -c %Y outside/secret) != 1"), 0);
}

/* ---- whose groups ------------------------------------------------------- */

/* CVE-2022-0358: a set-group-id file of a group that only the server is in. */
static void groups(void)
{
	static const char *const words[] = { "setpriv", "--groups=4242", NULL };
	struct fuse_entry_out e;
	uint64_t fh;

	if (geteuid())
		SKIP("needs root");
	CHECK_EQ(make_place(false), 0);
	CHECK_EQ(sh("mkdir -m 2777 share/g && chown 0:4242 share/g && "
		    "chmod 2777 share/g"), 0);
	CHECK_EQ(serve("sandbox=auto", words), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "g", &e), 0);
	fe->uid = fe->gid = 1000;
	CHECK_EQ(fe_create(fe, e.nodeid, "f", O_RDWR, 02775, &e, &fh), 0);
	CHECK_EQ(sh("test $(stat -c %u:%g:%a share/g/f) = 1000:4242:775"), 0);
	fe->uid = fe->gid = 0;
	CHECK(unharmed());
}

/* What was set-user-id is not so for whom another user's write changed it. */
static void set_ids(void)
{
	static const char *const names[] = { "w", "t", "a", "c", "o" };
	struct fuse_setattr_in size = {
		.valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 1,
	};
	struct fuse_entry_out e[5];
	struct fuse_attr_out a;
	uint64_t fh[5];

	if (geteuid())
		SKIP("needs root");
	CHECK_EQ(make_place(false), 0);
	CHECK_EQ(sh("cd share && for f in w t a c o; do echo x >$f; "
		    "chmod 6777 $f; done; setcap cap_chown=ep c"), 0);
	CHECK_EQ(serve("sandbox=auto", NULL), 0);
	fe->uid = fe->gid = 1000;
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(fe_lookup(fe, ROOT, names[i], &e[i]), 0);
		CHECK_EQ(fe_open(fe, e[i].nodeid, O_RDWR, &fh[i]), 0);
	}
	CHECK_EQ(fe_setattr(fe, e[1].nodeid, &size, &a), 0);
	CHECK_EQ(fe_fallocate(fe, e[2].nodeid, fh[2], 0, 0, 10), 0);
	CHECK_EQ(fe_write(fe, e[3].nodeid, fh[3], 0, "y", 1), 1);
	CHECK_EQ(fe_chown(fe, e[4].nodeid, 1000, 1000), 0);
	CHECK_EQ(sh("test $(stat -c %a share/t) = 777"), 0);
	CHECK_EQ(sh("test $(stat -c %a share/a) = 777"), 0);
	CHECK_EQ(sh("test $(stat -c %a share/o) = 777"), 0);
	CHECK_EQ(sh("test -z \"$(getcap share/c)\""), 0);
}

/* ---- the host's quota --------------------------------------------------- */

static void project(void)
{
	unsigned int flags = 0;
	struct fuse_entry_out e;
	struct fsxattr x;
	uint64_t fh;

	if (geteuid())
		SKIP("needs root");
	CHECK_EQ(make_place(false), 0);
	if (sh("chattr +P share/dir 2>/dev/null"))
		SKIP("no project ids on this file system");
	CHECK_EQ(serve("sandbox=auto", NULL), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "dir", &e), 0);
	CHECK_EQ(fe_opendir(fe, e.nodeid, &fh), 0);
	CHECK_EQ(fe_ioctl(fe, e.nodeid, fh, FS_IOC_SETFLAGS, 0, &flags,
			  sizeof(flags), NULL, 0), -EPERM);
	CHECK_EQ(fe_ioctl(fe, e.nodeid, fh, FS_IOC_FSGETXATTR, 0, NULL, 0, &x,
			  sizeof(x)), 0);
	x.fsx_xflags &= ~(uint32_t)FS_XFLAG_PROJINHERIT;
	CHECK_EQ(fe_ioctl(fe, e.nodeid, fh, FS_IOC_FSSETXATTR, 0, &x,
			  sizeof(x), NULL, 0), -EPERM);
	CHECK_EQ(sh("lsattr -d share/dir | grep -q P"), 0);
}

/* ---- all of it ----------------------------------------------------------- */

static void all_names(void)
{
	in_all_modes(names);
}

static void all_more_names(void)
{
	in_all_modes(more_names);
}

static void all_specials(void)
{
	in_all_modes(specials);
}

static void all_symlinks(void)
{
	in_all_modes(symlinks);
}

static void all_swaps(void)
{
	in_all_modes(swaps);
}

/*
 * A kernel before 5.6, played by a filter that this process and the servers it
 * starts have from here on: the last case.
 */
static void without_openat2(void)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0,
		  offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_openat2 },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	const struct sock_fprog prog = { ARRAY_LEN(code), code };

	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
	CHECK_EQ(syscall(SYS_openat2, -1, "", NULL, 0), -1);
	CHECK_EQ(errno, ENOSYS);
	in_all_modes(names);
	in_all_modes(specials);
	in_all_modes(symlinks);
	in_all_modes(swaps);
}

/* Those that make a place of their own leave it to be taken away here. */
static void own_groups(void)
{
	groups();
	shut();
}

static void own_set_ids(void)
{
	set_ids();
	shut();
}

static void own_project(void)
{
	project();
	shut();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "names that are paths", all_names },
		{ "names of attributes and of nothing", all_more_names },
		{ "devices, fifos and sockets", all_specials },
		{ "symlinks out of the share", all_symlinks },
		{ "symlinks swapped in meanwhile", all_swaps },
		{ "groups of the server", own_groups },
		{ "set-id bits and capabilities", own_set_ids },
		{ "project ids of the host", own_project },
		{ "all of it without openat2", without_openat2 },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
