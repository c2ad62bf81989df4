/* SPDX-License-Identifier: MIT */
/*
 * Live upgrade: a running share is handed over to the program that now has the
 * name by which this one was started. The keeper's parent, which is not
 * confined, drives it and stays the process that it is; keeper and workers,
 * which read what a guest wrote, become the new program's.
 *
 *	parent		starts the new program with a handover message
 *	new program	forks its keeper, as a child of the parent
 *	new keeper	confines itself as the old one is confined; reports
 *	parent		passes one end of a socket pair to the old keeper, and
 *			SIGUSR2
 *	old keeper	ends its worker; a child process sends all that is open
 *			through that socket
 *	new keeper	lets a child process open the state as a worker would;
 *			reports
 *	parent		kills the old keeper, then lets the new one start a
 *			worker
 *
 * Until the last step the new program may refuse, die or exceed a deadline: it
 * is killed then, the old keeper sees the end of the socket and starts its next
 * worker. In either case the guest's requests wait for some milliseconds. The
 * parent waits meanwhile, for each step no longer than UPGRADE_MS.
 *
 * Nothing here reads what a guest wrote.
 */

#include "launch/share/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define UPGRADE_MS	10000	/* for each of its steps */

/* Absolute, or "" where it is not known. */
static char program[PATH_MAX];

/* One upgrade, while it is under way. */
struct attempt {
	struct share *share;
	struct upgrade to;	/* the message; its ends of the descriptors */
	int ready, go, relay;	/* the parent's ends */
	int link;		/* the old keeper's end */
	pid_t keeper;
	int pidfd;		/* of the new keeper, or -1 */
	char why[256];
};

void upgrade_remember(void)
{
	const char *name = (const char *)(uintptr_t)getauxval(AT_EXECFN);
	char cwd[PATH_MAX];
	ssize_t n;

	/* By descriptor, as a package manager's trigger may: no name. */
	if (!name || strncmp(name, "/dev/fd/", 8) == 0 ||
	    strncmp(name, "/proc/", 6) == 0) {
		n = readlink("/proc/self/exe", program, sizeof(program) - 1);
		program[n > 0 ? n : 0] = '\0';
	} else if (name[0] == '/') {
		snprintf(program, sizeof(program), "%s", name);
	} else if (getcwd(cwd, sizeof(cwd)) &&
		   snprintf(program, sizeof(program), "%s/%s", cwd, name) >=
			   (int)sizeof(program)) {
		program[0] = '\0';
	}
}

static int fail(struct attempt *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int fail(struct attempt *a, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, args);
	va_end(args);
	return -ECANCELED;
}

/* ---- the program --------------------------------------------------------- */

static _Noreturn void program_main(struct attempt *a, int message)
{
	const int keep[] = {message, a->to.dir, a->to.stats, a->to.ready,
			    a->to.go, a->to.link, a->to.relay};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char number[12], line[PATH_MAX + 64];
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (guardian_orphaned(a->share->guardian))
		_exit(EXIT_REFUSED);
	setsid();
	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	    dup2(null, STDOUT_FILENO) >= 0 &&
	    sys_close_range(3, INT_MAX, true) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
			if (keep[i] >= 0)
				(void)fcntl(keep[i], F_SETFD, 0);
		snprintf(number, sizeof(number), "%d", message);
		execl(program, program, UPGRADE_COMMAND, number, NULL);
	}
	snprintf(line, sizeof(line), "%c%s: %m", UPGRADE_REFUSES, program);
	(void)!write(a->to.ready, line, strlen(line + 1) + 1);
	_exit(EXIT_REFUSED);
}

/*
 * Receive a report of the new program or keeper, which has to be @word: its
 * length, or -errno.
 */
