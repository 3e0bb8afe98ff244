/*
 * Two CPUs that restart the machine again and again, while timers of both and of devices run and
 * IPIs are on their way. What an earlier life has left behind must not keep the next one from
 * starting, on either CPU. The counts are in CMOS RAM, which outlives a reset.
 */
#include "lib/guest.h"

#define AP_PAGE     0x8000ul /* as in smp.asm */
#define CMOS_MAGIC  0x54
#define CMOS_LIVES  0x55 /* how often the kernel was started */
#define CMOS_OTHERS 0x56 /* and the other CPU */
#define MAGIC       0xb8

#define LIVES 100

#define PORT_RESET  0xcf9
#define RESET_GO    0x06
#define VEC_TIMER   0x50
#define VEC_IPI     0x41
#define DM_INIT     0x500
#define DM_STARTUP  0x600
#define TIMER_DIV_1 0xb
#define TIMER_TICKS 20000
#define PIT_COUNT   1000 /* 838 us */

extern const char smp_code[], smp_code_end[];
void smp_ap_main(void);

static uint32_t ids[2];
static volatile bool online;
static volatile unsigned victim; /* the CPU that restarts the machine, + 1 */
static unsigned lives;

static void send(unsigned cpu, uint32_t command)
{
    while (apic_read(APIC_ICR) & BIT(12))
        asm volatile("pause" : : : "memory");
    apic_write(APIC_ICR_HIGH, ids[cpu] << 24);
    apic_write(APIC_ICR, APIC_ICR_ASSERT | command);
}

static void start_timer(void)
{
    apic_write(APIC_TMR_DIVIDE, TIMER_DIV_1);
    apic_write(APIC_LVT_TIMER, VEC_TIMER | APIC_LVT_PERIODIC);
    apic_write(APIC_TMR_INITIAL, TIMER_TICKS);
}

/* By the port, or by a triple fault; does not return. */
static void restart(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) empty = {0, 0};

    if (lives % 8 == 7)
        asm volatile("lidt %0; int3" : : "m"(empty));
    for (;;)
        out8(PORT_RESET, RESET_GO);
}

/* Takes interrupts, halted or running, until it is its turn; IPIs keep the other one busy. */
static void __attribute__((noinline)) live(unsigned cpu)
{
    for (;;) {
        if (victim == cpu + 1)
            restart();
        irq_enable();
        if (lives & 1)
            asm volatile("hlt" : : : "memory");
        else
            asm volatile("pause" : : : "memory");
        irq_disable();
        if (lives & 2)
            send(!cpu, VEC_IPI);
    }
}

void smp_ap_main(void)
{
    segment_load_gdt();
    trap_load_idt();
    apic_init();
    ids[1] = apic_read(APIC_ID) >> 24;
    online = true;
    start_timer();
    live(1);
}

static void start_other(void)
{
    memcpy((void *)AP_PAGE, smp_code, (size_t)(smp_code_end - smp_code));
    ids[0] = apic_read(APIC_ID) >> 24;
    ids[1] = ids[0] ^ 1;
    send(1, DM_INIT);
    for (unsigned i = 0; i < 100 && !online; i++) {
        timing_delay_us(200);
        send(1, DM_STARTUP | AP_PAGE >> 12);
        timing_delay_us(50);
    }
    if (online)
        cmos_write(CMOS_OTHERS, cmos_read(CMOS_OTHERS) + 1);
}

static void turn_over(struct trap_frame *f)
{
    static unsigned ticks;

    (void)f;
    pic_eoi(IRQ_PIT);
    if (++ticks == 2 + lives % 5)
        victim = online ? lives / 4 % 2 + 1 : 1;
}

static void begin_life(void)
{
    cmos_write(CMOS_LIVES, (uint8_t)(lives + 1));
    apic_init();
    pic_init();
    irq_count_apic(VEC_TIMER);
    irq_count_apic(VEC_IPI);
    trap_set_handler(PIC_VECTOR + IRQ_PIT, turn_over);
    start_other();
    pit_set(0, 2, PIT_COUNT);
    pic_unmask(IRQ_PIT);
    start_timer();
    live(0);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    if (cmos_read(CMOS_MAGIC) != MAGIC) {
        cmos_write(CMOS_MAGIC, MAGIC);
        cmos_write(CMOS_LIVES, 0);
        cmos_write(CMOS_OTHERS, 0);
    }
    lives = cmos_read(CMOS_LIVES);
    if (lives < LIVES)
        begin_life();
    cmos_write(CMOS_MAGIC, 0);
    CHECK_EQ("lives", lives, LIVES);
    CHECK_EQ("lives-of-the-other-cpu", cmos_read(CMOS_OTHERS), LIVES);
}
