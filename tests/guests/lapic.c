/* The local APIC in xAPIC mode: registers, self IPIs, priorities, EOI, errors, the timer. */
#include "lib/guest.h"

#define VEC_LOW             0x41
#define VEC_SAME            0x45 /* the same class */
#define VEC_HIGH            0x71
#define VEC_TIMER           0x50
#define VEC_ERROR           0x60
#define ESR_SEND_ILLEGAL    0x20
#define ESR_RECEIVE_ILLEGAL 0x40
#define ICR_LOGICAL         0x800
#define ICR_OTHERS          0xc0000
#define ICR_ALL             0x80000
#define DIVIDE_1            0xb
#define DIVIDE_2            0x0
#define DIVIDE_16           0x3
#define DIVIDE_128          0xa
#define CPUID_DEADLINE      BIT(24)

static struct {
    unsigned n;
    uint8_t vector[8], ppr[8];
    bool no_eoi;
} taken;

static void on_vector(struct trap_frame *f)
{
    if (taken.n < 8) {
        taken.vector[taken.n] = (uint8_t)f->vector;
        taken.ppr[taken.n] = (uint8_t)apic_read(APIC_PPR);
    }
    taken.n++;
    if (!taken.no_eoi)
        apic_write(APIC_EOI, 0);
}

static void let_in(void)
{
    irq_enable();
    timing_delay_us(20);
    irq_disable();
}

static void fresh(void)
{
    memset(&taken, 0, sizeof(taken));
    apic_init();
}

static void check_registers(void)
{
    uint32_t version = apic_read(APIC_VERSION);

    check_info("version", version);
    CHECK("version-integrated", (version & 0xf0) == 0x10);
    CHECK("version-max-lvt", (version >> 16 & 0xff) >= 4 && (version >> 16 & 0xff) <= 7);
    apic_write(APIC_VERSION, 0);
    CHECK_EQ("version-read-only", apic_read(APIC_VERSION), version);
    apic_write(APIC_TPR, 0xab);
    CHECK_EQ("tpr-holds", apic_read(APIC_TPR), 0xab);
    CHECK_EQ("ppr-follows-tpr", apic_read(APIC_PPR), 0xab);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LDR, 0xffffffff);
    CHECK_EQ("ldr-top-byte", apic_read(APIC_LDR), 0xff000000);
    apic_write(APIC_DFR, 0x0fffffff);
    CHECK_EQ("dfr-cluster", apic_read(APIC_DFR), 0x0fffffff);
    apic_write(APIC_DFR, 0xffffffff);
    apic_write(APIC_LDR, 0x01000000);
    apic_write(APIC_ICR_HIGH, 0xffffffff);
    CHECK_EQ("icr-high-top-byte", apic_read(APIC_ICR_HIGH), 0xff000000);
    apic_write(APIC_LVT_TIMER, 0x100ff | APIC_LVT_PERIODIC);
    CHECK_EQ("lvt-timer-holds", apic_read(APIC_LVT_TIMER), 0x300ff);
}

/* Software-disabled, every LVT entry is masked and cannot be unmasked. */
static void check_disabled(void)
{
    apic_init();
    apic_write(APIC_SVR, APIC_SPURIOUS_VECTOR);
    CHECK_EQ("disabled-masks-lint0", apic_read(APIC_LVT_LINT0) & APIC_LVT_MASKED, APIC_LVT_MASKED);
    apic_write(APIC_LVT_LINT0, APIC_DM_EXTINT);
    CHECK_EQ("disabled-cannot-unmask", apic_read(APIC_LVT_LINT0) & APIC_LVT_MASKED,
             APIC_LVT_MASKED);
    apic_init();
    CHECK_EQ("enabled-unmasks", apic_read(APIC_LVT_LINT0) & APIC_LVT_MASKED, 0);
}

static void check_self_ipi(void)
{
    fresh();
    apic_self_ipi(VEC_LOW);
    CHECK("irr-set", apic_bit(APIC_IRR, VEC_LOW));
    CHECK("tmr-clear", !apic_bit(APIC_TMR, VEC_LOW));
    CHECK_EQ("ipi-not-with-if-clear", taken.n, 0);
    taken.no_eoi = true;
    let_in();
    CHECK_EQ("ipi-taken", taken.n << 8 | taken.vector[0], 1 << 8 | VEC_LOW);
    CHECK("isr-set", apic_bit(APIC_ISR, VEC_LOW));
    CHECK("irr-clear", !apic_bit(APIC_IRR, VEC_LOW));
    CHECK_EQ("ppr-in-service", apic_read(APIC_PPR), VEC_LOW & 0xf0);
    apic_self_ipi(VEC_SAME);
    let_in();
    CHECK_EQ("same-class-waits", taken.n, 1);
    apic_self_ipi(VEC_HIGH);
    let_in();
    CHECK_EQ("higher-class-nests", taken.n << 8 | taken.vector[1], 2 << 8 | VEC_HIGH);
    apic_write(APIC_EOI, 0);
    CHECK("eoi-ends-highest", !apic_bit(APIC_ISR, VEC_HIGH) && apic_bit(APIC_ISR, VEC_LOW));
    taken.no_eoi = false;
    apic_write(APIC_EOI, 0);
    let_in();
    CHECK_EQ("eoi-lets-waiting", taken.n << 8 | taken.vector[2], 3 << 8 | VEC_SAME);
    CHECK_EQ("ppr-in-the-end", apic_read(APIC_PPR), 0);
}

