/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * Another program takes a share over, in each way to be shut in, while a guest
 * works: what is open stays open, locks stay held, no request fails; ten times
 * in the first way, twice in the others. And what can't take over does not.
 *
 * A front end that keeps what is in flight comes back after a lost connection,
 * or another one comes in its place; a request crashes each of its workers.
 */

#include "tests/c/attack_rig.h"

#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FILES	600		/* more than one message of descriptors */
#define SIZE	20000

static char vmshare[PATH_MAX];	/* what is tested */
static char other[PATH_MAX];	/* the same with another state's version */
static char symbols[PATH_MAX];	/* the same before it was stripped, or "" */
static uint64_t node[FILES], fh[FILES];

/* ---- a guest that works -------------------------------------------------- */

static bool enough;
static unsigned long rounds;
static const char *went_wrong;

static bool wrong(const char *what, int err)
{
	static char text[96];

	if (!err)
		return false;
	snprintf(text, sizeof(text), "%s: %d", what, err);
	went_wrong = text;
	return true;
}

static int work_round(unsigned long n)
{
	static char data[SIZE], back[SIZE];
	struct fuse_entry_out d, e;
	uint64_t handle;

	memset(data, (int)n, sizeof(data));
	if (wrong("mkdir", fe_mkdir(fe, ROOT, "d", 0755, &d)) ||
	    wrong("create", fe_create(fe, d.nodeid, "f", O_RDWR | O_EXCL, 0644,
				      &e, &handle)) ||
	    wrong("write", fe_write(fe, e.nodeid, handle, 0, data, SIZE) !=
				   SIZE) ||
	    wrong("rename", fe_rename(fe, d.nodeid, "f", ROOT, "g")) ||
	    wrong("link", fe_link(fe, e.nodeid, d.nodeid, "h", &e)) ||
	    wrong("unlink", fe_unlink(fe, ROOT, "g")) ||
	    wrong("unlink", fe_unlink(fe, d.nodeid, "h")) ||
	    wrong("rmdir", fe_rmdir(fe, ROOT, "d")) ||
	    wrong("read", fe_read(fe, e.nodeid, handle, 0, back, SIZE) !=
				  SIZE) ||
	    wrong("data", memcmp(data, back, SIZE)) ||
	    wrong("release", fe_release(fe, e.nodeid, handle)) ||
	    wrong("forget", fe_forget(fe, e.nodeid, 2)) ||
	    wrong("forget", fe_forget(fe, d.nodeid, 1)))
		return -1;
	return 0;
}

static void *work(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE) &&
	       work_round(rounds) == 0)
		__atomic_fetch_add(&rounds, 1, __ATOMIC_ACQ_REL);
	return NULL;
}

static bool worked_on(unsigned int more)
{
	unsigned long want = __atomic_load_n(&rounds, __ATOMIC_ACQUIRE) + more;

	for (int i = 0; i < 2000 && !went_wrong; i++) {
		if (__atomic_load_n(&rounds, __ATOMIC_ACQUIRE) >= want)
			return true;
		usleep(10000);
	}
	printf("# stands still: %s\n", went_wrong ? went_wrong : "no answer");
	return false;
}

/* ---- what it holds ------------------------------------------------------- */

static int hold_files(void)
{
	struct fuse_entry_out e;
	char name[32];
	int err = 0;

	for (unsigned int i = 0; i < FILES && !err; i++) {
		snprintf(name, sizeof(name), "held%u", i);
		err = fe_create(fe, ROOT, name, O_RDWR, 0644, &e, &fh[i]);
		node[i] = e.nodeid;
		if (!err && fe_write(fe, node[i], fh[i], 0, name, 32) != 32)
			err = -EIO;
		if (!err && i % 2)
			err = fe_unlink(fe, ROOT, name);
	}
	return err;
}

static int lock_file(uint64_t owner)
{
	const struct fuse_file_lock lk = { .type = F_WRLCK, .start = 5,
					   .end = 9 };

	return fe_setlk(fe, node[0], fh[0], owner, &lk, false, false);
}

