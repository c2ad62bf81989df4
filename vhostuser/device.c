/* SPDX-License-Identifier: MIT */
/*
 * A device and its connection: open, run, close.
 *
 * vu_run() is the connection's thread. It sleeps on the socket and on one
 * eventfd of our own, through which others reach it: vu_stop(), a leader that
 * suspects memory not to be shared, the SIGBUS handler. It receives a message,
 * has it handled, replies. Between messages it unmaps memory that became free,
 * maps zeros over memory that was lost, and watches rings that are in use.
 *
 * The state is in the arena. A device that is opened on the arena of a worker
 * that died finds "connected" there, maps the memory of the descriptors in the
 * state (which outlived the worker in the keeper's table), and goes on with the
 * message, the reply and the rings that were in progress. When the front end
 * disconnects in order, the state is cleared for the next vu_run().
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/membarrier.h>

/*
 * A message often follows the answer to the last at once, on another processor:
 * to look for it as long as that takes costs less than to sleep and be woken.
 */
#define LINGER_NS	30000
/* A ring that was kicked and does not move for so long is looked into. */
#define SUSPECT_MS	2000
/* How often memory that chains still point into is tried again. */
#define RECLAIM_MS	50
/* A front end that does not send the rest of a message for so long is gone:
 * they come in one piece, and the next front end waits behind this one. */
#define MESSAGE_MS	2000
/* How long the end of a connection waits for the last chains. */
#define DRAIN_MS	200

/* ---- open -------------------------------------------------------------- */

static void state_init(struct vu_state *s)
{
	s->inflight_fd = s->kept_fd = -1;
	s->log[0].fd = s->log[1].fd = -1;
	s->exchange.reply_fd = -1;
	s->exchange.io.msg_len = VU_UNMOVED;
	for (unsigned int i = 0; i < CHAIN_MAX_QUEUES; i++)
		s->vring[i].kick = s->vring[i].call = s->vring[i].err = -1;
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int j = 0; j < VU_MAX_SLOTS; j++)
			s->table[i].region[j].fd = -1;
	arena_commit();
	s->ready = true;
}

static int open_arena(struct vu_device *dev)
{
	uint64_t size = sizeof(struct vu_state);
	uint64_t rings = VU_RING_STRIDE * CHAIN_MAX_QUEUES;
	void *state, *mem;
	int r;

	r = arena_region(dev->config.arena, ARENA_DEVICE, VU_STATE_VERSION,
			 &size, &state, NULL);
	if (r < 0)
		return r;
	r = arena_region(dev->config.arena, ARENA_RINGS, VU_RINGS_VERSION,
			 &rings, &mem, NULL);
	if (r < 0)
		return r;
	if (size < sizeof(struct vu_state) ||
	    rings < VU_RING_STRIDE * CHAIN_MAX_QUEUES)
		return -EPROTO;
	dev->state = state;
	dev->rings = mem;
	if (!dev->state->ready)
		state_init(dev->state);
	return 0;
}

static int open_descriptors(struct vu_device *dev)
{
	dev->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dev->wake < 0)
		return -errno;
	dev->null = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dev->null < 0)
		return -errno;
	return 0;
}

/* Map what an earlier worker had; its rings go on in vu_run(). */
static int adopt_state(struct vu_device *dev)
{
	struct vu_state *s = dev->state;
	int r;

	dev->adopted = true;
	r = vu_mem_adopt(dev);
	if (r == 0 && s->inflight_fd >= 0)
		r = vu_inflight_map(dev);
	if (r == 0)
		r = vu_dirty_adopt(dev);
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		dev->queue[i].adopt = s->vring[i].used_once ||
				      s->vring[i].running;
		dev->queue[i].epoch = s->vring[i].epoch;
	}
	return r;
}

/*
 * The front end of an earlier worker left, with requests in flight: forget its
 * connection, but neither how far its rings are nor what it knows of files. No
 * thread runs yet, and all of it can be done again.
 */
static void settle_left(struct vu_device *dev)
{
	struct vu_state *s = dev->state;

	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		uint32_t epoch = s->vring[i].epoch;

		vu_queue_forget(&dev->queue[i]);
		dev->queue[i].epoch = s->vring[i].epoch = epoch;
		s->vring[i].running = false;
	}
	vu_proto_done(&s->exchange);
	vu_dirty_drop(dev);
	vu_mem_clear(dev);
	if (s->inflight_fd >= 0) {
		s->kept_fd = s->inflight_fd;
		arena_commit();
		s->inflight_fd = -1;
	}
	s->protocol = 0;
	s->driver = s->greeted = s->warned = false;
	memset(&s->inflight, 0, sizeof(s->inflight));
	arena_commit();
	s->connected = false;
	arena_commit();
	s->left = false;
}

