/* rooms: base memback */
/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: what is made, and what the messages say when it can't be. The
 * host's state is a tree of files of the test's own, except where memory is
 * really made.
 */
#include "memback/memback.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memback/internal.h"
#include "tests/c/check.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static char top[64];
static struct mem_problem problems[MEM_MAX_PROBLEMS];

static void put(const char *path, const char *text)
{
	char full[256], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	for (slash = strchr(full + strlen(top) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	f = fopen(full, "we");
	fputs(text, f);
	fclose(f);
}

static void put_pool(const char *dir, int total, int free_pages, int reserved,
		     int overcommit)
{
	const struct {
		const char *file;
		int n;
	} files[] = {
		{"nr_hugepages", total},
		{"free_hugepages", free_pages},
		{"resv_hugepages", reserved},
		{"surplus_hugepages", 0},
		{"nr_overcommit_hugepages", overcommit},
	};
	char path[256], text[16];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "sys/kernel/mm/hugepages/%s/%s",
			 dir, files[i].file);
		snprintf(text, sizeof(text), "%d\n", files[i].n);
		put(path, text);
	}
}

/* A host with 4 GiB, 128 pages of 2 MiB, and the group /a/b. */
static void fake_host(void)
{
	static char proc[96], sys[96], cgroup[96];

	snprintf(proc, sizeof(proc), "%s/proc", top);
	snprintf(sys, sizeof(sys), "%s/sys", top);
	snprintf(cgroup, sizeof(cgroup), "%s/cgroup", top);
	mem_roots = (struct mem_roots){proc, sys, cgroup};
	put("proc/meminfo",
	    "MemTotal:        4194304 kB\n"
	    "MemFree:          100000 kB\nMemAvailable:    2097152 kB\n"
	    "SwapTotal:       1048576 kB\nHugepagesize:       2048 kB\n");
	put("proc/self/cgroup", "1:name=x:/z\n0::/a/b\n");
	put("cgroup/a/b/memory.max", "max\n");
	put("cgroup/a/memory.max", "max\n");
	put("cgroup/a/hugetlb.2MB.max", "max\n");
	put_pool("hugepages-2048kB", 128, 128, 0, 0);
	put_pool("hugepages-1048576kB", 1, 1, 1, 0);
}

static void real_host(void)
{
	mem_roots = (struct mem_roots){"/proc", "/sys", "/sys/fs/cgroup"};
}

static void huge_pages_short(void)
{
	struct mem_spec spec = {.type = MEM_HUGEPAGES};

	fake_host();
	CHECK_EQ(mem_check(&spec, 256 * MIB, problems), 0);
	CHECK_EQ(mem_check(&spec, 2 * GIB, problems), 1);
	CHECK(problems[0].fatal);
	CHECK_STR(problems[0].text, "2 GiB of guest memory needs 1024 huge "
				    "pages of 2 MiB; 128 are free (128 total)");
	CHECK_STR(problems[0].hint, "sudo sysctl vm.nr_hugepages=1024");
	/* pages in use by others stay theirs; surplus may be made */
	put_pool("hugepages-2048kB", 128, 100, 20, 30);
	CHECK_EQ(mem_check(&spec, 220 * MIB, problems), 0);
	CHECK_EQ(mem_check(&spec, 222 * MIB, problems), 1);
	CHECK_STR(problems[0].hint, "sudo sysctl vm.nr_hugepages=159");
}

static void huge_pages_of_other_sizes(void)
{
	struct mem_spec spec = {.type = MEM_HUGEPAGES, .page_size = GIB};

	fake_host();
	CHECK_EQ(mem_check(&spec, GIB, problems), 1);
	CHECK_STR(problems[0].text, "1 GiB of guest memory needs 1 huge "
				    "pages of 1 GiB; 0 are free (1 total)");
	CHECK(strstr(problems[0].hint, "echo 2 | sudo tee "));
	CHECK(strstr(problems[0].hint, "hugepages-1048576kB/nr_hugepages"));
	spec.page_size = 16 * MIB;
	CHECK_EQ(mem_check(&spec, GIB, problems), 1);
	CHECK_STR(problems[0].text, "this host has no huge pages of 16 MiB");
}

