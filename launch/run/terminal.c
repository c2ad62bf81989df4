/* SPDX-License-Identifier: MIT */
/*
 * The caller's terminal: made raw while a guest's console or a command in a
 * guest is at the other end of it, and given back as it was, whatever happens.
 * Each way out has its owner: an ordinary end and a stop (^Z from outside)
 * are supervise.c's, a killed vmshare is the guardian's, which is told the
 * settings before they are changed.
 *
 * Output processing stays on: our own messages go to the same terminal, and a
 * carriage return too many does not show. Flags of the descriptor are left
 * alone, as it is shared with the shell that started us.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

void terminal_open(struct terminal *t, int fd, struct guardian *guardian)
{
	t->guardian = guardian;
	t->raw = false;
	t->fd = -1;
	if (fd < 0 || !isatty(fd) || tcgetattr(fd, &t->saved) < 0)
		return;
	/* A background job that reads or sets its terminal is stopped. */
	if (tcgetpgrp(fd) != getpgrp())
		return;
	t->fd = fd;
}

void terminal_raw(struct terminal *t)
{
	struct termios raw;

	if (t->fd < 0 || t->raw || tcgetpgrp(t->fd) != getpgrp())
		return;
	raw = t->saved;
	cfmakeraw(&raw);
	raw.c_oflag = t->saved.c_oflag;
	guardian_terminal(t->guardian, t->fd, &t->saved);
	if (tcsetattr(t->fd, TCSANOW, &raw) == 0)
		t->raw = true;
}

void terminal_restore(struct terminal *t)
{
	if (t->fd < 0 || !t->raw)
		return;
	/* TCSADRAIN would wait for a reader who may never come. */
	tcsetattr(t->fd, TCSANOW, &t->saved);
	guardian_terminal(t->guardian, -1, NULL);
	t->raw = false;
}

int terminal_size(const struct terminal *t, unsigned short *rows,
		  unsigned short *cols)
{
	struct winsize size;

	if (t->fd < 0)
		return -ENOTTY;
	if (ioctl(t->fd, TIOCGWINSZ, &size) < 0)
		return -errno;
	*rows = size.ws_row;
	*cols = size.ws_col;
	return 0;
}
