/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * The table of nodes with many more of them than there are files: what a node
 * takes, what it costs to find one among 10 thousand and among many, and what
 * of that is seen in LOOKUPs of a walk. A large table is in none of the
 * processor's caches: in the order of a walk a node costs about one miss, at
 * random three, and as many of the processor's own tables of pages.
 * 300,000 nodes, or as many as VMSHARE_TEST_NODES says; times (of the
 * processor) are told, not judged.
 */

#include "fsserver_rig.h"

#include "fsserver/nodes/nodetab.h"

#include <time.h>

#define FEW	10000u
#define FINDS	2000000u
#define FILES	20000u		/* real ones: more than caches hold of both */
#define LOOKUPS	3		/* of each, one after the other */

static struct rig r;
static uint64_t *ids;

static struct statx stx_of(uint32_t i)
{
	return (struct statx){
		.stx_mask = STATX_BASIC_STATS | STATX_BTIME,
		.stx_mode = S_IFREG | 0644,
		.stx_ino = 1000 + i,
		.stx_btime = { .tv_sec = 1700000000 + i / 5000,
			       .tv_nsec = i % 5000 * 200000 },
	};
}

/* Add nodes @from to @to, below the root. */
static bool add(uint32_t from, uint32_t to)
{
	struct fs_node *parent;
	char name[32];
	bool ok = !node_get(r.fs, FUSE_ROOT_ID, &parent);

	for (uint32_t i = from; i < to && ok; i++) {
		struct statx stx = stx_of(i);

		snprintf(name, sizeof(name), "file-%u", i);
		ok = !node_add(r.fs, parent, name, &stx, &ids[i], NULL, NULL);
	}
	if (ok)
		node_put(r.fs, parent);
	return ok;
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* Find nodes of the first @nr; ns for one, or 0 when one was not found. */
static double find(uint32_t nr, bool random)
{
	uint64_t seed = 1, began = cpu_ns();

	for (uint32_t n = 0; n < FINDS; n++) {
		struct fs_node *node;
		struct statx stx;
		uint32_t i = n % nr;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		if (random)
			i = (uint32_t)((seed >> 32) * nr >> 32);
		stx = stx_of(i);
		node = node_find(r.fs, &stx);
		if (!node || node_id(node) != ids[i])
			return 0;
		node_put(r.fs, node);
	}
	return (double)(cpu_ns() - began) / FINDS;
}

/* LOOKUP of files that are there; ns for one, or 0 for an error. */
static double lookup(void)
{
	uint64_t began = cpu_ns();
	char name[32];

	for (uint32_t n = 0; n < FILES * LOOKUPS; n++) {
		snprintf(name, sizeof(name), "real-%u", n % FILES);
		if (!rig_node(&r, FUSE_ROOT_ID, name))
			return 0;
	}
	return (double)(cpu_ns() - began) / (FILES * LOOKUPS);
}

static bool make_files(void)
{
	char name[32];

	for (uint32_t i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "real-%u", i);
		if (rig_file(&r, name, ""))
			return false;
	}
	return true;
}

static uint64_t resident(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void test_table(void)
{
	const char *count = getenv("VMSHARE_TEST_NODES");
	uint32_t nr = count ? (uint32_t)strtoul(count, NULL, 10) : 300000;
	double walk[2], random[2], real[2];
	uint64_t before, used;

	ids = malloc(nr * sizeof(*ids));
	CHECK(ids && nr >= FEW);
	memset(ids, 1, nr * sizeof(*ids));
	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	before = resident();
	CHECK(add(0, FEW) && make_files());
	walk[0] = find(FEW, false);
	random[0] = find(FEW, true);
	real[0] = lookup();
	CHECK(add(FEW, nr));
	used = resident() - before;
	CHECK_EQ(nodes_count(r.fs), nr + FILES + 1);
	walk[1] = find(nr, false);
	random[1] = find(nr, true);
	real[1] = lookup();
	printf("# %u nodes, %u bytes each with their names\n", nr,
	       (unsigned int)(used / (nr + FILES)));
	for (int i = 0; i < 2; i++) {
		CHECK(walk[i] > 0 && random[i] > 0 && real[i] > 0);
		printf("# among %u: found in %.0f ns in order, %.0f at random; "
		       "LOOKUP %.0f ns\n", i ? nr : FEW, walk[i], random[i],
		       real[i]);
	}
	CHECK(used / (nr + FILES) <= 200);
	for (uint32_t i = 0; i < nr; i++)
		node_forget(r.fs, ids[i], 1, NULL);
	CHECK_EQ(nodes_count(r.fs), FILES + 1);
	CHECK(resident() - before < used / 10 + FILES * 200);
	free(ids);
	rig_stop(&r);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a node takes few bytes", test_table },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
