/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FE_H
#define VMSHARE_TESTS_FE_H

/*
 * A vhost-user front end that plays the guest's virtiofs driver: it makes
 * "guest memory", shakes hands as QEMU does, drives rings as Linux does, and
 * speaks FUSE over them. Everything below the helpers is open to a hostile
 * test: raw messages, raw descriptors, raw indices.
 *
 * Threads: one thread at a time per ring, and one for the socket; fe_alloc()
 * may be called by any. Everything returns 0 or -errno; -EPROTO says that the
 * server broke a rule of the specifications (fe_fault() says which).
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/frontend/spec.h"

#define FE_PAGE		4096u
#define FE_MAX_REGIONS	8u
#define FE_MAX_RINGS	65u	/* hiprio and up to 64 request queues */

/* ---- guest memory ------------------------------------------------------- */

struct fe_buf {
	void *p;		/* front end's address */
	uint64_t gpa;		/* guest-physical address */
	size_t len;		/* as asked for; rounded up to pages inside */
};

struct fe_region {
	uint64_t gpa;
	uint64_t size;
	uint8_t *map;
	int fd;
	uint8_t *used;		/* one byte a page */
	size_t hint;
};

/* ---- connecting --------------------------------------------------------- */

/* Zero means the default everywhere. */
struct fe_opts {
	const char *path;	/* connect here, or ... */
	int fd;			/* ... use this connected socket (taken over) */
	unsigned int queues;	/* request queues, 1..64; 1 */
	unsigned int ring_size;	/* 2..1024, a power of 2; 128 */
	unsigned int regions;	/* of guest memory, 1..8; 1 */
	bool adjacent;		/* no gap between the regions' addresses */
	bool downwards;		/* with mem_slots: told from the last on */
	bool warm;		/* pages that were freed are used first */
	size_t mem_size;	/* bytes in all; 64 MiB */
	bool no_indirect;
	bool no_event_idx;
	bool mem_slots;		/* ADD_MEM_REG instead of SET_MEM_TABLE */
	bool no_reply_ack;
	bool scatter;		/* no two data pages of a request adjacent */
	bool blocking;		/* wait by read() alone, without a timeout */
	bool handshake_only;	/* leave memory and rings to the caller */
	int timeout_ms;		/* for replies and completions; 10 s */
	const struct fe_region *given;	/* memory to use, and to leave */
	uint64_t pf_mask;	/* protocol features wanted; all known */
};

struct fe_slot {
	void *token;
	struct fe_buf table;	/* indirect descriptors, kept */
	uint16_t ndesc;
	uint16_t next;		/* free list */
	bool busy;
};

struct fe_ring {
	struct fe *fe;
	unsigned int index;
	unsigned int num;
	struct fe_buf mem[3];	/* descriptors, avail, used */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	int kick;
	int call;
	int err;
	volatile uint16_t *doorbell;	/* of a device in a guest, or NULL */
	bool started;
	bool has_base;		/* start at base: as the server said at stop */
	uint32_t base;
	uint16_t free_head;
	uint16_t nr_free;
	uint16_t next_avail;
	uint16_t kicked;	/* next_avail at the last kick decision */
	uint16_t last_used;
	struct fe_slot *slot;
	uint64_t kicks;		/* written to the kick descriptor */
	uint64_t interrupts;	/* wake-ups by the call descriptor */
};

struct fe {
	struct fe_opts opts;
	int sock;
	uint64_t offered;	/* features */
	uint64_t features;	/* in use */
	uint64_t pf_offered;
	uint64_t pf;
	uint64_t max_queues;
	uint64_t max_slots;
	unsigned int nr_regions;
	struct fe_region region[FE_MAX_REGIONS];
	pthread_mutex_t lock;	/* region[].used, unique */
	unsigned int nr_rings;
	struct fe_ring ring[FE_MAX_RINGS];
	uint64_t unique;
	uint32_t uid;		/* of the requests that fe_call() sends */
	uint32_t gid;
	uint32_t pid;
	struct fuse_init_out init;
	uint64_t init_flags;	/* both halves, as answered */
	char fault[160];
};

/**
 * fe_connect() - make guest memory, shake hands, start the rings
 * @fe:		set on success; fe_close() it
 * @opts:	NULL for the defaults needs a path, so never NULL
 */
