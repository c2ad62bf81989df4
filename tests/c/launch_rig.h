/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_LAUNCH_RIG_H
#define VMSHARE_TESTS_LAUNCH_RIG_H

/*
 * What the tests of configuration, preflight and QEMU share: a directory to
 * work in, a configuration made from a line, what was said on the way, and
 * the findings.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/config/config.h"
#include "tests/c/check.h"

#ifdef __aarch64__
#define CONSOLE "ttyAMA0"
#else
#define CONSOLE "ttyS0"
#endif

/* What QEMU may not do. */
#define SANDBOX_ARG                                                            \
	"on,obsolete=deny,elevateprivileges=deny,spawn=deny,"                  \
	"resourcecontrol=deny"

/* A map of ids as "KIND:GUEST:HOST:COUNT ...", KIND an enum id_kind. */
static inline const char *map_text(const struct id_map *map)
{
	static char text[1024];
	int n = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < map->nr; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "%d:%u:%u:%u ", (int)map->range[i].kind,
			      map->range[i].guest, map->range[i].host,
			      map->range[i].count);
	return text;
}

#define MAX_WORDS 64

static char top[64];		/* current directory of all cases */
static struct config c;
static struct findings found;
static char said[8192];		/* on the stream that was caught */

static struct {
	int fd;			/* that was redirected */
	int was;		/* what it was before */
	int file;		/* what it is meanwhile */
} caught;

static inline void catch_stream(int fd)
{
	fflush(stdout);
	caught.fd = fd;
	caught.was = dup(fd);
	caught.file = memfd_create("said", 0);
	dup2(caught.file, fd);
}

static inline void let_go(void)
{
	ssize_t n;

	fflush(stdout);
	dup2(caught.was, caught.fd);
	close(caught.was);
	n = pread(caught.file, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(caught.file);
}

/*
 * Parse a line into the configuration: blanks divide words, except that '%'
 * in one stands for a blank. What it says is caught.
 */
static inline int
parse_with(int (*parser)(struct config *c, int argc, char **argv),
	   const char *line)
{
	static char text[4096];
	static char *argv[MAX_WORDS + 1];
	int argc = 0, err;

	config_free(&c);
	memset(&found, 0, sizeof(found));
	snprintf(text, sizeof(text), "%s", line);
	for (char *s = strtok(text, " "); s; s = strtok(NULL, " ")) {
		argv[argc++] = s;
		for (; *s; s++)
			if (*s == '%')
				*s = ' ';
	}
	argv[argc] = NULL;
	catch_stream(2);
	err = parser(&c, argc, argv);
	let_go();
	return err;
}

static inline int parse(const char *line)
{
	return parse_with(config_parse, line);
}

static inline void put(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "we");

	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

/* A disk that firmware would try to boot. */
static inline void put_bootable(const char *path)
{
	char sectors[1024] = "";

	memcpy(sectors + 510, "\x55\xaa", 2);
	put(path, "", 0644);
	if (truncate(path, 1 << 20) == 0) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		CHECK_EQ(pwrite(fd, sectors, sizeof(sectors), 0),
			 sizeof(sectors));
		close(fd);
	}
}

/* The hint of the finding that has @text in it, NULL if none has. */
static inline const char *has(const char *text)
{
	for (unsigned int i = 0; i < found.count; i++)
		if (strstr(found.list[i].text, text))
			return found.list[i].hint;
	for (unsigned int i = 0; i < found.count; i++)
		printf("# found: %s\n", found.list[i].text);
	return NULL;
}

/* check_main() in a directory of its own, which it removes. */
static inline int rig_main(const struct check_case *cases, size_t count,
			   int argc, char **argv)
{
	char clean[96];
	int failed;

	snprintf(top, sizeof(top), "/tmp/vmshare-test-XXXXXX");
	if (!mkdtemp(top) || chdir(top))
		return 1;
	unsetenv("VMSHARE_CONFIG");
	unsetenv("VMSHARE_QEMU");
	unsetenv("LISTEN_FDS");
	failed = check_main(cases, count, argc, argv);
	config_free(&c);
	snprintf(clean, sizeof(clean), "rm -rf %s", top);
	return system(clean) ? 1 : failed;
}

#endif
