/* SPDX-License-Identifier: MIT */
/*
 * The front end's side of the dirty log: a bitmap that is shared with the
 * device, a bit for each 4 KiB of guest-physical memory, which the device sets
 * and we take.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t bytes_for(const struct fe *fe)
{
	uint64_t end = 0;

	for (unsigned int i = 0; i < fe->nr_regions; i++)
		if (fe->region[i].gpa + fe->region[i].size > end)
			end = fe->region[i].gpa + fe->region[i].size;
	return (size_t)(end / FE_PAGE / 8 + 1);
}

int fe_log_base(struct fe *fe, const struct vhu_log *at, int fd)
{
	struct vhu_log answer = { 0 };
	size_t size = sizeof(answer);
	struct vhu_hdr hdr;
	int r;

	r = fe_send(fe, VHU_SET_LOG_BASE, 0, at, sizeof(*at), &fd, 1);
	if (r == 0)
		r = fe_recv(fe, &hdr, &answer, &size, NULL);
	if (r == 0 && (hdr.request != VHU_SET_LOG_BASE ||
		       size != sizeof(answer) || answer.size != at->size ||
		       answer.offset != at->offset))
		r = fe_broken(fe, "SET_LOG_BASE is not answered by itself");
	return r;
}

int fe_log_open(struct fe *fe, struct fe_log *log, size_t size)
{
	struct vhu_log at;
	int r = -ENOMEM;

	log->size = size ? size : bytes_for(fe);
	log->fd = memfd_create("fe-log", MFD_CLOEXEC);
	log->bits = MAP_FAILED;
	if (log->fd >= 0 && ftruncate(log->fd, (off_t)log->size) == 0)
		log->bits = mmap(NULL, log->size, PROT_READ | PROT_WRITE,
				 MAP_SHARED, log->fd, 0);
	at = (struct vhu_log){ .size = log->size };
	if (log->bits != MAP_FAILED)
		r = fe_log_base(fe, &at, log->fd);
	if (r < 0)
		fe_log_close(log);
	return r;
}

void fe_log_close(struct fe_log *log)
{
	if (log->bits != MAP_FAILED)
		munmap(log->bits, log->size);
	if (log->fd >= 0)
		close(log->fd);
	log->bits = MAP_FAILED;
	log->fd = -1;
}

int fe_log_all(struct fe *fe, bool on)
{
	fe->features &= ~VHU_F_LOG_ALL;
	fe->features |= on ? VHU_F_LOG_ALL : 0;
	return fe_set(fe, VHU_SET_FEATURES, &fe->features,
		      sizeof(fe->features), NULL, 0);
}

bool fe_log_take(struct fe_log *log, uint64_t gpa)
{
	uint64_t page = gpa / FE_PAGE;
	uint8_t bit = (uint8_t)(1u << page % 8);

	if (page / 8 >= log->size)
		return false;
	return __atomic_fetch_and(&log->bits[page / 8], (uint8_t)~bit,
				  __ATOMIC_SEQ_CST) & bit;
}

unsigned int fe_log_clear(struct fe_log *log)
{
	unsigned int n = 0;

	for (size_t i = 0; i < log->size; i++)
		n += (unsigned int)__builtin_popcount(
			__atomic_exchange_n(&log->bits[i], 0,
					    __ATOMIC_SEQ_CST));
	return n;
}
