/* SPDX-License-Identifier: MIT */
/*
 * The node table: the files that the guest knows, by node id and by key.
 *
 * A node id is slot and generation, never an address, and no generation is
 * used twice: an id that a guest makes up is that of a node that it knows, or
 * invalid. Slots are in the arena and refer to each other by slot number, for
 * the next worker; the hash index, the counts of holds and the free cells are
 * private and rebuilt then. A slot is filled in before its `ref` publishes it.
 *
 * References, which together keep a node:
 *   lookups  the guest's, counted by replies and taken back by FORGET; a wrong
 *            FORGET frees nothing that is in use
 *   holds    names below a directory, open handles
 *   pins     requests; the only references taken without the lock
 *
 * One mutex covers names, hash and slots; it is not held during a system call
 * that touches the share. So descriptors of freed nodes are collected and
 * closed after the lock is released: the last close of an unlinked file frees
 * its blocks, which takes time. Only directories that are freed with the last
 * name below them are closed under it, beyond a batch (struct node_dead).
 */

#include "fsserver/nodes/nodetab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES_CHUNK	512u
#define MAX_NAMES	8
#define MAX_SLOTS	(1u << NODE_SLOT_BITS)
#define FULL_TRIES	64	/* names have many sizes */

_Static_assert(sizeof(struct fs_node) * NODES_CHUNK % 4096 == 0,
	       "chunks are whole pages");

void nodes_unlock(struct fs_nodes *t, struct node_dead *dead)
{
	pthread_mutex_unlock(&t->lock);
	for (unsigned int i = 0; i < dead->nr; i++)
		close(dead->fds[i]);
}

/* Slot 0 is no node: it tells an adopting worker how far to look. */
static void table_note(struct fs_nodes *t)
{
	t->mem[0].key.ino = t->gen;
	t->mem[0].key.mnt = slab_top(t->slab);
	__atomic_store_n(&t->top, slab_top(t->slab), __ATOMIC_RELEASE);
}

static uint64_t node_ref(const struct fs_node *node)
{
	return __atomic_load_n(&node->ref, __ATOMIC_SEQ_CST);
}

struct fs_node *node_at(struct fs *fs, uint32_t slot)
{
	return &fs->nodes->mem[slot];
}

uint64_t node_id(const struct fs_node *node)
{
	return (node_ref(node) & ~NODE_PINS) | node->slot;
}

uint32_t node_type(const struct fs_node *node)
{
	return __atomic_load_n(&node->key.type, __ATOMIC_RELAXED);
}

uint64_t nodes_count(struct fs *fs)
{
	struct fs_nodes *t = fs->nodes;
	uint64_t count;

	pthread_mutex_lock(&t->lock);
	count = t->count;
	pthread_mutex_unlock(&t->lock);
	return count;
}

/* ---- references --------------------------------------------------------- */

/* Pin a node that the lock, a hold or a lookup keeps from being freed. */
static void node_pin(struct fs_node *node)
{
	__atomic_fetch_add(&node->ref, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&node->used, __ATOMIC_RELAXED))
		__atomic_store_n(&node->used, 1, __ATOMIC_RELAXED);
}

