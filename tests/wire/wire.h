/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_WIRE_WIRE_H
#define VMSHARE_TESTS_WIRE_WIRE_H

#include <stdint.h>

/* A constant, the size of a struct, or a member's offset and size. */
struct wire {
	const char *name;
	uint64_t value, size;
};

#define VALUE(c)	{ #c, (uint64_t)(c), 0 },
#define SIZE(s)		{ "struct " #s, sizeof(struct s), 0 },
#define MEMBER(s, m)	{ #s "." #m, offsetof(struct s, m), \
			  sizeof(((struct s *)0)->m) },

extern const struct wire wire_system[];
extern const unsigned int wire_system_nr, wire_system_minor;

#endif
