/* SPDX-License-Identifier: MIT */
/*
 * The life of a queue: start, take, give back, signal, stop, park.
 *
 * Consumers' threads come in through vu_chain_ops, for a lane (lane.c); the
 * connection's thread starts and stops.
 *
 * What was pushed is published in batches: when the leader finds the ring
 * empty (wait flushes), when the consumer says so before it blocks (flush), and
 * when enough has gathered that the other side had better start on it. The
 * signal is written outside the lock to a fixed descriptor number; the front
 * end's changes of it (MSI-X masking) are dup3() over that number, so no thread
 * can ever write into a number that was closed and used again.
 *
 * A stopped ring gives requests that still run a short time, then leaves them:
 * they are parked. Their push finds the ring stopped and is noted with the
 * head; when the ring resumes where it was, they are published, when it is set
 * up anew, they are forgotten (epoch).
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * Completions gathered before they are shown to a driver that runs on another
 * processor, and how long the first of them may wait.
 */
#define BATCH_CHAINS	4
#define BATCH_NS	3000
/* How long a stop waits for requests that run, before it parks them. */
#define STOP_MS		100

static struct vu_queue *queue_of(void *ctx, unsigned int q)
{
	return &((struct vu_device *)ctx)->queue[q];
}

static struct vu_lane *lane_of(void *ctx, unsigned int lane)
{
	return &((struct vu_device *)ctx)->lane[lane];
}

static bool ring_publish(struct vu_queue *q)
{
	q->gathered = 0;
	return vu_ring_publish(q);
}

/* ---- signals ----------------------------------------------------------- */

/** vu_queue_signal() - signal to the driver, unless it only polls */
void vu_queue_signal(struct vu_queue *q)
{
	if (!__atomic_load_n(&q->st->call_on, __ATOMIC_ACQUIRE))
		return;		/* the driver polls */
	vu_wake(vu_load(&q->st->call));
}

/** vu_queue_signal_again() - publish, and signal whether asked or not */
void vu_queue_signal_again(struct vu_queue *q)
{
	pthread_mutex_lock(&q->lock);
	if (q->running)
		ring_publish(q);
	pthread_mutex_unlock(&q->lock);
	vu_queue_signal(q);
}

/**
 * vu_queue_break() - the guest broke this ring: no more of it
 * @fmt:	how, in our words and its numbers
 */
void vu_queue_break(struct vu_queue *q, const char *fmt, ...)
{
	char text[128];
	va_list ap;
	int err;

	if (__atomic_exchange_n(&q->broken, true, __ATOMIC_ACQ_REL))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&q->lock);
	q->st->broken = true;
	err = q->st->err;
	/* Under lock, so that nobody closes it meanwhile. */
	if (err >= 0)
		vu_wake(err);
	pthread_mutex_unlock(&q->lock);
	if (log_allowed(&q->dev->broken_limit))
		vu_tell(q->dev, VU_EVENT_QUEUE_BROKEN, (int)q->index, text);
}

/* ---- what consumers call ----------------------------------------------- */

static void queue_flush(struct vu_queue *q)
{
	bool signal = false, shown = false;

	pthread_mutex_lock(&q->lock);
	if (q->running && q->nr_pending) {
		signal = ring_publish(q);
		shown = true;
	}
	pthread_mutex_unlock(&q->lock);
	if (signal)
		vu_queue_signal(q);
	if (shown)
		vu_watch_begin(q->dev);
}

static void ops_flush(void *ctx, unsigned int lane)
{
	struct vu_lane *l = lane_of(ctx, lane);

	for (unsigned int i = 0; i < l->nr; i++)
		queue_flush(l->queue[i]);
}

/*
 * One more was pushed: should a concurrent driver, on another processor, see
 * now what was pushed? Any other sees it when this thread sleeps.
 */
static bool batch_full(struct vu_queue *q)
{
	int64_t now;

	if (!vu_load(&q->concurrent))
		return false;
	now = clock_ns();
	if (!q->gathered++)
		q->first = now;
	return q->gathered == BATCH_CHAINS || now - q->first >= BATCH_NS;
}

