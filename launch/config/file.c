/* SPDX-License-Identifier: MIT */
/*
 * The configuration file: INI-like, with the long options' names as keys.
 *
 *	[vm]			options of run
 *	[share TAG]		dir = DIR, and the options of a share
 *	[numa N]		cpus, memory; N counts from 0
 *	[qemu]			arg = ARG, once for each word
 *
 * "key = value" with blanks around both cut; lines that begin with '#' or ';'
 * are comments; nothing is quoted, continued, included or substituted. Every
 * mistake is reported as FILE:LINE.
 */
#include "launch/config/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file_reader {
	struct cfg_parser *p;
	const char *path;
	unsigned int line, section_line;
	char section[80];   /* as it stands between the brackets */
	unsigned int scope; /* of its keys; 0: [qemu] or none */
	void *base;
	struct share_config *share; /* of a [share TAG], until it ends */
};

static int fail_at(struct file_reader *r, unsigned int line)
{
	char text[sizeof(r->p->text)];

	memcpy(text, r->p->text, sizeof(text));
	return cfg_fail(r->p, "%s:%u: %s", r->path, line, text);
}

static char *trim(char *s)
{
	size_t len;

	s += strspn(s, " \t");
	len = strlen(s);
	while (len && strchr(" \t\r\n", s[len - 1]))
		s[--len] = '\0';
	return s;
}

static int begin_share(struct file_reader *r, const char *name)
{
	const char *tag = cfg_strdup(r->p->c, name);

	if (!tag)
		return cfg_fail(r->p, "out of memory");
	if (cfg_new_share(r->p, tag, &r->share))
		return -EINVAL;
	r->base = r->share;
	r->scope = CFG_SHARE | CFG_SECTION;
	return 0;
}

static int begin_node(struct file_reader *r, const char *number)
{
	struct numa_config *node;
	uint64_t n;

	if (parse_u64(number, 0, VM_MAX_NODES - 1, &n) ||
	    n != r->p->c->nr_nodes)
		return cfg_fail(r->p,
				"[numa %s]: nodes are numbered from 0, "
				"in order",
				number);
	if (cfg_new_node(r->p, &node))
		return -EINVAL;
	r->base = node;
	r->scope = CFG_NUMA;
	return 0;
}

static int end_section(struct file_reader *r)
{
	struct share_config *share = r->share;

	r->share = NULL;
	if (share && cfg_end_share(r->p, share))
		return fail_at(r, r->section_line);
	return 0;
}

/* @name: between the brackets. */
static int begin_section(struct file_reader *r, char *name)
{
	static const char *const names[] = {"vm", "share", "numa", "qemu",
					    NULL};
	size_t len = strcspn(name, " \t");
	char *rest = name + len;
	const char *near;

	if (*rest) {
		*rest++ = '\0';
		rest = trim(rest);
	}
	snprintf(r->section, sizeof(r->section), "%s%s%s", name,
		 *rest ? " " : "", rest);
	r->section_line = r->line;
	r->base = r->p->c;
	r->scope = 0;
	if (strcmp(name, "share") == 0)
		return begin_share(r, rest);
	if (strcmp(name, "numa") == 0)
		return begin_node(r, rest);
	if (*rest)
		return cfg_fail(r->p, "[%s]: takes no name", r->section);
	if (strcmp(name, "vm") == 0) {
		r->scope = CFG_VM | CFG_SERVE;
		return 0;
	}
	if (strcmp(name, "qemu") == 0)
		return 0;
	near = parse_nearest(name, names);
	return cfg_fail(r->p, "unknown section [%s]%s%s%s", r->section,
			near ? " (did you mean [" : "", near ? near : "",
			near ? "]?)" : "");
}

static int set_key(struct file_reader *r, const char *name, const char *value)
{
	struct cfg_parser *p = r->p;
	const struct cfg_key *k;
	const char *near;

	if (!r->section[0])
		return cfg_fail(p, "'%s' stands before the first section",
				name);
	if (!r->scope) { /* [qemu] */
		if (strcmp(name, "arg") != 0)
			return cfg_fail(p,
					"unknown key '%s' in [qemu] (did "
					"you mean 'arg'?)",
					name);
		return cfg_set(p, CFG_VM, r->base, "qemu-arg", value);
	}
	k = cfg_find(name, r->scope);
	if (k && !(k->scope & CFG_FLAG_ONLY))
		return cfg_set(p, r->scope, r->base, name, value);
	if (k)
		return cfg_fail(p, "'%s' is for the command line only", name);
	near = cfg_nearest(name, r->scope);
	/* "path", "source" and so on are nothing like it, and meant by it. */
	if (!near && r->share && !r->share->dir)
		near = "dir";
	return cfg_fail(p, "unknown key '%s' in [%s]%s%s%s", name, r->section,
			near ? " (did you mean '" : "", near ? near : "",
			near ? "'?)" : "");
}

static int read_line(struct file_reader *r, char *line)
{
	char *value;
	size_t len;
	int err;

	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	len = strlen(line);
	if (*line == '[') {
		if (line[len - 1] != ']')
			return cfg_fail(r->p, "'%s': no ']' at the end", line);
		line[len - 1] = '\0';
		err = end_section(r);
		if (err)
			return 1; /* has its own line number */
		return begin_section(r, trim(line + 1));
	}
	value = strchr(line, '=');
	if (!value)
		return cfg_fail(r->p, "'%s': must be KEY = VALUE", line);
	*value++ = '\0';
	return set_key(r, trim(line), trim(value));
}

static int read_lines(struct file_reader *r, FILE *f)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	while (!err && (len = getline(&line, &size, f)) >= 0) {
		r->line++;
		if (strlen(line) != (size_t)len)
			err = cfg_fail(r->p, "has a NUL byte");
		else
			err = read_line(r, line);
		if (err < 0)
			err = fail_at(r, r->line);
	}
	free(line);
	if (err)
		return -EINVAL;
	if (ferror(f))
		return cfg_fail(r->p, "%s: %s", r->path, strerror(errno));
	return end_section(r);
}

int cfg_read_file(struct cfg_parser *p, const char *path)
{
	struct file_reader r = {.p = p, .path = path};
	const char *slash = strrchr(path, '/');
	FILE *f = fopen(path, "re");
	int err;

	if (!f)
		return cfg_fail(p, "%s: %s", path,
				errno == ENOENT ? "no such file"
						: strerror(errno));
	p->dir = !slash ? "."
		 : slash == path
			 ? ""
			 : cfg_strndup(p->c, path, (size_t)(slash - path));
	err = p->dir ? read_lines(&r, f) : cfg_fail(p, "out of memory");
	fclose(f);
	p->dir = NULL;
	p->file_shares = p->c->nr_shares;
	return err;
}
