/* SPDX-License-Identifier: MIT */
/*
 * FUSE requests as chains, laid out as Linux' virtio_fs.c does: in_header |
 * arguments | data pages, then out_header | fixed part of the reply | data
 * pages, where every page is a descriptor of its own. Every reply is checked
 * as Linux 7.2 does: used length, its equality with out.len, and unique.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ERRNO 4095

static size_t pages(size_t len)
{
	return (len + FE_PAGE - 1) / FE_PAGE;
}

int fe_req_new(struct fe *fe, size_t args, size_t ret, size_t src, size_t dst,
	       struct fe_req **out)
{
	struct fe_req *req = calloc(1, sizeof(*req));
	int err;

	if (!req)
		return -ENOMEM;
	req->fe = fe;
	req->max_seg = (unsigned int)(4 + pages(src) + pages(dst));
	req->seg = calloc(req->max_seg, sizeof(*req->seg));
	err = req->seg ? 0 : -ENOMEM;
	if (!err)
		err = fe_alloc(fe, sizeof(*req->in) + args, &req->inbuf);
	if (!err)
		err = fe_alloc(fe, sizeof(*req->out) + ret, &req->outbuf);
	if (!err)
		err = fe_alloc(fe, src, &req->src);
	if (!err)
		err = fe_alloc(fe, dst, &req->dst);
	if (err) {
		fe_req_free(req);
		return err;
	}
	req->in = req->inbuf.p;
	req->out = req->outbuf.p;
	memset(req->in, 0, sizeof(*req->in));
	req->arg_len = (uint32_t)args;
	req->ret_size = (uint32_t)ret;
	req->src_len = (uint32_t)src;
	req->dst_size = (uint32_t)dst;
	*out = req;
	return 0;
}

void fe_req_free(struct fe_req *req)
{
	if (!req)
		return;
	fe_free(req->fe, &req->inbuf);
	fe_free(req->fe, &req->outbuf);
	fe_free(req->fe, &req->src);
	fe_free(req->fe, &req->dst);
	free(req->seg);
	free(req);
}

/* The page that holds page @i of the data: all there is, but out of order. */
static size_t page_of(const struct fe_req *req, const struct fe_buf *buf,
		      size_t i)
{
	return req->fe->opts.scatter ? pages(buf->len) - 1 - i : i;
}

static void copy(struct fe_req *req, const struct fe_buf *buf, size_t off,
		 void *p, size_t len, bool to_guest)
{
	uint8_t *user = p;

	while (len) {
		size_t in_page = off % FE_PAGE;
		size_t n = FE_PAGE - in_page < len ? FE_PAGE - in_page : len;
		uint8_t *guest = (uint8_t *)buf->p + in_page +
				 page_of(req, buf, off / FE_PAGE) * FE_PAGE;

		if (to_guest)
			memcpy(guest, user, n);
		else
			memcpy(user, guest, n);
		off += n;
		user += n;
		len -= n;
	}
}

void fe_data_in(struct fe_req *req, size_t off, const void *p, size_t len)
{
	copy(req, &req->src, off, (void *)(uintptr_t)p, len, true);
}

void fe_data_out(struct fe_req *req, size_t off, void *p, size_t len)
{
	copy(req, &req->dst, off, p, len, false);
}

static unsigned int add_pages(struct fe_req *req, unsigned int n,
			      const struct fe_buf *buf, uint32_t len,
			      bool write)
{
	for (size_t i = 0; len; i++) {
		uint32_t part = len < FE_PAGE ? len : FE_PAGE;

		req->seg[n++] = (struct fe_seg){
			buf->gpa + page_of(req, buf, i) * FE_PAGE, part, write,
		};
		len -= part;
	}
	return n;
}

static unsigned int build(struct fe_req *req)
{
	const uint32_t in = sizeof(*req->in), out = sizeof(*req->out);
	unsigned int n = 0;

	/* FORGET: one descriptor, header and argument, as Linux sends it. */
	if (req->no_reply) {
		req->seg[0] = (struct fe_seg){ req->inbuf.gpa,
					       in + req->arg_len, false };
		return 1;
	}
	req->seg[n++] = (struct fe_seg){ req->inbuf.gpa, in, false };
	if (req->arg_len)
		req->seg[n++] = (struct fe_seg){ req->inbuf.gpa + in,
						 req->arg_len, false };
	n = add_pages(req, n, &req->src, req->src_len, false);
	req->seg[n++] = (struct fe_seg){ req->outbuf.gpa, out, true };
	if (req->ret_size)
		req->seg[n++] = (struct fe_seg){ req->outbuf.gpa + out,
						 req->ret_size, true };
	return add_pages(req, n, &req->dst, req->dst_size, true);
}

int fe_submit(struct fe_req *req, unsigned int q)
{
	struct fe *fe = req->fe;
	int ret;

	if (q >= fe->nr_rings)
		return -EINVAL;
	req->ring = &fe->ring[q];
	req->done = false;
	req->got = 0;
	/* Linux' uniques are even; odd ones are for INTERRUPT. */
	req->unique = __atomic_add_fetch(&fe->unique, 2, __ATOMIC_RELAXED);
	req->in->unique = req->unique;
	req->in->len = (uint32_t)sizeof(*req->in) + req->arg_len +
		       req->src_len;
	memset(req->out, 0xff, sizeof(*req->out));
	ret = fe_push(req->ring, req->seg, build(req), req);
	if (ret < 0)
		return ret;
	fe_kick(req->ring);
	return 0;
}

