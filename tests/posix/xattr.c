/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes of each name space, and access control lists: their
 * form is the kernel's (linux/posix_acl_xattr.h), so no library is needed.
 */

#include "tests/posix/posix.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define ACCESS	"system.posix_acl_access"
#define NO_ID	((uint32_t)ACL_UNDEFINED_ID)
#define DEFAULT	"system.posix_acl_default"

static bool listed(const char *path, const char *name)
{
	char list[4096];
	ssize_t n = llistxattr(path, list, sizeof(list));

	must("llistxattr", n);
	for (char *p = list; p < list + n; p += strlen(p) + 1)
		if (strcmp(p, name) == 0)
			return true;
	return false;
}

static void xattr_spaces(void)
{
	char buf[64];

	WORKS("set trusted.", setxattr("f", "trusted.x", "t", 1, 0));
	IS("get trusted.", getxattr("f", "trusted.x", buf, 64), 1);
	IS("list trusted.", listed("f", "trusted.x"), 1);
	WORKS("set security.", setxattr("f", "security.x", "s", 1, 0));
	IS("get security.", getxattr("f", "security.x", buf, 64), 1);
	FAILS("set in no name space", EOPNOTSUPP,
	      setxattr("f", "none.x", "1", 1, 0));
	FAILS("set without a name behind it", EINVAL,
	      setxattr("f", "user.", "1", 1, 0));
	FAILS("set user. of a symlink", EPERM,
	      lsetxattr("l", "user.x", "1", 1, 0));
	WORKS("set trusted. of a symlink",
	      lsetxattr("l", "trusted.x", "1", 1, 0));
	FAILS("set user. of a fifo", EPERM,
	      setxattr("p", "user.x", "1", 1, 0));
	WORKS("set user. of a directory", setxattr("d", "user.x", "1", 1, 0));
	become(USER_A, GROUP_A, 0);
	FAILS("set without permission", EACCES,
	      setxattr("f", "user.y", "1", 1, 0));
	FAILS("set trusted. as a user", EPERM,
	      setxattr("mine", "trusted.x", "1", 1, 0));
	FAILS("get trusted. as a user", ENODATA,
	      getxattr("f", "trusted.x", buf, 64));
	IS("list trusted. as a user", listed("f", "trusted.x"), 0);
	FAILS("set security. as a user", EPERM,
	      setxattr("mine", "security.x", "1", 1, 0));
	WORKS("set user. of one's own",
	      setxattr("mine", "user.x", "1", 1, 0));
	become_root();
}

void group_xattr(void)
{
	static char big[65537];
	char buf[300], name[300];

	close(make_file("f", 0644));
	close(make_file("mine", 0644));
	must("chown", chown("mine", USER_A, GROUP_A));
	make_dir("d", 0755);
	must("symlink", symlink("f", "l"));
	must("mkfifo", mkfifo("p", 0644));
	WORKS("set", setxattr("f", "user.x", "hello", 5, 0));
	IS("size", getxattr("f", "user.x", NULL, 0), 5);
	IS("get", getxattr("f", "user.x", buf, sizeof(buf)), 5);
	IS("what was set", memcmp(buf, "hello", 5), 0);
	FAILS("get into little room", ERANGE, getxattr("f", "user.x", buf, 2));
	FAILS("get nothing", ENODATA, getxattr("f", "user.none", buf, 10));
	FAILS("get of nothing", ENOENT, getxattr("none", "user.x", buf, 10));
	IS("list", listed("f", "user.x"), 1);
	FAILS("list into little room", ERANGE, listxattr("f", buf, 3));
	FAILS("create what is there", EEXIST,
	      setxattr("f", "user.x", "1", 1, XATTR_CREATE));
	WORKS("replace", setxattr("f", "user.x", "new", 3, XATTR_REPLACE));
	FAILS("replace nothing", ENODATA,
	      setxattr("f", "user.y", "1", 1, XATTR_REPLACE));
	WORKS("create", setxattr("f", "user.y", "", 0, XATTR_CREATE));
	IS("an empty value", getxattr("f", "user.y", buf, 10), 0);
	WORKS("remove", removexattr("f", "user.y"));
	FAILS("remove again", ENODATA, removexattr("f", "user.y"));
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[255] = '\0';
	WORKS("a name of 255 bytes", setxattr("f", name, "1", 1, 0));
	IS("is listed", listed("f", name), 1);
	WORKS("and goes", removexattr("f", name));
	name[255] = 'n';
	name[256] = '\0';
	FAILS("a name of 256 bytes", ERANGE, setxattr("f", name, "1", 1, 0));
	memset(big, 'v', sizeof(big));
	WORKS("a value of 1024 bytes",
	      setxattr("d", "user.big", big, 1024, 0));
	FAILS("a value beyond 64 KiB", E2BIG,
	      setxattr("f", "user.big", big, sizeof(big), 0));
	WORKS("set through a symlink", setxattr("l", "user.l", "1", 1, 0));
	IS("is the file's", listed("f", "user.l"), 1);
	xattr_spaces();
	must("setxattr", setxattr("f", "security.capability",
				  "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
				  20, 0));
	must("chown", chown("f", USER_A, GROUP_A));
	FAILS("chown takes a capability", ENODATA,
	      getxattr("f", "security.capability", buf, 64));
}

