/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * Locks of a guest through the program as it is used, seen by a process of the
 * host: they are locks there, they go with whatever ends the guest's hold on
 * the file, and one that is waited for stands in nobody's way.
 */

#include "attack_rig.h"

#include <sys/file.h>
#include <sys/wait.h>

#define RING	1024u
#define MANY	1000u
#define MOST	768u		/* that may wait in one ring */

static uint64_t node, fh;

/* A lock on the file's first byte, in the name of @owner. */
static int lock(uint64_t owner, uint32_t type, bool flock)
{
	struct fuse_file_lock lk = { .type = type, .pid = 1 };

	return fe_setlk(fe, node, fh, owner, &lk, false, flock);
}

static int lock_wait(unsigned int q, uint64_t owner, struct fe_req **req)
{
	struct fuse_lk_in in = {
		.fh = fh, .owner = owner, .lk = { .type = F_WRLCK, .pid = 1 },
	};
	struct fe_call call = {
		.opcode = FUSE_SETLKW, .nodeid = node,
		.in = { { &in, sizeof(in) } }, .q = q,
	};

	return fe_call_start(fe, &call, req);
}

/* Whether a process of the host could have both kinds of lock now. */
static bool host_can(void)
{
	struct flock fl = { .l_type = F_WRLCK, .l_len = 1 };
	char path[128];
	int fd, status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/good", share);
	pid = fork();
	if (!pid) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		_exit(fd < 0 || fcntl(fd, F_SETLK, &fl) ||
		      flock(fd, LOCK_EX | LOCK_NB));
	}
	waitpid(pid, &status, 0);
	return status == 0;
}

static bool host_can_soon(void)
{
	for (int i = 0; i < 500; i++) {
		if (host_can())
			return true;
		usleep(20000);
	}
	return false;
}

static int open_good(void)
{
	struct fuse_entry_out e;
	int err = fe_lookup(fe, ROOT, "good", &e);

	node = e.nodeid;
	return err ? err : fe_open(fe, node, O_RDWR, &fh);
}

/* A guest that has both kinds of lock. */
static void hold(void)
{
	CHECK_EQ(open_good(), 0);
	CHECK(host_can());
	CHECK_EQ(lock(1, F_WRLCK, false), 0);
	CHECK(!host_can());
	CHECK_EQ(lock(2, F_WRLCK, false), -EAGAIN);
	CHECK_EQ(lock(1, F_WRLCK, true), 0);
}

static int again(unsigned int ring, bool direct)
{
	struct fe_opts opts = {
		.path = server.path, .queues = 2, .ring_size = ring,
		.no_indirect = direct, .timeout_ms = 60000,
	};
	int err;

	fe_close(fe);
	fe = NULL;
	err = fe_connect(&fe, &opts);
	return err ? err : fe_fuse_init(fe, 0);
}

static void closing(void)
{
	hold();
	if (check_failed)
		return;
	CHECK_EQ(fe_flush(fe, node, fh, 1), 0);
	CHECK_EQ(lock(2, F_WRLCK, false), 0);
	CHECK_EQ(fe_flush(fe, node, fh, 2), 0);
	CHECK(!host_can());		/* the flock */
	CHECK_EQ(lock(1, F_UNLCK, true), 0);
	CHECK(host_can());
}

/*
 * What a guest's F_OFD_SETLK takes: the owner is an open file, which no FLUSH
 * ever names.
 */
static void closing_the_last(void)
{
	uint64_t other;

	hold();
	if (check_failed)
		return;
	CHECK_EQ(lock(1, F_UNLCK, true), 0);
	CHECK_EQ(fe_open(fe, node, O_RDWR, &other), 0);
	CHECK_EQ(fe_flush(fe, node, fh, 55), 0);
	CHECK_EQ(fe_release(fe, node, other), 0);
	CHECK(!host_can());
	CHECK_EQ(fe_release(fe, node, fh), 0);
	CHECK(host_can());
	/* One who has locked through another file since keeps what he has. */
	CHECK_EQ(open_good(), 0);
	other = fh;
	CHECK_EQ(lock(3, F_WRLCK, false), 0);
	CHECK_EQ(open_good(), 0);
	CHECK_EQ(lock(3, F_WRLCK, false), 0);
	CHECK_EQ(fe_release(fe, node, other), 0);
	CHECK(!host_can());
	CHECK_EQ(fe_release(fe, node, fh), 0);
	CHECK(host_can());
}

