/* rooms: base vhostuser fsserver tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * A share survives its server: requests on a tree of files, each of whose
 * replies is compared with a model of the tree, while workers are killed
 * before, in and after each system call, and between the stores to the arena.
 *
 * The model is exact: an error that the tree does not ask for, a name that is
 * there twice or not at all, bytes appended twice, a lookup counted twice or
 * not (in the end all are forgotten, and the server must know no node then)
 * fail the test. CRASH_KILLS is how many kills; 1000 are the default.
 */

#include "tests/c/crash_ops.h"

static char share[64];

#ifdef __SANITIZE_ADDRESS__
/* A fault is what the keeper is to see, not a report. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "handle_segv=0";
}
#endif

static int begin(bool traced, unsigned int most)
{
	strcpy(share, "/var/tmp/vmshare-crash-XXXXXX");
	if (!mkdtemp(share))
		return -errno;
	memset(nodes, 0, sizeof(nodes));
	nodes[0] = (struct node){ .used = true, .type = S_IFDIR, .id = 1,
				  .lookups = 1, .nlink = 2 };
	for (int k = 0; k < NAMES; k++)
		nodes[0].name[k] = -1;
	done_ops = 0;
	seed = 12345 ^ stage_seed();
	return stage_open(share, traced, most);
}

/* Give all back; the server must know nothing then. */
static int let_go(void)
{
	struct fuse_attr_out a;

	for (int i = 1; i < NODES; i++) {
		if (nodes[i].open)
			WANT(fe_release(fe, nodes[i].id, nodes[i].fh), 0);
		if (nodes[i].lookups)
			WANT(fe_forget(fe, nodes[i].id, nodes[i].lookups), 0);
	}
	SET(stage->calm, true);
	for (int tries = 0; tries < 500 && GET(stage->nodes) != 1; tries++) {
		WANT(fe_getattr(fe, 1, &a), 0);
		usleep(10000);
	}
	WANT(GET(stage->nodes), 1);
	return 0;
}

static void end(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", share);
	if (system(cmd))
		printf("# %s stays behind\n", share);
}

static unsigned int kills_wanted(void)
{
	const char *kills = getenv("CRASH_KILLS");

	return kills ? (unsigned int)atoi(kills) : 1000;
}

