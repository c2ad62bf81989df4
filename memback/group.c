/* SPDX-License-Identifier: MIT */
/*
 * How much memory our control groups allow: memory.max of the unified
 * hierarchy, memory.limit_in_bytes of the older one where memory is still
 * there. A group's limit holds for all below it, so the least one from ours up
 * to the top counts. In a container the paths in /proc/self/cgroup may be the
 * host's, of which only the top is mounted: what is not there is passed over.
 */
#include "memback/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NO_LIMIT	(UINT64_C(1) << 60)	/* so much is none */

/* Is @name one of the comma-separated @list? */
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
	/* "4:memory:/path", or "0::/path" of the unified one */
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

uint64_t mem_group_limit(char *where, size_t where_size)
{
	const char *file = "memory.limit_in_bytes", *tree = "/memory";
	char group[4096], path[4608], *slash;
	uint64_t least = UINT64_MAX, limit;

	snprintf(where, where_size, "/");
	if (!mem_own_group("memory", group, sizeof(group))) {
		file = "memory.max";
		tree = "";
		if (!mem_own_group("", group, sizeof(group)))
			return UINT64_MAX;
	}
	for (;;) {
		snprintf(path, sizeof(path), "%s%s%s/%s", mem_roots.cgroup,
			 tree, group, file);
		/* "max" is none */
		if (!mem_read_number(path, &limit) && limit < NO_LIMIT &&
		    limit < least) {
			least = limit;
			snprintf(where, where_size, "%s",
				 group[0] ? group : "/");
		}
		slash = strrchr(group, '/');
		if (!slash)
			return least;
		*slash = '\0';
	}
}
