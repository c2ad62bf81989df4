/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The manual's table of what a guest's root gets for each access=, cell by
 * cell: `vmshare serve` as root and as an ordinary user, with a user namespace
 * and without one. What came of a request is told by a word, as there.
 */

#include "attack_rig.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define MODES	5
#define OTHER	"4711"		/* neither the caller nor root */

static const struct {
	const char *name, *options;
	bool user;
} access_modes[MODES] = {
	{ "passthrough", "access=passthrough", false },
	{ "squash", "access=squash,sandbox=namespace", true },
	{ "squash without namespaces", "access=squash,sandbox=none", true },
	{ "mapped", "access=mapped,sandbox=namespace", true },
	{ "mapped without namespaces", "access=mapped,sandbox=none", true },
};

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", share, name);
	return path;
}

static struct stat on_host(const char *name)
{
	struct stat st = { .st_mode = 0 };

	lstat(path_of(name), &st);
	return st;
}

static bool host_has(const char *name, const char *attr)
{
	return lgetxattr(path_of(name), attr, NULL, 0) >= 0;
}

static const char *error_word(int err)
{
	switch (-err) {
	case EPERM:
		return "EPERM";
	case EACCES:
		return "EACCES";
	case EINVAL:
		return "EINVAL";
	default:
		return strerror(-err);
	}
}

static struct fuse_attr attr_of(uint64_t node)
{
	struct fuse_attr_out a = { .attr = { .mode = 0 } };

	fe_getattr(fe, node, &a);
	return a.attr;
}

/* ---- what is asked for -------------------------------------------------- */

static const char *after_chown(uint64_t node, const char *name)
{
	int err = fe_chown(fe, node, 33, 44);

	if (err)
		return error_word(err);
	if (attr_of(node).uid != 33 || attr_of(node).gid != 44)
		return "ignored";
	return on_host(name).st_uid == 33 ? "done" : "kept";
}

static const char *ask_chown(void)
{
	struct fuse_entry_out e;
	int err = fe_mknod(fe, ROOT, "f", S_IFREG | 0644, 0, &e);

	return err ? error_word(err) : after_chown(e.nodeid, "f");
}

static const char *ask_chown_link(void)
{
	struct fuse_entry_out e;
	int err = fe_symlink(fe, ROOT, "l", "f", &e);

	return err ? error_word(err) : after_chown(e.nodeid, "l");
}

static const char *ask_new(void)
{
	struct fuse_entry_out e;
	int err;

	fe->uid = 7;
	fe->gid = 8;
	err = fe_mknod(fe, ROOT, "new", S_IFREG | 0644, 0, &e);
	fe->uid = fe->gid = 0;
	if (err)
		return error_word(err);
	if (e.attr.uid == 7 && e.attr.gid == 8)
		return "the user's";
	return e.attr.uid == 0 && on_host("new").st_uid == (uid_t)atoi(USER) ?
		       "the caller's" : "somebody's";
}

static const char *ask_device(void)
{
	struct fuse_entry_out e;
	int err = fe_mknod(fe, ROOT, "null", S_IFCHR | 0666, 0x103, &e);

	if (err)
		return error_word(err);
	if (e.attr.mode != (S_IFCHR | 0666) || e.attr.rdev != 0x103)
		return "something else";
	return S_ISCHR(on_host("null").st_mode) ? "done" : "kept";
}

static const char *ask_fifo(void)
{
	struct fuse_entry_out e;
	int err = fe_mknod(fe, ROOT, "fifo", S_IFIFO | 0666, 0, &e);

	if (err)
		return error_word(err);
	if (!S_ISFIFO(e.attr.mode))
		return "something else";
	return S_ISFIFO(on_host("fifo").st_mode) ? "done" : "kept";
}

/* Set, and then root writes to the file. */
static const char *ask_setid(void)
{
	struct fuse_entry_out e;
	uint64_t fh;
	int err = fe_create(fe, ROOT, "setid", O_RDWR, 0644, &e, &fh);

	if (!err)
		err = fe_chmod(fe, e.nodeid, 06755);
	if (err)
		return error_word(err);
	if ((attr_of(e.nodeid).mode & 07777) != 06755)
		return "ignored";
	if (fe_write(fe, e.nodeid, fh, 0, "x", 1) != 1)
		return "not written";
	if ((attr_of(e.nodeid).mode & 07777) != 06755)
		return "cleared by writes";
	return on_host("setid").st_mode & 06000 ? "done" : "kept";
}

static const char *ask_xattr(const char *name, const void *value, size_t len)
{
	char host[96], got[64];
	struct fuse_entry_out e;
	int err;

	fe_unlink(fe, ROOT, "x");
	err = fe_mknod(fe, ROOT, "x", S_IFREG | 0644, 0, &e);
	if (!err)
		err = fe_setxattr(fe, e.nodeid, name, value, len, 0);
	if (err)
		return error_word(err);
	if (fe_getxattr(fe, e.nodeid, name, got, sizeof(got)) != (ssize_t)len)
		return "lost";
	snprintf(host, sizeof(host), "user.vmshare.%s", name);
	if (host_has("x", host))
		return "renamed";
	return host_has("x", name) ? "done" : "nowhere";
}

static const char *ask_user(void)
{
	return ask_xattr("user.x", "1", 1);
}

static const char *ask_trusted(void)
{
	return ask_xattr("trusted.x", "1", 1);
}

static const char *ask_security(void)
{
	return ask_xattr("security.x", "1", 1);
}

static const char *ask_capability(void)
{
	static const char cap[20] = { 1, 0, 0, 2, 0, 4 };

	return ask_xattr("security.capability", cap, sizeof(cap));
}

