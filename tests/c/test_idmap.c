/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * access=passthrough: ids as they are, and as uid-map= and gid-map= have them,
 * in owners and in access control lists. All of it is root's to do.
 */

#include "tests/c/owner_rig.h"

#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

static void id_maps(void)
{
	struct fuse_attr attr;
	uint64_t node;

	rig_prepare(&rig);
	rig.options.access = FS_ACCESS_PASSTHROUGH;
	rig.options.uid_map.range[0] = (struct id_range){ 0, 0, 1,
						      ID_RANGE };
	rig.options.uid_map.range[1] = (struct id_range){ 1, 100001, 999,
						      ID_RANGE };
	rig.options.uid_map.nr = 2;
	rig.options.gid_map.range[0] = (struct id_range){ 0, 200000, 1000,
						      ID_RANGE };
	rig.options.gid_map.nr = 1;
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 5, 6, &node), 0);
	attr = attr_of(node);
	CHECK_EQ(attr.uid, 5);
	CHECK_EQ(attr.gid, 6);
	CHECK_EQ(on_host("f").st_uid, 100005);
	CHECK_EQ(on_host("f").st_gid, 200006);
	CHECK_EQ(make_node("g", S_IFREG | 0644, 0, 5000, 6, &node), -EOVERFLOW);
	CHECK_EQ(set_attr(rig_node(&rig, FUSE_ROOT_ID, "f"), FATTR_UID, 0,
			  5000, 0), -EINVAL);
	CHECK_EQ(set_attr(rig_node(&rig, FUSE_ROOT_ID, "f"), FATTR_UID, 0,
			  999, 0), 0);
	CHECK_EQ(on_host("f").st_uid, 100999);
	CHECK_EQ(fchownat(rig.dirfd, "f", 3, 3, 0), 0);
	attr = attr_of(rig_node(&rig, FUSE_ROOT_ID, "f"));
	CHECK_EQ(attr.uid, 65534);
	CHECK_EQ(attr.gid, 65534);
	rig_stop(&rig);
}

/* virtiofsd's translations: what none names stays as it is. */
static void translations(void)
{
	const struct id_range map[] = {
		{ 10, 110, 5, ID_MAP }, { 20, 120, 5, ID_GUEST },
		{ 30, 130, 5, ID_HOST }, { 40, 77, 5, ID_SQUASH_GUEST },
		{ 88, 150, 5, ID_SQUASH_HOST },
		{ 60, 0, 5, ID_FORBID_GUEST },
	};
	/* A guest's id, and the host's that it becomes; then the reverse. */
	static const uint32_t host[][2] = {
		{ 12, 112 }, { 15, 15 }, { 22, 122 }, { 32, 32 }, { 44, 77 },
		{ 88, 88 }, { 0, 0 }, { 4000000, 4000000 },
	};
	static const uint32_t guest[][2] = {
		{ 112, 12 }, { 115, 115 }, { 122, 122 }, { 132, 32 },
		{ 77, 77 }, { 154, 88 }, { 155, 155 }, { 60, 60 },
	};
	struct fuse_attr attr;
	uint64_t node;

	rig_prepare(&rig);
	rig.options.access = FS_ACCESS_PASSTHROUGH;
	memcpy(rig.options.uid_map.range, map, sizeof(map));
	memcpy(rig.options.gid_map.range, map, sizeof(map));
	rig.options.uid_map.nr = rig.options.gid_map.nr = ARRAY_SIZE(map);
	CHECK_EQ(rig_up(&rig), 0);
	for (size_t i = 0; i < ARRAY_SIZE(host); i++) {
		CHECK_EQ(make_node("f", S_IFREG | 0644, 0, host[i][0],
				   host[i][0], &node), 0);
		CHECK_EQ(on_host("f").st_uid, host[i][1]);
		CHECK_EQ(on_host("f").st_gid, host[i][1]);
		CHECK_EQ(rig_remove(&rig, FUSE_UNLINK, FUSE_ROOT_ID, "f"), 0);
	}
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 64, 0, &node), -EPERM);
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 0, 60, &node), -EPERM);
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 0, 0, &node), 0);
	CHECK_EQ(set_attr(node, FATTR_UID, 0, 62, 0), -EPERM);
	for (size_t i = 0; i < ARRAY_SIZE(guest); i++) {
		CHECK_EQ(fchownat(rig.dirfd, "f", guest[i][0], guest[i][0], 0),
			 0);
		attr = attr_of(node);
		CHECK_EQ(attr.uid, guest[i][1]);
		CHECK_EQ(attr.gid, guest[i][1]);
	}
	rig_stop(&rig);
}

