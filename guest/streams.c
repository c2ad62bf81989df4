/* SPDX-License-Identifier: MIT */
/*
 * The host's side of a command's streams: four sockets whose other ends are
 * QEMU's character devices, and a relay that the launcher's one loop drives.
 *
 * Each stream is a lane: a source, a buffer of fixed size, a sink. A lane
 * reads only into an empty buffer, so that a slow reader of our stdout stops
 * the socket, QEMU, the guest's ring and the command, in that order. Nothing
 * queues without bound; what is to be said to the guest is a set of flags and
 * numbers from which frames are made when the socket takes them.
 *
 * Our own stdin, stdout and stderr are shared with other processes, so their
 * flags are not ours to change. A pipe or terminal is opened once more,
 * non-blocking, through /proc; a socket is written with MSG_DONTWAIT; where
 * neither can be done a write after POLLOUT is no larger than PIPE_BUF.
 *
 * A sink that has no reader any more (EPIPE) is told to init, which closes the
 * command's end: the command meets SIGPIPE as it would have on the host. What
 * still comes is thrown away, and counted.
 *
 * A guest can send anything. A frame has one size; a phase only moves forward;
 * counts are only compared. The worst it can do here is to say that it exited
 * with a status of its choice, which is its right.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/private.h"

#define ESCAPE_KEY 1		/* ^A */
#define INTERRUPT_KEY 3		/* ^C */

enum lane_id { LANE_IN, LANE_OUT, LANE_ERR, LANES };

struct lane {
	int src, dst;		/* -1: closed, ended or of no use */
	bool own_src, own_dst;	/* ours to close */
	bool send;		/* dst is a socket that is not ours */
	size_t limit;		/* most bytes in one write */
	size_t off, len;	/* what buf holds */
	uint64_t taken;		/* bytes read from src */
	char buf[GUEST_CHUNK];
};

/* Who a pollfd of the last guest_streams_poll() is for. */
enum slot { SLOT_CONTROL, SLOT_SRC, SLOT_DST = SLOT_SRC + LANES };

struct guest_streams {
	struct guest_report report;
	struct lane lane[LANES];
	int control;		/* -1: closed or not listened to */

	struct guest_frame in;	/* being received */
	size_t in_len;
	struct guest_frame out;	/* being sent */
	size_t out_off, out_len;

	/* To be said to the guest. */
	bool say_end, say_closed[LANES], say_resize, say_confirm;
	uint32_t size;		/* rows << 16 | cols */
	uint64_t signals;	/* bit n: signal n */

	bool in_tty;		/* stdin is a terminal */
	bool in_done;		/* nothing is read from stdin any more */
	bool escape, escaped;	/* keys are watched; the last was ^A */
	uint64_t want[LANES];	/* bytes that EXITED announced */

	enum slot slots[GUEST_STREAMS_FDS];
	unsigned int nr_slots;
};

/* ---- descriptors -------------------------------------------------------- */

static void lane_close_src(struct lane *l)
{
	if (l->own_src && l->src >= 0)
		close(l->src);
	l->src = -1;
}

static void lane_close_dst(struct lane *l)
{
	if (l->own_dst && l->dst >= 0)
		close(l->dst);
	l->dst = -1;
	l->len = 0;
}

/* A description of our own with O_NONBLOCK; -1 where there can't be one. */
static int reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool is_stream(int fd, const struct stat *st)
{
	return S_ISFIFO(st->st_mode) || (S_ISCHR(st->st_mode) && isatty(fd));
}

static void lane_use_input(struct lane *l, int fd)
{
	struct stat st;
	int own = -1;

	if (fd >= 0 && fstat(fd, &st) == 0 && is_stream(fd, &st))
		own = reopen(fd, O_RDONLY);
	l->src = own >= 0 ? own : fd;
	l->own_src = own >= 0;
}

static void lane_use_output(struct lane *l, int fd)
{
	struct stat st;
	int own = -1;

	l->dst = fd;
	l->limit = sizeof(l->buf);
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	l->send = S_ISSOCK(st.st_mode);
	if (!is_stream(fd, &st))
		return;
	own = reopen(fd, O_WRONLY);
	if (own < 0) {
		l->limit = PIPE_BUF;
		return;
	}
	l->dst = own;
	l->own_dst = true;
}

