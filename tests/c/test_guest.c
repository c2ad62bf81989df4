/* rooms: base guest */
/* SPDX-License-Identifier: MIT */
/*
 * What the host prepares for a guest without a disk: kernel, modules, archive
 * and spec, each against fixtures that are written here.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "guest/private.h"
#include "tests/c/check.h"

static char root[] = "/tmp/test_guest.XXXXXX";

static void put(const char *name, const void *data, size_t size)
{
	char path[256], dir[256];
	size_t i;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (i = strlen(root) + 1; path[i]; i++) {
		if (path[i] != '/')
			continue;
		memcpy(dir, path, i);
		dir[i] = '\0';
		mkdir(dir, 0755);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static const char *in_root(const char *name)
{
	static char path[4][256];
	static unsigned int next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[0]), "%s/%s", root, name);
	return path[next];
}

/* ---- cpio --------------------------------------------------------------- */

/* The member @name of an archive: its data, or NULL. */
static const char *member(const char *archive, size_t total, const char *name,
			  size_t *size, unsigned int *mode)
{
	size_t at = 0;

	while (at + 110 < total) {
		char field[14][9];
		size_t len, names, data;
		int i;

		if (memcmp(archive + at, "070701", 6) != 0)
			return NULL;
		for (i = 0; i < 13; i++) {
			memcpy(field[i], archive + at + 6 + 8 * i, 8);
			field[i][8] = '\0';
		}
		names = strtoul(field[11], NULL, 16);
		len = strtoul(field[6], NULL, 16);
		data = (at + 110 + names + 3) & ~(size_t)3;
		if (strcmp(archive + at + 110, name) == 0) {
			*size = len;
			*mode = (unsigned int)strtoul(field[1], NULL, 16);
			return archive + data;
		}
		at = (data + len + 3) & ~(size_t)3;
	}
	return NULL;
}

static const char *map_archive(int fd, size_t *total)
{
	struct stat st;
	const char *map;

	if (fstat(fd, &st) < 0 || st.st_size == 0)
		return NULL;
	*total = (size_t)st.st_size;
	map = mmap(NULL, *total, PROT_READ, MAP_SHARED, fd, 0);
	return map == MAP_FAILED ? NULL : map;
}

static void test_cpio(void)
{
	static const char odd[] = "12345", bytes[] = "\0\xff\n";
	int fd = memfd_create("t", 0), src = memfd_create("s", 0);
	const char *map, *p;
	size_t total = 0, size = 0;
	unsigned int mode = 0;
	struct cpio c;

	CHECK_EQ(write(src, bytes, 3), 3);
	cpio_open(&c, fd);
	cpio_dir(&c, "d");
	cpio_memory(&c, "d/odd", 0600, odd, 5);
	cpio_copy(&c, "d/copy", 0755, src);
	cpio_device(&c, "d/null", S_IFCHR | 0600, 1, 3);
	CHECK_EQ(cpio_close(&c), 0);
	map = map_archive(fd, &total);
	CHECK(map);
	/* ends where a page does: it is loaded next to the firmware's tables */
	CHECK_EQ(total % 4096, 0);
	CHECK_EQ(total, c.off);
	p = member(map, total, "d/odd", &size, &mode);
	CHECK(p && size == 5 && memcmp(p, odd, 5) == 0);
	CHECK_EQ(mode, S_IFREG | 0600);
	p = member(map, total, "d/copy", &size, &mode);
	CHECK(p && size == 3 && memcmp(p, bytes, 3) == 0);
	CHECK(member(map, total, "d/null", &size, &mode));
	CHECK_EQ(mode, S_IFCHR | 0600);
	CHECK(member(map, total, "TRAILER!!!", &size, &mode));
	munmap((void *)(uintptr_t)map, total);
	close(fd);
	close(src);
}

