/* SPDX-License-Identifier: MIT */
/*
 * Preflight of what lies in the file system: disks, shared directories and
 * sockets. The tests of check; see there for the rules.
 *
 * Whether a disk is in use is asked of its locks, not of processes: QEMU holds
 * a read lock on byte 100 + n for a permission it has, and on 200 + n for one
 * it does not share; n is 1 for writing. They are open-file-description locks,
 * so the kernel does not know a process: that is looked for only to be named.
 */
#include "launch/check/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOCK_HAS_WRITE	    101
#define LOCK_UNSHARED_WRITE 201
#define SOCKET_PATH_MAX	    107
#define QUEUE_SIZE_USEFUL   8 /* Linux spends 4 slots on headers */

/* The line @key of a file such as /etc/passwd whose third field is @id. */
static void user_name(uid_t uid, char *buf, size_t size)
{
	FILE *f = fopen("/etc/passwd", "re");
	char line[1024];

	snprintf(buf, size, "%u", (unsigned int)uid);
	while (f && fgets(line, sizeof(line), f)) {
		char *id = strchr(line, ':');

		id = id ? strchr(id + 1, ':') : NULL;
		if (!id || strtoul(id + 1, NULL, 10) != uid)
			continue;
		snprintf(buf, size, "%.*s", (int)strcspn(line, ":"), line);
		break;
	}
	if (f)
		fclose(f);
}

/* ---- disks -------------------------------------------------------------- */

static bool has_file_open(const char *pid, const struct stat *file)
{
	char path[64], fd[384];
	bool found = false;
	struct dirent *e;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.32s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		snprintf(fd, sizeof(fd), "%s/%s", path, e->d_name);
		found = *e->d_name != '.' && !stat(fd, &st) &&
			st.st_dev == file->st_dev && st.st_ino == file->st_ino;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* " (pid 4711 qemu-system-x86)" of a process we may look into, or "". */
static void find_user(const struct stat *file, char *buf, size_t size)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	*buf = '\0';
	while (proc && !*buf && (e = readdir(proc))) {
		char path[300], name[32] = "";
		FILE *f;

		if (e->d_name[0] < '1' || e->d_name[0] > '9' ||
		    atoi(e->d_name) == getpid() ||
		    !has_file_open(e->d_name, file))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(name, sizeof(name), f))
			name[strcspn(name, "\n")] = '\0';
		if (f)
			fclose(f);
		snprintf(buf, size, " (pid %.10s %s)", e->d_name, name);
	}
	if (proc)
		closedir(proc);
}

static bool is_locked(int fd, off_t byte)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

static void check_lock(const struct config *c, const struct disk_config *d,
		       const struct stat *st, struct findings *found)
{
	int fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool writes = !c->ephemeral && !c->read_only, written, held;
	char user[64];

	if (fd < 0)
		return;
	written = is_locked(fd, LOCK_HAS_WRITE);
	held = writes && is_locked(fd, LOCK_UNSHARED_WRITE);
	close(fd);
	if (!written && !held)
		return;
	find_user(st, user, sizeof(user));
	findings_add(found, EXIT_REFUSED,
		     written ? "stop it, or make a copy of the disk"
			     : "stop it, or use --ephemeral or --read-only",
		     "%s: in use by another process%s", d->path, user);
}

static void check_access(const struct config *c, const struct disk_config *d,
			 const struct stat *st, struct findings *found)
{
	bool writes = !c->ephemeral && !c->read_only;
	const char *what;
	char owner[64];

	if (faccessat(AT_FDCWD, d->path, R_OK, AT_EACCESS))
		what = "permission denied";
	else if (writes && faccessat(AT_FDCWD, d->path, W_OK, AT_EACCESS))
		what = errno == EROFS ? "read-only file system"
				      : "not writable";
	else
		return;
	user_name(st->st_uid, owner, sizeof(owner));
	findings_add(found, EXIT_REFUSED,
		     *what == 'p' ? "" : "use --ephemeral or --read-only",
		     "%s: %s for uid %u (mode %04o, owner %s)", d->path, what,
		     (unsigned int)geteuid(),
		     (unsigned int)(st->st_mode & 07777), owner);
}

