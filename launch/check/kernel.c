/* SPDX-License-Identifier: MIT */
/*
 * What this host's kernel lacks. Each system call is tried and not concluded
 * from the kernel's version: containers refuse some of a new kernel, and
 * distributions bring some to an old one. Layers of confinement are not named
 * here: confine.c tries these.
 */
#include "launch/check/private.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* Since Linux 5.4, which is the oldest; all that it needs is older. */
static bool has_pidfd_wait(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	siginfo_t info;
	bool has;

	if (fd < 0)
		return errno != ENOSYS;
	/* ECHILD, since no process is its own child; EINVAL: unknown. */
	has = waitid(SYS_P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) == 0 ||
	      errno == ECHILD;
	close(fd);
	return has;
}

static bool has_close_range(void)
{
	return syscall(SYS_close_range, INT_MAX, INT_MAX,
		       SYS_CLOSE_CLOEXEC) == 0 ||
	       (errno != ENOSYS && errno != EINVAL);
}

static bool has_faccessat2(void)
{
	return syscall(SYS_faccessat2, -1, "", 0, 0) == 0 || errno != ENOSYS;
}

static bool has_mount_setattr(void)
{
	return syscall(SYS_mount_setattr, -1, "", 0, NULL, 0) == 0 ||
	       errno != ENOSYS;
}

static const struct {
	const char *what, *since, *cost;
	bool (*has)(void);
} wanted[] = {
	{"faccessat2()", "5.8", "a guest's ACCESS request is answered by the "
				"mode alone, without ACLs", has_faccessat2},
	{"close_range() with its flag", "5.11",
	 "descriptors are closed one by one", has_close_range},
	{"mount_setattr()", "5.12", "the mounts of a share are restricted one "
				    "by one", has_mount_setattr},
};

void check_kernel(struct findings *found)
{
	struct utsname host;

	if (has_pidfd_wait() || uname(&host) < 0)
		return;
	findings_add(found, EXIT_REFUSED,
		     "in a container, its filter of system calls may be what "
		     "is older than the kernel",
		     "this kernel, Linux %s, can't wait for a process by its "
		     "descriptor; vmshare needs Linux 5.4 or later",
		     host.release);
}

void check_print_kernel(void)
{
	struct utsname host;

	if (uname(&host) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!wanted[i].has())
			log_note("this kernel, Linux %s, has no %s, of Linux "
				 "%s: %s", host.release, wanted[i].what,
				 wanted[i].since, wanted[i].cost);
}

void check_put_kernel(void)
{
	unsigned int nr = 0;

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (wanted[i].has())
			continue;
		printf("%s{", nr++ ? "," : "");
		json_put("lacks", wanted[i].what);
		putchar(',');
		json_put("since", wanted[i].since);
		putchar(',');
		json_put("cost", wanted[i].cost);
		putchar('}');
	}
}
