/* SPDX-License-Identifier: MIT */
/*
 * "vmshare stat": what shares do, by operation: counts, errors, bytes and how
 * long requests took, from the counts that the servers keep in shared memory.
 * Nothing is asked of a server and none is slowed down: this only reads.
 *
 * With --watch each line is about the last second: the sums of a second ago
 * are kept and subtracted. Latencies are in buckets of powers of two, within
 * which a percentile is interpolated.
 */
#include "launch/look/private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_MS	1000
#define WATCH_MAX	64	/* shares whose last sums are kept */

/* The sums of a share a second ago. */
struct stat_before {
	pid_t pid;
	unsigned int share;
	struct stats_slot sum;
};

struct stat_view {
	const struct config *c;
	const char *(*op_name)(unsigned int op);
	pid_t pid;		/* the target, if it is a number */
	unsigned int shown;	/* shares, in this round */
	unsigned int round;
	struct stat_before *before[WATCH_MAX];
	unsigned int nr_before;
};

/* One share at one time. */
struct stat_now {
	const struct look *l;
	const struct look_share *share;
	struct stats_slot sum;
	uint64_t gauge[STATS_GAUGES];
	unsigned int running;
	int64_t oldest;		/* ns */
};

static const char *op_word(const struct stat_view *v, unsigned int op)
{
	const char *name = v->op_name(op);

	return name ? name : "(other)";
}

/* ---- the last second ----------------------------------------------------- */

/* What was there a second ago is replaced by what is now. */
static void subtract(struct stats_slot *now, struct stats_slot *before)
{
	for (unsigned int i = 0; i < STATS_COUNTERS; i++) {
		uint64_t n = now->counter[i];

		now->counter[i] -= before->counter[i];
		before->counter[i] = n;
	}
	for (unsigned int i = 0; i < STATS_OPS; i++) {
		struct stats_op *op = &now->op[i], old = before->op[i];

		before->op[i] = *op;
		op->count -= old.count;
		op->failed -= old.failed;
		op->bytes -= old.bytes;
		for (unsigned int b = 0; b < STATS_BUCKETS; b++)
			op->bucket[b] -= old.bucket[b];
	}
}

static void last_second(struct stat_view *v, struct stat_now *n,
			unsigned int share)
{
	struct stat_before *b;

	for (unsigned int i = 0; i < v->nr_before; i++) {
		b = v->before[i];
		if (b->pid == n->l->pid && b->share == share) {
			subtract(&n->sum, &b->sum);
			return;
		}
	}
	b = v->nr_before < WATCH_MAX ? malloc(sizeof(*b)) : NULL;
	if (!b)
		return;
	*b = (struct stat_before){n->l->pid, share, n->sum};
	v->before[v->nr_before++] = b;
}

/* ---- telling ------------------------------------------------------------- */

