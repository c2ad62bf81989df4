/* SPDX-License-Identifier: MIT */
/*
 * Nothing may be left over when vmshare is killed, SIGKILL included: no
 * process, no file, no changed terminal. A parent-death signal alone does not
 * give that, since it is cleared when a process changes its credentials or
 * executes a set-id program, and it restores no terminal.
 *
 * So the first thing a run forks is a guardian: it sleeps on a pidfd of
 * vmshare, and when that becomes readable, kills what is registered, restores
 * the terminal and removes the registered files and what QEMU had no time to.
 * It shares vmshare's descriptor table (CLONE_FILES), so a pidfd that vmshare
 * holds is one that the guardian holds; numbers go through a page of shared
 * memory, where the kernel itself stores the pidfd of a cloned child before
 * that child runs. There is no window and no message.
 *
 * The guardian is in a session of its own, with all signals blocked, so that
 * neither ^C nor a signal to the process group ends it. It touches nothing
 * but that page until vmshare dies. When vmshare ends in order it kills its
 * guardian, and starts another where that one is killed meanwhile. Both are
 * single-threaded: fields are written by vmshare, and read by the guardian
 * only after vmshare is dead.
 */

#include "launch/share/share.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUARDIAN_FILES	4
#define GUARDIAN_DEATHS	8	/* then it is no accident */
#define DEATH_MS	5000	/* for a killed process to be gone */

struct guarded_file {
	char path[PATH_MAX];	/* "": none */
	int fd;			/* the file, once it is made; or -1 */
};

struct guardian {
	int parent;			/* pidfd of vmshare */
	int self;			/* pidfd of the guardian, or -1 */
	unsigned int deaths;		/* of its predecessors */
	int process[GUARDIAN_PROCESSES]; /* pidfds, -1: free */
	struct guarded_file file[GUARDIAN_FILES];
	char scratch[PATH_MAX];		/* QEMU's directory, "": none */
	int tty;			/* -1: nothing to restore */
	struct termios saved;
};

static void guardian_kill(int pidfd)
{
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

/* Until then it may make files. */
static void guardian_await(int pidfd)
{
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};

	poll(&pfd, 1, DEATH_MS);
}

/* Unless another has that name by now. An open file keeps its number. */
static void remove_file(const struct guarded_file *f)
{
	struct stat ours, there;

	if (f->fd >= 0 &&
	    (fstat(f->fd, &ours) < 0 || lstat(f->path, &there) < 0 ||
	     ours.st_dev != there.st_dev || ours.st_ino != there.st_ino))
		return;
	unlink(f->path);
}

static void remove_files(const struct guardian *g)
{
	for (unsigned int i = 0; i < GUARDIAN_FILES; i++)
		if (g->file[i].path[0])
			remove_file(&g->file[i]);
}

static _Noreturn void guardian_main(struct guardian *g)
{
	struct pollfd pfd = {.fd = g->parent, .events = POLLIN};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "vmshare-guard");
	while (poll(&pfd, 1, -1) <= 0)
		;
	for (unsigned int i = 0; i < GUARDIAN_PROCESSES; i++)
		if (g->process[i] >= 0)
			guardian_kill(g->process[i]);
	if (g->tty >= 0)
		tcsetattr(g->tty, TCSANOW, &g->saved);
	remove_files(g);
	for (unsigned int i = 0; g->scratch[0] && i < GUARDIAN_PROCESSES; i++)
		if (g->process[i] >= 0)
			guardian_await(g->process[i]);
	guardian_sweep(g);
	_exit(0);
}

static int guardian_fork(struct guardian *g)
{
	long pid = syscall(SYS_clone, CLONE_FILES | CLONE_PIDFD | SIGCHLD, 0,
			   &g->self, 0, 0);

	if (pid == 0)
		guardian_main(g);
	return pid < 0 ? -errno : 0;
}

