/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * Memory and descriptors stay bounded: however many files the guest looks up,
 * the server keeps to its budget; only what is open counts, and what is open
 * works, with a name or without one.
 */

#include "fsserver_rig.h"

#include "fsserver/nodes/nodetab.h"

static struct rig r;

static uint64_t arena_bytes(void)
{
	struct stat st;

	return fstat(arena_fd(r.arena), &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

/* Sanitizers take a hundred times as long, and see as much in a tenth. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY_DIRS	20
#else
#define MANY_DIRS	200
#endif
#define MANY_FILES	1000
#define MANY		(MANY_DIRS * MANY_FILES)

static uint64_t many_dirs[MANY_DIRS], (*many)[MANY_FILES];

static bool many_make(void)
{
	char name[64];

	for (int d = 0; d < MANY_DIRS; d++) {
		int fd;

		snprintf(name, sizeof(name), "d%d", d);
		if (mkdirat(r.dirfd, name, 0755))
			return false;
		fd = openat(r.dirfd, name, O_PATH);
		for (int f = 0; f < MANY_FILES; f++) {
			snprintf(name, sizeof(name), "file-number-%d", f);
			if (mknodat(fd, name, S_IFREG | 0644, 0))
				return false;
		}
		close(fd);
	}
	return true;
}

static bool many_find(unsigned int *most)
{
	char name[64];

	*most = 0;
	for (int d = 0; d < MANY_DIRS; d++) {
		unsigned int fds;

		snprintf(name, sizeof(name), "d%d", d);
		many_dirs[d] = rig_node(&r, 1, name);
		for (int f = 0; f < MANY_FILES; f++) {
			snprintf(name, sizeof(name), "file-number-%d", f);
			many[d][f] = rig_node(&r, many_dirs[d], name);
			if (!many[d][f])
				return false;
		}
		fds = rig_open_fds();
		*most = fds > *most ? fds : *most;
	}
	return true;
}

static void test_find(void)
{
	unsigned int most, before;
	uint64_t used, empty, seed = 1;

	CHECK_EQ(rig_up_with(&r, 64), 0);
	empty = arena_bytes();
	many = malloc(MANY * sizeof(**many));
	CHECK(many_make());
	before = rig_open_fds();
	CHECK(many_find(&most));
	used = arena_bytes();
	CHECK_EQ(nodes_count(r.fs), MANY + MANY_DIRS + 1);
	/* 96 for the node and 32 for "file-number-123" and its directory. */
	CHECK(used / MANY <= 140);
	for (int i = 0; i < 20000; i++) {
		uint64_t fh;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t node = many[(seed >> 33) % MANY_DIRS]
				    [seed % MANY_FILES];

		CHECK_EQ(rig_getattr(&r, node, NULL), 0);
		if (i % 4)
			continue;
		CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_RDONLY, &fh), 0);
		CHECK_EQ(rig_release(&r, node, fh), 0);
	}
	CHECK(rig_open_fds() <= before + 64);
	CHECK(most <= before + 64);
	for (int d = 0; d < MANY_DIRS; d++) {
		for (int f = 0; f < MANY_FILES; f++)
			rig_forget(&r, many[d][f], 1);
		rig_forget(&r, many_dirs[d], 1);
	}
	CHECK_EQ(nodes_count(r.fs), 1);
	CHECK(arena_bytes() < empty + used / 10 + (512u << 10));
	CHECK_EQ(rig_getattr(&r, many[3][3], NULL), -ESTALE);
	free(many);
	rig_stop(&r);
}

static void test_enfile(void)
{
	uint64_t node[200], fh[200], dir;
	struct fuse_entry_out entry;
	char name[32];
	unsigned int n;

	CHECK_EQ(rig_up_with(&r, 100), 0);
	for (n = 0; n < 200; n++) {
		int err;

		snprintf(name, sizeof(name), "f%u", n);
		err = rig_create(&r, 1, name, O_RDWR, &node[n], &fh[n]);
		if (err) {
			CHECK_EQ(err, -ENFILE);
			break;
		}
	}
	CHECK(n > 50 && n < 100);
	/* Nothing was left of the failed one, and all else works. */
	CHECK_EQ(rig_lookup(&r, 1, name, &entry), -ENOENT);
	CHECK_EQ(rig_mkdir(&r, 1, "d", NULL), 0);
	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		CHECK_EQ(rig_getattr(&r, node[i], NULL), 0);
		CHECK_EQ(rig_node(&r, 1, name), node[i]);
	}
	/* A directory can be listed still, but the files are no more for it. */
	CHECK_EQ(rig_open(&r, FUSE_OPENDIR, 1, O_RDONLY, &fh[n]), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPENDIR, 1, O_RDONLY, &dir), -ENFILE);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node[0], O_RDONLY, &dir), -ENFILE);
	CHECK_EQ(rig_release(&r, 1, fh[n]), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node[0], O_RDONLY, &dir), -ENFILE);
	CHECK_EQ(rig_release(&r, node[0], fh[0]), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPENDIR, 1, O_RDONLY, &fh[n]), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPENDIR, 1, O_RDONLY, &fh[0]), 0);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "f3"), 0);
	CHECK_EQ(rig_read(&r, node[3], fh[3], 0, 10), 0);
	rig_stop(&r);
}

