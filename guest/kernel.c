/* SPDX-License-Identifier: MIT */
/*
 * Which kernel a guest without a disk boots.
 *
 * Candidates are /boot/vmlinuz-NAME, where NAME is a version for Debian and
 * Fedora and "linux" for Arch, and VERSION/vmlinuz below /lib/modules and
 * /usr/lib/modules; of the host, or of the guest's root where its own kernel
 * is asked for. The newest by version that can be read and has modules wins;
 * one that can't be read (Ubuntu makes them root's) is passed over but
 * remembered, since the user would want to know. A named image is taken or
 * refused, never replaced.
 *
 * Its modules are those in the image's own tree, else the guest's root's, else
 * the host's. The version, which decides which modules fit, is the image's own
 * (kernel_image.c), else what its name says.
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

static bool kernel_has_dep(const char *dir)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/modules.dep", dir);
	return access(path, R_OK) == 0;
}

/* PREFIX/lib/modules/VERSION; where only that of a package is, -ENXIO. */
static int kernel_modules_below(struct guest_kernel *k, const char *prefix)
{
	static const char *const below[] = { "/lib", "/usr/lib" };

	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
		if (snprintf(k->modules, sizeof(k->modules),
			     "%s%s/modules/%s", prefix, below[i],
			     k->version) < (int)sizeof(k->modules) &&
		    kernel_has_dep(k->modules))
			return 0;
	}
	return -ENXIO;
}

/* In the tree that the image is in: TREE/boot/vmlinuz-*, or next to modules. */
static int kernel_modules_beside(struct guest_kernel *k)
{
	char dir[sizeof(k->image)], *slash;

	snprintf(dir, sizeof(dir), "%s", k->image);
	slash = strrchr(dir, '/');
	if (!slash)
		return -ENXIO;
	*slash = '\0';
	if (kernel_has_dep(dir)) {
		snprintf(k->modules, sizeof(k->modules), "%s", dir);
		return 0;
	}
	slash = strrchr(dir, '/');
	if (!slash || strcmp(slash, "/boot") != 0)
		return -ENXIO;
	*slash = '\0';
	return kernel_modules_below(k, dir);
}

/* "" where @dir is not called as one of the modules of a version is. */
static void kernel_modules_version(const char *dir, char *version, size_t size)
{
	char *real = realpath(dir, NULL), *name, *above;

	version[0] = '\0';
	name = real ? strrchr(real, '/') : NULL;
	if (name) {
		*name++ = '\0';
		above = strrchr(real, '/');
		if (above && strcmp(above, "/modules") == 0)
			snprintf(version, size, "%s", name);
	}
	free(real);
}

/* --modules: that directory, or one below it. */
static int kernel_modules_named(struct guest_kernel *k, const char *dir,
				struct guest_error *err)
{
	char version[sizeof(k->version)];

	if (kernel_has_dep(dir)) {
		kernel_modules_version(dir, version, sizeof(version));
		if (version[0] && k->version[0] &&
		    strcmp(version, k->version) != 0)
			return guest_fail(err, -ESTALE, "modules %s: are of "
					  "version %s, and kernel %s is %s",
					  dir, version, k->image, k->version);
		snprintf(k->modules, sizeof(k->modules), "%s", dir);
		return 0;
	}
	if (!k->version[0])
		return -ENXIO;
	if (kernel_modules_below(k, dir) == 0)
		return 0;
	snprintf(k->modules, sizeof(k->modules), "%s/%s", dir, k->version);
	return kernel_has_dep(k->modules) ? 0 : -ENXIO;
}

/* Fill k->modules for its version. */
static int kernel_find_modules(struct guest_kernel *k,
			       const struct guest_kernel_ask *ask,
			       struct guest_error *err)
{
	const char *root = ask->root && strcmp(ask->root, "/") != 0 ?
		ask->root : "";

