/* SPDX-License-Identifier: MIT */
/*
 * Creating: MKNOD, MKDIR, SYMLINK, CREATE, TMPFILE.
 *
 * The call itself is made in the caller's name (cred.c), so that the kernel
 * gives the new file its owner and group as on a local disk; whatever the
 * access mode wants beyond that is owner_created()'s to add. If that fails,
 * the file is taken away again: no file is left with the wrong owner.
 *
 * CREATE opens exclusively first. Only what was made by that very call is
 * opened by name here; a file that was there already is looked up and opened
 * like any other, so that neither a fifo nor a device is opened by accident.
 *
 * The umask is the guest's kernel's to apply, except where ACLs were agreed
 * on: then a directory's default ACL takes its place.
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

/* The directory of a request that creates a name in it. */
static int create_dir(struct fs_worker *w)
{
	if (name_hidden(w, w->node, w->name[0]))
		return -EACCES;
	if (w->writable_len < sizeof(struct fuse_entry_out))
		return -EINVAL;
	return node_fd(w, w->node);
}

/* What was just made, and is open as @fd, or -1: owner, attributes, node. */
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

/*
 * Become the caller and say what is about to be made.
 * @mode:	its type on the host
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
	struct fuse_entry_out entry;
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
	if (err >= 0)
		err = created(w, dirfd, -1, mode, rdev, &entry, NULL);
	return err ? err : reply_put(w, &entry, sizeof(entry));
}

int op_mkdir(struct fs_worker *w)
{
	const struct fuse_mkdir_in *in = request_args(w);
	uint32_t mode = S_IFDIR | (in->mode & 07777);
	struct fuse_entry_out entry;
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
	if (err >= 0)
		err = created(w, dirfd, -1, mode, 0, &entry, NULL);
	return err ? err : reply_put(w, &entry, sizeof(entry));
}

int op_symlink(struct fs_worker *w)
{
	struct fuse_entry_out entry;
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
	if (err >= 0)
		err = created(w, dirfd, -1, S_IFLNK | 0777, 0, &entry,
			      NULL);
	return err ? err : reply_put(w, &entry, sizeof(entry));
}

/* ---- creating and opening ----------------------------------------------- */

/* An earlier worker made the file: open it. */
static int create_made(struct fs_worker *w, int dirfd, int flags,
		       uint32_t mode, struct fuse_entry_out *entry,
		       struct fs_node **node)
{
	int err = created(w, dirfd, -1, mode, 0, entry, node), fd;

	if (err)
		return err;
	fd = node_open(w, *node, flags);
	if (fd < 0) {
		node_forget(w->fs, entry->nodeid, 1, journal_own(w));
		node_put(w->fs, *node);
	}
	return fd;
}

/* Make the file; its descriptor, with the node pinned. */
static int create_new(struct fs_worker *w, int dirfd, int flags, uint32_t mode,
		      struct fuse_entry_out *entry, struct fs_node **node)
{
	int err = create_begin(w, dirfd, S_IFREG), fd;

	if (err == MADE)
		return create_made(w, dirfd, flags, mode, entry, node);
	if (err)
		return err;
	fd = fs_openat(w->fs, dirfd, w->name[0],
		       (flags & ~O_TRUNC) | O_CREAT | O_EXCL | O_NOFOLLOW |
			       O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		       owner_create_mode(w, mode) & 07777);
	create_end(w, fd < 0 ? fd : 0);
	if (fd < 0)
		return fd;
	err = created(w, dirfd, fd, mode, 0, entry, node);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* It is there already: open what it is now. */
static int create_old(struct fs_worker *w, int dirfd, int flags, bool kill,
		      struct fuse_entry_out *entry, struct fs_node **node)
{
	const char *name = w->name[0];
	struct statx stx;
	int err = fs_statx(dirfd, name, FS_STATX_MASK, &stx), fd;

	if (!err)
		err = reply_entry(w, w->node, dirfd, name, &stx, entry, node);
	if (err)
		return err;
	fd = node_open(w, *node, flags);
	if (fd >= 0 && flags & O_TRUNC) {
		err = file_truncate(w, fd, 0, kill);
		if (!err)
			err = fs_statx(fd, "", FS_STATX_MASK, &stx);
		if (!err)
			err = reply_attr(w, w->node, fd, "", &stx,
					&entry->attr);
		if (err) {
			close(fd);
			fd = err;
		}
	}
	if (fd < 0) {
		node_forget(w->fs, entry->nodeid, 1, journal_own(w));
		node_put(w->fs, *node);
	}
	return fd;
}

/* Both replies of CREATE and TMPFILE; takes @fd and the charge for it. */
static int create_reply(struct fs_worker *w, struct fs_node *node, int fd,
			int flags, const struct fuse_entry_out *entry)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .entry = *entry };
	int err = file_opened(w, node, fd, flags, &out.open);

	if (err)
		node_forget(w->fs, entry->nodeid, 1, journal_own(w));
	node_put(w->fs, node);
	return err ? err : reply_put(w, &out, sizeof(out));
}

#define CREATE_OUT (sizeof(struct fuse_entry_out) + \
		    sizeof(struct fuse_open_out))

/* Both before they make a file in @dirfd, or its error; a file is charged. */
static int create_prepare(struct fs_worker *w, int dirfd, int *flags,
			  uint32_t *mode)
{
	const struct fuse_create_in *in = request_args(w);

	*flags = file_flags(w, in->flags);
	if (*flags < 0)
		return *flags;
	if (dirfd < 0)
		return dirfd;
	if (w->writable_len < CREATE_OUT)
		return -EINVAL;
	*mode = masked(w, dirfd, S_IFREG | (in->mode & 07777), in->umask);
	return fd_charge(w->fs, false);
}

int op_create(struct fs_worker *w)
{
	const struct fuse_create_in *in = request_args(w);
	bool kill = in->open_flags & FUSE_OPEN_KILL_SUIDGID;
	int dirfd = create_dir(w), flags, fd, err;
	struct fuse_entry_out entry = { 0 };
	struct fs_node *node = NULL;
	uint32_t mode;

	err = create_prepare(w, dirfd, &flags, &mode);
	if (err)
		return err;
	fd = create_new(w, dirfd, flags, mode, &entry, &node);
	if (fd == -EEXIST && !(in->flags & O_EXCL))
		fd = create_old(w, dirfd, flags, kill, &entry, &node);
	if (fd < 0) {
		fd_uncharge(w->fs);
		return fd;
	}
	return create_reply(w, node, fd, flags, &entry);
}

/* A file without a name: its node keeps a descriptor for as long as it is. */
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

int op_tmpfile(struct fs_worker *w)
{
	const struct fuse_create_in *in = request_args(w);
	int dirfd = node_fd(w, w->node), flags, fd, err;
	struct fuse_entry_out entry = { 0 };
	struct fs_node *node = NULL;
	uint32_t mode;

	err = create_prepare(w, dirfd, &flags, &mode);
	if (err)
		return err;
	err = cred_enter(w);
	if (err)
		goto fail;
	fd = fs_openat(w->fs, dirfd, ".",
		       (flags & ~O_TRUNC) | (int)(in->flags & O_EXCL) |
			       O_TMPFILE | O_CLOEXEC,
		       owner_create_mode(w, mode) & 07777);
	cred_leave(w);
	err = fd;
	if (fd < 0)
		goto fail;
	err = tmpfile_node(w, fd, mode, &entry, &node);
	if (err) {
		close(fd);
		goto fail;
	}
	return create_reply(w, node, fd, flags, &entry);
fail:
	fd_uncharge(w->fs);
	return err;
}
