# SPDX-License-Identifier: MIT
# What takes turns at a lock, or asks for one, in guests and on the host.

LOCK_TOOLS := $(addprefix $(BUILD)/tests/locks/,torture ask)
$(LOCK_TOOLS): %: %.o
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

LOCK_SUITES := check-ask check-locks check-libvirt
$(LOCK_SUITES): $(LOCK_TOOLS)
$(LOCK_SUITES): export LOCKS := $(abspath $(BUILD)/tests/locks)
