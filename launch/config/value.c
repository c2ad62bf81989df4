/* SPDX-License-Identifier: MIT */
/*
 * The values of settings: one parser for each kind, named by rows of the key
 * table. Each either stores what it read or says what is wrong as "KEY VALUE:
 * why", to which its caller adds where that stood. A parser looks only at its
 * value: what depends on other settings is config_finish's.
 */
#include "launch/config/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Strings of a config, freed all at once. */
struct cfg_block {
	struct cfg_block *next;
	char text[];
};

char *cfg_strndup(struct config *c, const char *text, size_t len)
{
	struct cfg_block *b = malloc(sizeof(*b) + len + 1);

	if (!b)
		return NULL;
	b->next = c->storage;
	c->storage = b;
	memcpy(b->text, text, len);
	b->text[len] = '\0';
	return b->text;
}

char *cfg_strdup(struct config *c, const char *text)
{
	return cfg_strndup(c, text, strlen(text));
}

void config_free(struct config *c)
{
	struct cfg_block *b = c->storage, *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
	c->storage = NULL;
}

int cfg_fail(struct cfg_parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void cfg_hint(struct cfg_parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->hint, sizeof(p->hint), fmt, ap);
	va_end(ap);
}

static void *field(const struct cfg_key *key, void *base)
{
	return (char *)base + key->offset;
}

/* Store a copy of @value in the field. */
static int store(struct cfg_parser *p, const struct cfg_key *key, void *base,
		 const char *value)
{
	char *copy = cfg_strdup(p->c, value);

	if (!copy)
		return cfg_fail(p, "%s: out of memory", key->name);
	*(const char **)field(key, base) = copy;
	return 0;
}

int opt_bool(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	if (!value)
		*(bool *)field(key, base) = true;
	else if (parse_bool(value, field(key, base)))
		return cfg_fail(p, "%s %s: must be on or off", key->name,
				value);
	return 0;
}

int opt_not(struct cfg_parser *p, const struct cfg_key *key, void *base,
	    const char *value)
{
	int err = opt_bool(p, key, base, value);
	bool *flag = field(key, base);

	if (!err)
		*flag = !*flag;
	return err;
}

int opt_verbose(struct cfg_parser *p, const struct cfg_key *key, void *base,
		const char *value)
{
	int *level = field(key, base);
	bool on = true;

	if (value && parse_bool(value, &on))
		return cfg_fail(p, "%s %s: must be on or off", key->name,
				value);
	if (on && *level < 2)
		*level = *level < 0 ? 1 : *level + 1;
	return 0;
}

int opt_quiet(struct cfg_parser *p, const struct cfg_key *key, void *base,
	      const char *value)
{
	bool on = true;

	if (value && parse_bool(value, &on))
		return cfg_fail(p, "%s %s: must be on or off", key->name,
				value);
	*(int *)field(key, base) = on ? -2 : 0;
	return 0;
}