static void huge_pages_of_a_group(void)
{
	struct mem_spec spec = {.type = MEM_HUGEPAGES};

	fake_host();
	put("cgroup/a/hugetlb.2MB.max", "104857600\n");
	put("cgroup/a/hugetlb.2MB.current", "4194304\n");
	CHECK_EQ(mem_check(&spec, 96 * MIB, problems), 0);
	CHECK_EQ(mem_check(&spec, 98 * MIB, problems), 1);
	CHECK_STR(problems[0].text,
		  "98 MiB of guest memory in huge pages is "
		  "more than control group /a allows (96 MiB left of "
		  "hugetlb.2MB.max)");
	/* Sizes of 64-bit Arm, and the largest here. */
	put_pool("hugepages-64kB", 4096, 4096, 0, 0);
	put_pool("hugepages-32768kB", 16, 16, 0, 0);
	put_pool("hugepages-1048576kB", 1, 1, 0, 0);
	put("cgroup/a/hugetlb.64KB.max", "0\n");
	put("cgroup/a/hugetlb.32MB.max", "0\n");
	put("cgroup/a/hugetlb.1GB.max", "0\n");
	spec.page_size = 64 * 1024;
	CHECK_EQ(mem_check(&spec, MIB, problems), 1);
	CHECK(strstr(problems[0].text, "hugetlb.64KB.max"));
	spec.page_size = 32 * MIB;
	CHECK_EQ(mem_check(&spec, 32 * MIB, problems), 1);
	CHECK(strstr(problems[0].text, "hugetlb.32MB.max"));
	spec.page_size = GIB;
	CHECK_EQ(mem_check(&spec, GIB, problems), 1);
	CHECK(strstr(problems[0].text, "hugetlb.1GB.max"));
}

static void more_than_the_host(void)
{
	struct mem_spec spec = {.type = MEM_MEMFD};

	fake_host();
	CHECK_EQ(mem_check(&spec, GIB, problems), 0);
	CHECK_EQ(mem_check(&spec, 3 * GIB, problems), 1);
	CHECK(!problems[0].fatal);
	CHECK_STR(problems[0].text, "memory 3 GiB is more than the 2 GiB that "
				    "this host has available now");
	CHECK_EQ(mem_check(&spec, 64 * GIB, problems), 1);
	CHECK(problems[0].fatal);
	CHECK_STR(problems[0].text, "memory 64 GiB exceeds this host's 4 GiB "
				    "RAM and 1 GiB swap");
}

static void more_than_the_group(void)
{
	struct mem_spec spec = {.type = MEM_MEMFD};

	fake_host();
	put("cgroup/a/memory.max", "1073741824\n");
	put("cgroup/a/memory.current", "536870912\n");
	CHECK_EQ(mem_check(&spec, GIB, problems), 1);
	CHECK(!problems[0].fatal);
	CHECK_STR(problems[0].text, "memory 1 GiB is more than control group "
				    "/a allows (512 MiB left of memory.max)");
	spec.prealloc = true;
	CHECK_EQ(mem_check(&spec, GIB, problems), 1);
	CHECK(problems[0].fatal);
}

static void file_without_room(void)
{
	struct mem_spec spec = {.type = MEM_FILE, .dir = top};
	char none[96];

	real_host();
	CHECK_EQ(mem_check(&spec, 4096 * GIB, problems), 1);
	CHECK(problems[0].fatal);
	CHECK(strstr(problems[0].text, "the guest would die of SIGBUS later"));
	CHECK(strstr(problems[0].text, "4 TiB needed"));
	snprintf(none, sizeof(none), "%s/none", top);
	spec.dir = none;
	CHECK_EQ(mem_check(&spec, MIB, problems), 1);
	CHECK(strstr(problems[0].text, "/none: no such directory"));
}

