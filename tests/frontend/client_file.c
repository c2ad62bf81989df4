/* SPDX-License-Identifier: MIT */
/*
 * The operations on open files and directories, on extended attributes and
 * on locks, one function each.
 */

#include "tests/frontend/fe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME(s) { (s), strlen(s) + 1 }

#define LIST_SIZE (32u << 10)

static ssize_t bytes(int ret, size_t got)
{
	return ret < 0 ? ret : (ssize_t)got;
}

/* A call that is answered with data. */
static ssize_t call_bytes(struct fe *fe, struct fe_call *c)
{
	int ret = fe_call(fe, c);

	return bytes(ret, c->got);
}

static int open_op(struct fe *fe, uint32_t opcode, uint64_t node,
		   uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out out;
	int ret = fe_ask(fe, opcode, node, &in, sizeof(in), &out, sizeof(out));

	if (ret == 0)
		*fh = out.fh;
	return ret;
}

int fe_open(struct fe *fe, uint64_t node, uint32_t flags, uint64_t *fh)
{
	return open_op(fe, FUSE_OPEN, node, flags, fh);
}

int fe_opendir(struct fe *fe, uint64_t node, uint64_t *fh)
{
	return open_op(fe, FUSE_OPENDIR, node, O_RDONLY | O_DIRECTORY, fh);
}

static int create_op(struct fe *fe, uint32_t opcode, uint64_t dir,
		     const char *name, uint32_t flags, mode_t mode,
		     struct fuse_entry_out *e, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = flags, .mode = mode };
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	struct fe_call c = {
		.opcode = opcode,
		.nodeid = dir,
		.in = { { &in, sizeof(in) }, NAME(name) },
		.out = &out,
		.out_size = sizeof(out),
		.out_exact = true,
	};
	int ret = fe_call(fe, &c);

	if (ret < 0)
		return ret;
	if (e)
		*e = out.entry;
	*fh = out.open.fh;
	return 0;
}

int fe_create(struct fe *fe, uint64_t dir, const char *name, uint32_t flags,
	      mode_t mode, struct fuse_entry_out *e, uint64_t *fh)
{
	return create_op(fe, FUSE_CREATE, dir, name, flags | O_CREAT,
			 S_IFREG | mode, e, fh);
}

int fe_tmpfile(struct fe *fe, uint64_t dir, uint32_t flags, mode_t mode,
	       struct fuse_entry_out *e, uint64_t *fh)
{
	/* Linux sends the name of the unnamed dentry, "/", with it. */
	return create_op(fe, FUSE_TMPFILE, dir, "/", flags | O_TMPFILE,
			 S_IFREG | mode, e, fh);
}

ssize_t fe_read(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		void *buf, size_t len)
{
	struct fuse_read_in in = {
		.fh = fh, .offset = off, .size = (uint32_t)len,
	};
	struct fe_call c = {
		.opcode = FUSE_READ,
		.nodeid = node,
		.in = { { &in, sizeof(in) } },
		.dst = buf,
		.dst_size = len,
	};

	return call_bytes(fe, &c);
}

ssize_t fe_write(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		 const void *buf, size_t len)
{
	struct fuse_write_in in = {
		.fh = fh, .offset = off, .size = (uint32_t)len,
	};
	struct fuse_write_out out = { 0 };
	struct fe_call c = {
		.opcode = FUSE_WRITE,
		.nodeid = node,
		.in = { { &in, sizeof(in) } },
		.src = buf,
		.src_len = len,
		.out = &out,
		.out_size = sizeof(out),
		.out_exact = true,
	};
	int ret = fe_call(fe, &c);

	return bytes(ret, out.size);
}

/* Struct in, nothing out. */
static int simple(struct fe *fe, uint32_t opcode, uint64_t node,
		  const void *in, size_t len)
{
	return fe_ask(fe, opcode, node, in, len, NULL, 0);
}

int fe_flush(struct fe *fe, uint64_t node, uint64_t fh, uint64_t owner)
{
	struct fuse_flush_in in = { .fh = fh, .lock_owner = owner };

	return simple(fe, FUSE_FLUSH, node, &in, sizeof(in));
}

int fe_fsync(struct fe *fe, uint64_t node, uint64_t fh, bool data_only)
{
	struct fuse_fsync_in in = {
		.fh = fh,
		.fsync_flags = data_only ? FUSE_FSYNC_FDATASYNC : 0,
	};

	return simple(fe, FUSE_FSYNC, node, &in, sizeof(in));
}

