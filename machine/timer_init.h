/* Each CPU's timer queue. */
#ifndef MACHINE_TIMER_INIT_H
#define MACHINE_TIMER_INIT_H

struct percpu;

/* Before anything is armed on cpu. */
void timer_init_queue(struct percpu *cpu);
/* The handlers of the timer's and kicks' interrupts; before the APIC timer is tried. */
void timer_init_interrupts(void);

#endif
