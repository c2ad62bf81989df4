/* SPDX-License-Identifier: MIT */
/*
 * Attributes: GETATTR, STATX, SETATTR, ACCESS.
 *
 * Where the guest names an open handle, its descriptor is used, since the file
 * may have no name any more. owner.c translates owner and mode in both
 * directions. Times, sizes and the rest are the host's.
 *
 * Set-id bits: the kernel clears them on chown and truncate unless the caller
 * has CAP_FSETID. The server has it. Where the guest's caller does not, the
 * request says so (FATTR_KILL_SUIDGID), and the server drops it for the call.
 */

#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/capability.h>

/* statx() and attributes of the request's file, by handle if @use, or node. */
static int stat_file(struct fs_worker *w, bool use, uint64_t fh,
		     struct statx *stx, struct fuse_attr *attr)
{
	struct fs_handle *handle = NULL;
	int fd = -1, err = 0;

	if (use) {
		err = handle_get(w, fh, &handle);
		if (err)
			return err;
		fd = handle_fd(handle);
	} else if (w->fs->options.access == FS_ACCESS_MAPPED) {
		fd = node_fd(w, w->node);
		if (fd < 0)
			return fd;
	}
	if (fd >= 0)
		err = fs_statx(fd, "", FS_STATX_MASK, stx);
	else
		err = node_stat(w, w->node, stx);
	if (!err)
		err = reply_attr(w, NULL, fd, "", stx, attr);
	if (handle)
		handle_put(w, handle);
	return err;
}

static int attr_reply(struct fs_worker *w, bool use, uint64_t fh)
{
	struct fuse_attr_out out = { .spare = 0 };
	struct statx stx;
	int err = stat_file(w, use, fh, &stx, &out.attr);

	if (err)
		return err;
	out.attr_valid = reply_timeout(w->fs, &out.attr_valid_nsec);
	return reply_put(w, &out, sizeof(out));
}

int op_getattr(struct fs_worker *w)
{
	const struct fuse_getattr_in *in = request_args(w);

	return attr_reply(w, in->getattr_flags & FUSE_GETATTR_FH, in->fh);
}

static struct fuse_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct fuse_sx_time){ .tv_sec = t->tv_sec,
					 .tv_nsec = t->tv_nsec };
}

/* Get the birth time, where fs_statx() replaced it by a digest. */
static void put_btime(struct fs_worker *w, struct statx *stx)
{
	int fd = node_fd(w, w->node);
	struct statx own;

	if (fd < 0 || syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BTIME,
			      &own) || !(own.stx_mask & STATX_BTIME))
		return;
	stx->stx_btime = own.stx_btime;
	stx->stx_mask |= STATX_BTIME;
}

int op_statx(struct fs_worker *w)
{
	const struct fuse_statx_in *in = request_args(w);
	struct fuse_statx_out out = { .flags = 0 };
	struct fuse_statx *sx = &out.stat;
	struct fuse_attr attr;
	struct statx stx;
	int err = stat_file(w, in->getattr_flags & FUSE_GETATTR_FH, in->fh,
			    &stx, &attr);

	if (err)
		return err;
	if (in->sx_mask & ~stx.stx_mask & STATX_BTIME)
		put_btime(w, &stx);
	out.attr_valid = reply_timeout(w->fs, &out.attr_valid_nsec);
	sx->mask = stx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME);
	sx->blksize = stx.stx_blksize;
	sx->attributes = stx.stx_attributes;
	sx->attributes_mask = stx.stx_attributes_mask;
	sx->nlink = stx.stx_nlink;
	sx->uid = stx.stx_uid;
	sx->gid = stx.stx_gid;
	sx->mode = stx.stx_mode;
	sx->ino = attr.ino;
	sx->size = stx.stx_size;
	sx->blocks = stx.stx_blocks;
	sx->atime = sx_time(&stx.stx_atime);
	if (stx.stx_mask & STATX_BTIME)
		sx->btime = sx_time(&stx.stx_btime);
	sx->ctime = sx_time(&stx.stx_ctime);
	sx->mtime = sx_time(&stx.stx_mtime);
	sx->rdev_major = stx.stx_rdev_major;
	sx->rdev_minor = stx.stx_rdev_minor;
	sx->dev_major = stx.stx_dev_major;
	sx->dev_minor = stx.stx_dev_minor;
	return reply_put(w, &out, sizeof(out));
}

