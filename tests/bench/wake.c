/* SPDX-License-Identifier: MIT */
/*
 * What a waking costs, on one CPU: a server that sleeps between two requests
 * pays for it whatever the request is, and no code of its own can change that.
 *
 * A sleeper waits as our leaders do (an edge-triggered epoll instance) and
 * answers through an eventfd; there is no work in between. As a thread it
 * shares its memory with who wakes it, as the floors do; as a process it does
 * not, as all servers, and each switch changes the address space as well.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMES 20000

struct sleeper {
	int kick, call, epoll;
	uint64_t cpu_ns;	/* of all TIMES; 0: it failed */
};

static void *sleeper_main(void *arg)
{
	const uint64_t one = 1;
	struct sleeper *s = arg;
	struct epoll_event ev;
	uint64_t start = thread_ns();

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

double wake_cost(bool process)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct sleeper *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double us = 0;
	int ret;

	if (s == MAP_FAILED)
		return 0;
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
