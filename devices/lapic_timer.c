/*
 * The local APIC's timer (SDM vol. 3 section 11.5.4): one-shot, periodic, TSC deadline. All in
 * ticks of the guest's TSC; the clock and the divider are powers of two, so that counts are
 * shifts.
 */
#include "devices/lapic_internal.h"

/* A guest that asks for interrupts closer together than 20 us would only keep the host busy. */
#define PERIODS_PER_SECOND_MAX 50000
#define APIC_SHIFT_MAX         20 /* so that count << shift always fits 64 bits */

/* The divide configuration register's bits 3, 1, 0 as a power of two: 2, 4, ... 128, 1. */
static unsigned divide_shift(uint32_t divide)
{
    return (((divide >> 1 & 4) | (divide & 3)) + 1) & 7;
}

uint8_t lapic_timer_shift(const struct lapic *l)
{
    uint64_t clock = MIN(l->machine->config.apic_shift, (uint64_t)APIC_SHIFT_MAX);

    return (uint8_t)(clock + divide_shift(lapic_reg(l, LAPIC_TIMER_DIVIDE)));
}

static struct device_host *host_of(const struct lapic *l)
{
    return l->machine->host;
}

static uint64_t timer_period(const struct lapic *l)
{
    return (uint64_t)lapic_reg(l, LAPIC_TIMER_INITIAL) << l->timer_shift;
}

static void timer_arm(struct lapic *l, uint64_t deadline)
{
    l->timer_running = true;
    l->timer_deadline = deadline;
    l->machine->cpu_ops->timer(l->machine->cpu_opaque, l, deadline);
}

void lapic_timer_stop(struct lapic *l)
{
    l->timer_running = false;
    l->timer_deadline = TIMER_NEVER;
    l->machine->cpu_ops->timer(l->machine->cpu_opaque, l, TIMER_NEVER);
}

/*
 * The next period. It is counted from where the last one ended, not from now, so that the timer
 * keeps its phase however late it is served; periods that were missed are gone.
 */
static void timer_next_period(struct lapic *l, uint64_t now)
{
    uint64_t period = timer_period(l), deadline;

    if (period == 0)
        return;
    l->timer_start += period;
    if (unlikely(now - l->timer_start >= period))
        l->timer_start = now - (now - l->timer_start) % period;
    deadline = l->timer_start + period;
    if (unlikely(deadline < now + l->timer_min))
        deadline += (now + l->timer_min - deadline + period - 1) / period * period;
    timer_arm(l, deadline);
}

void lapic_timer_expired(struct lapic *l, uint64_t now)
{
    uint32_t lvt = lapic_reg(l, LAPIC_LVT_TIMER);

    if (!l->timer_running)
        return;
    l->timer_running = false;
    l->timer_deadline = TIMER_NEVER;
    if (l->timer_mode == TIMER_TSC_DEADLINE)
        l->tsc_deadline = 0;
    else if (l->timer_mode == TIMER_PERIODIC)
        timer_next_period(l, now);
    if (!(lvt & LVT_MASKED)) /* always fixed: the entry has no delivery mode */
        lapic_post_checked(l, lvt & LVT_VECTOR, false);
}

void lapic_timer_init(struct lapic *l)
{
    l->timer_min = host_of(l)->tsc_hz / PERIODS_PER_SECOND_MAX;
}

/*
 * Between one-shot and periodic the count goes on; to and from TSC deadline the timer is
 * disarmed, as the two do not share a count.
 */
void lapic_timer_set_mode(struct lapic *l, uint32_t lvt)
{
    uint8_t mode = (lvt & LVT_TIMER_MODE) >> LVT_TIMER_SHIFT, old = l->timer_mode;

    l->timer_mode = mode;
    if (mode == old || (mode != TIMER_TSC_DEADLINE && old != TIMER_TSC_DEADLINE))
        return;
    lapic_timer_stop(l);
    l->tsc_deadline = 0;
    lapic_set_reg(l, LAPIC_TIMER_INITIAL, 0);
}

void lapic_timer_set_initial(struct lapic *l, uint32_t count)
{
    if (l->timer_mode == TIMER_TSC_DEADLINE) {
        lapic_set_reg(l, LAPIC_TIMER_INITIAL, 0); /* ignored, and reads as 0 */
        return;
    }
    lapic_set_reg(l, LAPIC_TIMER_INITIAL, count);
    if (count == 0) {
        lapic_timer_stop(l);
        return;
    }
    l->timer_start = device_now(host_of(l));
    timer_arm(l, l->timer_start + timer_period(l));
}

uint32_t lapic_timer_current(struct lapic *l)
{
    uint32_t initial = lapic_reg(l, LAPIC_TIMER_INITIAL);
    uint64_t period = timer_period(l), elapsed;

    if (!l->timer_running || l->timer_mode == TIMER_TSC_DEADLINE)
        return 0;
    elapsed = device_now(host_of(l)) - l->timer_start;
    if (elapsed >= period) {
        if (l->timer_mode != TIMER_PERIODIC)
            return 0;
        elapsed %= period;
    }
    return initial - (uint32_t)(elapsed >> l->timer_shift);
}

/* The count stays and goes on at the new rate. */
void lapic_timer_set_divide(struct lapic *l, uint32_t divide)
{
    uint32_t current = lapic_timer_current(l);
    uint64_t done;

    lapic_set_reg(l, LAPIC_TIMER_DIVIDE, divide);
    l->timer_shift = lapic_timer_shift(l);
    if (!l->timer_running || l->timer_mode == TIMER_TSC_DEADLINE)
        return;
    done = (uint64_t)(lapic_reg(l, LAPIC_TIMER_INITIAL) - current) << l->timer_shift;
    l->timer_start = device_now(host_of(l)) - done;
    timer_arm(l, l->timer_start + timer_period(l));
}

void lapic_set_deadline(struct lapic *l, uint64_t tsc)
{
    if (l->timer_mode != TIMER_TSC_DEADLINE)
        return;
    l->tsc_deadline = tsc;
    if (tsc != 0)
        timer_arm(l, tsc);
    else
        lapic_timer_stop(l);
}

void lapic_timer_resume(struct lapic *l, uint64_t deadline)
{
    if (l->timer_running)
        timer_arm(l, deadline);
    else
        lapic_timer_stop(l);
}
