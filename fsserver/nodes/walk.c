/* SPDX-License-Identifier: MIT */
/*
 * From a node to its file. A node is a name below a directory, verified by
 * what statx() says of the file; a descriptor is opened when it is first
 * needed and may be taken away again by the cache. So each way to a file here
 * is the same: descriptor if there is one, else name by name, and whatever was
 * found counts only if it is the file that the guest means. What is not to be
 * found is ESTALE, upon which a guest looks its path up again.
 *
 * Directories are opened from the nearest ancestor that has a descriptor; the
 * way up is remembered in pieces of fixed size, so that no depth a guest can
 * make overflows anything. Pins are taken on the way up and given back on the
 * way down; no lock is held over any of the system calls.
 *
 * System calls: openat2 (openat where the kernel has no openat2), statx,
 * close, readlink-free: no path with a slash is ever given to the kernel but
 * "self/fd/N" of the private procfs.
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
#define WALK_MAX	65536u	/* levels, then a path is no path */
#define EAGER_LOOKUPS	64u	/* of a path, and of others meanwhile */
#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID	0x200	/* one that need not be opened by; Linux 6.5 */
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

	/* What is renamed meanwhile looks as if it had got out of @dirfd. */
	for (int tries = 0; fd == -EXDEV && tries < RACE_TRIES; tries++)
		fd = try_open(fs, dirfd, name, flags, mode);
	/* A budget is a guess where others open descriptors too. */
	while ((fd == -EMFILE || fd == -ENFILE) && fdcache_shrink(fs))
		fd = try_open(fs, dirfd, name, flags, mode);
	return fd == -EXDEV ? -ESTALE : fd;
}

/*
 * Where a file system has no birth times, what tells a file from another that
 * had its inode number is the generation, which its handle has: a digest of
 * that takes the place of the time, without the mask saying that there is one.
 *
 * So it does on overlayfs, where a file gets another birth time when it is
 * copied up, but keeps its inode number and (from Linux 6.6) the handle, which
 * is that of the file below; one that takes its place has a handle of its own.
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

/* Give the node @fd, if it is that; its descriptor. */
static int install(struct fs *fs, struct fs_node *node, int fd)
{
	int err = verify(fs, node, fd);

	if (err) {
		close(fd);
		return err;
	}
	return fdcache_install(fs, node, fd);
}

