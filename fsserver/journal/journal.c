/* SPDX-License-Identifier: MIT */
/*
 * A journal of requests, for the successor of a worker that died.
 *
 * After a worker's death the ring hands out again the requests that were taken
 * and not answered. Most operations can be repeated. For the others an entry in
 * the arena tells how far they got. There is one for each ring entry, since a
 * request occupies its ring entry until it is answered. An entry is valid if it
 * names the same request: unique, node id, opcode and the epoch (set-up) of the
 * ring. A request that still runs when its ring was set up again loses its
 * entry, since another request may use the ring entry: see journal_own().
 *
 *	NONE	nothing was changed on the host
 *	INTENT	the call was perhaps made: evidence decides
 *	DONE	the call succeeded; the rest of the operation is repeated
 *	REPLIED	the reply is in the guest's memory: only its length is needed
 *
 * Lookup counts and handles of the request are taken back and made again, since
 * the guest never got them. A count and the entry that records it change
 * together: the change is first written to the journal's head, and the next
 * worker repeats it. One such record is enough, since counts change with the
 * node table's lock.
 *
 * Evidence is written before the call and compared by the next worker:
 *	created		a file that the guest does not know, with a birth time
 *			at or after the intent
 *	linked		the name did not exist and is the node's now, with a
 *			ctime at or after the intent
 *	removed		the name is gone, or another file's
 *	renamed		the new name is the file that had the old one
 *	attributes	whether one of that name existed
 *	append, shift	the file's size, and its content
 *
 * Evidence is used only if the worker died in the system call or within a few
 * instructions of it. It is wrong only if another guest or a process of the
 * host did the same to the same name in that time (made it, removed or renamed
 * the file, or appended the same bytes): between one tick of the kernel's clock
 * (1 to 10 ms) before the intent and the next worker's check, a few ms later.
 * The guest itself can't cause it, as its kernel lets one process at a time
 * change a directory; and its own earlier operations are never mistaken.
 *
 * Other operations that change something have their reply recorded, so that a
 * write or truncation is not repeated over later changes. Only a death between
 * the call and the record, a few instructions, repeats it.
 *
 * A fault in a thread that runs a request is recorded in the head by the signal
 * handler; after two faults the request is not run again. Other deaths, such as
 * by SIGKILL, do not count. Nor does a stack overflow: the handler runs on the
 * same stack.
 */

#include "fsserver/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL_VERSION	1
#define STRIKES		2
#define STRIKE_SLOTS	16u
#define COMPARE		(FS_SCRATCH / 2)

/* A change of a lookup count that has begun. */
struct journal_change {
	uint64_t lookups, counted;
	uint32_t slot, counted_at, forgets;
	uint32_t entry;		/* index + 1; 0: none is under way */
};

/* A request whose thread raised a fault. */
struct journal_strike {
	uint64_t unique;
	uint32_t epoch, opcode;
	uint16_t queue, head;
	uint32_t count;
};

struct fs_journal {
	struct journal_change change;		/* with the node table's lock */
	uint32_t next;				/* strike to be replaced */
	struct journal_strike strike[STRIKE_SLOTS];
	_Alignas(4096) struct journal_entry entry[];
};

ARENA_LAYOUT(JOURNAL_VERSION, struct fs_journal, 4096);

/* For the signal handler. */
static struct fs_journal *fault_journal;
_Thread_local const struct fs_worker *journal_running;

/* Once the entry is another request's, it stays that: NULL from then on. */
struct journal_entry *journal_own(const struct fs_worker *w)
{
	struct journal_entry *e = w->journal;

	if (!e || __atomic_load_n(&e->epoch, __ATOMIC_ACQUIRE) !=
			  w->chain.epoch || e->unique != w->in.unique)
		return NULL;
	return e;
}

static void set_phase(struct journal_entry *e, enum journal_phase phase)
{
	arena_commit();
	__atomic_store_n(&e->phase, (uint32_t)phase, __ATOMIC_RELAXED);
	arena_commit();
}

/* ---- faults ------------------------------------------------------------- */

