/* SPDX-License-Identifier: MIT */
/*
 * Servers as links. The cost of a server is the CPU clock of each of its
 * processes (dead threads included), found by descent from the child that we
 * started: a keeper and its worker, or a sandbox's parent and child.
 */

#include "tests/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RING_SIZE	1024
#define MEMORY		(192ull << 20)

/* ---- processes ---------------------------------------------------------- */

static pid_t parent_of(pid_t pid)
{
	char path[32], line[512], *p;
	FILE *f;
	int ppid = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f)) {
		p = strrchr(line, ')');
		if (!p || sscanf(p, ") %*c %d", &ppid) != 1)
			ppid = 0;
	}
	fclose(f);
	return ppid;
}

static bool known(const struct server_link *s, pid_t pid)
{
	for (unsigned int i = 0; i < s->nr_pids; i++)
		if (s->pids[i] == pid)
			return true;
	return false;
}

static void find_processes(struct server_link *s)
{
	unsigned int before;

	s->pids[0] = s->server.pid;
	s->nr_pids = 1;
	do {
		DIR *dir = opendir("/proc");
		struct dirent *e;

		before = s->nr_pids;
		while (dir && (e = readdir(dir))) {
			pid_t pid = (pid_t)atoi(e->d_name);

			if (pid > 0 && s->nr_pids < ARRAY_LEN(s->pids) &&
			    !known(s, pid) && known(s, parent_of(pid)))
				s->pids[s->nr_pids++] = pid;
		}
		if (dir)
			closedir(dir);
	} while (s->nr_pids > before);
}

/* Of process @pid; 0 is this one. */
static uint64_t cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 ||
	    clock_gettime(clock, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t number_in(const char *path, const char *key)
{
	uint64_t sum = 0, value;
	char line[256];
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		const char *p = strstr(line, key);

		if (p && sscanf(p + strlen(key), "%lu", &value) == 1)
			sum += value;
	}
	if (f)
		fclose(f);
	return sum;
}

static uint64_t switches(pid_t pid)
{
	char path[64];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.10s/status",
			 pid, e->d_name);
		sum += number_in(path, "ctxt_switches:");
	}
	if (dir)
		closedir(dir);
	return sum;
}

static double pss_kib(const struct server_link *s)
{
	char path[48];
	double sum = 0;

	for (unsigned int i = 0; i < s->nr_pids; i++) {
		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup",
			 s->pids[i]);
		sum += (double)number_in(path, "Pss: ");
	}
	return sum;
}

/* ---- the link ----------------------------------------------------------- */

static int server_submit(struct link *l, struct fe_req *req, unsigned int q)
{
	(void)l;
	return fe_submit(req, q);
}

static int server_poll(struct link *l, struct fe_req **done, unsigned int max)
{
	int n = 0, ret;

	for (unsigned int q = 1; q <= l->queues && (unsigned int)n < max; q++) {
		ret = fe_poll(l->fe, q, done + n, max - (unsigned int)n);
		if (ret < 0)
			return ret;
		n += ret;
	}
	return n;
}

/* Wait for a call of any queue. */
static int wait_many(struct link *l)
{
	struct pollfd p[FE_MAX_RINGS];
	uint64_t count;

	for (unsigned int q = 1; q <= l->queues; q++) {
		p[q - 1] = (struct pollfd){ .fd = l->fe->ring[q].call,
					    .events = POLLIN };
		if (fe_arm(&l->fe->ring[q]))
			return 0;
	}
	if (poll(p, l->queues, l->fe->opts.timeout_ms) <= 0)
		return -ETIMEDOUT;
	for (unsigned int q = 1; q <= l->queues; q++) {
		if (!(p[q - 1].revents & POLLIN))
			continue;
		l->fe->ring[q].interrupts++;
		if (read(p[q - 1].fd, &count, sizeof(count)) < 0)
			return -errno;
	}
	return 0;
}

static int server_wait(struct link *l)
{
	if (l->queues > 1)
		return wait_many(l);
	return fe_wait(&l->fe->ring[1], 0);
}

