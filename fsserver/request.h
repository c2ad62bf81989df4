/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_REQUEST_H
#define VMSHARE_FSSERVER_REQUEST_H

/* Shared by fs.c, request.c and dump.c, which know all folders. */

#include "fsserver/internal.h"

/* ---- request.c ---------------------------------------------------------- */

/**
 * request_run() - serve the chain in @w
 *
 * Return: bytes written to the writable part (0 for FORGET), to be pushed.
 * Never fails: a chain without room for a reply is pushed with length 0.
 */
uint32_t request_run(struct fs_worker *w);

/* Such as "READ"; "?" for an opcode that is not supported. */
const char *request_name(uint32_t opcode);

/* ---- dump.c -------------------------------------------------------------- */

int fs_dump_open(struct fs *fs, struct stats *stats);
void fs_dump_close(struct fs *fs);		/* before the pool's end */
/* The file system failed the request of @w: warn, the first time. */
void fs_dump_fault(struct fs_worker *w, int err);

#endif
