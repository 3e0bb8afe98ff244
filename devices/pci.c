/*
 * Configuration mechanism #1, the reset control register, and the upkeep of every function's config
 * space: write masks, BARs, interrupt pins.
 */
#include "devices/pci.h"

#include <linux/pci_regs.h>

#include "devices/bus.h"
#include "devices/ioapic.h"
#include "devices/machine.h"
#include "devices/piix3.h"
#include "lib/assert.h"
#include "lib/string.h"

/* CONFIG_ADDRESS (PCI Local Bus specification 3.0, 3.2.2.3.2). */
#define ADDRESS_PORT        0xcf8
#define ADDRESS_ENABLE      BIT(31)
#define ADDRESS_WRITABLE    0x80fffffcu
#define ADDRESS_BUS(a)      ((a) >> 16 & 0xff)
#define ADDRESS_SLOT(a)     ((a) >> 11 & 0x1f)
#define ADDRESS_FUNCTION(a) ((a) >> 8 & 7)
#define ADDRESS_REGISTER(a) ((a)&0xfc)
#define DATA_PORT           0xcfc

/* The reset control register (82371SB data sheet, 2.5.14). */
#define RESET_OFFSET (PCI_RESET_PORT - ADDRESS_PORT)
#define RESET_HARD   BIT(1) /* the whole machine, not only the CPUs */
#define RESET_CPU    BIT(2) /* going to 1 resets */
#define RESET_STORED 0x0a   /* bits 1 and 3: what kind of reset */

#define STATUS_CLEARABLE                                                             \
    (PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT | \
     PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY)
#define COMMAND_WRITABLE \
    (PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)

#define FIRST_CAPABILITY 0x40

#define HEADER_MULTI_FUNCTION 0x80 /* of the header type */

struct pci {
    struct device device;
    struct pci_function *function[PCI_MAX_SLOTS][PCI_FUNCTIONS];
    uint32_t address;
    uint8_t reset_control;
    uint16_t line_users[PCI_NR_LINES]; /* how many functions drive each line */
};

/* ------------------------------------------------------------------ config space */

uint32_t pci_get32(const struct pci_function *f, unsigned offset)
{
    return pci_get16(f, offset) | (uint32_t)pci_get16(f, offset + 2) << 16;
}