/* What a limit does can only be seen from inside it. */
static void resource_limits(void)
{
	struct mem_spec spec = {.type = MEM_MEMFD};
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct rlimit rl = {MIB, MIB};

		real_host();
		setrlimit(RLIMIT_FSIZE, &rl);
		if (mem_check(&spec, 64 * MIB, problems) != 1)
			_exit(1);
		_exit(strcmp(problems[0].text, "memory 64 MiB is more than "
					       "RLIMIT_FSIZE allows (1 MiB)")
			      ? 2
			      : 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static uint64_t told;

static void progress(void *ctx, uint64_t done, uint64_t total)
{
	(void)ctx;
	if (done >= told && done <= total)
		told = done;
}

static void memfd(void)
{
	struct mem_spec spec = {.type = MEM_MEMFD, .prealloc = true};
	struct mem_problem problem;
	struct stat st;
	int fd = -1;

	real_host();
	told = 0;
	CHECK_EQ(mem_create(&spec, 192 * MIB, 0, progress, NULL, &fd, &problem),
		 0);
	CHECK_EQ(told, 192 * MIB);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 192 * MIB);
	CHECK_EQ(st.st_blocks * 512, 192 * MIB);
	CHECK_EQ(ftruncate(fd, 4096), -1);
	CHECK_EQ(errno, EPERM);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	spec.prealloc = false;
	CHECK_EQ(mem_create(&spec, GIB, 1, NULL, NULL, &fd, &problem), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_blocks, 0);
	close(fd);
}

static void file_leaves_nothing(void)
{
	struct mem_spec spec = {.type = MEM_FILE};
	struct mem_problem problem;
	char dir[96];
	struct stat st;
	int fd = -1;

	real_host();
	snprintf(dir, sizeof(dir), "%s/ram", top);
	CHECK_EQ(mkdir(dir, 0700), 0);
	spec.dir = dir;
	CHECK_EQ(mem_create(&spec, 8 * MIB, 0, NULL, NULL, &fd, &problem), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 0);
	CHECK(st.st_blocks * 512 >= (blkcnt_t)(8 * MIB));
	CHECK_EQ(rmdir(dir), 0);
	close(fd);
	CHECK_EQ(mem_create(&spec, MIB, 0, NULL, NULL, &fd, &problem), -ENOENT);
	CHECK(strstr(problem.text, "/ram can't be made: No such file"));
}

static void huge_pages(void)
{
	struct mem_spec spec = {.type = MEM_HUGEPAGES};
	struct mem_problem problem;
	struct stat st;
	int fd = -1;

	real_host();
	if (mem_check(&spec, 8 * MIB, problems))
		SKIP("no huge pages are free");
	CHECK_EQ(mem_create(&spec, 8 * MIB, 0, NULL, NULL, &fd, &problem), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 8 * MIB);
	CHECK_EQ(st.st_blksize, mem_huge_size(&spec));
	close(fd);
}

/* The least limit from our group up, in either tree. */
static void limit_of_groups(void)
{
	char where[64];

	fake_host();
	CHECK(mem_group_limit(where, sizeof(where)) == UINT64_MAX);
	put("cgroup/a/memory.max", "1073741824\n");
	CHECK_EQ(mem_group_limit(where, sizeof(where)), GIB);
	CHECK_STR(where, "/a");
	/* Where memory is in a tree of its own, that one counts. */
	put("proc/self/cgroup", "9:name=memory:/\n8:cpu,memory:/c/d\n0::/a\n");
	put("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("cgroup/memory/c/memory.limit_in_bytes", "1048576\n");
	put("cgroup/memory/c/d/memory.limit_in_bytes", "25165824\n");
	CHECK_EQ(mem_group_limit(where, sizeof(where)), MIB);
	CHECK_STR(where, "/c");
	/* As in a container: the path is the host's. */
	put("proc/self/cgroup", "8:memory:/docker/xyz\n");
	put("cgroup/memory/memory.limit_in_bytes", "2097152\n");
	CHECK_EQ(mem_group_limit(where, sizeof(where)), 2 * MIB);
	CHECK_STR(where, "/");
	put("proc/self/cgroup", "1:name=x:/\n");
	CHECK(mem_group_limit(where, sizeof(where)) == UINT64_MAX);
}

/* The kernel's count of those that it killed in our group. */
static void kills_of_group(void)
{
	int fd;

	fake_host();
	CHECK_EQ(mem_group_events(), -ENOENT);
	CHECK_EQ(mem_group_kills(-ENOENT), 0);
	/* A group that accounts for nothing: the one above does. */
	put("cgroup/a/memory.events", "low 0\noom 7\noom_kill 5\n");
	fd = mem_group_events();
	CHECK(fd >= 0);
	CHECK_EQ(mem_group_kills(fd), 5);
	put("cgroup/a/memory.events", "oom_kill 6\noom_group_kill 9\n");
	CHECK_EQ(mem_group_kills(fd), 6);
	put("cgroup/a/memory.events", "oom_kill x\n");
	CHECK_EQ(mem_group_kills(fd), 0);
	close(fd);
	/* The older tree. */
	put("proc/self/cgroup", "8:cpu,memory:/c/d\n0::/a\n");
	put("cgroup/memory/c/d/memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 12\n");
	fd = mem_group_events();
	CHECK_EQ(mem_group_kills(fd), 12);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"huge_pages_short", huge_pages_short},
		{"huge_pages_of_other_sizes", huge_pages_of_other_sizes},
		{"huge_pages_of_a_group", huge_pages_of_a_group},
		{"more_than_the_host", more_than_the_host},
		{"more_than_the_group", more_than_the_group},
		{"limit_of_groups", limit_of_groups},
		{"the kernel's kills in our group are counted", kills_of_group},
		{"file_without_room", file_without_room},
		{"resource_limits", resource_limits},
		{"memfd", memfd},
		{"file_leaves_nothing", file_leaves_nothing},
		{"huge_pages", huge_pages},
	};
	char clean[96];
	int failed;

	snprintf(top, sizeof(top), "/tmp/test-memback-XXXXXX");
	if (!mkdtemp(top))
		return 1;
	failed = check_main(cases, ARRAY_SIZE(cases), argc, argv);
	snprintf(clean, sizeof(clean), "rm -rf %s", top);
	return system(clean) ? 1 : failed;
}
