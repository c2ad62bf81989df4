/* SPDX-License-Identifier: MIT */
/*
 * The workloads. Each is a small state machine in lane->state: case 0 begins
 * an operation, the last case checks the reply and returns STEP_DONE. What a
 * real guest sends is sent: FORGET follows an unlink at once; what its dentry
 * cache would keep is given back between passes, untimed.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define LIST_SIZE (32u << 10)	/* what glibc's readdir() asks for */

/* ---- filling in requests ------------------------------------------------ */

static enum step send_op(struct lane *l, uint32_t opcode, uint64_t node,
			 const void *arg, size_t len)
{
	struct fe_req *r = l->req;

	r->in->opcode = opcode;
	r->in->nodeid = node;
	memcpy(fe_args(r), arg, len);
	r->arg_len = (uint32_t)len;
	r->src_len = 0;
	r->dst_size = 0;
	r->ret_size = 0;
	l->expect = 0;
	return STEP_SEND;
}

static void add_name(struct lane *l, const char *name)
{
	size_t n = strlen(name) + 1;

	memcpy((char *)fe_args(l->req) + l->req->arg_len, name, n);
	l->req->arg_len += (uint32_t)n;
}

static enum step send_lookup(struct lane *l, uint64_t dir, const char *name)
{
	send_op(l, FUSE_LOOKUP, dir, "", 0);
	add_name(l, name);
	l->req->ret_size = sizeof(struct fuse_entry_out);
	return STEP_SEND;
}

static enum step send_file_lookup(struct lane *l, unsigned int dir,
				  unsigned int file)
{
	char name[8];

	tree_file_name(file, name, sizeof(name));
	return send_lookup(l, l->run->dir_node[dir], name);
}

static enum step send_open(struct lane *l, uint32_t opcode, uint64_t node,
			   uint32_t flags)
{
	struct fuse_open_in in = { .flags = flags };

	send_op(l, opcode, node, &in, sizeof(in));
	l->req->ret_size = sizeof(struct fuse_open_out);
	return STEP_SEND;
}

static enum step send_release(struct lane *l, uint32_t opcode, uint64_t node)
{
	struct fuse_release_in in = { .fh = l->fh };

	return send_op(l, opcode, node, &in, sizeof(in));
}

static uint64_t reply_fh(const struct lane *l)
{
	return ((struct fuse_open_out *)fe_ret(l->req))->fh;
}

/* Check an entry that a lookup gave. */
static enum step got_file(struct lane *l, uint64_t size)
{
	struct fuse_entry_out *e = fe_ret(l->req);

	if (l->req->got != sizeof(*e) || e->attr.size != size) {
		run_fail(l->run, "lookup: %u bytes, size %llu", l->req->got,
			 (unsigned long long)e->attr.size);
		return STEP_END;
	}
	run_owe(l->run, e->nodeid);
	return STEP_DONE;
}

static uint64_t random_next(struct lane *l)
{
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	return l->seed;
}

/* ---- nodes that are known beforehand ------------------------------------ */

static int know(struct run *run, uint64_t dir, const char *name,
		uint64_t *node)
{
	struct lane *l = &run->lane[0];
	int ret;

	send_lookup(l, dir, name);
	ret = run_ask(run, l);
	if (ret < 0)
		return run_fail(run, "lookup of '%s': %d", name, ret);
	*node = ((struct fuse_entry_out *)fe_ret(l->req))->nodeid;
	run_owe(run, *node);
	return 0;
}

static int know_dir(struct run *run, unsigned int dir)
{
	char name[16];

	tree_dir_name(dir, name, sizeof(name));
	return know(run, dir < DIR_FIRST ? FUSE_ROOT_ID :
					   run->dir_node[DIR_TREE],
		    name, &run->dir_node[dir]);
}

static int before_names(struct run *run)
{
	run->next = 0;
	return know_dir(run, DIR_FLAT);
}

