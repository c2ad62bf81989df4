/* SPDX-License-Identifier: MIT */
/*
 * A server's socket, on which a VMM finds it, and in a worker what comes to
 * that socket, one front end after the other. The socket comes from a path,
 * from a descriptor of the caller's (libvirt's way), or from systemd
 * (LISTEN_FDS). A path may be longer than an address holds: it is bound through
 * a descriptor of its directory then.
 *
 * A path that exists is taken over only if it is a socket that no process has
 * open, as a server might have left that was killed with its guardian. To
 * connect() would tell, but would also be the one client of a server that
 * takes one: so it is tried with a socket of another type, which the kernel
 * refuses with another error where there is somebody, unseen by them.
 *
 * Between that and unlink() a second server could do the same and have bound
 * its own by then. So the directory is locked meanwhile: a file made for that
 * would stay behind, an abstract name is one of a network namespace, and the
 * socket itself can't be locked. Where a directory can't be read, or its file
 * system has no locks, it goes without: these microseconds are all that is at
 * stake, since bind() replaces nothing.
 *
 * Ours is removed at the end, by the guardian if need be, unless the name is
 * another's by then.
 */

#include "launch/share/share.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_MS		2000	/* for others that start */
#define LOCK_STEP_MS	5

/* ---- the socket ---------------------------------------------------------- */

/*
 * @path, or "/proc/self/fd/N/NAME" where that is too long; *@dir is to be
 * closed afterwards.
 */
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
	if (strlen(path) < sizeof(addr->sun_path)) {
		strcpy(addr->sun_path, path);
		return 0;
	}
	n = snprintf(addr->sun_path, sizeof(addr->sun_path),
		     "/proc/self/fd/%d/%s", *dir, name);
	return n < (int)sizeof(addr->sun_path) ? 0 : -ENAMETOOLONG;
}

/* Has any process the socket at @addr open? 0, -EADDRINUSE, or -errno. */
static int probe_socket(const struct sockaddr_un *addr)
{
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = -EADDRINUSE;

	if (sock < 0)
		return -errno;
	if (connect(sock, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
	    errno != EPROTOTYPE)
		err = errno == ECONNREFUSED ? 0 : -errno;
	close(sock);
	return err;
}

/*
 * A lock that is held for longer is another program's: it is not waited for.
 * The descriptor is the lock; -1 where the directory can't be locked.
 */
static int lock_directory(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int ms = 0; fd >= 0 && ms < LOCK_MS; ms += LOCK_STEP_MS) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			break;
		if (errno != EWOULDBLOCK)
			break;
		poll(NULL, 0, LOCK_STEP_MS);
	}
	return fd;
}

/* Remove a socket that no process has; else -EADDRINUSE, -EEXIST, -errno. */
static int remove_stale(int dir, const struct sockaddr_un *addr)
{
	struct stat st;
	int lock, err;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	lock = lock_directory(dir);
	if (lstat(addr->sun_path, &st) < 0)
		err = errno == ENOENT ? 0 : -errno;
	else if (!S_ISSOCK(st.st_mode))
		err = -EEXIST;
	else
		err = probe_socket(addr);
	if (!err && unlink(addr->sun_path) < 0 && errno != ENOENT)
		err = -errno;
	if (lock >= 0)
		close(lock);
	return err;
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

/* bind(), and have the guardian remove what it makes. 0 or -errno. */
static int bind_guarded(const char *path, int sock,
			const struct sockaddr_un *addr,
			struct guardian *guardian)
{
	int slot = guardian_file(guardian, path), err = 0, fd = -1;
	mode_t mask;

	if (slot < 0)
		return slot;
	mask = umask(0077);
	if (bind(sock, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		err = -errno;
	umask(mask);
	if (!err) {
		fd = open(addr->sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		err = fd < 0 ? -errno : 0;
	}
	guardian_made(guardian, slot, fd);
	return err;
}

static int bind_path(const struct config *c, int sock,
		     struct guardian *guardian)
{
	struct sockaddr_un addr = {0};
	int dir = -1, err;

	err = socket_address(c->socket_path, &addr, &dir);
	if (!err)
		err = remove_stale(dir, &addr);
	if (!err)
		err = bind_guarded(c->socket_path, sock, &addr, guardian);
	if (!err && c->socket_group)
		err = give_to_group(&addr, c->socket_group);
	if (!err && listen(sock, 1) < 0)
		err = -errno;
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

void serve_block_signals(sigset_t *set)
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

	/* From now on the socket exists, and signals may be sent. */
	serve_block_signals(&set);
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
#define ACCEPT_PAUSE_MS	200	/* where descriptors or memory are short */

/*
 * Is it worth another try? What the machine lacks now it may have soon, while
 * the one who connected waits.
 */
static bool may_accept(int err)
{
	static struct log_limit limit = {.burst = 3, .seconds = 60};

	switch (err) {
	case EINTR:
	case ECONNABORTED:
		return true;
	case ENFILE:
	case EMFILE:
	case ENOMEM:
	case ENOBUFS:
		if (log_allowed(&limit))
			log_warning("accept: %s; a front end waits",
				    strerror(err));
		poll(NULL, 0, ACCEPT_PAUSE_MS);
		return true;
	default:
		return false;
	}
}

/*
 * The next connection, at a descriptor that a successor knows: it is reserved
 * by a copy of the listening socket while there is none. 0 or -errno.
 */
static int accept_next(struct serve_state *st, int sock)
{
	int conn;

	while (!st->conn) {
		conn = fcntl(sock, F_DUPFD_CLOEXEC, 3);
		if (conn >= 0)
			st->conn = conn;
		else if (!may_accept(errno))
			return -errno;
	}
	do
		conn = accept4(sock, NULL, NULL, SOCK_CLOEXEC);
	while (conn < 0 && may_accept(errno));
	if (conn < 0 || dup3(conn, st->conn, O_CLOEXEC) < 0)
		return -errno;
	__atomic_store_n(&st->connected, 1, __ATOMIC_RELEASE);
	close(conn);
	log_debug("a front end connected");
	return 0;
}

/* The descriptor keeps its number. */
static int hang_up(struct serve_state *st, int sock)
{
	__atomic_store_n(&st->connected, 0, __ATOMIC_RELEASE);
	return dup3(sock, st->conn, O_CLOEXEC) < 0 ? -errno : 0;
}

/* Wait until it says something; false where it hangs up instead. */
static bool has_message(int conn)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct mmsghdr msg = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	int n;

	do
		n = recvmmsg(conn, &msg, 1, MSG_PEEK, NULL);
	while (n < 0 && errno == EINTR);
	return n == 1 && msg.msg_len;
}

/*
 * A connection without a message, made to see if somebody listens, is not a
 * front end: neither the one that SERVE_ONCE waits for, nor one that has come
 * back.
 */
static int next_front_end(struct serve_state *st, int sock)
{
	int err;

	while ((err = accept_next(st, sock)) == 0 && !has_message(st->conn)) {
		log_debug("it left without a message");
		err = hang_up(st, sock);
		if (err)
			break;
	}
	return err;
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
		err = st->connected ? 0 : next_front_end(st, sock);
		if (err) {
			log_error("accept: %s", strerror(-err));
			return 1;
		}
		err = run(ctx, st->conn);
		st->left = err > 0;
		if (hang_up(st, sock))
			return 1;
		if (err > 0)
			return SHARE_AGAIN;
		if (err)
			log_warning("connection: %s", strerror(-err));
	} while (how == SERVE_LISTENING);
	return 0;
}