bool opt_level_of(const char *word, bool virtiofsd, int *verbose)
{
	enum { NONE = -9 };
	static const struct {
		const char *name;
		int ours, theirs;
	} levels[] = {
		{"off", NONE, -2},  {"err", NONE, -2},	{"error", -2, -2},
		{"warn", NONE, -1}, {"warning", -1, NONE},
		{"note", 0, NONE},  {"info", 1, 0},	{"debug", 2, 1},
		{"trace", NONE, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		int level = virtiofsd ? levels[i].theirs : levels[i].ours;

		if (level == NONE || strcmp(levels[i].name, word) != 0)
			continue;
		*verbose = level;
		return true;
	}
	return false;
}

int opt_log_level(struct cfg_parser *p, const struct cfg_key *key, void *base,
		  const char *value)
{
	if (opt_level_of(value, false, field(key, base)))
		return 0;
	return cfg_fail(p, "%s %s: must be one of %s", key->name, value,
			key->arg);
}

int opt_string(struct cfg_parser *p, const struct cfg_key *key, void *base,
	       const char *value)
{
	if (!*value)
		return cfg_fail(p, "%s: must not be empty", key->name);
	return store(p, key, base, value);
}

/* @value, or below the file's directory when it is relative; or NULL. */
static char *resolve(struct cfg_parser *p, const char *value)
{
	size_t dir_len, len;
	char *joined, *copy;

	if (!p->dir || value[0] == '/')
		return cfg_strdup(p->c, value);
	dir_len = strlen(p->dir);
	len = strlen(value);
	joined = malloc(dir_len + len + 2);
	if (!joined)
		return NULL;
	memcpy(joined, p->dir, dir_len);
	joined[dir_len] = '/';
	memcpy(joined + dir_len + 1, value, len + 1);
	copy = cfg_strndup(p->c, joined, dir_len + len + 1);
	free(joined);
	return copy;
}

/* A file of that name is ./root. */
int opt_kernel(struct cfg_parser *p, const struct cfg_key *key, void *base,
	       const char *value)
{
	struct config *c = base;

	c->kernel_of_root = strcmp(value, "root") == 0;
	return c->kernel_of_root ? store(p, key, base, value)
				 : opt_path(p, key, base, value);
}

int opt_path(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	char *path;

	if (!*value)
		return cfg_fail(p, "%s: must not be empty", key->name);
	path = resolve(p, value);
	if (!path)
		return cfg_fail(p, "%s: out of memory", key->name);
	*(const char **)field(key, base) = path;
	return 0;
}

int opt_guest_path(struct cfg_parser *p, const struct cfg_key *key, void *base,
		   const char *value)
{
	if (value[0] != '/')
		return cfg_fail(p,
				"%s %s: must be an absolute path in the "
				"guest",
				key->name, value);
	if (strpbrk(value, "\n"))
		return cfg_fail(p, "%s: must be one line", key->name);
	return store(p, key, base, value);
}

static int number(struct cfg_parser *p, const struct cfg_key *key,
		  const char *value, uint64_t *n)
{
	if (parse_u64(value, key->min, key->max, n))
		return cfg_fail(p,
				"%s %s: must be a number from %" PRIu64
				" to %" PRIu64,
				key->name, value, key->min, key->max);
	return 0;
}

int opt_uint(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	uint64_t n = 0;
	int err = number(p, key, value, &n);

	if (!err)
		*(unsigned int *)field(key, base) = (unsigned int)n;
	return err;
}

int opt_u64(struct cfg_parser *p, const struct cfg_key *key, void *base,
	    const char *value)
{
	return number(p, key, value, field(key, base));
}

int opt_fd(struct cfg_parser *p, const struct cfg_key *key, void *base,
	   const char *value)
{
	uint64_t n = 0;
	int err = number(p, key, value, &n);

	if (!err)
		*(int *)field(key, base) = (int)n;
	return err;
}

int opt_pow2(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	uint64_t n;

	if (parse_u64(value, key->min, key->max, &n) || (n & (n - 1)))
		return cfg_fail(p,
				"%s %s: must be a power of two from %" PRIu64
				" to %" PRIu64,
				key->name, value, key->min, key->max);
	*(unsigned int *)field(key, base) = (unsigned int)n;
	return 0;
}

int opt_size(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	char min[32], max[32];
	uint64_t bytes;
	int err = parse_size(value, &bytes);

	if (err == -EINVAL) {
		cfg_hint(p, "write it as 512M or 2G");
		return cfg_fail(p, "%s %s: not a size", key->name, value);
	}
	if (!err && bytes >= key->min && bytes <= key->max) {
		*(uint64_t *)field(key, base) = bytes;
		return 0;
	}
	if (!value[strspn(value, "0123456789")])
		cfg_hint(p, "without a unit these are bytes; write it as 512M "
			    "or 2G");
	return cfg_fail(p, "%s %s: must be from %s to %s", key->name, value,
			format_size(min, sizeof(min), key->min),
			format_size(max, sizeof(max), key->max));
}

int opt_memory(struct cfg_parser *p, const struct cfg_key *key, void *base,
	       const char *value)
{
	int err = opt_size(p, key, base, value);

	p->memory_set = p->memory_set || !err;
	return err;
}

int opt_duration(struct cfg_parser *p, const struct cfg_key *key, void *base,
		 const char *value)
{
	uint64_t ms;
	int err = parse_duration(value, &ms);

	if (err == -EINVAL) {
		cfg_hint(p, "write it as 250ms, 10s, 2m or 1h");
		return cfg_fail(p, "%s %s: not a time", key->name, value);
	}
	if (err || ms < key->min || ms > key->max)
		return cfg_fail(p, "%s %s: out of range", key->name, value);
	*(uint64_t *)field(key, base) = ms;
	return 0;
}

bool cfg_is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	while (*choices) {
		size_t n = strcspn(choices, "|");

		if (n == len && memcmp(choices, value, n) == 0)
			return true;
		choices += n;
		choices += *choices == '|';
	}
	return false;
}

int opt_choice(struct cfg_parser *p, const struct cfg_key *key, void *base,
	       const char *value)
{
	if (!cfg_is_choice(key->arg, value))
		return cfg_fail(p, "%s %s: must be one of %s", key->name, value,
				key->arg);
	return store(p, key, base, value);
}

