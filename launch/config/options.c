/* SPDX-License-Identifier: MIT */
/*
 * The key table: every setting of vmshare, once.
 *
 * A row says what a key is called, where it may be used, how its value is
 * read and into which field, within which limits, what holds when it is not
 * given, and one line of help. The flag parser, the file reader, --share's
 * options, --help, the completions and the test of the man page are loops
 * over this table, so none of them can know another set of options.
 *
 * A row's scope decides what its offset is relative to: struct config for the
 * subcommands, struct share_config for shares, struct numa_config for nodes.
 * Defaults are texts in the same spelling that a user writes, read by the
 * same parser; one in parentheses only describes what config_finish works out.
 */
#include "launch/config/options.h"

#include <errno.h>
#include <string.h>

#define VM(field)   offsetof(struct config, field)
#define SH(field)   offsetof(struct share_config, field)
#define NODE(field) offsetof(struct numa_config, field)

#define COMMON CFG_COMMON
#define GIB    (UINT64_C(1) << 30)

const struct cfg_key cfg_keys[] = {
	/* what is shared */
	{ "share", 's', CFG_COMMANDS | CFG_FLAG_ONLY | COMMON,
	  "DIR[:TAG[,OPT...]]", opt_share, 0, 0, 0, NULL,
	  "offer DIR to the guest as TAG; may be repeated" },
	{ "share-socket", 0, CFG_VM | CFG_FLAG_ONLY, "PATH:TAG[,OPT...]",
	  opt_share_socket, 0, 0, 0, NULL,
	  "use a file server that listens at PATH" },

	/* memory and processors */
	{ "memory", 'm', CFG_VM | COMMON, "SIZE", opt_memory, VM(memory),
	  16 << 20, 16384 * GIB, "1G", "guest memory, as in 512M or 2G" },
	{ "memory-type", 0, CFG_VM | COMMON,
	  "memfd|hugepages[=SIZE]|file=DIR", opt_memory_type, VM(mem), 0, 0,
	  "memfd", "what guest memory is made of" },
	{ "prealloc", 0, CFG_VM, NULL, opt_bool, VM(mem.prealloc), 0, 0,
	  "off", "claim all guest memory before the guest starts" },
	{ "numa", 0, CFG_VM | CFG_FLAG_ONLY, "[cpus=A-B][,memory=SIZE]",
	  opt_numa, 0, 0, 0, NULL, "add a NUMA node; may be repeated" },
	{ "cpus", 'p', CFG_VM | COMMON, "N", opt_uint, VM(cpus), 1, 255,
	  "(the host's, at most 4)", "virtual processors" },

	/* what is booted */
	{ "disk", 0, CFG_VM, "FILE", opt_disk, 0, 0, 0, NULL,
	  "disk image, as the argument DISK; may be repeated" },
	{ "disk-format", 0, CFG_VM, "auto|raw|qcow2|vmdk|vdi|vhdx|vpc",
	  opt_choice, VM(disk_format), 0, 0, "auto",
	  "format of the disks; auto looks at the first bytes" },
	{ "ephemeral", 0, CFG_VM | COMMON, NULL, opt_bool, VM(ephemeral), 0, 0,
	  "off", "forget what the guest writes to its disks" },
	{ "read-only", 0, CFG_VM, NULL, opt_bool, VM(read_only), 0, 0, "off",
	  "let the guest only read its disks" },
	{ "kernel", 0, CFG_VM | COMMON, "FILE", opt_kernel, VM(kernel), 0, 0,
	  "(without a disk: the newest in /boot)",
	  "boot this kernel, or 'root': the root's own" },
	{ "initrd", 0, CFG_VM, "FILE", opt_path, VM(initrd), 0, 0, NULL,
	  "initial RAM disk for --kernel" },
	{ "append", 0, CFG_VM, "TEXT", opt_string, VM(append), 0, 0, NULL,
	  "more kernel parameters, for --kernel" },
	{ "firmware", 0, CFG_VM, "bios|uefi", opt_choice, VM(firmware), 0, 0,
	  "(bios; on aarch64 uefi)", "firmware that boots the disk" },

	/* a guest without a disk */
	{ "root", 0, CFG_VM | COMMON, "DIR", opt_path, VM(root), 0, 0, "(/)",
	  "root of a guest without a disk" },
	{ "root-rw", 0, CFG_VM, NULL, opt_bool, VM(root_rw), 0, 0, "off",
	  "write through to --root instead of forgetting" },
	{ "modules", 0, CFG_VM, "DIR", opt_path, VM(modules), 0, 0,
	  "(the host's)", "kernel modules for --kernel" },
	{ "init", 0, CFG_VM, "FILE", opt_path, VM(init), 0, 0,
	  "(this program)", "vmshare of the guest's architecture" },
	{ "workdir", 0, CFG_VM, "PATH", opt_guest_path, VM(workdir), 0, 0,
	  "(in the share)", "where COMMAND starts in the guest" },
	{ "env", 'e', CFG_VM, "NAME[=VALUE]", opt_env, 0, 0, 0, NULL,
	  "environment of COMMAND; may be repeated" },
	{ "user", 'u', CFG_VM, "NAME", opt_string, VM(user), 0, 0, NULL,
	  "user that COMMAND runs as in the guest" },

	/* devices */
	{ "net", 0, CFG_VM | COMMON, "user|none", opt_choice, VM(net), 0, 0,
	  "(user; without a disk none)", "network" },
	{ "forward", 'f', CFG_VM | COMMON, "tcp|udp:[ADDR:]PORT:PORT",
	  opt_forward, 0, 0, 0, NULL,
	  "forward a host port to a guest port" },
	{ "console", 0, CFG_VM | COMMON, "stdio|none|file=FILE", opt_console,
	  0, 0, 0, "(stdio; without a disk none)", "the serial console" },
	{ "accel", 0, CFG_VM | COMMON, "auto|kvm|tcg", opt_choice, VM(accel),
	  0, 0, "auto", "how the guest's code is run" },
	{ "arch", 0, CFG_VM, "x86_64|aarch64", opt_choice, VM(arch), 0, 0,
	  "(the host's)", "architecture of the guest" },
	{ "machine", 0, CFG_VM, "TYPE", opt_string, VM(machine), 0, 0,
	  "(q35, microvm or virt)", "QEMU's machine type" },
	{ "cpu-model", 0, CFG_VM, "MODEL", opt_string, VM(cpu_model), 0, 0,
	  "(host with KVM, else max)", "QEMU's processor model" },
	{ "qemu", 0, CFG_VM, "FILE", opt_path, VM(qemu), 0, 0,
	  "(qemu-system-ARCH in PATH)", "QEMU to use" },
	{ "qemu-arg", 0, CFG_VM, "ARG", opt_qemu_arg, 0, 0, 0, NULL,
	  "one more word for QEMU; may be repeated" },

	/* the run as a whole */
	{ "timeout", 't', CFG_VM | COMMON, "TIME", opt_duration,
	  VM(timeout_ms), 1, UINT32_MAX, "(none)",
	  "end the guest after TIME (exit status 124)" },
	{ "shutdown-timeout", 0, CFG_VM, "TIME", opt_duration,
	  VM(shutdown_timeout_ms), 0, UINT32_MAX,
	  "(10s, or 90s where a disk is written)",
	  "how long a guest may take to power off" },
	{ "dump", 0, CFG_VM, "FILE", opt_path, VM(dump), 0, 0, NULL,
	  "memory of a guest that panics, for crash or gdb" },
	{ "status-fd", 0, CFG_VM | CFG_FLAG_ONLY, "N", opt_fd, VM(status_fd),
	  0, 65535, NULL, "write events as lines of JSON to descriptor N" },
	{ "ready-fd", 0, CFG_VM | CFG_FLAG_ONLY, "N", opt_fd, VM(ready_fd), 0,
	  65535, NULL, "write a line to N once a share is mounted" },
	{ "pidfile", 0, CFG_COMMANDS, "FILE", opt_path, VM(pidfile), 0, 0,
	  NULL, "write the process id to FILE" },

	/* serve */
	{ "socket", 0, CFG_SERVE | COMMON, "PATH", opt_path, VM(socket_path),
	  0, 0, NULL, "listen at PATH for a virtual machine" },
	{ "fd", 0, CFG_SERVE | CFG_FLAG_ONLY | COMMON, "N", opt_fd,
	  VM(listen_fd), 0, 65535, NULL,
	  "use the listening socket N" },
	{ "socket-group", 0, CFG_SERVE | COMMON, "GROUP", opt_string,
	  VM(socket_group), 0, 0, NULL, "group that may use the socket" },
	{ "once", 0, CFG_SERVE | COMMON, NULL, opt_bool, VM(once), 0, 0,
	  "off", "end when the first client disconnects" },

	/* everywhere */
	{ "config", 'c', CFG_COMMANDS | CFG_FLAG_ONLY | COMMON, "FILE",
	  opt_path, VM(file), 0, 0, NULL, "read settings from FILE" },
	{ "dry-run", 'n', CFG_VM | CFG_FLAG_ONLY | COMMON, NULL, opt_bool,
	  VM(dry_run), 0, 0, "off", "print QEMU's command, start nothing" },
	{ "json", 0,
	  CFG_CHECK | CFG_PS | CFG_STAT | CFG_FLAG_ONLY | COMMON, NULL,
	  opt_bool, VM(json), 0, 0, "off", "print JSON on stdout" },
	{ "watch", 'w', CFG_STAT | CFG_FLAG_ONLY | COMMON, NULL, opt_bool,
	  VM(watch), 0, 0, "off", "go on, each second about the last one" },
	{ "verbose", 'v', CFG_COMMANDS | COMMON, NULL, opt_verbose,
	  VM(verbose), 0, 0, NULL, "say more; twice: even more" },
	{ "quiet", 'q', CFG_COMMANDS, NULL, opt_quiet, VM(verbose), 0, 0,
	  NULL, "say nothing but errors" },
	{ "syslog", 0, CFG_RUN | CFG_SERVE, NULL, opt_bool, VM(syslog), 0, 0,
	  "off", "send messages to the system's log" },
	{ "log-level", 0, CFG_COMMANDS, "error|warning|note|info|debug",
	  opt_log_level, VM(verbose), 0, 0, "note",
	  "least important messages to print" },

	/* a share */
	{ "dir", 0, CFG_SECTION, "DIR", opt_path, SH(dir), 0, 0, NULL,
	  "directory to share" },
	{ "socket", 0, CFG_SECTION, "PATH", opt_path, SH(socket), 0, 0, NULL,
	  "use a file server that listens at PATH" },
	{ "ro", 0, CFG_SHARE, NULL, opt_bool, SH(ro), 0, 0, "off",
	  "the guest can't change anything" },
	{ "rw", 0, CFG_SHARE, NULL, opt_not, SH(ro), 0, 0, NULL,
	  "the guest may write" },
	{ "mount", 0, CFG_SHARE, "PATH", opt_guest_path, SH(mount), 0, 0,
	  "(without a disk: /mnt/TAG)", "where the guest mounts it by itself" },
	{ "cache", 0, CFG_SHARE, "auto|always|none", opt_choice, SH(cache), 0,
	  0, "auto", "how far the guest trusts what it has seen" },
	{ "timeout", 0, CFG_SHARE, "TIME", opt_duration, SH(timeout_ms), 0,
	  UINT32_MAX, "1s", "how long cache=auto trusts a name" },
	{ "writeback", 0, CFG_SHARE, NULL, opt_bool, SH(writeback), 0, 0,
	  "off", "the guest may hold back writes" },
	{ "queue-size", 0, CFG_SHARE, "N", opt_pow2, SH(queue_size), 2, 1024,
	  "1024", "slots of each queue, a power of two" },
	{ "queues", 0, CFG_SHARE, "N", opt_uint, SH(queues), 1, 64,
	  "(as many as processors)", "request queues" },
	{ "threads", 0, CFG_SHARE, "N", opt_uint, SH(threads), 1, 1024,
	  "(by processors)", "most requests worked on at once" },
	{ "access", 0, CFG_SHARE, "passthrough|squash|mapped", opt_choice,
	  SH(access), 0, 0, "(passthrough for root, else squash)",
	  "who the guest's users are on the host" },
	{ "squash", 0, CFG_SHARE, "UID[:GID]", opt_squash, SH(squash), 0, 0,
	  "(0:0)", "who the caller is in the guest; access=squash" },
	{ "uid-map", 0, CFG_SHARE, "[KIND:]GUEST:HOST:COUNT", opt_map,
	  SH(uid_map), 0, 0, NULL, "translate user ids; may be repeated" },
	{ "gid-map", 0, CFG_SHARE, "[KIND:]GUEST:HOST:COUNT", opt_map,
	  SH(gid_map), 0, 0, NULL, "translate group ids; may be repeated" },
	{ "xattr", 0, CFG_SHARE, NULL, opt_bool, SH(xattr), 0, 0, "on",
	  "extended attributes" },
	{ "xattr-map", 0, CFG_SHARE, "RULES", opt_xattr_map, SH(xattr_map), 0,
	  0, NULL, "rename extended attributes, as virtiofsd does" },
	{ "posix-acl", 0, CFG_SHARE, NULL, opt_bool, SH(posix_acl), 0, 0,
	  "on", "access control lists, where the guest knows them" },
	{ "posix-lock", 0, CFG_SHARE, NULL, opt_bool, SH(posix_lock), 0, 0,
	  "on", "fcntl locks hold on the host too" },
	{ "flock", 0, CFG_SHARE, NULL, opt_bool, SH(flock), 0, 0, "on",
	  "flock locks hold on the host too" },
	{ "block-locks", 0, CFG_SHARE, NULL, opt_bool, SH(block_locks), 0, 0,
	  "on", "let a guest wait for a lock" },
	{ "submounts", 0, CFG_SHARE, NULL, opt_bool, SH(submounts), 0, 0,
	  "on", "show the guest where file systems begin" },
	{ "direct-io", 0, CFG_SHARE, NULL, opt_bool, SH(direct_io), 0, 0,
	  "off", "pass O_DIRECT on to the host" },
	{ "noatime", 0, CFG_SHARE, NULL, opt_bool, SH(noatime), 0, 0, "off",
	  "pass O_NOATIME on to the host" },
	{ "inode-handles", 0, CFG_SHARE, NULL, opt_bool, SH(inode_handles), 0,
	  0, "off", "reopen files by handle; needs privileges" },
	{ "open-files", 0, CFG_SHARE, "N", opt_uint, SH(open_files), 64,
	  1 << 20, "(from RLIMIT_NOFILE)", "descriptors to work with" },
	{ "inode-limit", 0, CFG_SHARE, "N", opt_u64, SH(inode_limit), 1024,
	  UINT32_MAX, "(none)", "files to remember at once" },
	{ "sandbox", 0, CFG_SHARE, "auto|namespace|chroot|none", opt_choice,
	  SH(sandbox), 0, 0, "auto", "how the server is shut in" },
	{ "seccomp", 0, CFG_SHARE, "kill|log|none", opt_choice, SH(seccomp),
	  0, 0, "kill", "on a system call the server does not use" },
	{ "drop-caps", 0, CFG_SHARE, "NAME[:NAME...]", opt_caps,
	  SH(drop_caps), 0, 0, NULL,
	  "capabilities that the server does without" },
	{ "allow-root", 0, CFG_SHARE, NULL, opt_bool, SH(allow_root), 0, 0,
	  "off", "share / for writing, knowing what it means" },

	/* a NUMA node */
	{ "cpus", 0, CFG_NUMA, "A-B", opt_cpu_range, NODE(cpus), 0, 254,
	  "(an even part)", "its virtual processors" },
	{ "memory", 0, CFG_NUMA, "SIZE", opt_size, NODE(memory), 1 << 20,
	  16384 * GIB, "(an even part)", "its memory" },
};

