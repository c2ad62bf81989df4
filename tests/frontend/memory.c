/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: one memfd for each region, mapped here and handed to the
 * server. Guest-physical addresses, our addresses and file offsets are all
 * different from each other, so that a server which mixes them up is found
 * out. Pages are handed out next-fit and never across a region's border; with
 * the option "warm" first-fit, as a guest's kernel would.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_SIZE	(64u << 20)
#define GPA_BASE	0x40000000ull
#define GPA_GAP		0x10000000ull
/* The file starts with room that is no guest memory: offsets matter. It is a
 * page of the host's, whichever of their sizes that has. */
#define FILE_OFFSET	65536

static int region_map(struct fe_region *r)
{
	int fd = memfd_create("fe-guest", MFD_CLOEXEC);
	void *map;

	if (fd < 0)
		return -errno;
	r->fd = fd;	/* closed with the rest, whatever comes */
	if (ftruncate(fd, (off_t)(FILE_OFFSET + r->size)) < 0)
		return -errno;
	map = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   FILE_OFFSET);
	if (map == MAP_FAILED)
		return -errno;
	r->map = map;
	return 0;
}

/* Which of its pages are handed out. */
static int region_pages(struct fe_region *r)
{
	void *map = mmap(NULL, r->size / FE_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	r->used = map;
	return 0;
}

int fe_memory_init(struct fe *fe)
{
	unsigned int n = fe->opts.regions ? fe->opts.regions : 1;
	uint64_t size = fe->opts.mem_size ? fe->opts.mem_size : DEFAULT_SIZE;
	uint64_t each, gpa = GPA_BASE;
	int ret;

	if (n > FE_MAX_REGIONS)
		return -EINVAL;
	each = (size / n + FE_PAGE - 1) & ~(uint64_t)(FE_PAGE - 1);
	for (unsigned int i = 0; i < n; i++) {
		struct fe_region *r = &fe->region[i];

		*r = (struct fe_region){ .gpa = gpa, .size = each, .fd = -1 };
		if (fe->opts.given)
			*r = fe->opts.given[i];
		fe->nr_regions = i + 1;
		ret = fe->opts.given ? 0 : region_map(r);
		if (ret == 0)
			ret = region_pages(r);
		if (ret < 0)
			return ret;
		gpa += each + (fe->opts.adjacent ? 0 : GPA_GAP);
	}
	return 0;
}

void fe_memory_exit(struct fe *fe)
{
	for (unsigned int i = 0; i < fe->nr_regions; i++) {
		struct fe_region *r = &fe->region[i];

		if (r->map && !fe->opts.given)
			munmap(r->map, r->size);
		if (r->fd >= 0)
			close(r->fd);
		if (r->used)
			munmap(r->used, r->size / FE_PAGE);
	}
	fe->nr_regions = 0;
}

/* First run of @pages free pages at or after @from; the region's end if none */
static size_t find_run(const struct fe_region *r, size_t from, size_t pages)
{
	size_t total = r->size / FE_PAGE, run = 0;

	for (size_t i = from; i < total; i++) {
		run = r->used[i] ? 0 : run + 1;
		if (run == pages)
			return i + 1 - pages;
	}
	return total;
}

static bool region_alloc(struct fe_region *r, size_t pages, struct fe_buf *buf)
{
	size_t total = r->size / FE_PAGE;
	size_t at = find_run(r, r->hint, pages);

	if (at == total)
		at = find_run(r, 0, pages);
	if (at == total)
		return false;
	memset(r->used + at, 1, pages);
	r->hint = at + pages;
	buf->p = r->map + at * FE_PAGE;
	buf->gpa = r->gpa + at * FE_PAGE;
	return true;
}

int fe_alloc(struct fe *fe, size_t len, struct fe_buf *buf)
{
	size_t pages = (len + FE_PAGE - 1) / FE_PAGE;
	bool found = false;

	buf->len = len;
	buf->p = NULL;
	if (!pages)
		return 0;
	pthread_mutex_lock(&fe->lock);
	for (unsigned int i = 0; i < fe->nr_regions && !found; i++)
		found = region_alloc(&fe->region[i], pages, buf);
	pthread_mutex_unlock(&fe->lock);
	return found ? 0 : -ENOMEM;
}

void fe_free(struct fe *fe, struct fe_buf *buf)
{
	size_t pages = (buf->len + FE_PAGE - 1) / FE_PAGE, at;

	if (!buf->p)
		return;
	pthread_mutex_lock(&fe->lock);
	for (unsigned int i = 0; i < fe->nr_regions; i++) {
		struct fe_region *r = &fe->region[i];

		if (buf->gpa < r->gpa || buf->gpa - r->gpa >= r->size)
			continue;
		at = (buf->gpa - r->gpa) / FE_PAGE;
		memset(r->used + at, 0, pages);
		if (fe->opts.warm && at < r->hint)
			r->hint = at;
		break;
	}
	pthread_mutex_unlock(&fe->lock);
	buf->p = NULL;
}

void fe_memory_describe(const struct fe_region *r, struct vhu_region *out)
{
	out->gpa = r->gpa;
	out->size = r->size;
	out->user = (uintptr_t)r->map;
	out->offset = FILE_OFFSET;
}
