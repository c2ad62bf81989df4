/* SPDX-License-Identifier: MIT */
/*
 * How the leader of a lane waits for requests.
 *
 * In the end it sleeps on the front end's kick descriptors: it arms the rings,
 * which asks the driver for a kick, checks them again, and sleeps. Each such
 * sleep costs a kick (an exit of the guest's) and the waking of a thread, many
 * times as much as a small request. To have fewer of them the leader
 * busy-polls first: it checks the rings for a moment without asking for a kick.
 * That pays where the driver runs concurrently, on another processor; where it
 * needs this processor, it can add nothing meanwhile.
 *
 * Nobody knows beforehand which it will be, so there is a backoff: a busy-poll
 * that found a request is repeated, after one that found none 1, 3, 7, ... are
 * skipped. A busy-poll that pays also shows that the driver is concurrent;
 * completions are then published while requests are still being run
 * (q->concurrent), else all at once. A request that was there without any
 * waiting does not count, nor does a moment in which another thread had this
 * processor: with one processor the signal itself lets the driver run.
 *
 * The high priority queue is not worth a kick of its own while its lane is
 * busy. A FORGET has no reply, so nobody waits for it, and Linux sends one
 * after most uses of a file: the next request's kick serves both. With event
 * indexes it is armed for a kick when it is half full; once the request queue
 * has become idle (watch.c), for a kick at the next request. FUSE_INTERRUPT,
 * which Linux does not send, may wait for WATCH_MS twice because of this.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* A ring without a kick descriptor is looked at this often. */
#define POLL_MS		1
/*
 * How long to busy-poll: as long as the leader worked just now, since a driver
 * needs about as long for as many answers. The least is what a kick and a
 * waking cost, measured at 20 to 30 us.
 */
#define BUSY_MIN_NS	30000
#define BUSY_MAX_NS	100000
#define BUSY_CHECKS	8	/* of the rings, between two clock readings */
/*
 * Eight checks take half a microsecond. When they took longer than this,
 * another thread had the processor, perhaps the driver.
 */
#define PREEMPTED_NS	2500
/* The most busy-polls that are skipped after one that found nothing. */
#define BACKOFF_MAX	1024

/* Is the next try due? */
static bool backoff_due(struct vu_backoff *b)
{
	if (!b->skip)
		return true;
	b->skip--;
	return false;
}

/* After a try: repeat it where it paid, else skip twice as many as before. */
static void backoff_update(struct vu_backoff *b, bool paid)
{
	if (paid)
		b->skipped = 0;
	else if (b->skipped < BACKOFF_MAX)
		b->skipped = 2 * b->skipped + 1;
	b->skip = b->skipped;
}

/* ---- the rings ----------------------------------------------------------- */

/* The request queue of a high priority queue's lane, or NULL. */
static const struct vu_queue *request_queue(const struct vu_queue *q)
{
	const struct vu_lane *l = q->lane;

	return q->index == 0 && l->nr > 1 ? l->queue[1] : NULL;
}

/* How many requests may wait in @q without a kick, see the top. */
static uint16_t may_wait(const struct vu_queue *q)
{
	const struct vu_queue *busy = request_queue(q);

	if (!busy || !vu_queue_live(busy) || vu_load(&busy->idle))
		return 0;
	return (uint16_t)(q->num / 2);
}

static bool ring_arm(struct vu_queue *q)
{
	return vu_ring_arm(q, may_wait(q));
}

/*
 * Whether there is something to pop, by @ask of each queue: vu_ring_look(), or
 * ring_arm(), which asks for a kick as well.
 */
static inline bool lane_any(struct vu_lane *l, bool (*ask)(struct vu_queue *q))
{
	bool any = false;

	for (unsigned int i = 0; i < l->nr; i++)
		if (vu_queue_live(l->queue[i]))
			any |= ask(l->queue[i]);
	return any;
}

static void lane_disarm(struct vu_lane *l)
{
	for (unsigned int i = 0; i < l->nr; i++)
		if (vu_queue_live(l->queue[i]))
			vu_ring_disarm(l->queue[i]);
}

/* How long to sleep, in ms: a ring without a kick has to be looked at. */
static int lane_timeout(const struct vu_lane *l)
{
	for (unsigned int i = 0; i < l->nr; i++)
		if (vu_queue_live(l->queue[i]) &&
		    vu_load(&l->queue[i]->st->kick) < 0)
			return POLL_MS;
	return -1;
}

/*
 * A kick on a ring that was never used is QEMU's at start-up, or the memory we
 * look at is not the guest's: the connection's thread will find out.
 */
static void queue_suspect(struct vu_queue *q)
{
	if (vu_load(&q->moved) || vu_load(&q->kick_told))
		return;
	vu_store(&q->kick_told, true);
	__atomic_store_n(&q->dev->suspect, true, __ATOMIC_RELEASE);
	vu_wake(q->dev->wake);
}

/* ---- waiting ------------------------------------------------------------- */

static inline void processor_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

/* Does the driver seem to be concurrent? The same for all queues of a lane. */
static void set_concurrent(struct vu_lane *l, bool concurrent)
{
	for (unsigned int i = 0; i < l->nr; i++)
		vu_store(&l->queue[i]->concurrent, concurrent);
}

static int64_t busy_until(const struct vu_lane *l, int64_t now)
{
	int64_t worked = now - l->found;

	if (worked < BUSY_MIN_NS)
		return now + BUSY_MIN_NS;
	return now + (worked < BUSY_MAX_NS ? worked : BUSY_MAX_NS);
}

/* Check the rings for a moment, without asking for kicks: a request? */
static bool lane_busy_poll(struct vu_lane *l)
{
	bool came = false, preempted = false;
	int64_t now, before, until;

	/* A request that came during the work took no waiting. */
	if (lane_any(l, vu_ring_look))
		return true;
	if (!backoff_due(&l->busy))
		return false;
	now = clock_ns();
	until = busy_until(l, now);
	do {
		before = now;
		for (int i = 0; i < BUSY_CHECKS && !came; i++) {
			processor_pause();
			came = lane_any(l, vu_ring_look);
		}
		now = clock_ns();
		preempted = now - before > PREEMPTED_NS;
	} while (!came && !preempted && !vu_lane_over(l) && now < until);
	backoff_update(&l->busy, came && !preempted);
	set_concurrent(l, came && !preempted);
	l->found = now;
	return came;
}

/**
 * vu_wait() - sleep until a queue of the lane may hold a chain; its leader
 *
 * All that was pushed has been published. Return: 0 or -ESHUTDOWN.
 */
int vu_wait(struct vu_lane *l)
{
	struct epoll_event ev[3];	/* two kicks, and our own */
	bool watched = false;
	int n;

	if (lane_busy_poll(l))
		return 0;
	for (;;) {
		if (vu_lane_over(l))
			return -ESHUTDOWN;
		if (lane_any(l, ring_arm))
			break;
		if (!watched)
			vu_watch_begin(l->dev);
		watched = true;
		n = epoll_wait(l->epoll, ev, ARRAY_SIZE(ev), lane_timeout(l));
		if (lane_any(l, vu_ring_look))
			break;
		for (int i = 0; i < n; i++)
			if (ev[i].data.ptr)
				queue_suspect(ev[i].data.ptr);
	}
	lane_disarm(l);
	if (!l->busy.skip)
		l->found = clock_ns();
	return 0;
}
