/* rooms: base */
/* SPDX-License-Identifier: MIT */
/*
 * The table of mappings that survive the loss of their file: a fault is looked
 * up in it while others enter and leave.
 */

#include "vhostuser/bus.c"

#include "check.h"

#include <sys/time.h>

#define TURNS	4000
#define PAGE	4096u

static bool lost;
static char *mem;
static unsigned int slot, turns;	/* turns: atomic */

/* A small mapping and a large one take turns in one slot. */
static void take_turn(int sig)
{
	unsigned int turn = __atomic_load_n(&turns, __ATOMIC_RELAXED);

	(void)sig;
	vu_bus_del(slot);
	if (turn % 2)
		vu_bus_add(mem, PAGE, PAGE, &lost, -1, &slot);
	else
		vu_bus_add(mem + 64 * PAGE, 64 * PAGE, 64 * PAGE, &lost, -1,
			   &slot);
	__atomic_store_n(&turns, turn + 1, __ATOMIC_RELAXED);
}

/*
 * What lies in neither is never mended: it would lose what is there. The
 * change comes between any two instructions of the look, here by a signal.
 */
static void test_reused(void)
{
	struct sigaction act = { .sa_handler = take_turn };
	const struct itimerval often = { { 0, 30 }, { 0, 30 } };
	unsigned int mended = 0;

	mem = mmap(NULL, 128 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED);
	CHECK_EQ(vu_bus_add(mem, PAGE, PAGE, &lost, -1, &slot), 0);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (__atomic_load_n(&turns, __ATOMIC_RELAXED) < TURNS)
		mended += bus_mend((uintptr_t)mem + 2 * PAGE);
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 0 }, { 0, 0 } },
		  NULL);
	CHECK_EQ(mended, 0);
	vu_bus_del(slot);
	munmap(mem, 128 * PAGE);
}

static void test_mended(void)
{
	unsigned int left;

	mem = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED);
	memset(mem, 'x', 2 * PAGE);
	lost = false;
	CHECK_EQ(vu_bus_add(mem, 2 * PAGE, PAGE, &lost, -1, &slot), 0);
	CHECK(bus_mend((uintptr_t)mem + PAGE + 7));
	CHECK(lost);
	CHECK_EQ(mem[0], 'x');
	CHECK_EQ(mem[PAGE], 0);
	vu_bus_del(slot);
	CHECK(!bus_mend((uintptr_t)mem));
	/* The slot is free for another. */
	CHECK_EQ(vu_bus_add(mem, PAGE, PAGE, &lost, -1, &left), 0);
	CHECK_EQ(left, slot);
	vu_bus_del(left);
	munmap(mem, 2 * PAGE);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "a page is mended", test_mended },
		{ "a slot is used again meanwhile", test_reused },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
