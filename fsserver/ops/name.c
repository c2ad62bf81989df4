/* SPDX-License-Identifier: MIT */
/*
 * Names: looking up, forgetting, removing, renaming, linking.
 *
 * The LOOKUP of a known name costs one statx() and a search in the table. An
 * operation that removes a name first gives the node that loses it a
 * descriptor, since the file may live on without a name that is known: open in
 * the guest, or linked elsewhere. A rename adds the new name before the call
 * and removes the old one after it, so that another thread that tries the names
 * in order, oldest first, finds the file under one of them.
 *
 * Where a name has become another file's since its LOOKUP, the next request is
 * ESTALE. The guest looks the name up again once, and a second ESTALE is the
 * application's. So for a while after an ESTALE, LOOKUPs open what they find.
 *
 * Names that the user hides in the share's root do not exist: a lookup fails
 * with ENOENT, creating with EACCES.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/fs.h>

#define LOOKUP_TRIES 16		/* while the name is replaced each time */

bool name_hidden(const struct fs_worker *w, const struct fs_node *parent,
		 const char *name)
{
	const struct fs_options *o = &w->fs->options;

	if (!o->nr_hide || parent->slot != NODE_ROOT)
		return false;
	for (unsigned int i = 0; i < o->nr_hide; i++)
		if (strcmp(o->hide[i], name) == 0)
			return true;
	return false;
}

/* ---- looking up --------------------------------------------------------- */

/* "." and "..": a guest that exports the share by NFS looks them up. */
static int lookup_dots(struct fs_worker *w, struct fuse_entry_out *entry)
{
	struct fs_node *node = w->node, *parent = NULL;
	char name[NAME_MAX + 1];
	struct statx stx;
	int err;

	if (w->name[0][1] == '.') {
		if (!S_ISDIR(node_type(node)))
			return -ENOTDIR;
		parent = node_name_at(w->fs, node, 0, name);
		if (parent)
			node = parent;
		else if (node->slot != NODE_ROOT)
			return -ESTALE;
	}
	err = node_stat(w, node, &stx);
	if (!err)
		err = reply_entry(w, NULL, node_fd(w, node), "", &stx, entry,
				 NULL);
	if (parent)
		node_put(w->fs, parent);
	return err;
}

/* There is no such name; the guest may cache that. */
static int lookup_negative(struct fs_worker *w)
{
	struct fuse_entry_out entry = { .nodeid = 0 };

	entry.entry_valid = reply_timeout(w->fs, &entry.entry_valid_nsec);
	if (!entry.entry_valid && !entry.entry_valid_nsec)
		return -ENOENT;
	return reply_put(w, &entry, sizeof(entry));
}

/* Look up w->name[0] and count the lookup. Return: 0 or -errno. */
static int lookup_name(struct fs_worker *w, int dirfd,
		       struct fuse_entry_out *entry)
{
	const char *name = w->name[0];
	struct fs_node *node;
	struct statx stx;
	int err, fd;

	for (unsigned int tries = 0; tries < LOOKUP_TRIES; tries++) {
		bool eager = nodes_eager(w->fs);

		err = fs_statx(dirfd, name, FS_STATX_MASK, &stx);
		if (!err)
			err = reply_entry(w, w->node, dirfd, name, &stx, entry,
					 eager ? &node : NULL);
		if (err || !eager)
			return err;
		fd = node_fd_at(w, node, dirfd, name);
		node_put(w->fs, node);
		if (fd != -ESTALE)
			return 0;
		node_forget(w->fs, entry->nodeid, 1, journal_own(w));
	}
	return -ESTALE;
}

int op_lookup(struct fs_worker *w)
{
	const char *name = w->name[0];
	struct fuse_entry_out entry;
	int dirfd, err;

	if (w->writable_len < sizeof(entry))
		return -EINVAL;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		err = lookup_dots(w, &entry);
		return err ? err : reply_put(w, &entry, sizeof(entry));
	}
	if (!S_ISDIR(node_type(w->node)))
		return -ENOTDIR;
	if (name_hidden(w, w->node, name))
		return lookup_negative(w);
	dirfd = node_fd(w, w->node);
	if (dirfd < 0)
		return dirfd;
	err = lookup_name(w, dirfd, &entry);
	if (err == -ENOENT)
		return lookup_negative(w);
	return err ? err : reply_put(w, &entry, sizeof(entry));
}

/* The last FORGET of a file without a name deletes it, which may sleep. */
static void forget_one(struct fs_worker *w, uint64_t nodeid, uint64_t nlookup)
{
	if (node_is_large(w->fs, nodeid))
		will_block(w);
	node_forget(w->fs, nodeid, nlookup, journal_own(w));
}

int op_forget(struct fs_worker *w)
{
	const struct fuse_forget_in *in = request_args(w);

	if (!journal_forgets(w))
		forget_one(w, w->in.nodeid, in->nlookup);
	return 0;
}