static bool same_request(const struct journal_strike *s,
			 const struct fs_worker *w)
{
	return s->count && s->unique == w->in.unique &&
	       s->epoch == w->chain.epoch && s->queue == w->chain.queue &&
	       s->head == w->chain.head;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	const struct fs_worker *w = journal_running;
	struct fs_journal *j = fault_journal;
	struct journal_strike *s = NULL;
	bool own = info->si_code > 0 ||
		   (sig == SIGABRT && info->si_pid == getpid());

	(void)context;
	/* SA_RESETHAND: on return the fault occurs again and kills. */
	if (info->si_code <= 0 && sig != SIGABRT)
		sys_raise(sig);
	if (!own || !w || !__atomic_load_n(&w->began, __ATOMIC_RELAXED))
		return;
	for (unsigned int i = 0; i < STRIKE_SLOTS && !s; i++)
		if (same_request(&j->strike[i], w))
			s = &j->strike[i];
	if (!s) {
		s = &j->strike[__atomic_fetch_add(&j->next, 1,
						  __ATOMIC_RELAXED) %
			       STRIKE_SLOTS];
		*s = (struct journal_strike){
			.unique = w->in.unique, .epoch = w->chain.epoch,
			.opcode = w->in.opcode, .queue = w->chain.queue,
			.head = w->chain.head,
		};
	}
	s->count++;
}

static void catch_faults(void)
{
	static const int faults[] = {
		SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL,
	};
	struct sigaction act = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | (int)SA_RESETHAND,
	}, old;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		/* Keep a handler that handles some faults (a sanitizer's). */
		if (sigaction(faults[i], NULL, &old) < 0 ||
		    old.sa_flags & SA_SIGINFO || old.sa_handler != SIG_DFL)
			continue;
		sigaction(faults[i], &act, NULL);
	}
}

bool journal_condemned(struct fs_worker *w)
{
	for (unsigned int i = 0; i < STRIKE_SLOTS; i++) {
		const struct journal_strike *s = &w->fs->journal->strike[i];

		if (same_request(s, w) && s->count >= STRIKES)
			return true;
	}
	return false;
}

/* ---- entries ------------------------------------------------------------ */

/* An earlier worker had this request: undo its lookup and its handle. */
static bool resume(struct fs_worker *w, uint32_t *len)
{
	struct journal_entry *e = w->journal;

	w->replay = (uint8_t)e->phase;
	*len = e->reply;
	if (w->replay == JOURNAL_REPLIED)
		return true;
	if (e->counted && e->counted_at == e->listed)
		node_forget(w->fs, e->counted, 1, e);
	if (e->fh)
		handle_undo(w->fs, e->fh);
	e->fh = 0;
	return false;
}

bool journal_begin(struct fs_worker *w, uint32_t *len)
{
	const struct chain *c = &w->chain;
	struct journal_entry *e;

	w->replay = JOURNAL_NONE;
	if (c->queue >= w->fs->queues || c->head >= CHAIN_MAX_DESC)
		return false;
	e = &w->fs->journal->entry[c->queue * CHAIN_MAX_DESC + c->head];
	w->journal = e;
	if (c->again && e->unique == w->in.unique && e->epoch == c->epoch &&
	    e->opcode == w->in.opcode && e->nodeid == w->in.nodeid)
		return resume(w, len);
	/* A request of an earlier epoch that still runs loses the entry. */
	__atomic_store_n(&e->epoch, ~c->epoch, __ATOMIC_SEQ_CST);
	set_phase(e, JOURNAL_NONE);
	e->counted = e->fh = 0;
	e->counted_at = e->listed = 0;
	e->forgets = 0;
	e->flags = 0;
	e->unique = w->in.unique;
	e->nodeid = w->in.nodeid;
	e->opcode = w->in.opcode;
	__atomic_store_n(&e->epoch, c->epoch, __ATOMIC_RELEASE);
	arena_commit();
	return false;
}

void journal_end(struct fs_worker *w, uint32_t len)
{
	struct journal_entry *e = journal_own(w);

	if (!e)
		return;
	e->reply = len;
	set_phase(e, JOURNAL_REPLIED);
}

void journal_intent(struct fs_worker *w)
{
	struct journal_entry *e = journal_own(w);
	struct timespec now;

	if (!e)
		return;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	e->sec = now.tv_sec;
	e->nsec = now.tv_nsec;
	set_phase(e, JOURNAL_INTENT);
}

void journal_result(struct fs_worker *w, int err)
{
	struct journal_entry *e = journal_own(w);

	if (e)
		set_phase(e, err ? JOURNAL_NONE : JOURNAL_DONE);
}

void journal_doubt(struct fs_worker *w)
{
	struct journal_entry *e = journal_own(w);

	if (e)
		set_phase(e, JOURNAL_INTENT);
}

/* ---- evidence ----------------------------------------------------------- */

static bool since_intent(const struct journal_entry *e,
			 const struct statx_timestamp *t)
{
	return t->tv_sec > e->sec ||
	       (t->tv_sec == e->sec && t->tv_nsec >= e->nsec);
}

