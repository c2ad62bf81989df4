/* SPDX-License-Identifier: MIT */
/*
 * System calls that not all kernels from 5.4 on have, each with a replacement,
 * and calls that not all C libraries wrap correctly. base.h defines numbers
 * that old headers lack. No state, no locks.
 */

#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Without /proc: the kernel's default bound of descriptors. */
#define MANY		(1l << 20)

/* The largest open descriptor, or an upper bound of it. */
static int highest(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *d;
	int top = -1;
	long max;

	if (!dir) {
		max = sysconf(_SC_OPEN_MAX);
		return (int)(max > 0 && max < MANY ? max : MANY) - 1;
	}
	while ((d = readdir(dir)))
		if (atoi(d->d_name) > top)
			top = atoi(d->d_name);
	closedir(dir);
	return top;
}

int sys_close_range(int first, int last, bool cloexec)
{
	int top;

	if (first > last)
		return 0;
	if (!syscall(SYS_close_range, first, last,
		     cloexec ? SYS_CLOSE_CLOEXEC : 0))
		return 0;
	/* EINVAL: 5.9 and 5.10 lack the flag. */
	if (errno != ENOSYS && errno != EINVAL)
		return -errno;
	top = highest();
	for (int fd = first; fd <= last && fd <= top; fd++) {
		if (cloexec)
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		else
			close(fd);
	}
	return 0;
}

int sys_openat2(int dirfd, const char *name, int flags, mode_t mode,
		uint64_t resolve)
{
	struct {
		uint64_t flags, mode, resolve;
	} how = { (unsigned int)flags, mode, resolve };
	long fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

void sys_raise(int sig)
{
	syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig);
}

siginfo_t sys_await(int pidfd)
{
	siginfo_t info = { .si_pid = 0 };

	while (waitid(SYS_P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 &&
	       errno == EINTR)
		;
	return info;
}
