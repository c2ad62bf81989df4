/* SPDX-License-Identifier: MIT */
/*
 * Medians, goals and tables. A goal is a ratio to the best peer of the same
 * run and row, never a number of microseconds: those belong to one machine.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of one field (by its offset in struct result). */
static double median(const struct result *sample, unsigned int n,
		     size_t field)
{
	double value[MAX_ROUNDS];

	for (unsigned int i = 0; i < n; i++)
		memcpy(&value[i], (const char *)&sample[i] + field,
		       sizeof(double));
	qsort(value, n, sizeof(value[0]), compare);
	return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

void report_medians(struct row *row, unsigned int contenders)
{
	for (unsigned int c = 0; c < contenders; c++) {
		unsigned int n = row->samples[c];

		memset(&row->median[c], 0, sizeof(row->median[c]));
		for (size_t f = 0; n && f < sizeof(struct result);
		     f += sizeof(double)) {
			double m = median(row->sample[c], n, f);

			memcpy((char *)&row->median[c] + f, &m, sizeof(m));
		}
	}
}

/* ---- goals -------------------------------------------------------------- */

static bool named(const struct row *row, const char *prefix)
{
	return strncmp(row->work->name, prefix, strlen(prefix)) == 0;
}

double goal_cpu(const struct row *row)
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

double goal_ops(const struct row *row)
{
	if (row->depth == 16 && !row->work->unit && !row->cold)
		return row->placement == ONE_CPU ? 2.0 : 1.2;
	if (row->depth == 16 && row->work->unit == 4096 && !row->cold)
		return row->placement == ONE_CPU ? 2.0 : 1.2;
	return 1.0;
}

int best_peer_cpu(const struct report *r, const struct row *row)
{
	int best = -1;

	for (unsigned int c = 1; c < r->nr_servers; c++)
		if (row->samples[c] &&
		    (best < 0 ||
		     row->median[c].cpu_us < row->median[best].cpu_us))
			best = (int)c;
	return best;
}

int best_peer_ops(const struct report *r, const struct row *row)
{
	int best = -1;

	for (unsigned int c = 1; c < r->nr_servers; c++)
		if (row->samples[c] &&
		    (best < 0 ||
		     row->median[c].ops_s > row->median[best].ops_s))
			best = (int)c;
	return best;
}

/* ---- lines -------------------------------------------------------------- */

static const char *placement_name(enum placement p)
{
	return p == ONE_CPU ? "one CPU" : "two CPUs";
}

static const char *number(char *buf, size_t size, double v)
{
	snprintf(buf, size, v < 10 ? "%.2f" : v < 100 ? "%.1f" : "%.0f", v);
	return buf;
}

static void row_title(const struct row *row, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", row->work->name,
		 row->cold ? ", cold" : "",
		 row->queues == 2 ? ", 2 queues" :
		 row->queues == 4 ? ", 4 queues" : "");
}

void report_print(const struct report *r, const struct row *row)
{
	char title[64], text[16];

	row_title(row, title, sizeof(title));
	printf("%-6s %-8s %-24s %3u ", row->fs,
	       placement_name(row->placement), title, row->depth);
	for (unsigned int c = 0; c < r->nr_contenders; c++) {
		const struct result *m = &row->median[c];

		if (!row->samples[c]) {
			printf(" %15s", "-");
			continue;
		}
		printf(" %7s", number(text, sizeof(text), m->cpu_us));
		printf("/%-7s", number(text, sizeof(text), m->ops_s / 1e3));
	}
	printf("\n");
	fflush(stdout);
}

static const char *verdict(double ratio, double goal, bool below)
{
	if (goal == 0)
		return "";
	return (below ? ratio <= goal : ratio >= goal) ? " ✓" : " ✗";
}

static void write_ratio(FILE *f, double own, double peer, double goal,
			bool below)
{
	double ratio = peer > 0 ? own / peer : 0;

	if (peer <= 0)
		fprintf(f, " – |");
	else if (goal == 0)
		fprintf(f, " %.2f |", ratio);
	else
		fprintf(f, " %.2f (%s %.2f)%s |", ratio, below ? "≤" : "≥",
			goal, verdict(ratio, goal, below));
}

