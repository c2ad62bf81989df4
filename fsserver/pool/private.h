/* SPDX-License-Identifier: MIT */
/*
 * What pool.c and waiter.c share: threads, lanes, and who leads a lane.
 *
 * pool->lock protects the fields marked (L). No other lock is taken under it.
 * Threads are created under it, their memory is mapped and unmapped, and
 * pool_each() calls its visitor, which must not wait.
 */

#ifndef VMSHARE_FSSERVER_POOL_PRIVATE_H
#define VMSHARE_FSSERVER_POOL_PRIVATE_H

#include "fsserver/pool/pool.h"

#include <pthread.h>

#define CACHE_LINE	64

struct pool_lane {
	unsigned int index;
	int64_t mean;		/* atomic: recent ns of a request, about */
	unsigned int cautious;	/* leader's: requests to publish before */
	bool running;		/* (L) between start and stop */
	bool led;		/* (L) some thread leads it, or is about to */
	unsigned int slots;	/* (L) ring slots of those waiting for locks */
} __attribute__((aligned(CACHE_LINE)));

struct pool_thread {
	struct fs_worker w;	/* first: a worker is its thread */
	struct fs_pool *pool;
	pthread_t id;		/* (L) */
	pthread_cond_t wake;	/* with pool->lock: lead was set, or closing */
	struct pool_lane *lead; /* (L) lane that it must lead next */
	struct pool_lane *lane; /* own: where its request came from */
	struct pool_thread *next_idle;		/* (L) */
	struct pool_thread *next, **link;	/* (L) list of all */
	unsigned int generation; /* own: resets seen when it popped */
	unsigned int slots;	/* own: ring slots of its wait for a lock */
	bool waiting;		/* (L) for a lock */
	bool parallel;		/* own: gave up its lane to run in parallel */
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
	bool slots[STATS_SLOTS];	/* (L) slots of counts in use */
	bool closing;			/* (L) */
};

static inline struct pool_thread *pool_thread_of(struct fs_worker *w)
{
	return (struct pool_thread *)w;
}

/*
 * Let another thread lead the lane of the thread's request.
 * @must:	keep the lead if there is no other thread
 *
 * Return: 0, or -errno where no thread leads it now (@must: @t still does).
 */
int pool_hand_over(struct pool_thread *t, bool must);

/* Once for the process: set up the signal that interrupts waits for locks. */
void pool_wait_setup(void);

/* ---- counts -------------------------------------------------------------- */

/* A slot for a new thread's counts, and its release; @taken needs the lock. */
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

/* Show other threads and processes when the request began; 0: it ended. */
static inline void stats_began(struct fs_worker *w, int64_t began)
{
	__atomic_store_n(&w->began, began, __ATOMIC_RELEASE);
	if (w->stats && !w->stats_shared)
		__atomic_store_n(&w->stats->began, began, __ATOMIC_RELAXED);
}

#endif
