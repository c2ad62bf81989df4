/* SPDX-License-Identifier: MIT */
/*
 * Finding QEMU and asking it what it can do.
 *
 * A binary is looked for where the user says (--qemu, VMSHARE_QEMU) or by the
 * names that distributions give it. It is then run three times at once, for
 * its version, its devices and its machines; each answers in some 50 ms. A
 * device is looked up in the whole list: "-device X,help" prints X also where
 * it does not know it. The list is asked for under the sandbox that the guest
 * will run in, because a build without seccomp refuses that word. A run that
 * finds the answers of this very file remembered (memory.c) asks nothing.
 *
 * Only what ended by itself has answered. A busy machine with a cold disk takes
 * half a minute for what usually takes 50 ms, and one that is short of memory
 * may kill what it started: to take that for a "no" would be to run a guest
 * without a sandbox. It is refused.
 *
 * Everything that stands in a run's way is a finding; nothing is printed here.
 */
#include "launch/qemu/private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_OUTPUT  (256u << 10)

static const char *const firmware_dirs[] = {"/usr/share/qemu/firmware",
					    "/etc/qemu/firmware", NULL};

static const char *const containers[] = {"/.dockerenv", "/run/.containerenv",
					 NULL};

struct qemu_host qemu_host = {
	.container = containers,
	.os_release = "/etc/os-release",
	.cpuinfo = "/proc/cpuinfo",
	.kvm = "/dev/kvm",
	.group = "/etc/group",
	.firmware = firmware_dirs,
	.patience_ms = 120000,
};

/* ---- running it --------------------------------------------------------- */

struct probe {
	const char *const *args;
	pid_t pid;
	int fd;
	char *text; /* what it printed, both streams */
	size_t len;
	int error;  /* errno, where it could not be started */
	bool late;  /* it was killed: no answer */
	int status; /* of wait() */
};

static void probe_start(struct probe *p, const char *path)
{
	const char *argv[8] = {path};
	int fds[2], null;

	for (unsigned int i = 0; p->args[i]; i++)
		argv[i + 1] = p->args[i];
	p->text = malloc(PROBE_OUTPUT);
	if (!p->text || pipe2(fds, O_CLOEXEC)) {
		p->error = errno;
		return;
	}
	p->pid = fork();
	if (p->pid < 0) {
		p->error = errno;
		close(fds[0]);
		close(fds[1]);
		return;
	}
	if (!p->pid) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, 0);
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		execv(path, (char *const *)(uintptr_t)argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	close(fds[1]);
	p->fd = fds[0];
}

static void probe_read(struct probe *p)
{
	size_t room = PROBE_OUTPUT - 1 - p->len;
	ssize_t n = read(p->fd, p->text + p->len, room);

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0 && (size_t)n < room) {
		p->len += (size_t)n;
		return;
	}
	close(p->fd);
	p->fd = -1;
}

/* Reap it by @end, or kill it. */
static void probe_reap(struct probe *p, int64_t end)
{
	pid_t pid = 0;

	p->status = -1;
	while (p->pid > 0 && !p->late) {
		pid = waitpid(p->pid, &p->status, WNOHANG);
		if (pid > 0 || (pid < 0 && errno != EINTR))
			return;
		p->late = clock_ms() >= end;
		if (!p->late)
			poll(NULL, 0, 1);
	}
	if (p->pid <= 0)
		return;
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR)
		;
}