int fe_connect(struct fe **fe, const struct fe_opts *opts);
/** fe_offline() - guest memory alone, for who has rings of his own or none */
int fe_offline(struct fe **fe, const struct fe_opts *opts);
/** fe_close() - hang up at once, as a killed QEMU does; NULL is fine */
void fe_close(struct fe *fe);
/** fe_fault() - what rule the server broke, "" if none */
const char *fe_fault(const struct fe *fe);

int fe_alloc(struct fe *fe, size_t len, struct fe_buf *buf);
void fe_free(struct fe *fe, struct fe_buf *buf);

/* ---- messages ----------------------------------------------------------- */

/* Send anything: @size bytes of payload and @nr descriptors (kept). */
int fe_send(struct fe *fe, uint32_t request, uint32_t flags,
	    const void *payload, size_t size, const int *fds, unsigned int nr);
/* Bytes as they are, for messages that are none. */
int fe_send_raw(struct fe *fe, const void *bytes, size_t len, const int *fds,
		unsigned int nr);
/* A reply; *@size in: room, out: payload. @fd, if not NULL, gets one or -1. */
int fe_recv(struct fe *fe, struct vhu_hdr *hdr, void *payload, size_t *size,
	    int *fd);
/* A request that has a u64 answer. */
int fe_get(struct fe *fe, uint32_t request, uint64_t *value);
/* One that has none: asks for an acknowledgement where that was agreed on;
 * -EREMOTEIO if the server refused it. */
int fe_set(struct fe *fe, uint32_t request, const void *payload, size_t size,
	   const int *fds, unsigned int nr);

/* The steps of the handshake, in QEMU's order, for tests that take them
 * one by one (opts.handshake_only does the first). */
int fe_negotiate(struct fe *fe);
int fe_set_features(struct fe *fe);
int fe_share_memory(struct fe *fe);
int fe_ring_init(struct fe *fe, unsigned int q);	/* own memory only */
int fe_ring_start(struct fe *fe, unsigned int q);	/* NUM .. ENABLE */
/* GET_VRING_BASE; *@base as the server answers. */
int fe_ring_stop(struct fe *fe, unsigned int q, uint32_t *base);
/* The in-flight table: have one made, in *@fd; use it. */
int fe_inflight_get(struct fe *fe, struct vhu_inflight *table, int *fd);
int fe_inflight_set(struct fe *fe, const struct vhu_inflight *table, int fd);
/* From the features on, with an in-flight table, which is made if *@fd < 0. */
int fe_begin_inflight(struct fe *fe, struct vhu_inflight *table, int *fd);
int fe_start(struct fe *fe);	/* all rings */
int fe_stop(struct fe *fe);	/* all rings, as at QMP stop or reboot */
int fe_reset_device(struct fe *fe);	/* -ENOTSUP if not agreed on */

/* ---- the dirty log ------------------------------------------------------ */

struct fe_log {
	int fd;
	uint8_t *bits;
	size_t size;		/* bytes */
};

/* SET_LOG_BASE with anything. */
int fe_log_base(struct fe *fe, const struct vhu_log *at, int fd);
/* A log of @size bytes, 0: for all memory, is made and told; not yet used. */
int fe_log_open(struct fe *fe, struct fe_log *log, size_t size);
void fe_log_close(struct fe_log *log);
/* Have it used or not, by the feature. */
int fe_log_all(struct fe *fe, bool on);
/* Whether the page was marked; it is not any more. */
bool fe_log_take(struct fe_log *log, uint64_t gpa);
/* No page is marked any more; how many were. */
unsigned int fe_log_clear(struct fe_log *log);

/* ---- rings -------------------------------------------------------------- */

struct fe_seg {
	uint64_t gpa;
	uint32_t len;
	bool write;		/* the device writes it */
};

/**
 * fe_push() - publish one chain; does not kick
 * @r:		ring
 * @seg, @n:	the chain; goes into an indirect table if that was agreed on
 * @token:	what fe_reap() will return for it
 *
 * Return: 0, -ENOSPC when the ring is full.
 */
int fe_push(struct fe_ring *r, const struct fe_seg *seg, unsigned int n,
	    void *token);
