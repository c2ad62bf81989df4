/* SPDX-License-Identifier: MIT */
/*
 * Reports about a run for programs: one JSON object a line on --status-fd,
 * readiness on --ready-fd and to systemd, our pid in --pidfile. Messages for
 * people are printed elsewhere.
 *
 * Members of the JSON objects may be added, but not changed or removed. A
 * reader that has gone does not end the guest: failed writes are ignored.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int write_pidfile(const char *path, struct guardian *guardian)
{
	int slot = guardian_file(guardian, path), fd;

	if (slot < 0)
		return slot;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) {
		int err = -errno;

		guardian_made(guardian, slot, -1);
		return err;
	}
	guardian_made(guardian, slot, fd);
	return dprintf(fd, "%d\n", (int)getpid()) < 0 ? -EIO : 0;
}

int report_open(struct report *r, const struct config *c,
		struct guardian *guardian)
{
	int err;

	r->status_fd = c->status_fd;
	r->ready_fd = c->ready_fd;
	r->ready = false;
	err = c->pidfile ? write_pidfile(c->pidfile, guardian) : 0;
	if (err) {
		errno = -err;
		log_error("pidfile %s: %m", c->pidfile);
	}
	return err;
}

static void status_line(struct report *r, const char *fmt, ...)
	PRINTF_LIKE(2, 3);

static void status_line(struct report *r, const char *fmt, ...)
{
	struct pollfd room = {.fd = r->status_fd, .events = POLLOUT};
	char line[512];
	va_list args;
	int n;

	if (r->status_fd < 0)
		return;
	/* A guest that mounts and unmounts all day must not stop us here. */
	if (poll(&room, 1, 0) == 0)
		return;
	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line))
		return;
	if (write(r->status_fd, line, (size_t)n) < 0)
		r->status_fd = -1;
}

void report_started(struct report *r, pid_t child)
{
	status_line(r, "{\"event\":\"started\",\"child-pid\":%d}\n",
		    (int)child);
}

void report_share(struct report *r, const char *event, const char *tag)
{
	char buf[256];

	(void)json_escape(buf, sizeof(buf), tag);
	status_line(r, "{\"event\":\"%s\",\"tag\":\"%s\"}\n", event, buf);
}

void report_notify(const char *state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || (path[0] != '/' && path[0] != '@') ||
	    len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	len += offsetof(struct sockaddr_un, sun_path);
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
		     (struct sockaddr *)&addr, (socklen_t)len);
	close(fd);
}

void report_ready(struct report *r)
{
	if (r->ready)
		return;
	r->ready = true;
	report_notify("READY=1");
	if (r->ready_fd < 0)
		return;
	(void)!write(r->ready_fd, "\n", 1);
	close(r->ready_fd);
	r->ready_fd = -1;
}

void report_exit(struct report *r, int status, const char *source)
{
	char state[64];

	snprintf(state, sizeof(state), "STOPPING=1\nEXIT_STATUS=%d", status);
	report_notify(state);
	status_line(r, "{\"event\":\"exit\",\"code\":%d,\"source\":\"%s\"}\n",
		    status, source);
}
