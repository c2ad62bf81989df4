/* SPDX-License-Identifier: MIT */
/*
 * The guest's locks, as locks on the host.
 *
 * POSIX locks belong to an owner (a process of the guest) and a file: each such
 * pair gets an open file description of its own, whose OFD locks are the
 * owner's. It is opened at the owner's first lock on the file and closed when
 * the owner closes the file (FLUSH). The guest's OFD locks come as the same
 * requests, but their owner is an open file, and no FLUSH names it. So a slot
 * is dropped at the latest when the handle through which it was used last is
 * released; a process has sent its FLUSH by then. flock locks belong to an open
 * file of the guest, whose handle has an open file description.
 *
 * Descriptors are listed in the arena (a slot each, used by index), so that the
 * locks of a crashed worker are its successor's; a slot is published by its
 * `used` word. All else is rebuilt: chains of the slots of one node, in `live`.
 * locks->lock protects both, and the list of waiters. It is not held during a
 * wait: a waiter keeps its slot by `users`, and a slot that is dropped then is
 * marked `dead`, so that its last user closes the descriptor.
 *
 * Nor is it held during an open or a close, which may be a round trip to a file
 * server: a descriptor is opened before the lock is taken, and then its slot is
 * looked up again; a dropped descriptor is closed after the lock is released.
 * Until then, a lock that another thread of the same owner asks for may be
 * refused, as if the request had come before the close. Under the lock are only
 * fcntl() calls that do not wait, and reads of the procfs, which do not touch
 * the share. No other lock is taken under it.
 *
 * A wait has a thread of its own (pool_wait_begin()). A guest never takes one
 * back, so it ends with the lock or with a reset. The kernel finds no cycles
 * among OFD locks: lock_deadlock() does, before each wait, by asking the
 * procfs what the other owners on the file hold (fdinfo). Only cycles of this
 * guest's own owners can be found, and none that forms while all wait already,
 * which takes an owner with several threads. flock has no such check in any
 * kernel.
 *
 * A write lock needs a descriptor that is open for writing. An owner's
 * descriptor is opened like the file through which it locks first. When it asks
 * for a write lock through a writable file later, its read locks are taken with
 * a new descriptor before the old one is closed.
 */

#include "fsserver/ops/locktab.h"
#include "fsserver/pool/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCKS_VERSION	2
#define MAX_SLOTS	65536u
#define LIVE_SIZE	(MAX_SLOTS * sizeof(struct lock_live)) /* rarely used */
#define WHOLE_FILE	((uint64_t)INT64_MAX)
#define MAX_TRIES	16	/* while others drop the slot */
#define BATCH		32	/* descriptors closed at a time */

/* ---- slots -------------------------------------------------------------- */

static uint32_t slot_find(struct fs_locks *l, uint64_t node, uint64_t owner)
{
	uint32_t i;

	for (i = *bucket(l, node); i != NONE; i = l->live[i].next)
		if (l->slots[i].node == node && l->slots[i].owner == owner &&
		    !l->live[i].dead)
			break;
	return i;
}

static void slot_link(struct fs_locks *l, uint32_t i)
{
	uint32_t *head = bucket(l, l->slots[i].node);

	l->live[i] = (struct lock_live){ .next = *head };
	*head = i;
	__atomic_fetch_add(&l->count, 1, __ATOMIC_RELAXED);
}

/* Take a slot for @fd, which it then owns; NONE when all are taken. */
static uint32_t slot_add(struct fs_locks *l, uint64_t node, uint64_t owner,
			 int fd, bool writable)
{
	struct lock_slot *s;
	uint32_t i = l->free;

	if (i != NONE)
		l->free = l->live[i].next;
	else if (l->top < MAX_SLOTS)
		i = l->top++;
	else
		return NONE;
	s = &l->slots[i];
	s->node = node;
	s->owner = owner;
	s->fd = fd;
	s->writable = writable;
	s->held = false;
	__atomic_store_n(&s->used, 1, __ATOMIC_RELEASE);
	slot_link(l, i);
	return i;
}

/*
 * Free the slot. Return: its descriptor, which the caller closes after it has
 * released the lock; that ends its locks.
 */
