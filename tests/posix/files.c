/* SPDX-License-Identifier: MIT */
/*
 * Directories while they change, special files, statistics, and a file system
 * that is only to read.
 */

#include "tests/posix/posix.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#define MANY	500

/* ---- directories -------------------------------------------------------- */

/* Count the entries called f0 to f499; -1 when one comes twice. */
static int count_entries(DIR *dir, bool seen[MANY])
{
	struct dirent *d;
	int n = 0;

	while ((d = readdir(dir))) {
		int i = d->d_name[0] == 'f' ? atoi(d->d_name + 1) : -1;

		if (i < 0 || i >= MANY)
			continue;
		if (seen[i])
			return -1;
		seen[i] = true;
		n++;
	}
	return n;
}

static int count_all(DIR *dir)
{
	bool seen[MANY] = { false };

	return count_entries(dir, seen);
}

static void dir_positions(DIR *dir)
{
	char first[256] = "", at[256] = "";
	struct dirent *d;
	long pos = 0;

	rewinddir(dir);
	for (int i = 0; i < 250; i++) {
		if (i == 200)
			pos = telldir(dir);
		d = readdir(dir);
		if (i == 200 && d)
			snprintf(first, sizeof(first), "%s", d->d_name);
	}
	seekdir(dir, pos);
	d = readdir(dir);
	if (d)
		snprintf(at, sizeof(at), "%s", d->d_name);
	case_text("seekdir returns to what telldir told", at, first);
	rewinddir(dir);
	IS("rewinddir", count_all(dir), MANY);
}

static void dir_changes(DIR *dir)
{
	bool seen[MANY] = { false };
	char name[16];
	int n = 0;

	rewinddir(dir);
	for (struct dirent *d; n < 100 && (d = readdir(dir)); n++)
		if (d->d_name[0] == 'f')
			seen[atoi(d->d_name + 1)] = true;
	for (int i = 0; i < MANY; i++) {
		if (seen[i])
			continue;
		if (i % 2)
			continue;
		snprintf(name, sizeof(name), "many/f%d", i);
		must(name, unlink(name));
	}
	n = count_entries(dir, seen);
	IS("no name twice while others go", n >= 0, 1);
	n = 0;
	for (int i = 0; i < MANY; i++)
		n += i % 2 && !seen[i];
	IS("none that stays is missed", n, 0);
}

/* Remove while reading, as rm -r does. */
static void dir_empty(void)
{
	DIR *dir = opendir("many");
	char name[300];

	must("opendir", dir ? 0 : -1);
	for (struct dirent *d; (d = readdir(dir));) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "many/%s", d->d_name);
		must(name, unlink(name));
	}
	closedir(dir);
	WORKS("removing what readdir tells empties it", rmdir("many"));
}

void group_dir(void)
{
	char name[16];
	int fd, types = 0, dots = 0;
	DIR *dir;

	make_dir("many", 0755);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many/f%d", i);
		close(make_file(name, 0644));
	}
	dir = opendir("many");
	must("opendir", dir ? 0 : -1);
	IS("every name once", count_all(dir), MANY);
	dir_positions(dir);
	dir_changes(dir);
	closedir(dir);
	dir_empty();
	make_dir("kinds", 0755);
	make_dir("kinds/d", 0755);
	close(make_file("kinds/f", 0644));
	must("symlink", symlink("x", "kinds/l"));
	must("mkfifo", mkfifo("kinds/p", 0644));
	dir = opendir("kinds");
	must("opendir", dir ? 0 : -1);
	for (struct dirent *d; (d = readdir(dir));) {
		struct stat st;
		mode_t type = (mode_t)DTTOIF(d->d_type);

		dots += d->d_name[0] == '.';
		must("fstatat", fstatat(dirfd(dir), d->d_name, &st,
					AT_SYMLINK_NOFOLLOW));
		types += !type || type == (st.st_mode & S_IFMT);
	}
	closedir(dir);
	IS(". and ..", dots, 2);
	IS("types are right or unknown", types, 6);
	FAILS("opendir of a file", ENOTDIR,
	      open("kinds/f", O_RDONLY | O_DIRECTORY));
	fd = open("kinds", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	WORKS("fsync of a directory", fsync(fd));
	FAILS("write to a directory", EBADF, write(fd, "x", 1));
	close(fd);
}

/* ---- special files ------------------------------------------------------ */

static void special_socket(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct sockaddr *sa = (const void *)&un;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), other;

	strcpy(un.sun_path, "sock");
	must("socket", fd);
	WORKS("bind a socket", bind(fd, sa, sizeof(un)));
	IS("is one", stat_of("sock").st_mode & S_IFMT, S_IFSOCK);
	must("listen", listen(fd, 1));
	other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	WORKS("connect to it", connect(other, sa, sizeof(un)));
	FAILS("bind again", EADDRINUSE, bind(other, sa, sizeof(un)));
	FAILS("open it", ENXIO, open("sock", O_RDWR));
	close(other);
	close(fd);
}

