/* SPDX-License-Identifier: MIT */
/*
 * A reader of JSON for QEMU's firmware descriptors and its monitor, and the
 * escapes that writing it needs.
 *
 * A value is a pointer to its first byte in a text that was checked as a whole
 * before (json_valid), so that walking it needs no error paths: skip() can rely
 * on every bracket and quote having its other half. Depth is bounded; nothing
 * is allocated.
 */
#include "launch/common/common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JSON_DEPTH 32

static const char *blanks(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* Behind the string at @s (at its quote), or NULL. */
static const char *string_end(const char *s)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && !*++s)
			return NULL;
	return *s ? s + 1 : NULL;
}

static const char *value_end(const char *s, unsigned int depth);

/* Behind "KEY: VALUE" of an object or VALUE of an array. */
static const char *member_end(const char *s, bool object, unsigned int depth)
{
	if (object) {
		s = *s == '"' ? string_end(s) : NULL;
		s = s ? blanks(s) : NULL;
		if (!s || *s++ != ':')
			return NULL;
		s = blanks(s);
	}
	s = value_end(s, depth);
	return s ? blanks(s) : NULL;
}

/* Behind the value at @s, or NULL where there is none. */
static const char *value_end(const char *s, unsigned int depth)
{
	char close = *s == '{' ? '}' : ']';
	bool object = *s == '{';
	size_t len;

	if (*s == '"')
		return string_end(s);
	if (*s != '{' && *s != '[') {
		len = strspn(s, "-+.0123456789abcdefghijklmnopqrstuvwxyzE");
		return len ? s + len : NULL;
	}
	if (depth == JSON_DEPTH)
		return NULL;
	s = blanks(s + 1);
	if (*s == close)
		return s + 1;
	for (;;) {
		s = member_end(s, object, depth + 1);
		if (!s || (*s != ',' && *s != close))
			return NULL;
		if (*s++ == close)
			return s;
		s = blanks(s);
	}
}

bool json_valid(const char *text)
{
	const char *end = value_end(blanks(text), 0);

	return end && !*blanks(end);
}

json json_first(json array)
{
	if (!array)
		return NULL;
	array = blanks(array);
	if (*array != '[')
		return NULL;
	array = blanks(array + 1);
	return *array == ']' ? NULL : array;
}

json json_next(json element)
{
	element = value_end(element, 0);
	if (!element)
		return NULL;
	element = blanks(element);
	return *element == ',' ? blanks(element + 1) : NULL;
}

json json_get(json value, const char *key)
{
	size_t len = strlen(key);
	const char *s;

	if (!value || *(value = blanks(value)) != '{')
		return NULL;
	s = blanks(value + 1);
	while (s && *s == '"') {
		const char *end = string_end(s);
		bool same;

		if (!end)
			return NULL;
		same = (size_t)(end - s) == len + 2 &&
		       memcmp(s + 1, key, len) == 0;
		s = blanks(blanks(end) + 1);
		if (same)
			return s;
		s = json_next(s);
	}
	return NULL;
}

int json_string(json value, char *buf, size_t size)
{
	size_t n = 0;

	if (!value || *(value = blanks(value)) != '"')
		return -EINVAL;
	for (value++; *value != '"'; value++) {
		if (*value == '\\' && !strchr("\"\\/", *++value))
			return -EINVAL;
		if (n + 1 >= size)
			return -ENOSPC;
		buf[n++] = *value;
	}
	buf[n] = '\0';
	return 0;
}

size_t json_text(json value, const char **text)
{
	const char *end;

	if (!value)
		return 0;
	value = blanks(value);
	end = value_end(value, 0);
	if (!end)
		return 0;
	if (*value == '"') {
		value++;
		end--;
	}
	*text = value;
	return (size_t)(end - value);
}

bool json_is(json value, const char *want)
{
	const char *text = "";
	size_t len = json_text(value, &text);

	return value && len == strlen(want) && memcmp(text, want, len) == 0;
}

/* ---- writing ------------------------------------------------------------- */

#define ESCAPED_MAX	6	/* bytes of one, "\u001f" */

static size_t escape(char out[ESCAPED_MAX + 1], char c)
{
	unsigned char ch = (unsigned char)c;
	size_t n = 0;

	if (ch < ' ' || ch == 127)
		return (size_t)snprintf(out, ESCAPED_MAX + 1, "\\u%04x", ch);
	if (ch == '"' || ch == '\\')
		out[n++] = '\\';
	out[n++] = c;
	out[n] = '\0';
	return n;
}

int json_escape(char *buf, size_t size, const char *text)
{
	char out[ESCAPED_MAX + 1];
	size_t at = 0;

	for (; *text; text++) {
		size_t n = escape(out, *text);

		if (at + n >= size)
			break;
		memcpy(buf + at, out, n);
		at += n;
	}
	buf[at] = '\0';
	return *text ? -ENAMETOOLONG : 0;
}

void json_put(const char *key, const char *text)
{
	char out[ESCAPED_MAX + 1];

	printf("\"%s\":\"", key);
	for (; *text; text++) {
		escape(out, *text);
		fputs(out, stdout);
	}
	putchar('"');
}
