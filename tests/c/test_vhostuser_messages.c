/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The ring room with front ends that send what they should not: messages of
 * wrong size, order, index, with too many descriptors or too few, streams that
 * are none. What asked for an acknowledgement is refused, anything else ends
 * the connection; no descriptor stays behind.
 */

#include "tests/c/vhostuser_rig.h"

#include <dirent.h>
#include <fcntl.h>

#define DATA_LEN 256u

static struct rig rig;

static uint32_t random_state = 1;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

struct bad_message {
	uint32_t request;
	uint32_t size;
	unsigned int fds;
	uint32_t word[8];	/* start of the payload */
};

/* Refused with an errno where an acknowledgement was asked for. */
static const struct bad_message refused[] = {
	{ VHU_SET_FEATURES, 0, 0, { 0 } },
	{ VHU_SET_FEATURES, 7, 0, { 0 } },
	{ VHU_SET_FEATURES, 16, 0, { 0 } },
	{ VHU_SET_FEATURES, 8, 1, { 0 } },
	{ VHU_SET_FEATURES, 8, 0, { 0xffffffff, 0xffffffff } },
	{ VHU_SET_PROTOCOL_FEATURES, 8, 0, { 0xffffffff, 0 } },
	{ VHU_SET_OWNER, 8, 0, { 0 } },
	{ VHU_SET_MEM_TABLE, 4, 0, { 1 } },
	{ VHU_SET_MEM_TABLE, 40, 2, { 1 } },
	{ VHU_SET_MEM_TABLE, 40, 8, { 1 } },
	{ VHU_SET_MEM_TABLE, 40, 1, { 9 } },
	{ VHU_SET_MEM_TABLE, 40, 2, { 2 } },
	{ VHU_SET_MEM_TABLE, 40, 0, { 0xffffffff } },
	{ VHU_SET_MEM_TABLE, 40, 1, { 1 } },	/* of size 0 */
	{ VHU_SET_VRING_NUM, 8, 0, { 99, 32 } },
	{ VHU_SET_VRING_NUM, 8, 0, { 1, 0 } },
	{ VHU_SET_VRING_NUM, 8, 0, { 1, 33 } },
	{ VHU_SET_VRING_NUM, 8, 0, { 1, 2048 } },
	{ VHU_SET_VRING_NUM, 8, 0, { 1, 0x80000000 } },
	{ VHU_SET_VRING_NUM, 4, 0, { 1 } },
	{ VHU_SET_VRING_BASE, 8, 0, { 1, 70000 } },
	{ VHU_SET_VRING_BASE, 8, 0, { 3, 0 } },
	{ VHU_SET_VRING_ADDR, 40, 0, { 3 } },
	{ VHU_SET_VRING_ADDR, 40, 0, { 1, 0, 8 } },
	{ VHU_SET_VRING_ADDR, 32, 0, { 1 } },
	{ VHU_SET_VRING_KICK, 8, 0, { 1 } },
	{ VHU_SET_VRING_KICK, 8, 1, { 0x101 } },
	{ VHU_SET_VRING_KICK, 8, 1, { 0x200 } },
	{ VHU_SET_VRING_KICK, 8, 1, { 64 } },
	{ VHU_SET_VRING_KICK, 8, 2, { 1 } },
	{ VHU_SET_VRING_CALL, 8, 0, { 1 } },
	{ VHU_SET_VRING_CALL, 8, 3, { 1 } },
	{ VHU_SET_VRING_ERR, 8, 0, { 255 } },
	{ VHU_SET_VRING_ENABLE, 8, 0, { 77, 1 } },
	{ VHU_SET_VRING_ENABLE, 8, 0, { 1, 2 } },
	{ VHU_SET_VRING_ENABLE, 12, 0, { 1, 1 } },
	{ VHU_SET_INFLIGHT_FD, 24, 1, { 0 } },
	{ VHU_RESET_DEVICE, 8, 0, { 0 } },
	{ VHU_ADD_MEM_REG, 40, 0, { 0 } },
	{ VHU_ADD_MEM_REG, 40, 1, { 0 } },
	{ VHU_ADD_MEM_REG, 32, 1, { 0 } },
	{ VHU_REM_MEM_REG, 40, 0, { 0 } },
	{ VHU_SET_DEVICE_STATE_FD, 8, 1, { 0 } },
	{ 0, 0, 0, { 0 } },
	{ 1000, 0, 0, { 0 } },
	{ 0xffffffff, 8, 8, { 0 } },
};

