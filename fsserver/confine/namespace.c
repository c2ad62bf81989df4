/* SPDX-License-Identifier: MIT */
/*
 * Namespaces: a confined process sees only the share.
 *
 * There are two steps, because only a new process enters a new pid namespace.
 * ns_fork() makes the keeper PID 1 of one, for an ordinary user also in a user
 * namespace, whose id map it arranges; so the keeper can mount a procfs of that
 * namespace. ns_enter() does the rest in the keeper: mount, net, ipc and uts
 * namespaces, the procfs, a bind mount of the share with all mounts below it,
 * and pivot_root(2) into it. A static variable carries the result of ns_fork()
 * into the child.
 *
 * Ids in a user namespace are equal to the host's ids; idmap.c does all
 * mapping. An ordinary user's own id can always be mapped; others need
 * newuidmap(1), which the parent must run outside of the namespace.
 *
 * At a live upgrade the new keeper joins the old one's namespaces, in the same
 * two steps: the keys of a guest's nodes contain mount ids, and the share's
 * directory may have been moved since. Only the pid namespace ends with the old
 * keeper, so it and the procfs are new.
 *
 * nosuid, nodev, (ro) and nosymfollow are set on all mounts. Kernels before
 * 5.12 lack mount_setattr(2): there each mount is remounted.
 *
 * File systems that the host mounts below the share later have flags of their
 * own. They do not appear in the share of a privileged server, since one that
 * its guest took over could open their devices. They do appear in an ordinary
 * user's, and disappear with an unmount on the host (mounts are slaves): that
 * server can open nothing that its user can't. This needs mount ids that are
 * never used again, from Linux 6.8, since the decision to cross into a mount is
 * cached by them. No mount made here appears on the host.
 */

#include "fsserver/confine/private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifndef STATX_TYPE		/* musl has none before 1.2.5 */
#include <linux/stat.h>
#endif

/* linux/mount.h, which can't be included with sys/mount.h */
#define ATTR_RDONLY		0x00000001
#define ATTR_NOSUID		0x00000002
#define ATTR_NODEV		0x00000004
#define ATTR_NOSYMFOLLOW	0x00200000
#define MNT_ID_UNIQUE		0x00004000u	/* statx()'s */

struct mount_attr_v0 {
	uint64_t set, clear, propagation, userns_fd;
};

/* The result of ns_fork(), for the child. */
static struct {
	bool pidns, userns;
	int error;		/* errno of the failed step, or 0 */
	const char *step;
} forked;

bool ns_needed(const struct fs_options *o)
{
	return o->sandbox == FS_SANDBOX_AUTO ||
	       o->sandbox == FS_SANDBOX_NAMESPACE;
}

/* ---- id maps ------------------------------------------------------------ */

static int write_file(int dir, const char *path, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;
	int fd, err = 0;

	fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n != (ssize_t)len)
		err = n < 0 ? -errno : -EIO;
	close(fd);
	return err;
}

/* Map the one id that a user may map without privilege: its own, to itself. */
static int map_self(int proc, uid_t uid, gid_t gid)
{
	char line[48];
	int err;

	err = write_file(proc, "self/setgroups", "deny");
	if (err && err != -ENOENT)
		return err;
	snprintf(line, sizeof(line), "%u %u 1\n", uid, uid);
	err = write_file(proc, "self/uid_map", line);
	if (err)
		return err;
	snprintf(line, sizeof(line), "%u %u 1\n", gid, gid);
	return write_file(proc, "self/gid_map", line);
}

static int map_self_here(uid_t uid, gid_t gid)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), err;

	if (proc < 0)
		return -errno;
	err = map_self(proc, uid, gid);
	close(proc);
	return err;
}

static bool covers(const struct id_map *map, uint32_t id)
{
	for (unsigned int i = 0; i < map->nr; i++)
		if (map->range[i].kind == ID_RANGE &&
		    id - map->range[i].host < map->range[i].count)
			return true;
	return false;
}

static bool has_ranges(const struct id_map *map)
{
	for (unsigned int i = 0; i < map->nr; i++)
		if (map->range[i].kind == ID_RANGE)
			return true;
	return false;
}

bool ns_maps_ids(const struct fs_options *o)
{
	return has_ranges(&o->uid_map) || has_ranges(&o->gid_map);
}

