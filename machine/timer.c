/* One timer queue per CPU, and its hardware timer that follows the soonest deadline. */
#include "lib/assert.h"
#include "machine/apic.h"
#include "machine/apic_init.h"
#include "machine/cpu.h"
#include "machine/interrupt.h"
#include "machine/percpu.h"
#include "machine/timer.h"
#include "machine/timer_init.h"

static struct percpu *owner_of(struct timerq *q)
{
    return container_of(q, struct percpu, timers);
}

static void set_hardware(struct percpu *cpu, uint64_t deadline)
{
    if (deadline == cpu->timer_armed)
        return;
    cpu->timer_armed = deadline;
    apic_timer_set(deadline);
}

/* This CPU's queue may have changed; its lock is held. */
static void follow(struct percpu *cpu)
{
    uint64_t next = timerq_next(&cpu->timers);
    bool moved = next != cpu->timer_next;

    cpu->timer_next = next;
    if (cpu->timer_follower == NULL)
        set_hardware(cpu, next);
    else if (moved)
        cpu->timer_follower();
}

void timer_disarm(struct timer *t)
{
    struct timerq *q;

    /* It may move to another CPU's queue while we wait for the lock of this one. */
    while ((q = __atomic_load_n(&t->queue, __ATOMIC_ACQUIRE)) != NULL) {
        struct percpu *cpu = owner_of(q);

        spin_lock(&cpu->timers_lock);
        if (t->queue == q)
            timerq_cancel(t);
        spin_unlock(&cpu->timers_lock);
    }
}

static bool firing(struct timer *t)
{
    bool found = false;

    for (unsigned i = 0; i < cpu_count() && !found; i++) {
        struct percpu *cpu = cpu_get(i);

        spin_lock(&cpu->timers_lock);
        found = cpu->timer_firing == t;
        spin_unlock(&cpu->timers_lock);
    }
    return found;
}

/* The callback may have armed it again before it returned. */
void timer_stop(struct timer *t)
{
    do {
        timer_disarm(t);
        while (firing(t))
            cpu_pause();
    } while (timer_armed(t));
}

void timer_arm(unsigned cpu_index, struct timer *t, uint64_t tsc_deadline)
{
    struct percpu *cpu = cpu_get(cpu_index);
    struct timerq *q = __atomic_load_n(&t->queue, __ATOMIC_ACQUIRE);
    bool soonest;

    if (q != NULL && q != &cpu->timers)
        timer_disarm(t);
    spin_lock(&cpu->timers_lock);
    soonest = timerq_set(&cpu->timers, t, tsc_deadline);
    if (cpu == this_cpu())
        follow(cpu);
    spin_unlock(&cpu->timers_lock);
    if (soonest && cpu != this_cpu())
        apic_kick(cpu_index); /* it looks at its queue in timer_run */
}

/* Callbacks run without the lock, so that they may arm and disarm. */
void timer_run(void)
{
    struct percpu *cpu = this_cpu();
    struct timer *t;

    spin_lock(&cpu->timers_lock);
    while ((t = timerq_pop(&cpu->timers, rdtsc())) != NULL) {
        cpu->timer_firing = t;
        spin_unlock(&cpu->timers_lock);
        t->fire(t, rdtsc());
        spin_lock(&cpu->timers_lock);
        cpu->timer_firing = NULL;
    }
    follow(cpu);
    spin_unlock(&cpu->timers_lock);
}

void timer_use_follower(void (*follower)(void))
{
    struct percpu *cpu = this_cpu();

    if (cpu->timer_follower == follower)
        return;
    cpu->timer_follower = follower;
    set_hardware(cpu, follower == NULL ? cpu->timer_next : TIMER_NEVER);
}

/* The timer is one-shot: it is not armed any more. The per-CPU loop then calls timer_run. */
static void timer_interrupt(unsigned vector)
{
    (void)vector;
    this_cpu()->timer_armed = TIMER_NEVER;
}

/* A kick has done its work by interrupting. */
static void kick_interrupt(unsigned vector)
{
    (void)vector;
}

void timer_init_queue(struct percpu *cpu)
{
    timerq_init(&cpu->timers);
    cpu->timer_next = cpu->timer_armed = TIMER_NEVER;
}

void timer_init_interrupts(void)
{
    interrupt_register(HOST_VECTOR_TIMER, timer_interrupt);
    interrupt_register(HOST_VECTOR_KICK, kick_interrupt);
    interrupt_register(HOST_VECTOR_POSTED, kick_interrupt);
}
