/* SPDX-License-Identifier: MIT */
/*
 * QEMU's monitor, as far as a supervisor needs it: shake hands, hear why the
 * machine stops, and ask it to power down. One message is one line of JSON
 * (QEMU's interop/qmp-spec), read without blocking into a fixed buffer. A
 * guest that took over QEMU can write anything here, so a line that is too
 * long is skipped, and one that is not JSON is ignored.
 *
 * The reader knows just enough JSON to find a member by path: it skips values
 * by their brackets and strings, with a bounded depth, and allocates nothing.
 * Strings are compared as they stand; the names and words that matter here
 * hold no escapes.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define JSON_DEPTH	32

/* ---- JSON ---------------------------------------------------------------- */

static const char *skip_space(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* @s is at the opening quote; the byte behind the closing one, or NULL. */
static const char *skip_string(const char *s)
{
	for (s++; *s; s++) {
		if (*s == '\\' && s[1])
			s++;
		else if (*s == '"')
			return s + 1;
	}
	return NULL;
}

/* The byte behind the value at @s, or NULL. */
static const char *skip_value(const char *s)
{
	char open[JSON_DEPTH];
	unsigned int depth = 0;

	do {
		s = skip_space(s);
		if (*s == '"') {
			s = skip_string(s);
			if (!s)
				return NULL;
		} else if (*s == '{' || *s == '[') {
			if (depth == JSON_DEPTH)
				return NULL;
			open[depth++] = *s++ == '{' ? '}' : ']';
		} else if (*s == '}' || *s == ']') {
			if (!depth || open[--depth] != *s++)
				return NULL;
		} else if (*s == ',' || *s == ':') {
			if (!depth)
				return NULL;
			s++;
		} else {
			size_t n = strcspn(s, ",:{}[]\" \t\r\n");

			if (!n)
				return NULL;
			s += n;
		}
	} while (depth);
	return s;
}

/* The value of the member @name (@len bytes) of the object at @s, or NULL. */
static const char *find_member(const char *s, const char *name, size_t len)
{
	s = skip_space(s);
	if (*s++ != '{')
		return NULL;
	for (;;) {
		const char *key = skip_space(s), *end;
		bool found;

		if (*key != '"')
			return NULL;
		end = skip_string(key);
		if (!end)
			return NULL;
		found = (size_t)(end - key) == len + 2 &&
			memcmp(key + 1, name, len) == 0;
		s = skip_space(end);
		if (*s++ != ':')
			return NULL;
		s = skip_space(s);
		if (found)
			return s;
		s = skip_value(s);
		if (!s)
			return NULL;
		s = skip_space(s);
		if (*s++ != ',')
			return NULL;
	}
}

ssize_t json_find(const char *json, const char *path, const char **value)
{
	const char *s = skip_space(json), *end = skip_value(s);

	if (!end || *s != '{')
		return -EINVAL;
	for (;;) {
		size_t len = strcspn(path, ".");

		s = find_member(s, path, len);
		if (!s)
			return -ENOENT;
		path += len;
		if (!*path)
			break;
		path++;
	}
	end = skip_value(s);
	if (!end)
		return -EINVAL;
	if (*s == '"') {
		s++;
		end--;
	}
	*value = s;
	return end - s;
}

/* ---- the monitor --------------------------------------------------------- */

static bool json_is(const char *json, const char *path, const char *want)
{
	const char *value;
	ssize_t len = json_find(json, path, &value);

	return len >= 0 && (size_t)len == strlen(want) &&
	       memcmp(value, want, (size_t)len) == 0;
}

void qmp_open(struct qmp *q, int fd)
{
	memset(q, 0, sizeof(*q));
	q->fd = fd;
}

static int qmp_send(struct qmp *q, const char *name)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "{\"execute\":\"%s\"}\n", name);

	if (n < 0 || (size_t)n >= sizeof(line))
		return -EINVAL;
	if (send(q->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		return errno ? -errno : -EIO;
	return 0;
}

int qmp_command(struct qmp *q, const char *name)
{
	if (q->fd < 0 || !q->ready)
		return -EAGAIN;
	log_debug("qmp: %s", name);
	return qmp_send(q, name);
}

int qmp_dump(struct qmp *q, const char *path)
{
	char line[4 * PATH_MAX];
	int n = snprintf(line, sizeof(line), "{\"execute\":"
			 "\"dump-guest-memory\",\"id\":\"dump\",\"arguments\":"
			 "{\"paging\":false,\"protocol\":\"file:");

	if (q->fd < 0 || !q->ready)
		return -EAGAIN;
	for (; *path && n < (int)sizeof(line) - 16; path++) {
		bool plain = (unsigned char)*path >= ' ' && *path != '"' &&
			     *path != '\\';

		n += snprintf(line + n, sizeof(line) - (size_t)n,
			      plain ? "%c" : "\\u%04x", (unsigned char)*path);
	}
	if (*path)
		return -ENAMETOOLONG;
	n += snprintf(line + n, sizeof(line) - (size_t)n, "\"}}\n");
	if (send(q->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		return errno ? -errno : -EIO;
	return 0;
}

static enum qmp_event qmp_dumped(struct qmp *q, const char *line)
{
	const char *value = "";
	ssize_t len;

	if (json_find(line, "error", &value) < 0)
		return QMP_DUMPED;
	len = json_find(line, "error.desc", &value);
	snprintf(q->error, sizeof(q->error), "%.*s", len > 0 ? (int)len : 0,
		 value);
	return QMP_NOT_DUMPED;
}

static enum qmp_event qmp_shutdown(const char *line)
{
	if (json_is(line, "data.reason", "guest-panic"))
		return QMP_PANICKED;
	if (json_is(line, "data.reason", "guest-reset"))
		return QMP_SHUTDOWN_RESET;
	if (json_is(line, "data.guest", "true"))
		return QMP_SHUTDOWN_GUEST;
	return QMP_SHUTDOWN_HOST;
}

static enum qmp_event qmp_line(struct qmp *q, const char *line)
{
	const char *value;
	char text[256];

	if (log_enabled(LOG_LEVEL_DEBUG))
		log_debug("qmp: %s", log_escape(text, sizeof(text), line,
						strlen(line)));
	if (json_find(line, "QMP", &value) >= 0) {
		(void)qmp_send(q, "qmp_capabilities");
		return QMP_NONE;
	}
	if (json_is(line, "id", "dump"))
		return qmp_dumped(q, line);
	if (!q->ready && json_find(line, "return", &value) >= 0) {
		q->ready = true;
		return QMP_READY;
	}
	if (json_is(line, "event", "SHUTDOWN"))
		return qmp_shutdown(line);
	if (json_is(line, "event", "GUEST_PANICKED"))
		return QMP_PANICKED;
	if (json_is(line, "event", "RESET"))
		return QMP_RESET;
	return QMP_NONE;
}

/* Move one whole line from the buffer to @line (as large); false: none. */
static bool qmp_take(struct qmp *q, char *line)
{
	char *end = memchr(q->buf, '\n', q->len);
	size_t n;

	if (!end) {
		if (q->len == sizeof(q->buf)) {
			q->skipping = true;
			q->len = 0;
		}
		return false;
	}
	n = (size_t)(end - q->buf);
	memcpy(line, q->buf, n);
	line[n] = '\0';
	q->len -= n + 1;
	memmove(q->buf, end + 1, q->len);
	if (q->skipping)
		line[0] = '\0';
	q->skipping = false;
	return true;
}

void qmp_read(struct qmp *q)
{
	ssize_t n;

	if (q->fd < 0)
		return;
	n = recv(q->fd, q->buf + q->len, sizeof(q->buf) - q->len,
		 MSG_DONTWAIT);
	if (n > 0) {
		q->len += (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(q->fd);
		q->fd = -1;
		q->ready = false;
	}
}

enum qmp_event qmp_next(struct qmp *q)
{
	char line[sizeof(q->buf)];
	enum qmp_event event;

	while (qmp_take(q, line)) {
		event = qmp_line(q, line);
		if (event != QMP_NONE)
			return event;
	}
	return QMP_NONE;
}
