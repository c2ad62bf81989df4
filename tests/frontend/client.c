/* SPDX-License-Identifier: MIT */
/*
 * The operations on nodes and names, one function each: they fill in the
 * argument structs as Linux' fs/fuse does and leave the rest to fe_call().
 * Open files, directories, xattrs and locks have a file of their own.
 */

#include "tests/frontend/fe.h"

#include <errno.h>
#include <string.h>

#define NAME(s) { (s), strlen(s) + 1 }

/* What Linux 6.12's virtiofs offers. */
#define INIT_FLAGS                                                            \
	(FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC |           \
	 FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | FUSE_DONT_MASK |             \
	 FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ |            \
	 FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR | FUSE_AUTO_INVAL_DATA |       \
	 FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |       \
	 FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT | FUSE_PARALLEL_DIROPS | \
	 FUSE_HANDLE_KILLPRIV | FUSE_POSIX_ACL | FUSE_ABORT_ERROR |           \
	 FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT |     \
	 FUSE_EXPLICIT_INVAL_DATA | FUSE_SUBMOUNTS |                          \
	 FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT |        \
	 FUSE_SECURITY_CTX | FE_INIT_CREATE_SUPP_GROUP |                      \
	 FUSE_HAS_EXPIRE_ONLY | FE_INIT_DIRECT_IO_MMAP |                      \
	 FE_INIT_PASSTHROUGH | FE_INIT_NO_EXPORT_SUPPORT |                    \
	 FE_INIT_HAS_RESEND | FE_INIT_ALLOW_IDMAP)

int fe_fuse_init(struct fe *fe, uint64_t flags)
{
	struct fuse_init_in in = {
		.major = FUSE_MAJOR,
		.minor = FE_FUSE_MINOR,
		.max_readahead = 128u << 10,
	};
	struct fe_call c = {
		.opcode = FUSE_INIT,
		.in = { { &in, sizeof(in) } },
		.out = &fe->init,
		.out_size = sizeof(fe->init),
		.out_exact = true,
	};
	int ret;

	if (!flags)
		flags = INIT_FLAGS;
	in.flags = (uint32_t)flags;
	in.flags2 = (uint32_t)(flags >> 32);
	ret = fe_call(fe, &c);
	if (ret < 0)
		return ret;
	if (fe->init.major != FUSE_MAJOR)
		return -EPROTO;
	fe->init_flags = fe->init.flags;
	if (fe->init.flags & FUSE_INIT_EXT)
		fe->init_flags |= (uint64_t)fe->init.flags2 << 32;
	return 0;
}

int fe_destroy(struct fe *fe)
{
	return fe_ask(fe, FUSE_DESTROY, 0, NULL, 0, NULL, 0);
}

int fe_lookup(struct fe *fe, uint64_t dir, const char *name,
	      struct fuse_entry_out *e)
{
	struct fe_call c = {
		.opcode = FUSE_LOOKUP,
		.nodeid = dir,
		.in = { NAME(name) },
		.out = e,
		.out_size = sizeof(*e),
		.out_exact = true,
	};

	return fe_call(fe, &c);
}

int fe_walk(struct fe *fe, const char *path, struct fuse_entry_out *e)
{
	char name[256];
	uint64_t dir = FUSE_ROOT_ID;
	int ret = -EINVAL;

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, path, n);
		name[n] = '\0';
		path += n + (path[n] == '/');
		ret = fe_lookup(fe, dir, name, e);
		if (ret < 0)
			return ret;
		dir = e->nodeid;
	}
	return ret;
}

int fe_forget(struct fe *fe, uint64_t node, uint64_t nlookup)
{
	struct fuse_forget_in in = { .nlookup = nlookup };
	struct fe_call c = {
		.opcode = FUSE_FORGET,
		.nodeid = node,
		.in = { { &in, sizeof(in) } },
		.no_reply = true,
	};

	return fe_call(fe, &c);
}

int fe_batch_forget(struct fe *fe, const struct fuse_forget_one *one,
		    unsigned int count)
{
	struct fuse_batch_forget_in in = { .count = count };
	struct fe_call c = {
		.opcode = FUSE_BATCH_FORGET,
		.in = { { &in, sizeof(in) }, { one, count * sizeof(*one) } },
		.no_reply = true,
	};

	return fe_call(fe, &c);
}

static int getattr(struct fe *fe, uint64_t node, uint32_t flags, uint64_t fh,
		   struct fuse_attr_out *a)
{
	struct fuse_getattr_in in = { .getattr_flags = flags, .fh = fh };

	return fe_ask(fe, FUSE_GETATTR, node, &in, sizeof(in), a, sizeof(*a));
}

int fe_getattr(struct fe *fe, uint64_t node, struct fuse_attr_out *a)
{
	return getattr(fe, node, 0, 0, a);
}

int fe_fgetattr(struct fe *fe, uint64_t node, uint64_t fh,
		struct fuse_attr_out *a)
{
	return getattr(fe, node, FUSE_GETATTR_FH, fh, a);
}

int fe_statx(struct fe *fe, uint64_t node, uint32_t mask,
	     struct fe_statx_out *sx)
{
	struct fe_statx_in in = { .sx_mask = mask };

	return fe_ask(fe, FE_OP_STATX, node, &in, sizeof(in), sx, sizeof(*sx));
}

