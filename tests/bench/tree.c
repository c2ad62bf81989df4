/* SPDX-License-Identifier: MIT */
/*
 * What is shared: "flat" with 10,000 files, "tree" with 500 directories of 20
 * files each, "data" with two files of 64 MiB (one read, one written), and an
 * empty "scratch". Names are numbers and contents follow from the offset, so
 * that everything that is read can be checked without a copy of it.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1u << 20)

void tree_dir_name(unsigned int dir, char *name, size_t size)
{
	static const char *const top[DIR_FIRST] = {
		"flat", "tree", "data", "scratch",
	};

	if (dir < DIR_FIRST)
		snprintf(name, size, "%s", top[dir]);
	else
		snprintf(name, size, "d%03u", dir - DIR_FIRST);
}

/* Hot in every workload with names: no printf. */
void tree_file_name(unsigned int file, char *name, size_t size)
{
	if (size < 7)
		return;
	name[0] = 'f';
	for (int i = 5; i > 0; i--) {
		name[i] = (char)('0' + file % 10);
		file /= 10;
	}
	name[6] = '\0';
}

uint64_t tree_word(uint64_t off)
{
	return (off + 1) * 0x9e3779b97f4a7c15ull;
}

static int make_file(int dir, unsigned int number)
{
	char name[8];
	int fd, ret = 0;

	tree_file_name(number, name, sizeof(name));
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (write(fd, "some bytes\n", FLAT_FILE_SIZE) != FLAT_FILE_SIZE)
		ret = -EIO;
	close(fd);
	return ret;
}

static int make_data(int dir, unsigned int number)
{
	uint64_t *chunk = malloc(CHUNK);
	char name[8];
	int fd, ret = 0;

	if (!chunk)
		return -ENOMEM;
	tree_file_name(number, name, sizeof(name));
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	for (uint64_t off = 0; fd >= 0 && off < DATA_SIZE; off += CHUNK) {
		for (uint64_t i = 0; i < CHUNK; i += 8)
			chunk[i / 8] = tree_word(off + i);
		if (write(fd, chunk, CHUNK) != CHUNK)
			ret = -EIO;
	}
	if (fd < 0)
		ret = -errno;
	else
		close(fd);
	free(chunk);
	return ret;
}

static int make_dir(struct tree *t, unsigned int dir)
{
	int parent = dir < DIR_FIRST ? t->root : t->fd[DIR_TREE];
	unsigned int files = dir == DIR_FLAT ? FLAT_FILES :
			     dir >= DIR_FIRST ? DIR_FILES : 0;
	char name[16];
	int ret = 0;

	tree_dir_name(dir, name, sizeof(name));
	if (mkdirat(parent, name, 0755) < 0)
		return -errno;
	t->fd[dir] = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->fd[dir] < 0)
		return -errno;
	for (unsigned int i = 0; i < files && ret == 0; i++)
		ret = make_file(t->fd[dir], i);
	return ret;
}

int tree_make(struct tree *t, const char *parent)
{
	struct rlimit lim;
	int ret = 0;

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	t->parent = parent;
	snprintf(t->path, sizeof(t->path), "%s/vmshare-bench.XXXXXX", parent);
	if (!mkdtemp(t->path))
		return -errno;
	t->root = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->root < 0)
		return -errno;
	for (unsigned int d = 0; d < DIR_COUNT && ret == 0; d++)
		ret = make_dir(t, d);
	if (ret == 0)
		ret = make_data(t->fd[DIR_DATA], 0);
	if (ret == 0)
		ret = make_data(t->fd[DIR_DATA], 1);
	sync();
	return ret;
}

void tree_remove(struct tree *t)
{
	char command[160];

	for (unsigned int d = 0; d < DIR_COUNT; d++)
		if (t->fd[d] > 0)
			close(t->fd[d]);
	if (t->root > 0)
		close(t->root);
	snprintf(command, sizeof(command), "rm -rf '%s'", t->path);
	if (system(command) != 0)
		fprintf(stderr, "bench: could not remove %s\n", t->path);
}

int tree_drop_caches(const struct tree *t)
{
	int fd;
	ssize_t n;

	if (syncfs(t->root) < 0)
		return -errno;
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, "3\n", 2);
	close(fd);
	return n == 2 ? 0 : -EIO;
}

int tree_warm_caches(const struct tree *t)
{
	char command[200];

	snprintf(command, sizeof(command),
		 "find '%s' -type f -exec cat {} + >/dev/null", t->path);
	return system(command) == 0 ? 0 : -EIO;
}

void tree_touch(const struct tree *t, const char *name)
{
	int fd = openat(t->fd[DIR_DATA], name, O_RDONLY | O_CLOEXEC);
	static char chunk[CHUNK];

	while (fd >= 0 && read(fd, chunk, CHUNK) > 0)
		;
	if (fd >= 0)
		close(fd);
}

int tree_check_written(const struct tree *t)
{
	int fd = openat(t->fd[DIR_DATA], "f00001", O_RDONLY | O_CLOEXEC);
	int wrong = 0;

	if (fd < 0)
		return 1;
	for (uint64_t off = 0; off < DATA_SIZE; off += FE_PAGE) {
		uint64_t word;

		if (pread(fd, &word, 8, (off_t)off) != 8 ||
		    word != tree_word(off))
			wrong++;
	}
	close(fd);
	return wrong;
}
