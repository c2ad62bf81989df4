/* SPDX-License-Identifier: MIT */
/*
 * Messages for people. Each line goes to stderr in one write(2), so that lines
 * of several processes and threads do not mix; stdout is for the guest or for
 * output that the user asked for. On request messages go to the system's log
 * instead, one datagram each, and stderr is the guest's. Level, name and prefix
 * are set before threads start and are constant after that: no lock is needed.
 *
 * Nothing here allocates, and each call preserves errno, so that a message can
 * be printed between a failed system call and the use of errno.
 */

#include "base/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_DAEMON	(3 << 3)	/* syslog's facility */

static enum log_level log_max = LOG_LEVEL_NOTE;
static bool log_journal;
static int log_fd = STDERR_FILENO;
static int log_pid;		/* for a syslog daemon; or 0 */
static char log_who[96];

/* syslog(3) priorities, also used in sd-daemon(3) prefixes. */
static const struct {
	const char *word;
	int priority;
} log_levels[] = {
	[LOG_LEVEL_ERROR] = { "error", 3 },
	[LOG_LEVEL_WARNING] = { "warning", 4 },
	[LOG_LEVEL_NOTE] = { "note", 5 },
	[LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
};

void log_setup(enum log_level max, bool journal)
{
	log_max = max;
	log_journal = journal;
}

void log_syslog(int sock)
{
	log_fd = sock;
	log_pid = (int)getpid();
}

int log_settle(void)
{
	if (log_fd != STDERR_FILENO && dup2(log_fd, STDERR_FILENO) < 0)
		return -errno;
	log_fd = STDERR_FILENO;
	return 0;
}

void log_name(const char *name)
{
	if (name)
		snprintf(log_who, sizeof(log_who), "%s: ", name);
	else
		log_who[0] = '\0';
}

bool log_enabled(enum log_level level)
{
	return level <= log_max;
}

static void log_line(enum log_level level, const char *word, const char *who,
		     const char *fmt, va_list args) PRINTF_LIKE(4, 0);

static void log_line(enum log_level level, const char *word, const char *who,
		     const char *fmt, va_list args)
{
	int saved = errno;
	char line[1024], prefix[32] = "vmshare";
	size_t len;
	int n;

	if (!log_enabled(level))
		return;
	if (log_pid)
		snprintf(prefix, sizeof(prefix), "<%d>vmshare[%d]",
			 LOG_DAEMON | log_levels[level].priority, log_pid);
	else if (log_journal)
		snprintf(prefix, sizeof(prefix), "<%d>vmshare",
			 log_levels[level].priority);
	n = snprintf(line, sizeof(line) - 1, "%s: %s: %s", prefix, word, who);
	len = n < 0 ? 0 : (size_t)n;
	if (len < sizeof(line) - 1) {
		errno = saved;	/* for %m */
		n = vsnprintf(line + len, sizeof(line) - 1 - len, fmt, args);
		len += n < 0 ? 0 : (size_t)n;
	}
	if (len > sizeof(line) - 2) {
		len = sizeof(line) - 1;
		memcpy(line + len - 3, "...", 3);
	}
	line[len++] = '\n';
	/* A failure can't be reported. */
	if (write(log_fd, line, len - (log_pid != 0)) < 0)
		errno = saved;
	errno = saved;
}

#define LOG_FUNCTION(name, level)                                            \
	void name(const char *fmt, ...)                                      \
	{                                                                    \
		va_list args;                                                \
                                                                             \
		va_start(args, fmt);                                         \
		log_line(level, log_levels[level].word, log_who, fmt, args); \
		va_end(args);                                                \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_note, LOG_LEVEL_NOTE)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

void log_hint(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_line(LOG_LEVEL_ERROR, "hint", "", fmt, args);
	va_end(args);
}

char *log_escape(char *dst, size_t size, const void *src, size_t len)
{
	const unsigned char *s = src;
	size_t out = 0, cut = 0;	/* cut: where "..." would still fit */

	if (!size)
		return dst;
	for (size_t i = 0; i < len; i++) {
		bool plain = s[i] >= 0x20 && s[i] < 0x7f && s[i] != '\\';
		size_t need = plain ? 1 : 4;

		if (out + need >= size) {
			out = cut;
			for (int dot = 0; dot < 3 && out + 1 < size; dot++)
				dst[out++] = '.';
			break;
		}
		if (plain)
			dst[out] = (char)s[i];
		else
			sprintf(dst + out, "\\x%02x", s[i]);
		out += need;
		if (out + 3 < size)
			cut = out;
	}
	dst[out] = '\0';
	return dst;
}

bool log_allowed(struct log_limit *limit)
{
	struct timespec now;
	int64_t last;

	if (__atomic_load_n(&limit->said, __ATOMIC_RELAXED) < limit->burst &&
	    __atomic_fetch_add(&limit->said, 1, __ATOMIC_RELAXED) <
		    limit->burst)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	last = __atomic_load_n(&limit->last, __ATOMIC_RELAXED);
	if (last && now.tv_sec - last < (int64_t)limit->seconds)
		return false;
	return __atomic_compare_exchange_n(&limit->last, &last, now.tv_sec,
					   false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED) &&
	       last != 0;
}
