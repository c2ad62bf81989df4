/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * What no Linux guest sends: names that are none, requests that are shorter
 * or longer than they say, replies without room, writing to a read-only share,
 * and noise. Each is answered with an error, in the right length, and leaves
 * the host's files as they were.
 */

#include "fsserver/nodes/nodetab.h"
#include "fsserver_rig.h"

#include <sys/inotify.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static struct rig r;

/* ---- names -------------------------------------------------------------- */

struct bad_name {
	const char *what;
	const char *text;
	size_t len;	/* as sent, with whatever NULs */
	int error;
};

#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X255 X64 X64 X64 \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static char long_name[4097];

static const struct bad_name bad_names[] = {
	{ "empty", "", 1, -EINVAL },
	{ "no NUL at all", "abc", 3, -EINVAL },
	{ "absolute", "/x", 3, -EINVAL },
	{ "a path", "a/b", 4, -EINVAL },
	{ "upwards", "../x", 5, -EINVAL },
	{ "a slash at the end", "a/", 3, -EINVAL },
	{ "dot", ".", 2, -EINVAL },
	{ "dot dot", "..", 3, -EINVAL },
	{ "hidden behind a NUL", "a\0b", 4, -EINVAL },
	{ "256 bytes", X255 "x", 257, -ENAMETOOLONG },
	{ "4096 bytes", long_name, 4097, -ENAMETOOLONG },
};

/* A request with one name in it, and where that name is. */
struct name_op {
	uint32_t opcode;
	const char *what;
	unsigned int fixed;	/* bytes before the name */
	bool second;		/* after a good one */
	const char *after;	/* a good one after it */
	bool dots;		/* "." and ".." are allowed */
	bool tail;		/* data follows: bytes behind it are no name */
};

static const struct name_op name_ops[] = {
	{ FUSE_LOOKUP, "LOOKUP", 0, false, NULL, true, false },
	{ FUSE_CREATE, "CREATE", 16, false, NULL, false, false },
	{ FUSE_MKNOD, "MKNOD", 16, false, NULL, false, false },
	{ FUSE_MKDIR, "MKDIR", 8, false, NULL, false, false },
	{ FUSE_SYMLINK, "SYMLINK", 0, false, "target", false, true },
	{ FUSE_LINK, "LINK", 8, false, NULL, false, false },
	{ FUSE_UNLINK, "UNLINK", 0, false, NULL, false, false },
	{ FUSE_RMDIR, "RMDIR", 0, false, NULL, false, false },
	{ FUSE_RENAME, "RENAME", 8, false, "good", false, true },
	{ FUSE_RENAME, "RENAME to", 8, true, NULL, false, false },
	{ FUSE_RENAME2, "RENAME2", 16, false, "good", false, true },
	{ FUSE_RENAME2, "RENAME2 to", 16, true, NULL, false, false },
};

static int send_name(const struct name_op *op, const struct bad_name *name)
{
	uint64_t args[2] = { 1, 0 };	/* a node, where one is wanted */

	rq(&r, op->opcode, 1);
	rq_put(&r, args, op->fixed);
	if (op->second)
		rq_str(&r, "good");
	rq_put(&r, name->text, name->len);
	if (op->after)
		rq_str(&r, op->after);
	return rq_run(&r);
}

static unsigned int entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned int nr = 0;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr - 2;
}

static void test_names(void)
{
	memset(long_name, 'x', sizeof(long_name) - 1);
	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "good", "good"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(name_ops); i++) {
		const struct name_op *op = &name_ops[i];

		for (size_t j = 0; j < ARRAY_SIZE(bad_names); j++) {
			const struct bad_name *name = &bad_names[j];
			int err;

			if (op->dots && name->text[0] == '.' &&
			    name->text[name->len - 2] == '.')
				continue;
			/* There the bytes behind are somebody else's. */
			if (op->tail && (memchr(name->text, 0, name->len) !=
					 name->text + name->len - 1))
				continue;
			err = send_name(op, name);
			if (err != name->error)
				printf("# %s, %s: %d\n", op->what, name->what,
				       err);
			CHECK_EQ(err, name->error);
		}
	}
	CHECK_EQ(entries(r.dir), 1);
	rig_stop(&r);
}

