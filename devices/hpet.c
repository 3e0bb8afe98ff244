/*
 * The HPET (IA-PC HPET specification 1.0a): a 64-bit counter and three timers, of which the first
 * can be periodic. Timers 0 and 1 can take the place of PIT and RTC; else each has one of I/O APIC
 * pins 20 to 23, which nothing else uses. Messages (FSB delivery) are not offered.
 *
 * The counter is derived from the guest's TSC and has a period of whole femtoseconds, so that the
 * register tells the truth. What a timer has done is worked out when somebody looks; the one host
 * timer runs only for an interrupt that is enabled and not up already.
 */
#include "devices/hpet.h"

#include "devices/bus.h"
#include "devices/ioapic.h"
#include "devices/machine.h"
#include "lib/checked.h"
#include "lib/string.h"

/* Registers (2.3.1) */
#define REG_CAPABILITIES 0x000
#define REG_CONFIG       0x010
#define REG_STATUS       0x020
#define REG_COUNTER      0x0f0
#define REG_TIMERS       0x100
#define TIMER_REGS       0x20 /* of address space for each */
#define TIMER_CONFIG     0x00
#define TIMER_COMPARATOR 0x08

#define FEMTOSECONDS 1000000000000000ull
#define FAST_HZ      100000000ull /* a period of 10 ns */
#define SLOW_HZ      10000000ull  /* 100 ns, the longest that is allowed (2.3.4) */
#define PERIOD_SHIFT 32           /* in the capabilities */

/* General configuration (2.3.5) */
#define CONFIG_ENABLE BIT(0)
#define CONFIG_LEGACY BIT(1)

/* Timer configuration (2.3.8) */
#define TN_LEVEL       BIT(1)
#define TN_INTERRUPT   BIT(2)
#define TN_PERIODIC    BIT(3)
#define TN_PERIODIC_OK BIT(4) /* capability */
#define TN_64BIT_OK    BIT(5) /* capability */
#define TN_SET_VALUE   BIT(6)
#define TN_32BIT       BIT(8)
#define TN_ROUTE_SHIFT 9
#define TN_ROUTE_MASK  0x1fu
#define TN_ROUTE       ((uint64_t)TN_ROUTE_MASK << TN_ROUTE_SHIFT)
#define TN_ROUTES_OK   32 /* shift: a bit for each pin */
#define TN_WRITABLE    (TN_LEVEL | TN_INTERRUPT | TN_SET_VALUE | TN_32BIT)

#define PIN_FIRST   20u
#define PIN_LAST    23u
#define ROUTES      0x00f00000ull
#define LEGACY_IRQS 2u /* timers 0 and 1 */

/* Where a timer's interrupt goes, beside pins. */
#define ROUTE_LEGACY  32u /* and the timer */
#define ROUTE_NOWHERE UINT32_MAX

#define NEVER UINT64_MAX

#define HPET_TAG    0x54455048u /* "HPET" */
#define HPET_STREAM 1           /* version */

struct hpet_timer {
    uint64_t config;
    uint64_t comparator;
    uint64_t period; /* what was last written to the comparator */
    uint64_t due;    /* the tick of its next event, while the counter runs; or NEVER */
    uint8_t output;  /* level of its interrupt */
    uint8_t reserved[7];
};

/* A tick is one of a clock that always runs; the counter is apart from that by its base. */
struct hpet_state {
    uint64_t config, status;
    uint64_t counter; /* while it is halted */
    uint64_t base;    /* while it runs: the tick at which it was 0 */
    struct hpet_timer timer[HPET_TIMERS];
};

struct hpet {
    struct device device;
    struct device_host *host;
    struct irq_line legacy[LEGACY_IRQS];
    struct timer timer;
    uint64_t hz;
    struct hpet_state s;
};

static struct hpet *to_hpet(struct device *d)
{
    return container_of(d, struct hpet, device);
}

/* ------------------------------------------------------------------ time */

static uint64_t tick_of(const struct hpet *h, uint64_t tsc)
{
    return mul_div(tsc, h->hz, h->host->tsc_hz);
}

