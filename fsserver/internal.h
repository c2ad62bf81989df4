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
#include "fsserver/fuse.h"

#include <limits.h>
#include <linux/limits.h>
#include <sys/stat.h>
#ifndef STATX_TYPE		/* musl has none before 1.2.5 */
#include <linux/stat.h>
#endif

struct fs_node;		/* a file the guest knows; nodetab.h */
struct fs_handle;	/* a file the guest holds open; handle.c */
struct fs_nodes;
struct fs_handles;
struct fs_pool;
struct fs_locks;
struct fs_session;
struct fs_journal;
struct fs_byhandle;
struct fs_looker;
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
	struct fs_looker *looker;	/* stats.c; NULL without stats */
};

/*
 * What FUSE_INIT agreed on; survives a worker. Written by INIT, DESTROY and
 * reset; read at any time, one field at a time.
 */
struct fs_session {
	uint64_t flags;			/* FUSE_* of the INIT reply */
	uint32_t minor;			/* 0: not initialised */
	uint32_t max_write;
	uint32_t max_pages;
	uint32_t mounted;		/* told by an event */
	int32_t sync_fd;		/* SYNCFS's descriptor + 1; or 0 */
	uint32_t squeeze;		/* workers that died of their nodes */
	uint64_t node_limit;		/* what came of that; or 0 */
	uint32_t writable;		/* the share's file system was */
	uint32_t faults;		/* atomic; stats.c's: what was said */
};

#define SESSION_VERSION	2

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
	const char *secctx_name;	/* FUSE_SECURITY_CTX, or NULL */
	const void *secctx;
	size_t secctx_len;
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
	bool failed;			/* the answer was an error */
	bool stats_shared;		/* the slot is not its own */
	struct stats_slot *stats;	/* NULL: nobody counts */
	struct journal_entry *journal;	/* NULL where none is kept */
	uint8_t replay;			/* how far an earlier worker was */
};

#define FS_SCRATCH (128 * 1024)

/* ---- pool.c, waiter.c --------------------------------------------------- */

int pool_open(struct fs_pool **pool, struct fs *fs);
void pool_close(struct fs_pool *pool);
int pool_start(struct fs_pool *pool, unsigned int lane);
void pool_stop(struct fs_pool *pool, unsigned int lane);
/* The running request may sleep: flush, and let another lead. Cheap twice. */
void pool_will_block(struct fs_worker *w);
/* Interrupt all threads that sleep in a lock until none does. */
void pool_interrupt(struct fs_pool *pool);
/*
 * Around a wait of unknown length, for a lock (helper POOL): wait_begin counts
 * the waiter against its ring, -ENOLCK where three quarters of it wait already
 * or no other thread could go on; INTERRUPT then ends the system call with
 * EINTR, after which wait_interrupted tells whether to give up.
 */
int pool_wait_begin(struct fs_worker *w);
bool pool_wait_interrupted(const struct fs_worker *w);
void pool_wait_end(struct fs_worker *w);
/* Visit each running request: when it began, whether it waits for a lock. */
void pool_each(struct fs_pool *pool,
	       void (*visit)(void *ctx, const struct fs_worker *w,
			     int64_t began, bool waiting),
	       void *ctx);
/*
 * What pool.c needs from fs.c for chain_consumer.reset: nodes, handles, locks
 * and session of this guest go. Requests may still run; waiters were ended.
 */
void fs_drop_guest(struct fs *fs);

/* ---- stats.c ------------------------------------------------------------- */

int stats_open(struct fs *fs, struct stats *stats);
void stats_end(struct fs *fs);		/* before the pool's end */
/* There is a descriptor on another mount than the root's: fdcache_idle() is to
 * be called from now on. */
void stats_foreign(struct fs *fs);
/* A slot for the counts of a new thread, and back; @taken has a lock. */
static inline void stats_join(struct fs_worker *w, struct stats *stats,
			      bool taken[STATS_SLOTS])
{
	w->stats = stats ? stats_take(stats, taken) : NULL;
	w->stats_shared = stats && w->stats == &stats->slot[0];
}

static inline void stats_leave(struct fs_worker *w, const struct stats *stats,
			       bool taken[STATS_SLOTS])
{
	if (w->stats)
		taken[w->stats - stats->slot] = false;
}

/* When the request of @w began, for all who look; 0: it ended. */
static inline void stats_began(struct fs_worker *w, int64_t began)
{
	__atomic_store_n(&w->began, began, __ATOMIC_RELEASE);
	if (w->stats && !w->stats_shared)
		__atomic_store_n(&w->stats->began, began, __ATOMIC_RELAXED);
}

