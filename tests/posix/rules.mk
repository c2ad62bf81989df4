# SPDX-License-Identifier: MIT
# Programs that run inside guests, and beside them: they need no libraries.

POSIX_OBJ := $(call room_obj,tests/posix)
$(BUILD)/tests/posix/posix: $(POSIX_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

check-posix: $(BUILD)/tests/posix/posix
check-posix: export POSIX := $(abspath $(BUILD)/tests/posix/posix)
