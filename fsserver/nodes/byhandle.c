/* SPDX-License-Identifier: MIT */
/*
 * File handles: a second way to a file whose descriptor was evicted, for
 * shares with inode-handles=on. A file that the host moved to where the guest
 * never was has no name here any more; its handle still finds it.
 *
 * A handle is noted when the guest looks the file up, in a slot of the arena
 * next to the node's, so that the next worker has it as well. It belongs to one
 * node only (the slot has the node's number), and what was opened by it counts
 * only if its key is the node's: a note that is out of date, or of another file
 * that had the name for a moment, leads nowhere.
 *
 * Only files of the share's own file system have notes; those of others that
 * are mounted below it, and those whose handle is longer than a slot, are
 * found by name alone. The kernel wants CAP_DAC_READ_SEARCH in its first user
 * namespace: fs_confine() refuses where the kernel refuses it.
 *
 * This is for a host that moves files about while a guest has looked them up:
 * without it such a file is ESTALE for the guest until it is looked up again.
 * It costs 64 bytes a node, a name_to_handle_at() when a file becomes known,
 * and a capability that reaches every file of the file system: so it is off
 * unless asked for.
 *
 * The lock covers the notes; one is copied under it, and used without it.
 */

#include "fsserver/nodes/nodetab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTES_VERSION	1
#define NOTE_BYTES	48

struct note {
	uint64_t id;			/* of the node; 0: none */
	uint32_t bytes;
	int32_t type;
	unsigned char data[NOTE_BYTES];
};

ARENA_LAYOUT(NOTES_VERSION, struct note, 64);

struct fs_byhandle {
	pthread_mutex_t lock;
	struct note *notes;		/* in the arena, by slot */
	uint64_t nr;
	int mount;			/* the share's root, not O_PATH */
};

/* The kernel's structure with room for what a note holds. */
union handle {
	struct file_handle head;
	char room[sizeof(struct file_handle) + NOTE_BYTES];
};

void byhandle_note(struct fs *fs, int dirfd, const char *name,
		   const struct statx *stx, uint64_t id)
{
	struct fs_byhandle *b = fs->byhandle;
	const struct node_key *root = &node_at(fs, NODE_ROOT)->key;
	uint64_t slot = id & NODE_PINS;
	union handle h;
	int mount_id;
	bool noted;

	if (!b || slot >= b->nr || stx->stx_dev_major != root->dev_major ||
	    stx->stx_dev_minor != root->dev_minor)
		return;
	pthread_mutex_lock(&b->lock);
	noted = b->notes[slot].id == id;
	pthread_mutex_unlock(&b->lock);
	h.head.handle_bytes = NOTE_BYTES;
	if (noted || name_to_handle_at(dirfd, name, &h.head, &mount_id,
				       name[0] ? 0 : AT_EMPTY_PATH))
		return;
	pthread_mutex_lock(&b->lock);
	b->notes[slot].id = id;
	b->notes[slot].bytes = h.head.handle_bytes;
	b->notes[slot].type = h.head.handle_type;
	memcpy(b->notes[slot].data, h.head.f_handle, NOTE_BYTES);
	pthread_mutex_unlock(&b->lock);
}

int byhandle_open(struct fs *fs, const struct fs_node *node)
{
	struct fs_byhandle *b = fs->byhandle;
	union handle h;
	bool noted;
	int fd;

	if (!b || node->slot >= b->nr)
		return -ESTALE;
	pthread_mutex_lock(&b->lock);
	noted = b->notes[node->slot].id == node_id(node);
	h.head.handle_bytes = b->notes[node->slot].bytes;
	h.head.handle_type = b->notes[node->slot].type;
	memcpy(h.head.f_handle, b->notes[node->slot].data, NOTE_BYTES);
	pthread_mutex_unlock(&b->lock);
	if (!noted || h.head.handle_bytes > NOTE_BYTES)
		return -ESTALE;
	do {
		fd = open_by_handle_at(b->mount, &h.head,
				       O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	} while ((fd == -EMFILE || fd == -ENFILE) && fdcache_shrink(fs));
	return fd;
}

int byhandle_start(struct fs *fs)
{
	struct fs_byhandle *b = calloc(1, sizeof(*b));
	uint64_t size = 1ull << 30;
	struct stat st;
	void *mem;
	int err;

	if (!b)
		return -ENOMEM;
	b->mount = -1;
	pthread_mutex_init(&b->lock, NULL);
	fs->byhandle = b;
	if (fstat(arena_fd(fs->arena), &st) == 0)
		size = (uint64_t)st.st_size / 8;
	err = arena_region(fs->arena, ARENA_FILE_HANDLES, NOTES_VERSION, &size,
			   &mem, NULL);
	if (err)
		return err;
	b->notes = mem;
	b->nr = size / sizeof(*b->notes);
	b->mount = openat(fs->place.root, ".",
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return b->mount < 0 ? -errno : 0;
}

void byhandle_stop(struct fs *fs)
{
	struct fs_byhandle *b = fs->byhandle;

	if (!b)
		return;
	if (b->mount >= 0)
		close(b->mount);
	pthread_mutex_destroy(&b->lock);
	free(b);
	fs->byhandle = NULL;
}
