/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * What a server prints about requests that do not end: waits for a lock that
 * the host holds, through the real pool; and which requests give their lane
 * away. The lane has one request, or copies of it.
 */

#include "tests/c/fsserver_rig.h"

#include <linux/magic.h>
#include <sys/vfs.h>

static struct rig rig;
static struct stats *counts;
static struct {
	struct fuse_in_header head;
	union {
		struct fuse_lk_in lk;
		struct fuse_fsync_in fsync;
		struct fuse_forget_in forget;
	};
} request;
#define COPIES	70	/* of the request, at most: more than are named */
static struct fuse_out_header reply[COPIES];
static const char nothing[] = "vmshare: note: no request has run for 100 ms\n";
static unsigned int copies = 1;	/* of the request that its lane has */
static unsigned int taken, given;	/* atomic */
static bool stopped;			/* atomic */

static int one_wait(void *ctx, unsigned int lane)
{
	(void)ctx;
	(void)lane;
	while (__atomic_load_n(&taken, __ATOMIC_ACQUIRE) >= copies &&
	       !__atomic_load_n(&stopped, __ATOMIC_ACQUIRE))
		usleep(1000);
	return __atomic_load_n(&stopped, __ATOMIC_ACQUIRE) ? -ESHUTDOWN : 0;
}

static int one_pop(void *ctx, unsigned int lane, struct chain *c)
{
	(void)ctx;
	if (__atomic_load_n(&taken, __ATOMIC_ACQUIRE) >= copies)
		return 0;
	/* There is one leader at a time. */
	c->head = (uint16_t)__atomic_fetch_add(&taken, 1, __ATOMIC_ACQ_REL);
	c->queue = (uint16_t)(lane + 1);
	c->iov[0] = (struct iovec){ &request, request.head.len };
	c->iov[1] = (struct iovec){ &reply[c->head], sizeof(reply[0]) };
	c->nr_readable = c->nr_writable = 1;
	c->readable = request.head.len;
	c->writable = sizeof(reply[0]);
	return 1;
}

static void one_push(void *ctx, struct chain *c, uint32_t len)
{
	(void)ctx;
	/* FORGET has no answer. */
	if (!len || (len == sizeof(reply[0]) && !reply[c->head].error))
		__atomic_store_n(&given, 1, __ATOMIC_RELEASE);
}

static const struct chain_ops one_ops = {
	.wait = one_wait, .pop = one_pop, .pending = rig_pending,
	.push = one_push, .flush = rig_flush,
};

static int start_in(const char *dir)
{
	struct fs_setup setup = {
		.options = &rig.options, .place = &rig.place, .queues = 2,
		.ops = &one_ops, .event = rig_event, .event_ctx = &rig,
		.stats = counts,
	};
	int err;

	rig_prepare_in(&rig, dir);
	rig.options.posix_lock = true;
	rig.place.root = open(rig.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	rig.place.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = arena_create(&rig.arena, 1ull << 32);
	setup.arena = rig.arena;
	if (!err)
		err = fs_open(&rig.fs, &setup);
	if (err)
		return err;
	rig.w = rig_worker(&rig);
	return rig_init(&rig);
}

static int start(void)
{
	return start_in("/tmp");
}

/* SETLKW of a file "f", @levels below @dir, which the host has locked: its
 * descriptor. */
static int wait_for_lock(const char *dir, unsigned int levels)
{
	struct flock all = { .l_type = F_WRLCK };
	struct fuse_lk_in lk = {
		.owner = 7, .lk = { .end = INT64_MAX, .type = F_WRLCK },
	};
	uint64_t parent = 1, node;
	char path[1024] = "";
	int fd;

	for (unsigned int n = 0; n < levels; n++) {
		if (rig_mkdir(&rig, parent, dir, &parent))
			return -1;
		strcat(strcat(path, dir), "/");
	}
	if (rig_create(&rig, parent, "f", O_RDWR, &node, &lk.fh))
		return -1;
	fd = openat(rig.dirfd, strcat(path, "f"), O_RDWR | O_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &all))
		return -1;
	request.head = (struct fuse_in_header){
		.len = sizeof(request), .opcode = FUSE_SETLKW, .unique = 1000,
		.nodeid = node, .pid = 1,
	};
	request.lk = lk;
	return fs_consumer.start(rig.fs, 0) ? -1 : fd;
}

/*
 * What stderr gets within five seconds of a call, which is to return 0, up to
 * @end of it at least.
 */
