/* rooms: base vhostuser */
/* SPDX-License-Identifier: MIT */
/*
 * Messages of a hostile front end. The input is a list of records: request,
 * shape (descriptors, flags, length) and payload. All of them are in the
 * socket before vu_run() is called, which reads to the end and returns; so an
 * input runs in one thread, but for the lanes' leaders.
 *
 * Descriptors: a memory file whose content is the input itself (so that rings
 * which a mutation gets to start find something there), one that is too
 * short, an eventfd, and /dev/null.
 */

#include "tests/fuzz/fuzz.h"

#include "base/base.h"
#include "vhostuser/vhostuser.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUES		5
#define GUEST_SIZE	(256u << 10)
#define MAX_PAYLOAD	512
#define MAX_RECORDS	64

/* A record's shape byte. */
#define SHAPE_FDS	0x07	/* how many */
#define SHAPE_KIND	0x18	/* which first, >> 3 */
#define SHAPE_REPLY	0x20	/* wants an acknowledgement */
#define SHAPE_FLAGS	0x40	/* another byte follows: flags */
#define SHAPE_LENGTH	0x80	/* a header that lies about the length */

static struct arena *arena;
static struct vu_device *dev;
static pthread_t leader[CHAIN_MAX_QUEUES];
static bool leading[CHAIN_MAX_QUEUES];
static int memory, short_memory, null;
static unsigned int fds_base;

static void serve(struct chain *c)
{
	struct iov_cursor in, out;
	uint8_t buf[512];
	uint32_t len = 0;
	size_t n;

	iov_init(&in, c->iov, c->nr_readable);
	iov_init(&out, chain_writable(c), c->nr_writable);
	while ((n = iov_read(&in, buf, sizeof(buf))))
		len += (uint32_t)iov_write(&out, buf, n);
	vu_chain_ops.push(dev, c, len);
}

static void *lead(void *arg)
{
	unsigned int lane = (unsigned int)(uintptr_t)arg;
	struct iovec *iov = calloc(CHAIN_MAX_IOV, sizeof(*iov));
	struct chain c = { .iov = iov };
	int r = 0;

	while (iov && r >= 0) {
		r = vu_chain_ops.pop(dev, lane, &c);
		if (r == 1)
			serve(&c);
		else if (r == 0)
			r = vu_chain_ops.wait(dev, lane);
	}
	free(iov);
	return NULL;
}

static int start(void *ctx, unsigned int lane)
{
	(void)ctx;
	leading[lane] = pthread_create(&leader[lane], NULL, lead,
				    (void *)(uintptr_t)lane) == 0;
	return leading[lane] ? 0 : -ENOMEM;
}

static void stop(void *ctx, unsigned int lane)
{
	(void)ctx;
	if (leading[lane])
		pthread_join(leader[lane], NULL);
	leading[lane] = false;
}

static void reset(void *ctx)
{
	(void)ctx;
}

static void event(void *ctx, enum vu_event what, int queue, const char *text)
{
	(void)ctx;
	(void)what;
	(void)queue;
	(void)text;
}

static const struct chain_consumer consumer = {
	.start = start, .stop = stop, .reset = reset,
};

static void close_device(void)
{
	vu_close(dev);
	arena_close(arena);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct vu_config config = {
		.request_queues = QUEUES - 1,
		.consumer = &consumer,
		.event = event,
	};

	(void)argc;
	(void)argv;
	memory = memfd_create("guest", MFD_CLOEXEC);
	short_memory = memfd_create("short", MFD_CLOEXEC);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (memory < 0 || short_memory < 0 || null < 0 ||
	    ftruncate(memory, GUEST_SIZE) < 0 ||
	    ftruncate(short_memory, 4096) < 0 ||
	    arena_create(&arena, 64 << 20) < 0)
		fuzz_fail("can't set up");
	config.arena = arena;
	if (vu_open(&dev, &config) < 0)
		fuzz_fail("can't open the device");
	atexit(close_device);
	return 0;
}

static void send_record(int sock, struct fuzz_in *in)
{
	struct {
		uint32_t request, flags, size;
		uint8_t payload[MAX_PAYLOAD];
	} msg = { .flags = 1 };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { &msg, 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[8], event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const int kind[4] = { event_fd, memory, short_memory, null };
	uint8_t shape;
	size_t len, nr;

	msg.request = fuzz_u8(in);
	shape = fuzz_u8(in);
	len = fuzz_u16(in) % MAX_PAYLOAD;
	if (shape & SHAPE_REPLY)
		msg.flags |= 8;
	if (shape & SHAPE_FLAGS)
		msg.flags = fuzz_u8(in);
	msg.size = shape & SHAPE_LENGTH ? fuzz_u32(in) : (uint32_t)len;
	fuzz_bytes(in, msg.payload, len);
	iov.iov_len = 12 + len;
	nr = shape & SHAPE_FDS;
	for (size_t i = 0; i < nr; i++)
		fds[i] = kind[((shape & SHAPE_KIND) >> 3) % 4];
	if (nr) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nr * sizeof(int));
	}
	/* A ring that starts finds work; the peer is not yet reading. */
	if (event_fd >= 0) {
		eventfd_write(event_fd, 1);
		sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		close(event_fd);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		fuzz_fail("no socket");
	if (ftruncate(memory, 0) < 0 || ftruncate(memory, GUEST_SIZE) < 0 ||
	    pwrite(memory, data, size, 0) < 0)
		fuzz_fail("can't fill guest memory");
	for (int i = 0; in.left && i < MAX_RECORDS; i++)
		send_record(sock[1], &in);
	shutdown(sock[1], SHUT_WR);
	vu_run(dev, sock[0]);
	close(sock[0]);
	close(sock[1]);
	/* A queue that ran keeps its epoll, its wake-up, its call's number. */
	fuzz_check_fds(&fds_base, 3 * QUEUES);
	return 0;
}
