/* The local APIC in x2APIC mode: the switch, the MSRs, what gives #GP, IPIs and the timer. */
#include "lib/guest.h"

#define X2(offset)  (MSR_X2APIC + (offset) / 16)
#define X2_SELF_IPI 0x83f
#define BASE_EXTD   BIT(10)
#define BASE_ENABLE BIT(11)
#define VEC_IPI     0x41
#define VEC_OTHER   0x61
#define VEC_TIMER   0x50
#define DIVIDE_1    0xb

static void on_vector(struct trap_frame *f)
{
    irq_counts[f->vector]++;
    wrmsr(X2(APIC_EOI), 0);
}

static bool arrives(unsigned vector)
{
    irq_counts[vector] = 0;
    return irq_wait_count(vector, 1, 2);
}

static void check_switch(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    uint32_t id = apic_read(APIC_ID) >> 24;

    apic_init();
    CHECK_EQ("extd-without-enable", wrmsr_safe(MSR_APIC_BASE, (base & ~BASE_ENABLE) | BASE_EXTD),
             VEC_GP);
    wrmsr(MSR_APIC_BASE, base | BASE_EXTD);
    CHECK_EQ("extd-set", rdmsr(MSR_APIC_BASE), base | BASE_EXTD);
    CHECK_EQ("back-to-xapic", wrmsr_safe(MSR_APIC_BASE, base), VEC_GP);
    CHECK_EQ("id", rdmsr(X2(APIC_ID)), id);
    CHECK_EQ("ldr-from-id", rdmsr(X2(APIC_LDR)), (id & 0xffff0) << 12 | 1u << (id & 0xf));
    CHECK_EQ("svr-kept", rdmsr(X2(APIC_SVR)) & 0x1ff, APIC_SVR_ENABLE | APIC_SPURIOUS_VECTOR);
}

/* Registers that do not exist here, or not for reading, or not for writing. */
static void check_faults(void)
{
    static const uint32_t absent[] = {X2(APIC_DFR), X2(APIC_ICR_HIGH), 0x840, 0x8ff, 0x801};
    unsigned reads = 0, writes = 0;
    uint64_t v;

    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        reads += rdmsr_safe(absent[i], &v) == VEC_GP;
        writes += wrmsr_safe(absent[i], 0) == VEC_GP;
    }
    CHECK_EQ("absent-reads", reads, ARRAY_SIZE(absent));
    CHECK_EQ("absent-writes", writes, ARRAY_SIZE(absent));
    CHECK_EQ("eoi-read", rdmsr_safe(X2(APIC_EOI), &v), VEC_GP);
    CHECK_EQ("self-ipi-read", rdmsr_safe(X2_SELF_IPI, &v), VEC_GP);
    CHECK_EQ("id-write", wrmsr_safe(X2(APIC_ID), 0), VEC_GP);
    CHECK_EQ("ldr-write", wrmsr_safe(X2(APIC_LDR), 0), VEC_GP);
    CHECK_EQ("version-write", wrmsr_safe(X2(APIC_VERSION), 0), VEC_GP);
    CHECK_EQ("irr-write", wrmsr_safe(X2(APIC_IRR), 0), VEC_GP);
    CHECK_EQ("eoi-not-0", wrmsr_safe(X2(APIC_EOI), 1), VEC_GP);
    CHECK_EQ("esr-not-0", wrmsr_safe(X2(APIC_ESR), 1), VEC_GP);
    CHECK_EQ("tpr-reserved", wrmsr_safe(X2(APIC_TPR), 0x100), VEC_GP);
    CHECK_EQ("tpr-high-half", wrmsr_safe(X2(APIC_TPR), BIT(32)), VEC_GP);
    CHECK_EQ("svr-reserved", wrmsr_safe(X2(APIC_SVR), 0x80001ff), VEC_GP);
    CHECK_EQ("lvt-timer-reserved", wrmsr_safe(X2(APIC_LVT_TIMER), BIT(20)), VEC_GP);
    CHECK_EQ("self-ipi-reserved", wrmsr_safe(X2_SELF_IPI, 0x100), VEC_GP);
    CHECK_EQ("icr-reserved", wrmsr_safe(X2(APIC_ICR), BIT(20)), VEC_GP);
}

static void check_ipis(void)
{
    uint64_t id = rdmsr(X2(APIC_ID));

    wrmsr(X2_SELF_IPI, VEC_IPI);
    CHECK("irr-set", rdmsr(X2(APIC_IRR) + VEC_IPI / 32) >> VEC_IPI % 32 & 1);
    CHECK("self-ipi", arrives(VEC_IPI));
    wrmsr(X2(APIC_ICR), id << 32 | APIC_ICR_ASSERT | VEC_IPI);
    CHECK("ipi-by-id", arrives(VEC_IPI));
    CHECK_EQ("icr-reads-back", rdmsr(X2(APIC_ICR)) & ~0x1000ul,
             id << 32 | APIC_ICR_ASSERT | VEC_IPI);
    wrmsr(X2(APIC_ICR), 0xfffffffful << 32 | APIC_ICR_ASSERT | VEC_IPI);
    CHECK("ipi-broadcast", arrives(VEC_IPI));
    wrmsr(X2(APIC_ICR), (id + 77) << 32 | APIC_ICR_ASSERT | VEC_IPI);
    CHECK("ipi-to-nobody", !arrives(VEC_IPI));
    wrmsr(X2(APIC_ICR), rdmsr(X2(APIC_LDR)) << 32 | APIC_ICR_ASSERT | 0x800 | VEC_OTHER);
    CHECK("ipi-logical", arrives(VEC_OTHER));
    CHECK_EQ("isr-in-the-end", rdmsr(X2(APIC_ISR) + VEC_OTHER / 32), 0);
}

static void check_tpr(void)
{
    write_cr8(6);
    CHECK_EQ("cr8-is-tpr", rdmsr(X2(APIC_TPR)), 0x60);
    wrmsr(X2_SELF_IPI, VEC_OTHER);
    CHECK("tpr-masks", !arrives(VEC_OTHER));
    wrmsr(X2(APIC_TPR), 0x50);
    CHECK_EQ("tpr-is-cr8", read_cr8(), 5);
    CHECK("tpr-unmasks", arrives(VEC_OTHER));
    CHECK_EQ("ppr", rdmsr(X2(APIC_PPR)), 0x50);
    write_cr8(0);
}

static void check_timer(void)
{
    wrmsr(X2(APIC_TMR_DIVIDE), DIVIDE_1);
    wrmsr(X2(APIC_LVT_TIMER), VEC_TIMER);
    wrmsr(X2(APIC_TMR_INITIAL), 2000);
    CHECK("timer-counts", rdmsr(X2(APIC_TMR_CURRENT)) < 2000);
    CHECK("timer-comes", arrives(VEC_TIMER));
    CHECK_EQ("timer-ends-at-0", rdmsr(X2(APIC_TMR_CURRENT)), 0);
}

void guest_main(void)
{
    if (!(cpuid(1, 0).ecx & BIT(21))) {
        check_skip("x2apic", "not offered by CPUID");
        return;
    }
    (void)timing_tsc_hz();
    trap_set_handler(VEC_IPI, on_vector);
    trap_set_handler(VEC_OTHER, on_vector);
    trap_set_handler(VEC_TIMER, on_vector);
    check_group(check_switch);
    check_group(check_faults);
    check_group(check_ipis);
    check_group(check_tpr);
    check_group(check_timer);
}
