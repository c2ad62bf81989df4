/* SPDX-License-Identifier: MIT */
/*
 * Access control lists of mapped files, in the format of the kernel's xattr
 * interface: version 2, little endian.
 *
 * The guest's kernel enforces the lists. The file system's part is here: to
 * check a list, to keep list and mode equal when one of them changes, and to
 * derive a new file's list from its directory's default list. The mode's group
 * bits are the mask's where there is a mask, else the owning group's, as on any
 * file system.
 *
 * There are no system calls here; owner.c reads and stores the lists.
 */

#include "fsserver/owners/acl.h"
#include "fsserver/owners/owners.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

#define RWX 7u

/* Entries of a list whose size was checked. */
struct acl_list {
	struct posix_acl_xattr_entry *e;
	size_t nr;
};

static struct acl_list entries(void *acl, size_t size)
{
	struct posix_acl_xattr_header *head = acl;

	return (struct acl_list){
		(void *)(head + 1),
		(size - sizeof(*head)) / sizeof(struct posix_acl_xattr_entry),
	};
}

/* The first entry with that tag, or @other. */
static struct posix_acl_xattr_entry *find(struct acl_list l, uint16_t tag,
					  struct posix_acl_xattr_entry *other)
{
	for (size_t i = 0; i < l.nr; i++)
		if (le16toh(l.e[i].e_tag) == tag)
			return l.e + i;
	return other;
}

/* The entry that equals the mode's group bits. */
static struct posix_acl_xattr_entry *find_group(struct acl_list l)
{
	return find(l, ACL_MASK, find(l, ACL_GROUP_OBJ, l.e));
}

/* A missing entry, which no checked list has, means no permission. */
static uint32_t get(const struct posix_acl_xattr_entry *e)
{
	return e ? le16toh(e->e_perm) : 0;
}

static void put(struct posix_acl_xattr_entry *e, uint32_t perm)
{
	if (e)
		e->e_perm = htole16(perm & RWX);
}

int acl_check(void *acl, size_t size)
{
	static const uint16_t order[] = {
		ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK,
		ACL_OTHER,
	};
	struct posix_acl_xattr_header *head = acl;
	unsigned int at = 0, count[ARRAY_SIZE(order)] = { 0 };
	struct acl_list l;

	if (size < sizeof(*head) ||
	    (size - sizeof(*head)) % sizeof(struct posix_acl_xattr_entry) ||
	    le32toh(head->a_version) != POSIX_ACL_XATTR_VERSION)
		return -EINVAL;
	l = entries(acl, size);
	for (size_t i = 0; i < l.nr; i++) {
		while (at < ARRAY_SIZE(order) &&
		       order[at] != le16toh(l.e[i].e_tag))
			at++;
		if (at == ARRAY_SIZE(order) || le16toh(l.e[i].e_perm) & ~RWX)
			return -EINVAL;
		count[at]++;
	}
	/* One each of owner, group and others; a mask if there are more. */
	if (count[0] != 1 || count[2] != 1 || count[5] != 1 || count[4] > 1 ||
	    ((count[1] || count[3]) && !count[4]))
		return -EINVAL;
	return 0;
}

uint32_t acl_mode(void *acl, size_t size)
{
	struct acl_list l = entries(acl, size);

	return get(find(l, ACL_USER_OBJ, l.e)) << 6 | get(find_group(l)) << 3 |
	       get(find(l, ACL_OTHER, l.e));
}

bool acl_is_mode(void *acl, size_t size)
{
	return entries(acl, size).nr == 3;
}

void acl_chmod(void *acl, size_t size, uint32_t mode)
{
	struct acl_list l = entries(acl, size);

	put(find(l, ACL_USER_OBJ, l.e), mode >> 6);
	put(find_group(l), mode >> 3);
	put(find(l, ACL_OTHER, l.e), mode);
}

uint32_t acl_inherit(void *acl, size_t size, uint32_t mode)
{
	mode &= ~0777u | acl_mode(acl, size);
	acl_chmod(acl, size, mode);
	return mode;
}
