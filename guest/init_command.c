/* SPDX-License-Identifier: MIT */
/*
 * The command in the guest, and init's side of its streams.
 *
 * Each stream is a flow: a source, a buffer, a destination.
 *
 *	in	port "in"		→ pipe, or the terminal's master
 *	out	pipe, or the master	→ port "out"
 *	err	pipe, or the master	→ port "err"
 *
 * A flow reads only when its buffer is empty and writes only when it is not,
 * so a slow side stops the other and nothing grows. All its descriptors are
 * non-blocking; a write to a port takes up to 32 KiB into the ring and does
 * not wait for the host, so the ring itself is the queue. The control port
 * alone blocks: a frame is with QEMU when its write returns.
 *
 * The end of stdin is a frame with a byte count, not a closed port: a count
 * can't overtake the data. When the command has ended everything else in the
 * guest is killed, so that the pipes end too, and what they still hold is
 * relayed. Children that are not ours are reaped like init must.
 *
 * If one of out and err is a terminal, there is one pseudo terminal; its
 * master is read by one flow (out's if out is a terminal, else err's). If in
 * is not, the terminal is for output only and leaves newlines as they are,
 * because the host's own terminal is then not in raw mode.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "guest/init.h"

/* After the command's end, how long a pipe may stay open and silent (a killed
 * process that hangs in the kernel still holds it). */
#define COMMAND_LINGER_MS 2000

struct flow {
	int src, dst;		/* -1: closed */
	size_t off, len;	/* what buf holds */
	uint64_t moved;		/* bytes written to dst */
	char buf[GUEST_CHUNK];
};

enum { FLOW_IN, FLOW_OUT, FLOW_ERR, FLOWS };
enum { POLL_CONTROL, POLL_SIGNAL, POLL_FLOWS, POLLS = POLL_FLOWS + 2 * FLOWS };

struct command {
	const struct guest_spec *spec;
	const struct init_user *user;
	const struct init_ports *ports;
	struct flow flow[FLOWS];
	uint64_t in_end;	/* bytes that stdin will have; UINT64_MAX */
	uint64_t in_taken;	/* bytes read from the port */
	int master, slave;	/* of the terminal, or -1 */
	int child_fd[3];	/* the command's own ends */
	bool in_tty;		/* stdin is the terminal */
	int signals;		/* signalfd for SIGCHLD */
	pid_t pid;
	bool ended;		/* the command */
	bool confirmed, gone;	/* by the host; the host itself */
	int status;
	struct guest_frame partial; /* of the control port */
	size_t partial_len;
};

/* One guest, one command: its buffers need no heap. */
static struct command command;

