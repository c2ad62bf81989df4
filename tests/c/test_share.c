/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * The processes of a share with a stand-in for the file server: what a worker
 * leaves to the next, when there is a next, and that none outlives vmshare.
 */

#include "launch/run/supervise.h"
#include "memback/internal.h"
#include "tests/c/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the workers of a test share with it. */
struct lab {
	int workers;		/* started so far */
	int squeezed;		/* told to need less */
	int left_fd;		/* opened by the first worker */
	pid_t worker;		/* as its pid namespace counts */
	bool progressed;
	char read_back[8];
};

static struct lab *lab;
static struct share share;
static struct guardian *guardian;
static struct share_config config = {.tag = "t"};
static char why[1024], words[4096];
static int words_fd = -1;

static pid_t plain_fork(void *arg)
{
	(void)arg;
	return fork();
}

static int confine(void *arg, const int *keep, unsigned int nr_keep,
		   char *reason, size_t size)
{
	unsigned int next = 3;

	(void)arg;
	(void)reason;
	(void)size;
	for (unsigned int i = 0; i < nr_keep; i++) {
		if ((unsigned int)keep[i] > next)
			sys_close_range((int)next, keep[i] - 1, false);
		next = (unsigned int)keep[i] + 1;
	}
	sys_close_range((int)next, INT_MAX, false);
	return 0;
}

static int refuse(void *arg, const int *keep, unsigned int nr_keep,
		  char *reason, size_t size)
{
	(void)arg;
	(void)keep;
	(void)nr_keep;
	snprintf(reason, size, "no such directory");
	return -ENOENT;
}

static int crash_confine(void *arg, const int *keep, unsigned int nr_keep,
			 char *reason, size_t size)
{
	(void)arg;
	(void)keep;
	(void)nr_keep;
	(void)reason;
	(void)size;
	abort();
}

static int no_lock(void *arg)
{
	(void)arg;
	return 0;
}

static bool progressed(void *arg, struct arena *arena)
{
	bool was = lab->progressed;

	(void)arg;
	(void)arena;
	lab->progressed = false;
	return was;
}

/* Echo one byte of the socket, tell of a mount, end in order. */
static int serve_echo(void *arg, const struct share_fds *fds,
		      struct arena *arena)
{
	char byte;

	(void)arg;
	if (!arena || read(fds->sock, &byte, 1) != 1 ||
	    write(fds->sock, &byte, 1) != 1)
		return 9;
	return write(fds->events, "cdm", 3) == 3 ? 0 : 9;
}

static int serve_crash(void *arg, const struct share_fds *fds,
		       struct arena *arena)
{
	(void)arg;
	(void)fds;
	(void)arena;
	lab->workers++;
	sys_raise(SIGSEGV);
	return 9;
}

static int serve_killed(void *arg, const struct share_fds *fds,
			struct arena *arena)
{
	(void)arg;
	(void)fds;
	(void)arena;
	lab->workers++;
	sys_raise(SIGKILL);
	return 9;
}

/* As the kernel does it: counted, then killed. */
static char group_events[128];

static int serve_starved(void *arg, const struct share_fds *fds,
			 struct arena *arena)
{
	FILE *f = fopen(group_events, "we");

	if (!f)
		return 9;
	fprintf(f, "max 80\noom 9\noom_kill %d\noom_group_kill 0\n",
		4 + lab->workers);
	fclose(f);
	return serve_killed(arg, fds, arena);
}

static void squeeze(void *arg, struct arena *arena)
{
	(void)arg;
	(void)arena;
	lab->squeezed++;
}

static int serve_121(void *arg, const struct share_fds *fds,
		     struct arena *arena)
{
	(void)arg;
	(void)fds;
	(void)arena;
	lab->workers++;
	return 121;
}

static int serve_sigsys(void *arg, const struct share_fds *fds,
			struct arena *arena)
{
	(void)arg;
	(void)fds;
	(void)arena;
	lab->workers++;
	sys_raise(SIGSYS);
	return 9;
}

static int serve_for_ever(void *arg, const struct share_fds *fds,
			  struct arena *arena)
{
	(void)arg;
	(void)fds;
	(void)arena;
	__atomic_store_n(&lab->worker, getpid(), __ATOMIC_RELEASE);
	while (pause() < 0)
		;
	return 9;
}