static int slot_free(struct fs_locks *l, uint32_t i)
{
	uint32_t *link = bucket(l, l->slots[i].node);
	int fd = l->slots[i].fd;

	while (*link != i)
		link = &l->live[*link].next;
	*link = l->live[i].next;
	/* Unlisted before closed: a crash in between can only leak it. */
	__atomic_store_n(&l->slots[i].used, 0, __ATOMIC_RELEASE);
	l->live[i] = (struct lock_live){ .next = l->free };
	l->free = i;
	__atomic_fetch_sub(&l->count, 1, __ATOMIC_RELAXED);
	return fd;
}

/* Called without the lock. @fd: of a slot that was freed, or -1 */
static void slot_close(struct fs *fs, int fd)
{
	if (fd < 0)
		return;
	close(fd);
	fd_uncharge(fs);
}

/*
 * @held: it has a lock now. That is set before this owner's next wait, which is
 * early enough for the search for cycles.
 */
static void slot_put(struct fs *fs, uint32_t i, bool held)
{
	struct fs_locks *l = fs->locks;
	int fd = -1;

	pthread_mutex_lock(&l->lock);
	if (held)
		l->slots[i].held = true;
	if (!--l->live[i].users && l->live[i].dead)
		fd = slot_free(l, i);
	pthread_mutex_unlock(&l->lock);
	slot_close(fs, fd);
}

/*
 * End the slot's locks, and free it, or hide it until its last user frees it.
 * Called with the lock. Return: like slot_free(), or -1 in the latter case.
 */
static int slot_drop(struct fs_locks *l, uint32_t i)
{
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (!l->live[i].users)
		return slot_free(l, i);
	fcntl(l->slots[i].fd, F_OFD_SETLK, &all);
	l->live[i].dead = true;
	return -1;
}

/* ---- getting a descriptor ----------------------------------------------- */

struct transfer {
	int fd;
	int err;
};

static int see_transfer(void *ctx, struct flock *held)
{
	struct transfer *t = ctx;

	held->l_pid = 0;
	if (fcntl(t->fd, F_OFD_SETLK, held))
		t->err = -errno;
	return t->err;
}

/*
 * Replace a read-only descriptor by @fd, a writable one, with its read locks.
 * Called with the lock.
 *
 * Return: the old descriptor, for the caller to close without the lock; -errno.
 */
static int slot_upgrade(struct fs_worker *w, uint32_t i, int fd)
{
	struct lock_slot *s = &w->fs->locks->slots[i];
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	struct transfer t = { .fd = fd };
	int old;

	/* A thread that waits would get its lock with the old descriptor. */
	if (w->fs->locks->live[i].users)
		return -ENOLCK;
	if (s->held && locks_of(w, s->fd, see_transfer, &t) < 0 && !t.err)
		t.err = -ENOLCK;
	if (t.err)
		return t.err;
	old = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
	if (old < 0)
		return -errno;
	/* In place: the slot's descriptor number does not change. */
	if (dup3(fd, s->fd, O_CLOEXEC) < 0) {
		t.err = -errno;
		close(old);	/* the slot's own is still open: keeps locks */
		return t.err;
	}
	s->writable = true;
	fcntl(old, F_OFD_SETLK, &all);
	return old;
}

static int open_for(struct fs_worker *w, bool *writable)
{
	int fd = *writable ? node_open(w, w->node, O_RDWR) : -EACCES;

	/* A file that may not be read can still be locked for writing. */
	if (fd == -EACCES && *writable)
		fd = node_open(w, w->node, O_WRONLY);
	else if (fd < 0 && !*writable)
		fd = node_open(w, w->node, O_RDONLY);
	return fd;
}

/* Open a slot's descriptor and list it, unless another thread has done so. */
static int slot_make(struct fs_worker *w, uint64_t owner, bool writable)
{
	struct fs_locks *l = w->fs->locks;
	uint64_t node = node_id(w->node);
	int fd, err = fd_charge(w->fs, false);

	if (err)
		return err;
	fd = open_for(w, &writable);
	if (fd < 0) {
		fd_uncharge(w->fs);
		return fd;
	}
	pthread_mutex_lock(&l->lock);
	if (slot_find(l, node, owner) == NONE) {
		if (slot_add(l, node, owner, fd, writable) == NONE)
			err = -ENOLCK;
		else
			fd = -1;
	}
	pthread_mutex_unlock(&l->lock);
	slot_close(w->fs, fd);
	return err;
}

