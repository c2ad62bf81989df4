/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_CHECK_H
#define VMSHARE_LAUNCH_CHECK_H

/*
 * Everything that can be known before anything starts. Changes nothing.
 */

#include "launch/qemu/qemu.h"

/* Try a share's confinement and tell @found; 0, or -errno with @why set. */
typedef int check_probe_fn(const struct share_config *sc,
			   struct findings *found, char *why, size_t size);

/**
 * check_confinement() - what each share's server would be confined by
 *
 * Return: 0, or the exit status of what was added as fatal.
 */
int check_confinement(const struct config *c, struct findings *found,
		      check_probe_fn *probe);

/*
 * Test all of @c; findings in order. Touches nothing. Calls qemu_probe() with
 * @qemu, which may be NULL for serve. 0, or the exit status of the first
 * fatal finding.
 */
int check_run(const struct config *c, struct qemu_info *qemu,
	      struct findings *found);

/* On stderr: all, or warnings only where nothing is fatal. */
void findings_print(const struct findings *found, bool all);
/*
 * One object on stdout: {"ok":...,"status":...,"findings":[...],
 * "confinement":[{"share":...,"layer":...,"on":...,"why":...},...]}.
 */
void findings_print_json(const struct findings *found, const struct config *c);

#endif
