/* SPDX-License-Identifier: MIT */
/*
 * Keys, by which files are identified, and the index of nodes by key. The index
 * grows and shrinks by one bucket at a time (linear hashing), so that no
 * request pays for all nodes. It is private, and each worker builds its own.
 * All functions are called with the table's lock, except node_is(), and
 * node_replacing() and node_rekey(), which take it.
 *
 * A key changes where the server itself replaces a file: from node_replacing()
 * to node_rekey() both the old file and the new one are the node's. node_is()
 * compares without the lock first, and again with it if the keys differ. A key
 * read during its change is partly old and partly new, and equals no file's; so
 * a match without the lock is reliable.
 */

#include "fsserver/nodes/nodetab.h"

#include <string.h>
#include <sys/mman.h>

#define KEY_WORDS	(sizeof(struct node_key) / sizeof(uint64_t))

_Static_assert(KEY_WORDS * sizeof(uint64_t) == sizeof(struct node_key),
	       "keys are whole words");

void node_key(struct node_key *key, const struct statx *stx)
{
	memset(key, 0, sizeof(*key));
	key->ino = stx->stx_ino;
	key->mnt = statx_mnt(stx);
	key->dev_major = stx->stx_dev_major;
	key->dev_minor = stx->stx_dev_minor;
	key->type = stx->stx_mode & S_IFMT;
	key->btime = stx->stx_btime.tv_sec;
	key->btime_nsec = stx->stx_btime.tv_nsec;
}

/* Atomic by words, like key_store(): see above. */
static bool key_is(const struct node_key *key, const struct node_key *is)
{
	const uint64_t *k = (const void *)key, *other = (const void *)is;
	uint64_t differ = 0;

	for (size_t i = 0; i < KEY_WORDS; i++)
		differ |= __atomic_load_n(&k[i], __ATOMIC_RELAXED) ^ other[i];
	return !differ;
}

static void key_store(struct node_key *key, const struct node_key *new)
{
	const uint64_t *from = (const void *)new;
	uint64_t *to = (void *)key;

	for (size_t i = 0; i < KEY_WORDS; i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
}

/* The node that will be the file with @key, or NULL. */
static struct fs_node *moving_find(struct fs_nodes *t,
				   const struct node_key *key)
{
	for (unsigned int i = 0; i < NODES_MOVING; i++)
		if (t->moving[i].slot && key_is(&t->moving[i].key, key))
			return &t->mem[t->moving[i].slot];
	return NULL;
}

bool node_is(struct fs *fs, const struct fs_node *node,
	     const struct statx *stx)
{
	struct fs_nodes *t = fs->nodes;
	struct node_key key;
	bool is;

	node_key(&key, stx);
	if (key_is(&node->key, &key))
		return true;
	pthread_mutex_lock(&t->lock);
	is = key_is(&node->key, &key) || moving_find(t, &key) == node;
	pthread_mutex_unlock(&t->lock);
	return is;
}

/*
 * Files that were made together have consecutive inode numbers and are looked
 * up together: sixteen of them share a cache line of the index.
 */
uint32_t node_key_hash(const struct node_key *key)
{
	uint64_t h = (key->ino >> 4) * 0x9e3779b97f4a7c15ull;

	h ^= (key->mnt << 20 ^ key->dev_minor) * 0xc2b2ae3d27d4eb4full;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return (uint32_t)(h >> 32 << 4 | (key->ino & 15));
}

static uint32_t *bucket_of(struct fs_nodes *t, uint32_t hash)
{
	uint32_t b = hash & (2 * t->base - 1);

	if (b >= t->base + t->split)
		b &= t->base - 1;
	return &t->buckets[b];
}

static void hash_grow(struct fs_nodes *t)
{
	uint32_t *from = &t->buckets[t->split], slot = *from;
	uint32_t *to = &t->buckets[t->base + t->split];

	if ((t->base + t->split + 1) * sizeof(*to) > t->buckets_size)
		return;
	*from = 0;
	*to = 0;
	while (slot) {
		struct fs_node *n = &t->mem[slot];
		uint32_t next = n->chain;
		uint32_t *list = n->hash & t->base ? to : from;

		n->chain = *list;
		*list = slot;
		slot = next;
	}
	if (++t->split == t->base) {
		t->base *= 2;
		t->split = 0;
	}
}

static void hash_shrink(struct fs_nodes *t)
{
	uint64_t half = t->base * sizeof(*t->buckets);
	uint32_t *into, slot;

	if (t->split == 0) {
		/* Not beyond the end of the table. */
		madvise(&t->buckets[t->base], half * 2 > t->buckets_size ?
			t->buckets_size - half : half, MADV_DONTNEED);
		t->base /= 2;
		t->split = t->base;
	}
	t->split--;
	slot = t->buckets[t->base + t->split];
	into = &t->buckets[t->split];
	while (slot) {
		struct fs_node *n = &t->mem[slot];
		uint32_t next = n->chain;

		n->chain = *into;
		*into = slot;
		slot = next;
	}
}

void node_hash_add(struct fs_nodes *t, struct fs_node *node)
{
	uint32_t *b = bucket_of(t, node->hash);

	node->chain = *b;
	*b = node->slot;
	stats_gauge(t->fs, STATS_NODES, ++t->count);
	if (t->count > t->base + t->split)
		hash_grow(t);
}

void node_hash_del(struct fs_nodes *t, struct fs_node *node)
{
	uint32_t *b = bucket_of(t, node->hash);

	while (*b != node->slot)
		b = &t->mem[*b].chain;
	*b = node->chain;
	stats_gauge(t->fs, STATS_NODES, --t->count);
	if (t->base > MIN_BUCKETS && t->count < (t->base + t->split) / 4)
		hash_shrink(t);
}

struct fs_node *node_hash_find(struct fs_nodes *t, const struct node_key *key,
			       uint32_t hash)
{
	uint32_t slot = *bucket_of(t, hash);

	while (slot) {
		struct fs_node *n = &t->mem[slot];

		if (n->hash == hash && memcmp(&n->key, key, sizeof(*key)) == 0)
			return n;
		slot = n->chain;
	}
	return moving_find(t, key);
}

/* The entry of this node; of slot 0: a free one. NULL: none. */
static struct node_moving *moving_of(struct fs_nodes *t, uint32_t slot)
{
	for (unsigned int i = 0; i < NODES_MOVING; i++)
		if (t->moving[i].slot == slot)
			return &t->moving[i];
	return NULL;
}

void node_replacing(struct fs *fs, struct fs_node *node,
		    const struct statx *stx)
{
	struct fs_nodes *t = fs->nodes;
	struct node_moving *m;

	pthread_mutex_lock(&t->lock);
	m = moving_of(t, 0);
	if (m) {
		node_key(&m->key, stx);
		m->slot = node->slot;
	}
	pthread_mutex_unlock(&t->lock);
}

void node_rekey(struct fs *fs, struct fs_node *node, const struct statx *stx)
{
	struct fs_nodes *t = fs->nodes;
	struct node_moving *m;
	struct node_key key;

	pthread_mutex_lock(&t->lock);
	m = moving_of(t, node->slot);
	if (m)
		m->slot = 0;
	if (stx) {
		node_key(&key, stx);
		node_hash_del(t, node);
		key_store(&node->key, &key);
		node->hash = node_key_hash(&node->key);
		node_hash_add(t, node);
	}
	pthread_mutex_unlock(&t->lock);
}