static void test_longest_name(void)
{
	uint64_t node;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_mkdir(&r, 1, X255, &node), 0);
	CHECK_EQ(rig_node(&r, 1, X255), node);
	CHECK_EQ(rig_rename(&r, 1, X255, node, X255, 0), -EINVAL);
	CHECK_EQ(rig_remove(&r, FUSE_RMDIR, 1, X255), 0);
	rig_stop(&r);
}

/* ---- lengths ------------------------------------------------------------ */

static void test_short(void)
{
	char zero[512] = "";

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	for (uint32_t opcode = 0; opcode < 60; opcode++) {
		for (size_t len = 0; len < 140; len += 4) {
			int err;

			if (opcode == FUSE_INIT || opcode == FUSE_DESTROY)
				continue;
			rq(&r, opcode, 1);
			rq_put(&r, zero, len);
			err = rq_run(&r);
			CHECK(err != -9999);
			CHECK(err <= 1);
		}
	}
	CHECK_EQ(rig_getattr(&r, 1, NULL), 0);
	CHECK_EQ(entries(r.dir), 0);
	rig_stop(&r);
}

static int send_header(uint32_t len, size_t really, size_t room)
{
	struct fuse_in_header head = { .len = len, .opcode = FUSE_GETATTR,
				       .nodeid = 1, .unique = 7 };
	struct chain *c = &r.w->chain;

	memset(r.in, 0, 256);
	memcpy(r.in, &head, sizeof(head));
	c->nr_readable = rig_iov(&r, c->iov, 8, r.in, really);
	c->readable = really;
	c->nr_writable = rig_iov(&r, c->iov + c->nr_readable, 8, r.out, room);
	c->writable = room;
	c->queue = 1;
	return (int)request_run(r.w);
}

static void test_header(void)
{
	const struct fuse_out_header *out;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	out = (const void *)r.out;
	CHECK_EQ(send_header(56, 56, 4096), 16 + 104);
	CHECK_EQ(send_header(57, 56, 4096), 16);
	CHECK_EQ(out->error, -EINVAL);
	CHECK_EQ(out->unique, 7);
	CHECK_EQ(send_header(39, 56, 4096), 16);
	CHECK_EQ(send_header(0, 56, 4096), 16);
	CHECK_EQ(send_header(UINT32_MAX, 56, 4096), 16);
	CHECK_EQ(send_header(56, 39, 4096), 16);
	CHECK_EQ(out->unique, 0);
	CHECK_EQ(send_header(56, 0, 4096), 16);
	CHECK_EQ(send_header(56, 56, 15), 0);
	CHECK_EQ(send_header(56, 56, 0), 0);
	CHECK_EQ(send_header(56, 56, 16), 16);
	CHECK_EQ(out->error, -EINVAL);
	CHECK_EQ(send_header(56, 56, 16 + 103), 16);
	CHECK_EQ(send_header(56, 56, 16 + 104), 16 + 104);
	rig_stop(&r);
}

/* A reply without room must not leave anything behind. */
static void test_no_room(void)
{
	struct fuse_create_in create = { .flags = O_RDWR, .mode = 0644 };
	struct fuse_mkdir_in mkdir_in = { .mode = 0755 };
	struct fuse_open_in open_in = { .flags = O_RDONLY };
	uint64_t before;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	before = rig_open_fds();
	rq(&r, FUSE_CREATE, 1);
	rq_put(&r, &create, sizeof(create));
	rq_str(&r, "f");
	CHECK_EQ(rq_send(&r, r.w, 100), -EINVAL);
	rq(&r, FUSE_TMPFILE, 1);
	rq_put(&r, &create, sizeof(create));
	CHECK_EQ(rq_send(&r, r.w, 100), -EINVAL);
	rq(&r, FUSE_MKDIR, 1);
	rq_put(&r, &mkdir_in, sizeof(mkdir_in));
	rq_str(&r, "d");
	CHECK_EQ(rq_send(&r, r.w, 100), -EINVAL);
	rq(&r, FUSE_OPENDIR, 1);
	rq_put(&r, &open_in, sizeof(open_in));
	CHECK_EQ(rq_send(&r, r.w, 8), -EINVAL);
	CHECK_EQ(entries(r.dir), 0);
	CHECK_EQ(rig_open_fds(), before);
	rig_stop(&r);
}

