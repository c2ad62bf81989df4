/* SPDX-License-Identifier: MIT */
/*
 * What each message of the front end means.
 *
 * One table says what a request may look like: payload size, descriptors,
 * whether it has an answer of its own. Whatever does not fit is refused before
 * its handler runs. A refused message that asked for an acknowledgement gets an
 * errno; any other ends the connection, since the front end would go on as if
 * we had understood; but not when it is the guest's words that were refused.
 *
 * A handler can run twice for one message, when the worker is killed before the
 * stage is changed: it must come to the same end. Descriptors are therefore
 * entered into the state first, then struck off the message, and only then is
 * what they replace closed. Everything here runs in the connection's thread.
 */

#include "vhostuser/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define FEATURES                                                       \
	(1ull << VU_F_VERSION_1 | 1ull << VU_F_PROTOCOL_FEATURES |     \
	 1ull << VIRTIO_RING_F_INDIRECT_DESC |                         \
	 1ull << VIRTIO_RING_F_EVENT_IDX)

#define PROTOCOL_MQ		(1ull << 0)
#define PROTOCOL_LOG_SHMFD	(1ull << 1)
#define PROTOCOL_REPLY_ACK	(1ull << 3)
#define PROTOCOL_INFLIGHT	(1ull << 12)
#define PROTOCOL_RESET_DEVICE	(1ull << 13)
#define PROTOCOL_MEM_SLOTS	(1ull << 15)
#define PROTOCOL                                                       \
	(PROTOCOL_MQ | PROTOCOL_REPLY_ACK | PROTOCOL_INFLIGHT |        \
	 PROTOCOL_RESET_DEVICE | PROTOCOL_MEM_SLOTS)

/* A request in work; a handler with an answer fills in reply. */
struct vu_call {
	struct vu_device *dev;
	struct vu_exchange *x;
	union vu_payload *in, *out;
	uint16_t answer;	/* bytes of out */
	bool guest;		/* out: it is the guest that was refused */
};

static struct vu_queue *call_queue(struct vu_call *c, uint64_t index)
{
	return index < c->dev->nr_queues ? &c->dev->queue[index] : NULL;
}

/* Make @fd of the message ours: from here on only the state has it. */
static void take_fd(struct vu_call *c, int32_t *where)
{
	int old = *where, fd = c->x->nr_fds ? c->x->fds[0] : -1;

	if (c->x->nr_fds && fd < 0)
		return;		/* taken before a crash */
	vu_store(where, fd);
	arena_commit();
	c->x->fds[0] = -1;
	arena_commit();
	if (old >= 0 && old != fd)
		close(old);
}

/*
 * A ring's size and place are what the guest wrote into its registers, passed
 * on by a front end that asks for no acknowledgement. What can't be is a ring
 * that does not start; who is to blame has no use of it.
 */
static int blame_guest(struct vu_call *c, int err)
{
	c->guest = true;
	return err;
}

static int try_start(struct vu_call *c, struct vu_queue *q)
{
	int r = vu_queue_try_start(q);

	return r == -EFAULT ? blame_guest(c, r) : r;
}

/* ---- features ---------------------------------------------------------- */

/* On offer: what a migration needs only where the consumer can be moved. */
static uint64_t features_offered(const struct vu_device *dev)
{
	return FEATURES | (dev->config.moves ? 1ull << VU_F_LOG_ALL : 0);
}

static uint64_t protocol_offered(const struct vu_device *dev)
{
	return PROTOCOL | (dev->config.moves ? PROTOCOL_LOG_SHMFD : 0);
}

static int get_features(struct vu_call *c)
{
	c->out->u64 = features_offered(c->dev);
	return 0;
}

