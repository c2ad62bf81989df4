/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_SUPERVISE_H
#define VMSHARE_LAUNCH_SUPERVISE_H

/*
 * Between the files of the supervision: who cleans up when vmshare is killed,
 * the terminal, the guest's console, QEMU's monitor and process, and what is
 * reported to machines. supervise.c drives them all from one poll loop.
 */

#include "launch/run/run.h"

#include <poll.h>
#include <signal.h>


/* ---- terminal.c ---------------------------------------------------------- */

struct terminal {
	struct guardian *guardian;
	int fd;			/* the caller's terminal, or -1 */
	bool raw;
	struct termios saved;
};

/* Take @fd for a terminal if it is one and this is its foreground job. */
void terminal_open(struct terminal *t, int fd, struct guardian *guardian);
void terminal_raw(struct terminal *t);
void terminal_restore(struct terminal *t);
/* Rows and columns; 0 or -errno. */
int terminal_size(const struct terminal *t, unsigned short *rows,
		  unsigned short *cols);

/* ---- progress.c: what takes long ---------------------------------------- */

#define PROGRESS_AFTER_MS	1000	/* less is not worth a word */

struct progress {
	int64_t began;
	bool screen;		/* on a terminal: a line written anew */
	bool shown;		/* the line stands there */
	bool logged;		/* the line for a log was written */
};

void progress_begin(struct progress *p);
/* Milliseconds since then. */
int64_t progress_ms(const struct progress *p);
/*
 * Is there something to say? On a terminal from the first second on, for
 * progress_show(); elsewhere once, for a line of the log.
 */
bool progress_due(struct progress *p);
void progress_show(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void progress_clear(struct progress *p);

/* ---- console.c: the guest's serial console ------------------------------- */

#define CONSOLE_FDS	3
#define CONSOLE_TAIL	4096

struct console {
	int guest;		/* our end of the socket, or -1 */
	int in, out;		/* -1: none */
	bool escape;		/* ^A x in the input asks to quit */
	bool quit;		/* it was typed */
	int out_error;		/* errno of a write that failed, or 0 */
	/* private */
	bool after_ctrl_a;
	unsigned char to_guest[512], to_out[4096];
	size_t guest_len, guest_off, out_len, out_off;
	unsigned char tail[CONSOLE_TAIL];
	size_t tail_len, tail_at;
};

void console_open(struct console *c, int guest, int in, int out);
unsigned int console_poll(struct console *c, struct pollfd *fds);
void console_handle(struct console *c, const struct pollfd *fds,
		    unsigned int nr);
/* Write what is left for the output, waiting for at most @ms. */
void console_drain(struct console *c, int ms);
/* Whether a Linux kernel's panic is among the last words. */
bool console_panicked(const struct console *c);
/*
 * Print @lines lines on stderr, escaped, for an error report: the last ones,
 * or a panic's first.
 */
void console_print_tail(const struct console *c, unsigned int lines);


/* ---- spawn.c: QEMU as a child process ------------------------------------ */

struct qemu_process {
	pid_t pid;
	int pidfd;
	int output;		/* its stdout and stderr, non-blocking */
};

/**
 * spawn_qemu() - fork and exec with only the descriptors of @w
 *
 * Return: 0, or the exit status of vmshare after the reason was printed.
 */
int spawn_qemu(struct qemu_process *p, char **argv,
	       const struct qemu_wiring *w, struct guardian *guardian);

/* ---- report.c: reports for machines -------------------------------------- */

struct report {
	int status_fd, ready_fd;
	bool ready;
};

int report_open(struct report *r, const struct config *c,
		struct guardian *guardian);
void report_started(struct report *r, pid_t child);
/* mounted, unmounted and so on, about the share @tag. */
void report_share(struct report *r, const char *event, const char *tag);
/* Once: tell systemd and --ready-fd. */
void report_ready(struct report *r);
/* @source: "guest" or "vmshare". */
void report_exit(struct report *r, int status, const char *source);
/* Send a state to systemd's NOTIFY_SOCKET, if there is one. */
void report_notify(const char *state);

/* ---- supervise.c's state, and outcome.c, which puts it in words ---------- */

enum cause {
	CAUSE_NONE,		/* QEMU ended by itself */
	CAUSE_SIGNAL,		/* one of ours */
	CAUSE_TIMEOUT,
	CAUSE_SHARE,		/* a file server failed */
	CAUSE_QUIT,		/* ^A x */
	CAUSE_DONE,		/* the command ended, all was unmounted */
};

enum step { STEP_RUN, STEP_ASKED, STEP_TERM, STEP_KILL };

/* --dump; all zero without. */
struct dump {
	char *path;			/* absolute, or NULL */
	bool fresh;			/* we made the file */
	bool under_way, over;
	int64_t decide;			/* when to look why QEMU stopped */
};

struct run {
	struct supervise_setup *s;
	struct qemu_process qemu;
	struct terminal terminal;
	struct console console;
	struct qmp qmp;
	struct report report;
	int signals;
	enum cause cause;
	int signal;			/* of CAUSE_SIGNAL */
	enum step step;
	int64_t step_deadline;		/* 0: none; ms, CLOCK_MONOTONIC */
	int64_t timeout, left_deadline, panic_deadline;
	int64_t driver_check;		/* 0: a share may be missed now */
	struct dump dump;
	struct progress boot;		/* until the guest is up */
	int64_t boot_tick;		/* 0: it is */
	bool up;			/* the machine was made */
	bool panicked, powered_off, reset_off;
	bool qemu_gone;
	int qemu_status;		/* exit status, or 128 + n */
	bool qemu_killed;		/* by a signal */
	char words[512];		/* a line of QEMU's, so far */
	size_t words_len;
	char last_words[256];
};

/* ---- dump.c: --dump ------------------------------------------------------ */

/* Make the file; 0, or -errno after an error was printed. */
int dump_open(struct run *r);
/* The guest panicked: true where its memory is being written. */
bool dump_begin(struct run *r);
/* QEMU stopped, because the guest shut down or reset; dump_decide() later. */
void dump_stopped(struct run *r);
void dump_decide(struct run *r);
/* It was written, or not. */
void dump_over(struct run *r, bool good);
void dump_close(struct run *r);

/* Tell that the guest is ended, by --timeout or --shutdown-timeout. */
void outcome_timeout(const struct run *r);
void outcome_cut_off(const struct run *r);
/* Tell of a share whose keeper ended with @status, and what comes of it. */
void outcome_failed(const struct share *share, int status, const char *then);
/* The guardian has died: have another, and tell. */
void outcome_unguarded(struct guardian *guardian);
/* Tell of a share that the guest has set up no driver for in @seconds. */
void outcome_waiting(const struct share *share, int seconds);
/*
 * At the end, where it means something: warn of shares that the guest had no
 * driver for, or never mounted.
 */
void outcome_shares(const struct run *r);
/**
 * outcome_status() - how the run ended, in words and as an exit status
 * @source:	set to who chose the status: "guest" or "vmshare"
 */
int outcome_status(struct run *r, const char **source);

#endif
