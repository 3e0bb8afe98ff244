/*
 * The I/O APIC: 24 pins, a redirection entry each (82093AA data sheet), with the EOI register of
 * its successors (version 0x20).
 *
 * What arrives at a pin is whether the line is asserted. The polarity bit says at which voltage
 * that is: the guest can set and read it, but there are no volts here, so nothing depends on it.
 */
#include "devices/bus.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/machine.h"

#define IOAPIC_PINS   24u
#define IOAPIC_WINDOW 0x1000 /* of addresses */

/* Memory-mapped registers */
#define MMIO_SELECT 0x00
#define MMIO_DATA   0x10
#define MMIO_EOI    0x40

/* Registers behind MMIO_SELECT */
#define REG_ID          0x00
#define REG_VERSION     0x01
#define REG_ARBITRATION 0x02
#define REG_REDIRECTION 0x10 /* two registers a pin */

#define ID_BITS       0x0f000000u
#define VERSION_VALUE (0x20u | (IOAPIC_PINS - 1) << 16)

/* Redirection entries */
#define RTE_VECTOR     0xffull
#define RTE_MODE_SHIFT 8
#define RTE_LOGICAL    BIT(11)
#define RTE_STATUS     BIT(12)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL      BIT(15)
#define RTE_MASKED     BIT(16)
#define RTE_DEST_SHIFT 56
#define RTE_READ_ONLY  (RTE_STATUS | RTE_REMOTE_IRR)
#define RTE_VALID      (0x1ffffull | 0xffull << RTE_DEST_SHIFT)

#define IOAPIC_TAG    0x50414f49u /* "IOAP" */
#define IOAPIC_STREAM 1           /* version */

struct ioapic_regs {
    uint64_t entry[IOAPIC_PINS];
    uint32_t id;
    uint32_t lines; /* pins that are asserted */
    uint8_t select;
    uint8_t reserved[7];
};

struct ioapic {
    struct device device;
    struct ioapic_regs regs;
};

static unsigned rte_mode(uint64_t entry)
{
    return entry >> RTE_MODE_SHIFT & 7;
}

/* Only ordinary interrupts can be level triggered; NMI and the like go by edges anyhow. */
static bool rte_is_level(uint64_t entry)
{
    return (entry & RTE_LEVEL) && rte_mode(entry) <= LAPIC_LOWEST_PRIORITY;
}

/* ------------------------------------------------------------------ interrupts */

/* Sends a pin's message; a level one is outstanding from its acceptance to its EOI. */
static void pin_send(struct ioapic *a, unsigned pin)
{
    uint64_t *entry = &a->regs.entry[pin];
    bool level = rte_is_level(*entry);
    bool accepted =
        lapic_deliver(a->device.machine, (uint32_t)(*entry >> RTE_DEST_SHIFT), *entry & RTE_LOGICAL,
                      rte_mode(*entry), (uint8_t)(*entry & RTE_VECTOR), level);

    if (level && accepted)
        *entry |= RTE_REMOTE_IRR;
}

/* A level-triggered pin that is asserted and not outstanding is sent. */
static void pin_update_level(struct ioapic *a, unsigned pin)
{
    uint64_t entry = a->regs.entry[pin];

    if (!rte_is_level(entry) || (entry & (RTE_MASKED | RTE_REMOTE_IRR)))
        return;
    if (a->regs.lines >> pin & 1)
        pin_send(a, pin);
}

/* Edges on a masked pin are lost: so says the data sheet of the mask bit. */
void ioapic_set_pin(struct ioapic *a, unsigned pin, bool level)
{
    uint32_t bit;
    bool rose;

    if (pin >= IOAPIC_PINS)
        return;
    bit = 1u << pin;
    rose = level && !(a->regs.lines & bit);
    a->regs.lines = (a->regs.lines & ~bit) | (level ? bit : 0);
    if (!rose)
        return;
    if (rte_is_level(a->regs.entry[pin]))
        pin_update_level(a, pin);
    else if (!(a->regs.entry[pin] & RTE_MASKED))
        pin_send(a, pin);
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = a->regs.entry[pin];

        if (!(entry & RTE_REMOTE_IRR) || (entry & RTE_VECTOR) != vector)
            continue;
        a->regs.entry[pin] = entry & ~RTE_REMOTE_IRR;
        pin_update_level(a, pin);
    }
}

void ioapic_level_vectors(const struct ioapic *a, uint64_t bitmap[4])
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = a->regs.entry[pin];
        unsigned vector = entry & RTE_VECTOR;

        if (!rte_is_level(entry))
            continue;
        if (!(entry & RTE_MASKED) || (entry & RTE_REMOTE_IRR))
            bitmap[vector / 64] |= BIT(vector % 64);
    }
}

