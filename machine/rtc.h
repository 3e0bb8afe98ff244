/* The machine's real-time clock, read once at boot. */
#ifndef MACHINE_RTC_H
#define MACHINE_RTC_H

#include "lib/types.h"

/* Seconds since 1970 UTC now: the CMOS clock at boot, and the TSC since. */
uint64_t rtc_wall_clock(void);
/* Reads the clock; the TSC must have been calibrated. */
void rtc_init(void);

#endif
