/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_ATTEMPTS_H
#define VMSHARE_TESTS_ATTEMPTS_H

/*
 * What a guest that speaks FUSE by itself tries, whoever plays it: the front
 * end on the host, or a program in a booted guest that took the device from
 * its kernel. The share has a file "good", a directory "dir" with a file "f",
 * and nothing else unless an attempt says so; what the host sees of it is for
 * the caller to look at. One attempt is one function; check_failed is set by
 * one that succeeded.
 */

#include "tests/c/check.h"
#include "tests/frontend/fe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#define ROOT	FUSE_ROOT_ID
#define SECRET	"what the guest must not read"
#define ARRAY_LEN(a) (sizeof(a) / sizeof(*(a)))

static struct fe *fe;

/* ---- names that are paths ----------------------------------------------- */

/* A request with a name in it: what stands before it, and what behind. */
static const struct {
	uint32_t opcode;
	const char *what;
	size_t fixed;
	const char *before, *behind;
} name_ops[] = {
	{ FUSE_LOOKUP, "LOOKUP", 0, NULL, NULL },
	{ FUSE_CREATE, "CREATE", 16, NULL, NULL },
	{ FUSE_MKNOD, "MKNOD", 16, NULL, NULL },
	{ FUSE_MKDIR, "MKDIR", 8, NULL, NULL },
	{ FUSE_SYMLINK, "SYMLINK", 0, NULL, "/" },
	{ FUSE_LINK, "LINK", 8, NULL, NULL },
	{ FUSE_UNLINK, "UNLINK", 0, NULL, NULL },
	{ FUSE_RMDIR, "RMDIR", 0, NULL, NULL },
	{ FUSE_RENAME, "RENAME", 8, NULL, "x" },
	{ FUSE_RENAME, "RENAME to", 8, "good", NULL },
	{ FUSE_RENAME2, "RENAME2", 16, NULL, "x" },
	{ FUSE_RENAME2, "RENAME2 to", 16, "good", NULL },
};

static inline int send_name(size_t op, const char *name, size_t len,
			    uint64_t node)
{
	uint64_t args[2] = { node, 0 };
	struct fe_call c = {
		.opcode = name_ops[op].opcode,
		.nodeid = ROOT,
		.out_size = 256,
	};
	char out[256];
	unsigned int n = 0;

	c.out = out;
	if (c.opcode == FUSE_CREATE)
		args[0] = O_RDWR | O_CREAT | (uint64_t)(S_IFREG | 0644) << 32;
	if (c.opcode == FUSE_MKNOD)
		args[0] = S_IFREG | 0644;
	if (c.opcode == FUSE_RENAME || c.opcode == FUSE_RENAME2)
		args[0] = ROOT;
	if (name_ops[op].fixed) {
		c.in[n].p = args;
		c.in[n++].len = name_ops[op].fixed;
	}
	if (name_ops[op].before) {
		c.in[n].p = name_ops[op].before;
		c.in[n++].len = strlen(name_ops[op].before) + 1;
	}
	if (len) {
		c.in[n].p = name;
		c.in[n++].len = len;
	}
	if (name_ops[op].behind) {
		c.in[n].p = name_ops[op].behind;
		c.in[n++].len = strlen(name_ops[op].behind) + 1;
	}
	return fe_call(fe, &c);
}

