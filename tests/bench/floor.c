/* SPDX-License-Identifier: MIT */
/*
 * The floors: what no server can be cheaper than. Requests are carried out by
 * the plainest system calls that answer them, with no protocol, no tables of
 * nodes and no checks ("bare": inline, in the caller). "ideal" puts a second
 * thread and two eventfds between, as a virtqueue does, with a call for each
 * completion; "batch" with a call for each drained queue.
 *
 * Each direction is a ring of pointers with one writer and one reader. Who is
 * about to sleep sets its armed flag and looks once more; who adds clears the
 * flag and writes the eventfd if it was set.
 */

#include "tests/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING 256

struct pipe {
	uint32_t head;		/* written by the producer */
	uint32_t armed;		/* the reader sleeps */
	uint64_t events;	/* written to the eventfd */
	int event;
	/* Between what each end writes, so that no cache line bounces. */
	struct fe_req *slot[RING];
	uint32_t tail;		/* the reader's own */
};

struct floor_link {
	struct link link;
	enum floor_kind kind;
	const struct tree *tree;
	struct pipe in, out;
	pthread_t thread;
	bool running;
	bool stop;
	uint64_t bare_ns;
	uint64_t clock_ns;	/* what reading the clock costs */
};

/* ---- nodes: directory number and file number in one word ---------------- */

static uint64_t node_id(unsigned int dir, unsigned int file_plus_1)
{
	return (uint64_t)file_plus_1 << 32 | (dir + 2);
}

static int dir_fd(const struct floor_link *f, uint64_t node)
{
	uint32_t dir = (uint32_t)node;

	return dir == FUSE_ROOT_ID ? f->tree->root : f->tree->fd[dir - 2];
}

/* The node's name in dir_fd(): "." for a directory itself. */
static const char *node_name(uint64_t node, char *buf, size_t size)
{
	if (!(node >> 32))
		return ".";
	tree_file_name((unsigned int)(node >> 32) - 1, buf, size);
	return buf;
}

static uint64_t child_id(uint64_t parent, const char *name)
{
	char top[16];

	if (parent == FUSE_ROOT_ID) {
		for (unsigned int d = 0; d < DIR_FIRST; d++) {
			tree_dir_name(d, top, sizeof(top));
			if (strcmp(top, name) == 0)
				return node_id(d, 0);
		}
	}
	if ((uint32_t)parent == DIR_TREE + 2)
		return node_id(DIR_FIRST + (unsigned int)atoi(name + 1), 0);
	return node_id((uint32_t)parent - 2,
		       (unsigned int)atoi(name + 1) + 1);
}

/* ---- the operations ----------------------------------------------------- */

static void fill_attr(struct fuse_attr *a, const struct stat *st)
{
	memset(a, 0, sizeof(*a));
	a->ino = st->st_ino;
	a->size = (uint64_t)st->st_size;
	a->blocks = (uint64_t)st->st_blocks;
	a->mtime = (uint64_t)st->st_mtime;
	a->mode = st->st_mode;
	a->nlink = (uint32_t)st->st_nlink;
	a->uid = st->st_uid;
	a->gid = st->st_gid;
}

static int stat_at(int fd, const char *name, struct fuse_attr *a)
{
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	fill_attr(a, &st);
	return 0;
}

static int op_getattr(const struct floor_link *f, struct fe_req *r)
{
	struct fuse_attr_out *out = fe_ret(r);
	char name[8];

	r->got = sizeof(*out);
	return stat_at(dir_fd(f, r->in->nodeid),
		       node_name(r->in->nodeid, name, sizeof(name)),
		       &out->attr);
}

static int op_lookup(const struct floor_link *f, struct fe_req *r)
{
	struct fuse_entry_out *e = fe_ret(r);
	const char *name = fe_args(r);

	r->got = sizeof(*e);
	e->nodeid = child_id(r->in->nodeid, name);
	return stat_at(dir_fd(f, r->in->nodeid), name, &e->attr);
}

static int op_open(const struct floor_link *f, struct fe_req *r)
{
	const struct fuse_open_in *in = fe_args(r);
	uint32_t flags = in->flags;
	struct fuse_open_out *out = fe_ret(r);
	char name[8];
	int fd;

	fd = openat(dir_fd(f, r->in->nodeid),
		    node_name(r->in->nodeid, name, sizeof(name)),
		    (int)flags | O_CLOEXEC | O_NOFOLLOW);
	out->fh = (uint64_t)fd;
	r->got = sizeof(*out);
	return fd < 0 ? -errno : 0;
}

static int op_create(const struct floor_link *f, struct fe_req *r)
{
	const struct fuse_create_in *in = fe_args(r);
	const char *name = (const char *)(in + 1);
	struct fuse_entry_out *e = fe_ret(r);
	struct fuse_open_out *out = (struct fuse_open_out *)(e + 1);
	int dir = dir_fd(f, r->in->nodeid);
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	e->nodeid = child_id(r->in->nodeid, name);
	out->fh = (uint64_t)fd;
	r->got = sizeof(*e) + sizeof(*out);
	return stat_at(dir, name, &e->attr);
}

