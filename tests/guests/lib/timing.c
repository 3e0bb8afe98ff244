#include "timing.h"
#include "irq.h"

static uint64_t tsc_hz;

uint64_t timing_measure_tsc(uint16_t pit_ticks)
{
    uint8_t port61 = in8(PORT_61) & (uint8_t) ~(PORT61_GATE2 | PORT61_SPEAKER);
    uint64_t start, end;

    out8(PORT_61, port61);
    pit_set(2, 0, pit_ticks);
    start = rdtsc();
    out8(PORT_61, port61 | PORT61_GATE2);
    while (!(in8(PORT_61) & PORT61_OUT2))
        ;
    end = rdtsc();
    out8(PORT_61, port61);
    return (end - start) * PIT_HZ / pit_ticks;
}

uint64_t timing_tsc_hz(void)
{
    if (tsc_hz == 0)
        tsc_hz = timing_measure_tsc(PIT_HZ / 100);
    return tsc_hz;
}

void timing_delay_us(unsigned us)
{
    uint64_t end = rdtsc() + timing_tsc_hz() * us / 1000000;

    while (rdtsc() < end)
        asm volatile("pause" : : : "memory");
}
