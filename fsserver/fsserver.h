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

/* Another keeper's namespaces; -1: its own are the caller's, too. */
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
	const char *dir;	/* opened by fs_confine(), never used after */
	bool readonly;
	enum fs_cache cache;
	bool writeback;
	bool xattr;
	bool posix_acl;		/* where the guest offers it */
	bool posix_lock, flock;	/* real locks on the host */
	bool block_locks;	/* let waiting locks wait */
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
	/* Be confined where another keeper is, to take its place; or NULL. */
	const struct fs_join *join;
};

void fs_options_init(struct fs_options *o);
/* "mknod[:NAME...]" as bits; names that no server has are none. NULL: 0. */
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

/* "seccomp", and what stands between guest and host without; NULL: the rest. */
const char *fs_layer_name(enum fs_layer_id id);
const char *fs_layer_left(enum fs_layer_id id);

/* A confined place to serve from; made by fs_confine(). */
struct fs_place {
	int root;		/* O_PATH of the share's root */
	int proc;		/* O_PATH of a procfs, or -1 */
	bool private_proc;	/* its own: only processes, only to be read */
	bool userns;		/* in a user namespace of its own */
	uint32_t uid, gid;	/* the server's own on the host */
	struct fs_layer layers[FS_LAYER_COUNT];
};

/* ---- confine/: what a server is confined by ------------------------------ */

/**
 * fs_fork() - fork the process that is going to confine itself (a keeper)
 * @o:		options; sandbox, access and id maps matter
 *
 * Like fork(), and to be called by a single-threaded process. Where there are
 * namespaces the child is PID 1 of a pid namespace of its own (it must reap
 * whatever is re-parented to it, and all in it die with it; only it can mount
 * that namespace's procfs), and for an ordinary user in a user namespace
 * whose map is complete on return. Its next step is fs_confine(). A plain
 * fork() instead of fs_fork() works too, with a layer less.
 * With o->join the child is the caller's sibling, so that it has the parent of
 * the keeper whose place it takes; an ordinary user's caller is in that one's
 * user namespace afterwards.
 * Return: 0 in the child, its pid in the parent, -errno.
 */
pid_t fs_fork(const struct fs_options *o);

/**
 * fs_join_open() - look up where a keeper is confined
 * @keeper:	its process id; a child of the caller's or its parent's
 * @dir:	O_PATH of its share's directory; stays the caller's
 *
 * Return: 0, or -errno where it is not to be looked at. What was opened is
 * closed by fs_confine() at the latest.
 */
int fs_join_open(struct fs_join *join, pid_t keeper, int dir);

/* Exit status of a process that a system call filter ended: do not restart. */
#define FS_EXIT_SECCOMP	121

/**
 * fs_confine() - shut the calling process into its share
 * @o:		options; dir, sandbox, access, id maps and readonly matter
 * @keep:	descriptors to keep open, ascending; all others but 0, 1 and 2
 *		are closed
 * @nr_keep:	how many
 * @place:	what it came to; its descriptors are open in the caller and
 *		belong to it (and to the workers that share its table)
 * @why:	on failure, one line that names the thing, the value and why
 *
 * To be called by the child of fs_fork(), the keeper, before it makes its
 * first worker with clone(CLONE_FILES | SIGCHLD). Acquire, then drop: opens
 * the share, then mount, net, ipc and uts namespaces, pivot_root, Landlock,
 * capabilities, no_new_privs and limits. The process must be single-threaded.
 * Afterwards the root directory is the share; no path of the host can be
 * opened. The arena, sockets and log descriptors must be in @keep. Seccomp
 * comes later: fs_seccomp_keeper() in the keeper before it clones its first
 * worker (who inherits it), and the narrower one of fs_open() in the worker.
 * Return: 0 or -errno with @why filled in.
 */
int fs_confine(const struct fs_options *o, const int *keep,
	       unsigned int nr_keep, struct fs_place *place, char *why,
	       size_t why_size);

/**
 * fs_probe_layers() - what fs_fork() and fs_confine() would come to
 *
 * For check: forks, tries, reports; @place holds no descriptor afterwards.
 * Return: 0 or -errno with @why filled in, as from fs_confine().
 */
int fs_probe_layers(const struct fs_options *o, struct fs_place *place,
		    char *why, size_t why_size);

/** fs_seccomp_keeper() - the keeper's filter, unless it is switched off */
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
 * Where the arena holds the state of an earlier worker, that is adopted.
 * Return: 0 or -errno; -EPROTO for an arena of another version.
 */
int fs_open(struct fs **fs, const struct fs_setup *setup);

/**
 * fs_state_fds() - descriptors that the state in an arena stands for
 * @mark:	called for each; may be given -1, and one more than once
 *
 * Between two workers: besides these and those of the place all that a dead
 * worker had open is garbage. Return: 0, -EPROTO for another version.
 */
int fs_state_fds(struct arena *arena, void (*mark)(void *ctx, int fd),
		 void *ctx);

/**
 * fs_squeeze() - a worker was killed for lack of memory
 *
 * Between two workers: the next one remembers half as many files. 0 or -EPROTO.
 */
int fs_squeeze(struct arena *arena);

/* Its ctx is the struct fs. */
extern const struct chain_consumer fs_consumer;

/**
 * fs_dump() - describe requests that run for longer than @ms, on stderr
 *
 * A thread top. Called by a thread of the server's own when somebody asks by
 * stats_ask(); any other may, too.
 */
void fs_dump(struct fs *fs, unsigned int ms);

/** fs_op_name() - what a number in struct stats's ops is; NULL: nothing */
const char *fs_op_name(unsigned int op);

/** fs_close() - stop all threads and free everything */
void fs_close(struct fs *fs);

#endif
