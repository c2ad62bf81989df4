/* SPDX-License-Identifier: MIT */
/*
 * The initramfs of a guest without a disk, written by the host into a memfd:
 *
 *	/init			this binary
 *	/vmshare.spec		what it must do there, see spec.c
 *	/m/NAME.ko[.xz|...]	modules, named in the spec in load order
 *	/dev/console		for the kernel's own opening of init's streams
 *
 * and the empty directories that init mounts on. Modules stay compressed as
 * they are: the kernel unpacks them itself where it was built to, and where it
 * was not we say so here instead of failing in the guest.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/private.h"

/* A dynamic program would find no loader and no libraries in there. */
static int initramfs_check_static(int fd)
{
	Elf64_Ehdr head;
	Elf64_Phdr ph;
	unsigned int i;

	if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
	    head.e_phentsize != sizeof(ph))
		return -ENOEXEC;
	for (i = 0; i < head.e_phnum; i++) {
		off_t at = (off_t)head.e_phoff + (off_t)(i * sizeof(ph));

		if (pread(fd, &ph, sizeof(ph), at) != (ssize_t)sizeof(ph) ||
		    ph.p_type == PT_INTERP)
			return -ENOEXEC;
	}
	return 0;
}

/* Open what becomes /init; a descriptor, or as guest_init_check(). */
static int initramfs_open_self(const char *self, const char *arch,
			       struct guest_error *err)
{
	const char *path = self ? self : "/proc/self/exe", *is = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = fd < 0 ? -errno : initramfs_check_static(fd);
	unsigned char head[20];