static void test_cpio_keeps_first_error(void)
{
	int fd = open("/dev/full", O_WRONLY);
	struct cpio c;

	CHECK(fd >= 0);
	cpio_open(&c, fd);
	cpio_memory(&c, "a", 0644, "x", 1);
	CHECK_EQ(c.off, 0);
	CHECK_EQ(cpio_close(&c), -ENOSPC);
	close(fd);
}

/* ---- modules ------------------------------------------------------------ */

static const char dep[] =
	"kernel/virtio/virtio_ring.ko:\n"
	"kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko\n"
	"kernel/virtio/virtio-pci.ko: kernel/virtio/virtio.ko "
	"kernel/virtio/virtio_ring.ko\n"
	"kernel/char/virtio_console.ko.xz: kernel/virtio/virtio.ko "
	"kernel/virtio/virtio_ring.ko\n"
	"kernel/fs/fuse.ko:\n"
	"kernel/fs/xvirtiofs.ko: kernel/fs/fuse.ko\n"
	"kernel/fs/virtiofs.ko: kernel/fs/fuse.ko\n"
	"kernel/block/virtio_blk.ko: kernel/virtio/virtio.ko "
	"kernel/virtio/virtio_ring.ko\n"
	"kernel/fs/ext4.ko.zst: kernel/lib/crc16.ko kernel/lib/jbd2.ko\n"
	"kernel/lib/crc16.ko:\n"
	"kernel/lib/jbd2.ko:\n"
	"kernel/fs/xfs.ko: kernel/lib/crc16.ko\n"
	"kernel/crypto/crc32c-fast.ko:\n";

static void put_modules(void)
{
	put_text("mod/modules.dep", dep);
	put_text("mod/modules.builtin", "kernel/fs/overlay.ko\n");
	put_text("mod/modules.softdep",
		 "# comment\nsoftdep ext4 pre: crypto-crc32c none post: fuse\n"
		 "softdep fuse pre: fuse\n");
	put_text("mod/modules.alias",
		 "# comment\nalias crypto-crc32c crc32c_fast\n"
		 "alias crypto-crc32c-more fuse\nalias crypto-crc32c absent\n");
}

static int position(const struct guest_modules *mods, const char *path,
		    const char *group)
{
	int i;

	for (i = 0; i < (int)mods->nr; i++)
		if (strcmp(mods->list[i].path, path) == 0 &&
		    strcmp(mods->list[i].group, group) == 0)
			return i;
	return -1;
}

static void test_modules_order(void)
{
	struct guest_modules mods = { .list = NULL };
	struct guest_error err;

	put_modules();
	CHECK_EQ(modules_resolve(in_root("mod"), MODULE_FOR_ALL |
				 MODULE_FOR_FS | MODULE_FOR_OVER, &mods, &err),
		 0);
	CHECK_EQ(mods.nr, 6);
	CHECK_EQ(position(&mods, "kernel/virtio/virtio_ring.ko", ""), 0);
	CHECK_EQ(position(&mods, "kernel/virtio/virtio.ko", ""), 1);
	CHECK_EQ(position(&mods, "kernel/virtio/virtio-pci.ko", ""), 2);
	CHECK_EQ(position(&mods, "kernel/char/virtio_console.ko.xz", ""), 3);
	CHECK_EQ(position(&mods, "kernel/fs/fuse.ko", ""), 4);
	CHECK_EQ(position(&mods, "kernel/fs/virtiofs.ko", ""), 5);
	CHECK(!mods.list[5].optional);
	modules_free(&mods);
}

