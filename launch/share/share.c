/* SPDX-License-Identifier: MIT */
/*
 * The processes of one share:
 *
 *	vmshare   starts the keeper, reads events, kills it at the end
 *	 └ keeper   confines itself; makes the arena; clones workers, waits
 *	    └ worker   has all threads and reads all that a guest wrote
 *
 * The keeper is PID 1 of a pid namespace where there is one, so that its death
 * is the death of everything in the share. It never reads what a guest wrote.
 * Keeper and worker share one descriptor table (CLONE_FILES without CLONE_VM):
 * when a worker dies, its open files, its locks of files, QEMU's socket and
 * the arena stay, and the next worker goes on with them. waitpid() returns
 * only when all threads of a worker are gone, so two never run at once.
 *
 * Order at the start: vmshare forks and registers the keeper with the
 * guardian, then says "go"; until then the keeper relies on a parent-death
 * signal, which confinement clears. The keeper then confines itself, makes the
 * arena, locks itself down and reports: one byte 0, or 1 and the reason. Only
 * after that does it clone the first worker: privileges go before any
 * untrusted byte is read.
 *
 * A worker that ends by itself ends the share with its status: 0 when the
 * front end left in order; but not with SHARE_AGAIN, where it may come back. A
 * worker that a signal killed is replaced where its successor can adopt the
 * state, unless five died with no request completed between: a clone repeats
 * addresses and canaries, so this is a defence too. SIGKILL comes from outside:
 * thirty of those. Where the kernel sent it, since a control group ran out of
 * memory, the next worker gets a lower limit, eight times. A system call
 * filter's victim is never replaced.
 *
 * In a live upgrade (upgrade.c) a keeper of another program takes its place.
 * The new keeper is forked and confined while the old one still serves. SIGUSR2
 * then asks the old keeper to end its worker and to have a child process send
 * all that is open. Until the new keeper has reported that it can go on, its
 * end ends that child, and the old keeper starts the next worker. After the
 * report the parent kills the old keeper, and only then lets the new one start
 * a worker: two workers never run at once.
 */

#include "launch/share/upgrade.h"
#include "memback/memback.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bytes; less where a limit forbids that much. */
#define SHARE_ARENA_MOST	(16ull << 30)
#define SHARE_DEATHS		5
#define SHARE_KILLS		30
#define SHARE_SQUEEZES		8	/* tables are halved each time */
#define SHARE_KILL_PAUSE	100	/* ms */
#define SHARE_FAILED		1	/* exit status of keeper or worker */
/* What a pipe holds: read in one go, also at the end. */
#define SHARE_EVENTS_MOST	65536

/* What the keeper is given; on its stack, from which it does not return. */
struct keeper {
	const struct share_ops *ops;
	void *arg;
	struct share_fds fds;
	pid_t self;
	struct arena *arena;
	/* What control groups allow, and which; kept from before it confines
	 * itself. */
	uint64_t memory;
	char group[192];
	uint64_t oom_kills;	/* of that group's processes, so far */
	/* Workers that died without having completed a request, in a row: of
	 * themselves, and by SIGKILL. */
	unsigned int deaths, kills;
};

/* The signal handler's, in a keeper. */
static volatile sig_atomic_t keeper_worker, keeper_asked;

/* ---- keeper -------------------------------------------------------------- */

static void say_refused(int ready, const char *why)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%c%s", UPGRADE_REFUSES, why);

	if (n >= (int)sizeof(line))
		n = (int)sizeof(line) - 1;
	(void)!write(ready, line, (size_t)n);
}

static _Noreturn void keeper_refuse(struct keeper *k, const char *fmt, ...)
	PRINTF_LIKE(2, 3);

static _Noreturn void keeper_refuse(struct keeper *k, const char *fmt, ...)
{
	char why[1000];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	say_refused(k->fds.ready, why);
	_exit(SHARE_FAILED);
}

static void keeper_ready(struct keeper *k)
{
	(void)!write(k->fds.ready, &(char){UPGRADE_READY}, 1);
}

