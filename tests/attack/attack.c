/* SPDX-License-Identifier: MIT */
/*
 * A guest that is out for harm: root in a booted guest takes a share's device
 * from the kernel's driver and speaks to it alone, by registers, rings and
 * requests of its own.
 *
 *	attack TAG rw|ro|mapped
 *
 * The share is as tests/c/attempts.h says, not mounted, with two queues; one
 * that is written to has open-files=128, the symlinks of that header, a "fifo"
 * and, if the host's root made one, a device "null"; somebody on the host
 * swaps when asked to. Prints TAP; what became of the host is the host's to
 * see. At the end the kernel has its device back.
 */

#include "tests/attack/pci.h"
#include "tests/c/attempts.h"
#include "tests/c/bad_rings.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RING 32

static struct pci pci;
static bool mapped;

/* ---- connections --------------------------------------------------------- */

/* A new session of the device, as after a reboot, with these features. */
static int session(bool indirect, bool event_idx)
{
	const struct fe_opts opts = {
		.queues = 2, .ring_size = RING, .timeout_ms = 60000,
		.no_indirect = !indirect, .no_event_idx = !event_idx,
	};
	int err = pci_reset(&pci);

	fe_close(fe);
	fe = NULL;
	if (!err)
		err = pci_connect(&pci, &fe, &opts);
	return err ? err : fe_fuse_init(fe, 0);
}

static int again(void)
{
	return session(true, true);
}

/* Is the share what it is for who keeps the rules? */
static bool serves(void)
{
	struct fuse_entry_out e;
	char buf[16] = "";
	uint64_t fh;

	if (fe_lookup(fe, ROOT, "good", &e) ||
	    fe_open(fe, e.nodeid, O_RDONLY, &fh))
		return false;
	return fe_read(fe, e.nodeid, fh, 0, buf, sizeof(buf)) >= 0 &&
	       !fe_release(fe, e.nodeid, fh);
}

/* ---- files --------------------------------------------------------------- */

static void symlinks(void)
{
	attempt_symlinks(mapped);
}

static void specials(void)
{
	static const char *const names[] = { "fifo", "null" };
	struct fuse_entry_out e;

	for (size_t i = 0; i < ARRAY_LEN(names) && !check_failed; i++)
		if (!fe_lookup(fe, ROOT, names[i], &e) && e.nodeid)
			attempt_open(names[i]);
}

/* Until a name is there, or gone; not for ever. */
static bool wait_for(const char *name, bool there)
{
	struct fuse_entry_out e;

	for (int i = 0; i < 600; i++) {
		if ((!fe_lookup(fe, ROOT, name, &e) && e.nodeid) == there)
			return true;
		usleep(50000);
	}
	return false;
}

/*
 * While there is a file "swap", the host's user swaps a directory and what
 * leads out, and shows so by another.
 */
static void swaps(void)
{
	struct fuse_entry_out e;
	time_t end;
	uint64_t fh;

	CHECK_EQ(fe_create(fe, ROOT, "swap", O_RDWR, 0666, &e, &fh), 0);
	CHECK_EQ(fe_release(fe, e.nodeid, fh), 0);
	CHECK(wait_for("swapping", true));
	end = time(NULL) + 3;
	while (time(NULL) < end)
		CHECK(!attempt_swapped());
	CHECK_EQ(fe_unlink(fe, ROOT, "swap"), 0);
	CHECK(wait_for("swapping", false));
}

static void too_many(void)
{
	attempt_many(128);
}

/* ---- requests ------------------------------------------------------------ */

/* One chain as given; whether it came back. A broken queue keeps it. */
static bool comes_back(const struct fe_seg *seg, unsigned int n)
{
	struct fe_ring *r = &fe->ring[1];
	uint32_t len;
	void *token;

	if (fe_push(r, seg, n, fe))
		return false;
	fe_kick_always(r);
	for (int i = 0; i < 3; i++) {
		if (fe_reap(r, &token, &len) == 1)
			return true;
		fe_wait(r, 100);
	}
	return false;
}

/* Buffers of a session, and a directory whose mode is nothing to us. */
struct target {
	struct fe_buf in, out;
	uint64_t node;
};

static int aim(struct target *t)
{
	struct fuse_entry_out e;
	int err = fe_lookup(fe, ROOT, "dir", &e);

	if (!err)
		err = fe_alloc(fe, 8192, &t->in);
	if (!err)
		err = fe_alloc(fe, 8192, &t->out);
	t->node = e.nodeid;
	return err;
}