/*
 * The first leaves a number in the arena and an open file, and is killed; the
 * second finds both. Six more make progress and are killed as well.
 */
static int serve_relay(void *arg, const struct share_fds *fds,
		       struct arena *arena)
{
	uint64_t size = sizeof(int);
	bool fresh;
	void *mem;

	(void)arg;
	(void)fds;
	if (arena_region(arena, ARENA_SESSION, 1, &size, &mem, &fresh))
		return 9;
	if (fresh != (lab->workers == 0))
		return 8;
	lab->workers++;
	lab->progressed = true;
	if (fresh) {
		*(int *)mem = 4711;
		lab->left_fd = memfd_create("left", MFD_CLOEXEC);
		(void)!write(lab->left_fd, "left", 5);
		kill(getpid(), SIGKILL);
	}
	if (*(int *)mem != 4711)
		return 7;
	(void)!pread(lab->left_fd, lab->read_back, sizeof(lab->read_back), 0);
	if (lab->workers == 8)
		return 0;
	kill(getpid(), SIGKILL);
	return 6;
}

static int start(const struct share_ops *ops, int *sock)
{
	int pair[2], saved = dup(STDERR_FILENO), err;
	char path[] = "/tmp/test-share-XXXXXX";

	memset(lab, 0, sizeof(*lab));
	words_fd = mkstemp(path);
	unlink(path);
	why[0] = '\0';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    guardian_start(&guardian))
		return -errno;
	dup2(words_fd, STDERR_FILENO);
	err = share_start(&share, &config, ops, NULL, pair[0], guardian, why,
			  sizeof(why));
	dup2(saved, STDERR_FILENO);
	close(saved);
	if (err)
		close(pair[0]);
	*sock = pair[1];
	return err;
}

static void finish(int sock)
{
	ssize_t n = pread(words_fd, words, sizeof(words) - 1, 0);

	words[n < 0 ? 0 : n] = '\0';
	close(words_fd);
	close(sock);
	share_stop(&share);
	guardian_end(guardian);
}

static int wait_end(void)
{
	struct pollfd pfd = {.fd = share.pidfd, .events = POLLIN};

	if (poll(&pfd, 1, 10000) != 1)
		return -1;
	return share_reap(&share);
}

static void count_event(void *ctx, struct share *s, char event)
{
	(void)s;
	(void)event;
	++*(int *)ctx;
}

static const struct share_ops echo_ops = {
	.fork = plain_fork, .confine = confine, .lock_keeper = no_lock,
	.serve = serve_echo,
};

static void orderly(void)
{
	int sock, events = 0;
	char byte = 'x';

	CHECK_EQ(start(&echo_ops, &sock), 0);
	CHECK_EQ(write(sock, "y", 1), 1);
	CHECK_EQ(read(sock, &byte, 1), 1);
	CHECK_EQ(byte, 'y');
	CHECK_EQ(wait_end(), 0);
	share_read_events(&share, count_event, &events);
	CHECK_EQ(events, 3);
	share_read_events(&share, count_event, &events);
	CHECK(share.connected && share.driver && share.ever_mounted);
	CHECK_EQ(share.events, -1);
	finish(sock);
	CHECK_STR(words, "");
}

static char told[16];	/* the events of a call, in order */

static void note_told(void *ctx, struct share *s, char event)
{
	size_t len = strlen(told);

	(void)ctx;
	(void)s;
	if (len + 1 < sizeof(told))
		told[len] = event;
	told[len + 1] = '\0';
}

/* Whoever took a worker over writes as fast as we read, and never stops. */
static void flood_of_events(void)
{
	struct share s = {.config = &config, .pidfd = -1};
	static char bytes[200001];
	int pipes[2], left = 0;

	CHECK_EQ(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	CHECK(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20) > 0);
	s.events = pipes[0];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = "xmun"[i % 4];
	CHECK_EQ(write(pipes[1], bytes, sizeof(bytes)), sizeof(bytes));
	share_read_events(&s, note_told, NULL);
	CHECK_STR(told, "nmu");
	CHECK(!s.mounted && s.ever_mounted && s.not_shared);
	CHECK_EQ(ioctl(pipes[0], FIONREAD, &left), 0);
	CHECK(left > 0);
	close(pipes[1]);
	while (s.events >= 0) {
		told[0] = '\0';
		share_read_events(&s, note_told, NULL);
	}
	CHECK_STR(told, "");
}

