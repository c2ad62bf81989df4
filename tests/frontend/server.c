/* SPDX-License-Identifier: MIT */
/*
 * Servers as children, and the words with which each is started. The
 * listening socket is made here, before the child exists, and sits in a
 * directory of its own, so that parallel tests do not meet.
 */

#include "tests/frontend/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS 48
#define STOP_MS 5000

static int listen_on(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock;

	memcpy(addr.sun_path, path, strlen(path));
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	if (bind(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(sock, 1) < 0) {
		int err = errno;

		close(sock);
		return -err;
	}
	return sock;
}

/* Replace the first @what in @arg by @by; the copy lives until exec. */
static const char *replace(const char *arg, const char *what, const char *by)
{
	const char *at = strstr(arg, what);
	char *text;

	if (!at || asprintf(&text, "%.*s%s%s", (int)(at - arg), arg, by,
			    at + strlen(what)) < 0)
		return arg;
	return text;
}

static void child(const struct fe_server *s, const char *const *argv, int fd,
		  pid_t parent)
{
	const char *args[MAX_ARGS + 1] = { NULL };
	const char *log = getenv("FE_SERVER_LOG");
	char number[16];
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (fd >= 0) {
		fd = dup(fd);
		snprintf(number, sizeof(number), "%d", fd);
	}
	for (int i = 0; i < MAX_ARGS && argv[i]; i++) {
		args[i] = replace(argv[i], "{path}", s->path);
		if (fd >= 0)
			args[i] = replace(args[i], "{fd}", number);
	}
	err = open(log ? log : "/dev/null", O_WRONLY | O_CREAT | O_APPEND,
		   0644);
	if (err >= 0) {
		dup2(err, 1);
		dup2(err, 2);
		close(err);
	}
	if (args[0])
		execvp(args[0], (char *const *)(uintptr_t)args);
	_exit(127);
}

int fe_server_start(struct fe_server *s, const char *const *argv,
		    bool listen_self)
{
	pid_t parent = getpid();
	int fd = -1;

	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "/tmp/vmshare-fe.XXXXXX");
	if (!mkdtemp(s->dir))
		return -errno;
	snprintf(s->path, sizeof(s->path), "%s/socket", s->dir);
	if (listen_self) {
		fd = listen_on(s->path);
		if (fd < 0)
			return fd;
	}
	s->pid = fork();
	if (s->pid == 0)
		child(s, argv, fd, parent);
	if (fd >= 0)
		close(fd);
	return s->pid < 0 ? -errno : 0;
}

static int reap(pid_t pid, int ms)
{
	const struct timespec tick = { .tv_nsec = 2000000 };
	int status;

	for (int t = 0; t < ms; t += 2) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		nanosleep(&tick, NULL);
	}
	return -1;
}

int fe_server_stop(struct fe_server *s)
{
	char extra[112];
	int status;

	if (s->pid <= 0)
		return 0;
	kill(s->pid, SIGTERM);
	status = reap(s->pid, STOP_MS);
	if (status < 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, &status, 0);
	}
	s->pid = 0;
	unlink(s->path);
	/* The C server leaves its lock file where it listened itself. */
	snprintf(extra, sizeof(extra), "%s.pid", s->path);
	unlink(extra);
	rmdir(s->dir);
	return status;
}

bool fe_server_is_own(const char *name, const char **option)
{
	const char own[] = "vmshare";
	const char *rest = name + strcspn(name, ":");

	*option = rest + (*rest == ':');
	return name[0] == '/' || ((size_t)(rest - name) == strlen(own) &&
				  !memcmp(name, own, strlen(own)));
}

int fe_server_command(const char *name, const char *dir, const char **argv,
		      char *text, size_t size)
{
	const char *rust = getenv("RUST_VIRTIOFSD");
	const char *own = getenv("VMSHARE"), *more;
	size_t len = strcspn(name, ":");
	int n = 0;

	if (name[0] == '/') {
		if (len >= size)
			return -ENAMETOOLONG;
		own = memcpy(text, name, len);
		text[len] = '\0';
		text += len + 1;
		size -= len + 1;
	}
	if (fe_server_is_own(name, &more)) {
		argv[n++] = own ? own : "./vmshare";
		argv[n++] = "serve";
		argv[n++] = "--fd={fd}";
		argv[n++] = "--share";
		snprintf(text, size, "%s:bench%s%s", dir, *more ? "," : "",
			 more);
		argv[n++] = text;
	} else if (strcmp(name, "virtiofsd") == 0) {
		argv[n++] = FE_VIRTIOFSD;
		argv[n++] = "--fd={fd}";
		argv[n++] = "-o";
		snprintf(text, size, "source=%s", dir);
		argv[n++] = text;
	} else if (strcmp(name, "rust") == 0) {
		argv[n++] = rust ? rust : "/usr/libexec/virtiofsd";
		argv[n++] = "--fd={fd}";
		argv[n++] = "--shared-dir";
		snprintf(text, size, "%s", dir);
		argv[n++] = text;
	} else {
		return -EINVAL;
	}
	argv[n] = NULL;
	return access(argv[0], X_OK) < 0 ? -ENOENT : 0;
}
