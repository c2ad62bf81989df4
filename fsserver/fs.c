/* SPDX-License-Identifier: MIT */
/*
 * The file server as a whole: default options, opening and closing its parts,
 * and the end of a guest.
 *
 * The order of parts: session and nodes, to which all others refer; then
 * handles, locks, the pool whose threads use all of them; and the system call
 * filter last, when everything is open. Closing is in the reverse order; the
 * pool's threads end before anything that they use.
 *
 * The process's working directory becomes the procfs, since the calls on
 * extended attributes take no directory descriptor; and its umask 0, since the
 * guest's kernel has applied its own.
 */

#include "fsserver/confine/confine.h"
#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"
#include "fsserver/pool/pool.h"
#include "fsserver/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

void fs_options_init(struct fs_options *o)
{
	*o = (struct fs_options){
		.cache = FS_CACHE_AUTO,
		.xattr = true,
		.posix_acl = true,
		.posix_lock = true,
		.flock = true,
		.block_locks = true,
		.access = geteuid() == 0 ? FS_ACCESS_PASSTHROUGH :
					   FS_ACCESS_SQUASH,
		.sandbox = FS_SANDBOX_AUTO,
		.seccomp = true,
		.timeout_ms = 1000,
	};
}

static void options_free(struct fs_options *o)
{
	for (unsigned int i = 0; i < o->nr_hide; i++)
		free((void *)(uintptr_t)o->hide[i]);
	free((void *)(uintptr_t)o->xattr_map);
	free((void *)(uintptr_t)o->name);
}

/* Copies strings too; they stay until fs_close(). */
static int options_copy(struct fs_options *to, const struct fs_options *from)
{
	bool failed = false;

	*to = *from;
	to->dir = NULL;
	to->name = from->name ? strdup(from->name) : NULL;
	to->xattr_map = from->xattr_map ? strdup(from->xattr_map) : NULL;
	failed |= (from->name && !to->name) ||
		  (from->xattr_map && !to->xattr_map);
	for (unsigned int i = 0; i < from->nr_hide; i++) {
		to->hide[i] = strdup(from->hide[i]);
		failed |= !to->hide[i];
	}
	return failed ? -ENOMEM : 0;
}

/*
 * The descriptor by which SYNCFS syncs the share's own file system. The kernel
 * reports a write error once for each descriptor that was open before it; so
 * this one is opened at the start, and stays open. -1 where the root may not be
 * read: then SYNCFS opens one.
 */
static int session_sync_fd(struct fs *fs)
{
	return openat(fs->place.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int session_open(struct fs *fs)
{
	uint64_t size = sizeof(*fs->session);
	struct statfs sfs;
	bool fresh;
	void *mem;
	int err = arena_region(fs->arena, ARENA_SESSION, SESSION_VERSION,
			       &size, &mem, &fresh);

	if (err)
		return err;
	fs->session = mem;
	if (!fresh)
		return 0;
	fs->session->sync_fd = session_sync_fd(fs) + 1;
	fs->session->writable = fstatfs(fs->place.root, &sfs) < 0 ||
				!(sfs.f_flags & ST_RDONLY);
	return 0;
}

static void session_close(struct fs *fs)
{
	if (!fs->session || !fs->session->sync_fd)
		return;
	close(fs->session->sync_fd - 1);
	fs->session->sync_fd = 0;
}

/* The session of an arena that no worker uses; NULL before there is one. */
static int session_find(struct arena *arena, struct fs_session **session)
{
	uint64_t size = 0;
	void *mem = NULL;
	int err = arena_region(arena, ARENA_SESSION, SESSION_VERSION, &size,
			       &mem, NULL);

	*session = err ? NULL : mem;
	return err == -ENOENT ? 0 : err;
}

static int session_mark(struct arena *arena, void (*mark)(void *ctx, int fd),
			void *ctx)
{
	struct fs_session *session;
	int err = session_find(arena, &session);

	if (session)
		mark(ctx, session->sync_fd - 1);
	return err;
}

int fs_squeeze(struct arena *arena)
{
	struct fs_session *session;
	int err = session_find(arena, &session);

	if (session)
		session->squeeze++;
	return err;
}

int fs_open(struct fs **fs, const struct fs_setup *setup)
{
	struct fs *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->place = *setup->place;
	f->arena = setup->arena;
	f->ops = setup->ops;
	f->ops_ctx = setup->ops_ctx;
	f->queues = setup->queues;
	f->event = setup->event;
	f->event_ctx = setup->event_ctx;
	umask(0);
	err = options_copy(&f->options, setup->options);
	if (!err && f->place.proc >= 0 && fchdir(f->place.proc) < 0)
		err = -errno;
	if (!err)
		err = session_open(f);
	if (!err)
		err = nodes_open(f);
	if (!err && f->options.inode_handles)
		err = byhandle_start(f);
	if (!err)
		err = journal_open(f);
	if (!err)
		err = handles_open(f);
	if (!err && (f->options.posix_lock || f->options.flock))
		err = lock_open(f);
	if (!err)
		nodes_settle(f);
	if (!err)
		err = pool_open(&f->pool, f, request_run);
	if (!err)
		err = fs_dump_open(f, setup->stats);
	if (!err)
		err = seccomp_worker(f);
	if (err) {
		fs_close(f);
		return err;
	}
	*fs = f;
	return 0;
}

void fs_close(struct fs *fs)
{
	if (!fs)
		return;
	fs_dump_close(fs);
	if (fs->pool)
		pool_close(fs->pool);
	if (fs->locks)
		lock_close(fs);
	handles_close(fs);
	nodes_close(fs);
	byhandle_stop(fs);
	session_close(fs);
	options_free(&fs->options);
	free(fs);
}

int fs_state_fds(struct arena *arena, void (*mark)(void *ctx, int fd),
		 void *ctx)
{
	int err = session_mark(arena, mark, ctx);

	if (!err)
		err = nodes_mark(arena, mark, ctx);
	if (!err)
		err = handles_mark(arena, mark, ctx);
	return err ? err : lock_mark(arena, mark, ctx);
}

static int consumer_start(void *ctx, unsigned int lane)
{
	return pool_start(((struct fs *)ctx)->pool, lane);
}

static void consumer_stop(void *ctx, unsigned int lane)
{
	pool_stop(((struct fs *)ctx)->pool, lane);
}

static void consumer_reset(void *ctx)
{
	struct fs *fs = ctx;

	pool_interrupt(fs->pool);
	fs_drop_guest(fs);
}

const struct chain_consumer fs_consumer = {
	.start = consumer_start,
	.stop = consumer_stop,
	.reset = consumer_reset,
};
