/* rooms: base guest */
/* SPDX-License-Identifier: MIT */
/*
 * The host's relay against a guest that is a thread here: it holds QEMU's ends
 * of the sockets and speaks init's side of the control port.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "guest/private.h"
#include "tests/c/check.h"

#define BIG (100u << 20)

struct guest {
	struct guest_streams *s;
	int fd[GUEST_PORTS];	/* QEMU's ends */
	pthread_t thread;
	unsigned int delay_us;	/* between a slow reader's reads */
	uint64_t bytes;
	uint64_t sum;		/* of what a thread read */
	uint64_t count;
	int handled;		/* first error of guest_streams_handle() */
};

static unsigned char pattern(uint64_t at)
{
	return (unsigned char)((at * 2654435761u) >> 13);
}

static int start(struct guest *g, int in, int out, int err, bool escape)
{
	const struct guest_streams_config config = {
		.in = in, .out = out, .err = err, .escape = escape,
	};

	memset(g, 0, sizeof(*g));
	return guest_streams_open(&g->s, &config, g->fd);
}

static void say(struct guest *g, uint32_t type, uint32_t code, uint64_t out,
		uint64_t err)
{
	struct guest_frame f = {
		.type = type, .code = code, .count = { 0, out, err },
	};

	if (write(g->fd[GUEST_PORT_CONTROL], &f, sizeof(f)) != sizeof(f))
		abort();
}

static void say_running(struct guest *g)
{
	say(g, FRAME_READY, 0, 0, 0);
	say(g, FRAME_RUNNING, 0, 0, 0);
}

/* The next frame of this type; others are skipped. False at the end. */
static bool hear(struct guest *g, uint32_t type, struct guest_frame *f)
{
	do {
		if (recv(g->fd[GUEST_PORT_CONTROL], f, sizeof(*f),
			 MSG_WAITALL) != sizeof(*f))
			return false;
	} while (f->type != type);
	return true;
}

static void hang_up(struct guest *g)
{
	int i;

	for (i = 0; i < GUEST_PORTS; i++)
		close(g->fd[i]);
}

/* The launcher's loop until nothing is left, or nothing happens for @ms. */
static bool drive(struct guest *g, int ms)
{
	struct pollfd fds[GUEST_STREAMS_FDS];
	unsigned int n;
	int ret;

	while ((n = guest_streams_poll(g->s, fds)) > 0) {
		ret = poll(fds, n, ms);
		if (ret == 0)
			return false;
		ret = guest_streams_handle(g->s, fds, n);
		if (ret < 0 && !g->handled)
			g->handled = ret;
	}
	return true;
}

static uint64_t read_all(int fd, uint64_t *sum, unsigned int delay_us)
{
	unsigned char buf[65536];
	uint64_t at = 0;
	ssize_t n, i;

	*sum = 0;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (i = 0; i < n; i++)
			*sum += buf[i] == pattern(at + (uint64_t)i);
		at += (uint64_t)n;
		if (delay_us && at % (8 << 20) < (uint64_t)n)
			usleep(delay_us);
	}
	return at;
}

static void write_pattern(int fd, uint64_t total)
{
	unsigned char buf[65536];
	uint64_t at = 0;
	size_t i;

	while (at < total) {
		size_t len = sizeof(buf) < total - at ? sizeof(buf) :
							total - at;
		ssize_t n;

		for (i = 0; i < len; i++)
			buf[i] = pattern(at + i);
		n = write(fd, buf, len);
		if (n <= 0)
			return;
		at += (uint64_t)n;
	}
}

/* ---- guests ------------------------------------------------------------- */

/* Writes @bytes to stdout, ends, waits to be confirmed. */
static void *guest_writer(void *arg)
{
	struct guest *g = arg;
	struct guest_frame f;

	say_running(g);
	/* The counts come first: the relay must wait for the data. */
	say(g, FRAME_EXITED, 3, g->bytes, 0);
	write_pattern(g->fd[GUEST_PORT_OUT], g->bytes);
	if (hear(g, FRAME_CONFIRM, &f)) {
		g->count = f.count[1];
		say(g, FRAME_DONE, 0, 0, 0);
	}
	hang_up(g);
	return NULL;
}

