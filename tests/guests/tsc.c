/* Clocks: the TSC goes on, and PIT, PM timer, APIC timer and RTC agree with it within 1 %. */
#include "lib/guest.h"

#define PM_HZ     3579545
#define READS     3000
#define DIVIDE_16 0x3

static void check_monotonic(void)
{
    uint64_t last = rdtsc(), backwards = 0;
    uint32_t aux;

    for (unsigned i = 0; i < READS; i++) {
        uint64_t now = i % 3 == 0 ? rdtsc() : i % 3 == 1 ? rdtscp(&aux) : rdmsr(MSR_TSC);
        if (i % 64 == 0)
            (void)cpuid(0, 0);
        backwards += now <= last;
        last = now;
    }
    CHECK_EQ("monotonic", backwards, 0);
}

static void check_pit(void)
{
    uint64_t a = timing_measure_tsc(PIT_HZ / 50), b = timing_measure_tsc(PIT_HZ / 25);

    check_info("tsc-hz", b);
    CHECK_NEAR("pit-twice", a, b, 1);
}

/* TSC ticks in a second by the PM timer, over 50 ms. */
static uint64_t measure_by_pm(const struct power_acpi *acpi)
{
    uint32_t mask = acpi->timer_32bit ? ~0u : 0xffffff;
    uint32_t start = in32(acpi->pm_timer), passed;
    uint64_t from = rdtsc();

    do
        passed = (in32(acpi->pm_timer) - start) & mask;
    while (passed < PM_HZ / 20 && rdtsc() - from < timing_tsc_hz());
    return passed == 0 ? 0 : (rdtsc() - from) * PM_HZ / passed;
}

static void check_pm(void)
{
    struct power_acpi acpi;

    if (!power_find_acpi(&acpi) || acpi.pm_timer == 0) {
        check_skip("pm-timer", "no ACPI tables");
        return;
    }
    CHECK_NEAR("pm-timer", measure_by_pm(&acpi), timing_measure_tsc(PIT_HZ / 25), 1);
}

/* The APIC timer's rate is unknown: twice the time must be twice the count. */
static uint32_t apic_ticks(unsigned us)
{
    uint32_t left;

    apic_write(APIC_TMR_DIVIDE, DIVIDE_16);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
    apic_write(APIC_TMR_INITIAL, ~0u);
    timing_delay_us(us);
    left = apic_read(APIC_TMR_CURRENT);
    apic_write(APIC_TMR_INITIAL, 0);
    return ~0u - left;
}

static void check_apic(void)
{
    uint32_t once = apic_ticks(20000), twice = apic_ticks(40000);

    check_info("apic-hz", (uint64_t)twice * 16 * 25);
    CHECK_NEAR("apic-timer-linear", twice, 2 * (uint64_t)once, 1);
}

static void check_rtc(void)
{
    uint64_t start;

    irq_count_pic(IRQ_RTC);
    trap_set_handler(PIC_VECTOR + 15, NULL);
    cmos_write(0x0a, 0x26); /* 1024 Hz */
    cmos_write(0x0b, 0x42);
    (void)cmos_read(0x0c);
    pic_unmask(IRQ_RTC);
    CHECK("rtc-comes", irq_wait_count(PIC_VECTOR + IRQ_RTC, 1, 100));
    start = rdtsc();
    CHECK("rtc-comes-again", irq_wait_count(PIC_VECTOR + IRQ_RTC, 65, 200));
    CHECK_NEAR("rtc-rate", rdtsc() - start, timing_tsc_hz() / 16, 2);
    cmos_write(0x0b, 0x02);
    (void)cmos_read(0x0c);
    pic_mask_all();
}

/* CPUID's word, where it gives one: only told, since hardware is known to lie. */
static void check_cpuid(void)
{
    struct cpuid_regs r = cpuid(0x15, 0);

    if (cpuid(0, 0).eax >= 0x15 && r.eax != 0 && r.ebx != 0) {
        check_info("cpuid-crystal-hz", r.ecx);
        check_info("cpuid-tsc-hz", (uint64_t)r.ecx * r.ebx / r.eax);
    }
    check_info("invariant", cpuid(0x80000007, 0).edx >> 8 & 1);
}

static void check_writes(void)
{
    uint64_t before = rdtsc(), hz = timing_tsc_hz();

    wrmsr(MSR_TSC, before + 100 * hz);
    CHECK("write-forward", rdtsc() - before >= 100 * hz && rdtsc() - before < 101 * hz);
    wrmsr(MSR_TSC, 0);
    CHECK("write-0", rdtsc() < hz);
    CHECK_NEAR("rate-after-write", timing_measure_tsc(PIT_HZ / 50), hz, 1);
    if (!(cpuid(7, 0).ebx & BIT(1))) {
        check_skip("adjust", "no TSC_ADJUST");
        return;
    }
    before = rdmsr(MSR_TSC_ADJUST);
    wrmsr(MSR_TSC, rdtsc() + 50 * hz);
    CHECK("adjust-follows-write",
          rdmsr(MSR_TSC_ADJUST) - before >= 49 * hz && rdmsr(MSR_TSC_ADJUST) - before <= 51 * hz);
    wrmsr(MSR_TSC_ADJUST, 0);
    CHECK_EQ("adjust-0", rdmsr(MSR_TSC_ADJUST), 0);
}

/* CR4.TSD forbids RDTSC in ring 3 only; RDTSCP's AUX is in msr. */
static void check_tsd(void)
{
    struct trap t;

    write_cr4(read_cr4() | CR4_TSD);
    TRAP_CATCH(t, (void)rdtsc());
    CHECK_NO_TRAP("tsd-ring0", t);
    write_cr4(read_cr4() & ~CR4_TSD);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    check_group(check_monotonic);
    check_group(check_pit);
    check_group(check_pm);
    check_group(check_apic);
    check_group(check_rtc);
    check_group(check_cpuid);
    check_group(check_writes);
    check_group(check_tsd);
}
