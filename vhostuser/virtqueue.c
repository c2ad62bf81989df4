/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues: available ring in, chains out, used ring back.
 *
 * Everything in the ring is the guest's and can change while it is looked at.
 * Each index and each descriptor is therefore loaded once, through volatile,
 * and only the copy is checked and used. Whatever is wrong breaks this queue
 * and nothing else.
 *
 * Progress is kept per head in struct vu_head so that it survives this
 * process. With "used" for the index of a head's used element:
 *
 *	pop	counter, then word = TAKEN; the available index is not
 *		stored, it is used_idx + heads in flight (+ skew)
 *	push	used element in guest memory, then word = DONE(len, used)
 *	publish	used_idx = next, then the words of the batch = 0, then
 *		the used index in guest memory
 *
 * Words are cleared before the guest can see the index, since a head that it
 * sees may be taken again by the leader at once. A successor stores used_idx
 * into the ring, which is idempotent, frees DONE heads from before it, goes on
 * with those from after it, and hands TAKEN ones out again.
 *
 * Barriers: a store-release of the used index pairs with the driver's read
 * barrier; a full one stands between that store and the load of used_event,
 * and between the store of avail_event and the load of the available index.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- descriptors to iovecs --------------------------------------------- */

/* A chain that is being made of descriptors. */
struct build {
	const struct vu_table *table;
	struct chain *chain;
	unsigned int nr;		/* iovecs filled */
};

/*
 * Append one buffer of the guest to the chain: guest-physical, @write: the
 * device's to write. Adjacent memory is merged; what spans regions is cut.
 * Return: NULL or what is wrong with it.
 */
static const char *build_add(struct build *b, uint64_t addr, uint32_t len,
			     bool write)
{
	struct chain *c = b->chain;
	unsigned int first = write ? c->nr_readable : 0;
	uint64_t left = len, end;

	if (!write && c->nr_writable)
		return "a readable buffer follows a writable one";
	if (!len)
		return "a buffer has no length";
	if (__builtin_add_overflow(addr, left - 1, &end))
		return "a buffer wraps around the address space";
	if (c->readable + c->writable + left > UINT32_MAX)
		return "a chain is longer than 4 GiB";
	while (left) {
		uint64_t n = left;
		char *host = vu_mem_guest(b->table, addr, &n);
		struct iovec *last = c->iov + b->nr;

		if (!host)
			return "a buffer is outside the guest's memory";
		if (b->nr > first &&
		    (char *)last[-1].iov_base + last[-1].iov_len == host) {
			last[-1].iov_len += n;
		} else if (b->nr == CHAIN_MAX_IOV) {
			return "a chain has too many pieces";
		} else {
			last->iov_base = host;
			last->iov_len = n;
			b->nr++;
		}
		addr += n;
		left -= n;
	}
	if (write) {
		c->nr_writable = b->nr - c->nr_readable;
		c->writable += len;
	} else {
		c->nr_readable = b->nr;
		c->readable += len;
	}
	return NULL;
}

/* Sixteen bytes that need not be aligned, each half loaded once. */
struct unaligned {
	uint64_t half[2];
} __attribute__((packed));

/* Copy one descriptor out of an indirect table; NULL or what is wrong. */
static const char *build_load(struct build *b, uint64_t addr,
			      struct vring_desc *desc)
{
	uint64_t n = 16, copy[2];
	const volatile struct unaligned *u;
	volatile char *p;

	p = vu_mem_guest(b->table, addr, &n);
	if (p && n == 16) {
		u = (const volatile struct unaligned *)p;
		copy[0] = u->half[0];
		copy[1] = u->half[1];
		memcpy(desc, copy, sizeof(copy));
		return NULL;
	}
	for (uint64_t i = 0; i < 16; i++) {
		n = 1;
		p = vu_mem_guest(b->table, addr + i, &n);
		if (!p)
			return "an indirect table is outside memory";
		((char *)desc)[i] = *p;
	}
	return NULL;
}

static void load_desc(const struct vring_desc *d, struct vring_desc *copy)
{
	const volatile uint64_t *half = (const volatile uint64_t *)d;
	uint64_t both[2] = { half[0], half[1] };

	memcpy(copy, both, sizeof(*copy));
}

