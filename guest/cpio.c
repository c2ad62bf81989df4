/* SPDX-License-Identifier: MIT */
/*
 * Writes an archive in the "newc" form, which is what the kernel's unpacker
 * reads (Documentation/driver-api/early-userspace/buffer-format.rst): for each
 * member a header of 110 ASCII characters, the name with its NUL, padding to 4
 * bytes, the contents, padding to 4 bytes; in the end a member that is called
 * TRAILER!!!, and zeroes up to a whole page. Nothing is compressed: a memfd
 * costs nothing to read and the guest would only have to unpack it again.
 *
 * A writer keeps its first error and does nothing more after it, so that the
 * caller asks once, in cpio_close(). Every member needs its directories
 * written before it. All belongs to root, all times are 0: the same input
 * gives the same archive.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/private.h"

#define CPIO_ALIGN 4096	/* of the whole */

static void cpio_write(struct cpio *c, const void *data, size_t size)
{
	const char *p = data;

	while (c->error == 0 && size > 0) {
		ssize_t n = write(c->fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			c->error = n < 0 ? -errno : -EIO;
			return;
		}
		p += n;
		size -= (size_t)n;
		c->off += (uint64_t)n;
	}
}

static void cpio_pad(struct cpio *c, unsigned int align)
{
	static const char zero[CPIO_ALIGN];

	cpio_write(c, zero, -c->off & (align - 1));
}

static void cpio_header(struct cpio *c, const char *name, uint32_t mode,
			uint64_t size, unsigned int major, unsigned int minor)
{
	char head[111];
	size_t len = strlen(name) + 1;

	if (size > UINT32_MAX) {
		c->error = c->error ? c->error : -EFBIG;
		return;
	}
	/* ino mode uid gid nlink mtime size dev(2) rdev(2) namesize check */
	snprintf(head, sizeof(head),
		 "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		 ++c->ino, mode, 0u, 0u, 1u, 0u, (unsigned int)size, 0u, 0u,
		 major, minor, (unsigned int)len, 0u);
	cpio_write(c, head, 110);
	cpio_write(c, name, len);
	cpio_pad(c, 4);
}

void cpio_open(struct cpio *c, int fd)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
}

void cpio_dir(struct cpio *c, const char *name)
{
	cpio_header(c, name, S_IFDIR | 0755, 0, 0, 0);
}

void cpio_device(struct cpio *c, const char *name, uint32_t mode,
		 unsigned int major, unsigned int minor)
{
	cpio_header(c, name, mode, 0, major, minor);
}

void cpio_memory(struct cpio *c, const char *name, uint32_t mode,
		 const void *data, size_t size)
{
	cpio_header(c, name, S_IFREG | mode, size, 0, 0);
	cpio_write(c, data, size);
	cpio_pad(c, 4);
}

void cpio_copy(struct cpio *c, const char *name, uint32_t mode, int src)
{
	struct stat st;
	off_t at = 0;

	if (c->error == 0 && fstat(src, &st) < 0)
		c->error = -errno;
	if (c->error != 0)
		return;
	cpio_header(c, name, S_IFREG | mode, (uint64_t)st.st_size, 0, 0);
	while (c->error == 0 && at < st.st_size) {
		ssize_t n = sendfile(c->fd, src, &at,
				     (size_t)(st.st_size - at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {	/* 0: the file was cut while we read it */
			c->error = n < 0 ? -errno : -EIO;
			return;
		}
		c->off += (uint64_t)n;
	}
	cpio_pad(c, 4);
}

int cpio_close(struct cpio *c)
{
	cpio_header(c, "TRAILER!!!", 0, 0, 0, 0);
	/*
	 * Whole pages: QEMU loads it up to a byte below 2 GiB at most, rounded
	 * down to where a page begins. In a microvm of 2 GiB the firmware's
	 * tables are in the last page, and a part of one would overwrite them.
	 */
	cpio_pad(c, CPIO_ALIGN);
	return c->error;
}
