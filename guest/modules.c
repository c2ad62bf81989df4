/* SPDX-License-Identifier: MIT */
/*
 * Which module files a guest needs, and in which order, from the text files
 * that depmod leaves in /lib/modules/VERSION:
 *
 *   modules.dep	"kernel/a.ko: kernel/b.ko kernel/c.ko": all that a.ko
 *			needs, directly or not, to be loaded from last to first
 *   modules.builtin	"kernel/a.ko": part of the kernel itself
 *   modules.softdep	"softdep a pre: b c": what a asks for by itself at run
 *			time, when there is no modprobe to serve it
 *   modules.alias	"alias crypto-crc32c crc32c_generic"
 *
 * What is wanted is the table below. A module has a group: those of group ""
 * are loaded at once, the others (file systems) only when init has found that
 * the disk needs them; a dependency that two groups share is listed in both,
 * and packed once. '-' and '_' are the same in a module's name.
 *
 * The files are small (half a megabyte for a distribution's kernel) and asked
 * a few dozen times, so they are searched as text and no index is built.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/private.h"

struct module_want {
	const char *name;
	const char *group;
	unsigned int needs;	/* any of MODULE_FOR_* */
	const char *config;	/* NULL: fine where the kernel has it not */
};

static const struct module_want module_wants[] = {
	{ "virtio_pci", "", MODULE_FOR_ALL, "VIRTIO_PCI" },
	{ "virtio_console", "", MODULE_FOR_ALL, "VIRTIO_CONSOLE" },
	{ "virtiofs", "", MODULE_FOR_FS, "VIRTIO_FS" },
	{ "overlay", "", MODULE_FOR_OVER, "OVERLAY_FS" },
	{ "virtio_blk", "", MODULE_FOR_DISK | MODULE_FOR_DATA, "VIRTIO_BLK" },
	{ "virtio_net", "", MODULE_FOR_NET, "VIRTIO_NET" },
	{ "qemu_fw_cfg", "", MODULE_FOR_DUMP, NULL },
	{ "ext4", "ext4", MODULE_FOR_DISK, NULL },
	{ "xfs", "xfs", MODULE_FOR_DISK, NULL },
	{ "btrfs", "btrfs", MODULE_FOR_DISK, NULL },
	{ "squashfs", "squashfs", MODULE_FOR_DISK, NULL },
	{ "erofs", "erofs", MODULE_FOR_DISK, NULL },
};

struct module_index {
	char *dep, *builtin, *softdep, *alias;	/* "" where there is no file */
	struct guest_modules *mods;
	const char *group;
	unsigned int depth;
};

/* Soft dependencies name each other in no kernel, but the text might. */
#define MODULE_DEPTH 8

static int module_add(struct module_index *ix, const char *name, size_t len,
		      bool optional);

size_t module_name(const char *path, size_t len, char *name, size_t size)
{
	const char *slash = memrchr(path, '/', len);
	const char *base = slash ? slash + 1 : path;
	size_t n = len - (size_t)(base - path), i;
	const char *dot = memmem(base, n, ".ko", 3);

	if (dot)
		n = (size_t)(dot - base);
	if (n == 0 || n >= size)
		return 0;
	for (i = 0; i < n; i++)
		name[i] = base[i] == '-' ? '_' : base[i];
	name[n] = '\0';
	return n;
}

bool module_compressed(const char *path)
{
	size_t len = strlen(path);

	return len < 3 || strcmp(path + len - 3, ".ko") != 0;
}

/* The line of a list whose path up to @end is the module @name. */
static const char *module_line(const char *text, char end, const char *name,
			       size_t *len)
{
	char found[128];

	while (*text) {
		size_t line = strcspn(text, "\n");
		const char *stop = memchr(text, end, line);
		size_t n = stop ? (size_t)(stop - text) : line;

		if (module_name(text, n, found, sizeof(found)) &&
		    strcmp(found, name) == 0) {
			*len = line;
			return text;
		}
		text += line + (text[line] == '\n');
	}
	return NULL;
}

static bool module_listed(const struct module_index *ix, const char *path,
			  size_t len)
{
	unsigned int i;

	for (i = 0; i < ix->mods->nr; i++) {
		const struct guest_module *m = &ix->mods->list[i];

		if (strncmp(m->path, path, len) == 0 && m->path[len] == '\0' &&
		    (m->group[0] == '\0' || strcmp(m->group, ix->group) == 0))
			return true;
	}
	return false;
}

static int module_append(struct module_index *ix, const char *path, size_t len,
			 bool optional)
{
	struct guest_modules *mods = ix->mods;
	struct guest_module *m;

	if (mods->nr == mods->room) {
		unsigned int room = mods->room ? mods->room * 2 : 32;

		m = realloc(mods->list, room * sizeof(*m));
		if (!m)
			return -ENOMEM;
		mods->list = m;
		mods->room = room;
	}
	m = &mods->list[mods->nr];
	m->path = strndup(path, len);
	if (!m->path)
		return -ENOMEM;
	m->group = ix->group;
	m->optional = optional;
	mods->nr++;
	return 0;
}

