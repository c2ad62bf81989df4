/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_BAD_RINGS_H
#define VMSHARE_TESTS_BAD_RINGS_H

/*
 * Split rings that break the rules, one function for each way, and what the
 * device says of it. The ring is idle before, and the driver's from then on
 * only to be reset.
 */

#include "tests/frontend/fe.h"

/* What a broken driver works with. */
struct bad {
	struct fe *fe;
	struct fe_ring *r;
	struct fe_buf data;	/* zeroed memory for tables and buffers */
};

static inline void desc(struct bad *b, unsigned int i, uint64_t gpa,
			uint32_t len, uint16_t flags, uint16_t next)
{
	b->r->desc[i].addr = gpa;
	b->r->desc[i].len = len;
	b->r->desc[i].flags = flags;
	b->r->desc[i].next = next;
}

static inline void table(struct bad *b, unsigned int i, uint64_t gpa,
			 uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc *d = b->data.p;

	d[i].addr = gpa;
	d[i].len = len;
	d[i].flags = flags;
	d[i].next = next;
}

static inline void offer(struct bad *b, uint16_t head)
{
	struct vring_avail *a = b->r->avail;

	a->ring[a->idx & (b->r->num - 1)] = head;
	__atomic_store_n(&a->idx, (uint16_t)(a->idx + 1), __ATOMIC_RELEASE);
}

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define TABLE VRING_DESC_F_INDIRECT

static inline void loop_of_one(struct bad *b)
{
	desc(b, 0, b->data.gpa, 16, NEXT, 0);
	offer(b, 0);
}

static inline void loop_of_all(struct bad *b)
{
	for (unsigned int i = 0; i < b->r->num; i++)
		desc(b, i, b->data.gpa, 16, NEXT,
		     (uint16_t)((i + 1) % b->r->num));
	offer(b, 3);
}

static inline void head_out_of_range(struct bad *b)
{
	offer(b, (uint16_t)b->r->num);
}

static inline void head_far_out_of_range(struct bad *b)
{
	offer(b, 65535);
}

static inline void next_out_of_range(struct bad *b)
{
	desc(b, 0, b->data.gpa, 16, NEXT, (uint16_t)b->r->num);
	offer(b, 0);
}

static inline void index_jumps(struct bad *b)
{
	struct vring_avail *a = b->r->avail;

	a->idx = (uint16_t)(a->idx + b->r->num + 1);
}

static inline void index_goes_back(struct bad *b)
{
	b->r->avail->idx--;
}

static inline void head_twice(struct bad *b)
{
	desc(b, 0, b->data.gpa, 16, 0, 0);
	offer(b, 0);
	offer(b, 0);
}

static inline void no_length(struct bad *b)
{
	desc(b, 0, b->data.gpa, 0, 0, 0);
	offer(b, 0);
}

static inline void four_gib(struct bad *b)
{
	desc(b, 0, b->data.gpa, UINT32_MAX, 0, 0);
	offer(b, 0);
}

static inline void outside_memory(struct bad *b)
{
	desc(b, 0, 1ull << 60, 16, 0, 0);
	offer(b, 0);
}

static inline void end_outside_memory(struct bad *b)
{
	const struct fe_region *m = &b->fe->region[b->fe->nr_regions - 1];

	desc(b, 0, m->gpa + m->size - 8, 16, 0, 0);
	offer(b, 0);
}

static inline void address_wraps(struct bad *b)
{
	desc(b, 0, UINT64_MAX - 7, 16, 0, 0);
	offer(b, 0);
}

static inline void writable_first(struct bad *b)
{
	desc(b, 0, b->data.gpa, 16, NEXT | WRITE, 1);
	desc(b, 1, b->data.gpa, 16, 0, 0);
	offer(b, 0);
}

static inline void table_empty(struct bad *b)
{
	desc(b, 0, b->data.gpa, 0, TABLE, 0);
	offer(b, 0);
}

static inline void table_short(struct bad *b)
{
	desc(b, 0, b->data.gpa, 15, TABLE, 0);
	offer(b, 0);
}

static inline void table_odd(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, 0, 0);
	desc(b, 0, b->data.gpa, 24, TABLE, 0);
	offer(b, 0);
}

static inline void table_huge(struct bad *b)
{
	desc(b, 0, b->data.gpa, 0xfffffff0u, TABLE, 0);
	offer(b, 0);
}

static inline void table_outside(struct bad *b)
{
	desc(b, 0, 1ull << 60, 32, TABLE, 0);
	offer(b, 0);
}

static inline void table_half_outside(struct bad *b)
{
	const struct fe_region *m = &b->fe->region[b->fe->nr_regions - 1];

	desc(b, 0, m->gpa + m->size - 8, 16, TABLE, 0);
	offer(b, 0);
}

static inline void table_nested(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, TABLE, 0);
	desc(b, 0, b->data.gpa, 16, TABLE, 0);
	offer(b, 0);
}

static inline void table_and_next(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, 0, 0);
	desc(b, 0, b->data.gpa, 16, TABLE | NEXT, 1);
	offer(b, 0);
}

static inline void table_loops(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, NEXT, 1);
	table(b, 1, b->data.gpa, 16, NEXT, 0);
	desc(b, 0, b->data.gpa, 32, TABLE, 0);
	offer(b, 0);
}

static inline void table_next_out_of_range(struct bad *b)
{
	table(b, 0, b->data.gpa, 16, NEXT, 7);
	desc(b, 0, b->data.gpa, 32, TABLE, 0);
	offer(b, 0);
}

/* Sixteen times 256 MiB: nowhere out of range, but more than 32 bits say. */
static inline void chain_of_four_gib(struct bad *b)
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

#endif
