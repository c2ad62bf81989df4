/* SPDX-License-Identifier: MIT */
/*
 * Preflight: everything that can be known before anything is started.
 *
 * A list of tests. Each looks at one thing and adds what it finds: the thing,
 * its value and the limit in one line, and what to do about it in another. All
 * are run, so that "vmshare check" shows five problems where there are five.
 * Nothing is changed, created or waited for. A run that passes can still fail,
 * since things change in between; the message is the same then.
 */
#include "launch/check/private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FEW_FILES 4096 /* fewer descriptors are worth a word */
#define MAX_SLOTS 28   /* of a PCI root bus, less what is built in */

/* ---- memory ------------------------------------------------------------- */

static void check_memory(const struct config *c, struct findings *found)
{
	struct mem_problem problems[MEM_MAX_PROBLEMS];
	unsigned int n = mem_check(&c->mem, c->memory, problems);

	for (unsigned int i = 0; i < n; i++)
		findings_add(found, problems[i].fatal ? EXIT_REFUSED : 0,
			     problems[i].hint, "%s", problems[i].text);
}

/* What a file server can't do without, whatever it serves. */
static void check_host(const struct config *c, struct findings *found)
{
	char has[32], needs[32];
	struct rlimit rl;

	if (access("/proc/self/fd", X_OK))
		findings_add(found, EXIT_REFUSED, "mount -t proc proc /proc",
			     "/proc is not mounted: file servers need it");
	if (!c->nr_shares && !c->has_root_share)
		return;
	if (getrlimit(RLIMIT_FSIZE, &rl) || rl.rlim_cur >= SHARE_ARENA_LEAST)
		return;
	findings_add(found, EXIT_REFUSED,
		     "ulimit -f unlimited, or LimitFSIZE= of the unit",
		     "the limit of a file's size is %s; the state of a file "
		     "server needs %s", format_size(has, sizeof(has),
						    rl.rlim_cur),
		     format_size(needs, sizeof(needs), SHARE_ARENA_LEAST));
}

static void check_limits(const struct config *c, struct findings *found)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		return;
	for (unsigned int i = 0; i < c->nr_shares; i++) {
		const struct share_config *s = &c->shares[i];

		if (s->open_files > rl.rlim_max)
			findings_add(found, EXIT_REFUSED,
				     "raise the limit, or give less",
				     "share '%s': open-files %u is more than "
				     "the open-file limit of %llu",
				     s->tag, s->open_files,
				     (unsigned long long)rl.rlim_max);
	}
	if (rl.rlim_max < FEW_FILES)
		findings_add(found, 0,
			     "raise LimitNOFILE= or the nofile line "
			     "of limits.conf",
			     "open-file limit is %llu (hard "
			     "%llu); large trees are faster with more",
			     (unsigned long long)rl.rlim_cur,
			     (unsigned long long)rl.rlim_max);
}

/* ---- words for QEMU ----------------------------------------------------- */

const char *qemu_arg_conflict(const char *arg, const char *next)
{
	static const struct {
		const char *option;
		const char *value; /* in the next argument; NULL: any */
		const char *why;
	} conflicts[] = {
		{"m", NULL, "contradicts --memory"},
		{"mem-path", NULL, "would replace the shared memory"},
		{"numa", NULL, "contradicts --numa"},
		{"smp", NULL, "contradicts --cpus"},
		{"machine", "memory-backend",
		 "would replace the shared memory"},
		{"M", "memory-backend", "would replace the shared memory"},
		{"object", "memory-backend",
		 "would add memory that is not shared"},
		{"daemonize", NULL, "vmshare must see QEMU end"},
		{"incoming", NULL, "the server has no state to go on from"},
	};

	if (*arg++ != '-')
		return NULL;
	arg += *arg == '-';
	for (size_t i = 0; i < ARRAY_SIZE(conflicts); i++) {
		if (strcmp(arg, conflicts[i].option) != 0)
			continue;
		if (conflicts[i].value &&
		    (!next || !strstr(next, conflicts[i].value)))
			continue;
		/* more memory is fine where the server can map it */
		if (next && strcmp(arg, "object") == 0 &&
		    strstr(next, "share=on"))
			continue;
		return conflicts[i].why;
	}
	return NULL;
}