void group_special(void)
{
	char buf[4] = "";
	int fd, w;

	WORKS("mkfifo", mkfifo("fifo", 0620));
	IS("is one", stat_of("fifo").st_mode, S_IFIFO | 0620);
	fd = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	WORKS("open it to read", fd);
	w = open("fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	WORKS("and to write", w);
	IS("write", write(w, "hi", 2), 2);
	IS("read", read(fd, buf, 4), 2);
	close(w);
	close(fd);
	FAILS("open without a reader", ENXIO,
	      open("fifo", O_WRONLY | O_NONBLOCK));
	WORKS("mknod of a character device",
	      mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	IS("its number", stat_of("null").st_rdev, makedev(1, 3));
	IS("its type and mode", stat_of("null").st_mode, S_IFCHR | 0666);
	fd = open("null", O_RDWR | O_CLOEXEC);
	WORKS("it opens", fd);
	IS("and takes everything", write(fd, "x", 1), 1);
	close(fd);
	WORKS("mknod of a block device",
	      mknod("disk", S_IFBLK | 0600, makedev(259, 70000)));
	IS("its large number", stat_of("disk").st_rdev, makedev(259, 70000));
	WORKS("mknod of a file", mknod("file", S_IFREG | 0600, 0));
	IS("is one", stat_of("file").st_mode, S_IFREG | 0600);
	FAILS("mknod of a directory", EPERM, mknod("dir", S_IFDIR | 0755, 0));
	special_socket();
	WORKS("link of a fifo", link("fifo", "fifo2"));
	WORKS("chmod of a device", chmod("null", 0600));
	IS("its mode", mode_of("null"), 0600);
	WORKS("chown of a device", chown("disk", USER_A, GROUP_A));
	IS("its owner", stat_of("disk").st_uid, USER_A);
	become(USER_A, GROUP_A, 0);
	FAILS("mknod by a user", EACCES,
	      mknod("no", S_IFCHR | 0666, makedev(1, 3)));
	become_root();
	make_dir("open", 0777);
	become(USER_A, GROUP_A, 0);
	FAILS("mknod of a device by a user", EPERM,
	      mknod("open/no", S_IFCHR | 0666, makedev(1, 3)));
	WORKS("mkfifo by a user", mkfifo("open/fifo", 0600));
	become_root();
	IS("is its", stat_of("open/fifo").st_uid, USER_A);
}

/* ---- the whole ---------------------------------------------------------- */

void group_statfs(void)
{
	struct statvfs s;

	WORKS("statvfs", statvfs(".", &s));
	IS("longest name", s.f_namemax, 255);
	IS("has blocks", s.f_blocks > 0, 1);
	IS("free ones among them", s.f_bfree <= s.f_blocks, 1);
	IS("some for users", s.f_bavail <= s.f_bfree, 1);
	IS("has a block size", s.f_bsize >= 512 && s.f_frsize >= 512, 1);
	FAILS("of nothing", ENOENT, statvfs("none", &s));
}

/* In a directory with "file", "dir" and "link" that was mounted read-only. */
void group_readonly(void)
{
	FAILS("open to write", EROFS, open("file", O_WRONLY));
	FAILS("open and truncate", EROFS, open("file", O_RDONLY | O_TRUNC));
	FAILS("create", EROFS, open("new", O_CREAT | O_WRONLY, 0644));
	FAILS("mkdir", EROFS, mkdir("new", 0755));
	FAILS("mknod", EROFS, mknod("new", S_IFIFO | 0644, 0));
	FAILS("symlink", EROFS, symlink("x", "new"));
	FAILS("link", EROFS, link("file", "new"));
	FAILS("unlink", EROFS, unlink("file"));
	FAILS("rmdir", EROFS, rmdir("dir"));
	FAILS("rename", EROFS, rename("file", "new"));
	FAILS("chmod", EROFS, chmod("file", 0600));
	FAILS("chown", EROFS, chown("file", 1, 1));
	FAILS("truncate", EROFS, truncate("file", 0));
	FAILS("utimensat", EROFS, utimensat(AT_FDCWD, "file", NULL, 0));
	FAILS("setxattr", EROFS, setxattr("file", "user.x", "1", 1, 0));
	FAILS("access", EROFS, access("file", W_OK));
	FAILS("mkdir of what is there", EEXIST, mkdir("dir", 0755));
	FAILS("unlink of nothing", EROFS, unlink("none"));
	case_text("reading works", text_of("file"), "text");
}