static void test_hiprio(void)
{
	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	r.queue = 0;
	CHECK_EQ(rig_mkdir(&r, 1, "d", NULL), -EINVAL);
	rq(&r, 36 /* INTERRUPT */, 0);
	rq_put(&r, (uint64_t[1]){ 1 }, 8);
	CHECK_EQ(rq_run(&r), 1);
	r.queue = 1;
	CHECK_EQ(entries(r.dir), 0);
	rig_stop(&r);
}

static void test_unknown(void)
{
	static const uint32_t opcodes[] = { 0, 7, 19, 37, 40, 41, 48, 49, 54,
					    100, 4096, 1048576, UINT32_MAX };

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		rq(&r, opcodes[i], 1);
		CHECK_EQ(rq_run(&r), -ENOSYS);
	}
	rig_stop(&r);
}

/* ---- extensions --------------------------------------------------------- */

static int mkdir_groups(const void *ext, size_t len, uint16_t words)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	struct fuse_in_header *head = (void *)r.in;

	rq(&r, FUSE_MKDIR, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "dir-abc");
	rq_put(&r, ext, len);
	head->total_extlen = words;
	return rq_run(&r);
}

static void test_extensions(void)
{
	struct {
		struct fuse_ext_header head;
		uint32_t nr, groups[41];
	} ext = { .head = { .size = 24, .type = FUSE_EXT_GROUPS },
		  .nr = 2, .groups = { 7, 8 } };

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(mkdir_groups(&ext, 24, 4), -EINVAL);
	CHECK_EQ(mkdir_groups(&ext, 24, 2), -EINVAL);
	CHECK_EQ(mkdir_groups(&ext, 24, 100), -EINVAL);
	CHECK_EQ(mkdir_groups(&ext, 24, UINT16_MAX), -EINVAL);
	ext.nr = 4;
	CHECK_EQ(mkdir_groups(&ext, 24, 3), -EINVAL);
	ext.nr = UINT32_MAX;
	CHECK_EQ(mkdir_groups(&ext, 24, 3), -EINVAL);
	ext.nr = 41;
	ext.head.size = 176;
	CHECK_EQ(mkdir_groups(&ext, 176, 22), -EINVAL);
	ext.nr = 2;
	ext.head.size = 0;
	CHECK_EQ(mkdir_groups(&ext, 24, 3), -EINVAL);
	ext.head.size = 20;
	CHECK_EQ(mkdir_groups(&ext, 24, 3), -EINVAL);
	ext.head.size = 32;
	CHECK_EQ(mkdir_groups(&ext, 24, 3), -EINVAL);
	CHECK_EQ(entries(r.dir), 0);
	ext.head.size = 24;
	CHECK_EQ(mkdir_groups(&ext, 24, 3), 0);
	CHECK_EQ(entries(r.dir), 1);
	rig_stop(&r);
}

/* A group that only the extension names lets a directory be written to. */
static void test_groups(void)
{
	struct {
		struct fuse_ext_header head;
		uint32_t nr, group;
	} ext = { .head = { .size = 16, .type = FUSE_EXT_GROUPS },
		  .nr = 1, .group = 4242 };
	struct fuse_mkdir_in in = { .mode = 02755 };
	struct fuse_in_header *head;
	struct stat st;

	if (geteuid() != 0)
		SKIP("needs root");
	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(fchown(r.dirfd, 0, 4242), 0);
	CHECK_EQ(fchmod(r.dirfd, 02775), 0);
	rq(&r, FUSE_MKDIR, 1);
	rq_put(&r, &in, sizeof(in));
	rq_str(&r, "dir-abc");
	rq_put(&r, &ext, sizeof(ext));
	rq_caller(&r, 1000, 1000);
	head = (void *)r.in;
	head->total_extlen = 2;
	CHECK_EQ(rq_run(&r), 0);
	CHECK_EQ(fstatat(r.dirfd, "dir-abc", &st, 0), 0);
	CHECK_EQ(st.st_uid, 1000);
	CHECK_EQ(st.st_gid, 4242);
	rig_stop(&r);
}