static void check_priorities(void)
{
    fresh();
    apic_self_ipi(VEC_LOW);
    apic_self_ipi(VEC_HIGH);
    apic_self_ipi(VEC_LOW); /* pending already: merged */
    let_in();
    CHECK_EQ("priority-count", taken.n, 2);
    CHECK_EQ("priority-order", taken.vector[0] << 8 | taken.vector[1], VEC_HIGH << 8 | VEC_LOW);
    fresh();
    apic_write(APIC_TPR, 0x50);
    apic_self_ipi(VEC_LOW);
    apic_self_ipi(VEC_HIGH);
    let_in();
    CHECK_EQ("tpr-masks", taken.n << 8 | taken.vector[0], 1 << 8 | VEC_HIGH);
    write_cr8(4);
    let_in();
    CHECK_EQ("tpr-same-class-masks", taken.n, 1);
    write_cr8(3);
    let_in();
    CHECK_EQ("cr8-unmasks", taken.n << 8 | taken.vector[1], 2 << 8 | VEC_LOW);
    write_cr8(0);
}

static void send(uint32_t high, uint32_t low)
{
    apic_write(APIC_ICR_HIGH, high);
    apic_write(APIC_ICR, low | APIC_ICR_ASSERT | VEC_LOW);
}

static void check_destinations(void)
{
    uint32_t id = apic_read(APIC_ID) & 0xff000000;

    fresh();
    send(id, 0);
    let_in();
    CHECK_EQ("ipi-by-id", taken.n, 1);
    send(id ^ 0x05000000, 0);
    let_in();
    CHECK_EQ("ipi-to-nobody", taken.n, 1);
    send(0xff000000, 0);
    let_in();
    CHECK_EQ("ipi-broadcast-id", taken.n, 2);
    send(0, ICR_ALL);
    let_in();
    CHECK_EQ("ipi-all", taken.n, 3);
    send(0, ICR_OTHERS);
    let_in();
    CHECK_EQ("ipi-others-not-self", taken.n, 3);
    apic_write(APIC_LDR, 0x04000000);
    send(0x04000000, ICR_LOGICAL);
    let_in();
    CHECK_EQ("ipi-logical", taken.n, 4);
    send(0x02000000, ICR_LOGICAL);
    let_in();
    CHECK_EQ("ipi-logical-other", taken.n, 4);
    CHECK_EQ("icr-idle", apic_read(APIC_ICR) & 0x1000, 0);
}

static void check_errors(void)
{
    uint32_t esr;

    fresh();
    apic_write(APIC_LVT_ERROR, VEC_ERROR);
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
    CHECK_EQ("esr-clear", apic_read(APIC_ESR), 0);
    apic_self_ipi(5);
    let_in();
    CHECK_EQ("error-interrupt", taken.n << 8 | taken.vector[0], 1 << 8 | VEC_ERROR);
    apic_write(APIC_ESR, 0);
    esr = apic_read(APIC_ESR);
    CHECK("esr-illegal-vector",
          (esr & ESR_SEND_ILLEGAL) && !(esr & ~(ESR_SEND_ILLEGAL | ESR_RECEIVE_ILLEGAL)));
    apic_write(APIC_ESR, 0);
    CHECK_EQ("esr-clears-by-write", apic_read(APIC_ESR), 0);
    apic_init();
}

static void start_timer(uint32_t lvt, unsigned divide, uint32_t count)
{
    apic_write(APIC_TMR_DIVIDE, divide);
    apic_write(APIC_LVT_TIMER, lvt);
    apic_write(APIC_TMR_INITIAL, count);
}

/* Ticks in a millisecond at that divider; over ten, so that a slow access counts for little. */
static uint32_t timer_rate(unsigned divide)
{
    uint32_t left;

    start_timer(APIC_LVT_MASKED, divide, ~0u);
    timing_delay_us(10000);
    left = apic_read(APIC_TMR_CURRENT);
    apic_write(APIC_TMR_INITIAL, 0);
    return (~0u - left) / 10;
}

