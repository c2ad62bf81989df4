/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * A slow share: while an open or a close of one lock owner sleeps, another
 * owner's lock operations go on. The program's own openat() and close() are
 * called instead of the C library's; they sleep in the one thread that asks
 * for it, until they are released or GIVE_UP seconds have passed.
 */

#include "tests/c/fsserver_rig.h"

#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>

#define GIVE_UP 3
#define WHOLE ((uint64_t)INT64_MAX)

static _Thread_local bool slow_open, slow_close;
static int asleep, released, gave_up;	/* atomic */

static void nap(void)
{
	__atomic_store_n(&asleep, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < GIVE_UP * 1000; i++) {
		if (__atomic_load_n(&released, __ATOMIC_SEQ_CST))
			return;
		usleep(1000);
	}
	__atomic_store_n(&gave_up, 1, __ATOMIC_SEQ_CST);
}

static int open_slowly(int dirfd, const char *path, int flags, mode_t mode)
{
	if (slow_open && (flags & O_ACCMODE) == O_RDWR)
		nap();
	return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return open_slowly(dirfd, path, flags, mode);
}

/* What openat() is with _FORTIFY_SOURCE, where no mode is given. */
int __openat64_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags)
{
	return open_slowly(dirfd, path, flags, 0);
}

int close(int fd)
{
	if (slow_close)
		nap();
	return (int)syscall(SYS_close, fd);
}

static struct rig rig, other;
static uint64_t node, fh, ro_fh;

static int setlk(struct rig *r, uint64_t handle, uint64_t owner, int type,
		 uint64_t at)
{
	struct fuse_lk_in in = {
		.fh = handle, .owner = owner,
		.lk = { .start = at, .end = at, .type = (uint32_t)type },
	};

	rq(r, FUSE_SETLK, node);
	rq_put(r, &in, sizeof(in));
	return rq_run(r);
}

static int flush(struct rig *r, uint64_t owner)
{
	struct fuse_flush_in in = { .fh = fh, .lock_owner = owner };

	rq(r, FUSE_FLUSH, node);
	rq_put(r, &in, sizeof(in));
	return rq_run(r);
}

static int release(struct rig *r)
{
	struct fuse_release_in in = { .fh = ro_fh };

	rq(r, FUSE_RELEASE, node);
	rq_put(r, &in, sizeof(in));
	return rq_run(r);
}

static void setup(void)
{
	struct fuse_open_in in = { .flags = O_RDONLY };

	rig_prepare(&rig);
	rig.options.posix_lock = true;
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "file", O_RDWR, &node, &fh), 0);
	rq(&rig, FUSE_OPEN, node);
	rq_put(&rig, &in, sizeof(in));
	CHECK_EQ(rq_run(&rig), 0);
	ro_fh = ((const struct fuse_open_out *)rq_reply(&rig))->fh;
	other = rig;
	other.w = rig_worker(&rig);
	asleep = released = gave_up = 0;
}

static void teardown(void)
{
	rig_worker_free(other.w);
	rig_stop(&rig);
}

static void *upgrade_slowly(void *err)
{
	slow_open = true;
	*(int *)err = setlk(&other, fh, 1, F_WRLCK, 0);
	return NULL;
}

static void *flush_slowly(void *err)
{
	slow_close = true;
	*(int *)err = flush(&other, 1);
	return NULL;
}

static void *release_slowly(void *err)
{
	slow_close = true;
	*(int *)err = release(&other);
	return NULL;
}

static void begin(pthread_t *thread, void *(*run)(void *), int *err)
{
	pthread_create(thread, NULL, run, err);
	for (int i = 0; i < 5000 && !__atomic_load_n(&asleep, __ATOMIC_SEQ_CST);
	     i++)
		usleep(1000);
	CHECK(__atomic_load_n(&asleep, __ATOMIC_SEQ_CST));
}

static void end(pthread_t thread)
{
	/* What was done since begin() did not wait for the sleeper. */
	CHECK(!__atomic_load_n(&gave_up, __ATOMIC_SEQ_CST));
	__atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
}

static void test_open(void)
{
	pthread_t thread;
	int err = 1;

	setup();
	CHECK_EQ(setlk(&rig, ro_fh, 1, F_RDLCK, 0), 0);
	CHECK_EQ(setlk(&rig, fh, 2, F_WRLCK, 5), 0);
	begin(&thread, upgrade_slowly, &err);
	CHECK_EQ(setlk(&rig, fh, 2, F_WRLCK, 6), 0);
	CHECK_EQ(setlk(&rig, fh, 2, F_WRLCK, 0), -EAGAIN);
	CHECK_EQ(flush(&rig, 2), 0);
	end(thread);
	CHECK_EQ(err, 0);
	CHECK_EQ(setlk(&rig, fh, 2, F_RDLCK, 0), -EAGAIN);
	teardown();
}

/* The owner's slot goes while its new descriptor is being opened. */
static void test_open_flushed(void)
{
	pthread_t thread;
	int err = 1;

	setup();
	CHECK_EQ(setlk(&rig, ro_fh, 1, F_RDLCK, 0), 0);
	begin(&thread, upgrade_slowly, &err);
	CHECK_EQ(flush(&rig, 1), 0);
	CHECK_EQ(setlk(&rig, fh, 2, F_WRLCK, 0), 0);
	CHECK_EQ(flush(&rig, 2), 0);
	end(thread);
	CHECK_EQ(err, 0);
	CHECK_EQ(setlk(&rig, fh, 2, F_RDLCK, 0), -EAGAIN);
	teardown();
}

static void test_close(void *(*run)(void *))
{
	pthread_t thread;
	int err = 1;

	setup();
	CHECK_EQ(setlk(&rig, ro_fh, 1, F_RDLCK, 0), 0);
	CHECK_EQ(setlk(&rig, fh, 2, F_WRLCK, 5), 0);
	begin(&thread, run, &err);
	CHECK_EQ(setlk(&rig, fh, 2, F_WRLCK, 6), 0);
	CHECK_EQ(flush(&rig, 2), 0);
	end(thread);
	CHECK_EQ(err, 0);
	CHECK_EQ(setlk(&rig, fh, 3, F_WRLCK, 0), 0);
	teardown();
}

static void test_flush(void)
{
	test_close(flush_slowly);
}

static void test_release(void)
{
	test_close(release_slowly);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a slow open holds up no other owner", test_open },
		{ "a close during a slow open", test_open_flushed },
		{ "a slow close holds up no other owner", test_flush },
		{ "a slow release holds up no other owner", test_release },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
