/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * access=squash and mapped: what a guest sees of owners and modes, and what is
 * then on the host. The server is an ordinary user where that makes the
 * difference; so each case runs in a process of its own.
 */

#include "tests/c/owner_rig.h"

#include "fsserver/nodes/nodetab.h"

#include <dirent.h>
#include <limits.h>
#include <sys/sysmacros.h>

/* ---- squash ------------------------------------------------------------- */

static void squash(void)
{
	uint64_t node, fh, other;
	struct fuse_attr attr;

	CHECK_EQ(up(FS_ACCESS_SQUASH), 0);
	/* Whoever creates: it is the server's user there, root's here. */
	CHECK_EQ(make_node("f", S_IFREG | 04755, 0, 77, 78, &node), 0);
	attr = attr_of(node);
	CHECK_EQ(attr.uid, 0);
	CHECK_EQ(attr.gid, 0);
	CHECK_EQ(on_host("f").st_uid, geteuid());
	CHECK_EQ(on_host("f").st_mode, S_IFREG | 04755);
	/* A chown that can't be is none. */
	CHECK_EQ(set_attr(node, FATTR_UID | FATTR_GID, 0, 55, 66), 0);
	CHECK_EQ(attr_of(node).uid, geteuid() ? 0 : 55);
	CHECK_EQ(set_attr(node, FATTR_UID | FATTR_GID, 0, 0, 0), 0);
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK_EQ(on_host("f").st_uid, geteuid());
	CHECK_EQ(set_attr(node, FATTR_UID, 0, ~0u, 0), -EINVAL);
	CHECK_EQ(set_attr(node, FATTR_MODE, 0640, 0, 0), 0);
	CHECK_EQ(on_host("f").st_mode, S_IFREG | 0640);
	CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "g", O_RDWR, &other, &fh), 0);
	CHECK_EQ(write_as(other, fh, 0), 0);
	if (geteuid()) {
		CHECK_EQ(make_node("dev", S_IFCHR | 0600, 0x103, 0, 0, &node),
			 -EPERM);
	}
	rig_stop(&rig);
}

/* squash=UID:GID: the server's own files are that user's, both ways. */
static void squash_as(void)
{
	struct fuse_attr attr;
	uint64_t node;

	rig_prepare(&rig);
	rig.options.access = FS_ACCESS_SQUASH;
	rig.options.squash_uid = 77;
	rig.options.squash_gid = 78;
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 77, 78, &node), 0);
	attr = attr_of(node);
	CHECK(attr.uid == 77 && attr.gid == 78);
	CHECK_EQ(on_host("f").st_uid, geteuid());
	CHECK_EQ(on_host("f").st_gid, getegid());
	/* To whose it is, and to nobody of either. */
	CHECK_EQ(set_attr(node, FATTR_UID | FATTR_GID, 0, 77, 78), 0);
	CHECK_EQ(on_host("f").st_uid, geteuid());
	CHECK_EQ(on_host("f").st_gid, getegid());
	CHECK_EQ(set_attr(node, FATTR_UID | FATTR_GID, 0, 55, 66), 0);
	CHECK_EQ(attr_of(node).uid, geteuid() ? 77 : 55);
	rig_stop(&rig);
}

/* A root that others own: what the user namespace can't name is root's. */
static void unnamed(void)
{
	struct fuse_attr attr;
	uint64_t node;

	rig_prepare(&rig);
	rig.options.access = FS_ACCESS_SQUASH;
	rig.options.unnamed_as_root = true;
	rig.place.userns = true;
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(make_node("f", S_IFREG | 0644, 0, 0, 0, &node), 0);
	CHECK_EQ(fchownat(rig.dirfd, "f", 65534, 65534, 0), 0);
	attr = attr_of(node);
	CHECK_EQ(attr.uid, 0);
	CHECK_EQ(attr.gid, 0);
	CHECK_EQ(fchownat(rig.dirfd, "f", 7, 8, 0), 0);
	attr = attr_of(node);
	CHECK_EQ(attr.uid, 7);
	CHECK_EQ(attr.gid, 8);
	rig_stop(&rig);
}