static int compare(const void *a, const void *b)
{
	const unsigned int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static unsigned int now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (unsigned int)(ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
}

/* How often each opcode was hit; none is left out where kills are many. */
static int tell_hits(unsigned int kills)
{
	unsigned int in = 0, least = ~0u;
	const char *rarest = "";

	for (unsigned int op = 1; op < STAGE_OPS; op++) {
		if (!fs_op_name(op) || op == FUSE_INTERRUPT ||
		    op == FUSE_COPY_FILE_RANGE_64)
			continue;
		in += stage->hit[op];
		if (stage->hit[op] < least) {
			least = stage->hit[op];
			rarest = fs_op_name(op);
		}
	}
	printf("# %u kills in requests, the fewest of them %u in %s\n", in,
	       least, rarest);
	if (!stage->traced || kills < 2000 || least)
		return 0;
	return FAIL("none in %s", rarest);
}

static int play(unsigned int kills)
{
	static unsigned int pause_us[16384];
	unsigned int nr = 0;
	int ret = 0;

	while (!ret && GET(stage->kills) < kills && !GET(stage->calm)) {
		unsigned int before = GET(stage->started), at = now_us();

		ret = operations[rnd(ARRAY_SIZE(operations))]();
		if (GET(stage->started) != before && nr < ARRAY_SIZE(pause_us))
			pause_us[nr++] = now_us() - at;
		if (!ret)
			ret = drop_orphans();
		done_ops++;
	}
	printf("# %u kills, %llu operations\n", GET(stage->kills),
	       (unsigned long long)done_ops);
	ret = ret ? ret : tell_hits(kills);
	qsort(pause_us, nr, sizeof(pause_us[0]), compare);
	if (nr && !stage->traced)
		printf("# a pause: %u us in the median, %u at most\n",
		       pause_us[nr / 2], pause_us[nr - 1]);
	return ret;
}

static void run(bool traced, unsigned int most, unsigned int kills)
{
	CHECK_EQ(begin(traced, most), 0);
	if (GET(stage->untraceable)) {
		stage_close();
		end();
		SKIP("no ptrace");
	}
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	CHECK_EQ(play(kills), 0);
	CHECK_EQ(let_go(), 0);
	CHECK_EQ(stage_close(), 0);
	end();
}

static void at_system_calls(void)
{
	run(true, 60, kills_wanted());
}

/* A worker must live long enough to get on, now and then. */
#ifdef __SANITIZE_THREAD__
#define LIFE_US 400000
#else
#define LIFE_US 20000
#endif

static void at_any_time(void)
{
	run(false, LIFE_US, kills_wanted() / 4);
}

/*
 * What was there a moment before was not made by a request that died before
 * its call, though it is as new as if it had been.
 */
static int twice(int call, int (*make)(uint64_t node, struct fuse_entry_out *e),
		 uint64_t node)
{
	struct fuse_entry_out e;

	for (int i = 0; i < 10; i++) {
		WANT(make(node, &e), 0);
		SET(stage->doom, call);
		WANT(make(node, &e), -EEXIST);
		WANT(GET(stage->doom), 0);
		WANT(S_ISDIR(e.attr.mode) ? fe_rmdir(fe, 1, "new") :
					    fe_unlink(fe, 1, "new"), 0);
	}
	return 0;
}

static int make_dir(uint64_t node, struct fuse_entry_out *e)
{
	(void)node;
	return fe_mkdir(fe, 1, "new", 0755, e);
}

static int make_node(uint64_t node, struct fuse_entry_out *e)
{
	(void)node;
	return fe_mknod(fe, 1, "new", S_IFREG | 0600, 0, e);
}

static int make_symlink(uint64_t node, struct fuse_entry_out *e)
{
	(void)node;
	return fe_symlink(fe, 1, "new", "target", e);
}

static int make_file(uint64_t node, struct fuse_entry_out *e)
{
	uint64_t fh;
	int ret = fe_create(fe, 1, "new", O_RDWR | O_CREAT | O_EXCL, 0600, e,
			    &fh);

	(void)node;
	return ret ? ret : fe_release(fe, e->nodeid, fh);
}

static int make_link(uint64_t node, struct fuse_entry_out *e)
{
	return fe_link(fe, node, 1, "new", e);
}

/* What this kernel has to open by, Linux 5.6 or not. */
static int call_that_opens(void)
{
	return syscall(SYS_openat2, -1, "", NULL, 0) && errno == ENOSYS ?
	       SYS_openat : SYS_openat2;
}

static void made_before(void)
{
	struct fuse_entry_out e;

	CHECK_EQ(begin(true, 0), 0);
	if (GET(stage->untraceable)) {
		stage_close();
		end();
		SKIP("no ptrace");
	}
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	CHECK_EQ(fe_mknod(fe, 1, "old", S_IFREG | 0600, 0, &e), 0);
	CHECK_EQ(twice(SYS_mkdirat, make_dir, 0), 0);
	CHECK_EQ(twice(SYS_mknodat, make_node, 0), 0);
	CHECK_EQ(twice(SYS_symlinkat, make_symlink, 0), 0);
	CHECK_EQ(twice(SYS_linkat, make_link, e.nodeid), 0);
	CHECK_EQ(twice(call_that_opens(), make_file, 0), 0);
	CHECK_EQ(stage_close(), 0);
	end();
}

/* A request that crashes its worker is tried twice, others go on. */
static void poison(void)
{
	struct fuse_entry_out e;
	char text[8];

	CHECK_EQ(begin(true, 0), 0);
	if (GET(stage->untraceable)) {
		stage_close();
		end();
		SKIP("no ptrace");
	}
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	CHECK_EQ(fe_symlink(fe, 1, "a", "b", &e), 0);
	SET(stage->poison, SYS_readlinkat);
	CHECK_EQ(fe_readlink(fe, e.nodeid, text, sizeof(text)), -EIO);
	CHECK_EQ(GET(stage->faults), 2);
	CHECK_EQ(GET(stage->warnings), 1);
	CHECK_EQ(fe_lookup(fe, 1, "a", &e), 0);
	SET(stage->poison, 0);
	CHECK_EQ(fe_readlink(fe, e.nodeid, text, sizeof(text)), 0);
	CHECK_EQ(stage_close(), 0);
	end();
}

static const struct check_case cases[] = {
	{ "killed around each system call", at_system_calls },
	{ "killed at any time", at_any_time },
	{ "killed before what was done a moment ago", made_before },
	{ "a request that crashes its worker", poison },
};

int main(int argc, char **argv)
{
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
