/* SPDX-License-Identifier: MIT */
/*
 * Being called as virtiofsd is called: by libvirt, Kata or a script.
 *
 * Two programs have had that name. The one in C (QEMU up to 7.2) takes
 * "-o source=PATH,cache=always,flock"; the one in Rust takes --shared-dir and
 * its like, and -o for those who still write it. One table has the options of
 * both: what each becomes among our own settings, or that it is accepted
 * because nothing depends on it, or why it is refused. An option is never
 * dropped silently that would have changed what a guest sees or may do.
 *
 * A directory can be named once: callers that pass on options of others (an
 * annotation, a hook) must not be able to exchange the directory that was
 * chosen first. Commas in -o values are doubled, as libvirt does it.
 *
 * Defaults are virtiofsd's where a guest could tell (xattrs and ACLs are off
 * unless asked for); locks are ours, on. Extra safety of ours stays.
 */
#include "launch/config/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TAG_MAX	       36
#define OPEN_FILES_MIN 64
#define OPEN_FILES_MAX (1 << 20)

enum vfs_form {
	IN_LONG = 1, /* --name */
	IN_O = 2,    /* -o name */
};

enum vfs_value { NONE, REQUIRED, OPTIONAL };

struct vfs_parse {
	struct cfg_parser p;
	struct share_config *share;
	bool capabilities, help, version;
};

struct vfs_option {
	const char *name;
	unsigned int form;
	enum vfs_value value;
	/* One of: read it ourselves, ... */
	int (*take)(struct vfs_parse *v, const char *name, const char *value);
	/* ... give it to our key, with this value where not NULL, ... */
	const char *key, *fixed;
	/* ... or refuse it, saying why. None of them: accepted, no effect. */
	const char *refuse;
};

static int set(struct vfs_parse *v, const char *key, const char *value)
{
	return cfg_set(&v->p, CFG_SHARE | CFG_SECTION, v->share, key, value);
}

static int take_source(struct vfs_parse *v, const char *name, const char *value)
{
	if (v->share->dir)
		return cfg_fail(&v->p,
				"%s %s: the directory was given "
				"already: %s",
				name, value, v->share->dir);
	return set(v, "dir", value);
}

static int take_syslog(struct vfs_parse *v, const char *name,
		       const char *value)
{
	(void)name;
	(void)value;
	v->p.c->syslog = true;
	return 0;
}

static int take_cache(struct vfs_parse *v, const char *name, const char *value)
{
	if (strcmp(value, "never") == 0)
		value = "none";
	if (strcmp(value, "metadata") == 0)
		return cfg_fail(&v->p,
				"%s %s: vmshare has only auto, always "
				"and never",
				name, value);
	return set(v, "cache", value);
}

/* 0 means no thread pool there, which is the default here. */
static int take_threads(struct vfs_parse *v, const char *name,
			const char *value)
{
	(void)name;
	return strcmp(value, "0") == 0 ? 0 : set(v, "threads", value);
}

/* As virtiofsd: less where the hard limit is lower; 0 changes nothing. */
static int take_nofile(struct vfs_parse *v, const char *name, const char *value)
{
	struct rlimit rl;
	uint64_t n;

	if (parse_u64(value, 0, UINT32_MAX, &n))
		return cfg_fail(&v->p, "%s %s: must be a number", name, value);
	if (!n)
		return 0;
	if (!getrlimit(RLIMIT_NOFILE, &rl) && n > rl.rlim_max)
		n = rl.rlim_max;
	if (n < OPEN_FILES_MIN)
		n = OPEN_FILES_MIN;
	v->share->open_files =
		n < OPEN_FILES_MAX ? (unsigned int)n : OPEN_FILES_MAX;
	return 0;
}

static int take_seccomp(struct vfs_parse *v, const char *name,
			const char *value)
{
	(void)name;
	return set(v, "seccomp", strcmp(value, "trap") == 0 ? "kill" : value);
}

