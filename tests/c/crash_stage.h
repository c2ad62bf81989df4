/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_CRASH_STAGE_H
#define VMSHARE_TESTS_CRASH_STAGE_H

/*
 * A file server whose workers die.
 *
 * This process is the front end. A keeper process, with a descriptor table of
 * its own, clones workers that share that table, as launch/share/share.c
 * does. It traces them, so that it can kill them at a chosen point: before or
 * after the n-th system call of any of their threads, and some machine
 * instructions later. Most die in a request, some while they start or wait.
 * Nothing in the server knows of it. Without tracing it kills them after a
 * random time.
 */

#include "fsserver/fuse.h"
#include "fsserver/request.h"
#include "fsserver/nodes/nodetab.h"
#include "tests/c/check.h"
#include "tests/frontend/fe.h"
#include "vhostuser/vhostuser.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GET(p)		__atomic_load_n(&(p), __ATOMIC_SEQ_CST)
#define SET(p, v)	__atomic_store_n(&(p), v, __ATOMIC_SEQ_CST)
#define STAGE_FDS	1024
#define STAGE_OPS	64	/* opcodes */

/* Shared by front end, keeper and workers. */
struct stage {
	bool calm;		/* no more kills */
	bool traced;		/* kill at system calls, not by the clock */
	unsigned int most;	/* system calls (us) until a kill, at most */
	int poison;		/* system call that faults; 0: none */
	int doom;		/* one to be killed at once before it; 0 */
	bool untraceable;
	unsigned int kills, started, faults, warnings;
	int died;		/* wait status that was not our doing */
	uint64_t nodes;		/* that the worker knows */
	uint32_t random;
	uint32_t opcode;	/* of the request that was taken last; 0 */
	pid_t taker;		/* the thread that took it */
	bool watched;		/* the worker may begin: it is traced */
	unsigned int hit[STAGE_OPS]; /* kills in a request of that opcode */
};

static struct stage *stage;
static pid_t stage_keeper;
static struct fe *fe;

static uint32_t stage_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Not 0; CRASH_SEED is for other chances than those that each run takes. */
static uint32_t stage_seed(void)
{
	const char *text = getenv("CRASH_SEED");
	uint32_t chosen = text ? (uint32_t)atoi(text) : 0;

	return chosen ? chosen : 4711;
}

/* ---- worker ------------------------------------------------------------- */

static struct fs *worker_fs;
static bool keeper_fds[STAGE_FDS];

static void keep_fd(void *ctx, int fd)
{
	bool *known = ctx;

	if (fd >= 0 && fd < STAGE_FDS)
		known[fd] = true;
}

static int worker_sweep(struct arena *arena)
{
	bool known[STAGE_FDS];
	int fds[512], n = vu_state_fds(arena, fds, 512);

	memcpy(known, keeper_fds, sizeof(known));
	for (int i = 0; i < n; i++)
		keep_fd(known, fds[i]);
	if (n < 0 || fs_state_fds(arena, keep_fd, known))
		return -EPROTO;
	for (unsigned int fd = 0, end; fd < STAGE_FDS; fd = end + 1) {
		for (end = fd; end < STAGE_FDS && !known[end]; end++)
			;
		if (end > fd)
			sys_close_range((int)fd, (int)end - 1, false);
	}
	return 0;
}

static void *worker_report(void *arg)
{
	(void)arg;
	for (;;) {
		usleep(20000);
		if (GET(stage->calm))
			SET(stage->nodes, nodes_count(worker_fs));
	}
	return NULL;
}

static void worker_event(void *ctx, enum fs_event event, const char *text)
{
	(void)ctx;
	(void)text;
	if (event == FS_EVENT_WARNING)
		__atomic_fetch_add(&stage->warnings, 1, __ATOMIC_SEQ_CST);
}

/*
 * Which request is in work, for the keeper. The system call is a point to kill
 * at in those that make none.
 */
static int noting_pop(void *ctx, unsigned int q, struct chain *c)
{
	const struct fuse_in_header *in;
	int r = vu_chain_ops.pop(ctx, q, c);

	if (r == 1 && c->nr_readable && c->iov[0].iov_len >= sizeof(*in)) {
		in = c->iov[0].iov_base;
		SET(stage->taker, gettid());
		SET(stage->opcode, in->opcode);
		syscall(SYS_getppid);
	}
	return r;
}

