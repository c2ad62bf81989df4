/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * What a hostile guest tries with numbers and amounts, against the program:
 * nodes and handles that it made up, more of everything than it may have,
 * a share it may not write to, what is mounted below, and a directory that
 * the host moves away under it.
 */

#include "attack_rig.h"

#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>

/* ---- made-up numbers ---------------------------------------------------- */

static void forged(void)
{
	struct fuse_entry_out good, f;
	struct fuse_attr_out a;
	uint64_t fh, other;
	char buf[64];

	CHECK_EQ(fe_lookup(fe, ROOT, "good", &good), 0);
	CHECK_EQ(fe_walk(fe, "dir/f", &f), 0);
	CHECK_EQ(fe_open(fe, good.nodeid, O_RDONLY, &fh), 0);
	CHECK_EQ(fe_open(fe, f.nodeid, O_RDONLY, &other), 0);
	for (unsigned int bit = 0; bit < 64; bit++) {
		uint64_t made_up = good.nodeid ^ 1ull << bit;

		if (made_up != f.nodeid && made_up != ROOT)
			CHECK(fe_getattr(fe, made_up, &a) < 0);
		made_up = fh ^ 1ull << bit;
		CHECK(fe_read(fe, good.nodeid, made_up, 0, buf, 64) < 0);
	}
	CHECK_EQ(fe_read(fe, good.nodeid, other, 0, buf, 64), -EBADF);
	CHECK_EQ(fe_release(fe, good.nodeid, other), -EBADF);
	CHECK_EQ(fe_release(fe, good.nodeid, fh), 0);
	CHECK_EQ(fe_release(fe, good.nodeid, fh), -EBADF);
	CHECK_EQ(fe_read(fe, good.nodeid, fh, 0, buf, 64), -EBADF);
	/* The number stays dead when its place is taken again. */
	CHECK_EQ(fe_open(fe, good.nodeid, O_RDONLY, &other), 0);
	CHECK(other != fh);
	CHECK_EQ(fe_read(fe, good.nodeid, fh, 0, buf, 64), -EBADF);
	CHECK_EQ(fe_forget(fe, f.nodeid, 1), 0);
	fe_getattr(fe, f.nodeid, &a);
	CHECK_EQ(fe_getattr(fe, ROOT, &a), 0);
}

/* More than was ever counted, of what is being read. */
static void forgotten(void)
{
	struct fe_req *req[16];
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	char buf[64];
	uint64_t fh;

	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), 0);
	for (int round = 0; round < 50; round++) {
		struct fuse_read_in in = { .fh = fh, .size = sizeof(buf) };
		struct fe_call c = {
			.opcode = FUSE_READ, .nodeid = e.nodeid,
			.in = { { &in, sizeof(in) } },
			.dst = buf, .dst_size = sizeof(buf), .q = 2,
		};
		int got;

		for (int i = 0; i < 16; i++)
			CHECK_EQ(fe_call_start(fe, &c, &req[i]), 0);
		CHECK_EQ(fe_forget(fe, e.nodeid, UINT64_MAX), 0);
		CHECK_EQ(fe_forget(fe, ROOT, UINT64_MAX), 0);
		for (int i = 0; i < 16; i++) {
			got = fe_finish(req[i]);
			CHECK(got == 0 || got == -ESTALE);
			fe_req_free(req[i]);
		}
		CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	}
	CHECK_EQ(fe_getattr(fe, ROOT, &a), 0);
}

/* ---- more than there is ------------------------------------------------- */

#define OPEN_FILES 128

