/* SPDX-License-Identifier: MIT */
/*
 * Which OFD locks a descriptor has. No system call tells; the procfs does, in
 * lines of the descriptor's fdinfo, which the kernel writes for one open file
 * description at a time. It is the server's own procfs and its own descriptor,
 * so nothing here comes from a guest.
 *
 * Who needs the search: programs that rely on EDEADLK, as on a local disk (tdb
 * tries again upon it). Without it such a program waits until it is killed.
 *
 * What it costs: nothing unless a lock is refused while another request waits
 * already. Then fdinfo is opened, read and closed once for each owner with
 * locks on the file, and on each further file of the chain of waiters. The
 * table's lock is held during that, because slots and waiters must stay; other
 * lock requests of the guest wait for that. The procfs answers from memory.
 *
 * What it does not find: cycles with processes of the host, and cycles that
 * form when all their owners wait already, which takes an owner with several
 * threads.
 */

#include "fsserver/ops/locktab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH	64	/* of a cycle of waiters */

/*
 * One "lock:" line of fdinfo. Return: whether it is one of an OFD lock.
 *
 *   lock:  1: OFDLCK ADVISORY  WRITE -1 08:01:4711 0 EOF
 */
static bool parse_held(const char *line, struct flock *held)
{
	char kind[8], type[8], end[24];
	long long start;

	if (sscanf(line, "lock: %*d: %7s %*s %7s %*d %*s %lld %23s", kind, type,
		   &start, end) != 4 || strcmp(kind, "OFDLCK") != 0)
		return false;
	*held = (struct flock){
		.l_type = strcmp(type, "WRITE") ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = start,
	};
	if (strcmp(end, "EOF") != 0)
		held->l_len = strtoll(end, NULL, 10) - start + 1;
	return true;
}

int locks_of(struct fs_worker *w, int fd,
	     int (*see)(void *ctx, struct flock *held), void *ctx)
{
	char path[40], *line, *next;
	struct flock held;
	size_t len = 0;
	ssize_t n;
	int info, ret = 0;

	snprintf(path, sizeof(path), "self/fdinfo/%d", fd);
	info = openat(w->fs->place.proc, path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	while (len < FS_SCRATCH - 1 &&
	       (n = read(info, w->scratch + len, FS_SCRATCH - 1 - len)) > 0)
		len += (size_t)n;
	close(info);
	w->scratch[len] = '\0';
	for (line = w->scratch; line && !ret; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (parse_held(line, &held))
			ret = see(ctx, &held);
	}
	/* More than a thousand locks: the rest was not read. */
	return !ret && len == FS_SCRATCH - 1 ? -EOVERFLOW : ret;
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
 * Does a lock of slot @i conflict with @want? A slot without locks is marked,
 * so that its fdinfo is not read again. Called with the lock.
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
 * Is @wait's lock held by the owner @target, or by an owner that waits itself
 * for a lock that is, and so on? Called with the lock.
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

bool lock_deadlock(struct fs_worker *w, struct waiter *wait)
{
	uint64_t owner = w->fs->locks->slots[wait->slot].owner;

	return find_deadlock(w, wait, owner, 0);
}
