/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_VHOSTUSER_RIG_H
#define VMSHARE_TESTS_VHOSTUSER_RIG_H

/*
 * A device of the ring room with a consumer that is not a file server, and
 * the tests' front end, in one process or two.
 *
 * The consumer has one thread per queue. It answers a chain with its readable
 * bytes, each XOR 0x5a, as many as there is room for, and fills the rest of
 * the writable part with nothing. While "hold" is set it keeps chains instead;
 * rig_release() answers them from another thread.
 */

#include "base/base.h"
#include "tests/c/check.h"
#include "tests/frontend/fe.h"
#include "vhostuser/vhostuser.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define RIG_HELD 64
#define RIG_XOR 0x5a

struct rig_held {
	struct chain c;
	struct iovec iov[CHAIN_MAX_IOV];
};

struct rig {
	struct arena *arena;
	struct vu_device *dev;
	struct vu_config config;
	pthread_t thread;
	int sock[2];		/* server's, front end's */
	int result;		/* of vu_run() */
	bool running;
	struct fe *fe;
	/* consumer; atomic */
	bool hold;
	bool by_hand;		/* the test takes chains itself */
	int refuse;		/* what a lane's start returns, if not 0 */
	unsigned int served, again, resets, starts, ends;
	unsigned int events[VU_EVENT_RESET + 1];
	pthread_mutex_t text_lock;
	char last[128];		/* text of the last event, locked */
	/* consumer; under lock */
	pthread_mutex_t lock;
	unsigned int nr_held;
	struct rig_held *held;
	pthread_t leader[CHAIN_MAX_QUEUES];
	bool leading[CHAIN_MAX_QUEUES];
};

struct rig_leader {
	struct rig *rig;
	unsigned int lane;
};

#define RIG_COUNT(x) __atomic_fetch_add(&(x), 1, __ATOMIC_SEQ_CST)
#define RIG_GET(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define RIG_SET(x, v) __atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)

/* A guest races with whoever reads its memory; that is no news to report. */
#ifdef __SANITIZE_THREAD__
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define RIG_GUEST_BEGIN()                                        \
	(AnnotateIgnoreReadsBegin(__FILE__, __LINE__),           \
	 AnnotateIgnoreWritesBegin(__FILE__, __LINE__))
#define RIG_GUEST_END()                                          \
	(AnnotateIgnoreWritesEnd(__FILE__, __LINE__),            \
	 AnnotateIgnoreReadsEnd(__FILE__, __LINE__))
#else
#define RIG_GUEST_BEGIN() ((void)0)
#define RIG_GUEST_END() ((void)0)
#endif

static inline uint32_t rig_echo(struct chain *c)
{
	struct iov_cursor in, out;
	uint8_t buf[4096];
	uint32_t done = 0;
	size_t n;

	iov_init(&in, c->iov, c->nr_readable);
	iov_init(&out, chain_writable(c), c->nr_writable);
	RIG_GUEST_BEGIN();
	while ((n = iov_read(&in, buf, sizeof(buf)))) {
		for (size_t i = 0; i < n; i++)
			buf[i] ^= RIG_XOR;
		done += (uint32_t)iov_write(&out, buf, n);
	}
	RIG_GUEST_END();
	return done;
}

static inline void rig_serve(struct rig *rig, struct chain *c)
{
	struct rig_held *h;

	RIG_COUNT(rig->served);
	if (c->again)
		RIG_COUNT(rig->again);
	if (!RIG_GET(rig->hold)) {
		vu_chain_ops.push(rig->dev, c, rig_echo(c));
		return;
	}
	pthread_mutex_lock(&rig->lock);
	h = &rig->held[rig->nr_held++];
	h->c = *c;
	memcpy(h->iov, c->iov,
	       (c->nr_readable + c->nr_writable) * sizeof(*c->iov));
	h->c.iov = h->iov;
	pthread_mutex_unlock(&rig->lock);
}

/* Answer what was held; last first, so that the order is not the ring's. */
static inline void rig_release(struct rig *rig)
{
	RIG_SET(rig->hold, false);
	pthread_mutex_lock(&rig->lock);
	while (rig->nr_held) {
		struct chain *c = &rig->held[--rig->nr_held].c;

		vu_chain_ops.push(rig->dev, c, rig_echo(c));
		vu_chain_ops.flush(rig->dev, CHAIN_LANE(c->queue));
	}
	pthread_mutex_unlock(&rig->lock);
}

static inline unsigned int rig_held_now(struct rig *rig)
{
	unsigned int n;

	pthread_mutex_lock(&rig->lock);
	n = rig->nr_held;
	pthread_mutex_unlock(&rig->lock);
	return n;
}

