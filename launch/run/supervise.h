/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_SUPERVISE_H
#define VMSHARE_LAUNCH_SUPERVISE_H

/*
 * Between the files of the supervision: who cleans up when vmshare is killed,
 * the terminal, the guest's console, QEMU's monitor and process, and what is
 * told to machines. supervise.c drives them all from one poll loop.
 */

#include "launch/launch.h"

#include <poll.h>
#include <signal.h>
#include <termios.h>

/* ---- guardian.c: what happens when vmshare itself is killed -------------- */

#define GUARDIAN_PROCESSES	(VM_MAX_SHARES + 8)

/**
 * guardian_slot() - where to put a pidfd of a process that must not survive
 *
 * For CLONE_PIDFD: the kernel stores the descriptor there before the child
 * runs, so that there is no moment in which nobody would kill it.
 * Return: the slot, holding -1; NULL when there are none left.
 */
int *guardian_slot(struct guardian *guardian);

/* To be polled: readable when the guardian has died. -1: there is none. */
int guardian_fd(const struct guardian *guardian);

/**
 * guardian_replace() - it has died: start another
 *
 * After some deaths there is none any more.
 * Return: 0 or -errno.
 */
int guardian_replace(struct guardian *guardian);

/* The process is gone: forget it (the caller closes the pidfd afterwards). */
void guardian_forget(struct guardian *guardian, int pidfd);

/**
 * guardian_file() - a file that is about to be made must not survive vmshare
 *
 * It is removed by guardian_end(), or when vmshare is killed; until
 * guardian_made() whatever has that name.
 * Return: a number for guardian_made(), or -errno.
 */
int guardian_file(struct guardian *guardian, const char *path);

/*
 * It is made: @fd, which is the guardian's from here on, tells it from another
 * of the same name. -1: it was not.
 */
void guardian_made(struct guardian *guardian, int slot, int fd);

/**
 * guardian_scratch() - make a directory for temporary files of QEMU's
 *
 * QEMU's file for snapshot=on has a name until it is open, and keeps it when
 * QEMU is killed before. Return: the path, or NULL when none could be made.
 */
const char *guardian_scratch(struct guardian *guardian);

/** guardian_sweep() - remove those files, and the directory if it is empty */
void guardian_sweep(struct guardian *guardian);

/** guardian_terminal() - these are the settings to restore; NULL: no more */
void guardian_terminal(struct guardian *guardian, int fd,
		       const struct termios *saved);

/* In a child just after fork: has vmshare been killed in the meantime? */
bool guardian_orphaned(const struct guardian *guardian);

/*
 * In a child that does not exec: unmap the page. Whoever can write to it
 * decides what the guardian kills and removes.
 */
void guardian_leave(struct guardian *guardian);

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
	bool told;		/* a log had its line */
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

/* ---- qmp.c: QEMU's monitor ----------------------------------------------- */

enum qmp_event {
	QMP_NONE,
	QMP_READY,		/* capabilities negotiated: the machine is up */
	QMP_SHUTDOWN_GUEST,	/* the guest powered itself off */
	QMP_SHUTDOWN_RESET,	/* it reset, and -no-reboot made that the end */
	QMP_SHUTDOWN_HOST,	/* asked for from outside */
	QMP_PANICKED,
	QMP_RESET,		/* the guest reboots */
	QMP_DUMPED,		/* what qmp_dump() asked for is written */
	QMP_NOT_DUMPED,		/* or is not; error says why */
};

struct qmp {
	int fd;			/* -1: it was closed */
	bool ready;
	bool skipping;		/* in a line that is too long */
	char error[128];	/* QEMU's words, not to be trusted */
	size_t len;
	char buf[16384];
};

void qmp_open(struct qmp *q, int fd);

/* Once after the descriptor became readable: it may always have more. */
void qmp_read(struct qmp *q);
/* What was read says; call until it returns QMP_NONE. */
enum qmp_event qmp_next(struct qmp *q);

/* Send a command without arguments; -errno, -EAGAIN before QMP_READY. */
int qmp_command(struct qmp *q, const char *name);
/* Have the guest's memory written to @path, absolute; likewise. */
int qmp_dump(struct qmp *q, const char *path);

/**
 * json_find() - a member of a JSON object in text
 * @json:	the object, NUL-terminated
 * @path:	member names with dots between: "data.reason"
 * @value:	set to the value's first byte
 *
 * Return: length of the value's text (a string's without its quotes), or
 * -ENOENT, or -EINVAL when it is not JSON.
 */
ssize_t json_find(const char *json, const char *path, const char **value);

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

/* ---- report.c: what machines are told ------------------------------------ */

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