/* Open @node, which is said to be @name in @dirfd; its descriptor. */
static int open_named(struct fs *fs, struct fs_node *node, int dirfd,
		      const char *name)
{
	int fd = fs_openat(fs, dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	return install(fs, node, fd);
}

/* Open @node where no name leads to it any more; its descriptor. */
static int open_unnamed(struct fs *fs, struct fs_node *node)
{
	int fd = handles_open_node(fs, node);

	if (fd == -ESTALE)
		fd = byhandle_open(fs, node);
	return fd < 0 ? fd : install(fs, node, fd);
}

/* The way from a directory up to the first that is open. */
struct walk {
	struct fs_node *path[WALK_DEPTH + 1];	/* pinned, but path[0] */
	unsigned int nr;
	bool gap;	/* between path[0] and path[1] */
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
		/* An open one has room behind the last: each walk gets on. */
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

/* Open what walk_up() found, from the top; path[0] too but for a gap. */
static int walk_down(struct fs *fs, struct walk *walk)
{
	unsigned int last = walk->gap ? 1 : 0;
	char name[NAME_MAX + 1];
	int fd = 0;

	while (fd >= 0 && walk->nr - 1 > last) {
		struct fs_node *up = walk->path[walk->nr - 1];
		struct fs_node *down = walk->path[walk->nr - 2];
		struct fs_node *parent = node_name_at(fs, down, 0, name);

		/* Renamed meanwhile: who called us tries its path anew. */
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
		/* What was opened so far stays so while the rest is. */
		if (anchor)
			node_put(fs, anchor);
		anchor = next;
	}
	if (anchor)
		node_put(fs, anchor);
	return err ? err : fd;
}

/* The descriptor of a directory, opened from above if need be. */
static int dir_fd(struct fs *fs, struct fs_node *dir)
{
	int fd = dir_fd_by_name(fs, dir);

	return fd == -ESTALE ? open_unnamed(fs, dir) : fd;
}

/*
 * One of the names of a node that is no directory: its parent, pinned, and in
 * *@dirfd the parent's descriptor or why there is none. NULL: no such name.
 */
static struct fs_node *nth_name(struct fs *fs, struct fs_node *node,
				unsigned int nth, char name[NAME_MAX + 1],
				int *dirfd)
{
	struct fs_node *parent = node_name_at(fs, node, nth, name);

	*dirfd = parent ? dir_fd(fs, parent) : -ESTALE;
	return parent;
}

int node_fd(struct fs_worker *w, struct fs_node *node)
{
	char name[NAME_MAX + 1];
	struct fs_node *parent;
	int fd = fd_of(node);

	stats_count(w, fd >= 0 ? STATS_HITS : STATS_MISSES);
	if (fd >= 0)
		return fd;
	if (S_ISDIR(node_type(node)))
		return dir_fd(w->fs, node);
	fd = -ESTALE;
	for (unsigned int nth = 0; fd == -ESTALE &&
	     (parent = nth_name(w->fs, node, nth, name, &fd)); nth++) {
		if (fd >= 0)
			fd = open_named(w->fs, node, fd, name);
		node_put(w->fs, parent);
	}
	if (fd == -ESTALE)
		fd = open_unnamed(w->fs, node);
	/*
	 * Replaced since it was looked up. The guest's kernel looks its path up
	 * again, once: what it finds then must not get away as well.
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
 * What is asked for once is looked at by its name, which costs half of opening
 * it; what is asked for again is opened, which then costs half of the name.
 */
static bool worth_opening(struct fs *fs, struct fs_node *node)
{
	return __atomic_exchange_n(&node->asked, 1, __ATOMIC_RELAXED) &&
	       fdcache_spare(fs);
}

int node_stat(struct fs_worker *w, struct fs_node *node, struct statx *stx)
{
	char name[NAME_MAX + 1];
	struct fs_node *parent;
	int fd = fd_of(node), err = -ESTALE;

	if (fd < 0 && worth_opening(w->fs, node))
		fd = node_fd(w, node);
	if (fd >= 0)
		return fs_statx(fd, "", FS_STATX_MASK, stx);
	for (unsigned int nth = 0; err == -ESTALE &&
	     (parent = nth_name(w->fs, node, nth, name, &fd)); nth++) {
		err = fd < 0 ? fd : fs_statx(fd, name, FS_STATX_MASK, stx);
		if (err == -ENOENT || err == -ENOTDIR ||
		    (!err && !node_is(w->fs, node, stx)))
			err = -ESTALE;
		node_put(w->fs, parent);
	}
	/* Another thread may have renamed it, or taken a descriptor. */
	if (err == -ESTALE && (fd = node_fd(w, node)) >= 0)
		err = fs_statx(fd, "", FS_STATX_MASK, stx);
	return err;
}

/* ---- opening for I/O ---------------------------------------------------- */

/* By name: what was opened must be the node. */
static int open_by_name(struct fs_worker *w, struct fs_node *node, int flags)
{
	char name[NAME_MAX + 1];
	struct fs_node *parent;
	int fd = -ESTALE, err;

	for (unsigned int nth = 0; fd == -ESTALE &&
	     (parent = nth_name(w->fs, node, nth, name, &fd)); nth++) {
		if (fd >= 0)
			fd = fs_openat(w->fs, fd, name, flags, 0);
		err = fd < 0 ? 0 : verify(w->fs, node, fd);
		if (err) {
			close(fd);
			fd = err;
		}
		if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ||
		    fd == -ENXIO || fd == -EISDIR)
			fd = -ESTALE;
		node_put(w->fs, parent);
	}
	return fd;
}

/* By descriptor, through the one magic link that is ever followed. */
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
 * To open is to act where a device has effect, and a name may be another
 * file's by now: only what is known by its descriptor is opened then.
 */
static bool names_are_harmless(const struct fs *fs)
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
	/* Truncating is for after it is known which file it is. */
	flags = (flags & ~(O_TRUNC | O_CREAT | O_EXCL)) | O_NOFOLLOW |
		O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	if (S_ISREG(node_type(node)) && names_are_harmless(w->fs))
		fd = open_by_name(w, node, flags);
	if (fd == -ESTALE)
		fd = open_by_fd(w, node, flags);
	if (fd == -EAGAIN) {
		/* Somebody's lease on the host must be broken first. */
		will_block(w);
		fd = open_by_fd(w, node, flags & ~O_NONBLOCK);
	}
	return fd;
}

/* ---- the end of a file --------------------------------------------------- */

void node_losing_name(struct fs_node *node, const struct statx *stx)
{
	/* One that is open may grow yet. */
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