static int before_file(struct run *run)
{
	int ret = know_dir(run, DIR_FLAT);

	return ret ? ret : know(run, run->dir_node[DIR_FLAT], "f00000",
				&run->file_node[DIR_FLAT]);
}

static int before_scratch(struct run *run)
{
	return know_dir(run, DIR_SCRATCH);
}

/* Files of one directory: more than a small budget of descriptors allows. */
static uint64_t many[FLAT_FILES];

static int know_files(struct run *run, unsigned int nr)
{
	char name[8];
	int ret = know_dir(run, DIR_FLAT);

	for (unsigned int i = 0; i < nr && ret == 0; i++) {
		tree_file_name(i, name, sizeof(name));
		ret = know(run, run->dir_node[DIR_FLAT], name, &many[i]);
	}
	return ret;
}

static int before_known(struct run *run)
{
	return know_files(run, 1000);
}

static uint64_t one_of_many(struct lane *l)
{
	return many[random_next(l) % FLAT_FILES];
}

/* ---- attributes and names ----------------------------------------------- */

static enum step send_getattr(struct lane *l, uint64_t node)
{
	struct fuse_getattr_in in = { 0 };

	send_op(l, FUSE_GETATTR, node, &in, sizeof(in));
	l->req->ret_size = sizeof(struct fuse_attr_out);
	return STEP_SEND;
}

static enum step got_attr(struct lane *l)
{
	struct fuse_attr_out *out = fe_ret(l->req);

	if (l->req->got != sizeof(*out) || out->attr.size != FLAT_FILE_SIZE) {
		run_fail(l->run, "getattr: %u bytes, size %llu", l->req->got,
			 (unsigned long long)out->attr.size);
		return STEP_END;
	}
	return STEP_DONE;
}

static enum step step_getattr(struct lane *l)
{
	if (l->state++ == 0)
		return send_getattr(l, l->run->file_node[DIR_FLAT]);
	return got_attr(l);
}

/* Known for a while: a server may open what is asked for again, not at once. */
static int before_many(struct run *run)
{
	struct lane *l = &run->lane[0];
	int ret = know_files(run, FLAT_FILES);

	for (unsigned int i = 0; i < 2 * FLAT_FILES && ret == 0; i++) {
		send_getattr(l, many[i % FLAT_FILES]);
		ret = run_ask(run, l);
	}
	return ret;
}

static enum step step_getattr_many(struct lane *l)
{
	if (l->state++ == 0)
		return send_getattr(l, one_of_many(l));
	return got_attr(l);
}

static enum step step_lookup_known(struct lane *l)
{
	if (l->state++ == 0)
		return send_file_lookup(l, DIR_FLAT,
					(unsigned int)(random_next(l) % 1000));
	return got_file(l, FLAT_FILE_SIZE);
}

static enum step step_lookup_new(struct lane *l)
{
	if (l->state++ > 0)
		return got_file(l, FLAT_FILE_SIZE);
	if (l->run->next == FLAT_FILES)
		return STEP_END;
	return send_file_lookup(l, DIR_FLAT, l->run->next++);
}

/* An error says so, or an entry without a node, which a guest remembers. */
static enum step step_lookup_missing(struct lane *l)
{
	const struct fuse_entry_out *e = fe_ret(l->req);

	if (l->state++ > 0) {
		if (l->req->error == -ENOENT ||
		    (l->req->error == 0 && e->nodeid == 0))
			return STEP_DONE;
		run_fail(l->run, "a missing name: %d", l->req->error);
		return STEP_END;
	}
	send_file_lookup(l, DIR_FLAT,
			 FLAT_FILES + (unsigned int)(random_next(l) % 1000));
	l->expect = EXPECT_ANY;
	return STEP_SEND;
}

static enum step open_release(struct lane *l)
{
	switch (l->state++) {
	case 0:
		return send_open(l, FUSE_OPEN, l->node, O_RDONLY);
	case 1:
		l->fh = reply_fh(l);
		return send_release(l, FUSE_RELEASE, l->node);
	default:
		return STEP_DONE;
	}
}