int fe_fsyncdir(struct fe *fe, uint64_t node, uint64_t fh)
{
	struct fuse_fsync_in in = { .fh = fh };

	return simple(fe, FUSE_FSYNCDIR, node, &in, sizeof(in));
}

int fe_release(struct fe *fe, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return simple(fe, FUSE_RELEASE, node, &in, sizeof(in));
}

int fe_releasedir(struct fe *fe, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return simple(fe, FUSE_RELEASEDIR, node, &in, sizeof(in));
}

int fe_syncfs(struct fe *fe)
{
	struct fuse_syncfs_in in = { 0 };

	return simple(fe, FUSE_SYNCFS, FUSE_ROOT_ID, &in, sizeof(in));
}

int fe_fallocate(struct fe *fe, uint64_t node, uint64_t fh, uint32_t mode,
		 uint64_t off, uint64_t len)
{
	struct fuse_fallocate_in in = {
		.fh = fh, .offset = off, .length = len, .mode = mode,
	};

	return simple(fe, FUSE_FALLOCATE, node, &in, sizeof(in));
}

int64_t fe_lseek(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		 uint32_t whence)
{
	struct fuse_lseek_in in = { .fh = fh, .offset = off, .whence = whence };
	struct fuse_lseek_out out = { 0 };
	int ret = fe_ask(fe, FUSE_LSEEK, node, &in, sizeof(in), &out,
			 sizeof(out));

	return ret < 0 ? ret : (int64_t)out.offset;
}

ssize_t fe_copy_file_range(struct fe *fe, uint64_t node_in, uint64_t fh_in,
			   uint64_t off_in, uint64_t node_out, uint64_t fh_out,
			   uint64_t off_out, uint64_t len)
{
	struct fuse_copy_file_range_in in = {
		.fh_in = fh_in,
		.off_in = off_in,
		.nodeid_out = node_out,
		.fh_out = fh_out,
		.off_out = off_out,
		.len = len,
	};
	struct fuse_write_out out = { 0 };
	int ret = fe_ask(fe, FUSE_COPY_FILE_RANGE, node_in, &in, sizeof(in),
			 &out, sizeof(out));

	return bytes(ret, out.size);
}

int fe_ioctl(struct fe *fe, uint64_t node, uint64_t fh, uint32_t cmd,
	     uint32_t flags, const void *in, size_t in_len, void *out,
	     size_t out_size)
{
	struct fuse_ioctl_in head = {
		.fh = fh,
		.flags = flags,
		.cmd = cmd,
		.in_size = (uint32_t)in_len,
		.out_size = (uint32_t)out_size,
	};
	struct fuse_ioctl_out ret = { 0 };
	struct fe_call c = {
		.opcode = FUSE_IOCTL,
		.nodeid = node,
		.in = { { &head, sizeof(head) } },
		.src = in,
		.src_len = in_len,
		.out = &ret,
		.out_size = sizeof(ret),
		.dst = out,
		.dst_size = out_size,
	};
	int err = fe_call(fe, &c);

	return err < 0 ? err : ret.result;
}

ssize_t fe_readdir(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		   void *buf, size_t size, bool plus)
{
	struct fuse_read_in in = {
		.fh = fh, .offset = off, .size = (uint32_t)size,
	};
	struct fe_call c = {
		.opcode = plus ? FUSE_READDIRPLUS : FUSE_READDIR,
		.nodeid = node,
		.in = { { &in, sizeof(in) } },
		.dst = buf,
		.dst_size = size,
	};

	return call_bytes(fe, &c);
}

int fe_next_dirent(const void *buf, size_t len, bool plus, size_t *pos,
		   struct fe_dirent *d)
{
	const size_t head = plus ? sizeof(struct fuse_entry_out) : 0;
	const char *p = (const char *)buf + *pos;
	const struct fuse_dirent *e = (const void *)(p + head);
	size_t left = len - *pos, size;

	if (left == 0)
		return 0;
	if (left < head + FUSE_NAME_OFFSET)
		return -EPROTO;
	if (e->namelen == 0 || e->namelen > left - head - FUSE_NAME_OFFSET)
		return -EPROTO;
	size = FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + e->namelen);
	d->entry = plus ? (const void *)p : NULL;
	d->ino = e->ino;
	d->off = e->off;
	d->type = e->type;
	d->name = e->name;
	d->namelen = e->namelen;
	*pos += size < left ? size : left;
	return 1;
}