/* "840 ns", "12.3 us", "4.56 ms", "1.20 s" */
static const char *duration(char buf[24], uint64_t ns)
{
	if (ns < 1000)
		snprintf(buf, 24, "%llu ns", (unsigned long long)ns);
	else if (ns < 1000000)
		snprintf(buf, 24, "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(buf, 24, "%.1f ms", (double)ns / 1e6);
	else
		snprintf(buf, 24, "%.2f s", (double)ns / 1e9);
	return buf;
}

static double percent(uint64_t part, uint64_t rest)
{
	return part + rest ? 100.0 * (double)part / (double)(part + rest) : 0;
}

static void put_op(const char *name, const struct stats_op *op)
{
	char bytes[32], p50[24], p90[24], p99[24];

	printf("  %-18s %10llu %8llu %10s %9s %9s %9s\n", name,
	       (unsigned long long)op->count, (unsigned long long)op->failed,
	       format_size(bytes, sizeof(bytes), op->bytes),
	       duration(p50, stats_percentile(op, 500)),
	       duration(p90, stats_percentile(op, 900)),
	       duration(p99, stats_percentile(op, 990)));
}

static void put_text(const struct stat_view *v, const struct stat_now *n)
{
	uint64_t hits = n->sum.counter[STATS_HITS];
	uint64_t misses = n->sum.counter[STATS_MISSES];
	uint64_t wakes = n->sum.counter[STATS_WAKES], requests = 0;
	char text[512], age[24];

	for (unsigned int i = 0; i < STATS_OPS; i++)
		requests += n->sum.op[i].count;
	printf("share '%s', pid %d: ",
	       log_escape(text, sizeof(text), n->share->tag,
			  strlen(n->share->tag)), (int)n->l->pid);
	printf("%s\n", log_escape(text, sizeof(text), n->share->dir,
				  strlen(n->share->dir)));
	printf("  %u running", n->running);
	if (n->running)
		printf(" (oldest %s)", duration(age, (uint64_t)n->oldest));
	printf(", %.1f requests a wake-up, %llu threads\n",
	       wakes ? (double)requests / (double)wakes : 0.0,
	       (unsigned long long)n->gauge[STATS_THREADS]);
	printf("  %llu nodes; %llu + %llu of %llu descriptors, open when "
	       "needed: %.1f %%\n",
	       (unsigned long long)n->gauge[STATS_NODES],
	       (unsigned long long)n->gauge[STATS_HELD],
	       (unsigned long long)n->gauge[STATS_CACHED],
	       (unsigned long long)n->gauge[STATS_BUDGET],
	       percent(hits, misses));
	printf("  %-18s %10s %8s %10s %9s %9s %9s\n", "OPERATION", "COUNT",
	       "FAILED", "BYTES", "P50", "P90", "P99");
	for (unsigned int i = 1; i <= STATS_OPS; i++)
		if (n->sum.op[i % STATS_OPS].count)
			put_op(op_word(v, i % STATS_OPS),
			       &n->sum.op[i % STATS_OPS]);
}

static void put_number(const char *key, uint64_t value)
{
	printf(",\"%s\":%llu", key, (unsigned long long)value);
}

static void put_json(const struct stat_view *v, const struct stat_now *n)
{
	bool first = true;

	printf("%s{\"pid\":%d,", v->shown ? "," : "", (int)n->l->pid);
	json_put("tag", n->share->tag);
	putchar(',');
	json_put("dir", n->share->dir);
	put_number("running", n->running);
	put_number("oldest_ns", (uint64_t)n->oldest);
	put_number("wakes", n->sum.counter[STATS_WAKES]);
	put_number("threads", n->gauge[STATS_THREADS]);
	put_number("nodes", n->gauge[STATS_NODES]);
	put_number("descriptors_held", n->gauge[STATS_HELD]);
	put_number("descriptors_cached", n->gauge[STATS_CACHED]);
	put_number("descriptors_budget", n->gauge[STATS_BUDGET]);
	put_number("cache_hits", n->sum.counter[STATS_HITS]);
	put_number("cache_misses", n->sum.counter[STATS_MISSES]);
	printf(",\"operations\":[");
	for (unsigned int i = 0; i < STATS_OPS; i++) {
		const struct stats_op *op = &n->sum.op[i];

		if (!op->count)
			continue;
		printf("%s{", first ? "" : ",");
		first = false;
		json_put("name", op_word(v, i));
		put_number("count", op->count);
		put_number("failed", op->failed);
		put_number("bytes", op->bytes);
		put_number("p50_ns", stats_percentile(op, 500));
		put_number("p90_ns", stats_percentile(op, 900));
		put_number("p99_ns", stats_percentile(op, 990));
		putchar('}');
	}
	printf("]}");
}

/* ---- finding ------------------------------------------------------------- */

static bool wanted(const struct stat_view *v, const struct look_share *s)
{
	return s->stats >= 0 &&
	       (!v->c->target || v->pid || strcmp(v->c->target, s->tag) == 0);
}

static int show_share(struct stat_view *v, const struct look *l,
		      unsigned int share, struct stat_now *n)
{
	const struct stats *stats;
	int err = stats_attach(l->shares[share].stats, &stats);

	if (err)
		return err;
	n->l = l;
	n->share = &l->shares[share];
	stats_sum(stats, &n->sum, &n->running);
	for (unsigned int i = 0; i < STATS_GAUGES; i++)
		n->gauge[i] = __atomic_load_n(&stats->gauge[i],
					      __ATOMIC_RELAXED);
	stats_close(stats);
	n->oldest = n->running ? (int64_t)((uint64_t)clock_ns() -
					   (uint64_t)n->sum.began) : 0;
	if (v->c->watch)
		last_second(v, n, share);
	if (v->c->json) {
		put_json(v, n);
	} else {
		if (v->shown)
			putchar('\n');
		put_text(v, n);
	}
	v->shown++;
	return 0;
}

static int show(void *ctx, const struct look *l)
{
	struct stat_now *n = malloc(sizeof(*n));
	struct stat_view *v = ctx;
	int err = n ? 0 : -ENOMEM;

	for (unsigned int i = 0; !err && i < l->nr_shares; i++) {
		if (!wanted(v, &l->shares[i]))
			continue;
		err = show_share(v, l, i, n);
		if (err == -EPROTO) {
			log_warning("pid %d is another version of vmshare",
				    (int)l->pid);
			err = 0;
		}
	}
	free(n);
	return err;
}

static int stat_round(struct stat_view *v)
{
	const char *term = getenv("TERM");
	bool screen = v->c->watch && !v->c->json && isatty(STDOUT_FILENO) &&
		term && strcmp(term, "dumb") != 0;
	int err;

	v->shown = 0;
	if (screen)
		fputs("\033[H\033[J", stdout);
	if (v->c->json)
		putchar('[');
	err = look_each(v->pid, show, v);
	if (v->c->json)
		puts("]");
	else if (v->c->watch && !screen)
		putchar('\n');
	v->round++;
	return err;
}

static int nothing(const struct stat_view *v, int err)
{
	const char *target = v->c->target;

	if (err && err != -ENOENT)
		log_error("stat %s: %s", target ? target : "", strerror(-err));
	else if (v->pid)
		log_error("stat: pid %d is no vmshare with a share",
			  (int)v->pid);
	else if (target)
		log_error("stat: no share '%s' is running", target);
	else
		log_error("stat: no share is running");
	log_hint("'vmshare ps' lists what runs");
	return EXIT_REFUSED;
}

int stat_run(const struct config *c, const char *(*op_name)(unsigned int op))
{
	struct stat_view v = {.c = c, .op_name = op_name};
	uint64_t pid = 0;
	int err, status;

	if (c->target && parse_u64(c->target, 1, INT_MAX, &pid) == 0)
		v.pid = (pid_t)pid;
	do {
		if (v.round)
			poll(NULL, 0, WATCH_MS);
		err = stat_round(&v);
	} while (c->watch && !err && v.shown && !fflush(stdout));
	/* A watch ends with what it watched. */
	status = v.shown || (v.round > 1 && (!err || err == -ENOENT)) ? 0 :
		 nothing(&v, err);
	for (unsigned int i = 0; i < v.nr_before; i++)
		free(v.before[i]);
	return status;
}
