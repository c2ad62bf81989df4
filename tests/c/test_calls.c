/* rooms: base tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * What requests cost in system calls, as strace sees it, one at a time:
 *
 *	GETATTR, cached READ	one wait, one call on the file, the call write
 *	LOOKUP of a known name	the same
 *
 * Each is done twenty times between two lookups of names that are not there
 * and can be found in the trace. A server that waits on anything more, reads
 * its kick descriptor or copies data shows as a call more, in each of three
 * rounds. What happens once, such as the start of a thread that a busy
 * machine delayed, spoils one.
 */

#include "tests/c/check.h"
#include "tests/frontend/fe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define TIMES	20
#define READ	(128u << 10)
#define ROUNDS	3
#define MAX_NAMES 16

static char top[64], trace[96];
static struct fe_server server;
static struct fe *fe;

/* The calls between two marks, by name. */
static struct {
	char name[32];
	int count;
} calls[MAX_NAMES];

static int in_top(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "cd %s && { %s; }", top, command);
	return system(line);
}

static int set_up(void)
{
	const char *own = getenv("VMSHARE"), *argv[] = {
		"strace", "-D", "-f", "-qq", "-s", "64",
		"-e", "signal=none", "-o",
		trace, own ? own : "./vmshare", "serve", "--fd={fd}", "--share",
		NULL, NULL,
	};
	struct fe_opts opts = { .queues = 1, .timeout_ms = 60000 };
	char share[96];
	int err;

	snprintf(top, sizeof(top), "%s/vmshare-calls.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
	if (!mkdtemp(top))
		return -errno;
	snprintf(trace, sizeof(trace), "%s/trace", top);
	snprintf(share, sizeof(share), "%s/share:t", top);
	argv[14] = share;
	if (in_top("mkdir share && head -c 1M /dev/urandom >share/f && "
		   "cat share/f >/dev/null"))
		return -EIO;
	err = fe_server_start(&server, argv, true);
	if (err)
		return err;
	opts.path = server.path;
	err = fe_connect(&fe, &opts);
	return err ? err : fe_fuse_init(fe, 0);
}

static void mark(const char *what, int round)
{
	struct fuse_entry_out e;
	char name[32];

	snprintf(name, sizeof(name), "mark-%s-%d", what, round);
	CHECK_EQ(fe_lookup(fe, FUSE_ROOT_ID, name, &e), 0);
	CHECK_EQ(e.nodeid, 0);
}

static void count(const char *line)
{
	const char *name = strchr(line, ' ');
	size_t len, i;

	name += strspn(name, " ");
	/* "<... statx resumed>" is the end of one that was counted. */
	if (*name == '<')
		return;
	len = strcspn(name, "(");
	for (i = 0; i < MAX_NAMES - 1 && calls[i].count; i++)
		if (strlen(calls[i].name) == len &&
		    !strncmp(calls[i].name, name, len))
			break;
	snprintf(calls[i].name, sizeof(calls[i].name), "%.*s", (int)len, name);
	calls[i].count++;
}

/* A server looks at the ring for a moment before it sleeps: let it sleep. */
static void pause_between(void)
{
	usleep(20000);
}

/*
 * Count what the trace has from the call that saw @from until that of @to.
 * The process that was started, the first in it, is left out: it reads that
 * the share is mounted when it gets to it, on a busy machine between marks.
 */
static void read_trace(const char *from, const char *to)
{
	FILE *f = fopen(trace, "re");
	bool on = false, end = false;
	char line[1024];
	long first = 0;

	memset(calls, 0, sizeof(calls));
	while (f && !end && fgets(line, sizeof(line), f)) {
		long pid = strtol(line, NULL, 10);

		first = first ? first : pid;
		end = on && strstr(line, to);
		if (on && !end && pid != first && strchr(line, ' '))
			count(line);
		on |= strstr(line, from) != NULL;
	}
	if (f)
		fclose(f);
	CHECK(end);
}

/* strace is no child of ours, and may end after the server. */
static void await_trace(void)
{
	for (int i = 0; i < 100 && in_top("grep -q mark-end-2 trace"); i++)
		usleep(50000);
}

static int times(const char *name)
{
	for (int i = 0; i < MAX_NAMES; i++)
		if (!strcmp(calls[i].name, name))
			return calls[i].count;
	return 0;
}

/*
 * TIMES times @call, and around it at most a wait and a write, of which the
 * mark before has one too. Fewer is no fault: a front end that sees a reply
 * before it sleeps needs no write, a thread that was never asleep no wait.
 * The connection's thread, which watches the rings, wakes ten times a second.
 */
static bool is_just(const char *call)
{
	int waits = times("epoll_wait") + times("epoll_pwait");
	int writes = times("write"), all = 0;
	int watch = times("poll") + times("ppoll");

	for (int i = 0; i < MAX_NAMES; i++)
		all += calls[i].count;
	return times(call) == TIMES && all == waits + TIMES + writes + watch &&
	       watch < TIMES && waits <= TIMES + 2 && writes <= TIMES + 1;
}

static void expect(const char *what, const char *next, const char *call)
{
	char from[32], to[32];

	for (int round = 0; round < ROUNDS; round++) {
		snprintf(from, sizeof(from), "mark-%s-%d", what, round);
		snprintf(to, sizeof(to), "mark-%s-%d", next, round);
		read_trace(from, to);
		if (check_failed || is_just(call))
			return;
	}
	for (int i = 0; i < MAX_NAMES && calls[i].count; i++)
		printf("# %s: %d\n", calls[i].name, calls[i].count);
	printf("# in the last of %d rounds of %d %ss\n", ROUNDS, TIMES, what);
	check_failed = 1;
}

static void ask(int round)
{
	struct fuse_attr_out attr;
	struct fuse_entry_out e;
	static char buf[READ];
	uint64_t fh;

	CHECK_EQ(fe_lookup(fe, FUSE_ROOT_ID, "f", &e), 0);
	CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), 0);
	/* What is asked for again is opened, once. */
	for (int i = 0; i < 2; i++)
		CHECK_EQ(fe_getattr(fe, e.nodeid, &attr), 0);
	mark("getattr", round);
	for (int i = 0; i < TIMES; i++) {
		pause_between();
		CHECK_EQ(fe_getattr(fe, e.nodeid, &attr), 0);
	}
	mark("read", round);
	for (int i = 0; i < TIMES; i++) {
		pause_between();
		CHECK_EQ(fe_read(fe, e.nodeid, fh, 0, buf, READ), READ);
	}
	mark("lookup", round);
	for (int i = 0; i < TIMES; i++) {
		pause_between();
		CHECK_EQ(fe_lookup(fe, FUSE_ROOT_ID, "f", &e), 0);
	}
	mark("end", round);
	CHECK_EQ(fe_release(fe, e.nodeid, fh), 0);
}

static void test_calls(void)
{
	int err;

	if (system("command -v strace >/dev/null"))
		SKIP("strace is not installed");
	err = set_up();
	CHECK_EQ(err, 0);
	for (int round = 0; !err && !check_failed && round < ROUNDS; round++)
		ask(round);
	fe_close(fe);
	CHECK_EQ(fe_server_stop(&server), 0);
	if (!err) {
		await_trace();
		expect("getattr", "read", "statx");
		expect("read", "lookup", "preadv2");
		expect("lookup", "end", "statx");
	}
	if (top[0] && !in_top("rm -rf share trace"))
		rmdir(top);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "calls", test_calls },
	};

	return check_main(cases, sizeof(cases) / sizeof(*cases), argc, argv);
}
