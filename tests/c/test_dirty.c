/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The dirty log against the memory itself: what differs from a copy, page by
 * page, is in the log. Requests are held while the copy is made, so that
 * between it and the comparison only the device writes.
 */

#include "tests/c/vhostuser_rig.h"

#include <sys/mman.h>

#define DEPTH 12u

static struct rig rig;
static struct fe_log dirty;
static uint8_t *copy[FE_MAX_REGIONS];

/* ---- comparing ----------------------------------------------------------- */

static int copies_make(struct fe *fe)
{
	for (unsigned int i = 0; i < fe->nr_regions; i++) {
		copy[i] = malloc(fe->region[i].size);
		if (!copy[i])
			return -ENOMEM;
	}
	return 0;
}

static void copies_take(struct fe *fe)
{
	for (unsigned int i = 0; i < fe->nr_regions; i++)
		memcpy(copy[i], fe->region[i].map, fe->region[i].size);
}

static void copies_free(void)
{
	for (unsigned int i = 0; i < FE_MAX_REGIONS; i++) {
		free(copy[i]);
		copy[i] = NULL;
	}
}

/* Where the driver writes as well: its event index is behind this ring. */
static bool is_avail(const struct fe *fe, const uint8_t *page)
{
	for (unsigned int q = 0; q < fe->nr_rings; q++) {
		const uint8_t *p = fe->ring[q].mem[1].p;

		if (page >= p && page < p + fe->ring[q].mem[1].len)
			return true;
	}
	return false;
}

/* Pages that changed; *@missed: of these not in the log, which is taken. */
static unsigned int compare(struct fe *fe, unsigned int *missed)
{
	unsigned int changed = 0;

	*missed = 0;
	for (unsigned int i = 0; i < fe->nr_regions; i++) {
		const struct fe_region *r = &fe->region[i];

		for (size_t at = 0; at < r->size; at += FE_PAGE) {
			bool marked = fe_log_take(&dirty, r->gpa + at);

			if (!memcmp(copy[i] + at, r->map + at, FE_PAGE) ||
			    is_avail(fe, r->map + at))
				continue;
			changed++;
			*missed += !marked;
			if (!marked)
				printf("# page %llx\n",
				       (unsigned long long)(r->gpa + at));
		}
	}
	return changed;
}

/* ---- traffic ------------------------------------------------------------- */

/* DEPTH requests of different sizes on each ring, answered all at once. */
static int held_batch(struct fe *fe, struct rig_io *io, unsigned int pieces)
{
	unsigned int n = 0;
	int r = 0;

	RIG_SET(rig.hold, true);
	for (unsigned int q = 0; q < fe->nr_rings; q++) {
		for (unsigned int i = 0; i < DEPTH && r == 0; i++, n++) {
			rig_io_fill(&io[n]);
			r = rig_io_push(&fe->ring[q], &io[n], pieces);
		}
		fe_kick(&fe->ring[q]);
	}
	for (int i = 0; i < 10000 && r == 0 && rig_held_now(&rig) != n; i++)
		usleep(1000);
	copies_take(fe);
	fe_log_clear(&dirty);
	rig_release(&rig);
	for (unsigned int q = 0; q < fe->nr_rings && r == 0; q++)
		r = rig_reap(&fe->ring[q], DEPTH);
	/* What the leaders write before they sleep. */
	usleep(20000);
	return r;
}

static int up(const struct fe_opts *opts, bool used)
{
	int r = rig_open(&rig, opts->queues ? opts->queues : 1);

	if (r == 0)
		r = rig_connect(&rig, opts);
	if (r == 0)
		r = copies_make(rig.fe);
	if (r == 0)
		r = fe_log_open(rig.fe, &dirty, 0);
	return r == 0 && used ? fe_log_all(rig.fe, true) : r;
}

static void down(void)
{
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
	fe_log_close(&dirty);
	copies_free();
}

static struct rig_io *ios_new(struct fe *fe)
{
	unsigned int n = DEPTH * fe->nr_rings;
	struct rig_io *io = calloc(n, sizeof(*io));

	for (unsigned int i = 0; io && i < n; i++)
		if (rig_io_new(fe, &io[i], 100 + i * 1999, (uint8_t)i) < 0)
			return NULL;
	return io;
}

static void one_shape(const struct fe_opts *opts, unsigned int pieces)
{
	unsigned int missed;
	struct rig_io *io;

	CHECK_EQ(up(opts, true), 0);
	io = ios_new(rig.fe);
	CHECK(io);
	for (int round = 0; round < 4; round++) {
		CHECK_EQ(held_batch(rig.fe, io, pieces), 0);
		/* Each answer, and the ring at least. */
		CHECK(compare(rig.fe, &missed) >
		      DEPTH * rig.fe->nr_rings + rig.fe->nr_rings);
		CHECK_EQ(missed, 0);
	}
	free(io);
	down();
}

