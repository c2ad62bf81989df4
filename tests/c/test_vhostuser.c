/* rooms: base vhostuser tests/frontend */
/* SPDX-License-Identifier: MIT */
/*
 * The ring room with a front end that behaves: the handshake, traffic in every
 * shape of ring, hot-plugged memory, stop and resume, reboot, reconnection,
 * and memory that is not shared. Hostile front ends and crashes have suites of
 * their own.
 */

#include "tests/c/vhostuser_rig.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static struct rig rig;

static void handshake(void)
{
	const struct fe_opts opts = { .handshake_only = true };
	uint64_t value;

	CHECK_EQ(rig_open(&rig, 4), 0);
	CHECK_EQ(rig_connect(&rig, &opts), 0);
	CHECK_EQ(rig.fe->max_queues, 5);
	CHECK_EQ(rig.fe->max_slots, 509);
	CHECK(rig.fe->offered & VIRTIO_F_VERSION1);
	CHECK(rig.fe->offered & VIRTIO_F_EVENT_IDX);
	CHECK(rig.fe->offered & VIRTIO_F_INDIRECT);
	CHECK(!(rig.fe->pf_offered & VHU_PF_CONFIG));
	CHECK_EQ(fe_set_features(rig.fe), 0);
	CHECK_EQ(fe_share_memory(rig.fe), 0);
	for (unsigned int q = 0; q < rig.fe->nr_rings; q++)
		CHECK_EQ(fe_ring_init(rig.fe, q), 0);
	CHECK_EQ(fe_start(rig.fe), 0);
	CHECK_EQ(RIG_GET(rig.starts), 1);
	CHECK_EQ(fe_set(rig.fe, VHU_RESET_OWNER, NULL, 0, NULL, 0), 0);
	CHECK_EQ(fe_get(rig.fe, VHU_GET_FEATURES, &value), 0);
	/* All rings stop: nobody was made to go on with the lane's other. */
	CHECK_EQ(RIG_GET(rig.starts), 1);
	CHECK_EQ(RIG_GET(rig.ends), 1);
	CHECK_EQ(fe_stop(rig.fe), 0);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_CONNECTED]), 1);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_DRIVER]), 1);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_PROTOCOL]), 0);
	CHECK_EQ(rig_hang_up(&rig), 0);
	rig_close(&rig);
}

/* @rounds batches of up to @depth, on all rings in turn. */
static int traffic(struct fe *fe, unsigned int rounds, unsigned int depth,
		   unsigned int pieces, uint32_t len)
{
	unsigned int all = depth * fe->nr_rings;
	struct rig_io *ios = calloc(all, sizeof(*ios));
	int r = ios ? 0 : -ENOMEM;

	/* Each ring has its own, so that no two leaders share memory. */
	for (unsigned int i = 0; i < all && r == 0; i++)
		r = rig_io_new(fe, &ios[i], len + i % depth, (uint8_t)i);
	for (unsigned int n = 0; n < rounds && r == 0; n++) {
		struct fe_ring *ring = &fe->ring[n % fe->nr_rings];
		struct rig_io *io = &ios[n % fe->nr_rings * depth];
		unsigned int batch = 1 + n % depth;

		for (unsigned int i = 0; i < batch && r == 0; i++) {
			rig_io_fill(&io[i]);
			r = rig_io_push(ring, &io[i], pieces);
			/* Some are told at once, some together. */
			if (r == 0 && (n + i) % 3 == 0)
				fe_kick(ring);
		}
		fe_kick(ring);
		if (r == 0)
			r = rig_reap(ring, batch);
	}
	for (unsigned int i = 0; ios && i < all; i++)
		rig_io_free(fe, &ios[i]);
	free(ios);
	return r;
}

