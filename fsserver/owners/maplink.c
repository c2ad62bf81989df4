/* SPDX-License-Identifier: MIT */
/*
 * Symlinks of access=mapped. The host lets a symlink have no attribute that
 * could keep its owner. So root's, which nearly all are that a system has, are
 * symlinks on the host, and those of others are files there with the target in
 * them, which only their attribute calls symlinks. Nobody could do without
 * owners: a user's tar sets the times of what it unpacks, and its rm takes its
 * own out of /tmp, both of which the guest's kernel allows to owners alone.
 * A symlink of root's costs nothing by this; one of another user's is a file
 * of one block, and a read of it instead of readlink().
 *
 * A symlink that root gives away becomes such a file under the same name and
 * the same node: it is made next to the symlink, renamed over it, and takes the
 * number of the node's descriptor. One with several names stays as it is. A
 * file that a dead worker made for this is recognised by its journal entry
 * (journal.c), and removed.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/nodes/nodes.h"
#include "fsserver/owners/owner.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPEN_FLAGS (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

int maplink_type(struct fs_worker *w, int dirfd, uint32_t *type)
{
	struct owner o = { w->in.uid, w->in.gid, S_IFLNK | 0777, 0, 0 };
	int err = 0;

	*type = S_IFLNK;
	if (w->fs->options.access != FS_ACCESS_MAPPED)
		return 0;
	err = owner_inherit(w, dirfd, &o);
	if (o.uid || o.gid)
		*type = S_IFREG;
	return err;
}

int maplink_make(struct fs_worker *w, int dirfd, const char *name,
		 const char *target, size_t len, bool again)
{
	int flags = OPEN_FLAGS | O_WRONLY, err = 0, fd;
	ssize_t n;

	flags |= again ? O_TRUNC : O_CREAT | O_EXCL;
	fd = fs_openat(w->fs, dirfd, name, flags, again ? 0 : 0600);
	if (fd < 0)
		return fd;
	n = write(fd, target, len);
	if (n != (ssize_t)len)
		err = n < 0 ? -errno : -ENOSPC;
	close(fd);
	if (err)
		unlinkat(dirfd, name, 0);
	return err;
}

ssize_t maplink_read(struct fs_worker *w, struct fs_node *node)
{
	struct statx stx;
	struct owner o;
	ssize_t n;
	int fd, err;

	if (w->fs->options.access != FS_ACCESS_MAPPED ||
	    !S_ISREG(node_type(node)))
		return -EINVAL;
	fd = node_fd(w, node);
	if (fd < 0)
		return fd;
	err = fs_statx(fd, "", STATX_BASIC_STATS, &stx);
	if (!err)
		err = owner_read(w->fs, fd, "", &stx, &o);
	if (err)
		return err;
	if (!S_ISLNK(o.mode))
		return -EINVAL;
	fd = node_open(w, node, O_RDONLY);
	if (fd < 0)
		return fd;
	n = read(fd, w->scratch, PATH_MAX);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

/* ---- giving one away ---------------------------------------------------- */

#define TEMP_TRIES 16

static void temp_name(char temp[NAME_MAX + 1], const struct fs_node *node,
		      unsigned int nth)
{
	snprintf(temp, NAME_MAX + 1, ".vmshare.%x.%x", node->slot, nth);
}

/* Make a file in @dirfd that will replace the symlink @stx; set @temp. */
static int make_temp(struct fs_worker *w, struct fs_node *node, int dirfd,
		     char temp[NAME_MAX + 1], const struct statx *stx,
		     const struct owner *o, size_t len)
{
	struct timespec times[2] = {
		{ stx->stx_atime.tv_sec, stx->stx_atime.tv_nsec },
		{ stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec },
	};
	int err = -EEXIST;

	for (unsigned int i = 0; i < TEMP_TRIES && err == -EEXIST; i++) {
		temp_name(temp, node, i);
		journal_temp(w, i);
		err = maplink_make(w, dirfd, temp, w->scratch, len, false);
	}
	if (err)
		return err;
	err = owner_write(dirfd, temp, o);
	if (!err && utimensat(dirfd, temp, times, AT_SYMLINK_NOFOLLOW))
		err = -errno;
	if (err)
		unlinkat(dirfd, temp, 0);
	return err;
}

/*
 * Rename @temp over @name; if they are the same, that was done before. From
 * then on the new file is the node's, and the descriptor number @fd is its.
 */
static int take_over(struct fs_worker *w, struct fs_node *node, int fd,
		     int dirfd, const char *temp, const char *name)
{
	int new = fs_openat(w->fs, dirfd, temp, O_PATH | O_NOFOLLOW | O_CLOEXEC,
			    0);
	struct statx stx;
	int err = new < 0 ? new : fs_statx(new, "", FS_STATX_KEY, &stx);

	if (!err) {
		node_replacing(w->fs, node, &stx);
		if ((temp != name &&
		     syscall(SYS_renameat2, dirfd, temp, dirfd, name, 0)) ||
		    dup3(new, fd, O_CLOEXEC) < 0)
			err = -errno;
		node_rekey(w->fs, node, err ? NULL : &stx);
	}
	if (err && temp != name)
		unlinkat(dirfd, temp, 0);
	if (new >= 0)
		close(new);
	return err;
}

/* Did an earlier worker make the file @stx for this request? */
static bool made_by_us(struct fs_worker *w, const struct statx *stx)
{
	return journal_temp_left(w) >= 0 && S_ISREG(stx->stx_mode) &&
	       journal_made_it(w, stx);
}

/* Remove a file that an earlier worker made and did not rename. */
static void remove_left(struct fs_worker *w, const struct fs_node *node,
			int dirfd)
{
	int nth = journal_temp_left(w);
	char temp[NAME_MAX + 1];
	struct statx stx;

	if (nth < 0)
		return;
	temp_name(temp, node, (unsigned int)nth);
	if (!fs_statx(dirfd, temp, FS_STATX_MASK, &stx) && made_by_us(w, &stx))
		unlinkat(dirfd, temp, 0);
}

static int replace(struct fs_worker *w, struct fs_node *node, int dirfd,
		   const char *name, const struct owner *o)
{
	int fd = node_fd(w, node), err;
	char temp[NAME_MAX + 1];
	struct statx stx;
	ssize_t len;

	if (fd < 0)
		return fd;
	err = fs_statx(dirfd, name, FS_STATX_MASK, &stx);
	if (err)
		return err;
	if (!node_is(w->fs, node, &stx))
		return made_by_us(w, &stx) ?
			       take_over(w, node, fd, dirfd, name, name) :
			       -ESTALE;
	remove_left(w, node, dirfd);
	if (stx.stx_nlink != 1)
		return 0;
	len = readlinkat(fd, "", w->scratch, PATH_MAX);
	if (len < 0)
		return -errno;
	err = make_temp(w, node, dirfd, temp, &stx, o, (size_t)len);
	if (err)
		return err;
	return take_over(w, node, fd, dirfd, temp, name);
}

int maplink_give(struct fs_worker *w, struct fs_node *node,
		 const struct owner *o)
{
	struct fs_node *parent;
	char name[NAME_MAX + 1];
	int dirfd, err;

	if (!o->uid && !o->gid)
		return 0;
	parent = node_name_at(w->fs, node, 0, name);
	if (!parent)		/* removed: no change is visible */
		return 0;
	dirfd = node_fd(w, parent);
	err = dirfd < 0 ? dirfd : replace(w, node, dirfd, name, o);
	node_put(w->fs, parent);
	return err;
}
