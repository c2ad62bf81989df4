/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_LAUNCH_QEMU_PRIVATE_H
#define VMSHARE_LAUNCH_QEMU_PRIVATE_H

/* Between the files that know QEMU. */

#include "launch/qemu/qemu.h"

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

/* Version out of "QEMU emulator version 7.2.22 (Debian...)"; 0 or -EINVAL. */
int qemu_parse_version(const char *text, unsigned int *major,
		       unsigned int *minor);
/* What the binary at info->path said before; false where it is to be asked. */
bool qemu_recall(struct qemu_info *info);
/*
 * Can KVM be used for @arch? Else @note says why not and @hint how to get it.
 * @trust: believe /dev/kvm even where the processor does not show the means.
 */
bool qemu_kvm_usable(const char *arch, bool trust, char *note, size_t note_size,
		     char *hint, size_t hint_size);
/* Fill in info's uefi fields; 0 or -ENOENT. */
int qemu_find_uefi(const char *arch, const char *machine,
		   struct qemu_info *info);

#endif
