/* SPDX-License-Identifier: MIT */
/*
 * File systems within the share. A share may contain mount points, and mounted
 * file systems are served too, except for types whose files are interfaces of
 * the kernel: `/proc/PID/mem` is a regular file. Whether a mount may be crossed
 * into is determined once and cached.
 *
 * Where mount points are not announced to the guest, it sees one file system.
 * The upper 16 bits of inode numbers of other devices are then XORed with a tag
 * (a count of devices seen so far), so that a guest's tar or find does not take
 * two files for one.
 *
 * There is a table for each of the two, under one lock that most requests never
 * take: it is for files on another mount than their directory or the root. A
 * full table of mounts is emptied, since its content can be determined again.
 * Tags must not change: when their table is full, further devices get a hash of
 * the device number, which two of them may share.
 */

#include "fsserver/nodes/nodetab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MOUNTS		4096u		/* a power of two */
#define MOUNTS_FULL	(MOUNTS / 4 * 3)
#define TAG_MADE	0x8000u		/* tag of a device without an entry */

struct mount_entry {
	uint64_t mnt;		/* 0 for a tag */
	uint64_t dev;
	uint32_t value;		/* a tag, or 1 + whether it is refused; or 0 */
};

struct mount_table {
	uint32_t used;
	struct mount_entry entries[MOUNTS];
};

struct fs_mounts {
	pthread_mutex_t lock;
	uint64_t root_dev;
	struct mount_table mounts, tags;
};

/*
 * f_type in statfs(2) of file systems that are never crossed into. devtmpfs
 * can't be told from tmpfs; its devices are not opened.
 */
static const uint32_t refused[] = {
	0x9fa0,		/* proc */
	0x62656572,	/* sysfs */
	0x27e0eb,	/* cgroup */
	0x63677270,	/* cgroup2 */
	0x7655821,	/* resctrl */
	0x1cd1,		/* devpts */
	0x6c6f6f70,	/* binder */
	0x64626720,	/* debugfs */
	0x74726163,	/* tracefs */
	0x73636673,	/* securityfs */
	0xf97cff8c,	/* selinuxfs */
	0x43415d53,	/* smackfs */
	0x5a3c69f0,	/* apparmorfs */
	0xcafe4a11,	/* bpf */
	0x62656570,	/* configfs */
	0xa647361,	/* functionfs */
	0xaee71ee7,	/* gadgetfs */
	0x9fa2,		/* usbdevfs */
	0x0187,		/* autofs */
	0x65735543,	/* fusectl */
	0xde5e81e4,	/* efivarfs */
	0x6165676c,	/* pstore */
	0x42494e4d,	/* binfmt_misc */
	0x19800202,	/* mqueue */
	0x958458f6,	/* hugetlbfs: the host's huge pages */
	0x67596969,	/* rpc_pipefs */
	0x6e667364,	/* nfsd */
	0x76a9f425,	/* ocfs2's dlmfs */
	0xabba1974,	/* xenfs */
	0x6e736673,	/* nsfs */
	0x50494446,	/* pidfs */
};

static uint64_t dev_number(uint32_t major, uint32_t minor)
{
	return (uint64_t)major << 32 | minor;
}

int mounts_open(struct fs *fs)
{
	struct fs_mounts *m = pages_alloc(sizeof(*m));
	struct statx stx;
	int err;

	if (!m)
		return -ENOMEM;
	err = fs_statx(fs->place.root, "", FS_STATX_KEY, &stx);
	if (err) {
		pages_free(m, sizeof(*m));
		return err;
	}
	m->root_dev = dev_number(stx.stx_dev_major, stx.stx_dev_minor);
	pthread_mutex_init(&m->lock, NULL);
	fs->nodes->mounts = m;
	return 0;
}

void mounts_close(struct fs *fs)
{
	struct fs_mounts *m = fs->nodes->mounts;

	if (!m)
		return;
	pthread_mutex_destroy(&m->lock);
	pages_free(m, sizeof(*m));
}

/* The entry, or a free one in its place; with the lock. */
static struct mount_entry *table_find(struct mount_table *t, uint64_t mnt,
				      uint64_t dev)
{
	uint64_t h = (mnt * 31 + dev) * 0x9e3779b97f4a7c15ull >> 40;
	struct mount_entry *e;

	/* The table is never full. */
	do
		e = &t->entries[h++ % MOUNTS];
	while (e->value && (e->mnt != mnt || e->dev != dev));
	return e;
}

/* Fill in a free entry; with the lock. */
static void table_add(struct mount_table *t, struct mount_entry *e,
		      uint64_t mnt, uint64_t dev, uint32_t value)
{
	e->mnt = mnt;
	e->dev = dev;
	e->value = value;
	t->used++;
}

