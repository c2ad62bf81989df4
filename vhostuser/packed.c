/* SPDX-License-Identifier: MIT */
/*
 * Rings of the packed layout (virtio 1.2, 2.8): one array of descriptors that
 * the driver makes available and the device overwrites with what it used.
 *
 * Positions are counted over two laps, 0 .. 2 * num - 1: the lap is the wrap
 * counter. A batch is published by its first descriptor's flags, stored last;
 * the driver looks at no later one before.
 *
 * Chains complete out of order, and a used element may lie where a chain that
 * still runs had its descriptors. So that a successor of this process can hand
 * such a chain out again, its descriptors are copied to the arena when it is
 * taken: the first under its buffer id, further ones (without indirect tables)
 * in nodes linked by their id fields.
 *
 * Progress of a head, here a buffer id, is kept as in the split layout. The
 * difference is in publishing: last_batch holds the position of a batch whose
 * first flags may not have been stored yet.
 */

#include "vhostuser/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_AVAIL	(1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED	(1u << VRING_PACKED_DESC_F_USED)
#define WRAP_BIT	(1u << VRING_PACKED_EVENT_F_WRAP_CTR)
#define NO_BATCH	0xffffu
#define NO_NODE		0xffffu
#define LOOK_AHEAD	32u

/* ---- positions --------------------------------------------------------- */

static unsigned int slot_of(const struct vu_queue *q, unsigned int pos)
{
	return pos < q->num ? pos : pos - q->num;
}

static bool wrap_of(const struct vu_queue *q, unsigned int pos)
{
	return pos < q->num;
}

static uint16_t advance(const struct vu_queue *q, unsigned int pos,
			unsigned int n)
{
	pos += n;
	return (uint16_t)(pos < 2 * q->num ? pos : pos - 2 * q->num);
}

static unsigned int distance(const struct vu_queue *q, unsigned int from,
			     unsigned int to)
{
	return to >= from ? to - from : to + 2 * q->num - from;
}

/* Slot and wrap counter as messages and event areas have them. */
static uint16_t encode(const struct vu_queue *q, unsigned int pos)
{
	return (uint16_t)(slot_of(q, pos) | (wrap_of(q, pos) ? WRAP_BIT : 0));
}

static uint16_t decode(const struct vu_queue *q, unsigned int code)
{
	unsigned int slot = code & (WRAP_BIT - 1);

	if (slot >= q->num)
		slot = 0;	/* SET_VRING_BASE made no sense */
	return (uint16_t)(code & WRAP_BIT ? slot : slot + q->num);
}

static bool available(const struct vu_queue *q, unsigned int pos)
{
	unsigned int flags = le16toh(__atomic_load_n(
		&q->pdesc[slot_of(q, pos)].flags, __ATOMIC_ACQUIRE));

	return !(flags & FLAG_AVAIL) != wrap_of(q, pos) &&
	       !(flags & FLAG_USED) == wrap_of(q, pos);
}

/* ---- taking ------------------------------------------------------------ */

static const char *packed_indirect(struct vu_build *b, uint64_t addr,
				   uint32_t len)
{
	struct vring_packed_desc d;
	const char *why = NULL;
	unsigned int flags;

	if (!len || len % 16)
		return "an indirect table has an odd length";
	if (len / 16 > CHAIN_MAX_DESC)
		return "an indirect table is too long";
	for (uint32_t off = 0; off < len && !why; off += 16) {
		why = vu_build_load(b, addr + off, &d);
		if (why)
			return why;
		flags = le16toh(d.flags);
		if (flags & VRING_DESC_F_INDIRECT)
			return "an indirect table is nested";
		why = vu_build_add(b, le64toh(d.addr), le32toh(d.len),
				   flags & VRING_DESC_F_WRITE);
	}
	return why;
}

/* One descriptor of a chain of @n, already copied out of guest memory. */
static const char *packed_one(struct vu_queue *q, struct vu_build *b,
			      const struct vring_packed_desc *d,
			      unsigned int n)
{
	unsigned int flags = le16toh(d->flags);

	if (!(flags & VRING_DESC_F_INDIRECT))
		return vu_build_add(b, le64toh(d->addr), le32toh(d->len),
				    flags & VRING_DESC_F_WRITE);
	if (!q->indirect)
		return "indirect tables were not agreed on";
	if (n != 1)
		return "an indirect descriptor is not alone";
	return packed_indirect(b, le64toh(d->addr), le32toh(d->len));
}

