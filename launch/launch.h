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
#define ID_RANGES_MAX	16	/* of a share's uid-map or gid-map */
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

/* ---- config: one key table for flags, file, --help and man page --------- */

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
	const char *squash;		/* UID[:GID] or NULL */
	const char *uid_map, *gid_map;	/* [kind:]guest:host:count[,...] */
	const char *sandbox;		/* auto, namespace, chroot, none */
	const char *seccomp;		/* kill, log, none */
	const char *xattr_map;
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

/* virtiofsd's two dialects into the same struct (issue 4); like above. */
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

/* ---- check: everything that can be told before anything starts ---------- */

struct finding {
	bool fatal;
	int status;		/* exit status it leads to, when fatal */
	char text[512];
	char hint[256];
};

/* One of the walls between a share's guest and the host. */
struct confinement {
	const char *tag, *layer;
	bool on, off;		/* off: because it was asked for */
	int error;		/* errno, where it is neither; or 0 */
	const char *step;	/* which step failed, or "" */
	const char *left;	/* what there is without it; NULL: no matter */
	char why[128];		/* set by findings_layer(); "" when on */
};

#define CHECK_MAX_LAYERS	8	/* of a share */

/* Large, and on a stack: findings_init() touches what it must. */
struct findings {
	struct finding list[64];
	unsigned int count;
	/* check alone; grouped by share */
	struct confinement layers[(VM_MAX_SHARES + 1) * CHECK_MAX_LAYERS];
	unsigned int nr_layers;
};

struct qemu_info;		/* what was found out about the QEMU binary */

void findings_init(struct findings *found);

/**
 * findings_add() - note a problem
 * @status:	0 for a warning, else the exit status that it leads to
 * @hint:	what mends it, or ""
 */
void findings_add(struct findings *found, int status, const char *hint,
		  const char *fmt, ...) PRINTF_LIKE(4, 5);

/* One layer of a share's confinement; a warning where it is not on. */
void findings_layer(struct findings *found, const char *tag,
		    const struct confinement *layer);
/* Try a share's confinement and tell @found; 0, or -errno with @why set. */
typedef int check_probe_fn(const struct share_config *sc,
			   struct findings *found, char *why, size_t size);

/**
 * check_confinement() - what each share's server would be confined by
 *
 * Return: 0, or the exit status of what was added as fatal.
 */
int check_confinement(const struct config *c, struct findings *found,
		      check_probe_fn *probe);

/*
 * Test all of @c; findings in order. Touches nothing. Calls qemu_probe() with
 * @qemu, which may be NULL for serve. 0, or the exit status of the first
 * fatal finding.
 */
int check_run(const struct config *c, struct qemu_info *qemu,
	      struct findings *found);
/* On stderr: all, or warnings only where nothing is fatal. */
void findings_print(const struct findings *found, bool all);
/*
 * One object on stdout: {"ok":...,"status":...,"findings":[...],
 * "confinement":[{"share":...,"layer":...,"on":...,"why":...},...]}.
 */
void findings_print_json(const struct findings *found, const struct config *c);

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

/* What a run hands to QEMU besides words. All descriptors are inherited. */
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
 * Return: a descriptor (CLOEXEC), -ENOENT when nothing is to be told, -errno.
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

/* ---- guardian.c: what happens when vmshare itself is killed ------------- */

struct guardian;

/**
 * guardian_start() - fork the process that cleans up after a killed vmshare
 *
 * It shares the caller's descriptor table, so call it before anything else is
 * started, and from the main thread.
 * Return: 0 or -errno.
 */
int guardian_start(struct guardian **guardian);

/**
 * guardian_end() - it is not needed any more; NULL is fine
 *
 * Processes were ended in order; files that it was told of are removed here.
 */
void guardian_end(struct guardian *guardian);

/* ---- share.c: one share's processes ------------------------------------- */

#define SHARE_ARENA_LEAST	(128ull << 20)	/* bytes, of its state */

/* One byte each from worker to parent; a guest can cause no others. */
enum share_event {
	SHARE_CONNECTED = 'c',	/* QEMU spoke to the server */
	SHARE_DRIVER = 'd',	/* the guest's driver set up its queues */
	SHARE_MOUNTED = 'm',
	SHARE_UNMOUNTED = 'u',
	SHARE_NOT_SHARED = 'n',	/* guest memory is private */
};

/* Descriptors of keeper and workers besides those in the arena. */
struct share_fds {
	int sock;		/* connected or listening */
	int events;		/* enum share_event to the parent */
	int relay;		/* from the parent, for an heir; or -1 */
	/* The keeper's, to parent and old keeper, until it begins; then -1. */
	int ready, go, link;
	int kills;		/* the keeper's: mem_group_events(), or -1 */
};

