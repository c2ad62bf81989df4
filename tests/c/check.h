/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_CHECK_H
#define VMSHARE_TESTS_CHECK_H

/*
 * The smallest harness that tells what failed. A test program is a table of
 * named functions; it prints one TAP line each and exits 1 if one failed.
 * A failed CHECK ends its test function, not the program.
 */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int check_failed;
static const char *check_skipped;

#define CHECK(cond)                                                           \
	do {                                                                  \
		if (!(cond)) {                                                \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);   \
			check_failed = 1;                                     \
			return;                                               \
		}                                                             \
	} while (0)

#define CHECK_EQ(a, b)                                                        \
	do {                                                                  \
		long long check_a = (long long)(a), check_b = (long long)(b); \
		if (check_a != check_b) {                                     \
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__,   \
			       __LINE__, #a, check_a, check_b);               \
			check_failed = 1;                                     \
			return;                                               \
		}                                                             \
	} while (0)

#define CHECK_STR(a, b)                                                       \
	do {                                                                  \
		if (strcmp((a), (b)) != 0) {                                  \
			printf("# %s:%d: %s is '%s', not '%s'\n", __FILE__,   \
			       __LINE__, #a, (a), (b));                       \
			check_failed = 1;                                     \
			return;                                               \
		}                                                             \
	} while (0)

#define SKIP(why)                                                             \
	do {                                                                  \
		check_skipped = (why);                                        \
		return;                                                       \
	} while (0)

struct check_case {
	const char *name;
	void (*run)(void);
};

static inline int check_main(const struct check_case *cases, size_t count,
			     int argc, char **argv)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		if (argc > 1 && strcmp(argv[1], cases[i].name) != 0)
			continue;
		check_failed = 0;
		check_skipped = NULL;
		cases[i].run();
		failed |= check_failed;
		printf("%sok %zu - %s%s%s\n", check_failed ? "not " : "",
		       i + 1, cases[i].name, check_skipped ? " # SKIP " : "",
		       check_skipped ? check_skipped : "");
	}
	return failed;
}

#endif
