/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_LOCKTAB_H
#define VMSHARE_FSSERVER_LOCKTAB_H

/* The table of lock owners, which lockinfo.c searches for cycles. */

#include "fsserver/ops/ops.h"

#include <fcntl.h>
#include <pthread.h>

#define BUCKETS		1024u
#define NONE		UINT32_MAX

struct lock_slot {		/* in the arena */
	uint64_t node;		/* key: node id and the guest's lock owner */
	uint64_t owner;
	uint64_t fh;		/* handle of the last lock request */
	int32_t fd;
	uint32_t pid;		/* process in the guest that locked last */
	uint16_t used;
	uint8_t writable;
	uint8_t held;		/* may have locks */
	uint32_t reserved;
};

ARENA_LAYOUT(LOCKS_VERSION, struct lock_slot, 40);

struct lock_live {
	uint32_t next;		/* slot in the same bucket, or free */
	uint16_t users;		/* threads that use the descriptor */
	bool dead;		/* dropped: the last user closes it */
};

struct waiter {
	struct waiter *next;
	uint32_t slot;
	unsigned int round;	/* last search that visited it */
	struct flock want;
};

struct fs_locks {
	pthread_mutex_t lock;	/* all below, and the slots */
	struct lock_slot *slots;
	struct lock_live *live;
	uint32_t buckets[BUCKETS];
	uint32_t free, top;	/* first free slot; slots ever used */
	unsigned int count;	/* atomic: of slots in use */
	struct waiter *waiters;
	unsigned int round;	/* searches for cycles so far */
};

static inline uint32_t *bucket(struct fs_locks *l, uint64_t node)
{
	return &l->buckets[node * 0x9e3779b97f4a7c15ull >> 54];
}

/*
 * Would @wait, which is in the list, close a cycle of waiters? Called with the
 * lock.
 */
bool lock_deadlock(struct fs_worker *w, struct waiter *wait);

#endif
