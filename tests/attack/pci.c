/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI from user space (virtio 1.2, 4.1): the device's registers
 * are mapped from sysfs, rings and buffers are in huge pages, whose physical
 * address the kernel tells root in /proc/self/pagemap. No interrupts: the
 * front end looks at its rings. One thread.
 *
 * Which device has which tag is asked before its driver is gone, since another
 * one may hold the guest's root: Linux tells from 6.9 on; before that, the
 * window in configuration space (virtio 1.2, 4.1.4.9), at which QEMU 10 aborts.
 */

#include "tests/attack/pci.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICES		"/sys/bus/pci/devices"
#define TAGS		"/sys/fs/virtiofs"
#define VENDOR		0x1af4u
#define DEVICE		(0x1040u + 26)	/* VIRTIO_ID_FS */
#define HUGE_PAGE	(2u << 20)
#define TAG_LEN		36u

struct cap {
	struct virtio_pci_cap cap;
	unsigned int at;	/* in configuration space */
};

static int open_in(const char *dir, const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int write_in(const char *dir, const char *name, const char *text)
{
	int fd = open_in(dir, name, O_WRONLY), err = 0;

	if (fd < 0)
		return fd;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* ---- configuration space ------------------------------------------------- */

/* The capability of a kind; false if there is none. */
static bool find_cap(int config, uint8_t type, struct cap *c)
{
	uint8_t at = 0;

	if (pread(config, &at, 1, PCI_CAPABILITY_LIST) != 1)
		return false;
	for (int i = 0; at && i < 48; i++) {
		if (pread(config, &c->cap, sizeof(c->cap), at) !=
		    sizeof(c->cap))
			return false;
		c->at = at;
		if (c->cap.cap_vndr == PCI_CAP_ID_VNDR &&
		    c->cap.cfg_type == type)
			return true;
		at = c->cap.cap_next;
	}
	return false;
}

/* Read a BAR through the window in configuration space. */
static bool read_window(int config, const struct cap *window, uint8_t bar,
			uint32_t offset, uint32_t *value)
{
	const size_t base = window->at;
	const uint32_t len = 4;

	return pwrite(config, &bar, 1, (off_t)(base +
		      offsetof(struct virtio_pci_cap, bar))) == 1 &&
	       pwrite(config, &offset, 4, (off_t)(base +
		      offsetof(struct virtio_pci_cap, offset))) == 4 &&
	       pwrite(config, &len, 4, (off_t)(base +
		      offsetof(struct virtio_pci_cap, length))) == 4 &&
	       pread(config, value, 4, (off_t)(base +
		     offsetof(struct virtio_pci_cfg_cap, pci_cfg_data))) == 4;
}

/* Is this a share of that tag? */
static bool has_tag(const char *path, const char *tag)
{
	int config = open_in(path, "config", O_RDWR);
	uint32_t words[TAG_LEN / 4] = { 0 };
	struct cap device, window;
	uint16_t id[2] = { 0 };
	bool good;

	if (config < 0)
		return false;
	good = pread(config, id, 4, PCI_VENDOR_ID) == 4 && id[0] == VENDOR &&
	       id[1] == DEVICE &&
	       find_cap(config, VIRTIO_PCI_CAP_DEVICE_CFG, &device) &&
	       find_cap(config, VIRTIO_PCI_CAP_PCI_CFG, &window);
	for (uint32_t i = 0; good && i < TAG_LEN / 4; i++)
		good = read_window(config, &window, device.cap.bar,
				   device.cap.offset + i * 4, &words[i]);
	close(config);
	return good && strlen(tag) < TAG_LEN &&
	       !strncmp((const char *)words, tag, TAG_LEN);
}

/* The device's address, as its directory's name in sysfs. */
static int find_by_window(const char *tag, char *address, size_t size)
{
	DIR *dir = opendir(DEVICES);
	const struct dirent *d;
	char path[64];
	bool found = false;

	while (dir && !found && (d = readdir(dir))) {
		snprintf(path, sizeof(path), DEVICES "/%.32s", d->d_name);
		found = d->d_name[0] != '.' && has_tag(path, tag);
		if (found)
			snprintf(address, size, "%.32s", d->d_name);
	}
	if (dir)
		closedir(dir);
	return found ? 0 : -ENODEV;
}

/* .../0000:00:05.0/virtio3 is where "device" points. */
static bool parent_name(const char *path, char *name, size_t size)
{
	char real[PATH_MAX], *end;

	if (!realpath(path, real))
		return false;
	end = strrchr(real, '/');
	*end = '\0';
	end = strrchr(real, '/');
	return end && snprintf(name, size, "%.32s", end + 1) > 0;
}

static int find_by_tag(const char *tag, char *address, size_t size)
{
	DIR *dir = opendir(TAGS);
	const struct dirent *d;
	char path[64], text[TAG_LEN + 2];
	bool found = false;

	if (!dir)
		return -ENOSYS;
	while (!found && (d = readdir(dir))) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), TAGS "/%.16s", d->d_name);
		fd = open_in(path, "tag", O_RDONLY);
		n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		if (fd >= 0)
			close(fd);
		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		if (n <= 0 || strcmp(text, tag) != 0)
			continue;
		strcat(path, "/device");
		found = parent_name(path, address, size);
	}
	closedir(dir);
	return found ? 0 : -ENODEV;
}

