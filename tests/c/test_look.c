/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * What is found is what gets a signal, even where its number is another's by
 * then. To be given a number of one's choice takes root.
 */

#include "launch/look/private.h"
#include "tests/c/check.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

static pid_t found, other;	/* the same number */

static _Noreturn void wait_for_ever(void)
{
	for (;;)
		pause();
}

/* A process that looks like one of ours. */
static pid_t publish(void)
{
	static const char about[] = "command=serve\0start=0";
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		int fd = memfd_create("vmshare-about", 0);

		if (write(fd, about, sizeof(about)) != sizeof(about) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		wait_for_ever();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		pid = -1;
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int replace(void *ctx, const struct look *l)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&found,
		.set_tid_size = 1,
	};

	(void)ctx;
	if (look_signal(l, 0, 0) || l->pid != found)
		return -EPROTO;
	end(found);
	other = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (other == 0)
		wait_for_ever();
	if (other < 0)
		return -EPERM;
	return look_signal(l, SIGUSR2, 1);
}

static void anothers_number(void)
{
	int err;

	found = publish();
	CHECK(found > 0);
	err = look_each(found, replace, NULL);
	if (err == -EPERM)
		SKIP("no process can be given a number");
	CHECK_EQ(err, -ESRCH);
	CHECK_EQ(other, found);
	CHECK_EQ(waitpid(other, NULL, WNOHANG), 0);
	end(other);
}

/* By its own signal, with what is to be said. */
static int tell(void *ctx, const struct look *l)
{
	(void)ctx;
	return look_signal(l, SIGUSR2, 7);
}

static void signalled(void)
{
	int status;

	found = publish();
	CHECK(found > 0);
	CHECK_EQ(look_each(found, tell, NULL), 0);
	CHECK_EQ(waitpid(found, &status, 0), found);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2);
	CHECK_EQ(look_each(found, tell, NULL), -ENOENT);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"another has its number", anothers_number},
		{"a signal", signalled},
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
