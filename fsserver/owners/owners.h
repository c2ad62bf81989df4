/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_OWNERS_H
#define VMSHARE_FSSERVER_OWNERS_H

/*
 * Whom a file belongs to and in whose name it is worked on, on the host and as
 * the guest sees it; and what its extended attributes are called.
 */

#include "fsserver/internal.h"

/* ---- cred.c: whose name an operation acts in ---------------------------- */

/*
 * Act as the request's caller for what creates or checks (fsuid, fsgid,
 * groups); nothing when access is not passthrough or ids already fit.
 * cred_leave() returns to the server's own. 0 or -errno.
 */
uint64_t cred_caps(void);		/* what the process has */
void cred_init(struct fs_worker *w, uint64_t caps); /* for a new thread */
int cred_enter(struct fs_worker *w);
void cred_leave(struct fs_worker *w);
/* Run without CAP_FSETID, so that the kernel clears set-id bits. */
int cred_drop_fsetid(struct fs_worker *w);
void cred_restore_fsetid(struct fs_worker *w);

/* ---- idmap.c ------------------------------------------------------------ */

/* Ids through uid-map= and gid-map=; -EOVERFLOW for one that has no place,
 * -EPERM for one that is forbidden. */
int owner_uid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host);
int owner_gid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host);
uint32_t owner_uid_to_guest(const struct fs *fs, uint32_t host);
uint32_t owner_gid_to_guest(const struct fs *fs, uint32_t host);
/* The ids of an access control list, to the host's (@host) or back. */
int owner_map_acl(const struct fs *fs, void *acl, size_t size, bool host);

/* ---- owner.c: access=passthrough|squash|mapped -------------------------- */

/* Host attributes as the guest shall see them; @fd and @name as in statx(). */
int owner_show(struct fs_worker *w, int dirfd, const char *name,
	       struct statx *stx);
/* After something was created: the caller's ids and the guest's mode. */
int owner_created(struct fs_worker *w, int dirfd, const char *name,
		  uint32_t mode, uint64_t rdev);
/* Mode for the host to create with, so that the server itself keeps access. */
uint32_t owner_create_mode(struct fs_worker *w, uint32_t mode);
/* chmod/chown part of SETATTR; FATTR_MODE/UID/GID bits of @valid; none of
 * them: chown(2) of neither. */
int owner_setattr(struct fs_worker *w, struct fs_node *node, uint32_t valid,
		  uint32_t mode, uint32_t uid, uint32_t gid);
/*
 * Before a write, truncate or fallocate to @fd of a mapped file: clear what the
 * kernel would clear of a real one. @kill: set-id bits too (KILL_SUIDGID).
 */
int owner_will_write(struct fs_worker *w, int fd, bool kill);
/* Whether this attribute is a list that owner_set_acl() has to set. */
bool owner_keeps_acl(const struct fs_worker *w, const char *guest);
/*
 * Set the list w->name[0] of a mapped file to what scratch has, and its mode.
 * @kill: the set-group-id bit goes. Return: 0, -EINVAL for no list, -errno.
 */
int owner_set_acl(struct fs_worker *w, size_t size, bool kill);
/* A directory entry's d_type as the guest may rely on it. */
uint32_t owner_dtype(const struct fs *fs, uint32_t dtype);

/* ---- maplink.c: symlinks of a mapped share that are not root's ----------- */

/* What the request's symlink in the directory @dirfd will be on the host:
 * S_IFLNK, or S_IFREG for one that is not root's. */
int maplink_type(struct fs_worker *w, int dirfd, uint32_t *type);
/**
 * maplink_make() - make a symlink that is not root's
 * @again:	a worker that died has made the file
 *
 * Return: 0, but for its attribute, or -errno.
 */
int maplink_make(struct fs_worker *w, int dirfd, const char *name,
		 const char *target, size_t len, bool again);
/* The target of a node that is no symlink on the host into the scratch memory:
 * its length, -EINVAL for a file that is none for the guest either. */
ssize_t maplink_read(struct fs_worker *w, struct fs_node *node);

/* ---- xattrname.c: what a guest's attributes are called on the host ------- */

#define ACL_ACCESS	"system.posix_acl_access"
#define ACL_DEFAULT	"system.posix_acl_default"
/* An access control list, by the guest's name as by the host's. */
bool xattr_is_acl(const char *name);
/*
 * Extended attribute names, in place: 0 with @host filled in, or -errno for
 * what the guest may not touch (-EPERM, -EOPNOTSUPP, -ENODATA as fits).
 */
int owner_xattr_to_host(struct fs_worker *w, const char *guest,
			char host[XATTR_NAME_MAX + 1], bool set);
/* Rewrites a listxattr() result for the guest; returns its new length. */
size_t owner_xattr_list(struct fs_worker *w, char *list, size_t len);

#endif
