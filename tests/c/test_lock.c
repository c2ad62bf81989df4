/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * Locks through the real pool: what may wait goes through a ring of requests
 * in memory, the rest is run in the test's own thread. Another process stands
 * for the host.
 */

#include "tests/c/fsserver_rig.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/wait.h>

#define MAX_REQUESTS 512
#define WHOLE ((uint64_t)INT64_MAX)

struct request {
	char in[sizeof(struct fuse_in_header) + sizeof(struct fuse_lk_in)];
	char out[sizeof(struct fuse_out_header) + sizeof(struct fuse_lk_out)];
	bool done;
	int error;
};

static struct rig rig;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct request requests[MAX_REQUESTS];
static unsigned int head, tail;
static bool stopped;
static uint64_t node, fh, ro_fh;

static int ring_wait(void *ctx, unsigned int q)
{
	int rc;

	(void)ctx;
	(void)q;
	pthread_mutex_lock(&lock);
	while (head == tail && !stopped)
		pthread_cond_wait(&changed, &lock);
	rc = stopped ? -ESHUTDOWN : 0;
	pthread_mutex_unlock(&lock);
	return rc;
}

static int ring_pop(void *ctx, unsigned int q, struct chain *c)
{
	struct request *rq;
	int rc = 0;

	(void)ctx;
	pthread_mutex_lock(&lock);
	if (head != tail) {
		rq = &requests[head];
		c->queue = (uint16_t)(q + 1);
		c->head = (uint16_t)head++;
		c->iov[0] = (struct iovec){ rq->in, sizeof(rq->in) };
		c->iov[1] = (struct iovec){ rq->out, sizeof(rq->out) };
		c->nr_readable = c->nr_writable = 1;
		c->readable = sizeof(rq->in);
		c->writable = sizeof(rq->out);
		rc = 1;
	} else if (stopped) {
		rc = -ESHUTDOWN;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

static void ring_push(void *ctx, struct chain *c, uint32_t len)
{
	struct request *rq = &requests[c->head];
	struct fuse_out_header out;

	(void)ctx;
	memcpy(&out, rq->out, sizeof(out));
	pthread_mutex_lock(&lock);
	rq->error = len ? out.error : 1;
	rq->done = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static unsigned int ring_size(void *ctx, unsigned int q)
{
	(void)ctx;
	(void)q;
	return 64;
}

static const struct chain_ops lock_ops = {
	.wait = ring_wait, .pop = ring_pop, .pending = rig_pending,
	.push = ring_push, .flush = rig_flush, .size = ring_size,
};

static int open_handle(uint32_t flags, uint64_t *out)
{
	struct fuse_open_in in = { .flags = flags };
	const struct fuse_open_out *reply;
	int err;

	rq(&rig, FUSE_OPEN, node);
	rq_put(&rig, &in, sizeof(in));
	err = rq_run(&rig);
	reply = rq_reply(&rig);
	if (!err)
		*out = reply->fh;
	return err;
}

static int open_fs(void)
{
	struct fs_setup setup = {
		.options = &rig.options, .place = &rig.place,
		.arena = rig.arena, .ops = &lock_ops, .queues = 2,
		.event = rig_event, .event_ctx = &rig,
	};
	int err = fs_open(&rig.fs, &setup);

	if (err)
		return err;
	rig.w = rig_worker(&rig);
	stopped = false;
	return fs_consumer.start(rig.fs, 0);
}

static int setup(bool block)
{
	int err;

	rig_prepare(&rig);
	rig.options.posix_lock = rig.options.flock = true;
	rig.options.block_locks = block;
	rig.options.threads = 2;
	rig.place.root = open(rig.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	rig.place.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	head = tail = 0;
	memset(requests, 0, sizeof(requests));
	err = arena_create(&rig.arena, 1ull << 32);
	if (!err)
		err = open_fs();
	if (!err)
		err = rig_init(&rig);
	if (!err)
		err = rig_create(&rig, FUSE_ROOT_ID, "file", O_RDWR, &node,
				 &fh);
	if (!err)
		err = open_handle(O_RDONLY, &ro_fh);
	return err;
}

static void stop(void)
{
	pthread_mutex_lock(&lock);
	stopped = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	fs_consumer.stop(rig.fs, 0);
}

static void teardown(void)
{
	stop();
	fs_consumer.reset(rig.fs);
	rig_stop(&rig);
}

/* ---- lock requests ------------------------------------------------------ */

static struct fuse_lk_in lk(uint64_t handle, uint64_t owner, int type,
			    uint64_t start, uint64_t end)
{
	return (struct fuse_lk_in){
		.fh = handle, .owner = owner,
		.lk = { .start = start, .end = end, .type = (uint32_t)type,
			.pid = (uint32_t)(1000 + owner) },
	};
}

static int now(uint32_t opcode, struct fuse_lk_in in)
{
	rq(&rig, opcode, node);
	rq_put(&rig, &in, sizeof(in));
	return rq_run(&rig);
}

#define SETLK(...) now(FUSE_SETLK, lk(__VA_ARGS__))

/* Put a request on the ring; its number. */
static unsigned int submit(uint32_t opcode, uint64_t nodeid,
			   struct fuse_lk_in in)
{
	struct fuse_in_header h = {
		.len = sizeof(h) + sizeof(in), .opcode = opcode,
		.unique = 77, .nodeid = nodeid,
	};
	unsigned int n;

	pthread_mutex_lock(&lock);
	n = tail;
	memcpy(requests[n].in, &h, sizeof(h));
	memcpy(requests[n].in + sizeof(h), &in, sizeof(in));
	requests[n].done = false;
	tail++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return n;
}

#define SETLKW(...) submit(FUSE_SETLKW, node, lk(__VA_ARGS__))

static bool is_done(unsigned int n)
{
	bool done;

	pthread_mutex_lock(&lock);
	done = requests[n].done;
	pthread_mutex_unlock(&lock);
	return done;
}

/* Its error, or 99 when it is not answered within ten seconds. */
static int result(unsigned int n)
{
	struct timespec until;
	int err = 0, rc;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&lock);
	while (!requests[n].done && !err)
		err = pthread_cond_timedwait(&changed, &lock, &until);
	rc = requests[n].done ? requests[n].error : 99;
	pthread_mutex_unlock(&lock);
	return rc;
}

static unsigned int waiting;

static void count_waiting(void *ctx, const struct fs_worker *w, int64_t began,
			  bool waits)
{
	(void)ctx;
	(void)w;
	(void)began;
	waiting += waits;
}

static bool waiters(unsigned int want)
{
	for (int i = 0; i < 5000; i++) {
		waiting = 0;
		pool_each(rig.fs->pool, count_waiting, NULL);
		if (waiting == want)
			return true;
		usleep(1000);
	}
	return false;
}

/* ---- the host ----------------------------------------------------------- */

static int host_open(void)
{
	return openat(rig.dirfd, "file", O_RDWR | O_CLOEXEC);
}

/* Whether a process of the host could take this lock now. */
static bool host_can(short type, off_t start, off_t len)
{
	int fd = host_open(), status;
	pid_t pid = fork();

	if (!pid) {
		struct flock fl = { .l_type = type, .l_whence = SEEK_SET,
				    .l_start = start, .l_len = len };

		_exit(fcntl(fd, F_SETLK, &fl) ? 1 : 0);
	}
	close(fd);
	waitpid(pid, &status, 0);
	return status == 0;
}

static bool host_can_flock(int op)
{
	int fd = host_open();
	bool can = !flock(fd, op | LOCK_NB);

	close(fd);
	return can;
}

static int flush(uint64_t handle, uint64_t owner)
{
	struct fuse_flush_in in = { .fh = handle, .lock_owner = owner };

	rq(&rig, FUSE_FLUSH, node);
	rq_put(&rig, &in, sizeof(in));
	return rq_run(&rig);
}

/* ---- cases -------------------------------------------------------------- */

static void test_posix(void)
{
	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(SETLK(fh, 2, F_WRLCK, 9, 9), -EAGAIN);
	CHECK_EQ(SETLK(fh, 2, F_RDLCK, 0, 0), -EAGAIN);
	CHECK_EQ(SETLK(fh, 2, F_RDLCK, 10, WHOLE), 0);
	CHECK_EQ(SETLK(fh, 3, F_RDLCK, 10, 20), 0);
	CHECK_EQ(SETLK(fh, 3, F_WRLCK, 10, 20), -EAGAIN);
	CHECK(!host_can(F_RDLCK, 0, 1));
	CHECK(host_can(F_RDLCK, 10, 0));
	CHECK(!host_can(F_WRLCK, 1000000, 1));
	CHECK_EQ(SETLK(fh, 1, F_UNLCK, 0, 4), 0);
	CHECK(host_can(F_WRLCK, 0, 5));
	CHECK(!host_can(F_WRLCK, 5, 1));
	/* An owner without any lock unlocks. */
	CHECK_EQ(SETLK(fh, 9, F_UNLCK, 0, WHOLE), 0);
	teardown();
}

static void test_getlk(void)
{
	const struct fuse_lk_out *out;

	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 5, WHOLE), 0);
	CHECK_EQ(now(FUSE_GETLK, lk(fh, 2, F_RDLCK, 0, 7)), 0);
	out = rq_reply(&rig);
	CHECK_EQ(out->lk.type, F_WRLCK);
	CHECK_EQ(out->lk.start, 5);
	CHECK_EQ(out->lk.end, WHOLE);
	CHECK_EQ(out->lk.pid, 1001);
	CHECK_EQ(now(FUSE_GETLK, lk(fh, 2, F_RDLCK, 0, 4)), 0);
	CHECK_EQ(out->lk.type, F_UNLCK);
	CHECK_EQ(now(FUSE_GETLK, lk(fh, 1, F_WRLCK, 0, WHOLE)), 0);
	CHECK_EQ(out->lk.type, F_UNLCK);
	teardown();
}

static void test_nonsense(void)
{
	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 9, 8), -EINVAL);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, ~0ull), -EINVAL);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 1ull << 63, 1ull << 63), -EINVAL);
	CHECK_EQ(SETLK(fh, 1, 3, 0, 1), -EINVAL);
	CHECK_EQ(SETLK(fh + 1000, 1, F_WRLCK, 0, 1), -EBADF);
	CHECK_EQ(SETLK(ro_fh, 1, F_WRLCK, 0, 1), -EBADF);
	CHECK_EQ(now(FUSE_GETLK, lk(fh, 1, F_UNLCK, 0, 1)), -EINVAL);
	CHECK(host_can(F_WRLCK, 0, 0));
	teardown();
}

