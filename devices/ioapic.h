/* The I/O APIC (82093AA data sheet), 24 pins. */
#ifndef DEVICES_IOAPIC_H
#define DEVICES_IOAPIC_H

#include "devices/device.h"

struct ioapic;

/* Whether the line at the pin is asserted, whatever voltage that may be. */
void ioapic_set_pin(struct ioapic *a, unsigned pin, bool level);
/* A local APIC signalled the end of a level-triggered vector. */
void ioapic_eoi(struct ioapic *a, uint8_t vector);
/* Sets in bitmap the vectors of level-triggered, unmasked pins. */
void ioapic_level_vectors(const struct ioapic *a, uint64_t bitmap[4]);

#endif