/* Read from all until each has ended, or time is up. */
static void probes_finish(struct probe *list, unsigned int count)
{
	int64_t end = clock_ms() + qemu_host.patience_ms, left;

	for (;;) {
		struct pollfd fds[8];
		bool any = false;

		for (unsigned int i = 0; i < count; i++) {
			fds[i] = (struct pollfd){list[i].fd, POLLIN, 0};
			any = any || list[i].fd >= 0;
		}
		left = end - clock_ms();
		if (!any || left <= 0)
			break;
		poll(fds, count, (int)left);
		for (unsigned int i = 0; i < count; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				probe_read(&list[i]);
	}
	for (unsigned int i = 0; i < count; i++) {
		struct probe *p = &list[i];

		if (p->fd >= 0) {
			close(p->fd);
			p->late = true;
		}
		if (p->text)
			p->text[p->len] = '\0';
		probe_reap(p, end);
	}
}

static bool probe_ok(const struct probe *p)
{
	return p->text && p->status >= 0 && WIFEXITED(p->status) &&
	       WEXITSTATUS(p->status) == 0;
}

/* ---- what it says ------------------------------------------------------- */

int qemu_parse_version(const char *text, unsigned int *major,
		       unsigned int *minor)
{
	const char *s = strstr(text, "version ");

	if (!s || sscanf(s, "version %u.%u", major, minor) != 2)
		return -EINVAL;
	return 0;
}

/* Is there a line 'name "NAME"'? */
static bool lists_device(const char *text, const char *name)
{
	char want[64];

	snprintf(want, sizeof(want), "name \"%s\"", name);
	return strstr(text, want);
}

/* Is there a line that begins with @name and a blank? */
static bool lists_machine(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (strncmp(text, name, len) == 0 && text[len] == ' ')
			return true;
		if (!*text)
			break;
	}
	return false;
}

static const char *const args_version[] = {"-version", NULL};
static const char *const args_machines[] = {"-machine", "help", NULL};
static const char *const args_devices[] = {"-machine", "none", "-sandbox", "on",
					   "-device",  "help", NULL};
static const char *const args_unboxed[] = {"-machine", "none", "-device",
					   "help", NULL};

static int broken(struct findings *found, const struct qemu_info *info,
		  const struct probe *p)
{
	char said[160];
	const char *text = p->text ? p->text : "";

	log_escape(said, sizeof(said), text, strcspn(text, "\n"));
	if (p->status >= 0 && WIFEXITED(p->status) &&
	    WEXITSTATUS(p->status) == 126) {
		findings_add(found, EXIT_QEMU_NOEXEC, "",
			     "%s: can't be "
			     "executed",
			     info->path);
		return EXIT_QEMU_NOEXEC;
	}
	findings_add(found, EXIT_REFUSED, "give another QEMU with --qemu FILE",
		     "%s: is not a QEMU that works: it said '%s'", info->path,
		     said);
	return EXIT_REFUSED;
}

/* The words that were asked, for a message. */
static const char *question(const struct probe *p, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; p->args[i] && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s",
					i ? " " : "", p->args[i]);
	return buf;
}

/*
 * Did it answer? Its own system call filter may end it, which says that it
 * can't do with one; what else is killed says nothing.
 */
static int unanswered(struct findings *found, const struct qemu_info *info,
		      const struct probe *p)
{
	char asked[128];
	int sig = p->status >= 0 && WIFSIGNALED(p->status) ?
			  WTERMSIG(p->status) : 0;

	question(p, asked, sizeof(asked));
	if (p->error)
		findings_add(found, EXIT_REFUSED, "", "%s %s: can't be "
			     "started: %s", info->path, asked,
			     process_error(-p->error));
	else if (p->late)
		findings_add(found, EXIT_REFUSED,
			     "try again when the machine is less busy, or "
			     "give another QEMU with --qemu FILE",
			     "%s %s: has not answered within %d s", info->path,
			     asked, qemu_host.patience_ms / 1000);
	else if (sig && sig != SIGSYS)
		findings_add(found, EXIT_REFUSED, "", "%s %s: was killed by "
			     "signal %d (%s)", info->path, asked, sig,
			     strsignal(sig));
	else
		return 0;
	return EXIT_REFUSED;
}

/* What @devices and @machines list. */
static void learn(struct qemu_info *info, const char *devices,
		  const struct probe *machines)
{
	info->has_vhost_user_fs = lists_device(devices, "vhost-user-fs-pci");
	info->has_pvpanic = lists_device(devices, "pvpanic");
	info->has_pvpanic_pci = lists_device(devices, "pvpanic-pci");
	info->has_microvm = probe_ok(machines) &&
			    lists_machine(machines->text, "microvm");
	info->asked = probe_ok(machines);
}

