/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_POOL_H
#define VMSHARE_FSSERVER_POOL_H

/* Threads that take requests from queues and run them. */

#include "fsserver/internal.h"

/*
 * @run:	serve the chain in a worker; Return: the reply's length. Never
 *		fails.
 */
int pool_open(struct fs_pool **pool, struct fs *fs,
	      uint32_t (*run)(struct fs_worker *w));
void pool_close(struct fs_pool *pool);
int pool_start(struct fs_pool *pool, unsigned int lane);
void pool_stop(struct fs_pool *pool, unsigned int lane);
/* Interrupt all threads that wait for a lock; return when none waits. */
void pool_interrupt(struct fs_pool *pool);
/*
 * Around a wait of unknown length, for a lock. pool_wait_begin() counts the
 * waiter against its ring: -ENOLCK where requests that wait would take more
 * than three quarters of it, or no other thread could go on. pool_interrupt()
 * makes the system call fail with EINTR; pool_wait_interrupted() then tells
 * whether to give up.
 */
int pool_wait_begin(struct fs_worker *w);
bool pool_wait_interrupted(const struct fs_worker *w);
void pool_wait_end(struct fs_worker *w);
/* Visit each running request: @began, and whether it waits for a lock. */
void pool_each(struct fs_pool *pool,
	       void (*visit)(void *ctx, const struct fs_worker *w,
			     int64_t began, bool waiting),
	       void *ctx);

#endif
