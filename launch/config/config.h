/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_CONFIG_H
#define VMSHARE_LAUNCH_CONFIG_H

/*
 * From flags and a file to struct config. Reads nothing but that file, starts
 * nothing, and knows nothing of what becomes of it.
 */

#include "guest/guest.h"
#include "launch/common/common.h"
#include "memback/memback.h"

#define VM_MAX_DISKS	16
#define VM_MAX_NODES	8
#define VM_MAX_LIST	128

/* ---- config: one key table for flags, file, --help and man page --------- */

/* Who the caller is in the guest, with access=squash. */
struct squash_config {
	bool set;
	uint32_t uid, gid;
};

/* A [share TAG] section or a --share. Strings live as long as the config. */
struct share_config {
	const char *dir, *tag;		/* dir: NULL for --share-socket */
	bool ro;
	bool allow_root;		/* "/" may be written through */
	const char *cache;		/* auto, always, none */
	unsigned int queue_size;	/* ring entries, power of two */
	unsigned int queues;		/* requests'; 0 (serve): up to 64 */
	bool xattr, posix_acl, posix_lock, flock, block_locks, writeback;
	bool inode_handles, direct_io, noatime;
	bool submounts;
	const char *access;		/* passthrough, squash, mapped; NULL */
	struct squash_config squash;
	struct id_map uid_map, gid_map;
	const char *sandbox;		/* auto, namespace, chroot, none */
	const char *seccomp;		/* kill, log, none */
	const char *xattr_map;		/* rules that can be read, or NULL */
	const char *drop_caps;		/* mknod[:...] or NULL */
	unsigned int threads, open_files; /* 0: automatic */
	uint64_t inode_limit;
	uint64_t timeout_ms;		/* attributes and entries, cache=auto */
	const char *mount;		/* path in the guest, or NULL */
	const char *socket;		/* --share-socket: an external server */
};

struct numa_config {
	const char *cpus;		/* "0-1" */
	uint64_t memory;		/* bytes */
};

struct forward_config {
	bool udp;
	char addr[46];			/* "127.0.0.1" unless given */
	uint16_t host, guest;
};

struct disk_config {
	const char *path;
	const char *format;		/* raw, qcow2, ...; NULL: by magic */
};

/*
 * Resolved: whatever has a default that does not depend on QEMU holds it
 * after config_parse(). A pointer without a default is NULL when not given.
 */
struct config {
	const char *command;		/* subcommand */
	const char *file;		/* --config */
	struct share_config shares[VM_MAX_SHARES];
	unsigned int nr_shares;
	uint64_t memory;		/* bytes, all nodes */
	struct mem_spec mem;
	/* Always one or more, with memory set; numa: the guest sees them. */
	struct numa_config nodes[VM_MAX_NODES];
	unsigned int nr_nodes;
	bool numa;
	unsigned int cpus;
	struct disk_config disks[VM_MAX_DISKS];
	unsigned int nr_disks;
	const char *disk_format;	/* auto, raw, qcow2, ... */
	bool ephemeral, read_only;
	const char *kernel, *initrd, *append, *modules;
	bool kernel_of_root;		/* --kernel root */
	const char *init;		/* of another architecture, or NULL */
	const char *root;		/* --root DIR: guest without a disk */
	bool root_rw;
	/*
	 * The guest is booted by our own initramfs: no --initrd, and no disk
	 * or a COMMAND for one. Without a disk its root is @root_share.
	 */
	bool own_init;
	bool has_root_share;
	struct share_config root_share;	/* tag CONFIG_ROOT_TAG */
	const char *net;		/* user, none */
	struct forward_config forwards[VM_MAX_LIST];
	unsigned int nr_forwards;
	const char *accel;		/* auto, kvm, tcg */
	const char *firmware;		/* bios, uefi */
	const char *machine;		/* NULL: chosen by qemu_probe() */
	const char *arch;		/* x86_64, aarch64 */
	const char *cpu_model;		/* --cpu-model; NULL: host or max */
	const char *console;		/* stdio, none, file */
	const char *console_file;	/* of file=PATH */
	const char *qemu;
	const char *qemu_args[VM_MAX_LIST];
	unsigned int nr_qemu_args;
	const char *env[VM_MAX_LIST + 1]; /* NAME=VALUE, NULL-terminated */
	unsigned int nr_env;
	const char *user;
	const char *workdir;		/* in the guest, or NULL */
	uint64_t timeout_ms, shutdown_timeout_ms; /* timeout 0: none */
	int status_fd, ready_fd;	/* -1: none */
	const char *pidfile;
	const char *dump;		/* --dump FILE, or NULL */
	char **guest_argv;		/* after --, NULL-terminated, or NULL */
	bool dry_run, json;
	bool syslog;			/* messages go to the system's log */
	int verbose;			/* -v counts up, -q is -1 */
	/* serve */
	const char *socket_path;
	int listen_fd;			/* --fd; -1: none */
	const char *socket_group;
	bool once;
	/* stat, restart */
	const char *target;		/* PID or TAG, or NULL: all */
	bool watch;
	const char *warning;		/* of the parser; NULL: none */
	/* what the strings live in; freed by config_free() */
	void *storage;
};

#define CONFIG_ROOT_TAG "vmshare-root"

/**
 * config_parse() - read flags and the file they name
 * @c:		filled in; config_free() it whatever is returned
 * @argv:	argv[0] is the subcommand: run, check, serve, libvirt-xml, ps
 *		or stat
 *
 * Prints what is wrong ("error: ..." and a hint), or --help on stdout.
 * Return: 0 to go on, 1 when --help or the like was served (exit 0), -EINVAL
 * after an error was printed (exit EXIT_REFUSED).
 */
int config_parse(struct config *c, int argc, char **argv);
void config_free(struct config *c);
/* Does what the guest writes to a disk stay? */
bool config_writes_disk(const struct config *c);
/* Which kernel a guest of our own is to have. */
void config_kernel(const struct config *c, struct guest_kernel_ask *ask);

/* virtiofsd's two dialects into the same struct; like above. */
int config_parse_virtiofsd(struct config *c, int argc, char **argv);
/* Was the binary called as virtiofsd is called? @argv with the program. */
bool config_is_virtiofsd(int argc, char **argv);
/* -v, -q and the like, which may stand before the subcommand as well. */
bool config_is_loudness(const char *word);

/*
 * Help, from the key table. @topic is a subcommand of config_parse(), "share"
 * (the options of a share), "options" (every key), or "--keys" (the table, for
 * tests: scope, name, letter, argument, default, help; separated by tabs).
 * 0, or -ENOENT for another topic.
 */
int config_help(const char *topic);
/* Completion for bash, zsh or fish on stdout. 0, or -ENOENT. */
int config_completion(const char *shell);

#endif
