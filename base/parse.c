/* SPDX-License-Identifier: MIT */
/*
 * Numbers, sizes and durations as people write them on a command line or in a
 * file, and the nearest match for a mistyped word. All functions are strict: a
 * text that does not match as a whole is -EINVAL, a value out of range -ERANGE,
 * and the result is then unchanged. The locale has no effect.
 */

#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Parse digits at @*text, and move it behind them. */
static int parse_digits(const char **text, uint64_t *value)
{
	const char *p = *text;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -ERANGE;
	}
	*text = p;
	*value = v;
	return 0;
}

int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	uint64_t v;
	int err = parse_digits(&text, &v);

	if (err)
		return err;
	if (*text)
		return -EINVAL;
	if (v < min || v > max)
		return -ERANGE;
	*value = v;
	return 0;
}

/* Parse digits behind a decimal point, of which nine count: billionths. */
static int parse_fraction(const char **text, uint64_t *billionths)
{
	uint64_t scale = 100000000, v = 0;
	const char *p = *text;

	*billionths = 0;
	if (*p != '.')
		return 0;
	p++;
	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		v += scale * (uint64_t)(*p - '0');
		scale /= 10;
	}
	*text = p;
	*billionths = v;
	return 0;
}

int parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGTPE";
	uint64_t whole, part, unit = 1, v;
	const char *u;
	int err = parse_digits(&text, &whole);

	if (err)
		return err;
	err = parse_fraction(&text, &part);
	if (err)
		return err;
	if (*text && *text != 'B') {
		char c = *text >= 'a' ? (char)(*text - 'a' + 'A') : *text;

		u = strchr(units, c);
		if (!u)
			return -EINVAL;
		unit = (uint64_t)1 << (10 * (u - units + 1));
		text++;
		if (text[0] == 'i' && text[1] == 'B')
			text++;
	}
	if (*text == 'B')
		text++;
	if (*text || (part && unit == 1))
		return -EINVAL;
	/* In 128 bits, so that it is exact for each unit. */
	v = (uint64_t)(((unsigned __int128)unit * part) / 1000000000);
	if (__builtin_mul_overflow(whole, unit, &whole) ||
	    __builtin_add_overflow(v, whole, &v))
		return -ERANGE;
	*bytes = v;
	return 0;
}

int parse_duration(const char *text, uint64_t *ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {
		{ "", 1000 }, { "ms", 1 }, { "s", 1000 },
		{ "m", 60000 }, { "h", 3600000 },
	};
	uint64_t v;
	int err = parse_digits(&text, &v);

	if (err)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text, units[i].unit) != 0)
			continue;
		if (__builtin_mul_overflow(v, units[i].ms, &v))
			return -ERANGE;
		*ms = v;
		return 0;
	}
	return -EINVAL;
}

int parse_bool(const char *text, bool *value)
{
	static const char *const words[][4] = {
		{"no", "off", "false", "0"},
		{"yes", "on", "true", "1"},
	};

	for (int truth = 0; truth < 2; truth++) {
		for (int i = 0; i < 4; i++) {
			if (strcasecmp(text, words[truth][i]) == 0) {
				*value = truth;
				return 0;
			}
		}
	}
	return -EINVAL;
}

int parse_ids(const char *text, unsigned int max, uint32_t *ids)
{
	for (unsigned int n = 0; n < max; n++) {
		size_t len = strcspn(text, ":");
		char buf[16];
		uint64_t id;

		if (len >= sizeof(buf))
			return -EINVAL;
		memcpy(buf, text, len);
		buf[len] = '\0';
		if (parse_u64(buf, 0, UINT32_MAX, &id))
			return -EINVAL;
		ids[n] = (uint32_t)id;
		if (!text[len])
			return (int)n + 1;
		text += len + 1;
	}
	return -EINVAL;
}

int parse_id_range(const char *text, struct id_range *range)
{
	static const struct {
		const char *name;
		bool host_first;
		int numbers;
	} kinds[] = {
		[ID_RANGE] = { "", false, 3 },
		[ID_MAP] = { "map:", false, 3 },
		[ID_GUEST] = { "guest:", false, 3 },
		[ID_HOST] = { "host:", true, 3 },
		[ID_SQUASH_GUEST] = { "squash-guest:", false, 3 },
		[ID_SQUASH_HOST] = { "squash-host:", true, 3 },
		[ID_FORBID_GUEST] = { "forbid-guest:", false, 2 },
	};
	unsigned int kind = ID_FORBID_GUEST;
	uint32_t n[3] = { 0 };

	/* The last that fits is ID_RANGE, whose word is none. */
	while (strncmp(text, kinds[kind].name, strlen(kinds[kind].name)) != 0)
		kind--;
	if (parse_ids(text + strlen(kinds[kind].name), 3, n) !=
	    kinds[kind].numbers)
		return -EINVAL;
	range->kind = (enum id_kind)kind;
	range->guest = kinds[kind].host_first ? n[1] : n[0];
	range->host = kinds[kind].host_first ? n[0] : n[1];
	range->count = n[2];
	if (kind == ID_FORBID_GUEST) {
		range->host = 0;
		range->count = n[1];
	}
	return 0;
}

char *format_size(char *buf, size_t size, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB",
					    "TiB",   "PiB", "EiB"};
	uint64_t unit = 1, tenths;
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(units) && bytes / unit >= 1024) {
		unit *= 1024;
		i++;
	}
	tenths = (uint64_t)(((unsigned __int128)bytes * 10) / unit);
	if (tenths % 10)
		snprintf(buf, size, "%llu.%llu %s",
			 (unsigned long long)(tenths / 10),
			 (unsigned long long)(tenths % 10), units[i]);
	else
		snprintf(buf, size, "%llu %s",
			 (unsigned long long)(tenths / 10), units[i]);
	return buf;
}

#define NEAREST_MAX 48

/* Levenshtein distance by rows; both words shorter than NEAREST_MAX. */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[NEAREST_MAX + 1];
	size_t la = strlen(a), lb = strlen(b);

	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

const char *parse_nearest(const char *word, const char *const *names)
{
	const char *found = NULL;
	size_t len = strlen(word);
	unsigned int best;

	if (len >= NEAREST_MAX)
		return NULL;
	best = (unsigned int)len / 3 + 1;
	for (; *names; names++) {
		unsigned int distance;

		if (strlen(*names) >= NEAREST_MAX)
			continue;
		distance = edit_distance(word, *names);
		/* An abbreviation, as GNU getopt accepts it. */
		if (len > 2 && distance > 1 && strncmp(*names, word, len) == 0)
			distance = 1;
		/* In a short word two wrong letters are too many. */
		if (distance < best ||
		    (distance == best && !found &&
		     (distance == 1 || len > 4))) {
			best = distance;
			found = *names;
		}
	}
	return found;
}
