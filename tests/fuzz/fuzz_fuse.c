/* rooms: base fsserver */
/* SPDX-License-Identifier: MIT */
/*
 * FUSE requests on real directories. The input is a list of records; each
 * becomes a request whose opcode, node, handle and names are likely to mean
 * something (nodes and handles that earlier replies gave, a few names with a
 * history), and sometimes not.
 *
 * Four shares are served for the whole run: as it is, read-only, squashed,
 * mapped. They lie in a tmpfs of our own mount name space where all else is
 * read-only, beside a canary that no request may show or change.
 *
 * Checked besides sanitizers: used length, out.len and unique agree, errors
 * are errnos, the read-only share stays as it was, descriptors do not leak.
 */

#include "tests/fuzz/fuzz.h"

#include "tests/c/fsserver_rig.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define OUTER		"/mnt"
#define CANARY		OUTER "/canary"
#define SHARES		4
#define READONLY	1
#define MAX_KNOWN	16
#define MAX_RECORDS	48
#define MAX_ERRNO	511
#define REBUILD		512	/* inputs between two fresh trees */

/* What a request looks like behind its header. */
struct shape {
	uint8_t fixed;
	int8_t fh, fh2;		/* offsets of handles, or -1 */
	int8_t node;		/* offset of a node, or -1 */
	uint8_t names;
	bool body;
};

#define NONE { 0, -1, -1, -1, 0, false }
#define NAMES(n) { 0, -1, -1, -1, n, false }
#define FIXED(type, n) { sizeof(struct type), -1, -1, -1, n, false }
#define WITH_FH(type, body) { sizeof(struct type), 0, -1, -1, 0, body }

static const struct shape shapes[64] = {
	[0] = NONE,
	[FUSE_LOOKUP] = NAMES(1),
	[FUSE_FORGET] = FIXED(fuse_forget_in, 0),
	[FUSE_GETATTR] = { sizeof(struct fuse_getattr_in), 8, -1, -1, 0,
			   false },
	[FUSE_SETATTR] = { sizeof(struct fuse_setattr_in), 8, -1, -1, 0,
			   false },
	[FUSE_READLINK] = NONE,
	[FUSE_SYMLINK] = NAMES(2),
	[FUSE_MKNOD] = FIXED(fuse_mknod_in, 1),
	[FUSE_MKDIR] = FIXED(fuse_mkdir_in, 1),
	[FUSE_UNLINK] = NAMES(1),
	[FUSE_RMDIR] = NAMES(1),
	[FUSE_RENAME] = { sizeof(struct fuse_rename_in), -1, -1, 0, 2, false },
	[FUSE_LINK] = { sizeof(struct fuse_link_in), -1, -1, 0, 1, false },
	[FUSE_OPEN] = FIXED(fuse_open_in, 0),
	[FUSE_READ] = WITH_FH(fuse_read_in, false),
	[FUSE_WRITE] = WITH_FH(fuse_write_in, true),
	[FUSE_STATFS] = NONE,
	[FUSE_RELEASE] = WITH_FH(fuse_release_in, false),
	[FUSE_FSYNC] = WITH_FH(fuse_fsync_in, false),
	[FUSE_SETXATTR] = { sizeof(struct fuse_setxattr_in), -1, -1, -1, 1,
			    true },
	[FUSE_GETXATTR] = FIXED(fuse_getxattr_in, 1),
	[FUSE_LISTXATTR] = FIXED(fuse_getxattr_in, 0),
	[FUSE_REMOVEXATTR] = NAMES(1),
	[FUSE_FLUSH] = WITH_FH(fuse_flush_in, false),
	[FUSE_INIT] = FIXED(fuse_init_in, 0),
	[FUSE_OPENDIR] = FIXED(fuse_open_in, 0),
	[FUSE_READDIR] = WITH_FH(fuse_read_in, false),
	[FUSE_RELEASEDIR] = WITH_FH(fuse_release_in, false),
	[FUSE_FSYNCDIR] = WITH_FH(fuse_fsync_in, false),
	[FUSE_GETLK] = WITH_FH(fuse_lk_in, false),
	[FUSE_SETLK] = WITH_FH(fuse_lk_in, false),
	[FUSE_SETLKW] = WITH_FH(fuse_lk_in, false),
	[FUSE_ACCESS] = FIXED(fuse_access_in, 0),
	[FUSE_CREATE] = FIXED(fuse_create_in, 1),
	[FUSE_INTERRUPT] = FIXED(fuse_interrupt_in, 0),
	[FUSE_DESTROY] = NONE,
	[FUSE_IOCTL] = WITH_FH(fuse_ioctl_in, true),
	[FUSE_BATCH_FORGET] = { sizeof(struct fuse_batch_forget_in), -1, -1,
				-1, 0, true },
	[FUSE_FALLOCATE] = WITH_FH(fuse_fallocate_in, false),
	[FUSE_READDIRPLUS] = WITH_FH(fuse_read_in, false),
	[FUSE_RENAME2] = { sizeof(struct fuse_rename2_in), -1, -1, 0, 2,
			   false },
	[FUSE_LSEEK] = WITH_FH(fuse_lseek_in, false),
	[FUSE_COPY_FILE_RANGE] = { sizeof(struct fuse_copy_file_range_in), 0,
				   24, 16, 0, false },
	[FUSE_SYNCFS] = FIXED(fuse_syncfs_in, 0),
	[FUSE_TMPFILE] = FIXED(fuse_create_in, 1),
	[FUSE_STATX] = { sizeof(struct fuse_statx_in), 8, -1, -1, 0,
			    false },
	[FUSE_COPY_FILE_RANGE_64] = {
		sizeof(struct fuse_copy_file_range_in), 0, 24, 16, 0, false },
};