static void too_many(void)
{
	static uint64_t fh[10 * OPEN_FILES];
	struct fuse_entry_out e, d;
	unsigned int n = 0, refused = 0;
	uint64_t again;

	CHECK_EQ(make_place(false), 0);
	CHECK_EQ(serve(geteuid() ? "access=squash,open-files=128" :
				   "open-files=128", NULL), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	for (unsigned int i = 0; i < 10 * OPEN_FILES; i++) {
		int err = fe_open(fe, e.nodeid, O_RDONLY, &fh[n]);

		CHECK(err == 0 || err == -ENFILE || err == -EMFILE);
		if (err)
			refused++;
		else
			n++;
	}
	CHECK(n > 0 && n <= OPEN_FILES);
	CHECK_EQ(n + refused, 10 * OPEN_FILES);
	/* What needs no open file goes on, rm above all. */
	CHECK_EQ(fe_walk(fe, "dir/f", &d), 0);
	CHECK_EQ(fe_mkdir(fe, ROOT, "new", 0755, &d), 0);
	CHECK_EQ(fe_rmdir(fe, ROOT, "new"), 0);
	while (n)
		CHECK_EQ(fe_release(fe, e.nodeid, fh[--n]), 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &again), 0);
	CHECK(unharmed());
}

/* ---- words -------------------------------------------------------------- */

/* Break ring 1 and see that the server has seen it. */
static bool break_ring(void)
{
	struct fe_ring *r = &fe->ring[1];
	struct pollfd p = { .fd = r->err, .events = POLLIN };
	uint64_t index = 1;

	if (fe_set(fe, VHU_SET_VRING_ERR, &index, sizeof(index), &r->err, 1))
		return false;
	r->avail->idx = (uint16_t)(r->avail->idx + r->num + 1);
	fe_kick_always(r);
	return poll(&p, 1, 20000) == 1;
}

/* A broken ring is worth a word, thirty are not worth thirty. */
static void quiet(void)
{
	struct fe_opts again;
	char log[128];

	CHECK_EQ(make_place(false), 0);
	snprintf(log, sizeof(log), "%s/log", top);
	setenv("FE_SERVER_LOG", log, 1);
	CHECK_EQ(serve(geteuid() ? "access=squash" : "rw", NULL), 0);
	again = fe->opts;
	for (int i = 0; i < 30; i++) {
		CHECK(break_ring());
		fe_close(fe);
		fe = NULL;
		CHECK_EQ(fe_connect(&fe, &again), 0);
	}
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	CHECK(unharmed());
	CHECK_EQ(sh("grep -q 'the guest broke queue 1: available index jumps' "
		    "log && test $(wc -l <log) -lt 10"), 0);
}

/* ---- what may not be written -------------------------------------------- */

/* As a page cache writes that some mmap() made dirty. */
static int write_raw(uint64_t node, uint64_t fh, uint32_t how, uint32_t flags)
{
	struct fuse_write_in in = { .fh = fh, .size = 1, .write_flags = how,
				    .flags = flags };
	struct fuse_write_out out;
	struct fe_call c = {
		.opcode = FUSE_WRITE, .nodeid = node,
		.in = { { &in, sizeof(in) }, { "x", 1 } },
		.out = &out, .out_size = sizeof(out),
	};

	return fe_call(fe, &c);
}

