/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_QEMU_PRIVATE_H
#define VMSHARE_QEMU_PRIVATE_H

/* Between the files that know QEMU. */

#include "launch/launch.h"

/* ---- words: an argument vector under construction ----------------------- */

struct words {
	char *text; /* words, each with its NUL */
	size_t len, size;
	unsigned int count;
	bool failed; /* out of memory; checked once, at the end */
};

/* One whole word. */
void word_add(struct words *w, const char *text);
/* Parts of a word, then its end. word_value() doubles commas. */
void word_part(struct words *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void word_value(struct words *w, const char *before, const char *value);
void word_end(struct words *w);
/* Frees what @w holds. NULL without memory. */
char **words_vector(struct words *w);

/* ---- json: just enough for firmware descriptors ------------------------- */

/* A value's first byte inside a text that json_valid() accepted, or NULL. */
typedef const char *json;

bool json_valid(const char *text);
/* Member @key of an object; NULL where there is none or @value is not one. */
json json_get(json value, const char *key);
/* Elements of an array: first, and the one after @element; NULL at the end. */
json json_first(json array);
json json_next(json element);
/* A string without escapes but \" \\ \/; -EINVAL, -ENOSPC. */
int json_string(json value, char *buf, size_t size);

/* Print a member of an object, "KEY":"TEXT"; bytes above ASCII as they are. */
void json_put(const char *key, const char *text);

/* ---- probing ------------------------------------------------------------ */

/* Where a host says what it is; tests bring their own. */
struct qemu_host {
	const char *os_release;
	const char *cpuinfo;
	const char *kvm;
	const char *group;	     /* /etc/group */
	const char *const *firmware; /* directories, later ones override */
	const char *const *container; /* files that only containers have */
	int patience_ms;	     /* for QEMU to answer what it can do */
	const char *machine;	     /* NULL: what uname says */
};

extern struct qemu_host qemu_host;

enum package { PACKAGE_QEMU, PACKAGE_UEFI, PACKAGE_KERNEL };

/* The command that installs it for @arch on this distribution, or "". */
void package_hint(enum package what, const char *arch, char *buf, size_t size);
/* Version out of "QEMU emulator version 7.2.22 (Debian...)"; 0 or -EINVAL. */
int qemu_parse_version(const char *text, unsigned int *major,
		       unsigned int *minor);
/* What the binary at info->path said before; false where it is to be asked. */
bool qemu_recall(struct qemu_info *info);
/*
 * Is KVM to be had for @arch? Else @note says why not and @hint how to get it.
 * @trust: believe /dev/kvm even where the processor does not show the means.
 */
bool qemu_kvm_usable(const char *arch, bool trust, char *note, size_t note_size,
		     char *hint, size_t hint_size);
/* Fill in info's uefi fields; 0 or -ENOENT. */
int qemu_find_uefi(const char *arch, const char *machine,
		   struct qemu_info *info);
/* raw, qcow2, ... by the first bytes of @path; raw where they say nothing. */
const char *qemu_disk_format(const char *path);
/*
 * Would @arg, given with --qemu-arg, undo what vmshare set up? What it
 * contradicts in words, or NULL. @next is the argument after it, or NULL.
 */
const char *qemu_arg_conflict(const char *arg, const char *next);

#endif