static int held_still(void)
{
	char name[32], back[32];

	for (unsigned int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "held%u", i);
		if (fe_read(fe, node[i], fh[i], 0, back, 32) != 32 ||
		    strcmp(name, back) != 0)
			return -EIO;
	}
	return lock_file(2) == -EAGAIN && lock_file(1) == 0 ? 0 : -EDEADLK;
}

/* ---- the processes ------------------------------------------------------- */

/* Exit status of "vmshare restart" with its words in $top/said. */
static int restart(void)
{
	char command[PATH_MAX + 64];
	int status;

	snprintf(command, sizeof(command), "%s restart %d >said 2>&1", vmshare,
		 server.pid);
	status = sh(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool said(const char *words)
{
	char command[256];

	snprintf(command, sizeof(command), "grep -qF \"%s\" said", words);
	if (sh(command) == 0)
		return true;
	printf("# it did not say '%s' but:\n", words);
	fflush(stdout);
	return sh("sed 's/^/# /' said") < 0;
}

/* The one child that is a keeper or worker; 0 where there is not one. */
static pid_t child_of(pid_t parent)
{
	int pid = 0, more;
	char command[96];
	FILE *f;

	snprintf(command, sizeof(command), "pgrep -P %d -x vmshare-share",
		 parent);
	f = popen(command, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%d %d", &pid, &more) != 1)
		pid = 0;
	pclose(f);
	return pid;
}

/* And the file that it runs. */
static pid_t keeper(ino_t *file)
{
	pid_t pid = child_of(server.pid);
	struct stat st = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (file)
		*file = stat(path, &st) ? 0 : st.st_ino;
	return pid;
}

/* As a package manager does: a new file gets the old one's name. */
static int install(const char *file)
{
	char command[PATH_MAX + 64];

	snprintf(command, sizeof(command), "cp %s new && mv new program",
		 file);
	return sh(command);
}

/* Serve with a program of its own, which can be replaced: in $top. */
static int serve_own(const struct mode *m)
{
	char program[96];
	int err = make_place(m->user);

	snprintf(program, sizeof(program), "%s/program", top);
	if (err || install(vmshare))
		return err ? err : -EIO;
	setenv("VMSHARE", program, 1);
	err = serve(m->options, NULL);
	setenv("VMSHARE", vmshare, 1);
	return err;
}

/* ---- the tests ----------------------------------------------------------- */

static unsigned int times;	/* to restart */

static void again_and_again(void)
{
	pid_t before = keeper(NULL), now;
	ino_t file, old = 0;

	CHECK_EQ(hold_files(), 0);
	CHECK_EQ(lock_file(1), 0);
	for (unsigned int i = 0; i < times; i++) {
		pthread_t thread;

		enough = false;
		went_wrong = NULL;
		CHECK_EQ(pthread_create(&thread, NULL, work, NULL), 0);
		CHECK(worked_on(1 + i % 3));
		CHECK_EQ(install(vmshare), 0);
		CHECK(restart() == 0 || !said("restarted"));
		now = keeper(&file);
		CHECK(now && now != before && file && file != old);
		before = now;
		old = file;
		CHECK(worked_on(2));
		__atomic_store_n(&enough, true, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		CHECK(!went_wrong);
		CHECK_EQ(held_still(), 0);
	}
	/* And the last one survives its worker, too. */
	now = child_of(before);
	CHECK(now && kill(now, SIGKILL) == 0);
	CHECK_EQ(held_still(), 0);
	CHECK(child_of(before) != now);
}

static void run_mode(const struct mode *m, void (*test)(void))
{
	int err = serve_own(m);

	if (err) {
		printf("# does not serve: %d\n", err);
		check_failed = 1;
	} else {
		test();
	}
	if (check_failed)
		printf("# %s\n", m->name);
	shut();
}

static void each_mode(void)
{
	times = 10;
	for (size_t i = 0; i < ARRAY_LEN(modes) && !check_failed; i++) {
		if (!modes[i].user && geteuid())
			continue;
		run_mode(&modes[i], again_and_again);
		times = 2;
	}
}

/* None of these takes over; the share goes on, and a right one still can. */
static void refused(const char *words)
{
	ino_t file, after;
	pid_t before = keeper(&file);

	CHECK_EQ(restart(), 125);
	CHECK(said("goes on as it is: "));
	CHECK(said(words));
	CHECK_EQ(keeper(&after), before);
	CHECK_EQ(after, file);
	CHECK_EQ(held_still(), 0);
	CHECK_EQ(work_round(0), 0);
}

static void unfit(void)
{
	CHECK_EQ(hold_files(), 0);
	CHECK_EQ(lock_file(1), 0);
	CHECK_EQ(install(other), 0);
	refused("its state has another version than this program's");
	CHECK_EQ(install("/bin/true"), 0);
	refused("ended before it took over");
	CHECK_EQ(sh("echo text >program"), 0);
	refused("Exec format error");
	CHECK_EQ(sh("chmod 600 program"), 0);
	refused("Permission denied");
	CHECK_EQ(sh("rm program"), 0);
	refused("No such file or directory");
	CHECK_EQ(install(vmshare), 0);
	CHECK_EQ(restart(), 0);
	CHECK_EQ(held_still(), 0);
}

static void late(void)
{
	CHECK_EQ(hold_files(), 0);
	CHECK_EQ(lock_file(1), 0);
	CHECK_EQ(sh("printf '#!/bin/sh\nexec sleep 60\n' >late && "
		    "chmod 755 late && mv late program"), 0);
	refused("has not answered for 10 s");
}

static void one_that_is_late(void)
{
	run_mode(&modes[3], late);
}

static void unfit_root(void)
{
	run_mode(&modes[geteuid() ? 3 : 0], unfit);
}

static void unfit_user(void)
{
	run_mode(&modes[3], unfit);
}

/* The directory was moved away, and another one has its name. */
static void moved(void)
{
	struct fuse_entry_out e;

	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	CHECK_EQ(sh("mv share away && mkdir share"), 0);
	CHECK_EQ(restart(), 0);
	CHECK_EQ(fe_lookup(fe, ROOT, "good", &e), 0);
	CHECK_EQ(work_round(1), 0);
	CHECK_EQ(fe_mkdir(fe, ROOT, "here", 0755, &e), 0);
	CHECK_EQ(sh("test -d away/here"), 0);
}

static void moved_away(void)
{
	for (size_t i = 0; i < ARRAY_LEN(modes) && !check_failed; i++)
		if (modes[i].user || !geteuid())
			run_mode(&modes[i], moved);
}

/* ---- a front end that comes back ----------------------------------------- */

static int serve_inflight(struct vhu_inflight *table, int *fd)
{
	const char *argv[] = { vmshare, "serve", "--fd={fd}", "--share", NULL,
			       NULL };
	struct fe_opts opts = {
		.queues = 2, .timeout_ms = 20000, .ring_size = 64,
		.handshake_only = true,
		.pf_mask = VHU_PF_MQ | VHU_PF_REPLY_ACK |
			   VHU_PF_INFLIGHT_SHMFD,
	};
	char text[160];
	int err = make_place(false);

	snprintf(text, sizeof(text), "%s:t", share);
	argv[4] = text;
	*table = (struct vhu_inflight){ .queues = 3, .ring_size = 64 };
	*fd = -1;
	if (!err)
		err = fe_server_start(&server, argv, true);
	opts.path = server.path;
	if (!err)
		err = fe_connect(&fe, &opts);
	if (!err)
		err = fe_begin_inflight(fe, table, fd);
	return err ? err : fe_fuse_init(fe, 0);
}

/* The connection is lost, and made anew. */
static int come_back(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	close(fe->sock);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", server.path);
	fe->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fe->sock, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	return fe_negotiate(fe);
}

static int wait_for_lock(struct fe_req **req)
{
	struct fuse_lk_in in = { .fh = fh[0], .owner = 2,
				 .lk = { .type = F_WRLCK, .end = 9 } };
	struct fe_call call = { .opcode = FUSE_SETLKW, .nodeid = node[0],
				.in = { { &in, sizeof(in) } } };

	return fe_call_start(fe, &call, req);
}

static int unlock(uint64_t owner)
{
	const struct fuse_file_lock lk = { .type = F_UNLCK, .end = 20 };

	return fe_setlk(fe, node[0], fh[0], owner, &lk, false, false);
}

/* Nodes, handles, locks and what waits for one are as they were. */
static void comes_back(void)
{
	struct vhu_inflight table;
	struct fe_req *waits;
	int fd;

	CHECK_EQ(serve_inflight(&table, &fd), 0);
	CHECK_EQ(hold_files(), 0);
	CHECK_EQ(lock_file(1), 0);
	for (unsigned int i = 0; i < 5; i++) {
		CHECK_EQ(wait_for_lock(&waits), 0);
		usleep(i * 30000);
		CHECK_EQ(come_back(), 0);
		CHECK_EQ(fe_begin_inflight(fe, &table, &fd), 0);
		CHECK_EQ(work_round(i), 0);
		CHECK_EQ(lock_file(3), -EAGAIN);
		CHECK_EQ(unlock(1), 0);
		CHECK_EQ(fe_finish(waits), 0);
		fe_req_free(waits);
		CHECK_EQ(lock_file(1), -EAGAIN);
		CHECK_EQ(unlock(2), 0);
		CHECK_EQ(lock_file(1), 0);
		CHECK_EQ(held_still(), 0);
	}
	close(fd);
	shut();
}

/* Can the host have it all? */
static bool host_locks(void)
{
	struct flock lk = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[128];
	bool got;
	int f;

	snprintf(path, sizeof(path), "%s/held0", share);
	f = open(path, O_RDWR | O_CLOEXEC);
	got = f >= 0 && fcntl(f, F_OFD_SETLK, &lk) == 0;
	if (f >= 0)
		close(f);
	return got;
}

/* Another guest has nothing of the first one's, whose locks are gone. */
static void another_comes(void)
{
	struct fuse_attr_out a;
	struct vhu_inflight table;
	int fd, own = -1;

	CHECK_EQ(serve_inflight(&table, &fd), 0);
	CHECK_EQ(hold_files(), 0);
	CHECK_EQ(lock_file(1), 0);
	CHECK_EQ(come_back(), 0);
	CHECK(!host_locks());
	CHECK_EQ(fe_begin_inflight(fe, &table, &own), 0);
	CHECK_EQ(fe_getattr(fe, ROOT, &a), -EIO);
	CHECK(host_locks());
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	CHECK_EQ(fe_getattr(fe, ROOT, &a), 0);
	CHECK_EQ(fe_getattr(fe, node[0], &a), -ESTALE);
	CHECK_EQ(work_round(1), 0);
	close(fd);
	close(own);
	shut();
}

/* A guest that is gone for good does not keep its locks. */
static void nobody_comes(void)
{
	struct vhu_inflight table;
	int fd;

	CHECK_EQ(serve_inflight(&table, &fd), 0);
	CHECK_EQ(hold_files(), 0);
	CHECK_EQ(lock_file(1), 0);
	fe_close(fe);
	fe = NULL;
	for (int i = 0; i < 600 && !host_locks(); i++)
		usleep(100000);
	CHECK(host_locks());
	close(fd);
	shut();
}

/* ---- a request that crashes its worker ----------------------------------- */

/* Where a process has the first byte of the program's file, or 0. */
static uint64_t program_base(pid_t pid)
{
	char line[PATH_MAX + 128], path[64];
	unsigned long long at, offset, base = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f && !base && fgets(line, sizeof(line), f))
		if (strstr(line, "/vmshare") &&
		    sscanf(line, "%llx-%*x %*s %llx", &at, &offset) == 2 &&
		    !offset)
			base = at;
	if (f)
		fclose(f);
	return base;
}

/* Where it has a function; 0 where that is not to be told. */
static uint64_t address_of(pid_t pid, const char *symbol)
{
	uint64_t base = program_base(pid);
	char command[PATH_MAX + 64];
	unsigned long long at = 0;
	FILE *f;

	snprintf(command, sizeof(command), "nm %s | grep -w %s", symbols,
		 symbol);
	f = popen(command, "r");
	if (f && fscanf(f, "%llx", &at) != 1)
		at = 0;
	if (f)
		pclose(f);
	return at && base ? base + at : 0;
}

/* From now on each worker that this keeper makes dies of READLINK. */
static bool poison(pid_t pid)
{
#ifdef __x86_64__
	const unsigned char fault[4] = { 0x0f, 0x0b, 0x0f, 0x0b };
#else
	const unsigned char fault[4] = { 0 };
#endif
	uint64_t at = address_of(pid, "op_readlink");
	char path[64];
	bool done;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = at ? open(path, O_RDWR | O_CLOEXEC) : -1;
	done = mem >= 0 && pwrite(mem, fault, sizeof(fault), (off_t)at) ==
				   (ssize_t)sizeof(fault);
	if (mem >= 0)
		close(mem);
	return done;
}

/*
 * It is answered with an error after the second, of which there is a warning
 * that names it; all else goes on.
 */
static void poisonous(void)
{
	pid_t pid = keeper(NULL), worker = child_of(pid);
	struct fuse_entry_out e;
	char text[16];

	CHECK_EQ(hold_files(), 0);
	CHECK_EQ(lock_file(1), 0);
	CHECK_EQ(fe_symlink(fe, ROOT, "link", "target", &e), 0);
	CHECK_EQ(fe_readlink(fe, e.nodeid, text, sizeof(text)), 0);
	if (!poison(pid))
		SKIP("the program can't be changed");
	CHECK(worker && kill(worker, SIGKILL) == 0);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(fe_readlink(fe, e.nodeid, text, sizeof(text)), -EIO);
		CHECK_EQ(work_round(0), 0);
	}
	CHECK_EQ(held_still(), 0);
	CHECK_EQ(keeper(NULL), pid);
	CHECK_EQ(sh("test $(grep -c 'a request (READLINK) crashed the file "
		    "server twice: it is answered with an error' log) = 4"), 0);
	CHECK_EQ(sh("test $(grep -c 'killed by signal 4 ' log) = 8"), 0);
}

static void crashes(void)
{
	int err = make_place(false);
	char path[96];

	snprintf(path, sizeof(path), "%s/log", top);
	setenv("FE_SERVER_LOG", path, 1);
	if (!err)
		err = serve("sandbox=auto", NULL);
	unsetenv("FE_SERVER_LOG");
	CHECK_EQ(err, 0);
	poisonous();
	if (check_failed)
		CHECK(sh("sed 's/^/# /' log") < 0);
	shut();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "again and again while a guest works", each_mode },
		{ "programs that can't", unfit_root },
		{ "programs that can't, as a user", unfit_user },
		{ "one that does not answer", one_that_is_late },
		{ "a directory that was moved", moved_away },
		{ "a front end that comes back", comes_back },
		{ "another one comes", another_comes },
		{ "a front end that does not come back", nobody_comes },
		{ "a request that crashes its worker", crashes },
	};
	const char *wanted = getenv("VMSHARE");
	char beside[PATH_MAX];

	snprintf(beside, sizeof(beside), "%.4000s-other", argv[0]);
	if (!realpath(wanted ? wanted : "./vmshare", vmshare) ||
	    !realpath(beside, other))
		return 1;
	/* .../tests/NAME: .../vmshare */
	snprintf(beside, sizeof(beside), "%.4000s", argv[0]);
	snprintf(symbols, sizeof(symbols), "%.3000s/../vmshare",
		 dirname(beside));
	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
