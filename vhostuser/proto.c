/* SPDX-License-Identifier: MIT */
/*
 * Messages and descriptors over the vhost-user socket.
 *
 * One message is in work at a time, and everything about it lives in struct
 * vu_exchange in the arena: a worker can be killed at any instruction and its
 * successor must neither lose a byte of the stream nor answer twice. The calls
 * used, recvmmsg() and sendmmsg(), store the count of moved bytes in our memory
 * before they return, and SIGKILL acts only on the way out of the kernel. So:
 *
 *	io.msg_len = VU_UNMOVED; base = got;
 *	recvmmsg();
 *	got = base + io.msg_len;
 *
 * can be taken up anywhere: where io.msg_len is not VU_UNMOVED, the bytes moved
 * and the last step is (perhaps again) due. Descriptors come with the first
 * byte of a message and are found in the control buffer in the same way. They
 * are never in two places: whoever keeps one marks its entry -1.
 *
 * The stream is read in two steps, header then payload, so that a read never
 * goes beyond a message. A header that cannot be right ends the connection: a
 * stream that lost its frame has no next message. What a message means, and
 * which sizes it may have, is not known here.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A front end that does not take its replies for so long is gone. */
#define REPLY_TIMEOUT_MS 2000

static int exchange_io(struct vu_exchange *x, int sock, void *data, size_t len,
		       bool receive, unsigned int control)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	long r;

	memset(&x->io.msg_hdr, 0, sizeof(x->io.msg_hdr));
	x->io.msg_hdr.msg_iov = &iov;
	x->io.msg_hdr.msg_iovlen = 1;
	if (control) {
		x->io.msg_hdr.msg_control = x->control;
		x->io.msg_hdr.msg_controllen = control;
	}
	/*
	 * Not the C library's wrappers: musl emulates sendmmsg() and would
	 * store the count only after the call.
	 */
	if (receive)
		r = syscall(SYS_recvmmsg, sock, &x->io, 1,
			    MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
	else
		r = syscall(SYS_sendmmsg, sock, &x->io, 1,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	return r < 0 ? -errno : 0;
}

/* Find the descriptors that came with the first bytes. Can be done twice. */
static void collect_fds(struct vu_exchange *x)
{
	struct msghdr m = {
		.msg_control = x->control,
		.msg_controllen = sizeof(x->control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	size_t n;

	if (c->cmsg_len < CMSG_LEN(sizeof(int)) ||
	    c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return;
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (n > VU_MAX_FDS)
		n = VU_MAX_FDS;
	memcpy(x->fds, CMSG_DATA(c), n * sizeof(int));
	arena_commit();
	x->nr_fds = (uint32_t)n;
}

/** vu_proto_settle() - account for a receive that a dead worker was in */
void vu_proto_settle(struct vu_exchange *x)
{
	if (x->stage != VU_STAGE_RECEIVE || x->io.msg_len == VU_UNMOVED)
		return;
	if (!x->base)
		collect_fds(x);
	arena_commit();
	x->got = x->base + x->io.msg_len;
}

/* Receive up to @want bytes of the message: 1 when they are here, 0 not yet. */
static int receive_until(struct vu_exchange *x, int sock, size_t want)
{
	int r;

	while (x->got < want) {
		x->io.msg_len = VU_UNMOVED;
		arena_commit();
		x->base = x->got;
		if (!x->got) {
			x->nr_fds = 0;
			memset(x->control, 0, sizeof(x->control));
		}
		arena_commit();
		r = exchange_io(x, sock, (char *)&x->message + x->got,
				want - x->got, true,
				x->got ? 0u : (unsigned int)sizeof(x->control));
		if (r == -EAGAIN)
			return 0;
		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		arena_commit();
		vu_proto_settle(x);
		if (x->io.msg_hdr.msg_flags & MSG_CTRUNC)
			return -EPROTO;
		if (!x->io.msg_len)
			return x->got ? -EPROTO : -ESHUTDOWN;
	}
	return 1;
}

/**
 * vu_proto_receive() - go on receiving the message in work
 * @x:		stage VU_STAGE_RECEIVE; _HANDLE when it is complete
 * @sock:	the front end
 *
 * Does not block. Return: 1 when a message is complete, 0 when more must come,
 * -ESHUTDOWN at an orderly end, -EPROTO when the stream makes no sense, -errno.
 */
int vu_proto_receive(struct vu_exchange *x, int sock)
{
	const struct vu_header *head = &x->message.head;
	int r;

	vu_proto_settle(x);
	r = receive_until(x, sock, sizeof(*head));
	if (r <= 0)
		return r;
	if (head->size > sizeof(x->message.payload) ||
	    (head->flags & VU_FLAG_VERSION_MASK) != VU_FLAG_VERSION ||
	    (head->flags & VU_FLAG_REPLY))
		return -EPROTO;
	r = receive_until(x, sock, sizeof(*head) + head->size);
	if (r <= 0)
		return r;
	x->seq++;
	arena_commit();
	x->stage = VU_STAGE_HANDLE;
	return 1;
}

static unsigned int reply_fd_control(struct vu_exchange *x)
{
	struct msghdr m = {
		.msg_control = x->control,
		.msg_controllen = CMSG_SPACE(sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	memset(x->control, 0, sizeof(x->control));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &x->reply_fd, sizeof(int));
	return CMSG_SPACE(sizeof(int));
}

/**
 * vu_proto_reply() - send the reply that is owed, then be ready to receive
 * @x:		stage VU_STAGE_REPLY, io.msg_len and sent were reset
 * @sock:	the front end
 *
 * Waits for room, since a front end that asked takes its answer. Return: 0 or
 * -errno; -ETIMEDOUT for a front end that stopped reading.
 */
int vu_proto_reply(struct vu_exchange *x, int sock)
{
	size_t want = sizeof(x->reply.head) + x->reply.head.size;
	struct pollfd p = { .fd = sock, .events = POLLOUT };
	unsigned int control;
	int r;

	if (x->io.msg_len != VU_UNMOVED)
		x->sent = x->sent_base + x->io.msg_len;
	while (x->sent < want) {
		x->io.msg_len = VU_UNMOVED;
		arena_commit();
		x->sent_base = x->sent;
		control = !x->sent && x->reply_fd >= 0 ? reply_fd_control(x)
						       : 0;
		arena_commit();
		r = exchange_io(x, sock, (char *)&x->reply + x->sent,
				want - x->sent, false, control);
		if (r == -EAGAIN) {
			r = poll(&p, 1, REPLY_TIMEOUT_MS);
			if (!r)
				return -ETIMEDOUT;
			continue;
		}
		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		arena_commit();
		x->sent = x->sent_base + x->io.msg_len;
	}
	vu_proto_done(x);
	return 0;
}

/** vu_proto_reply_fd() - the reply brings @fd, or none; ours from here on */
void vu_proto_reply_fd(struct vu_exchange *x, int fd)
{
	int old = x->reply_fd;	/* of a handler that a crash cut short */

	x->reply_fd = fd;
	arena_commit();
	if (old >= 0)
		close(old);
}

/**
 * vu_proto_done() - forget the message in work and what came with it
 *
 * Closes every descriptor that no handler took.
 */
void vu_proto_done(struct vu_exchange *x)
{
	int fd;

	x->stage = VU_STAGE_DONE;
	arena_commit();
	for (unsigned int i = 0; i < x->nr_fds; i++) {
		fd = x->fds[i];
		x->fds[i] = -1;
		arena_commit();
		if (fd >= 0)
			close(fd);
	}
	vu_proto_reply_fd(x, -1);
	x->io.msg_len = VU_UNMOVED;
	arena_commit();
	x->nr_fds = 0;
	x->got = 0;
	arena_commit();
	x->stage = VU_STAGE_RECEIVE;
}
