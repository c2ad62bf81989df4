/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The ring room with front ends and guests that break every rule there is.
 * Whatever they do breaks their queue, or their connection, with one word about
 * it; other queues go on, and the device serves the next front end. All of it
 * is also worth running under the sanitizers.
 */

#include "tests/c/vhostuser_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

static struct rig rig;

/* ---- rings ------------------------------------------------------------------ */

#define DATA_LEN 256u

/* What a broken driver works with. */
struct bad {
	struct fe *fe;
	struct fe_ring *r;
	struct fe_buf data;	/* zeroed memory for tables and buffers */
};

static void desc(struct bad *b, unsigned int i, uint64_t gpa, uint32_t len,
		 uint16_t flags, uint16_t next)
{
	b->r->desc[i].addr = gpa;
	b->r->desc[i].len = len;
	b->r->desc[i].flags = flags;
	b->r->desc[i].next = next;
}

static void table(struct bad *b, unsigned int i, uint64_t gpa, uint32_t len,
		  uint16_t flags, uint16_t next)
{
	struct vring_desc *d = b->data.p;

	d[i].addr = gpa;
	d[i].len = len;
	d[i].flags = flags;
	d[i].next = next;
}

static void offer(struct bad *b, uint16_t head)
{
	struct vring_avail *a = b->r->avail;

	a->ring[a->idx % b->r->num] = head;
	__atomic_store_n(&a->idx, (uint16_t)(a->idx + 1), __ATOMIC_RELEASE);
}

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define TABLE VRING_DESC_F_INDIRECT

static void loop_of_one(struct bad *b)
{
	desc(b, 0, b->data.gpa, 16, NEXT, 0);
	offer(b, 0);
}

static void loop_of_all(struct bad *b)
{
	for (unsigned int i = 0; i < b->r->num; i++)
		desc(b, i, b->data.gpa, 16, NEXT,
		     (uint16_t)((i + 1) % b->r->num));
	offer(b, 3);
}

static void head_out_of_range(struct bad *b)
{
	offer(b, (uint16_t)b->r->num);
}

static void head_far_out_of_range(struct bad *b)
{
	offer(b, 65535);
}

static void next_out_of_range(struct bad *b)
{
	desc(b, 0, b->data.gpa, 16, NEXT, (uint16_t)b->r->num);
	offer(b, 0);
}

static void index_jumps(struct bad *b)
{
	struct vring_avail *a = b->r->avail;

	a->idx = (uint16_t)(a->idx + b->r->num + 1);
}

static void index_goes_back(struct bad *b)
{
	b->r->avail->idx--;
}

static void head_twice(struct bad *b)
{
	RIG_SET(rig.hold, true);
	desc(b, 0, b->data.gpa, 16, 0, 0);
	offer(b, 0);
	offer(b, 0);
}

static void no_length(struct bad *b)
{
	desc(b, 0, b->data.gpa, 0, 0, 0);
	offer(b, 0);
}

static void four_gib(struct bad *b)
{
	desc(b, 0, b->data.gpa, UINT32_MAX, 0, 0);
	offer(b, 0);
}

static void outside_memory(struct bad *b)
{
	desc(b, 0, 1ull << 60, 16, 0, 0);
	offer(b, 0);
}

static void end_outside_memory(struct bad *b)
{
	const struct fe_region *m = &b->fe->region[b->fe->nr_regions - 1];

	desc(b, 0, m->gpa + m->size - 8, 16, 0, 0);
	offer(b, 0);
}

static void address_wraps(struct bad *b)
{
	desc(b, 0, UINT64_MAX - 7, 16, 0, 0);
	offer(b, 0);
}

static void writable_first(struct bad *b)
{
	desc(b, 0, b->data.gpa, 16, NEXT | WRITE, 1);
	desc(b, 1, b->data.gpa, 16, 0, 0);
	offer(b, 0);
}

static void table_empty(struct bad *b)
{
	desc(b, 0, b->data.gpa, 0, TABLE, 0);
	offer(b, 0);
}

