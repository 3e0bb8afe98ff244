/*
 * Two CPUs: INIT and SIPI, what ends HLT and what does not, IPIs and timers that must not get
 * lost, NMIs, memory touched by both at once. Everything is counted; times are only limits.
 */
#include "lib/guest.h"

#define AP_PAGE      0x8000ul /* as in smp.asm */
#define VEC_IPI      0x41
#define VEC_THIRD    0x51
#define VEC_SLOW     0x61
#define VEC_TIMER    0x50
#define DM_INIT      0x500
#define DM_STARTUP   0x600
#define LIMIT_MS     500
#define STARTS       20
#define WAKE_ROUNDS  200
#define PINGS        1000
#define TIMER_ROUNDS 300
#define NMI_ROUNDS   50
#define QUEUE_ROUNDS 50
#define TIMER_DIV_1  0xb

/* Memory that nobody has touched before. */
#define TOUCH_START 0x1400000ul
#define TOUCH_PAGES 4096

extern const char smp_code[], smp_code_end[];
void smp_ap_main(void);

typedef void (*job_t)(void);

static uint32_t ids[2];          /* APIC IDs: the boot CPU's, the other's */
static volatile unsigned online; /* how often the other CPU has started */
static volatile job_t job;       /* what it is to do; NULL again when it is done */
static volatile bool lost;       /* it did not do it: no more checks with it */
static volatile unsigned counts[2][256];
static volatile unsigned phase, go; /* of a job, in step with the boot CPU */
static volatile uint64_t progress;
static volatile unsigned masked_taken; /* interrupts that came although IF was clear */
static volatile unsigned for_nothing;  /* HLTs that ended without an interrupt */

/* ------------------------------------------------------------------ the two CPUs */

static unsigned me(void)
{
    return apic_read(APIC_ID) >> 24 == ids[1];
}

static void on_vector(struct trap_frame *f)
{
    counts[me()][f->vector]++;
    masked_taken += !(f->rflags & RFLAGS_IF);
    apic_write(APIC_EOI, 0);
}

static void on_nmi(struct trap_frame *f)
{
    counts[me()][f->vector]++;
}

static void send(unsigned cpu, uint32_t command)
{
    while (apic_read(APIC_ICR) & BIT(12))
        asm volatile("pause" : : : "memory");
    apic_write(APIC_ICR_HIGH, ids[cpu] << 24);
    apic_write(APIC_ICR, APIC_ICR_ASSERT | command);
}

/* Waits until *word has reached value; false: not within the limit. */
static bool reaches(const volatile unsigned *word, unsigned value)
{
    uint64_t end = rdtsc() + timing_tsc_hz() / 1000 * LIMIT_MS;

    while (*word < value) {
        if (rdtsc() > end)
            return false;
        asm volatile("pause" : : : "memory");
    }
    return true;
}

static void __attribute__((noinline)) ap_loop(void)
{
    for (;;) {
        job_t todo = job;

        if (todo != NULL) {
            todo();
            job = NULL;
        }
        asm volatile("pause" : : : "memory");
    }
}

void smp_ap_main(void)
{
    segment_load_gdt();
    trap_load_idt();
    apic_init();
    ids[1] = apic_read(APIC_ID) >> 24;
    online++;
    ap_loop();
}

static void give(job_t todo)
{
    phase = 0;
    go = 0;
    job = todo;
}

/* Whether the other CPU has done its job. */
static bool done(void)
{
    uint64_t end = rdtsc() + timing_tsc_hz() / 1000 * LIMIT_MS;

    while (job != NULL && rdtsc() < end)
        asm volatile("pause" : : : "memory");
    lost |= job != NULL;
    return !lost;
}

static void settle_job(void)
{
    irq_enable();
    asm volatile("nop; nop" : : : "memory");
    irq_disable();
}

/* The other CPU takes what an earlier check has left pending. */
static void settle(void)
{
    give(settle_job);
    (void)done();
}

/* ------------------------------------------------------------------ INIT and SIPI */

/* INIT, then SIPIs until it has come: those that come too many mean nothing. */
static bool start_ap(unsigned pause_us)
{
    unsigned before = online;

    send(1, DM_INIT);
    for (unsigned i = 0; i < 100 && online == before; i++) {
        timing_delay_us(pause_us);
        send(1, DM_STARTUP | AP_PAGE >> 12);
        timing_delay_us(50);
    }
    return online != before;
}

static void check_start(void)
{
    unsigned started = 0;

    memcpy((void *)AP_PAGE, smp_code, (size_t)(smp_code_end - smp_code));
    ids[0] = apic_read(APIC_ID) >> 24;
    ids[1] = ids[0] ^ 1;
    lost = !start_ap(200);
    CHECK_EQ("other-cpu-starts", online, 1);
    for (unsigned i = 0; i < STARTS; i++)
        started += start_ap(i % 7 * 3 + 1);
    CHECK_EQ("starts-after-every-init", started, STARTS);
    timing_delay_us(1000);
    CHECK_EQ("starts-once-each-time", online, 1 + STARTS);
}

