/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * What files hold, as a Linux guest reads and writes it: data, directories,
 * extended attributes, and whose it is when it was made.
 */

#include "fsserver_rig.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static struct rig r;

/* ---- data --------------------------------------------------------------- */

static void test_data(void)
{
	static char data[300000];
	uint64_t node, fh;
	int fd;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31 >> 3);
	/* More pieces than one system call takes, on both sides. */
	r.pieces = 701;
	CHECK_EQ(rig_write(&r, node, fh, 5, data, sizeof(data), 0),
		 sizeof(data));
	fd = openat(r.dirfd, "f", O_RDONLY);
	CHECK_EQ(pread(fd, r.out, sizeof(data) + 10, 5), sizeof(data));
	CHECK(memcmp(r.out, data, sizeof(data)) == 0);
	close(fd);
	CHECK_EQ(rig_read(&r, node, fh, 5, sizeof(data)), sizeof(data));
	CHECK(memcmp(rq_reply(&r), data, sizeof(data)) == 0);
	r.pieces = 4096;
	CHECK_EQ(rig_read(&r, node, fh, 6, 1 << 20), sizeof(data) - 1);
	CHECK(memcmp(rq_reply(&r), data + 1, sizeof(data) - 1) == 0);
	r.pieces = 0;
	CHECK_EQ(rig_read(&r, node, fh, 300005, 10), 0);
	CHECK_EQ(rig_read(&r, node, fh, 299999, 10), 6);
	CHECK_EQ(rig_read(&r, node, fh, 1ull << 63, 10), -EINVAL);
	CHECK_EQ(rig_read(&r, node, fh, INT64_MAX, 10), -EINVAL);
	CHECK_EQ(rig_write(&r, node, fh, INT64_MAX, "xx", 2, 0), -EINVAL);
	CHECK_EQ(rig_read(&r, node, fh + 1, 0, 10), -EBADF);
	CHECK_EQ(rig_read(&r, 1, fh, 0, 10), -EBADF);
	rig_stop(&r);
}

static void test_write_length(void)
{
	struct fuse_write_in in = { .size = 100 };
	uint64_t node, fh;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	in.fh = fh;
	rq(&r, FUSE_WRITE, node);
	rq_put(&r, &in, sizeof(in));
	rq_put(&r, "short", 5);
	CHECK_EQ(rq_run(&r), -EINVAL);
	CHECK_EQ(rig_write(&r, node, fh, 0, "", 0, 0), 0);
	rig_stop(&r);
}

static int write_with(uint64_t node, uint64_t fh, uint32_t flags, char c)
{
	struct fuse_write_in in = { .fh = fh, .size = 1, .flags = flags };

	rq(&r, FUSE_WRITE, node);
	rq_put(&r, &in, sizeof(in));
	rq_put(&r, &c, 1);
	return rq_run(&r);
}

/* Each write says whether it appends: a guest may change that later on. */
static void test_append(void)
{
	uint64_t node, fh;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", "hello"), 0);
	node = rig_node(&r, 1, "f");
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_WRONLY | O_APPEND, &fh), 0);
	CHECK_EQ(write_with(node, fh, O_APPEND, '!'), 0);
	CHECK_EQ(write_with(node, fh, 0, 'H'), 0);
	CHECK_EQ(write_with(node, fh, O_APPEND, '?'), 0);
	CHECK_EQ(rig_read(&r, node, fh, 0, 10), -EBADF);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_RDWR, &fh), 0);
	CHECK_EQ(write_with(node, fh, O_APPEND, '.'), 0);
	CHECK_EQ(rig_read(&r, node, fh, 0, 10), 8);
	CHECK(memcmp(rq_reply(&r), "Hello!?.", 8) == 0);
	rig_stop(&r);
}