static void table_short(struct bad *b)
{
	desc(b, 0, b->data.gpa, 15, TABLE, 0);
	offer(b, 0);
}

static void table_odd(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, 0, 0);
	desc(b, 0, b->data.gpa, 24, TABLE, 0);
	offer(b, 0);
}

static void table_huge(struct bad *b)
{
	desc(b, 0, b->data.gpa, 0xfffffff0u, TABLE, 0);
	offer(b, 0);
}

static void table_outside(struct bad *b)
{
	desc(b, 0, 1ull << 60, 32, TABLE, 0);
	offer(b, 0);
}

static void table_half_outside(struct bad *b)
{
	const struct fe_region *m = &b->fe->region[b->fe->nr_regions - 1];

	desc(b, 0, m->gpa + m->size - 8, 16, TABLE, 0);
	offer(b, 0);
}

static void table_nested(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, TABLE, 0);
	desc(b, 0, b->data.gpa, 16, TABLE, 0);
	offer(b, 0);
}

static void table_and_next(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, 0, 0);
	desc(b, 0, b->data.gpa, 16, TABLE | NEXT, 1);
	offer(b, 0);
}

static void table_loops(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, NEXT, 1);
	table(b, 1, b->data.gpa, 16, NEXT, 0);
	desc(b, 0, b->data.gpa, 32, TABLE, 0);
	offer(b, 0);
}

static void table_next_out_of_range(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, NEXT, 7);
	desc(b, 0, b->data.gpa, 32, TABLE, 0);
	offer(b, 0);
}

/* Sixteen times 256 MiB: nowhere out of range, but more than 32 bits say. */
static void chain_of_four_gib(struct bad *b)
{
	const struct fe_region *m = &b->fe->region[0];

	for (uint16_t i = 0; i < 64; i++)
		table(b, i, m->gpa, (uint32_t)m->size, NEXT,
		      (uint16_t)(i + 1));
	table(b, 64, m->gpa, (uint32_t)m->size, 0, 0);
	desc(b, 0, b->data.gpa, 65 * 16, TABLE, 0);
	offer(b, 0);
}

struct hostile_case {
	const char *name;
	void (*act)(struct bad *b);
	const char *text;	/* part of what is said */
};

static const struct hostile_case hostile[] = {
	{ "loop of one", loop_of_one, "loop" },
	{ "loop of all", loop_of_all, "loop" },
	{ "head out of range", head_out_of_range, "head 32 of a ring of 32" },
	{ "head far out", head_far_out_of_range, "head 65535" },
	{ "next out of range", next_out_of_range, "out of range" },
	{ "index jumps", index_jumps, "jumps" },
	{ "index goes back", index_goes_back, "jumps" },
	{ "head twice", head_twice, "in flight already" },
	{ "no length", no_length, "no length" },
	{ "4 GiB", four_gib, "outside" },
	{ "outside memory", outside_memory, "outside" },
	{ "end outside", end_outside_memory, "outside" },
	{ "address wraps", address_wraps, "wraps" },
	{ "writable first", writable_first, "follows a writable" },
	{ "table empty", table_empty, "odd length" },
	{ "table short", table_short, "odd length" },
	{ "table odd", table_odd, "odd length" },
	{ "table huge", table_huge, "too long" },
	{ "table outside", table_outside, "outside" },
	{ "table half outside", table_half_outside, "outside" },
	{ "table nested", table_nested, "nested" },
	{ "table and next", table_and_next, "next" },
	{ "table loops", table_loops, "loop" },
	{ "table next", table_next_out_of_range, "out of range" },
	{ "chain of 4 GiB", chain_of_four_gib, "longer than 4 GiB" },
};

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void one_hostile(const struct hostile_case *c)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2 };
	struct bad b = { 0 };
	uint64_t index = 1;

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	b.fe = rig.fe;
	b.r = &rig.fe->ring[1];
	CHECK_EQ(fe_alloc(rig.fe, 8192, &b.data), 0);
	memset(b.data.p, 0, 8192);
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_ERR, &index, sizeof(index),
			&b.r->err, 1), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	c->act(&b);
	fe_kick_always(b.r);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]) == 1);
	CHECK(strstr(rig.last, c->text));
	RIG_UNTIL(readable(b.r->err));
	/* The others go on, */
	RIG_SET(rig.hold, false);
	CHECK_EQ(rig_echo_once(rig.fe, 2, DATA_LEN), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 0, DATA_LEN), 0);
	fe_kick_always(b.r);
	usleep(2000);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]), 1);
	/* and after a reboot this one, too. */
	CHECK_EQ(rig_reboot(rig.fe), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_release(&rig);
	rig_close(&rig);
}

