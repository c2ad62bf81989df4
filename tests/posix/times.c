/* SPDX-License-Identifier: MIT */
/*
 * Which operation changes which time of which file, and setting times.
 */

#include "tests/posix/posix.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <sys/xattr.h>

static void copy_times(int fd)
{
	int from = open("d/file", O_RDONLY | O_CLOEXEC);

	must("open", from);
	TIMES("copy_file_range", "g", "mc",
	      did(copy_file_range(from, NULL, fd, NULL, 10, 0)));
	close(from);
}

static void file_times(void)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);

	must("f", fd);
	TIMES("write", "f", "mc", did(pwrite(fd, "x", 1, 0)));
	TIMES("write nothing", "f", "", did(pwrite(fd, "x", 0, 0)));
	TIMES("chmod", "f", "c", did(chmod("f", 0600)));
	TIMES("chown", "f", "c", did(chown("f", 1, 1)));
	TIMES("chown of neither", "f", "c",
	      did(chown("f", (uid_t)-1, (gid_t)-1)));
	TIMES("ftruncate", "f", "mc", did(ftruncate(fd, 10)));
	TIMES("ftruncate to the same size", "f", "mc",
	      did(ftruncate(fd, 10)));
	TIMES("truncate to the same size", "f", "mc",
	      did(truncate("f", 10)));
	TIMES("fallocate", "f", "mc", did(fallocate(fd, 0, 0, 9000)));
	TIMES("punch a hole", "f", "mc",
	      did(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				 FALLOC_FL_KEEP_SIZE, 0, 4096)));
	TIMES("link", "f", "c", did(link("f", "g")));
	TIMES("rename", "g", "c", did(rename("f", "h")));
	TIMES("unlink of another link", "g", "c", did(unlink("h")));
	TIMES("setxattr", "g", "c",
	      did(setxattr("g", "user.x", "1", 1, 0)));
	TIMES("removexattr", "g", "c", did(removexattr("g", "user.x")));
	TIMES("stat", "g", "", (void)stat_of("g"));
	must("link", link("g", "g2"));
	put_file("over", 0600, "x");
	TIMES("rename over another link", "g", "c", did(rename("over", "g2")));
	TIMES("rename to itself", "g", "", did(rename("g", "g")));
	TIMES("a chmod that fails", "g", "",
	      did(chmod("g/none", 0600)));
	copy_times(fd);
	TIMES("open", "g", "", (void)text_of("d/file"));
	TIMES("open and truncate", "g", "mc",
	      did(close(open("g", O_WRONLY | O_TRUNC))));
	TIMES("open and truncate the empty", "g", "mc",
	      did(close(open("g", O_WRONLY | O_TRUNC))));
	close(fd);
}

void group_times(void)
{
	put_file("f", 0644, "text");
	make_dir("d", 0755);
	put_file("d/file", 0644, "x");
	file_times();
	TIMES("directory: create", "d", "mc",
	      did(close(make_file("d/new", 0644))));
	TIMES("directory: mkdir", "d", "mc", did(mkdir("d/sub", 0755)));
	TIMES("directory: mknod", "d", "mc", did(mkfifo("d/fifo", 0600)));
	TIMES("directory: symlink", "d", "mc", did(symlink("x", "d/l")));
	TIMES("directory: link", "d", "mc", did(link("g", "d/g")));
	TIMES("directory: rename in it", "d", "mc",
	      did(rename("d/g", "d/h")));
	TIMES("directory: rename out of it", "d", "mc",
	      did(rename("d/h", "h")));
	TIMES("directory: rename into it", "d", "mc",
	      did(rename("h", "d/h")));
	TIMES("directory: unlink", "d", "mc", did(unlink("d/h")));
	TIMES("directory: rmdir", "d", "mc", did(rmdir("d/sub")));
	TIMES("directory: write to a file in it", "d", "",
	      did(truncate("d/file", 7)));
	TIMES("directory: chmod", "d", "c", did(chmod("d", 0700)));
}

