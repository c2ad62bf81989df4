/* SPDX-License-Identifier: MIT */
/*
 * Medians, goals, and what of them was reached. A goal is a ratio to the best
 * peer of the same run and row, never a number of microseconds: those belong
 * to one machine, and to its mood. Each run is judged by itself; where they
 * do not agree, a row is at its goal as far as this machine can tell.
 */

#include "tests/bench/bench.h"

#include <stdlib.h>
#include <string.h>

/* ---- medians ------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *value, unsigned int n)
{
	if (!n)
		return 0;
	qsort(value, n, sizeof(value[0]), compare);
	return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

void series_add(struct series *s, double value)
{
	if (value > 0 && s->n < ARRAY_LEN(s->value))
		s->value[s->n++] = value;
}

double series_median(const struct series *s)
{
	struct series sorted = *s;

	return median(sorted.value, sorted.n);
}

/* Field by field: struct result is made of doubles. */
static void median_result(struct result *m, const struct result *const *of,
			  unsigned int n)
{
	double value[MAX_ROUNDS];

	_Static_assert(MAX_RUNS <= MAX_ROUNDS, "room for either");
	for (size_t f = 0; f < sizeof(*m); f += sizeof(double)) {
		for (unsigned int i = 0; i < n; i++)
			memcpy(&value[i], (const char *)of[i] + f,
			       sizeof(double));
		value[0] = median(value, n);
		memcpy((char *)m + f, &value[0], sizeof(double));
	}
}

void row_settle(struct row *row, unsigned int run, unsigned int contenders)
{
	const struct result *of[MAX_ROUNDS];

	for (unsigned int c = 0; c < contenders; c++) {
		unsigned int n = 0;

		for (; n < row->samples[c]; n++)
			of[n] = &row->sample[c][n];
		if (n)
			median_result(&row->run[run][c], of, n);
		row->samples[c] = n = 0;
		for (unsigned int i = 0; i <= run; i++)
			if (row->run[i][c].ops_s > 0)
				of[n++] = &row->run[i][c];
		if (n)
			median_result(&row->median[c], of, n);
	}
}

/* ---- goals -------------------------------------------------------------- */

static bool named(const struct row *row, const char *prefix)
{
	return strncmp(row->work->name, prefix, strlen(prefix)) == 0;
}

static double goal_cpu(const struct row *row)
{
	if (row->cold || row->queues > 1 || named(row, "7 writes"))
		return 0;
	if (named(row, "readdirplus"))
		return 0.6;
	if (row->work->unit == 128 << 10)
		return 0.85;
	if (row->work->unit == 1 << 20)
		return 0.92;
	if (row->depth == 1)
		return row->work->scan ? 1.0 : 0.7;
	if (row->depth < 8)
		return 0;
	return named(row, "getattr") ? 0.35 : 0.5;
}

static double goal_ops(const struct row *row)
{
	bool small = !row->work->unit || row->work->unit == 4096;

	if (row->depth == 16 && small && !row->cold)
		return row->placement == ONE_CPU ? 2.0 : 1.2;
	return 1.0;
}

/* ---- verdicts ----------------------------------------------------------- */

double value_of(const struct result *m, enum measure what)
{
	return what == CPU ? m->cpu_us : m->ops_s;
}

/* Index of the peer (not contender 0) that is best at it; -1 if none. */
static int best_peer(const struct result *of, unsigned int servers,
		     enum measure what)
{
	int best = -1;

	for (unsigned int c = 1; c < servers; c++) {
		if (of[c].ops_s <= 0)
			continue;
		if (best < 0 || (what == CPU ? of[c].cpu_us < of[best].cpu_us :
					       of[c].ops_s > of[best].ops_s))
			best = (int)c;
	}
	return best;
}

bool judge(const struct report *r, const struct row *row, enum measure what,
	   struct verdict *v)
{
	double ratio[MAX_RUNS];

	memset(v, 0, sizeof(*v));
	v->goal = what == CPU ? goal_cpu(row) : goal_ops(row);
	v->peer = best_peer(row->median, r->nr_servers, what);
	for (unsigned int i = 0; i < r->runs; i++) {
		const struct result *of = row->run[i];
		int peer = best_peer(of, r->nr_servers, what);
		double x;

		if (peer < 0 || of[0].ops_s <= 0)
			continue;
		x = value_of(&of[0], what) / value_of(&of[peer], what);
		ratio[v->runs++] = x;
		v->reached += what == CPU ? x <= v->goal : x >= v->goal;
	}
	if (!v->runs)
		return false;
	v->ratio = median(ratio, v->runs);	/* and sorts them */
	v->low = ratio[0];
	v->high = ratio[v->runs - 1];
	return true;
}
