/* SPDX-License-Identifier: MIT */
/*
 * File systems of a guest without a disk (or with its disk as root), from the
 * empty initramfs to the tree that the command sees:
 *
 *	/lower	root share or disk, read-only	(overlay mode)
 *	/rw	tmpfs: /rw/upper, /rw/work	(overlay mode)
 *	/root	the overlay, or the share or disk itself; becomes "/"
 *
 * Then /dev, /proc and /sys are moved below /root, /run, /tmp, /dev/pts and
 * /dev/shm are fresh, and MS_MOVE plus chroot make /root the root. What stays
 * behind (the module files) is deleted first, for it is the guest's memory.
 *
 * Single-threaded. Every failure names the file system and what its errno
 * means for a mount. Nothing is printed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/module.h>

#include "guest/init.h"

#ifndef MODULE_INIT_COMPRESSED_FILE
#define MODULE_INIT_COMPRESSED_FILE 4	/* Linux 5.17 */
#endif

static int mount_one(const char *source, const char *target, const char *type,
		     unsigned long flags, const char *options,
		     struct guest_error *err)
{
	const char *why;

	if (mount(source, target, type, flags, options) == 0)
		return 0;
	switch (errno) {
	case ENODEV:
		why = "the guest's kernel has no such file system";
		break;
	case EINVAL:
		why = "Invalid argument (no device of that name?)";
		break;
	default:
		why = strerror(errno);
	}
	return guest_fail(err, -errno, "mounting %s '%s' on %s: %s", type,
			  source, target, why);
}

int init_mount_kernel(struct guest_error *err)
{
	const unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV;
	int ret;

	ret = mount_one("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755",
			err);
	if (ret == 0)
		ret = mount_one("proc", "/proc", "proc", flags, NULL, err);
	if (ret == 0)
		ret = mount_one("sysfs", "/sys", "sysfs", flags, NULL, err);
	return ret;
}

/* ---- modules ------------------------------------------------------------ */

