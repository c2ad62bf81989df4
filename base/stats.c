/* SPDX-License-Identifier: MIT */
/*
 * Counts in a memfd. A server's parent creates it and keeps the descriptor, the
 * server's processes inherit the mapping, and any process that may open the
 * parent's /proc/PID/fd (its own user's) maps the same pages to read them. The
 * memory is freed with the last of them.
 *
 * Each thread writes to a slot of its own with plain stores, so that no cache
 * line has two writers. A sum that is made at the same time may miss a request
 * that is just ending, but never sees a part of a number: all are 64-bit words.
 * Slots are taken from the last one down, and slots that were never taken are
 * not read, since that would allocate their pages.
 *
 * The memfd is sealed against a change of its size, which could end a reader by
 * SIGBUS. A server that its guest took over can write any numbers: sums then
 * wrap around, and percentiles have no meaning.
 */

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STATS_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int stats_create(const char *name, struct stats **stats)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	void *mem;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(**stats)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, STATS_SEALS) < 0)
		goto fail;
	mem = mmap(NULL, sizeof(**stats), PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	if (mem == MAP_FAILED)
		goto fail;
	*stats = mem;
	(*stats)->version = STATS_VERSION;
	return fd;
fail:
	err = -errno;
	close(fd);
	return err;
}

static int map_stats(int fd, int prot, struct stats **stats)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stats *s;
	void *mem;

	if (seals < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((seals & STATS_SEALS) != STATS_SEALS ||
	    st.st_size != (off_t)sizeof(*s))
		return -EPROTO;
	mem = mmap(NULL, sizeof(*s), prot, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	s = mem;
	if (s->version != STATS_VERSION) {
		stats_close(s);
		return -EPROTO;
	}
	*stats = s;
	return 0;
}

int stats_attach(int fd, const struct stats **stats)
{
	struct stats *s = NULL;
	int err = map_stats(fd, PROT_READ, &s);

	if (!err)
		*stats = s;
	return err;
}

int stats_adopt(int fd, struct stats **stats)
{
	return map_stats(fd, PROT_READ | PROT_WRITE, stats);
}

void stats_close(const struct stats *stats)
{
	if (stats)
		munmap((void *)(uintptr_t)stats, sizeof(*stats));
}

void stats_wake(struct stats *stats)
{
	(void)syscall(SYS_futex, &stats->asked, FUTEX_WAKE, INT_MAX, NULL,
		      NULL, 0);
}

void stats_ask(struct stats *stats)
{
	__atomic_fetch_add(&stats->asked, 1, __ATOMIC_RELEASE);
	stats_wake(stats);
}

void stats_tell(struct stats *stats, const char *why)
{
	if (why)
		snprintf(stats->why, sizeof(stats->why), "%s", why);
	__atomic_fetch_add(why ? &stats->refused : &stats->restarted, 1,
			   __ATOMIC_RELEASE);
}

unsigned int stats_first(const struct stats *stats)
{
	uint32_t used = __atomic_load_n(&stats->used, __ATOMIC_RELAXED);

	return used < STATS_SLOTS ? STATS_SLOTS - used : 0;
}

struct stats_slot *stats_take(struct stats *stats, bool taken[STATS_SLOTS])
{
	unsigned int i = STATS_SLOTS;

	while (--i && taken[i])
		;
	taken[i] = true;
	if (i < stats_first(stats))
		__atomic_store_n(&stats->used, STATS_SLOTS - i,
				 __ATOMIC_RELAXED);
	return &stats->slot[i];
}

static uint64_t look(const uint64_t *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

static void sum_op(struct stats_op *sum, const struct stats_op *op)
{
	uint64_t count = look(&op->count);

	/* Most pages were never touched: do not read them. */
	if (!count)
		return;
	sum->count += count;
	sum->failed += look(&op->failed);
	sum->bytes += look(&op->bytes);
	for (unsigned int i = 0; i < STATS_BUCKETS; i++)
		sum->bucket[i] += look(&op->bucket[i]);
}

void stats_sum(const struct stats *stats, struct stats_slot *sum,
	       unsigned int *running)
{
	memset(sum, 0, sizeof(*sum));
	*running = 0;
	for (unsigned int i = stats_first(stats); i < STATS_SLOTS; i++) {
		const struct stats_slot *s = &stats->slot[i];
		int64_t began = __atomic_load_n(&s->began, __ATOMIC_RELAXED);

		if (began) {
			++*running;
			if (!sum->began || began < sum->began)
				sum->began = began;
		}
		for (unsigned int n = 0; n < STATS_COUNTERS; n++)
			sum->counter[n] += look(&s->counter[n]);
		for (unsigned int n = 0; n < STATS_OPS; n++)
			sum_op(&sum->op[n], &s->op[n]);
	}
}

uint64_t stats_percentile(const struct stats_op *op, unsigned int permille)
{
	uint64_t total = 0, before = 0, rank;

	/* Not @count, which may be ahead of the buckets. */
	for (unsigned int i = 0; i < STATS_BUCKETS; i++)
		total += op->bucket[i];
	if (!total)
		return 0;
	rank = total / 1000 * permille + total % 1000 * permille / 1000;
	rank -= rank == total;
	for (unsigned int i = 0; i < STATS_BUCKETS; i++) {
		uint64_t n = op->bucket[i];

		if (n && rank - before < n) {
			double part = ((double)(rank - before) + 0.5) /
				      (double)n;

			return (uint64_t)((double)(1ull << i) * (1 + part));
		}
		before += n;
	}
	return 1ull << STATS_BUCKETS;
}
