/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FE_MEMORY_H
#define VMSHARE_TESTS_FE_MEMORY_H

#include "tests/frontend/fe.h"

int fe_memory_init(struct fe *fe);
void fe_memory_exit(struct fe *fe);
/* What the server is told about a region. */
void fe_memory_describe(const struct fe_region *r, struct vhu_region *out);
/* Remember which rule was broken; -EPROTO. */
int fe_broken(struct fe *fe, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A ring's memory, and where it is; *@base: the index to start at. */
int fe_ring_alloc(struct fe_ring *r);
void fe_ring_place(const struct fe_ring *r, struct vhu_addr *addr,
		   uint32_t *base);
/* poll() for input on one descriptor and the socket's end. 0 or -errno. */
int fe_sleep(struct fe *fe, int fd, int timeout_ms);

#endif
