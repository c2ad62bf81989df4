/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_H
#define VMSHARE_FSSERVER_H

/*
 * The file server: FUSE requests in, files of one directory tree out. It
 * consumes chains (base.h) and knows nothing of rings, sockets or QEMU.
 */

#include "base/base.h"

enum fs_cache { FS_CACHE_AUTO, FS_CACHE_ALWAYS, FS_CACHE_NONE };
enum fs_access { FS_ACCESS_PASSTHROUGH, FS_ACCESS_SQUASH, FS_ACCESS_MAPPED };
enum fs_sandbox {
	FS_SANDBOX_AUTO,	/* the strongest that the host allows */
	FS_SANDBOX_NAMESPACE,	/* refuse to run with less */
	FS_SANDBOX_CHROOT,	/* root only: no namespaces but chroot */
	FS_SANDBOX_NONE,	/* openat2 and name checks alone */
};

#define FS_MAX_HIDE 16

/* Another keeper's namespaces; -1: it is in the caller's own. */
enum fs_join_ns {
	FS_JOIN_USER, FS_JOIN_MNT, FS_JOIN_NET, FS_JOIN_IPC, FS_JOIN_UTS,
	FS_JOIN_COUNT,
};
struct fs_join {
	int dir;		/* O_PATH of the share's directory */
	int ns[FS_JOIN_COUNT];
};

struct fs_options {
	const char *name;	/* the tag, for messages */
	const char *dir;	/* used by fs_confine() only */
	bool readonly;
	enum fs_cache cache;
	bool writeback;
	bool xattr;
	bool posix_acl;		/* where the guest offers it */
	bool posix_lock, flock;	/* real locks on the host */
	bool block_locks;	/* SETLKW may wait; else EOPNOTSUPP */
	bool submounts;		/* announce mount points to the guest */
	bool inode_handles;	/* reopen by file handle */
	bool allow_direct_io;	/* pass O_DIRECT to the host */
	bool noatime;		/* honour the guest's O_NOATIME */
	enum fs_access access;
	uint32_t squash_uid, squash_gid; /* the server's own, in the guest */
	/* Owners that the server's user namespace can't name: 0, not 65534. */
	bool unnamed_as_root;
	struct id_map uid_map, gid_map; /* ID_RANGE needs a user namespace */
	unsigned int threads;	/* most threads that run requests; 0: auto */
	unsigned int open_files; /* descriptor budget; 0: from RLIMIT_NOFILE */
	uint64_t inode_limit;	/* nodes; 0: none but memory */
	uint64_t memory;	/* that control groups allow; 0: no limit */
	enum fs_sandbox sandbox;
	uint64_t drop_caps;	/* capabilities to do without, as bits */
	bool seccomp;
	bool seccomp_log;	/* log a violation, don't end the share */
	/* Names in the share's root that do not exist for the guest. */
	const char *hide[FS_MAX_HIDE];
	unsigned int nr_hide;
	const char *xattr_map;	/* virtiofsd's rule syntax, or NULL */
	uint64_t timeout_ms;	/* attribute and entry timeout; cache=auto */
	/* A live upgrade: join the old keeper's namespaces; or NULL. */
	const struct fs_join *join;
};

void fs_options_init(struct fs_options *o);
/* "mknod[:NAME...]" as bits; unknown names are ignored. NULL: 0. */
uint64_t fs_caps_parse(const char *text);
/* Whether a guest made this directory in a share with access=mapped. */
bool fs_made_mapped(const char *dir);

/* The state of each layer of confinement, for check and for messages. */
enum fs_layer_state { FS_LAYER_OFF, FS_LAYER_ON, FS_LAYER_UNAVAILABLE };
enum fs_layer_id {
	FS_LAYER_NAMES,		/* checks in the request decoder; always on */
	FS_LAYER_OPENAT2,
	FS_LAYER_NAMESPACES,	/* mount, pid, net, ipc, uts; pivot_root */
	FS_LAYER_LANDLOCK,
	FS_LAYER_CAPS,
	FS_LAYER_SECCOMP,
	FS_LAYER_COUNT,
};
struct fs_layer {
	enum fs_layer_state state;
	int error;		/* errno when unavailable */
	char why[96];		/* which step failed, in words; or "" */
};

/* A layer's name, such as "seccomp". */
const char *fs_layer_name(enum fs_layer_id id);
/* What protects the host when this layer is missing; NULL: the other layers. */
const char *fs_layer_left(enum fs_layer_id id);

/* A confined place to serve from; made by fs_confine(). */
struct fs_place {
	int root;		/* O_PATH of the share's root */
	int proc;		/* O_PATH of a procfs, or -1 */
	bool private_proc;	/* its own: processes only, read-only */
	bool userns;		/* in a user namespace of its own */
	uint32_t uid, gid;	/* the server's own on the host */
	struct fs_layer layers[FS_LAYER_COUNT];
};

/* ---- confine/: the server's confinement ---------------------------------- */

