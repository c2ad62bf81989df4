/* SPDX-License-Identifier: MIT */
/*
 * Zeroed memory that is used only where it is touched: for tables that have
 * room for the most there can be, and mostly little in them. It is a mapping
 * of its own, not a part of the heap, and knows nothing of what it holds.
 *
 * Transparent huge pages are refused where the processor's pages are larger
 * than 4 KiB: a huge page is then 32 MiB (of 16 KiB) or 512 MiB (of 64 KiB),
 * and the kernel gives a whole one to the first byte that is touched.
 */

#include "base/base.h"

#include <sys/mman.h>
#include <unistd.h>

void *pages_alloc(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	if (sysconf(_SC_PAGESIZE) > 4096)
		(void)madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}

void pages_free(void *mem, size_t size)
{
	if (mem)
		munmap(mem, size);
}