/* overlayfs asks for these of files that the server's user can't read. */
static void xattr_unreadable(void)
{
	uint64_t node;

	CHECK_EQ(up(FS_ACCESS_SQUASH), 0);
	CHECK_EQ(make_node("f", S_IFREG | 0, 0, 0, 0, &node), 0);
	CHECK_EQ(get_xattr(node, "trusted.overlay.metacopy"), -ENODATA);
	CHECK_EQ(get_xattr(node, "security.selinux"), -ENODATA);
	CHECK_EQ(get_xattr(node, "user.x"), geteuid() ? -EACCES : -ENODATA);
	rig_stop(&rig);
}

/* ---- mapped ------------------------------------------------------------- */

static void mapped(void)
{
	struct fuse_attr attr;
	uint64_t node;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(make_node("f", S_IFREG | 06755, 0, 77, 78, &node), 0);
	attr = attr_of(node);
	CHECK_EQ(attr.uid, 77);
	CHECK_EQ(attr.gid, 78);
	CHECK_EQ(attr.mode, S_IFREG | 06755);
	/* On the host: the caller's, and nobody else's. */
	CHECK_EQ(on_host("f").st_uid, geteuid());
	CHECK_EQ(on_host("f").st_mode, S_IFREG | 0700);
	CHECK(host_has("f", "user.vmshare.owner"));
	/* By name as well as by node. */
	CHECK_EQ(rig_node(&rig, FUSE_ROOT_ID, "f"), node);
	CHECK_EQ(set_attr(node, FATTR_MODE, 0444, 0, 0), 0);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0444);
	CHECK_EQ(on_host("f").st_mode, S_IFREG | 0600);
	CHECK_EQ(set_attr(node, FATTR_UID, 0, 4000000, 0), 0);
	CHECK_EQ(attr_of(node).uid, 4000000);
	CHECK_EQ(attr_of(node).gid, 78);
	CHECK_EQ(on_host("f").st_uid, geteuid());
	/* A directory that its guest's owner may not enter. */
	CHECK_EQ(rig_mkdir(&rig, FUSE_ROOT_ID, "d", &node), 0);
	CHECK_EQ(set_attr(node, FATTR_MODE, 0, 0, 0), 0);
	CHECK_EQ(attr_of(node).mode, S_IFDIR);
	CHECK_EQ(on_host("d").st_mode, S_IFDIR | 0700);
	CHECK_EQ(rig_mkdir(&rig, node, "e", NULL), 0);
	rig_stop(&rig);
}

static void mapped_types(void)
{
	static const uint32_t types[] = { S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };
	struct fuse_attr attr;
	uint64_t node;
	char name[8];

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		/* major 259, minor 300 in the kernel's encoding */
		uint32_t rdev = 259 << 8 | (300 & 0xff) | (300 & ~0xffu) << 12;
		bool device = S_ISCHR(types[i]) || S_ISBLK(types[i]);

		snprintf(name, sizeof(name), "n%zu", i);
		CHECK_EQ(make_node(name, types[i] | 0666, rdev, 5, 6, &node),
			 0);
		attr = attr_of(node);
		CHECK_EQ(attr.mode, types[i] | 0666);
		CHECK_EQ(attr.rdev, device ? rdev : 0);
		CHECK_EQ(attr.uid, 5);
		CHECK_EQ(on_host(name).st_mode, S_IFREG | 0600);
		CHECK_EQ(on_host(name).st_size, 0);
	}
	rig_stop(&rig);
}