int guest_streams_open(struct guest_streams **streams,
		       const struct guest_streams_config *config,
		       int qemu_fds[GUEST_PORTS])
{
	struct guest_streams *s = calloc(1, sizeof(*s));
	int pair[2], ours[GUEST_PORTS], i, ret;

	if (!s)
		return -ENOMEM;
	for (i = 0; i < GUEST_PORTS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
			       pair) < 0)
			goto fail;
		ours[i] = pair[0];
		qemu_fds[i] = pair[1];
		if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
			i++;
			goto fail;
		}
	}
	s->control = ours[GUEST_PORT_CONTROL];
	s->lane[LANE_IN].dst = ours[GUEST_PORT_IN];
	s->lane[LANE_IN].own_dst = true;
	s->lane[LANE_IN].limit = GUEST_CHUNK;
	s->lane[LANE_OUT].src = ours[GUEST_PORT_OUT];
	s->lane[LANE_OUT].own_src = true;
	s->lane[LANE_ERR].src = ours[GUEST_PORT_ERR];
	s->lane[LANE_ERR].own_src = true;
	lane_use_input(&s->lane[LANE_IN], config->in);
	lane_use_output(&s->lane[LANE_OUT], config->out);
	lane_use_output(&s->lane[LANE_ERR], config->err);
	s->in_tty = config->in >= 0 && isatty(config->in);
	s->escape = config->escape;
	if (config->in < 0)
		s->say_end = s->in_done = true;
	*streams = s;
	return 0;
fail:
	ret = -errno;
	while (i-- > 0) {
		close(ours[i]);
		close(qemu_fds[i]);
	}
	free(s);
	return ret;
}

void guest_streams_close(struct guest_streams *s)
{
	int i;

	if (!s)
		return;
	for (i = 0; i < LANES; i++) {
		lane_close_src(&s->lane[i]);
		lane_close_dst(&s->lane[i]);
	}
	if (s->control >= 0)
		close(s->control);
	free(s);
}

const struct guest_report *guest_streams_report(const struct guest_streams *s)
{
	return &s->report;
}

void guest_streams_resize(struct guest_streams *s, unsigned short rows,
			  unsigned short cols)
{
	s->size = (uint32_t)rows << 16 | cols;
	s->say_resize = true;
}

void guest_streams_signal(struct guest_streams *s, int sig)
{
	if (sig > 0 && sig < 64)
		s->signals |= 1ull << sig;
}

/* ---- lanes -------------------------------------------------------------- */

/* Nothing more goes to the guest's stdin. */
static void input_stop(struct guest_streams *s)
{
	lane_close_src(&s->lane[LANE_IN]);
	s->in_done = true;
}

/*
 * Take the escape keys out of what was typed: @n bytes at buf + 1, so that
 * there is room for a ^A that was held back.
 */
static void input_filter(struct guest_streams *s, struct lane *l, size_t n)
{
	size_t from, to = 0;

	for (from = 1; from <= n; from++) {
		char key = l->buf[from];

		if (!s->escaped && key == ESCAPE_KEY) {
			s->escaped = true;
			continue;
		}
		/* Until there is a command, ^C is for us. */
		if ((s->escaped && (key == 'x' || key == 'X')) ||
		    (key == INTERRUPT_KEY &&
		     s->report.phase < GUEST_RUNNING)) {
			s->report.quit = true;
			s->escaped = false;
			continue;
		}
		if (s->escaped && key != ESCAPE_KEY)
			l->buf[to++] = ESCAPE_KEY;
		s->escaped = false;
		l->buf[to++] = key;
	}
	l->len = to;
}

static void lane_read(struct guest_streams *s, enum lane_id id)
{
	struct lane *l = &s->lane[id];
	bool keys = id == LANE_IN && s->escape;
	ssize_t n = read(l->src, l->buf + keys, sizeof(l->buf) - keys);
	int error = n < 0 ? errno : 0;

	if (n > 0) {
		l->off = 0;
		l->len = (size_t)n;
		if (keys)
			input_filter(s, l, (size_t)n);
		l->taken += id == LANE_IN ? l->len : (uint64_t)n;
		if (id != LANE_IN && l->dst < 0)
			l->len = 0;	/* no reader: counted, dropped */
		return;
	}
	if (error == EAGAIN || error == EINTR)
		return;
	if (id != LANE_IN) {
		lane_close_src(l);
		return;
	}
	/* A terminal that hung up has ended, and what nohup(1) gives to those
	 * who should not read can't be read: neither is a failure. */
	if (error != EBADF && (error != EIO || !s->in_tty))
		s->report.in_error = error;
	input_stop(s);
	s->say_end = true;
}