static int receive_report(struct attempt *a, enum upgrade_word word,
			  char *line, size_t size)
{
	struct pollfd pfd = {.fd = a->ready, .events = POLLIN};
	int64_t end = clock_ms() + UPGRADE_MS, left;
	char text[512];
	ssize_t n;

	do
		left = end - clock_ms();
	while ((n = poll(&pfd, 1, left > 0 ? (int)left : 0)) < 0 &&
	       errno == EINTR);
	if (n == 0)
		return fail(a, "%s has not answered for %d s", program,
			    UPGRADE_MS / 1000);
	n = recv(a->ready, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return fail(a, "%s ended before it took over", program);
	text[n] = '\0';
	if (text[0] == UPGRADE_REFUSES)
		return fail(a, "%s", log_escape(line, size, text + 1,
						(size_t)n - 1));
	if (text[0] != (char)word || (size_t)n > size)
		return fail(a, "%s sends what this version does not know",
			    program);
	memcpy(line, text, (size_t)n);
	return (int)n;
}

static void end_process(struct attempt *a, int *pidfd)
{
	if (*pidfd < 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
	sys_await(*pidfd);
	guardian_forget(a->share->guardian, *pidfd);
	close(*pidfd);
	*pidfd = -1;
}

/* The program said which process is its keeper: watch that one. */
static int watch_keeper(struct attempt *a, const char *line, int len)
{
	int *slot = guardian_slot(a->share->guardian);
	siginfo_t info = {0};
	int32_t pid;

	if (len != 1 + (int)sizeof(pid) || !slot)
		return fail(a, "can't watch a new file server");
	memcpy(&pid, line + 1, sizeof(pid));
	a->keeper = pid;
	a->pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	/* Nobody else reaps a child: the number is still that process's. */
	if (a->pidfd < 0 || waitid(P_PID, (id_t)pid, &info,
				   WEXITED | WNOHANG | WNOWAIT) < 0) {
		if (a->pidfd >= 0)
			close(a->pidfd);
		a->pidfd = -1;
		return fail(a, "%s made no file server", program);
	}
	__atomic_store_n(slot, a->pidfd, __ATOMIC_RELEASE);
	return 0;
}

/* Start the program and wait until it has forked its keeper. */
static int start_program(struct attempt *a, int message)
{
	int *slot = guardian_slot(a->share->guardian), pidfd, err;
	char line[512];
	long pid;

	if (!slot)
		return fail(a, "can't watch a new process");
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, slot, 0, 0);
	if (pid == 0)
		program_main(a, message);
	if (pid < 0)
		return fail(a, "can't fork: %s", process_error(-errno));
	pidfd = *slot;
	/* The end of the other side is seen only when this copy is closed. */
	close(a->to.ready);
	close(a->to.go);
	close(a->to.link);
	close(a->to.relay);
	a->to.ready = a->to.go = a->to.link = a->to.relay = -1;
	err = receive_report(a, UPGRADE_FORKED, line, sizeof(line));
	if (err > 0)
		err = watch_keeper(a, line, err);
	end_process(a, &pidfd);
	return err;
}

/* ---- the share ----------------------------------------------------------- */

/* The new keeper is confined: have the old one send what it has. */
static int hand_over(struct attempt *a)
{
	struct share *s = a->share;
	char line[512];
	int err;

	if (write(a->go, "", 1) != 1)
		return fail(a, "%s ended before it took over", program);
	err = receive_report(a, UPGRADE_READY, line, sizeof(line));
	if (err < 0)
		return err;
	err = descriptors_pass(s->relay, a->link);
	close(a->link);
	a->link = -1;
	if (err || syscall(SYS_pidfd_send_signal, s->pidfd, SIGUSR2, NULL, 0))
		return fail(a, "the old file server is gone");
	err = receive_report(a, UPGRADE_READY, line, sizeof(line));
	return err < 0 ? err : 0;
}

static void replace(struct attempt *a)
{
	struct share *s = a->share;

	end_process(a, &s->pidfd);
	close(s->relay);
	s->keeper = a->keeper;
	s->pidfd = a->pidfd;
	s->relay = a->relay;
	a->pidfd = a->relay = -1;
}

static int open_ends(struct attempt *a)
{
	int ready[2], go[2], link[2], relay[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ready) < 0)
		return fail(a, "can't make a socket pair: %m");
	a->ready = ready[0];
	a->to.ready = ready[1];
	if (pipe2(go, O_CLOEXEC) < 0)
		return fail(a, "can't make a pipe: %m");
	a->to.go = go[0];
	a->go = go[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0)
		return fail(a, "can't make a socket pair: %m");
	a->link = link[0];
	a->to.link = link[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, relay) < 0)
		return fail(a, "can't make a socket pair: %m");
	a->relay = relay[0];
	a->to.relay = relay[1];
	return 0;
}

static void close_ends(struct attempt *a)
{
	const int fds[] = {a->ready, a->go, a->link, a->relay, a->to.ready,
			   a->to.go, a->to.link, a->to.relay};

	end_process(a, &a->pidfd);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int attempt(struct attempt *a)
{
	struct share *s = a->share;
	int message, err;

	if (s->pidfd < 0 || s->relay < 0 || s->dir < 0 || !s->ops->describe)
		return fail(a, "it can't be handed over");
	if (!program[0])
		return fail(a, "the program's name is not known");
	err = open_ends(a);
	if (err)
		return err;
	s->ops->describe(s->arg, &a->to);
	message = handover_write(s->config, &a->to);
	if (message < 0)
		return fail(a, "can't write the handover message: %s",
			    strerror(-message));
	err = start_program(a, message);
	close(message);
	if (!err)
		err = hand_over(a);
	if (!err)
		replace(a);
	return err;
}

void share_upgrade(const struct config *c, struct share *s)
{
	struct attempt *a = calloc(1, sizeof(*a));
	const char *tag = s->config->tag;
	int64_t began = clock_ms();
	int err = -ENOMEM;

	if (a) {
		*a = (struct attempt){
			.share = s, .ready = -1, .go = -1, .link = -1,
			.relay = -1, .pidfd = -1,
			.to = {
				.config = {.command = c->command,
					   .verbose = c->verbose,
					   .syslog = c->syslog},
				.keeper = (int)s->keeper, .dir = s->dir,
				.stats = s->stats_fd, .ready = -1, .go = -1,
				.link = -1, .relay = -1,
			},
		};
		err = attempt(a);
		close_ends(a);
	}
	if (!err)
		log_note("share '%s': %s has taken over within %d ms", tag,
			 program, (int)(clock_ms() - began));
	else
		log_error("share '%s' goes on as it is: %s", tag,
			  a ? a->why : "out of memory");
	if (s->stats)
		stats_tell(s->stats, err ? a ? a->why : "" : NULL);
	free(a);
}