/* Did the guest know this file before the request? */
static bool is_known(struct fs *fs, const struct statx *stx)
{
	struct fs_node *node = node_find(fs, stx);
	bool known;

	if (!node)
		return false;
	known = __atomic_load_n(&node->lookups, __ATOMIC_RELAXED) > 0;
	node_put(fs, node);
	return known;
}

bool journal_made_it(struct fs_worker *w, const struct statx *stx)
{
	return !is_known(w->fs, stx) &&
	       since_intent(w->journal, stx->stx_mask & STATX_BTIME ?
					&stx->stx_btime : &stx->stx_ctime);
}

bool journal_made(struct fs_worker *w, int dirfd, uint32_t type)
{
	struct statx stx;

	if (w->replay == JOURNAL_DONE)
		return true;
	if (w->replay != JOURNAL_INTENT ||
	    fs_statx(dirfd, w->name[0], FS_STATX_MASK, &stx) ||
	    (stx.stx_mode & S_IFMT) != type)
		return false;
	return journal_made_it(w, &stx);
}

bool journal_linked(struct fs_worker *w, int dirfd, const struct fs_node *node)
{
	struct statx stx;

	if (w->replay == JOURNAL_DONE)
		return true;
	return w->replay == JOURNAL_INTENT && !journal_existed(w) &&
	       !fs_statx(dirfd, w->name[0], FS_STATX_MASK, &stx) &&
	       node_is(w->fs, node, &stx) &&
	       since_intent(w->journal, &stx.stx_ctime);
}

static uint32_t key_flag(unsigned int nth)
{
	return (uint32_t)JOURNAL_KEY0 << nth;
}

void journal_key(struct fs_worker *w, unsigned int nth,
		 const struct statx *stx)
{
	struct journal_entry *e = journal_own(w);
	uint32_t flag = key_flag(nth);

	if (!e)
		return;
	set_phase(e, JOURNAL_NONE);
	e->flags &= ~flag;
	if (!stx)
		return;
	node_key(&e->key[nth], stx);
	e->flags |= flag;
}

struct fs_node *journal_node(struct fs_worker *w, unsigned int nth)
{
	const struct journal_entry *e = w->journal;

	if (!(e->flags & key_flag(nth)))
		return NULL;
	return node_find_key(w->fs, &e->key[nth]);
}

static bool is_key(const struct journal_entry *e, unsigned int nth,
		   const struct statx *stx)
{
	struct node_key key;

	node_key(&key, stx);
	return e->flags & key_flag(nth) &&
	       memcmp(&key, &e->key[nth], sizeof(key)) == 0;
}

bool journal_removed(struct fs_worker *w, int dirfd)
{
	struct statx stx;
	int err;

	if (w->replay != JOURNAL_INTENT)
		return w->replay == JOURNAL_DONE;
	err = fs_statx(dirfd, w->name[0], FS_STATX_KEY, &stx);
	if (err)
		return err == -ENOENT;
	return w->journal->flags & JOURNAL_KEY0 && !is_key(w->journal, 0, &stx);
}

bool journal_renamed(struct fs_worker *w, int dirfd)
{
	const struct journal_entry *e = w->journal;
	struct statx stx;

	if (w->replay != JOURNAL_INTENT)
		return w->replay == JOURNAL_DONE;
	/* Links of one file: the rename does nothing and can be repeated. */
	return !fs_statx(dirfd, w->name[1], FS_STATX_KEY, &stx) &&
	       is_key(e, 0, &stx) && !is_key(e, 1, &stx);
}

void journal_exists(struct fs_worker *w, bool exists)
{
	struct journal_entry *e = journal_own(w);

	if (!e)
		return;
	e->flags = exists ? JOURNAL_EXISTED : 0;
	set_phase(e, JOURNAL_INTENT);
}

bool journal_existed(const struct fs_worker *w)
{
	return w->journal && w->journal->flags & JOURNAL_EXISTED;
}

void journal_temp(struct fs_worker *w, unsigned int nth)
{
	struct journal_entry *e = journal_own(w);

	if (!e)
		return;
	set_phase(e, JOURNAL_NONE);
	e->flags = JOURNAL_TEMP;
	e->size = nth;
	journal_intent(w);
}

int journal_temp_left(const struct fs_worker *w)
{
	const struct journal_entry *e = w->journal;

	return w->replay == JOURNAL_INTENT && e->flags & JOURNAL_TEMP ?
		       (int)e->size : -1;
}

