/* SPDX-License-Identifier: MIT */
/*
 * Checks of guest memory: can it be provided?
 *
 * The kernel reports failures late and without detail: with too few huge pages
 * mmap() fails with "Cannot allocate memory", and a tmpfs that is too small
 * ends the guest by SIGBUS an hour later. So each limit is read and compared
 * before anything starts; the message has the needed number, the available
 * number, and the command that mends it. This is a snapshot: if another process
 * takes the memory first, mem_create() fails with the same message.
 *
 * Checked are: huge pages (free less reserved, plus possible surplus, and the
 * hugetlb limit of each control group), free space of the file system, RAM and
 * swap, MemAvailable, memory.max of the control groups, RLIMIT_AS and
 * RLIMIT_FSIZE.
 */
#include "memback/memback.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "memback/internal.h"

struct mem_roots mem_roots = {"/proc", "/sys", "/sys/fs/cgroup"};

struct report {
	struct mem_problem *list;
	unsigned int count;
};

static void add(struct report *r, bool fatal, const char *hint, const char *fmt,
		...) PRINTF_LIKE(4, 5);

static void add(struct report *r, bool fatal, const char *hint, const char *fmt,
		...)
{
	struct mem_problem *p;
	va_list ap;

	if (r->count == MEM_MAX_PROBLEMS)
		return;
	p = &r->list[r->count++];
	p->fatal = fatal;
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
	snprintf(p->hint, sizeof(p->hint), "%s", hint);
}

/* A buffer for a size such as "2 GiB"; one for each size in a message. */
struct size_text {
	char buf[32];
};

static const char *words(struct size_text *t, uint64_t bytes)
{
	return format_size(t->buf, sizeof(t->buf), bytes);
}

int mem_read_number(const char *path, uint64_t *value)
{
	char text[64];
	FILE *f = fopen(path, "re");
	int err;

	if (!f)
		return -errno;
	err = fgets(text, sizeof(text), f) ? 0 : -EIO;
	fclose(f);
	if (err)
		return err;
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, 0, UINT64_MAX, value);
}

/* The value of "KEY:  N kB" in /proc/meminfo, in bytes; 0 if it is missing. */
static uint64_t meminfo(const char *key)
{
	char path[256], line[128];
	uint64_t kib = 0;
	size_t len = strlen(key);
	FILE *f;

	snprintf(path, sizeof(path), "%s/meminfo", mem_roots.proc);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			kib = strtoull(line + len + 1, NULL, 10);
			break;
		}
	}
	if (f)
		fclose(f);
	return kib << 10;
}

/* ---- huge pages --------------------------------------------------------- */

static void huge_path(char *buf, size_t size, uint64_t page, const char *file)
{
	snprintf(buf, size, "%s/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s",
		 mem_roots.sys, page >> 10, file);
}

uint64_t mem_huge_size(const struct mem_spec *spec)
{
	uint64_t page =
		spec->page_size ? spec->page_size : meminfo("Hugepagesize");
	char path[256];

	huge_path(path, sizeof(path), page, "nr_hugepages");
	return page && !access(path, F_OK) ? page : 0;
}

struct huge_pool {
	uint64_t total, free, reserved, surplus, overcommit;
};

static int read_pool(uint64_t page, struct huge_pool *pool)
{
	const struct {
		const char *file;
		uint64_t *value;
	} fields[] = {
		{"nr_hugepages", &pool->total},
		{"free_hugepages", &pool->free},
		{"resv_hugepages", &pool->reserved},
		{"surplus_hugepages", &pool->surplus},
		{"nr_overcommit_hugepages", &pool->overcommit},
	};
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		int err;

		huge_path(path, sizeof(path), page, fields[i].file);
		err = mem_read_number(path, fields[i].value);
		if (err)
			return err;
	}
	return 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void huge_hint(char *hint, size_t size, uint64_t page, uint64_t needed,
		      const struct huge_pool *pool)
{
	uint64_t used = less(pool->total, less(pool->free, pool->reserved));
	char path[160];

	if (page == meminfo("Hugepagesize")) {
		snprintf(hint, size, "sudo sysctl vm.nr_hugepages=%" PRIu64,
			 used + needed);
		return;
	}
	huge_path(path, sizeof(path), page, "nr_hugepages");
	snprintf(hint, size, "echo %" PRIu64 " | sudo tee %s%s", used + needed,
		 path,
		 page >= UINT64_C(1) << 30
			 ? " (or boot the host with hugepagesz=1G hugepages=N)"
			 : "");
}

/* Control groups write the page size in its largest unit: 1GB, 2MB, 64KB. */
static void huge_group_file(char *buf, size_t size, uint64_t page,
			    const char *what)
{
	static const char units[] = "KMG";
	unsigned int unit = 0;

	for (page >>= 10; page >= 1024 && units[unit + 1]; page >>= 10)
		unit++;
	snprintf(buf, size, "hugetlb.%" PRIu64 "%cB.%s", page, units[unit],
		 what);
}

/* Defined below; here for hugetlb.SIZE.max. */
static uint64_t cgroup_free(const char *limit_file, const char *used_file,
			    char *where, size_t where_size);