int op_batch_forget(struct fs_worker *w)
{
	const struct fuse_batch_forget_in *in = request_args(w);
	uint32_t done = journal_forgets(w);
	struct fuse_forget_one one;

	for (uint32_t i = 0; i < in->count; i++) {
		if (w->body_len < sizeof(one) ||
		    iov_read(&w->readable, &one, sizeof(one)) != sizeof(one))
			return -EINVAL;
		w->body_len -= sizeof(one);
		if (i >= done)
			forget_one(w, one.nodeid, one.nlookup);
	}
	return 0;
}

int op_readlink(struct fs_worker *w)
{
	int fd = node_fd(w, w->node);
	ssize_t len;

	if (fd < 0)
		return fd;
	if (S_ISLNK(node_type(w->node))) {
		len = readlinkat(fd, "", w->scratch, PATH_MAX);
		if (len < 0)
			len = -errno;
	} else {
		len = maplink_read(w, w->node);
	}
	return len < 0 ? (int)len : reply_put(w, w->scratch, (size_t)len);
}

/* ---- removing ----------------------------------------------------------- */

/* The node of the file @fd, pinned, or NULL. Takes @fd, for the node. */
static struct fs_node *node_of_fd(struct fs_worker *w, int fd,
				  unsigned int nth)
{
	struct fs_node *node = NULL;
	struct statx stx;

	if (!fs_statx(fd, "", FS_STATX_KEY | STATX_BLOCKS, &stx)) {
		journal_key(w, nth, &stx);
		node = node_find(w->fs, &stx);
	}
	if (!node) {
		close(fd);
		return NULL;
	}
	fdcache_install(w->fs, node, fd);
	node_losing_name(node, &stx);
	return node;
}

/*
 * The node that is about to lose a name, pinned and with a descriptor, or NULL
 * when the guest does not know the file. When descriptors run out the operation
 * goes on: the node then becomes stale with its name.
 * @nth:	index of the name in the request
 * @found:	set to 0 if the file exists, or -errno
 */
static struct fs_node *node_losing(struct fs_worker *w, int dirfd,
				   const char *name, unsigned int nth,
				   int *found)
{
	int fd = fs_openat(w->fs, dirfd, name,
			   O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	struct statx stx;

	journal_key(w, nth, NULL);
	*found = fd < 0 ? fd : 0;
	if (fd >= 0)
		return node_of_fd(w, fd, nth);
	if (fd != -EMFILE && fd != -ENFILE)
		return NULL;
	*found = fs_statx(dirfd, name, FS_STATX_KEY, &stx);
	if (*found)
		return NULL;
	journal_key(w, nth, &stx);
	return node_find(w->fs, &stx);
}

/* The node that is renamed, pinned; a directory is given a descriptor. */
static struct fs_node *node_moving(struct fs_worker *w, int dirfd,
				   const char *name, unsigned int nth,
				   int *found)
{
	struct fs_node *node;
	struct statx stx;

	*found = fs_statx(dirfd, name, FS_STATX_KEY, &stx);
	journal_key(w, nth, *found ? NULL : &stx);
	if (*found)
		return NULL;
	node = node_find(w->fs, &stx);
	if (node && S_ISDIR(node_type(node)))
		(void)node_fd_at(w, node, dirfd, name);
	return node;
}

static int remove_name(struct fs_worker *w, int flags)
{
	const char *name = w->name[0];
	int dirfd = node_fd(w, w->node), err;
	struct fs_node *node;

	if (dirfd < 0)
		return dirfd;
	if (name_hidden(w, w->node, name))
		return -ENOENT;
	if (journal_removed(w, dirfd)) {
		node = journal_node(w, 0);
		err = 0;
	} else {
		node = node_losing(w, dirfd, name, 0, &err);
		if (!err) {
			journal_intent(w);
			if (unlinkat(dirfd, name, flags) < 0)
				err = -errno;
			journal_result(w, err);
		}
	}
	if (node) {
		if (!err)
			node_name_del(w->fs, node, w->node, name);
		node_put(w->fs, node);
	}
	return err;
}

int op_unlink(struct fs_worker *w)
{
	return remove_name(w, 0);
}

int op_rmdir(struct fs_worker *w)
{
	return remove_name(w, AT_REMOVEDIR);
}

/* ---- renaming ----------------------------------------------------------- */

/* One side of a rename: a name in a directory, and the node that has it. */
struct side {
	struct fs_node *dir;
	const char *name;
	int dirfd;
	struct fs_node *node;
};

static bool same_name(const struct side *a, const struct side *b)
{
	return a->dir == b->dir && strcmp(a->name, b->name) == 0;
}

/* Before a rename: @node gets its new name. */
static void move_begin(struct fs_worker *w, struct fs_node *node,
		       const struct side *to)
{
	if (node)
		(void)node_name_add(w->fs, node, to->dir, to->name);
}

/* After a rename: @node loses its old name; with @undo, its new one. */
static void move_end(struct fs_worker *w, struct fs_node *node,
		     const struct side *from, const struct side *to, bool undo)
{
	const struct side *gone = undo ? to : from, *stays = undo ? from : to;

	if (!node)
		return;
	(void)node_name_add(w->fs, node, stays->dir, stays->name);
	node_name_del(w->fs, node, gone->dir, gone->name);
}

/* The nodes of both names, as they were before any rename of this request. */
static int rename_nodes(struct fs_worker *w, struct side *from,
			struct side *to, unsigned int flags, bool renamed)
{
	int err = 0, there;

	if (renamed) {
		from->node = journal_node(w, 0);
		to->node = journal_node(w, 1);
		return 0;
	}
	from->node = node_moving(w, from->dirfd, from->name, 0, &err);
	if (err)
		return err;
	to->node = flags & RENAME_EXCHANGE ?
			   node_moving(w, to->dirfd, to->name, 1, &there) :
			   node_losing(w, to->dirfd, to->name, 1, &there);
	return 0;
}

static int rename_sides(struct fs_worker *w, struct side *from,
			struct side *to, unsigned int flags)
{
	bool exchange = flags & RENAME_EXCHANGE, same;
	bool renamed = journal_renamed(w, to->dirfd);
	int err = rename_nodes(w, from, to, flags, renamed);

	if (err)
		return err;
	/* Two links of one file: the call succeeds and does nothing. */
	same = same_name(from, to) || (from->node && from->node == to->node);
	if (!same) {
		move_begin(w, from->node, to);
		if (exchange)
			move_begin(w, to->node, from);
	}
	if (!renamed) {
		journal_intent(w);
		if (syscall(SYS_renameat2, from->dirfd, from->name, to->dirfd,
			    to->name, flags) < 0)
			err = -errno;
		journal_result(w, err);
	}
	if (!same) {
		move_end(w, from->node, from, to, err != 0);
		if (exchange)
			move_end(w, to->node, to, from, err != 0);
		else if (!err && to->node)
			node_name_del(w->fs, to->node, to->dir, to->name);
	}
	if (from->node)
		node_put(w->fs, from->node);
	if (to->node)
		node_put(w->fs, to->node);
	return err;
}

static int rename_names(struct fs_worker *w, uint64_t newdir,
			unsigned int flags)
{
	struct side from = { .dir = w->node, .name = w->name[0] };
	struct side to = { .name = w->name[1] };
	int err;

	if (flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE |
				    RENAME_WHITEOUT))
		return -EINVAL;
	err = node_get(w->fs, newdir, &to.dir);
	if (err)
		return err;
	err = -ENOTDIR;
	if (!S_ISDIR(node_type(to.dir)))
		goto out;
	err = -ENOENT;
	if (name_hidden(w, from.dir, from.name))
		goto out;
	err = -EACCES;
	if (name_hidden(w, to.dir, to.name))
		goto out;
	err = from.dirfd = node_fd(w, from.dir);
	if (err < 0)
		goto out;
	err = to.dirfd = node_fd(w, to.dir);
	if (err >= 0)
		err = rename_sides(w, &from, &to, flags);
out:
	node_put(w->fs, to.dir);
	return err;
}

