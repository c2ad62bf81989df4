/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_FUSE_H
#define VMSHARE_FSSERVER_FUSE_H

/*
 * The FUSE protocol 7.45 as it is on the wire: the part that this server uses,
 * and all opcodes. The format is stable. With a header of its own the tree
 * builds with the headers of every kernel: old ones lack newer structures, and
 * newer ones renamed members. Names are the protocol's.
 *
 * Everything is in the byte order of the host, which is the guest's; each
 * struct is a multiple of 8 bytes long. A `spare` member is not read, and zero
 * when it is sent. tests/c/test_wire.c compares all of this with the system's
 * <linux/fuse.h>, as far as that goes.
 */

#include <stddef.h>
#include <stdint.h>

#define FUSE_MAJOR		7
#define FUSE_MINOR		45	/* newest supported */
#define FUSE_MINOR_OLDEST	27	/* Linux 4.20 */

#define FUSE_ROOT_ID		1

enum fuse_opcode {
	FUSE_LOOKUP = 1,
	FUSE_FORGET = 2,		/* has no reply */
	FUSE_GETATTR = 3,
	FUSE_SETATTR = 4,
	FUSE_READLINK = 5,
	FUSE_SYMLINK = 6,
	FUSE_MKNOD = 8,
	FUSE_MKDIR = 9,
	FUSE_UNLINK = 10,
	FUSE_RMDIR = 11,
	FUSE_RENAME = 12,
	FUSE_LINK = 13,
	FUSE_OPEN = 14,
	FUSE_READ = 15,
	FUSE_WRITE = 16,
	FUSE_STATFS = 17,
	FUSE_RELEASE = 18,
	FUSE_FSYNC = 20,
	FUSE_SETXATTR = 21,
	FUSE_GETXATTR = 22,
	FUSE_LISTXATTR = 23,
	FUSE_REMOVEXATTR = 24,
	FUSE_FLUSH = 25,
	FUSE_INIT = 26,
	FUSE_OPENDIR = 27,
	FUSE_READDIR = 28,
	FUSE_RELEASEDIR = 29,
	FUSE_FSYNCDIR = 30,
	FUSE_GETLK = 31,
	FUSE_SETLK = 32,
	FUSE_SETLKW = 33,
	FUSE_ACCESS = 34,
	FUSE_CREATE = 35,
	FUSE_INTERRUPT = 36,
	FUSE_BMAP = 37,
	FUSE_DESTROY = 38,
	FUSE_IOCTL = 39,
	FUSE_POLL = 40,
	FUSE_NOTIFY_REPLY = 41,
	FUSE_BATCH_FORGET = 42,		/* has no reply */
	FUSE_FALLOCATE = 43,
	FUSE_READDIRPLUS = 44,
	FUSE_RENAME2 = 45,
	FUSE_LSEEK = 46,
	FUSE_COPY_FILE_RANGE = 47,
	FUSE_SETUPMAPPING = 48,
	FUSE_REMOVEMAPPING = 49,
	FUSE_SYNCFS = 50,
	FUSE_TMPFILE = 51,
	FUSE_STATX = 52,
	FUSE_COPY_FILE_RANGE_64 = 53,
};

