/* SPDX-License-Identifier: MIT */
/*
 * The wire as the system's header has it. In a file of its own, since it and
 * fsserver/fuse.h use the protocol's names for the same things.
 */

#include "tests/wire/wire.h"

#include <stddef.h>

#include <linux/fuse.h>

#define WIRE_MINOR FUSE_KERNEL_MINOR_VERSION

const struct wire wire_system[] = {
#include "tests/wire/list.h"
};

const unsigned int wire_system_nr =
	sizeof(wire_system) / sizeof(wire_system[0]);
const unsigned int wire_system_minor = FUSE_KERNEL_MINOR_VERSION;
