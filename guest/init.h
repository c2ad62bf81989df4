/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_GUEST_INIT_H
#define VMSHARE_GUEST_INIT_H

/* What the files of the guest's PID 1 share. They run in the guest only. */

#include <sys/types.h>

#include "guest/private.h"

/* A user of the guest's own passwd; strings are the owner's to keep. */
struct init_user {
	uid_t uid;
	gid_t gid;
	gid_t groups[64];
	size_t nr_groups;
	char name[64];
	char home[256];
	char shell[256];
};

/* ---- init_mount.c ------------------------------------------------------- */

/* Mount what the kernel offers: /dev, /proc, /sys. */
int init_mount_kernel(struct guest_error *err);
/* Load the modules of a group, in order. */
int init_load_modules(const struct guest_plan *plan, const char *group,
		      struct guest_error *err);
/* Make the root and change into it; the initramfs is out of reach then. */
int init_enter_root(const struct guest_plan *plan, struct guest_error *err);
/* Mount the shares. */
int init_mount_shares(const struct guest_spec *spec, struct guest_error *err);
/* Unmount the shares, make the root read-only, sync: what can be. */
void init_unmount(const struct guest_spec *spec);
/* Directories of an absolute path; a tmpfs where the root is read-only. */
int init_make_dirs(const char *path);

/* ---- init_system.c ------------------------------------------------------ */

/* Also in /etc/hosts, which is made only in a root that @forgets. */
int init_set_hostname(const char *name, bool forgets);
int init_net_up(bool card, struct guest_error *err);
/* NULL is root, whether or not there is a passwd. 0, -ENOENT. */
int init_find_user(const char *who, struct init_user *user);

/* ---- init_command.c ----------------------------------------------------- */

struct init_ports {
	int fd[GUEST_PORTS];
};

/* A control frame; blocks until QEMU has it. Port -1: nothing happens. */
void init_send(const struct init_ports *ports, const struct guest_frame *frame);
/* The guest's clock, nanoseconds since its kernel began. */
uint64_t init_clock(void);

/**
 * init_run_command() - run the command and relay its streams
 * @done:	set to the EXITED frame to send
 *
 * Return: 0 when the command has ended and all it wrote is in the ports;
 * -EPIPE when the host is gone; other -errno where it could not be started.
 */
int init_run_command(const struct guest_spec *spec,
		     const struct init_user *user,
		     const struct init_ports *ports, struct guest_frame *done,
		     struct guest_error *err);
/* After that: until the host says that all output has arrived. False when the
 * host is gone, and a write to the control port would wait for ever. */
bool init_wait_confirm(void);

#endif
