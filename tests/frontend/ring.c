/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of a ring, as in Linux' virtio_ring.c. slot[] is indexed by
 * the chain's head and remembers whose it is, and its indirect table, which is
 * kept; slot[].next is the free list and, within a chain, the copy of the
 * descriptor's next that a device can't scribble on. A wait arms the call,
 * looks at the ring once more and only then sleeps.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint16_t load(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static uint16_t *used_event(struct fe_ring *r)
{
	return &r->avail->ring[r->num];
}

static uint16_t *avail_event(const struct fe_ring *r)
{
	return (uint16_t *)&r->used->ring[r->num];
}

static int slots_init(struct fe_ring *r)
{
	r->slot = calloc(r->num, sizeof(*r->slot));
	if (!r->slot)
		return -ENOMEM;
	for (unsigned int i = 0; i < r->num; i++)
		r->slot[i].next = (uint16_t)(i + 1);
	r->free_head = 0;
	r->nr_free = (uint16_t)r->num;
	return 0;
}

int fe_ring_alloc(struct fe_ring *r)
{
	const size_t len[3] = {
		r->num * sizeof(struct vring_desc),
		sizeof(struct vring_avail) + (r->num + 1) * sizeof(uint16_t),
		sizeof(struct vring_used) + sizeof(uint16_t) +
			r->num * sizeof(struct vring_used_elem),
	};
	int ret;

	if (r->num < 2 || (r->num & (r->num - 1)))
		return -EINVAL;
	for (int i = 0; i < 3; i++) {
		ret = fe_alloc(r->fe, len[i], &r->mem[i]);
		if (ret < 0)
			return ret;
		memset(r->mem[i].p, 0, len[i]);
	}
	r->desc = r->mem[0].p;
	r->avail = r->mem[1].p;
	r->used = r->mem[2].p;
	return slots_init(r);
}

void fe_ring_place(const struct fe_ring *r, struct vhu_addr *addr,
		   uint32_t *base)
{
	addr->desc = (uintptr_t)r->desc;
	addr->avail = (uintptr_t)r->avail;
	addr->used = (uintptr_t)r->used;
	*base = r->last_used;
}

static int slot_table(struct fe_ring *r, struct fe_slot *slot, unsigned int n)
{
	size_t len = n * sizeof(struct vring_desc);

	if (slot->table.p && slot->table.len >= len)
		return 0;
	fe_free(r->fe, &slot->table);
	return fe_alloc(r->fe, len, &slot->table);
}

static void fill(struct vring_desc *d, const struct fe_seg *seg, bool more,
		 uint16_t next)
{
	d->addr = seg->gpa;
	d->len = seg->len;
	d->flags = (uint16_t)((seg->write ? VRING_DESC_F_WRITE : 0) |
			      (more ? VRING_DESC_F_NEXT : 0));
	d->next = more ? next : 0;
}

static void push_indirect(struct fe_ring *r, const struct fe_seg *seg,
			  unsigned int n)
{
	struct fe_slot *slot = &r->slot[r->free_head];
	struct vring_desc *d = &r->desc[r->free_head];
	struct vring_desc *table = slot->table.p;

	for (unsigned int i = 0; i < n; i++)
		fill(&table[i], &seg[i], i + 1 < n, (uint16_t)(i + 1));
	d->addr = slot->table.gpa;
	d->len = (uint32_t)(n * sizeof(*table));
	d->flags = VRING_DESC_F_INDIRECT;
	d->next = 0;
	r->free_head = slot->next;
}

static void push_direct(struct fe_ring *r, const struct fe_seg *seg,
			unsigned int n)
{
	uint16_t i = r->free_head;

	for (unsigned int k = 0; k < n; k++) {
		fill(&r->desc[i], &seg[k], k + 1 < n, r->slot[i].next);
		i = r->slot[i].next;
	}
	r->free_head = i;
}

static void publish(struct fe_ring *r, const struct fe_seg *seg,
		    unsigned int n, bool indirect)
{
	uint16_t head = r->free_head;

	if (indirect)
		push_indirect(r, seg, n);
	else
		push_direct(r, seg, n);
	r->avail->ring[r->next_avail & (r->num - 1)] = head;
	r->next_avail++;
	store(&r->avail->idx, r->next_avail);
}

int fe_push(struct fe_ring *r, const struct fe_seg *seg, unsigned int n,
	    void *token)
{
	bool indirect = n > 1 && r->fe->features & VIRTIO_F_INDIRECT;
	struct fe_slot *slot = &r->slot[r->free_head];
	int ret;

	if (n == 0)
		return -EINVAL;
	if (r->nr_free < (indirect ? 1 : n))
		return -ENOSPC;
	if (indirect) {
		ret = slot_table(r, slot, n);
		if (ret < 0)
			return ret;
	}
	slot->token = token;
	slot->busy = true;
	slot->ndesc = (uint16_t)(indirect ? 1 : n);
	r->nr_free = (uint16_t)(r->nr_free - slot->ndesc);
	publish(r, seg, n, indirect);
	return 0;
}

static bool need_kick(struct fe_ring *r)
{
	if (r->fe->features & VIRTIO_F_EVENT_IDX)
		return vring_need_event(load(avail_event(r)), r->next_avail,
					r->kicked);
	return !(load(&r->used->flags) & VRING_USED_F_NO_NOTIFY);
}

void fe_kick_always(struct fe_ring *r)
{
	const uint64_t one = 1;

	r->kicked = r->next_avail;
	r->kicks++;
	if (r->doorbell) {
		*r->doorbell = (uint16_t)r->index;
		return;
	}
	if (write(r->kick, &one, sizeof(one)) < 0)
		r->kicks--;
}

bool fe_kick(struct fe_ring *r)
{
	bool need;

	/* Pairs with the device's barrier between arming its event and the
	 * last look at the ring. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	need = need_kick(r);
	r->kicked = r->next_avail;
	if (need)
		fe_kick_always(r);
	return need;
}

static void give_back(struct fe_ring *r, uint16_t head)
{
	uint16_t last = head;

	for (unsigned int i = 1; i < r->slot[head].ndesc; i++)
		last = r->slot[last].next;
	r->slot[last].next = r->free_head;
	r->free_head = head;
	r->nr_free = (uint16_t)(r->nr_free + r->slot[head].ndesc);
	r->slot[head].busy = false;
}

int fe_reap(struct fe_ring *r, void **token, uint32_t *len)
{
	uint16_t idx = load(&r->used->idx);
	struct vring_used_elem e;

	if (idx == r->last_used)
		return 0;
	if ((uint16_t)(idx - r->last_used) > r->num)
		return fe_broken(r->fe, "used index jumps from %u to %u",
				 r->last_used, idx);
	e = r->used->ring[r->last_used & (r->num - 1)];
	if (e.id >= r->num || !r->slot[e.id].busy)
		return fe_broken(r->fe, "used element %u is not in flight",
				 e.id);
	r->last_used++;
	*token = r->slot[e.id].token;
	*len = e.len;
	give_back(r, (uint16_t)e.id);
	return 1;
}

bool fe_arm(struct fe_ring *r)
{
	/* Without the event index interrupts stay enabled all the time. */
	if (r->fe->features & VIRTIO_F_EVENT_IDX)
		store(used_event(r), r->last_used);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(&r->used->idx) != r->last_used;
}

/* A device in a guest calls its kernel, which is not asked: look again. */
static int look_often(struct fe_ring *r, int timeout_ms)
{
	struct timespec ts;
	int64_t end = 0, now;

	do {
		usleep(100);
		if (fe_arm(r))
			return 0;
		clock_gettime(CLOCK_MONOTONIC, &ts);
		now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
		end = end ? end : now + timeout_ms;
	} while (now < end);
	return -ETIMEDOUT;
}

int fe_wait(struct fe_ring *r, int timeout_ms)
{
	uint64_t count;
	int ret;

	if (fe_arm(r))
		return 0;
	if (r->doorbell)
		return look_often(r, timeout_ms);
	if (!r->fe->opts.blocking) {
		ret = fe_sleep(r->fe, r->call, timeout_ms);
		if (ret < 0)
			return ret;
	}
	r->interrupts++;
	if (read(r->call, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	return 0;
}
