/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * Access control lists of mapped files: kept for the guest, of no effect on the
 * host, in step with the mode, and handed on to what is made.
 */
#include "tests/c/owner_rig.h"

#include "fsserver/owners/acl.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

struct acl {
	struct posix_acl_xattr_header head;
	struct posix_acl_xattr_entry e[5];
};

/* Owner, a user, group, mask, others. */
static struct acl acl_of(uint16_t owner, uint16_t user, uint16_t group,
			 uint16_t mask, uint16_t other)
{
	return (struct acl){
		{ POSIX_ACL_XATTR_VERSION },
		{ { ACL_USER_OBJ, owner, ~0u }, { ACL_USER, user, 4000 },
		  { ACL_GROUP_OBJ, group, ~0u }, { ACL_MASK, mask, ~0u },
		  { ACL_OTHER, other, ~0u } },
	};
}

static int set_acl(uint64_t node, const char *name, const void *acl,
		   size_t size)
{
	struct fuse_setxattr_in in = { .size = (uint32_t)size };

	rq(&rig, FUSE_SETXATTR, node);
	rq_put(&rig, &in, sizeof(in));
	rq_str(&rig, name);
	rq_put(&rig, acl, size);
	return rq_run(&rig);
}

static int remove_xattr(uint64_t node, const char *name)
{
	rq(&rig, FUSE_REMOVEXATTR, node);
	rq_str(&rig, name);
	return rq_run(&rig);
}

/* The file's list is this one. */
static bool acl_is(uint64_t node, const char *name, struct acl want)
{
	return get_xattr(node, name) == sizeof(want) &&
	       !memcmp(rq_reply(&rig), &want, sizeof(want));
}

static void follows_mode(void)
{
	struct acl acl = acl_of(7, 6, 5, 4, 1);
	uint64_t node;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(make_node("f", S_IFREG | 02755, 0, 77, 78, &node), 0);
	CHECK_EQ(get_xattr(node, ACL_ACCESS), -ENODATA);
	CHECK_EQ(remove_xattr(node, ACL_ACCESS), 0);
	CHECK_EQ(set_acl(node, ACL_ACCESS, &acl, sizeof(acl)), 0);
	CHECK(acl_is(node, ACL_ACCESS, acl));
	/* The mode has the mask's bits; nothing of it is the host's. */
	CHECK_EQ(attr_of(node).mode, S_IFREG | 02741);
	CHECK_EQ(on_host("f").st_mode, S_IFREG | 0700);
	CHECK(host_has("f", "user.vmshare." ACL_ACCESS));
	CHECK(!host_has("f", ACL_ACCESS));
	CHECK(lists(node, ACL_ACCESS));
	CHECK(!lists(node, "user.vmshare." ACL_ACCESS));
	/* And the other way round. */
	CHECK_EQ(set_attr(node, FATTR_MODE, 0620, 0, 0), 0);
	CHECK(acl_is(node, ACL_ACCESS, acl_of(6, 6, 5, 2, 0)));
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0620);
	CHECK_EQ(set_acl(node, ACL_DEFAULT, &acl, sizeof(acl)), -EACCES);
	CHECK_EQ(remove_xattr(node, ACL_ACCESS), 0);
	CHECK_EQ(get_xattr(node, ACL_ACCESS), -ENODATA);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0620);
	/* One that says no more than a mode is none. */
	acl.e[1] = acl.e[2];
	acl.e[2] = acl.e[4];
	CHECK_EQ(set_acl(node, ACL_ACCESS, &acl, sizeof(acl.head) +
			 3 * sizeof(acl.e[0])), 0);
	CHECK_EQ(get_xattr(node, ACL_ACCESS), -ENODATA);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0751);
	rig_stop(&rig);
}