static const char *walk_table(struct build *b, uint64_t addr, uint32_t len)
{
	unsigned int n = len / 16, i = 0, seen = 0;
	struct vring_desc d;
	const char *why;
	uint16_t flags;

	if (!len || len % 16)
		return "an indirect table has an odd length";
	if (n > CHAIN_MAX_DESC)
		return "an indirect table is too long";
	do {
		if (i >= n)
			return "an indirect descriptor is out of range";
		if (seen++ == n)
			return "an indirect table is a loop";
		why = build_load(b, addr + (uint64_t)i * 16, &d);
		if (why)
			return why;
		flags = le16toh(d.flags);
		if (flags & VRING_DESC_F_INDIRECT)
			return "an indirect table is nested";
		why = build_add(b, le64toh(d.addr), le32toh(d.len),
				flags & VRING_DESC_F_WRITE);
		if (why)
			return why;
		i = le16toh(d.next);
	} while (flags & VRING_DESC_F_NEXT);
	return NULL;
}

static const char *walk(struct vu_queue *q, struct build *b, uint16_t head)
{
	unsigned int i = head, seen = 0;
	struct vring_desc d;
	const char *why;
	uint16_t flags;

	do {
		if (i >= q->num)
			return "a descriptor is out of range";
		if (seen++ == q->num)
			return "a chain is a loop";
		b->chain->nr_desc = (uint16_t)seen;
		load_desc(&q->desc[i], &d);
		flags = le16toh(d.flags);
		if (flags & VRING_DESC_F_INDIRECT) {
			if (!q->indirect)
				return "indirect tables were not agreed on";
			if (flags & VRING_DESC_F_NEXT)
				return "an indirect descriptor has a next one";
			return walk_table(b, le64toh(d.addr), le32toh(d.len));
		}
		why = build_add(b, le64toh(d.addr), le32toh(d.len),
				flags & VRING_DESC_F_WRITE);
		if (why)
			return why;
		i = le16toh(d.next);
	} while (flags & VRING_DESC_F_NEXT);
	return NULL;
}

/*
 * Count a chain and get the table to build it with. From here until
 * build_end() or push no mapping goes away; see memmap.
 */
static void build_begin(struct vu_queue *q, struct build *b, struct chain *c)
{
	unsigned int p = vu_load(&q->dev->parity);

	c->map = (void *)(uintptr_t)p;
	__atomic_store_n(&q->taken[p], q->taken[p] + 1, __ATOMIC_RELEASE);
	/* Counted before looked up: membarrier() in the other thread. */
	atomic_signal_fence(memory_order_seq_cst);
	b->table = __atomic_load_n(&q->dev->table, __ATOMIC_ACQUIRE);
	b->chain = c;
	b->nr = 0;
	c->nr_readable = c->nr_writable = 0;
	c->readable = c->writable = 0;
	c->nr_desc = 1;
	c->queue = (uint16_t)q->index;
	c->epoch = q->epoch;
	c->again = false;
}

static void build_end(struct vu_queue *q, struct chain *c)
{
	unsigned int p = (unsigned int)(uintptr_t)c->map;

	__atomic_store_n(&q->taken[p], q->taken[p] - 1, __ATOMIC_RELEASE);
}

/* ---- available ring ---------------------------------------------------- */

static int pop_head(struct vu_queue *q, struct chain *c, uint16_t head)
{
	struct build b;
	const char *why;

	build_begin(q, &b, c);
	c->head = head;
	why = b.table ? walk(q, &b, head) : "there is no memory";
	if (!why)
		return 0;
	build_end(q, c);
	vu_queue_break(q, "head %u: %s", head, why);
	return -ESHUTDOWN;
}

/* Chains that an earlier worker had taken come first, in their order. */
static int pop_again(struct vu_queue *q, struct chain *c)
{
	int r = pop_head(q, c, q->again[q->next_again]);

	if (r < 0)
		return r;
	q->next_again++;
	c->again = true;
	return 1;
}

/** vu_ring_look() - look at the available index; whether something is there */
bool vu_ring_look(struct vu_queue *q)
{
	q->shadow_avail = le16toh(__atomic_load_n(q->avail_idx,
						  __ATOMIC_ACQUIRE));
	return q->shadow_avail != q->last_avail;
}

