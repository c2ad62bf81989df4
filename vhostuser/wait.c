/* SPDX-License-Identifier: MIT */
/*
 * How the leader of a lane waits for more.
 *
 * In the end it sleeps on the front end's kicks: it arms the rings, which asks
 * the driver for one, looks once more, and sleeps. Each such sleep is a kick
 * (an exit of the guest's) and the waking of a thread, many times what a small
 * request costs. To have fewer of them it lingers: looks at the ring for a
 * moment without asking for a kick. That pays where the driver runs beside us,
 * on another processor; where it needs this very one, it can add nothing
 * meanwhile.
 *
 * Nobody can tell beforehand which it will be, so lingering is a habit: done
 * again where it paid, and left out 1, 3, 7, ... times where it did not. One
 * that pays says as well that the driver runs beside us; completions are then
 * shown to it while we work (q->beside), else all at once. What came
 * without any waiting teaches nothing, nor does a moment in which another
 * thread had our processor: on one, the signal itself lets the driver run.
 */

#include "vhostuser/ring.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* A ring without a kick descriptor is looked at this often. */
#define POLL_MS		1
/*
 * A leader looks at empty rings before it sleeps, since a driver that runs on
 * another processor often adds more at once: that saves its kick and a thread's
 * waking. It does so for as long as it worked just now, which a driver needs
 * about as well for as many answers: not less than those wakings cost, and not
 * for ever.
 */
#define LINGER_MIN_NS	30000
#define LINGER_MAX_NS	100000
#define LINGER_LOOKS	8
/*
 * Eight looks take half a microsecond. When they took as long as this, another
 * thread had our processor: the driver may have been it.
 */
#define LINGER_TORN_NS	2500
/* What did not pay is tried again after so many times at the latest. */
#define HABIT_MAX	1024

/* Whether it is time to try again. */
static bool habit_due(struct vu_habit *h)
{
	if (!h->skip)
		return true;
	h->skip--;
	return false;
}

/* It paid, so go on; or it did not, and is left out twice as long as before. */
static void habit_learn(struct vu_habit *h, bool paid)
{
	if (paid)
		h->left_out = 0;
	else if (h->left_out < HABIT_MAX)
		h->left_out = 2 * h->left_out + 1;
	h->skip = h->left_out;
}

/* ---- the rings ----------------------------------------------------------- */

static bool ring_arm(struct vu_queue *q)
{
	return q->packed ? vu_packed_arm(q) : vu_split_arm(q);
}

static void ring_disarm(struct vu_queue *q)
{
	if (q->packed)
		vu_packed_disarm(q);
	else
		vu_split_disarm(q);
}

static bool ring_look(struct vu_queue *q)
{
	return q->packed ? vu_packed_look(q) : vu_split_look(q);
}

/*
 * Whether there is something to pop, by @ask of each queue: ring_look(), or
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
			ring_disarm(l->queue[i]);
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
	static const uint64_t one = 1;

	if (vu_load(&q->moved) || vu_load(&q->kick_told))
		return;
	vu_store(&q->kick_told, true);
	__atomic_store_n(&q->dev->suspect, true, __ATOMIC_RELEASE);
	if (write(q->dev->wake, &one, sizeof(one)) < 0) {
		/* EAGAIN: it is awake. */
	}
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

/* Whether the driver seems to run beside us: a lane's queues have one. */
static void set_beside(struct vu_lane *l, bool beside)
{
	for (unsigned int i = 0; i < l->nr; i++)
		vu_store(&l->queue[i]->beside, beside);
}

static int64_t linger_until(const struct vu_lane *l, int64_t now)
{
	int64_t worked = now - l->found;

	if (worked < LINGER_MIN_NS)
		return now + LINGER_MIN_NS;
	return now + (worked < LINGER_MAX_NS ? worked : LINGER_MAX_NS);
}

/* Look on for a moment, with no kicks wanted; whether something came. */
static bool lane_linger(struct vu_lane *l)
{
	bool came = false, torn = false;
	int64_t now, before, until;

	/* What came while we worked, or signalled, took no waiting. */
	if (lane_any(l, ring_look))
		return true;
	if (!habit_due(&l->linger))
		return false;
	now = clock_ns();
	until = linger_until(l, now);
	do {
		before = now;
		for (int i = 0; i < LINGER_LOOKS && !came; i++) {
			processor_pause();
			came = lane_any(l, ring_look);
		}
		now = clock_ns();
		torn = now - before > LINGER_TORN_NS;
	} while (!came && !torn && !vu_lane_over(l) && now < until);
	habit_learn(&l->linger, came && !torn);
	set_beside(l, came && !torn);
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

	if (lane_linger(l))
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
		if (lane_any(l, ring_look))
			break;
		for (int i = 0; i < n; i++)
			if (ev[i].data.ptr)
				queue_suspect(ev[i].data.ptr);
	}
	lane_disarm(l);
	if (!l->linger.skip)
		l->found = clock_ns();
	return 0;
}