static enum step step_open(struct lane *l)
{
	l->node = l->run->file_node[DIR_FLAT];
	return open_release(l);
}

static enum step step_open_many(struct lane *l)
{
	if (l->state == 0)
		l->node = one_of_many(l);
	return open_release(l);
}

static enum step step_create(struct lane *l)
{
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT,
				     .mode = S_IFREG | 0644 };
	uint64_t dir = l->run->dir_node[DIR_SCRATCH];
	struct fuse_entry_out *e = fe_ret(l->req);
	char name[8];

	tree_file_name(l->id, name, sizeof(name));
	switch (l->state++) {
	case 0:
		send_op(l, FUSE_CREATE, dir, &in, sizeof(in));
		add_name(l, name);
		l->req->ret_size = sizeof(*e) + sizeof(struct fuse_open_out);
		return STEP_SEND;
	case 1:
		l->node = e->nodeid;
		l->fh = ((struct fuse_open_out *)(e + 1))->fh;
		return send_release(l, FUSE_RELEASE, l->node);
	case 2:
		send_op(l, FUSE_UNLINK, dir, "", 0);
		add_name(l, name);
		return STEP_SEND;
	default:
		run_forget(l->run, l->node);
		return STEP_DONE;
	}
}

/* ---- data --------------------------------------------------------------- */

static int open_data(struct run *run, const char *name, uint32_t flags)
{
	struct lane *l = &run->lane[0];
	int ret = know_dir(run, DIR_DATA);

	if (!run->cold)
		tree_touch(run->tree, name);
	if (ret == 0)
		ret = know(run, run->dir_node[DIR_DATA], name,
			   &run->file_node[DIR_DATA]);
	if (ret < 0)
		return ret;
	send_open(l, FUSE_OPEN, run->file_node[DIR_DATA], flags);
	ret = run_ask(run, l);
	run->fh = ret == 0 ? reply_fh(l) : 0;
	/* Streams: each lane has a part of the file to itself. */
	for (unsigned int i = 0; i < run->depth; i++)
		run->lane[i].off = (uint64_t)i * DATA_SIZE / run->depth &
				   ~0xfffffull;
	return ret < 0 ? run_fail(run, "open of '%s': %d", name, ret) : 0;
}

static int before_read(struct run *run)
{
	return open_data(run, "f00000", O_RDONLY);
}

static int before_write(struct run *run)
{
	return open_data(run, "f00001", O_RDWR);
}

static int after_data(struct run *run)
{
	struct lane *l = &run->lane[0];
	int ret;

	l->fh = run->fh;
	send_release(l, FUSE_RELEASE, run->file_node[DIR_DATA]);
	ret = run_ask(run, l);
	if (ret == 0 && run->work->src && tree_check_written(run->tree) != 0)
		ret = run_fail(run, "what was written is not in the file");
	return ret;
}

static uint64_t next_offset(struct lane *l, bool stream)
{
	uint64_t unit = l->run->work->unit;

	if (!stream)
		return random_next(l) % (DATA_SIZE / unit) * unit;
	l->off = (l->off + unit) % DATA_SIZE;
	return l->off;
}

static enum step step_read(struct lane *l)
{
	struct fuse_read_in in = {
		.fh = l->run->fh,
		.size = (uint32_t)l->run->work->unit,
		.flags = O_RDONLY,
	};

	if (l->state++ == 0) {
		l->off = next_offset(l, in.size > FE_PAGE);
		in.offset = l->off;
		send_op(l, FUSE_READ, l->run->file_node[DIR_DATA], &in,
			sizeof(in));
		l->req->dst_size = in.size;
		return STEP_SEND;
	}
	if (l->req->got != in.size) {
		run_fail(l->run, "read of %u: %u bytes", in.size,
			 l->req->got);
		return STEP_END;
	}
	for (size_t i = 0; i < in.size; i += FE_PAGE) {
		uint64_t word;

		memcpy(&word, (char *)l->req->dst.p + i, 8);
		if (word != tree_word(l->off + i)) {
			run_fail(l->run, "wrong data at %llu",
				 (unsigned long long)(l->off + i));
			return STEP_END;
		}
	}
	return STEP_DONE;
}

