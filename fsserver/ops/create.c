/* SPDX-License-Identifier: MIT */
/*
 * Creating: MKNOD, MKDIR, SYMLINK, CREATE, TMPFILE.
 *
 * The call is made with the caller's credentials (cred.c), so that the kernel
 * gives the new file its owner and group as on a local disk. owner_created()
 * adds what the access mode needs beyond that; if it fails the file is removed,
 * so that no file is left with the wrong owner.
 *
 * CREATE first opens with O_EXCL, and only a file made by that call is opened
 * by name here. A file that exists already is looked up and opened like any
 * other, so that neither a fifo nor a device is opened by accident.
 *
 * The guest's kernel applies the umask, unless ACLs were negotiated: then the
 * server does, where the directory has no default ACL.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MADE 1

static bool has_default_acl(struct fs_worker *w, int dirfd)
{
	char path[PROC_PATH_SIZE], host[XATTR_NAME_MAX + 1];

	return w->fs->place.proc >= 0 &&
	       !owner_xattr_to_host(w, ACL_DEFAULT, host, false) &&
	       getxattr(proc_path(path, dirfd), host, NULL, 0) > 0;
}

static uint32_t masked(struct fs_worker *w, int dirfd, uint32_t mode,
		       uint32_t umask)
{
	if (!session_has(w->fs, FUSE_DONT_MASK) || !(umask & 0777) ||
	    has_default_acl(w, dirfd))
		return mode;
	return mode & ~(umask & 0777);
}

/* Check a request that makes a name: its directory's descriptor or -errno. */
static int create_dir(struct fs_worker *w)
{
	if (name_hidden(w, w->node, w->name[0]))
		return -EACCES;
	if (w->writable_len < sizeof(struct fuse_entry_out))
		return -EINVAL;
	return node_fd(w, w->node);
}

/*
 * A file was made, and is open as @fd, or -1: set its owner, get its attributes
 * and count a lookup; or remove it.
 */
static int created(struct fs_worker *w, int dirfd, int fd, uint32_t mode,
		   uint64_t rdev, struct fuse_entry_out *entry,
		   struct fs_node **pinned)
{
	const char *name = w->name[0];
	struct statx stx;
	int err = owner_created(w, dirfd, name, mode, rdev);

	if (!err)
		err = fd < 0 ? fs_statx(dirfd, name, FS_STATX_MASK, &stx) :
			       fs_statx(fd, "", FS_STATX_MASK, &stx);
	if (!err)
		err = reply_entry(w, w->node, dirfd, name, &stx, entry, pinned);
	if (err) {
		journal_doubt(w);
		unlinkat(dirfd, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	}
	return err;
}

/* End an operation that made a name. @err: 0, MADE or -errno */
static int created_reply(struct fs_worker *w, int err, int dirfd,
			 uint32_t mode, uint64_t rdev)
{
	struct fuse_entry_out entry;

	if (err >= 0)
		err = created(w, dirfd, -1, mode, rdev, &entry, NULL);
	return err ? err : reply_put(w, &entry, sizeof(entry));
}

/*
 * Take the caller's credentials and record the intent in the journal.
 * @mode:	the new file's type on the host
 *
 * Return: 0; MADE when an earlier worker did it; -errno.
 */
static int create_begin(struct fs_worker *w, int dirfd, uint32_t mode)
{
	int err;

	if (journal_made(w, dirfd, mode & S_IFMT))
		return MADE;
	err = cred_enter(w);
	if (!err)
		journal_intent(w);
	return err;
}

static void create_end(struct fs_worker *w, int err)
{
	journal_result(w, err);
	cred_leave(w);
}

int op_mknod(struct fs_worker *w)
{
	const struct fuse_mknod_in *in = request_args(w);
	uint32_t mode = in->mode, host;
	dev_t rdev = makedev((in->rdev & 0xfff00) >> 8,
			     (in->rdev & 0xff) | ((in->rdev >> 12) & 0xfff00));
	int dirfd = create_dir(w), err;

	if (dirfd < 0)
		return dirfd;
	if ((mode & S_IFMT) == 0)
		mode |= S_IFREG;
	if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) &&
	    !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EINVAL;
	mode = masked(w, dirfd, mode, in->umask);
	host = owner_create_mode(w, mode);
	err = create_begin(w, dirfd, host);
	if (!err) {
		if (mknodat(dirfd, w->name[0], host,
			    S_ISCHR(host) || S_ISBLK(host) ? rdev : 0) < 0)
			err = -errno;
		create_end(w, err);
	}
	return created_reply(w, err, dirfd, mode, rdev);
}

