/* SPDX-License-Identifier: MIT */
/*
 * The names of nodes, in the arena, as records of 16-byte units. A node has a
 * list of them: nearly always one, more for hard links. A name refers to its
 * directory by slot, and holds it; the node table keeps that count. The node
 * table's lock protects everything here.
 */

#include "fsserver/nodes/names.h"
#include "fsserver/nodes/slab.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define NAME_UNIT	16u
#define NAME_UNITS	4096u
#define NAMES_VERSION	1

struct fs_names {
	struct slab *slab;
	char *mem;
	uint32_t units;
};

/* Units that a name of @len bytes needs. */
static unsigned int name_class(size_t len)
{
	return (unsigned int)((offsetof(struct fs_name, text) + len + 1 +
			       NAME_UNIT - 1) / NAME_UNIT);
}

int names_open(struct fs_names **names, struct arena *arena, uint64_t size)
{
	struct fs_names *n = calloc(1, sizeof(*n));
	void *mem;
	int err = -ENOMEM;

	if (!n)
		return err;
	err = arena_region(arena, ARENA_NAMES, NAMES_VERSION, &size, &mem,
			   NULL);
	if (err)
		goto fail;
	n->mem = mem;
	if (size / NAME_UNIT > UINT32_MAX)
		size = (uint64_t)UINT32_MAX * NAME_UNIT;
	n->units = (uint32_t)(size / NAME_UNIT);
	err = slab_open(&n->slab, arena, mem, size, NAME_UNIT, NAME_UNITS,
			name_class(NAME_MAX));
	if (err)
		goto fail;
	/* Index 0 means no name: never use it. */
	err = slab_claim(n->slab, 1, 0);
	if (err)
		goto fail;
	*names = n;
	return 0;
fail:
	names_close(n);
	return err;
}

void names_close(struct fs_names *names)
{
	if (!names)
		return;
	slab_close(names->slab);
	free(names);
}

struct fs_name *names_at(const struct fs_names *names, uint32_t index)
{
	return (struct fs_name *)(void *)(names->mem +
					  (size_t)index * NAME_UNIT);
}

uint32_t names_add(struct fs_names *names, uint32_t parent, const char *text)
{
	size_t len = strlen(text);
	int64_t index = slab_alloc(names->slab, name_class(len));
	struct fs_name *name;

	if (index < 0)
		return 0;
	name = names_at(names, (uint32_t)index);
	name->next = 0;
	name->parent = parent;
	name->len = (uint8_t)len;
	memcpy(name->text, text, len + 1);
	return (uint32_t)index;
}

void names_free(struct fs_names *names, uint32_t index)
{
	slab_free(names->slab, index);
}

bool names_equal(const struct fs_name *name, uint32_t parent, const char *text)
{
	return name->parent == parent &&
	       strncmp(name->text, text, name->len + 1u) == 0;
}

uint32_t names_sane(const struct fs_names *names, uint32_t index)
{
	return index < names->units - name_class(NAME_MAX) ? index : 0;
}

int names_claim(struct fs_names *names, uint32_t index)
{
	const struct fs_name *name = names_at(names, index);

	if (!names_sane(names, index) || name->text[name->len] != 0)
		return -EINVAL;
	return slab_claim(names->slab, name_class(name->len), index);
}
