/* SPDX-License-Identifier: MIT */
/*
 * --dump FILE: the memory of a guest that panicked, as an ELF core that crash
 * and gdb read. QEMU writes it, asked by its monitor, while the machine stands
 * still:
 *
 *	a guest with pvpanic tells QEMU, which stops (-action panic=pause);
 *	our own guest reboots (panic=-1), which -no-reboot makes a shutdown and
 *	-no-shutdown a stop: its console says whether it was a panic;
 *	one that hangs in its panic is stopped by the dump.
 *
 * With -no-shutdown each guest that powers off leaves a QEMU that waits, which
 * is told to quit here. The file is made first, for nobody else to read, so
 * that a name that can't be is an error before the guest starts; where nothing
 * came of it, and it was not there before, it is removed.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DECIDE_MS	200	/* for what the guest wrote to its console */

int dump_open(struct run *r)
{
	const char *path = r->s->config->dump;
	int fd;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r->dump.fresh = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		r->dump.path = realpath(path, NULL);
	if (r->dump.path) {
		close(fd);
		return 0;
	}
	log_error("--dump %s: %m", path);
	if (fd >= 0)
		close(fd);
	return -EINVAL;
}

bool dump_begin(struct run *r)
{
	int err;

	if (!r->dump.path || r->dump.under_way)
		return r->dump.under_way;
	r->panicked = true;
	r->panic_deadline = r->dump.decide = 0;
	err = qmp_dump(&r->qmp, r->dump.path);
	if (err) {
		log_error("--dump %s: QEMU can't be asked: %s",
			  r->s->config->dump, strerror(-err));
		return false;
	}
	log_info("the guest panicked; its memory goes to %s", r->dump.path);
	r->dump.under_way = true;
	return true;
}

void dump_stopped(struct run *r)
{
	if (r->dump.path && !r->dump.under_way)
		r->dump.decide = clock_ms() + DECIDE_MS;
}

void dump_decide(struct run *r)
{
	const struct guest_report *guest = r->s->streams ?
		guest_streams_report(r->s->streams) : NULL;

	/* One whose command has ended may reboot to end. */
	if (r->reset_off && (!guest || guest->phase < GUEST_EXITED) &&
	    console_panicked(&r->console) && dump_begin(r))
		return;
	(void)qmp_command(&r->qmp, "quit");
}

void dump_over(struct run *r, bool good)
{
	char size[32], text[sizeof(r->qmp.error) * 4];
	const char *path = r->s->config->dump;
	struct stat st;

	if (!r->dump.under_way)
		return;
	r->dump.under_way = false;
	r->dump.over = good;
	if (!good)
		log_error("--dump %s: %s", path,
			  log_escape(text, sizeof(text), r->qmp.error,
				     strlen(r->qmp.error)));
	else if (stat(r->dump.path, &st) == 0)
		log_note("the guest's memory is in %s (%s)", path,
			 format_size(size, sizeof(size),
				     (uint64_t)st.st_size));
}

void dump_close(struct run *r)
{
	if (r->dump.under_way)
		log_error("--dump %s: QEMU ended before it was written",
			  r->s->config->dump);
	if (r->dump.path && r->dump.fresh && !r->dump.over)
		unlink(r->dump.path);
	free(r->dump.path);
	r->dump.path = NULL;
}