const unsigned int cfg_nr_keys = ARRAY_SIZE(cfg_keys);

#define CFG_WHERE (0x7fu | CFG_LOOK) /* the scope bits that say where */

const struct cfg_key *cfg_find(const char *name, unsigned int scope)
{
	for (unsigned int i = 0; i < cfg_nr_keys; i++) {
		const struct cfg_key *k = &cfg_keys[i];

		if ((k->scope & scope & CFG_WHERE) &&
		    strcmp(k->name, name) == 0)
			return k;
	}
	return NULL;
}

const struct cfg_key *cfg_find_letter(char letter, unsigned int scope)
{
	for (unsigned int i = 0; letter && i < cfg_nr_keys; i++) {
		const struct cfg_key *k = &cfg_keys[i];

		if ((k->scope & scope & CFG_WHERE) && k->letter == letter)
			return k;
	}
	return NULL;
}

const char *cfg_nearest(const char *name, unsigned int scope)
{
	const char *names[ARRAY_SIZE(cfg_keys) + 1];
	unsigned int n = 0;

	for (unsigned int i = 0; i < cfg_nr_keys; i++)
		if (cfg_keys[i].scope & scope & CFG_WHERE)
			names[n++] = cfg_keys[i].name;
	names[n] = NULL;
	return parse_nearest(name, names);
}