/* The ids in an access control list are ids like others. */
static void acl_ids(void)
{
	struct {
		struct posix_acl_xattr_header head;
		struct posix_acl_xattr_entry e[6];
	} acl = {
		{ htole32(POSIX_ACL_XATTR_VERSION) },
		{ { htole16(ACL_USER_OBJ), htole16(6), ~0u },
		  { htole16(ACL_USER), htole16(6), htole32(5) },
		  { htole16(ACL_GROUP_OBJ), htole16(4), ~0u },
		  { htole16(ACL_GROUP), htole16(4), htole32(6) },
		  { htole16(ACL_MASK), htole16(6), ~0u },
		  { htole16(ACL_OTHER), htole16(0), ~0u } },
	}, got;
	const char *name = "system.posix_acl_access";
	char path[128];
	uint64_t node;

	rig_prepare(&rig);
	rig.options.access = FS_ACCESS_PASSTHROUGH;
	rig.options.uid_map.range[0] = (struct id_range){ 0, 100000, 100,
						      ID_RANGE };
	rig.options.gid_map.range[0] = (struct id_range){ 0, 200000, 100,
						      ID_RANGE };
	rig.options.uid_map.nr = rig.options.gid_map.nr = 1;
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(make_node("f", S_IFREG | 0640, 0, 0, 0, &node), 0);
	CHECK_EQ(set_xattr_to(node, name, &acl, sizeof(acl)), 0);
	snprintf(path, sizeof(path), "%s/f", rig.dir);
	CHECK_EQ(getxattr(path, name, &got, sizeof(got)), sizeof(got));
	CHECK_EQ(le32toh(got.e[1].e_id), 100005);
	CHECK_EQ(le32toh(got.e[3].e_id), 200006);
	CHECK_EQ(get_xattr(node, name), sizeof(acl));
	CHECK(!memcmp(rq_reply(&rig), &acl, sizeof(acl)));
	acl.e[1].e_id = htole32(100);
	CHECK_EQ(set_xattr_to(node, name, &acl, sizeof(acl)), -EINVAL);
	CHECK_EQ(set_xattr_to(node, name, &acl, 3), -EINVAL);
	rig_stop(&rig);
}

/* Acting as the caller: with its groups, and not with the server's. */
static void passthrough(void)
{
	struct stat st;
	uint64_t node;

	CHECK_EQ(up(FS_ACCESS_PASSTHROUGH), 0);
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 77, 78, &node), 0);
	st = on_host("f");
	CHECK_EQ(st.st_uid, 77);
	CHECK_EQ(st.st_gid, 78);
	/* The thread is itself again. */
	CHECK_EQ(geteuid(), 0);
	CHECK_EQ(make_node("r", S_IFREG | 02755, 0, 0, 0, &node), 0);
	CHECK_EQ(on_host("r").st_uid, 0);
	/* In a set-group-id directory of a group that it is not in. */
	CHECK_EQ(fchownat(rig.dirfd, ".", 0, 500, 0), 0);
	CHECK_EQ(fchmod(rig.dirfd, 02777), 0);
	CHECK_EQ(make_node("s", S_IFREG | 02755, 0, 77, 78, &node), 0);
	CHECK_EQ(on_host("s").st_gid, 500);
	CHECK_EQ(on_host("s").st_mode, S_IFREG | 0755);
	/* A directory that only a supplementary group may write to: guests
	 * before 6.12 do not name it, and have checked it. */
	CHECK_EQ(fchmod(rig.dirfd, 0770), 0);
	CHECK_EQ(make_node("t", S_IFREG | 0644, 0, 77, 78, &node), 0);
	CHECK_EQ(on_host("t").st_uid, 77);
	CHECK_EQ(make_node("u", S_IFREG | 0644, 0, ~0u, 78, &node),
		 -EOVERFLOW);
	CHECK_EQ(make_node("u", S_IFREG | 0644, 0, 5, ~0u, &node), -EOVERFLOW);
	rig_stop(&rig);
}

ROOT(id_maps)
ROOT(translations)
ROOT(acl_ids)
ROOT(passthrough)

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "uid-map= and gid-map= translate", test_id_maps },
		{ "each kind of translation", test_translations },
		{ "ids in access control lists", test_acl_ids },
		{ "without a map ids stay as they are", test_passthrough },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
