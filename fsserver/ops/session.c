/* SPDX-License-Identifier: MIT */
/*
 * Operations on the share as a whole: FUSE_INIT with its negotiation,
 * FUSE_DESTROY, file system statistics and syncing.
 *
 * INIT is a table: a flag, and when it is accepted from a guest that offers it.
 * The result is in the arena and outlives a worker. A guest that sends INIT
 * again without DESTROY was rebooted; the state of the old one is dropped
 * first. No guest is refused for a flag that it does not offer.
 */

#include "fsserver/ops/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

/*
 * A request's data pages: the guest takes the least of this, its own limit
 * (256, or the sysctl fs.fuse.max_pages_limit) and what fits into its ring.
 */
#define MAX_PAGES	1020u
#define MAX_WRITE	(MAX_PAGES * 4096u)
#define MAX_BACKGROUND	UINT16_MAX

/*
 * A guest from Linux 6.15 on ends the mount when a request takes longer than
 * its sysctl fs.fuse.default_request_timeout, and a wait for a lock may take
 * longer. This replaces the default by the longest possible time, in seconds.
 */
#define REQUEST_TIMEOUT	UINT16_MAX

static bool always(const struct fs_options *o)
{
	(void)o;
	return true;
}

static bool cached(const struct fs_options *o)
{
	return o->cache != FS_CACHE_NONE;
}

static bool revalidated(const struct fs_options *o)
{
	return o->cache != FS_CACHE_ALWAYS;
}

static bool as_caller(const struct fs_options *o)
{
	return o->access == FS_ACCESS_PASSTHROUGH;
}

static bool keeps_owners(const struct fs_options *o)
{
	return o->access != FS_ACCESS_SQUASH;
}

static bool writeback(const struct fs_options *o)
{
	return o->writeback && o->cache != FS_CACHE_NONE && !o->readonly;
}

static bool posix_lock(const struct fs_options *o)
{
	return o->posix_lock;
}

static bool flock_lock(const struct fs_options *o)
{
	return o->flock;
}

static bool locks(const struct fs_options *o)
{
	return o->posix_lock || o->flock;
}

static bool submounts(const struct fs_options *o)
{
	return o->submounts;
}

static bool acl(const struct fs_options *o)
{
	return o->posix_acl && o->xattr && keeps_owners(o);
}

#define ACL_FLAGS (FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT)

static const struct {
	uint64_t flag;
	bool (*when)(const struct fs_options *o);
} init_flags[] = {
	{ FUSE_ASYNC_READ, always },
	{ FUSE_ATOMIC_O_TRUNC, always },
	{ FUSE_EXPORT_SUPPORT, always },
	{ FUSE_BIG_WRITES, always },
	{ FUSE_HAS_IOCTL_DIR, always },
	{ FUSE_ASYNC_DIO, always },
	{ FUSE_PARALLEL_DIROPS, always },
	{ FUSE_MAX_PAGES, always },
	{ FUSE_INIT_EXT, always },
	{ FUSE_SETXATTR_EXT, always },
	{ FUSE_HANDLE_KILLPRIV_V2, always },
	{ FUSE_DIRECT_IO_ALLOW_MMAP, always },
	{ FUSE_AUTO_INVAL_DATA, revalidated },
	{ FUSE_DO_READDIRPLUS, cached },
	{ FUSE_READDIRPLUS_AUTO, cached },
	{ FUSE_CACHE_SYMLINKS, cached },
	{ FUSE_WRITEBACK_CACHE, writeback },
	{ FUSE_POSIX_LOCKS, posix_lock },
	{ FUSE_FLOCK_LOCKS, flock_lock },
	{ FUSE_REQUEST_TIMEOUT, locks },
	{ FUSE_SUBMOUNTS, submounts },
	{ FUSE_POSIX_ACL, acl },
	{ FUSE_DONT_MASK, acl },
	{ FUSE_CREATE_SUPP_GROUP, keeps_owners },
	/* Then only requests that create have ids; others don't need them. */
	{ FUSE_ALLOW_IDMAP, as_caller },
};

static uint64_t negotiate(const struct fs_options *o, uint64_t offered)
{
	uint64_t flags = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(init_flags); i++)
		if (init_flags[i].when(o))
			flags |= init_flags[i].flag;
	flags &= offered;
	/* ACLs need all three flags. */
	if ((flags & ACL_FLAGS) != ACL_FLAGS)
		flags &= ~(uint64_t)(FUSE_POSIX_ACL | FUSE_DONT_MASK);
	return flags;
}