/* ---- registers and memory ------------------------------------------------ */

/* A part of a BAR, by its capability. */
static int map_part(struct pci *pci, int config, uint8_t type, uint8_t **p)
{
	const size_t page = FE_PAGE;
	struct cap c;
	char name[16];
	size_t start, len;
	void *map;
	int fd;

	if (!find_cap(config, type, &c))
		return -ENXIO;
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG &&
	    pread(config, &pci->multiplier, 4, (off_t)(c.at +
		  offsetof(struct virtio_pci_notify_cap,
			   notify_off_multiplier))) != 4)
		return -EIO;
	snprintf(name, sizeof(name), "resource%u", c.cap.bar);
	fd = open_in(pci->path, name, O_RDWR);
	if (fd < 0)
		return fd;
	start = c.cap.offset & ~(page - 1);
	len = (c.cap.offset + c.cap.length - start + page - 1) & ~(page - 1);
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   (off_t)start);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	*p = (uint8_t *)map + (c.cap.offset - start);
	return 0;
}

static int map_registers(struct pci *pci)
{
	const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				 PCI_COMMAND_INTX_DISABLE;
	int config = open_in(pci->path, "config", O_RDWR), err;
	uint8_t *common = NULL;

	if (config < 0)
		return config;
	err = pwrite(config, &command, 2, PCI_COMMAND) == 2 ? 0 : -EIO;
	if (!err)
		err = map_part(pci, config, VIRTIO_PCI_CAP_COMMON_CFG,
			       &common);
	if (!err)
		err = map_part(pci, config, VIRTIO_PCI_CAP_NOTIFY_CFG,
			       &pci->notify);
	close(config);
	pci->common = (void *)common;
	return err;
}

/* Where in the guest's memory a page of ours is. */
static uint64_t physical(int pagemap, const void *p)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry),
		  (off_t)((uintptr_t)p / FE_PAGE * sizeof(entry))) !=
	    sizeof(entry) || !(entry >> 63))
		return 0;
	return (entry & ((1ull << 55) - 1)) * FE_PAGE;
}

static int get_memory(struct pci *pci)
{
	int pagemap, err;

	err = write_in("/proc/sys/vm", "nr_hugepages", "8");
	if (err)
		return err;
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return -errno;
	for (unsigned int i = 0; i < PCI_PAGES && !err; i++) {
		void *p = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			       MAP_POPULATE, -1, 0);

		if (p == MAP_FAILED) {
			err = -errno;
			break;
		}
		memset(p, 0, HUGE_PAGE);
		pci->memory[i] = (struct fe_region){
			.map = p, .size = HUGE_PAGE, .fd = -1,
			.gpa = physical(pagemap, p),
		};
		err = pci->memory[i].gpa ? 0 : -EPERM;
	}
	close(pagemap);
	return err;
}

static const char *address(const struct pci *pci)
{
	return strrchr(pci->path, '/') + 1;
}

