/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_VHOSTUSER_INTERNAL_H
#define VMSHARE_VHOSTUSER_INTERNAL_H

/*
 * What the files of this room share. Who may touch what:
 *
 * - the connection's thread (vu_run) alone changes struct vu_state, the memory
 *   table and which rings run;
 * - a lane's leader alone reads the available rings of its live queues (first
 *   part of struct vu_queue), between consumer->start() and the return of
 *   consumer->stop();
 * - whoever holds vu_queue.lock writes its used ring (second part).
 *
 * There are two kinds of lock, and neither is taken under the other:
 * vu_queue.lock is held for a few stores, and over the write of an eventfd
 * where a ring breaks; bus_lock (bus.c) covers the list of mappings and
 * the sigaction() that makes it work.
 */

#include "base/base.h"
#include "vhostuser/vhostuser.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

#define VU_MAX_RING	CHAIN_MAX_DESC
#define VU_MAX_SLOTS	509	/* memory regions on offer */
#define VU_MAX_FDS	8	/* with one message */

/* Feature bits that no header of this age has under one name. */
#define VU_F_LOG_ALL		26
#define VU_F_VERSION_1		32
#define VU_F_PROTOCOL_FEATURES	30

/* Between threads, or between us and a guest, where order is said elsewhere. */
#define vu_load(p)	__atomic_load_n(p, __ATOMIC_RELAXED)
#define vu_store(p, v)	__atomic_store_n(p, v, __ATOMIC_RELAXED)

/* ---- messages ---------------------------------------------------------- */

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_REQUEST_COUNT
};

#define VU_FLAG_VERSION		0x1u
#define VU_FLAG_VERSION_MASK	0x3u
#define VU_FLAG_REPLY		0x4u
#define VU_FLAG_NEED_REPLY	0x8u

/* The u64 of SET_VRING_KICK, _CALL and _ERR. */
#define VU_VRING_INDEX_MASK	0xffu
#define VU_VRING_NOFD		0x100u

struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

struct vu_vring_number {
	uint32_t index;
	uint32_t num;
};

struct vu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;		/* front end's user addresses */
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vu_memory_region {
	uint64_t gpa;		/* guest-physical */
	uint64_t size;
	uint64_t uva;		/* in the front end */
	uint64_t offset;	/* in its file */
};

struct vu_memory {
	uint32_t nr;
	uint32_t padding;
	struct vu_memory_region region[VU_MAX_FDS];
};

struct vu_memory_single {
	uint64_t padding;
	struct vu_memory_region region;
};

struct vu_inflight_message {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
};

/* A part of a descriptor that both sides map. */
struct vu_log_message {
	uint64_t mmap_size;
	uint64_t mmap_offset;
};

union vu_payload {
	uint64_t u64;
	struct vu_vring_number vring;
	struct vu_vring_addr addr;
	struct vu_memory memory;
	struct vu_memory_single single;
	struct vu_inflight_message inflight;
	struct vu_log_message log;
};

struct vu_message {
	struct vu_header head;
	union vu_payload payload;
} __attribute__((packed, aligned(4)));

/* ---- state that outlives a worker (ARENA_DEVICE) ----------------------- */

#define VU_STATE_VERSION 4

/* Where the one message in work stands. */
enum vu_stage {
	VU_STAGE_RECEIVE,	/* "got" bytes of it are here */
	VU_STAGE_HANDLE,	/* complete; handlers can be run twice */
	VU_STAGE_REPLY,		/* done; a reply is owed */
	VU_STAGE_DONE,		/* to be forgotten */
};

#define VU_UNMOVED (~0u)	/* in io.msg_len: no bytes moved yet */

/*
 * The kernel stores io.msg_len in the same system call that moves the bytes,
 * so a worker that was killed at any instruction leaves behind whether they
 * moved. The pointers in io are valid during the call only.
 */
