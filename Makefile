# Tithe: `make` builds build/tithe.elf and build/tithe.iso. The README lists the other goals. What
# a goal needs of Debian's packages is installed by need-... (scripts/run.mk).

SHELL := /bin/bash
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

B := build
CC := gcc
NASM := nasm

# ------------------------------------------------------------------ the hypervisor

DIRS := lib machine ept vmx emulate devices vm balloon pageshare sched boot monitor
C_SRCS := $(sort $(wildcard $(DIRS:%=%/*.c)))
ASM_SRCS := $(sort $(wildcard $(DIRS:%=%/*.asm)))
OBJS := $(C_SRCS:%.c=$(B)/%.o) $(ASM_SRCS:%.asm=$(B)/%.asm.o)

WARN := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla \
        -Wundef -Wpointer-arith -Wwrite-strings -Wimplicit-fallthrough
# No SSE: guest vector state stays in the registers across exits. Paths are kept out of the
# objects, so that the same sources give the same bytes wherever they are built.
# Set by build/count, see below.
DEFINES :=
CFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-stack-protector -fno-pic -fno-pie \
          -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-omit-frame-pointer \
          -momit-leaf-frame-pointer -mpreferred-stack-boundary=3 \
          -fno-strict-aliasing -fno-asynchronous-unwind-tables -ffile-prefix-map=$(CURDIR)=. \
          -Wframe-larger-than=2048 $(WARN) -I. $(DEFINES)
# On the way of the cheapest exits every instruction counts: no frame pointers there. RBP is left
# alone, so that backtraces only skip these functions.
HOT := machine/buddy machine/frame ept/ept vmx/exit vmx/msr vm/exits vm/device_mov \
       vm/emulation vm/vcpu vm/memory devices/bus devices/pic devices/uart devices/lapic \
       devices/lapic_irq devices/lapic_ipi devices/lapic_timer
$(HOT:%=$(B)/%.o): CFLAGS += -fomit-frame-pointer -ffixed-rbp
LDFLAGS := -nostdlib -static -z max-page-size=0x1000 -z noexecstack --build-id=none \
           -T boot/tithe.ld

VERSION := $(shell cat VERSION 2>/dev/null || echo 0)

.PHONY: all
all: $(B)/tithe.iso

$(B)/%.o: %.c Makefile | need-build
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS) -DTITHE_VERSION='"$(VERSION)"' -MMD -MP -c -o $@ $<

$(B)/%.asm.o: %.asm $(B)/offsets.inc Makefile | need-build
	@mkdir -p $(@D)
	@echo "  NASM  $<"
	@$(NASM) -f elf64 -g -F dwarf -I . -I $(B)/ -w+error $(DEFINES) -MD $(@:.o=.d) -MP \
	    -o $@ $<

# Struct offsets for assembly, taken from the compiler: boot/offsets.c names them.
$(B)/offsets.inc: boot/offsets.c Makefile | need-build
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -MMD -MP -MT $@ -MF $(B)/offsets.d -S -o $(B)/offsets.s $<
	@sed -n 's/^.*->\([A-Z0-9_]*\) [$$]*\(-*[0-9]*\).*$$/%define \1 \2/p' $(B)/offsets.s > $@

# The screen's font, taken from GRUB's (grub-common).
$(B)/font.c: scripts/font Makefile | need-build
	@mkdir -p $(@D)
	@scripts/font /usr/share/grub/ascii.pf2 > $@
$(B)/font.o: $(B)/font.c machine/screen.h Makefile
	@$(CC) $(CFLAGS) -c -o $@ $<
OBJS += $(B)/font.o

# Linked twice: the first image gives the symbol table that backtraces print names from.
$(B)/symbols-%.o: $(B)/symbols-%.c
	@$(CC) $(CFLAGS) -c -o $@ $<
$(B)/symbols-0.c: scripts/symbols Makefile
	@mkdir -p $(@D)
	@scripts/symbols < /dev/null > $@
$(B)/symbols-1.c: $(B)/tithe-0.elf scripts/symbols
	@nm -n $< | scripts/symbols > $@
$(B)/tithe-0.elf: $(OBJS) $(B)/symbols-0.o boot/tithe.ld
	@ld $(LDFLAGS) -o $@ $(OBJS) $(B)/symbols-0.o
$(B)/tithe.elf: $(OBJS) $(B)/symbols-1.o boot/tithe.ld scripts/check-image
	@echo "  LD    $@"
	@ld $(LDFLAGS) -o $@ $(OBJS) $(B)/symbols-1.o
	@scripts/check-image $@

# The same sources, with every VMREAD and VMWRITE counted: for bench/run. That make knows what is
# to be done.
ifeq ($(DEFINES),)
.PHONY: $(B)/count/tithe.elf
$(B)/count/tithe.elf: $(B)/tithe.elf
	@$(MAKE) --no-print-directory B=$(B)/count DEFINES=-DVMX_COUNT_FIELDS $@
endif

$(B)/tithe.iso: $(B)/tithe.elf boot/grub.cfg scripts/make-iso
	@echo "  ISO   $@"
	@scripts/make-iso $@ $(B)/tithe.elf

-include $(OBJS:.o=.d) $(B)/offsets.d

include vm/acpi.mk
include tests/tests.mk
include scripts/run.mk
-include bench/bench.mk

.PHONY: clean
clean:
	rm -rf $(B)
