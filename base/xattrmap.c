/* SPDX-License-Identifier: MIT */
/*
 * Rules for the names of extended attributes, in virtiofsd's syntax: the
 * configuration checks them, the file server reads them where they are needed,
 * from the text. What they mean is in fsserver/owners/xattrname.c. No state, no
 * locks.
 */

#include "base/base.h"

#include <errno.h>
#include <string.h>

/* The field up to @sep; 0, or -EINVAL when it does not end or fit. */
static int rule_field(const char **text, char sep, char *out, size_t size)
{
	const char *end = strchr(*text, sep);

	if (!end || (size_t)(end - *text) >= size)
		return -EINVAL;
	memcpy(out, *text, (size_t)(end - *text));
	out[end - *text] = '\0';
	*text = end + 1;
	return 0;
}

static int word(const char *s, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(s, words[i]))
			return i;
	return -EINVAL;
}

int xattr_rule_next(const char **text, unsigned int *step,
		    struct xattr_rule *r)
{
	static const char *const types[] = { "ok", "bad", "unsupported",
					     "prefix", "map", NULL };
	static const char *const scopes[] = { "client", "server", "all", NULL };
	const char *at = *text + strspn(*text, " \t\n");
	char sep = *at, type[12], scope[8];
	int t, s = 2;

	if (!sep)
		return 0;
	at++;
	if (rule_field(&at, sep, type, sizeof(type)))
		return -EINVAL;
	t = word(type, types);
	if (t < 0)
		return t;
	if (t < 4) {
		if (rule_field(&at, sep, scope, sizeof(scope)))
			return -EINVAL;
		s = word(scope, scopes);
	}
	if (s < 0 || rule_field(&at, sep, r->key, sizeof(r->key)) ||
	    rule_field(&at, sep, r->prepend, sizeof(r->prepend)))
		return -EINVAL;
	r->client = s != 1;
	r->server = s != 0;
	r->type = (enum xattr_type)t;
	if (t < 4) {
		*text = at;
		return 1;
	}
	if (at[strspn(at, " \t\n")])
		return -EINVAL;		/* map must be the last */
	switch ((*step)++) {
	case 0:		/* :prefix:all:KEY:PREPEND: */
		r->type = XATTR_PREFIX;
		return 1;
	case 1:		/* :bad:server::KEY: */
		r->type = XATTR_BAD;
		r->client = false;
		strcpy(r->prepend, r->key);
		return 1;
	case 2:		/* :bad:client:PREPEND:: */
		r->type = XATTR_BAD;
		r->server = false;
		strcpy(r->key, r->prepend);
		return 1;
	case 3:		/* :ok:all:::, but bad where all is prefixed */
		r->type = r->key[0] ? XATTR_OK : XATTR_BAD;
		r->key[0] = r->prepend[0] = '\0';
		return 1;
	default:
		return 0;
	}
}

int parse_xattr_map(const char *map)
{
	unsigned int step = 0, rules = 0;
	struct xattr_rule r;
	int ret;

	while ((ret = xattr_rule_next(&map, &step, &r)) > 0)
		rules++;
	return ret < 0 || !rules ? -EINVAL : 0;
}
