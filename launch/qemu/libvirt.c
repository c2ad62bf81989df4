/* SPDX-License-Identifier: MIT */
/*
 * A configuration as a libvirt domain: the same machine, with vmshare as the
 * binary of each <filesystem>. What libvirt's XML can't express is named on
 * stderr; what would need vmshare's own init is refused.
 */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/qemu/private.h"

/* Text between tags or quotes. Control characters can't be in XML at all. */
static void put_text(const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", stdout);
			break;
		case '<':
			fputs("&lt;", stdout);
			break;
		case '>':
			fputs("&gt;", stdout);
			break;
		case '\'':
			fputs("&apos;", stdout);
			break;
		default:
			putchar((unsigned char)*text < ' ' ? '?' : *text);
		}
	}
}

/* <NAME ATTRIBUTE='value'/> behind @indent blanks. */
static void put_empty(int indent, const char *name, const char *attribute,
		      const char *value)
{
	printf("%*s<%s %s='", indent, "", name, attribute);
	put_text(value);
	puts("'/>");
}

static void put_element(int indent, const char *name, const char *text)
{
	printf("%*s<%s>", indent, "", name);
	put_text(text);
	printf("</%s>\n", name);
}

/* libvirt runs elsewhere: every path must be absolute. */
static const char *absolute(const char *path, char *buf)
{
	return realpath(path, buf) ? buf : path;
}

static void put_memory(const struct config *c)
{
	uint64_t kib = c->mem.page_size >> 10;

	printf("  <memory unit='KiB'>%llu</memory>\n",
	       (unsigned long long)(c->memory >> 10));
	puts("  <memoryBacking>");
	if (c->mem.type == MEM_HUGEPAGES && kib)
		printf("    <hugepages>\n      <page size='%llu' "
		       "unit='KiB'/>\n    </hugepages>\n",
		       (unsigned long long)kib);
	else if (c->mem.type == MEM_HUGEPAGES)
		puts("    <hugepages/>");
	if (c->mem.type != MEM_HUGEPAGES)
		printf("    <source type='%s'/>\n",
		       c->mem.type == MEM_FILE ? "file" : "memfd");
	puts("    <access mode='shared'/>");
	if (c->mem.prealloc)
		puts("    <allocation mode='immediate'/>");
	puts("  </memoryBacking>");
	if (c->mem.type == MEM_FILE)
		log_note("memory-type file=%s: libvirt takes the directory "
			 "from memory_backing_dir in qemu.conf",
			 c->mem.dir);
}

static void put_cpu(const struct config *c, bool kvm)
{
	printf("  <vcpu>%u</vcpu>\n", c->cpus);
	if (c->cpu_model)
		printf("  <cpu mode='custom'>\n    <model>%s</model>\n",
		       c->cpu_model);
	else
		printf("  <cpu mode='%s'>\n",
		       kvm ? "host-passthrough" : "maximum");
	if (c->numa)
		puts("    <numa>");
	for (unsigned int i = 0; c->numa && i < c->nr_nodes; i++) {
		const struct numa_config *n = &c->nodes[i];

		printf("      <cell id='%u'%s%s%s memory='%llu' unit='KiB' "
		       "memAccess='shared'/>\n",
		       i, n->cpus ? " cpus='" : "", n->cpus ? n->cpus : "",
		       n->cpus ? "'" : "",
		       (unsigned long long)(n->memory >> 10));
	}
	if (c->numa)
		puts("    </numa>");
	puts("  </cpu>");
}

static void put_os(const struct config *c, const char *machine)
{
	char path[PATH_MAX];

	printf("  <os%s>\n    <type arch='%s' machine='%s'>hvm</type>\n",
	       strcmp(c->firmware, "uefi") == 0 && !c->kernel
		       ? " firmware='efi'"
		       : "",
	       c->arch, machine);
	if (c->kernel)
		put_element(4, "kernel", absolute(c->kernel, path));
	if (c->initrd)
		put_element(4, "initrd", absolute(c->initrd, path));
	if (c->append)
		put_element(4, "cmdline", c->append);
	puts("  </os>\n  <features>\n    <acpi/>\n  </features>");
}

static void put_disk(const struct config *c, unsigned int i)
{
	const char *format = c->disk_format;
	char path[PATH_MAX];

	if (strcmp(format, "auto") == 0)
		format = qemu_disk_format(c->disks[i].path);
	printf("    <disk type='file' device='disk'>\n"
	       "      <driver name='qemu' type='%s'/>\n",
	       format);
	put_empty(6, "source", "file", absolute(c->disks[i].path, path));
	printf("      <target dev='vd%c' bus='virtio'/>\n", 'a' + (int)i);
	if (c->read_only)
		puts("      <readonly/>");
	if (c->ephemeral)
		puts("      <transient/>");
	puts("    </disk>");
}

/* Ranges one to one, both ways, are all that an <idmap> can have. */
static bool is_idmap(const struct id_map *map)
{
	for (unsigned int i = 0; i < map->nr; i++)
		if (map->range[i].kind != ID_RANGE)
			return false;
	return true;
}