int op_mkdir(struct fs_worker *w)
{
	const struct fuse_mkdir_in *in = request_args(w);
	uint32_t mode = S_IFDIR | (in->mode & 07777);
	int dirfd = create_dir(w), err;

	if (dirfd < 0)
		return dirfd;
	mode = masked(w, dirfd, mode, in->umask);
	err = create_begin(w, dirfd, S_IFDIR);
	if (!err) {
		if (mkdirat(dirfd, w->name[0],
			    owner_create_mode(w, mode) & 07777) < 0)
			err = -errno;
		create_end(w, err);
	}
	return created_reply(w, err, dirfd, mode, 0);
}

int op_symlink(struct fs_worker *w)
{
	char *target = w->scratch;
	int dirfd = create_dir(w), err;
	size_t len = w->body_len - 1;
	uint32_t type;

	if (dirfd < 0)
		return dirfd;
	if (w->body_len > PATH_MAX)
		return -ENAMETOOLONG;
	if (w->body_len < 1 ||
	    iov_read(&w->readable, target, w->body_len) != w->body_len ||
	    target[len] != '\0')
		return -EINVAL;
	if (target[0] == '\0')
		return -ENOENT;
	err = maplink_type(w, dirfd, &type);
	if (!err)
		err = create_begin(w, dirfd, type);
	if (!err) {
		if (S_ISREG(type))
			err = maplink_make(w, dirfd, w->name[0], target, len,
					   false);
		else if (symlinkat(target, dirfd, w->name[0]) < 0)
			err = -errno;
		create_end(w, err);
	} else if (err == MADE && S_ISREG(type)) {
		err = maplink_make(w, dirfd, w->name[0], target, len, true);
	}
	return created_reply(w, err, dirfd, S_IFLNK | 0777, 0);
}

/* ---- creating and opening ----------------------------------------------- */

/* A CREATE or TMPFILE. */
struct creation {
	const struct fuse_create_in *in;
	int flags;		/* of in->flags, the host's */
	int dirfd;
	uint32_t mode;		/* umask applied */
	struct fuse_entry_out entry;
	struct fs_node *node;	/* pinned once it is made */
};

#define CREATE_OUT (sizeof(struct fuse_entry_out) + \
		    sizeof(struct fuse_open_out))

/* Check the request and charge for the descriptor that it will have. */
static int creation_start(struct fs_worker *w, struct creation *c, int dirfd)
{
	const struct fuse_create_in *in = request_args(w);
	int flags = file_flags(w, in->flags), err;

	if (flags < 0)
		return flags;
	if (dirfd < 0)
		return dirfd;
	if (w->writable_len < CREATE_OUT)
		return -EINVAL;
	err = fd_charge(w->fs, false);
	if (err)
		return err;
	*c = (struct creation){ .in = in, .flags = flags, .dirfd = dirfd };
	c->mode = masked(w, dirfd, S_IFREG | (in->mode & 07777), in->umask);
	return 0;
}

/* After a failure: uncount the node's lookup, and unpin it. */
static void creation_forget(struct fs_worker *w, struct creation *c)
{
	node_forget(w->fs, c->entry.nodeid, 1, journal_own(w));
	node_put(w->fs, c->node);
}

/* Reply; @fd: the open file, or -errno of making it. */
static int creation_reply(struct fs_worker *w, struct creation *c, int fd)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .entry = c->entry };
	int err;

	if (fd < 0) {
		fd_uncharge(w->fs);
		return fd;
	}
	err = file_opened(w, c->node, fd, c->flags, &out.open);
	if (err) {
		creation_forget(w, c);
		return err;
	}
	node_put(w->fs, c->node);
	return reply_put(w, &out, sizeof(out));
}

