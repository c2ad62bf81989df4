/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory: which file holds which guest-physical addresses, where
 * it is mapped here, and when it may be unmapped.
 *
 * The connection's thread makes tables; leaders read the current one while
 * they turn descriptors into iovecs. A table is immutable, published by one
 * store. Regions that old and new table agree on keep their mapping, so that
 * hot-plug does not disturb running rings.
 *
 * A retired table, and with it the mappings only it had, goes when no chain
 * that may point into it is left. Counting chains per table would be one
 * contended atomic operation each; instead every queue counts chains taken and
 * done under the device's "parity", with plain stores of its leader and of
 * whoever holds its lock. After a new table is published, membarrier() makes
 * sure that each leader either counted its chain already or will see the new
 * table; then a parity whose counts are equal once has no chain of before.
 * Both parities have to be seen so; new chains are steered to the other one
 * meanwhile. Where there is no membarrier(), old tables go when no ring
 * runs and nothing is in flight.
 *
 * What becomes of memory that the front end takes away by cutting its file is
 * in bus.c; here is only what the connection's thread does about it later.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/membarrier.h>

/* ---- regions ----------------------------------------------------------- */

static bool region_sane(const struct vu_memory_region *at)
{
	uint64_t end;

	return at->size &&
	       !__builtin_add_overflow(at->gpa, at->size - 1, &end) &&
	       !__builtin_add_overflow(at->uva, at->size - 1, &end) &&
	       !__builtin_add_overflow(at->offset, at->size, &end) &&
	       end <= INT64_MAX;
}

static bool ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b,
			   uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

static bool regions_overlap(const struct vu_memory_region *a,
			    const struct vu_memory_region *b)
{
	return ranges_overlap(a->gpa, a->size, b->gpa, b->size) ||
	       ranges_overlap(a->uva, a->size, b->uva, b->size);
}

static void region_free(struct vu_region *r)
{
	vu_bus_del(r->bus);
	munmap(r->map, r->map_len);
	free(r);
}

/* Map @at of @fd, which stays the caller's. */
static int region_map(struct vu_device *dev, const struct vu_memory_region *at,
		      int fd, struct vu_region **out)
{
	size_t block = (size_t)sysconf(_SC_PAGESIZE), slack;
	struct vu_region *r;
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* Beyond the end of a file every access is SIGBUS: refuse it now. */
	if (S_ISREG(st.st_mode) &&
	    at->offset + at->size > (uint64_t)st.st_size)
		return -EFBIG;
	/* A huge page file wants offset and length in units of its pages. */
	if (st.st_blksize > (blksize_t)block &&
	    !(st.st_blksize & (st.st_blksize - 1)) && st.st_blksize <= 1 << 30)
		block = (size_t)st.st_blksize;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	slack = at->offset & (block - 1);
	r->at = *at;
	r->block = block;
	r->bus = VU_BUS_NONE;
	r->st_dev = st.st_dev;
	r->st_ino = st.st_ino;
	r->map_len = (at->size + slack + block - 1) & ~(block - 1);
	r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)(at->offset - slack));
	if (r->map == MAP_FAILED) {
		err = -errno;
		free(r);
		return err;
	}
	r->host = (char *)r->map + slack;
	madvise(r->map, r->map_len, MADV_DONTDUMP);
	err = vu_bus_add(r->map, r->map_len, block, &dev->memory_lost,
			 dev->wake, &r->bus);
	if (err < 0)
		region_free(r);
	else
		*out = r;
	return err;
}

/**
 * vu_mem_shared() - map a part of a file that is shared, but not guest memory
 * @fd:		stays the caller's
 * @map:	@size bytes; vu_mem_unshare() it
 * @bus:	its entry in the SIGBUS table
 *
 * Return: 0, -EINVAL or -EFBIG for a part that can't be, -errno of mmap().
 */
int vu_mem_shared(struct vu_device *dev, int fd, uint64_t size, uint64_t offset,
		  void **map, unsigned int *bus)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end;
	struct stat st;
	int r;

	if (!size || offset % page ||
	    __builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (end > (uint64_t)st.st_size)
		return -EFBIG;
	*map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    (off_t)offset);
	if (*map == MAP_FAILED)
		return -errno;
	r = vu_bus_add(*map, (size + page - 1) & ~(page - 1), page,
		       &dev->memory_lost, dev->wake, bus);
	if (r < 0)
		munmap(*map, size);
	return r;
}

/** vu_mem_unshare() - unmap what vu_mem_shared() mapped */
void vu_mem_unshare(void *map, uint64_t size, unsigned int bus)
{
	vu_bus_del(bus);
	munmap(map, size);
}

/* ---- tables ------------------------------------------------------------ */