int op_init(struct fs_worker *w)
{
	const struct fuse_init_in *in = request_args(w);
	struct fs_session *s = w->fs->session;
	struct fuse_init_out out = {
		.major = FUSE_MAJOR,
		.minor = FUSE_MINOR,
	};
	uint64_t flags = in->flags;
	uint32_t minor = in->minor;

	if (w->args_len < offsetof(struct fuse_init_in, flags2))
		return -EINVAL;
	if (in->major > FUSE_MAJOR)
		return reply_put(w, &out, sizeof(out));
	if (in->major < FUSE_MAJOR || minor < FUSE_MINOR_OLDEST)
		return -EPROTO;
	if (minor > FUSE_MINOR)
		minor = FUSE_MINOR;
	if (in->flags & FUSE_INIT_EXT)
		flags |= (uint64_t)in->flags2 << 32;
	fs_drop_guest(w->fs);
	flags = negotiate(&w->fs->options, flags);
	out.minor = minor;
	out.max_readahead = in->max_readahead;
	out.flags = (uint32_t)flags;
	out.flags2 = (uint32_t)(flags >> 32);
	out.max_background = MAX_BACKGROUND;
	out.congestion_threshold = MAX_BACKGROUND / 4 * 3;
	out.max_write = MAX_WRITE;
	out.max_pages = MAX_PAGES;
	out.time_gran = 1;
	if (flags & FUSE_REQUEST_TIMEOUT)
		out.request_timeout = REQUEST_TIMEOUT;
	__atomic_store_n(&s->flags, flags, __ATOMIC_RELAXED);
	__atomic_store_n(&s->minor, minor, __ATOMIC_RELEASE);
	if (!__atomic_exchange_n(&s->mounted, 1, __ATOMIC_RELAXED) &&
	    w->fs->event)
		w->fs->event(w->fs->event_ctx, FS_EVENT_MOUNTED, "");
	return reply_put(w, &out, sizeof(out));
}

int op_destroy(struct fs_worker *w)
{
	fs_drop_guest(w->fs);
	return 0;
}

int op_statfs(struct fs_worker *w)
{
	struct fuse_statfs_out out = { .st = { .blocks = 0 } };
	int fd = node_fd(w, w->node);
	struct statfs sfs;

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &sfs) < 0)
		return -errno;
	out.st.blocks = sfs.f_blocks;
	out.st.bfree = sfs.f_bfree;
	out.st.bavail = sfs.f_bavail;
	out.st.files = sfs.f_files;
	out.st.ffree = sfs.f_ffree;
	out.st.bsize = (uint32_t)sfs.f_bsize;
	out.st.namelen = (uint32_t)sfs.f_namelen;
	out.st.frsize = (uint32_t)(sfs.f_frsize ? sfs.f_frsize : sfs.f_bsize);
	return reply_put(w, &out, sizeof(out));
}

/*
 * A descriptor is kept open for the share's own file system. For others mounted
 * below one is opened each time: a kept one would prevent unmounting.
 */
int op_syncfs(struct fs_worker *w)
{
	const struct node_key *root = &node_at(w->fs, NODE_ROOT)->key;
	int fd = w->fs->session->sync_fd - 1, own = -1, err = 0;

	if (fd < 0 || w->node->key.dev_major != root->dev_major ||
	    w->node->key.dev_minor != root->dev_minor)
		fd = own = node_open(w, w->node, O_RDONLY);
	if (fd < 0)
		return fd;
	will_block(w);
	if (syncfs(fd) < 0)
		err = -errno;
	if (own >= 0)
		close(own);
	return err;
}

/* ---- the end of a guest -------------------------------------------------- */

void fs_drop_guest(struct fs *fs)
{
	struct fs_session *s = fs->session;
	bool mounted = __atomic_exchange_n(&s->mounted, 0, __ATOMIC_RELAXED);

	__atomic_store_n(&s->minor, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&s->flags, 0, __ATOMIC_RELAXED);
	if (fs->locks)
		lock_drop_all(fs);
	handles_drop_all(fs);
	nodes_drop_all(fs);
	if (mounted && fs->event)
		fs->event(fs->event_ctx, FS_EVENT_UNMOUNTED, "");
}