/* Reads stdin up to the count it is told, slowly. */
static void *guest_reader(void *arg)
{
	struct guest *g = arg;
	struct guest_frame f;
	unsigned char buf[32768];
	uint64_t at = 0, end = UINT64_MAX;
	ssize_t n, i;

	say_running(g);
	while (at < end) {
		struct pollfd p[2] = {
			{ .fd = g->fd[GUEST_PORT_IN], .events = POLLIN },
			{ .fd = g->fd[GUEST_PORT_CONTROL], .events = POLLIN },
		};

		poll(p, 2, -1);
		if (p[1].revents && hear(g, FRAME_IN_END, &f))
			end = f.count[0];
		if (!p[0].revents)
			continue;
		n = read(g->fd[GUEST_PORT_IN], buf, sizeof(buf));
		for (i = 0; i < n; i++)
			g->sum += buf[i] == pattern(at + (uint64_t)i);
		at += n > 0 ? (uint64_t)n : 0;
		if (g->delay_us && at % (8 << 20) < sizeof(buf))
			usleep(g->delay_us);
	}
	g->count = at;
	say(g, FRAME_EXITED, 0, 0, 0);
	if (hear(g, FRAME_CONFIRM, &f))
		say(g, FRAME_DONE, 0, 0, 0);
	hang_up(g);
	return NULL;
}

struct pipe_end {
	int fd;
	uint64_t bytes, sum;
	unsigned int delay_us;
};

static void *host_reader(void *arg)
{
	struct pipe_end *e = arg;

	e->bytes = read_all(e->fd, &e->sum, e->delay_us);
	return NULL;
}

static void *host_writer(void *arg)
{
	struct pipe_end *e = arg;

	write_pattern(e->fd, e->bytes);
	close(e->fd);
	return NULL;
}

/* ---- cases -------------------------------------------------------------- */

static void check_out(int pair[2], unsigned int delay_us)
{
	struct pipe_end e = { .fd = pair[0], .delay_us = delay_us };
	const struct guest_report *r;
	struct guest g;
	pthread_t reader;

	CHECK_EQ(start(&g, -1, pair[1], -1, false), 0);
	g.bytes = BIG + 7;
	pthread_create(&reader, NULL, host_reader, &e);
	pthread_create(&g.thread, NULL, guest_writer, &g);
	CHECK(drive(&g, 10000));
	r = guest_streams_report(g.s);
	CHECK_EQ(r->phase, GUEST_DONE);
	CHECK_EQ(r->status, 3);
	CHECK(r->lost && !r->out_gone && !g.handled);
	CHECK_EQ(r->bytes_out, BIG + 7);
	pthread_join(g.thread, NULL);
	CHECK_EQ(g.count, BIG + 7);
	guest_streams_close(g.s);
	close(pair[1]);
	pthread_join(reader, NULL);
	close(pair[0]);
	CHECK_EQ(e.bytes, BIG + 7);
	CHECK_EQ(e.sum, BIG + 7);
}

static void test_out_to_slow_pipe(void)
{
	int pair[2];

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	check_out(pair, 20000);
}

static void test_out_to_socket(void)
{
	int pair[2], swap;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	swap = pair[0];
	pair[0] = pair[1];
	pair[1] = swap;
	check_out(pair, 0);
}

