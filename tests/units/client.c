/* SPDX-License-Identifier: MIT */
/*
 * Plays a guest's driver at a socket, with what hardening of a service is most
 * likely to take away from a share: owners, set-id bits, device nodes.
 *
 *	client SOCKET FILE [only]
 *
 * Reads FILE of the share, makes "made" of it, without "only" with another
 * owner and a set-id bit, and a device "node". Then each line of standard input
 * has the open FILE read again. Prints what it read, and a line for each error.
 */

#include "tests/frontend/fe.h"
#include "tests/frontend/client.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define ROOT 1

static int failed;

/* @got: what a request returned */
static void want(const char *what, int got)
{
	if (got >= 0)
		return;
	printf("%s: %s\n", what, strerror(-got));
	failed = 1;
}

static void make(struct fe *fe, const void *data, size_t len, bool only)
{
	struct fuse_entry_out e = {0}, node;
	uint64_t fh = 0;

	want("create", fe_create(fe, ROOT, "made", O_RDWR, 0644, &e, &fh));
	want("write", (int)fe_write(fe, e.nodeid, fh, 0, data, len));
	want("release", fe_release(fe, e.nodeid, fh));
	if (only)
		return;
	want("chown", fe_chown(fe, e.nodeid, 33, 44));
	want("chmod", fe_chmod(fe, e.nodeid, S_ISUID | 0755));
	want("mknod", fe_mknod(fe, ROOT, "node", S_IFCHR | 0600,
			       (uint32_t)makedev(1, 3), &node));
}

int main(int argc, char **argv)
{
	struct fe_opts opts = {.path = argv[1]};
	struct fuse_entry_out e = {0};
	char data[256], line[8];
	struct fe *fe = NULL;
	uint64_t fh = 0;
	ssize_t n;

	if (argc < 3)
		return 2;
	want("connect", fe_connect(&fe, &opts));
	if (failed)
		return 1;
	want("init", fe_fuse_init(fe, 0));
	want("lookup", fe_lookup(fe, ROOT, argv[2], &e));
	want("open", fe_open(fe, e.nodeid, O_RDONLY, &fh));
	n = fe_read(fe, e.nodeid, fh, 0, data, sizeof(data));
	want("read", (int)n);
	if (!failed)
		make(fe, data, (size_t)n, argc > 3);
	while (!failed && n > 0) {
		printf("%.*s", (int)n, data);
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			break;
		n = fe_read(fe, e.nodeid, fh, 0, data, sizeof(data));
		want("read", (int)n);
		printf("again ");
	}
	return failed;
}
