/* SPDX-License-Identifier: MIT */
/*
 * Zeroed memory that is used only where it is touched: for tables with room for
 * the maximum that are mostly empty. It is a mapping of its own, not a part of
 * the heap.
 *
 * Transparent huge pages are disabled where the processor's pages are larger
 * than 4 KiB: a huge page then has 32 MiB (of 16 KiB) or 512 MiB (of 64 KiB),
 * and the kernel allocates a whole one when its first byte is touched.
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
