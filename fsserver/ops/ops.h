/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_OPS_H
#define VMSHARE_FSSERVER_OPS_H

/*
 * The operations, as the opcode table in request.c names them. Each is called
 * with its arguments checked for length, its names checked and its node
 * pinned; it returns the payload it put into the reply, in bytes, or -errno.
 */

#include "fsserver/nodes/nodetab.h"

/* Was this FUSE_* flag agreed on in FUSE_INIT? */
static inline bool session_has(const struct fs *fs, uint64_t flag)
{
	return __atomic_load_n(&fs->session->flags, __ATOMIC_RELAXED) & flag;
}

/* ops_session.c */
int op_init(struct fs_worker *w);
int op_destroy(struct fs_worker *w);
int op_statfs(struct fs_worker *w);
int op_syncfs(struct fs_worker *w);

/* ops_attr.c */
int op_getattr(struct fs_worker *w);
int op_statx(struct fs_worker *w);
int op_setattr(struct fs_worker *w);
int op_access(struct fs_worker *w);

/* ops_name.c */
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

/* ops_create.c */
int op_mknod(struct fs_worker *w);
int op_mkdir(struct fs_worker *w);
int op_symlink(struct fs_worker *w);
int op_create(struct fs_worker *w);
int op_tmpfile(struct fs_worker *w);

/* ops_file.c */
int op_open(struct fs_worker *w);
int op_read(struct fs_worker *w);
int op_write(struct fs_worker *w);
int op_release(struct fs_worker *w);
int op_flush(struct fs_worker *w);
int op_fsync(struct fs_worker *w);
/* Flags of a guest's open, as the host shall see them; or -errno. */
int file_flags(struct fs_worker *w, uint32_t guest);
/* After opening or creating: a handle, and what OPEN replies. Takes @fd. */
int file_opened(struct fs_worker *w, struct fs_node *node, int fd, int flags,
		struct fuse_open_out *out);
/* ftruncate() with set-id bits as the guest asks. */
int file_truncate(struct fs_worker *w, int fd, uint64_t size, bool kill);

/* ops_range.c */
int op_fallocate(struct fs_worker *w);
int op_lseek(struct fs_worker *w);
int op_copy_file_range(struct fs_worker *w);
int op_copy_file_range_64(struct fs_worker *w);
int op_ioctl(struct fs_worker *w);

/* ops_dir.c */
int op_opendir(struct fs_worker *w);
int op_readdir(struct fs_worker *w);
int op_readdirplus(struct fs_worker *w);
int op_releasedir(struct fs_worker *w);
int op_fsyncdir(struct fs_worker *w);

/* ops_xattr.c */
int op_setxattr(struct fs_worker *w);
int op_getxattr(struct fs_worker *w);
int op_listxattr(struct fs_worker *w);
int op_removexattr(struct fs_worker *w);

#endif
