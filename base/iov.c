/* SPDX-License-Identifier: MIT */
/*
 * Cursors over iovecs. A cursor is a position in an iovec array of the caller;
 * reading, writing and slicing move it. The memory may be a guest's, which may
 * change it at any time: two reads may give different data, so callers copy
 * once and check the copy.
 */

#include "base/base.h"

#include <string.h>

size_t iov_total(const struct iovec *iov, unsigned int cnt)
{
	size_t total = 0;

	for (unsigned int i = 0; i < cnt; i++)
		total += iov[i].iov_len;
	return total;
}

/* Contiguous bytes at the cursor, at most @len; 0 at the end. */
static size_t iov_here(struct iov_cursor *c, size_t len, char **here)
{
	size_t rest;

	while (c->cnt && c->off == c->iov->iov_len) {
		c->iov++;
		c->cnt--;
		c->off = 0;
	}
	if (!c->cnt)
		return 0;
	rest = c->iov->iov_len - c->off;
	*here = (char *)c->iov->iov_base + c->off;
	return rest < len ? rest : len;
}

size_t iov_read(struct iov_cursor *c, void *dst, size_t len)
{
	size_t done = 0, n;
	char *here;

	while (done < len && (n = iov_here(c, len - done, &here))) {
		memcpy((char *)dst + done, here, n);
		c->off += n;
		done += n;
	}
	return done;
}

size_t iov_write(struct iov_cursor *c, const void *src, size_t len)
{
	size_t done = 0, n;
	char *here;

	while (done < len && (n = iov_here(c, len - done, &here))) {
		memcpy(here, (const char *)src + done, n);
		c->off += n;
		done += n;
	}
	return done;
}

size_t iov_skip(struct iov_cursor *c, size_t len)
{
	size_t done = 0, n;
	char *here;

	while (done < len && (n = iov_here(c, len - done, &here))) {
		c->off += n;
		done += n;
	}
	return done;
}

unsigned int iov_slice(struct iov_cursor *c, size_t len, struct iovec *out,
		       unsigned int max)
{
	unsigned int cnt = 0;
	size_t n;
	char *here;

	while (len && (n = iov_here(c, len, &here))) {
		struct iovec *last = cnt ? &out[cnt - 1] : NULL;

		/* Join neighbours: fewer segments are copied faster. */
		if (last && (char *)last->iov_base + last->iov_len == here) {
			last->iov_len += n;
		} else if (cnt < max) {
			out[cnt].iov_base = here;
			out[cnt++].iov_len = n;
		} else {
			break;
		}
		c->off += n;
		len -= n;
	}
	return cnt;
}
