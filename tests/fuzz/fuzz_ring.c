/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * A hostile driver: a connection that was made in order, and rings whose
 * content comes from the input, in stages: descriptors, an indirect table,
 * available entries, index; then a kick; then the next stage while the
 * device goes on.
 *
 * Checked besides sanitizers: every iovec lies in the guest memory that was
 * shared, the counts and sums of a chain are right, and the queue can be
 * stopped and set up anew whatever was done to it.
 */

#include "tests/fuzz/fuzz.h"

#include "base/base.h"
#include "tests/frontend/fe.h"
#include "vhostuser/vhostuser.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY		(256u << 10)
#define MAX_RING	64u
#define MAX_MAPS	16
#define RING_AREA	0x0000u		/* offsets in region 0 */
#define TABLE_AREA	0x4000u
#define DATA_AREA	0x8000u
#define Q		1u		/* with its lane to itself */
#define LANE		CHAIN_LANE(Q)
#define PATIENCE	200

struct target {
	struct arena *arena;
	struct vu_device *dev;
	struct fe *fe;
	struct fe_buf base;	/* all of the rings, tables and data */
	pthread_t thread, leader;
	int sock;
	bool leading;
	unsigned int waits;	/* atomic; times the leader went to sleep */
	struct {
		uintptr_t start, end;
	} map[MAX_MAPS];
	unsigned int nr_maps;
};

static struct target target;

/* ---- the consumer ------------------------------------------------------- */

static void check_iov(const struct target *t, const struct iovec *iov)
{
	uintptr_t a = (uintptr_t)iov->iov_base;

	for (unsigned int i = 0; i < t->nr_maps; i++)
		if (a >= t->map[i].start && a <= t->map[i].end &&
		    iov->iov_len <= t->map[i].end - a)
			return;
	fuzz_fail("an iovec is not in guest memory");
}

static void serve(struct target *t, struct chain *c)
{
	size_t readable = 0, writable = 0;
	uint8_t buf[256];
	struct iov_cursor in, out;
	uint32_t len = 0;

	if (c->nr_readable + c->nr_writable > CHAIN_MAX_IOV)
		fuzz_fail("too many iovecs");
	for (unsigned int i = 0; i < c->nr_readable; i++) {
		check_iov(t, &c->iov[i]);
		readable += c->iov[i].iov_len;
	}
	for (unsigned int i = 0; i < c->nr_writable; i++) {
		check_iov(t, &chain_writable(c)[i]);
		writable += chain_writable(c)[i].iov_len;
	}
	if (readable != c->readable || writable != c->writable)
		fuzz_fail("a chain's sums are wrong");
	iov_init(&in, c->iov, c->nr_readable);
	iov_init(&out, chain_writable(c), c->nr_writable);
	if (iov_read(&in, buf, sizeof(buf)))
		len = (uint32_t)iov_write(&out, buf, sizeof(buf));
	vu_chain_ops.push(t->dev, c, len);
}

static void *lead(void *arg)
{
	struct iovec *iov = calloc(CHAIN_MAX_IOV, sizeof(*iov));
	struct chain c = { .iov = iov };
	struct target *t = arg;
	int r = 0;

	while (iov && r >= 0) {
		r = vu_chain_ops.pop(t->dev, LANE, &c);
		if (r == 1) {
			serve(t, &c);
		} else if (r == 0) {
			__atomic_add_fetch(&t->waits, 1, __ATOMIC_SEQ_CST);
			r = vu_chain_ops.wait(t->dev, LANE);
		}
	}
	free(iov);
	return NULL;
}

static int start(void *ctx, unsigned int lane)
{
	struct target *t = ctx;

	(void)lane;
	t->leading = pthread_create(&t->leader, NULL, lead, t) == 0;
	return t->leading ? 0 : -ENOMEM;
}

static void stop(void *ctx, unsigned int lane)
{
	struct target *t = ctx;

	(void)lane;
	if (t->leading)
		pthread_join(t->leader, NULL);
	t->leading = false;
}

static void reset(void *ctx)
{
	(void)ctx;
}

static const struct chain_consumer consumer = {
	.start = start, .stop = stop, .reset = reset,
};

/* ---- set-up ------------------------------------------------------------- */

static void *run(void *arg)
{
	struct target *t = arg;

	vu_run(t->dev, t->sock);
	return NULL;
}

/*
 * Where this process has guest memory mapped, the server's view included. What
 * lies side by side is one: the server joins buffers there, too.
 */
static void find_maps(struct target *t)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (!strstr(line, "memfd:fe-guest") || t->nr_maps == MAX_MAPS ||
		    sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		if (t->nr_maps && t->map[t->nr_maps - 1].end == from) {
			t->map[t->nr_maps - 1].end = to;
			continue;
		}
		t->map[t->nr_maps].start = from;
		t->map[t->nr_maps++].end = to;
	}
	if (f)
		fclose(f);
}

