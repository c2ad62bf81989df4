# SPDX-License-Identifier: MIT
# What takes turns at a lock, in guests and on the host.

$(BUILD)/tests/locks/torture: $(BUILD)/tests/locks/torture.o
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

check-locks: $(BUILD)/tests/locks/torture
check-locks: export TORTURE := $(abspath $(BUILD)/tests/locks/torture)
