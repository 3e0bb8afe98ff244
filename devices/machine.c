/*
 * Puts a machine together: local APICs, then one device of each class that the linker section
 * knows, in the classes' order; and the wires between the interrupt controllers.
 */
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/machine.h"
#include "devices/pic.h"
#include "lib/assert.h"
#include "lib/string.h"

#define MACHINE_TAG    0x48544954u /* "TITH" */
#define MACHINE_END    0x2e444e45u /* "END." */
#define MACHINE_STREAM 2           /* version */
#define NR_ISA_IRQS    16u
#define TIMER_IRQ      0u
#define TIMER_PIN      2u
#define CASCADE_IRQ    2u
#define RTC_IRQ        8u
#define TIMER_IRQS     (BIT(TIMER_IRQ) | BIT(RTC_IRQ)) /* that the HPET can take over */
#define PIC_PIN        0u

extern const struct device_class *const __start_device_classes[];
extern const struct device_class *const __stop_device_classes[];

#define for_each_class(it)                                              \
    for (const struct device_class *const *it = __start_device_classes; \
         it < __stop_device_classes; it++)

/* ------------------------------------------------------------------ wires */

static void drive_isa(struct machine *m, unsigned irq, bool level)
{
    m->isa_level = (uint16_t)((m->isa_level & ~BIT(irq)) | (uint64_t)level << irq);
    if (m->pic != NULL && irq != CASCADE_IRQ)
        pic_set_irq(m->pic, irq, level);
    if (m->ioapic != NULL && irq != CASCADE_IRQ)
        ioapic_set_pin(m->ioapic, irq == TIMER_IRQ ? TIMER_PIN : irq, level);
}

static void isa_irq_set(void *opaque, unsigned irq, bool level)
{
    struct machine *m = opaque;

    if (TIMER_IRQS & BIT(irq)) {
        m->timers_level = (uint16_t)((m->timers_level & ~BIT(irq)) | (uint64_t)level << irq);
        if (m->timers_replaced)
            return;
    }
    drive_isa(m, irq, level);
}

static void replaced_irq_set(void *opaque, unsigned irq, bool level)
{
    struct machine *m = opaque;

    if (m->timers_replaced)
        drive_isa(m, irq, level);
}

struct irq_line machine_replaced_irq(struct machine *m, unsigned n)
{
    return (struct irq_line){replaced_irq_set, m, n == 0 ? TIMER_IRQ : RTC_IRQ};
}

void machine_replace_timers(struct machine *m, bool on)
{
    m->timers_replaced = on;
    drive_isa(m, TIMER_IRQ, !on && (m->timers_level & BIT(TIMER_IRQ)));
    drive_isa(m, RTC_IRQ, !on && (m->timers_level & BIT(RTC_IRQ)));
}

struct irq_line machine_isa_irq(struct machine *m, unsigned irq)
{
    ASSERT(irq < NR_ISA_IRQS);
    return (struct irq_line){isa_irq_set, m, irq};
}

void machine_set_intr(struct machine *m, bool level)
{
    if (m->intr_level == level)
        return;
    m->intr_level = level;
    for (unsigned i = 0; i < m->config.nr_vcpus; i++)
        lapic_set_lint(m->lapic[i], 0, level);
    if (m->ioapic != NULL)
        ioapic_set_pin(m->ioapic, PIC_PIN, level);
}

/* ------------------------------------------------------------------ creation */

static void lapic_destroy(struct machine *m, unsigned vcpu)
{
    struct lapic *l = m->lapic[vcpu];

    m->cpu_ops->timer(m->cpu_opaque, l, TIMER_NEVER);
    m->host->ops->free(m->host, l->page);
    m->host->ops->free(m->host, l);
    m->lapic[vcpu] = NULL;
}

static int lapic_create(struct machine *m, unsigned vcpu)
{
    struct lapic *l = m->host->ops->alloc(m->host, sizeof(*l));
    uint32_t *page = m->host->ops->alloc(m->host, PAGE_SIZE);

    if (l == NULL || page == NULL) {
        m->host->ops->free(m->host, l);
        m->host->ops->free(m->host, page);
        return E_NOMEM;
    }
    lapic_init(l, m, vcpu, page);
    m->lapic[vcpu] = l;
    return 0;
}

static void device_destroy(struct device *d)
{
    struct device_host *host = d->machine->host;

    if (d->class->destroy != NULL)
        d->class->destroy(d);
    list_remove(&d->node);
    host->ops->free(host, d);
}

static int device_create(struct machine *m, const struct device_class *class)
{
    struct device *d = m->host->ops->alloc(m->host, class->size);
    int err;

    if (d == NULL)
        return E_NOMEM;
    d->class = class;
    d->machine = m;
    err = class->create(d, m);
    if (err != 0) {
        m->host->ops->free(m->host, d);
        return err == E_NODEV ? 0 : err;
    }
    list_push_back(&m->devices, &d->node);
    return 0;
}

/* The lowest order there is from at_least on. */
static bool next_order(unsigned at_least, unsigned *order)
{
    bool found = false;

    for_each_class(c) if ((*c)->order >= at_least && (!found || (*c)->order < *order))
    {
        *order = (*c)->order;
        found = true;
    }
    return found;
}

static int create_devices(struct machine *m)
{
    int err = 0;

    for (unsigned order = 0; err == 0 && next_order(order, &order); order++)
        for_each_class(c) if (err == 0 && (*c)->order == order) err = device_create(m, *c);
    return err;
}

static int create_lapics(struct machine *m)
{
    int err = 0;

    for (unsigned i = 0; i < m->config.nr_vcpus && err == 0; i++)
        err = lapic_create(m, i);
    return err;
}