static int take_handles(struct vfs_parse *v, const char *name,
			const char *value)
{
	if (strcmp(value, "never") == 0)
		return set(v, "inode-handles", "off");
	/* "fallback" is the older name of the same. */
	if (strcmp(value, "prefer") == 0 || strcmp(value, "fallback") == 0)
		return set(v, "inode-handles", "on");
	return cfg_fail(&v->p, "%s %s: must be never or prefer", name, value);
}

static int take_acl(struct vfs_parse *v, const char *name, const char *value)
{
	if (value && strcmp(value, "never") == 0)
		return set(v, "posix-acl", "off");
	if (value && strcmp(value, "auto") != 0 && strcmp(value, "always") != 0)
		return cfg_fail(&v->p, "%s %s: must be never, auto or always",
				name, value);
	v->share->xattr = true; /* ACLs are attributes */
	return set(v, "posix-acl", "on");
}

/* A guest without labels still runs; one that is denied its share does not. */
static int take_label(struct vfs_parse *v, const char *name, const char *value)
{
	static const char warning[] =
		"security-label: new files get no security label";

	if (value && strcmp(value, "never") == 0)
		return 0;
	if (value && strcmp(value, "auto") != 0 && strcmp(value, "always") != 0)
		return cfg_fail(&v->p, "%s %s: must be never, auto or always",
				name, value);
	v->share->xattr = true; /* labels are attributes */
	if (!value || *value != 'a' || value[1] != 'u')
		v->p.c->warning = warning;
	return 0;
}

/*
 * "-mknod:+chown": capabilities after '-' are dropped; those after '+' must be
 * some that the server has.
 */
static int take_modcaps(struct vfs_parse *v, const char *name,
			const char *value)
{
	char word[32];
	size_t len;

	for (; *value; value += len + (value[len] == ':')) {
		bool add = *value == '+';

		len = strcspn(value, ":");
		if (len < 2 || len > sizeof(word) || !strchr("+-", *value))
			return cfg_fail(&v->p, "%s %s: must be "
					"+|-CAPABILITY[:...]", name, value);
		for (size_t i = 1; i < len; i++)
			word[i - 1] = (char)tolower((unsigned char)value[i]);
		word[len - 1] = '\0';
		if (add && (!opt_is_cap(word) ||
			    strcmp(word, "dac_read_search") == 0))
			return cfg_fail(&v->p, "%s +%s: refused: vmshare "
					"takes capabilities away only", name,
					word);
		if (!add && opt_is_cap(word) && set(v, "drop-caps", word))
			return -EINVAL;
	}
	return 0;
}

static int take_xattrmap(struct vfs_parse *v, const char *name,
			 const char *value)
{
	(void)name;
	v->share->xattr = true;
	return set(v, "xattr-map", value);
}

/* ":GUEST:HOST:COUNT:", where the first character is the separator. */
static int take_map(struct vfs_parse *v, const char *name, const char *value)
{
	char text[64];
	size_t len = strlen(value);

	if (len < 3 || len >= sizeof(text) || value[len - 1] != value[0])
		return cfg_fail(&v->p,
				"%s %s: must be :GUEST:HOST:COUNT:", name,
				value);
	memcpy(text, value + 1, len - 2);
	text[len - 2] = '\0';
	for (char *s = text; *s; s++)
		if (*s == value[0])
			*s = ':';
	return set(v, strstr(name, "uid") ? "uid-map" : "gid-map", text);
}

/* TYPE:FROM:TO:COUNT, which is a kind of range here, too. */
static int take_translate(struct vfs_parse *v, const char *name,
			  const char *value)
{
	struct id_range range;

	if (parse_id_range(value, &range) || range.kind == ID_RANGE)
		return cfg_fail(&v->p,
				"%s %s: must be TYPE:FROM:TO:COUNT", name,
				value);
	return set(v, strstr(name, "uid") ? "uid-map" : "gid-map", value);
}

static int take_log_level(struct vfs_parse *v, const char *name,
			  const char *value)
{
	if (opt_level_of(value, true, &v->p.c->verbose))
		return 0;
	return cfg_fail(&v->p, "%s %s: unknown level", name, value);
}

static int take_debug(struct vfs_parse *v, const char *name, const char *value)
{
	(void)name, (void)value;
	v->p.c->verbose = 2;
	return 0;
}

