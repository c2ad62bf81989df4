/* SPDX-License-Identifier: MIT */
/*
 * Who may: mode bits, owners, set-id bits and who clears them, sticky and
 * set-group-id directories, the umask.
 */

#include "tests/posix/posix.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

static int open_close(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

void group_mode(void)
{
	struct stat st;

	put_file("f0", 0000, "x");
	put_file("f4", 0444, "x");
	put_file("own", 0604, "x");
	put_file("grp", 0640, "x");
	make_dir("noexec", 0666);
	make_dir("noread", 0711);
	make_dir("nowrite", 0755);
	put_file("noread/f", 0644, "x");
	must("chown", chown("own", USER_A, GROUP_A));
	must("chown", chown("grp", 0, GROUP_X));
	WORKS("root reads what has no mode", open_close("f0", O_RDWR));
	WORKS("root writes to 0444", open_close("f4", O_WRONLY));
	become(USER_B, GROUP_B, GROUP_X);
	FAILS("a user does not", EACCES, open_close("f0", O_RDONLY));
	FAILS("nor writes to 0444", EACCES, open_close("f4", O_WRONLY));
	FAILS("nor truncates", EACCES, truncate("f4", 0));
	WORKS("but reads it", open_close("f4", O_RDONLY));
	WORKS("others read 0604", open_close("own", O_RDONLY));
	WORKS("a supplementary group reads 0640",
	      open_close("grp", O_RDONLY));
	FAILS("and does not write", EACCES, open_close("grp", O_WRONLY));
	FAILS("stat without search permission", EACCES,
	      stat("noexec/x", &st));
	FAILS("list without read permission", EACCES,
	      open_close("noread", O_RDONLY | O_DIRECTORY));
	WORKS("but find what is in it", open_close("noread/f", O_RDONLY));
	FAILS("create without write permission", EACCES,
	      open_close("nowrite/x", O_CREAT | O_WRONLY));
	FAILS("mkdir without write permission", EACCES,
	      mkdir("nowrite/x", 0755));
	FAILS("unlink without write permission", EACCES,
	      unlink("noread/f"));
	FAILS("chmod of another's", EPERM, chmod("f4", 0777));
	FAILS("access of another's", EACCES,
	      faccessat(AT_FDCWD, "f4", W_OK, AT_EACCESS));
	become(USER_A, GROUP_A, 0);
	WORKS("the owner chmods", chmod("own", 0400));
	FAILS("and is held to it", EACCES, open_close("own", O_WRONLY));
	become_root();
	IS("the mode that was set", mode_of("own"), 0400);
	must("umask", (int)umask(027));
	must("mkdir", mkdir("masked", 0777));
	must("open", open_close("maskedfile", O_CREAT | O_WRONLY | O_EXCL));
	umask(0);
	IS("umask of a directory", mode_of("masked"), 0750);
	IS("umask of a file", mode_of("maskedfile"), 0640);
	must("mkdir", mkdir("special", 03777));
	IS("mkdir takes the sticky bit", mode_of("special") & 01777, 01777);
}

/* A file of USER_A that anyone may write, with set-id bits. */
static int setid_file(const char *path, mode_t mode)
{
	int fd;

	put_file(path, 0666, "data");
	must(path, chown(path, USER_A, GROUP_A));
	must(path, chmod(path, mode));
	fd = open(path, O_RDWR | O_CLOEXEC);
	must(path, fd);
	return fd;
}

static void setid_data(void)
{
	int fd = setid_file("w", 06777);

	IS("set-id bits can be set", mode_of("w"), 06777);
	must("write", pwrite(fd, "x", 1, 0));
	IS("write by root keeps them", mode_of("w"), 06777);
	become(USER_B, GROUP_B, 0);
	must("write", pwrite(fd, "x", 1, 0));
	IS("write by a user clears them", mode_of("w"), 0777);
	become_root();
	close(fd);
	fd = setid_file("t", 06777);
	become(USER_B, GROUP_B, 0);
	must("ftruncate", ftruncate(fd, 2));
	IS("ftruncate by a user clears them", mode_of("t"), 0777);
	become_root();
	close(fd);
	close(setid_file("tp", 06777));
	become(USER_B, GROUP_B, 0);
	must("truncate", truncate("tp", 2));
	IS("truncate by a user clears them", mode_of("tp"), 0777);
	become_root();
	close(setid_file("ot", 06777));
	become(USER_B, GROUP_B, 0);
	must("open", open_close("ot", O_WRONLY | O_TRUNC));
	IS("O_TRUNC by a user clears them", mode_of("ot"), 0777);
	become_root();
	fd = setid_file("fa", 06777);
	become(USER_B, GROUP_B, 0);
	must("fallocate", fallocate(fd, 0, 0, 8192));
	IS("fallocate by a user clears them", mode_of("fa"), 0777);
	become_root();
	close(fd);
	fd = setid_file("ph", 06777);
	become(USER_B, GROUP_B, 0);
	must("fallocate", fallocate(fd, FALLOC_FL_PUNCH_HOLE |
					FALLOC_FL_KEEP_SIZE, 0, 4096));
	IS("a hole by a user clears them", mode_of("ph"), 0777);
	become_root();
	close(fd);
	fd = setid_file("cp", 06777);
	become(USER_B, GROUP_B, 0);
	must("copy_file_range", copy_file_range(fd, NULL, fd, &(loff_t){ 100 },
						4, 0));
	IS("a copy by a user clears them", mode_of("cp"), 0777);
	become_root();
	close(fd);
	fd = setid_file("m", 02666);
	become(USER_B, GROUP_B, 0);
	must("write", pwrite(fd, "x", 1, 0));
	become_root();
	IS("set-group-id without execution stays", mode_of("m") & 0666, 0666);
	close(fd);
}

void group_setid(void)
{
	setid_data();
	close(setid_file("c", 06777));
	must("chown", chown("c", USER_B, (gid_t)-1));
	IS("chown by root clears them", mode_of("c"), 0777);
	close(setid_file("cg", 06777));
	must("chown", chown("cg", (uid_t)-1, GROUP_B));
	IS("chgrp by root clears them", mode_of("cg"), 0777);
	close(setid_file("cn", 06777));
	must("chown", chown("cn", (uid_t)-1, (gid_t)-1));
	IS("chown of neither by root clears them", mode_of("cn"), 0777);
	make_dir("d", 06777);
	must("chown", chown("d", USER_B, GROUP_B));
	IS("chown of a directory keeps them", mode_of("d"), 06777);
	close(setid_file("own", 0755));
	become(USER_A, GROUP_A, 0);
	WORKS("the owner sets set-user-id", chmod("own", 04755));
	WORKS("and set-group-id of its group", chmod("own", 02755));
	IS("which stays", mode_of("own"), 02755);
	become_root();
	must("chown", chown("own", USER_A, GROUP_X));
	become(USER_A, GROUP_A, 0);
	WORKS("set-group-id of another group", chmod("own", 02755));
	IS("is dropped", mode_of("own"), 0755);
	become_root();
	close(setid_file("ng", 02644));
	must("chown", chown("ng", USER_B, (gid_t)-1));
	IS("chown keeps set-group-id without execution", mode_of("ng"),
	   02644);
	close(setid_file("same", 06755));
	become(USER_A, GROUP_A, 0);
	WORKS("chgrp to its own group", chown("same", (uid_t)-1, GROUP_A));
	IS("clears them too", mode_of("same"), 0755);
	become_root();
}

void group_sticky(void)
{
	make_dir("s", 01777);
	put_file("s/a", 0666, "a");
	put_file("s/b", 0666, "b");
	make_dir("s/d", 0777);
	must("chown", chown("s/a", USER_A, GROUP_A));
	must("chown", chown("s/b", USER_B, GROUP_B));
	become(USER_B, GROUP_B, 0);
	FAILS("unlink of another's", EPERM, unlink("s/a"));
	FAILS("rename of another's", EPERM, rename("s/a", "s/c"));
	FAILS("rename over another's", EPERM, rename("s/b", "s/a"));
	FAILS("rmdir of another's", EPERM, rmdir("s/d"));
	WORKS("rename of one's own", rename("s/b", "s/b2"));
	WORKS("unlink of one's own", unlink("s/b2"));
	become_root();
	must("chown", chown("s", USER_B, GROUP_B));
	become(USER_B, GROUP_B, 0);
	WORKS("the directory's owner may", unlink("s/a"));
	must("symlink", symlink("x", "s/l"));
	must("mkfifo", mkfifo("s/p", 0600));
	become(USER_A, GROUP_A, 0);
	FAILS("unlink of another's symlink", EPERM, unlink("s/l"));
	FAILS("and of its fifo", EPERM, unlink("s/p"));
	must("symlink", symlink("x", "s/own"));
	must("mkfifo", mkfifo("s/pipe", 0600));
	WORKS("rename of one's own symlink", rename("s/own", "s/own2"));
	WORKS("unlink of one's own symlink", unlink("s/own2"));
	WORKS("unlink of one's own fifo", unlink("s/pipe"));
	become_root();
	IS("the bit", mode_of("s"), 01777);
}

void group_inherit(void)
{
	make_dir("g", 02777);
	must("chown", chown("g", 0, GROUP_X));
	must("chmod", chmod("g", 02777));
	become(USER_A, GROUP_A, 0);
	must("mkdir", mkdir("g/d", 0755));
	IS("a directory's group", stat_of("g/d").st_gid, GROUP_X);
	IS("and its bit", mode_of("g/d"), 02755);
	IS("and its owner", stat_of("g/d").st_uid, USER_A);
	must("open", open_close("g/f", O_CREAT | O_WRONLY | O_EXCL));
	IS("a file's group", stat_of("g/f").st_gid, GROUP_X);
	IS("and mode", mode_of("g/f"), 0644);
	must("mkfifo", mkfifo("g/p", 0640));
	IS("a fifo's group", stat_of("g/p").st_gid, GROUP_X);
	must("symlink", symlink("f", "g/l"));
	IS("a symlink's group", stat_of("g/l").st_gid, GROUP_X);
	must("mknod", mknod("g/x", S_IFREG | 02755, 0));
	IS("no set-group-id of a foreign group", mode_of("g/x"), 0755);
	become(USER_A, GROUP_A, GROUP_X);
	must("mknod", mknod("g/y", S_IFREG | 02755, 0));
	IS("but of one's own", mode_of("g/y"), 02755);
	become_root();
	make_dir("n", 0777);
	become(USER_A, GROUP_B, 0);
	must("mkdir", mkdir("n/d", 0755));
	must("symlink", symlink("x", "n/l"));
	become_root();
	IS("else the caller's group", stat_of("n/d").st_gid, GROUP_B);
	IS("and owner", stat_of("n/d").st_uid, USER_A);
	IS("of a symlink too", stat_of("n/l").st_uid, USER_A);
}

/* What unpacking an archive does to symlinks, as a user and as root. */
static void owner_symlinks(void)
{
	struct timespec t[2] = { { .tv_sec = 5 }, { .tv_sec = 6 } };
	char target[16] = "";
	struct stat st;

	make_dir("open", 0777);
	become(USER_A, GROUP_A, GROUP_X);
	must("symlink", symlink("../f", "open/l"));
	WORKS("a user sets its symlink's times",
	      utimensat(AT_FDCWD, "open/l", t, AT_SYMLINK_NOFOLLOW));
	IS("to these", stat_of("open/l").st_mtim.tv_sec, 6);
	WORKS("gives it to a group of its own",
	      lchown("open/l", (uid_t)-1, GROUP_X));
	FAILS("and not to somebody else", EPERM,
	      lchown("open/l", USER_B, (gid_t)-1));
	FAILS("chmod of a symlink", EOPNOTSUPP,
	      fchmodat(AT_FDCWD, "open/l", 0600, AT_SYMLINK_NOFOLLOW));
	become_root();
	must("link", link("open/l", "open/l2"));
	must("rename", rename("open/l2", "open/l3"));
	become(USER_B, GROUP_B, 0);
	IS("anybody reads it", readlink("open/l3", target, 15), 4);
	case_text("its target", target, "../f");
	WORKS("and follows it", stat("open/l3", &st));
	FAILS("another sets its times", EPERM,
	      utimensat(AT_FDCWD, "open/l", t, AT_SYMLINK_NOFOLLOW));
	become_root();
	st = stat_of("open/l3");
	IS("it is a symlink", st.st_mode, S_IFLNK | 0777);
	IS("of that size", st.st_size, 4);
	IS("with two names", st.st_nlink, 2);
	IS("of its user", st.st_uid, USER_A);
	IS("and that group", st.st_gid, GROUP_X);
	WORKS("root gives it away", lchown("open/l", USER_B, GROUP_B));
	IS("by each name", stat_of("open/l3").st_uid, USER_B);
	WORKS("root takes it", lchown("open/l", 0, 0));
	IS("by each name of it", stat_of("open/l3").st_uid, 0);
}

void group_owner(void)
{
	int fd = make_file("f", 0644);
	struct stat st;

	make_dir("d", 0755);
	must("symlink", symlink("f", "l"));
	WORKS("chown", chown("f", USER_A, GROUP_A));
	IS("the owner", stat_of("f").st_uid, USER_A);
	IS("the group", stat_of("f").st_gid, GROUP_A);
	WORKS("chown of neither", chown("f", (uid_t)-1, (gid_t)-1));
	WORKS("chown of one", chown("f", USER_B, (gid_t)-1));
	IS("leaves the other", stat_of("f").st_gid, GROUP_A);
	WORKS("fchown", fchown(fd, USER_A, GROUP_A));
	must("fstat", fstat(fd, &st));
	IS("through a descriptor", st.st_uid, USER_A);
	WORKS("chown of a directory", chown("d", USER_A, GROUP_X));
	IS("its group", stat_of("d").st_gid, GROUP_X);
	WORKS("chown through a symlink", chown("l", USER_B, GROUP_B));
	IS("is the file's", stat_of("f").st_uid, USER_B);
	WORKS("lchown", lchown("l", USER_A, GROUP_A));
	IS("is the symlink's", stat_of("l").st_uid, USER_A);
	IS("and not the file's", stat_of("f").st_uid, USER_B);
	WORKS("a large id", chown("f", 0x7ffffffe, 0x7ffffffe));
	IS("as it is", stat_of("f").st_uid, 0x7ffffffe);
	must("chown", chown("f", USER_A, GROUP_A));
	become(USER_A, GROUP_A, GROUP_X);
	WORKS("the owner gives it to a group of its own",
	      chown("f", (uid_t)-1, GROUP_X));
	FAILS("not to another", EPERM, chown("f", (uid_t)-1, GROUP_B));
	FAILS("nor away", EPERM, chown("f", USER_B, (gid_t)-1));
	become(USER_B, GROUP_B, 0);
	FAILS("nor another's", EPERM, chown("f", USER_B, (gid_t)-1));
	become_root();
	owner_symlinks();
	must("unlink", unlink("f"));
	WORKS("fchown of what was removed", fchown(fd, 5, 6));
	must("fstat", fstat(fd, &st));
	IS("holds", st.st_uid, 5);
	WORKS("fchmod of what was removed", fchmod(fd, 0640));
	must("fstat", fstat(fd, &st));
	IS("holds too", st.st_mode & 07777, 0640);
	close(fd);
}
