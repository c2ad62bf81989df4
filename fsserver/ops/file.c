/* SPDX-License-Identifier: MIT */
/*
 * Open files: OPEN, READ, WRITE, FLUSH, FSYNC, RELEASE.
 *
 * File data moves between the file and the guest's pages in one system call
 * for each 1024 iovecs; neighbouring ones are joined first. The server does not
 * copy it.
 *
 * A read is first tried without waiting (RWF_NOWAIT). The thread that leads the
 * queue answers at once what is in the page cache; only other reads cost a
 * hand-over of the lead. A flag of the handle says that the file system does
 * not support RWF_NOWAIT.
 *
 * Each WRITE says whether it appends, since a guest may change that with
 * fcntl(2); RWF_APPEND is then set for that one call. The file is still opened
 * with O_APPEND, without which an append-only file can't be opened; the first
 * write that does not append clears it.
 *
 * A short RWF_NOWAIT read that ends within a page ended at the end of the file.
 * One that ends at a page boundary may also have reached the end of the cached
 * pages; it is continued with waiting.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/fs.h>

#define MAX_PIECES	1024u	/* UIO_MAXIOV */
#define PAGE_MASK	4095u

/* Flags of a guest's open that are passed to the host. */
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC)

/* ---- opening ------------------------------------------------------------ */

int file_flags(struct fs_worker *w, uint32_t guest)
{
	const struct fs_options *o = &w->fs->options;
	int flags = (int)guest & OPEN_FLAGS;

	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (o->readonly && flags & (O_ACCMODE | O_TRUNC))
		return -EROFS;
	if (o->allow_direct_io)
		flags |= (int)guest & O_DIRECT;
	if (o->noatime)
		flags |= (int)guest & O_NOATIME;
	if (session_has(w->fs, FUSE_WRITEBACK_CACHE)) {
		/* The guest's page cache reads pages before partial writes. */
		if ((flags & O_ACCMODE) == O_WRONLY)
			flags = (flags & ~O_ACCMODE) | O_RDWR;
		flags &= ~O_APPEND;
	}
	return flags;
}

int file_truncate(struct fs_worker *w, int fd, uint64_t size, bool kill)
{
	int err = owner_will_write(w, fd, kill);

	if (!err && kill)
		err = cred_drop_fsetid(w);
	if (err)
		return err;
	if (size > INT64_MAX)
		err = -EINVAL;
	else if (ftruncate(fd, (off_t)size) < 0)
		err = -errno;
	if (kill)
		cred_restore_fsetid(w);
	return err;
}

int file_opened(struct fs_worker *w, struct fs_node *node, int fd, int flags,
		struct fuse_open_out *out)
{
	const struct fs_options *o = &w->fs->options;
	uint32_t how = flags & O_APPEND ? HANDLE_APPEND : 0;
	int err = handle_add(w, node, fd, how, &out->fh, journal_fh(w));

	if (err) {
		close(fd);
		fd_uncharge(w->fs);
		return err;
	}
	out->backing_id = 0;
	out->open_flags = 0;
	if (o->cache == FS_CACHE_NONE)
		out->open_flags |= FOPEN_DIRECT_IO;
	else if (o->cache == FS_CACHE_ALWAYS && !(flags & O_DIRECT))
		out->open_flags |= FOPEN_KEEP_CACHE;
	out->open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
	/* FLUSH only ends POSIX locks. */
	if (!session_has(w->fs, FUSE_POSIX_LOCKS))
		out->open_flags |= FOPEN_NOFLUSH;
	return 0;
}

/* O_TRUNC, after the opened file was verified. */
static int open_truncate(struct fs_worker *w, int fd, int flags, bool kill)
{
	int own = -1, err;

	if ((flags & O_ACCMODE) == O_RDONLY) {
		fd = own = node_open(w, w->node, O_WRONLY);
		if (fd < 0)
			return fd;
	}
	err = file_truncate(w, fd, 0, kill);
	if (own >= 0)
		close(own);
	return err;
}

int op_open(struct fs_worker *w)
{
	const struct fuse_open_in *in = request_args(w);
	int flags = file_flags(w, in->flags), fd, err;
	struct fuse_open_out out;

	if (flags < 0)
		return flags;
	if (S_ISDIR(node_type(w->node)))
		return -EISDIR;
	if (w->writable_len < sizeof(out))
		return -EINVAL;
	err = fd_charge(w->fs, false);
	if (err)
		return err;
	fd = node_open(w, w->node, flags);
	if (fd >= 0 && flags & O_TRUNC) {
		err = open_truncate(w, fd, flags,
				    in->open_flags & FUSE_OPEN_KILL_SUIDGID);
		if (err) {
			close(fd);
			fd = err;
		}
	}
	if (fd < 0) {
		fd_uncharge(w->fs);
		return fd;
	}
	err = file_opened(w, w->node, fd, flags, &out);
	return err ? err : reply_put(w, &out, sizeof(out));
}

