/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_CRASH_OPS_H
#define VMSHARE_TESTS_CRASH_OPS_H

/*
 * More operations on the model: attributes, listings, locks, ranges, what only
 * looks, and a guest that mounts anew; and the table of them all. With these
 * every opcode of the server's table is used but INTERRUPT, which Linux sends
 * to no virtiofs server, and the copy of more than 4 GiB.
 */

#include "tests/c/crash_model.h"

#include <linux/fs.h>

static int op_xattr(void)
{
	int i = some_node(S_IFREG), ret, want = 0;
	uint32_t flags = rnd(3);	/* 1: create, 2: replace */
	unsigned int k = rnd(XATTRS);
	uint8_t value = (uint8_t)(1 + rnd(200)), got = 0;
	char name[16];

	if (i < 0)
		return 0;
	snprintf(name, sizeof(name), "user.x%u", k);
	if (rnd(3) == 0) {
		ret = fe_removexattr(fe, nodes[i].id, name);
		if (ret == -EOPNOTSUPP)
			return 0;
		WANT(ret, nodes[i].xattr[k] ? 0 : -ENODATA);
		nodes[i].xattr[k] = 0;
	} else {
		if (flags == XATTR_CREATE && nodes[i].xattr[k])
			want = -EEXIST;
		if (flags == XATTR_REPLACE && !nodes[i].xattr[k])
			want = -ENODATA;
		ret = fe_setxattr(fe, nodes[i].id, name, &value, 1, flags);
		if (ret == -EOPNOTSUPP)
			return 0;
		WANT(ret, want);
		if (!ret)
			nodes[i].xattr[k] = value;
	}
	ret = (int)fe_getxattr(fe, nodes[i].id, name, &got, 1);
	WANT(ret, nodes[i].xattr[k] ? 1 : -ENODATA);
	WANT(got, nodes[i].xattr[k]);
	return 0;
}

/* One entry of a listing. @seen: which names there were. */
static int list_entry(int dir, const struct fe_dirent *d, bool *seen)
{
	int name = -1;

	if (d->namelen <= 2 && d->name[0] == '.')
		return 0;
	for (int k = 0; k < NAMES; k++)
		if (strlen(name_of(k)) == d->namelen &&
		    memcmp(name_of(k), d->name, d->namelen) == 0)
			name = k;
	if (name < 0 || nodes[dir].name[name] < 0)
		return FAIL("'%.*s' should not be there", (int)d->namelen,
			    d->name);
	if (seen[name])
		return FAIL("'%s' is there twice", name_of(name));
	seen[name] = true;
	if (!d->entry || !d->entry->nodeid)
		return 0;
	return entry_of(nodes[dir].name[name], d->entry);
}

static int op_list(void)
{
	static uint8_t buf[1024];
	int dir = some_dir(), ret = 0;
	bool plus = rnd(3);
	bool seen[NAMES] = { false };
	uint64_t fh, off = 0;
	ssize_t len = 0;

	WANT(fe_opendir(fe, nodes[dir].id, &fh), 0);
	do {
		struct fe_dirent d;
		size_t pos = 0;

		len = fe_readdir(fe, nodes[dir].id, fh, off, buf, sizeof(buf),
				 plus);
		if (len < 0)
			return FAIL("readdir: %zd", len);
		while (!ret && fe_next_dirent(buf, (size_t)len, plus, &pos,
					      &d) == 1) {
			off = d.off;
			ret = list_entry(dir, &d, seen);
		}
	} while (len > 0 && !ret);
	for (int k = 0; k < NAMES && !ret; k++)
		if (!seen[k] && nodes[dir].name[k] >= 0)
			ret = FAIL("'%s' is missing", name_of(k));
	WANT(fe_fsyncdir(fe, nodes[dir].id, fh), 0);
	WANT(fe_releasedir(fe, nodes[dir].id, fh), 0);
	return ret;
}

/* A lock is held, or not, by whom the model says, whatever died meanwhile. */
static int op_lock(void)
{
	struct fuse_file_lock lk = { .start = 0, .end = 9, .type = F_WRLCK,
				     .pid = 1 }, other = lk;
	int i = open_file();
	struct node *n;

	if (i < 0)
		return 0;
	n = &nodes[i];
	WANT(fe_setlk(fe, n->id, n->fh, 77, &lk, false, false), 0);
	WANT(fe_setlk(fe, n->id, n->fh, 78, &lk, false, false), -EAGAIN);
	WANT(fe_getlk(fe, n->id, n->fh, 78, &other), 0);
	WANT(other.type, F_WRLCK);
	lk.type = F_UNLCK;
	WANT(fe_setlk(fe, n->id, n->fh, 77, &lk, false, false), 0);
	lk.type = F_WRLCK;
	WANT(fe_setlk(fe, n->id, n->fh, 78, &lk, false, false), 0);
	WANT(fe_flush(fe, n->id, n->fh, 78), 0);
	WANT(fe_flush(fe, n->id, n->fh, 77), 0);
	return 0;
}