/* ---- read-only ---------------------------------------------------------- */

static void test_readonly(void)
{
	static const uint32_t ops[] = {
		FUSE_SETATTR, FUSE_WRITE, FUSE_SETXATTR, FUSE_REMOVEXATTR,
		FUSE_FALLOCATE, FUSE_COPY_FILE_RANGE, 53,
	};
	struct fuse_access_in access_in = { .mask = W_OK };
	char args[512] = "";
	uint64_t node, fh;
	struct stat st;

	rig_prepare(&r);
	r.options.readonly = true;
	CHECK_EQ(rig_file(&r, "f", "text"), 0);
	CHECK_EQ(rig_up(&r), 0);
	node = rig_node(&r, 1, "f");
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		args[16] = 'n';
		rq(&r, ops[i], node);
		rq_put(&r, args, ops[i] == FUSE_REMOVEXATTR ? 0 : 128);
		rq_str(&r, "user.x");
		CHECK_EQ(rq_run(&r), -EROFS);
	}
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_WRONLY, &fh), -EROFS);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_RDWR, &fh), -EROFS);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_RDONLY | O_TRUNC, &fh),
		 -EROFS);
	CHECK_EQ(rig_create(&r, 1, "g", O_RDONLY, &node, &fh), -EROFS);
	CHECK_EQ(rig_mkdir(&r, 1, "d", NULL), -EROFS);
	CHECK_EQ(rig_remove(&r, FUSE_UNLINK, 1, "f"), -EROFS);
	CHECK_EQ(rig_remove(&r, FUSE_RMDIR, 1, "f"), -EROFS);
	CHECK_EQ(rig_rename(&r, 1, "f", 1, "g", 0), -EROFS);
	node = rig_node(&r, 1, "f");
	rq(&r, FUSE_ACCESS, node);
	rq_put(&r, &access_in, sizeof(access_in));
	CHECK_EQ(rq_run(&r), -EROFS);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_RDONLY, &fh), 0);
	CHECK_EQ(rig_read(&r, node, fh, 0, 10), 4);
	CHECK_EQ(fstatat(r.dirfd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 4);
	CHECK_EQ(entries(r.dir), 1);
	rig_stop(&r);
}

/* ---- noise -------------------------------------------------------------- */

/* Nothing outside of the share is ever touched: a canary beside it. */
static void test_noise(void)
{
	char canary[80], *bytes = malloc(4096);
	uint64_t seed = 7, nodes[4] = { 1, 0, 0, 12345 };
	struct stat before, after;

	rig_prepare(&r);
	snprintf(canary, sizeof(canary), "%s.canary", r.dir);
	CHECK_EQ(mkdir(canary, 0700), 0);
	CHECK_EQ(stat(canary, &before), 0);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "d", &nodes[1]), 0);
	CHECK_EQ(rig_file(&r, "f", "text"), 0);
	nodes[2] = rig_node(&r, 1, "f");
	for (int i = 0; i < 60000; i++) {
		uint32_t opcode;
		size_t len;
		int err;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		opcode = (uint32_t)(seed >> 33) % 56;
		if (opcode == FUSE_DESTROY || opcode == FUSE_INIT)
			continue;
		len = seed >> 40 & 255;
		for (size_t j = 0; j < len; j++) {
			seed = seed * 6364136223846793005ull + 1;
			/* Mostly small numbers, names, and some of anything. */
			bytes[j] = (seed >> 33 & 7) ? (char)0 :
						      (char)(seed >> 50);
			if ((seed >> 36 & 3) == 0)
				bytes[j] = "df./\0ab"[(seed >> 39) % 7];
		}
		rq(&r, opcode, nodes[seed >> 50 & 3]);
		rq_put(&r, bytes, len);
		err = rq_send(&r, r.w, seed >> 30 & 0xfff);
		CHECK(err != -9999);
	}
	CHECK_EQ(rig_getattr(&r, 1, NULL), 0);
	CHECK_EQ(stat(canary, &after), 0);
	CHECK_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	CHECK_EQ(rmdir(canary), 0);
	free(bytes);
	rig_stop(&r);
}

