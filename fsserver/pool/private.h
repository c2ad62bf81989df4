/* SPDX-License-Identifier: MIT */
/*
 * What pool.c and waiter.c share: threads, lanes, and who leads which.
 *
 * pool->lock protects all that is marked (L). No other lock is taken under it.
 * Under it threads are made, and their memory is mapped and unmapped, and
 * pool_each() calls its visitor, which may copy and must not wait.
 */

#ifndef VMSHARE_FSSERVER_POOL_PRIVATE_H
#define VMSHARE_FSSERVER_POOL_PRIVATE_H

#include "fsserver/pool/pool.h"

#include <pthread.h>

#define CACHE_LINE	64

struct pool_lane {
	unsigned int index;
	int64_t mean;		/* atomic: recent ns of a request; a guide */
	unsigned int cautious;	/* leader's: requests until it is bold again */
	bool running;		/* (L) between start and stop */
	bool led;		/* (L) some thread leads it, or is about to */
	unsigned int slots;	/* (L) ring slots of those waiting for locks */
} __attribute__((aligned(CACHE_LINE)));

struct pool_thread {
	struct fs_worker w;	/* first: a worker is its thread */
	struct fs_pool *pool;
	pthread_t id;		/* (L) */
	pthread_cond_t wake;	/* with pool->lock: lead was set, or closing */
	struct pool_lane *lead; /* (L) what it shall lead */
	struct pool_lane *lane; /* own: where its request came from */
	struct pool_thread *next_idle;		/* (L) */
	struct pool_thread *next, **link;	/* (L) list of all */
	unsigned int generation; /* own: resets seen when it popped */
	unsigned int slots;	/* own: what it waits for a lock with */
	bool waiting;		/* (L) for a lock */
	bool parallel;		/* own: gave up its lane to share work */
};

struct fs_pool {
	struct fs *fs;
	uint32_t (*run)(struct fs_worker *w);	/* a request */
	const struct chain_ops *ops;
	void *ops_ctx;
	unsigned int limit;	/* threads beyond leaders and waiters */
	unsigned int cpus;
	uint64_t caps;		/* each thread's */
	unsigned int nr_lanes;
	struct pool_lane *lanes;
	unsigned int generation; /* atomic: counts interrupts */
	unsigned int parallel;	/* atomic: threads that run shared work */
	pthread_mutex_t lock;
	pthread_cond_t changed;	/* a lane lost its leader, a thread ended */
	struct pool_thread *all;	/* (L) */
	struct pool_thread *idle;	/* (L) last in, first out */
	struct pool_thread *ended;	/* (L) to be joined by the next */
	unsigned int threads;		/* (L) */
	unsigned int started;		/* (L) lanes that run */
	unsigned int waiters;		/* (L) */
	bool slots[STATS_SLOTS];	/* (L) that count for a thread */
	bool closing;			/* (L) */
};

static inline struct pool_thread *pool_thread_of(struct fs_worker *w)
{
	return (struct pool_thread *)w;
}

/*
 * Let another thread lead the lane of the thread's request.
 * @must:	only if there is another
 *
 * Return: 0, or -errno where nobody leads it now (@must: it still does).
 */
int pool_hand_over(struct pool_thread *t, bool must);

/* For the process, once: how a wait for a lock is interrupted. */
void pool_wait_setup(void);

/* ---- counts -------------------------------------------------------------- */

/* A slot for the counts of a new thread, and back; @taken has a lock. */
static inline void stats_join(struct fs_worker *w, struct stats *stats,
			      bool taken[STATS_SLOTS])
{
	w->stats = stats ? stats_take(stats, taken) : NULL;
	w->stats_shared = stats && w->stats == &stats->slot[0];
}

static inline void stats_leave(struct fs_worker *w, const struct stats *stats,
			       bool taken[STATS_SLOTS])
{
	if (w->stats)
		taken[w->stats - stats->slot] = false;
}

/* When the request of @w began, for all who look; 0: it ended. */
static inline void stats_began(struct fs_worker *w, int64_t began)
{
	__atomic_store_n(&w->began, began, __ATOMIC_RELEASE);
	if (w->stats && !w->stats_shared)
		__atomic_store_n(&w->stats->began, began, __ATOMIC_RELAXED);
}

#endif