/* A request of @w was answered with @len bytes, after @ns. */
void stats_request(struct fs_worker *w, int64_t ns, uint32_t len);

/* The share's file system failed the request of @w: once, that is said. */
void stats_fault(struct fs_worker *w, int err);

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

/* ---- request.c ---------------------------------------------------------- */

/**
 * request_run() - serve the chain in @w
 *
 * Return: bytes written to the writable part (0 for FORGET), to be pushed.
 * Never fails: what is too broken to answer is pushed with length 0.
 */
uint32_t request_run(struct fs_worker *w);

/* "READ"; "?" for an opcode that is not served. */
const char *request_name(uint32_t opcode);

/* The opcode's fixed part: zero-filled behind what the guest sent. */
static inline const void *request_args(const struct fs_worker *w)
{
	return w->args;
}

/**
 * reply_put() - append to the reply's payload
 *
 * Return: @len, or -EINVAL when the guest left too little room.
 */
int reply_put(struct fs_worker *w, const void *data, size_t len);

/* ---- inode.c, nodetab.c, names.c, fdcache.c: what the guest knows -------- */

/*
 * A pinned node neither goes away nor loses its descriptor. Pins are short:
 * a request's. What lives longer (a handle, a name below a directory) holds.
 */

/** node_get() - pin the node of a guest's id; -ESTALE for any other number */
int node_get(struct fs *fs, uint64_t nodeid, struct fs_node **node);
void node_put(struct fs *fs, struct fs_node *node);
uint64_t node_id(const struct fs_node *node);
/* S_IFMT bits; only a symlink that is given away (maplink.c) changes its. */
uint32_t node_type(const struct fs_node *node);

/**
 * node_fd() - the node's O_PATH descriptor, opened now if it has none
 * @node:	pinned
 *
 * Return: a descriptor that stays valid while the node is pinned (not the
 * caller's to close), or -errno; -ESTALE when the file can't be found again.
 */
int node_fd(struct fs_worker *w, struct fs_node *node);

/**
 * node_open() - open a node for I/O
 * @flags:	open(2) flags; O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
 *		are added
 *
 * Only regular files and directories; what was opened is verified to be the
 * node. Return: a new descriptor (the caller's to close), or -errno.
 */
int node_open(struct fs_worker *w, struct fs_node *node, int flags);

#define PROC_PATH_SIZE 32
/* "self/fd/N": to be used relative to place.proc, which is also the process's
 * working directory (for the xattr calls, which take no directory). */
const char *proc_path(char buf[PROC_PATH_SIZE], int fd);

/* ---- handle.c: what the guest holds open -------------------------------- */

/**
 * handle_get() - pin the handle of a guest's fh
 *
 * Return: 0; -EBADF for any number that is not an open handle, or one of
 * another node than the request's (w->node) where there is one.
 */
int handle_get(struct fs_worker *w, uint64_t fh, struct fs_handle **handle);
void handle_put(struct fs_worker *w, struct fs_handle *handle);
int handle_fd(const struct fs_handle *handle);	/* valid while pinned */
struct fs_node *handle_node(struct fs *fs, const struct fs_handle *handle);
/*
 * Descriptors outside of nodes and handles (lock owners') are counted too: 0,
 * or -ENFILE when the budget is used up by what the guest holds open. There is
 * one in reserve for an open @directory.
 */
int fd_charge(struct fs *fs, bool directory);
void fd_uncharge(struct fs *fs);

/* ---- lock.c: POSIX and flock locks -------------------------------------- */

struct flock;
int lock_open(struct fs *fs);	/* sets fs->locks */
int lock_mark(struct arena *arena, void (*mark)(void *ctx, int fd), void *ctx);
void lock_close(struct fs *fs);
/* The operations; w->node is set. Each returns payload length or -errno. */
int lock_getlk(struct fs_worker *w);
int lock_setlk(struct fs_worker *w);	/* SETLK and SETLKW, POSIX and flock */
/* FLUSH: close(2) by a process; its POSIX locks on the file end. */
void lock_flush(struct fs_worker *w, uint64_t owner);
/* RELEASE: the last close of an open file, before its descriptor closes. */
void lock_release(struct fs_worker *w, struct fs_handle *handle,
		  const struct fuse_release_in *in);
