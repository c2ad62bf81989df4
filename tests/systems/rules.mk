# SPDX-License-Identifier: MIT
# This tree on other systems than this one.

$(BUILD)/tests/systems/old_kernel: $(BUILD)/tests/systems/old_kernel.o
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

check-systems: ## built and run on Debian 13, arm64, an old kernel: for CI
	@$(call suite,systems,1800,tests/everywhere)
check-everywhere: ## the same on all that can be had, with a table: hours
	@$(call suite,everywhere,21600,tests/everywhere -l \
		-o $(BUILD)/everywhere.md)

.PHONY: check-systems check-everywhere
