/* rooms: base */
/* SPDX-License-Identifier: MIT */
/*
 * The pool against a ring made of a mutex and a counter, with requests that
 * sleep when they are told to. The files under test are included, so that their
 * neighbours in the room can be replaced.
 */

#include "fsserver/pool/pool.c"
#include "fsserver/pool/waiter.c"

#include "check.h"

#include <semaphore.h>
#include <stdatomic.h>

#define LANES 4

enum kind { QUICK, BLOCK, BUSY, WAIT_LOCK };

struct ring {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	enum kind kinds[8192];
	unsigned int head, tail;
	unsigned int pushed, flushed;
	bool stopped;
	int leaders;		/* threads in wait or pop: never two */
};

static struct ring rings[LANES];
static struct fs server;
static sem_t gate;
static atomic_int blocked, ran, waits, refused, two_leaders;
static atomic_int seen_threads;
static _Thread_local bool counted;

uint64_t cred_caps(void)
{
	return 0;
}

void cred_init(struct fs_worker *w, uint64_t caps)
{
	(void)w;
	(void)caps;
}

/* What is counted, and for how many requests in a slot that is shared. */
static struct stats counts;
static atomic_int shared_slots;

static void run_wait(struct fs_worker *w)
{
	int err = pool_wait_begin(w);

	if (err) {
		refused++;
		return;
	}
	waits++;
	while (!pool_wait_interrupted(w)) {
		if (!pause() || errno != EINTR)
			abort();
	}
	waits--;
	pool_wait_end(w);
}

static uint32_t run(struct fs_worker *w)
{
	struct timespec busy = { .tv_nsec = 300000 };

	w->counts_as = 1;
	shared_slots += w->stats && w->stats_shared;
	if (!counted) {
		counted = true;
		seen_threads++;
	}
	switch ((enum kind)w->chain.head) {
	case BLOCK:
		will_block(w);
		will_block(w);
		blocked++;
		while (sem_wait(&gate))
			;
		blocked--;
		break;
	case BUSY:
		nanosleep(&busy, NULL);
		break;
	case WAIT_LOCK:
		run_wait(w);
		break;
	case QUICK:
		break;
	}
	ran++;
	return 16;
}

static void enter(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	if (r->leaders++)
		two_leaders++;
}

static void leave(struct ring *r)
{
	r->leaders--;
	pthread_mutex_unlock(&r->lock);
}

static int ring_wait(void *ctx, unsigned int q)
{
	struct ring *r = &rings[q];
	int rc;

	(void)ctx;
	enter(r);
	r->flushed = r->pushed;
	while (r->head == r->tail && !r->stopped)
		pthread_cond_wait(&r->cond, &r->lock);
	rc = r->stopped ? -ESHUTDOWN : 0;
	leave(r);
	return rc;
}

static int ring_pop(void *ctx, unsigned int q, struct chain *c)
{
	struct ring *r = &rings[q];
	int rc = 0;

	(void)ctx;
	enter(r);
	if (r->stopped) {
		rc = -ESHUTDOWN;
	} else if (r->head != r->tail) {
		c->queue = (uint16_t)(q + 1);
		c->head = (uint16_t)r->kinds[r->head++];
		rc = 1;
	}
	leave(r);
	return rc;
}

static unsigned int ring_pending(void *ctx, unsigned int q)
{
	struct ring *r = &rings[q];
	unsigned int n;

	(void)ctx;
	pthread_mutex_lock(&r->lock);
	n = r->tail - r->head;
	pthread_mutex_unlock(&r->lock);
	return n;
}

static void ring_push(void *ctx, struct chain *c, uint32_t len)
{
	struct ring *r = &rings[CHAIN_LANE(c->queue)];

	(void)ctx;
	pthread_mutex_lock(&r->lock);
	if (len == 16)
		r->pushed++;
	pthread_mutex_unlock(&r->lock);
}

static void ring_flush(void *ctx, unsigned int q)
{
	struct ring *r = &rings[q];

	(void)ctx;
	pthread_mutex_lock(&r->lock);
	r->flushed = r->pushed;
	pthread_mutex_unlock(&r->lock);
}