int op_release(struct fs_worker *w)
{
	const struct fuse_release_in *in = request_args(w);
	struct fs_handle *handle;
	int err = handle_get(w, in->fh, &handle);

	/* An earlier worker may have released it. */
	if (err == -EBADF && w->replay == JOURNAL_INTENT)
		return 0;
	if (err)
		return err;
	journal_intent(w);
	if (w->fs->locks)
		lock_release(w, handle, in);
	handle_release(w, handle);
	handle_put(w, handle);
	return 0;
}

int op_flush(struct fs_worker *w)
{
	const struct fuse_flush_in *in = request_args(w);
	struct fs_handle *handle;
	int err = handle_get(w, in->fh, &handle);

	if (err)
		return err;
	if (w->fs->locks)
		lock_flush(w, in->lock_owner);
	handle_put(w, handle);
	return 0;
}

/* Files in memory: FSYNC does not sleep, and a hand-over is not worth it. */
static bool in_memory(int fd)
{
	struct statfs sfs;

	return fstatfs(fd, &sfs) == 0 && (sfs.f_type == TMPFS_MAGIC ||
					  sfs.f_type == RAMFS_MAGIC);
}

int op_fsync(struct fs_worker *w)
{
	const struct fuse_fsync_in *in = request_args(w);
	bool data = in->fsync_flags & FUSE_FSYNC_FDATASYNC;
	struct fs_handle *handle;
	int err = handle_get(w, in->fh, &handle), fd;

	if (err)
		return err;
	fd = handle_fd(handle);
	if (!in_memory(fd))
		will_block(w);
	if ((data ? fdatasync(fd) : fsync(fd)) < 0)
		err = -errno;
	handle_put(w, handle);
	return err;
}

/*
 * The C library's wrappers are cancellation points, which costs a tenth of a
 * small read; and musl has neither function before 1.2.5.
 */
static ssize_t read_at(int fd, const struct iovec *vec, int nr, off_t offset,
		       int how)
{
	return syscall(SYS_preadv2, fd, vec, nr, offset, 0L, how);
}

static ssize_t write_at(int fd, const struct iovec *vec, int nr, off_t offset,
			int how)
{
	return syscall(SYS_pwritev2, fd, vec, nr, offset, 0L, how);
}

/* ---- data --------------------------------------------------------------- */

/* Put the next @len bytes as iovecs into w->scratch. Return: their number. */
static int gather(struct fs_worker *w, const struct iov_cursor *from,
		  size_t skip, size_t len, size_t *total)
{
	struct iovec *vec = (struct iovec *)(void *)w->scratch;
	struct iov_cursor at = *from;
	unsigned int nr;

	_Static_assert(MAX_PIECES * sizeof(*vec) <= FS_SCRATCH, "room");
	iov_skip(&at, skip);
	nr = iov_slice(&at, len, vec, MAX_PIECES);
	*total = iov_total(vec, nr);
	return (int)nr;
}

/*
 * One preadv2(). @nowait: whether to try without waiting first; set to whether
 * the result is of that try.
 */
static ssize_t read_once(struct fs_worker *w, struct fs_handle *handle,
			 int nr, off_t offset, bool *nowait)
{
	const struct iovec *vec = (const struct iovec *)(void *)w->scratch;
	int fd = handle_fd(handle);
	ssize_t n;

	if (*nowait) {
		n = read_at(fd, vec, nr, offset, RWF_NOWAIT);
		if (n >= 0)
			return n;
		if (errno == EOPNOTSUPP)
			handle_flag(handle, HANDLE_SLOW);
		else if (errno != EAGAIN)
			return -errno;
		*nowait = false;
		if (errno == EAGAIN)
			will_block(w);
	}
	n = read_at(fd, vec, nr, offset, 0);
	return n < 0 ? -errno : n;
}

