/* rooms: tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * What a hostile guest tries with numbers and amounts, against the program:
 * nodes and handles that it made up, more of everything than it may have,
 * a share it may not write to, what is mounted below, and a directory that
 * the host moves away under it.
 */

#include <sys/mount.h>	/* before <linux/fs.h>, or older C libraries fail */

#include "attack_rig.h"
#include "bad_rings.h"

#include <poll.h>
#include <sched.h>

/* ---- more than there is ------------------------------------------------- */

static void too_many(void)
{
	CHECK_EQ(make_place(false), 0);
	CHECK_EQ(serve(geteuid() ? "access=squash,open-files=128" :
				   "open-files=128", NULL), 0);
	attempt_many(128);
	CHECK(!check_failed && unharmed());
}

/* ---- words -------------------------------------------------------------- */

/* Break ring 1 and see that the server has seen it. */
static bool break_ring(void)
{
	struct bad b = { .fe = fe, .r = &fe->ring[1] };
	struct pollfd p = { .fd = b.r->err, .events = POLLIN };
	uint64_t index = 1;

	if (fe_set(fe, VHU_SET_VRING_ERR, &index, sizeof(index), &b.r->err, 1))
		return false;
	index_jumps(&b);
	fe_kick_always(b.r);
	return poll(&p, 1, 20000) == 1;
}

/* A broken ring is worth a word, thirty are not worth thirty. */
static void quiet(void)
{
	struct fe_opts again;
	char log[128];

	CHECK_EQ(make_place(false), 0);
	snprintf(log, sizeof(log), "%s/log", top);
	setenv("FE_SERVER_LOG", log, 1);
	CHECK_EQ(serve(geteuid() ? "access=squash" : "rw", NULL), 0);
	again = fe->opts;
	for (int i = 0; i < 30; i++) {
		CHECK(break_ring());
		fe_close(fe);
		fe = NULL;
		CHECK_EQ(fe_connect(&fe, &again), 0);
	}
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	CHECK(unharmed());
	CHECK_EQ(sh("grep -q 'the guest broke queue 1: available index jumps' "
		    "log && test $(wc -l <log) -lt 10"), 0);
}

/* Clock ticks of all processes that have the share's name in their words. */
static long server_ticks(void)
{
	char line[256];
	long ticks = -1;
	FILE *f;

	snprintf(line, sizeof(line), "grep -slF %s/ /proc/[0-9]*/cmdline | "
		 "sed s/cmdline/stat/ | xargs cat 2>/dev/null | "
		 "awk '{ n += $14 + $15 } END { print n }'", top);
	f = popen(line, "r");
	if (f && fscanf(f, "%ld", &ticks) != 1)
		ticks = -1;
	if (f)
		pclose(f);
	return ticks;
}

/* Nobody works on a broken ring. */
static void idle(void)
{
	long before, after, second = sysconf(_SC_CLK_TCK);

	CHECK_EQ(make_place(false), 0);
	CHECK_EQ(serve(geteuid() ? "access=squash" : "rw", NULL), 0);
	CHECK(break_ring());
	before = server_ticks();
	sleep(1);
	after = server_ticks();
	CHECK(before >= 0 && after >= before);
	CHECK(after - before < second / 4);
}

/* ---- what may not be written -------------------------------------------- */

static void readonly(void)
{
	CHECK_EQ(sh("touch -d @1000 share/good share share/dir; "
		    "find share -printf '%p %m %s %T@ %C@ %n\n' >before"), 0);
	attempt_write();
	CHECK(!check_failed);
	CHECK_EQ(sh("find share -printf '%p %m %s %T@ %C@ %n\n' |"
		    "cmp - before"),
		 0);
}

/* ---- what the host does to the tree ------------------------------------- */

/* Doors into the kernel; what a host does not have is left out. */
static const char *const doors[] = {
	"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "debugfs",
	"tracefs", "securityfs", "bpf", "configfs", "fusectl", "binfmt_misc",
	"pstore", "resctrl", "rpc_pipefs", "nfsd", "hugetlbfs", "efivarfs",
};

