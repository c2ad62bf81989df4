/* SPDX-License-Identifier: MIT */
/*
 * The program: a table of subcommands, and the order in which a run and a
 * server come to life. Here, and only here, the rooms meet: a share's section
 * of the configuration becomes the file server's options, and the ring room's
 * chains go to the file server through the two structs of callbacks that
 * base.h defines for them. What each room does is its own business.
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

#include "fsserver/fsserver.h"
#include "guest/guest.h"
#include "launch/command.h"
#include "launch/look/look.h"
#include "launch/run/run.h"
#include "memback/memback.h"
#include "vhostuser/vhostuser.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- a share's configuration in the file server's words ------------------ */

/* One share, as its keeper and workers see it. */
struct server {
	const struct share_config *config;
	struct fs_options options;
	struct fs_place place;
	unsigned int queues;	/* request queues offered */
	enum serve_how how;
	bool root;		/* of a guest without a disk */
	struct stats *stats;	/* or NULL */
	int events;		/* where the worker tells of progress */
};

/* Where @word is in a NULL-terminated list; @otherwise when it is NULL. */
static int word_index(const char *word, const char *const *list, int otherwise)
{
	for (int i = 0; word && list[i]; i++)
		if (strcmp(word, list[i]) == 0)
			return i;
	return otherwise;
}

_Static_assert(ID_RANGES_MAX <= FS_MAX_IDRANGES, "what config takes fits");

static const char *const access_words[] = {"passthrough", "squash", "mapped",
					   NULL};

static void set_owners(struct fs_options *o, const struct share_config *sc)
{
	bool maps = sc->uid_map || sc->gid_map;
	int mode = maps || (geteuid() == 0 && !sc->squash) ?
			   FS_ACCESS_PASSTHROUGH : FS_ACCESS_SQUASH;

	o->access = (enum fs_access)word_index(sc->access, access_words, mode);
	if (sc->squash && sscanf(sc->squash, "%u:%u", &o->squash_uid,
				 &o->squash_gid) == 1)
		o->squash_gid = o->squash_uid;
	o->nr_uid_map = fs_idmap_parse(sc->uid_map, o->uid_map);
	o->nr_gid_map = fs_idmap_parse(sc->gid_map, o->gid_map);
}

/* The words were checked by config_parse(). */
static void server_setup(struct server *sv, const struct share_config *sc)
{
	static const char *const caches[] = {"auto", "always", "none", NULL};
	static const char *const sandboxes[] = {"auto", "namespace", "chroot",
						"none", NULL};
	struct fs_options *o = &sv->options;

	memset(sv, 0, sizeof(*sv));
	sv->config = sc;
	sv->queues = sc->queues ? sc->queues : CHAIN_MAX_QUEUES - 1;
	fs_options_init(o);
	o->name = sc->tag;
	o->dir = sc->dir;
	o->readonly = sc->ro;
	o->cache = (enum fs_cache)word_index(sc->cache, caches, FS_CACHE_AUTO);
	o->writeback = sc->writeback;
	o->xattr = sc->xattr;
	o->posix_acl = sc->posix_acl;
	o->posix_lock = sc->posix_lock;
	o->flock = sc->flock;
	o->block_locks = sc->block_locks;
	o->submounts = sc->submounts;
	o->inode_handles = sc->inode_handles;
	o->allow_direct_io = sc->direct_io;
	o->noatime = sc->noatime;
	o->threads = sc->threads;
	o->open_files = sc->open_files;
	o->inode_limit = sc->inode_limit;
	o->timeout_ms = sc->timeout_ms;
	o->xattr_map = sc->xattr_map;
	o->drop_caps = fs_caps_parse(sc->drop_caps);
	o->sandbox = (enum fs_sandbox)word_index(sc->sandbox, sandboxes,
						 FS_SANDBOX_AUTO);
	o->seccomp = !sc->seccomp || strcmp(sc->seccomp, "none") != 0;
	o->seccomp_log = sc->seccomp && strcmp(sc->seccomp, "log") == 0;
	o->memory = mem_group_limit(NULL, 0);
	if (o->memory == UINT64_MAX)
		o->memory = 0;
	set_owners(o, sc);
}

static void server_hide(struct fs_options *o, const char *const *names)
{
	for (; o->nr_hide < FS_MAX_HIDE && *names; names++)
		o->hide[o->nr_hide++] = *names;
}

/* The root of a guest; the host's own has what no guest should read. */
static void server_is_root(struct server *sv)
{
	struct fs_options *o = &sv->options;

	sv->root = true;
	o->unnamed_as_root = true;
	if (!sv->config->access && fs_made_mapped(o->dir))
		o->access = FS_ACCESS_MAPPED;
	if (sv->config->ro)
		server_hide(o, guest_root_covered);
	if (strcmp(o->dir, "/") == 0)
		server_hide(o, guest_root_hidden);
}

