/* SPDX-License-Identifier: MIT */
/*
 * Lanes: the queues that one leader takes from.
 *
 * The high priority queue shares the leader of the first request queue. Linux
 * puts a FORGET there for each file that it lets go of, most often between two
 * requests; with a thread to itself each of them cost a kick, a waking and two
 * switches, for some hundred nanoseconds of work.
 *
 * A leader sleeps (wait.c) in one epoll instance per lane that holds the front
 * end's kicks and an eventfd of our own, all edge-triggered: nothing is ever
 * read and no flag of a front end's descriptor is touched (its open file is
 * shared with QEMU, which relies on O_NONBLOCK).
 *
 * Which queues are in it changes while it is led. One that starts is set up,
 * then live, and the leader woken to see it. One that stops must not be looked
 * at any more: the leader is sent away, and another sent for when the other
 * queue is still there. That is rare: drivers stop all of them.
 *
 * All of this is the connection's thread's, but for what the leader reads.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/** vu_lane_open() - put a new queue into its lane, after those before it */
void vu_lane_open(struct vu_queue *q)
{
	unsigned int index = CHAIN_LANE(q->index);
	struct vu_lane *l = &q->dev->lane[index];

	if (!l->nr) {
		l->dev = q->dev;
		l->index = index;
		l->epoll = l->wake = -1;
	}
	l->queue[l->nr++] = q;
	q->lane = l;
}

void vu_lane_close(struct vu_lane *l)
{
	if (l->epoll >= 0)
		close(l->epoll);
	if (l->wake >= 0)
		close(l->wake);
	l->epoll = l->wake = -1;
}

/** vu_lane_prepare() - make what a leader sleeps in, once; 0 or -errno */
int vu_lane_prepare(struct vu_lane *l)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

	if (l->epoll >= 0)
		return 0;
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0)
		return -errno;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll >= 0 &&
	    epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) == 0)
		return 0;
	vu_lane_close(l);
	return -EMFILE;
}

/** vu_lane_wake() - have the leader look at its rings and its orders */
void vu_lane_wake(struct vu_lane *l)
{
	vu_wake(l->wake);
}

/**
 * vu_lane_watch() - have the leader sleep on another kick of a queue
 * @kick:	the new one or -1; the state's old one is still open
 */
void vu_lane_watch(struct vu_queue *q, int kick)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET,
				  .data.ptr = q };

	if (q->lane->epoll < 0)
		return;
	if (q->st->kick >= 0)
		epoll_ctl(q->lane->epoll, EPOLL_CTL_DEL, q->st->kick, NULL);
	if (kick >= 0)
		epoll_ctl(q->lane->epoll, EPOLL_CTL_ADD, kick, &ev);
}

static int send_for_leader(struct vu_lane *l)
{
	struct vu_device *dev = l->dev;
	int r;

	__atomic_store_n(&l->stopping, false, __ATOMIC_RELEASE);
	r = dev->config.consumer->start(dev->consumer_ctx, l->index);
	l->led = r == 0;
	return r;
}

/**
 * vu_lane_join() - the queue is set up: let it be taken from
 *
 * Return: 0, or what the consumer's start returned; then it is not.
 */
int vu_lane_join(struct vu_queue *q)
{
	struct vu_lane *l = q->lane;
	int r = 0;

	__atomic_store_n(&q->live, true, __ATOMIC_RELEASE);
	if (l->led)
		vu_lane_wake(l);
	else
		r = send_for_leader(l);
	if (r < 0)
		vu_store(&q->live, false);
	return r;
}

/** vu_lane_halt() - no thread takes from any of its queues any more */
void vu_lane_halt(struct vu_lane *l)
{
	struct vu_device *dev = l->dev;

	if (l->led) {
		__atomic_store_n(&l->stopping, true, __ATOMIC_RELEASE);
		vu_lane_wake(l);
		dev->config.consumer->stop(dev->consumer_ctx, l->index);
		l->led = false;
	}
	for (unsigned int i = 0; i < l->nr; i++)
		vu_store(&l->queue[i]->live, false);
}

/**
 * vu_lane_leave() - take no more from this queue; the lane's other goes on
 *
 * Where no thread can be made for that, it stands still until it is stopped.
 */
void vu_lane_leave(struct vu_queue *q)
{
	struct vu_lane *l = q->lane;
	bool led = l->led;	/* else all are being stopped */

	vu_lane_halt(l);
	for (unsigned int i = 0; led && i < l->nr; i++) {
		struct vu_queue *other = l->queue[i];

		if (other != q && other->running && vu_lane_join(other) < 0)
			vu_tell(l->dev, VU_EVENT_PROTOCOL, (int)other->index,
				"no thread is left to go on with");
	}
}
