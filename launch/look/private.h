/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_LOOK_PRIVATE_H
#define VMSHARE_LAUNCH_LOOK_PRIVATE_H

/* Between look.c, which finds what runs, and ps.c and stat.c, which tell. */

#include "launch/look/look.h"

#include <limits.h>

struct look_share {
	char tag[64], dir[PATH_MAX];
	bool ro, external;	/* external: dir is another server's socket */
	int stats;		/* descriptor of its counts, or -1 */
};

/* A run or serve of this user. */
struct look {
	pid_t pid;
	int proc;		/* its /proc/PID: this process and no other */
	pid_t self;		/* as its own namespace counts; 0: not said */
	char command[16];	/* run, serve */
	uint64_t seconds;	/* since it was started */
	char what[PATH_MAX];	/* its disk or root, or its socket */
	unsigned int more;	/* further disks */
	struct look_share shares[VM_MAX_SHARES + 1];
	unsigned int nr_shares;
};

/* Each prints and returns an exit status. */
int ps_run(const struct config *c);
int stat_run(const struct config *c, const char *(*op_name)(unsigned int op));
int restart_run(const struct config *c);

/*
 * Send it a signal, with @value; 0 only asks if it still runs. 0 or -errno,
 * -ESRCH also where another process has its number by now.
 */
int look_signal(const struct look *l, int sig, int value);

/**
 * look_each() - find all that run
 * @only:	this process only, of any user; 0: all of this user's
 * @fn:		called for each, whose descriptors are closed afterwards; a
 *		result other than 0 ends the search
 *
 * Return: what @fn returned last, 0 where nothing runs, or -errno.
 */
int look_each(pid_t only, int (*fn)(void *ctx, const struct look *l),
	      void *ctx);

#endif