/* Reset, DESTROY, a new INIT: no lock of that guest stays. */
void lock_drop_all(struct fs *fs);
/*
 * Call @see for each OFD lock that @fd has, until it returns not 0; overwrites
 * w->scratch. Return: what @see returned last, or -errno.
 */
int locks_of(struct fs_worker *w, int fd,
	     int (*see)(void *ctx, struct flock *held), void *ctx);

/* ---- cred.c: whose name an operation acts in ---------------------------- */

/*
 * Act as the request's caller for what creates or checks (fsuid, fsgid,
 * groups); nothing when access is not passthrough or ids already fit.
 * cred_leave() returns to the server's own. 0 or -errno.
 */
uint64_t cred_caps(void);		/* what the process has */
void cred_init(struct fs_worker *w, uint64_t caps); /* for a new thread */
int cred_enter(struct fs_worker *w);
void cred_leave(struct fs_worker *w);
/* Run without CAP_FSETID, so that the kernel clears set-id bits. */
int cred_drop_fsetid(struct fs_worker *w);
void cred_restore_fsetid(struct fs_worker *w);

/* ---- idmap.c ------------------------------------------------------------ */

/* Ids through uid-map= and gid-map=; -EOVERFLOW for one that has no place,
 * -EPERM for one that is forbidden. */
int owner_uid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host);
int owner_gid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host);
uint32_t owner_uid_to_guest(const struct fs *fs, uint32_t host);
uint32_t owner_gid_to_guest(const struct fs *fs, uint32_t host);
/* The ids of an access control list, to the host's (@host) or back. */
int owner_map_acl(const struct fs *fs, void *acl, size_t size, bool host);

/* ---- owner.c: access=passthrough|squash|mapped -------------------------- */

/* Host attributes as the guest shall see them; @fd and @name as in statx(). */
int owner_show(struct fs_worker *w, int dirfd, const char *name,
	       struct statx *stx);
/* After something was created: the caller's ids and the guest's mode. */
int owner_created(struct fs_worker *w, int dirfd, const char *name,
		  uint32_t mode, uint64_t rdev);
/* Mode for the host to create with, so that the server itself keeps access. */
uint32_t owner_create_mode(struct fs_worker *w, uint32_t mode);
/* chmod/chown part of SETATTR; FATTR_MODE/UID/GID bits of @valid; none of
 * them: chown(2) of neither. */
int owner_setattr(struct fs_worker *w, struct fs_node *node, uint32_t valid,
		  uint32_t mode, uint32_t uid, uint32_t gid);
/*
 * Before a write, truncate or fallocate to @fd of a mapped file: clear what the
 * kernel would clear of a real one. @kill: set-id bits too (KILL_SUIDGID).
 */
int owner_will_write(struct fs_worker *w, int fd, bool kill);
/* Whether this attribute is a list that owner_set_acl() has to set. */
bool owner_keeps_acl(const struct fs_worker *w, const char *guest);
/*
 * Set the list w->name[0] of a mapped file to what scratch has, and its mode.
 * @kill: the set-group-id bit goes. Return: 0, -EINVAL for no list, -errno.
 */
int owner_set_acl(struct fs_worker *w, size_t size, bool kill);
/* A directory entry's d_type as the guest may rely on it. */
uint32_t owner_dtype(const struct fs *fs, uint32_t dtype);

/* ---- xattrname.c: what a guest's attributes are called on the host ------- */

#define OWNER_XATTR	"user.vmshare.owner"	/* of access=mapped */
/* An access control list, by the guest's name as by the host's. */
bool xattr_is_acl(const char *name);
/* Whether the text of xattr-map= is in order: 0 or -EINVAL. */
int owner_xattr_map_check(const char *map);
/*
 * Extended attribute names, in place: 0 with @host filled in, or -errno for
 * what the guest may not touch (-EPERM, -EOPNOTSUPP, -ENODATA as fits).
 */
int owner_xattr_to_host(struct fs_worker *w, const char *guest,
			char host[XATTR_NAME_MAX + 1], bool set);
/* Rewrites a listxattr() result for the guest; returns its new length. */
size_t owner_xattr_list(struct fs_worker *w, char *list, size_t len);

/* ---- seccomp.c ---------------------------------------------------------- */

/* The worker's filter, for all its threads, unless it is switched off. */
int seccomp_worker(struct fs *fs);

/* callname.c: a system call's name, @len bytes without a NUL, or NULL. */
const char *call_name(unsigned int nr, size_t *len);

#endif