static int load_module(const struct guest_module *m, struct guest_error *err)
{
	bool packed = module_compressed(m->path);
	int fd = open(m->path, O_RDONLY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return guest_fail(err, -errno, "module %s: %s", m->path,
				  strerror(errno));
	if (syscall(SYS_finit_module, fd, "",
		    packed ? MODULE_INIT_COMPRESSED_FILE : 0) < 0)
		error = errno;
	close(fd);
	if (error == 0 || error == EEXIST)
		return 0;
	return guest_fail(err, -error, "module %s: %s", m->path + 3,
			  packed && (error == EINVAL || error == EOPNOTSUPP) ?
			  "this kernel can't unpack compressed modules" :
			  error == ENOEXEC ? "made for another kernel" :
			  strerror(error));
}

int init_load_modules(const struct guest_plan *plan, const char *group,
		      struct guest_error *err)
{
	unsigned int i;

	for (i = 0; i < plan->nr_modules; i++) {
		const struct guest_module *m = &plan->modules[i];
		int ret;

		if (strcmp(m->group, group) != 0)
			continue;
		ret = load_module(m, err);
		if (ret < 0 && !m->optional)
			return ret;
	}
	return 0;
}

/* ---- a disk as root ----------------------------------------------------- */

static const struct disk_type {
	const char *name;	/* also the module group */
	off_t offset;
	size_t len;
	const char *magic;
} disk_types[] = {
	{ "ext4", 1080, 2, "\x53\xef" },
	{ "xfs", 0, 4, "XFSB" },
	{ "btrfs", 65600, 8, "_BHRfS_M" },
	{ "squashfs", 0, 4, "hsqs" },
	{ "erofs", 1024, 4, "\xe2\xe1\xf5\xe0" },
	{ NULL, 0, 0, NULL },
};

/* What a root may be inside of, and is not looked for in. */
static const struct disk_type disk_wraps[] = {
	{ "an LVM volume", 512, 8, "LABELONE" },
	{ "encrypted (LUKS)", 0, 6, "LUKS\xba\xbe" },
	{ "part of a RAID", 4096, 4, "\xfc\x4e\x2b\xa9" },
	{ NULL, 0, 0, NULL },
};

/* Which of @t is on a block device, and its size in bytes; NULL: none. */
static const char *disk_probe(const char *dev, const struct disk_type *t,
			      off_t *size)
{
	char path[300], magic[8];
	const char *found = NULL;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", dev);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	*size = lseek(fd, 0, SEEK_END);
	for (; !found && t->name; t++)
		if (pread(fd, magic, t->len, t->offset) == (ssize_t)t->len &&
		    memcmp(magic, t->magic, t->len) == 0)
			found = t->name;
	close(fd);
	return found;
}

/* The largest virtio disk or partition that has one of @types. */
static const char *disk_find(char *dev, size_t len,
			     const struct disk_type *types)
{
	DIR *d = opendir("/sys/class/block");
	const char *best = NULL;
	struct dirent *e;
	off_t most = 0, size;

	while (d && (e = readdir(d))) {
		const char *type;

		if (strncmp(e->d_name, "vd", 2) != 0)
			continue;
		type = disk_probe(e->d_name, types, &size);
		if (type && size > most) {
			most = size;
			best = type;
			snprintf(dev, len, "%s", e->d_name);
		}
	}
	if (d)
		closedir(d);
	return best;
}

static int no_root(const char *named, struct guest_error *err)
{
	char dev[256] = "";
	const char *wrap = NULL;

	if (!named[0])
		wrap = disk_find(dev, sizeof(dev), disk_wraps);
	return guest_fail(err, -ENODEV, "no root file system (ext4, xfs, "
			  "btrfs, squashfs, erofs) on %s%s%s%s%s%s",
			  named[0] ? "/dev/" : "any virtio disk", named,
			  wrap ? "; /dev/" : "", dev, wrap ? " is " : "",
			  wrap ? wrap : "");
}

static int mount_disk(const struct guest_plan *plan, const char *target,
		      unsigned long flags, struct guest_error *err)
{
	char dev[256], path[300];
	const char *type;
	off_t size;
	int ret;

	snprintf(dev, sizeof(dev), "%s", plan->spec.root_disk);
	type = dev[0] ? disk_probe(dev, disk_types, &size)
		      : disk_find(dev, sizeof(dev), disk_types);
	if (!type)
		return no_root(dev, err);
	ret = init_load_modules(plan, type, err);
	if (ret < 0)
		return ret;
	snprintf(path, sizeof(path), "/dev/%s", dev);
	return mount_one(path, target, type, flags, NULL, err);
}

/* ---- the root ----------------------------------------------------------- */

static int mount_base(const struct guest_plan *plan, const char *target,
		      bool ro, struct guest_error *err)
{
	unsigned long flags = ro ? MS_RDONLY : 0;

	if (plan->spec.root_disk)
		return mount_disk(plan, target, flags, err);
	return mount_one(plan->spec.root_tag, target, "virtiofs", flags, NULL,
			 err);
}

/*
 * A renamed directory of the lower tree works only with redirect_dir, and
 * nothing in a tmpfs wants a sync (volatile); an older kernel has not both.
 */
static int mount_overlay(struct guest_error *err)
{
	static const char *const options[] = {
		"lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work,"
		"redirect_dir=on,volatile",
		"lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work",
	};
	int ret;

	ret = mount_one("tmpfs", "/rw", "tmpfs", 0, "mode=755", err);
	if (ret < 0)
		return ret;
	if (mkdir("/rw/upper", 0755) < 0 || mkdir("/rw/work", 0755) < 0)
		return guest_fail(err, -errno, "/rw: %s", strerror(errno));
	ret = mount_one("overlay", "/root", "overlay", 0, options[0], err);
	if (ret == -EINVAL)
		ret = mount_one("overlay", "/root", "overlay", 0, options[1],
				err);
	return ret;
}

/*
 * Move /dev, /proc and /sys below /root. All are checked before any is moved,
 * since an error is reported through them.
 */
static int move_kernel(struct guest_error *err)
{
	static const char *const names[] = { "/dev", "/proc", "/sys" };
	const size_t nr = sizeof(names) / sizeof(names[0]);
	char to[64];
	size_t i;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		snprintf(to, sizeof(to), "/root%s", names[i]);
		if ((mkdir(to, 0755) < 0 && errno != EEXIST) ||
		    access(to, X_OK) < 0)
			return guest_fail(err, -errno, "the root's %s is no "
					  "place to mount on: %s%s", names[i],
					  strerror(errno), errno == EACCES ?
					  " (the host has mounted its own "
					  "there?)" : "");
	}
	for (i = 0; ret == 0 && i < nr; i++) {
		snprintf(to, sizeof(to), "/root%s", names[i]);
		ret = mount_one(names[i], to, "directory", MS_MOVE, NULL, err);
	}
	return ret;
}