static void ops_push(void *ctx, struct chain *c, uint32_t len)
{
	struct vu_queue *q = queue_of(ctx, c->queue);
	unsigned int p = (unsigned int)(uintptr_t)c->map;
	struct vu_state *state = ((struct vu_device *)ctx)->state;
	bool signal = false;

	/* Read first: the line is written once for each worker. */
	if (!vu_load(&state->progressed))
		vu_store(&state->progressed, 1);
	pthread_mutex_lock(&q->lock);
	vu_dirty_chain(q, c, len);
	if (c->epoch != q->epoch) {
		/* Its ring was set up anew: nobody waits for it. */
	} else if (!q->running) {
		vu_store(&q->inflight->head[c->head].word,
			 vu_word(VU_PARKED, len, 0));
	} else {
		vu_ring_push(q, c->head, len);
		signal = batch_full(q) && ring_publish(q);
	}
	/* Pairs with the acquire in memmap: the chain's memory is let go. */
	__atomic_store_n(&q->done[p], q->done[p] + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&q->lock);
	if (signal)
		vu_queue_signal(q);
}

/* Whether a chain was taken; the first ever says that this is a ring. */
static bool queue_pop(struct vu_queue *q, struct chain *c)
{
	if (!vu_queue_live(q) || vu_ring_pop(q, c) != 1)
		return false;
	if (!vu_load(&q->moved))
		vu_store(&q->moved, true);
	return true;
}

/*
 * From each queue in turn, where both have something: a guest that floods one
 * does not starve the other.
 */
static int ops_pop(void *ctx, unsigned int lane, struct chain *c)
{
	struct vu_lane *l = lane_of(ctx, lane);
	unsigned int at = l->turn;

	if (vu_lane_over(l))
		return -ESHUTDOWN;
	for (unsigned int i = 0; i < l->nr; i++) {
		struct vu_queue *q = l->queue[at];

		at = at + 1 < l->nr ? at + 1 : 0;
		if (queue_pop(q, c)) {
			l->turn = at;
			return 1;
		}
	}
	return 0;
}

static unsigned int queue_pending(struct vu_queue *q)
{
	return q->nr_again - q->next_again +
	       (uint16_t)(q->shadow_avail - q->last_avail);
}

static unsigned int ops_pending(void *ctx, unsigned int lane)
{
	struct vu_lane *l = lane_of(ctx, lane);
	unsigned int n = 0;

	for (unsigned int i = 0; i < l->nr; i++)
		if (vu_queue_live(l->queue[i]))
			n += queue_pending(l->queue[i]);
	return n;
}

static unsigned int ops_size(void *ctx, unsigned int index)
{
	return vu_load(&queue_of(ctx, index)->num);
}

static int ops_wait(void *ctx, unsigned int lane)
{
	ops_flush(ctx, lane);
	return vu_wait(lane_of(ctx, lane));
}

const struct chain_ops vu_chain_ops = {
	.wait = ops_wait,
	.pop = ops_pop,
	.pending = ops_pending,
	.size = ops_size,
	.push = ops_push,
	.flush = ops_flush,
};

/* ---- start ------------------------------------------------------------- */

/* Translate the addresses of a ring; whether it is all there, and aligned. */
static bool map_ring(const struct vu_vring_state *st,
		      const struct vu_table *t, struct vu_ring_map *m)
{
	uint64_t num = st->num;

	m->desc = vu_mem_user(t, st->addr.desc, 16 * num);
	m->avail = vu_mem_user(t, st->addr.avail, 6 + 2 * num);
	m->used = vu_mem_user(t, st->addr.used, VU_USED_BYTES(num));
	return m->desc && m->avail && m->used &&
	       !((uintptr_t)m->desc & 15) && !((uintptr_t)m->avail & 1) &&
	       !((uintptr_t)m->used & 3);
}

/**
 * vu_queue_map() - find a ring in memory
 * @t:		table to look in
 * @set:	use what was found; else only say whether it is what is used
 *
 * Return: 0, -EFAULT when it is not all there (or, without @set, elsewhere).
 */