static void noting_push(void *ctx, struct chain *c, uint32_t len)
{
	vu_chain_ops.push(ctx, c, len);
	SET(stage->opcode, 0);
}

static void worker_main(struct arena *arena, const struct fs_place *place,
			int sock, unsigned int queues)
{
	struct chain_ops ops = vu_chain_ops;
	struct fs_options options;
	struct vu_config vc = { .request_queues = queues,
				.consumer = &fs_consumer, .arena = arena };
	struct fs_setup setup = {
		.options = &options, .place = place, .arena = arena,
		.ops = &ops, .queues = queues + 1,
		.event = worker_event,
	};
	struct vu_device *dev;
	pthread_t thread;

	/* Its threads are traced only if they are made after that. */
	while (!GET(stage->watched))
		usleep(100);
	ops.pop = noting_pop;
	ops.push = noting_push;
	fs_options_init(&options);
	options.seccomp = false;
	options.open_files = 72;	/* fewer than there are nodes */
	if (worker_sweep(arena) || vu_open(&dev, &vc))
		_exit(3);
	setup.ops_ctx = dev;
	if (fs_open(&worker_fs, &setup))
		_exit(4);
	vu_set_consumer_ctx(dev, worker_fs);
	__atomic_fetch_add(&stage->started, 1, __ATOMIC_SEQ_CST);
	pthread_create(&thread, NULL, worker_report, NULL);
	if (vu_run(dev, sock))
		_exit(5);
	_exit(0);
}

/* ---- keeper ------------------------------------------------------------- */

/* One worker's life. */
struct life {
	pid_t pid, stepping;
	int left;		/* stops until it steps; then steps */
	int others;		/* stops of other threads while it steps */
	unsigned int started;	/* workers that had, when it began */
	bool young;		/* may die before it has */
	bool busy;		/* dies in a request */
	bool killed;
};

static void life_end(struct life *l)
{
	if (l->killed)
		return;
	l->killed = true;
	stage->hit[GET(stage->opcode) % STAGE_OPS]++;
	kill(l->pid, SIGKILL);
}

/* Whether the stop of a thread is one of those that count. */
static bool life_counts(const struct life *l, pid_t tid)
{
	if (l->young)
		return true;
	return GET(stage->started) != l->started &&
	       (!l->busy ||
		(GET(stage->opcode) && GET(stage->taker) == tid));
}

static void life_syscall(struct life *l, pid_t tid)
{
	/* What steps may have begun to wait. */
	if (l->stepping && ++l->others > 8)
		life_end(l);
	if (GET(stage->calm) || l->stepping || !life_counts(l, tid))
		return;
	if (l->left--)
		return;
	if (stage_random(&stage->random) % 3 == 0) {
		life_end(l);
		return;
	}
	l->stepping = tid;
	l->left = (int)(stage_random(&stage->random) % 400);
}

/* Whether the thread enters the call @nr, which is not 0. */
static bool enters(pid_t tid, int nr)
{
	struct __ptrace_syscall_info info;

	return nr &&
	       ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 &&
	       info.op == PTRACE_SYSCALL_INFO_ENTRY &&
	       (int)info.entry.nr == nr;
}

/* A signal is being delivered: as if by a fault of that thread. */
static int deliver(pid_t tid, int sig)
{
	siginfo_t info = { .si_signo = sig, .si_code = SEGV_MAPERR };

	if (sig == SIGSEGV)
		ptrace(PTRACE_SETSIGINFO, tid, 0, &info);
	return sig;
}

/* A thread stopped: what for? Lets it go on. */
static void life_stop(struct life *l, pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16, give = 0;

	if (sig == (SIGTRAP | 0x80) && enters(tid, GET(stage->poison))) {
		syscall(SYS_tgkill, l->pid, tid, SIGSEGV);
	} else if (sig == (SIGTRAP | 0x80) && enters(tid, GET(stage->doom))) {
		SET(stage->doom, 0);
		life_end(l);
	} else if (sig == (SIGTRAP | 0x80)) {
		life_syscall(l, tid);
	} else if (sig == SIGTRAP && !event && tid == l->stepping) {
		if (l->left-- <= 0)
			life_end(l);
	} else if (!event && sig != SIGTRAP) {
		give = deliver(tid, sig);
	}
	if (give == SIGSEGV) {
		/* The handler runs and returns; a real fault came again. */
		__atomic_fetch_add(&stage->faults, 1, __ATOMIC_SEQ_CST);
		ptrace(PTRACE_SYSCALL, tid, 0, give);
		while (waitpid(tid, &status, __WALL) == tid &&
		       WIFSTOPPED(status) &&
		       WSTOPSIG(status) != (SIGTRAP | 0x80))
			ptrace(PTRACE_SYSCALL, tid, 0, 0);
		life_end(l);
		return;
	}
	ptrace(tid == l->stepping ? PTRACE_SINGLESTEP : PTRACE_SYSCALL, tid, 0,
	       give);
}

