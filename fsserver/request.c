/* SPDX-License-Identifier: MIT */
/*
 * One request: decoded, checked, run, answered.
 *
 * The request is copied out of the guest's memory once: the header, then the
 * opcode's fixed part, then names, then extensions. All checks use the copies,
 * since the guest may change its memory at any time; only file data is used in
 * place. An operation runs only if the request has the length in the table, its
 * names are valid and its node exists.
 *
 *	header | fixed part | names, or data | extensions
 *
 * The table is the whole protocol: any other opcode is ENOSYS, after which the
 * guest's kernel does without that operation (POLL, BMAP, SETUPMAPPING) and
 * does not send it again.
 *
 * The length in a reply's header is the length that the ring is given. FORGET
 * has no reply. No function here prints, allocates or blocks.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"
#include "fsserver/request.h"

#include <errno.h>
#include <string.h>

enum request_flag {
	R_NODE		= 1 << 0,	/* acts on the header's node */
	R_DIR		= 1 << 1,	/* the node must be a directory */
	R_NAME		= 1 << 2,	/* a file name follows */
	R_NAME2		= 1 << 3,	/* a second name follows */
	R_DOTS		= 1 << 4,	/* the name may be "." or ".." */
	R_XNAME		= 1 << 5,	/* an attribute's name follows */
	R_BODY		= 1 << 6,	/* data follows */
	R_MODIFIES	= 1 << 7,	/* not on a read-only share */
	R_SILENT	= 1 << 8,	/* no reply */
	R_HIPRIO	= 1 << 9,	/* may come through queue 0 */
	R_ALWAYS	= 1 << 10,	/* also before FUSE_INIT */
	R_EXT		= 1 << 11,	/* extensions may follow */
	R_SHORT		= 1 << 12,	/* the fixed part may be cut short */
	R_ONCE		= 1 << 13,	/* has a journal entry */
};

struct request_op {
	const char *name;
	size_t fixed;		/* bytes of the fixed part */
	unsigned int flags;
	int (*run)(struct fs_worker *w);
};

#define R_CHANGES (R_MODIFIES | R_ONCE)
#define R_ENTRY (R_NODE | R_DIR | R_NAME | R_CHANGES)
#define OP(n, type, flags, run) { n, sizeof(type), flags, run }
#define OP0(n, flags, run) { n, 0, flags, run }