/* ---- sizes -------------------------------------------------------------- */

int journal_size(struct fs_worker *w, int fd)
{
	struct journal_entry *e = journal_own(w);
	struct stat st;

	if (!e)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	set_phase(e, JOURNAL_NONE);
	e->size = (uint64_t)st.st_size;
	set_phase(e, JOURNAL_INTENT);
	return 0;
}

bool journal_resized(struct fs_worker *w, int fd)
{
	struct stat st;

	if (w->replay != JOURNAL_INTENT)
		return w->replay == JOURNAL_DONE;
	return fstat(fd, &st) == 0 &&
	       (uint64_t)st.st_size != w->journal->size;
}

/* Are @size bytes of the body in the file at @offset? */
static bool body_is_at(struct fs_worker *w, int fd, uint64_t offset,
		       size_t size)
{
	char *there = w->scratch, *here = there + COMPARE;
	struct iov_cursor body = w->readable;

	while (size) {
		size_t want = size < COMPARE ? size : COMPARE;
		struct iovec v = { there, want };

		/* Not pread(): the system call filter allows preadv2() only. */
		if (iov_read(&body, here, want) != want ||
		    syscall(SYS_preadv2, fd, &v, 1ul, (off_t)offset, 0l, 0) !=
			    (long)want ||
		    memcmp(here, there, want) != 0)
			return false;
		offset += want;
		size -= want;
	}
	return true;
}

size_t journal_appended(struct fs_worker *w, int fd, size_t size)
{
	uint64_t before, now;
	struct stat st;
	size_t got;
	bool there;
	int own;

	if (w->replay != JOURNAL_INTENT || fstat(fd, &st) < 0)
		return 0;
	before = w->journal->size;
	now = (uint64_t)st.st_size;
	if (now <= before)
		return 0;
	got = now - before < size ? (size_t)(now - before) : size;
	own = node_open(w, w->node, O_RDONLY);
	there = own < 0 ? now - before == got :
			  body_is_at(w, own, before, got);
	if (own >= 0)
		close(own);
	return there ? got : 0;
}

void journal_list(struct fs_worker *w, size_t done)
{
	struct journal_entry *e = journal_own(w);

	if (!e)
		return;
	arena_commit();
	__atomic_store_n(&e->listed, (uint32_t)done, __ATOMIC_RELAXED);
}

/* ---- counts ------------------------------------------------------------- */

static void change_apply(struct fs *fs, const struct journal_change *c)
{
	struct journal_entry *e = &fs->journal->entry[c->entry - 1];
	struct fs_node *node = node_at(fs, c->slot);

	__atomic_store_n(&node->lookups, c->lookups, __ATOMIC_SEQ_CST);
	e->counted_at = c->counted_at;
	e->counted = c->counted;
	e->forgets = c->forgets;
}

static void journal_count(struct fs *fs, struct journal_entry *e,
			  struct fs_node *node, uint64_t lookups, uint64_t id)
{
	struct journal_change *c = &fs->journal->change;

	if (!node) {
		e->counted = 0;
		e->forgets++;
		return;
	}
	c->lookups = lookups;
	c->counted = id;
	c->slot = node->slot;
	c->counted_at = e->listed;
	c->forgets = id ? 0 : e->forgets + 1;
	arena_commit();
	__atomic_store_n(&c->entry, (uint32_t)(e - fs->journal->entry) + 1,
			 __ATOMIC_RELAXED);
	arena_commit();
	change_apply(fs, c);
	arena_commit();
	__atomic_store_n(&c->entry, 0, __ATOMIC_RELAXED);
	arena_commit();
}

int journal_open(struct fs *fs)
{
	uint64_t size = sizeof(struct fs_journal) +
			(uint64_t)fs->queues * CHAIN_MAX_DESC *
				sizeof(struct journal_entry);
	uint64_t have = size;
	struct journal_change *c;
	void *mem;
	int err = arena_region(fs->arena, ARENA_JOURNAL, JOURNAL_VERSION,
			       &have, &mem, NULL);

	if (err)
		return err;
	if (have < size)
		return -EPROTO;
	fs->journal = fault_journal = mem;
	c = &fs->journal->change;
	if (c->entry > fs->queues * CHAIN_MAX_DESC ||
	    (c->entry && !nodes_have(fs, c->slot)))
		return -EPROTO;
	if (c->entry)
		change_apply(fs, c);
	c->entry = 0;
	nodes_count_by(fs, journal_count);
	catch_faults();
	return 0;
}
