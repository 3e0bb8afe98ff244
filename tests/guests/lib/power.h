/* Turning the machine off, and restarting it. */
#ifndef GUESTS_POWER_H
#define GUESTS_POWER_H

#include "lib/types.h"

/* ACPI S5 as the tables say, then the ports that emulators are known to have, then HLT. */
void power_off(void) NORETURN;

/* What the ACPI tables say; ports are 0 where there are no tables. */
struct power_acpi {
    uint16_t pm1a_control, pm1b_control, pm_timer;
    uint8_t sleep_type; /* for S5 */
    bool timer_32bit;
    uint8_t reset_space; /* 1: port; 0xff: no reset register */
    uint64_t reset_address;
    uint8_t reset_value;
};
bool power_find_acpi(struct power_acpi *acpi);

#endif
