/* SPDX-License-Identifier: MIT */
/*
 * Each operation that takes a path, with each way in which a path can lead
 * nowhere: a table of the ones, a table of the others.
 */

#include "tests/posix/posix.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>

/* ---- the operations ----------------------------------------------------- */

static int op_stat(const char *path)
{
	struct stat st;

	return stat(path, &st);
}

static int op_lstat(const char *path)
{
	struct stat st;

	return lstat(path, &st);
}

static int op_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int op_opendir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int op_access(const char *path)
{
	return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS);
}

static int op_chmod(const char *path)
{
	return chmod(path, 0644);
}

static int op_chown(const char *path)
{
	return chown(path, geteuid(), getegid());
}

static int op_lchown(const char *path)
{
	return lchown(path, geteuid(), getegid());
}

static int op_truncate(const char *path)
{
	return truncate(path, 0);
}

static int op_utimens(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, 0);
}

static int op_lutimens(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

static int op_readlink(const char *path)
{
	char target[16];

	return readlink(path, target, sizeof(target)) < 0 ? -1 : 0;
}

static int op_getxattr(const char *path)
{
	return getxattr(path, "user.x", NULL, 0) < 0 ? -1 : 0;
}

static int op_setxattr(const char *path)
{
	return setxattr(path, "user.x", "1", 1, 0);
}

static int op_statfs(const char *path)
{
	struct statvfs s;

	return statvfs(path, &s);
}

static int op_rename_from(const char *path)
{
	return rename(path, "target");
}

static int op_link_from(const char *path)
{
	return link(path, "target");
}

static int op_exchange(const char *path)
{
	return (int)syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, "source",
			    2);
}

static int op_create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int op_mkdir(const char *path)
{
	return mkdir(path, 0755);
}

static int op_mknod(const char *path)
{
	return mknod(path, S_IFREG | 0644, 0);
}

static int op_mkfifo(const char *path)
{
	return mkfifo(path, 0644);
}

static int op_symlink(const char *path)
{
	return symlink("x", path);
}

static int op_link_to(const char *path)
{
	return link("source", path);
}

static int op_rename_to(const char *path)
{
	return rename("source", path);
}

enum {
	LAST	= 1,	/* follows a symlink at the end */
	MAKES	= 2,	/* makes the name */
	TAKES	= 4,	/* takes the name away */
	OVER	= 8,	/* makes it even where it is */
};

static const struct {
	const char *name;
	int (*call)(const char *path);
	unsigned int flags;
} ops[] = {
	{ "stat", op_stat, LAST },
	{ "lstat", op_lstat, 0 },
	{ "open", op_open, LAST },
	{ "opendir", op_opendir, LAST },
	{ "access", op_access, LAST },
	{ "chdir", chdir, LAST },
	{ "chmod", op_chmod, LAST },
	{ "chown", op_chown, LAST },
	{ "lchown", op_lchown, 0 },
	{ "truncate", op_truncate, LAST },
	{ "utimens", op_utimens, LAST },
	{ "utimens of a symlink", op_lutimens, 0 },
	{ "readlink", op_readlink, 0 },
	{ "getxattr", op_getxattr, LAST },
	{ "setxattr", op_setxattr, LAST },
	{ "statfs", op_statfs, LAST },
	{ "unlink", unlink, TAKES },
	{ "rmdir", rmdir, TAKES },
	{ "rename from", op_rename_from, TAKES },
	{ "exchange", op_exchange, TAKES },
	{ "link from", op_link_from, 0 },
	{ "create", op_create, MAKES },
	{ "mkdir", op_mkdir, MAKES },
	{ "mknod", op_mknod, MAKES },
	{ "mkfifo", op_mkfifo, MAKES },
	{ "symlink", op_symlink, MAKES },
	{ "link to", op_link_to, MAKES },
	{ "rename to", op_rename_to, MAKES | OVER },
};

#define NR_OPS (sizeof(ops) / sizeof(*ops))

/* ---- the paths ---------------------------------------------------------- */

static char long_name[257], long_path[4097];

static const struct {
	const char *name, *path;
	int error;
	unsigned int only;	/* operations with one of these flags; 0: all */
	unsigned int not;	/* and none of these */
	bool user;
} ways[] = {
	{ "below a file", "file/x", ENOTDIR, 0, 0, false },
	{ "below nothing", "none/x", ENOENT, 0, 0, false },
	{ "nothing", "none", ENOENT, 0, MAKES, false },
	{ "the empty path", "", ENOENT, 0, 0, false },
	{ "below a loop", "loop/x", ELOOP, 0, 0, false },
	{ "a loop", "loop", ELOOP, LAST, 0, false },
	{ "a name of 256 bytes", long_name, ENAMETOOLONG, 0, 0, false },
	{ "a path of 4096 bytes", long_path, ENAMETOOLONG, 0, 0, false },
	{ "without search permission", "noexec/f", EACCES, 0, 0, true },
	{ "below a directory of mode 0", "closed/x/y", EACCES, 0, 0, true },
	{ "what is there", "file", EEXIST, MAKES, OVER, false },
	{ "what a dangling symlink has", "dangling", EEXIST, MAKES, OVER,
	  false },
	{ "in a directory not to be written", "nowrite/x", EACCES, MAKES, 0,
	  true },
	{ "out of a directory not to be written", "nowrite/d", EACCES, TAKES, 0,
	  true },
};

/* Root's, but for what a user has to have to get as far as the path. */
static void scene(void)
{
	memset(long_name, 'n', 256);
	for (size_t i = 0; i < 4094; i += 2)
		memcpy(long_path + i, "./", 2);
	memcpy(long_path + 4094, "xx", 2);
	put_file("file", 0644, "x");
	put_file("source", 0644, "x");
	must("chown", chown("source", USER_A, GROUP_A));
	must("chmod", chmod(".", 0777));
	must("symlink", symlink("loop", "loop"));
	must("symlink", symlink("nowhere", "dangling"));
	make_dir("noexec", 0666);
	put_file("noexec/f", 0666, "x");
	make_dir("closed", 0);
	make_dir("closed/x", 0777);
	make_dir("nowrite", 0755);
	make_dir("nowrite/d", 0777);
}

void group_paths(void)
{
	char name[96];

	scene();
	for (size_t w = 0; w < sizeof(ways) / sizeof(*ways); w++) {
		for (size_t i = 0; i < NR_OPS; i++) {
			unsigned int flags = ops[i].flags;

			if ((ways[w].only && !(flags & ways[w].only)) ||
			    flags & ways[w].not)
				continue;
			snprintf(name, sizeof(name), "%s: %s", ops[i].name,
				 ways[w].name);
			if (ways[w].user)
				become(USER_A, GROUP_A, 0);
			FAILS(name, ways[w].error, ops[i].call(ways[w].path));
			become_root();
		}
	}
	IS("nothing has come of all that", access("target", F_OK), -1);
	IS("and nothing has gone", stat_of("source").st_nlink, 1);
	/* Whoever takes the directory away may be no root. */
	must("chmod", chmod("noexec", 0755));
	must("chmod", chmod("closed", 0755));
}