/* ---- access control lists ----------------------------------------------- */

struct acl {
	struct posix_acl_xattr_header head;
	struct posix_acl_xattr_entry e[5];
};

/* Owner, one user, group, mask, others. */
static struct acl acl_of(unsigned int owner, uint32_t uid, unsigned int user,
			 unsigned int group, unsigned int mask,
			 unsigned int other)
{
	return (struct acl){
		{ POSIX_ACL_XATTR_VERSION },
		{ { ACL_USER_OBJ, (uint16_t)owner, NO_ID },
		  { ACL_USER, (uint16_t)user, uid },
		  { ACL_GROUP_OBJ, (uint16_t)group, NO_ID },
		  { ACL_MASK, (uint16_t)mask, NO_ID },
		  { ACL_OTHER, (uint16_t)other, NO_ID } },
	};
}

static int open_close(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);

	return fd < 0 ? -1 : close(fd);
}

static void acl_default(void)
{
	struct acl acl = acl_of(7, USER_A, 7, 5, 7, 0), got;
	struct {
		struct posix_acl_xattr_header head;
		struct posix_acl_xattr_entry e[3];
	} small = {
		{ POSIX_ACL_XATTR_VERSION },
		{ { ACL_USER_OBJ, 6, NO_ID }, { ACL_GROUP_OBJ, 4, NO_ID },
		  { ACL_OTHER, 0, NO_ID } },
	};

	make_dir("d", 0755);
	WORKS("set a default list",
	      setxattr("d", DEFAULT, &acl, sizeof(acl), 0));
	umask(077);
	must("create", open_close("d/f", O_CREAT | O_WRONLY | O_EXCL));
	must("mkdir", mkdir("d/sub", 0777));
	umask(0);
	IS("a file gets it, not the umask", mode_of("d/f"), 0660);
	IS("as its own",
	   getxattr("d/f", ACCESS, &got, sizeof(got)), sizeof(got));
	IS("a directory gets it", mode_of("d/sub"), 0770);
	IS("and hands it on", getxattr("d/sub", DEFAULT, NULL, 0),
	   sizeof(acl));
	become(USER_A, GROUP_A, 0);
	WORKS("the user may write there", open_close("d/f", O_RDWR));
	WORKS("and create", open_close("d/sub/n", O_CREAT | O_WRONLY));
	become(USER_B, GROUP_B, 0);
	FAILS("another may not", EACCES, open_close("d/f", O_RDONLY));
	become_root();
	/* A list of three says what a mode says, and is one all the same. */
	WORKS("a default list that is a mode",
	      setxattr("d", DEFAULT, &small, sizeof(small), 0));
	umask(077);
	must("create", open_close("d/small", O_CREAT | O_WRONLY | O_EXCL));
	must("mkdir", mkdir("d/smalldir", 0777));
	umask(0);
	IS("a file gets that mode", mode_of("d/small"), 0640);
	FAILS("and no list", ENODATA,
	      getxattr("d/small", ACCESS, &got, sizeof(got)));
	IS("a directory gets the list",
	   getxattr("d/smalldir", DEFAULT, NULL, 0), sizeof(small));
	WORKS("remove the default list", removexattr("d", DEFAULT));
	FAILS("a default list of a file", EACCES,
	      setxattr("d/f", DEFAULT, &acl, sizeof(acl), 0));
}

void group_acl(void)
{
	struct acl acl = acl_of(6, USER_A, 6, 4, 6, 0), got;
	struct acl bad = acl_of(6, USER_A, 6, 4, 6, 8);

	close(make_file("f", 0640));
	become(USER_A, GROUP_A, 0);
	FAILS("without a list", EACCES, open_close("f", O_RDONLY));
	become_root();
	WORKS("set", setxattr("f", ACCESS, &acl, sizeof(acl), 0));
	IS("get", getxattr("f", ACCESS, &got, sizeof(got)), sizeof(got));
	IS("what was set", memcmp(&got, &acl, sizeof(acl)), 0);
	IS("the mode has the mask", mode_of("f"), 0660);
	become(USER_A, GROUP_A, 0);
	WORKS("the user may", open_close("f", O_RDWR));
	become(USER_B, GROUP_B, 0);
	FAILS("another may not", EACCES, open_close("f", O_RDONLY));
	become_root();
	WORKS("chmod changes the mask", chmod("f", 0600));
	become(USER_A, GROUP_A, 0);
	FAILS("which holds the user", EACCES, open_close("f", O_RDONLY));
	FAILS("the user does not change the list", EPERM,
	      setxattr("f", ACCESS, &acl, sizeof(acl), 0));
	become_root();
	FAILS("nonsense", EINVAL, setxattr("f", ACCESS, "xx", 2, 0));
	FAILS("bits that are none", EINVAL,
	      setxattr("f", ACCESS, &bad, sizeof(bad), 0));
	WORKS("remove", removexattr("f", ACCESS));
	FAILS("is gone", ENODATA, getxattr("f", ACCESS, &got, sizeof(got)));
	acl_default();
}
