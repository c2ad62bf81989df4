/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_MEMBACK_H
#define VMSHARE_MEMBACK_H

/*
 * Guest memory as file descriptors: memfd, huge pages or an unlinked file.
 * Reports what is free, what is missing and how to mend it. Knows neither QEMU
 * nor vhost-user.
 */

#include "base/base.h"

enum mem_type { MEM_MEMFD, MEM_HUGEPAGES, MEM_FILE };

struct mem_spec {
	enum mem_type type;
	uint64_t page_size; /* huge pages: bytes; 0 is the default size */
	const char *dir;    /* file: the directory */
	bool prealloc;
};

/* Why memory can't be provided, as a message for the user. */
struct mem_problem {
	bool fatal;	/* else a warning */
	char text[256]; /* names the thing, the value and the limit */
	char hint[256]; /* a command that provides it, or "" */
};

#define MEM_MAX_PROBLEMS 8

/**
 * mem_check() - could @total bytes be provided?
 *
 * Return: number of problems written to @problems (at most MEM_MAX_PROBLEMS).
 * Allocates nothing.
 */
unsigned int mem_check(const struct mem_spec *spec, uint64_t total,
		       struct mem_problem *problems);

/* Called repeatedly by mem_create() with the bytes claimed so far. */
typedef void mem_progress_fn(void *ctx, uint64_t done, uint64_t total);

/**
 * mem_create() - make the memory of one NUMA node
 * @size:	bytes, rounded up to the page size
 * @node:	its number, for the memfd's name
 * @progress:	called during preallocation; may be NULL
 * @fd:		the descriptor (CLOEXEC), the caller's to close
 *
 * Huge pages are claimed here (parallel fallocate), so that no guest dies of
 * SIGBUS later; a file is unlinked at once. The memory is sealed against
 * growing and shrinking where the type allows.
 * Return: 0, or -errno with @problem filled in.
 */
int mem_create(const struct mem_spec *spec, uint64_t size, unsigned int node,
	       mem_progress_fn *progress, void *ctx, int *fd,
	       struct mem_problem *problem);

/**
 * mem_group_limit() - the least memory limit of this process's control groups
 * @where:	set to the path of the group that has it
 *
 * Return: bytes; UINT64_MAX where there is none.
 */
uint64_t mem_group_limit(char *where, size_t where_size);

/**
 * mem_group_events() - open the file that mem_group_kills() reads
 *
 * To be called while /sys can be reached; the descriptor works after that too.
 * Return: a descriptor (CLOEXEC), the caller's to close; -ENOENT where no
 * control group accounts for this process's memory.
 */
int mem_group_events(void);

/**
 * mem_group_kills() - how often the kernel killed a process of this control
 * group for lack of memory
 * @fd:	of mem_group_events(), or negative
 *
 * Return: the count; 0 where it is not known.
 */
uint64_t mem_group_kills(int fd);

#endif
