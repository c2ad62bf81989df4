/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The ring room with guests that break every rule there is. Whatever they do
 * breaks their queue, with one word about it; other queues go on, and after a
 * reboot that one, too.
 */

#include "tests/c/vhostuser_rig.h"
#include "tests/c/bad_rings.h"
#include "vhostuser/internal.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct rig rig;

/* ---- rings ------------------------------------------------------------- */

#define DATA_LEN 256u

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void one_hostile(const struct hostile_case *c)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2 };
	struct bad b = { 0 };
	uint64_t index = 1;

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	b.fe = rig.fe;
	b.r = &rig.fe->ring[1];
	CHECK_EQ(fe_alloc(rig.fe, 8192, &b.data), 0);
	memset(b.data.p, 0, 8192);
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_ERR, &index, sizeof(index),
			&b.r->err, 1), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	/* What is taken before that stays so. */
	RIG_SET(rig.hold, true);
	c->act(&b);
	fe_kick_always(b.r);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]) == 1);
	CHECK(strstr(rig.last, c->text));
	RIG_UNTIL(readable(b.r->err));
	/* The others go on, */
	RIG_SET(rig.hold, false);
	CHECK_EQ(rig_echo_once(rig.fe, 2, DATA_LEN), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 0, DATA_LEN), 0);
	fe_kick_always(b.r);
	usleep(2000);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]), 1);
	CHECK_EQ(RIG_GET(rig.ends), 0);
	/* and after a reboot this one, too. */
	CHECK_EQ(rig_reboot(rig.fe), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_release(&rig);
	rig_close(&rig);
}

static void rings(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(hostile) && !check_failed;
	     i++) {
		one_hostile(&hostile[i]);
		if (check_failed)
			printf("# %s: %s\n", hostile[i].name, rig.last);
	}
}

/* ---- garbage ----------------------------------------------------------- */

static uint32_t random_state = 1;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* Random bytes over rings that run, some of them nearly right. */
static void scribble(struct fe *fe, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct fe_ring *r = &fe->ring[random32() % fe->nr_rings];
		volatile uint16_t *p = r->mem[random32() % 3].p;
		struct vring_desc *d = r->mem[0].p;

		switch (random32() % 4) {
		case 0:
			p[random32() % 64] = (uint16_t)random32();
			break;
		case 1:
			p[random32() % 64] = (uint16_t)(random32() % 40);
			break;
		default:
			d += random32() % r->num;
			d->addr = fe->region[0].gpa + random32() % 65536;
			d->len = random32() % 5000;
			d->flags = (uint16_t)(random32() % 8);
			d->next = (uint16_t)(random32() % 33);
			p = r->mem[1].p;
			p[1]++;
		}
		fe_kick_always(r);
	}
}

static void random_rings(void)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 2 };

	CHECK_EQ(rig_open(&rig, 2), 0);
	for (int round = 0; round < 6; round++) {
		CHECK_EQ(rig_connect(&rig, &o), 0);
		for (int boot = 0; boot < 15; boot++) {
			scribble(rig.fe, 200);
			CHECK_EQ(rig_reboot(rig.fe), 0);
		}
		memset(rig.fe->ring[1].mem[0].p, 0, 32 * 16);
		CHECK_EQ(rig_reboot(rig.fe), 0);
		CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
		CHECK_EQ(rig_hang_up(&rig), 0);
	}
	CHECK(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]) > 0);
	rig_close(&rig);
}

/* ---- lost memory ------------------------------------------------------- */

static void file_cut(void)
{
	const struct fe_opts o = { .regions = 2, .mem_size = 8 << 20 };
	struct fe_region *m;
	struct fe_seg seg[2];
	struct fe_buf out;
	void *token;
	uint32_t len;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	m = &rig.fe->region[1];
	memset(m->map, 0xff, m->size);
	CHECK_EQ(fe_alloc(rig.fe, 4096, &out), 0);
	CHECK(out.gpa < m->gpa);
	CHECK(ftruncate(m->fd, 0) == 0);
	/* Read what is gone: zeros. */
	seg[0] = (struct fe_seg){ m->gpa + 8192, 4096, false };
	seg[1] = (struct fe_seg){ out.gpa, 4096, true };
	CHECK_EQ(fe_push(&rig.fe->ring[1], seg, 2, NULL), 0);
	fe_kick(&rig.fe->ring[1]);
	CHECK_EQ(fe_wait(&rig.fe->ring[1], 5000), 0);
	CHECK_EQ(fe_reap(&rig.fe->ring[1], &token, &len), 1);
	CHECK_EQ(len, 4096);
	CHECK_EQ(((uint8_t *)out.p)[17], RIG_XOR);
	/* Write there: nobody sees it, nobody dies. */
	seg[0] = (struct fe_seg){ out.gpa, 4096, false };
	seg[1] = (struct fe_seg){ m->gpa, 4096, true };
	CHECK_EQ(fe_push(&rig.fe->ring[1], seg, 2, NULL), 0);
	fe_kick(&rig.fe->ring[1]);
	CHECK_EQ(fe_wait(&rig.fe->ring[1], 5000), 0);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_MEMORY_LOST]) >= 1);
	rig_close(&rig);
}