/* ------------------------------------------------------------------ HLT */

/* HLT once, with interrupts on; counts when it has ended and none came. */
static void halt_once(void)
{
    unsigned before = counts[1][VEC_IPI];

    irq_wait();
    for_nothing += counts[1][VEC_IPI] == before;
}

/*
 * An IPI while it runs, then HLT, then a stretch with interrupts off into which the last IPI
 * comes: HLT ends only by an interrupt, and an interrupt that is masked stops nothing.
 */
static void wake_job(void)
{
    unsigned before;

    for (unsigned i = 0; i < WAKE_ROUNDS; i++) {
        before = counts[1][VEC_IPI];
        irq_enable();
        phase++;
        while (counts[1][VEC_IPI] == before)
            asm volatile("pause" : : : "memory");
        irq_disable();
        phase++;
        halt_once();
        phase++;
        while (go <= i) {
            progress++;
            asm volatile("pause" : : : "memory");
        }
        irq_enable();
        asm volatile("nop; nop" : : : "memory");
        irq_disable();
    }
}

/* Whether the other CPU executes instructions. */
static bool progresses(void)
{
    uint64_t end = rdtsc() + timing_tsc_hz() / 1000 * LIMIT_MS, want = progress + 1000;

    while (progress < want)
        if (rdtsc() > end)
            return false;
    return true;
}

/* One round of wake_job as the boot CPU sees it: how far it came. */
static unsigned wake_round(unsigned i)
{
    if (!reaches(&phase, 3 * i + 1))
        return 0;
    send(1, VEC_IPI);
    if (!reaches(&phase, 3 * i + 2))
        return 1;
    timing_delay_us(20); /* into HLT */
    send(1, VEC_IPI);
    if (!reaches(&phase, 3 * i + 3))
        return 2;
    send(1, VEC_IPI);
    if (!progresses())
        return 3;
    go = i + 1;
    return 4;
}

static void check_wake(void)
{
    unsigned steps = 0;

    settle();
    counts[1][VEC_IPI] = 0;
    for_nothing = 0;
    give(wake_job);
    for (unsigned i = 0; i < WAKE_ROUNDS && steps == 4 * i; i++)
        steps += wake_round(i);
    CHECK_EQ("masked-ipi-stops-nothing", steps, 4 * WAKE_ROUNDS);
    CHECK("halts-done", done());
    CHECK_EQ("halt-ends-by-interrupt-only", for_nothing, 0);
    CHECK_EQ("ipis-all-taken", counts[1][VEC_IPI], 3 * WAKE_ROUNDS);
}

/* ------------------------------------------------------------------ both halt, both send */

static void start_timer(uint32_t ticks)
{
    apic_write(APIC_TMR_DIVIDE, TIMER_DIV_1);
    apic_write(APIC_LVT_TIMER, VEC_TIMER);
    apic_write(APIC_TMR_INITIAL, ticks);
}

/* In HLT until the IPI of that number has come; false: the timer came long before it. */
static bool await_ipi(unsigned cpu, unsigned number)
{
    unsigned timeouts = counts[cpu][VEC_TIMER];

    while (counts[cpu][VEC_IPI] < number && counts[cpu][VEC_TIMER] - timeouts < 2)
        irq_wait();
    return counts[cpu][VEC_IPI] >= number;
}

static void pong_job(void)
{
    phase = 1;
    for (unsigned i = 1; i <= PINGS; i++) {
        while (counts[1][VEC_IPI] < i)
            irq_wait();
        send(0, VEC_IPI);
    }
}

static void check_ping_pong(void)
{
    unsigned answered = 0;

    counts[0][VEC_IPI] = counts[1][VEC_IPI] = 0;
    give(pong_job);
    (void)!reaches(&phase, 1);
    apic_write(APIC_LVT_TIMER, VEC_TIMER | APIC_LVT_PERIODIC);
    apic_write(APIC_TMR_INITIAL, (uint32_t)(timing_tsc_hz() / 10));
    for (; answered < PINGS; answered++) {
        send(1, VEC_IPI);
        if (!await_ipi(0, answered + 1))
            break;
    }
    apic_write(APIC_TMR_INITIAL, 0);
    CHECK_EQ("pings-all-answered", answered, PINGS);
    CHECK("pongs-done", done());
}

/* ------------------------------------------------------------------ timers */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 16;
}

/* One-shot timers of all lengths, each slept for; now and then an IPI to the other CPU. */
static void sleep_rounds(unsigned cpu)
{
    uint32_t random = cpu + 1;

    for (unsigned i = 1; i <= TIMER_ROUNDS; i++) {
        start_timer(next_random(&random) % 30000 + 1);
        if (next_random(&random) % 2)
            send(!cpu, VEC_IPI);
        while (counts[cpu][VEC_TIMER] < i)
            irq_wait();
    }
}

static void sleep_job(void)
{
    sleep_rounds(1);
}

