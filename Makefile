# SPDX-License-Identifier: MIT
# vmshare: one static binary. `make help` lists the targets.

VERSION   := 0.1.0
PREFIX    ?= /usr/local
BINDIR    ?= $(PREFIX)/bin
MANDIR    ?= $(PREFIX)/share/man
CC        ?= cc
CFLAGS    ?= -O2 -g
BUILD     ?= build
LINK      ?= -static-pie
ROOMS     := base memback vhostuser fsserver launch guest

WARN      := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
             -Wvla -Wconversion
override CPPFLAGS += -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
             -DVMSHARE_VERSION='"$(VERSION)"'
override CFLAGS += -std=gnu11 -fPIE -pthread -fno-strict-aliasing \
             -ffunction-sections -fdata-sections \
             -ffile-prefix-map=$(CURDIR)=. $(WARN)
override LDFLAGS += -pthread -Wl,--gc-sections,-z,relro,-z,now

room_src   = $(sort $(wildcard $(1)/*.c))
room_obj   = $(patsubst %.c,$(BUILD)/%.o,$(call room_src,$(1)))
LIB_OBJ   := $(foreach r,$(ROOMS),$(call room_obj,$(r)))
FE_OBJ    := $(call room_obj,tests/frontend)
C_TESTS   := $(patsubst tests/c/%.c,%,$(sort $(wildcard tests/c/test_*.c)))
TEST_BIN  := $(addprefix $(BUILD)/tests/,$(C_TESTS))

all: vmshare

vmshare: $(BUILD)/vmshare
	strip -o $@ $<

$(BUILD)/vmshare: $(BUILD)/vmshare.o $(LIB_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# A test links the rooms it names in a first line like "/* rooms: base */".
.SECONDEXPANSION:
test_rooms = $(shell sed -n '1s,/\* rooms: \(.*\) \*/,\1,p' tests/c/$(1).c)
test_objs  = $(foreach r,$(call test_rooms,$(1)),$(call room_obj,$(r)))
$(BUILD)/tests/%: $(BUILD)/tests/c/%.o $$(call test_objs,$$*)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

c-tests: $(TEST_BIN)

clean:
	rm -rf $(BUILD) vmshare

.PHONY: all clean c-tests
.SECONDARY:

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
