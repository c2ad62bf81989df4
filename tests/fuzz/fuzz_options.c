/* rooms: base launch memback guest */
/* SPDX-License-Identifier: MIT */
/*
 * Command lines: the input's lines are the words. The first byte chooses
 * between our own options, with each of the subcommands, and virtiofsd's two
 * dialects.
 */

#include "tests/fuzz/fuzz.h"

#include "launch/config/config.h"

#define MAX_WORDS 64

static unsigned int fds_base;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char command[][12] = { "run", "check", "serve", "libvirt-xml" };
	static char virtiofsd[] = "virtiofsd";
	char *argv[MAX_WORDS + 1], *text, *next;
	struct config c;
	unsigned int kind;
	int argc = 1;

	if (!size)
		return -1;
	text = malloc(size);
	if (!text)
		return -1;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	kind = data[0] % 8;
	argv[0] = kind < 4 ? command[kind] : virtiofsd;
	next = text;
	while (next && argc < MAX_WORDS)
		argv[argc++] = strsep(&next, "\n");
	argv[argc] = NULL;
	if (kind < 4)
		config_parse(&c, argc, argv);
	else
		config_parse_virtiofsd(&c, argc, argv);
	config_free(&c);
	free(text);
	fuzz_check_fds(&fds_base, 2);
	return 0;
}
