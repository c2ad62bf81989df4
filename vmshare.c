/* SPDX-License-Identifier: MIT */
/*
 * The program: a table of subcommands, and the order in which a run and a
 * server come to life. What a share's server is made of is server.c's.
 *
 * A run: configuration, checks, guardian, kernel and initramfs (without a
 * disk), memory, a keeper and worker for each share, QEMU, the wait, the exit
 * status. Whatever fails says so in one line and leaves nothing behind: what
 * was made so far is descriptors and children of this process, and where this
 * process is killed its guardian ends the children.
 *
 * The process that runs main() is single-threaded, never maps guest memory and
 * never parses what a guest wrote to a share.
 */

#include "guest/guest.h"
#include "launch/command.h"
#include "launch/look/look.h"
#include "launch/run/run.h"
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- run ----------------------------------------------------------------- */

/* What a run holds while it is being set up. */
struct running {
	const struct config *c;
	struct server servers[VM_MAX_SHARES + 1];
	struct share shares[VM_MAX_SHARES + 1];
	struct qemu_wiring wiring;
	struct supervise_setup setup;
};

/* One share, @root or not: our server, at the other end of a socket pair. */
static int start_share(struct running *r, const struct share_config *sc,
		       unsigned int slot, bool root)
{
	struct server *sv = &r->servers[slot];
	int sock = -1, stats_fd, err;
	struct share *share;
	char why[1024];

	if (sc->socket)
		return 0;	/* another's server: QEMU connects to it */
	server_setup(sv, sc);
	if (root)
		server_is_root(sv);
	sv->stats = look_stats(slot, &stats_fd);
	err = prepare_socketpair(&sock, &r->wiring.share_fds[slot]);
	if (err) {
		log_error("socketpair: %s", strerror(-err));
		return EXIT_REFUSED;
	}
	share = &r->shares[r->setup.nr_shares];
	err = share_start(share, sc, &server_ops, sv, sock, r->setup.guardian,
			  why, sizeof(why));
	if (err) {
		log_error("share '%s': %s", sc->tag, why);
		close(sock);
		return EXIT_REFUSED;
	}
	share->stats = sv->stats;
	share->stats_fd = stats_fd;
	r->setup.nr_shares++;
	return 0;
}

static int start_shares(struct running *r)
{
	const struct config *c = r->c;
	int status = 0;

	for (unsigned int i = 0; i < c->nr_shares && !status; i++)
		status = start_share(r, &c->shares[i], i, false);
	if (!status && c->has_root_share)
		status = start_share(r, &c->root_share, c->nr_shares, true);
	return status;
}

static int run_guest(struct running *r, const struct qemu_info *info)
{
	const struct config *c = r->c;
	struct supervise_setup *s = &r->setup;
	int status = 0;

	if (c->own_init)
		status = prepare_guest(c, info, &r->wiring);
	if (!status)
		status = prepare_memory(c, &r->wiring);
	if (!status)
		status = start_shares(r);
	if (!status)
		status = prepare_sockets(c, &r->wiring, &s->qmp_fd,
					 &s->console_fd);
	if (!status && c->own_init)
		status = prepare_streams(&r->wiring, &s->streams, &s->raw);
	if (status)
		return status;
	s->qemu_argv = qemu_argv(c, info, &r->wiring);
	if (!s->qemu_argv) {
		log_error("out of memory");
		return EXIT_REFUSED;
	}
	prepare_greeting(c);
	return supervise_run(s);
}

static int run(const struct config *c, const struct qemu_info *info)
{
	struct running r = {
		.c = c,
		.setup = {
			.config = c, .qmp_fd = -1, .console_fd = -1,
		},
	};
	int status;

	r.setup.wiring = &r.wiring;
	r.setup.shares = r.shares;
	wiring_init(&r.wiring);
	process_limits();
	status = prepare_guardian(&r.setup.guardian);
	if (!status) {
		look_publish(c);
		status = run_guest(&r, info);
	}
	for (unsigned int i = 0; i < r.setup.nr_shares; i++)
		share_stop(&r.shares[i]);
	guest_streams_close(r.setup.streams);
	guardian_end(r.setup.guardian);
	free(r.setup.qemu_argv);
	free((char *)r.wiring.kernel);
	return status;
}

