# SPDX-License-Identifier: MIT
# What connects to a share that systemd started, in a guest.

UNIT_CLIENT := $(BUILD)/tests/units/client
$(UNIT_CLIENT): $(UNIT_CLIENT).o $(FE_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

check-package: $(UNIT_CLIENT)
check-package: export UNIT_CLIENT := $(abspath $(UNIT_CLIENT))