/* Root's is one on the host, any other's a file with its target. */
static void mapped_symlinks(void)
{
	struct fuse_attr attr;
	uint64_t node, other;
	char target[128] = "";

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(make_link("l", "n0", 0, &node), 0);
	CHECK_EQ(on_host("l").st_mode & S_IFMT, S_IFLNK);
	CHECK_EQ(attr_of(node).mode, S_IFLNK | 0777);
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK(links_to(node, "n0"));
	CHECK_EQ(set_attr(node, FATTR_MODE, 0600, 0, 0), -EOPNOTSUPP);
	CHECK_EQ(set_attr(node, FATTR_UID, 0, 0, 0), 0);
	CHECK_EQ(on_host("l").st_mode & S_IFMT, S_IFLNK);

	CHECK_EQ(make_link("u", "../elsewhere", 5, &node), 0);
	CHECK_EQ(on_host("u").st_mode, S_IFREG | 0600);
	CHECK_EQ(on_host("u").st_size, 12);
	attr = attr_of(node);
	CHECK_EQ(attr.mode, S_IFLNK | 0777);
	CHECK_EQ(attr.uid, 5);
	CHECK_EQ(attr.gid, 5);
	CHECK_EQ(attr.size, 12);
	CHECK(links_to(node, "../elsewhere"));
	CHECK_EQ(set_attr(node, FATTR_MODE, 0600, 0, 0), -EOPNOTSUPP);
	CHECK_EQ(set_attr(node, FATTR_UID | FATTR_GID, 0, 0, 0), 0);
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK(links_to(node, "../elsewhere"));
	CHECK_EQ(set_xattr(node, "trusted.x", "1"), 0);
	CHECK_EQ(make_link("u", "again", 5, &other), -EEXIST);
	/* What is a file for the guest is no symlink. */
	CHECK_EQ(make_node("f", S_IFREG | 0600, 0, 5, 5, &other), 0);
	CHECK(!links_to(other, ""));
	/* The host's caller may cut it short or fill it. */
	snprintf(target, sizeof(target), "%s/u", rig.dir);
	CHECK_EQ(truncate(target, 0), 0);
	CHECK_EQ(attr_of(node).mode & S_IFMT, S_IFREG);
	CHECK_EQ(truncate(target, PATH_MAX), 0);
	CHECK(!links_to(node, ""));
	CHECK_EQ(attr_of(node).mode & S_IFMT, S_IFREG);
	rig_stop(&rig);
}

static int names_in(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	for (struct dirent *d; dir && (d = readdir(dir));)
		n += d->d_name[0] != '.' || strlen(d->d_name) > 2;
	if (dir)
		closedir(dir);
	return n;
}