/* SIGUSR2: a new keeper, in an upgrade, needs what this one has. */
static void on_asked(int sig)
{
	(void)sig;
	keeper_asked = 1;
	if (keeper_worker > 0)
		kill(keeper_worker, SIGKILL);
}

/* What was inherited and is no business of a file server. */
static int keeper_settle(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0)
		return -errno;
	close(null);
	if (log_settle() < 0)
		return -errno;
	setsid();
	umask(0);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)signal(SIGUSR2, on_asked);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * Address space, but a guest that knows enough files fills it: so no more than
 * a quarter of the machine's memory either. It is a file, and may be as large
 * as one of this user's.
 */
static int keeper_arena(struct keeper *k)
{
	uint64_t size = SHARE_ARENA_MOST, page, pages;
	struct rlimit file;
	int err;

	page = (uint64_t)sysconf(_SC_PAGESIZE);
	pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
	if (getrlimit(RLIMIT_FSIZE, &file) == 0 && file.rlim_cur < size)
		size = file.rlim_cur / page * page;
	while (size / page > pages / 4 && size > SHARE_ARENA_LEAST)
		size /= 2;
	do {
		err = arena_create(&k->arena, size);
		size /= 4;
	} while (err == -ENOMEM && size >= SHARE_ARENA_LEAST);
	return err;
}

static void keeper_prepare(struct keeper *k)
{
	const int held[] = {k->fds.sock, k->fds.events, k->fds.relay,
			    k->fds.ready, k->fds.go, k->fds.link,
			    k->fds.kills};
	int keep[ARRAY_SIZE(held)] = {0}, err;
	unsigned int nr = 0;
	char why[768] = "";

	err = keeper_settle();
	if (err)
		keeper_refuse(k, "can't use /dev/null: %s", strerror(-err));
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		if (held[i] >= 0)
			keep[nr++] = held[i];
	qsort(keep, nr, sizeof(keep[0]), compare_fds);
	if (k->ops->confine(k->arg, keep, nr, why, sizeof(why)))
		keeper_refuse(k, "%s", why);
	/* New credentials cleared it. Unlike the guardian it also works when
	 * the guardian is killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* In an upgrade the old keeper's arena is received instead. */
	err = k->fds.link < 0 ? keeper_arena(k) : 0;
	if (err)
		keeper_refuse(k, "can't make the arena: %s", strerror(-err));
	err = k->ops->lock_keeper(k->arg);
	if (err)
		keeper_refuse(k, "can't filter system calls: %s",
			      strerror(-err));
	keeper_ready(k);
}

/* What a child of the keeper does; an exit status. */
typedef int keeper_child(struct keeper *k);

static int child_serve(struct keeper *k)
{
	return k->ops->serve(k->arg, &k->fds, k->arena);
}

static int child_probe(struct keeper *k)
{
	return k->ops->probe(k->arg, &k->fds, k->arena) ? SHARE_FAILED : 0;
}

/* Returns only where the upgrade failed. */
static int child_send(struct keeper *k)
{
	int link = descriptors_passed(k->fds.relay);

	if (link >= 0)
		descriptors_send(link, k->ops, k->arg, &k->fds, k->arena);
	return SHARE_FAILED;
}

/* Have a child do it and wait for its end: its wait status, or -errno. */
static int keeper_work(struct keeper *k, keeper_child *work)
{
	sigset_t asked;
	int status;
	pid_t got;
	long pid;

	sigemptyset(&asked);
	sigaddset(&asked, SIGUSR2);
	sigprocmask(SIG_BLOCK, &asked, NULL);
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		(void)signal(SIGUSR2, SIG_DFL);
		sigprocmask(SIG_UNBLOCK, &asked, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(getppid() == k->self ? work(k) : SHARE_FAILED);
	}
	keeper_worker = work == child_serve ? (sig_atomic_t)pid : 0;
	sigprocmask(SIG_UNBLOCK, &asked, NULL);
	if (pid < 0)
		return -errno;
	/* PID 1 reaps what is re-parented to it, too. */
	do
		got = waitpid(-1, &status, 0);
	while (got != pid && (got > 0 || errno == EINTR));
	keeper_worker = 0;
	return got < 0 ? -errno : status;
}