/* These have answers of their own, and nothing right to put in there. */
static const struct bad_message fatal[] = {
	{ VHU_GET_FEATURES, 8, 0, { 0 } },
	{ VHU_GET_FEATURES, 0, 1, { 0 } },
	{ VHU_GET_QUEUE_NUM, 4, 0, { 0 } },
	{ VHU_GET_VRING_BASE, 8, 0, { 3, 0 } },
	{ VHU_GET_VRING_BASE, 4, 0, { 1 } },
	{ VHU_GET_INFLIGHT_FD, 24, 0, { 0 } },
	{ VHU_GET_MAX_MEM_SLOTS, 8, 0, { 0 } },
	{ VHU_SET_LOG_BASE, 16, 1, { 0 } },
};

static int send_bad(const struct bad_message *m, uint32_t flags)
{
	uint8_t payload[512] = { 0 };
	int fds[8];

	memcpy(payload, m->word, sizeof(m->word));
	for (unsigned int i = 0; i < 8; i++)
		fds[i] = rig.fe->region[0].fd;
	return fe_send(rig.fe, m->request, flags, payload, m->size, fds,
		       m->fds);
}

static const struct bad_message no_table = { VHU_SET_INFLIGHT_FD, 24, 1,
					      { 0 } };

/* Whether the message that was sent is answered, and with a refusal. */
static bool is_refused(uint32_t request)
{
	struct vhu_hdr hdr;
	uint64_t value;
	size_t size = sizeof(value);

	return fe_recv(rig.fe, &hdr, &value, &size, NULL) >= 0 && value &&
	       hdr.request == request;
}

static const struct fe_opts with_acks = {
	.ring_size = 32, .queues = 2,
	.pf_mask = VHU_PF_MQ | VHU_PF_REPLY_ACK | VHU_PF_RESET_DEVICE |
		   VHU_PF_INFLIGHT_SHMFD | VHU_PF_MEM_SLOTS,
};

/* @echo: while the rings run */
static void refuse_all(bool echo)
{
	int idle = open_fds();

	for (unsigned int i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct bad_message *m = &refused[i];

		CHECK_EQ(send_bad(m, VHU_NEED_REPLY), 0);
		if (!is_refused(m->request)) {
			printf("# message %u of the table\n", i);
			CHECK(false);
		}
		if (echo)
			CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
		RIG_UNTIL(open_fds() == idle);
	}
}

static void messages_refused(void)
{
	int before = open_fds(), idle;

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK_EQ(rig_connect(&rig, &with_acks), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	refuse_all(true);
	CHECK(!check_failed);
	/* Not because a ring runs, either. */
	CHECK_EQ(fe_stop(rig.fe), 0);
	refuse_all(false);
	CHECK(!check_failed);
	CHECK_EQ(fe_start(rig.fe), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	/* An in-flight table that is none does not stay either. */
	CHECK_EQ(fe_stop(rig.fe), 0);
	idle = open_fds();
	CHECK_EQ(send_bad(&no_table, VHU_NEED_REPLY), 0);
	CHECK(is_refused(VHU_SET_INFLIGHT_FD));
	RIG_UNTIL(open_fds() == idle);
	/* One word each, but not without end. */
	CHECK(RIG_GET(rig.events[VU_EVENT_PROTOCOL]) >= 1);
	CHECK(RIG_GET(rig.events[VU_EVENT_PROTOCOL]) < 10);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
	CHECK_EQ(open_fds(), before);
}

/*
 * QEMU tells as it is what a guest wrote into its registers, and asks for no
 * acknowledgement: a ring that can't be is not worth the connection.
 */
static void guests_words(void)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2 };
	static const struct bad_message odd[] = {
		{ VHU_SET_VRING_NUM, 8, 0, { 1, 0 } },
		{ VHU_SET_VRING_NUM, 8, 0, { 1, 3 } },
		{ VHU_SET_VRING_NUM, 8, 0, { 1, 65535 } },
		{ VHU_SET_VRING_ADDR, 40, 0, { 1, 0, 8, 0, 16, 0, 16 } },
		{ VHU_SET_VRING_ADDR, 40, 0, { 1, 0, 16, 0, 1, 0, 16 } },
		{ VHU_SET_VRING_ADDR, 40, 0, { 1, 0, 16, 0, 16, 0, 1 } },
		{ VHU_SET_VRING_ADDR, 40, 0, { 1, 0, 16, 0, 16, 0, 16 } },
		{ VHU_SET_VRING_ADDR, 40, 0, { 1, 0, ~15u, ~0u, ~15u, ~0u,
					       ~15u, ~0u } },
	};
	const struct vhu_state off = { .index = 1 }, on = { 1, 1 };
	unsigned int starts;

	for (unsigned int i = 0; i < ARRAY_SIZE(odd); i++) {
		CHECK_EQ(rig_open(&rig, 2), 0);
		CHECK_EQ(rig_connect(&rig, &o), 0);
		CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
		starts = RIG_GET(rig.starts) + 1;
		CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_ENABLE, &off,
				sizeof(off), NULL, 0), 0);
		/* Its lane's other ring goes on. */
		RIG_UNTIL(RIG_GET(rig.starts) == starts);
		CHECK_EQ(send_bad(&odd[i], 0), 0);
		CHECK_EQ(fe_send(rig.fe, VHU_SET_VRING_ENABLE, 0, &on,
				 sizeof(on), NULL, 0), 0);
		/* Not as it was before, either. */
		RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_PROTOCOL]) >= 1);
		CHECK_EQ(rig_echo_once(rig.fe, 2, DATA_LEN), 0);
		CHECK_EQ(RIG_GET(rig.starts), starts);
		CHECK_EQ(rig_reboot(rig.fe), 0);
		CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
		CHECK_EQ(rig_hang_up(&rig), 0);
		rig_close(&rig);
	}
}