static void target_open(struct target *t)
{
	struct vu_config config = {
		.request_queues = 1,
		.consumer = &consumer,
		.consumer_ctx = t,
	};
	struct fe_opts opts = {
		.regions = 2,
		.adjacent = true,
		.mem_size = MEMORY,
		.ring_size = MAX_RING,
	};
	int sock[2];

	if (arena_create(&t->arena, 64 << 20) < 0)
		fuzz_fail("no arena");
	config.arena = t->arena;
	if (vu_open(&t->dev, &config) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		fuzz_fail("can't set up");
	t->sock = sock[0];
	opts.fd = sock[1];
	if (pthread_create(&t->thread, NULL, run, t) != 0 ||
	    fe_connect(&t->fe, &opts) < 0 ||
	    fe_ring_stop(t->fe, 0, NULL) < 0 ||
	    fe_ring_stop(t->fe, Q, NULL) < 0)
		fuzz_fail("can't connect");
	t->base.p = t->fe->region[0].map;
	t->base.gpa = t->fe->region[0].gpa;
	find_maps(t);
}

static void target_close(void)
{
	fe_close(target.fe);
	pthread_join(target.thread, NULL);
	close(target.sock);
	vu_close(target.dev);
	arena_close(target.arena);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	target_open(&target);
	atexit(target_close);
	return 0;
}

/* ---- rings from the input ----------------------------------------------- */

static uint64_t address(const struct target *t, struct fuzz_in *in)
{
	uint64_t gpa = t->base.gpa;
	uint8_t sel = fuzz_u8(in);
	uint16_t off = fuzz_u16(in);

	switch (sel % 8) {
	case 0:
		return gpa + TABLE_AREA + off % 0x1000;
	case 1:
		return gpa + MEMORY / 2 - off % 0x2000;	/* region border */
	case 2:
		return gpa + MEMORY - off;		/* the end */
	case 3:
		return gpa - off;
	case 4:
		return UINT64_MAX - off;
	case 5:
		return gpa + RING_AREA + off % 0x4000;	/* the rings */
	default:
		return gpa + DATA_AREA + off % 0x8000;
	}
}

static uint32_t length(struct fuzz_in *in)
{
	uint8_t sel = fuzz_u8(in);
	uint16_t len = fuzz_u16(in);

	switch (sel % 8) {
	case 0:
		return 16u * (len % 64);	/* of an indirect table */
	case 1:
		return UINT32_MAX - len;
	case 2:
		return (uint32_t)len << 16;
	default:
		return len % 5000;
	}
}

static void descriptor(const struct target *t, struct fuzz_in *in,
		       struct vring_desc *d)
{
	d->addr = address(t, in);
	d->len = length(in);
	d->flags = fuzz_u8(in) & 7;
	d->next = fuzz_u8(in);
}

/* One stage: what the driver writes before its next kick. */
static void write_stage(struct target *t, struct fe_ring *r,
			struct fuzz_in *in)
{
	uint8_t *base = t->base.p;
	unsigned int n = fuzz_u8(in) % 32, m = fuzz_u8(in) % 32;
	unsigned int at = fuzz_u8(in), heads = fuzz_u8(in) % 32;

	for (unsigned int i = 0; i < m; i++)
		descriptor(t, in, (void *)(base + TABLE_AREA + 16 * i));
	for (unsigned int i = 0; i < n; i++)
		descriptor(t, in, &r->desc[(at + i) % r->num]);
	for (unsigned int i = 0; i < heads; i++)
		r->avail->ring[(r->next_avail + i) % r->num] = fuzz_u8(in);
	r->avail->flags = fuzz_u8(in);
	r->avail->ring[r->num] = fuzz_u16(in);	/* used_event */
	r->next_avail = (uint16_t)(r->next_avail +
				   (heads ? heads : fuzz_u16(in)));
	__atomic_store_n(&r->avail->idx, r->next_avail, __ATOMIC_RELEASE);
}

/*
 * Give the leader time to take what was written. It need not go to sleep
 * anew: a kick of an empty ring is none of its consumer's business. A leader
 * that spins is found by the queue's stop, which it holds up.
 */
static void settle(struct target *t, unsigned int before)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (__atomic_load_n(&t->waits, __ATOMIC_SEQ_CST) != before)
			return;
		sched_yield();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	uint8_t mode = fuzz_u8(&in);
	struct target *t = &target;
	struct fe_ring *r = &t->fe->ring[Q];
	unsigned int before;

	memset(t->base.p, 0, DATA_AREA);
	r->num = 2u << fuzz_u8(&in) % 6;
	r->base = mode & 2 ? (uint16_t)fuzz_u32(&in) : 0;
	r->next_avail = (uint16_t)r->base;
	r->has_base = true;
	before = __atomic_load_n(&t->waits, __ATOMIC_SEQ_CST);
	write_stage(t, r, &in);
	if (fe_ring_start(t->fe, Q) < 0)
		return -1;
	for (int i = 0; i < 4; i++) {
		settle(t, before);
		if (!in.left)
			break;
		before = __atomic_load_n(&t->waits, __ATOMIC_SEQ_CST);
		write_stage(t, r, &in);
		fe_kick_always(r);
	}
	if (fe_ring_stop(t->fe, Q, NULL) < 0)
		fuzz_fail("the queue can't be stopped");
	return 0;
}
