/* SPDX-License-Identifier: MIT */
/*
 * Credentials under which the host's kernel creates files.
 *
 * The guest's kernel has checked permissions already (default_permissions); the
 * server takes the caller's ids only so that a new file gets the right owner
 * and group, also in set-group-id directories. So the thread keeps its
 * capabilities, above all CAP_DAC_OVERRIDE: guests before
 * FUSE_CREATE_SUPP_GROUP do not send the groups of their caller, and the host's
 * kernel would refuse what the guest's allowed. Only CAP_FSETID is dropped:
 * with it a caller could make set-group-id files of groups that it is not in.
 * Supplementary groups are those of the request, never the server's own, which
 * fs_confine() dropped (CVE-2022-0358).
 *
 * Credentials belong to a thread in the kernel, but the C library's functions
 * change all threads: hence the bare system calls. They return errors, unlike
 * setfsuid(), which ignores an unmapped id and would so leave the thread as
 * root. Between requests a thread has the server's credentials: on a network
 * file system even reads use the current ones. No call is made where the ids
 * are the current ones.
 *
 * With access=squash and mapped the server's own credentials are always used.
 */

#include "fsserver/owners/owners.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#define KEEP ((uid_t)-1)	/* setresuid(2): unchanged */
#define FSETID (1ull << CAP_FSETID)

static int set_caps(uint64_t effective, uint64_t permitted)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, 0 },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), 0 },
	};

	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

uint64_t cred_caps(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	if (syscall(SYS_capget, &head, data))
		return 0;
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

void cred_init(struct fs_worker *w, uint64_t caps)
{
	w->cur_uid = w->fs->place.uid;
	w->cur_gid = w->fs->place.gid;
	w->cur_groups = false;
	w->no_fsetid = false;
	w->caps = caps;
}

static int set_uid(struct fs_worker *w, uint32_t uid)
{
	if (uid == w->cur_uid)
		return 0;
	if (syscall(SYS_setresuid, KEEP, uid, KEEP))
		return -errno;
	w->cur_uid = uid;
	return 0;
}

static int set_gid(struct fs_worker *w, uint32_t gid)
{
	if (gid == w->cur_gid)
		return 0;
	if (syscall(SYS_setresgid, KEEP, gid, KEEP))
		return -errno;
	w->cur_gid = gid;
	return 0;
}

static int set_groups(struct fs_worker *w, unsigned int count,
		      const uint32_t *groups)
{
	if (!count && !w->cur_groups)
		return 0;
	if (syscall(SYS_setgroups, (size_t)count, groups))
		return -errno;
	w->cur_groups = count > 0;
	return 0;
}

/* The request's supplementary groups, as the host's ids. */
static int enter_groups(struct fs_worker *w)
{
	uint32_t host[ARRAY_SIZE(w->groups)];

	for (unsigned int i = 0; i < w->nr_groups; i++) {
		int err = owner_gid_to_host(w->fs, w->groups[i], &host[i]);

		if (err)
			return err;
	}
	return set_groups(w, w->nr_groups, host);
}

int cred_enter(struct fs_worker *w)
{
	uint32_t uid, gid;
	int err;

	if (w->fs->options.access != FS_ACCESS_PASSTHROUGH)
		return 0;
	err = owner_uid_to_host(w->fs, w->in.uid, &uid);
	if (!err)
		err = owner_gid_to_host(w->fs, w->in.gid, &gid);
	if (err)
		return err;
	if (uid == w->cur_uid && gid == w->cur_gid && !w->nr_groups)
		return 0;
	err = enter_groups(w);
	if (!err)
		err = set_gid(w, gid);
	if (!err && uid != w->cur_uid) {
		err = set_uid(w, uid);
		if (!err) {
			/* The kernel cleared the effective capabilities. */
			w->no_fsetid = true;
			err = set_caps(w->caps & ~FSETID, w->caps);
		}
	}
	if (err)
		cred_leave(w);
	return err;
}

void cred_leave(struct fs_worker *w)
{
	uint32_t uid = w->fs->place.uid, gid = w->fs->place.gid;

	if (w->cur_uid == uid && w->cur_gid == gid && !w->cur_groups)
		return;
	/* The real and saved ids allow these: they do not fail. */
	if (w->cur_uid != uid) {
		set_uid(w, uid);
		set_caps(w->caps, w->caps);
		w->no_fsetid = false;
	}
	set_gid(w, gid);
	set_groups(w, 0, NULL);
}

int cred_drop_fsetid(struct fs_worker *w)
{
	int err;

	if (w->no_fsetid || !(w->caps & FSETID))
		return 0;
	err = set_caps(w->caps & ~FSETID, w->caps);
	w->no_fsetid = !err;
	return err;
}

void cred_restore_fsetid(struct fs_worker *w)
{
	/* After cred_enter(), cred_leave() restores it. */
	if (!w->no_fsetid || w->cur_uid != w->fs->place.uid)
		return;
	set_caps(w->caps, w->caps);
	w->no_fsetid = false;
}
