/* SPDX-License-Identifier: MIT */
/*
 * Completions for bash, zsh and fish, printed from the key table: options of
 * each subcommand, the words a choice knows, and files or directories where a
 * value is one. --share completes a directory up to the ':', and in bash the
 * options after the tag; fish and zsh would take those for files.
 *
 * bash splits words at ':' and '=', so its function looks at the line itself
 * and completes what follows the last of these.
 *
 * For the tags of running shares, which stat takes, the scripts ask
 * "vmshare completion --tags".
 */
#include "launch/config/options.h"

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
	if (k->parse == opt_choice || k->parse == opt_log_level ||
	    k->parse == opt_memory_type || k->parse == opt_console)
		return 'c';
	if (k->parse == opt_share || strcmp(k->arg, "DIR") == 0)
		return 'd';
	return k->parse == opt_path || k->parse == opt_kernel ||
	       k->parse == opt_disk ||
			       k->parse == opt_share_socket
		       ? 'f'
		       : 0;
}

/* The choices of @arg, "a|b[=SIZE]|c=DIR": "a b c=", each after @before. */
static void put_choices(const char *arg, const char *before)
{
	for (const char *end; *arg; arg = end + (*end == '|')) {
		size_t len = strcspn(arg, "|[=");

		end = arg + strcspn(arg, "|");
		printf("%s%.*s%s%s", before, (int)len, arg,
		       arg[len] == '=' ? "=" : "", *end ? " " : "");
	}
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

		if (!(k->scope & (CFG_COMMANDS | CFG_LOOK)) || !k->arg)
			continue;
		printf("\t--%s", k->name);
		if (k->letter)
			printf("|-%c", k->letter);
		if (kind(k) == 'c') {
			printf(") words='");
			put_choices(k->arg, "");
			puts("'; how=W ;;");
		} else {
			printf(") how=%c ;;\n", kind(k) ? kind(k) : 'n');
		}
	}
}

/* What may follow DIR:TAG, as one word for each choice. */
static void bash_share_options(void)
{
	char before[64];

	printf("\tshare='");
	for (unsigned int i = 0; i < cfg_nr_keys; i++) {
		const struct cfg_key *k = &cfg_keys[i];

		if (!(k->scope & CFG_SHARE))
			continue;
		snprintf(before, sizeof(before), "%s=", k->name);
		if (kind(k) == 'c')
			put_choices(k->arg, before);
		else
			printf("%s%s", k->name, k->arg ? "=" : "");
		putchar(' ');
	}
	puts("'");
}

static void bash_commands(void)
{
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
	puts("\tcompletion) words='bash zsh fish' ;;");
}

/* @words for -W, or files or directories; or nothing, for a number. */
static const char bash_end[] =
	"\tif [[ ! $how ]]; then\n"
	"\t\t[[ ! $command =~ ^(stat|restart)$ || $cur == -* ]] ||\n"
	"\t\t\twords=$(\"${before[0]}\" completion --tags 2>/dev/null)\n"
	"\t\thow=f\n"
	"\t\t[[ $cur != -* && ! $command =~ "
	"^(|help|completion|ps|stat|restart)$ ]] || how=W\n"
	"\tfi\n"
	"\tif [[ $how == d && $cur == *:*,* ]]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -P \"${cur%,*},\" "
	"-W \"$share\" -- \"${cur##*,}\")\n"
	"\telif [[ $how == W ]]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	"\telif [[ $how == f || $how == d && $cur != *:* ]]; then\n"
	"\t\tcompopt -o filenames\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -$how -- \"$cur\")\n"
	"\tfi\n"
	"\tcut=${cur%\"${cur##*[:=]}\"}\n"
	"\tCOMPREPLY=(\"${COMPREPLY[@]#\"$cut\"}\")\n"
	"\t[[ ${COMPREPLY[*]-} != *= ]] || compopt -o nospace\n"
	"}\n"
	"complete -F _vmshare vmshare";

static void print_bash(void)
{
	puts("# bash completion of vmshare\n_vmshare()\n{");
	puts("\tlocal line=${COMP_LINE:0:COMP_POINT} words how command i");
	puts("\tlocal cur=${line##*[[:space:]]} prev share cut before");
	puts("\tread -ra before <<<\"${line%\"$cur\"}\"");
	puts("\tprev=${before[${#before[@]}-1]}");
	puts("\tfor ((i = 1; i < ${#before[@]}; i++)); do");
	puts("\t\t[[ ${before[i]} == -* ]] || "
	     "{ command=${before[i]}; break; }\n\tdone");
	puts("\t[[ $cur != --*=* ]] || { prev=${cur%%=*} cur=${cur#*=}; }");
	puts("\tCOMPREPLY=()");
	bash_share_options();
	puts("\tcase $prev in");
	bash_values();
	puts("\t*) case $command in");
	bash_commands();
	puts("\tesac ;;\n\tesac");
	puts(bash_end);
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
		put_choices(k->arg, "");
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
		put_choices(k->arg, "");
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

int config_completion(const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		print_bash();
	else if (strcmp(shell, "zsh") == 0)
		print_zsh();
	else if (strcmp(shell, "fish") == 0)
		print_fish();
	else
		return -ENOENT;
	return 0;
}
