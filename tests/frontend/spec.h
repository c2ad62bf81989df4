/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FRONTEND_SPEC_H
#define VMSHARE_TESTS_FRONTEND_SPEC_H

/*
 * The wire, written down a second time from the specifications (vhost-user,
 * virtio 1.2), so that a mistake in the server's own headers is not repeated
 * by the tests. FUSE is the server's own header: test_wire.c holds that against
 * the system's. Little endian hosts only.
 */

#include "fsserver/fuse.h"

#include <stdint.h>
#include <linux/virtio_ring.h>

/* ---- vhost-user --------------------------------------------------------- */

enum {
	VHU_GET_FEATURES = 1,
	VHU_SET_FEATURES = 2,
	VHU_SET_OWNER = 3,
	VHU_RESET_OWNER = 4,
	VHU_SET_MEM_TABLE = 5,
	VHU_SET_LOG_BASE = 6,
	VHU_SET_LOG_FD = 7,
	VHU_SET_VRING_NUM = 8,
	VHU_SET_VRING_ADDR = 9,
	VHU_SET_VRING_BASE = 10,
	VHU_GET_VRING_BASE = 11,
	VHU_SET_VRING_KICK = 12,
	VHU_SET_VRING_CALL = 13,
	VHU_SET_VRING_ERR = 14,
	VHU_GET_PROTOCOL_FEATURES = 15,
	VHU_SET_PROTOCOL_FEATURES = 16,
	VHU_GET_QUEUE_NUM = 17,
	VHU_SET_VRING_ENABLE = 18,
	VHU_SET_BACKEND_REQ_FD = 21,
	VHU_GET_CONFIG = 24,
	VHU_SET_CONFIG = 25,
	VHU_GET_INFLIGHT_FD = 31,
	VHU_SET_INFLIGHT_FD = 32,
	VHU_RESET_DEVICE = 34,
	VHU_GET_MAX_MEM_SLOTS = 36,
	VHU_ADD_MEM_REG = 37,
	VHU_REM_MEM_REG = 38,
	VHU_SET_STATUS = 39,
	VHU_GET_STATUS = 40,
	VHU_SET_DEVICE_STATE_FD = 42,
	VHU_CHECK_DEVICE_STATE = 43,
};

/* Bits of vhu_hdr.flags; the low two hold the version, 1. */
#define VHU_VERSION	1u
#define VHU_REPLY	4u
#define VHU_NEED_REPLY	8u

/* Bits of the protocol features. */
#define VHU_PF_MQ		(1ull << 0)
#define VHU_PF_LOG_SHMFD	(1ull << 1)
#define VHU_PF_REPLY_ACK	(1ull << 3)
#define VHU_PF_BACKEND_REQ	(1ull << 5)
#define VHU_PF_CONFIG		(1ull << 9)
#define VHU_PF_INFLIGHT_SHMFD	(1ull << 12)
#define VHU_PF_RESET_DEVICE	(1ull << 13)
#define VHU_PF_MEM_SLOTS	(1ull << 15)
#define VHU_PF_STATUS		(1ull << 16)
#define VHU_PF_DEVICE_STATE	(1ull << 19)

/* Bits of the device features. */
#define VHU_F_LOG_ALL		(1ull << 26)
#define VHU_F_PROTOCOL_FEATURES	(1ull << 30)
#define VIRTIO_F_INDIRECT	(1ull << 28)
#define VIRTIO_F_EVENT_IDX	(1ull << 29)
#define VIRTIO_F_VERSION1	(1ull << 32)

struct vhu_hdr {
	uint32_t request;
	uint32_t flags;
	uint32_t size;		/* of the payload that follows */
};

struct vhu_state {
	uint32_t index;
	uint32_t num;
};

struct vhu_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;		/* front end's virtual addresses */
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vhu_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t user;		/* front end's virtual address */
	uint64_t offset;	/* of the region in its descriptor */
};

#define VHU_MAX_REGIONS	8	/* in SET_MEM_TABLE */

struct vhu_mem_table {
	uint32_t nr;
	uint32_t padding;
	struct vhu_region region[VHU_MAX_REGIONS];
};

struct vhu_mem_reg {
	uint64_t padding;
	struct vhu_region region;
};

struct vhu_log {
	uint64_t size;
	uint64_t offset;
};

struct vhu_inflight {
	uint64_t size;
	uint64_t offset;
	uint16_t queues;
	uint16_t ring_size;
};

/* ---- FUSE newer than protocol 7.38 -------------------------------------- */

#define FE_FUSE_MINOR		45

#define FE_OP_STATX		52
#define FE_OP_COPY_RANGE_64	53

#define FE_INIT_CREATE_SUPP_GROUP	(1ull << 34)
#define FE_INIT_DIRECT_IO_MMAP		(1ull << 36)
#define FE_INIT_PASSTHROUGH		(1ull << 37)
#define FE_INIT_NO_EXPORT_SUPPORT	(1ull << 38)
#define FE_INIT_HAS_RESEND		(1ull << 39)
#define FE_INIT_ALLOW_IDMAP		(1ull << 40)

#define FE_EXT_GROUPS	32	/* fuse_ext_header.type */

struct fe_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fe_sx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct fe_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t spare0;
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fe_sx_time atime;
	struct fe_sx_time btime;
	struct fe_sx_time ctime;
	struct fe_sx_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t spare2[14];
};

struct fe_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fe_statx stat;
};

struct fe_copy_out {
	uint64_t bytes;
};

#endif
