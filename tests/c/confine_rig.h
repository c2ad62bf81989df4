/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_CONFINE_RIG_H
#define VMSHARE_TESTS_CONFINE_RIG_H

/*
 * Scenes of confinement: a process becomes some user and forks a keeper, which
 * confines itself, looks around and reports the first thing that is not as it
 * should be.
 */

#include "fsserver/confine/drop.c"
#include "fsserver/confine/namespace.c"
#include "fsserver/confine/sandbox.c"
#include "fsserver/owners/xattrname.c"

#include "check.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#define USER 1234		/* owns the share, has no privileges */

static char base[64], share[80], secret[80];

/* What a check in the keeper returns: NULL, or what was not so. */
#define EXPECT(cond)                                                          \
	do {                                                                  \
		if (!(cond))                                                  \
			return #cond;                                         \
	} while (0)

struct scene {
	struct fs_options o;
	uid_t user;			/* 0: stay root */
	int (*before)(void);		/* as root, in the user's process */
	int (*beside)(void);		/* there, while the keeper looks */
	int (*after)(void);		/* there, when it has ended */
	const char *(*look)(const struct fs_place *place);
};

struct report {
	int err;
	char why[256];
	char bad[256];
	int after;		/* wait status of the user's process */
	struct fs_place place;
};

static struct report report;

static inline void write_text(const char *dir, const char *name,
			      const char *text, mode_t mode, uid_t owner)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) < 0 ||
	    fchown(fd, owner, owner) || fchmod(fd, mode))
		abort();
	close(fd);
}

static inline void make_tree(void)
{
	char path[160];

	snprintf(base, sizeof(base), "/tmp/vmshare-confine-XXXXXX");
	if (!mkdtemp(base) || chmod(base, 0755))
		abort();
	snprintf(share, sizeof(share), "%s/share", base);
	snprintf(secret, sizeof(secret), "%s/secret", base);
	if (mkdir(share, 0755) || chown(share, USER, USER))
		abort();
	write_text(base, "secret", "s", 0666, USER);
	write_text(share, "file", "hello", 0644, USER);
	write_text(share, "shut", "hello", 0000, USER);
	write_text(share, "roots", "hello", 0644, 0);
	snprintf(path, sizeof(path), "%s/link", share);
	if (symlink(secret, path))
		abort();
	snprintf(path, sizeof(path), "%s/sub", share);
	if (mkdir(path, 0777) || chmod(path, 0777))
		abort();
	snprintf(path, sizeof(path), "%s/null", share);
	if (mknod(path, S_IFCHR | 0666, makedev(1, 3)))
		abort();
}

static inline int remove_one(const char *path, const struct stat *st, int type,
			     struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void keeper(const struct scene *s, int fd)
{
	const char *bad = NULL;

	memset(&report, 0, sizeof(report));
	report.err = fs_confine(&s->o, &fd, 1, &report.place, report.why,
				sizeof(report.why));
	if (!report.err && s->look)
		bad = s->look(&report.place);
	snprintf(report.bad, sizeof(report.bad), "%s", bad ? bad : "");
	_exit(write(fd, &report, sizeof(report)) != sizeof(report));
}

static inline void become(uid_t uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) ||
	    setresuid(uid, uid, uid) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		_exit(9);
}

/* Play a scene; the report is left in @report. */
static inline void play(const struct scene *s)
{
	int fds[2], status;
	pid_t pid;

	memset(&report, 0, sizeof(report));
	report.err = -EIO;
	if (pipe(fds))
		abort();
	pid = fork();
	if (!pid) {
		if (s->before && s->before())
			_exit(9);
		if (s->user)
			become(s->user);
		pid = fs_fork(&s->o);
		if (!pid)
			keeper(s, fds[1]);
		if (pid < 0 || (s->beside && s->beside()) ||
		    waitpid(pid, &status, 0) < 0)
			_exit(9);
		_exit(s->after ? s->after() : 0);
	}
	close(fds[1]);
	if (read(fds[0], &report, sizeof(report)) != sizeof(report))
		report.err = -EIO;
	close(fds[0]);
	waitpid(pid, &status, 0);
	report.after = status;
	if (report.bad[0])
		printf("# not so: %s\n", report.bad);
	if (report.err)
		printf("# %s\n", report.why);
}

static inline struct scene scene_of(uid_t user)
{
	struct scene s;

	memset(&s, 0, sizeof(s));
	s.o.dir = share;
	s.o.access = user ? FS_ACCESS_SQUASH : FS_ACCESS_PASSTHROUGH;
	s.o.seccomp = true;
	s.user = user;
	return s;
}

#define CHECK_PLAYED()                                                        \
	do {                                                                  \
		CHECK_EQ(report.err, 0);                                      \
		CHECK_STR(report.bad, "");                                    \
		CHECK_EQ(report.after, 0);                                    \
	} while (0)

/* ---- for those who look -------------------------------------------------- */

static inline int reads(int dir, const char *name)
{
	char byte;
	int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = read(fd, &byte, 1) == 1 ? 0 : -EIO;
	close(fd);
	return err;
}

static inline int creates(int dir, const char *name)
{
	int fd = openat(dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	close(fd);
	return unlinkat(dir, name, 0) ? -errno : 0;
}

static inline unsigned int open_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 3; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}


static inline int confine_main(const struct check_case *cases, size_t count,
			       int argc, char **argv)
{
	int failed;

	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	make_tree();
	failed = check_main(cases, count, argc, argv);
	nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return failed;
}

#endif