static const char *ask_acl(const char *id)
{
	struct {
		struct posix_acl_xattr_header head;
		struct posix_acl_xattr_entry e[5];
	} acl = {
		{ POSIX_ACL_XATTR_VERSION },
		{ { ACL_USER_OBJ, 6, (uint32_t)ACL_UNDEFINED_ID },
		  { ACL_USER, 6, (uint32_t)atoi(id) },
		  { ACL_GROUP_OBJ, 4, (uint32_t)ACL_UNDEFINED_ID },
		  { ACL_MASK, 6, (uint32_t)ACL_UNDEFINED_ID },
		  { ACL_OTHER, 0, (uint32_t)ACL_UNDEFINED_ID } },
	};

	return ask_xattr("system.posix_acl_access", &acl, sizeof(acl));
}

static const char *ask_acl_other(void)
{
	return ask_acl(OTHER);
}

static const char *ask_acl_own(void)
{
	return ask_acl(USER);
}

static const char *opened(uint64_t node)
{
	uint64_t fh;
	int err = fe_open(fe, node, O_WRONLY, &fh);

	if (!err)
		err = fe_release(fe, node, fh);
	return err ? error_word(err) : "writable";
}

static const char *ask_0444(void)
{
	struct fuse_entry_out e;
	int err = fe_mknod(fe, ROOT, "ro", S_IFREG | 0644, 0, &e);

	if (!err)
		err = fe_chmod(fe, e.nodeid, 0444);
	return err ? error_word(err) : opened(e.nodeid);
}

static const char *ask_host_0444(void)
{
	struct fuse_entry_out e;
	int err = sh("chmod 444 share/dir/f") ? -EIO :
		  fe_walk(fe, "dir/f", &e);

	return err ? error_word(err) : opened(e.nodeid);
}

static const char *ask_0555(void)
{
	struct fuse_entry_out e;
	int err = fe_mkdir(fe, ROOT, "closed", 0755, &e);

	if (!err)
		err = fe_chmod(fe, e.nodeid, 0555);
	if (!err)
		err = fe_mkdir(fe, e.nodeid, "d", 0755, &e);
	return err ? error_word(err) : "writable";
}

/* How files of the host's root and of its caller are shown. */
static const char *shown_as(const char *name)
{
	static char text[16];
	struct fuse_entry_out e;

	if (fe_lookup(fe, ROOT, name, &e))
		return "not at all";
	snprintf(text, sizeof(text), "%u", e.attr.uid);
	return text;
}

static const char *ask_others(void)
{
	return sh("install -m 644 -o " OTHER " /dev/null share/others") ?
		       "not made" : shown_as("others");
}

static const char *ask_callers(void)
{
	return sh("install -m 644 -o " USER " /dev/null share/own") ?
		       "not made" : shown_as("own");
}

/* ---- the table ---------------------------------------------------------- */

static const struct {
	const char *name;
	const char *(*ask)(void);
	const char *want[MODES];
} rows[] = {
	{ "chown", ask_chown,
	  { "done", "ignored", "ignored", "kept", "kept" } },
	{ "chown, symlink", ask_chown_link,
	  { "done", "ignored", "ignored", "kept", "kept" } },
	{ "new files are", ask_new,
	  { "the user's", "the caller's", "the caller's", "the user's",
	    "the user's" } },
	{ "mknod, device", ask_device,
	  { "done", "EPERM", "EPERM", "kept", "kept" } },
	{ "mkfifo", ask_fifo, { "done", "done", "done", "kept", "kept" } },
	{ "set-id bits", ask_setid,
	  { "done", "cleared by writes", "cleared by writes", "kept",
	    "kept" } },
	{ "user.*", ask_user, { "done", "done", "done", "done", "done" } },
	{ "trusted.*", ask_trusted,
	  { "renamed", "renamed", "renamed", "renamed", "renamed" } },
	{ "security.*", ask_security,
	  { "renamed", "renamed", "renamed", "renamed", "renamed" } },
	{ "file capability", ask_capability,
	  { "done", "renamed", "renamed", "renamed", "renamed" } },
	{ "ACL of another", ask_acl_other,
	  { "done", "EINVAL", "done", "renamed", "renamed" } },
	{ "ACL of the caller", ask_acl_own,
	  { "done", "done", "done", "renamed", "renamed" } },
	{ "a 0444 file", ask_0444,
	  { "writable", "writable", "EACCES", "writable", "writable" } },
	{ "a 0444 file of the host", ask_host_0444,
	  { "writable", "writable", "EACCES", "writable", "EACCES" } },
	{ "a 0555 directory", ask_0555,
	  { "writable", "writable", "EACCES", "writable", "writable" } },
	{ "others' files", ask_others,
	  { OTHER, "65534", OTHER, "65534", OTHER } },
	{ "the caller's", ask_callers, { USER, "0", "0", "0", "0" } },
};

static void table_of(unsigned int m)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got = rows[i].ask();

		if (!strcmp(got, rows[i].want[m]))
			continue;
		printf("# %s: %s, not %s\n", rows[i].name, got,
		       rows[i].want[m]);
		check_failed = 1;
	}
	CHECK(unharmed());
}

static void test_mode(unsigned int m)
{
	if (geteuid())
		SKIP("needs root to become somebody else");
	CHECK_EQ(make_place(access_modes[m].user), 0);
	CHECK_EQ(sh("chmod 777 share"), 0);
	CHECK_EQ(serve(access_modes[m].options, NULL), 0);
	table_of(m);
	shut();
}

#define TEST(m) static void test_##m(void) { test_mode(m); }
TEST(0) TEST(1) TEST(2) TEST(3) TEST(4)

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "passthrough", test_0 },
		{ "squash", test_1 },
		{ "squash without namespaces", test_2 },
		{ "mapped", test_3 },
		{ "mapped without namespaces", test_4 },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