/* Seconds, with a fraction; ours may say the unit as well. */
static int take_timeout(struct vfs_parse *v, const char *name,
			const char *value)
{
	char *end;
	double s = strtod(value, &end);

	if (end == value || *end || !(s >= 0 && s < 1e6))
		return cfg_fail(&v->p, "%s %s: must be seconds", name, value);
	v->share->timeout_ms = (uint64_t)(s * 1000);
	return 0;
}

static int take_fd(struct vfs_parse *v, const char *name, const char *value)
{
	uint64_t n;

	if (parse_u64(value, 0, 65535, &n))
		return cfg_fail(&v->p, "%s %s: must be a descriptor", name,
				value);
	v->p.c->listen_fd = (int)n;
	return 0;
}

static int store(struct vfs_parse *v, const char **to, const char *value)
{
	*to = cfg_strdup(v->p.c, value);
	return *to ? 0 : cfg_fail(&v->p, "out of memory");
}

static int take_socket(struct vfs_parse *v, const char *name, const char *value)
{
	(void)name;
	return store(v, &v->p.c->socket_path, value);
}

static int take_group(struct vfs_parse *v, const char *name, const char *value)
{
	(void)name;
	return store(v, &v->p.c->socket_group, value);
}

static int take_tag(struct vfs_parse *v, const char *name, const char *value)
{
	(void)name;
	return store(v, &v->share->tag, value);
}

static int take_question(struct vfs_parse *v, const char *name,
			 const char *value)
{
	(void)value;
	v->capabilities = v->capabilities || strstr(name, "capabilities");
	v->help = v->help || strstr(name, "help");
	v->version = v->version || strstr(name, "version");
	return 0;
}

#define BOTH	  (IN_LONG | IN_O)
#define MIGRATION "vmshare does not migrate"

