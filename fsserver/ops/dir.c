/* SPDX-License-Identifier: MIT */
/*
 * Directories: OPENDIR, READDIR, READDIRPLUS, FSYNCDIR, RELEASEDIR.
 *
 * Offsets are the host's, so a guest may seek to any offset that it was given.
 * Entries are read in blocks of 32 KiB that are kept with the handle: a guest
 * that reads in order, in pieces of any size, costs one getdents64() a block.
 *
 * READDIRPLUS looks up each entry: one statx(), and a lookup is counted for
 * exactly those entries that fit into the reply. "." and ".." are not looked
 * up. Where a lookup fails the entry has no node, and the guest sends a LOOKUP.
 */

#include "fsserver/journal/journal.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in getdents64(2); not all C libraries declare it. */
struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

/* One READDIR. */
struct listing {
	struct fs_worker *w;
	int dirfd;
	bool plus;
	size_t room, done;	/* bytes of the reply */
};

int op_opendir(struct fs_worker *w)
{
	struct fuse_open_out out = { .open_flags = 0 };
	int err, fd;

	if (w->writable_len < sizeof(out))
		return -EINVAL;
	err = fd_charge(w->fs, true);
	if (err)
		return err;
	fd = node_open(w, w->node, O_RDONLY | O_DIRECTORY);
	if (fd < 0) {
		fd_uncharge(w->fs);
		return fd;
	}
	err = handle_add(w, w->node, fd, 0, &out.fh, journal_fh(w));
	if (err) {
		close(fd);
		fd_uncharge(w->fs);
		return err;
	}
	if (w->fs->options.cache == FS_CACHE_ALWAYS)
		out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
	return reply_put(w, &out, sizeof(out));
}

int op_releasedir(struct fs_worker *w)
{
	return op_release(w);
}

int op_fsyncdir(struct fs_worker *w)
{
	return op_fsync(w);
}

static bool is_dots(const char *name)
{
	return name[0] == '.' &&
	       (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Look up an entry; all zero for dots and for failures. */
static void list_lookup(struct listing *l, const char *name,
			struct fuse_entry_out *entry)
{
	struct fs_worker *w = l->w;
	struct statx stx;

	*entry = (struct fuse_entry_out){ .nodeid = 0 };
	if (is_dots(name) || fs_statx(l->dirfd, name, FS_STATX_MASK, &stx))
		return;
	if (reply_entry(w, w->node, l->dirfd, name, &stx, entry, NULL))
		*entry = (struct fuse_entry_out){ .nodeid = 0 };
}

/* Append an entry; false when there is no room for it. */
static bool list_entry(struct listing *l, const struct linux_dirent64 *d)
{
	static const char zero[8];
	struct fs_worker *w = l->w;
	const struct node_key *key = &w->node->key;
	size_t len = strlen(d->d_name);
	size_t head = l->plus ? sizeof(struct fuse_entry_out) : 0;
	struct fuse_dirent out = {
		.ino = mount_ino(w->fs, key->dev_major, key->dev_minor,
				 d->d_ino),
		.off = (uint64_t)d->d_off,
		.namelen = (uint32_t)len,
		.type = owner_dtype(w->fs, d->d_type),
	};
	size_t size = head + FUSE_DIRENT_SIZE(&out);
	struct fuse_entry_out entry;

	if (name_hidden(w, w->node, d->d_name))
		return true;
	if (size > l->room - l->done)
		return false;
	/* The root's ".." is itself: the guest is not shown what is above. */
	if (w->node->slot == NODE_ROOT && strcmp(d->d_name, "..") == 0)
		out.ino = key->ino;
	if (l->plus) {
		list_lookup(l, d->d_name, &entry);
		if (entry.nodeid) {
			out.ino = entry.attr.ino;
			out.type = (entry.attr.mode & S_IFMT) >> 12;
		}
		reply_put(w, &entry, sizeof(entry));
	}
	reply_put(w, &out, FUSE_NAME_OFFSET);
	reply_put(w, d->d_name, len);
	reply_put(w, zero, size - head - FUSE_NAME_OFFSET - len);
	l->done += size;
	if (l->plus)
		journal_list(w, l->done);
	return true;
}

/* Read the next block; 0 at the end. */
static int dir_fill(struct fs_dir *dir, int fd)
{
	long n = syscall(SYS_getdents64, fd, dir->buf, sizeof(dir->buf));

	dir->pos = 0;
	dir->len = n > 0 ? (size_t)n : 0;
	return n < 0 ? -errno : (int)n;
}

/* Seek to @offset, unless the buffer goes on there. */
static int dir_seek(struct fs_dir *dir, int fd, uint64_t offset)
{
	if (dir->primed && dir->next == offset)
		return 0;
	dir->pos = dir->len = 0;
	dir->primed = false;
	if (offset > INT64_MAX)
		return -EINVAL;
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	dir->next = offset;
	dir->primed = true;
	return 0;
}

static int list(struct listing *l, struct fs_dir *dir, int fd, uint64_t offset)
{
	int err = dir_seek(dir, fd, offset);

	while (!err) {
		const struct linux_dirent64 *d;

		if (dir->pos >= dir->len) {
			err = dir_fill(dir, fd);
			if (err <= 0)
				break;
			err = 0;
		}
		d = (const void *)(dir->buf + dir->pos);
		if (!list_entry(l, d))
			break;
		dir->pos += d->d_reclen;
		dir->next = (uint64_t)d->d_off;
	}
	if (err < 0)
		dir->primed = false;
	return err < 0 && !l->done ? err : (int)l->done;
}

static int read_dir(struct fs_worker *w, bool plus)
{
	const struct fuse_read_in *in = request_args(w);
	struct listing l = { .w = w, .plus = plus, .room = in->size };
	struct fs_handle *handle;
	struct fs_dir *dir, *own;
	int ret = handle_get(w, in->fh, &handle);

	if (ret)
		return ret;
	if (l.room > w->writable_len)
		l.room = w->writable_len;
	if (l.room > INT32_MAX)
		l.room = INT32_MAX;
	l.dirfd = handle_fd(handle);
	own = dir = handle_dir(w->fs, handle);
	if (!dir) {
		/* Too many buffers: this one is filled for each request. */
		_Static_assert(sizeof(*dir) <= FS_SCRATCH, "room");
		dir = (struct fs_dir *)(void *)w->scratch;
		dir->primed = false;
	}
	ret = list(&l, dir, l.dirfd, in->offset);
	if (own)
		pthread_mutex_unlock(&own->lock);
	handle_put(w, handle);
	return ret;
}

int op_readdir(struct fs_worker *w)
{
	return read_dir(w, false);
}

int op_readdirplus(struct fs_worker *w)
{
	/* An earlier worker counted these; they are already in the reply. */
	if (w->journal && w->journal->listed)
		return (int)w->journal->listed;
	return read_dir(w, true);
}
