/* rooms: base */
/* SPDX-License-Identifier: MIT */
/*
 * The table of file systems within the share, when there are more of them than
 * it has room for: they come and go, under other numbers each time.
 */

#include "fsserver/nodes/mount.c"

#include "check.h"

#define MANY	10000u

static unsigned int asked;
static struct fs_nodes nodes;
static struct fs_session session;
static struct fs fs = { .nodes = &nodes, .session = &session };
static struct fs_worker worker = { .fs = &fs };
static const struct fs_node parent;

/* What mount.c needs of the room. */
int fs_statx(int dirfd, const char *name, unsigned int mask, struct statx *stx)
{
	(void)dirfd;
	(void)name;
	*stx = (struct statx){ .stx_mask = mask, .stx_dev_major = 8 };
	return 0;
}

int fs_openat(struct fs *f, int dirfd, const char *name, int flags, mode_t mode)
{
	(void)f;
	(void)mode;
	asked++;
	return openat(dirfd, name, flags);
}

/* Is the file system with this number served? */
static int check(unsigned int nr)
{
	const struct statx stx = {
		.stx_mask = FS_STATX_MNT,
		.stx_dev_minor = nr,
	};

	return mount_check(&worker, &parent, AT_FDCWD, "/", &stx);
}

static void test_asked_once(void)
{
	CHECK_EQ(mounts_open(&fs), 0);
	asked = 0;
	for (unsigned int i = 1; i <= MANY; i++)
		CHECK_EQ(check(i), 0);
	CHECK_EQ(asked, MANY);
	for (unsigned int i = MANY - 100; i <= MANY; i++)
		CHECK_EQ(check(i), 0);
	CHECK_EQ(asked, MANY);
	mounts_close(&fs);
}

/* A file's number is the same each time, and no other's. */
static void test_tags(void)
{
	static uint64_t ino[MANY + 1];

	CHECK_EQ(mounts_open(&fs), 0);
	CHECK_EQ(mount_ino(&fs, 8, 0, 77), 77);
	for (unsigned int i = 1; i <= MANY; i++) {
		ino[i] = mount_ino(&fs, 0, i, 77);
		CHECK(ino[i] >> 48);
		CHECK_EQ(ino[i] & 0xffffffffffff, 77);
	}
	for (unsigned int i = 1; i <= MANY; i++)
		CHECK_EQ(mount_ino(&fs, 0, i, 77), ino[i]);
	for (unsigned int i = 1; i < 3000; i++)
		for (unsigned int k = i + 1; k <= MANY; k++)
			CHECK(ino[k] != ino[i]);
	mounts_close(&fs);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "each is asked once", test_asked_once },
		{ "inode numbers stay", test_tags },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