static const struct vfs_option options[] = {
	{ "shared-dir", IN_LONG, REQUIRED, take_source, 0, 0, 0 },
	{ "source", IN_O, REQUIRED, take_source, 0, 0, 0 },
	{ "fd", IN_LONG, REQUIRED, take_fd, 0, 0, 0 },
	{ "socket-path", IN_LONG, REQUIRED, take_socket, 0, 0, 0 },
	{ "socket", IN_LONG, REQUIRED, take_socket, 0, 0, 0 },
	{ "vhost_user_socket", IN_O, REQUIRED, take_socket, 0, 0, 0 },
	{ "socket-group", IN_LONG, REQUIRED, take_group, 0, 0, 0 },
	{ "tag", IN_LONG, REQUIRED, take_tag, 0, 0, 0 },
	{ "thread-pool-size", IN_LONG, REQUIRED, take_threads, 0, 0, 0 },
	{ "rlimit-nofile", IN_LONG, REQUIRED, take_nofile, 0, 0, 0 },
	{ "cache", BOTH, REQUIRED, take_cache, 0, 0, 0 },
	{ "timeout", IN_O, REQUIRED, take_timeout, 0, 0, 0 },
	{ "sandbox", BOTH, REQUIRED, NULL, "sandbox", NULL, 0 },
	{ "seccomp", IN_LONG, REQUIRED, take_seccomp, 0, 0, 0 },
	{ "readonly", IN_LONG, NONE, NULL, "ro", "on", 0 },
	{ "writeback", BOTH, NONE, NULL, "writeback", "on", 0 },
	{ "no_writeback", IN_O, NONE, NULL, "writeback", "off", 0 },
	{ "allow-direct-io", IN_LONG, NONE, NULL, "direct-io", "on", 0 },
	{ "allow_direct_io", IN_O, NONE, NULL, "direct-io", "on", 0 },
	{ "no_allow_direct_io", IN_O, NONE, NULL, "direct-io", "off", 0 },
	{ "announce-submounts", IN_LONG, NONE, NULL, "submounts", "on", 0 },
	{ "announce_submounts", IN_O, NONE, NULL, "submounts", "on", 0 },
	{ "no-announce-submounts", IN_LONG, NONE, NULL, "submounts", "off", 0 },
	{ "no_announce_submounts", IN_O, NONE, NULL, "submounts", "off", 0 },
	{ "inode-file-handles", IN_LONG, REQUIRED, take_handles, 0, 0, 0 },
	{ "xattr", BOTH, NONE, NULL, "xattr", "on", 0 },
	{ "no_xattr", IN_O, NONE, NULL, "xattr", "off", 0 },
	{ "xattrmap", BOTH, REQUIRED, take_xattrmap, 0, 0, 0 },
	{ "posix-acl", IN_LONG, OPTIONAL, take_acl, 0, 0, 0 },
	{ "posix_acl", IN_O, NONE, take_acl, 0, 0, 0 },
	{ "no_posix_acl", IN_O, NONE, NULL, "posix-acl", "off", 0 },
	{ "posix_lock", IN_O, NONE, NULL, "posix-lock", "on", 0 },
	{ "no_posix_lock", IN_O, NONE, NULL, "posix-lock", "off", 0 },
	{ "flock", IN_O, NONE, NULL, "flock", "on", 0 },
	{ "no_flock", IN_O, NONE, NULL, "flock", "off", 0 },
	{ "preserve-noatime", IN_LONG, NONE, NULL, "noatime", "on", 0 },
	{ "security-label", IN_LONG, OPTIONAL, take_label, 0, 0, 0 },
	{ "security_label", IN_O, NONE, take_label, 0, 0, 0 },
	{ "modcaps", BOTH, REQUIRED, take_modcaps, 0, 0, 0 },
	{ "uid-map", IN_LONG, REQUIRED, take_map, 0, 0, 0 },
	{ "gid-map", IN_LONG, REQUIRED, take_map, 0, 0, 0 },
	{ "translate-uid", IN_LONG, REQUIRED, take_translate, 0, 0, 0 },
	{ "translate-gid", IN_LONG, REQUIRED, take_translate, 0, 0, 0 },
	{ "log-level", IN_LONG, REQUIRED, take_log_level, 0, 0, 0 },
	{ "log_level", IN_O, REQUIRED, take_log_level, 0, 0, 0 },
	{ "debug", BOTH, NONE, take_debug, 0, 0, 0 },
	{ "print-capabilities", IN_LONG, NONE, take_question, 0, 0, 0 },
	{ "help", IN_LONG, NONE, take_question, 0, 0, 0 },
	{ "version", IN_LONG, NONE, take_question, 0, 0, 0 },

	{ "syslog", IN_LONG, NONE, take_syslog, 0, 0, 0 },

	/* accepted: nothing that a guest or the caller sees depends on it */
	{ "foreground", IN_LONG, NONE, NULL, 0, 0, 0 },
	{ "allow-mmap", IN_LONG, NONE, NULL, 0, 0, 0 },
	{ "allow_root", IN_O, NONE, NULL, 0, 0, 0 },
	{ "max_idle_threads", IN_O, REQUIRED, NULL, 0, 0, 0 },
	{ "no-readdirplus", IN_LONG, NONE, NULL, 0, 0, 0 },
	{ "readdirplus", IN_O, NONE, NULL, 0, 0, 0 },
	{ "no_readdirplus", IN_O, NONE, NULL, 0, 0, 0 },
	{ "killpriv-v2", IN_LONG, NONE, NULL, 0, 0, 0 },
	{ "no-killpriv-v2", IN_LONG, NONE, NULL, 0, 0, 0 },
	{ "killpriv_v2", IN_O, NONE, NULL, 0, 0, 0 },
	{ "no_killpriv_v2", IN_O, NONE, NULL, 0, 0, 0 },
	{ "no_security_label", IN_O, NONE, NULL, 0, 0, 0 },

	/* refused */
	{ "daemonize", IN_LONG, NONE, NULL, 0, 0,
	  "vmshare stays in the foreground" },
	{ "migration-mode", IN_LONG, REQUIRED, NULL, 0, 0, MIGRATION },
	{ "migration-on-error", IN_LONG, REQUIRED, NULL, 0, 0, MIGRATION },
	{ "migration-verify-handles", IN_LONG, NONE, NULL, 0, 0, MIGRATION },
	{ "migration-confirm-paths", IN_LONG, NONE, NULL, 0, 0, MIGRATION },
};

