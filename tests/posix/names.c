/* SPDX-License-Identifier: MIT */
/*
 * Names: creating, removing, renaming, linking, and the ways that a path can
 * fail to lead anywhere.
 */

#include "tests/posix/posix.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE	1
#define RENAME_EXCHANGE		2
#endif
#ifndef RENAME_WHITEOUT
#define RENAME_WHITEOUT		4
#endif

static int rename2(const char *from, const char *to, unsigned int flags)
{
	return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static int open_close(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

/* The open's error, or the file's type. */
static int create_over(const char *path, int flags)
{
	return open_close(path, O_CREAT | O_WRONLY | flags);
}

void group_create(void)
{
	put_file("file", 0644, "x");
	make_dir("dir", 0755);
	must("symlink", symlink("nowhere", "dangling"));
	must("symlink", symlink("file", "link"));
	FAILS("mkdir over a file", EEXIST, mkdir("file", 0755));
	FAILS("mkdir over a directory", EEXIST, mkdir("dir", 0755));
	FAILS("mkdir over a dangling symlink", EEXIST,
	      mkdir("dangling", 0755));
	FAILS("mkdir in a file", ENOTDIR, mkdir("file/sub", 0755));
	FAILS("mkdir in nothing", ENOENT, mkdir("none/sub", 0755));
	FAILS("mkdir of .", EEXIST, mkdir(".", 0755));
	FAILS("mknod over a file", EEXIST, mknod("file", S_IFREG | 0644, 0));
	FAILS("mkfifo over a directory", EEXIST, mkfifo("dir", 0644));
	FAILS("symlink over a file", EEXIST, symlink("x", "file"));
	FAILS("symlink over a symlink", EEXIST, symlink("x", "dangling"));
	FAILS("symlink to nothing", ENOENT, symlink("", "empty"));
	FAILS("exclusive create over a file", EEXIST,
	      create_over("file", O_EXCL));
	FAILS("exclusive create over a symlink", EEXIST,
	      create_over("dangling", O_EXCL));
	FAILS("create over a directory", EISDIR, create_over("dir", 0));
	FAILS("create without following a symlink", ELOOP,
	      create_over("link", O_NOFOLLOW));
	FAILS("create in a file", ENOTDIR, create_over("file/x", 0));
	FAILS("create with a slash", EISDIR, create_over("new/", 0));
	WORKS("create through a dangling symlink", create_over("dangling", 0));
	IS("made what it pointed to", access("nowhere", F_OK), 0);
	WORKS("create over a file", create_over("file", 0));
	IS("which keeps its data", stat_of("file").st_size, 1);
	WORKS("create and truncate", create_over("file", O_TRUNC));
	IS("empties it", stat_of("file").st_size, 0);
	FAILS("open nothing", ENOENT, open_close("none", O_RDONLY));
	FAILS("open a directory to write", EISDIR,
	      open_close("dir", O_WRONLY));
	FAILS("open a file as a directory", ENOTDIR,
	      open_close("file", O_RDONLY | O_DIRECTORY));
	FAILS("open a symlink itself", ELOOP,
	      open_close("link", O_RDONLY | O_NOFOLLOW));
	IS("size of a symlink", stat_of("link").st_size, 4);
	IS("mode of a symlink", mode_of("link"), 0777);
}

void group_remove(void)
{
	make_dir("dir", 0755);
	make_dir("full", 0755);
	put_file("full/file", 0644, "x");
	put_file("file", 0644, "x");
	must("symlink", symlink("full", "link"));
	FAILS("unlink of nothing", ENOENT, unlink("none"));
	FAILS("unlink of a directory", EISDIR, unlink("dir"));
	FAILS("unlink below a file", ENOTDIR, unlink("file/x"));
	FAILS("unlink with a slash", ENOTDIR, unlink("file/"));
	FAILS("rmdir of a file", ENOTDIR, rmdir("file"));
	FAILS("rmdir of a symlink", ENOTDIR, rmdir("link"));
	FAILS("rmdir of nothing", ENOENT, rmdir("none"));
	FAILS("rmdir of a full directory", ENOTEMPTY, rmdir("full"));
	FAILS("rmdir of .", EINVAL, rmdir("dir/."));
	FAILS("rmdir of ..", ENOTEMPTY, rmdir("dir/.."));
	IS("links of a directory", stat_of("dir").st_nlink, 2);
	make_dir("dir/sub", 0755);
	IS("links with a subdirectory", stat_of("dir").st_nlink, 3);
	WORKS("rmdir", rmdir("dir/sub"));
	IS("links without it", stat_of("dir").st_nlink, 2);
	FAILS("rmdir again", ENOENT, rmdir("dir/sub"));
	WORKS("unlink of a symlink", unlink("link"));
	IS("leaves what it points to", access("full/file", F_OK), 0);
	FAILS("unlink again", ENOENT, unlink("link"));
	must("open", chdir("dir"));
	must("rmdir", rmdir("../dir"));
	FAILS("create in a removed directory", ENOENT, mkdir("x", 0755));
	must("chdir", chdir(".."));
}

static void rename_errors(void)
{
	FAILS("rename of nothing", ENOENT, rename("none", "other"));
	FAILS("rename into nothing", ENOENT, rename("a", "none/a"));
	FAILS("rename of a file over a directory", EISDIR, rename("a", "d"));
	FAILS("rename of a directory over a file", ENOTDIR, rename("d", "a"));
	FAILS("rename over a full directory", ENOTEMPTY, rename("d", "full"));
	FAILS("rename into itself", EINVAL, rename("full", "full/sub"));
	FAILS("rename below itself", EINVAL, rename("full", "full/deep/x"));
	FAILS("rename over what is above", ENOTEMPTY,
	      rename("full/deep", "full"));
	FAILS("rename of a file below a file", ENOTDIR, rename("a", "b/x"));
	FAILS("rename of a file to a slash", ENOTDIR, rename("a", "new/"));
	FAILS("rename of .", EBUSY, rename(".", "x"));
	FAILS("rename to ..", EBUSY, rename("a", ".."));
	FAILS("noreplace over a file", EEXIST,
	      rename2("a", "b", RENAME_NOREPLACE));
	FAILS("exchange with nothing", ENOENT,
	      rename2("a", "none", RENAME_EXCHANGE));
	FAILS("noreplace and exchange", EINVAL,
	      rename2("a", "b", RENAME_NOREPLACE | RENAME_EXCHANGE));
	FAILS("unknown flags", EINVAL, rename2("a", "b", 1u << 20));
}

void group_rename(void)
{
	struct stat st;
	ino_t a, d;

	put_file("a", 0644, "a");
	put_file("b", 0644, "b");
	make_dir("d", 0755);
	make_dir("full", 0755);
	make_dir("full/deep", 0755);
	put_file("full/deep/file", 0644, "deep");
	rename_errors();
	a = stat_of("a").st_ino;
	WORKS("rename over a file", rename("a", "b"));
	IS("keeps the inode", stat_of("b").st_ino, a);
	case_text("and the data", text_of("b"), "a");
	FAILS("and takes the old name", ENOENT, access("a", F_OK));
	WORKS("rename to itself", rename("b", "b"));
	must("link", link("b", "b2"));
	WORKS("rename over another link of it", rename("b", "b2"));
	IS("does nothing", stat_of("b").st_nlink, 2);
	d = stat_of("d").st_ino;
	make_dir("empty", 0755);
	WORKS("rename over an empty directory", rename("d", "empty"));
	IS("keeps its inode", stat_of("empty").st_ino, d);
	WORKS("rename of a directory elsewhere", rename("empty", "full/e"));
	IS("changes the links above", stat_of("full").st_nlink, 4);
	must("stat", stat("full/e/..", &st));
	IS("and its ..", st.st_ino, stat_of("full").st_ino);
	WORKS("noreplace", rename2("b2", "c", RENAME_NOREPLACE));
	WORKS("exchange of file and directory",
	      rename2("c", "full", RENAME_EXCHANGE));
	case_text("below the moved", text_of("c/deep/file"), "deep");
	case_text("and the file", text_of("full"), "a");
	WORKS("whiteout", rename2("full", "moved", RENAME_WHITEOUT));
	must("lstat", lstat("full", &st));
	IS("leaves a device", st.st_mode & S_IFMT, S_IFCHR);
	IS("with number 0", st.st_rdev, 0);
}

void group_link(void)
{
	char path[4096];
	struct stat st;
	int fd;

	put_file("a", 0644, "a");
	make_dir("d", 0755);
	must("symlink", symlink("a", "s"));
	FAILS("link of nothing", ENOENT, link("none", "x"));
	FAILS("link over a file", EEXIST, link("a", "d"));
	FAILS("link of a directory", EPERM, link("d", "x"));
	FAILS("link below a file", ENOTDIR, link("a", "a/x"));
	WORKS("link", link("a", "b"));
	IS("counts", stat_of("a").st_nlink, 2);
	IS("is the same file", stat_of("b").st_ino, stat_of("a").st_ino);
	WORKS("link of a symlink", link("s", "s2"));
	must("lstat", lstat("s2", &st));
	IS("is a symlink", st.st_mode & S_IFMT, S_IFLNK);
	WORKS("link through a symlink",
	      linkat(AT_FDCWD, "s", AT_FDCWD, "t", AT_SYMLINK_FOLLOW));
	IS("counts again", stat_of("a").st_nlink, 3);
	WORKS("unlink the first name", unlink("a"));
	IS("counts down", stat_of("b").st_nlink, 2);
	case_text("keeps the data", text_of("b"), "a");
	must("chmod", chmod("b", 0600));
	IS("one mode for all names", mode_of("t"), 0600);
	fd = open("b", O_RDWR | O_CLOEXEC);
	must("open", fd);
	put_file("over", 0644, "x");
	must("rename", rename("over", "t"));
	IS("a rename over one name counts down", stat_of("b").st_nlink, 1);
	must("unlink", unlink("b"));
	must("fstat", fstat(fd, &st));
	IS("none are left of what is open", st.st_nlink, 0);
	close(fd);
	put_file("b", 0644, "a");
	snprintf(path, sizeof(path), "%s/posix-link", elsewhere);
	FAILS("link to another file system", EXDEV, link("b", path));
	FAILS("rename to another file system", EXDEV, rename("b", path));
	must("chown", chown("b", USER_B, GROUP_B));
	become(USER_B, GROUP_B, 0);
	FAILS("link without access to the directory", EACCES, link("b", "y"));
	become_root();
}

/* Paths ------------------------------------------------------------------- */

static void loops(void)
{
	char name[8], target[8];

	must("symlink", symlink("loop", "loop"));
	FAILS("open of a loop", ELOOP, open_close("loop", O_RDONLY));
	FAILS("open below a loop", ELOOP, open_close("loop/x", O_RDONLY));
	FAILS("chmod of a loop", ELOOP, chmod("loop", 0600));
	put_file("l0", 0644, "end");
	for (int i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i - 1);
		must("symlink", symlink(target, name));
	}
	WORKS("40 symlinks", open_close("l40", O_RDONLY));
	FAILS("41 symlinks", ELOOP, open_close("l41", O_RDONLY));
}

void group_path(void)
{
	char name[4200];
	struct stat st;
	ssize_t n;

	loops();
	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	WORKS("create with 255 bytes", create_over(name, O_EXCL));
	WORKS("stat with 255 bytes", stat(name, &st));
	WORKS("unlink with 255 bytes", unlink(name));
	name[255] = 'n';
	name[256] = '\0';
	FAILS("create with 256 bytes", ENAMETOOLONG, create_over(name, 0));
	FAILS("stat with 256 bytes", ENAMETOOLONG, stat(name, &st));
	FAILS("mkdir with 256 bytes", ENAMETOOLONG, mkdir(name, 0755));
	FAILS("symlink with 256 bytes", ENAMETOOLONG, symlink("x", name));
	FAILS("unlink with 256 bytes", ENAMETOOLONG, unlink(name));
	FAILS("rename to 256 bytes", ENAMETOOLONG, rename("l0", name));
	FAILS("link to 256 bytes", ENAMETOOLONG, link("l0", name));
	name[256] = 'n';
	name[4095] = '\0';
	WORKS("symlink to 4095 bytes", symlink(name, "long"));
	n = readlink("long", name, sizeof(name));
	IS("which reads back", n, 4095);
	FAILS("readlink of a file", EINVAL, readlink("l0", name, 10));
	IS("readlink into little room", readlink("long", name, 10), 10);
	WORKS("a name with odd bytes", mkdir("\x01\xff\n\\", 0755));
	WORKS("and it is found", rmdir("\x01\xff\n\\"));
	FAILS("stat of a file with a slash", ENOTDIR, stat("l0/", &st));
	FAILS("stat of nothing", ENOENT, stat("", &st));
}