static void server_usage(struct link *l, struct usage *u)
{
	struct server_link *s = (struct server_link *)l;

	memset(u, 0, sizeof(*u));
	find_processes(s);
	for (unsigned int i = 0; i < s->nr_pids; i++) {
		u->cpu_ns += cpu_ns(s->pids[i]);
		u->switches += switches(s->pids[i]);
		u->who = u->who * 31 + (uint64_t)s->pids[i];
	}
	for (unsigned int q = 0; q < l->fe->nr_rings; q++) {
		u->kicks += l->fe->ring[q].kicks;
		u->interrupts += l->fe->ring[q].interrupts;
	}
}

static void pin(unsigned long cpus, cpu_set_t *old)
{
	cpu_set_t set;

	sched_getaffinity(0, sizeof(*old), old);
	if (!cpus)
		return;
	cpu_set_of(cpus, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static const struct link server_link_ops = {
	.submit = server_submit,
	.poll = server_poll,
	.wait = server_wait,
	.usage = server_usage,
	.forgets = true,
};

int server_open(struct server_link *s, const char *name, const char *dir,
		unsigned long server_cpus, unsigned int queues)
{
	struct fe_opts opts = {
		.queues = queues,
		.ring_size = RING_SIZE,
		.mem_size = MEMORY,
		.warm = true,
		.blocking = true,
	};
	const struct timespec settle = { .tv_nsec = 100000000 };
	const char *argv[12];
	char text[512];
	cpu_set_t old;
	uint64_t start, own;
	int ret;

	memset(s, 0, sizeof(*s));
	s->link = server_link_ops;
	s->link.name = name;
	s->link.queues = queues;
	ret = fe_server_command(name, dir, argv, text, sizeof(text));
	if (ret < 0)
		return ret;
	pin(server_cpus, &old);
	ret = fe_server_start(&s->server, argv, true);
	sched_setaffinity(0, sizeof(old), &old);
	if (ret < 0)
		return ret;
	opts.path = s->server.path;
	/* The server's own start is measured elsewhere. */
	nanosleep(&settle, NULL);
	start = now_ns();
	own = cpu_ns(0);
	ret = fe_connect(&s->link.fe, &opts);
	if (ret < 0)
		return ret;
	ret = fe_fuse_init(s->link.fe, 0);
	/* In step: what we don't work, we wait. Most of it makes memory. */
	s->handshake_us = (double)(now_ns() - start - cpu_ns(0) + own) / 1e3;
	nanosleep(&settle, NULL);
	find_processes(s);
	s->pss_kib = pss_kib(s);
	return ret;
}

void server_close(struct server_link *s)
{
	fe_close(s->link.fe);
	fe_server_stop(&s->server);
}

/* ---- start-up ----------------------------------------------------------- */

static int try_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (sock < 0)
		return -errno;
	memcpy(addr.sun_path, path, strlen(path));
	ret = connect(sock, (struct sockaddr *)&addr, sizeof(addr));
	close(sock);
	return ret;
}

double server_listen_time(const char *name, const char *dir)
{
	const struct timespec tick = { .tv_nsec = 100000 };
	struct fe_server server;
	const char *argv[12], *option;
	uint64_t start;
	double us = -1;
	char text[512];

	if (fe_server_command(name, dir, argv, text, sizeof(text)) < 0)
		return -1;
	for (int i = 0; argv[i]; i++) {
		if (strcmp(argv[i], "--fd={fd}") != 0)
			continue;
		argv[i] = fe_server_is_own(name, &option) ?
				  "--socket={path}" : "--socket-path={path}";
	}
	start = now_ns();
	if (fe_server_start(&server, argv, false) < 0)
		return -1;
	while (us < 0 && now_ns() - start < 2000000000ull) {
		if (try_connect(server.path) == 0)
			us = (double)(now_ns() - start) / 1e3;
		else
			nanosleep(&tick, NULL);
	}
	fe_server_stop(&server);
	return us;
}
