/* SPDX-License-Identifier: MIT */
/*
 * The handover message, to a program that takes over a running share.
 * It is a memfd with entries KEY=VALUE, each ended by a NUL. Keys of the share
 * are those of the option table, spelled as a user writes them, so an option
 * that is new in one version is unknown to an older one and not mistaken for
 * another. All other keys begin with '@'. An unknown key is refused: it may be
 * one that restricts what a guest can do.
 *
 * Values were checked when the share was started; relative paths keep their
 * meaning, because the working directory is inherited.
 */

#include "launch/share/upgrade.h"
#include "launch/config/options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MESSAGE_MAX	(1u << 16)

/* The numbers in it, each with its key. */
static const struct {
	const char *key;
	size_t offset;
} numbers[] = {
	{"@keeper", offsetof(struct upgrade, keeper)},
	{"@dir", offsetof(struct upgrade, dir)},
	{"@stats", offsetof(struct upgrade, stats)},
	{"@ready", offsetof(struct upgrade, ready)},
	{"@go", offsetof(struct upgrade, go)},
	{"@link", offsetof(struct upgrade, link)},
	{"@relay", offsetof(struct upgrade, relay)},
	{"@how", offsetof(struct upgrade, how)},
	{"@verbose", offsetof(struct upgrade, config.verbose)},
};

/* ---- writing ------------------------------------------------------------- */

/* Each range of a list by itself, as a user gives them. */
static void put_map(FILE *f, const char *name, const char *list)
{
	while (*list) {
		int len = (int)strcspn(list, ",");

		fprintf(f, "%s=%.*s%c", name, len, list, '\0');
		list += len + (list[len] == ',');
	}
}

static void put_number(FILE *f, const struct cfg_key *k, uint64_t value)
{
	/* Below its least value it was not given. */
	if (value >= k->min)
		fprintf(f, "%s=%llu%s%c", k->name, (unsigned long long)value,
			k->parse == opt_duration ? "ms" : "", '\0');
}

static void put_key(FILE *f, const struct cfg_key *k, const void *base)
{
	const void *at = (const char *)base + k->offset;

	if (k->parse == opt_not)
		return;		/* another key's opposite */
	if (k->parse == opt_bool)
		fprintf(f, "%s=%s%c", k->name,
			*(const bool *)at ? "on" : "off", '\0');
	else if (k->parse == opt_uint || k->parse == opt_pow2)
		put_number(f, k, *(const unsigned int *)at);
	else if (k->parse == opt_u64 || k->parse == opt_duration)
		put_number(f, k, *(const uint64_t *)at);
	else if (*(const char *const *)at && k->parse == opt_map)
		put_map(f, k->name, *(const char *const *)at);
	else if (*(const char *const *)at)
		fprintf(f, "%s=%s%c", k->name, *(const char *const *)at, '\0');
}

static void put_all(FILE *f, const struct share_config *sc,
		    const struct upgrade *h)
{
	/* First of all where to complain. */
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		fprintf(f, "%s=%d%c", numbers[i].key,
			*(const int *)((const char *)h + numbers[i].offset),
			'\0');
	for (unsigned int i = 0; i < cfg_nr_keys; i++)
		if (cfg_keys[i].scope & (CFG_SHARE | CFG_SECTION))
			put_key(f, &cfg_keys[i], sc);
	fprintf(f, "access=%s%c@tag=%s%c@command=%s%c", h->access, '\0',
		sc->tag, '\0', h->config.command, '\0');
	fprintf(f, "@syslog=%d%c@root=%d%c", h->config.syslog, '\0', h->root,
		'\0');
}

int handover_write(const struct share_config *sc, const struct upgrade *h)
{
	size_t len = 0;
	char *text = NULL;
	FILE *f = open_memstream(&text, &len);
	int fd = -ENOMEM;

	if (!f)
		return -ENOMEM;
	put_all(f, sc, h);
	if (!fclose(f) && len < MESSAGE_MAX) {
		fd = memfd_create("vmshare-handover", MFD_CLOEXEC);
		if (fd < 0)
			fd = -errno;
		else if (write(fd, text, len) != (ssize_t)len) {
			close(fd);
			fd = -ENOSPC;
		}
	}
	free(text);
	return fd;
}

/* ---- reading ------------------------------------------------------------- */

static int take_number(struct upgrade *h, const char *key, const char *value)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (!*value || *end || n < INT_MIN || n > INT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (strcmp(numbers[i].key, key) == 0) {
			*(int *)((char *)h + numbers[i].offset) = (int)n;
			return 0;
		}
	if (strcmp(key, "@syslog") == 0)
		h->config.syslog = n;
	else if (strcmp(key, "@root") == 0)
		h->root = n;
	else
		return -EINVAL;
	return 0;
}

static int take(struct cfg_parser *p, struct upgrade *h, const char *key,
		const char *value)
{
	struct share_config *sc = &h->config.shares[0];

	if (key[0] != '@')
		return cfg_set(p, CFG_SHARE | CFG_SECTION, sc, key, value);
	if (strcmp(key, "@tag") == 0 || strcmp(key, "@command") == 0) {
		const char *copy = cfg_strdup(&h->config, value);

		if (!copy)
			return cfg_fail(p, "out of memory");
		*(key[1] == 't' ? &sc->tag : &h->config.command) = copy;
		return 0;
	}
	if (take_number(h, key, value))
		return cfg_fail(p, "unknown word '%s=%s'", key, value);
	return 0;
}

static int take_all(struct cfg_parser *p, struct upgrade *h, char *text,
		    size_t len)
{
	int err = cfg_defaults(p, CFG_SHARE, &h->config.shares[0]);

	for (size_t at = 0; at < len && !err;) {
		char *key = text + at, *value = strchr(key, '=');

		at += strlen(key) + 1;
		if (!value)
			return cfg_fail(p, "no value in '%s'", key);
		*value++ = '\0';
		err = take(p, h, key, value);
	}
	h->config.nr_shares = 1;
	if (!err && (!h->config.shares[0].tag || !h->config.shares[0].dir ||
		     !h->config.command))
		err = cfg_fail(p, "not all is in it");
	return err;
}

static int handover_read(struct upgrade *h, const char *fd)
{
	struct cfg_parser p = {.c = &h->config};
	static char text[MESSAGE_MAX + 1];
	uint64_t number;
	ssize_t len = -1;
	int err;

	memset(h, 0, sizeof(*h));
	h->ready = -1;
	if (parse_u64(fd, 3, INT_MAX, &number) == 0)
		len = pread((int)number, text, MESSAGE_MAX, 0);
	if (len <= 0)
		err = cfg_fail(&p, "'%s' is not the descriptor of a handover "
			       "message", fd);
	else
		err = take_all(&p, h, text, (size_t)len);
	if (!err)
		return 0;
	if (h->ready >= 0)
		(void)upgrade_refuse(h, p.text);
	else
		log_error(UPGRADE_COMMAND ": %s", p.text);
	return err;
}

int upgrade_command(int argc, char **argv, int (*work)(struct upgrade *h))
{
	int status = EXIT_REFUSED;
	struct upgrade h;

	if (argc != 2) {
		log_error(UPGRADE_COMMAND " is an internal subcommand");
		return status;
	}
	if (handover_read(&h, argv[1]) == 0) {
		process_log(h.config.verbose, h.config.syslog);
		status = work(&h);
	}
	config_free(&h.config);
	return status;
}