int op_rename(struct fs_worker *w)
{
	const struct fuse_rename_in *in = request_args(w);

	return rename_names(w, in->newdir, 0);
}

int op_rename2(struct fs_worker *w)
{
	const struct fuse_rename2_in *in = request_args(w);

	return rename_names(w, in->newdir, in->flags);
}

/* ---- linking ------------------------------------------------------------ */

static int link_node(struct fs_worker *w, struct fs_node *node, int dirfd,
		     const char *name)
{
	char path[PROC_PATH_SIZE];
	int fd = node_fd(w, node), ret;
	struct statx stx;

	if (fd < 0)
		return fd;
	if (journal_linked(w, dirfd, node))
		return 0;
	journal_exists(w, !fs_statx(dirfd, name, FS_STATX_KEY, &stx));
	journal_intent(w);
	if (w->fs->place.proc >= 0)
		ret = linkat(w->fs->place.proc, proc_path(path, fd), dirfd,
			     name, AT_SYMLINK_FOLLOW);
	else
		ret = linkat(fd, "", dirfd, name, AT_EMPTY_PATH);
	ret = ret < 0 ? -errno : 0;
	journal_result(w, ret);
	return ret;
}

int op_link(struct fs_worker *w)
{
	const struct fuse_link_in *in = request_args(w);
	const char *name = w->name[0];
	struct fuse_entry_out entry;
	struct fs_node *node;
	struct statx stx;
	int dirfd, err;

	if (name_hidden(w, w->node, name))
		return -EACCES;
	err = node_get(w->fs, in->oldnodeid, &node);
	if (err)
		return err;
	err = dirfd = node_fd(w, w->node);
	if (dirfd >= 0)
		err = link_node(w, node, dirfd, name);
	if (!err)
		err = fs_statx(dirfd, name, FS_STATX_MASK, &stx);
	if (!err)
		err = reply_entry(w, w->node, dirfd, name, &stx, &entry, NULL);
	node_put(w->fs, node);
	return err ? err : reply_put(w, &entry, sizeof(entry));
}
