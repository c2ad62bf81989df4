/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * What goes wrong around the file server: rings that are set up anew under a
 * request, descriptors and memory that run out, file systems that fail.
 */

#include "fsserver_rig.h"
#include "fsserver/journal/journal.h"
#include "fsserver/nodes/nodetab.h"
#include "fuse_fs.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct rig r;

/* ---- the journal -------------------------------------------------------- */

/* A request of the set-up @epoch begins on the ring's entry 7, in @w. */
static bool begins(struct fs_worker *w, uint32_t epoch, uint64_t unique,
		   bool again, uint32_t *len)
{
	w->chain.queue = 1;
	w->chain.head = 7;
	w->chain.epoch = epoch;
	w->chain.again = again;
	w->in = (struct fuse_in_header){ .unique = unique, .nodeid = 1,
					 .opcode = FUSE_MKDIR };
	return journal_begin(w, len);
}

/*
 * A request runs on when its ring was set up anew, and another one takes its
 * ring entry. What the first one does then is not what the second one did.
 */
static void test_orphan(void)
{
	struct fs_worker *old, *new;
	struct statx stx;
	uint32_t len = 0;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	old = rig_worker(&r);
	new = rig_worker(&r);
	CHECK_EQ(fs_statx(r.place.root, "", FS_STATX_MASK, &stx), 0);
	CHECK(!begins(old, 1, 10, false, &len));
	journal_intent(old);
	/* As a guest that was reset counts its requests: from the start. */
	CHECK(!begins(new, 2, 10, false, &len));
	journal_intent(new);
	journal_result(old, 0);
	journal_key(old, 0, &stx);
	journal_list(old, 100);
	journal_end(old, 100);
	/* The worker dies; the next one has the second request again. */
	CHECK(!begins(new, 2, 10, true, &len));
	CHECK_EQ(new->replay, JOURNAL_INTENT);
	CHECK_EQ(new->journal->flags, 0);
	CHECK_EQ(new->journal->listed, 0);
	journal_end(new, 44);
	CHECK(begins(new, 2, 10, true, &len));
	CHECK_EQ(len, 44);
	rig_worker_free(old);
	rig_worker_free(new);
	rig_stop(&r);
}

/* ---- keys --------------------------------------------------------------- */

/* While the server itself replaces a file, its node is both of them. */
static void test_rekey(void)
{
	struct statx old, new;
	struct fs_node *node;
	uint64_t id;

	rig_prepare(&r);
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_file(&r, "f", ""), 0);
	CHECK_EQ(rig_file(&r, "temp", ""), 0);
	id = rig_node(&r, 1, "f");
	CHECK_EQ(node_get(r.fs, id, &node), 0);
	CHECK_EQ(fs_statx(r.dirfd, "f", FS_STATX_MASK, &old), 0);
	CHECK_EQ(fs_statx(r.dirfd, "temp", FS_STATX_MASK, &new), 0);
	node_replacing(r.fs, node, &new);
	CHECK(node_is(r.fs, node, &old) && node_is(r.fs, node, &new));
	CHECK_EQ(renameat(r.dirfd, "temp", r.dirfd, "f"), 0);
	/* Others look it up before the key is changed. */
	CHECK_EQ(rig_node(&r, 1, "f"), id);
	CHECK_EQ(rig_getattr(&r, id, NULL), 0);
	node_rekey(r.fs, node, &new);
	CHECK(!node_is(r.fs, node, &old) && node_is(r.fs, node, &new));
	CHECK_EQ(rig_node(&r, 1, "f"), id);
	CHECK_EQ(nodes_count(r.fs), 2);
	/* Nothing came of it. */
	node_replacing(r.fs, node, &old);
	node_rekey(r.fs, node, NULL);
	CHECK(!node_is(r.fs, node, &old) && node_is(r.fs, node, &new));
	node_put(r.fs, node);
	rig_stop(&r);
}

/* ---- memory ------------------------------------------------------------- */

#define FILES	9000

/* Look them all up; how many nodes there are then. */
static uint64_t find_files(void)
{
	char name[16];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		if (!rig_node(&r, 1, name))
			return 0;
	}
	return nodes_count(r.fs);
}

static bool make_files(void)
{
	char name[16];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		if (mknodat(r.dirfd, name, S_IFREG | 0644, 0))
			return false;
	}
	return true;
}

