/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_SHARE_H
#define VMSHARE_LAUNCH_SHARE_H

/*
 * One share's processes, and what outlives vmshare itself. Knows nothing of
 * QEMU, nor of what a file server does: that comes in as callbacks.
 */

#include "launch/config/config.h"

#include <signal.h>
#include <termios.h>

/* ---- guardian.c: what happens when vmshare itself is killed ------------- */

struct guardian;

/**
 * guardian_start() - fork the process that cleans up after a killed vmshare
 *
 * It shares the caller's descriptor table, so call it before anything else is
 * started, and from the main thread.
 * Return: 0 or -errno.
 */
int guardian_start(struct guardian **guardian);

/**
 * guardian_end() - it is not needed any more; NULL is fine
 *
 * Processes were ended in order; files that it knows are removed here.
 */
void guardian_end(struct guardian *guardian);

#define GUARDIAN_PROCESSES	(VM_MAX_SHARES + 8)

/**
 * guardian_slot() - where to put a pidfd of a process that must not survive
 *
 * For CLONE_PIDFD: the kernel stores the descriptor there before the child
 * runs, so that there is no moment in which nobody would kill it.
 * Return: the slot, holding -1; NULL when there are none left.
 */
int *guardian_slot(struct guardian *guardian);

/* To be polled: readable when the guardian has died. -1: there is none. */
int guardian_fd(const struct guardian *guardian);

/**
 * guardian_replace() - it has died: start another
 *
 * After some deaths there is none any more.
 * Return: 0 or -errno.
 */
int guardian_replace(struct guardian *guardian);

/* The process is gone: forget it (the caller closes the pidfd afterwards). */
void guardian_forget(struct guardian *guardian, int pidfd);

/**
 * guardian_file() - a file that is about to be made must not survive vmshare
 *
 * It is removed by guardian_end(), or when vmshare is killed; until
 * guardian_made() whatever has that name.
 * Return: a number for guardian_made(), or -errno.
 */
int guardian_file(struct guardian *guardian, const char *path);

/*
 * It is made: @fd, which is the guardian's from here on, tells it from another
 * of the same name. -1: it was not.
 */
void guardian_made(struct guardian *guardian, int slot, int fd);

/**
 * guardian_scratch() - make a directory for temporary files of QEMU's
 *
 * QEMU's file for snapshot=on has a name until it is open, and keeps it when
 * QEMU is killed before. Return: the path, or NULL when none could be made.
 */
const char *guardian_scratch(struct guardian *guardian);

/** guardian_sweep() - remove those files, and the directory if it is empty */
void guardian_sweep(struct guardian *guardian);

/** guardian_terminal() - these are the settings to restore; NULL: no more */
void guardian_terminal(struct guardian *guardian, int fd,
		       const struct termios *saved);

/* In a child just after fork: has vmshare been killed in the meantime? */
bool guardian_orphaned(const struct guardian *guardian);

/*
 * In a child that does not exec: unmap the page, since its contents decide what
 * the guardian kills and removes.
 */
void guardian_leave(struct guardian *guardian);

/* ---- share.c: one share's processes ------------------------------------- */

/* One byte each from worker to parent; a guest can cause no others. */
enum share_event {
	SHARE_CONNECTED = 'c',	/* QEMU spoke to the server */
	SHARE_DRIVER = 'd',	/* the guest's driver set up its queues */
	SHARE_MOUNTED = 'm',
	SHARE_UNMOUNTED = 'u',
	SHARE_NOT_SHARED = 'n',	/* guest memory is private */
};

/* Descriptors of keeper and workers in addition to those in the arena. */
struct share_fds {
	int sock;		/* connected or listening */
	int events;		/* enum share_event to the parent */
	int relay;		/* from the parent, for an upgrade; or -1 */
	/* The keeper's, to parent and old keeper, until it begins; then -1. */
	int ready, go, link;
	int kills;		/* the keeper's: mem_group_events(), or -1 */
};

typedef void share_know_fn(void *known, int fd);
struct upgrade;

/* What vmshare.c supplies: the rooms that launch does not know. */
struct share_ops {
	/* Like fork(): the child becomes the keeper. */
	pid_t (*fork)(void *arg);
	/* In the keeper, single-threaded: confine. 0 or -errno, @why set. */
	int (*confine)(void *arg, const int *keep, unsigned int nr_keep,
		       char *why, size_t why_size);
	/* In the keeper, after confine: lock it down further. 0 or -errno. */
	int (*lock_keeper)(void *arg);
	/* In each worker: serve the socket until it ends. An exit status. */
	int (*serve)(void *arg, const struct share_fds *fds,
		     struct arena *arena);
	/*
	 * Did the worker that died complete a request? Asked once for each:
	 * tells a crash loop from a crash. NULL where no worker can adopt what
	 * another left: its death is the share's then.
	 */
	bool (*progressed)(void *arg, struct arena *arena);
	/* The worker died for lack of memory: the next one needs less. */
	void (*squeeze)(void *arg, struct arena *arena);
	/*
	 * The rest only where another program may take the share over.
	 *
	 * Call @know for each descriptor that the state in the arena or @arg
	 * names. 0 or -errno.
	 */
	int (*known)(void *arg, struct arena *arena, share_know_fn *know,
		     void *known);
	/* Give @arg's own descriptors numbers from @least on. 0 or -errno. */
	int (*move)(void *arg, int least);
	/* In a process of its own: could a worker serve? 0 or -errno. */
	int (*probe)(void *arg, const struct share_fds *fds,
		     struct arena *arena);
	/* In the parent: what makes @arg, for the other program. */
	void (*describe)(void *arg, struct upgrade *u);
};

