/* rooms: base vhostuser fsserver tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * A share whose file system is slow: what was answered does not wait in the
 * ring for a request that sleeps behind it.
 */

#include "fsserver/fuse.h"
#include "fsserver/request.h"
#include "fuse_fs.h"
#include "tests/c/check.h"
#include "tests/frontend/fe.h"
#include "vhostuser/vhostuser.h"

#include <pthread.h>
#include <sys/socket.h>

#define WAIT_MS	20000

static struct fuse_fs *slow;
static struct vu_device *dev;
static struct arena *arena;
static struct fs *fs;
static struct fe *fe;
static pthread_t thread;
static int sock[2];
static char dir[] = "/tmp/vmshare-slow-XXXXXX";

static void *serve(void *arg)
{
	(void)arg;
	vu_run(dev, sock[0]);
	return NULL;
}

static int up(void)
{
	static struct fs_options options;
	struct fs_place place = {
		.root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC),
		.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC),
	};
	struct vu_config vc = { .request_queues = 1,
				.consumer = &fs_consumer };
	struct fs_setup setup = { .options = &options, .place = &place,
				  .ops = &vu_chain_ops, .queues = 2 };
	struct fe_opts opts = { .queues = 1, .timeout_ms = WAIT_MS };
	int err = arena_create(&arena, 256 << 20);

	fs_options_init(&options);
	options.seccomp = false;
	vc.arena = setup.arena = arena;
	if (!err)
		err = vu_open(&dev, &vc);
	setup.ops_ctx = dev;
	if (!err)
		err = fs_open(&fs, &setup);
	if (err || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock))
		return err ? err : -errno;
	vu_set_consumer_ctx(dev, fs);
	pthread_create(&thread, NULL, serve, NULL);
	opts.fd = sock[1];
	err = fe_connect(&fe, &opts);
	return err ? err : fe_fuse_init(fe, 0);
}

static void down(void)
{
	fe_close(fe);
	pthread_join(thread, NULL);
	fs_close(fs);
	vu_close(dev);
	arena_close(arena);
	fuse_fs_stop(slow);
	rmdir(dir);
}

/* A GETATTR of the root and a LOOKUP, in the ring together. */
static int both(struct fe_req **fast, struct fe_req **late)
{
	static const struct fuse_getattr_in in;
	const struct fe_call getattr = {
		.opcode = FUSE_GETATTR, .nodeid = FUSE_ROOT_ID,
		.in = { { &in, sizeof(in) } },
		.out_size = sizeof(struct fuse_attr_out), .q = 1,
	};
	const struct fe_call lookup = {
		.opcode = FUSE_LOOKUP, .nodeid = FUSE_ROOT_ID,
		.in = { { "f", 2 } },
		.out_size = sizeof(struct fuse_entry_out), .q = 1,
	};
	int err = fe_ring_stop(fe, 1, NULL);

	if (!err)
		err = fe_call_start(fe, &getattr, fast);
	if (!err)
		err = fe_call_start(fe, &lookup, late);
	return err ? err : fe_ring_start(fe, 1);
}

static bool held(void)
{
	for (int i = 0; i < WAIT_MS; i++) {
		if (__atomic_load_n(&slow->held, __ATOMIC_ACQUIRE))
			return true;
		usleep(1000);
	}
	return false;
}

static void cold_lookup(void)
{
	struct fe_req *fast, *late, *done[2];

	if (geteuid() || !mkdtemp(dir) || fuse_fs_start(&slow, dir))
		SKIP("needs root and /dev/fuse");
	CHECK_EQ(up(), 0);
	__atomic_store_n(&slow->hold_op, FUSE_LOOKUP, __ATOMIC_RELEASE);
	CHECK_EQ(both(&fast, &late), 0);
	CHECK(held());
	/* The slow call has not returned, and will not. */
	CHECK_EQ(fe_poll(fe, 1, done, 2), 1);
	CHECK(done[0] == fast);
	__atomic_store_n(&slow->go_on, true, __ATOMIC_RELEASE);
	CHECK_EQ(fe_finish(late), 0);
	fe_req_free(fast);
	fe_req_free(late);
	down();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a cold LOOKUP behind a hit", cold_lookup },
	};

	fuse_fs_prepare();
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