	if (ask->modules)
		return kernel_modules_named(k, ask->modules, err);
	if (kernel_modules_beside(k) == 0)
		return 0;
	if (!k->version[0])
		return -ENXIO;
	if (*root && kernel_modules_below(k, root) == 0)
		return 0;
	return kernel_modules_below(k, "");
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
		else	/* next to the image, as in an unpacked package */
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

static void kernel_explain(int error, const char *image, const char *arch,
			   const char *other, struct guest_error *err)
{
	if (other) {
		guest_fail(err, error, "kernel %s: is for %s, and the guest is "
			   "%s", image, other, arch);
		guest_hint(err, "give one for %s with --kernel FILE", arch);
		return;
	}
	guest_fail(err, error, "kernel %s: %s", image,
		   error == -ENOEXEC ? "not a kernel image that QEMU can boot" :
		   guest_strerror(error));
	if (error == -EACCES)
		guest_hint(err, "sudo chmod a+r %s, or give another with "
			   "--kernel FILE", image);
}

static int kernel_explain_modules(const struct guest_kernel *k,
				  const struct guest_kernel_ask *ask,
				  struct guest_error *err)
{
	guest_fail(err, -ENXIO, "no modules for kernel %s (%s%s) in %s",
		   k->image, k->version[0] ? "version " : "of no known",
		   k->version[0] ? k->version : " version",
		   ask->modules ? ask->modules :
		   ask->of_root ? ask->root : "/lib/modules");
	if (k->version[0] && access(k->modules, F_OK) == 0)
		guest_hint(err, "no modules.dep there: sudo depmod %s, "
			   "with -b DIR for a tree elsewhere", k->version);
	else
		guest_hint(err, "name the directory that has its modules.dep "
			   "with --modules DIR");
	return -ENXIO;
}

static const char *kernel_arch(const struct guest_kernel_ask *ask)
{
	return ask->arch ? ask->arch : guest_host_arch;
}

/* One image: its version, its modules. */
static int kernel_try(const char *image, const struct guest_kernel_ask *ask,
		      struct guest_kernel *k, struct guest_error *err)
{
	const char *base = strrchr(image, '/'), *other;
	const char *arch = kernel_arch(ask);
	int ret;

	if (strlen(image) >= sizeof(k->image))
		return guest_fail(err, -ENAMETOOLONG, "kernel: path too long");
	snprintf(k->image, sizeof(k->image), "%s", image);
	ret = kernel_image_read(image, arch, k->version, sizeof(k->version),
				&other);
	if (ret < 0) {
		kernel_explain(ret, image, arch, other, err);
		return ret;
	}
	base = base ? base + 1 : image;
	if (!k->version[0] && strncmp(base, "vmlinuz-", 8) == 0)
		snprintf(k->version, sizeof(k->version), "%s", base + 8);
	ret = kernel_find_modules(k, ask, err);
	if (ret == -ENXIO)
		return kernel_explain_modules(k, ask, err);
	if (ret == 0)
		kernel_find_decompress(k);
	return ret;
}

struct kernel_name {
	char *path;
	char version[128];	/* the image's, else the name's */
};

struct kernel_names {
	const char *arch;
	struct kernel_name list[64]; /* newest first after sorting */
	unsigned int nr;
};

static int kernel_newest_first(const void *a, const void *b)
{
	return kernel_compare(((const struct kernel_name *)b)->version,
			      ((const struct kernel_name *)a)->version);
}

static void kernel_list(struct kernel_names *names, const char *prefix,
			const char *below, const char *before,
			const char *after)
{
	char dir[4096], path[4400], version[128];
	const char *other;
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s%s", prefix, below);
	d = opendir(dir);
	while (d && (e = readdir(d)) &&
	       names->nr < sizeof(names->list) / sizeof(names->list[0])) {
		struct kernel_name *n = &names->list[names->nr];

		if (e->d_name[0] == '.' ||
		    strncmp(e->d_name, before, strlen(before)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s%s", dir, e->d_name, after);
		if (access(path, F_OK) < 0)
			continue;
		if (kernel_image_read(path, names->arch, version,
				      sizeof(version), &other) < 0 ||
		    !version[0])
			snprintf(version, sizeof(version), "%.*s",
				 (int)sizeof(version) - 1,
				 e->d_name + strlen(before));
		memcpy(n->version, version, sizeof(version));
		n->path = strdup(path);
		names->nr += n->path != NULL;
	}
	if (d)
		closedir(d);
}

static int kernel_find_newest(const struct guest_kernel_ask *ask,
			      struct guest_kernel *k, struct guest_error *err)
{
	const char *prefix = ask->of_root && strcmp(ask->root, "/") != 0 ?
		ask->root : "";
	struct guest_error skipped = { .text = "" }, why;
	struct kernel_names names = { .arch = kernel_arch(ask) };
	unsigned int i;
	int ret = -ENOENT;

	kernel_list(&names, prefix, "/boot", "vmlinuz-", "");
	kernel_list(&names, prefix, "/lib/modules", "", "/vmlinuz");
	kernel_list(&names, prefix, "/usr/lib/modules", "", "/vmlinuz");
	qsort(names.list, names.nr, sizeof(names.list[0]), kernel_newest_first);
	guest_fail(err, ret, "no kernel: neither %s/boot/vmlinuz-* nor "
		   "%s/lib/modules/*/vmlinuz", prefix, prefix);
	guest_hint(err, "give one with --kernel FILE");
	for (i = 0; i < names.nr; i++) {
		int one = kernel_try(names.list[i].path, ask, k, &why);

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
		free(names.list[i].path);
	k->skipped = skipped;
	return ret;
}

int guest_kernel_find(const struct guest_kernel_ask *ask,
		      struct guest_kernel *k, struct guest_error *err)
{
	memset(k, 0, sizeof(*k));
	if (!ask->image)
		return kernel_find_newest(ask, k, err);
	return kernel_try(ask->image, ask, k, err);
}
