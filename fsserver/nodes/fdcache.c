/* SPDX-License-Identifier: MIT */
/*
 * Descriptors as a cache. A node's O_PATH descriptor only saves opening it
 * again: there may be many more nodes than the process may have descriptors.
 * Descriptors of open handles, of lock owners and of files without a name are
 * charged to the same budget and never evicted; the cache has the rest, at
 * least its floor.
 *
 * A clock hand (second chance) finds the descriptor to evict: a use sets the
 * node's `used`, the hand clears it. A pinned node's descriptor is not closed:
 * a user pins and then reads `fd`; an eviction sets `fd` to -1 and then reads
 * the pins, and restores `fd` if there are any. Both are sequentially
 * consistent, so that one of the two sees the other.
 *
 * A descriptor on another mount than the root's prevents the host from
 * unmounting it. The dump thread (dump.c) closes it when it was not used for a
 * second or two.
 *
 * The cache's lock is taken inside of all others in this folder, and never held
 * during a system call.
 */

#include "fsserver/nodes/nodetab.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Pinned descriptors may exceed the budget for a short time, by this many. */
#define SLACK 1024u
#define LEAST_BUDGET 64u

static int fd_load(const struct fs_node *node)
{
	return __atomic_load_n(&node->fd, __ATOMIC_SEQ_CST);
}

/* Remove the node from the clock; with the lock. */
static void uncache(struct fs *fs, struct fs_node *node)
{
	struct fd_cache *c = &fs->nodes->fds;
	uint32_t place;

	if (!node->cached)
		return;
	place = node->cached - 1;
	node->cached = 0;
	stats_gauge(fs, STATS_CACHED, --c->nr);
	if (place != c->nr) {
		c->slots[place] = c->slots[c->nr];
		node_at(fs, c->slots[place])->cached = place + 1;
	}
}

static void cache(struct fs *fs, struct fs_node *node)
{
	struct fd_cache *c = &fs->nodes->fds;

	if (node->cached || c->nr >= c->room)
		return;
	c->slots[c->nr++] = node->slot;
	node->cached = c->nr;
	stats_gauge(fs, STATS_CACHED, c->nr);
}

/* Take a descriptor that was not used lately; with the lock. -1: none. */
static int evict(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;

	for (unsigned int tries = 2 * c->nr; tries; tries--) {
		struct fs_node *n;
		int fd;

		if (++c->hand >= c->nr)
			c->hand = 0;
		n = node_at(fs, c->slots[c->hand]);
		if (__atomic_exchange_n(&n->used, 0, __ATOMIC_RELAXED))
			continue;
		fd = __atomic_exchange_n(&n->fd, -1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&n->ref, __ATOMIC_SEQ_CST) & NODE_PINS) {
			__atomic_store_n(&n->fd, fd, __ATOMIC_SEQ_CST);
			continue;
		}
		uncache(fs, n);
		return fd;
	}
	return -1;
}

static bool is_foreign(struct fs *fs, const struct fs_node *node)
{
	return __atomic_load_n(&node->key.mnt, __ATOMIC_RELAXED) !=
	       node_at(fs, NODE_ROOT)->key.mnt;
}

/*
 * Move unused descriptors of other mounts from the cache to @victims, at most
 * @room, beginning at place *@at; with the lock. Return: their number.
 */
static unsigned int take_idle(struct fs *fs, unsigned int *at, int *victims,
			      unsigned int room)
{
	struct fd_cache *c = &fs->nodes->fds;
	unsigned int nr = 0;

	while (*at < c->nr && nr < room) {
		struct fs_node *n = node_at(fs, c->slots[*at]);
		int fd;

		++*at;
		if (!is_foreign(fs, n) ||
		    __atomic_exchange_n(&n->used, 0, __ATOMIC_RELAXED))
			continue;
		fd = __atomic_exchange_n(&n->fd, -1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&n->ref, __ATOMIC_SEQ_CST) & NODE_PINS) {
			__atomic_store_n(&n->fd, fd, __ATOMIC_SEQ_CST);
			continue;
		}
		uncache(fs, n);	/* puts another node at this place */
		--*at;
		victims[nr++] = fd;
	}
	return nr;
}

