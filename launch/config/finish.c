/* SPDX-License-Identifier: MIT */
/*
 * The last step of reading a configuration: defaults that depend on other
 * settings or on the number of processors, and settings that contradict each
 * other. Files, devices and QEMU are check's to look at. The exception is
 * whether a tree is the host's own root, which has other defaults.
 */
#include "launch/config/options.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ALIGN_MEMORY	(UINT64_C(2) << 20)
#define SOCKET_PATH_MAX 107 /* sun_path less its NUL */

static unsigned int online_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (unsigned int)CPU_COUNT(&set);
}

static int refuse_root(struct cfg_parser *p, const char *name)
{
	return cfg_fail(p, "--%s: only for a guest whose root is no disk",
			name);
}

/* Which of our ways to boot this is, and options that the others have. */
static int finish_boot(struct cfg_parser *p)
{
	struct config *c = p->c;

	if (c->append && strchr(c->append, '\n'))
		return cfg_fail(p, "--append: must be one line");
	c->own_init = !c->initrd &&
		      (!c->nr_disks || c->guest_argv || c->root);
	if (c->initrd && !c->kernel)
		return cfg_fail(p, "--initrd: needs --kernel");
	if (c->guest_argv && c->initrd)
		return cfg_fail(p, "a COMMAND and --initrd exclude each other:"
				   " it is started by vmshare's own initrd");
	if (c->guest_argv && c->nr_disks && !c->kernel && !c->root) {
		if (strchr(c->disks[0].path, ':'))
			cfg_hint(p, "to share a directory: --share %s",
				 c->disks[0].path);
		else
			cfg_hint(p, "give --kernel FILE to boot vmshare's own "
				    "init with that disk as root");
		return cfg_fail(p,
				"%s boots by itself, so vmshare can't run "
				"'%s' in it",
				c->disks[0].path, c->guest_argv[0]);
	}
	if (c->kernel_of_root && (!c->own_init || (c->nr_disks && !c->root)))
		return refuse_root(p, "kernel root");
	if (c->own_init && !c->init && strcmp(c->arch, guest_host_arch) != 0) {
		cfg_hint(p, "give a disk, or --kernel and --initrd, or the "
			    "vmshare of %s: --init FILE", c->arch);
		return cfg_fail(p, "--arch %s: a guest without a disk or an "
				   "initrd is started by vmshare itself, which "
				   "is here for %s", c->arch, guest_host_arch);
	}
	if (c->own_init && c->dry_run) {
		cfg_hint(p, "give a disk, or --kernel and --initrd");
		return cfg_fail(p, "--dry-run: this guest boots from memory "
				   "that only a run makes; nothing could be "
				   "pasted");
	}
	if (c->own_init) {
		c->has_root_share = !c->nr_disks || c->root;
		return 0;
	}
	if (c->append && !c->kernel)
		return cfg_fail(p, "--append: needs --kernel");
	if (c->modules || c->nr_env || c->user || c->init || c->workdir)
		return cfg_fail(p,
				"--%s: only for a guest that vmshare's own "
				"init boots",
				c->modules   ? "modules"
				: c->user    ? "user"
				: c->init    ? "init"
				: c->workdir ? "workdir"
					     : "env");
	return 0;
}

/* "/." and links are no other tree, nor is a bind mount of it. */
static bool is_host_root(const char *dir)
{
	struct stat root, st;

	return stat("/", &root) == 0 && stat(dir, &st) == 0 &&
	       root.st_dev == st.st_dev && root.st_ino == st.st_ino;
}

static int finish_root(struct cfg_parser *p)
{
	struct config *c = p->c;
	struct share_config *r = &c->root_share;

	if (!c->has_root_share) {
		if (c->root || c->root_rw)
			return refuse_root(p, c->root ? "root" : "root-rw");
		return 0;
	}
	if (!c->root || is_host_root(c->root))
		c->root = "/";
	if (cfg_defaults(p, CFG_SHARE, r))
		return -EINVAL;
	if (c->root_rw && strcmp(c->root, "/") == 0) {
		cfg_hint(p, "give another tree with --root DIR");
		return cfg_fail(p, "--root-rw: the guest could write to the "
				   "whole host");
	}
	r->dir = c->root;
	r->tag = CONFIG_ROOT_TAG;
	r->ro = !c->root_rw;
	r->submounts = false; /* overlayfs refuses them */
	r->queues = c->cpus < 64 ? c->cpus : 64;
	return 0;
}