static uint64_t tick_now(const struct hpet *h)
{
    return tick_of(h, device_now(h->host));
}

/* The first TSC value that belongs to the tick. */
static uint64_t tsc_of(const struct hpet *h, uint64_t tick)
{
    uint64_t tsc = mul_div(tick, h->host->tsc_hz, h->hz);

    return tsc != UINT64_MAX && tick_of(h, tsc) < tick ? tsc + 1 : tsc;
}

static bool running(const struct hpet *h)
{
    return h->s.config & CONFIG_ENABLE;
}

static uint64_t counter_at(const struct hpet *h, uint64_t tick)
{
    return running(h) ? tick - h->s.base : h->s.counter;
}

/* ------------------------------------------------------------------ interrupts */

static uint32_t route_of(const struct hpet *h, unsigned i)
{
    uint32_t pin = h->s.timer[i].config >> TN_ROUTE_SHIFT & TN_ROUTE_MASK;

    if ((h->s.config & CONFIG_LEGACY) && i < LEGACY_IRQS)
        return ROUTE_LEGACY + i;
    return ROUTES >> pin & 1 ? pin : ROUTE_NOWHERE;
}

/* A line is up while any timer that is routed there has its output up. */
static void drive(struct hpet *h, uint32_t route)
{
    bool level = false;

    if (route == ROUTE_NOWHERE)
        return;
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        level |= h->s.timer[i].output && route_of(h, i) == route;
    if (route >= ROUTE_LEGACY)
        irq_line_set(&h->legacy[route - ROUTE_LEGACY], level);
    else
        ioapic_set_pin(h->device.machine->ioapic, route, level);
}

static void set_output(struct hpet *h, unsigned i, bool level)
{
    h->s.timer[i].output = level;
    drive(h, route_of(h, i));
}

static bool interrupts(const struct hpet *h, unsigned i)
{
    return running(h) && (h->s.timer[i].config & TN_INTERRUPT);
}

/* Level-triggered timers show their status bit. */
static void update_level(struct hpet *h, unsigned i)
{
    if (h->s.timer[i].config & TN_LEVEL)
        set_output(h, i, interrupts(h, i) && (h->s.status >> i & 1));
}

/*
 * An edge. The output stays up after it, since the 8259A forgets an edge whose line falls before it
 * is acknowledged; so the line must be let fall first, by all that hold it up in this way.
 */
static void pulse(struct hpet *h, unsigned i)
{
    uint32_t route = route_of(h, i);

    for (unsigned k = 0; k < HPET_TIMERS; k++)
        if (route_of(h, k) == route && !(h->s.timer[k].config & TN_LEVEL))
            h->s.timer[k].output = 0;
    drive(h, route);
    set_output(h, i, true);
}

/* ------------------------------------------------------------------ events */

/* How far it is to the next match of the comparator; one that matches now has to come round. */
static uint64_t distance(const struct hpet_timer *t, uint64_t counter)
{
    uint64_t far = t->comparator - counter;

    if (t->config & TN_32BIT)
        return (uint32_t)far != 0 ? (uint32_t)far : BIT(32);
    return far != 0 ? far : NEVER;
}

/*
 * The next event from this tick on. A 32-bit timer that is not periodic has another one when its
 * half of the counter wraps (2.3.9.2.1).
 */
static void plan(struct hpet *h, unsigned i, uint64_t tick)
{
    struct hpet_timer *t = &h->s.timer[i];
    uint64_t counter = counter_at(h, tick), far;

    if (!running(h)) {
        t->due = NEVER;
        return;
    }
    far = distance(t, counter);
    if ((t->config & TN_32BIT) && !(t->config & TN_PERIODIC))
        far = MIN(far, BIT(32) - (uint32_t)counter);
    if (!checked_add(tick, far, &t->due))
        t->due = NEVER;
}

/*
 * The comparator moves on by whole periods to the first event that is still to come: what was
 * missed is one interrupt. Periods that would keep the host busy are passed over.
 */