static int take_option(struct vfs_parse *v, const struct vfs_option *o,
		       const char *shown, const char *value)
{
	if (o->refuse)
		return cfg_fail(&v->p, "%s: refused: %s", shown, o->refuse);
	if (o->take)
		return o->take(v, shown, value);
	return o->key ? set(v, o->key, o->fixed ? o->fixed : value) : 0;
}

static const struct vfs_option *find(const char *name, size_t len,
				     unsigned int form)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if ((options[i].form & form) &&
		    strlen(options[i].name) == len &&
		    memcmp(options[i].name, name, len) == 0)
			return &options[i];
	return NULL;
}

static int unknown(struct vfs_parse *v, const char *dashes, const char *name,
		   unsigned int form)
{
	const char *names[ARRAY_SIZE(options) + 1], *near;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].form & form)
			names[n++] = options[i].name;
	names[n] = NULL;
	near = parse_nearest(name, names);
	if (cfg_find(name, CFG_VM))
		cfg_hint(&v->p, "vmshare's own options follow a command, as "
				"in vmshare run %s%s", dashes, name);
	else if (near)
		cfg_hint(&v->p, "did you mean %s%s?", dashes, near);
	return cfg_fail(&v->p, "unknown option '%s%s' (called as virtiofsd)",
			dashes, name);
}

/* One "NAME[=VALUE]" of -o, commas already single. */
static int parse_o_word(struct vfs_parse *v, char *word)
{
	char *value = strchr(word, '=');
	const struct vfs_option *o;
	char shown[64];

	if (!*word)
		return 0;
	if (value)
		*value++ = '\0';
	o = find(word, strlen(word), IN_O);
	if (!o)
		return unknown(v, "-o ", word, IN_O);
	snprintf(shown, sizeof(shown), "-o %s", o->name);
	if (!value != !o->value)
		return cfg_fail(&v->p, "%s: %s", shown,
				value ? "takes no value" : "needs a value");
	return take_option(v, o, shown, value);
}

/* "a=b,,c,d" is a="b,c" and d. */
static int parse_o(struct vfs_parse *v, const char *text)
{
	char *word = cfg_strdup(v->p.c, text);
	char *out = word;
	int err = 0;

	if (!word)
		return cfg_fail(&v->p, "out of memory");
	for (; !err && *text; text++) {
		if (*text == ',' && text[1] != ',') {
			*out = '\0';
			err = parse_o_word(v, word);
			out = word;
			continue;
		}
		text += *text == ',';
		*out++ = *text;
	}
	*out = '\0';
	return err ? err : parse_o_word(v, word);
}

static int parse_long(struct vfs_parse *v, int argc, char **argv, int *i)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	const struct vfs_option *o = find(name, len, IN_LONG);
	char shown[64];

	if (!o)
		return unknown(v, "--", name, IN_LONG);
	snprintf(shown, sizeof(shown), "--%s", o->name);
	if (value && o->value == NONE)
		return cfg_fail(&v->p, "%s: takes no value", shown);
	if (!value && o->value == REQUIRED) {
		if (*i + 1 >= argc)
			return cfg_fail(&v->p, "%s: needs a value", shown);
		value = argv[++*i];
	}
	return take_option(v, o, shown, value);
}

static int parse_words(struct vfs_parse *v, int argc, char **argv)
{
	int err = 0;

	for (int i = 1; i < argc && !err; i++) {
		const char *word = argv[i];

		if (strncmp(word, "--", 2) == 0 && word[2])
			err = parse_long(v, argc, argv, &i);
		else if (strcmp(word, "-o") == 0 && i + 1 < argc)
			err = parse_o(v, argv[++i]);
		else if (strncmp(word, "-o", 2) == 0 && word[2])
			err = parse_o(v, word + 2);
		else if (strcmp(word, "-d") == 0)
			err = take_debug(v, word, NULL);
		else if (strcmp(word, "-h") == 0)
			v->help = true;
		else if (strcmp(word, "-V") == 0)
			v->version = true;
		else if (strcmp(word, "-f") != 0)
			err = unknown(v, "", word, IN_LONG);
	}
	return err;
}