static void hear_until(const char *end, int (*fn)(void), char *said,
		       size_t size)
{
	int file = memfd_create("stderr", MFD_CLOEXEC), saved = dup(2);
	int err;

	dup2(file, 2);
	err = fn();
	for (int i = 0; i < 1000 && !strstr(said, end); i++) {
		usleep(5000);
		if (pread(file, said, size - 1, 0) < 0)
			break;
	}
	dup2(saved, 2);
	close(saved);
	close(file);
	CHECK_EQ(err, 0);
}

static void hear(int (*fn)(void), char *said, size_t size)
{
	hear_until("\n", fn, said, size);
}

static int ask(void)
{
	stats_ask(counts);
	return 0;
}

/* A signal may come before the server can hear, or while there is none. */
static void asked_early(void)
{
	char said[4096] = "";
	int fd = stats_create("vmshare-test", &counts);

	CHECK(fd >= 0);
	stats_ask(counts);
	hear(start, said, sizeof(said));
	CHECK_STR(said, nothing);
	rig_stop(&rig);
	/* It is answered, and that the server was woken to end is no more. */
	CHECK_EQ(counts->answered, counts->asked);
	stats_ask(counts);
	memset(said, 0, sizeof(said));
	hear(start, said, sizeof(said));
	CHECK_STR(said, nothing);
	rig_stop(&rig);
	stats_close(counts);
	close(fd);
}

/* Whether the ring's request is answered, within five seconds. */
static bool answered(void)
{
	for (int i = 0; i < 5000; i++)
		if (!__atomic_load_n(&given, __ATOMIC_ACQUIRE))
			usleep(1000);
	return __atomic_load_n(&given, __ATOMIC_ACQUIRE);
}

static void end(void)
{
	__atomic_store_n(&stopped, true, __ATOMIC_RELEASE);
	fs_consumer.stop(rig.fs, 0);
	fs_consumer.reset(rig.fs);
	rig_stop(&rig);
	taken = given = 0;
	stopped = false;
}

/* The threads that the request took; 0 if it failed. */
static uint64_t threads_taken(void)
{
	if (fs_consumer.start(rig.fs, 0) || !answered())
		return 0;
	return __atomic_load_n(&counts->gauge[STATS_THREADS],
			       __ATOMIC_RELAXED);
}

/* Of one FSYNC in @dir. */
static uint64_t fsync_threads(const char *dir)
{
	uint64_t node, fh, threads = 0;

	if (start_in(dir) == 0 &&
	    rig_create(&rig, 1, "f", O_RDWR, &node, &fh) == 0) {
		request.head = (struct fuse_in_header){
			.len = sizeof(request.head) + sizeof(request.fsync),
			.opcode = FUSE_FSYNC, .unique = 1000, .nodeid = node,
		};
		request.fsync = (struct fuse_fsync_in){ .fh = fh };
		threads = threads_taken();
	}
	end();
	return threads;
}

/*
 * Of the FORGET that deletes a file of @size bytes, which was @open when it
 * lost its name.
 */
static uint64_t forget_threads(off_t size, bool open)
{
	uint64_t node, fh, threads = 0;
	int fd;

	if (start() || rig_create(&rig, 1, "f", O_RDWR, &node, &fh))
		goto out;
	fd = openat(rig.dirfd, "f", O_RDWR | O_CLOEXEC);
	if (fd < 0 || (size && posix_fallocate(fd, 0, size)))
		goto out;
	close(fd);
	if ((!open && rig_release(&rig, node, fh)) ||
	    rig_remove(&rig, FUSE_UNLINK, 1, "f") ||
	    (open && rig_release(&rig, node, fh)))
		goto out;
	request.head = (struct fuse_in_header){
		.len = sizeof(request.head) + sizeof(request.forget),
		.opcode = FUSE_FORGET, .unique = 1000, .nodeid = node,
	};
	request.forget = (struct fuse_forget_in){ .nlookup = 1 };
	threads = threads_taken();
out:
	end();
	return threads;
}

/* To delete a large file takes long: another leads meanwhile. */
static void deleted(void)
{
	int fd = stats_create("vmshare-test", &counts);

	CHECK(fd >= 0);
	CHECK_EQ(forget_threads(0, false), 1);
	CHECK_EQ(forget_threads(64 << 10, false), 1);
	CHECK_EQ(forget_threads(16 << 20, false), 2);
	/* It may have grown since. */
	CHECK_EQ(forget_threads(0, true), 2);
	stats_close(counts);
	close(fd);
}

static bool in_memory(const char *dir)
{
	struct statfs sfs;

	return statfs(dir, &sfs) == 0 && sfs.f_type == TMPFS_MAGIC;
}

