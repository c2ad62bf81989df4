/* SPDX-License-Identifier: MIT */
/*
 * From a node to its file. A node is known by names below directories, and by
 * its key; a descriptor is opened when it is first needed, and the cache may
 * close it again. So every function here uses the descriptor if there is one,
 * else tries name after name, and accepts a file only if statx() shows the
 * node's key. A file that is not found is ESTALE; the guest then looks its path
 * up again.
 *
 * Directories are opened from the nearest ancestor that has a descriptor. The
 * way up is remembered in pieces of fixed size, so that no depth overflows
 * anything. Pins are taken on the way up and given back on the way down; no
 * lock is held during the system calls.
 *
 * The only path with a slash that the kernel is given is "self/fd/N" of the
 * private procfs.
 */

#include "fsserver/nodes/nodetab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define WALK_DEPTH	256u	/* directories remembered at a time */
#define RACE_TRIES	16
#define WALK_MAX	65536u	/* levels, then give up */
#define EAGER_LOOKUPS	64u	/* enough for a path, and others meanwhile */
#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID	0x200	/* not to be opened by; Linux 6.5 */
#endif
#define LARGE_BLOCKS	2048u	/* 1 MiB, which takes 40 to 130 us to free */

static int try_open(struct fs *fs, int dirfd, const char *name, int flags,
		    mode_t mode)
{
	int fd;

	if (fs->nodes->openat2)
		return sys_openat2(dirfd, name, flags, mode,
				   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
				   RESOLVE_NO_MAGICLINKS);
	fd = openat(dirfd, name, flags, mode);
	return fd < 0 ? -errno : fd;
}

int fs_openat(struct fs *fs, int dirfd, const char *name, int flags,
	      mode_t mode)
{
	int fd = try_open(fs, dirfd, name, flags, mode);

	/* A rename during the call looks like an escape from @dirfd. */
	for (int tries = 0; fd == -EXDEV && tries < RACE_TRIES; tries++)
		fd = try_open(fs, dirfd, name, flags, mode);
	/* Other code opens descriptors too: the budget may not be free. */
	while ((fd == -EMFILE || fd == -ENFILE) && fdcache_shrink(fs))
		fd = try_open(fs, dirfd, name, flags, mode);
	return fd == -EXDEV ? -ESTALE : fd;
}

/*
 * Where a file system has no birth times, a file is told from an earlier one
 * with its inode number by the generation, which is part of its file handle: a
 * digest of the handle replaces the time, and STATX_BTIME is cleared.
 *
 * The same is done on overlayfs, where the birth time changes when a file is
 * copied up, but not the inode number and (from Linux 6.6) the handle, which is
 * that of the lower file. A file that replaces it has another handle.
 */
static bool put_generation(int dirfd, const char *name, int flags,
			   struct statx *stx)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h;
	uint64_t digest = 0xcbf29ce484222325ull;	/* FNV-1a */
	int mount_id;

	h.head.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(dirfd, name, &h.head, &mount_id,
			      name[0] ? flags : flags | AT_EMPTY_PATH))
		return false;
	for (unsigned int i = 0; i < h.head.handle_bytes; i++)
		digest = (digest ^ h.head.f_handle[i]) * 0x100000001b3ull;
	stx->stx_mask &= ~STATX_BTIME;
	stx->stx_btime.tv_sec = (int64_t)digest;
	stx->stx_btime.tv_nsec = 0;
	return true;
}

int fs_statx(int dirfd, const char *name, unsigned int mask, struct statx *stx)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	if (name[0] == '\0')
		flags |= AT_EMPTY_PATH;
	if (syscall(SYS_statx, dirfd, name, flags, mask, stx) < 0)
		return -errno;
	if (mask & ~stx->stx_mask & STATX_BTIME) {
		if (!put_generation(dirfd, name, 0, stx))
			stx->stx_btime.tv_sec = stx->stx_btime.tv_nsec = 0;
	} else if (mask & STATX_BTIME && mount_is_overlay(dirfd, name, stx)) {
		put_generation(dirfd, name, AT_HANDLE_FID, stx);
	}
	return 0;
}