/* As many as may be open, all without a name: each is found by its handle. */
static void test_unlinked(void)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = 0640 };
	uint64_t node[100], fh[100], dir;
	struct fuse_attr attr;
	unsigned int n;
	char name[32];

	CHECK_EQ(rig_up_with(&r, 100), 0);
	for (n = 0; n < 100; n++) {
		snprintf(name, sizeof(name), "f%u", n);
		if (rig_create(&r, 1, name, O_RDWR, &node[n], &fh[n]))
			break;
	}
	CHECK(n > 50 && n < 100);
	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, name), 0);
	}
	rig_evict_all(&r);
	for (unsigned int i = 0; i < n; i++) {
		CHECK_EQ(rig_getattr(&r, node[i], &attr), 0);
		CHECK_EQ(attr.nlink, 0);
		CHECK_EQ(rig_setattr(&r, node[i], &in), 0);
		CHECK_EQ(rig_getattr(&r, node[i], &attr), 0);
		CHECK_EQ(attr.mode, S_IFREG | 0640);
	}
	/* And what has a name is looked up and removed as ever. */
	CHECK_EQ(rig_mkdir(&r, 1, "d", &dir), 0);
	CHECK_EQ(rig_remove(&r, FUSE_RMDIR, 1, "d"), 0);
	for (unsigned int i = 0; i < n; i++)
		CHECK_EQ(rig_release(&r, node[i], fh[i]), 0);
	rig_stop(&r);
}

static void test_inode_limit(void)
{
	uint64_t node[300];
	char name[32];

	rig_prepare(&r);
	r.options.inode_limit = 100;
	CHECK_EQ(rig_up(&r), 0);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		CHECK_EQ(rig_mkdir(&r, 1, name, &node[i]), 0);
		CHECK_EQ(rig_getattr(&r, node[i < 7 ? 0 : 7], NULL), 0);
	}
	CHECK(nodes_count(r.fs) <= 101);
	/* What was just made is known, and so is what was used all along. */
	CHECK_EQ(rig_getattr(&r, node[299], NULL), 0);
	CHECK_EQ(rig_getattr(&r, node[7], NULL), 0);
	for (int i = 0; i < 7; i++)
		CHECK_EQ(rig_getattr(&r, node[i], NULL), -ESTALE);
	/* The guest looks up its path again, and has it. */
	node[0] = rig_node(&r, 1, "d0");
	CHECK_EQ(rig_getattr(&r, node[0], NULL), 0);
	/* A FORGET of what was forgotten is none of what came instead. */
	rig_forget(&r, node[1], 1);
	CHECK_EQ(rig_getattr(&r, node[0], NULL), 0);
	rig_stop(&r);
}

/* More files than the tables have room for: those not used for long go. */
static void test_full(void)
{
	uint64_t first, held, fh, used = 0, id = 0;
	struct fs_node *root;
	char name[120];

	rig_prepare(&r);
	r.arena_size = 16 << 20;
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "held", O_RDWR, &held, &fh), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "d", &first), 0);
	CHECK_EQ(node_get(r.fs, FUSE_ROOT_ID, &root), 0);
	for (uint64_t i = 0; i < 300000; i++) {
		struct statx stx = {
			.stx_mask = STATX_BASIC_STATS | STATX_BTIME,
			.stx_mode = S_IFREG | 0644, .stx_ino = 1000 + i,
		};

		/* Names of all lengths, so of all sizes of memory. */
		snprintf(name, sizeof(name), "%0*d", (int)(1 + i % 100),
			 (int)i);
		CHECK_EQ(node_add(r.fs, root, name, &stx, &id, NULL, NULL), 0);
		used = nodes_count(r.fs) > used ? nodes_count(r.fs) : used;
	}
	node_put(r.fs, root);
	printf("# %d nodes known at most\n", (int)used);
	CHECK(used < 150000);
	/* What is open stays; what went is looked up again. */
	CHECK_EQ(rig_getattr(&r, held, NULL), 0);
	CHECK_EQ(rig_write(&r, held, fh, 0, "x", 1, 0), 1);
	CHECK_EQ(rig_getattr(&r, first, NULL), -ESTALE);
	first = rig_node(&r, 1, "d");
	CHECK_EQ(rig_getattr(&r, first, NULL), 0);
	CHECK_EQ(rig_release(&r, held, fh), 0);
	fs_consumer.reset(r.fs);
	CHECK_EQ(nodes_count(r.fs), 1);
	rig_stop(&r);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "find 200,000 files with 64 descriptors", test_find },
		{ "ENFILE only for what is open", test_enfile },
		{ "as many without a name as are open", test_unlinked },
		{ "inode-limit= bounds what is remembered", test_inode_limit },
		{ "tables that are full", test_full },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
