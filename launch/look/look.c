/* SPDX-License-Identifier: MIT */
/*
 * How one vmshare finds another, without a daemon, and without a file that a
 * killed process could leave behind.
 *
 * A run or serve holds memfds with names of ours: one with a description of
 * itself, sealed against any change, and for each share one with its counts.
 * The same user and root can see their names in /proc/PID/fd, and open them.
 * They end with the process.
 *
 * The guardian shares its parent's descriptors, and a file server that was just
 * forked still has them. So a description contains the id of its process, in
 * that process's PID namespace, and any other process that holds it is skipped.
 * Process names would not do: a process that was just forked has its parent's.
 * The description is a list of NUL-terminated KEY=VALUE; a share's keys follow
 * its "share=SLOT". Nothing in it is trusted: any process of the same user
 * could have written it.
 */
#include "launch/look/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ABOUT_NAME	"vmshare-about"
#define STATS_NAME	"vmshare-stats-"
#define ABOUT_MAX	(1u << 18)

/* ---- being found --------------------------------------------------------- */

struct about {
	char *text;
	size_t len;
	bool full;
};

static void about_put(struct about *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void about_put(struct about *a, const char *fmt, ...)
{
	size_t room = ABOUT_MAX - a->len;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(a->text + a->len, room, fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room)
		a->full = true;
	else
		a->len += (size_t)n + 1;
}

static void about_path(struct about *a, const char *key, const char *path)
{
	char whole[PATH_MAX];

	about_put(a, "%s=%s", key, realpath(path, whole) ? whole : path);
}

static uint64_t boot_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec;
}

static void about_share(struct about *a, const struct share_config *sc,
			unsigned int slot)
{
	about_put(a, "share=%u", slot);
	about_put(a, "tag=%s", sc->tag);
	if (sc->ro)
		about_put(a, "ro=1");
	if (sc->socket)
		about_path(a, "server", sc->socket);
	else
		about_path(a, "dir", sc->dir);
}

static void about_fill(struct about *a, const struct config *c)
{
	about_put(a, "pid=%d", (int)getpid());
	about_put(a, "command=%s", c->command);
	about_put(a, "start=%llu", (unsigned long long)boot_seconds());
	for (unsigned int i = 0; i < c->nr_disks; i++)
		about_path(a, "disk", c->disks[i].path);
	if (c->has_root_share)
		about_path(a, "root", c->root_share.dir);
	if (c->socket_path)
		about_path(a, "socket", c->socket_path);
	for (unsigned int i = 0; i < c->nr_shares; i++)
		about_share(a, &c->shares[i], i);
	if (c->has_root_share)
		about_share(a, &c->root_share, c->nr_shares);
}

static int about_memfd(const struct about *a)
{
	int fd = memfd_create(ABOUT_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (a->full || write(fd, a->text, a->len) != (ssize_t)a->len ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE |
		  F_SEAL_SEAL) < 0) {
		close(fd);
		return -ENOSPC;
	}
	return fd;
}

void look_publish(const struct config *c)
{
	struct about a = {.text = malloc(ABOUT_MAX)};
	int fd = -ENOMEM;

	if (a.text) {
		about_fill(&a, c);
		fd = about_memfd(&a);
	}
	free(a.text);
	if (fd < 0)
		log_warning("'vmshare ps' won't show this one: %s",
			    strerror(-fd));
}

struct stats *look_stats(unsigned int slot, int *fd)
{
	struct stats *stats = NULL;
	char name[32];

	snprintf(name, sizeof(name), STATS_NAME "%u", slot);
	*fd = stats_create(name, &stats);
	if (*fd >= 0)
		return stats;
	log_warning("'vmshare stat' won't show a share: %s", strerror(-*fd));
	*fd = -1;
	return NULL;
}

/* ---- finding ------------------------------------------------------------- */

static void take(char *dst, size_t size, const char *value)
{
	snprintf(dst, size, "%s", value);
}

static void take_share_key(struct look_share *s, const char *key,
			   const char *value)
{
	if (strcmp(key, "tag") == 0)
		take(s->tag, sizeof(s->tag), value);
	else if (strcmp(key, "ro") == 0)
		s->ro = true;
	else if (strcmp(key, "dir") == 0 || strcmp(key, "server") == 0)
		take(s->dir, sizeof(s->dir), value);
	s->external |= strcmp(key, "server") == 0;
}

static void take_key(struct look *l, const char *key, const char *value)
{
	uint64_t number, now = boot_seconds();

	if (strcmp(key, "share") == 0) {
		if (l->nr_shares < ARRAY_SIZE(l->shares))
			l->shares[l->nr_shares++].stats = -1;
	} else if (l->nr_shares) {
		take_share_key(&l->shares[l->nr_shares - 1], key, value);
	} else if (strcmp(key, "command") == 0) {
		take(l->command, sizeof(l->command), value);
	} else if (strcmp(key, "pid") == 0) {
		if (parse_u64(value, 1, INT32_MAX, &number) == 0)
			l->self = (pid_t)number;
	} else if (strcmp(key, "start") == 0) {
		if (parse_u64(value, 0, now, &number) == 0)
			l->seconds = now - number;
	} else if (l->what[0]) {
		l->more++;
	} else {
		take(l->what, sizeof(l->what), value);
	}
}