int node_get(struct fs *fs, uint64_t nodeid, struct fs_node **node)
{
	struct fs_nodes *t = fs->nodes;
	uint64_t slot = nodeid & NODE_PINS, ref;
	struct fs_node *n;

	if (slot == 0 || slot >= __atomic_load_n(&t->top, __ATOMIC_ACQUIRE))
		return -ESTALE;
	n = &t->mem[slot];
	ref = node_ref(n);
	do {
		if (ref == 0 || (ref & ~NODE_PINS) != (nodeid & ~NODE_PINS))
			return -ESTALE;
	} while (!__atomic_compare_exchange_n(&n->ref, &ref, ref + 1, true,
					      __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	if (!__atomic_load_n(&n->used, __ATOMIC_RELAXED))
		__atomic_store_n(&n->used, 1, __ATOMIC_RELAXED);
	*node = n;
	return 0;
}

/*
 * Take the node for freeing if nothing refers to it. Its ref is cleared first:
 * from then on it can't be pinned, and holds of earlier pins are visible.
 */
static bool node_take(struct fs_node *node)
{
	uint64_t ref = node_ref(node);

	if (ref & NODE_PINS || ref == 0)
		return false;
	if (__atomic_load_n(&node->lookups, __ATOMIC_SEQ_CST) ||
	    __atomic_load_n(&node->holds, __ATOMIC_SEQ_CST))
		return false;
	if (!__atomic_compare_exchange_n(&node->ref, &ref, 0, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	if (!__atomic_load_n(&node->holds, __ATOMIC_SEQ_CST))
		return true;
	__atomic_store_n(&node->ref, ref, __ATOMIC_SEQ_CST);
	return false;
}

void node_reap(struct fs_nodes *t, struct fs_node *node,
	       struct node_dead *dead)
{
	uint32_t list = 0;

	if (node->slot == NODE_ROOT || !node_take(node))
		return;
	node_hash_del(t, node);
	node->chain = 0;
	list = node->slot;
	while (list) {
		struct fs_node *n = &t->mem[list];
		int fd = fdcache_detach(t->fs, n);

		list = n->chain;
		if (fd >= 0 && dead->nr < ARRAY_SIZE(dead->fds))
			dead->fds[dead->nr++] = fd;
		else if (fd >= 0)
			close(fd);
		while (n->names) {
			uint32_t index = n->names;
			struct fs_name *name = names_at(t->names, index);
			struct fs_node *parent = &t->mem[name->parent];

			n->names = name->next;
			names_free(t->names, index);
			__atomic_fetch_sub(&parent->holds, 1, __ATOMIC_SEQ_CST);
			if (parent->slot == NODE_ROOT || !node_take(parent))
				continue;
			node_hash_del(t, parent);
			parent->chain = list;
			list = parent->slot;
		}
		slab_free(t->slab, n->slot);
	}
}

static void node_try_reap(struct fs *fs, uint32_t slot)
{
	struct fs_nodes *t = fs->nodes;
	struct node_dead dead = { .nr = 0 };

	pthread_mutex_lock(&t->lock);
	node_reap(t, &t->mem[slot], &dead);
	nodes_unlock(t, &dead);
}

void node_put(struct fs *fs, struct fs_node *node)
{
	uint32_t slot = node->slot;
	uint64_t ref = __atomic_sub_fetch(&node->ref, 1, __ATOMIC_SEQ_CST);

	/* From here on the slot may be freed, and used for another node. */
	if ((ref & NODE_PINS) == 0 &&
	    __atomic_load_n(&node->lookups, __ATOMIC_SEQ_CST) == 0)
		node_try_reap(fs, slot);
}

void node_hold(struct fs *fs, struct fs_node *node)
{
	(void)fs;
	__atomic_fetch_add(&node->holds, 1, __ATOMIC_SEQ_CST);
}

void node_unhold(struct fs *fs, struct fs_node *node)
{
	uint32_t slot = node->slot;

	if (__atomic_sub_fetch(&node->holds, 1, __ATOMIC_SEQ_CST) == 0 &&
	    __atomic_load_n(&node->lookups, __ATOMIC_SEQ_CST) == 0)
		node_try_reap(fs, slot);
}

void nodes_count_by(struct fs *fs, node_count_fn *count)
{
	fs->nodes->count_by = count;
}

bool nodes_have(const struct fs *fs, uint32_t slot)
{
	return slot < fs->nodes->top;
}

bool nodes_eager(struct fs *fs)
{
	unsigned int *left = &fs->nodes->eager;
	unsigned int n = __atomic_load_n(left, __ATOMIC_RELAXED);

	if (n)
		__atomic_store_n(left, n - 1, __ATOMIC_RELAXED);
	return n;
}

/* With the table's lock. */
static void count_lookups(struct fs_nodes *t, struct journal_entry *e,
			  struct fs_node *node, uint64_t lookups, uint64_t id)
{
	if (e && t->count_by)
		t->count_by(t->fs, e, node, lookups, id);
	else if (node)
		__atomic_store_n(&node->lookups, lookups, __ATOMIC_SEQ_CST);
}

void node_forget(struct fs *fs, uint64_t id, uint64_t count,
		 struct journal_entry *e)
{
	struct fs_nodes *t = fs->nodes;
	struct node_dead dead = { .nr = 0 };
	uint64_t slot = id & NODE_PINS, had;
	struct fs_node *n;

	if (slot <= NODE_ROOT ||
	    slot >= __atomic_load_n(&t->top, __ATOMIC_ACQUIRE))
		slot = 0;
	n = &t->mem[slot];
	pthread_mutex_lock(&t->lock);
	if (slot && node_ref(n) && node_id(n) == id) {
		had = __atomic_load_n(&n->lookups, __ATOMIC_RELAXED);
		had = count < had ? had - count : 0;
		count_lookups(t, e, n, had, 0);
		if (had == 0)
			node_reap(t, n, &dead);
	} else {
		count_lookups(t, e, NULL, 0, 0);
	}
	nodes_unlock(t, &dead);
}

/* ---- names -------------------------------------------------------------- */

/* Remove the name at @link, and free directories that only it held. */
static void name_drop(struct fs_nodes *t, uint32_t *link,
		      struct node_dead *dead)
{
	uint32_t index = *link;
	struct fs_name *name = names_at(t->names, index);
	struct fs_node *parent = &t->mem[name->parent];

	*link = name->next;
	names_free(t->names, index);
	__atomic_fetch_sub(&parent->holds, 1, __ATOMIC_SEQ_CST);
	node_reap(t, parent, dead);
}

/*
 * The directory @node gets a name in @parent. If @parent is below @node in the
 * table, one of the names between them is outdated and is removed; otherwise
 * the nodes would hold each other and never be freed. The same goes for cycles
 * above @parent: a guest may ask for renames that no kernel would do.
 */
static void break_cycle(struct fs_nodes *t, const struct fs_node *node,
			struct fs_node *parent, struct node_dead *dead)
{
	struct fs_node *n = parent;
	uint32_t steps = t->count;

	while (n->names) {
		struct fs_node *up;

		up = &t->mem[names_at(t->names, n->names)->parent];
		if (up == node || !steps--) {
			name_drop(t, &n->names, dead);
			if (!n->names)
				fdcache_keep(t->fs, n);
			return;
		}
		n = up;
	}
}

/* Add a name; with the lock. Directories have one, other files several. */
static int name_add(struct fs_nodes *t, struct fs_node *node,
		    struct fs_node *parent, const char *text,
		    struct node_dead *dead)
{
	uint32_t *link = &node->names, index;
	unsigned int nr = 0;

	for (; *link; link = &names_at(t->names, *link)->next, nr++)
		if (names_equal(names_at(t->names, *link), parent->slot, text))
			return 0;
	index = names_add(t->names, parent->slot, text);
	if (!index)
		return -ENOMEM;
	__atomic_fetch_add(&parent->holds, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(link, index, __ATOMIC_RELEASE);
	if (nr == MAX_NAMES || (nr && S_ISDIR(node->key.type)))
		name_drop(t, &node->names, dead);
	if (__atomic_load_n(&node->holds, __ATOMIC_RELAXED) &&
	    S_ISDIR(node->key.type))
		break_cycle(t, node, parent, dead);
	return 0;
}

int node_name_add(struct fs *fs, struct fs_node *node, struct fs_node *parent,
		  const char *name)
{
	struct fs_nodes *t = fs->nodes;
	struct node_dead dead = { .nr = 0 };
	int err;

	pthread_mutex_lock(&t->lock);
	err = name_add(t, node, parent, name, &dead);
	if (!err)
		fdcache_unkeep(fs, node);
	nodes_unlock(t, &dead);
	return err;
}

void node_name_del(struct fs *fs, struct fs_node *node, struct fs_node *parent,
		   const char *name)
{
	struct fs_nodes *t = fs->nodes;
	struct node_dead dead = { .nr = 0 };
	uint32_t *link = &node->names;

	pthread_mutex_lock(&t->lock);
	while (*link) {
		struct fs_name *n = names_at(t->names, *link);

		if (!names_equal(n, parent->slot, name)) {
			link = &n->next;
			continue;
		}
		name_drop(t, link, &dead);
		if (!node->names)
			fdcache_keep(fs, node);
		break;
	}
	nodes_unlock(t, &dead);
}

struct fs_node *node_name_at(struct fs *fs, struct fs_node *node,
			     unsigned int nth, char *name)
{
	struct fs_nodes *t = fs->nodes;
	struct fs_node *parent = NULL;
	uint32_t index;

	pthread_mutex_lock(&t->lock);
	for (index = node->names; index && nth; nth--)
		index = names_at(t->names, index)->next;
	if (index) {
		struct fs_name *n = names_at(t->names, index);

		memcpy(name, n->text, n->len + 1u);
		parent = &t->mem[n->parent];
		node_pin(parent);
	}
	pthread_mutex_unlock(&t->lock);
	return parent;
}

/* ---- adding ------------------------------------------------------------- */

static struct fs_node *node_make(struct fs_nodes *t, const struct node_key *key,
				 uint32_t hash, struct fs_node *parent,
				 const char *name, struct node_dead *dead)
{
	int64_t slot = slab_alloc(t->slab, 1);
	struct fs_node *n;

	if (slot < 0)
		return NULL;
	n = &t->mem[slot];
	n->slot = (uint32_t)slot;
	n->key = *key;
	n->hash = hash;
	n->fd = -1;
	n->names = 0;
	n->cached = 0;
	n->kept = 0;
	n->asked = 0;
	__atomic_store_n(&n->large, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&n->used, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&n->holds, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&n->lookups, 0, __ATOMIC_RELAXED);
	if (parent && name_add(t, n, parent, name, dead) < 0) {
		slab_free(t->slab, n->slot);
		return NULL;
	}
	t->gen++;
	table_note(t);
	__atomic_store_n(&n->ref, t->gen << NODE_SLOT_BITS, __ATOMIC_SEQ_CST);
	node_hash_add(t, n);
	return n;
}

int node_add(struct fs *fs, struct fs_node *parent, const char *name,
	     const struct statx *stx, uint64_t *id, struct fs_node **pinned,
	     struct journal_entry *e)
{
	struct fs_nodes *t = fs->nodes;
	struct node_dead dead = { .nr = 0 };
	struct node_key key;
	struct fs_node *n;
	uint32_t hash;
	int err = 0;

	node_key(&key, stx);
	hash = node_key_hash(&key);
	pthread_mutex_lock(&t->lock);
	n = node_hash_find(t, &key, hash);
	if (n && parent && n->slot != NODE_ROOT) {
		err = name_add(t, n, parent, name, &dead);
		if (n->kept)
			fdcache_unkeep(fs, n);
	} else if (!n) {
		if (t->limit && t->count >= t->limit)
			node_reclaim(t, &dead);
		n = node_make(t, &key, hash, parent, name, &dead);
		for (int i = 0; !n && i < FULL_TRIES &&
		     node_reclaim(t, &dead); i++)
			n = node_make(t, &key, hash, parent, name, &dead);
		err = n ? 0 : -ENOMEM;
	}
	if (!err) {
		*id = node_id(n);
		count_lookups(t, e, n, n->lookups + 1, *id);
		if (pinned) {
			node_pin(n);
			*pinned = n;
		}
	}
	nodes_unlock(t, &dead);
	return err;
}

struct fs_node *node_find_key(struct fs *fs, const struct node_key *key)
{
	struct fs_nodes *t = fs->nodes;
	struct fs_node *n;

	pthread_mutex_lock(&t->lock);
	n = node_hash_find(t, key, node_key_hash(key));
	if (n)
		node_pin(n);
	pthread_mutex_unlock(&t->lock);
	return n;
}

struct fs_node *node_find(struct fs *fs, const struct statx *stx)
{
	struct node_key key;

	node_key(&key, stx);
	return node_find_key(fs, &key);
}

/* ---- opening and adopting ----------------------------------------------- */

/* A worker died: rebuild the counts of holds, the index and the slabs. */
static int adopt(struct fs_nodes *t)
{
	uint64_t top = t->mem[0].key.mnt;

	if (top > t->buckets_size / sizeof(*t->buckets))
		return -EPROTO;
	t->gen = t->mem[0].key.ino;
	for (uint32_t slot = 0; slot < top; slot++)
		__atomic_store_n(&t->mem[slot].holds, 0, __ATOMIC_RELAXED);
	for (uint32_t slot = NODE_ROOT; slot < top; slot++) {
		struct fs_node *n = &t->mem[slot];
		uint32_t *link = &n->names;

		if (!n->ref)
			continue;
		if (slab_claim(t->slab, 1, slot) < 0)
			return -EPROTO;
		n->ref &= ~NODE_PINS;
		if (slot == NODE_ROOT)
			n->ref = 1;	/* like in make_root() */
		n->cached = 0;
		n->kept = 0;
		n->hash = node_key_hash(&n->key);
		while ((*link = names_sane(t->names, *link))) {
			struct fs_name *name = names_at(t->names, *link);

			/* It died while it renamed a directory. */
			if (name->next && S_ISDIR(n->key.type)) {
				*link = name->next;
				continue;
			}
			if (name->parent >= top ||
			    !t->mem[name->parent].ref ||
			    names_claim(t->names, *link) < 0) {
				*link = 0;
				break;
			}
			t->mem[name->parent].holds++;
			link = &name->next;
		}
		node_hash_add(t, n);
	}
	__atomic_store_n(&t->top, (uint32_t)top, __ATOMIC_RELEASE);
	return 0;
}

/* The share's root: slot 1, generation 0, never forgotten, always open. */
static int make_root(struct fs *fs)
{
	struct fs_nodes *t = fs->nodes;
	struct node_key key;
	struct statx stx;
	struct fs_node *n;
	int err = fs_statx(fs->place.root, "", FS_STATX_MASK, &stx);

	if (err)
		return err;
	node_key(&key, &stx);
	n = node_make(t, &key, node_key_hash(&key), NULL, NULL, NULL);
	if (!n || n->slot != NODE_ROOT)
		return -ENOMEM;
	t->gen = 0;
	table_note(t);
	n->lookups = 1;
	n->fd = fs->place.root;
	/* Generation 0, with a pin that stays, so that ref is not 0. */
	__atomic_store_n(&n->ref, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static int nodes_map(struct fs *fs, struct fs_nodes *t, bool *fresh)
{
	uint64_t arena = 1ull << 30, size;
	struct stat st;
	void *mem;
	int err;

	if (fstat(arena_fd(fs->arena), &st) == 0)
		arena = (uint64_t)st.st_size;
	size = arena / 8 * 3;
	if (size > (uint64_t)MAX_SLOTS * sizeof(*t->mem))
		size = (uint64_t)MAX_SLOTS * sizeof(*t->mem);
	err = arena_region(fs->arena, ARENA_NODES, NODES_VERSION, &size, &mem,
			   fresh);
	if (err)
		return err;
	t->mem = mem;
	err = slab_open(&t->slab, fs->arena, mem, size, sizeof(*t->mem),
			NODES_CHUNK, 1);
	if (err)
		return err;
	err = slab_claim(t->slab, 1, 0);
	if (err)
		return err;
	err = names_open(&t->names, fs->arena, arena / 8 * 3);
	if (err)
		return err;
	t->buckets_size = size / sizeof(*t->mem) * sizeof(*t->buckets);
	if (t->buckets_size < 2 * MIN_BUCKETS * sizeof(*t->buckets))
		return -ENOSPC;
	t->buckets = pages_alloc(t->buckets_size);
	return t->buckets ? 0 : -ENOMEM;
}

/* Old kernels lack openat2(), and some containers forbid it. */
static bool has_openat2(struct fs *fs)
{
	int fd;

	fs->nodes->openat2 = true;
	fd = fs_openat(fs, fs->place.root, ".", O_PATH | O_CLOEXEC, 0);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int nodes_open(struct fs *fs)
{
	struct fs_nodes *t = calloc(1, sizeof(*t));
	bool fresh = true;
	int err;

	if (!t)
		return -ENOMEM;
	fs->nodes = t;
	t->fs = fs;
	t->base = MIN_BUCKETS;
	pthread_mutex_init(&t->lock, NULL);
	nodes_limit(fs);
	err = fdcache_open(fs);
	t->openat2 = !err && has_openat2(fs);
	if (!err)
		err = nodes_map(fs, t, &fresh);
	if (!err)
		err = fresh ? make_root(fs) : adopt(t);
	if (!err && !fresh)
		err = fdcache_adopt(fs);
	if (!err)
		err = mounts_open(fs);
	return err;
}

void nodes_drop_all(struct fs *fs)
{
	struct fs_nodes *t = fs->nodes;
	uint32_t top = __atomic_load_n(&t->top, __ATOMIC_ACQUIRE);

	for (uint32_t slot = NODE_ROOT + 1; slot < top; slot++) {
		struct node_dead dead = { .nr = 0 };
		struct fs_node *n = &t->mem[slot];

		if (node_ref(n) == 0)
			continue;
		pthread_mutex_lock(&t->lock);
		__atomic_store_n(&n->lookups, 0, __ATOMIC_SEQ_CST);
		node_reap(t, n, &dead);
		nodes_unlock(t, &dead);
	}
}

void nodes_settle(struct fs *fs)
{
	struct fs_nodes *t = fs->nodes;

	if (t->count == 1)
		return;		/* only the root: touch no other page */
	for (uint32_t slot = NODE_ROOT + 1; slot < t->top; slot++)
		if (t->mem[slot].ref && !t->mem[slot].lookups)
			node_try_reap(fs, slot);
	nodes_trim(fs);
}

/* The nodes stay in the arena; their descriptors are closed only with it. */
void nodes_close(struct fs *fs)
{
	struct fs_nodes *t = fs->nodes;

	if (!t)
		return;
	if (t->mem && t->top)
		nodes_drop_all(fs);
	mounts_close(fs);
	fdcache_close(fs);
	pages_free(t->buckets, t->buckets_size);
	slab_close(t->slab);
	names_close(t->names);
	pthread_mutex_destroy(&t->lock);
	free(t);
	fs->nodes = NULL;
}
