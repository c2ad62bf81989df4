/* rooms: base */
/* SPDX-License-Identifier: MIT */
/*
 * The filter itself, by what happens to a process that has it: what is allowed
 * works, what is not ends it with the name of the call.
 */

#include <sys/mount.h>	/* before <linux/fs.h>, or older C libraries fail */

#include "fsserver/confine/callname.c"
#include "fsserver/confine/seccomp.c"

#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>

static char said[4096];		/* on stderr, by the last child */

/* Run @act in a child. Return: its exit status, 128 + signal. */
static int in_child(int (*act)(void))
{
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe(fds))
		abort();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDERR_FILENO);
		_exit(act());
	}
	close(fds[1]);
	n = read(fds[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   128 + WTERMSIG(status);
}

static struct {
	unsigned int config;
	bool log_only;
	int (*act)(void);
} filter;

static int act_filtered(void)
{
	if (install(filter.config, filter.log_only))
		return 99;
	return filter.act();
}

/* The same under a filter. */
static int under(unsigned int config, bool log_only, int (*act)(void))
{
	filter.config = config;
	filter.log_only = log_only;
	filter.act = act;
	return in_child(act_filtered);
}

static void *thread(void *arg)
{
	char *mem = malloc(100000);

	*(int *)arg = mem != NULL;
	free(mem);
	return arg;
}

/* What servers do all day. */
static int harmless(void)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct timespec pause = { .tv_nsec = 1000 };
	pthread_t id;
	int ran = 0, fd = openat(AT_FDCWD, "/tmp",
					 O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	unsigned int flags;
	void *mem;

	if (fd < 0 || write(fd, "x", 1) != 1 || fcntl(fd, F_OFD_SETLK, &fl))
		return 1;
	mem = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || mprotect(mem, 4096, PROT_NONE) ||
	    munmap(mem, 8192))
		return 2;
	if (syscall(SYS_ioctl, fd, FS_IOC_GETFLAGS, &flags) &&
	    errno != ENOTTY && errno != EOPNOTSUPP)
		return 3;
	if (pthread_create(&id, NULL, thread, &ran) ||
	    pthread_join(id, NULL) || !ran)
		return 4;
	if (pthread_kill(pthread_self(), 0) || nanosleep(&pause, NULL))
		return 5;
	if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
		return 6;
	return 0;
}

#define ACT(name, call)                                                       \
	static int name(void)                                                 \
	{                                                                     \
		(void)!(intptr_t)(call);                                      \
		return 0;                                                     \
	}

ACT(do_socket, socket(AF_INET, SOCK_STREAM, 0))
ACT(do_exec, execl("/bin/true", "true", NULL))
ACT(do_ptrace, ptrace(PTRACE_TRACEME, 0, NULL, NULL))
ACT(do_mount, mount("none", "/", "tmpfs", 0, NULL))
ACT(do_mmap, mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
ACT(do_mprotect, mprotect(NULL, 4096, PROT_EXEC))
ACT(do_ioctl, ioctl(0, TIOCSTI, ""))
ACT(do_fcntl, fcntl(0, F_SETOWN, 1))
ACT(do_clone, syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))
ACT(do_namespace, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0))
ACT(do_tgkill, syscall(SYS_tgkill, 1, 1, 0))
ACT(do_kill, kill(getpid(), 0))
ACT(do_uring, syscall(425, 1, NULL))
ACT(do_unlink, unlinkat(-1, "x", 0))
ACT(do_setuid, syscall(SYS_setresuid, -1, -1, -1))
ACT(do_flock, flock(-1, 0))
ACT(do_unknown, syscall(511))
ACT(do_prctl, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ACT(do_name, prctl(PR_SET_NAME, "x", 0, 0, 0))
ACT(do_membarrier, syscall(SYS_membarrier,
			   MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0))

#define EVERYTHING (WRITES | ACTS | MAPS | PROC | NO_PROC | LOCKS | \
		    HANDLES | XATTRS)