/**
 * fs_fork() - fork the process that will confine itself (a keeper)
 * @o:		options; sandbox, access and id maps matter
 *
 * Like fork(); to be called by a single-threaded process. With namespaces the
 * child is PID 1 of its own pid namespace: it must reap orphans, all processes
 * in it end with it, and only it can mount that namespace's procfs. For an
 * ordinary user it is also in a user namespace whose map is complete on return.
 * Its next step is fs_confine(), which also works after a plain fork(), with
 * one layer less.
 * With o->join the child is the caller's sibling, so that it has the parent of
 * the keeper that it replaces; the caller, if it is an ordinary user, is in the
 * old keeper's user namespace afterwards.
 * Return: 0 in the child, its pid in the parent, -errno.
 */
pid_t fs_fork(const struct fs_options *o);

/**
 * fs_join_open() - open the namespaces of a keeper
 * @keeper:	its process id; a child of the caller's or its parent's
 * @dir:	O_PATH of its share's directory; stays the caller's
 *
 * Return: 0, or -errno where they can't be opened. fs_confine() closes the
 * descriptors.
 */
int fs_join_open(struct fs_join *join, pid_t keeper, int dir);

/* Exit status of a process that a system call filter ended: do not restart. */
#define FS_EXIT_SECCOMP	121

/**
 * fs_confine() - confine the calling process to its share
 * @o:		options; dir, sandbox, access, id maps and readonly matter
 * @keep:	descriptors to keep open, ascending; all others but 0, 1 and 2
 *		are closed
 * @nr_keep:	how many
 * @place:	the result; its descriptors belong to the caller, and to the
 *		workers that share its descriptor table
 * @why:	on failure, one line that names the thing, the value and why
 *
 * To be called by the child of fs_fork(), the keeper, before it makes its
 * first worker with clone(CLONE_FILES | SIGCHLD). Acquire, then drop: opens
 * the share, then mount, net, ipc and uts namespaces, pivot_root, Landlock,
 * capabilities, no_new_privs and limits. The process must be single-threaded.
 * Afterwards the root directory is the share; no path of the host can be
 * opened. The arena, sockets and log descriptors must be in @keep. The system
 * call filters come later: fs_seccomp_keeper() in the keeper before it clones
 * its first worker, which inherits it, and fs_open()'s stricter one in the
 * worker.
 * Return: 0 or -errno with @why filled in.
 */
int fs_confine(const struct fs_options *o, const int *keep,
	       unsigned int nr_keep, struct fs_place *place, char *why,
	       size_t why_size);

/**
 * fs_probe_layers() - which layers fs_fork() and fs_confine() would reach
 *
 * For check: forks, tries, reports; @place holds no descriptor afterwards.
 * Return: 0 or -errno with @why filled in, as from fs_confine().
 */
int fs_probe_layers(const struct fs_options *o, struct fs_place *place,
		    char *why, size_t why_size);

/** fs_seccomp_keeper() - install the keeper's filter, unless it is off */
int fs_seccomp_keeper(const struct fs_options *o);

/* Progress of the guest's use of the share. */
enum fs_event {
	FS_EVENT_MOUNTED,	/* FUSE_INIT */
	FS_EVENT_UNMOUNTED,	/* FUSE_DESTROY */
	FS_EVENT_WARNING,	/* @text, already escaped */
};

struct fs;

struct fs_setup {
	const struct fs_options *options;	/* copied */
	const struct fs_place *place;
	struct arena *arena;
	struct stats *stats;			/* counts; may be NULL */
	const struct chain_ops *ops;		/* where chains come from */
	void *ops_ctx;
	unsigned int queues;			/* including queue 0 */
	void (*event)(void *ctx, enum fs_event event, const char *text);
	void *event_ctx;
};

/**
 * fs_open() - start the server; threads start with the first queue
 *
 * Adopts the state of an earlier worker where the arena holds one.
 * Return: 0 or -errno; -EPROTO for an arena of another version.
 */
int fs_open(struct fs **fs, const struct fs_setup *setup);

/**
 * fs_state_fds() - descriptors that the state in an arena refers to
 * @mark:	called for each, perhaps twice for one, and perhaps with -1
 *
 * To be called between two workers: of a dead worker's descriptors these and
 * those of the place are needed, and all others must be closed. Return: 0,
 * -EPROTO for another version.
 */
int fs_state_fds(struct arena *arena, void (*mark)(void *ctx, int fd),
		 void *ctx);

/**
 * fs_squeeze() - a worker was killed for lack of memory
 *
 * To be called between two workers: the next one keeps half as many nodes. 0 or
 * -EPROTO.
 */
int fs_squeeze(struct arena *arena);

/* Its ctx is the struct fs. */
extern const struct chain_consumer fs_consumer;

/**
 * fs_dump() - describe requests that run for longer than @ms, on stderr
 *
 * Prints. The server's dump thread calls it after stats_ask(); any other thread
 * may call it too.
 */
void fs_dump(struct fs *fs, unsigned int ms);

/** fs_op_name() - the opcode's name of an index into stats_slot.op, or NULL */
const char *fs_op_name(unsigned int op);

/** fs_close() - stop all threads and free everything */
void fs_close(struct fs *fs);

#endif
