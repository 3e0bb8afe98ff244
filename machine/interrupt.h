/* Host interrupts: taken in the idle loop through the IDT, or as VM exits and then dispatched. */
#ifndef MACHINE_INTERRUPT_H
#define MACHINE_INTERRUPT_H

#include "lib/types.h"

/* Called with interrupts off; the end of interrupt has been signalled already. */
typedef void (*interrupt_handler)(unsigned vector);

void interrupt_register(unsigned vector, interrupt_handler handler);
/* Handles one interrupt that a VM exit acknowledged (or that came through the IDT): EOI, handler.
 */
void interrupt_dispatch(unsigned vector);
/* Routes an ISA IRQ through the IOAPIC (or PIC) to the boot CPU, at HOST_VECTOR_IRQ + irq. */
bool interrupt_enable_isa(unsigned irq);
/* Interrupts so far that nobody had registered for. */
uint64_t interrupt_unexpected(void);

#endif
