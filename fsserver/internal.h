/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_INTERNAL_H
#define VMSHARE_FSSERVER_INTERNAL_H

/*
 * What all folders of the file server know: the server, what INIT negotiated,
 * a thread and its request. A request's way:
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
 * confine/ stands apart: it knows struct fs_options and struct fs_place only.
 *
 * Lock order, the outer one first:
 *
 *   a directory handle's -> node table's -> { descriptor cache's | mounts' }
 *   a directory handle's -> { pool's | a virtqueue's }
 *
 * No other lock is taken under those of the lock owners' table, the handle
 * table, the pool and byhandle.c. System calls on the share are made under a
 * directory handle's lock only. Each lock's declaration or file head says what
 * else is done under it.
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
 * The server. Written by fs_open() and constant after that; state that changes
 * is behind the pointers, with locks of its own.
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
	/* Set by the pool: see will_block(). */
	void (*will_block)(struct fs_worker *w);
};

/*
 * What FUSE_INIT negotiated; survives a worker. Written by INIT, DESTROY and
 * reset; read at any time, one field at a time.
 */
struct fs_session {
	uint64_t flags;			/* FUSE_* of the INIT reply */
	uint32_t minor;			/* 0: not initialised */
	uint32_t mounted;		/* FS_EVENT_MOUNTED was reported */
	int32_t sync_fd;		/* SYNCFS's descriptor + 1; or 0 */
	uint32_t squeeze;		/* workers that ran out of memory */
	uint64_t node_limit;		/* the resulting limit; or 0 */
	uint32_t writable;		/* the file system was, at the start */
	uint32_t faults;		/* atomic; dump.c: warnings given */
};

ARENA_LAYOUT(SESSION_VERSION, struct fs_session, 40);

#define SESSION_VERSION	3

/* Bound of the fixed part of a request's arguments. */
#define FS_ARGS_MAX	256

/*
 * A thread with its request: all memory that a request needs, so that none is
 * allocated for it. Only fields marked atomic are read by other threads.
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
	/* current credentials of the thread on the host */
	uint32_t cur_uid, cur_gid;	/* cred.c's, down to no_fsetid */
	bool cur_groups;
	bool no_fsetid;
	uint64_t caps;			/* permitted */
	char *scratch;			/* FS_SCRATCH bytes */
	/* atomic, for dumps: the running request */
	int64_t began;			/* CLOCK_MONOTONIC ns; 0: none runs */
	uint64_t now_node;
	uint32_t now_op;
	uint16_t now_queue;
	uint32_t counts_as;	/* the opcode, or 0 for an unknown one */
	bool failed;			/* the reply is an error */
	bool stats_shared;		/* other threads use the slot too */
	struct stats_slot *stats;	/* NULL: counting is off */
	struct journal_entry *journal;	/* NULL where none is kept */
	uint8_t replay;			/* how far an earlier worker got */
};

#define FS_SCRATCH (128 * 1024)

/*
 * To be called before a system call that may sleep: publishes completed chains
 * and hands the lead of the queue to another thread. A second call is cheap.
 */
static inline void will_block(struct fs_worker *w)
{
	if (w->fs->will_block)
		w->fs->will_block(w);
}

/* Was this FUSE_* flag negotiated in FUSE_INIT? */
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

/* ---- counts -------------------------------------------------------------- */

/* How many of @what there are now; each gauge is written under one lock. */
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
