/* SPDX-License-Identifier: MIT */
/*
 * The system calls that a share's processes may make after their set-up, each
 * with what needs it. Some have a condition on one argument: no memory becomes
 * executable, clone() makes only threads, an ioctl is one of four about a
 * file's flags, a signal goes to the process itself.
 *
 * A rule applies to the configurations in `when`, so that a worker may make
 * only the calls that its configuration uses. The keeper's filter is installed
 * first and inherited by its workers; so it allows all of their calls, and
 * those that the keeper needs to make and await workers. A worker adds its own
 * filter, for all its threads, after its set-up.
 *
 * Where C libraries, or versions of one, make different calls for the same
 * function, all of them are listed: a static binary contains the C library of
 * the machine that built it.
 *
 * A call that is not listed traps: the handler names it on stderr and ends the
 * process with FS_EXIT_SECCOMP, and the keeper then ends the share. Calls that
 * the C library tries but can do without fail with an error: above all
 * clone3(), whose arguments are in memory, which a filter can't read. With
 * seccomp=log the kernel logs both kinds and allows them; with seccomp=none
 * neither keeper nor worker has a filter.
 *
 * On kernels from 5.11 rules that depend on the number alone cost nothing,
 * since the kernel caches them; on older ones the order of the table matters.
 */

#include "fsserver/confine/confine.h"
#include "fsserver/confine/private.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#error "seccomp.c knows x86-64 and aarch64"
#endif

/* Configurations to which a rule applies. */
enum {
	ALWAYS	= 0,
	WRITES	= 1 << 0,	/* not ro */
	ACTS	= 1 << 1,	/* access=passthrough: callers' credentials */
	MAPS	= 1 << 2,	/* access=mapped */
	PROC	= 1 << 3,	/* there is a procfs */
	NO_PROC	= 1 << 4,
	LOCKS	= 1 << 5,
	HANDLES	= 1 << 6,	/* inode-handles=on */
	XATTRS	= 1 << 7,
	KEEPER	= 1 << 8,
};

#define MAX_VALUES 12
#define ANY_ARG (-1)
#define NO_VALUE UINT32_MAX

struct rule {
	long nr;
	unsigned int when;	/* all of these must be set */
	int arg;		/* ANY_ARG, or the argument to check: */
	uint32_t mask;		/* its low 32 bits, masked, must be one of */
	uint32_t values[MAX_VALUES];	/* these, up to the first NO_VALUE */
};