static enum step send_write(struct lane *l, bool stream)
{
	struct fuse_write_in in = {
		.fh = l->run->fh,
		.size = (uint32_t)l->run->work->unit,
		.flags = O_RDWR,
	};

	l->off = next_offset(l, stream);
	in.offset = l->off;
	for (size_t i = 0; i < in.size; i += FE_PAGE) {
		uint64_t word = tree_word(l->off + i);

		memcpy((char *)l->req->src.p + i, &word, 8);
	}
	send_op(l, FUSE_WRITE, l->run->file_node[DIR_DATA], &in, sizeof(in));
	l->req->src_len = in.size;
	l->req->ret_size = sizeof(struct fuse_write_out);
	return STEP_SEND;
}

static enum step step_write(struct lane *l)
{
	struct fuse_write_out *out = fe_ret(l->req);

	if (l->state++ == 0)
		return send_write(l, l->run->work->unit > FE_PAGE);
	if (out->size != l->run->work->unit) {
		run_fail(l->run, "write of %llu: %u bytes",
			 (unsigned long long)l->run->work->unit, out->size);
		return STEP_END;
	}
	return STEP_DONE;
}

/* Seven writes and an fsync. */
static enum step step_fsync(struct lane *l)
{
	struct fuse_fsync_in in = { .fh = l->run->fh };

	if (l->state < 7) {
		l->state++;
		return send_write(l, false);
	}
	if (l->state++ == 7)
		return send_op(l, FUSE_FSYNC, l->run->file_node[DIR_DATA],
			       &in, sizeof(in));
	return STEP_DONE;
}

/* ---- directories -------------------------------------------------------- */

static enum step send_readdir(struct lane *l, uint64_t node, bool plus)
{
	struct fuse_read_in in = {
		.fh = l->fh,
		.offset = l->off,
		.size = LIST_SIZE,
	};

	send_op(l, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in,
		sizeof(in));
	l->req->dst_size = LIST_SIZE;
	return STEP_SEND;
}

/* Count the entries of a reply; false if it is malformed. */
static bool take_entries(struct lane *l, bool plus)
{
	struct fe_dirent d;
	size_t pos = 0;
	int ret;

	while ((ret = fe_next_dirent(l->req->dst.p, l->req->got, plus, &pos,
				     &d)) > 0) {
		l->off = d.off;
		if (d.name[0] == '.')
			continue;
		l->count++;
		if (plus && d.entry->nodeid)
			run_owe(l->run, d.entry->nodeid);
	}
	if (ret < 0)
		run_fail(l->run, "malformed directory entries");
	return ret == 0;
}

/* OPENDIR, READDIR until it is empty, RELEASEDIR; states from @base. */
static enum step list_dir(struct lane *l, uint64_t node, unsigned int base,
			  unsigned int files, bool plus)
{
	switch (l->state - base) {
	case 0:
		l->state++;
		l->off = 0;
		l->count = 0;
		return send_open(l, FUSE_OPENDIR, node,
				 O_RDONLY | O_DIRECTORY);
	case 1:
		l->state++;
		l->fh = reply_fh(l);
		return send_readdir(l, node, plus);
	default:
		if (l->req->got) {
			if (!take_entries(l, plus))
				return STEP_END;
			return send_readdir(l, node, plus);
		}
		if (l->count != files) {
			run_fail(l->run, "%u entries, not %u", l->count,
				 files);
			return STEP_END;
		}
		l->state++;
		return send_release(l, FUSE_RELEASEDIR, node);
	}
}

static enum step list_flat(struct lane *l, bool plus)
{
	if (l->state < 3)
		return list_dir(l, l->run->dir_node[DIR_FLAT], 0, FLAT_FILES,
				plus);
	return STEP_DONE;
}