static void table_free(struct vu_table *t)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (!--t->span[i].region->tables)
			region_free(t->span[i].region);
	free(t);
}

/* Insert by guest-physical address. */
static void table_insert(struct vu_table *t, struct vu_region *r)
{
	unsigned int i = t->nr++;

	for (; i && t->span[i - 1].gpa > r->at.gpa; i--)
		t->span[i] = t->span[i - 1];
	t->span[i] = (struct vu_span){ .gpa = r->at.gpa,
				       .size = r->at.size,
				       .host = r->host,
				       .region = r };
	r->tables++;
}

/* The mapping of an old table where it is that of the same file. */
static struct vu_region *table_same(const struct vu_table *t,
				    const struct vu_region_state *s)
{
	struct stat st;

	if (!t || fstat(s->fd, &st) < 0)
		return NULL;
	for (unsigned int i = 0; i < t->nr; i++) {
		struct vu_region *r = t->span[i].region;

		if (!memcmp(&r->at, &s->at, sizeof(r->at)) &&
		    r->st_dev == st.st_dev && r->st_ino == st.st_ino)
			return r;
	}
	return NULL;
}

/* Map what @s says; mappings of the current table are used again. */
static int table_build(struct vu_device *dev, const struct vu_table_state *s,
		       struct vu_table **out)
{
	struct vu_region *r;
	struct vu_table *t;
	int err;

	t = calloc(1, sizeof(*t) + s->nr * sizeof(t->span[0]));
	if (!t)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->nr; i++) {
		const struct vu_region_state *rs = &s->region[i];

		err = region_sane(&rs->at) ? 0 : -EINVAL;
		for (unsigned int j = 0; j < i && !err; j++)
			if (regions_overlap(&rs->at, &s->region[j].at))
				err = -EEXIST;
		r = err ? NULL : table_same(dev->table, rs);
		if (!err && !r)
			err = region_map(dev, &rs->at, rs->fd, &r);
		if (err || !r) {
			table_free(t);
			return err ? err : -ENOMEM;
		}
		table_insert(t, r);
	}
	*out = t;
	return 0;
}

static bool parity_idle(struct vu_device *dev, unsigned int p)
{
	/*
	 * done first: a count that is behind makes this false, never true.
	 * Pairs with the release in push: what its chain did is over.
	 */
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct vu_queue *q = &dev->queue[i];
		uint32_t done = __atomic_load_n(&q->done[p], __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&q->taken[p], __ATOMIC_ACQUIRE) != done)
			return false;
	}
	return true;
}

static bool rings_stopped(struct vu_device *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		if (dev->queue[i].running)
			return false;
	return true;
}

/**
 * vu_mem_reclaim() - unmap what no chain can point into any more
 *
 * Return: whether something is left to be tried again later.
 */
bool vu_mem_reclaim(struct vu_device *dev)
{
	unsigned int idle = 0, now = vu_load(&dev->parity), wanted = 0;
	struct vu_table **p, *t;

	if (!dev->retired)
		return false;
	for (unsigned int i = 0; i < 2; i++)
		if (parity_idle(dev, i))
			idle |= 1u << i;
	if (!dev->membarrier && (idle != 3 || !rings_stopped(dev)))
		return true;
	for (p = &dev->retired; (t = *p);) {
		t->unseen &= ~idle;
		wanted |= t->unseen;
		if (t->unseen) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		table_free(t);
	}
	/* Steer new chains away from the parity that has to become idle. */
	if (wanted & 1u << now && idle & 1u << !now)
		vu_store(&dev->parity, !now);
	return dev->retired;
}

/* Make @t, or none, the table; the old one goes when its chains are gone. */
static void table_publish(struct vu_device *dev, struct vu_table *t)
{
	struct vu_table *old = dev->table;

	__atomic_store_n(&dev->table, t, __ATOMIC_RELEASE);
	if (!old)
		return;
	if (dev->membarrier)
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	old->unseen = 3;
	old->next = dev->retired;
	dev->retired = old;
}

/*
 * Go over to the table that was prepared in the inactive half of the state.
 * Rings that move or vanish with it are stopped before and started after.
 */
static int table_switch(struct vu_device *dev, struct vu_exchange *x)
{
	struct vu_state *s = dev->state;
	struct vu_table_state *next = &s->table[!s->active];
	bool moved[CHAIN_MAX_QUEUES] = { false };
	struct vu_table *t;
	int r;

	r = table_build(dev, next, &t);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct vu_queue *q = &dev->queue[i];

		if (q->running && vu_queue_map(q, t, false) < 0) {
			moved[i] = true;
			vu_queue_stop(q);
		}
	}
	next->seq = x->seq;
	arena_commit();
	s->active = !s->active;
	arena_commit();
	for (unsigned int i = 0; i < x->nr_fds; i++)
		x->fds[i] = -1;
	table_publish(dev, t);
	vu_mem_reclaim(dev);
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		if (moved[i] && vu_queue_try_start(&dev->queue[i]) < 0)
			vu_queue_break(&dev->queue[i],
				       "its ring is outside the memory");
	return 0;
}