/* What control groups allow is a limit where the user gave none. */
static void test_memory_limit(void)
{
	rig_prepare_in(&r, "/dev/shm");
	r.options.memory = 4 << 20;
	CHECK(make_files());
	CHECK_EQ(rig_up(&r), 0);
	CHECK(find_files() <= (4 << 20) / 4 / 100);
	/* Descriptors are memory as well. */
	CHECK_EQ(r.fs->nodes->fds.budget, 4 << 20 >> 13);
	rig_stop(&r);
	rig_prepare_in(&r, "/dev/shm");
	r.options.memory = 4 << 20;
	r.options.inode_limit = 8000;
	CHECK(make_files());
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(find_files(), 8000);
	rig_stop(&r);
}

/* What a worker does in the keeper's table, before it is killed. */
static int in_worker(uint64_t (*act)(void))
{
	long pid;
	int status;

	fflush(stdout);
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(act() ? 0 : 1);
	if (pid < 0 || waitpid((pid_t)pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   128 + WTERMSIG(status);
}

static uint64_t first_worker(void)
{
	if (rig_open_fs(&r) || rig_init(&r))
		return 0;
	return find_files() == FILES + 1;
}

static uint64_t next_worker(void)
{
	return rig_open_fs(&r) == 0 && nodes_count(r.fs) <= FILES / 2 + 1 &&
	       rig_node(&r, 1, "f1") && rig_node(&r, 1, "f8999") &&
	       nodes_count(r.fs) <= FILES / 2 + 1;
}

static uint64_t last_worker(void)
{
	return rig_open_fs(&r) == 0 && nodes_count(r.fs) <= FILES / 2 + 1 &&
	       find_files() <= FILES / 2 + 1;
}

/* Killed for lack of memory: the next ones make do with half as many files. */
static void test_squeeze(void)
{
	rig_prepare_in(&r, "/dev/shm");
	CHECK(make_files());
	CHECK_EQ(rig_place(&r), 0);
	CHECK_EQ(in_worker(first_worker), 0);
	CHECK_EQ(fs_squeeze(r.arena), 0);
	CHECK_EQ(in_worker(next_worker), 0);
	CHECK_EQ(in_worker(last_worker), 0);
	rig_stop(&r);
}

/* ---- file systems that fail --------------------------------------------- */

static struct fuse_fs *failing;

/* A share on a file system of our own; false: there is none, or no root. */
static bool failing_up(void)
{
	rig_prepare(&r);
	if (fuse_fs_start(&failing, r.dir)) {
		rig_stop(&r);
		return false;
	}
	return rig_up(&r) == 0;
}

static void failing_stop(void)
{
	rig_close_fs(&r);
	fuse_fs_stop(failing);
	rig_stop(&r);
}

/* ---- a symlink that is given away --------------------------------------- */

/* No such system call: the worker dies of it. */
static void die_at(unsigned int nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

#define LINK_NODE	(1ull << NODE_SLOT_BITS | 2)	/* the first of all */

/* The same request each time: chown 1000:1000 link. */
static int give(bool again)
{
	struct fuse_setattr_in in = {
		.valid = FATTR_UID | FATTR_GID, .uid = 1000, .gid = 1000,
	};

	r.unique = 1000;
	r.w->chain.again = again;
	return rig_setattr(&r, LINK_NODE, &in);
}

static unsigned int die_nr;

static uint64_t giver(void)
{
	if (rig_open_fs(&r) || rig_init(&r))
		return 0;
	rig_node(&r, 1, "link");
	die_at(die_nr);
	return give(false) == 0;
}

/* What is in the directory but link and @more; 0 is right. */
static int others(const char *more)
{
	char line[256];

	snprintf(line, sizeof(line),
		 "test \"$(ls -A %s | tr '\n' ' ')\" = '%slink '", r.dir,
		 more);
	return system(line);
}

static void test_given_away(void)
{
	/* Before its owner is set, it is renamed, and when it was. */
	static const unsigned int nrs[] = {
		SYS_lsetxattr, SYS_renameat2, SYS_dup3,
	};
	struct fuse_attr attr;

	for (size_t i = 0; i < ARRAY_SIZE(nrs); i++) {
		rig_prepare_in(&r, "/var/tmp");
		r.options.access = FS_ACCESS_MAPPED;
		CHECK_EQ(symlinkat("target", r.dirfd, "link"), 0);
		/* Of a name like ours, but not ours. */
		CHECK_EQ(rig_file(&r, ".vmshare.2.0", ""), 0);
		usleep(20000);	/* older than a tick */
		CHECK_EQ(rig_place(&r), 0);
		die_nr = nrs[i];
		CHECK_EQ(in_worker(giver), 128 + SIGSYS);
		CHECK_EQ(rig_open_fs(&r), 0);
		CHECK_EQ(give(true), 0);
		CHECK_EQ(others(".vmshare.2.0 "), 0);
		CHECK_EQ(rig_getattr(&r, LINK_NODE, &attr), 0);
		CHECK_EQ(attr.uid, 1000);
		CHECK_EQ(attr.mode & S_IFMT, S_IFLNK);
		CHECK_EQ(rig_node(&r, 1, "link"), LINK_NODE);
		rig_stop(&r);
	}
}

/* ---- other mounts ------------------------------------------------------- */

/* What the guest has looked at does not keep the host from unmounting it. */
static void test_unmount(void)
{
	int tries = 0, stats_fd;
	uint64_t dir, file;
	char path[96];

	rig_prepare(&r);
	snprintf(path, sizeof(path), "%s/m", r.dir);
	if (mkdir(path, 0755) || mount("none", path, "tmpfs", 0, NULL)) {
		rig_stop(&r);
		SKIP("needs root");
	}
	CHECK_EQ(rig_file(&r, "m/f", ""), 0);
	stats_fd = stats_create("vmshare-test", &r.stats);
	CHECK(stats_fd >= 0);
	CHECK_EQ(rig_up(&r), 0);
	dir = rig_node(&r, 1, "m");
	file = rig_node(&r, dir, "f");
	for (int i = 0; i < 3; i++)
		CHECK_EQ(rig_getattr(&r, file, NULL), 0);
	while (umount2(path, 0) && errno == EBUSY && tries++ < 600)
		usleep(100000);
	CHECK(tries > 0 && tries < 600);
	CHECK_EQ(rig_node(&r, 1, "m") != dir, true);
	CHECK_EQ(rig_getattr(&r, file, NULL), -ESTALE);
	rig_stop(&r);
	stats_close(r.stats);
	close(stats_fd);
}

/* ---- overlayfs ---------------------------------------------------------- */

/* A share whose files are all of the lower layer. 0, or why there is none. */
static const char *overlay_up(void)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + 128];
	} h = { .head.handle_bytes = 128 };
	char line[512];
	int mount_id;

	rig_prepare_in(&r, "/var/tmp");
	/* As where files are opened by name. */
	r.place.layers[FS_LAYER_NAMESPACES].state = FS_LAYER_ON;
	snprintf(line, sizeof(line), "cd %s && mkdir lower upper work && "
		 "echo text >lower/f && echo text >lower/g && mkdir lower/d && "
		 "mount -t overlay -o lowerdir=lower,upperdir=upper,"
		 "workdir=work overlay . 2>/dev/null", r.dir);
	if (geteuid() || system(line))
		return "needs root and overlayfs";
	/* Its root, not the directory below it. */
	close(r.dirfd);
	r.dirfd = open(r.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (name_to_handle_at(r.dirfd, "f", &h.head, &mount_id, 0x200))
		return "needs Linux 6.6";
	return rig_up(&r) ? "does not start" : NULL;
}

static void overlay_stop(void)
{
	rig_close_fs(&r);
	umount2(r.dir, MNT_DETACH);
	rig_stop(&r);
}

/* What is copied up stays the file that it was. */
static void test_copied_up(void)
{
	struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = 0600 };
	const char *why = overlay_up();
	struct fuse_entry_out f, g;
	uint64_t fh;

	if (why)
		overlay_stop();
	if (why)
		SKIP(why);
	CHECK_EQ(rig_lookup(&r, 1, "f", &f), 0);
	CHECK_EQ(rig_lookup(&r, 1, "g", &g), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, f.nodeid, O_WRONLY, &fh), 0);
	CHECK_EQ(rig_write(&r, f.nodeid, fh, 0, "more", 4, 0), 4);
	CHECK_EQ(rig_release(&r, f.nodeid, fh), 0);
	CHECK_EQ(rig_setattr(&r, g.nodeid, &mode), 0);
	rig_evict_all(&r);
	CHECK_EQ(rig_node(&r, 1, "f"), f.nodeid);
	CHECK_EQ(rig_node(&r, 1, "g"), g.nodeid);
	CHECK_EQ(rig_getattr(&r, f.nodeid, NULL), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, g.nodeid, O_RDWR, &fh), 0);
	CHECK_EQ(rig_release(&r, g.nodeid, fh), 0);
	overlay_stop();
}

