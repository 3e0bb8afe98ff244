# Guest kernels: tests/guests/NAME.c (and NAME.asm, where there is one) with the library in lib/
# become build/guests/NAME.elf, a multiboot kernel. Included by tests/tests.mk.

GUESTS := $(sort $(patsubst tests/guests/%.c,%,$(wildcard tests/guests/*.c)))
GUEST_ELFS := $(GUESTS:%=$(B)/guests/%.elf)
GUEST_LIB := $(sort $(patsubst %.c,$(B)/guests/obj/%.o,$(wildcard tests/guests/lib/*.c) \
                    lib/format.c lib/string.c) \
               $(patsubst %.asm,$(B)/guests/obj/%.asm.o,$(wildcard tests/guests/lib/*.asm)))
GUEST_CFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-stack-protector -fno-pic -fno-pie \
                -mno-red-zone -mgeneral-regs-only --param=min-pagesize=0 -fno-strict-aliasing \
                -fno-asynchronous-unwind-tables -ffile-prefix-map=tests/guests/= \
                -ffile-prefix-map=$(CURDIR)=. $(WARN) -I.

$(B)/guests/obj/%.o: %.c tests/guests/guests.mk | need-build
	@mkdir -p $(@D)
	@echo "  GUEST $<"
	@$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/guests/obj/%.asm.o: %.asm tests/guests/guests.mk | need-build
	@mkdir -p $(@D)
	@echo "  GUEST $<"
	@$(NASM) -f elf64 -I tests/guests/ -w+error -MD $(@:.o=.d) -MP -o $@ $<
.PRECIOUS: $(B)/guests/obj/%.o $(B)/guests/obj/%.asm.o

# Linked as 64-bit ELF, then put into the 32-bit container that multiboot loaders take.
.SECONDEXPANSION:
$(B)/guests/%.elf: $(B)/guests/obj/tests/guests/%.o \
                   $$(addprefix $(B)/guests/obj/,$$(addsuffix .o,\
                       $$(wildcard tests/guests/$$*.asm))) \
                   $(GUEST_LIB) tests/guests/lib/guest.ld
	@ld -nostdlib -static -z max-page-size=0x1000 -z noexecstack --build-id=none \
	    -T tests/guests/lib/guest.ld -o $(@:.elf=.elf64) $(filter %.o,$^)
	@objcopy -O elf32-i386 -S $(@:.elf=.elf64) $@

-include $(shell find $(B)/guests/obj -name '*.d' 2>/dev/null)

# Bare in Bochs (the truth), then under Tithe, compared. ONLY="NAME..." for some of them.
ONLY ?=
.PHONY: guests test-guests test-guests-bare
guests: $(GUEST_ELFS)
test-guests-bare: guests | need-test
	@tests/guests/run --bare $(ONLY)
test-guests: guests $(B)/tithe.elf | need-test
	@tests/guests/run --bare --tithe $(ONLY)
