/* SPDX-License-Identifier: MIT */
/*
 * Recovery from a kick or a signal that was lost.
 *
 * The side that is about to sleep arms its notification and checks the ring
 * once more; the side that adds to the ring checks afterwards whether the other
 * one wants to be notified. This is correct only with a full barrier between
 * the store and the load on both sides. QEMU that emulates one processor omits
 * the guest's barriers: "lock" prefixes always, and before 8.0 fences as well.
 * Then, about once in ten thousand times that a leader falls asleep while its
 * driver adds a request, neither sees the other's store, and both would sleep
 * for ever. In the same way a driver can miss a completion.
 *
 * The window is some nanoseconds; after that, what the guest stored is visible.
 * So the connection's thread checks a ring that has become idle once more: it
 * wakes the leader, which looks at the ring, and signals to a driver that has
 * not seen all. It checks all rings every WATCH_MS while any of them is in use,
 * and sleeps otherwise.
 */

#include "vhostuser/internal.h"

#include <stdatomic.h>
#include <unistd.h>

#define WATCH_MS	100

/**
 * vu_watch_begin() - have the rings watched, after one has moved
 *
 * Between the move and the call there is a full barrier: it pairs with the one
 * in vu_watch().
 */
void vu_watch_begin(struct vu_device *dev)
{
	if (vu_load(&dev->watching) ||
	    __atomic_exchange_n(&dev->watching, true, __ATOMIC_ACQ_REL))
		return;
	vu_wake(dev->wake);
}

/* It has become idle: make sure that neither side waits for the other. */
static void look_again(struct vu_queue *q)
{
	bool running, unseen;

	pthread_mutex_lock(&q->lock);
	running = q->running;
	unseen = running && vu_ring_unseen(q);
	pthread_mutex_unlock(&q->lock);
	if (unseen)
		vu_queue_signal(q);
	if (running)
		vu_lane_wake(q->lane);
}

/* Whether anything was taken or given back since the last round. */
static bool has_moved(struct vu_queue *q)
{
	uint32_t at = vu_load(&q->taken[0]) + vu_load(&q->taken[1]) +
		      vu_load(&q->done[0]) + vu_load(&q->done[1]);

	if (at == q->watched_at)
		return false;
	q->watched_at = at;
	return true;
}

/* Whether any was in use; those that have become idle are checked again. */
static bool watch_round(struct vu_device *dev)
{
	bool moved = false;

	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct vu_queue *q = &dev->queue[i];

		if (has_moved(q)) {
			vu_store(&q->idle, false);
			moved = true;
		} else if (!vu_load(&q->idle)) {
			vu_store(&q->idle, true);
			look_again(q);
		}
	}
	return moved;
}

/**
 * vu_watch() - what is due; the connection's thread
 *
 * Return: in how many ms more will be, or -1: not before vu_watch_begin().
 */
int vu_watch(struct vu_device *dev)
{
	int64_t now;

	if (!vu_load(&dev->watching))
		return -1;
	now = clock_ms();
	if (!dev->watch_due)
		dev->watch_due = now + WATCH_MS;
	if (now < dev->watch_due)
		return (int)(dev->watch_due - now);
	dev->watch_due = 0;
	if (!watch_round(dev)) {
		vu_store(&dev->watching, false);
		atomic_thread_fence(memory_order_seq_cst);
		if (!watch_round(dev))
			return -1;
		vu_store(&dev->watching, true);
	}
	dev->watch_due = now + WATCH_MS;
	return WATCH_MS;
}
