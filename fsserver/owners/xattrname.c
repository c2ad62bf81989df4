/* SPDX-License-Identifier: MIT */
/*
 * The host's names of a guest's extended attributes.
 *
 * A guest's trusted.* and security.* are stored under other names: most of them
 * need a privilege that the server does not have (CAP_SYS_ADMIN), and labels of
 * a guest's security module must not become the host's. So
 *
 *   guest		host
 *   user.vmshare.X	user.vmshare.user.vmshare.X	(so that this nests)
 *   trusted.X		user.vmshare.trusted.X
 *   security.X		user.vmshare.security.X
 *   security.capability  as it is with access=passthrough, else like the above
 *   system.posix_acl_*	as they are; with access=mapped, where the host's mode
 *			and ids are not the guest's,
 *			user.vmshare.system.posix_acl_*, whatever the rules
 *			below, if ACLs were negotiated, else EOPNOTSUPP
 *   user.X		as it is
 *   all others		EOPNOTSUPP
 *
 * and all other names below user.vmshare. on the host (the owner of mapped
 * files) do not exist for the guest.
 *
 * xattr-map= replaces this table by rules of virtiofsd's syntax, each
 * SEP TYPE SEP SCOPE SEP KEY SEP PREPEND SEP; the first that matches decides.
 * SCOPE is client (names that the guest uses begin with KEY), server (names on
 * the host begin with PREPEND) or all. TYPE is ok (as it is), bad (EPERM;
 * hidden), unsupported (EOPNOTSUPP) or prefix (the host's name has PREPEND
 * before it; from host to guest KEY does not matter, as in virtiofsd). "map"
 * has KEY and PREPEND only, must be the last rule, and stands for a prefix rule
 * and rules that hide either side's names from the other. A name that no rule
 * matches is bad. The text of the rules is parsed at each use.
 */

#include "fsserver/owners/acl.h"
#include "fsserver/owners/owners.h"

#include <errno.h>
#include <string.h>

#define OURS "user.vmshare."

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool xattr_is_acl(const char *name)
{
	return !strcmp(name, ACL_ACCESS) || !strcmp(name, ACL_DEFAULT);
}

/* Is it a list that the server stores for a mapped file? */
static bool is_kept_acl(const struct fs *fs, const char *guest)
{
	return xattr_is_acl(guest) &&
	       fs->options.access == FS_ACCESS_MAPPED &&
	       session_has(fs, FUSE_POSIX_ACL);
}

/* Names that are kept below OURS on the host. */
static bool is_moved(const struct fs *fs, const char *guest)
{
	if (starts(guest, "security."))
		return strcmp(guest, "security.capability") != 0 ||
		       fs->options.access != FS_ACCESS_PASSTHROUGH;
	return starts(guest, "trusted.") || starts(guest, OURS) ||
	       is_kept_acl(fs, guest);
}

static int copy_name(char host[XATTR_NAME_MAX + 1], const char *prefix,
		     const char *name)
{
	size_t plen = strlen(prefix), len = strlen(name);

	if (plen + len > XATTR_NAME_MAX)
		return -ERANGE;
	memcpy(host, prefix, plen);
	memcpy(host + plen, name, len);
	host[plen + len] = '\0';
	return 0;
}

/* ---- rules --------------------------------------------------------------- */

static int map_to_host(const char *map, const char *guest,
		       char host[XATTR_NAME_MAX + 1])
{
	unsigned int step = 0;
	struct xattr_rule r;

	while (xattr_rule_next(&map, &step, &r) > 0) {
		if (!r.client || !starts(guest, r.key))
			continue;
		switch (r.type) {
		case XATTR_OK:
			return copy_name(host, "", guest);
		case XATTR_PREFIX:
			return copy_name(host, r.prepend, guest);
		case XATTR_UNSUPPORTED:
			return -EOPNOTSUPP;
		case XATTR_BAD:
			return -EPERM;
		}
	}
	return -EPERM;
}

static const char *map_to_guest(const char *map, const char *host)
{
	unsigned int step = 0;
	struct xattr_rule r;

	while (xattr_rule_next(&map, &step, &r) > 0) {
		if (!r.server || !starts(host, r.prepend))
			continue;
		if (r.type == XATTR_PREFIX)
			host += strlen(r.prepend);
		else if (r.type != XATTR_OK)
			break;
		return *host ? host : NULL;
	}
	return NULL;
}

/* ---- names in both directions ------------------------------------------- */

/* The attribute with a mapped file's owner, which no rule gives to a guest. */
static bool is_owner(const char *host)
{
	return !strcmp(host, OWNER_XATTR);
}

int owner_xattr_to_host(struct fs_worker *w, const char *guest,
			char host[XATTR_NAME_MAX + 1], bool set)
{
	const struct fs *fs = w->fs;
	int err;

	if (is_kept_acl(fs, guest))
		return copy_name(host, OURS, guest);
	if (fs->options.xattr_map) {
		err = map_to_host(fs->options.xattr_map, guest, host);
		if (err == -EPERM && !set)
			err = -ENODATA;	/* hidden */
		if (!err && is_owner(host))
			err = set ? -EPERM : -ENODATA;
		return err;
	}
	if (is_moved(fs, guest))
		return copy_name(host, OURS, guest);
	if (starts(guest, "user.") || !strcmp(guest, "security.capability"))
		return copy_name(host, "", guest);
	if (xattr_is_acl(guest) && fs->options.access != FS_ACCESS_MAPPED)
		return copy_name(host, "", guest);
	return -EOPNOTSUPP;
}

/* The guest's name of a host's attribute, within @host; NULL: it has none. */
static const char *to_guest(const struct fs *fs, const char *host)
{
	if (is_owner(host))
		return NULL;
	if (starts(host, OURS) && is_kept_acl(fs, host + strlen(OURS)))
		return host + strlen(OURS);
	if (fs->options.xattr_map)
		return map_to_guest(fs->options.xattr_map, host);
	if (starts(host, OURS)) {
		host += strlen(OURS);
		return is_moved(fs, host) ? host : NULL;
	}
	if (is_moved(fs, host))
		return NULL;
	if (xattr_is_acl(host))
		return fs->options.access != FS_ACCESS_MAPPED ? host : NULL;
	return starts(host, "user.") || starts(host, "security.") ? host :
								    NULL;
}

size_t owner_xattr_list(struct fs_worker *w, char *list, size_t len)
{
	size_t in = 0, out = 0;

	while (in < len) {
		size_t size = strnlen(list + in, len - in) + 1;
		const char *name;

		if (size > len - in)
			break;		/* the kernel ends each with a NUL */
		name = to_guest(w->fs, list + in);
		/* The kernel lists them only for CAP_SYS_ADMIN. */
		if (name && w->in.uid != 0 && starts(name, "trusted."))
			name = NULL;
		if (name) {
			size_t shown = strlen(name) + 1;

			memmove(list + out, name, shown);
			out += shown;
		}
		in += size;
	}
	return out;
}