int cfg_defaults(struct cfg_parser *p, unsigned int scope, void *base)
{
	for (unsigned int i = 0; i < cfg_nr_keys; i++) {
		const struct cfg_key *k = &cfg_keys[i];
		int err;

		if (!(k->scope & scope & CFG_WHERE) || !k->fallback ||
		    k->fallback[0] == '(')
			continue;
		err = k->parse(p, k, base, k->fallback);
		if (err)
			return err;
	}
	return 0;
}

int cfg_set(struct cfg_parser *p, unsigned int scope, void *base,
	    const char *name, const char *value)
{
	const struct cfg_key *k = cfg_find(name, scope);
	const char *near;

	if (!k) {
		near = cfg_nearest(name, scope);
		if (near)
			cfg_hint(p, "did you mean '%s'?", near);
		else if (scope & CFG_SHARE)
			cfg_hint(p, "try 'vmshare help share'");
		return cfg_fail(p, "unknown option '%s'", name);
	}
	if (k->arg && !value)
		return cfg_fail(p, "%s: needs a value, as in %s=%s", name, name,
				k->arg);
	if ((scope & CFG_SHARE) && strcmp(name, "queues") != 0 &&
	    strcmp(name, "queue-size") != 0 && strcmp(name, "mount") != 0 &&
	    strcmp(name, "socket") != 0)
		p->server_key = k->name;
	return k->parse(p, k, base, value);
}

unsigned int cfg_scope(const char *command)
{
	static const struct {
		const char *name;
		unsigned int scope;
	} commands[] = {
		{"run", CFG_RUN},
		{"check", CFG_CHECK},
		{"libvirt-xml", CFG_XML},
		{"serve", CFG_SERVE},
		{"ps", CFG_PS},
		{"stat", CFG_STAT},
		{"restart", CFG_RESTART},
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, command) == 0)
			return commands[i].scope;
	return 0;
}
