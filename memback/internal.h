/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_MEMBACK_INTERNAL_H
#define VMSHARE_MEMBACK_INTERNAL_H

#include "memback/memback.h"

/* Where files of the kernel are read; tests set them to trees of their own. */
struct mem_roots {
	const char *proc;   /* "/proc" */
	const char *sys;    /* "/sys" */
	const char *cgroup; /* "/sys/fs/cgroup" */
};

extern struct mem_roots mem_roots;

/* Read a file that holds one number: 0 or -errno. */
int mem_read_number(const char *path, uint64_t *value);
/*
 * This process's control group: its path from the top of a controller's tree,
 * or of the unified one ("" as @controller). False where there is none.
 */
bool mem_own_group(const char *controller, char *buf, size_t size);

/* The page size of @spec in bytes; 0 where the kernel does not have it. */
uint64_t mem_huge_size(const struct mem_spec *spec);

#endif
