/*
 * The 8254 interval timer (Intel data sheet 231164) and port 0x61, through which its counter 2
 * is started and seen. Counter 0 drives ISA IRQ 0. The clock is derived from the guest's TSC:
 * tick n is at a fixed place in time, so that nothing drifts, however late anything is served.
 */
#include "devices/bus.h"
#include "devices/machine.h"
#include "devices/pit_channel.h"
#include "lib/checked.h"

#define PIT_PORT    0x40
#define PIT_CONTROL 3 /* offset */
#define SYSTEM_PORT 0x61
#define PIT_IRQ     0

#define NR_CHANNELS     3u
#define SELECT_SHIFT    6
#define SELECT_READBACK 3u
#define READBACK_COUNT  0x20 /* low: latch the counts */
#define READBACK_STATUS 0x10 /* low: latch the status */

/* Port 0x61 (PIIX3 data sheet, NMI status and control) */
#define SYSTEM_GATE2       0x01
#define SYSTEM_WRITABLE    0x0f
#define SYSTEM_REFRESH     0x10
#define SYSTEM_OUT2        0x20
#define REFRESH_HALF_TICKS 18 /* the refresh bit toggles every 15 us */

/* Interrupts closer together than 20 us would keep the host busy, and no guest can use them. */
#define MIN_RISE_TICKS 24

#define PIT_TAG    0x20544950u /* "PIT " */
#define PIT_STREAM 1           /* version */

struct pit_state {
    struct pit_channel channel[NR_CHANNELS];
    uint64_t rise;  /* tick at which counter 0's output rises next, or PIT_NEVER */
    uint8_t system; /* port 0x61 as written */
    uint8_t line;   /* level of IRQ 0 */
    uint8_t reserved[6];
};

struct pit {
    struct device device;
    struct device_host *host;
    struct irq_line irq;
    struct timer timer;
    struct pit_state s;
};

/* ------------------------------------------------------------------ time */

static uint64_t tick_of(const struct pit *p, uint64_t tsc)
{
    return mul_div(tsc, PIT_HZ, p->host->tsc_hz);
}

static uint64_t tick_now(const struct pit *p)
{
    return tick_of(p, device_now(p->host));
}

/* The first TSC value that belongs to the tick. */
static uint64_t tsc_of(const struct pit *p, uint64_t tick)
{
    uint64_t tsc = mul_div(tick, p->host->tsc_hz, PIT_HZ);

    return tsc != UINT64_MAX && tick_of(p, tsc) < tick ? tsc + 1 : tsc;
}

static void set_line(struct pit *p, bool level)
{
    p->s.line = level;
    irq_line_set(&p->irq, level);
}

/* ------------------------------------------------------------------ counter 0's interrupt */

static void arm(struct pit *p)
{
    if (p->s.rise == PIT_NEVER)
        p->host->ops->timer_cancel(p->host, &p->timer);
    else
        p->host->ops->timer_set(p->host, &p->timer, tsc_of(p, p->s.rise));
}

/* The next rise, but of a fast periodic output one that is not too close. */
static uint64_t next_rise(struct pit_channel *c, uint64_t tick)
{
    uint64_t rise = pit_channel_next_rise(c, tick), later;
    struct pit_channel ahead = *c;

    if (rise - tick >= MIN_RISE_TICKS)
        return rise;
    later = pit_channel_next_rise(&ahead, tick + MIN_RISE_TICKS);
    return later == PIT_NEVER ? rise : later;
}

static void plan_rise(struct pit *p, uint64_t tick)
{
    p->s.rise = next_rise(&p->s.channel[0], tick);
    arm(p);
}

/*
 * The output went low some time before, when nobody looked: the edge is made here. If the guest
 * did not run for several periods it gets one interrupt, and the next at the next period's end.
 */
static void pit_fire(struct timer *t, uint64_t now)
{
    struct pit *p = t->opaque;
    uint64_t tick = tick_of(p, now);

    if (tick < p->s.rise) {
        arm(p);
        return;
    }
    set_line(p, false);
    set_line(p, true);
    plan_rise(p, tick);
}

/* Counter 0 was programmed: its output is what the new mode begins with. */
static void channel0_changed(struct pit *p, uint64_t tick)
{
    bool idle_high = pit_channel_mode(&p->s.channel[0]) != 0;

    if (!idle_high || !p->s.line)
        set_line(p, idle_high);
    plan_rise(p, tick);
}

/* ------------------------------------------------------------------ ports 0x40 to 0x43 */