struct share {
	const struct share_config *config;
	pid_t keeper;
	int pidfd;		/* -1: not running */
	int events;		/* read end, non-blocking; -1: none */
	bool connected, driver, mounted, ever_mounted, not_shared;
	struct guardian *guardian;
	const struct share_ops *ops;
	void *arg;
	int relay;		/* the other end of the keeper's; -1: none */
	int dir;		/* O_PATH of the shared directory, or -1 */
	/* Set by the caller after the start; or NULL, -1. */
	struct stats *stats;
	int stats_fd;
};

/**
 * share_start() - start keeper and worker for one share
 * @sock:	connected or listening socket; the share's on success (the
 *		caller's copy is closed)
 * @why:	on failure, one line for the user
 *
 * Returns when the share is confined and ready to serve.
 * Return: 0 or -errno.
 */
int share_start(struct share *s, const struct share_config *config,
		const struct share_ops *ops, void *arg, int sock,
		struct guardian *guardian, char *why, size_t why_size);

/* Have its server say on stderr which requests do not end. */
void share_ask(const struct share *s);

/**
 * share_read_events() - take what is in the event pipe
 * @fn:	called once for each kind of event that came, for "mounted" and
 *	"unmounted" in the order that ends with what is so now
 *
 * Reads once: a worker that is not trusted may write as fast as this reads.
 */
void share_read_events(struct share *s,
		       void (*fn)(void *ctx, struct share *s, char event),
		       void *ctx);

/**
 * share_sweep() - in a worker: close what its predecessor left half open
 * @arg:	for ops->known()
 * @fds:	as given to serve()
 *
 * Keeper and workers share one table of descriptors. Whatever ops->known()
 * does not name was being opened or closed when a worker died. Before threads
 * start. Return: 0 or -errno.
 */
int share_sweep(const struct share_ops *ops, void *arg,
		const struct share_fds *fds, struct arena *arena);
/* Give *@fd (-1 stays so) a number from @least on. 0 or -errno. */
int share_move_fd(int *fd, int least);

/**
 * share_reap() - after the pidfd became readable
 *
 * Return: the keeper's exit status, 128 + n for a signal; 0 is an orderly
 * end, because the front end left.
 */
int share_reap(struct share *s);

/* Kill and reap; nothing when it is not running. */
void share_stop(struct share *s);

/* ---- upgrade.c, handover.c: live upgrade --------------------------------- */

#define UPGRADE_COMMAND	"take-over"	/* internal; FD of a message */

/*
 * The handover message's content, for the program on disk when it is started to
 * take over a running share. Its keeper then receives from the old one all
 * open descriptors, the arena among them; the guest sees a short pause.
 */
struct upgrade {
	/* Filled in by share_ops.describe(). */
	const char *access;	/* as it was resolved */
	unsigned int how;	/* enum serve_how */
	bool root;		/* it is the root of a guest without a disk */
	/* The rest is the launcher's. */
	struct config config;	/* read: command, verbose, syslog, one share */
	int keeper;		/* process id of the old one */
	int dir;		/* O_PATH of the shared directory */
	int stats;		/* or -1 */
	int ready, go;		/* to and from the process that started it */
	int link;		/* to the old keeper */
	int relay;		/* the new keeper's, for the next upgrade */
};

/** upgrade_command() - UPGRADE_COMMAND: read the handover message, @work */
int upgrade_command(int argc, char **argv, int (*work)(struct upgrade *h));

/**
 * upgrade_start() - in the new program: fork the new keeper
 *
 * Return: an exit status; the keeper goes on without its parent.
 */
int upgrade_start(const struct upgrade *h, const struct share_ops *ops,
		  void *arg);
/* Report to the process that started it why not. Return: an exit status. */
int upgrade_refuse(const struct upgrade *h, const char *why);

/** upgrade_remember() - first of all: note the path of this program's file */
void upgrade_remember(void);

/**
 * share_upgrade() - hand a share over to the program on disk
 * @c:		the run's or serve's
 *
 * Prints the result, and counts it where there are counts. The share goes on in
 * either case; its requests wait for some milliseconds.
 */
void share_upgrade(const struct config *c, struct share *s);

/* ---- listen.c: a server's socket --------------------------------------- */

/* What a worker does with its socket. */
enum serve_how {
	SERVE_CONNECTED,	/* it is one front end's */
	SERVE_LISTENING,	/* accept one front end after the other */
	SERVE_ONCE,		/* accept one */
};

/**
 * serve_listen() - the socket that --socket, --fd or LISTEN_FDS name
 * @guardian:	will remove the socket's path
 * @fd:		set to the socket
 * @how:	set to how it is to be served
 *
 * Prints why not. Return: 0, or an exit status.
 */
int serve_listen(const struct config *c, struct guardian *guardian, int *fd,
		 enum serve_how *how);

/*
 * Block the signals that serve_wait() takes from a signalfd; @set: which. Done
 * before anybody can see the socket.
 */
void serve_block_signals(sigset_t *set);

/* Of a worker that accepts, for its successor; in an arena, zero at first. */
struct serve_state {
	uint32_t connected;	/* conn is a connection */
	int32_t conn;		/* its descriptor; 0: not made yet */
	uint32_t left;		/* a front end left that may come back */
};

/* Exit status of a worker: its successor goes on, as after a crash. */
#define SHARE_AGAIN	64

/**
 * serve_connections() - in a worker: serve what comes to a socket
 * @run:	serve one; 0, -errno, or 1 where it left, may come back, and
 *		this process has to end; @conn -1: it did not come back
 *
 * Return: exit status of the worker.
 */
int serve_connections(int sock, enum serve_how how, struct serve_state *state,
		      int (*run)(void *ctx, int conn), void *ctx);

#endif