static void test_create_existing(void)
{
	struct stat st;
	uint64_t node, fh, known;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", "hello"), 0);
	known = rig_node(&r, 1, "f");
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR | O_EXCL, &node, &fh), -EEXIST);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(node, known);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 5);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR | O_TRUNC, &node, &fh), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 0);
	/* What is there but no regular file is not opened. */
	CHECK_EQ(mkfifoat(r.dirfd, "fifo", 0600), 0);
	CHECK_EQ(rig_create(&r, 1, "fifo", O_RDWR, &node, &fh), -EBADF);
	CHECK_EQ(symlinkat("/etc/hostname", r.dirfd, "link"), 0);
	CHECK_EQ(rig_create(&r, 1, "link", O_RDWR, &node, &fh), -ELOOP);
	rig_stop(&r);
}

static void test_ranges(void)
{
	struct fuse_fallocate_in fa = { .length = 1 << 20 };
	struct fuse_lseek_in ls = { .whence = SEEK_DATA };
	const struct fuse_lseek_out *at;
	uint64_t node, fh;
	struct stat st;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	fa.fh = ls.fh = fh;
	rq(&r, FUSE_FALLOCATE, node);
	rq_put(&r, &fa, sizeof(fa));
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 1 << 20);
	CHECK_EQ(ftruncate(openat(r.dirfd, "f", O_WRONLY), 0), 0);
	CHECK_EQ(rig_write(&r, node, fh, 1 << 20, "x", 1, 0), 1);
	rq(&r, FUSE_LSEEK, node);
	rq_put(&r, &ls, sizeof(ls));
	CHECK_EQ(rq_run(&r), 0);
	at = rq_reply(&r);
	CHECK(at->offset > 0);
	ls.whence = SEEK_SET;
	rq(&r, FUSE_LSEEK, node);
	rq_put(&r, &ls, sizeof(ls));
	CHECK_EQ(rq_run(&r), -EINVAL);
	ls.whence = SEEK_DATA;
	ls.offset = 2 << 20;
	rq(&r, FUSE_LSEEK, node);
	rq_put(&r, &ls, sizeof(ls));
	CHECK_EQ(rq_run(&r), -ENXIO);
	rig_stop(&r);
}

static void test_copy_file_range(void)
{
	struct fuse_copy_file_range_in in = { .len = 5, .off_out = 2 };
	const struct fuse_write_out *out;
	const struct fuse_copy_file_range_out *out64;
	uint64_t a, b;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "a", O_RDWR, &a, &in.fh_in), 0);
	CHECK_EQ(rig_create(&r, 1, "b", O_RDWR, &b, &in.fh_out), 0);
	CHECK_EQ(rig_write(&r, a, in.fh_in, 0, "hello", 5, 0), 5);
	in.nodeid_out = b;
	rq(&r, FUSE_COPY_FILE_RANGE, a);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	out = rq_reply(&r);
	CHECK_EQ(out->size, 5);
	CHECK_EQ(rig_read(&r, b, in.fh_out, 2, 10), 5);
	rq(&r, FUSE_COPY_FILE_RANGE_64, a);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	out64 = rq_reply(&r);
	CHECK_EQ(out64->bytes_copied, 5);
	in.flags = 1;
	rq(&r, FUSE_COPY_FILE_RANGE, a);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), -EINVAL);
	in.flags = 0;
	in.nodeid_out = a;
	rq(&r, FUSE_COPY_FILE_RANGE, a);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), -EBADF);
	rig_stop(&r);
}

static void test_ioctl(void)
{
	struct fuse_ioctl_in in = { .cmd = FS_IOC_GETFLAGS, .out_size = 4 };
	uint64_t node;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &in.fh), 0);
	rq(&r, FUSE_IOCTL, node);
	rq_put(&r, &in, sizeof(in));
	if (rq_run(&r) == 0)
		CHECK_EQ(r.out_len, sizeof(struct fuse_ioctl_out) + 4);
	in.cmd = 0x5413;	/* TIOCGWINSZ */
	rq(&r, FUSE_IOCTL, node);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), -ENOTTY);
	rig_stop(&r);
}