int machine_create(struct machine *m, struct device_host *host, const struct machine_config *config,
                   const struct machine_cpu_ops *cpu_ops, void *cpu_opaque)
{
    int err;

    if (config->nr_vcpus == 0 || config->nr_vcpus > MACHINE_MAX_VCPUS || host->tsc_hz == 0)
        return E_INVAL;
    memset(m, 0, sizeof(*m));
    m->host = host;
    m->config = *config;
    m->cpu_ops = cpu_ops;
    m->cpu_opaque = cpu_opaque;
    list_init(&m->devices);
    m->bus = bus_create(host);
    if (m->bus != NULL)
        m->ports = bus_ports(m->bus);
    err = m->bus == NULL ? E_NOMEM : create_lapics(m);
    if (err == 0)
        err = create_devices(m);
    if (err != 0) {
        machine_destroy(m);
        return err;
    }
    machine_reset(m);
    return 0;
}

/* In the reverse order, so that nothing is wired to what is gone. */
void machine_destroy(struct machine *m)
{
    while (!list_empty(&m->devices))
        device_destroy(list_entry(m->devices.prev, struct device, node));
    for (unsigned i = 0; i < MACHINE_MAX_VCPUS; i++)
        if (m->lapic[i] != NULL)
            lapic_destroy(m, i);
    if (m->bus != NULL)
        bus_destroy(m->bus);
    m->bus = NULL;
    m->pic = NULL;
    m->ioapic = NULL;
}

/* The controllers come first: they forget their inputs, and then the devices set them anew. */
void machine_reset(struct machine *m)
{
    m->isa_level = 0;
    m->timers_level = 0;
    m->timers_replaced = false;
    m->intr_level = false;
    m->lapic_turn = 0;
    for (unsigned i = 0; i < m->config.nr_vcpus; i++)
        lapic_reset(m->lapic[i]);
    list_for_each (node, &m->devices) {
        struct device *d = list_entry(node, struct device, node);

        if (d->class->reset != NULL)
            d->class->reset(d);
    }
}

/* ------------------------------------------------------------------ state */

/* A device's tag is made of its class's name (FNV-1a), so that no table of tags is needed. */
static uint32_t class_tag(const struct device_class *class)
{
    uint32_t hash = 2166136261u;

    for (const char *c = class->name; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    return hash;
}

/* What both sides must have in common, and the wires. */
struct machine_fields {
    uint64_t tsc_hz;
    uint64_t apic_shift;
    uint32_t nr_vcpus;
    uint16_t isa_level;
    uint8_t intr_level;
    uint8_t lapic_turn;
    uint16_t timers_level;
    uint8_t timers_replaced;
    uint8_t reserved[5];
};

bool machine_save(struct machine *m, struct device_state *s)
{
    struct machine_fields f = {
        .tsc_hz = m->host->tsc_hz,
        .apic_shift = m->config.apic_shift,
        .nr_vcpus = m->config.nr_vcpus,
        .isa_level = m->isa_level,
        .intr_level = m->intr_level,
        .lapic_turn = m->lapic_turn,
        .timers_level = m->timers_level,
        .timers_replaced = m->timers_replaced,
    };

    device_state_put_tag(s, MACHINE_TAG, MACHINE_STREAM);
    device_state_put(s, &f, sizeof(f));
    for (unsigned i = 0; i < m->config.nr_vcpus; i++)
        lapic_save(m->lapic[i], s);
    list_for_each (node, &m->devices) {
        struct device *d = list_entry(node, struct device, node);

        device_state_put_tag(s, class_tag(d->class), MACHINE_STREAM);
        if (d->class->save != NULL)
            d->class->save(d, s);
    }
    device_state_put_tag(s, MACHINE_END, MACHINE_STREAM);
    return !s->failed;
}

static bool load_fields(struct machine *m, struct device_state *s)
{
    struct machine_fields f;

    if (!device_state_get_tag(s, MACHINE_TAG, MACHINE_STREAM))
        return false;
    device_state_get(s, &f, sizeof(f));
    if (s->failed || f.tsc_hz != m->host->tsc_hz || f.apic_shift != m->config.apic_shift ||
        f.nr_vcpus != m->config.nr_vcpus || f.lapic_turn >= f.nr_vcpus || f.intr_level > 1 ||
        f.timers_replaced > 1 || (f.timers_level & ~TIMER_IRQS))
        return false;
    m->isa_level = f.isa_level;
    m->intr_level = f.intr_level;
    m->lapic_turn = f.lapic_turn;
    m->timers_level = f.timers_level;
    m->timers_replaced = f.timers_replaced;
    return true;
}

static bool load_devices(struct machine *m, struct device_state *s)
{
    list_for_each (node, &m->devices) {
        struct device *d = list_entry(node, struct device, node);

        if (!device_state_get_tag(s, class_tag(d->class), MACHINE_STREAM))
            return false;
        if (d->class->load != NULL && !d->class->load(d, s))
            return false;
    }
    return device_state_get_tag(s, MACHINE_END, MACHINE_STREAM);
}

bool machine_load(struct machine *m, struct device_state *s)
{
    if (!load_fields(m, s))
        return false;
    for (unsigned i = 0; i < m->config.nr_vcpus; i++)
        if (!lapic_load(m->lapic[i], s))
            return false;
    if (!load_devices(m, s))
        return false;
    for (unsigned i = 0; i < m->config.nr_vcpus; i++)
        m->cpu_ops->wake(m->cpu_opaque, i);
    return true;
}