/* A guest that reboots is told of, though it is mounted before and after. */
static void events_in_order(void)
{
	struct share s = {.config = &config, .pidfd = -1, .mounted = true};
	int pipes[2];

	CHECK_EQ(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	s.events = pipes[0];
	CHECK_EQ(write(pipes[1], "um", 2), 2);
	told[0] = '\0';
	share_read_events(&s, note_told, NULL);
	CHECK_STR(told, "um");
	CHECK(s.mounted);
	CHECK_EQ(write(pipes[1], "umucd", 5), 5);
	told[0] = '\0';
	share_read_events(&s, note_told, NULL);
	CHECK_STR(told, "cdmu");
	CHECK(!s.mounted);
	close(pipes[0]);
	close(pipes[1]);
}

static void refused(void)
{
	struct share_ops ops = echo_ops;
	int sock;

	ops.confine = refuse;
	CHECK_EQ(start(&ops, &sock), -ECANCELED);
	CHECK_STR(why, "no such directory");
	CHECK_EQ(share.pidfd, -1);
	finish(sock);
	ops.confine = crash_confine;
	CHECK_EQ(start(&ops, &sock), -ECANCELED);
	CHECK(strstr(why, "died while"));
	finish(sock);
}

static void crash_ends(void)
{
	struct share_ops ops = echo_ops;
	int sock;

	ops.serve = serve_crash;
	CHECK_EQ(start(&ops, &sock), 0);
	CHECK_EQ(wait_end(), 1);
	CHECK_EQ(lab->workers, 1);
	finish(sock);
	CHECK(strstr(words, "share 't': the file server was killed by signal "
			    "11"));
}

static void crash_loop_ends(void)
{
	struct share_ops ops = echo_ops;
	int sock;

	ops.serve = serve_crash;
	ops.progressed = progressed;
	CHECK_EQ(start(&ops, &sock), 0);
	CHECK_EQ(wait_end(), 1);
	CHECK_EQ(lab->workers, 5);
	finish(sock);
	CHECK(strstr(words, "once more without having completed a request"));
}

/* A group that allows 1 MiB, and whose kernel killed three processes of it. */
static bool small_group(char dir[64])
{
	static char proc[80], cgroup[80];
	char command[512];

	snprintf(dir, 64, "/tmp/test-share-XXXXXX");
	if (!mkdtemp(dir))
		return false;
	snprintf(proc, sizeof(proc), "%s/proc", dir);
	snprintf(cgroup, sizeof(cgroup), "%s/cgroup", dir);
	mem_roots.proc = proc;
	mem_roots.cgroup = cgroup;
	snprintf(command, sizeof(command),
		 "cd %s && mkdir -p proc/self cgroup/small && "
		 "echo 0::/small >proc/self/cgroup && "
		 "echo 1048576 >cgroup/small/memory.max &&"
		 "printf 'max 70\\noom 5\\noom_kill 3\\n' "
		 ">cgroup/small/memory.events", dir);
	snprintf(group_events, sizeof(group_events), "%s/small/memory.events",
		 cgroup);
	return system(command) == 0;
}

/* A share whose workers all die of @serve ends, after so many of them. */
static void ends_after(int (*serve)(void *arg, const struct share_fds *fds,
				    struct arena *arena),
		       int workers, int squeezed)
{
	struct share_ops ops = echo_ops;
	int sock;

	ops.serve = serve;
	ops.progressed = progressed;
	ops.squeeze = squeeze;
	CHECK_EQ(start(&ops, &sock), 0);
	CHECK_EQ(wait_end(), 1);
	CHECK_EQ(lab->workers, workers);
	CHECK_EQ(lab->squeezed, squeezed);
	finish(sock);
}

/* Killed for lack of memory, over and over: less each time, and then an end. */
static void starved_end(void)
{
	const struct mem_roots roots = mem_roots;
	char dir[64], command[96];

	CHECK(small_group(dir));
	ends_after(serve_starved, 8, 7);
	CHECK(strstr(words, "vmshare: error: share 't': the file server can't "
			    "go on with the 1 MiB that control group /small "
			    "allows: each of 8 completed no request\n"));
	CHECK(strstr(words, "the file server was killed for lack of memory: "
			    "control group /small allows 1 MiB; "));
	CHECK(strstr(words, "vmshare: hint: raise the memory limit"));
	/* By somebody else: the group's count stays. */
	ends_after(serve_killed, 30, 0);
	mem_roots = roots;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	CHECK_EQ(system(command), 0);
}

/* Without a control group nobody knows why. */
static void kills_end(void)
{
	const struct mem_roots roots = mem_roots;

	mem_roots.cgroup = "/nowhere";
	ends_after(serve_killed, 30, 0);
	mem_roots = roots;
	CHECK(strstr(words, "signal 9 (Killed) once more without having"));
}

static void final_exits(void)
{
	struct share_ops ops = echo_ops;
	int sock;

	ops.progressed = progressed;
	ops.serve = serve_121;
	CHECK_EQ(start(&ops, &sock), 0);
	CHECK_EQ(wait_end(), 121);
	CHECK_EQ(lab->workers, 1);
	finish(sock);
	ops.serve = serve_sigsys;
	CHECK_EQ(start(&ops, &sock), 0);
	CHECK_EQ(wait_end(), 1);
	CHECK_EQ(lab->workers, 1);
	finish(sock);
}

static void successor(void)
{
	struct share_ops ops = echo_ops;
	int sock;

	ops.serve = serve_relay;
	ops.progressed = progressed;
	CHECK_EQ(start(&ops, &sock), 0);
	CHECK_EQ(wait_end(), 0);
	CHECK_EQ(lab->workers, 8);
	CHECK_STR(lab->read_back, "left");
	finish(sock);
}

static bool gone_soon(pid_t pid)
{
	for (int i = 0; i < 300; i++) {
		char path[64], line[256] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		file = fopen(path, "r");
		if (!file)
			return true;
		if (!fgets(line, sizeof(line), file))
			line[0] = '\0';
		fclose(file);
		if (!line[0] || strstr(line, ") Z "))
			return true;
		usleep(10000);
	}
	return false;
}

static const struct share_ops lasting_ops = {
	.fork = plain_fork, .confine = confine, .lock_keeper = no_lock,
	.serve = serve_for_ever,
};

static void stopped(void)
{
	int sock;

	CHECK_EQ(start(&lasting_ops, &sock), 0);
	while (!__atomic_load_n(&lab->worker, __ATOMIC_ACQUIRE))
		usleep(1000);
	share_stop(&share);
	CHECK_EQ(share.pidfd, -1);
	CHECK(gone_soon(lab->worker));
	finish(sock);
}

/* Kill vmshare, and the guardian before it if @all. */
static void killed(bool all)
{
	int pipes[2];
	pid_t pid, keeper;

	CHECK_EQ(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		int sock;

		if (start(&lasting_ops, &sock))
			_exit(1);
		if (all)
			guardian_end(guardian);
		(void)!write(pipes[1], &share.keeper, sizeof(keeper));
		for (;;)
			pause();
	}
	CHECK_EQ(read(pipes[0], &keeper, sizeof(keeper)), sizeof(keeper));
	while (!__atomic_load_n(&lab->worker, __ATOMIC_ACQUIRE))
		usleep(1000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(gone_soon(keeper));
	CHECK(gone_soon(lab->worker));
	close(pipes[0]);
	close(pipes[1]);
}

static void killed_parent(void)
{
	killed(false);
}

static void killed_guardian(void)
{
	killed(true);
}

static const struct check_case cases[] = {
	{"start, events, orderly end", orderly},
	{"a flood of events is read once a round", flood_of_events},
	{"of many events the last is the last", events_in_order},
	{"a refusal has a reason", refused},
	{"a crash without a successor ends the share", crash_ends},
	{"five crashes without progress end it", crash_loop_ends},
	{"lack of memory: with less each time, then an end", starved_end},
	{"other kills without progress end it, too", kills_end},
	{"an exit, or a filter's victim, is final", final_exits},
	{"a successor finds arena and descriptors", successor},
	{"stop leaves no worker", stopped},
	{"a killed vmshare leaves nothing", killed_parent},
	{"nor without its guardian", killed_guardian},
};

int main(int argc, char **argv)
{
	lab = mmap(NULL, sizeof(*lab), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (lab == MAP_FAILED)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