static unsigned int ring_size(void *ctx, unsigned int q)
{
	(void)ctx;
	(void)q;
	return 16;
}

static const struct chain_ops ring_ops = {
	.wait = ring_wait, .pop = ring_pop, .pending = ring_pending,
	.push = ring_push, .flush = ring_flush, .size = ring_size,
};

static void submit(unsigned int q, enum kind kind, unsigned int count)
{
	struct ring *r = &rings[q];

	pthread_mutex_lock(&r->lock);
	while (count--)
		r->kinds[r->tail++] = kind;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

static unsigned int flushed(unsigned int q)
{
	unsigned int n;

	pthread_mutex_lock(&rings[q].lock);
	n = rings[q].flushed;
	pthread_mutex_unlock(&rings[q].lock);
	return n;
}

/* Wait up to ten seconds for something to become true. */
#define SOON(cond)                                                            \
	({                                                                    \
		int tries = 10000;                                            \
		while (!(cond) && tries--)                                    \
			usleep(1000);                                         \
		(cond);                                                       \
	})

static void stop(unsigned int q)
{
	pthread_mutex_lock(&rings[q].lock);
	rings[q].stopped = true;
	pthread_cond_broadcast(&rings[q].cond);
	pthread_mutex_unlock(&rings[q].lock);
	pool_stop(server.pool, q);
}

static void teardown(void)
{
	for (unsigned int q = 0; q < LANES; q++)
		stop(q);
	pool_close(server.pool);
	server.pool = NULL;
}

static void setup(unsigned int threads)
{
	if (server.pool) {	/* a test that failed has left it */
		for (unsigned int i = 0; i < ARRAY_SIZE(rings[0].kinds); i++)
			sem_post(&gate);
		teardown();
	}
	memset(rings, 0, sizeof(rings));
	for (unsigned int i = 0; i < LANES; i++) {
		pthread_mutex_init(&rings[i].lock, NULL);
		pthread_cond_init(&rings[i].cond, NULL);
	}
	sem_init(&gate, 0, 0);
	ran = blocked = waits = refused = two_leaders = 0;
	seen_threads = 0;
	memset(&server, 0, sizeof(server));
	server.ops = &ring_ops;
	server.queues = LANES + 1;
	server.options.threads = threads;
	if (pool_open(&server.pool, &server, run))
		abort();
}

static void start(unsigned int q)
{
	rings[q].stopped = false;
	if (pool_start(server.pool, q))
		abort();
}

static unsigned int threads_now(void)
{
	unsigned int n;

	pthread_mutex_lock(&server.pool->lock);
	n = server.pool->threads;
	pthread_mutex_unlock(&server.pool->lock);
	return n;
}

static void test_inline(void)
{
	setup(4);
	server.pool->cpus = 1;	/* or a busy machine makes them look slow */
	start(1);
	submit(1, QUICK, 5000);
	CHECK(SOON(flushed(1) == 5000));
	CHECK_EQ(seen_threads, 1);
	CHECK_EQ(threads_now(), 1);
	teardown();
	CHECK_EQ(two_leaders, 0);
}

/* A request that sleeps holds up neither the next nor those before it. */
static void test_block(void)
{
	setup(4);
	start(1);
	submit(1, QUICK, 3);
	submit(1, BLOCK, 2);
	submit(1, QUICK, 100);
	CHECK(SOON(blocked == 2));
	CHECK(SOON(flushed(1) == 103));
	sem_post(&gate);
	sem_post(&gate);
	CHECK(SOON(flushed(1) == 105));
	CHECK_EQ(threads_now(), 3);
	/* What was made is used again. */
	submit(1, BLOCK, 2);
	CHECK(SOON(blocked == 2));
	CHECK_EQ(threads_now(), 3);
	sem_post(&gate);
	sem_post(&gate);
	CHECK(SOON(flushed(1) == 107));
	teardown();
	CHECK_EQ(two_leaders, 0);
}

/* At the limit the ring waits, and goes on as soon as one is free. */
static void test_limit(void)
{
	setup(2);
	start(0);
	start(1);
	submit(1, BLOCK, 5);
	submit(1, QUICK, 10);
	CHECK(SOON(blocked == 3));
	usleep(20000);
	CHECK_EQ(blocked, 3);
	CHECK_EQ(threads_now(), 4);
	submit(0, QUICK, 7);	/* has a thread of its own */
	CHECK(SOON(flushed(0) == 7));
	stop(1);		/* nobody leads it: at once */
	start(1);
	for (int i = 0; i < 5; i++)
		sem_post(&gate);
	CHECK(SOON(flushed(1) == 15));
	teardown();
	CHECK_EQ(two_leaders, 0);
}

static void test_stop_while_blocked(void)
{
	setup(4);
	start(1);
	submit(1, BLOCK, 1);
	CHECK(SOON(blocked == 1));
	stop(1);
	CHECK_EQ(blocked, 1);
	start(1);
	submit(1, QUICK, 4);
	CHECK(SOON(flushed(1) == 4));
	sem_post(&gate);
	CHECK(SOON(flushed(1) == 5));
	teardown();
}

/* Three quarters of a ring of 16 may wait; a reset ends them all. */
static void test_lock_waiters(void)
{
	setup(2);
	start(1);
	start(2);
	submit(1, WAIT_LOCK, 14);
	CHECK(SOON(waits == 12));
	CHECK(SOON(refused == 2));
	submit(1, QUICK, 50);
	CHECK(SOON(flushed(1) == 52));
	submit(2, WAIT_LOCK, 3);
	CHECK(SOON(waits == 15));
	submit(2, BLOCK, 2);
	submit(2, QUICK, 1);
	CHECK(SOON(blocked == 2 && flushed(2) == 1));
	stop(1);
	stop(2);
	CHECK_EQ(waits, 15);
	pool_interrupt(server.pool);
	CHECK_EQ(waits, 0);
	sem_post(&gate);
	sem_post(&gate);
	start(1);
	submit(1, WAIT_LOCK, 1);
	CHECK(SOON(waits == 1));
	stop(1);
	pool_interrupt(server.pool);
	teardown();
	CHECK_EQ(two_leaders, 0);
}

static void test_share(void)
{
	setup(4);
	if (server.pool->cpus < 2) {
		teardown();
		SKIP("one CPU");
	}
	start(1);
	submit(1, BUSY, 100);
	CHECK(SOON(flushed(1) == 100));
	CHECK(seen_threads >= 2);
	/* Few at once, but who works when is the scheduler's to say. */
	CHECK(seen_threads <= 1 + 4);
	CHECK(SOON(!__atomic_load_n(&server.pool->parallel, __ATOMIC_RELAXED)));
	teardown();
	CHECK_EQ(two_leaders, 0);
}

static int64_t mean_now(unsigned int q)
{
	return __atomic_load_n(&server.pool->lanes[q].mean, __ATOMIC_RELAXED);
}

/*
 * Once requests were slow and quick ones come, each is run by its leader again.
 * A batch's last has nothing behind it and is: five batches show little.
 */
static void test_share_ends(void)
{
	setup(64);
	server.pool->cpus = 64;
	server.pool->lanes[1].mean = SHARE_CLAMP_NS;
	start(1);
	for (unsigned int i = 1; i <= 5; i++) {
		if (mean_now(1) < PARALLEL_MEAN_NS)
			break;
		submit(1, QUICK, 800);
		CHECK(SOON(flushed(1) == i * 800));
	}
	CHECK(mean_now(1) < PARALLEL_MEAN_NS);
	teardown();
	CHECK_EQ(two_leaders, 0);
}

static void visit(void *ctx, const struct fs_worker *w, int64_t began,
		  bool waiting)
{
	int *seen = ctx;

	if (w->fs == &server && began > 0 && !waiting)
		(*seen)++;
}

static void test_each(void)
{
	int seen = 0;

	setup(4);
	start(1);
	submit(1, QUICK, 10);
	submit(1, BLOCK, 2);
	CHECK(SOON(blocked == 2));
	pool_each(server.pool, visit, &seen);
	CHECK_EQ(seen, 2);
	sem_post(&gate);
	sem_post(&gate);
	teardown();
}

/* Everything at once; the sanitizers look on. */
static void test_storm(void)
{
	unsigned int sent[LANES] = { 0 };

	setup(3);
	for (unsigned int q = 0; q < LANES; q++)
		start(q);
	for (unsigned int i = 0; i < 1500; i++) {
		unsigned int q = i % LANES;

		submit(q, i % 7 == 0 ? BLOCK : i % 5 == 0 ? BUSY : QUICK, 1);
		if (i % 7 == 0)
			sem_post(&gate);
		sent[q]++;
		if (i % 97 == 0) {
			stop(q);
			start(q);
		}
	}
	for (unsigned int q = 0; q < LANES; q++)
		CHECK(SOON(flushed(q) == sent[q]));
	teardown();
	CHECK_EQ(two_leaders, 0);
	CHECK_EQ(ran, 1500);
}

/* A shared request is counted after it is flushed. */
static uint64_t counted_now(unsigned int *running)
{
	static struct stats_slot sum;

	stats_sum(&counts, &sum, running);
	return sum.op[1].count;
}

/* Every request is counted once, whichever threads ran it. */
static void test_counts(void)
{
	static struct stats_slot sum;
	unsigned int running = 9;
	uint64_t total = 0;

	memset(&counts, 0, sizeof(counts));
	shared_slots = 0;
	setup(200);
	server.stats = &counts;
	start(1);
	start(2);
	submit(1, QUICK, 500);
	submit(2, BUSY, 100);
	CHECK(SOON(flushed(1) == 500 && flushed(2) == 100));
	/* More threads than slots: the rest shares slot 0. */
	submit(1, BLOCK, STATS_SLOTS + 20);
	CHECK(SOON(blocked == STATS_SLOTS + 20));
	CHECK(SOON(counted_now(&running) == 600));
	stats_sum(&counts, &sum, &running);
	CHECK(running > STATS_SLOTS / 2 && running < STATS_SLOTS);
	CHECK(sum.began > 0 && sum.began <= clock_ns());
	CHECK(counts.gauge[STATS_THREADS] > STATS_SLOTS);
	for (int i = 0; i < STATS_SLOTS + 20; i++)
		sem_post(&gate);
	CHECK(SOON(flushed(1) == 500 + STATS_SLOTS + 20));
	teardown();
	CHECK(shared_slots >= 20);
	stats_sum(&counts, &sum, &running);
	CHECK_EQ(running, 0);
	CHECK_EQ(counts.gauge[STATS_THREADS], 0);
	CHECK_EQ(sum.op[1].count, 600 + STATS_SLOTS + 20);
	CHECK_EQ(sum.op[1].bytes, 16 * (600 + STATS_SLOTS + 20));
	for (unsigned int i = 0; i < STATS_BUCKETS; i++)
		total += sum.op[1].bucket[i];
	CHECK_EQ(total, 600 + STATS_SLOTS + 20);
	/* A hundred of them slept for 0.3 ms. */
	CHECK(stats_percentile(&sum.op[1], 990) >= 262144);
	CHECK(sum.counter[STATS_WAKES] > 0);
}

static void test_bad_queue(void)
{
	setup(1);
	CHECK_EQ(pool_start(server.pool, LANES), -EINVAL);
	pool_stop(server.pool, LANES);
	CHECK_EQ(threads_now(), 0);
	teardown();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a request runs in its leader", test_inline },
		{ "one that blocks gives its lane away", test_block },
		{ "threads= bounds the threads", test_limit },
		{ "a lane stops while a request blocks",
		  test_stop_while_blocked },
		{ "waits for locks have threads of their own",
		  test_lock_waiters },
		{ "two share what one could not do", test_share },
		{ "idle threads end", test_share_ends },
		{ "each running request is seen once", test_each },
		{ "lanes start and stop under load", test_storm },
		{ "requests are counted", test_counts },
		{ "a queue that does not exist", test_bad_queue },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