/** vu_ring_pop() - 1 with a chain, 0 when empty, -ESHUTDOWN when broken */
int vu_ring_pop(struct vu_queue *q, struct chain *c)
{
	struct vu_head *h;
	uint16_t head;
	int r;

	if (q->next_again < q->nr_again)
		return pop_again(q, c);
	if (q->shadow_avail == q->last_avail && !vu_ring_look(q))
		return 0;
	if ((uint16_t)(q->shadow_avail - q->last_avail) > q->num) {
		vu_queue_break(q, "available index jumps from %u to %u",
			       q->last_avail, q->shadow_avail);
		return -ESHUTDOWN;
	}
	head = le16toh(vu_load(&q->avail_ring[q->last_avail & (q->num - 1)]));
	if (head >= q->num) {
		vu_queue_break(q, "head %u of a ring of %u", head, q->num);
		return -ESHUTDOWN;
	}
	h = &q->inflight->head[head];
	if (vu_load(&h->word)) {
		vu_queue_break(q, "head %u is in flight already", head);
		return -ESHUTDOWN;
	}
	r = pop_head(q, c, head);
	if (r < 0)
		return r;
	h->counter = q->counter++;
	arena_commit();
	vu_store(&h->word, vu_word(VU_TAKEN, 0, 0));
	q->last_avail++;
	return 1;
}

/* The leader has written the event index, which it does without the lock. */
static void event_written(struct vu_queue *q)
{
	if (!vu_dirty_log(q->dev))
		return;
	pthread_mutex_lock(&q->lock);
	vu_dirty_used(q);
	pthread_mutex_unlock(&q->lock);
}

/**
 * vu_ring_arm() - ask the driver for a kick, then look once more
 * @after:	how many requests may wait before the one that is worth a kick;
 *		without event indexes each is
 *
 * Return: whether there is something to pop.
 */
bool vu_ring_arm(struct vu_queue *q, uint16_t after)
{
	if (q->next_again < q->nr_again)
		return true;
	if (q->event_idx)
		vu_store(q->avail_event,
			 htole16((uint16_t)(q->last_avail + after)));
	else
		vu_store(q->used_flags, htole16(0));
	event_written(q);
	atomic_thread_fence(memory_order_seq_cst);
	return vu_ring_look(q);
}

/** vu_ring_disarm() - no kicks wanted while the ring is worked on */
void vu_ring_disarm(struct vu_queue *q)
{
	/* With event indexes the old one simply falls behind. */
	if (q->event_idx)
		return;
	vu_store(q->used_flags, htole16(VRING_USED_F_NO_NOTIFY));
	event_written(q);
}

/* ---- used ring --------------------------------------------------------- */

static void write_used(struct vu_queue *q, uint16_t head, uint32_t len)
{
	struct vring_used_elem *e = &q->used_ring[q->used_next & (q->num - 1)];

	vu_store(&e->id, htole32((uint32_t)head));
	vu_store(&e->len, htole32(len));
	arena_commit();
	vu_store(&q->inflight->head[head].word,
		 vu_word(VU_DONE, len, q->used_next));
	q->used_next++;
}

/** vu_ring_push() - note a completed head; under lock */
void vu_ring_push(struct vu_queue *q, uint16_t head, uint32_t len)
{
	/*
	 * Only where a front end makes heads in its in-flight table look free,
	 * so that they come once more before they are published.
	 */
	if (q->nr_pending == VU_MAX_RING)
		vu_ring_publish(q);
	write_used(q, head, len);
	q->pending[q->nr_pending++] = head;
}

