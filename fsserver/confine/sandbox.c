/* SPDX-License-Identifier: MIT */
/*
 * The order in which a share's process confines itself, and the fallback where
 * the host refuses a step.
 *
 *   names, openat2	in the request decoder; nothing to do here
 *   namespaces		namespace.c; else chroot(2) for root; else nothing
 *   descriptors	all but those that the caller keeps are closed
 *   no_new_privs, Landlock, capabilities	drop.c
 *   seccomp		later, after the set-up: seccomp.c
 *
 * Acquire, then drop, then read guest input: at the end the process has the
 * share's root, a procfs, and the caller's descriptors, and its root directory
 * is the share (except with sandbox=none, where the first two layers, Landlock
 * and seccomp are the boundary).
 *
 * A layer that the user asks for by name is required. By default a missing one
 * is reported in place->layers, and the others are used.
 */

#include "fsserver/confine/private.h"
#include "fsserver/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

int confine_fail(struct confining *c, int err, const char *fmt, ...)
{
	va_list ap;

	errno = err;		/* for %m */
	va_start(ap, fmt);
	vsnprintf(c->why, c->why_size, fmt, ap);
	va_end(ap);
	return -err;
}

/* ---- the share's directory ---------------------------------------------- */

/* EACCES: say whether the directory itself refuses, or one above it. */
static int refused(struct confining *c, const char *dir)
{
	struct stat st;

	if (stat(dir, &st))
		return confine_fail(c, EACCES, "share directory '%s': uid %u "
				    "may not enter a directory above it", dir,
				    geteuid());
	/* A user namespace hides the owner's uid. */
	return confine_fail(c, EACCES, "share directory '%s' (mode %04o, %s) "
			    "may not be read by uid %u", dir,
			    st.st_mode & 07777u,
			    st.st_uid == geteuid() ? "its own" :
						     "another user's",
			    geteuid());
}

int confine_open_dir(struct confining *c)
{
	const char *dir = c->o->dir;
	int fd;

	/* A live upgrade: the path may be another directory's by now. */
	if (c->o->join)
		fd = fcntl(c->o->join->dir, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->o->join && fd >= 0)
		return fd;
	if (fd >= 0 && faccessat(AT_FDCWD, dir, R_OK | X_OK, AT_EACCESS)) {
		int err = errno;

		close(fd);
		fd = -1;
		errno = err;
	}
	if (fd >= 0)
		return fd;
	c->fatal = true;	/* other sandboxes would fail too */
	switch (errno) {
	case ENOENT:
		return confine_fail(c, ENOENT,
				    "share directory '%s' does not exist", dir);
	case ENOTDIR:
		return confine_fail(c, ENOTDIR, "share '%s' is not a directory",
				    dir);
	case EACCES:
		return refused(c, dir);
	default:
		return confine_fail(c, errno, "share directory '%s': %m", dir);
	}
}

/* ---- the root directory ------------------------------------------------- */

static int open_host_proc(struct fs_place *place)
{
	if (place->proc < 0)
		place->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return place->proc;
}

static int enter_chroot(struct confining *c)
{
	int dir = confine_open_dir(c);

	if (dir < 0)
		return dir;
	open_host_proc(c->place);
	if (fchdir(dir) || chroot(".") || chdir("/")) {
		int err = errno;

		close(dir);
		return confine_fail(c, err, "changing the root directory: %s",
				    strerror(err));
	}
	c->place->root = dir;
	return 0;
}

static int enter_nothing(struct confining *c)
{
	int dir = confine_open_dir(c);

	if (dir < 0)
		return dir;
	open_host_proc(c->place);
	c->place->root = dir;
	return 0;
}

