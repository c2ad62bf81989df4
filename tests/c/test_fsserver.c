/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * Each operation of the file server, as a Linux guest sends it: that it does
 * to the host's directory what it says, and its main errors.
 */

#include "fsserver_rig.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static struct rig r;

/* ---- the session -------------------------------------------------------- */

static void test_init(void)
{
	struct fuse_init_out out;
	uint64_t flags;

	rig_prepare(&r);
	CHECK_EQ(rig_start(&r), 0);
	rq(&r, FUSE_GETATTR, 1);
	rq_put(&r, (uint64_t[2]){ 0 }, 16);
	CHECK_EQ(rq_run(&r), -EIO);
	CHECK_EQ(rig_init_flags(&r, ~0ull, &out), 0);
	CHECK_EQ(r.out_len, sizeof(out));
	CHECK_EQ(out.major, 7);
	CHECK_EQ(out.minor, 45);
	CHECK_EQ(out.max_pages, 1020);
	CHECK_EQ(out.max_write, 1020 * 4096);
	CHECK_EQ(out.max_readahead, 131072);
	CHECK_EQ(out.time_gran, 1);
	flags = out.flags | (uint64_t)out.flags2 << 32;
	CHECK(flags & FUSE_INIT_EXT);
	CHECK(flags & FUSE_DO_READDIRPLUS);
	CHECK(flags & FUSE_POSIX_ACL);
	CHECK(flags & FUSE_DONT_MASK);
	CHECK(flags & FUSE_DIRECT_IO_ALLOW_MMAP);
	CHECK(!(flags & FUSE_WRITEBACK_CACHE));
	CHECK(!(flags & FUSE_POSIX_LOCKS));
	CHECK(!(flags & FUSE_SECURITY_CTX));
	CHECK(!(flags & FUSE_REQUEST_TIMEOUT));
	CHECK_EQ(out.request_timeout, 0);
	CHECK_EQ(r.mounted, 1);
	rig_stop(&r);
	/* What may wait for a lock is not timed out. */
	rig_prepare(&r);
	r.options.flock = true;
	CHECK_EQ(rig_start(&r), 0);
	CHECK_EQ(rig_init_flags(&r, ~0ull, &out), 0);
	CHECK(out.flags2 & FUSE_REQUEST_TIMEOUT >> 32);
	CHECK_EQ(out.request_timeout, 65535);
	CHECK_EQ(rig_init_flags(&r, ~FUSE_REQUEST_TIMEOUT, &out), 0);
	CHECK_EQ(out.request_timeout, 0);
	rig_stop(&r);
}

static void test_init_versions(void)
{
	struct fuse_init_in in = { .major = 8, .minor = 0 };
	const struct fuse_init_out *out = NULL;

	rig_prepare(&r);
	CHECK_EQ(rig_start(&r), 0);
	rq(&r, FUSE_INIT, 0);
	rq_put(&r, &in, 16);
	CHECK_EQ(rq_run(&r), 0);
	out = rq_reply(&r);
	CHECK_EQ(out->major, 7);
	CHECK_EQ(r.mounted, 0);
	in.major = 7;
	in.minor = 26;
	rq(&r, FUSE_INIT, 0);
	rq_put(&r, &in, 16);
	CHECK_EQ(rq_run(&r), -EPROTO);
	in.minor = 31;
	in.flags = FUSE_POSIX_ACL | FUSE_ASYNC_READ;
	rq(&r, FUSE_INIT, 0);
	rq_put(&r, &in, 16);
	CHECK_EQ(rq_run(&r), 0);
	out = rq_reply(&r);
	CHECK_EQ(out->minor, 31);
	/* ACLs need all of their parts. */
	CHECK_EQ(out->flags, FUSE_ASYNC_READ);
	rq(&r, FUSE_INIT, 0);
	rq_put(&r, &in, 12);
	CHECK_EQ(rq_run(&r), -EINVAL);
	rig_stop(&r);
}