/* Whose the caller's files are was not said. */
static bool has_no_owners(const struct share_config *s)
{
	return s->dir && !s->access && !s->squash.set &&
	       !s->uid_map.nr && !s->gid_map.nr;
}

/*
 * An ordinary user who is NAME in the guest wants to work in the shares as
 * NAME: the caller's files are NAME's, then, not root's; in the host's own root
 * as well, where they are the caller's indeed. With a disk its users are not
 * known, but for one that is given as a number.
 */
static int finish_user(struct cfg_parser *p)
{
	struct config *c = p->c;
	struct squash_config squash = { .set = true };
	char path[PATH_MAX];

	if (!c->own_init || !c->user || geteuid() == 0)
		return 0;
	snprintf(path, sizeof(path), "%s/etc/passwd",
		 c->has_root_share ? c->root : "");
	if (guest_find_user(c->has_root_share ? path : "/dev/null", c->user,
			    &squash.uid, &squash.gid))
		return 0;	/* the guest, or check, says so */
	for (unsigned int i = 0; i < c->nr_shares; i++)
		if (has_no_owners(&c->shares[i]))
			c->shares[i].squash = squash;
	if (c->has_root_share && strcmp(c->root, "/") == 0)
		c->root_share.squash = squash;
	return 0;
}

static int finish_devices(struct cfg_parser *p)
{
	struct config *c = p->c;

	if (!c->net)
		c->net = c->own_init ? "none" : "user";
	if (c->nr_forwards && strcmp(c->net, "none") == 0) {
		cfg_hint(p, "add --net user");
		return cfg_fail(p, "--forward: the guest has no network");
	}
	if (!c->console)
		c->console = c->own_init ? "none" : "stdio";
	if (c->read_only && !c->nr_disks) {
		cfg_hint(p, "a share is made so by ro: --share DIR:TAG,ro");
		return cfg_fail(p, "--read-only: there is no disk");
	}
	if (c->ephemeral && c->root_rw)
		return cfg_fail(p, "--ephemeral and --root-rw exclude each "
				   "other");
	if (c->ephemeral && c->read_only)
		return cfg_fail(p, "--ephemeral and --read-only exclude each "
				   "other");
	if (!c->firmware)
		c->firmware = strcmp(c->arch, "aarch64") == 0 ? "uefi" : "bios";
	else if (c->own_init || c->kernel)
		return cfg_fail(p, "--firmware: --kernel is booted without");
	if (strcmp(c->arch, "aarch64") == 0 && strcmp(c->firmware, "bios") == 0)
		return cfg_fail(p, "--firmware bios: aarch64 has none");
	if (!c->qemu) {
		c->qemu = getenv("VMSHARE_QEMU");
		if (c->qemu && !*c->qemu)
			c->qemu = NULL;
	}
	return 0;
}

static void cpu_range(const char *text, unsigned int *first, unsigned int *last)
{
	char *end;

	*first = (unsigned int)strtoul(text, &end, 10);
	*last = *end == '-' ? (unsigned int)strtoul(end + 1, NULL, 10) : *first;
}

/* Nodes that don't say get an even part of the processors, in order. */
static int finish_node_cpus(struct cfg_parser *p)
{
	struct config *c = p->c;
	unsigned int given = 0, owner[256];
	char text[32];

	memset(owner, 0xff, sizeof(owner));
	for (unsigned int i = 0; i < c->nr_nodes; i++) {
		unsigned int first, last;

		if (!c->nodes[i].cpus)
			continue;
		given++;
		cpu_range(c->nodes[i].cpus, &first, &last);
		if (last >= c->cpus)
			return cfg_fail(p,
					"numa node %u: there is no "
					"processor %u of %u",
					i, last, c->cpus);
		for (; first <= last; first++) {
			if (owner[first] != UINT32_MAX)
				return cfg_fail(p,
						"numa: processor %u is in "
						"nodes %u and %u",
						first, owner[first], i);
			owner[first] = i;
		}
	}
	if (given && given < c->nr_nodes)
		return cfg_fail(p, "numa: give cpus for every node or for "
				   "none");
	for (unsigned int i = 0; !given && i < c->nr_nodes; i++) {
		unsigned int first = i * c->cpus / c->nr_nodes;
		unsigned int end = (i + 1) * c->cpus / c->nr_nodes;

		if (first == end)
			continue; /* a node of memory alone */
		snprintf(text, sizeof(text), end - first > 1 ? "%u-%u" : "%u",
			 first, end - 1);
		c->nodes[i].cpus = cfg_strdup(c, text);
	}
	for (unsigned int i = 0; given && i < c->cpus; i++)
		if (owner[i] == UINT32_MAX)
			return cfg_fail(p, "numa: processor %u is in no node",
					i);
	return 0;
}

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