/* The strongest sandbox that the options allow and the host has. */
static int enter(struct confining *c)
{
	struct fs_layer *layer = &c->place->layers[FS_LAYER_NAMESPACES];
	int err;

	switch (c->o->sandbox) {
	case FS_SANDBOX_CHROOT:
		return enter_chroot(c);
	case FS_SANDBOX_NONE:
		return enter_nothing(c);
	case FS_SANDBOX_AUTO:
	case FS_SANDBOX_NAMESPACE:
		break;
	}
	err = ns_enter(c);
	if (!err) {
		layer->state = FS_LAYER_ON;
		return 0;
	}
	if (c->fatal || c->o->sandbox == FS_SANDBOX_NAMESPACE)
		return err;
	layer->state = FS_LAYER_UNAVAILABLE;
	layer->error = -err;
	snprintf(layer->why, sizeof(layer->why), "%s",
		 c->step ? c->step : c->why);
	/* In a user namespace this may be allowed. */
	if (!enter_chroot(c))
		return 0;
	return enter_nothing(c);
}

/* ---- the layers in order ------------------------------------------------ */

static void probe_kernel(struct confining *c)
{
	struct fs_layer *layers = c->place->layers;
	int fd;

	layers[FS_LAYER_NAMES].state = FS_LAYER_ON;
	fd = sys_openat2(c->place->root, ".", O_PATH, 0, 0);
	if (fd >= 0) {
		close(fd);
		layers[FS_LAYER_OPENAT2].state = FS_LAYER_ON;
	} else {
		layers[FS_LAYER_OPENAT2].state = FS_LAYER_UNAVAILABLE;
		layers[FS_LAYER_OPENAT2].error = -fd;
	}
	if (!c->o->seccomp)
		return;
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0) {
		layers[FS_LAYER_SECCOMP].state = FS_LAYER_ON;
	} else {
		layers[FS_LAYER_SECCOMP].state = FS_LAYER_UNAVAILABLE;
		layers[FS_LAYER_SECCOMP].error = errno;
	}
}

static int check_options(struct confining *c)
{
	const struct fs_options *o = c->o;
	bool root = geteuid() == 0;

	if (!root && o->sandbox == FS_SANDBOX_CHROOT)
		return confine_fail(c, EPERM, "sandbox=chroot needs root");
	if (!root && o->access == FS_ACCESS_PASSTHROUGH && !o->uid_map.nr)
		return confine_fail(c, EPERM,
				    "access=passthrough needs root, or "
				    "uid-map= with ranges of /etc/subuid");
	if (!root && ns_maps_ids(o) && !ns_needed(o))
		return confine_fail(c, EPERM, "uid-map= and gid-map= need "
				    "sandbox=namespace for an ordinary user");
	if ((o->uid_map.nr || o->gid_map.nr) &&
	    o->access != FS_ACCESS_PASSTHROUGH)
		return confine_fail(c, EINVAL, "uid-map= and gid-map= need "
				    "access=passthrough");
	return 0;
}

static int drop_groups(struct confining *c)
{
	c->place->uid = geteuid();
	c->place->gid = getegid();
	if (!geteuid() && setgroups(0, NULL) && errno != EPERM)
		return confine_fail(c, errno, "dropping groups: %m");
	return 0;
}

/* access=mapped needs attributes, and the procfs to reach them. */
static int check_mapped(struct confining *c)
{
	char path[PROC_PATH_SIZE];

	if (c->o->access != FS_ACCESS_MAPPED)
		return 0;
	if (c->place->proc < 0)
		return confine_fail(c, ENOENT, "access=mapped needs /proc");
	proc_path(path, c->place->root);
	if (getxattr(path, OWNER_XATTR, NULL, 0) < 0 && errno == EOPNOTSUPP)
		return confine_fail(c, EOPNOTSUPP, "access=mapped: the file "
				    "system of '%s' has no user extended "
				    "attributes", c->o->dir);
	return 0;
}

/* Open the share's root by its handle; 0 or an errno. */
static int try_handle(int root)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = { .head = { .handle_bytes = MAX_HANDLE_SZ } };
	int mount = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int mount_id, err = 0, fd;

	if (mount < 0)
		return errno;
	if (name_to_handle_at(mount, "", &h.head, &mount_id, AT_EMPTY_PATH)) {
		err = errno;
	} else {
		fd = open_by_handle_at(mount, &h.head, O_PATH | O_CLOEXEC);
		if (fd < 0)
			err = errno;
		else
			close(fd);
	}
	close(mount);
	return err;
}