static const char *conflict_hint(const char *arg, const char *why)
{
	static const char ours[] = "contradicts ";

	if (strncmp(why, ours, sizeof(ours) - 1) == 0)
		return strcmp(why + sizeof(ours) - 1, "--memory") == 0
			       ? "give --memory SIZE instead"
		       : strcmp(why + sizeof(ours) - 1, "--cpus") == 0
			       ? "give --cpus N instead"
			       : "give --numa instead";
	return strncmp(arg, "-object", 7) ? "" : "add share=on";
}

/* "-device x" as one word, as a shell's user may quote it. */
static void check_words(const char *arg, const char *before,
			struct findings *found)
{
	int blank = (int)strcspn(arg, " ");
	char hint[512];

	if (*arg != '-' || !arg[blank] || (before && *before == '-'))
		return;
	snprintf(hint, sizeof(hint), "give one for each word: --qemu-arg %.*s "
		 "--qemu-arg %s", blank, arg, arg + blank + 1);
	findings_add(found, EXIT_REFUSED, hint,
		     "--qemu-arg '%s': is more than one word", arg);
}

static void check_qemu_args(const struct config *c, struct findings *found)
{
	for (unsigned int i = 0; i < c->nr_qemu_args; i++) {
		const char *arg = c->qemu_args[i];
		const char *next =
			i + 1 < c->nr_qemu_args ? c->qemu_args[i + 1] : NULL;
		const char *why = qemu_arg_conflict(arg, next);

		check_words(arg, i ? c->qemu_args[i - 1] : NULL, found);
		if (why)
			findings_add(found, EXIT_REFUSED,
				     conflict_hint(arg, why),
				     "--qemu-arg %s: %s", arg, why);
	}
	if (c->machine && strstr(c->machine, "memory-backend"))
		findings_add(found, EXIT_REFUSED, "",
			     "--machine %s: would "
			     "replace the shared memory",
			     c->machine);
	if (c->nr_disks + c->nr_shares > MAX_SLOTS)
		findings_add(found, EXIT_REFUSED, "",
			     "%u disks and %u shares:"
			     " the machine has room for %d in all",
			     c->nr_disks, c->nr_shares, MAX_SLOTS);
}

/* ---- network and descriptors -------------------------------------------- */

static void check_forwards(const struct config *c, struct findings *found)
{
	for (unsigned int i = 0; i < c->nr_forwards; i++) {
		const struct forward_config *f = &c->forwards[i];
		struct sockaddr_in sin = {
			.sin_family = AF_INET,
			.sin_port = htons(f->host),
		};
		int sock = socket(
			AF_INET,
			(f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
		int on = 1;

		inet_pton(AF_INET, f->addr, &sin.sin_addr);
		if (!f->udp)
			setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on,
				   sizeof(on));
		if (sock >= 0 &&
		    bind(sock, (struct sockaddr *)&sin, sizeof(sin)))
			findings_add(found, EXIT_REFUSED,
				     errno == EACCES ? "use a port from 1024 up"
						     : "",
				     "--forward: port %u of %s: %s", f->host,
				     f->addr, strerror(errno));
		if (sock >= 0)
			close(sock);
	}
}

static void check_fd(struct findings *found, const char *name, int fd)
{
	if (fd >= 0 && fcntl(fd, F_GETFD) < 0)
		findings_add(found, EXIT_REFUSED, "",
			     "--%s %d: descriptor is "
			     "not open",
			     name, fd);
}

/* ---- kernel ------------------------------------------------------------- */

static void check_readable(struct findings *found, const char *name,
			   const char *path)
{
	struct stat st;

	if (!path)
		return;
	if (stat(path, &st))
		findings_add(found, EXIT_REFUSED, "", "--%s %s: %s", name, path,
			     errno == ENOENT ? "no such file"
					     : strerror(errno));
	else if (S_ISDIR(st.st_mode))
		findings_add(found, EXIT_REFUSED, "",
			     "--%s %s: is a "
			     "directory",
			     name, path);
	else if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS))
		findings_add(found, EXIT_REFUSED, "",
			     "--%s %s: permission "
			     "denied for uid %u (mode %04o)",
			     name, path, (unsigned int)geteuid(),
			     (unsigned int)(st.st_mode & 07777));
}