/* Every node has memory, and all of it is the guest's. */
static int finish_node_memory(struct cfg_parser *p)
{
	struct config *c = p->c;
	uint64_t unit = ALIGN_MEMORY, sum = 0, left;
	unsigned int without = 0;
	char a[32], b[32];

	if (c->mem.page_size > unit)
		unit = c->mem.page_size;
	for (unsigned int i = 0; i < c->nr_nodes; i++) {
		c->nodes[i].memory = round_up(c->nodes[i].memory, unit);
		sum += c->nodes[i].memory;
		without += !c->nodes[i].memory;
	}
	if (!without && !p->memory_set)
		c->memory = sum;
	c->memory = round_up(c->memory, unit);
	format_size(a, sizeof(a), sum);
	format_size(b, sizeof(b), c->memory);
	if (!without && sum != c->memory)
		return cfg_fail(p,
				"numa: the nodes' memory is %s, the "
				"guest's %s",
				a, b);
	left = sum < c->memory ? c->memory - sum : 0;
	if (without && left / unit < without)
		return cfg_fail(p, "numa: %s is too little for %u more nodes",
				format_size(b, sizeof(b), left), without);
	for (unsigned int i = 0; without && i < c->nr_nodes; i++) {
		uint64_t part = left / without / unit * unit;

		if (c->nodes[i].memory)
			continue;
		c->nodes[i].memory = part;
		left -= part;
		without--;
	}
	/* what rounding left goes to the last; nothing when it had its own */
	c->nodes[c->nr_nodes - 1].memory += left;
	return 0;
}

bool config_writes_disk(const struct config *c)
{
	return c->nr_disks && !c->ephemeral && !c->read_only;
}

static int finish_vm(struct cfg_parser *p)
{
	struct config *c = p->c;
	struct utsname host;
	int err;

	if (!c->arch) {
		uname(&host);
		c->arch = cfg_strdup(c, host.machine);
	}
	if (!c->cpus) {
		c->cpus = online_cpus();
		if (c->cpus > 4)
			c->cpus = 4;
	}
	err = finish_boot(p);
	if (!err)
		err = finish_root(p);
	if (!err)
		err = finish_user(p);
	if (!err)
		err = finish_devices(p);
	if (err)
		return err;
	if (!c->nr_nodes)
		c->nr_nodes = 1;
	if (c->shutdown_timeout_ms == UINT64_MAX)
		c->shutdown_timeout_ms = config_writes_disk(c) ? 90000 : 10000;
	err = c->numa ? finish_node_cpus(p) : 0;
	return err ? err : finish_node_memory(p);
}

static int finish_serve(struct cfg_parser *p)
{
	struct config *c = p->c;

	if (c->nr_shares != 1) {
		cfg_hint(p, c->nr_shares ?
			 "start one 'vmshare serve' for each share" :
			 "give it: --share DIR");
		return cfg_fail(p, "serve: needs one --share, not %u",
				c->nr_shares);
	}
	if (c->shares[0].socket)
		return cfg_fail(p, "serve: share '%s' has another server",
				c->shares[0].tag);
	if (c->socket_path && c->listen_fd >= 0)
		return cfg_fail(p, "--socket and --fd exclude each other");
	if (c->socket_group && !c->socket_path)
		return cfg_fail(p, "--socket-group: needs --socket");
	if (c->socket_path && strlen(c->socket_path) > SOCKET_PATH_MAX) {
		cfg_hint(p, "use a shorter directory such as "
			    "$XDG_RUNTIME_DIR, or --fd");
		return cfg_fail(p,
				"--socket: path is %zu bytes; the limit is "
				"%d",
				strlen(c->socket_path), SOCKET_PATH_MAX);
	}
	if (!c->socket_path && c->listen_fd < 0 && !getenv("LISTEN_FDS")) {
		cfg_hint(p, "give --socket PATH or --fd N");
		return cfg_fail(p, "serve: where should it listen?");
	}
	return 0;
}

int cfg_finish(struct cfg_parser *p)
{
	int err = strcmp(p->c->command, "serve") == 0 ? finish_serve(p)
						      : finish_vm(p);

	return err ? err : cfg_finish_shares(p);
}
