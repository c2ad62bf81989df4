/* SPDX-License-Identifier: MIT */
/*
 * What a run needs before QEMU can be started, but for the shares: sockets,
 * guest memory, and for a guest that is booted by our own initramfs its
 * kernel, that initramfs, its command line and the streams of its command.
 *
 * All of it is descriptors that die with their last holder; nothing here
 * leaves a name behind. Signals still have their default action, so that a
 * preallocation of minutes can be interrupted.
 */

#include "launch/run/supervise.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void wiring_init(struct qemu_wiring *w)
{
	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < ARRAY_SIZE(w->mem_fds); i++)
		w->mem_fds[i] = -1;
	for (size_t i = 0; i < ARRAY_SIZE(w->share_fds); i++)
		w->share_fds[i] = -1;
	for (size_t i = 0; i < ARRAY_SIZE(w->port_fds); i++)
		w->port_fds[i] = -1;
	w->qmp_fd = w->initrd_fd = w->console_fd = w->credentials_fd = -1;
}

int prepare_socketpair(int *ours, int *qemus)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ours = pair[0];
	*qemus = pair[1];
	return 0;
}

int prepare_sockets(const struct config *c, struct qemu_wiring *w, int *qmp,
		    int *console)
{
	int err = prepare_socketpair(qmp, &w->qmp_fd);

	if (!err)
		err = prepare_socketpair(console, &w->console_fd);
	if (!err) {
		int fd = qemu_credentials(c);

		if (fd >= 0)
			w->credentials_fd = fd;
		else if (fd != -ENOENT)
			err = fd;
	}
	if (!err)
		return 0;
	log_error("can't make what connects us to QEMU: %s", strerror(-err));
	return EXIT_REFUSED;
}

int prepare_guardian(struct guardian **guardian)
{
	int err = guardian_start(guardian);

	if (!err)
		return 0;
	log_error("can't start the guardian process: %s", process_error(err));
	return EXIT_REFUSED;
}

/* ---- memory -------------------------------------------------------------- */

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *p = ctx;
	char a[32], b[32];

	if (!progress_due(p))
		return;
	format_size(a, sizeof(a), done);
	format_size(b, sizeof(b), total);
	if (p->screen)
		progress_show(p, "memory: %s of %s", a, b);
	else
		log_note("claiming %s of guest memory", b);
}

int prepare_memory(const struct config *c, struct qemu_wiring *w)
{
	struct progress p;
	struct mem_problem problem = {0};
	int err = 0;

	progress_begin(&p);
	for (unsigned int i = 0; i < c->nr_nodes && !err; i++)
		err = mem_create(&c->mem, c->nodes[i].memory, i, show_progress,
				 &p, &w->mem_fds[i], &problem);
	progress_clear(&p);
	if (!err)
		return 0;
	log_error("%s", problem.text);
	if (problem.hint[0])
		log_hint("%s", problem.hint);
	return EXIT_REFUSED;
}

/* ---- a guest of our own -------------------------------------------------- */

/* What a guest_spec borrows. */
struct spec_strings {
	char mount[VM_MAX_SHARES][PATH_MAX];
	struct guest_mount mounts[VM_MAX_SHARES];
	char term[128], lang[128];
	const char *env[VM_MAX_LIST + 3];
	char cwd[PATH_MAX];
};

/*
 * Where the command starts: where it was said, or the caller's working
 * directory is in the guest, or in the share, if there is one.
 */
static const char *find_cwd(const struct config *c, struct spec_strings *str)
{
	char cwd[PATH_MAX], dir[PATH_MAX];
	size_t best = 0;

	if (c->workdir)
		return c->workdir;
	if (!getcwd(cwd, sizeof(cwd)))
		return NULL;
	for (unsigned int i = 0; i < c->nr_shares; i++) {
		const char *at = str->mounts[i].path;
		size_t len;

		if (!c->shares[i].dir || !realpath(c->shares[i].dir, dir))
			continue;
		len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);
		if (strncmp(cwd, dir, len) != 0 ||
		    (cwd[len] && cwd[len] != '/') || len + 1 <= best)
			continue;
		if (snprintf(str->cwd, sizeof(str->cwd), "%s%s", at,
			     cwd + len) < (int)sizeof(str->cwd))
			best = len + 1;
	}
	if (best)
		return str->cwd;
	return c->nr_shares == 1 ? str->mounts[0].path : NULL;
}

static void fill_mounts(const struct config *c, struct guest_spec *spec,
			struct spec_strings *str)
{
	for (unsigned int i = 0; i < c->nr_shares; i++) {
		const struct share_config *sc = &c->shares[i];

		snprintf(str->mount[i], sizeof(str->mount[i]), "/mnt/%s",
			 sc->tag);
		str->mounts[i] = (struct guest_mount){
			.tag = sc->tag,
			.path = sc->mount ? sc->mount : str->mount[i],
			.read_only = sc->ro,
		};
	}
	spec->mounts = str->mounts;
	spec->nr_mounts = c->nr_shares;
}

/* The caller's TERM and LANG, then what --env says, which wins. */
static void fill_env(const struct config *c, struct guest_spec *spec,
		     struct spec_strings *str)
{
	const char *term = getenv("TERM"), *lang = getenv("LANG");
	unsigned int n = 0;

