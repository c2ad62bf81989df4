/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_NODETAB_H
#define VMSHARE_FSSERVER_NODETAB_H

/*
 * The node table and the descriptor cache, for the files that implement
 * nodes (nodetab.c, fdcache.c, inode.c) and those that create and remove them.
 */

#include "fsserver/internal.h"
#include "fsserver/nodes/names.h"
#include "fsserver/nodes/slab.h"

#include <pthread.h>
#include <string.h>

#define NODE_ROOT	1u	/* slot; also FUSE_ROOT_ID */
#define NODE_SLOT_BITS	28
#define NODES_VERSION	1	/* of the region in the arena */
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
	/* rebuilt by a worker that adopts the arena: */
	uint32_t holds;		/* atomic; names below it, handles */
	uint32_t hash, chain;	/* table lock */
	uint32_t cached;	/* place in the cache + 1; cache lock */
	uint8_t used;		/* atomic; since the clock hand passed */
	uint8_t kept;		/* descriptor without a name; cache lock */
	uint8_t asked;		/* atomic; GETATTR came by name before */
	uint8_t large;		/* atomic; see node_losing_name() */
};

/*
 * The descriptor cache. Its lock is taken inside the table's, never around
 * it, and not held over a system call.
 */
struct fd_cache {
	pthread_mutex_t lock;
	unsigned int budget;	/* descriptors of nodes, handles, lock owners */
	unsigned int floor;	/* of these, for nodes at least */
	unsigned int charged;	/* handles, lock owners, kept */
	unsigned int nr;	/* cached */
	unsigned int room;	/* of slots */
	unsigned int hand;
	uint32_t *slots;
};

/* A node whose file the server is about to replace. */
struct node_moving {
	uint32_t slot;		/* 0: none */
	struct node_key key;	/* of the file that it will be */
};

#define NODES_MOVING	4	/* at a time; more are ESTALE for a moment */

struct fs_nodes {
	struct fs *fs;
	pthread_mutex_t lock;	/* table lock: names, hash, slots, holds */
	struct slab *slab;
	struct fs_node *mem;
	struct fs_names *names;
	uint32_t top;		/* atomic; slots below may be in use */
	uint32_t *buckets;
	size_t buckets_size;
	uint32_t base, split;	/* linear hashing: base + split buckets */
	uint32_t count;		/* nodes */
	struct node_moving moving[NODES_MOVING];	/* table lock */
	uint64_t limit;		/* of nodes; 0: what the tables hold */
	uint32_t reclaim;	/* where the search for a victim goes on */
	uint64_t gen;		/* last one given out */
	unsigned int eager;	/* atomic; LOOKUPs that open what they find */
	bool openat2;		/* the kernel has it */
	struct fd_cache fds;
	struct fs_mounts *mounts;
};

/* ---- nodetab.c ---- */

int nodes_open(struct fs *fs);		/* sets fs->nodes */
void nodes_close(struct fs *fs);
void nodes_drop_all(struct fs *fs);	/* all but the root */
uint64_t nodes_count(struct fs *fs);
/* After an adoption: free what neither guest nor handle refers to. */
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

/* What a section with the table's lock freed and must still close. */
struct node_dead {
	unsigned int nr;
	int fds[32];
};

/* Free @node, if nothing refers to it, and then the directories that only its
 * names held; with the lock. */
void node_reap(struct fs_nodes *t, struct fs_node *node,
	       struct node_dead *dead);
void nodes_unlock(struct fs_nodes *t, struct node_dead *dead);

/* ---- reclaim.c ---- */

void nodes_limit(struct fs *fs);	/* sets fs->nodes->limit */
/*
 * Forget a node that was not used for long or, where all of many were, the
 * first of them that can be; with the table's lock.
 */
bool node_reclaim(struct fs_nodes *t, struct node_dead *dead);
/* After an adoption, before threads start: no more than the limit. */
void nodes_trim(struct fs *fs);

/* ---- nodehash.c: with the table's lock ---- */

#define MIN_BUCKETS	1024u

uint32_t node_key_hash(const struct node_key *key);
void node_hash_add(struct fs_nodes *t, struct fs_node *node);
void node_hash_del(struct fs_nodes *t, struct fs_node *node);
struct fs_node *node_hash_find(struct fs_nodes *t, const struct node_key *key,
			       uint32_t hash);

/*
 * These take it. The pinned node's file is about to be replaced, by the server
 * itself, with what @stx shows; and was, or was not (NULL).
 */
void node_replacing(struct fs *fs, struct fs_node *node,
		    const struct statx *stx);
void node_rekey(struct fs *fs, struct fs_node *node, const struct statx *stx);

/* ---- fdcache.c ---- */