/* What a worker leaves to the next, in the arena; zero at first. */
struct server_state {
	uint32_t progressed;	/* it completed a request */
	uint32_t started;	/* there was one */
	struct serve_state connection;
};

#define SERVER_STATE_VERSION 2

/* This process's; a chain's completion has no other way to it. */
static struct server_state *server_state;

/* ---- in keeper and worker ------------------------------------------------ */

static pid_t server_fork(void *arg)
{
	struct server *sv = arg;

	return fs_fork(&sv->options);
}

static int server_confine(void *arg, const int *keep, unsigned int nr_keep,
			  char *why, size_t why_size)
{
	struct server *sv = arg;

	return fs_confine(&sv->options, keep, nr_keep, &sv->place, why,
			  why_size);
}

static int server_lock_keeper(void *arg)
{
	struct server *sv = arg;

	return fs_seccomp_keeper(&sv->options);
}

static int server_adopt(struct arena *arena)
{
	uint64_t size = sizeof(*server_state);
	void *mem;
	int err = arena_region(arena, ARENA_SERVER, SERVER_STATE_VERSION, &size,
			       &mem, NULL);

	if (!err)
		server_state = mem;
	return err;
}

static bool server_progressed(void *arg, struct arena *arena)
{
	(void)arg;
	return server_adopt(arena) == 0 &&
	       __atomic_exchange_n(&server_state->progressed, 0,
				   __ATOMIC_RELAXED);
}

/* It was killed for lack of memory. */
static void server_squeeze(void *arg, struct arena *arena)
{
	(void)arg;
	fs_squeeze(arena);
}

/* ---- what a dead worker left open ---------------------------------------- */

