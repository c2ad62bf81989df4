/* SPDX-License-Identifier: MIT */
/*
 * The handshake and the life of the rings, message by message in the order
 * in which QEMU sends them: features and protocol features, owner, features
 * agreed on, memory, and for each ring NUM, BASE, ADDR, KICK, CALL, ENABLE.
 */

#include "tests/frontend/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define KNOWN_PF (VHU_PF_MQ | VHU_PF_LOG_SHMFD | VHU_PF_REPLY_ACK | \
		  VHU_PF_RESET_DEVICE | VHU_PF_MEM_SLOTS)
#define DEFAULT_TIMEOUT_MS 10000

static int connect_path(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err = errno;
		close(sock);
		return -err;
	}
	return sock;
}

int fe_negotiate(struct fe *fe)
{
	uint64_t want = fe->opts.pf_mask ? fe->opts.pf_mask : KNOWN_PF;
	int ret;

	ret = fe_get(fe, VHU_GET_FEATURES, &fe->offered);
	if (ret < 0)
		return ret;
	if (!(fe->offered & VIRTIO_F_VERSION1))
		return fe_broken(fe, "VIRTIO_F_VERSION_1 is not offered");
	if (!(fe->offered & VHU_F_PROTOCOL_FEATURES))
		return fe_broken(fe, "no protocol features");
	ret = fe_get(fe, VHU_GET_PROTOCOL_FEATURES, &fe->pf_offered);
	if (ret < 0)
		return ret;
	fe->pf = 0;
	if (fe->opts.no_reply_ack)
		want &= ~VHU_PF_REPLY_ACK;
	want &= fe->pf_offered;
	ret = fe_set(fe, VHU_SET_PROTOCOL_FEATURES, &want, sizeof(want),
		     NULL, 0);
	if (ret < 0)
		return ret;
	fe->pf = want;
	if (fe->pf & VHU_PF_MQ) {
		ret = fe_get(fe, VHU_GET_QUEUE_NUM, &fe->max_queues);
		if (ret < 0)
			return ret;
	}
	if (fe->pf & VHU_PF_MEM_SLOTS) {
		ret = fe_get(fe, VHU_GET_MAX_MEM_SLOTS, &fe->max_slots);
		if (ret < 0)
			return ret;
	}
	return fe_set(fe, VHU_SET_OWNER, NULL, 0, NULL, 0);
}

int fe_set_features(struct fe *fe)
{
	uint64_t want = VIRTIO_F_VERSION1 | VHU_F_PROTOCOL_FEATURES;

	if (!fe->opts.no_indirect)
		want |= VIRTIO_F_INDIRECT;
	if (!fe->opts.no_event_idx)
		want |= VIRTIO_F_EVENT_IDX;
	fe->features = want & fe->offered;
	return fe_set(fe, VHU_SET_FEATURES, &fe->features,
		      sizeof(fe->features), NULL, 0);
}

