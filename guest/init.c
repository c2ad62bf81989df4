/* SPDX-License-Identifier: MIT */
/*
 * PID 1 of a guest that was booted with our initramfs: one straight line from
 * the kernel's hand-over to the power off, without a shell, without udev, with
 * nothing that the spec does not ask for.
 *
 *	mount /dev, /proc, /sys; read the spec; load modules
 *	mount the root and enter it; open the ports; say READY
 *	name, lo, network; mount the shares; find the user
 *	run the command (init_command.c), say EXITED with the byte counts
 *	unmount, while the host takes what is still in the ports
 *	wait for CONFIRM, say DONE, power off
 *
 * A failure is reported in a FAILED frame if the control port can be opened,
 * and on the kernel's console in any case; then the guest powers off. init
 * never returns and never exits: that would be a panic.
 *
 * Ports appear some time after their driver was loaded, in any order. Only
 * sysfs says which is which, so init polls it until they are there, as late as
 * possible.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest/init.h"

#define INIT_PORTS_MS	10000	/* until a port must have appeared */

struct init {
	struct guest_plan plan;
	struct init_ports ports;
	bool mounted;		/* there is a root to leave clean */
};

static const char *const port_names[GUEST_PORTS] = {
	[GUEST_PORT_CONTROL] = "vmshare.control",
	[GUEST_PORT_IN] = "vmshare.in",
	[GUEST_PORT_OUT] = "vmshare.out",
	[GUEST_PORT_ERR] = "vmshare.err",
};

const char *guest_port_name(enum guest_port port)
{
	return port_names[port];
}

bool guest_is_init(void)
{
	return getpid() == 1 && access(GUEST_SPEC_FILE, F_OK) == 0;
}

/* ---- ports -------------------------------------------------------------- */

static int find_port_name(const char *device)
{
	char path[300], name[64];
	ssize_t n;
	int fd, i;

	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, name, sizeof(name) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	name[n] = '\0';
	name[strcspn(name, "\n")] = '\0';
	for (i = 0; i < GUEST_PORTS; i++)
		if (strcmp(name, port_names[i]) == 0)
			return i;
	return -1;
}

/* Open what has appeared; the number of ports that are still missing. */
static int scan_ports(struct init_ports *ports)
{
	DIR *d = opendir("/sys/class/virtio-ports");
	struct dirent *e;
	char path[300];
	int i, missing = 0;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		i = find_port_name(e->d_name);
		if (i < 0 || ports->fd[i] >= 0)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", e->d_name);
		ports->fd[i] = open(path, O_RDWR | O_CLOEXEC |
				    (i == GUEST_PORT_CONTROL ? 0 : O_NONBLOCK));
	}
	if (d)
		closedir(d);
	for (i = 0; i < GUEST_PORTS; i++)
		missing += ports->fd[i] < 0;
	return missing;
}

