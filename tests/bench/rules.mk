# SPDX-License-Identifier: MIT
# The benchmark. `make bench` needs root and the C virtiofsd as a peer.

BENCH_OBJ := $(call room_obj,tests/bench)
BENCH_DIRS ?= /dev/shm /var/tmp
BENCH_ARGS ?=

$(BUILD)/tests/bench/bench: $(BENCH_OBJ) $(call room_obj,tests/frontend)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

bench: vmshare $(BUILD)/tests/bench/bench $(BUILD)/tests/test_table
	$(BUILD)/tests/bench/bench $(addprefix --dir ,$(BENCH_DIRS)) \
		--runs 3 --write tests/bench/RESULTS.md \
		--chart tests/bench/chart.svg \
		$(BENCH_ARGS)
	{ printf '\n## Scale\n\n'; tests/bench/scale; } \
		>>tests/bench/RESULTS.md
	{ printf '\n## In guests\n\n'; tests/bench/guest; } \
		>>tests/bench/RESULTS.md

bench-quick: vmshare $(BUILD)/tests/bench/bench
	$(BUILD)/tests/bench/bench --quick $(BENCH_ARGS)

.PHONY: bench bench-quick
