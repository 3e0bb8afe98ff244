/* The local APIC of the CPU we run on: x2APIC where the CPU has it, else xAPIC. SDM vol. 3 ch. 11.
 */
#ifndef MACHINE_APIC_H
#define MACHINE_APIC_H

#include "lib/types.h"

/* Host interrupt vectors. A higher number has a higher priority. */
enum host_vector {
    HOST_VECTOR_IRQ = 0x30,    /* + ISA IRQ number: 0x30 to 0x3f */
    HOST_VECTOR_POSTED = 0xf0, /* posted-interrupt notification: a kick like any other */
    HOST_VECTOR_KICK = 0xf1,   /* look at your run queue and your vCPU again */
    HOST_VECTOR_TIMER = 0xf2,
    HOST_VECTOR_SPURIOUS = 0xff,
};

void apic_eoi(void);
/* Sends a fixed interrupt to one CPU. */
void apic_send(uint32_t apic_id, uint8_t vector);
/* Makes CPU index leave guest mode or idle soon. */
void apic_kick(unsigned cpu_index);
/*
 * Sets the one-shot timer to fire at this TSC value (at once if it is past; TIMER_NEVER stops
 * it), by TSC deadline where that works, else by the calibrated count.
 */
void apic_timer_set(uint64_t tsc_deadline);

#endif