static void write_row(FILE *f, const struct report *r, const struct row *row)
{
	int cpu = best_peer_cpu(r, row), ops = best_peer_ops(r, row);
	char title[64], text[16];

	row_title(row, title, sizeof(title));
	fprintf(f, "| %s | %u |", title, row->depth);
	for (unsigned int c = 0; c < r->nr_contenders; c++)
		fprintf(f, " %s |", row->samples[c] ?
			number(text, sizeof(text), row->median[c].cpu_us) :
			"–");
	write_ratio(f, row->median[0].cpu_us,
		    cpu < 0 || !row->samples[0] ? 0 : row->median[cpu].cpu_us,
		    goal_cpu(row), true);
	for (unsigned int c = 0; c < r->nr_servers; c++)
		fprintf(f, " %s |", row->samples[c] ?
			number(text, sizeof(text),
			       row->median[c].ops_s / 1e3) : "–");
	write_ratio(f, row->median[0].ops_s,
		    ops < 0 || !row->samples[0] ? 0 : row->median[ops].ops_s,
		    goal_ops(row), false);
	fprintf(f, "\n");
}

static void write_detail(FILE *f, const struct report *r,
			 const struct row *row)
{
	char title[64];

	row_title(row, title, sizeof(title));
	fprintf(f, "| %s | %u |", title, row->depth);
	for (unsigned int c = 0; c < r->nr_servers; c++) {
		const struct result *m = &row->median[c];

		if (row->samples[c])
			fprintf(f, " %.1f / %.1f | %.2f / %.2f / %.2f |",
				m->p50_us, m->p99_us, m->kicks, m->interrupts,
				m->switches);
		else
			fprintf(f, " – | – |");
	}
	fprintf(f, "\n");
}

static void write_head(FILE *f, const struct report *r, bool detail)
{
	unsigned int columns = 2;

	fprintf(f, "\n| workload | depth |");
	if (detail) {
		for (unsigned int c = 0; c < r->nr_servers; c++)
			fprintf(f, " %s p50 / p99 µs | kicks / calls / "
				   "switches an op |", r->name[c]);
		columns += 2 * r->nr_servers;
	} else {
		for (unsigned int c = 0; c < r->nr_contenders; c++)
			fprintf(f, " %s |", r->name[c]);
		fprintf(f, " CPU ratio (goal) |");
		for (unsigned int c = 0; c < r->nr_servers; c++)
			fprintf(f, " %s kop/s |", r->name[c]);
		fprintf(f, " throughput ratio (goal) |");
		columns += r->nr_contenders + r->nr_servers + 2;
	}
	fprintf(f, "\n");
	for (unsigned int i = 0; i < columns; i++)
		fprintf(f, "|---");
	fprintf(f, "|\n");
}

/* Sections of rows that share file system and placement. */
static void write_tables(FILE *f, const struct report *r, bool detail)
{
	const struct row *last = NULL;

	for (unsigned int i = 0; i < r->nr_rows; i++) {
		const struct row *row = &r->row[i];

		if (!last || strcmp(last->fs, row->fs) != 0 ||
		    last->placement != row->placement) {
			fprintf(f, "\n### %s, %s\n", row->fs,
				placement_name(row->placement));
			write_head(f, r, detail);
		}
		if (detail)
			write_detail(f, r, row);
		else
			write_row(f, r, row);
		last = row;
	}
}

static void write_machine(FILE *f, const struct report *r)
{
	char line[256], *p, cpu[128] = "unknown";
	FILE *info = fopen("/proc/cpuinfo", "re");
	time_t now = time(NULL);
	struct utsname u;

	while (info && fgets(line, sizeof(line), info)) {
		if (strncmp(line, "model name", 10) != 0)
			continue;
		p = strchr(line, ':');
		snprintf(cpu, sizeof(cpu), "%.120s", p ? p + 2 : "");
		cpu[strcspn(cpu, "\n")] = '\0';
		break;
	}
	if (info)
		fclose(info);
	uname(&u);
	strftime(line, sizeof(line), "%Y-%m-%d", gmtime(&now));
	fprintf(f, "Machine: %s, %ld CPUs, %.1f GiB, Linux %s, %s; load "
		   "average before: %.2f.\n", cpu,
		sysconf(_SC_NPROCESSORS_ONLN),
		(double)sysconf(_SC_PHYS_PAGES) *
			(double)sysconf(_SC_PAGESIZE) / (1 << 30),
		u.release, line, r->load);
}

static void write_starts(FILE *f, const struct report *r)
{
	fprintf(f, "\n## Start\n\n| | start to listening, ms | connect to "
		   "FUSE_INIT answered, ms: one CPU | two CPUs | idle, KiB "
		   "(PSS) |\n|---|---|---|---|---|\n");
	for (unsigned int c = 0; c < r->nr_servers; c++) {
		fprintf(f, "| %s | %.2f |", r->name[c], r->listen_us[c] / 1e3);
		for (enum placement p = ONE_CPU; p < PLACEMENTS; p++) {
			double us = r->handshake_us[p][c];

			if (us > 0)
				fprintf(f, " %.2f |", us / 1e3);
			else
				fprintf(f, " – |");
		}
		fprintf(f, " %.0f |\n", r->pss_kib[c]);
	}
	fprintf(f, "\nWithout what the front end itself works meanwhile, "
		   "which is to make the guest's memory.\n");
}