/* INIT; those from 2^32 on are in flags2. */
#define FUSE_ASYNC_READ			(1ull << 0)
#define FUSE_POSIX_LOCKS		(1ull << 1)
#define FUSE_FILE_OPS			(1ull << 2)
#define FUSE_ATOMIC_O_TRUNC		(1ull << 3)
#define FUSE_EXPORT_SUPPORT		(1ull << 4)
#define FUSE_BIG_WRITES			(1ull << 5)
#define FUSE_DONT_MASK			(1ull << 6)
#define FUSE_SPLICE_WRITE		(1ull << 7)
#define FUSE_SPLICE_MOVE		(1ull << 8)
#define FUSE_SPLICE_READ		(1ull << 9)
#define FUSE_FLOCK_LOCKS		(1ull << 10)
#define FUSE_HAS_IOCTL_DIR		(1ull << 11)
#define FUSE_AUTO_INVAL_DATA		(1ull << 12)
#define FUSE_DO_READDIRPLUS		(1ull << 13)
#define FUSE_READDIRPLUS_AUTO		(1ull << 14)
#define FUSE_ASYNC_DIO			(1ull << 15)
#define FUSE_WRITEBACK_CACHE		(1ull << 16)
#define FUSE_NO_OPEN_SUPPORT		(1ull << 17)
#define FUSE_PARALLEL_DIROPS		(1ull << 18)
#define FUSE_HANDLE_KILLPRIV		(1ull << 19)
#define FUSE_POSIX_ACL			(1ull << 20)
#define FUSE_ABORT_ERROR		(1ull << 21)
#define FUSE_MAX_PAGES			(1ull << 22)
#define FUSE_CACHE_SYMLINKS		(1ull << 23)
#define FUSE_NO_OPENDIR_SUPPORT		(1ull << 24)
#define FUSE_EXPLICIT_INVAL_DATA	(1ull << 25)
#define FUSE_MAP_ALIGNMENT		(1ull << 26)
#define FUSE_SUBMOUNTS			(1ull << 27)
#define FUSE_HANDLE_KILLPRIV_V2		(1ull << 28)
#define FUSE_SETXATTR_EXT		(1ull << 29)
#define FUSE_INIT_EXT			(1ull << 30)
#define FUSE_SECURITY_CTX		(1ull << 32)
#define FUSE_HAS_INODE_DAX		(1ull << 33)
#define FUSE_CREATE_SUPP_GROUP		(1ull << 34)
#define FUSE_HAS_EXPIRE_ONLY		(1ull << 35)
#define FUSE_DIRECT_IO_ALLOW_MMAP	(1ull << 36)
#define FUSE_PASSTHROUGH		(1ull << 37)
#define FUSE_NO_EXPORT_SUPPORT		(1ull << 38)
#define FUSE_HAS_RESEND			(1ull << 39)
#define FUSE_ALLOW_IDMAP		(1ull << 40)
#define FUSE_OVER_IO_URING		(1ull << 41)
#define FUSE_REQUEST_TIMEOUT		(1ull << 42)

/* fuse_setattr_in.valid */
#define FATTR_MODE			(1u << 0)
#define FATTR_UID			(1u << 1)
#define FATTR_GID			(1u << 2)
#define FATTR_SIZE			(1u << 3)
#define FATTR_ATIME			(1u << 4)
#define FATTR_MTIME			(1u << 5)
#define FATTR_FH			(1u << 6)
#define FATTR_ATIME_NOW			(1u << 7)
#define FATTR_MTIME_NOW			(1u << 8)
#define FATTR_LOCKOWNER			(1u << 9)
#define FATTR_CTIME			(1u << 10)
#define FATTR_KILL_SUIDGID		(1u << 11)

/* fuse_open_out.open_flags */
#define FOPEN_DIRECT_IO			(1u << 0)
#define FOPEN_KEEP_CACHE		(1u << 1)
#define FOPEN_NONSEEKABLE		(1u << 2)
#define FOPEN_CACHE_DIR			(1u << 3)
#define FOPEN_STREAM			(1u << 4)
#define FOPEN_NOFLUSH			(1u << 5)
#define FOPEN_PARALLEL_DIRECT_WRITES	(1u << 6)

#define FUSE_GETATTR_FH			(1u << 0)	/* getattr_flags */
#define FUSE_OPEN_KILL_SUIDGID		(1u << 0)	/* open_flags, in */
#define FUSE_RELEASE_FLUSH		(1u << 0)	/* release_flags */
#define FUSE_RELEASE_FLOCK_UNLOCK	(1u << 1)
#define FUSE_LK_FLOCK			(1u << 0)	/* lk_flags */
#define FUSE_READ_LOCKOWNER		(1u << 1)	/* read_flags */
#define FUSE_WRITE_CACHE		(1u << 0)	/* write_flags */
#define FUSE_WRITE_LOCKOWNER		(1u << 1)
#define FUSE_WRITE_KILL_SUIDGID		(1u << 2)
#define FUSE_FSYNC_FDATASYNC		(1u << 0)	/* fsync_flags */
#define FUSE_SETXATTR_ACL_KILL_SGID	(1u << 0)	/* setxattr_flags */
#define FUSE_ATTR_SUBMOUNT		(1u << 0)	/* fuse_attr.flags */