static const struct request_op ops[] = {
	[FUSE_LOOKUP] = OP0("LOOKUP", R_NODE | R_NAME | R_DOTS | R_ONCE,
			    op_lookup),
	[FUSE_FORGET] = OP("FORGET", struct fuse_forget_in,
			   R_SILENT | R_HIPRIO | R_ALWAYS | R_ONCE, op_forget),
	[FUSE_GETATTR] = OP("GETATTR", struct fuse_getattr_in, R_NODE,
			    op_getattr),
	[FUSE_SETATTR] = OP("SETATTR", struct fuse_setattr_in,
			    R_NODE | R_CHANGES, op_setattr),
	[FUSE_READLINK] = OP0("READLINK", R_NODE, op_readlink),
	[FUSE_SYMLINK] = OP0("SYMLINK", R_ENTRY | R_BODY | R_EXT, op_symlink),
	[FUSE_MKNOD] = OP("MKNOD", struct fuse_mknod_in, R_ENTRY | R_EXT,
			  op_mknod),
	[FUSE_MKDIR] = OP("MKDIR", struct fuse_mkdir_in, R_ENTRY | R_EXT,
			  op_mkdir),
	[FUSE_UNLINK] = OP0("UNLINK", R_ENTRY, op_unlink),
	[FUSE_RMDIR] = OP0("RMDIR", R_ENTRY, op_rmdir),
	[FUSE_RENAME] = OP("RENAME", struct fuse_rename_in,
			   R_ENTRY | R_NAME2, op_rename),
	[FUSE_LINK] = OP("LINK", struct fuse_link_in, R_ENTRY, op_link),
	[FUSE_OPEN] = OP("OPEN", struct fuse_open_in, R_NODE | R_ONCE, op_open),
	[FUSE_READ] = OP("READ", struct fuse_read_in, R_NODE, op_read),
	[FUSE_WRITE] = OP("WRITE", struct fuse_write_in,
			  R_NODE | R_CHANGES | R_BODY, op_write),
	[FUSE_STATFS] = OP0("STATFS", R_NODE, op_statfs),
	[FUSE_RELEASE] = OP("RELEASE", struct fuse_release_in,
			    R_NODE | R_ONCE, op_release),
	[FUSE_FSYNC] = OP("FSYNC", struct fuse_fsync_in, R_NODE, op_fsync),
	[FUSE_SETXATTR] = OP("SETXATTR", struct fuse_setxattr_in,
			     R_NODE | R_CHANGES | R_XNAME | R_BODY,
			     op_setxattr),
	[FUSE_GETXATTR] = OP("GETXATTR", struct fuse_getxattr_in,
			     R_NODE | R_XNAME, op_getxattr),
	[FUSE_LISTXATTR] = OP("LISTXATTR", struct fuse_getxattr_in, R_NODE,
			      op_listxattr),
	[FUSE_REMOVEXATTR] = OP0("REMOVEXATTR", R_NODE | R_CHANGES | R_XNAME,
				 op_removexattr),
	[FUSE_FLUSH] = OP("FLUSH", struct fuse_flush_in, R_NODE, op_flush),
	[FUSE_INIT] = OP("INIT", struct fuse_init_in, R_ALWAYS | R_SHORT,
			 op_init),
	[FUSE_OPENDIR] = OP("OPENDIR", struct fuse_open_in,
			    R_NODE | R_DIR | R_ONCE, op_opendir),
	[FUSE_READDIR] = OP("READDIR", struct fuse_read_in, R_NODE | R_DIR,
			    op_readdir),
	[FUSE_RELEASEDIR] = OP("RELEASEDIR", struct fuse_release_in,
			       R_NODE | R_DIR | R_ONCE, op_releasedir),
	[FUSE_FSYNCDIR] = OP("FSYNCDIR", struct fuse_fsync_in, R_NODE | R_DIR,
			     op_fsyncdir),
	[FUSE_GETLK] = OP("GETLK", struct fuse_lk_in, R_NODE, lock_getlk),
	[FUSE_SETLK] = OP("SETLK", struct fuse_lk_in, R_NODE | R_ONCE,
			   lock_setlk),
	[FUSE_SETLKW] = OP("SETLKW", struct fuse_lk_in, R_NODE | R_ONCE,
			    lock_setlk),
	[FUSE_ACCESS] = OP("ACCESS", struct fuse_access_in, R_NODE, op_access),
	[FUSE_CREATE] = OP("CREATE", struct fuse_create_in, R_ENTRY | R_EXT,
			   op_create),
	[FUSE_INTERRUPT] = OP("INTERRUPT", struct fuse_interrupt_in,
			      R_SILENT | R_HIPRIO | R_ALWAYS, NULL),
	[FUSE_DESTROY] = OP0("DESTROY", R_ALWAYS, op_destroy),
	[FUSE_IOCTL] = OP("IOCTL", struct fuse_ioctl_in, R_NODE | R_BODY,
			  op_ioctl),
	[FUSE_BATCH_FORGET] = OP("BATCH_FORGET", struct fuse_batch_forget_in,
				 R_SILENT | R_HIPRIO | R_ALWAYS | R_BODY |
					 R_ONCE,
				 op_batch_forget),
	[FUSE_FALLOCATE] = OP("FALLOCATE", struct fuse_fallocate_in,
			      R_NODE | R_CHANGES, op_fallocate),
	[FUSE_READDIRPLUS] = OP("READDIRPLUS", struct fuse_read_in,
				R_NODE | R_DIR | R_ONCE, op_readdirplus),
	[FUSE_RENAME2] = OP("RENAME2", struct fuse_rename2_in,
			    R_ENTRY | R_NAME2 | R_EXT, op_rename2),
	[FUSE_LSEEK] = OP("LSEEK", struct fuse_lseek_in, R_NODE, op_lseek),
	[FUSE_COPY_FILE_RANGE] = OP("COPY_FILE_RANGE",
				    struct fuse_copy_file_range_in,
				    R_NODE | R_CHANGES, op_copy_file_range),
	[FUSE_SYNCFS] = OP("SYNCFS", struct fuse_syncfs_in, R_NODE, op_syncfs),
	/* Linux also sends a name, "/", which has no meaning. */
	[FUSE_TMPFILE] = OP("TMPFILE", struct fuse_create_in,
			    R_NODE | R_DIR | R_CHANGES | R_BODY | R_EXT,
			    op_tmpfile),
	[FUSE_STATX] = OP("STATX", struct fuse_statx_in, R_NODE,
			     op_statx),
	[FUSE_COPY_FILE_RANGE_64] = OP("COPY_FILE_RANGE_64",
					  struct fuse_copy_file_range_in,
					  R_NODE | R_CHANGES,
					  op_copy_file_range_64),
};

static const struct request_op *request_op(uint32_t opcode)
{
	if (opcode >= ARRAY_SIZE(ops) || !ops[opcode].name)
		return NULL;
	return &ops[opcode];
}