static void test_reboot_drops_all(void)
{
	uint64_t node, fh;
	unsigned int fds;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	fds = rig_open_fds();
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(rig_init(&r), 0);
	CHECK_EQ(rig_getattr(&r, node, NULL), -ESTALE);
	CHECK_EQ(rig_read(&r, node, fh, 0, 10), -ESTALE);
	CHECK_EQ(rig_read(&r, 1, fh, 0, 10), -EBADF);
	CHECK_EQ(rig_open_fds(), fds);
	CHECK_EQ(rig_getattr(&r, 1, NULL), 0);
	rq(&r, FUSE_DESTROY, 0);
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(r.used, 16);
	CHECK_EQ(r.unmounted, 2);
	CHECK_EQ(rig_getattr(&r, 1, NULL), -EIO);
	rig_stop(&r);
}

static void test_statfs(void)
{
	const struct fuse_statfs_out *out;
	struct statfs sfs;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	rq(&r, FUSE_STATFS, 1);
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(r.out_len, 80);
	out = rq_reply(&r);
	CHECK_EQ(fstatfs(r.dirfd, &sfs), 0);
	CHECK_EQ(out->st.blocks, sfs.f_blocks);
	CHECK_EQ(out->st.namelen, 255);
	rq(&r, FUSE_SYNCFS, 1);
	rq_put(&r, (uint64_t[1]){ 0 }, 8);
	CHECK_EQ(rq_run(&r), 0);
	rig_stop(&r);
}

/* ---- names -------------------------------------------------------------- */

static void test_lookup(void)
{
	struct fuse_entry_out entry, again;
	struct stat st;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", "hello"), 0);
	CHECK_EQ(rig_lookup(&r, 1, "f", &entry), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(entry.attr.ino, st.st_ino);
	CHECK_EQ(entry.attr.size, 5);
	CHECK_EQ(entry.attr.mode, st.st_mode);
	CHECK_EQ(entry.attr.mtimensec, st.st_mtim.tv_nsec);
	CHECK_EQ(entry.entry_valid, 1);
	CHECK_EQ(entry.attr_valid, 1);
	CHECK_EQ(rig_lookup(&r, 1, "f", &again), 0);
	CHECK_EQ(again.nodeid, entry.nodeid);
	/* A missing name is an entry that says so, to be remembered. */
	rq(&r, FUSE_LOOKUP, 1);
	rq_str(&r, "none");
	CHECK_EQ(rq_run(&r), 0);
	memcpy(&again, rq_reply(&r), sizeof(again));
	CHECK_EQ(again.nodeid, 0);
	CHECK_EQ(again.entry_valid, 1);
	CHECK_EQ(rig_lookup(&r, entry.nodeid, "x", &again), -ENOTDIR);
	/* The count is exact: two lookups, two to forget. */
	rig_forget(&r, entry.nodeid, 1);
	CHECK_EQ(rig_getattr(&r, entry.nodeid, NULL), 0);
	rig_forget(&r, entry.nodeid, 1);
	CHECK_EQ(rig_getattr(&r, entry.nodeid, NULL), -ESTALE);
	rig_stop(&r);
}

static void test_lookup_dots(void)
{
	struct fuse_entry_out entry;
	uint64_t a, b;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "a", &a), 0);
	CHECK_EQ(rig_mkdir(&r, a, "b", &b), 0);
	CHECK_EQ(rig_lookup(&r, b, ".", &entry), 0);
	CHECK_EQ(entry.nodeid, b);
	CHECK_EQ(rig_lookup(&r, b, "..", &entry), 0);
	CHECK_EQ(entry.nodeid, a);
	CHECK_EQ(rig_lookup(&r, a, "..", &entry), 0);
	CHECK_EQ(entry.nodeid, 1);
	CHECK_EQ(rig_lookup(&r, 1, "..", &entry), 0);
	CHECK_EQ(entry.nodeid, 1);
	rig_stop(&r);
}

