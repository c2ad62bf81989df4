/* SPDX-License-Identifier: MIT */
/*
 * A run from QEMU's fork to vmshare's exit status: one thread, one poll loop
 * over QEMU (pidfd, words, monitor), each share (pidfd, events), the console,
 * the streams of a command in the guest, and signals.
 *
 * How a run ends is decided once, by whatever comes first: the guest powers
 * off, a signal, the timeout, a share that failed, a command that is done. The
 * first cause stays (in struct run). What follows are three steps, each with a
 * deadline after which the next one is taken: ask the guest to power down,
 * SIGTERM to QEMU, SIGKILL. The loop ends when QEMU does, and everything else
 * is stopped after it.
 *
 * What comes from QEMU, the shares and the guest is not trusted: it can choose
 * how the guest's end is described, and nothing else. Whatever is readable is
 * read once a round, since a writer may be as fast as this reads, and what can
 * be repeated is said a limited number of times. Signals are blocked here
 * and read from a descriptor; during the preparation, before this, they kill
 * vmshare and the guardian cleans up.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TERM_MS		3000	/* from SIGTERM to SIGKILL */
#define DRIVER_MS	60000	/* then a guest without the driver is named */
#define LEFT_MS		3000	/* from a share's orderly end to QEMU's */
#define PANIC_MS	2000	/* for a panicked kernel to reboot by itself */
#define DRAIN_MS	1000	/* per piece of output left when QEMU is gone */
#define DRAIN_READS	32	/* more than a socket holds */

/* ---- the way out --------------------------------------------------------- */

static void qemu_signal(struct run *r, int sig)
{
	if (!r->qemu_gone)
		(void)syscall(SYS_pidfd_send_signal, r->qemu.pidfd, sig, NULL,
			      0);
}

/* Go to @step of the ladder, unless it is further already. */
static void step_to(struct run *r, enum step step)
{
	if (step <= r->step)
		return;
	r->step = step;
	r->step_deadline = 0;
	switch (step) {
	case STEP_RUN:
		break;
	case STEP_ASKED:
		r->step_deadline = clock_ms() +
			(int64_t)r->s->config->shutdown_timeout_ms;
		break;
	case STEP_TERM:
		qemu_signal(r, SIGTERM);
		qemu_signal(r, SIGCONT);
		r->step_deadline = clock_ms() + TERM_MS;
		break;
	case STEP_KILL:
		qemu_signal(r, SIGKILL);
		break;
	}
}

static void end_run(struct run *r, enum cause cause, enum step step)
{
	if (r->cause == CAUSE_NONE)
		r->cause = cause;
	step_to(r, step);
}

/* The first one asks the guest, where there is somebody to ask. */
static void on_end_signal(struct run *r, int sig)
{
	const struct guest_report *guest = NULL;
	bool asked = false;

	if (r->cause == CAUSE_NONE)
		r->signal = sig;
	if (r->step >= STEP_ASKED) {
		end_run(r, CAUSE_SIGNAL, STEP_TERM);
		return;
	}
	if (r->s->streams)
		guest = guest_streams_report(r->s->streams);
	if (guest && guest->phase == GUEST_RUNNING) {
		/* It is the command's to decide, as without a guest. */
		guest_streams_signal(r->s->streams, sig);
		asked = true;
	} else if (!guest) {
		asked = qmp_command(&r->qmp, "system_powerdown") == 0;
	}
	if (asked)
		log_info("asked the guest to end; once more ends it at once");
	end_run(r, CAUSE_SIGNAL, asked ? STEP_ASKED : STEP_TERM);
}

/* Stopped by the shell: give the terminal back and stop the guest's time. */
static void on_stop_signal(struct run *r)
{
	progress_clear(&r->boot);
	terminal_restore(&r->terminal);
	qemu_signal(r, SIGSTOP);
	raise(SIGSTOP);
	qemu_signal(r, SIGCONT);
	terminal_raw(&r->terminal);
}

/* Of one share, if the signal says which, as "vmshare restart" does. */
static void on_restart_signal(struct run *r,
			      const struct signalfd_siginfo *info)
{
	const struct config *c = r->s->config;
	bool all = info->ssi_code != SI_QUEUE;
	int slot = info->ssi_int - 1;

	for (unsigned int i = 0; i < r->s->nr_shares; i++) {
		struct share *s = &r->s->shares[i];
		bool root = s->config == &c->root_share;

		if (all || slot == (root ? (int)c->nr_shares
					 : (int)(s->config - c->shares)))
			share_upgrade(c, s);
	}
}

