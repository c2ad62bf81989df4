/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_BENCH_H
#define VMSHARE_TESTS_BENCH_H

/*
 * The benchmark: the front end's closed loop of so many requests in flight,
 * against servers and against floors, row by row, round by round.
 *
 * A lane is one guest task: it has one request in flight at a time and runs
 * a workload's steps in it. Depth is the number of lanes. A link carries the
 * lanes' requests: to a server's ring, or to a floor.
 */

#include "tests/frontend/fe.h"

#include <sched.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the tree that is shared -------------------------------------------- */

enum {
	FLAT_FILES = 10000,
	TREE_DIRS = 500,
	DIR_FILES = 20,		/* in each of them */
	DATA_SIZE = 64 << 20,
	FLAT_FILE_SIZE = 11,	/* bytes in each file of flat and tree */
};

/* Directories by number: the root's four, then those of the tree. */
enum { DIR_FLAT, DIR_TREE, DIR_DATA, DIR_SCRATCH, DIR_FIRST, };
#define DIR_COUNT (DIR_FIRST + TREE_DIRS)

struct tree {
	const char *parent;
	char path[128];		/* temporary, in it */
	int fd[DIR_COUNT];	/* O_DIRECTORY, for the floors */
	int root;
};

int tree_make(struct tree *t, const char *parent);
void tree_remove(struct tree *t);
void tree_dir_name(unsigned int dir, char *name, size_t size);
void tree_file_name(unsigned int file, char *name, size_t size);
/* The word that is at offset @off (a multiple of 8) of every data file. */
uint64_t tree_word(uint64_t off);
/* Forget what the host has cached of the tree; -errno if not allowed. */
int tree_drop_caches(const struct tree *t);
/* Have it all cached again, or the first contender after this pays for it. */
int tree_warm_caches(const struct tree *t);
/* The same of a file of "data", which some hosts drop when it is not used. */
void tree_touch(const struct tree *t, const char *name);
/* Compare samples of the file that is written; number of wrong words. */
int tree_check_written(const struct tree *t);

/* ---- links -------------------------------------------------------------- */

struct usage {			/* of the server's side, since its start */
	uint64_t cpu_ns;
	uint64_t switches;
	uint64_t kicks;
	uint64_t interrupts;
	uint64_t who;		/* changes with the set of its processes */
};

struct link {
	const char *name;
	int (*submit)(struct link *l, struct fe_req *req, unsigned int q);
	int (*poll)(struct link *l, struct fe_req **done, unsigned int max);
	int (*wait)(struct link *l);
	void (*usage)(struct link *l, struct usage *u);
	/* 1 where FORGET means something */
	bool forgets;
	struct fe *fe;
	unsigned int queues;
};

/* A server on the other end. */
struct server_link {
	struct link link;
	struct fe_server server;
	pid_t pids[32];
	unsigned int nr_pids;
	double handshake_us;	/* connect .. FUSE_INIT answered, but our own */
	double pss_kib;		/* idle, after FUSE_INIT */
};

/* @cpus: bit masks; 0: wherever. Starts, connects, FUSE_INIT. */
int server_open(struct server_link *s, const char *name, const char *dir,
		unsigned long server_cpus, unsigned int queues);
void server_close(struct server_link *s);
/* Start to listening, on a socket that it makes itself; us, or negative. */
double server_listen_time(const char *name, const char *dir);

enum floor_kind { FLOOR_BARE, FLOOR_IDEAL, FLOOR_BATCH, FLOOR_COUNT };
int floor_open(struct link **link, enum floor_kind kind,
	       const struct tree *tree, unsigned long cpus);
void floor_close(struct link *link);

/* CPU that a sleeper spends on being woken and answering, us; 0: unknown. */
double wake_cost(bool process, unsigned long cpus);
/*
 * CPU of the system calls that vmshare makes for one operation, us, where they
 * are not those of the floor; 0: they are, or it is not known.
 */
double calls_cost(const char *work, const char *path);

/* ---- workloads ---------------------------------------------------------- */

enum step { STEP_SEND, STEP_DONE, STEP_END };

struct run;

struct lane {
	struct run *run;
	struct fe_req *req;
	unsigned int id;
	unsigned int queue;
	unsigned int state;	/* 0 at the start of each operation */
	int expect;		/* the answer that is right, or: */
#define EXPECT_ANY 1		/* the step looks at it */
	uint64_t started;	/* ns; the operation */
	uint64_t seed;
	uint64_t node, fh, off;
	unsigned int dir, file, count;
};

struct workload {
	const char *name;
	size_t src, dst;	/* data room of a request */
	uint64_t unit;		/* bytes an operation moves, or 0 */
	bool scan;		/* an operation is a whole scan: report ms */
	bool whole;		/* a pass ends with its work, not in time */
	/* Untimed, before each pass; nodes are looked up here. */
	int (*before)(struct run *run);
	/* The reply to what was sent is in lane->req; fill in the next. */
	enum step (*step)(struct lane *lane);
	/* Untimed, after each pass: give back what the pass took. */
	int (*after)(struct run *run);
};

