/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The tests' own front end, tried on a server that is not ours: QEMU 7.2's C
 * virtiofsd. What fails here is the front end's fault, so that a failure of
 * the other suites is the server's. Skipped where that server is missing or
 * the user is not root.
 */

#include "tests/c/check.h"
#include "tests/c/xattrs.h"
#include "tests/frontend/fe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef SEEK_HOLE
#define SEEK_HOLE 4
#endif

static struct fe_server server;
static char share[64];
static struct fe *fe;

static int open_up(const struct fe_opts *wanted)
{
	struct fe_opts opts = *wanted;
	const char *argv[12];
	char text[128];
	int ret;

	snprintf(share, sizeof(share), "/tmp/vmshare-share.XXXXXX");
	if (!mkdtemp(share))
		return -errno;
	ret = fe_server_command("virtiofsd", share, argv, text, sizeof(text));
	if (ret < 0)
		return ret;
	argv[4] = "-o";
	argv[5] = "xattr,posix_lock,flock";
	argv[6] = NULL;
	ret = fe_server_start(&server, argv, true);
	if (ret < 0)
		return ret;
	opts.path = server.path;
	ret = fe_connect(&fe, &opts);
	return ret < 0 ? ret : fe_fuse_init(fe, 0);
}

static void shut(void)
{
	char command[96];

	fe_close(fe);
	fe = NULL;
	fe_server_stop(&server);
	snprintf(command, sizeof(command), "rm -rf %s", share);
	if (system(command) != 0)
		printf("# could not remove %s\n", share);
}

static bool usable(void)
{
	return geteuid() == 0 && access(FE_VIRTIOFSD, X_OK) == 0;
}

static int count(const struct fe_dirent *d, void *arg)
{
	if (d->name[0] != '.')
		++*(int *)arg;
	return 0;
}

static void names(void)
{
	struct fuse_entry_out d, e, e2;
	char buf[64];
	int n = 0;

	CHECK_EQ(fe_mkdir(fe, FUSE_ROOT_ID, "dir", 0755, &d), 0);
	CHECK_EQ(fe_symlink(fe, d.nodeid, "sym", "target", &e), 0);
	CHECK_EQ(fe_readlink(fe, e.nodeid, buf, sizeof(buf)), 0);
	CHECK_STR(buf, "target");
	CHECK_EQ(fe_mknod(fe, d.nodeid, "node", S_IFREG | 0600, 0, &e), 0);
	CHECK_EQ(fe_link(fe, e.nodeid, d.nodeid, "link", &e2), 0);
	CHECK_EQ(e.nodeid, e2.nodeid);
	CHECK_EQ(e2.attr.nlink, 2);
	CHECK_EQ(fe_rename(fe, d.nodeid, "link", FUSE_ROOT_ID, "moved"), 0);
	CHECK_EQ(fe_rename2(fe, d.nodeid, "node", FUSE_ROOT_ID, "moved", 1),
		 -EEXIST);
	CHECK_EQ(fe_list(fe, d.nodeid, false, count, &n), 0);
	CHECK_EQ(n, 2);
	n = 0;
	CHECK_EQ(fe_list(fe, d.nodeid, true, count, &n), 0);
	CHECK_EQ(n, 2);
	CHECK_EQ(fe_walk(fe, "dir/sym", &e), 0);
	CHECK_EQ(fe_forget(fe, e.nodeid, 1), 0);
	CHECK_EQ(fe_rmdir(fe, FUSE_ROOT_ID, "dir"), -ENOTEMPTY);
	CHECK_EQ(fe_unlink(fe, d.nodeid, "sym"), 0);
	CHECK_EQ(fe_unlink(fe, d.nodeid, "node"), 0);
	CHECK_EQ(fe_rmdir(fe, FUSE_ROOT_ID, "dir"), 0);
	CHECK_EQ(fe_lookup(fe, FUSE_ROOT_ID, "dir", &e), -ENOENT);
	CHECK_EQ(fe_unlink(fe, FUSE_ROOT_ID, "moved"), 0);
}

static void attributes(uint64_t node, uint64_t fh)
{
	struct fuse_attr_out a;
	struct fuse_kstatfs st;
	char buf[64];

	CHECK_EQ(fe_chmod(fe, node, 0640), 0);
	CHECK_EQ(fe_chown(fe, node, 12, 34), 0);
	CHECK_EQ(fe_truncate(fe, node, 77), 0);
	CHECK_EQ(fe_utimens(fe, node, 1000, 2000), 0);
	CHECK_EQ(fe_fgetattr(fe, node, fh, &a), 0);
	CHECK_EQ(a.attr.mode, S_IFREG | 0640);
	CHECK_EQ(a.attr.uid, 12);
	CHECK_EQ(a.attr.gid, 34);
	CHECK_EQ(a.attr.size, 77);
	CHECK_EQ(a.attr.mtime, 2000);
	CHECK_EQ(fe_statfs(fe, node, &st), 0);
	CHECK(st.bsize > 0);
	CHECK_EQ(fe_setxattr(fe, node, "user.a", "value", 5, 0), 0);
	CHECK_EQ(fe_getxattr(fe, node, "user.a", NULL, 0), 5);
	CHECK_EQ(fe_getxattr(fe, node, "user.a", buf, sizeof(buf)), 5);
	CHECK_EQ(memcmp(buf, "value", 5), 0);
	CHECK_EQ(fe_listxattr(fe, node, buf, sizeof(buf)), 7);
	CHECK_EQ(fe_removexattr(fe, node, "user.a"), 0);
	CHECK_EQ(fe_getxattr(fe, node, "user.a", NULL, 0), -ENODATA);
}

