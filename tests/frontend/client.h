/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FE_CLIENT_H
#define VMSHARE_TESTS_FE_CLIENT_H

/*
 * One function for each FUSE operation, synchronous, on queue 1, in the name
 * of fe->uid, fe->gid, fe->pid. Each returns the server's 0 or -errno;
 * read, write, readdir and their like return bytes.
 */

#include <stdint.h>
#include <sys/types.h>

#include "tests/frontend/spec.h"

struct fe;

/* @flags: FUSE_* wanted (both halves); 0: what Linux 6.12 offers. */
int fe_fuse_init(struct fe *fe, uint64_t flags);
int fe_destroy(struct fe *fe);

int fe_lookup(struct fe *fe, uint64_t dir, const char *name,
	      struct fuse_entry_out *e);
/* "a/b/c" from the root, one lookup each. */
int fe_walk(struct fe *fe, const char *path, struct fuse_entry_out *e);
int fe_forget(struct fe *fe, uint64_t node, uint64_t nlookup);
int fe_batch_forget(struct fe *fe, const struct fuse_forget_one *one,
		    unsigned int count);
int fe_getattr(struct fe *fe, uint64_t node, struct fuse_attr_out *a);
int fe_fgetattr(struct fe *fe, uint64_t node, uint64_t fh,
		struct fuse_attr_out *a);
int fe_statx(struct fe *fe, uint64_t node, uint32_t mask,
	     struct fe_statx_out *sx);
int fe_setattr(struct fe *fe, uint64_t node, const struct fuse_setattr_in *in,
	       struct fuse_attr_out *a);
int fe_chmod(struct fe *fe, uint64_t node, mode_t mode);
int fe_chown(struct fe *fe, uint64_t node, uint32_t uid, uint32_t gid);
int fe_truncate(struct fe *fe, uint64_t node, uint64_t size);
int fe_utimens(struct fe *fe, uint64_t node, int64_t atime, int64_t mtime);
int fe_access(struct fe *fe, uint64_t node, uint32_t mask);
int fe_readlink(struct fe *fe, uint64_t node, char *buf, size_t size);
int fe_statfs(struct fe *fe, uint64_t node, struct fuse_kstatfs *st);

int fe_mknod(struct fe *fe, uint64_t dir, const char *name, mode_t mode,
	     uint32_t rdev, struct fuse_entry_out *e);
int fe_mkdir(struct fe *fe, uint64_t dir, const char *name, mode_t mode,
	     struct fuse_entry_out *e);
int fe_symlink(struct fe *fe, uint64_t dir, const char *name,
	       const char *target, struct fuse_entry_out *e);
int fe_link(struct fe *fe, uint64_t node, uint64_t dir, const char *name,
	    struct fuse_entry_out *e);
int fe_unlink(struct fe *fe, uint64_t dir, const char *name);
int fe_rmdir(struct fe *fe, uint64_t dir, const char *name);
int fe_rename(struct fe *fe, uint64_t dir, const char *name, uint64_t newdir,
	      const char *newname);
int fe_rename2(struct fe *fe, uint64_t dir, const char *name, uint64_t newdir,
	       const char *newname, uint32_t flags);

int fe_open(struct fe *fe, uint64_t node, uint32_t flags, uint64_t *fh);
int fe_create(struct fe *fe, uint64_t dir, const char *name, uint32_t flags,
	      mode_t mode, struct fuse_entry_out *e, uint64_t *fh);
int fe_tmpfile(struct fe *fe, uint64_t dir, uint32_t flags, mode_t mode,
	       struct fuse_entry_out *e, uint64_t *fh);
ssize_t fe_read(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		void *buf, size_t len);
ssize_t fe_write(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		 const void *buf, size_t len);
int fe_flush(struct fe *fe, uint64_t node, uint64_t fh, uint64_t owner);
int fe_fsync(struct fe *fe, uint64_t node, uint64_t fh, bool data_only);
int fe_release(struct fe *fe, uint64_t node, uint64_t fh);
int fe_fallocate(struct fe *fe, uint64_t node, uint64_t fh, uint32_t mode,
		 uint64_t off, uint64_t len);
int64_t fe_lseek(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		 uint32_t whence);
ssize_t fe_copy_file_range(struct fe *fe, uint64_t node_in, uint64_t fh_in,
			   uint64_t off_in, uint64_t node_out, uint64_t fh_out,
			   uint64_t off_out, uint64_t len);
int fe_ioctl(struct fe *fe, uint64_t node, uint64_t fh, uint32_t cmd,
	     uint32_t flags, const void *in, size_t in_len, void *out,
	     size_t out_size);

int fe_opendir(struct fe *fe, uint64_t node, uint64_t *fh);
ssize_t fe_readdir(struct fe *fe, uint64_t node, uint64_t fh, uint64_t off,
		   void *buf, size_t size, bool plus);
int fe_fsyncdir(struct fe *fe, uint64_t node, uint64_t fh);
int fe_releasedir(struct fe *fe, uint64_t node, uint64_t fh);
int fe_syncfs(struct fe *fe);

/* One entry of what fe_readdir() returned. */
struct fe_dirent {
	const struct fuse_entry_out *entry;	/* NULL without plus */
	uint64_t ino;
	uint64_t off;
	uint32_t type;
	const char *name;	/* not NUL-terminated */
	size_t namelen;
};
/* *@pos starts at 0. 1 with an entry, 0 at the end, -EPROTO. */
int fe_next_dirent(const void *buf, size_t len, bool plus, size_t *pos,
		   struct fe_dirent *d);
/* Calls fn for every entry of a directory until it returns non-zero. */
int fe_list(struct fe *fe, uint64_t node, bool plus,
	    int (*fn)(const struct fe_dirent *d, void *arg), void *arg);

int fe_setxattr(struct fe *fe, uint64_t node, const char *name,
		const void *value, size_t len, uint32_t flags);
/* @size 0 asks for the length. */
ssize_t fe_getxattr(struct fe *fe, uint64_t node, const char *name, void *buf,
		    size_t size);
ssize_t fe_listxattr(struct fe *fe, uint64_t node, void *buf, size_t size);
int fe_removexattr(struct fe *fe, uint64_t node, const char *name);

/* lk->type is F_RDLCK, F_WRLCK, F_UNLCK; @wait: SETLKW; @flock: BSD lock. */
int fe_getlk(struct fe *fe, uint64_t node, uint64_t fh, uint64_t owner,
	     struct fuse_file_lock *lk);
int fe_setlk(struct fe *fe, uint64_t node, uint64_t fh, uint64_t owner,
	     const struct fuse_file_lock *lk, bool wait, bool flock);

#endif
