/* SPDX-License-Identifier: MIT */
/*
 * The guest's serial console: bytes between our end of QEMU's socket and the
 * caller's stdin and stdout (or a file, or nowhere), and the last of them
 * kept for the report on a guest that died.
 *
 * Nothing here may block the supervisor. The socket is ours and non-blocking;
 * stdin and stdout belong to others too, so their flags stay as they are, and
 * each write is small and made only when poll() sees room: a pipe has at least
 * PIPE_BUF then. What can't be written stops the reading, so that a slow
 * reader slows the guest down and no buffer grows.
 *
 * The bytes are a guest's. They are passed on as they are where the console
 * was asked for, and escaped in our own messages.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CTRL_A		1
#define OUT_CHUNK	1024	/* a terminal takes that without blocking */

void console_open(struct console *c, int guest, int in, int out)
{
	memset(c, 0, sizeof(*c));
	c->guest = guest;
	c->in = in;
	c->out = out;
}

static void tail_add(struct console *c, const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		c->tail[c->tail_at] = bytes[i];
		c->tail_at = (c->tail_at + 1) % CONSOLE_TAIL;
		if (c->tail_len < CONSOLE_TAIL)
			c->tail_len++;
	}
}

unsigned int console_poll(struct console *c, struct pollfd *fds)
{
	unsigned int n = 0;

	if (c->guest >= 0) {
		short events = 0;

		if (!c->out_len)
			events |= POLLIN;
		if (c->guest_len)
			events |= POLLOUT;
		fds[n++] = (struct pollfd){.fd = c->guest, .events = events};
	}
	if (c->in >= 0 && c->guest >= 0 && !c->guest_len)
		fds[n++] = (struct pollfd){.fd = c->in, .events = POLLIN};
	if (c->out >= 0 && c->out_len)
		fds[n++] = (struct pollfd){.fd = c->out, .events = POLLOUT};
	return n;
}

static void guest_read(struct console *c)
{
	ssize_t n = recv(c->guest, c->to_out, sizeof(c->to_out), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(c->guest);
		c->guest = -1;
		return;
	}
	tail_add(c, c->to_out, (size_t)n);
	c->out_off = 0;
	c->out_len = c->out >= 0 ? (size_t)n : 0;
}

static void guest_write(struct console *c)
{
	ssize_t n = send(c->guest, c->to_guest + c->guest_off, c->guest_len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0) {
		/* Its end is seen by reading. */
		if (errno != EAGAIN && errno != EINTR)
			c->guest_len = 0;
		return;
	}
	c->guest_off += (size_t)n;
	c->guest_len -= (size_t)n;
}

/* Keys for the guest in @keys; ^A is a prefix where that was asked for. */
static void take_keys(struct console *c, const unsigned char *keys, size_t len)
{
	c->guest_off = c->guest_len = 0;
	for (size_t i = 0; i < len; i++) {
		if (c->escape && !c->after_ctrl_a && keys[i] == CTRL_A) {
			c->after_ctrl_a = true;
			continue;
		}
		if (c->after_ctrl_a) {
			c->after_ctrl_a = false;
			if (keys[i] == 'x' || keys[i] == 'X') {
				c->quit = true;
				return;
			}
			if (keys[i] != CTRL_A)
				c->to_guest[c->guest_len++] = CTRL_A;
		}
		c->to_guest[c->guest_len++] = keys[i];
	}
}

static void input_read(struct console *c)
{
	/* Half: a prefix that was none takes two bytes. */
	unsigned char keys[sizeof(c->to_guest) / 2];
	ssize_t n = read(c->in, keys, sizeof(keys));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		c->in = -1;	/* the caller's; just not read again */
	else
		take_keys(c, keys, (size_t)n);
}

static void output_write(struct console *c)
{
	size_t len = c->out_len < OUT_CHUNK ? c->out_len : OUT_CHUNK;
	ssize_t n = write(c->out, c->to_out + c->out_off, len);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return;
		c->out_error = errno;
		c->out = -1;
		c->out_len = 0;
		return;
	}
	c->out_off += (size_t)n;
	c->out_len -= (size_t)n;
}

void console_handle(struct console *c, const struct pollfd *fds,
		    unsigned int nr)
{
	/* What poll() was asked may have changed by what came before. */
	for (unsigned int i = 0; i < nr; i++) {
		short events = fds[i].revents;
		bool gone = events & (POLLHUP | POLLERR | POLLNVAL);

		if (!events)
			continue;
		if (fds[i].fd == c->guest) {
			if (events & POLLOUT)
				guest_write(c);
			if ((events & POLLIN) || (gone && !c->out_len))
				guest_read(c);
		} else if (fds[i].fd == c->out && c->out_len) {
			output_write(c);
		} else if (fds[i].fd == c->in && !c->guest_len) {
			input_read(c);
		}
	}
}

void console_drain(struct console *c, int ms)
{
	while (c->out >= 0) {
		struct pollfd fds[CONSOLE_FDS];
		unsigned int nr;

		c->in = -1;
		c->guest_len = 0;
		nr = console_poll(c, fds);
		if (!nr || poll(fds, nr, ms) <= 0)
			return;
		console_handle(c, fds, nr);
	}
}

/* The tail in order into @text (CONSOLE_TAIL bytes): its length. */
static size_t tail_text(const struct console *c, char *text)
{
	size_t start = (c->tail_at + CONSOLE_TAIL - c->tail_len) % CONSOLE_TAIL;
	size_t len = c->tail_len;

	for (size_t i = 0; i < len; i++)
		text[i] = (char)c->tail[(start + i) % CONSOLE_TAIL];
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	return len;
}

/* Where a Linux kernel's last words begin in @text, or NULL. */
static const char *find_panic(const char *text, size_t len)
{
	static const char words[] = "Kernel panic - ";

	return memmem(text, len, words, sizeof(words) - 1);
}

bool console_panicked(const struct console *c)
{
	char text[CONSOLE_TAIL] = "";
	size_t len = tail_text(c, text);

	return find_panic(text, len) != NULL;
}

/* The line that is @lines from the end, or the panic's if that is earlier. */
static size_t tail_from(const char *text, size_t len, unsigned int lines)
{
	const char *panic = find_panic(text, len);
	size_t from;

	for (from = len; from > 0; from--)
		if (text[from - 1] == '\n' && lines-- == 1)
			break;
	if (panic && panic < text + from)
		for (from = (size_t)(panic - text); from > 0; from--)
			if (text[from - 1] == '\n')
				break;
	return from;
}

void console_print_tail(const struct console *c, unsigned int lines)
{
	char text[CONSOLE_TAIL] = "", escaped[512];
	size_t len = tail_text(c, text);
	size_t from = tail_from(text, len, lines);

	for (; from < len && lines; lines--) {
		const char *line = text + from;
		const char *end = memchr(line, '\n', len - from);
		size_t n = end ? (size_t)(end - line) : len - from;

		from += n + 1;
		while (n && line[n - 1] == '\r')
			n--;
		dprintf(STDERR_FILENO, "    | %s\n",
			log_escape(escaped, sizeof(escaped), line, n));
	}
}
