/* SPDX-License-Identifier: MIT */
/*
 * The guest's ids and the host's, with access=passthrough: the same, or as
 * uid-map= and gid-map= have them.
 *
 * A list of plain ranges says of all ids what they are: one that none has is
 * refused (-EOVERFLOW), one of the host's is nobody's. Translations, which is
 * what virtiofsd calls the other kinds, change the ids that they name, in one
 * direction or in both, and leave the rest as it is. The first that fits wins.
 *
 * Ids stand in access control lists too. Nothing here is locked: the lists
 * never change.
 */

#include "fsserver/owners/acl.h"
#include "fsserver/owners/owners.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>

#define NOBODY		65534u

enum { TO_HOST = 1, TO_GUEST = 2 };

static const struct {
	const char *name;
	unsigned int ways;
	bool many;		/* ids become one, rather than as many */
} kinds[] = {
	[FS_ID_RANGE]		= { "", TO_HOST | TO_GUEST, false },
	[FS_ID_MAP]		= { "map:", TO_HOST | TO_GUEST, false },
	[FS_ID_GUEST]		= { "guest:", TO_HOST, false },
	[FS_ID_HOST]		= { "host:", TO_GUEST, false },
	[FS_ID_SQUASH_GUEST]	= { "squash-guest:", TO_HOST, true },
	[FS_ID_SQUASH_HOST]	= { "squash-host:", TO_GUEST, true },
	[FS_ID_FORBID_GUEST]	= { "forbid-guest:", TO_HOST, true },
};

/* The ids that become others come first. */
unsigned int fs_idmap_parse(const char *text, struct fs_idrange *map)
{
	unsigned int n = 0;

	while (text && *text && n < FS_MAX_IDRANGES) {
		struct fs_idrange *r = &map[n];
		uint32_t *from = &r->guest, *to = &r->host;
		unsigned int kind = FS_ID_FORBID_GUEST;
		int used = 0;

		while (strncmp(text, kinds[kind].name,
			       strlen(kinds[kind].name)) != 0)
			kind--;
		r->kind = (enum fs_idkind)kind;
		text += strlen(kinds[kind].name);
		if (kinds[kind].ways == TO_GUEST) {
			from = &r->host;
			to = &r->guest;
		}
		*to = 0;
		if (kind == FS_ID_FORBID_GUEST ?
			    sscanf(text, "%u:%u%n", from, &r->count,
				   &used) != 2 :
			    sscanf(text, "%u:%u:%u%n", from, to, &r->count,
				   &used) != 3)
			break;
		n++;
		text += used + (text[used] == ',');
	}
	return n;
}

/* Are these plain ranges, of which each id has to be? */
static bool complete(const struct fs_idrange *map, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		if (map[i].kind != FS_ID_RANGE)
			return false;
	return nr > 0;
}

static int to_host(const struct fs_idrange *map, unsigned int nr,
		   uint32_t guest, uint32_t *host)
{
	if (guest == UINT32_MAX)	/* "no change" to the kernel */
		return -EOVERFLOW;
	*host = guest;
	for (unsigned int i = 0; i < nr; i++) {
		uint32_t at = guest - map[i].guest;

		if (!(kinds[map[i].kind].ways & TO_HOST) || at >= map[i].count)
			continue;
		if (map[i].kind == FS_ID_FORBID_GUEST)
			return -EPERM;
		*host = map[i].host + (kinds[map[i].kind].many ? 0 : at);
		return *host == UINT32_MAX ? -EOVERFLOW : 0;
	}
	return complete(map, nr) ? -EOVERFLOW : 0;
}

static uint32_t to_guest(const struct fs_idrange *map, unsigned int nr,
			 uint32_t host)
{
	for (unsigned int i = 0; i < nr; i++) {
		uint32_t at = host - map[i].host;

		if (kinds[map[i].kind].ways & TO_GUEST && at < map[i].count)
			return map[i].guest +
			       (kinds[map[i].kind].many ? 0 : at);
	}
	return complete(map, nr) ? NOBODY : host;
}

int owner_uid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host)
{
	return to_host(fs->options.uid_map, fs->options.nr_uid_map, guest,
		       host);
}

int owner_gid_to_host(const struct fs *fs, uint32_t guest, uint32_t *host)
{
	return to_host(fs->options.gid_map, fs->options.nr_gid_map, guest,
		       host);
}

uint32_t owner_uid_to_guest(const struct fs *fs, uint32_t host)
{
	return to_guest(fs->options.uid_map, fs->options.nr_uid_map, host);
}

uint32_t owner_gid_to_guest(const struct fs *fs, uint32_t host)
{
	return to_guest(fs->options.gid_map, fs->options.nr_gid_map, host);
}

int owner_map_acl(const struct fs *fs, void *acl, size_t size, bool host)
{
	struct posix_acl_xattr_header *head = acl;
	struct posix_acl_xattr_entry *e = (void *)(head + 1);
	size_t nr;

	if (!fs->options.nr_uid_map && !fs->options.nr_gid_map)
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
			return -EINVAL;	/* as of an id without a place */
		e->e_id = htole32(id);
	}
	return 0;
}