static void test_sync(void)
{
	struct fuse_fsync_in in = { .fsync_flags = 1 };
	struct fuse_flush_in flush = { 0 };
	uint64_t node;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &in.fh), 0);
	flush.fh = in.fh;
	rq(&r, FUSE_FSYNC, node);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	rq(&r, FUSE_FLUSH, node);
	rq_put(&r, &flush, sizeof(flush));
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(rig_release(&r, node, in.fh), 0);
	CHECK_EQ(rig_release(&r, node, in.fh), -EBADF);
	rq(&r, FUSE_FSYNC, node);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), -EBADF);
	rig_stop(&r);
}

/* ---- directories -------------------------------------------------------- */

/* Read a whole directory in pieces of @size; counts, and nodes looked up. */
static int read_all(uint64_t node, uint32_t opcode, uint32_t size,
		    unsigned int *entries, unsigned int *nodes,
		    uint64_t *middle)
{
	struct fuse_read_in in = { .size = size };
	int err = rig_open(&r, FUSE_OPENDIR, node, O_RDONLY, &in.fh);

	*entries = *nodes = 0;
	while (!err) {
		const char *at;
		size_t left;

		rq(&r, opcode, node);
		rq_put(&r, &in, sizeof(in));
		err = rq_send(&r, r.w, size);
		if (err || !r.out_len)
			break;
		at = rq_reply(&r);
		for (left = r.out_len; left;) {
			struct fuse_entry_out entry = { .nodeid = 0 };
			struct fuse_dirent d;
			size_t n = 0;

			if (opcode == FUSE_READDIRPLUS) {
				memcpy(&entry, at, sizeof(entry));
				n = sizeof(entry);
			}
			memcpy(&d, at + n, FUSE_NAME_OFFSET);
			n += FUSE_DIRENT_SIZE(&d);
			*nodes += entry.nodeid != 0;
			(*entries)++;
			if (entry.nodeid)
				rig_forget(&r, entry.nodeid, 1);
			in.offset = d.off;
			if (*entries == 100)
				*middle = d.off;
			at += n;
			left -= n;
		}
	}
	if (!err) {
		struct fuse_release_in rel = { .fh = in.fh };

		rq(&r, FUSE_RELEASEDIR, node);
		rq_put(&r, &rel, sizeof(rel));
		err = rq_run(&r);
	}
	return err;
}

static void test_readdir(void)
{
	struct fuse_read_in in = { .size = 4096 };
	unsigned int entries, nodes;
	char name[32], first[4096];
	uint64_t dir, middle = 0;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "d", &dir), 0);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "d/file-%d", i);
		CHECK_EQ(rig_file(&r, name, ""), 0);
	}
	CHECK_EQ(read_all(dir, FUSE_READDIR, 4096, &entries, &nodes, &middle),
		 0);
	CHECK_EQ(entries, 3002);
	CHECK_EQ(read_all(dir, FUSE_READDIR, 100, &entries, &nodes, &middle),
		 0);
	CHECK_EQ(entries, 3002);
	CHECK_EQ(read_all(dir, FUSE_READDIRPLUS, 4096, &entries, &nodes,
			  &middle), 0);
	CHECK_EQ(entries, 3002);
	CHECK_EQ(nodes, 3000);
	/* Back to where one has been. */
	CHECK_EQ(rig_open(&r, FUSE_OPENDIR, dir, O_RDONLY, &in.fh), 0);
	in.offset = middle;
	rq(&r, FUSE_READDIR, dir);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(r.out_len > 0, 1);
	memcpy(first, rq_reply(&r), r.out_len);
	rq(&r, FUSE_READDIR, dir);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	CHECK(memcmp(first, rq_reply(&r), r.out_len) == 0);
	in.offset = UINT64_MAX;
	rq(&r, FUSE_READDIR, dir);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), -EINVAL);
	rig_stop(&r);
}

