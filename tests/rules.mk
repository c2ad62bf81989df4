# SPDX-License-Identifier: MIT
# The tests. Each suite is a target check-NAME that can be run alone; all of
# them leave build/tap/NAME.tap, which tests/summary counts.

TAPDIR    ?= $(BUILD)/tap
# run a suite: $(call suite,NAME,SECONDS,COMMAND)
suite      = tests/tap -t $(2) $(TAPDIR)/$(1).tap $(3)
export VMSHARE ?= $(abspath $(BIN))

setup: ## install what the tests need, where it is missing, and make images
	tests/setup test
	tests/setup images

# An image that is missing is made, and one that can't be is a failure.
test: setup ## install what is missing, run every suite, count
	@$(MAKE) --no-print-directory check VMSHARE_TEST_IMAGES=make

# What packagers run: it installs nothing, downloads nothing, leaves nothing
# outside of this tree, and skips what it lacks.
check: export VMSHARE_TEST_IMAGES ?= keep
check: ## run every suite with what is here, count
	rm -rf $(TAPDIR)
	mkdir -p $(TAPDIR)
	@TAP_COLLECT=1 $(MAKE) --no-print-directory -k -j$(shell nproc) \
		check-all || printf '1..1\nnot ok 1 - make check-all\n' \
		>$(TAPDIR)/make.tap
	@tests/summary $(TAPDIR) \
		'$(MORE_BATS): more time than CI has; make check-more' \
		'under asan $(ASAN_NOT), under tsan $(TSAN_NOT): can'\''t be' \
		'everywhere, fresh, bench: by hand; make check-everywhere'

demo: ## install what is missing, build, show a guest that uses a directory
	tests/setup demo
	@echo 'demo: building vmshare'
	@$(MAKE) -s -j$(shell nproc)
	@tests/demo

check-fresh: ## README's commands on a new Debian (RELEASE): takes minutes
	tests/fresh $(RELEASE:%=-r %)
	tests/fresh $(RELEASE:%=-r %) deb

# ---- programs in C: as they are, and under the sanitizers ------------------

C_SUITES  := $(C_TESTS:test_%=check-c-%)
check-c: $(C_SUITES) ## every test program in C
$(C_SUITES): check-c-%: $(BUILD)/tests/test_%
	@$(call suite,$(C_PREFIX)c-$*,300,$<)
# These look at the program from outside: it runs as it is shipped, confined
# and filtered, which no sanitizer's run time would survive.
C_OUTSIDE := $(addprefix check-c-,access attack attack_state calls cramped frontend many \
	locked restart subids syscalls)
$(C_OUTSIDE): | $(BIN)
# The program as it will be when its state has changed.
OTHER     := $(BUILD)/tests/test_restart-other
$(OTHER): $(BUILD)/vmshare
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DSTATE_VERSION=9999 $(CFLAGS) $(LDFLAGS) $(LINK) \
		-o $@ base/arena.c $(TOP_OBJ) \
		$(filter-out $(BUILD)/base/arena.o,$(LIB_OBJ))
check-c-restart: | $(OTHER)
check-rooms: $(filter-out $(C_OUTSIDE) $(C_SKIP:%=check-c-%),$(C_SUITES))

SANITIZE   = $(MAKE) --no-print-directory BUILD=$(BUILD)/$(1) \
	TAPDIR=$(TAPDIR) C_PREFIX=$(1)- LINK= \
	CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=$(2)'
# Its run time does not live under a filter of system calls, and its memory is
# what the table's test would count.
ASAN_NOT  := seccomp table
check-asan: ## the same under the address and undefined behaviour sanitizers
	@ASAN_OPTIONS=detect_stack_use_after_return=1 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		$(call SANITIZE,asan,address$(comma)undefined) \
		C_SKIP='$(ASAN_NOT)' check-rooms
# Its run time lives through no clone() of a namespace, no filter of system
# calls, and no second process that goes on with the locks of a killed one.
TSAN_NOT  := confine confine_host crash seccomp table vhostuser_crash
check-tsan: ## the same under the thread sanitizer
	@TSAN_OPTIONS=halt_on_error=1:detect_deadlocks=1:second_deadlock_stack=1 \
		$(call SANITIZE,tsan,thread) \
		C_SKIP='$(TSAN_NOT)' check-rooms
comma     := ,

# ---- sources ---------------------------------------------------------------

lint check-lint: $(BIN) ## style, arrows, words, shell, man page, static analysis
	@$(call suite,lint,900,tests/lint/run $(CHECKS))

check-build: ## gcc, clang, musl, sizes, reproducible, install, tarball
	@$(call suite,build,900,tests/lint/build)

FUZZ_SMOKE ?= 120
check-fuzz: ## each fuzz target for a short while, as TAP
	@$(call suite,fuzz,1500,tests/lint/fuzz $(BUILD) $(FUZZ_SMOKE))

# ---- the program, from outside ---------------------------------------------

BATS      := $(patsubst tests/bats/%.bats,%,$(sort $(wildcard tests/bats/*.bats)))
BATS_SUITES := $(BATS:%=check-%)
check-bats: $(BATS_SUITES) ## every suite of tests/bats
$(BATS_SUITES): check-%: tests/bats/%.bats $(BIN)
	@TMPDIR=$${VMSHARE_TEST_TMP:-/var/tmp} \
		$(call suite,$*,1500,bats --tap $<)

check-filesystems: $(addprefix $(BUILD)/tests/test_,fsserver fsserver_data \
	fsserver_nodes owner acl idmap lock)
check-filesystems: export C_TESTS_DIR := $(abspath $(BUILD)/tests)

# What has been seen green in one go on the machine of CI: guests first, they
# take longest. check-more has what has not yet, or not since its last change:
# a suite moves up from there when it was. And what takes too long every day:
# the suite long, and all of the disk's 20,000 small files.
CI_BATS   := disk matrix lifetime libvirt diskless disks posix rootless locks \
	filesystems cli refused dropin stat package manual messages crash ask \
	serve sockets deaths attack
check-all: $(CI_BATS:%=check-%) check-systems check-kvm-short check-c \
	check-asan check-tsan check-lint check-build check-fuzz

MORE_BATS := $(filter-out $(CI_BATS),$(BATS))
check-more: export DISK_FILES := 20000
check-more: ## the suites that CI does not run, and a larger check-disk
	rm -rf $(TAPDIR)
	mkdir -p $(TAPDIR)
	@TAP_COLLECT=1 $(MAKE) --no-print-directory -k \
		check-disk $(MORE_BATS:%=check-%) || true
	@tests/summary $(TAPDIR)

.PHONY: setup check test demo check-fresh check-all check-more check-c check-rooms \
	check-asan check-tsan lint check-lint check-build check-fuzz check-bats \
	$(C_SUITES) $(BATS_SUITES)
