/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_GUEST_H
#define VMSHARE_GUEST_H

/*
 * A guest that was booted by its kernel alone: which kernel, the initramfs
 * that is this very binary, what it does as PID 1 in the guest, and the relay
 * of a command's streams on the host.
 *
 * The order of a run, on the host:
 *
 *	guest_kernel_find()	kernel image and modules
 *	guest_initramfs_build()	a memfd for "-initrd /proc/self/fd/N"
 *	guest_cmdline()		for "-append"
 *	guest_streams_open()	four sockets for QEMU, one relay for us
 *	... start QEMU, close its socket ends here ...
 *	loop: guest_streams_poll(), poll(), guest_streams_handle()
 *	guest_streams_report()	how far it came, exit status
 *
 * What QEMU has to have for it:
 *
 *   - `-kernel IMAGE -initrd /proc/self/fd/N -append CMDLINE -no-reboot`;
 *   - a serial port for the kernel's console: ttyS0 on x86 (isa-serial, part
 *     of microvm and q35), ttyAMA0 on arm. A panic is printed there and
 *     then reboots, which -no-reboot turns into QEMU's end;
 *   - one `virtio-serial-pci` with a `virtserialport,name=X` for each X of
 *     guest_port_name(), each with its own `-chardev socket,fd=N`. Port
 *     numbers do not matter (0 is refused by QEMU for a virtserialport);
 *   - `vhost-user-fs-pci` for the root share and each share, by tag; the root
 *     share must not announce submounts (overlayfs refuses them);
 *   - with a disk as root: a `virtio-blk-pci`;
 *   - with net: a `virtio-net-pci` on `-netdev user` (addresses are SLIRP's
 *     defaults: 10.0.2.15/24, gateway .2, name server .3), and only one;
 *   - virtio-*-pci may be transitional or modern, on microvm,pcie=on or q35.
 *
 * The guest ends itself by ACPI power-off, or where it has no ACPI by a
 * reboot, which -no-reboot turns into the same. It has synced and unmounted
 * when the report's phase is GUEST_DONE: QEMU may be ended at once then.
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What went wrong, in words for a message; valid where -errno was returned. */
struct guest_error {
	char text[512];		/* names the path and the reason */
	char hint[512];		/* what to do about it, or empty */
};

/* ---- kernel ------------------------------------------------------------- */

enum guest_answer { GUEST_UNKNOWN, GUEST_NO, GUEST_YES };

struct guest_kernel {
	char image[4096];	/* path for -kernel, readable when checked */
	char modules[4096];	/* holds modules.dep; empty: all is built in */
	char version[256];	/* as uname -r will say; empty if not known */
	enum guest_answer decompress; /* CONFIG_MODULE_DECOMPRESS */
	struct guest_error skipped; /* a newer kernel that is not readable */
};

/* What is known beforehand; NULL: not said. */
struct guest_kernel_ask {
	const char *image;	/* --kernel, or the newest */
	const char *modules;	/* --modules: a directory with modules.dep, or
				 * one that has VERSION/, lib/modules/VERSION/
				 * or usr/lib/modules/VERSION/ */
	const char *root;	/* of the guest, where it is no disk's */
	bool of_root;		/* the newest of @root, not of the host */
	const char *arch;	/* x86_64, aarch64; the host's */
};

/* The architecture of the host, and of this program. */
extern const char guest_host_arch[];

/**
 * guest_kernel_find() - choose the kernel to boot
 * @k:		filled in; skipped.text is not empty where a newer kernel was
 *		passed over because it can't be read: worth a warning
 * @err:	why not
 *
 * The newest is that of /boot/vmlinuz-*, /lib/modules/VERSION/vmlinuz and the
 * same below /usr that is readable and has modules. Modules are looked for
 * next to the image, in the guest's root, in the host's, unless they are named.
 *
 * Return: 0; -ENOENT no kernel, or no such; -EACCES not readable; -ENOEXEC not
 * a kernel image, or for another architecture; -ENXIO no modules for it;
 * -ESTALE those that were named are of another version.
 */
int guest_kernel_find(const struct guest_kernel_ask *ask,
		      struct guest_kernel *k, struct guest_error *err);

/* ---- spec: everything init must do -------------------------------------- */

enum guest_root_mode {
	GUEST_ROOT_OVERLAY,	/* read-only below, tmpfs above, forgotten */
	GUEST_ROOT_RO,
	GUEST_ROOT_RW,		/* writes through */
};

