/* SPDX-License-Identifier: MIT */
/*
 * The file server alone: the socket on which a VMM finds it, and the wait for
 * its end. The socket comes from a path, from a descriptor of the caller's
 * (libvirt's way), or from systemd (LISTEN_FDS). A path may be longer than an
 * address holds: it is bound through a descriptor of its directory.
 *
 * A path that exists is taken over only if it is a socket that nobody listens
 * on, as a killed server of an earlier version might have left. Ours is
 * removed at the end, by the guardian if need be.
 */

#include "launch/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the socket ---------------------------------------------------------- */

/* "/proc/self/fd/N/NAME" for @path; *@dir is to be closed afterwards. */
static int socket_address(const char *path, struct sockaddr_un *addr, int *dir)
{
	char copy[PATH_MAX], name[PATH_MAX];
	int n;

	if (strlen(path) >= sizeof(copy))
		return -ENAMETOOLONG;
	strcpy(copy, path);
	*dir = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return -errno;
	strcpy(copy, path);
	strcpy(name, basename(copy));
	addr->sun_family = AF_UNIX;
	n = snprintf(addr->sun_path, sizeof(addr->sun_path),
		     "/proc/self/fd/%d/%s", *dir, name);
	return n < (int)sizeof(addr->sun_path) ? 0 : -ENAMETOOLONG;
}

