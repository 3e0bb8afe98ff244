/* The HPET (specification 1.0a): registers, its rate against the TSC, timers, legacy replacement.
 */
#include "lib/guest.h"

#define HPET       0xfed00000ul
#define CAPS       0x000
#define PERIOD     0x004
#define CONFIG     0x010
#define STATUS     0x020
#define COUNTER    0x0f0
#define TCONFIG(n) (0x100 + 0x20 * (n))
#define TCOMP(n)   (0x108 + 0x20 * (n))

#define ENABLE    1
#define LEGACY    2
#define LEVEL     0x02
#define INTERRUPT 0x04
#define PERIODIC  0x08
#define SET_VALUE 0x40
#define SHORT     0x100

static uint32_t get(unsigned reg)
{
    return mmio_read32(HPET + reg);
}
static void set(unsigned reg, uint32_t value)
{
    mmio_write32(HPET + reg, value);
}
static uint64_t get64(unsigned reg)
{
    return *(volatile uint64_t *)(HPET + reg);
}
static void set64(unsigned reg, uint64_t value)
{
    *(volatile uint64_t *)(HPET + reg) = value;
}

/* Ticks of so many microseconds. */
static uint64_t ticks(uint64_t us)
{
    return us * 1000000000ull / get(PERIOD);
}

static void check_capabilities(void)
{
    uint32_t caps = get(CAPS);

    check_info("period-fs", get(PERIOD));
    CHECK_EQ("revision", caps & 0xff, 1);
    CHECK_EQ("timers", caps >> 8 & 0x1f, 2);
    CHECK_EQ("64-bits-and-legacy", caps & 0xa000, 0xa000);
    CHECK_EQ("vendor", caps >> 16, 0x8086);
    CHECK("period-allowed", get(PERIOD) != 0 && get(PERIOD) <= 100000000);
    CHECK_EQ("timer-0-periodic", get(TCONFIG(0)) & 0x30, 0x30);
    CHECK_EQ("no-messages", get(TCONFIG(0)) & 0x8000, 0);
    set(CAPS, 0);
    CHECK_EQ("capabilities-fixed", get(CAPS), caps);
}

static void check_counter(void)
{
    uint64_t a, b;

    set(CONFIG, 0);
    set64(COUNTER, 0x1ffff0000);
    timing_delay_us(100);
    CHECK_EQ("halted", get64(COUNTER), 0x1ffff0000);
    set(COUNTER + 4, 5);
    CHECK_EQ("halves-written", get64(COUNTER), 0x5ffff0000);
    set(CONFIG, ENABLE);
    a = get64(COUNTER);
    timing_delay_us(20000);
    b = get64(COUNTER);
    CHECK_NEAR("rate", b - a, ticks(20000), 3);
    CHECK("carries", b > 0x600000000);
    set64(COUNTER, 0);
    CHECK("runs-not-written", get64(COUNTER) >= b);
    set(CONFIG, 0);
}

static void check_comparators(void)
{
    set64(TCONFIG(2), 0);
    set64(TCOMP(2), 0x123456789abcdef0);
    CHECK_EQ("comparator-64", get64(TCOMP(2)), 0x123456789abcdef0);
    set64(TCONFIG(2), SHORT);
    CHECK_EQ("comparator-32", get64(TCOMP(2)), 0x9abcdef0);
    set(TCOMP(2) + 4, 7);
    CHECK_EQ("no-high-half", get(TCOMP(2) + 4), 0);
    set64(TCONFIG(0), PERIODIC | SET_VALUE);
    CHECK_EQ("set-value-shown", get(TCONFIG(0)) & SET_VALUE, SET_VALUE);
    set64(TCOMP(0), 1000);
    CHECK_EQ("set-value-ends", get(TCONFIG(0)) & SET_VALUE, 0);
    set64(TCOMP(0), 500);
    CHECK_EQ("period-alone", get64(TCOMP(0)), 1000);
    set64(TCONFIG(0), 0);
}

static void check_level_status(void)
{
    set64(COUNTER, 0);
    set64(TCONFIG(2), LEVEL);
    set64(TCOMP(2), ticks(1000));
    set(CONFIG, ENABLE);
    CHECK_EQ("status-not-yet", get(STATUS), 0);
    timing_delay_us(1500);
    CHECK_EQ("status-without-interrupt", get(STATUS), 4);
    set(STATUS, 3);
    CHECK_EQ("status-others-kept", get(STATUS), 4);
    set(STATUS, 4);
    CHECK_EQ("status-cleared", get(STATUS), 0);
    set(CONFIG, 0);
    set64(TCONFIG(2), 0);
}

/* Timer 0 is IRQ 0 and the PIT is not; timer 1 is IRQ 8. */
static void check_legacy(void)
{
    uint64_t start;

    irq_count_pic(IRQ_PIT);
    irq_count_pic(IRQ_RTC);
    pit_set(0, 2, PIT_HZ / 1000);
    set64(COUNTER, 0);
    set(CONFIG, ENABLE | LEGACY);
    pic_unmask(IRQ_PIT);
    pic_unmask(IRQ_RTC);
    (void)irq_wait_count(PIC_VECTOR, ~0u, 3); /* what was latched before */
    irq_counts[PIC_VECTOR] = 0;
    CHECK("pit-cut-off", !irq_wait_count(PIC_VECTOR, 1, 10));
    set(TCONFIG(0), INTERRUPT | PERIODIC | SET_VALUE | SHORT);
    set(TCOMP(0), get(COUNTER) + (uint32_t)ticks(2000));
    set(TCOMP(0), (uint32_t)ticks(2000));
    CHECK("periodic-comes", irq_wait_count(PIC_VECTOR, 1, 100));
    start = rdtsc();
    CHECK("periodic-goes-on", irq_wait_count(PIC_VECTOR, 11, 200));
    CHECK_NEAR("periodic-rate", rdtsc() - start, timing_tsc_hz() / 50, 5);
    set64(TCONFIG(0), 0);
    set64(TCONFIG(1), INTERRUPT);
    set64(TCOMP(1), get64(COUNTER) + ticks(2000));
    CHECK("one-shot-comes", irq_wait_count(PIC_VECTOR + IRQ_RTC, 1, 100));
    CHECK("one-shot-once", !irq_wait_count(PIC_VECTOR + IRQ_RTC, 2, 20));
    CHECK_EQ("edges-have-no-status", get(STATUS), 0);
    set64(TCONFIG(1), 0);
    set(CONFIG, 0);
    irq_counts[PIC_VECTOR] = 0;
    CHECK("pit-is-back", irq_wait_count(PIC_VECTOR, 2, 100));
    pit_stop();
    pic_mask_all();
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    check_group(check_capabilities);
    check_group(check_counter);
    check_group(check_comparators);
    check_group(check_level_status);
    check_group(check_legacy);
}