static void test_cache_none(void)
{
	struct fuse_entry_out entry;
	const struct fuse_open_out *out;
	uint64_t fh;

	rig_prepare(&r);
	r.options.cache = FS_CACHE_NONE;
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", "hello"), 0);
	CHECK_EQ(rig_lookup(&r, 1, "f", &entry), 0);
	CHECK_EQ(entry.entry_valid + entry.entry_valid_nsec, 0);
	rq(&r, FUSE_LOOKUP, 1);
	rq_str(&r, "none");
	CHECK_EQ(rq_run(&r), -ENOENT);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, entry.nodeid, O_RDONLY, &fh), 0);
	out = rq_reply(&r);
	CHECK(out->open_flags & FOPEN_DIRECT_IO);
	rig_stop(&r);
}

static void test_batch_forget(void)
{
	struct fuse_batch_forget_in in = { .count = 3 };
	struct fuse_forget_one one[2];
	uint64_t a, b;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "a", &a), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "b", &b), 0);
	one[0] = (struct fuse_forget_one){ a, 1 };
	one[1] = (struct fuse_forget_one){ b, UINT64_MAX };
	rq(&r, FUSE_BATCH_FORGET, 0);
	rq_put(&r, &in, sizeof(in));
	rq_put(&r, one, sizeof(one));	/* one less than it says */
	r.queue = 0;
	CHECK_EQ(rq_run(&r), 1);
	r.queue = 1;
	CHECK_EQ(rig_getattr(&r, a, NULL), -ESTALE);
	CHECK_EQ(rig_getattr(&r, b, NULL), -ESTALE);
	/* Forgetting the root is nobody's right. */
	rig_forget(&r, 1, UINT64_MAX);
	CHECK_EQ(rig_getattr(&r, 1, NULL), 0);
	rig_stop(&r);
}

static void test_symlink(void)
{
	const struct fuse_entry_out *entry;
	char target[64];
	uint64_t node;
	ssize_t n;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	rq(&r, FUSE_SYMLINK, 1);
	rq_str(&r, "l");
	rq_str(&r, "/etc/passwd");
	CHECK_EQ(rq_run(&r), 0);
	entry = rq_reply(&r);
	CHECK(S_ISLNK(entry->attr.mode));
	node = entry->nodeid;
	n = readlinkat(r.dirfd, "l", target, sizeof(target));
	CHECK_EQ(n, 11);
	rq(&r, FUSE_READLINK, node);
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(r.out_len, 11);
	CHECK(memcmp(rq_reply(&r), "/etc/passwd", 11) == 0);
	rq(&r, FUSE_READLINK, 1);
	CHECK_EQ(rq_run(&r), -EINVAL);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_RDONLY, &node), -ELOOP);
	rq(&r, FUSE_SYMLINK, 1);
	rq_str(&r, "e");
	rq_str(&r, "");
	CHECK_EQ(rq_run(&r), -ENOENT);
	rig_stop(&r);
}

static int mknod_type(uint32_t mode, uint32_t rdev)
{
	struct fuse_mknod_in in = { .mode = mode, .rdev = rdev };

	rq(&r, FUSE_MKNOD, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "n");
	return rq_run(&r);
}

static void test_mknod(void)
{
	struct stat st;
	uint64_t fh;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(mknod_type(S_IFDIR | 0755, 0), -EINVAL);
	CHECK_EQ(mknod_type(S_IFLNK | 0755, 0), -EINVAL);
	CHECK_EQ(mknod_type(S_IFREG | 0640, 0), 0);
	CHECK_EQ(fstatat(r.dirfd, "n", &st, 0), 0);
	CHECK_EQ(st.st_mode, S_IFREG | 0640);
	CHECK_EQ(mknod_type(S_IFREG | 0640, 0), -EEXIST);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "n"), 0);
	CHECK_EQ(mknod_type(S_IFIFO | 0600, 0), 0);
	/* Neither fifos nor devices are ever opened. */
	CHECK_EQ(rig_open(&r, FUSE_OPEN, rig_node(&r, 1, "n"), O_RDONLY, &fh),
		 -EBADF);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "n"), 0);
	if (geteuid() == 0) {
		const struct fuse_entry_out *entry = rq_reply(&r);

		/* 1:259 in the kernel's encoding */
		CHECK_EQ(mknod_type(S_IFCHR | 0600, 0x00100103), 0);
		CHECK_EQ(entry->attr.rdev, 0x00100103);
		CHECK_EQ(fstatat(r.dirfd, "n", &st, 0), 0);
		CHECK_EQ(major(st.st_rdev), 1);
		CHECK_EQ(minor(st.st_rdev), 259);
	}
	rig_stop(&r);
}