/*
 * Did the kernel kill it, because a control group ran out of memory? The group
 * counts those; without that count nobody knows.
 */
static bool lacked_memory(struct keeper *k, int sig)
{
	uint64_t before = k->oom_kills;

	k->oom_kills = mem_group_kills(k->fds.kills);
	return sig == SIGKILL && k->memory != UINT64_MAX &&
	       k->oom_kills != before;
}

/* The next one remembers half as many files, or there is none. */
static bool goes_on_with_less(struct keeper *k)
{
	char size[32];

	format_size(size, sizeof(size), k->memory);
	if (k->kills < SHARE_SQUEEZES) {
		if (k->ops->squeeze)
			k->ops->squeeze(k->arg, k->arena);
		log_warning("the file server was killed for lack of memory: "
			    "control group %s allows %s; another one goes on "
			    "with less", k->group, size);
		return true;
	}
	log_error("the file server can't go on with the %s that control group "
		  "%s allows: each of %u completed no request", size,
		  k->group, k->kills);
	log_hint("raise the memory limit of that group");
	return false;
}

/*
 * A signal killed the worker: is there to be another? SIGKILL comes from
 * outside and does not count as much, but is not answered in a hot loop.
 */
static bool keeper_goes_on(struct keeper *k, int sig)
{
	bool may = k->ops->progressed && sig != SIGSYS;
	bool squeezed = lacked_memory(k, sig);

	if (may && k->ops->progressed(k->arg, k->arena))
		k->deaths = k->kills = 0;
	else if (sig == SIGKILL)
		poll(NULL, 0, SHARE_KILL_PAUSE);
	if (sig == SIGKILL)
		k->kills++;
	else
		k->deaths++;
	if (may && squeezed)
		return goes_on_with_less(k);
	if (may && k->deaths < SHARE_DEATHS && k->kills < SHARE_KILLS) {
		log_warning("the file server was killed by signal %d (%s); "
			    "another one goes on", sig, strsignal(sig));
		return true;
	}
	log_error("the file server was killed by signal %d (%s)%s", sig,
		  strsignal(sig), may ? " once more without having completed "
					"a request" : "");
	return false;
}

static int keeper_loop(struct keeper *k)
{
	for (;;) {
		int status = keeper_work(k, child_serve);

		if (status < 0) {
			log_error("can't start a worker: %s",
				  process_error(status));
			return SHARE_FAILED;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) != SHARE_AGAIN)
			return WEXITSTATUS(status);
		if (keeper_asked) {
			keeper_asked = 0;
			(void)keeper_work(k, child_send);
			continue;
		}
		if (WIFSIGNALED(status) &&
		    !keeper_goes_on(k, WTERMSIG(status)))
			return SHARE_FAILED;
	}
}

static void drop(int *fd)
{
	close(*fd);
	*fd = -1;
}

/* Wait until the parent has registered this process. */
static void keeper_begin(struct keeper *k, const char *tag)
{
	char name[96], go;

	prctl(PR_SET_NAME, "vmshare-share");
	if (read(k->fds.go, &go, 1) != 1)
		_exit(SHARE_FAILED);
	snprintf(name, sizeof(name), "share '%s'", tag);
	log_name(name);
	k->self = getpid();
	k->memory = mem_group_limit(k->group, sizeof(k->group));
	k->fds.kills = mem_group_events();
	k->oom_kills = mem_group_kills(k->fds.kills);
}

static _Noreturn void keeper_main(struct keeper *k, struct guardian *guardian,
				  const char *tag)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (guardian_orphaned(guardian))
		_exit(SHARE_FAILED);
	guardian_leave(guardian);
	keeper_begin(k, tag);
	drop(&k->fds.go);
	keeper_prepare(k);
	drop(&k->fds.ready);
	_exit(keeper_loop(k));
}