static void put16(uint8_t *bytes, unsigned offset, uint16_t value)
{
    bytes[offset] = (uint8_t)value;
    bytes[offset + 1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *bytes, unsigned offset, uint32_t value)
{
    put16(bytes, offset, (uint16_t)value);
    put16(bytes, offset + 2, (uint16_t)(value >> 16));
}

void pci_set16(struct pci_function *f, unsigned offset, uint16_t value)
{
    put16(f->config, offset, value);
}

void pci_set32(struct pci_function *f, unsigned offset, uint32_t value)
{
    put32(f->config, offset, value);
}

/* ------------------------------------------------------------------ interrupts */

/* As boards with a PIIX3 are wired: slot 1's pin A is line 0. The DSDT says the same. */
static unsigned line_of(const struct pci_function *f)
{
    return (f->slot + f->config[PCI_INTERRUPT_PIN] + PCI_NR_LINES - 2u) % PCI_NR_LINES;
}

static void drive_line(struct pci *p, unsigned line)
{
    struct machine *m = p->device.machine;
    bool level = p->line_users[line] != 0;

    if (m->ioapic != NULL)
        ioapic_set_pin(m->ioapic, PCI_INTX_GSI + line, level);
    if (m->piix3 != NULL)
        piix3_set_pirq(m->piix3, line, level);
}

/* Drives the function's line as its device wants and its command register allows. */
static void update_intx(struct pci_function *f)
{
    struct pci *p = f->machine->pci;
    bool drive = f->intx_requested && !(pci_get16(f, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
    uint16_t status = pci_get16(f, PCI_STATUS) & (uint16_t)~PCI_STATUS_INTERRUPT;

    if (f->intx_requested)
        status |= PCI_STATUS_INTERRUPT;
    pci_set16(f, PCI_STATUS, status);
    if (drive == f->intx_driven)
        return;
    f->intx_driven = drive;
    p->line_users[line_of(f)] = (uint16_t)(p->line_users[line_of(f)] + (drive ? 1 : -1));
    drive_line(p, line_of(f));
}

void pci_set_intx(struct pci_function *f, bool level)
{
    if (f->intx_requested == level || f->config[PCI_INTERRUPT_PIN] == 0)
        return;
    f->intx_requested = level;
    update_intx(f);
}

/* ------------------------------------------------------------------ BARs */

static unsigned bar_offset(unsigned bar)
{
    return PCI_BASE_ADDRESS_0 + 4 * bar;
}

/* Where BAR n should decode now; false: nowhere. All ones are a guest asking for the size. */
static bool bar_wanted(const struct pci_function *f, unsigned n, uint64_t *address)
{
    const struct pci_bar *bar = &f->bar[n];
    uint16_t command = pci_get16(f, PCI_COMMAND);
    uint64_t end = bar->is_io ? 0x10000 : bar->is_64bit ? 0 : GIB(4); /* 0: 2^64 */

    *address = pci_get32(f, bar_offset(n)) & ~(bar->size - 1);
    if (bar->is_64bit)
        *address |= (uint64_t)pci_get32(f, bar_offset(n) + 4) << 32;
    if (!(command & (bar->is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) || *address == 0)
        return false;
    return *address <= end - bar->size && *address != end - bar->size;
}

static void update_bar(struct pci_function *f, unsigned n)
{
    struct pci_bar *bar = &f->bar[n];
    uint64_t address;
    bool wanted;

    if (bar->size == 0 || f->ops == NULL || f->ops->map == NULL)
        return;
    wanted = bar_wanted(f, n, &address);
    if (bar->mapped && (!wanted || address != bar->mapped_at)) {
        bar->mapped = false;
        f->ops->unmap(f, n, bar->mapped_at);
    }
    if (wanted && !bar->mapped) {
        bar->mapped_at = address;
        bar->mapped = f->ops->map(f, n, address) == 0;
    }
}

static void update_bars(struct pci_function *f)
{
    for (unsigned n = 0; n < PCI_NR_BARS; n++)
        update_bar(f, n);
}

/* What all BARs have in common: the address bits above the size can be written. */
static void add_bar(struct pci_function *f, unsigned n, uint64_t size, uint16_t command)
{
    ASSERT(n < PCI_NR_BARS && f->bar[n].size == 0 && size != 0 && (size & (size - 1)) == 0);
    f->bar[n].size = size;
    put32(f->write_mask, bar_offset(n), (uint32_t) ~(size - 1));
    f->write_mask[PCI_COMMAND] |= (uint8_t)command;
}

void pci_add_bar_ports(struct pci_function *f, unsigned bar, uint32_t size)
{
    ASSERT(size >= 4 && size <= 256);
    add_bar(f, bar, size, PCI_COMMAND_IO);
    f->bar[bar].is_io = true;
    pci_set32(f, bar_offset(bar), PCI_BASE_ADDRESS_SPACE_IO);
}

void pci_add_bar_memory(struct pci_function *f, unsigned bar, uint64_t size, bool is_64bit,
                        bool prefetchable)
{
    ASSERT(size >= 16 && (is_64bit ? bar + 1 < PCI_NR_BARS : size <= GIB(1)));
    add_bar(f, bar, size, PCI_COMMAND_MEMORY);
    f->bar[bar].is_64bit = is_64bit;
    pci_set32(f, bar_offset(bar),
              (is_64bit ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0u) |
                  (prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0u));
    if (is_64bit)
        put32(f->write_mask, bar_offset(bar) + 4, (uint32_t)(~(size - 1) >> 32));
}

/* ------------------------------------------------------------------ functions */

void pci_init(struct pci_function *f, struct machine *m, const char *name,
              const struct pci_identity *id, const struct pci_ops *ops)
{
    memset(f, 0, sizeof(*f));
    f->machine = m;
    f->name = name;
    f->ops = ops;
    f->next_capability = FIRST_CAPABILITY;
    f->last_capability = PCI_CAPABILITY_LIST;
    pci_set16(f, PCI_VENDOR_ID, id->vendor);
    pci_set16(f, PCI_DEVICE_ID, id->device);
    pci_set32(f, PCI_CLASS_REVISION, id->class_code << 8 | id->revision);
    pci_set16(f, PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor);
    pci_set16(f, PCI_SUBSYSTEM_ID, id->subsystem);
    f->config[PCI_INTERRUPT_PIN] = id->pin;
    put16(f->write_mask, PCI_COMMAND, COMMAND_WRITABLE);
    put16(f->clear_mask, PCI_STATUS, STATUS_CLEARABLE);
    f->write_mask[PCI_CACHE_LINE_SIZE] = 0xff;
    f->write_mask[PCI_LATENCY_TIMER] = 0xff;
    f->write_mask[PCI_INTERRUPT_LINE] = 0xff;
}

unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned size)
{
    unsigned at = f->next_capability;

    if (at == 0 || size < 2 || size > PCI_CONFIG_SIZE - at)
        return 0;
    f->config[at + PCI_CAP_LIST_ID] = id;
    f->config[f->last_capability] = (uint8_t)at;
    f->last_capability = (uint8_t)(at + PCI_CAP_LIST_NEXT);
    f->next_capability = (uint8_t)ALIGN_UP(at + size, 4); /* 0 when the space is full */
    f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return at;
}

static unsigned free_slot(const struct pci *p)
{
    unsigned slot = 1;

    while (slot < PCI_MAX_SLOTS && p->function[slot][0] != NULL)
        slot++;
    return slot;
}

static void set_multi_function(struct pci_function *f)
{
    f->config[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNCTION;
    f->reset_config[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNCTION;
}

int pci_attach_function(struct pci_function *f, unsigned slot, unsigned number)
{
    struct pci *p = f->machine->pci;

    if (p == NULL)
        return E_NODEV;
    if (slot >= PCI_MAX_SLOTS || number >= PCI_FUNCTIONS)
        return E_NOSPC;
    if (p->function[slot][number] != NULL)
        return E_EXIST;
    if (number != 0 && p->function[slot][0] == NULL)
        return E_NODEV;
    p->function[slot][number] = f;
    f->slot = (uint8_t)slot;
    f->number = (uint8_t)number;
    memcpy(f->reset_config, f->config, sizeof(f->config));
    if (number != 0)
        set_multi_function(p->function[slot][0]);
    return 0;
}

int pci_attach(struct pci_function *f, unsigned slot)
{
    if (slot == PCI_ANY_SLOT && f->machine->pci != NULL)
        slot = free_slot(f->machine->pci);
    return pci_attach_function(f, slot, 0);
}

void pci_detach(struct pci_function *f)
{
    struct pci *p = f->machine->pci;

    if (p == NULL || p->function[f->slot][f->number] != f)
        return;
    pci_reset(f);
    p->function[f->slot][f->number] = NULL;
}

void pci_reset(struct pci_function *f)
{
    pci_set_intx(f, false);
    memcpy(f->config, f->reset_config, sizeof(f->config));
    update_bars(f);
}

void pci_save(const struct pci_function *f, struct device_state *s)
{
    uint8_t intx = f->intx_requested;

    device_state_put(s, f->config, sizeof(f->config));
    device_state_put(s, &intx, sizeof(intx));
}

/* What a guest cannot write is not taken from the stream either. */
bool pci_load(struct pci_function *f, struct device_state *s)
{
    uint8_t config[PCI_CONFIG_SIZE], intx;

    device_state_get(s, config, sizeof(config));
    device_state_get(s, &intx, sizeof(intx));
    if (s->failed || memcmp(config, f->config, 4) != 0)
        return false;
    for (unsigned i = 0; i < sizeof(config); i++)
        f->config[i] =
            (uint8_t)((f->config[i] & ~f->write_mask[i]) | (config[i] & f->write_mask[i]));
    update_bars(f);
    if (f->config[PCI_INTERRUPT_PIN] != 0)
        f->intx_requested = intx != 0;
    update_intx(f);
    return true;
}

/* ------------------------------------------------------------------ guest accesses */

static struct pci_function *addressed(const struct pci *p)
{
    if (!(p->address & ADDRESS_ENABLE) || ADDRESS_BUS(p->address) != 0)
        return NULL;
    return p->function[ADDRESS_SLOT(p->address)][ADDRESS_FUNCTION(p->address)];
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci *p = opaque;
    const struct pci_function *f = addressed(p);
    unsigned at = ADDRESS_REGISTER(p->address) + (unsigned)offset;
    uint64_t value = 0;

    if (f == NULL)
        return UINT32_MAX;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)f->config[at + i] << (8 * i);
    return value;
}

static bool touches(unsigned at, unsigned size, unsigned start, unsigned end)
{
    return at < end && at + size > start;
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci *p = opaque;
    struct pci_function *f = addressed(p);
    unsigned start = ADDRESS_REGISTER(p->address) + (unsigned)offset;

    if (f == NULL)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i)), *c = &f->config[start + i];
        uint8_t mask = f->write_mask[start + i];

        *c = (uint8_t)(((*c & ~mask) | (byte & mask)) & ~(byte & f->clear_mask[start + i]));
    }
    if (touches(start, size, PCI_COMMAND, PCI_STATUS + 2)) {
        update_bars(f);
        update_intx(f);
    } else if (touches(start, size, PCI_BASE_ADDRESS_0, PCI_CARDBUS_CIS)) {
        update_bars(f);
    }
    if (f->ops != NULL && f->ops->written != NULL)
        f->ops->written(f, start, size);
}

/* Only a dword reaches the address register; a byte at 0xCF9 is the reset control register. */
static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci *p = opaque;

    if (size == 4)
        return p->address;
    return offset == RESET_OFFSET && size == 1 ? p->reset_control : UINT32_MAX;
}

