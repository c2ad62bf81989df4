/* SPDX-License-Identifier: MIT */
/*
 * The result of a run, in words and as an exit status. The first cause decides
 * (struct run's cause); where there is none QEMU ended by itself, and its exit
 * status, its monitor and its last words say why. Statuses are those of
 * launch.h, which containers use as well; a command's own is passed through.
 *
 * The three states of a share that nobody used look alike from outside: a
 * guest without the driver, one that did not mount, one that is done. Here they
 * get different messages, since the guest shows only an empty directory.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define TAIL_LINES	12

/* What it means to end a guest that has not ended itself. */
static const char *disk_of_cut_off(const struct run *r)
{
	return config_writes_disk(r->s->config) ?
		       "; its disk is as after a power cut" : "";
}

void outcome_timeout(const struct run *r)
{
	log_error("the guest did not end within the timeout of %g s%s",
		  (double)r->s->config->timeout_ms / 1000, disk_of_cut_off(r));
}

void outcome_cut_off(const struct run *r)
{
	log_error("the guest was cut off: it did not end within the shutdown "
		  "timeout of %g s%s",
		  (double)r->s->config->shutdown_timeout_ms / 1000,
		  disk_of_cut_off(r));
	log_hint("give it more time with --shutdown-timeout");
}

/* Emulated guests are slow: it may still come. */
void outcome_waiting(const struct share *share, int seconds)
{
	log_note("the guest has not set up share '%s' in %d s: it boots "
		 "slowly, or its kernel lacks CONFIG_VIRTIO_FS",
		 share->config->tag, seconds);
}

void outcome_unguarded(struct guardian *guardian)
{
	int err = guardian_replace(guardian);

	if (err)
		log_warning("the guardian process was killed, and there is no "
			    "other: %s", err == -ECANCELED ?
			    "it is killed each time" : process_error(err));
	else
		log_warning("the guardian process was killed; another one "
			    "watches");
}

void outcome_failed(const struct share *share, int status, const char *then)
{
	const char *tag = share->config->tag;
	int sig = status - 128;

	/* A worker's death was its keeper's to tell. This is the keeper's. */
	if (sig > 0)
		log_error("share '%s': the file server failed (killed by "
			  "signal %d, %s)%s", tag, sig, strsignal(sig), then);
	else
		log_error("share '%s': the file server failed (status %d)%s",
			  tag, status, then);
	if (sig == SIGKILL)
		log_hint("the kernel does this where memory runs out; dmesg "
			 "says so then");
}

/* @early: the guest was ended before it had the time. */
static void outcome_share(const struct share *share, bool early)
{
	const char *tag = share->config->tag;

	if (!share->driver) {
		if (early)
			return;
		log_warning("the guest never set up share '%s': its kernel may "
			    "lack CONFIG_VIRTIO_FS (or have it as a module "
			    "that is not loaded)", tag);
	} else if (!share->ever_mounted) {
		log_note("share '%s' was offered but never mounted; in the "
			 "guest: mount -t virtiofs %s %s", tag, tag,
			 share->config->mount ? share->config->mount : "/mnt");
		if (share->config->mount && log_enabled(LOG_LEVEL_NOTE))
			log_hint("mount= is heeded by guests with systemd 254 "
				 "or later, which read it in the credential "
				 "fstab.extra");
	}
}

/* QEMU ended and nobody asked it to. */
static int qemu_verdict(struct run *r)
{
	if (r->panicked || (r->reset_off && console_panicked(&r->console))) {
		log_error("the guest's kernel panicked");
		console_print_tail(&r->console, TAIL_LINES);
		return EXIT_GUEST_DIED;
	}
	if (r->qemu_killed) {
		log_error("QEMU was killed by signal %d (%s)%s%s",
			  r->qemu_status, strsignal(r->qemu_status),
			  r->last_words[0] ? "; it said: " : "",
			  r->last_words);
		return EXIT_GUEST_DIED;
	}
	if (r->qemu_status != 0) {
		log_error("QEMU %s with status %d%s%s",
			  r->up ? "failed" : "refused to start",
			  r->qemu_status, r->last_words[0] ? ": " : "",
			  r->last_words);
		return r->up ? EXIT_GUEST_DIED : EXIT_REFUSED;
	}
	return 0;
}

/* Whether the command's streams were cut short here; said, if they were. */
static bool command_cut(const struct guest_report *guest)
{
	if (guest->in_error)
		log_error("what the command could read is not all there: %s",
			  strerror(guest->in_error));
	if (guest->out_error)
		log_error("what the command wrote is not all there: %s",
			  strerror(guest->out_error));
	return guest->in_error || guest->out_error;
}

/* A guest that runs a command for us: what became of the command. */
static int command_verdict(struct run *r, const char **source)
{
	const struct guest_report *guest = guest_streams_report(r->s->streams);
	char text[512];
	int status;

	if (guest->phase == GUEST_FAILED) {
		log_error("the guest failed: %s",
			  log_escape(text, sizeof(text), guest->text,
				     strnlen(guest->text,
					     sizeof(guest->text))));
		if (!log_enabled(LOG_LEVEL_INFO))
			console_print_tail(&r->console, TAIL_LINES);
		return EXIT_GUEST_DIED;
	}
	if (guest->phase >= GUEST_EXITED) {
		if (command_cut(guest) && !guest->status)
			return EXIT_REFUSED;
		*source = "guest";
		return guest->status;
	}
	status = qemu_verdict(r);
	if (status)
		return status;
	log_error("the guest ended before its command did%s",
		  guest->phase == GUEST_BOOTING ? " (it never came up)" : "");
	console_print_tail(&r->console, TAIL_LINES);
	return EXIT_GUEST_DIED;
}

int outcome_status(struct run *r, const char **source)
{
	const struct guest_report *guest = NULL;
	int status;

	*source = "vmshare";
	if (r->s->streams)
		guest = guest_streams_report(r->s->streams);
	switch (r->cause) {
	case CAUSE_SIGNAL:
		/* A command that took the signal says how it ended. */
		if (guest && guest->phase >= GUEST_EXITED &&
		    guest->phase != GUEST_FAILED)
			return command_verdict(r, source);
		return 128 + r->signal;
	case CAUSE_TIMEOUT:
		return EXIT_TIMEOUT;
	case CAUSE_SHARE:
		return EXIT_SERVER_FAILED;
	case CAUSE_QUIT:
		return 128 + SIGINT;
	case CAUSE_DONE:
	case CAUSE_NONE:
		break;
	}
	if (guest)
		return command_verdict(r, source);
	status = qemu_verdict(r);
	if (!status)
		*source = "guest";
	return status;
}

void outcome_shares(const struct run *r)
{
	/* Who closed a pipe knows. */
	if (r->console.out_error && r->console.out_error != EPIPE)
		log_warning("the console's output is not all there: %s",
			    strerror(r->console.out_error));
	/* Our own init mounts every share or says why not. */
	if (r->s->streams || !r->up)
		return;
	for (unsigned int i = 0; i < r->s->nr_shares; i++)
		outcome_share(&r->s->shares[i],
			      r->cause != CAUSE_NONE && r->driver_check);
}
