/* SPDX-License-Identifier: MIT */
/*
 * The spec's two ways into the guest: a few parameters on the kernel's command
 * line, and all that init must do as a file in the initramfs.
 *
 * The file is a sequence of "key=value" strings, each ended by a NUL, so every
 * byte that can be in an argument or a path arrives as it is. What there may
 * be many of (arguments, mounts, modules) repeats its key; "path", "ro",
 * "group" and "optional" belong to the mount or module before them. One table
 * of scalar keys serves both directions. An unknown key is an error: the two
 * ends are the same binary.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/private.h"

enum spec_kind { SPEC_TEXT, SPEC_BOOL, SPEC_UINT, SPEC_SHORT };

static const struct spec_key {
	const char *name;
	enum spec_kind kind;
	size_t offset;
} spec_keys[] = {
	{ "root_tag", SPEC_TEXT, offsetof(struct guest_spec, root_tag) },
	{ "root_disk", SPEC_TEXT, offsetof(struct guest_spec, root_disk) },
	{ "root_mode", SPEC_UINT, offsetof(struct guest_spec, root_mode) },
	{ "cwd", SPEC_TEXT, offsetof(struct guest_spec, cwd) },
	{ "user", SPEC_TEXT, offsetof(struct guest_spec, user) },
	{ "hostname", SPEC_TEXT, offsetof(struct guest_spec, hostname) },
	{ "tty", SPEC_UINT, offsetof(struct guest_spec, tty) },
	{ "rows", SPEC_SHORT, offsetof(struct guest_spec, rows) },
	{ "cols", SPEC_SHORT, offsetof(struct guest_spec, cols) },
	{ "net", SPEC_BOOL, offsetof(struct guest_spec, net) },
	{ "verbose", SPEC_BOOL, offsetof(struct guest_spec, verbose) },
};

#define SPEC_KEYS (sizeof(spec_keys) / sizeof(spec_keys[0]))

_Static_assert(sizeof(enum guest_root_mode) == sizeof(unsigned int),
	       "root_mode is read as a SPEC_UINT");

const char *const guest_root_covered[] = {
	"dev", "proc", "run", "sys", "tmp", NULL,
};
const char *const guest_root_hidden[] = {
	"home", "lost+found", "media", "mnt", "root", NULL,
};

/* ---- encode ------------------------------------------------------------- */

static void spec_put_text(FILE *f, const char *key, const char *value)
{
	if (value)
		fprintf(f, "%s=%s%c", key, value, '\0');
}

static void spec_put_uint(FILE *f, const char *key, unsigned int value)
{
	if (value)
		fprintf(f, "%s=%u%c", key, value, '\0');
}

static void spec_put_scalars(FILE *f, const struct guest_spec *spec)
{
	const struct spec_key *k;

	for (k = spec_keys; k < spec_keys + SPEC_KEYS; k++) {
		const void *p = (const char *)spec + k->offset;

		switch (k->kind) {
		case SPEC_TEXT:
			spec_put_text(f, k->name, *(const char *const *)p);
			break;
		case SPEC_BOOL:
			spec_put_uint(f, k->name, *(const bool *)p);
			break;
		case SPEC_UINT:
			spec_put_uint(f, k->name, *(const unsigned int *)p);
			break;
		case SPEC_SHORT:
			spec_put_uint(f, k->name, *(const unsigned short *)p);
			break;
		}
	}
}

