/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_INTERNAL_H
#define VMSHARE_FSSERVER_INTERNAL_H

/*
 * Between the files of the file server. A request's way:
 *
 *   pool    a leader pops a chain and calls request_run()
 *   request decodes, checks against the opcode table, calls the operation
 *   ops_*   work on nodes and handles with *at() calls; return the payload
 *           length that they put into the reply, or -errno
 *   request writes the out header and says how long the reply is
 *   pool    pushes the chain
 *
 * Whoever may sleep calls pool_will_block() first: it publishes what was
 * completed and lets another thread lead the queue.
 */

#include "fsserver/fsserver.h"

#include <limits.h>
#include <linux/fuse.h>
#include <sys/stat.h>

struct fs_node;
struct fs_handle;
struct fs_pool;

/* Fixed part of any request's arguments, with two names behind it. */
#define FS_ARGS_MAX	256

/*
 * One thread's belongings: all that a request needs without allocating. Lives
 * in the pool's per-thread memory; nothing in it is shared.
 */
struct fs_worker {
	struct fs *fs;
	struct chain chain;
	struct iovec iov[CHAIN_MAX_IOV];
	bool leading;			/* still leads chain.queue */
	bool hiprio;
	/* the request, copied once */
	struct fuse_in_header in;
	struct iov_cursor readable;	/* behind what was copied */
	struct iov_cursor writable;	/* behind the out header */
	size_t writable_len;		/* payload room in the reply */
	uint64_t args[FS_ARGS_MAX / 8];	/* the opcode's fixed part */
	size_t args_len;
	char name[2][NAME_MAX + 2];	/* checked, NUL-terminated */
	uint32_t groups[32];		/* supplementary, from FUSE_EXT_GROUPS */
	unsigned int nr_groups;
	const char *secctx_name;	/* FUSE_SECURITY_CTX, or NULL */
	const void *secctx;
	size_t secctx_len;
	uint64_t ext[512];		/* extensions, copied once */
	/* what the thread is on the host just now */
	uint32_t cur_uid, cur_gid;
	bool cur_groups;
	char *scratch;			/* FS_SCRATCH bytes */
	int64_t began;			/* CLOCK_MONOTONIC ns, for the dump */
};

#define FS_SCRATCH (128 * 1024)

/* ---- pool.c ------------------------------------------------------------- */

int pool_open(struct fs_pool **pool, struct fs *fs);
void pool_close(struct fs_pool *pool);
int pool_start(struct fs_pool *pool, unsigned int queue);
void pool_stop(struct fs_pool *pool, unsigned int queue);
/* The running request may sleep: flush, and let another lead. Cheap twice. */
void pool_will_block(struct fs_worker *w);
/* Interrupt all threads that sleep in a lock until none does. */
void pool_interrupt(struct fs_pool *pool);

/* ---- request.c ---------------------------------------------------------- */

/**
 * request_run() - serve the chain in @w
 *
 * Return: bytes written to the writable part (0 for FORGET), to be pushed.
 * Never fails: what is too broken to answer is pushed with length 0.
 */
uint32_t request_run(struct fs_worker *w);

/* ---- cred.c: whose name an operation acts in ---------------------------- */

/*
 * Act as the request's caller for what creates or checks (fsuid, fsgid,
 * groups); nothing when access is not passthrough or ids already fit.
 * cred_leave() returns to the server's own. 0 or -errno.
 */
int cred_enter(struct fs_worker *w);
void cred_leave(struct fs_worker *w);
/* Run without CAP_FSETID, so that the kernel clears set-id bits. */
int cred_drop_fsetid(struct fs_worker *w);
void cred_restore_fsetid(struct fs_worker *w);

/* ---- owner.c: access=passthrough|squash|mapped -------------------------- */

/* Host attributes as the guest shall see them; @fd and @name as in statx(). */
int owner_show(struct fs_worker *w, int dirfd, const char *name,
	       struct statx *stx);
/* After something was created: give it the caller's ids and the guest's mode. */
int owner_created(struct fs_worker *w, int dirfd, const char *name,
		  uint32_t mode, uint64_t rdev);
/* Mode for the host to create with, so that the server itself keeps access. */
uint32_t owner_create_mode(struct fs_worker *w, uint32_t mode);
/* chmod/chown part of SETATTR; FATTR_MODE/UID/GID bits of @valid. */
int owner_setattr(struct fs_worker *w, struct fs_node *node, uint32_t valid,
		  uint32_t mode, uint32_t uid, uint32_t gid);

#endif
