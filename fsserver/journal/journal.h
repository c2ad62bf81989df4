/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_JOURNAL_H
#define VMSHARE_FSSERVER_JOURNAL_H

/*
 * What a request had done when its worker died. See journal.c.
 *
 * An operation that must not happen twice asks first whether an earlier worker
 * did it (false at once for any request that comes for the first time), says
 * what it is about to do, does it, and says that it did:
 *
 *	if (!journal_made(w, dirfd, S_IFDIR)) {
 *		journal_intent(w);
 *		err = mkdirat(...) < 0 ? -errno : 0;
 *		journal_result(w, err);
 *	}
 *
 * What follows the call (owner, attributes, node) can be done again.
 */

#include "fsserver/nodes/nodes.h"

enum journal_phase {
	JOURNAL_NONE,		/* nothing was changed */
	JOURNAL_INTENT,		/* the call was perhaps made */
	JOURNAL_DONE,		/* it was, and succeeded */
	JOURNAL_REPLIED,	/* the reply is in the guest's memory */
};

/* One for each ring entry; of the request that took it last. */
struct journal_entry {
	/* which request */
	uint64_t unique, nodeid;
	uint32_t epoch;		/* atomic */
	uint32_t opcode;
	uint32_t phase;		/* stored last: it vouches for the rest */
	uint32_t reply;		/* length, once replied */
	uint64_t counted;	/* node whose lookup it counted, or 0 */
	uint64_t fh;		/* handle that it made, or 0 */
	uint32_t counted_at;	/* `listed` when `counted` was set */
	uint32_t listed;	/* READDIRPLUS: bytes that are in the reply */
	uint32_t forgets;	/* FORGET: how many of them are done */
	uint32_t flags;		/* evidence there is: enum journal_flag */
	/* evidence, written before the call */
	uint64_t size;		/* of the file */
	int64_t sec;		/* CLOCK_REALTIME_COARSE, as for timestamps */
	int64_t nsec;
	struct node_key key[2];	/* what the names stood for */
} __attribute__((aligned(64)));

ARENA_LAYOUT(JOURNAL_VERSION, struct journal_entry, 192);

enum journal_flag {
	JOURNAL_KEY0	= 1,	/* there was such a file */
	JOURNAL_KEY1	= 2,
	JOURNAL_EXISTED	= 4,	/* there was such an attribute, or name */
	JOURNAL_TEMP	= 8,	/* `size` is the number of a temporary file */
};

/** journal_open() - set fs->journal; settle what a dead worker left */
int journal_open(struct fs *fs);

/* The request that the calling thread runs, for the handler of its faults. */
extern _Thread_local const struct fs_worker *journal_running;

/**
 * journal_condemned() - did this request crash two workers?
 *
 * By a fault in its own thread, that is.
 */
bool journal_condemned(struct fs_worker *w);

/**
 * journal_begin() - before an operation of which an entry is kept
 * @len:	set where the return is true
 *
 * Lookups and handles that an earlier worker gave to this very request and
 * that the guest never heard of are taken back.
 * Return: whether it was answered already, with @len bytes.
 */
bool journal_begin(struct fs_worker *w, uint32_t *len);
/** journal_end() - its reply, @len bytes, is written */
void journal_end(struct fs_worker *w, uint32_t len);

/**
 * journal_own() - the request's entry, or NULL where none is kept
 *
 * Nor is one for a request whose ring was set up anew while it ran. What is
 * written to it right after may still meet another request's beginning: a few
 * instructions, and wrong only for a worker that dies then.
 */
struct journal_entry *journal_own(const struct fs_worker *w);

void journal_intent(struct fs_worker *w);
void journal_result(struct fs_worker *w, int err);
/* What was done may be undone now: is it still there? */
void journal_doubt(struct fs_worker *w);

/* Was the file w->name[0] of this type made? */
bool journal_made(struct fs_worker *w, int dirfd, uint32_t type);
/* Did @node get the name w->name[0]? */
bool journal_linked(struct fs_worker *w, int dirfd,
		    const struct fs_node *node);

/* Evidence: what name @nth stands for; @stx NULL: for nothing. */
void journal_key(struct fs_worker *w, unsigned int nth,
		 const struct statx *stx);
/* The node of evidence @nth, pinned, or NULL. */
struct fs_node *journal_node(struct fs_worker *w, unsigned int nth);
/* Is what w->name[0] stood for no longer there? */
bool journal_removed(struct fs_worker *w, int dirfd);
/* Is what w->name[0] stood for now w->name[1] in @dirfd? */
bool journal_renamed(struct fs_worker *w, int dirfd);

/* Evidence: whether an attribute or a name exists; and whether it did. */
void journal_exists(struct fs_worker *w, bool exists);
bool journal_existed(const struct fs_worker *w);

/* Evidence: the size of @fd; implies the intent. 0 or -errno. */
int journal_size(struct fs_worker *w, int fd);
/* Has it another size now? */
bool journal_resized(struct fs_worker *w, int fd);
/*
 * Bytes of the body, of which @size are to be written, that were appended;
 * not negative.
 */
size_t journal_appended(struct fs_worker *w, int fd, size_t size);

/* Evidence: temporary file number @nth is about to be made: the intent. */
void journal_temp(struct fs_worker *w, unsigned int nth);
/* The number of that which an earlier worker was about to make, or -1. */
int journal_temp_left(const struct fs_worker *w);
/* Was the file that @stx shows made by the request? */
bool journal_made_it(struct fs_worker *w, const struct statx *stx);

/* READDIRPLUS: @done bytes of entries are in the reply. */
void journal_list(struct fs_worker *w, size_t done);
/* FORGET: how many of its counts were taken back. */
static inline uint32_t journal_forgets(const struct fs_worker *w);

/* Where the number of a handle that the request makes is noted, or NULL. */
static inline uint64_t *journal_fh(const struct fs_worker *w)
{
	struct journal_entry *e = journal_own(w);

	return e ? &e->fh : NULL;
}

static inline uint32_t journal_forgets(const struct fs_worker *w)
{
	return w->journal ? w->journal->forgets : 0;
}

#endif