static enum step step_readdir(struct lane *l)
{
	return list_flat(l, false);
}

static enum step step_readdirplus(struct lane *l)
{
	return list_flat(l, true);
}

static int before_walk(struct run *run)
{
	run->next = 0;
	return know_dir(run, DIR_TREE);
}

/*
 * As "git status": every directory is looked up and listed, every file in it
 * looked up. A lane takes one directory at a time; the operation is a file.
 */
static enum step step_walk(struct lane *l)
{
	struct fuse_entry_out *e = fe_ret(l->req);
	char name[16];

	if (l->state == 0) {
		if (l->file > 0 && l->file < DIR_FILES) {
			l->state = 5;
			return send_file_lookup(l, l->dir, l->file++);
		}
		if (l->run->next == TREE_DIRS)
			return STEP_END;
		l->dir = DIR_FIRST + l->run->next++;
		l->file = 0;
		l->state = 1;
		tree_dir_name(l->dir, name, sizeof(name));
		return send_lookup(l, l->run->dir_node[DIR_TREE], name);
	}
	if (l->state == 1) {
		l->run->dir_node[l->dir] = e->nodeid;
		run_owe(l->run, e->nodeid);
		l->state = 2;
	}
	if (l->state < 5) {
		uint64_t node = l->run->dir_node[l->dir];

		if (l->state - 2 < 3)
			return list_dir(l, node, 2, DIR_FILES, false);
	}
	if (l->file == 0) {
		l->file = 1;
		return send_file_lookup(l, l->dir, 0);
	}
	return got_file(l, FLAT_FILE_SIZE);
}

const struct workload workloads[] = {
	{ .name = "getattr", .before = before_file, .step = step_getattr },
	{ .name = "lookup known", .before = before_known,
	  .step = step_lookup_known },
	{ .name = "lookup new", .before = before_names, .whole = true,
	  .step = step_lookup_new },
	{ .name = "lookup missing", .before = before_names,
	  .step = step_lookup_missing },
	{ .name = "open+release", .before = before_file, .step = step_open },
	{ .name = "getattr of 10,000", .before = before_many,
	  .step = step_getattr_many },
	{ .name = "open+release of 10,000", .before = before_many,
	  .step = step_open_many },
	{ .name = "create+unlink", .before = before_scratch,
	  .step = step_create },
	{ .name = "read 4 KiB", .before = before_read, .step = step_read,
	  .after = after_data, .dst = 4096, .unit = 4096 },
	{ .name = "write 4 KiB", .before = before_write, .step = step_write,
	  .after = after_data, .src = 4096, .unit = 4096 },
	{ .name = "read 128 KiB", .before = before_read, .step = step_read,
	  .after = after_data, .dst = 128 << 10, .unit = 128 << 10 },
	{ .name = "write 128 KiB", .before = before_write, .step = step_write,
	  .after = after_data, .src = 128 << 10, .unit = 128 << 10 },
	{ .name = "read 1 MiB", .before = before_read, .step = step_read,
	  .after = after_data, .dst = 1 << 20, .unit = 1 << 20 },
	{ .name = "write 1 MiB", .before = before_write, .step = step_write,
	  .after = after_data, .src = 1 << 20, .unit = 1 << 20 },
	{ .name = "7 writes+fsync", .before = before_write,
	  .step = step_fsync, .after = after_data, .src = 4096,
	  .unit = 4096 },
	{ .name = "readdir", .before = before_names, .step = step_readdir,
	  .dst = LIST_SIZE, .scan = true },
	{ .name = "readdirplus", .before = before_names,
	  .step = step_readdirplus, .dst = LIST_SIZE, .scan = true },
	{ .name = "tree walk", .before = before_walk, .step = step_walk,
	  .dst = LIST_SIZE, .whole = true },
	{ .name = NULL },
};

const struct workload *workload_find(const char *name)
{
	for (const struct workload *w = workloads; w->name; w++)
		if (strcmp(w->name, name) == 0)
			return w;
	return NULL;
}