#define CALL(name, when) { SYS_##name, when, ANY_ARG, 0, { NO_VALUE } }
#define ONLY(name, when, arg, mask, ...) \
	{ SYS_##name, when, arg, mask, { __VA_ARGS__, NO_VALUE } }

/* glibc's flags for a thread; musl adds CLONE_DETACHED, without effect. */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | \
		      CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
		      CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define CLONE_MASK (~(uint32_t)CLONE_DETACHED)

#define SELF 0xfffffffeu	/* replaced by the process's id */

static const struct rule rules[] = {
	/* the ring and its threads */
#ifdef SYS_epoll_wait
	CALL(epoll_wait, ALWAYS),	/* a leader sleeps */
#endif
	CALL(epoll_pwait, ALWAYS),
	CALL(write, ALWAYS),		/* call and wake eventfds, stderr */
	CALL(futex, ALWAYS),		/* followers, mutexes */
	/* files */
	CALL(statx, ALWAYS),		/* GETATTR, LOOKUP */
	CALL(preadv2, ALWAYS),		/* READ */
	CALL(pwritev2, WRITES),		/* WRITE */
	CALL(openat2, ALWAYS),		/* nodes, OPEN */
	CALL(openat, ALWAYS),		/* the procfs; kernels before 5.6 */
	CALL(close, ALWAYS),
	CALL(getdents64, ALWAYS),	/* READDIR */
	CALL(lseek, ALWAYS),		/* LSEEK, READDIR */
	CALL(readlinkat, ALWAYS),	/* READLINK */
	CALL(faccessat2, ALWAYS),	/* ACCESS */
	CALL(fstatfs, ALWAYS),		/* STATFS, type of a file system */
	CALL(fstat, ALWAYS),		/* fstat() is one or the other */
	CALL(newfstatat, ALWAYS),
	CALL(fsync, ALWAYS),		/* FSYNC */
	CALL(fdatasync, ALWAYS),	/* FSYNC */
	CALL(syncfs, ALWAYS),		/* SYNCFS */
	CALL(unlinkat, WRITES),		/* UNLINK, RMDIR */
	CALL(mkdirat, WRITES),		/* MKDIR */
	CALL(mknodat, WRITES),		/* MKNOD */
	CALL(symlinkat, WRITES),	/* SYMLINK */
	CALL(linkat, WRITES),		/* LINK */
	CALL(renameat2, WRITES),	/* RENAME, RENAME2 */
	CALL(fchmodat, WRITES),		/* SETATTR */
	CALL(fchmod, WRITES | NO_PROC),	/* SETATTR */
	CALL(fchownat, WRITES),		/* SETATTR */
	CALL(utimensat, WRITES),	/* SETATTR */
	CALL(ftruncate, ALWAYS),	/* SETATTR; the inflight buffer */
	CALL(fallocate, ALWAYS),	/* FALLOCATE; arena pages given back */
	CALL(copy_file_range, WRITES),	/* COPY_FILE_RANGE */
	ONLY(ioctl, ALWAYS, 1, UINT32_MAX,	/* IOCTL: chattr, lsattr */
	     (uint32_t)FS_IOC_GETFLAGS, (uint32_t)FS_IOC_SETFLAGS,
	     (uint32_t)FS_IOC_FSGETXATTR, (uint32_t)FS_IOC_FSSETXATTR),
	CALL(getxattr, PROC | XATTRS),	/* GETXATTR, by "self/fd/N" */
	CALL(listxattr, PROC | XATTRS),
	CALL(setxattr, PROC | XATTRS | WRITES),
	CALL(removexattr, PROC | XATTRS | WRITES),
	CALL(fgetxattr, NO_PROC | XATTRS),	/* the same without */
	CALL(flistxattr, NO_PROC | XATTRS),
	CALL(fsetxattr, NO_PROC | XATTRS | WRITES),
	CALL(fremovexattr, NO_PROC | XATTRS | WRITES),
	CALL(lgetxattr, MAPS),		/* owners, by "self/fd/N/NAME" */
	CALL(lsetxattr, MAPS | WRITES),
	CALL(name_to_handle_at, ALWAYS),	/* no birth times */
	CALL(open_by_handle_at, HANDLES),
	/* locks */
	CALL(flock, LOCKS),
	ONLY(fcntl, ALWAYS, 1, UINT32_MAX, F_DUPFD_CLOEXEC, F_GETFL, F_GETFD,
	     F_SETFD,			/* musl's F_DUPFD_CLOEXEC */
	     F_SETFL,			/* the end of O_APPEND */
	     F_GET_SEALS, F_ADD_SEALS,	/* TMPFILE; the front end's memory */
	     F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW),
	CALL(dup3, ALWAYS),		/* MSI-X masking; lock upgrade */
	/* credentials of the caller */
	CALL(setresuid, ACTS),
	CALL(setresgid, ACTS),
	CALL(setgroups, ACTS),
	CALL(capset, ACTS),		/* the same; CAP_FSETID */
	/* the connection */
	CALL(recvmmsg, ALWAYS),
	CALL(sendmmsg, ALWAYS),
#ifdef SYS_poll
	CALL(poll, ALWAYS),
#endif
	CALL(ppoll, ALWAYS),
	CALL(read, ALWAYS),		/* the wake eventfd; fdinfo */
	CALL(accept4, ALWAYS),		/* serve: the next front end */
	CALL(eventfd2, ALWAYS),		/* a ring's wake-up */
	CALL(epoll_create1, ALWAYS),
	CALL(epoll_ctl, ALWAYS),
	CALL(memfd_create, ALWAYS),	/* the inflight buffer */
	/* memory and threads, for the C library mostly */
	ONLY(mmap, ALWAYS, 2, PROT_EXEC, 0),
	ONLY(mprotect, ALWAYS, 2, PROT_EXEC, 0),
	CALL(munmap, ALWAYS),
	CALL(madvise, ALWAYS),
	ONLY(clone, ALWAYS, 0, CLONE_MASK, THREAD_FLAGS),
	CALL(rseq, ALWAYS),
	CALL(rt_sigprocmask, ALWAYS),	/* threads; lock waiters */
	CALL(rt_sigreturn, ALWAYS),
	ONLY(tgkill, ALWAYS, 0, UINT32_MAX, SELF),	/* lock waiters */
	CALL(getpid, ALWAYS),		/* pthread_kill() */
	CALL(gettid, ALWAYS),		/* sys_raise() */
#ifndef __GLIBC__
	CALL(tkill, ALWAYS),		/* pthread_kill() of musl */
#endif
	ONLY(membarrier, ALWAYS, 0, UINT32_MAX,	/* a new memory table */
	     MEMBARRIER_CMD_PRIVATE_EXPEDITED,
	     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED), /* musl: threads */
	CALL(clock_nanosleep, ALWAYS),	/* nanosleep() is one or the other */
	CALL(nanosleep, ALWAYS),
	CALL(clock_gettime, ALWAYS),	/* where the vDSO has no clock */
	CALL(restart_syscall, ALWAYS),	/* after a stop */
	CALL(exit, ALWAYS),		/* a thread */
	CALL(exit_group, ALWAYS),
	/* the keeper's, and a worker's until it is set up */
	ONLY(clone, KEEPER, 0, UINT32_MAX, CLONE_FILES | SIGCHLD),
	CALL(wait4, KEEPER),
	CALL(getppid, KEEPER),
	CALL(kill, KEEPER),
	CALL(tgkill, KEEPER),	/* workers to themselves; their own filter
				 * checks the process id */
	ONLY(prctl, KEEPER, 0, UINT32_MAX, PR_SET_PDEATHSIG, PR_SET_NAME,
	     PR_SET_NO_NEW_PRIVS),
	CALL(seccomp, KEEPER),
	CALL(umask, KEEPER),
	CALL(fchdir, KEEPER),
	CALL(prlimit64, KEEPER),
	CALL(capget, KEEPER),
	CALL(rt_sigaction, KEEPER),
	CALL(membarrier, KEEPER),
	CALL(sched_getaffinity, KEEPER),
	CALL(close_range, KEEPER),	/* descriptors of a dead worker */
};

/* Calls that the C library tries and can do without. */
static const struct {
	long nr;
	int error;
} declined[] = {
	{ SYS_clone3, ENOSYS },		/* then it uses clone() */
	{ SYS_mremap, ENOMEM },		/* realloc(): then it copies */
	{ SYS_brk, 0 },			/* malloc(): then mmap(); it returns
					 * the end of the heap, here none */
	{ SYS_set_robust_list, ENOSYS }, /* threads: no robust mutex is used */
	{ SYS_sched_getaffinity, EPERM }, /* malloc(): then two arenas */
	{ SYS_rt_sigaction, EPERM },	/* abort(), which kills all the same */
};

/* ---- the assembler ------------------------------------------------------ */

#define MAX_PROGRAM 1024

struct program {
	struct sock_filter code[MAX_PROGRAM];
	unsigned int len;
};

static void emit(struct program *p, unsigned int code, unsigned int jt,
		 unsigned int jf, uint32_t k)
{
	if (p->len < MAX_PROGRAM)
		p->code[p->len] = (struct sock_filter){
			(uint16_t)code, (uint8_t)jt, (uint8_t)jf, k,
		};
	p->len++;
}

static void load(struct program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static unsigned int nr_values(const struct rule *r)
{
	unsigned int n = 0;

	while (n < MAX_VALUES && r->values[n] != NO_VALUE)
		n++;
	return n;
}

/*
 * The accumulator has the system call's number before the rule, and again after
 * it where the rule does not allow the call. The same call may have several
 * rules with an argument.
 */
static void emit_rule(struct program *p, const struct rule *r)
{
	unsigned int n = nr_values(r);

	if (r->arg == ANY_ARG) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)r->nr);
		emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
		return;
	}
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, n + 5, (uint32_t)r->nr);
	/* Little endian: the low half comes first. */
	load(p, offsetof(struct seccomp_data, args) +
		(unsigned int)r->arg * sizeof(uint64_t));
	emit(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, r->mask);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t v = r->values[i] == SELF ? (uint32_t)getpid() :
						    r->values[i];

		/* If equal, jump over the rest and the JA to the RET. */
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, n - i, 0, v);
	}
	emit(p, BPF_JMP | BPF_JA, 0, 0, 1);
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	load(p, offsetof(struct seccomp_data, nr));
}