int vu_open(struct vu_device **out, const struct vu_config *config)
{
	unsigned int n = config->request_queues + 1;
	struct vu_queue_lists *lists;
	struct vu_device *dev;
	size_t queues;
	int r;

	if (n < 2 || n > CHAIN_MAX_QUEUES)
		return -EINVAL;
	/* Most of it is for rings that are never that large. */
	queues = sizeof(*dev) + n * sizeof(dev->queue[0]);
	dev = pages_alloc(queues + n * sizeof(*lists));
	if (!dev)
		return -ENOMEM;
	lists = (void *)((char *)dev + queues);
	dev->size = queues + n * sizeof(*lists);
	dev->config = *config;
	dev->consumer_ctx = config->consumer_ctx;
	dev->sock = dev->wake = dev->null = -1;
	dev->broken_limit = (struct log_limit){ .burst = 4, .seconds = 10 };
	dev->protocol_limit = (struct log_limit){ .burst = 4, .seconds = 10 };
	dev->membarrier =
		syscall(SYS_membarrier,
			MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
	r = open_arena(dev);
	if (r == 0)
		r = open_descriptors(dev);
	if (r == 0)
		r = vu_bus_open();
	for (unsigned int i = 0; i < n && r == 0; i++, dev->nr_queues++)
		r = vu_queue_open(dev, i, &lists[i]);
	if (r == 0 && dev->state->left)
		settle_left(dev);
	if (r == 0 && dev->state->connected)
		r = adopt_state(dev);
	if (r < 0) {
		vu_close(dev);
		return r;
	}
	*out = dev;
	return 0;
}

void vu_set_consumer_ctx(struct vu_device *dev, void *ctx)
{
	dev->consumer_ctx = ctx;
}

/* ---- run --------------------------------------------------------------- */

void vu_stop(struct vu_device *dev)
{
	__atomic_store_n(&dev->stop, true, __ATOMIC_RELEASE);
	vu_wake(dev->wake);
}

/** vu_device_stop() - stop all rings; lanes first, so that none is led again */
void vu_device_stop(struct vu_device *dev)
{
	for (unsigned int i = 0; i < CHAIN_LANES(dev->nr_queues); i++)
		vu_lane_halt(&dev->lane[i]);
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		vu_queue_stop(&dev->queue[i]);
}

/**
 * vu_device_reset() - stop all rings and forget how they were set up
 *
 * Memory, and the features agreed on until others are, stay.
 */
void vu_device_reset(struct vu_device *dev)
{
	bool used = false;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		used |= dev->state->vring[i].used_once;
	vu_device_stop(dev);
	if (used)
		dev->config.consumer->reset(dev->consumer_ctx);
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		vu_queue_forget(&dev->queue[i]);
	dev->state->driver = false;
}

/* What was kept for a front end that left is nobody's now. */
static void drop_kept(struct vu_device *dev)
{
	struct vu_state *s = dev->state;
	int fd = s->kept_fd;

	dev->config.consumer->reset(dev->consumer_ctx);
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		dev->queue[i].epoch = ++s->vring[i].epoch;
	arena_commit();
	s->kept_fd = -1;
	arena_commit();
	close(fd);
}

/**
 * vu_device_claim() - a ring starts: is it of the front end that left?
 *
 * Called before each start, the first decides.
 */
void vu_device_claim(struct vu_device *dev)
{
	struct vu_state *s = dev->state;
	struct stat kept, mine;
	int fd = s->kept_fd;

	if (fd < 0)
		return;
	if (s->inflight_fd < 0 || fstat(fd, &kept) || fstat(s->inflight_fd,
							    &mine) ||
	    kept.st_dev != mine.st_dev || kept.st_ino != mine.st_ino) {
		drop_kept(dev);
		return;
	}
	s->kept_fd = -1;
	arena_commit();
	close(fd);
}

void vu_give_up(struct vu_device *dev)
{
	if (dev->state->kept_fd >= 0)
		drop_kept(dev);
}

/* Is it the guest's memory that we look at? Asked some time after a kick. */
static void suspect_check(struct vu_device *dev)
{
	bool moved = false;

	dev->suspect_since = 0;
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		moved |= vu_load(&dev->queue[i].moved);
		vu_store(&dev->queue[i].kick_told, false);
	}
	if (moved || dev->state->warned || !vu_mem_untouched(dev))
		return;
	vu_tell_private(dev,
			"the guest notifies, but its memory stays empty here");
}

