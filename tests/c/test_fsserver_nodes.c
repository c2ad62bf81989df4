/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * Nodes as names below directories, descriptors as a cache: what the guest
 * knows stays usable whatever is evicted, renamed, removed or replaced, by
 * the guest or behind its back; what a worker leaves in the arena is enough for
 * the next one. What bounds them is test_fsserver_bounds.c's.
 */

#include "fsserver_rig.h"

#include "fsserver/nodes/nodetab.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

static struct rig r;

/* ---- evicted ------------------------------------------------------------ */

static void test_evicted(void)
{
	uint64_t a, b, c, f, fh;
	struct fuse_attr attr;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "a", &a), 0);
	CHECK_EQ(rig_mkdir(&r, a, "b", &b), 0);
	CHECK_EQ(rig_mkdir(&r, b, "c", &c), 0);
	CHECK_EQ(rig_file(&r, "a/b/c/f", "text"), 0);
	f = rig_node(&r, c, "f");
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.size, 4);
	rig_evict_all(&r);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_RDONLY, &fh), 0);
	CHECK_EQ(rig_read(&r, f, fh, 0, 10), 4);
	/* The guest renames a directory above. */
	rig_evict_all(&r);
	CHECK_EQ(rig_rename(&r, 1, "a", 1, "z", 0), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	/* The host does: what is open is found, */
	rig_evict_all(&r);
	CHECK_EQ(renameat(r.dirfd, "z/b", r.dirfd, "b"), 0);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(rig_read(&r, f, fh, 0, 10), 4);
	/* else it is stale until the path is looked up again. */
	CHECK_EQ(rig_release(&r, f, fh), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), -ESTALE);
	CHECK_EQ(rig_node(&r, 1, "b"), b);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	rig_stop(&r);
}

static void replace(const char *text)
{
	CHECK_EQ(rig_file(&r, "new", text), 0);
	CHECK_EQ(renameat(r.dirfd, "new", r.dirfd, "f"), 0);
}

/*
 * The host replaces a file again and again: between LOOKUP and OPEN, and once
 * more behind the one LOOKUP with which a guest's kernel tries again.
 */
static void test_replaced_again(void)
{
	uint64_t f, fh;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	CHECK_EQ(rig_file(&r, "f", "1"), 0);
	f = rig_node(&r, 1, "f");
	replace("12");
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_RDONLY, &fh), -ESTALE);
	f = rig_node(&r, 1, "f");
	replace("123");
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_RDONLY, &fh), 0);
	CHECK_EQ(rig_read(&r, f, fh, 0, 10), 2);
	CHECK_EQ(rig_release(&r, f, fh), 0);
	rig_stop(&r);
}

static bool has_handles(void)
{
	struct file_handle h = { .handle_bytes = 0 };
	int mount_id;

	/* Too little room for one is the answer where there are any. */
	return name_to_handle_at(r.dirfd, "", &h, &mount_id, AT_EMPTY_PATH) &&
	       errno == EOVERFLOW;
}

/* With inode-handles=on a file is found where the host moved it. */
static void test_by_handle(void)
{
	uint64_t d, e, f, g;
	struct fuse_attr attr;
	uint64_t fh;

	if (geteuid() != 0)
		SKIP("needs root");
	rig_prepare(&r);
	r.options.inode_handles = true;
	CHECK_EQ(rig_up(&r), 0);
	if (!has_handles()) {
		rig_stop(&r);
		SKIP("the file system has no handles");
	}
	CHECK_EQ(rig_mkdir(&r, 1, "d", &d), 0);
	CHECK_EQ(rig_mkdir(&r, d, "e", &e), 0);
	CHECK_EQ(rig_file(&r, "d/e/f", "text"), 0);
	CHECK_EQ(rig_file(&r, "g", "old"), 0);
	f = rig_node(&r, e, "f");
	g = rig_node(&r, 1, "g");
	rig_evict_all(&r);
	CHECK_EQ(renameat(r.dirfd, "d/e", r.dirfd, "moved"), 0);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.size, 4);
	rig_evict_all(&r);
	CHECK_EQ(renameat(r.dirfd, "moved/f", r.dirfd, "there"), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_RDONLY, &fh), 0);
	CHECK_EQ(rig_read(&r, f, fh, 0, 10), 4);
	/* What is no more is not found, and nothing else instead of it. */
	rig_evict_all(&r);
	CHECK_EQ(unlinkat(r.dirfd, "g", 0), 0);
	CHECK_EQ(rig_file(&r, "g", "another"), 0);
	CHECK_EQ(rig_getattr(&r, g, &attr), -ESTALE);
	rig_stop(&r);
}

