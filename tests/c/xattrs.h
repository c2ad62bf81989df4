/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_XATTRS_H
#define VMSHARE_TESTS_XATTRS_H

/*
 * Whether /tmp, where the tests make their shares, keeps a user's attributes:
 * a tmpfs does from Linux 6.6 on.
 */

#include <stdbool.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

static inline bool tmp_has_xattrs(void)
{
	char path[] = "/tmp/vmshare-xattrs-XXXXXX";
	int fd = mkstemp(path);
	bool has = fd >= 0 && !fsetxattr(fd, "user.vmshare", "x", 1, 0);

	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	return has;
}

#endif
