/* SPDX-License-Identifier: MIT */
/*
 * Many processes, in several guests and on their host, take turns at a file.
 *
 *	torture FILE fcntl|flock PROCESSES TURNS
 *
 * Each process locks the file, waiting, and finds out whether anyone else
 * thinks that it has it: the owner that the file names must be nobody, then
 * the process itself, for as long as it holds the lock. It counts its turn in
 * the file and lets go. No update may be lost, and every wait has to end: who
 * is stuck for two minutes says so. Data must not be cached: where the locks
 * are those of another machine, its caches know nothing of them.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STUCK_SECONDS 120

struct record {
	uint64_t owner;		/* 0: nobody */
	uint64_t turns;
};

static int fail(const char *what, long long value)
{
	fprintf(stderr, "torture: %s: %lld: %s\n", what, value,
		strerror(errno));
	return 1;
}

static void stuck(int sig)
{
	static const char text[] = "torture: a wait did not end\n";

	(void)sig;
	_exit(write(2, text, sizeof(text) - 1) < 0 ? 3 : 2);
}

/* One byte far from the data, or the whole file. */
static int lock(int fd, int use_flock, int on)
{
	struct flock l = {
		.l_type = on ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET,
		.l_start = 1 << 20, .l_len = 1,
	};

	return use_flock ? flock(fd, on ? LOCK_EX : LOCK_UN) :
			   fcntl(fd, F_SETLKW, &l);
}

static int turn(int fd, uint64_t self)
{
	struct record r = { .owner = 0 };
	struct timespec pause = { .tv_nsec = (long)(self % 1000) * 1000 };

	if (pread(fd, &r, sizeof(r), 0) < 0)
		return fail("read", 0);
	if (r.owner)
		return fail("two owners", (long long)r.owner);
	r.owner = self;
	if (pwrite(fd, &r, sizeof(r), 0) != sizeof(r))
		return fail("write", 0);
	nanosleep(&pause, NULL);
	if (pread(fd, &r, sizeof(r), 0) != sizeof(r))
		return fail("read", 1);
	if (r.owner != self)
		return fail("another owner", (long long)r.owner);
	r.owner = 0;
	r.turns++;
	if (pwrite(fd, &r, sizeof(r), 0) != sizeof(r))
		return fail("write", 1);
	return 0;
}

static int take_turns(const char *path, int use_flock, int turns)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666), err = 0;
	uint64_t self;

	if (fd < 0 || getrandom(&self, sizeof(self), 0) != sizeof(self))
		return fail(path, fd);
	self |= 1;
	signal(SIGALRM, stuck);
	for (int i = 0; i < turns && !err; i++) {
		alarm(STUCK_SECONDS);
		if (lock(fd, use_flock, 1) < 0)
			return fail("lock", i);
		alarm(0);
		err = turn(fd, self);
		if (lock(fd, use_flock, 0) < 0)
			return fail("unlock", i);
		/* Half of the time, let others have it first. */
		if (i % 2)
			usleep((useconds_t)(self >> 8) % 3000);
	}
	close(fd);
	return err;
}

int main(int argc, char **argv)
{
	int failed = 0, status;

	if (argc != 5) {
		fprintf(stderr,
			"usage: torture FILE fcntl|flock PROCESSES TURNS\n");
		return 2;
	}
	for (int i = 0; i < atoi(argv[3]); i++) {
		pid_t pid = fork();

		if (pid < 0)
			return fail("fork", i);
		if (pid == 0)
			_exit(take_turns(argv[1], !strcmp(argv[2], "flock"),
					 atoi(argv[4])));
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
