/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_SLAB_H
#define VMSHARE_FSSERVER_SLAB_H

/*
 * Cells by index in a region of the arena. See slab.c.
 */

#include "base/base.h"

struct slab;

/**
 * slab_open() - manage a region
 * @mem, @size:		the region
 * @unit:		bytes of the smallest cell
 * @units:		units a chunk; @unit * @units is a multiple of 4096
 * @classes:		cells of 1, 2 ... @classes units
 */
int slab_open(struct slab **slab, struct arena *arena, void *mem,
	      uint64_t size, uint32_t unit, uint32_t units,
	      unsigned int classes);
void slab_close(struct slab *slab);

/*
 * A free cell of @class units: its index (of its first unit), or -ENOMEM.
 * A cell's contents are what its last owner left there, or zeroes.
 */
int64_t slab_alloc(struct slab *slab, unsigned int class);
void slab_free(struct slab *slab, uint32_t index);
/* Rebuilding: the cell at @index is in use. -EINVAL when it can't be. */
int slab_claim(struct slab *slab, unsigned int class, uint32_t index);
/* All units below this one may have been touched; no other has. */
uint32_t slab_top(const struct slab *slab);

#endif