static void test_allowed(void)
{
	CHECK_EQ(under(EVERYTHING, false, harmless), 0);
	CHECK_EQ(under(EVERYTHING | KEEPER, false, harmless), 0);
	CHECK_STR(said, "");
}

static void test_refused(void)
{
	static const struct {
		int (*act)(void);
		const char *name;
	} bad[] = {
		{ do_socket, "socket" }, { do_exec, "execve" },
		{ do_ptrace, "ptrace" }, { do_mount, "mount" },
		{ do_mmap, "mmap" }, { do_mprotect, "mprotect" },
		{ do_ioctl, "ioctl" }, { do_fcntl, "fcntl" },
		{ do_clone, "clone" }, { do_namespace, "clone" },
		{ do_tgkill, "tgkill" }, { do_kill, "kill" },
		{ do_uring, "io_uring_setup" }, { do_prctl, "prctl" },
		{ do_name, "prctl" },
	};
	char want[128];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(under(EVERYTHING, false, bad[i].act),
			 FS_EXIT_SECCOMP);
		snprintf(want, sizeof(want), "vmshare: error: the file server "
			 "made the system call %s, number ", bad[i].name);
		if (strncmp(said, want, strlen(want)) != 0)
			printf("# said: %s", said);
		CHECK(!strncmp(said, want, strlen(want)));
		CHECK(said[strlen(said) - 1] == '\n');
	}
	CHECK_EQ(under(EVERYTHING, false, do_unknown), FS_EXIT_SECCOMP);
	CHECK(strstr(said, "number 511, "));
	CHECK_EQ(under(EVERYTHING, false, do_membarrier), FS_EXIT_SECCOMP);
}

/* A configuration has no more than it needs. */
static void test_configurations(void)
{
	CHECK_EQ(under(WRITES, false, do_unlink), 0);
	CHECK_EQ(under(0, false, do_unlink), FS_EXIT_SECCOMP);
	CHECK_EQ(under(ACTS, false, do_setuid), 0);
	CHECK_EQ(under(WRITES, false, do_setuid), FS_EXIT_SECCOMP);
	CHECK_EQ(under(LOCKS, false, do_flock), 0);
	CHECK_EQ(under(WRITES, false, do_flock), FS_EXIT_SECCOMP);
}

static int clone_worker(void)
{
	long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	int status;

	if (!pid) {
		/* Its own comes on top, and takes the keeper's away. */
		if (install(EVERYTHING, false))
			_exit(1);
		/* As the one who ends another thread's wait for a lock. */
		if (syscall(SYS_tgkill, getpid(), getpid(), 0))
			_exit(4);
		do_clone();
		_exit(2);
	}
	if (pid < 0 || waitpid((pid_t)pid, &status, 0) < 0)
		return 3;
	return WEXITSTATUS(status);
}

static void test_keeper(void)
{
	CHECK_EQ(under(EVERYTHING | KEEPER, false, clone_worker),
		 FS_EXIT_SECCOMP);
	CHECK(strstr(said, "system call clone"));
	CHECK_EQ(under(EVERYTHING | KEEPER, false, do_namespace),
		 FS_EXIT_SECCOMP);
	CHECK_EQ(under(EVERYTHING | KEEPER, false, do_clone), FS_EXIT_SECCOMP);
	CHECK_EQ(under(EVERYTHING | KEEPER, false, do_name), 0);
	CHECK_EQ(under(EVERYTHING | KEEPER, false, do_prctl), FS_EXIT_SECCOMP);
}

/* What is declined otherwise; sanitizers can't do without. */
static int undeclined(void)
{
	cpu_set_t cpus;

	/* The kernel's answer to an affinity is a size. */
	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return 1;
	return syscall(SYS_clone3, NULL, 0) != -1 || errno == ENOSYS;
}