static void lane_write(struct guest_streams *s, enum lane_id id)
{
	struct lane *l = &s->lane[id];
	size_t len = l->len < l->limit ? l->len : l->limit;
	ssize_t n = l->send ? send(l->dst, l->buf + l->off, len,
				   MSG_DONTWAIT | MSG_NOSIGNAL) :
		write(l->dst, l->buf + l->off, len);

	if (n >= 0) {
		l->off += (size_t)n;
		l->len -= (size_t)n;
		return;
	}
	if (errno == EAGAIN || errno == EINTR)
		return;
	if (id == LANE_IN) {
		input_stop(s);
	} else {
		if (errno != EPIPE)
			s->report.out_error = errno;
		else if (id == LANE_OUT)
			s->report.out_gone = true;
		else
			s->report.err_gone = true;
		s->say_closed[id] = true;
	}
	lane_close_dst(l);
}

static bool lane_arrived(const struct guest_streams *s, enum lane_id id)
{
	const struct lane *l = &s->lane[id];

	return l->len == 0 && (l->taken >= s->want[id] || l->src < 0);
}

/* ---- control ------------------------------------------------------------ */

static void take_frame(struct guest_streams *s, const struct guest_frame *f)
{
	struct guest_report *r = &s->report;

	if (f->type == FRAME_READY && r->phase == GUEST_BOOTING) {
		r->phase = GUEST_READY;
		r->boot_ns = f->count[0];
	} else if (f->type == FRAME_RUNNING && r->phase == GUEST_READY) {
		r->phase = GUEST_RUNNING;
		r->start_ns = f->count[0];
	} else if (f->type == FRAME_IN_CLOSED) {
		input_stop(s);
		s->lane[LANE_IN].len = 0;
	} else if (f->type == FRAME_EXITED && r->phase == GUEST_RUNNING) {
		r->phase = GUEST_EXITED;
		r->status = (int)(f->code & 255);
		s->want[LANE_OUT] = f->count[1];
		s->want[LANE_ERR] = f->count[2];
		input_stop(s);
		s->lane[LANE_IN].len = 0;
	} else if (f->type == FRAME_DONE && r->phase == GUEST_CONFIRMED) {
		r->phase = GUEST_DONE;
	} else if (f->type == FRAME_FAILED && r->phase < GUEST_EXITED) {
		r->phase = GUEST_FAILED;
		r->error = f->code < 4096 ? (int)f->code : EPROTO;
		memcpy(r->text, f->text, sizeof(r->text));
		r->text[sizeof(r->text) - 1] = '\0';
		input_stop(s);
	}
}

static void control_close(struct guest_streams *s)
{
	close(s->control);
	s->control = -1;
	s->report.lost = true;
	input_stop(s);
	lane_close_dst(&s->lane[LANE_IN]);
}

static int control_read(struct guest_streams *s)
{
	ssize_t n = read(s->control, (char *)&s->in + s->in_len,
			 sizeof(s->in) - s->in_len);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		control_close(s);
		return 0;
	}
	s->in_len += (size_t)n;
	if (s->in_len < sizeof(s->in))
		return 0;
	s->in_len = 0;
	if (s->in.type < FRAME_READY || s->in.type > FRAME_FAILED) {
		control_close(s);
		return -EPROTO;
	}
	take_frame(s, &s->in);
	return 0;
}

/* Make the next frame from what is to be said; false when that is nothing. */
static bool control_next(struct guest_streams *s)
{
	struct guest_frame *f = &s->out;

	memset(f, 0, sizeof(*f));
	if (s->say_end && s->lane[LANE_IN].len == 0) {
		s->say_end = false;
		f->type = FRAME_IN_END;
		f->count[0] = s->lane[LANE_IN].taken;
	} else if (s->say_closed[LANE_OUT] || s->say_closed[LANE_ERR]) {
		bool out = s->say_closed[LANE_OUT];

		s->say_closed[out ? LANE_OUT : LANE_ERR] = false;
		f->type = FRAME_OUT_CLOSED;
		f->code = out ? GUEST_PORT_OUT : GUEST_PORT_ERR;
	} else if (s->say_resize) {
		s->say_resize = false;
		f->type = FRAME_RESIZE;
		f->code = s->size;
	} else if (s->signals) {
		f->type = FRAME_SIGNAL;
		f->code = (uint32_t)__builtin_ctzll(s->signals);
		s->signals &= s->signals - 1;
	} else if (s->say_confirm) {
		s->say_confirm = false;
		f->type = FRAME_CONFIRM;
		f->count[1] = s->lane[LANE_OUT].taken;
		f->count[2] = s->lane[LANE_ERR].taken;
	} else {
		return false;
	}
	s->out_off = 0;
	s->out_len = sizeof(*f);
	return true;
}

