/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_CRASH_MODEL_H
#define VMSHARE_TESTS_CRASH_MODEL_H

/*
 * A model of a small tree of files, and operations that do something at random
 * to both: each asks the server and compares the reply. -1: they differ. Here
 * are those that change names and files' contents; crash_ops.h has the rest.
 */

#include "tests/c/crash_stage.h"

#include <linux/falloc.h>
#include <linux/xattr.h>
#include <sys/stat.h>

#define NODES	96
#define OPEN	12	/* files that are open, at most */
#define ORPHANS	12	/* nodes without names */
#define NAMES	12	/* in each directory */
#define SIZE	32768u
#define BLOCK	4096u
#define XATTRS	3

struct node {
	bool used;
	uint32_t type;		/* S_IFMT */
	uint64_t id, lookups;	/* as the guest knows it */
	unsigned int nlink;
	uint64_t ino;
	bool open;
	uint64_t fh;
	uint32_t open_flags;
	uint32_t size;
	uint8_t data[SIZE];
	uint8_t xattr[XATTRS];	/* value; 0: none */
	bool has_mode, has_mtime;	/* chosen by op_setattr() */
	uint32_t mode;
	int64_t mtime;
	int name[NAMES];	/* directory: nodes; -1 */
	int parent;
};

static struct node nodes[NODES];
static uint32_t seed = 12345;
static uint64_t done_ops;

static uint32_t rnd(uint32_t n)
{
	return stage_random(&seed) % n;
}

static const char *name_of(int name)
{
	static char buf[4][16];
	static unsigned int i;

	snprintf(buf[i % 4], sizeof(buf[0]), "name%d", name);
	return buf[i++ % 4];
}

#define FAIL(fmt, ...)                                                        \
	(printf("# op %llu, kill %u: %s: " fmt "\n",                          \
		(unsigned long long)done_ops, GET(stage->kills), __func__,    \
		__VA_ARGS__), -1)

#define WANT(got, want)                                                       \
	do {                                                                  \
		long long want_g = (long long)(got), want_w = (want);         \
		if (want_g != want_w)                                         \
			return FAIL("%s: %lld, not %lld (%s)", #got, want_g,  \
				    want_w, fe_fault(fe));                    \
	} while (0)

/* ---- the model ---------------------------------------------------------- */

static int model_new(uint32_t type, int parent)
{
	for (int i = 1; i < NODES; i++) {
		struct node *n = &nodes[i];

		if (n->used)
			continue;
		memset(n, 0, sizeof(*n));
		n->used = true;
		n->type = type;
		n->nlink = S_ISDIR(type) ? 2 : 1;
		n->parent = parent;
		for (int k = 0; k < NAMES; k++)
			n->name[k] = -1;
		return i;
	}
	return -1;
}

static bool model_full(void)
{
	int n = 0, open = 0;

	for (int i = 0; i < NODES; i++) {
		n += nodes[i].used;
		open += nodes[i].used && nodes[i].open;
	}
	return n >= NODES - 2 || open >= OPEN;
}

/* A directory of the guest's. */
static int some_dir(void)
{
	int found = 0;

	for (int i = 0, n = 1; i < NODES; i++)
		if (nodes[i].used && S_ISDIR(nodes[i].type) &&
		    nodes[i].nlink && nodes[i].lookups &&
		    rnd((uint32_t)n++) == 0)
			found = i;
	return found;
}

static int some_node(uint32_t type)
{
	int found = -1;

	for (int i = 1, n = 1; i < NODES; i++)
		if (nodes[i].used && nodes[i].lookups &&
		    (!type || nodes[i].type == type) && rnd((uint32_t)n++) == 0)
			found = i;
	return found;
}

static bool is_empty(const struct node *dir)
{
	for (int k = 0; k < NAMES; k++)
		if (dir->name[k] >= 0)
			return false;
	return true;
}

static bool is_below(int node, int dir)
{
	for (; node; node = nodes[node].parent)
		if (node == dir)
			return true;
	return dir == 0;
}

/* Without names, lookups and handle it is gone. */
static void settle(int i)
{
	struct node *n = &nodes[i];

	if (i && !n->nlink && !n->lookups && !n->open)
		n->used = false;
}

static void unname(int dir, int name)
{
	struct node *n = &nodes[nodes[dir].name[name]];
	int i = nodes[dir].name[name];

	nodes[dir].name[name] = -1;
	if (S_ISDIR(n->type))
		n->nlink = 0;
	else
		n->nlink--;
	settle(i);
}