/* Run newuidmap(1) or newgidmap(1): "PID inner outer count" ... */
static int run_newidmap(const char *tool, pid_t target, uint32_t own,
			const struct id_map *map)
{
	char text[2 + 3 * (ID_RANGES_MAX + 1)][12];
	char *argv[3 + 3 * (ID_RANGES_MAX + 1)];
	const struct id_range self = { own, own, 1, ID_RANGE };
	unsigned int n = 0;
	int status;
	pid_t pid;

	argv[n++] = (char *)(uintptr_t)tool;
	snprintf(text[n], sizeof(text[n]), "%d", target);
	argv[n] = text[n];
	n++;
	for (unsigned int i = 0; i <= map->nr; i++) {
		bool last = i == map->nr;
		const struct id_range *r = last ? &self : &map->range[i];
		const uint32_t part[3] = { r->host, r->host, r->count };

		if (last ? covers(map, own) : r->kind != ID_RANGE)
			continue;
		for (int k = 0; k < 3; k++, n++) {
			snprintf(text[n], sizeof(text[n]), "%u", part[k]);
			argv[n] = text[n];
		}
	}
	argv[n] = NULL;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		execvp(tool, argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT :
								 -EPERM;
}

/* ---- the fork ----------------------------------------------------------- */

/* fork() into namespaces; the C library has no such call. */
static pid_t raw_fork(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	return pid < 0 ? -errno : (pid_t)pid;
}

/* Parent: write maps for the child @pid, then let it go on. */
static void map_child(const struct fs_options *o, pid_t pid, int fd)
{
	int err;

	err = run_newidmap("newuidmap", pid, geteuid(), &o->uid_map);
	if (!err)
		err = run_newidmap("newgidmap", pid, getegid(), &o->gid_map);
	while (write(fd, &err, sizeof(err)) < 0 && errno == EINTR)
		;
}

/* Child: wait until the parent has written the maps. */
static int await_map(int fd)
{
	int err = -EIO;
	ssize_t n;

	do
		n = read(fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	return n == sizeof(err) ? err : -EIO;
}

/* Each namespace's flag, and its name in /proc/PID/ns. */
static const struct {
	const char *name;
	int flag;
} join_kinds[FS_JOIN_COUNT] = {
	[FS_JOIN_USER] = { "user", CLONE_NEWUSER },
	[FS_JOIN_MNT] = { "mnt", CLONE_NEWNS },
	[FS_JOIN_NET] = { "net", CLONE_NEWNET },
	[FS_JOIN_IPC] = { "ipc", CLONE_NEWIPC },
	[FS_JOIN_UTS] = { "uts", CLONE_NEWUTS },
};

/* Open a namespace of @pid: *@fd, or -1 if it is the caller's too. */
static int join_open_one(pid_t pid, const char *name, int *fd)
{
	struct stat own, its;
	char path[48];

	*fd = -1;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	if (stat(path, &own))
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &its))
		return -errno;
	if (own.st_dev == its.st_dev && own.st_ino == its.st_ino) {
		close(*fd);
		*fd = -1;
	}
	return 0;
}

int fs_join_open(struct fs_join *join, pid_t keeper, int dir)
{
	int err = 0;

	join->dir = dir;
	for (int i = 0; i < FS_JOIN_COUNT; i++)
		join->ns[i] = -1;
	for (int i = 0; i < FS_JOIN_COUNT && !err; i++)
		err = join_open_one(keeper, join_kinds[i].name, &join->ns[i]);
	return err;
}

/* ns_fork() for a live upgrade: joins the old keeper's user namespace. */
static pid_t join_fork(const struct fs_join *join)
{
	unsigned long flags = CLONE_PARENT;
	pid_t pid;

	/* Root's keeper is in the host's. */
	if (geteuid() && join->ns[FS_JOIN_USER] >= 0) {
		if (setns(join->ns[FS_JOIN_USER], CLONE_NEWUSER))
			return -errno;
		forked.userns = true;
	}
	forked.pidns = join->ns[FS_JOIN_MNT] >= 0;
	pid = raw_fork(forked.pidns ? flags | CLONE_NEWPID : flags);
	if (pid < 0 && forked.pidns) {
		forked.pidns = false;
		pid = raw_fork(flags);
	}
	return pid;
}

pid_t ns_fork(const struct fs_options *o)
{
	unsigned long flags = CLONE_NEWPID;
	bool ranges = ns_maps_ids(o);
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int sync[2], err;
	pid_t pid;

	memset(&forked, 0, sizeof(forked));
	if (o->join)
		return join_fork(o->join);
	if (uid != 0)
		flags |= CLONE_NEWUSER;
	if (pipe2(sync, O_CLOEXEC))
		return -errno;
	forked.pidns = true;
	forked.userns = uid != 0;
	pid = raw_fork(flags);
	if (pid < 0) {
		forked.pidns = forked.userns = false;
		forked.error = -pid;
		forked.step = uid ? "making a user namespace" :
				    "making a pid namespace";
		pid = raw_fork(0);
	}
	if (pid) {
		close(sync[0]);
		if (pid > 0 && forked.userns && ranges)
			map_child(o, pid, sync[1]);
		close(sync[1]);
		return pid;
	}
	close(sync[1]);
	if (forked.userns) {
		err = ranges ? await_map(sync[0]) : map_self_here(uid, gid);
		if (err) {
			forked.error = -err;
			forked.step = ranges ?
				"newuidmap and newgidmap (uid-map=, gid-map=)" :
				"writing the id map";
		}
	}
	close(sync[0]);
	return 0;
}