static void test_hidden(void)
{
	struct fuse_entry_out entry;
	unsigned int entries, nodes;
	uint64_t middle, dir, fh;

	rig_prepare(&r);
	r.options.hide[r.options.nr_hide++] = "secret";
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "secret", "x"), 0);
	CHECK_EQ(rig_lookup(&r, 1, "secret", &entry), -ENOENT);
	CHECK_EQ(read_all(1, FUSE_READDIRPLUS, 4096, &entries, &nodes,
			  &middle), 0);
	CHECK_EQ(entries, 2);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "secret"), -ENOENT);
	CHECK_EQ(rig_mkdir(&r, 1, "secret", NULL), -EACCES);
	CHECK_EQ(rig_rename(&r, 1, "secret", 1, "x", 0), -ENOENT);
	/* Only in the root. */
	CHECK_EQ(rig_mkdir(&r, 1, "d", &dir), 0);
	CHECK_EQ(rig_mkdir(&r, dir, "secret", NULL), 0);
	CHECK_EQ(rig_rename(&r, 1, "d", 1, "secret", 0), -EACCES);
	/* By requests that no driver sends after that lookup. */
	CHECK_EQ(rig_rename(&r, 1, "d", 1, "secret", RENAME_EXCHANGE),
		 -EACCES);
	CHECK_EQ(rig_rename(&r, 1, "secret", dir, "x", RENAME_EXCHANGE),
		 -ENOENT);
	CHECK_EQ(rig_create(&r, 1, "secret", O_RDWR, &middle, &fh), -EACCES);
	CHECK_EQ(rig_remove(&r, FUSE_RMDIR, 1, "secret"), -ENOENT);
	rq(&r, FUSE_SYMLINK, 1);
	rq_str(&r, "secret");
	rq_str(&r, "x");
	CHECK_EQ(rq_run(&r), -EACCES);
	rq(&r, FUSE_LINK, 1);
	rq_put(&r, &dir, sizeof(dir));
	rq_str(&r, "secret");
	CHECK_EQ(rq_run(&r), -EACCES);
	CHECK_EQ(rig_lookup(&r, dir, "..", &entry), 0);
	CHECK_EQ(rig_lookup(&r, entry.nodeid, "secret", &entry), -ENOENT);
	rig_stop(&r);
}

/* ---- extended attributes ------------------------------------------------ */

static int set_xattr(uint64_t node, const char *name, const char *value,
		     uint32_t flags)
{
	struct fuse_setxattr_in in = { .size = (uint32_t)strlen(value),
				       .flags = flags };

	rq(&r, FUSE_SETXATTR, node);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, name);
	rq_put(&r, value, in.size);
	return rq_run(&r);
}

static int get_xattr(uint64_t node, const char *name, uint32_t size)
{
	struct fuse_getxattr_in in = { .size = size };

	rq(&r, FUSE_GETXATTR, node);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, name);
	return rq_run(&r);
}

static void test_xattr(void)
{
	struct fuse_getxattr_in list = { .size = 1000 };
	const struct fuse_getxattr_out *out;
	uint64_t node;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", ""), 0);
	node = rig_node(&r, 1, "f");
	if (set_xattr(node, "user.a", "value", 0) == -EOPNOTSUPP) {
		rig_stop(&r);
		SKIP("no user. attributes on /tmp");
	}
	CHECK_EQ(set_xattr(node, "user.a", "value", XATTR_CREATE), -EEXIST);
	CHECK_EQ(set_xattr(node, "user.b", "value", XATTR_REPLACE), -ENODATA);
	CHECK_EQ(set_xattr(node, "user.b", "value", 0x10), -EINVAL);
	CHECK_EQ(get_xattr(node, "user.a", 0), 0);
	out = rq_reply(&r);
	CHECK_EQ(out->size, 5);
	CHECK_EQ(get_xattr(node, "user.a", 4), -ERANGE);
	CHECK_EQ(get_xattr(node, "user.a", 5), 0);
	CHECK(memcmp(rq_reply(&r), "value", 5) == 0);
	CHECK_EQ(get_xattr(node, "user.b", 5), -ENODATA);
	CHECK_EQ(get_xattr(node, "", 5), -ERANGE);
	rq(&r, FUSE_LISTXATTR, node);
	rq_put(&r, &list, sizeof(list));
	CHECK_EQ(rq_run(&r), 0);
	CHECK(memmem(rq_reply(&r), r.out_len, "user.a", 7));
	rq(&r, FUSE_REMOVEXATTR, node);
	rq_str(&r, "user.a");
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(get_xattr(node, "user.a", 5), -ENODATA);
	rig_stop(&r);
}

