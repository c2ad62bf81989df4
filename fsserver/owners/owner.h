/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_OWNER_H
#define VMSHARE_FSSERVER_OWNER_H

/*
 * Private to this folder: the owner that access=mapped stores with a file, and
 * symlinks of other owners than root (maplink.c).
 */

#include "fsserver/owners/owners.h"

struct owner {
	uint32_t uid, gid, mode;
	uint32_t rdev_major, rdev_minor;
};

/* ---- owner.c ---- */

/*
 * The owner, mode and device that the guest is shown; @stx: the host's. Return:
 * 0, also where the attribute is missing or invalid.
 */
int owner_read(const struct fs *fs, int dirfd, const char *name,
	       const struct statx *stx, struct owner *o);
int owner_write(int dirfd, const char *name, const struct owner *o);
/* Give a new file @o the group of the set-group-id directory @fd, if it is. */
int owner_inherit(struct fs_worker *w, int fd, struct owner *o);

/* ---- maplink.c ---- */

/* Change the owner of a node that is a symlink on the host to @o. */
int maplink_give(struct fs_worker *w, struct fs_node *node,
		 const struct owner *o);

#endif