static struct timespec at(time_t sec, long nsec)
{
	return (struct timespec){ .tv_sec = sec, .tv_nsec = nsec };
}

static int set_times(const char *path, struct timespec a, struct timespec m)
{
	struct timespec t[2] = { a, m };

	return utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW);
}

static void utimens_users(void)
{
	must("chown", chown("f", USER_A, GROUP_A));
	must("chmod", chmod("f", 0666));
	become(USER_B, GROUP_B, 0);
	FAILS("a writer sets a time", EPERM,
	      set_times("f", at(1, 0), at(1, 0)));
	FAILS("a writer sets one", EPERM,
	      set_times("f", at(0, UTIME_NOW), at(0, UTIME_OMIT)));
	WORKS("a writer sets now", utimensat(AT_FDCWD, "f", NULL, 0));
	become_root();
	must("chmod", chmod("f", 0644));
	become(USER_B, GROUP_B, 0);
	FAILS("a reader sets now", EACCES, utimensat(AT_FDCWD, "f", NULL, 0));
	WORKS("anyone sets nothing",
	      set_times("f", at(0, UTIME_OMIT), at(0, UTIME_OMIT)));
	become(USER_A, GROUP_A, 0);
	WORKS("the owner sets a time", set_times("f", at(7, 0), at(8, 0)));
	become_root();
	IS("that time", stat_of("f").st_mtim.tv_sec, 8);
}

void group_utimens(void)
{
	struct timespec both[2] = { at(11, 22), at(33, 44) };
	struct stat st;
	int fd = make_file("f", 0644);

	must("symlink", symlink("f", "l"));
	WORKS("set both", set_times("f", at(1000000000, 123456789),
				    at(2000000000, 987654321)));
	st = stat_of("f");
	IS("atime, seconds", st.st_atim.tv_sec, 1000000000);
	IS("atime, nanoseconds", st.st_atim.tv_nsec, 123456789);
	IS("mtime, seconds", st.st_mtim.tv_sec, 2000000000);
	IS("mtime, nanoseconds", st.st_mtim.tv_nsec, 987654321);
	TIMES("omit both", "f", "",
	      did(set_times("f", at(0, UTIME_OMIT), at(0, UTIME_OMIT))));
	TIMES("now and omit", "f", "ac",
	      did(set_times("f", at(0, UTIME_NOW), at(0, UTIME_OMIT))));
	TIMES("omit and set", "f", "mc",
	      did(set_times("f", at(0, UTIME_OMIT), at(5, 0))));
	TIMES("both now", "f", "amc", did(utimensat(AT_FDCWD, "f", NULL,
							 0)));
	WORKS("before 1970",
	      set_times("f", at(-5, 1), at(-1000000, 999999999)));
	IS("seconds", stat_of("f").st_mtim.tv_sec, -1000000);
	IS("nanoseconds", stat_of("f").st_mtim.tv_nsec, 999999999);
	WORKS("after 2038", set_times("f", at(4000000000, 0),
				      at(5000000000, 0)));
	IS("seconds of it", stat_of("f").st_mtim.tv_sec, 5000000000);
	FAILS("too many nanoseconds", EINVAL,
	      set_times("f", at(0, 1000000000), at(0, 0)));
	FAILS("of nothing", ENOENT, set_times("none", at(0, 0), at(0, 0)));
	WORKS("of a symlink", set_times("l", at(1, 0), at(2, 0)));
	IS("its own", stat_of("l").st_mtim.tv_sec, 2);
	IS("and not its target's", stat_of("f").st_mtim.tv_sec, 5000000000);
	must("unlink", unlink("f"));
	WORKS("of what was removed", futimens(fd, both));
	must("fstat", fstat(fd, &st));
	IS("holds", st.st_mtim.tv_nsec, 44);
	close(fd);
	put_file("f", 0644, "x");
	utimens_users();
}
