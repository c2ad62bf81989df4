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

static uint64_t node, fh;

/* A lock on the file's first byte, in the name of @owner. */
static int lock(uint64_t owner, uint32_t type, bool flock)
{
	struct fuse_file_lock lk = { .type = type, .pid = 1 };

	return fe_setlk(fe, node, fh, owner, &lk, false, flock);
}

static int lock_wait(uint64_t owner, struct fe_req **req)
{
	struct fuse_lk_in in = {
		.fh = fh, .owner = owner, .lk = { .type = F_WRLCK, .pid = 1 },
	};
	struct fe_call call = {
		.opcode = FUSE_SETLKW, .nodeid = node,
		.in = { { &in, sizeof(in) } }, .q = 1,
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

static int again(void)
{
	struct fe_opts opts = { .path = server.path, .queues = 2,
				.timeout_ms = 60000 };
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
	CHECK_EQ(lock_wait(7, &req), 0);
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
	CHECK_EQ(lock_wait(7, &req), 0);
	fe_close(fe);
	fe = NULL;
	CHECK(host_can_soon());
	CHECK_EQ(again(), 0);
	CHECK_EQ(open_good(), 0);
	CHECK_EQ(lock(3, F_WRLCK, false), 0);
}

/* A ring is stopped and goes on while a request of it waits. */
static void stopping(void)
{
	struct fe_req *req;

	hold();
	if (check_failed)
		return;
	CHECK_EQ(lock_wait(7, &req), 0);
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
CASE(unmounting)
CASE(resetting)
CASE(disconnecting)
CASE(stopping)

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "go with the file", test_closing },
		{ "go with the mount", test_unmounting },
		{ "go with the device", test_resetting },
		{ "go with the connection", test_disconnecting },
		{ "wait while the ring stops", test_stopping },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
