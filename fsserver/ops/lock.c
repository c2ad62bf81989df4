/* SPDX-License-Identifier: MIT */
/*
 * Locks of the guest that are locks on the host.
 *
 * POSIX locks belong to an owner (a process of the guest) and a file: each such
 * pair gets an open file description of its own, whose OFD locks are the
 * owner's. It is opened at the owner's first lock on the file and closed when
 * the owner closes the file (FLUSH). The guest's own OFD locks look the same,
 * but their owner is an open file and no FLUSH ever names it: what was locked
 * last through a handle goes with that handle at the latest (a process has
 * flushed by then). flock locks belong to an open file of the guest, which has
 * its open file description in its handle already.
 *
 * Descriptors are listed in the arena (a slot each, used by index), so that the
 * locks of a crashed worker are its successor's; a slot is published by its
 * `used` word. All else is rebuilt: chains of the slots of one node, in `live`.
 * locks->lock protects both, and the list of waiters. It is not held over a
 * wait: a waiter keeps its slot with `users`, and whoever drops the slot then
 * leaves the descriptor for it to close (`dead`).
 *
 * A wait has a thread of its own (pool_wait_begin()). A guest never takes one
 * back, so it ends with the lock or with a reset. The kernel finds no cycles
 * among OFD locks: find_deadlock() does, before each wait, by asking the
 * procfs what the other owners on the file hold (fdinfo). Only cycles of this
 * guest's own owners can be found, and none that forms while all wait already,
 * which takes an owner with several threads. flock has no such check in any
 * kernel.
 *
 * A write lock needs a descriptor that is open for writing. An owner's is
 * opened like the file through which it locks; when it later asks for a write
 * lock through another that is open for writing, its read locks are taken with
 * the new descriptor before the old one goes.
 */

#include "fsserver/ops/ops.h"
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
#define BUCKETS		1024u
#define NONE		UINT32_MAX
#define WHOLE_FILE	((uint64_t)INT64_MAX)
#define MAX_DEPTH	64	/* of a cycle of waiters */

struct lock_slot {		/* in the arena */
	uint64_t node;		/* the guest's node id and owner: the key */
	uint64_t owner;
	uint64_t fh;		/* the guest's, through which it locked last */
	int32_t fd;
	uint32_t pid;		/* in the guest, who locked last */
	uint16_t used;
	uint8_t writable;
	uint8_t held;		/* may have locks */
	uint32_t reserved;
};

struct lock_live {
	uint32_t next;		/* slot in the same bucket, or free */
	uint16_t users;		/* threads that use the descriptor */
	bool dead;		/* the last of them closes it */
};

struct waiter {
	struct waiter *next;
	uint32_t slot;
	unsigned int round;	/* of the last search that came by */
	struct flock want;
};

struct fs_locks {
	pthread_mutex_t lock;	/* all below, and the slots; a leaf */
	struct lock_slot *slots;
	struct lock_live *live;
	uint32_t buckets[BUCKETS];
	uint32_t free, top;	/* first free slot; slots ever used */
	unsigned int count;	/* atomic: of slots in use */
	struct waiter *waiters;
	unsigned int round;	/* searches for cycles so far */
};

/* ---- slots -------------------------------------------------------------- */

static uint32_t *bucket(struct fs_locks *l, uint64_t node)
{
	return &l->buckets[node * 0x9e3779b97f4a7c15ull >> 54];
}

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

/* Take a slot for @fd, which becomes its own; NONE when all are taken. */
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

/* Close its descriptor, which ends its locks, and let the slot go. */
static void slot_free(struct fs *fs, uint32_t i)
{
	struct fs_locks *l = fs->locks;
	uint32_t *link = bucket(l, l->slots[i].node);

	while (*link != i)
		link = &l->live[*link].next;
	*link = l->live[i].next;
	/* First unlisted, then closed: a crash between leaks at most. */
	__atomic_store_n(&l->slots[i].used, 0, __ATOMIC_RELEASE);
	close(l->slots[i].fd);
	fd_uncharge(fs);
	l->live[i] = (struct lock_live){ .next = l->free };
	l->free = i;
	__atomic_fetch_sub(&l->count, 1, __ATOMIC_RELAXED);
}

