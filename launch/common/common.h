/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_COMMON_H
#define VMSHARE_LAUNCH_COMMON_H

/*
 * What several folders of the launcher use: exit statuses, what a check finds,
 * JSON, and this process's own set-up. Knows none of them.
 */

#include "base/base.h"

#include <signal.h>

#define VM_MAX_SHARES	16
#define SHARE_ARENA_LEAST (128ull << 20) /* bytes, of a share's state */

/* vmshare's own exit statuses: EXIT STATUS of the manual page. */
enum {
	EXIT_GUEST_DIED = 122,
	EXIT_SERVER_FAILED = 123,
	EXIT_TIMEOUT = 124,
	EXIT_REFUSED = 125,
	EXIT_QEMU_NOEXEC = 126,
	EXIT_QEMU_MISSING = 127,
};

/* ---- findings.c: what is wrong with a configuration or a host ------------ */

struct finding {
	bool fatal;
	int status;		/* exit status it leads to, when fatal */
	char text[512];
	char hint[256];
};

/* One of the walls between a share's guest and the host. */
struct confinement {
	const char *tag, *layer;
	bool on, off;		/* off: because it was asked for */
	int error;		/* errno, where it is neither; or 0 */
	const char *step;	/* which step failed, or "" */
	const char *left;	/* what there is without it; NULL: no matter */
	char why[128];		/* set by findings_layer(); "" when on */
};

#define CHECK_MAX_LAYERS	8	/* of a share */

/* Large, and on a stack: findings_init() touches what it must. */
struct findings {
	struct finding list[64];
	unsigned int count;
	/* check alone; grouped by share */
	struct confinement layers[(VM_MAX_SHARES + 1) * CHECK_MAX_LAYERS];
	unsigned int nr_layers;
};

void findings_init(struct findings *found);

/**
 * findings_add() - note a problem
 * @status:	0 for a warning, else the exit status that it leads to
 * @hint:	what to do about it, or ""
 */
void findings_add(struct findings *found, int status, const char *hint,
		  const char *fmt, ...) PRINTF_LIKE(4, 5);

/* One layer of a share's confinement; a warning where it is not on. */
void findings_layer(struct findings *found, const char *tag,
		    const struct confinement *layer);

/* ---- json.c: just enough of JSON ----------------------------------------- */

/* A value's first byte inside a text that json_valid() accepted, or NULL. */
typedef const char *json;

bool json_valid(const char *text);
/* Member @key of an object; NULL where there is none or @value is not one. */
json json_get(json value, const char *key);
/* Elements of an array: first, and the one after @element; NULL at the end. */
json json_first(json array);
json json_next(json element);
/* A string without escapes but \" \\ \/; -EINVAL, -ENOSPC. */
int json_string(json value, char *buf, size_t size);

/*
 * The text of a value as it stands, a string's without its quotes, escapes and
 * all: its length; 0 with *@text unchanged where @value is NULL.
 */
size_t json_text(json value, const char **text);
/* Is that the text of @value? */
bool json_is(json value, const char *want);

/*
 * @text as the inside of a string; bytes above ASCII as they are. 0, or
 * -ENAMETOOLONG where @buf has its beginning.
 */
int json_escape(char *buf, size_t size, const char *text);
/* Print a member of an object, "KEY":"TEXT"; bytes above ASCII as they are. */
void json_put(const char *key, const char *text);

/* ---- process.c: this process --------------------------------------------- */

/* First of all: descriptors 0 to 2, all others close-on-exec, signals. */
void process_setup(void);
/*
 * What is printed, by how often -v was given (-q: -1), and whether it goes to
 * the system's log; else to stderr, in systemd's form where that is a journal.
 */
void process_log(int verbose, bool syslog);
/* Descriptors are a file server's memory: take all that are allowed. */
void process_limits(void);
/* strerror() of -errno, with the limit where no process could be made. */
const char *process_error(int err);

#endif
