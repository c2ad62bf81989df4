/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_SLAB_H
#define VMSHARE_FSSERVER_SLAB_H

/*
 * An allocator of cells, by index, in a region of the arena. See slab.c.
 */

#include "base/base.h"

struct slab;

/**
 * slab_open() - manage a region
 * @mem, @size:		the region
 * @unit:		bytes of the smallest cell
 * @units:		units in a chunk; @unit * @units is a multiple of 4096
 * @classes:		cells of 1, 2 ... @classes units
 */
int slab_open(struct slab **slab, struct arena *arena, void *mem,
	      uint64_t size, uint32_t unit, uint32_t units,
	      unsigned int classes);
void slab_close(struct slab *slab);

/*
 * Allocate a cell of @class units: the index of its first unit, or -ENOMEM. Its
 * content is that of its last use, or zeroes.
 */
int64_t slab_alloc(struct slab *slab, unsigned int class);
void slab_free(struct slab *slab, uint32_t index);
/* Rebuilding: mark a cell as used. 0, or -EINVAL for an invalid one. */
int slab_claim(struct slab *slab, unsigned int class, uint32_t index);
/* Units below this one may have been used; all others are untouched. */
uint32_t slab_top(const struct slab *slab);

#endif