static int shape(const struct fe_opts *opts, unsigned int rounds,
		 unsigned int depth, unsigned int pieces)
{
	int r = rig_open(&rig, opts->queues ? opts->queues : 1);

	if (r == 0)
		r = rig_connect(&rig, opts);
	if (r == 0)
		r = traffic(rig.fe, rounds, depth, pieces, 100);
	if (r < 0)
		printf("# ring of %u: %d, %s\n", opts->ring_size, r,
		       rig.fe ? fe_fault(rig.fe) : "");
	if (r == 0 && RIG_GET(rig.events[VU_EVENT_QUEUE_BROKEN]))
		r = -EPROTO;
	rig_close(&rig);
	return r;
}

static void ring_shapes(void)
{
	static const unsigned int sizes[] = { 2, 4, 64, 256, 1024 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (unsigned int k = 0; k < 4; k++) {
			struct fe_opts o = {
				.ring_size = sizes[i],
				.no_indirect = k & 1,
				.no_event_idx = k & 2,
			};
			unsigned int fit = o.no_indirect ? sizes[i] / 2
							 : sizes[i];
			unsigned int pieces = o.no_indirect ? 1 : 3;

			CHECK_EQ(shape(&o, 300, fit < 32 ? fit : 32, pieces),
				 0);
		}
	}
}

static void long_chains(void)
{
	const struct fe_opts direct = { .ring_size = 64, .no_indirect = true };
	const struct fe_opts tables = { .ring_size = 64 };

	CHECK_EQ(shape(&direct, 200, 2, 16), 0);
	CHECK_EQ(shape(&tables, 200, 8, 32), 0);
}

static void index_wraps(void)
{
	const struct fe_opts o = { .ring_size = 8, .queues = 1 };

	/* Well over 65,536 completions on each of the two rings. */
	CHECK_EQ(shape(&o, 34000, 8, 1), 0);
}

static void many_queues(void)
{
	const struct fe_opts o = { .ring_size = 16, .queues = 64 };

	CHECK_EQ(shape(&o, 1300, 8, 2), 0);
}

static void regions(void)
{
	const struct fe_opts apart = { .regions = 8, .scatter = true };
	const struct fe_opts slots = { .regions = 5, .mem_slots = true };
	struct fe_opts o = { .regions = 2, .adjacent = true,
			     .mem_size = 4 << 20 };
	struct rig_io io = { .len = 8192, .salt = 9 };
	struct fe_region *low;

	CHECK_EQ(shape(&apart, 100, 8, 4), 0);
	CHECK_EQ(shape(&slots, 100, 8, 4), 0);
	/* A buffer that begins in one region and ends in the next. */
	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	low = &rig.fe->region[0];
	io.in.gpa = low->gpa + low->size - 4096;
	CHECK_EQ(io.in.gpa + 4096, rig.fe->region[1].gpa);
	CHECK_EQ(fe_alloc(rig.fe, io.len, &io.out), 0);
	io.in.p = malloc(io.len);
	rig_io_fill(&io);
	memcpy(low->map + low->size - 4096, io.in.p, 4096);
	memcpy(rig.fe->region[1].map, (char *)io.in.p + 4096, 4096);
	CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
	fe_kick(&rig.fe->ring[1]);
	CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
	free(io.in.p);
	rig_close(&rig);
}

/* A region of memory to plug in, and one request that lies in it. */
static struct {
	int fd;
	char *map;
	struct vhu_mem_reg reg;
	struct rig_io io;
} plug;

#define PLUG_SIZE ((size_t)2 << 20)

static int plug_open(void)
{
	plug.fd = memfd_create("plug", MFD_CLOEXEC);
	if (plug.fd < 0 || ftruncate(plug.fd, (off_t)PLUG_SIZE) != 0)
		return -errno;
	plug.map = mmap(NULL, PLUG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			plug.fd, 0);
	if (plug.map == MAP_FAILED)
		return -errno;
	plug.reg.region.gpa = 1ull << 40;
	plug.reg.region.size = PLUG_SIZE;
	plug.reg.region.user = (uint64_t)(uintptr_t)plug.map;
	plug.io = (struct rig_io){
		.len = 4096,
		.salt = 77,
		.in = { .p = plug.map, .gpa = plug.reg.region.gpa },
		.out = { .p = plug.map + 4096,
			 .gpa = plug.reg.region.gpa + 4096 },
	};
	return 0;
}

