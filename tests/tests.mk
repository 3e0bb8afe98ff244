# Testing: host unit tests, guest kernels, end-to-end runs. Included by the Makefile.

# Sources that know no hardware, built for the host with ASan and UBSan. One test program for
# each tests/unit/test_*.c, linked with all of them.
HOST_DIRS := lib ept emulate devices balloon pageshare sched monitor
HOST_SRCS := $(sort $(wildcard $(HOST_DIRS:%=%/*.c))) \
             $(wildcard vm/config*.c vm/load_*.c vm/guest_acpi.c vm/firmware_files.c)
HOST_OBJS := $(HOST_SRCS:%.c=$(B)/host/%.o) $(B)/host/tests/unit/shim.o \
             $(B)/host/tests/unit/fake_host.o $(B)/host/tests/unit/fake_frames.o \
             $(B)/host/tests/unit/sched_sim.o
UNIT_SRCS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_TESTS := $(UNIT_SRCS:tests/unit/%.c=$(B)/host/%)
HOST_CFLAGS := -std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
               -fno-omit-frame-pointer -fno-strict-aliasing $(WARN) -I.

$(B)/host/%.o: %.c Makefile tests/tests.mk | need-test
	@mkdir -p $(@D)
	@echo "  HOST  $<"
	@$(CC) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/host/test_%: $(B)/host/tests/unit/test_%.o $(HOST_OBJS)
	@$(CC) $(HOST_CFLAGS) -o $@ $^ -lcmocka -lZydis
.PRECIOUS: $(B)/host/%.o
-include $(HOST_OBJS:.o=.d) $(UNIT_SRCS:%.c=$(B)/host/%.d)

# ------------------------------------------------------------------ what to call

.PHONY: test-unit
test-unit: $(UNIT_TESTS)
	@scripts/run-unit $(UNIT_TESTS)

# The table of docs/scheduling.md.
$(B)/host/sched_table: $(B)/host/tests/unit/sched_table.o $(HOST_OBJS)
	@$(CC) $(HOST_CFLAGS) -o $@ $^
.PHONY: sched-table
sched-table: $(B)/host/sched_table
	@$<

-include tests/guests/guests.mk

.PHONY: lint
lint: | need-lint
	@scripts/lint

# TESTS=PATTERN runs the cases whose name matches; JOBS=N of them at a time.
E2E := tests/e2e/run
E2E_NEEDS := $(B)/tithe.elf guest guests
.PHONY: test-e2e test-e2e-quick test-e2e-all
test-e2e: $(E2E_NEEDS) | need-e2e need-run-bochs need-run-qemu need-run-pxe
	@$(E2E)
test-e2e-quick: $(E2E_NEEDS) | need-e2e need-run-bochs need-run-qemu need-run-pxe
	@$(E2E) --quick
test-e2e-all: $(E2E_NEEDS) | need-e2e need-run-bochs need-run-qemu need-run-pxe
	@$(E2E) --all

# A few guest kernels that touch most of the machine, for test-quick.
.PHONY: test-guests-quick
test-guests-quick:
	@$(MAKE) --no-print-directory test-guests ONLY="$(QUICK_GUESTS)"
QUICK_GUESTS ?= cpuid msr

# The last line of each is "N passed, N failed" over everything.
RUN_TESTS = MAKE="$(MAKE)" scripts/run-tests
.PHONY: test test-quick test-all
test:
	@$(RUN_TESTS) lint test-unit test-guests test-e2e test-budgets
test-quick:
	@$(RUN_TESTS) lint test-unit test-guests-quick test-e2e-quick
test-all:
	@$(RUN_TESTS) lint test-unit test-guests test-e2e-all test-budgets bench-peers
