/* SPDX-License-Identifier: MIT */
/*
 * Giving up rights: descriptors, limits, Landlock, then capabilities. None of
 * it can be undone, and child processes inherit it.
 *
 * Landlock also works without namespaces. It then restricts opening, creating,
 * removing and renaming to the share's tree, but does not cover stat, chmod,
 * xattrs and utimes: for those the name checks and openat2() are the boundary.
 * It is used from ABI 3 on: before that a rename between directories fails with
 * EXDEV, and truncation is not restricted. With inode-handles=on it is left
 * out: it can't find the directory of a file that was opened by handle.
 *
 * To allow an open, Landlock walks from the file up to the share, which takes
 * 0.1 us for each level and at least a fifth of an open's time. With namespaces
 * only the share and a read-only procfs can be opened anyway, and Landlock does
 * not check opens: it then forbids to run programs, and restricts devices,
 * network and signals.
 *
 * The C library lacks the system calls and structures of these ABIs, so they
 * are defined below as in the kernel's UAPI.
 */

#include "fsserver/confine/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

/* linux/landlock.h as of ABI 6 */
#define LL_EXECUTE	(1ull << 0)
#define LL_READ_FILE	(1ull << 2)
#define LL_READ_DIR	(1ull << 3)
#define LL_REFER	(1ull << 13)
#define LL_ABI3_FS	((1ull << 15) - 1)	/* up to TRUNCATE */
#define LL_IOCTL_DEV	(1ull << 15)		/* ABI 5 */
#define LL_NET_TCP	3ull			/* ABI 4: bind, connect */
#define LL_SCOPED	3ull			/* ABI 6: sockets, signals */
#define LL_MIN_ABI	3
#define LL_CREATE_RULESET_VERSION 1u
#define LL_RULE_PATH_BENEATH 1

struct ll_ruleset {
	uint64_t fs, net, scoped;
};

struct ll_path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

/* ---- descriptors and limits --------------------------------------------- */

/* Is @fd kept? *@next is set to the next kept descriptor above it. */
static bool kept(int fd, const int *keep, unsigned int nr_keep,
		 const struct fs_place *place, int *next)
{
	bool found = fd == place->root || fd == place->proc;

	*next = INT32_MAX;
	for (unsigned int i = 0; i < nr_keep + 2; i++) {
		int k = i < nr_keep ? keep[i] :
			i == nr_keep ? place->root : place->proc;

		found |= k == fd;
		if (k > fd && k < *next)
			*next = k;
	}
	return found;
}

int drop_descriptors(const struct fs_place *place, const int *keep,
		     unsigned int nr_keep)
{
	int fd = 3, next;

	for (;;) {
		if (kept(fd, keep, nr_keep, place, &next)) {
			fd++;
			continue;
		}
		if (next == INT32_MAX)
			break;
		sys_close_range(fd, next - 1, false);
		fd = next;
	}
	sys_close_range(fd, INT32_MAX, false);
	return 0;
}

void drop_limits(void)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit lim;

	if (!getrlimit(RLIMIT_NOFILE, &lim)) {
		/* The kernel's default bound; it refuses "infinite". */
		lim.rlim_cur = lim.rlim_max < 1048576 ? lim.rlim_max : 1048576;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	setrlimit(RLIMIT_CORE, &none);
}

/* ---- Landlock ----------------------------------------------------------- */

static int unavailable(struct fs_layer *layer, int err, const char *why)
{
	layer->state = FS_LAYER_UNAVAILABLE;
	layer->error = err;
	snprintf(layer->why, sizeof(layer->why), "%s", why);
	return 0;
}

static int add_rule(int ruleset, int dir, uint64_t allowed)
{
	const struct ll_path_beneath rule = { allowed, dir };

	return syscall(SYS_landlock_add_rule, ruleset, LL_RULE_PATH_BENEATH,
		       &rule, 0) ? -errno : 0;
}

/* The rights that are restricted, and those allowed in the share's tree. */
static void landlock_rights(const struct confining *c, uint64_t *handled,
			    uint64_t *allowed)
{
	*handled = LL_ABI3_FS;
	*allowed = c->o->readonly ? LL_READ_FILE | LL_READ_DIR :
				    LL_ABI3_FS & ~LL_EXECUTE;
	if (c->place->layers[FS_LAYER_NAMESPACES].state == FS_LAYER_ON &&
	    c->place->private_proc) {
		/* Without LL_REFER it refuses renames between directories. */
		*handled = LL_EXECUTE | LL_REFER;
		*allowed = LL_REFER;
	}
}

