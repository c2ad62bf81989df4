/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * What a QEMU said is remembered for as long as its file is the same, and for
 * nobody else.
 */

#include "launch/qemu/private.h"
#include "tests/c/check.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[] = "/tmp/vmshare-memory.XXXXXX";
static struct qemu_info info, got;

/* @name in the test's directory; until the next call but one. */
static const char *in(const char *name)
{
	static char path[2][PATH_MAX];
	static unsigned int turn;
	char *p = path[turn++ % 2];

	snprintf(p, PATH_MAX, "%s/%s", top, name);
	return p;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in(name), "we");

	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void begin(void)
{
	strcpy(top + sizeof(top) - 7, "XXXXXX");
	CHECK(mkdtemp(top) == top);
	setenv("XDG_CACHE_HOME", in("cache"), 1);
	write_file("qemu", "\177ELF and so on");
	memset(&info, 0, sizeof(info));
	snprintf(info.path, sizeof(info.path), "%s", in("qemu"));
	info.major = 7;
	info.minor = 2;
	info.has_vhost_user_fs = info.has_sandbox = true;
	info.asked = true;
}

static void end(void)
{
	char command[PATH_MAX];

	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	CHECK_EQ(system(command), 0);
}

static bool recalled(void)
{
	memset(&got, 0, sizeof(got));
	strcpy(got.path, info.path);
	return qemu_recall(&got);
}

static void same_file(void)
{
	begin();
	CHECK(!recalled());
	qemu_remember(&info);
	CHECK(recalled());
	CHECK_EQ(got.major, 7);
	CHECK_EQ(got.minor, 2);
	CHECK(got.has_vhost_user_fs && got.has_sandbox);
	CHECK(!got.has_microvm && !got.has_pvpanic && !got.has_pvpanic_pci);
	CHECK(!got.asked);
	end();
}

/* What it can't do is asked each time, and what was known is corrected. */
static void no_is_not_remembered(void)
{
	char text[256] = "";
	FILE *f;

	begin();
	info.has_sandbox = false;
	qemu_remember(&info);
	CHECK(!recalled());
	CHECK(access(in("cache"), F_OK) < 0);
	info.has_sandbox = true;
	qemu_remember(&info);
	CHECK(recalled());
	info.minor = 3;
	qemu_remember(&info);
	CHECK(recalled());
	CHECK_EQ(got.minor, 3);
	/* As an earlier version has it, which remembered this. */
	f = fopen(in("cache/vmshare/qemu"), "re");
	CHECK(f && fgets(text, sizeof(text), f) && fgetc(f) == EOF);
	fclose(f);
	CHECK(strstr(text, " 7.3 11\n"));
	strcpy(strstr(text, " 7.3 11\n"), " 7.3 1\n");
	write_file("cache/vmshare/qemu", text);
	CHECK(!recalled());
	qemu_remember(&info);
	CHECK(recalled());
	info.has_vhost_user_fs = false;
	qemu_remember(&info);
	CHECK(!recalled());
	CHECK(access(in("cache/vmshare/qemu"), F_OK) < 0);
	end();
}

static void another_file(void)
{
	const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };

	begin();
	qemu_remember(&info);
	write_file("other", "\177ELF and so on");
	CHECK_EQ(rename(in("other"), info.path), 0);
	CHECK(!recalled());
	qemu_remember(&info);
	CHECK(recalled());
	/* Written in place, and its time of modification set back. */
	CHECK_EQ(utimensat(AT_FDCWD, info.path, times, 0), 0);
	CHECK(!recalled());
	end();
}

/* What it starts may change, and the script stay as it is. */
static void script(void)
{
	begin();
	write_file("qemu", "#!/bin/sh\nexec qemu-system-x86_64 \"$@\"\n");
	qemu_remember(&info);
	CHECK(!recalled());
	CHECK(access(in("cache"), F_OK) < 0);
	end();
}

static void only_what_was_asked(void)
{
	begin();
	info.asked = false;
	qemu_remember(&info);
	CHECK(access(in("cache"), F_OK) < 0);
	end();
}

static void somebody_elses(void)
{
	begin();
	qemu_remember(&info);
	CHECK_EQ(chmod(in("cache/vmshare"), 0777), 0);
	CHECK(!recalled());
	CHECK_EQ(chmod(in("cache/vmshare"), 0700), 0);
	CHECK(recalled());
	CHECK_EQ(rename(in("cache/vmshare/qemu"), in("aside")), 0);
	CHECK_EQ(symlink("../../aside", in("cache/vmshare/qemu")), 0);
	CHECK(!recalled());
	end();
}

static void nonsense(void)
{
	static const char *const texts[] = {
		"", "\n", "\n\n\n", "no newline", "0.1.0 ", "a\nb\nc",
	};
	char first[32];

	begin();
	for (unsigned int i = 0; i < ARRAY_SIZE(texts); i++) {
		qemu_remember(&info);
		write_file("cache/vmshare/qemu", texts[i]);
		CHECK(!recalled());
		qemu_remember(&info);
		CHECK(recalled());
	}
	/* Longer than it ever is: the last lines are kept. */
	for (unsigned int i = 0; i < 40; i++) {
		FILE *f = fopen(in("cache/vmshare/qemu"), "ae");

		CHECK(f && fprintf(f, "line %080u\n", i) > 0 && !fclose(f));
	}
	qemu_remember(&info);
	CHECK(recalled());
	for (unsigned int i = 0; i < 10; i++) {
		snprintf(first, sizeof(first), "qemu%u", i);
		write_file(first, "\177ELF");
		snprintf(info.path, sizeof(info.path), "%s", in(first));
		qemu_remember(&info);
		CHECK(recalled());
	}
	snprintf(info.path, sizeof(info.path), "%s", in("qemu3"));
	CHECK(recalled());
	snprintf(info.path, sizeof(info.path), "%s", in("qemu1"));
	CHECK(!recalled());
	end();
}

/* No cache to be had is no reason to fail, nor to leave anything. */
static void nowhere(void)
{
	begin();
	write_file("cache", "a file");
	qemu_remember(&info);
	CHECK(!recalled());
	unsetenv("XDG_CACHE_HOME");
	setenv("HOME", "", 1);
	qemu_remember(&info);
	CHECK(!recalled());
	setenv("HOME", in("home"), 1);
	qemu_remember(&info);
	CHECK(!recalled());
	CHECK_EQ(mkdir(in("home"), 0700), 0);
	qemu_remember(&info);
	CHECK(recalled());
	CHECK_EQ(access(in("home/.cache/vmshare/qemu"), F_OK), 0);
	end();
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "the same file", same_file },
		{ "a no is not remembered", no_is_not_remembered },
		{ "another binary is asked anew", another_file },
		{ "a script is asked each time", script },
		{ "only what was asked", only_what_was_asked },
		{ "another user's cache is ignored", somebody_elses },
		{ "a damaged cache is ignored", nonsense },
		{ "no cache directory", nowhere },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