/* What keeper and workers have open on purpose: tell @know. 0 or -errno. */
static int server_known(void *arg, struct arena *arena, share_know_fn *know,
			void *known)
{
	const struct server *sv = arg;
	int n = vu_state_fds(arena, NULL, 0), *fds;

	if (server_adopt(arena))
		return -EPROTO;
	know(known, sv->place.root);
	know(known, sv->place.proc);
	know(known, server_state->connection.conn);
	if (n < 0)
		return n;
	fds = calloc((size_t)n + 1, sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	n = vu_state_fds(arena, fds, (unsigned int)n);
	for (int i = 0; i < n; i++)
		know(known, fds[i]);
	free(fds);
	return n < 0 ? n : fs_state_fds(arena, know, known);
}

/* The ring room's push, noted once for each worker. */
static void noted_push(void *ctx, struct chain *c, uint32_t len)
{
	if (!__atomic_load_n(&server_state->progressed, __ATOMIC_RELAXED))
		__atomic_store_n(&server_state->progressed, 1,
				 __ATOMIC_RELAXED);
	vu_chain_ops.push(ctx, c, len);
}

/* One byte to the parent; it is lost rather than waited for. */
static void tell(const struct server *sv, enum share_event event)
{
	char byte = (char)event;

	(void)!write(sv->events, &byte, 1);
}

static void on_vu_event(void *ctx, enum vu_event event, int queue,
			const char *text)
{
	static struct log_limit limit = {.burst = 5, .seconds = 60};
	const struct server *sv = ctx;

	switch (event) {
	case VU_EVENT_CONNECTED:
		tell(sv, SHARE_CONNECTED);
		break;
	case VU_EVENT_DRIVER:
		tell(sv, SHARE_DRIVER);
		break;
	case VU_EVENT_NOT_SHARED:
		tell(sv, SHARE_NOT_SHARED);
		break;
	case VU_EVENT_QUEUE_BROKEN:
		if (log_allowed(&limit))
			log_warning("the guest broke queue %d: %s", queue,
				    text);
		break;
	case VU_EVENT_PROTOCOL:
		if (log_allowed(&limit))
			log_warning("refused a message: %s", text);
		break;
	case VU_EVENT_MEMORY_LOST:
		if (log_allowed(&limit))
			log_warning("guest memory is gone: %s", text);
		break;
	case VU_EVENT_RESET:
		log_debug("the guest reset the device");
		break;
	}
}

static void on_fs_event(void *ctx, enum fs_event event, const char *text)
{
	static struct log_limit limit = {.burst = 10, .seconds = 60};
	const struct server *sv = ctx;

	switch (event) {
	case FS_EVENT_MOUNTED:
		tell(sv, SHARE_MOUNTED);
		break;
	case FS_EVENT_UNMOUNTED:
		tell(sv, SHARE_UNMOUNTED);
		break;
	case FS_EVENT_WARNING:
		if (log_allowed(&limit))
			log_warning("%s", text);
		break;
	}
}

static int serve_front_end(void *ctx, int sock)
{
	if (sock >= 0)
		return vu_run(ctx, sock);
	vu_give_up(ctx);
	return 0;
}

static const struct share_ops server_ops;

/* What came of server_open(). */
struct serving {
	struct chain_ops ops;
	struct vu_device *dev;
	struct fs *fs;
};

/* From the arena, if there is something; its threads don't run yet. */
static int server_open(struct server *sv, const struct share_fds *fds,
		       struct arena *arena, struct serving *s)
{
	struct vu_config vc = {
		.request_queues = sv->queues,
		.packed = true,
		.consumer = &fs_consumer,
		.event = on_vu_event,
		.event_ctx = sv,
		.arena = arena,
		.keeps_left = sv->how == SERVE_LISTENING,
	};
	struct fs_setup setup = {
		.options = &sv->options,
		.place = &sv->place,
		.arena = arena,
		.stats = sv->stats,
		.queues = sv->queues + 1,
		.event = on_fs_event,
		.event_ctx = sv,
	};
	int err;

	sv->events = fds->events;
	s->ops = vu_chain_ops;
	s->ops.push = noted_push;
	setup.ops = &s->ops;
	err = server_adopt(arena);
	if (!err && server_state->started)
		err = share_sweep(&server_ops, sv, fds, arena);
	if (!err) {
		server_state->started = 1;
		err = vu_open(&s->dev, &vc);
	}
	if (err) {
		log_error("can't make the device: %s", strerror(-err));
		return err;
	}
	setup.ops_ctx = s->dev;
	err = fs_open(&s->fs, &setup);
	if (err) {
		log_error("can't start the file server: %s",
			  process_error(err));
		vu_close(s->dev);
		return err;
	}
	vu_set_consumer_ctx(s->dev, s->fs);
	return 0;
}

static int server_serve(void *arg, const struct share_fds *fds,
			struct arena *arena)
{
	struct server *sv = arg;
	struct serving s;
	int status;

	if (server_open(sv, fds, arena, &s))
		return 1;
	status = serve_connections(fds->sock, sv->how,
				   &server_state->connection, serve_front_end,
				   s.dev);
	if (status == SHARE_AGAIN)
		return status;
	fs_close(s.fs);
	vu_close(s.dev);
	return status;
}

/* ---- another program takes over ------------------------------------------ */

/* Nothing is closed: it belongs to the state. */
static int server_probe(void *arg, const struct share_fds *fds,
			struct arena *arena)
{
	struct serving s;

	return server_open(arg, fds, arena, &s);
}

static int server_move(void *arg, int least)
{
	struct server *sv = arg;
	int err = share_move_fd(&sv->place.root, least);

	return err ? err : share_move_fd(&sv->place.proc, least);
}

static void server_describe(void *arg, struct upgrade *u)
{
	const struct server *sv = arg;

	u->access = access_words[sv->options.access];
	u->how = sv->how;
	u->root = sv->root;
}

static const struct share_ops server_ops = {
	.fork = server_fork,
	.confine = server_confine,
	.lock_keeper = server_lock_keeper,
	.serve = server_serve,
	.progressed = server_progressed,
	.squeeze = server_squeeze,
	.known = server_known,
	.move = server_move,
	.probe = server_probe,
	.describe = server_describe,
};

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

/* Try a share's confinement. 0, or -errno with @why set. */
static int probe_confinement(const struct share_config *sc,
			     struct findings *found, char *why, size_t size)
{
	struct fs_place place;
	struct server sv;
	int err;

	server_setup(&sv, sc);
	err = fs_probe_layers(&sv.options, &place, why, size);
	for (int id = 0; !err && id < FS_LAYER_COUNT; id++) {
		const struct fs_layer *l = &place.layers[id];

		findings_layer(found, sc->tag, &(struct confinement){
			.layer = fs_layer_name((enum fs_layer_id)id),
			.on = l->state == FS_LAYER_ON,
			.off = l->state == FS_LAYER_OFF,
			.error = l->error,
			.step = l->why,
			.left = fs_layer_left((enum fs_layer_id)id),
		});
	}
	return err;
}

/* run, check and libvirt-xml: the latter two start nothing. */
static int cmd_run(int argc, char **argv)
{
	return command_vm(argc, argv, run, probe_confinement);
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

static int take_over(struct upgrade *h)
{
	struct fs_join join;
	struct server sv;

	process_limits();
	server_setup(&sv, &h->config.shares[0]);
	sv.how = (enum serve_how)h->how;
	if (h->root)
		server_is_root(&sv);
	if (h->stats >= 0 && stats_adopt(h->stats, &sv.stats))
		sv.stats = NULL;	/* counts of another layout end here */
	if (fs_join_open(&join, h->keeper, h->dir))
		return upgrade_refuse(h, "can't see where the old file server "
					 "is confined");
	sv.options.join = &join;
	return upgrade_start(h, &server_ops, &sv);
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