/* What takes its place is another one, whatever its inode number. */
static void test_overlay_replaced(void)
{
	const char *why = overlay_up();
	uint64_t f, new;
	char name[16];

	if (why)
		overlay_stop();
	if (why)
		SKIP(why);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), i % 2 ? "f" : "new");
		CHECK_EQ(rig_file(&r, name, "text"), 0);
		f = rig_node(&r, 1, name);
		CHECK(f);
		rig_evict_all(&r);
		CHECK_EQ(unlinkat(r.dirfd, name, 0), 0);
		CHECK_EQ(rig_file(&r, name, "other"), 0);
		CHECK_EQ(rig_getattr(&r, f, NULL), -ESTALE);
		new = rig_node(&r, 1, name);
		CHECK(new && new != f);
		rig_forget(&r, f, 1);
	}
	overlay_stop();
}

/* ---- lost writes -------------------------------------------------------- */

static int syncfs_guest(void)
{
	rq(&r, FUSE_SYNCFS, 1);
	rq_put(&r, &(struct fuse_syncfs_in){ 0 },
	       sizeof(struct fuse_syncfs_in));
	return rq_run(&r);
}

static int syncfs_host(void)
{
	int fd = open(r.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = syncfs(fd) ? -errno : 0;

	close(fd);
	return err;
}

/* That somebody else heard of lost data first is no reason not to say so. */
static void test_syncfs(void)
{
	struct fuse_entry_out entry;
	uint64_t fh;

	if (!failing_up())
		SKIP("needs root and /dev/fuse");
	CHECK_EQ(rig_lookup(&r, 1, "f", &entry), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, entry.nodeid, O_RDWR, &fh), 0);
	CHECK_EQ(syncfs_guest(), 0);
	CHECK_EQ(rig_write(&r, entry.nodeid, fh, 0, "data", 4, 0), 4);
	fuse_fs_fail(failing, FUSE_WRITE, -EIO);
	CHECK_EQ(syncfs_host(), -EIO);
	CHECK_EQ(syncfs_host(), 0);
	CHECK_EQ(syncfs_guest(), -EIO);
	CHECK_EQ(syncfs_guest(), 0);
	CHECK_EQ(rig_release(&r, entry.nodeid, fh), 0);
	failing_stop();
}

