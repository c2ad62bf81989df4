/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_NAMES_H
#define VMSHARE_FSSERVER_NAMES_H

/*
 * Names of nodes, in the arena: lists of (directory, name). See names.c.
 */

#include "base/base.h"

/* A name is referred to by its index; 0 is none. */
struct fs_name {
	uint32_t next;		/* another name of the same node */
	uint32_t parent;	/* slot of the directory */
	uint8_t len;
	char text[];		/* with its NUL */
};

ARENA_LAYOUT(NAMES_VERSION, struct fs_name, 12);

struct fs_names;

int names_open(struct fs_names **names, struct arena *arena, uint64_t size);
void names_close(struct fs_names *names);
struct fs_name *names_at(const struct fs_names *names, uint32_t index);
/* 0 when there is no memory; next is 0. */
uint32_t names_add(struct fs_names *names, uint32_t parent, const char *text);
void names_free(struct fs_names *names, uint32_t index);
bool names_equal(const struct fs_name *name, uint32_t parent, const char *text);
/* Rebuilding: @index if it is in range, else 0. */
uint32_t names_sane(const struct fs_names *names, uint32_t index);
/* Rebuilding: mark the name as used. 0, or -EINVAL for an invalid one. */
int names_claim(struct fs_names *names, uint32_t index);

#endif