static const char *const names[] = {
	"a", "b", "dir", "new", "sub", "link", "abs", "up", "fifo", "null",
	"hidden", ".", "..", "", "x/y", "/etc", "dir/a", "canary",
	"user.a", "user.vmshare.mode", "trusted.x", "security.capability",
	"system.posix_acl_access", "system.posix_acl_default",
	"user.virtiofs.a",
};

static struct rig rig[SHARES];
static struct stat canary, frozen;
static unsigned int fds_base;
static bool full;		/* time for fresh trees */

/* What replies gave in this input. */
static uint64_t node[MAX_KNOWN], handle[MAX_KNOWN];
static unsigned int nr_node, nr_handle;

/* ---- the place ---------------------------------------------------------- */

static void write_text(const char *path, const char *fmt, unsigned int id)
{
	FILE *f = fopen(path, "we");

	if (f) {
		fprintf(f, fmt, id);
		fclose(f);
	}
}

/* All read-only but the directory we are in and a tmpfs of our own. */
static void isolate(void)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	struct mount_attr rw = { .attr_clr = MOUNT_ATTR_RDONLY };
	unsigned int uid = geteuid(), gid = getegid();
	char cwd[4096];
	int fd;

	if (!getcwd(cwd, sizeof(cwd)) ||
	    unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) < 0)
		fuzz_fail("no mount name space");
	if (uid) {
		write_text("/proc/self/setgroups", "deny", 0);
		write_text("/proc/self/uid_map", "0 %u 1", uid);
		write_text("/proc/self/gid_map", "0 %u 1", gid);
	}
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(cwd, cwd, NULL, MS_BIND, NULL) < 0 ||
	    syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &ro,
		    sizeof(ro)) < 0 ||
	    syscall(SYS_mount_setattr, AT_FDCWD, cwd, 0, &rw,
		    sizeof(rw)) < 0 ||
	    mount("fuzz", OUTER, "tmpfs", 0, "size=64m,nr_inodes=20000") < 0)
		fuzz_fail("can't make the rest read-only");
	if (chdir(cwd) < 0)
		fuzz_fail("no way back");
	fd = open(CANARY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, "sings\n", 6) != 6 || fstat(fd, &canary) < 0)
		fuzz_fail("no canary");
	close(fd);
}

static void make_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			0644);

	if (fd < 0)
		return;
	full |= write(fd, "contents\n", 9) != 9;
	close(fd);
}

/* What a share has at first; what is there stays. */
static void build(const struct rig *r)
{
	int dir, made = 0;

	make_file(r->dirfd, "a");
	make_file(r->dirfd, "b");
	make_file(r->dirfd, "hidden");
	made += mkdirat(r->dirfd, "dir", 0755) == 0;
	dir = openat(r->dirfd, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC |
				      O_NOFOLLOW);
	if (dir >= 0) {
		make_file(dir, "a");
		made += mkdirat(dir, "sub", 0755) == 0;
		close(dir);
	}
	made += symlinkat("a", r->dirfd, "link") == 0;
	made += symlinkat(CANARY, r->dirfd, "abs") == 0;
	made += symlinkat("../canary", r->dirfd, "up") == 0;
	made += mknodat(r->dirfd, "fifo", S_IFIFO | 0644, 0) == 0;
	made += mknodat(r->dirfd, "null", S_IFCHR | 0644, 0x103) == 0;
	(void)made;
}

