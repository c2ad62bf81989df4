/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FSSERVER_RIG_H
#define VMSHARE_TESTS_FSSERVER_RIG_H

/*
 * A guest without a ring: requests are built in memory and given to
 * request_run() in the calling thread, on a real directory. Each test has its
 * own share, its own worker and its own arena.
 */

#include "check.h"
#include "fsserver/fuse.h"
#include "fsserver/nodes/nodetab.h"
#include "fsserver/ops/ops.h"
#include "fsserver/owners/owners.h"
#include "fsserver/pool/pool.h"
#include "fsserver/request.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE		/* musl before 1.2.3 */
#define RENAME_EXCHANGE 2
#endif

#define RIG_ROOM (2u << 20)

struct rig {
	char dir[64];		/* the share on the host */
	int dirfd;
	struct fs_options options;
	struct fs_place place;
	struct arena *arena;
	struct stats *stats;	/* or NULL */
	uint64_t arena_size;	/* 0: as much as any test needs */
	struct fs *fs;
	struct fs_worker *w;
	unsigned int mounted, unmounted, warned;
	char warning[1024];	/* the last */
	/* the request being built, and its reply */
	char *in, *out;
	size_t in_len, out_len;	/* out_len: payload */
	uint32_t extlen;
	unsigned int pieces;	/* memory is given in pieces of this size */
	uint64_t unique;
	uint16_t queue;
	uint32_t used;
};

static inline void rig_event(void *ctx, enum fs_event event, const char *text)
{
	struct rig *r = ctx;

	if (event == FS_EVENT_WARNING) {
		r->warned++;
		snprintf(r->warning, sizeof(r->warning), "%s", text);
	}
	r->mounted += event == FS_EVENT_MOUNTED;
	r->unmounted += event == FS_EVENT_UNMOUNTED;
}

static inline int rig_wait(void *ctx, unsigned int q)
{
	(void)ctx;
	(void)q;
	return -ESHUTDOWN;
}

static inline int rig_pop(void *ctx, unsigned int q, struct chain *c)
{
	(void)ctx;
	(void)q;
	(void)c;
	return -ESHUTDOWN;
}

static inline unsigned int rig_pending(void *ctx, unsigned int q)
{
	(void)ctx;
	(void)q;
	return 0;
}

static inline void rig_push(void *ctx, struct chain *c, uint32_t len)
{
	(void)ctx;
	(void)c;
	(void)len;
}

static inline void rig_flush(void *ctx, unsigned int q)
{
	(void)ctx;
	(void)q;
}

static const struct chain_ops rig_ops = {
	.wait = rig_wait,
	.pop = rig_pop,
	.pending = rig_pending,
	.push = rig_push,
	.flush = rig_flush,
};

/*
 * A worker lies within its thread's memory, which the pool looks at: zeroes
 * around it are a thread that leads nothing.
 */
#define RIG_MARGIN 4096

/* No two workers' requests take the same place in the ring. */
static inline struct fs_worker *rig_worker(struct rig *r)
{
	static uint16_t head;
	char *mem = calloc(1, sizeof(struct fs_worker) + 2 * RIG_MARGIN);
	struct fs_worker *w = (void *)(mem + RIG_MARGIN);

	w->fs = r->fs;
	w->chain.iov = w->iov;
	w->chain.head = (uint16_t)(CHAIN_MAX_DESC - 1 -
				   __atomic_fetch_add(&head, 1,
						      __ATOMIC_RELAXED) % 512);
	w->scratch = malloc(FS_SCRATCH);
	cred_init(w, cred_caps());
	return w;
}

static inline void rig_worker_free(struct fs_worker *w)
{
	free(w->scratch);
	free((char *)w - RIG_MARGIN);
}

/*
 * A share on an empty directory in @parent, with defaults to be changed before
 * start.
 */
static inline void rig_prepare_in(struct rig *r, const char *parent)
{
	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%s/vmshare-test-XXXXXX", parent);
	if (!mkdtemp(r->dir))
		abort();
	chmod(r->dir, 0755);
	r->dirfd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fs_options_init(&r->options);
	r->options.seccomp = false;
	r->options.posix_lock = r->options.flock = false;
	r->in = malloc(RIG_ROOM);
	r->out = malloc(RIG_ROOM);
	r->queue = 1;
}

static inline void rig_prepare(struct rig *r)
{
	rig_prepare_in(r, "/tmp");
}

/* On the arena that there is. */
static inline int rig_open_fs(struct rig *r)
{
	struct fs_setup setup = {
		.options = &r->options,
		.place = &r->place,
		.arena = r->arena,
		.stats = r->stats,
		.ops = &rig_ops,
		.queues = 2,
		.event = rig_event,
		.event_ctx = r,
	};
	int err = fs_open(&r->fs, &setup);

	if (!err)
		r->w = rig_worker(r);
	return err;
}