/*
 * The slot of the request's owner and node, in use by the caller.
 * @writable:	whether the guest locks through a file open for writing
 *
 * A missing descriptor is opened without the lock, and then the slot is looked
 * up again: it may be gone, or another thread may have opened it.
 *
 * Return: 0, -EBADF for a write lock without @writable, -ENOLCK, -errno.
 */
static int slot_get(struct fs_worker *w, const struct fuse_lk_in *in,
		    bool writable, uint32_t *slot)
{
	struct fs_locks *l = w->fs->locks;
	bool write_lock = in->lk.type == F_WRLCK;
	int fd = -1, old = -1, err = 0;
	unsigned int tries = MAX_TRIES;
	uint32_t i;

	if (write_lock && !writable)
		return -EBADF;
	pthread_mutex_lock(&l->lock);
	for (;;) {
		bool missing;

		i = slot_find(l, node_id(w->node), in->owner);
		missing = i == NONE;
		if (!missing && (!write_lock || l->slots[i].writable))
			break;
		if (!missing && fd >= 0) {
			old = slot_upgrade(w, i, fd);
			err = old < 0 ? old : 0;
			break;
		}
		if (!missing && l->live[i].users) {
			err = -ENOLCK;
			break;
		}
		pthread_mutex_unlock(&l->lock);
		if (!tries--)
			err = -ENOLCK;
		else if (missing)
			err = slot_make(w, in->owner, writable);
		else if ((fd = node_open(w, w->node, O_RDWR)) < 0)
			err = fd;
		pthread_mutex_lock(&l->lock);
		if (err)
			break;
	}
	if (!err) {
		l->slots[i].pid = in->lk.pid;
		l->slots[i].fh = in->fh;
		l->live[i].users++;
		*slot = i;
	}
	pthread_mutex_unlock(&l->lock);
	if (fd >= 0)
		close(fd);
	if (old >= 0)
		close(old);
	return err;
}

/* ---- the operations ----------------------------------------------------- */

/* The guest's range, whose end is inclusive, as a struct flock. */
static int to_flock(const struct fuse_file_lock *lk, struct flock *fl)
{
	if (lk->start > WHOLE_FILE || lk->end > WHOLE_FILE ||
	    lk->start > lk->end || lk->type > F_UNLCK)
		return -EINVAL;
	*fl = (struct flock){
		.l_type = (short)lk->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lk->start,
	};
	if (lk->end != WHOLE_FILE)
		fl->l_len = (off_t)(lk->end - lk->start + 1);
	return 0;
}

/* Wait for @fl, which F_OFD_SETLK refused. The caller uses the slot. */
static int wait_posix(struct fs_worker *w, uint32_t slot, struct flock *fl)
{
	struct fs_locks *l = w->fs->locks;
	struct waiter self = { .slot = slot, .want = *fl }, **link;
	bool deadlock;
	int err;

	if (!w->fs->options.block_locks)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&l->lock);
	/* Listed first: the last one of a cycle finds all others. */
	l->round++;
	self.next = l->waiters;
	l->waiters = &self;
	deadlock = self.next && w->fs->place.proc >= 0 &&
		   lock_deadlock(w, &self);
	pthread_mutex_unlock(&l->lock);
	err = deadlock ? -EDEADLK : pool_wait_begin(w);
	if (!err) {
		do {
			err = pool_wait_interrupted(w) ? -EINTR :
			      fcntl(l->slots[slot].fd, F_OFD_SETLKW, fl) ?
							 -errno : 0;
		} while (err == -EINTR && !pool_wait_interrupted(w));
		pool_wait_end(w);
	}
	pthread_mutex_lock(&l->lock);
	for (link = &l->waiters; *link != &self; link = &(*link)->next)
		;
	*link = self.next;
	pthread_mutex_unlock(&l->lock);
	return err;
}

static int set_posix(struct fs_worker *w, const struct fuse_lk_in *in,
		     bool writable)
{
	struct fs_locks *l = w->fs->locks;
	struct flock fl;
	uint32_t slot;
	int err = to_flock(&in->lk, &fl);

	if (err)
		return err;
	if (fl.l_type == F_UNLCK) {
		pthread_mutex_lock(&l->lock);
		slot = slot_find(l, node_id(w->node), in->owner);
		if (slot != NONE && fcntl(l->slots[slot].fd, F_OFD_SETLK, &fl))
			err = -errno;
		pthread_mutex_unlock(&l->lock);
		return err;
	}
	err = slot_get(w, in, writable, &slot);
	if (err)
		return err;
	if (fcntl(l->slots[slot].fd, F_OFD_SETLK, &fl)) {
		err = errno == EACCES ? -EAGAIN : -errno;
		if (err == -EAGAIN && w->in.opcode == FUSE_SETLKW)
			err = wait_posix(w, slot, &fl);
	}
	slot_put(w->fs, slot, !err);
	return err;
}