/* ---- less memory than was said ------------------------------------------- */

/* The ring's side promises otherwise; here it would be an endless loop. */
static void test_lack_of_memory(void)
{
	struct fuse_write_in out = { .size = 1000 };
	struct fuse_read_in in = { .size = 1000 };
	char data[1000] = "";
	uint64_t node;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &in.fh), 0);
	CHECK_EQ(rig_write(&r, node, in.fh, 0, data, sizeof(data),
			   0), 1000);
	r.pieces = 1;		/* of which the rig has room for 500 */
	alarm(20);
	rq(&r, FUSE_READ, node);
	rq_put(&r, &in, sizeof(in));
	CHECK_EQ(rq_run(&r), 0);
	CHECK(r.out_len < 500);
	out.fh = in.fh;
	rq(&r, FUSE_WRITE, node);
	rq_put(&r, &out, sizeof(out));
	rq_put(&r, data, sizeof(data));
	CHECK_EQ(rq_run(&r), 0);
	alarm(0);
	rig_stop(&r);
}

/* ---- another file under the name ----------------------------------------- */

/* Not even opened to be looked at: with a device that would be an effect. */
static void test_swapped_name(void)
{
	char path[80], events[512];
	uint64_t node, fh;
	int watch;

	rig_prepare(&r);
	CHECK_EQ(rig_file(&r, "f", "text"), 0);
	CHECK_EQ(rig_up(&r), 0);
	node = rig_node(&r, 1, "f");
	CHECK_EQ(rig_open(&r, FUSE_OPEN, node, O_RDONLY, &fh), 0);
	CHECK_EQ(rig_release(&r, node, fh), 0);
	CHECK_EQ(mkfifoat(r.dirfd, "fifo", 0666), 0);
	CHECK_EQ(syscall(SYS_renameat2, r.dirfd, "fifo", r.dirfd, "f",
			 RENAME_EXCHANGE), 0);
	snprintf(path, sizeof(path), "%s/f", r.dir);
	watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	CHECK(inotify_add_watch(watch, path, IN_OPEN) >= 0);
	/* With and without a descriptor of the node in the cache. */
	rig_open(&r, FUSE_OPEN, node, O_RDONLY, &fh);
	rig_open(&r, FUSE_OPEN, node, O_RDWR, &fh);
	rig_evict_all(&r);
	rig_open(&r, FUSE_OPEN, node, O_RDONLY, &fh);
	rig_open(&r, FUSE_OPEN, node, O_RDWR | O_TRUNC, &fh);
	CHECK_EQ(read(watch, events, sizeof(events)), -1);
	CHECK_EQ(errno, EAGAIN);
	close(watch);
	rig_stop(&r);
}

/* ---- the second layer ---------------------------------------------------- */

/* Names that the first would have let through: the kernel refuses them. */
static void test_kernel_refuses(void)
{
	static const char *const names[] = {
		"..", "../x", "/etc/passwd", "out", "out/passwd", "d/up",
		"d/../..", "d/../../x", "d/magic",
	};
	int fd = -EAGAIN;

	rig_prepare(&r);
	CHECK_EQ(mkdirat(r.dirfd, "d", 0755), 0);
	CHECK_EQ(symlinkat("/etc", r.dirfd, "out"), 0);
	CHECK_EQ(symlinkat("../..", r.dirfd, "d/up"), 0);
	CHECK_EQ(symlinkat("/proc/self/fd/0", r.dirfd, "d/magic"), 0);
	CHECK_EQ(rig_up(&r), 0);
	if (!r.fs->nodes->openat2)
		SKIP("no openat2(2)");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		/* openat2(2): try ".." again where others rename meanwhile. */
		for (int tries = 0; tries < 100000; tries++) {
			fd = fs_openat(r.fs, r.fs->place.root, names[i],
				       O_PATH | O_CLOEXEC, 0);
			if (fd != -EAGAIN)
				break;
		}
		if (fd >= 0)
			printf("# %s was opened\n", names[i]);
		CHECK(fd == -ESTALE || fd == -ELOOP);
	}
	fd = fs_openat(r.fs, r.fs->place.root, "d", O_PATH | O_CLOEXEC, 0);
	CHECK(fd >= 0);
	close(fd);
	rig_stop(&r);
}