/* The name in messages; no rule of tags applies, QEMU knows the real one. */
static int name_share(struct vfs_parse *v)
{
	struct share_config *s = v->share;
	const char *slash = strrchr(s->dir, '/');
	const char *name = slash && slash[1] ? slash + 1 : s->dir;
	size_t len = strlen(name);

	if (s->tag)
		return 0;
	s->tag = cfg_strndup(v->p.c, name, len < TAG_MAX ? len : TAG_MAX);
	return s->tag ? 0 : cfg_fail(&v->p, "out of memory");
}

static int finish(struct vfs_parse *v)
{
	struct config *c = v->p.c;

	if (!v->share->dir)
		return cfg_fail(&v->p, "no directory given (--shared-dir DIR "
				       "or -o source=DIR)");
	if (c->socket_path && c->listen_fd >= 0)
		return cfg_fail(&v->p, "--socket-path and --fd exclude each "
				       "other");
	if (!c->socket_path && c->listen_fd < 0)
		return cfg_fail(&v->p, "give --socket-path PATH or --fd N");
	if (c->socket_group && !c->socket_path)
		return cfg_fail(&v->p, "--socket-group: needs --socket-path");
	v->share->allow_root = true; /* the caller chose it */
	c->once = true;		     /* it ends with its VM */
	return name_share(v);
}

/*
 * "separate-options" is not a feature here on purpose: without it libvirt
 * hands over <lock posix= flock=>, which it else refuses. With the one that is
 * here, Incus asks for ACLs where the guest knows them, not for all guests.
 */
static void print_capabilities(void)
{
	puts("{\n  \"type\": \"fs\",\n  \"features\": [\n"
	     "    \"posix-acl-negotiation-mode\"\n  ]\n}");
}

static void print_help(void)
{
	puts("vmshare, called as virtiofsd: serves one directory\n"
	     "usage: virtiofsd --shared-dir DIR --socket-path PATH|--fd N "
	     "[OPTION...]\n       virtiofsd -o source=DIR[,OPTION...] "
	     "--socket-path PATH|--fd N\n\noptions:");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!options[i].refuse)
			printf("  %s%s%s\n",
			       options[i].form & IN_LONG ? "--" : "-o ",
			       options[i].name,
			       options[i].value == REQUIRED ? "=VALUE"
			       : options[i].value	    ? "[=VALUE]"
							    : "");
	}
}

/* Questions are answered and done with, as -EINTR of a parse would be. */
static int answer(const struct vfs_parse *v)
{
	if (v->capabilities)
		print_capabilities();
	else if (v->help)
		print_help();
	else if (v->version)
		puts("virtiofsd (vmshare " VMSHARE_VERSION ")");
	else
		return 0;
	return 1;
}

int config_parse_virtiofsd(struct config *c, int argc, char **argv)
{
	struct vfs_parse v = {.p = {.c = c}};
	int err;

	memset(c, 0, sizeof(*c));
	c->command = "serve";
	c->status_fd = c->ready_fd = c->listen_fd = -1;
	v.share = &c->shares[0];
	c->nr_shares = 1;
	err = cfg_defaults(&v.p, CFG_SHARE, v.share);
	v.share->xattr = v.share->posix_acl = false;
	if (!err)
		err = parse_words(&v, argc, argv);
	if (!err)
		err = answer(&v);
	if (!err)
		err = finish(&v);
	if (err >= 0)
		return err;
	log_error("%s", v.p.text);
	if (v.p.hint[0])
		log_hint("%s", v.p.hint);
	return -EINVAL;
}

bool config_is_virtiofsd(int argc, char **argv)
{
	static const char *const ours[] = {"--help", "-h", "--version", "-V"};
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;

	if (argc && strcmp(slash ? slash + 1 : argv[0], "virtiofsd") == 0)
		return true;
	if (argc < 2 || argv[1][0] != '-' || config_is_loudness(argv[1]))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (strcmp(argv[1], ours[i]) == 0)
			return false;
	return true;
}
