/* SPDX-License-Identifier: MIT */
/*
 * Reports of a server about itself: counts in memory that its parent shares
 * with it (struct stats in base), and a text about the running requests.
 *
 * Each thread of the pool counts in its own slot when a request was answered,
 * with the clock readings that the pool takes anyway. The gauges of nodes and
 * descriptors are stored where the numbers change, under their lock.
 *
 * The dump thread writes the text. It sleeps on a futex in that memory until
 * the parent asks (stats_ask()). So no signal has to pass a pid namespace,
 * blocked signals and a system call filter, and a server answers even when all
 * its other threads are stuck.
 * It copies the running requests under the pool's lock, and looks up their
 * paths without it: that takes the node table's lock, and no lock is taken
 * under the pool's. A request may have ended then, and its node id may be
 * invalid: it is pinned like any id that comes from a guest. While descriptors
 * of mounts other than the root's are open, the thread also closes unused ones
 * each second (fdcache_idle()).
 *
 * Answers are counted in that memory too, so that a question is not lost when
 * it comes before the server is ready, or when the server crashes.
 */

#include "fsserver/nodes/nodes.h"
#include "fsserver/pool/pool.h"
#include "fsserver/request.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DUMP_MAX	64	/* requests described at a time */
#define DUMP_PATH	512
#define DUMP_NAME	256	/* of one name, escaped; longer ones are cut */
#define DUMP_LEVELS	128
#define ASKED_MS	100	/* younger requests are not described */

struct fs_dumper {
	struct fs *fs;
	pthread_t thread;
	bool closing;		/* atomic */
};

/* ---- the dump ----------------------------------------------------------- */

struct dump_line {
	uint64_t node;
	int64_t age;
	uint32_t op;
	uint16_t queue;
	bool waiting;
};

struct dump {
	int64_t now, older;
	unsigned int nr, more;
	struct dump_line line[DUMP_MAX];
};

static void dump_one(void *ctx, const struct fs_worker *w, int64_t began,
		     bool waiting)
{
	struct dump *d = ctx;

	if (d->now - began < d->older)
		return;
	if (d->nr == DUMP_MAX) {
		d->more++;
		return;
	}
	/* Read without a lock while the request runs: may be inconsistent. */
	d->line[d->nr++] = (struct dump_line){
		.node = __atomic_load_n(&w->now_node, __ATOMIC_RELAXED),
		.op = __atomic_load_n(&w->now_op, __ATOMIC_RELAXED),
		.queue = __atomic_load_n(&w->now_queue, __ATOMIC_RELAXED),
		.age = d->now - began,
		.waiting = waiting,
	};
}

/* Put "/@name" in front of @path + *@at, if "..." still fits before it. */
static bool path_prepend(char *path, size_t *at, const char *name)
{
	char text[DUMP_NAME];
	size_t len;

	log_escape(text, sizeof(text), name, strlen(name));
	len = strlen(text);
	if (len + sizeof("/...") - 1 > *at)
		return false;
	*at -= len;
	memcpy(path + *at, text, len);
	path[--*at] = '/';
	return true;
}

/* A path of a node in the share, escaped. */
static const char *node_path(struct fs *fs, uint64_t id, char path[DUMP_PATH])
{
	char name[NAME_MAX + 1];
	struct fs_node *node, *parent;
	size_t at = DUMP_PATH - 1;
	bool fits = true;

	path[at] = '\0';
	if (id == FUSE_ROOT_ID)
		return "/";
	if (node_get(fs, id, &node))
		return "(no file)";
	for (unsigned int n = 0; n < DUMP_LEVELS && fits; n++) {
		if (node_id(node) == FUSE_ROOT_ID)
			break;
		parent = node_name_at(fs, node, 0, name);
		if (!parent)
			break;
		fits = path_prepend(path, &at, name);
		node_put(fs, node);
		node = parent;
	}
	if (!fits || node_id(node) != FUSE_ROOT_ID) {
		at -= 3;
		memcpy(path + at, "...", 3);
	}
	node_put(fs, node);
	return path + at;
}