static void rings(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(hostile) && !check_failed;
	     i++) {
		one_hostile(&hostile[i]);
		if (check_failed)
			printf("# %s: %s\n", hostile[i].name, rig.last);
	}
}

/* ---- packed rings ----------------------------------------------------------- */

static void packed_offer(struct bad *b, unsigned int i, uint64_t gpa,
			 uint32_t len, uint16_t flags, uint16_t id)
{
	struct vring_packed_desc *d = &b->r->pdesc[i];

	d->addr = gpa;
	d->len = len;
	d->id = id;
	__atomic_store_n(&d->flags, (uint16_t)(flags | 1u << 7),
			 __ATOMIC_RELEASE);
}

static void packed_endless(struct bad *b)
{
	for (unsigned int i = b->r->num; i-- > 0;)
		packed_offer(b, i, b->data.gpa, 16, NEXT, 0);
}

static void packed_id(struct bad *b)
{
	packed_offer(b, 1, b->data.gpa, 16, 0, (uint16_t)b->r->num);
}

static void packed_twice(struct bad *b)
{
	RIG_SET(rig.hold, true);
	packed_offer(b, 1, b->data.gpa, 16, 0, 5);
	packed_offer(b, 2, b->data.gpa, 16, 0, 5);
}

static void packed_outside(struct bad *b)
{
	packed_offer(b, 1, 1ull << 50, 16, 0, 0);
}

static void packed_table_chained(struct bad *b)
{
	packed_offer(b, 2, b->data.gpa, 16, TABLE, 0);
	packed_offer(b, 1, b->data.gpa, 16, NEXT, 0);
}

static void packed_table_nested(struct bad *b)
{
	struct vring_packed_desc *d = b->data.p;

	d->addr = b->data.gpa;
	d->len = 16;
	d->flags = TABLE;
	packed_offer(b, 1, b->data.gpa, 16, TABLE, 0);
}

static void packed_table_odd(struct bad *b)
{
	packed_offer(b, 1, b->data.gpa, 17, TABLE, 0);
}

/* Chains that run hold more descriptors than there are. */
static void packed_too_many(struct bad *b)
{
	RIG_SET(rig.hold, true);
	for (unsigned int i = b->r->num - 1; i; i--)
		packed_offer(b, i, b->data.gpa, 16,
			     i + 1 < b->r->num ? NEXT : 0, 1);
	fe_kick_always(b->r);
	RIG_UNTIL(rig_held_now(&rig) == 1);
	/* The next lap: nothing was used, but here is more. */
	for (unsigned int i = b->r->num; i-- > 0;) {
		struct vring_packed_desc *d = &b->r->pdesc[i];

		d->addr = b->data.gpa;
		d->len = 16;
		d->id = 2;
		d->flags = (uint16_t)((i + 1 < b->r->num ? NEXT : 0) |
				      1u << 15);
	}
}

static const struct hostile_case hostile_packed[] = {
	{ "endless", packed_endless, "longer than the ring" },
	{ "id out of range", packed_id, "out of range" },
	{ "id twice", packed_twice, "in flight already" },
	{ "outside", packed_outside, "outside" },
	{ "table chained", packed_table_chained, "not alone" },
	{ "table nested", packed_table_nested, "nested" },
	{ "table odd", packed_table_odd, "odd length" },
	{ "too many", packed_too_many, "more descriptors" },
};