static void mounts(void)
{
	bool mounted[ARRAY_LEN(doors)];
	struct fuse_entry_out e;
	unsigned int n = 0;
	char path[128];

	if (geteuid() || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		SKIP("needs root");
	CHECK_EQ(make_place(false), 0);
	for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
		snprintf(path, sizeof(path), "%s/%s", share, doors[i]);
		CHECK_EQ(mkdir(path, 0755), 0);
		mounted[i] = !mount("none", path, doors[i], 0, NULL);
		n += mounted[i];
	}
	CHECK(mounted[0] && mounted[1] && n > 3);
	CHECK_EQ(sh("mkdir share/tmp && mount -t tmpfs none share/tmp && "
		    "echo x >share/tmp/f"), 0);
	CHECK_EQ(serve("sandbox=auto", NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
		int err = fe_lookup(fe, ROOT, doors[i], &e);

		if (err != (mounted[i] ? -EACCES : 0))
			printf("# %s: %d\n", doors[i], err);
		CHECK_EQ(err, mounted[i] ? -EACCES : 0);
	}
	CHECK(fe_walk(fe, "proc/1/mem", &e) < 0);
	CHECK(fe_rename(fe, ROOT, "proc", ROOT, "p") < 0);
	CHECK_EQ(fe_walk(fe, "tmp/f", &e), 0);
	CHECK(unharmed());
}

static void take_mounts(void)
{
	char path[128];

	mounts();
	for (size_t i = 0; top[0] && i < ARRAY_LEN(doors); i++) {
		snprintf(path, sizeof(path), "%s/%s", share, doors[i]);
		umount2(path, MNT_DETACH);
	}
	if (top[0])
		sh("umount share/tmp");
	shut();
}

/* Moved out of the share by the host: nothing above it comes within reach. */
static void moved_out(void)
{
	struct fuse_entry_out dir, f, e;

	CHECK_EQ(fe_lookup(fe, ROOT, "dir", &dir), 0);
	CHECK_EQ(fe_lookup(fe, dir.nodeid, "f", &f), 0);
	CHECK_EQ(sh("mv share/dir outside/moved"), 0);
	if (!fe_lookup(fe, dir.nodeid, "..", &e))
		CHECK_EQ(e.nodeid, ROOT);
	CHECK(fe_lookup(fe, dir.nodeid, "secret", &e) < 0 || !e.nodeid);
	CHECK(fe_walk(fe, "secret", &e) < 0 || !e.nodeid);
	CHECK(fe_walk(fe, "dir", &e) < 0 || !e.nodeid);
	CHECK(fe_rename(fe, ROOT, "good", dir.nodeid, "../good") < 0);
	CHECK_EQ(sh("mv outside/moved share/dir"), 0);
}

/* ---- what its log says of it -------------------------------------------- */

static bool said(const char *file, const char *text)
{
	char all[8192] = "";

	for (int i = 0; i < 500; i++) {
		int fd = open(file, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, all, sizeof(all) - 1);

		all[n > 0 ? n : 0] = '\0';
		if (fd >= 0)
			close(fd);
		if (strstr(all, text))
			return true;
		usleep(20000);
	}
	return false;
}

/* What breaks is named, once, and the server goes on to its next client. */
static void broken_and_named(void)
{
	const struct fe_opts again = { .path = server.path };
	char log[96];

	CHECK_EQ(make_place(false), 0);
	snprintf(log, sizeof(log), "%s/log", top);
	setenv("FE_SERVER_LOG", log, 1);
	CHECK_EQ(serve("sandbox=auto", NULL), 0);
	unsetenv("FE_SERVER_LOG");
	CHECK_EQ(ftruncate(fe->region[0].fd, 0), 0);
	fe_kick_always(&fe->ring[1]);
	CHECK(said(log, "vmshare: warning: share 't': the guest broke queue "
			"1: "));
	CHECK(said(log, "vmshare: warning: share 't': guest memory is gone: "));
	CHECK_EQ(fe_send(fe, 9999, 1, NULL, 0, NULL, 0), 0);
	CHECK(said(log, "vmshare: warning: share 't': refused a message: "));
	fe_close(fe);
	fe = NULL;
	CHECK_EQ(fe_connect(&fe, &again), 0);
	CHECK_EQ(fe_fuse_init(fe, 0), 0);
	shut();
}

/* ---- all of it ---------------------------------------------------------- */

static void all_forged(void)
{
	in_all_modes(attempt_forged);
}

static void all_forgotten(void)
{
	in_all_modes(attempt_forget);
}

static void all_moved_out(void)
{
	in_all_modes(moved_out);
}

static void own_quiet(void)
{
	quiet();
	unsetenv("FE_SERVER_LOG");
	shut();
}

static void own_idle(void)
{
	idle();
	shut();
}

static void own_too_many(void)
{
	too_many();
	shut();
}

/* Where nothing is mounted, the server's own checks are the boundary. */
static void all_readonly(void)
{
	in_all_modes_with(readonly, ",ro");
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "nodes and handles made up", all_forged },
		{ "forgotten while it is read", all_forgotten },
		{ "ten times the limit of open files", own_too_many },
		{ "a word for broken rings, not thirty", own_quiet },
		{ "no work for a broken ring", own_idle },
		{ "a share that may not be written to", all_readonly },
		{ "moved out from under the guest", all_moved_out },
		{ "what broke is named", broken_and_named },
		{ "the kernel's file systems below the share", take_mounts },
	};

	return check_main(cases, ARRAY_LEN(cases), argc, argv);
}
