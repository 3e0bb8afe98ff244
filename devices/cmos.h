/* What is in a PC's CMOS RAM besides the time: the places that BIOSes agree on, and SeaBIOS' own.
 */
#ifndef DEVICES_CMOS_H
#define DEVICES_CMOS_H

#include "lib/types.h"

#define CMOS_SIZE 128

struct machine_config;

/* Fills it in for a machine: equipment, memory sizes, checksum, CPUs, boot order. */
void cmos_fill(uint8_t cmos[CMOS_SIZE], const struct machine_config *config);

#endif
