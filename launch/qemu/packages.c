/* SPDX-License-Identifier: MIT */
/*
 * What the host's distribution calls the packages that a machine needs, for
 * hints with a command that can be pasted. os-release(5) names the distribution
 * and those that it is like, the nearest first. An unknown one gets no hint.
 */
#include "launch/qemu/private.h"

#include <stdio.h>
#include <string.h>

/* Each for x86-64 and for aarch64; NULL where it has none by itself. */
static const struct {
	const char *id, *command;
	const char *names[3][2];
} distributions[] = {
	{"debian", "sudo apt install",
	 {[PACKAGE_QEMU] = {"qemu-system-x86",
			    "qemu-system-arm qemu-efi-aarch64"},
	  [PACKAGE_UEFI] = {"ovmf", "qemu-efi-aarch64"},
	  [PACKAGE_KERNEL] = {"linux-image-cloud-amd64",
			      "linux-image-cloud-arm64"}}},
	{"ubuntu", "sudo apt install",
	 {[PACKAGE_QEMU] = {"qemu-system-x86",
			    "qemu-system-arm qemu-efi-aarch64"},
	  [PACKAGE_UEFI] = {"ovmf", "qemu-efi-aarch64"},
	  [PACKAGE_KERNEL] = {"linux-image-generic", "linux-image-generic"}}},
	{"fedora", "sudo dnf install",
	 {[PACKAGE_QEMU] = {"qemu-system-x86-core",
			    "qemu-system-aarch64-core"},
	  [PACKAGE_UEFI] = {"edk2-ovmf", "edk2-aarch64"},
	  [PACKAGE_KERNEL] = {"kernel", "kernel"}}},
	{"rhel", "sudo dnf install",
	 {[PACKAGE_QEMU] = {"qemu-kvm", "qemu-kvm"},
	  [PACKAGE_UEFI] = {"edk2-ovmf", "edk2-aarch64"},
	  [PACKAGE_KERNEL] = {"kernel", "kernel"}}},
	{"arch", "sudo pacman -S",
	 {[PACKAGE_QEMU] = {"qemu-system-x86", "qemu-system-aarch64"},
	  [PACKAGE_UEFI] = {"edk2-ovmf", "edk2-aarch64"},
	  [PACKAGE_KERNEL] = {"linux", "linux-aarch64"}}},
	{"alpine", "sudo apk add",
	 {[PACKAGE_QEMU] = {"qemu-system-x86_64", "qemu-system-aarch64"},
	  [PACKAGE_UEFI] = {"ovmf", "aavmf"},
	  [PACKAGE_KERNEL] = {"linux-virt", "linux-virt"}}},
	{"suse", "sudo zypper install",
	 {[PACKAGE_QEMU] = {"qemu-x86", "qemu-arm"},
	  [PACKAGE_UEFI] = {"qemu-ovmf-x86_64", "qemu-uefi-aarch64"},
	  [PACKAGE_KERNEL] = {"kernel-default", "kernel-default"}}},
	{"gentoo", "sudo emerge",
	 {[PACKAGE_QEMU] = {"app-emulation/qemu", "app-emulation/qemu"},
	  [PACKAGE_KERNEL] = {"sys-kernel/gentoo-kernel-bin",
			      "sys-kernel/gentoo-kernel-bin"}}},
	{"nixos", "nix-shell -p", {[PACKAGE_QEMU] = {"qemu", "qemu"}}},
};

/* " debian " or " mint ubuntu debian ": ID, then ID_LIKE. */
static void read_ids(char *ids, size_t size)
{
	FILE *f = fopen(qemu_host.os_release, "re");
	char line[256], like[128] = "";

	snprintf(ids, size, " ");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "ID=", 3) == 0)
			snprintf(ids, size, " %.60s ", line + 3);
		else if (strncmp(line, "ID_LIKE=", 8) == 0)
			snprintf(like, sizeof(like), "%.100s ", line + 8);
	}
	if (f)
		fclose(f);
	snprintf(ids + strlen(ids), size - strlen(ids), "%s", like);
	for (char *s = ids; *s; s++)
		if (strchr("\"'", *s))
			*s = ' ';
}

void package_hint(enum package what, const char *arch, char *buf, size_t size)
{
	const char *at, *first = NULL;
	char ids[256], word[32];

	*buf = '\0';
	read_ids(ids, sizeof(ids));
	for (size_t i = 0; i < ARRAY_SIZE(distributions); i++) {
		const char *name = distributions[i].names[what]
				   [strcmp(arch, "aarch64") == 0];

		snprintf(word, sizeof(word), " %s ", distributions[i].id);
		at = strstr(ids, word);
		if (!at || !name || (first && at > first))
			continue;
		first = at;
		snprintf(buf, size, "%s %s", distributions[i].command, name);
	}
}