static void plug_close(void)
{
	munmap(plug.map, PLUG_SIZE);
	close(plug.fd);
}

static int plug_in(void)
{
	return fe_set(rig.fe, VHU_ADD_MEM_REG, &plug.reg, sizeof(plug.reg),
		      &plug.fd, 1);
}

static int plug_out(void)
{
	return fe_set(rig.fe, VHU_REM_MEM_REG, &plug.reg, sizeof(plug.reg),
		      NULL, 0);
}

static int plug_push(void)
{
	int ret;

	rig_io_fill(&plug.io);
	ret = rig_io_push(&rig.fe->ring[1], &plug.io, 1);
	fe_kick(&rig.fe->ring[1]);
	return ret;
}

/* Memory comes and goes under running rings. */
static void hot_plug(void)
{
	const struct fe_opts o = { .mem_size = 8 << 20 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(plug_open(), 0);
	for (int round = 0; round < 20; round++) {
		CHECK_EQ(plug_in(), 0);
		/* Twice is refused, and changes nothing. */
		CHECK_EQ(plug_in(), -EREMOTEIO);
		CHECK_EQ(plug_push(), 0);
		CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
		CHECK_EQ(plug_out(), 0);
		CHECK_EQ(plug_out(), -EREMOTEIO);
		CHECK_EQ(rig_echo_once(rig.fe, 1, 100), 0);
	}
	CHECK_EQ(RIG_GET(rig.starts), 1);
	/* The whole table anew: mappings are used again, rings go on. */
	CHECK_EQ(fe_share_memory(rig.fe), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 100), 0);
	CHECK_EQ(RIG_GET(rig.starts), 1);
	plug_close();
	rig_close(&rig);
}

/* A chain keeps its memory until it is pushed. */
static void unplug_in_use(void)
{
	const struct fe_opts o = { .mem_size = 8 << 20 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(plug_open(), 0);
	CHECK_EQ(plug_in(), 0);
	RIG_SET(rig.hold, true);
	CHECK_EQ(plug_push(), 0);
	RIG_UNTIL(rig_held_now(&rig) == 1);
	CHECK_EQ(plug_out(), 0);
	usleep(200000);
	rig_release(&rig);
	CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
	plug_close();
	rig_close(&rig);
}

static void stop_and_resume(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	struct rig_io io[3];
	uint32_t base;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(traffic(rig.fe, 50, 8, 1, 64), 0);
	RIG_SET(rig.hold, true);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(rig_io_new(rig.fe, &io[i], 500, (uint8_t)i), 0);
		CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io[i], 1), 0);
	}
	fe_kick(&rig.fe->ring[1]);
	RIG_UNTIL(rig_held_now(&rig) == 3);
	/* Stopped with three that run: they are parked, not waited for. */
	CHECK_EQ(fe_ring_stop(rig.fe, 1, &base), 0);
	rig_release(&rig);
	usleep(20000);
	CHECK_EQ(io[0].done, false);
	CHECK_EQ(((uint8_t *)io[0].out.p)[0], RIG_XOR);
	CHECK_EQ(fe_ring_start(rig.fe, 1), 0);
	CHECK_EQ(rig_reap(&rig.fe->ring[1], 3), 0);
	CHECK_EQ(traffic(rig.fe, 50, 8, 1, 64), 0);
	CHECK_EQ(RIG_GET(rig.resets), 0);
	rig_close(&rig);
}

static void disable_and_enable(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	struct vhu_state off = { .index = 1, .num = 0 };
	struct vhu_state on = { .index = 1, .num = 1 };
	struct rig_io io;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(traffic(rig.fe, 20, 8, 1, 64), 0);
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_ENABLE, &off, sizeof(off), NULL,
			0), 0);
	CHECK_EQ(rig_io_new(rig.fe, &io, 10, 1), 0);
	CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
	fe_kick_always(&rig.fe->ring[1]);
	usleep(20000);
	CHECK_EQ(((uint8_t *)io.out.p)[0], 0);
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_ENABLE, &on, sizeof(on), NULL,
			0), 0);
	CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
	CHECK_EQ(RIG_GET(rig.resets), 0);
	rig_close(&rig);
}