typedef void share_know_fn(void *known, int fd);
struct heir;

/* What vmshare.c supplies: the rooms that launch does not know. */
struct share_ops {
	/* Like fork(): the child becomes the keeper. */
	pid_t (*fork)(void *arg);
	/* In the keeper, single-threaded: confine. 0 or -errno, @why set. */
	int (*confine)(void *arg, const int *keep, unsigned int nr_keep,
		       char *why, size_t why_size);
	/* In the keeper, after confine: lock it down further. 0 or -errno. */
	int (*lock_keeper)(void *arg);
	/* In each worker: serve the socket until it ends. An exit status. */
	int (*serve)(void *arg, const struct share_fds *fds,
		     struct arena *arena);
	/*
	 * Did the worker that died complete a request? Asked once for each:
	 * tells a crash loop from a crash. NULL where no worker can adopt what
	 * another left: its death is the share's then.
	 */
	bool (*progressed)(void *arg, struct arena *arena);
	/* The worker died for lack of memory: the next one needs less. */
	void (*squeeze)(void *arg, struct arena *arena);
	/*
	 * The rest only where another program may take the share over.
	 *
	 * Call @know for each descriptor that the state in the arena or @arg
	 * names. 0 or -errno.
	 */
	int (*known)(void *arg, struct arena *arena, share_know_fn *know,
		     void *known);
	/* Give @arg's own descriptors numbers from @least on. 0 or -errno. */
	int (*move)(void *arg, int least);
	/* In a process of its own: could a worker serve? 0 or -errno. */
	int (*probe)(void *arg, const struct share_fds *fds,
		     struct arena *arena);
	/* In the parent: what makes @arg, for the other program. */
	void (*describe)(void *arg, struct heir *heir);
};

struct share {
	const struct share_config *config;
	pid_t keeper;
	int pidfd;		/* -1: not running */
	int events;		/* read end, non-blocking; -1: none */
	bool connected, driver, mounted, ever_mounted, not_shared;
	struct guardian *guardian;
	const struct share_ops *ops;
	void *arg;
	int relay;		/* the other end of the keeper's; -1: none */
	int dir;		/* O_PATH of the shared directory, or -1 */
	/* Set by the caller after the start; or NULL, -1. */
	struct stats *stats;
	int stats_fd;
};

/**
 * share_start() - start keeper and worker for one share
 * @sock:	connected or listening socket; the share's on success (the
 *		caller's copy is closed)
 * @why:	on failure, one line for the user
 *
 * Returns when the share is confined and ready to serve.
 * Return: 0 or -errno.
 */
int share_start(struct share *s, const struct share_config *config,
		const struct share_ops *ops, void *arg, int sock,
		struct guardian *guardian, char *why, size_t why_size);

/* Have its server say on stderr which requests do not end. */
void share_ask(const struct share *s);

/**
 * share_read_events() - take what is in the event pipe
 * @fn:	called once for each kind of event that came, for "mounted" and
 *	"unmounted" in the order that ends with what is so now
 *
 * Reads once: a worker that is not trusted may write as fast as this reads.
 */
void share_read_events(struct share *s,
		       void (*fn)(void *ctx, struct share *s, char event),
		       void *ctx);

/**
 * share_sweep() - in a worker: close what its predecessor left half open
 * @arg:	for ops->known()
 * @fds:	as given to serve()
 *
 * Keeper and workers share one table of descriptors. Whatever ops->known()
 * does not name was being opened or closed when a worker died. Before threads
 * start. Return: 0 or -errno.
 */
int share_sweep(const struct share_ops *ops, void *arg,
		const struct share_fds *fds, struct arena *arena);
/* Give *@fd (-1 stays so) a number from @least on. 0 or -errno. */
int share_move_fd(int *fd, int least);

/**
 * share_reap() - after the pidfd became readable
 *
 * Return: the keeper's exit status, 128 + n for a signal; 0 is an orderly
 * end, because the front end left.
 */
int share_reap(struct share *s);

/* Kill and reap; nothing when it is not running. */
void share_stop(struct share *s);

/* ---- letter.c, heir.c: another program takes a share over ---------------- */

#define HEIR_COMMAND	"take-over"	/* FD of a letter */

/*
 * What the program on disk, started anew beside a share that runs, is told in
 * a letter. Its keeper then gets from the old one what is open, the state
 * among it, and the guest notices nothing.
 */
struct heir {
	/* Filled in by share_ops.describe(). */
	const char *access;	/* as it was resolved */
	unsigned int how;	/* enum serve_how */
	bool root;		/* it is the root of a guest without a disk */
	/* The rest is the launcher's. */
	struct config config;	/* read: command, verbose, syslog, one share */
	int keeper;		/* process id of the old one */
	int dir;		/* O_PATH of the shared directory */
	int stats;		/* or -1 */
	int ready, go;		/* to and from the process that started it */
	int link;		/* to the old keeper */
	int relay;		/* the new keeper's, for the next heir */
};