void fdcache_idle(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;
	unsigned int at = 0, nr;
	int victims[32];

	do {
		pthread_mutex_lock(&c->lock);
		nr = take_idle(fs, &at, victims, ARRAY_SIZE(victims));
		pthread_mutex_unlock(&c->lock);
		for (unsigned int i = 0; i < nr; i++)
			close(victims[i]);
	} while (nr == ARRAY_SIZE(victims));
}

/* The dump thread may miss the first; then it sees the next one. */
static void note_foreign(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;

	if (!fs->stats || __atomic_load_n(&c->ticks, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&c->foreign, true, __ATOMIC_RELEASE);
	stats_wake(fs->stats);
}

bool fdcache_foreign(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;
	bool foreign = __atomic_load_n(&c->foreign, __ATOMIC_ACQUIRE);

	__atomic_store_n(&c->ticks, foreign, __ATOMIC_RELAXED);
	return foreign;
}

void fdcache_gauges(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;

	pthread_mutex_lock(&c->lock);
	stats_gauge(fs, STATS_CACHED, c->nr);
	stats_gauge(fs, STATS_HELD, c->charged);
	stats_gauge(fs, STATS_BUDGET, c->budget);
	pthread_mutex_unlock(&c->lock);
}

int fdcache_install(struct fs *fs, struct fs_node *node, int fd)
{
	struct fd_cache *c = &fs->nodes->fds;
	int victim = -1, have;

	pthread_mutex_lock(&c->lock);
	have = fd_load(node);
	if (have >= 0) {
		victim = fd;
	} else {
		have = fd;
		if (c->charged + c->nr >= c->budget)
			victim = evict(fs);
		__atomic_store_n(&node->fd, fd, __ATOMIC_SEQ_CST);
		cache(fs, node);
	}
	pthread_mutex_unlock(&c->lock);
	if (victim >= 0)
		close(victim);
	if (is_foreign(fs, node))
		note_foreign(fs);
	return have;
}

int fdcache_fd(struct fs *fs, struct fs_node *node)
{
	struct fd_cache *c = &fs->nodes->fds;
	int fd = fd_load(node);

	if (fd >= 0)
		return fd;
	pthread_mutex_lock(&c->lock);
	fd = fd_load(node);
	pthread_mutex_unlock(&c->lock);
	return fd;
}

void fdcache_keep(struct fs *fs, struct fs_node *node)
{
	struct fd_cache *c = &fs->nodes->fds;

	pthread_mutex_lock(&c->lock);
	/* Beyond the budget it stays cached, and is ESTALE once evicted. */
	if (!node->kept && fd_load(node) >= 0 &&
	    c->charged + c->floor < c->budget) {
		uncache(fs, node);
		node->kept = 1;
		stats_gauge(fs, STATS_HELD, ++c->charged);
	}
	pthread_mutex_unlock(&c->lock);
}

void fdcache_unkeep(struct fs *fs, struct fs_node *node)
{
	struct fd_cache *c = &fs->nodes->fds;

	pthread_mutex_lock(&c->lock);
	if (node->kept) {
		node->kept = 0;
		stats_gauge(fs, STATS_HELD, --c->charged);
		cache(fs, node);
	}
	pthread_mutex_unlock(&c->lock);
}

int fdcache_detach(struct fs *fs, struct fs_node *node)
{
	struct fd_cache *c = &fs->nodes->fds;
	int fd;

	pthread_mutex_lock(&c->lock);
	if (node->kept) {
		node->kept = 0;
		stats_gauge(fs, STATS_HELD, --c->charged);
	}
	uncache(fs, node);
	fd = __atomic_exchange_n(&node->fd, -1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&c->lock);
	return fd;
}

bool fdcache_spare(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;
	bool spare;

	pthread_mutex_lock(&c->lock);
	spare = c->charged + c->nr < c->budget;
	pthread_mutex_unlock(&c->lock);
	return spare;
}

bool fdcache_shrink(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;
	int victims[8];
	unsigned int nr = 0;

	pthread_mutex_lock(&c->lock);
	while (nr < ARRAY_SIZE(victims)) {
		victims[nr] = evict(fs);
		if (victims[nr] < 0)
			break;
		nr++;
	}
	pthread_mutex_unlock(&c->lock);
	for (unsigned int i = 0; i < nr; i++)
		close(victims[i]);
	return nr > 0;
}

int fd_charge(struct fs *fs, bool directory)
{
	struct fd_cache *c = &fs->nodes->fds;
	unsigned int most = c->budget - c->floor;
	int victim = -1, err = 0;

	/* One is reserved for a directory, so that `ls` and `rm -r` work. */
	if (!directory && most > 1)
		most--;
	pthread_mutex_lock(&c->lock);
	if (c->charged >= most) {
		err = -ENFILE;
	} else {
		stats_gauge(fs, STATS_HELD, ++c->charged);
		if (c->charged + c->nr > c->budget)
			victim = evict(fs);
	}
	pthread_mutex_unlock(&c->lock);
	if (victim >= 0)
		close(victim);
	return err;
}

void fd_uncharge(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;

	pthread_mutex_lock(&c->lock);
	stats_gauge(fs, STATS_HELD, --c->charged);
	pthread_mutex_unlock(&c->lock);
}

/*
 * Descriptors of the rest of the process: standard streams, arena, socket,
 * memory regions, a kick and a call for each queue, two for each thread.
 */
static unsigned int reserve(const struct fs *fs)
{
	unsigned int threads = fs->options.threads ? fs->options.threads : 16;

	return 40 + 2 * fs->queues + 2 * threads;
}

/* An open file takes about 2 KiB of the kernel: use a quarter of @memory. */
static unsigned int within_memory(uint64_t memory, unsigned int budget)
{
	uint64_t most = memory / 4 / 2048;

	if (!memory || most >= budget)
		return budget;
	return most > LEAST_BUDGET ? (unsigned int)most : LEAST_BUDGET;
}

int fdcache_open(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;
	unsigned int spare = reserve(fs);
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0 &&
		    getrlimit(RLIMIT_NOFILE, &limit) < 0)
			return -errno;
	}
	if (limit.rlim_cur > 1u << 20)
		limit.rlim_cur = 1u << 20;
	c->budget = (unsigned int)limit.rlim_cur;
	c->budget = c->budget > 2 * spare ? c->budget - spare : c->budget / 2;
	if (fs->options.open_files && fs->options.open_files < c->budget)
		c->budget = fs->options.open_files;
	c->budget = within_memory(fs->options.memory, c->budget);
	c->floor = c->budget / 4 < 64 ? c->budget / 4 : 64;
	c->room = c->budget + SLACK;
	c->slots = pages_alloc(c->room * sizeof(*c->slots));
	if (!c->slots)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	return 0;
}