static uint32_t mount_known(struct fs_mounts *m, uint64_t mnt, uint64_t dev)
{
	uint32_t value;

	pthread_mutex_lock(&m->lock);
	value = table_find(&m->mounts, mnt, dev)->value;
	pthread_mutex_unlock(&m->lock);
	return value;
}

static void mount_remember(struct fs_mounts *m, uint64_t mnt, uint64_t dev,
			   uint32_t value)
{
	struct mount_table *t = &m->mounts;
	struct mount_entry *e;

	pthread_mutex_lock(&m->lock);
	if (t->used == MOUNTS_FULL)
		memset(t, 0, sizeof(*t));
	e = table_find(t, mnt, dev);
	if (!e->value)
		table_add(t, e, mnt, dev, value);
	pthread_mutex_unlock(&m->lock);
}

/* A device's tag: see the head of this file. */
static uint32_t mount_tag(struct fs_mounts *m, uint64_t dev)
{
	struct mount_table *t = &m->tags;
	struct mount_entry *e;
	uint32_t tag;

	pthread_mutex_lock(&m->lock);
	e = table_find(t, 0, dev);
	if (!e->value && t->used < MOUNTS_FULL)
		table_add(t, e, 0, dev, t->used + 1);
	tag = e->value;
	pthread_mutex_unlock(&m->lock);
	return tag ? tag : TAG_MADE |
			   (uint32_t)(dev * 0x9e3779b97f4a7c15ull >> 48);
}

/* 1: may be crossed into; 2: may not. */
static int mount_query(struct fs *fs, int dirfd, const char *name)
{
	struct statfs sfs;
	int fd = dirfd, value = 1, err = 0;

	if (name[0] != '\0') {
		fd = fs_openat(fs, dirfd, name,
			       O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
		if (fd < 0)
			return fd;
	}
	if (fstatfs(fd, &sfs) < 0)
		err = -errno;
	if (fd != dirfd)
		close(fd);
	if (err)
		return err;
	for (unsigned int i = 0; i < ARRAY_SIZE(refused); i++)
		if ((uint32_t)sfs.f_type == refused[i])
			value = 2;
	return value;
}

int mount_check(struct fs_worker *w, const struct fs_node *parent, int dirfd,
		const char *name, const struct statx *stx)
{
	struct fs_mounts *m = w->fs->nodes->mounts;
	uint64_t mnt = statx_mnt(stx);
	uint64_t dev = dev_number(stx->stx_dev_major, stx->stx_dev_minor);
	int value;

	if (parent->key.mnt == mnt &&
	    dev_number(parent->key.dev_major, parent->key.dev_minor) == dev)
		return 0;
	value = (int)mount_known(m, mnt, dev);
	if (!value) {
		value = mount_query(w->fs, dirfd, name);
		if (value < 0)
			return value;
		mount_remember(m, mnt, dev, (uint32_t)value);
	}
	return value == 2 ? -EACCES : 0;
}

/* ---- overlayfs ---------------------------------------------------------- */

#define OVERLAYFS	0x794c7630
#define OVERLAY_SLOTS	64u

/* mount id << 2 | known << 1 | is overlayfs; of the slot's last mount. */
static uint64_t overlay_known[OVERLAY_SLOTS];	/* atomic */

/* 1 or 0; -1 on failure. */
static int query_overlay(int dirfd, const char *name)
{
	struct statfs sfs;
	int fd = dirfd, is = -1;

	if (name[0] != '\0') {
		fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -1;
	}
	if (fstatfs(fd, &sfs) == 0)
		is = (uint32_t)sfs.f_type == OVERLAYFS;
	if (fd != dirfd)
		close(fd);
	return is;
}

/* Only file systems without a disk, with device major 0, need a statfs(). */
bool mount_is_overlay(int dirfd, const char *name, const struct statx *stx)
{
	uint64_t mnt = statx_mnt(stx), *slot, known;
	int is;

	if (stx->stx_dev_major || !(stx->stx_mask & FS_STATX_MNT))
		return false;
	slot = &overlay_known[mnt % OVERLAY_SLOTS];
	known = __atomic_load_n(slot, __ATOMIC_RELAXED);
	if (known >> 1 == (mnt << 1 | 1))
		return known & 1;
	is = query_overlay(dirfd, name);
	if (is >= 0)
		__atomic_store_n(slot, mnt << 2 | 2 | (unsigned int)is,
				 __ATOMIC_RELAXED);
	return is > 0;
}

/* ---- inode numbers ------------------------------------------------------ */

uint64_t mount_ino(struct fs *fs, uint32_t dev_major, uint32_t dev_minor,
		   uint64_t ino)
{
	struct fs_mounts *m = fs->nodes->mounts;
	uint64_t dev = dev_number(dev_major, dev_minor);

	if (dev == m->root_dev || session_has(fs, FUSE_SUBMOUNTS))
		return ino;
	return ino ^ (uint64_t)mount_tag(m, dev) << 48;
}