static void rings_cut(void)
{
	const struct fe_opts o = { .mem_size = 8 << 20 };
	uint64_t value;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, DATA_LEN), 0);
	CHECK(ftruncate(rig.fe->region[0].fd, 0) == 0);
	fe_kick_always(&rig.fe->ring[1]);
	RIG_UNTIL(RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]) == 1);
	CHECK_EQ(fe_get(rig.fe, VHU_GET_FEATURES, &value), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_MEMORY_LOST]) >= 1, 1);
	rig_close(&rig);
}

/* A block of its file is mended where it lies in the mapping, no other. */
static void block_cut(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t block = 4 * page, len = 3 * block;
	int fd = memfd_create("cut", MFD_CLOEXEC);
	static bool flag;
	unsigned int slot;
	char *room, *map;

	room = mmap(NULL, 2 * len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(fd >= 0 && room != MAP_FAILED && !ftruncate(fd, (off_t)len));
	memset(room, 0x77, 2 * len);
	/* Not where a multiple of blocks would be. */
	map = (char *)(((uintptr_t)room + block) & ~(block - 1)) + page;
	CHECK(mmap(map, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   fd, 0) == map);
	CHECK_EQ(vu_bus_open(), 0);
	CHECK_EQ(vu_bus_add(map, len, block, &flag, fd, &slot), 0);
	CHECK_EQ(ftruncate(fd, 0), 0);
	for (size_t at = 0; at < len; at += page)
		CHECK_EQ(((volatile char *)map)[at], 0);
	CHECK(flag);
	for (char *p = room; p < room + 2 * len; p += page)
		CHECK(p < map ? *p == 0x77 : p < map + len || *p == 0x77);
	vu_bus_del(slot);
	munmap(room, 2 * len);
	close(fd);
}

/* Heads that a front end's in-flight table gives back before they are done. */
static void pushed_again(void)
{
	static struct vu_device device;
	struct vu_queue *q = calloc(1, sizeof(*q));
	struct vu_inflight *inflight = calloc(1, sizeof(*inflight));
	struct vring_used_elem used[4];
	uint16_t pending[VU_MAX_RING], idx = 0, flags = 0;

	CHECK(q && inflight);
	q->dev = &device;
	q->num = 4;
	q->pending = pending;
	q->inflight = inflight;
	q->used_ring = used;
	q->used_idx_mem = &idx;
	q->avail_flags = &flags;
	for (unsigned int i = 0; i < 3 * VU_MAX_RING; i++) {
		vu_ring_push(q, i % 4, 0);
		CHECK(q->nr_pending <= VU_MAX_RING);
	}
	free(inflight);
	free(q);
}

/* What nobody can mend kills, under the server's filter as well. */
static void not_ours(void)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0,
		  offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_rt_sigaction },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	const struct sock_fprog prog = { ARRAY_SIZE(code), code };
	int fd = memfd_create("cut", MFD_CLOEXEC), status;
	pid_t pid = fork();

	if (!pid) {
		volatile char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd,
					  0);

		alarm(20);
		if (vu_bus_open() || map == MAP_FAILED ||
		    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
			_exit(1);
		_exit(map[0] + 2);
	}
	close(fd);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* ---- the state --------------------------------------------------------- */

/* A worker that was taken over wrote it; the keeper looks for descriptors. */
static void spoilt_state(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	uint64_t size = sizeof(struct vu_state);
	int fds[512], before;
	struct vu_state *s;
	void *mem;

#ifdef __SANITIZE_THREAD__
	SKIP("that the server waits it can't see: by calls of its own");
#endif
	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(arena_region(rig.arena, ARENA_DEVICE, VU_STATE_VERSION, &size,
			      &mem, NULL), 0);
	s = mem;
	before = vu_state_fds(rig.arena, fds, 512);
	CHECK(before > 0);
	s->active ^= 1u << 31;
	CHECK_EQ(vu_state_fds(rig.arena, fds, 512), -EPROTO);
	s->active ^= 1u << 31;
	s->table[s->active].nr += 1u << 24;
	CHECK_EQ(vu_state_fds(rig.arena, fds, 512), -EPROTO);
	s->table[s->active].nr -= 1u << 24;
	s->exchange.nr_fds += 1u << 24;
	CHECK_EQ(vu_state_fds(rig.arena, fds, 512), -EPROTO);
	s->exchange.nr_fds -= 1u << 24;
	CHECK_EQ(vu_state_fds(rig.arena, fds, 512), before);
	rig_close(&rig);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "rings that break a rule", rings },
		{ "random bytes over rings", random_rings },
		{ "a memory file is truncated", file_cut },
		{ "the rings' memory is truncated", rings_cut },
		{ "a block cut", block_cut },
		{ "bus errors of others", not_ours },
		{ "pushed again and again", pushed_again },
		{ "a spoilt state", spoilt_state },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
