/* Interrupts of timers: from expiry, or from the last thing the guest did, to the handler. */
#include "bench.h"

#define VEC_TIMER       0x51
#define MSR_X2APIC_LVTT 0x832
#define ECX_DEADLINE    BIT(24)
#define BASE_EXTD       BIT(10)
#define AHEAD           50000 /* ticks: more than what arming it takes, and what KVM waits */
#define PIT_COUNT       2000  /* 1.7 ms */
#define ROUNDS          500
#define WARMUP          20

/* stubs.asm */
void stub_timer_x2apic(void);
void stub_timer_pic(void);
uint64_t timers_spin(void);
extern volatile uint64_t timers_fired, timers_last;

/* Reads the TSC in a circle until the handler has been there. */
static void spin(void)
{
    timers_last = rdtsc();
    irq_enable();
    (void)timers_spin();
    irq_disable();
}

static uint64_t arm(void)
{
    uint64_t deadline = rdtsc() + AHEAD;

    timers_fired = 0;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    return deadline;
}

static uint32_t deadline_to_handler(void)
{
    uint64_t deadline = arm();

    spin();
    return (uint32_t)(timers_fired - deadline);
}

static uint32_t deadline_wakes_halted(void)
{
    uint64_t deadline = arm();

    while (timers_fired == 0)
        irq_wait();
    return (uint32_t)(timers_fired - deadline);
}

/* What a timer's interrupt takes from a guest that is computing. */
static uint32_t deadline_steals(void)
{
    (void)arm();
    spin();
    return (uint32_t)(timers_fired - timers_last);
}

static uint32_t pit_steals(void)
{
    timers_fired = 0;
    pit_set(0, 0, PIT_COUNT);
    spin();
    return (uint32_t)(timers_fired - timers_last);
}

static bool deadline_usable(void)
{
    return (cpuid(1, 0).ecx & ECX_DEADLINE) && (rdmsr(MSR_APIC_BASE) & BASE_EXTD);
}

/* A PIT that nobody has counts nothing. */
static bool pit_there(void)
{
    pit_set(0, 0, PIT_COUNT);
    return pit_read(0) <= PIT_COUNT;
}

static void run_pit(void)
{
    if (!pit_there()) {
        bench_skip("pit_to_handler", "no PIT");
        return;
    }
    bench_set_stub(PIC_VECTOR + IRQ_PIT, stub_timer_pic);
    pic_unmask(IRQ_PIT);
    bench_run_latency("pit_to_handler", pit_steals, 100, 5);
    pic_mask_all();
    pit_stop();
}

void bench_timer(void)
{
    run_pit();
    if (!deadline_usable()) {
        bench_skip("deadline_to_handler", "no x2APIC with TSC deadlines");
        return;
    }
    bench_set_stub(VEC_TIMER, stub_timer_x2apic);
    wrmsr(MSR_X2APIC_LVTT, APIC_LVT_DEADLINE | VEC_TIMER);
    bench_run_latency("deadline_to_handler", deadline_to_handler, ROUNDS, WARMUP);
    bench_run_latency("deadline_steals", deadline_steals, ROUNDS, WARMUP);
    bench_run_latency("deadline_wakes_halted", deadline_wakes_halted, ROUNDS, WARMUP);
    wrmsr(MSR_X2APIC_LVTT, APIC_LVT_MASKED);
}
