/* SPDX-License-Identifier: MIT */
/*
 * A configuration as QEMU's argument vector.
 *
 * One function for each part of a machine, in the order of the vector. Where
 * a part is a descriptor in a real run, --dry-run (no wiring) puts what can be
 * pasted: a socket's path, a memory backend that QEMU makes itself.
 *
 * Fixed for all guests: no default devices, no user's configuration files, no
 * display; QEMU's own seccomp sandbox where its build has it; guest memory as
 * shared backends, because the file servers map it too. A machine without a
 * disk is the smallest that boots fast: microvm with PCIe where there is one.
 */
#include "launch/qemu/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SANDBOX                                                                \
	"on,obsolete=deny,elevateprivileges=deny,spawn=deny,"                  \
	"resourcecontrol=deny"

/* What every part is made from. */
struct build {
	struct words w;
	const struct config *c;
	const struct qemu_info *info;
	const struct qemu_wiring *wiring; /* NULL: --dry-run */
};

static bool is_x86(const struct build *b)
{
	return strcmp(b->c->arch, "x86_64") == 0;
}

static bool is_machine(const struct build *b, const char *name)
{
	size_t len = strlen(name);

	return strncmp(b->info->machine, name, len) == 0 &&
	       (b->info->machine[len] == '\0' || b->info->machine[len] == ',');
}

static bool since(const struct build *b, unsigned int major, unsigned int minor)
{
	return b->info->major > major ||
	       (b->info->major == major && b->info->minor >= minor);
}

/*
 * microvm has no clock under KVM unless asked. Linux looks for one all the
 * same and takes what it reads for one that is being updated, for a second:
 * 10,000 looks, four exits each.
 */
static void add_microvm(struct build *b)
{
	word_part(&b->w, ",pcie=on");
	if (!strstr(b->info->machine, ",rtc="))
		word_part(&b->w, ",rtc=on");
}

static void add_machine(struct build *b)
{
	word_add(&b->w, "-machine");
	word_part(&b->w, "%s", b->info->machine);
	if (is_machine(b, "microvm"))
		add_microvm(b);
	if (is_machine(b, "virt") && !b->info->kvm)
		word_part(&b->w, ",gic-version=max");
	/* without a display adapter: boot loaders talk to the serial port */
	if (is_machine(b, "q35"))
		word_part(&b->w, ",graphics=off");
	if (b->info->has_memory_backend && !b->c->numa)
		word_part(&b->w, ",memory-backend=ram0");
	word_end(&b->w);

	word_add(&b->w, "-accel");
	word_part(&b->w, "%s", b->info->kvm ? "kvm" : "tcg");
	if (!b->info->kvm && b->info->major < 10)
		word_part(&b->w, ",thread=single");
	word_end(&b->w);
	word_add(&b->w, "-cpu");
	word_add(&b->w, b->c->cpu_model ? b->c->cpu_model
			: b->info->kvm	? "host"
					: "max");
	word_add(&b->w, "-smp");
	word_part(&b->w, "%u", b->c->cpus);
	word_end(&b->w);
}

/* The backend of one node. */
static void add_backend(struct build *b, unsigned int i)
{
	const struct mem_spec *mem = &b->c->mem;
	uint64_t size = b->c->nodes[i].memory;

	word_add(&b->w, "-object");
	if (b->wiring) {
		word_part(&b->w,
			  "memory-backend-file,id=ram%u,size=%" PRIu64
			  ",mem-path=/proc/self/fd/%d,share=on",
			  i, size, b->wiring->mem_fds[i]);
		word_end(&b->w);
		return;
	}
	word_part(&b->w, "memory-backend-%s,id=ram%u,size=%" PRIu64 ",share=on",
		  mem->type == MEM_FILE ? "file" : "memfd", i, size);
	if (mem->type == MEM_FILE)
		word_value(&b->w, ",mem-path=", mem->dir);
	if (mem->type == MEM_HUGEPAGES)
		word_part(&b->w, ",hugetlb=on");
	if (mem->type == MEM_HUGEPAGES && mem->page_size)
		word_part(&b->w, ",hugetlbsize=%" PRIu64, mem->page_size);
	if (mem->prealloc || mem->type != MEM_MEMFD)
		word_part(&b->w, ",prealloc=on");
	word_end(&b->w);
}

static void add_memory(struct build *b)
{
	word_add(&b->w, "-m");
	word_part(&b->w, "%" PRIu64 "M", b->c->memory >> 20);
	word_end(&b->w);
	for (unsigned int i = 0; i < b->c->nr_nodes; i++)
		add_backend(b, i);
	/* QEMU before 5.0 takes a backend for its RAM only as a node's */
	if (!b->c->numa && b->info->has_memory_backend)
		return;
	for (unsigned int i = 0; i < b->c->nr_nodes; i++) {
		word_add(&b->w, "-numa");
		word_part(&b->w, "node,nodeid=%u", i);
		if (b->c->nodes[i].cpus)
			word_part(&b->w, ",cpus=%s", b->c->nodes[i].cpus);
		word_part(&b->w, ",memdev=ram%u", i);
		word_end(&b->w);
	}
}

