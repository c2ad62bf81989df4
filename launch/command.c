/* SPDX-License-Identifier: MIT */
/*
 * The first word of a command line: a subcommand of vmshare.c's table, or one
 * of those that only print: help, version and completion. Here is also what
 * precedes the work of a subcommand: its options, and for a machine the checks.
 */
#include "launch/command.h"
#include "launch/look/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COMMANDS 32

static int print_help(const struct command *table, int argc, char **argv);
static int print_version(const struct command *table, int argc, char **argv);
static int print_completion(const struct command *table, int argc,
			    char **argv);
static int unknown(const struct command *table, const char *what,
		   const char *word);

static const struct {
	const char *name;
	int (*run)(const struct command *table, int argc, char **argv);
	const char *summary;
} printers[] = {
	{"completion", print_completion, "completions for bash, zsh or fish"},
	{"help", print_help, "help for a subcommand"},
	{"version", print_version, "the version"},
};

static void print_usage(const struct command *table, FILE *out)
{
	fputs("vmshare run --share .:src -- make check\n"
	      "vmshare run --share ~/src:src disk.img\n\n"
	      "usage: vmshare COMMAND [OPTION...]\n\n", out);
	for (const struct command *c = table; c->name; c++)
		if (c->summary)	/* else it is internal */
			fprintf(out, "  %-11s %s\n", c->name, c->summary);
	for (size_t i = 0; i < ARRAY_SIZE(printers); i++)
		fprintf(out, "  %-11s %s\n", printers[i].name,
			printers[i].summary);
	fputs("\n'vmshare help COMMAND' says more; the manual is vmshare(1)\n",
	      out);
}

static int print_help(const struct command *table, int argc, char **argv)
{
	if (argc < 2) {
		print_usage(table, stdout);
		return 0;
	}
	if (config_help(argv[1]) == 0)
		return 0;
	return unknown(table, "no help for", argv[1]);
}

static int print_version(const struct command *table, int argc, char **argv)
{
	(void)table;
	if (argc > 1) {
		log_error("version takes no arguments: '%s'", argv[1]);
		return EXIT_REFUSED;
	}
	puts("vmshare " VMSHARE_VERSION);
	return 0;
}

static int print_completion(const struct command *table, int argc, char **argv)
{
	(void)table;
	if (argc == 2 && strcmp(argv[1], "--tags") == 0)
		return look_tags() ? EXIT_REFUSED : 0;
	if (argc == 2 && config_completion(argv[1]) == 0)
		return 0;
	log_error("completion: bash, zsh or fish is wanted");
	log_hint("as in: eval \"$(vmshare completion bash)\"");
	return EXIT_REFUSED;
}

/* "help", "version" and "completion" as --help knows them. */
static bool asks_for_help(int argc, char **argv)
{
	return argc > 1 && (!strcmp(argv[1], "--help") ||
			    !strcmp(argv[1], "-h"));
}

static int unknown(const struct command *table, const char *what,
		   const char *word)
{
	const char *names[MAX_COMMANDS + ARRAY_SIZE(printers) + 1], *nearest;
	size_t n = 0;

	for (; table->name && n < MAX_COMMANDS; table++)
		if (table->summary)
			names[n++] = table->name;
	for (size_t i = 0; i < ARRAY_SIZE(printers); i++)
		names[n++] = printers[i].name;
	names[n] = NULL;
	nearest = parse_nearest(word, names);
	log_error("%s '%s'", what, word);
	if (nearest)
		log_hint("did you mean '%s'?", nearest);
	else
		log_hint("try 'vmshare help'");
	return EXIT_REFUSED;
}

/* "-v run" is "run -v": how much is said may be asked for first. */
static void command_first(int argc, char **argv)
{
	int i = 1;

	while (i < argc && config_is_loudness(argv[i]))
		i++;
	if (i > 1 && i < argc) {
		char *word = argv[i];

		memmove(argv + 2, argv + 1, (size_t)(i - 1) * sizeof(*argv));
		argv[1] = word;
	}
}

int command_run(const struct command *table, int argc, char **argv)
{
	const char *word;

	command_first(argc, argv);
	word = argc > 1 ? argv[1] : NULL;
	if (!word) {
		print_usage(table, stderr);
		return EXIT_REFUSED;
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		word = "help";
	if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		word = "version";
	for (const struct command *c = table; c->name; c++)
		if (!strcmp(word, c->name))
			return c->run(argc - 1, argv + 1);
	for (size_t i = 0; i < ARRAY_SIZE(printers); i++)
		if (!strcmp(word, printers[i].name))
			return asks_for_help(argc - 1, argv + 1)
				       ? config_help(word)
				       : printers[i].run(table, argc - 1,
							 argv + 1);
	return unknown(table, "unknown command", word);
}

/* ---- options and checks -------------------------------------------------- */

int command_parsed(int argc, char **argv,
		   int (*parse)(struct config *c, int argc, char **argv),
		   int (*work)(const struct config *c))
{
	struct config c;
	int got = parse(&c, argc, argv);
	int status = got < 0 ? EXIT_REFUSED : 0;

	if (got == 0) {
		process_log(c.verbose, c.syslog);
		if (c.warning)
			log_warning("%s", c.warning);
		status = work(&c);
	}
	config_free(&c);
	return status;
}

static int print_dry_run(const struct config *c, const struct qemu_info *info)
{
	char **argv = qemu_argv(c, info, NULL);

	if (!argv) {
		log_error("out of memory");
		return EXIT_REFUSED;
	}
	qemu_print(argv);
	free(argv);
	return 0;
}

/* For another host, perhaps: only QEMU is looked for. */
static int print_xml(const struct config *c, struct qemu_info *info,
		     struct findings *found)
{
	int status = qemu_probe(c, info, found);

	findings_print(found, false);
	return status ? status : libvirt_print(c, info);
}

static int run_checked(const struct config *c, struct qemu_info *info,
		       struct findings *found, command_run_fn *run,
		       check_probe_fn *probe)
{
	bool check = strcmp(c->command, "check") == 0;
	int status = check_run(c, info, found);

	if (check && !status)
		status = check_confinement(c, found, probe);
	if (check && c->json)
		findings_print_json(found, c);
	else
		findings_print(found, check);
	if (check || (!status && !c->dry_run))
		qemu_remember(info);
	if (check || status)
		return status;
	if (c->dry_run)
		return print_dry_run(c, info);
	return run(c, info);
}

int command_vm(int argc, char **argv, command_run_fn *run,
	       check_probe_fn *probe)
{
	struct findings found;
	struct qemu_info info = {.major = 0};
	struct config c;
	int got = config_parse(&c, argc, argv);
	int status = got < 0 ? EXIT_REFUSED : 0;

	findings_init(&found);
	if (got == 0) {
		process_log(c.verbose, c.syslog);
		status = strcmp(c.command, "libvirt-xml") == 0 ?
				 print_xml(&c, &info, &found) :
				 run_checked(&c, &info, &found, run, probe);
	}
	config_free(&c);
	return status;
}