static void on_signal(struct run *r)
{
	struct signalfd_siginfo info;
	unsigned short rows, cols;

	if (read(r->signals, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGTSTP:
		on_stop_signal(r);
		break;
	case SIGUSR1:
		for (unsigned int i = 0; i < r->s->nr_shares; i++)
			share_ask(&r->s->shares[i]);
		break;
	case SIGUSR2:
		on_restart_signal(r, &info);
		break;
	case SIGWINCH:
		if (r->s->streams &&
		    terminal_size(&r->terminal, &rows, &cols) == 0)
			guest_streams_resize(r->s->streams, rows, cols);
		break;
	default:
		on_end_signal(r, (int)info.ssi_signo);
	}
}

static int open_signals(void)
{
	static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP,
				     SIGWINCH, SIGUSR1, SIGUSR2};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- QEMU ---------------------------------------------------------------- */

static void qemu_line(struct run *r)
{
	static struct log_limit limit = {.burst = 1000, .seconds = 1};
	char text[512];

	while (r->words_len && r->words[r->words_len - 1] == '\r')
		r->words_len--;
	if (!r->words_len)
		return;
	log_escape(text, sizeof(text), r->words, r->words_len);
	snprintf(r->last_words, sizeof(r->last_words), "%.250s", text);
	/* What ends it is shown with the reason; the rest is for -v. */
	if (log_allowed(&limit))
		log_info("qemu: %s", text);
	r->words_len = 0;
}

/* Reads once, what a pipe holds. */
static void on_qemu_words(struct run *r)
{
	char buf[65536];
	ssize_t n = read(r->qemu.output, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n')
			qemu_line(r);
		else if (r->words_len < sizeof(r->words))
			r->words[r->words_len++] = buf[i];
	}
	if (n > 0)
		return;
	qemu_line(r);
	close(r->qemu.output);
	r->qemu.output = -1;
}

static void on_qemu_end(struct run *r)
{
	siginfo_t info = sys_await(r->qemu.pidfd);

	guardian_forget(r->s->guardian, r->qemu.pidfd);
	close(r->qemu.pidfd);
	r->qemu.pidfd = -1;
	r->qemu_gone = true;
	r->qemu_killed = info.si_code != CLD_EXITED;
	r->qemu_status = info.si_status;
}

static void on_qmp(struct run *r)
{
	static struct log_limit limit = {.burst = 100, .seconds = 60};
	enum qmp_event event;

	qmp_read(&r->qmp);
	while ((event = qmp_next(&r->qmp)) != QMP_NONE) {
		switch (event) {
		case QMP_READY:
			r->up = true;
			guardian_sweep(r->s->guardian);
			if (!r->s->nr_shares)
				report_ready(&r->report);
			break;
		case QMP_PANICKED:
			r->panicked = true;
			if (r->dump.path && !dump_begin(r))
				step_to(r, STEP_KILL);
			break;
		case QMP_SHUTDOWN_GUEST:
			r->powered_off = true;
			dump_stopped(r);
			break;
		case QMP_SHUTDOWN_RESET:
			r->reset_off = true;
			dump_stopped(r);
			break;
		case QMP_DUMPED:
		case QMP_NOT_DUMPED:
			dump_over(r, event == QMP_DUMPED);
			step_to(r, STEP_KILL);
			break;
		case QMP_RESET:
			if (log_allowed(&limit))
				log_info("the guest reboots");
			break;
		default:
			break;
		}
	}
}

/* ---- shares -------------------------------------------------------------- */

static void on_share_event(void *ctx, struct share *share, char event)
{
	static struct log_limit limit = {.burst = 100, .seconds = 60};
	struct run *r = ctx;
	const char *tag = share->config->tag;

	switch (event) {
	case SHARE_MOUNTED:
		if (log_allowed(&limit))
			log_info("share '%s' is mounted", tag);
		report_share(&r->report, "mounted", tag);
		report_ready(&r->report);
		break;
	case SHARE_UNMOUNTED:
		report_share(&r->report, "unmounted", tag);
		break;
	case SHARE_NOT_SHARED:
		if (r->cause != CAUSE_NONE)
			break;
		log_error("share '%s': the guest's memory is not shared with "
			  "the file server", tag);
		log_hint("a --qemu-arg must not change the memory back end");
		end_run(r, CAUSE_SHARE, STEP_TERM);
		break;
	default:
		break;
	}
}

static void on_share_end(struct run *r, struct share *share)
{
	int status;

	share_read_events(share, on_share_event, r);
	status = share_reap(share);
	if (status == 0) {
		/* QEMU closed its socket: it ends, or should. */
		if (!r->left_deadline)
			r->left_deadline = clock_ms() + LEFT_MS;
		return;
	}
	if (r->qemu_gone || r->cause != CAUSE_NONE)
		return;
	outcome_failed(share, status, "; ending the guest, which would hang");
	end_run(r, CAUSE_SHARE, STEP_TERM);
}

/* ---- the loop ------------------------------------------------------------ */

/* Where each part's descriptors are in the array given to poll(). */
struct poll_set {
	struct pollfd fds[5 + CONSOLE_FDS + GUEST_STREAMS_FDS +
			  2 * (VM_MAX_SHARES + 1)];
	unsigned int nr, console, nr_console, streams, nr_streams, shares;
};

static void want(struct poll_set *p, int fd)
{
	/* poll() skips negative descriptors. */
	p->fds[p->nr++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void fill_set(struct run *r, struct poll_set *p)
{
	struct supervise_setup *s = r->s;

	p->nr = 0;
	want(p, r->signals);
	want(p, r->qemu.pidfd);
	want(p, r->qemu.output);
	want(p, r->qmp.fd);
	want(p, guardian_fd(s->guardian));
	p->console = p->nr;
	p->nr_console = console_poll(&r->console, p->fds + p->nr);
	p->nr += p->nr_console;
	p->streams = p->nr;
	p->nr_streams = s->streams ?
		guest_streams_poll(s->streams, p->fds + p->nr) : 0;
	p->nr += p->nr_streams;
	p->shares = p->nr;
	for (unsigned int i = 0; i < s->nr_shares; i++) {
		want(p, s->shares[i].pidfd);
		want(p, s->shares[i].events);
	}
}

static void sooner(int64_t *first, int64_t deadline)
{
	if (deadline && (!*first || deadline < *first))
		*first = deadline;
}

static int poll_timeout(const struct run *r)
{
	int64_t first = 0, left;

	sooner(&first, r->step_deadline);
	sooner(&first, r->timeout);
	sooner(&first, r->driver_check);
	sooner(&first, r->left_deadline);
	sooner(&first, r->panic_deadline);
	sooner(&first, r->dump.decide);
	sooner(&first, r->boot_tick);
	if (!first)
		return -1;
	left = first - clock_ms();
	if (left < 0)
		return 0;
	return left > 1000000 ? 1000000 : (int)left + 1;
}

static bool passed(int64_t *deadline, int64_t now)
{
	if (!*deadline || now < *deadline)
		return false;
	*deadline = 0;
	return true;
}

/* ---- the first wait ------------------------------------------------------ */

/* A command's guest, or one whose console is elsewhere, boots unseen. */
static void boot_begin(struct run *r)
{
	progress_begin(&r->boot);
	if (r->console.out >= 0 && !r->s->config->console_file)
		r->boot.screen = false;
	if (r->s->streams || r->s->nr_shares)
		r->boot_tick = clock_ms() + PROGRESS_AFTER_MS;
}

static void boot_over(struct run *r)
{
	r->boot_tick = 0;
	progress_clear(&r->boot);
}

/* It runs its command, or has set up its first share. */
static void boot_look(struct run *r)
{
	const struct guest_report *guest = r->s->streams ?
		guest_streams_report(r->s->streams) : NULL;
	bool up = guest && guest->phase != GUEST_BOOTING;

	if (!r->boot_tick)
		return;
	for (unsigned int i = 0; i < r->s->nr_shares && !guest; i++)
		up |= r->s->shares[i].driver;
	if (!up)
		return;
	boot_over(r);
	log_info("the guest is up after %.1f s",
		 (double)progress_ms(&r->boot) / 1000);
}

static void run_timers(struct run *r)
{
	int64_t now = clock_ms();

	if (passed(&r->boot_tick, now)) {
		r->boot_tick = now + PROGRESS_AFTER_MS;
		if (r->boot.screen)
			progress_show(&r->boot, "the guest boots: %d s",
				      (int)(progress_ms(&r->boot) / 1000));
	}

	if (passed(&r->timeout, now)) {
		outcome_timeout(r);
		end_run(r, CAUSE_TIMEOUT, STEP_TERM);
	}
	if (passed(&r->driver_check, now)) {
		for (unsigned int i = 0; i < r->s->nr_shares; i++)
			if (!r->s->shares[i].driver)
				outcome_waiting(&r->s->shares[i],
						DRIVER_MS / 1000);
	}
	if (passed(&r->left_deadline, now) && !r->qemu_gone) {
		log_error("QEMU left a file server but goes on; ending it");
		end_run(r, CAUSE_SHARE, STEP_TERM);
	}
	if (passed(&r->dump.decide, now))
		dump_decide(r);
	if (passed(&r->panic_deadline, now) && !dump_begin(r)) {
		r->panicked = true;
		step_to(r, STEP_KILL);
	}
	if (passed(&r->step_deadline, now)) {
		if (r->step == STEP_ASKED && !r->qemu_gone)
			outcome_cut_off(r);
		step_to(r, r->step == STEP_ASKED ? STEP_TERM : STEP_KILL);
	}
}

static void run_console(struct run *r, const struct pollfd *fds,
			unsigned int nr)
{
	size_t before = r->console.tail_at;

	console_handle(&r->console, fds, nr);
	if (r->console.quit)
		end_run(r, CAUSE_QUIT, STEP_TERM);
	/* Our own guest reboots after a panic, which ends it; or it hangs. */
	if (r->s->streams && !r->panic_deadline && !r->panicked &&
	    r->console.tail_at != before && console_panicked(&r->console))
		r->panic_deadline = clock_ms() + PANIC_MS;
}

static void run_streams(struct run *r, const struct pollfd *fds,
			unsigned int nr)
{
	const struct guest_report *guest;
	int err;

	for (unsigned int i = 0; i < nr; i++)
		if (fds[i].revents)
			progress_clear(&r->boot);
	err = guest_streams_handle(r->s->streams, fds, nr);
	if (err == -EPROTO)
		log_warning("the guest sent nonsense on its control port");
	boot_look(r);
	guest = guest_streams_report(r->s->streams);
	if (guest->quit)
		end_run(r, CAUSE_QUIT, STEP_TERM);
	/* Unmounted, all output written: nothing is lost by a quick end. */
	if (guest->phase == GUEST_DONE)
		end_run(r, CAUSE_DONE, STEP_KILL);
	if (guest->phase >= GUEST_RUNNING && guest->phase != GUEST_FAILED &&
	    !r->s->nr_shares)
		report_ready(&r->report);
}

static void dispatch(struct run *r, const struct poll_set *p)
{
	struct supervise_setup *s = r->s;

	/* A machine that was up when the signal came can be asked. */
	if (p->fds[3].revents)
		on_qmp(r);
	if (p->fds[0].revents)
		on_signal(r);
	if (p->fds[2].revents)
		on_qemu_words(r);
	if (p->fds[4].revents)
		outcome_unguarded(s->guardian);
	run_console(r, p->fds + p->console, p->nr_console);
	if (s->streams)
		run_streams(r, p->fds + p->streams, p->nr_streams);
	for (unsigned int i = 0; i < s->nr_shares; i++) {
		const struct pollfd *fds = p->fds + p->shares + 2 * i;

		if (fds[1].revents)
			share_read_events(&s->shares[i], on_share_event, r);
		if (fds[0].revents)
			on_share_end(r, &s->shares[i]);
	}
	boot_look(r);
	if (p->fds[1].revents)
		on_qemu_end(r);
}

static void run_loop(struct run *r)
{
	struct poll_set set;

	while (!r->qemu_gone) {
		fill_set(r, &set);
		if (poll(set.fds, set.nr, poll_timeout(r)) < 0) {
			if (errno == EINTR)
				continue;
			log_error("poll: %m");
			end_run(r, CAUSE_SHARE, STEP_KILL);
			on_qemu_end(r);
			return;
		}
		dispatch(r, &set);
		run_timers(r);
	}
}

/* QEMU is gone: what it and the guest said last is still in the sockets. */
static void run_drain(struct run *r)
{
	struct pollfd fds[GUEST_STREAMS_FDS];
	unsigned int nr;

	for (int i = 0; i < DRAIN_READS && r->qmp.fd >= 0; i++)
		on_qmp(r);
	for (int i = 0; i < DRAIN_READS && r->qemu.output >= 0; i++)
		on_qemu_words(r);
	console_drain(&r->console, DRAIN_MS);
	while (r->s->streams && (nr = guest_streams_poll(r->s->streams, fds))) {
		if (poll(fds, nr, DRAIN_MS) <= 0)
			break;
		(void)guest_streams_handle(r->s->streams, fds, nr);
	}
	for (unsigned int i = 0; i < r->s->nr_shares; i++)
		share_read_events(&r->s->shares[i], on_share_event, r);
}

/* ---- from end to end ----------------------------------------------------- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* QEMU has its own copies now. */
static void close_wiring(struct qemu_wiring *w)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(w->mem_fds); i++)
		close_fd(&w->mem_fds[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(w->share_fds); i++)
		close_fd(&w->share_fds[i]);
	for (unsigned int i = 0; i < w->nr_ports; i++)
		close_fd(&w->port_fds[i]);
	close_fd(&w->qmp_fd);
	close_fd(&w->initrd_fd);
	close_fd(&w->console_fd);
	close_fd(&w->credentials_fd);
}

/* Where the guest's serial console goes: its input and output. 0 or -errno. */
static int open_console(struct run *r, int *out)
{
	const struct config *c = r->s->config;
	const char *how = c->console ? c->console : "none";
	int in = -1;

	*out = -1;
	terminal_open(&r->terminal, STDIN_FILENO, r->s->guardian);
	if (strcmp(how, "file") == 0) {
		*out = open(c->console_file, O_WRONLY | O_CREAT | O_TRUNC |
			    O_CLOEXEC | O_NOCTTY, 0666);
		if (*out < 0) {
			log_error("console %s: %m", c->console_file);
			return -errno;
		}
	} else if (strcmp(how, "stdio") == 0 && !r->s->streams) {
		/* A terminal that another job has is not ours to read. */
		if (r->terminal.fd >= 0 || !isatty(STDIN_FILENO))
			in = STDIN_FILENO;
		*out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	} else if (strcmp(how, "stdio") == 0 || log_enabled(LOG_LEVEL_INFO)) {
		/* Standard output is the command's. */
		*out = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	}
	console_open(&r->console, r->s->console_fd, in, *out);
	r->console.escape = in >= 0 && r->terminal.fd >= 0;
	return 0;
}

static int run_start(struct run *r)
{
	struct supervise_setup *s = r->s;
	const struct config *c = s->config;
	int status;

	r->signals = open_signals();
	if (r->signals < 0) {
		log_error("can't receive signals: %m");
		return EXIT_REFUSED;
	}
	if (report_open(&r->report, c, s->guardian) || dump_open(r))
		return EXIT_REFUSED;
	status = spawn_qemu(&r->qemu, s->qemu_argv, s->wiring, s->guardian);
	if (status)
		return status;
	report_started(&r->report, r->qemu.pid);
	qmp_open(&r->qmp, s->qmp_fd);
	if (c->timeout_ms)
		r->timeout = clock_ms() + (int64_t)c->timeout_ms;
	if (!s->streams && s->nr_shares)
		r->driver_check = clock_ms() + DRIVER_MS;
	if (r->console.in >= 0 || s->raw)
		terminal_raw(&r->terminal);
	boot_begin(r);
	return 0;
}

int supervise_run(struct supervise_setup *s)
{
	const char *source = "vmshare";
	struct run *r = calloc(1, sizeof(*r));
	int status, out = -1;

	if (!r) {
		log_error("out of memory");
		return EXIT_REFUSED;
	}
	r->s = s;
	r->signals = r->qemu.pidfd = r->qemu.output = -1;
	r->report.status_fd = r->report.ready_fd = -1;
	r->qmp.fd = s->qmp_fd;
	status = open_console(r, &out) ? EXIT_REFUSED : run_start(r);
	close_wiring(s->wiring);
	if (!status) {
		run_loop(r);
		boot_over(r);
		run_drain(r);
		terminal_restore(&r->terminal);
		status = outcome_status(r, &source);
		outcome_shares(r);
	}
	for (unsigned int i = 0; i < s->nr_shares; i++)
		share_stop(&s->shares[i]);
	dump_close(r);
	guardian_sweep(s->guardian);
	report_exit(&r->report, status, source);
	close_fd(&r->signals);
	close_fd(&r->qemu.output);
	close_fd(&r->qmp.fd);
	close_fd(&r->console.guest);
	close_fd(&out);
	free(r);
	return status;
}
