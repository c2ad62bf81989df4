/* SPDX-License-Identifier: MIT */
/*
 * What a share has open: kept by number from worker to worker, and moved by
 * number to another keeper's table.
 *
 * Keeper and workers share one table of descriptors, and the state in the
 * arena names them by number. What neither the state nor the keeper names is
 * what a worker was opening or closing when it died; the next one sweeps it
 * away. To move the rest to the keeper of another program, a child of the old
 * keeper (in the place of a worker, and as likely to die of what is in the
 * arena) sends it over a socket, in batches and with its numbers. Each batch is
 * awaited: the kernel counts descriptors that are on their way.
 *
 * The receiver moves its own out of the way first, above all that will come.
 * What arrives is put at the lowest free numbers, and it arrives in ascending
 * order, so none lands above its place: moved from the last to the first, none
 * meets another. Both are confined, and neither believes the other: a number
 * that does not fit ends it, and the old keeper goes on.
 *
 * System calls: sendmmsg, recvmmsg (a worker's filter allows no others), dup3,
 * fcntl, close_range.
 */
#include "launch/share/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TABLE_MAX	(1u << 20)	/* more than any limit of ours allows */
#define BATCH		200u		/* SCM_MAX_FD is 253 */
#define HAND_MAGIC	0x766d6831u	/* of this protocol */

/* The first message, then batches; each is answered with one byte. */
struct hand_head {
	uint32_t magic, nr;
	int32_t top, sock, events, arena;
};

struct hand_batch {
	uint32_t nr;
	int32_t number[BATCH];
};

/* ---- a table ------------------------------------------------------------- */

static void table_know(void *known, int fd)
{
	if (fd >= 0 && (unsigned int)fd < TABLE_MAX)
		((unsigned char *)known)[fd] = 1;
}

/* One byte for each number that is somebody's; NULL: no memory, or @err. */
static unsigned char *table_of(const struct share_ops *ops, void *arg,
			       const struct share_fds *fds,
			       struct arena *arena, int *err)
{
	unsigned char *known = calloc(TABLE_MAX, 1);

	*err = known ? ops->known(arg, arena, table_know, known) : -ENOMEM;
	if (*err) {
		free(known);
		return NULL;
	}
	table_know(known, fds->sock);
	table_know(known, fds->events);
	table_know(known, arena_fd(arena));
	return known;
}

int share_sweep(const struct share_ops *ops, void *arg,
		const struct share_fds *fds, struct arena *arena)
{
	const int own[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO,
			   fds->relay, fds->ready, fds->go, fds->link,
			   fds->kills};
	int err;
	unsigned char *known = table_of(ops, arg, fds, arena, &err);

	if (!known)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		table_know(known, own[i]);
	for (unsigned int fd = 0, end; !err && fd < TABLE_MAX; fd = end) {
		for (end = fd; end < TABLE_MAX && !known[end]; end++)
			;
		if (end > fd)
			err = sys_close_range((int)fd, (int)end - 1, false);
		while (end < TABLE_MAX && known[end])
			end++;
	}
	free(known);
	return err;
}

int share_move_fd(int *fd, int least)
{
	int moved;

	if (*fd < 0)
		return 0;
	moved = fcntl(*fd, F_DUPFD_CLOEXEC, least);
	if (moved < 0)
		return -errno;
	close(*fd);
	*fd = moved;
	return 0;
}

/* ---- messages ------------------------------------------------------------ */

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(BATCH * sizeof(int))];
};

