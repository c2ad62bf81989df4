/* SPDX-License-Identifier: MIT */
/*
 * Owners of files, on the host and as the guest sees them.
 *
 * passthrough	ids as they are, except for uid-map= and gid-map=. Files are
 *		created with the credentials of the guest's process (cred.c).
 * squash	the server's own uid and gid are the guest's 0, or those of
 *		squash=, in both directions; all others are shown as they are
 *		(in a user namespace with one id as 65534, or as 0 if the user
 *		wants that). New files belong to the server's user. A chown that
 *		the host refuses is no error.
 * mapped	owner, mode and device number that the guest sees are kept in
 *		OWNER_XATTR; on the host the file belongs to the server's user,
 *		with mode 0700 (directories and executable files) or 0600.
 *		Device nodes, fifos and sockets are empty regular files there.
 *		For symlinks see maplink.c. Files without the attribute (made
 *		on the host) are shown as with squash. The guest's kernel checks
 *		access, as in the other modes.
 *
 * Set-id bits, and a security.capability with another name, are cleared here
 * where the kernel would do it for a local file: before writes and at a chown.
 * Likewise an access control list that is set changes the mode, and a chmod the
 * list (acl.c). There are no locks here: the guest's kernel orders changes of
 * an inode, and a guest that does not spoils only its own modes.
 *
 * Attributes are reached through the procfs, "self/fd/N" or "self/fd/N/NAME"
 * (no call takes a directory and a name). NAME was checked to be one component
 * and is not followed.
 */

#include "fsserver/nodes/nodes.h"
#include "fsserver/owners/acl.h"
#include "fsserver/owners/owner.h"
#include "fsserver/owners/owners.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NOBODY		65534u

/* The attribute's value; little endian. */
struct owner_disk {
	uint32_t uid, gid, mode, rdev;
};

#define XATTR_PATH_SIZE (PROC_PATH_SIZE + NAME_MAX + 2)

/* ---- ids ---------------------------------------------------------------- */

/* Replace the server's own ids, and perhaps 65534, by the guest's. */
static void show_squashed(const struct fs *fs, struct statx *stx)
{
	bool unnamed = fs->options.unnamed_as_root && fs->place.userns;

	if (stx->stx_uid == fs->place.uid)
		stx->stx_uid = fs->options.squash_uid;
	else if (unnamed && stx->stx_uid == NOBODY)
		stx->stx_uid = 0;
	if (stx->stx_gid == fs->place.gid)
		stx->stx_gid = fs->options.squash_gid;
	else if (unnamed && stx->stx_gid == NOBODY)
		stx->stx_gid = 0;
}

/* ---- the attribute of a mapped file ------------------------------------- */

static const char *xattr_path(char buf[XATTR_PATH_SIZE], int dirfd,
			      const char *name)
{
	if (name[0])
		snprintf(buf, XATTR_PATH_SIZE, "self/fd/%d/%s", dirfd, name);
	else
		proc_path(buf, dirfd);
	return buf;
}

/*
 * "self/fd/N" is a link and must be followed; the last component of
 * "self/fd/N/NAME" must not be.
 */
static ssize_t get_disk(int dirfd, const char *name, struct owner_disk *disk)
{
	char path[XATTR_PATH_SIZE];
	ssize_t n;

	xattr_path(path, dirfd, name);
	if (name[0])
		n = lgetxattr(path, OWNER_XATTR, disk, sizeof(*disk));
	else
		n = getxattr(path, OWNER_XATTR, disk, sizeof(*disk));
	return n < 0 ? -errno : n;
}

int owner_write(int dirfd, const char *name, const struct owner *o)
{
	struct owner_disk disk = {
		htole32(o->uid), htole32(o->gid), htole32(o->mode),
		htole32((o->rdev_minor & 0xff) | o->rdev_major << 8 |
			(o->rdev_minor & ~0xffu) << 12),
	};
	char path[XATTR_PATH_SIZE];
	int ret;

	xattr_path(path, dirfd, name);
	if (name[0])
		ret = lsetxattr(path, OWNER_XATTR, &disk, sizeof(disk), 0);
	else
		ret = setxattr(path, OWNER_XATTR, &disk, sizeof(disk), 0);
	return ret ? -errno : 0;
}