/* ---- descriptors -------------------------------------------------------- */

static int fd_of(const struct fs_node *node)
{
	return __atomic_load_n(&node->fd, __ATOMIC_SEQ_CST);
}

/* Is the open file @fd the node? 0, -ESTALE or another error. */
static int verify(struct fs *fs, const struct fs_node *node, int fd)
{
	struct statx stx;
	int err = fs_statx(fd, "", FS_STATX_KEY, &stx);

	if (err)
		return err;
	return node_is(fs, node, &stx) ? 0 : -ESTALE;
}

/* Give @fd to the node if it is the node's file. Return: its descriptor. */
static int install(struct fs *fs, struct fs_node *node, int fd)
{
	int err = verify(fs, node, fd);

	if (err) {
		close(fd);
		return err;
	}
	return fdcache_install(fs, node, fd);
}

/* Open @node, which should be @name in @dirfd. Return: its descriptor. */
static int open_named(struct fs *fs, struct fs_node *node, int dirfd,
		      const char *name)
{
	int fd = fs_openat(fs, dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	return install(fs, node, fd);
}

/* Open @node, whose names are all gone. Return: its descriptor. */
static int open_unnamed(struct fs *fs, struct fs_node *node)
{
	int fd = handles_open_node(fs, node);

	if (fd == -ESTALE)
		fd = byhandle_open(fs, node);
	return fd < 0 ? fd : install(fs, node, fd);
}

/* The way from a directory up to the first that is open. */
struct walk {
	struct fs_node *path[WALK_DEPTH + 1];	/* pinned, except path[0] */
	unsigned int nr;
	bool gap;	/* path[1] is not the parent of path[0] */
};

static int walk_up(struct fs *fs, struct walk *walk, struct fs_node *dir)
{
	char name[NAME_MAX + 1];

	walk->path[0] = dir;
	walk->nr = 1;
	walk->gap = false;
	for (unsigned int level = 0; level < WALK_MAX; level++) {
		struct fs_node *up;

		up = node_name_at(fs, walk->path[walk->nr - 1], 0, name);
		if (!up)
			return -ESTALE;
		/* Make room; an open one still fits, so that the walk ends. */
		if (walk->nr == WALK_DEPTH && fdcache_fd(fs, up) < 0) {
			for (; walk->nr > 1; walk->nr--)
				node_put(fs, walk->path[walk->nr - 1]);
			walk->gap = true;
		}
		walk->path[walk->nr++] = up;
		if (fdcache_fd(fs, up) >= 0)
			return 0;
	}
	return -ESTALE;
}

/* Open what walk_up() found, from the top; path[0] only without a gap. */
static int walk_down(struct fs *fs, struct walk *walk)
{
	unsigned int last = walk->gap ? 1 : 0;
	char name[NAME_MAX + 1];
	int fd = 0;

	while (fd >= 0 && walk->nr - 1 > last) {
		struct fs_node *up = walk->path[walk->nr - 1];
		struct fs_node *down = walk->path[walk->nr - 2];
		struct fs_node *parent = node_name_at(fs, down, 0, name);

		/* -ESTALE if it was renamed since walk_up(). */
		fd = parent != up ? -ESTALE :
				    open_named(fs, down, fdcache_fd(fs, up),
					       name);
		if (parent)
			node_put(fs, parent);
		node_put(fs, up);
		walk->nr--;
	}
	return fd < 0 ? fd : 0;
}

static int dir_fd_by_name(struct fs *fs, struct fs_node *dir)
{
	struct fs_node *anchor = NULL;
	struct walk walk;
	int err = 0, fd = -1;

	while (!err && (fd = fdcache_fd(fs, dir)) < 0) {
		struct fs_node *next;

		err = walk_up(fs, &walk, dir);
		if (!err)
			err = walk_down(fs, &walk);
		next = !err && walk.gap ? walk.path[1] : NULL;
		if (next)
			walk.nr = 1;
		for (; walk.nr > 1; walk.nr--)
			node_put(fs, walk.path[walk.nr - 1]);
		/* Its pin keeps it open while the rest is opened. */
		if (anchor)
			node_put(fs, anchor);
		anchor = next;
	}
	if (anchor)
		node_put(fs, anchor);
	return err ? err : fd;
}

/* The descriptor of a directory, opened from its ancestors if needed. */
static int dir_fd(struct fs *fs, struct fs_node *dir)
{
	int fd = dir_fd_by_name(fs, dir);

	return fd == -ESTALE ? open_unnamed(fs, dir) : fd;
}

/* Uses @node as @name in @dirfd; -ESTALE if that is not @node's file. */
typedef int use_name_fn(struct fs_worker *w, struct fs_node *node, int dirfd,
			const char *name, void *arg);

/* Call @use with each name of @node until it returns other than -ESTALE. */
static int each_name(struct fs_worker *w, struct fs_node *node,
		     use_name_fn *use, void *arg)
{
	char name[NAME_MAX + 1];
	struct fs_node *parent;
	int ret = -ESTALE;

	for (unsigned int nth = 0; ret == -ESTALE; nth++) {
		parent = node_name_at(w->fs, node, nth, name);
		if (!parent)
			break;
		ret = dir_fd(w->fs, parent);
		if (ret >= 0)
			ret = use(w, node, ret, name, arg);
		node_put(w->fs, parent);
	}
	return ret;
}

static int fd_by_name(struct fs_worker *w, struct fs_node *node, int dirfd,
		      const char *name, void *arg)
{
	(void)arg;
	return open_named(w->fs, node, dirfd, name);
}

int node_fd(struct fs_worker *w, struct fs_node *node)
{
	int fd = fd_of(node);

	stats_count(w, fd >= 0 ? STATS_HITS : STATS_MISSES);
	if (fd >= 0)
		return fd;
	if (S_ISDIR(node_type(node)))
		return dir_fd(w->fs, node);
	fd = each_name(w, node, fd_by_name, NULL);
	if (fd == -ESTALE)
		fd = open_unnamed(w->fs, node);
	/*
	 * Replaced since it was looked up. The guest's kernel looks the path up
	 * again, once: that must not end in ESTALE too.
	 */
	if (fd == -ESTALE)
		__atomic_store_n(&w->fs->nodes->eager, EAGER_LOOKUPS,
				 __ATOMIC_RELAXED);
	return fd;
}

int node_fd_at(struct fs_worker *w, struct fs_node *node, int dirfd,
	       const char *name)
{
	int fd = fd_of(node);

	stats_count(w, fd >= 0 ? STATS_HITS : STATS_MISSES);
	return fd >= 0 ? fd : open_named(w->fs, node, dirfd, name);
}

/*
 * The first statx() of a node is done by name, which costs half as much as an
 * open; for the second the node is opened, after which one costs half as much
 * as by name.
 */
static bool worth_opening(struct fs *fs, struct fs_node *node)
{
	return __atomic_exchange_n(&node->asked, 1, __ATOMIC_RELAXED) &&
	       fdcache_spare(fs);
}

static int stat_by_name(struct fs_worker *w, struct fs_node *node, int dirfd,
			const char *name, void *stx)
{
	int err = fs_statx(dirfd, name, FS_STATX_MASK, stx);

	if (err)
		return err == -ENOENT || err == -ENOTDIR ? -ESTALE : err;
	return node_is(w->fs, node, stx) ? 0 : -ESTALE;
}

int node_stat(struct fs_worker *w, struct fs_node *node, struct statx *stx)
{
	int fd = fd_of(node), err;

	if (fd < 0 && worth_opening(w->fs, node))
		fd = node_fd(w, node);
	if (fd >= 0)
		return fs_statx(fd, "", FS_STATX_MASK, stx);
	err = each_name(w, node, stat_by_name, stx);
	/* Another thread may have renamed it, or taken a descriptor. */
	if (err == -ESTALE && (fd = node_fd(w, node)) >= 0)
		err = fs_statx(fd, "", FS_STATX_MASK, stx);
	return err;
}

/* ---- opening for I/O ---------------------------------------------------- */

/* What was opened must be the node. */
static int open_by_name(struct fs_worker *w, struct fs_node *node, int dirfd,
			const char *name, void *flags)
{
	int fd = fs_openat(w->fs, dirfd, name, *(const int *)flags, 0);
	int err = fd < 0 ? 0 : verify(w->fs, node, fd);

	if (err) {
		close(fd);
		return err;
	}
	return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ||
	       fd == -ENXIO || fd == -EISDIR ? -ESTALE : fd;
}

/* By descriptor, through the only magic link that the server follows. */
static int open_by_fd(struct fs_worker *w, struct fs_node *node, int flags)
{
	char path[PROC_PATH_SIZE];
	int fd = node_fd(w, node), new;

	if (fd < 0)
		return fd;
	if (node->slot == NODE_ROOT || S_ISDIR(node_type(node)))
		return fs_openat(w->fs, fd, ".", flags, 0);
	if (w->fs->place.proc < 0)
		return -ESTALE;
	proc_path(path, fd);
	do {
		new = openat(w->fs->place.proc, path, flags & ~O_NOFOLLOW);
		if (new < 0)
			new = -errno;
	} while ((new == -EMFILE || new == -ENFILE) && fdcache_shrink(w->fs));
	return new;
}

/*
 * To open a device can have an effect, and a name may be a device's by now.
 * Where devices are not disabled by the mount, files are opened only through
 * a descriptor that was verified.
 */
static bool names_are_safe(const struct fs *fs)
{
	return fs->place.layers[FS_LAYER_NAMESPACES].state == FS_LAYER_ON ||
	       fs->place.proc < 0;
}

int node_open(struct fs_worker *w, struct fs_node *node, int flags)
{
	int fd = -ESTALE;

	if (S_ISLNK(node_type(node)))
		return -ELOOP;
	if (!S_ISREG(node_type(node)) && !S_ISDIR(node_type(node)))
		return -EBADF;
	/* The caller truncates, after the file was verified. */
	flags = (flags & ~(O_TRUNC | O_CREAT | O_EXCL)) | O_NOFOLLOW |
		O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	if (S_ISREG(node_type(node)) && names_are_safe(w->fs))
		fd = each_name(w, node, open_by_name, &flags);
	if (fd == -ESTALE)
		fd = open_by_fd(w, node, flags);
	if (fd == -EAGAIN) {
		/* A lease of a process on the host must be broken first. */
		will_block(w);
		fd = open_by_fd(w, node, flags & ~O_NONBLOCK);
	}
	return fd;
}

/* ---- the end of a file --------------------------------------------------- */

void node_losing_name(struct fs_node *node, const struct statx *stx)
{
	/* A file that is open may still grow. */
	bool open = __atomic_load_n(&node->holds, __ATOMIC_RELAXED);
	bool large = S_ISREG(node_type(node)) &&
		     (!stx || open || stx->stx_blocks >= LARGE_BLOCKS);

	__atomic_store_n(&node->large, large, __ATOMIC_RELAXED);
}

bool node_is_large(struct fs *fs, uint64_t id)
{
	const struct fs_nodes *t = fs->nodes;
	uint64_t slot = id & NODE_PINS;

	return slot < __atomic_load_n(&t->top, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&t->mem[slot].large, __ATOMIC_RELAXED);
}