static void empty(const struct rig *r)
{
	char command[160];

	snprintf(command, sizeof(command),
		 "cd %s && find . -mindepth 1 -delete 2>/dev/null", r->dir);
	if (system(command) != 0)
		fuzz_fail("a share can't be emptied");
}

static void serve(struct rig *r, unsigned int i)
{
	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), OUTER "/share%u", i);
	if (mkdir(r->dir, 0755) < 0)
		fuzz_fail("no share");
	r->dirfd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	build(r);
	fs_options_init(&r->options);
	r->options.seccomp = false;
	r->options.posix_lock = r->options.flock = true;
	r->options.block_locks = false;
	r->options.xattr = r->options.posix_acl = true;
	r->options.readonly = i == READONLY;
	r->options.writeback = i == 0;
	r->options.access = i == 2 ? FS_ACCESS_SQUASH :
			    i == 3 ? FS_ACCESS_MAPPED :
				     FS_ACCESS_PASSTHROUGH;
	r->options.hide[0] = "hidden";
	r->options.nr_hide = 1;
	r->options.open_files = 64;
	r->in = malloc(RIG_ROOM);
	r->out = malloc(RIG_ROOM);
	r->queue = 1;
	if (!r->in || !r->out || rig_start(r) < 0)
		fuzz_fail("the file server does not start");
}

