/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_VHOSTUSER_RING_H
#define VMSHARE_VHOSTUSER_RING_H

/*
 * What both ring layouts offer to the queue, and what they share to turn the
 * guest's descriptors into a chain.
 */

#include "vhostuser/internal.h"

struct vu_build {
	const struct vu_table *table;
	struct chain *chain;
	unsigned int nr;		/* iovecs filled */
};

void vu_build_begin(struct vu_queue *q, struct vu_build *b, struct chain *c);
void vu_build_end(struct vu_queue *q, struct chain *c);
const char *vu_build_add(struct vu_build *b, uint64_t addr, uint32_t len,
			 bool write);
const char *vu_build_load(struct vu_build *b, uint64_t addr, void *desc);
unsigned int vu_adopt_heads(struct vu_queue *q, unsigned int laps);

/* virtqueue.c: the split layout */
bool vu_split_look(struct vu_queue *q);
int vu_split_pop(struct vu_queue *q, struct chain *c);
void vu_split_push(struct vu_queue *q, uint16_t head, uint32_t len);
bool vu_split_publish(struct vu_queue *q);
bool vu_split_unseen(struct vu_queue *q);
bool vu_split_arm(struct vu_queue *q, uint16_t after);
void vu_split_disarm(struct vu_queue *q);
void vu_split_recover(struct vu_queue *q, bool resume);

/* packed.c: the packed layout */
bool vu_packed_look(struct vu_queue *q);
int vu_packed_pop(struct vu_queue *q, struct chain *c);
unsigned int vu_packed_pending(struct vu_queue *q);
void vu_packed_push(struct vu_queue *q, uint16_t id, uint32_t len);
bool vu_packed_publish(struct vu_queue *q);
bool vu_packed_unseen(struct vu_queue *q);
bool vu_packed_arm(struct vu_queue *q);
void vu_packed_disarm(struct vu_queue *q);
void vu_packed_recover(struct vu_queue *q, bool resume);
uint32_t vu_packed_base(const struct vu_queue *q);

#endif