/* ---- mounts ------------------------------------------------------------- */

/* mountinfo's "\040" for a blank and its like, in place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
					(s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

static int remount(const char *path, bool readonly)
{
	unsigned long flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV;
	struct statvfs st;

	/* Flags that are set may be locked, and must be passed again. */
	if (statvfs(path, &st))
		return -errno;
	if (readonly || st.f_flag & ST_RDONLY)
		flags |= MS_RDONLY;
	if (st.f_flag & ST_NOEXEC)
		flags |= MS_NOEXEC;
	if (st.f_flag & ST_NOATIME)
		flags |= MS_NOATIME;
	if (st.f_flag & ST_NODIRATIME)
		flags |= MS_NODIRATIME;
	if (st.f_flag & ST_RELATIME)
		flags |= MS_RELATIME;
	return mount(NULL, path, NULL, flags, NULL) ? -errno : 0;
}

/* A line of mountinfo: id parent major:minor root MOUNT-POINT ... */
static char *mount_of(char *line, int *id, int *parent)
{
	char *path = line;

	if (sscanf(line, "%d %d", id, parent) != 2)
		return NULL;
	for (int i = 0; i < 4 && path; i++)
		path = strchr(path, ' ') ? strchr(path, ' ') + 1 : NULL;
	if (path) {
		path[strcspn(path, " \n")] = '\0';
		unescape(path);
	}
	return path;
}

/*
 * Add mount @id to the tree if @parent is in it; parents are listed first.
 * Return: 1 if it is in the tree, 0, -ENOMEM.
 */