static void all_that_is_written(void)
{
	const struct fe_opts opts[] = {
		{ .ring_size = 64, .queues = 2 },
		{ .ring_size = 1024, .queues = 4, .no_event_idx = true },
		{ .ring_size = 256, .no_indirect = true, .regions = 4 },
		{ .ring_size = 64, .regions = 8, .adjacent = true,
		  .mem_slots = true, .mem_size = 4 << 20 },
		{ .ring_size = 1024 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(opts) && !check_failed; i++)
		one_shape(&opts[i], 1 + i % 2 * 2);
}

/*
 * The answer lies on both sides of where two regions meet. Told from the last
 * to the first, they are mapped one below the other by the device, for which
 * such an answer is one piece then.
 */
static void across_regions(void)
{
	struct fe_opts opts = { .regions = 4, .adjacent = true,
				.mem_size = 1 << 20, .mem_slots = true };
	const struct fe_region *low;
	struct rig_io io = { .len = 4 * FE_PAGE };
	unsigned int missed;

	for (int i = 0; i < 2 && !check_failed; i++) {
		opts.downwards = i;
		CHECK_EQ(up(&opts, true), 0);
		low = &rig.fe->region[1];
		CHECK_EQ(fe_alloc(rig.fe, io.len, &io.in), 0);
		io.out.gpa = low->gpa + low->size - 2 * FE_PAGE;
		io.out.p = calloc(1, io.len);
		CHECK(io.out.p);
		rig_io_fill(&io);
		RIG_SET(rig.hold, true);
		CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
		fe_kick(&rig.fe->ring[1]);
		RIG_UNTIL(rig_held_now(&rig) == 1);
		copies_take(rig.fe);
		fe_log_clear(&dirty);
		rig_release(&rig);
		RIG_UNTIL(rig.fe->ring[1].used->idx == 1);
		usleep(20000);
		CHECK(compare(rig.fe, &missed) >= 5);
		CHECK_EQ(missed, 0);
		free(io.out.p);
		down();
	}
}

static bool marked_soon(uint64_t gpa)
{
	for (int i = 0; i < 2000; i++, usleep(1000))
		if (fe_log_take(&dirty, gpa))
			return true;
	return false;
}

/* A request is taken and not answered: the leader only asks for the next. */
static void event_index(void)
{
	const struct fe_opts opts[] = {
		{ .ring_size = 1024 },
		{ .ring_size = 1024, .no_event_idx = true },
	};
	struct rig_io io;
	uint64_t at;

	for (unsigned int i = 0; i < ARRAY_SIZE(opts) && !check_failed; i++) {
		CHECK_EQ(up(&opts[i], true), 0);
		at = rig.fe->ring[1].mem[2].gpa + (i ? 0 : 4 + 8 * 1024);
		CHECK_EQ(rig_io_new(rig.fe, &io, 100, 3), 0);
		RIG_SET(rig.hold, true);
		usleep(20000);
		fe_log_clear(&dirty);
		CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
		fe_kick(&rig.fe->ring[1]);
		RIG_UNTIL(rig_held_now(&rig) == 1);
		CHECK(marked_soon(at));
		rig_release(&rig);
		CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
		down();
	}
}

/* ---- when it is used ----------------------------------------------------- */

static void only_while_asked(void)
{
	const struct fe_opts opts = { .ring_size = 64 };

	CHECK_EQ(up(&opts, false), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	CHECK_EQ(fe_log_clear(&dirty), 0);
	CHECK_EQ(fe_log_all(rig.fe, true), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	CHECK(fe_log_clear(&dirty) >= 4);
	/* As QEMU says it of each ring; it is in the features already. */
	CHECK_EQ(fe_log_all(rig.fe, false), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	usleep(20000);
	fe_log_clear(&dirty);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	usleep(20000);
	CHECK_EQ(fe_log_clear(&dirty), 0);
	/* A reboot leaves it alone, and a second migration begins anew. */
	CHECK_EQ(rig_reboot(rig.fe), 0);
	CHECK_EQ(fe_log_all(rig.fe, true), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	CHECK(fe_log_clear(&dirty) >= 4);
	down();
}

/* What a request that was under way writes is in the log that came since. */
static void begun_before(void)
{
	const struct fe_opts opts = { .ring_size = 64 };
	unsigned int missed;
	struct rig_io io;

	CHECK_EQ(up(&opts, false), 0);
	RIG_SET(rig.hold, true);
	CHECK_EQ(rig_io_new(rig.fe, &io, 20000, 3), 0);
	CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
	fe_kick(&rig.fe->ring[1]);
	RIG_UNTIL(rig_held_now(&rig) == 1);
	copies_take(rig.fe);
	CHECK_EQ(fe_log_all(rig.fe, true), 0);
	/* Also where its ring was stopped and its answer waits. */
	CHECK_EQ(fe_ring_stop(rig.fe, 1, NULL), 0);
	rig_release(&rig);
	CHECK_EQ(fe_ring_start(rig.fe, 1), 0);
	CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
	usleep(20000);
	CHECK(compare(rig.fe, &missed) >= 6);
	CHECK_EQ(missed, 0);
	down();
}

/* Answers without an end on ring 2, while logs come and go. */
static void *echoes(void *arg)
{
	int *result = arg;

	while (!RIG_GET(rig.refuse) && *result == 0)
		*result = rig_echo_once(rig.fe, 2, 1 << 20);
	return NULL;
}

static void replaced_in_use(void)
{
	const struct fe_opts opts = { .ring_size = 64, .queues = 2 };
	struct fe_log old;
	int result = 0;
	pthread_t t;

	CHECK_EQ(up(&opts, true), 0);
	CHECK_EQ(pthread_create(&t, NULL, echoes, &result), 0);
	for (int i = 0; i < 2000 && !check_failed; i++) {
		old = dirty;
		CHECK_EQ(fe_log_open(rig.fe, &dirty, 0), 0);
		/* From the answer on nobody marks anything in the old one. */
		fe_log_clear(&old);
		CHECK(marked_soon(rig.fe->ring[2].mem[2].gpa));
		CHECK_EQ(fe_log_clear(&old), 0);
		fe_log_close(&old);
	}
	RIG_SET(rig.refuse, -EAGAIN);
	pthread_join(t, NULL);
	CHECK_EQ(result, 0);
	down();
}

/* ---- what can't be ------------------------------------------------------- */

static int refused(const struct vhu_log *at, int fd)
{
	const struct fe_opts opts = { .ring_size = 64 };
	int r = rig_open(&rig, 1);

	if (r == 0)
		r = rig_connect(&rig, &opts);
	if (r == 0)
		r = fe_log_base(rig.fe, at, fd);
	rig_hang_up(&rig);
	rig_close(&rig);
	return r;
}

static void impossible(void)
{
	const struct vhu_log bad[] = {
		{ 0, 0 }, { 4096, 1 }, { 1 << 20, 0 }, { 4096, 65536 },
		{ UINT64_MAX, 4096 }, { 1ull << 63, 0 },
	};
	int fd = memfd_create("small", MFD_CLOEXEC), p[2];

	CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
	CHECK_EQ(pipe(p), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(refused(&bad[i], fd), -ECONNRESET);
	CHECK_EQ(refused(&(struct vhu_log){ 4096, 0 }, p[0]), -ECONNRESET);
	close(fd);
	close(p[0]);
	close(p[1]);
}

/* Memory that it has no bit for is not logged, and nothing is harmed. */
static void too_small(void)
{
	const struct fe_opts opts = { .ring_size = 64 };
	/* Bits for the first eight pages of the region. */
	const struct vhu_log at = { .size = 0x8001 };
	static uint8_t bits[65536];
	int fd = memfd_create("small", MFD_CLOEXEC);

	CHECK(fd >= 0 && ftruncate(fd, sizeof(bits)) == 0);
	CHECK_EQ(up(&opts, true), 0);
	CHECK_EQ(rig.fe->region[0].gpa, 0x8000ull * 8 * FE_PAGE);
	CHECK_EQ(fe_log_base(rig.fe, &at, fd), 0);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	CHECK_EQ(pread(fd, bits, sizeof(bits), 0), sizeof(bits));
	CHECK(bits[0x8000]);
	for (unsigned int i = 0x8001; i < sizeof(bits); i++)
		CHECK_EQ(bits[i], 0);
	close(fd);
	down();
}

/* A log whose file is cut is lost; the guest goes on. */
static void file_cut(void)
{
	const struct fe_opts opts = { .ring_size = 64 };

	CHECK_EQ(up(&opts, true), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	CHECK_EQ(ftruncate(dirty.fd, 0), 0);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(rig_echo_once(rig.fe, 1, 9000), 0);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_MEMORY_LOST]) == 1);
	down();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "all that is written is marked", all_that_is_written },
		{ "an answer across two regions", across_regions },
		{ "the event index", event_index },
		{ "only while it is asked for", only_while_asked },
		{ "a request that began before", begun_before },
		{ "replaced while it is used", replaced_in_use },
		{ "a log that can't be is refused", impossible },
		{ "a log smaller than the memory", too_small },
		{ "a log whose file is cut", file_cut },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
