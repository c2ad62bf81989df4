/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_UPGRADE_H
#define VMSHARE_LAUNCH_UPGRADE_H

/*
 * Between the files of the live upgrade: upgrade.c starts the new program,
 * handover.c is the message that tells it what it needs to know, share.c has
 * both keepers, and descriptors.c moves what is open from one to the other.
 */

#include "launch/share/share.h"

/* First byte of what the new program reports to the process that started it. */
enum upgrade_word {
	UPGRADE_READY,		/* confined; later: can go on with the state */
	UPGRADE_REFUSES,	/* a text why follows */
	UPGRADE_FORKED,		/* an int32_t follows: the keeper's process */
};

/* ---- handover.c ---------------------------------------------------------- */

/**
 * handover_write() - write the handover message of a share into a memfd
 * @u:		the descriptors, which the new program inherits by number
 *
 * Return: the descriptor (CLOEXEC), or -errno.
 */
int handover_write(const struct share_config *sc, const struct upgrade *u);

/* ---- descriptors.c ------------------------------------------------------- */

/**
 * descriptors_send() - in a child of the old keeper: all that is not garbage
 * @link:	SOCK_SEQPACKET, to the new keeper
 *
 * Return: when the new keeper has given up or broke the protocol; where it
 * goes on this process is killed.
 */
void descriptors_send(int link, const struct share_ops *ops, void *arg,
		      const struct share_fds *fds, struct arena *arena);

/**
 * descriptors_receive() - in the new keeper: the same numbers as in the old
 * @link, @own, @nr_own: the keeper's own, moved out of the way
 * @ops, @arg:	for ops->move(): the rest of its own
 * @fds:	sock and events are set
 *
 * Return: the arena's descriptor; -EPROTO for another version's old keeper,
 * -errno.
 */
int descriptors_receive(int *const own[], unsigned int nr_own, const int *link,
			const struct share_ops *ops, void *arg,
			struct share_fds *fds);

/* Pass @fd on; take the last one that was, -ENOENT where there is none. */
int descriptors_pass(int sock, int fd);
int descriptors_passed(int sock);

#endif
