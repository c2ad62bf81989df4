/* SPDX-License-Identifier: MIT */
/*
 * What every process of ours sets up first: standard descriptors, signals,
 * where messages go, resource limits.
 */

#include "launch/common/common.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* To the daemon that listens at /dev/log; else a warning, on stderr. */
static void open_syslog(void)
{
	struct sockaddr_un addr = {
		.sun_family = AF_UNIX, .sun_path = "/dev/log",
	};
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  0);

	if (sock >= 0 && connect(sock, (const struct sockaddr *)&addr,
				 sizeof(addr)) == 0) {
		log_syslog(sock);
		return;
	}
	log_warning("--syslog: %s: %m; messages go to stderr", addr.sun_path);
	if (sock >= 0)
		close(sock);
}

/* systemd.exec(5): is stderr the journal? */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}

void process_log(int verbose, bool syslog)
{
	int level = LOG_LEVEL_NOTE + verbose;

	if (level > LOG_LEVEL_DEBUG)
		level = LOG_LEVEL_DEBUG;
	if (level < LOG_LEVEL_ERROR)
		level = LOG_LEVEL_ERROR;
	log_setup((enum log_level)level, is_journal());
	if (syslog)
		open_syslog();
}

void process_setup(void)
{
	int null;

	/* Descriptors 0 to 2 mean something everywhere. */
	do
		null = open("/dev/null", O_RDWR);
	while (null >= 0 && null <= STDERR_FILENO);
	if (null >= 0)
		close(null);
	/* Of what the caller left open only what a flag names is used. */
	(void)sys_close_range(3, INT_MAX, true);
	/* Options that can't be read have their errors, too. */
	log_setup(LOG_LEVEL_NOTE, is_journal());
	(void)signal(SIGPIPE, SIG_IGN);
	/* A limit of file sizes is an error of the call that meets it. */
	(void)signal(SIGXFSZ, SIG_IGN);
	/* Asks what is stuck: nothing is before there is a loop to take it. */
	(void)signal(SIGUSR1, SIG_IGN);
	/* Asks for a restart. */
	(void)signal(SIGUSR2, SIG_IGN);
}

const char *process_error(int err)
{
	return err != -EAGAIN ? strerror(-err) :
		"no more processes or threads are allowed here: see 'ulimit "
		"-u', and pids.max of the control group (TasksMax=)";
}

void process_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}