/* Whether the driver wants to know; looks at what came since the last look. */
static bool wants_signal(struct vu_queue *q)
{
	uint16_t old = q->signalled, event;

	if (!q->event_idx)
		return !(le16toh(vu_load(q->avail_flags)) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	event = le16toh(vu_load(q->used_event));
	q->signalled = q->used_idx;
	if (q->signalled_valid)
		return vring_need_event(event, q->used_idx, old);
	q->signalled_valid = true;
	return true;
}

/**
 * vu_ring_publish() - show the driver all that was pushed; under lock
 *
 * Return: whether the driver is to be signalled.
 */
bool vu_ring_publish(struct vu_queue *q)
{
	if (!q->nr_pending)
		return false;
	vu_store(&q->inflight->used_idx, q->used_next);
	arena_commit();
	for (unsigned int i = 0; i < q->nr_pending; i++)
		vu_store(&q->inflight->head[q->pending[i]].word, 0);
	q->nr_pending = 0;
	__atomic_store_n(q->used_idx_mem, htole16(q->used_next),
			 __ATOMIC_RELEASE);
	q->used_idx = q->used_next;
	vu_dirty_used(q);
	atomic_thread_fence(memory_order_seq_cst);
	return wants_signal(q);
}

/** vu_ring_unseen() - may the driver wait for what it has? under lock */
bool vu_ring_unseen(struct vu_queue *q)
{
	if (q->event_idx)
		return le16toh(vu_load(q->used_event)) != q->used_idx;
	return !(le16toh(vu_load(q->avail_flags)) &
		 VRING_AVAIL_F_NO_INTERRUPT);
}

/* ---- recovery ---------------------------------------------------------- */

struct left_head {
	uint64_t order;
	uint16_t head;
};

static int left_order(const void *a, const void *b)
{
	const struct left_head *x = a, *y = b;

	return (x->order > y->order) - (x->order < y->order);
}

static void left_sort(struct left_head *left, unsigned int n, uint16_t *heads)
{
	if (n)
		qsort(left, n, sizeof(left[0]), left_order);
	for (unsigned int i = 0; i < n; i++)
		heads[i] = left[i].head;
}

/*
 * Sort out the heads that another process left in flight. Fills pending (done
 * but not published, in the order of their used positions) and again (taken, in
 * the order of taking), and frees what was published.
 * Return: heads in flight.
 */
static unsigned int adopt_heads(struct vu_queue *q)
{
	struct left_head taken[VU_MAX_RING], done[VU_MAX_RING];
	unsigned int nr_taken = 0, nr_done = 0, parked = 0;
	struct vu_inflight *in = q->inflight;

	for (unsigned int i = 0; i < q->num; i++) {
		uint64_t word = vu_load(&in->head[i].word);
		uint16_t ahead = (uint16_t)(vu_word_used(word) - in->used_idx);

		if (!word)
			continue;
		if (in->head[i].counter >= q->counter)
			q->counter = in->head[i].counter + 1;
		if (vu_word_progress(word) == VU_PARKED) {
			parked++;
		} else if (vu_word_progress(word) != VU_DONE) {
			taken[nr_taken].order = in->head[i].counter;
			taken[nr_taken++].head = (uint16_t)i;
		} else if (ahead < 1 << 15) {
			done[nr_done].order = ahead;
			done[nr_done++].head = (uint16_t)i;
		} else {
			vu_store(&in->head[i].word, 0);
		}
	}
	left_sort(taken, nr_taken, q->again);
	left_sort(done, nr_done, q->pending);
	q->nr_again = nr_taken;
	q->next_again = 0;
	q->nr_pending = nr_done;
	return nr_taken + nr_done + parked;
}

static void recover_fresh(struct vu_queue *q)
{
	struct vu_inflight *in = q->inflight;

	for (unsigned int i = 0; i < q->num; i++)
		vu_store(&in->head[i].word, 0);
	in->version = 1;
	in->num = (uint16_t)q->num;
	in->used_idx = le16toh(vu_load(q->used_idx_mem));
	q->used_idx = q->used_next = in->used_idx;
	q->last_avail = (uint16_t)q->st->base;
	q->st->skew = (uint16_t)(q->last_avail - q->used_idx);
	q->nr_again = q->next_again = 0;
}

/* What was done while the ring was stopped gets its used elements now. */
static void recover_parked(struct vu_queue *q)
{
	for (unsigned int i = 0; i < q->num; i++) {
		uint64_t word = vu_load(&q->inflight->head[i].word);

		if (word && vu_word_progress(word) == VU_PARKED)
			vu_ring_push(q, (uint16_t)i, vu_word_len(word));
	}
}

static void recover_adopted(struct vu_queue *q)
{
	unsigned int left = adopt_heads(q), n = q->nr_pending;

	q->used_idx = q->used_next = q->inflight->used_idx;
	q->last_avail = (uint16_t)(q->used_idx + left + q->st->skew);
	vu_store(q->used_idx_mem, htole16(q->used_idx));
	/* Their used elements are there already; again does no harm. */
	for (unsigned int i = 0; i < n; i++) {
		uint16_t head = q->pending[i];
		uint64_t word = vu_load(&q->inflight->head[head].word);

		q->nr_pending = i;
		vu_ring_push(q, head, vu_word_len(word));
	}
}

/**
 * vu_ring_recover() - set the indices of a ring that starts; under lock
 * @resume:	it goes on where it was stopped
 *
 * Afterwards publish and signal.
 */
void vu_ring_recover(struct vu_queue *q, bool resume)
{
	q->nr_pending = 0;
	if (q->adopt)
		recover_adopted(q);
	else if (resume)
		q->last_avail = (uint16_t)q->st->base;
	else
		recover_fresh(q);
	recover_parked(q);
	q->shadow_avail = q->last_avail;
	q->signalled_valid = false;
}
