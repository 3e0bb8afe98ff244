/* The legacy PICs and the IOAPICs: where device interrupts come from. */
#ifndef MACHINE_IOAPIC_H
#define MACHINE_IOAPIC_H

#include "lib/types.h"

/* Masks everything; finds the IOAPICs that ACPI names. */
void ioapic_init(void);
/* How many there are; with none, ISA IRQs come through the PICs. */
unsigned ioapic_count(void);
/* Ends an interrupt of the PICs, if that is where ISA IRQs come from; else false. */
bool ioapic_pic_eoi(unsigned vector);

#endif