bool fs_made_mapped(const char *dir)
{
	return getxattr(dir, OWNER_XATTR, NULL, 0) ==
	       (ssize_t)sizeof(struct owner_disk);
}

/* May a file of this type on the host have the type @guest in the guest? */
static bool type_fits(const struct statx *stx, uint32_t guest)
{
	uint32_t host = stx->stx_mode & S_IFMT;

	if (host == guest)
		return true;
	if (guest == S_IFLNK)		/* its content is the target */
		return host == S_IFREG && stx->stx_size > 0 &&
		       stx->stx_size < PATH_MAX;
	return host == S_IFREG && (guest == S_IFCHR || guest == S_IFBLK ||
				   guest == S_IFIFO || guest == S_IFSOCK);
}

int owner_read(const struct fs *fs, int dirfd, const char *name,
	       const struct statx *stx, struct owner *o)
{
	struct statx shown = *stx;
	struct owner_disk disk;
	uint32_t mode, rdev;
	ssize_t n = 0;

	show_squashed(fs, &shown);
	*o = (struct owner){ shown.stx_uid, shown.stx_gid, stx->stx_mode,
			     stx->stx_rdev_major, stx->stx_rdev_minor };
	if (S_ISLNK(stx->stx_mode))
		return 0;
	n = get_disk(dirfd, name, &disk);
	if (n == -ENODATA || n == -ERANGE || n == -EOPNOTSUPP || n == -EACCES)
		return 0;
	if (n < 0)
		return (int)n;
	mode = le32toh(disk.mode);
	if (n != sizeof(disk) || !type_fits(stx, mode & S_IFMT))
		return 0;
	rdev = le32toh(disk.rdev);
	o->uid = le32toh(disk.uid);
	o->gid = le32toh(disk.gid);
	o->mode = mode & (S_IFMT | 07777);
	if (S_ISCHR(mode) || S_ISBLK(mode)) {
		o->rdev_major = (rdev & 0xfff00) >> 8;
		o->rdev_minor = (rdev & 0xff) | ((rdev >> 12) & 0xfff00);
	}
	return 0;
}

int owner_show(struct fs_worker *w, int dirfd, const char *name,
	       struct statx *stx)
{
	const struct fs *fs = w->fs;
	const struct fs_options *opt = &fs->options;
	struct owner o;
	int err;

	switch (opt->access) {
	case FS_ACCESS_PASSTHROUGH:
		stx->stx_uid = owner_uid_to_guest(fs, stx->stx_uid);
		stx->stx_gid = owner_gid_to_guest(fs, stx->stx_gid);
		break;
	case FS_ACCESS_SQUASH:
		show_squashed(fs, stx);
		break;
	case FS_ACCESS_MAPPED:
		err = owner_read(fs, dirfd, name, stx, &o);
		if (err)
			return err;
		stx->stx_uid = o.uid;
		stx->stx_gid = o.gid;
		stx->stx_mode = (uint16_t)o.mode;
		stx->stx_rdev_major = o.rdev_major;
		stx->stx_rdev_minor = o.rdev_minor;
		break;
	}
	return 0;
}

/* ---- access control lists of mapped files ------------------------------- */

bool owner_keeps_acl(const struct fs_worker *w, const char *guest)
{
	return w->fs->options.access == FS_ACCESS_MAPPED && xattr_is_acl(guest);
}

/* Read a list into w->scratch: its size, 0 where there is none, -errno. */
static ssize_t acl_read(struct fs_worker *w, int dirfd, const char *name,
			const char *list)
{
	char path[XATTR_PATH_SIZE], host[XATTR_NAME_MAX + 1];
	ssize_t n;

	if (owner_xattr_to_host(w, list, host, false))
		return 0;
	xattr_path(path, dirfd, name);
	if (name[0])
		n = lgetxattr(path, host, w->scratch, XATTR_SIZE_MAX);
	else
		n = getxattr(path, host, w->scratch, XATTR_SIZE_MAX);
	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	/* A process of the host may have written anything there. */
	return acl_check(w->scratch, (size_t)n) ? 0 : n;
}

