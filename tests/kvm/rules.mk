# SPDX-License-Identifier: MIT
# Guests under KVM, in a machine that QEMU emulates.

check-kvm: $(BIN) $$(LOCK_TOOLS) ## guests under KVM, in an emulated machine: an hour
	@$(call suite,kvm,10800,tests/kvm/run)
check-kvm-short: $(BIN) ## the least of it, for CI
	@$(call suite,kvm,1500,tests/kvm/run short)

.PHONY: check-kvm check-kvm-short