static int set_features(struct vu_call *c)
{
	struct vu_state *s = c->dev->state;
	uint64_t f = c->in->u64;
	uint64_t changed = (f ^ s->features) & ~(1ull << VU_F_LOG_ALL);
	int r, err = 0;

	if (f & ~features_offered(c->dev))
		return -EINVAL;
	for (unsigned int i = 0; i < c->dev->nr_queues; i++)
		if (c->dev->queue[i].running && changed)
			return -EBUSY;
	s->features = f;
	vu_dirty_update(c->dev);
	if (f & 1ull << VU_F_PROTOCOL_FEATURES)
		return 0;
	/* Without SET_VRING_ENABLE every ring is enabled. */
	for (unsigned int i = 0; i < c->dev->nr_queues; i++) {
		s->vring[i].enabled = true;
		r = try_start(c, &c->dev->queue[i]);
		err = err ? err : r;
	}
	return err;
}

static int get_protocol_features(struct vu_call *c)
{
	c->out->u64 = protocol_offered(c->dev);
	return 0;
}

static int set_protocol_features(struct vu_call *c)
{
	if (c->in->u64 & ~protocol_offered(c->dev))
		return -EINVAL;
	c->dev->state->protocol = c->in->u64;
	return 0;
}

static int set_owner(struct vu_call *c)
{
	(void)c;
	return 0;
}

static int get_queue_num(struct vu_call *c)
{
	c->out->u64 = c->dev->nr_queues;
	return 0;
}

/* ---- memory ------------------------------------------------------------ */

static int set_mem_table(struct vu_call *c)
{
	const struct vu_memory *m = &c->in->memory;
	uint32_t size = c->x->message.head.size;

	if (m->nr > VU_MAX_FDS ||
	    size < offsetof(struct vu_memory, region[m->nr]))
		return -EINVAL;
	if (m->nr != c->x->nr_fds) {
		if (!c->x->nr_fds)
			vu_tell_private(c->dev,
					"memory regions without descriptors");
		return -EINVAL;
	}
	return vu_mem_set(c->dev, m, c->x);
}

static int set_log_base(struct vu_call *c)
{
	/* The answer is the same once more. */
	c->out->log = c->in->log;
	return vu_dirty_set(c->dev, &c->in->log, c->x);
}

static int get_max_mem_slots(struct vu_call *c)
{
	c->out->u64 = VU_MAX_SLOTS;
	return 0;
}

static int add_mem_reg(struct vu_call *c)
{
	return vu_mem_add(c->dev, &c->in->single.region, c->x);
}

static int rem_mem_reg(struct vu_call *c)
{
	return vu_mem_remove(c->dev, &c->in->single.region, c->x);
}

/* ---- rings ------------------------------------------------------------- */

static int set_vring_num(struct vu_call *c)
{
	struct vu_queue *q = call_queue(c, c->in->vring.index);
	uint32_t num = c->in->vring.num;

	if (!q)
		return -EINVAL;
	if (q->running)
		return num == q->num ? 0 : -EBUSY;
	q->st->have_num = false;
	if (!num || num > VU_MAX_RING || num & (num - 1))
		return blame_guest(c, -EINVAL);
	q->st->num = num;
	q->st->have_num = true;
	return 0;
}

static int set_vring_addr(struct vu_call *c)
{
	struct vu_queue *q = call_queue(c, c->in->addr.index);
	struct vu_vring_addr *a = &c->in->addr;

	if (!q)
		return -EINVAL;
	if (q->running)
		return a->desc == q->st->addr.desc &&
		       a->avail == q->st->addr.avail &&
		       a->used == q->st->addr.used ? 0 : -EBUSY;
	q->st->have_addr = false;
	if (a->desc & 15 || a->avail & 1 || a->used & 3)
		return blame_guest(c, -EINVAL);
	q->st->addr = *a;
	q->st->addr.flags = 0;
	q->st->addr.log = 0;
	q->st->have_addr = true;
	return try_start(c, q);
}