/* ---- keeper of another program ------------------------------------------- */

/* Get what the old one has, and try whether it is of use. */
static void upgrade_take(struct keeper *k)
{
	int *const own[] = {&k->fds.link, &k->fds.ready, &k->fds.go,
			    &k->fds.relay, &k->fds.kills};
	int fd, status;

	fd = descriptors_receive(own, ARRAY_SIZE(own), &k->fds.link, k->ops,
				 k->arg, &k->fds);
	if (fd == -ECONNRESET)
		keeper_refuse(k, "the old server ended");
	if (fd == -EPROTO)
		keeper_refuse(k, "the old server is of another version");
	if (fd < 0)
		keeper_refuse(k, "taking over what is open: %s", strerror(-fd));
	status = arena_attach(&k->arena, fd);
	if (status == -EPROTO)
		keeper_refuse(k, "its state has another version than this "
			      "program's");
	if (status)
		keeper_refuse(k, "taking over the state: %s",
			      strerror(-status));
	status = keeper_work(k, child_probe);
	if (status)
		keeper_refuse(k, "this program can't go on with the state");
}

static _Noreturn void upgrade_main(struct keeper *k, const char *tag)
{
	char none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	keeper_begin(k, tag);
	keeper_prepare(k);
	upgrade_take(k);
	keeper_ready(k);
	drop(&k->fds.ready);
	/* Closed when the old keeper is gone: it must not go on meanwhile. */
	while (read(k->fds.go, &none, 1) > 0)
		;
	drop(&k->fds.go);
	drop(&k->fds.link);
	_exit(keeper_loop(k));
}

int upgrade_refuse(const struct upgrade *h, const char *why)
{
	say_refused(h->ready, why);
	return EXIT_REFUSED;
}

int upgrade_start(const struct upgrade *h, const struct share_ops *ops,
		  void *arg)
{
	struct keeper k = {
		.ops = ops, .arg = arg,
		.fds = {.sock = -1, .events = -1, .relay = h->relay,
			.ready = h->ready, .go = h->go, .link = h->link,
			.kills = -1},
	};
	char line[1 + sizeof(int32_t)] = {UPGRADE_FORKED};
	int32_t pid = ops->fork(arg);

	if (pid == 0)
		upgrade_main(&k, h->config.shares[0].tag);
	if (pid < 0)
		return upgrade_refuse(h, strerror(-pid));
	memcpy(line + 1, &pid, sizeof(pid));
	return write(h->ready, line, sizeof(line)) == sizeof(line) ? 0 :
		EXIT_REFUSED;
}

/* ---- parent -------------------------------------------------------------- */

/* The keeper's first words: 0, or -errno with @why set. */
static int read_ready(int fd, char *why, size_t why_size)
{
	char line[1024];
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, line + len, sizeof(line) - 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n < 0 && errno == EINTR) ||
		 (n > 0 && len < sizeof(line) - 1));
	line[len] = '\0';
	if (len && !line[0])
		return 0;
	snprintf(why, why_size, "%s", len ? line + 1 : "the file server died "
		 "while it was being confined");
	return -ECANCELED;
}

static void close_pair(int *fds)
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Forked: register, let go, wait until it is ready. */
static int share_adopt(struct share *s, int go, int ready, char *why,
		       size_t why_size)
{
	int *slot = guardian_slot(s->guardian);
	int fd = (int)syscall(SYS_pidfd_open, s->keeper, 0);

	if (fd < 0 || !slot) {
		int err = fd < 0 ? -errno : -ENOSPC;

		if (fd >= 0)
			close(fd);
		kill(s->keeper, SIGKILL);
		waitpid(s->keeper, NULL, 0);
		snprintf(why, why_size, "can't watch the file server: %s",
			 strerror(-err));
		return err;
	}
	__atomic_store_n(slot, fd, __ATOMIC_RELEASE);
	s->pidfd = fd;
	(void)!write(go, "", 1);
	return read_ready(ready, why, why_size);
}

