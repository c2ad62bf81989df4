/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_RUN_H
#define VMSHARE_LAUNCH_RUN_H

/*
 * The machine: what QEMU is wired to, and the supervision of all processes
 * until their end. A server without a machine is waited for here as well.
 */

#include "launch/qemu/qemu.h"
#include "launch/share/share.h"

/* ---- prepare.c: what QEMU is wired to, but for the shares --------------- */

/* All descriptors to -1, nothing else set. */
void wiring_init(struct qemu_wiring *w);

/**
 * prepare_socketpair() - a connected pair of stream sockets (CLOEXEC)
 * @ours, @qemus:	set to one end each; unchanged on failure
 *
 * Return: 0 or -errno.
 */
int prepare_socketpair(int *ours, int *qemus);

/* guardian_start(), but prints why not. 0, or an exit status. */
int prepare_guardian(struct guardian **guardian);

/*
 * Each fills in its part of @w; prints why not. 0, or an exit status.
 */
int prepare_memory(const struct config *c, struct qemu_wiring *w);
/* QMP, console and SMBIOS strings; our ends are set. */
int prepare_sockets(const struct config *c, struct qemu_wiring *w, int *qmp,
		    int *console);
/* own_init: kernel, initramfs and command line. */
int prepare_guest(const struct config *c, const struct qemu_info *info,
		  struct qemu_wiring *w);
/* own_init: @streams and its ports, @raw whether they need a raw terminal. */
int prepare_streams(struct qemu_wiring *w, struct guest_streams **streams,
		    bool *raw);
/* Before a terminal becomes the guest's: a line on how to get it back. */
void prepare_greeting(const struct config *c);

/* ---- supervise.c: from fork to exit status ------------------------------ */

struct supervise_setup {
	const struct config *config;
	struct guardian *guardian;
	char **qemu_argv;
	struct qemu_wiring *wiring;	/* its descriptors are closed here */
	struct share *shares;
	unsigned int nr_shares;
	int qmp_fd;			/* our end */
	int console_fd;			/* our end of the console, or -1 */
	struct guest_streams *streams;	/* of a command in the guest, or NULL */
	bool raw;			/* streams: its terminal is ours */
};

/**
 * supervise_run() - run QEMU to its end
 *
 * Return: the exit status of vmshare. All processes are gone and all
 * descriptors of @s closed.
 */
int supervise_run(struct supervise_setup *s);

/* ---- serve.c: a server without a machine --------------------------------- */

/**
 * serve_wait() - until the share ends, or a signal says so
 *
 * Return: the exit status of vmshare.
 */
int serve_wait(const struct config *c, struct share *share,
	       struct guardian *guardian);

#endif