uint64_t init_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void init_send(const struct init_ports *ports, const struct guest_frame *frame)
{
	const char *p = (const char *)frame;
	size_t left = sizeof(*frame);

	while (left > 0 && ports->fd[GUEST_PORT_CONTROL] >= 0) {
		ssize_t n = write(ports->fd[GUEST_PORT_CONTROL], p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;	/* no host: the end of the port says so too */
		p += n;
		left -= (size_t)n;
	}
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- starting ----------------------------------------------------------- */

static int open_terminal(struct command *c)
{
	const struct guest_spec *spec = c->spec;
	struct winsize size = { .ws_row = spec->rows, .ws_col = spec->cols };
	struct termios mode;
	int unlock = 0;

	c->master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC |
			 O_NONBLOCK);
	if (c->master < 0 || ioctl(c->master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	c->slave = ioctl(c->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->slave < 0 || fchown(c->slave, c->user->uid, (gid_t)-1) < 0)
		return -errno;
	ioctl(c->master, TIOCSWINSZ, &size);
	if (!(spec->tty & GUEST_TTY_IN) && tcgetattr(c->slave, &mode) == 0) {
		mode.c_oflag &= ~(tcflag_t)OPOST;
		tcsetattr(c->slave, TCSANOW, &mode);
	}
	return 0;
}

/* A pipe for stream @i; init's end is non-blocking, only the child's blocks. */
static int open_pipe(struct command *c, int i, int *ours)
{
	int fds[2], mine = i == 0 ? 1 : 0;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[mine];
	c->child_fd[i] = fds[1 - mine];
	return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int open_stream(struct command *c, int i, unsigned int bit,
		       bool reads_master, int *ours)
{
	if (!(c->spec->tty & bit) || c->slave < 0)
		return open_pipe(c, i, ours);
	c->child_fd[i] = c->slave;
	if (reads_master) {
		*ours = fcntl(c->master, F_DUPFD_CLOEXEC, 0);
		return *ours < 0 ? -errno : 0;
	}
	return 0;
}

static int open_streams(struct command *c)
{
	bool out_tty = c->spec->tty & GUEST_TTY_OUT;
	int ret = 0;

	c->flow[FLOW_IN].src = c->ports->fd[GUEST_PORT_IN];
	c->flow[FLOW_OUT].dst = c->ports->fd[GUEST_PORT_OUT];
	c->flow[FLOW_ERR].dst = c->ports->fd[GUEST_PORT_ERR];
	if (c->spec->tty & (GUEST_TTY_OUT | GUEST_TTY_ERR))
		ret = open_terminal(c);
	c->in_tty = (c->spec->tty & GUEST_TTY_IN) && c->slave >= 0;
	if (ret == 0)
		ret = open_stream(c, 0, GUEST_TTY_IN, true,
				  &c->flow[FLOW_IN].dst);
	if (ret == 0)
		ret = open_stream(c, 1, GUEST_TTY_OUT, true,
				  &c->flow[FLOW_OUT].src);
	if (ret == 0)
		ret = open_stream(c, 2, GUEST_TTY_ERR, !out_tty,
				  &c->flow[FLOW_ERR].src);
	return ret;
}

/* NAME=VALUE strings: the caller's over ours; ended by NULL. */
static char **build_environment(const struct guest_spec *spec,
				const struct init_user *user)
{
	static const char *const names[] = {
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG",
	};
	const char *values[] = {
		"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		user->home, user->name, user->name, user->shell, "linux",
		"C.UTF-8",
	};
	const size_t ours = sizeof(names) / sizeof(names[0]);
	size_t theirs = 0, n = 0, i, j;
	char **env;

	while (spec->env && spec->env[theirs])
		theirs++;
	env = calloc(ours + theirs + 1, sizeof(*env));
	for (i = 0; env && i < theirs; i++)
		env[n++] = (char *)(uintptr_t)spec->env[i];
	for (i = 0; env && i < ours; i++) {
		size_t len = strlen(names[i]);

		for (j = 0; j < theirs; j++)
			if (strncmp(env[j], names[i], len) == 0 &&
			    env[j][len] == '=')
				break;
		if (j == theirs &&
		    asprintf(&env[n], "%s=%s", names[i], values[i]) > 0)
			n++;
	}
	return env;
}

/* In the child. Returns only when it failed, with errno, before the exec. */
static void become_command(struct command *c)
{
	const struct init_user *user = c->user;
	sigset_t none;
	int i;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	if (c->slave >= 0 && ioctl(c->slave, TIOCSCTTY, 0) < 0)
		return;
	for (i = 0; i < 3; i++)
		if (dup2(c->child_fd[i], i) < 0)
			return;
	if (setgroups(user->nr_groups, user->groups) < 0 ||
	    setgid(user->gid) < 0 || setuid(user->uid) < 0)
		return;
	errno = 0;
}

static _Noreturn void run_child(struct command *c, int failed)
{
	const char *shell[] = { c->user->shell, NULL };
	const char *const *argv = c->spec->argv ? c->spec->argv : shell;
	int error = 0;

	become_command(c);
	if (errno == 0) {
		environ = build_environment(c->spec, c->user);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		if (!c->spec->argv)
			execl("/bin/sh", "sh", (char *)NULL);
		error = errno;
		fprintf(stderr, "vmshare: error: %s: %s\n", argv[0],
			strerror(error));
		_exit(error == ENOENT ? 127 : 126);
	}
	error = errno;
	if (write(failed, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(126);
}

static int start_command(struct command *c, struct guest_error *err)
{
	int failed[2], error = 0, i;
	const char *cwd = c->spec->cwd ? c->spec->cwd : "/";

	if (chdir(cwd) < 0)
		return guest_fail(err, -errno, "working directory %s: %s", cwd,
				  strerror(errno));
	if (pipe2(failed, O_CLOEXEC) < 0)
		return guest_fail(err, -errno, "pipe: %s", strerror(errno));
	c->pid = fork();
	if (c->pid == 0)
		run_child(c, failed[1]);
	error = c->pid < 0 ? errno : 0;
	close(failed[1]);
	for (i = 0; i < 3; i++)
		if (c->child_fd[i] != c->slave)
			close_fd(&c->child_fd[i]);
	close_fd(&c->slave);
	/* Ends with the exec, or with the child. */
	if (error == 0 && read(failed[0], &error, sizeof(error)) < 0)
		error = errno;
	close(failed[0]);
	if (chdir("/") < 0 || error)
		return guest_fail(err, error ? -error : -errno,
				  "starting the command: %s",
				  strerror(error ? error : errno));
	return 0;
}

/* ---- relaying ----------------------------------------------------------- */

/* Read into an empty buffer. A pty whose last user closed it reads EIO. */
static void flow_read(struct flow *f, size_t max)
{
	ssize_t n = read(f->src, f->buf,
			 max < sizeof(f->buf) ? max : sizeof(f->buf));

	if (n > 0) {
		f->off = 0;
		f->len = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close_fd(&f->src);
	}
}

static void flow_write(struct flow *f)
{
	ssize_t n = write(f->dst, f->buf + f->off, f->len);

	if (n > 0) {
		f->off += (size_t)n;
		f->len -= (size_t)n;
		f->moved += (uint64_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		f->len = 0;
		close_fd(&f->dst);
	}
}

/* The command reads no more: tell the host, and let the port be. */
static void close_input(struct command *c, bool tell)
{
	struct flow *f = &c->flow[FLOW_IN];
	const struct guest_frame frame = { .type = FRAME_IN_CLOSED };

	close_fd(&f->dst);
	f->src = -1;
	f->len = 0;
	if (tell)
		init_send(c->ports, &frame);
}

/* All of stdin was passed on: a pipe ends, a terminal sees its end key. */
static void end_input(struct command *c)
{
	struct flow *f = &c->flow[FLOW_IN];
	struct termios mode;

	if (c->in_tty && c->master >= 0 && tcgetattr(c->master, &mode) == 0 &&
	    write(f->dst, &mode.c_cc[VEOF], 1) < 0)
		kill(-c->pid, SIGHUP);
	close_input(c, false);
}

static void take_frame(struct command *c, const struct guest_frame *f)
{
	struct winsize size = {
		.ws_row = (unsigned short)(f->code >> 16),
		.ws_col = (unsigned short)f->code,
	};
	pid_t group = c->pid;

	switch (f->type) {
	case FRAME_IN_END:
		c->in_end = f->count[0];
		break;
	case FRAME_OUT_CLOSED:
		if (f->code == GUEST_PORT_OUT)
			close_fd(&c->flow[FLOW_OUT].src);
		if (f->code == GUEST_PORT_ERR)
			close_fd(&c->flow[FLOW_ERR].src);
		break;
	case FRAME_RESIZE:
		if (c->master >= 0)
			ioctl(c->master, TIOCSWINSZ, &size);
		break;
	case FRAME_SIGNAL:
		if (c->master >= 0)
			ioctl(c->master, TIOCGPGRP, &group);
		if (!c->ended && group > 0)
			kill(-group, (int)f->code);
		break;
	case FRAME_CONFIRM:
		c->confirmed = true;
		break;
	default:
		break;
	}
}

static void read_control(struct command *c)
{
	size_t have = c->partial_len;
	ssize_t n = 0;

	/* Always so; without it gcc 14's _FORTIFY_SOURCE sees an overflow. */
	if (have < sizeof(c->partial))
		n = read(c->ports->fd[GUEST_PORT_CONTROL],
			 (char *)&c->partial + have, sizeof(c->partial) - have);
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		c->gone = true;
	if (n <= 0)
		return;
	c->partial_len += (size_t)n;
	if (c->partial_len == sizeof(c->partial)) {
		c->partial_len = 0;
		take_frame(c, &c->partial);
	}
}

static void reap_children(struct command *c)
{
	struct signalfd_siginfo drop;
	int status;
	pid_t pid;

	if (read(c->signals, &drop, sizeof(drop)) < 0 && errno != EAGAIN)
		return;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != c->pid || c->ended)
			continue;
		c->ended = true;
		c->status = WIFEXITED(status) ? WEXITSTATUS(status) :
			128 + WTERMSIG(status);
		close_input(c, false);
		close_fd(&c->master);
		kill(-1, SIGKILL);
	}
}

static void watch(struct pollfd *p, int fd, short events)
{
	p->fd = fd;
	p->events = events;
	p->revents = 0;
}

static void watch_all(struct command *c, struct pollfd *p)
{
	int i;

	watch(&p[POLL_CONTROL], c->ports->fd[GUEST_PORT_CONTROL], POLLIN);
	watch(&p[POLL_SIGNAL], c->signals, POLLIN);
	for (i = 0; i < FLOWS; i++) {
		const struct flow *f = &c->flow[i];
		struct pollfd *src = &p[POLL_FLOWS + 2 * i], *dst = src + 1;
		bool take = f->len == 0;

		if (i == FLOW_IN && c->in_taken == c->in_end)
			take = false;
		watch(src, take ? f->src : -1, POLLIN);
		/* The end of stdin's reader shows in a pipe at any time; the
		 * state of a port or terminal would wake us for nothing. */
		watch(dst, f->len || (i == FLOW_IN && !c->in_tty) ? f->dst : -1,
		      f->len ? POLLOUT : 0);
	}
}

static void relay(struct command *c, const struct pollfd *p)
{
	int i;

	for (i = 0; i < FLOWS; i++) {
		struct flow *f = &c->flow[i];
		const struct pollfd *src = &p[POLL_FLOWS + 2 * i];
		const struct pollfd *dst = src + 1;

		if (i == FLOW_IN && f->dst >= 0 && (dst->revents & POLLERR)) {
			close_input(c, true);
			continue;
		}
		if (f->src >= 0 && src->fd == f->src && src->revents) {
			size_t max = sizeof(f->buf);

			if (i == FLOW_IN && c->in_end - c->in_taken < max)
				max = c->in_end - c->in_taken;
			flow_read(f, max);
			if (i == FLOW_IN)
				c->in_taken += f->len;
		}
		if (f->len && f->dst >= 0 &&
		    (src->revents || (dst->revents & ~POLLERR)))
			flow_write(f);
	}
	if (c->flow[FLOW_IN].dst >= 0 && c->flow[FLOW_IN].len == 0 &&
	    c->in_taken == c->in_end)
		end_input(c);
}

static bool drained(const struct command *c)
{
	return c->ended && c->flow[FLOW_OUT].src < 0 &&
		c->flow[FLOW_ERR].src < 0 && c->flow[FLOW_OUT].len == 0 &&
		c->flow[FLOW_ERR].len == 0;
}

static int relay_until_end(struct command *c)
{
	struct pollfd p[POLLS];
	int i;

	while (!drained(c) && !c->gone) {
		int n;

		watch_all(c, p);
		n = poll(p, POLLS, c->ended ? COMMAND_LINGER_MS : -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (i = FLOW_OUT; n == 0 && i <= FLOW_ERR; i++)
			if (c->flow[i].len == 0)
				close_fd(&c->flow[i].src);
		if (n <= 0)
			continue;
		if (p[POLL_SIGNAL].revents)
			reap_children(c);
		if (p[POLL_CONTROL].revents)
			read_control(c);
		relay(c, p);
	}
	return c->gone ? -EPIPE : 0;
}

int init_run_command(const struct guest_spec *spec,
		     const struct init_user *user,
		     const struct init_ports *ports, struct guest_frame *done,
		     struct guest_error *err)
{
	struct guest_frame running = { .type = FRAME_RUNNING };
	struct command *c = &command;
	sigset_t child;
	int i, ret;

	c->spec = spec;
	c->user = user;
	c->ports = ports;
	c->in_end = UINT64_MAX;
	c->master = c->slave = -1;
	for (i = 0; i < FLOWS; i++)
		c->flow[i].src = c->flow[i].dst = c->child_fd[i] = -1;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	c->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	ret = c->signals < 0 ? -errno : open_streams(c);
	if (ret < 0)
		return guest_fail(err, ret, "the command's streams: %s",
				  guest_strerror(ret));
	ret = start_command(c, err);
	if (ret < 0)
		return ret;
	running.count[0] = init_clock();
	init_send(ports, &running);
	ret = relay_until_end(c);
	done->type = FRAME_EXITED;
	done->code = (uint32_t)c->status;
	done->count[0] = c->flow[FLOW_IN].moved;
	done->count[1] = c->flow[FLOW_OUT].moved;
	done->count[2] = c->flow[FLOW_ERR].moved;
	return ret;
}

bool init_wait_confirm(void)
{
	while (!command.confirmed && !command.gone)
		read_control(&command);
	return command.confirmed;
}