static int op_release(const struct floor_link *f, struct fe_req *r)
{
	const struct fuse_release_in *in = fe_args(r);

	(void)f;
	return close((int)in->fh) < 0 ? -errno : 0;
}

static int op_unlink(const struct floor_link *f, struct fe_req *r)
{
	return unlinkat(dir_fd(f, r->in->nodeid), fe_args(r), 0) < 0 ? -errno :
								     0;
}

static int op_read(const struct floor_link *f, struct fe_req *r)
{
	const struct fuse_read_in *in = fe_args(r);
	ssize_t n;

	(void)f;
	n = pread((int)in->fh, r->dst.p, in->size, (off_t)in->offset);
	r->got = n < 0 ? 0 : (uint32_t)n;
	return n < 0 ? -errno : 0;
}

static int op_write(const struct floor_link *f, struct fe_req *r)
{
	const struct fuse_write_in *in = fe_args(r);
	struct fuse_write_out *out = fe_ret(r);
	ssize_t n;

	(void)f;
	n = pwrite((int)in->fh, r->src.p, in->size, (off_t)in->offset);
	out->size = n < 0 ? 0 : (uint32_t)n;
	r->got = sizeof(*out);
	return n < 0 ? -errno : 0;
}

static int op_fsync(const struct floor_link *f, struct fe_req *r)
{
	const struct fuse_fsync_in *in = fe_args(r);

	(void)f;
	return fsync((int)in->fh) < 0 ? -errno : 0;
}

static size_t add_entry(char *at, const struct dirent64 *d, int fd, bool plus)
{
	struct fuse_entry_out *e = (void *)at;
	struct fuse_dirent *out = (void *)(at + (plus ? sizeof(*e) : 0));
	size_t len = strlen(d->d_name);

	if (plus) {
		e->nodeid = 0;
		if (d->d_name[0] != '.')
			stat_at(fd, d->d_name, &e->attr);
	}
	out->ino = d->d_ino;
	out->off = (uint64_t)d->d_off;
	out->namelen = (uint32_t)len;
	out->type = d->d_type;
	memcpy(out->name, d->d_name, len);
	return FUSE_DIRENT_ALIGN((plus ? sizeof(*e) : 0) + FUSE_NAME_OFFSET +
				 len);
}

static int list(struct fe_req *r, bool plus)
{
	const struct fuse_read_in *in = fe_args(r);
	/* What comes out is larger than what goes in. */
	size_t room = plus ? in->size / 6 : in->size - 1024;
	char buf[32 << 10] __attribute__((aligned(8)));
	char *out = r->dst.p;
	long n;

	n = syscall(SYS_getdents64, (int)in->fh, buf, room);
	if (n < 0)
		return -errno;
	for (long at = 0; at < n;) {
		struct dirent64 *d = (void *)(buf + at);

		out += add_entry(out, d, (int)in->fh, plus);
		at += d->d_reclen;
	}
	r->got = (uint32_t)(out - (char *)r->dst.p);
	return 0;
}

static int op_readdir(const struct floor_link *f, struct fe_req *r)
{
	(void)f;
	return list(r, false);
}

static int op_readdirplus(const struct floor_link *f, struct fe_req *r)
{
	(void)f;
	return list(r, true);
}

static int (*const ops[FUSE_RENAME2])(const struct floor_link *,
				      struct fe_req *) = {
	[FUSE_LOOKUP] = op_lookup,
	[FUSE_GETATTR] = op_getattr,
	[FUSE_OPEN] = op_open,
	[FUSE_RELEASE] = op_release,
	[FUSE_CREATE] = op_create,
	[FUSE_UNLINK] = op_unlink,
	[FUSE_READ] = op_read,
	[FUSE_WRITE] = op_write,
	[FUSE_FSYNC] = op_fsync,
	[FUSE_OPENDIR] = op_open,
	[FUSE_READDIR] = op_readdir,
	[FUSE_READDIRPLUS] = op_readdirplus,
	[FUSE_RELEASEDIR] = op_release,
};

static void carry_out(const struct floor_link *f, struct fe_req *r)
{
	r->got = 0;
	r->error = ops[r->in->opcode](f, r);
	r->done = true;
}

/* ---- pipes -------------------------------------------------------------- */

static bool pipe_empty(const struct pipe *p)
{
	return __atomic_load_n(&p->head, __ATOMIC_ACQUIRE) == p->tail;
}

static void pipe_add(struct pipe *p, struct fe_req *r)
{
	p->slot[p->head % RING] = r;
	__atomic_store_n(&p->head, p->head + 1, __ATOMIC_RELEASE);
}

