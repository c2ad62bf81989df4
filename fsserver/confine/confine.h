/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_CONFINE_H
#define VMSHARE_FSSERVER_CONFINE_H

/* What the file server calls of the confinement, besides fsserver.h. */

#include "fsserver/internal.h"

/* Install the worker's filter for all its threads, unless it is off. */
int seccomp_worker(struct fs *fs);

#endif
