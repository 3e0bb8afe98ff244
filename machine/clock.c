/*
 * The one clock: the TSC, measured against a timer of known rate. What CPUID says of the TSC's
 * rate is only compared. Sources: IA-PC HPET 1.0a; ACPI 6.5, 4.8.3.3 (PM timer); Intel 8254.
 */
#include "lib/checked.h"
#include "lib/log.h"
#include "machine/acpi.h"
#include "machine/clock_init.h"
#include "machine/console_init.h"
#include "machine/cpu.h"
#include "machine/paging.h"
#include "machine/panic.h"
#include "machine/timer.h"

#define NS_PER_SECOND 1000000000ul
#define FS_PER_SECOND 1000000000000000ul
#define MHZ           1000000ul

#define ROUNDS        4
#define ROUND_US      2000
#define LONG_ROUND_US 25000 /* when short rounds are too coarse */
#define GOOD_PPM      200
#define STALL_MAX     1000000 /* reads of one value, until a timer is taken for dead */
#define CPUID_OFF_PPM 10000

#define PM_TIMER_HZ     3579545
#define PIT_HZ          1193182
#define HPET_SIZE       0x400
#define HPET_CAPS       0x000
#define HPET_CONFIG     0x010
#define HPET_COUNTER    0x0f0
#define HPET_ENABLE     BIT(0)
#define HPET_64BIT      BIT(13)
#define HPET_MAX_FS     100000000 /* a period that is longer is not a real one */
#define PIT_COUNTER_2   0x42
#define PIT_CONTROL     0x43
#define PIT_LATCH_2     0x80
#define PIT_MODE_0      0xb0 /* counter 2, both bytes, counts down once */
#define PORT_61         0x61
#define PORT_61_GATE_2  BIT(0)
#define PORT_61_SPEAKER BIT(1)

/* A timer to measure against: counts up, modulo mask + 1. */
struct reference {
    const char *name;
    uint64_t hz, mask;
    uint64_t (*read)(void);
};

static struct {
    uint64_t hz;
    volatile uint64_t *hpet;
} tsc = {.hz = 1000 * MHZ}; /* for delays before anything has been measured */

/* ------------------------------------------------------------ the references */

static uint64_t read_hpet(void)
{
    return tsc.hpet[HPET_COUNTER / 8];
}

static bool find_hpet(struct reference *r)
{
    hpa_t base = acpi_info()->hpet;
    uint64_t caps, period;

    if (base.v == 0)
        return false;
    tsc.hpet = paging_map_device(base, HPET_SIZE);
    caps = tsc.hpet[HPET_CAPS / 8];
    period = caps >> 32;
    if (period == 0 || period > HPET_MAX_FS)
        return false;
    tsc.hpet[HPET_CONFIG / 8] |= HPET_ENABLE;
    *r = (struct reference){"HPET", FS_PER_SECOND / period,
                            caps & HPET_64BIT ? UINT64_MAX : UINT32_MAX, read_hpet};
    return true;
}

static uint64_t read_pm_timer(void)
{
    const struct acpi_register *r = &acpi_info()->pm_timer;

    if (r->space == ACPI_SPACE_IO)
        return inl((uint16_t)r->address);
    return *(volatile uint32_t *)paging_map_device(HPA(r->address), 4);
}

static bool find_pm_timer(struct reference *r)
{
    const struct acpi_info *a = acpi_info();

    if (a->pm_timer.address == 0 || a->pm_timer.space > ACPI_SPACE_IO)
        return false;
    *r = (struct reference){"PM timer", PM_TIMER_HZ, a->pm_timer_32bit ? UINT32_MAX : 0xffffff,
                            read_pm_timer};
    return true;
}

/* The PIT counts down. */
static uint64_t read_pit(void)
{
    uint8_t low;

    outb(PIT_CONTROL, PIT_LATCH_2);
    low = inb(PIT_COUNTER_2);
    return 0xffffu - (low | (unsigned)inb(PIT_COUNTER_2) << 8);
}

/* Counter 2, the speaker's: nobody else uses it, and it needs no interrupt. */
static bool find_pit(struct reference *r)
{
    outb(PORT_61, (uint8_t)((inb(PORT_61) & ~PORT_61_SPEAKER) | PORT_61_GATE_2));
    outb(PIT_CONTROL, PIT_MODE_0);
    outb(PIT_COUNTER_2, 0xff);
    outb(PIT_COUNTER_2, 0xff);
    *r = (struct reference){"PIT", PIT_HZ, 0xffff, read_pit};
    return true;
}

/* ------------------------------------------------------------ measuring */