/* A console that the guest's kernel should use unless told otherwise. */
static void add_append(struct build *b)
{
	const char *append = b->c->append ? b->c->append : "";

	word_add(&b->w, "-append");
	if (!strstr(append, "console="))
		word_part(&b->w, "console=%s%s",
			  is_x86(b) ? "ttyS0" : "ttyAMA0", *append ? " " : "");
	word_add(&b->w, append);
}

static void add_boot(struct build *b)
{
	const struct qemu_wiring *w = b->wiring;
	const char *kernel = w && w->kernel ? w->kernel : b->c->kernel;

	if (!kernel)
		return;
	word_add(&b->w, "-kernel");
	word_add(&b->w, kernel);
	if (w && w->initrd_fd >= 0) {
		word_add(&b->w, "-initrd");
		word_part(&b->w, "/proc/self/fd/%d", w->initrd_fd);
		word_end(&b->w);
	} else if (b->c->initrd) {
		word_add(&b->w, "-initrd");
		word_add(&b->w, b->c->initrd);
	}
	if (w && b->c->own_init) {
		word_add(&b->w, "-append");
		word_add(&b->w, w->cmdline);
	} else {
		add_append(b);
	}
}

/* The firmware's code, and a copy of its variables that is forgotten. */
static void add_firmware(struct build *b)
{
	const struct qemu_info *info = b->info;

	if (!info->uefi_code[0])
		return;
	if (!info->uefi_flash) {
		word_add(&b->w, "-bios");
		word_add(&b->w, info->uefi_code);
		return;
	}
	word_add(&b->w, "-drive");
	word_part(&b->w, "if=pflash,unit=0,readonly=on,format=%s",
		  info->uefi_code_format);
	word_value(&b->w, ",file=", info->uefi_code);
	word_end(&b->w);
	if (!info->uefi_vars[0])
		return;
	word_add(&b->w, "-drive");
	word_part(&b->w, "if=pflash,unit=1,snapshot=on,format=%s",
		  info->uefi_vars_format);
	word_value(&b->w, ",file=", info->uefi_vars);
	word_end(&b->w);
}

static void add_disk(struct build *b, unsigned int i)
{
	const struct disk_config *d = &b->c->disks[i];
	const char *slash = strchr(d->path, '/');
	const char *colon = strchr(d->path, ':');
	const char *format = d->format ? d->format : b->c->disk_format;

	if (strcmp(format, "auto") == 0)
		format = qemu_disk_format(d->path);
	word_add(&b->w, "-drive");
	word_part(&b->w, "if=none,id=disk%u,format=%s", i, format);
	/* "a:b" would be a protocol; "./a:b" is a file */
	word_value(&b->w,
		   colon && (!slash || colon < slash) ? ",file=./" : ",file=",
		   d->path);
	if (b->c->ephemeral)
		word_part(&b->w, ",snapshot=on");
	if (b->c->read_only)
		word_part(&b->w, ",readonly=on");
	word_end(&b->w);
	word_add(&b->w, "-device");
	word_part(&b->w, "virtio-blk-pci,drive=disk%u", i);
	if (!b->c->kernel && !b->c->own_init)
		word_part(&b->w, ",bootindex=%u", i);
	word_end(&b->w);
}

void qemu_dry_socket(char *buf, size_t size, const char *tag)
{
	snprintf(buf, size, "vmshare-%s.sock", tag);
}

static void add_share(struct build *b, const struct share_config *s,
		      unsigned int i)
{
	char path[64];

	word_add(&b->w, "-chardev");
	word_part(&b->w, "socket,id=share%u", i);
	if (s->socket) {
		word_value(&b->w, ",path=", s->socket);
	} else if (b->wiring) {
		word_part(&b->w, ",fd=%d", b->wiring->share_fds[i]);
	} else {
		qemu_dry_socket(path, sizeof(path), s->tag);
		word_value(&b->w, ",path=", path);
	}
	word_end(&b->w);
	word_add(&b->w, "-device");
	word_part(&b->w, "vhost-user-fs-pci,chardev=share%u", i);
	word_value(&b->w, ",tag=", s->tag);
	word_part(&b->w, ",queue-size=%u,num-request-queues=%u", s->queue_size,
		  s->queues);
	word_end(&b->w);
}

static void add_net(struct build *b)
{
	if (strcmp(b->c->net, "user") != 0)
		return;
	word_add(&b->w, "-netdev");
	word_part(&b->w, "user,id=net0");
	for (unsigned int i = 0; i < b->c->nr_forwards; i++) {
		const struct forward_config *f = &b->c->forwards[i];

		word_part(&b->w, ",hostfwd=%s:%s:%u-:%u",
			  f->udp ? "udp" : "tcp", f->addr, f->host, f->guest);
	}
	word_end(&b->w);
	word_add(&b->w, "-device");
	word_add(&b->w, "virtio-net-pci,netdev=net0,romfile=");
}

