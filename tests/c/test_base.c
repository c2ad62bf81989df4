/* rooms: base */
/* SPDX-License-Identifier: MIT */
/*
 * base/: sizes and durations as people write them, cursors over scattered
 * memory, escaped guest bytes, and an arena that is found again.
 */

#include "base/base.h"
#include "tests/c/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void sizes(void)
{
	static const struct {
		const char *text;
		int err;
		uint64_t bytes;
	} cases[] = {
		{"4096", 0, 4096},
		{"512M", 0, 512ull << 20},
		{"512m", 0, 512ull << 20},
		{"1.5G", 0, 3ull << 29},
		{"2GiB", 0, 2ull << 30},
		{"10KB", 0, 10240},
		{"15E", 0, 15ull << 60},
		{"16E", -ERANGE, 0},
		{"99999999999999999999", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"1.5", -EINVAL, 0},
		{"1.G", -EINVAL, 0},
		{"1Q", -EINVAL, 0},
		{"1Gx", -EINVAL, 0},
		{" 1G", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 77;

		CHECK_EQ(parse_size(cases[i].text, &v), cases[i].err);
		CHECK_EQ(v, cases[i].err ? 77 : cases[i].bytes);
	}
}

static void sizes_back(void)
{
	char buf[32];

	CHECK_STR(format_size(buf, sizeof(buf), 2ull << 30), "2 GiB");
	CHECK_STR(format_size(buf, sizeof(buf), 2040109466), "1.9 GiB");
	CHECK_STR(format_size(buf, sizeof(buf), 655360), "640 KiB");
	CHECK_STR(format_size(buf, sizeof(buf), 12), "12 bytes");
	CHECK_STR(format_size(buf, sizeof(buf), UINT64_MAX), "15.9 EiB");
}

static void durations(void)
{
	uint64_t ms = 0;
	bool b = false;

	CHECK_EQ(parse_duration("10", &ms), 0);
	CHECK_EQ(ms, 10000);
	CHECK_EQ(parse_duration("250ms", &ms), 0);
	CHECK_EQ(ms, 250);
	CHECK_EQ(parse_duration("2m", &ms), 0);
	CHECK_EQ(ms, 120000);
	CHECK_EQ(parse_duration("2d", &ms), -EINVAL);
	CHECK_EQ(parse_duration("99999999999999999h", &ms), -ERANGE);
	CHECK_EQ(parse_bool("On", &b), 0);
	CHECK(b);
	CHECK_EQ(parse_bool("no", &b), 0);
	CHECK(!b);
	CHECK_EQ(parse_bool("maybe", &b), -EINVAL);
}

static void numbers(void)
{
	uint64_t v = 0;

	CHECK_EQ(parse_u64("64", 1, 64, &v), 0);
	CHECK_EQ(v, 64);
	CHECK_EQ(parse_u64("65", 1, 64, &v), -ERANGE);
	CHECK_EQ(parse_u64("0x10", 0, 64, &v), -EINVAL);
	CHECK_EQ(parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	CHECK_EQ(v, UINT64_MAX);
}

static void nearest(void)
{
	static const char *const names[] = {"queue-size", "queues", "cache",
					    "memory", NULL};

	CHECK_STR(parse_nearest("qeue-size", names), "queue-size");
	CHECK_STR(parse_nearest("memroy", names), "memory");
	CHECK_STR(parse_nearest("mem", names), "memory");
	CHECK(parse_nearest("me", names) == NULL);
	CHECK(parse_nearest("zebra", names) == NULL);
	CHECK(parse_nearest("bahe", names) == NULL);
}

static void escapes(void)
{
	char buf[16];

	CHECK_STR(log_escape(buf, sizeof(buf), "plain", 5), "plain");
	CHECK_STR(log_escape(buf, sizeof(buf), "a\x1b[1m", 5), "a\\x1b[1m");
	CHECK_STR(log_escape(buf, sizeof(buf), "\n\n\n\n\n", 5),
		  "\\x0a\\x0a\\x0a...");
	CHECK_STR(log_escape(buf, sizeof(buf), "0123456789abcdefgh", 18),
		  "0123456789ab...");
	CHECK_STR(log_escape(buf, sizeof(buf), "0123456789abcde", 15),
		  "0123456789abcde");
	CHECK_STR(log_escape(buf, 1, "abc", 3), "");
}

static void cursors(void)
{
	char a[3], b[5], c[4], back[16];
	struct iovec iov[] = {{a, 3}, {b, 5}, {NULL, 0}, {c, 4}}, out[4];
	struct iov_cursor cur;

	CHECK_EQ(iov_total(iov, 4), 12);
	iov_init(&cur, iov, 4);
	CHECK_EQ(iov_write(&cur, "0123456789abXYZ", 15), 12);
	CHECK(memcmp(a, "012", 3) == 0 && memcmp(c, "89ab", 4) == 0);
	iov_init(&cur, iov, 4);
	CHECK_EQ(iov_skip(&cur, 2), 2);
	CHECK_EQ(iov_read(&cur, back, 8), 8);
	CHECK(memcmp(back, "23456789", 8) == 0);
	CHECK_EQ(iov_slice(&cur, 99, out, 4), 1);
	CHECK(out[0].iov_base == c + 2 && out[0].iov_len == 2);
	iov_init(&cur, iov, 4);
	CHECK_EQ(iov_slice(&cur, 99, out, 1), 1);
	CHECK_EQ(out[0].iov_len, 3);
	CHECK_EQ(iov_slice(&cur, 7, out, 4), 2);
	CHECK_EQ(out[1].iov_len, 2);
}

static void neighbours(void)
{
	char mem[32];
	struct iovec iov[] = {{mem, 8}, {mem + 8, 8}, {mem + 24, 8}}, out[3];
	struct iov_cursor cur;

	iov_init(&cur, iov, 3);
	CHECK_EQ(iov_slice(&cur, 24, out, 3), 2);
	CHECK_EQ(out[0].iov_len, 16);
	CHECK(out[1].iov_base == mem + 24);
}

static void arena_again(void)
{
	struct arena *arena = NULL, *other = NULL;
	uint64_t size = 5000, none = 0;
	void *mem = NULL, *same = NULL;
	bool fresh = false;
	int status;
	pid_t pid;

	CHECK_EQ(arena_create(&arena, 1ull << 32), 0);
	CHECK_EQ(arena_region(arena, ARENA_NODES, 3, &size, &mem, &fresh), 0);
	CHECK(fresh);
	CHECK_EQ(size, 8192);
	pid = fork();
	if (pid == 0) {
		memcpy(mem, "left behind", 12);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK_EQ(arena_attach(&other, dup(arena_fd(arena))), 0);
	CHECK_EQ(arena_region(other, ARENA_NODES, 3, &none, &same, &fresh), 0);
	CHECK(!fresh);
	CHECK_EQ(none, 8192);
	CHECK_STR((char *)same, "left behind");
	CHECK_EQ(arena_region(other, ARENA_NODES, 4, &none, &same, &fresh),
		 -EPROTO);
	none = UINT64_MAX;
	CHECK_EQ(arena_region(other, ARENA_LOCKS, 1, &none, &same, &fresh),
		 -ENOSPC);
	CHECK_EQ(arena_region(other, ARENA_NODES, 3, &none, &same, &fresh), 0);
	arena_release(other, same, 8192);
	CHECK_STR((char *)mem, "");
	arena_close(other);
	arena_close(arena);
}

static void arena_foreign(void)
{
	struct arena *arena = NULL;
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(arena_attach(&arena, fd), -EPROTO);
	close(fd);
}

static void stats_read(void)
{
	static struct stats_slot sum;
	const struct stats *seen = NULL;
	bool taken[STATS_SLOTS] = { false };
	struct stats *mine = NULL;
	unsigned int running;
	int fd = stats_create("vmshare-test", &mine);

	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 4096), -1);
	CHECK_EQ(stats_attach(fd, &seen), 0);
	CHECK_EQ(stats_bucket(0), 0);
	CHECK_EQ(stats_bucket(1), 0);
	CHECK_EQ(stats_bucket(1023), 9);
	CHECK_EQ(stats_bucket(1024), 10);
	CHECK_EQ(stats_bucket(INT64_MAX), STATS_BUCKETS - 1);
	CHECK_EQ(stats_first(seen), STATS_SLOTS);
	for (unsigned int i = 1; i < 100; i++) {
		struct stats_op *op = &stats_take(mine, taken)->op[7];

		stats_add(&op->count, 1, i % 2);
		stats_add(&op->bucket[stats_bucket(i < 90 ? 5000 : 70000)], 1,
			  false);
	}
	CHECK_EQ(stats_first(seen), STATS_SLOTS - 99);
	mine->slot[100].began = 17;
	mine->slot[101].began = 12;
	stats_sum(seen, &sum, &running);
	CHECK_EQ(running, 2);
	CHECK_EQ(sum.began, 12);
	CHECK_EQ(sum.op[7].count, 99);
	CHECK(stats_percentile(&sum.op[7], 500) >= 4096);
	CHECK(stats_percentile(&sum.op[7], 500) < 8192);
	CHECK(stats_percentile(&sum.op[7], 990) >= 65536);
	CHECK(stats_percentile(&sum.op[7], 1000) <= 131072);
	CHECK_EQ(stats_percentile(&sum.op[8], 500), 0);
	mine->version++;
	stats_close(seen);
	CHECK_EQ(stats_attach(fd, &seen), -EPROTO);
	stats_close(mine);
	close(fd);
}

/* What anybody could have under that name: no reader may die of it. */
static void stats_foreign(void)
{
	const struct stats *seen = NULL;
	int fd = memfd_create("vmshare-test", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, sizeof(struct stats)), 0);
	CHECK_EQ(stats_attach(fd, &seen), -EPROTO);
	close(fd);
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(stats_attach(fd, &seen) < 0);
	close(fd);
}