static void readonly(void)
{
	const struct fuse_setupmapping_in map = { .len = 4096, .flags = 3 };
	unsigned int flags = FS_APPEND_FL;
	struct fuse_setattr_in set = { .valid = FATTR_SIZE };
	struct fuse_entry_out e, n;
	struct fuse_attr_out a;
	uint64_t fh;

	CHECK_EQ(sh("touch -d @1000 share/good share share/dir; "
		    "find share -printf '%p %m %s %T@ %C@ %n\n' >before"), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDWR, &fh), -EROFS);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY | O_TRUNC, &fh), -EROFS);
	CHECK(fe_open(fe, e.nodeid, O_ACCMODE, &fh) < 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_WRONLY | O_APPEND, &fh), -EROFS);
	CHECK(fe_create(fe, ROOT, "good", O_RDONLY | O_TRUNC, 0644, &n, &fh) <
	      0);
	CHECK(fe_create(fe, ROOT, "new", O_RDONLY, 0644, &n, &fh) < 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), 0);
	CHECK(fe_write(fe, e.nodeid, fh, 0, "x", 1) < 0);
	CHECK(write_raw(e.nodeid, fh, FUSE_WRITE_CACHE, O_RDWR) < 0);
	CHECK(write_raw(e.nodeid, fh, FUSE_WRITE_LOCKOWNER, O_APPEND) < 0);
	CHECK(write_raw(e.nodeid, 0, FUSE_WRITE_CACHE, O_RDWR) < 0);
	CHECK(fe_ask(fe, FUSE_SETUPMAPPING, e.nodeid, &map, sizeof(map), NULL,
		     0) < 0);
	CHECK(fe_ioctl(fe, e.nodeid, fh, FS_IOC_SETFLAGS, 0, &flags,
		       sizeof(flags), NULL, 0) < 0);
	set.valid |= FATTR_FH;
	set.fh = fh;
	CHECK_EQ(fe_setattr(fe, e.nodeid, &set, &a), -EROFS);
	set.valid = FATTR_SIZE;
	CHECK(fe_fallocate(fe, e.nodeid, fh, 0, 0, 100) < 0);
	CHECK(fe_copy_file_range(fe, e.nodeid, fh, 0, e.nodeid, fh, 0, 4) < 0);
	CHECK_EQ(fe_setattr(fe, e.nodeid, &set, &a), -EROFS);
	CHECK_EQ(fe_chmod(fe, e.nodeid, 0777), -EROFS);
	CHECK_EQ(fe_chown(fe, e.nodeid, 1, 1), -EROFS);
	CHECK_EQ(fe_utimens(fe, e.nodeid, 1, 1), -EROFS);
	CHECK(fe_setxattr(fe, e.nodeid, "user.x", "x", 1, 0) < 0);
	CHECK(fe_removexattr(fe, e.nodeid, "user.x") < 0);
	CHECK_EQ(fe_link(fe, e.nodeid, ROOT, "hard", &n), -EROFS);
	CHECK_EQ(fe_unlink(fe, ROOT, "good"), -EROFS);
	CHECK_EQ(fe_rename(fe, ROOT, "good", ROOT, "x"), -EROFS);
	CHECK_EQ(fe_mkdir(fe, ROOT, "x", 0755, &n), -EROFS);
	CHECK_EQ(fe_mknod(fe, ROOT, "x", S_IFIFO | 0644, 0, &n), -EROFS);
	CHECK_EQ(fe_symlink(fe, ROOT, "x", "y", &n), -EROFS);
	CHECK_EQ(fe_rmdir(fe, ROOT, "dir"), -EROFS);
	CHECK(fe_tmpfile(fe, ROOT, O_RDWR, 0600, &n, &fh) < 0);
	CHECK_EQ(sh("find share -printf '%p %m %s %T@ %C@ %n\n' |"
		    "cmp - before"),
		 0);
}

/* ---- what the host does to the tree ------------------------------------- */

/* Doors into the kernel; what a host does not have is left out. */
static const char *const doors[] = {
	"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "debugfs",
	"tracefs", "securityfs", "bpf", "configfs", "fusectl", "binfmt_misc",
	"pstore", "resctrl", "rpc_pipefs", "nfsd", "hugetlbfs", "efivarfs",
};