static void next_period(struct hpet_timer *t, uint64_t tick)
{
    uint64_t from = t->period < HPET_MIN_TICKS ? tick + HPET_MIN_TICKS - 1 : tick, steps, due;

    if (t->period == 0) {
        t->due = NEVER;
        return;
    }
    steps = (from - t->due) / t->period + 1;
    t->comparator += steps * t->period;
    if (t->config & TN_32BIT)
        t->comparator = (uint32_t)t->comparator;
    if (!checked_mul(steps, t->period, &due) || !checked_add(t->due, due, &t->due))
        t->due = NEVER;
}

static void event(struct hpet *h, unsigned i, uint64_t tick)
{
    struct hpet_timer *t = &h->s.timer[i];

    if (t->config & TN_PERIODIC)
        next_period(t, tick);
    else
        plan(h, i, tick);
    if (t->config & TN_LEVEL) {
        h->s.status |= BIT(i);
        update_level(h, i);
    } else if (interrupts(h, i)) {
        pulse(h, i);
    }
}

/* Lets happen what is due at the tick. */
static void catch_up(struct hpet *h, uint64_t tick)
{
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        if (h->s.timer[i].due <= tick)
            event(h, i, tick);
}

/* The host's timer is for the first event that changes an output. */
static void arm(struct hpet *h)
{
    uint64_t due = NEVER;

    for (unsigned i = 0; i < HPET_TIMERS; i++)
        if (interrupts(h, i) && !((h->s.timer[i].config & TN_LEVEL) && h->s.timer[i].output))
            due = MIN(due, h->s.timer[i].due);
    if (due == NEVER)
        h->host->ops->timer_cancel(h->host, &h->timer);
    else
        h->host->ops->timer_set(h->host, &h->timer, tsc_of(h, due));
}

static void hpet_fire(struct timer *t, uint64_t now)
{
    struct hpet *h = t->opaque;

    catch_up(h, tick_of(h, now));
    arm(h);
}

/* ------------------------------------------------------------------ general registers */

static void start(struct hpet *h, uint64_t tick)
{
    h->s.base = tick - h->s.counter;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        plan(h, i, tick);
        update_level(h, i);
    }
}

/* Status bits stay as they are (2.3.5, ENABLE_CNF). */
static void halt(struct hpet *h)
{
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        h->s.timer[i].due = NEVER;
        set_output(h, i, false);
    }
}

/* Outputs are taken from the old places, and given to the new ones. */
static void set_legacy(struct hpet *h, bool on)
{
    uint8_t output[LEGACY_IRQS];

    for (unsigned i = 0; i < LEGACY_IRQS; i++) {
        output[i] = h->s.timer[i].output;
        set_output(h, i, false);
    }
    h->s.config = (h->s.config & ~CONFIG_LEGACY) | (on ? CONFIG_LEGACY : 0);
    machine_replace_timers(h->device.machine, on);
    for (unsigned i = 0; i < LEGACY_IRQS; i++)
        set_output(h, i, output[i]);
}

static void config_write(struct hpet *h, uint64_t tick, uint64_t value)
{
    uint64_t changed = h->s.config ^ value;

    if (changed & CONFIG_LEGACY)
        set_legacy(h, value & CONFIG_LEGACY);
    if (!(changed & CONFIG_ENABLE))
        return;
    h->s.counter = counter_at(h, tick);
    h->s.config ^= CONFIG_ENABLE;
    if (running(h))
        start(h, tick);
    else
        halt(h);
}

/* Ones clear. */
static void status_write(struct hpet *h, uint64_t value)
{
    h->s.status &= ~value;
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        update_level(h, i);
}

/* ------------------------------------------------------------------ a timer's registers */

static uint64_t capabilities(unsigned i)
{
    return ROUTES << TN_ROUTES_OK | TN_64BIT_OK | (i == 0 ? TN_PERIODIC_OK : 0);
}

