/* SPDX-License-Identifier: MIT */
/*
 * What a guest's extended attributes are called on the host.
 *
 * A guest's trusted.* and security.* are no business of the host's kernel: the
 * server has not the privilege to set most of them (CAP_SYS_ADMIN), and labels
 * of a guest's security module must not become the host's. So
 *
 *   guest		host
 *   user.vmshare.X	user.vmshare.user.vmshare.X	(so that this nests)
 *   trusted.X		user.vmshare.trusted.X
 *   security.X		user.vmshare.security.X
 *   security.capability  as it is with access=passthrough, else like the above
 *   system.posix_acl_*	as they are; refused with access=mapped, where the
 *			host's mode and ids mean nothing to the guest
 *   user.X		as it is
 *   all else		EOPNOTSUPP
 *
 * and everything else below user.vmshare. on the host (the owner of mapped
 * files) does not exist for the guest.
 */

#include "fsserver/internal.h"

#include <errno.h>
#include <string.h>

#define OURS "user.vmshare."

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool is_acl(const char *name)
{
	return !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

/* Names that are kept below OURS on the host. */
static bool is_moved(const struct fs *fs, const char *guest)
{
	if (starts(guest, "security."))
		return strcmp(guest, "security.capability") != 0 ||
		       fs->options.access != FS_ACCESS_PASSTHROUGH;
	return starts(guest, "trusted.") || starts(guest, OURS);
}

static int copy_name(char host[XATTR_NAME_MAX + 1], const char *prefix,
		     const char *name)
{
	size_t plen = strlen(prefix), len = strlen(name);

	if (plen + len > XATTR_NAME_MAX)
		return -ERANGE;
	memcpy(host, prefix, plen);
	memcpy(host + plen, name, len + 1);
	return 0;
}

int owner_xattr_to_host(struct fs_worker *w, const char *guest,
			char host[XATTR_NAME_MAX + 1], bool set)
{
	const struct fs *fs = w->fs;

	(void)set;
	if (is_moved(fs, guest))
		return copy_name(host, OURS, guest);
	if (starts(guest, "user.") || !strcmp(guest, "security.capability"))
		return copy_name(host, "", guest);
	if (is_acl(guest) && fs->options.access != FS_ACCESS_MAPPED)
		return copy_name(host, "", guest);
	return -EOPNOTSUPP;
}

/* The guest's name of a host's attribute, within @host; NULL: it has none. */
static const char *to_guest(const struct fs *fs, const char *host)
{
	if (starts(host, OURS)) {
		host += strlen(OURS);
		return is_moved(fs, host) ? host : NULL;
	}
	if (is_moved(fs, host))
		return NULL;
	if (is_acl(host))
		return fs->options.access != FS_ACCESS_MAPPED ? host : NULL;
	return starts(host, "user.") || starts(host, "security.") ? host :
								    NULL;
}

size_t owner_xattr_list(struct fs_worker *w, char *list, size_t len)
{
	size_t in = 0, out = 0;

	while (in < len) {
		size_t size = strnlen(list + in, len - in) + 1;
		const char *name = to_guest(w->fs, list + in);

		if (name && size <= len - in) {
			size_t shown = strlen(name) + 1;

			memmove(list + out, name, shown);
			out += shown;
		}
		in += size;
	}
	return out;
}
