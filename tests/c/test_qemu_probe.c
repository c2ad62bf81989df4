/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * A QEMU that does not answer is never taken for one that can't do it.
 */

#include "launch/qemu/private.h"
#include "tests/c/launch_rig.h"

#include <sys/resource.h>

static struct qemu_info info;

static bool probe(const char *name)
{
	char line[256];

	snprintf(line, sizeof(line),
		 "run --arch x86_64 --accel tcg --qemu %s/%s -s /tmp:t d", top,
		 name);
	return !parse(line);
}

/* Never answers a question with @slow in it. */
static void put_slow(const char *name, const char *slow)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "#!/bin/sh\ncase $* in\n*'%s'*) exec sleep 600 ;;\n"
		 "*-version*) echo 'QEMU emulator version 7.2.0' ;;\n"
		 "*-device*) echo 'name \"vhost-user-fs-pci\"' ;;\n"
		 "*) echo 'microvm x' ;;\nesac\n", slow);
	put(name, text, 0755);
}

/* Whatever is late, it is that. */
static void late(void)
{
	static const char *const slow[] = {"-version", "-sandbox", "-device",
					   "-machine help"};
	int patience = qemu_host.patience_ms;

	qemu_host.patience_ms = 1500;
	for (unsigned int i = 0; i < ARRAY_SIZE(slow); i++) {
		put_slow("slow", slow[i]);
		CHECK(probe("slow"));
		CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
		CHECK_EQ(found.count, 1);
		CHECK(has(": has not answered within 1 s"));
		CHECK(!info.asked && !info.has_sandbox);
	}
	/* Not even its end. */
	put("slow", "#!/bin/sh\nexec >&- 2>&-\nexec sleep 600\n", 0755);
	CHECK(probe("slow"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
	CHECK(has("-version: has not answered within 1 s"));
	qemu_host.patience_ms = patience;
}

/* What kills it says nothing, unless it is the sandbox. */
static void killed(void)
{
	put("killed", "#!/bin/sh\ncase $* in *-sandbox*) kill -9 $$ ;; esac\n"
		      "echo 'QEMU emulator version 7.2.0'\n", 0755);
	CHECK(probe("killed"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
	CHECK_EQ(found.count, 1);
	CHECK(has("/killed -machine none -sandbox on -device help: was killed "
		  "by signal 9 (Killed)"));
	put("filtered", "#!/bin/sh\n"
			"case $* in *-sandbox*) kill -SYS $$ ;; esac\n"
			"echo 'QEMU emulator version 7.2.0'\n"
			"echo 'name \"vhost-user-fs-pci\"'\n", 0755);
	CHECK(probe("filtered"));
	CHECK_EQ(qemu_probe(&c, &info, &found), 0);
	CHECK(has("/filtered: this build has no seccomp sandbox"));
	CHECK(info.has_vhost_user_fs && !info.has_sandbox);
	put("fails", "#!/bin/sh\n"
		     "case $* in *-device*) echo no; exit 1 ;; esac\n"
		     "echo 'QEMU emulator version 7.2.0'\n", 0755);
	CHECK(probe("fails"));
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
	CHECK(has("/fails: is not a QEMU that works: it said 'no'"));
}

static void not_to_be_started(void)
{
	struct rlimit was, none;

	put("whole", "#!/bin/sh\n", 0755);
	CHECK(probe("whole"));
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	CHECK_EQ(qemu_probe(&c, &info, &found), EXIT_REFUSED);
	setrlimit(RLIMIT_NOFILE, &was);
	CHECK(has("/whole -version: can't be started: Too many open files"));
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"a QEMU that answers late is refused", late},
		{"a QEMU that was killed is refused", killed},
		{"not to be started", not_to_be_started},
	};

	return rig_main(cases, ARRAY_SIZE(cases), argc, argv);
}
