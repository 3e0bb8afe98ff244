/*
 * What belongs to one physical CPU. GS points at it while the hypervisor runs (VM exits load it
 * from the VMCS host state).
 */
#ifndef MACHINE_PERCPU_H
#define MACHINE_PERCPU_H

#include "lib/spinlock.h"
#include "lib/timerq.h"
#include "lib/types.h"

#define MAX_CPUS 64

struct gdt;
struct tss;
struct vcpu;
struct vmx_registers;

struct percpu {
    struct percpu *self; /* at GS:0 */
    unsigned index;      /* 0 is the boot CPU */
    uint32_t apic_id;
    bool online;
    void *stack_top;             /* of the main stack; guard page below the stack */
    void *gdt;                   /* struct in machine/trap.c: GDT and TSS of this CPU */
    uint64_t gdt_base, tss_base; /* linear addresses, for the VMCS host state */
    struct timerq timers;        /* deadlines in TSC ticks; owned by machine/timer.c */
    struct spinlock timers_lock;
    uint64_t timer_armed;       /* what the hardware timer is set to, or TIMER_NEVER */
    uint64_t timer_next;        /* what the queue wants, as this CPU last saw it */
    struct timer *timer_firing; /* whose callback runs on this CPU; under timers_lock */
    /* While not NULL: follows timer_next instead of the hardware timer (timer_use_follower). */
    void (*timer_follower)(void);
    uint32_t wakeups; /* bumped by every kick (machine/apic.h) */
    /* Upper layers hang their own per-CPU state here. */
    void *vmx;                   /* vmx/: VMXON region and capabilities in use */
    struct vmx_registers *guest; /* vmx/: what its registers hold for guests */
    void *sched;                 /* sched/: run queue */
    uint64_t slice_end;   /* vm/: when the vCPU that runs is to look at the queue, if it is timed */
    struct vcpu *timed;   /* vm/: the vCPU whose own deadline is in the preemption timer */
    struct vcpu *running; /* vm/: the vCPU in guest mode or being handled, or NULL */
};

static inline struct percpu *this_cpu(void)
{
    struct percpu *p;

    __asm__("mov %%gs:0, %0" : "=r"(p));
    return p;
}

/* All CPUs that were started; index < cpu_count(). */
unsigned cpu_count(void);
struct percpu *cpu_get(unsigned index);

#endif
