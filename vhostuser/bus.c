/* SPDX-License-Identifier: MIT */
/*
 * Guest memory that is lost while it is used.
 *
 * A front end can truncate its file at any time, and a pool of huge pages can
 * run out; an access to such memory is SIGBUS. Mappings that are entered here
 * survive that: the handler maps a zero page over the block that failed, sets
 * the mapping's flag and writes its owner's eventfd. Consumers need do nothing.
 * A system call gets EFAULT instead, and its request fails by itself. For any
 * other SIGBUS the handler restores the previous action and lets the access
 * fault again.
 *
 * The handler runs in whichever thread faulted, so it takes no lock. An entry
 * has a sequence count, odd while it changes: one that changes is that of no
 * mapping in use, since a mapping is entered before it is used and leaves when
 * nobody uses it any more. The table serves all devices of a process.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define BUS_SLOTS 2048

struct bus_entry {
	uintptr_t start;	/* 0: a free slot */
	size_t len, block;
	bool *flag;
	int wake;
};

struct bus_slot {
	unsigned int seq;	/* atomic; odd: `is` changes */
	struct bus_entry is;
};

static struct bus_slot bus_slots[BUS_SLOTS];	/* written with the lock */
static unsigned int bus_used;	/* atomic; slots beyond were never used */
static pthread_mutex_t bus_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction bus_before;
static bool bus_ready;

/* Copy what a slot holds; false where it changes. Async-signal-safe. */
static bool bus_look(const struct bus_slot *s, struct bus_entry *is)
{
	unsigned int seq = __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE);

	is->start = __atomic_load_n(&s->is.start, __ATOMIC_RELAXED);
	is->len = __atomic_load_n(&s->is.len, __ATOMIC_RELAXED);
	is->block = __atomic_load_n(&s->is.block, __ATOMIC_RELAXED);
	is->flag = __atomic_load_n(&s->is.flag, __ATOMIC_RELAXED);
	is->wake = __atomic_load_n(&s->is.wake, __ATOMIC_RELAXED);
	/* Pairs with the fence of bus_set(). */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return !(seq & 1) && __atomic_load_n(&s->seq, __ATOMIC_RELAXED) == seq;
}

/* With the lock. */
static void bus_set(struct bus_slot *s, const struct bus_entry *is)
{
	__atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&s->is.start, is->start, __ATOMIC_RELAXED);
	__atomic_store_n(&s->is.len, is->len, __ATOMIC_RELAXED);
	__atomic_store_n(&s->is.block, is->block, __ATOMIC_RELAXED);
	__atomic_store_n(&s->is.flag, is->flag, __ATOMIC_RELAXED);
	__atomic_store_n(&s->is.wake, is->wake, __ATOMIC_RELAXED);
	__atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_RELEASE);
}

static bool bus_mend(uintptr_t addr)
{
	unsigned int n = __atomic_load_n(&bus_used, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < n; i++) {
		struct bus_entry is;

		if (!bus_look(&bus_slots[i], &is) || !is.start ||
		    addr < is.start || addr - is.start >= is.len)
			continue;
		/* Mappings are in units of blocks, but may start anywhere. */
		addr -= (addr - is.start) & (is.block - 1);
		if (mmap((void *)addr, is.block, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			return false;
		__atomic_store_n(is.flag, true, __ATOMIC_RELEASE);
		vu_wake(is.wake);
		return true;
	}
	return false;
}

static void bus_handler(int sig, siginfo_t *info, void *context)
{
	bool fault = info->si_code > 0;		/* else somebody's kill() */
	ucontext_t *back = context;
	int saved = errno;

	if (!fault || !bus_mend((uintptr_t)info->si_addr)) {
		/*
		 * Not ours: let the access fault again as it would have. Where
		 * a filter forbids that, a fault that is blocked kills, too.
		 */
		if (sigaction(sig, &bus_before, NULL) < 0) {
			sigaddset(&back->uc_sigmask, sig);
			sig = SIGKILL;
		}
		if (!fault)
			sys_raise(sig);
	}
	errno = saved;
}

/** vu_bus_open() - install the SIGBUS handler, once in a process */
int vu_bus_open(void)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER };
	int r = 0;

	sigemptyset(&sa.sa_mask);
	sa.sa_sigaction = bus_handler;
	pthread_mutex_lock(&bus_lock);
	if (!bus_ready && sigaction(SIGBUS, &sa, &bus_before) < 0)
		r = -errno;
	else
		bus_ready = true;
	pthread_mutex_unlock(&bus_lock);
	return r;
}

/**
 * vu_bus_add() - let a mapping survive the loss of its file
 * @block:	page size of the file, a power of two
 * @flag:	set when a page was lost; then @wake, an eventfd, is written
 * @slot:	for vu_bus_del()
 */
int vu_bus_add(void *map, size_t len, size_t block, bool *flag, int wake,
	       unsigned int *slot)
{
	const struct bus_entry is = {
		.start = (uintptr_t)map, .len = len, .block = block,
		.flag = flag, .wake = wake,
	};
	unsigned int i;

	pthread_mutex_lock(&bus_lock);
	for (i = 0; i < BUS_SLOTS && bus_slots[i].is.start; i++)
		;
	if (i < BUS_SLOTS) {
		bus_set(&bus_slots[i], &is);
		if (i >= bus_used)
			__atomic_store_n(&bus_used, i + 1, __ATOMIC_RELEASE);
		*slot = i;
	}
	pthread_mutex_unlock(&bus_lock);
	return i < BUS_SLOTS ? 0 : -ENOSPC;
}

void vu_bus_del(unsigned int slot)
{
	if (slot == VU_BUS_NONE)
		return;
	pthread_mutex_lock(&bus_lock);
	bus_set(&bus_slots[slot], &(struct bus_entry){ .start = 0 });
	pthread_mutex_unlock(&bus_lock);
}
