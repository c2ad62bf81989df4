/* SPDX-License-Identifier: MIT */
/*
 * Parts of several operations' replies: a file's attributes, and an entry,
 * which counts a lookup of its node. No locks, no state.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <errno.h>

int reply_put(struct fs_worker *w, const void *data, size_t len)
{
	if (len > w->writable_len ||
	    iov_write(&w->writable, data, len) != len)
		return -EINVAL;
	w->writable_len -= len;
	return (int)len;
}

uint64_t reply_timeout(const struct fs *fs, uint32_t *nsec)
{
	*nsec = 0;
	switch (fs->options.cache) {
	case FS_CACHE_ALWAYS:
		return 86400;
	case FS_CACHE_NONE:
		return 0;
	case FS_CACHE_AUTO:
		break;
	}
	*nsec = (uint32_t)(fs->options.timeout_ms % 1000 * 1000000);
	return fs->options.timeout_ms / 1000;
}

static bool is_mount_point(const struct fs_node *parent,
			   const struct statx *stx)
{
	return parent && S_ISDIR(stx->stx_mode) &&
	       (parent->key.dev_major != stx->stx_dev_major ||
		parent->key.dev_minor != stx->stx_dev_minor ||
		parent->key.mnt != statx_mnt(stx));
}

int reply_attr(struct fs_worker *w, const struct fs_node *parent, int dirfd,
	      const char *name, struct statx *stx, struct fuse_attr *attr)
{
	struct fs *fs = w->fs;
	int err = owner_show(w, dirfd, name, stx);

	if (err)
		return err;
	*attr = (struct fuse_attr){
		.ino = mount_ino(fs, stx->stx_dev_major, stx->stx_dev_minor,
				 stx->stx_ino),
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.atime = (uint64_t)stx->stx_atime.tv_sec,
		.mtime = (uint64_t)stx->stx_mtime.tv_sec,
		.ctime = (uint64_t)stx->stx_ctime.tv_sec,
		.atimensec = stx->stx_atime.tv_nsec,
		.mtimensec = stx->stx_mtime.tv_nsec,
		.ctimensec = stx->stx_ctime.tv_nsec,
		.mode = stx->stx_mode,
		.nlink = stx->stx_nlink,
		.uid = stx->stx_uid,
		.gid = stx->stx_gid,
		/* The kernel's encoding (new_encode_dev). */
		.rdev = (stx->stx_rdev_minor & 0xff) |
			stx->stx_rdev_major << 8 |
			(stx->stx_rdev_minor & ~0xffu) << 12,
		.blksize = stx->stx_blksize,
	};
	if (is_mount_point(parent, stx) && session_has(fs, FUSE_SUBMOUNTS))
		attr->flags |= FUSE_ATTR_SUBMOUNT;
	return 0;
}

int reply_entry(struct fs_worker *w, struct fs_node *parent, int dirfd,
	       const char *name, struct statx *stx,
	       struct fuse_entry_out *entry, struct fs_node **pinned)
{
	struct fs *fs = w->fs;
	int err = parent ? mount_check(w, parent, dirfd, name, stx) : 0;

	if (err)
		return err;
	*entry = (struct fuse_entry_out){ .generation = 0 };
	err = node_add(fs, parent, name, stx, &entry->nodeid, pinned,
		       journal_own(w));
	if (err)
		return err;
	byhandle_note(fs, dirfd, name, stx, entry->nodeid);
	entry->entry_valid = reply_timeout(fs, &entry->entry_valid_nsec);
	entry->attr_valid = reply_timeout(fs, &entry->attr_valid_nsec);
	err = reply_attr(w, parent, dirfd, name, stx, &entry->attr);
	if (err) {
		node_forget(fs, entry->nodeid, 1, journal_own(w));
		if (pinned)
			node_put(fs, *pinned);
	}
	return err;
}