static void test_modules_groups(void)
{
	struct guest_modules mods = { .list = NULL };
	int ext4, soft, crc;

	CHECK_EQ(modules_resolve(in_root("mod"), MODULE_FOR_ALL |
				 MODULE_FOR_DISK, &mods, NULL), 0);
	ext4 = position(&mods, "kernel/fs/ext4.ko.zst", "ext4");
	soft = position(&mods, "kernel/crypto/crc32c-fast.ko", "ext4");
	crc = position(&mods, "kernel/lib/crc16.ko", "ext4");
	CHECK(soft >= 0 && crc >= 0 && ext4 > soft && ext4 > crc);
	CHECK(position(&mods, "kernel/lib/jbd2.ko", "ext4") < crc);
	CHECK(position(&mods, "kernel/lib/crc16.ko", "xfs") >= 0);
	CHECK_EQ(position(&mods, "kernel/fs/fuse.ko", "ext4"), -1);
	CHECK_EQ(position(&mods, "kernel/virtio/virtio.ko", "ext4"), -1);
	modules_free(&mods);
}

static void test_modules_missing(void)
{
	struct guest_modules mods = { .list = NULL };
	struct guest_error err;

	CHECK_EQ(modules_resolve(in_root("mod"), MODULE_FOR_ALL |
				 MODULE_FOR_NET, &mods, &err), -ENOENT);
	CHECK(strstr(err.text, "has no module 'virtio_net'"));
	CHECK(strstr(err.hint, "CONFIG_VIRTIO_NET"));
	modules_free(&mods);
	CHECK_EQ(modules_resolve(in_root("none"), MODULE_FOR_ALL, &mods, &err),
		 -ENOENT);
	CHECK(strstr(err.text, "none/modules.dep: No such file"));
	modules_free(&mods);
}

static void test_module_name(void)
{
	char name[16];

	CHECK_EQ(module_name("a/b/virtio-fs.ko.xz", 19, name, sizeof(name)), 9);
	CHECK_STR(name, "virtio_fs");
	CHECK_EQ(module_name("plain", 5, name, sizeof(name)), 5);
	CHECK_EQ(module_name("a/", 2, name, sizeof(name)), 0);
	CHECK_EQ(module_name("too-long-for-the-room", 21, name, sizeof(name)),
		 0);
	CHECK(module_compressed("a.ko.zst") && !module_compressed("a.ko"));
}

/* ---- spec --------------------------------------------------------------- */

static void test_spec_round_trip(void)
{
	const char *argv[] = { "sh", "", "a=b", "new\nline \xff", NULL };
	const char *env[] = { "A=1=2", "EMPTY=", NULL };
	const struct guest_mount mounts[] = {
		{ .tag = "src", .path = "/mnt/a b", .read_only = true },
		{ .tag = "t=2", .path = "/x" },
	};
	struct guest_module list = {
		.path = (char *)(uintptr_t)"/m/a.ko", .group = "ext4",
		.optional = true,
	};
	const struct guest_modules mods = { .list = &list, .nr = 1 };
	const struct guest_spec spec = {
		.root_disk = "", .root_mode = GUEST_ROOT_RW, .mounts = mounts,
		.nr_mounts = 2, .argv = argv, .env = env, .user = "joe",
		.tty = GUEST_TTY_OUT | GUEST_TTY_ERR, .rows = 65535, .cols = 80,
		.net = true,
	};
	struct guest_plan plan;
	char *data;
	size_t size, i;

	CHECK_EQ(spec_encode(&spec, &mods, &data, &size), 0);
	CHECK_EQ(spec_decode(data, size, &plan), 0);
	for (i = 0; i < 4; i++)
		CHECK_STR(plan.spec.argv[i], argv[i]);
	CHECK(!plan.spec.argv[4]);
	CHECK_STR(plan.spec.env[0], "A=1=2");
	CHECK_STR(plan.spec.env[1], "EMPTY=");
	CHECK(!plan.spec.env[2] && !plan.spec.root_tag && !plan.spec.cwd);
	CHECK_STR(plan.spec.root_disk, "");
	CHECK_EQ(plan.spec.root_mode, GUEST_ROOT_RW);
	CHECK_EQ(plan.spec.nr_mounts, 2);
	CHECK_STR(plan.spec.mounts[0].path, "/mnt/a b");
	CHECK(plan.spec.mounts[0].read_only && !plan.spec.mounts[1].read_only);
	CHECK_STR(plan.spec.mounts[1].tag, "t=2");
	CHECK_EQ(plan.spec.tty, 6);
	CHECK_EQ(plan.spec.rows, 65535);
	CHECK(plan.spec.net && !plan.spec.verbose);
	CHECK_STR(plan.spec.user, "joe");
	CHECK_EQ(plan.nr_modules, 1);
	CHECK_STR(plan.modules[0].group, "ext4");
	CHECK(plan.modules[0].optional);
	spec_free(&plan);
	free(data);
}

