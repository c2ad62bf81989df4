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

/* The page size @spec means, in bytes; 0 where the kernel has none such. */
uint64_t mem_huge_size(const struct mem_spec *spec);

#endif
