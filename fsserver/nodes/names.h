/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_NAMES_H
#define VMSHARE_FSSERVER_NAMES_H

/*
 * Names of nodes, in the arena: lists of (directory, name). See names.c.
 */

#include "base/base.h"

/* What refers to a name is its index; 0 is none. */
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
/* Rebuilding: the index if one can be there, else 0. */
uint32_t names_sane(const struct fs_names *names, uint32_t index);
/* Rebuilding: the name is in use. -EINVAL when it makes no sense. */
int names_claim(struct fs_names *names, uint32_t index);

#endif