/* fuse_ext_header.type: up to 31 it is the number of a fuse_secctx_header. */
#define FUSE_MAX_NR_SECCTX		31
#define FUSE_EXT_GROUPS			32

struct fuse_in_header {
	uint32_t len;			/* of the whole request */
	uint32_t opcode;
	uint64_t unique;
	uint64_t nodeid;
	uint32_t uid, gid, pid;
	uint16_t total_extlen;		/* extensions, in units of 8 bytes */
	uint16_t spare;
};

struct fuse_out_header {
	uint32_t len;
	int32_t error;			/* 0 or -errno */
	uint64_t unique;
};

struct fuse_ext_header {
	uint32_t size;			/* including this header */
	uint32_t type;
};

struct fuse_supp_groups {
	uint32_t nr_groups;
	uint32_t groups[];
};

/* Before each context: its size, then its name with a NUL, then its value. */
struct fuse_secctx {
	uint32_t size;
	uint32_t spare;
};

struct fuse_init_in {
	uint32_t major, minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint32_t flags2;		/* from 7.36 on */
	uint32_t spare[11];
};

struct fuse_init_out {
	uint32_t major, minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint16_t max_background;
	uint16_t congestion_threshold;
	uint32_t max_write;
	uint32_t time_gran;		/* ns */
	uint16_t max_pages;
	uint16_t map_alignment;
	uint32_t flags2;
	uint32_t max_stack_depth;
	uint16_t request_timeout;	/* s */
	uint16_t spare[11];
};

struct fuse_attr {
	uint64_t ino, size, blocks;
	uint64_t atime, mtime, ctime;
	uint32_t atimensec, mtimensec, ctimensec;
	uint32_t mode, nlink, uid, gid, rdev, blksize;
	uint32_t flags;
};

struct fuse_attr_out {
	uint64_t attr_valid;		/* may be cached for these seconds */
	uint32_t attr_valid_nsec;	/* and nanoseconds */
	uint32_t spare;
	struct fuse_attr attr;
};

struct fuse_entry_out {
	uint64_t nodeid, generation;
	uint64_t entry_valid, attr_valid;
	uint32_t entry_valid_nsec, attr_valid_nsec;
	struct fuse_attr attr;
};

/* Like struct statx. */
struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t spare;
};

struct fuse_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare;
	uint64_t ino, size, blocks, attributes_mask;
	struct fuse_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

struct fuse_statx_in {
	uint32_t getattr_flags;
	uint32_t spare;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};

struct fuse_getattr_in {
	uint32_t getattr_flags;
	uint32_t spare;
	uint64_t fh;
};

struct fuse_setattr_in {
	uint32_t valid;
	uint32_t spare;
	uint64_t fh, size, lock_owner;
	uint64_t atime, mtime, ctime;
	uint32_t atimensec, mtimensec, ctimensec;
	uint32_t mode;
	uint32_t spare2;
	uint32_t uid, gid;
	uint32_t spare3;
};

struct fuse_forget_in {
	uint64_t nlookup;
};

struct fuse_forget_one {
	uint64_t nodeid, nlookup;
};

struct fuse_batch_forget_in {
	uint32_t count;			/* struct fuse_forget_one that follow */
	uint32_t spare;
};

struct fuse_mknod_in {
	uint32_t mode, rdev, umask;
	uint32_t spare;
};

struct fuse_mkdir_in {
	uint32_t mode, umask;
};

struct fuse_rename_in {
	uint64_t newdir;
};

struct fuse_rename2_in {
	uint64_t newdir;
	uint32_t flags;			/* RENAME_... */
	uint32_t spare;
};

struct fuse_link_in {
	uint64_t oldnodeid;
};

struct fuse_open_in {
	uint32_t flags;			/* O_... */
	uint32_t open_flags;
};

struct fuse_create_in {
	uint32_t flags, mode, umask;
	uint32_t open_flags;
};

struct fuse_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;		/* FOPEN_PASSTHROUGH's */
};

struct fuse_release_in {
	uint64_t fh;
	uint32_t flags, release_flags;
	uint64_t lock_owner;
};