/*
 * The host's / has no homes for a guest; of what is missing there, an overlay
 * takes new ones. Any other root keeps what it has.
 */
static void make_homes(void)
{
	(void)!mkdir("/root", 0700);
	(void)!mkdir("/home", 0755);
}

static void delete_leftovers(const struct guest_plan *plan)
{
	unsigned int i;

	for (i = 0; i < plan->nr_modules; i++)
		unlink(plan->modules[i].path);
	unlink(GUEST_SPEC_FILE);
}

/* What every program expects; a directory that can't be made is left out. */
static int mount_usual(struct guest_error *err)
{
	static const struct {
		const char *dir, *type, *options;
		unsigned long flags;
	} usual[] = {
		{ "/run", "tmpfs", "mode=755", MS_NOSUID | MS_NODEV },
		{ "/tmp", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV },
		{ "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666",
		  MS_NOSUID | MS_NOEXEC },
		{ "/dev/shm", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV },
	};
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};
	size_t i;
	int ret;

	for (i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		if (mkdir(usual[i].dir, 0755) < 0 && errno == EROFS)
			continue;
		ret = mount_one(usual[i].type, usual[i].dir, usual[i].type,
				usual[i].flags, usual[i].options, err);
		if (ret < 0)
			return ret;
	}
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			return guest_fail(err, -errno, "%s: %s", links[i][1],
					  strerror(errno));
	return 0;
}

int init_enter_root(const struct guest_plan *plan, struct guest_error *err)
{
	enum guest_root_mode mode = plan->spec.root_mode;
	int ret;

	if (mode == GUEST_ROOT_OVERLAY) {
		ret = mount_base(plan, "/lower", true, err);
		if (ret == 0)
			ret = mount_overlay(err);
	} else {
		ret = mount_base(plan, "/root", mode == GUEST_ROOT_RO, err);
	}
	if (ret < 0)
		return ret;
	delete_leftovers(plan);
	ret = move_kernel(err);
	if (ret < 0)
		return ret;
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		return guest_fail(err, -errno, "entering the root: %s",
				  strerror(errno));
	if (mode == GUEST_ROOT_OVERLAY)
		make_homes();
	return mount_usual(err);
}

/* ---- shares ------------------------------------------------------------- */

static bool directory_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool empty = d != NULL;

	while (empty && (e = readdir(d)))
		empty = strcmp(e->d_name, ".") == 0 ||
			strcmp(e->d_name, "..") == 0;
	if (d)
		closedir(d);
	return empty;
}

/*
 * mkdir -p. In a root that can't be written the last directory that exists is
 * covered with a tmpfs if that hides nothing (an empty /mnt).
 */
int init_make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t at = 0, parent = 1;

	if (path[0] != '/' || strlen(path) >= sizeof(part))
		return -EINVAL;
	while (path[at]) {
		size_t end = at + 1 + strcspn(path + at + 1, "/");

		memcpy(part, path, end);
		part[end] = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST) {
			if (errno != EROFS)
				return -errno;
			part[parent] = '\0';
			if (!directory_empty(part) ||
			    mount("tmpfs", part, "tmpfs", MS_NODEV,
				  "mode=755") < 0)
				return -EROFS;
			continue;
		}
		parent = end;
		at = end;
	}
	return 0;
}

int init_mount_shares(const struct guest_spec *spec, struct guest_error *err)
{
	unsigned int i;

	for (i = 0; i < spec->nr_mounts; i++) {
		const struct guest_mount *m = &spec->mounts[i];
		int ret = init_make_dirs(m->path);

		if (ret < 0)
			return guest_fail(err, ret, "share '%s': no directory "
					  "%s: %s", m->tag, m->path,
					  guest_strerror(ret));
		ret = mount_one(m->tag, m->path, "virtiofs",
				m->read_only ? MS_RDONLY : 0, NULL, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void init_unmount(const struct guest_spec *spec)
{
	unsigned int i = spec->nr_mounts;

	if (chdir("/") < 0)
		return;
	sync();
	while (i-- > 0)
		umount2(spec->mounts[i].path, 0);
	if (spec->root_mode == GUEST_ROOT_RW)
		mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
}
