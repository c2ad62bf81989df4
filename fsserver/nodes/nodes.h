/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_NODES_H
#define VMSHARE_FSSERVER_NODES_H

/*
 * The files that a guest knows and those that it holds open, by number, with
 * the descriptors that are kept for them.
 */

#include "fsserver/internal.h"

#include <pthread.h>
#include <string.h>

/* ---- a node -------------------------------------------------------------- */

#define NODE_ROOT	1u	/* slot; also FUSE_ROOT_ID */
#define NODE_SLOT_BITS	28
#define NODE_PINS	((1ull << NODE_SLOT_BITS) - 1)

/* What makes two files the same file. */
struct node_key {
	uint64_t ino, mnt;
	uint32_t dev_major, dev_minor;
	int64_t btime;		/* or generation; 0 where there is neither */
	uint32_t btime_nsec;
	uint32_t type;		/* S_IFMT bits */
};

/*
 * A slot. `ref` is generation << 28 | pins, 0 when free: pinning is one
 * compare-and-swap that fails for a stale generation. A node is freed, with
 * the table's lock, when its lookups, holds and pins are all 0.
 */
struct fs_node {
	uint64_t ref;		/* atomic */
	uint64_t lookups;	/* atomic; the guest's references */
	struct node_key key;	/* atomic by words; nodehash.c changes it */
	int32_t fd;		/* atomic; O_PATH, or -1 */
	uint32_t names;		/* list; table lock */
	uint32_t slot;		/* constant */
	/* rebuilt by a worker that adopts the arena */
	uint32_t holds;		/* atomic; names below it, handles */
	uint32_t hash, chain;	/* table lock */
	uint32_t cached;	/* place in the cache + 1; cache lock */
	uint8_t used;		/* atomic; used since the clock hand passed */
	uint8_t kept;		/* no name: fd must stay; cache lock */
	uint8_t asked;		/* atomic; an earlier GETATTR went by name */
	uint8_t large;		/* atomic; see node_losing_name() */
};

ARENA_LAYOUT(NODES_VERSION, struct fs_node, 88);

/* ---- what the guest knows ------------------------------------------------ */

/*
 * A pinned node is not freed and does not lose its descriptor. A pin lasts for
 * a request at most; a handle, or a name below a directory, holds the node
 * instead, which keeps the node but not its descriptor.
 */

/** node_get() - pin the node of a guest's id; -ESTALE for any other number */
int node_get(struct fs *fs, uint64_t nodeid, struct fs_node **node);
void node_put(struct fs *fs, struct fs_node *node);
uint64_t node_id(const struct fs_node *node);
/* S_IFMT bits. A node's type changes only in maplink.c. */
uint32_t node_type(const struct fs_node *node);

/**
 * node_fd() - the node's O_PATH descriptor, opened now if it has none
 * @node:	pinned
 *
 * Return: a descriptor that stays valid while the node is pinned (the caller
 * must not close it), or -errno; -ESTALE when the file can't be found again.
 */
int node_fd(struct fs_worker *w, struct fs_node *node);

/**
 * node_open() - open a node for I/O
 * @flags:	open(2) flags; O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
 *		are added
 *
 * Only regular files and directories; what was opened is verified to be the
 * node. Return: a new descriptor (the caller's to close), or -errno.
 */
int node_open(struct fs_worker *w, struct fs_node *node, int flags);

/* ---- nodetab.c, nodehash.c ----------------------------------------------- */

int nodes_open(struct fs *fs);		/* sets fs->nodes */
void nodes_close(struct fs *fs);
void nodes_drop_all(struct fs *fs);	/* all but the root */
uint64_t nodes_count(struct fs *fs);
/* After an adoption: free nodes that neither guest nor handle refers to. */
void nodes_settle(struct fs *fs);
int nodes_mark(struct arena *arena, void (*mark)(void *ctx, int fd),
	       void *ctx);

void node_key(struct node_key *key, const struct statx *stx);
/**
 * node_add() - a lookup: find the node, or make it, and count the lookup
 * @parent:	pinned; NULL for a file without a name (O_TMPFILE)
 * @pinned:	the node, pinned; may be NULL
 * @e:		journal entry of the request, or NULL
 *
 * Return: 0 with its @id; -ENOMEM.
 */
int node_add(struct fs *fs, struct fs_node *parent, const char *name,
	     const struct statx *stx, uint64_t *id, struct fs_node **pinned,
	     struct journal_entry *e);
/* The node of what statx() showed, pinned, or NULL when the guest has none. */
struct fs_node *node_find(struct fs *fs, const struct statx *stx);
struct fs_node *node_find_key(struct fs *fs, const struct node_key *key);
/* @e: the request's journal entry, which counts it, or NULL. */
void node_forget(struct fs *fs, uint64_t id, uint64_t count,
		 struct journal_entry *e);
