/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_CONFINE_PRIVATE_H
#define VMSHARE_FSSERVER_CONFINE_PRIVATE_H

/*
 * Private to this folder. sandbox.c has the order of steps and the fallbacks,
 * namespace.c what the server sees, drop.c what it is allowed to do.
 */

#include "fsserver/fsserver.h"

struct confining {
	const struct fs_options *o;
	struct fs_place *place;
	char *why;
	size_t why_size;
	bool fatal;		/* no fallback is allowed */
	const char *step;	/* the failed one, without the errno's text */
};

/** confine_fail() - set @why; Return: -@err, for use in a return statement */
int confine_fail(struct confining *c, int err, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/** confine_open_dir() - open the share's directory: O_PATH, or -errno */
int confine_open_dir(struct confining *c);

/* ---- namespace.c -------------------------------------------------------- */

/** ns_needed() - do the options ask for namespaces? */
bool ns_needed(const struct fs_options *o);
/** ns_maps_ids() - are there ranges that newuidmap(1) must map? */
bool ns_maps_ids(const struct fs_options *o);

/** ns_fork() - fs_fork() where namespaces are to be made or joined */
pid_t ns_fork(const struct fs_options *o);

/** ns_enter() - the namespaces, a private procfs, pivot_root into the share */
int ns_enter(struct confining *c);

/* ---- drop.c ------------------------------------------------------------- */

/** drop_descriptors() - close all but 0, 1, 2, @keep and the place's own */
int drop_descriptors(const struct fs_place *place, const int *keep,
		     unsigned int nr_keep);

/** drop_limits() - raise the descriptor limit to the hard one; no core dumps */
void drop_limits(void);

/* Landlock and capabilities; each fills in its layer of c->place. */
int drop_landlock(struct confining *c);
int drop_capabilities(struct confining *c);

/* ---- callname.c ---------------------------------------------------------- */

/* A system call's name, @len bytes without a NUL, or NULL. */
const char *call_name(unsigned int nr, size_t *len);

#endif