static void test_flush(void)
{
	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, 0), 0);
	CHECK_EQ(SETLK(fh, 2, F_WRLCK, 1, 1), 0);
	CHECK_EQ(flush(fh, 1), 0);
	CHECK(host_can(F_WRLCK, 0, 1));
	CHECK(!host_can(F_WRLCK, 1, 1));
	CHECK_EQ(flush(fh, 2), 0);
	CHECK(host_can(F_WRLCK, 0, 0));
	CHECK_EQ(flush(fh, 2), 0);
	teardown();
}

/* A read lock through a file open for reading, then a write lock. */
static void test_upgrade(void)
{
	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(ro_fh, 1, F_RDLCK, 0, 9), 0);
	CHECK_EQ(SETLK(ro_fh, 1, F_RDLCK, 20, WHOLE), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 5, 9), 0);
	CHECK(!host_can(F_WRLCK, 0, 1));
	CHECK(host_can(F_RDLCK, 0, 5));
	CHECK(!host_can(F_RDLCK, 5, 1));
	CHECK(host_can(F_WRLCK, 10, 10));
	CHECK(!host_can(F_WRLCK, 1000, 1));
	CHECK_EQ(flush(fh, 1), 0);
	CHECK(host_can(F_WRLCK, 0, 0));
	teardown();
}

