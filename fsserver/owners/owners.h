/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_OWNERS_H
#define VMSHARE_FSSERVER_OWNERS_H

/*
 * Owners of files, on the host and as the guest sees them; the credentials
 * under which operations run; and the names of extended attributes.
 */

#include "fsserver/internal.h"

/* ---- cred.c: credentials of an operation --------------------------------- */

/*
 * cred_enter(): take the fsuid, fsgid and groups of the request's caller, for
 * calls that create or check something. Does nothing when access is not
 * passthrough or the ids are the current ones. cred_leave() returns to the
 * server's own. 0 or -errno.
 */
uint64_t cred_caps(void);		/* of the process: permitted */
void cred_init(struct fs_worker *w, uint64_t caps); /* for a new thread */
int cred_enter(struct fs_worker *w);
void cred_leave(struct fs_worker *w);
/* Run without CAP_FSETID, so that the kernel clears set-id bits. */
int cred_drop_fsetid(struct fs_worker *w);
void cred_restore_fsetid(struct fs_worker *w);

/* ---- idmap.c ------------------------------------------------------------ */

/*
 * Ids mapped by uid-map= and gid-map=: 0, -EOVERFLOW for an id without a
 * mapping, -EPERM for a forbidden one.
 */
int owner_uid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host);
int owner_gid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host);
uint32_t owner_uid_to_guest(const struct fs *fs, uint32_t host);
uint32_t owner_gid_to_guest(const struct fs *fs, uint32_t host);
/* Map the ids of an access control list, to the host's (@host) or back. */
int owner_map_acl(const struct fs *fs, void *acl, size_t size, bool host);

/* ---- owner.c: access=passthrough|squash|mapped -------------------------- */

/* Turn host attributes into the guest's; @dirfd, @name as in statx(). */
int owner_show(struct fs_worker *w, int dirfd, const char *name,
	       struct statx *stx);
/* After a file was created: set the caller's ids and the guest's mode. */
int owner_created(struct fs_worker *w, int dirfd, const char *name,
		  uint32_t mode, uint64_t rdev);
/* Mode to create with on the host, so that the server itself keeps access. */
uint32_t owner_create_mode(struct fs_worker *w, uint32_t mode);
/*
 * The chmod and chown part of SETATTR: FATTR_MODE, UID and GID bits of @valid.
 * With none of them: a chown(2) that changes neither id.
 */
int owner_setattr(struct fs_worker *w, struct fs_node *node, uint32_t valid,
		  uint32_t mode, uint32_t uid, uint32_t gid);
/*
 * Before a write, truncate or fallocate of a mapped file @fd: clear what the
 * kernel would clear on a local disk. @kill: set-id bits too (KILL_SUIDGID).
 */
int owner_will_write(struct fs_worker *w, int fd, bool kill);
/* Must this attribute be set by owner_set_acl()? */
bool owner_keeps_acl(const struct fs_worker *w, const char *guest);
/*
 * Set the list w->name[0] of a mapped file to the one in w->scratch, and its
 * mode. @kill: clear the set-group-id bit. Return: 0, -EINVAL for an invalid
 * list, -errno.
 */
int owner_set_acl(struct fs_worker *w, size_t size, bool kill);
/* The d_type to show for a directory entry; DT_UNKNOWN where it may differ. */
uint32_t owner_dtype(const struct fs *fs, uint32_t dtype);

/* ---- maplink.c: symlinks of a mapped share that are not root's ----------- */

/*
 * The host's type of the symlink that the request makes in @dirfd: S_IFLNK, or
 * S_IFREG for an owner other than root.
 */
int maplink_type(struct fs_worker *w, int dirfd, uint32_t *type);
/**
 * maplink_make() - make the regular file of such a symlink
 * @again:	an earlier worker has made the file
 *
 * The caller sets its attribute. Return: 0 or -errno.
 */
int maplink_make(struct fs_worker *w, int dirfd, const char *name,
		 const char *target, size_t len, bool again);
/*
 * Read the target of such a symlink into w->scratch. Return: its length;
 * -EINVAL for a file that is no symlink for the guest.
 */
ssize_t maplink_read(struct fs_worker *w, struct fs_node *node);

/* ---- xattrname.c: the host's names of a guest's attributes --------------- */

#define ACL_ACCESS	"system.posix_acl_access"
#define ACL_DEFAULT	"system.posix_acl_default"
/* Is it an access control list? The names are the same in guest and host. */
bool xattr_is_acl(const char *name);
/*
 * The host's name of a guest's attribute: 0 with @host filled in, or -EPERM,
 * -EOPNOTSUPP or -ENODATA for a name that the guest may not use. @set: it is to
 * be set or removed.
 */
int owner_xattr_to_host(struct fs_worker *w, const char *guest,
			char host[XATTR_NAME_MAX + 1], bool set);
/* Rewrites a listxattr() result for the guest; returns its new length. */
size_t owner_xattr_list(struct fs_worker *w, char *list, size_t len);

#endif