static void test_spec_refuses(void)
{
	static const struct {
		const char *text;
		size_t size;
	} bad[] = {
		{ "", 0 },
		{ "net=1", 5 },			/* no NUL */
		{ "nothing", 8 },		/* no = */
		{ "unknown=1", 10 },
		{ "net=yes", 8 },
		{ "rows=65536", 11 },
		{ "rows=-1", 8 },
		{ "path=/x", 8 },		/* of no mount */
		{ "mount=a", 8 },		/* without a path */
		{ "module=/m/a.ko", 15 },	/* without a group */
	};
	struct guest_plan plan;
	char text[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(text, bad[i].text, bad[i].size);
		CHECK_EQ(spec_decode(text, bad[i].size, &plan), -EINVAL);
	}
}

static void test_cmdline(void)
{
	struct guest_spec spec = { .append = "foo=1 bar" };
	char line[2048];

	CHECK(guest_cmdline(&spec, line, sizeof(line)) > 0);
	CHECK(strstr(line, " quiet") && strstr(line, " foo=1 bar"));
	CHECK(strstr(line, "panic=-1") && !strstr(line, "tsc_early"));
	spec.verbose = true;
	CHECK(guest_cmdline(&spec, line, sizeof(line)) > 0);
	CHECK(!strstr(line, " quiet"));
	CHECK_EQ(guest_cmdline(&spec, line, 20), -E2BIG);
	spec.arch = "aarch64";
	CHECK(guest_cmdline(&spec, line, sizeof(line)) > 0);
	CHECK(strstr(line, "console=ttyAMA0") && !strstr(line, "reboot=t"));
	spec.arch = "x86_64";
	CHECK(guest_cmdline(&spec, line, sizeof(line)) > 0);
	CHECK(strstr(line, "console=ttyS0") && strstr(line, "reboot=t"));
#if defined(__x86_64__)
	spec.tcg = true;
	CHECK(guest_cmdline(&spec, line, sizeof(line)) > 0);
	CHECK(atoi(strstr(line, "tsc_early_khz=") + 14) > 100000);
#endif
}

/* ---- kernel and initramfs ----------------------------------------------- */

static void put_kernel(const char *name, const char *version)
{
	unsigned char image[4096] = { 0 };

	memcpy(image + 0x202, "HdrS", 4);
	image[0x20e] = 0x00;
	image[0x20f] = 0x0a;	/* 0x200 + 0xa00 */
	snprintf((char *)image + 0xc00, 200, "%s (who@where) #1 SMP", version);
	put(name, image, sizeof(image));
}

/* Shorter words for guest_kernel_find(). */
static int find(const char *image, const char *modules, struct guest_kernel *k,
		struct guest_error *err)
{
	const struct guest_kernel_ask ask = {
		.image = image, .modules = modules, .arch = "x86_64",
	};

	return guest_kernel_find(&ask, k, err);
}

static void test_kernel_version(void)
{
	struct guest_kernel k;
	struct guest_error err;

	put_modules();
	put_kernel("vmlinuz-9.9", "6.1.0-test");
	put_text("lib/modules/6.1.0-test/modules.dep", "");
	put_text("lib/modules/6.1.0-test/config", "A=y\n"
		 "CONFIG_MODULE_DECOMPRESS=y\n");
	CHECK_EQ(find(in_root("vmlinuz-9.9"), root, &k, &err), 0);
	CHECK_STR(k.version, "6.1.0-test");
	CHECK_STR(k.modules, in_root("lib/modules/6.1.0-test"));
	CHECK_EQ(k.decompress, GUEST_YES);
	CHECK_EQ(find(in_root("vmlinuz-9.9"), in_root("mod"), &k, &err), 0);
	CHECK_STR(k.modules, in_root("mod"));
	CHECK_EQ(k.decompress, GUEST_UNKNOWN);
}

