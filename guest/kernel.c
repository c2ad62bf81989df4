/* SPDX-License-Identifier: MIT */
/*
 * Which kernel a guest without a disk boots.
 *
 * Candidates are /boot/vmlinuz-VERSION and /lib/modules/VERSION/vmlinuz. The
 * newest by version that can be read and has modules wins; one that can't be
 * read (Ubuntu makes them root's) is passed over but remembered, since the
 * user would want to know. A named image is taken or refused, never replaced.
 *
 * The version, which decides which modules fit, is read from the image: an
 * x86 boot sector has the offset of its text at 0x20e, counted from 0x200
 * (Documentation/arch/x86/boot.rst, "kernel_version"). Images of other
 * machines are taken at their file's name.
 *
 * Nothing is cached and nothing printed.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/private.h"

#define KERNEL_HEAD	1024	/* boot sector and set-up header */
#define KERNEL_MAGIC	0x202	/* "HdrS" */
#define KERNEL_VERSION	0x20e

int guest_read_file(const char *path, char **data, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t room = 65536, len = 0;
	char *buf, *more;
	ssize_t n = 1;
	int ret;

	*data = NULL;
	if (fd < 0)
		return -errno;
	buf = malloc(room);
	while (buf && n > 0) {
		n = read(fd, buf + len, room - len - 1);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n <= 0)
			break;
		len += (size_t)n;
		if (room - len > 1)
			continue;
		room *= 4;
		more = realloc(buf, room);
		if (!more)
			free(buf);
		buf = more;
	}
	ret = !buf ? -ENOMEM : n < 0 ? -errno : 0;
	close(fd);
	if (ret < 0) {
		free(buf);
		return ret;
	}
	buf[len] = '\0';
	*data = buf;
	if (size)
		*size = len;
	return 0;
}

/*
 * Compare versions as rpm and dpkg users expect: numbers as numbers, "-rc"
 * before the release, the rest as text.
 */
static int kernel_compare(const char *a, const char *b)
{
	while (*a || *b) {
		if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
			char *ea, *eb;
			unsigned long na = strtoul(a, &ea, 10);
			unsigned long nb = strtoul(b, &eb, 10);

			if (na != nb)
				return na < nb ? -1 : 1;
			a = ea;
			b = eb;
			continue;
		}
		if (strncmp(a, "-rc", 3) != 0 && strncmp(b, "-rc", 3) == 0)
			return 1;
		if (strncmp(a, "-rc", 3) == 0 && strncmp(b, "-rc", 3) != 0)
			return -1;
		if (*a != *b)
			return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
		a++;
		b++;
	}
	return 0;
}

/* 0 with *@version perhaps empty, -ENOEXEC, -EACCES and what open() says. */
static int kernel_read_version(const char *image, char *version, size_t size)
{
	unsigned char head[KERNEL_HEAD], text[256];
	int fd = open(image, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	size_t at;

	version[0] = '\0';
	if (fd < 0)
		return -errno;
	n = pread(fd, head, sizeof(head), 0);
	if (n < (ssize_t)sizeof(head)) {
		n = n < 0 ? -errno : -ENOEXEC;
		close(fd);
		return (int)n;
	}
	if (memcmp(head + KERNEL_MAGIC, "HdrS", 4) != 0) {
		close(fd);
#if defined(__x86_64__) || defined(__i386__)
		/* QEMU also starts an ELF kernel with a PVH note. */
		return memcmp(head, "\177ELF", 4) == 0 ? 0 : -ENOEXEC;
#else
		return 0;
#endif
	}
	at = (size_t)head[KERNEL_VERSION + 1] << 8 | head[KERNEL_VERSION];
	n = at ? pread(fd, text, sizeof(text) - 1, (off_t)at + 0x200) : 0;
	close(fd);
	if (n > 0) {
		text[n] = '\0';
		at = strcspn((char *)text, " \n");
		if (at < size && !memchr(text, '/', at)) {
			memcpy(version, text, at);
			version[at] = '\0';
		}
	}
	return 0;
}

static bool kernel_has_dep(const char *dir)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/modules.dep", dir);
	return access(path, R_OK) == 0;
}

/* Fill k->modules for its version; @base NULL is the host's. */
static int kernel_find_modules(struct guest_kernel *k, const char *base)
{
	static const char *const below[] = { NULL, "", "/lib/modules" };
	unsigned int i;

	if (!base) {
		snprintf(k->modules, sizeof(k->modules), "/lib/modules/%s",
			 k->version);
		return k->version[0] && kernel_has_dep(k->modules) ? 0 : -ENXIO;
	}
	for (i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
		if (below[i])
			snprintf(k->modules, sizeof(k->modules), "%s%s/%s",
				 base, below[i], k->version);
		else
			snprintf(k->modules, sizeof(k->modules), "%s", base);
		if (kernel_has_dep(k->modules))
			return 0;
	}
	return -ENXIO;
}

