/* SPDX-License-Identifier: MIT */
/*
 * The socket: headers, payloads and descriptors as they are, nothing known of
 * their meaning. Every wait has a bound, so that a server which does not
 * answer fails a test instead of hanging it.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FDS 64
#define SLEEP_MS 200

int fe_broken(struct fe *fe, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fe->fault, sizeof(fe->fault), fmt, ap);
	va_end(ap);
	return -EPROTO;
}

const char *fe_fault(const struct fe *fe)
{
	return fe->fault;
}

int fe_sleep(struct fe *fe, int fd, int timeout_ms)
{
	struct pollfd p[2] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = fe->sock == fd ? -1 : fe->sock },
	};
	int n, slice = SLEEP_MS;

	/*
	 * In slices: time in which the whole machine stood still, as virtual
	 * ones may, runs one of them out, not all.
	 */
	do {
		if (timeout_ms >= 0 && timeout_ms < slice)
			slice = timeout_ms;
		n = poll(p, 2, slice);
		if (n == 0 && timeout_ms >= 0)
			timeout_ms -= slice;
	} while ((n == 0 && timeout_ms) || (n < 0 && errno == EINTR));
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ETIMEDOUT;
	if (p[0].revents & POLLIN)
		return 0;
	return -ECONNRESET;
}

static int send_all(int sock, struct iovec *iov, const int *fds,
		    unsigned int nr)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * MAX_FDS)];
	} control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t left = iov[0].iov_len + iov[1].iov_len;
	ssize_t n;

	if (nr > MAX_FDS)
		return -EINVAL;
	if (nr) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = (socklen_t)CMSG_SPACE(sizeof(int) *
							  nr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = (socklen_t)CMSG_LEN(sizeof(int) * nr);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nr);
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == left ? 0 : -EIO;
}

int fe_send_raw(struct fe *fe, const void *bytes, size_t len, const int *fds,
		unsigned int nr)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)bytes, len }, { 0 } };

	return send_all(fe->sock, iov, fds, nr);
}

int fe_send(struct fe *fe, uint32_t request, uint32_t flags,
	    const void *payload, size_t size, const int *fds, unsigned int nr)
{
	struct vhu_hdr hdr = {
		.request = request,
		.flags = flags | VHU_VERSION,
		.size = (uint32_t)size,
	};
	struct iovec iov[2] = {
		{ &hdr, sizeof(hdr) },
		{ (void *)(uintptr_t)payload, size },
	};

	return send_all(fe->sock, iov, fds, nr);
}

/* One recvmsg(); keeps the first descriptor in *@fd, closes the others. */
static ssize_t recv_some(struct fe *fe, void *buf, size_t len, int *fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * MAX_FDS)];
	} control;
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t n;

	/* All descriptors of a message are in one header. */
	n = recvmsg(fe->sock, &msg, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	for (size_t i = 0; c && i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	     i++) {
		int got;

		memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		if (fd && *fd < 0)
			*fd = got;
		else
			close(got);
	}
	return n;
}

static int recv_all(struct fe *fe, void *buf, size_t len, int *fd)
{
	size_t done = 0;
	ssize_t n;
	int ret;

	while (done < len) {
		ret = fe_sleep(fe, fe->sock, fe->opts.timeout_ms);
		if (ret < 0)
			return ret;
		n = recv_some(fe, (char *)buf + done, len - done, fd);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -ECONNRESET;
		done += (size_t)n;
	}
	return 0;
}

int fe_recv(struct fe *fe, struct vhu_hdr *hdr, void *payload, size_t *size,
	    int *fd)
{
	int ret;

	if (fd)
		*fd = -1;
	ret = recv_all(fe, hdr, sizeof(*hdr), fd);
	if (ret < 0)
		return ret;
	if ((hdr->flags & 3) != VHU_VERSION || !(hdr->flags & VHU_REPLY))
		return fe_broken(fe, "reply to %u has flags 0x%x",
				 hdr->request, hdr->flags);
	if (hdr->size > *size)
		return fe_broken(fe, "reply to %u has %u bytes of payload",
				 hdr->request, hdr->size);
	*size = hdr->size;
	return recv_all(fe, payload, hdr->size, fd);
}

int fe_get(struct fe *fe, uint32_t request, uint64_t *value)
{
	struct vhu_hdr hdr;
	size_t size = sizeof(*value);
	int ret;

	ret = fe_send(fe, request, 0, NULL, 0, NULL, 0);
	if (ret < 0)
		return ret;
	ret = fe_recv(fe, &hdr, value, &size, NULL);
	if (ret < 0)
		return ret;
	if (hdr.request != request || size != sizeof(*value))
		return fe_broken(fe, "asked %u, got %u with %zu bytes",
				 request, hdr.request, size);
	return 0;
}

int fe_set(struct fe *fe, uint32_t request, const void *payload, size_t size,
	   const int *fds, unsigned int nr)
{
	bool ack = fe->pf & VHU_PF_REPLY_ACK;
	struct vhu_hdr hdr;
	size_t got = sizeof(uint64_t);
	uint64_t status = 0;
	int ret;

	ret = fe_send(fe, request, ack ? VHU_NEED_REPLY : 0, payload, size,
		      fds, nr);
	if (ret < 0 || !ack)
		return ret;
	ret = fe_recv(fe, &hdr, &status, &got, NULL);
	if (ret < 0)
		return ret;
	if (hdr.request != request || got != sizeof(status))
		return fe_broken(fe, "acknowledgement of %u is %u, %zu bytes",
				 request, hdr.request, got);
	return status ? -EREMOTEIO : 0;
}