static void check_timers(void)
{
    counts[0][VEC_TIMER] = counts[1][VEC_TIMER] = 0;
    give(sleep_job);
    sleep_rounds(0);
    CHECK("timers-of-both-done", done());
    CHECK_EQ("timers-boot-cpu", counts[0][VEC_TIMER], TIMER_ROUNDS);
    CHECK_EQ("timers-other-cpu", counts[1][VEC_TIMER], TIMER_ROUNDS);
}

/* ------------------------------------------------------------------ several pending */

/* After its EOI the next one is pending, but masked by IF. It stays until the boot CPU says so. */
static void on_slow(struct trap_frame *f)
{
    on_vector(f);
    phase++;
    while (go < phase)
        asm volatile("pause" : : : "memory");
}

static void queue_job(void)
{
    for (unsigned i = 0; i < QUEUE_ROUNDS; i++) {
        phase++;
        while (go < phase)
            asm volatile("pause" : : : "memory");
        irq_enable();
        while (counts[1][VEC_IPI] + counts[1][VEC_THIRD] < 2 * (i + 1))
            asm volatile("pause" : : : "memory");
        irq_disable();
    }
}

/* Two come while interrupts are off, a third one in the handler of the first. */
static bool queue_round(unsigned i)
{
    if (!reaches(&phase, 2 * i + 1))
        return false;
    send(1, VEC_IPI);
    send(1, VEC_SLOW);
    go = 2 * i + 1;
    if (!reaches(&phase, 2 * i + 2))
        return false;
    send(1, VEC_THIRD);
    timing_delay_us(20);
    go = 2 * i + 2;
    return true;
}

static void check_queue(void)
{
    unsigned rounds = 0;

    settle();
    counts[1][VEC_IPI] = counts[1][VEC_THIRD] = counts[1][VEC_SLOW] = 0;
    masked_taken = 0;
    give(queue_job);
    while (rounds < QUEUE_ROUNDS && queue_round(rounds))
        rounds++;
    CHECK_EQ("queued-rounds", rounds, QUEUE_ROUNDS);
    CHECK("queued-done", done());
    CHECK_EQ("queued-first", counts[1][VEC_SLOW], QUEUE_ROUNDS);
    CHECK_EQ("queued-second", counts[1][VEC_IPI], QUEUE_ROUNDS);
    CHECK_EQ("queued-third", counts[1][VEC_THIRD], QUEUE_ROUNDS);
    CHECK_EQ("queued-wait-for-if", masked_taken, 0);
}

/* ------------------------------------------------------------------ NMI */

static void nmi_job(void)
{
    while (counts[1][VEC_NMI] < NMI_ROUNDS) {
        phase++;
        asm volatile("hlt" : : : "memory");
    }
    while (counts[1][VEC_NMI] < 2 * NMI_ROUNDS)
        asm volatile("pause" : : : "memory");
}

static void check_nmis(void)
{
    unsigned taken = 0;

    counts[1][VEC_NMI] = 0;
    give(nmi_job);
    (void)!reaches(&phase, 1);
    for (; taken < 2 * NMI_ROUNDS; taken++) {
        timing_delay_us(10);
        send(1, APIC_DM_NMI);
        if (!reaches(&counts[1][VEC_NMI], taken + 1))
            break;
    }
    CHECK_EQ("nmis-all-taken", taken, 2 * NMI_ROUNDS);
    CHECK("nmis-done", done());
    CHECK_EQ("nmi-halts", phase, NMI_ROUNDS);
}

/* ------------------------------------------------------------------ memory */

static void touch(void)
{
    for (unsigned i = 0; i < TOUCH_PAGES; i++)
        __atomic_fetch_add((uint64_t *)(TOUCH_START + i * PAGE_SIZE), i + 1, __ATOMIC_SEQ_CST);
}

static void touch_job(void)
{
    phase = 1;
    while (go == 0)
        ;
    touch();
}

static void check_memory(void)
{
    unsigned right = 0;

    give(touch_job);
    (void)!reaches(&phase, 1);
    go = 1;
    touch();
    CHECK("touch-done", done());
    for (unsigned i = 0; i < TOUCH_PAGES; i++)
        right += *(uint64_t *)(TOUCH_START + i * PAGE_SIZE) == 2ul * (i + 1);
    CHECK_EQ("pages-touched-by-both", right, TOUCH_PAGES);
}

static void check_unless_lost(const char *name, void (*checks)(void))
{
    if (lost)
        CHECK(name, false);
    else
        check_group(checks);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    trap_set_handler(VEC_IPI, on_vector);
    trap_set_handler(VEC_THIRD, on_vector);
    trap_set_handler(VEC_SLOW, on_slow);
    trap_set_handler(VEC_TIMER, on_vector);
    trap_set_handler(VEC_NMI, on_nmi);
    check_group(check_start);
    check_unless_lost("no-cpu-for-memory", check_memory);
    check_unless_lost("no-cpu-for-nmis", check_nmis);
    check_unless_lost("no-cpu-for-ping-pong", check_ping_pong);
    check_unless_lost("no-cpu-for-timers", check_timers);
    check_unless_lost("no-cpu-for-queue", check_queue);
    check_unless_lost("no-cpu-for-wake", check_wake);
}