/* What is kept open has no name; what has no name is kept open. */
static void test_removed_while_evicted(void)
{
	uint64_t f, g, d;
	struct fuse_attr attr;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	CHECK_EQ(rig_file(&r, "f", "f"), 0);
	CHECK_EQ(rig_file(&r, "g", "gg"), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "d", &d), 0);
	f = rig_node(&r, 1, "f");
	g = rig_node(&r, 1, "g");
	rig_evict_all(&r);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "f"), 0);
	CHECK_EQ(rig_remove(&r, FUSE_RMDIR, 1, "d"), 0);
	CHECK_EQ(rig_file(&r, "h", "hhh"), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_rename(&r, 1, "h", 1, "g", 0), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.nlink, 0);
	CHECK_EQ(rig_getattr(&r, g, &attr), 0);
	CHECK_EQ(attr.size, 2);
	CHECK_EQ(rig_getattr(&r, d, &attr), 0);
	rig_stop(&r);
}

static void test_links(void)
{
	uint64_t f;
	char name[16];
	struct fuse_attr attr;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	CHECK_EQ(rig_file(&r, "f", "f"), 0);
	f = rig_node(&r, 1, "f");
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		CHECK_EQ(linkat(r.dirfd, "f", r.dirfd, name, 0), 0);
		CHECK_EQ(rig_node(&r, 1, name), f);
	}
	/* The oldest that is remembered goes, by the host. */
	CHECK_EQ(unlinkat(r.dirfd, "l12", 0), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.nlink, 20);
	CHECK_EQ(linkat(r.dirfd, "f", r.dirfd, "l12", 0), 0);
	/* All known names go, one stays that the guest never saw. */
	CHECK_EQ(linkat(r.dirfd, "f", r.dirfd, "unseen", 0), 0);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "f"), 0);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, name), 0);
	}
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.nlink, 1);
	CHECK_EQ(rig_node(&r, 1, "unseen"), f);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	rig_stop(&r);
}

/*
 * Until birth times differ: before Linux 6.13 they come from a clock that ticks
 * every 1 to 10 ms. A file whose node was evicted, and whose inode number went
 * to another one in the tick in which it was made itself, can't be told from
 * that one.
 */
static void next_tick(void)
{
	struct timespec then, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &then);
	do {
		usleep(500);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec == then.tv_sec && now.tv_nsec == then.tv_nsec);
}

/* A file replaced by the host is another file, whatever its inode number. */
static void test_replaced(void)
{
	uint64_t f, fh;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	for (int i = 0; i < 50; i++) {
		struct fuse_setattr_in in = { .valid = FATTR_SIZE };

		CHECK_EQ(rig_file(&r, "f", "old"), 0);
		f = rig_node(&r, 1, "f");
		rig_evict_all(&r);
		CHECK_EQ(unlinkat(r.dirfd, "f", 0), 0);
		next_tick();
		CHECK_EQ(rig_file(&r, "f", "new"), 0);
		CHECK_EQ(rig_getattr(&r, f, NULL), -ESTALE);
		CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_RDWR | O_TRUNC, &fh),
			 -ESTALE);
		CHECK_EQ(rig_setattr(&r, f, &in), -ESTALE);
		CHECK(rig_node(&r, 1, "f") != f);
		CHECK_EQ(unlinkat(r.dirfd, "f", 0), 0);
	}
	/* By a symlink or a fifo: never followed, never opened. */
	CHECK_EQ(rig_file(&r, "f", "old"), 0);
	f = rig_node(&r, 1, "f");
	rig_evict_all(&r);
	CHECK_EQ(unlinkat(r.dirfd, "f", 0), 0);
	CHECK_EQ(symlinkat("/etc/passwd", r.dirfd, "f"), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_RDONLY, &fh), -ESTALE);
	CHECK_EQ(unlinkat(r.dirfd, "f", 0), 0);
	CHECK_EQ(mkfifoat(r.dirfd, "f", 0600), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_RDONLY, &fh), -ESTALE);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f, O_WRONLY, &fh), -ESTALE);
	rig_stop(&r);
}

#define DEPTH 1000