/*
 * @held: it has a lock now. Said no later than before this owner's next wait,
 * which is early enough for whoever closes a cycle.
 */
static void slot_put(struct fs *fs, uint32_t i, bool held)
{
	struct fs_locks *l = fs->locks;

	pthread_mutex_lock(&l->lock);
	if (held)
		l->slots[i].held = true;
	if (!--l->live[i].users && l->live[i].dead)
		slot_free(fs, i);
	pthread_mutex_unlock(&l->lock);
}

/* Whoever uses the slot now, it is nobody's to find. Called with the lock. */
static void slot_drop(struct fs *fs, uint32_t i)
{
	struct fs_locks *l = fs->locks;
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (!l->live[i].users) {
		slot_free(fs, i);
		return;
	}
	fcntl(l->slots[i].fd, F_OFD_SETLK, &all);
	l->live[i].dead = true;
}

/* ---- cycles ------------------------------------------------------------- */

static bool overlap(const struct flock *a, const struct flock *b)
{
	if (a->l_type != F_WRLCK && b->l_type != F_WRLCK)
		return false;
	return (!a->l_len || b->l_start < a->l_start + a->l_len) &&
	       (!b->l_len || a->l_start < b->l_start + b->l_len);
}

struct conflict {
	struct flock want;
	unsigned int seen;
};

static int see_conflict(void *ctx, struct flock *held)
{
	struct conflict *c = ctx;

	c->seen++;
	return overlap(&c->want, held);
}

/*
 * Whether a lock of slot @i is in the way of @want. One that has none is not
 * asked again: many owners may have had their turn. Called with the lock.
 */
static bool in_the_way(struct fs_worker *w, uint32_t i,
		       const struct flock *want)
{
	struct fs_locks *l = w->fs->locks;
	struct conflict c = { .want = *want };
	int ret = locks_of(w, l->slots[i].fd, see_conflict, &c);

	if (!ret && !c.seen && !l->live[i].users)
		l->slots[i].held = false;
	return ret == 1;
}

/*
 * Whether what @wait wants is held by @target's owner, or by one who waits for
 * something that is, and so on. Called with the lock.
 */