/* Memory that nobody touched is not used, whatever the size of a page. */
static void pages_sparse(void)
{
	const size_t size = 128ul << 20, step = 16ul << 20;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t touched = 0, used = 0;
	unsigned char *here;
	char *mem;

	mem = pages_alloc(size);
	here = malloc(size / page);
	CHECK(mem && here);
	for (size_t at = 0; at < size; at += step, touched++)
		mem[at] = 1;
	CHECK_EQ(mincore(mem, size, here), 0);
	for (size_t i = 0; i < size / page; i++)
		used += here[i] & 1 ? page : 0;
	/* A huge page for each is 2 MiB where a page is 4 KiB. */
	CHECK(used >= touched * page && used <= touched * (2u << 20));
	free(here);
	pages_free(mem, size);
}

/* What is on which side, by the word before it. */
static void id_ranges(void)
{
	static const struct {
		const char *text;
		struct id_range is;
	} good[] = {
		{"0:1000:1", {0, 1000, 1, ID_RANGE}},
		{"map:1:2:3", {1, 2, 3, ID_MAP}},
		{"guest:1:2:3", {1, 2, 3, ID_GUEST}},
		{"host:1:2:3", {2, 1, 3, ID_HOST}},
		{"squash-guest:1:2:3", {1, 2, 3, ID_SQUASH_GUEST}},
		{"squash-host:1:2:3", {2, 1, 3, ID_SQUASH_HOST}},
		{"forbid-guest:1:3", {1, 0, 3, ID_FORBID_GUEST}},
		{"4294967295:0:4294967295", {UINT32_MAX, 0, UINT32_MAX,
					     ID_RANGE}},
	};
	static const char *const bad[] = {
		"", ":", "1:2", "1:2:3:4", "1:2:", ":1:2:3", "-1:0:1",
		"4294967296:0:1", "map:1:2", "forbid-guest:1:2:3",
		"maps:1:2:3", "1:2:3,4:5:6", "0x1:2:3", "99999999999999999:0:1",
	};
	struct id_range r;
	uint32_t ids[2];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		memset(&r, 0, sizeof(r));
		CHECK_EQ(parse_id_range(good[i].text, &r), 0);
		CHECK_EQ(memcmp(&r, &good[i].is, sizeof(r)), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(parse_id_range(bad[i], &r), -EINVAL);
	CHECK_EQ(parse_ids("5", 2, ids), 1);
	CHECK_EQ(parse_ids("5:6", 2, ids), 2);
	CHECK_EQ(ids[1], 6);
	CHECK_EQ(parse_ids("5:6:7", 2, ids), -EINVAL);
}

static void xattr_rules(void)
{
	CHECK_EQ(parse_xattr_map(":ok:all:::"), 0);
	CHECK_EQ(parse_xattr_map("/prefix/all/trusted./user.x./ \n"
				 "/ok/all///"), 0);
	CHECK_EQ(parse_xattr_map(":map::user.virtiofs.:"), 0);
	CHECK_EQ(parse_xattr_map(""), -EINVAL);
	CHECK_EQ(parse_xattr_map(":ok:all::"), -EINVAL);
	CHECK_EQ(parse_xattr_map(":okay:all:::"), -EINVAL);
	CHECK_EQ(parse_xattr_map(":ok:everyone:::"), -EINVAL);
	CHECK_EQ(parse_xattr_map(":map::a.: :ok:all:::"), -EINVAL);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"sizes are read strictly", sizes},
		{"sizes are printed", sizes_back},
		{"durations are read strictly", durations},
		{"numbers are within their limits", numbers},
		{"the nearest word is proposed", nearest},
		{"bytes of others are escaped", escapes},
		{"a cursor moves through pieces", cursors},
		{"adjacent pieces are joined", neighbours},
		{"ranges of ids are read strictly", id_ranges},
		{"rules for attribute names are read strictly", xattr_rules},
		{"an arena is found again", arena_again},
		{"an arena of another version is refused", arena_foreign},
		{"counts are summed while they change", stats_read},
		{"counts of another version are refused", stats_foreign},
		{"untouched pages are not used", pages_sparse},
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
