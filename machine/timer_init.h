/* Each CPU's timer queue. */
#ifndef MACHINE_TIMER_INIT_H
#define MACHINE_TIMER_INIT_H

struct percpu;

/* Before anything is armed on cpu. */
void timer_init_queue(struct percpu *cpu);
/* On the CPU itself: its hardware timer. */
void timer_init_cpu(void);

#endif
