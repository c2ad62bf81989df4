# SPDX-License-Identifier: MIT
# The benchmark. `make bench` needs root and the C virtiofsd as a peer.

BENCH_OBJ := $(call room_obj,tests/bench)
BENCH_DIRS ?= /dev/shm /var/tmp
BENCH_ARGS ?=
# One a release; tests/bench/RESULTS.md, which fits a screen, is written by hand.
BENCH_TABLE := tests/bench/results/$(VERSION).md

$(BUILD)/tests/bench/bench: $(BENCH_OBJ) $(call room_obj,tests/frontend)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

bench: vmshare $(BUILD)/tests/bench/bench $(BUILD)/tests/test_table
	$(BUILD)/tests/bench/bench $(addprefix --dir ,$(BENCH_DIRS)) \
		--runs 3 --write $(BENCH_TABLE) \
		--chart tests/bench/chart.svg \
		$(BENCH_ARGS)
	{ printf '\n## Scale\n\n'; tests/bench/scale; } \
		>>$(BENCH_TABLE)
	{ printf '\n## In guests\n\n'; tests/bench/guest; } \
		>>$(BENCH_TABLE)

bench-quick: vmshare $(BUILD)/tests/bench/bench
	$(BUILD)/tests/bench/bench --quick $(BENCH_ARGS)

.PHONY: bench bench-quick