static inline void attempt_names(void)
{
	static char longest[4097];
	const struct {
		const char *text;
		size_t len;
	} bad[] = {
		{ "", 1 }, { ".", 2 }, { "..", 3 }, { "../outside/f", 13 },
		{ "../outside/dir", 15 }, { "/etc/passwd", 12 },
		{ "dir/../../outside/f", 20 }, { "dir/f", 6 }, { "/", 2 },
		{ "dir/", 5 }, { "./good", 7 },
		{ "good\0x", 7 }, { "new\0/..", 8 }, { longest, 257 },
		{ longest, 4097 },
	};
	struct fuse_entry_out e;

	memset(longest, 'x', sizeof(longest));
	longest[256] = longest[4096] = '\0';
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	for (size_t op = 0; op < ARRAY_LEN(name_ops); op++)
		for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
			bool dots = bad[i].text[0] == '.' && bad[i].len < 4;
			int err;

			longest[256] = bad[i].len == 4097 ? 'x' : '\0';
			/* For NFS; a data part may follow a name. */
			if ((name_ops[op].opcode == FUSE_LOOKUP && dots) ||
			    (name_ops[op].behind &&
			     memchr(bad[i].text, 0, bad[i].len - 1)))
				continue;
			err = send_name(op, bad[i].text, bad[i].len, e.nodeid);
			if (err != -EINVAL && err != -ENAMETOOLONG)
				printf("# %s of '%.20s': %d\n",
				       name_ops[op].what, bad[i].text, err);
			CHECK(err == -EINVAL || err == -ENAMETOOLONG);
		}
	/* One byte less is a name, for each of them. */
	longest[255] = '\0';
	for (size_t op = 0; op < ARRAY_LEN(name_ops); op++) {
		int err = send_name(op, longest, 256, e.nodeid);

		if (err == -EINVAL || err == -ENAMETOOLONG)
			printf("# %s of 255 bytes: %d\n", name_ops[op].what,
			       err);
		CHECK(err != -EINVAL && err != -ENAMETOOLONG);
	}
	/* The renames have left that one at "x". */
	CHECK_EQ(fe_rename(fe, ROOT, "x", ROOT, "good"), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "..", &e), 0);
	CHECK_EQ(e.nodeid, ROOT);
}

/* A file without a name comes with one, which has no meaning. */
static inline int send_tmpfile(const char *name, size_t len)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = 0600 };
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	struct fe_call c = {
		.opcode = FUSE_TMPFILE, .nodeid = ROOT,
		.in = { { &in, sizeof(in) }, { name, len } },
		.out = &out, .out_size = sizeof(out),
	};
	int err = fe_call(fe, &c);

	if (!err)
		fe_release(fe, out.entry.nodeid, out.open.fh);
	return err;
}

/* Names of attributes: what is none, what is too long, what ends early. */
static inline void attempt_more_names(void)
{
	static char longest[4097];
	const struct {
		const char *text;
		size_t len;
	} temporary[] = {
		{ "../outside/new", 15 }, { "/etc/new", 9 }, { "..", 3 },
		{ "new", 4 }, { "", 1 }, { longest, 4097 }, { "a\0b", 4 },
	}, attributes[] = {
		{ "", 1 }, { longest, 257 }, { longest, 4097 },
		{ "user.x\0y", 9 }, { "user.x", 6 },
	};
	struct fuse_entry_out e;

	memset(longest, 'u', 4096);
	for (size_t i = 0; i < ARRAY_LEN(temporary); i++) {
		int err = send_tmpfile(temporary[i].text, temporary[i].len);

		CHECK(!err || err == -EOPNOTSUPP);
	}
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
		struct fuse_getxattr_in in = { .size = 16 };
		struct fe_call get = {
			.opcode = FUSE_GETXATTR, .nodeid = e.nodeid,
			.in = { { &in, sizeof(in) },
				{ attributes[i].text, attributes[i].len } },
			.dst = longest, .dst_size = 16,
		};
		struct fe_call remove = {
			.opcode = FUSE_REMOVEXATTR, .nodeid = e.nodeid,
			.in = { get.in[1] },
		};
		int got = fe_call(fe, &get), gone = fe_call(fe, &remove);

		CHECK(got == -EINVAL || got == -ERANGE);
		CHECK(gone == -EINVAL || gone == -ERANGE);
		memset(longest, 'u', 4096);
	}
	CHECK_EQ(fe_setxattr(fe, e.nodeid, "", "x", 1, 0), -ERANGE);
	CHECK_EQ(fe_setxattr(fe, e.nodeid, longest, "x", 1, 0), -ERANGE);
	longest[256] = '\0';
	CHECK_EQ(fe_setxattr(fe, e.nodeid, longest, "x", 1, 0), -ERANGE);
}

/* ---- what is no file ---------------------------------------------------- */

