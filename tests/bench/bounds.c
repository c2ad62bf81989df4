/* SPDX-License-Identifier: MIT */
/*
 * What bounds a server, whatever its code is.
 *
 * A waking: who sleeps between two requests pays for it at each. A sleeper
 * waits as our leaders do (an edge-triggered epoll instance) and answers
 * through an eventfd; there is no work in between. As a thread it shares its
 * memory with who wakes it, as the floors do; as a process it does not, as all
 * servers, and each switch changes the address space as well. On the CPU of
 * who wakes it, or on one of its own, which idles until then.
 *
 * System calls: those that vmshare makes where they are not the floors', with
 * nothing around them.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMES 20000
#define CALLS 5000
#define NAME "called"

struct sleeper {
	int kick, call, epoll;
	cpu_set_t cpus;		/* that it sleeps on */
	uint64_t cpu_ns;	/* of all TIMES; 0: it failed */
};

static void *sleeper_main(void *arg)
{
	const uint64_t one = 1;
	struct sleeper *s = arg;
	struct epoll_event ev;
	uint64_t start;

	sched_setaffinity(0, sizeof(s->cpus), &s->cpus);
	start = thread_ns();
	for (int i = 0; i < TIMES; i++) {
		if (epoll_wait(s->epoll, &ev, 1, -1) != 1)
			return NULL;
		if (write(s->call, &one, sizeof(one)) < 0)
			return NULL;
	}
	s->cpu_ns = thread_ns() - start;
	return NULL;
}

static int wake(const struct sleeper *s)
{
	uint64_t one = 1, count;

	for (int i = 0; i < TIMES; i++)
		if (write(s->kick, &one, sizeof(one)) < 0 ||
		    read(s->call, &count, sizeof(count)) < 0)
			return -errno;
	return 0;
}

static int wake_thread(struct sleeper *s)
{
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, sleeper_main, s);

	if (ret)
		return -ret;
	ret = wake(s);
	pthread_join(thread, NULL);
	return ret;
}

static int wake_process(struct sleeper *s)
{
	pid_t pid = fork();
	int ret;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		sleeper_main(s);
		_exit(0);
	}
	ret = wake(s);
	waitpid(pid, NULL, 0);
	return ret;
}

double wake_cost(bool process, unsigned long cpus)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct sleeper *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double us = 0;
	int ret;

	if (s == MAP_FAILED)
		return 0;
	cpu_set_of(cpus, &s->cpus);
	s->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->call = eventfd(0, EFD_CLOEXEC);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	ret = epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->kick, &ev);
	if (ret == 0)
		ret = process ? wake_process(s) : wake_thread(s);
	if (ret == 0)
		us = (double)s->cpu_ns / TIMES / 1e3;
	close(s->kick);
	close(s->call);
	close(s->epoll);
	munmap(s, sizeof(*s));
	return us;
}

/* ---- system calls ------------------------------------------------------- */

static int open_below(int dir, uint64_t flags, uint64_t mode)
{
	struct open_how how = {
		.flags = flags | O_NOFOLLOW | O_CLOEXEC, .mode = mode,
		.resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
			   RESOLVE_BENEATH,
	};

	return (int)syscall(SYS_openat2, dir, NAME, &how, sizeof(how));
}

static bool look_at(int fd, unsigned int mask)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW |
		     AT_NO_AUTOMOUNT, mask, &st) == 0;
}

/* CREATE, RELEASE, UNLINK with a descriptor for who has it open, FORGET. */
static bool create_once(int dir)
{
	int fd = open_below(dir, O_RDWR | O_CREAT | O_EXCL | O_NOCTTY |
			    O_NONBLOCK, 0644);
	bool well = fd >= 0 && look_at(fd, STATX_BASIC_STATS | STATX_BTIME);

	close(fd);
	fd = open_below(dir, O_PATH, 0);
	well &= fd >= 0 && look_at(fd, STATX_TYPE | STATX_INO | STATX_BTIME);
	well &= unlinkat(dir, NAME, 0) == 0;
	close(fd);
	return well;
}

/* OPEN by name, which may be another file's by now; RELEASE. */
static bool open_once(int dir)
{
	int fd = open_below(dir, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
	bool well = fd >= 0 &&
		    look_at(fd, STATX_TYPE | STATX_INO | STATX_BTIME);

	close(fd);
	return well;
}

static const struct {
	const char *work;
	bool (*once)(int dir);
	bool finds;		/* the file is there before */
} calls[] = {
	{ "create+unlink", create_once, false },
	{ "open+release", open_once, true },
};

static double calls_of(bool (*once)(int dir), int dir)
{
	uint64_t start = thread_ns();
	bool well = true;

	for (int i = 0; i < CALLS && well; i++)
		well = once(dir);
	return well ? (double)(thread_ns() - start) / CALLS / 1e3 : 0;
}

double calls_cost(const char *work, const char *path)
{
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	double us = 0;

	for (size_t i = 0; i < ARRAY_LEN(calls) && dir >= 0; i++) {
		if (strcmp(work, calls[i].work) != 0)
			continue;
		if (calls[i].finds)
			close(openat(dir, NAME, O_CREAT | O_CLOEXEC, 0644));
		us = calls_of(calls[i].once, dir);
		unlinkat(dir, NAME, 0);
	}
	close(dir);
	return us;
}