struct vu_exchange {
	uint32_t stage;
	uint32_t got;		/* bytes of message received */
	uint32_t base;		/* "got" before the receive under way */
	uint32_t nr_fds;
	int32_t fds[VU_MAX_FDS]; /* -1: taken by its handler */
	uint64_t seq;		/* counts messages */
	struct vu_message message;
	struct vu_message reply;
	uint32_t sent;		/* bytes of reply sent */
	uint32_t sent_base;
	int32_t reply_fd;	/* closed once sent */
	struct mmsghdr io;
	_Alignas(8) char control[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
};

struct vu_region_state {
	struct vu_memory_region at;
	int32_t fd;
	uint32_t padding;
};

/* A memory table; the one that is not active is rewritten, then activated. */
struct vu_table_state {
	uint64_t seq;		/* message that made it */
	uint32_t nr;
	uint32_t padding;
	struct vu_region_state region[VU_MAX_SLOTS];
};

struct vu_log_state {
	struct vu_log_message at;
	int32_t fd;		/* -1: none */
	uint32_t padding;
};

struct vu_vring_state {
	struct vu_vring_addr addr;
	uint32_t num;
	bool have_num, have_addr, have_kick;
	bool have_base;		/* SET_VRING_BASE since the last start */
	bool enabled;
	bool running;		/* as the front end sees it */
	bool broken;		/* until it is set up anew */
	bool call_on;		/* call leads to the front end */
	bool used_once;		/* resume_* describe an earlier run */
	int32_t kick;		/* -1: none, the ring is polled */
	int32_t call;		/* fixed number, replaced by dup3() */
	int32_t err;
	uint32_t base;		/* next available index when it starts */
	uint32_t skew;		/* available - used - in flight */
	uint32_t epoch;		/* set-ups so far */
	/* What must be unchanged for a stopped ring to be resumed. */
	struct vu_vring_addr resume_addr;
	uint32_t resume_num;
	uint32_t resume_base;
};

struct vu_state {
	bool ready;		/* initialised */
	bool connected;		/* a front end is being served */
	bool greeted;		/* VU_EVENT_CONNECTED was sent */
	bool driver;		/* VU_EVENT_DRIVER was sent */
	bool warned;		/* VU_EVENT_NOT_SHARED was sent */
	uint64_t features;
	uint64_t protocol;
	uint32_t active;	/* memory table in use */
	int32_t inflight_fd;	/* front end's in-flight table or -1 */
	int32_t kept_fd;	/* of one that left and may come back, or -1 */
	bool left;		/* it has: to be settled by the next worker */
	uint32_t progressed;	/* atomic, any thread: vu_progressed() */
	struct vu_inflight_message inflight;
	uint32_t log_active;	/* log in use; the other is being made */
	uint32_t padding;
	struct vu_log_state log[2];
	struct vu_exchange exchange;
	struct vu_table_state table[2];
	struct vu_vring_state vring[CHAIN_MAX_QUEUES];
};

ARENA_LAYOUT(VU_STATE_VERSION, struct vu_state, 49936);

/* ---- progress of a ring (ARENA_RINGS or the front end's in-flight table)  */

/*
 * The split layout of VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD, its padding used
 * for what we know besides. One 64-bit store, of a union vu_word, moves a head
 * from one state to the next: 1 in flight or 0 the guest's, enum vu_progress,
 * and once it is done the length written and its used index ("next" in the
 * standard).
 */
enum vu_progress {
	VU_TAKEN,		/* popped, not pushed */
	VU_DONE,		/* pushed, its used element is written */
	VU_PARKED,		/* pushed while the ring was stopped */
};

struct vu_head {
	uint64_t word;
	uint64_t counter;	/* order of taking */
};

struct vu_inflight {
	uint64_t features;
	uint16_t version;
	uint16_t num;
	uint16_t last_batch;	/* of the standard; unused here */
	uint16_t used_idx;	/* all before it is, or is to be, published */
	struct vu_head head[VU_MAX_RING];
};

ARENA_LAYOUT(VU_RINGS_VERSION, struct vu_inflight, 16400);

#define VU_INFLIGHT_BYTES(num) \
	(offsetof(struct vu_inflight, head) + (num) * sizeof(struct vu_head))
#define VU_RINGS_VERSION 2

/* From one queue's struct vu_inflight in the arena to the next. */
#define VU_RING_STRIDE ((sizeof(struct vu_inflight) + 63) & ~(size_t)63)

union vu_word {
	struct {
		uint8_t in_flight;
		uint8_t progress;
		uint32_t len;
		uint16_t used;
	} __attribute__((packed));
	uint64_t whole;
};

static inline uint64_t vu_word(enum vu_progress p, uint32_t len, uint16_t used)
{
	const union vu_word w = { { 1, (uint8_t)p, len, used } };

	return w.whole;
}

static inline enum vu_progress vu_word_progress(uint64_t word)
{
	return (enum vu_progress)(union vu_word){ .whole = word }.progress;
}

static inline uint32_t vu_word_len(uint64_t word)
{
	return (union vu_word){ .whole = word }.len;
}

static inline uint16_t vu_word_used(uint64_t word)
{
	return (union vu_word){ .whole = word }.used;
}

/* ---- guest memory ------------------------------------------------------ */

/* One mapped region; tables share it, the connection's thread counts them. */
struct vu_region {
	struct vu_memory_region at;
	char *host;		/* of at.gpa */
	void *map;
	size_t map_len;
	size_t block;		/* page size of its file */
	unsigned int tables;
	unsigned int bus;	/* entry in the SIGBUS table */
	dev_t st_dev;
	ino_t st_ino;
};

struct vu_span {
	uint64_t gpa, size;
	char *host;
	struct vu_region *region;
};

/* Immutable once published; sorted by gpa. */
struct vu_table {
	struct vu_table *next;	/* retired after it */
	unsigned int unseen;	/* parities not seen idle since then */
	unsigned int nr;
	struct vu_span span[];
};

/* Bytes of a used ring, its event index included. */
#define VU_USED_BYTES(num) (6 + 8 * (num))

/* Where a ring is mapped. */
struct vu_ring_map {
	void *desc, *avail, *used;
};

/* ---- queues ------------------------------------------------------------ */

/* Tries that are skipped 1, 3, 7, ... times after one that did not pay. */
struct vu_backoff {
	unsigned int skip;		/* still to be skipped */
	unsigned int skipped;		/* in all after the last try */
};

/* Of each queue, as large as a ring can be: apart, since most are not used. */
struct vu_queue_lists {
	uint16_t again[VU_MAX_RING], pending[VU_MAX_RING];
};

struct vu_queue {
	struct vu_device *dev;
	unsigned int index;
	struct vu_vring_state *st;
	struct vu_inflight *inflight;	/* changed under lock */
	struct vu_lane *lane;

