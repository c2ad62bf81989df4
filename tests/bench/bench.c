/* SPDX-License-Identifier: MIT */
/*
 * The plan: for each directory and placement, servers and floors are started
 * once, and then each row is measured in rounds, contenders in turn (ABAB),
 * so that a disturbance of the machine hits all of them. All of that again is
 * another run. The first server named is the one whose ratios to the others
 * are reported.
 *
 * One CPU: server and front end are pinned to the same. Two: to one each.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAX_DIRS 4
#define WATCHDOG_S 60

struct plan {
	const char *work;
	unsigned int depth[4];
	bool quick;		/* depth[0] and depth[1] are in the quick run */
	bool queues;		/* also with 2 and 4 queues, deepest */
	bool cold;		/* also with cold caches, deepest */
	unsigned int disk;	/* this much longer where it waits for one */
};

static const struct plan plan[] = {
	{ .work = "getattr", .depth = { 1, 16, 4, 64 }, .quick = true,
	  .queues = true },
	{ .work = "lookup known", .depth = { 1, 16 }, .quick = true },
	{ .work = "lookup new", .depth = { 1, 16 }, .quick = true },
	{ .work = "lookup missing", .depth = { 1, 16 } },
	{ .work = "open+release", .depth = { 1, 16 }, .quick = true },
	{ .work = "getattr of 10,000", .depth = { 16 } },
	{ .work = "open+release of 10,000", .depth = { 16 } },
	{ .work = "create+unlink", .depth = { 1, 8 }, .quick = true },
	{ .work = "read 4 KiB", .depth = { 1, 16, 4, 64 }, .quick = true,
	  .queues = true },
	{ .work = "write 4 KiB", .depth = { 1, 16, 4, 64 }, .quick = true,
	  .disk = 3 },
	{ .work = "read 128 KiB", .depth = { 8, 0, 1 }, .quick = true,
	  .cold = true },
	{ .work = "write 128 KiB", .depth = { 8, 0, 1 } },
	{ .work = "read 1 MiB", .depth = { 4 }, .quick = true },
	{ .work = "write 1 MiB", .depth = { 4 } },
	{ .work = "7 writes+fsync", .depth = { 1, 8 }, .disk = 6 },
	{ .work = "readdir", .depth = { 1 } },
	{ .work = "readdirplus", .depth = { 1 }, .quick = true },
	{ .work = "tree walk", .depth = { 16, 0, 1 }, .quick = true,
	  .cold = true },
};

struct options {
	const char *dir[MAX_DIRS];
	unsigned int nr_dirs;
	const char *only;	/* workloads whose name contains it */
	const char *table, *chart;
	unsigned int runs, rounds, ms;
	unsigned int placements;	/* bit mask */
	bool quick, floors, queues;
};

/* The contenders of one directory, placement and number of queues. */
struct field {
	const struct options *o;
	struct report *report;
	const struct tree *tree;
	const char *fs;
	enum placement placement;
	unsigned int queues;
	unsigned long server_cpus;
	struct server_link server[MAX_CONTENDERS];
	bool up[MAX_CONTENDERS];
	struct link *floor[FLOOR_COUNT];
};

static volatile sig_atomic_t interrupted;
static bool failed;

static void on_signal(int sig)
{
	if (sig != SIGALRM)
		interrupted = 1;
}

/* The first two CPUs that we may use. */
static void choose_cpus(unsigned int cpu[2])
{
	static cpu_set_t all;
	static bool asked;
	unsigned int n = 0;

	if (!asked)
		sched_getaffinity(0, sizeof(all), &all);
	asked = true;
	for (unsigned int i = 0; i < 64 && n < 2; i++)
		if (CPU_ISSET(i, &all))
			cpu[n++] = i;
	if (n == 1)
		cpu[1] = cpu[0];
}