int spec_encode(const struct guest_spec *spec, const struct guest_modules *mods,
		char **data, size_t *size)
{
	FILE *f = open_memstream(data, size);
	unsigned int i;
	int failed;

	if (!f)
		return -ENOMEM;
	spec_put_scalars(f, spec);
	for (i = 0; i < spec->nr_mounts; i++) {
		spec_put_text(f, "mount", spec->mounts[i].tag);
		spec_put_text(f, "path", spec->mounts[i].path);
		spec_put_uint(f, "ro", spec->mounts[i].read_only);
	}
	for (i = 0; spec->argv && spec->argv[i]; i++)
		spec_put_text(f, "arg", spec->argv[i]);
	for (i = 0; spec->env && spec->env[i]; i++)
		spec_put_text(f, "env", spec->env[i]);
	for (i = 0; i < mods->nr; i++) {
		spec_put_text(f, "module", mods->list[i].path);
		spec_put_text(f, "group", mods->list[i].group);
		spec_put_uint(f, "optional", mods->list[i].optional);
	}
	failed = ferror(f);
	if (fclose(f) != 0 || failed) {
		free(*data);
		*data = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* ---- decode ------------------------------------------------------------- */

static int spec_number(const char *text, unsigned long max,
		       unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return errno || *text < '0' || *text > '9' || *end || *value > max ?
		-EINVAL : 0;
}

static int spec_get_scalar(struct guest_spec *spec, const char *key,
			   char *value)
{
	const struct spec_key *k = spec_keys;
	unsigned long n = 0;
	void *p;

	while (k < spec_keys + SPEC_KEYS && strcmp(k->name, key) != 0)
		k++;
	if (k == spec_keys + SPEC_KEYS)
		return -EINVAL;
	p = (char *)spec + k->offset;
	if (k->kind == SPEC_TEXT) {
		*(const char **)p = value;
		return 0;
	}
	if (spec_number(value, k->kind == SPEC_SHORT ? 65535 : 0x7fffffff, &n))
		return -EINVAL;
	if (k->kind == SPEC_BOOL)
		*(bool *)p = n != 0;
	else if (k->kind == SPEC_UINT)
		*(unsigned int *)p = (unsigned int)n;
	else
		*(unsigned short *)p = (unsigned short)n;
	return 0;
}

/* One string; the arrays have room for as many entries as there are strings. */
static int spec_get(struct guest_plan *plan, const char *key, char *value,
		    unsigned int *nr_arg, unsigned int *nr_env)
{
	struct guest_spec *spec = &plan->spec;
	unsigned int mounts = spec->nr_mounts, mods = plan->nr_modules;

	if (strcmp(key, "arg") == 0)
		plan->argv[(*nr_arg)++] = value;
	else if (strcmp(key, "env") == 0)
		plan->env[(*nr_env)++] = value;
	else if (strcmp(key, "mount") == 0)
		plan->mounts[spec->nr_mounts++].tag = value;
	else if (strcmp(key, "path") == 0 && mounts)
		plan->mounts[mounts - 1].path = value;
	else if (strcmp(key, "ro") == 0 && mounts)
		plan->mounts[mounts - 1].read_only = true;
	else if (strcmp(key, "module") == 0)
		plan->modules[plan->nr_modules++].path = value;
	else if (strcmp(key, "group") == 0 && mods)
		plan->modules[mods - 1].group = value;
	else if (strcmp(key, "optional") == 0 && mods)
		plan->modules[mods - 1].optional = true;
	else
		return spec_get_scalar(spec, key, value);
	return 0;
}

static bool spec_complete(const struct guest_plan *plan)
{
	unsigned int i;

	for (i = 0; i < plan->spec.nr_mounts; i++)
		if (!plan->mounts[i].path)
			return false;
	for (i = 0; i < plan->nr_modules; i++)
		if (!plan->modules[i].group)
			return false;
	return true;
}

int spec_decode(char *data, size_t size, struct guest_plan *plan)
{
	unsigned int nr_arg = 0, nr_env = 0;
	size_t strings = 1, i;
	char *p, *end = data + size;
	int ret = 0;

	memset(plan, 0, sizeof(*plan));
	if (size == 0 || data[size - 1] != '\0')
		return -EINVAL;
	for (i = 0; i < size; i++)
		strings += data[i] == '\0';
	plan->modules = calloc(strings, sizeof(*plan->modules));
	plan->mounts = calloc(strings, sizeof(*plan->mounts));
	plan->argv = calloc(strings, sizeof(*plan->argv));
	plan->env = calloc(strings, sizeof(*plan->env));
	if (!plan->modules || !plan->mounts || !plan->argv || !plan->env)
		ret = -ENOMEM;
	for (p = data; ret == 0 && p < end; p += strlen(p) + 1) {
		char *equal = strchr(p, '=');

		if (!equal) {
			ret = -EINVAL;
			break;
		}
		*equal = '\0';
		ret = spec_get(plan, p, equal + 1, &nr_arg, &nr_env);
		p = equal + 1;
	}
	if (ret == 0 && !spec_complete(plan))
		ret = -EINVAL;
	if (ret < 0) {
		spec_free(plan);
		return ret;
	}
	plan->spec.mounts = plan->mounts;
	plan->spec.argv = nr_arg ? plan->argv : NULL;
	plan->spec.env = plan->env;
	return 0;
}

void spec_free(struct guest_plan *plan)
{
	free(plan->modules);
	free(plan->mounts);
	free(plan->argv);
	free(plan->env);
	memset(plan, 0, sizeof(*plan));
}

/* ---- command line ------------------------------------------------------- */

/*
 * panic=-1 reboots at once, by a triple fault where there are others that a
 * dying kernel may wait for; -no-reboot makes that QEMU's end. no_timer_check:
 * a kernel that does not know its hypervisor looks whether the timer works, and
 * panics when a busy host is late with it for some ten ms. The rest is time: no
 * probing for keyboards and mice, one serial port, no self tests of the crypto
 * code, no waiting of RCU while there is nothing to wait for.
 */
static const char spec_x86[] = "console=ttyS0 reboot=t no_timer_check";
static const char spec_arm64[] = "console=ttyAMA0";
static const char spec_parameters[] =
	"panic=-1 oops=panic random.trust_cpu=on 8250.nr_uarts=1 i8042.noaux "
	"i8042.nokbd cryptomgr.notests rcupdate.rcu_expedited=1 rdinit=/init";

#if defined(__x86_64__) || defined(__i386__)
/* A time and the counter at it; of some attempts the one least interrupted. */
static uint64_t host_tsc(uint64_t *ns)
{
	uint64_t best = UINT64_MAX, ticks = 0;
	struct timespec a, b;
	int i;

	for (i = 0; i < 16; i++) {
		uint64_t tsc, took;

		clock_gettime(CLOCK_MONOTONIC_RAW, &a);
		tsc = __builtin_ia32_rdtsc();
		clock_gettime(CLOCK_MONOTONIC_RAW, &b);
		took = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u +
			(uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
		if (took >= best)
			continue;
		best = took;
		ticks = tsc;
		*ns = (uint64_t)a.tv_sec * 1000000000u + (uint64_t)a.tv_nsec +
			took / 2;
	}
	return ticks;
}
#endif

/*
 * TCG's time stamp counter is the host's. A guest finds its speed by polling
 * the PIT, which fails on a busy host; a microvm has no other timer interrupt
 * then and waits for one for ever. So we measure it and say it, and that it
 * needs no watchdog: that compares it with interrupts which come late here.
 */
static unsigned int host_tsc_khz(void)
{
#if defined(__x86_64__) || defined(__i386__)
	const struct timespec pause = { .tv_nsec = 4000000 };
	uint64_t ns, then = 0, ticks = host_tsc(&then);

	nanosleep(&pause, NULL);
	ticks = host_tsc(&ns) - ticks;
	return (unsigned int)(ticks * 1000000u / (ns - then));
#else
	return 0;
#endif
}

int guest_cmdline(const struct guest_spec *spec, char *buf, size_t size)
{
	const char *arch = spec->arch ? spec->arch : guest_host_arch;
	bool x86 = strcmp(arch, "x86_64") == 0;
	unsigned int khz = spec->tcg && x86 ? host_tsc_khz() : 0;
	char tsc[60] = "";
	int n;

	if (khz)
		snprintf(tsc, sizeof(tsc), " tsc=reliable tsc_early_khz=%u",
			 khz);
	n = snprintf(buf, size, "%s %s%s%s%s%s", x86 ? spec_x86 : spec_arm64,
		     spec_parameters, tsc,
		     spec->verbose ? "" : " quiet", spec->append ? " " : "",
		     spec->append ? spec->append : "");
	return n < 0 || (size_t)n >= size ? -E2BIG : n;
}

/* ---- errors ------------------------------------------------------------- */

int guest_fail(struct guest_error *err, int error, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return error;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	err->hint[0] = '\0';
	return error;
}

void guest_hint(struct guest_error *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
}

const char *guest_strerror(int error)
{
	return strerror(error < 0 ? -error : error);
}