static void test_deep(void)
{
	static uint64_t node[DEPTH];
	uint64_t parent = 1, bottom;

	CHECK_EQ(rig_up_with(&r, 32), 0);
	for (int i = 0; i < DEPTH; i++) {
		CHECK_EQ(rig_mkdir(&r, parent, "deeper", &node[i]), 0);
		parent = node[i];
	}
	for (int i = 0; i < 3; i++) {
		rig_evict_all(&r);
		CHECK_EQ(rig_mkdir(&r, parent, "bottom", &bottom), 0);
		CHECK_EQ(rig_remove(&r, FUSE_RMDIR, parent, "bottom"), 0);
		rig_forget(&r, bottom, 1);
	}
	CHECK_EQ(rig_getattr(&r, node[DEPTH / 2], NULL), 0);
	/* Forgotten from the top: the rest holds what it needs. */
	for (int i = 0; i < DEPTH - 1; i++)
		rig_forget(&r, node[i], 1);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, parent, NULL), 0);
	CHECK_EQ(nodes_count(r.fs), DEPTH + 1);
	rig_forget(&r, parent, 1);
	CHECK_EQ(nodes_count(r.fs), 1);
	rig_stop(&r);
}

/* Other file systems below, before and after the guest looked there. */
static void mount_points(void)
{
	uint64_t m, f, d, g, over, b, bound;
	struct fuse_attr attr;
	char path[128], from[128];

	CHECK_EQ(rig_mkdir(&r, 1, "m", NULL), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "d", &d), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "b", NULL), 0);
	CHECK_EQ(rig_file(&r, "d/g", "covered"), 0);
	g = rig_node(&r, d, "g");
	snprintf(path, sizeof(path), "%s/m", r.dir);
	CHECK_EQ(mount("none", path, "tmpfs", 0, NULL), 0);
	CHECK_EQ(rig_file(&r, "m/f", "text"), 0);
	m = rig_node(&r, 1, "m");
	f = rig_node(&r, m, "f");
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, f, &attr), 0);
	CHECK_EQ(attr.size, 4);
	/* Mounted over a directory that is known: another, and back again. */
	snprintf(path, sizeof(path), "%s/d", r.dir);
	CHECK_EQ(mount("none", path, "tmpfs", 0, NULL), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, g, &attr), -ESTALE);
	over = rig_node(&r, 1, "d");
	CHECK(over && over != d);
	CHECK_EQ(rig_node(&r, over, "g"), 0);
	rig_evict_all(&r);
	CHECK_EQ(umount2(path, MNT_DETACH), 0);
	CHECK_EQ(rig_getattr(&r, over, &attr), -ESTALE);
	CHECK_EQ(rig_getattr(&r, g, &attr), 0);
	CHECK_EQ(attr.size, 7);
	/* The same directory once more, at another place. */
	snprintf(from, sizeof(from), "%s/d", r.dir);
	snprintf(path, sizeof(path), "%s/b", r.dir);
	CHECK_EQ(mount(from, path, NULL, MS_BIND, NULL), 0);
	b = rig_node(&r, 1, "b");
	bound = rig_node(&r, b, "g");
	CHECK(bound && b != d);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, bound, &attr), 0);
	CHECK_EQ(attr.size, 7);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, b, "g"), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, bound, &attr), 0);
	CHECK_EQ(attr.nlink, 0);
}

static void test_mount_points(void)
{
	static const char *const points[] = { "b", "d", "m" };
	char path[128];

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		SKIP("needs root to mount");
	CHECK_EQ(rig_up_with(&r, 0), 0);
	mount_points();
	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		snprintf(path, sizeof(path), "%s/%s", r.dir, points[i]);
		umount2(path, MNT_DETACH);
	}
	rig_stop(&r);
}

/* The host turns a tree inside out; nothing holds itself afterwards. */
static void test_inside_out(void)
{
	uint64_t a, b;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "a", &a), 0);
	CHECK_EQ(rig_mkdir(&r, a, "b", &b), 0);
	CHECK_EQ(rig_node(&r, b, "none"), 0);	/* opens it */
	CHECK_EQ(renameat(r.dirfd, "a/b", r.dirfd, "b"), 0);
	CHECK_EQ(renameat(r.dirfd, "a", r.dirfd, "b/a"), 0);
	CHECK_EQ(rig_node(&r, b, "a"), a);
	rig_evict_all(&r);
	CHECK_EQ(rig_node(&r, 1, "b"), b);
	rig_evict_all(&r);
	CHECK_EQ(rig_getattr(&r, a, NULL), 0);
	rig_forget(&r, a, 2);
	rig_forget(&r, b, 2);
	CHECK_EQ(nodes_count(r.fs), 1);
	rig_stop(&r);
}

/* ---- numbers a guest makes up ------------------------------------------- */