int vu_queue_map(struct vu_queue *q, const struct vu_table *t, bool set)
{
	uint64_t features = q->dev->state->features;
	unsigned int num = q->st->num;
	struct vu_ring_map m;
	uint64_t len = 1;
	uint16_t *avail, *used;

	if (!map_ring(q->st, t, &m))
		return -EFAULT;
	if (!set)
		return memcmp(&m, &q->map, sizeof(m)) ? -EFAULT : 0;
	q->map = m;
	q->num = num;
	vu_mem_gpa(t, m.used, &q->used_gpa, &len);
	q->event_idx = features & 1ull << VIRTIO_RING_F_EVENT_IDX;
	q->indirect = features & 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	avail = m.avail;
	used = m.used;
	q->desc = m.desc;
	q->avail_flags = avail;
	q->avail_idx = avail + 1;
	q->avail_ring = avail + 2;
	q->used_event = avail + 2 + num;
	q->used_flags = used;
	q->used_idx_mem = used + 1;
	q->used_ring = (struct vring_used_elem *)(void *)(used + 2);
	q->avail_event = (uint16_t *)(void *)(q->used_ring + num);
	return 0;
}

static bool other_runs(const struct vu_queue *q)
{
	const struct vu_device *dev = q->dev;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		if (dev->queue[i].running && &dev->queue[i] != q)
			return true;
	return false;
}

/* Whether a ring that starts is the one that was stopped. */
static bool queue_resumes(const struct vu_queue *q)
{
	const struct vu_vring_state *st = q->st;

	if (!st->used_once || st->num != st->resume_num ||
	    (st->have_base && st->base != st->resume_base) ||
	    memcmp(&st->addr, &st->resume_addr, sizeof(st->addr)) != 0)
		return false;
	return le16toh(vu_load(q->used_idx_mem)) == q->inflight->used_idx;
}

/* Whether the front end's table has chains that another process left. */
static bool inflight_left(struct vu_queue *q)
{
	if (!q->dev->inflight_map || q->st->used_once)
		return false;
	for (unsigned int i = 0; i < q->num; i++) {
		if (q->inflight->head[i].word) {
			q->st->skew = 0;
			return true;
		}
	}
	return false;
}

/*
 * A ring is set up anew. The first one after all had stopped means that the
 * guest's driver starts over: what the consumer had for it is of no use now.
 */
static void queue_anew(struct vu_queue *q)
{
	struct vu_device *dev = q->dev;

	if (q->st->used_once && !other_runs(q)) {
		vu_tell(dev, VU_EVENT_RESET, (int)q->index, "");
		dev->state->driver = false;
		dev->config.consumer->reset(dev->consumer_ctx);
	}
	q->st->broken = false;
}

static void queue_recover(struct vu_queue *q, bool resume)
{
	bool signal;

	pthread_mutex_lock(&q->lock);
	if (!resume && !q->adopt)
		q->st->epoch++;
	q->epoch = q->st->epoch;
	vu_ring_recover(q, resume);
	q->running = true;
	ring_publish(q);
	vu_dirty_used(q);
	/* Once for sure: who knows what was signalled before. */
	signal = resume || q->adopt;
	q->adopt = false;
	pthread_mutex_unlock(&q->lock);
	if (signal)
		vu_queue_signal(q);
}

static void queue_told(struct vu_queue *q)
{
	struct vu_device *dev = q->dev;

	if (!q->index || dev->state->driver)
		return;
	dev->state->driver = true;
	vu_tell(dev, VU_EVENT_DRIVER, (int)q->index, "");
}

/**
 * vu_queue_try_start() - start a ring if all that it needs is there
 *
 * Return: 0, also when something is still missing; -EFAULT when the ring is
 * not in memory, -ENXIO when there is none; what the consumer's start returned.
 */
