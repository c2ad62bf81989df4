/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_FUSE_NEW_H
#define VMSHARE_FSSERVER_FUSE_NEW_H

/*
 * What the FUSE protocol gained after the oldest <linux/fuse.h> that we build
 * with (7.38), up to 7.45.
 */

#include <linux/fuse.h>

#define FS_FUSE_MINOR		45	/* newest that is spoken */
#define FS_FUSE_MINOR_OLDEST	27	/* Linux 4.20 */

#ifndef FUSE_CREATE_SUPP_GROUP
#define FUSE_CREATE_SUPP_GROUP	(1ULL << 34)
#endif
#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif
#ifndef FUSE_ALLOW_IDMAP
#define FUSE_ALLOW_IDMAP	(1ULL << 40)
#endif

/* Opcodes; as macros, since the header has them as an enum or not at all. */
#define FS_FUSE_STATX			52
#define FS_FUSE_COPY_FILE_RANGE_64	53

/* Extension types (fuse_ext_type). */
#define FS_FUSE_EXT_GROUPS		32

struct fs_fuse_supp_groups {
	uint32_t nr_groups;
	uint32_t groups[];
};

struct fs_fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct fs_fuse_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct fs_fuse_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

struct fs_fuse_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct fs_fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct fs_fuse_statx stat;
};

struct fs_fuse_copy_file_range_out {
	uint64_t bytes_copied;
};

_Static_assert(sizeof(struct fs_fuse_statx) == 256, "as struct statx");

#endif