/* Copy the chain at the leader's position to scratch: its length or -EPROTO. */
static int packed_copy(struct vu_queue *q)
{
	unsigned int i = slot_of(q, q->last_avail), n = 0;
	const volatile uint64_t *half;
	uint64_t both[2];

	do {
		if (n == q->num)
			return -EPROTO;
		half = (const volatile uint64_t *)&q->pdesc[i];
		both[0] = half[0];
		both[1] = half[1];
		memcpy(&q->scratch[n], both, sizeof(both));
		i = i + 1 == q->num ? 0 : i + 1;
	} while (le16toh(q->scratch[n++].flags) & VRING_DESC_F_NEXT);
	return (int)n;
}

/* Keep the @n descriptors in scratch for a successor: 0 or -ENOSPC. */
static int packed_save(struct vu_queue *q, uint16_t id, unsigned int n)
{
	uint16_t next = NO_NODE, node;
	int r = 0;

	if (n > 1) {
		pthread_mutex_lock(&q->lock);
		if (q->nr_nodes < n - 1)
			r = -ENOSPC;
		for (unsigned int i = n - 1; i && r == 0; i--) {
			node = q->nodes[--q->nr_nodes];
			q->saved[node] = q->scratch[i];
			q->saved[node].id = next;
			next = node;
		}
		pthread_mutex_unlock(&q->lock);
	}
	q->saved[id] = q->scratch[0];
	q->saved[id].id = next;
	q->slots[id] = (uint16_t)n;
	return r;
}

/* Give the nodes of a chain back; under lock. */
static void packed_unsave(struct vu_queue *q, uint16_t id)
{
	uint16_t node = q->saved[id].id;

	while (node != NO_NODE) {
		q->nodes[q->nr_nodes++] = node;
		node = q->saved[node].id;
	}
	q->saved[id].id = NO_NODE;
}

static int packed_again(struct vu_queue *q, struct chain *c)
{
	uint16_t id = q->again[q->next_again], node = id;
	const char *why;
	struct vu_build b;

	vu_build_begin(q, &b, c);
	c->head = id;
	why = b.table ? NULL : "there is no memory";
	for (; !why && node != NO_NODE; node = q->saved[node].id)
		why = packed_one(q, &b, &q->saved[node], q->slots[id]);
	if (why) {
		vu_build_end(q, c);
		vu_queue_break(q, "buffer %u: %s", id, why);
		return -ESHUTDOWN;
	}
	q->next_again++;
	c->again = true;
	return 1;
}

/* Build the chain in scratch, and keep it. */
static const char *packed_take(struct vu_queue *q, struct vu_build *b,
			       unsigned int n)
{
	unsigned int id = le16toh(q->scratch[n - 1].id);
	const char *why = b->table ? NULL : "there is no memory";
	struct vu_head *h;

	if (id >= q->num)
		return "its id is out of range";
	h = &q->inflight->head[id];
	if (vu_load(&h->word))
		return "it is in flight already";
	for (unsigned int i = 0; i < n && !why; i++)
		why = packed_one(q, b, &q->scratch[i], n);
	if (why)
		return why;
	if (packed_save(q, (uint16_t)id, n) < 0)
		return "more descriptors are in flight than the ring has";
	h->counter = q->counter++;
	arena_commit();
	vu_store(&h->word, vu_word(VU_TAKEN, 0, 0));
	b->chain->head = (uint16_t)id;
	b->chain->nr_desc = (uint16_t)n;
	return NULL;
}

/** vu_packed_look() - whether something is there */
bool vu_packed_look(struct vu_queue *q)
{
	return available(q, q->last_avail);
}

/** vu_packed_pop() - 1 with a chain, 0 when empty, -ESHUTDOWN when broken */
int vu_packed_pop(struct vu_queue *q, struct chain *c)
{
	struct vu_build b;
	const char *why;
	int n;

	if (q->next_again < q->nr_again)
		return packed_again(q, c);
	if (!available(q, q->last_avail))
		return 0;
	n = packed_copy(q);
	if (n < 0) {
		vu_queue_break(q, "a chain is longer than the ring");
		return -ESHUTDOWN;
	}
	vu_build_begin(q, &b, c);
	why = packed_take(q, &b, (unsigned int)n);
	if (why) {
		vu_build_end(q, c);
		vu_queue_break(q, "buffer %u: %s",
			       le16toh(q->scratch[n - 1].id), why);
		return -ESHUTDOWN;
	}
	q->last_avail = advance(q, q->last_avail, (unsigned int)n);
	q->ahead -= q->ahead < (unsigned int)n ? q->ahead : (unsigned int)n;
	return 1;
}