struct fuse_flush_in {
	uint64_t fh;
	uint32_t spare[2];
	uint64_t lock_owner;
};

struct fuse_read_in {
	uint64_t fh, offset;
	uint32_t size, read_flags;
	uint64_t lock_owner;
	uint32_t flags;
	uint32_t spare;
};

struct fuse_write_in {
	uint64_t fh, offset;
	uint32_t size, write_flags;
	uint64_t lock_owner;
	uint32_t flags;
	uint32_t spare;
};

struct fuse_write_out {
	uint32_t size;
	uint32_t spare;
};

struct fuse_fsync_in {
	uint64_t fh;
	uint32_t fsync_flags;
	uint32_t spare;
};

struct fuse_syncfs_in {
	uint64_t spare;
};

struct fuse_fallocate_in {
	uint64_t fh, offset, length;
	uint32_t mode;
	uint32_t spare;
};

struct fuse_lseek_in {
	uint64_t fh, offset;
	uint32_t whence;
	uint32_t spare;
};

struct fuse_lseek_out {
	uint64_t offset;
};

struct fuse_copy_file_range_in {
	uint64_t fh_in, off_in;
	uint64_t nodeid_out, fh_out, off_out;
	uint64_t len;
	uint64_t flags;
};

struct fuse_copy_file_range_out {	/* FUSE_COPY_FILE_RANGE_64's */
	uint64_t bytes_copied;
};

struct fuse_kstatfs {
	uint64_t blocks, bfree, bavail, files, ffree;
	uint32_t bsize, namelen, frsize;
	uint32_t spare[7];
};

struct fuse_statfs_out {
	struct fuse_kstatfs st;
};

struct fuse_access_in {
	uint32_t mask;
	uint32_t spare;
};

#define FUSE_COMPAT_SETXATTR_IN_SIZE 8	/* without FUSE_SETXATTR_EXT */

struct fuse_setxattr_in {
	uint32_t size;
	uint32_t flags;			/* XATTR_CREATE, XATTR_REPLACE */
	uint32_t setxattr_flags;
	uint32_t spare;
};

struct fuse_getxattr_in {
	uint32_t size;
	uint32_t spare;
};

struct fuse_getxattr_out {
	uint32_t size;
	uint32_t spare;
};

struct fuse_file_lock {
	uint64_t start, end;		/* both inclusive */
	uint32_t type;			/* F_RDLCK, F_WRLCK, F_UNLCK */
	uint32_t pid;
};

struct fuse_lk_in {
	uint64_t fh, owner;
	struct fuse_file_lock lk;
	uint32_t lk_flags;
	uint32_t spare;
};

struct fuse_lk_out {
	struct fuse_file_lock lk;
};

struct fuse_interrupt_in {
	uint64_t unique;
};

struct fuse_ioctl_in {
	uint64_t fh;
	uint32_t flags;
	uint32_t cmd;
	uint64_t arg;
	uint32_t in_size, out_size;
};

struct fuse_ioctl_out {
	int32_t result;
	uint32_t flags;
	uint32_t in_iovs, out_iovs;
};

struct fuse_setupmapping_in {
	uint64_t fh, foffset, len, flags, moffset;
};

struct fuse_dirent {
	uint64_t ino, off;
	uint32_t namelen;
	uint32_t type;			/* DT_... */
	char name[];			/* without a NUL, padded with zeros */
};

struct fuse_direntplus {
	struct fuse_entry_out entry_out;
	struct fuse_dirent dirent;
};

#define FUSE_NAME_OFFSET	offsetof(struct fuse_dirent, name)
#define FUSE_NAME_OFFSET_DIRENTPLUS \
	offsetof(struct fuse_direntplus, dirent.name)
#define FUSE_DIRENT_ALIGN(n)	(((n) + sizeof(uint64_t) - 1) & \
				 ~(sizeof(uint64_t) - 1))
#define FUSE_DIRENT_SIZE(d)	FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + \
						  (d)->namelen)
#define FUSE_DIRENTPLUS_SIZE(d)	FUSE_DIRENT_ALIGN( \
					FUSE_NAME_OFFSET_DIRENTPLUS + \
					(d)->dirent.namelen)

#endif
