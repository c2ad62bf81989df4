/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_SERVER_H
#define VMSHARE_SERVER_H

/* One share's server, as the program starts it. */

#include "fsserver/fsserver.h"
#include "launch/check/check.h"
#include "launch/share/share.h"

/* One share, as its keeper and workers see it. */
struct server {
	const struct share_config *config;
	struct fs_options options;
	struct fs_place place;
	unsigned int queues;	/* request queues offered */
	enum serve_how how;
	bool root;		/* of a guest without a disk */
	struct stats *stats;	/* or NULL */
	int events;		/* where the worker tells of progress */
};

/*
 * From a share's configuration, whose words config_parse() has checked; it has
 * to stay as long as @sv.
 */
void server_setup(struct server *sv, const struct share_config *sc);
/* It is the root of a guest without a disk: what no guest should read hides. */
void server_is_root(struct server *sv);

/* For share_start(); the argument is a struct server. */
extern const struct share_ops server_ops;

/* Try a share's confinement and tell @found; 0, or -errno with @why set. */
int server_probe_layers(const struct share_config *sc, struct findings *found,
			char *why, size_t size);

#endif
