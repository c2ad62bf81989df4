/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_NODETAB_H
#define VMSHARE_FSSERVER_NODETAB_H

/* Private to this folder: the node table and the descriptor cache. */

#include "fsserver/nodes/names.h"
#include "fsserver/nodes/nodes.h"
#include "fsserver/nodes/slab.h"

#define NODES_VERSION	1	/* of the region in the arena */

/*
 * The descriptor cache. Its lock is taken inside the table's, never around
 * it, and not held over a system call.
 */
struct fd_cache {
	pthread_mutex_t lock;
	unsigned int budget;	/* descriptors of nodes, handles, lock owners */
	unsigned int floor;	/* part of it reserved for nodes */
	unsigned int charged;	/* handles, lock owners, kept */
	unsigned int nr;	/* cached */
	unsigned int room;	/* size of slots */
	unsigned int hand;
	uint32_t *slots;
	bool foreign;		/* atomic: some are of other mounts */
	bool ticks;		/* atomic: fdcache_idle() is called */
};

/* A node whose file the server is about to replace. */
struct node_moving {
	uint32_t slot;		/* 0: none */
	struct node_key key;	/* of the file that it will be */
};

#define NODES_MOVING	4	/* at a time; beyond, lookups may be ESTALE */

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
	node_count_fn *count_by; /* or NULL: nothing is noted */
	struct fd_cache fds;
	struct fs_mounts *mounts;
};

/* Descriptors of freed nodes, closed once the table's lock is released. */
struct node_dead {
	unsigned int nr;
	int fds[32];
};

/*
 * With the table's lock: free @node if nothing refers to it, and then the
 * directories that only its names held.
 */
void node_reap(struct fs_nodes *t, struct fs_node *node,
	       struct node_dead *dead);
void nodes_unlock(struct fs_nodes *t, struct node_dead *dead);

/* ---- reclaim.c ---- */

void nodes_limit(struct fs *fs);	/* sets fs->nodes->limit */
/*
 * With the table's lock: free a node that was not used for long; if many in
 * sequence were used, the first of them that can be freed.
 */
bool node_reclaim(struct fs_nodes *t, struct node_dead *dead);
/* After an adoption, before threads start: enforce the limit. */
void nodes_trim(struct fs *fs);

/* ---- nodehash.c: with the table's lock ---- */

#define MIN_BUCKETS	1024u

uint32_t node_key_hash(const struct node_key *key);
void node_hash_add(struct fs_nodes *t, struct fs_node *node);
void node_hash_del(struct fs_nodes *t, struct fs_node *node);
struct fs_node *node_hash_find(struct fs_nodes *t, const struct node_key *key,
			       uint32_t hash);

/* ---- fdcache.c ---- */

int fdcache_open(struct fs *fs);
int fdcache_adopt(struct fs *fs);	/* a dead worker's descriptors */
void fdcache_close(struct fs *fs);
/*
 * The descriptor of a pinned node, or -1. Takes the cache's lock: without it,
 * `fd` may be the -1 of an eviction that will be undone.
 */
int fdcache_fd(struct fs *fs, struct fs_node *node);
/* The node is being freed. Return: its descriptor, to be closed, or -1. */
int fdcache_detach(struct fs *fs, struct fs_node *node);
/* Can one more be cached without an eviction? Without the lock: a guess. */
bool fdcache_spare(struct fs *fs);
/* A call got EMFILE or ENFILE: make room. False when there is none. */
bool fdcache_shrink(struct fs *fs);

/* ---- byhandle.c ---- */

/**
 * byhandle_open() - open a pinned node by its handle
 *
 * Return: an O_PATH descriptor, which the caller must verify; -ESTALE where
 * there is no such file or no note of it; or another error.
 */
int byhandle_open(struct fs *fs, const struct fs_node *node);

#endif