static int in_tree(int **tree, size_t *nr, int id, int parent)
{
	bool found = !*nr;	/* the first is the tree's root */
	int *grown;

	for (size_t i = 0; i < *nr && !found; i++)
		found = (*tree)[i] == parent;
	if (!found)
		return 0;
	grown = realloc(*tree, (*nr + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*tree = grown;
	grown[(*nr)++] = id;
	return 1;
}

static int remount_tree(FILE *f, const char *top, bool readonly)
{
	int id, parent, root = -1, err = 0, *tree = NULL;
	char *line = NULL, *path;
	size_t size = 0, nr = 0;

	/* The last mount at @top; hidden ones have other mounts below them. */
	while (getline(&line, &size, f) > 0) {
		path = mount_of(line, &id, &parent);
		if (path && !strcmp(path, top))
			root = id;
	}
	rewind(f);
	while (err >= 0 && getline(&line, &size, f) > 0) {
		path = mount_of(line, &id, &parent);
		if (!path || (!nr && id != root))
			continue;
		err = in_tree(&tree, &nr, id, parent);
		if (err > 0)
			err = remount(path, readonly);
	}
	free(tree);
	free(line);
	return err < 0 ? err : 0;
}

/* For kernels without mount_setattr(2): each mount at and below @top. */
static int remount_all(int proc, const char *top, bool readonly)
{
	int fd = openat(proc, "self/mountinfo", O_RDONLY | O_CLOEXEC), err;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = remount_tree(f, top, readonly);
	fclose(f);
	return err;
}

/* Set the flags on the tree @root, which is mounted at /proc. */
static int restrict_mounts(struct confining *c, int root)
{
	struct mount_attr_v0 attr = {
		.set = ATTR_NOSUID | ATTR_NODEV | ATTR_NOSYMFOLLOW,
	};
	const unsigned int how = AT_EMPTY_PATH | AT_RECURSIVE;

	if (c->o->readonly)
		attr.set |= ATTR_RDONLY;
	if (!syscall(SYS_mount_setattr, root, "", how, &attr, sizeof(attr)))
		return 0;
	if (errno == EINVAL) {		/* nosymfollow needs 5.14 */
		attr.set &= ~(uint64_t)ATTR_NOSYMFOLLOW;
		if (!syscall(SYS_mount_setattr, root, "", how, &attr,
			     sizeof(attr)))
			return 0;
	}
	if (errno != ENOSYS)
		return -errno;
	return remount_all(c->place->proc, "/proc", c->o->readonly);
}

static bool mount_proc(unsigned long how)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | how;

	return !mount("proc", "/proc", "proc", flags, "subset=pid") ||
	       (errno == EINVAL && !mount("proc", "/proc", "proc", flags, ""));
}

/*
 * Mount the procfs over the old one, read-only, and open it; later only the
 * descriptor refers to it. Its use is the process's own descriptors and their
 * locks. In a container that hides parts of /proc the kernel refuses a new
 * procfs, and the old one is used.
 */
static int open_proc(struct confining *c)
{
	struct fs_place *place = c->place;

	place->private_proc = mount_proc(MS_RDONLY);
	place->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return place->proc < 0 ? -errno : 0;
}

/* Make @root, a mount, the root directory, and detach the old root. */
static int change_root(int root)
{
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (old < 0)
		return -errno;
	/* pivot_root() stacks the old root on the new; then it is detached. */
	if (fchdir(root) || syscall(SYS_pivot_root, ".", ".") ||
	    fchdir(old) || umount2(".", MNT_DETACH) || chdir("/"))
		err = -errno;
	close(old);
	return err;
}

static int enter_step(struct confining *c, int err, const char *step)
{
	c->step = step;
	return confine_fail(c, err, "%s: %s", step, strerror(err));
}

/* Join the old keeper's namespaces; the procfs is of the new pid namespace. */
static int ns_join(struct confining *c)
{
	const struct fs_join *join = c->o->join;
	struct stat its, own;
	int err, root;

	if (join->ns[FS_JOIN_MNT] < 0)
		return confine_fail(c, EOPNOTSUPP, "the keeper before this one "
				    "had no namespaces");
	c->fatal = true;
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return enter_step(c, errno, "making namespaces");
	err = open_proc(c);
	if (err)
		return enter_step(c, -err, "opening /proc");
	for (int i = FS_JOIN_MNT; i < FS_JOIN_COUNT; i++)
		if (join->ns[i] >= 0 &&
		    setns(join->ns[i], join_kinds[i].flag))
			return enter_step(c, errno, "joining the namespaces "
					  "of the keeper before this one");
	c->place->userns = geteuid() != 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fstat(root, &own) || fstat(join->dir, &its))
		return enter_step(c, errno, "opening the share's mount");
	c->place->root = root;
	if (own.st_dev != its.st_dev || own.st_ino != its.st_ino)
		return confine_fail(c, ESTALE, "the keeper before this one is "
				    "not confined to its share");
	return 0;
}

static bool mounts_are_unique(void)
{
	struct statx stx;

	return !syscall(SYS_statx, AT_FDCWD, "/", 0, MNT_ID_UNIQUE, &stx) &&
	       stx.stx_mask & MNT_ID_UNIQUE;
}

int ns_enter(struct confining *c)
{
	int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int dir, root, err;
	bool follows;

	if (c->o->join)
		return ns_join(c);
	/* In a user namespace without an id map no file can be made. */
	c->fatal = forked.error && forked.userns;
	if (forked.error && (uid || c->o->sandbox == FS_SANDBOX_NAMESPACE))
		return enter_step(c, forked.error, forked.step);
	if (uid && !forked.userns)
		flags |= CLONE_NEWUSER;
	if (unshare(flags))
		return enter_step(c, errno, "making namespaces");
	if (flags & CLONE_NEWUSER) {
		err = map_self_here(uid, gid);
		if (err) {
			c->fatal = true;
			return enter_step(c, -err, "writing the id map");
		}
	}
	c->place->userns = uid != 0;
	follows = c->place->userns && mounts_are_unique();
	if (mount(NULL, "/", NULL, MS_REC | (follows ? MS_SLAVE : MS_PRIVATE),
		  NULL))
		return enter_step(c, errno, "making mounts private");
	dir = confine_open_dir(c);	/* in this mount namespace */
	if (dir < 0)
		return dir;
	err = open_proc(c);
	if (err) {
		close(dir);
		return enter_step(c, -err, "opening /proc");
	}
	err = fchdir(dir) || mount(".", "/proc", NULL, MS_BIND | MS_REC, NULL) ?
		-errno : 0;
	close(dir);
	if (err)
		return enter_step(c, -err, "binding the share");
	root = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return enter_step(c, errno, "opening the share's mount");
	err = restrict_mounts(c, root);
	if (err)
		err = enter_step(c, -err, "restricting the share's mounts");
	if (!err) {
		err = change_root(root);
		if (err)
			err = enter_step(c, -err, "changing the root");
	}
	if (err)
		close(root);
	else
		c->place->root = root;
	return err;
}