static void address_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci *p = opaque;
    struct device_host *host = p->device.machine->host;

    if (size == 4) {
        p->address = (uint32_t)value & ADDRESS_WRITABLE;
    } else if (offset == RESET_OFFSET && size == 1) {
        p->reset_control = (uint8_t)value & RESET_STORED;
        if (value & RESET_CPU)
            host->ops->power(host, value & RESET_HARD ? DEVICE_RESET : DEVICE_RESET_CPU);
    }
}

static const struct bus_ops address_ops = {address_read, address_write, 1 | 2 | 4};
static const struct bus_ops data_ops = {data_read, data_write, 1 | 2 | 4};

/* ------------------------------------------------------------------ the device */

static int pci_bus_create(struct device *d, struct machine *m)
{
    struct pci *p = container_of(d, struct pci, device);
    int err = bus_add_ports(m->bus, ADDRESS_PORT, 4, "pci-address", &address_ops, p);

    if (err == 0)
        err = bus_add_ports(m->bus, DATA_PORT, 4, "pci-data", &data_ops, p);
    if (err == 0)
        m->pci = p;
    return err;
}

static void pci_bus_destroy(struct device *d)
{
    d->machine->pci = NULL;
}

static void pci_bus_reset(struct device *d)
{
    struct pci *p = container_of(d, struct pci, device);

    p->address = 0;
    p->reset_control = 0;
    for (unsigned i = 0; i < PCI_MAX_SLOTS * PCI_FUNCTIONS; i++)
        if (p->function[i / PCI_FUNCTIONS][i % PCI_FUNCTIONS] != NULL)
            pci_reset(p->function[i / PCI_FUNCTIONS][i % PCI_FUNCTIONS]);
}

static void pci_bus_save(struct device *d, struct device_state *s)
{
    struct pci *p = container_of(d, struct pci, device);

    device_state_put(s, &p->address, sizeof(p->address));
    device_state_put(s, &p->reset_control, sizeof(p->reset_control));
}

static bool pci_bus_load(struct device *d, struct device_state *s)
{
    struct pci *p = container_of(d, struct pci, device);

    device_state_get(s, &p->address, sizeof(p->address));
    device_state_get(s, &p->reset_control, sizeof(p->reset_control));
    p->address &= ADDRESS_WRITABLE;
    p->reset_control &= RESET_STORED;
    return !s->failed;
}

static const struct device_class pci_class = {
    .name = "pci",
    .size = sizeof(struct pci),
    .order = DEVICE_ORDER_PLATFORM,
    .create = pci_bus_create,
    .reset = pci_bus_reset,
    .save = pci_bus_save,
    .load = pci_bus_load,
    .destroy = pci_bus_destroy,
};
DEVICE_CLASS(pci_class);