/* An earlier worker made the file: open it. */
static int create_made(struct fs_worker *w, struct creation *c)
{
	int err = created(w, c->dirfd, -1, c->mode, 0, &c->entry, &c->node), fd;

	if (err)
		return err;
	fd = node_open(w, c->node, c->flags);
	if (fd < 0)
		creation_forget(w, c);
	return fd;
}

/* Make the file; its descriptor, with the node pinned. */
static int create_new(struct fs_worker *w, struct creation *c)
{
	int err = create_begin(w, c->dirfd, S_IFREG), fd;

	if (err == MADE)
		return create_made(w, c);
	if (err)
		return err;
	fd = fs_openat(w->fs, c->dirfd, w->name[0],
		       (c->flags & ~O_TRUNC) | O_CREAT | O_EXCL | O_NOFOLLOW |
			       O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		       owner_create_mode(w, c->mode) & 07777);
	create_end(w, fd < 0 ? fd : 0);
	if (fd < 0)
		return fd;
	err = created(w, c->dirfd, fd, c->mode, 0, &c->entry, &c->node);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* The file exists already: look it up and open it. */
static int create_old(struct fs_worker *w, struct creation *c)
{
	const char *name = w->name[0];
	struct statx stx;
	int err = fs_statx(c->dirfd, name, FS_STATX_MASK, &stx), fd;

	if (!err)
		err = reply_entry(w, w->node, c->dirfd, name, &stx, &c->entry,
				  &c->node);
	if (err)
		return err;
	fd = node_open(w, c->node, c->flags);
	if (fd >= 0 && c->flags & O_TRUNC) {
		err = file_truncate(w, fd, 0,
				    c->in->open_flags & FUSE_OPEN_KILL_SUIDGID);
		if (!err)
			err = fs_statx(fd, "", FS_STATX_MASK, &stx);
		if (!err)
			err = reply_attr(w, w->node, fd, "", &stx,
					 &c->entry.attr);
		if (err) {
			close(fd);
			fd = err;
		}
	}
	if (fd < 0)
		creation_forget(w, c);
	return fd;
}

int op_create(struct fs_worker *w)
{
	struct creation c;
	int err = creation_start(w, &c, create_dir(w)), fd;

	if (err)
		return err;
	fd = create_new(w, &c);
	if (fd == -EEXIST && !(c.in->flags & O_EXCL))
		fd = create_old(w, &c);
	return creation_reply(w, &c, fd);
}

/* A file without a name: its node has a descriptor as long as it exists. */
static int tmpfile_node(struct fs_worker *w, int fd, uint32_t mode,
			struct fuse_entry_out *entry, struct fs_node **node)
{
	int err = owner_created(w, fd, "", mode, 0), own;
	struct statx stx;

	if (!err)
		err = fs_statx(fd, "", FS_STATX_MASK, &stx);
	if (err)
		return err;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	err = reply_entry(w, NULL, fd, "", &stx, entry, node);
	if (err) {
		close(own);
		return err;
	}
	fdcache_install(w->fs, *node, own);
	node_losing_name(*node, NULL);
	fdcache_keep(w->fs, *node);
	return 0;
}

/* Make the file; its descriptor, with the node pinned. */
static int create_unnamed(struct fs_worker *w, struct creation *c)
{
	int err = cred_enter(w), fd;

	if (err)
		return err;
	fd = fs_openat(w->fs, c->dirfd, ".",
		       (c->flags & ~O_TRUNC) | (int)(c->in->flags & O_EXCL) |
			       O_TMPFILE | O_CLOEXEC,
		       owner_create_mode(w, c->mode) & 07777);
	cred_leave(w);
	if (fd < 0)
		return fd;
	err = tmpfile_node(w, fd, c->mode, &c->entry, &c->node);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int op_tmpfile(struct fs_worker *w)
{
	struct creation c;
	int err = creation_start(w, &c, node_fd(w, w->node));

	return err ? err : creation_reply(w, &c, create_unnamed(w, &c));
}