static void test_kernel_refuses(void)
{
	char junk[2048] = "#!/bin/sh";
	struct guest_kernel k;
	struct guest_error err;

	CHECK_EQ(find(in_root("absent"), NULL, &k, &err), -ENOENT);
	CHECK(strstr(err.text, "absent: No such file"));
	put_text("short", "x");
	CHECK_EQ(find(in_root("short"), NULL, &k, &err), -ENOEXEC);
	put("junk", junk, sizeof(junk));
	CHECK_EQ(find(in_root("junk"), NULL, &k, &err), -ENOEXEC);
	CHECK(strstr(err.text, "not a kernel image"));
	put_kernel("vmlinuz", "5.5.5-none");
	CHECK_EQ(find(in_root("vmlinuz"), NULL, &k, &err), -ENXIO);
	CHECK(strstr(err.text, "version 5.5.5-none") &&
	      strstr(err.hint, "--modules"));
}

/* --modules DIR, of another version: by the directory's name. */
static void test_modules_of_another(void)
{
	struct guest_kernel k;
	struct guest_error err;

	put_kernel("custom", "6.9.0-mine");
	put_text("lib/modules/6.1.0-test/modules.dep", "");
	CHECK_EQ(find(in_root("custom"), in_root("lib/modules/6.1.0-test"), &k,
		      &err), -ESTALE);
	CHECK(strstr(err.text, "are of version 6.1.0-test, and kernel "));
	CHECK(strstr(err.text, "custom is 6.9.0-mine"));
	/* A directory of no such name may be anything. */
	put_text("any/modules.dep", "");
	CHECK_EQ(find(in_root("custom"), in_root("any"), &k, &err), 0);
}

/* A tree as that of a distribution, below @tree: the guest's root. */
static int find_below(const char *tree, bool of_root, const char *image,
		      struct guest_kernel *k, struct guest_error *err)
{
	const struct guest_kernel_ask ask = {
		.root = in_root(tree), .of_root = of_root, .image = image,
		.arch = "x86_64",
	};

	return guest_kernel_find(&ask, k, err);
}

static void test_kernel_debian(void)
{
	struct guest_kernel k;
	struct guest_error err;

	put_kernel("deb/boot/vmlinuz-6.1.0-9-amd64", "6.1.0-9-amd64");
	put_kernel("deb/boot/vmlinuz-6.1.0-10-amd64", "6.1.0-10-amd64");
	put_text("deb/usr/lib/modules/6.1.0-9-amd64/modules.dep", "");
	put_text("deb/usr/lib/modules/6.1.0-10-amd64/modules.dep", "");
	CHECK_EQ(find_below("deb", true, NULL, &k, &err), 0);
	CHECK_STR(k.version, "6.1.0-10-amd64");
	CHECK_STR(k.image, in_root("deb/boot/vmlinuz-6.1.0-10-amd64"));
	CHECK_STR(k.modules, in_root("deb/usr/lib/modules/6.1.0-10-amd64"));
	/* Named: its modules are found, in the tree that it is in as well. */
	CHECK_EQ(find(in_root("deb/boot/vmlinuz-6.1.0-9-amd64"), NULL, &k,
		      &err), 0);
	CHECK_STR(k.modules, in_root("deb/usr/lib/modules/6.1.0-9-amd64"));
	put_kernel("elsewhere", "6.1.0-9-amd64");
	CHECK_EQ(find_below("deb", false, in_root("elsewhere"), &k, &err), 0);
	CHECK_STR(k.modules, in_root("deb/usr/lib/modules/6.1.0-9-amd64"));
	put_text("none/etc/passwd", "");
	CHECK_EQ(find_below("none", true, NULL, &k, &err), -ENOENT);
	CHECK(strstr(err.text, "no kernel: neither ") &&
	      strstr(err.text, "none/boot/vmlinuz-* nor "));
}

