/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of a packed ring (virtio 1.2, 2.8). One array that both
 * sides write; a descriptor is available or used by its two flag bits against
 * a wrap counter. slot[] is indexed by buffer id; its free list hands out ids.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <string.h>

#define AVAIL_BIT	(1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_BIT	(1u << VRING_PACKED_DESC_F_USED)
#define WRAP_BIT	15

static uint16_t load(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static int packed_init(struct fe_ring *r)
{
	const size_t len[3] = {
		r->num * sizeof(struct vring_packed_desc),
		sizeof(struct vring_packed_desc_event),
		sizeof(struct vring_packed_desc_event),
	};
	int ret;

	if (r->num < 2)
		return -EINVAL;
	for (int i = 0; i < 3; i++) {
		ret = fe_alloc(r->fe, len[i], &r->mem[i]);
		if (ret < 0)
			return ret;
		memset(r->mem[i].p, 0, len[i]);
	}
	r->pdesc = r->mem[0].p;
	r->driver = r->mem[1].p;
	r->device = r->mem[2].p;
	r->avail_wrap = r->used_wrap = true;
	return fe_slots_init(r);
}

static void packed_place(const struct fe_ring *r, struct vhu_addr *addr,
			 uint32_t *base)
{
	uint32_t at = r->last_used | ((uint32_t)r->used_wrap << WRAP_BIT);

	addr->desc = (uintptr_t)r->pdesc;
	addr->avail = (uintptr_t)r->driver;
	addr->used = (uintptr_t)r->device;
	*base = at | at << 16;
}

static void packed_rewind(struct fe_ring *r, uint32_t base)
{
	r->last_used = base & ((1u << WRAP_BIT) - 1);
	r->used_wrap = base >> WRAP_BIT & 1;
	r->next_avail = r->kicked = r->last_used;
	r->avail_wrap = r->used_wrap;
	memset(r->pdesc, 0, r->num * sizeof(*r->pdesc));
}

static uint16_t seg_flags(const struct fe_seg *seg, bool more)
{
	return (uint16_t)((seg->write ? VRING_DESC_F_WRITE : 0) |
			  (more ? VRING_DESC_F_NEXT : 0));
}

static uint16_t avail_flags(const struct fe_ring *r)
{
	return r->avail_wrap ? AVAIL_BIT : USED_BIT;
}

static void advance(struct fe_ring *r)
{
	if (++r->next_avail == r->num) {
		r->next_avail = 0;
		r->avail_wrap = !r->avail_wrap;
	}
}

static void push_indirect(struct fe_ring *r, const struct fe_seg *seg,
			  unsigned int n, uint16_t id)
{
	struct vring_packed_desc *d = &r->pdesc[r->next_avail];
	struct fe_slot *slot = &r->slot[id];
	struct vring_packed_desc *table = slot->table.p;

	for (unsigned int i = 0; i < n; i++) {
		table[i].addr = seg[i].gpa;
		table[i].len = seg[i].len;
		table[i].id = 0;
		table[i].flags = seg_flags(&seg[i], false);
	}
	d->addr = slot->table.gpa;
	d->len = (uint32_t)(n * sizeof(*table));
	d->id = id;
	store(&d->flags, (uint16_t)(VRING_DESC_F_INDIRECT | avail_flags(r)));
	advance(r);
}

static void push_direct(struct fe_ring *r, const struct fe_seg *seg,
			unsigned int n, uint16_t id)
{
	uint16_t *first = &r->pdesc[r->next_avail].flags;
	uint16_t first_flags = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct vring_packed_desc *d = &r->pdesc[r->next_avail];
		uint16_t flags = (uint16_t)(seg_flags(&seg[i], i + 1 < n) |
					    avail_flags(r));

		d->addr = seg[i].gpa;
		d->len = seg[i].len;
		d->id = id;
		if (i == 0)
			first_flags = flags;
		else
			d->flags = flags;
		advance(r);
	}
	/* The whole chain becomes available with its first descriptor. */
	store(first, first_flags);
}

static void packed_push(struct fe_ring *r, const struct fe_seg *seg,
			unsigned int n, bool indirect)
{
	uint16_t id = r->free_head;

	r->free_head = r->slot[id].next;
	if (indirect)
		push_indirect(r, seg, n, id);
	else
		push_direct(r, seg, n, id);
}

static bool packed_need_kick(struct fe_ring *r)
{
	uint16_t flags = load(&r->device->flags);
	uint16_t off_wrap, event;
	uint16_t added;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	off_wrap = load(&r->device->off_wrap);
	event = off_wrap & ((1u << WRAP_BIT) - 1);
	if (off_wrap >> WRAP_BIT != r->avail_wrap)
		event = (uint16_t)(event - r->num);
	added = r->next_avail >= r->kicked ?
			(uint16_t)(r->next_avail - r->kicked) :
			(uint16_t)(r->next_avail + r->num - r->kicked);
	return vring_need_event(event, r->next_avail,
				(uint16_t)(r->next_avail - added));
}

static bool is_used(const struct fe_ring *r)
{
	uint16_t flags = load(&r->pdesc[r->last_used].flags);
	bool avail = flags & AVAIL_BIT, used = flags & USED_BIT;

	return avail == used && used == r->used_wrap;
}

static int packed_reap(struct fe_ring *r, void **token, uint32_t *len)
{
	struct vring_packed_desc *d = &r->pdesc[r->last_used];
	struct fe_slot *slot;
	uint16_t id;

	if (r->nr_free == r->num || !is_used(r))
		return 0;
	id = d->id;
	if (id >= r->num || !r->slot[id].busy)
		return fe_broken(r->fe, "used id %u is not in flight", id);
	slot = &r->slot[id];
	*token = slot->token;
	*len = d->len;
	r->last_used = (uint16_t)(r->last_used + slot->ndesc);
	if (r->last_used >= r->num) {
		r->last_used = (uint16_t)(r->last_used - r->num);
		r->used_wrap = !r->used_wrap;
	}
	slot->busy = false;
	slot->next = r->free_head;
	r->free_head = id;
	r->nr_free = (uint16_t)(r->nr_free + slot->ndesc);
	return 1;
}

static bool packed_arm(struct fe_ring *r)
{
	if (r->fe->features & VIRTIO_F_EVENT_IDX) {
		r->driver->off_wrap = (uint16_t)(r->last_used |
						 r->used_wrap << WRAP_BIT);
		store(&r->driver->flags, VRING_PACKED_EVENT_FLAG_DESC);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return r->nr_free != r->num && is_used(r);
}

const struct fe_ring_ops fe_packed = {
	.init = packed_init,
	.rewind = packed_rewind,
	.push = packed_push,
	.need_kick = packed_need_kick,
	.reap = packed_reap,
	.arm = packed_arm,
	.place = packed_place,
};