static int read_about(struct look *l, int fd)
{
	char *text = malloc(ABOUT_MAX + 1);
	ssize_t n = text ? pread(fd, text, ABOUT_MAX, 0) : -1;
	size_t at = 0, len = n > 0 ? (size_t)n : 0;

	if (text)
		text[len] = '\0';
	while (at < len) {
		char *key = text + at, *value = strchr(key, '=');

		at += strlen(key) + 1;
		if (value) {
			*value++ = '\0';
			take_key(l, key, value);
		}
	}
	free(text);
	return n > 0 ? 0 : -EIO;
}

/* The number behind STATS_NAME in what /proc says of a descriptor, or -1. */
static int stats_slot_of(const char *target)
{
	static const char prefix[] = "/memfd:" STATS_NAME;
	unsigned int slot;
	int used = 0;

	if (strncmp(target, prefix, sizeof(prefix) - 1) != 0 ||
	    sscanf(target + sizeof(prefix) - 1, "%2u (deleted)%n", &slot,
		   &used) != 1 || !used || slot > VM_MAX_SHARES)
		return -1;
	return (int)slot;
}

struct look_fds {
	int about;
	int stats[VM_MAX_SHARES + 1];
};

static void look_at_fd(struct look_fds *f, int dir, const char *name)
{
	char target[64] = "";
	int slot, *to = NULL;

	if (readlinkat(dir, name, target, sizeof(target) - 1) < 0)
		return;
	slot = stats_slot_of(target);
	if (slot >= 0)
		to = &f->stats[slot];
	else if (strcmp(target, "/memfd:" ABOUT_NAME " (deleted)") == 0)
		to = &f->about;
	if (to && *to < 0)
		*to = openat(dir, name, O_RDONLY | O_CLOEXEC);
}

/* -ENOENT: not one of ours. -EACCES and the like: not to be looked at. */
static int find_fds(struct look_fds *f, int proc)
{
	int fd = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			look_at_fd(f, fd, e->d_name);
	closedir(dir);
	return f->about < 0 ? -ENOENT : 0;
}

/* "NSpid:\t100\t7": 7 */
static pid_t last_number(const char *text)
{
	long pid = -1;
	char *end;

	while ((text = strchr(text, '\t'))) {
		pid = strtol(text, &end, 10);
		text = end;
	}
	return (pid_t)pid;
}

/* What getpid() returns in there, or -1. */
static pid_t own_pid(int proc)
{
	int fd = openat(proc, "status", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char *line = NULL;
	pid_t pid = -1;
	size_t size = 0;

	if (!f && fd >= 0)
		close(fd);
	/* A user may be in so many groups that this is long. */
	while (f && pid < 0 && getline(&line, &size, f) > 0)
		if (strncmp(line, "NSpid:", 6) == 0)
			pid = last_number(line);
	free(line);
	if (f)
		fclose(f);
	return pid;
}

static void close_fds(struct look_fds *f)
{
	if (f->about >= 0)
		close(f->about);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->stats); i++)
		if (f->stats[i] >= 0)
			close(f->stats[i]);
}

/* 0 with @l and @f filled in, or -errno with nothing left open. */
static int look_at(const char *pid, bool any, struct look *l,
		   struct look_fds *f)
{
	char path[64];
	struct stat st;
	int proc, err = -ENOENT;

	memset(f, -1, sizeof(*f));
	snprintf(path, sizeof(path), "/proc/%.20s", pid);
	proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return -errno;
	if (fstat(proc, &st) == 0 && (any || st.st_uid == geteuid()))
		err = find_fds(f, proc);
	memset(l, 0, sizeof(*l));
	l->proc = proc;
	l->pid = (pid_t)strtol(pid, NULL, 10);
	if (!err)
		err = read_about(l, f->about);
	if (!err && l->self && l->self != own_pid(proc))
		err = -ENOENT;
	if (err) {
		close(proc);
		close_fds(f);
	}
	for (unsigned int i = 0; !err && i < l->nr_shares; i++)
		l->shares[i].stats = f->stats[i];
	return err;
}

int look_signal(const struct look *l, int sig, int value)
{
	siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};

	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_int = value;
	return syscall(SYS_pidfd_send_signal, l->proc, sig, &info, 0) < 0 ?
		       -errno : 0;
}

int look_each(pid_t only, int (*fn)(void *ctx, const struct look *l),
	      void *ctx)
{
	struct look *l = malloc(sizeof(*l));
	DIR *dir = opendir("/proc");
	struct look_fds f;
	struct dirent *e;
	int ret = l && dir ? 0 : -ENOMEM;
	char pid[16];

	if (!ret && only) {
		snprintf(pid, sizeof(pid), "%d", (int)only);
		ret = look_at(pid, true, l, &f);
		if (!ret) {
			ret = fn(ctx, l);
			close(l->proc);
			close_fds(&f);
		}
	}
	while (!ret && !only && (e = readdir(dir))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9' ||
		    look_at(e->d_name, false, l, &f))
			continue;
		ret = fn(ctx, l);
		close(l->proc);
		close_fds(&f);
	}
	if (dir)
		closedir(dir);
	free(l);
	return ret;
}

int look_command(int argc, char **argv,
		 const char *(*op_name)(unsigned int op))
{
	struct config *c = calloc(1, sizeof(*c));
	int status = EXIT_REFUSED, got;

	if (!c) {
		log_error("out of memory");
		return EXIT_REFUSED;
	}
	got = config_parse(c, argc, argv);
	if (got > 0)
		status = 0;
	else if (got == 0)
		status = strcmp(c->command, "ps") == 0	 ? ps_run(c) :
			 strcmp(c->command, "stat") == 0 ? stat_run(c, op_name)
							 : restart_run(c);
	config_free(c);
	free(c);
	return status;
}