/* Close what the table before the switch had and the active one has not. */
static void close_dropped(struct vu_state *s)
{
	const struct vu_table_state *now = &s->table[s->active];
	struct vu_table_state *old = &s->table[!s->active];
	unsigned int j;

	for (unsigned int i = 0; i < old->nr; i++) {
		int fd = old->region[i].fd;

		for (j = 0; j < now->nr && now->region[j].fd != fd; j++)
			;
		if (j < now->nr)
			continue;
		old->region[i].fd = -1;
		arena_commit();
		if (fd >= 0)
			close(fd);
	}
	old->nr = 0;
}

/* A message that made the active table before a crash is not done again. */
static bool already_done(const struct vu_state *s, struct vu_exchange *x)
{
	if (s->table[s->active].seq != x->seq)
		return false;
	for (unsigned int i = 0; i < x->nr_fds; i++)
		x->fds[i] = -1;
	return true;
}

/** vu_mem_set() - SET_MEM_TABLE: these regions and no others */
int vu_mem_set(struct vu_device *dev, const struct vu_memory *m,
	       struct vu_exchange *x)
{
	struct vu_state *s = dev->state;
	struct vu_table_state *next = &s->table[!s->active];
	int r;

	if (already_done(s, x))
		return 0;
	for (unsigned int i = 0; i < m->nr; i++) {
		next->region[i].at = m->region[i];
		next->region[i].fd = x->fds[i];
	}
	next->nr = m->nr;
	r = table_switch(dev, x);
	if (r == 0)
		close_dropped(s);
	return r;
}

/** vu_mem_add() - ADD_MEM_REG: one more */
int vu_mem_add(struct vu_device *dev, const struct vu_memory_region *at,
	       struct vu_exchange *x)
{
	struct vu_state *s = dev->state;
	const struct vu_table_state *now = &s->table[s->active];
	struct vu_table_state *next = &s->table[!s->active];

	if (already_done(s, x))
		return 0;
	if (now->nr == VU_MAX_SLOTS)
		return -ENOSPC;
	memcpy(next->region, now->region, now->nr * sizeof(now->region[0]));
	next->region[now->nr].at = *at;
	next->region[now->nr].fd = x->fds[0];
	next->nr = now->nr + 1;
	return table_switch(dev, x);
}

/** vu_mem_remove() - REM_MEM_REG: the one with this address and size */
int vu_mem_remove(struct vu_device *dev, const struct vu_memory_region *at,
		  struct vu_exchange *x)
{
	struct vu_state *s = dev->state;
	const struct vu_table_state *now = &s->table[s->active];
	struct vu_table_state *next = &s->table[!s->active];
	struct vu_exchange none = { .seq = x->seq };
	int r;

	/* A descriptor may come with it and is of no use. */
	if (s->table[s->active].seq == x->seq)
		return 0;
	next->nr = 0;
	for (unsigned int i = 0; i < now->nr; i++) {
		const struct vu_memory_region *a = &now->region[i].at;

		if (a->gpa != at->gpa || a->uva != at->uva ||
		    a->size != at->size)
			next->region[next->nr++] = now->region[i];
	}
	if (next->nr == now->nr)
		return -ENOENT;
	r = table_switch(dev, &none);
	if (r == 0)
		close_dropped(s);
	return r;
}

/** vu_mem_clear() - the front end is gone; no ring runs */
void vu_mem_clear(struct vu_device *dev)
{
	struct vu_state *s = dev->state;

	table_publish(dev, NULL);
	s->table[!s->active].nr = 0;
	arena_commit();
	s->active = !s->active;
	close_dropped(s);
	s->table[0].seq = s->table[1].seq = 0;
	vu_mem_reclaim(dev);
}

/** vu_mem_close() - unmap everything; no thread uses the device any more */
void vu_mem_close(struct vu_device *dev)
{
	struct vu_table *t = dev->table;

	if (t) {
		t->next = dev->retired;
		dev->retired = t;
		dev->table = NULL;
	}
	while ((t = dev->retired)) {
		dev->retired = t->next;
		table_free(t);
	}
}

/** vu_mem_adopt() - map the regions of an earlier worker */
int vu_mem_adopt(struct vu_device *dev)
{
	struct vu_table *t;
	int r;

	r = table_build(dev, &dev->state->table[dev->state->active], &t);
	if (r == 0)
		table_publish(dev, t);
	return r;
}