static bool control_has_words(const struct guest_streams *s)
{
	return s->out_len || (s->say_end && s->lane[LANE_IN].len == 0) ||
		s->say_closed[LANE_OUT] || s->say_closed[LANE_ERR] ||
		s->say_resize || s->signals || s->say_confirm;
}

static void control_write(struct guest_streams *s)
{
	while (s->control >= 0 && (s->out_len || control_next(s))) {
		ssize_t n = send(s->control, (char *)&s->out + s->out_off,
				 s->out_len, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {	/* what QEMU said before its end can be read */
			s->out_len = 0;
			s->say_end = s->say_resize = s->say_confirm = false;
			s->say_closed[LANE_OUT] = false;
			s->say_closed[LANE_ERR] = false;
			s->signals = 0;
			return;
		}
		s->out_off += (size_t)n;
		s->out_len -= (size_t)n;
	}
}

static void control_confirm(struct guest_streams *s)
{
	if (s->report.phase != GUEST_EXITED || !lane_arrived(s, LANE_OUT) ||
	    !lane_arrived(s, LANE_ERR))
		return;
	s->report.phase = GUEST_CONFIRMED;
	s->say_confirm = true;
}

/* ---- the launcher's loop ------------------------------------------------ */

static unsigned int watch(struct guest_streams *s, struct pollfd *fds,
			  enum slot slot, int fd, short events)
{
	unsigned int n = s->nr_slots++;

	fds[n].fd = fd;
	fds[n].events = events;
	fds[n].revents = 0;
	s->slots[n] = slot;
	return n;
}

/* Keys are read at once (someone may want to quit), data when it is wanted. */
static bool input_wanted(const struct guest_streams *s)
{
	return !s->in_done && s->lane[LANE_IN].len == 0 && s->control >= 0 &&
		(s->escape || s->report.phase == GUEST_RUNNING);
}

unsigned int guest_streams_poll(struct guest_streams *s, struct pollfd *fds)
{
	unsigned int i;

	s->nr_slots = 0;
	for (i = 0; i < LANES; i++) {
		const struct lane *l = &s->lane[i];
		bool take = i == LANE_IN ? input_wanted(s) : l->len == 0;

		if (take && l->src >= 0)
			watch(s, fds, SLOT_SRC + i, l->src, POLLIN);
		if (l->len && l->dst >= 0)
			watch(s, fds, SLOT_DST + i, l->dst, POLLOUT);
	}
	if (s->control >= 0)
		watch(s, fds, SLOT_CONTROL, s->control,
		      control_has_words(s) ? POLLIN | POLLOUT : POLLIN);
	return s->nr_slots;
}

int guest_streams_handle(struct guest_streams *s, const struct pollfd *fds,
			 unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && i < s->nr_slots; i++) {
		enum slot slot = s->slots[i];

		if (!fds[i].revents)
			continue;
		if (slot >= SLOT_DST)
			lane_write(s, slot - SLOT_DST);
		else if (slot >= SLOT_SRC && s->lane[slot - SLOT_SRC].src >= 0)
			lane_read(s, slot - SLOT_SRC);
		else if (slot == SLOT_CONTROL && (fds[i].revents & ~POLLOUT))
			ret = control_read(s);
	}
	for (i = 0; i < LANES; i++)	/* most sinks take it at once */
		if (s->lane[i].len && s->lane[i].dst >= 0 &&
		    s->lane[i].limit == GUEST_CHUNK)
			lane_write(s, i);
	control_confirm(s);
	control_write(s);
	s->report.bytes_in = s->lane[LANE_IN].taken;
	s->report.bytes_out = s->lane[LANE_OUT].taken;
	s->report.bytes_err = s->lane[LANE_ERR].taken;
	return ret;
}