int fdcache_open(struct fs *fs);
int fdcache_adopt(struct fs *fs);	/* a dead worker's descriptors */
void fdcache_close(struct fs *fs);
/* Give @fd to a pinned node; where it has one already, @fd is closed.
 * Return: the node's descriptor. */
int fdcache_install(struct fs *fs, struct fs_node *node, int fd);
/*
 * The descriptor of a pinned node, or -1. A glance at `fd` may see the -1 of an
 * evictor that is about to notice the pin; this does not.
 */
int fdcache_fd(struct fs *fs, struct fs_node *node);
/* The node lost its last name (its descriptor must stay) or has one again. */
void fdcache_keep(struct fs *fs, struct fs_node *node);
void fdcache_unkeep(struct fs *fs, struct fs_node *node);
/* The node is being freed: returns its descriptor to be closed, or -1. */
int fdcache_detach(struct fs *fs, struct fs_node *node);
/* Whether one more can be cached without another giving way, as it looks. */
bool fdcache_spare(struct fs *fs);
/* Close those of other mounts than the root's that were not used since the last
 * call. */
void fdcache_idle(struct fs *fs);
/* A call got EMFILE or ENFILE: make room. False when there is none. */
bool fdcache_shrink(struct fs *fs);

/* ---- mount.c ---- */

struct fs_mounts;

int mounts_open(struct fs *fs);
void mounts_close(struct fs *fs);
/* 0, or -EACCES for a kind of file system that is never crossed into. */
int mount_check(struct fs_worker *w, const struct fs_node *parent, int dirfd,
		const char *name, const struct statx *stx);
/* Is what statx() just showed on overlayfs? Asked once for a mount. */
bool mount_is_overlay(int dirfd, const char *name, const struct statx *stx);
/* The guest's inode number for one of the host's: distinct between devices. */
uint64_t mount_ino(struct fs *fs, uint32_t dev_major, uint32_t dev_minor,
		   uint64_t ino);

/* ---- inode.c ---- */

/*
 * STATX_MNT_ID, which some C libraries' struct statx has no member for, or from
 * Linux 6.8 on STATX_MNT_ID_UNIQUE: one that is never another mount's.
 */
#define FS_STATX_MNT (0x1000u | FS_STATX_UNIQUE)
#define FS_STATX_UNIQUE 0x4000u
#define FS_STATX_KEY (STATX_TYPE | STATX_INO | STATX_BTIME | FS_STATX_MNT)
#define FS_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME | FS_STATX_MNT)
_Static_assert(offsetof(struct statx, stx_dev_minor) == 0x8c,
	       "statx_mnt() knows the kernel's layout");
/* The mount's id, or 0 where the kernel does not say it (before 5.8). */
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
 * and there is none that stays, stx_btime is what tells apart who had the inode
 * number, without the mask saying so.
 */
int fs_statx(int dirfd, const char *name, unsigned int mask,
	     struct statx *stx);
bool node_is(struct fs *fs, const struct fs_node *node,
	     const struct statx *stx);
/* As node_fd(), where it was just seen as @name in @dirfd. */
int node_fd_at(struct fs_worker *w, struct fs_node *node, int dirfd,
	       const char *name);
/*
 * A pinned node's file is about to lose a name, perhaps its last. @stx: what it
 * is, STATX_BLOCKS included; NULL where that says nothing of what it will be.
 */
void node_losing_name(struct fs_node *node, const struct statx *stx);
/* Whether to forget it may mean to delete a large file; a guess, cheap. */
bool node_is_large(struct fs *fs, uint64_t id);
/* statx() of a pinned node, verified; -ESTALE where it is not to be found. */
int node_stat(struct fs_worker *w, struct fs_node *node, struct statx *stx);
/**
 * node_attr() - a file's attributes as the guest shall see them
 * @parent:	where it was found, to tell a mount point; or NULL
 * @dirfd, @name: the file, as in statx(); only owner_show() looks at it
 * @stx:	what statx() said; changed
 */
int node_attr(struct fs_worker *w, const struct fs_node *parent, int dirfd,
	      const char *name, struct statx *stx, struct fuse_attr *attr);
/**
 * node_entry() - a lookup's reply
 * @parent:	pinned; NULL for a file without a name
 * @pinned:	the node, pinned; may be NULL
 *
 * Return: 0 with the lookup counted, or -errno.
 */
int node_entry(struct fs_worker *w, struct fs_node *parent, int dirfd,
	       const char *name, struct statx *stx,
	       struct fuse_entry_out *entry, struct fs_node **pinned);
/* How long the guest may believe attributes and names: seconds. */
uint64_t fs_timeout(const struct fs *fs, uint32_t *nsec);

#endif