/* A directory's default list, which takes the place of the umask. */
static void handed_on(void)
{
	struct fuse_mkdir_in mkdir_in = { .mode = 0777, .umask = 077 };
	struct fuse_mknod_in file = { .mode = S_IFREG | 0664, .umask = 077 };
	struct acl acl = acl_of(7, 6, 5, 7, 0);
	const struct fuse_entry_out *entry;
	uint64_t dir, sub;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(rig_mkdir(&rig, FUSE_ROOT_ID, "d", &dir), 0);
	CHECK_EQ(set_acl(dir, ACL_DEFAULT, &acl, sizeof(acl)), 0);
	CHECK_EQ(attr_of(dir).mode, S_IFDIR | 0755);
	rq(&rig, FUSE_MKDIR, dir);
	rq_put(&rig, &mkdir_in, sizeof(mkdir_in));
	rq_str(&rig, "sub");
	CHECK_EQ(rq_run(&rig), 0);
	entry = rq_reply(&rig);
	sub = entry->nodeid;
	CHECK_EQ(entry->attr.mode, S_IFDIR | 0770);
	CHECK(acl_is(sub, ACL_DEFAULT, acl));
	CHECK(acl_is(sub, ACL_ACCESS, acl));
	rq(&rig, FUSE_MKNOD, sub);
	rq_put(&rig, &file, sizeof(file));
	rq_str(&rig, "f");
	CHECK_EQ(rq_run(&rig), 0);
	entry = rq_reply(&rig);
	CHECK_EQ(entry->attr.mode, S_IFREG | 0660);
	CHECK(acl_is(entry->nodeid, ACL_ACCESS, acl_of(6, 6, 5, 6, 0)));
	rq(&rig, FUSE_MKNOD, FUSE_ROOT_ID);
	rq_put(&rig, &file, sizeof(file));
	rq_str(&rig, "f");
	CHECK_EQ(rq_run(&rig), 0);
	CHECK_EQ(entry->attr.mode, S_IFREG | 0600);
	CHECK_EQ(remove_xattr(sub, ACL_DEFAULT), 0);
	CHECK_EQ(get_xattr(sub, ACL_DEFAULT), -ENODATA);
	rig_stop(&rig);
}

static void nonsense(void)
{
	struct acl good = acl_of(7, 6, 5, 4, 1), bad;
	char path[128];
	uint64_t node;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 0, 0, &node), 0);
	for (size_t size = 0; size < sizeof(good); size++)
		CHECK_EQ(set_acl(node, ACL_ACCESS, &good, size), -EINVAL);
	for (size_t i = 0; i < 5; i++) {
		bad = good;
		bad.e[i].e_perm = 8;
		CHECK_EQ(set_acl(node, ACL_ACCESS, &bad, sizeof(bad)), -EINVAL);
		bad = good;
		bad.e[i].e_tag = bad.e[(i + 2) % 5].e_tag;
		CHECK_EQ(set_acl(node, ACL_ACCESS, &bad, sizeof(bad)), -EINVAL);
	}
	bad = good;
	bad.head.a_version++;
	CHECK_EQ(set_acl(node, ACL_ACCESS, &bad, sizeof(bad)), -EINVAL);
	/* A host's user may write what he likes: it is no list. */
	snprintf(path, sizeof(path), "%s/f", rig.dir);
	CHECK_EQ(setxattr(path, "user.vmshare." ACL_ACCESS, "x", 1, 0), 0);
	CHECK_EQ(set_attr(node, FATTR_MODE, 0600, 0, 0), 0);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0600);
	/* A guest that knows no lists has none. */
	CHECK_EQ(rig_init_flags(&rig, ~(uint64_t)FUSE_POSIX_ACL, NULL), 0);
	node = rig_node(&rig, FUSE_ROOT_ID, "f");
	CHECK_EQ(set_acl(node, ACL_ACCESS, &good, sizeof(good)), -EOPNOTSUPP);
	CHECK_EQ(get_xattr(node, ACL_ACCESS), -EOPNOTSUPP);
	CHECK(!lists(node, ACL_ACCESS));
	rig_stop(&rig);
}

BOTH_XATTRS(follows_mode)
BOTH_XATTRS(handed_on)
BOTH_XATTRS(nonsense)

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "the list follows the mode", test_follows_mode },
		{ "a default list is handed on", test_handed_on },
		{ "a list that is none is refused", test_nonsense },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