static int ask(struct qemu_info *info, struct findings *found,
	       struct probe p[4])
{
	struct probe *devices = &p[1];
	int status = 0;

	for (unsigned int i = 0; i < 3; i++)
		probe_start(&p[i], info->path);
	probes_finish(p, 3);
	for (unsigned int i = 0; i < 3 && !status; i++)
		status = unanswered(found, info, &p[i]);
	if (status)
		return status;
	if (!probe_ok(&p[0]) ||
	    qemu_parse_version(p[0].text, &info->major, &info->minor))
		return broken(found, info, &p[0]);
	info->has_sandbox = probe_ok(devices);
	if (!info->has_sandbox) {
		devices = &p[3];
		probe_start(devices, info->path);
		probes_finish(devices, 1);
		status = unanswered(found, info, devices);
	}
	if (!status && !probe_ok(devices))
		status = broken(found, info, devices);
	if (!status)
		learn(info, devices->text, &p[2]);
	return status;
}

static int interrogate(struct qemu_info *info, struct findings *found)
{
	struct probe p[4] = {
		{.args = args_version, .fd = -1},
		{.args = args_devices, .fd = -1},
		{.args = args_machines, .fd = -1},
		{.args = args_unboxed, .fd = -1},
	};
	int status = ask(info, found, p);

	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		free(p[i].text);
	return status;
}

/* ---- where it is -------------------------------------------------------- */

/* 0 with @buf filled in, or what access() said. */
static int look_in_path(const char *name, char *buf, size_t size)
{
	const char *dir = getenv("PATH");
	int err = ENOENT;

	if (!dir || !*dir)
		dir = "/usr/local/bin:/usr/bin:/bin";
	for (;;) {
		size_t len = strcspn(dir, ":");
		struct stat st;
		int n = snprintf(buf, size, "%.*s/%s", len ? (int)len : 1,
				 len ? dir : ".", name);

		if (n > 0 && (size_t)n < size && !stat(buf, &st) &&
		    S_ISREG(st.st_mode)) {
			if (!access(buf, X_OK))
				return 0;
			err = errno;
		}
		if (!dir[len])
			return err;
		dir += len + 1;
	}
}

static int look(const struct config *c, char *buf, size_t size)
{
	struct stat st;
	char name[64];
	int err;

	if (c->qemu && strchr(c->qemu, '/')) {
		snprintf(buf, size, "%s", c->qemu);
		if (stat(buf, &st))
			return errno;
		return S_ISREG(st.st_mode) ? access(buf, X_OK) ? errno : 0
					   : EACCES;
	}
	if (c->qemu)
		return look_in_path(c->qemu, buf, size);
	snprintf(name, sizeof(name), "qemu-system-%s", c->arch);
	err = look_in_path(name, buf, size);
	if (err == ENOENT && !look_in_path("qemu-kvm", buf, size))
		return 0;
	if (err == ENOENT && !access("/usr/libexec/qemu-kvm", X_OK)) {
		snprintf(buf, size, "/usr/libexec/qemu-kvm");
		return 0;
	}
	return err;
}

static int not_found(const struct config *c, struct findings *found, int err,
		     const char *path)
{
	char hint[128], name[64];

	snprintf(name, sizeof(name), "qemu-system-%s", c->arch);
	if (err != ENOENT) {
		findings_add(found, EXIT_QEMU_NOEXEC,
			     "give another QEMU with --qemu FILE", "%s: %s",
			     path,
			     err == EACCES ? "is not an executable file"
					   : strerror(err));
		return EXIT_QEMU_NOEXEC;
	}
	package_hint(PACKAGE_QEMU, c->arch, hint, sizeof(hint));
	findings_add(found, EXIT_QEMU_MISSING, hint, "%s: not found%s",
		     c->qemu ? c->qemu : name,
		     c->qemu && strchr(c->qemu, '/') ? "" : " in PATH");
	return EXIT_QEMU_MISSING;
}