static int check(struct fe_req *req)
{
	struct fe *fe = req->fe;
	struct fuse_out_header out = *req->out;
	uint32_t op = req->in->opcode;

	if (req->no_reply)
		return req->used_len == 0 ? 0 :
			fe_broken(fe, "opcode %u: used length %u for no reply",
				  op, req->used_len);
	if (req->used_len < sizeof(out))
		return fe_broken(fe, "opcode %u: used length %u", op,
				 req->used_len);
	if (out.len != req->used_len)
		return fe_broken(fe, "opcode %u: out.len %u, used length %u",
				 op, out.len, req->used_len);
	if (out.unique != req->unique)
		return fe_broken(fe, "opcode %u: unique %llu, not %llu", op,
				 (unsigned long long)out.unique,
				 (unsigned long long)req->unique);
	if (out.error > 0 || out.error < -MAX_ERRNO)
		return fe_broken(fe, "opcode %u: error %d", op, out.error);
	if (out.error && out.len != sizeof(out))
		return fe_broken(fe, "opcode %u: error %d with %u bytes", op,
				 out.error, out.len);
	req->got = out.len - (uint32_t)sizeof(out);
	if (req->got > req->ret_size + req->dst_size)
		return fe_broken(fe, "opcode %u: %u bytes, room for %u", op,
				 req->got, req->ret_size + req->dst_size);
	return out.error;
}

int fe_poll(struct fe *fe, unsigned int q, struct fe_req **done,
	    unsigned int max)
{
	unsigned int n = 0;
	uint32_t len;
	void *token;
	int ret;

	while (n < max) {
		ret = fe_reap(&fe->ring[q], &token, &len);
		if (ret < 0)
			return ret;
		if (ret == 0)
			break;
		done[n] = token;
		done[n]->used_len = len;
		done[n]->error = check(done[n]);
		done[n]->done = true;
		n++;
	}
	return (int)n;
}

int fe_finish(struct fe_req *req)
{
	struct fe *fe = req->fe;
	struct fe_req *one;
	int ret;

	while (!req->done) {
		ret = fe_poll(fe, req->ring->index, &one, 1);
		if (ret == 0)
			ret = fe_wait(req->ring, fe->opts.timeout_ms);
		if (ret < 0)
			return ret;
	}
	return req->error;
}

int fe_call_start(struct fe *fe, const struct fe_call *call,
		  struct fe_req **out)
{
	struct fe_req *req;
	size_t args = 0;
	uint8_t *p;
	int ret;

	for (int i = 0; i < 5 && call->in[i].p; i++)
		args += call->in[i].len;
	ret = fe_req_new(fe, args, call->out_size, call->src_len,
			 call->dst_size, &req);
	if (ret < 0)
		return ret;
	p = fe_args(req);
	for (int i = 0; i < 5 && call->in[i].p; i++) {
		memcpy(p, call->in[i].p, call->in[i].len);
		p += call->in[i].len;
	}
	fe_data_in(req, 0, call->src, call->src_len);
	req->in->opcode = call->opcode;
	req->in->nodeid = call->nodeid;
	req->in->uid = fe->uid;
	req->in->gid = fe->gid;
	req->in->pid = fe->pid;
	req->in->total_extlen = call->extlen / 8;
	req->no_reply = call->no_reply;
	ret = fe_submit(req, call->q || call->no_reply ? call->q : 1);
	if (ret < 0) {
		fe_req_free(req);
		return ret;
	}
	*out = req;
	return 0;
}

int fe_call(struct fe *fe, struct fe_call *call)
{
	struct fe_req *req = NULL;
	size_t n;
	int ret;

	call->got = 0;
	ret = fe_call_start(fe, call, &req);
	if (ret < 0)
		return ret;
	ret = fe_finish(req);
	/* What is still in flight stays the server's to write. */
	if (!req->done)
		return ret;
	call->got = req->got;
	n = req->got < req->ret_size ? req->got : req->ret_size;
	if (n)
		memcpy(call->out, fe_ret(req), n);
	if (req->got > n)
		fe_data_out(req, 0, call->dst, req->got - n);
	if (ret == 0 && call->out_exact && req->got != call->out_size)
		ret = fe_broken(fe, "opcode %u: reply of %u bytes, not %zu",
				call->opcode, req->got, call->out_size);
	fe_req_free(req);
	return ret;
}

int fe_ask(struct fe *fe, uint32_t opcode, uint64_t nodeid, const void *in,
	   size_t len, void *out, size_t size)
{
	struct fe_call c = {
		.opcode = opcode,
		.nodeid = nodeid,
		.in = { { in, len } },
		.out = out,
		.out_size = size,
		.out_exact = true,
	};

	return fe_call(fe, &c);
}