/* Said on the host, once for each kind; the guest is told each time. */
static void test_said_once(void)
{
	struct fuse_entry_out entry;
	uint64_t fh;

	if (!failing_up())
		SKIP("needs root and /dev/fuse");
	CHECK_EQ(rig_lookup(&r, 1, "f", &entry), 0);
	CHECK_EQ(rig_open(&r, FUSE_OPEN, entry.nodeid, O_RDWR, &fh), 0);
	fuse_fs_fail(failing, FUSE_MKDIR, -ENOSPC);
	CHECK_EQ(rig_mkdir(&r, 1, "d", NULL), -ENOSPC);
	CHECK_EQ(r.warned, 0);
	fuse_fs_fail(failing, FUSE_READ, -EIO);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(rig_read(&r, entry.nodeid, fh, 0, 4096), -EIO);
	CHECK_EQ(r.warned, 1);
	CHECK_STR(r.warning, "the share's file system has an I/O error: READ "
			     "of /f; this is not said again");
	fuse_fs_fail(failing, FUSE_MKDIR, -EROFS);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(rig_mkdir(&r, 1, "d", NULL), -EROFS);
	CHECK_EQ(r.warned, 2);
	CHECK_STR(r.warning, "the share's file system can't be written to any "
			     "more: MKDIR of /; this is not said again");
	CHECK_EQ(rig_release(&r, entry.nodeid, fh), 0);
	failing_stop();
}

/* A share that may not be written to is no news. */
static void test_readonly(void)
{
	rig_prepare(&r);
	r.options.readonly = true;
	CHECK_EQ(rig_up(&r), 0);
	CHECK_EQ(rig_mkdir(&r, 1, "d", NULL), -EROFS);
	CHECK_EQ(r.warned, 0);
	rig_stop(&r);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "an orphan keeps no journal", test_orphan },
		{ "a file that we replace", test_rekey },
		{ "a limit of memory", test_memory_limit },
		{ "killed for lack of memory", test_squeeze },
		{ "given away by a worker that dies", test_given_away },
		{ "unmounted by the host", test_unmount },
		{ "a file of overlayfs that is copied up", test_copied_up },
		{ "replaced on overlayfs", test_overlay_replaced },
		{ "SYNCFS hears of lost data", test_syncfs },
		{ "an I/O error is said once", test_said_once },
		{ "to be read-only is none", test_readonly },
	};

	fuse_fs_prepare();
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
