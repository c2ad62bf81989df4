/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * A guest that looks at more files than its server may open: `find` over a
 * large tree, by an ordinary user's server with 256 descriptors. Everything
 * that was seen stays known, as a guest with memory enough would have it, and
 * no error is one. 200,000 files, or as many as VMSHARE_TEST_FILES says.
 */

#include "attack_rig.h"

#include <sys/resource.h>

#define LIMIT	  256
#define DIR_FILES 1000u
#define SAMPLES	  2000u

static unsigned int wanted_dirs;

/* What was found: directories to look into, and the last file of each. */
static struct {
	uint64_t *dirs, *files;
	unsigned int nr_dirs, nr_files, seen;
	unsigned int most_fds;	/* of any one process of the server */
	unsigned long rss;	/* of all, in KiB */
} found;

/* ---- the tree ------------------------------------------------------------ */

static bool make_tree(void)
{
	int top_fd = open(share, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	bool ok = top_fd >= 0;
	char name[32];

	for (unsigned int d = 0; d < wanted_dirs && ok; d++) {
		snprintf(name, sizeof(name), "d%u", d);
		ok = !mkdirat(top_fd, name, 0755);
		fd = ok ? openat(top_fd, name, O_PATH | O_CLOEXEC) : -1;
		for (unsigned int f = 0; f < DIR_FILES && ok; f++) {
			snprintf(name, sizeof(name), "file-number-%u", f);
			ok = !mknodat(fd, name, S_IFREG | 0644, 0);
		}
		close(fd);
	}
	close(top_fd);
	return ok;
}

/* ---- the server's processes ---------------------------------------------- */

static unsigned int count_fds(pid_t pid)
{
	unsigned int nr = 0;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		nr++;
	if (d)
		closedir(d);
	return nr > 2 ? nr - 2 : 0;
}

/* Resident memory but for the guest's, in KiB. */
static unsigned long read_rss(pid_t pid)
{
	unsigned long kib = 0;
	bool guests = false;
	char line[512];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/smaps", pid);
	f = fopen(line, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strchr("0123456789abcdef", line[0]))
			guests = strstr(line, "fe-guest") != NULL;
		else if (!strncmp(line, "Rss:", 4) && !guests)
			kib += strtoul(line + 4, NULL, 10);
	}
	if (f)
		fclose(f);
	return kib;
}

/* This process and all that descend from it. */
static void look_at(pid_t pid, bool rss)
{
	char path[64], line[4096] = "", *at = line;
	unsigned int fds = count_fds(pid);
	FILE *f;
	long child;

	found.most_fds = fds > found.most_fds ? fds : found.most_fds;
	if (rss)
		found.rss += read_rss(pid);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = '\0';
	if (f)
		fclose(f);
	while ((child = strtol(at, &at, 10)) > 0)
		look_at((pid_t)child, rss);
}

static void look(bool rss)
{
	if (rss)
		found.rss = 0;
	look_at(server.pid, rss);
}

/* ---- find ---------------------------------------------------------------- */

static int note(const struct fe_dirent *d, void *last)
{
	if (!d->entry || !d->entry->nodeid)
		return 0;	/* "." and ".." */
	found.seen++;
	if (S_ISDIR(d->entry->attr.mode)) {
		if (found.nr_dirs < wanted_dirs + 2)
			found.dirs[found.nr_dirs++] = d->entry->nodeid;
	} else {
		*(uint64_t *)last = d->entry->nodeid;
	}
	return 0;
}

static int find(void)
{
	int err = 0;

	found.dirs[found.nr_dirs++] = ROOT;
	for (unsigned int i = 0; i < found.nr_dirs && !err; i++) {
		uint64_t last = 0;

		err = fe_list(fe, found.dirs[i], true, note, &last);
		if (last)
			found.files[found.nr_files++] = last;
		if (i % 10 == 0)
			look(false);
	}
	return err;
}

static void many(void)
{
	static const char *const words[] = {
		"prlimit", "--nofile=256:256", "setpriv", "--reuid=" USER,
		"--regid=" USER, "--clear-groups", NULL,
	};
	const char *count = getenv("VMSHARE_TEST_FILES");
	unsigned long before, files = count ? strtoul(count, NULL, 10) : 200000;
	struct fuse_attr_out a;
	uint64_t fh;

	if (geteuid())
		SKIP("needs root to look at another user's processes");
	wanted_dirs = (unsigned int)(files / DIR_FILES);
	found.dirs = calloc(wanted_dirs + 2, sizeof(*found.dirs));
	found.files = calloc(wanted_dirs + 2, sizeof(*found.files));
	CHECK(found.dirs && found.files);
	CHECK_EQ(make_place(true), 0);
	CHECK(make_tree());
	CHECK_EQ(serve("access=squash", words), 0);
	look(true);
	before = found.rss;
	CHECK_EQ(find(), 0);
	/* And good, dir, dir/f of every place. */
	CHECK_EQ(found.seen, wanted_dirs * (DIR_FILES + 1) + 3);
	for (unsigned int i = 0; i < SAMPLES; i++) {
		uint64_t node = found.files[i * 7919u % found.nr_files];

		CHECK_EQ(fe_getattr(fe, node, &a), 0);
		CHECK_EQ(fe_open(fe, node, O_RDONLY, &fh), 0);
		CHECK_EQ(fe_release(fe, node, fh), 0);
	}
	look(true);
	printf("# %u files: %u descriptors at most, %lu KiB, %lu before\n",
	       found.seen, found.most_fds, found.rss, before);
	CHECK(found.most_fds <= LIMIT);
	CHECK(unharmed());
	/* At most 200 bytes a file and its name. */
	CHECK(found.rss < before + found.seen / 1024ul * 200);
}

static void test_many(void)
{
	many();
	shut();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "find, with 256 descriptors", test_many },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