static void read_back(struct pit *p, uint64_t tick, uint8_t command)
{
    for (unsigned i = 0; i < NR_CHANNELS; i++) {
        if (!(command & 2u << i))
            continue;
        if (!(command & READBACK_COUNT))
            pit_channel_latch_count(&p->s.channel[i], tick);
        if (!(command & READBACK_STATUS))
            pit_channel_latch_status(&p->s.channel[i], tick);
    }
}

static void control_write(struct pit *p, uint64_t tick, uint8_t value)
{
    unsigned i = value >> SELECT_SHIFT;

    if (i == SELECT_READBACK) {
        read_back(p, tick, value);
    } else if ((value >> PIT_ACCESS_SHIFT & 3) == PIT_LATCH) {
        pit_channel_latch_count(&p->s.channel[i], tick);
    } else {
        pit_channel_control(&p->s.channel[i], value);
        if (i == 0)
            channel0_changed(p, tick);
    }
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    struct pit *p = opaque;

    if (offset == PIT_CONTROL)
        return UINT8_MAX; /* cannot be read */
    return pit_channel_read(&p->s.channel[offset], tick_now(p));
}

static void pit_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    struct pit *p = opaque;
    uint64_t tick = tick_now(p);

    if (offset == PIT_CONTROL)
        control_write(p, tick, (uint8_t)value);
    else if (pit_channel_write(&p->s.channel[offset], tick, (uint8_t)value) && offset == 0)
        channel0_changed(p, tick);
}

/* ------------------------------------------------------------------ port 0x61 */

static uint64_t system_read(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED)
{
    struct pit *p = opaque;
    uint64_t tick = tick_now(p);
    uint8_t value = p->s.system;

    if (tick / REFRESH_HALF_TICKS & 1)
        value |= SYSTEM_REFRESH;
    if (pit_channel_output(&p->s.channel[2], tick))
        value |= SYSTEM_OUT2;
    return value;
}

static void system_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED, uint64_t value)
{
    struct pit *p = opaque;

    p->s.system = value & SYSTEM_WRITABLE;
    pit_channel_set_gate(&p->s.channel[2], tick_now(p), value & SYSTEM_GATE2);
}

static const struct bus_ops pit_ops = {pit_read, pit_write, 1};
static const struct bus_ops system_ops = {system_read, system_write, 1};

/* ------------------------------------------------------------------ the device */

static int pit_create(struct device *d, struct machine *m)
{
    struct pit *p = container_of(d, struct pit, device);
    int err = bus_add_ports(m->bus, PIT_PORT, 4, "pit", &pit_ops, p);

    if (err == 0)
        err = bus_add_ports(m->bus, SYSTEM_PORT, 1, "system control", &system_ops, p);
    p->host = m->host;
    p->irq = machine_isa_irq(m, PIT_IRQ);
    timer_init(&p->timer, pit_fire, p);
    return err;
}

static void pit_reset(struct device *d)
{
    struct pit *p = container_of(d, struct pit, device);

    for (unsigned i = 0; i < NR_CHANNELS; i++)
        pit_channel_reset(&p->s.channel[i], i != 2);
    p->s.system = 0;
    p->s.rise = PIT_NEVER;
    arm(p);
    set_line(p, false);
}

static void pit_save(struct device *d, struct device_state *s)
{
    struct pit *p = container_of(d, struct pit, device);

    device_state_put_tag(s, PIT_TAG, PIT_STREAM);
    device_state_put(s, &p->s, sizeof(p->s));
}

static bool pit_load(struct device *d, struct device_state *s)
{
    struct pit *p = container_of(d, struct pit, device);
    struct pit_state state;

    if (!device_state_get_tag(s, PIT_TAG, PIT_STREAM))
        return false;
    device_state_get(s, &state, sizeof(state));
    if (s->failed || (state.system & ~SYSTEM_WRITABLE) || state.line > 1)
        return false;
    for (unsigned i = 0; i < NR_CHANNELS; i++)
        if (!pit_channel_sane(&state.channel[i], tick_now(p)))
            return false;
    p->s = state;
    arm(p);
    return true;
}

static void pit_destroy(struct device *d)
{
    struct pit *p = container_of(d, struct pit, device);

    p->host->ops->timer_cancel(p->host, &p->timer);
}

static const struct device_class pit_class = {
    .name = "pit",
    .size = sizeof(struct pit),
    .order = DEVICE_ORDER_PLATFORM,
    .create = pit_create,
    .reset = pit_reset,
    .save = pit_save,
    .load = pit_load,
    .destroy = pit_destroy,
};
DEVICE_CLASS(pit_class);
