/*
 * ACPI fixed hardware. The PM timer is derived from the guest's TSC, so that the two can be
 * compared; a host timer for its overflow runs only while the guest wants that interrupt.
 */
#include "devices/acpi_pm.h"

#include "devices/bus.h"
#include "lib/checked.h"
#include "lib/string.h"

/* PM1 status and enable bits (ACPI 6.4 tables 4.13 and 4.14). */
#define PM1_TIMER        BIT(0)
#define PM1_BUS_MASTER   BIT(4)
#define PM1_GLOBAL       BIT(5)
#define PM1_POWER_BUTTON BIT(8)
#define PM1_RTC          BIT(10)
#define PM1_WAKE         BIT(15)
#define PM1_STATUS_BITS \
    (PM1_TIMER | PM1_BUS_MASTER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC | PM1_WAKE)
#define PM1_ENABLE_BITS (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC)

/* PM1 control bits (table 4.15). SCI_EN is always 1: there is no legacy mode. */
#define PM1_SCI_ENABLE BIT(0)
#define PM1_STORED     0x1c02u /* BM_RLD and SLP_TYP; the others are commands */
#define PM1_SLP_TYP(v) ((v) >> 10 & 7)
#define PM1_SLP_ENABLE BIT(13)

/* The timer counts 32 bits; its status bit is set whenever the highest one changes. */
#define TIMER_HALF BIT(31)

struct acpi_pm_state {
    uint16_t status, enable, control;
    uint16_t gpe_status, gpe_enable;
    uint64_t
        half_seen; /* how many half periods of the timer had gone by when it was last looked at */
};

struct acpi_pm {
    struct device device;
    struct acpi_pm_state s;
    struct timer overflow;
    struct irq_line sci;
    uint16_t base;   /* 0: no ports */
    uint8_t decoded; /* a bit for each of blocks[] that is on the bus */
};

/* ------------------------------------------------------------------ the timer and the SCI */

/* PM timer ticks since the guest's TSC was zero. */
static uint64_t ticks_now(const struct acpi_pm *a)
{
    struct device_host *host = a->device.machine->host;

    return mul_div(device_now(host), ACPI_PM_TIMER_HZ, host->tsc_hz);
}

/* The first guest TSC value at which the timer shows ticks. */
static uint64_t tsc_of(const struct acpi_pm *a, uint64_t ticks)
{
    return mul_div(ticks, a->device.machine->host->tsc_hz, ACPI_PM_TIMER_HZ) + 1;
}

/* Sets the timer's status bit if its highest bit changed since the last look. */
static void update_overflow(struct acpi_pm *a)
{
    uint64_t half = ticks_now(a) / TIMER_HALF;

    if (half == a->s.half_seen)
        return;
    a->s.half_seen = half;
    a->s.status |= PM1_TIMER;
}

/* The SCI is a level: up while any enabled event is there. Arms the timer where it will be one. */
static void update(struct acpi_pm *a)
{
    struct device_host *host = a->device.machine->host;

    update_overflow(a);
    irq_line_set(&a->sci, (a->s.status & a->s.enable) || (a->s.gpe_status & a->s.gpe_enable));
    if ((a->s.enable & PM1_TIMER) && !(a->s.status & PM1_TIMER))
        host->ops->timer_set(host, &a->overflow, tsc_of(a, (a->s.half_seen + 1) * TIMER_HALF));
    else
        host->ops->timer_cancel(host, &a->overflow);
}

static void overflow_fired(struct timer *t, uint64_t now UNUSED)
{
    update(t->opaque);
}

void acpi_pm_power_button(struct machine *m)
{
    m->acpi_pm->s.status |= PM1_POWER_BUTTON;
    update(m->acpi_pm);
}

void acpi_pm_event(struct machine *m, unsigned n)
{
    m->acpi_pm->s.gpe_status |= (uint16_t)(1u << (n & 15));
    update(m->acpi_pm);
}

/* ------------------------------------------------------------------ registers */

/*
 * The registers are 16 bits wide and can be accessed by bytes too: what a byte of them shows, and
 * what a written byte is as a word. mask gets the bits that are written.
 */
static uint64_t word_part(uint16_t word, uint64_t offset)
{
    return word >> (8 * (offset & 1));
}
static uint16_t word_written(uint64_t offset, unsigned size, uint64_t value, uint16_t *mask)
{
    *mask = size == 2 ? 0xffff : (uint16_t)(0xff << (8 * (offset & 1)));
    return (uint16_t)(value << (8 * (offset & 1))) & *mask;
}

/* Status in bytes 0 and 1: writing 1 to a bit clears it. Enable bits in bytes 2 and 3. */
static uint64_t event_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    struct acpi_pm *a = opaque;

    update_overflow(a);
    return word_part(offset < 2 ? a->s.status : a->s.enable, offset);
}

static void event_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *a = opaque;
    uint16_t mask, word = word_written(offset, size, value, &mask);

    update_overflow(a);
    if (offset < 2)
        a->s.status &= (uint16_t)~word;
    else
        a->s.enable = (uint16_t)(((a->s.enable & ~mask) | word) & PM1_ENABLE_BITS);
    update(a);
}