static int set_vring_base(struct vu_call *c)
{
	struct vu_queue *q = call_queue(c, c->in->vring.index);

	if (!q || c->in->vring.num > UINT16_MAX)
		return -EINVAL;
	if (q->running)
		return -EBUSY;
	q->st->base = c->in->vring.num;
	q->st->have_base = true;
	return 0;
}

static int get_vring_base(struct vu_call *c)
{
	struct vu_queue *q = call_queue(c, c->in->vring.index);
	int kick;

	if (!q)
		return -EINVAL;
	vu_queue_stop(q);
	q->st->have_kick = false;
	kick = q->st->kick;
	vu_store(&q->st->kick, -1);
	if (kick >= 0)
		close(kick);
	c->out->vring.index = q->index;
	c->out->vring.num = q->st->base;
	return 0;
}

/* The queue that KICK, CALL and ERR name, or NULL. */
static struct vu_queue *vring_fd_queue(struct vu_call *c)
{
	uint64_t value = c->in->u64;
	unsigned int want = value & VU_VRING_NOFD ? 0 : 1;

	if (value & ~(uint64_t)(VU_VRING_INDEX_MASK | VU_VRING_NOFD) ||
	    c->x->nr_fds != want)
		return NULL;
	return call_queue(c, value & VU_VRING_INDEX_MASK);
}

static int set_vring_kick(struct vu_call *c)
{
	struct vu_queue *q = vring_fd_queue(c);

	if (!q)
		return -EINVAL;
	if (q->running && !(c->x->nr_fds && c->x->fds[0] < 0))
		vu_lane_watch(q, c->x->nr_fds ? c->x->fds[0] : -1);
	take_fd(c, &q->st->kick);
	if (q->running && q->st->kick < 0)
		vu_lane_wake(q->lane);	/* to go over to polling */
	q->st->have_kick = true;
	return try_start(c, q);
}

/*
 * The number that threads write to never changes once there is one: another
 * descriptor is put behind it.
 */
static int set_vring_call(struct vu_call *c)
{
	struct vu_queue *q = vring_fd_queue(c);
	int fd = c->x->nr_fds ? c->x->fds[0] : -1;

	if (!q)
		return -EINVAL;
	if (!c->x->nr_fds) {
		__atomic_store_n(&q->st->call_on, false, __ATOMIC_RELEASE);
		if (q->st->call >= 0)
			dup3(c->dev->null, q->st->call, O_CLOEXEC);
		return 0;
	}
	if (fd >= 0 && q->st->call >= 0 && q->st->call != fd) {
		if (dup3(fd, q->st->call, O_CLOEXEC) < 0)
			return -errno;
		c->x->fds[0] = -1;
		arena_commit();
		close(fd);
	} else {
		take_fd(c, &q->st->call);
	}
	__atomic_store_n(&q->st->call_on, true, __ATOMIC_RELEASE);
	/* What was published while there was none must not wait for more. */
	if (q->running)
		vu_queue_signal_again(q);
	return 0;
}