static void put_idmap(const char *element, const struct id_map *map)
{
	for (unsigned int i = 0; i < map->nr; i++)
		printf("        <%s start='%u' target='%u' count='%u'/>\n",
		       element, map->range[i].guest, map->range[i].host,
		       map->range[i].count);
}

static void put_idmaps(const struct share_config *s)
{
	if ((!s->uid_map.nr && !s->gid_map.nr) || !is_idmap(&s->uid_map) ||
	    !is_idmap(&s->gid_map))
		return;
	puts("      <idmap>");
	put_idmap("uid", &s->uid_map);
	put_idmap("gid", &s->gid_map);
	puts("      </idmap>");
	log_note("share '%s': a libvirt before 10.0 ignores uid-map and "
		 "gid-map", s->tag);
}

/* Options that only a command line of ours has. */
static void note_lost(const struct config *c, const struct share_config *s)
{
	const struct {
		bool set;
		const char *name;
	} lost[] = {
		{s->queues > 1 && s->queues != c->cpus, "queues"},
		{s->writeback, "writeback"},
		{s->inode_handles, "inode-handles"},
		{s->direct_io, "direct-io"},
		{s->noatime, "noatime"},
		{!s->submounts, "submounts"},
		{s->access && strcmp(s->access, "passthrough") != 0, "access"},
		{s->xattr_map, "xattr-map"},
		{s->drop_caps, "drop-caps"},
		{!is_idmap(&s->uid_map), "this uid-map"},
		{!is_idmap(&s->gid_map), "this gid-map"},
		{s->inode_limit, "inode-limit"},
		{strcmp(s->seccomp, "kill") != 0, "seccomp"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lost); i++)
		if (lost[i].set)
			log_note("share '%s': libvirt can't say %s", s->tag,
				 lost[i].name);
}

static void put_binary(const struct share_config *s, const char *self)
{
	printf("      <binary path='");
	put_text(self);
	printf("' xattr='%s'>\n", s->xattr ? "on" : "off");
	if (strcmp(s->cache, "auto") != 0)
		put_empty(8, "cache", "mode", s->cache);
	if (strcmp(s->sandbox, "namespace") == 0 ||
	    strcmp(s->sandbox, "chroot") == 0)
		put_empty(8, "sandbox", "mode", s->sandbox);
	printf("        <lock posix='%s' flock='%s'/>\n",
	       s->posix_lock ? "on" : "off", s->flock ? "on" : "off");
	if (s->threads)
		printf("        <thread_pool size='%u'/>\n", s->threads);
	if (s->open_files)
		printf("        <openfiles max='%u'/>\n", s->open_files);
	puts("      </binary>");
}

static void put_share(const struct config *c, const struct share_config *s,
		      const char *self)
{
	char path[PATH_MAX];

	puts("    <filesystem type='mount' accessmode='passthrough'>");
	printf("      <driver type='virtiofs' queue='%u'/>\n", s->queue_size);
	if (s->socket) {
		put_empty(6, "source", "socket", absolute(s->socket, path));
	} else {
		note_lost(c, s);
		put_binary(s, self);
		put_idmaps(s);
		put_empty(6, "source", "dir", absolute(s->dir, path));
	}
	put_empty(6, "target", "dir", s->tag);
	if (s->ro)
		puts("      <readonly/>");
	puts("    </filesystem>");
}

static void put_devices(const struct config *c, const char *emulator)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	puts("  <devices>");
	put_element(4, "emulator", emulator);
	for (unsigned int i = 0; i < c->nr_disks; i++)
		put_disk(c, i);
	for (unsigned int i = 0; i < c->nr_shares; i++)
		put_share(c, &c->shares[i], self);
	if (strcmp(c->net, "user") == 0)
		puts("    <interface type='user'>\n"
		     "      <model type='virtio'/>\n    </interface>");
	if (c->nr_forwards)
		log_note("--forward: libvirt needs passt for it; left out");
	if (c->nr_qemu_args)
		log_note("--qemu-arg: left out");
	puts("    <console type='pty'/>\n    <rng model='virtio'>\n"
	     "      <backend model='random'>/dev/urandom</backend>\n"
	     "    </rng>\n  </devices>\n</domain>");
}

int libvirt_print(const struct config *c, const struct qemu_info *info)
{
	const char *slash;
	char name[64];

	if (c->own_init) {
		log_error("libvirt-xml: a guest that vmshare's own init boots "
			  "is not for libvirt");
		log_hint("give a disk that boots by itself");
		return EXIT_REFUSED;
	}
	slash = c->nr_disks ? strrchr(c->disks[0].path, '/') : NULL;
	snprintf(name, sizeof(name), "%s",
		 slash	       ? slash + 1
		 : c->nr_disks ? c->disks[0].path
			       : "vmshare");
	name[strcspn(name, ".")] = '\0';
	printf("<domain type='%s'>\n", info->kvm ? "kvm" : "qemu");
	put_element(2, "name", *name ? name : "vmshare");
	put_memory(c);
	put_cpu(c, info->kvm);
	put_os(c, info->machine);
	puts("  <on_crash>destroy</on_crash>");
	put_devices(c, info->path);
	return 0;
}
