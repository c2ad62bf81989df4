/* rooms: base tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The table of system calls against what the server really does: every
 * operation that there is, in each configuration, under strace and under the
 * filter. None may be missing (the share would end), and none may be listed
 * that nothing needed, but for those named below, each with its reason.
 */

#include "fsserver/confine/callname.c"
#include "fsserver/confine/seccomp.c"

#include "attack_rig.h"

#include <linux/elf.h>
#include <linux/falloc.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

/* ---- what is not seen here ---------------------------------------------- */

static const struct {
	long nr;
	const char *why;
	bool keeper;		/* only in the keeper's filter */
} unseen[] = {
	{ SYS_clock_gettime, "machines whose vDSO has no clock", false },
	{ SYS_restart_syscall, "after a stop and a continuation", false },
	{ SYS_gettid, "sys_raise(), when the server crashes", false },
	{ SYS_clock_nanosleep, "a queue that stops while requests run", false },
	{ SYS_open_by_handle_at, "a file that the host renamed while evicted",
	  false },
	{ SYS_fstat, "another C library", false },
	{ SYS_newfstatat, "another C library", false },
	{ SYS_epoll_pwait, "another C library", false },
	{ SYS_ppoll, "another C library", false },
	{ SYS_nanosleep, "another C library", false },
	{ SYS_fchmod, "no /proc", false },
	{ SYS_fgetxattr, "no /proc", false },
	{ SYS_flistxattr, "no /proc", false },
	{ SYS_fsetxattr, "no /proc", false },
	{ SYS_fremovexattr, "no /proc", false },
	{ SYS_kill, "a keeper that is told to end while its worker hangs",
	  true },
	{ SYS_tgkill, "a worker's, which has the keeper's filter too", true },
	{ SYS_close_range, "a worker that takes over", true },
#if !defined(__GLIBC__) || __GLIBC_MINOR__ < 35
	{ SYS_rseq, "another C library", false },
#endif
#ifndef __GLIBC__
	{ SYS_getpid, "another C library", false },
	{ SYS_tgkill, "another C library", false },
#ifdef SYS_epoll_wait
	{ SYS_epoll_wait, "another C library", false },
#endif
#endif
};

/* ---- every operation ---------------------------------------------------- */

static uint64_t file, fh;	/* an open file for what follows */

static void on_names(void)
{
	struct fuse_entry_out e, d;
	char buf[128];

	fe_mkdir(fe, ROOT, "d", 0755, &d);
	fe_mknod(fe, ROOT, "node", S_IFREG | 0600, 0, &e);
	fe_mknod(fe, ROOT, "pipe", S_IFIFO | 0600, 0, &e);
	fe_symlink(fe, ROOT, "sym", "target", &e);
	fe_readlink(fe, e.nodeid, buf, sizeof(buf));
	fe_setxattr(fe, e.nodeid, "user.x", "x", 1, 0);
	fe_lookup(fe, ROOT, "node", &e);
	fe_link(fe, e.nodeid, d.nodeid, "link", &e);
	fe_rename(fe, d.nodeid, "link", ROOT, "moved");
	fe_rename2(fe, ROOT, "moved", ROOT, "node", 2);
	fe_unlink(fe, ROOT, "moved");
	fe_unlink(fe, ROOT, "pipe");
	fe_rmdir(fe, ROOT, "d");
	fe_lookup(fe, ROOT, "..", &e);
	fe_lookup(fe, ROOT, "none", &e);
	fe_walk(fe, "dir/f", &e);
	fe_forget(fe, e.nodeid, 1);
}

static void on_attributes(void)
{
	struct fuse_attr_out a;
	struct fe_statx_out sx;
	struct fuse_kstatfs st;
	char buf[512];

	fe_getattr(fe, file, &a);
	fe_fgetattr(fe, file, fh, &a);
	fe_statx(fe, file, STATX_BASIC_STATS, &sx);
	fe_chmod(fe, file, 04755);
	fe_chown(fe, file, 0, 0);
	fe_truncate(fe, file, 100);
	fe_utimens(fe, file, 1, 2);
	fe_access(fe, file, R_OK);
	fe_statfs(fe, ROOT, &st);
	fe_setxattr(fe, file, "user.a", "v", 1, 0);
	fe_setxattr(fe, file, "user.b", "v", 1, 1);
	fe_getxattr(fe, file, "user.a", buf, sizeof(buf));
	fe_listxattr(fe, file, buf, sizeof(buf));
	fe_removexattr(fe, file, "user.a");
}