/* Remove a socket at @addr that nobody listens on; else -EADDRINUSE. */
static int remove_stale(int sock, const struct sockaddr_un *addr)
{
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (connect(sock, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
	    errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

/* gid of a group by name or number: a static binary has no NSS. */
static int find_group(const char *name, gid_t *gid)
{
	FILE *file = fopen("/etc/group", "re");
	size_t len = strlen(name);
	char line[4096];
	uint64_t value;
	int err = -ENOENT;

	if (parse_u64(name, 0, UINT32_MAX - 1, &value) == 0) {
		*gid = (gid_t)value;
		err = 0;
	}
	while (err && file && fgets(line, sizeof(line), file)) {
		const char *id;

		if (strncmp(line, name, len) != 0 || line[len] != ':')
			continue;
		id = strchr(line + len + 1, ':');
		if (!id)
			continue;
		*gid = (gid_t)strtoul(id + 1, NULL, 10);
		err = 0;
	}
	if (file)
		fclose(file);
	return err;
}

static int give_to_group(const struct sockaddr_un *addr, const char *group)
{
	gid_t gid;
	int err = find_group(group, &gid);

	if (err)
		return err;
	if (chown(addr->sun_path, (uid_t)-1, gid) < 0 ||
	    chmod(addr->sun_path, 0660) < 0)
		return -errno;
	return 0;
}

static int bind_path(const struct config *c, int sock,
		     struct guardian *guardian)
{
	struct sockaddr_un addr = {0};
	int dir = -1, err;
	bool bound = false;
	mode_t mask;

	err = socket_address(c->socket_path, &addr, &dir);
	if (!err)
		err = remove_stale(sock, &addr);
	if (!err)
		err = guardian_file(guardian, c->socket_path);
	if (!err) {
		mask = umask(0077);
		if (bind(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			err = -errno;
		umask(mask);
		bound = !err;
	}
	if (!err && c->socket_group)
		err = give_to_group(&addr, c->socket_group);
	if (!err && listen(sock, 1) < 0)
		err = -errno;
	if (err && bound)
		unlink(addr.sun_path);
	if (dir >= 0)
		close(dir);
	return err;
}

static int listen_path(const struct config *c, struct guardian *guardian,
		       int *fd)
{
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = sock < 0 ? -errno : bind_path(c, sock, guardian);

	if (err == -EADDRINUSE)
		log_error("--socket %s: another process listens on it",
			  c->socket_path);
	else if (err == -EEXIST)
		log_error("--socket %s: exists and is not a socket",
			  c->socket_path);
	else if (err == -ENOENT && c->socket_group)
		log_error("--socket %s: no such directory or group '%s'",
			  c->socket_path, c->socket_group);
	else if (err)
		log_error("--socket %s: %s", c->socket_path, strerror(-err));
	if (err) {
		if (sock >= 0)
			close(sock);
		return EXIT_REFUSED;
	}
	*fd = sock;
	return 0;
}

/* A stream socket that the caller passed on. */
static int take_fd(int given, const char *what, int *fd)
{
	socklen_t len = sizeof(int);
	int type = 0;

	if (getsockopt(given, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
		log_error("%s %d: %m", what, given);
		return EXIT_REFUSED;
	}
	if (type != SOCK_STREAM) {
		log_error("%s %d: not a stream socket", what, given);
		return EXIT_REFUSED;
	}
	(void)fcntl(given, F_SETFD, FD_CLOEXEC);
	*fd = given;
	return 0;
}

/* sd_listen_fds(3): descriptor 3 is ours if LISTEN_PID is. */
static bool activated(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t value;

	return pid && fds && parse_u64(pid, 1, INT_MAX, &value) == 0 &&
	       value == (uint64_t)getpid() &&
	       parse_u64(fds, 1, 1, &value) == 0;
}

static bool is_listening(int sock)
{
	socklen_t len = sizeof(int);
	int on = 0;

	return getsockopt(sock, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 &&
	       on;
}

/* What serve_wait() looks at: from here on none of them ends the process. */
static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
	sigprocmask(SIG_BLOCK, set, NULL);
}

int serve_listen(const struct config *c, struct guardian *guardian, int *fd,
		 enum serve_how *how)
{
	int status = EXIT_REFUSED;
	sigset_t set;

	/* Whoever sees the socket may send one. */
	block_signals(&set);
	if (c->listen_fd >= 0)
		status = take_fd(c->listen_fd, "--fd", fd);
	else if (c->socket_path)
		status = listen_path(c, guardian, fd);
	else if (activated())
		status = take_fd(3, "LISTEN_FDS: descriptor", fd);
	else
		log_error("serve needs --socket PATH or --fd N");
	if (!status)
		*how = !is_listening(*fd) ? SERVE_CONNECTED :
		       c->once		  ? SERVE_ONCE :
					    SERVE_LISTENING;
	return status;
}

/* ---- in a worker --------------------------------------------------------- */

/* For so long a guest's locks stay when its front end has left. */
#define RETURN_MS	10000

/*
 * The next connection, at a descriptor that a successor knows: it is reserved
 * by a copy of the listening socket while there is none. 0 or -errno.
 */
static int accept_next(struct serve_state *st, int sock)
{
	int conn;

	if (!st->conn) {
		conn = fcntl(sock, F_DUPFD_CLOEXEC, 3);
		if (conn < 0)
			return -errno;
		st->conn = conn;
	}
	do
		conn = accept4(sock, NULL, NULL, SOCK_CLOEXEC);
	while (conn < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (conn < 0 || dup3(conn, st->conn, O_CLOEXEC) < 0)
		return -errno;
	__atomic_store_n(&st->connected, 1, __ATOMIC_RELEASE);
	close(conn);
	log_debug("a front end connected");
	return 0;
}

/* A front end left, and may come back: not for ever. */
static void await_return(int sock, struct serve_state *st,
			 int (*run)(void *ctx, int conn), void *ctx)
{
	struct pollfd pfd = {.fd = sock, .events = POLLIN};

	if (poll(&pfd, 1, RETURN_MS) == 0) {
		log_debug("it did not come back");
		(void)run(ctx, -1);
	}
	st->left = 0;
}

int serve_connections(int sock, enum serve_how how, struct serve_state *st,
		      int (*run)(void *ctx, int conn), void *ctx)
{
	int err;

	if (how == SERVE_CONNECTED) {
		err = run(ctx, sock);
		if (err)
			log_error("connection to QEMU: %s", strerror(-err));
		return err ? 1 : 0;
	}
	do {
		if (st->left && !st->connected)
			await_return(sock, st, run, ctx);
		err = st->connected ? 0 : accept_next(st, sock);
		if (err) {
			log_error("accept: %s", strerror(-err));
			return 1;
		}
		err = run(ctx, st->conn);
		st->left = err > 0;
		__atomic_store_n(&st->connected, 0, __ATOMIC_RELEASE);
		/* Hangs up, and keeps the number. */
		if (dup3(sock, st->conn, O_CLOEXEC) < 0)
			return 1;
		if (err > 0)
			return SHARE_AGAIN;
		if (err)
			log_warning("connection: %s", strerror(-err));
	} while (how == SERVE_LISTENING);
	return 0;
}

/* ---- the wait ------------------------------------------------------------ */

struct serving {
	struct report report;
};

static void on_event(void *ctx, struct share *share, char event)
{
	struct serving *s = ctx;
	const char *tag = share->config->tag;

	switch (event) {
	case SHARE_MOUNTED:
		log_info("share '%s' is mounted", tag);
		report_share(&s->report, "mounted", tag);
		break;
	case SHARE_UNMOUNTED:
		report_share(&s->report, "unmounted", tag);
		break;
	case SHARE_NOT_SHARED:
		log_error("share '%s': the guest's memory is not shared with "
			  "the file server", tag);
		log_hint("QEMU needs a memory back end with share=on");
		break;
	default:
		break;
	}
}

/* Poll until the end: an exit status. */
static int wait_loop(struct serving *s, const struct config *c,
		     struct share *share, int signals)
{
	for (;;) {
		struct signalfd_siginfo info;
		struct pollfd fds[] = {
			{.fd = signals, .events = POLLIN},
			{.fd = share->events, .events = POLLIN},
			{.fd = share->pidfd, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno == EINTR)
				continue;
			log_error("poll: %m");
			return EXIT_SERVER_FAILED;
		}
		if (fds[1].revents)
			share_read_events(share, on_event, s);
		if (fds[2].revents)
			return share_reap(share) ? EXIT_SERVER_FAILED : 0;
		if (!fds[0].revents ||
		    read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		/* To be told to end is how a server ends (libvirt's way). */
		if (info.ssi_signo == SIGUSR1)
			share_ask(share);
		else if (info.ssi_signo == SIGUSR2)
			share_succeed(c, share);
		else
			return info.ssi_signo == SIGTERM ? 0 :
				128 + (int)info.ssi_signo;
	}
}

int serve_wait(const struct config *c, struct share *share,
	       struct guardian *guardian)
{
	int signals, status = EXIT_REFUSED;
	struct serving s;
	sigset_t set;

	block_signals(&set);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		log_error("can't receive signals: %m");
	else if (report_open(&s.report, c, guardian) == 0) {
		report_started(&s.report, share->keeper);
		report_ready(&s.report);
		status = wait_loop(&s, c, share, signals);
		share_read_events(share, on_event, &s);
		report_exit(&s.report, status, "vmshare");
	}
	share_stop(share);
	if (c->socket_path && c->listen_fd < 0)
		unlink(c->socket_path);
	if (signals >= 0)
		close(signals);
	return status;
}