static int open_ports(struct init_ports *ports, struct guest_error *err)
{
	const struct timespec pause = { .tv_nsec = 500000 };
	uint64_t until = init_clock() + INIT_PORTS_MS * 1000000ull;
	int i;

	while (scan_ports(ports) > 0) {
		if (init_clock() > until) {
			for (i = 0; ports->fd[i] >= 0; i++)
				;
			return guest_fail(err, -ENODEV, "no serial port %s "
					  "in the guest", port_names[i]);
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* ---- the end ------------------------------------------------------------ */

/*
 * Without ACPI the kernel can't power off and would halt for ever; a reboot
 * is QEMU's end all the same, with -no-reboot.
 */
static _Noreturn void power_off(void)
{
	bool acpi = access("/sys/firmware/acpi/tables", F_OK) == 0 ||
		access("/sys/firmware/devicetree/base/psci", F_OK) == 0;

	reboot(acpi ? RB_POWER_OFF : RB_AUTOBOOT);
	for (;;)
		pause();
}

static void say_on_console(const char *level, const char *text)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[600];		/* a record is one write */
	int n = snprintf(line, sizeof(line), "<%s>vmshare: %s\n", level, text);

	if (fd < 0)
		return;
	if (write(fd, line, (size_t)n) < 0)
		fputs(line, stderr);	/* the kernel's console, here */
	close(fd);
}

static _Noreturn void give_up(struct init *in, int error,
			      const struct guest_error *err)
{
	struct guest_frame frame = { .type = FRAME_FAILED };
	struct guest_error unused;

	say_on_console("2", err->text);
	if (in->ports.fd[GUEST_PORT_CONTROL] < 0)
		open_ports(&in->ports, &unused);
	frame.code = (uint32_t)-error;
	snprintf(frame.text, sizeof(frame.text), "%.127s", err->text);
	init_send(&in->ports, &frame);
	if (in->mounted)
		init_unmount(&in->plan.spec);
	power_off();
}

/* ---- the line ----------------------------------------------------------- */

static int read_plan(struct guest_plan *plan, struct guest_error *err)
{
	char *data;
	size_t size;
	int ret = guest_read_file(GUEST_SPEC_FILE, &data, &size);

	if (ret == 0)
		ret = spec_decode(data, size, plan);
	return ret < 0 ? guest_fail(err, ret, "%s: %s", GUEST_SPEC_FILE,
				    guest_strerror(ret)) : 0;
}

static void step(const struct init *in, const char *what)
{
	if (in->plan.spec.verbose)
		say_on_console("6", what);
}

static int set_up(struct init *in, struct guest_error *err)
{
	const struct guest_spec *spec = &in->plan.spec;
	struct guest_frame ready = { .type = FRAME_READY };
	int ret;

	step(in, "loading modules");
	ret = init_load_modules(&in->plan, MODULE_GROUP_ALWAYS, err);
	if (ret < 0)
		return ret;
	step(in, "mounting the root");
	ret = init_enter_root(&in->plan, err);
	if (ret < 0)
		return ret;
	in->mounted = true;
	step(in, "opening the ports");
	ret = open_ports(&in->ports, err);
	if (ret < 0)
		return ret;
	ready.count[0] = init_clock();
	init_send(&in->ports, &ready);
	/* Without a name in /etc/hosts there is no more than a complaint. */
	init_set_hostname(spec->hostname ? spec->hostname : "vmshare",
			  spec->root_mode == GUEST_ROOT_OVERLAY);
	ret = init_net_up(spec->net, err);
	if (ret < 0)
		return ret;
	step(in, "mounting the shares");
	return init_mount_shares(spec, err);
}

void guest_init_main(void)
{
	static struct init in = { .ports = { .fd = { -1, -1, -1, -1 } } };
	const struct guest_spec *spec = &in.plan.spec;
	struct guest_frame frame = { .type = 0 };
	struct guest_error err = { .text = "" };
	struct init_user user;
	int ret;

	umask(022);
	ret = init_mount_kernel(&err);
	if (ret == 0)
		ret = read_plan(&in.plan, &err);
	if (ret == 0)
		ret = set_up(&in, &err);
	if (ret == 0) {
		ret = init_find_user(spec->user, &user);
		if (ret < 0)
			guest_fail(&err, ret, "no user '%s' in the guest",
				   spec->user);
	}
	step(&in, "starting the command");
	if (ret == 0)
		ret = init_run_command(spec, &user, &in.ports, &frame, &err);
	if (ret < 0 && ret != -EPIPE)
		give_up(&in, ret, &err);
	if (ret == 0)
		init_send(&in.ports, &frame);
	kill(-1, SIGKILL);
	init_unmount(spec);
	if (ret == 0 && init_wait_confirm()) {
		memset(&frame, 0, sizeof(frame));
		frame.type = FRAME_DONE;
		init_send(&in.ports, &frame);
	}
	step(&in, "powering off");
	power_off();
}