const char *request_name(uint32_t opcode)
{
	const struct request_op *op = request_op(opcode);

	return op ? op->name : "?";
}

const char *fs_op_name(unsigned int op)
{
	return request_op(op) ? request_name(op) : NULL;
}

/* ---- decoding ----------------------------------------------------------- */

/* Is this a valid name of a directory entry? 0 or -errno. */
static int check_name(const char *name, unsigned int flags)
{
	if (name[0] == '\0' || strchr(name, '/'))
		return -EINVAL;
	if (!(flags & R_DOTS) &&
	    (strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		return -EINVAL;
	return 0;
}

/* Copy one NUL-terminated string out of the @rest bytes that are left. */
static int take_name(struct fs_worker *w, char name[NAME_MAX + 2], size_t *rest)
{
	struct iov_cursor ahead = w->readable;
	size_t want = *rest < NAME_MAX + 2 ? *rest : NAME_MAX + 2, len;

	if (iov_read(&ahead, name, want) != want)
		return -EINVAL;
	len = strnlen(name, want);
	if (len == want)
		return want == NAME_MAX + 2 ? -ENAMETOOLONG : -EINVAL;
	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	*rest -= len + 1;
	iov_skip(&w->readable, len + 1);
	return 0;
}

static int take_names(struct fs_worker *w, const struct request_op *op,
		      size_t *rest)
{
	unsigned int nr = op->flags & R_NAME2 ? 2 : 1;
	int err = 0;

	for (unsigned int i = 0; !err && i < nr; i++) {
		err = take_name(w, w->name[i], rest);
		if (!err && !(op->flags & R_XNAME))
			err = check_name(w->name[i], op->flags);
	}
	if (op->flags & R_XNAME && err == -ENAMETOOLONG)
		err = -ERANGE;
	if (!err && op->flags & R_XNAME && w->name[0][0] == '\0')
		err = -ERANGE;
	return err;
}

/* Extensions are at the request's end: @len bytes at @cursor. */
static int take_extensions(struct fs_worker *w, struct iov_cursor cursor,
			   size_t len)
{
	const char *at = (const char *)w->ext, *end = at + len;

	if (len > sizeof(w->ext) || iov_read(&cursor, w->ext, len) != len)
		return -EINVAL;
	while ((size_t)(end - at) >= sizeof(struct fuse_ext_header)) {
		const struct fuse_ext_header *head = (const void *)at;
		const struct fuse_supp_groups *groups =
			(const void *)(head + 1);

		if (head->size < sizeof(*head) || head->size % 8 ||
		    head->size > (size_t)(end - at))
			return -EINVAL;
		at += head->size;
		if (head->type != FUSE_EXT_GROUPS)
			continue;
		if (head->size < sizeof(*head) + sizeof(*groups) ||
		    groups->nr_groups > ARRAY_SIZE(w->groups) ||
		    groups->nr_groups > (head->size - sizeof(*head) -
					 sizeof(*groups)) / 4)
			return -EINVAL;
		w->nr_groups = groups->nr_groups;
		memcpy(w->groups, groups->groups, w->nr_groups * 4u);
	}
	return at == end ? 0 : -EINVAL;
}

/* Copy what follows the header. @rest: its length, by the header. */
static int take_arguments(struct fs_worker *w, const struct request_op *op,
			  size_t rest)
{
	size_t fixed = op->fixed, ext = 0;
	int err;

	if (op->flags & R_EXT && w->in.total_extlen) {
		struct iov_cursor end = w->readable;

		ext = (size_t)w->in.total_extlen * 8;
		if (ext > rest)
			return -EINVAL;
		rest -= ext;
		iov_skip(&end, rest);
		err = take_extensions(w, end, ext);
		if (err)
			return err;
	}
	if (w->in.opcode == FUSE_SETXATTR &&
	    !session_has(w->fs, FUSE_SETXATTR_EXT))
		fixed = FUSE_COMPAT_SETXATTR_IN_SIZE;
	if (op->flags & R_SHORT && rest < fixed)
		fixed = rest;
	if (rest < fixed)
		return -EINVAL;
	if (fixed < op->fixed)
		memset((char *)w->args + fixed, 0, op->fixed - fixed);
	if (iov_read(&w->readable, w->args, fixed) != fixed)
		return -EINVAL;
	w->args_len = fixed;
	rest -= fixed;
	if (op->flags & (R_NAME | R_XNAME)) {
		err = take_names(w, op, &rest);
		if (err)
			return err;
	}
	/* Nothing may follow the names: "a\0b" is not "a". */
	if (op->flags & (R_NAME | R_XNAME) && !(op->flags & R_BODY) && rest)
		return -EINVAL;
	w->body_len = op->flags & R_BODY ? rest : 0;
	return 0;
}

static int take_node(struct fs_worker *w, const struct request_op *op)
{
	int err = node_get(w->fs, w->in.nodeid, &w->node);

	if (err) {
		w->node = NULL;
		return err;
	}
	if (op->flags & R_DIR && !S_ISDIR(node_type(w->node)))
		return -ENOTDIR;
	return 0;
}

static int decode(struct fs_worker *w, const struct request_op **found)
{
	struct chain *c = &w->chain;
	const struct request_op *op;
	int err;

	iov_init(&w->readable, c->iov, c->nr_readable);
	if (c->readable < sizeof(w->in) ||
	    iov_read(&w->readable, &w->in, sizeof(w->in)) != sizeof(w->in)) {
		memset(&w->in, 0, sizeof(w->in));
		return -EINVAL;
	}
	__atomic_store_n(&w->now_node, w->in.nodeid, __ATOMIC_RELAXED);
	__atomic_store_n(&w->now_queue, c->queue, __ATOMIC_RELAXED);
	__atomic_store_n(&w->now_op, w->in.opcode, __ATOMIC_RELAXED);
	op = *found = request_op(w->in.opcode);
	if (!op)
		return -ENOSYS;
	if (w->in.len < sizeof(w->in) || w->in.len > c->readable)
		return -EINVAL;
	if (c->queue == 0 && !(op->flags & R_HIPRIO))
		return -EINVAL;
	if (!(op->flags & R_ALWAYS) &&
	    !__atomic_load_n(&w->fs->session->minor, __ATOMIC_ACQUIRE))
		return -EIO;
	err = take_arguments(w, op, w->in.len - sizeof(w->in));
	if (!err && op->flags & R_NODE)
		err = take_node(w, op);
	if (!err && op->flags & R_MODIFIES && w->fs->options.readonly)
		err = -EROFS;
	return err;
}

/* ---- answering ---------------------------------------------------------- */

#define ERRNO_MAX	511	/* Linux's FUSE accepts no larger errno */

/* Write the out header. @ret: the payload's length or -errno. */
static uint32_t answer(struct fs_worker *w, int ret)
{
	struct chain *c = &w->chain;
	struct fuse_out_header out = {
		.len = sizeof(out),
		.unique = w->in.unique,
	};
	struct iov_cursor start;

	if (c->writable < sizeof(out))
		return 0;
	w->failed = ret < 0;
	if (ret < 0)
		out.error = ret < -ERRNO_MAX ? -EIO : ret;
	else
		out.len += (uint32_t)ret;
	iov_init(&start, chain_writable(c), c->nr_writable);
	if (iov_write(&start, &out, sizeof(out)) != sizeof(out))
		return 0;
	return out.len;
}

/* Leave room for the reply's header before its payload. */
static void prepare_reply(struct fs_worker *w)
{
	iov_init(&w->writable, chain_writable(&w->chain),
		 w->chain.nr_writable);
	w->writable_len = 0;
	if (w->chain.writable >= sizeof(struct fuse_out_header)) {
		iov_skip(&w->writable, sizeof(struct fuse_out_header));
		w->writable_len = w->chain.writable -
				  sizeof(struct fuse_out_header);
	}
}

static bool is_condemned(struct fs_worker *w)
{
	struct fs *fs = w->fs;
	char text[128];

	if (!journal_condemned(w))
		return false;
	snprintf(text, sizeof(text), "a request (%s) crashed the file server "
		 "twice: it is answered with an error",
		 request_name(w->in.opcode));
	if (fs->event)
		fs->event(fs->event_ctx, FS_EVENT_WARNING, text);
	return true;
}

uint32_t request_run(struct fs_worker *w)
{
	const struct request_op *op = NULL;
	uint32_t len = 0;
	int ret;

	w->node = NULL;
	w->nr_groups = 0;
	w->failed = false;
	w->journal = NULL;
	journal_running = w;
	ret = decode(w, &op);
	w->counts_as = op && w->in.opcode < STATS_OPS ? w->in.opcode : 0;
	if (w->chain.again && is_condemned(w))
		ret = -EIO;
	else if (op && op->flags & R_ONCE && (!ret || w->chain.again) &&
		 journal_begin(w, &len))
		goto out;
	if (op && op->flags & R_SILENT) {
		if (!ret && op->run)
			op->run(w);
		goto out;
	}
	prepare_reply(w);
	if (!ret) {
		ret = op->run(w);
		if (ret == -EIO || ret == -EROFS)
			fs_dump_fault(w, ret);
	}
	len = answer(w, ret);
out:
	if (w->node)
		node_put(w->fs, w->node);
	journal_end(w, len);
	return len;
}