static int set_vring_err(struct vu_call *c)
{
	struct vu_queue *q = vring_fd_queue(c);

	if (!q)
		return -EINVAL;
	/* A leader that breaks its queue writes there, under this lock. */
	pthread_mutex_lock(&q->lock);
	take_fd(c, &q->st->err);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

static int set_vring_enable(struct vu_call *c)
{
	struct vu_queue *q = call_queue(c, c->in->vring.index);
	int r;

	if (!q || c->in->vring.num > 1)
		return -EINVAL;
	if (!(c->dev->state->features & 1ull << VU_F_PROTOCOL_FEATURES))
		return -EINVAL;
	q->st->enabled = c->in->vring.num;
	if (!q->st->enabled) {
		vu_queue_stop(q);
		return 0;
	}
	r = try_start(c, q);
	if (r < 0)
		q->st->enabled = false;
	return r;
}

/* ---- reset ------------------------------------------------------------- */

static int reset_owner(struct vu_call *c)
{
	/* Deprecated: front ends that send it mean "disable all rings". */
	vu_device_stop(c->dev);
	return 0;
}

static int reset_device(struct vu_call *c)
{
	vu_device_reset(c->dev);
	vu_tell(c->dev, VU_EVENT_RESET, -1, "");
	return 0;
}

/* ---- in-flight table of the front end ---------------------------------- */

static uint64_t inflight_stride(const struct vu_inflight_message *m)
{
	return (VU_INFLIGHT_BYTES((uint64_t)m->queue_size) + 63) & ~63ull;
}

static bool inflight_sane(const struct vu_device *dev,
			  const struct vu_inflight_message *m)
{
	return m->num_queues && m->num_queues <= dev->nr_queues &&
	       m->queue_size && m->queue_size <= VU_MAX_RING;
}

static int get_inflight_fd(struct vu_call *c)
{
	struct vu_inflight_message *m = &c->out->inflight;
	struct vu_inflight head = { .version = 1 };
	uint64_t stride;
	int fd, err;

	if (!inflight_sane(c->dev, &c->in->inflight))
		return -EINVAL;
	*m = c->in->inflight;
	stride = inflight_stride(m);
	m->mmap_size = stride * m->num_queues;
	m->mmap_offset = 0;
	fd = memfd_create("vmshare-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	head.num = m->queue_size;
	if (ftruncate(fd, (off_t)m->mmap_size) < 0)
		goto fail;
	for (unsigned int i = 0; i < m->num_queues; i++)
		if (lseek(fd, (off_t)(stride * i), SEEK_SET) < 0 ||
		    write(fd, &head, offsetof(struct vu_inflight, head)) < 0)
			goto fail;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		goto fail;
	vu_proto_reply_fd(c->x, fd);
	/* Front ends differ in whether they count the padding. */
	c->answer = (uint16_t)c->x->message.head.size;
	return 0;
fail:
	err = -errno;
	close(fd);
	return err;
}

/**
 * vu_inflight_map() - keep rings' progress in the table of the front end
 *
 * From the state's descriptor and description; no ring runs, or none since
 * this process started. Return: 0 or -errno.
 */
int vu_inflight_map(struct vu_device *dev)
{
	struct vu_inflight_message *m = &dev->state->inflight;
	void *map;
	int r;

	if (!inflight_sane(dev, m) ||
	    m->mmap_size < inflight_stride(m) * m->num_queues)
		return -EINVAL;
	r = vu_mem_shared(dev, dev->state->inflight_fd, m->mmap_size,
			  m->mmap_offset, &map, &dev->inflight_bus);
	if (r < 0)
		return r;
	dev->inflight_map = map;
	dev->inflight_len = m->mmap_size;
	return 0;
}

/** vu_inflight_of() - where queue @q, of size @num, keeps its progress */
struct vu_inflight *vu_inflight_of(struct vu_device *dev, unsigned int q,
				   unsigned int num)
{
	const struct vu_inflight_message *m = &dev->state->inflight;

	if (dev->inflight_map && q < m->num_queues && num <= m->queue_size)
		return (void *)(dev->inflight_map + inflight_stride(m) * q);
	return (void *)(dev->rings + q * VU_RING_STRIDE);
}

/** vu_inflight_drop() - back to the arena; no ring runs */
void vu_inflight_drop(struct vu_device *dev)
{
	int fd = dev->state->inflight_fd;
	char *map;

	if (dev->inflight_map) {
		map = dev->inflight_map;
		dev->inflight_map = NULL;
		for (unsigned int i = 0; i < dev->nr_queues; i++) {
			struct vu_queue *q = &dev->queue[i];

			/* A parked chain still writes its head under lock. */
			pthread_mutex_lock(&q->lock);
			q->epoch = ~0u;
			q->st->used_once = false;
			q->inflight = vu_inflight_of(dev, i, 0);
			pthread_mutex_unlock(&q->lock);
		}
		vu_mem_unshare(map, dev->inflight_len, dev->inflight_bus);
	}
	dev->state->inflight_fd = -1;
	arena_commit();
	if (fd >= 0)
		close(fd);
}

static int set_inflight_fd(struct vu_call *c)
{
	struct vu_device *dev = c->dev;
	int r;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		if (dev->queue[i].running)
			return -EBUSY;
	if (c->x->fds[0] < 0)
		return dev->inflight_map ? 0 : -EINVAL;
	vu_inflight_drop(dev);
	dev->state->inflight = c->in->inflight;
	take_fd(c, &dev->state->inflight_fd);
	r = vu_inflight_map(dev);
	/* A successor would try it, too, and give up. */
	if (r < 0)
		vu_inflight_drop(dev);
	return r;
}

/* ---- the table --------------------------------------------------------- */

struct vu_request_rule {
	const char *name;
	int (*handle)(struct vu_call *c);
	uint16_t min, max;	/* payload bytes */
	uint8_t max_fds;
	uint8_t min_fds;
	uint16_t answer;	/* bytes of an answer of its own */
	uint64_t protocol;	/* feature it needs */
};

#define U64 sizeof(uint64_t)
#define VRING sizeof(struct vu_vring_number)
#define RULE(id, f, lo, hi, ...) \
	[VU_##id] = { .name = #id, .handle = f, .min = lo, .max = hi, \
		      __VA_ARGS__ }

static const struct vu_request_rule rules[VU_REQUEST_COUNT] = {
	RULE(GET_FEATURES, get_features, 0, 0, .answer = U64),
	RULE(SET_FEATURES, set_features, U64, U64, .answer = 0),
	RULE(SET_OWNER, set_owner, 0, 0, .answer = 0),
	RULE(RESET_OWNER, reset_owner, 0, 0, .answer = 0),
	RULE(SET_MEM_TABLE, set_mem_table, 8, sizeof(struct vu_memory),
	     .max_fds = VU_MAX_FDS),
	RULE(SET_LOG_BASE, set_log_base, sizeof(struct vu_log_message),
	     sizeof(struct vu_log_message), .min_fds = 1, .max_fds = 1,
	     .answer = sizeof(struct vu_log_message),
	     .protocol = PROTOCOL_LOG_SHMFD),
	RULE(SET_VRING_NUM, set_vring_num, VRING, VRING, .answer = 0),
	RULE(SET_VRING_ADDR, set_vring_addr, sizeof(struct vu_vring_addr),
	     sizeof(struct vu_vring_addr), .answer = 0),
	RULE(SET_VRING_BASE, set_vring_base, VRING, VRING, .answer = 0),
	RULE(GET_VRING_BASE, get_vring_base, VRING, VRING, .answer = VRING),
	RULE(SET_VRING_KICK, set_vring_kick, U64, U64, .max_fds = 1),
	RULE(SET_VRING_CALL, set_vring_call, U64, U64, .max_fds = 1),
	RULE(SET_VRING_ERR, set_vring_err, U64, U64, .max_fds = 1),
	RULE(GET_PROTOCOL_FEATURES, get_protocol_features, 0, 0,
	     .answer = U64),
	RULE(SET_PROTOCOL_FEATURES, set_protocol_features, U64, U64,
	     .answer = 0),
	RULE(GET_QUEUE_NUM, get_queue_num, 0, 0, .answer = U64,
	     .protocol = PROTOCOL_MQ),
	RULE(SET_VRING_ENABLE, set_vring_enable, VRING, VRING, .answer = 0),
	RULE(GET_INFLIGHT_FD, get_inflight_fd,
	     sizeof(struct vu_inflight_message) - 4,
	     sizeof(struct vu_inflight_message),
	     .answer = sizeof(struct vu_inflight_message),
	     .protocol = PROTOCOL_INFLIGHT),
	RULE(SET_INFLIGHT_FD, set_inflight_fd,
	     sizeof(struct vu_inflight_message) - 4,
	     sizeof(struct vu_inflight_message), .min_fds = 1, .max_fds = 1,
	     .protocol = PROTOCOL_INFLIGHT),
	RULE(RESET_DEVICE, reset_device, 0, 0,
	     .protocol = PROTOCOL_RESET_DEVICE),
	RULE(GET_MAX_MEM_SLOTS, get_max_mem_slots, 0, 0, .answer = U64,
	     .protocol = PROTOCOL_MEM_SLOTS),
	RULE(ADD_MEM_REG, add_mem_reg, sizeof(struct vu_memory_single),
	     sizeof(struct vu_memory_single), .min_fds = 1, .max_fds = 1,
	     .protocol = PROTOCOL_MEM_SLOTS),
	RULE(REM_MEM_REG, rem_mem_reg, sizeof(struct vu_memory_single),
	     sizeof(struct vu_memory_single), .max_fds = 1,
	     .protocol = PROTOCOL_MEM_SLOTS),
};

static const struct vu_request_rule *rule_of(uint32_t request)
{
	if (request >= VU_REQUEST_COUNT || !rules[request].handle)
		return NULL;
	return &rules[request];
}

static int message_check(struct vu_device *dev, struct vu_exchange *x,
			 const struct vu_request_rule *rule)
{
	uint32_t size = x->message.head.size;

	if (!rule)
		return -EOPNOTSUPP;
	if (rule->protocol & ~dev->state->protocol)
		return -EOPNOTSUPP;
	if (size < rule->min || size > rule->max)
		return -EMSGSIZE;
	if (x->nr_fds < rule->min_fds || x->nr_fds > rule->max_fds)
		return -EBADF;
	return 0;
}

static void message_refused(struct vu_device *dev, struct vu_exchange *x,
			    const struct vu_request_rule *rule, int err)
{
	char text[128];

	if (!log_allowed(&dev->protocol_limit))
		return;
	if (rule)
		snprintf(text, sizeof(text), "%s of %u bytes: %s", rule->name,
			 x->message.head.size, strerror(-err));
	else
		snprintf(text, sizeof(text), "request %u: %s",
			 x->message.head.request, strerror(-err));
	vu_tell(dev, VU_EVENT_PROTOCOL, -1, text);
}

/**
 * vu_message_handle() - do what the received message says
 * @x:		in stage VU_STAGE_HANDLE; left with VU_STAGE_REPLY when a
 *		reply is owed, else with VU_STAGE_DONE
 *
 * Return: 0, or -EPROTO when it was refused and could not be answered so.
 */
int vu_message_handle(struct vu_device *dev, struct vu_exchange *x)
{
	const struct vu_request_rule *rule = rule_of(x->message.head.request);
	bool ack = dev->state->protocol & PROTOCOL_REPLY_ACK &&
		   x->message.head.flags & VU_FLAG_NEED_REPLY;
	union vu_payload in, out;
	struct vu_call c = { .dev = dev, .x = x, .in = &in, .out = &out,
			     .answer = rule ? rule->answer : 0 };
	int r;

	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	memcpy(&in, &x->message.payload, x->message.head.size);
	r = message_check(dev, x, rule);
	if (r == 0)
		r = rule->handle(&c);
	if (r < 0) {
		message_refused(dev, x, rule, r);
		if (!c.guest && (!ack || (rule && rule->answer)))
			return -EPROTO;
	}
	x->reply.head.request = x->message.head.request;
	x->reply.head.flags = VU_FLAG_VERSION | VU_FLAG_REPLY;
	x->reply.head.size = c.answer ? c.answer : U64;
	if (!c.answer)
		out.u64 = (uint64_t)-r;
	memcpy(&x->reply.payload, &out, sizeof(out));
	x->sent = 0;
	x->io.msg_len = VU_UNMOVED;
	arena_commit();
	x->stage = c.answer || ack ? VU_STAGE_REPLY : VU_STAGE_DONE;
	return 0;
}
