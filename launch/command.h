/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_COMMAND_H
#define VMSHARE_LAUNCH_COMMAND_H

/* The first word of a command line, and what goes before its work. */

#include "launch/check/check.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);	/* an exit status */
	const char *summary;
};

/**
 * command_run() - run a subcommand
 * @table:	ended by a NULL name; help, version and completion come on top
 * @argv:	with the program's name
 *
 * Return: an exit status.
 */
int command_run(const struct command *table, int argc, char **argv);

/** command_parsed() - parse options, set up messages, and @work */
int command_parsed(int argc, char **argv,
		   int (*parse)(struct config *c, int argc, char **argv),
		   int (*work)(const struct config *c));

typedef int command_run_fn(const struct config *c,
			   const struct qemu_info *info);
/* run, check and libvirt-xml, of which the first one calls @run. */
int command_vm(int argc, char **argv, command_run_fn *run,
	       check_probe_fn *probe);

#endif
