/* SPDX-License-Identifier: MIT */
/*
 * Completions for bash, zsh and fish, printed from the key table: options of
 * each subcommand, the words a choice knows, and files or directories where a
 * value is one. --share completes a directory up to the ':'; options of a
 * share are completed by fish and zsh users' eyes only, in the manual.
 *
 * What runs changes: the scripts ask "vmshare completion --tags" for the tags
 * that stat may be given.
 */
#include "launch/look.h"
#include "launch/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const commands[] = {"run",   "check", "libvirt-xml",
				       "serve", "ps",    "stat", "restart"};
static const char *const others[] = {"help", "version", "completion"};

/* What a value is: 'f' a file, 'd' a directory, 'c' one of arg's, or 0. */
static char kind(const struct cfg_key *k)
{
	if (!k->arg)
		return 0;
	if (k->parse == opt_choice || k->parse == opt_log_level)
		return 'c';
	if (k->parse == opt_share || strcmp(k->arg, "DIR") == 0)
		return 'd';
	return k->parse == opt_path || k->parse == opt_disk ||
			       k->parse == opt_share_socket
		       ? 'f'
		       : 0;
}

/* The choices of @arg with blanks between. */
static void put_choices(const char *arg)
{
	for (; *arg; arg++)
		putchar(*arg == '|' ? ' ' : *arg);
}

/* ---- bash --------------------------------------------------------------- */

static void bash_options(const char *command)
{
	unsigned int scope = cfg_scope(command);

	printf("\t%s) words='--help --version", command);
	for (unsigned int i = 0; i < cfg_nr_keys; i++)
		if (cfg_keys[i].scope & scope)
			printf(" --%s", cfg_keys[i].name);
	puts("' ;;");
}

static void bash_values(void)
{
	for (unsigned int i = 0; i < cfg_nr_keys; i++) {
		const struct cfg_key *k = &cfg_keys[i];

		if (!(k->scope & (CFG_COMMANDS | CFG_LOOK)) || !kind(k))
			continue;
		printf("\t--%s", k->name);
		if (k->letter)
			printf("|-%c", k->letter);
		if (kind(k) == 'c') {
			printf(") COMPREPLY=($(compgen -W '");
			put_choices(k->arg);
			puts("' -- \"$cur\")); return ;;");
		} else {
			printf(") compopt -o filenames; COMPREPLY=($(compgen "
			       "-%c -- \"$cur\")); return ;;\n",
			       kind(k));
		}
	}
}

