/* SPDX-License-Identifier: MIT */
/*
 * QEMU as a child process. It gets the descriptors that its command line
 * names and no other, /dev/null to read, and a pipe to us for its messages:
 * QEMU makes its stdio non-blocking, which would also affect other processes on
 * our terminal or pipe. It is in a session of its own, so that keys of the
 * terminal reach it only through us.
 *
 * Two things end it when this process is killed: the guardian, which knows it
 * before it runs, and a parent-death signal, in case both are killed at once.
 *
 * The errno of a failed exec comes through a pipe that a successful one closes.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void keep(int fd)
{
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, 0);
}

static void keep_wiring(const struct qemu_wiring *w)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(w->mem_fds); i++)
		keep(w->mem_fds[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(w->share_fds); i++)
		keep(w->share_fds[i]);
	for (unsigned int i = 0; i < w->nr_ports; i++)
		keep(w->port_fds[i]);
	keep(w->qmp_fd);
	keep(w->initrd_fd);
	keep(w->console_fd);
	keep(w->credentials_fd);
}

static _Noreturn void child(char **argv, const struct qemu_wiring *w,
			    struct guardian *guardian, const char *scratch,
			    int output, int failed)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), err;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (guardian_orphaned(guardian))
		_exit(EXIT_GUEST_DIED);
	setsid();
	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
		goto out;
	err = -sys_close_range(3, INT_MAX, true);
	if (err)
		goto fail;
	keep_wiring(w);
	if (scratch && setenv("TMPDIR", scratch, 1) < 0)
		goto out;
	execv(argv[0], argv);
out:
	err = errno;
fail:
	(void)!write(failed, &err, sizeof(err));
	_exit(EXIT_QEMU_MISSING);
}

/* Wait for the exec: 0, or errno of what failed. */
static int exec_result(int fd)
{
	int err = 0;
	ssize_t n;

	do
		n = read(fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(err) ? err : 0;
}

static int exec_failed(struct qemu_process *p, struct guardian *guardian,
		       const char *path, int err)
{
	sys_await(p->pidfd);
	guardian_forget(guardian, p->pidfd);
	close(p->pidfd);
	errno = err;
	log_error("%s: can't be executed: %m", path);
	return err == ENOENT ? EXIT_QEMU_MISSING : EXIT_QEMU_NOEXEC;
}

int spawn_qemu(struct qemu_process *p, char **argv,
	       const struct qemu_wiring *w, struct guardian *guardian)
{
	const char *scratch = guardian_scratch(guardian);
	int *slot = guardian_slot(guardian);
	int output[2] = {-1, -1}, failed[2] = {-1, -1};
	long pid;
	int err;

	if (!slot || pipe2(output, O_CLOEXEC) < 0 ||
	    pipe2(failed, O_CLOEXEC) < 0 ||
	    fcntl(output[0], F_SETFL, O_NONBLOCK) < 0)
		goto fail;
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, slot, 0, 0);
	if (pid == 0)
		child(argv, w, guardian, scratch, output[1], failed[1]);
	if (pid < 0)
		goto fail;
	p->pid = (pid_t)pid;
	p->pidfd = *slot;
	close(output[1]);
	close(failed[1]);
	err = exec_result(failed[0]);
	close(failed[0]);
	if (err) {
		close(output[0]);
		return exec_failed(p, guardian, argv[0], err);
	}
	p->output = output[0];
	return 0;
fail:
	log_error("can't start QEMU: %s", process_error(-errno));
	for (int i = 0; i < 2; i++) {
		if (output[i] >= 0)
			close(output[i]);
		if (failed[i] >= 0)
			close(failed[i]);
	}
	return EXIT_REFUSED;
}
