/* SPDX-License-Identifier: MIT */
/*
 * An allocator of cells, by index, in a region of the arena: for nodes and
 * handles (one size) and names (many sizes). The region is divided into chunks;
 * a chunk has cells of one class, which is a size in units. A chunk whose last
 * cell is freed is given back to the system, so that after a million FORGETs
 * the memory of a million files is free.
 *
 * Bitmaps in private memory say which cells are free; the arena contains only
 * the cells. A worker that adopts an arena claims each cell that is referred
 * to, which rebuilds the bitmaps.
 *
 * There is a list for each class of its chunks with room, and one of chunks
 * without cells; behind them is the untouched rest of the region. The owner of
 * a slab has the lock.
 */

#include "fsserver/nodes/slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_CHUNK	UINT32_MAX
#define MAX_CLASSES	32
/* Empty chunks that keep their memory: create and unlink cost no page fault. */
#define KEEP_EMPTY	4

struct slab_chunk {
	uint32_t next, prev;		/* in one of the lists */
	uint16_t used, hint;		/* cells in use; word to try first */
	uint16_t class;			/* 0: no cells */
	bool listed;
	bool kept;			/* without cells, but with memory */
	uint64_t bits[];		/* a set bit is a cell in use */
};

struct slab {
	struct arena *arena;
	char *mem;
	uint32_t unit, units;
	uint32_t chunks, touched;	/* in the region; ever used */
	uint32_t empty;			/* list of chunks without cells */
	uint32_t kept;			/* chunks of it that have memory */
	uint32_t room[MAX_CLASSES + 1];	/* lists of chunks with room */
	char *meta;
	size_t meta_size, meta_total;
};

static struct slab_chunk *chunk_at(const struct slab *s, uint32_t n)
{
	return (struct slab_chunk *)(void *)(s->meta + n * s->meta_size);
}

static uint32_t chunk_cells(const struct slab *s, const struct slab_chunk *c)
{
	return s->units / c->class;
}

static void list_add(struct slab *s, uint32_t *head, uint32_t n)
{
	struct slab_chunk *c = chunk_at(s, n);

	c->prev = NO_CHUNK;
	c->next = *head;
	if (*head != NO_CHUNK)
		chunk_at(s, *head)->prev = n;
	*head = n;
	c->listed = true;
}

static void list_del(struct slab *s, uint32_t *head, uint32_t n)
{
	struct slab_chunk *c = chunk_at(s, n);

	if (c->prev != NO_CHUNK)
		chunk_at(s, c->prev)->next = c->next;
	else
		*head = c->next;
	if (c->next != NO_CHUNK)
		chunk_at(s, c->next)->prev = c->prev;
	c->listed = false;
}

int slab_open(struct slab **slab, struct arena *arena, void *mem,
	      uint64_t size, uint32_t unit, uint32_t units,
	      unsigned int classes)
{
	struct slab *s;
	uint64_t chunks = size / ((uint64_t)unit * units);

	if (classes > MAX_CLASSES || units % 64 != 0)
		return -EINVAL;
	if (chunks > UINT32_MAX / units)
		chunks = UINT32_MAX / units;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->arena = arena;
	s->mem = mem;
	s->unit = unit;
	s->units = units;
	s->chunks = (uint32_t)chunks;
	s->empty = NO_CHUNK;
	for (unsigned int i = 0; i <= MAX_CLASSES; i++)
		s->room[i] = NO_CHUNK;
	s->meta_size = sizeof(struct slab_chunk) + units / 8;
	s->meta_total = s->meta_size * chunks;
	s->meta = pages_alloc(s->meta_total);
	if (!s->meta) {
		free(s);
		return -ENOMEM;
	}
	*slab = s;
	return 0;
}

void slab_close(struct slab *slab)
{
	if (!slab)
		return;
	pages_free(slab->meta, slab->meta_total);
	free(slab);
}

static void chunk_claim(struct slab *s, unsigned int class, uint32_t n)
{
	struct slab_chunk *c = chunk_at(s, n);

	if (c->kept)
		s->kept--;
	c->kept = false;
	c->class = (uint16_t)class;
	c->hint = 0;
	list_add(s, &s->room[class], n);
}

/* A chunk for @class: an empty one, or one that was never used. */
static uint32_t chunk_take(struct slab *s, unsigned int class)
{
	uint32_t n = s->empty;

	if (n != NO_CHUNK)
		list_del(s, &s->empty, n);
	else if (s->touched < s->chunks)
		n = s->touched++;
	else
		return NO_CHUNK;
	chunk_claim(s, class, n);
	return n;
}

int64_t slab_alloc(struct slab *s, unsigned int class)
{
	uint32_t n = s->room[class], cells, cell;
	struct slab_chunk *c;

	if (n == NO_CHUNK)
		n = chunk_take(s, class);
	if (n == NO_CHUNK)
		return -ENOMEM;
	c = chunk_at(s, n);
	cells = chunk_cells(s, c);
	while (c->bits[c->hint] == UINT64_MAX)
		c->hint++;
	cell = c->hint * 64u + (uint32_t)__builtin_ctzll(~c->bits[c->hint]);
	c->bits[cell / 64] |= 1ull << (cell % 64);
	if (++c->used == cells)
		list_del(s, &s->room[class], n);
	return (int64_t)n * s->units + cell * class;
}

void slab_free(struct slab *s, uint32_t index)
{
	uint32_t n = index / s->units, cell;
	struct slab_chunk *c = chunk_at(s, n);
	uint64_t bytes = (uint64_t)s->unit * s->units;

	cell = index % s->units / c->class;
	c->bits[cell / 64] &= ~(1ull << (cell % 64));
	if (cell / 64 < c->hint)
		c->hint = (uint16_t)(cell / 64);
	if (!c->listed)
		list_add(s, &s->room[c->class], n);
	if (--c->used)
		return;
	list_del(s, &s->room[c->class], n);
	c->class = 0;
	list_add(s, &s->empty, n);
	c->kept = s->kept < KEEP_EMPTY;
	if (c->kept)
		s->kept++;
	else
		arena_release(s->arena, s->mem + n * bytes, bytes);
}

int slab_claim(struct slab *s, unsigned int class, uint32_t index)
{
	uint32_t n = index / s->units, cell = index % s->units / class;
	struct slab_chunk *c;

	if (n >= s->chunks || cell >= s->units / class ||
	    index % s->units % class)
		return -EINVAL;
	while (s->touched <= n)
		list_add(s, &s->empty, s->touched++);
	c = chunk_at(s, n);
	if (!c->class) {
		list_del(s, &s->empty, n);
		chunk_claim(s, class, n);
	}
	if (c->class != class || c->bits[cell / 64] >> (cell % 64) & 1)
		return -EINVAL;
	c->bits[cell / 64] |= 1ull << (cell % 64);
	if (++c->used == chunk_cells(s, c))
		list_del(s, &s->room[class], n);
	return 0;
}

uint32_t slab_top(const struct slab *s)
{
	return s->touched * s->units;
}