static void test_flock(void)
{
	struct fuse_lk_in in = lk(fh, 1, F_WRLCK, 0, WHOLE);
	struct fuse_release_in release = {
		.fh = fh, .release_flags = FUSE_RELEASE_FLOCK_UNLOCK,
	};
	unsigned int n;
	int fd;

	CHECK_EQ(setup(true), 0);
	in.fh = release.fh = fh;
	in.lk_flags = FUSE_LK_FLOCK;
	CHECK_EQ(now(FUSE_SETLK, in), 0);
	CHECK(!host_can_flock(LOCK_SH));
	in.lk.type = F_RDLCK;
	CHECK_EQ(now(FUSE_SETLK, in), 0);
	CHECK(host_can_flock(LOCK_SH));
	CHECK(!host_can_flock(LOCK_EX));
	in.lk.type = F_UNLCK;
	CHECK_EQ(now(FUSE_SETLK, in), 0);
	fd = host_open();
	CHECK_EQ(flock(fd, LOCK_EX), 0);
	in.lk.type = F_WRLCK;
	CHECK_EQ(now(FUSE_SETLK, in), -EWOULDBLOCK);
	n = submit(FUSE_SETLKW, node, in);
	CHECK(waiters(1));
	CHECK(!is_done(n));
	close(fd);
	CHECK_EQ(result(n), 0);
	CHECK(!host_can_flock(LOCK_SH));
	in.lk.type = 7;
	CHECK_EQ(now(FUSE_SETLK, in), -EINVAL);
	rq(&rig, FUSE_RELEASE, node);
	rq_put(&rig, &release, sizeof(release));
	CHECK_EQ(rq_run(&rig), 0);
	CHECK(host_can_flock(LOCK_EX));
	teardown();
}

