# SPDX-License-Identifier: MIT
# vmshare: one static binary. `make help` lists the targets.

VERSION   := 0.1.0
PREFIX    ?= /usr/local
BINDIR    ?= $(PREFIX)/bin
DATADIR   ?= $(PREFIX)/share
MANDIR    ?= $(DATADIR)/man
BASHCOMP  ?= $(DATADIR)/bash-completion/completions
ZSHCOMP   ?= $(DATADIR)/zsh/site-functions
FISHCOMP  ?= $(DATADIR)/fish/vendor_completions.d
SYSTEMDUNITDIR ?= $(PREFIX)/lib/systemd/system
# /etc/apparmor.d, where the profile of `vmshare serve` is wanted
APPARMORDIR ?=
INSTALL   ?= install
# A cross compiler's prefix: make CROSS_COMPILE=aarch64-linux-gnu-
ifdef CROSS_COMPILE
CC        := $(CROSS_COMPILE)gcc
endif
CC        ?= cc
CFLAGS    ?= -O2 -g
BUILD     ?= build
ROOMS     := base memback vhostuser fsserver launch guest

# With another BUILD the binary stays in it, so that trees do not mix.
BIN       := $(if $(filter build,$(BUILD)),vmshare,$(BUILD)/bin/vmshare)

WARN      := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
             -Wvla -Wconversion

# What makes a bug harder to use, where the compiler has it. A sanitizer wants
# the plain calls; whoever gives a level of _FORTIFY_SOURCE has theirs.
cc_option  = $(shell $(CC) -Werror $(1) -S -o /dev/null -x c /dev/null \
             2>/dev/null && echo '$(1)')
HARDEN    := $(foreach f,-fstack-protector-strong -fstack-clash-protection \
             -fcf-protection -mbranch-protection=standard \
             -ftrivial-auto-var-init=zero,$(call cc_option,$(f)))
ifeq (,$(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS))$(filter \
	-O0 -fsanitize=%,$(CFLAGS)))
ifneq (,$(filter -O%,$(CFLAGS)))
HARDEN    += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif
endif
override CPPFLAGS += -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
             -DVMSHARE_VERSION='"$(VERSION)"'
override CFLAGS += -std=gnu11 -fPIE -pthread -fno-strict-aliasing \
             -ffunction-sections -fdata-sections \
             -ffile-prefix-map=$(CURDIR)=. $(HARDEN) $(WARN)
override LDFLAGS += -pthread -Wl,--gc-sections,-z,relro,-z,now,-z,noexecstack

# Of the compiler's own target: "x86_64-linux-gnu" or "aarch64-linux-musl".
TARGET    := $(shell $(CC) -dumpmachine 2>/dev/null)
STRIP     ?= $(or $(shell $(CC) -print-prog-name=strip 2>/dev/null),strip)

# Where musl's compiler is a wrapper around glibc's (musl-gcc), it sees neither
# the kernel's headers nor static-pie; the links show it the former and nothing
# else of glibc's.
ifneq (,$(filter musl-%,$(notdir $(firstword $(CC)))))
LINK      ?= -static
KHEADERS  := $(BUILD)/kernel-headers
override CPPFLAGS += -isystem $(KHEADERS)
else
LINK      ?= -static-pie
KHEADERS  :=
endif

room_src   = $(sort $(filter %.c,$(1)) $(wildcard $(1)/*.c $(1)/*/*.c))
room_obj   = $(patsubst %.c,$(BUILD)/%.o,$(call room_src,$(1)))
TOP_OBJ   := $(BUILD)/vmshare.o $(BUILD)/server.o
LIB_OBJ   := $(foreach r,$(ROOMS),$(call room_obj,$(r)))
FE_OBJ    := $(call room_obj,tests/frontend)
C_TESTS   := $(patsubst tests/c/%.c,%,$(sort $(wildcard tests/c/test_*.c)))
TEST_BIN  := $(addprefix $(BUILD)/tests/,$(C_TESTS))

all: $(BIN) ## build the binary, ./vmshare

$(BIN): $(BUILD)/vmshare
	@mkdir -p $(@D)
	$(STRIP) -R .comment -o $@ $<

$(BUILD)/vmshare: $(TOP_OBJ) $(LIB_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags | $(KHEADERS)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Objects are made anew when the compiler or its flags change.
FLAGS     := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LINK)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

