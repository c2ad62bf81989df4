/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait for a lock, until a process of the guest or of the host
 * releases it.
 *
 * Each wait has a thread of the pool, which pool.c's bound on threads does not
 * count. Waits have their own bounds, MAX_WAITERS and three quarters of their
 * ring, so that requests that could end a wait are still served.
 *
 * A wait ends early when the guest is gone: INTERRUPT_SIGNAL, which is blocked
 * except during such waits, ends the system call; its handler does nothing.
 * pool->generation tells whether the wait must end, so that after any other
 * signal of that number it goes on.
 */

#include "fsserver/pool/private.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

/* Its default action is to ignore it: harmless if it comes otherwise. */
#define INTERRUPT_SIGNAL SIGURG
#define MAX_WAITERS	2048
#define DEFAULT_RING	128		/* where chain_ops has no size() */

static void ignore_signal(int sig)
{
	(void)sig;
}

void pool_wait_setup(void)
{
	/* Without SA_RESTART: it must end fcntl(F_OFD_SETLKW) and flock(). */
	const struct sigaction act = { .sa_handler = ignore_signal };

	sigaction(INTERRUPT_SIGNAL, &act, NULL);
}

int pool_wait_begin(struct fs_worker *w)
{
	struct pool_thread *t = pool_thread_of(w);
	struct fs_pool *pool = t->pool;
	struct pool_lane *l = t->lane;
	unsigned int ring = DEFAULT_RING;
	sigset_t set;
	int err = 0;

	if (pool->ops->size)
		ring = pool->ops->size(pool->ops_ctx, w->chain.queue);
	t->slots = w->chain.nr_desc ? w->chain.nr_desc : 1;
	pthread_mutex_lock(&pool->lock);
	if (pool->waiters >= MAX_WAITERS || l->slots + t->slots > ring / 4 * 3)
		err = -ENOLCK;
	if (!err) {
		l->slots += t->slots;
		pool->waiters++;
		t->waiting = true;
	}
	pthread_mutex_unlock(&pool->lock);
	if (err)
		return err;
	if (w->leading) {
		pool->ops->flush(pool->ops_ctx, l->index);
		if (pool_hand_over(t, true)) {
			/* No thread could serve the unlock: do not wait. */
			pool_wait_end(w);
			return -ENOLCK;
		}
	}
	will_block(w);
	sigemptyset(&set);
	sigaddset(&set, INTERRUPT_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}

bool pool_wait_interrupted(const struct fs_worker *w)
{
	const struct pool_thread *t = (const struct pool_thread *)w;

	return t->generation !=
	       __atomic_load_n(&t->pool->generation, __ATOMIC_RELAXED);
}

void pool_wait_end(struct fs_worker *w)
{
	struct pool_thread *t = pool_thread_of(w);
	struct fs_pool *pool = t->pool;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, INTERRUPT_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_mutex_lock(&pool->lock);
	t->lane->slots -= t->slots;
	pool->waiters--;
	t->waiting = false;
	pthread_mutex_unlock(&pool->lock);
}

void pool_interrupt(struct fs_pool *pool)
{
	struct timespec pause = { .tv_nsec = 100000 };
	unsigned int waiting;

	__atomic_fetch_add(&pool->generation, 1, __ATOMIC_RELAXED);
	for (;;) {
		waiting = 0;
		pthread_mutex_lock(&pool->lock);
		for (struct pool_thread *t = pool->all; t; t = t->next) {
			if (!t->waiting)
				continue;
			/* It may come just before the sleep: hence the loop. */
			pthread_kill(t->id, INTERRUPT_SIGNAL);
			waiting++;
		}
		pthread_mutex_unlock(&pool->lock);
		if (!waiting)
			return;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 10000000)
			pause.tv_nsec *= 2;
	}
}