static int set_flock(struct fs_worker *w, const struct fuse_lk_in *in, int fd)
{
	static const int ops[] = {
		[F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN,
	};
	int err;

	if (in->lk.type > F_UNLCK)
		return -EINVAL;
	if (!flock(fd, ops[in->lk.type] | LOCK_NB))
		return 0;
	err = errno;
	if (err != EWOULDBLOCK || w->in.opcode != FUSE_SETLKW)
		return -err;
	if (!w->fs->options.block_locks)
		return -EOPNOTSUPP;
	err = pool_wait_begin(w);
	if (err)
		return err;
	do {
		err = pool_wait_interrupted(w) ? -EINTR :
		      flock(fd, ops[in->lk.type]) ? -errno : 0;
	} while (err == -EINTR && !pool_wait_interrupted(w));
	pool_wait_end(w);
	return err;
}

int lock_setlk(struct fs_worker *w)
{
	const struct fuse_lk_in *in = request_args(w);
	bool is_flock = in->lk_flags & FUSE_LK_FLOCK, writable;
	struct fs_handle *handle;
	int err;

	if (!w->fs->locks || !(is_flock ? w->fs->options.flock :
					  w->fs->options.posix_lock))
		return -ENOSYS;
	err = handle_get(w, in->fh, &handle);
	if (err)
		return err;
	if (is_flock) {
		err = set_flock(w, in, handle_fd(handle));
	} else {
		int flags = fcntl(handle_fd(handle), F_GETFL);

		writable = (flags & O_ACCMODE) != O_RDONLY;
		err = set_posix(w, in, writable);
	}
	handle_put(w, handle);
	return err;
}

/* The guest's process that holds locks on the file, if there is only one. */
static uint32_t holder_pid(struct fs_locks *l, uint64_t node, uint32_t except)
{
	uint32_t pid = 0;

	for (uint32_t i = *bucket(l, node); i != NONE; i = l->live[i].next) {
		if (l->slots[i].node != node || i == except ||
		    !l->slots[i].held)
			continue;
		if (pid)
			return 0;
		pid = l->slots[i].pid;
	}
	return pid;
}

int lock_getlk(struct fs_worker *w)
{
	const struct fuse_lk_in *in = request_args(w);
	struct fuse_lk_out out = { .lk = { .type = F_UNLCK } };
	struct fs_locks *l = w->fs->locks;
	struct fs_handle *handle;
	struct flock fl;
	uint32_t slot;
	int err;

	if (!l || !w->fs->options.posix_lock)
		return -ENOSYS;
	err = to_flock(&in->lk, &fl);
	if (!err && fl.l_type == F_UNLCK)
		err = -EINVAL;
	if (!err)
		err = handle_get(w, in->fh, &handle);
	if (err)
		return err;
	pthread_mutex_lock(&l->lock);
	slot = slot_find(l, node_id(w->node), in->owner);
	if (fcntl(slot == NONE ? handle_fd(handle) : l->slots[slot].fd,
		  F_OFD_GETLK, &fl)) {
		err = -errno;
	} else if (fl.l_type != F_UNLCK) {
		out.lk.type = (uint32_t)fl.l_type;
		out.lk.start = (uint64_t)fl.l_start;
		out.lk.end = fl.l_len ?
			(uint64_t)(fl.l_start + fl.l_len - 1) : WHOLE_FILE;
		out.lk.pid = fl.l_pid > 0 ? (uint32_t)fl.l_pid :
			holder_pid(l, node_id(w->node), slot);
	}
	pthread_mutex_unlock(&l->lock);
	handle_put(w, handle);
	return err ? err : reply_put(w, &out, sizeof(out));
}

void lock_flush(struct fs_worker *w, uint64_t owner)
{
	struct fs_locks *l = w->fs->locks;
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	uint32_t i;
	int fd = -1;

	if (!__atomic_load_n(&l->count, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&l->lock);
	i = slot_find(l, node_id(w->node), owner);
	if (i != NONE && !l->live[i].users)
		fd = slot_free(l, i);
	else if (i != NONE)	/* another thread of the process waits */
		fcntl(l->slots[i].fd, F_OFD_SETLK, &all);
	pthread_mutex_unlock(&l->lock);
	slot_close(w->fs, fd);
}

/* Drop slots of @node and @fh. Return: whether more may be left. */
static bool drop_some(struct fs *fs, uint64_t node, uint64_t fh)
{
	struct fs_locks *l = fs->locks;
	int fds[BATCH];
	unsigned int nr = 0;
	uint32_t i, next;

	pthread_mutex_lock(&l->lock);
	for (i = *bucket(l, node); i != NONE && nr < BATCH; i = next) {
		next = l->live[i].next;
		if (l->slots[i].node != node || l->slots[i].fh != fh ||
		    l->live[i].dead)
			continue;
		fds[nr] = slot_drop(l, i);
		nr += fds[nr] >= 0;
	}
	pthread_mutex_unlock(&l->lock);
	for (unsigned int n = 0; n < nr; n++)
		slot_close(fs, fds[n]);
	return nr == BATCH;
}

void lock_release(struct fs_worker *w, struct fs_handle *handle,
		  const struct fuse_release_in *in)
{
	struct fs_locks *l = w->fs->locks;

	/* For a RELEASE without FLUSH, which Linux does not send. */
	lock_flush(w, in->lock_owner);
	/* Another request may still use the handle. */
	if (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
		flock(handle_fd(handle), LOCK_UN);
	if (!__atomic_load_n(&l->count, __ATOMIC_RELAXED))
		return;
	while (drop_some(w->fs, node_id(w->node), in->fh))
		;
}

/* ---- the table as a whole ----------------------------------------------- */

void lock_drop_all(struct fs *fs)
{
	struct fs_locks *l = fs->locks;

	if (!l)
		return;
	if (fs->pool)
		pool_interrupt(fs->pool);
	pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < l->top; i++) {
		int fd = l->slots[i].used && !l->live[i].dead ?
			 slot_drop(l, i) : -1;

		if (fd < 0)
			continue;
		pthread_mutex_unlock(&l->lock);
		slot_close(fs, fd);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
}

int lock_open(struct fs *fs)
{
	uint64_t size = MAX_SLOTS * sizeof(struct lock_slot);
	struct fs_locks *l;
	void *mem;
	int err;

	err = arena_region(fs->arena, ARENA_LOCKS, LOCKS_VERSION, &size, &mem,
			   NULL);
	if (err)
		return err;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->live = pages_alloc(LIVE_SIZE);
	if (!l->live) {
		free(l);
		return -ENOMEM;
	}
	l->slots = mem;
	l->free = NONE;
	for (uint32_t i = 0; i < BUCKETS; i++)
		l->buckets[i] = NONE;
	pthread_mutex_init(&l->lock, NULL);
	/*
	 * An earlier worker's slots. They are used from the start, so that a
	 * search from there for the last one touches no unused page.
	 */
	for (uint32_t i = 0; i < MAX_SLOTS; i++) {
		if (!l->slots[i].used && !l->slots[i].owner &&
		    !l->slots[i].node)
			break;
		l->top = i + 1;
		if (l->slots[i].used) {
			if (fd_charge(fs, true) < 0)
				err = -EMFILE;
			/* Perhaps not set when the worker died. */
			l->slots[i].held = true;
			slot_link(l, i);
			continue;
		}
		l->live[i].next = l->free;
		l->free = i;
	}
	fs->locks = l;
	return err;
}

int lock_mark(struct arena *arena, void (*mark)(void *ctx, int fd), void *ctx)
{
	const struct lock_slot *slot;
	uint64_t size = 0;
	void *mem;
	int err = arena_region(arena, ARENA_LOCKS, LOCKS_VERSION, &size, &mem,
			       NULL);

	if (err)
		return err == -ENOENT ? 0 : err;
	slot = mem;
	/* The end is found like in lock_open(). */
	for (uint32_t i = 0; i < MAX_SLOTS &&
	     (slot[i].used || slot[i].owner || slot[i].node); i++)
		if (slot[i].used)
			mark(ctx, slot[i].fd);
	return 0;
}

void lock_close(struct fs *fs)
{
	struct fs_locks *l = fs->locks;

	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	pages_free(l->live, LIVE_SIZE);
	free(l);
	fs->locks = NULL;
}
