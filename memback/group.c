/* SPDX-License-Identifier: MIT */
/*
 * The memory limit of this process's control groups: memory.max of the unified
 * hierarchy, or memory.limit_in_bytes where memory is in one of version 1. A
 * limit applies to all groups below, so the result is the least one from this
 * process's group up to the top. In a container the paths in /proc/self/cgroup
 * may be the host's, while only the top is mounted: missing groups are skipped.
 *
 * Also how many processes of a group the kernel killed for lack of memory:
 * "oom_kill" in memory.events or memory.oom_control. The kernel counts before
 * it kills, so the number is up to date after a wait for the process.
 */
#include "memback/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NO_LIMIT	(UINT64_C(1) << 60)	/* from here on: no limit */

/* Is @name in the comma-separated @list? */
static bool lists(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (*list) {
		size_t word = strcspn(list, ",");

		if (word == len && strncmp(list, name, len) == 0)
			return true;
		list += word + (list[word] == ',');
	}
	return false;
}

bool mem_own_group(const char *controller, char *buf, size_t size)
{
	char path[256], line[4096], *list, *group;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/self/cgroup", mem_roots.proc);
	f = fopen(path, "re");
	/* "4:memory:/path", or "0::/path" for the unified hierarchy */
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		list = strchr(line, ':');
		group = list ? strchr(list + 1, ':') : NULL;
		if (!group)
			continue;
		*group++ = '\0';
		found = controller[0] ? lists(list + 1, controller) :
					list[1] == '\0';
		if (found)
			snprintf(buf, size, "%s", group);
	}
	if (f)
		fclose(f);
	return found;
}

/* Where memory is accounted for: the unified tree, or that of version 1. */
struct memory_group {
	const char *tree;		/* below mem_roots.cgroup */
	const char *limit, *events;	/* names of files */
	char path[4096];		/* of the group, from the tree's top */
};

static bool memory_group(struct memory_group *g)
{
	g->tree = "/memory";
	g->limit = "memory.limit_in_bytes";
	g->events = "memory.oom_control";
	if (mem_own_group("memory", g->path, sizeof(g->path)))
		return true;
	g->tree = "";
	g->limit = "memory.max";
	g->events = "memory.events";
	return mem_own_group("", g->path, sizeof(g->path));
}

static void file_of(const struct memory_group *g, const char *file, char *path,
		    size_t size)
{
	snprintf(path, size, "%s%s%s/%s", mem_roots.cgroup, g->tree, g->path,
		 file);
}

/* Go to the group above; false at the top. */
static bool go_up(struct memory_group *g)
{
	char *slash = strrchr(g->path, '/');

	if (slash)
		*slash = '\0';
	return slash;
}

uint64_t mem_group_limit(char *where, size_t where_size)
{
	uint64_t least = UINT64_MAX, limit;
	struct memory_group g;
	char path[4608];

	snprintf(where, where_size, "/");
	if (!memory_group(&g))
		return UINT64_MAX;
	do {
		file_of(&g, g.limit, path, sizeof(path));
		/* "max" is no number: no limit */
		if (!mem_read_number(path, &limit) && limit < NO_LIMIT &&
		    limit < least) {
			least = limit;
			snprintf(where, where_size, "%s",
				 g.path[0] ? g.path : "/");
		}
	} while (go_up(&g));
	return least;
}

int mem_group_events(void)
{
	struct memory_group g;
	char path[4608];
	int fd = -1;

	if (!memory_group(&g))
		return -ENOENT;
	/* The first group, going up, that has the file. */
	do {
		file_of(&g, g.events, path, sizeof(path));
		fd = open(path, O_RDONLY | O_CLOEXEC);
	} while (fd < 0 && go_up(&g));
	return fd < 0 ? -ENOENT : fd;
}

uint64_t mem_group_kills(int fd)
{
	static const char key[] = "oom_kill ";
	char text[512], *line, *rest = text;
	uint64_t kills = 0;
	ssize_t n = 0;

	/* Not pread(): a keeper's system call filter allows these two. */
	if (fd >= 0 && lseek(fd, 0, SEEK_SET) == 0)
		n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	while ((line = strsep(&rest, "\n")))
		if (strncmp(line, key, strlen(key)) == 0)
			(void)parse_u64(line + strlen(key), 0, UINT64_MAX,
					&kills);
	return kills;
}