static void guest_reboots(void)
{
	const struct fe_opts o = { .ring_size = 32, .queues = 3 };
	struct rig_io io;

	CHECK_EQ(rig_open(&rig, 3), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	for (unsigned int i = 1; i <= 3; i++) {
		CHECK_EQ(traffic(rig.fe, 40, 8, 1, 64), 0);
		RIG_SET(rig.hold, true);
		CHECK_EQ(rig_io_new(rig.fe, &io, 100, 5), 0);
		CHECK_EQ(rig_io_push(&rig.fe->ring[2], &io, 1), 0);
		fe_kick(&rig.fe->ring[2]);
		RIG_UNTIL(rig_held_now(&rig) == 1);
		CHECK_EQ(rig_reboot(rig.fe), 0);
		CHECK_EQ(RIG_GET(rig.resets), i);
		CHECK_EQ(RIG_GET(rig.events[VU_EVENT_RESET]), i);
		CHECK_EQ(RIG_GET(rig.events[VU_EVENT_DRIVER]), i + 1);
		/* Late: its ring is another one now. */
		rig_release(&rig);
		CHECK_EQ(fe_reap(&rig.fe->ring[2], NULL, NULL), 0);
	}
	CHECK_EQ(traffic(rig.fe, 40, 8, 1, 64), 0);
	rig_close(&rig);
}

static void device_reset(void)
{
	const struct fe_opts o = { .ring_size = 32 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(traffic(rig.fe, 20, 8, 1, 64), 0);
	CHECK_EQ(fe_reset_device(rig.fe), 0);
	CHECK_EQ(RIG_GET(rig.resets), 1);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_RESET]), 1);
	CHECK_EQ(rig_reboot(rig.fe), 0);
	CHECK_EQ(RIG_GET(rig.resets), 1);
	CHECK_EQ(traffic(rig.fe, 20, 8, 1, 64), 0);
	rig_close(&rig);
}

static void reconnects(void)
{
	const struct fe_opts o = { .ring_size = 32 };

	CHECK_EQ(rig_open(&rig, 2), 0);
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(rig_connect(&rig, &o), 0);
		CHECK_EQ(traffic(rig.fe, 30, 8, 1, 64), 0);
		CHECK_EQ(rig_hang_up(&rig), 0);
	}
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_CONNECTED]), 5);
	CHECK_EQ(RIG_GET(rig.resets), 5);
	rig_close(&rig);
}

/* A keeper asks it of the arena, which outlives the device. */
static void progress(void)
{
	struct fe_opts o = { .queues = 2 };

	CHECK_EQ(rig_open(&rig, 2), 0);
	CHECK(!vu_progressed(rig.arena));
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK(!vu_progressed(rig.arena));
	CHECK_EQ(traffic(rig.fe, 1, 1, 1, 100), 0);
	CHECK(vu_progressed(rig.arena));
	CHECK(!vu_progressed(rig.arena));
	CHECK_EQ(traffic(rig.fe, 1, 1, 1, 100), 0);
	CHECK(vu_progressed(rig.arena));
	rig_close(&rig);
}

static void stopped_by_us(void)
{
	const struct fe_opts o = { .ring_size = 32 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(traffic(rig.fe, 5, 8, 1, 64), 0);
	vu_stop(rig.dev);
	pthread_join(rig.thread, NULL);
	rig.running = false;
	CHECK_EQ(rig.result, 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 10), -ECONNRESET);
	rig_close(&rig);
}