/* Both clocks at one time; the TSC's width says how exact that is. */
struct sample {
    uint64_t tsc, width, reference;
};

static struct sample take_sample(const struct reference *r)
{
    struct sample s, best = {.width = UINT64_MAX};

    for (unsigned i = 0; i < 5; i++) {
        uint64_t before = rdtsc();

        s.reference = r->read();
        s.width = rdtsc() - before;
        s.tsc = before + s.width / 2;
        if (s.width < best.width)
            best = s;
    }
    return best;
}

/* Waits until the reference has come this far; false: it stands still. */
static bool wait_reference(const struct reference *r, uint64_t start, uint64_t wanted)
{
    uint64_t last = start, now;

    for (unsigned stalled = 0; stalled < STALL_MAX; stalled++) {
        now = r->read();
        if (((now - start) & r->mask) >= wanted)
            return true;
        if (now != last)
            stalled = 0;
        last = now;
    }
    return false;
}

/* One round; *ppm is how far off it may be. 0: the reference stands still. */
static uint64_t measure(const struct reference *r, unsigned us, uint64_t *ppm)
{
    uint64_t wanted = mul_div(us, r->hz, 1000000), elapsed, ticks;
    struct sample start = take_sample(r), end;

    if (!wait_reference(r, start.reference, wanted))
        return 0;
    end = take_sample(r);
    elapsed = (end.reference - start.reference) & r->mask;
    ticks = end.tsc - start.tsc;
    /* Half of both samples' widths, and one count of the reference. */
    *ppm = mul_div((start.width + end.width) / 2, 1000000, ticks) + 1000000 / elapsed;
    return mul_div(ticks, r->hz, elapsed);
}

static uint64_t measure_best(const struct reference *r)
{
    uint64_t best = 0, best_ppm = UINT64_MAX;

    for (unsigned i = 0; i < ROUNDS; i++) {
        /* The last round is a long one if none before it was good enough. */
        unsigned us = i == ROUNDS - 1 ? LONG_ROUND_US : ROUND_US;
        uint64_t ppm = 0, hz;

        if (us == LONG_ROUND_US && best_ppm <= GOOD_PPM)
            break;
        hz = measure(r, us, &ppm);
        if (hz == 0)
            return 0;
        if (ppm < best_ppm) {
            best = hz;
            best_ppm = ppm;
        }
        console_poll();
    }
    return best;
}

/* CPUID 15h: crystal and ratio; 16h: the base frequency in MHz. 0: it does not say. */
static uint64_t cpuid_hz(void)
{
    uint32_t max = cpuid(0, 0).eax;

    if (max >= 0x15) {
        struct cpuid_regs r = cpuid(0x15, 0);

        if (r.eax != 0 && r.ebx != 0 && r.ecx != 0)
            return mul_div(r.ecx, r.ebx, r.eax);
    }
    return max >= 0x16 ? (cpuid(0x16, 0).eax & 0xffff) * MHZ : 0;
}

static void compare_cpuid(void)
{
    uint64_t claimed = cpuid_hz(), off;

    if (claimed == 0)
        return;
    off = claimed > tsc.hz ? claimed - tsc.hz : tsc.hz - claimed;
    if (mul_div(off, 1000000, tsc.hz) > CPUID_OFF_PPM)
        log_line("clock: CPUID claims %lu MHz, which is not believed", claimed / MHZ);
}

void clock_init(void)
{
    static bool (*const finders[])(struct reference *) = {find_hpet, find_pm_timer, find_pit};

    for (size_t i = 0; i < ARRAY_SIZE(finders); i++) {
        struct reference r;
        uint64_t hz;

        if (!finders[i](&r))
            continue;
        hz = measure_best(&r);
        if (hz < MHZ) {
            log_line("clock: the %s does not count", r.name);
            continue;
        }
        tsc.hz = hz;
        log_line("clock: TSC %lu.%03lu MHz by the %s", hz / MHZ, hz / 1000 % 1000, r.name);
        compare_cpuid();
        return;
    }
    fatal("no timer works that the TSC could be measured against");
}

/* ------------------------------------------------------------ using it */

uint64_t clock_hz(void)
{
    return tsc.hz;
}

uint64_t clock_to_ns(uint64_t ticks)
{
    return mul_div(ticks, NS_PER_SECOND, tsc.hz);
}

uint64_t clock_from_ns(uint64_t ns)
{
    return mul_div(ns, tsc.hz, NS_PER_SECOND);
}

void clock_delay_us(unsigned us)
{
    uint64_t start = rdtsc(), ticks = clock_from_ns(us * 1000ull);

    while (rdtsc() - start < ticks)
        cpu_pause();
}