static void test_forged(void)
{
	static const uint64_t ids[] = {
		0, 2, 3, 1ull << 28, (1ull << 28) - 1, 1ull << 28 | 1,
		1ull << 28 | 2, UINT64_MAX, 1ull << 63, 0xfffffff,
		0x7fffffffffffffff, 4096,
	};
	uint64_t seed = 42, node, fh, stale;
	struct fs_node *found;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		if (ids[i] == node)
			continue;
		CHECK_EQ(node_get(r.fs, ids[i], &found), -ESTALE);
		CHECK_EQ(rig_getattr(&r, ids[i], NULL), -ESTALE);
		CHECK_EQ(rig_read(&r, node, ids[i], 0, 10),
			 ids[i] == fh ? 0 : -EBADF);
		rig_forget(&r, ids[i], UINT64_MAX);
	}
	for (int i = 0; i < 100000; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		if (seed >> i % 60 == node || seed >> i % 60 == 1)
			continue;
		CHECK_EQ(node_get(r.fs, seed >> i % 60, &found), -ESTALE);
	}
	/* A slot that is used again: the old number stays stale. */
	CHECK_EQ(rig_release(&r, node, fh), 0);
	stale = node;
	rig_forget(&r, node, 1);
	node = rig_node(&r, 1, "f");
	CHECK(node != stale);
	CHECK_EQ(rig_getattr(&r, stale, NULL), -ESTALE);
	CHECK_EQ(rig_read(&r, node, fh, 0, 10), -EBADF);
	rig_stop(&r);
}

/* Forgetting all of it frees nothing that is in use. */
static void test_forget_too_much(void)
{
	uint64_t node, fh;

	CHECK_EQ(rig_up_with(&r, 0), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(rig_write(&r, node, fh, 0, "data", 4, 0), 4);
	rig_forget(&r, node, UINT64_MAX);
	CHECK_EQ(rig_read(&r, node, fh, 0, 10), 4);
	rig_forget(&r, node, UINT64_MAX);
	CHECK_EQ(rig_release(&r, node, fh), 0);
	CHECK_EQ(rig_getattr(&r, node, NULL), -ESTALE);
	CHECK_EQ(nodes_count(r.fs), 1);
	rig_stop(&r);
}

/* ---- many threads ------------------------------------------------------- */

#define STORM_THREADS	4
#define STORM_ROUNDS	4000

static bool storm_expected(int err)
{
	return err >= 0 || err == -ENOENT || err == -EEXIST ||
	       err == -ESTALE || err == -ENOTEMPTY || err == -ENFILE ||
	       err == -EINVAL || err == -EISDIR || err == -ENOTDIR ||
	       err == -EBADF;
}

/* One step; what it acts on is the same few names in every thread. */
static int storm_step(struct rig *own, uint64_t random, uint64_t dir,
		      uint64_t other)
{
	struct fuse_entry_out entry;
	char a[8], b[8];
	uint64_t node, fh;
	int err;

	snprintf(a, sizeof(a), "n%d", (int)(random & 7));
	snprintf(b, sizeof(b), "n%d", (int)(random >> 3 & 7));
	switch (random >> 8 & 7) {
	case 0:
		err = rig_create(own, dir, a, O_RDWR, &node, &fh);
		if (err)
			return err;
		err = rig_write(own, node, fh, 0, "x", 1, 0);
		if (err < 0)
			return err;
		rig_forget(own, node, 1);
		return rig_release(own, node, fh);
	case 1:
		return rig_remove(own, FUSE_UNLINK, dir, a);
	case 2:
		return rig_rename(own, dir, a, other, b, 0);
	case 3:
		return rig_rename(own, dir, a, other, b, RENAME_EXCHANGE);
	case 4:
		err = rig_lookup(own, dir, a, &entry);
		if (err)
			return err;
		err = rig_getattr(own, entry.nodeid, NULL);
		rig_forget(own, entry.nodeid, 1);
		return err;
	case 5:
		err = rig_lookup(own, dir, a, &entry);
		if (err)
			return err;
		err = rig_open(own, FUSE_OPEN, entry.nodeid, O_RDONLY, &fh);
		if (!err) {
			rig_read(own, entry.nodeid, fh, 0, 10);
			err = rig_release(own, entry.nodeid, fh);
		}
		rig_forget(own, entry.nodeid, 1);
		return err;
	case 6:
		while (random & 0x1000 && fdcache_shrink(own->fs))
			;
		return 0;
	default:
		rig_forget(own, random >> 20, 1);
		return 0;
	}
}

static uint64_t storm_dirs[2];

static void *storm(void *arg)
{
	struct rig own = r;
	uint64_t seed = (uintptr_t)arg;
	void *bad = NULL;

	own.w = rig_worker(&own);
	own.in = malloc(RIG_ROOM);
	own.out = malloc(RIG_ROOM);
	for (int i = 0; i < STORM_ROUNDS; i++) {
		int err;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		err = storm_step(&own, seed >> 16,
				 storm_dirs[seed >> 40 & 1],
				 storm_dirs[seed >> 41 & 1]);
		if (!storm_expected(err))
			bad = (void *)(intptr_t)-err;
	}
	rig_worker_free(own.w);
	free(own.in);
	free(own.out);
	return bad;
}

static void test_storm(void)
{
	pthread_t threads[STORM_THREADS];
	unsigned int fds;

	CHECK_EQ(rig_up_with(&r, 24), 0);
	fds = rig_open_fds();
	CHECK_EQ(rig_mkdir(&r, 1, "a", &storm_dirs[0]), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "b", &storm_dirs[1]), 0);
	for (uintptr_t i = 0; i < STORM_THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, storm,
					(void *)(i + 1)), 0);
	for (int i = 0; i < STORM_THREADS; i++) {
		void *bad;

		CHECK_EQ(pthread_join(threads[i], &bad), 0);
		CHECK_EQ((intptr_t)bad, 0);
	}
	/* All that was looked up was forgotten: nothing leaked. */
	CHECK_EQ(rig_init(&r), 0);
	CHECK_EQ(nodes_count(r.fs), 1);
	rig_evict_all(&r);
	CHECK_EQ(rig_open_fds(), fds);
	rig_stop(&r);
}