int share_start(struct share *s, const struct share_config *config,
		const struct share_ops *ops, void *arg, int sock,
		struct guardian *guardian, char *why, size_t why_size)
{
	int events[2] = {-1, -1}, ready[2] = {-1, -1}, go[2] = {-1, -1};
	int relay[2] = {-1, -1}, err = 0;

	*s = (struct share){.config = config, .pidfd = -1, .events = -1,
			    .guardian = guardian, .ops = ops, .arg = arg,
			    .relay = -1, .dir = -1, .stats_fd = -1};
	if (pipe2(events, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, relay) < 0) {
		err = -errno;
		snprintf(why, why_size, "can't make a pipe: %s",
			 strerror(-err));
		goto out;
	}
	s->keeper = ops->fork(arg);
	if (s->keeper == 0) {
		struct keeper k = {
			.ops = ops, .arg = arg,
			.fds = {.sock = sock, .events = events[1],
				.relay = relay[1], .ready = ready[1],
				.go = go[0], .link = -1, .kills = -1},
		};

		close(go[1]);
		keeper_main(&k, guardian, config->tag);
	}
	if (s->keeper < 0) {
		err = s->keeper;
		snprintf(why, why_size, "can't fork the file server: %s",
			 process_error(err));
		goto out;
	}
	close(ready[1]);
	ready[1] = -1;
	err = share_adopt(s, go[1], ready[0], why, why_size);
	if (err)
		goto out;
	s->events = events[0];
	s->relay = relay[0];
	events[0] = relay[0] = -1;
	close(sock);
	/* Where it is: a path may be another directory's some day. */
	if (config->dir)
		s->dir = open(config->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
out:
	close_pair(events);
	close_pair(ready);
	close_pair(go);
	close_pair(relay);
	if (err)
		share_stop(s);
	return err;
}

void share_ask(const struct share *s)
{
	if (s->stats && s->pidfd >= 0)
		stats_ask(s->stats);
}

/* Note one byte of a share's; which ones are given on is in @seen. */
static void note_event(struct share *s, char event, bool *seen)
{
	s->connected |= event == SHARE_CONNECTED;
	s->driver |= event == SHARE_DRIVER;
	s->not_shared |= event == SHARE_NOT_SHARED;
	if (event == SHARE_MOUNTED)
		s->mounted = s->ever_mounted = true;
	if (event == SHARE_UNMOUNTED)
		s->mounted = false;
	seen[(unsigned char)event] = true;
}

void share_read_events(struct share *s,
		       void (*fn)(void *ctx, struct share *s, char event),
		       void *ctx)
{
	/* The last one that is said is how it is now. */
	char order[] = {SHARE_CONNECTED, SHARE_DRIVER, SHARE_NOT_SHARED,
			SHARE_UNMOUNTED, SHARE_MOUNTED};
	char bytes[SHARE_EVENTS_MOST];
	bool seen[256] = {false};
	ssize_t n;

	if (s->events < 0)
		return;
	n = read(s->events, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++)
		note_event(s, bytes[i], seen);
	if (!s->mounted) {
		order[3] = SHARE_MOUNTED;
		order[4] = SHARE_UNMOUNTED;
	}
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (seen[(unsigned char)order[i]])
			fn(ctx, s, order[i]);
	if (n > 0)
		return;
	close(s->events);
	s->events = -1;
}

int share_reap(struct share *s)
{
	siginfo_t info = sys_await(s->pidfd);

	guardian_forget(s->guardian, s->pidfd);
	close(s->pidfd);
	s->pidfd = -1;
	return info.si_code == CLD_EXITED ? info.si_status
					  : 128 + info.si_status;
}

void share_stop(struct share *s)
{
	int *const fds[] = {&s->events, &s->relay, &s->dir};

	if (s->pidfd >= 0) {
		(void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL,
			      0);
		(void)share_reap(s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
