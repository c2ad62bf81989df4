/* SPDX-License-Identifier: MIT */
/*
 * Can KVM be used, and if not, why not and what would change that?
 *
 * That /dev/kvm opens proves little: another hypervisor may hold the
 * processor, so a VM must be creatable. On x86 the processor must also show
 * vmx or svm: under some hypervisors the device belongs to a software KVM that
 * makes a VM and hangs a stock guest in its boot loader.
 *
 * No hint says to chmod the device: it names the group that owns the device
 * here, or lets one user in.
 */
#include "launch/qemu/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/kvm.h>

/* Static glibc has no NSS: the name of @gid in /etc/group, or its number. */
static void group_name(gid_t gid, char *buf, size_t size)
{
	FILE *f = fopen(qemu_host.group, "re");
	char line[1024];

	snprintf(buf, size, "%u", (unsigned int)gid);
	while (f && fgets(line, sizeof(line), f)) {
		char *id = strchr(line, ':');

		id = id ? strchr(id + 1, ':') : NULL;
		if (!id || strtoul(id + 1, NULL, 10) != gid)
			continue;
		snprintf(buf, size, "%.*s", (int)strcspn(line, ":"), line);
		break;
	}
	if (f)
		fclose(f);
}

/* Does a line of /proc/cpuinfo have @word? */
static bool cpu_flag(const char *word)
{
	FILE *f = fopen(qemu_host.cpuinfo, "re");
	size_t len = strlen(word), size = 0;
	char *line = NULL;
	bool found = false;

	while (f && !found && getline(&line, &size, f) >= 0) {
		const char *s = line;

		while (!found && (s = strstr(s, word))) {
			found = s > line && s[-1] == ' ' &&
				(s[len] == ' ' || s[len] == '\n');
			s += len;
		}
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static bool in_container(void)
{
	for (const char *const *f = qemu_host.container; *f; f++)
		if (!access(*f, F_OK))
			return true;
	return getenv("container");
}

static void absent(bool x86, char *note, size_t size, char *hint,
		   size_t hint_size)
{
	snprintf(note, size, "%s does not exist", qemu_host.kvm);
	if (in_container())
		snprintf(hint, hint_size,
			 "start the container with "
			 "--device /dev/kvm");
	else if (!x86)
		snprintf(hint, hint_size,
			 "KVM needs a kernel that was started at EL2, by the "
			 "firmware or by a virtual machine's host");
	else if (cpu_flag("vmx"))
		snprintf(hint, hint_size, "sudo modprobe kvm_intel");
	else if (cpu_flag("svm"))
		snprintf(hint, hint_size, "sudo modprobe kvm_amd");
	else if (cpu_flag("hypervisor"))
		snprintf(hint, hint_size,
			 "this host is a virtual machine: "
			 "allow nested virtualisation on its host");
	else
		snprintf(hint, hint_size,
			 "enable virtualisation in this "
			 "host's firmware");
}

static void denied(char *note, size_t size, char *hint, size_t hint_size)
{
	char group[64], owner[32];
	struct stat st = {0};

	if (stat(qemu_host.kvm, &st))
		st.st_mode = 0;
	group_name(st.st_gid, group, sizeof(group));
	if (st.st_uid)
		snprintf(owner, sizeof(owner), "%u", (unsigned int)st.st_uid);
	else
		snprintf(owner, sizeof(owner), "root");
	snprintf(note, size, "%s: permission denied (owner %s:%s, mode %04o)",
		 qemu_host.kvm, owner, group,
		 (unsigned int)(st.st_mode & 07777));
	if (st.st_mode & 0060)
		snprintf(hint, hint_size,
			 "sudo usermod -aG %s $USER, then "
			 "log in again",
			 group);
	else
		snprintf(hint, hint_size, "sudo setfacl -m u:$USER:rw %s",
			 qemu_host.kvm);
}

/* Does @fd, /dev/kvm, make a virtual machine? Else @note says why not. */
static void try_vm(int fd, char *note, size_t size)
{
	int vm = ioctl(fd, KVM_CREATE_VM, 0UL);

	if (vm < 0)
		snprintf(note, size, "%s makes no virtual machine: %s",
			 qemu_host.kvm, strerror(errno));
	else
		close(vm);
}

bool qemu_kvm_usable(const char *arch, bool trust, char *note, size_t note_size,
		     char *hint, size_t hint_size)
{
	const char *machine = qemu_host.machine;
	bool x86 = strcmp(arch, "x86_64") == 0;
	struct utsname host;
	int fd, err;

	*note = *hint = '\0';
	uname(&host);
	if (!machine)
		machine = host.machine;
	if (strcmp(machine, arch) != 0) {
		snprintf(note, note_size, "the guest is %s and the host %s",
			 arch, machine);
		return false;
	}
	fd = open(qemu_host.kvm, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		err = errno;
		if (err == ENOENT)
			absent(x86, note, note_size, hint, hint_size);
		else if (err == EACCES || err == EPERM)
			denied(note, note_size, hint, hint_size);
		else
			snprintf(note, note_size, "%s: %s", qemu_host.kvm,
				 strerror(err));
		return false;
	}
	if (!trust && x86 && !cpu_flag("vmx") && !cpu_flag("svm")) {
		snprintf(note, note_size,
			 "%s opens, but the processor has "
			 "neither vmx nor svm",
			 qemu_host.kvm);
		snprintf(hint, hint_size, "--accel kvm tries it nevertheless");
	} else if (!trust) {
		try_vm(fd, note, note_size);
	}
	close(fd);
	return !*note;
}
