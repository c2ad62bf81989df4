/* SPDX-License-Identifier: MIT */
/*
 * Ranges of open files: FALLOCATE, LSEEK, COPY_FILE_RANGE; and the four
 * ioctls that a guest may use.
 *
 * The host gets an ioctl number only as one of the constants here, with an
 * argument of known size: inode flags and project ids as chattr and lsattr use
 * them. To change a project id, or whether new files inherit it, is refused: a
 * guest could leave the project quota that the host set for the share.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fs.h>

/* Bytes that one request copies at most; the guest asks for the rest. */
#define COPY_MAX (256ull << 20)

/* The caller may lack CAP_FSETID: the kernel must clear set-id bits. */
static bool drops_setid(const struct fs_worker *w)
{
	return w->in.uid != 0;
}

/* A call that shifts the rest of the file must not be repeated. */
static int change_range(struct fs_worker *w, int fd,
			const struct fuse_fallocate_in *in)
{
	bool shifts = in->mode & (FALLOC_FL_COLLAPSE_RANGE |
				  FALLOC_FL_INSERT_RANGE);
	int err;

	if (shifts && journal_resized(w, fd))
		return 0;
	err = shifts ? journal_size(w, fd) : 0;
	if (!err && fallocate(fd, (int)in->mode, (off_t)in->offset,
			      (off_t)in->length) < 0)
		err = -errno;
	journal_result(w, err);
	return err;
}

int op_fallocate(struct fs_worker *w)
{
	const struct fuse_fallocate_in *in = request_args(w);
	bool kill = drops_setid(w);
	struct fs_handle *handle;
	int err;

	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EFBIG;
	err = handle_get(w, in->fh, &handle);
	if (err)
		return err;
	will_block(w);
	err = owner_will_write(w, handle_fd(handle), kill);
	if (!err && kill)
		err = cred_drop_fsetid(w);
	if (!err) {
		err = change_range(w, handle_fd(handle), in);
		if (kill)
			cred_restore_fsetid(w);
	}
	handle_put(w, handle);
	return err;
}

int op_lseek(struct fs_worker *w)
{
	const struct fuse_lseek_in *in = request_args(w);
	struct fuse_lseek_out out;
	struct fs_handle *handle;
	off_t at;
	int err;

	/* The guest does all others itself; READDIR has its own offsets. */
	if ((in->whence != SEEK_DATA && in->whence != SEEK_HOLE) ||
	    !S_ISREG(node_type(w->node)))
		return -EINVAL;
	if (in->offset > INT64_MAX)
		return -ENXIO;
	err = handle_get(w, in->fh, &handle);
	if (err)
		return err;
	at = lseek(handle_fd(handle), (off_t)in->offset, (int)in->whence);
	if (at < 0)
		err = -errno;
	handle_put(w, handle);
	out.offset = (uint64_t)at;
	return err ? err : reply_put(w, &out, sizeof(out));
}

/* The handle of another node than the request's own. */
static int other_handle(struct fs_worker *w, uint64_t nodeid, uint64_t fh,
			struct fs_handle **handle)
{
	struct fs_node *own = w->node;
	int err = node_get(w->fs, nodeid, &w->node);

	if (!err) {
		err = handle_get(w, fh, handle);
		node_put(w->fs, w->node);
	}
	w->node = own;
	return err;
}