static void test_wait(void)
{
	unsigned int a, b;

	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, WHOLE), 0);
	a = SETLKW(fh, 2, F_WRLCK, 0, 0);
	b = SETLKW(fh, 3, F_WRLCK, 1, 1);
	CHECK(waiters(2));
	CHECK_EQ(SETLK(fh, 1, F_UNLCK, 0, 0), 0);
	CHECK_EQ(result(a), 0);
	CHECK(!is_done(b));
	CHECK_EQ(flush(fh, 1), 0);
	CHECK_EQ(result(b), 0);
	CHECK(waiters(0));
	/* FLUSH by the process that waits leaves the wait alone. */
	a = SETLKW(fh, 2, F_WRLCK, 1, 1);
	CHECK(waiters(1));
	CHECK_EQ(flush(fh, 2), 0);
	CHECK(host_can(F_WRLCK, 0, 1));
	CHECK_EQ(flush(fh, 3), 0);
	CHECK_EQ(result(a), 0);
	CHECK(!host_can(F_WRLCK, 1, 1));
	teardown();
}

static void test_deadlock(void)
{
	unsigned int a, b;

	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 1, 1), 0);
	CHECK_EQ(SETLK(fh, 2, F_WRLCK, 2, 2), 0);
	CHECK_EQ(SETLK(fh, 3, F_WRLCK, 3, 3), 0);
	a = SETLKW(fh, 1, F_WRLCK, 2, 2);
	CHECK(waiters(1));
	b = SETLKW(fh, 2, F_WRLCK, 3, 3);
	CHECK(waiters(2));
	/* Closes the circle; what only touches it does not. */
	CHECK_EQ(result(SETLKW(fh, 3, F_RDLCK, 0, 1)), -EDEADLK);
	CHECK_EQ(result(SETLKW(fh, 3, F_RDLCK, 7, 8)), 0);
	CHECK(!is_done(a) && !is_done(b));
	CHECK_EQ(SETLK(fh, 3, F_UNLCK, 3, 3), 0);
	CHECK_EQ(result(b), 0);
	CHECK_EQ(flush(fh, 2), 0);
	CHECK_EQ(result(a), 0);
	teardown();
}