/* A reply with an entry: the node's number is what it was, or is new. */
static int entry_of(int i, const struct fuse_entry_out *e)
{
	struct node *n = &nodes[i];

	if (!e->nodeid)
		return FAIL("no node for %d", i);
	if (n->lookups && e->nodeid != n->id)
		return FAIL("node %d has another number", i);
	if (n->ino && e->attr.ino != n->ino)
		return FAIL("node %d has another inode", i);
	WANT(e->attr.mode & S_IFMT, (long long)n->type);
	if (!S_ISDIR(n->type))
		WANT(e->attr.nlink, (long long)n->nlink);
	if (S_ISREG(n->type))
		WANT(e->attr.size, (long long)n->size);
	n->ino = e->attr.ino;
	n->id = e->nodeid;
	n->lookups++;
	return 0;
}

/* ---- operations --------------------------------------------------------- */

static int op_make(void)
{
	static const uint32_t types[] = { S_IFDIR, S_IFIFO, S_IFREG, S_IFLNK };
	int dir = some_dir(), name = (int)rnd(NAMES), i;
	uint32_t type = types[rnd(4)];
	struct fuse_entry_out e;
	int ret;

	if (model_full())
		return 0;
	if (S_ISDIR(type))
		ret = fe_mkdir(fe, nodes[dir].id, name_of(name), 0755, &e);
	else if (S_ISLNK(type))
		ret = fe_symlink(fe, nodes[dir].id, name_of(name), "target",
				 &e);
	else
		ret = fe_mknod(fe, nodes[dir].id, name_of(name), type | 0644, 0,
			       &e);
	WANT(ret, nodes[dir].name[name] >= 0 ? -EEXIST : 0);
	if (ret)
		return 0;
	i = nodes[dir].name[name] = model_new(type, dir);
	return entry_of(i, &e);
}

static int op_create(void)
{
	int dir = some_dir(), name = (int)rnd(NAMES);
	int i = nodes[dir].name[name];
	uint32_t flags = O_RDWR;
	struct fuse_entry_out e;
	uint64_t fh;
	int ret, want = 0;

	if (model_full() || (i >= 0 && !S_ISREG(nodes[i].type)))
		return 0;
	flags |= rnd(2) ? O_EXCL : 0;
	flags |= rnd(3) ? 0 : O_TRUNC;
	flags |= rnd(2) ? O_APPEND : 0;
	if (i >= 0 && flags & O_EXCL)
		want = -EEXIST;
	ret = fe_create(fe, nodes[dir].id, name_of(name), flags | O_CREAT, 0640,
			&e, &fh);
	WANT(ret, want);
	if (ret)
		return 0;
	if (i < 0)
		i = nodes[dir].name[name] = model_new(S_IFREG, dir);
	if (flags & O_TRUNC) {
		nodes[i].size = 0;
		nodes[i].has_mtime = false;
		memset(nodes[i].data, 0, SIZE);
	}
	ret = entry_of(i, &e);
	if (nodes[i].open)
		WANT(fe_release(fe, nodes[i].id, fh), 0);
	else {
		nodes[i].open = true;
		nodes[i].fh = fh;
		nodes[i].open_flags = flags;
	}
	return ret;
}

static int op_tmpfile(void)
{
	int dir = some_dir(), i;
	struct fuse_entry_out e;
	uint64_t fh;

	if (model_full())
		return 0;
	WANT(fe_tmpfile(fe, nodes[dir].id, O_RDWR, 0600, &e, &fh), 0);
	i = model_new(S_IFREG, dir);
	nodes[i].nlink = 0;
	nodes[i].open = true;
	nodes[i].fh = fh;
	nodes[i].open_flags = O_RDWR;
	return entry_of(i, &e);
}

static int op_remove(void)
{
	int dir = some_dir(), name = (int)rnd(NAMES);
	int i = nodes[dir].name[name], want = 0;
	bool rmdir = rnd(2);
	int ret;

	if (i < 0)
		want = -ENOENT;
	else if (S_ISDIR(nodes[i].type) != rmdir)
		want = rmdir ? -ENOTDIR : -EISDIR;
	else if (rmdir && !is_empty(&nodes[i]))
		want = -ENOTEMPTY;
	if (rmdir)
		ret = fe_rmdir(fe, nodes[dir].id, name_of(name));
	else
		ret = fe_unlink(fe, nodes[dir].id, name_of(name));
	WANT(ret, want);
	if (!ret)
		unname(dir, name);
	return 0;
}

/* What rename(2) says in this case. */
static int rename_wants(int from, int a, int to, int b, uint32_t flags)
{
	int x = nodes[from].name[a], y = nodes[to].name[b];
	bool swap = flags & 2;

	if (x < 0)
		return -ENOENT;
	if (S_ISDIR(nodes[x].type) && is_below(to, x))
		return -EINVAL;
	if (swap && y < 0)
		return -ENOENT;
	if (y >= 0 && S_ISDIR(nodes[y].type) && is_below(from, y))
		return swap ? -EINVAL : -ENOTEMPTY;
	if (flags & 1 && y >= 0)
		return -EEXIST;
	if (swap || y < 0 || x == y)
		return 0;
	if (S_ISDIR(nodes[x].type) != S_ISDIR(nodes[y].type))
		return S_ISDIR(nodes[x].type) ? -ENOTDIR : -EISDIR;
	if (S_ISDIR(nodes[y].type) && !is_empty(&nodes[y]))
		return -ENOTEMPTY;
	return 0;
}

