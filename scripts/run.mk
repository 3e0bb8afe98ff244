# Running: `make run` and the guest it boots. Included by the Makefile.

# Goals of scripts/packages. Phony, so asked once a make; pattern rules would skip phony targets.
NEEDS := need-build need-guest need-run-bochs need-run-qemu need-test need-lint need-e2e \
         need-bench need-firmware need-run-pxe need-disk
.PHONY: $(NEEDS)
$(NEEDS): need-%:
	@scripts/packages need $*

GUEST := $(B)/guest
GUEST_TOOLS := scripts/make-guest scripts/get-debs scripts/make-cpio $(wildcard scripts/guest/*)

# Debian's kernel and an initramfs of ours. Downloaded once; the initramfs follows its sources.
.PHONY: guest
guest: $(GUEST)/initrd.img
$(GUEST)/vmlinuz: $(GUEST)/initrd.img ;
$(GUEST)/initrd.img: $(GUEST_TOOLS) | need-guest
	@mkdir -p $(GUEST)
	@echo "  GUEST $@"
	@scripts/make-guest $(GUEST)

# A hard disk with GRUB, Debian's stock kernel and a small Debian.
.PHONY: disk
disk: | need-disk
	@scripts/make-disk

# Variables of `make run` reach scripts/run by the environment; it explains wrong ones.
RUN_VARIABLES := PLATFORM KERNEL INITRD CMDLINE CONFIG MEM CPUS HOST_MEM HOST_CPUS CPU_MODEL IPS \
                 TIME_LIMIT
export $(RUN_VARIABLES)

# An own kernel needs no guest prepared; scripts/run looks after the packages of its platform.
.PHONY: run
run: $(B)/tithe.iso $(if $(KERNEL)$(CONFIG),,guest)
	@scripts/run

# A FreeDOS floppy, which you have: FREEDOS_IMG=FILE. It boots from SeaBIOS.
export FREEDOS_IMG
.PHONY: run-freedos
run-freedos: $(B)/tithe.iso | need-firmware
	@scripts/run-freedos

# Tithe itself, its configuration and its guest from an emulated network: iPXE, TFTP, GRUB.
export NETBOOT
.PHONY: run-pxe
run-pxe: $(if $(NETBOOT),,$(B)/tithe.elf $(if $(KERNEL)$(CONFIG),,guest))
	@scripts/run-pxe

# Measuring. The first process of the guest that is measured has no C library.
$(B)/bench/init: bench/init.c | need-build
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) -std=gnu11 -O2 $(WARN) -ffreestanding -nostdlib -static -fno-stack-protector -fno-pie \
	    -no-pie -mgeneral-regs-only -Wl,--build-id=none -o $@ $<

.PHONY: bench-boot
bench-boot: $(B)/bench/init $(B)/tithe.elf guest | need-bench need-run-bochs
	@bench/boot
