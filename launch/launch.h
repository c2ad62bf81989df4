/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_H
#define VMSHARE_LAUNCH_H

/*
 * From a command line to running processes: configuration, preflight checks,
 * QEMU's arguments, the processes of a share, and supervision of all. Knows
 * nothing of what the guest does with files.
 */

#include "base/base.h"
#include "guest/guest.h"
#include "memback/memback.h"

#define VM_MAX_SHARES	16
#define VM_MAX_DISKS	16
#define VM_MAX_NODES	8
#define VM_MAX_LIST	128

/* Exit statuses; FIELD table d, and EXIT STATUS in the man page. */
enum {
	EXIT_GUEST_DIED = 122,
	EXIT_SERVER_FAILED = 123,
	EXIT_TIMEOUT = 124,
	EXIT_REFUSED = 125,
	EXIT_QEMU_NOEXEC = 126,
	EXIT_QEMU_MISSING = 127,
};

/* ---- config.c: one key table for flags, file, --help and man page ------- */

/* A [share TAG] section or a --share. Strings live as long as the config. */
struct share_config {
	const char *dir, *tag;
	bool ro;
	const char *cache;		/* auto, always, none */
	unsigned int queue_size;	/* ring entries, power of two */
	unsigned int queues;		/* request queues; 0: by vCPUs */
	bool xattr, posix_acl, posix_lock, flock, block_locks, writeback;
	bool inode_handles, direct_io, noatime;
	bool submounts;
	const char *access;		/* passthrough, squash, mapped; NULL */
	const char *squash;		/* UID[:GID] or NULL */
	const char *uid_map, *gid_map;	/* guest:host:count[,...] or NULL */
	const char *sandbox;		/* auto, namespace, chroot, none */
	const char *seccomp;		/* kill, log, none */
	const char *xattr_map;
	unsigned int threads, open_files;
	uint64_t inode_limit;
	uint64_t timeout_ms;
	const char *mount;		/* path in the guest, or NULL */
	const char *socket;		/* --share-socket: an external server */
};

struct numa_config {
	const char *cpus;		/* "0-1" */
	uint64_t memory;
};

struct forward_config {
	bool udp;
	char addr[46];
	uint16_t host, guest;
};

struct disk_config {
	const char *path;
	const char *format;		/* raw, qcow2; by magic when auto */
};

struct config {
	const char *command;		/* subcommand */
	struct share_config shares[VM_MAX_SHARES];
	unsigned int nr_shares;
	uint64_t memory;
	struct mem_spec mem;
	struct numa_config nodes[VM_MAX_NODES];
	unsigned int nr_nodes;
	unsigned int cpus;
	struct disk_config disks[VM_MAX_DISKS];
	unsigned int nr_disks;
	const char *disk_format;
	bool ephemeral, read_only;
	const char *kernel, *initrd, *append, *modules;
	const char *root;		/* --root DIR: guest without a disk */
	bool root_rw;
	const char *net;		/* user, none */
	struct forward_config forwards[VM_MAX_LIST];
	unsigned int nr_forwards;
	const char *accel, *firmware, *machine, *arch, *console, *qemu;
	const char *qemu_args[VM_MAX_LIST];
	unsigned int nr_qemu_args;
	const char *env[VM_MAX_LIST];
	unsigned int nr_env;
	const char *user;
	uint64_t timeout_ms, shutdown_timeout_ms;
	int status_fd, ready_fd;	/* -1: none */
	const char *pidfile;
	char **guest_argv;		/* after --, NULL-terminated, or NULL */
	bool dry_run, json;
	int verbose;			/* -v counts up, -q is -1 */
	/* serve */
	const char *socket_path;
	int listen_fd;			/* --fd; -1: none */
	const char *socket_group;
	bool once;
	/* what the strings live in; freed by config_free() */
	void *storage;
};

/**
 * config_parse() - read flags and the file they name
 * @argv:	argv[0] is the subcommand
 *
 * Prints what is wrong ("error: ..." and a hint), or --help on stdout.
 * Return: 0 to go on, 1 when --help or the like was served (exit 0), -EINVAL
 * after an error was printed (exit EXIT_REFUSED).
 */
int config_parse(struct config *c, int argc, char **argv);
void config_free(struct config *c);

