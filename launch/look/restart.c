/* SPDX-License-Identifier: MIT */
/*
 * "vmshare restart": ask a run or serve to have the program on disk take its
 * shares over, by SIGUSR2 with the share's number, and print the result,
 * which its process counts in the memory that "vmshare stat" reads.
 *
 * A version without such counts would be killed by the signal: it is not sent.
 */
#include "launch/look/private.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define WAIT_MS		45000	/* its own deadlines are shorter */
#define STEP_MS		5

struct restart {
	const char *target;
	pid_t pid;		/* the target, if it is a number */
	unsigned int asked, failed;
};

static bool wanted(const struct restart *r, const struct look_share *s)
{
	return !s->external && (r->pid || strcmp(r->target, s->tag) == 0);
}

static uint32_t count(const uint32_t *n)
{
	return __atomic_load_n(n, __ATOMIC_ACQUIRE);
}

/* Ask, and wait until there is one more of either: 0, or -errno. */
static int ask(const struct look *l, unsigned int slot,
	       const struct stats *stats, bool *refused)
{
	uint32_t no = count(&stats->refused), yes = count(&stats->restarted);
	int err = look_signal(l, SIGUSR2, (int)slot + 1);

	if (err)
		return err;
	for (int ms = 0; ms < WAIT_MS; ms += STEP_MS) {
		poll(NULL, 0, STEP_MS);
		*refused = count(&stats->refused) != no;
		if (*refused || count(&stats->restarted) != yes)
			return 0;
		err = look_signal(l, 0, 0);
		if (err)
			return err;
	}
	return -ETIMEDOUT;
}

static int one(struct restart *r, const struct look *l, unsigned int slot)
{
	const struct look_share *s = &l->shares[slot];
	const struct stats *stats;
	char tag[256], why[sizeof(stats->why) * 4];
	bool refused = false;
	int err = s->stats < 0 ? -EPROTO : stats_attach(s->stats, &stats);

	log_escape(tag, sizeof(tag), s->tag, strlen(s->tag));
	if (!err) {
		err = ask(l, slot, stats, &refused);
		log_escape(why, sizeof(why), stats->why,
			   strnlen(stats->why, sizeof(stats->why)));
		stats_close(stats);
	}
	r->asked++;
	r->failed += err || refused;
	if (err == -EPROTO)
		log_error("restart: pid %d is a version of vmshare that can't "
			  "be asked", (int)l->pid);
	else if (err)
		log_error("restart: share '%s' of pid %d: %s", tag,
			  (int)l->pid, err == -ENOSYS ?
			  "needs Linux 5.1 to signal no other process" :
			  strerror(-err));
	else if (refused)
		log_error("restart: share '%s' of pid %d goes on as it is: %s",
			  tag, (int)l->pid, why);
	else
		printf("share '%s' of pid %d restarted\n", tag, (int)l->pid);
	return 0;
}

static int each(void *ctx, const struct look *l)
{
	struct restart *r = ctx;
	int err = 0;

	for (unsigned int i = 0; i < l->nr_shares && !err; i++)
		if (wanted(r, &l->shares[i]))
			err = one(r, l, i);
	return err;
}

int restart_run(const struct config *c)
{
	struct restart r = {.target = c->target};
	uint64_t pid = 0;
	int err;

	if (!c->target) {
		log_error("restart needs a PID or a TAG");
		log_hint("'vmshare ps' lists what runs");
		return EXIT_REFUSED;
	}
	if (parse_u64(c->target, 1, INT_MAX, &pid) == 0)
		r.pid = (pid_t)pid;
	err = look_each(r.pid, each, &r);
	if (r.asked)
		return r.failed ? EXIT_REFUSED : 0;
	if (err && err != -ENOENT)
		log_error("restart %s: %s", c->target, strerror(-err));
	else if (r.pid)
		log_error("restart: pid %d is no vmshare with a share",
			  (int)r.pid);
	else
		log_error("restart: no share '%s' is running", c->target);
	log_hint("'vmshare ps' lists what runs");
	return EXIT_REFUSED;
}