/*
 * Every operation, known or not, with @len bytes that mean nothing, in a
 * request that says it is @said long, with @room for the answer.
 */
static void nonsense(uint32_t len, uint32_t said, uint32_t room)
{
	unsigned int lost = 0;
	struct target t;

	CHECK_EQ(aim(&t), 0);
	for (uint32_t op = 0; op < 70; op++) {
		const struct fe_seg seg[] = {
			{ t.in.gpa, len, false }, { t.out.gpa, room, true },
		};
		struct fuse_in_header *h = t.in.p;

		for (size_t i = 0; i < 8192; i++)
			((uint8_t *)t.in.p)[i] = (uint8_t)rand();
		*h = (struct fuse_in_header){
			.len = said, .opcode = op, .nodeid = t.node,
			.unique = 2 * op + 2,
		};
		if (comes_back(seg, room ? 2 : 1))
			continue;
		lost++;
		CHECK_EQ(again(), 0);
		CHECK_EQ(aim(&t), 0);
	}
	printf("# %u bytes that say %u, room for %u: %u broke the queue\n",
	       len, said, room, lost);
	CHECK_EQ(again(), 0);
}

static void requests(void)
{
	static const struct {
		uint32_t len, said, room;
	} all[] = {
		{ 40, 40, 4096 }, { 41, 41, 16 }, { 48, 48, 16 },
		{ 80, 80, 24 }, { 4096, 4096, 4096 }, { 4096, 40, 4096 },
		{ 80, 8000, 4096 }, { 80, UINT32_MAX, 4096 },
		{ 39, 39, 4096 }, { 1, 1, 1 }, { 80, 80, 15 },
		{ 80, 80, 0 },
	};

	srand(1);
	for (size_t i = 0; i < ARRAY_LEN(all) && !check_failed; i++)
		nonsense(all[i].len, all[i].said, all[i].room);
	CHECK(!check_failed && serves());
}

/* ---- rings --------------------------------------------------------------- */

static void rings(void)
{
	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
		struct bad b = { .fe = fe, .r = &fe->ring[1] };
		struct fuse_statfs_out st;
		struct fe_call call = {
			.opcode = FUSE_STATFS, .nodeid = ROOT, .out = &st,
			.out_size = sizeof(st), .q = 2,
		};

		CHECK_EQ(fe_alloc(fe, 8192, &b.data), 0);
		memset(b.data.p, 0, 8192);
		hostile[i].act(&b);
		fe_kick_always(b.r);
		/* The other queue goes on, and after a reset this one. */
		CHECK_EQ(fe_call(fe, &call), 0);
		CHECK_EQ(again(), 0);
		if (!serves())
			printf("# after %s\n", hostile[i].name);
		CHECK(serves());
	}
}

/* Descriptors, heads and indices at random, most of them near what is right. */
static void garbage(void)
{
	srand(2);
	for (int round = 0; round < 100; round++) {
		struct fe_ring *r = &fe->ring[1 + round % 2];
		const struct fe_region *m = &fe->region[0];

		for (unsigned int i = 0; i < RING; i++) {
			r->desc[i].addr = m->gpa + (uint32_t)rand() % m->size;
			r->desc[i].len = (uint32_t)rand() % 5000;
			r->desc[i].flags = (uint16_t)(rand() % 8);
			r->desc[i].next = (uint16_t)(rand() % (RING + 1));
			r->avail->ring[i] = (uint16_t)(rand() % (RING + 1));
		}
		r->avail->idx = (uint16_t)(r->avail->idx + rand() % 34);
		fe_kick_always(r);
		fe_kick_always(r);
		CHECK_EQ(again(), 0);
	}
	CHECK(serves());
}

/* ---- registers ----------------------------------------------------------- */

static void ring_doorbells(void)
{
	for (unsigned int q = 0; q < PCI_QUEUES; q++)
		*(volatile uint16_t *)(pci.notify + q * pci.multiplier) =
			(uint16_t)q;
	usleep(20000);
}

/* Fewer than there are, and none at all, which no driver of today asks for. */
static void features(void)
{
	uint64_t none = 0;

	for (int i = 0; i < 4; i++) {
		CHECK_EQ(session(i & 1, i & 2), 0);
		CHECK(serves());
	}
	CHECK_EQ(pci_reset(&pci), 0);
	if (!pci_features(&pci, &none)) {
		for (unsigned int q = 0; q < 3; q++)
			pci_queue(&pci, q, RING, (uint64_t[3]){
				fe->ring[q].mem[0].gpa, fe->ring[q].mem[1].gpa,
				fe->ring[q].mem[2].gpa });
		pci_status(&pci, 4);
		ring_doorbells();
	}
	CHECK_EQ(again(), 0);
	CHECK(serves());
}

