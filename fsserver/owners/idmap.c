/* SPDX-License-Identifier: MIT */
/*
 * Mapping of ids with access=passthrough, by uid-map= and gid-map=; without
 * these, ids are the same in guest and host.
 *
 * A list of plain ranges covers all ids: a guest's id outside of them is
 * refused (-EOVERFLOW), and a host's is shown as 65534. The other kinds, which
 * virtiofsd calls translations, change the ids in their range, in one direction
 * or both, and leave all others unchanged. The first range that matches is
 * used.
 *
 * Access control lists contain ids too. There are no locks: the maps are
 * constant.
 */

#include "fsserver/owners/acl.h"
#include "fsserver/owners/owners.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#define NOBODY		65534u

enum { TO_HOST = 1, TO_GUEST = 2 };

static const struct {
	unsigned int ways;
	bool many;		/* ids become one, rather than as many */
} kinds[] = {
	[ID_RANGE]		= { TO_HOST | TO_GUEST, false },
	[ID_MAP]		= { TO_HOST | TO_GUEST, false },
	[ID_GUEST]		= { TO_HOST, false },
	[ID_HOST]		= { TO_GUEST, false },
	[ID_SQUASH_GUEST]	= { TO_HOST, true },
	[ID_SQUASH_HOST]	= { TO_GUEST, true },
	[ID_FORBID_GUEST]	= { TO_HOST, true },
};

/* Are these plain ranges, which cover all ids? */
static bool complete(const struct id_map *map)
{
	for (unsigned int i = 0; i < map->nr; i++)
		if (map->range[i].kind != ID_RANGE)
			return false;
	return map->nr > 0;
}

static int to_host(const struct id_map *map, uint32_t guest, uint32_t *host)
{
	if (guest == UINT32_MAX)	/* "no change" to the kernel */
		return -EOVERFLOW;
	*host = guest;
	for (unsigned int i = 0; i < map->nr; i++) {
		const struct id_range *r = &map->range[i];
		uint32_t at = guest - r->guest;

		if (!(kinds[r->kind].ways & TO_HOST) || at >= r->count)
			continue;
		if (r->kind == ID_FORBID_GUEST)
			return -EPERM;
		*host = r->host + (kinds[r->kind].many ? 0 : at);
		return *host == UINT32_MAX ? -EOVERFLOW : 0;
	}
	return complete(map) ? -EOVERFLOW : 0;
}

static uint32_t to_guest(const struct id_map *map, uint32_t host)
{
	for (unsigned int i = 0; i < map->nr; i++) {
		const struct id_range *r = &map->range[i];
		uint32_t at = host - r->host;

		if (kinds[r->kind].ways & TO_GUEST && at < r->count)
			return r->guest + (kinds[r->kind].many ? 0 : at);
	}
	return complete(map) ? NOBODY : host;
}

int owner_uid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host)
{
	return to_host(&fs->options.uid_map, guest, host);
}

int owner_gid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host)
{
	return to_host(&fs->options.gid_map, guest, host);
}

uint32_t owner_uid_to_guest(const struct fs *fs, uint32_t host)
{
	return to_guest(&fs->options.uid_map, host);
}

uint32_t owner_gid_to_guest(const struct fs *fs, uint32_t host)
{
	return to_guest(&fs->options.gid_map, host);
}

int owner_map_acl(const struct fs *fs, void *acl, size_t size, bool host)
{
	struct posix_acl_xattr_header *head = acl;
	struct posix_acl_xattr_entry *e = (void *)(head + 1);
	size_t nr;

	if (!fs->options.uid_map.nr && !fs->options.gid_map.nr)
		return 0;
	if (size < sizeof(*head))
		return host ? -EINVAL : 0;
	nr = (size - sizeof(*head)) / sizeof(*e);
	for (; nr; nr--, e++) {
		bool user = le16toh(e->e_tag) == ACL_USER;
		uint32_t id = le32toh(e->e_id);
		int err = 0;

		if (!user && le16toh(e->e_tag) != ACL_GROUP)
			continue;
		if (!host)
			id = user ? owner_uid_to_guest(fs, id) :
				    owner_gid_to_guest(fs, id);
		else if (user)
			err = owner_uid_to_host(fs, id, &id);
		else
			err = owner_gid_to_host(fs, id, &id);
		if (err)
			return -EINVAL;	/* like the kernel's, unmapped */
		e->e_id = htole32(id);
	}
	return 0;
}