static int op_rename(void)
{
	int from = some_dir(), to = some_dir();
	int a = (int)rnd(NAMES), b = (int)rnd(NAMES);
	uint32_t flags = rnd(2) ? 0 : rnd(2) ? 2 : 1;
	int x, y, ret, want = rename_wants(from, a, to, b, flags);

	/* Which of several errors comes first is the kernel's to say. */
	if (flags == 1 && nodes[to].name[b] >= 0 && want != -ENOENT &&
	    want != -EINVAL)
		want = -EEXIST;
	if (!flags && rnd(2))
		ret = fe_rename(fe, nodes[from].id, name_of(a), nodes[to].id,
				name_of(b));
	else
		ret = fe_rename2(fe, nodes[from].id, name_of(a), nodes[to].id,
				 name_of(b), flags);
	if (want && want != -ENOENT && ret < 0)
		want = ret;
	WANT(ret, want);
	x = nodes[from].name[a];
	y = nodes[to].name[b];
	if (ret || x == y)
		return 0;
	if (flags & 2) {
		nodes[from].name[a] = y;
		nodes[y].parent = from;
	} else {
		if (y >= 0)
			unname(to, b);
		nodes[from].name[a] = -1;
	}
	nodes[to].name[b] = x;
	nodes[x].parent = to;
	return 0;
}

static int op_link(void)
{
	int dir = some_dir(), name = (int)rnd(NAMES), i = some_node(0);
	struct fuse_entry_out e;
	int ret, want = 0;

	if (i < 0 || S_ISDIR(nodes[i].type) || !nodes[i].nlink)
		return 0;
	if (nodes[dir].name[name] >= 0)
		want = -EEXIST;
	ret = fe_link(fe, nodes[i].id, nodes[dir].id, name_of(name), &e);
	WANT(ret, want);
	if (ret)
		return 0;
	nodes[dir].name[name] = i;
	nodes[i].nlink++;
	return entry_of(i, &e);
}

static int op_lookup(void)
{
	int dir = some_dir(), name = (int)rnd(NAMES);
	int i = nodes[dir].name[name], ret;
	struct fuse_entry_out e;

	ret = fe_lookup(fe, nodes[dir].id, name_of(name), &e);
	if (ret == 0 && e.nodeid == 0)
		ret = -ENOENT;
	WANT(ret, i < 0 ? -ENOENT : 0);
	return i < 0 ? 0 : entry_of(i, &e);
}

static int attr_of(const struct node *n, const struct fuse_attr *a)
{
	WANT(a->mode & S_IFMT, (long long)n->type);
	if (!S_ISDIR(n->type))
		WANT(a->nlink, (long long)n->nlink);
	if (S_ISREG(n->type))
		WANT(a->size, (long long)n->size);
	if (n->has_mode)
		WANT(a->mode & 07777, (long long)n->mode);
	if (n->has_mtime)
		WANT(a->mtime, n->mtime);
	return 0;
}

static int op_getattr(void)
{
	int i = some_node(0);
	struct fuse_attr_out a;

	if (i < 0)
		return 0;
	if (nodes[i].open && rnd(2))
		WANT(fe_fgetattr(fe, nodes[i].id, nodes[i].fh, &a), 0);
	else
		WANT(fe_getattr(fe, nodes[i].id, &a), 0);
	return attr_of(&nodes[i], &a.attr);
}

/* Forget a part of what is known, or several nodes at once. */
static int op_forget(void)
{
	struct fuse_forget_one one[4];
	unsigned int n = 0, many = 1 + rnd(4);

	while (n < many) {
		int i = some_node(0);
		uint64_t count;

		if (i < 0)
			break;
		count = 1 + rnd((uint32_t)nodes[i].lookups);
		/* Open files stay known, as with a kernel. */
		if (count == nodes[i].lookups && nodes[i].open)
			count--;
		if (!count)
			break;
		one[n].nodeid = nodes[i].id;
		one[n++].nlookup = count;
		nodes[i].lookups -= count;
		settle(i);
	}
	if (n == 1)
		WANT(fe_forget(fe, one[0].nodeid, one[0].nlookup), 0);
	else if (n)
		WANT(fe_batch_forget(fe, one, n), 0);
	return 0;
}

static int open_file(void)
{
	int found = -1;

	for (int i = 1, n = 1; i < NODES; i++)
		if (nodes[i].used && nodes[i].open && rnd((uint32_t)n++) == 0)
			found = i;
	return found;
}

