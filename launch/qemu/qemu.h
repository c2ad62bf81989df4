/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_QEMU_H
#define VMSHARE_LAUNCH_QEMU_H

/*
 * QEMU: find it, ask it what it can do, build its arguments, talk to its
 * monitor. Knows how QEMU spells things, and starts nothing but its probes.
 */

#include "launch/config/config.h"

/* ---- qemu: find, probe, and build its argument vector ------------------- */

struct qemu_info {
	char path[4096];
	unsigned int major, minor;
	bool has_vhost_user_fs, has_memory_backend, kvm;
	bool has_microvm, has_pvpanic, has_pvpanic_pci, has_sandbox;
	bool asked;			/* it was, and not remembered */
	const char *machine;		/* q35, microvm, virt, or --machine */
	char accel_note[256];		/* why kvm is not used, or "" */
	/* firmware=uefi: from QEMU's firmware descriptors, or "" */
	char uefi_code[1024], uefi_code_format[16];
	char uefi_vars[1024], uefi_vars_format[16];
	bool uefi_flash;		/* else loaded with -bios */
};

/* What a run passes to QEMU in addition to arguments; all are inherited. */
struct qemu_wiring {
	int mem_fds[VM_MAX_NODES];		/* c->nr_nodes of them */
	/* One end of a socketpair for each of c->shares; then root_share's. */
	int share_fds[VM_MAX_SHARES + 1];
	int qmp_fd;				/* QMP monitor, or -1 */
	const char *kernel;			/* own_init: image, or NULL */
	int initrd_fd;				/* our initramfs, or -1 */
	int console_fd;				/* serial console, or -1 */
	int credentials_fd;			/* SMBIOS type 11, or -1 */
	int port_fds[8];			/* by enum guest_port */
	unsigned int nr_ports;			/* 0 or GUEST_PORTS */
	char cmdline[2048];	/* own_init: -append; a kernel takes no more */
};

/**
 * qemu_probe() - find QEMU, ask it what it can do, choose accelerator, machine
 * and firmware
 *
 * Return: 0, or the exit status of what was added to @found as fatal.
 */
int qemu_probe(const struct config *c, struct qemu_info *info,
	       struct findings *found);
/*
 * Have the next run know what this one had to ask, and what was known before
 * forgotten where it is not so; in the user's cache.
 */
void qemu_remember(const struct qemu_info *info);

/**
 * qemu_argv() - the whole command
 * @w:	NULL for --dry-run: paths of sockets and files instead of descriptors
 *
 * Return: NULL-terminated vector in one allocation (free() it), or NULL.
 */
char **qemu_argv(const struct config *c, const struct qemu_info *info,
		 const struct qemu_wiring *w);
/* Print @argv so that a shell reads the same words back. */
void qemu_print(char *const *argv);

/**
 * qemu_credentials() - memfd with the SMBIOS string that makes systemd (254 or
 * later) in a self-booting disk mount the shares that have mount=
 *
 * Return: a descriptor (CLOEXEC), -ENOENT when there is none to mount, -errno.
 */
int qemu_credentials(const struct config *c);

/**
 * libvirt_print() - a libvirt domain that is the same machine, on stdout
 *
 * Notes on stderr what a domain can't say. Return: 0, or EXIT_REFUSED after
 * an error was printed.
 */
int libvirt_print(const struct config *c, const struct qemu_info *info);

/** qemu_dry_socket() - the path that --dry-run uses for a share's socket */
void qemu_dry_socket(char *buf, size_t size, const char *tag);

/* ---- what a host has ----------------------------------------------------- */

enum package { PACKAGE_QEMU, PACKAGE_UEFI, PACKAGE_KERNEL };

/* The command that installs it for @arch on this distribution, or "". */
void package_hint(enum package what, const char *arch, char *buf, size_t size);

/* raw, qcow2, ... by the first bytes of @path; raw where they say nothing. */
const char *qemu_disk_format(const char *path);

/* ---- qmp.c: QEMU's monitor ----------------------------------------------- */

enum qmp_event {
	QMP_NONE,
	QMP_READY,		/* capabilities negotiated: the machine is up */
	QMP_SHUTDOWN_GUEST,	/* the guest powered itself off */
	QMP_SHUTDOWN_RESET,	/* it reset, and -no-reboot made that the end */
	QMP_SHUTDOWN_HOST,	/* asked for from outside */
	QMP_PANICKED,
	QMP_RESET,		/* the guest reboots */
	QMP_DUMPED,		/* what qmp_dump() asked for is written */
	QMP_NOT_DUMPED,		/* or is not; error says why */
};

struct qmp {
	int fd;			/* -1: it was closed */
	bool ready;
	bool skipping;		/* in a line that is too long */
	char error[128];	/* QEMU's words, not to be trusted */
	size_t len;
	char buf[16384];
};

void qmp_open(struct qmp *q, int fd);

/* Once after the descriptor became readable: it may always have more. */
void qmp_read(struct qmp *q);
/* What was read says; call until it returns QMP_NONE. */
enum qmp_event qmp_next(struct qmp *q);

/* Send a command without arguments; -errno, -EAGAIN before QMP_READY. */
int qmp_command(struct qmp *q, const char *name);
/* Have the guest's memory written to @path, absolute; likewise. */
int qmp_dump(struct qmp *q, const char *path);

#endif