int fe_setattr(struct fe *fe, uint64_t node, const struct fuse_setattr_in *in,
	       struct fuse_attr_out *a)
{
	struct fuse_attr_out dummy;

	return fe_ask(fe, FUSE_SETATTR, node, in, sizeof(*in), a ? a : &dummy,
		      sizeof(dummy));
}

int fe_chmod(struct fe *fe, uint64_t node, mode_t mode)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = mode };

	return fe_setattr(fe, node, &in, NULL);
}

int fe_chown(struct fe *fe, uint64_t node, uint32_t uid, uint32_t gid)
{
	struct fuse_setattr_in in = {
		.valid = (uid != UINT32_MAX ? FATTR_UID : 0u) |
			 (gid != UINT32_MAX ? FATTR_GID : 0u),
		.uid = uid,
		.gid = gid,
	};

	return fe_setattr(fe, node, &in, NULL);
}

int fe_truncate(struct fe *fe, uint64_t node, uint64_t size)
{
	struct fuse_setattr_in in = { .valid = FATTR_SIZE, .size = size };

	return fe_setattr(fe, node, &in, NULL);
}

int fe_utimens(struct fe *fe, uint64_t node, int64_t atime, int64_t mtime)
{
	struct fuse_setattr_in in = {
		.valid = FATTR_ATIME | FATTR_MTIME,
		.atime = (uint64_t)atime,
		.mtime = (uint64_t)mtime,
	};

	return fe_setattr(fe, node, &in, NULL);
}

int fe_access(struct fe *fe, uint64_t node, uint32_t mask)
{
	struct fuse_access_in in = { .mask = mask };

	return fe_ask(fe, FUSE_ACCESS, node, &in, sizeof(in), NULL, 0);
}

int fe_readlink(struct fe *fe, uint64_t node, char *buf, size_t size)
{
	struct fe_call c = {
		.opcode = FUSE_READLINK,
		.nodeid = node,
		.dst = buf,
		.dst_size = size - 1,
	};
	int ret = fe_call(fe, &c);

	if (ret < 0)
		return ret;
	buf[c.got] = '\0';
	return 0;
}

int fe_statfs(struct fe *fe, uint64_t node, struct fuse_kstatfs *st)
{
	struct fuse_statfs_out out;
	int ret = fe_ask(fe, FUSE_STATFS, node, NULL, 0, &out, sizeof(out));

	if (ret == 0)
		*st = out.st;
	return ret;
}

/* An operation that takes a struct and a name and answers with an entry. */
static int make(struct fe *fe, uint32_t opcode, uint64_t dir, const void *in,
		size_t len, const char *name, struct fuse_entry_out *e)
{
	struct fuse_entry_out dummy;
	struct fe_call c = {
		.opcode = opcode,
		.nodeid = dir,
		.in = { { in, len }, NAME(name) },
		.out = e ? e : &dummy,
		.out_size = sizeof(dummy),
		.out_exact = true,
	};

	return fe_call(fe, &c);
}

int fe_mknod(struct fe *fe, uint64_t dir, const char *name, mode_t mode,
	     uint32_t rdev, struct fuse_entry_out *e)
{
	struct fuse_mknod_in in = { .mode = mode, .rdev = rdev };

	return make(fe, FUSE_MKNOD, dir, &in, sizeof(in), name, e);
}

int fe_mkdir(struct fe *fe, uint64_t dir, const char *name, mode_t mode,
	     struct fuse_entry_out *e)
{
	struct fuse_mkdir_in in = { .mode = mode };

	return make(fe, FUSE_MKDIR, dir, &in, sizeof(in), name, e);
}

int fe_link(struct fe *fe, uint64_t node, uint64_t dir, const char *name,
	    struct fuse_entry_out *e)
{
	struct fuse_link_in in = { .oldnodeid = node };

	return make(fe, FUSE_LINK, dir, &in, sizeof(in), name, e);
}

int fe_symlink(struct fe *fe, uint64_t dir, const char *name,
	       const char *target, struct fuse_entry_out *e)
{
	/* Two strings: the name first, then where it points. */
	return make(fe, FUSE_SYMLINK, dir, name, strlen(name) + 1, target, e);
}

int fe_unlink(struct fe *fe, uint64_t dir, const char *name)
{
	struct fe_call c = {
		.opcode = FUSE_UNLINK, .nodeid = dir, .in = { NAME(name) },
	};

	return fe_call(fe, &c);
}

int fe_rmdir(struct fe *fe, uint64_t dir, const char *name)
{
	struct fe_call c = {
		.opcode = FUSE_RMDIR, .nodeid = dir, .in = { NAME(name) },
	};

	return fe_call(fe, &c);
}

int fe_rename(struct fe *fe, uint64_t dir, const char *name, uint64_t newdir,
	      const char *newname)
{
	struct fuse_rename_in in = { .newdir = newdir };
	struct fe_call c = {
		.opcode = FUSE_RENAME,
		.nodeid = dir,
		.in = { { &in, sizeof(in) }, NAME(name), NAME(newname) },
	};

	return fe_call(fe, &c);
}

int fe_rename2(struct fe *fe, uint64_t dir, const char *name, uint64_t newdir,
	       const char *newname, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = newdir, .flags = flags };
	struct fe_call c = {
		.opcode = FUSE_RENAME2,
		.nodeid = dir,
		.in = { { &in, sizeof(in) }, NAME(name), NAME(newname) },
	};

	return fe_call(fe, &c);
}