/* Two readers that both want to write. */
static void test_deadlock_upgrade(void)
{
	unsigned int a;

	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_RDLCK, 0, 0), 0);
	CHECK_EQ(SETLK(fh, 2, F_RDLCK, 0, 0), 0);
	a = SETLKW(fh, 1, F_WRLCK, 0, 0);
	CHECK(waiters(1));
	CHECK_EQ(result(SETLKW(fh, 2, F_WRLCK, 0, 0)), -EDEADLK);
	CHECK_EQ(SETLK(fh, 2, F_UNLCK, 0, 0), 0);
	CHECK_EQ(result(a), 0);
	teardown();
}

static void test_reset(void)
{
	unsigned int n[3];

	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, WHOLE), 0);
	for (unsigned int i = 0; i < 3; i++)
		n[i] = SETLKW(fh, 2 + i, F_WRLCK, 0, WHOLE);
	CHECK(waiters(3));
	stop();			/* does not wait for them */
	CHECK(!is_done(n[0]));
	fs_consumer.reset(rig.fs);
	CHECK(waiters(0));
	for (unsigned int i = 0; i < 3; i++)
		CHECK_EQ(result(n[i]), -EINTR);
	CHECK(host_can(F_WRLCK, 0, 0));
	teardown();
}

static void test_no_waiting(void)
{
	struct fuse_lk_in in;

	CHECK_EQ(setup(false), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, 0), 0);
	CHECK_EQ(result(SETLKW(fh, 2, F_WRLCK, 0, 0)), -EOPNOTSUPP);
	CHECK_EQ(result(SETLKW(fh, 2, F_WRLCK, 1, 1)), 0);
	in = lk(ro_fh, 1, F_WRLCK, 0, WHOLE);
	in.lk_flags = FUSE_LK_FLOCK;
	CHECK_EQ(now(FUSE_SETLK, in), 0);
	in.fh = fh;
	CHECK_EQ(result(submit(FUSE_SETLKW, node, in)), -EOPNOTSUPP);
	teardown();
}

/*
 * Three quarters of a ring of 64; the rest serves what ends the wait. All may
 * have the lock at once: nobody knows whom the kernel lets have it first.
 */
static void test_many(void)
{
	unsigned int first;

	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, 0), 0);
	first = SETLKW(fh, 100, F_RDLCK, 0, 0);
	for (unsigned int i = 1; i < 60; i++)
		SETLKW(fh, 100 + i, F_RDLCK, 0, 0);
	CHECK(waiters(48));
	for (unsigned int i = 0; i < 12; i++)
		CHECK_EQ(result(first + 48 + i), -ENOLCK);
	CHECK_EQ(result(submit(FUSE_SETLK, node,
			       lk(fh, 1, F_UNLCK, 0, 0))), 0);
	for (unsigned int i = 0; i < 60; i++) {
		if (!is_done(first + i) || !requests[first + i].error)
			CHECK_EQ(result(first + i), 0);
		flush(fh, 100 + i);
	}
	CHECK(waiters(0));
	CHECK(host_can(F_WRLCK, 0, 0));
	teardown();
}