/* Memory that is none, as a whole table and, where it is one, by itself. */
static void memory_refused(void)
{
	const uint64_t huge = UINT64_MAX - 4095, mib = 1 << 20;
	uint64_t end;
	int fds[2], idle;

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK_EQ(rig_connect(&rig, &with_acks), 0);
	fds[0] = fds[1] = rig.fe->region[0].fd;
	end = (uint64_t)lseek(fds[0], 0, SEEK_END);
	idle = open_fds();
	const struct {
		const char *what;
		unsigned int nr;
		struct vhu_region r[2];
	} bad[] = {
		{ "of no size", 1, { { 1ull << 40, 0, 1ull << 40, 0 } } },
		{ "beyond all addresses", 1, { { huge, 8192, 0, 0 } } },
		{ "beyond the front end's", 1, { { 0, 8192, huge, 0 } } },
		{ "offset wraps", 1, { { 0, 8192, 0, huge } } },
		{ "negative offset", 1, { { 0, 4096, 0, 1ull << 63 } } },
		{ "longer than its file", 1,
		  { { 1ull << 40, end + 4096, 1ull << 40, 0 } } },
		{ "behind the end of its file", 1,
		  { { 1ull << 40, 4096, 1ull << 40, end } } },
		{ "one over the other", 2,
		  { { 0, 2 * mib, 0, 0 },
		    { mib, 2 * mib, 8 * mib, 2 * mib } } },
		{ "one over the other at the front end", 2,
		  { { 0, 2 * mib, 0, 0 },
		    { 8 * mib, 2 * mib, mib, 2 * mib } } },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vhu_mem_table table = { .nr = bad[i].nr };
		struct vhu_mem_reg one = { .region = bad[i].r[0] };

		memcpy(table.region, bad[i].r, sizeof(bad[i].r));
		CHECK_EQ(fe_send(rig.fe, VHU_SET_MEM_TABLE, VHU_NEED_REPLY,
				 &table, 8 + table.nr * sizeof(bad[i].r[0]),
				 fds, table.nr), 0);
		if (!is_refused(VHU_SET_MEM_TABLE)) {
			printf("# memory %s\n", bad[i].what);
			CHECK(false);
		}
		if (table.nr == 1) {
			CHECK_EQ(fe_send(rig.fe, VHU_ADD_MEM_REG,
					 VHU_NEED_REPLY, &one, sizeof(one),
					 fds, 1), 0);
			CHECK(is_refused(VHU_ADD_MEM_REG));
		}
		/* It goes on with what it has. */
		CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
		RIG_UNTIL(open_fds() == idle);
	}
	rig_close(&rig);
}

/* What would be memory, with a descriptor too few, or too many. */
static void memory_miscounted(void)
{
	const struct vhu_mem_table table = {
		.nr = 1,
		.region = { { 1ull << 40, 4096, 1ull << 40, 0 } },
	};
	int fds[2], idle;

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK_EQ(rig_connect(&rig, &with_acks), 0);
	fds[0] = fds[1] = rig.fe->region[0].fd;
	idle = open_fds();
	for (unsigned int nr = 0; nr <= 2; nr += 2) {
		CHECK_EQ(fe_send(rig.fe, VHU_SET_MEM_TABLE, VHU_NEED_REPLY,
				 &table, 8 + sizeof(table.region[0]), fds, nr),
			 0);
		CHECK(is_refused(VHU_SET_MEM_TABLE));
		CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
		RIG_UNTIL(open_fds() == idle);
	}
	rig_close(&rig);
}