static inline int rig_place(struct rig *r)
{
	r->place.root = open(r->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r->place.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r->place.uid = geteuid();
	r->place.gid = getegid();
	return arena_create(&r->arena, r->arena_size ? r->arena_size :
						       1ull << 32);
}

static inline int rig_start(struct rig *r)
{
	int err = rig_place(r);

	return err ? err : rig_open_fs(r);
}

static inline void rig_close_fs(struct rig *r)
{
	if (r->w)
		rig_worker_free(r->w);
	if (r->fs)
		fs_close(r->fs);
	if (r->arena) {
		arena_close(r->arena);
		close(r->place.root);
		close(r->place.proc);
	}
	r->arena = NULL;
	r->w = NULL;
	r->fs = NULL;
}

static inline void rig_stop(struct rig *r)
{
	char cmd[192];

	rig_close_fs(r);
	close(r->dirfd);
	snprintf(cmd, sizeof(cmd), "chmod -R u+rwx %s; rm -rf %s", r->dir,
		 r->dir);
	if (system(cmd))
		printf("# %s stays behind\n", r->dir);
	free(r->in);
	free(r->out);
}

/* ---- requests ----------------------------------------------------------- */

static inline void rq(struct rig *r, uint32_t opcode, uint64_t node)
{
	struct fuse_in_header head = {
		.opcode = opcode,
		.unique = ++r->unique,
		.nodeid = node,
		.uid = geteuid(),
		.gid = getegid(),
		.pid = 1,
	};

	memcpy(r->in, &head, sizeof(head));
	r->in_len = sizeof(head);
	r->extlen = 0;
}

static inline void rq_put(struct rig *r, const void *data, size_t len)
{
	memcpy(r->in + r->in_len, data, len);
	r->in_len += len;
}

static inline void rq_str(struct rig *r, const char *s)
{
	rq_put(r, s, strlen(s) + 1);
}

static inline void rq_caller(struct rig *r, uint32_t uid, uint32_t gid)
{
	struct fuse_in_header *head = (void *)r->in;

	head->uid = uid;
	head->gid = gid;
}

/* Memory as iovecs, in pieces if the test wants that. */
static inline unsigned int rig_iov(struct rig *r, struct iovec *iov,
				   unsigned int max, char *mem, size_t len)
{
	size_t piece = r->pieces ? r->pieces : len;
	unsigned int nr = 0;

	for (size_t at = 0; at < len && nr < max; nr++) {
		iov[nr].iov_base = mem + at;
		iov[nr].iov_len = len - at < piece ? len - at : piece;
		at += iov[nr].iov_len;
	}
	return nr;
}

/*
 * Send what was built, with @room bytes for the payload of the reply, on any
 * worker. Return: the reply's error; 1 when there is no reply.
 */
static inline int rq_send(struct rig *r, struct fs_worker *w, size_t room)
{
	struct chain *c = &w->chain;
	struct fuse_out_header out;
	uint32_t len = (uint32_t)r->in_len;

	memcpy(r->in, &len, sizeof(len));
	c->nr_readable = rig_iov(r, c->iov, 500, r->in, r->in_len);
	c->readable = r->in_len;
	c->writable = room == (size_t)-1 ? 0 : room + sizeof(out);
	c->nr_writable = rig_iov(r, c->iov + c->nr_readable, 500, r->out,
				 c->writable);
	c->queue = r->queue;
	memset(r->out, 0x5a, sizeof(out));
	r->used = request_run(w);
	r->out_len = 0;
	if (!r->used)
		return 1;
	memcpy(&out, r->out, sizeof(out));
	if (out.len != r->used || out.unique != r->unique ||
	    out.len > c->writable || (out.error && out.len != sizeof(out)))
		return -9999;	/* no test expects that */
	r->out_len = out.len - sizeof(out);
	return out.error;
}

static inline int rq_run(struct rig *r)
{
	return rq_send(r, r->w, 4096);
}

static inline const void *rq_reply(const struct rig *r)
{
	return r->out + sizeof(struct fuse_out_header);
}

static inline int rig_init_flags(struct rig *r, uint64_t flags,
				 struct fuse_init_out *out)
{
	struct fuse_init_in in = {
		.major = 7,
		.minor = 45,
		.flags = (uint32_t)flags | FUSE_INIT_EXT,
		.flags2 = (uint32_t)(flags >> 32),
		.max_readahead = 131072,
	};
	int err;

	rq(r, FUSE_INIT, 0);
	rq_put(r, &in, sizeof(in));
	err = rq_run(r);
	if (!err && out)
		memcpy(out, rq_reply(r), sizeof(*out));
	return err;
}

static inline int rig_init(struct rig *r)
{
	return rig_init_flags(r, ~0ull, NULL);
}

/* Take away every descriptor that can be. */
static inline void rig_evict_all(struct rig *r)
{
	while (fdcache_shrink(r->fs))
		;
}

/* Start with defaults and say INIT. */
static inline int rig_up(struct rig *r)
{
	int err = rig_start(r);

	return err ? err : rig_init(r);
}

/* The same from the start, with so many descriptors to work with; 0: any. */
static inline int rig_up_with(struct rig *r, unsigned int open_files)
{
	rig_prepare(r);
	r->options.open_files = open_files;
	return rig_up(r);
}

static inline int rig_lookup(struct rig *r, uint64_t parent, const char *name,
			     struct fuse_entry_out *entry)
{
	int err;

	rq(r, FUSE_LOOKUP, parent);
	rq_str(r, name);
	err = rq_run(r);
	if (!err) {
		memcpy(entry, rq_reply(r), sizeof(*entry));
		if (!entry->nodeid)
			err = -ENOENT;
	}
	return err;
}

static inline uint64_t rig_node(struct rig *r, uint64_t parent,
				const char *name)
{
	struct fuse_entry_out entry;

	return rig_lookup(r, parent, name, &entry) ? 0 : entry.nodeid;
}

static inline void rig_forget(struct rig *r, uint64_t node, uint64_t count)
{
	rq(r, FUSE_FORGET, node);
	rq_put(r, &count, sizeof(count));
	rq_send(r, r->w, (size_t)-1);
}

static inline int rig_getattr(struct rig *r, uint64_t node,
			      struct fuse_attr *attr)
{
	struct fuse_getattr_in in = { .spare = 0 };
	const struct fuse_attr_out *out = rq_reply(r);
	int err;

	rq(r, FUSE_GETATTR, node);
	rq_put(r, &in, sizeof(in));
	err = rq_run(r);
	if (!err && attr)
		memcpy(attr, &out->attr, sizeof(*attr));
	return err;
}

static inline int rig_mkdir(struct rig *r, uint64_t parent, const char *name,
			    uint64_t *node)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	const struct fuse_entry_out *entry = rq_reply(r);
	int err;

	if (node)
		*node = 0;
	rq(r, FUSE_MKDIR, parent);
	rq_put(r, &in, sizeof(in));
	rq_str(r, name);
	err = rq_run(r);
	if (!err && node)
		*node = entry->nodeid;
	return err;
}