static void run_mend(struct vu_device *dev)
{
	if (!__atomic_exchange_n(&dev->memory_lost, false, __ATOMIC_ACQ_REL))
		return;
	vu_mem_mend(dev);
	vu_tell(dev, VU_EVENT_MEMORY_LOST, -1,
		"a file of guest memory was cut; zeros are read now");
}

static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* What others asked for, and what is due; ms until more is, or -1. */
static int run_chores(struct vu_device *dev)
{
	int64_t left = -1;
	int watch = vu_watch(dev);

	run_mend(dev);
	if (__atomic_exchange_n(&dev->suspect, false, __ATOMIC_ACQ_REL) &&
	    !dev->suspect_since && !dev->state->warned)
		dev->suspect_since = clock_ms();
	if (dev->suspect_since) {
		left = dev->suspect_since + SUSPECT_MS - clock_ms();
		if (left <= 0)
			suspect_check(dev);
	}
	if (vu_mem_reclaim(dev))
		return sooner(watch, RECLAIM_MS);
	return sooner(watch, left > 0 ? (int)left : -1);
}

/* One step of the message in work: 1 when there may be more, 0 when not. */
static int run_message(struct vu_device *dev, int sock)
{
	struct vu_exchange *x = &dev->state->exchange;
	int r;

	switch (x->stage) {
	case VU_STAGE_RECEIVE:
		r = vu_proto_receive(x, sock);
		if (r == 1 && !dev->state->greeted) {
			dev->state->greeted = true;
			vu_tell(dev, VU_EVENT_CONNECTED, -1, "");
		}
		return r;
	case VU_STAGE_HANDLE:
		r = vu_message_handle(dev, x);
		return r < 0 ? r : 1;
	case VU_STAGE_REPLY:
		r = vu_proto_reply(x, sock);
		return r < 0 ? r : 1;
	default:
		vu_proto_done(x);
		return 1;
	}
}

/* All messages, until none has come for a moment. 0, or why the loop ends. */
static int run_messages(struct vu_device *dev, int sock)
{
	int64_t until = 0;
	int r;

	do {
		if (__atomic_load_n(&dev->stop, __ATOMIC_ACQUIRE))
			return -ESHUTDOWN;
		r = run_message(dev, sock);
		if (r > 0)
			until = clock_ns() + LINGER_NS;
	} while (r > 0 || (r == 0 && until > clock_ns()));
	return r;
}

/* How long the rest of a message may take: ms; -1 where none has begun. */
static int run_patience(struct vu_device *dev)
{
	const struct vu_exchange *x = &dev->state->exchange;
	int64_t left;

	if (x->stage != VU_STAGE_RECEIVE || !x->got) {
		dev->partial_since = 0;
		return -1;
	}
	if (!dev->partial_since || dev->partial_seq != x->seq) {
		dev->partial_since = clock_ms();
		dev->partial_seq = x->seq;
	}
	left = dev->partial_since + MESSAGE_MS - clock_ms();
	return left > 0 ? (int)left : 0;
}

static int run_loop(struct vu_device *dev, int sock)
{
	struct pollfd p[2] = { { .fd = sock, .events = POLLIN },
			       { .fd = dev->wake, .events = POLLIN } };
	uint64_t count;
	int r, patience;

	p[0].revents = POLLIN;
	for (;;) {
		r = p[0].revents ? run_messages(dev, sock) : 0;
		if (r == -ESHUTDOWN ||
		    __atomic_load_n(&dev->stop, __ATOMIC_ACQUIRE))
			return 0;
		if (r < 0)
			return r;
		patience = run_patience(dev);
		if (!patience)
			return -ETIMEDOUT;
		r = poll(p, 2, sooner(patience, run_chores(dev)));
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r < 0)
			p[0].revents = p[1].revents = 0;
		if (p[1].revents &&
		    read(dev->wake, &count, sizeof(count)) < 0) {
			/* EAGAIN: nothing to clear. */
		}
	}
}

/* Rings that an earlier worker served go on before anything else. */
static int run_adopted(struct vu_device *dev)
{
	int r, err = 0;

	dev->adopted = false;
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		if (!dev->state->vring[i].running)
			continue;
		r = vu_queue_try_start(&dev->queue[i]);
		err = err ? err : r;
	}
	return err;
}

