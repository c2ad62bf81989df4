/* SPDX-License-Identifier: MIT */
/*
 * Whether firmware finds something to start on a disk. Without that a guest
 * hangs at "No bootable device" for ever, which does not explain that the file
 * is a text, or a file system without a boot sector.
 *
 * A disk is refused only where it can't boot for certain: its first sectors
 * could be read, and have neither the signature of a boot sector (which a BIOS
 * wants, and a disk with EFI's partition table has as well) nor that table nor
 * the volume descriptor of a CD. Of qcow2 the first cluster is looked up. What
 * is compressed, encrypted, in another file or of another format is not
 * checked.
 */
#include "launch/check/private.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum boots { BOOTS_NOT, BOOTS_PERHAPS };

#define SECTOR		512
#define CD_MAGIC	32769	/* "CD001", of the first volume descriptor */

/* qcow2's header, big endian (docs/interop/qcow2.txt of QEMU). */
struct qcow2 {
	uint32_t magic, version;
	uint64_t backing;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
	uint32_t crypt, l1_size;
	uint64_t l1;
	uint64_t refcount;
	uint32_t refcount_clusters, snapshots;
	uint64_t snapshot_offset;
	uint64_t incompatible;	/* from version 3 */
};

#define QCOW2_DATA_FILE	(1u << 2)
#define QCOW2_EXTENDED	(1u << 4)
#define QCOW2_OFFSET	UINT64_C(0x00fffffffffffe00)
#define QCOW2_PACKED	(UINT64_C(1) << 62)
#define QCOW2_ZERO	UINT64_C(1)

static bool has_at(int fd, off_t at, const char *text, size_t len)
{
	char found[16];

	return pread(fd, found, len, at) == (ssize_t)len &&
	       memcmp(found, text, len) == 0;
}

/* @at: where in the file the disk begins; 64 KiB of it at least. */
static enum boots boots_at(int fd, off_t at)
{
	if (has_at(fd, at + SECTOR - 2, "\x55\xaa", 2) ||
	    has_at(fd, at + SECTOR, "EFI PART", 8) ||
	    has_at(fd, at + 4096, "EFI PART", 8) ||
	    has_at(fd, at + CD_MAGIC, "CD001", 5))
		return BOOTS_PERHAPS;
	return BOOTS_NOT;
}

/* A big endian number of the file; false where it ends before. */
static bool read_be64(int fd, uint64_t at, uint64_t *value)
{
	if (pread(fd, value, sizeof(*value), (off_t)at) != sizeof(*value))
		return false;
	*value = be64toh(*value);
	return true;
}

static enum boots boots_qcow2(int fd)
{
	uint64_t l2, cluster;
	struct qcow2 head;
	uint32_t bits;

	if (pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return BOOTS_PERHAPS;
	bits = be32toh(head.cluster_bits);
	if (head.backing || head.crypt || bits < 16 || bits > 21 ||
	    (be32toh(head.version) > 2 &&
	     be64toh(head.incompatible) & (QCOW2_DATA_FILE | QCOW2_EXTENDED)))
		return BOOTS_PERHAPS;
	if (!head.l1 || !read_be64(fd, be64toh(head.l1), &l2))
		return BOOTS_PERHAPS;
	l2 &= QCOW2_OFFSET;
	if (!l2)
		return BOOTS_NOT;	/* nothing was ever written there */
	if (!read_be64(fd, l2, &cluster) || cluster & QCOW2_PACKED)
		return BOOTS_PERHAPS;
	if (cluster & QCOW2_ZERO || !(cluster & QCOW2_OFFSET))
		return BOOTS_NOT;
	return boots_at(fd, (off_t)(cluster & QCOW2_OFFSET));
}

static enum boots disk_boots(const struct config *c,
			     const struct disk_config *d)
{
	const char *format = d->format ? d->format : c->disk_format;
	int fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum boots boots = BOOTS_PERHAPS;

	if (fd < 0)
		return boots;	/* which is said elsewhere */
	if (strcmp(format, "auto") == 0)
		format = qemu_disk_format(d->path);
	if (strcmp(format, "raw") == 0)
		boots = boots_at(fd, 0);
	else if (strcmp(format, "qcow2") == 0)
		boots = boots_qcow2(fd);
	close(fd);
	return boots;
}

/* With arguments for QEMU the guest may boot from something else. */
void check_boot(const struct config *c, struct findings *found)
{
	const char *path = c->nr_disks ? c->disks[0].path : NULL;
	char hint[512];
	struct stat st;

	if (!path || c->kernel || c->own_init)
		return;
	if (stat(path, &st) || S_ISDIR(st.st_mode) ||
	    (S_ISREG(st.st_mode) && !st.st_size))
		return;
	for (unsigned int i = 0; i < c->nr_disks; i++)
		if (disk_boots(c, &c->disks[i]) != BOOTS_NOT)
			return;
	snprintf(hint, sizeof(hint), "as data of a guest without a disk: "
		 "--root / %s; a file system without a boot loader: --kernel "
		 "FILE", path);
	findings_add(found, c->nr_qemu_args ? 0 : EXIT_REFUSED, hint,
		     "%s: does not boot: it has no boot sector and no "
		     "partition table", path);
}