static int share_slots(struct fe *fe)
{
	int ret;

	if (!(fe->pf & VHU_PF_MEM_SLOTS))
		return -ENOTSUP;
	for (unsigned int i = 0; i < fe->nr_regions; i++) {
		const struct fe_region *r = fe->opts.downwards ?
			&fe->region[fe->nr_regions - 1 - i] : &fe->region[i];
		struct vhu_mem_reg reg = { 0 };

		fe_memory_describe(r, &reg.region);
		ret = fe_set(fe, VHU_ADD_MEM_REG, &reg, sizeof(reg), &r->fd,
			     1);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int fe_share_memory(struct fe *fe)
{
	struct vhu_mem_table table = { .nr = fe->nr_regions };
	int fds[VHU_MAX_REGIONS];

	if (fe->opts.mem_slots)
		return share_slots(fe);
	for (unsigned int i = 0; i < fe->nr_regions; i++) {
		fe_memory_describe(&fe->region[i], &table.region[i]);
		fds[i] = fe->region[i].fd;
	}
	return fe_set(fe, VHU_SET_MEM_TABLE, &table,
		      offsetof(struct vhu_mem_table, region) +
			      fe->nr_regions * sizeof(struct vhu_region),
		      fds, fe->nr_regions);
}

int fe_ring_init(struct fe *fe, unsigned int q)
{
	struct fe_ring *r = &fe->ring[q];

	r->fe = fe;
	r->index = q;
	r->num = fe->opts.ring_size;
	r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->call = eventfd(0, EFD_CLOEXEC |
			     (fe->opts.blocking ? 0 : EFD_NONBLOCK));
	r->err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->kick < 0 || r->call < 0 || r->err < 0)
		return -errno;
	return fe_ring_alloc(r);
}

int fe_ring_start(struct fe *fe, unsigned int q)
{
	struct fe_ring *r = &fe->ring[q];
	struct vhu_state num = { .index = q, .num = r->num };
	struct vhu_state base = { .index = q };
	struct vhu_state enable = { .index = q, .num = 1 };
	struct vhu_addr addr = { .index = q };
	uint64_t index = q;
	const struct {
		uint32_t request;
		const void *payload;
		size_t size;
		const int *fd;
	} step[] = {
		{ VHU_SET_VRING_NUM, &num, sizeof(num), NULL },
		{ VHU_SET_VRING_BASE, &base, sizeof(base), NULL },
		{ VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL },
		{ VHU_SET_VRING_KICK, &index, sizeof(index), &r->kick },
		{ VHU_SET_VRING_CALL, &index, sizeof(index), &r->call },
		{ VHU_SET_VRING_ENABLE, &enable, sizeof(enable), NULL },
	};
	int ret;

	fe_ring_place(r, &addr, &base.num);
	if (r->has_base)
		base.num = r->base;
	for (unsigned int i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		ret = fe_set(fe, step[i].request, step[i].payload,
			     step[i].size, step[i].fd, step[i].fd ? 1 : 0);
		if (ret < 0)
			return ret;
	}
	r->started = true;
	return 0;
}

int fe_ring_stop(struct fe *fe, unsigned int q, uint32_t *base)
{
	struct vhu_state state = { .index = q };
	struct vhu_hdr hdr;
	size_t size = sizeof(state);
	int ret;

	ret = fe_send(fe, VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL,
		      0);
	if (ret < 0)
		return ret;
	ret = fe_recv(fe, &hdr, &state, &size, NULL);
	if (ret < 0)
		return ret;
	if (hdr.request != VHU_GET_VRING_BASE || size != sizeof(state) ||
	    state.index != q)
		return fe_broken(fe, "GET_VRING_BASE of %u: %u, %zu bytes, %u",
				 q, hdr.request, size, state.index);
	fe->ring[q].started = false;
	fe->ring[q].has_base = true;
	fe->ring[q].base = state.num;
	if (base)
		*base = state.num;
	return 0;
}

int fe_start(struct fe *fe)
{
	int ret = 0;

	for (unsigned int q = 0; q < fe->nr_rings && ret == 0; q++)
		ret = fe_ring_start(fe, q);
	/* As QEMU does: what is not acknowledged is waited for like this. */
	if (ret == 0 && !(fe->pf & VHU_PF_REPLY_ACK))
		ret = fe_get(fe, VHU_GET_FEATURES, &(uint64_t){ 0 });
	return ret;
}

int fe_stop(struct fe *fe)
{
	int ret = 0;

	for (unsigned int q = 0; q < fe->nr_rings && ret == 0; q++)
		if (fe->ring[q].started)
			ret = fe_ring_stop(fe, q, NULL);
	return ret;
}

int fe_reset_device(struct fe *fe)
{
	if (!(fe->pf & VHU_PF_RESET_DEVICE))
		return -ENOTSUP;
	return fe_set(fe, VHU_RESET_DEVICE, NULL, 0, NULL, 0);
}

static int set_up(struct fe *fe)
{
	int ret;

	ret = fe_memory_init(fe);
	if (ret < 0)
		return ret;
	fe->sock = fe->opts.path ? connect_path(fe->opts.path) : fe->opts.fd;
	if (fe->sock < 0)
		return fe->sock;
	if (fe->opts.handshake_only)
		return fe_negotiate(fe);
	ret = fe_negotiate(fe);
	if (ret < 0)
		return ret;
	if (fe->opts.queues > 1 && fe->max_queues < fe->nr_rings)
		return -ENOTSUP;
	ret = fe_set_features(fe);
	if (ret < 0)
		return ret;
	ret = fe_share_memory(fe);
	for (unsigned int q = 0; q < fe->nr_rings && ret == 0; q++)
		ret = fe_ring_init(fe, q);
	return ret < 0 ? ret : fe_start(fe);
}

int fe_inflight_get(struct fe *fe, struct vhu_inflight *table, int *fd)
{
	size_t size = sizeof(*table);
	struct vhu_hdr hdr;
	int r = fe_send(fe, VHU_GET_INFLIGHT_FD, 0, table, size, NULL, 0);

	if (r == 0)
		r = fe_recv(fe, &hdr, table, &size, fd);
	if (r == 0 && *fd < 0)
		r = fe_broken(fe, "an in-flight table has no descriptor");
	return r;
}

int fe_inflight_set(struct fe *fe, const struct vhu_inflight *table, int fd)
{
	return fe_set(fe, VHU_SET_INFLIGHT_FD, table, sizeof(*table), &fd, 1);
}

int fe_begin_inflight(struct fe *fe, struct vhu_inflight *table, int *fd)
{
	int r = fe_set_features(fe);

	if (r == 0 && *fd < 0)
		r = fe_inflight_get(fe, table, fd);
	if (r == 0)
		r = fe_inflight_set(fe, table, *fd);
	if (r == 0)
		r = fe_share_memory(fe);
	for (unsigned int q = 0; q < fe->nr_rings && r == 0; q++)
		if (!fe->ring[q].desc)
			r = fe_ring_init(fe, q);
	return r < 0 ? r : fe_start(fe);
}

static struct fe *fe_new(const struct fe_opts *opts)
{
	struct fe *fe = calloc(1, sizeof(*fe));

	if (!fe)
		return NULL;
	fe->opts = *opts;
	fe->sock = -1;
	fe->pid = (uint32_t)getpid();
	pthread_mutex_init(&fe->lock, NULL);
	for (unsigned int q = 0; q < FE_MAX_RINGS; q++)
		fe->ring[q].kick = fe->ring[q].call = fe->ring[q].err = -1;
	if (!fe->opts.queues)
		fe->opts.queues = 1;
	if (!fe->opts.ring_size)
		fe->opts.ring_size = 128;
	if (!fe->opts.timeout_ms)
		fe->opts.timeout_ms = DEFAULT_TIMEOUT_MS;
	fe->nr_rings = fe->opts.queues + 1;
	return fe;
}

int fe_connect(struct fe **out, const struct fe_opts *opts)
{
	struct fe *fe = fe_new(opts);
	int ret;

	if (!fe)
		return -ENOMEM;
	ret = fe->nr_rings > FE_MAX_RINGS ? -EINVAL : set_up(fe);
	if (ret < 0) {
		if (!opts->path)
			fe->sock = -1;	/* stays the caller's */
		fe_close(fe);
		return ret;
	}
	*out = fe;
	return 0;
}

int fe_offline(struct fe **out, const struct fe_opts *opts)
{
	struct fe *fe = fe_new(opts);
	int ret = fe ? fe_memory_init(fe) : -ENOMEM;

	if (ret < 0) {
		fe_close(fe);
		return ret;
	}
	*out = fe;
	return 0;
}

static void ring_exit(struct fe_ring *r)
{
	if (r->kick >= 0)
		close(r->kick);
	if (r->call >= 0)
		close(r->call);
	if (r->err >= 0)
		close(r->err);
	free(r->slot);
}

void fe_close(struct fe *fe)
{
	if (!fe)
		return;
	if (fe->sock >= 0)
		close(fe->sock);
	for (unsigned int q = 0; q < FE_MAX_RINGS; q++)
		ring_exit(&fe->ring[q]);
	fe_memory_exit(fe);
	pthread_mutex_destroy(&fe->lock);
	free(fe);
}