extern const struct workload workloads[];
const struct workload *workload_find(const char *name);

#define MAX_DEPTH 64
#define HIST_SUB 32
#define HIST_SIZE (40 * HIST_SUB)

struct run {
	struct link *link;
	const struct tree *tree;
	const struct workload *work;
	unsigned int depth;
	bool cold;
	/* shared by the lanes */
	struct lane lane[MAX_DEPTH];
	unsigned int next;	/* work that is handed out to lanes */
	uint64_t dir_node[DIR_COUNT];
	uint64_t file_node[DIR_COUNT];	/* of file 0 of some directories */
	uint64_t fh;
	struct fuse_forget_one *forget;	/* what to give back */
	unsigned int nr_forget, max_forget;
	struct fe_req *lost[512];	/* FORGETs in flight: half a ring */
	unsigned int nr_lost;
	char why[160];		/* what was wrong, "" if nothing */
	/* results */
	uint64_t ops;
	uint64_t ns;
	struct usage used;
	uint32_t hist[HIST_SIZE];
};

struct result {
	double ops_s;
	double cpu_us;		/* of the server, an operation */
	double p50_us, p99_us;
	double kicks, interrupts, switches;	/* an operation */
};

/**
 * run_measure() - one measurement
 * @ms:	how long to measure; whole passes for scans
 *
 * Return: 0, or -errno with run->why set.
 */
int run_measure(struct run *run, unsigned int ms, struct result *result);
/* Send what a lane has filled in and wait for it, untimed; its error. */
int run_ask(struct run *run, struct lane *lane);
/* Remember a lookup that is to be given back after the pass. */
void run_owe(struct run *run, uint64_t node);
/* Send FORGET at once, on the high priority queue, not waited for. */
void run_forget(struct run *run, uint64_t node);
int run_fail(struct run *run, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The CPUs of a bit mask. */
void cpu_set_of(unsigned long cpus, cpu_set_t *set);
uint64_t now_ns(void);
/* CPU time of this thread alone, whatever else the machine is busy with. */
uint64_t thread_ns(void);

/* ---- results ------------------------------------------------------------ */

enum placement { ONE_CPU, TWO_CPUS, PLACEMENTS };

#define MAX_CONTENDERS 8	/* servers, then floors */
#define MAX_ROUNDS 15
#define MAX_RUNS 5
#define MAX_ROWS 200

/* A run: all rows once, with servers and trees of its own. */
struct row {
	const struct workload *work;
	const char *dir;	/* where its trees are */
	const char *fs;		/* tmpfs, ext4, ...; of it */
	enum placement placement;
	unsigned int depth;
	unsigned int queues;
	bool cold;
	/* of the run under way */
	struct result sample[MAX_CONTENDERS][MAX_ROUNDS];
	unsigned int samples[MAX_CONTENDERS];
	/* Of all; ops_s is 0 where there is none. */
	struct result run[MAX_RUNS][MAX_CONTENDERS];	/* medians of rounds */
	struct result median[MAX_CONTENDERS];		/* of the runs' */
	double calls_us;		/* calls_cost(), where it is known */
};

struct series {
	double value[2 * MAX_ROWS];	/* more are left out */
	unsigned int n;
};

struct report {
	const char *name[MAX_CONTENDERS];
	unsigned int nr_servers;	/* the first of the contenders */
	unsigned int nr_contenders;
	struct row row[MAX_ROWS];
	unsigned int nr_rows;
	struct series listen_us[MAX_CONTENDERS];
	struct series handshake_us[PLACEMENTS][MAX_CONTENDERS];
	struct series pss_kib[MAX_CONTENDERS];
	double wake_us[PLACEMENTS][2];	/* of a thread, of a process */
	double load;			/* the machine's, before */
	unsigned int runs, rounds, ms;
	unsigned int run;		/* under way */
};

/* ---- verdict.c ---- */

enum measure { CPU, OPS };

/* The ratio to the best peer, against the goal. */
struct verdict {
	double goal;			/* 0: there is none */
	double ratio;			/* median of the runs */
	double low, high;		/* of the runs */
	unsigned int runs, reached;	/* runs; those at the goal */
	int peer;			/* by the medians */
};

void series_add(struct series *s, double value);
double series_median(const struct series *s);	/* 0: it is empty */
/* What the run under way has of the row, and what all have until now. */
void row_settle(struct row *row, unsigned int run, unsigned int contenders);
/* False where there is nothing to compare. */
bool judge(const struct report *r, const struct row *row, enum measure what,
	   struct verdict *v);
/* The one of a result that is measured so. */
double value_of(const struct result *m, enum measure what);

/* ---- report.c ---- */

void report_print(const struct report *r, const struct row *row);
int report_write(const struct report *r, const char *path);
int chart_write(const struct report *r, const char *path);

#endif
