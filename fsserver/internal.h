/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_INTERNAL_H
#define VMSHARE_FSSERVER_INTERNAL_H

/*
 * What all folders of the file server know: the server, what INIT agreed on, a
 * thread and its request. A request's way:
 *
 *   pool/     a leader pops a chain and calls request_run()
 *   request.c decodes, checks against the opcode table, calls the operation
 *   ops/      work on nodes and handles with *at() calls; return the payload
 *             length that they put into the reply, or -errno
 *   request.c writes the out header and says how long the reply is
 *   pool/     pushes the chain
 *
 * Each folder knows those on its right, and none on its left:
 *
 *   fsserver/ -> ops/ -> pool/ -> owners/ -> journal/ -> nodes/ -> base/
 *
 * confine/ stands apart: it knows options and places alone.
 *
 * Lock order, the outer one first:
 *
 *   a directory handle's -> node table's -> { descriptor cache's | mounts' }
 *   a directory handle's -> { pool's | a virtqueue's }
 *
 * No other lock is taken under those of the lock owners' table, the handle
 * table, the pool and byhandle.c. Under a directory handle's the share is read;
 * under no other one. What else is done under a lock is said where it is.
 */

#include "fsserver/fsserver.h"
#include "fsserver/fuse.h"

#include <limits.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/stat.h>
#ifndef STATX_TYPE		/* musl has none before 1.2.5 */
#include <linux/stat.h>
#endif

struct fs_node;		/* a file the guest knows */
struct fs_handle;	/* a file the guest holds open */
struct fs_worker;
struct fs_nodes;
struct fs_handles;
struct fs_pool;
struct fs_locks;
struct fs_session;
struct fs_journal;
struct fs_byhandle;
struct fs_dumper;
struct journal_entry;

/*
 * The server. Written by fs_open() and then constant; what changes is behind
 * the pointers, each with its own locks.
 */
struct fs {
	struct fs_options options;	/* strings are copies */
	struct fs_place place;
	struct arena *arena;
	const struct chain_ops *ops;
	void *ops_ctx;
	unsigned int queues;
	void (*event)(void *ctx, enum fs_event event, const char *text);
	void *event_ctx;
	struct fs_nodes *nodes;
	struct fs_handles *handles;
	struct fs_locks *locks;		/* lock.c, or NULL when both are off */
	struct fs_byhandle *byhandle;	/* NULL without inode-handles=on */
	struct fs_pool *pool;
	struct fs_session *session;	/* in the arena */
	struct fs_journal *journal;	/* in the arena */
	struct stats *stats;		/* the parent's, or NULL */
	struct fs_dumper *dumper;		/* dump.c; NULL without stats */
	/* The pool's: see will_block(). */
	void (*will_block)(struct fs_worker *w);
};

/*
 * What FUSE_INIT agreed on; survives a worker. Written by INIT, DESTROY and
 * reset; read at any time, one field at a time.
 */
struct fs_session {
	uint64_t flags;			/* FUSE_* of the INIT reply */
	uint32_t minor;			/* 0: not initialised */
	uint32_t mounted;		/* an event said so */
	int32_t sync_fd;		/* SYNCFS's descriptor + 1; or 0 */
	uint32_t squeeze;		/* workers that died of their nodes */
	uint64_t node_limit;		/* the limit that follows; or 0 */
	uint32_t writable;		/* the share's file system was */
	uint32_t faults;		/* atomic; dump.c's: what was said */
};

ARENA_LAYOUT(SESSION_VERSION, struct fs_session, 40);

#define SESSION_VERSION	3

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
	/* the request, copied once */
	struct fuse_in_header in;
	struct iov_cursor readable;	/* behind what was copied */
	struct iov_cursor writable;	/* behind the out header */
	size_t writable_len;		/* payload room in the reply */
	uint64_t args[FS_ARGS_MAX / 8];	/* the opcode's fixed part */
	size_t args_len;
	size_t body_len;		/* bytes at `readable` that are data */
	struct fs_node *node;		/* pinned, where the opcode has one */
	char name[2][NAME_MAX + 2];	/* checked, NUL-terminated */
	uint32_t groups[32];		/* supplementary: FUSE_EXT_GROUPS */
	unsigned int nr_groups;
	uint64_t ext[512];		/* extensions, copied once */
	/* what the thread is on the host just now */
	uint32_t cur_uid, cur_gid;	/* cred.c's, down to no_fsetid */
	bool cur_groups;
	bool no_fsetid;
	uint64_t caps;			/* permitted */
	char *scratch;			/* FS_SCRATCH bytes */
	/* for others to look at, atomic: CLOCK_MONOTONIC ns or 0, and what */
	int64_t began;
	uint64_t now_node;
	uint32_t now_op;
	uint16_t now_queue;
	uint32_t counts_as;	/* the opcode, or 0 for an unknown one */
	bool failed;			/* the answer was an error */
	bool stats_shared;		/* the slot is not its own */
	struct stats_slot *stats;	/* NULL: nobody counts */
	struct journal_entry *journal;	/* NULL where none is kept */
	uint8_t replay;			/* how far an earlier worker was */
};

#define FS_SCRATCH (128 * 1024)

/*
 * The running request may sleep: what was completed is published, and another
 * thread leads the queue. Whoever may sleep calls it first; twice is cheap.
 */
static inline void will_block(struct fs_worker *w)
{
	if (w->fs->will_block)
		w->fs->will_block(w);
}

/* Was this FUSE_* flag agreed on in FUSE_INIT? */
static inline bool session_has(const struct fs *fs, uint64_t flag)
{
	return __atomic_load_n(&fs->session->flags, __ATOMIC_RELAXED) & flag;
}

/* The opcode's fixed part: zero-filled behind what the guest sent. */
static inline const void *request_args(const struct fs_worker *w)
{
	return w->args;
}

/* The attribute that has a mapped file's owner, mode and device. */
#define OWNER_XATTR	"user.vmshare.owner"

#define PROC_PATH_SIZE 32
/*
 * "self/fd/N": to be used relative to place.proc, which is also the process's
 * working directory (for the xattr calls, which take no directory).
 */
static inline const char *proc_path(char buf[PROC_PATH_SIZE], int fd)
{
	snprintf(buf, PROC_PATH_SIZE, "self/fd/%d", fd);
	return buf;
}

/* ---- counts, for whoever looks ------------------------------------------- */

/* How many of @what there are now; each is written under one lock. */
static inline void stats_gauge(const struct fs *fs, enum stats_gauge what,
			       uint64_t now)
{
	if (fs->stats)
		__atomic_store_n(&fs->stats->gauge[what], now,
				 __ATOMIC_RELAXED);
}

static inline void stats_count(struct fs_worker *w, enum stats_counter what)
{
	if (w->stats)
		stats_add(&w->stats->counter[what], 1, w->stats_shared);
}

#endif
