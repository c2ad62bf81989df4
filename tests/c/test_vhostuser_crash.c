/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * Workers that are killed at any moment, and their successors.
 *
 * This process is the front end. A keeper process, with a descriptor table of
 * its own, clones workers that share that table (CLONE_FILES), kills them
 * after some microseconds, closes what no state in the arena stands for, and
 * clones the next. The front end must not notice: every request is answered
 * once and rightly, every message gets its one reply.
 */

#include "tests/c/vhostuser_rig.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* Shared by all three. */
struct stage {
	bool calm;		/* no more kills */
	bool hold, holding;	/* workers keep their chains; they do */
	bool kill_now;		/* one kill, asked for */
	unsigned int max_us;	/* a worker's life, at most */
	unsigned int kills, served, again, started;
	int leaked, died;	/* descriptors; a bad wait status */
	unsigned int held;
};

static struct stage *stage;
static pid_t keeper;
static struct fe *fe;
static struct rig rig;
static struct fe_log *dirty;	/* that the next storms look into */

/* ---- worker ------------------------------------------------------------ */

static void *report(void *arg)
{
	(void)arg;
	for (;;) {
		RIG_SET(stage->held, rig_held_now(&rig));
		RIG_SET(rig.hold, RIG_GET(stage->hold));
		RIG_SET(stage->holding, RIG_GET(rig.hold));
		usleep(500);
	}
	return NULL;
}

static void worker(struct arena *arena, int sock, unsigned int queues)
{
	pthread_t t;
	int r;

	if (rig_open_arena(&rig, queues, arena) < 0)
		_exit(3);
	RIG_SET(rig.hold, RIG_GET(stage->hold));
	pthread_create(&t, NULL, report, NULL);
	RIG_COUNT(stage->started);
	r = vu_run(rig.dev, sock);
	vu_close(rig.dev);
	_exit(r == 0 ? 0 : 4);
}

/* ---- keeper ------------------------------------------------------------ */

static uint32_t random_state = 12345;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* Close what neither we nor the state know; how many. */
static int sweep(struct arena *arena, const bool *mine, int max)
{
	int known[512], n = vu_state_fds(arena, known, 512), swept = 0;
	bool keep[256];

	memcpy(keep, mine, sizeof(keep));
	for (int i = 0; i < n; i++)
		if (known[i] < max)
			keep[known[i]] = true;
	for (int fd = 0; fd < max; fd++)
		if (!keep[fd] && close(fd) == 0)
			swept++;
	return swept;
}

static void mark_open(bool *mine, int max)
{
	for (int fd = 0; fd < max; fd++)
		mine[fd] = fcntl(fd, F_GETFD) >= 0;
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/*
 * A worker's life ends by our hand or with the front end; true: by ours. It is
 * counted from the end of its start, so that there is progress on a machine
 * that is slow, but now and then from the start.
 */
static bool reap(pid_t pid, unsigned int started)
{
	int64_t life = random32() % (RIG_GET(stage->max_us) + 1);
	int64_t end = random32() % 4 ? 0 : now_us() + life;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (!end && RIG_GET(stage->started) != started)
			end = now_us() + life;
		if (RIG_GET(stage->kill_now) ||
		    (!RIG_GET(stage->calm) && end && now_us() > end)) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			RIG_SET(stage->kill_now, false);
			break;
		}
		if (RIG_GET(stage->calm))
			usleep(200);
		else
			sched_yield();
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		RIG_SET(stage->died, status);
	return false;
}

static void keep(int sock, unsigned int queues)
{
	bool mine[256] = { false };
	unsigned int started;
	struct arena *arena;
	pid_t pid;

	if (arena_create(&arena, 64 << 20) < 0)
		_exit(1);
	mark_open(mine, 256);
	do {
		started = RIG_GET(stage->started);
		pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0,
				     0);
		if (pid < 0)
			_exit(2);
		if (pid == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
			worker(arena, sock, queues);
		if (!reap(pid, started))
			break;
		RIG_COUNT(stage->kills);
		sweep(arena, mine, 256);
	} while (true);
	/* In the end nothing of the front end's is left. */
	RIG_SET(stage->leaked, vu_state_fds(arena, NULL, 0));
	_exit(0);
}