/* Streams of the command that are a terminal; the rest are pipes. */
#define GUEST_TTY_IN	1u
#define GUEST_TTY_OUT	2u
#define GUEST_TTY_ERR	4u

struct guest_mount {
	const char *tag;
	const char *path;	/* absolute in the guest; created if missing */
	bool read_only;
};

/*
 * Strings are borrowed. Zero-initialise, then set what is wanted; NULL means
 * the default that is named here.
 */
struct guest_spec {
	const char *root_tag;	/* virtiofs tag of the root share, or */
	const char *root_disk;	/* "vda", "vda2", or "" to look for a root */
	enum guest_root_mode root_mode;

	const struct guest_mount *mounts; /* in this order */
	unsigned int nr_mounts;

	const char *const *argv; /* NULL-terminated; NULL: user's login shell */
	const char *const *env;	/* "NAME=VALUE", NULL-terminated, may be NULL;
				 * goes over init's PATH, HOME, USER, LOGNAME,
				 * SHELL, TERM=linux, LANG=C.UTF-8 */
	const char *cwd;	/* absolute in the guest; NULL: "/" */
	const char *user;	/* name or number from the guest's passwd */
	const char *hostname;	/* "vmshare" */

	/*
	 * Without a command on a terminal all three. A terminal for in needs
	 * one for out or err too (the echo goes there), else it is a pipe.
	 */
	unsigned int tty;	/* GUEST_TTY_* */
	unsigned short rows, cols;

	bool data_disks;	/* there are disks for the command */
	bool dump;		/* tell QEMU where the kernel is (vmcoreinfo) */
	bool net;		/* configure the one network card */
	bool verbose;		/* kernel's messages, init's steps: console */
	bool tcg;		/* QEMU emulates the processor (no KVM): a must
				 * on microvm, or every other boot hangs */
	const char *append;	/* more kernel parameters; NULL: none */
	const char *arch;	/* x86_64, aarch64; NULL: the host's */
};

/**
 * guest_find_user() - who a spec's @user will be in the guest
 * @passwd:	the guest's /etc/passwd, by its path here; it need not exist
 * @who:	name or number
 *
 * Return: 0, or -ENOENT.
 */
int guest_find_user(const char *passwd, const char *who, uint32_t *uid,
		    uint32_t *gid);

/**
 * guest_cmdline() - render the kernel command line
 * @spec:	verbose, tcg, append and arch are used; the rest travels in
 *		the initramfs
 * @buf, @size:	where it goes, NUL-terminated
 *
 * Return: length, or -E2BIG where it does not fit (x86 takes 2047 bytes).
 */
int guest_cmdline(const struct guest_spec *spec, char *buf, size_t size);

/*
 * Names that the file server hides in the root of a root share, ended by NULL.
 * Covered: where init mounts its own, in any root below an overlay (a mount of
 * the tree would be in the way). Hidden: what a guest must not read of the
 * host's own root.
 */
extern const char *const guest_root_covered[];
extern const char *const guest_root_hidden[];

/* ---- initramfs ---------------------------------------------------------- */

/**
 * guest_initramfs_build() - write an initramfs into a memfd
 * @k:		kernel it is for
 * @spec:	decides which modules go in; written into it
 * @self:	the static binary that becomes /init, of spec->arch; NULL:
 *		/proc/self/exe
 * @err:	why not: which file or module
 *
 * Return: the memfd (close-on-exec, offset 0), the caller's to close.
 * -ENOEXEC: @self is not a static executable of that architecture. -ESTALE:
 * the modules are of another version than the kernel. -ENOENT: the kernel has
 * not a module that is needed. -EOPNOTSUPP: it has it compressed and can't
 * load that. Else the -errno of a file.
 */
int guest_initramfs_build(const struct guest_kernel *k,
			  const struct guest_spec *spec, const char *self,
			  struct guest_error *err);

/** guest_init_check() - 0, or as guest_initramfs_build() of @self and @arch */
int guest_init_check(const char *self, const char *arch,
		     struct guest_error *err);

/* ---- init: in the guest ------------------------------------------------- */

/* Its existence, with getpid() == 1, means: call guest_init_main(). */
#define GUEST_SPEC_FILE "/vmshare.spec"

/** guest_is_init() - whether this process is PID 1 of such an initramfs */
bool guest_is_init(void);