static void test_log(void)
{
	CHECK_EQ(under(EVERYTHING, true, do_socket), 0);
	CHECK_EQ(under(EVERYTHING, true, do_flock), 0);
	CHECK_EQ(under(EVERYTHING, true, undeclined), 0);
}

/* How many this process has, its parents' as well; -1 before Linux 5.9. */
static int filters(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	int nr = -1;

	while (f && nr < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "Seccomp_filters: %d", &nr) != 1)
			nr = -1;
	if (f)
		fclose(f);
	return nr;
}

/* seccomp=none, by what the program calls. */
static int unfiltered(void)
{
	struct fs fs = { .options.seccomp = false };
	int before = filters();

	if (fs_seccomp_keeper(&fs.options) || seccomp_worker(&fs))
		return 1;
	return filters() != before ? 2 : do_socket();
}

static int filtered(void)
{
	struct fs_options o = { .seccomp = true };

	return fs_seccomp_keeper(&o) ? 1 : do_socket();
}

static void test_none(void)
{
	CHECK_EQ(in_child(unfiltered), 0);
	CHECK_EQ(in_child(filtered), FS_EXIT_SECCOMP);
}

static bool named(long nr, const char *name)
{
	size_t len;
	const char *is = call_name((unsigned int)nr, &len);

	if (is && len == strlen(name) && !strncmp(is, name, len))
		return true;
	printf("# %ld is not %s\n", nr, name);
	return false;
}

/* Numbers are counted off, so a few of each table vouch for all before. */
static void test_names(void)
{
#define NAMED(name) CHECK(named(SYS_##name, #name))
	size_t len;

	NAMED(read);
	NAMED(write);
	NAMED(close);
	NAMED(ioctl);
	NAMED(socket);
	NAMED(execve);
	NAMED(ptrace);
	NAMED(fstat);
	NAMED(newfstatat);
	NAMED(renameat);
	NAMED(epoll_pwait);
	NAMED(open_by_handle_at);
	NAMED(process_vm_writev);
	NAMED(finit_module);
	NAMED(memfd_create);
	NAMED(bpf);
	NAMED(execveat);
	NAMED(preadv2);
	NAMED(pwritev2);
	NAMED(statx);
	NAMED(rseq);
	NAMED(pidfd_send_signal);
	NAMED(io_uring_setup);
	NAMED(fspick);
	NAMED(pidfd_open);
	NAMED(clone3);
	NAMED(openat2);
	NAMED(faccessat2);
	NAMED(mount_setattr);
	NAMED(landlock_restrict_self);
	CHECK(named(452, "fchmodat2"));
	CHECK(named(463, "setxattrat"));
	CHECK(!call_name(400, &len));	/* between the tables */
	CHECK(!call_name(1u << 31, &len));
	CHECK(!call_name(4000, &len));
}

static unsigned int count(unsigned int config)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		bool again = false;

		for (size_t k = 0; k < i; k++)
			again |= rules[k].nr == rules[i].nr;
		n += !again && (rules[i].when & config) == rules[i].when;
	}
	return n;
}

static void test_size(void)
{
	const unsigned int usual = WRITES | PROC | LOCKS | XATTRS;

	printf("# passthrough %u, squash %u, mapped %u, ro %u calls\n",
	       count(usual | ACTS), count(usual), count(usual | MAPS),
	       count(ACTS | PROC | LOCKS | XATTRS));
	CHECK(count(usual | ACTS) <= 75);
	CHECK(count(usual | ACTS | HANDLES) <= 75);
	CHECK(count(usual | MAPS) <= 75);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "listed calls are made", test_allowed },
		{ "other calls end the process", test_refused },
		{ "each configuration has its calls only",
		  test_configurations },
		{ "a keeper's calls", test_keeper },
		{ "seccomp=log lets pass", test_log },
		{ "a blocked call is named", test_names },
		{ "seccomp=none has no filter", test_none },
		{ "the filter is small", test_size },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