int vu_queue_try_start(struct vu_queue *q)
{
	struct vu_vring_state *st = q->st;
	bool resume = false;
	int r;

	if (q->running || !st->have_num || !st->have_addr || !st->have_kick ||
	    !st->enabled)
		return 0;
	r = vu_queue_map(q, q->dev->table, true);
	/* QEMU leaves out what has no descriptor: all of memory, here. */
	if (r == -EFAULT && (!q->dev->table || !q->dev->table->nr)) {
		vu_tell_private(q->dev, "no memory region has a descriptor");
		r = -ENXIO;
	}
	if (r == 0)
		r = vu_lane_prepare(q->lane);
	if (r < 0)
		return r;
	vu_device_claim(q->dev);
	pthread_mutex_lock(&q->lock);
	q->inflight = vu_inflight_of(q->dev, q->index, q->num);
	pthread_mutex_unlock(&q->lock);
	if (!q->adopt || !st->running) {
		resume = queue_resumes(q);
		q->adopt = resume ? q->adopt : inflight_left(q);
	}
	if (!resume && !q->adopt)
		queue_anew(q);
	vu_store(&q->broken, st->broken);
	queue_recover(q, resume);
	st->have_base = false;
	st->used_once = true;
	arena_commit();
	st->running = true;
	vu_lane_watch(q, st->kick);
	r = vu_lane_join(q);
	if (r < 0) {
		pthread_mutex_lock(&q->lock);
		q->running = false;
		pthread_mutex_unlock(&q->lock);
		st->running = false;
		return r;
	}
	queue_told(q);
	return 0;
}

/* ---- stop -------------------------------------------------------------- */

static uint32_t queue_in_flight(const struct vu_queue *q)
{
	return __atomic_load_n(&q->taken[0], __ATOMIC_RELAXED) -
	       __atomic_load_n(&q->done[0], __ATOMIC_RELAXED) +
	       __atomic_load_n(&q->taken[1], __ATOMIC_RELAXED) -
	       __atomic_load_n(&q->done[1], __ATOMIC_RELAXED);
}

/**
 * vu_queue_stop() - no more chains from this ring until it starts again
 *
 * Requests that run get STOP_MS to end, then they are parked.
 */
void vu_queue_stop(struct vu_queue *q)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	struct vu_vring_state *st = q->st;
	bool signal = false;

	if (!q->running)
		return;
	vu_lane_leave(q);
	for (int i = 0; i < STOP_MS * 5 && queue_in_flight(q); i++)
		nanosleep(&pause, NULL);
	pthread_mutex_lock(&q->lock);
	if (q->nr_pending)
		signal = ring_publish(q);
	q->running = false;
	pthread_mutex_unlock(&q->lock);
	if (signal)
		vu_queue_signal(q);
	vu_lane_watch(q, -1);
	st->base = q->last_avail;
	st->resume_base = st->base;
	st->resume_num = st->num;
	st->resume_addr = st->addr;
	arena_commit();
	st->running = false;
}

/** vu_queue_forget() - back to what a queue is before any message */
void vu_queue_forget(struct vu_queue *q)
{
	struct vu_vring_state *st = q->st;
	int kick = st->kick, err = st->err;

	vu_queue_stop(q);
	pthread_mutex_lock(&q->lock);
	st->epoch++;
	q->epoch = st->epoch;
	q->adopt = false;
	vu_store(&st->kick, -1);
	st->err = -1;
	st->have_num = st->have_addr = st->have_kick = st->have_base = false;
	st->enabled = st->used_once = st->broken = false;
	st->base = 0;
	pthread_mutex_unlock(&q->lock);
	if (st->call >= 0) {
		__atomic_store_n(&st->call_on, false, __ATOMIC_RELEASE);
		dup3(q->dev->null, st->call, O_CLOEXEC);
	}
	arena_commit();
	if (kick >= 0)
		close(kick);
	if (err >= 0)
		close(err);
}

/* ---- open --------------------------------------------------------------- */

int vu_queue_open(struct vu_device *dev, unsigned int index,
		  struct vu_queue_lists *lists)
{
	struct vu_queue *q = &dev->queue[index];

	q->dev = dev;
	q->index = index;
	vu_lane_open(q);
	q->st = &dev->state->vring[index];
	q->inflight = (void *)(dev->rings + index * VU_RING_STRIDE);
	q->again = lists->again;
	q->pending = lists->pending;
	return -pthread_mutex_init(&q->lock, NULL);
}
