/* SPDX-License-Identifier: MIT */
/*
 * Shares and NUMA nodes: things of which there are several, each with options
 * of its own.
 *
 * "--share DIR[:TAG[,OPT...]]" is one word in which directory names may hold
 * almost anything. DIR ends at the first ':' that is followed by a tag (no
 * ':', ',', '/' or '=' in it) and then ',' or the end; "\:" and "\," stand for
 * the character itself. A flag whose tag a file's section has changes that
 * section: flags win.
 */
#include "launch/config/options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG_MAX	  36 /* virtio-fs: bytes of its tag field */
#define TAG_STOPS ":,/="

static bool is_escape(const char *s)
{
	return s[0] == '\\' && (s[1] == ':' || s[1] == ',');
}

/* Where DIR ends: at the ':' before a tag, or at the end of @text. */
static size_t dir_length(const char *text)
{
	size_t i = 0;

	while (text[i]) {
		if (is_escape(text + i)) {
			i += 2;
			continue;
		}
		if (text[i] == ':') {
			const char *tag = text + i + 1;
			char stop = tag[strcspn(tag, TAG_STOPS)];

			if (stop == ',' || stop == '\0')
				return i;
		}
		i++;
	}
	return i;
}

/* The first @len bytes of @text without their backslashes; NULL: memory. */
static char *unescape(struct cfg_parser *p, const char *text, size_t len)
{
	char *copy = cfg_strndup(p->c, text, len);
	char *out = copy;

	for (const char *in = copy; in && *in; in++) {
		if (is_escape(in))
			in++;
		*out++ = *in;
	}
	if (out)
		*out = '\0';
	return copy;
}

/* Set each of "KEY[=VALUE],..." on @base. */
static int set_options(struct cfg_parser *p, unsigned int scope, void *base,
		       const char *text)
{
	while (*text) {
		char *option, *value;
		size_t len;
		int err;

		for (len = 0; text[len] && text[len] != ','; len++)
			len += is_escape(text + len);
		option = unescape(p, text, len);
		if (!option)
			return cfg_fail(p, "out of memory");
		text += len + (text[len] == ',');
		value = strchr(option, '=');
		if (value)
			*value++ = '\0';
		err = cfg_set(p, scope, base, option, value);
		if (err)
			return err;
	}
	return 0;
}

/* Put "share 'NAME': " before what went wrong. */
static int share_fail(struct cfg_parser *p, const char *name)
{
	char text[sizeof(p->text)];

	memcpy(text, p->text, sizeof(text));
	return cfg_fail(p, "share '%s': %s", name, text);
}

int cfg_new_share(struct cfg_parser *p, const char *tag,
		  struct share_config **share)
{
	struct config *c = p->c;
	unsigned int known = p->dir ? c->nr_shares : p->file_shares;

	p->server_key = NULL;
	for (unsigned int i = 0; tag && i < known; i++) {
		if (strcmp(c->shares[i].tag, tag) != 0)
			continue;
		if (p->dir)
			return cfg_fail(p, "section [share %s] appears twice",
					tag);
		*share = &c->shares[i];
		return 0;
	}
	if (c->nr_shares == VM_MAX_SHARES)
		return cfg_fail(p, "at most %d shares", VM_MAX_SHARES);
	*share = &c->shares[c->nr_shares];
	memset(*share, 0, sizeof(**share));
	(*share)->tag = tag;
	if (cfg_defaults(p, CFG_SHARE, *share))
		return -EINVAL;
	c->nr_shares++;
	return 0;
}

static int check_tag(struct cfg_parser *p, const char *tag, const char *where)
{
	size_t len = strlen(tag);

	if (!len) {
		cfg_hint(p, "give one: --share %s:NAME", where);
		return cfg_fail(p, "share '%s': tag is empty", where);
	}
	if (len > TAG_MAX) {
		cfg_hint(p, "give a shorter one: --share %s:NAME", where);
		return cfg_fail(p,
				"share '%s': tag '%s' is %zu bytes; the "
				"limit is %d",
				where, tag, len, TAG_MAX);
	}
	for (const char *s = tag; *s; s++) {
		if (strchr(TAG_STOPS, *s) || (unsigned char)*s < ' ') {
			if (*s == ',')
				cfg_hint(p, "options follow a tag: --share "
					    "DIR:TAG,OPT...");
			else
				cfg_hint(p, "give one: --share %s:NAME", where);
			return cfg_fail(p,
					"share '%s': tag '%s' has a "
					"character that tags can't have",
					where, tag);
		}
	}
	return 0;
}

/* TAG defaults to the name of the directory, whatever led to it. */
static int default_tag(struct cfg_parser *p, struct share_config *share)
{
	char real[PATH_MAX];
	const char *name;

	if (!realpath(share->dir, real))
		snprintf(real, sizeof(real), "%s", share->dir);
	for (size_t n = strlen(real); n > 1 && real[n - 1] == '/'; n--)
		real[n - 1] = '\0';
	name = strrchr(real, '/');
	share->tag = cfg_strdup(p->c, name ? name + 1 : real);
	return share->tag ? 0 : cfg_fail(p, "out of memory");
}