	/* Fixed while the ring runs. */
	struct vu_ring_map map;
	unsigned int num;
	bool event_idx, indirect;
	struct vring_desc *desc;
	uint16_t *avail_flags, *avail_idx, *avail_ring, *used_event;
	uint16_t *used_flags, *used_idx_mem, *avail_event;
	struct vring_used_elem *used_ring;
	uint64_t used_gpa;
	uint32_t epoch;
	bool adopt;		/* heads in flight are an earlier worker's */

	/* The connection's thread tells the leader. */
	_Alignas(64) bool live;		/* atomic; taken from */
	bool broken;			/* atomic; set by the leader too */

	/* The connection's thread's; see watch.c. */
	uint32_t watched_at;		/* taken and done, in the last round */
	bool idle;			/* not in use then; atomic, set before
					 * its leader is woken */

	/* The leader's. */
	_Alignas(64) uint16_t last_avail;	/* next to take */
	uint16_t shadow_avail;		/* available index last read */
	bool moved;			/* something was ever taken */
	bool kick_told;
	uint64_t counter;
	uint32_t taken[2];		/* atomic; chains by parity */
	bool concurrent;		/* atomic; the driver runs meanwhile */
	unsigned int nr_again, next_again;
	uint16_t *again;		/* heads to hand out once more */

