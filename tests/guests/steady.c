/*
 * What tests/e2e suspends, resets and destroys: counts timer interrupts, says so at each beat of
 * twenty, and tells how many beats took longer or shorter than they should by the guest's own TSC.
 * '?' typed asks for that; the power button, and q, turn it off.
 */
#include "lib/guest.h"

#define TICK_HZ       100
#define TICKS_A_BEAT  20
#define COM1_DATA     0x3f8
#define COM1_STATUS   0x3fd
#define COM1_RECEIVED 0x01
#define PM1_STATUS    0x600
#define PM1_BUTTON    BIT(8)
#define FAST_PERCENT  60
#define SLOW_PERCENT  160

static unsigned beats, fast, slow;

/* Waits for a beat, and compares it with the TSC. */
static void beat(uint64_t expected)
{
    uint64_t start = rdtsc(), ticks;

    (void)irq_wait_count(PIC_VECTOR, irq_counts[PIC_VECTOR] + TICKS_A_BEAT, 100000);
    ticks = rdtsc() - start;
    /* The first one may begin anywhere in a tick, and code runs from the loader's cold caches. */
    if (++beats > 1) {
        fast += ticks < expected * FAST_PERCENT / 100;
        slow += ticks > expected * SLOW_PERCENT / 100;
    }
    console_print("%s beat %u\n", guest_cmdline, beats);
}

static void answer(uint8_t key)
{
    if (key == '?')
        console_print("%s: %u beats, %u fast, %u slow\n", guest_cmdline, beats, fast, slow);
    else
        console_print("%s: key %x\n", guest_cmdline, key);
    console_drain();
    if (key == 'q')
        power_off();
}

void guest_main(void)
{
    uint64_t expected = timing_tsc_hz() * TICKS_A_BEAT / TICK_HZ;

    apic_init();
    irq_count_pic(IRQ_PIT);
    pit_set(0, 2, PIT_HZ / TICK_HZ);
    pic_unmask(IRQ_PIT);
    console_print("%s: here I am\n", guest_cmdline);
    for (;;) {
        console_flush();
        beat(expected);
        while (in8(COM1_STATUS) & COM1_RECEIVED)
            answer(in8(COM1_DATA));
        if (in16(PM1_STATUS) & PM1_BUTTON) {
            console_print("%s: power button\n", guest_cmdline);
            console_drain();
            power_off();
        }
    }
}