	if (term && snprintf(str->term, sizeof(str->term), "TERM=%s", term) <
			    (int)sizeof(str->term))
		str->env[n++] = str->term;
	if (lang && snprintf(str->lang, sizeof(str->lang), "LANG=%s", lang) <
			    (int)sizeof(str->lang))
		str->env[n++] = str->lang;
	for (unsigned int i = 0; i < c->nr_env; i++)
		str->env[n++] = c->env[i];
	str->env[n] = NULL;
	spec->env = str->env;
}

/* A terminal that another job has in its foreground is not ours to read. */
static bool input_usable(void)
{
	return !isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static unsigned int terminals(void)
{
	unsigned int tty = 0;

	if (isatty(STDOUT_FILENO))
		tty |= GUEST_TTY_OUT;
	if (isatty(STDERR_FILENO))
		tty |= GUEST_TTY_ERR;
	/* Its echo has to go somewhere. */
	if (isatty(STDIN_FILENO) && (tty & GUEST_TTY_OUT) && input_usable())
		tty |= GUEST_TTY_IN;
	/* Without keys a terminal has no job to control. */
	return tty & GUEST_TTY_IN ? tty : 0;
}

static void fill_spec(const struct config *c, const struct qemu_info *info,
		      struct guest_spec *spec, struct spec_strings *str)
{
	struct winsize size;

	memset(spec, 0, sizeof(*spec));
	if (c->has_root_share)
		spec->root_tag = CONFIG_ROOT_TAG;
	else
		spec->root_disk = "";
	spec->root_mode = GUEST_ROOT_OVERLAY;
	if (c->has_root_share ? c->root_rw : !c->read_only)
		spec->root_mode = GUEST_ROOT_RW;
	spec->data_disks = c->has_root_share && c->nr_disks;
	fill_mounts(c, spec, str);
	fill_env(c, spec, str);
	spec->argv = (const char *const *)c->guest_argv;
	spec->cwd = find_cwd(c, str);
	spec->user = c->user;
	spec->tty = terminals();
	if (spec->tty && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) {
		spec->rows = size.ws_row;
		spec->cols = size.ws_col;
	}
	spec->dump = c->dump;
	spec->net = c->net && strcmp(c->net, "user") == 0;
	/* A console that was asked for has something to show. */
	spec->verbose = c->verbose > 0 ||
		(c->console && strcmp(c->console, "none") != 0);
	spec->append = c->append;
	spec->arch = c->arch;
	spec->tcg = !info->kvm;
}

static int guest_failed(const struct guest_error *err)
{
	log_error("%s", err->text);
	if (err->hint[0])
		log_hint("%s", err->hint);
	return EXIT_REFUSED;
}

static int build_guest(const struct config *c, const struct qemu_info *info,
		       struct qemu_wiring *w, struct guest_kernel *k,
		       struct spec_strings *str)
{
	struct guest_error err = {0};
	struct guest_kernel_ask ask;
	struct guest_spec spec;
	int fd;

	fill_spec(c, info, &spec, str);
	config_kernel(c, &ask);
	if (guest_kernel_find(&ask, k, &err) < 0)
		return guest_failed(&err);
	log_info("kernel %s, modules %s", k->image,
		 k->modules[0] ? k->modules : "none");
	fd = guest_initramfs_build(k, &spec, c->init, &err);
	if (fd < 0)
		return guest_failed(&err);
	w->initrd_fd = fd;
	if (guest_cmdline(&spec, w->cmdline, sizeof(w->cmdline)) < 0) {
		log_error("--append: the kernel's command line would be too "
			  "long");
		return EXIT_REFUSED;
	}
	w->kernel = strdup(k->image);
	return w->kernel ? 0 : EXIT_REFUSED;
}

int prepare_guest(const struct config *c, const struct qemu_info *info,
		  struct qemu_wiring *w)
{
	struct spec_strings *str = calloc(1, sizeof(*str));
	struct guest_kernel *k = calloc(1, sizeof(*k));
	int status = EXIT_REFUSED;

	if (str && k)
		status = build_guest(c, info, w, k, str);
	else
		log_error("out of memory");
	free(str);
	free(k);
	return status;
}

void prepare_greeting(const struct config *c)
{
	char text[512] = "";
	size_t len = 0;

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) || !input_usable())
		return;
	if (!c->own_init && strcmp(c->console, "stdio") == 0)
		log_note("this is the guest's console; ^A x ends the guest");
	if (!c->own_init || c->guest_argv || !isatty(STDOUT_FILENO))
		return;
	for (unsigned int i = 0; i < c->nr_shares && len < sizeof(text); i++) {
		const struct share_config *s = &c->shares[i];

		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%s%s%s%s is %s", i ? ", " : "",
					s->mount ? "" : "/mnt/",
					s->mount ? s->mount : s->tag,
					s->ro ? " (ro)" : "",
					s->dir ? s->dir : s->socket);
	}
	log_note("%s%s^A x ends the guest", text, *text ? "; " : "");
}

int prepare_streams(struct qemu_wiring *w, struct guest_streams **streams,
		    bool *raw)
{
	struct guest_streams_config config = {
		.in = input_usable() ? STDIN_FILENO : -1,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
	};
	int err;

	*raw = terminals() & GUEST_TTY_IN;
	config.escape = *raw;
	err = guest_streams_open(streams, &config, w->port_fds);
	if (err) {
		errno = -err;
		log_error("can't make the guest's streams: %m");
		return EXIT_REFUSED;
	}
	w->nr_ports = GUEST_PORTS;
	return 0;
}
