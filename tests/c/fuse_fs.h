/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FUSE_FS_H
#define VMSHARE_TESTS_FUSE_FS_H

/*
 * A file system of the test's own, by /dev/fuse, to be shared: its root has one
 * file "f", zeros, and can be told to fail an operation or to keep one waiting.
 * Another process answers, so that a test that fails can close what it opened.
 */

#include "fsserver/fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUSE_FS_SIZE	(1u << 20)
#define FUSE_FS_BUFFER	(256 * 1024)

/* Shared with that process. */
struct fuse_fs {
	char dir[64];
	int fd;
	pid_t pid;
	/* atomic: the opcode that fails, with which errno */
	uint32_t fail_op;
	int error;
	/* atomic: the opcode that waits; that one does; that it may go on */
	uint32_t hold_op;
	bool held, go_on;
	char *buf;			/* the thread's */
};

static inline void fuse_fs_answer(struct fuse_fs *f,
				  const struct fuse_in_header *in, int err,
				  const void *data, size_t len)
{
	static const char zeros[FUSE_FS_BUFFER];
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + (err ? 0 : len)),
		.error = err, .unique = in->unique,
	};
	struct iovec v[2] = { { &out, sizeof(out) },
			      { (void *)(uintptr_t)(data ? data : zeros),
				len } };

	/* ENOENT: whoever asked was interrupted. */
	(void)!writev(f->fd, v, err || !len ? 1 : 2);
}

static inline struct fuse_attr fuse_fs_attr(uint64_t node)
{
	return (struct fuse_attr){
		.ino = node, .nlink = 1, .blksize = 4096,
		.size = node == FUSE_ROOT_ID ? 0 : FUSE_FS_SIZE,
		.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644,
		.uid = geteuid(), .gid = getegid(),
	};
}

static inline void fuse_fs_init(struct fuse_fs *f,
				const struct fuse_in_header *in)
{
	struct fuse_init_out out = {
		.major = 7, .minor = 31,
		.flags = FUSE_BIG_WRITES | FUSE_WRITEBACK_CACHE,
		.max_readahead = 65536, .max_write = 65536,
		.max_background = 16, .congestion_threshold = 12,
		.time_gran = 1,
	};

	fuse_fs_answer(f, in, 0, &out, sizeof(out));
}

static inline void fuse_fs_run(struct fuse_fs *f,
			       const struct fuse_in_header *in)
{
	const void *arg = in + 1;
	struct fuse_entry_out entry = { .nodeid = 2, .attr = fuse_fs_attr(2) };
	struct fuse_attr_out attr = { .attr = fuse_fs_attr(in->nodeid) };
	struct fuse_open_out open = { .fh = 1 };
	struct fuse_write_out wrote;

	switch (in->opcode) {
	case FUSE_INIT:
		fuse_fs_init(f, in);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	case FUSE_LOOKUP:
		fuse_fs_answer(f, in, strcmp(arg, "f") ? -ENOENT : 0, &entry,
			       sizeof(entry));
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		fuse_fs_answer(f, in, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		fuse_fs_answer(f, in, 0, &open, sizeof(open));
		break;
	case FUSE_READ:
		fuse_fs_answer(f, in, 0, NULL,
			       ((const struct fuse_read_in *)arg)->size);
		break;
	case FUSE_WRITE:
		wrote = (struct fuse_write_out){
			.size = ((const struct fuse_write_in *)arg)->size,
		};
		fuse_fs_answer(f, in, 0, &wrote, sizeof(wrote));
		break;
	case FUSE_READDIR:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
		fuse_fs_answer(f, in, 0, NULL, 0);
		break;
	default:
		fuse_fs_answer(f, in, -ENOSYS, NULL, 0);
	}
}

static inline void fuse_fs_main(struct fuse_fs *f)
{
	const struct fuse_in_header *in = (const void *)f->buf;

	while (read(f->fd, f->buf, FUSE_FS_BUFFER) >= (ssize_t)sizeof(*in) ||
	       errno == EINTR || errno == ENOENT) {
		uint32_t op = in->opcode;

		if (op == __atomic_load_n(&f->fail_op, __ATOMIC_ACQUIRE)) {
			fuse_fs_answer(f, in, f->error, NULL, 0);
		} else if (op == __atomic_load_n(&f->hold_op,
						 __ATOMIC_ACQUIRE)) {
			__atomic_store_n(&f->held, true, __ATOMIC_RELEASE);
			while (!__atomic_load_n(&f->go_on, __ATOMIC_ACQUIRE))
				usleep(1000);
			fuse_fs_run(f, in);
		} else {
			fuse_fs_run(f, in);
		}
	}
	_exit(0);
}

static inline void fuse_fs_fail(struct fuse_fs *f, uint32_t opcode, int error)
{
	f->error = error;
	__atomic_store_n(&f->fail_op, opcode, __ATOMIC_RELEASE);
}

/* Before all threads: what a test that fails mounted goes away with it. */
static inline void fuse_fs_prepare(void)
{
	if (unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* Mount one on @dir. 0 or -errno: it takes root and /dev/fuse. */
static inline int fuse_fs_start(struct fuse_fs **out, const char *dir)
{
	struct fuse_fs *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char options[128];
	pid_t pid;
	int err;

	if (f == MAP_FAILED)
		return -errno;
	*out = f;
	snprintf(f->dir, sizeof(f->dir), "%s", dir);
	f->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other",
		 f->fd, geteuid(), getegid());
	if (mount("test", dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
		err = -errno;
		close(f->fd);
		return err;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		f->buf = malloc(FUSE_FS_BUFFER);
		fuse_fs_main(f);
	}
	close(f->fd);
	f->pid = pid;
	return pid < 0 ? -errno : 0;
}

static inline void fuse_fs_stop(struct fuse_fs *f)
{
	__atomic_store_n(&f->go_on, true, __ATOMIC_RELEASE);
	umount2(f->dir, MNT_DETACH);
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	munmap(f, sizeof(*f));
}

#endif