/* What has no name takes a descriptor of its own: only so many of these. */
static int drop_orphans(void)
{
	int n = 0;

	for (int i = 1; i < NODES; i++)
		n += nodes[i].used && !nodes[i].nlink;
	for (int i = 1; i < NODES && n > ORPHANS; i++) {
		struct node *o = &nodes[i];

		if (!o->used || o->nlink || !o->lookups)
			continue;
		if (o->open)
			WANT(fe_release(fe, o->id, o->fh), 0);
		WANT(fe_forget(fe, o->id, o->lookups), 0);
		o->open = false;
		o->lookups = 0;
		settle(i);
	}
	return 0;
}

static int op_open(void)
{
	int i = some_node(S_IFREG);
	uint32_t flags = rnd(2) ? O_RDWR : O_RDWR | O_APPEND;

	if (i < 0)
		return 0;
	if (nodes[i].open || model_full()) {
		i = open_file();
		if (i < 0)
			return 0;
		WANT(fe_release(fe, nodes[i].id, nodes[i].fh), 0);
		nodes[i].open = false;
		settle(i);
		return 0;
	}
	WANT(fe_open(fe, nodes[i].id, flags, &nodes[i].fh), 0);
	nodes[i].open = true;
	nodes[i].open_flags = flags;
	return 0;
}

/* A write with the flags that a kernel sends along. */
static ssize_t write_with(const struct node *n, uint64_t off, const void *buf,
			  size_t len)
{
	struct fuse_write_in in = {
		.fh = n->fh, .offset = off, .size = (uint32_t)len,
		.flags = n->open_flags,
	};
	struct fuse_write_out out = { 0 };
	struct fe_call c = {
		.opcode = FUSE_WRITE, .nodeid = n->id,
		.in = { { &in, sizeof(in) } },
		.src = buf, .src_len = len,
		.out = &out, .out_size = sizeof(out), .out_exact = true,
	};
	int ret = fe_call(fe, &c);

	return ret ? ret : (ssize_t)out.size;
}

static int op_write(void)
{
	int i = open_file();
	uint8_t buf[6000];
	uint32_t len = 1 + rnd(sizeof(buf)), off;
	struct node *n;

	if (i < 0)
		return 0;
	n = &nodes[i];
	off = n->open_flags & O_APPEND ? n->size : rnd(SIZE - sizeof(buf));
	if (off + len > SIZE)
		return 0;
	for (uint32_t k = 0; k < len; k++)
		buf[k] = (uint8_t)rnd(256);
	WANT(write_with(n, off, buf, len), len);
	memcpy(n->data + off, buf, len);
	n->has_mtime = false;
	if (off + len > n->size)
		n->size = off + len;
	return 0;
}

static int op_read(void)
{
	static uint8_t buf[SIZE];
	int i = open_file();

	if (i < 0)
		return 0;
	WANT(fe_read(fe, nodes[i].id, nodes[i].fh, 0, buf, SIZE),
	     (long long)nodes[i].size);
	WANT(memcmp(buf, nodes[i].data, nodes[i].size), 0);
	return 0;
}

static int op_shift(void)
{
	int i = open_file(), ret;
	struct node *n;
	uint32_t at;

	if (i < 0 || nodes[i].size <= 2 * BLOCK)
		return 0;
	n = &nodes[i];
	n->has_mtime = false;
	at = BLOCK * rnd(2);
	if (rnd(2) || n->size + BLOCK > SIZE) {
		ret = fe_fallocate(fe, n->id, n->fh, FALLOC_FL_COLLAPSE_RANGE,
				   at, BLOCK);
		if (ret == -EOPNOTSUPP)
			return 0;
		WANT(ret, 0);
		memmove(n->data + at, n->data + at + BLOCK,
			n->size - at - BLOCK);
		n->size -= BLOCK;
		memset(n->data + n->size, 0, BLOCK);
	} else {
		ret = fe_fallocate(fe, n->id, n->fh, FALLOC_FL_INSERT_RANGE,
				   at, BLOCK);
		if (ret == -EOPNOTSUPP)
			return 0;
		WANT(ret, 0);
		memmove(n->data + at + BLOCK, n->data + at, n->size - at);
		memset(n->data + at, 0, BLOCK);
		n->size += BLOCK;
	}
	return 0;
}

static int op_truncate(void)
{
	int i = some_node(S_IFREG);
	uint32_t size = rnd(SIZE);

	if (i < 0 || !nodes[i].nlink)
		return 0;
	WANT(fe_truncate(fe, nodes[i].id, size), 0);
	if (size < nodes[i].size)
		memset(nodes[i].data + size, 0, nodes[i].size - size);
	nodes[i].size = size;
	nodes[i].has_mtime = false;
	return 0;
}

#endif