int pci_take(struct pci *pci, const char *tag)
{
	char name[36] = "";
	int err;

	memset(pci, 0, sizeof(*pci));
	err = find_by_tag(tag, name, sizeof(name));
	if (err == -ENOSYS)
		err = find_by_window(tag, name, sizeof(name));
	snprintf(pci->path, sizeof(pci->path), DEVICES "/%s", name);
	if (!err)
		err = write_in(pci->path, "driver/unbind", address(pci));
	if (!err)
		err = write_in(pci->path, "enable", "1");
	if (!err)
		err = map_registers(pci);
	return err ? err : get_memory(pci);
}

void pci_give(struct pci *pci)
{
	pci_reset(pci);
	write_in(pci->path, "enable", "0");
	write_in("/sys/bus/pci", "drivers_probe", address(pci));
}

/* ---- the device ---------------------------------------------------------- */

int pci_reset(struct pci *pci)
{
	pci->common->device_status = 0;
	for (int i = 0; i < 10000; i++) {
		if (!pci->common->device_status)
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

void pci_status(struct pci *pci, uint8_t more)
{
	pci->common->device_status |= more;
}

int pci_features(struct pci *pci, uint64_t *features)
{
	volatile struct virtio_pci_common_cfg *c = pci->common;
	uint64_t offered;

	pci_status(pci, 1);	/* ACKNOWLEDGE */
	pci_status(pci, 2);	/* DRIVER */
	c->device_feature_select = 0;
	offered = c->device_feature;
	c->device_feature_select = 1;
	offered |= (uint64_t)c->device_feature << 32;
	*features &= offered;
	c->guest_feature_select = 0;
	c->guest_feature = (uint32_t)*features;
	c->guest_feature_select = 1;
	c->guest_feature = (uint32_t)(*features >> 32);
	pci_status(pci, 8);	/* FEATURES_OK */
	return c->device_status & 8 ? 0 : -EPROTO;
}

void pci_queue(struct pci *pci, unsigned int q, unsigned int size,
	       const uint64_t where[3])
{
	volatile struct virtio_pci_common_cfg *c = pci->common;

	c->queue_select = (uint16_t)q;
	c->queue_size = (uint16_t)size;
	c->queue_msix_vector = 0xffff;
	c->queue_desc_lo = (uint32_t)where[0];
	c->queue_desc_hi = (uint32_t)(where[0] >> 32);
	c->queue_avail_lo = (uint32_t)where[1];
	c->queue_avail_hi = (uint32_t)(where[1] >> 32);
	c->queue_used_lo = (uint32_t)where[2];
	c->queue_used_hi = (uint32_t)(where[2] >> 32);
	c->queue_enable = 1;
}

static int connect_ring(struct pci *pci, struct fe *fe, unsigned int q)
{
	struct fe_ring *r = &fe->ring[q];
	uint64_t where[3];
	int err = fe_ring_init(fe, q);

	if (err)
		return err;
	for (int i = 0; i < 3; i++)
		where[i] = r->mem[i].gpa;
	pci_queue(pci, q, r->num, where);
	r->doorbell = (void *)(pci->notify + (size_t)pci->multiplier *
			       pci->common->queue_notify_off);
	r->started = true;
	return 0;
}

int pci_connect(struct pci *pci, struct fe **out, const struct fe_opts *opts)
{
	uint64_t features = VIRTIO_F_VERSION1;
	struct fe_opts o = *opts;
	struct fe *fe;
	int err;

	o.given = pci->memory;
	o.regions = PCI_PAGES;
	if (!o.no_indirect)
		features |= VIRTIO_F_INDIRECT;
	if (!o.no_event_idx)
		features |= VIRTIO_F_EVENT_IDX;
	err = pci_reset(pci);
	if (!err)
		err = pci_features(pci, &features);
	if (!err)
		err = fe_offline(&fe, &o);
	if (err)
		return err;
	fe->features = features;
	for (unsigned int q = 0; q < fe->nr_rings && !err; q++)
		err = connect_ring(pci, fe, q);
	if (err) {
		fe_close(fe);
		return err;
	}
	pci_status(pci, 4);	/* DRIVER_OK */
	*out = fe;
	return 0;
}