/* A route that there is not is not taken (2.3.8, Tn_INT_ROUTE_CNF). */
static uint64_t config_value(const struct hpet *h, unsigned i, uint64_t value)
{
    uint64_t config = capabilities(i) | (value & TN_WRITABLE);

    if (i == 0)
        config |= value & TN_PERIODIC;
    if (!(config & TN_PERIODIC))
        config &= ~TN_SET_VALUE;
    if (ROUTES >> (value >> TN_ROUTE_SHIFT & TN_ROUTE_MASK) & 1)
        return config | (value & TN_ROUTE);
    return config | (h->s.timer[i].config & TN_ROUTE);
}

static void timer_config_write(struct hpet *h, uint64_t tick, unsigned i, uint64_t value)
{
    struct hpet_timer *t = &h->s.timer[i];
    uint64_t config = config_value(h, i, value), changed = config ^ t->config;

    if (changed & (TN_LEVEL | TN_INTERRUPT | TN_ROUTE))
        set_output(h, i, false);
    t->config = config;
    if (config & TN_32BIT) {
        t->comparator = (uint32_t)t->comparator;
        t->period = (uint32_t)t->period;
    }
    if (!(config & TN_LEVEL))
        h->s.status &= ~BIT(i); /* an edge leaves none (2.3.6) */
    if (changed & (TN_32BIT | TN_PERIODIC))
        plan(h, i, tick);
    update_level(h, i);
}

/*
 * A periodic timer's period; its comparator too only if that was asked for, once, by VAL_SET
 * (2.3.8).
 */
static void comparator_write(struct hpet *h, uint64_t tick, unsigned i, uint64_t value,
                             uint64_t mask)
{
    struct hpet_timer *t = &h->s.timer[i];

    if (t->config & TN_32BIT) {
        mask &= UINT32_MAX;
        if (mask == 0)
            return;
    }
    t->period = (t->period & ~mask) | (value & mask);
    if (!(t->config & TN_PERIODIC) || (t->config & TN_SET_VALUE))
        t->comparator = (t->comparator & ~mask) | (value & mask);
    t->config &= ~TN_SET_VALUE;
    plan(h, i, tick);
}

static uint64_t timer_read(const struct hpet *h, uint64_t reg)
{
    uint64_t i = (reg - REG_TIMERS) / TIMER_REGS;

    if (i >= HPET_TIMERS)
        return 0;
    switch (reg % TIMER_REGS) {
    case TIMER_CONFIG:
        return h->s.timer[i].config;
    case TIMER_COMPARATOR:
        return h->s.timer[i].comparator;
    default:
        return 0;
    }
}

static void timer_write(struct hpet *h, uint64_t tick, uint64_t reg, uint64_t value, uint64_t mask)
{
    unsigned i = (unsigned)((reg - REG_TIMERS) / TIMER_REGS);

    if (i >= HPET_TIMERS)
        return;
    if (reg % TIMER_REGS == TIMER_CONFIG)
        timer_config_write(h, tick, i, (h->s.timer[i].config & ~mask) | (value & mask));
    else if (reg % TIMER_REGS == TIMER_COMPARATOR)
        comparator_write(h, tick, i, value, mask);
}

/* ------------------------------------------------------------------ accesses */

static uint64_t register_read(struct hpet *h, uint64_t reg)
{
    uint64_t tick = tick_now(h);

    if (reg == REG_COUNTER)
        return counter_at(h, tick);
    catch_up(h, tick);
    switch (reg) {
    case REG_CAPABILITIES:
        return HPET_BLOCK_ID | FEMTOSECONDS / h->hz << PERIOD_SHIFT;
    case REG_CONFIG:
        return h->s.config;
    case REG_STATUS:
        return h->s.status;
    default:
        return reg >= REG_TIMERS ? timer_read(h, reg) : 0;
    }
}

/* mask has the bits that are written. */
static void register_write(struct hpet *h, uint64_t reg, uint64_t value, uint64_t mask)
{
    uint64_t tick = tick_now(h);

    catch_up(h, tick);
    if (reg == REG_CONFIG)
        config_write(h, tick,
                     ((h->s.config & ~mask) | (value & mask)) & (CONFIG_ENABLE | CONFIG_LEGACY));
    else if (reg == REG_STATUS)
        status_write(h, value & mask);
    else if (reg == REG_COUNTER && !running(h))
        h->s.counter = (h->s.counter & ~mask) | (value & mask);
    else if (reg >= REG_TIMERS)
        timer_write(h, tick, reg, value, mask);
    arm(h);
}