static bool in_path(const char *name)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	while (path && *path) {
		size_t len = strcspn(path, ":");

		snprintf(file, sizeof(file), "%.*s/%s", (int)len, path, name);
		if (!access(file, X_OK))
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

/* No such disk: what was meant may be a share, or a command. */
static void check_missing(const char *path, int error, struct findings *found)
{
	const char *colon = strrchr(path, ':');
	char dir[PATH_MAX], hint[2 * PATH_MAX] = "";
	struct stat st;

	snprintf(dir, sizeof(dir), "%.*s",
		 colon ? (int)(colon - path) : 0, path);
	if (colon && !stat(dir, &st) && S_ISDIR(st.st_mode))
		snprintf(hint, sizeof(hint), "to share it: --share %s", path);
	else if (!strchr(path, '/') && in_path(path))
		snprintf(hint, sizeof(hint), "a command follows '--': "
			 "vmshare run -- %s", path);
	findings_add(found, EXIT_REFUSED, hint, "%s: %s", path,
		     error == ENOENT ? "no such file" : strerror(error));
}

void check_disk(const struct config *c, const struct disk_config *d,
		struct findings *found)
{
	struct stat st;

	if (stat(d->path, &st)) {
		check_missing(d->path, errno, found);
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		findings_add(found, EXIT_REFUSED,
			     "to boot it as a tree: "
			     "--root DIR; to share it: --share DIR",
			     "%s: is a directory, not a disk image", d->path);
		return;
	}
	if (S_ISREG(st.st_mode) && st.st_size == 0) {
		findings_add(found, EXIT_REFUSED, "", "%s: is empty", d->path);
		return;
	}
	check_access(c, d, &st, found);
	check_lock(c, d, &st, found);
}

/* ---- shares ------------------------------------------------------------- */

static void check_socket(const struct share_config *s, struct findings *found)
{
	size_t len = strlen(s->socket);
	struct stat st;

	if (len > SOCKET_PATH_MAX)
		findings_add(found, EXIT_REFUSED,
			     "use a shorter directory "
			     "such as $XDG_RUNTIME_DIR",
			     "share '%s': socket "
			     "path is %zu bytes; the limit is %d",
			     s->tag, len, SOCKET_PATH_MAX);
	else if (stat(s->socket, &st))
		findings_add(found, EXIT_REFUSED, "start its server first",
			     "share '%s': %s: %s", s->tag, s->socket,
			     errno == ENOENT ? "no such socket"
					     : strerror(errno));
	else if (!S_ISSOCK(st.st_mode))
		findings_add(found, EXIT_REFUSED, "",
			     "share '%s': %s: is not "
			     "a socket",
			     s->tag, s->socket);
}

/* A disk that its own guest could change underneath itself. */
static void check_disk_inside(const struct config *c,
			      const struct share_config *s,
			      struct findings *found)
{
	char dir[PATH_MAX], disk[PATH_MAX];
	size_t len;

	if (s->ro || !realpath(s->dir, dir))
		return;
	len = strcmp(dir, "/") ? strlen(dir) : 0;
	for (unsigned int i = 0; i < c->nr_disks; i++)
		if (realpath(c->disks[i].path, disk) &&
		    strncmp(disk, dir, len) == 0 && disk[len] == '/')
			findings_add(found, 0, "share it ro, or move the disk",
				     "share '%s' contains the guest's own "
				     "disk %s",
				     s->tag, c->disks[i].path);
}

/*
 * Whether others may be given access to a directory by a line for a shell: not
 * where that is another's home or the system's.
 */
static bool may_be_opened(const char *dir)
{
	static const char *const not[] = {
		"", "bin", "boot", "dev", "etc", "home", "lib", "lib64", "proc",
		"root", "run", "sbin", "sys", "usr", "var",
	};
	const char *home = getenv("HOME");
	char real[PATH_MAX];
	size_t len;

	if (!realpath(dir, real))
		return false;	/* below what can't be seen */
	if (home && home[0] && home[1] && strstr(real, home) == real &&
	    real[strlen(home)] == '/')
		return true;
	len = strcspn(real + 1, "/");
	for (size_t i = 0; i < ARRAY_SIZE(not); i++)
		if (strlen(not[i]) == len &&
		    memcmp(not[i], real + 1, len) == 0)
			return strncmp(real, "/var/tmp/", 9) == 0;
	return true;
}

static void check_dir_access(const struct share_config *s,
			     const struct stat *st, struct findings *found)
{
	char owner[64], hint[PATH_MAX + 128];

	if (faccessat(AT_FDCWD, s->dir, R_OK | X_OK, AT_EACCESS)) {
		user_name(st->st_uid, owner, sizeof(owner));
		snprintf(hint, sizeof(hint), "share a directory of your own");
		if (may_be_opened(s->dir))
			snprintf(hint + strlen(hint),
				 sizeof(hint) - strlen(hint),
				 ", or: sudo setfacl -m u:%u:%s %s",
				 (unsigned int)geteuid(), s->ro ? "rx" : "rwx",
				 s->dir);
		findings_add(found, EXIT_REFUSED, hint,
			     "share '%s': %s: "
			     "permission denied for uid %u (mode %04o, owner "
			     "%s)",
			     s->tag, s->dir, (unsigned int)geteuid(),
			     (unsigned int)(st->st_mode & 07777), owner);
	} else if (!s->ro && faccessat(AT_FDCWD, s->dir, W_OK, AT_EACCESS)) {
		findings_add(found, 0, "add ro to say that this is meant",
			     "share '%s': %s: %s for uid %u, so the guest "
			     "can't create files there",
			     s->tag, s->dir,
			     errno == EROFS ? "on a read-only file system"
					    : "not writable",
			     (unsigned int)geteuid());
	}
}

/* Whether @text up to @end is a directory, which goes to @dir. */
static bool is_dir_until(const char *text, const char *end, char dir[PATH_MAX])
{
	struct stat st;

	snprintf(dir, PATH_MAX, "%.*s", end ? (int)(end - text) : 0, text);
	return end && stat(dir, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * No such directory: what was meant may be DIR:/PLACE, DIR:TAG:/PLACE or
 * DIR:TAG:ro, as containers have it.
 */
static void check_missing_dir(const struct share_config *s,
			      struct findings *found)
{
	const char *colon = strrchr(s->dir, ':'), *name, *tag;
	char dir[PATH_MAX], hint[3 * PATH_MAX];
	bool ro = strcmp(s->tag, "ro") == 0;

	tag = colon ? memrchr(s->dir, ':', (size_t)(colon - s->dir)) : NULL;
	if (tag && colon[1] == '/' && is_dir_until(s->dir, tag, dir)) {
		snprintf(hint, sizeof(hint), "a tag follows the directory, "
			 "then options: --share %s%.*s,mount=%s%s", dir,
			 (int)(colon - tag), tag, colon + 1, ro ? ",ro" : "");
	} else if (!is_dir_until(s->dir, colon, dir)) {
		snprintf(hint, sizeof(hint), "create it, or check the "
			 "spelling; vmshare does not create shared "
			 "directories");
	} else if (colon[1] == '/') {
		name = strrchr(colon, '/') + 1;
		snprintf(hint, sizeof(hint), "a tag follows the directory, "
			 "then options: --share %s:%s,mount=%s%s", dir,
			 *name ? name : "TAG", colon + 1, ro ? ",ro" : "");
	} else {
		snprintf(hint, sizeof(hint), "a tag follows the directory, "
			 "then options after commas: --share %s:%s%s", dir,
			 colon + 1, ro ? ",ro" : "");
	}
	findings_add(found, EXIT_REFUSED, hint, "share '%s': %s: no such "
		     "directory", s->tag, s->dir);
}

void check_share(const struct config *c, const struct share_config *s,
		 struct findings *found)
{
	struct stat st;

	if (s->queue_size < QUEUE_SIZE_USEFUL)
		findings_add(found, 0, "",
			     "share '%s': queue-size %u: Linux "
			     "guests need %d or more",
			     s->tag, s->queue_size, QUEUE_SIZE_USEFUL);
	if (s->socket) {
		check_socket(s, found);
		return;
	}
	if (c->user && c->own_init && !c->has_root_share && geteuid() &&
	    !s->ro && !s->access && !s->squash.set &&
	    !s->uid_map.nr)
		findings_add(found, 0,
			     "give the share squash=UID:GID, as they are in "
			     "the guest",
			     "share '%s': is the guest's root's, since the ids "
			     "of '%s' on the disk are not known here", s->tag,
			     c->user);
	if (strcmp(s->tag, "ro") == 0 && !s->ro)
		findings_add(found, 0, "for a read-only share: --share "
			     "DIR:TAG,ro",
			     "share 'ro': that is its tag, and the guest may "
			     "write to it");
	if (stat(s->dir, &st) && errno == ENOENT)
		check_missing_dir(s, found);
	else if (stat(s->dir, &st))
		findings_add(found, EXIT_REFUSED, "", "share '%s': %s: %s",
			     s->tag, s->dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		findings_add(found, EXIT_REFUSED,
			     "share the directory that "
			     "it is in",
			     "share '%s': %s is a file, not a "
			     "directory",
			     s->tag, s->dir);
	else {
		check_dir_access(s, &st, found);
		check_disk_inside(c, s, found);
	}
	if (s->access && strcmp(s->access, "passthrough") == 0 && geteuid() &&
	    !s->uid_map.nr)
		findings_add(found, EXIT_REFUSED,
			     "use access=squash or access=mapped, or uid-map= "
			     "with ranges of /etc/subuid",
			     "share '%s': "
			     "access=passthrough needs root",
			     s->tag);
}

/* ---- serve -------------------------------------------------------------- */

static void check_socket_dir(const char *path, struct findings *found)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	struct stat st;

	snprintf(dir, sizeof(dir), "%.*s",
		 slash ? slash == path ? 1 : (int)(slash - path) : 1,
		 slash ? path : ".");
	if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS))
		findings_add(found, EXIT_REFUSED, "", "--socket %s: %s: %s",
			     path, dir,
			     errno == ENOENT ? "no such directory"
					     : strerror(errno));
	else if (!lstat(path, &st) && !S_ISSOCK(st.st_mode))
		findings_add(found, EXIT_REFUSED,
			     "remove it, or give another "
			     "path",
			     "--socket %s: exists and is not a socket", path);
}

void check_serve(const struct config *c, struct findings *found)
{
	socklen_t len = sizeof(int);
	int on = 0;

	if (c->socket_path)
		check_socket_dir(c->socket_path, found);
	if (c->listen_fd < 0)
		return;
	if (getsockopt(c->listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len))
		findings_add(found, EXIT_REFUSED, "", "--fd %d: %s",
			     c->listen_fd,
			     errno == EBADF ? "descriptor is not open"
					    : "not a socket");
	else if (!on)
		findings_add(found, EXIT_REFUSED,
			     "pass a socket that "
			     "listens",
			     "--fd %d: is a socket that does not "
			     "listen",
			     c->listen_fd);
}