static void test_xattr_off(void)
{
	rig_prepare(&r);
	r.options.xattr = false;
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(set_xattr(1, "user.a", "value", 0), -ENOSYS);
	CHECK_EQ(get_xattr(1, "user.a", 5), -ENOSYS);
	rig_stop(&r);
}

/* A default ACL takes the umask's place, where ACLs were agreed on. */
static void test_umask(void)
{
	struct fuse_mkdir_in in = { .mode = 0777, .umask = 022 };
	struct stat st;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	rq(&r, FUSE_MKDIR, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "masked");
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "masked", &st, 0), 0);
	CHECK_EQ(st.st_mode & 07777, 0755);
	CHECK_EQ(rig_init_flags(&r, 0, NULL), 0);
	rq(&r, FUSE_MKDIR, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "asis");
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "asis", &st, 0), 0);
	CHECK_EQ(st.st_mode & 07777, 0777);
	rig_stop(&r);
}

static void test_owner_of_created(void)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	struct stat st;

	if (geteuid() != 0)
		SKIP("needs root");
	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(fchmod(r.dirfd, 0777), 0);
	rq(&r, FUSE_MKDIR, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "theirs");
	rq_caller(&r, 1234, 5678);
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "theirs", &st, 0), 0);
	CHECK_EQ(st.st_uid, 1234);
	CHECK_EQ(st.st_gid, 5678);
	CHECK_EQ(rig_mkdir(&r, 1, "ours", NULL), 0);
	CHECK_EQ(fstatat(r.dirfd, "ours", &st, 0), 0);
	CHECK_EQ(st.st_uid, 0);
	rig_stop(&r);
}

static unsigned int waits;

static void count_wait(struct fs_worker *w)
{
	(void)w;
	waits++;
}

/* How often a write with @flags gives its lane to another thread, or -1. */
static int waits_of(uint64_t node, uint64_t fh, uint32_t flags)
{
	r.fs->will_block = count_wait;
	waits = 0;
	return write_with(node, fh, flags, 'x') ? -1 : (int)waits;
}

/* A write into the page cache has nothing to wait for. */
static void test_write_waits(void)
{
	uint64_t node, fh;

	for (int direct = 0; direct < 2; direct++) {
		rig_prepare(&r);
		r.options.allow_direct_io = direct;
		CHECK_EQ(rig_up(&r), 0);
		CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
		CHECK_EQ(waits_of(node, fh, 0), 0);
		CHECK_EQ(waits_of(node, fh, O_DSYNC), 1);
		CHECK_EQ(waits_of(node, fh, O_SYNC), 1);
		CHECK_EQ(waits_of(node, fh, O_DIRECT), direct);
		rig_stop(&r);
	}
}

static const struct check_case cases[] = {
	{ "data is read and written in any pieces", test_data },
	{ "write shorter than it says", test_write_length },
	{ "only a write that waits for a disk gives its lane away",
	  test_write_waits },
	{ "each write says whether it appends", test_append },
	{ "create what exists", test_create_existing },
	{ "fallocate and lseek", test_ranges },
	{ "COPY_FILE_RANGE copies within the share", test_copy_file_range },
	{ "four ioctls and no other", test_ioctl },
	{ "fsync, flush, release", test_sync },
	{ "READDIR from any offset", test_readdir },
	{ "hidden names do not exist", test_hidden },
	{ "attributes are renamed", test_xattr },
	{ "xattr=off has no attributes", test_xattr_off },
	{ "the umask and default lists", test_umask },
	{ "owner of what is created", test_owner_of_created },
};

int main(int argc, char **argv)
{
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