/* A soft dependency is a module or an alias, of several modules perhaps. */
static int module_add_soft(struct module_index *ix, const char *word,
			   size_t len)
{
	const char *line = ix->alias;
	char name[128];
	int ret;

	if (!module_name(word, len, name, sizeof(name)))
		return 0;
	ret = module_add(ix, name, strlen(name), true);
	if (ret != -ENOENT)
		return ret;
	while (*line) {
		size_t n = strcspn(line, "\n");

		if (n > len + 7 && strncmp(line, "alias ", 6) == 0 &&
		    strncmp(line + 6, word, len) == 0 && line[6 + len] == ' ') {
			ret = module_add(ix, line + 7 + len, n - 7 - len, true);
			if (ret < 0 && ret != -ENOENT)
				return ret;
		}
		line += n + (line[n] == '\n');
	}
	return 0;
}

/* "softdep NAME pre: A B post: C": A and B. */
static int module_add_softdeps(struct module_index *ix, const char *name)
{
	const char *line = ix->softdep;
	char found[128];
	int ret;

	while (*line) {
		const char *p = line + 8, *end = line + strcspn(line, "\n");
		bool pre = false, ours = false, first = true;

		while (strncmp(line, "softdep ", 8) == 0 && p < end) {
			size_t n = strcspn(p, " \n");

			if (first)
				ours = module_name(p, n, found,
						   sizeof(found)) &&
				       strcmp(found, name) == 0;
			else if (n > 0 && p[n - 1] == ':')
				pre = strncmp(p, "pre:", n) == 0;
			else if (ours && pre && n > 0) {
				ret = module_add_soft(ix, p, n);
				if (ret < 0)
					return ret;
			}
			first = false;
			p += n + (p[n] == ' ');
		}
		line = *end ? end + 1 : end;
	}
	return 0;
}

/* One file after what it asks for softly; its hard needs are there already. */
static int module_add_file(struct module_index *ix, const char *path,
			   size_t len, bool optional)
{
	char name[128];
	int ret;

	if (module_listed(ix, path, len))
		return 0;
	if (!module_name(path, len, name, sizeof(name)))
		return -EINVAL;
	ret = module_add_softdeps(ix, name);
	if (ret < 0 || module_listed(ix, path, len))
		return ret;
	return module_append(ix, path, len, optional);
}

static int module_add(struct module_index *ix, const char *name, size_t len,
		      bool optional)
{
	const char *line, *colon, *p;
	char plain[128];
	size_t n;
	int ret = 0;

	if (!module_name(name, len, plain, sizeof(plain)))
		return -EINVAL;
	line = module_line(ix->dep, ':', plain, &n);
	if (!line)
		return module_line(ix->builtin, ':', plain, &n) ? 0 : -ENOENT;
	if (ix->depth >= MODULE_DEPTH)
		return 0;
	ix->depth++;
	colon = memchr(line, ':', n);
	for (p = line + n; ret == 0 && p > colon + 1;) {
		const char *space = memrchr(colon, ' ', (size_t)(p - colon));
		const char *dep = space ? space + 1 : colon + 1;

		if (p > dep)
			ret = module_add_file(ix, dep, (size_t)(p - dep),
					      optional);
		p = space ? space : colon;
	}
	if (ret == 0)
		ret = module_add_file(ix, line, (size_t)(colon - line),
				      optional);
	ix->depth--;
	return ret;
}

static int module_index_read(const char *dir, const char *name, bool must,
			     char **text, struct guest_error *err)
{
	char path[4400];
	int ret;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ret = guest_read_file(path, text, NULL);
	if (ret == -ENOENT && !must) {
		*text = strdup("");
		ret = *text ? 0 : -ENOMEM;
	}
	if (ret < 0)
		return guest_fail(err, ret, "%s: %s", path,
				  guest_strerror(ret));
	return 0;
}

int modules_resolve(const char *dir, unsigned int needs,
		    struct guest_modules *mods, struct guest_error *err)
{
	struct module_index ix = { .mods = mods };
	const struct module_want *w = module_wants;
	const size_t count = sizeof(module_wants) / sizeof(*w);
	int ret;

	ret = module_index_read(dir, "modules.dep", true, &ix.dep, err);
	if (ret == 0)
		ret = module_index_read(dir, "modules.builtin", false,
					&ix.builtin, err);
	if (ret == 0)
		ret = module_index_read(dir, "modules.softdep", false,
					&ix.softdep, err);
	if (ret == 0)
		ret = module_index_read(dir, "modules.alias", false, &ix.alias,
					err);
	for (; ret == 0 && w < module_wants + count; w++) {
		if (!(w->needs & needs))
			continue;
		ix.group = w->group;
		ret = module_add(&ix, w->name, strlen(w->name), !w->config);
		if (ret == -ENOENT && !w->config)
			ret = 0;
		else if (ret < 0)
			guest_fail(err, ret, "%s has no module '%s': %s", dir,
				   w->name, guest_strerror(ret));
		if (ret == -ENOENT)
			guest_hint(err, "choose a kernel with CONFIG_%s: "
				   "--kernel FILE", w->config);
	}
	free(ix.dep);
	free(ix.builtin);
	free(ix.softdep);
	free(ix.alias);
	return ret;
}

void modules_free(struct guest_modules *mods)
{
	unsigned int i;

	for (i = 0; i < mods->nr; i++)
		free(mods->list[i].path);
	free(mods->list);
	memset(mods, 0, sizeof(*mods));
}