/** heir_command() - HEIR_COMMAND: read the letter, set up messages, @work */
int heir_command(int argc, char **argv, int (*work)(struct heir *h));

/**
 * heir_start() - in the heir: fork the new keeper
 *
 * Return: an exit status; the keeper goes on without its parent.
 */
int heir_start(const struct heir *h, const struct share_ops *ops, void *arg);
/* Tell whoever started it why not. Return: an exit status. */
int heir_refuse(const struct heir *h, const char *why);

/** heir_remember() - first of all: what this program's file is called */
void heir_remember(void);

/**
 * share_succeed() - have the program on disk take a share over
 * @c:		the run's or serve's
 *
 * Prints what came of it, and counts it where there are counts. The share goes
 * on in any case; it stands still for some milliseconds.
 */
void share_succeed(const struct config *c, struct share *s);

/* ---- command.c: the first word ------------------------------------------- */

struct command {
	const char *name;
	int (*run)(int argc, char **argv);	/* an exit status */
	const char *summary;
};

/**
 * command_run() - run a subcommand
 * @table:	ended by a NULL name; help, version and completion come on top
 * @argv:	with the program's name
 *
 * Return: an exit status.
 */
int command_run(const struct command *table, int argc, char **argv);

/** command_parsed() - parse options, set up messages, and @work */
int command_parsed(int argc, char **argv,
		   int (*parse)(struct config *c, int argc, char **argv),
		   int (*work)(const struct config *c));

typedef int command_run_fn(const struct config *c,
			   const struct qemu_info *info);
/* run, check and libvirt-xml, of which the first one calls @run. */
int command_vm(int argc, char **argv, command_run_fn *run,
	       check_probe_fn *probe);

/* ---- look.c, ps.c, stat.c: what runs, and what it does ------------------- */

/* Let "vmshare ps" find this process; a warning where that fails. */
void look_publish(const struct config *c);
/*
 * Memory for the counts of the share in @slot, and its descriptor; NULL and -1
 * after a warning.
 */
struct stats *look_stats(unsigned int slot, int *fd);

/**
 * look_command() - the subcommands ps, stat and restart
 * @op_name:	what the consumer calls an operation in its counts, or NULL
 *
 * Return: an exit status.
 */
int look_command(int argc, char **argv,
		 const char *(*op_name)(unsigned int op));

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

/* First of all: descriptors 0 to 2, all others close-on-exec, SIGPIPE. */
void prepare_process(void);
/* guardian_start(), but prints why not. 0, or an exit status. */
int prepare_guardian(struct guardian **guardian);
/* strerror() of -errno, with the limit where no process could be made. */
const char *process_error(int err);
/* What is printed, and whether it goes to systemd's journal. */
void prepare_log(const struct config *c);
/* Descriptors are a file server's memory: take all we may have. */
void prepare_limits(void);

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

/* ---- serve.c: the file server alone -------------------------------------- */

/* What a worker does with its socket. */
enum serve_how {
	SERVE_CONNECTED,	/* it is one front end's */
	SERVE_LISTENING,	/* accept one front end after the other */
	SERVE_ONCE,		/* accept one */
};

/**
 * serve_listen() - the socket that --socket, --fd or LISTEN_FDS name
 * @guardian:	told to remove the socket's path
 * @fd:		set to the socket
 * @how:	set to how it is to be served
 *
 * Prints why not. Return: 0, or an exit status.
 */
int serve_listen(const struct config *c, struct guardian *guardian, int *fd,
		 enum serve_how *how);

/* Of a worker that accepts, for its successor; in an arena, zero at first. */
struct serve_state {
	uint32_t connected;	/* conn is a connection */
	int32_t conn;		/* its descriptor; 0: not made yet */
	uint32_t left;		/* a front end left that may come back */
};

/* Exit status of a worker: its successor goes on, as after a crash. */
#define SHARE_AGAIN	64

/**
 * serve_connections() - in a worker: serve what comes to a socket
 * @run:	serve one; 0, -errno, or 1 where it left, may come back, and
 *		this process has to end; @conn -1: it did not come back
 *
 * Return: exit status of the worker.
 */
int serve_connections(int sock, enum serve_how how, struct serve_state *state,
		      int (*run)(void *ctx, int conn), void *ctx);

/**
 * serve_wait() - until the share ends, or a signal says so
 *
 * Return: the exit status of vmshare.
 */
int serve_wait(const struct config *c, struct share *share,
	       struct guardian *guardian);

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

#endif
