/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * How a worker accepts front ends: who is one, and what it does when the
 * machine has no descriptor for the next.
 */

#include "launch/run/run.h"
#include "tests/c/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_un addr = {.sun_family = AF_UNIX};

/* Of a socket without a path, which the kernel chooses. */
static int listening(void)
{
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(sa_family_t);

	if (bind(sock, (struct sockaddr *)&addr, len) < 0 ||
	    listen(sock, 8) < 0)
		return -1;
	return sock;
}

static int connected(int sock)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un peer;
	socklen_t len = sizeof(peer);

	getsockname(sock, (struct sockaddr *)&peer, &len);
	if (connect(fd, (struct sockaddr *)&peer, len) < 0)
		return -1;
	return fd;
}

/* Answer the first byte, if there is one. */
static int answer(void *ctx, int conn)
{
	char byte;

	++*(int *)ctx;
	if (read(conn, &byte, 1) == 1)
		(void)!write(conn, &byte, 1);
	return 0;
}

static void without_a_message(void)
{
	struct serve_state st = {0};
	int sock = listening(), silent, front, calls = 0;
	char byte = 0;

	for (int i = 0; i < 3; i++) {
		silent = connected(sock);
		CHECK(silent >= 0);
		close(silent);
	}
	front = connected(sock);
	CHECK_EQ(write(front, "x", 1), 1);
	CHECK_EQ(serve_connections(sock, SERVE_ONCE, &st, answer, &calls), 0);
	CHECK_EQ(calls, 1);
	/* Whoever is still in the backlog hears of it. */
	close(sock);
	close(st.conn);
	CHECK_EQ(read(front, &byte, 1), 1);
	CHECK_EQ(byte, 'x');
	close(front);
}

/* One that a predecessor had accepted is served as it is. */
static void of_a_predecessor(void)
{
	struct serve_state st = {.connected = 1};
	int sock = listening(), pair[2], calls = 0;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	st.conn = pair[0];
	close(pair[1]);
	CHECK_EQ(serve_connections(sock, SERVE_ONCE, &st, answer, &calls), 0);
	CHECK_EQ(calls, 1);
	close(sock);
	close(st.conn);
}

/* In a child, which may open nothing more until the parent says so. */
static void out_of_descriptors(void)
{
	struct rlimit none, room;
	int sock = listening(), front = connected(sock), err[2], status;
	char text[256] = "", byte = 0;
	pid_t pid;

	CHECK_EQ(pipe2(err, O_CLOEXEC), 0);
	getrlimit(RLIMIT_NOFILE, &room);
	/* It is the lowest that was free. */
	none = (struct rlimit){(rlim_t)sock + 1, room.rlim_max};
	CHECK_EQ(write(front, "y", 1), 1);
	pid = fork();
	if (pid == 0) {
		struct serve_state st = {0};
		int calls = 0;

		dup2(err[1], STDERR_FILENO);
		setrlimit(RLIMIT_NOFILE, &none);
		_exit(serve_connections(sock, SERVE_ONCE, &st, answer,
					&calls));
	}
	/* It says so, and takes the connection when it can. */
	close(err[1]);
	CHECK(read(err[0], text, sizeof(text) - 1) > 0);
	CHECK_STR(text, "vmshare: warning: accept: Too many open files; a "
			"front end waits\n");
	CHECK_EQ(prlimit(pid, RLIMIT_NOFILE, &room, NULL), 0);
	CHECK_EQ(read(front, &byte, 1), 1);
	CHECK_EQ(byte, 'y');
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(err[0]);
	close(front);
	close(sock);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"who says nothing is no front end", without_a_message},
		{"a predecessor's connection", of_a_predecessor},
		{"no descriptor for the next one", out_of_descriptors},
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