static void pipe_notify(struct pipe *p)
{
	const uint64_t one = 1;

	/* Pairs with the fence in pipe_sleep(). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&p->armed, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&p->armed, 0, __ATOMIC_RELAXED);
	p->events++;
	if (write(p->event, &one, sizeof(one)) < 0)
		p->events--;
}

static struct fe_req *pipe_take(struct pipe *p)
{
	if (pipe_empty(p))
		return NULL;
	return p->slot[p->tail++ % RING];
}

static void pipe_sleep(struct pipe *p)
{
	uint64_t count;

	__atomic_store_n(&p->armed, 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!pipe_empty(p)) {
		__atomic_store_n(&p->armed, 0, __ATOMIC_RELAXED);
		return;
	}
	while (read(p->event, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

static void *floor_thread(void *arg)
{
	struct floor_link *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
		struct fe_req *r;

		while ((r = pipe_take(&f->in))) {
			carry_out(f, r);
			pipe_add(&f->out, r);
			if (f->kind == FLOOR_IDEAL)
				pipe_notify(&f->out);
		}
		if (f->kind == FLOOR_BATCH)
			pipe_notify(&f->out);
		pipe_sleep(&f->in);
	}
	return NULL;
}

/* ---- the link ----------------------------------------------------------- */

static uint64_t clock_cost(void)
{
	enum { TIMES = 20000 };
	uint64_t start = thread_ns();

	for (int i = 0; i < TIMES; i++)
		thread_ns();
	return (thread_ns() - start) / TIMES;
}

static int floor_submit(struct link *l, struct fe_req *req, unsigned int q)
{
	struct floor_link *f = (struct floor_link *)l;
	uint64_t start, cost;

	(void)q;
	req->done = false;
	if (f->kind != FLOOR_BARE) {
		pipe_add(&f->in, req);
		pipe_notify(&f->in);
		return 0;
	}
	start = thread_ns();
	carry_out(f, req);
	cost = thread_ns() - start;
	f->bare_ns += cost > f->clock_ns ? cost - f->clock_ns : 0;
	pipe_add(&f->out, req);
	return 0;
}

static int floor_poll(struct link *l, struct fe_req **done, unsigned int max)
{
	struct floor_link *f = (struct floor_link *)l;
	unsigned int n = 0;

	while (n < max && (done[n] = pipe_take(&f->out)))
		n++;
	return (int)n;
}

static int floor_wait(struct link *l)
{
	pipe_sleep(&((struct floor_link *)l)->out);
	return 0;
}

static void floor_usage(struct link *l, struct usage *u)
{
	struct floor_link *f = (struct floor_link *)l;
	struct timespec ts = { 0 };
	clockid_t clock;

	memset(u, 0, sizeof(*u));
	u->cpu_ns = f->bare_ns;
	u->kicks = f->in.events;
	u->interrupts = f->out.events;
	if (f->running && pthread_getcpuclockid(f->thread, &clock) == 0 &&
	    clock_gettime(clock, &ts) == 0)
		u->cpu_ns = (uint64_t)ts.tv_sec * 1000000000u +
			    (uint64_t)ts.tv_nsec;
}

static int start_thread(struct floor_link *f, unsigned long cpus)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int ret;

	cpu_set_of(cpus, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	ret = pthread_create(&f->thread, &attr, floor_thread, f);
	pthread_attr_destroy(&attr);
	f->running = ret == 0;
	return -ret;
}

int floor_open(struct link **link, enum floor_kind kind,
	       const struct tree *tree, unsigned long cpus)
{
	static const char *const name[] = { "bare", "ideal", "batch" };
	struct fe_opts opts = { .mem_size = 192ull << 20 };
	struct floor_link *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	f->kind = kind;
	f->tree = tree;
	f->in.event = eventfd(0, EFD_CLOEXEC);
	f->out.event = eventfd(0, EFD_CLOEXEC);
	f->link = (struct link){
		.name = name[kind],
		.submit = floor_submit,
		.poll = floor_poll,
		.wait = floor_wait,
		.usage = floor_usage,
		.queues = 1,
	};
	ret = fe_offline(&f->link.fe, &opts);
	if (ret == 0 && kind != FLOOR_BARE)
		ret = start_thread(f, cpus);
	f->clock_ns = clock_cost();
	*link = &f->link;
	if (ret < 0)
		floor_close(&f->link);
	return ret;
}

void floor_close(struct link *link)
{
	struct floor_link *f = (struct floor_link *)link;

	if (f->running) {
		__atomic_store_n(&f->stop, true, __ATOMIC_RELEASE);
		if (eventfd_write(f->in.event, 1) == 0)
			pthread_join(f->thread, NULL);
	}
	close(f->in.event);
	close(f->out.event);
	fe_close(f->link.fe);
	free(f);
}