/** guest_init_main() - be PID 1 of the guest; ends with the power off */
_Noreturn void guest_init_main(void);

/* ---- streams: the relay on the host ------------------------------------- */

enum guest_port {
	GUEST_PORT_CONTROL,
	GUEST_PORT_IN,
	GUEST_PORT_OUT,
	GUEST_PORT_ERR,
	GUEST_PORTS,
};

/** guest_port_name() - name= of the virtserialport; "vmshare.out" and so on */
const char *guest_port_name(enum guest_port port);

struct guest_streams;

struct guest_streams_config {
	int in, out, err;	/* borrowed; -1: none (EOF, or thrown away) */
	bool escape;		/* in is a raw terminal: ^A x asks to quit,
				 * and ^C until the command runs; ^A ^A sends
				 * one ^A */
};

enum guest_phase {
	GUEST_BOOTING,		/* nothing heard from init yet */
	GUEST_READY,		/* init has its ports, is mounting */
	GUEST_RUNNING,		/* the command was started */
	GUEST_EXITED,		/* it ended; output may still be under way */
	GUEST_CONFIRMED,	/* all output was written here; sent CONFIRM */
	GUEST_DONE,		/* guest is unmounted: QEMU may be ended */
	GUEST_FAILED,		/* init gave up; text says why, no command ran
				 * (or its end was lost). It powers off */
};

struct guest_report {
	enum guest_phase phase;
	int status;		/* from GUEST_EXITED: 0..255, 128+n: signal n */
	int error;		/* of GUEST_FAILED: errno, or 0 */
	char text[128];		/* of GUEST_FAILED: a guest's bytes, cut; use
				 * log_escape() */
	bool quit;		/* ^A x was typed, or ^C too early */
	bool lost;		/* control port closed: QEMU is gone */
	bool out_gone, err_gone; /* our stdout/stderr had no reader (EPIPE) */
	int out_error;		/* errno where writing failed otherwise, as
				 * ENOSPC: the output is cut, and was said so
				 * to the guest */
	int in_error;		/* errno where reading our stdin failed: what
				 * came before was sent, then its end */
	uint64_t boot_ns;	/* guest's clock at READY, since its kernel */
	uint64_t start_ns;	/* guest's clock at RUNNING */
	uint64_t bytes_in, bytes_out, bytes_err; /* relayed so far */
};

/**
 * guest_streams_open() - make the sockets and the relay
 * @streams:	the new relay
 * @config:	the host's descriptors; copied
 * @qemu_fds:	set to the GUEST_PORTS ends for QEMU, by enum guest_port, the
 *		caller's: close them as soon as QEMU has them. Close-on-exec
 *
 * The flags of the config's descriptors are left alone (they are shared with
 * other processes); SIGPIPE must be ignored by the caller.
 *
 * Return: 0 or -errno.
 */
int guest_streams_open(struct guest_streams **streams,
		       const struct guest_streams_config *config,
		       int qemu_fds[GUEST_PORTS]);

#define GUEST_STREAMS_FDS 8

/**
 * guest_streams_poll() - what to wait for now
 * @fds:	room for GUEST_STREAMS_FDS entries
 *
 * Ask again before each poll(): what is waited for follows the buffers, so
 * that a slow reader stops the guest and nothing grows.
 *
 * Return: entries filled; 0 when all is done: every port is closed (QEMU is
 * gone) and all that came was written.
 */
unsigned int guest_streams_poll(struct guest_streams *streams,
				struct pollfd *fds);

/**
 * guest_streams_handle() - move bytes and messages
 * @fds, @nr:	as given by guest_streams_poll(), with revents
 *
 * Does not block, except for writes to regular files.
 *
 * Return: 0; -EPROTO the guest sent nonsense on the control port (it is not
 * listened to again).
 */
int guest_streams_handle(struct guest_streams *streams,
			 const struct pollfd *fds, unsigned int nr);

/** guest_streams_report() - how far the guest is; valid until close */
const struct guest_report *
guest_streams_report(const struct guest_streams *streams);

/** guest_streams_resize() - tell the guest's terminal its size (SIGWINCH) */
void guest_streams_resize(struct guest_streams *streams, unsigned short rows,
			  unsigned short cols);

/** guest_streams_signal() - send a signal to the command's process group */
void guest_streams_signal(struct guest_streams *streams, int sig);

/** guest_streams_close() - close what it opened; NULL is fine */
void guest_streams_close(struct guest_streams *streams);

#endif
