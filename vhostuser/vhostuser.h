/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_VHOSTUSER_H
#define VMSHARE_VHOSTUSER_H

/*
 * The back end of a vhost-user connection: messages and descriptors on a
 * socket, the guest's memory, and its virtqueues, handed to a consumer as
 * chains (base.h). Knows nothing of FUSE or files.
 *
 * One vu_device serves one front end at a time. Its connection runs in the
 * thread that calls vu_run(); the rings are used by the consumer's threads
 * through vu_chain_ops.
 */

#include "base/base.h"

struct vu_device;

enum vu_event {
	VU_EVENT_CONNECTED,	/* first message was seen */
	VU_EVENT_DRIVER,	/* the guest's driver enabled its queues */
	VU_EVENT_NOT_SHARED,	/* the front end keeps memory private */
	VU_EVENT_QUEUE_BROKEN,	/* @text says how the guest broke it */
	VU_EVENT_PROTOCOL,	/* @text: a message that was refused */
	VU_EVENT_MEMORY_LOST,	/* SIGBUS: the front end's file was cut */
	VU_EVENT_RESET,		/* the guest reset the device */
};

struct vu_config {
	unsigned int request_queues;	/* offered, 1..64 */
	const struct chain_consumer *consumer;
	void *consumer_ctx;
	/*
	 * Something worth telling happened; called from any thread, may
	 * print. @text is ours (guest numbers, never guest bytes).
	 */
	void (*event)(void *ctx, enum vu_event event, int queue,
		      const char *text);
	void *event_ctx;
	struct arena *arena;		/* where ring progress is kept */
	/*
	 * A front end that hangs up while rings run whose progress is in its
	 * in-flight table may come back: see VU_LEFT.
	 */
	bool keeps_left;
	/* Offer what moving a running guest needs: see dirty.c. */
	bool moves;
};

/*
 * The process has to end now, as if it had been killed: with its threads, and
 * without closing or resetting anything. What it leaves in the arena its
 * successor takes to vu_run(): when the front end with the same in-flight
 * table comes back, its requests in flight are handed out again and the
 * consumer's state is as it was. Where another one starts rings instead, the
 * consumer is reset before.
 */
#define VU_LEFT	1

/* What the consumer uses; its ctx is the struct vu_device. */
extern const struct chain_ops vu_chain_ops;

/**
 * vu_open() - make a device, not yet connected
 * @config:	copied
 *
 * Where the arena holds the state of an earlier worker, that state is adopted
 * and vu_run() goes on with its connection.
 * Return: 0, -ENOMEM, -EPROTO (arena of another version).
 */
int vu_open(struct vu_device **dev, const struct vu_config *config);

/**
 * vu_set_consumer_ctx() - tell the device its consumer's context
 *
 * The two rooms need each other's context; the device is opened first.
 */
void vu_set_consumer_ctx(struct vu_device *dev, void *ctx);

/**
 * vu_run() - serve one front end until it goes away
 * @sock:	connected stream socket; stays the caller's
 *
 * Return: 0 when the front end closed in order or vu_stop() was called,
 * VU_LEFT where the configuration allows it, -EPROTO when it broke the
 * protocol, -errno of the socket otherwise. But for VU_LEFT, all queues are
 * stopped, all of the front end's memory and descriptors released.
 */
int vu_run(struct vu_device *dev, int sock);

/** vu_give_up() - wait no longer for a front end that left */
void vu_give_up(struct vu_device *dev);

/** vu_stop() - make vu_run() return soon; async-signal-safe, any thread */
void vu_stop(struct vu_device *dev);

/** vu_close() - free the device; the consumer no longer uses it */
void vu_close(struct vu_device *dev);

/**
 * vu_state_fds() - descriptors that the state in an arena stands for
 * @fds:	room for @max
 *
 * For a keeper that closes what a dead worker left behind. Return: how many
 * there are, more than @max where @fds was too small; -EPROTO for an arena of
 * another version.
 */
int vu_state_fds(struct arena *arena, int *fds, unsigned int max);

/**
 * vu_progressed() - did a worker complete a request since this was last asked?
 *
 * For a keeper, when its worker has died.
 */
bool vu_progressed(struct arena *arena);

#endif
