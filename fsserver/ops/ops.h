/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_OPS_H
#define VMSHARE_FSSERVER_OPS_H

/*
 * The operations, as the opcode table in request.c names them. Each is called
 * with its arguments checked for length, its names checked and its node
 * pinned; it returns the payload it put into the reply, in bytes, or -errno.
 */

#include "fsserver/nodes/nodes.h"

/* ---- session.c ---- */
int op_init(struct fs_worker *w);
int op_destroy(struct fs_worker *w);
int op_statfs(struct fs_worker *w);
int op_syncfs(struct fs_worker *w);
/*
 * Drop nodes, handles, locks and session of the guest. Waits for locks were
 * ended; other requests may still run.
 */
void fs_drop_guest(struct fs *fs);

/* ---- attr.c ---- */
int op_getattr(struct fs_worker *w);
int op_statx(struct fs_worker *w);
int op_setattr(struct fs_worker *w);
int op_access(struct fs_worker *w);

/* ---- name.c ---- */
int op_lookup(struct fs_worker *w);
int op_forget(struct fs_worker *w);
int op_batch_forget(struct fs_worker *w);
int op_readlink(struct fs_worker *w);
int op_unlink(struct fs_worker *w);
int op_rmdir(struct fs_worker *w);
int op_rename(struct fs_worker *w);
int op_rename2(struct fs_worker *w);
int op_link(struct fs_worker *w);
bool name_hidden(const struct fs_worker *w, const struct fs_node *parent,
		 const char *name);

/* ---- create.c ---- */
int op_mknod(struct fs_worker *w);
int op_mkdir(struct fs_worker *w);
int op_symlink(struct fs_worker *w);
int op_create(struct fs_worker *w);
int op_tmpfile(struct fs_worker *w);

/* ---- file.c ---- */
int op_open(struct fs_worker *w);
int op_read(struct fs_worker *w);
int op_write(struct fs_worker *w);
int op_release(struct fs_worker *w);
int op_flush(struct fs_worker *w);
int op_fsync(struct fs_worker *w);
/* The host's open flags for a guest's; or -errno. */
int file_flags(struct fs_worker *w, uint32_t guest);
/*
 * After opening or creating: make a handle, and fill in OPEN's reply. Takes
 * @fd and its charge, also on failure.
 */
int file_opened(struct fs_worker *w, struct fs_node *node, int fd, int flags,
		struct fuse_open_out *out);
/* ftruncate(); @kill: clear set-id bits, as the guest asks. */
int file_truncate(struct fs_worker *w, int fd, uint64_t size, bool kill);

/* ---- range.c ---- */
int op_fallocate(struct fs_worker *w);
int op_lseek(struct fs_worker *w);
int op_copy_file_range(struct fs_worker *w);
int op_copy_file_range_64(struct fs_worker *w);
int op_ioctl(struct fs_worker *w);

/* ---- dir.c ---- */
int op_opendir(struct fs_worker *w);
int op_readdir(struct fs_worker *w);
int op_readdirplus(struct fs_worker *w);
int op_releasedir(struct fs_worker *w);
int op_fsyncdir(struct fs_worker *w);

/* ---- xattr.c ---- */
int op_setxattr(struct fs_worker *w);
int op_getxattr(struct fs_worker *w);
int op_listxattr(struct fs_worker *w);
int op_removexattr(struct fs_worker *w);

/* ---- reply.c ---- */

/**
 * reply_put() - append to the reply's payload
 *
 * Return: @len, or -EINVAL when the guest left too little room.
 */
int reply_put(struct fs_worker *w, const void *data, size_t len);
/**
 * reply_attr() - a file's attributes as the guest is shown them
 * @parent:	directory of a lookup, to detect a mount point; or NULL
 * @dirfd, @name: the file, as in statx(); only for owner_show()
 * @stx:	from statx(); changed
 */
int reply_attr(struct fs_worker *w, const struct fs_node *parent, int dirfd,
	      const char *name, struct statx *stx, struct fuse_attr *attr);
/**
 * reply_entry() - a lookup's reply
 * @parent:	pinned; NULL for a file without a name
 * @pinned:	the node, pinned; may be NULL
 *
 * Return: 0 with the lookup counted, or -errno.
 */
int reply_entry(struct fs_worker *w, struct fs_node *parent, int dirfd,
	       const char *name, struct statx *stx,
	       struct fuse_entry_out *entry, struct fs_node **pinned);
/* How long the guest may cache attributes and names: seconds. */
uint64_t reply_timeout(const struct fs *fs, uint32_t *nsec);

/* ---- lock.c: POSIX and flock locks ---- */

struct flock;
int lock_open(struct fs *fs);	/* sets fs->locks */
int lock_mark(struct arena *arena, void (*mark)(void *ctx, int fd), void *ctx);
void lock_close(struct fs *fs);
/* The operations; w->node is set. Each returns payload length or -errno. */
int lock_getlk(struct fs_worker *w);
int lock_setlk(struct fs_worker *w);	/* SETLK and SETLKW, POSIX and flock */
/* FLUSH: a process closed the file; its POSIX locks on the file end. */
void lock_flush(struct fs_worker *w, uint64_t owner);
/* RELEASE: the last close of an open file, before its descriptor closes. */
void lock_release(struct fs_worker *w, struct fs_handle *handle,
		  const struct fuse_release_in *in);
/* Reset, DESTROY, a new INIT: end all locks of the guest. */
void lock_drop_all(struct fs *fs);
/*
 * Call @see for each OFD lock of @fd until it returns other than 0. Overwrites
 * w->scratch. Return: the last result of @see, or -errno.
 */
int locks_of(struct fs_worker *w, int fd,
	     int (*see)(void *ctx, struct flock *held), void *ctx);

#endif