/* Store the list in w->scratch; remove one that only repeats the mode. */
static int acl_write(struct fs_worker *w, int dirfd, const char *name,
		     const char *list, size_t size)
{
	char path[XATTR_PATH_SIZE], host[XATTR_NAME_MAX + 1];
	int err = owner_xattr_to_host(w, list, host, true), ret;

	if (err)
		return err;
	xattr_path(path, dirfd, name);
	if (!strcmp(list, ACL_ACCESS) && acl_is_mode(w->scratch, size)) {
		if (name[0])		/* is new, and has none */
			return 0;
		ret = removexattr(path, host);
		return ret && errno != ENODATA ? -errno : 0;
	}
	if (name[0])
		ret = lsetxattr(path, host, w->scratch, size, 0);
	else
		ret = setxattr(path, host, w->scratch, size, 0);
	return ret ? -errno : 0;
}

/* Give a new file the lists, and @mode, of its directory's default list. */
static int acl_from_default(struct fs_worker *w, int dirfd, int fd,
			    const char *name, uint32_t *mode)
{
	ssize_t n = acl_read(w, dirfd, "", ACL_DEFAULT);
	int err = 0;

	if (n <= 0)
		return (int)n;
	if (S_ISDIR(*mode))
		err = acl_write(w, fd, name, ACL_DEFAULT, (size_t)n);
	*mode = acl_inherit(w->scratch, (size_t)n, *mode);
	return err ? err : acl_write(w, fd, name, ACL_ACCESS, (size_t)n);
}

/* ---- creating ----------------------------------------------------------- */

uint32_t owner_create_mode(struct fs_worker *w, uint32_t mode)
{
	if (w->fs->options.access != FS_ACCESS_MAPPED)
		return mode;
	if (S_ISDIR(mode))
		return S_IFDIR | 0700;
	return S_IFREG | (S_ISREG(mode) && mode & 0111 ? 0700 : 0600);
}

static bool in_group(const struct fs_worker *w, uint32_t gid)
{
	if (w->in.gid == gid)
		return true;
	for (unsigned int i = 0; i < w->nr_groups; i++)
		if (w->groups[i] == gid)
			return true;
	return false;
}

