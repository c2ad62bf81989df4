/* SPDX-License-Identifier: MIT */
/*
 * A file server without a machine: the wait for its end, one poll loop over
 * signals, the share's events and processes, and the guardian. Nothing here
 * waits for a worker, which is not trusted.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct serving {
	struct report report;
};

/* A worker can send as many as it likes. */
static void on_event(void *ctx, struct share *share, char event)
{
	static struct log_limit mounts = {.burst = 100, .seconds = 60};
	static struct log_limit errors = {.burst = 5, .seconds = 60};
	struct serving *s = ctx;
	const char *tag = share->config->tag;

	switch (event) {
	case SHARE_MOUNTED:
		if (log_allowed(&mounts))
			log_info("share '%s' is mounted", tag);
		report_share(&s->report, "mounted", tag);
		break;
	case SHARE_UNMOUNTED:
		report_share(&s->report, "unmounted", tag);
		break;
	case SHARE_NOT_SHARED:
		if (!log_allowed(&errors))
			break;
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
		     struct share *share, struct guardian *guardian,
		     int signals)
{
	for (;;) {
		struct signalfd_siginfo info;
		struct pollfd fds[] = {
			{.fd = signals, .events = POLLIN},
			{.fd = share->events, .events = POLLIN},
			{.fd = share->pidfd, .events = POLLIN},
			{.fd = guardian_fd(guardian), .events = POLLIN},
		};
		int status;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno == EINTR)
				continue;
			log_error("poll: %m");
			return EXIT_SERVER_FAILED;
		}
		if (fds[1].revents)
			share_read_events(share, on_event, s);
		if (fds[3].revents)
			outcome_unguarded(guardian);
		if (fds[2].revents) {
			status = share_reap(share);
			if (!status)
				return 0;
			outcome_failed(share, status, "");
			return EXIT_SERVER_FAILED;
		}
		if (!fds[0].revents ||
		    read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		/* A server is ended by a signal: that is no error. */
		if (info.ssi_signo == SIGUSR1)
			share_ask(share);
		else if (info.ssi_signo == SIGUSR2)
			share_upgrade(c, share);
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

	serve_block_signals(&set);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		log_error("can't receive signals: %m");
	else if (report_open(&s.report, c, guardian) == 0) {
		report_started(&s.report, share->keeper);
		report_ready(&s.report);
		status = wait_loop(&s, c, share, guardian, signals);
		share_read_events(share, on_event, &s);
		report_exit(&s.report, status, "vmshare");
	}
	share_stop(share);
	if (signals >= 0)
		close(signals);
	return status;
}
