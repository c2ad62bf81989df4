/* SPDX-License-Identifier: MIT */
/*
 * --help and "vmshare help TOPIC", from the key table: the everyday options of
 * a subcommand on one screen with an example first, or all of them.
 */
#include "launch/config/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COLUMN 30 /* where the words begin */
#define WIDTH  80

struct topic {
	const char *name;
	unsigned int scope;
	const char *example, *usage, *more;
};

static const struct topic topics[] = {
	{"run", CFG_RUN, "vmshare run --share .:src -- make check\n"
	 "         vmshare run --share ~/src:src disk.img",
	 "vmshare run [OPTION...] [DISK...] [-- COMMAND ARG...]",
	 "share options: 'vmshare help share'; "
	 "all of them: 'vmshare help options'"},
	{"check", CFG_CHECK, "vmshare check --share ~/src:src disk.img",
	 "vmshare check [OPTION...] [DISK...] [-- COMMAND ARG...]",
	 "takes the options of run and says what would fail"},
	{"libvirt-xml", CFG_XML,
	 "vmshare libvirt-xml --share ~/src:src disk.img",
	 "vmshare libvirt-xml [OPTION...] [DISK...]",
	 "takes the options of run and prints a libvirt domain"},
	{"serve", CFG_SERVE,
	 "vmshare serve --share ~/src:src --socket src.sock",
	 "vmshare serve --share DIR[:TAG[,OPT...]] --socket PATH|--fd N",
	 "share options: 'vmshare help share'"},
	{"ps", CFG_PS, "vmshare ps", "vmshare ps [--json]",
	 "lists machines and servers of this user that run"},
	{"stat", CFG_STAT, "vmshare stat --watch src",
	 "vmshare stat [--watch] [--json] [PID|TAG]",
	 "counts and latencies of each operation of a share"},
	{"restart", CFG_RESTART, "vmshare restart src",
	 "vmshare restart PID|TAG",
	 "has the program on disk take over a share that runs"},
	{"completion", 0,
	 "vmshare completion bash >~/.bash_completion",
	 "vmshare completion bash|zsh|fish",
	 "prints what the shell is to read"},
	{"help", 0, "vmshare help run",
	 "vmshare help [COMMAND|share|options]",
	 "everything else is in the manual, vmshare(1)"},
	{"version", 0, "vmshare version", "vmshare version",
	 "prints the version and nothing else"},
	{"share", CFG_SHARE,
	 "vmshare run --share ~/src:src,ro,cache=always disk.img",
	 "--share DIR:TAG[,OPT...], or keys of [share TAG] in a file", NULL},
};

static void print_key(const struct cfg_key *k, bool dashes)
{
	char left[96];
	int n;

	if (!dashes)
		n = snprintf(left, sizeof(left), "  %s%s%s", k->name,
			     k->arg ? "=" : "", k->arg ? k->arg : "");
	else
		n = snprintf(left, sizeof(left), "  %c%c%s--%s%s%s",
			     k->letter ? '-' : ' ', k->letter ? k->letter : ' ',
			     k->letter ? ", " : "  ", k->name,
			     k->arg ? " " : "", k->arg ? k->arg : "");
	if (n >= COLUMN)
		printf("%s\n%*s%s", left, COLUMN, "", k->help);
	else
		printf("%-*s%s", COLUMN, left, k->help);
	if (k->fallback && k->arg && k->fallback[0] != '(' &&
	    COLUMN + strlen(k->help) + strlen(k->fallback) + 3 <= WIDTH)
		printf(" (%s)", k->fallback);
	putchar('\n');
}

static void print_scope(unsigned int scope, unsigned int must, bool dashes)
{
	for (unsigned int i = 0; i < cfg_nr_keys; i++) {
		const struct cfg_key *k = &cfg_keys[i];

		if ((k->scope & scope) && (k->scope & must) == must)
			print_key(k, dashes);
	}
}

static void print_topic(const struct topic *t)
{
	bool share = t->scope == CFG_SHARE;

	printf("example: %s\nusage:   %s\n\n", t->example, t->usage);
	if (t->scope)
		print_scope(t->scope, share ? 0 : CFG_COMMON, !share);
	if (t->more)
		printf("%s\n", t->more);
}

/* All that a person may want to search. */
static void print_options(void)
{
	printf("options of run, check and libvirt-xml, keys of [vm]:\n\n");
	print_scope(CFG_RUN, 0, true);
	printf("\nmore for check, ps and stat:\n\n");
	for (unsigned int i = 0; i < cfg_nr_keys; i++)
		if ((cfg_keys[i].scope & (CFG_CHECK | CFG_STAT)) &&
		    !(cfg_keys[i].scope & CFG_RUN))
			print_key(&cfg_keys[i], true);
	printf("\noptions of serve:\n\n");
	print_scope(CFG_SERVE, 0, true);
	printf("\noptions of a share, keys of [share TAG]:\n\n");
	print_scope(CFG_SHARE | CFG_SECTION, 0, false);
	printf("\noptions of --numa, keys of [numa N]:\n\n");
	print_scope(CFG_NUMA, 0, false);
}

/* One line a key and scope; the man page's test and others read it. */
static void print_keys(void)
{
	static const struct {
		unsigned int scope;
		const char *name;
	} scopes[] = {
		{CFG_RUN, "run"},	  {CFG_CHECK, "check"},
		{CFG_XML, "libvirt-xml"}, {CFG_SERVE, "serve"},
		{CFG_PS, "ps"},		  {CFG_STAT, "stat"},
		{CFG_RESTART, "restart"}, {CFG_SHARE, "share"},
		{CFG_SECTION, "section"}, {CFG_NUMA, "numa"},
	};

	for (size_t s = 0; s < ARRAY_SIZE(scopes); s++) {
		for (unsigned int i = 0; i < cfg_nr_keys; i++) {
			const struct cfg_key *k = &cfg_keys[i];

			if (!(k->scope & scopes[s].scope))
				continue;
			printf("%s\t%s\t%c\t%s\t%s\t%s\n", scopes[s].name,
			       k->name, k->letter ? k->letter : '-',
			       k->arg ? k->arg : "-",
			       k->fallback ? k->fallback : "-", k->help);
		}
	}
}

int config_help(const char *topic)
{
	for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
		if (strcmp(topics[i].name, topic) != 0)
			continue;
		print_topic(&topics[i]);
		return 0;
	}
	if (strcmp(topic, "options") == 0)
		print_options();
	else if (strcmp(topic, "--keys") == 0)
		print_keys();
	else
		return -ENOENT;
	return 0;
}
