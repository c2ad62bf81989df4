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
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

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

/* Where the sanitizers write: stderr is closed to what is being tested. */
static inline void fuzz_say(const char *what)
{
	char line[256];

	snprintf(line, sizeof(line), "fuzz: %s", what);
	__sanitizer_report_error_summary(line);
}

static inline void fuzz_fail(const char *what)
{
	fuzz_say(what);
	abort();
}

/* Ours, that is: the sanitizer's symbolizer runs behind pipes at times. */
static inline unsigned int fuzz_count_fds(bool say)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	unsigned int n = 0;
	char what[128];

	while (dir && (e = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), e->d_name, what,
					 sizeof(what) - 1);

		what[len < 0 ? 0 : len] = '\0';
		if (len < 0 || !strncmp(what, "pipe:", 5))
			continue;
		if (say)
			fuzz_say(what);
		n++;
	}
	if (dir)
		closedir(dir);
	return n;
}

/*
 * Call after each input; @base is the caller's, zero at first, @slack what may
 * rightly be kept open from one input to the next.
 */
static inline void fuzz_check_fds(unsigned int *base, unsigned int slack)
{
	static unsigned int turn;
	unsigned int now;

	if (turn++ % 64)
		return;
	now = fuzz_count_fds(false);
	if (!*base) {
		*base = now;
	} else if (now > *base + slack) {
		fuzz_count_fds(true);
		fuzz_fail("descriptors leak");
	}
}

#endif