static void test_unlink_while_open(void)
{
	struct fuse_attr attr;
	uint64_t node, fh;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(rig_write(&r, node, fh, 0, "data", 4, 0), 4);
	CHECK_EQ(rig_remove(&r, FUSE_RMDIR, 1, "f"), -ENOTDIR);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "f"), 0);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "f"), -ENOENT);
	CHECK_EQ(rig_read(&r, node, fh, 0, 10), 4);
	CHECK_EQ(rig_getattr(&r, node, &attr), 0);
	CHECK_EQ(attr.nlink, 0);
	CHECK_EQ(rig_release(&r, node, fh), 0);
	CHECK_EQ(rig_getattr(&r, node, &attr), 0);
	rig_forget(&r, node, 1);
	CHECK_EQ(rig_getattr(&r, node, &attr), -ESTALE);
	rig_stop(&r);
}

static void test_rename(void)
{
	uint64_t a, b, f, g;
	struct fuse_attr attr;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "a", &a), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "b", &b), 0);
	CHECK_EQ(rig_file(&r, "a/f", "f"), 0);
	CHECK_EQ(rig_file(&r, "b/g", "gg"), 0);
	f = rig_node(&r, a, "f");
	g = rig_node(&r, b, "g");
	CHECK_EQ(rig_rename(&r, a, "f", b, "g", RENAME_NOREPLACE), -EEXIST);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(rig_rename(&r, a, "f", b, "g", RENAME_EXCHANGE), 0);
	CHECK_EQ(rig_node(&r, a, "f"), g);
	CHECK_EQ(rig_node(&r, b, "g"), f);
	CHECK_EQ(rig_getattr(&r, g, &attr), 0);
	CHECK_EQ(attr.size, 2);
	CHECK_EQ(rig_rename(&r, a, "f", b, "g", 0), 0);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.nlink, 0);
	CHECK_EQ(rig_getattr(&r, g, &attr), 0);
	CHECK_EQ(attr.nlink, 1);
	/* A directory into itself, an unknown flag, an unknown directory. */
	CHECK_EQ(rig_rename(&r, 1, "a", a, "x", 0), -EINVAL);
	CHECK_EQ(rig_rename(&r, 1, "a", 1, "x", 0x100), -EINVAL);
	CHECK_EQ(rig_rename(&r, 1, "a", 4711, "x", 0), -ESTALE);
	CHECK_EQ(rig_rename(&r, 1, "a", g, "x", 0), -ENOTDIR);
	CHECK_EQ(rig_node(&r, 1, "a"), a);
	CHECK_EQ(rig_rename(&r, 1, "a", b, "a", 0), 0);
	CHECK_EQ(rig_mkdir(&r, a, "below", NULL), 0);
	CHECK_EQ(faccessat(r.dirfd, "b/a/below", F_OK, 0), 0);
	rig_stop(&r);
}

static void test_rename_links(void)
{
	uint64_t f;
	struct fuse_attr attr;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", "f"), 0);
	CHECK_EQ(linkat(r.dirfd, "f", r.dirfd, "g", 0), 0);
	f = rig_node(&r, 1, "f");
	CHECK_EQ(rig_node(&r, 1, "g"), f);
	/* The kernel does nothing, and nothing has moved. */
	CHECK_EQ(rig_rename(&r, 1, "f", 1, "g", 0), 0);
	CHECK_EQ(rig_node(&r, 1, "f"), f);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "g"), 0);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.nlink, 1);
	rig_stop(&r);
}