/* The image lies with its modules; /boot has a rescue kernel, too. */
static void test_kernel_fedora(void)
{
	struct guest_kernel k;
	struct guest_error err;

	put_kernel("fed/boot/vmlinuz-0-rescue-4711", "6.11.4-301.fc41.x86_64");
	put_kernel("fed/usr/lib/modules/6.12.10-200.fc41.x86_64/vmlinuz",
		   "6.12.10-200.fc41.x86_64");
	put_text("fed/usr/lib/modules/6.12.10-200.fc41.x86_64/modules.dep", "");
	put_text("fed/usr/lib/modules/6.12.10-200.fc41.x86_64/config",
		 "\nCONFIG_MODULE_DECOMPRESS=y\n");
	CHECK_EQ(find_below("fed", true, NULL, &k, &err), 0);
	CHECK_STR(k.version, "6.12.10-200.fc41.x86_64");
	CHECK_STR(k.modules, in_root("fed/usr/lib/modules/"
				     "6.12.10-200.fc41.x86_64"));
	CHECK_EQ(k.decompress, GUEST_YES);
	CHECK_EQ(find(in_root("fed/usr/lib/modules/6.12.10-200.fc41.x86_64/"
			      "vmlinuz"), NULL, &k, &err), 0);
}

/* Names in /boot say nothing of the version. */
static void test_kernel_arch(void)
{
	struct guest_kernel k;
	struct guest_error err;

	put_kernel("arch/boot/vmlinuz-linux", "6.17.9-arch1-1");
	put_kernel("arch/boot/vmlinuz-linux-lts", "6.12.58-1-lts");
	put_text("arch/usr/lib/modules/6.17.9-arch1-1/modules.dep", "");
	put_text("arch/usr/lib/modules/6.12.58-1-lts/modules.dep", "");
	CHECK_EQ(find_below("arch", true, NULL, &k, &err), 0);
	CHECK_STR(k.version, "6.17.9-arch1-1");
	CHECK_STR(k.modules, in_root("arch/usr/lib/modules/6.17.9-arch1-1"));
	CHECK_EQ(find(in_root("arch/boot/vmlinuz-linux-lts"), NULL, &k, &err),
		 0);
	CHECK_STR(k.modules, in_root("arch/usr/lib/modules/6.12.58-1-lts"));
}

/* arm64: a plain image, which says its version, and a packed one. */
static void test_kernel_arm64(void)
{
	struct guest_kernel_ask ask = { .arch = "aarch64" };
	unsigned char image[4096] = "MZ";
	struct guest_kernel k;
	struct guest_error err;

	memcpy(image + 56, "ARM\x64", 4);
	strcpy((char *)image + 2000, "Linux version %s (%s)");
	strcpy((char *)image + 3000, "Linux version 6.12.0-arm64 (who@where)");
	put("arm/boot/Image", image, sizeof(image));
	put_text("arm/lib/modules/6.12.0-arm64/modules.dep", "");
	ask.image = in_root("arm/boot/Image");
	CHECK_EQ(guest_kernel_find(&ask, &k, &err), 0);
	CHECK_STR(k.version, "6.12.0-arm64");
	CHECK_EQ(find(ask.image, NULL, &k, &err), -ENOEXEC);
	CHECK(strstr(err.text, "is for aarch64, and the guest is x86_64"));
	put("arm/boot/vmlinuz-6.12.0-arm64", "\x1f\x8b", 2);
	CHECK_EQ(truncate(in_root("arm/boot/vmlinuz-6.12.0-arm64"), 5000), 0);
	ask.image = in_root("arm/boot/vmlinuz-6.12.0-arm64");
	CHECK_EQ(guest_kernel_find(&ask, &k, &err), 0);
	CHECK_STR(k.version, "6.12.0-arm64");
	put_kernel("x86", "6.1.0");
	ask.image = in_root("x86");
	CHECK_EQ(guest_kernel_find(&ask, &k, &err), -ENOEXEC);
	CHECK(strstr(err.text, "is for x86_64, and the guest is aarch64"));
	CHECK(strstr(err.hint, "give one for aarch64 with --kernel FILE"));
	/* The newest, where names say nothing of the version. */
	put("arm2/boot/vmlinuz-linux-lts", image, sizeof(image));
	memcpy(image + 3000, "Linux version 6.17.0-arm64", 26);
	put("arm2/boot/vmlinuz-linux", image, sizeof(image));
	put_text("arm2/lib/modules/6.17.0-arm64/modules.dep", "");
	ask = (struct guest_kernel_ask){
		.root = in_root("arm2"), .of_root = true, .arch = "aarch64",
	};
	CHECK_EQ(guest_kernel_find(&ask, &k, &err), 0);
	CHECK_STR(k.version, "6.17.0-arm64");
}