/* Raw requests to open what no guest's driver would ask to. */
static inline void attempt_open(const char *name)
{
	static const uint32_t flags[] = { O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC,
					  O_RDONLY | O_NONBLOCK | O_APPEND };
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_entry_out e, f;
	struct fuse_attr_out a;
	uint64_t fh;

	CHECK_EQ(fe_lookup(fe, ROOT, name, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		CHECK(fe_open(fe, e.nodeid, flags[i], &fh) < 0);
	CHECK(fe_opendir(fe, e.nodeid, &fh) < 0);
	CHECK(fe_setattr(fe, e.nodeid, &size, &a) < 0);
	CHECK(fe_create(fe, ROOT, name, O_RDWR, 0644, &f, &fh) < 0);
	CHECK(fe_create(fe, ROOT, name, O_RDWR | O_EXCL, 0644, &f, &fh) < 0);
}

/* ---- symlinks ----------------------------------------------------------- */

/*
 * "file" points at a file outside, "way" at a directory there with "f" in it.
 * @given: a symlink may be given away by making it a file with its target in
 * it, which has attributes then.
 */
static inline void attempt_symlinks(bool given)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_entry_out e, f;
	struct fuse_attr_out a;
	uint64_t fh;
	char buf[128];

	CHECK_EQ(fe_lookup(fe, ROOT, "file", &e), 0);
	CHECK(S_ISLNK(e.attr.mode));
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), -ELOOP);
	CHECK(fe_create(fe, ROOT, "file", O_RDWR, 0644, &f, &fh) < 0);
	CHECK(fe_setattr(fe, e.nodeid, &size, &a) < 0);
	fe_chmod(fe, e.nodeid, 0777);
	fe_chown(fe, e.nodeid, 1, 1);
	fe_utimens(fe, e.nodeid, 1, 1);
	fe_setxattr(fe, e.nodeid, "user.x", "x", 1, 0);
	CHECK(given ||
	      fe_getxattr(fe, e.nodeid, "user.x", buf, sizeof(buf)) < 0);
	fe_link(fe, e.nodeid, ROOT, "hard", &f);
	/* The way through a directory that is a link. */
	CHECK_EQ(fe_lookup(fe, ROOT, "way", &e), 0);
	CHECK_EQ(fe_lookup(fe, e.nodeid, "f", &f), -ENOTDIR);
	CHECK(fe_opendir(fe, e.nodeid, &fh) < 0);
	CHECK(fe_mkdir(fe, e.nodeid, "new", 0755, &f) < 0);
	CHECK(fe_create(fe, e.nodeid, "new", O_RDWR, 0644, &f, &fh) < 0);
	CHECK(fe_unlink(fe, e.nodeid, "f") < 0);
	CHECK(fe_rename(fe, ROOT, "good", e.nodeid, "got out") < 0);
	CHECK(fe_rename(fe, e.nodeid, "f", ROOT, "got in") < 0);
}

/* ---- swapped while an operation runs ------------------------------------ */

static inline bool reads_secret(uint64_t node)
{
	char buf[64] = "";
	uint64_t fh;
	ssize_t n;

	if (fe_open(fe, node, O_RDONLY, &fh))
		return false;
	n = fe_read(fe, node, fh, 0, buf, sizeof(buf) - 1);
	fe_release(fe, node, fh);
	return n > 0 && strstr(buf, SECRET);
}

static inline bool attempt_swapped(void)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_entry_out dir, e;
	struct fuse_attr_out a;
	uint64_t fh;
	bool got = false;

	if (!fe_lookup(fe, ROOT, "good", &e)) {
		got |= reads_secret(e.nodeid);
		fe_setattr(fe, e.nodeid, &size, &a);
		fe_setxattr(fe, e.nodeid, "user.x", "x", 1, 0);
		fe_chmod(fe, e.nodeid, 0600);
		fe_utimens(fe, e.nodeid, 1, 1);
		fe_forget(fe, e.nodeid, 1);
	}
	if (!fe_create(fe, ROOT, "good", O_RDWR | O_TRUNC, 0600, &e, &fh)) {
		fe_write(fe, e.nodeid, fh, 0, "x", 1);
		fe_release(fe, e.nodeid, fh);
		fe_forget(fe, e.nodeid, 1);
	}
	if (fe_lookup(fe, ROOT, "dir", &dir))
		return got;
	if (!fe_lookup(fe, dir.nodeid, "f", &e)) {
		got |= reads_secret(e.nodeid);
		fe_setattr(fe, e.nodeid, &size, &a);
		fe_forget(fe, e.nodeid, 1);
	}
	if (!fe_create(fe, dir.nodeid, "new", O_RDWR, 0600, &e, &fh)) {
		fe_release(fe, e.nodeid, fh);
		fe_unlink(fe, dir.nodeid, "new");
		fe_forget(fe, e.nodeid, 1);
	}
	fe_mkdir(fe, dir.nodeid, "sub", 0700, &e);
	fe_rmdir(fe, dir.nodeid, "sub");
	fe_unlink(fe, dir.nodeid, "secret");
	fe_forget(fe, dir.nodeid, 1);
	return got;
}

