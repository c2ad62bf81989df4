/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * A server whose control group allows it less memory than its guest would have
 * it use for the files that it looks at. It remembers fewer of them.
 */

#include "attack_rig.h"

#define DIRS	200u
#define FILES	1000u		/* in each */
#define LIMIT	"25165824"	/* 24 MiB, of which 200,000 files take more */

/* The memory controller of either kind, or NULL. */
static const char *group_tree(const char **file)
{
	if (!access("/sys/fs/cgroup/memory/memory.limit_in_bytes", W_OK)) {
		*file = "memory.limit_in_bytes";
		return "/sys/fs/cgroup/memory";
	}
	*file = "memory.max";
	return access("/sys/fs/cgroup/cgroup.subtree_control", W_OK) ? NULL :
	       "/sys/fs/cgroup";
}

static bool put(const char *dir, const char *file, const char *text)
{
	char path[256];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

/* A group of its own for the server; false where none can be made. */
static bool make_group(char *group, size_t size, const char *limit)
{
	const char *file, *tree = group_tree(&file);

	if (!tree)
		return false;
	if (strcmp(file, "memory.max") == 0 &&
	    !put(tree, "cgroup.subtree_control", "+memory"))
		return false;
	snprintf(group, size, "%s/vmshare-test-%d", tree, getpid());
	return mkdir(group, 0755) == 0 && put(group, file, limit);
}

/* In memory: half a million files on a disk would be another test. */
static bool make_tree(void)
{
	char name[32];
	bool ok = true;
	int top_fd, fd;

	snprintf(share, sizeof(share), "/dev/shm/vmshare-cramped.XXXXXX");
	if (!mkdtemp(share))
		return false;
	top_fd = open(share, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (unsigned int d = 0; d < DIRS && ok; d++) {
		snprintf(name, sizeof(name), "d%u", d);
		ok = !mkdirat(top_fd, name, 0755);
		fd = openat(top_fd, name, O_PATH | O_CLOEXEC);
		for (unsigned int f = 0; f < FILES && ok; f++) {
			snprintf(name, sizeof(name), "file-number-%u", f);
			ok = !mknodat(fd, name, S_IFREG | 0644, 0);
		}
		close(fd);
	}
	close(top_fd);
	return ok;
}

/* As a guest that keeps all of them: files that could not be found. */
static unsigned int look_at_all(void)
{
	struct fuse_entry_out dir, e;
	unsigned int missed = 0;
	char name[32];

	for (unsigned int d = 0; d < DIRS; d++) {
		snprintf(name, sizeof(name), "d%u", d);
		if (fe_lookup(fe, ROOT, name, &dir))
			return DIRS * FILES;
		for (unsigned int f = 0; f < FILES; f++) {
			int err;

			snprintf(name, sizeof(name), "file-number-%u", f);
			err = fe_lookup(fe, dir.nodeid, name, &e);
			/* What the guest's kernel does then. */
			if (err == -ESTALE) {
				char up[32];

				snprintf(up, sizeof(up), "d%u", d);
				err = fe_lookup(fe, ROOT, up, &dir);
				if (!err)
					err = fe_lookup(fe, dir.nodeid, name,
							&e);
			}
			missed += err != 0;
		}
	}
	return missed;
}

static void cramped(void)
{
	char group[128], join[256], log[128];
	const char *const words[] = { "sh", "-c", join, "sh", NULL };
	unsigned int missed;
	char command[256];

	if (geteuid() || !make_group(group, sizeof(group), LIMIT))
		SKIP("no control group for memory can be made");
	snprintf(join, sizeof(join),
		 "echo $$ >%s/cgroup.procs && exec \"$@\"", group);
	CHECK_EQ(make_place(false), 0);
	CHECK(make_tree());
	snprintf(log, sizeof(log), "%s/log", top);
	setenv("FE_SERVER_LOG", log, 1);
	CHECK_EQ(serve("rw", words), 0);
	missed = look_at_all();
	CHECK_EQ(missed, 0);
	CHECK_EQ(sh("cat log; ! grep -q 'was killed' log"), 0);
	fe_close(fe);
	fe = NULL;
	fe_server_stop(&server);
	snprintf(command, sizeof(command), "rm -rf %s; rmdir %s", share, group);
	CHECK_EQ(system(command), 0);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "200,000 files in 24 MiB", cramped },
	};
	int failed = check_main(cases, ARRAY_LEN(cases), argc, argv);

	shut();
	return failed;
}
