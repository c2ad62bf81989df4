/* rooms: tests/wire */
/* SPDX-License-Identifier: MIT */
/*
 * The wire's formats against the system's headers: fsserver/fuse.h against
 * <linux/fuse.h>, constants, sizes and offsets of all that both have; struct
 * fuse_statx against struct statx, which it is a copy of; the messages of
 * vhost-user, which has no header anywhere, against vhost's structures, of
 * which they are made.
 */

#include "fsserver/fuse.h"
#include "tests/c/check.h"
#include "tests/wire/wire.h"
#include "vhostuser/internal.h"

#include <string.h>

#include <linux/stat.h>
#include <linux/vhost_types.h>

#define WIRE_MINOR FUSE_MINOR

static const struct wire own[] = {
#include "tests/wire/list.h"
};

static const struct wire *find(const char *name)
{
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (!strcmp(own[i].name, name))
			return &own[i];
	return NULL;
}

static bool same(const struct wire *theirs, const struct wire *ours)
{
	if (ours && ours->value == theirs->value && ours->size == theirs->size)
		return true;
	printf("# %s: the system has %llu (%llu)", theirs->name,
	       (unsigned long long)theirs->value,
	       (unsigned long long)theirs->size);
	if (ours)
		printf(", we have %llu (%llu)\n",
		       (unsigned long long)ours->value,
		       (unsigned long long)ours->size);
	else
		printf(", we have none\n");
	return false;
}

static void fuse(void)
{
	bool all = true;

	if (wire_system_minor < FUSE_MINOR)
		printf("# the system's header is 7.%u\n", wire_system_minor);
	for (unsigned int i = 0; i < wire_system_nr; i++)
		all &= same(&wire_system[i], find(wire_system[i].name));
	CHECK(all);
	/* Whatever the header's age, most of the list is in it. */
	CHECK(wire_system_nr > 200);
}

#define SAME(ours, our_member, theirs, their_member)			\
	CHECK(offsetof(struct ours, our_member) ==			\
	      offsetof(struct theirs, their_member) &&			\
	      sizeof(((struct ours *)0)->our_member) ==			\
	      sizeof(((struct theirs *)0)->their_member))
#define STATX(member)	SAME(fuse_statx, member, statx, stx_##member)

static void fuse_statx(void)
{
	STATX(mask);
	STATX(blksize);
	STATX(attributes);
	STATX(nlink);
	STATX(uid);
	STATX(gid);
	STATX(mode);
	STATX(ino);
	STATX(size);
	STATX(blocks);
	STATX(attributes_mask);
	STATX(atime);
	STATX(btime);
	STATX(ctime);
	STATX(mtime);
	STATX(rdev_major);
	STATX(rdev_minor);
	STATX(dev_major);
	STATX(dev_minor);
	CHECK_EQ(sizeof(struct fuse_statx), sizeof(struct statx));
}

static void vhost(void)
{
	SAME(vu_vring_number, index, vhost_vring_state, index);
	SAME(vu_vring_number, num, vhost_vring_state, num);
	CHECK_EQ(sizeof(struct vu_vring_number),
		 sizeof(struct vhost_vring_state));
	SAME(vu_vring_addr, index, vhost_vring_addr, index);
	SAME(vu_vring_addr, flags, vhost_vring_addr, flags);
	SAME(vu_vring_addr, desc, vhost_vring_addr, desc_user_addr);
	SAME(vu_vring_addr, used, vhost_vring_addr, used_user_addr);
	SAME(vu_vring_addr, avail, vhost_vring_addr, avail_user_addr);
	SAME(vu_vring_addr, log, vhost_vring_addr, log_guest_addr);
	CHECK_EQ(sizeof(struct vu_vring_addr),
		 sizeof(struct vhost_vring_addr));
	/* The last member is another: padding there, a file's offset here. */
	SAME(vu_memory_region, gpa, vhost_memory_region, guest_phys_addr);
	SAME(vu_memory_region, size, vhost_memory_region, memory_size);
	SAME(vu_memory_region, uva, vhost_memory_region, userspace_addr);
	CHECK_EQ(sizeof(struct vu_memory_region),
		 sizeof(struct vhost_memory_region));
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "FUSE structures as the system has them", fuse },
		{ "FUSE_STATX as the system has it", fuse_statx },
		{ "vhost structures as the system has them", vhost },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