static void pin_self(unsigned int cpu)
{
	cpu_set_t set;

	cpu_set_of(1ul << cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static const char *fs_name(const char *dir)
{
	struct statfs st;

	if (statfs(dir, &st) < 0)
		return "unknown";
	switch ((unsigned long)st.f_type) {
	case 0x01021994:
		return "tmpfs";
	case 0xef53:
		return "ext4";
	case 0x58465342:
		return "xfs";
	case 0x9123683e:
		return "btrfs";
	case 0x794c7630:
		return "overlay";
	default:
		return "other";
	}
}

static void open_server(struct field *f, unsigned int c)
{
	struct report *r = f->report;
	int ret;

	ret = server_open(&f->server[c], r->name[c], f->tree->path,
			  f->server_cpus, f->queues);
	f->up[c] = ret == 0;
	if (ret < 0) {
		server_close(&f->server[c]);
		if (ret == -ENOTSUP && f->queues > 1)
			return;
		fprintf(stderr, "bench: %s does not start: %s\n", r->name[c],
			strerror(-ret));
		failed = true;
		return;
	}
	if (f->queues > 1)
		return;		/* not all have that */
	series_add(&r->pss_kib[c], f->server[c].pss_kib);
	series_add(&r->handshake_us[f->placement][c],
		   f->server[c].handshake_us);
}

static void field_open(struct field *f)
{
	unsigned int cpu[2];

	choose_cpus(cpu);
	pin_self(cpu[0]);
	f->server_cpus = 1ul << cpu[f->placement == TWO_CPUS];
	for (unsigned int c = 0; c < f->report->nr_servers; c++)
		open_server(f, c);
	for (unsigned int k = 0; f->o->floors && k < FLOOR_COUNT; k++)
		if (floor_open(&f->floor[k], k, f->tree, f->server_cpus) < 0)
			f->floor[k] = NULL;
}

static void field_close(struct field *f)
{
	for (unsigned int c = 0; c < f->report->nr_servers; c++)
		if (f->up[c])
			server_close(&f->server[c]);
	for (unsigned int k = 0; k < FLOOR_COUNT; k++)
		if (f->floor[k])
			floor_close(f->floor[k]);
}

static void measure(struct field *f, struct row *row, unsigned int c,
		    unsigned int ms)
{
	bool is_server = c < f->report->nr_servers;
	static struct run run;
	int ret;

	memset(&run, 0, sizeof(run));
	if (is_server && !f->up[c])
		return;
	run.link = is_server ? &f->server[c].link :
			       f->floor[c - f->report->nr_servers];
	/* A floor has one queue, and nothing to say about more. */
	if (!run.link || (!is_server && row->queues > 1))
		return;
	run.tree = f->tree;
	run.work = row->work;
	run.depth = row->depth;
	run.cold = row->cold;
	alarm(WATCHDOG_S);
	ret = run_measure(&run, ms, &row->sample[c][row->samples[c]]);
	alarm(0);
	if (ret == 0) {
		row->samples[c]++;
		return;
	}
	if (interrupted)
		return;
	fprintf(stderr, "bench: %s: %s, depth %u: %s\n", f->report->name[c],
		row->work->name, row->depth, run.why);
	failed = true;
	if (is_server) {
		server_close(&f->server[c]);
		open_server(f, c);
	}
}

/* An earlier run's, or a new one; NULL when there is no room. */
static struct row *find_row(struct field *f, const struct row *like)
{
	struct report *r = f->report;
	struct row *row = r->row;

	for (; row < r->row + r->nr_rows; row++)
		if (row->work == like->work && row->dir == like->dir &&
		    row->placement == like->placement &&
		    row->depth == like->depth && row->queues == like->queues &&
		    row->cold == like->cold)
			return row;
	if (r->nr_rows == MAX_ROWS)
		return NULL;
	r->nr_rows++;
	*row = *like;
	return row;
}

static void run_row(struct field *f, const struct plan *p, unsigned int depth,
		    bool cold)
{
	bool disk = p->disk && strcmp(f->fs, "tmpfs") != 0;
	struct report *r = f->report;
	struct row *row;

	if (interrupted || !depth)
		return;
	row = find_row(f, &(struct row){
		.work = workload_find(p->work),
		.dir = f->tree->parent, .fs = f->fs,
		.placement = f->placement, .depth = depth,
		.queues = f->queues, .cold = cold,
	});
	if (!row)
		return;
	for (unsigned int i = 0; i < f->o->rounds && !interrupted; i++)
		for (unsigned int c = 0; c < r->nr_contenders; c++)
			measure(f, row, c, f->o->ms * (disk ? p->disk : 1));
	if (cold && tree_warm_caches(f->tree) < 0)
		failed = true;
	row->calls_us = calls_cost(p->work, f->tree->path);
	row_settle(row, r->run, r->nr_contenders);
	report_print(r, row);
}

static void run_plan(struct field *f, const struct plan *p)
{
	unsigned int deepest = p->depth[1] ? p->depth[1] : p->depth[0];

	if (f->o->only && !strstr(p->work, f->o->only))
		return;
	if (f->queues > 1) {
		if (p->queues)
			run_row(f, p, 16, false);
		return;
	}
	if (f->o->quick && !p->quick)
		return;
	for (unsigned int i = 0; i < (f->o->quick ? 2 : 4); i++)
		run_row(f, p, p->depth[i], false);
	if (p->cold && !f->o->quick && strcmp(f->fs, "tmpfs") != 0)
		run_row(f, p, deepest, true);
}

static void run_field(const struct options *o, struct report *r,
		      const struct tree *tree, enum placement placement,
		      unsigned int queues)
{
	struct field *f = calloc(1, sizeof(*f));

	if (!f || interrupted) {
		free(f);
		return;
	}
	f->o = o;
	f->report = r;
	f->tree = tree;
	f->fs = fs_name(tree->path);
	f->placement = placement;
	f->queues = queues;
	field_open(f);
	for (unsigned int i = 0; i < ARRAY_LEN(plan); i++)
		run_plan(f, &plan[i]);
	field_close(f);
	free(f);
}

static int run_dir(const struct options *o, struct report *r, const char *dir)
{
	static struct tree tree;
	int ret;

	memset(&tree, 0, sizeof(tree));
	ret = tree_make(&tree, dir);
	if (ret < 0) {
		fprintf(stderr, "bench: can't make a tree in %s: %s\n", dir,
			strerror(-ret));
		tree_remove(&tree);
		return ret;
	}
	for (unsigned int i = 0; i < o->rounds; i++)
		for (unsigned int c = 0; c < r->nr_servers; c++)
			series_add(&r->listen_us[c],
				   server_listen_time(r->name[c], tree.path));
	for (enum placement p = ONE_CPU; p < PLACEMENTS; p++) {
		if (!(o->placements >> p & 1))
			continue;
		run_field(o, r, &tree, p, 1);
		if (o->quick || !o->queues)
			continue;
		run_field(o, r, &tree, p, 2);
		run_field(o, r, &tree, p, 4);
	}
	tree_remove(&tree);
	return 0;
}

static void add_servers(struct report *r, char *list)
{
	const char *argv[12];
	char text[256], *name;

	while ((name = strsep(&list, ","))) {
		int ret = fe_server_command(name, "/", argv, text,
					    sizeof(text));

		if (ret < 0)
			fprintf(stderr, "bench: no %s here: %s\n", name,
				strerror(-ret));
		else if (r->nr_servers < MAX_CONTENDERS - FLOOR_COUNT)
			r->name[r->nr_servers++] = name;
	}
}

static const char help[] =
"Usage: bench [OPTION]...\n"
"Measure virtiofs servers and floors; one line a row, CPU µs / kop/s.\n\n"
"  --quick              fewer rows, under a minute\n"
"  --servers A,B,...    vmshare, virtiofsd, rust, or another vmshare's path;\n"
"                       vmshare:OPTION is one with an option of its share;\n"
"                       ratios are of the first\n"
"  --dir DIR            where to make the tree (again: another one)\n"
"  --runs N             all of it so often\n"
"  --rounds N --ms N    rounds, and milliseconds of each measurement\n"
"  --only TEXT          workloads whose name contains TEXT\n"
"  --placement one|two  only one of the placements\n"
"  --no-floors --no-queues\n"
"  --write FILE         write tables (Markdown)\n"
"  --chart FILE         write a chart (SVG)\n";

static int parse(int argc, char **argv, struct options *o, char **servers)
{
	static const struct option longs[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "servers", required_argument, NULL, 's' },
		{ "dir", required_argument, NULL, 'd' },
		{ "runs", required_argument, NULL, 'R' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "ms", required_argument, NULL, 'm' },
		{ "only", required_argument, NULL, 'o' },
		{ "placement", required_argument, NULL, 'p' },
		{ "no-floors", no_argument, NULL, 'F' },
		{ "no-queues", no_argument, NULL, 'Q' },
		{ "write", required_argument, NULL, 'w' },
		{ "chart", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'q': o->quick = true; break;
		case 's': *servers = optarg; break;
		case 'd':
			if (o->nr_dirs < MAX_DIRS)
				o->dir[o->nr_dirs++] = optarg;
			break;
		case 'R': o->runs = (unsigned int)atoi(optarg); break;
		case 'r': o->rounds = (unsigned int)atoi(optarg); break;
		case 'm': o->ms = (unsigned int)atoi(optarg); break;
		case 'o': o->only = optarg; break;
		case 'p': o->placements = optarg[0] == 'o' ? 1 : 2; break;
		case 'F': o->floors = false; break;
		case 'Q': o->queues = false; break;
		case 'w': o->table = optarg; break;
		case 'c': o->chart = optarg; break;
		case 'h': fputs(help, stdout); exit(0);
		default: fputs(help, stderr); return -EINVAL;
		}
	}
	if (!o->rounds)
		o->rounds = o->quick ? 3 : 5;
	if (o->rounds > MAX_ROUNDS)
		o->rounds = MAX_ROUNDS;
	if (!o->ms)
		o->ms = o->quick ? 40 : 30;
	if (!o->runs)
		o->runs = 1;
	if (o->runs > MAX_RUNS)
		o->runs = MAX_RUNS;
	if (!o->nr_dirs) {
		o->dir[o->nr_dirs++] = "/dev/shm";
		if (!o->quick)
			o->dir[o->nr_dirs++] = "/var/tmp";
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct report report;
	static char all[] = "vmshare,virtiofsd,rust";
	struct options o = { .placements = 3, .floors = true, .queues = true };
	struct sigaction act = { .sa_handler = on_signal };
	struct report *r = &report;
	char *servers = all;
	unsigned int cpu[2];
	int ret = 0;

	if (parse(argc, argv, &o, &servers) < 0)
		return 2;
	sigaction(SIGALRM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	add_servers(r, servers);
	r->nr_contenders = r->nr_servers;
	if (o.floors) {
		r->name[r->nr_contenders++] = "bare";
		r->name[r->nr_contenders++] = "ideal";
		r->name[r->nr_contenders++] = "batch";
	}
	r->runs = o.runs;
	r->rounds = o.rounds;
	r->ms = o.ms;
	printf("%-6s %-8s %-24s %3s ", "", "", "server CPU µs / kop/s", "");
	for (unsigned int c = 0; c < r->nr_contenders; c++)
		printf(" %15s", r->name[c]);
	printf("\n");
	getloadavg(&r->load, 1);
	choose_cpus(cpu);
	pin_self(cpu[0]);
	for (enum placement p = ONE_CPU; p < PLACEMENTS; p++)
		for (int i = 0; i < 2; i++)
			r->wake_us[p][i] =
				wake_cost(i, 1ul << cpu[p == TWO_CPUS]);
	for (r->run = 0; r->run < o.runs && !interrupted; r->run++)
		for (unsigned int i = 0; i < o.nr_dirs && !interrupted; i++)
			if (run_dir(&o, r, o.dir[i]) < 0)
				failed = true;
	if (o.table)
		ret = report_write(r, o.table);
	if (ret == 0 && o.chart)
		ret = chart_write(r, o.chart);
	if (ret < 0)
		fprintf(stderr, "bench: can't write results: %s\n",
			strerror(-ret));
	return ret < 0 || failed || interrupted;
}
