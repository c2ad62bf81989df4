/* SPDX-License-Identifier: MIT */
/*
 * A conformance suite for file systems, for one that a virtual machine's share
 * is above all: what POSIX and Linux promise of each operation, error by
 * error.
 *
 *	posix DIRECTORY ELSEWHERE	all groups, in a new directory below
 *					DIRECTORY; ELSEWHERE is another file
 *					system
 *	posix -r DIRECTORY		what must not work read-only
 *
 * Runs as root, and becomes others where permissions matter. The exit status
 * is 1 when a case failed. The reference is what ext4 does: run it there and
 * compare the lines.
 */

#include "tests/posix/posix.h"

#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned int cases, failures;
static const char *group_name;
const char *elsewhere;

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "create", group_create },
	{ "remove", group_remove },
	{ "rename", group_rename },
	{ "link", group_link },
	{ "path", group_path },
	{ "paths", group_paths },
	{ "mode", group_mode },
	{ "setid", group_setid },
	{ "sticky", group_sticky },
	{ "inherit", group_inherit },
	{ "owner", group_owner },
	{ "times", group_times },
	{ "utimens", group_utimens },
	{ "data", group_data },
	{ "range", group_range },
	{ "unnamed", group_unnamed },
	{ "map", group_map },
	{ "exec", group_exec },
	{ "dir", group_dir },
	{ "special", group_special },
	{ "xattr", group_xattr },
	{ "acl", group_acl },
	{ "lock", group_lock },
	{ "statfs", group_statfs },
};

/* ---- results ------------------------------------------------------------ */

__attribute__((format(printf, 3, 4)))
static void result(const char *name, bool ok, const char *format, ...)
{
	va_list ap;

	cases++;
	printf("%sok %u - %s: %s", ok ? "" : "not ", cases, group_name, name);
	if (!ok) {
		failures++;
		printf(" # ");
		va_start(ap, format);
		vprintf(format, ap);
		va_end(ap);
	}
	putchar('\n');
	fflush(stdout);
}

static const char *error_text(int error)
{
	return error ? strerror(error) : "success";
}

void case_error(const char *name, int got, int want)
{
	result(name, got == want, "%s, not %s", error_text(got),
	       error_text(want));
}

void case_value(const char *name, long long got, long long want)
{
	result(name, got == want, "%lld (0%llo), not %lld (0%llo)", got,
	       (unsigned long long)got, want, (unsigned long long)want);
}

void case_text(const char *name, const char *got, const char *want)
{
	result(name, strcmp(got, want) == 0, "\"%s\", not \"%s\"", got, want);
}

/* ---- times -------------------------------------------------------------- */

/* Longer than a tick: file systems take their time from the last one. */
static void nap(void)
{
	struct timespec t = { .tv_nsec = 15 * 1000 * 1000 };

	nanosleep(&t, NULL);
}

void did(long long ret)
{
	(void)ret;
}

struct stat times_begin(const char *path)
{
	struct stat st = stat_of(path);

	nap();
	return st;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec;
}

void case_times(const char *name, const char *path, const struct stat *before,
		const char *want)
{
	struct stat st = stat_of(path);
	char got[4] = "", *p = got;

	if (later(&st.st_atim, &before->st_atim))
		*p++ = 'a';
	if (later(&st.st_mtim, &before->st_mtim))
		*p++ = 'm';
	if (later(&st.st_ctim, &before->st_ctim))
		*p++ = 'c';
	*p = '\0';
	case_text(name, got, want);
}

/* ---- setting the scene -------------------------------------------------- */

void must(const char *what, long long ret)
{
	if (ret >= 0)
		return;
	printf("Bail out! %s: %s: %s\n", group_name, what, strerror(errno));
	exit(2);
}

int make_file(const char *path, mode_t mode)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	must(path, fd);
	must(path, fchmod(fd, mode));
	return fd;
}

void put_file(const char *path, mode_t mode, const char *text)
{
	int fd = make_file(path, mode);
	size_t len = strlen(text);

	must(path, write(fd, text, len) == (ssize_t)len ? 0 : -1);
	must(path, fchmod(fd, mode));
	close(fd);
}

void make_dir(const char *path, mode_t mode)
{
	must(path, mkdir(path, 0700));
	must(path, chmod(path, mode));
}

struct stat stat_of(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		st = (struct stat){ .st_nlink = 0 };
	return st;
}

mode_t mode_of(const char *path)
{
	return stat_of(path).st_mode & 07777;
}

const char *text_of(const char *path)
{
	static char text[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

void become_root(void)
{
	must("seteuid", seteuid(0));
	must("setegid", setegid(0));
	must("setgroups", setgroups(0, NULL));
}

void become(uid_t uid, gid_t gid, gid_t other)
{
	become_root();
	must("setgroups", setgroups(other ? 1 : 0, &other));
	must("setegid", setegid(gid));
	must("seteuid", seteuid(uid));
}

static void run(const char *name, void (*group)(void))
{
	group_name = name;
	must("mkdir", mkdir(name, 0755));
	must("chdir", chdir(name));
	group();
	must("chdir", chdir(".."));
}

int main(int argc, char **argv)
{
	char top[] = "posix-XXXXXX";

	if (argc == 2 && strcmp(argv[1], "-s") == 0)
		return (int)sleep(60);	/* for the group that runs programs */
	if (argc != 3 || geteuid() != 0) {
		fprintf(stderr, "usage, as root: posix DIRECTORY ELSEWHERE, "
				"posix -r DIRECTORY\n");
		return 2;
	}
	umask(0);
	if (strcmp(argv[1], "-r") == 0) {
		group_name = "readonly";
		must(argv[2], chdir(argv[2]));
		group_readonly();
	} else {
		group_name = "suite";
		elsewhere = argv[2];
		must(argv[1], chdir(argv[1]));
		must("mkdtemp", mkdtemp(top) ? 0 : -1);
		must("chmod", chmod(top, 0755));
		must("chdir", chdir(top));
		for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
			run(groups[i].name, groups[i].run);
	}
	printf("1..%u\n", cases);
	return failures != 0;
}