static void unmounting(void)
{
	hold();
	if (check_failed)
		return;
	CHECK_EQ(fe_destroy(fe), 0);
	CHECK(host_can_soon());
}

static void resetting(void)
{
	struct fe_req *req;

	hold();
	if (check_failed)
		return;
	CHECK_EQ(lock_wait(1, 7, &req), 0);
	CHECK_EQ(fe_stop(fe), 0);
	CHECK_EQ(fe_reset_device(fe), 0);
	CHECK(host_can_soon());
}

/* With one that waits, which goes as well. */
static void disconnecting(void)
{
	struct fe_req *req;

	hold();
	if (check_failed)
		return;
	CHECK_EQ(lock_wait(1, 7, &req), 0);
	fe_close(fe);
	fe = NULL;
	CHECK(host_can_soon());
	CHECK_EQ(again(0, false), 0);
	CHECK_EQ(open_good(), 0);
	CHECK_EQ(lock(3, F_WRLCK, false), 0);
}

/* Each has one file and wants the other's: the last to ask is told. */
static void circling(void)
{
	uint64_t first, first_fh, second, second_fh;
	struct fuse_entry_out e;
	struct fe_req *req;

	CHECK_EQ(open_good(), 0);
	first = node, first_fh = fh;
	CHECK_EQ(fe_create(fe, ROOT, "other", O_RDWR, 0600, &e, &second_fh), 0);
	second = e.nodeid;
	CHECK_EQ(lock(1, F_WRLCK, false), 0);
	node = second, fh = second_fh;
	CHECK_EQ(lock(2, F_WRLCK, false), 0);
	CHECK_EQ(lock_wait(1, 1, &req), 0);
	/* By the same ring, so after the other is known to wait. */
	node = first, fh = first_fh;
	CHECK_EQ(fe_setlk(fe, node, fh, 2, &(struct fuse_file_lock){
			.type = F_WRLCK, .pid = 1 }, true, false), -EDEADLK);
	CHECK(!req->done);
	CHECK_EQ(fe_flush(fe, second, second_fh, 2), 0);
	CHECK_EQ(fe_finish(req), 0);
	fe_req_free(req);
}

/* A ring is stopped and goes on while a request of it waits. */
static void stopping(void)
{
	struct fe_req *req;

	hold();
	if (check_failed)
		return;
	CHECK_EQ(lock_wait(1, 7, &req), 0);
	/* Others are served meanwhile. */
	CHECK_EQ(lock(8, F_WRLCK, false), -EAGAIN);
	CHECK_EQ(fe_stop(fe), 0);
	CHECK_EQ(fe_start(fe), 0);
	CHECK(!req->done);
	CHECK_EQ(lock(8, F_WRLCK, false), -EAGAIN);
	CHECK_EQ(fe_flush(fe, node, fh, 1), 0);
	CHECK_EQ(fe_finish(req), 0);
	CHECK_EQ(lock(8, F_WRLCK, false), -EAGAIN);
	CHECK_EQ(fe_flush(fe, node, fh, 7), 0);
	CHECK_EQ(lock(8, F_WRLCK, false), 0);
	fe_req_free(req);
}

