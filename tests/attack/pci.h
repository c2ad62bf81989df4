/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_ATTACK_PCI_H
#define VMSHARE_TESTS_ATTACK_PCI_H

/*
 * A virtio-fs device of the guest that this program runs in, taken from its
 * kernel. Everything returns 0 or -errno.
 */

#include <linux/virtio_pci.h>

#include "tests/frontend/fe.h"

#define PCI_PAGES	8u	/* of memory, each huge */
#define PCI_QUEUES	16u	/* of which a doorbell is known */

struct pci {
	char path[64];		/* of its directory in sysfs */
	volatile struct virtio_pci_common_cfg *common;
	uint8_t *notify;
	uint32_t multiplier;	/* bytes from one doorbell to the next */
	struct fe_region memory[PCI_PAGES];
};

/**
 * pci_take() - find the device with this tag, unbind its driver, map it
 *
 * Its share must not be mounted. There is no way back but pci_give().
 */
int pci_take(struct pci *pci, const char *tag);
/** pci_give() - reset it and let the kernel's driver have it again */
void pci_give(struct pci *pci);

/* Status 0, and wait until it reads so. */
int pci_reset(struct pci *pci);
/* From there up to FEATURES_OK, with what of @features is offered. */
int pci_features(struct pci *pci, uint64_t *features);
void pci_status(struct pci *pci, uint8_t more);
/* Where queue @q is, as raw numbers; enables it. */
void pci_queue(struct pci *pci, unsigned int q, unsigned int size,
	       const uint64_t where[3]);

/**
 * pci_connect() - reset, set up as @opts says, start
 * @fe:		set on success; fe_close() it after pci_reset()
 */
int pci_connect(struct pci *pci, struct fe **fe, const struct fe_opts *opts);

#endif