/* One that may wait for a disk lets another lead; one in memory does not. */
static void synced(void)
{
	int fd = stats_create("vmshare-test", &counts);

	CHECK(fd >= 0);
	if (in_memory("/dev/shm"))
		CHECK_EQ(fsync_threads("/dev/shm"), 1);
	if (!in_memory("/var/tmp"))
		CHECK_EQ(fsync_threads("/var/tmp"), 2);
	stats_close(counts);
	close(fd);
	if (!in_memory("/dev/shm") || in_memory("/var/tmp"))
		SKIP("/dev/shm is no tmpfs, or /var/tmp is one");
}

static void stuck(void)
{
	static const char wanted[] =
		"vmshare: warning: SETLKW of /d\\x1b[31m/f (node ";
	static struct stats_slot sum;
	char said[4096] = "";
	unsigned int running;
	int lock, fd = stats_create("vmshare-test", &counts);

	CHECK(fd >= 0);
	CHECK_EQ(start(), 0);
	hear(ask, said, sizeof(said));
	CHECK_STR(said, nothing);
	lock = wait_for_lock("d\33[31m", 1);
	CHECK(lock >= 0);
	usleep(200000);
	memset(said, 0, sizeof(said));
	hear(ask, said, sizeof(said));
	CHECK(strncmp(said, wanted, strlen(wanted)) == 0);
	CHECK(strstr(said, ", queue 1) has run for 0.") != NULL);
	CHECK(strstr(said, " s and waits for a lock\n") != NULL);
	stats_sum(counts, &sum, &running);
	CHECK_EQ(running, 1);
	CHECK_EQ(__atomic_load_n(&counts->gauge[STATS_NODES],
				 __ATOMIC_RELAXED), 3);
	CHECK(__atomic_load_n(&counts->gauge[STATS_HELD],
			      __ATOMIC_RELAXED) > 0);
	close(lock);
	CHECK(answered());
	end();
	stats_sum(counts, &sum, &running);
	CHECK_EQ(running, 0);
	CHECK_EQ(sum.op[FUSE_SETLKW].count, 1);
	CHECK_EQ(sum.op[FUSE_SETLKW].failed, 0);
	stats_close(counts);
	close(fd);
}

/* Of more than are named, the rest is counted. */
static void many_stuck(void)
{
	static char said[16384];
	int lock, fd = stats_create("vmshare-test", &counts);
	unsigned int lines = 0;

	CHECK(fd >= 0);
	CHECK_EQ(start(), 0);
	copies = COPIES;
	lock = wait_for_lock("d", 1);
	CHECK(lock >= 0);
	for (int i = 0; i < 5000 && __atomic_load_n(&taken, __ATOMIC_ACQUIRE) <
		     copies; i++)
		usleep(1000);
	usleep(200000);
	hear_until("more requests\n", ask, said, sizeof(said));
	for (const char *s = said; (s = strstr(s, "waits for a lock\n")); s++)
		lines++;
	CHECK_EQ(lines, 64);
	CHECK(strstr(said, "vmshare: warning: and 6 more requests\n"));
	close(lock);
	CHECK(answered());
	end();
	copies = 1;
	stats_close(counts);
	close(fd);
}

/* What is said of "f", @levels below a name that is much longer escaped. */
static void long_path(unsigned int levels, const char *wanted)
{
	int lock, fd = stats_create("vmshare-test", &counts);
	char said[4096] = "", name[131];

	memset(name, '\xe4', 130);
	name[130] = '\0';
	CHECK(fd >= 0);
	CHECK_EQ(start(), 0);
	lock = wait_for_lock(name, levels);
	CHECK(lock >= 0);
	usleep(200000);
	hear(ask, said, sizeof(said));
	close(lock);
	CHECK(answered());
	end();
	stats_close(counts);
	close(fd);
	CHECK(strstr(said, " (node "));
	*strstr(said, " (node ") = '\0';
	CHECK_STR(said, wanted);
}

static void long_names(void)
{
	char wanted[512] = "vmshare: warning: SETLKW of ", *at;

	at = wanted + strlen(wanted);
	strcpy(at, "/");
	for (int i = 0; i < 63; i++)
		strcat(wanted, "\\xe4");
	strcat(wanted, ".../f");
	long_path(1, wanted);
	if (check_failed)
		return;
	/* The names above do not fit any more. */
	memmove(at + 3, at, strlen(at) + 1);
	memcpy(at, "...", 3);
	long_path(2, wanted);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a question before the server is ready", asked_early },
		{ "a request that is stuck is named", stuck },
		{ "of many that are stuck the rest is counted", many_stuck },
		{ "a path that is too long is cut", long_names },
		{ "fsync of a disk gives its lane away", synced },
		{ "forgetting a large file gives its lane away", deleted },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
