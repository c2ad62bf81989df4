/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * QEMU's monitor, and the JSON that it speaks.
 */

#include "launch/run/supervise.h"
#include "tests/c/check.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* The member at "a.b" of a text; NULL where it is none, or there is none. */
static json member(const char *text, const char *path)
{
	char key[16];
	json value = json_valid(text) ? text : NULL;

	while (*path) {
		size_t len = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		value = json_get(value, key);
		path += len + (path[len] == '.');
	}
	return value;
}

static void json_members(void)
{
	static const struct {
		const char *text, *path, *want;	/* NULL: not there */
	} cases[] = {
		{"{}", "a", NULL},
		{"{\"a\": 1}", "a", "1"},
		{"{\"a\":{\"b\":\"x\"},\"b\":2}", "a.b", "x"},
		{"{\"a\":{\"b\":\"x\"},\"b\":2}", "b", "2"},
		{"{\"x\":[{\"a\":1},\"]}\"],\"a\":true}", "a", "true"},
		{"{\"x\":\"\\\"a\\\":\",\"a\":3}", "a", "3"},
		{"{\"a\"", "a", NULL},
		{"{\"a\":", "a", NULL},
		{"{\"a\":\"", "a", NULL},
		{"[1]", "a", NULL},
		{"", "a", NULL},
		{"}", "a", NULL},
		{"{\"a\":[}", "a", NULL},
		{"{\"a\":1}", "a.b", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json value = member(cases[i].text, cases[i].path);
		const char *text;
		size_t len;

		if (!cases[i].want) {
			CHECK(!value);
			CHECK(!json_is(value, ""));
			continue;
		}
		len = json_text(value, &text);
		CHECK_EQ(len, strlen(cases[i].want));
		CHECK(strncmp(text, cases[i].want, len) == 0);
		CHECK(json_is(value, cases[i].want));
		CHECK(!json_is(value, "no"));
	}
}

/* What is written can be read; what does not fit is cut between characters. */
static void json_written(void)
{
	static const char text[] = "a\"b\\c\n\177\xc3\xa9";
	char buf[64];

	CHECK_EQ(json_escape(buf, sizeof(buf), text), 0);
	CHECK_STR(buf, "a\\\"b\\\\c\\u000a\\u007f\xc3\xa9");
	CHECK_EQ(json_escape(buf, 9, text), -ENAMETOOLONG);
	CHECK_STR(buf, "a\\\"b\\\\c");
	CHECK_EQ(json_escape(buf, 1, ""), 0);
	CHECK_STR(buf, "");
}

static void json_deep(void)
{
	char text[4096];

	memset(text, '[', sizeof(text));
	memcpy(text, "{\"a\":", 5);
	text[sizeof(text) - 1] = '\0';
	CHECK(!json_valid(text));
}

static enum qmp_event monitor_says(struct qmp *q)
{
	qmp_read(q);
	return qmp_next(q);
}

static void monitor(void)
{
	static const char shutdown[] =
		"{\"timestamp\": {\"seconds\": 1}, \"event\": \"SHUTDOWN\", "
		"\"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}";
	static char big[40000];
	struct qmp q;
	int fds[2];
	char buf[256];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	qmp_open(&q, fds[0]);
	CHECK_EQ(qmp_command(&q, "quit"), -EAGAIN);
	CHECK_EQ(monitor_says(&q), QMP_NONE);
	dprintf(fds[1], "{\"QMP\": {}}\r\n");
	CHECK_EQ(monitor_says(&q), QMP_NONE);
	CHECK(read(fds[1], buf, sizeof(buf)) > 0);
	CHECK(strstr(buf, "qmp_capabilities"));
	dprintf(fds[1], "{\"return\": {}}\r\n%s\r\n", shutdown);
	CHECK_EQ(monitor_says(&q), QMP_READY);
	CHECK_EQ(qmp_next(&q), QMP_SHUTDOWN_GUEST);
	CHECK_EQ(qmp_next(&q), QMP_NONE);
	/* A line that is too long is skipped, the next one is read. */
	memset(big, 'x', sizeof(big));
	CHECK_EQ(write(fds[1], big, sizeof(big)), sizeof(big));
	CHECK_EQ(monitor_says(&q), QMP_NONE);
	/* No more than once a call: whoever writes may never stop. */
	CHECK(recv(q.fd, buf, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
	CHECK_EQ(monitor_says(&q), QMP_NONE);
	CHECK_EQ(monitor_says(&q), QMP_NONE);
	dprintf(fds[1], "\n{\"event\": \"RESET\"}\n");
	CHECK_EQ(monitor_says(&q), QMP_RESET);
	close(fds[1]);
	CHECK_EQ(monitor_says(&q), QMP_NONE);
	CHECK_EQ(monitor_says(&q), QMP_NONE);
	CHECK_EQ(q.fd, -1);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"JSON members", json_members},
		{"JSON escapes", json_written},
		{"JSON too deep", json_deep},
		{"the monitor", monitor},
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