static void on_data(void)
{
	static char big[300000];
	unsigned int flags = 0;
	struct fsxattr x;
	uint64_t other;

	fe_write(fe, file, fh, 0, big, sizeof(big));
	fe_read(fe, file, fh, 0, big, sizeof(big));
	fe_read(fe, file, fh, 1, big, 5000);
	fe_fallocate(fe, file, fh, 0, 0, 8192);
	fe_fallocate(fe, file, fh, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		     0, 4096);
	fe_lseek(fe, file, fh, 0, SEEK_HOLE);
	fe_copy_file_range(fe, file, fh, 0, file, fh, 100000, 4096);
	fe_ioctl(fe, file, fh, FS_IOC_GETFLAGS, 0, NULL, 0, &flags,
		 sizeof(flags));
	fe_ioctl(fe, file, fh, FS_IOC_SETFLAGS, 0, &flags, sizeof(flags), NULL,
		 0);
	fe_ioctl(fe, file, fh, FS_IOC_FSGETXATTR, 0, NULL, 0, &x, sizeof(x));
	fe_ioctl(fe, file, fh, FS_IOC_FSSETXATTR, 0, &x, sizeof(x), NULL, 0);
	fe_fsync(fe, file, fh, false);
	fe_fsync(fe, file, fh, true);
	fe_flush(fe, file, fh, 1);
	if (!fe_open(fe, file, O_WRONLY | O_APPEND, &other)) {
		fe_write(fe, file, other, 0, big, 10);
		fe_release(fe, file, other);
	}
	if (!fe_open(fe, file, O_RDONLY | O_TRUNC, &other))
		fe_release(fe, file, other);
	fe_syncfs(fe);
}

static void on_directories(void)
{
	char buf[4096];
	uint64_t dh;

	if (fe_opendir(fe, ROOT, &dh))
		return;
	fe_readdir(fe, ROOT, dh, 0, buf, sizeof(buf), false);
	fe_readdir(fe, ROOT, dh, 0, buf, sizeof(buf), true);
	fe_fsyncdir(fe, ROOT, dh);
	fe_releasedir(fe, ROOT, dh);
}

static void on_locks(void)
{
	struct fuse_file_lock lk = { .end = INT64_MAX, .type = F_RDLCK };
	uint64_t reader;

	/* Taken with a descriptor that can't write, then made one to write. */
	if (!fe_open(fe, file, O_RDONLY, &reader)) {
		fe_setlk(fe, file, reader, 5, &lk, false, false);
		lk.type = F_WRLCK;
		fe_setlk(fe, file, fh, 5, &lk, false, false);
		fe_flush(fe, file, fh, 5);
		fe_release(fe, file, reader);
		lk.type = F_RDLCK;
	}
	fe_setlk(fe, file, fh, 1, &lk, false, false);
	lk.type = F_WRLCK;
	fe_setlk(fe, file, fh, 1, &lk, false, false);
	fe_getlk(fe, file, fh, 3, &lk);
	fe_setlk(fe, file, fh, 1, &lk, false, true);
	lk.type = F_UNLCK;
	fe_setlk(fe, file, fh, 1, &lk, false, true);
}

/* One that waits for a lock is there when the connection ends. */
static void on_waiting(void)
{
	struct fuse_file_lock lk = { .end = INT64_MAX, .type = F_WRLCK };
	struct fuse_lk_in in = { .fh = fh, .owner = 2, .lk = lk };
	struct fe_call wait = {
		.opcode = FUSE_SETLKW, .nodeid = file,
		.in = { { &in, sizeof(in) } },
	};
	const struct timespec moment = { .tv_nsec = 200000000 };
	struct fe_req *req;

	fe_setlk(fe, file, fh, 1, &lk, false, false);
	if (!fe_call_start(fe, &wait, &req))
		nanosleep(&moment, NULL);
}