int opt_memory_type(struct cfg_parser *p, const struct cfg_key *key, void *base,
		    const char *value)
{
	struct mem_spec *spec = field(key, base);
	uint64_t page = 0;

	if (strcmp(value, "memfd") == 0) {
		spec->type = MEM_MEMFD;
	} else if (strcmp(value, "hugepages") == 0) {
		spec->type = MEM_HUGEPAGES;
	} else if (strncmp(value, "hugepages=", 10) == 0) {
		if (parse_size(value + 10, &page) || !page ||
		    (page & (page - 1)))
			return cfg_fail(p,
					"%s %s: page size must be a power "
					"of two, as in 2M or 1G",
					key->name, value);
		spec->type = MEM_HUGEPAGES;
	} else if (strncmp(value, "file=", 5) == 0 && value[5]) {
		spec->dir = resolve(p, value + 5);
		if (!spec->dir)
			return cfg_fail(p, "%s: out of memory", key->name);
		spec->type = MEM_FILE;
	} else {
		return cfg_fail(p, "%s %s: must be %s", key->name, value,
				key->arg);
	}
	spec->page_size = page;
	return 0;
}

int opt_disk(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	struct config *c = base;
	char *path;

	if (!*value)
		return cfg_fail(p, "%s: must not be empty", key->name);
	if (!p->dir && !p->disks_from_flags) {
		c->nr_disks = 0; /* flags win over the file's */
		p->disks_from_flags = true;
	}
	if (c->nr_disks == VM_MAX_DISKS)
		return cfg_fail(p, "%s %s: at most %d disks", key->name, value,
				VM_MAX_DISKS);
	path = resolve(p, value);
	if (!path)
		return cfg_fail(p, "%s: out of memory", key->name);
	c->disks[c->nr_disks++] = (struct disk_config){.path = path};
	return 0;
}

/* "PORT:PORT" or "ADDR:PORT:PORT"; an IPv6 address in brackets. */
static int parse_forward(const char *text, struct forward_config *f)
{
	const char *last = strrchr(text, ':');
	const char *first;
	char buf[8];
	uint64_t port;
	size_t len;

	if (!last || parse_u64(last + 1, 1, 65535, &port))
		return -EINVAL;
	f->guest = (uint16_t)port;
	for (first = last; first > text && first[-1] != ':'; first--)
		;
	len = (size_t)(last - first);
	if (len >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, first, len);
	buf[len] = '\0';
	if (parse_u64(buf, 1, 65535, &port))
		return -EINVAL;
	f->host = (uint16_t)port;
	if (first == text) {
		strcpy(f->addr, "127.0.0.1");
		return 0;
	}
	len = (size_t)(first - text) - 1;
	if (len >= sizeof(f->addr))
		return -EINVAL;
	memcpy(f->addr, text, len);
	f->addr[len] = '\0';
	return 0;
}

int opt_forward(struct cfg_parser *p, const struct cfg_key *key, void *base,
		const char *value)
{
	struct config *c = base;
	struct forward_config *f = &c->forwards[c->nr_forwards];
	struct in_addr addr;

	if (c->nr_forwards == VM_MAX_LIST)
		return cfg_fail(p, "%s %s: at most %d of them", key->name,
				value, VM_MAX_LIST);
	memset(f, 0, sizeof(*f));
	f->udp = strncmp(value, "udp:", 4) == 0;
	if ((!f->udp && strncmp(value, "tcp:", 4) != 0) ||
	    parse_forward(value + 4, f)) {
		cfg_hint(p, "as in tcp:2222:22 or tcp:0.0.0.0:8080:80");
		return cfg_fail(p, "%s %s: must be %s", key->name, value,
				key->arg);
	}
	if (inet_pton(AF_INET, f->addr, &addr) != 1)
		return cfg_fail(p, "%s %s: '%s' is not an IPv4 address",
				key->name, value, f->addr);
	c->nr_forwards++;
	return 0;
}

int opt_console(struct cfg_parser *p, const struct cfg_key *key, void *base,
		const char *value)
{
	struct config *c = base;

	if (strcmp(value, "stdio") == 0) {
		c->console = "stdio";
	} else if (strcmp(value, "none") == 0) {
		c->console = "none";
	} else if (strncmp(value, "file=", 5) == 0 && value[5]) {
		c->console = "file";
		c->console_file = resolve(p, value + 5);
		if (!c->console_file)
			return cfg_fail(p, "%s: out of memory", key->name);
	} else {
		return cfg_fail(p, "%s %s: must be %s", key->name, value,
				key->arg);
	}
	return 0;
}