/* ---- what follows from it ----------------------------------------------- */

static int choose_accel(const struct config *c, struct qemu_info *info,
			struct findings *found)
{
	char hint[256];
	bool must = strcmp(c->accel, "kvm") == 0;

	if (strcmp(c->accel, "tcg") == 0)
		return 0;
	info->kvm =
		qemu_kvm_usable(c->arch, must, info->accel_note,
				sizeof(info->accel_note), hint, sizeof(hint));
	if (info->kvm)
		return 0;
	findings_add(found, must ? EXIT_REFUSED : 0, hint, "%s%s",
		     info->accel_note,
		     must ? "" : "; using TCG, which is much slower");
	return must ? EXIT_REFUSED : 0;
}

static int choose_machine(const struct config *c, struct qemu_info *info,
			  struct findings *found)
{
	bool x86 = strcmp(c->arch, "x86_64") == 0;
	char hint[128];

	if (c->machine)
		info->machine = c->machine;
	else if (!x86)
		info->machine = "virt";
	else if (c->own_init && !c->numa && info->has_microvm &&
		 info->major >= 7)
		info->machine = "microvm";
	else
		info->machine = "q35";
	if (strcmp(c->firmware, "uefi") != 0 || c->kernel || c->own_init ||
	    !qemu_find_uefi(c->arch, info->machine, info))
		return 0;
	package_hint(PACKAGE_UEFI, c->arch, hint, sizeof(hint));
	findings_add(found, EXIT_REFUSED,
		     *hint ? hint : "install QEMU's UEFI firmware (EDK II)",
		     "no UEFI firmware for %s is "
		     "described in /usr/share/qemu/firmware",
		     c->arch);
	return EXIT_REFUSED;
}

/* A self-booting guest gets its mounts from a file that QEMU reads. */
static void check_mounts(const struct config *c, const struct qemu_info *info,
			 struct findings *found)
{
	for (unsigned int i = 0; i < c->nr_shares && info->major < 6; i++)
		if (c->shares[i].mount && !c->own_init)
			findings_add(found, 0, "mount it in the guest",
				     "share '%s': QEMU %u.%u can't tell the "
				     "guest of mount=%s; 6.0 can",
				     c->shares[i].tag, info->major, info->minor,
				     c->shares[i].mount);
}

int qemu_probe(const struct config *c, struct qemu_info *info,
	       struct findings *found)
{
	int status, err;

	memset(info, 0, sizeof(*info));
	err = look(c, info->path, sizeof(info->path));
	if (err)
		return not_found(c, found, err, info->path);
	/* Who looks for what is wrong wants to know how things are now. */
	if (strcmp(c->command, "run") != 0 || !qemu_recall(info)) {
		status = interrogate(info, found);
		if (status)
			return status;
	}
	info->has_memory_backend = info->major >= 5;
	if (info->major < 4 || (info->major == 4 && info->minor < 2)) {
		findings_add(found, EXIT_REFUSED,
			     "give another QEMU with --qemu FILE",
			     "%s %u.%u is too old; "
			     "4.2 or later is needed (vhost-user-fs)",
			     info->path, info->major, info->minor);
		return EXIT_REFUSED;
	}
	if (!info->has_vhost_user_fs && (c->nr_shares || c->has_root_share)) {
		findings_add(found, EXIT_REFUSED,
			     "give another QEMU with --qemu FILE",
			     "%s: this build has no vhost-user-fs device",
			     info->path);
		return EXIT_REFUSED;
	}
	/* libvirt's is libvirt's matter. */
	if (!info->has_sandbox && strcmp(c->command, "libvirt-xml") != 0)
		findings_add(found, 0, "give another QEMU with --qemu FILE",
			     "%s: this build has no seccomp sandbox: QEMU "
			     "runs without one", info->path);
	check_mounts(c, info, found);
	status = choose_accel(c, info, found);
	err = choose_machine(c, info, found);
	return status ? status : err;
}
