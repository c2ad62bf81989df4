/* SPDX-License-Identifier: MIT */
/*
 * The dirty log: which pages of guest memory the device has written.
 *
 * A front end that moves a guest while it runs copies its memory meanwhile, and
 * once more what was written since. It learns that from a bitmap which it
 * shares (SET_LOG_BASE), one bit for each 4 KiB of guest-physical memory. We
 * set bits, it exchanges whole words for zero. The log is in use while there is
 * one and VHOST_F_LOG_ALL is among the features agreed on.
 *
 * A page is marked after it was written, by an atomic operation, which is a
 * full barrier here: a front end that clears the bit sees what was written
 * before. What the consumer wrote for a chain is marked when the chain is
 * pushed, before its head counts as done: a worker that dies in between leaves
 * a head that is taken again. The used ring is marked as a whole, after each
 * publishing and each change of the event index, and when a ring starts, which
 * covers what a worker that died had published last.
 *
 * Bits are set with the queue's lock held. So replacing the log takes each of
 * these locks once, after which no thread uses the old one. The
 * descriptor and its description are in the state, in two places: as with the
 * memory table the place that is not in use is filled, then activated, so that
 * a successor always finds one or the other. It maps it before any ring runs.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_PAGE	4096u	/* VHOST_LOG_PAGE of the specification */

struct vu_log {
	uint8_t *bits;
	uint64_t bytes;
	unsigned int bus;
};

/* ---- marking ------------------------------------------------------------- */

/* Memory that the log has no bits for is none that the front end copies. */
static void mark(struct vu_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa / LOG_PAGE, last = (gpa + len - 1) / LOG_PAGE;

	if (last / 8 >= log->bytes)
		last = log->bytes * 8 - 1;
	for (; page <= last; page++)
		__atomic_fetch_or(&log->bits[page / 8],
				  (uint8_t)(1u << page % 8), __ATOMIC_SEQ_CST);
}

/* The same of host memory that a chain, which is not done, keeps mapped. */
static void mark_host(struct vu_device *dev, struct vu_log *log, const char *p,
		      uint64_t len)
{
	const struct vu_table *t = __atomic_load_n(&dev->table,
						   __ATOMIC_ACQUIRE);
	uint64_t gpa, n;

	/* Regions whose mappings are neighbours may share an iovec. */
	for (; len; p += n, len -= n) {
		n = len;
		if (!vu_mem_gpa(t, p, &gpa, &n))
			return;
		mark(log, gpa, n);
	}
}

/** vu_dirty_chain() - @len bytes were written for @c; under the queue's lock */
void vu_dirty_chain(struct vu_queue *q, const struct chain *c, size_t len)
{
	const struct iovec *iov = chain_writable(c);
	struct vu_log *log = vu_dirty_log(q->dev);

	for (unsigned int i = 0; log && len && i < c->nr_writable; i++) {
		size_t n = iov[i].iov_len < len ? iov[i].iov_len : len;

		mark_host(q->dev, log, iov[i].iov_base, n);
		len -= n;
	}
}

/** vu_dirty_used() - the used ring was written; under the queue's lock */
void vu_dirty_used(struct vu_queue *q)
{
	struct vu_log *log = vu_dirty_log(q->dev);

	if (log)
		mark(log, q->used_gpa, VU_USED_BYTES((uint64_t)q->num));
}

/* ---- the log ------------------------------------------------------------- */

static int log_map(struct vu_device *dev, const struct vu_log_state *s,
		   struct vu_log **out)
{
	struct vu_log *log = calloc(1, sizeof(*log));
	void *map;
	int r;

	if (!log)
		return -ENOMEM;
	r = vu_mem_shared(dev, s->fd, s->at.mmap_size, s->at.mmap_offset, &map,
			  &log->bus);
	if (r < 0) {
		free(log);
		return r;
	}
	log->bits = map;
	log->bytes = s->at.mmap_size;
	*out = log;
	return 0;
}

static void log_unmap(struct vu_log *log)
{
	if (!log)
		return;
	vu_mem_unshare(log->bits, log->bytes, log->bus);
	free(log);
}

/**
 * vu_dirty_update() - have the log used, or not, as the features say
 *
 * On return no thread uses another log than that, or one where there is none.
 */
void vu_dirty_update(struct vu_device *dev)
{
	bool all = dev->state->features & 1ull << VU_F_LOG_ALL;
	struct vu_log *log = all ? dev->log_mapped : NULL;

	if (log == dev->log)
		return;
	__atomic_store_n(&dev->log, log, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct vu_queue *q = &dev->queue[i];

		/* A thread that had it before may have used the old log. */
		pthread_mutex_lock(&q->lock);
		if (q->running)
			vu_dirty_used(q);
		pthread_mutex_unlock(&q->lock);
	}
}

static void use_log(struct vu_device *dev, struct vu_log *log)
{
	struct vu_log *old = dev->log_mapped;

	dev->log_mapped = log;
	vu_dirty_update(dev);
	log_unmap(old);
}

/* Close what the place that is not in use still has. */
static void close_other(struct vu_state *s)
{
	struct vu_log_state *other = &s->log[!s->log_active];
	int fd = other->fd;

	other->fd = -1;
	arena_commit();
	if (fd >= 0)
		close(fd);
}

/**
 * vu_dirty_set() - SET_LOG_BASE: use this log and no other
 * @at:		where it is in the descriptor
 * @x:		the message; its descriptor is taken
 *
 * Return: 0, otherwise as vu_mem_shared().
 */
int vu_dirty_set(struct vu_device *dev, const struct vu_log_message *at,
		 struct vu_exchange *x)
{
	struct vu_state *s = dev->state;
	struct vu_log_state *next = &s->log[!s->log_active];
	struct vu_log *log;
	int r;

	/* Activated before a crash: only the rest is left to do. */
	if (x->fds[0] >= 0 && s->log[s->log_active].fd == x->fds[0]) {
		x->fds[0] = -1;
		arena_commit();
	}
	if (x->fds[0] < 0) {
		close_other(s);
		return dev->log_mapped ? 0 : -EINVAL;
	}
	next->at = *at;
	next->fd = x->fds[0];
	r = log_map(dev, next, &log);
	if (r < 0) {
		next->fd = -1;	/* the message still has it */
		return r;
	}
	arena_commit();
	s->log_active = !s->log_active;
	arena_commit();
	x->fds[0] = -1;
	arena_commit();
	use_log(dev, log);
	close_other(s);
	return 0;
}

/** vu_dirty_adopt() - map the log of an earlier worker; no ring runs */
int vu_dirty_adopt(struct vu_device *dev)
{
	struct vu_state *s = dev->state;
	struct vu_exchange *x = &s->exchange;
	struct vu_log *log;
	int r;

	/* A place that was being filled is the message's, which comes again. */
	if (x->nr_fds && x->fds[0] == s->log[!s->log_active].fd)
		s->log[!s->log_active].fd = -1;
	close_other(s);
	if (s->log[s->log_active].fd < 0)
		return 0;
	r = log_map(dev, &s->log[s->log_active], &log);
	if (r == 0)
		use_log(dev, log);
	return r;
}

/** vu_dirty_drop() - the front end is gone; no ring runs */
void vu_dirty_drop(struct vu_device *dev)
{
	struct vu_state *s = dev->state;

	use_log(dev, NULL);
	close_other(s);
	s->log_active = !s->log_active;
	close_other(s);
}

/** vu_dirty_close() - unmap it; the state stays */
void vu_dirty_close(struct vu_device *dev)
{
	log_unmap(dev->log_mapped);
	dev->log = dev->log_mapped = NULL;
}