/* Look for CONFIG_MODULE_DECOMPRESS where distributions leave a config. */
static void kernel_find_decompress(struct guest_kernel *k)
{
	char path[4400], *text;
	unsigned int i;

	k->decompress = GUEST_UNKNOWN;
	for (i = 0; i < 3; i++) {
		if (i == 0)
			snprintf(path, sizeof(path), "%s/config", k->modules);
		else if (i == 1)
			snprintf(path, sizeof(path), "/boot/config-%s",
				 k->version);
		else	/* beside the image, as in an unpacked package */
			snprintf(path, sizeof(path), "%.*s/config-%s",
				 (int)(strrchr(k->image, '/') ?
				       strrchr(k->image, '/') - k->image : 0),
				 k->image, k->version);
		if (guest_read_file(path, &text, NULL) < 0 || !text)
			continue;
		k->decompress = strstr(text, "\nCONFIG_MODULE_DECOMPRESS=y") ?
			GUEST_YES : GUEST_NO;
		free(text);
		return;
	}
}

static void kernel_explain(int error, const char *image,
			   struct guest_error *err)
{
	guest_fail(err, error, "kernel %s: %s", image,
		   error == -ENOEXEC ? "not a kernel image that QEMU can boot" :
		   guest_strerror(error));
	if (error == -EACCES)
		guest_hint(err, "sudo chmod a+r %s, or give another with "
			   "--kernel FILE", image);
}

/* One image: its version, its modules. */
static int kernel_try(const char *image, const char *modules,
		      struct guest_kernel *k, struct guest_error *err)
{
	const char *base = strrchr(image, '/');
	int ret;

	if (strlen(image) >= sizeof(k->image))
		return guest_fail(err, -ENAMETOOLONG, "kernel: path too long");
	snprintf(k->image, sizeof(k->image), "%s", image);
	ret = kernel_read_version(image, k->version, sizeof(k->version));
	if (ret < 0) {
		kernel_explain(ret, image, err);
		return ret;
	}
	base = base ? base + 1 : image;
	if (!k->version[0] && strncmp(base, "vmlinuz-", 8) == 0)
		snprintf(k->version, sizeof(k->version), "%s", base + 8);
	ret = kernel_find_modules(k, modules);
	if (ret < 0) {
		guest_fail(err, ret, "no modules for kernel %s (%s%s) in %s",
			   image, k->version[0] ? "version " : "of no known",
			   k->version[0] ? k->version : " version",
			   modules ? modules : "/lib/modules");
		if (k->version[0] && access(k->modules, F_OK) == 0)
			guest_hint(err, "no modules.dep there: sudo depmod %s, "
				   "with -b DIR for a tree elsewhere",
				   k->version);
		else
			guest_hint(err, "name the directory that has its "
				   "modules.dep with --modules DIR");
		return ret;
	}
	kernel_find_decompress(k);
	return 0;
}

struct kernel_names {
	char *name[64];		/* paths, newest first after sorting */
	unsigned int nr;
};

static const char *kernel_path_version(const char *path)
{
	static const char boot[] = "/boot/vmlinuz-", lib[] = "/lib/modules/";

	return strncmp(path, boot, sizeof(boot) - 1) == 0 ?
		path + sizeof(boot) - 1 : path + sizeof(lib) - 1;
}

static int kernel_newest_first(const void *a, const void *b)
{
	return kernel_compare(kernel_path_version(*(char *const *)b),
			      kernel_path_version(*(char *const *)a));
}

static void kernel_list(struct kernel_names *names, const char *dir,
			const char *before, const char *after)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[600];

	while (d && (e = readdir(d)) &&
	       names->nr < sizeof(names->name) / sizeof(names->name[0])) {
		if (e->d_name[0] == '.' ||
		    strncmp(e->d_name, before, strlen(before)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s%s", dir, e->d_name, after);
		if (access(path, F_OK) == 0) {
			names->name[names->nr] = strdup(path);
			names->nr += names->name[names->nr] != NULL;
		}
	}
	if (d)
		closedir(d);
}

static int kernel_find_newest(const char *modules, struct guest_kernel *k,
			      struct guest_error *err)
{
	struct kernel_names names = { .nr = 0 };
	struct guest_error skipped = { .text = "" }, why;
	unsigned int i;
	int ret = -ENOENT;

	kernel_list(&names, "/boot", "vmlinuz-", "");
	kernel_list(&names, "/lib/modules", "", "/vmlinuz");
	qsort(names.name, names.nr, sizeof(names.name[0]), kernel_newest_first);
	guest_fail(err, ret, "no kernel: neither /boot/vmlinuz-* nor "
		   "/lib/modules/*/vmlinuz");
	guest_hint(err, "give one with --kernel FILE");
	for (i = 0; i < names.nr; i++) {
		int one = kernel_try(names.name[i], modules, k, &why);

		if (one == 0) {
			ret = 0;
			break;
		}
		if (one == -EACCES && !skipped.text[0])
			skipped = why;
		if (ret == -ENOENT || (one == -EACCES && ret != -EACCES)) {
			ret = one;
			if (err)
				*err = why;
		}
	}
	for (i = 0; i < names.nr; i++)
		free(names.name[i]);
	k->skipped = skipped;
	return ret;
}

int guest_kernel_find(const char *image, const char *modules,
		      struct guest_kernel *k, struct guest_error *err)
{
	memset(k, 0, sizeof(*k));
	if (!image)
		return kernel_find_newest(modules, k, err);
	return kernel_try(image, modules, k, err);
}
