/* SPDX-License-Identifier: MIT */
/*
 * From a command line to a struct config.
 *
 * Flags are collected first and applied last: the configuration file that one
 * of them names is applied before, over the table's defaults, so that flags
 * have precedence. What depends on several settings is computed and checked at
 * the end (cfg_finish). The first mistake ends it, with one line and mostly a
 * hint.
 * Mistakes that depend on the machine are found by check, which reports all.
 *
 * GNU getopt is not used: it knows its own table only, guesses abbreviations
 * (so a new option can break old scripts), and prints by itself.
 */
#include "launch/config/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A flag as it was given; no key: an argument that is no flag. */
struct flag {
	const struct cfg_key *key;
	const char *value;
};

struct flags {
	struct flag *list;
	unsigned int count;
	bool help, version;
	char **rest; /* after "--", or NULL */
};

/* An option needs a value that the next word may be. */
static int take_value(struct cfg_parser *p, const struct cfg_key *key, int argc,
		      char **argv, int *i, const char **value)
{
	if (*i + 1 >= argc)
		return cfg_fail(p, "--%s: needs a value, as in --%s %s",
				key->name, key->name, key->arg);
	*value = argv[++*i];
	return 0;
}

static int long_flag(struct cfg_parser *p, struct flags *f, unsigned int scope,
		     int argc, char **argv, int *i)
{
	const char *word = argv[*i] + 2;
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : strlen(word);
	struct flag *flag = &f->list[f->count];
	const char *near;
	char name[64];

	if (strcmp(word, "help") == 0 || strcmp(word, "version") == 0) {
		f->help = f->help || *word == 'h';
		f->version = f->version || *word == 'v';
		return 0;
	}
	snprintf(name, sizeof(name), "%.*s",
		 len < sizeof(name) ? (int)len : (int)sizeof(name) - 1, word);
	flag->key = cfg_find(name, scope);
	if (!flag->key) {
		near = cfg_nearest(name, scope);
		if (cfg_find(name, CFG_SHARE) && (scope & CFG_COMMANDS))
			cfg_hint(p, "it is an option of a share: "
				 "--share DIR:TAG,%s", word);
		else if (near)
			cfg_hint(p, "did you mean --%s?", near);
		return cfg_fail(p, "unknown option '--%s'", name);
	}
	flag->value = value ? value + 1 : NULL;
	f->count++;
	if (flag->key->arg && !value)
		return take_value(p, flag->key, argc, argv, i, &flag->value);
	return 0;
}

/* "-share" is not -s with the directory "hare". */
static bool lacks_dash(const char *word, unsigned int scope)
{
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	return name[0] && name[1] && cfg_find(name, scope);
}

static int short_flags(struct cfg_parser *p, struct flags *f,
		       unsigned int scope, int argc, char **argv, int *i)
{
	if (lacks_dash(argv[*i] + 1, scope)) {
		cfg_hint(p, "did you mean -%s?", argv[*i]);
		return cfg_fail(p, "unknown option '%s'", argv[*i]);
	}
	for (const char *s = argv[*i] + 1; *s; s++) {
		struct flag *flag;

		if (*s == 'h' || *s == 'V') {
			f->help = f->help || *s == 'h';
			f->version = f->version || *s == 'V';
			continue;
		}
		flag = &f->list[f->count];
		flag->key = cfg_find_letter(*s, scope);
		flag->value = NULL;
		if (!flag->key)
			return cfg_fail(p, "unknown option '-%c'", *s);
		f->count++;
		if (!flag->key->arg)
			continue;
		if (!s[1])
			return take_value(p, flag->key, argc, argv, i,
					  &flag->value);
		flag->value = s + 1;
		return 0;
	}
	return 0;
}

/* @f->list has room for one flag a letter of all words. */
static int collect(struct cfg_parser *p, struct flags *f, unsigned int scope,
		   int argc, char **argv)
{
	int err = 0;

	for (int i = 1; i < argc && !err; i++) {
		if (strcmp(argv[i], "--") == 0) {
			f->rest = argv + i + 1;
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1])
			f->list[f->count++].value = argv[i];
		else if (argv[i][1] == '-')
			err = long_flag(p, f, scope, argc, argv, &i);
		else
			err = short_flags(p, f, scope, argc, argv, &i);
	}
	return err;
}