static int check_handles(struct confining *c)
{
	int err = c->o->inode_handles ? try_handle(c->place->root) : 0;

	if (err == EPERM)
		return confine_fail(c, EPERM, "inode-handles=on: only root of "
				    "the host may open files by handle");
	if (err == EOPNOTSUPP)
		return confine_fail(c, EOPNOTSUPP, "inode-handles=on: the file "
				    "system of '%s' has no file handles",
				    c->o->dir);
	if (err)
		return confine_fail(c, err, "inode-handles=on: %m");
	return 0;
}

int fs_confine(const struct fs_options *o, const int *keep,
	       unsigned int nr_keep, struct fs_place *place, char *why,
	       size_t why_size)
{
	struct confining c = {
		.o = o, .place = place, .why = why, .why_size = why_size,
	};
	int err;

	memset(place, 0, sizeof(*place));
	place->root = place->proc = -1;
	err = check_options(&c);
	if (!err)
		err = enter(&c);
	if (!err)
		err = drop_groups(&c);
	if (!err)
		err = drop_descriptors(place, keep, nr_keep);
	if (err)
		return err;
	drop_limits();
	umask(0);
	probe_kernel(&c);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = confine_fail(&c, errno, "setting no_new_privs: %m");
	if (!err)
		err = drop_landlock(&c);
	if (!err)
		err = drop_capabilities(&c);
	/* For calls that take no directory descriptor, like setxattr(2). */
	if (!err && fchdir(place->proc >= 0 ? place->proc : place->root))
		err = confine_fail(&c, errno, "entering the procfs: %m");
	if (!err)
		err = check_mapped(&c);
	if (!err)
		err = check_handles(&c);
	return err;
}

pid_t fs_fork(const struct fs_options *o)
{
	pid_t pid;

	if (ns_needed(o) || o->join)
		return ns_fork(o);
	pid = fork();
	return pid < 0 ? -errno : pid;
}

/* ---- trying it out ------------------------------------------------------ */

struct probed {
	int err;
	struct fs_place place;
	char why[512];
};

static void probe_child(const struct fs_options *o, int fd)
{
	struct probed p;

	memset(&p, 0, sizeof(p));
	p.err = fs_confine(o, &fd, 1, &p.place, p.why, sizeof(p.why));
	_exit(write(fd, &p, sizeof(p)) != sizeof(p));
}

static const struct {
	const char *name, *left;
} layer_words[FS_LAYER_COUNT] = {
	[FS_LAYER_NAMES] = {"checks of names", NULL},
	[FS_LAYER_OPENAT2] = {"openat2", "names are opened one by one instead, "
			      "never through a symbolic link"},
	[FS_LAYER_NAMESPACES] = {"namespaces", "checks of names, openat2 and "
				 "Landlock (not for stat, chmod, xattrs and "
				 "times) are the boundary"},
	[FS_LAYER_LANDLOCK] = {"Landlock", NULL},
	[FS_LAYER_CAPS] = {"dropped capabilities", "a server that its guest "
			   "takes over has the caller's"},
	[FS_LAYER_SECCOMP] = {"seccomp", "a server that its guest takes over "
			      "may make any system call"},
};

const char *fs_layer_name(enum fs_layer_id id)
{
	return layer_words[id].name;
}

const char *fs_layer_left(enum fs_layer_id id)
{
	return layer_words[id].left;
}

int fs_probe_layers(const struct fs_options *o, struct fs_place *place,
		    char *why, size_t why_size)
{
	struct probed p = { .err = -EIO };
	int fds[2];
	pid_t pid;

	memset(place, 0, sizeof(*place));
	snprintf(why, why_size, "the process that tried it died");
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pid = fs_fork(o);
	if (!pid)
		probe_child(o, fds[1]);
	close(fds[1]);
	if (pid > 0) {
		if (read(fds[0], &p, sizeof(p)) != sizeof(p))
			p.err = -EIO;
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(fds[0]);
	if (pid < 0)
		return pid;
	*place = p.place;
	place->root = place->proc = -1;
	if (p.err && p.why[0])
		snprintf(why, why_size, "%s", p.why);
	else if (!p.err && why_size)
		why[0] = '\0';
	return p.err;
}