/* One that root gives away stays what the guest knows. */
static void mapped_symlink_given(void)
{
	struct timespec times[2] = { { .tv_sec = 5 }, { .tv_sec = 6 } };
	struct fuse_attr attr;
	uint64_t node;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(make_link("l", "target", 0, &node), 0);
	CHECK_EQ(utimensat(rig.dirfd, "l", times, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_EQ(set_attr(node, FATTR_UID | FATTR_GID, 0, 5, 6), 0);
	CHECK_EQ(on_host("l").st_mode, S_IFREG | 0600);
	for (int i = 0; i < 2; i++) {
		attr = attr_of(node);
		CHECK_EQ(attr.mode, S_IFLNK | 0777);
		CHECK_EQ(attr.uid, 5);
		CHECK_EQ(attr.gid, 6);
		CHECK_EQ(attr.size, 6);
		CHECK_EQ(attr.nlink, 1);
		CHECK_EQ(attr.mtime, 6);
		CHECK(links_to(node, "target"));
		CHECK_EQ(rig_node(&rig, FUSE_ROOT_ID, "l"), node);
		rig_evict_all(&rig);
	}
	CHECK_EQ(set_attr(node, FATTR_UID, 0, 7, 0), 0);
	CHECK_EQ(attr_of(node).uid, 7);
	CHECK_EQ(rig_remove(&rig, FUSE_UNLINK, FUSE_ROOT_ID, "l"), 0);
	CHECK_EQ(attr_of(node).nlink, 0);
	/* One with two names stays root's, and no error. */
	CHECK_EQ(make_link("m", "target", 0, &node), 0);
	CHECK_EQ(linkat(rig.dirfd, "m", rig.dirfd, "n", 0), 0);
	CHECK_EQ(set_attr(node, FATTR_UID | FATTR_GID, 0, 5, 6), 0);
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK_EQ(names_in(rig.dir), 2);
	rig_stop(&rig);
}

static void mapped_setgid_dir(void)
{
	uint64_t dir, node;
	struct fuse_mkdir_in in = { .mode = 0755 };
	struct fuse_mknod_in file = { .mode = S_IFREG | 02755 };
	const struct fuse_entry_out *entry;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(rig_mkdir(&rig, FUSE_ROOT_ID, "d", &dir), 0);
	CHECK_EQ(set_attr(dir, FATTR_MODE | FATTR_GID, 02777, 0, 500), 0);
	CHECK_EQ(attr_of(dir).mode, S_IFDIR | 02777);
	rq(&rig, FUSE_MKDIR, dir);
	rq_caller(&rig, 7, 8);
	rq_put(&rig, &in, sizeof(in));
	rq_str(&rig, "sub");
	CHECK_EQ(rq_run(&rig), 0);
	entry = rq_reply(&rig);
	CHECK_EQ(entry->attr.gid, 500);
	CHECK_EQ(entry->attr.mode, S_IFDIR | 02755);
	/* Not of that group: no set-group-id file of it. */
	rq(&rig, FUSE_MKNOD, dir);
	rq_caller(&rig, 7, 8);
	rq_put(&rig, &file, sizeof(file));
	rq_str(&rig, "f");
	CHECK_EQ(rq_run(&rig), 0);
	entry = rq_reply(&rig);
	node = entry->nodeid;
	CHECK_EQ(attr_of(node).gid, 500);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0755);
	rig_stop(&rig);
}

/* A chown of neither id clears set-id bits as any other. */
static void chown_of_neither(void)
{
	static const enum fs_access modes[] = {
		FS_ACCESS_SQUASH, FS_ACCESS_MAPPED,
	};
	uint64_t node, fh;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		CHECK_EQ(up(modes[i]), 0);
		CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "f", O_RDWR, &node,
				    &fh), 0);
		CHECK_EQ(set_attr(node, FATTR_MODE, 06755, 0, 0), 0);
		CHECK_EQ(attr_of(node).mode, S_IFREG | 06755);
		CHECK_EQ(set_attr(node, 0, 0, 0, 0), 0);
		CHECK_EQ(attr_of(node).mode, S_IFREG | 0755);
		/* The next as well. */
		CHECK(moves_ctime("f", node));
		rig_stop(&rig);
	}
}

/* What the kernel clears on write and chown. */
static void mapped_killpriv(void)
{
	uint64_t node, fh;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(set_attr(node, FATTR_MODE, 06755, 0, 0), 0);
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK(host_has("f", "user.vmshare.security.capability"));
	CHECK(!host_has("f", "security.capability"));
	CHECK_EQ(get_xattr(node, "security.capability"), 3);
	CHECK_EQ(write_as(node, fh, 0), 0);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 06755);
	CHECK_EQ(get_xattr(node, "security.capability"), -ENODATA);
	CHECK_EQ(write_as(node, fh, FUSE_WRITE_KILL_SUIDGID), 0);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0755);
	CHECK_EQ(set_attr(node, FATTR_MODE, 06745, 0, 0), 0);
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK_EQ(set_attr(node, FATTR_UID, 0, 5, 0), 0);
	/* Without group execution the bit means locking, and stays. */
	CHECK_EQ(attr_of(node).mode, S_IFREG | 02745);
	CHECK_EQ(get_xattr(node, "security.capability"), -ENODATA);
	rig_stop(&rig);
}

static void mapped_nonsense(void)
{
	/* A guest's symlink by attribute, a short one, an unknown type. */
	const uint32_t link[4] = { 1, 2, htole32(S_IFLNK | 0777), 0 };
	const uint32_t none[4] = { 1, 2, htole32(0777), 0 };
	char path[128] = "";
	uint64_t node;
	int fd;

	CHECK_EQ(up(FS_ACCESS_MAPPED), 0);
	fd = openat(rig.dirfd, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
	CHECK(fd >= 0 && !fchmod(fd, 0640));
	close(fd);
	snprintf(path, sizeof(path), "%s/f", rig.dir);
	node = rig_node(&rig, FUSE_ROOT_ID, "f");
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0640);
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK_EQ(setxattr(path, "user.vmshare.owner", link, 16, 0), 0);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0640);
	CHECK_EQ(setxattr(path, "user.vmshare.owner", none, 16, 0), 0);
	CHECK_EQ(attr_of(node).mode, S_IFREG | 0640);
	CHECK_EQ(setxattr(path, "user.vmshare.owner", none, 15, 0), 0);
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK_EQ(setxattr(path, "user.vmshare.owner", path, 40, 0), 0);
	CHECK_EQ(attr_of(node).uid, 0);
	rig_stop(&rig);
}

