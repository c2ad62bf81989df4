/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * What goes wrong around the file server: rings that are set up anew under a
 * request, descriptors and memory that run out, file systems that fail.
 */

#include "fsserver_rig.h"
#include "fsserver/journal.h"

static struct rig r;

/* ---- the journal -------------------------------------------------------- */

/* A request of the set-up @epoch begins on the ring's entry 7, in @w. */
static bool begins(struct fs_worker *w, uint32_t epoch, uint64_t unique,
		   bool again, uint32_t *len)
{
	w->chain.queue = 1;
	w->chain.head = 7;
	w->chain.epoch = epoch;
	w->chain.again = again;
	w->in = (struct fuse_in_header){ .unique = unique, .nodeid = 1,
					 .opcode = FUSE_MKDIR };
	return journal_begin(w, len);
}

/*
 * A request runs on when its ring was set up anew, and another one takes its
 * ring entry. What the first one does then is not what the second one did.
 */
static void test_orphan(void)
{
	struct fs_worker *old, *new;
	struct statx stx;
	uint32_t len = 0;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	old = rig_worker(&r);
	new = rig_worker(&r);
	CHECK_EQ(fs_statx(r.place.root, "", FS_STATX_MASK, &stx), 0);
	CHECK(!begins(old, 1, 10, false, &len));
	journal_intent(old);
	/* As a guest that was reset counts its requests: from the start. */
	CHECK(!begins(new, 2, 10, false, &len));
	journal_intent(new);
	journal_result(old, 0);
	journal_key(old, 0, &stx);
	journal_list(old, 100);
	journal_end(old, 100);
	/* The worker dies; the next one has the second request again. */
	CHECK(!begins(new, 2, 10, true, &len));
	CHECK_EQ(new->replay, JOURNAL_INTENT);
	CHECK_EQ(new->journal->flags, 0);
	CHECK_EQ(new->journal->listed, 0);
	journal_end(new, 44);
	CHECK(begins(new, 2, 10, true, &len));
	CHECK_EQ(len, 44);
	rig_worker_free(old);
	rig_worker_free(new);
	rig_stop(&r);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "an orphan keeps no journal", test_orphan },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