/* One of utimensat()'s two times. */
static struct timespec set_time(uint32_t valid, uint32_t set, uint32_t now,
				uint64_t sec, uint32_t nsec)
{
	struct timespec t = { .tv_sec = 0, .tv_nsec = UTIME_OMIT };

	if (valid & now) {
		t.tv_nsec = UTIME_NOW;
	} else if (valid & set) {
		t.tv_sec = (time_t)sec;
		t.tv_nsec = nsec < 1000000000 ? (long)nsec : 999999999;
	}
	return t;
}

static int set_times(struct fs_worker *w, int fd,
		     const struct fuse_setattr_in *in)
{
	struct timespec times[2] = {
		set_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime,
			 in->atimensec),
		set_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime,
			 in->mtimensec),
	};

	if (fd < 0)
		fd = node_fd(w, w->node);
	if (fd < 0)
		return fd;
	return utimensat(fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_size(struct fs_worker *w, int fd,
		    const struct fuse_setattr_in *in)
{
	int own = -1, err;

	if (!S_ISREG(node_type(w->node)))
		return S_ISDIR(node_type(w->node)) ? -EISDIR : -EINVAL;
	if (fd < 0)
		fd = own = node_open(w, w->node, O_WRONLY);
	if (fd < 0)
		return fd;
	err = file_truncate(w, fd, in->size, in->valid & FATTR_KILL_SUIDGID);
	if (own >= 0)
		close(own);
	return err;
}

int op_setattr(struct fs_worker *w)
{
	const struct fuse_setattr_in *in = request_args(w);
	uint32_t ids = FATTR_MODE | FATTR_UID | FATTR_GID;
	uint32_t times = FATTR_ATIME | FATTR_MTIME;
	struct fs_handle *handle = NULL;
	int fd = -1, err = 0;

	if (in->valid & FATTR_FH) {
		err = handle_get(w, in->fh, &handle);
		if (err)
			return err;
		fd = handle_fd(handle);
	}
	/* A chown() that changes neither id comes without any bit. */
	if (in->valid & ids || !(in->valid & (FATTR_SIZE | times)))
		err = owner_setattr(w, w->node, in->valid & ids, in->mode,
				    in->uid, in->gid);
	if (!err && in->valid & FATTR_SIZE)
		err = set_size(w, fd, in);
	if (!err && in->valid & times)
		err = set_times(w, fd, in);
	if (handle)
		handle_put(w, handle);
	return err ? err : attr_reply(w, in->valid & FATTR_FH, in->fh);
}

/*
 * Does the thread's current identity have the rights in @mask? Before Linux
 * 5.8, without faccessat2(), no call takes a descriptor and effective ids: then
 * the mode decides, without ACLs.
 */
static int access_fd(struct fs_worker *w, int fd, uint32_t mask)
{
	struct statx stx;
	uint32_t may;
	int err;

	if (!syscall(SYS_faccessat2, fd, "", (int)mask,
		     AT_EMPTY_PATH | AT_EACCESS))
		return 0;
	if (errno != ENOSYS)
		return -errno;
	err = fs_statx(fd, "", FS_STATX_MASK, &stx);
	if (err)
		return err;
	if (w->caps & 1ull << CAP_DAC_OVERRIDE)
		may = S_ISDIR(stx.stx_mode) || stx.stx_mode & 0111 ? 07u : 06u;
	else if (stx.stx_uid == w->cur_uid)
		may = stx.stx_mode >> 6;
	else if (stx.stx_gid == w->cur_gid)
		may = stx.stx_mode >> 3;
	else
		may = stx.stx_mode;
	return mask & ~may ? -EACCES : 0;
}

int op_access(struct fs_worker *w)
{
	const struct fuse_access_in *in = request_args(w);
	int fd = node_fd(w, w->node), err;

	if (fd < 0)
		return fd;
	if (in->mask & ~(uint32_t)(R_OK | W_OK | X_OK))
		return -EINVAL;
	if (in->mask & W_OK && w->fs->options.readonly)
		return -EROFS;
	err = cred_enter(w);
	if (err)
		return err;
	err = access_fd(w, fd, in->mask);
	cred_leave(w);
	return err;
}