/* One waits for a lock while its worker dies; in the end nobody has it. */
static int op_wait(void)
{
	struct fuse_lk_in in = { .owner = 78, .lk = { .end = 9,
						      .type = F_WRLCK } };
	struct fuse_file_lock lk = in.lk;
	struct fe_call call = { .opcode = FUSE_SETLKW,
				.in = { { &in, sizeof(in) } } };
	int i = open_file(), ret;
	struct fe_req *waiting;
	struct node *n;

	if (i < 0)
		return 0;
	n = &nodes[i];
	in.fh = n->fh;
	call.nodeid = n->id;
	WANT(fe_setlk(fe, n->id, n->fh, 77, &lk, false, false), 0);
	WANT(fe_call_start(fe, &call, &waiting), 0);
	for (uint32_t k = rnd(4); k; k--)
		WANT(fe_setlk(fe, n->id, n->fh, 79, &lk, false, false),
		     -EAGAIN);
	lk.type = F_UNLCK;
	WANT(fe_setlk(fe, n->id, n->fh, 77, &lk, false, false), 0);
	ret = fe_finish(waiting);
	fe_req_free(waiting);
	WANT(ret, 0);
	lk.type = F_WRLCK;
	WANT(fe_setlk(fe, n->id, n->fh, 77, &lk, false, false), -EAGAIN);
	WANT(fe_flush(fe, n->id, n->fh, 78), 0);
	WANT(fe_setlk(fe, n->id, n->fh, 77, &lk, false, false), 0);
	WANT(fe_flush(fe, n->id, n->fh, 77), 0);
	return 0;
}

static int op_setattr(void)
{
	int i = some_node(rnd(2) ? S_IFREG : S_IFDIR);
	struct fuse_setattr_in in = { .mode = rnd(01000) };
	struct fuse_attr_out a;
	struct node *n;

	if (i < 0)
		return 0;
	n = &nodes[i];
	in.valid = 1u << rnd(2) * 5;	/* FATTR_MODE or FATTR_MTIME */
	if (rnd(2))
		in.valid = FATTR_MODE | FATTR_MTIME;
	in.mtime = rnd(1u << 30);
	if (n->open && rnd(2)) {
		in.valid |= FATTR_FH;
		in.fh = n->fh;
	}
	WANT(fe_setattr(fe, n->id, &in, &a), 0);
	if (in.valid & FATTR_MODE) {
		n->has_mode = true;
		n->mode = in.mode;
	}
	/* What is done in a directory changes its time. */
	if (in.valid & FATTR_MTIME) {
		n->has_mtime = S_ISREG(n->type);
		n->mtime = (int64_t)in.mtime;
	}
	return attr_of(n, &a.attr);
}

static int op_copy(void)
{
	int i = open_file(), k = open_file();
	uint32_t from, to, len = 1 + rnd(3 * BLOCK);
	struct node *a, *b;

	if (i < 0 || i == k || !nodes[i].size ||
	    nodes[k].open_flags & O_APPEND)
		return 0;
	a = &nodes[i];
	b = &nodes[k];
	from = rnd(a->size);
	to = rnd(SIZE - 3 * BLOCK);
	len = len < a->size - from ? len : a->size - from;
	WANT(fe_copy_file_range(fe, a->id, a->fh, from, b->id, b->fh, to, len),
	     len);
	memcpy(b->data + to, a->data + from, len);
	b->size = to + len > b->size ? to + len : b->size;
	b->has_mtime = false;
	return 0;
}

static int look_open(const struct node *n)
{
	uint32_t flags;
	int64_t at;
	int ret;

	WANT(fe_fsync(fe, n->id, n->fh, rnd(2)), 0);
	WANT(fe_lseek(fe, n->id, n->fh, n->size, SEEK_DATA), -ENXIO);
	at = n->size ? fe_lseek(fe, n->id, n->fh, 0, SEEK_HOLE) : 0;
	WANT(at >= 0 && at <= n->size, 1);
	ret = fe_ioctl(fe, n->id, n->fh, FS_IOC_GETFLAGS, 0, NULL, 0, &flags,
		       sizeof(flags));
	if (ret != -ENOTTY && ret != -EOPNOTSUPP)
		WANT(ret, 0);
	return 0;
}

/* What changes nothing. */
static int op_look(void)
{
	struct fuse_kstatfs st;
	struct fe_statx_out sx;
	int i = some_node(0), has = 0;
	char text[256];
	struct node *n;

	if (i < 0)
		return 0;
	n = &nodes[i];
	WANT(fe_statfs(fe, n->id, &st), 0);
	WANT(fe_access(fe, n->id, R_OK | W_OK), 0);
	WANT(fe_statx(fe, n->id, STATX_BASIC_STATS, &sx), 0);
	WANT(sx.stat.mode & S_IFMT, (long long)n->type);
	if (S_ISLNK(n->type)) {
		WANT(fe_readlink(fe, n->id, text, sizeof(text)), 0);
		WANT(strcmp(text, "target"), 0);
	}
	if (S_ISREG(n->type)) {
		WANT(sx.stat.size, (long long)n->size);
		for (int k = 0; k < XATTRS; k++)
			has += n->xattr[k] ? (int)sizeof("user.x0") : 0;
		WANT(fe_listxattr(fe, n->id, text, sizeof(text)), has);
	}
	if (!rnd(8))
		WANT(fe_syncfs(fe), 0);
	return n->open ? look_open(n) : 0;
}

/* The guest unmounts and mounts: all that it knew is gone. Not often. */
static int op_mount(void)
{
	if (rnd(10))
		return 0;
	WANT(fe_destroy(fe), 0);
	for (int i = 1; i < NODES; i++) {
		nodes[i].open = false;
		nodes[i].lookups = 0;
		if (nodes[i].used)
			settle(i);
	}
	WANT(fe_fuse_init(fe, 0), 0);
	return 0;
}

static int (*const operations[])(void) = {
	op_make, op_make, op_create, op_create, op_tmpfile, op_remove,
	op_remove, op_rename, op_rename, op_link, op_lookup, op_getattr,
	op_forget, op_open, op_write, op_write, op_write, op_read, op_shift,
	op_truncate, op_xattr, op_list, op_lock, op_wait, op_setattr, op_copy,
	op_look, op_mount,
};

#endif
