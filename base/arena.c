/* SPDX-License-Identifier: MIT */
/*
 * State that outlives a worker: one memfd, mapped shared, divided into regions
 * by a table in its first page. A keeper makes the arena before it clones its
 * first worker; each worker inherits the mapping. At a live upgrade the new
 * binary gets the descriptor and maps it at another address. So regions are
 * referred to by id and their contents by index, never by pointer.
 *
 * The file is sparse: its size is address space, not memory. Regions are made
 * while there is one thread, so the table needs no lock. A region's id is
 * written after the rest of its entry: if the process dies in between, there is
 * no such region. This file does not know the contents of regions.
 */

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the arena's layout, including regions and their contents. */
#ifndef STATE_VERSION
#define STATE_VERSION	3
#endif
#define ARENA_MAGIC	(0x616e657261766d00ull + STATE_VERSION)
#define ARENA_PAGE	4096u

struct arena_entry {
	uint32_t id;		/* 0: unused; written last */
	uint32_t version;
	uint64_t offset, size;
};

struct arena_header {
	uint64_t magic;
	uint64_t size;
	struct arena_entry entry[ARENA_MAX];
};

ARENA_LAYOUT(STATE_VERSION, struct arena_header, 400);

struct arena {
	struct arena_header *header;
	uint64_t size;
	int fd;
};

_Static_assert(sizeof(struct arena_header) <= ARENA_PAGE, "one page of table");

/* NULL and errno on failure. */
static struct arena_header *arena_map(const struct arena *arena)
{
	void *mem = mmap(NULL, arena->size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE, arena->fd, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

int arena_create(struct arena **arena, uint64_t size)
{
	struct arena *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->size = (size + ARENA_PAGE - 1) & ~(uint64_t)(ARENA_PAGE - 1);
	a->fd = memfd_create("vmshare-arena", MFD_CLOEXEC);
	if (a->fd < 0 || ftruncate(a->fd, (off_t)a->size) < 0) {
		err = -errno;
		goto fail;
	}
	a->header = arena_map(a);
	if (!a->header) {
		err = -errno;
		goto fail;
	}
	a->header->size = a->size;
	a->header->magic = ARENA_MAGIC;
	*arena = a;
	return 0;
fail:
	arena_close(a);
	return err;
}

int arena_attach(struct arena **arena, int fd)
{
	struct arena *a = calloc(1, sizeof(*a));
	struct stat st;
	int err;

	if (!a)
		return -ENOMEM;
	a->fd = fd;
	if (fstat(fd, &st) < 0) {
		err = -errno;
		goto fail;
	}
	err = -EPROTO;
	if (st.st_size < ARENA_PAGE)
		goto fail;
	a->size = (uint64_t)st.st_size;
	a->header = arena_map(a);
	if (!a->header) {
		err = -errno;
		goto fail;
	}
	err = -EPROTO;
	if (a->header->magic != ARENA_MAGIC || a->header->size != a->size)
		goto fail;
	*arena = a;
	return 0;
fail:
	a->fd = -1;	/* stays the caller's */
	arena_close(a);
	return err;
}

void arena_close(struct arena *arena)
{
	if (!arena)
		return;
	if (arena->header)
		munmap(arena->header, arena->size);
	if (arena->fd >= 0)
		close(arena->fd);
	free(arena);
}

int arena_fd(const struct arena *arena)
{
	return arena->fd;
}

/* The entry with @id, or the first unused one, or NULL. */
static struct arena_entry *arena_find(struct arena *arena, uint32_t id,
				      uint64_t *end)
{
	struct arena_entry *entry = arena->header->entry;

	*end = ARENA_PAGE;
	for (unsigned int i = 0; i < ARENA_MAX; i++, entry++) {
		if (entry->id == id || entry->id == 0)
			return entry;
		*end = entry->offset + entry->size;
	}
	return NULL;
}

int arena_region(struct arena *arena, enum arena_id id, uint32_t version,
		 uint64_t *size, void **mem, bool *fresh)
{
	uint64_t end, rounded;
	struct arena_entry *entry = arena_find(arena, (uint32_t)id, &end);

	if (!entry)
		return -ENOSPC;
	if (fresh)
		*fresh = entry->id == 0;
	if (entry->id == 0) {
		if (__builtin_add_overflow(*size, ARENA_PAGE - 1, &rounded))
			return -ENOSPC;
		rounded &= ~(uint64_t)(ARENA_PAGE - 1);
		if (!rounded)
			return -ENOENT;
		if (rounded > arena->size - end)
			return -ENOSPC;
		entry->version = version;
		entry->offset = end;
		entry->size = rounded;
		__atomic_store_n(&entry->id, (uint32_t)id, __ATOMIC_RELEASE);
	} else if (entry->version != version) {
		return -EPROTO;
	}
	*size = entry->size;
	*mem = (char *)arena->header + entry->offset;
	return 0;
}

void arena_release(struct arena *arena, void *mem, uint64_t len)
{
	uint64_t from = (uint64_t)((char *)mem - (char *)arena->header);
	uint64_t to = from + len;

	from = (from + ARENA_PAGE - 1) & ~(uint64_t)(ARENA_PAGE - 1);
	to &= ~(uint64_t)(ARENA_PAGE - 1);
	/* After a failure the memory only stays in use for longer. */
	if (from < to)
		(void)fallocate(arena->fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)from, (off_t)(to - from));
}
