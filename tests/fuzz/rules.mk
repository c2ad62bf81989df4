# SPDX-License-Identifier: MIT
# Fuzzing with libFuzzer, each target for FUZZ_SECONDS. A crash leaves its
# input in $(BUILD)/fuzz/NAME-*; run build/fuzz/bin/fuzz_NAME FILE to see it.

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SAN     := -fsanitize=address,undefined -fno-sanitize-recover=undefined
fuzz_rooms    = $(shell sed -n '1s,/\* rooms: \(.*\) \*/,\1,p' tests/fuzz/fuzz_$(1).c)
fuzz_objs     = $(foreach r,$(call fuzz_rooms,$(1)),$(call room_obj,$(r)))

# Inside the build of its own that "fuzz" starts:
$(BUILD)/bin/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $$(call fuzz_objs,$$*)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^

fuzz: fuzz-programs ## every parser of foreign input, FUZZ_SECONDS each
	tests/fuzz/run $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fuzz-programs:
	$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang LINK= \
		CFLAGS='-O1 -g -fno-omit-frame-pointer $(FUZZ_SAN) \
		-fsanitize=fuzzer-no-link' \
		$(FUZZ_TARGETS:%=$(BUILD)/fuzz/bin/fuzz_%)

.PHONY: fuzz fuzz-programs