static void one_packed(const struct hostile_case *c)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2,
				   .packed = true };
	struct bad b = { 0 };

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	b.fe = rig.fe;
	b.r = &rig.fe->ring[1];
	CHECK_EQ(fe_alloc(rig.fe, 8192, &b.data), 0);
	memset(b.data.p, 0, 8192);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	c->act(&b);
	if (check_failed)
		return;
	fe_kick_always(b.r);
	for (int i = 0; i < 100 && !RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]);
	     i++) {
		usleep(10000);
		fe_kick_always(b.r);
	}
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]), 1);
	CHECK(strstr(rig.last, c->text));
	RIG_SET(rig.hold, false);
	CHECK_EQ(rig_echo_once(rig.fe, 2, DATA_LEN), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_release(&rig);
	rig_close(&rig);
}

static void packed_rings(void)
{
	for (unsigned int i = 0;
	     i < ARRAY_SIZE(hostile_packed) && !check_failed; i++) {
		one_packed(&hostile_packed[i]);
		if (check_failed)
			printf("# %s: %s\n", hostile_packed[i].name,
			       rig.last);
	}
}

/* ---- garbage ---------------------------------------------------------------- */

static uint32_t random_state = 1;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* Random bytes over rings that run, some of them nearly right. */
static void scribble(struct fe *fe, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct fe_ring *r = &fe->ring[random32() % fe->nr_rings];
		volatile uint16_t *p = r->mem[random32() % 3].p;
		struct vring_desc *d = r->mem[0].p;

		switch (random32() % 4) {
		case 0:
			p[random32() % 64] = (uint16_t)random32();
			break;
		case 1:
			p[random32() % 64] = (uint16_t)(random32() % 40);
			break;
		default:
			d += random32() % r->num;
			d->addr = fe->region[0].gpa + random32() % 65536;
			d->len = random32() % 5000;
			d->flags = (uint16_t)(random32() % 8);
			d->next = (uint16_t)(random32() % 33);
			p = r->mem[1].p;
			p[1]++;
		}
		fe_kick_always(r);
	}
}

static void garbage(bool packed)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2,
				   .packed = packed };

	CHECK_EQ(rig_open(&rig, 2), 0);
	for (int round = 0; round < 6; round++) {
		CHECK_EQ(rig_connect(&rig, &o), 0);
		for (int boot = 0; boot < 15; boot++) {
			scribble(rig.fe, 200);
			CHECK_EQ(rig_reboot(rig.fe), 0);
		}
		memset(rig.fe->ring[1].mem[0].p, 0, 32 * 16);
		CHECK_EQ(rig_reboot(rig.fe), 0);
		CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
		CHECK_EQ(rig_hang_up(&rig), 0);
	}
	CHECK(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]) > 0);
	rig_close(&rig);
}

static void random_rings(void)
{
	garbage(false);
}

static void random_packed_rings(void)
{
	garbage(true);
}

/* ---- lost memory ------------------------------------------------------------ */