/* ---- addresses --------------------------------------------------------- */

/**
 * vu_mem_guest() - host address of guest-physical memory
 * @len:	bytes wanted; cut to what lies in one region
 *
 * Return: NULL where there is no memory.
 */
void *vu_mem_guest(const struct vu_table *t, uint64_t gpa, uint64_t *len)
{
	unsigned int lo = 0, hi = t->nr;

	/* The last region that starts at or below gpa. */
	while (hi - lo > 1) {
		unsigned int mid = (lo + hi) / 2;

		if (t->span[mid].gpa <= gpa)
			lo = mid;
		else
			hi = mid;
	}
	if (!t->nr || gpa - t->span[lo].gpa >= t->span[lo].size)
		return NULL;
	gpa -= t->span[lo].gpa;
	if (*len > t->span[lo].size - gpa)
		*len = t->span[lo].size - gpa;
	return t->span[lo].host + gpa;
}

/**
 * vu_mem_gpa() - guest-physical address of memory that is mapped here
 * @len:	bytes that are asked about; cut to what lies in one region
 *
 * Return: false where it is no memory of the guest.
 */
bool vu_mem_gpa(const struct vu_table *t, const void *host, uint64_t *gpa,
		uint64_t *len)
{
	const char *p = host;

	for (unsigned int i = 0; t && i < t->nr; i++) {
		const struct vu_span *s = &t->span[i];
		uint64_t off = (uint64_t)(p - s->host);

		if (p < s->host || off >= s->size)
			continue;
		*gpa = s->gpa + off;
		if (*len > s->size - off)
			*len = s->size - off;
		return true;
	}
	return false;
}

/** vu_mem_user() - host address of @len bytes at the front end's @uva */
void *vu_mem_user(const struct vu_table *t, uint64_t uva, uint64_t len)
{
	for (unsigned int i = 0; t && i < t->nr; i++) {
		const struct vu_region *r = t->span[i].region;

		if (uva >= r->at.uva && uva - r->at.uva < r->at.size &&
		    len <= r->at.size - (uva - r->at.uva))
			return r->host + (uva - r->at.uva);
	}
	return NULL;
}

/* A guest may write there meanwhile, which is no race of ours. */
__attribute__((no_sanitize("thread")))
static bool all_zero(const char *p, size_t len)
{
	const volatile uint64_t *w = (const volatile uint64_t *)(const void *)p;

	for (size_t i = 0; i < len / sizeof(*w); i++)
		if (w[i])
			return false;
	return true;
}

/* Whether we write there ourselves: used indexes, event areas. */
static bool holds_ring(const struct vu_device *dev, const char *p, size_t len)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		const char *ours = dev->queue[i].map.used;

		if (dev->queue[i].running && ours + 4096 > p && ours < p + len)
			return true;
	}
	return false;
}

/**
 * vu_mem_untouched() - whether guest memory looks never written to
 *
 * A guest whose driver runs has written its low memory and its kernel. Where
 * all of that reads as zero, the front end maps the file privately and what we
 * see is not the guest's memory. Looks at the first 640 KiB of every region and
 * at a page each MiB of the first 64.
 */
bool vu_mem_untouched(const struct vu_device *dev)
{
	const uint64_t page = 4096, low = 640 << 10, mib = 1 << 20;
	const struct vu_table *t = dev->table;

	for (unsigned int i = 0; t && i < t->nr; i++) {
		const struct vu_span *s = &t->span[i];

		for (uint64_t off = 0; off + page <= s->size && off < 64 * mib;
		     off += off < low ? page : mib - off % mib)
			if (!all_zero(s->host + off, page) &&
			    !holds_ring(dev, s->host + off, page))
				return false;
	}
	return true;
}

/**
 * vu_mem_mend() - after SIGBUS: put zero pages over all that its file lost
 *
 * So that not every single page of it is a signal and a mapping.
 */
void vu_mem_mend(struct vu_device *dev)
{
	const struct vu_table_state *s = &dev->state->table[dev->state->active];

	for (unsigned int i = 0; i < s->nr; i++) {
		struct vu_region *r = table_same(dev->table, &s->region[i]);
		struct stat st;
		uint64_t keep;

		if (!r || fstat(s->region[i].fd, &st) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		keep = (uint64_t)st.st_size;
		keep -= keep < r->at.offset ? keep : r->at.offset;
		/* From the start of the mapping, in whole blocks. */
		keep += r->at.offset & (r->block - 1);
		keep = (keep + r->block - 1) & ~(uint64_t)(r->block - 1);
		if (keep >= r->map_len)
			continue;
		/* Where this fails, the signal handler goes on page by page. */
		(void)!mmap((char *)r->map + keep, r->map_len - keep,
			    PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
}
