/* SPDX-License-Identifier: MIT */
/*
 * Run a command on an old kernel, as far as its system calls go: those that
 * came after Linux 5.4 are answered with ENOSYS, to it and to all that it
 * starts.
 *
 *	old_kernel COMMAND [ARG...]
 *
 * What stays new is what no number tells: flags of older calls, file systems'
 * features, /proc, uname(2). That takes a real old kernel.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers are the same on all architectures since 5.1. */
#define FIRST	436		/* close_range, 5.9; 437 is openat2, 5.6 */
#define LAST	470

static int filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {
		.len = sizeof(code) / sizeof(code[0]), .filter = code,
	};

	/* Root can do so without giving up what set-id programs give. */
	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		return 0;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: old_kernel COMMAND [ARG...]\n");
		return 2;
	}
	if (filter()) {
		perror("old_kernel: seccomp");
		return 126;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "old_kernel: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
