/* SPDX-License-Identifier: MIT */
/*
 * The guest's open files. A handle's number (fh) is slot and generation, like a
 * node id, and no generation is used twice. An open handle has one pin of its
 * own, which RELEASE removes; requests pin it while they use the descriptor,
 * and the last unpin closes it. So a READ that runs during a RELEASE succeeds,
 * and a number that was released is EBADF.
 *
 * Slots are in the arena, since descriptors outlive a worker. Buffers of
 * directories being read are private and made when first needed; without one
 * the directory is read from the guest's offset.
 *
 * The lock covers slots and buffers. Under it memory is allocated, and a chunk
 * of the arena that became empty is given back (fallocate); the share is not
 * touched, and no other lock is taken.
 */

#include "fsserver/nodes/nodetab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define HANDLES_VERSION	1
#define HANDLES_CHUNK	512u
#define MAX_DIR_BUFFERS	512u

struct fs_handle {
	uint64_t ref;		/* atomic; generation << 28 | pins, 0: free */
	uint32_t slot, node;	/* constant */
	int32_t fd;		/* constant */
	uint32_t flags;		/* atomic; enum handle_flag */
	uint64_t pad;
};

ARENA_LAYOUT(HANDLES_VERSION, struct fs_handle, 32);

_Static_assert(sizeof(struct fs_handle) * HANDLES_CHUNK % 4096 == 0,
	       "chunks are whole pages");

struct fs_handles {
	pthread_mutex_t lock;	/* slab, gen, dirs */
	struct slab *slab;
	struct fs_handle *mem;
	uint32_t top;		/* atomic */
	uint64_t gen;
	struct fs_dir **dirs;	/* by slot */
	size_t dirs_size;
	unsigned int nr_dirs;
};

static uint64_t handle_ref(const struct fs_handle *h)
{
	return __atomic_load_n(&h->ref, __ATOMIC_SEQ_CST);
}

/* Slot 0 is no handle: it tells an adopting worker how far to look. */
static void handles_note(struct fs_handles *t)
{
	t->mem[0].pad = t->gen;
	t->mem[0].node = slab_top(t->slab);
	__atomic_store_n(&t->top, slab_top(t->slab), __ATOMIC_RELEASE);
}