	/* Under lock. */
	_Alignas(64) pthread_mutex_t lock;
	bool running;
	bool signalled_valid;
	uint16_t used_next;		/* used index of the next push */
	uint16_t used_idx;		/* published */
	uint16_t signalled;		/* used index last looked at */
	unsigned int nr_pending;
	unsigned int gathered;		/* pushed since the last publishing */
	int64_t first;			/* ns; when that began */
	uint32_t done[2];		/* atomic; chains by parity */
	uint16_t *pending;		/* heads pushed, not published */
};

/* Whether the leader takes from it; not when broken, until it starts anew. */
static inline bool vu_queue_live(const struct vu_queue *q)
{
	return __atomic_load_n(&q->live, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&q->broken, __ATOMIC_ACQUIRE);
}

/* What one leader takes from; see CHAIN_LANE and lane.c. */
struct vu_lane {
	struct vu_device *dev;
	unsigned int index;
	unsigned int nr;
	struct vu_queue *queue[2];
	int epoll, wake;
	bool led;			/* the connection's thread's */
	_Alignas(64) bool stopping;	/* atomic */
	/* The leader's. */
	unsigned int turn;		/* queue that is asked first */
	struct vu_backoff busy;	/* busy-polls */
	int64_t found;		/* when work was, if a busy-poll may be next */
};

static inline bool vu_lane_over(const struct vu_lane *l)
{
	return __atomic_load_n(&l->stopping, __ATOMIC_ACQUIRE);
}

struct vu_device {
	size_t size;			/* of this structure */
	struct vu_config config;
	void *consumer_ctx;
	struct vu_state *state;		/* in the arena */
	char *rings;			/* in the arena */
	unsigned int nr_queues;
	int sock;
	int wake;			/* connection thread's eventfd */
	int null;			/* where absent calls lead */
	bool stop;			/* atomic */
	bool adopted;			/* state of an earlier worker */
	bool membarrier;
	bool suspect;			/* atomic; an unused ring, kicked */
	bool memory_lost;		/* atomic; set in the SIGBUS handler */
	int64_t suspect_since;		/* ms */
	int64_t partial_since;		/* ms; a message began; 0: none */
	uint64_t partial_seq;		/* which */
	bool watching;			/* atomic; a ring has moved */
	int64_t watch_due;		/* ms; 0: not yet said */
	char *inflight_map;		/* front end's table */
	size_t inflight_len;
	unsigned int inflight_bus;
	struct log_limit broken_limit, protocol_limit;
	/* Atomic pointer: the dirty log in use; see vu_dirty_log(). */
	struct vu_log *log;
	struct vu_log *log_mapped;	/* in use or not */
	/* Atomic pointer; NULL without memory. */
	struct vu_table *table;
	struct vu_table *retired;
	/* Atomic; which of taken[] and done[] new chains count in. */
	unsigned int parity;
	struct vu_lane lane[CHAIN_LANES(CHAIN_MAX_QUEUES)];
	struct vu_queue queue[];
};

/*
 * Wake whoever waits for an eventfd. EAGAIN: so many wake-ups are due that one
 * more is none. Async-signal-safe.
 */
static inline void vu_wake(int eventfd)
{
	static const uint64_t one = 1;

	if (write(eventfd, &one, sizeof(one)) < 0)
		return;
}

static inline void vu_tell(struct vu_device *dev, enum vu_event event,
			   int queue, const char *text)
{
	if (dev->config.event)
		dev->config.event(dev->config.event_ctx, event, queue, text);
}

/* The front end keeps its memory private: once is enough to say so. */
static inline void vu_tell_private(struct vu_device *dev, const char *text)
{
	if (dev->state->warned)
		return;
	dev->state->warned = true;
	vu_tell(dev, VU_EVENT_NOT_SHARED, -1, text);
}

/* proto.c */
int vu_proto_receive(struct vu_exchange *x, int sock);
int vu_proto_reply(struct vu_exchange *x, int sock);
void vu_proto_reply_fd(struct vu_exchange *x, int fd);
void vu_proto_settle(struct vu_exchange *x);
void vu_proto_done(struct vu_exchange *x);

/* message.c */
int vu_message_handle(struct vu_device *dev, struct vu_exchange *x);
void vu_inflight_drop(struct vu_device *dev);
int vu_inflight_map(struct vu_device *dev);
struct vu_inflight *vu_inflight_of(struct vu_device *dev, unsigned int q,
				   unsigned int num);

/* device.c */
void vu_device_stop(struct vu_device *dev);
void vu_device_reset(struct vu_device *dev);
void vu_device_claim(struct vu_device *dev);

/* memmap.c */
int vu_mem_set(struct vu_device *dev, const struct vu_memory *m,
	       struct vu_exchange *x);
int vu_mem_add(struct vu_device *dev, const struct vu_memory_region *at,
	       struct vu_exchange *x);
int vu_mem_remove(struct vu_device *dev, const struct vu_memory_region *at,
		  struct vu_exchange *x);
void vu_mem_close(struct vu_device *dev);
void vu_mem_clear(struct vu_device *dev);
int vu_mem_adopt(struct vu_device *dev);
bool vu_mem_reclaim(struct vu_device *dev);
void *vu_mem_user(const struct vu_table *t, uint64_t uva, uint64_t len);
int vu_mem_shared(struct vu_device *dev, int fd, uint64_t size, uint64_t offset,
		  void **map, unsigned int *bus);
void vu_mem_unshare(void *map, uint64_t size, unsigned int bus);
bool vu_mem_gpa(const struct vu_table *t, const void *host, uint64_t *gpa,
		uint64_t *len);
void *vu_mem_guest(const struct vu_table *t, uint64_t gpa, uint64_t *len);
bool vu_mem_untouched(const struct vu_device *dev);
void vu_mem_mend(struct vu_device *dev);

/* dirty.c */
/* The log in use, or NULL. What is done with it is under a queue's lock. */
static inline struct vu_log *vu_dirty_log(const struct vu_device *dev)
{
	return __atomic_load_n(&dev->log, __ATOMIC_ACQUIRE);
}

void vu_dirty_chain(struct vu_queue *q, const struct chain *c, size_t len);
void vu_dirty_used(struct vu_queue *q);
void vu_dirty_update(struct vu_device *dev);
int vu_dirty_set(struct vu_device *dev, const struct vu_log_message *at,
		 struct vu_exchange *x);
int vu_dirty_adopt(struct vu_device *dev);
void vu_dirty_drop(struct vu_device *dev);
void vu_dirty_close(struct vu_device *dev);

/* bus.c */
#define VU_BUS_NONE (~0u)
int vu_bus_open(void);
int vu_bus_add(void *map, size_t len, size_t block, bool *flag, int wake,
	       unsigned int *slot);
void vu_bus_del(unsigned int slot);

/* lane.c */
void vu_lane_open(struct vu_queue *q);
void vu_lane_close(struct vu_lane *l);
int vu_lane_prepare(struct vu_lane *l);
int vu_lane_join(struct vu_queue *q);
void vu_lane_leave(struct vu_queue *q);
void vu_lane_halt(struct vu_lane *l);
void vu_lane_watch(struct vu_queue *q, int kick);
void vu_lane_wake(struct vu_lane *l);

/* virtqueue.c */
bool vu_ring_look(struct vu_queue *q);
int vu_ring_pop(struct vu_queue *q, struct chain *c);
void vu_ring_push(struct vu_queue *q, uint16_t head, uint32_t len);
bool vu_ring_publish(struct vu_queue *q);
bool vu_ring_unseen(struct vu_queue *q);
bool vu_ring_arm(struct vu_queue *q, uint16_t after);
void vu_ring_disarm(struct vu_queue *q);
void vu_ring_recover(struct vu_queue *q, bool resume);

/* wait.c */
int vu_wait(struct vu_lane *l);

/* watch.c */
void vu_watch_begin(struct vu_device *dev);
int vu_watch(struct vu_device *dev);

/* queue.c */
int vu_queue_open(struct vu_device *dev, unsigned int q,
		  struct vu_queue_lists *lists);
void vu_queue_forget(struct vu_queue *q);
int vu_queue_try_start(struct vu_queue *q);
void vu_queue_stop(struct vu_queue *q);
int vu_queue_map(struct vu_queue *q, const struct vu_table *t, bool set);
void vu_queue_break(struct vu_queue *q, const char *fmt, ...)
	PRINTF_LIKE(2, 3);
void vu_queue_signal(struct vu_queue *q);
void vu_queue_signal_again(struct vu_queue *q);

#endif
