/* Ending the machine: ACPI S5 and reset by the FADT, the old ways where that is not there. */
#ifndef MACHINE_POWER_H
#define MACHINE_POWER_H

#include "lib/types.h"

/*
 * Powers the machine off. Before that, status is told to whoever runs us in an emulator: a last
 * line "tithe: exit status N" on the serial line (scripts/ waits for it).
 */
NORETURN void power_off(int status);
NORETURN void power_reset(void);
/* Interrupts off, hlt, for ever. */
NORETURN void power_halt(void);

#endif
