/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * When KVM is believed in, and what is said where it is not: the device, the
 * processor's flags and the groups are files that the test writes.
 */
#include "launch/qemu/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "launch/qemu/private.h"
#include "tests/c/launch_rig.h"

static void kvm(void)
{
	char note[256], hint[256], dev[128], cpu[128];
	struct utsname host;

	uname(&host);
	snprintf(dev, sizeof(dev), "%s/kvm", top);
	snprintf(cpu, sizeof(cpu), "%s/cpuinfo", top);
	qemu_host.kvm = dev;
	qemu_host.cpuinfo = cpu;
	put("cpuinfo", "flags\t\t: fpu xsvm svmx hypervisor\n", 0644);
	unlink(dev);
	CHECK(!qemu_kvm_usable(host.machine, false, note, sizeof(note), hint,
			       sizeof(hint)));
	CHECK(strstr(note, "/kvm does not exist"));
	CHECK(hint[0]);
	CHECK(!qemu_kvm_usable("s390x", true, note, sizeof(note), hint,
			       sizeof(hint)));
	CHECK(strstr(note, "the guest is s390x and the host"));
	put("kvm", "", 0666);
	if (strcmp(host.machine, "x86_64") == 0) {
		CHECK(!qemu_kvm_usable("x86_64", false, note, sizeof(note),
				       hint, sizeof(hint)));
		CHECK(strstr(note, "neither vmx nor svm"));
		CHECK(qemu_kvm_usable("x86_64", true, note, sizeof(note), hint,
				      sizeof(hint)));
	}
}

/* A device that opens is believed where it makes a VM, on any processor. */
static void kvm_makes_a_vm(void)
{
	static const char *const machines[] = {"x86_64", "aarch64"};
	char note[256], hint[256], dev[128], cpu[128];
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = -1;

	snprintf(dev, sizeof(dev), "%s/kvm", top);
	snprintf(cpu, sizeof(cpu), "%s/cpuinfo", top);
	put("kvm", "", 0666);
	put("cpuinfo", "flags\t\t: fpu vmx\n", 0644);
	qemu_host.cpuinfo = cpu;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		qemu_host.machine = machines[i];
		qemu_host.kvm = dev;
		CHECK(!qemu_kvm_usable(machines[i], false, note, sizeof(note),
				       hint, sizeof(hint)));
		/* The C library has its own words for an error. */
		CHECK(strstr(note, "/kvm makes no virtual machine: ") &&
		      strstr(note, strerror(ENOTTY)));
		CHECK(qemu_kvm_usable(machines[i], true, note, sizeof(note),
				      hint, sizeof(hint)));
	}
	if (fd >= 0) {
		vm = ioctl(fd, KVM_CREATE_VM, 0UL);
		close(fd);
	}
	if (vm < 0)
		SKIP("no /dev/kvm here that makes a VM");
	close(vm);
	qemu_host.kvm = "/dev/kvm";
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		qemu_host.machine = machines[i];
		CHECK(qemu_kvm_usable(machines[i], false, note, sizeof(note),
				      hint, sizeof(hint)));
	}
}

static void no_kvm(const char *cpuinfo, const char *text, const char *want)
{
	char note[256], hint[256];

	if (cpuinfo)
		put("cpuinfo", cpuinfo, 0644);
	CHECK(!qemu_kvm_usable(qemu_host.machine, false, note, sizeof(note),
			       hint, sizeof(hint)));
	CHECK(strstr(note, text));
	CHECK_STR(hint, want);
}

/* Each cause has its own way out, and none of them is chmod 666. */
static void kvm_hints(void)
{
	static const char *const nowhere[] = {NULL};
	char dev[128], cpu[128], group[128], want[256];
	uid_t was = geteuid();

	snprintf(dev, sizeof(dev), "%s/kvm", top);
	snprintf(cpu, sizeof(cpu), "%s/cpuinfo", top);
	snprintf(group, sizeof(group), "%s/group", top);
	qemu_host.kvm = dev;
	qemu_host.cpuinfo = cpu;
	qemu_host.group = group;
	unlink(dev);
	unsetenv("container");
	qemu_host.container = nowhere;
	qemu_host.machine = "aarch64";
	no_kvm("Features : fp asimd\n", "/kvm does not exist",
	       "KVM needs a kernel that was started at EL2, by the firmware "
	       "or by a virtual machine's host");
	qemu_host.machine = "x86_64";
	no_kvm("flags : fpu vmx\n", "/kvm does not exist",
	       "sudo modprobe kvm_intel");
	no_kvm("flags : fpu svm\n", "/kvm does not exist",
	       "sudo modprobe kvm_amd");
	no_kvm("flags : fpu hypervisor\n", "/kvm does not exist",
	       "this host is a virtual machine: allow nested virtualisation "
	       "on its host");
	no_kvm("flags : fpu\n", "/kvm does not exist",
	       "enable virtualisation in this host's firmware");
	setenv("container", "oci", 1);
	no_kvm("flags : fpu vmx\n", "/kvm does not exist",
	       "start the container with --device /dev/kvm");
	unsetenv("container");
	put("group", "root:x:0:\nmachines:x:4242:\n", 0644);
	put("kvm", "", 0660);
	if (was)
		SKIP("needs root to give a file away");
	CHECK_EQ(chown(dev, 0, 4242), 0);
	CHECK_EQ(chmod(dev, 0660), 0);
	CHECK_EQ(chmod(top, 0755), 0);
	put("cpuinfo", "flags : fpu vmx\n", 0666);
	CHECK_EQ(seteuid(65534), 0);
	no_kvm(NULL, "/kvm: permission denied (owner root:machines, mode 0660)",
	       "sudo usermod -aG machines $USER, then log in again");
	CHECK_EQ(seteuid(was), 0);
	CHECK_EQ(chown(dev, 0, 0), 0);
	CHECK_EQ(chmod(dev, 0600), 0);
	snprintf(want, sizeof(want), "sudo setfacl -m u:$USER:rw %s", dev);
	CHECK_EQ(seteuid(65534), 0);
	no_kvm(NULL, "/kvm: permission denied (owner root:root, mode 0600)",
	       want);
	CHECK_EQ(seteuid(was), 0);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"kvm", kvm},
		{"kvm_makes_a_vm", kvm_makes_a_vm},
		{"kvm_hints", kvm_hints},
	};

	return rig_main(cases, ARRAY_SIZE(cases), argc, argv);
}
