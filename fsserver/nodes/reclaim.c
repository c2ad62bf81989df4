/* SPDX-License-Identifier: MIT */
/*
 * The limit of nodes, and which node is freed when it is reached. A guest that
 * uses a freed node gets ESTALE, looks its path up again and gets another id.
 *
 * The limit is the user's (inode-limit=), or else derived from the memory limit
 * of the server's control groups. After a worker was killed for lack of memory
 * (fs_squeeze()) it is half of the nodes that the worker had, for the rest of
 * the server's life. The tables are also limited by the arena's size, which is
 * a quarter of the machine's memory.
 */

#include "fsserver/nodes/nodetab.h"

#include <errno.h>

#define RECLAIM_LOOKS	4096u
/*
 * Of a node with its name and index, and some room for further names. Nodes get
 * a quarter of the memory.
 */
#define NODE_BYTES	160u
#define LEAST_NODES	4096u

void nodes_limit(struct fs *fs)
{
	const struct fs_options *o = &fs->options;
	uint64_t squeezed = fs->session->node_limit, limit = o->inode_limit;

	if (!limit && o->memory) {
		limit = o->memory / 4 / NODE_BYTES;
		if (limit < LEAST_NODES)
			limit = LEAST_NODES;
	}
	if (squeezed && (!limit || squeezed < limit))
		limit = squeezed;
	fs->nodes->limit = limit;
}

/* May it be freed although the guest has lookups of it? */
static bool is_reclaimable(const struct fs_node *n)
{
	uint64_t ref = __atomic_load_n(&n->ref, __ATOMIC_SEQ_CST);

	return ref && !(ref & NODE_PINS) && n->names &&
	       !__atomic_load_n(&n->holds, __ATOMIC_SEQ_CST);
}

static void node_drop(struct fs_nodes *t, struct fs_node *n,
		      struct node_dead *dead)
{
	__atomic_store_n(&n->lookups, 0, __ATOMIC_SEQ_CST);
	node_reap(t, n, dead);
}

bool node_reclaim(struct fs_nodes *t, struct node_dead *dead)
{
	uint32_t start = t->reclaim;

	for (unsigned int tries = 0; tries < 2 * RECLAIM_LOOKS; tries++) {
		uint32_t slot;
		struct fs_node *n;

		if (tries == RECLAIM_LOOKS)
			t->reclaim = start;
		slot = ++t->reclaim;
		if (slot >= t->top)
			slot = t->reclaim = NODE_ROOT + 1;
		n = &t->mem[slot];
		if (!is_reclaimable(n) ||
		    __atomic_exchange_n(&n->used, 0, __ATOMIC_RELAXED))
			continue;
		node_drop(t, n, dead);
		return true;
	}
	return false;
}

/* Free the highest slots, in sequence, so that whole pages become free. */
static void trim(struct fs_nodes *t)
{
	for (uint32_t slot = t->top; slot > NODE_ROOT + 1 &&
	     t->count > t->limit; slot--) {
		struct node_dead dead = { .nr = 0 };
		struct fs_node *n = &t->mem[slot - 1];

		pthread_mutex_lock(&t->lock);
		if (is_reclaimable(n))
			node_drop(t, n, &dead);
		nodes_unlock(t, &dead);
	}
}

void nodes_trim(struct fs *fs)
{
	struct fs_session *s = fs->session;
	struct fs_nodes *t = fs->nodes;
	uint32_t half;

	if (s->squeeze) {
		half = s->squeeze < 32 ? t->count >> s->squeeze : 0;
		s->node_limit = half > LEAST_NODES ? half : LEAST_NODES;
		s->squeeze = 0;
		nodes_limit(fs);
	}
	if (t->limit)
		trim(t);
}
