/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * Drivers whose barriers do nothing: a kick or a signal is missed, and the
 * request gets there all the same, on both kinds of rings. What is missed has
 * to be so right after other traffic; on a machine that is too busy for that
 * it is tried again.
 */

#include "tests/c/vhostuser_rig.h"
#include "vhostuser/internal.h"

#include <poll.h>

#define LEN 256u
#define TRIES 20

static struct rig rig;

/* Within a second. */
static bool comes_back(struct fe_ring *r)
{
	uint32_t len;
	void *token;

	for (int i = 0; i < 1000; i++) {
		if (fe_reap(r, &token, &len) == 1)
			return true;
		usleep(1000);
	}
	return false;
}

static bool signalled(const struct fe_ring *r, int ms)
{
	struct pollfd p = { .fd = r->call, .events = POLLIN };
	uint64_t count;

	return poll(&p, 1, ms) == 1 &&
	       read(r->call, &count, sizeof(count)) == sizeof(count);
}

/* A request without a kick, when the leader has just fallen asleep. */
static void without_kick(struct fe_ring *r)
{
	struct rig_io io;
	bool came = false;

	CHECK_EQ(rig_io_new(rig.fe, &io, LEN, 1), 0);
	for (int i = 0; i < TRIES && !came; i++) {
		CHECK_EQ(rig_echo_once(rig.fe, r->index, LEN), 0);
		usleep(5000); /* it lingers no more */
		CHECK_EQ(rig_io_push(r, &io, 1), 0);
		came = comes_back(r);
		if (!came) {
			fe_kick_always(r);
			CHECK(comes_back(r));
		}
	}
	CHECK(came);
	CHECK(rig_io_right(&io));
	rig_io_free(rig.fe, &io);
}

/* What the device sees of a driver's wish for signals. */
static void wish(struct fe_ring *r, bool signals)
{
	uint16_t seen = signals ? r->last_used : (uint16_t)(r->last_used - 9);

	if (r->fe->features & VIRTIO_F_EVENT_IDX) {
		__atomic_store_n(&r->avail->ring[r->num], seen,
				 __ATOMIC_SEQ_CST);
	} else {
		__atomic_store_n(&r->avail->flags,
				 signals ? 0 : VRING_AVAIL_F_NO_INTERRUPT,
				 __ATOMIC_SEQ_CST);
	}
}

/* The driver falls asleep as its request is answered. */
static void without_signal(struct fe_ring *r)
{
	bool came = false, late;
	struct rig_io io;

	CHECK_EQ(rig_io_new(rig.fe, &io, LEN, 1), 0);
	for (int i = 0; i < TRIES && !came; i++) {
		CHECK_EQ(rig_echo_once(rig.fe, r->index, LEN), 0);
		RIG_SET(rig.hold, true);
		CHECK_EQ(rig_io_push(r, &io, 1), 0);
		fe_kick_always(r);
		RIG_UNTIL(rig_held_now(&rig) == 1);
		RIG_UNTIL(!signalled(r, 0));
		wish(r, false);
		rig_release(&rig);
		late = signalled(r, 0); /* we are: it was looked at already */
		wish(r, true);
		came = !late && signalled(r, 1000);
		CHECK(comes_back(r));
	}
	CHECK(came);
	rig_io_free(rig.fe, &io);
}

static void each_format(void (*fn)(struct fe_ring *r))
{
	static const struct fe_opts opts[] = {
		{ .ring_size = 32, .queues = 1 },
		{ .ring_size = 32, .queues = 1, .no_event_idx = true },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(opts) && !check_failed; i++) {
		CHECK_EQ(rig_open(&rig, 1), 0);
		CHECK_EQ(rig_connect(&rig, &opts[i]), 0);
		fn(&rig.fe->ring[1]);
		if (!check_failed)
			fn(&rig.fe->ring[0]);
		CHECK_EQ(rig_hang_up(&rig), 0);
		rig_close(&rig);
	}
}

