/* SPDX-License-Identifier: MIT */
/*
 * Lines while it runs, and tables of it all: what was measured, which goals
 * were reached in how many of the runs, and for the others what bounds them.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

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
		const struct result *m = &row->run[r->run][c];

		if (m->ops_s <= 0) {
			printf(" %15s", "-");
			continue;
		}
		printf(" %7s", number(text, sizeof(text), m->cpu_us));
		printf("/%-7s", number(text, sizeof(text), m->ops_s / 1e3));
	}
	printf("\n");
	fflush(stdout);
}

/* " 0.93 (≤ 0.70) ✗ |"; where the runs do not agree, with their range. */
static void write_ratio(FILE *f, const struct report *r, const struct row *row,
			enum measure what)
{
	struct verdict v;

	if (!judge(r, row, what, &v)) {
		fprintf(f, " – |");
		return;
	}
	fprintf(f, " %.2f", v.ratio);
	if (v.goal == 0) {
		fprintf(f, " |");
		return;
	}
	if (v.reached && v.reached < v.runs)
		fprintf(f, " [%.2f–%.2f]", v.low, v.high);
	fprintf(f, " (%s %.2f) %s |", what == CPU ? "≤" : "≥", v.goal,
		!v.reached ? "✗" : v.reached == v.runs ? "✓" : "≈");
}

static void write_row(FILE *f, const struct report *r, const struct row *row)
{
	char title[64], text[16];

	row_title(row, title, sizeof(title));
	fprintf(f, "| %s | %u |", title, row->depth);
	for (unsigned int c = 0; c < r->nr_contenders; c++)
		fprintf(f, " %s |", row->median[c].ops_s > 0 ?
			number(text, sizeof(text), row->median[c].cpu_us) :
			"–");
	write_ratio(f, r, row, CPU);
	for (unsigned int c = 0; c < r->nr_servers; c++)
		fprintf(f, " %s |", row->median[c].ops_s > 0 ?
			number(text, sizeof(text),
			       row->median[c].ops_s / 1e3) : "–");
	write_ratio(f, r, row, OPS);
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

		if (m->ops_s > 0)
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
		fprintf(f, "| %s | %.2f |", r->name[c],
			series_median(&r->listen_us[c]) / 1e3);
		for (enum placement p = ONE_CPU; p < PLACEMENTS; p++) {
			double us = series_median(&r->handshake_us[p][c]);

			if (us > 0)
				fprintf(f, " %.2f |", us / 1e3);
			else
				fprintf(f, " – |");
		}
		fprintf(f, " %.0f |\n", series_median(&r->pss_kib[c]));
	}
	fprintf(f, "\nWith one queue; medians. The handshake is 19 messages "
		   "and FUSE_INIT, each of which wakes the server and then the "
		   "front end, without what the front end itself works "
		   "meanwhile, which is to make the guest's memory.\n");
}

/* What a floor has; 0 where none was measured. */
static double floor_of(const struct report *r, const struct row *row,
		       enum floor_kind kind, enum measure what)
{
	unsigned int c = r->nr_servers + kind;

	return c < r->nr_contenders ? value_of(&row->median[c], what) : 0;
}

/*
 * What an operation costs whatever the server's code is: its system calls, and
 * that the server was switched to for it, with a kick or a call each time.
 */
static double bound_cpu(const struct report *r, const struct row *row)
{
	double calls = row->calls_us;

	if (calls <= 0)
		calls = floor_of(r, row, FLOOR_BARE, CPU);
	return calls > 0 ? calls + row->median[0].switches *
				   r->wake_us[row->placement][1] : 0;
}

static void write_share(FILE *f, double value, double of)
{
	if (value > 0)
		fprintf(f, " %.2f |", value / of);
	else
		fprintf(f, " – |");
}

/* The rows that @reached their goal in no run (0) or in some (1). */
static void write_missed(FILE *f, const struct report *r, enum measure what,
			 bool reached)
{
	char title[64];

	fprintf(f, "\n| %s: %s | ratio | goal | floor's |%s\n"
		   "|---|---|---|---|%s\n",
		what == CPU ? "server CPU" : "throughput",
		reached ? "at the goal" : "missed",
		what == CPU ? " bound |" : "", what == CPU ? "---|" : "");
	for (unsigned int i = 0; i < r->nr_rows; i++) {
		const struct row *row = &r->row[i];
		struct verdict v;
		double peer;

		if (!judge(r, row, what, &v) || v.goal == 0 ||
		    v.reached == v.runs || reached != (v.reached > 0))
			continue;
		peer = value_of(&row->median[v.peer], what);
		row_title(row, title, sizeof(title));
		fprintf(f, "| %s ×%u (%s, %s) | %.2f [%.2f–%.2f] | %.2f |",
			title, row->depth, row->fs,
			placement_name(row->placement), v.ratio, v.low, v.high,
			v.goal);
		write_share(f, floor_of(r, row, FLOOR_BATCH, what), peer);
		if (what == CPU)
			write_share(f, bound_cpu(r, row), peer);
		fprintf(f, "\n");
	}
}

