/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_LOOK_H
#define VMSHARE_LAUNCH_LOOK_H

/* What runs, and what it does: ps, stat and restart. */

#include "launch/config/config.h"

/* ---- look.c, ps.c, stat.c: what runs, and what it does ------------------- */

/* Let "vmshare ps" find this process; a warning where that fails. */
void look_publish(const struct config *c);
/*
 * Memory for the counts of the share in @slot, and its descriptor; NULL and -1
 * after a warning.
 */
struct stats *look_stats(unsigned int slot, int *fd);

/**
 * look_command() - the subcommands ps, stat and restart
 * @op_name:	what the consumer calls an operation in its counts, or NULL
 *
 * Return: an exit status.
 */
int look_command(int argc, char **argv,
		 const char *(*op_name)(unsigned int op));

/* Print the tags of all shares that run, for completions. 0 or -errno. */
int look_tags(void);

#endif
