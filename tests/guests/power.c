/*
 * Every way to restart the machine. A stage number in CMOS RAM, which outlives a reset, says how
 * many restarts there were; the last boot reports all of them.
 */
#include "lib/guest.h"

#define CMOS_STAGE  0x51
#define CMOS_MAGIC  0x52
#define CMOS_SEEN   0x53 /* bit n: the restart of stage n was seen */
#define MAGIC       0xa7
#define PORT_RESET  0xcf9
#define RESET_ARM   0x02
#define RESET_GO    0x06
#define KBC_COMMAND 0x64
#define KBC_BUSY    0x02
#define KBC_PULSE   0xfe
#define WAIT_US     100000

static void by_reset_port(void)
{
    out8(PORT_RESET, RESET_ARM);
    out8(PORT_RESET, RESET_GO);
}

static void by_keyboard(void)
{
    for (unsigned i = 0; i < 10000 && (in8(KBC_COMMAND) & KBC_BUSY); i++)
        ;
    out8(KBC_COMMAND, KBC_PULSE);
}

static void by_acpi(void)
{
    struct power_acpi acpi;

    if (power_find_acpi(&acpi) && acpi.reset_space == 1)
        out8((uint16_t)acpi.reset_address, acpi.reset_value);
    else
        by_reset_port(); /* no such register here: the restart alone is not in doubt */
}

static void by_triple_fault(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) empty = {0, 0};

    asm volatile("lidt %0; int3" : : "m"(empty));
}

static const struct way {
    const char *name;
    void (*restart)(void);
} ways[] = {
    {"reset-port-cf9", by_reset_port},
    {"keyboard-controller", by_keyboard},
    {"acpi-reset-register", by_acpi},
    {"triple-fault", by_triple_fault},
};

/* What the machine looks like to a kernel that was just started, whatever came before. */
static bool starts_clean(void)
{
    return read_dr7() == 0x400 && (read_cr4() & CR4_OSXSAVE) == 0 && rdmsr(MSR_LSTAR) == 0;
}

/* So that starts_clean can tell. */
static void leave_traces(void)
{
    write_dr7(0x401);
    wrmsr(MSR_LSTAR, 0x12345678);
    write_cr4(read_cr4() | CR4_OSXSAVE);
}

static void report(uint8_t seen, bool clean)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++)
        CHECK(ways[i].name, seen >> i & 1);
    CHECK("starts-clean", clean);
    cmos_write(CMOS_MAGIC, 0);
}

void guest_main(void)
{
    bool first = cmos_read(CMOS_MAGIC) != MAGIC;
    uint8_t stage = first ? 0 : cmos_read(CMOS_STAGE), seen = first ? 0 : cmos_read(CMOS_SEEN);

    (void)timing_tsc_hz();
    if (!first && stage > 0)
        seen |= (uint8_t)(1 << (stage - 1));
    if (stage >= ARRAY_SIZE(ways)) {
        report(seen, starts_clean());
        return;
    }
    cmos_write(CMOS_MAGIC, MAGIC);
    cmos_write(CMOS_STAGE, stage + 1);
    cmos_write(CMOS_SEEN, seen);
    leave_traces();
    console_print("info trying-%u %#x\n", stage, seen);
    console_drain();
    ways[stage].restart();
    timing_delay_us(WAIT_US);
    cmos_write(CMOS_SEEN, seen); /* still here: that way does not work, go on with the next */
    cmos_write(CMOS_STAGE, stage + 2);
    out8(PORT_RESET, RESET_GO);
    timing_delay_us(WAIT_US);
    report(seen, false);
}
