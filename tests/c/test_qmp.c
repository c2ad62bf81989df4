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

static void json(void)
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
		const char *value = NULL;
		ssize_t len = json_find(cases[i].text, cases[i].path, &value);

		if (!cases[i].want) {
			CHECK(len < 0);
			continue;
		}
		CHECK_EQ(len, strlen(cases[i].want));
		CHECK(strncmp(value, cases[i].want, (size_t)len) == 0);
	}
}

static void json_deep(void)
{
	const char *value;
	char text[4096];

	memset(text, '[', sizeof(text));
	memcpy(text, "{\"a\":", 5);
	text[sizeof(text) - 1] = '\0';
	CHECK(json_find(text, "a", &value) < 0);
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
		{"JSON members", json},
		{"JSON too deep", json_deep},
		{"the monitor", monitor},
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