int drop_landlock(struct confining *c)
{
	struct fs_layer *layer = &c->place->layers[FS_LAYER_LANDLOCK];
	struct ll_ruleset set = { 0 };
	uint64_t allowed;
	int ruleset, err;
	long abi;

	if (c->o->inode_handles) {
		snprintf(layer->why, sizeof(layer->why), "inode-handles=on");
		return 0;
	}
	abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
		      LL_CREATE_RULESET_VERSION);
	if (abi < 0)
		return unavailable(layer, errno, "not in this kernel");
	if (abi < LL_MIN_ABI)
		return unavailable(layer, EOPNOTSUPP,
				   "older than version 3 (Linux 6.2)");
	landlock_rights(c, &set.fs, &allowed);
	if (abi >= 4)
		set.net = LL_NET_TCP;
	if (abi >= 5)
		set.fs |= LL_IOCTL_DEV;
	if (abi >= 6)
		set.scoped = LL_SCOPED;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &set,
			       abi >= 6 ? sizeof(set) : abi >= 4 ? 16 : 8, 0);
	if (ruleset < 0)
		return unavailable(layer, errno, "creating a rule set failed");
	/* There is no rule for the host's procfs. */
	err = add_rule(ruleset, c->place->root, allowed);
	if (!err && syscall(SYS_landlock_restrict_self, ruleset, 0))
		err = -errno;
	close(ruleset);
	if (err)
		return unavailable(layer, -err, "restricting itself failed");
	layer->state = FS_LAYER_ON;
	return 0;
}

/* ---- capabilities ------------------------------------------------------- */

static const struct {
	const char *name;
	int cap;
} cap_names[] = {
	{"chown", CAP_CHOWN}, {"dac_override", CAP_DAC_OVERRIDE},
	{"dac_read_search", CAP_DAC_READ_SEARCH}, {"fowner", CAP_FOWNER},
	{"fsetid", CAP_FSETID}, {"mknod", CAP_MKNOD},
	{"setfcap", CAP_SETFCAP}, {"setgid", CAP_SETGID},
	{"setuid", CAP_SETUID},
};

uint64_t fs_caps_parse(const char *text)
{
	uint64_t caps = 0;
	size_t len;

	for (; text && *text; text += len + (text[len] == ':')) {
		len = strcspn(text, ":");
		for (size_t i = 0; i < ARRAY_SIZE(cap_names); i++)
			if (strlen(cap_names[i].name) == len &&
			    memcmp(cap_names[i].name, text, len) == 0)
				caps |= 1ull << cap_names[i].cap;
	}
	return caps;
}

static uint64_t wanted_caps(const struct fs_options *o)
{
	static const int passthrough[] = {
		CAP_CHOWN, CAP_FSETID, CAP_SETGID, CAP_SETUID, CAP_MKNOD,
		CAP_SETFCAP,
	};
	/* To change files in spite of their mode and owner. */
	uint64_t caps = 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER;

	if (o->access == FS_ACCESS_PASSTHROUGH)
		for (size_t i = 0; i < ARRAY_SIZE(passthrough); i++)
			caps |= 1ull << passthrough[i];
	if (o->inode_handles)
		caps |= 1ull << CAP_DAC_READ_SEARCH;
	return caps & ~o->drop_caps;
}

int drop_capabilities(struct confining *c)
{
	struct fs_layer *layer = &c->place->layers[FS_LAYER_CAPS];
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	uint64_t want = wanted_caps(c->o), have;

	if (syscall(SYS_capget, &head, data))
		return confine_fail(c, errno, "reading capabilities: %m");
	have = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	/*
	 * Without CAP_SETPCAP the bounding set can stay: no_new_privs is set,
	 * and there is no execve(), so no capability can come back.
	 */
	if (have & 1ull << CAP_SETPCAP)
		for (int cap = 0; cap < 64; cap++)
			if (!(want >> cap & 1))
				prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	have &= want;
	for (int i = 0; i < 2; i++) {
		data[i].permitted = (uint32_t)(have >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, data))
		return confine_fail(c, errno, "dropping capabilities: %m");
	layer->state = FS_LAYER_ON;
	return 0;
}