/* run, check and libvirt-xml: the latter two start nothing. */
static int cmd_run(int argc, char **argv)
{
	return command_vm(argc, argv, run, server_probe_layers);
}

/* ---- serve --------------------------------------------------------------- */

static int serve_share(const struct config *c, struct server *sv,
		       struct guardian *guardian)
{
	struct share share;
	char why[1024];
	int sock = -1, stats_fd, status;

	status = serve_listen(c, guardian, &sock, &sv->how);
	if (status)
		return status;
	look_publish(c);
	sv->stats = look_stats(0, &stats_fd);
	if (share_start(&share, sv->config, &server_ops, sv, sock, guardian,
			why, sizeof(why))) {
		log_error("share '%s': %s", sv->config->tag, why);
		close(sock);
		return EXIT_REFUSED;
	}
	share.stats = sv->stats;
	share.stats_fd = stats_fd;
	return serve_wait(c, &share, guardian);
}

static int serve(const struct config *c)
{
	struct findings found;
	struct guardian *guardian = NULL;
	struct server sv;
	int status;

	findings_init(&found);
	status = check_run(c, NULL, &found);
	findings_print(&found, false);
	if (status)
		return status;
	server_setup(&sv, &c->shares[0]);
	process_limits();
	status = prepare_guardian(&guardian);
	if (!status)
		status = serve_share(c, &sv, guardian);
	guardian_end(guardian);
	return status;
}

static int cmd_serve(int argc, char **argv)
{
	return command_parsed(argc, argv, config_parse, serve);
}

/* ---- take-over: started by a run or serve, for one of its shares --------- */

static int take_over(struct upgrade *u)
{
	struct fs_join join;
	struct server sv;

	process_limits();
	server_setup(&sv, &u->config.shares[0]);
	sv.how = (enum serve_how)u->how;
	if (u->root)
		server_is_root(&sv);
	if (u->stats >= 0 && stats_adopt(u->stats, &sv.stats))
		sv.stats = NULL;	/* counts of another layout end here */
	if (fs_join_open(&join, u->keeper, u->dir))
		return upgrade_refuse(u, "can't see where the old file server "
					 "is confined");
	sv.options.join = &join;
	return upgrade_start(u, &server_ops, &sv);
}

static int cmd_take_over(int argc, char **argv)
{
	return upgrade_command(argc, argv, take_over);
}

/* ---- the table of subcommands -------------------------------------------- */

static int cmd_look(int argc, char **argv)
{
	return look_command(argc, argv, fs_op_name);
}

static const struct command commands[] = {
	{"run", cmd_run, "boot a guest that sees shared directories"},
	{"serve", cmd_serve, "the file server alone, on a socket"},
	{"check", cmd_run, "say what would fail, and how to mend it"},
	{"libvirt-xml", cmd_run, "print the same machine for libvirt"},
	{"ps", cmd_look, "list machines and servers that run"},
	{"stat", cmd_look, "what a running share does, and how fast"},
	{"restart", cmd_look, "update a share that runs, for its guest unseen"},
	{UPGRADE_COMMAND, cmd_take_over, NULL},
	{NULL, NULL, NULL},
};

static int dispatch(int argc, char **argv)
{
	if (config_is_virtiofsd(argc, argv))
		return command_parsed(argc, argv, config_parse_virtiofsd,
				      serve);
	return command_run(commands, argc, argv);
}

int main(int argc, char **argv)
{
	int status;

	if (getpid() == 1 && guest_is_init())
		guest_init_main();
	process_setup();
	upgrade_remember();
	status = dispatch(argc, argv);
	if (fflush(stdout) || ferror(stdout)) {
		log_error("can't write to stdout: %m");
		if (!status)
			status = EXIT_REFUSED;
	}
	return status;
}