/* Collect what is done; a lock that was got is let go for the next. */
static void take_turns(struct fe_req **req, uint64_t first, unsigned int nr,
		       unsigned int *got, unsigned int *refused)
{
	struct fe_req *done[64];

	fe_poll(fe, 1, done, 64);
	fe_poll(fe, 2, done, 64);
	for (unsigned int i = 0; i < nr; i++) {
		if (!req[i] || !req[i]->done)
			continue;
		if (!req[i]->error) {
			CHECK_EQ(fe_flush(fe, node, fh, first + i), 0);
			++*got;
		} else {
			CHECK_EQ(req[i]->error, -ENOLCK);
			++*refused;
		}
		fe_req_free(req[i]);
		req[i] = NULL;
	}
}

/* A thousand in two rings; more than three quarters of one are refused. */
static void crowding(void)
{
	static struct fe_req *req[MANY + 32];
	unsigned int got = 0, refused = 0, nr = 0;

	CHECK_EQ(again(RING, false), 0);
	CHECK_EQ(open_good(), 0);
	CHECK_EQ(lock(1, F_WRLCK, false), 0);
	for (; nr < MOST + 32; nr++)
		CHECK_EQ(lock_wait(1, 100 + nr, &req[nr]), 0);
	for (int i = 0; i < 2000 && refused < 32; i++, usleep(5000))
		take_turns(req, 100, nr, &got, &refused);
	CHECK_EQ(refused, 32);
	for (; nr < MANY + 32; nr++)
		CHECK_EQ(lock_wait(2, 100 + nr, &req[nr]), 0);
	/* Both rings go on with what does not wait. */
	CHECK_EQ(lock(2, F_WRLCK, false), -EAGAIN);
	CHECK_EQ(got, 0);
	CHECK_EQ(fe_flush(fe, node, fh, 1), 0);
	for (int i = 0; i < 20000 && got < MANY && !check_failed; i++)
		take_turns(req, 100, nr, &got, &refused), usleep(1000);
	CHECK_EQ(got, MANY);
	CHECK_EQ(refused, 32);
	CHECK(host_can());
}

/* Without indirect tables each waits with as many slots as its chain has. */
static void crowding_direct(void)
{
	struct fe_req *req[40] = { NULL };
	unsigned int got = 0, refused = 0, nr;

	CHECK_EQ(again(128, true), 0);
	CHECK_EQ(open_good(), 0);
	CHECK_EQ(lock(1, F_WRLCK, false), 0);
	for (nr = 0; nr < 40; nr++)
		CHECK_EQ(lock_wait(1, 100 + nr, &req[nr]), 0);
	for (int i = 0; i < 2000 && refused < 8; i++, usleep(5000))
		take_turns(req, 100, nr, &got, &refused);
	/* 32 chains of three: three quarters of 128. */
	CHECK_EQ(lock(2, F_WRLCK, false), -EAGAIN);
	CHECK_EQ(fe_flush(fe, node, fh, 1), 0);
	for (int i = 0; i < 20000 && got < 32 && !check_failed; i++)
		take_turns(req, 100, nr, &got, &refused), usleep(1000);
	CHECK_EQ(got, 32);
	CHECK_EQ(refused, 8);
}

static void in_place(void (*run)(void))
{
	int err = make_place(false);

	if (!err)
		err = serve("rw", NULL);
	if (err) {
		printf("# does not serve: %d\n", err);
		check_failed = 1;
	} else {
		run();
	}
	shut();
}

#define CASE(name) static void test_##name(void) { in_place(name); }
CASE(closing)
CASE(closing_the_last)
CASE(circling)
CASE(crowding)
CASE(crowding_direct)
CASE(unmounting)
CASE(resetting)
CASE(disconnecting)
CASE(stopping)

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "go with the file", test_closing },
		{ "of an open file go with its last close",
		  test_closing_the_last },
		{ "go with the mount", test_unmounting },
		{ "go with the device", test_resetting },
		{ "go with the connection", test_disconnecting },
		{ "wait while the ring stops", test_stopping },
		{ "two files and two who want both", test_circling },
		{ "a thousand wait for one", test_crowding },
		{ "who waits leaves room without indirect tables",
		  test_crowding_direct },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