static void file_cut(void)
{
	const struct fe_opts o = { .regions = 2, .mem_size = 8 << 20 };
	struct fe_region *m;
	struct fe_seg seg[2];
	struct fe_buf out;
	void *token;
	uint32_t len;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	m = &rig.fe->region[1];
	memset(m->map, 0xff, m->size);
	CHECK_EQ(fe_alloc(rig.fe, 4096, &out), 0);
	CHECK(out.gpa < m->gpa);
	CHECK(ftruncate(m->fd, 0) == 0);
	/* Read what is gone: zeros. */
	seg[0] = (struct fe_seg){ m->gpa + 8192, 4096, false };
	seg[1] = (struct fe_seg){ out.gpa, 4096, true };
	CHECK_EQ(fe_push(&rig.fe->ring[1], seg, 2, NULL), 0);
	fe_kick(&rig.fe->ring[1]);
	CHECK_EQ(fe_wait(&rig.fe->ring[1], 5000), 0);
	CHECK_EQ(fe_reap(&rig.fe->ring[1], &token, &len), 1);
	CHECK_EQ(len, 4096);
	CHECK_EQ(((uint8_t *)out.p)[17], RIG_XOR);
	/* Write there: nobody sees it, nobody dies. */
	seg[0] = (struct fe_seg){ out.gpa, 4096, false };
	seg[1] = (struct fe_seg){ m->gpa, 4096, true };
	CHECK_EQ(fe_push(&rig.fe->ring[1], seg, 2, NULL), 0);
	fe_kick(&rig.fe->ring[1]);
	CHECK_EQ(fe_wait(&rig.fe->ring[1], 5000), 0);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_MEMORY_LOST]) >= 1);
	rig_close(&rig);
}

static void rings_cut(void)
{
	const struct fe_opts o = { .mem_size = 8 << 20 };
	uint64_t value;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	CHECK(ftruncate(rig.fe->region[0].fd, 0) == 0);
	fe_kick_always(&rig.fe->ring[1]);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]) == 1);
	CHECK_EQ(fe_get(rig.fe, VHU_GET_FEATURES, &value), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_MEMORY_LOST]) >= 1, 1);
	rig_close(&rig);
}

/* ---- messages --------------------------------------------------------------- */

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
	uint32_t word[4];	/* start of the payload */
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
	{ VHU_SET_LOG_BASE, 16, 1, { 0 } },
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

static void messages_refused(void)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2,
				   .pf_mask = VHU_PF_MQ | VHU_PF_REPLY_ACK |
					      VHU_PF_RESET_DEVICE |
					      VHU_PF_INFLIGHT_SHMFD |
					      VHU_PF_MEM_SLOTS };
	int before = open_fds();
	struct vhu_hdr hdr;
	uint64_t value;
	size_t size;

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct bad_message *m = &refused[i];

		CHECK_EQ(send_bad(m, VHU_NEED_REPLY), 0);
		size = sizeof(value);
		if (fe_recv(rig.fe, &hdr, &value, &size, NULL) < 0 || !value ||
		    hdr.request != m->request) {
			printf("# message %u of the table\n", i);
			CHECK(false);
		}
		CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	}
	/* One word each, but not without end. */
	CHECK(RIG_GET(rig.events[VU_EVENT_PROTOCOL]) >= 1);
	CHECK(RIG_GET(rig.events[VU_EVENT_PROTOCOL]) < 10);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
	CHECK_EQ(open_fds(), before);
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
		uint32_t head[3];
		size_t len;
		int result;
	} raw[] = {
		{ { 1, 0, 0 }, 12, -EPROTO },		/* version 0 */
		{ { 1, 2, 0 }, 12, -EPROTO },		/* version 2 */
		{ { 1, 5, 0 }, 12, -EPROTO },		/* a reply */
		{ { 2, 1, 4096 }, 12, -EPROTO },	/* too large */
		{ { 2, 1, 0xffffffff }, 12, -EPROTO },
		{ { 2, 1, 8 }, 5, -EPROTO },		/* half a header */
		{ { 2, 1, 8 }, 12, -EPROTO },		/* no payload */
		{ { 0, 0, 0 }, 0, 0 },			/* nothing */
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
		shutdown(rig.fe->sock, SHUT_WR);
		CHECK_EQ(rig_hang_up(&rig), raw[i].result);
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
		{ "rings", rings },
		{ "packed rings", packed_rings },
		{ "random rings", random_rings },
		{ "random packed rings", random_packed_rings },
		{ "file cut", file_cut },
		{ "rings cut", rings_cut },
		{ "messages refused", messages_refused },
		{ "messages fatal", messages_fatal },
		{ "raw bytes", raw_bytes },
		{ "dribble", dribble },
		{ "random messages", random_messages },
		{ "wrong order", wrong_order },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