/* ---- made-up numbers ---------------------------------------------------- */

static inline void attempt_forged(void)
{
	struct fuse_entry_out good, f;
	struct fuse_attr_out a;
	uint64_t fh, other;
	char buf[64];

	CHECK_EQ(fe_lookup(fe, ROOT, "good", &good), 0);
	CHECK_EQ(fe_walk(fe, "dir/f", &f), 0);
	CHECK_EQ(fe_open(fe, good.nodeid, O_RDONLY, &fh), 0);
	CHECK_EQ(fe_open(fe, f.nodeid, O_RDONLY, &other), 0);
	for (unsigned int bit = 0; bit < 64; bit++) {
		uint64_t made_up = good.nodeid ^ 1ull << bit;

		if (made_up != f.nodeid && made_up != ROOT)
			CHECK(fe_getattr(fe, made_up, &a) < 0);
		made_up = fh ^ 1ull << bit;
		CHECK(fe_read(fe, good.nodeid, made_up, 0, buf, 64) < 0);
	}
	CHECK_EQ(fe_read(fe, good.nodeid, other, 0, buf, 64), -EBADF);
	CHECK_EQ(fe_release(fe, good.nodeid, other), -EBADF);
	CHECK_EQ(fe_release(fe, good.nodeid, fh), 0);
	CHECK_EQ(fe_release(fe, good.nodeid, fh), -EBADF);
	CHECK_EQ(fe_read(fe, good.nodeid, fh, 0, buf, 64), -EBADF);
	/* The number stays dead when its place is taken again. */
	CHECK_EQ(fe_open(fe, good.nodeid, O_RDONLY, &other), 0);
	CHECK(other != fh);
	CHECK_EQ(fe_read(fe, good.nodeid, fh, 0, buf, 64), -EBADF);
	CHECK_EQ(fe_forget(fe, f.nodeid, 1), 0);
	fe_getattr(fe, f.nodeid, &a);
	CHECK_EQ(fe_getattr(fe, ROOT, &a), 0);
}

/* More than was ever counted, of what is being read. */
static inline void attempt_forget(void)
{
	struct fe_req *req[16];
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	char buf[64];
	uint64_t fh;

	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), 0);
	for (int round = 0; round < 50; round++) {
		struct fuse_read_in in = { .fh = fh, .size = sizeof(buf) };
		struct fe_call c = {
			.opcode = FUSE_READ, .nodeid = e.nodeid,
			.in = { { &in, sizeof(in) } },
			.dst = buf, .dst_size = sizeof(buf), .q = 2,
		};
		int got;

		for (int i = 0; i < 16; i++)
			CHECK_EQ(fe_call_start(fe, &c, &req[i]), 0);
		CHECK_EQ(fe_forget(fe, e.nodeid, UINT64_MAX), 0);
		CHECK_EQ(fe_forget(fe, ROOT, UINT64_MAX), 0);
		for (int i = 0; i < 16; i++) {
			got = fe_finish(req[i]);
			CHECK(got == 0 || got == -ESTALE);
			fe_req_free(req[i]);
		}
		CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	}
	CHECK_EQ(fe_getattr(fe, ROOT, &a), 0);
}

/* ---- more than there is ------------------------------------------------- */

/* @limit: the share's open-files; what it has for itself is among them. */
static inline void attempt_many(unsigned int limit)
{
	static uint64_t fh[1280];
	struct fuse_entry_out e, d;
	unsigned int n = 0;
	uint64_t again;

	CHECK(10 * limit <= ARRAY_LEN(fh));
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	for (unsigned int i = 0; i < 10 * limit; i++) {
		int err = fe_open(fe, e.nodeid, O_RDONLY, &fh[n]);

		CHECK(err == 0 || err == -ENFILE || err == -EMFILE);
		n += !err;
	}
	CHECK(n > 0 && n <= limit);
	/* What needs no open file goes on, rm above all. */
	CHECK_EQ(fe_walk(fe, "dir/f", &d), 0);
	CHECK_EQ(fe_mkdir(fe, ROOT, "new", 0755, &d), 0);
	CHECK_EQ(fe_rmdir(fe, ROOT, "new"), 0);
	while (n)
		CHECK_EQ(fe_release(fe, e.nodeid, fh[--n]), 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &again), 0);
	CHECK_EQ(fe_release(fe, e.nodeid, again), 0);
}

