/* SPDX-License-Identifier: MIT */
/*
 * The closed loop: as many lanes as the depth says, each with one request in
 * flight. A measurement is one or more timed passes with untimed work around
 * them; the server's clock is read only when nothing is in flight. Latencies
 * go into a histogram with 32 steps to each power of two.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARG_ROOM	512
#define RET_ROOM	512
#define FORGET_BATCH	2000
#define WARM_MS		20

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void cpu_set_of(unsigned long cpus, cpu_set_t *set)
{
	CPU_ZERO(set);
	for (unsigned int i = 0; i < 64; i++)
		if (cpus >> i & 1)
			CPU_SET(i, set);
}

int run_fail(struct run *run, const char *fmt, ...)
{
	va_list ap;

	if (!run->why[0]) {
		va_start(ap, fmt);
		vsnprintf(run->why, sizeof(run->why), fmt, ap);
		va_end(ap);
	}
	return -EIO;
}

/* ---- what is owed ------------------------------------------------------- */

void run_owe(struct run *run, uint64_t node)
{
	if (!run->link->forgets)
		return;
	if (run->nr_forget == run->max_forget) {
		unsigned int max = run->max_forget ? 2 * run->max_forget : 4096;
		void *more = realloc(run->forget, max * sizeof(*run->forget));

		if (!more) {
			run_fail(run, "out of memory");
			return;
		}
		run->forget = more;
		run->max_forget = max;
	}
	run->forget[run->nr_forget++] = (struct fuse_forget_one){
		.nodeid = node, .nlookup = 1,
	};
}

static int pay(struct run *run)
{
	struct fe *fe = run->link->fe;
	int ret = 0;

	for (unsigned int i = 0; i < run->nr_forget && ret == 0;) {
		unsigned int n = run->nr_forget - i;

		if (n > FORGET_BATCH)
			n = FORGET_BATCH;
		ret = fe_batch_forget(fe, run->forget + i, n);
		i += n;
	}
	run->nr_forget = 0;
	return ret;
}

/* Take back FORGETs that the server has done with; all of them if @wait. */
static int reap_lost(struct run *run, bool wait)
{
	struct fe *fe = run->link->fe;
	struct fe_req *done;
	int ret;

	while (run->nr_lost) {
		ret = fe_poll(fe, 0, &done, 1);
		if (ret < 0)
			return ret;
		if (ret == 0) {
			if (!wait)
				return 0;
			ret = fe_wait(&fe->ring[0], 1000);
			if (ret < 0)
				return ret;
			continue;
		}
		for (unsigned int i = 0; i < run->nr_lost; i++) {
			if (run->lost[i] != done)
				continue;
			fe_req_free(done);
			run->lost[i] = run->lost[--run->nr_lost];
			break;
		}
	}
	return 0;
}

void run_forget(struct run *run, uint64_t node)
{
	struct fuse_forget_in in = { .nlookup = 1 };
	struct fe_call c = {
		.opcode = FUSE_FORGET,
		.nodeid = node,
		.in = { { &in, sizeof(in) } },
		.no_reply = true,
	};
	int ret;

	if (!run->link->forgets)
		return;
	ret = reap_lost(run, run->nr_lost == ARRAY_LEN(run->lost));
	if (ret == 0)
		ret = fe_call_start(run->link->fe, &c,
				    &run->lost[run->nr_lost]);
	if (ret < 0)
		run_fail(run, "FORGET: %d", ret);
	else
		run->nr_lost++;
}

/* ---- the loop ----------------------------------------------------------- */

static unsigned int bucket(uint64_t ns)
{
	unsigned int log, at;

	if (ns < HIST_SUB)
		return (unsigned int)ns;
	log = 63 - (unsigned int)__builtin_clzll(ns);
	at = (log - 4) * HIST_SUB +
	     (unsigned int)(ns >> (log - 5) & (HIST_SUB - 1));
	return at < HIST_SIZE ? at : HIST_SIZE - 1;
}

static double bucket_us(unsigned int at)
{
	unsigned int log = at / HIST_SUB + 4;

	if (at < HIST_SUB)
		return at / 1e3;
	return (double)(((uint64_t)HIST_SUB + at % HIST_SUB) << (log - 5)) /
	       1e3;
}

static double quantile(const struct run *run, double q)
{
	uint64_t want = (uint64_t)((double)run->ops * q), seen = 0;

	for (unsigned int i = 0; i < HIST_SIZE; i++) {
		seen += run->hist[i];
		if (seen > want)
			return bucket_us(i);
	}
	return 0;
}

/*
 * The lane's reply is there (or nothing was sent yet): on to what it sends
 * next. Return: 1 if something was sent, 0 if the lane is at rest.
 */
static int advance(struct lane *l, uint64_t deadline)
{
	struct run *run = l->run;
	uint64_t now;
	int ret;

	for (;;) {
		switch (run->work->step(l)) {
		case STEP_SEND:
			ret = run->link->submit(run->link, l->req, l->queue);
			if (ret < 0)
				return run_fail(run, "submit: %d", ret);
			return 1;
		case STEP_DONE:
			now = now_ns();
			run->hist[bucket(now - l->started)]++;
			run->ops++;
			l->started = now;
			l->state = 0;
			if (!run->work->whole && now >= deadline)
				return 0;
			break;
		default:
			return run->why[0] ? -EIO : 0;
		}
	}
}

