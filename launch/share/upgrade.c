/* SPDX-License-Identifier: MIT */
/*
 * A running share gets another program: the one that now has the name that
 * this one was started by. The parent of the keeper does it, which is not
 * confined, and stays what it is; keeper and workers are the program that
 * reads what a guest wrote.
 *
 *	parent		starts the program with a letter		letter.c
 *	program		forks its keeper as the parent's child
 *	new keeper	confines itself where the old one is, says so
 *	parent		gives the old one a socket to the new one and SIGUSR2
 *	old keeper	ends its worker; a child of it sends all that is open
 *	new keeper	tries whether a worker can go on with it, says so
 *	parent		kills the old keeper, then lets the new one begin
 *
 * Up to the last step the new one may refuse, die or be late: then it is
 * killed, which the old one notices at its socket, and the old one goes on. A
 * guest sees a pause of some milliseconds in either case. The parent waits in
 * the meantime, but never for longer than a deadline.
 *
 * Nothing that a guest wrote is read here.
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

#define UPGRADE_MS		10000	/* for each of its steps */

/* Absolute, or "" where it is not known. */
static char program[PATH_MAX];

/* An attempt. */
struct attempt {
	struct share *share;
	struct upgrade heir;	/* its ends */
	int ready, go, link, relay;	/* ours, but link is the old keeper's */
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

static _Noreturn void program_main(struct attempt *a, int letter)
{
	const int keep[] = {letter, a->heir.dir, a->heir.stats, a->heir.ready,
			    a->heir.go, a->heir.link, a->heir.relay};
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
		snprintf(number, sizeof(number), "%d", letter);
		execl(program, program, UPGRADE_COMMAND, number, NULL);
	}
	snprintf(line, sizeof(line), "%c%s: %m", UPGRADE_REFUSES, program);
	(void)!write(a->heir.ready, line, strlen(line + 1) + 1);
	_exit(EXIT_REFUSED);
}

/* What program or keeper says, which is to be @word: its length, or -errno. */
static int hear(struct attempt *a, enum upgrade_word word, char *line,
		size_t size)
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
		return fail(a, "%s speaks another language", program);
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
	/* A child is not reaped by anyone else: the number is still its. */
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
static int start_program(struct attempt *a, int letter)
{
	int *slot = guardian_slot(a->share->guardian), pidfd, err;
	char line[512];
	long pid;

	if (!slot)
		return fail(a, "can't watch a new process");
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, slot, 0, 0);
	if (pid == 0)
		program_main(a, letter);
	if (pid < 0)
		return fail(a, "can't fork: %s", process_error(-errno));
	pidfd = *slot;
	/* Theirs: an end of theirs is seen here only when we have none. */
	close(a->heir.ready);
	close(a->heir.go);
	close(a->heir.link);
	close(a->heir.relay);
	a->heir.ready = a->heir.go = a->heir.link = a->heir.relay = -1;
	err = hear(a, UPGRADE_FORKED, line, sizeof(line));
	if (err > 0)
		err = watch_keeper(a, line, err);
	end_process(a, &pidfd);
	return err;
}

/* ---- the share ----------------------------------------------------------- */

/* The new keeper is up to it: give it what the old one has. */
static int hand_over(struct attempt *a)
{
	struct share *s = a->share;
	char line[512];
	int err;

	if (write(a->go, "", 1) != 1)
		return fail(a, "%s ended before it took over", program);
	err = hear(a, UPGRADE_READY, line, sizeof(line));
	if (err < 0)
		return err;
	err = descriptors_pass(s->relay, a->link);
	close(a->link);
	a->link = -1;
	if (err || syscall(SYS_pidfd_send_signal, s->pidfd, SIGUSR2, NULL, 0))
		return fail(a, "the old file server is gone");
	err = hear(a, UPGRADE_READY, line, sizeof(line));
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
	a->heir.ready = ready[1];
	if (pipe2(go, O_CLOEXEC) < 0)
		return fail(a, "can't make a pipe: %m");
	a->heir.go = go[0];
	a->go = go[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0)
		return fail(a, "can't make a socket pair: %m");
	a->link = link[0];
	a->heir.link = link[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, relay) < 0)
		return fail(a, "can't make a socket pair: %m");
	a->relay = relay[0];
	a->heir.relay = relay[1];
	return 0;
}

static void close_ends(struct attempt *a)
{
	const int fds[] = {a->ready, a->go, a->link, a->relay, a->heir.ready,
			   a->heir.go, a->heir.link, a->heir.relay};

	end_process(a, &a->pidfd);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int attempt(struct attempt *a)
{
	struct share *s = a->share;
	int letter, err;

	if (s->pidfd < 0 || s->relay < 0 || s->dir < 0 || !s->ops->describe)
		return fail(a, "it is not to be handed over");
	if (!program[0])
		return fail(a, "the program's name is not known");
	err = open_ends(a);
	if (err)
		return err;
	s->ops->describe(s->arg, &a->heir);
	letter = handover_write(s->config, &a->heir);
	if (letter < 0)
		return fail(a, "can't write a letter: %s", strerror(-letter));
	err = start_program(a, letter);
	close(letter);
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
			.heir = {
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