static void messages_fatal(void)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2 };
	const unsigned int n = ARRAY_SIZE(fatal) + ARRAY_SIZE(refused);
	int before = open_fds();

	for (unsigned int i = 0; i < n; i++) {
		const struct bad_message *m =
			i < ARRAY_SIZE(fatal) ? &fatal[i]
					      : &refused[i - ARRAY_SIZE(fatal)];

		CHECK_EQ(rig_open(&rig, 2), 0);
		CHECK_EQ(rig_connect(&rig, &o), 0);
		CHECK_EQ(send_bad(m, 0), 0);
		pthread_join(rig.thread, NULL);
		rig.running = false;
		if (rig.result != -EPROTO)
			printf("# message %u of the tables\n", i);
		CHECK_EQ(rig.result, -EPROTO);
		CHECK_EQ(RIG_GET(rig.events[VU_EVENT_PROTOCOL]), 1);
		rig_close(&rig);
	}
	CHECK_EQ(open_fds(), before);
}

/* Streams that have no messages in them. */
static void raw_bytes(void)
{
	static const struct {
		size_t len;
		uint32_t head[3];
		int result;
		bool more;	/* is awaited, but does not come */
	} raw[] = {
		{ 12, { 1, 0, 0 }, -EPROTO, false },	/* version 0 */
		{ 12, { 1, 2, 0 }, -EPROTO, false },	/* version 2 */
		{ 12, { 1, 5, 0 }, -EPROTO, false },	/* a reply */
		{ 12, { 2, 1, 4096 }, -EPROTO, false },	/* too large */
		{ 12, { 2, 1, 0xffffffff }, -EPROTO, false },
		{ 5, { 2, 1, 8 }, -EPROTO, true },	/* half a header */
		{ 12, { 2, 1, 8 }, -EPROTO, true },	/* no payload */
		{ 0, { 0, 0, 0 }, 0, true },		/* nothing */
	};
	const struct fe_opts o = { .handshake_only = true };
	int before = open_fds(), fds[4];

	for (unsigned int i = 0; i < ARRAY_SIZE(raw); i++) {
		CHECK_EQ(rig_open(&rig, 2), 0);
		CHECK_EQ(rig_connect(&rig, &o), 0);
		for (int k = 0; k < 4; k++)
			fds[k] = rig.fe->region[0].fd;
		if (raw[i].len)
			CHECK_EQ(fe_send_raw(rig.fe, raw[i].head, raw[i].len,
					     fds, 4), 0);
		if (raw[i].more) {
			shutdown(rig.fe->sock, SHUT_WR);
		} else {
			/* It is seen by the header alone. */
			alarm(20);
			pthread_join(rig.thread, NULL);
			rig.running = false;
			alarm(0);
		}
		CHECK_EQ(rig_hang_up(&rig), raw[i].result);
		rig_close(&rig);
	}
	CHECK_EQ(open_fds(), before);
}

/* One more than there is room for: the kernel would leave it out. */
static void ninth_descriptor(void)
{
	const struct fe_opts o = { .handshake_only = true };
	int before = open_fds(), fds[9];

	for (unsigned int nr = 8; nr <= 9; nr++) {
		struct {
			struct vhu_hdr hdr;
			uint32_t nr, padding;
			uint64_t region[8][4];
		} __attribute__((packed)) m = {
			{ VHU_SET_MEM_TABLE, VHU_VERSION, 8 + 8 * 32 }, 8, 0,
			{ { 0 } },
		};

		CHECK_EQ(rig_open(&rig, 2), 0);
		CHECK_EQ(rig_connect(&rig, &o), 0);
		for (uint64_t i = 0; i < 8; i++) {
			m.region[i][0] = m.region[i][2] = i << 20;
			m.region[i][1] = 4096;
		}
		for (int i = 0; i < 9; i++)
			fds[i] = rig.fe->region[0].fd;
		CHECK_EQ(fe_send_raw(rig.fe, &m, sizeof(m), fds, nr), 0);
		shutdown(rig.fe->sock, SHUT_WR);
		CHECK_EQ(rig_hang_up(&rig), nr == 8 ? 0 : -EPROTO);
		rig_close(&rig);
	}
	CHECK_EQ(open_fds(), before);
}

