/* SPDX-License-Identifier: MIT */
/*
 * Which OFD locks a descriptor has. No system call tells; the procfs does, in
 * lines of the descriptor's fdinfo, which the kernel writes for one open file
 * description at a time. It is the server's own procfs and its own descriptor,
 * so nothing here comes from a guest.
 */

#include "fsserver/ops/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * One "lock:" line of fdinfo. Return: whether it is one of an OFD lock.
 *
 *   lock:  1: OFDLCK ADVISORY  WRITE -1 08:01:4711 0 EOF
 */
static bool parse_held(const char *line, struct flock *held)
{
	char kind[8], type[8], end[24];
	long long start;

	if (sscanf(line, "lock: %*d: %7s %*s %7s %*d %*s %lld %23s", kind, type,
		   &start, end) != 4 || strcmp(kind, "OFDLCK") != 0)
		return false;
	*held = (struct flock){
		.l_type = strcmp(type, "WRITE") ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = start,
	};
	if (strcmp(end, "EOF") != 0)
		held->l_len = strtoll(end, NULL, 10) - start + 1;
	return true;
}

int locks_of(struct fs_worker *w, int fd,
	     int (*see)(void *ctx, struct flock *held), void *ctx)
{
	char path[40], *line, *next;
	struct flock held;
	size_t len = 0;
	ssize_t n;
	int info, ret = 0;

	snprintf(path, sizeof(path), "self/fdinfo/%d", fd);
	info = openat(w->fs->place.proc, path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	while (len < FS_SCRATCH - 1 &&
	       (n = read(info, w->scratch + len, FS_SCRATCH - 1 - len)) > 0)
		len += (size_t)n;
	close(info);
	w->scratch[len] = '\0';
	for (line = w->scratch; line && !ret; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (parse_held(line, &held))
			ret = see(ctx, &held);
	}
	/* More than a thousand: the rest is not known. */
	return !ret && len == FS_SCRATCH - 1 ? -EOVERFLOW : ret;
}