void node_hold(struct fs *fs, struct fs_node *node);
void node_unhold(struct fs *fs, struct fs_node *node);
int node_name_add(struct fs *fs, struct fs_node *node, struct fs_node *parent,
		  const char *name);
void node_name_del(struct fs *fs, struct fs_node *node, struct fs_node *parent,
		   const char *name);
/**
 * node_name_at() - the @nth name of a node
 * @name:	NAME_MAX + 1 bytes
 *
 * Return: the directory, pinned, or NULL when there are fewer names.
 */
struct fs_node *node_name_at(struct fs *fs, struct fs_node *node,
			     unsigned int nth, char *name);
struct fs_node *node_at(struct fs *fs, uint32_t slot);

/*
 * Changes a lookup count together with the request's journal entry @e, so that
 * a worker's death leaves both or none changed. Called with the table's lock.
 * @node:	NULL for a FORGET of an unknown node
 * @lookups:	the new count
 * @id:		the node looked up, or 0 for a FORGET
 */
typedef void node_count_fn(struct fs *fs, struct journal_entry *e,
			   struct fs_node *node, uint64_t lookups,
			   uint64_t id);

/* Sets the journal's function; called before anything is counted. */
void nodes_count_by(struct fs *fs, node_count_fn *count);
/* Could @slot be a node's? */
bool nodes_have(const struct fs *fs, uint32_t slot);
/*
 * Should a LOOKUP also open the file that it finds? True for a number of
 * LOOKUPs after a name was seen to be another file's.
 */
bool nodes_eager(struct fs *fs);

/*
 * node_replacing(): the server is about to replace the pinned node's file by
 * the file @stx. node_rekey(): it did; @stx is NULL if it failed.
 */
void node_replacing(struct fs *fs, struct fs_node *node,
		    const struct statx *stx);
void node_rekey(struct fs *fs, struct fs_node *node, const struct statx *stx);

/* ---- walk.c -------------------------------------------------------------- */

/*
 * STATX_MNT_ID, for which struct statx of some C libraries has no member, and
 * STATX_MNT_ID_UNIQUE from Linux 6.8 on, an id that is never used again.
 */
#define FS_STATX_MNT (0x1000u | FS_STATX_UNIQUE)
#define FS_STATX_UNIQUE 0x4000u
#define FS_STATX_KEY (STATX_TYPE | STATX_INO | STATX_BTIME | FS_STATX_MNT)
#define FS_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME | FS_STATX_MNT)
_Static_assert(offsetof(struct statx, stx_dev_minor) == 0x8c,
	       "statx_mnt() knows the kernel's layout");
/* The mount's id, or 0 where the kernel does not tell it (before 5.8). */
static inline uint64_t statx_mnt(const struct statx *stx)
{
	uint64_t id = 0;

	if (stx->stx_mask & FS_STATX_MNT)
		memcpy(&id, (const char *)stx + 0x90, sizeof(id));
	return id;
}

/* openat2() below a directory, one name; never a symlink, never up. */
int fs_openat(struct fs *fs, int dirfd, const char *name, int flags,
	      mode_t mode);
/*
 * Never follows a symlink; "" is @dirfd itself. Where a birth time is asked for
 * and the file system has none, or none that is constant, stx_btime is a digest
 * of the file handle, and STATX_BTIME is not in stx_mask.
 */
int fs_statx(int dirfd, const char *name, unsigned int mask,
	     struct statx *stx);
bool node_is(struct fs *fs, const struct fs_node *node,
	     const struct statx *stx);
/* node_fd() for a node that was just found as @name in @dirfd. */
int node_fd_at(struct fs_worker *w, struct fs_node *node, int dirfd,
	       const char *name);
/*
 * A pinned node's file is about to lose a name, perhaps its last. @stx: of the
 * file, with STATX_BLOCKS; NULL where its size may change until it is deleted.
 */
void node_losing_name(struct fs_node *node, const struct statx *stx);
/* Could forgetting the node delete a large file? A cheap guess. */
bool node_is_large(struct fs *fs, uint64_t id);
/* statx() of a pinned node, verified; -ESTALE where it can't be found. */
int node_stat(struct fs_worker *w, struct fs_node *node, struct statx *stx);

/* ---- fdcache.c ----------------------------------------------------------- */

/*
 * Give @fd to a pinned node; where the node has a descriptor, @fd is closed.
 * Return: the node's descriptor.
 */
