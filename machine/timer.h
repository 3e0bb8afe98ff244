/*
 * One clock, the TSC; one queue of timers per CPU; one hardware timer behind it. Deadlines are
 * TSC values.
 */
#ifndef MACHINE_TIMER_H
#define MACHINE_TIMER_H

#include "lib/timerq.h"
#include "lib/types.h"
#include "machine/percpu.h"

/* TSC ticks per second, calibrated against HPET, ACPI PM timer or PIT. */
uint64_t clock_hz(void);
/* ticks <-> nanoseconds. */
uint64_t clock_to_ns(uint64_t ticks);
uint64_t clock_from_ns(uint64_t ns);
/* Busy-waits; for bring-up only. */
void clock_delay_us(unsigned us);

/* Arms t in the queue of CPU index; that CPU's hardware timer follows. Any CPU may call. */
void timer_arm(unsigned cpu_index, struct timer *t, uint64_t tsc_deadline);
void timer_disarm(struct timer *t);
/*
 * Disarms t and waits until its callback, should it run on another CPU, has returned: then t may
 * be freed. Nobody but its callback may still arm it, and no lock may be held that that takes.
 */
void timer_stop(struct timer *t);
/* Fires what is due on this CPU. Called by the per-CPU loop. */
void timer_run(void);
/* The soonest deadline on this CPU, as of the last arming here or timer_run. */
static inline uint64_t timer_soonest(void)
{
    return this_cpu()->timer_next;
}
/*
 * While a guest runs under the VMX preemption timer, the local APIC's timer may stay silent:
 * follower is called on this CPU instead whenever its soonest deadline changes. NULL: the
 * hardware timer is used again.
 */
void timer_use_follower(void (*follower)(void));

#endif
