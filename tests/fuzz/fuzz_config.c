/* rooms: base launch memback guest */
/* SPDX-License-Identifier: MIT */
/*
 * The configuration file: the input is one, given by descriptor to a run, a
 * check or a serve.
 */

#include "tests/fuzz/fuzz.h"

#include "launch/config/config.h"

#include <sys/mman.h>
#include <unistd.h>

static int file;
static unsigned int fds_base;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	file = memfd_create("config", MFD_CLOEXEC);
	if (file < 0)
		fuzz_fail("no memory file");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const command[] = { "run", "check", "serve" };
	char path[32], name[8];
	char flag[] = "--config";
	char *argv[] = { name, flag, path, NULL };
	struct config c;

	if (!size)
		return -1;
	snprintf(name, sizeof(name), "%s", command[data[0] % 3]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (ftruncate(file, 0) < 0 ||
	    pwrite(file, data + 1, size - 1, 0) < 0)
		fuzz_fail("can't write the file");
	config_parse(&c, 3, argv);
	config_free(&c);
	fuzz_check_fds(&fds_base, 2);
	return 0;
}