/* Queues that are nowhere, of sizes that are none; then, while they run. */
static void nowhere(void)
{
	const uint64_t ram = pci.memory[0].gpa;
	const struct {
		unsigned int size;
		uint64_t where[3];
	} all[] = {
		{ 32, { 1ull << 60, 1ull << 60, 1ull << 60 } },
		{ 32, { 0xfee00000, 0xfee01000, 0xfee02000 } },
		{ 32, { UINT64_MAX - 15, UINT64_MAX - 15, UINT64_MAX - 15 } },
		{ 32, { ram + 1, ram + 1, ram + 1 } },
		{ 32, { ram, ram, ram } },
		{ 1024, { ram, ram + 0x8000, 1ull << 40 } },
		{ 0, { ram, ram + 0x1000, ram + 0x2000 } },
		{ 3, { ram, ram + 0x1000, ram + 0x2000 } },
		{ 65535, { ram, ram + 0x1000, ram + 0x2000 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		uint64_t features = VIRTIO_F_VERSION1;

		CHECK_EQ(pci_reset(&pci), 0);
		CHECK_EQ(pci_features(&pci, &features), 0);
		for (unsigned int q = 0; q < 3; q++)
			pci_queue(&pci, q, all[i].size, all[i].where);
		pci_status(&pci, 4);
		ring_doorbells();
		CHECK_EQ(again(), 0);
		CHECK(serves());
		for (unsigned int q = 0; q < 3; q++)
			pci_queue(&pci, q, all[i].size, all[i].where);
		ring_doorbells();
		CHECK_EQ(again(), 0);
		CHECK(serves());
	}
}

/* The device goes, with requests under way, and is there again. */
static void resets(void)
{
	struct fuse_entry_out e;
	uint64_t fh;

	for (int round = 0; round < 30; round++) {
		static char buf[16384];
		struct fuse_read_in in = { .size = sizeof(buf) };
		struct fe_call c = {
			.opcode = FUSE_READ, .in = { { &in, sizeof(in) } },
			.dst = buf, .dst_size = sizeof(buf),
		};
		struct fe_req *req;

		CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
		CHECK_EQ(fe_open(fe, e.nodeid, O_RDONLY, &fh), 0);
		c.nodeid = e.nodeid;
		in.fh = fh;
		for (unsigned int i = 0; i < RING; i++) {
			c.q = 1 + i % 2;
			CHECK_EQ(fe_call_start(fe, &c, &req), 0);
		}
		CHECK_EQ(again(), 0);
	}
	CHECK(serves());
}

/* ---- all of it ----------------------------------------------------------- */

static void as_before(void)
{
	CHECK_EQ(again(), 0);
	CHECK(serves());
}

int main(int argc, char **argv)
{
	static const struct check_case writable[] = {
		{ "names that are paths", attempt_names },
		{ "names of attributes and of nothing", attempt_more_names },
		{ "symlinks out of the share", symlinks },
		{ "devices, fifos and sockets", specials },
		{ "nodes and handles made up", attempt_forged },
		{ "forgotten while it is read", attempt_forget },
		{ "ten times the limit of open files", too_many },
		{ "swapped in meanwhile", swaps },
		{ "requests that are none", requests },
		{ "rings out of rule", rings },
		{ "rings at random", garbage },
		{ "fewer features", features },
		{ "queues that are nowhere", nowhere },
		{ "resets with requests under way", resets },
		{ "all as before", as_before },
	}, readonly[] = {
		{ "a share that may not be written to", attempt_write },
		{ "requests that are none", requests },
		{ "all as before", as_before },
	};
	bool ro = argc == 3 && !strcmp(argv[2], "ro");
	int err;

	if (argc != 3) {
		fprintf(stderr, "usage: attack TAG rw|ro|mapped\n");
		return 2;
	}
	mapped = !strcmp(argv[2], "mapped");
	err = pci_take(&pci, argv[1]);
	if (!err)
		err = again();
	if (err) {
		fprintf(stderr, "attack: %s: %s\n", argv[1], strerror(-err));
		return 2;
	}
	err = ro ? check_main(readonly, ARRAY_LEN(readonly), 1, argv) :
		   check_main(writable, ARRAY_LEN(writable), 1, argv);
	fe_close(fe);
	pci_give(&pci);
	return err;
}