static int read_file(struct fs_worker *w, struct fs_handle *handle,
		     uint64_t offset, size_t size)
{
	bool fast = !(handle_flags(handle) & HANDLE_SLOW);
	size_t done = 0;

	while (done < size) {
		size_t want;
		int nr = gather(w, &w->writable, done, size - done, &want);
		bool nowait = fast;
		ssize_t n;

		if (!nr)
			break;
		n = read_once(w, handle, nr, (off_t)(offset + done), &nowait);
		if (n < 0)
			return done ? (int)done : (int)n;
		done += (size_t)n;
		if ((size_t)n == want)
			continue;
		if (n == 0 || !nowait || (offset + done) & PAGE_MASK)
			break;
		/* The end of the cached pages, or of the file. */
		will_block(w);
		fast = false;
	}
	return (int)done;
}

int op_read(struct fs_worker *w)
{
	const struct fuse_read_in *in = request_args(w);
	struct fs_handle *handle;
	size_t size = in->size;
	int ret = handle_get(w, in->fh, &handle);

	if (ret)
		return ret;
	if (size > w->writable_len)
		size = w->writable_len;
	if (size > INT32_MAX - PAGE_MASK)
		size = INT32_MAX - PAGE_MASK;
	ret = -EINVAL;
	if (in->offset <= (uint64_t)INT64_MAX - size)
		ret = read_file(w, handle, in->offset, size);
	handle_put(w, handle);
	return ret;
}

/* Write the body, of which @done bytes were written before. @how: RWF_* */
static ssize_t write_file(struct fs_worker *w, int fd, uint64_t offset,
			  size_t size, size_t done, int how)
{
	const struct iovec *vec = (const struct iovec *)(void *)w->scratch;
	size_t want;

	do {
		int nr = gather(w, &w->readable, done, size - done, &want);
		ssize_t n = write_at(fd, vec, nr, (off_t)(offset + done), how);

		if (n < 0)
			return done ? (ssize_t)done : -errno;
		done += (size_t)n;
		if ((size_t)n < want || !nr)
			break;
	} while (done < size);
	return (ssize_t)done;
}

/* An append must not be repeated: skip what an earlier worker appended. */
static ssize_t append_file(struct fs_worker *w, int fd, uint64_t offset,
			   size_t size)
{
	size_t done = journal_appended(w, fd, size);
	int err = done ? 0 : journal_size(w, fd);

	if (err || (done && done == size))
		return err ? err : (ssize_t)done;
	return write_file(w, fd, offset, size, done, RWF_APPEND);
}

/* Write at @offset, without O_APPEND: see the head of this file. */
static ssize_t overwrite_file(struct fs_worker *w, struct fs_handle *handle,
			      uint64_t offset, size_t size)
{
	int fd = handle_fd(handle), flags;

	if (handle_flags(handle) & HANDLE_APPEND) {
		flags = fcntl(fd, F_GETFL);
		if (flags < 0 || (flags & O_APPEND &&
				  fcntl(fd, F_SETFL, flags & ~O_APPEND) < 0))
			return -errno;
	}
	return write_file(w, fd, offset, size, 0, 0);
}

/* O_DIRECT has an effect on the host only where the option passes it on. */
static bool waits_for_disk(const struct fs_worker *w,
			   const struct fuse_write_in *in)
{
	uint32_t waits = O_SYNC | O_DSYNC;

	if (w->fs->options.allow_direct_io)
		waits |= O_DIRECT;
	return in->flags & waits;
}

/* With a writeback cache the guest itself knows the offset of an append. */
static bool appends(const struct fs_worker *w, const struct fuse_write_in *in)
{
	return in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE) &&
	       !session_has(w->fs, FUSE_WRITEBACK_CACHE);
}

int op_write(struct fs_worker *w)
{
	const struct fuse_write_in *in = request_args(w);
	bool kill = in->write_flags & FUSE_WRITE_KILL_SUIDGID;
	struct fuse_write_out out = { .spare = 0 };
	struct fs_handle *handle;
	ssize_t n;
	int err;

	if (in->size > w->body_len || in->size > INT32_MAX - PAGE_MASK ||
	    in->offset > (uint64_t)INT64_MAX - in->size)
		return -EINVAL;
	err = handle_get(w, in->fh, &handle);
	if (err)
		return err;
	err = owner_will_write(w, handle_fd(handle), kill);
	if (!err && kill)
		err = cred_drop_fsetid(w);
	if (err)
		goto out;
	if (waits_for_disk(w, in))
		will_block(w);
	if (appends(w, in))
		n = append_file(w, handle_fd(handle), in->offset, in->size);
	else
		n = overwrite_file(w, handle, in->offset, in->size);
	if (kill)
		cred_restore_fsetid(w);
	err = n < 0 ? (int)n : 0;
	out.size = n < 0 ? 0 : (uint32_t)n;
out:
	handle_put(w, handle);
	return err ? err : reply_put(w, &out, sizeof(out));
}
