/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_OPTIONS_H
#define VMSHARE_OPTIONS_H

/*
 * Private to configuration: the key table and what reads and checks values.
 * Flags, the file's keys, --help, completions and the man page's test all
 * come from cfg_keys[]; adding an option is adding one row there.
 */

#include "launch/config/config.h"

/* Where a key may be used. */
enum {
	CFG_RUN = 1 << 0,
	CFG_CHECK = 1 << 1,
	CFG_XML = 1 << 2, /* libvirt-xml */
	CFG_SERVE = 1 << 3,
	CFG_SHARE = 1 << 4,	/* OPT of --share, key of [share TAG] */
	CFG_SECTION = 1 << 5,	/* key of [share TAG] alone */
	CFG_NUMA = 1 << 6,	/* OPT of --numa, key of [numa N] */
	CFG_FLAG_ONLY = 1 << 7, /* makes no sense in a file */
	CFG_COMMON = 1 << 8,	/* in the subcommand's --help */
	CFG_PS = 1 << 9,
	CFG_STAT = 1 << 10,
	CFG_RESTART = 1 << 11,
};

#define CFG_VM	     (CFG_RUN | CFG_CHECK | CFG_XML)
#define CFG_COMMANDS (CFG_VM | CFG_SERVE)
#define CFG_LOOK     (CFG_PS | CFG_STAT | CFG_RESTART)

struct cfg_parser;
struct cfg_key;

/*
 * Take @value (NULL: a flag without one) into @base, the struct that the
 * key's scope says. 0, or -EINVAL by way of cfg_fail().
 */
typedef int cfg_parse_fn(struct cfg_parser *p, const struct cfg_key *key,
			 void *base, const char *value);

struct cfg_key {
	const char *name;
	char letter; /* short form, or 0 */
	unsigned int scope;
	const char *arg; /* "SIZE", "auto|kvm|tcg"; NULL: a boolean */
	cfg_parse_fn *parse;
	size_t offset;
	uint64_t min, max;
	/* Taken by the parser at the start, or "(words)" about another. */
	const char *fallback;
	const char *help;
};

extern const struct cfg_key cfg_keys[];
extern const unsigned int cfg_nr_keys;

/* One source of settings at a time: the file, then the flags. */
struct cfg_parser {
	struct config *c;
	const char *dir;	  /* of the file, for relative paths */
	unsigned int file_shares; /* shares that came from the file */
	bool memory_set, disks_from_flags, nodes_from_flags;
	/* A share's option, last set, that only its own server can honour. */
	const char *server_key;
	char text[640]; /* what is wrong: "KEY VALUE: why" */
	char hint[256];
};

/* Both return -EINVAL. A hint belongs to the failure it follows. */
int cfg_fail(struct cfg_parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cfg_hint(struct cfg_parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Copies that live as long as the config; NULL only without memory. */
char *cfg_strndup(struct config *c, const char *text, size_t len);
char *cfg_strdup(struct config *c, const char *text);

const struct cfg_key *cfg_find(const char *name, unsigned int scope);
const struct cfg_key *cfg_find_letter(char letter, unsigned int scope);
/* The name in @scope nearest to a mistyped one, or NULL. */
const char *cfg_nearest(const char *name, unsigned int scope);
/* Give @base (of keys with @scope) the table's defaults. */
int cfg_defaults(struct cfg_parser *p, unsigned int scope, void *base);
/* Set one key by name: unknown names are cfg_fail()ed with the nearest. */
int cfg_set(struct cfg_parser *p, unsigned int scope, void *base,
	    const char *name, const char *value);
/* The scope bit of a subcommand, or 0. */
unsigned int cfg_scope(const char *command);

/* value.c: the parsers that the table uses */
cfg_parse_fn opt_bool, opt_not, opt_verbose, opt_quiet, opt_string, opt_path;
cfg_parse_fn opt_uint, opt_u64, opt_size, opt_duration, opt_choice;
cfg_parse_fn opt_fd, opt_pow2, opt_guest_path, opt_map, opt_squash;
cfg_parse_fn opt_xattr_map;
cfg_parse_fn opt_caps, opt_kernel;
bool opt_is_cap(const char *name);	/* whether a server may have it */
cfg_parse_fn opt_memory, opt_memory_type, opt_disk, opt_forward, opt_console;
cfg_parse_fn opt_env, opt_qemu_arg, opt_cpu_range, opt_log_level;
/* Whether @value is one of "a|b|c". */
/*
 * A level of messages by its word, as -q and -v count them: note is 0. With
 * @virtiofsd by that program's words, of which "info" is what it says unless
 * asked. Return: whether there is one.
 */
bool opt_level_of(const char *word, bool virtiofsd, int *verbose);
bool cfg_is_choice(const char *choices, const char *value);

/* share.c */
cfg_parse_fn opt_share, opt_share_socket, opt_numa;
int cfg_new_share(struct cfg_parser *p, const char *tag,
		  struct share_config **share);
int cfg_new_node(struct cfg_parser *p, struct numa_config **node);
/* A --share or [share TAG] was read: does it hold together by itself? */
int cfg_end_share(struct cfg_parser *p, struct share_config *share);
/* All were read: tags and what depends on the rest. */
int cfg_finish_shares(struct cfg_parser *p);

/* file.c: 0, or -EINVAL with "FILE:LINE: what" */
int cfg_read_file(struct cfg_parser *p, const char *path);

/* finish.c: defaults that depend on others, and what contradicts */
int cfg_finish(struct cfg_parser *p);

#endif