static void mounts(void)
{
	bool mounted[ARRAY_LEN(doors)];
	struct fuse_entry_out e;
	unsigned int n = 0;
	char path[128];

	if (geteuid() || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		SKIP("needs root");
	CHECK_EQ(make_place(false), 0);
	for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
		snprintf(path, sizeof(path), "%s/%s", share, doors[i]);
		CHECK_EQ(mkdir(path, 0755), 0);
		mounted[i] = !mount("none", path, doors[i], 0, NULL);
		n += mounted[i];
	}
	CHECK(mounted[0] && mounted[1] && n > 3);
	CHECK_EQ(sh("mkdir share/tmp && mount -t tmpfs none share/tmp && "
		    "echo x >share/tmp/f"), 0);
	CHECK_EQ(serve("sandbox=auto", NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
		int err = fe_lookup(fe, ROOT, doors[i], &e);

		if (err != (mounted[i] ? -EACCES : 0))
			printf("# %s: %d\n", doors[i], err);
		CHECK_EQ(err, mounted[i] ? -EACCES : 0);
	}
	CHECK(fe_walk(fe, "proc/1/mem", &e) < 0);
	CHECK(fe_rename(fe, ROOT, "proc", ROOT, "p") < 0);
	CHECK_EQ(fe_walk(fe, "tmp/f", &e), 0);
	CHECK(unharmed());
}

static void take_mounts(void)
{
	char path[128];

	mounts();
	for (size_t i = 0; top[0] && i < ARRAY_LEN(doors); i++) {
		snprintf(path, sizeof(path), "%s/%s", share, doors[i]);
		umount2(path, MNT_DETACH);
	}
	if (top[0])
		sh("umount share/tmp");
	shut();
}

/* Moved out of the share by the host: nothing above it comes within reach. */
static void moved_out(void)
{
	struct fuse_entry_out dir, f, e;

	CHECK_EQ(fe_lookup(fe, ROOT, "dir", &dir), 0);
	CHECK_EQ(fe_lookup(fe, dir.nodeid, "f", &f), 0);
	CHECK_EQ(sh("mv share/dir outside/moved"), 0);
	if (!fe_lookup(fe, dir.nodeid, "..", &e))
		CHECK_EQ(e.nodeid, ROOT);
	CHECK(fe_lookup(fe, dir.nodeid, "secret", &e) < 0 || !e.nodeid);
	CHECK(fe_walk(fe, "secret", &e) < 0 || !e.nodeid);
	CHECK(fe_walk(fe, "dir", &e) < 0 || !e.nodeid);
	CHECK(fe_rename(fe, ROOT, "good", dir.nodeid, "../good") < 0);
	CHECK_EQ(sh("mv outside/moved share/dir"), 0);
}

/* ---- what its log says of it -------------------------------------------- */

static bool said(const char *file, const char *text)
{
	char all[8192] = "";

	for (int i = 0; i < 500; i++) {
		int fd = open(file, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, all, sizeof(all) - 1);

		all[n > 0 ? n : 0] = '\0';
		if (fd >= 0)
			close(fd);
		if (strstr(all, text))
			return true;
		usleep(20000);
	}
	return false;
}

/* What breaks is named, once, and the server goes on to its next client. */
static void broken_and_named(void)
{
	const struct fe_opts again = { .path = server.path };
	char log[96];

	CHECK_EQ(make_place(false), 0);
	snprintf(log, sizeof(log), "%s/log", top);
	setenv("FE_SERVER_LOG", log, 1);
	CHECK_EQ(serve("sandbox=auto", NULL), 0);
	unsetenv("FE_SERVER_LOG");
	CHECK_EQ(ftruncate(fe->region[0].fd, 0), 0);
	fe_kick_always(&fe->ring[1]);
	CHECK(said(log, "vmshare: warning: share 't': the guest broke queue "
			"1: "));
	CHECK(said(log, "vmshare: warning: share 't': guest memory is gone: "));
	CHECK_EQ(fe_send(fe, 9999, 1, NULL, 0, NULL, 0), 0);
	CHECK(said(log, "vmshare: warning: share 't': refused a message: "));
	fe_close(fe);
	fe = NULL;
	CHECK_EQ(fe_connect(&fe, &again), 0);
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	shut();
}

/* ---- all of it ---------------------------------------------------------- */

static void all_forged(void)
{
	in_all_modes(forged);
}

static void all_forgotten(void)
{
	in_all_modes(forgotten);
}

static void all_moved_out(void)
{
	in_all_modes(moved_out);
}

static void own_quiet(void)
{
	quiet();
	unsetenv("FE_SERVER_LOG");
	shut();
}

static void own_too_many(void)
{
	too_many();
	shut();
}

/* Where nothing is mounted, the server's own checks are the boundary. */
static void all_readonly(void)
{
	in_all_modes_with(readonly, ",ro");
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "nodes and handles made up", all_forged },
		{ "forgotten while it is read", all_forgotten },
		{ "ten times the limit of open files", own_too_many },
		{ "a word for broken rings, not thirty", own_quiet },
		{ "a share that may not be written to", all_readonly },
		{ "moved out from under the guest", all_moved_out },
		{ "what broke is named", broken_and_named },
		{ "the kernel's file systems below the share", take_mounts },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
