/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_CHECK_PRIVATE_H
#define VMSHARE_LAUNCH_CHECK_PRIVATE_H

/* Between the files of the preflight. */

#include "launch/check/check.h"

void check_disk(const struct config *c, const struct disk_config *d,
		struct findings *found);
void check_boot(const struct config *c, struct findings *found);
void check_share(const struct config *c, const struct share_config *s,
		 struct findings *found);
void check_serve(const struct config *c, struct findings *found);

/* kernel.c: what is needed; what is wanted, as words on stderr and as
 * JSON on stdout */
void check_kernel(struct findings *found);
void check_print_kernel(void);
void check_put_kernel(void);

/* confine.c: the layers as words on stderr, as JSON on stdout */
void check_print_confinement(const struct findings *found);
void check_put_confinement(const struct findings *found);

/*
 * Would @arg, given with --qemu-arg, undo what vmshare set up? What it
 * contradicts in words, or NULL. @next is the argument after it, or NULL.
 */
const char *qemu_arg_conflict(const char *arg, const char *next);

#endif