/** vu_packed_pending() - descriptors that wait, as of the last look */
unsigned int vu_packed_pending(struct vu_queue *q)
{
	unsigned int max = q->num < LOOK_AHEAD ? q->num : LOOK_AHEAD;

	if (!q->ahead)
		while (q->ahead < max &&
		       available(q, advance(q, q->last_avail, q->ahead)))
			q->ahead++;
	return q->ahead;
}

/** vu_packed_arm() - ask for a kick, look once more; whether there is work */
bool vu_packed_arm(struct vu_queue *q)
{
	uint16_t flags = VRING_PACKED_EVENT_FLAG_ENABLE;

	if (q->next_again < q->nr_again)
		return true;
	if (q->event_idx) {
		flags = VRING_PACKED_EVENT_FLAG_DESC;
		vu_store(&q->device_event->off_wrap,
			 htole16(encode(q, q->last_avail)));
	}
	__atomic_store_n(&q->device_event->flags, htole16(flags),
			 __ATOMIC_RELEASE);
	atomic_thread_fence(memory_order_seq_cst);
	return available(q, q->last_avail);
}

/** vu_packed_disarm() - no kicks wanted while the ring is worked on */
void vu_packed_disarm(struct vu_queue *q)
{
	vu_store(&q->device_event->flags,
		 htole16(VRING_PACKED_EVENT_FLAG_DISABLE));
}

/* ---- giving back ------------------------------------------------------- */

/** vu_packed_push() - note a completed buffer; under lock */
void vu_packed_push(struct vu_queue *q, uint16_t id, uint32_t len)
{
	struct vring_packed_desc *d = &q->pdesc[slot_of(q, q->used_next)];

	vu_store(&d->id, htole16(id));
	vu_store(&d->len, htole32(len));
	arena_commit();
	vu_store(&q->inflight->head[id].word,
		 vu_word(VU_DONE, len, q->used_next));
	q->used_next = advance(q, q->used_next, q->slots[id]);
	q->pending[q->nr_pending++] = id;
}

static uint16_t used_flags(const struct vu_queue *q, unsigned int pos,
			   uint32_t len)
{
	return htole16((uint16_t)((len ? VRING_DESC_F_WRITE : 0) |
				  (wrap_of(q, pos) ? FLAG_AVAIL | FLAG_USED
						   : 0)));
}

static bool packed_wants_signal(struct vu_queue *q)
{
	unsigned int added = distance(q, q->signalled, q->used_idx);
	uint16_t flags, where, event, now;

	q->signalled = q->used_idx;
	flags = le16toh(__atomic_load_n(&q->driver_event->flags,
					__ATOMIC_ACQUIRE));
	where = le16toh(vu_load(&q->driver_event->off_wrap));
	if (!q->signalled_valid || added >= q->num) {
		q->signalled_valid = true;
		return true;
	}
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !q->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	now = (uint16_t)slot_of(q, q->used_idx);
	event = where & (WRAP_BIT - 1);
	if (!(where & WRAP_BIT) == wrap_of(q, q->used_idx))
		event = (uint16_t)(event - q->num);
	return vring_need_event(event, now, (uint16_t)(now - added));
}

/** vu_packed_publish() - as in the split layout; under lock */
bool vu_packed_publish(struct vu_queue *q)
{
	struct vu_inflight *in = q->inflight;
	uint16_t first = q->used_idx, flags = 0;

	if (!q->nr_pending)
		return false;
	for (unsigned int i = 0; i < q->nr_pending; i++) {
		uint64_t word = vu_load(&in->head[q->pending[i]].word);
		uint16_t pos = vu_word_used(word);
		uint16_t f = used_flags(q, pos, vu_word_len(word));

		if (pos == first)
			flags = f;
		else
			vu_store(&q->pdesc[slot_of(q, pos)].flags, f);
	}
	in->last_batch = first;
	arena_commit();
	vu_store(&in->used_idx, q->used_next);
	arena_commit();
	for (unsigned int i = 0; i < q->nr_pending; i++) {
		packed_unsave(q, q->pending[i]);
		vu_store(&in->head[q->pending[i]].word, 0);
	}
	q->nr_pending = 0;
	__atomic_store_n(&q->pdesc[slot_of(q, first)].flags, flags,
			 __ATOMIC_RELEASE);
	arena_commit();
	in->last_batch = NO_BATCH;
	q->used_idx = q->used_next;
	atomic_thread_fence(memory_order_seq_cst);
	return packed_wants_signal(q);
}