/* Put "--" before the name of what went wrong, as it was typed. */
static int flag_fail(struct cfg_parser *p, const struct cfg_key *key)
{
	char text[sizeof(p->text)];
	size_t len = strlen(key->name);

	if (strncmp(p->text, key->name, len) != 0 ||
	    !strchr(": ", p->text[len]) || p->text[len + 1] == '\'')
		return -EINVAL; /* begins with another name, as of a share */
	memcpy(text, p->text, sizeof(text));
	return cfg_fail(p, "--%s", text);
}

static int apply(struct cfg_parser *p, const struct flags *f,
		 unsigned int scope)
{
	struct config *c = p->c;

	for (unsigned int i = 0; i < f->count; i++) {
		const struct cfg_key *key = f->list[i].key;

		if (!key) {
			if ((scope & (CFG_STAT | CFG_RESTART)) &&
			    !c->target) {
				c->target = f->list[i].value;
				continue;
			}
			key = cfg_find("disk", scope);
			if (!key && (scope & CFG_SERVE))
				cfg_hint(p, "to share it: --share %s",
					 f->list[i].value);
			if (!key)
				return cfg_fail(p, "unexpected argument '%s'",
						f->list[i].value);
		}
		if (key->parse(p, key, c, f->list[i].value))
			return flag_fail(p, key);
	}
	if (!f->rest)
		return 0;
	if (!(scope & CFG_VM))
		return cfg_fail(p, "unexpected argument '%s'",
				f->rest[0] ? f->rest[0] : "--");
	if (f->rest[0])
		c->guest_argv = f->rest;
	return 0;
}

/* The file that a flag, or else the environment, names. */
static int read_file(struct cfg_parser *p, const struct flags *f)
{
	const char *path = getenv("VMSHARE_CONFIG");
	int err;

	for (unsigned int i = 0; i < f->count; i++)
		if (f->list[i].key &&
		    strcmp(f->list[i].key->name, "config") == 0)
			path = f->list[i].value;
	if (!path || !*path)
		return 0;
	err = cfg_read_file(p, path);
	p->c->file = path;
	return err;
}

static size_t count_letters(int argc, char **argv)
{
	size_t n = 1;

	for (int i = 1; i < argc; i++)
		n += strlen(argv[i]) + 1;
	return n;
}

static int parse(struct cfg_parser *p, struct flags *f, int argc, char **argv)
{
	struct config *c = p->c;
	unsigned int scope = cfg_scope(c->command);
	int err;

	if (!scope)
		return cfg_fail(p, "unknown command '%s'", c->command);
	err = collect(p, f, scope, argc, argv);
	if (f->help || f->version) {
		if (f->help)
			config_help(c->command);
		else
			puts("vmshare " VMSHARE_VERSION);
		return 1;
	}
	if (!err)
		err = cfg_defaults(p, scope, c);
	p->memory_set = false;
	if (!err && (scope & CFG_COMMANDS))
		err = read_file(p, f);
	if (!err)
		err = apply(p, f, scope);
	if (err || (scope & CFG_LOOK))
		return err;
	return cfg_finish(p);
}

void config_kernel(const struct config *c, struct guest_kernel_ask *ask)
{
	*ask = (struct guest_kernel_ask){
		.image = c->kernel_of_root ? NULL : c->kernel,
		.modules = c->modules,
		.root = c->has_root_share ? c->root : NULL,
		.of_root = c->kernel_of_root,
		.arch = c->arch,
	};
}

bool config_is_loudness(const char *word)
{
	return strcmp(word, "--verbose") == 0 || strcmp(word, "--quiet") == 0 ||
	       (word[0] == '-' && word[1] && !word[1 + strspn(word + 1, "vq")]);
}

int config_parse(struct config *c, int argc, char **argv)
{
	struct cfg_parser p = {.c = c};
	struct flags f = {0};
	int err;

	memset(c, 0, sizeof(*c));
	c->command = argv[0];
	c->status_fd = c->ready_fd = c->listen_fd = -1;
	c->shutdown_timeout_ms = UINT64_MAX;
	f.list = calloc(count_letters(argc, argv), sizeof(*f.list));
	if (!f.list)
		err = cfg_fail(&p, "out of memory");
	else
		err = parse(&p, &f, argc, argv);
	free(f.list);
	if (err >= 0)
		return err;
	log_error("%s", p.text);
	if (p.hint[0])
		log_hint("%s", p.hint);
	else
		log_hint("try 'vmshare %s --help'", c->command);
	return -EINVAL;
}