static int append(struct cfg_parser *p, const struct cfg_key *key,
		  const char **list, unsigned int *nr, char *text)
{
	if (!text)
		return cfg_fail(p, "%s: out of memory", key->name);
	if (*nr == VM_MAX_LIST)
		return cfg_fail(p, "%s %s: at most %d of them", key->name, text,
				VM_MAX_LIST);
	list[(*nr)++] = text;
	return 0;
}

int opt_env(struct cfg_parser *p, const struct cfg_key *key, void *base,
	    const char *value)
{
	struct config *c = base;
	size_t len = strcspn(value, "=");
	const char *ours;
	char *text, *copy;

	if (!len)
		return cfg_fail(p, "%s %s: must be %s", key->name, value,
				key->arg);
	if (value[len] == '=')
		return append(p, key, c->env, &c->nr_env, cfg_strdup(c, value));
	ours = getenv(value);
	if (!ours)
		return 0; /* as docker and env -u see it: not set */
	text = malloc(len + strlen(ours) + 2);
	if (!text)
		return cfg_fail(p, "%s: out of memory", key->name);
	sprintf(text, "%s=%s", value, ours);
	copy = cfg_strdup(c, text);
	free(text);
	return append(p, key, c->env, &c->nr_env, copy);
}

int opt_qemu_arg(struct cfg_parser *p, const struct cfg_key *key, void *base,
		 const char *value)
{
	struct config *c = base;

	return append(p, key, c->qemu_args, &c->nr_qemu_args,
		      cfg_strdup(c, value));
}

/* "A-B" or "A", A <= B. */
int opt_cpu_range(struct cfg_parser *p, const struct cfg_key *key, void *base,
		  const char *value)
{
	char first[8];
	size_t len = strcspn(value, "-");
	uint64_t a = 0, b = 0;

	if (len >= sizeof(first))
		goto bad;
	memcpy(first, value, len);
	first[len] = '\0';
	if (parse_u64(first, key->min, key->max, &a))
		goto bad;
	b = a;
	if (value[len] && parse_u64(value + len + 1, a, key->max, &b))
		goto bad;
	return store(p, key, base, value);
bad:
	return cfg_fail(p, "%s %s: must be a range such as 0-1", key->name,
			value);
}

int opt_squash(struct cfg_parser *p, const struct cfg_key *key, void *base,
	       const char *value)
{
	uint32_t ids[2];
	int n = parse_ids(value, 2, ids);

	if (n < 0)
		return cfg_fail(p, "%s %s: must be %s", key->name, value,
				key->arg);
	*(struct squash_config *)field(key, base) = (struct squash_config){
		.set = true, .uid = ids[0], .gid = ids[n > 1],
	};
	return 0;
}

int opt_xattr_map(struct cfg_parser *p, const struct cfg_key *key, void *base,
		  const char *value)
{
	if (parse_xattr_map(value))
		return cfg_fail(p, "%s %s: has a rule that is not "
				":TYPE:SCOPE:KEY:PREPEND:", key->name, value);
	return store(p, key, base, value);
}

/* Those that a file server may have; the rest it drops anyhow. */
bool opt_is_cap(const char *name)
{
	return cfg_is_choice("chown|dac_override|dac_read_search|fowner|"
			     "fsetid|mknod|setfcap|setgid|setuid", name);
}

/* Each gets what was dropped before put in front. */
int opt_caps(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	const char **list = field(key, base);
	char *text, name[32];
	int err;

	for (const char *s = value; *s; s += *s == ':') {
		size_t len = strcspn(s, ":");

		snprintf(name, sizeof(name), "%.*s", (int)len, s);
		if (!opt_is_cap(name))
			return cfg_fail(p, "%s: the server has no capability "
					"'%s'", key->name, name);
		s += len;
	}
	if (asprintf(&text, "%s%s%s", *list ? *list : "", *list ? ":" : "",
		     value) < 0)
		return cfg_fail(p, "%s: out of memory", key->name);
	err = store(p, key, base, text);
	free(text);
	return err;
}

/* Ranges add up: "0:1000:1" and "1:100000:65536" become one map. */
int opt_map(struct cfg_parser *p, const struct cfg_key *key, void *base,
	    const char *value)
{
	struct id_map *map = field(key, base);
	struct id_range range;

	if (parse_id_range(value, &range))
		return cfg_fail(p, "%s %s: must be %s", key->name, value,
				key->arg);
	if (map->nr == ID_RANGES_MAX)
		return cfg_fail(p, "%s: more than %d ranges", key->name,
				ID_RANGES_MAX);
	map->range[map->nr++] = range;
	return 0;
}
