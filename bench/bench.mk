# Measuring VM exits: a guest kernel of our own (bench/guest) on the library of tests/guests.
# Included by the Makefile.

BENCH_OBJS := $(sort $(patsubst %.c,$(B)/bench/obj/%.o,$(wildcard bench/guest/*.c)) \
                $(patsubst %.asm,$(B)/bench/obj/%.asm.o,$(wildcard bench/guest/*.asm)))
BENCH_ELF := $(B)/bench/bench.elf

$(B)/bench/obj/%.o: %.c bench/bench.mk tests/guests/guests.mk | need-build
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/bench/obj/%.asm.o: %.asm bench/bench.mk | need-build
	@mkdir -p $(@D)
	@echo "  BENCH $<"
	@$(NASM) -f elf64 -w+error -MD $(@:.o=.d) -MP -o $@ $<

# A 64-bit kernel in the 32-bit ELF container that multiboot and PVH loaders take.
$(BENCH_ELF): $(BENCH_OBJS) $(GUEST_LIB) bench/guest/bench.ld
	@ld -nostdlib -static -z max-page-size=0x1000 -z noexecstack --build-id=none \
	    -T bench/guest/bench.ld -o $(@:.elf=.elf64) $(filter %.o,$^)
	@objcopy -O elf32-i386 -S $(@:.elf=.elf64) $@

-include $(BENCH_OBJS:.o=.d)

.PHONY: bench test-budgets
bench: $(BENCH_ELF) $(B)/tithe.elf $(B)/count/tithe.elf | need-bench need-run-bochs
	@bench/run
test-budgets: $(BENCH_ELF) $(B)/tithe.elf $(B)/count/tithe.elf | need-bench need-run-bochs
	@bench/run --check

# The same guest under other hypervisors. PEER=NAME: one of them only.
$(B)/bench/kvm: bench/peers/kvm.c bench/bench.mk | need-build
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) -std=gnu11 -O2 $(WARN) -static -o $@ $<

PEER ?=
.PHONY: bench-peers need-bench-peers
need-bench-peers:
	@scripts/packages need bench-peers
bench-peers: $(BENCH_ELF) $(B)/bench/kvm guest | need-bench-peers need-run-bochs
	@bench/peers/run $(PEER)