/* ---- front end --------------------------------------------------------- */

static int stage_open(unsigned int queues, const struct fe_opts *opts,
		      unsigned int max_us)
{
	struct fe_opts o = *opts;
	int sock[2];

	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		return -errno;
	stage->max_us = max_us;
	stage->calm = !max_us;
	keeper = fork();
	if (keeper < 0)
		return -errno;
	if (keeper == 0) {
		/* A test that fails leaves nobody behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sock[1]);
		keep(sock[0], queues);
	}
	close(sock[0]);
	o.fd = sock[1];
	o.queues = queues;
	return fe_connect(&fe, &o);
}

/* Hang up; 0 when keeper and workers ended as they should. */
static int stage_close(void)
{
	int status, r;

	RIG_SET(stage->calm, true);
	fe_close(fe);
	fe = NULL;
	waitpid(keeper, &status, 0);
	r = !WIFEXITED(status) ? -EPROTO : WEXITSTATUS(status);
	if (r || stage->leaked || stage->died)
		printf("# keeper %d, worker %x, %d descriptors left\n", r,
		       stage->died, stage->leaked);
	r = r || stage->leaked || stage->died;
	munmap(stage, sizeof(*stage));
	return r;
}

/* Whether the log, if there is one, has @n answers and the used ring. */
static int storm_logged(struct fe_ring *ring, const struct rig_io *io,
			unsigned int n)
{
	bool all = true;

	if (!dirty)
		return 0;
	for (unsigned int i = 0; i < n; i++)
		all &= fe_log_take(dirty, io[i].out.gpa);
	return all && fe_log_take(dirty, ring->mem[2].gpa) ? 0 : -ENOMSG;
}

static int storm(struct rig_io *io, unsigned int depth, unsigned int rounds)
{
	int r = 0;

	for (unsigned int n = 0; n < rounds && r == 0; n++) {
		struct fe_ring *ring = &fe->ring[n % fe->nr_rings];
		unsigned int batch = 1 + n % depth;

		for (unsigned int i = 0; i < batch && r == 0; i++) {
			rig_io_fill(&io[i]);
			r = rig_io_push(ring, &io[i], 1 + i % 2);
			if (r == 0 && i % 3 == 0)
				fe_kick(ring);
		}
		fe_kick(ring);
		if (r == 0)
			r = rig_reap(ring, batch);
		if (r == 0)
			r = storm_logged(ring, io, batch);
	}
	return r;
}

static int storm_until(unsigned int depth, unsigned int kills)
{
	struct rig_io io[32];
	unsigned int rounds = 0;
	int r = 0;

	for (unsigned int i = 0; i < depth && r == 0; i++)
		r = rig_io_new(fe, &io[i], 64 + i, (uint8_t)i);
	while (r == 0 && RIG_GET(stage->kills) < kills) {
		r = storm(io, depth, 50);
		rounds += 50;
	}
	printf("# %u kills, %u rounds\n", RIG_GET(stage->kills), rounds);
	for (unsigned int i = 0; i < depth; i++)
		rig_io_free(fe, &io[i]);
	return r;
}

static void kills_under_traffic(const struct fe_opts *o, unsigned int kills)
{
	int r;

	CHECK_EQ(stage_open(2, o, 8000), 0);
	r = dirty ? fe_log_open(fe, dirty, 0) : 0;
	if (r == 0 && dirty)
		r = fe_log_all(fe, true);
	CHECK_EQ(r, 0);
	r = storm_until(16, kills);
	if (r < 0)
		printf("# %s\n", fe_fault(fe));
	CHECK_EQ(r, 0);
	CHECK_EQ(stage_close(), 0);
}

static void ring_traffic(void)
{
	const struct fe_opts o = { .ring_size = 64 };

	kills_under_traffic(&o, 300);
}

static void plain_traffic(void)
{
	const struct fe_opts o = { .ring_size = 128, .no_indirect = true,
				   .no_event_idx = true };

	kills_under_traffic(&o, 300);
}

/* A successor marks what its predecessor wrote, and did not come to mark. */
static void logged_traffic(void)
{
	const struct fe_opts o = { .ring_size = 1024 };
	struct fe_log log;

	dirty = &log;
	kills_under_traffic(&o, 300);
	dirty = NULL;
	fe_log_close(&log);
}

/* A reply that comes with a descriptor. */
static int ask_for_table(void)
{
	struct vhu_inflight table = { .queues = 2, .ring_size = 32 };
	int fd = -1, r = fe_inflight_get(fe, &table, &fd);

	if (r == 0 && lseek(fd, 0, SEEK_END) < (off_t)table.size)
		r = -EBADF;
	if (fd >= 0)
		close(fd);
	return r;
}

/* Kills in the middle of every message there is. */
static void messages(void)
{
	const struct fe_opts o = {
		.ring_size = 32,
		.pf_mask = VHU_PF_MQ | VHU_PF_REPLY_ACK | VHU_PF_RESET_DEVICE |
			   VHU_PF_MEM_SLOTS | VHU_PF_INFLIGHT_SHMFD |
			   VHU_PF_LOG_SHMFD,
	};
	const struct vhu_state off = { .index = 1, .num = 0 };
	const struct vhu_state on = { .index = 1, .num = 1 };
	const uint64_t index = 1;
	struct vhu_mem_reg reg = { 0 };
	struct fe_log log;
	uint64_t value;
	uint32_t base;
	int fd;

	CHECK_EQ(stage_open(2, &o, 2000), 0);
	fd = memfd_create("plug", MFD_CLOEXEC);
	CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
	reg.region.gpa = 1ull << 40;
	reg.region.size = 65536;
	reg.region.user = 1ull << 50;
	while (RIG_GET(stage->kills) < 400) {
		CHECK_EQ(fe_get(fe, VHU_GET_FEATURES, &value), 0);
		CHECK_EQ(value, fe->offered);
		CHECK_EQ(fe_get(fe, VHU_GET_QUEUE_NUM, &value), 0);
		CHECK_EQ(value, 3);
		CHECK_EQ(ask_for_table(), 0);
		CHECK_EQ(fe_set(fe, VHU_SET_VRING_CALL, &index, sizeof(index),
				&fe->ring[1].call, 1), 0);
		CHECK_EQ(fe_set(fe, VHU_SET_VRING_KICK, &index, sizeof(index),
				&fe->ring[1].kick, 1), 0);
		CHECK_EQ(fe_set(fe, VHU_SET_VRING_ERR, &index, sizeof(index),
				&fe->ring[1].err, 1), 0);
		CHECK_EQ(fe_log_open(fe, &log, 0), 0);
		CHECK_EQ(fe_log_all(fe, true), 0);
		fe_log_clear(&log);
		CHECK_EQ(fe_set(fe, VHU_ADD_MEM_REG, &reg, sizeof(reg), &fd,
				1), 0);
		CHECK_EQ(rig_echo_once(fe, 1, 77), 0);
		CHECK(fe_log_clear(&log) >= 2);
		fe_log_close(&log);
		CHECK_EQ(fe_set(fe, VHU_REM_MEM_REG, &reg, sizeof(reg), NULL,
				0), 0);
		CHECK_EQ(fe_share_memory(fe), 0);
		CHECK_EQ(fe_set(fe, VHU_SET_VRING_ENABLE, &off, sizeof(off),
				NULL, 0), 0);
		CHECK_EQ(fe_set(fe, VHU_SET_VRING_ENABLE, &on, sizeof(on),
				NULL, 0), 0);
		CHECK_EQ(rig_echo_once(fe, 1, 78), 0);
		CHECK_EQ(fe_ring_stop(fe, 1, &base), 0);
		CHECK_EQ(fe_ring_start(fe, 1), 0);
		CHECK_EQ(rig_echo_once(fe, 1, 79), 0);
		CHECK_EQ(rig_reboot(fe), 0);
		CHECK_EQ(rig_echo_once(fe, 1, 80), 0);
	}
	printf("# %u kills\n", RIG_GET(stage->kills));
	close(fd);
	CHECK_EQ(stage_close(), 0);
}

static void one_kill(void)
{
	unsigned int before = RIG_GET(stage->started);

	RIG_SET(stage->kill_now, true);
	while (RIG_GET(stage->started) == before)
		usleep(500);
}

/* What was taken and not answered is handed out again, in order. */
static void taken_again(const struct fe_opts *o)
{
	struct rig_io io[8], *got;
	void *token;
	uint32_t len;
	int r;

	CHECK_EQ(stage_open(1, o, 0), 0);
	CHECK_EQ(rig_echo_once(fe, 1, 50), 0);
	RIG_SET(stage->hold, true);
	RIG_UNTIL(RIG_GET(stage->holding));
	for (unsigned int i = 0; i < 8; i++) {
		CHECK_EQ(rig_io_new(fe, &io[i], 100 + i, (uint8_t)i), 0);
		CHECK_EQ(rig_io_push(&fe->ring[1], &io[i], 1), 0);
	}
	fe_kick(&fe->ring[1]);
	RIG_UNTIL(RIG_GET(stage->held) == 8);
	/* Killed twice while they are held, then they are answered. */
	one_kill();
	RIG_UNTIL(RIG_GET(stage->held) == 8);
	RIG_SET(stage->hold, false);
	one_kill();
	for (unsigned int i = 0; i < 8; i++) {
		while ((r = fe_reap(&fe->ring[1], &token, &len)) == 0)
			CHECK_EQ(fe_wait(&fe->ring[1], 5000), 0);
		CHECK_EQ(r, 1);
		got = token;
		CHECK_EQ(got - io, i);
		CHECK_EQ(len, got->len);
		CHECK(rig_io_right(got));
	}
	CHECK_EQ(rig_echo_once(fe, 1, 50), 0);
	CHECK_EQ(stage_close(), 0);
}

static void requests_again(void)
{
	const struct fe_opts o = { .ring_size = 16 };

	taken_again(&o);
}

/* A ring that is stopped when its worker dies resumes with the next. */
static void stopped_meanwhile(void)
{
	const struct fe_opts o = { .ring_size = 16 };
	struct rig_io io[4];
	uint32_t base;

	CHECK_EQ(stage_open(1, &o, 0), 0);
	RIG_SET(stage->hold, true);
	RIG_UNTIL(RIG_GET(stage->holding));
	for (unsigned int i = 0; i < 4; i++) {
		CHECK_EQ(rig_io_new(fe, &io[i], 100 + i, (uint8_t)i), 0);
		CHECK_EQ(rig_io_push(&fe->ring[1], &io[i], 1), 0);
	}
	fe_kick(&fe->ring[1]);
	RIG_UNTIL(RIG_GET(stage->held) == 4);
	CHECK_EQ(fe_ring_stop(fe, 1, &base), 0);
	CHECK_EQ(base, 4);
	RIG_SET(stage->hold, false);
	one_kill();
	CHECK_EQ(fe_ring_start(fe, 1), 0);
	CHECK_EQ(rig_reap(&fe->ring[1], 4), 0);
	CHECK_EQ(rig_echo_once(fe, 1, 50), 0);
	CHECK_EQ(stage_close(), 0);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "requests in flight are handed out again", requests_again },
		{ "a ring that was stopped when its worker died",
		  stopped_meanwhile },
		{ "kills in messages", messages },
		{ "kills under traffic", ring_traffic },
		{ "kills, plain ring", plain_traffic },
		{ "kills while memory is logged", logged_traffic },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
