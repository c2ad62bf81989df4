/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_MEMBACK_INTERNAL_H
#define VMSHARE_MEMBACK_INTERNAL_H

#include "memback/memback.h"

/* Where to look; tests point them at trees of their own. */
struct mem_roots {
	const char *proc;   /* "/proc" */
	const char *sys;    /* "/sys" */
	const char *cgroup; /* "/sys/fs/cgroup" */
};

extern struct mem_roots mem_roots;

/* The number that is all of a file: 0, or -errno where it is not one. */
int mem_read_number(const char *path, uint64_t *value);
/*
 * Our group in the tree of a controller, "" for the unified one: its path from
 * the top of that tree. False where there is none.
 */
bool mem_own_group(const char *controller, char *buf, size_t size);

/* The page size @spec means, in bytes; 0 where the kernel has none such. */
uint64_t mem_huge_size(const struct mem_spec *spec);

#endif