$(BUILD)/kernel-headers:
	@mkdir -p $@
	ln -sfn /usr/include/linux $@/linux
	ln -sfn /usr/include/asm-generic $@/asm-generic
	ln -sfn $(firstword $(wildcard /usr/include/$(TARGET)/asm \
		/usr/include/asm)) $@/asm

# A test links the rooms it names in a first line like "/* rooms: base */".
.SECONDEXPANSION:
test_rooms = $(shell sed -n '1s,/\* rooms: \(.*\) \*/,\1,p' tests/c/$(1).c)
test_objs  = $(foreach r,$(call test_rooms,$(1)),$(call room_obj,$(r)))
$(TEST_BIN): $(BUILD)/tests/%: $(BUILD)/tests/c/%.o $$(call test_objs,$$*)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

c-tests: $(TEST_BIN) ## build the test programs in C, run none

# What prints the completions has to run here.
HOSTCC    ?= cc
NATIVE    := $(if $(CROSS_COMPILE),$(BUILD)/native/bin/vmshare,$(BIN))
ifdef CROSS_COMPILE
$(NATIVE): FORCE
	$(MAKE) --no-print-directory CROSS_COMPILE= CC=$(HOSTCC) \
		BUILD=$(BUILD)/native all
endif

UNITS     := vmshare-serve@.service vmshare-serve@.socket

install: $(BIN) $(NATIVE) ## install below PREFIX (/usr/local), itself below DESTDIR
	$(INSTALL) -d $(addprefix $(DESTDIR),$(BINDIR) $(MANDIR)/man1 $(MANDIR)/man7 \
		$(BASHCOMP) $(ZSHCOMP) $(FISHCOMP) $(DATADIR)/qemu/vhost-user \
		$(SYSTEMDUNITDIR) $(APPARMORDIR))
	$(INSTALL) -m 755 $(BIN) \
		$(DESTDIR)$(BINDIR)/vmshare
	$(INSTALL) -m 644 vmshare.1 $(DESTDIR)$(MANDIR)/man1/vmshare.1
	$(INSTALL) -m 644 vmshare-messages.7 \
		$(DESTDIR)$(MANDIR)/man7/vmshare-messages.7
	$(abspath $(NATIVE)) completion bash >$(DESTDIR)$(BASHCOMP)/vmshare
	$(abspath $(NATIVE)) completion zsh >$(DESTDIR)$(ZSHCOMP)/_vmshare
	$(abspath $(NATIVE)) completion fish >$(DESTDIR)$(FISHCOMP)/vmshare.fish
	printf '{\n  "description": "%s",\n  "type": "fs",\n  "binary": "%s"\n}\n' \
		'vmshare vhost-user-fs' '$(BINDIR)/vmshare' \
		>$(DESTDIR)$(DATADIR)/qemu/vhost-user/40-vmshare.json
	for unit in $(UNITS); do \
		sed 's,/usr/bin/,$(BINDIR)/,' doc/systemd/$$unit \
			>$(DESTDIR)$(SYSTEMDUNITDIR)/$$unit || exit; \
	done
	$(if $(APPARMORDIR),$(INSTALL) -m 644 doc/apparmor/vmshare-serve \
		$(DESTDIR)$(APPARMORDIR)/vmshare-serve)

uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR),$(BINDIR)/vmshare $(MANDIR)/man1/vmshare.1 \
		$(MANDIR)/man7/vmshare-messages.7 \
		$(BASHCOMP)/vmshare $(ZSHCOMP)/_vmshare \
		$(FISHCOMP)/vmshare.fish $(DATADIR)/qemu/vhost-user/40-vmshare.json \
		$(addprefix $(SYSTEMDUNITDIR)/,$(UNITS)) \
		$(APPARMORDIR:%=%/vmshare-serve))

# Whole seconds of the last change, so that packages compare equal. A tarball's
# files have it.
EPOCH     := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct \
             2>/dev/null || stat -c %Y CHANGELOG.md))
DEB_ARCH  := $(subst aarch64,arm64,$(subst x86_64,amd64,$(firstword \
             $(subst -, ,$(TARGET)))))
