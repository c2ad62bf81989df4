/* SPDX-License-Identifier: MIT */
/*
 * A cache of what QEMU binaries can do.
 *
 * Asking one takes three starts of QEMU, about 50 ms, out of the 60 ms that a
 * run needs before QEMU starts its guest. The answers are valid for one file:
 * its device, inode number, size and times are kept with them, and an upgrade
 * changes these. A script is asked each time, since the program that it starts
 * may change. So is a QEMU without a sandbox or without vhost-user-fs: the
 * reason may have been temporary, and a cached "no" would be worse than asking.
 *
 * The cache is one small text file in the user's cache directory, with a line
 * for each of the last few binaries. It is replaced as a whole, so two runs at
 * the same time lose a line at worst. A file that can't be read, or belongs to
 * another user, is ignored; errors of writing are, too. Nothing is printed.
 */

#include "launch/qemu/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_LINE	256
#define MAX_LINES	8
#define MAX_TEXT	(MAX_LINE * MAX_LINES)

enum {
	CAN_VHOST_USER_FS = 1 << 0,
	CAN_MICROVM	  = 1 << 1,
	CAN_PVPANIC	  = 1 << 2,
	CAN_PVPANIC_PCI	  = 1 << 3,
	CAN_SANDBOX	  = 1 << 4,
};

/* The directory of the memory; made, with @make, where there is none. */
static int open_directory(bool make)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char path[PATH_MAX];
	struct stat st;
	int fd, n;

	if (cache && cache[0] == '/')
		n = snprintf(path, sizeof(path), "%s", cache);
	else if (home && home[0] == '/')
		n = snprintf(path, sizeof(path), "%s/.cache", home);
	else
		return -ENOENT;
	if (n < 0 || (size_t)n + sizeof("/vmshare") > sizeof(path))
		return -ENAMETOOLONG;
	if (make)
		mkdir(path, 0700);
	strcpy(path + n, "/vmshare");
	if (make)
		mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && st.st_uid == geteuid() &&
	    !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return fd;
	close(fd);
	return -EPERM;
}

/* All lines, NUL-terminated: how many bytes, or -errno. */
static ssize_t read_lines(int dir, char text[MAX_TEXT])
{
	int fd = openat(dir, "qemu", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	text[0] = '\0';
	if (fd < 0)
		return -errno;
	n = read(fd, text, MAX_TEXT - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

/*
 * What tells a binary from every other, as a line begins with it: 0, or
 * -EINVAL for what is none.
 */
static int identify(const char *path, char id[MAX_LINE])
{
	char magic[4] = "";
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = -EINVAL;

	if (fd < 0)
		return err;
	if (!fstat(fd, &st) && read(fd, magic, sizeof(magic)) == 4 &&
	    memcmp(magic, "\177ELF", 4) == 0) {
		snprintf(id, MAX_LINE,
			 "%s %llx:%llx %lld %lld.%09ld %lld.%09ld ",
			 VMSHARE_VERSION, (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino, (long long)st.st_size,
			 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			 (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
		err = 0;
	}
	close(fd);
	return err;
}

/* The line of @id, or NULL. */
static char *find_line(char *text, const char *id)
{
	size_t len = strlen(id);

	for (char *line = text; *line; line = strchr(line, '\n') + 1) {
		if (strncmp(line, id, len) == 0)
			return line;
		if (!strchr(line, '\n'))
			break;
	}
	return NULL;
}

bool qemu_recall(struct qemu_info *info)
{
	char text[MAX_TEXT], id[MAX_LINE], *line;
	unsigned int major, minor, can;
	int dir = open_directory(false);

	if (dir < 0)
		return false;
	read_lines(dir, text);
	close(dir);
	if (identify(info->path, id))
		return false;
	line = find_line(text, id);
	if (!line || sscanf(line + strlen(id), "%u.%u %x\n", &major, &minor,
			    &can) != 3)
		return false;
	info->major = major;
	info->minor = minor;
	info->has_vhost_user_fs = can & CAN_VHOST_USER_FS;
	info->has_microvm = can & CAN_MICROVM;
	info->has_pvpanic = can & CAN_PVPANIC;
	info->has_pvpanic_pci = can & CAN_PVPANIC_PCI;
	info->has_sandbox = can & CAN_SANDBOX;
	return info->has_sandbox && info->has_vhost_user_fs;
}

/* Take what is known of @id out of @text. */
static void drop_lines(char *text, const char *id)
{
	char *line, *next;

	while ((line = find_line(text, id))) {
		next = strchr(line, '\n');
		if (next)
			memmove(line, next + 1, strlen(next + 1) + 1);
		else
			*line = '\0';
	}
}

/* Put @line behind the last of the whole lines in @text, as many as fit. */
static void add_line(char text[MAX_TEXT], const char *line)
{
	char *end = strrchr(text, '\n'), *from = text;
	size_t need = strlen(line) + 1;
	unsigned int lines = 0;

	end = end ? end + 1 : text;
	*end = '\0';
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	while (from < end && (lines >= MAX_LINES ||
			      (size_t)(end - from) + need > MAX_TEXT)) {
		from = strchr(from, '\n') + 1;
		lines--;
	}
	memmove(text, from, (size_t)(end - from) + 1);
	strcat(text, line);
}

static void replace(int dir, const char *text)
{
	char name[32];
	size_t len = strlen(text);
	int fd;

	snprintf(name, sizeof(name), "qemu.%ld", (long)getpid());
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, text, len) != (ssize_t)len ||
	    renameat(dir, name, dir, "qemu"))
		unlinkat(dir, name, 0);
	close(fd);
}

void qemu_remember(const struct qemu_info *info)
{
	char text[MAX_TEXT], line[MAX_LINE];
	unsigned int can = 0;
	bool good;
	size_t len;
	int dir;

	if (!info->asked || identify(info->path, line))
		return;
	good = info->has_sandbox && info->has_vhost_user_fs;
	dir = open_directory(good);
	if (dir < 0)
		return;
	can |= info->has_vhost_user_fs ? CAN_VHOST_USER_FS : 0;
	can |= info->has_microvm ? CAN_MICROVM : 0;
	can |= info->has_pvpanic ? CAN_PVPANIC : 0;
	can |= info->has_pvpanic_pci ? CAN_PVPANIC_PCI : 0;
	can |= info->has_sandbox ? CAN_SANDBOX : 0;
	read_lines(dir, text);
	drop_lines(text, line);
	len = strlen(line);
	snprintf(line + len, sizeof(line) - len, "%u.%u %x\n", info->major,
		 info->minor, can);
	if (good)
		add_line(text, line);
	if (good || *text)
		replace(dir, text);
	else
		unlinkat(dir, "qemu", 0);
	close(dir);
}