	if (ret == 0 && pread(fd, head, sizeof(head), 0) == sizeof(head))
		is = elf_file_arch(head);
	if (!arch)
		arch = guest_host_arch;
	if (ret == -ENOEXEC) {
		guest_fail(err, ret, "%s: not a static program, so it can't be "
			   "the guest's init", path);
	} else if (ret < 0) {
		guest_fail(err, ret, "%s: %s", path, guest_strerror(ret));
	} else if (!is || strcmp(is, arch) != 0) {
		ret = guest_fail(err, -ENOEXEC, "%s: is a program for %s, and "
				 "the guest is %s", path,
				 is ? is : "another machine", arch);
		guest_hint(err, "give the vmshare of %s with --init FILE",
			   arch);
	}
	if (ret == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return ret;
}

int guest_init_check(const char *self, const char *arch,
		     struct guest_error *err)
{
	int fd = initramfs_open_self(self, arch, err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int initramfs_add_self(struct cpio *c, const char *self,
			      const char *arch, struct guest_error *err)
{
	int fd = initramfs_open_self(self, arch, err);

	if (fd < 0)
		return fd;
	cpio_copy(c, "init", 0755, fd);
	close(fd);
	return 0;
}

/*
 * A plain module says for which kernel it was built. One is looked at: they
 * are of one directory.
 */
static int initramfs_check_version(const struct guest_kernel *k,
				   const struct guest_modules *mods,
				   struct guest_error *err)
{
	static const char magic[] = "vermagic=";
	char path[4600], *data, *at;
	size_t size, len;
	int ret = 0;

	if (!mods->nr || !k->version[0] ||
	    module_compressed(mods->list[0].path))
		return 0;
	snprintf(path, sizeof(path), "%s/%s", k->modules, mods->list[0].path);
	if (guest_read_file(path, &data, &size) < 0)
		return 0;	/* said where it is packed */
	at = memmem(data, size, magic, sizeof(magic) - 1);
	at = at ? at + sizeof(magic) - 1 : NULL;
	len = at ? strcspn(at, " ") : 0;
	if (len && (strlen(k->version) != len ||
		    memcmp(at, k->version, len) != 0))
		ret = guest_fail(err, -ESTALE, "module %s: is of version %.*s, "
				 "and kernel %s is %s", path, (int)len, at,
				 k->image, k->version);
	free(data);
	return ret;
}

/* Pack a module once; its path in @mods becomes the one in the initramfs. */
static int initramfs_add_module(struct cpio *c, const struct guest_kernel *k,
				struct guest_modules *mods, unsigned int i,
				struct guest_error *err)
{
	struct guest_module *m = &mods->list[i];
	char path[4600], *packed;
	unsigned int j;
	int fd;

	if (module_compressed(m->path) && k->decompress == GUEST_NO) {
		guest_fail(err, -EOPNOTSUPP, "module %s/%s is compressed, and "
			   "kernel %s can't unpack modules itself", k->modules,
			   m->path, k->version);
		guest_hint(err, "choose a kernel with CONFIG_MODULE_DECOMPRESS "
			   "or with plain modules: --kernel FILE");
		return -EOPNOTSUPP;
	}
	snprintf(path, sizeof(path), "%s/%s", k->modules, m->path);
	if (asprintf(&packed, "/m/%s", strrchr(path, '/') + 1) < 0)
		return -ENOMEM;
	for (j = 0; j < i && strcmp(mods->list[j].path, packed) != 0; j++)
		;
	if (j == i) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			free(packed);
			return guest_fail(err, -errno, "module %s: %s", path,
					  guest_strerror(errno));
		}
		cpio_copy(c, packed + 1, 0644, fd);
		close(fd);
	}
	free(m->path);
	m->path = packed;
	return 0;
}

static unsigned int initramfs_needs(const struct guest_spec *spec)
{
	unsigned int needs = MODULE_FOR_ALL;

	if (spec->root_tag || spec->nr_mounts)
		needs |= MODULE_FOR_FS;
	if (spec->root_mode == GUEST_ROOT_OVERLAY)
		needs |= MODULE_FOR_OVER;
	if (spec->root_disk)
		needs |= MODULE_FOR_DISK;
	if (spec->data_disks)
		needs |= MODULE_FOR_DATA;
	if (spec->dump)
		needs |= MODULE_FOR_DUMP;
	if (spec->net)
		needs |= MODULE_FOR_NET;
	return needs;
}

static int initramfs_write(struct cpio *c, const struct guest_kernel *k,
			   const struct guest_spec *spec, const char *self,
			   struct guest_modules *mods, struct guest_error *err)
{
	static const char *const dirs[] = {
		"dev", "proc", "sys", "m", "lower", "rw", "root",
	};
	char *data = NULL;
	size_t size = 0;
	unsigned int i;
	int ret;

	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		cpio_dir(c, dirs[i]);
	cpio_device(c, "dev/console", S_IFCHR | 0600, 5, 1);
	ret = initramfs_check_version(k, mods, err);
	if (ret == 0)
		ret = initramfs_add_self(c, self, spec->arch, err);
	for (i = 0; ret == 0 && i < mods->nr; i++)
		ret = initramfs_add_module(c, k, mods, i, err);
	if (ret < 0)
		return ret;
	ret = spec_encode(spec, mods, &data, &size);
	if (ret == 0) {
		cpio_memory(c, &GUEST_SPEC_FILE[1], 0600, data, size);
		ret = cpio_close(c);
	}
	free(data);
	if (ret < 0)
		guest_fail(err, ret, "cannot write the initramfs: %s",
			   guest_strerror(ret));
	return ret;
}

int guest_initramfs_build(const struct guest_kernel *k,
			  const struct guest_spec *spec, const char *self,
			  struct guest_error *err)
{
	struct guest_modules mods = { .list = NULL };
	struct cpio c;
	int fd, ret = 0;

	guest_fail(err, 0, "cannot make the initramfs: out of memory");
	if (k->modules[0])
		ret = modules_resolve(k->modules, initramfs_needs(spec), &mods,
				      err);
	if (ret < 0)
		goto out;
	fd = memfd_create("vmshare-initramfs", MFD_CLOEXEC);
	if (fd < 0) {
		ret = guest_fail(err, -errno, "memfd_create: %s",
				 guest_strerror(errno));
		goto out;
	}
	cpio_open(&c, fd);
	ret = initramfs_write(&c, k, spec, self, &mods, err);
	if (ret == 0 && lseek(fd, 0, SEEK_SET) < 0)
		ret = -errno;
	if (ret < 0)
		close(fd);
	else
		ret = fd;
out:
	modules_free(&mods);
	return ret;
}
