/* SPDX-License-Identifier: MIT */
/*
 * The threads that run requests.
 *
 * Leader/followers. Each started lane has one leader: the thread that waits for
 * its rings, pops chains and runs their requests itself, one after the other,
 * without a hand-off. Completed requests are published when the rings are
 * drained, in ops->wait(). After a slow request they are published before each
 * of the next requests too, since more requests may sleep without a call of
 * will_block() (as for a name that is not in the kernel's cache). Otherwise no
 * lock is taken and no shared cache line is written between two requests.
 *
 * A leader gives up its lane in three cases:
 *  - its request is about to sleep (will_block()): completed requests are
 *    published, and a follower, woken or made now, becomes the leader. The
 *    request goes on in this thread, which is an idle follower afterwards;
 *  - the rings hold more work than one thread should do: see overloaded();
 *  - the lane is stopped.
 * Where there is no follower and none can be made, the lane has no leader until
 * a thread ends its request and takes it.
 *
 * Threads are made when they are needed, and end after IDLE_SECONDS without
 * work. There may be one for each started lane, options.threads more (blocked
 * or idle), and one for each process of the guest that waits for a lock
 * (waiter.c).
 *
 * The locks are in private.h. All signals are blocked in these threads except
 * those of faults, and the one that ends a wait for a lock.
 */

#include "fsserver/owners/owners.h"
#include "fsserver/pool/private.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define IDLE_SECONDS	10
#define STACK_SIZE	(256 * 1024)	/* a request uses 8 KiB */

/*
 * Waking a thread on another CPU takes 10 to 20 us: parallel work pays where a
 * request takes longer than that, and when the rings hold enough of them.
 */
#define PARALLEL_MEAN_NS	40000
#define SHARE_CLAMP_NS	(4 * PARALLEL_MEAN_NS) /* limits an outlier's weight */
#define SHARE_TOTAL_NS	100000

/*
 * After a request that took longer than one from memory does, completed ones
 * are published before each of the next CAUTIOUS requests, at 1 to 2 us each.
 */
#define SLOW_NS		60000
#define CAUTIOUS	64u

static void *thread_main(void *arg);

/* ---- making and ending threads ------------------------------------------ */

static struct pool_thread *thread_alloc(struct fs_pool *pool)
{
	struct pool_thread *t;
	pthread_condattr_t attr;

	t = pages_alloc(sizeof(*t) + FS_SCRATCH);
	if (!t)
		return NULL;
	t->pool = pool;
	t->w.fs = pool->fs;
	t->w.chain.iov = t->w.iov;
	t->w.scratch = (char *)(t + 1);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
	return t;
}

static void thread_free(struct pool_thread *t)
{
	pthread_cond_destroy(&t->wake);
	pages_free(t, sizeof(*t) + FS_SCRATCH);
}

/* All but those that a fault of the thread raises. */
static void blocked_signals(sigset_t *set)
{
	static const int faults[] = {
		SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT,
	};

	sigfillset(set);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(set, faults[i]);
}