void fs_dump(struct fs *fs, unsigned int ms)
{
	struct dump *d = calloc(1, sizeof(*d));
	char path[DUMP_PATH];

	if (!d)
		return;
	d->now = clock_ns();
	d->older = (int64_t)ms * 1000000;
	pool_each(fs->pool, dump_one, d);
	for (unsigned int i = 0; i < d->nr; i++) {
		const struct dump_line *l = &d->line[i];

		log_warning("%s of %s (node %llu, queue %u) has run for "
			    "%lld.%03lld s%s", request_name(l->op),
			    node_path(fs, l->node, path),
			    (unsigned long long)l->node, l->queue,
			    (long long)(l->age / 1000000000),
			    (long long)(l->age / 1000000 % 1000),
			    l->waiting ? " and waits for a lock" : "");
	}
	if (d->more)
		log_warning("and %u more requests", d->more);
	if (!d->nr)
		log_note("no request has run for %u ms", ms);
	free(d);
}

/* ---- a file system that fails ------------------------------------------- */

enum { SAID_EIO = 1, SAID_EROFS = 2 };

/* Was the share's file system writable at the start? */
static bool became_readonly(const struct fs_worker *w)
{
	const struct node_key *root = &node_at(w->fs, NODE_ROOT)->key;

	return !w->fs->options.readonly && w->fs->session->writable &&
	       w->node && w->node->key.dev_major == root->dev_major &&
	       w->node->key.dev_minor == root->dev_minor;
}

void fs_dump_fault(struct fs_worker *w, int err)
{
	uint32_t said = err == -EIO ? SAID_EIO : SAID_EROFS;
	struct fs *fs = w->fs;
	char path[DUMP_PATH], text[DUMP_PATH + 128];

	if (err == -EROFS && !became_readonly(w))
		return;
	if (!fs->event || __atomic_fetch_or(&fs->session->faults, said,
					    __ATOMIC_RELAXED) & said)
		return;
	snprintf(text, sizeof(text), "the share's file system %s: %s of %s; "
		 "this is not said again", err == -EIO ?
			 "has an I/O error" : "can't be written to any more",
		 request_name(w->in.opcode),
		 node_path(fs, w->in.nodeid, path));
	fs->event(fs->event_ctx, FS_EVENT_WARNING, text);
}

/* ---- the dump thread ----------------------------------------------------- */

/* Sleep until stats->asked is no longer @now. */
static void dumper_sleep(struct fs_dumper *l, uint32_t now)
{
	const struct timespec second = { .tv_sec = 1 };
	bool ticks = fdcache_foreign(l->fs);

	if (syscall(SYS_futex, &l->fs->stats->asked, FUTEX_WAIT, now,
		    ticks ? &second : NULL, NULL, 0) < 0 && errno == ETIMEDOUT)
		fdcache_idle(l->fs);
}

static void *dumper_main(void *arg)
{
	struct fs_dumper *l = arg;
	struct stats *stats = l->fs->stats;
	uint32_t *word = &stats->asked;

	while (!__atomic_load_n(&l->closing, __ATOMIC_ACQUIRE)) {
		uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		if (now == stats->answered) {
			dumper_sleep(l, now);
		} else if (!__atomic_load_n(&l->closing, __ATOMIC_ACQUIRE)) {
			fs_dump(l->fs, ASKED_MS);
			stats->answered = now;
		}
	}
	return NULL;
}

static void gauges_start(struct fs *fs)
{
	for (unsigned int i = stats_first(fs->stats); i < STATS_SLOTS; i++)
		fs->stats->slot[i].began = 0;	/* a dead worker's */
	stats_gauge(fs, STATS_THREADS, 0);
	stats_gauge(fs, STATS_NODES, nodes_count(fs));
	fdcache_gauges(fs);
}

int fs_dump_open(struct fs *fs, struct stats *stats)
{
	sigset_t all, old;
	int err;

	if (!stats)
		return 0;
	fs->stats = stats;
	gauges_start(fs);
	fs->dumper = calloc(1, sizeof(*fs->dumper));
	if (!fs->dumper)
		return -ENOMEM;
	fs->dumper->fs = fs;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&fs->dumper->thread, NULL, dumper_main,
			      fs->dumper);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(fs->dumper);
		fs->dumper = NULL;
	}
	return err;
}

void fs_dump_close(struct fs *fs)
{
	if (!fs->dumper)
		return;
	__atomic_store_n(&fs->dumper->closing, true, __ATOMIC_RELEASE);
	stats_ask(fs->stats);
	pthread_join(fs->dumper->thread, NULL);
	/* That was not a question; open ones are the successor's. */
	fs->stats->answered++;
	free(fs->dumper);
	fs->dumper = NULL;
}