static void test_link(void)
{
	struct fuse_link_in in;
	const struct fuse_entry_out *entry = rq_reply(&r);
	uint64_t node, fh;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	in.oldnodeid = node;
	rq(&r, FUSE_LINK, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "g");
	CHECK_EQ(rq_run(&r), 0);
	entry = rq_reply(&r);
	CHECK_EQ(entry->nodeid, node);
	CHECK_EQ(entry->attr.nlink, 2);
	rq(&r, FUSE_LINK, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "g");
	CHECK_EQ(rq_run(&r), -EEXIST);
	rig_stop(&r);
}

static void test_tmpfile(void)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = 0600 };
	const struct fuse_entry_out *entry;
	struct fuse_link_in link = { 0 };
	struct stat st;
	uint64_t node, fh;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	rq(&r, FUSE_TMPFILE, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "/");	/* as Linux does */
	CHECK_EQ(rq_run(&r), 0);
	entry = rq_reply(&r);
	node = entry->nodeid;
	CHECK_EQ(entry->attr.nlink, 0);
	fh = ((const struct fuse_open_out *)(const void *)(entry + 1))->fh;
	CHECK_EQ(rig_write(&r, node, fh, 0, "tmp", 3, 0), 3);
	link.oldnodeid = node;
	rq(&r, FUSE_LINK, 1);
	rq_put(&r, &link, sizeof(link));
	rq_str(&r, "named");
	CHECK_EQ(rq_run(&r), 0);
	entry = rq_reply(&r);
	CHECK_EQ(entry->nodeid, node);
	CHECK_EQ(fstatat(r.dirfd, "named", &st, 0), 0);
	CHECK_EQ(st.st_size, 3);
	CHECK_EQ(st.st_mode, S_IFREG | 0600);
	rig_stop(&r);
}

/* ---- attributes --------------------------------------------------------- */

static void test_setattr(void)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE | FATTR_SIZE |
					       FATTR_MTIME,
				      .mode = 0600, .size = 100,
				      .mtime = 12345, .mtimensec = 678 };
	const struct fuse_attr_out *out;
	struct stat st;
	uint64_t node, fh;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(rig_setattr(&r, node, &in), 0);
	out = rq_reply(&r);
	CHECK_EQ(out->attr.size, 100);
	CHECK_EQ(out->attr.mode, S_IFREG | 0600);
	CHECK_EQ(out->attr.mtime, 12345);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_mtim.tv_nsec, 678);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_FH,
				       .fh = fh, .size = 7 };
	CHECK_EQ(rig_setattr(&r, node, &in), 0);
	in.size = 1ull << 63;
	CHECK_EQ(rig_setattr(&r, node, &in), -EINVAL);
	in.fh = 99;
	CHECK_EQ(rig_setattr(&r, node, &in), -EBADF);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE };
	CHECK_EQ(rig_setattr(&r, 1, &in), -EISDIR);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 7);
	rig_stop(&r);
}

