/*
 * Source: SDM vol. 3 ch. 11. A register is named by its xAPIC offset; as an x2APIC MSR it is
 * MSR_X2APIC + offset / 16.
 */
#include "lib/assert.h"
#include "lib/checked.h"
#include "machine/apic.h"
#include "machine/apic_init.h"
#include "machine/cpu.h"
#include "machine/paging.h"
#include "machine/panic.h"
#include "machine/percpu.h"
#include "machine/timer.h"

enum reg {
    REG_ID = 0x20,
    REG_TPR = 0x80,
    REG_EOI = 0xb0,
    REG_SPURIOUS = 0xf0,
    REG_IRR = 0x200, /* eight of them, 0x10 apart */
    REG_ICR = 0x300,
    REG_ICR_HIGH = 0x310, /* xAPIC only */
    REG_LVT_CMCI = 0x2f0,
    REG_LVT_TIMER = 0x320,
    REG_LVT_THERMAL = 0x330,
    REG_LVT_PMC = 0x340,
    REG_LVT_LINT0 = 0x350,
    REG_LVT_LINT1 = 0x360,
    REG_LVT_ERROR = 0x370,
    REG_TIMER_INITIAL = 0x380,
    REG_TIMER_CURRENT = 0x390,
    REG_TIMER_DIVIDE = 0x3e0,
    REG_VERSION = 0x30,
};

#define APIC_BASE_X2APIC   BIT(10)
#define APIC_BASE_ENABLE   BIT(11)
#define APIC_BASE_ADDR     0x000ffffffffff000ull
#define SPURIOUS_ENABLE    BIT(8)
#define LVT_MASKED         BIT(16)
#define LVT_LEVEL          BIT(15)
#define LVT_ACTIVE_LOW     BIT(13)
#define LVT_NMI            (4u << 8)
#define LVT_EXTINT         (7u << 8)
#define LVT_TIMER_ONE_SHOT (0u << 17)
#define LVT_TIMER_DEADLINE (2u << 17)
#define ICR_FIXED          (0u << 8)
#define ICR_NMI            (4u << 8)
#define ICR_INIT           (5u << 8)
#define ICR_STARTUP        (6u << 8)
#define ICR_PENDING        BIT(12)
#define ICR_ASSERT         BIT(14)
#define ICR_OTHERS         (3u << 18) /* all but this CPU */
#define TIMER_DIVIDE_BY_1  0xb

#define CPUID_X2APIC   BIT(21) /* leaf 1, ECX */
#define CPUID_DEADLINE BIT(24)

#define CALIBRATION_US 2000

static struct {
    bool ready, x2apic, deadline;
    volatile uint32_t *regs; /* xAPIC */
    uint64_t timer_hz;       /* of the counting timer */
} apic;

/* ------------------------------------------------------------ registers */

static uint32_t read_reg(enum reg r)
{
    return apic.x2apic ? (uint32_t)rdmsr(MSR_X2APIC + r / 16) : apic.regs[r / 4];
}

static void write_reg(enum reg r, uint32_t v)
{
    if (apic.x2apic)
        wrmsr(MSR_X2APIC + r / 16, v);
    else
        apic.regs[r / 4] = v;
}

static void wait_icr(void)
{
    while (apic.regs[REG_ICR / 4] & ICR_PENDING)
        cpu_pause();
}

static void send(uint32_t dest, uint32_t command)
{
    if (apic.x2apic) {
        /* A WRMSR to the x2APIC is not ordered after earlier stores (SDM vol. 3, 11.12.3). */
        __asm__ volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_X2APIC + REG_ICR / 16, (uint64_t)dest << 32 | command);
        return;
    }
    wait_icr();
    apic.regs[REG_ICR_HIGH / 4] = dest << 24;
    apic.regs[REG_ICR / 4] = command;
}

/* ------------------------------------------------------------ bring-up */

/* The local vector table, all masked; how many entries there are is the version's "max LVT". */
static void mask_all(void)
{
    static const enum reg lvt[] = {REG_LVT_TIMER, REG_LVT_LINT0,   REG_LVT_LINT1, REG_LVT_ERROR,
                                   REG_LVT_PMC,   REG_LVT_THERMAL, REG_LVT_CMCI};
    unsigned n = (read_reg(REG_VERSION) >> 16 & 0xff) + 1;

    for (unsigned i = 0; i < MIN(n, (unsigned)ARRAY_SIZE(lvt)); i++)
        write_reg(lvt[i], LVT_MASKED);
}

void apic_init_this_cpu(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

    /* From "off", x2APIC is reached only by way of xAPIC (SDM vol. 3, figure 11-27). */
    if (!(rdmsr(MSR_APIC_BASE) & APIC_BASE_ENABLE))
        wrmsr(MSR_APIC_BASE, base);
    if (apic.x2apic)
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    mask_all();
    write_reg(REG_TPR, 0);
    write_reg(REG_SPURIOUS, SPURIOUS_ENABLE | HOST_VECTOR_SPURIOUS);
    this_cpu()->apic_id = apic_id();
}

void apic_init(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);

    apic.x2apic = cpuid(1, 0).ecx & CPUID_X2APIC;
    if (!apic.x2apic && (base & APIC_BASE_X2APIC))
        fatal("the APIC is in x2APIC mode, which the CPU says it does not have");
    if (!apic.x2apic)
        apic.regs = paging_map_device(HPA(base & APIC_BASE_ADDR), PAGE_SIZE);
    apic_init_this_cpu();
    apic.ready = true;
}