/* Trace a worker until its end, its wait status. */
static int life_trace(struct life *l)
{
	const long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD |
			     PTRACE_O_EXITKILL;
	int status;
	pid_t tid;

	l->left = (int)(stage_random(&stage->random) % (stage->most + 1));
	l->young = stage_random(&stage->random) % 8 == 0;
	l->busy = stage_random(&stage->random) % 8 != 0;
	if (ptrace(PTRACE_SEIZE, l->pid, 0, options) ||
	    ptrace(PTRACE_INTERRUPT, l->pid, 0, 0)) {
		SET(stage->untraceable, true);
		SET(stage->calm, true);
	}
	SET(stage->watched, true);
	for (;;) {
		tid = waitpid(-1, &status, __WALL);
		if (tid < 0)
			return -1;
		if (WIFSTOPPED(status))
			life_stop(l, tid, status);
		else if (tid == l->pid)
			return status;
	}
}

static int life_clock(struct life *l)
{
	unsigned int us = stage_random(&stage->random) % (stage->most + 1);
	bool young = stage_random(&stage->random) % 8 == 0;
	int status;

	while (!young && GET(stage->started) == l->started &&
	       waitid(P_PID, (id_t)l->pid, &(siginfo_t){ 0 },
		      WEXITED | WNOWAIT | WNOHANG) == 0)
		usleep(200);
	usleep(us);
	while (waitpid(l->pid, &status, WNOHANG) != l->pid) {
		if (!GET(stage->calm)) {
			life_end(l);
			waitpid(l->pid, &status, 0);
			break;
		}
		usleep(1000);
	}
	return status;
}

static void keeper_main(const char *dir, int sock, unsigned int queues)
{
	struct fs_place place = { .uid = geteuid(), .gid = getegid() };
	struct life life;
	struct arena *arena;
	int status;

	place.root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	place.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (arena_create(&arena, 1ull << 30) < 0)
		_exit(1);
	for (int fd = 0; fd < STAGE_FDS; fd++)
		keeper_fds[fd] = fcntl(fd, F_GETFD) >= 0;
	do {
		life = (struct life){ .started = GET(stage->started) };
		SET(stage->opcode, 0);
		SET(stage->watched, !stage->traced);
		life.pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0,
					  0, 0, 0);
		if (life.pid < 0)
			_exit(2);
		if (life.pid == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
			worker_main(arena, &place, sock, queues);
		status = stage->traced ? life_trace(&life) : life_clock(&life);
		__atomic_fetch_add(&stage->kills, life.killed,
				   __ATOMIC_SEQ_CST);
	} while (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	SET(stage->died, status);
	_exit(0);
}

/* ---- front end ---------------------------------------------------------- */

static int stage_open(const char *dir, bool traced, unsigned int most)
{
	struct fe_opts o = { .queues = 2, .ring_size = 64 };
	int sock[2];

	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		return -errno;
	stage->most = most;
	stage->calm = !most;
	stage->traced = traced;
	stage->random = stage_seed();
	stage_keeper = fork();
	if (stage_keeper < 0)
		return -errno;
	if (stage_keeper == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sock[1]);
		keeper_main(dir, sock[0], o.queues);
	}
	close(sock[0]);
	o.fd = sock[1];
	return fe_connect(&fe, &o);
}

static int stage_close(void)
{
	int status, r;

	SET(stage->calm, true);
	fe_close(fe);
	fe = NULL;
	waitpid(stage_keeper, &status, 0);
	r = status ? status : stage->died;
	munmap(stage, sizeof(*stage));
	return r;
}

#endif