static inline void *rig_lead(void *arg)
{
	struct rig_leader me = *(struct rig_leader *)arg;
	struct iovec *iov = calloc(CHAIN_MAX_IOV, sizeof(*iov));
	struct chain c = { .iov = iov };
	int r = iov ? 0 : -ENOMEM;

	free(arg);
	while (r >= 0) {
		r = vu_chain_ops.pop(me.rig->dev, me.lane, &c);
		if (r == 1)
			rig_serve(me.rig, &c);
		else if (r == 0)
			r = vu_chain_ops.wait(me.rig->dev, me.lane);
	}
	RIG_COUNT(me.rig->ends);
	free(iov);
	return NULL;
}

static inline int rig_start_lane(void *ctx, unsigned int lane)
{
	struct rig_leader *me = malloc(sizeof(*me));
	struct rig *rig = ctx;
	int r = RIG_GET(rig->refuse);

	if (!me || r || rig->by_hand) {
		free(me);
		return me ? r : -ENOMEM;
	}
	me->rig = rig;
	me->lane = lane;
	r = pthread_create(&rig->leader[lane], NULL, rig_lead, me);
	if (r == 0) {
		RIG_COUNT(rig->starts);
		rig->leading[lane] = true;
	}
	return -r;
}

static inline void rig_stop_lane(void *ctx, unsigned int lane)
{
	struct rig *rig = ctx;

	if (rig->leading[lane])
		pthread_join(rig->leader[lane], NULL);
	rig->leading[lane] = false;
}

static inline void rig_reset(void *ctx)
{
	struct rig *rig = ctx;

	RIG_COUNT(rig->resets);
}

static const struct chain_consumer rig_consumer = {
	.start = rig_start_lane,
	.stop = rig_stop_lane,
	.reset = rig_reset,
};

static inline void rig_event(void *ctx, enum vu_event event, int queue,
			     const char *text)
{
	struct rig *rig = ctx;

	(void)queue;
	pthread_mutex_lock(&rig->text_lock);
	if (event != VU_EVENT_RESET)
		snprintf(rig->last, sizeof(rig->last), "%s", text);
	pthread_mutex_unlock(&rig->text_lock);
	RIG_COUNT(rig->events[event]);
}

static inline void *rig_run(void *arg)
{
	struct rig *rig = arg;

	rig->result = vu_run(rig->dev, rig->sock[0]);
	/* As whoever accepted the connection does. */
	shutdown(rig->sock[0], SHUT_RDWR);
	return NULL;
}

/* A device; no front end yet. */
static inline int rig_open_arena(struct rig *rig, unsigned int queues,
				 struct arena *arena)
{
	memset(rig, 0, sizeof(*rig));
	rig->sock[0] = rig->sock[1] = -1;
	pthread_mutex_init(&rig->lock, NULL);
	pthread_mutex_init(&rig->text_lock, NULL);
	rig->held = calloc(RIG_HELD, sizeof(*rig->held));
	if (!rig->held)
		return -ENOMEM;
	rig->arena = arena;
	rig->config = (struct vu_config){
		.request_queues = queues,
		.consumer = &rig_consumer,
		.consumer_ctx = rig,
		.event = rig_event,
		.event_ctx = rig,
		.arena = rig->arena,
		.moves = true,
	};
	return vu_open(&rig->dev, &rig->config);
}

static inline int rig_open(struct rig *rig, unsigned int queues)
{
	struct arena *arena;
	int r = arena_create(&arena, 64 << 20);

	return r < 0 ? r : rig_open_arena(rig, queues, arena);
}

static inline int rig_serve_socket(struct rig *rig)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rig->sock) < 0)
		return -errno;
	if (pthread_create(&rig->thread, NULL, rig_run, rig) != 0)
		return -ENOMEM;
	rig->running = true;
	return 0;
}

static inline int rig_connect(struct rig *rig, const struct fe_opts *opts)
{
	struct fe_opts o = *opts;
	int r;

	r = rig_serve_socket(rig);
	if (r < 0)
		return r;
	o.fd = rig->sock[1];
	r = fe_connect(&rig->fe, &o);
	if (r == 0)
		rig->sock[1] = -1;	/* the front end's now */
	return r;
}

/* Hang up and wait for vu_run(); its result. */
static inline int rig_hang_up(struct rig *rig)
{
	fe_close(rig->fe);
	rig->fe = NULL;
	if (rig->sock[1] >= 0)
		close(rig->sock[1]);
	if (rig->running)
		pthread_join(rig->thread, NULL);
	rig->running = false;
	if (rig->sock[0] >= 0)
		close(rig->sock[0]);
	rig->sock[0] = rig->sock[1] = -1;
	return rig->result;
}