DEB_QEMU  := $(if $(filter arm64,$(DEB_ARCH)),qemu-system-arm,qemu-system-x86)
DEB_ROOT  := $(BUILD)/deb
DEB_DOC   := $(DEB_ROOT)/usr/share/doc/vmshare
DEB_VERSION := $(VERSION)-1
DEB_DATE  := $(shell date -Ru -d @$(EPOCH))
# Whoever builds a package answers for it: deb-control's own two variables.
DEB_WHO   := $(or $(DEBFULLNAME),The vmshare authors) <$(or $(DEBEMAIL),vmshare@localhost)>
define DEB_CONTROL
Package: vmshare
Version: $(DEB_VERSION)
Architecture: $(DEB_ARCH)
Maintainer: $(DEB_WHO)
Section: otherosfs
Priority: optional
Recommends: $(DEB_QEMU)
Suggests: uidmap
Description: boot virtual machines that share directories
 One static binary that makes a guest's memory, serves its files over
 virtiofs and starts QEMU wired to both. It can be called in virtiofsd's
 place as well, by libvirt and by systemd.
endef
define DEB_CHANGELOG
vmshare ($(DEB_VERSION)) unstable; urgency=medium

  * Built from source by "make deb"; see changelog.gz.

 -- $(DEB_WHO)  $(DEB_DATE)
endef
# An older lintian takes a position-independent static program for a library;
# there is no bug of Debian's that this package could close.
define DEB_LINTIAN
vmshare: shared-library-lacks-prerequisites [usr/bin/vmshare]
vmshare: initial-upload-closes-no-bugs [usr/share/doc/vmshare/changelog.Debian.gz:1]
endef
export DEB_CONTROL DEB_CHANGELOG DEB_LINTIAN

deb: $(BIN) ## build a Debian package, build/vmshare_*.deb
	rm -rf $(DEB_ROOT)
	$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=$(DEB_ROOT) \
		ZSHCOMP=/usr/share/zsh/vendor-completions
	$(INSTALL) -d $(DEB_ROOT)/DEBIAN $(DEB_DOC) \
		$(DEB_ROOT)/usr/share/lintian/overrides
	$(INSTALL) -m 644 LICENSE $(DEB_DOC)/copyright
	gzip -9n <CHANGELOG.md >$(DEB_DOC)/changelog.gz
	printf '%s\n' "$$DEB_CHANGELOG" | gzip -9n >$(DEB_DOC)/changelog.Debian.gz
	printf '%s\n' "$$DEB_LINTIAN" >$(DEB_ROOT)/usr/share/lintian/overrides/vmshare
	gzip -9n $(DEB_ROOT)/usr/share/man/man1/vmshare.1 \
		$(DEB_ROOT)/usr/share/man/man7/vmshare-messages.7
	printf '%s\n' "$$DEB_CONTROL" >$(DEB_ROOT)/DEBIAN/control
	find $(DEB_ROOT)/usr -type f -printf '%s\n' | awk \
		'{ n += int(($$1 + 1023) / 1024) } END { print "Installed-Size:", n }' \
		>>$(DEB_ROOT)/DEBIAN/control
	cd $(DEB_ROOT) && find usr -type f | LC_ALL=C sort | \
		xargs -d '\n' md5sum >DEBIAN/md5sums
	chmod -R u+rwX,go+rX,go-w $(DEB_ROOT)
	SOURCE_DATE_EPOCH=$(EPOCH) dpkg-deb --root-owner-group --build \
		$(DEB_ROOT) $(BUILD)/vmshare_$(DEB_VERSION)_$(DEB_ARCH).deb

DIST      := $(BUILD)/vmshare-$(VERSION).tar.gz
dist: ## make a reproducible tarball of the last commit, build/vmshare-*.tar.gz
	@mkdir -p $(BUILD)
	git archive --format=tar --prefix=vmshare-$(VERSION)/ HEAD | \
		gzip -n9 >$(DIST)

tags: ## an index of the sources for editors (ctags)
	git ls-files '*.[ch]' | ctags -L -

clean: ## remove all that was built
	rm -rf $(BUILD) vmshare tags

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | \
		sort | awk -F'\t' '{ printf "make %-14s %s\n", $$1, $$2 }'

include tests/rules.mk
-include $(sort $(wildcard tests/*/rules.mk))

FORCE:
.PHONY: all c-tests install uninstall deb dist tags clean help FORCE
.SECONDARY:

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
