/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * access=passthrough without root: an ordinary user who was given a range of
 * ids (/etc/subuid, newuidmap) shares them with a guest by uid-map= and
 * gid-map=, or who makes all of the guest's ids its own. The machine's own /etc
 * is left alone: the server's has an overlay.
 */

#include "attack_rig.h"

#define ID(id)	(100000 + (id) - 1)	/* of the guest's 1.. on the host */

static const char *const words[] = {
	"unshare", "-m", "sh", "-c",
	"etc=$(dirname \"$0\")/etc && mkdir -p $etc && "
	"sed '/^vmtest:/d' /etc/passwd >$etc/passwd && "
	"echo vmtest:x:" USER ":" USER "::/:/bin/sh >>$etc/passwd && "
	"echo vmtest:100000:65536 | tee $etc/subuid >$etc/subgid && "
	"mount -t overlay -o lowerdir=$etc:/etc none /etc && "
	"exec setpriv --reuid=" USER " --regid=" USER " --clear-groups \"$@\"",
	share, NULL,
};

static bool usable(void)
{
	return !geteuid() &&
	       !system("command -v newuidmap newgidmap >/dev/null && "
		       "unshare -m mount -t overlay -o lowerdir=/etc:/usr "
		       "none /mnt 2>/dev/null");
}

static struct stat on_host(const char *name)
{
	struct stat st = { 0 };
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", share, name);
	lstat(path, &st);
	return st;
}

static void ranges(void)
{
	struct fuse_entry_out d, e;
	struct fuse_attr_out a;

	CHECK_EQ(make_place(true), 0);
	CHECK_EQ(serve("access=passthrough,"
		       "uid-map=0:" USER ":1,uid-map=1:100000:65536,"
		       "gid-map=0:" USER ":1,gid-map=1:100000:65536", words),
		 0);
	/* The caller is root there, and the other way round. */
	CHECK_EQ(fe_mkdir(fe, ROOT, "d", 0777, &d), 0);
	CHECK_EQ(on_host("d").st_uid, atoi(USER));
	CHECK_EQ(fe_chmod(fe, d.nodeid, 0777), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	CHECK_EQ(e.attr.uid, 0);
	/* A user of the guest is one of the range. */
	fe->uid = 5;
	fe->gid = 6;
	CHECK_EQ(fe_mknod(fe, d.nodeid, "f", S_IFREG | 0600, 0, &e), 0);
	CHECK_EQ(e.attr.uid, 5);
	CHECK_EQ(e.attr.gid, 6);
	CHECK_EQ(on_host("d/f").st_uid, ID(5));
	CHECK_EQ(on_host("d/f").st_gid, ID(6));
	fe->uid = fe->gid = 0;
	/* chown, to what there is and to what there is not. */
	CHECK_EQ(fe_chown(fe, e.nodeid, 33, 65536), 0);
	CHECK_EQ(on_host("d/f").st_uid, ID(33));
	CHECK_EQ(on_host("d/f").st_gid, ID(65536));
	CHECK_EQ(fe_getattr(fe, e.nodeid, &a), 0);
	CHECK_EQ(a.attr.uid, 33);
	CHECK_EQ(fe_chown(fe, e.nodeid, 65537, 0), -EINVAL);
	CHECK_EQ(fe_chmod(fe, e.nodeid, 04711), 0);
	CHECK_EQ(on_host("d/f").st_mode, S_IFREG | 04711);
	/* Others' files can't be taken. */
	CHECK_EQ(sh("echo x >share/roots && chmod 600 share/roots"), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "roots", &e), 0);
	CHECK_EQ(e.attr.uid, 65534);
	CHECK_EQ(fe_chown(fe, e.nodeid, 0, 0), -EPERM);
	CHECK(fe_chmod(fe, e.nodeid, 0666) < 0);
	CHECK(unharmed());
}

static void test_ranges(void)
{
	if (!usable())
		SKIP("needs root, newuidmap and overlayfs");
	ranges();
	shut();
}

/* With ids that nobody gave to the user, it does not serve at all. */
static void not_given(void)
{
	CHECK_EQ(make_place(true), 0);
	CHECK(serve("access=passthrough,uid-map=0:" USER ":1,"
		    "uid-map=1:1:65536,gid-map=0:" USER ":1", words) != 0);
}

static void test_not_given(void)
{
	if (!usable())
		SKIP("needs root, newuidmap and overlayfs");
	not_given();
	shut();
}

/* What rootless callers of virtiofsd give: needs no range, no newuidmap. */
static void squashed(void)
{
	struct fuse_entry_out e;
	struct fuse_attr_out a;

	CHECK_EQ(make_place(true), 0);
	CHECK_EQ(serve("access=passthrough,"
		       "uid-map=squash-guest:0:" USER ":4294967295,"
		       "uid-map=host:" USER ":0:1,"
		       "gid-map=squash-guest:0:" USER ":4294967295,"
		       "gid-map=host:" USER ":0:1", NULL), 0);
	fe->uid = 5;
	fe->gid = 6;
	CHECK_EQ(fe_mknod(fe, ROOT, "f", S_IFREG | 0600, 0, &e), 0);
	CHECK_EQ(e.attr.uid, 0);
	CHECK_EQ(e.attr.gid, 0);
	CHECK_EQ(on_host("f").st_uid, atoi(USER));
	fe->uid = fe->gid = 0;
	CHECK_EQ(fe_chown(fe, e.nodeid, 33, 44), 0);
	CHECK_EQ(fe_getattr(fe, e.nodeid, &a), 0);
	CHECK_EQ(a.attr.uid, 0);
	CHECK_EQ(on_host("f").st_gid, atoi(USER));
	CHECK(unharmed());
}

static void test_squashed(void)
{
	if (geteuid())
		SKIP("needs root to become somebody else");
	squashed();
	shut();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "ranges of /etc/subuid", test_ranges },
		{ "ids of others", test_not_given },
		{ "translations without ranges", test_squashed },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