/* The kernel's rule for a new file's group in a set-group-id directory. */
static void inherit_group(const struct fs_worker *w, const struct owner *dir,
			  struct owner *o)
{
	if (!(dir->mode & S_ISGID))
		return;
	o->gid = dir->gid;
	if (S_ISDIR(o->mode))
		o->mode |= S_ISGID;
	else if ((o->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
		 w->in.uid != 0 && !in_group(w, dir->gid))
		o->mode &= ~(uint32_t)S_ISGID;
}

int owner_inherit(struct fs_worker *w, int fd, struct owner *o)
{
	struct owner dir;
	struct statx stx;
	int err = fs_statx(fd, "", STATX_BASIC_STATS, &stx);

	if (!err)
		err = owner_read(w->fs, fd, "", &stx, &dir);
	if (!err)
		inherit_group(w, &dir, o);
	return err;
}

int owner_created(struct fs_worker *w, int dirfd, const char *name,
		  uint32_t mode, uint64_t rdev)
{
	struct owner o = { w->in.uid, w->in.gid, mode, major(rdev),
			   minor(rdev) };
	int fd, err;

	if (w->fs->options.access != FS_ACCESS_MAPPED)
		return 0;
	fd = node_fd(w, w->node);	/* the directory, always */
	if (fd < 0)
		return fd;
	err = owner_inherit(w, fd, &o);
	if (!err && !S_ISLNK(mode))
		err = acl_from_default(w, fd, dirfd, name, &o.mode);
	if (!err)
		err = owner_write(dirfd, name, &o);
	/* A real symlink has no attribute: it is root's. */
	return S_ISLNK(mode) && err == -EPERM ? 0 : err;
}

/* ---- changing ----------------------------------------------------------- */

/* chmod(2) through an O_PATH descriptor. */
static int change_mode(struct fs_worker *w, struct fs_node *node, int fd,
		       uint32_t mode)
{
	char path[PROC_PATH_SIZE];
	int own, err = 0;

	if (S_ISLNK(node_type(node)))
		return -EOPNOTSUPP;
	mode &= 07777;
	if (w->fs->place.proc >= 0)
		return fchmodat(w->fs->place.proc, proc_path(path, fd), mode,
				0) ? -errno : 0;
	own = node_open(w, node, O_RDONLY);
	if (own < 0)
		return own;
	if (fchmod(own, mode))
		err = -errno;
	close(own);
	return err;
}

static int set_passthrough(struct fs_worker *w, int fd, uint32_t valid,
			   uint32_t uid, uint32_t gid)
{
	uint32_t host_uid = UINT32_MAX, host_gid = UINT32_MAX;
	int err = 0;

	if (valid & FATTR_UID)
		err = owner_uid_to_host(w->fs, uid, &host_uid);
	if (!err && valid & FATTR_GID)
		err = owner_gid_to_host(w->fs, gid, &host_gid);
	if (err)		/* like chown(2) of an unmapped id */
		return err == -EPERM ? err : -EINVAL;
	return fchownat(fd, "", host_uid, host_gid, AT_EMPTY_PATH) ? -errno : 0;
}

/*
 * Where the host refuses, the owner stays as it is, without an error. A chown
 * that changes neither id then has its other effects, on set-id bits and ctime.
 */
static int set_squashed(struct fs_worker *w, int fd, uint32_t valid,
			uint32_t uid, uint32_t gid)
{
	const struct fs_options *o = &w->fs->options;
	uint32_t host_uid = UINT32_MAX, host_gid = UINT32_MAX;

	if (valid & FATTR_UID)
		host_uid = uid == o->squash_uid ? w->fs->place.uid : uid;
	if (valid & FATTR_GID)
		host_gid = gid == o->squash_gid ? w->fs->place.gid : gid;
	if (!fchownat(fd, "", host_uid, host_gid, AT_EMPTY_PATH))
		return 0;
	if (errno != EPERM && errno != EINVAL)
		return -errno;
	return fchownat(fd, "", UINT32_MAX, UINT32_MAX, AT_EMPTY_PATH) &&
	       errno != EPERM ? -errno : 0;
}

/*
 * The kernel removes a file's capabilities when it is written to or its owner
 * changes; where they are stored under another name, the server must do that
 * (CVE-2021-20263).
 */
static int drop_capability(struct fs_worker *w, int fd)
{
	char path[PROC_PATH_SIZE], host[XATTR_NAME_MAX + 1];

	if (!w->fs->options.xattr || w->fs->place.proc < 0 ||
	    owner_xattr_to_host(w, "security.capability", host, true) ||
	    !strcmp(host, "security.capability"))
		return 0;
	if (!removexattr(proc_path(path, fd), host) || errno == ENODATA ||
	    errno == EOPNOTSUPP || errno == EPERM || errno == EACCES ||
	    errno == EROFS)
		return 0;
	return -errno;
}

static uint32_t without_setid(uint32_t mode)
{
	mode &= ~(uint32_t)S_ISUID;
	if (mode & S_IXGRP)
		mode &= ~(uint32_t)S_ISGID;
	return mode;
}

/* A chown that changes neither id has its other effects too. */
static bool chowns(uint32_t valid)
{
	return valid & (FATTR_UID | FATTR_GID) || !valid;
}

/* After a chmod: change the access control list accordingly. */
static int acl_follow(struct fs_worker *w, int fd, uint32_t mode)
{
	ssize_t n = acl_read(w, fd, "", ACL_ACCESS);

	if (n <= 0)
		return (int)n;
	acl_chmod(w->scratch, (size_t)n, mode);
	return acl_write(w, fd, "", ACL_ACCESS, (size_t)n);
}

static int set_mapped(struct fs_worker *w, struct fs_node *node, int fd,
		      uint32_t valid, const struct owner *want)
{
	struct statx stx;
	struct owner o;
	int err;

	err = fs_statx(fd, "", STATX_BASIC_STATS, &stx);
	if (err)
		return err;
	err = owner_read(w->fs, fd, "", &stx, &o);
	if (err)
		return err;
	if (S_ISLNK(o.mode) && valid & FATTR_MODE)
		return -EOPNOTSUPP;
	if (S_ISLNK(stx.stx_mode)) {
		o.uid = valid & FATTR_UID ? want->uid : o.uid;
		o.gid = valid & FATTR_GID ? want->gid : o.gid;
		return maplink_give(w, node, &o);
	}
	if (chowns(valid)) {
		if (!S_ISDIR(o.mode)) {
			o.mode = without_setid(o.mode);
			err = drop_capability(w, fd);
		}
		if (valid & FATTR_UID)
			o.uid = want->uid;
		if (valid & FATTR_GID)
			o.gid = want->gid;
	}
	if (valid & FATTR_MODE) {
		o.mode = (o.mode & S_IFMT) | (want->mode & 07777);
		if (!err)
			err = acl_follow(w, fd, o.mode);
	}
	if (!err)
		err = owner_write(fd, "", &o);
	/* For the ctime, also where the attribute did not change. */
	if (!err && chowns(valid))
		err = fchownat(fd, "", UINT32_MAX, UINT32_MAX, AT_EMPTY_PATH) ?
			      -errno : 0;
	if (!err && valid & FATTR_MODE)
		err = change_mode(w, node, fd, owner_create_mode(w, o.mode));
	return err;
}

int owner_setattr(struct fs_worker *w, struct fs_node *node, uint32_t valid,
		  uint32_t mode, uint32_t uid, uint32_t gid)
{
	const struct owner want = { uid, gid, mode, 0, 0 };
	enum fs_access access = w->fs->options.access;
	int fd = node_fd(w, node), err = 0;

	if (fd < 0)
		return fd;
	if ((valid & FATTR_UID && uid == UINT32_MAX) ||
	    (valid & FATTR_GID && gid == UINT32_MAX))
		return -EINVAL;
	if (access == FS_ACCESS_MAPPED)
		return set_mapped(w, node, fd, valid, &want);
	/* The mode last: a change of owner clears set-id bits. */
	if (chowns(valid) && S_ISREG(node_type(node)))
		err = drop_capability(w, fd);
	if (!err && chowns(valid))
		err = access == FS_ACCESS_SQUASH ?
			set_squashed(w, fd, valid, uid, gid) :
			set_passthrough(w, fd, valid, uid, gid);
	if (!err && valid & FATTR_MODE)
		err = change_mode(w, node, fd, mode);
	return err;
}

int owner_set_acl(struct fs_worker *w, size_t size, bool kill)
{
	int fd = node_fd(w, w->node), err;
	const char *list = w->name[0];
	struct owner o = { 0 };
	struct statx stx;

	if (fd < 0)
		return fd;
	if (S_ISLNK(node_type(w->node)))
		return -EOPNOTSUPP;
	err = acl_check(w->scratch, size);
	if (!err)
		err = fs_statx(fd, "", STATX_BASIC_STATS, &stx);
	if (!err)
		err = owner_read(w->fs, fd, "", &stx, &o);
	if (err)
		return err;
	if (!strcmp(list, ACL_DEFAULT) && !S_ISDIR(o.mode))
		return -EACCES;
	err = acl_write(w, fd, "", list, size);
	if (err || !strcmp(list, ACL_DEFAULT))
		return err;
	o.mode = (o.mode & ~0777u) | acl_mode(w->scratch, size);
	if (kill)
		o.mode &= ~(uint32_t)S_ISGID;
	return set_mapped(w, w->node, fd, FATTR_MODE, &o);
}

int owner_will_write(struct fs_worker *w, int fd, bool kill)
{
	struct statx stx;
	struct owner o;
	int err;

	err = drop_capability(w, fd);
	if (err || !kill || w->fs->options.access != FS_ACCESS_MAPPED)
		return err;
	err = fs_statx(fd, "", STATX_BASIC_STATS, &stx);
	if (err)
		return err;
	err = owner_read(w->fs, fd, "", &stx, &o);
	if (err || without_setid(o.mode) == o.mode)
		return err;
	o.mode = without_setid(o.mode);
	return owner_write(fd, "", &o);
}

uint32_t owner_dtype(const struct fs *fs, uint32_t dtype)
{
	/* A regular file on the host may be a device for the guest. */
	return fs->options.access == FS_ACCESS_MAPPED && dtype == DT_REG ?
		       DT_UNKNOWN : dtype;
}