/* ---- names of attributes ------------------------------------------------ */

static void xattr_names(void)
{
	char longest[300] = "user.vmshare.";
	uint64_t node, fh;

	CHECK_EQ(up(geteuid() ? FS_ACCESS_SQUASH : FS_ACCESS_MAPPED), 0);
	CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(set_xattr(node, "user.plain", "1"), 0);
	CHECK(host_has("f", "user.plain"));
	CHECK_EQ(set_xattr(node, "trusted.overlay.opaque", "y"), 0);
	CHECK(host_has("f", "user.vmshare.trusted.overlay.opaque"));
	CHECK_EQ(set_xattr(node, "security.selinux", "label"), 0);
	CHECK(!host_has("f", "security.selinux"));
	CHECK_EQ(get_xattr(node, "security.selinux"), 5);
	/* The owner is neither to be seen nor to be set; but a guest that is
	 * a host itself has its own. */
	CHECK(!lists(node, "user.vmshare.owner"));
	CHECK_EQ(get_xattr(node, "user.vmshare.owner"), -ENODATA);
	CHECK_EQ(set_xattr(node, "user.vmshare.owner", "0123456789abcdef"), 0);
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK(host_has("f", "user.vmshare.user.vmshare.owner"));
	CHECK(lists(node, "user.vmshare.owner"));
	CHECK(lists(node, "user.plain"));
	CHECK(lists(node, "trusted.overlay.opaque"));
	CHECK(!lists_to(1000, node, "trusted.overlay.opaque"));
	CHECK(lists_to(1000, node, "user.plain"));
	CHECK(lists(node, "security.selinux"));
	CHECK(!lists(node, "user.vmshare.trusted.overlay.opaque"));
	CHECK_EQ(set_xattr(node, "nonsense.x", "1"), -EOPNOTSUPP);
	CHECK_EQ(set_xattr(node, "system.nfs4_acl", "1"), -EOPNOTSUPP);
	memset(longest + 13, 'x', 242);
	CHECK_EQ(set_xattr(node, longest, "1"), -ERANGE);
	rig_stop(&rig);
}

static void xattr_rules(void)
{
	uint64_t node, fh;

	rig_prepare(&rig);
	rig.options.xattr_map = ":bad:all:user.no.:user.no.:"
				":unsupported:client:user.never.::"
				":map:trusted.:user.virtiofs.:";
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(set_xattr(node, "trusted.a", "1"), 0);
	CHECK(host_has("f", "user.virtiofs.trusted.a"));
	CHECK_EQ(set_xattr(node, "user.b", "1"), 0);
	CHECK(host_has("f", "user.b"));
	CHECK(lists(node, "trusted.a") && lists(node, "user.b"));
	CHECK(!lists(node, "user.virtiofs.trusted.a"));
	CHECK_EQ(set_xattr(node, "user.virtiofs.trusted.a", "1"), -EPERM);
	CHECK_EQ(set_xattr(node, "user.no.x", "1"), -EPERM);
	CHECK_EQ(set_xattr(node, "user.never.x", "1"), -EOPNOTSUPP);
	/* What virtiofsd makes of the same: hidden, and stripped whole. */
	CHECK_EQ(get_xattr(node, "user.no.x"), -ENODATA);
	CHECK_EQ(get_xattr(node, "user.virtiofs.trusted.a"), -ENODATA);
	CHECK_EQ(get_xattr(node, "user.never.x"), -EOPNOTSUPP);
	CHECK_EQ(host_set("f", "user.virtiofs.user.h"), 0);
	CHECK_EQ(host_set("f", "user.virtiofs."), 0);
	CHECK(lists(node, "user.h") && !lists(node, "user.virtiofs.user.h"));
	CHECK(!lists(node, ""));
	rig_stop(&rig);
}