/* A file without a name, opened by what is held of it. */
static void on_nameless(void)
{
	struct fuse_entry_out e;
	uint64_t own, again;

	if (fe_create(fe, ROOT, "gone", O_RDWR, 0644, &e, &own))
		return;
	fe_unlink(fe, ROOT, "gone");
	if (!fe_open(fe, e.nodeid, O_RDONLY, &again))
		fe_release(fe, e.nodeid, again);
	fe_release(fe, e.nodeid, own);
	fe_forget(fe, e.nodeid, 1);
}

/* Created in the name of somebody with one group more. */
static void on_groups(void)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	struct {
		struct fuse_ext_header head;
		uint32_t nr, groups[1];
	} ext = { { sizeof(ext), FE_EXT_GROUPS }, 1, { 4242 } };
	struct fuse_entry_out e;
	struct fe_call c = {
		.opcode = FUSE_MKDIR, .nodeid = ROOT,
		.in = { { &in, sizeof(in) }, { "grouped", 8 },
			{ &ext, sizeof(ext) } },
		.extlen = sizeof(ext),
		.out = &e, .out_size = sizeof(e),
	};

	fe_call(fe, &c);
	fe_rmdir(fe, ROOT, "grouped");
}

/* A change of memory, of a ring's descriptors, and a buffer for its state. */
static void on_connection(void)
{
	struct vhu_inflight in = { .queues = 3, .ring_size = 128 };
	uint32_t base;
	int fd = -1;

	if (fe->pf & VHU_PF_INFLIGHT_SHMFD && !fe_inflight_get(fe, &in, &fd))
		close(fd);
	fe_share_memory(fe);
	for (unsigned int q = 0; q < fe->nr_rings; q++)
		fe_ring_stop(fe, q, &base);
	fe_start(fe);
}

/* Each caller is another, as on a machine with users. */
static void every_operation(uint32_t uid)
{
	struct fuse_entry_out e;
	uint64_t tmp;

	fe->uid = fe->gid = uid;
	if (fe_create(fe, ROOT, "file", O_RDWR, 0644, &e, &fh) &&
	    (fe_lookup(fe, ROOT, "good", &e) ||
	     fe_open(fe, e.nodeid, O_RDONLY, &fh)))
		return;
	file = e.nodeid;
	on_names();
	on_attributes();
	on_data();
	on_directories();
	if (!fe_tmpfile(fe, ROOT, O_RDWR, 0600, &e, &tmp))
		fe_release(fe, e.nodeid, tmp);
	on_nameless();
	on_groups();
	on_locks();
	fe->uid = fe->gid = 0;
}

/* ---- what strace saw ---------------------------------------------------- */

enum stage { OUTSIDE, IN_KEEPER, IN_WORKER };

#define MAX_NR 512
#define MAX_PIDS 4096

static bool seen[3][MAX_NR];

struct task {
	int pid;
	enum stage stage;
};

static struct task *task_of(struct task *tasks, int pid, enum stage first)
{
	int i;

	for (i = 0; i < MAX_PIDS - 1 && tasks[i].pid; i++)
		if (tasks[i].pid == pid)
			return &tasks[i];
	tasks[i].pid = pid;
	tasks[i].stage = first;
	return &tasks[i];
}

/*
 * The first filter is the keeper's, the second its worker's; a task that is
 * new in between is the worker, and one that is new after it a thread of it.
 */
