/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_JOURNAL_H
#define VMSHARE_FSSERVER_JOURNAL_H

/*
 * A record of what a request had done when its worker died. See journal.c.
 *
 * An operation that must not happen twice first asks whether an earlier worker
 * did it (false at once for a request that was not taken before), records the
 * intent, makes the call, and records the result:
 *
 *	if (!journal_made(w, dirfd, S_IFDIR)) {
 *		journal_intent(w);
 *		err = mkdirat(...) < 0 ? -errno : 0;
 *		journal_result(w, err);
 *	}
 *
 * The steps after the call (owner, attributes, node) can be repeated.
 */

#include "fsserver/nodes/nodes.h"

enum journal_phase {
	JOURNAL_NONE,		/* nothing was changed */
	JOURNAL_INTENT,		/* the call was perhaps made */
	JOURNAL_DONE,		/* the call succeeded */
	JOURNAL_REPLIED,	/* the reply is in the guest's memory */
};

/* One for each ring entry, about the last request that used it. */
struct journal_entry {
	/* which request */
	uint64_t unique, nodeid;
	uint32_t epoch;		/* atomic */
	uint32_t opcode;
	uint32_t phase;		/* stored last: then the rest is complete */
	uint32_t reply;		/* length, once replied */
	uint64_t counted;	/* node whose lookup it counted, or 0 */
	uint64_t fh;		/* handle that it made, or 0 */
	uint32_t counted_at;	/* `listed` when `counted` was set */
	uint32_t listed;	/* READDIRPLUS: bytes that are in the reply */
	uint32_t forgets;	/* FORGET: how many of them are done */
	uint32_t flags;		/* kinds of evidence: enum journal_flag */
	/* evidence, written before the call */
	uint64_t size;		/* of the file */
	int64_t sec;		/* CLOCK_REALTIME_COARSE, as for timestamps */
	int64_t nsec;
	struct node_key key[2];	/* files that had the names */
} __attribute__((aligned(64)));

ARENA_LAYOUT(JOURNAL_VERSION, struct journal_entry, 192);

enum journal_flag {
	JOURNAL_KEY0	= 1,	/* key[0] is set: there was a file */
	JOURNAL_KEY1	= 2,	/* the same for key[1] */
	JOURNAL_EXISTED	= 4,	/* the attribute or name existed */
	JOURNAL_TEMP	= 8,	/* `size` is the number of a temporary file */
};

/** journal_open() - set fs->journal; complete a dead worker's count change */
int journal_open(struct fs *fs);

/* The request that the calling thread runs, for the fault handler. */
extern _Thread_local const struct fs_worker *journal_running;

/**
 * journal_condemned() - did this request crash two workers, by a fault of the
 * thread that ran it?
 */
bool journal_condemned(struct fs_worker *w);

/**
 * journal_begin() - begin the entry of a request
 * @len:	set where the return is true
 *
 * Undoes lookups and handles of the same request in an earlier worker, which
 * the guest never got.
 * Return: true if it was answered already, with @len bytes.
 */
bool journal_begin(struct fs_worker *w, uint32_t *len);
/** journal_end() - the request's reply, @len bytes, is written */
void journal_end(struct fs_worker *w, uint32_t len);

/**
 * journal_own() - the request's entry, or NULL where none is kept
 *
 * A request whose ring was set up again while it ran has no entry either. A
 * write right after this check may still hit an entry that another request has
 * just begun; that matters only if the worker dies within a few instructions.
 */
struct journal_entry *journal_own(const struct fs_worker *w);

void journal_intent(struct fs_worker *w);
void journal_result(struct fs_worker *w, int err);
/* The result may be undone now: a successor must check the file system. */
void journal_doubt(struct fs_worker *w);

/* Did an earlier worker make the file w->name[0], of this type? */
bool journal_made(struct fs_worker *w, int dirfd, uint32_t type);
/* Did an earlier worker link @node to the name w->name[0]? */
bool journal_linked(struct fs_worker *w, int dirfd,
		    const struct fs_node *node);

/* Evidence: the file that has name @nth; @stx NULL: there is none. */
void journal_key(struct fs_worker *w, unsigned int nth,
		 const struct statx *stx);
/* The node of evidence @nth, pinned, or NULL. */
struct fs_node *journal_node(struct fs_worker *w, unsigned int nth);
/* Does w->name[0] no longer name the file that it named? */
bool journal_removed(struct fs_worker *w, int dirfd);
/* Is the file that w->name[0] named now w->name[1] in @dirfd? */
bool journal_renamed(struct fs_worker *w, int dirfd);

/* Evidence: whether an attribute or a name exists; and whether it did. */
void journal_exists(struct fs_worker *w, bool exists);
bool journal_existed(const struct fs_worker *w);

/* Evidence: the size of @fd; implies the intent. 0 or -errno. */
int journal_size(struct fs_worker *w, int fd);
/* Has @fd another size now? */
bool journal_resized(struct fs_worker *w, int fd);
/* How many of the @size bytes to be appended an earlier worker appended. */
size_t journal_appended(struct fs_worker *w, int fd, size_t size);

/* Evidence, with the intent: temporary file number @nth will be made. */
void journal_temp(struct fs_worker *w, unsigned int nth);
/* The number of the temporary file of an earlier worker, or -1. */
int journal_temp_left(const struct fs_worker *w);
/* Was the file that @stx shows made by the request? */
bool journal_made_it(struct fs_worker *w, const struct statx *stx);

/* READDIRPLUS: @done bytes of entries are in the reply. */
void journal_list(struct fs_worker *w, size_t done);
/* FORGET: how many of its counts were taken back. */
static inline uint32_t journal_forgets(const struct fs_worker *w);

/* Where to store the number of a handle that the request makes, or NULL. */
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
