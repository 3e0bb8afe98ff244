/* The local APIC's bring-up, and what only machine/ needs of it. */
#ifndef MACHINE_APIC_INIT_H
#define MACHINE_APIC_INIT_H

#include "lib/types.h"

/* Boot CPU: chooses x2APIC or xAPIC, and enables it. */
void apic_init(void);
/* Every other CPU: the same mode. */
void apic_init_this_cpu(void);
bool apic_is_x2apic(void);
uint32_t apic_id(void);
/* Start-up messages to another CPU; page is below 1 MiB. */
void apic_send_init(uint32_t apic_id);
void apic_send_startup(uint32_t apic_id, hpa_t page);
/* An NMI to every other CPU; does nothing before apic_init. */
void apic_stop_others(void);
/* Lets the 8259As interrupt this CPU: on machines without an IOAPIC. */
void apic_accept_pic(void);
/* Masks or applies an NMI input (LINT0 or 1) as the MADT has it for this CPU. */
void apic_setup_nmi(unsigned lint, bool active_low, bool level);
/*
 * Measures the timer against the TSC and tries TSC-deadline mode: boot CPU, interrupts off, after
 * clock_init. apic_timer_init then sets up each CPU's timer.
 */
void apic_timer_calibrate(void);
void apic_timer_init(void);
bool apic_timer_is_deadline(void);
uint64_t apic_timer_hz(void);

#endif
