/* SPDX-License-Identifier: MIT */
/*
 * QEMU's monitor, as far as a supervisor needs it: shake hands, hear why the
 * machine stops, and ask it to power down. One message is one line of JSON
 * (QEMU's interop/qmp-spec), read without blocking into a fixed buffer. A
 * guest that took over QEMU can write anything here, so a line that is too
 * long is skipped, and one that is not JSON is ignored. Strings are compared
 * as they stand: the names and words that matter here hold no escapes.
 */

#include "launch/qemu/qemu.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define JSON_DEPTH	32

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
	char line[4 * PATH_MAX], name[3 * PATH_MAX];
	int n;

	if (q->fd < 0 || !q->ready)
		return -EAGAIN;
	if (json_escape(name, sizeof(name), path))
		return -ENAMETOOLONG;
	n = snprintf(line, sizeof(line), "{\"execute\":"
		     "\"dump-guest-memory\",\"id\":\"dump\",\"arguments\":"
		     "{\"paging\":false,\"protocol\":\"file:%s\"}}\n", name);
	if (send(q->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		return errno ? -errno : -EIO;
	return 0;
}

static enum qmp_event qmp_dumped(struct qmp *q, json line)
{
	json error = json_get(line, "error");
	const char *text = "";
	size_t len;

	if (!error)
		return QMP_DUMPED;
	len = json_text(json_get(error, "desc"), &text);
	snprintf(q->error, sizeof(q->error), "%.*s", (int)len, text);
	return QMP_NOT_DUMPED;
}

static enum qmp_event qmp_shutdown(json line)
{
	json data = json_get(line, "data");

	if (json_is(json_get(data, "reason"), "guest-panic"))
		return QMP_PANICKED;
	if (json_is(json_get(data, "reason"), "guest-reset"))
		return QMP_SHUTDOWN_RESET;
	if (json_is(json_get(data, "guest"), "true"))
		return QMP_SHUTDOWN_GUEST;
	return QMP_SHUTDOWN_HOST;
}

static enum qmp_event qmp_line(struct qmp *q, const char *line)
{
	char text[256];
	json event;

	if (log_enabled(LOG_LEVEL_DEBUG))
		log_debug("qmp: %s", log_escape(text, sizeof(text), line,
						strlen(line)));
	if (!json_valid(line))
		return QMP_NONE;
	if (json_get(line, "QMP")) {
		(void)qmp_send(q, "qmp_capabilities");
		return QMP_NONE;
	}
	if (json_is(json_get(line, "id"), "dump"))
		return qmp_dumped(q, line);
	if (!q->ready && json_get(line, "return")) {
		q->ready = true;
		return QMP_READY;
	}
	event = json_get(line, "event");
	if (json_is(event, "SHUTDOWN"))
		return qmp_shutdown(line);
	if (json_is(event, "GUEST_PANICKED"))
		return QMP_PANICKED;
	return json_is(event, "RESET") ? QMP_RESET : QMP_NONE;
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