int cfg_end_share(struct cfg_parser *p, struct share_config *share)
{
	char real[PATH_MAX];
	int err;

	if (!share->tag && default_tag(p, share))
		return -EINVAL;
	err = check_tag(p, share->tag,
			share->dir	? share->dir
			: share->socket ? share->socket
					: share->tag);
	if (err)
		return err;
	if (!share->dir && !share->socket) {
		cfg_hint(p, "add dir = DIR");
		return cfg_fail(p, "share '%s': no directory given",
				share->tag);
	}
	if (share->socket && share->dir)
		return cfg_fail(p,
				"share '%s': dir and socket exclude each "
				"other",
				share->tag);
	if (share->socket) {
		if (!p->server_key)
			return 0;
		cfg_hint(p, "give it to the server at %s", share->socket);
		return cfg_fail(p,
				"share '%s': %s: only its file server can "
				"do that",
				share->tag, p->server_key);
	}
	if (share->squash.set && share->access &&
	    strcmp(share->access, "squash") != 0)
		return cfg_fail(p, "share '%s': squash contradicts access=%s",
				share->tag, share->access);
	if (!share->ro && !share->allow_root && realpath(share->dir, real) &&
	    strcmp(real, "/") == 0) {
		cfg_hint(p, "add ro, or allow-root if that is meant");
		return cfg_fail(p,
				"share '%s': %s is the whole host, and the "
				"guest could write to it",
				share->tag, share->dir);
	}
	return 0;
}

/* --share and --share-socket, up to the options. */
static int begin_share(struct cfg_parser *p, const char *value,
		       const char **where, const char **tag,
		       const char **options)
{
	size_t len = dir_length(value);

	*where = unescape(p, value, len);
	*options = value + len;
	*tag = NULL;
	if (!*where)
		return cfg_fail(p, "out of memory");
	if (!**where)
		return cfg_fail(p, "share '%s': directory is empty", value);
	if (value[len] == ':') {
		const char *name = value + len + 1;
		size_t n = strcspn(name, ",");

		*tag = cfg_strndup(p->c, name, n);
		if (!*tag)
			return cfg_fail(p, "out of memory");
		*options = name + n + (name[n] == ',');
		return check_tag(p, *tag, *where);
	}
	return 0;
}

int opt_share(struct cfg_parser *p, const struct cfg_key *key, void *base,
	      const char *value)
{
	const char *dir, *tag, *options;
	struct share_config *share = NULL;
	int err;

	(void)key, (void)base;
	err = begin_share(p, value, &dir, &tag, &options);
	if (!err)
		err = cfg_new_share(p, tag, &share);
	if (!share)
		return err;
	share->dir = dir;
	share->socket = NULL;
	if (set_options(p, CFG_SHARE, share, options))
		return share_fail(p, tag ? tag : dir);
	return cfg_end_share(p, share);
}

int opt_share_socket(struct cfg_parser *p, const struct cfg_key *key,
		     void *base, const char *value)
{
	const char *path, *tag, *options;
	struct share_config *share = NULL;
	int err;

	(void)base;
	err = begin_share(p, value, &path, &tag, &options);
	if (err)
		return err;
	if (!tag)
		return cfg_fail(p, "%s %s: must be %s", key->name, value,
				key->arg);
	err = cfg_new_share(p, tag, &share);
	if (err || !share)
		return err;
	share->socket = path;
	share->dir = NULL;
	if (set_options(p, CFG_SHARE, share, options))
		return share_fail(p, tag);
	return cfg_end_share(p, share);
}

int cfg_finish_shares(struct cfg_parser *p)
{
	struct config *c = p->c;

	for (unsigned int i = 0; i < c->nr_shares; i++) {
		struct share_config *s = &c->shares[i];

		if (!s->queues && strcmp(c->command, "serve") != 0)
			s->queues = c->cpus < 64 ? c->cpus : 64;
		if (c->own_init && strcmp(s->tag, CONFIG_ROOT_TAG) == 0)
			return cfg_fail(p,
					"share '%s': that tag is the "
					"guest's root",
					s->tag);
		for (unsigned int j = 0; j < i; j++) {
			const struct share_config *t = &c->shares[j];
			const char *a = t->dir ? t->dir : t->socket;
			const char *b = s->dir ? s->dir : s->socket;

			if (strcmp(s->tag, t->tag) != 0)
				continue;
			cfg_hint(p, "give one another tag: --share %s:%s2", b,
				 s->tag);
			return cfg_fail(p,
					"tag '%s' is used by both %s and "
					"%s",
					s->tag, a, b);
		}
	}
	return 0;
}

int cfg_new_node(struct cfg_parser *p, struct numa_config **node)
{
	struct config *c = p->c;

	if (!p->dir && !p->nodes_from_flags) {
		c->nr_nodes = 0; /* flags win over the file's */
		p->nodes_from_flags = true;
	}
	if (c->nr_nodes == VM_MAX_NODES)
		return cfg_fail(p, "numa: at most %d nodes", VM_MAX_NODES);
	c->numa = true;
	*node = &c->nodes[c->nr_nodes++];
	memset(*node, 0, sizeof(**node));
	return 0;
}

int opt_numa(struct cfg_parser *p, const struct cfg_key *key, void *base,
	     const char *value)
{
	char text[sizeof(p->text)];
	struct numa_config *node = NULL;

	(void)key, (void)base;
	if (cfg_new_node(p, &node))
		return -EINVAL;
	if (!set_options(p, CFG_NUMA, node, value))
		return 0;
	memcpy(text, p->text, sizeof(text));
	return cfg_fail(p, "numa %s: %s", value, text);
}