int fdcache_install(struct fs *fs, struct fs_node *node, int fd);
/* The node lost its last name (its descriptor must stay) or has one again. */
void fdcache_keep(struct fs *fs, struct fs_node *node);
void fdcache_unkeep(struct fs *fs, struct fs_node *node);
/*
 * Close descriptors of other mounts than the root's that were not used since
 * the last call.
 */
void fdcache_idle(struct fs *fs);
/*
 * Are there descriptors on other mounts than the root's? If so, the caller must
 * call fdcache_idle() each second from then on. If not, the next such
 * descriptor wakes the futex stats->asked.
 */
bool fdcache_foreign(struct fs *fs);
void fdcache_gauges(struct fs *fs);	/* set the gauges, at the start */

/* ---- mount.c ------------------------------------------------------------- */

struct fs_mounts;

int mounts_open(struct fs *fs);
void mounts_close(struct fs *fs);
/* 0, or -EACCES for a kind of file system that is never crossed into. */
int mount_check(struct fs_worker *w, const struct fs_node *parent, int dirfd,
		const char *name, const struct statx *stx);
/* Is the file of @stx on overlayfs? One system call for each mount. */
bool mount_is_overlay(int dirfd, const char *name, const struct statx *stx);
/* The guest's inode number: made distinct between devices of the host. */
uint64_t mount_ino(struct fs *fs, uint32_t dev_major, uint32_t dev_minor,
		   uint64_t ino);

/* ---- handle.c: what the guest holds open -------------------------------- */

/**
 * handle_get() - pin the handle of a guest's fh
 *
 * Return: 0; -EBADF for any number that is not an open handle, or one of
 * another node than the request's (w->node) where there is one.
 */
int handle_get(struct fs_worker *w, uint64_t fh, struct fs_handle **handle);
void handle_put(struct fs_worker *w, struct fs_handle *handle);
int handle_fd(const struct fs_handle *handle);	/* valid while pinned */
struct fs_node *handle_node(struct fs *fs, const struct fs_handle *handle);
/*
 * Count a descriptor of a handle or lock owner against the budget. Return: 0,
 * or -ENFILE when the guest's open files use it up. A small reserve is for
 * an open @directory.
 */
int fd_charge(struct fs *fs, bool directory);
void fd_uncharge(struct fs *fs);

#define DIR_BUFFER (32 * 1024)

/* A directory being read. Entries from `pos` on were not given out yet. */
struct fs_dir {
	pthread_mutex_t lock;	/* all of this, and the file's position */
	uint64_t next;		/* offset that the guest asks for next */
	size_t pos, len;	/* in buf */
	bool primed;		/* the file's position matches the buffer */
	_Alignas(8) char buf[DIR_BUFFER];
};

enum handle_flag {
	HANDLE_RELEASED	= 1,	/* its base pin is gone */
	HANDLE_SLOW	= 2,	/* the file system has no RWF_NOWAIT */
	HANDLE_APPEND	= 4,	/* was opened with O_APPEND */
};

int handles_open(struct fs *fs);
void handles_close(struct fs *fs);
void handles_drop_all(struct fs *fs);
/**
 * handle_add() - give the guest a number for an open file
 * @fd:		already charged with fd_charge(); the handle's from now on
 * @flags:	enum handle_flag
 * @note:	set to the number before the handle exists, for the request's
 *		journal entry; or NULL
 */
int handle_add(struct fs_worker *w, struct fs_node *node, int fd,
	       uint32_t flags, uint64_t *fh, uint64_t *note);
/* Take back a handle, if there is one, whose number the guest never got. */
void handle_undo(struct fs *fs, uint64_t fh);
/* Open a node through an open handle of it: O_PATH descriptor or -ESTALE. */
int handles_open_node(struct fs *fs, const struct fs_node *node);
int handles_mark(struct arena *arena, void (*mark)(void *ctx, int fd),
		 void *ctx);
/* End a pinned handle. Return: false if it was ended before. */
bool handle_release(struct fs_worker *w, struct fs_handle *handle);
uint32_t handle_flags(const struct fs_handle *handle);
void handle_flag(struct fs_handle *handle, uint32_t flag);
/* The buffer of a directory, locked; NULL when there are too many. */
struct fs_dir *handle_dir(struct fs *fs, struct fs_handle *handle);

/* ---- byhandle.c: files by handle, where the user asked for it ------------ */

int byhandle_start(struct fs *fs);	/* sets fs->byhandle */
void byhandle_stop(struct fs *fs);
/** byhandle_note() - store the file handle of node @id, just found as @name */
void byhandle_note(struct fs *fs, int dirfd, const char *name,
		   const struct statx *stx, uint64_t id);

#endif