/* ------------------------------------------------------------------ registers */

/* Which vectors need an exit at EOI may have changed: all vCPUs look again. */
static void level_vectors_changed(struct machine *m)
{
    m->eoi_generation++;
    for (unsigned i = 0; i < m->config.nr_vcpus; i++)
        m->cpu_ops->wake(m->cpu_opaque, i);
}

static void entry_write(struct ioapic *a, unsigned pin, uint64_t value)
{
    uint64_t old = a->regs.entry[pin];
    uint64_t entry = (value & RTE_VALID & ~RTE_READ_ONLY) | (old & RTE_READ_ONLY);

    if (!rte_is_level(entry))
        entry &= ~RTE_REMOTE_IRR;
    a->regs.entry[pin] = entry;
    if (rte_is_level(old) || rte_is_level(entry))
        level_vectors_changed(a->device.machine);
    pin_update_level(a, pin);
}

static void reg_write(struct ioapic *a, unsigned reg, uint32_t value)
{
    unsigned pin = (reg - REG_REDIRECTION) / 2;
    uint64_t old;

    if (reg == REG_ID)
        a->regs.id = value & ID_BITS;
    if (reg < REG_REDIRECTION || pin >= IOAPIC_PINS)
        return;
    old = a->regs.entry[pin];
    if (reg & 1)
        entry_write(a, pin, (uint32_t)old | (uint64_t)value << 32);
    else
        entry_write(a, pin, (old & ~(uint64_t)UINT32_MAX) | value);
}

static uint32_t reg_read(const struct ioapic *a, unsigned reg)
{
    unsigned pin = (reg - REG_REDIRECTION) / 2;

    if (reg == REG_ID || reg == REG_ARBITRATION)
        return a->regs.id;
    if (reg == REG_VERSION)
        return VERSION_VALUE;
    if (reg < REG_REDIRECTION || pin >= IOAPIC_PINS)
        return 0;
    return (uint32_t)(a->regs.entry[pin] >> (reg & 1 ? 32 : 0));
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    const struct ioapic *a = opaque;

    if (offset == MMIO_SELECT)
        return a->regs.select;
    return offset == MMIO_DATA ? reg_read(a, a->regs.select) : 0;
}

static void ioapic_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    struct ioapic *a = opaque;

    if (offset == MMIO_SELECT)
        a->regs.select = (uint8_t)value;
    else if (offset == MMIO_DATA)
        reg_write(a, a->regs.select, (uint32_t)value);
    else if (offset == MMIO_EOI)
        ioapic_eoi(a, (uint8_t)value);
}

static const struct bus_ops ioapic_ops = {ioapic_read, ioapic_write, 4};

/* ------------------------------------------------------------------ the device */

static int ioapic_create(struct device *d, struct machine *m)
{
    struct ioapic *a = container_of(d, struct ioapic, device);
    int err =
        bus_add_memory(m->bus, GPA(GUEST_IOAPIC_BASE), IOAPIC_WINDOW, "ioapic", &ioapic_ops, a);

    if (err == 0)
        m->ioapic = a;
    return err;
}

static void ioapic_reset(struct device *d)
{
    struct ioapic *a = container_of(d, struct ioapic, device);

    a->regs = (struct ioapic_regs){.id = 0};
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        a->regs.entry[pin] = RTE_MASKED;
}

static void ioapic_save(struct device *d, struct device_state *s)
{
    struct ioapic *a = container_of(d, struct ioapic, device);

    device_state_put_tag(s, IOAPIC_TAG, IOAPIC_STREAM);
    device_state_put(s, &a->regs, sizeof(a->regs));
}

static bool ioapic_load(struct device *d, struct device_state *s)
{
    struct ioapic *a = container_of(d, struct ioapic, device);
    struct ioapic_regs regs;

    if (!device_state_get_tag(s, IOAPIC_TAG, IOAPIC_STREAM))
        return false;
    device_state_get(s, &regs, sizeof(regs));
    if (s->failed || (regs.id & ~ID_BITS) || regs.lines >> IOAPIC_PINS != 0)
        return false;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        if (regs.entry[pin] & ~RTE_VALID)
            return false;
    a->regs = regs;
    a->device.machine->eoi_generation++;
    return true;
}

static const struct device_class ioapic_class = {
    .name = "ioapic",
    .size = sizeof(struct ioapic),
    .order = DEVICE_ORDER_INTERRUPTS,
    .create = ioapic_create,
    .reset = ioapic_reset,
    .save = ioapic_save,
    .load = ioapic_load,
};
DEVICE_CLASS(ioapic_class);