/* The next worker finds the locks of the last, and ends them when told. */
static void test_survival(void)
{
	CHECK_EQ(setup(true), 0);
	CHECK_EQ(SETLK(fh, 5, F_WRLCK, 3, 4), 0);
	CHECK_EQ(SETLK(fh, 6, F_WRLCK, 8, 8), 0);
	CHECK_EQ(flush(fh, 5), 0);
	CHECK_EQ(SETLK(fh, 7, F_WRLCK, 3, 4), 0);
	/* All but what is in the arena. */
	lock_close(rig.fs);
	CHECK(!host_can(F_WRLCK, 3, 1));
	CHECK_EQ(lock_open(rig.fs), 0);
	CHECK(!host_can(F_WRLCK, 3, 1));
	CHECK_EQ(SETLK(fh, 8, F_WRLCK, 3, 3), -EAGAIN);
	CHECK_EQ(SETLK(fh, 7, F_UNLCK, 3, 3), 0);
	CHECK(host_can(F_WRLCK, 3, 1));
	CHECK_EQ(flush(fh, 7), 0);
	CHECK_EQ(flush(fh, 6), 0);
	CHECK(host_can(F_WRLCK, 0, 0));
	teardown();
}

static void test_off(void)
{
	rig_prepare(&rig);
	CHECK_EQ(rig_up(&rig), 0);	/* without locks */
	CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "file", O_RDWR, &node, &fh), 0);
	CHECK_EQ(SETLK(fh, 1, F_WRLCK, 0, 0), -ENOSYS);
	CHECK_EQ(now(FUSE_GETLK, lk(fh, 1, F_WRLCK, 0, 0)), -ENOSYS);
	rig_stop(&rig);
}

/* ---- never two owners --------------------------------------------------- */

struct board {
	int inside;		/* who is in the critical section */
	int violations;
	int rounds;
};

static struct board *board;

static void critical(void)
{
	if (__atomic_add_fetch(&board->inside, 1, __ATOMIC_SEQ_CST) != 1)
		__atomic_add_fetch(&board->violations, 1, __ATOMIC_SEQ_CST);
	sched_yield();
	__atomic_sub_fetch(&board->inside, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&board->rounds, 1, __ATOMIC_SEQ_CST);
}

static void *guest_owner(void *arg)
{
	uint64_t owner = (uintptr_t)arg;

	for (int i = 0; i < 60; i++) {
		if (result(SETLKW(fh, owner, F_WRLCK, 0, 0)))
			return NULL;
		critical();
		if (result(submit(FUSE_SETLK, node,
				  lk(fh, owner, F_UNLCK, 0, 0))))
			return NULL;
	}
	return arg;
}

static void test_torture(void)
{
	struct flock fl = { .l_whence = SEEK_SET, .l_len = 1 };
	pthread_t threads[3];
	void *ok;
	int fd, status;
	pid_t pid;

	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(setup(true), 0);
	fd = host_open();
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 200; i++) {
			fl.l_type = F_WRLCK;
			if (fcntl(fd, F_SETLKW, &fl))
				_exit(1);
			critical();
			fl.l_type = F_UNLCK;
			fcntl(fd, F_SETLK, &fl);
		}
		_exit(0);
	}
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, guest_owner, (void *)(i + 1));
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &ok);
		CHECK(ok != NULL);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(board->violations, 0);
	CHECK_EQ(board->rounds, 3 * 60 + 200);
	close(fd);
	teardown();
	munmap(board, sizeof(*board));
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "POSIX locks hold on the host", test_posix },
		{ "GETLK names the owner", test_getlk },
		{ "ranges and types that are none", test_nonsense },
		{ "a close drops its owner's locks", test_flush },
		{ "a read lock becomes a write lock", test_upgrade },
		{ "flock locks hold on the host", test_flock },
		{ "a wait ends with the lock", test_wait },
		{ "a cycle of waits is EDEADLK", test_deadlock },
		{ "two that upgrade are EDEADLK", test_deadlock_upgrade },
		{ "a reset ends waits and drops locks", test_reset },
		{ "block-locks=off refuses to wait", test_no_waiting },
		{ "many owners on many files", test_many },
		{ "locks survive their worker", test_survival },
		{ "posix-lock=off leaves locks to the guest", test_off },
		{ "many owners at once", test_torture },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