/* How many there are, how they ended, and what bounds those missed. */
static void write_count(FILE *f, const struct report *r, enum measure what)
{
	unsigned int all = 0, missed = 0, near = 0, bound = 0;

	for (unsigned int i = 0; i < r->nr_rows; i++) {
		const struct row *row = &r->row[i];
		struct verdict v;
		double peer, floor;

		if (!judge(r, row, what, &v) || v.goal == 0)
			continue;
		all++;
		near += v.reached && v.reached < v.runs;
		if (v.reached)
			continue;
		missed++;
		peer = value_of(&row->median[v.peer], what);
		floor = floor_of(r, row, FLOOR_BATCH, what);
		if (what == CPU)
			bound += floor > v.goal * peer ||
				 bound_cpu(r, row) > v.goal * peer;
		else
			bound += floor > 0 && floor < v.goal * peer;
	}
	fprintf(f, "%s: of %u rows with a goal, %u reached it in each of %u "
		   "runs, %u in some, %u in none; in %u of these the floor%s "
		   "misses it as well.\n\n",
		what == CPU ? "Server CPU" : "Throughput", all,
		all - missed - near, r->runs, near, missed, bound,
		what == CPU ? " or the bound" : "");
}

/* By how much a ratio differs between the runs, as a part of it. */
static double spread(const struct report *r, enum placement p,
		     enum measure what)
{
	struct series s = { .n = 0 };

	for (unsigned int i = 0; i < r->nr_rows; i++) {
		struct verdict v;

		if (r->row[i].placement == p && judge(r, &r->row[i], what, &v))
			series_add(&s, (v.high - v.low) / v.ratio);
	}
	return series_median(&s);
}

/* By perf and strace, on an AMD EPYC. */
static const char bounds_text[] =
"\nWhat bounds those of which neither column says it:\n\n"
"- Streams: the kernel has 94 to 97 % of the server's CPU, and the copy is "
"more than half of all.\n"
"- readdirplus: the kernel has 87 %, 59 % for a statx() of each entry, as in "
"\"bare\".\n"
"- create+unlink: the kernel has 88 %. A quarter of the bound is openat2, "
"statx and close for the descriptor that an unlinked file keeps, since a "
"guest may still use it without having it open.\n"
"- 4 KiB at depth: the kernel has nine tenths. On ext4, and with fsync, it is "
"the file system and the disk, whose time differs by more than the "
"servers'.\n"
"- tree walk ×1: names, nodes and FORGETs, 0.8 µs a file; no function has "
"a tenth of that.\n"
"- 7 writes+fsync ×1: an fsync on a disk hands the queue over to another "
"thread, three more switches, so that nothing waits behind it; that is what "
"×8 gains from.\n"
"- Two CPUs: a peer whose driver has a CPU of its own is hardly ever asleep "
"at depth 16, and so costs less than half of what it does on one; the goals "
"are near the bare calls, or below. At depth 1 it is not to sleep that costs: "
"up to 100 µs of looking at the rings after each answer, for 1.5 to 6 times "
"the throughput.\n";

static void write_bounds(FILE *f, const struct report *r)
{
	fprintf(f, "\n## Goals\n\n");
	write_count(f, r, CPU);
	write_count(f, r, OPS);
	if (r->runs > 1)
		fprintf(f, "Between the runs a CPU ratio differs by %.0f %% on "
			   "one CPU and %.0f %% on two, a throughput ratio by "
			   "%.0f and %.0f %% (medians of the rows).\n\n",
			100 * spread(r, ONE_CPU, CPU),
			100 * spread(r, TWO_CPUS, CPU),
			100 * spread(r, ONE_CPU, OPS),
			100 * spread(r, TWO_CPUS, OPS));
	fprintf(f, "\"floor's\" is the ratio that \"batch\" has to the "
		   "same peer. \"bound\" is that of the system calls alone, "
		   "with a waking for each switch to the server: to be woken "
		   "by an eventfd and to answer through one costs a process, "
		   "without any work, %.1f µs of CPU on one CPU and %.1f "
		   "where it has one of its own that idles meanwhile (a "
		   "thread, as in the floors, %.1f and %.1f). It is put "
		   "together from what was measured apart, and so an "
		   "estimate.\n",
		r->wake_us[ONE_CPU][1], r->wake_us[TWO_CPUS][1],
		r->wake_us[ONE_CPU][0], r->wake_us[TWO_CPUS][0]);
	for (int reached = 0; reached < 2; reached++) {
		write_missed(f, r, CPU, reached);
		write_missed(f, r, OPS, reached);
	}
	fputs(bounds_text, f);
}

int report_write(const struct report *r, const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -errno;
	fprintf(f, "# Benchmark results\n\nWritten by `make bench`; see "
		   "tests/bench. ");
	write_machine(f, r);
	fprintf(f, "Medians of %u runs of %u rounds of %u ms, contenders in "
		   "turn.\n\n"
		   "\"bare\", \"ideal\" and \"batch\" are floors: the bare "
		   "system calls, and the same behind two threads and two "
		   "eventfds with a call for each completion or for each "
		   "drained queue. Ratios are %s's to the best peer's.\n\n"
		   "![server CPU](../chart.svg)\n\n"
		   "## Server CPU, µs an operation; throughput\n",
		r->runs, r->rounds, r->ms, r->name[0]);
	write_tables(f, r, false);
	fprintf(f, "\n## Latency and notifications\n");
	write_tables(f, r, true);
	write_starts(f, r);
	write_bounds(f, r);
	if (fclose(f) != 0)
		return -errno;
	return 0;
}