static void test_kernel_unreadable(void)
{
	struct guest_kernel k;
	struct guest_error err;

	if (geteuid() == 0)
		SKIP("root reads everything");
	put_kernel("secret", "1.0");
	CHECK_EQ(chmod(in_root("secret"), 0), 0);
	CHECK_EQ(find(in_root("secret"), NULL, &k, &err), -EACCES);
	CHECK(strstr(err.hint, "chmod a+r"));
}

static void test_initramfs(void)
{
	const char *argv[] = { "true", NULL };
	struct guest_spec spec = { .root_tag = "root", .argv = argv };
	struct guest_kernel k = { .decompress = GUEST_YES };
	unsigned char elf[64] = "\177ELF\2\1\1";
	struct guest_error err;
	const char *map;
	size_t total = 0, size = 0;
	unsigned int mode = 0;
	int fd;

	elf[18] = EM_X86_64;
	elf[54] = 56;	/* e_phentsize of ELF64; no program headers */
	spec.arch = "x86_64";
	put("static", elf, sizeof(elf));
	put_modules();
	snprintf(k.modules, sizeof(k.modules), "%s", in_root("mod"));
	CHECK_EQ(guest_initramfs_build(&k, &spec, in_root("static"), &err),
		 -ENOENT);
	CHECK(strstr(err.text, "virtio_ring.ko: No such file"));
	put_text("mod/kernel/virtio/virtio_ring.ko", "ring");
	put_text("mod/kernel/virtio/virtio.ko", "virtio");
	put_text("mod/kernel/virtio/virtio-pci.ko", "pci");
	put_text("mod/kernel/char/virtio_console.ko.xz", "console");
	put_text("mod/kernel/fs/fuse.ko", "fuse");
	put_text("mod/kernel/fs/virtiofs.ko", "virtiofs");
	fd = guest_initramfs_build(&k, &spec, in_root("static"), &err);
	CHECK(fd >= 0);
	map = map_archive(fd, &total);
	CHECK(map);
	CHECK(member(map, total, "init", &size, &mode));
	CHECK(size == sizeof(elf) && mode == (S_IFREG | 0755));
	CHECK(member(map, total, "m/virtio_console.ko.xz", &size, &mode));
	CHECK_EQ(size, 7);
	CHECK(member(map, total, "vmshare.spec", &size, &mode));
	munmap((void *)(uintptr_t)map, total);
	close(fd);
	k.decompress = GUEST_NO;
	CHECK_EQ(guest_initramfs_build(&k, &spec, in_root("static"), &err),
		 -EOPNOTSUPP);
	CHECK(strstr(err.text, "virtio_console.ko.xz is compressed, and "
		"kernel "));
	CHECK(strstr(err.text, " can't unpack modules itself"));
}

