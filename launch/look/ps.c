/* SPDX-License-Identifier: MIT */
/*
 * "vmshare ps": what runs, one line for each run or serve of this user, or all
 * of it as a JSON array. Paths may have any bytes and are escaped.
 */
#include "launch/look/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct ps {
	bool json;
	unsigned int shown;
};

/* "12s", "5m12s", "2h05m", "3d04h" */
static const char *uptime(char buf[32], uint64_t s)
{
	unsigned long long day = s / 86400, hour = s / 3600 % 24,
			   minute = s / 60 % 60, second = s % 60;

	if (day)
		snprintf(buf, 32, "%llud%02lluh", day, hour);
	else if (hour)
		snprintf(buf, 32, "%lluh%02llum", hour, minute);
	else if (minute)
		snprintf(buf, 32, "%llum%02llus", minute, second);
	else
		snprintf(buf, 32, "%llus", second);
	return buf;
}

static void put_line(const struct look *l, bool first)
{
	char up[32], text[1024];

	if (first)
		puts("    PID   UPTIME COMMAND WHAT, SHARES");
	printf("%7d %8s %-7s %s", (int)l->pid, uptime(up, l->seconds),
	       log_escape(text, 16, l->command, strlen(l->command)),
	       l->what[0] ? log_escape(text + 16, sizeof(text) - 16, l->what,
				       strlen(l->what)) : "-");
	if (l->more)
		printf(" (and %u more)", l->more);
	for (unsigned int i = 0; i < l->nr_shares; i++) {
		const struct look_share *s = &l->shares[i];

		printf("%s %s=", i ? "," : ";",
		       log_escape(text, sizeof(text), s->tag, strlen(s->tag)));
		printf("%s%s",
		       log_escape(text, sizeof(text), s->dir, strlen(s->dir)),
		       s->external ? " (another server)" :
		       s->ro	   ? " (ro)" : "");
	}
	putchar('\n');
}

static void put_json(const struct look *l, bool first)
{
	printf("%s{\"pid\":%d,", first ? "" : ",", (int)l->pid);
	json_put("command", l->command);
	printf(",\"uptime\":%llu,", (unsigned long long)l->seconds);
	json_put(strcmp(l->command, "serve") == 0 ? "socket" : "disk", l->what);
	printf(",\"shares\":[");
	for (unsigned int i = 0; i < l->nr_shares; i++) {
		const struct look_share *s = &l->shares[i];

		printf("%s{", i ? "," : "");
		json_put("tag", s->tag);
		putchar(',');
		json_put(s->external ? "server" : "dir", s->dir);
		printf(",\"ro\":%s}", s->ro ? "true" : "false");
	}
	printf("]}");
}

static int show(void *ctx, const struct look *l)
{
	struct ps *p = ctx;

	(p->json ? put_json : put_line)(l, !p->shown++);
	return 0;
}

int ps_run(const struct config *c)
{
	struct ps p = {.json = c->json};
	int err;

	if (p.json)
		putchar('[');
	err = look_each(0, show, &p);
	if (p.json)
		puts("]");
	if (!err)
		return 0;
	log_error("ps: %s", strerror(-err));
	return EXIT_REFUSED;
}

/* A tag that a shell would take apart is left to its user's hands. */
static int put_tags(void *ctx, const struct look *l)
{
	(void)ctx;
	for (unsigned int i = 0; i < l->nr_shares; i++) {
		const char *tag = l->shares[i].tag;

		if (tag[strspn(tag, "abcdefghijklmnopqrstuvwxyz0123456789"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-+@")] == '\0')
			puts(tag);
	}
	return 0;
}

int look_tags(void)
{
	return look_each(0, put_tags, NULL);
}
