/* Time by the TSC, whose frequency comes from PIT channel 2. */
#ifndef GUESTS_TIMING_H
#define GUESTS_TIMING_H

#include "lib/types.h"

/* Measured once, at the first call: TSC ticks in a second. */
uint64_t timing_tsc_hz(void);
/* One measurement over that many PIT ticks (mode 0 on channel 2). */
uint64_t timing_measure_tsc(uint16_t pit_ticks);
void timing_delay_us(unsigned us);

#endif