int guardian_start(struct guardian **guardian)
{
	struct guardian *g = mmap(NULL, sizeof(*g), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err;

	if (g == MAP_FAILED)
		return -errno;
	for (unsigned int i = 0; i < GUARDIAN_PROCESSES; i++)
		g->process[i] = -1;
	g->tty = g->self = -1;
	g->parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (g->parent < 0) {
		err = -errno;
		goto fail;
	}
	(void)fcntl(g->parent, F_SETFD, FD_CLOEXEC);
	err = guardian_fork(g);
	if (err) {
		close(g->parent);
		goto fail;
	}
	*guardian = g;
	return 0;
fail:
	munmap(g, sizeof(*g));
	return err;
}

void guardian_end(struct guardian *g)
{
	if (!g)
		return;
	remove_files(g);
	for (unsigned int i = 0; i < GUARDIAN_FILES; i++)
		if (g->file[i].path[0] && g->file[i].fd >= 0)
			close(g->file[i].fd);
	if (g->self >= 0) {
		guardian_kill(g->self);
		sys_await(g->self);
		close(g->self);
	}
	close(g->parent);
	munmap(g, sizeof(*g));
}

int guardian_fd(const struct guardian *g)
{
	return g ? g->self : -1;
}

int guardian_replace(struct guardian *g)
{
	(void)sys_await(g->self);
	close(g->self);
	g->self = -1;
	return ++g->deaths < GUARDIAN_DEATHS ? guardian_fork(g) : -ECANCELED;
}

int *guardian_slot(struct guardian *g)
{
	for (unsigned int i = 0; i < GUARDIAN_PROCESSES; i++)
		if (g->process[i] < 0)
			return &g->process[i];
	return NULL;
}

void guardian_forget(struct guardian *g, int pidfd)
{
	for (unsigned int i = 0; i < GUARDIAN_PROCESSES; i++)
		if (g->process[i] == pidfd)
			g->process[i] = -1;
}

int guardian_file(struct guardian *g, const char *path)
{
	char cwd[PATH_MAX] = "";
	int n;

	/* It was forked where we are, but we may not stay there. */
	if (path[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return -errno;
	for (int i = 0; i < GUARDIAN_FILES; i++) {
		struct guarded_file *f = &g->file[i];
		char buf[PATH_MAX];

		if (f->path[0])
			continue;
		n = snprintf(buf, sizeof(buf), "%s%s%s", cwd,
			     cwd[0] ? "/" : "", path);
		if (n < 0 || (size_t)n >= sizeof(buf))
			return -ENAMETOOLONG;
		f->fd = -1;
		/* The first byte last: a name is there whole, or not. */
		memcpy(f->path + 1, buf + 1, (size_t)n);
		__atomic_store_n(&f->path[0], buf[0], __ATOMIC_RELEASE);
		return i;
	}
	return -ENOSPC;
}

void guardian_made(struct guardian *g, int slot, int fd)
{
	struct guarded_file *f = &g->file[slot];

	if (fd >= 0)
		__atomic_store_n(&f->fd, fd, __ATOMIC_RELEASE);
	else
		__atomic_store_n(&f->path[0], '\0', __ATOMIC_RELEASE);
}

const char *guardian_scratch(struct guardian *g)
{
	const char *tmp = getenv("TMPDIR");
	uint64_t random;
	int n;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return NULL;
	/* Known before it is there: no moment in between. */
	n = snprintf(g->scratch, sizeof(g->scratch), "%s/vmshare-%016llx",
		     tmp && *tmp ? tmp : "/var/tmp",
		     (unsigned long long)random);
	/* A relative one would not be the same for everybody. */
	if (n > 0 && (size_t)n < sizeof(g->scratch) && g->scratch[0] == '/' &&
	    !mkdir(g->scratch, 0700))
		return g->scratch;
	g->scratch[0] = '\0';
	return NULL;
}

void guardian_sweep(struct guardian *g)
{
	const struct dirent *d;
	DIR *dir;

	if (!g->scratch[0])
		return;
	dir = opendir(g->scratch);
	while (dir && (d = readdir(dir)))
		if (!strncmp(d->d_name, "vl.", 3))
			unlinkat(dirfd(dir), d->d_name, 0);
	if (dir)
		closedir(dir);
	/* Something else that QEMU made there is in use as long as it runs. */
	if (!rmdir(g->scratch) || errno == ENOENT)
		g->scratch[0] = '\0';
}

void guardian_terminal(struct guardian *g, int fd, const struct termios *saved)
{
	if (!saved) {
		__atomic_store_n(&g->tty, -1, __ATOMIC_RELEASE);
		return;
	}
	g->saved = *saved;
	__atomic_store_n(&g->tty, fd, __ATOMIC_RELEASE);
}

bool guardian_orphaned(const struct guardian *g)
{
	struct pollfd pfd = {.fd = g->parent, .events = POLLIN};

	return poll(&pfd, 1, 0) != 0;
}

void guardian_leave(struct guardian *g)
{
	munmap(g, sizeof(*g));
}