/* MSI-X masking: the call descriptor changes under traffic. */
static void call_changes(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	uint64_t index = 1, nofd = 1 | 0x100;
	struct rig_io io;
	int other;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(other >= 0);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_CALL, &index,
				sizeof(index), &other, 1), 0);
		CHECK_EQ(rig_io_new(rig.fe, &io, 64, 1), 0);
		CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
		fe_kick(&rig.fe->ring[1]);
		/* Unmasked: what was completed meanwhile is signalled. */
		CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_CALL, &index,
				sizeof(index), &rig.fe->ring[1].call, 1), 0);
		CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
		rig_io_free(rig.fe, &io);
	}
	/* No call at all: the driver looks for itself. */
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_CALL, &nofd, sizeof(nofd), NULL,
			0), 0);
	CHECK_EQ(rig_io_new(rig.fe, &io, 64, 1), 0);
	CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
	fe_kick(&rig.fe->ring[1]);
	RIG_UNTIL(rig.fe->ring[1].used->idx == rig.fe->ring[1].next_avail);
	CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
	close(other);
	rig_close(&rig);
}

static void kick_changes(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	uint64_t index = 1, nofd = 1 | 0x100;
	int other, mine;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	mine = rig.fe->ring[1].kick;
	other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(other >= 0);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_KICK, &index,
				sizeof(index), &other, 1), 0);
		rig.fe->ring[1].kick = other;
		CHECK_EQ(rig_echo_once(rig.fe, 1, 99), 0);
		CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_KICK, &index,
				sizeof(index), &mine, 1), 0);
		rig.fe->ring[1].kick = mine;
		CHECK_EQ(rig_echo_once(rig.fe, 1, 99), 0);
	}
	/* Without one the ring is looked at now and then. */
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_KICK, &nofd, sizeof(nofd), NULL,
			0), 0);
	rig.fe->ring[1].kick = other;
	CHECK_EQ(rig_echo_once(rig.fe, 1, 99), 0);
	rig.fe->ring[1].kick = mine;
	close(other);
	rig_close(&rig);
}

/* A front end that keeps our in-flight table goes to another server. */
static void inflight_table(void)
{
	const struct fe_opts o = { .ring_size = 16, .handshake_only = true,
				   .pf_mask = VHU_PF_MQ | VHU_PF_REPLY_ACK |
					      VHU_PF_INFLIGHT_SHMFD };
	struct vhu_inflight table = { .queues = 2, .ring_size = 16 };
	struct rig_io io[5];
	struct rig other;
	int fd = -1;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(fe_begin_inflight(rig.fe, &table, &fd), 0);
	CHECK(table.size >= 2 * 16 * 16);
	for (int i = 0; i < 7; i++)
		CHECK_EQ(rig_echo_once(rig.fe, 1, 99), 0);
	RIG_SET(rig.hold, true);
	for (unsigned int i = 0; i < 5; i++) {
		CHECK_EQ(rig_io_new(rig.fe, &io[i], 100, (uint8_t)i), 0);
		CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io[i], 1), 0);
	}
	fe_kick(&rig.fe->ring[1]);
	RIG_UNTIL(rig_held_now(&rig) == 5);
	/*
	 * That server is stuck for good, and has let go of the rings: two that
	 * look at one take each other's requests. The next has another arena.
	 */
	CHECK_EQ(rig_open(&other, 1), 0);
	CHECK_EQ(rig_serve_socket(&other), 0);
	close(rig.fe->sock);
	CHECK_EQ(pthread_join(rig.thread, NULL), 0);
	rig.running = false;
	rig.fe->sock = other.sock[1];
	other.sock[1] = -1;
	CHECK_EQ(fe_negotiate(rig.fe), 0);
	CHECK_EQ(fe_begin_inflight(rig.fe, &table, &fd), 0);
	for (unsigned int i = 0; i < 5; i++) {
		CHECK_EQ(rig_reap(&rig.fe->ring[1], 1), 0);
		CHECK(io[i].done);
	}
	CHECK_EQ(RIG_GET(other.again), 5);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 99), 0);
	CHECK_EQ(RIG_GET(other.events[VU_EVENT_PROTOCOL]), 0);
	rig_hang_up(&rig);
	rig_release(&rig);
	rig_close(&rig);
	rig_close(&other);
	close(fd);
}