/** vu_packed_unseen() - as in the split layout; under lock */
bool vu_packed_unseen(struct vu_queue *q)
{
	uint16_t flags = le16toh(vu_load(&q->driver_event->flags));

	if (flags == VRING_PACKED_EVENT_FLAG_DESC && q->event_idx)
		return le16toh(vu_load(&q->driver_event->off_wrap)) !=
		       encode(q, q->used_idx);
	return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
}

/* ---- recovery ---------------------------------------------------------- */

/** vu_packed_base() - what GET_VRING_BASE answers */
uint32_t vu_packed_base(const struct vu_queue *q)
{
	return encode(q, q->last_avail) | (uint32_t)encode(q, q->used_idx)
						  << 16;
}

static void packed_fresh(struct vu_queue *q)
{
	struct vu_inflight *in = q->inflight;

	for (unsigned int i = 0; i < q->num; i++)
		vu_store(&in->head[i].word, 0);
	in->version = 1;
	in->num = (uint16_t)q->num;
	in->last_batch = NO_BATCH;
	q->last_avail = decode(q, q->st->base);
	in->used_idx = decode(q, q->st->base >> 16);
	q->used_idx = q->used_next = in->used_idx;
	q->signalled = q->used_idx;
	q->nr_again = q->next_again = 0;
	q->nr_nodes = 0;
	for (unsigned int i = 0; i < q->num; i++)
		q->nodes[q->nr_nodes++] = (uint16_t)(VU_MAX_RING + i);
}

/* Finish a batch that the arena has published, and the ring perhaps not. */
static void packed_finish_batch(struct vu_queue *q)
{
	uint16_t pos = q->inflight->last_batch;
	struct vring_packed_desc *d;

	if (pos >= 2 * q->num || q->inflight->used_idx == pos)
		return;
	d = &q->pdesc[slot_of(q, pos)];
	/* Once the driver has seen it, it can look in any way but this. */
	if (available(q, pos))
		__atomic_store_n(&d->flags,
				 used_flags(q, pos, le32toh(vu_load(&d->len))),
				 __ATOMIC_RELEASE);
	q->inflight->last_batch = NO_BATCH;
}

/* Which nodes the chains in flight hold, and how long these are. */
static unsigned int packed_count(struct vu_queue *q, uint16_t id, bool *taken)
{
	uint16_t node = q->saved[id].id;
	unsigned int n = 1;

	while (node >= VU_MAX_RING && node < VU_MAX_RING + q->num &&
	       n <= q->num) {
		taken[node - VU_MAX_RING] = true;
		node = q->saved[node].id;
		n++;
	}
	q->slots[id] = (uint16_t)n;
	return n;
}

static void packed_adopt(struct vu_queue *q)
{
	struct vu_inflight *in = q->inflight;
	bool taken[VU_MAX_RING] = { false };
	unsigned int slots = 0;

	packed_finish_batch(q);
	q->used_idx = q->used_next = in->used_idx;
	vu_adopt_heads(q, 2 * q->num);
	for (unsigned int i = 0; i < q->num; i++)
		if (vu_load(&in->head[i].word) & 1)
			slots += packed_count(q, (uint16_t)i, taken);
	q->nr_nodes = 0;
	for (unsigned int i = 0; i < q->num; i++)
		if (!taken[i])
			q->nodes[q->nr_nodes++] = (uint16_t)(VU_MAX_RING + i);
	q->last_avail = advance(q, q->used_idx, slots);
	/* Their used elements again, in the order they had. */
	for (unsigned int i = 0, n = q->nr_pending; i < n; i++) {
		uint16_t id = q->pending[i];

		q->nr_pending = i;
		vu_packed_push(q, id, vu_word_len(vu_load(&in->head[id].word)));
	}
}

/** vu_packed_recover() - see vu_split_recover() */
void vu_packed_recover(struct vu_queue *q, bool resume)
{
	q->nr_pending = 0;
	q->ahead = 0;
	if (q->adopt)
		packed_adopt(q);
	else if (resume)
		q->last_avail = decode(q, q->st->base);
	else
		packed_fresh(q);
	for (unsigned int i = 0; i < q->num; i++) {
		uint64_t word = vu_load(&q->inflight->head[i].word);

		if (word && vu_word_progress(word) == VU_PARKED)
			vu_packed_push(q, (uint16_t)i, vu_word_len(word));
	}
	q->signalled_valid = false;
}