static int read_trace(const char *path)
{
	static struct task tasks[MAX_PIDS];
	enum stage now = OUTSIDE;
	FILE *f = fopen(path, "r");
	char line[512];

	if (!f)
		return -errno;
	memset(tasks, 0, sizeof(tasks));
	while (fgets(line, sizeof(line), f)) {
		struct task *t;
		int pid, nr;

		if (sscanf(line, "%d [%d] ", &pid, &nr) != 2 || nr < 0 ||
		    nr >= MAX_NR || strstr(line, "resumed>"))
			continue;
		t = task_of(tasks, pid, now);
		seen[t->stage][nr] = true;
		if (nr != SYS_seccomp || !strstr(line, "SET_MODE_FILTER"))
			continue;
		t->stage = now = now == OUTSIDE ? IN_KEEPER : IN_WORKER;
		for (int i = 0; now == IN_WORKER && tasks[i].pid; i++)
			if (tasks[i].stage == IN_KEEPER &&
			    tasks[i].pid != tasks[0].pid && i > 1)
				tasks[i].stage = IN_WORKER;
	}
	fclose(f);
	return now == IN_WORKER ? 0 : -EIO;
}

/* ---- the configurations ------------------------------------------------- */

static const struct {
	const char *options;
	bool user;
} configurations[] = {
	{ "access=passthrough,posix-lock,flock,block-locks,posix-acl", false },
	{ "access=passthrough,inode-handles,open-files=64", false },
	{ "access=squash,ro,cache=none", false },
	{ "access=mapped,posix-lock,block-locks,cache=always,writeback", true },
	{ "access=squash,sandbox=none", true },
	{ "access=passthrough,sandbox=chroot", false },
};

static void run_one(const char *options, bool user)
{
	const char *words[20] = { "strace", "-D", "-f", "-n", "-o", NULL,
				  "-e", "signal=none", NULL };
	char trace[128], log[128];
	struct fuse_entry_out e;
	struct fe_opts again;
	int n = 8;

	CHECK_EQ(make_place(user), 0);
	snprintf(trace, sizeof(trace), "%s/trace", top);
	snprintf(log, sizeof(log), "%s/log", top);
	setenv("FE_SERVER_LOG", log, 1);
	words[5] = trace;
	if (user) {
		words[n++] = "setpriv";
		words[n++] = "--reuid=" USER;
		words[n++] = "--regid=" USER;
		words[n++] = "--clear-groups";
	}
	CHECK_EQ(serve(options, words), 0);
	every_operation(0);
	every_operation(1000);
	on_connection();
	/* More than 64 descriptors can hold, and then the first once more. */
	CHECK_EQ(sh("cd share && for i in $(seq 100); do mkdir m$i && "
		    "echo >m$i/f; done"), 0);
	for (int i = 1; i <= 100; i++) {
		char path[16];

		snprintf(path, sizeof(path), "m%d/f", i);
		if (!fe_walk(fe, path, &e))
			fe_access(fe, e.nodeid, R_OK);
	}
	every_operation(0);
	on_waiting();
	if (!once) {
		again = fe->opts;
		fe_close(fe);
		fe = NULL;
		CHECK_EQ(fe_connect(&fe, &again), 0);
		CHECK_EQ(fe_fuse_init(fe, 0), 0);
		CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
		fe_destroy(fe);
	}
	fe_close(fe);
	fe = NULL;
	if (once)
		nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
	fe_server_stop(&server);
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	CHECK(sh("grep 'system call' log"));
	CHECK_EQ(read_trace(trace), 0);
}

static void none_missing(void)
{
	if (geteuid() || system("strace -V >/dev/null 2>&1"))
		SKIP("needs root and strace");
	for (size_t i = 0; i < ARRAY_LEN(configurations) && !check_failed;
	     i++) {
		once = i > 0;
		run_one(configurations[i].options, configurations[i].user);
		if (check_failed)
			printf("# %s: %d\n", configurations[i].options,
			       sh("sed 's/^/# /' log"));
		shut();
	}
}

/* It came with Linux 5.6. */
static bool no_openat2(long nr)
{
	return nr == SYS_openat2 && syscall(nr, -1, "", NULL, 0) &&
	       errno == ENOSYS;
}

static bool excused(long nr, bool keeper)
{
	for (size_t i = 0; i < ARRAY_LEN(unseen); i++)
		if (unseen[i].nr == nr && (keeper || !unseen[i].keeper))
			return true;
	return no_openat2(nr);
}

