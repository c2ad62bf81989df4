/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * What a hostile guest tries to get out of its share, in every way the server
 * is shut in. Each case fails without the defence that it is about.
 */

#include "attack_rig.h"

#include "base/base.h"

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

/* ---- names -------------------------------------------------------------- */

static void names(void)
{
	attempt_names();
	CHECK(!check_failed);
	CHECK_EQ(sh("test $(find share | wc -l) = 4 && cat share/good "
		    ">/dev/null"), 0);
}

static void more_names(void)
{
	attempt_more_names();
	CHECK(!check_failed);
	CHECK_EQ(sh("test $(find share | wc -l) = 4"), 0);
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
		attempt_open(hosts[i]);
	CHECK(!check_failed && !saw_open(watch));
	/* A mapped one is a regular, empty file of the host. */
	for (size_t i = 0; i < 3 && !mapped && !check_failed; i++)
		if (!fe_lookup(fe, ROOT, guests[i], &e) && e.nodeid)
			attempt_open(guests[i]);
	CHECK(!check_failed && (mapped || !saw_open(watch)));
	CHECK(!mapped || !sh("test $(find share -type f -size 0 -name '*2' | "
			     "wc -l) -ge 2"));
	close(watch);
}

/* ---- symlinks ----------------------------------------------------------- */

static void symlinks(void)
{
	char buf[128];

	CHECK_EQ(sh("ln -s ../outside/secret share/file; "
		    "ln -s ../outside share/way; chmod 644 outside/secret"), 0);
	if (!geteuid() && as_user) {
		CHECK_EQ(sh("chown -h " USER " share/file share/way"), 0);
	}
	attempt_symlinks(strstr(mode->options, "mapped"));
	CHECK(!check_failed);
	snprintf(buf, sizeof(buf), "%s/secret", outside);
	CHECK(getxattr(buf, "user.x", NULL, 0) < 0);
	CHECK_EQ(sh("test $(stat -c %a outside/secret) = 644 && "
		    "test $(stat -c %Y outside/secret) != 1 && "
		    "test $(stat -c %u outside/secret) != 1"), 0);
	CHECK(getxattr(outside, "user.x", NULL, 0) < 0);
	CHECK_EQ(sh("test $(stat -c %h outside/secret) = 1"), 0);
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
		got = attempt_swapped();
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