static void locks(uint64_t node, uint64_t fh)
{
	struct fuse_file_lock lk = { .start = 0, .end = 9, .type = F_WRLCK };

	CHECK_EQ(fe_setlk(fe, node, fh, 1, &lk, false, false), 0);
	CHECK_EQ(fe_setlk(fe, node, fh, 2, &lk, false, false), -EAGAIN);
	CHECK_EQ(fe_getlk(fe, node, fh, 2, &lk), 0);
	CHECK_EQ(lk.type, F_WRLCK);
	lk.type = F_UNLCK;
	CHECK_EQ(fe_setlk(fe, node, fh, 1, &lk, false, false), 0);
	lk.type = F_WRLCK;
	CHECK_EQ(fe_setlk(fe, node, fh, 1, &lk, false, true), 0);
}

#define BIG 400000u

static void data(uint64_t node, uint64_t fh)
{
	uint8_t *out = malloc(BIG), *in = calloc(BIG, 1);
	ssize_t wrote = 0, n = 1;
	size_t got = 0;

	CHECK(out && in);
	for (size_t i = 0; i < BIG; i++)
		out[i] = (uint8_t)(i * 2654435761u >> 16);
	for (size_t off = 0; off < BIG && n > 0; off += (size_t)n) {
		n = BIG - off < 65000 ? (ssize_t)(BIG - off) : 65000;
		n = fe_write(fe, node, fh, off, out + off, (size_t)n);
		wrote += n;
	}
	CHECK_EQ(wrote, BIG);
	n = 1;
	while (got < BIG && n > 0) {
		n = fe_read(fe, node, fh, got, in + got,
			    BIG - got < 100001 ? BIG - got : 100001);
		got += (size_t)n;
	}
	CHECK_EQ(got, BIG);
	CHECK_EQ(memcmp(out, in, BIG), 0);
	CHECK_EQ(fe_read(fe, node, fh, BIG, in, 10), 0);
	CHECK_EQ(fe_read(fe, node, fh, BIG - 3, in, 10), 3);
	CHECK_EQ(fe_fallocate(fe, node, fh, 0, 0, 2 * BIG), 0);
	CHECK_EQ(fe_lseek(fe, node, fh, 0, SEEK_HOLE) > 0, 1);
	CHECK_EQ(fe_copy_file_range(fe, node, fh, 0, node, fh, BIG, 1000),
		 1000);
	CHECK_EQ(fe_flush(fe, node, fh, 1), 0);
	CHECK_EQ(fe_fsync(fe, node, fh, true), 0);
	free(out);
	free(in);
}

static void depth(uint64_t node, uint64_t fh)
{
	struct fuse_read_in arg = { .fh = fh, .size = 4096 };
	struct fe_req *req[16];
	struct fe_call c = {
		.opcode = FUSE_READ,
		.nodeid = node,
		.in = { { &arg, sizeof(arg) } },
		.dst_size = 4096,
	};

	for (int i = 0; i < 16; i++) {
		arg.offset = (uint64_t)i * 4096;
		CHECK_EQ(fe_call_start(fe, &c, &req[i]), 0);
	}
	for (int i = 15; i >= 0; i--) {
		uint8_t byte;

		CHECK_EQ(fe_finish(req[i]), 0);
		CHECK_EQ(req[i]->got, 4096);
		fe_data_out(req[i], 1, &byte, 1);
		CHECK_EQ(byte, (uint8_t)(((unsigned)i * 4096 + 1) *
					 2654435761u >> 16));
		fe_req_free(req[i]);
	}
}

static void body(const struct fe_opts *opts)
{
	struct fuse_entry_out e;
	uint64_t fh;

	CHECK_EQ(open_up(opts), 0);
	CHECK_EQ(fe->init.major, 7);
	names();
	if (check_failed)
		return;
	CHECK_EQ(fe_create(fe, FUSE_ROOT_ID, "f", O_RDWR, 0600, &e, &fh), 0);
	data(e.nodeid, fh);
	if (!check_failed)
		depth(e.nodeid, fh);
	if (!check_failed)
		attributes(e.nodeid, fh);
	if (!check_failed)
		locks(e.nodeid, fh);
	CHECK_EQ(check_failed, 0);
	CHECK_EQ(fe_release(fe, e.nodeid, fh), 0);
	CHECK_EQ(fe_stop(fe), 0);
	CHECK_EQ(fe_start(fe), 0);
	CHECK_EQ(fe_lookup(fe, FUSE_ROOT_ID, "f", &e), 0);
}

static void run_all(const struct fe_opts *opts)
{
	if (!usable())
		SKIP("needs root and " FE_VIRTIOFSD);
	if (!tmp_has_xattrs())
		SKIP("no user. attributes on /tmp");
	body(opts);
	if (fe && fe_fault(fe)[0])
		printf("# %s\n", fe_fault(fe));
	shut();
}

static void defaults(void)
{
	run_all(&(struct fe_opts){ 0 });
}

static void no_extras(void)
{
	run_all(&(struct fe_opts){ .no_indirect = true, .no_event_idx = true,
				   .no_reply_ack = true });
}

static void regions(void)
{
	run_all(&(struct fe_opts){ .regions = 8, .scatter = true,
				   .ring_size = 1024 });
}

static void mem_slots(void)
{
	run_all(&(struct fe_opts){ .regions = 3, .mem_slots = true,
				   .blocking = true, .no_event_idx = true });
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "defaults", defaults },
		{ "no indirect, no event index, no ack", no_extras },
		{ "eight regions, scattered pages, a big ring", regions },
		{ "memory slots, blocking waits", mem_slots },
	};

	return check_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