static inline void rig_close(struct rig *rig)
{
	rig_hang_up(rig);
	vu_close(rig->dev);
	arena_close(rig->arena);
	free(rig->held);
	pthread_mutex_destroy(&rig->lock);
}

/* ---- traffic ----------------------------------------------------------- */

struct rig_io {
	struct fe_buf in, out;
	uint32_t len;		/* of each */
	uint8_t salt;
	bool done;
};

static inline void rig_io_fill(struct rig_io *io)
{
	uint8_t *p = io->in.p;

	for (uint32_t i = 0; i < io->len; i++)
		p[i] = (uint8_t)(i * 7 + io->salt);
	memset(io->out.p, 0, io->len);
	io->done = false;
}

static inline int rig_io_new(struct fe *fe, struct rig_io *io, uint32_t len,
			     uint8_t salt)
{
	int r = fe_alloc(fe, len, &io->in);

	if (r == 0)
		r = fe_alloc(fe, len, &io->out);
	if (r < 0)
		return r;
	io->len = len;
	io->salt = salt;
	rig_io_fill(io);
	return 0;
}

static inline void rig_io_free(struct fe *fe, struct rig_io *io)
{
	fe_free(fe, &io->in);
	fe_free(fe, &io->out);
}

/* One chain: @pieces readable segments, then as many writable. */
static inline int rig_io_push(struct fe_ring *r, struct rig_io *io,
			      unsigned int pieces)
{
	struct fe_seg seg[64];
	uint32_t each = io->len / pieces;

	for (unsigned int i = 0; i < 2 * pieces; i++) {
		unsigned int k = i % pieces;

		seg[i].write = i >= pieces;
		seg[i].gpa = (seg[i].write ? io->out.gpa : io->in.gpa) +
			     (uint64_t)k * each;
		seg[i].len = k == pieces - 1 ? io->len - each * k : each;
	}
	return fe_push(r, seg, 2 * pieces, io);
}

static inline bool rig_io_right(const struct rig_io *io)
{
	const uint8_t *p = io->out.p;

	for (uint32_t i = 0; i < io->len; i++)
		if (p[i] != (uint8_t)((uint8_t)(i * 7 + io->salt) ^ RIG_XOR))
			return false;
	return true;
}

/* Reap @n; 0 or -errno, -EBADMSG for a wrong answer. */
static inline int rig_reap(struct fe_ring *r, unsigned int n)
{
	struct rig_io *io;
	void *token;
	uint32_t len;
	int ret;

	while (n) {
		ret = fe_reap(r, &token, &len);
		if (ret < 0)
			return ret;
		if (ret == 0) {
			ret = fe_wait(r, 10000);
			if (ret < 0)
				return ret;
			continue;
		}
		io = token;
		if (len != io->len || io->done || !rig_io_right(io))
			return -EBADMSG;
		io->done = true;
		n--;
	}
	return 0;
}

/* One request there and back on ring @q. */
static inline int rig_echo_once(struct fe *fe, unsigned int q, uint32_t len)
{
	struct rig_io io;
	int r;

	r = rig_io_new(fe, &io, len, (uint8_t)(q + len));
	if (r < 0)
		return r;
	r = rig_io_push(&fe->ring[q], &io, 1);
	if (r == 0) {
		fe_kick(&fe->ring[q]);
		r = rig_reap(&fe->ring[q], 1);
	}
	rig_io_free(fe, &io);
	return r;
}

/* The driver starts over, with rings of its own making. */
static inline int rig_reboot(struct fe *fe)
{
	int r = fe_stop(fe);

	for (unsigned int q = 0; q < fe->nr_rings && r == 0; q++) {
		struct fe_ring *ring = &fe->ring[q];

		close(ring->kick);
		close(ring->call);
		close(ring->err);
		free(ring->slot);
		for (int i = 0; i < 3; i++)
			fe_free(fe, &ring->mem[i]);
		memset(ring, 0, sizeof(*ring));
		r = fe_ring_init(fe, q);
	}
	if (r == 0)
		r = fe_set_features(fe);
	if (r == 0)
		r = fe_share_memory(fe);
	return r < 0 ? r : fe_start(fe);
}

/* Wait up to two seconds for a condition. */
#define RIG_UNTIL(cond)                                      \
	do {                                                 \
		for (int ru = 0; ru < 2000 && !(cond); ru++) \
			usleep(1000);                        \
		CHECK(cond);                                 \
	} while (0)

#endif
