# SPDX-License-Identifier: MIT
# A hostile program for guests: the front end's FUSE over a device of its own.

ATTACK    := $(BUILD)/tests/attack/attack
$(ATTACK): $(call room_obj,tests/attack) $(FE_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

check-attack: $(ATTACK)
check-attack: export ATTACK := $(abspath $(ATTACK))
