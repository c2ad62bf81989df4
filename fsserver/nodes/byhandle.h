/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_BYHANDLE_H
#define VMSHARE_FSSERVER_BYHANDLE_H

/* Files by handle, where the user asked for it; see byhandle.c. */

#include "fsserver/internal.h"

int byhandle_check(int root);
int byhandle_start(struct fs *fs);	/* sets fs->byhandle */
void byhandle_stop(struct fs *fs);
/** byhandle_note() - remember the handle of node @id, just seen as @name */
void byhandle_note(struct fs *fs, int dirfd, const char *name,
		   const struct statx *stx, uint64_t id);
/**
 * byhandle_open() - open a pinned node by its handle
 *
 * Return: an O_PATH descriptor that is yet to be verified; -ESTALE where there
 * is no such file or no note of it; or another error.
 */
int byhandle_open(struct fs *fs, const struct fs_node *node);

#endif