static void emit_program(struct program *p, unsigned int config, bool log_only)
{
	p->len = 0;
	load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, OWN_ARCH);
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if ((rules[i].when & config) == rules[i].when)
			emit_rule(p, &rules[i]);
	for (size_t i = 0; !log_only && i < ARRAY_SIZE(declined); i++) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1,
		     (uint32_t)declined[i].nr);
		emit(p, BPF_RET | BPF_K, 0, 0,
		     SECCOMP_RET_ERRNO | (uint32_t)declined[i].error);
	}
	emit(p, BPF_RET | BPF_K, 0, 0,
	     log_only ? SECCOMP_RET_LOG : SECCOMP_RET_TRAP);
}

/* ---- the violation ------------------------------------------------------ */

struct message {
	char text[160];
	size_t len;
};

/* Async-signal-safe, unlike snprintf(). */
static void put_char(struct message *m, char c)
{
	if (m->len < sizeof(m->text))
		m->text[m->len++] = c;
}

static void put(struct message *m, const char *s)
{
	while (*s)
		put_char(m, *s++);
}

static void violation(int sig, siginfo_t *info, void *context)
{
	char number[12] = "", *at = number + sizeof(number) - 1;
	unsigned int nr = (unsigned int)info->si_syscall;
	struct message m = { .len = 0 };
	const char *name;
	size_t len;

	(void)sig;
	(void)context;
	put(&m, "vmshare: error: the file server made the system call ");
	name = call_name(nr, &len);
	while (name && len--)
		put_char(&m, *name++);
	if (name)
		put(&m, ", ");
	do {
		*--at = (char)('0' + nr % 10);
		nr /= 10;
	} while (nr);
	put(&m, "number ");
	put(&m, at);
	put(&m, ", which it never needs: its share ends\n");
	(void)!write(STDERR_FILENO, m.text, m.len);
	_exit(FS_EXIT_SECCOMP);
}