static void check_huge(struct report *r, const struct mem_spec *spec,
		       uint64_t total)
{
	uint64_t page = mem_huge_size(spec), needed, usable, left;
	struct size_text want, one;
	struct huge_pool pool;
	char hint[256], max[64], current[64], group[192];

	if (!page) {
		add(r, true,
		    "ls /sys/kernel/mm/hugepages shows the sizes it "
		    "has",
		    "this host has no huge pages%s%s",
		    spec->page_size ? " of " : "",
		    spec->page_size ? words(&one, spec->page_size) : "");
		return;
	}
	if (read_pool(page, &pool))
		return; /* not readable: mem_create() will report it */
	needed = (total + page - 1) / page;
	words(&one, page);
	words(&want, needed * page);
	usable = less(pool.free, pool.reserved) +
		 less(pool.overcommit, pool.surplus);
	if (usable < needed) {
		huge_hint(hint, sizeof(hint), page, needed, &pool);
		add(r, true, hint,
		    "%s of guest memory needs %" PRIu64
		    " huge pages of %s; %" PRIu64 " are free (%" PRIu64
		    " total)",
		    want.buf, needed, one.buf, usable, pool.total);
	}
	huge_group_file(max, sizeof(max), page, "max");
	huge_group_file(current, sizeof(current), page, "current");
	left = cgroup_free(max, current, group, sizeof(group));
	if (left < needed * page)
		add(r, true, "",
		    "%s of guest memory in huge pages is more "
		    "than control group %s allows (%s left of %s)",
		    want.buf, group, words(&one, left), max);
}

/* ---- control groups ----------------------------------------------------- */

/* Least of limit - used, from this group to the root; UINT64_MAX: no limit. */
static uint64_t cgroup_free(const char *limit_file, const char *used_file,
			    char *where, size_t where_size)
{
	uint64_t least = UINT64_MAX, limit = 0, used = 0;
	char group[4096], path[4608], *slash;

	if (!mem_own_group("", group, sizeof(group)))
		group[0] = '\0';
	snprintf(where, where_size, "/");
	while (group[0]) {
		snprintf(path, sizeof(path), "%s%s/%s", mem_roots.cgroup, group,
			 limit_file);
		if (!mem_read_number(path, &limit)) { /* not "max" */
			snprintf(path, sizeof(path), "%s%s/%s",
				 mem_roots.cgroup, group, used_file);
			if (mem_read_number(path, &used))
				used = 0;
			if (less(limit, used) < least) {
				least = less(limit, used);
				snprintf(where, where_size, "%s", group);
			}
		}
		slash = strrchr(group, '/');
		*(slash ? slash : group) = '\0';
	}
	return least;
}

/* ---- plain memory and files --------------------------------------------- */

static void check_ram(struct report *r, uint64_t total, bool prealloc)
{
	uint64_t ram = meminfo("MemTotal"), swap = meminfo("SwapTotal");
	uint64_t available = meminfo("MemAvailable"), left;
	struct size_text want, have, more;
	char group[192];

	words(&want, total);
	if (ram && total > ram + swap) {
		add(r, true, "give less with --memory",
		    "memory %s exceeds this host's %s RAM and %s swap",
		    want.buf, words(&have, ram), words(&more, swap));
		return;
	}
	if (available && total > available)
		add(r, false, "",
		    "memory %s is more than the %s that this "
		    "host has available now",
		    want.buf, words(&have, available));
	left = cgroup_free("memory.max", "memory.current", group,
			   sizeof(group));
	if (left < total)
		add(r, prealloc,
		    "raise memory.max of that group, or give "
		    "less with --memory",
		    "memory %s is more than control "
		    "group %s allows (%s left of memory.max)",
		    want.buf, group, words(&have, left));
}

static void check_file(struct report *r, const struct mem_spec *spec,
		       uint64_t total)
{
	struct size_text want, have;
	struct statvfs fs;
	struct stat st;
	char hint[256];
	uint64_t left;

	if (stat(spec->dir, &st) || statvfs(spec->dir, &fs)) {
		add(r, true, "", "memory-type file=%s: %s", spec->dir,
		    errno == ENOENT ? "no such directory" : strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		add(r, true, "give the directory to make the file in",
		    "memory-type file=%s: is not a directory", spec->dir);
		return;
	}
	if (faccessat(AT_FDCWD, spec->dir, W_OK | X_OK, AT_EACCESS))
		add(r, true, "", "memory-type file=%s: %s", spec->dir,
		    strerror(errno));
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (left >= total)
		return;
	snprintf(hint, sizeof(hint),
		 "use --memory-type memfd (default), or "
		 "mount -o remount,size=%" PRIu64 "M %s if it is a tmpfs",
		 (total + total / 4) >> 20, spec->dir);
	add(r, true, hint,
	    "%s has %s free, %s needed; the guest would die "
	    "of SIGBUS later",
	    spec->dir, words(&have, left), words(&want, total));
}

static void check_rlimit(struct report *r, uint64_t total,
			 const struct rlimit *rl, const char *name,
			 const char *hint)
{
	struct size_text want, have;

	if (rl->rlim_cur != RLIM_INFINITY && rl->rlim_cur < total)
		add(r, true, hint, "memory %s is more than %s allows (%s)",
		    words(&want, total), name, words(&have, rl->rlim_cur));
}

static void check_rlimits(struct report *r, uint64_t total)
{
	struct rlimit rl;

	if (!getrlimit(RLIMIT_AS, &rl))
		check_rlimit(r, total, &rl, "RLIMIT_AS",
			     "ulimit -v unlimited");
	if (!getrlimit(RLIMIT_FSIZE, &rl))
		check_rlimit(r, total, &rl, "RLIMIT_FSIZE",
			     "ulimit -f unlimited");
}

unsigned int mem_check(const struct mem_spec *spec, uint64_t total,
		       struct mem_problem *problems)
{
	struct report r = {.list = problems};

	if (spec->type == MEM_HUGEPAGES)
		check_huge(&r, spec, total);
	else if (spec->type == MEM_FILE)
		check_file(&r, spec, total);
	else
		check_ram(&r, total, spec->prealloc);
	check_rlimits(&r, total);
	return r.count;
}