static ssize_t copy_range(struct fs_worker *w)
{
	const struct fuse_copy_file_range_in *in = request_args(w);
	uint64_t len = in->len < COPY_MAX ? in->len : COPY_MAX;
	bool kill = drops_setid(w);
	struct fs_handle *from, *to;
	off_t off_in, off_out;
	ssize_t n;

	if (in->flags)
		return -EINVAL;
	if (in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EOVERFLOW;
	n = handle_get(w, in->fh_in, &from);
	if (n)
		return n;
	n = other_handle(w, in->nodeid_out, in->fh_out, &to);
	if (n)
		goto out_from;
	off_in = (off_t)in->off_in;
	off_out = (off_t)in->off_out;
	will_block(w);
	n = owner_will_write(w, handle_fd(to), kill);
	if (!n && kill)
		n = cred_drop_fsetid(w);
	if (!n) {
		n = copy_file_range(handle_fd(from), &off_in, handle_fd(to),
				    &off_out, len, 0);
		if (n < 0)
			n = -errno;
		if (kill)
			cred_restore_fsetid(w);
	}
	handle_put(w, to);
out_from:
	handle_put(w, from);
	return n;
}

int op_copy_file_range(struct fs_worker *w)
{
	ssize_t n = copy_range(w);
	struct fuse_write_out out = { .size = (uint32_t)n };

	return n < 0 ? (int)n : reply_put(w, &out, sizeof(out));
}

int op_copy_file_range_64(struct fs_worker *w)
{
	ssize_t n = copy_range(w);
	struct fuse_copy_file_range_out out = {
		.bytes_copied = (uint64_t)n,
	};

	return n < 0 ? (int)n : reply_put(w, &out, sizeof(out));
}

/* ---- ioctl -------------------------------------------------------------- */

/* C libraries differ in the type of the command. */
static int file_ioctl(int fd, unsigned long cmd, const void *arg)
{
	return (int)syscall(SYS_ioctl, fd, cmd, arg);
}

static int ioctl_get(struct fs_worker *w, int fd, unsigned int cmd)
{
	struct {
		struct fuse_ioctl_out head;
		union {
			unsigned int flags;
			struct fsxattr x;
		} arg;
	} out = { .head = { .result = 0 } };
	size_t size;
	int ret;

	if (cmd == FS_IOC_GETFLAGS) {
		ret = file_ioctl(fd, FS_IOC_GETFLAGS, &out.arg.flags);
		size = sizeof(out.arg.flags);
	} else {
		ret = file_ioctl(fd, FS_IOC_FSGETXATTR, &out.arg.x);
		size = sizeof(out.arg.x);
	}
	if (ret < 0)
		return -errno;
	return reply_put(w, &out, sizeof(out.head) + size);
}

static int set_fsxattr(int fd, const struct fsxattr *new)
{
	struct fsxattr old = { 0 };

	if (file_ioctl(fd, FS_IOC_FSGETXATTR, &old) < 0)
		return -errno;
	if (new->fsx_projid != old.fsx_projid ||
	    (new->fsx_xflags ^ old.fsx_xflags) & FS_XFLAG_PROJINHERIT)
		return -EPERM;
	return file_ioctl(fd, FS_IOC_FSSETXATTR, new) < 0 ? -errno : 0;
}

static int set_flags(int fd, unsigned int new)
{
	unsigned int old = 0;

	if (file_ioctl(fd, FS_IOC_GETFLAGS, &old) < 0)
		return -errno;
	if ((new ^ old) & FS_PROJINHERIT_FL)
		return -EPERM;
	return file_ioctl(fd, FS_IOC_SETFLAGS, &new) < 0 ? -errno : 0;
}

static int ioctl_set(struct fs_worker *w, int fd, unsigned int cmd)
{
	struct fuse_ioctl_out out = { .result = 0 };
	struct fsxattr x;
	unsigned int flags;
	int err = 0;

	if (w->fs->options.readonly)
		return -EROFS;
	if (cmd == FS_IOC_SETFLAGS) {
		if (w->body_len < sizeof(flags) ||
		    iov_read(&w->readable, &flags, sizeof(flags)) !=
			    sizeof(flags))
			return -EINVAL;
		err = set_flags(fd, flags);
	} else {
		if (w->body_len < sizeof(x) ||
		    iov_read(&w->readable, &x, sizeof(x)) != sizeof(x))
			return -EINVAL;
		err = set_fsxattr(fd, &x);
	}
	return err ? err : reply_put(w, &out, sizeof(out));
}

int op_ioctl(struct fs_worker *w)
{
	const struct fuse_ioctl_in *in = request_args(w);
	struct fs_handle *handle;
	int ret;

	if (in->cmd != FS_IOC_GETFLAGS && in->cmd != FS_IOC_SETFLAGS &&
	    in->cmd != FS_IOC_FSGETXATTR && in->cmd != FS_IOC_FSSETXATTR)
		return -ENOTTY;
	ret = handle_get(w, in->fh, &handle);
	if (ret)
		return ret;
	if (in->cmd == FS_IOC_GETFLAGS || in->cmd == FS_IOC_FSGETXATTR)
		ret = ioctl_get(w, handle_fd(handle), in->cmd);
	else
		ret = ioctl_set(w, handle_fd(handle), in->cmd);
	handle_put(w, handle);
	return ret;
}