int handle_add(struct fs_worker *w, struct fs_node *node, int fd,
	       uint32_t flags, uint64_t *fh, uint64_t *note)
{
	struct fs *fs = w->fs;
	struct fs_handles *t = fs->handles;
	struct fs_handle *h;
	int64_t slot;

	pthread_mutex_lock(&t->lock);
	slot = slab_alloc(t->slab, 1);
	if (slot < 0) {
		pthread_mutex_unlock(&t->lock);
		return -ENFILE;
	}
	h = &t->mem[slot];
	h->slot = (uint32_t)slot;
	h->node = node->slot;
	h->fd = fd;
	__atomic_store_n(&h->flags, flags, __ATOMIC_RELAXED);
	node_hold(fs, node);
	t->gen++;
	handles_note(t);
	*fh = t->gen << NODE_SLOT_BITS | (uint32_t)slot;
	if (note)
		*note = *fh;
	arena_commit();
	__atomic_store_n(&h->ref, t->gen << NODE_SLOT_BITS | 1,
			 __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static void handle_free(struct fs *fs, struct fs_handle *h)
{
	struct fs_handles *t = fs->handles;
	struct fs_node *node = node_at(fs, h->node);
	struct fs_dir *dir;
	int fd = h->fd;

	pthread_mutex_lock(&t->lock);
	dir = t->dirs[h->slot];
	if (dir)
		t->nr_dirs--;
	t->dirs[h->slot] = NULL;
	__atomic_store_n(&h->ref, 0, __ATOMIC_SEQ_CST);
	slab_free(t->slab, h->slot);
	pthread_mutex_unlock(&t->lock);
	if (dir) {
		pthread_mutex_destroy(&dir->lock);
		free(dir);
	}
	close(fd);
	fd_uncharge(fs);
	node_unhold(fs, node);
}

static void handle_unpin(struct fs *fs, struct fs_handle *h)
{
	uint64_t ref = __atomic_sub_fetch(&h->ref, 1, __ATOMIC_SEQ_CST);

	if ((ref & NODE_PINS) == 0)
		handle_free(fs, h);
}

/* Pin an open handle; one without pins is being freed. */
static bool handle_pin(struct fs_handle *h, uint64_t gen)
{
	uint64_t ref = handle_ref(h);

	do {
		if ((ref & NODE_PINS) == 0 || (ref & ~NODE_PINS) != gen)
			return false;
	} while (!__atomic_compare_exchange_n(&h->ref, &ref, ref + 1, true,
					      __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	return true;
}

int handle_get(struct fs_worker *w, uint64_t fh, struct fs_handle **handle)
{
	struct fs_handles *t = w->fs->handles;
	uint64_t slot = fh & NODE_PINS;
	struct fs_handle *h;

	if (slot == 0 || slot >= __atomic_load_n(&t->top, __ATOMIC_ACQUIRE))
		return -EBADF;
	h = &t->mem[slot];
	if (!handle_pin(h, fh & ~NODE_PINS))
		return -EBADF;
	if (handle_flags(h) & HANDLE_RELEASED ||
	    (w->node && h->node != w->node->slot)) {
		handle_unpin(w->fs, h);
		return -EBADF;
	}
	*handle = h;
	return 0;
}

void handle_put(struct fs_worker *w, struct fs_handle *handle)
{
	handle_unpin(w->fs, handle);
}

int handle_fd(const struct fs_handle *handle)
{
	return handle->fd;
}

struct fs_node *handle_node(struct fs *fs, const struct fs_handle *handle)
{
	return node_at(fs, handle->node);
}

uint32_t handle_flags(const struct fs_handle *handle)
{
	return __atomic_load_n(&handle->flags, __ATOMIC_RELAXED);
}

void handle_flag(struct fs_handle *handle, uint32_t flag)
{
	__atomic_fetch_or(&handle->flags, flag, __ATOMIC_RELAXED);
}

static bool release(struct fs *fs, struct fs_handle *h)
{
	uint32_t had = __atomic_fetch_or(&h->flags, HANDLE_RELEASED,
					 __ATOMIC_SEQ_CST);

	if (had & HANDLE_RELEASED)
		return false;
	handle_unpin(fs, h);
	return true;
}

bool handle_release(struct fs_worker *w, struct fs_handle *handle)
{
	return release(w->fs, handle);
}

void handle_undo(struct fs *fs, uint64_t fh)
{
	struct fs_handles *t = fs->handles;
	uint64_t slot = fh & NODE_PINS;
	struct fs_handle *h;

	if (slot >= __atomic_load_n(&t->top, __ATOMIC_ACQUIRE))
		return;
	h = &t->mem[slot];
	if (!handle_pin(h, fh & ~NODE_PINS))
		return;
	release(fs, h);
	handle_unpin(fs, h);
}

/*
 * Searches all handles, and pins each to read it. Needed only for a file
 * without a name whose descriptor was evicted, which is rare; and there are no
 * more handles than the budget of descriptors.
 */
int handles_open_node(struct fs *fs, const struct fs_node *node)
{
	struct fs_handles *t = fs->handles;
	uint32_t top = __atomic_load_n(&t->top, __ATOMIC_ACQUIRE);
	char path[PROC_PATH_SIZE];
	int fd = -ESTALE;

	if (fs->place.proc < 0)
		return fd;
	for (uint32_t slot = 1; slot < top && fd == -ESTALE; slot++) {
		struct fs_handle *h = &t->mem[slot];

		if (!handle_pin(h, handle_ref(h) & ~NODE_PINS))
			continue;
		if (h->node == node->slot) {
			proc_path(path, h->fd);
			do {
				fd = openat(fs->place.proc, path,
					    O_PATH | O_CLOEXEC);
				if (fd < 0)
					fd = -errno;
			} while ((fd == -EMFILE || fd == -ENFILE) &&
				 fdcache_shrink(fs));
		}
		handle_unpin(fs, h);
	}
	return fd;
}

int handles_mark(struct arena *arena, void (*mark)(void *ctx, int fd),
		 void *ctx)
{
	const struct fs_handle *handle;
	uint64_t size = 0;
	void *mem;
	int err = arena_region(arena, ARENA_HANDLES, HANDLES_VERSION, &size,
			       &mem, NULL);

	if (err)
		return err == -ENOENT ? 0 : err;
	handle = mem;
	for (uint32_t slot = 1;
	     slot < handle->node && slot < size / sizeof(*handle); slot++)
		if (handle[slot].ref)
			mark(ctx, handle[slot].fd);
	return 0;
}

struct fs_dir *handle_dir(struct fs *fs, struct fs_handle *handle)
{
	struct fs_handles *t = fs->handles;
	struct fs_dir *dir, *made = NULL;

	pthread_mutex_lock(&t->lock);
	dir = t->dirs[handle->slot];
	if (!dir && t->nr_dirs < MAX_DIR_BUFFERS)
		made = malloc(sizeof(*made));
	if (made) {
		pthread_mutex_init(&made->lock, NULL);
		made->next = 0;
		made->pos = made->len = 0;
		made->primed = false;
		dir = t->dirs[handle->slot] = made;
		t->nr_dirs++;
	}
	pthread_mutex_unlock(&t->lock);
	if (dir)
		pthread_mutex_lock(&dir->lock);
	return dir;
}

void handles_drop_all(struct fs *fs)
{
	struct fs_handles *t = fs->handles;
	uint32_t top = __atomic_load_n(&t->top, __ATOMIC_ACQUIRE);

	for (uint32_t slot = 1; slot < top; slot++) {
		struct fs_handle *h = &t->mem[slot];
		uint64_t ref = handle_ref(h);

		if ((ref & NODE_PINS) == 0 || !handle_pin(h, ref & ~NODE_PINS))
			continue;
		release(fs, h);
		handle_unpin(fs, h);
	}
}

/* A worker died: its handles are still open; pins of its requests are void. */
static int adopt(struct fs *fs)
{
	struct fs_handles *t = fs->handles;
	uint32_t top = t->mem[0].node;

	if (top > t->dirs_size / sizeof(struct fs_dir *))
		return -EPROTO;
	t->gen = t->mem[0].pad;
	for (uint32_t slot = 1; slot < top; slot++) {
		struct fs_handle *h = &t->mem[slot];

		if (!h->ref)
			continue;
		if (h->node >= fs->nodes->top ||
		    slab_claim(t->slab, 1, slot) < 0)
			return -EPROTO;
		h->ref = (h->ref & ~NODE_PINS) | 1;
		node_hold(fs, node_at(fs, h->node));
		/* They were charged before, perhaps with the reserve. */
		if (fd_charge(fs, true) < 0)
			return -EMFILE;
		if (h->flags & HANDLE_RELEASED)
			handle_unpin(fs, h);
	}
	__atomic_store_n(&t->top, top, __ATOMIC_RELEASE);
	return 0;
}

int handles_open(struct fs *fs)
{
	struct fs_handles *t = calloc(1, sizeof(*t));
	uint64_t size = (uint64_t)(1u << 20) * sizeof(struct fs_handle);
	struct stat st;
	void *mem;
	bool fresh;
	int err;

	if (!t)
		return -ENOMEM;
	fs->handles = t;
	pthread_mutex_init(&t->lock, NULL);
	if (fstat(arena_fd(fs->arena), &st) == 0 &&
	    size > (uint64_t)st.st_size / 16)
		size = (uint64_t)st.st_size / 16;
	err = arena_region(fs->arena, ARENA_HANDLES, HANDLES_VERSION, &size,
			   &mem, &fresh);
	if (err)
		return err;
	t->mem = mem;
	err = slab_open(&t->slab, fs->arena, mem, size, sizeof(*t->mem),
			HANDLES_CHUNK, 1);
	if (err)
		return err;
	t->dirs_size = size / sizeof(*t->mem) * sizeof(struct fs_dir *);
	t->dirs = pages_alloc(t->dirs_size);
	if (!t->dirs)
		return -ENOMEM;
	err = slab_claim(t->slab, 1, 0);
	if (!err && !fresh)
		err = adopt(fs);
	return err;
}

void handles_close(struct fs *fs)
{
	struct fs_handles *t = fs->handles;

	if (!t)
		return;
	handles_drop_all(fs);
	pages_free(t->dirs, t->dirs_size);
	slab_close(t->slab);
	pthread_mutex_destroy(&t->lock);
	free(t);
	fs->handles = NULL;
}