/* A plain module says which kernel it is for, a program its machine. */
static void test_initramfs_compares(void)
{
	struct guest_spec spec = { .arch = "x86_64" };
	struct guest_kernel k = { .version = "6.1.0-test" };
	unsigned char elf[64] = "\177ELF\2\1\1";
	struct guest_error err;
	int fd;

	elf[18] = EM_X86_64;
	elf[54] = 56;
	put("static", elf, sizeof(elf));
	put_modules();
	snprintf(k.modules, sizeof(k.modules), "%s", in_root("mod"));
	put_text("mod/kernel/virtio/virtio.ko", "virtio");
	put_text("mod/kernel/virtio/virtio-pci.ko", "pci");
	put_text("mod/kernel/char/virtio_console.ko.xz", "console");
	put_text("mod/kernel/virtio/virtio_ring.ko",
		 "x vermagic=6.1.0-test SMP preempt");
	fd = guest_initramfs_build(&k, &spec, in_root("static"), &err);
	CHECK(fd >= 0);
	close(fd);
	put_text("mod/kernel/virtio/virtio_ring.ko", "vermagic=6.1.0-tes SMP");
	CHECK_EQ(guest_initramfs_build(&k, &spec, in_root("static"), &err),
		 -ESTALE);
	CHECK(strstr(err.text, "virtio_ring.ko: is of version 6.1.0-tes, and "
			       "kernel "));
	put_text("mod/kernel/virtio/virtio_ring.ko", "ring");
	spec.arch = "aarch64";
	CHECK_EQ(guest_initramfs_build(&k, &spec, in_root("static"), &err),
		 -ENOEXEC);
	CHECK(strstr(err.text, "is a program for x86_64, and the guest is "));
	CHECK(strstr(err.hint, "the vmshare of aarch64 with --init FILE"));
}

static void test_initramfs_wants_static(void)
{
	struct guest_spec spec = { .root_tag = "root" };
	struct guest_kernel k = { .decompress = GUEST_YES };
	struct guest_error err;

	put_text("script", "#!/bin/sh\n");
	CHECK_EQ(guest_initramfs_build(&k, &spec, in_root("script"), &err),
		 -ENOEXEC);
	CHECK(strstr(err.text, ": not a static program, so it can't be the "
		"guest's init"));
	if (!getauxval(AT_BASE))
		SKIP("this test is a static program itself");
	CHECK_EQ(guest_initramfs_build(&k, &spec, NULL, &err), -ENOEXEC);
}

static const struct check_case cases[] = {
	{ "cpio", test_cpio },
	{ "cpio_keeps_first_error", test_cpio_keeps_first_error },
	{ "modules_order", test_modules_order },
	{ "modules_groups", test_modules_groups },
	{ "modules_missing", test_modules_missing },
	{ "module_name", test_module_name },
	{ "spec_round_trip", test_spec_round_trip },
	{ "spec_refuses", test_spec_refuses },
	{ "cmdline", test_cmdline },
	{ "kernel_version", test_kernel_version },
	{ "kernel_refuses", test_kernel_refuses },
	{ "kernel_unreadable", test_kernel_unreadable },
	{ "kernel_debian", test_kernel_debian },
	{ "kernel_fedora", test_kernel_fedora },
	{ "kernel_arch", test_kernel_arch },
	{ "kernel_arm64", test_kernel_arm64 },
	{ "modules_of_another", test_modules_of_another },
	{ "initramfs", test_initramfs },
	{ "initramfs_compares", test_initramfs_compares },
	{ "initramfs_wants_static", test_initramfs_wants_static },
};

int main(int argc, char **argv)
{
	char remove[64];
	int ret;

	if (!mkdtemp(root))
		return 1;
	ret = check_main(cases, ARRAY_SIZE(cases), argc, argv);
	snprintf(remove, sizeof(remove), "rm -rf %s", root);
	return system(remove) == 0 ? ret : 1;
}