/* Accesses that are not aligned, which are not allowed (2.3.2), read as 0 and write nothing. */
static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t reg = ALIGN_DOWN(offset, 8ul);

    return offset % size == 0 ? register_read(opaque, reg) >> 8 * (offset - reg) : 0;
}

static void hpet_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    uint64_t reg = ALIGN_DOWN(offset, 8ul), shift = 8 * (offset - reg);

    if (offset % size == 0)
        register_write(opaque, reg, value << shift,
                       size == 8 ? UINT64_MAX : (uint64_t)UINT32_MAX << shift);
}

static const struct bus_ops hpet_ops = {hpet_read, hpet_write, 4 | 8};

/* ------------------------------------------------------------------ the device */

static int hpet_create(struct device *d, struct machine *m)
{
    struct hpet *h = to_hpet(d);

    h->host = m->host;
    h->hz = m->host->tsc_hz >= FAST_HZ ? FAST_HZ : SLOW_HZ;
    timer_init(&h->timer, hpet_fire, h);
    for (unsigned i = 0; i < LEGACY_IRQS; i++)
        h->legacy[i] = machine_replaced_irq(m, i);
    return bus_add_memory(m->bus, GPA(GUEST_HPET_BASE), HPET_SIZE, "hpet", &hpet_ops, h);
}

static void hpet_reset(struct device *d)
{
    struct hpet *h = to_hpet(d);

    halt(h);
    memset(&h->s, 0, sizeof(h->s));
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        h->s.timer[i] = (struct hpet_timer){
            .config = capabilities(i), .comparator = NEVER, .period = NEVER, .due = NEVER};
    arm(h);
}

static void hpet_save(struct device *d, struct device_state *s)
{
    device_state_put_tag(s, HPET_TAG, HPET_STREAM);
    device_state_put(s, &to_hpet(d)->s, sizeof(struct hpet_state));
}

static bool timer_sane(const struct hpet *h, const struct hpet_timer *t, unsigned i)
{
    uint64_t route = t->config & TN_ROUTE;

    if (t->output > 1 || (t->config & ~route) != (config_value(h, i, t->config) & ~TN_ROUTE))
        return false;
    if ((t->config & TN_32BIT) && (t->comparator > UINT32_MAX || t->period > UINT32_MAX))
        return false;
    return route == 0 || (ROUTES >> (route >> TN_ROUTE_SHIFT) & 1);
}

static bool hpet_load(struct device *d, struct device_state *s)
{
    struct hpet *h = to_hpet(d);
    struct hpet_state state;

    if (!device_state_get_tag(s, HPET_TAG, HPET_STREAM))
        return false;
    device_state_get(s, &state, sizeof(state));
    if (s->failed || (state.config & ~(CONFIG_ENABLE | CONFIG_LEGACY)) ||
        state.status >> HPET_TIMERS != 0 ||
        d->machine->timers_replaced != ((state.config & CONFIG_LEGACY) != 0))
        return false;
    for (unsigned i = 0; i < HPET_TIMERS; i++)
        if (!timer_sane(h, &state.timer[i], i))
            return false;
    h->s = state;
    arm(h);
    return true;
}

static void hpet_destroy(struct device *d)
{
    struct hpet *h = to_hpet(d);

    h->host->ops->timer_cancel(h->host, &h->timer);
}

static const struct device_class hpet_class = {
    .name = "hpet",
    .size = sizeof(struct hpet),
    .order = DEVICE_ORDER_PLATFORM,
    .create = hpet_create,
    .reset = hpet_reset,
    .save = hpet_save,
    .load = hpet_load,
    .destroy = hpet_destroy,
};
DEVICE_CLASS(hpet_class);