static int message_send(int sock, const void *data, size_t len, const int *fds,
			unsigned int nr)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data,
			    .iov_len = len};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	union control c;
	long r;

	if (nr) {
		memset(&c, 0, sizeof(c));
		m.msg_hdr.msg_control = &c;
		m.msg_hdr.msg_controllen =
			(socklen_t)CMSG_SPACE(nr * sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = (socklen_t)CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(&c.head), fds, nr * sizeof(int));
	}
	do
		r = syscall(SYS_sendmmsg, sock, &m, 1, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/*
 * One message of up to @len bytes: its length, or -errno; 0 at the end. *@nr
 * is room for descriptors, then how many came, all of which are the caller's.
 */
static int message_receive(int sock, void *data, size_t len, int *fds,
			   unsigned int *nr, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	union control c = {.head = {0}};
	struct mmsghdr m = {.msg_hdr = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c,
		.msg_controllen = (socklen_t)CMSG_SPACE(*nr * sizeof(int)),
	}};
	unsigned int room = *nr;
	long r;

	do
		r = syscall(SYS_recvmmsg, sock, &m, 1,
			    flags | MSG_CMSG_CLOEXEC, NULL);
	while (r < 0 && errno == EINTR);
	*nr = 0;
	if (r < 0)
		return -errno;
	if (room && m.msg_hdr.msg_controllen >= CMSG_LEN(sizeof(int)) &&
	    c.head.cmsg_level == SOL_SOCKET &&
	    c.head.cmsg_type == SCM_RIGHTS) {
		*nr = (unsigned int)((c.head.cmsg_len - CMSG_LEN(0)) /
				     sizeof(int));
		memcpy(fds, CMSG_DATA(&c.head), *nr * sizeof(int));
	}
	/* The limit of descriptors ends what is delivered. */
	if (m.msg_hdr.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	return (int)m.msg_len;
}

int descriptors_pass(int sock, int fd)
{
	return message_send(sock, "", 1, &fd, 1);
}

int descriptors_passed(int sock)
{
	int fd, last = -ENOENT, r;
	unsigned int nr;
	char byte;

	do {
		nr = 1;
		r = message_receive(sock, &byte, 1, &fd, &nr, MSG_DONTWAIT);
		if (!nr)
			continue;
		if (last >= 0)
			close(last);	/* of an attempt that came to nothing */
		last = fd;
	} while (r > 0);
	return last;
}

/* ---- the old keeper's ---------------------------------------------------- */

/* Wait for the one byte: 0, or -errno where the other one is gone. */
static int await(int link)
{
	unsigned int none = 0;
	char byte;
	int r = message_receive(link, &byte, 1, NULL, &none, 0);

	return r == 1 ? 0 : r < 0 ? r : -ECONNRESET;
}

static int send_batch(int link, struct hand_batch *b)
{
	int err = message_send(link, b, sizeof(*b), b->number, b->nr);

	b->nr = 0;
	return err ? err : await(link);
}

static int send_table(int link, unsigned char *known,
		      struct hand_head *head)
{
	struct hand_batch b = {.nr = 0};
	int err;

	/* 0 is what a number in the arena is at first. */
	memset(known, 0, STDERR_FILENO + 1);
	for (int fd = 0; fd < (int)TABLE_MAX; fd++) {
		if (!known[fd])
			continue;
		known[fd] = fcntl(fd, F_GETFD) >= 0;
		head->nr += known[fd];
		head->top = known[fd] ? fd : head->top;
	}
	err = message_send(link, head, sizeof(*head), NULL, 0);
	if (!err)
		err = await(link);
	for (int fd = 0; !err && fd <= head->top; fd++) {
		if (!known[fd])
			continue;
		b.number[b.nr++] = fd;
		if (b.nr == BATCH)
			err = send_batch(link, &b);
	}
	return err || !b.nr ? err : send_batch(link, &b);
}

void descriptors_send(int link, const struct share_ops *ops, void *arg,
		      const struct share_fds *fds, struct arena *arena)
{
	struct hand_head head = {.magic = HAND_MAGIC, .sock = fds->sock,
				 .events = fds->events,
				 .arena = arena_fd(arena)};
	int err;
	unsigned char *known = table_of(ops, arg, fds, arena, &err);

	if (known)
		err = send_table(link, known, &head);
	free(known);
	/* Its end is the end of the attempt. */
	while (!err)
		err = await(link);
}

/* ---- the new keeper's ---------------------------------------------------- */

/* Put what came to where it belongs; above @last, the last batch's end. */
static int place_batch(const struct hand_batch *b, const int *fds,
		       unsigned int nr, int top, int *last)
{
	if (!nr || nr > BATCH || b->nr != nr)
		return -EPROTO;
	for (unsigned int i = 0; i < nr; i++) {
		if (b->number[i] <= *last || b->number[i] > top ||
		    b->number[i] < fds[i] ||
		    (i && fds[i] <= fds[i - 1]))
			return -EPROTO;
		*last = b->number[i];
	}
	for (unsigned int i = nr; i--;) {
		if (fds[i] == b->number[i])
			continue;
		if (dup3(fds[i], b->number[i], O_CLOEXEC) < 0)
			return -errno;
		close(fds[i]);
	}
	return 0;
}

static int receive_table(int link, const struct hand_head *head)
{
	int fds[BATCH], last = STDERR_FILENO, r;
	struct hand_batch b;
	unsigned int nr, got = 0;

	while (got < head->nr) {
		nr = BATCH;
		r = message_receive(link, &b, sizeof(b), fds, &nr, 0);
		if (r >= 0 && r != sizeof(b))
			r = r ? -EPROTO : -ECONNRESET;
		if (r >= 0)
			r = place_batch(&b, fds, nr, head->top, &last);
		if (r >= 0)
			r = message_send(link, "", 1, NULL, 0);
		if (r < 0)
			return r;
		got += nr;
	}
	return 0;
}

static bool is_open(int fd, int top)
{
	return fd > STDERR_FILENO && fd <= top && fcntl(fd, F_GETFD) >= 0;
}

int descriptors_receive(int *const own[], unsigned int nr_own, const int *link,
			const struct share_ops *ops, void *arg,
			struct share_fds *fds)
{
	struct hand_head head;
	unsigned int none = 0;
	int r = message_receive(*link, &head, sizeof(head), NULL, &none, 0);

	if (r < 0)
		return r;
	if (r != sizeof(head) || head.magic != HAND_MAGIC || head.top < 0 ||
	    head.top >= (int)TABLE_MAX)
		return r ? -EPROTO : -ECONNRESET;
	r = ops->move(arg, head.top + 1);
	for (unsigned int i = 0; i < nr_own && !r; i++)
		r = share_move_fd(own[i], head.top + 1);
	if (!r)
		r = message_send(*link, "", 1, NULL, 0);
	if (!r)
		r = receive_table(*link, &head);
	if (r)
		return r;
	fds->sock = head.sock;
	fds->events = head.events;
	return is_open(head.sock, head.top) && is_open(head.events, head.top) &&
	       is_open(head.arena, head.top) ? head.arena : -EPROTO;
}
