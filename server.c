/* SPDX-License-Identifier: MIT */
/*
 * One share's server. Here, and only here, the rooms meet: a share's section
 * of the configuration becomes the file server's options, the ring room's
 * chains go to the file server through the two structs of callbacks that
 * base.h defines for them, and share.c's keeper gets what it can't know as
 * server_ops. What each room does is its own business.
 *
 * The functions behind server_ops say in which process they run: the keeper,
 * which never reads what a guest wrote; a worker, which has all threads; or
 * the parent. A worker finds in the arena what an earlier one left.
 */

#include "server.h"

#include "vhostuser/vhostuser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a share's configuration in the file server's words ------------------ */

/*
 * The words of options that are enums to the file server, each at its value.
 * Config has the list of those that it takes; test_server.c holds them
 * together.
 */
static const char *const cache_words[] = {
	[FS_CACHE_AUTO] = "auto",
	[FS_CACHE_ALWAYS] = "always",
	[FS_CACHE_NONE] = "none",
	NULL,
};

static const char *const access_words[] = {
	[FS_ACCESS_PASSTHROUGH] = "passthrough",
	[FS_ACCESS_SQUASH] = "squash",
	[FS_ACCESS_MAPPED] = "mapped",
	NULL,
};

static const char *const sandbox_words[] = {
	[FS_SANDBOX_AUTO] = "auto",
	[FS_SANDBOX_NAMESPACE] = "namespace",
	[FS_SANDBOX_CHROOT] = "chroot",
	[FS_SANDBOX_NONE] = "none",
	NULL,
};

/* The value of @word; @otherwise when it is NULL. */
static int word_value(const char *word, const char *const *words, int otherwise)
{
	for (int i = 0; word && words[i]; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return otherwise;
}

static void set_owners(struct fs_options *o, const struct share_config *sc)
{
	bool maps = sc->uid_map.nr || sc->gid_map.nr;
	int mode = maps || (geteuid() == 0 && !sc->squash.set) ?
			   FS_ACCESS_PASSTHROUGH : FS_ACCESS_SQUASH;

	o->access = (enum fs_access)word_value(sc->access, access_words, mode);
	if (sc->squash.set) {
		o->squash_uid = sc->squash.uid;
		o->squash_gid = sc->squash.gid;
	}
	o->uid_map = sc->uid_map;
	o->gid_map = sc->gid_map;
}

/* The words were checked by config_parse(). */
void server_setup(struct server *sv, const struct share_config *sc)
{
	struct fs_options *o = &sv->options;

	memset(sv, 0, sizeof(*sv));
	sv->config = sc;
	sv->queues = sc->queues ? sc->queues : CHAIN_MAX_QUEUES - 1;
	fs_options_init(o);
	o->name = sc->tag;
	o->dir = sc->dir;
	o->readonly = sc->ro;
	o->cache = (enum fs_cache)word_value(sc->cache, cache_words,
					     FS_CACHE_AUTO);
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
	o->sandbox = (enum fs_sandbox)word_value(sc->sandbox, sandbox_words,
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
void server_is_root(struct server *sv)
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
	uint32_t started;	/* there was one */
	struct serve_state connection;
};

ARENA_LAYOUT(SERVER_STATE_VERSION, struct server_state, 16);

#define SERVER_STATE_VERSION 3

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

static int state_adopt(struct arena *arena, struct server_state **state)
{
	uint64_t size = sizeof(**state);
	void *mem = NULL;
	int err = arena_region(arena, ARENA_SERVER, SERVER_STATE_VERSION, &size,
			       &mem, NULL);

	*state = mem;
	return err;
}

static bool server_progressed(void *arg, struct arena *arena)
{
	(void)arg;
	return vu_progressed(arena);
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
	struct server_state *state;

	if (state_adopt(arena, &state))
		return -EPROTO;
	know(known, sv->place.root);
	know(known, sv->place.proc);
	know(known, state->connection.conn);
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

/* What server_open() has opened. */
struct serving {
	struct server_state *state;
	struct vu_device *dev;
	struct fs *fs;
};

/* From the arena, if there is something; its threads don't run yet. */
static int server_open(struct server *sv, const struct share_fds *fds,
		       struct arena *arena, struct serving *s)
{
	struct vu_config vc = {
		.request_queues = sv->queues,
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
		.ops = &vu_chain_ops,
		.stats = sv->stats,
		.queues = sv->queues + 1,
		.event = on_fs_event,
		.event_ctx = sv,
	};
	int err;

	sv->events = fds->events;
	err = state_adopt(arena, &s->state);
	if (!err && s->state->started)
		err = share_sweep(&server_ops, sv, fds, arena);
	if (!err) {
		s->state->started = 1;
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
				   &s.state->connection, serve_front_end,
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

const struct share_ops server_ops = {
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

/* ---- check --------------------------------------------------------------- */

int server_probe_layers(const struct share_config *sc,
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