static int list_some(const char *buf, size_t len, bool plus, uint64_t *off,
		     int (*fn)(const struct fe_dirent *d, void *arg),
		     void *arg)
{
	struct fe_dirent d;
	size_t pos = 0;
	int ret;

	while ((ret = fe_next_dirent(buf, len, plus, &pos, &d)) > 0) {
		*off = d.off;
		ret = fn(&d, arg);
		if (ret)
			return ret;
	}
	return ret;
}

int fe_list(struct fe *fe, uint64_t node, bool plus,
	    int (*fn)(const struct fe_dirent *d, void *arg), void *arg)
{
	char *buf = malloc(LIST_SIZE);
	uint64_t fh = 0, off = 0;
	ssize_t n;
	int ret;

	if (!buf)
		return -ENOMEM;
	ret = fe_opendir(fe, node, &fh);
	if (ret < 0)
		goto out;
	do {
		n = fe_readdir(fe, node, fh, off, buf, LIST_SIZE, plus);
		ret = n > 0 ? list_some(buf, (size_t)n, plus, &off, fn, arg) :
			      (int)n;
	} while (n > 0 && ret == 0);
	fe_releasedir(fe, node, fh);
out:
	free(buf);
	return ret;
}

int fe_setxattr(struct fe *fe, uint64_t node, const char *name,
		const void *value, size_t len, uint32_t flags)
{
	struct fuse_setxattr_in in = { .size = (uint32_t)len, .flags = flags };
	bool ext = fe->init_flags & FUSE_SETXATTR_EXT;
	struct fe_call c = {
		.opcode = FUSE_SETXATTR,
		.nodeid = node,
		.in = {
			{ &in, ext ? sizeof(in) :
				     FUSE_COMPAT_SETXATTR_IN_SIZE },
			NAME(name),
			{ value ? value : "", len },
		},
	};

	return fe_call(fe, &c);
}

/* GETXATTR and LISTXATTR: a length where no room is offered. */
static ssize_t xattr_op(struct fe *fe, uint32_t opcode, uint64_t node,
			const char *name, void *buf, size_t size)
{
	struct fuse_getxattr_in in = { .size = (uint32_t)size };
	struct fuse_getxattr_out out = { 0 };
	struct fe_call c = {
		.opcode = opcode,
		.nodeid = node,
		.in = { { &in, sizeof(in) },
			{ name, name ? strlen(name) + 1 : 0 } },
	};
	int ret;

	if (size) {
		c.dst = buf;
		c.dst_size = size;
	} else {
		c.out = &out;
		c.out_size = sizeof(out);
		c.out_exact = true;
	}
	ret = fe_call(fe, &c);
	return bytes(ret, size ? c.got : out.size);
}

ssize_t fe_getxattr(struct fe *fe, uint64_t node, const char *name, void *buf,
		    size_t size)
{
	return xattr_op(fe, FUSE_GETXATTR, node, name, buf, size);
}

ssize_t fe_listxattr(struct fe *fe, uint64_t node, void *buf, size_t size)
{
	return xattr_op(fe, FUSE_LISTXATTR, node, NULL, buf, size);
}

int fe_removexattr(struct fe *fe, uint64_t node, const char *name)
{
	return simple(fe, FUSE_REMOVEXATTR, node, name, strlen(name) + 1);
}

int fe_getlk(struct fe *fe, uint64_t node, uint64_t fh, uint64_t owner,
	     struct fuse_file_lock *lk)
{
	struct fuse_lk_in in = { .fh = fh, .owner = owner, .lk = *lk };
	struct fuse_lk_out out;
	int ret = fe_ask(fe, FUSE_GETLK, node, &in, sizeof(in), &out,
			 sizeof(out));

	if (ret == 0)
		*lk = out.lk;
	return ret;
}

int fe_setlk(struct fe *fe, uint64_t node, uint64_t fh, uint64_t owner,
	     const struct fuse_file_lock *lk, bool wait, bool flock)
{
	struct fuse_lk_in in = {
		.fh = fh,
		.owner = owner,
		.lk = *lk,
		.lk_flags = flock ? FUSE_LK_FLOCK : 0,
	};

	return simple(fe, wait ? FUSE_SETLKW : FUSE_SETLK, node, &in,
		      sizeof(in));
}
