/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_OWNER_RIG_H
#define VMSHARE_TESTS_OWNER_RIG_H

/*
 * What the tests of access= have in common: requests that have to do with
 * owners, what is then on the host, and cases that run as root and as an
 * ordinary user, each in a process of its own.
 */

#include "tests/c/fsserver_rig.h"
#include "tests/c/xattrs.h"

#include <grp.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define USER 1234

static struct rig rig;

/* ---- requests that the rig has not -------------------------------------- */

static inline int set_attr(uint64_t node, uint32_t valid, uint32_t mode,
			   uint32_t uid, uint32_t gid)
{
	struct fuse_setattr_in in = { .valid = valid, .mode = mode, .uid = uid,
				      .gid = gid };

	rq(&rig, FUSE_SETATTR, node);
	rq_put(&rig, &in, sizeof(in));
	return rq_run(&rig);
}

static inline int make_node(const char *name, uint32_t mode, uint32_t rdev,
			    uint32_t uid, uint32_t gid, uint64_t *node)
{
	struct fuse_mknod_in in = { .mode = mode, .rdev = rdev };
	const struct fuse_entry_out *entry;
	int err;

	rq(&rig, FUSE_MKNOD, FUSE_ROOT_ID);
	rq_caller(&rig, uid, gid);
	rq_put(&rig, &in, sizeof(in));
	rq_str(&rig, name);
	err = rq_run(&rig);
	entry = rq_reply(&rig);
	*node = err ? 0 : entry->nodeid;
	return err;
}

static inline int make_link(const char *name, const char *target, uint32_t id,
			    uint64_t *node)
{
	const struct fuse_entry_out *entry;
	int err;

	rq(&rig, FUSE_SYMLINK, FUSE_ROOT_ID);
	rq_caller(&rig, id, id);
	rq_str(&rig, name);
	rq_str(&rig, target);
	err = rq_run(&rig);
	entry = rq_reply(&rig);
	*node = err ? 0 : entry->nodeid;
	return err;
}

/* Whether it is a symlink to @target, as whoever asks. */
static inline bool links_to(uint64_t node, const char *target)
{
	rq(&rig, FUSE_READLINK, node);
	return !rq_run(&rig) && rig.out_len == strlen(target) &&
	       !memcmp(rq_reply(&rig), target, rig.out_len);
}

static inline int write_as(uint64_t node, uint64_t fh, uint32_t flags)
{
	struct fuse_write_in in = { .fh = fh, .size = 1, .write_flags = flags };

	rq(&rig, FUSE_WRITE, node);
	rq_put(&rig, &in, sizeof(in));
	rq_put(&rig, "x", 1);
	return rq_run(&rig);
}

static inline int set_xattr_to(uint64_t node, const char *name,
			       const void *value, size_t size)
{
	struct fuse_setxattr_in in = { .size = (uint32_t)size };

	rq(&rig, FUSE_SETXATTR, node);
	rq_put(&rig, &in, sizeof(in));
	rq_str(&rig, name);
	rq_put(&rig, value, size);
	return rq_run(&rig);
}

static inline int set_xattr(uint64_t node, const char *name, const char *value)
{
	return set_xattr_to(node, name, value, strlen(value));
}

/* Its length, or -errno. */
static inline int get_xattr(uint64_t node, const char *name)
{
	struct fuse_getxattr_in in = { .size = 256 };
	int err;

	rq(&rig, FUSE_GETXATTR, node);
	rq_put(&rig, &in, sizeof(in));
	rq_str(&rig, name);
	err = rq_run(&rig);
	return err ? err : (int)rig.out_len;
}

static inline bool lists_to(uint32_t uid, uint64_t node, const char *name)
{
	struct fuse_getxattr_in in = { .size = 4000 };
	const char *list = rq_reply(&rig);

	rq(&rig, FUSE_LISTXATTR, node);
	rq_caller(&rig, uid, uid);
	rq_put(&rig, &in, sizeof(in));
	if (rq_run(&rig))
		return false;
	for (size_t at = 0; at < rig.out_len; at += strlen(list + at) + 1)
		if (!strcmp(list + at, name))
			return true;
	return false;
}

static inline bool lists(uint64_t node, const char *name)
{
	return lists_to(0, node, name);
}

static inline struct stat on_host(const char *name)
{
	struct stat st = { .st_mode = 0 };

	fstatat(rig.dirfd, name, &st, AT_SYMLINK_NOFOLLOW);
	return st;
}

static inline bool host_has(const char *name, const char *attr)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	return lgetxattr(path, attr, NULL, 0) >= 0;
}

static inline int host_set(const char *name, const char *attr)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	return lsetxattr(path, attr, "1", 1, 0);
}

static inline struct fuse_attr attr_of(uint64_t node)
{
	struct fuse_attr attr = { .mode = 0 };

	rig_getattr(&rig, node, &attr);
	return attr;
}

/* Whether a change of nothing changes its time, when the clock next ticks. */
static inline bool moves_ctime(const char *name, uint64_t node)
{
	const struct stat before = on_host(name);
	struct stat after = before;

	for (int n = 0; n < 5000; n++) {
		if (set_attr(node, 0, 0, 0, 0))
			return false;
		after = on_host(name);
		if (after.st_ctim.tv_nsec != before.st_ctim.tv_nsec)
			return true;
		usleep(1000);
	}
	return false;
}

static inline int up(enum fs_access access)
{
	rig_prepare(&rig);
	rig.options.access = access;
	return rig_up(&rig);
}

/* ---- each in a process of its own --------------------------------------- */

static inline void in_child(void (*run)(void), bool user)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (user && (setgroups(0, NULL) ||
			     setresgid(USER, USER, USER) ||
			     setresuid(USER, USER, USER)))
			_exit(2);
		check_failed = 0;
		run();
		fflush(stdout);
		_exit(check_failed);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

#define BOTH(name)                                                            \
	static void test_##name(void)                                         \
	{                                                                     \
		in_child(name, true);                                         \
		if (!check_failed && !geteuid())                              \
			in_child(name, false);                                \
	}
/* The same where the share must keep attributes. */
#define BOTH_XATTRS(name)                                                     \
	static void test_##name(void)                                         \
	{                                                                     \
		if (!tmp_has_xattrs())                                        \
			SKIP("no user. attributes on /tmp");                  \
		in_child(name, true);                                         \
		if (!check_failed && !geteuid())                              \
			in_child(name, false);                                \
	}
#define ROOT(name)                                                            \
	static void test_##name(void)                                         \
	{                                                                     \
		if (geteuid())                                                \
			SKIP("needs root");                                   \
		in_child(name, false);                                        \
	}

#endif