bool apic_is_x2apic(void)
{
    return apic.x2apic;
}

uint32_t apic_id(void)
{
    uint32_t id = read_reg(REG_ID);

    return apic.x2apic ? id : id >> 24;
}

void apic_accept_pic(void)
{
    write_reg(REG_LVT_LINT0, LVT_EXTINT);
}

void apic_setup_nmi(unsigned lint, bool active_low, bool level)
{
    write_reg(lint == 0 ? REG_LVT_LINT0 : REG_LVT_LINT1,
              LVT_NMI | (active_low ? LVT_ACTIVE_LOW : 0) | (level ? LVT_LEVEL : 0));
}

/* ------------------------------------------------------------ messages */

void apic_eoi(void)
{
    write_reg(REG_EOI, 0);
}

void apic_send(uint32_t dest, uint8_t vector)
{
    send(dest, ICR_FIXED | ICR_ASSERT | vector);
}

void apic_kick(unsigned cpu_index)
{
    struct percpu *cpu = cpu_get(cpu_index);

    __atomic_fetch_add(&cpu->wakeups, 1, __ATOMIC_RELEASE);
    apic_send(cpu->apic_id, HOST_VECTOR_KICK);
}

void apic_send_init(uint32_t dest)
{
    send(dest, ICR_INIT | ICR_ASSERT);
}

void apic_send_startup(uint32_t dest, hpa_t page)
{
    ASSERT(page.v < MIB(1) && page.v % PAGE_SIZE == 0);
    send(dest, ICR_STARTUP | ICR_ASSERT | (uint32_t)(page.v >> PAGE_SHIFT));
}

void apic_stop_others(void)
{
    if (apic.ready && cpu_count() > 1)
        send(0, ICR_NMI | ICR_ASSERT | ICR_OTHERS);
}

/* ------------------------------------------------------------ timer */

void apic_timer_init(void)
{
    if (apic.deadline) {
        write_reg(REG_LVT_TIMER, LVT_TIMER_DEADLINE | HOST_VECTOR_TIMER);
        /* In xAPIC mode the store above may otherwise come after the first WRMSR. */
        __asm__ volatile("mfence" ::: "memory");
        return;
    }
    write_reg(REG_TIMER_DIVIDE, TIMER_DIVIDE_BY_1);
    write_reg(REG_LVT_TIMER, LVT_TIMER_ONE_SHOT | HOST_VECTOR_TIMER);
}

static uint64_t measure_once(void)
{
    uint64_t start, ticks;
    uint32_t left;

    write_reg(REG_TIMER_INITIAL, UINT32_MAX);
    start = rdtsc();
    clock_delay_us(CALIBRATION_US);
    left = read_reg(REG_TIMER_CURRENT);
    ticks = rdtsc() - start;
    write_reg(REG_TIMER_INITIAL, 0);
    return mul_div(UINT32_MAX - left, clock_hz(), ticks);
}

static bool timer_pending(void)
{
    return read_reg(REG_IRR + HOST_VECTOR_TIMER / 32 * 0x10) & BIT(HOST_VECTOR_TIMER % 32);
}

/* Sets a deadline and looks whether the interrupt comes, neither too early nor not at all. */
static bool try_deadline(void)
{
    uint64_t deadline = rdtsc() + clock_from_ns(100 * 1000), limit = deadline + clock_hz() / 100;
    bool early, fired;

    apic.deadline = true;
    apic_timer_init();
    wrmsr(MSR_TSC_DEADLINE, deadline);
    early = timer_pending() && rdtsc() < deadline;
    while (!timer_pending() && rdtsc() < limit)
        cpu_pause();
    fired = timer_pending() && !early;
    wrmsr(MSR_TSC_DEADLINE, 0);
    /* The interrupt that waits is taken and means nothing. */
    if (timer_pending())
        __asm__ volatile("sti; nop; cli" ::: "memory");
    return fired;
}

void apic_timer_calibrate(void)
{
    uint64_t a, b, c;

    write_reg(REG_TIMER_DIVIDE, TIMER_DIVIDE_BY_1);
    write_reg(REG_LVT_TIMER, LVT_MASKED);
    /* The middle one of three: a disturbance can make a round too fast or too slow. */
    a = measure_once();
    b = measure_once();
    c = measure_once();
    apic.timer_hz = MAX(MIN(a, b), MIN(MAX(a, b), c));
    apic.deadline = (cpuid(1, 0).ecx & CPUID_DEADLINE) && try_deadline();
    if (!apic.deadline && apic.timer_hz == 0)
        fatal("the APIC timer does not count");
}

bool apic_timer_is_deadline(void)
{
    return apic.deadline;
}

uint64_t apic_timer_hz(void)
{
    return apic.timer_hz;
}

void apic_timer_set(uint64_t tsc_deadline)
{
    uint64_t now, count;

    if (apic.deadline) {
        /* A deadline of 0 means none; one in the past fires at once. */
        wrmsr(MSR_TSC_DEADLINE, tsc_deadline == TIMER_NEVER ? 0 : MAX(tsc_deadline, 1ul));
        return;
    }
    if (tsc_deadline == TIMER_NEVER) {
        write_reg(REG_TIMER_INITIAL, 0);
        return;
    }
    now = rdtsc();
    count = tsc_deadline > now ? mul_div(tsc_deadline - now, apic.timer_hz, clock_hz()) + 1 : 1;
    /* Too far for the counter: it fires early, finds nothing due, and is set again. */
    write_reg(REG_TIMER_INITIAL, (uint32_t)MIN(count, (uint64_t)UINT32_MAX));
}
