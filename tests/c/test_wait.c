/* rooms: base vhostuser */
/* SPDX-License-Identifier: MIT */
/*
 * How a leader waits, on a ring in this process's own memory: what teaches its
 * backoff, and what does not.
 */

#include "tests/c/check.h"
#include "vhostuser/internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NUM 8

/* Nobody watches it. */
static struct vu_device device = { .watching = true };

/* A split ring without a connection, and its lane. */
struct ring {
	struct vu_lane lane;
	struct vu_queue q;
	struct vu_vring_state st;
	uint16_t avail[2], used[2], avail_event;
	int kick;
};

static void watch(struct ring *r, int fd, struct vu_queue *whose)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET,
				  .data.ptr = whose };

	CHECK(fd >= 0);
	CHECK_EQ(epoll_ctl(r->lane.epoll, EPOLL_CTL_ADD, fd, &ev), 0);
}

static struct ring *ring_new(void)
{
	struct ring *r = aligned_alloc(64, (sizeof(*r) + 63) & ~63ul);

	if (!r)
		abort();
	memset(r, 0, sizeof(*r));
	r->q.dev = &device;
	r->q.index = 1;
	r->q.num = NUM;
	r->q.st = &r->st;
	r->q.event_idx = true;
	r->q.avail_flags = r->avail;
	r->q.avail_idx = r->avail + 1;
	r->q.used_flags = r->used;
	r->q.avail_event = &r->avail_event;
	r->q.moved = r->q.live = true;
	r->q.lane = &r->lane;
	r->lane.dev = &device;
	r->lane.queue[0] = &r->q;
	r->lane.nr = 1;
	r->lane.epoll = epoll_create1(EPOLL_CLOEXEC);
	r->lane.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->st.kick = r->kick;
	watch(r, r->lane.wake, NULL);
	watch(r, r->kick, &r->q);
	return r;
}

static void ring_free(struct ring *r)
{
	close(r->kick);
	close(r->lane.wake);
	close(r->lane.epoll);
	free(r);
}

/* What is there before anything was waited for says nothing of waiting. */
static void free_look(void)
{
	struct ring *r = ring_new();

	r->lane.busy.skipped = 7;
	r->avail[1] = 1;
	CHECK_EQ(vu_wait(&r->lane), 0);
	CHECK_EQ(r->lane.busy.skipped, 7);
	CHECK(!r->q.concurrent);
	CHECK_EQ(r->q.shadow_avail, 1);
	ring_free(r);
}

/* What did not pay is left out twice as long; then the kick is slept for. */
static void linger_in_vain(void)
{
	struct ring *r = ring_new();

	r->lane.busy.skipped = 1;
	r->q.concurrent = true;
	r->lane.stopping = true;
	CHECK_EQ(vu_wait(&r->lane), -ESHUTDOWN);
	CHECK_EQ(r->lane.busy.skipped, 3);
	CHECK_EQ(r->lane.busy.skip, 3);
	CHECK(!r->q.concurrent);
	CHECK_EQ(vu_wait(&r->lane), -ESHUTDOWN);
	CHECK_EQ(r->lane.busy.skipped, 3);
	CHECK_EQ(r->lane.busy.skip, 2);
	ring_free(r);
}

/* Adds a chain, once it is asked for a kick. */
static void *driver(void *arg)
{
	const uint64_t one = 1;
	struct ring *r = arg;

	while (__atomic_load_n(&r->avail_event, __ATOMIC_ACQUIRE))
		usleep(100);
	__atomic_store_n(&r->avail[1], 1, __ATOMIC_RELEASE);
	return write(r->kick, &one, sizeof(one)) < 0 ? NULL : arg;
}

/* When work was found is noted only where the next wait may linger as long. */
static void note_found(void)
{
	for (unsigned int skip = 1; skip <= 2; skip++) {
		struct ring *r = ring_new();
		pthread_t thread;
		void *kicked;

		r->lane.busy.skip = skip;
		r->avail_event = 77;
		CHECK_EQ(pthread_create(&thread, NULL, driver, r), 0);
		CHECK_EQ(vu_wait(&r->lane), 0);
		pthread_join(thread, &kicked);
		CHECK(kicked != NULL);
		CHECK_EQ(r->lane.found != 0, skip == 1);
		ring_free(r);
	}
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a look for free", free_look },
		{ "lingering in vain", linger_in_vain },
		{ "when work was found", note_found },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
