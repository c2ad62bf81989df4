/* SPDX-License-Identifier: MIT */
/*
 * UEFI firmware and disk formats: files that QEMU is told about explicitly.
 *
 * Where firmware lies differs between distributions; QEMU's descriptors
 * (docs/interop/firmware.json) say it. Directories are read in the order of
 * that document, a file of the same name in a later one overrides, an empty
 * one masks, and the first by name that fits is taken. Firmware that wants
 * secure boot or SMM is passed over.
 *
 * A disk's format is never left to QEMU's guess: a guest could write another
 * format's magic to a raw disk and have QEMU open a host file at the next
 * start. We guess too, but only what the user's command line or the file says
 * at the first bytes, and tell the result explicitly.
 */
#include "launch/qemu/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DESCRIPTOR_MAX	(64 << 10)
#define MAX_DESCRIPTORS 64

struct descriptor {
	char name[128];
	unsigned int dir; /* index of the last that has it */
};

struct descriptors {
	struct descriptor list[MAX_DESCRIPTORS];
	unsigned int count;
};

static void note_descriptor(struct descriptors *d, const char *name,
			    unsigned int dir)
{
	unsigned int i;
	size_t len = strlen(name);

	if (len < 6 || strcmp(name + len - 5, ".json") != 0 ||
	    len >= sizeof(d->list[0].name))
		return;
	for (i = 0; i < d->count; i++)
		if (strcmp(d->list[i].name, name) == 0)
			break;
	if (i == MAX_DESCRIPTORS)
		return;
	if (i == d->count)
		d->count++;
	memcpy(d->list[i].name, name, len + 1);
	d->list[i].dir = dir;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct descriptor *)a)->name,
		      ((const struct descriptor *)b)->name);
}

static void list_descriptors(struct descriptors *d)
{
	for (unsigned int i = 0; qemu_host.firmware[i]; i++) {
		DIR *dir = opendir(qemu_host.firmware[i]);
		struct dirent *e;

		while (dir && (e = readdir(dir)))
			note_descriptor(d, e->d_name, i);
		if (dir)
			closedir(dir);
	}
	qsort(d->list, d->count, sizeof(d->list[0]), by_name);
}

static bool has_string(json array, const char *want)
{
	char text[64];

	for (json e = json_first(array); e; e = json_next(e))
		if (!json_string(e, text, sizeof(text)) &&
		    strcmp(text, want) == 0)
			return true;
	return false;
}

/* "pc-q35-*" is what a machine called q35 is in full. */
static bool has_machine(json machines, const char *machine)
{
	char full[64], pattern[64];
	int len = (int)strcspn(machine, ",");

	snprintf(full, sizeof(full), "%s%.*s-7.2",
		 strncmp(machine, "q35", 3) ? "" : "pc-", len, machine);
	for (json e = json_first(machines); e; e = json_next(e))
		if (!json_string(e, pattern, sizeof(pattern)) &&
		    !fnmatch(pattern, full, 0))
			return true;
	return false;
}

static bool fits(json d, const char *arch, const char *machine)
{
	json features = json_get(d, "features");
	char text[64];

	if (!has_string(json_get(d, "interface-types"), "uefi") ||
	    has_string(features, "requires-smm") ||
	    has_string(features, "secure-boot"))
		return false;
	for (json t = json_first(json_get(d, "targets")); t; t = json_next(t))
		if (!json_string(json_get(t, "architecture"), text,
				 sizeof(text)) &&
		    strcmp(text, arch) == 0 &&
		    has_machine(json_get(t, "machines"), machine))
			return true;
	return false;
}

/* {"filename", "format"} */
static int take_file(json file, char *name, size_t size, char *format,
		     size_t format_size)
{
	int err = json_string(json_get(file, "filename"), name, size);

	if (!err && json_string(json_get(file, "format"), format, format_size))
		snprintf(format, format_size, "raw");
	if (!err && access(name, R_OK))
		err = -errno;
	return err;
}

static int take(json d, struct qemu_info *info)
{
	json map = json_get(d, "mapping"), vars;
	char device[16];
	int err;

	if (json_string(json_get(map, "device"), device, sizeof(device)))
		return -EINVAL;
	info->uefi_flash = strcmp(device, "flash") == 0;
	if (!info->uefi_flash)
		return strcmp(device, "memory")
			       ? -EINVAL
			       : take_file(map, info->uefi_code,
					   sizeof(info->uefi_code),
					   info->uefi_code_format,
					   sizeof(info->uefi_code_format));
	err = take_file(json_get(map, "executable"), info->uefi_code,
			sizeof(info->uefi_code), info->uefi_code_format,
			sizeof(info->uefi_code_format));
	vars = json_get(map, "nvram-template");
	if (!err && vars)
		err = take_file(vars, info->uefi_vars, sizeof(info->uefi_vars),
				info->uefi_vars_format,
				sizeof(info->uefi_vars_format));
	return err;
}

/* The text of @dir/@name in @buf; 0 or -errno. */
static int read_text(const char *dir, const char *name, char *buf, size_t size)
{
	char path[512];
	size_t n;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fread(buf, 1, size - 1, f);
	fclose(f);
	buf[n] = '\0';
	return 0;
}

int qemu_find_uefi(const char *arch, const char *machine,
		   struct qemu_info *info)
{
	struct descriptors found = {.count = 0};
	char *text = malloc(DESCRIPTOR_MAX);
	int err = -ENOENT;

	if (!text)
		return -ENOMEM;
	list_descriptors(&found);
	for (unsigned int i = 0; i < found.count && err; i++) {
		const struct descriptor *d = &found.list[i];

		if (read_text(qemu_host.firmware[d->dir], d->name, text,
			      DESCRIPTOR_MAX) ||
		    !json_valid(text) || !fits(text, arch, machine))
			continue;
		err = take(text, info);
	}
	if (err)
		info->uefi_code[0] = info->uefi_vars[0] = '\0';
	free(text);
	return err ? -ENOENT : 0;
}

const char *qemu_disk_format(const char *path)
{
	static const struct {
		size_t offset, len;
		const char *magic, *format;
	} magics[] = {
		{0, 4, "QFI\xfb", "qcow2"},	    {0, 4, "KDMV", "vmdk"},
		{0, 8, "vhdxfile", "vhdx"},	    {0, 8, "conectix", "vpc"},
		{64, 4, "\x7f\x10\xda\xbe", "vdi"},
	};
	char head[128] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return "raw";
	n = pread(fd, head, sizeof(head), 0);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (n >= (ssize_t)(magics[i].offset + magics[i].len) &&
		    memcmp(head + magics[i].offset, magics[i].magic,
			   magics[i].len) == 0)
			return magics[i].format;
	return "raw";
}