/* A message that comes byte by byte is a message. */
static void dribble(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	uint32_t get[3] = { VHU_GET_FEATURES, VHU_VERSION, 0 };
	uint64_t value;
	struct vhu_hdr hdr;
	size_t size = sizeof(value);

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	for (unsigned int i = 0; i < sizeof(get); i++) {
		CHECK_EQ(fe_send_raw(rig.fe, (char *)get + i, 1, NULL, 0), 0);
		usleep(1000);
	}
	CHECK_EQ(fe_recv(rig.fe, &hdr, &value, &size, NULL), 0);
	CHECK_EQ(hdr.request, VHU_GET_FEATURES);
	CHECK(value & VIRTIO_F_VERSION1);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	rig_close(&rig);
}

/* Half a message, and the front end stays: the next one is not kept waiting. */
static void half_message(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	uint32_t get[3] = { VHU_GET_FEATURES, VHU_VERSION, 0 };

	for (unsigned int len = 1; len < sizeof(get); len += 6) {
		CHECK_EQ(rig_open(&rig, 1), 0);
		CHECK_EQ(rig_connect(&rig, &o), 0);
		CHECK_EQ(fe_send_raw(rig.fe, get, len, NULL, 0), 0);
		alarm(60);
		pthread_join(rig.thread, NULL);
		alarm(0);
		rig.running = false;
		CHECK_EQ(rig_hang_up(&rig), -ETIMEDOUT);
		rig_close(&rig);
	}
}

static void random_messages(void)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2 };
	int before = open_fds();

	CHECK_EQ(rig_open(&rig, 2), 0);
	for (int round = 0; round < 150; round++) {
		CHECK_EQ(rig_connect(&rig, &o), 0);
		for (int i = 0; i < 40; i++) {
			struct bad_message m = {
				.request = random32() % 44,
				.size = (uint32_t[]){ 0, 8, 8, 8, 40,
						      24 }[random32() % 6],
				.fds = random32() % 3,
				.word = { random32() % 4, random32() % 64,
					  random32() % 5, random32() },
			};

			/* Answers are not read, which is allowed, too. */
			if (send_bad(&m, random32() % 2 ? VHU_NEED_REPLY
							: 0) < 0)
				break;
			fe_kick_always(&rig.fe->ring[1]);
		}
		shutdown(rig.fe->sock, SHUT_WR);
		rig_hang_up(&rig);
	}
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	rig_close(&rig);
	CHECK_EQ(open_fds(), before);
}

/* Rings, memory and features in an order that makes no sense. */
static void wrong_order(void)
{
	const struct fe_opts o = { .handshake_only = true };
	struct vhu_state on = { .index = 0, .num = 1 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	/* No features yet, so no enabling either. */
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_ENABLE, &on, sizeof(on), NULL,
			0), -EREMOTEIO);
	CHECK_EQ(fe_set_features(rig.fe), 0);
	for (unsigned int q = 0; q < rig.fe->nr_rings; q++)
		CHECK_EQ(fe_ring_init(rig.fe, q), 0);
	/* A ring before there is memory. */
	CHECK_EQ(fe_start(rig.fe), -EREMOTEIO);
	CHECK_EQ(RIG_GET(rig.starts), 0);
	CHECK_EQ(fe_share_memory(rig.fe), 0);
	CHECK_EQ(fe_start(rig.fe), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	/* Features cannot change under running rings. */
	rig.fe->opts.no_event_idx = true;
	CHECK_EQ(fe_set_features(rig.fe), -EREMOTEIO);
	/* The memory of a running ring taken away: that ring is no more. */
	CHECK_EQ(fe_set(rig.fe, VHU_SET_MEM_TABLE, &(uint64_t){ 0 }, 8, NULL,
			0), 0);
	CHECK(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]) >= 1);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "wrong messages are refused, the connection stays",
		  messages_refused },
		{ "a ring that the guest put nowhere", guests_words },
		{ "memory that can't be is refused", memory_refused },
		{ "more or fewer descriptors than regions", memory_miscounted },
		{ "wrong messages without a way to refuse", messages_fatal },
		{ "bytes that are no message", raw_bytes },
		{ "a ninth descriptor", ninth_descriptor },
		{ "a message byte by byte", dribble },
		{ "half a message", half_message },
		{ "random messages", random_messages },
		{ "messages in a wrong order", wrong_order },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
