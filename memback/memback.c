/* SPDX-License-Identifier: MIT */
/*
 * Making guest memory.
 *
 * The memory of each NUMA node is one descriptor that QEMU and the file servers
 * map: a memfd, a memfd of huge pages, or an unlinked file. Nothing is mapped
 * here; fallocate() claims pages, and fails where touching a mapping would
 * raise SIGBUS. Huge pages and files are always claimed, so that a guest does
 * not end later for lack of memory; plain memory is claimed on request.
 *
 * Several threads claim memory, each its own part, because the kernel zeroes
 * pages within the call (about 10 GB/s a thread). The caller's thread takes
 * part and reports progress; no thread outlives mem_create().
 *
 * Only descriptors refer to the memory: when the last process that has one has
 * ended, killed or not, the memory, huge pages and blocks are free again.
 */
#include "memback/memback.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/memfd.h>

#include "memback/internal.h"

#define CLAIM_STEP	  (UINT64_C(64) << 20)
#define CLAIM_MAX_THREADS 16

/* One preallocation: threads take the next step until none is left. */
struct claim {
	int fd;
	uint64_t size, step;
	_Atomic uint64_t next; /* first byte not yet taken */
	_Atomic uint64_t done;
	_Atomic int error;
};

static bool claim_step(struct claim *c)
{
	uint64_t at = atomic_fetch_add(&c->next, c->step);
	uint64_t len = c->step;
	int err;

	if (at >= c->size || atomic_load(&c->error))
		return false;
	if (len > c->size - at)
		len = c->size - at;
	do {
		err = fallocate(c->fd, 0, (off_t)at, (off_t)len) ? errno : 0;
	} while (err == EINTR);
	if (err) {
		atomic_store(&c->error, err);
		return false;
	}
	atomic_fetch_add(&c->done, len);
	return true;
}

static void *claim_thread(void *arg)
{
	while (claim_step(arg))
		;
	return NULL;
}

static unsigned int claim_threads(const struct claim *c)
{
	uint64_t steps = (c->size + c->step - 1) / c->step;
	cpu_set_t set;
	unsigned int n = 1;

	if (!sched_getaffinity(0, sizeof(set), &set))
		n = (unsigned int)CPU_COUNT(&set);
	if (n > CLAIM_MAX_THREADS)
		n = CLAIM_MAX_THREADS;
	return n > steps ? (unsigned int)steps : n;
}

/* Allocate all of @fd: 0 or -errno. If threads can't be made, fewer work. */
static int claim(int fd, uint64_t size, uint64_t page,
		 mem_progress_fn *progress, void *ctx)
{
	struct claim c = {.fd = fd, .size = size};
	pthread_t threads[CLAIM_MAX_THREADS];
	unsigned int wanted, running = 0;

	c.step = page > CLAIM_STEP ? page : CLAIM_STEP;
	wanted = claim_threads(&c);
	while (running + 1 < wanted &&
	       !pthread_create(&threads[running], NULL, claim_thread, &c))
		running++;
	while (claim_step(&c))
		if (progress)
			progress(ctx, atomic_load(&c.done), size);
	while (running)
		pthread_join(threads[--running], NULL);
	if (progress && !atomic_load(&c.error))
		progress(ctx, size, size);
	return -atomic_load(&c.error);
}

/* memfd_create() takes the binary logarithm of the page size. */
static unsigned int huge_flags(uint64_t page)
{
	unsigned int shift = (unsigned int)__builtin_ctzll(page);

	return MFD_HUGETLB | shift << MFD_HUGE_SHIFT;
}

static int open_memfd(uint64_t page, unsigned int node)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "vmshare-ram%u", node);
	fd = memfd_create(name, flags | (page ? huge_flags(page) : 0));
	return fd < 0 ? -errno : fd;
}

/* A file without a name: O_TMPFILE, or made and unlinked at once. */
static int open_file(const char *dir)
{
	char path[4096];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	if (snprintf(path, sizeof(path), "%s/.vmshare-XXXXXX", dir) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

static int fail(struct mem_problem *problem, const struct mem_spec *spec,
		const char *what, int err)
{
	memset(problem, 0, sizeof(*problem));
	problem->fatal = true;
	if (spec->type == MEM_FILE)
		snprintf(problem->text, sizeof(problem->text),
			 "guest memory in %s %s: %s", spec->dir, what,
			 strerror(-err));
	else
		snprintf(problem->text, sizeof(problem->text),
			 "guest memory %s: %s", what, strerror(-err));
	return err;
}

/*
 * Claiming failed although mem_check() found no problem or was not called:
 * report what it finds now, or else the kernel's error.
 */
static int claim_fail(struct mem_problem *problem, const struct mem_spec *spec,
		      uint64_t size, int err)
{
	struct mem_problem list[MEM_MAX_PROBLEMS];
	unsigned int n = mem_check(spec, size, list);

	for (unsigned int i = 0; i < n; i++) {
		if (!list[i].fatal)
			continue;
		*problem = list[i];
		return err;
	}
	return fail(problem, spec, "can't be claimed", err);
}

int mem_create(const struct mem_spec *spec, uint64_t size, unsigned int node,
	       mem_progress_fn *progress, void *ctx, int *fd,
	       struct mem_problem *problem)
{
	uint64_t page = 0;
	int err, f;

	if (spec->type == MEM_HUGEPAGES) {
		page = mem_huge_size(spec);
		if (!page)
			return claim_fail(problem, spec, size, -EINVAL);
		size = (size + page - 1) / page * page;
	}
	f = spec->type == MEM_FILE ? open_file(spec->dir)
				   : open_memfd(page, node);
	if (f < 0)
		return fail(problem, spec, "can't be made", f);
	if (ftruncate(f, (off_t)size)) {
		err = fail(problem, spec, "can't be sized", -errno);
		goto out;
	}
	if (spec->type != MEM_MEMFD || spec->prealloc) {
		err = claim(f, size, page, progress, ctx);
		if (err) {
			claim_fail(problem, spec, size, err);
			goto out;
		}
	}
	if (spec->type != MEM_FILE &&
	    fcntl(f, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		err = fail(problem, spec, "can't be sealed", -errno);
		goto out;
	}
	*fd = f;
	return 0;
out:
	close(f);
	return err;
}