/* pthread_create() with signals blocked from the thread's start. */
static int thread_start(struct pool_thread *t)
{
	sigset_t blocked, old;
	pthread_attr_t attr;
	int err;

	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	blocked_signals(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	err = pthread_create(&t->id, &attr, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

/*
 * The calling thread ends. Each joins the one before it, so that at most one
 * ended thread is left for pool_close(). Called with the lock, returns without.
 */
static void thread_end(struct fs_pool *pool, struct pool_thread *t)
{
	struct pool_thread *before = pool->ended;
	pthread_t id = before ? before->id : 0;

	pool->ended = t;
	stats_leave(&t->w, pool->fs->stats, pool->slots);
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	stats_gauge(pool->fs, STATS_THREADS, --pool->threads);
	pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	if (before) {
		pthread_join(id, NULL);
		thread_free(before);
	}
}

/* ---- leadership --------------------------------------------------------- */

static bool may_create(const struct fs_pool *pool)
{
	return pool->threads < pool->started + pool->limit + pool->waiters;
}

/*
 * Find a follower to lead @l, or make one. Called and left with the lock,
 * which is dropped while memory for a thread is allocated.
 * Return: 0; -EBUSY at the limit of threads, when the first that ends its
 * request will take the lane; -EAGAIN where none could be made. l->led is set
 * accordingly.
 */
static int find_leader(struct fs_pool *pool, struct pool_lane *l)
{
	struct pool_thread *t = pool->idle;
	int err;

	l->led = true;
	if (t) {
		pool->idle = t->next_idle;
		t->lead = l;
		pthread_cond_signal(&t->wake);
		return 0;
	}
	err = -EBUSY;
	if (!may_create(pool) || pool->closing)
		goto none;
	err = -EAGAIN;
	pool->threads++;
	pthread_mutex_unlock(&pool->lock);
	t = thread_alloc(pool);
	pthread_mutex_lock(&pool->lock);
	if (t) {
		t->lead = l;
		t->link = &pool->all;
		t->next = pool->all;
		stats_join(&t->w, pool->fs->stats, pool->slots);
		/* It takes the lock first, and so finds a complete list. */
		err = thread_start(t);
		if (!err) {
			if (t->next)
				t->next->link = &t->next;
			pool->all = t;
			stats_gauge(pool->fs, STATS_THREADS, pool->threads);
			return 0;
		}
		stats_leave(&t->w, pool->fs->stats, pool->slots);
		thread_free(t);
	}
	pool->threads--;
none:
	l->led = false;
	pthread_cond_broadcast(&pool->changed);
	return err;
}

/* A running lane without a leader. Called with the lock. */
static struct pool_lane *lane_without_leader(struct fs_pool *pool)
{
	for (unsigned int i = 0; i < pool->nr_lanes; i++) {
		struct pool_lane *l = &pool->lanes[i];

		if (l->running && !l->led)
			return l;
	}
	return NULL;
}

/* The caller no longer leads @l. */
static void resign(struct fs_pool *pool, struct pool_lane *l)
{
	pthread_mutex_lock(&pool->lock);
	l->led = false;
	pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
}

int pool_hand_over(struct pool_thread *t, bool must)
{
	struct fs_pool *pool = t->pool;
	struct pool_lane *l = t->lane;
	int err = 0;

	pthread_mutex_lock(&pool->lock);
	if (!l->running) {
		l->led = false;
		pthread_cond_broadcast(&pool->changed);
	} else {
		err = find_leader(pool, l);
		if (err && must && l->running)
			l->led = true;
		else if (must)
			err = 0;
	}
	t->w.leading = err && must;
	pthread_mutex_unlock(&pool->lock);
	return err;
}

static void pool_will_block(struct fs_worker *w)
{
	struct pool_thread *t = pool_thread_of(w);
	struct fs_pool *pool = t->pool;

	if (t->parallel) {
		t->parallel = false;
		__atomic_fetch_sub(&pool->parallel, 1, __ATOMIC_RELAXED);
	}
	if (!w->leading)
		return;
	pool->ops->flush(pool->ops_ctx, t->lane->index);
	pool_hand_over(t, false);
}

/* A request of @w was answered with @len bytes, after @ns. */
static void count_request(struct fs_worker *w, int64_t ns, uint32_t len)
{
	struct stats_slot *s = w->stats;
	bool shared = w->stats_shared;
	struct stats_op *op;

	if (!s)
		return;
	op = &s->op[w->counts_as];
	stats_add(&op->count, 1, shared);
	stats_add(&op->bytes, w->chain.readable + len, shared);
	stats_add(&op->bucket[stats_bucket(ns)], 1, shared);
	if (w->failed)
		stats_add(&op->failed, 1, shared);
}

/*
 * Do the rings hold so much work that another thread should help? Cheap
 * requests (in memory, a few us) stay with one thread at any queue depth.
 */
static bool overloaded(const struct fs_pool *pool, const struct pool_lane *l)
{
	int64_t mean = __atomic_load_n(&l->mean, __ATOMIC_RELAXED);

	if (mean < PARALLEL_MEAN_NS)
		return false;
	if (pool->ops->pending(pool->ops_ctx, l->index) * mean <
	    SHARE_TOTAL_NS)
		return false;
	return __atomic_load_n(&pool->parallel, __ATOMIC_RELAXED) + 1 <
	       pool->cpus;
}

/* Of two concurrent updates one is lost, which does not matter. */
static void update_mean(struct pool_lane *l, int64_t took)
{
	int64_t mean = __atomic_load_n(&l->mean, __ATOMIC_RELAXED);

	if (took > SHARE_CLAMP_NS)
		took = SHARE_CLAMP_NS;
	mean += (took - mean) / 8;
	__atomic_store_n(&l->mean, mean, __ATOMIC_RELAXED);
}

static void run_in_parallel(struct pool_thread *t)
{
	if (pool_hand_over(t, true))
		return;
	t->parallel = true;
	__atomic_fetch_add(&t->pool->parallel, 1, __ATOMIC_RELAXED);
}

/* Run a request while another thread leads; its time goes into the mean. */
static uint32_t run_parallel(struct pool_thread *t)
{
	int64_t began = clock_ns();
	uint32_t len = t->pool->run(&t->w);

	if (t->parallel)		/* it did not sleep */
		update_mean(t->lane, clock_ns() - began);
	return len;
}

/* Run the request in t->w and push its chain. Return: the reply's length. */
static uint32_t run_one(struct pool_thread *t)
{
	struct fs_pool *pool = t->pool;
	uint32_t len;

	t->generation = __atomic_load_n(&pool->generation, __ATOMIC_RELAXED);
	t->w.leading = true;
	if (t->lane->cautious)
		pool->ops->flush(pool->ops_ctx, t->lane->index);
	if (overloaded(pool, t->lane))
		run_in_parallel(t);
	len = t->parallel ? run_parallel(t) : t->pool->run(&t->w);
	stats_began(&t->w, 0);
	pool->ops->push(pool->ops_ctx, &t->w.chain, len);
	if (t->w.leading)
		return len;
	/* The leader does not know of this chain: publish it here. */
	pool->ops->flush(pool->ops_ctx, t->lane->index);
	if (t->parallel) {
		t->parallel = false;
		__atomic_fetch_sub(&pool->parallel, 1, __ATOMIC_RELAXED);
	}
	return len;
}

static void be_cautious(struct pool_lane *l, int64_t took)
{
	if (took >= SLOW_NS)
		l->cautious = CAUTIOUS;
	else if (l->cautious)
		l->cautious--;
}

/* Lead @l until it is stopped or another thread leads it. */
static void lead(struct pool_thread *t, struct pool_lane *l)
{
	struct fs_pool *pool = t->pool;
	int64_t began, ended;
	uint32_t len;
	int rc;

	t->lane = l;
	for (;;) {
		if (pool->ops->wait(pool->ops_ctx, l->index))
			break;
		stats_count(&t->w, STATS_WAKES);
		began = clock_ns();
		while ((rc = pool->ops->pop(pool->ops_ctx, l->index,
					    &t->w.chain)) > 0) {
			stats_began(&t->w, began);
			len = run_one(t);
			ended = clock_ns();
			count_request(&t->w, ended - began, len);
			if (!t->w.leading)
				return;
			update_mean(l, ended - began);
			be_cautious(l, ended - began);
			began = ended;
		}
		if (rc < 0)
			break;
	}
	resign(pool, l);
}

/*
 * Sleep as an idle follower. Called and left with the lock.
 * Return: the lane to lead, or NULL when the thread must end.
 */
static struct pool_lane *be_idle(struct fs_pool *pool, struct pool_thread *t)
{
	struct pool_thread **link;
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	t->lead = NULL;
	t->next_idle = pool->idle;
	pool->idle = t;
	while (!t->lead && !pool->closing && !err)
		err = pthread_cond_timedwait(&t->wake, &pool->lock, &until);
	if (t->lead)
		return t->lead;
	for (link = &pool->idle; *link != t; link = &(*link)->next_idle)
		;
	*link = t->next_idle;
	return NULL;
}

static void *thread_main(void *arg)
{
	struct pool_thread *t = arg;
	struct fs_pool *pool = t->pool;
	struct pool_lane *l;

	cred_init(&t->w, pool->caps);
	pthread_mutex_lock(&pool->lock);
	l = t->lead;
	while (l) {
		pthread_mutex_unlock(&pool->lock);
		lead(t, l);
		pthread_mutex_lock(&pool->lock);
		l = lane_without_leader(pool);
		if (l)
			l->led = true;
		else
			l = be_idle(pool, t);
	}
	thread_end(pool, t);
	return NULL;
}

void pool_each(struct fs_pool *pool,
	       void (*visit)(void *ctx, const struct fs_worker *w,
			     int64_t began, bool waiting),
	       void *ctx)
{
	pthread_mutex_lock(&pool->lock);
	for (struct pool_thread *t = pool->all; t; t = t->next) {
		int64_t began = __atomic_load_n(&t->w.began, __ATOMIC_RELAXED);

		if (began)
			visit(ctx, &t->w, began, t->waiting);
	}
	pthread_mutex_unlock(&pool->lock);
}

/* ---- the pool as a whole ------------------------------------------------ */

static unsigned int usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (unsigned int)CPU_COUNT(&set);
}

int pool_open(struct fs_pool **out, struct fs *fs,
	      uint32_t (*run)(struct fs_worker *w))
{
	struct fs_pool *pool;

	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	pool->nr_lanes = CHAIN_LANES(fs->queues);
	pool->lanes = aligned_alloc(_Alignof(struct pool_lane),
				     pool->nr_lanes * sizeof(*pool->lanes));
	if (!pool->lanes) {
		free(pool);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < pool->nr_lanes; i++)
		pool->lanes[i] = (struct pool_lane){ .index = i,
						      .cautious = CAUTIOUS };
	pool->fs = fs;
	pool->run = run;
	fs->will_block = pool_will_block;
	pool->ops = fs->ops;
	pool->ops_ctx = fs->ops_ctx;
	pool->cpus = usable_cpus();
	pool->caps = cred_caps();
	pool->limit = fs->options.threads;
	if (!pool->limit)
		pool->limit = pool->cpus < 4 ? 16 : pool->cpus * 4;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->changed, NULL);
	pool_wait_setup();
	*out = pool;
	return 0;
}

void pool_close(struct fs_pool *pool)
{
	if (!pool)
		return;
	pool_interrupt(pool);
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	for (struct pool_thread *t = pool->idle; t; t = t->next_idle)
		pthread_cond_signal(&t->wake);
	while (pool->threads)
		pthread_cond_wait(&pool->changed, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	if (pool->ended) {
		pthread_join(pool->ended->id, NULL);
		thread_free(pool->ended);
	}
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	free(pool->lanes);
	free(pool);
}

int pool_start(struct fs_pool *pool, unsigned int lane)
{
	struct pool_lane *l;
	int err = 0;

	if (lane >= pool->nr_lanes)
		return -EINVAL;
	l = &pool->lanes[lane];
	pthread_mutex_lock(&pool->lock);
	if (!l->running) {
		l->running = true;
		pool->started++;
		err = find_leader(pool, l);
		if (err == -EBUSY)
			err = 0;
		if (err) {
			l->running = false;
			pool->started--;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return err;
}

void pool_stop(struct fs_pool *pool, unsigned int lane)
{
	struct pool_lane *l;

	if (lane >= pool->nr_lanes)
		return;
	l = &pool->lanes[lane];
	pthread_mutex_lock(&pool->lock);
	if (l->running) {
		l->running = false;
		pool->started--;
	}
	while (l->led)
		pthread_cond_wait(&pool->changed, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}
