/* An IPI to another CPU and one back: how long the way is when that CPU runs, and when it halts. */
#include "bench.h"

#define VEC_PONG       0x41
#define VEC_PING       0x42
#define BASE_EXTD      BIT(10)
#define ECX_X2APIC     BIT(21)
#define AP_PAGE        0x8000ul
#define ICR_OTHERS     0xc0000
#define ICR_INIT       0x4500
#define ICR_STARTUP    0x4600
#define START_MS       100
#define MSR_X2APIC_ID  0x802
#define MSR_X2APIC_SVR 0x80f
#define MSR_X2APIC_ICR 0x830
#define ROUNDS         500
#define WARMUP         50

extern const uint8_t ap_start[], ap_start_end[];
void stub_ping(void);
void stub_arrived_x2apic(void);
void smp_ap_main(void);

enum ap_order { AP_RUN, AP_HALT, AP_PARK };

uint64_t smp_pong_icr, smp_ping_icr;
static volatile bool alive;
static volatile enum ap_order order;

static void x2apic_on(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BASE_EXTD);
    wrmsr(MSR_X2APIC_SVR, APIC_SVR_ENABLE | APIC_SPURIOUS_VECTOR);
}

void smp_ap_main(void)
{
    segment_load_gdt();
    trap_load_idt();
    x2apic_on();
    smp_ping_icr = rdmsr(MSR_X2APIC_ID) << 32 | APIC_ICR_ASSERT | VEC_PING;
    alive = true;
    irq_enable();
    while (order != AP_PARK)
        if (order == AP_HALT)
            asm volatile("hlt" : : : "memory");
    irq_disable();
}

static bool start_other(void)
{
    uint64_t end;

    memcpy((void *)AP_PAGE, ap_start, (size_t)(ap_start_end - ap_start));
    wrmsr(MSR_X2APIC_ICR, ICR_OTHERS | ICR_INIT);
    timing_delay_us(10000);
    wrmsr(MSR_X2APIC_ICR, ICR_OTHERS | ICR_STARTUP | AP_PAGE >> 12);
    end = rdtsc() + timing_tsc_hz() / 1000 * START_MS;
    while (!alive && rdtsc() < end)
        asm volatile("pause" : : : "memory");
    return alive;
}

#define PING_SETUP(arrived)                                             \
    "mov byte ptr [bench_arrived], " #arrived "; sti; mov ecx, 0x830; " \
    "mov eax, [smp_ping_icr]; mov edx, [smp_ping_icr + 4]\n"
#define PING_WAIT "1: cmp byte ptr [bench_arrived], 0; je 1b; cli\n"

uint32_t with_ping(void);
uint32_t without_ping(void);
BENCH_FUNCTION("with_ping", PING_SETUP(0) "wrmsr\n" PING_WAIT);
BENCH_FUNCTION("without_ping", PING_SETUP(1) PING_WAIT);

static void round_trip(const char *name, enum ap_order how)
{
    const struct bench_op op = {name, with_ping, without_ping};

    order = how;
    bench_run_times(&op, ROUNDS, WARMUP);
}

void bench_smp(void)
{
    if (!(cpuid(1, 0).ecx & ECX_X2APIC)) {
        bench_skip("ipi_round_trip", "no x2APIC");
        return;
    }
    x2apic_on();
    smp_pong_icr = rdmsr(MSR_X2APIC_ID) << 32 | APIC_ICR_ASSERT | VEC_PONG;
    bench_set_stub(VEC_PING, stub_ping);
    bench_set_stub(VEC_PONG, stub_arrived_x2apic);
    if (!start_other()) {
        bench_skip("ipi_round_trip", "no other CPU");
        return;
    }
    round_trip("ipi_round_trip_running", AP_RUN);
    round_trip("ipi_round_trip_halted", AP_HALT);
    order = AP_PARK;
    (void)with_ping();
}