/* virtiofsd's two dialects into the same struct (issue 4); like above. */
int config_parse_virtiofsd(struct config *c, int argc, char **argv);
/* Was the binary called as virtiofsd is called? */
bool config_is_virtiofsd(int argc, char **argv);

/* ---- check.c: everything that can be told before anything starts -------- */

struct finding {
	bool fatal;
	int status;		/* exit status it leads to, when fatal */
	char text[512];
	char hint[256];
};

struct findings {
	struct finding list[64];
	unsigned int count;
};

struct qemu_info;		/* what was found out about the QEMU binary */

/*
 * Test all of @c; findings in order. Touches nothing. @qemu may be NULL for
 * serve. 0, or the exit status of the first fatal finding.
 */
int check_run(const struct config *c, struct qemu_info *qemu,
	      struct findings *found);
void findings_print(const struct findings *found);
void findings_print_json(const struct findings *found, const struct config *c);

/* ---- qemu.c: find, probe, and build its argument vector ----------------- */

struct qemu_info {
	char path[4096];
	unsigned int major, minor;
	bool has_vhost_user_fs, has_memory_backend, kvm;
	const char *machine;		/* q35, microvm, virt */
	char accel_note[256];		/* why kvm is not used, or "" */
};

/* What a run hands to QEMU besides words. All descriptors are inherited. */
struct qemu_wiring {
	int mem_fds[VM_MAX_NODES];
	int share_fds[VM_MAX_SHARES + 1];	/* one end of a socketpair each */
	int qmp_fd;				/* QMP monitor */
	int initrd_fd;				/* our initramfs, or -1 */
	int console_fd;				/* serial console, or -1 */
	int credentials_fd;			/* SMBIOS type 11, or -1 */
	int port_fds[8];			/* guest streams; see guest.h */
	unsigned int nr_ports;
	char cmdline[4096];			/* guest without a disk */
};

int qemu_probe(const struct config *c, struct qemu_info *info,
	       struct findings *found);

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

/* ---- share.c: one share's processes ------------------------------------- */

/* One byte each from worker to parent; a guest can cause no others. */
enum share_event {
	SHARE_CONNECTED = 'c',	/* QEMU spoke to the server */
	SHARE_DRIVER = 'd',	/* the guest's driver set up its queues */
	SHARE_MOUNTED = 'm',
	SHARE_UNMOUNTED = 'u',
	SHARE_NOT_SHARED = 'n',	/* guest memory is private */
};

/* What vmshare.c supplies: the rooms that launch does not know. */
struct share_ops {
	/* In the keeper, single-threaded: confine. 0 or -errno, @why set. */
	int (*confine)(void *arg, const int *keep, unsigned int nr_keep,
		       char *why, size_t why_size);
	/* In each worker: serve @sock until it ends. An exit status. */
	int (*serve)(void *arg, int sock, int event_fd, struct arena *arena);
	/* In the keeper, after confine: lock it down further. 0 or -errno. */
	int (*lock_keeper)(void *arg);
};

struct share {
	const struct share_config *config;
	pid_t keeper;
	int pidfd;
	int events;		/* read end, non-blocking */
	bool connected, driver, mounted, ever_mounted, not_shared;
};

/**
 * share_start() - start keeper and worker for one share
 * @sock:	connected or listening socket; the share's afterwards
 * @why:	on failure, one line for the user
 *
 * Returns when the share is confined and ready to serve.
 */
int share_start(struct share *s, const struct share_config *config,
		const struct share_ops *ops, void *arg, int sock,
		char *why, size_t why_size);
/* Take what is in the event pipe; calls @fn for each. */
void share_read_events(struct share *s,
		       void (*fn)(void *ctx, struct share *s, char event),
		       void *ctx);

/* ---- supervise.c: from fork to exit status ------------------------------ */

struct supervise_setup {
	const struct config *config;
	char **qemu_argv;
	const struct qemu_wiring *wiring;
	struct share *shares;
	unsigned int nr_shares;
	int qmp_fd;			/* our end */
	int console_fd;			/* our end of the serial console, or -1 */
	struct guest_streams *streams;	/* guest without a disk, or NULL */
};

/* Runs QEMU to its end; the exit status of vmshare. */
int supervise_run(struct supervise_setup *s);

#endif