static void run_end(struct vu_device *dev)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct vu_state *s = dev->state;

	/* A front end that hangs up at once is no reason not to say so. */
	run_mend(dev);
	vu_device_reset(dev);
	vu_proto_done(&s->exchange);
	vu_dirty_drop(dev);
	vu_mem_clear(dev);
	vu_inflight_drop(dev);
	s->protocol = 0;
	s->greeted = s->warned = false;
	memset(&s->inflight, 0, sizeof(s->inflight));
	arena_commit();
	s->connected = false;
	dev->suspect_since = dev->partial_since = 0;
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		dev->queue[i].moved = dev->queue[i].kick_told = false;
	vu_store(&dev->watching, false);
	dev->watch_due = 0;
	for (int i = 0; i < DRAIN_MS && vu_mem_reclaim(dev); i++)
		nanosleep(&pause, NULL);
}

/* Did it leave while its guest used rings whose progress it keeps? */
static bool may_come_back(const struct vu_device *dev)
{
	const struct vu_state *s = dev->state;

	if (!dev->config.keeps_left || s->inflight_fd < 0)
		return false;
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		if (s->vring[i].running)
			return true;
	return false;
}

int vu_run(struct vu_device *dev, int sock)
{
	int r = 0;

	dev->state->connected = true;
	if (dev->adopted)
		r = run_adopted(dev);
	if (r == 0)
		r = run_loop(dev, sock);
	if (r == -ECONNRESET || r == -EPIPE)
		r = 0;		/* killed, which is an end like another */
	if (r == 0 && !__atomic_load_n(&dev->stop, __ATOMIC_ACQUIRE) &&
	    may_come_back(dev)) {
		dev->state->left = true;
		return VU_LEFT;
	}
	run_end(dev);
	__atomic_store_n(&dev->stop, false, __ATOMIC_RELEASE);
	return r;
}

/* ---- close ------------------------------------------------------------- */

void vu_close(struct vu_device *dev)
{
	if (!dev)
		return;
	vu_dirty_close(dev);
	vu_mem_close(dev);
	for (unsigned int i = 0; i < CHAIN_LANES(dev->nr_queues); i++)
		vu_lane_close(&dev->lane[i]);
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct vu_queue *q = &dev->queue[i];

		if (!dev->state->connected && q->st->call >= 0) {
			close(q->st->call);
			q->st->call = -1;
		}
		pthread_mutex_destroy(&q->lock);
	}
	if (dev->wake >= 0)
		close(dev->wake);
	if (dev->null >= 0)
		close(dev->null);
	pages_free(dev, dev->size);
}

int vu_state_fds(struct arena *arena, int *fds, unsigned int max)
{
	uint64_t size = sizeof(struct vu_state);
	const struct vu_table_state *table;
	unsigned int n = 0;
	struct vu_state *s;
	void *mem;
	int r;

	r = arena_region(arena, ARENA_DEVICE, VU_STATE_VERSION, &size, &mem,
			 NULL);
	if (r < 0)
		return r;
	s = mem;
	/* A worker that was taken over could write whatever it liked here. */
	if (size < sizeof(*s) || s->active >= ARRAY_SIZE(s->table))
		return -EPROTO;
	table = &s->table[s->active];
	vu_proto_settle(&s->exchange);
	if (s->exchange.nr_fds > VU_MAX_FDS || table->nr > VU_MAX_SLOTS)
		return -EPROTO;
#define NOTE(fd)                                  \
	do {                                      \
		if (s->ready && (fd) >= 0) {      \
			if (n < max)              \
				fds[n] = (fd);    \
			n++;                      \
		}                                 \
	} while (0)
	NOTE(s->inflight_fd);
	NOTE(s->kept_fd);
	NOTE(s->log[0].fd);
	NOTE(s->log[1].fd);
	NOTE(s->exchange.reply_fd);
	for (unsigned int i = 0; i < s->exchange.nr_fds; i++)
		NOTE(s->exchange.fds[i]);
	for (unsigned int i = 0; i < table->nr; i++)
		NOTE(table->region[i].fd);
	for (unsigned int i = 0; i < CHAIN_MAX_QUEUES; i++) {
		NOTE(s->vring[i].kick);
		NOTE(s->vring[i].call);
		NOTE(s->vring[i].err);
	}
#undef NOTE
	return (int)n;
}

bool vu_progressed(struct arena *arena)
{
	uint64_t size = sizeof(struct vu_state);
	struct vu_state *s;
	void *mem;

	if (arena_region(arena, ARENA_DEVICE, VU_STATE_VERSION, &size, &mem,
			 NULL) || size < sizeof(*s))
		return false;
	s = mem;
	return __atomic_exchange_n(&s->progressed, 0, __ATOMIC_RELAXED);
}