/* ---- a successor's inheritance ------------------------------------------ */

/* In a child of a child: an arena with one word spoilt. Returns wait status. */
static int open_spoilt(enum arena_id id, size_t word)
{
	struct fs_setup setup = {
		.options = &r.options,
		.place = &r.place,
		.arena = r.arena,
		.ops = &rig_ops,
		.queues = 2,
	};
	uint64_t size = 0;
	int status;
	void *mem;
	pid_t pid;

	if (arena_region(r.arena, id, 1, &size, &mem, NULL))
		return -1;
	pid = fork();
	if (!pid) {
		uint32_t *spoilt = (uint32_t *)mem + word, was = *spoilt;

		alarm(20);
		*spoilt = was ^ 0xfffffff0;
		status = fs_open(&r.fs, &setup);
		*spoilt = was;	/* the memory is shared */
		_exit(status != 0);
	}
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* What a worker left that was not itself any more: no index is believed. */
static void test_spoilt_arena(void)
{
	static const struct {
		enum arena_id id;
		size_t words;
	} parts[] = {
		{ ARENA_NODES, 100 }, { ARENA_NAMES, 40 },
		{ ARENA_HANDLES, 24 }, { ARENA_JOURNAL, 64 },
	};
	uint64_t node, fh;
	int bad = 0;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_create(&r, 1, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "d", &node), 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		for (size_t word = 0; word < parts[i].words; word++) {
			int status = open_spoilt(parts[i].id, word);

			if (WIFEXITED(status))
				continue;
			printf("# word %zu of region %d: status %#x\n", word,
			       (int)parts[i].id, (unsigned int)status);
			bad++;
		}
	}
	CHECK_EQ(bad, 0);
	rig_stop(&r);
}

/* ---- file systems below ------------------------------------------------- */

static void test_proc_inside(void)
{
	struct fuse_entry_out entry;
	char cmd[256];

	if (geteuid() != 0)
		SKIP("needs root");
	rig_prepare(&r);
	CHECK_EQ(mkdirat(r.dirfd, "proc", 0755), 0);
	CHECK_EQ(mkdirat(r.dirfd, "tmpfs", 0755), 0);
	snprintf(cmd, sizeof(cmd), "mount -t proc none %s/proc 2>/dev/null && "
		 "mount -t tmpfs none %s/tmpfs", r.dir, r.dir);
	if (system(cmd)) {
		rig_stop(&r);
		SKIP("mounting is not allowed");
	}
	r.options.submounts = false;
	if (!rig_up(&r)) {
		int refused = rig_lookup(&r, 1, "proc", &entry);
		int served = rig_lookup(&r, 1, "tmpfs", &entry);
		uint64_t ino = entry.attr.ino;

		snprintf(cmd, sizeof(cmd), "umount %s/proc %s/tmpfs", r.dir,
			 r.dir);
		rig_close_fs(&r);
		CHECK_EQ(system(cmd), 0);
		CHECK_EQ(refused, -EACCES);
		CHECK_EQ(served, 0);
		/* Root directories of two file systems are two files. */
		CHECK(ino >> 48 != 0);
	}
	rig_stop(&r);
}

static const struct check_case cases[] = {
	{ "names that are none", test_names },
	{ "the longest name", test_longest_name },
	{ "requests that are too short", test_short },
	{ "headers that contradict the ring", test_header },
	{ "replies without room", test_no_room },
	{ "the high priority queue", test_hiprio },
	{ "opcodes that do not exist", test_unknown },
	{ "extensions that are too long or too many", test_extensions },
	{ "groups that a caller is not in", test_groups },
	{ "nothing changes a read-only share", test_readonly },
	{ "random requests harm nothing", test_noise },
	{ "less memory than was said", test_lack_of_memory },
	{ "another file under the name", test_swapped_name },
	{ "the kernel refuses to leave", test_kernel_refuses },
	{ "a spoilt arena", test_spoilt_arena },
	{ "proc is never crossed into", test_proc_inside },
};

int main(int argc, char **argv)
{
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
