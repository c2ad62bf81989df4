/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes. Their system calls take a path or a descriptor that is
 * open for I/O, and a node has neither. So they use the private procfs, which
 * is also the process's working directory: "self/fd/N" is the file of an O_PATH
 * descriptor, also for symlinks and special files. Without a procfs, regular
 * files and directories are opened, and other files have no attributes.
 *
 * xattrname.c decides which names the guest may use, and what they are on the
 * host. Values are copied: these system calls take no iovecs.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* How the file's attributes are reached. */
struct xattr_file {
	int fd;			/* open for I/O, to be closed; or -1 */
	char path[PROC_PATH_SIZE];
};

static int xattr_begin(struct fs_worker *w, struct xattr_file *f)
{
	int fd;

	if (!w->fs->options.xattr)
		return -ENOSYS;
	f->fd = -1;
	if (w->fs->place.proc >= 0) {
		fd = node_fd(w, w->node);
		if (fd < 0)
			return fd;
		proc_path(f->path, fd);
		return 0;
	}
	fd = node_open(w, w->node, O_RDONLY);
	if (fd == -ELOOP || fd == -EBADF)
		return -EOPNOTSUPP;
	f->fd = fd;
	return fd < 0 ? fd : 0;
}

static void xattr_end(const struct xattr_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
}

static bool xattr_there(const struct xattr_file *f, const char *host)
{
	return (f->fd >= 0 ? fgetxattr(f->fd, host, NULL, 0) :
			     getxattr(f->path, host, NULL, 0)) >= 0;
}

/* Set the attribute to the value in w->scratch. */
static int xattr_set(struct fs_worker *w, const struct xattr_file *f,
		     const char *host, size_t size, int flags)
{
	int ret;

	if (flags & XATTR_CREATE) {
		/* It did not exist: an earlier worker has created it. */
		if (w->replay == JOURNAL_INTENT && !journal_existed(w))
			flags &= ~XATTR_CREATE;
		else
			journal_exists(w, xattr_there(f, host));
	}
	ret = f->fd >= 0 ? fsetxattr(f->fd, host, w->scratch, size, flags) :
			   setxattr(f->path, host, w->scratch, size, flags);
	return ret < 0 ? -errno : 0;
}

/* @kill: without CAP_FSETID, so that an ACL clears the set-group-id bit. */
static int xattr_set_as(struct fs_worker *w, const struct xattr_file *f,
			const char *host, const struct fuse_setxattr_in *in,
			bool kill)
{
	int err = kill ? cred_drop_fsetid(w) : 0;

	if (err)
		return err;
	err = xattr_set(w, f, host, in->size, (int)in->flags);
	if (kill)
		cred_restore_fsetid(w);
	return err;
}

int op_setxattr(struct fs_worker *w)
{
	const struct fuse_setxattr_in *in = request_args(w);
	char host[XATTR_NAME_MAX + 1];
	bool kill = in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	struct xattr_file f;
	int err, flags = (int)in->flags;

	if (in->size > XATTR_SIZE_MAX)
		return -E2BIG;
	if (in->size > w->body_len ||
	    iov_read(&w->readable, w->scratch, in->size) != in->size)
		return -EINVAL;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	err = owner_xattr_to_host(w, w->name[0], host, true);
	if (!err && xattr_is_acl(host))
		err = owner_map_acl(w->fs, w->scratch, in->size, true);
	if (!err)
		err = xattr_begin(w, &f);
	if (err)
		return err;
	if (owner_keeps_acl(w, w->name[0]))
		err = owner_set_acl(w, in->size, kill);
	else
		err = xattr_set_as(w, &f, host, in, kill);
	xattr_end(&f);
	return err;
}

/* Reply with @len bytes of w->scratch; with their number if @size is 0. */
static int xattr_reply(struct fs_worker *w, uint32_t size, size_t len)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)len };

	if (size == 0)
		return reply_put(w, &out, sizeof(out));
	if (len > size)
		return -ERANGE;
	return reply_put(w, w->scratch, len);
}

int op_getxattr(struct fs_worker *w)
{
	const struct fuse_getxattr_in *in = request_args(w);
	size_t room = in->size ? XATTR_SIZE_MAX : 0;
	char host[XATTR_NAME_MAX + 1];
	struct xattr_file f;
	ssize_t len = 0;
	int err;

	err = owner_xattr_to_host(w, w->name[0], host, false);
	if (!err)
		err = xattr_begin(w, &f);
	if (!err) {
		if (f.fd >= 0)
			len = fgetxattr(f.fd, host, w->scratch, room);
		else
			len = getxattr(f.path, host, w->scratch, room);
		if (len < 0)
			err = -errno;
		else if (room && xattr_is_acl(host))
			err = owner_map_acl(w->fs, w->scratch, (size_t)len,
					    false);
		xattr_end(&f);
	}
	/*
	 * The host wants read permission for user.*. A guest's name that is
	 * only stored as user.* needs none: overlayfs reads trusted.* of each
	 * file that it looks up.
	 */
	if (err == -EACCES && strcmp(host, w->name[0]) != 0)
		err = -ENODATA;
	return err ? err : xattr_reply(w, in->size, (size_t)len);
}

int op_listxattr(struct fs_worker *w)
{
	const struct fuse_getxattr_in *in = request_args(w);
	struct xattr_file f;
	ssize_t len;
	int err = xattr_begin(w, &f);

	if (err)
		return err;
	if (f.fd >= 0)
		len = flistxattr(f.fd, w->scratch, XATTR_LIST_MAX);
	else
		len = listxattr(f.path, w->scratch, XATTR_LIST_MAX);
	if (len < 0)
		err = -errno;
	xattr_end(&f);
	if (err)
		return err;
	return xattr_reply(w, in->size,
			   owner_xattr_list(w, w->scratch, (size_t)len));
}

int op_removexattr(struct fs_worker *w)
{
	char host[XATTR_NAME_MAX + 1];
	struct xattr_file f;
	bool again;
	int err, ret;

	err = owner_xattr_to_host(w, w->name[0], host, true);
	if (!err)
		err = xattr_begin(w, &f);
	if (err)
		return err;
	again = w->replay == JOURNAL_INTENT && journal_existed(w);
	if (!again)
		journal_exists(w, xattr_there(&f, host));
	ret = f.fd >= 0 ? fremovexattr(f.fd, host) : removexattr(f.path, host);
	/* An earlier worker removed it. An ACL that is missing is no error. */
	if (ret < 0 && !(errno == ENODATA &&
			 (again || owner_keeps_acl(w, w->name[0]))))
		err = -errno;
	xattr_end(&f);
	return err;
}