/* ---- another worker ----------------------------------------------------- */

/* In a child: what the arena says must be enough. Returns an exit status. */
static int successor(uint64_t dir, uint64_t node, uint64_t fh, uint64_t gone)
{
	struct fs_setup setup = {
		.options = &r.options,
		.place = &r.place,
		.arena = r.arena,
		.ops = &rig_ops,
		.queues = 2,
	};
	struct fuse_entry_out entry;
	struct fuse_attr attr;
	uint64_t next;

	if (fs_open(&r.fs, &setup))
		return 1;
	r.w = rig_worker(&r);
	if (rig_read(&r, node, fh, 0, 10) != 4)
		return 2;
	if (rig_getattr(&r, node, &attr) || attr.size != 4)
		return 3;
	if (rig_lookup(&r, dir, "f", &entry) || entry.nodeid != node)
		return 4;
	if (rig_getattr(&r, gone, &attr) || attr.nlink != 0)
		return 5;
	if (rig_mkdir(&r, dir, "new", &next) || next == node || next == dir)
		return 6;
	if (nodes_count(r.fs) != 5)
		return 7;
	rig_forget(&r, node, 2);
	if (rig_release(&r, node, fh) || rig_getattr(&r, node, NULL) != -ESTALE)
		return 8;
	return 0;
}

/* In a child: a worker that ends without closing anything. */
static int predecessor(void)
{
	uint64_t dir, node, fh, gone;
	int status;
	pid_t pid;

	if (rig_up(&r) || rig_mkdir(&r, 1, "d", &dir) ||
	    rig_create(&r, dir, "f", O_RDWR, &node, &fh) ||
	    rig_write(&r, node, fh, 0, "data", 4, 0) != 4 ||
	    rig_file(&r, "gone", "x"))
		return 100;
	gone = rig_node(&r, 1, "gone");
	if (rig_remove(&r, FUSE_UNLINK, 1, "gone"))
		return 101;
	pid = fork();
	if (pid == 0)
		_exit(successor(dir, node, fh, gone));
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 102;
}

static void test_adopted(void)
{
	int status;
	pid_t pid;

	rig_prepare(&r);
	pid = fork();
	if (pid == 0)
		_exit(predecessor());
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
	rig_stop(&r);
}

static const struct check_case cases[] = {
	{ "evicted files are found by name", test_evicted },
	{ "a file that the host replaces again and again",
	  test_replaced_again },
	{ "found by handle", test_by_handle },
	{ "removed while evicted", test_removed_while_evicted },
	{ "a file is found by any of its names", test_links },
	{ "replaced by the host", test_replaced },
	{ "a thousand directories deep", test_deep },
	{ "file systems below the share", test_mount_points },
	{ "a tree turned inside out", test_inside_out },
	{ "made-up node numbers are ESTALE", test_forged },
	{ "forget too much", test_forget_too_much },
	{ "many threads on few names", test_storm },
	{ "adopted by another worker", test_adopted },
};

int main(int argc, char **argv)
{
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
