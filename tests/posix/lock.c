/* SPDX-License-Identifier: MIT */
/*
 * Locks within one system: POSIX, OFD and flock, between processes.
 */

#include "tests/posix/posix.h"

#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>

static struct flock range(short type, off_t start, off_t len)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET,
			       .l_start = start, .l_len = len };
}

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock l = range(type, start, len);

	return fcntl(fd, cmd, &l);
}

/* The same in another process: its errno. */
static int elsewhere_lock(short type, off_t start, off_t len)
{
	pid_t pid = fork();
	int status;

	must("fork", pid);
	if (pid == 0) {
		int fd = open("f", O_RDWR | O_CLOEXEC);

		_exit(lock(fd, F_SETLK, type, start, len) < 0 ? errno : 0);
	}
	must("waitpid", waitpid(pid, &status, 0));
	return WEXITSTATUS(status);
}

static int elsewhere_flock(int how)
{
	pid_t pid = fork();
	int status;

	must("fork", pid);
	if (pid == 0) {
		int fd = open("f", O_RDWR | O_CLOEXEC);

		_exit(flock(fd, how | LOCK_NB) < 0 ? errno : 0);
	}
	must("waitpid", waitpid(pid, &status, 0));
	return WEXITSTATUS(status);
}

/* Wait for what another process holds, 0.3 s long. */
static int wait_for_lock(int fd)
{
	int pipes[2], ret, status;
	pid_t pid;
	char c;

	must("pipe", pipe2(pipes, O_CLOEXEC));
	pid = fork();
	must("fork", pid);
	if (pid == 0) {
		int own = open("f", O_RDWR | O_CLOEXEC);

		ret = lock(own, F_SETLK, F_WRLCK, 0, 1);
		ret = write(pipes[1], "x", 1) < 0 ? 1 : ret;
		usleep(300 * 1000);
		_exit(ret < 0);
	}
	must("read", read(pipes[0], &c, 1));
	ret = lock(fd, F_SETLKW, F_WRLCK, 0, 1);
	must("waitpid", waitpid(pid, &status, 0));
	close(pipes[0]);
	close(pipes[1]);
	return ret ? ret : -status;
}

static void posix_locks(int fd)
{
	struct flock l;
	int other;

	WORKS("lock", lock(fd, F_SETLK, F_WRLCK, 0, 10));
	IS("another may not", elsewhere_lock(F_RDLCK, 5, 1), EAGAIN);
	IS("but behind it", elsewhere_lock(F_WRLCK, 10, 10), 0);
	WORKS("down to read", lock(fd, F_SETLK, F_RDLCK, 0, 10));
	IS("another reads too", elsewhere_lock(F_RDLCK, 0, 10), 0);
	IS("and does not write", elsewhere_lock(F_WRLCK, 9, 1), EAGAIN);
	WORKS("unlock the middle", lock(fd, F_SETLK, F_UNLCK, 4, 2));
	IS("which is free", elsewhere_lock(F_WRLCK, 4, 2), 0);
	IS("and only that", elsewhere_lock(F_WRLCK, 3, 2), EAGAIN);
	other = open("f", O_RDWR | O_CLOEXEC);
	l = range(F_WRLCK, 0, 0);
	WORKS("ask", fcntl(other, F_OFD_GETLK, &l));
	IS("who holds it", l.l_type, F_RDLCK);
	close(other);
	IS("closing another descriptor ends them",
	   elsewhere_lock(F_WRLCK, 0, 0), 0);
	WORKS("wait", wait_for_lock(fd));
	WORKS("unlock", lock(fd, F_SETLK, F_UNLCK, 0, 0));
	FAILS("a range that begins below 0", EINVAL,
	      lock(fd, F_SETLK, F_WRLCK, -5, 1));
}

void group_lock(void)
{
	int fd = make_file("f", 0666), two, ro;

	posix_locks(fd);
	ro = open("f", O_RDONLY | O_CLOEXEC);
	FAILS("to write with what is open to read", EBADF,
	      lock(ro, F_SETLK, F_WRLCK, 0, 1));
	close(ro);
	two = open("f", O_RDWR | O_CLOEXEC);
	WORKS("OFD lock", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 1));
	FAILS("excludes another descriptor", EAGAIN,
	      lock(two, F_OFD_SETLK, F_WRLCK, 0, 1));
	WORKS("until it is free", lock(fd, F_OFD_SETLK, F_UNLCK, 0, 1));
	WORKS("then not", lock(two, F_OFD_SETLK, F_WRLCK, 0, 1));
	close(two);
	two = open("f", O_RDWR | O_CLOEXEC);
	WORKS("flock", flock(fd, LOCK_EX));
	FAILS("excludes another descriptor's", EWOULDBLOCK,
	      flock(two, LOCK_EX | LOCK_NB));
	IS("and another process's", elsewhere_flock(LOCK_SH), EWOULDBLOCK);
	WORKS("down to shared", flock(fd, LOCK_SH));
	IS("shares", elsewhere_flock(LOCK_SH), 0);
	WORKS("by both", flock(two, LOCK_SH | LOCK_NB));
	FAILS("not up again", EWOULDBLOCK, flock(fd, LOCK_EX | LOCK_NB));
	close(two);
	WORKS("after a close, up", flock(fd, LOCK_EX | LOCK_NB));
	IS("which others see", elsewhere_flock(LOCK_SH), EWOULDBLOCK);
	close(fd);
	IS("free with the last close", elsewhere_flock(LOCK_EX), 0);
}
