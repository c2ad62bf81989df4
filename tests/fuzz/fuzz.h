/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FUZZ_H
#define VMSHARE_TESTS_FUZZ_H

/*
 * What the fuzz targets share: a reader of the input that never fails (zeros
 * follow its end), and a count of descriptors, to catch those that leak.
 */

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct fuzz_in {
	const uint8_t *p;
	size_t left;
};

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t low = fuzz_u8(in);

	return (uint16_t)(low | fuzz_u8(in) << 8);
}

static inline uint32_t fuzz_u32(struct fuzz_in *in)
{
	uint32_t low = fuzz_u16(in);

	return low | (uint32_t)fuzz_u16(in) << 16;
}

/* Up to @len bytes; the rest of @dst is zero. */
static inline void fuzz_bytes(struct fuzz_in *in, void *dst, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(dst, 0, len);
	if (n)
		memcpy(dst, in->p, n);
	in->p += n;
	in->left -= n;
}

static inline void fuzz_fail(const char *what)
{
	fprintf(stderr, "fuzz: %s\n", what);
	abort();
}

static inline unsigned int fuzz_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* Call after each input; @base is the caller's, zero at first. */
static inline void fuzz_check_fds(unsigned int *base, unsigned int slack)
{
	static unsigned int turn;
	unsigned int now;

	if (turn++ % 64)
		return;
	now = fuzz_count_fds();
	if (!*base)
		*base = now;
	else if (now > *base + slack)
		fuzz_fail("descriptors leak");
}

#endif