static void test_flags_left_alone(void)
{
	struct guest g;
	int pair[2];

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	CHECK_EQ(start(&g, pair[0], pair[1], pair[1], false), 0);
	CHECK_EQ(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	CHECK_EQ(fcntl(pair[1], F_GETFL) & O_NONBLOCK, 0);
	guest_streams_close(g.s);
	CHECK_EQ(write(pair[1], "x", 1), 1);	/* still open */
	close(pair[0]);
	close(pair[1]);
	hang_up(&g);
}

static void test_in_to_slow_guest(void)
{
	struct pipe_end e = { .bytes = BIG + 5 };
	struct guest g;
	pthread_t writer;
	int pair[2];

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	CHECK_EQ(start(&g, pair[0], -1, -1, false), 0);
	g.delay_us = 20000;
	e.fd = pair[1];
	pthread_create(&writer, NULL, host_writer, &e);
	pthread_create(&g.thread, NULL, guest_reader, &g);
	CHECK(drive(&g, 10000));
	pthread_join(g.thread, NULL);
	pthread_join(writer, NULL);
	CHECK_EQ(g.count, BIG + 5);
	CHECK_EQ(g.sum, BIG + 5);
	CHECK_EQ(guest_streams_report(g.s)->phase, GUEST_DONE);
	CHECK_EQ(guest_streams_report(g.s)->bytes_in, BIG + 5);
	guest_streams_close(g.s);
	close(pair[0]);
}

static void test_in_of_nothing(void)
{
	int null = open("/dev/null", O_RDONLY), i;

	for (i = 0; i < 2; i++) {
		struct guest g;

		CHECK_EQ(start(&g, i ? null : -1, -1, -1, false), 0);
		pthread_create(&g.thread, NULL, guest_reader, &g);
		CHECK(drive(&g, 5000));
		pthread_join(g.thread, NULL);
		CHECK_EQ(g.count, 0);
		CHECK_EQ(guest_streams_report(g.s)->phase, GUEST_DONE);
		guest_streams_close(g.s);
	}
	close(null);
}

/* A reader that never reads: the guest's writes stop, and nothing grows. */
static void test_blocked_reader_blocks_guest(void)
{
	struct guest g;
	char buf[65536] = { 0 };
	uint64_t sent = 0;
	int pair[2];
	ssize_t n;

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	CHECK_EQ(start(&g, -1, pair[1], -1, false), 0);
	say_running(&g);
	do {
		n = send(g.fd[GUEST_PORT_OUT], buf, sizeof(buf), MSG_DONTWAIT);
		sent += n > 0 ? (uint64_t)n : 0;
		drive(&g, 10);
	} while (n > 0);
	CHECK(sent < 2 << 20);
	CHECK(guest_streams_report(g.s)->bytes_out < 1 << 20);
	guest_streams_close(g.s);
	hang_up(&g);
	close(pair[0]);
	close(pair[1]);
}

static void test_reader_gone(void)
{
	const struct guest_report *r;
	struct guest_frame f;
	struct guest g;
	int pair[2];

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	CHECK_EQ(start(&g, -1, pair[1], -1, false), 0);
	close(pair[0]);
	say_running(&g);
	CHECK_EQ(write(g.fd[GUEST_PORT_OUT], "hello", 5), 5);
	drive(&g, 50);
	r = guest_streams_report(g.s);
	CHECK(r->out_gone && !r->err_gone && r->out_error == 0);
	CHECK(hear(&g, FRAME_OUT_CLOSED, &f));
	CHECK_EQ(f.code, GUEST_PORT_OUT);
	/* What still comes is counted, and confirmed. */
	CHECK_EQ(write(g.fd[GUEST_PORT_OUT], "more", 4), 4);
	say(&g, FRAME_EXITED, 141, 9, 0);
	drive(&g, 50);
	CHECK(hear(&g, FRAME_CONFIRM, &f));
	CHECK_EQ(f.count[1], 9);
	CHECK_EQ(r->status, 141);
	CHECK_EQ(r->phase, GUEST_CONFIRMED);
	guest_streams_close(g.s);
	hang_up(&g);
	close(pair[1]);
}

static void test_disk_full(void)
{
	const struct guest_report *r;
	struct guest_frame f;
	struct guest g;
	int full = open("/dev/full", O_WRONLY);

	CHECK_EQ(start(&g, -1, -1, full, false), 0);
	say_running(&g);
	CHECK_EQ(write(g.fd[GUEST_PORT_ERR], "x", 1), 1);
	drive(&g, 50);
	r = guest_streams_report(g.s);
	CHECK_EQ(r->out_error, ENOSPC);
	CHECK(hear(&g, FRAME_OUT_CLOSED, &f));
	CHECK_EQ(f.code, GUEST_PORT_ERR);
	guest_streams_close(g.s);
	hang_up(&g);
	close(full);
}

/* A directory can't be read; what is open for writing only is no input. */
static void test_in_unreadable(void)
{
	struct guest_frame f;
	struct guest g;
	int dir = open("/", O_RDONLY), null = open("/dev/null", O_WRONLY);

	CHECK_EQ(start(&g, dir, -1, -1, false), 0);
	say_running(&g);
	drive(&g, 20);
	CHECK(hear(&g, FRAME_IN_END, &f));
	CHECK_EQ(f.count[0], 0);
	CHECK_EQ(guest_streams_report(g.s)->in_error, EISDIR);
	guest_streams_close(g.s);
	hang_up(&g);
	CHECK_EQ(start(&g, null, -1, -1, false), 0);
	say_running(&g);
	drive(&g, 20);
	CHECK(hear(&g, FRAME_IN_END, &f));
	CHECK_EQ(guest_streams_report(g.s)->in_error, 0);
	guest_streams_close(g.s);
	hang_up(&g);
	close(dir);
	close(null);
}

static void test_command_closes_stdin(void)
{
	struct guest g;
	int zero = open("/dev/zero", O_RDONLY);
	uint64_t before;

	CHECK_EQ(start(&g, zero, -1, -1, false), 0);
	CHECK(!drive(&g, 20));		/* nothing is read before it runs */
	CHECK_EQ(guest_streams_report(g.s)->bytes_in, 0);
	say_running(&g);
	CHECK(!drive(&g, 20));		/* until the socket is full */
	CHECK(guest_streams_report(g.s)->bytes_in > 0);
	say(&g, FRAME_IN_CLOSED, 0, 0, 0);
	drive(&g, 20);
	before = guest_streams_report(g.s)->bytes_in;
	say(&g, FRAME_EXITED, 0, 0, 0);
	drive(&g, 20);
	CHECK_EQ(guest_streams_report(g.s)->bytes_in, before);
	CHECK_EQ(guest_streams_report(g.s)->phase, GUEST_CONFIRMED);
	guest_streams_close(g.s);
	hang_up(&g);
	close(zero);
}

static void test_words_to_guest(void)
{
	struct guest_frame f;
	struct guest g;

	CHECK_EQ(start(&g, -1, -1, -1, false), 0);
	guest_streams_resize(g.s, 24, 80);
	guest_streams_resize(g.s, 50, 132);	/* the last one counts */
	guest_streams_signal(g.s, SIGTERM);
	guest_streams_signal(g.s, SIGINT);
	guest_streams_signal(g.s, 0);
	guest_streams_signal(g.s, 1000);
	drive(&g, 20);
	CHECK(hear(&g, FRAME_RESIZE, &f));
	CHECK_EQ(f.code, 50 << 16 | 132);
	CHECK(hear(&g, FRAME_SIGNAL, &f));
	CHECK_EQ(f.code, SIGINT);
	CHECK(hear(&g, FRAME_SIGNAL, &f));
	CHECK_EQ(f.code, SIGTERM);
	CHECK_EQ(recv(g.fd[GUEST_PORT_CONTROL], &f, 1, MSG_DONTWAIT), -1);
	guest_streams_close(g.s);
	hang_up(&g);
}

static void test_escape_keys(void)
{
	static const char typed[] = "a\1\1b\1cd\1";
	struct guest g;
	char got[32] = "";
	int pair[2];

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	CHECK_EQ(start(&g, pair[0], -1, -1, true), 0);
	CHECK_EQ(write(pair[1], typed, strlen(typed)), 8);
	drive(&g, 20);
	CHECK_EQ(read(g.fd[GUEST_PORT_IN], got, sizeof(got)), 6);
	CHECK_STR(got, "a\1b\1cd");
	CHECK(!guest_streams_report(g.s)->quit);
	CHECK_EQ(write(pair[1], "x!", 2), 2);
	drive(&g, 20);
	CHECK(guest_streams_report(g.s)->quit);
	CHECK_EQ(read(g.fd[GUEST_PORT_IN], got, sizeof(got)), 1);
	CHECK_EQ(got[0], '!');
	guest_streams_close(g.s);
	hang_up(&g);
	close(pair[0]);
	close(pair[1]);
}

/* Before the command runs ^C is ours, then it is the command's. */
static void test_interrupt_key(void)
{
	struct guest g;
	char got[8] = "";
	int pair[2];

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	CHECK_EQ(start(&g, pair[0], -1, -1, true), 0);
	say_running(&g);
	drive(&g, 20);
	CHECK_EQ(write(pair[1], "\3", 1), 1);
	drive(&g, 20);
	CHECK(!guest_streams_report(g.s)->quit);
	CHECK_EQ(read(g.fd[GUEST_PORT_IN], got, sizeof(got)), 1);
	CHECK_EQ(got[0], '\3');
	guest_streams_close(g.s);
	hang_up(&g);
	CHECK_EQ(start(&g, pair[0], -1, -1, true), 0);
	say(&g, FRAME_READY, 0, 0, 0);
	CHECK_EQ(write(pair[1], "a\3", 2), 2);
	drive(&g, 20);
	CHECK(guest_streams_report(g.s)->quit);
	CHECK_EQ(read(g.fd[GUEST_PORT_IN], got, sizeof(got)), 1);
	guest_streams_close(g.s);
	hang_up(&g);
	close(pair[0]);
	close(pair[1]);
}

static void test_guest_fails(void)
{
	const struct guest_report *r;
	struct guest_frame f = { .type = FRAME_FAILED, .code = ENODEV };
	struct guest g;

	CHECK_EQ(start(&g, -1, -1, -1, false), 0);
	memset(f.text, 'x', sizeof(f.text));	/* without a NUL */
	CHECK_EQ(write(g.fd[GUEST_PORT_CONTROL], &f, sizeof(f)), sizeof(f));
	hang_up(&g);
	CHECK(drive(&g, 1000));
	r = guest_streams_report(g.s);
	CHECK_EQ(r->phase, GUEST_FAILED);
	CHECK_EQ(r->error, ENODEV);
	CHECK_EQ(strlen(r->text), sizeof(r->text) - 1);
	CHECK(r->lost);
	guest_streams_close(g.s);
}

static void test_guest_lies(void)
{
	const struct guest_report *r;
	struct guest g;

	CHECK_EQ(start(&g, -1, -1, -1, false), 0);
	r = guest_streams_report(g.s);
	say(&g, FRAME_DONE, 0, 0, 0);		/* out of order: not believed */
	say(&g, FRAME_EXITED, 0, 0, 0);
	drive(&g, 20);
	CHECK_EQ(r->phase, GUEST_BOOTING);
	say_running(&g);
	say(&g, FRAME_EXITED, 0x12345607, UINT64_MAX, 0);
	drive(&g, 20);
	CHECK_EQ(r->status, 7);
	CHECK_EQ(r->phase, GUEST_EXITED);	/* its data will never come */
	say(&g, FRAME_CONFIRM, 0, 0, 0);	/* ours to say */
	drive(&g, 20);
	CHECK_EQ(g.handled, -EPROTO);
	CHECK(r->lost);
	CHECK_EQ(r->phase, GUEST_EXITED);
	guest_streams_close(g.s);
	hang_up(&g);
}

/* QEMU dies: what it had passed on is still written, then all is over. */
static void test_qemu_dies(void)
{
	struct pipe_end e = { .delay_us = 0 };
	struct guest g;
	int pair[2];

	CHECK_EQ(pipe2(pair, O_CLOEXEC), 0);
	CHECK_EQ(start(&g, -1, pair[1], -1, false), 0);
	say_running(&g);
	write_pattern(g.fd[GUEST_PORT_OUT], 100000);
	hang_up(&g);
	e.fd = pair[0];
	pthread_create(&g.thread, NULL, host_reader, &e);
	CHECK(drive(&g, 2000));
	CHECK_EQ(guest_streams_report(g.s)->phase, GUEST_RUNNING);
	CHECK(guest_streams_report(g.s)->lost);
	guest_streams_close(g.s);
	close(pair[1]);
	pthread_join(g.thread, NULL);
	CHECK_EQ(e.sum, 100000);
	close(pair[0]);
}

static const struct check_case cases[] = {
	{ "out_to_slow_pipe", test_out_to_slow_pipe },
	{ "out_to_socket", test_out_to_socket },
	{ "flags_left_alone", test_flags_left_alone },
	{ "in_to_slow_guest", test_in_to_slow_guest },
	{ "in_of_nothing", test_in_of_nothing },
	{ "blocked_reader_blocks_guest", test_blocked_reader_blocks_guest },
	{ "reader_gone", test_reader_gone },
	{ "disk_full", test_disk_full },
	{ "in_unreadable", test_in_unreadable },
	{ "command_closes_stdin", test_command_closes_stdin },
	{ "words_to_guest", test_words_to_guest },
	{ "escape_keys", test_escape_keys },
	{ "interrupt_key", test_interrupt_key },
	{ "guest_fails", test_guest_fails },
	{ "guest_lies", test_guest_lies },
	{ "qemu_dies", test_qemu_dies },
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