/* ---- what may not be written -------------------------------------------- */

/* As a page cache writes that some mmap() made dirty. */
static inline int write_raw(uint64_t node, uint64_t fh, uint32_t how,
			    uint32_t flags)
{
	struct fuse_write_in in = { .fh = fh, .size = 1, .write_flags = how,
				    .flags = flags };
	struct fuse_write_out out;
	struct fe_call c = {
		.opcode = FUSE_WRITE, .nodeid = node,
		.in = { { &in, sizeof(in) }, { "x", 1 } },
		.out = &out, .out_size = sizeof(out),
	};

	return fe_call(fe, &c);
}

static inline void attempt_write(void)
{
	const struct fuse_setupmapping_in map = { .len = 4096, .flags = 3 };
	unsigned int flags = FS_APPEND_FL;
	struct fuse_setattr_in set = { .valid = FATTR_SIZE };
	struct fuse_entry_out e, n;
	struct fuse_attr_out a;
	uint64_t fh;

	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDWR, &fh), -EROFS);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY | O_TRUNC, &fh), -EROFS);
	CHECK(fe_open(fe, e.nodeid, O_ACCMODE, &fh) < 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_WRONLY | O_APPEND, &fh), -EROFS);
	CHECK(fe_create(fe, ROOT, "good", O_RDONLY | O_TRUNC, 0644, &n, &fh) <
	      0);
	CHECK(fe_create(fe, ROOT, "new", O_RDONLY, 0644, &n, &fh) < 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), 0);
	CHECK(fe_write(fe, e.nodeid, fh, 0, "x", 1) < 0);
	CHECK(write_raw(e.nodeid, fh, FUSE_WRITE_CACHE, O_RDWR) < 0);
	CHECK(write_raw(e.nodeid, fh, FUSE_WRITE_LOCKOWNER, O_APPEND) < 0);
	CHECK(write_raw(e.nodeid, 0, FUSE_WRITE_CACHE, O_RDWR) < 0);
	CHECK(fe_ask(fe, FUSE_SETUPMAPPING, e.nodeid, &map, sizeof(map), NULL,
		     0) < 0);
	CHECK(fe_ioctl(fe, e.nodeid, fh, FS_IOC_SETFLAGS, 0, &flags,
		       sizeof(flags), NULL, 0) < 0);
	set.valid |= FATTR_FH;
	set.fh = fh;
	CHECK_EQ(fe_setattr(fe, e.nodeid, &set, &a), -EROFS);
	set.valid = FATTR_SIZE;
	CHECK(fe_fallocate(fe, e.nodeid, fh, 0, 0, 100) < 0);
	CHECK(fe_copy_file_range(fe, e.nodeid, fh, 0, e.nodeid, fh, 0, 4) < 0);
	CHECK_EQ(fe_setattr(fe, e.nodeid, &set, &a), -EROFS);
	CHECK_EQ(fe_chmod(fe, e.nodeid, 0777), -EROFS);
	CHECK_EQ(fe_chown(fe, e.nodeid, 1, 1), -EROFS);
	CHECK_EQ(fe_utimens(fe, e.nodeid, 1, 1), -EROFS);
	CHECK(fe_setxattr(fe, e.nodeid, "user.x", "x", 1, 0) < 0);
	CHECK(fe_removexattr(fe, e.nodeid, "user.x") < 0);
	CHECK_EQ(fe_link(fe, e.nodeid, ROOT, "hard", &n), -EROFS);
	CHECK_EQ(fe_unlink(fe, ROOT, "good"), -EROFS);
	CHECK_EQ(fe_rename(fe, ROOT, "good", ROOT, "x"), -EROFS);
	CHECK_EQ(fe_mkdir(fe, ROOT, "x", 0755, &n), -EROFS);
	CHECK_EQ(fe_mknod(fe, ROOT, "x", S_IFIFO | 0644, 0, &n), -EROFS);
	CHECK_EQ(fe_symlink(fe, ROOT, "x", "y", &n), -EROFS);
	CHECK_EQ(fe_rmdir(fe, ROOT, "dir"), -EROFS);
	CHECK(fe_tmpfile(fe, ROOT, O_RDWR, 0600, &n, &fh) < 0);
}

#endif