static void check_own_kernel(const struct config *c, struct findings *found)
{
	struct guest_kernel *k = calloc(1, sizeof(*k));
	struct guest_error err = {.text = ""};
	char hint[sizeof(err.hint) + 128];
	struct guest_kernel_ask ask;
	int ret;

	if (!k)
		return;
	if (c->init && guest_init_check(c->init, c->arch, &err))
		findings_add(found, EXIT_REFUSED, err.hint, "--init %s",
			     err.text);
	config_kernel(c, &ask);
	ret = guest_kernel_find(&ask, k, &err);
	snprintf(hint, sizeof(hint), "%s", err.hint);
	if (ret == -ENOENT && !c->kernel &&
	    strcmp(c->arch, guest_host_arch) == 0) {
		package_hint(PACKAGE_KERNEL, c->arch, hint, 128);
		snprintf(hint + strlen(hint), sizeof(hint) - strlen(hint),
			 "%s%s", *hint ? "; or " : "", err.hint);
	}
	if (ret)
		findings_add(found, EXIT_REFUSED, hint, "%s", err.text);
	else if (k->skipped.text[0])
		findings_add(found, 0, k->skipped.hint, "%s", k->skipped.text);
	free(k);
}

static void check_vm(const struct config *c, struct findings *found)
{
	check_memory(c, found);
	check_qemu_args(c, found);
	if (c->own_init) {
		check_own_kernel(c, found);
	} else {
		check_readable(found, "kernel", c->kernel);
		check_readable(found, "initrd", c->initrd);
	}
	for (unsigned int i = 0; i < c->nr_disks; i++)
		check_disk(c, &c->disks[i], found);
	check_boot(c, found);
	check_forwards(c, found);
	check_fd(found, "status-fd", c->status_fd);
	check_fd(found, "ready-fd", c->ready_fd);
}

int check_run(const struct config *c, struct qemu_info *qemu,
	      struct findings *found)
{
	bool serve = strcmp(c->command, "serve") == 0;

	check_kernel(found);
	for (unsigned int i = 0; i < c->nr_shares; i++)
		check_share(c, &c->shares[i], found);
	if (c->has_root_share)
		check_share(c, &c->root_share, found);
	check_host(c, found);
	check_limits(c, found);
	if (serve)
		check_serve(c, found);
	else
		check_vm(c, found);
	if (qemu)
		qemu_probe(c, qemu, found);
	for (unsigned int i = 0; i < found->count; i++)
		if (found->list[i].fatal)
			return found->list[i].status;
	return 0;
}

/* ---- telling ------------------------------------------------------------ */

void findings_print(const struct findings *found, bool all)
{
	bool refused = false;

	for (unsigned int i = 0; i < found->count && !all; i++)
		refused |= found->list[i].fatal;
	check_print_confinement(found);
	if (all)
		check_print_kernel();
	for (unsigned int i = 0; i < found->count; i++) {
		const struct finding *f = &found->list[i];

		/* What would have been slow, too, is not the point then. */
		if (refused && !f->fatal)
			continue;
		if (f->fatal)
			log_error("%s", f->text);
		else
			log_warning("%s", f->text);
		if (f->hint[0] && (f->fatal || log_enabled(LOG_LEVEL_WARNING)))
			log_hint("%s", f->hint);
	}
}

void findings_print_json(const struct findings *found, const struct config *c)
{
	int status = 0;

	for (unsigned int i = 0; i < found->count && !status; i++)
		status = found->list[i].status;
	printf("{\"ok\":%s,\"status\":%d,", status ? "false" : "true", status);
	json_put("command", c->command);
	printf(",\"findings\":[");
	for (unsigned int i = 0; i < found->count; i++) {
		const struct finding *f = &found->list[i];

		printf("%s{\"level\":\"%s\",\"status\":%d,", i ? "," : "",
		       f->fatal ? "error" : "warning", f->status);
		json_put("text", f->text);
		putchar(',');
		json_put("hint", f->hint);
		putchar('}');
	}
	printf("],\"confinement\":[");
	check_put_confinement(found);
	printf("],\"kernel\":[");
	check_put_kernel();
	printf("]}\n");
}