static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    const struct acpi_pm *a = opaque;

    return word_part(offset < 2 ? a->s.gpe_status : a->s.gpe_enable, offset);
}

static void gpe_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *a = opaque;
    uint16_t mask, word = word_written(offset, size, value, &mask);

    if (offset < 2)
        a->s.gpe_status &= (uint16_t)~word;
    else
        a->s.gpe_enable = (uint16_t)((a->s.gpe_enable & ~mask) | word);
    update(a);
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    const struct acpi_pm *a = opaque;

    return word_part(a->s.control | PM1_SCI_ENABLE, offset);
}

/*
 * SLP_EN starts what SLP_TYP says. The DSDT names S5 only; other types do nothing, like a chip set
 * whose board does not support them.
 */
static void control_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *a = opaque;
    struct device_host *host = a->device.machine->host;
    uint16_t mask, word = word_written(offset, size, value, &mask);

    a->s.control = (uint16_t)((a->s.control & ~mask) | (word & PM1_STORED));
    if ((word & PM1_SLP_ENABLE) && PM1_SLP_TYP(a->s.control) == ACPI_SLP_TYP_S5)
        host->ops->power(host, DEVICE_POWER_OFF);
}

/* Any byte, word or dword of the counter, as it is now. */
static uint64_t timer_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    return (uint32_t)ticks_now(opaque) >> (8 * offset);
}

static void timer_write(void *opaque UNUSED, uint64_t offset UNUSED, unsigned size UNUSED,
                        uint64_t value UNUSED)
{
}

static const struct bus_ops event_ops = {event_read, event_write, 1 | 2};
static const struct bus_ops control_ops = {control_read, control_write, 1 | 2};
static const struct bus_ops timer_ops = {timer_read, timer_write, 1 | 2 | 4};
static const struct bus_ops gpe_ops = {gpe_read, gpe_write, 1 | 2};

static const struct {
    uint16_t offset, size;
    const char *name;
    const struct bus_ops *ops;
} blocks[] = {
    {ACPI_PM1_EVENT, ACPI_PM1_EVENT_SIZE, "acpi-event", &event_ops},
    {ACPI_PM1_CONTROL, ACPI_PM1_CONTROL_SIZE, "acpi-control", &control_ops},
    {ACPI_PM_TIMER, ACPI_PM_TIMER_SIZE, "acpi-timer", &timer_ops},
    {ACPI_GPE0, ACPI_GPE0_SIZE, "acpi-gpe", &gpe_ops},
};

int acpi_pm_set_base(struct machine *m, uint16_t base)
{
    struct acpi_pm *a = m->acpi_pm;
    int err = 0;

    if (base == a->base)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++) {
        if (a->decoded >> i & 1)
            bus_remove_ports(m->bus, (uint16_t)(a->base + blocks[i].offset));
        a->decoded &= (uint8_t) ~(1u << i);
    }
    a->base = base;
    for (unsigned i = 0; i < ARRAY_SIZE(blocks) && base != 0; i++) {
        int e = bus_add_ports(m->bus, (uint16_t)(base + blocks[i].offset), blocks[i].size,
                              blocks[i].name, blocks[i].ops, a);

        if (e == 0)
            a->decoded |= (uint8_t)(1u << i);
        else
            err = e;
    }
    return err;
}

/* ------------------------------------------------------------------ the device */

static int acpi_pm_create(struct device *d, struct machine *m)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, device);

    timer_init(&a->overflow, overflow_fired, a);
    a->sci = machine_isa_irq(m, GUEST_SCI_IRQ);
    m->acpi_pm = a;
    return 0;
}

static void acpi_pm_destroy(struct device *d)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, device);

    d->machine->host->ops->timer_cancel(d->machine->host, &a->overflow);
    d->machine->acpi_pm = NULL;
}

static void acpi_pm_reset(struct device *d)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, device);

    memset(&a->s, 0, sizeof(a->s));
    a->s.half_seen = ticks_now(a) / TIMER_HALF;
    update(a);
}

static void acpi_pm_save(struct device *d, struct device_state *s)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, device);

    device_state_put(s, &a->s, sizeof(a->s));
}

static bool acpi_pm_load(struct device *d, struct device_state *s)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, device);

    device_state_get(s, &a->s, sizeof(a->s));
    a->s.status &= PM1_STATUS_BITS;
    a->s.enable &= PM1_ENABLE_BITS;
    a->s.control &= PM1_STORED;
    update(a);
    return !s->failed;
}

static const struct device_class acpi_pm_class = {
    .name = "acpi-pm",
    .size = sizeof(struct acpi_pm),
    .order = DEVICE_ORDER_PLATFORM,
    .create = acpi_pm_create,
    .reset = acpi_pm_reset,
    .save = acpi_pm_save,
    .load = acpi_pm_load,
    .destroy = acpi_pm_destroy,
};
DEVICE_CLASS(acpi_pm_class);
