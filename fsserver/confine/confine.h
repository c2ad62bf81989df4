/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_CONFINE_H
#define VMSHARE_FSSERVER_CONFINE_H

/* What the file server needs of its confinement, besides fsserver.h's. */

#include "fsserver/internal.h"

/* The worker's filter, for all its threads, unless it is switched off. */
int seccomp_worker(struct fs *fs);

#endif