static bool find_deadlock(struct fs_worker *w, struct waiter *wait,
			  uint64_t target, unsigned int depth)
{
	struct fs_locks *l = w->fs->locks;
	uint64_t node = l->slots[wait->slot].node;

	if (depth == MAX_DEPTH)
		return false;
	wait->round = l->round;
	for (uint32_t i = *bucket(l, node); i != NONE; i = l->live[i].next) {
		const struct lock_slot *s = &l->slots[i];

		if (s->node != node || i == wait->slot || !s->held ||
		    !in_the_way(w, i, &wait->want))
			continue;
		if (s->owner == target)
			return true;
		for (struct waiter *o = l->waiters; o; o = o->next)
			if (l->slots[o->slot].owner == s->owner &&
			    o->round != l->round &&
			    find_deadlock(w, o, target, depth + 1))
				return true;
	}
	return false;
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

/* Replace a read-only descriptor by a writable one, with its read locks. */
static int slot_upgrade(struct fs_worker *w, uint32_t i)
{
	struct lock_slot *s = &w->fs->locks->slots[i];
	struct transfer t = { .fd = -1 };

	/* A thread that waits would get its lock with the old descriptor. */
	if (w->fs->locks->live[i].users)
		return -ENOLCK;
	t.fd = node_open(w, w->node, O_RDWR);
	if (t.fd < 0)
		return t.fd;
	if (s->held && locks_of(w, s->fd, see_transfer, &t) < 0 && !t.err)
		t.err = -ENOLCK;
	/* In place: the slot's number stays, whoever uses it. */
	if (!t.err && dup3(t.fd, s->fd, O_CLOEXEC) < 0)
		t.err = -errno;
	close(t.fd);
	if (!t.err)
		s->writable = true;
	return t.err;
}

static int open_for(struct fs_worker *w, bool *writable)
{
	int fd = *writable ? node_open(w, w->node, O_RDWR) : -EACCES;

	/* Without the right to read it can still be locked for writing. */
	if (fd == -EACCES && *writable)
		fd = node_open(w, w->node, O_WRONLY);
	else if (fd < 0 && !*writable)
		fd = node_open(w, w->node, O_RDONLY);
	return fd;
}

/*
 * The slot of the request's owner and node, in use by the caller.
 * @writable:	whether the guest locks through a file open for writing
 *
 * Return: 0, -EBADF for a write lock without @writable, -ENOLCK, -errno.
 */
static int slot_get(struct fs_worker *w, const struct fuse_lk_in *in,
		    bool writable, uint32_t *slot)
{
	struct fs_locks *l = w->fs->locks;
	uint64_t node = node_id(w->node);
	bool write_lock = in->lk.type == F_WRLCK;
	int fd = -1, err = 0;
	uint32_t i;

	if (write_lock && !writable)
		return -EBADF;
	pthread_mutex_lock(&l->lock);
	i = slot_find(l, node, in->owner);
	if (i == NONE) {
		pthread_mutex_unlock(&l->lock);
		err = fd_charge(w->fs, false);
		if (err)
			return err;
		fd = open_for(w, &writable);
		pthread_mutex_lock(&l->lock);
		/* Another thread of that process may have been as fast. */
		i = slot_find(l, node, in->owner);
		if (i == NONE && fd >= 0) {
			i = slot_add(l, node, in->owner, fd, writable);
			err = i == NONE ? -ENOLCK : 0;
			fd = i == NONE ? fd : -1;
		} else {
			err = fd < 0 ? fd : 0;
		}
		if (err || fd >= 0) {
			if (fd >= 0)
				close(fd);
			fd_uncharge(w->fs);
		}
	}
	if (!err && write_lock && !l->slots[i].writable)
		err = slot_upgrade(w, i);
	if (!err) {
		l->slots[i].pid = in->lk.pid;
		l->slots[i].fh = in->fh;
		l->live[i].users++;
		*slot = i;
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

/* ---- the operations ----------------------------------------------------- */

/* The guest's range (its end is inclusive) as fcntl(2) has it. */
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

/* Wait for @fl, which was refused just now. The slot is in use. */
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
		   find_deadlock(w, &self, l->slots[slot].owner, 0);
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

/* The guest's process that holds what is in the way, if it can only be one. */
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

	if (!__atomic_load_n(&l->count, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&l->lock);
	i = slot_find(l, node_id(w->node), owner);
	if (i != NONE && !l->live[i].users)
		slot_free(w->fs, i);
	else if (i != NONE)	/* another thread of the process waits */
		fcntl(l->slots[i].fd, F_OFD_SETLK, &all);
	pthread_mutex_unlock(&l->lock);
}

void lock_release(struct fs_worker *w, struct fs_handle *handle,
		  const struct fuse_release_in *in)
{
	struct fs_locks *l = w->fs->locks;
	uint64_t node = node_id(w->node);
	uint32_t i, next;

	/* A raw RELEASE without FLUSH; a kernel has flushed by now. */
	lock_flush(w, in->lock_owner);
	/* The handle may live on for a while in another request. */
	if (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
		flock(handle_fd(handle), LOCK_UN);
	if (!__atomic_load_n(&l->count, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&l->lock);
	for (i = *bucket(l, node); i != NONE; i = next) {
		next = l->live[i].next;
		if (l->slots[i].node == node && l->slots[i].fh == in->fh &&
		    !l->live[i].dead)
			slot_drop(w->fs, i);
	}
	pthread_mutex_unlock(&l->lock);
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
	for (uint32_t i = 0; i < l->top; i++)
		if (l->slots[i].used && !l->live[i].dead)
			slot_drop(fs, i);
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
	/* An earlier worker's. Slots are taken from the start: no page of the
	 * rest is touched by looking for the last one from there. */
	for (uint32_t i = 0; i < MAX_SLOTS; i++) {
		if (!l->slots[i].used && !l->slots[i].owner &&
		    !l->slots[i].node)
			break;
		l->top = i + 1;
		if (l->slots[i].used) {
			if (fd_charge(fs, true) < 0)
				err = -EMFILE;
			/* Said too late, perhaps; locks_of() will tell. */
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
	/* As lock_open() looks for the last one. */
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
