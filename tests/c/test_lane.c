/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * Two rings that one leader takes from: the high priority queue and the first
 * request queue, of which either may come and go while the other is used.
 */

#include "tests/c/vhostuser_rig.h"

#define LEN 100u

static struct rig rig;

/* Both rings of one lane, and a further one with a lane to itself. */
static int up(void)
{
	const struct fe_opts o = { .queues = 2 };
	int r = rig_open(&rig, 2);

	return r ? r : rig_connect(&rig, &o);
}

static void down(void)
{
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_PROTOCOL]), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
}

static void one_leader(void)
{
	CHECK_EQ(up(), 0);
	for (unsigned int q = 0; q < 3; q++)
		CHECK_EQ(rig_echo_once(rig.fe, q, LEN), 0);
	CHECK_EQ(RIG_GET(rig.starts), 2);
	CHECK_EQ(RIG_GET(rig.ends), 0);
	down();
}

/* Each in turn is stopped and started; what is left of the lane goes on. */
static void come_and_go(void)
{
	CHECK_EQ(up(), 0);
	for (int i = 0; i < 40; i++) {
		unsigned int q = i & 1;

		CHECK_EQ(fe_ring_stop(rig.fe, q, NULL), 0);
		CHECK_EQ(rig_echo_once(rig.fe, !q, LEN), 0);
		CHECK_EQ(rig_echo_once(rig.fe, 2, LEN), 0);
		if (i % 8 == 7) {
			/* Nobody leads an empty lane. */
			CHECK_EQ(fe_ring_stop(rig.fe, !q, NULL), 0);
			CHECK_EQ(RIG_GET(rig.starts) - 1, RIG_GET(rig.ends));
			CHECK_EQ(fe_ring_start(rig.fe, !q), 0);
		}
		CHECK_EQ(fe_ring_start(rig.fe, q), 0);
		CHECK_EQ(rig_echo_once(rig.fe, q, LEN), 0);
		CHECK_EQ(rig_echo_once(rig.fe, !q, LEN), 0);
	}
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_RESET]), 0);
	down();
}

/* A guest that fills one ring does not keep the leader from the other. */
static void in_turn(void)
{
	static struct iovec iov[CHAIN_MAX_IOV];
	struct chain c = { .iov = iov };
	struct rig_io io[2][3];

	CHECK_EQ(rig_open(&rig, 1), 0);
	rig.by_hand = true;
	CHECK_EQ(rig_connect(&rig, &(struct fe_opts){ .queues = 1 }), 0);
	for (unsigned int q = 0; q < 2; q++) {
		for (unsigned int i = 0; i < 3; i++) {
			CHECK_EQ(rig_io_new(rig.fe, &io[q][i], LEN, 7), 0);
			CHECK_EQ(rig_io_push(&rig.fe->ring[q], &io[q][i], 1),
				 0);
		}
	}
	CHECK_EQ(vu_chain_ops.wait(rig.dev, 0), 0);
	CHECK_EQ(vu_chain_ops.pending(rig.dev, 0), 6);
	for (unsigned int i = 0; i < 6; i++) {
		CHECK_EQ(vu_chain_ops.pop(rig.dev, 0, &c), 1);
		CHECK_EQ(c.queue, i % 2);
		rig_serve(&rig, &c);
	}
	CHECK_EQ(vu_chain_ops.pop(rig.dev, 0, &c), 0);
	vu_chain_ops.flush(rig.dev, 0);
	CHECK_EQ(rig_reap(&rig.fe->ring[0], 3), 0);
	CHECK_EQ(rig_reap(&rig.fe->ring[1], 3), 0);
	down();
}

/* Where no thread is to be had, a ring stands still until it is set up anew. */
static void no_thread(void)
{
	CHECK_EQ(up(), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 0, LEN), 0);
	RIG_SET(rig.refuse, -EAGAIN);
	CHECK_EQ(fe_ring_stop(rig.fe, 0, NULL), 0);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_PROTOCOL]) == 1);
	CHECK(strstr(rig.last, "no thread"));
	CHECK_EQ(rig_echo_once(rig.fe, 2, LEN), 0);
	RIG_SET(rig.refuse, 0);
	CHECK_EQ(rig_reboot(rig.fe), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 0, LEN), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, LEN), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "two rings have one leader", one_leader },
		{ "rings that come and go", come_and_go },
		{ "a full ring does not starve the other", in_turn },
		{ "no thread to be had", no_thread },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
