# SPDX-License-Identifier: MIT
# What takes turns at a lock, or asks for one, in guests and on the host.

LOCK_TOOLS := $(addprefix $(BUILD)/tests/locks/,torture ask)
$(LOCK_TOOLS): %: %.o
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

check-locks check-libvirt: $(LOCK_TOOLS)
check-locks check-libvirt: export LOCKS := $(abspath $(BUILD)/tests/locks)
