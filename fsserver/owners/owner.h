/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_OWNER_H
#define VMSHARE_FSSERVER_OWNER_H

/*
 * What owner.c keeps of a mapped file, and maplink.c, which keeps symlinks
 * that are not root's.
 */

#include "fsserver/owners/owners.h"

struct owner {
	uint32_t uid, gid, mode;
	uint32_t rdev_major, rdev_minor;
};

/* ---- owner.c ---- */

/*
 * What the guest shall see of a file whose host attributes are @stx.
 * Return: 0; the attribute may be missing, or be somebody else's nonsense.
 */
int owner_read(const struct fs *fs, int dirfd, const char *name,
	       const struct statx *stx, struct owner *o);
int owner_write(int dirfd, const char *name, const struct owner *o);
/* The group, and its bit, that the directory @fd gives to a new file @o. */
int owner_inherit(struct fs_worker *w, int fd, struct owner *o);

/* ---- maplink.c ---- */

/* Have a node that is a symlink on the host belong to @o. */
int maplink_give(struct fs_worker *w, struct fs_node *node,
		 const struct owner *o);

#endif