static int reply(struct run *run, struct fe_req *req, uint64_t deadline)
{
	struct lane *l = req->user;

	if (l->expect != EXPECT_ANY && req->error != l->expect)
		return run_fail(run, "opcode %u: %d%s%s", req->in->opcode,
				req->error, req->error == -EPROTO ? " " : "",
				req->error == -EPROTO ?
					fe_fault(run->link->fe) : "");
	return advance(l, deadline);
}

static int pass(struct run *run, unsigned int ms)
{
	uint64_t deadline = now_ns() + ms * 1000000ull;
	struct fe_req *done[MAX_DEPTH];
	unsigned int active = 0;
	int n, ret;

	for (unsigned int i = 0; i < run->depth; i++) {
		run->lane[i].started = now_ns();
		run->lane[i].state = 0;
		run->lane[i].file = 0;
		ret = advance(&run->lane[i], deadline);
		if (ret < 0)
			return ret;
		active += (unsigned int)ret;
	}
	while (active) {
		n = run->link->poll(run->link, done, MAX_DEPTH);
		if (n == 0)
			n = run->link->wait(run->link);
		if (n < 0)
			return run_fail(run, "waiting: %d %s", n,
					fe_fault(run->link->fe));
		for (int i = 0; i < n; i++) {
			ret = reply(run, done[i], deadline);
			if (ret < 0)
				return ret;
			if (ret == 0)
				active--;
		}
	}
	return run->nr_lost ? reap_lost(run, true) : 0;
}

static int timed_pass(struct run *run, unsigned int ms, bool counts)
{
	struct usage before, after;
	uint64_t start, ops = run->ops;
	int ret;

	ret = run->work->before ? run->work->before(run) : 0;
	if (ret == 0 && run->cold && tree_drop_caches(run->tree) < 0)
		return run_fail(run, "caches can't be dropped here");
	if (ret < 0)
		return ret;
	run->link->usage(run->link, &before);
	start = now_ns();
	ret = pass(run, ms);
	if (ret == 0 && counts) {
		run->ns += now_ns() - start;
		run->link->usage(run->link, &after);
		if (after.who != before.who)
			return run_fail(run, "a process of the server died");
		run->used.cpu_ns += after.cpu_ns - before.cpu_ns;
		if (after.switches > before.switches)
			run->used.switches += after.switches - before.switches;
		run->used.kicks += after.kicks - before.kicks;
		run->used.interrupts += after.interrupts - before.interrupts;
	}
	if (ret == 0 && !counts) {
		memset(run->hist, 0, sizeof(run->hist));
		run->ops = ops;
	}
	if (ret == 0 && run->work->after)
		ret = run->work->after(run);
	return ret < 0 ? ret : pay(run);
}

int run_ask(struct run *run, struct lane *l)
{
	struct fe_req *done = NULL;
	int ret;

	ret = run->link->submit(run->link, l->req, 1);
	while (ret == 0) {
		ret = run->link->poll(run->link, &done, 1);
		if (ret > 0 && done == l->req)
			return done->error;
		ret = ret ? ret : run->link->wait(run->link);
		ret = ret > 0 ? 0 : ret;
	}
	return ret;
}

static int set_up(struct run *run)
{
	const struct workload *w = run->work;
	int ret = 0;

	for (unsigned int i = 0; i < run->depth && ret == 0; i++) {
		struct lane *l = &run->lane[i];

		memset(l, 0, sizeof(*l));
		ret = fe_req_new(run->link->fe, ARG_ROOM, RET_ROOM, w->src,
				 w->dst, &l->req);
		if (ret < 0)
			return run_fail(run, "guest memory: %d", ret);
		if (w->src)
			memset(l->req->src.p, 0x5a, w->src);
		l->req->user = l;
		l->run = run;
		l->id = i;
		l->queue = 1 + i % run->link->queues;
		l->seed = 88172645463325252ull + i * 7919;
	}
	return ret;
}

int run_measure(struct run *run, unsigned int ms, struct result *result)
{
	double ops;
	int ret = set_up(run);

	if (ret == 0 && !run->cold && !run->work->whole && !run->work->scan)
		ret = timed_pass(run, WARM_MS, false);
	do {
		if (ret == 0)
			ret = timed_pass(run, ms, true);
	} while (ret == 0 && run->ns < ms * 1000000ull && !run->cold);
	for (unsigned int i = 0; i < run->depth; i++)
		fe_req_free(run->lane[i].req);
	free(run->forget);
	run->forget = NULL;
	if (ret < 0)
		return run_fail(run, "error %d", ret);
	ops = run->ops ? (double)run->ops : 1;
	result->ops_s = ops * 1e9 / (double)run->ns;
	result->cpu_us = (double)run->used.cpu_ns / ops / 1e3;
	result->kicks = (double)run->used.kicks / ops;
	result->interrupts = (double)run->used.interrupts / ops;
	result->switches = (double)run->used.switches / ops;
	result->p50_us = quantile(run, 0.5);
	result->p99_us = quantile(run, 0.99);
	return 0;
}