static bool missed(const struct report *r, const struct row *row, bool cpu)
{
	int peer = cpu ? best_peer_cpu(r, row) : best_peer_ops(r, row);
	const struct result *own = &row->median[0];

	if (peer < 0 || !row->samples[0])
		return false;
	if (!cpu)
		return own->ops_s < goal_ops(row) * row->median[peer].ops_s;
	return goal_cpu(row) > 0 &&
	       own->cpu_us > goal_cpu(row) * row->median[peer].cpu_us;
}

/* How far off, and what the floor with one call a batch would have had. */
static void write_missed(FILE *f, const struct report *r, bool cpu)
{
	unsigned int batch = r->nr_servers + FLOOR_BATCH;
	char title[64];

	fprintf(f, "\n| %s | ratio | goal | floor's |\n|---|---|---|---|\n",
		cpu ? "server CPU" : "throughput");
	for (unsigned int i = 0; i < r->nr_rows; i++) {
		const struct row *row = &r->row[i];
		const struct result *m = row->median, *peer;

		if (!missed(r, row, cpu))
			continue;
		peer = &m[cpu ? best_peer_cpu(r, row) : best_peer_ops(r, row)];
		row_title(row, title, sizeof(title));
		fprintf(f, "| %s ×%u (%s, %s) | %.2f | %.2f |", title,
			row->depth, row->fs, placement_name(row->placement),
			cpu ? m[0].cpu_us / peer->cpu_us :
			      m[0].ops_s / peer->ops_s,
			cpu ? goal_cpu(row) : goal_ops(row));
		if (batch < r->nr_contenders && row->samples[batch])
			fprintf(f, " %.2f |\n",
				cpu ? m[batch].cpu_us / peer->cpu_us :
				      m[batch].ops_s / peer->ops_s);
		else
			fprintf(f, " – |\n");
	}
}

static void write_bounds(FILE *f, const struct report *r)
{
	unsigned int rows[2] = { 0, 0 };

	for (unsigned int i = 0; i < r->nr_rows; i++)
		for (int cpu = 0; cpu < 2; cpu++)
			rows[cpu] += missed(r, &r->row[i], cpu);
	fprintf(f, "\n## Goals that were not reached\n\n"
		   "Server CPU %u, throughput %u of %u rows; \"floor's\" is "
		   "the ratio that \"batch\" has to the same peer.\n",
		rows[1], rows[0], r->nr_rows);
	write_missed(f, r, true);
	write_missed(f, r, false);
	fprintf(f, "\nWhat bounds them. Depth 1: to be woken by an eventfd and "
		   "to answer through one costs a process %.1f µs of CPU, "
		   "without any work, and a thread, as in the floors, %.1f; "
		   "every server is a process. Large reads and writes: the "
		   "copy, which is all that \"bare\" does. 4 KiB at depth: "
		   "nine tenths of the CPU are the kernel's. getattr x64: "
		   "0.15 µs are our own code's, spread thin: no function has "
		   "a tenth of that but the one that loads descriptors (both "
		   "by perf). create+unlink: its system calls alone are "
		   "%.1f µs on %s, with openat2, statx and close for the "
		   "descriptor that an unlinked file keeps, since a guest may "
		   "still use it without having it open. readdirplus: a "
		   "statx() of each entry, as in \"bare\". Two CPUs: waking "
		   "one that idles, or not to sleep, which is CPU as well.\n",
		r->wake_us[1], r->wake_us[0], r->create_us,
		r->create_fs ? r->create_fs : "no file system");
}

int report_write(const struct report *r, const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -errno;
	fprintf(f, "# Benchmark results\n\nWritten by `make bench`; see "
		   "tests/bench. ");
	write_machine(f, r);
	fprintf(f, "Medians of %u rounds of %u ms, contenders in turn.\n\n"
		   "\"bare\", \"ideal\" and \"batch\" are floors: the bare "
		   "system calls, and the same behind two threads and two "
		   "eventfds with a call for each completion or for each "
		   "drained queue. Ratios are %s's to the best peer's.\n\n"
		   "![server CPU](chart.svg)\n\n"
		   "## Server CPU, µs an operation; throughput\n",
		r->rounds, r->ms, r->name[0]);
	write_tables(f, r, false);
	fprintf(f, "\n## Latency and notifications\n");
	write_tables(f, r, true);
	write_starts(f, r);
	write_bounds(f, r);
	if (fclose(f) != 0)
		return -errno;
	return 0;
}