static void add_console(struct build *b)
{
	const struct qemu_wiring *w = b->wiring;

	if (w ? w->console_fd < 0 : strcmp(b->c->console, "none") == 0) {
		word_add(&b->w, "-serial");
		word_add(&b->w, "none");
		return;
	}
	word_add(&b->w, "-chardev");
	if (w) {
		word_part(&b->w, "socket,id=console,fd=%d", w->console_fd);
	} else if (strcmp(b->c->console, "file") == 0) {
		word_part(&b->w, "file,id=console");
		word_value(&b->w, ",path=", b->c->console_file);
	} else {
		word_part(&b->w, "stdio,id=console");
	}
	word_end(&b->w);
	word_add(&b->w, "-serial");
	word_add(&b->w, "chardev:console");
}

static void add_ports(struct build *b)
{
	const struct qemu_wiring *w = b->wiring;

	if (!w || !w->nr_ports)
		return;
	word_add(&b->w, "-device");
	word_add(&b->w, "virtio-serial-pci,id=ports");
	for (unsigned int i = 0; i < w->nr_ports; i++) {
		word_add(&b->w, "-chardev");
		word_part(&b->w, "socket,id=port%u,fd=%d", i, w->port_fds[i]);
		word_end(&b->w);
		word_add(&b->w, "-device");
		word_part(&b->w,
			  "virtserialport,bus=ports.0,chardev=port%u,"
			  "name=%s",
			  i, guest_port_name((enum guest_port)i));
		word_end(&b->w);
	}
}

/* A guest that panics ends: where it can say so, or has no disk to reboot. */
static void add_panic(struct build *b)
{
	if (is_machine(b, "q35") && b->info->has_pvpanic) {
		word_add(&b->w, "-device");
		word_add(&b->w, "pvpanic");
	} else if (b->info->has_pvpanic_pci && !is_machine(b, "microvm")) {
		word_add(&b->w, "-device");
		word_add(&b->w, "pvpanic-pci");
	}
	if (since(b, 6, 0)) {
		word_add(&b->w, "-action");
		word_add(&b->w, b->c->dump ? "panic=pause"
					   : "panic=exit-failure");
	}
	if (b->c->dump) {
		word_add(&b->w, "-no-shutdown");
		/* where the guest leaves what crash wants to know */
		word_add(&b->w, "-device");
		word_add(&b->w, "vmcoreinfo");
	}
	if (b->c->own_init || !b->c->nr_disks)
		word_add(&b->w, "-no-reboot");
}

static void add_control(struct build *b)
{
	const struct qemu_wiring *w = b->wiring;

	if (w && w->credentials_fd >= 0 && since(b, 6, 0)) {
		word_add(&b->w, "-smbios");
		word_part(&b->w, "type=11,path=/proc/self/fd/%d",
			  w->credentials_fd);
		word_end(&b->w);
	}
	if (w && w->qmp_fd >= 0) {
		word_add(&b->w, "-chardev");
		word_part(&b->w, "socket,id=qmp,fd=%d", w->qmp_fd);
		word_end(&b->w);
		/* 11.1 deprecates the one, and is the first with the other. */
		if (since(b, 11, 1)) {
			word_add(&b->w, "-object");
			word_add(&b->w, "monitor-qmp,id=monitor,chardev=qmp");
		} else {
			word_add(&b->w, "-mon");
			word_add(&b->w, "chardev=qmp,mode=control");
		}
	}
}

char **qemu_argv(const struct config *c, const struct qemu_info *info,
		 const struct qemu_wiring *w)
{
	struct build b = {.c = c, .info = info, .wiring = w};

	word_add(&b.w, info->path);
	word_add(&b.w, "-nodefaults");
	word_add(&b.w, "-no-user-config");
	word_add(&b.w, "-display");
	word_add(&b.w, "none");
	if (info->has_sandbox) {
		word_add(&b.w, "-sandbox");
		word_add(&b.w, SANDBOX);
	}
	add_machine(&b);
	add_memory(&b);
	add_boot(&b);
	add_firmware(&b);
	for (unsigned int i = 0; i < c->nr_disks; i++)
		add_disk(&b, i);
	for (unsigned int i = 0; i < c->nr_shares; i++)
		add_share(&b, &c->shares[i], i);
	if (c->has_root_share)
		add_share(&b, &c->root_share, c->nr_shares);
	add_net(&b);
	if (!c->own_init) {
		word_add(&b.w, "-device");
		word_add(&b.w, "virtio-rng-pci");
	}
	add_console(&b);
	add_ports(&b);
	add_panic(&b);
	add_control(&b);
	for (unsigned int i = 0; i < c->nr_qemu_args; i++)
		word_add(&b.w, c->qemu_args[i]);
	return words_vector(&b.w);
}