static int install(unsigned int config, bool log_only)
{
	struct sigaction act = { .sa_sigaction = violation,
				 .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sock_fprog prog;
	struct program p;

	emit_program(&p, config, log_only);
	if (p.len > MAX_PROGRAM)
		return -E2BIG;
	if (sigaction(SIGSYS, &act, NULL) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	prog = (struct sock_fprog){ (unsigned short)p.len, p.code };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		    SECCOMP_FILTER_FLAG_TSYNC, &prog))
		return -errno;
	return 0;
}

static unsigned int config_of(const struct fs_options *o, bool proc)
{
	unsigned int config = proc ? PROC : NO_PROC;

	if (!o->readonly)
		config |= WRITES;
	if (o->access == FS_ACCESS_PASSTHROUGH)
		config |= ACTS;
	if (o->access == FS_ACCESS_MAPPED)
		config |= MAPS | XATTRS;
	if (o->xattr)
		config |= XATTRS;
	if (o->posix_lock || o->flock)
		config |= LOCKS;
	if (o->inode_handles)
		config |= HANDLES;
	return config;
}

int fs_seccomp_keeper(const struct fs_options *o)
{
	if (!o->seccomp)
		return 0;
	return install(config_of(o, true) | NO_PROC | KEEPER, o->seccomp_log);
}

int seccomp_worker(struct fs *fs)
{
	if (!fs->options.seccomp)
		return 0;
	return install(config_of(&fs->options, fs->place.proc >= 0),
		       fs->options.seccomp_log);
}