/* The front end maps its memory privately: we see none of it. */
static void not_shared(void)
{
	const struct fe_opts o = { .ring_size = 32, .mem_size = 8 << 20 };
	struct fe_region *m;
	struct rig_io io;

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	m = &rig.fe->region[0];
	CHECK(mmap(m->map, m->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_FIXED, m->fd, 0) == m->map);
	CHECK(ftruncate(m->fd, 0) == 0);
	CHECK(ftruncate(m->fd, (off_t)m->size) == 0);
	CHECK_EQ(rig_io_new(rig.fe, &io, 64, 1), 0);
	CHECK_EQ(rig_io_push(&rig.fe->ring[1], &io, 1), 0);
	for (int i = 0; i < 45; i++) {
		fe_kick_always(&rig.fe->ring[1]);
		usleep(100000);
	}
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_NOT_SHARED]), 1);
	rig_close(&rig);
}

/* QEMU kicks before the driver has put anything there. */
static void early_kick(void)
{
	const struct fe_opts o = { .ring_size = 32, .mem_size = 8 << 20 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	/* A guest's memory is never all zero. */
	memcpy(rig.fe->region[0].map + (1 << 20), "kernel", 6);
	for (int i = 0; i < 2; i++) {
		fe_kick_always(&rig.fe->ring[1]);
		usleep(1250000);
	}
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_NOT_SHARED]), 0);
	CHECK_EQ(rig_echo_once(rig.fe, 1, 99), 0);
	rig_close(&rig);
}

static void no_descriptors(void)
{
	const struct fe_opts o = { .handshake_only = true };
	struct vhu_mem_table table = { .nr = 1 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	table.region[0].size = 4096;
	for (int i = 0; i < 2; i++)
		CHECK_EQ(fe_set(rig.fe, VHU_SET_MEM_TABLE, &table, 40, NULL,
				0), -EREMOTEIO);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_NOT_SHARED]), 1);
	rig_close(&rig);
}

/* memory-backend-ram: QEMU names no region at all, and starts its rings. */
static void no_regions(void)
{
	const struct fe_opts o = { .ring_size = 32 };
	struct vhu_mem_table table = { .nr = 0 };
	struct vhu_state enable = { .index = 1 };

	CHECK_EQ(rig_open(&rig, 1), 0);
	CHECK_EQ(rig_connect(&rig, &o), 0);
	CHECK_EQ(fe_set(rig.fe, VHU_SET_VRING_ENABLE, &enable, 8, NULL, 0), 0);
	fe_set(rig.fe, VHU_SET_MEM_TABLE, &table, 8, NULL, 0);
	enable.num = 1;
	fe_set(rig.fe, VHU_SET_VRING_ENABLE, &enable, 8, NULL, 0);
	CHECK_EQ(RIG_GET(rig.events[VU_EVENT_NOT_SHARED]), 1);
	rig_close(&rig);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "the handshake", handshake },
		{ "rings of each size and feature", ring_shapes },
		{ "chains of many descriptors", long_chains },
		{ "indices wrap around", index_wraps },
		{ "64 request queues", many_queues },
		{ "memory in several regions", regions },
		{ "memory is plugged in while rings run", hot_plug },
		{ "unplug in use", unplug_in_use },
		{ "stop and resume", stop_and_resume },
		{ "disable and enable", disable_and_enable },
		{ "a guest that reboots", guest_reboots },
		{ "RESET_DEVICE", device_reset },
		{ "front ends one after the other", reconnects },
		{ "a completed request is progress", progress },
		{ "stopped by us", stopped_by_us },
		{ "the call descriptor changes", call_changes },
		{ "the kick descriptor changes", kick_changes },
		{ "another server goes on by the in-flight table",
		  inflight_table },
		{ "memory that is not shared is reported", not_shared },
		{ "a kick before the first request", early_kick },
		{ "regions without descriptors", no_descriptors },
		{ "no region at all", no_regions },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