/* A capability under another name goes with a write, as the kernel's would. */
static void xattr_capability(void)
{
	struct fuse_copy_file_range_in copy = { .off_out = 99, .len = 1 };
	struct fuse_fallocate_in room = { .length = 9 };
	uint64_t node, fh, other;

	rig_prepare(&rig);
	rig.options.xattr_map = ":map:security.:user.virtiofs.:";
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(rig_create(&rig, FUSE_ROOT_ID, "f", O_RDWR, &node, &fh), 0);
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK(host_has("f", "user.virtiofs.security.capability"));
	CHECK_EQ(write_as(node, fh, 0), 0);
	CHECK(!host_has("f", "user.virtiofs.security.capability"));
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK_EQ(set_attr(node, FATTR_GID, 0, 0, getegid()), 0);
	CHECK(!host_has("f", "user.virtiofs.security.capability"));
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK_EQ(set_attr(node, FATTR_SIZE, 0, 0, 0), 0);
	CHECK(!host_has("f", "user.virtiofs.security.capability"));
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	room.fh = fh;
	rq(&rig, FUSE_FALLOCATE, node);
	rq_put(&rig, &room, sizeof(room));
	CHECK_EQ(rq_run(&rig), 0);
	CHECK(!host_has("f", "user.virtiofs.security.capability"));
	/* Emptied as it is opened, and copied to from itself. */
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK_EQ(rig_open(&rig, FUSE_OPEN, node, O_WRONLY | O_TRUNC, &other),
		 0);
	CHECK(!host_has("f", "user.virtiofs.security.capability"));
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK_EQ(write_as(node, other, 0), 0);
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	copy.fh_in = copy.fh_out = fh;
	copy.nodeid_out = node;
	rq(&rig, FUSE_COPY_FILE_RANGE, node);
	rq_put(&rig, &copy, sizeof(copy));
	CHECK_EQ(rq_run(&rig), 0);
	CHECK(!host_has("f", "user.virtiofs.security.capability"));
	/* Reading it, and a change of the mode, are no such thing. */
	CHECK_EQ(set_xattr(node, "security.capability", "cap"), 0);
	CHECK_EQ(set_attr(node, FATTR_MODE, 0640, 0, 0), 0);
	CHECK_EQ(get_xattr(node, "security.capability"), 3);
	rig_stop(&rig);
}

/* ---- as whom ------------------------------------------------------------- */

BOTH(squash)
BOTH(squash_as)
ROOT(unnamed)
BOTH_XATTRS(xattr_unreadable)
BOTH_XATTRS(mapped)
BOTH_XATTRS(mapped_types)
BOTH_XATTRS(mapped_symlinks)
BOTH_XATTRS(mapped_symlink_given)
BOTH_XATTRS(mapped_setgid_dir)
BOTH_XATTRS(chown_of_neither)
BOTH_XATTRS(mapped_killpriv)
BOTH_XATTRS(mapped_nonsense)
BOTH_XATTRS(xattr_names)
BOTH_XATTRS(xattr_rules)
BOTH_XATTRS(xattr_capability)

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "squash shows the caller as root", test_squash },
		{ "squash= names another user", test_squash_as },
		{ "files of no known user", test_unnamed },
		{ "an owner that can't be read", test_xattr_unreadable },
		{ "mapped keeps owner and mode", test_mapped },
		{ "mapped keeps types", test_mapped_types },
		{ "mapped keeps owners of symlinks", test_mapped_symlinks },
		{ "a symlink that root gives away", test_mapped_symlink_given },
		{ "set-group-id directories", test_mapped_setgid_dir },
		{ "a chown of nothing", test_chown_of_neither },
		{ "writes clear mapped set-id bits", test_mapped_killpriv },
		{ "owners that the host forged", test_mapped_nonsense },
		{ "names of attributes on the host", test_xattr_names },
		{ "xattr-map= by its rules", test_xattr_rules },
		{ "file capabilities", test_xattr_capability },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