static void close_all(void)
{
	for (unsigned int i = 0; i < SHARES; i++) {
		rig_close_fs(&rig[i]);
		close(rig[i].dirfd);
		free(rig[i].in);
		free(rig[i].out);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	isolate();
	for (unsigned int i = 0; i < SHARES; i++)
		serve(&rig[i], i);
	if (fstat(rig[READONLY].dirfd, &frozen) < 0)
		fuzz_fail("no read-only share");
	atexit(close_all);
	return 0;
}

/* ---- requests ----------------------------------------------------------- */

static uint64_t pick(struct fuzz_in *in, const uint64_t *known,
		     unsigned int nr)
{
	uint8_t sel = fuzz_u8(in);

	if (sel >= 0xf8)
		return (uint64_t)fuzz_u32(in) << 32 | fuzz_u32(in);
	return nr ? known[sel % nr] : sel;
}

static void put_name(struct rig *r, struct fuzz_in *in)
{
	uint8_t sel = fuzz_u8(in);
	char name[300];
	size_t len;

	if (sel < 0xf0) {
		rq_str(r, names[sel % ARRAY_SIZE(names)]);
	} else if (sel < 0xf4) {
		len = 253u + sel - 0xf0;
		memset(name, 'n', len);
		name[len] = '\0';
		rq_str(r, name);
	} else {
		len = fuzz_u8(in);
		fuzz_bytes(in, name, len);
		rq_put(r, name, len);	/* perhaps without its end */
	}
}

static void put_fixed(struct rig *r, const struct shape *s,
		      struct fuzz_in *in)
{
	uint8_t fixed[256];
	uint64_t value;

	fuzz_bytes(in, fixed, s->fixed);
	if (s->fh >= 0) {
		value = pick(in, handle, nr_handle);
		memcpy(fixed + s->fh, &value, sizeof(value));
	}
	if (s->fh2 >= 0) {
		value = pick(in, handle, nr_handle);
		memcpy(fixed + s->fh2, &value, sizeof(value));
	}
	if (s->node >= 0) {
		value = pick(in, node, nr_node);
		memcpy(fixed + s->node, &value, sizeof(value));
	}
	rq_put(r, fixed, s->fixed);
}

static void put_body(struct rig *r, uint32_t opcode, struct fuzz_in *in)
{
	uint8_t body[1024];
	size_t len = fuzz_u8(in) * 4u;

	fuzz_bytes(in, body, len);
	if (opcode == FUSE_BATCH_FORGET && nr_node)
		for (size_t at = 0; at + 16 <= len; at += 16)
			memcpy(body + at, &node[body[at] % nr_node], 8);
	rq_put(r, body, len);
}

static void learn(uint32_t opcode, const struct rig *r)
{
	const struct fuse_entry_out *e = rq_reply(r);
	const struct fuse_open_out *open_out = rq_reply(r);

	switch (opcode) {
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		open_out = (const void *)(e + 1);
		if (nr_handle < MAX_KNOWN)
			handle[nr_handle++] = open_out->fh;
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		if (nr_handle < MAX_KNOWN)
			handle[nr_handle++] = open_out->fh;
		return;
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
		break;
	default:
		return;
	}
	if (e->nodeid && nr_node < MAX_KNOWN)
		node[nr_node++] = e->nodeid;
	if (e->nodeid && e->attr.ino == canary.st_ino)
		fuzz_fail("a request got out of its share");
}

static void one_request(struct rig *r, struct fuzz_in *in)
{
	static const uint32_t ids[] = { 0, 1000, 65534, 4294967295u };
	static const size_t rooms[] = { 4096, 0, 8, 65536, 120, 1u << 20,
					(size_t)-1, 1024 };
	uint32_t opcode = fuzz_u8(in) % ARRAY_SIZE(shapes);
	const struct shape *s = &shapes[opcode];
	uint64_t id = pick(in, node, nr_node);
	uint8_t flags = fuzz_u8(in), how = fuzz_u8(in);
	struct fuse_in_header *head = (void *)r->in;
	struct fuse_out_header out;
	size_t room;
	int err;

	rq(r, opcode, id);
	put_fixed(r, s, in);
	for (unsigned int i = 0; i < s->names; i++)
		put_name(r, in);
	if (s->body || flags & 0x80)
		put_body(r, opcode, in);
	rq_caller(r, ids[flags & 3], ids[flags >> 2 & 3]);
	if (flags & 0x10)
		head->total_extlen = fuzz_u8(in);
	if (flags & 0x20)
		r->in_len -= fuzz_u8(in) % r->in_len;
	r->pieces = flags & 0x40 ? 1u + fuzz_u8(in) : 0;
	r->queue = how & 8 ? 0 : 1;
	if (r->in_len < sizeof(uint32_t))
		return;
	room = rooms[how & 7];
	/* The rig has 500 iovecs for each direction. */
	if (r->pieces && room != (size_t)-1 && r->pieces < room / 400 + 1)
		r->pieces = (unsigned int)(room / 400 + 1);
	if (r->pieces && r->pieces < r->in_len / 400 + 1)
		r->pieces = (unsigned int)(r->in_len / 400 + 1);
	err = rq_send(r, r->w, room);
	/* Without a whole header there is no unique to repeat. */
	if (r->in_len < sizeof(*head))
		return;
	if (err > 1 || err < -MAX_ERRNO) {
		memcpy(&out, r->out, sizeof(out));
		fprintf(stderr, "opcode %u: used %u, len %u, error %d\n",
			opcode, r->used, out.len, out.error);
		fuzz_fail("a reply breaks the protocol");
	}
	if (err == 0)
		learn(opcode, r);
}

static void check_place(void)
{
	struct stat st;

	if (stat(CANARY, &st) < 0 || st.st_size != canary.st_size ||
	    st.st_mode != canary.st_mode || st.st_uid != canary.st_uid ||
	    st.st_nlink != canary.st_nlink ||
	    st.st_mtim.tv_nsec != canary.st_mtim.tv_nsec ||
	    st.st_ctim.tv_nsec != canary.st_ctim.tv_nsec)
		fuzz_fail("the canary was touched");
	if (fstat(rig[READONLY].dirfd, &st) < 0 ||
	    st.st_mtim.tv_nsec != frozen.st_mtim.tv_nsec ||
	    st.st_ctim.tv_nsec != frozen.st_ctim.tv_nsec)
		fuzz_fail("the read-only share was changed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	uint8_t which = fuzz_u8(&in);
	struct rig *r = &rig[which % SHARES];
	static unsigned int turn;

	if (++turn % REBUILD == 0 || full)
		for (unsigned int i = 0; i < SHARES; i++)
			if (i != READONLY)
				empty(&rig[i]);
	full = false;
	if (r != &rig[READONLY])
		build(r);
	nr_node = nr_handle = 0;
	node[nr_node++] = FUSE_ROOT_ID;
	/* Most sessions begin as they should. */
	if (which < 0xf0 && rig_init(r) < 0)
		fuzz_fail("INIT fails");
	for (int i = 0; in.left && i < MAX_RECORDS; i++)
		one_request(r, &in);
	r->pieces = 0;
	r->queue = 1;
	fs_consumer.reset(r->fs);
	check_place();
	fuzz_check_fds(&fds_base, 300);
	return 0;
}