static void print_bash(void)
{
	puts("# bash completion of vmshare\n_vmshare()\n{");
	puts("\tlocal cur=${COMP_WORDS[COMP_CWORD]} words= i");
	puts("\tlocal prev=${COMP_WORDS[COMP_CWORD-1]} command=");
	puts("\tCOMPREPLY=()");
	puts("\tfor ((i = 1; i < COMP_CWORD; i++)); do");
	puts("\t\t[[ ${COMP_WORDS[i]} == -* ]] || "
	     "{ command=${COMP_WORDS[i]}; break; }\n\tdone");
	puts("\tcase $prev in");
	bash_values();
	puts("\tesac\n\tcase $command in");
	printf("\t'') words='--help --version");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf(" %s", commands[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		printf(" %s", others[i]);
	puts("' ;;");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		bash_options(commands[i]);
	puts("\thelp) words='run check libvirt-xml serve ps stat restart share "
	     "options' ;;");
	puts("\tcompletion) words='bash zsh fish' ;;\n\tesac");
	puts("\t[[ ! $command =~ ^(stat|restart)$ || $cur == -* ]] || "
	     "words=$(\"${COMP_WORDS[0]}\" completion --tags 2>/dev/null)");
	puts("\tif [[ $cur == -* || $command == '' || $command == help || "
	     "$command == completion ||\n\t\t"
	     "$command =~ ^(ps|stat|restart)$ ]]; then");
	puts("\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))");
	puts("\telse\n\t\tcompopt -o filenames");
	puts("\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}");
	puts("complete -F _vmshare vmshare");
}

/* ---- zsh ---------------------------------------------------------------- */

/* Inside '...' and _arguments: ' [ ] : are special. */
static void zsh_text(const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", stdout);
		else if (strchr("[]:", *s))
			printf("\\%c", *s);
		else
			putchar(*s);
	}
}

static void zsh_key(const struct cfg_key *k)
{
	printf("\t\t'*--%s%s[", k->name, k->arg ? "=" : "");
	zsh_text(k->help);
	putchar(']');
	if (k->arg) {
		putchar(':');
		zsh_text(k->name);
		putchar(':');
	}
	switch (kind(k)) {
	case 'c':
		putchar('(');
		put_choices(k->arg);
		putchar(')');
		break;
	case 'd':
		fputs("_files -/", stdout);
		break;
	case 'f':
		fputs("_files", stdout);
		break;
	}
	puts("' \\");
}

static void print_zsh(void)
{
	puts("#compdef vmshare\n_vmshare() {\n\tlocal line state\n"
	     "\t_arguments -C '1:command:->command' '*::arg:->args'\n"
	     "\tcase $state in\n\tcommand)");
	printf("\t\tcompadd");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf(" %s", commands[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		printf(" %s", others[i]);
	puts("; return ;;\n\tesac\n\tcase $line[1] in");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		unsigned int scope = cfg_scope(commands[i]);

		printf("\t%s) _arguments \\\n", commands[i]);
		for (unsigned int j = 0; j < cfg_nr_keys; j++)
			if (cfg_keys[j].scope & scope)
				zsh_key(&cfg_keys[j]);
		puts(scope & (CFG_STAT | CFG_RESTART)
			     ? "\t\t'--help[show help]' '1:tag:("
			       "$(vmshare completion --tags 2>/dev/null))' ;;"
		     : strcmp(commands[i], "ps") == 0
			     ? "\t\t'--help[show help]' ;;"
			     : "\t\t'--help[show help]' '*:file:_files' ;;");
	}
	puts("\thelp) compadd run check libvirt-xml serve ps stat restart "
	     "share options ;;");
	puts("\tcompletion) compadd bash zsh fish ;;\n\tesac\n}");
	puts("if [ \"$funcstack[1]\" = _vmshare ]; then _vmshare \"$@\"; "
	     "else compdef _vmshare vmshare; fi");
}

/* ---- fish --------------------------------------------------------------- */

static void fish_key(const struct cfg_key *k)
{
	printf("complete -c vmshare -n '__fish_seen_subcommand_from");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (k->scope & cfg_scope(commands[i]))
			printf(" %s", commands[i]);
	printf("' -l %s", k->name);
	if (k->letter)
		printf(" -s %c", k->letter);
	if (kind(k) == 'c') {
		printf(" -x -a '");
		put_choices(k->arg);
		putchar('\'');
	} else if (k->arg) {
		fputs(kind(k) ? " -r -F" : " -x", stdout);
	}
	printf(" -d '");
	for (const char *s = k->help; *s; s++)
		fputs(*s == '\'' ? "\\'" : (char[]){*s, '\0'}, stdout);
	puts("'");
}

static void print_fish(void)
{
	printf("# fish completion of vmshare\n"
	       "complete -c vmshare -n __fish_use_subcommand -f -a '");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("%s ", commands[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		printf("%s%s", others[i],
		       i + 1 < ARRAY_SIZE(others) ? " " : "'\n");
	puts("complete -c vmshare -n '__fish_seen_subcommand_from help' -f "
	     "-a 'run check libvirt-xml serve ps stat restart share "
	     "options'");
	puts("complete -c vmshare -n '__fish_seen_subcommand_from completion' "
	     "-f -a 'bash zsh fish'");
	puts("complete -c vmshare -n '__fish_seen_subcommand_from ps' -f");
	puts("complete -c vmshare -n "
	     "'__fish_seen_subcommand_from stat restart' "
	     "-f -a '(vmshare completion --tags 2>/dev/null)'");
	for (unsigned int i = 0; i < cfg_nr_keys; i++)
		if (cfg_keys[i].scope & (CFG_COMMANDS | CFG_LOOK))
			fish_key(&cfg_keys[i]);
}

/* ---- what runs ----------------------------------------------------------- */

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

int config_completion(const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		print_bash();
	else if (strcmp(shell, "zsh") == 0)
		print_zsh();
	else if (strcmp(shell, "fish") == 0)
		print_fish();
	else if (strcmp(shell, "--tags") == 0)
		return look_each(0, put_tags, NULL);
	else
		return -ENOENT;
	return 0;
}
