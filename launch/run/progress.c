/* SPDX-License-Identifier: MIT */
/*
 * Progress of what takes longer than a second: on a terminal one line that is
 * rewritten and then removed, elsewhere one line of the log. A dumb terminal,
 * which can't go back to the start of a line, is not one. There is no colour.
 *
 * Nothing else may be written to the terminal while the line is there: it is
 * removed before output of the guest is passed on.
 */

#include "launch/run/supervise.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void progress_begin(struct progress *p)
{
	const char *term = getenv("TERM");

	p->began = clock_ms();
	p->shown = p->logged = false;
	p->screen = log_enabled(LOG_LEVEL_NOTE) && isatty(STDERR_FILENO) &&
		term && *term && strcmp(term, "dumb") != 0;
}

int64_t progress_ms(const struct progress *p)
{
	return clock_ms() - p->began;
}

bool progress_due(struct progress *p)
{
	bool first = !p->logged;

	if (progress_ms(p) < PROGRESS_AFTER_MS)
		return false;
	p->logged = true;
	return p->screen || first;
}

void progress_show(struct progress *p, const char *fmt, ...)
{
	char line[160] = "\rvmshare: ";
	size_t len = strlen(line);
	va_list args;

	va_start(args, fmt);
	vsnprintf(line + len, sizeof(line) - len - 4, fmt, args);
	va_end(args);
	strcat(line, " \033[K");
	p->shown = true;
	(void)!write(STDERR_FILENO, line, strlen(line));
}

void progress_clear(struct progress *p)
{
	static const char clear[] = "\r\033[K";

	if (p->shown)
		(void)!write(STDERR_FILENO, clear, sizeof(clear) - 1);
	p->shown = false;
}