static inline int rig_create(struct rig *r, uint64_t parent, const char *name,
			     uint32_t flags, uint64_t *node, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = flags, .mode = 0644 };
	const struct fuse_entry_out *entry = rq_reply(r);
	const struct fuse_open_out *open_out = (const void *)(entry + 1);
	int err;

	*node = *fh = 0;
	rq(r, FUSE_CREATE, parent);
	rq_put(r, &in, sizeof(in));
	rq_str(r, name);
	err = rq_run(r);
	if (!err) {
		*node = entry->nodeid;
		*fh = open_out->fh;
	}
	return err;
}

static inline int rig_open(struct rig *r, uint32_t opcode, uint64_t node,
			   uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = { .flags = flags };
	const struct fuse_open_out *out = rq_reply(r);
	int err;

	*fh = 0;
	rq(r, opcode, node);
	rq_put(r, &in, sizeof(in));
	err = rq_run(r);
	if (!err)
		*fh = out->fh;
	return err;
}

static inline int rig_release(struct rig *r, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	rq(r, FUSE_RELEASE, node);
	rq_put(r, &in, sizeof(in));
	return rq_run(r);
}

/* Bytes read into r->out behind the header, or -errno. */
static inline int rig_read(struct rig *r, uint64_t node, uint64_t fh,
			   uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };
	int err;

	rq(r, FUSE_READ, node);
	rq_put(r, &in, sizeof(in));
	err = rq_send(r, r->w, size);
	return err ? err : (int)r->out_len;
}

static inline int rig_write(struct rig *r, uint64_t node, uint64_t fh,
			    uint64_t offset, const void *data, uint32_t size,
			    uint32_t flags)
{
	struct fuse_write_in in = { .fh = fh, .offset = offset, .size = size,
				    .write_flags = flags };
	const struct fuse_write_out *out = rq_reply(r);
	int err;

	rq(r, FUSE_WRITE, node);
	rq_put(r, &in, sizeof(in));
	rq_put(r, data, size);
	err = rq_run(r);
	return err ? err : (int)out->size;
}

static inline int rig_remove(struct rig *r, uint32_t opcode, uint64_t parent,
			     const char *name)
{
	rq(r, opcode, parent);
	rq_str(r, name);
	return rq_run(r);
}

static inline int rig_rename(struct rig *r, uint64_t from, const char *name,
			     uint64_t to, const char *new, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = to, .flags = flags };

	rq(r, FUSE_RENAME2, from);
	rq_put(r, &in, sizeof(in));
	rq_str(r, name);
	rq_str(r, new);
	return rq_run(r);
}

static inline int rig_setattr(struct rig *r, uint64_t node,
			      const struct fuse_setattr_in *in)
{
	rq(r, FUSE_SETATTR, node);
	rq_put(r, in, sizeof(*in));
	return rq_run(r);
}

/* A file on the host. */
static inline int rig_file(struct rig *r, const char *name, const char *text)
{
	int fd = openat(r->dirfd, name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static inline unsigned int rig_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr - 3;	/* ".", "..", its own */
}

#endif