static void missed_kick(void)
{
	each_format(without_kick);
}

static void missed_signal(void)
{
	each_format(without_signal);
}

/*
 * Who has seen all gets no signal more, and in the end nobody watches. Without
 * the event index a driver can't say what it has seen.
 */
static void at_rest(struct fe_ring *r)
{
	bool silent = r->fe->features & VIRTIO_F_EVENT_IDX, told = silent;

	for (int i = 0; i < TRIES && told == silent; i++) {
		CHECK_EQ(rig_echo_once(rig.fe, r->index, LEN), 0);
		if (silent)
			wish(r, true);
		while (signalled(r, 10))
			;
		RIG_UNTIL(!vu_load(&rig.dev->watching));
		told = signalled(r, 0);
	}
	CHECK(told != silent);
	CHECK_EQ(rig_echo_once(rig.fe, r->index, LEN), 0);
}

static void quiet(void)
{
	each_format(at_rest);
}

/* ---- the high priority queue's kicks ------------------------------------- */

#define HIGH_SIZE	32u

/* The lane is busy, and its leader asleep. */
static void keep_busy(void)
{
	do {
		CHECK_EQ(rig_echo_once(rig.fe, 1, LEN), 0);
		usleep(5000); /* it lingers no more */
	} while (!check_failed && vu_load(&rig.dev->queue[1].idle));
}

/* Take back @n; within a second each. */
static void take_back(struct fe_ring *r, unsigned int n)
{
	while (n-- && !check_failed)
		CHECK(comes_back(r));
}

/* A request of the request queue serves it, too; alone it is found later. */
static void no_kick_while_busy(struct fe_ring *high, struct rig_io *io)
{
	bool kicked = true;

	for (int i = 0; i < TRIES && kicked; i++) {
		keep_busy();
		CHECK_EQ(rig_io_push(high, io, 1), 0);
		kicked = fe_kick(high);
		if (i & 1)
			CHECK_EQ(rig_echo_once(rig.fe, 1, LEN), 0);
		take_back(high, 1);
	}
	CHECK(!kicked);
}

static void kick_when_half_full(struct fe_ring *high, struct rig_io *io)
{
	unsigned int n = 0;

	keep_busy();
	do
		CHECK_EQ(rig_io_push(high, io, 1), 0);
	while (++n < HIGH_SIZE && !fe_kick(high) && !check_failed);
	CHECK(n <= HIGH_SIZE / 2 + 1);
	take_back(high, n);
}

static void kick_at_rest(struct fe_ring *high, struct rig_io *io)
{
	bool kicked = false;

	for (int i = 0; i < TRIES && !kicked && !check_failed; i++) {
		RIG_UNTIL(vu_load(&rig.dev->queue[1].idle));
		usleep(5000);
		CHECK_EQ(rig_io_push(high, io, 1), 0);
		kicked = fe_kick(high);
		take_back(high, 1);
	}
	CHECK(kicked);
}

/* A flag can't say "later": without event indexes each request kicks. */
static void high_priority(bool event_idx)
{
	const struct fe_opts o = { .ring_size = HIGH_SIZE, .queues = 1,
				   .no_event_idx = !event_idx };
	struct fe_ring *high;
	struct rig_io io;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(rig_io_new(rig.fe, &io, LEN, 1), 0);
	high = &rig.fe->ring[0];
	kick_at_rest(high, &io);
	if (event_idx) {
		no_kick_while_busy(high, &io);
		kick_when_half_full(high, &io);
	}
	kick_at_rest(high, &io);
	rig_io_free(rig.fe, &io);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
}

static void high_priority_waits(void)
{
	high_priority(true);
}

static void high_priority_by_flag(void)
{
	high_priority(false);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a kick that is missed", missed_kick },
		{ "a signal that is missed", missed_signal },
		{ "nothing to watch", quiet },
		{ "the high priority queue waits for a kick's worth",
		  high_priority_waits },
		{ "the high priority queue without event indexes",
		  high_priority_by_flag },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