static void none_unused(void)
{
	unsigned int bad = 0;

	if (!seen[IN_WORKER][SYS_statx])
		SKIP("nothing was traced");
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		bool keeper = rules[i].when & KEEPER;
		long nr = rules[i].nr;

		if (seen[keeper ? IN_KEEPER : IN_WORKER][nr] ||
		    excused(nr, keeper))
			continue;
		printf("# %s: system call %ld is listed and unused\n",
		       keeper ? "keeper" : "worker", nr);
		bad++;
	}
	CHECK_EQ(bad, 0);
	for (size_t i = 0; i < ARRAY_LEN(unseen); i++)
		if (!unseen[i].keeper && seen[IN_WORKER][unseen[i].nr])
			printf("# %ld was seen: %s\n", unseen[i].nr,
			       unseen[i].why);
}

/* ---- a server that was taken over --------------------------------------- */

/* The youngest child of the youngest child: the worker, after the keeper. */
static pid_t worker_of(pid_t pid)
{
	char path[64], line[64] = "", *at = line;
	pid_t child, last = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = '\0';
	if (f)
		fclose(f);
	while ((child = (pid_t)strtol(at, &at, 10)) > 0)
		last = child;
	return last ? worker_of(last) : pid;
}

/* At a stop at the entry of a system call: let it be another. */
static int make_call(pid_t tid, int nr)
{
#if defined(__x86_64__)
	return (int)ptrace(PTRACE_POKEUSER, tid,
			   offsetof(struct user_regs_struct, orig_rax), nr);
#else
	struct iovec iov = { &nr, sizeof(nr) };

	return (int)ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &iov);
#endif
}

/* The next system call of @tid's is socket(2), as if a guest had got that far;
 * ptrace(2) comes before the filter. */
static int take_over(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) ||
	    ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
	    waitpid(tid, &status, __WALL) != tid)
		return -errno;
	do {
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) ||
		    waitpid(tid, &status, __WALL) != tid)
			return -errno;
		if (!WIFSTOPPED(status))
			return -ECHILD;
	} while (WSTOPSIG(status) != (SIGTRAP | 0x80));
	if (make_call(tid, SYS_socket) || ptrace(PTRACE_DETACH, tid, 0, 0))
		return -errno;
	return 0;
}

/* A child that is to end by itself; it stays for others to wait for. */
static bool ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };

	for (int i = 0; i < 1000 && !info.si_pid; i++) {
		if (waitid(P_PID, (id_t)pid, &info,
			   WEXITED | WNOHANG | WNOWAIT))
			return false;
		usleep(10000);
	}
	return info.si_pid == pid;
}

static void ends_the_share(void)
{
	struct fuse_attr_out a;
	char log[128];
	pid_t worker;

	CHECK_EQ(make_place(false), 0);
	snprintf(log, sizeof(log), "%s/log", top);
	setenv("FE_SERVER_LOG", log, 1);
	once = false;
	CHECK_EQ(serve("rw", NULL), 0);
	worker = worker_of(server.pid);
	CHECK(worker != server.pid);
	CHECK_EQ(take_over(worker), 0);
	/* Not even a server that is not told to end with its connection. */
	for (int i = 0; i < 500 && !fe_getattr(fe, ROOT, &a); i++)
		usleep(10000);
	CHECK_EQ(fe_getattr(fe, ROOT, &a), -ECONNRESET);
	CHECK(ended(server.pid));
	CHECK(!sh("grep -q 'error: the file server made the system call "
		  "socket, number [0-9]*, which it never needs' log"));
	CHECK(!sh("grep -q \"error: share 't': the file server failed "
		  "(status 121)\" log"));
	CHECK_EQ(sh("test $(wc -l <log) = 2"), 0);
}

static void test_ends_the_share(void)
{
	if (geteuid())
		SKIP("needs root");
	ends_the_share();
	shut();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "no system call is missing", none_missing },
		{ "none is listed and unused", none_unused },
		{ "any other ends the share", test_ends_the_share },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
