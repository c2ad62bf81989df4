/* SPDX-License-Identifier: MIT */
/*
 * Zeroed memory that is used only where it is touched: for tables that have
 * room for the most there can be, and mostly little in them. It is a mapping
 * of its own, not a part of the heap, and knows nothing of what it holds.
 */

#include "base/base.h"

#include <sys/mman.h>

void *pages_alloc(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

void pages_free(void *mem, size_t size)
{
	if (mem)
		munmap(mem, size);
}