static void check_timer(void)
{
    uint32_t rate = timer_rate(DIVIDE_16);

    fresh();
    check_info("timer-ticks-per-ms-by-16", rate);
    CHECK_NEAR("divide-1", timer_rate(DIVIDE_1), (uint64_t)rate * 16, 3);
    CHECK_NEAR("divide-2", timer_rate(DIVIDE_2), (uint64_t)rate * 8, 3);
    CHECK_NEAR("divide-128", timer_rate(DIVIDE_128), rate / 8, 3);
    CHECK_EQ("timer-stopped", apic_read(APIC_TMR_CURRENT), 0);
    start_timer(VEC_TIMER, DIVIDE_16, rate);
    CHECK("timer-counts", apic_read(APIC_TMR_CURRENT) <= rate);
    CHECK_EQ("initial-reads-back", apic_read(APIC_TMR_INITIAL), rate);
    irq_count_apic(VEC_TIMER);
    CHECK("one-shot-comes", irq_wait_count(VEC_TIMER, 1, 20));
    (void)irq_wait_count(VEC_TIMER, 2, 3);
    CHECK_EQ("one-shot-once", irq_counts[VEC_TIMER], 1);
    CHECK_EQ("one-shot-ends-at-0", apic_read(APIC_TMR_CURRENT), 0);
}

static void check_periodic(void)
{
    uint32_t rate = timer_rate(DIVIDE_16);
    uint64_t start;

    irq_count_apic(VEC_TIMER);
    start_timer(VEC_TIMER | APIC_LVT_PERIODIC, DIVIDE_16, rate);
    start = rdtsc();
    CHECK("periodic-comes", irq_wait_count(VEC_TIMER, 20, 100));
    CHECK_NEAR("periodic-rate", rdtsc() - start, timing_tsc_hz() / 50, 5);
    apic_write(APIC_LVT_TIMER, VEC_TIMER | APIC_LVT_PERIODIC | APIC_LVT_MASKED);
    irq_counts[VEC_TIMER] = 0;
    (void)irq_wait_count(VEC_TIMER, ~0u, 3);
    CHECK_EQ("masked-does-not-come", irq_counts[VEC_TIMER], 0);
    CHECK("masked-still-counts", apic_read(APIC_TMR_CURRENT) > 0);
    apic_write(APIC_TMR_INITIAL, 0);
    apic_init();
}

/* CPUID leaves a guest: what the hypervisor does meanwhile is time, too. */
static void check_timer_busy(void)
{
    uint32_t rate = timer_rate(DIVIDE_16);
    uint64_t start, ms = timing_tsc_hz() / 1000;

    irq_count_apic(VEC_TIMER);
    start_timer(VEC_TIMER, DIVIDE_16, rate);
    start = rdtsc();
    irq_enable();
    while (irq_counts[VEC_TIMER] == 0 && rdtsc() - start < 20 * ms)
        (void)cpuid(0, 0);
    irq_disable();
    CHECK_NEAR("one-shot-between-exits", rdtsc() - start, ms, 10);
}

static void check_deadline(void)
{
    uint64_t start;

    if (!(cpuid(1, 0).ecx & CPUID_DEADLINE)) {
        check_skip("deadline", "no TSC deadline");
        return;
    }
    irq_count_apic(VEC_TIMER);
    apic_write(APIC_LVT_TIMER, VEC_TIMER | APIC_LVT_DEADLINE);
    asm volatile("mfence" : : : "memory");
    start = rdtsc();
    wrmsr(MSR_TSC_DEADLINE, start + timing_tsc_hz() / 1000);
    CHECK("deadline-armed", rdmsr(MSR_TSC_DEADLINE) != 0);
    CHECK("deadline-comes", irq_wait_count(VEC_TIMER, 1, 20));
    CHECK("deadline-not-early", rdtsc() - start >= timing_tsc_hz() / 1000);
    CHECK("deadline-not-late", rdtsc() - start < timing_tsc_hz() / 500);
    CHECK_EQ("deadline-disarmed", rdmsr(MSR_TSC_DEADLINE), 0);
    wrmsr(MSR_TSC_DEADLINE, 1); /* in the past: at once */
    CHECK("deadline-past", irq_wait_count(VEC_TIMER, 2, 5));
    apic_write(APIC_TMR_INITIAL, 1000);
    CHECK_EQ("deadline-ignores-initial", apic_read(APIC_TMR_CURRENT), 0);
    apic_init();
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    trap_set_handler(VEC_LOW, on_vector);
    trap_set_handler(VEC_SAME, on_vector);
    trap_set_handler(VEC_HIGH, on_vector);
    trap_set_handler(VEC_ERROR, on_vector);
    check_group(check_registers);
    check_group(check_disabled);
    check_group(check_self_ipi);
    check_group(check_priorities);
    check_group(check_destinations);
    check_group(check_errors);
    check_group(check_timer);
    check_group(check_periodic);
    check_group(check_timer_busy);
    check_group(check_deadline);
}
