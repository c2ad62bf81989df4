/* SPDX-License-Identifier: MIT */
/*
 * What both ring formats share: slots that remember which chain is whose and
 * keep their indirect tables, kicks, and the wait for a call. A wait arms the
 * call, looks at the ring once more and only then sleeps.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const struct fe_ring_ops *ops(const struct fe_ring *r)
{
	return r->fe->features & VIRTIO_F_PACKED ? &fe_packed : &fe_split;
}

int fe_slots_init(struct fe_ring *r)
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

int fe_slot_table(struct fe_ring *r, struct fe_slot *slot, unsigned int n)
{
	size_t len = n * sizeof(struct vring_desc);

	if (slot->table.p && slot->table.len >= len)
		return 0;
	fe_free(r->fe, &slot->table);
	return fe_alloc(r->fe, len, &slot->table);
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
		ret = fe_slot_table(r, slot, n);
		if (ret < 0)
			return ret;
	}
	slot->token = token;
	slot->busy = true;
	slot->ndesc = (uint16_t)(indirect ? 1 : n);
	r->nr_free = (uint16_t)(r->nr_free - slot->ndesc);
	ops(r)->push(r, seg, n, indirect);
	return 0;
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
	need = ops(r)->need_kick(r);
	r->kicked = r->next_avail;
	if (need)
		fe_kick_always(r);
	return need;
}

int fe_reap(struct fe_ring *r, void **token, uint32_t *len)
{
	return ops(r)->reap(r, token, len);
}

/* A device in a guest calls its kernel, which is not asked: look again. */
static int look_often(struct fe_ring *r, int timeout_ms)
{
	struct timespec ts;
	int64_t end = 0, now;

	do {
		usleep(100);
		if (ops(r)->arm(r))
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

	if (ops(r)->arm(r))
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
