/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_POSIX_H
#define VMSHARE_TESTS_POSIX_H

/*
 * What a group of cases needs. Each case is one line of TAP whose text is the
 * case's name, so that two file systems are compared by comparing lines; what
 * came instead of what was expected follows a "#".
 *
 * A group runs in a new, empty directory of the file system under test, as
 * root, with umask 0.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Users and groups of the cases. */
#define USER_A	1000
#define USER_B	1001
#define GROUP_A	1000
#define GROUP_B	1001
#define GROUP_X	2000

/* A call that has to fail with @error; one that has to succeed. */
#define FAILS(name, error, call) \
	case_error(name, (errno = 0, (call) < 0) ? errno : 0, error)
#define WORKS(name, call) FAILS(name, 0, call)
/* A value. */
#define IS(name, value, want) \
	case_value(name, (long long)(value), (long long)(want))
#define HAS_MODE(path, want) case_mode(#path, path, want)
/* Which of atime, mtime and ctime of @path an action changes: "amc". */
#define TIMES(name, path, want, action) do { \
	struct stat times_before_ = times_begin(path); \
	action; \
	case_times(name, path, &times_before_, want); \
} while (0)

void case_error(const char *name, int got, int want);
void case_value(const char *name, long long got, long long want);
void case_text(const char *name, const char *got, const char *want);
/* An action whose only result is what it does to times. */
void did(long long ret);
struct stat times_begin(const char *path);
void case_times(const char *name, const char *path, const struct stat *before,
		const char *want);

/* Be somebody else; be root again. */
void become(uid_t uid, gid_t gid, gid_t other);
void become_root(void);

/* Set the scene; a failure ends the program, since no case would mean much. */
int make_file(const char *path, mode_t mode);	/* empty; a descriptor */
void put_file(const char *path, mode_t mode, const char *text);
void make_dir(const char *path, mode_t mode);
struct stat stat_of(const char *path);		/* zeros: there is none */
mode_t mode_of(const char *path);		/* 07777 */
void must(const char *what, long long ret);
/* The text of a small file, in static memory; empty when there is none. */
const char *text_of(const char *path);
/* A directory of another file system. */
extern const char *elsewhere;

/* Groups. */
void group_create(void);
void group_remove(void);
void group_rename(void);
void group_link(void);
void group_path(void);
void group_paths(void);
void group_mode(void);
void group_setid(void);
void group_sticky(void);
void group_inherit(void);
void group_owner(void);
void group_times(void);
void group_utimens(void);
void group_data(void);
void group_range(void);
void group_unnamed(void);
void group_map(void);
void group_exec(void);
void group_dir(void);
void group_special(void);
void group_xattr(void);
void group_acl(void);
void group_lock(void);
void group_statfs(void);
void group_readonly(void);

#endif
