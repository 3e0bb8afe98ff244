/* HLT and what wakes it; interrupt shadows; NMI while halted; PAUSE; MONITOR and MWAIT. */
#include "lib/guest.h"

#define VEC_IPI       0x41
#define VEC_TIMER     0x50
#define IOAPIC        0xfec00000ul
#define IOAPIC_ENTRY2 0x14
#define IOAPIC_NMI    0x400
#define IOAPIC_MASKED 0x10000
#define CPUID_MONITOR BIT(3)

void window_sti(void);
void window_sti_cli(void);
void window_mov_ss(void);
void window_sti_twice(void);
void window_hlt(void);
void window_hlt_only(void);
void window_sti_mov_ss(void);
void window_sti_cpuid(void);
void window_sti_in(void);
extern const char window_sti_at[], window_mov_ss_at[], window_sti_twice_at[], window_hlt_at[];
extern const char window_hlt_only_at[], window_sti_cpuid_at[], window_sti_in_at[];

static volatile unsigned taken;
static volatile uint64_t taken_rip, taken_rflags;

static void on_ipi(struct trap_frame *f)
{
    taken++;
    taken_rip = f->rip;
    taken_rflags = f->rflags;
    apic_write(APIC_EOI, 0);
}

/* Runs one with an IPI pending; where it came in, or 0. */
static uint64_t comes_at(void (*routine)(void))
{
    taken = 0;
    taken_rip = 0;
    apic_self_ipi(VEC_IPI);
    routine();
    return taken_rip;
}

static void check_windows(void)
{
    CHECK_EQ("sti-shadow", comes_at(window_sti), (uint64_t)window_sti_at);
    CHECK("interrupted-if-set", taken_rflags & RFLAGS_IF);
    CHECK_EQ("sti-cli-never-opens", comes_at(window_sti_cli), 0);
    irq_enable();
    asm volatile("nop; nop" : : : "memory");
    irq_disable();
    CHECK_EQ("pending-stays", taken, 1);
    CHECK_EQ("popf-no-shadow", comes_at(window_mov_ss), (uint64_t)window_mov_ss_at);
    CHECK_EQ("sti-sti", comes_at(window_sti_twice), (uint64_t)window_sti_twice_at);
    CHECK_EQ("sti-cpuid", comes_at(window_sti_cpuid), (uint64_t)window_sti_cpuid_at);
    CHECK_EQ("sti-in", comes_at(window_sti_in), (uint64_t)window_sti_in_at);
    CHECK("sti-mov-ss", comes_at(window_sti_mov_ss) != 0);
    CHECK_EQ("sti-hlt-pending", comes_at(window_hlt), (uint64_t)window_hlt_at);
}

static void start_timer(uint64_t ticks)
{
    apic_write(APIC_TMR_DIVIDE, 0xb);
    apic_write(APIC_LVT_TIMER, VEC_TIMER);
    apic_write(APIC_TMR_INITIAL, (uint32_t)ticks);
}

static void check_wake_apic(void)
{
    uint64_t start = rdtsc(), slept;

    irq_count_apic(VEC_TIMER);
    start_timer(~0u);
    timing_delay_us(10000);
    start_timer((~0u - apic_read(APIC_TMR_CURRENT)) / 10); /* a millisecond's ticks */
    start = rdtsc();
    irq_wait();
    slept = rdtsc() - start;
    CHECK_EQ("apic-timer-wakes", irq_counts[VEC_TIMER], 1);
    CHECK_NEAR("apic-timer-sleep", slept, timing_tsc_hz() / 1000, 10);
}

static void check_wake_pit(void)
{
    uint64_t start;

    irq_count_pic(IRQ_PIT);
    pit_set(0, 2, PIT_HZ / 1000);
    pic_unmask(IRQ_PIT);
    irq_wait();
    irq_counts[PIC_VECTOR] = 0;
    start = rdtsc();
    for (unsigned i = 0; i < 20; i++)
        irq_wait();
    CHECK_EQ("pit-wakes", irq_counts[PIC_VECTOR], 20);
    CHECK_NEAR("pit-sleep", rdtsc() - start, timing_tsc_hz() / 50, 5);
    pit_stop();
    pic_mask_all();
}

/* A masked interrupt does not wake; the one after it does. */
static void check_masked(void)
{
    taken = 0;
    irq_counts[VEC_TIMER] = 0;
    write_cr8(VEC_IPI >> 4);
    apic_self_ipi(VEC_IPI);
    start_timer(20000);
    irq_wait();
    CHECK_EQ("tpr-masked-does-not-wake", taken << 4 | irq_counts[VEC_TIMER], 1);
    write_cr8(0);
    irq_enable();
    asm volatile("nop" : : : "memory");
    irq_disable();
    CHECK_EQ("tpr-lowered-comes", taken, 1);
}

static volatile unsigned nmis;

static void on_nmi(struct trap_frame *f)
{
    nmis++;
    taken_rip = f->rip;
}

static void ioapic_pit(uint32_t entry)
{
    mmio_write32(IOAPIC, IOAPIC_ENTRY2 + 1);
    mmio_write32(IOAPIC + 0x10, apic_read(APIC_ID) & 0xff000000);
    mmio_write32(IOAPIC, IOAPIC_ENTRY2);
    mmio_write32(IOAPIC + 0x10, entry);
}

/* The PIT's interrupt as an NMI through the I/O APIC. */
static void check_nmi_wakes(void)
{
    trap_set_handler(VEC_NMI, on_nmi);
    pit_stop();
    timing_delay_us(50); /* OUT rises once more */
    ioapic_pit(IOAPIC_NMI);
    nmis = 0;
    pit_set(0, 0, 1000);
    window_hlt_only();
    CHECK_EQ("nmi-wakes-with-if-clear", nmis, 1);
    CHECK_EQ("nmi-after-hlt", taken_rip, (uint64_t)window_hlt_only_at);
    ioapic_pit(IOAPIC_MASKED);
    pit_stop();
}

/* PAUSE in a tight loop (PAUSE-loop exiting): every turn is made, and nothing is lost. */
static void check_pause(void)
{
    uint64_t turns = 0, left = 20000;

    asm volatile("1: pause; inc %0; dec %1; jnz 1b" : "+r"(turns), "+r"(left) : : "cc");
    CHECK_EQ("pause-loop", turns, 20000);
}

static void check_mwait(void)
{
    static volatile uint64_t line[8] __attribute__((aligned(64)));
    struct trap t;

    if (!(cpuid(1, 0).ecx & CPUID_MONITOR)) {
        TRAP_CATCH(t, asm volatile("monitor" : : "a"(line), "c"(0), "d"(0)));
        CHECK_TRAP("monitor", t, VEC_UD, 0);
        TRAP_CATCH(t, asm volatile("mwait" : : "a"(0), "c"(0)));
        CHECK_TRAP("mwait", t, VEC_UD, 0);
        return;
    }
    TRAP_CATCH(t, asm volatile("monitor" : : "a"(line), "c"(0), "d"(0)));
    CHECK_NO_TRAP("monitor", t);
    irq_counts[VEC_TIMER] = 0;
    start_timer(20000);
    TRAP_CATCH(t, asm volatile("sti; mwait; cli" : : "a"(0), "c"(0)));
    CHECK("mwait", t.vector == TRAP_NONE && irq_counts[VEC_TIMER] <= 1);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    trap_set_handler(VEC_IPI, on_ipi);
    check_group(check_windows);
    check_group(check_wake_apic);
    check_group(check_wake_pit);
    check_group(check_masked);
    check_group(check_nmi_wakes);
    check_group(check_pause);
    check_group(check_mwait);
}
