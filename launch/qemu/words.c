/* SPDX-License-Identifier: MIT */
/*
 * QEMU's argument vector: words, and how they are printed.
 *
 * QEMU splits option values at commas and takes two for one. Whatever a user
 * chose (paths, tags, texts) goes through word_value(), which doubles them, so
 * that a directory called "a,readonly=on" is a directory. No shell is involved;
 * the quoting here is for users who paste the command into one.
 */
#include "launch/qemu/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct words *w, size_t more)
{
	size_t size = w->size ? w->size : 1024;
	char *text;

	while (size < w->len + more)
		size *= 2;
	if (size == w->size)
		return !w->failed;
	text = w->failed ? NULL : realloc(w->text, size);
	if (!text) {
		w->failed = true;
		return false;
	}
	w->text = text;
	w->size = size;
	return true;
}

static void put(struct words *w, const char *bytes, size_t len)
{
	if (!reserve(w, len))
		return;
	memcpy(w->text + w->len, bytes, len);
	w->len += len;
}

void word_part(struct words *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len < 0 || len >= (int)sizeof(text))
		w->failed = true;
	else
		put(w, text, (size_t)len);
}

void word_value(struct words *w, const char *before, const char *value)
{
	put(w, before, strlen(before));
	for (; *value; value++)
		put(w, *value == ',' ? ",," : value, *value == ',' ? 2 : 1);
}

void word_end(struct words *w)
{
	put(w, "", 1);
	w->count++;
}

void word_add(struct words *w, const char *text)
{
	put(w, text, strlen(text));
	word_end(w);
}

char **words_vector(struct words *w)
{
	size_t table = (w->count + 1) * sizeof(char *);
	char **argv = w->failed ? NULL : malloc(table + w->len);
	char *text = argv ? (char *)argv + table : NULL;

	if (argv) {
		memcpy(text, w->text, w->len);
		for (unsigned int i = 0; i < w->count; i++) {
			argv[i] = text;
			text += strlen(text) + 1;
		}
		argv[w->count] = NULL;
	}
	free(w->text);
	*w = (struct words){0};
	return argv;
}

/* Would a POSIX shell take @word as it stands? */
static bool is_plain(const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-_=+,./:@%";

	return *word && !word[strspn(word, safe)];
}

void qemu_print(char *const *argv)
{
	for (unsigned int i = 0; argv[i]; i++) {
		if (i)
			putchar(' ');
		if (is_plain(argv[i])) {
			fputs(argv[i], stdout);
			continue;
		}
		putchar('\'');
		for (const char *s = argv[i]; *s; s++) {
			if (*s == '\'')
				fputs("'\\''", stdout);
			else
				putchar(*s);
		}
		putchar('\'');
	}
	putchar('\n');
}