/* The mode of a set-id file of root's to which somebody else has added room. */
static mode_t mode_after_fallocate(const char *name)
{
	int fd = openat(r.dirfd, name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	struct stat st = { .st_mode = 0 };
	pid_t pid;

	if (fd < 0 || fchmod(fd, 06755))
		return 0;
	pid = fork();
	if (!pid)
		_exit(setresuid(1000, 1000, 1000) || fallocate(fd, 0, 0, 100));
	waitpid(pid, NULL, 0);
	fstat(fd, &st);
	close(fd);
	return st.st_mode & 07777;
}

/* Set-id bits go where the guest asks for it, and stay where it does not. */
static void test_killpriv(void)
{
	struct fuse_setattr_in in = { .valid = FATTR_SIZE };
	struct fuse_fallocate_in fa = { .length = 100 };
	struct stat st;
	uint64_t node, fh;

	if (geteuid() != 0)
		SKIP("needs root");
	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(fchmodat(r.dirfd, "f", 06755, 0), 0);
	CHECK_EQ(rig_write(&r, node, fh, 0, "x", 1, 0), 1);
	CHECK_EQ(rig_setattr(&r, node, &in), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_mode & 07777, 06755);
	CHECK_EQ(rig_write(&r, node, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID),
		 1);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_mode & 07777, 0755);
	CHECK_EQ(fchmodat(r.dirfd, "f", 06755, 0), 0);
	in.valid |= FATTR_KILL_SUIDGID;
	CHECK_EQ(rig_setattr(&r, node, &in), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_mode & 07777, 0755);
	CHECK_EQ(fchmodat(r.dirfd, "f", 06755, 0), 0);
	fa.fh = fh;
	rq(&r, FUSE_FALLOCATE, node);
	rq_put(&r, &fa, sizeof(fa));
	rq_caller(&r, 1000, 1000);
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	/* That is the host's: an old kernel's tmpfs keeps them. */
	CHECK_EQ(st.st_mode & 07777, mode_after_fallocate("g"));
	rig_stop(&r);
}

static void test_open_truncates(void)
{
	struct fuse_open_in in = { .flags = O_WRONLY | O_TRUNC,
				   .open_flags = FUSE_OPEN_KILL_SUIDGID };
	struct stat st;
	uint64_t node;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", "hello"), 0);
	CHECK_EQ(fchmodat(r.dirfd, "f", 06755, 0), 0);
	node = rig_node(&r, 1, "f");
	rq(&r, FUSE_OPEN, node);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 0);
	CHECK_EQ(st.st_mode & 07777, 0755);
	CHECK_EQ(rig_file(&r, "f", "hello"), 0);
	in.flags = O_RDONLY | O_TRUNC;
	rq(&r, FUSE_OPEN, node);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 0);
	rig_stop(&r);
}

static void test_statx(void)
{
	struct fuse_statx_in in = { .sx_mask = STATX_BTIME };
	const struct fuse_statx_out *out;
	struct statx stx;
	uint64_t node;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", "hello"), 0);
	node = rig_node(&r, 1, "f");
	rq(&r, FUSE_STATX, node);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(r.out_len, 288);
	out = rq_reply(&r);
	CHECK_EQ(syscall(SYS_statx, r.dirfd, "f", 0, STATX_BTIME, &stx), 0);
	CHECK_EQ(out->stat.size, 5);
	CHECK_EQ(out->stat.btime.tv_nsec, stx.stx_btime.tv_nsec);
	rig_stop(&r);
}

static void test_access(void)
{
	struct fuse_access_in in = { .mask = R_OK };

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	rq(&r, FUSE_ACCESS, 1);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	in.mask = 0x80;
	rq(&r, FUSE_ACCESS, 1);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), -EINVAL);
	rig_stop(&r);
}

static const struct check_case cases[] = {
	{ "INIT agrees on what both have", test_init },
	{ "INIT of older and newer protocols", test_init_versions },
	{ "a reboot drops all", test_reboot_drops_all },
	{ "statfs and syncfs", test_statfs },
	{ "LOOKUP finds files and counts", test_lookup },
	{ "lookup of dots", test_lookup_dots },
	{ "cache=none lets the guest keep nothing", test_cache_none },
	{ "BATCH_FORGET takes lookups back", test_batch_forget },
	{ "symlinks are made and read", test_symlink },
	{ "MKNOD makes files of each type", test_mknod },
	{ "unlink while open", test_unlink_while_open },
	{ "RENAME with each flag", test_rename },
	{ "rename of links", test_rename_links },
	{ "LINK gives a second name", test_link },
	{ "TMPFILE makes a file without a name", test_tmpfile },
	{ "SETATTR sets what it is asked to", test_setattr },
	{ "writes clear set-id bits", test_killpriv },
	{ "OPEN truncates", test_open_truncates },
	{ "STATX has times of birth", test_statx },
	{ "ACCESS asks the host", test_access },
};

int main(int argc, char **argv)
{
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