/** fe_kick() - tell the device if it wants to know; true if it was told */
bool fe_kick(struct fe_ring *r);
/* Tell it whether it wants or not. */
void fe_kick_always(struct fe_ring *r);
/** fe_reap() - 1 with a completed chain, 0 when there is none, -EPROTO */
int fe_reap(struct fe_ring *r, void **token, uint32_t *len);
/* Ask for a call; whether something is to be reaped already. */
bool fe_arm(struct fe_ring *r);
/** fe_wait() - sleep until fe_reap() may find something; -ETIMEDOUT,
 * -ECONNRESET when the server hung up */
int fe_wait(struct fe_ring *r, int timeout_ms);

/* ---- FUSE requests, asynchronous ---------------------------------------- */

/*
 * A request keeps its memory and can be sent again and again. Fill in->opcode,
 * in->nodeid, the arguments behind the header (fe_args()) and arg_len;
 * fe_submit() does the rest.
 */
struct fe_req {
	struct fe *fe;
	struct fe_ring *ring;
	struct fuse_in_header *in;	/* in guest memory */
	struct fuse_out_header *out;	/* in guest memory */
	uint32_t arg_len;	/* bytes behind *in */
	uint32_t src_len;	/* bytes of src to send */
	uint32_t ret_size;	/* room behind *out */
	uint32_t dst_size;	/* room in dst to offer */
	struct fe_buf src;	/* data that the device reads, by pages */
	struct fe_buf dst;	/* data that the device writes, by pages */
	/* after completion: */
	bool done;
	int error;		/* 0 or -errno as answered, -EPROTO */
	uint32_t got;		/* bytes answered behind the header */
	uint32_t used_len;
	void *user;
	/* private */
	struct fe_buf inbuf;
	struct fe_buf outbuf;
	uint32_t *order;	/* of data pages, if scattered */
	struct fe_seg *seg;
	unsigned int max_seg;
	uint64_t unique;
	bool no_reply;
};

/* Room for @args and @ret bytes of fixed parts, @src and @dst of data. */
int fe_req_new(struct fe *fe, size_t args, size_t ret, size_t src, size_t dst,
	       struct fe_req **req);
void fe_req_free(struct fe_req *req);
static inline void *fe_args(struct fe_req *req)
{
	return req->in + 1;
}
static inline void *fe_ret(struct fe_req *req)
{
	return req->out + 1;
}
/* Offset -> address of byte @off of the data that was read or is to write. */
void fe_data_in(struct fe_req *req, size_t off, const void *p, size_t len);
void fe_data_out(struct fe_req *req, size_t off, void *p, size_t len);
/* Publish on ring @q (0: high priority) and kick if wanted. */
int fe_submit(struct fe_req *req, unsigned int q);
/* Reap what is there, complete and check it; the number of requests. */
int fe_poll(struct fe *fe, unsigned int q, struct fe_req **done,
	    unsigned int max);
/* Wait for this one; others that complete are marked done. Its error. */
int fe_finish(struct fe_req *req);

/* ---- FUSE requests, synchronous ----------------------------------------- */

struct fe_call {
	uint32_t opcode;
	uint64_t nodeid;
	struct {
		const void *p;
		size_t len;
	} in[5];		/* arguments, ended by p == NULL */
	const void *src;	/* data behind them, in page descriptors */
	size_t src_len;
	void *out;		/* fixed part of the reply */
	size_t out_size;
	bool out_exact;		/* success must fill out */
	void *dst;		/* data behind it, in page descriptors */
	size_t dst_size;
	size_t got;		/* bytes answered behind the header */
	unsigned int q;		/* 0: queue 1 */
	uint16_t extlen;	/* of the extensions among in[], in bytes */
	bool no_reply;		/* FORGET: high priority queue, no answer */
};

int fe_call(struct fe *fe, struct fe_call *call);
/* The usual shape: a struct in, exactly a struct out; either may be none. */
int fe_ask(struct fe *fe, uint32_t opcode, uint64_t nodeid, const void *in,
	   size_t len, void *out, size_t size);
/* The same, not waited for: fe_finish(), fe_req_free(). */
int fe_call_start(struct fe *fe, const struct fe_call *call,
		  struct fe_req **req);

#include "tests/frontend/client.h"
#include "tests/frontend/server.h"

#endif