int fdcache_adopt(struct fs *fs)
{
	struct fs_nodes *t = fs->nodes;

	for (uint32_t slot = NODE_ROOT + 1; slot < t->top; slot++) {
		struct fs_node *n = node_at(fs, slot);

		if (n->ref == 0 || n->fd < 0)
			continue;
		cache(fs, n);
		if (!n->names)
			fdcache_keep(fs, n);
	}
	node_at(fs, NODE_ROOT)->fd = fs->place.root;
	return 0;
}

int nodes_mark(struct arena *arena, void (*mark)(void *ctx, int fd), void *ctx)
{
	const struct fs_node *node;
	uint64_t size = 0;
	void *mem;
	int err = arena_region(arena, ARENA_NODES, NODES_VERSION, &size, &mem,
			       NULL);

	if (err)
		return err == -ENOENT ? 0 : err;
	node = mem;
	for (uint64_t slot = NODE_ROOT;
	     slot < node->key.mnt && slot < size / sizeof(*node); slot++)
		if (node[slot].ref)
			mark(ctx, node[slot].fd);
	return 0;
}

void fdcache_close(struct fs *fs)
{
	struct fd_cache *c = &fs->nodes->fds;

	if (!c->slots)
		return;
	pages_free(c->slots, c->room * sizeof(*c->slots));
	c->slots = NULL;
	pthread_mutex_destroy(&c->lock);
}
