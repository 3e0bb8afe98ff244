/* Function 0 of the PIIX3. Of its registers, those that route interrupts do something. */
#include "devices/piix3.h"

#include <linux/pci_regs.h>

#include "devices/machine.h"
#include "devices/pci.h"

#define ISA_BRIDGE_VENDOR 0x8086
#define ISA_BRIDGE_DEVICE 0x7000
#define ISA_BRIDGE_CLASS  0x060100

/* Registers (data sheet, chapter 2.2). */
#define IORT          0x4c /* ISA I/O recovery time */
#define IORT_RESET    0x4d
#define XBCS          0x4e /* X-bus chip selects */
#define XBCS_RESET    0x03
#define PIRQ_ROUTE    0x60 /* PIRQRCA to PIRQRCD */
#define ROUTE_OFF     0x80
#define ROUTE_IRQ     0x0f
#define TOP_OF_MEMORY 0x69
#define TOM_RESET     0x02
#define ROUTABLE      0xdef8u /* IRQs 3 to 7, 9 to 12, 14, 15; the other values are reserved */

#define STATUS_RESET (PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM)

/* Where firmware routes the lines; the DSDT says the same. */
static const uint8_t firmware_route[PCI_NR_LINES] = {10, 10, 11, 11};

struct piix3 {
    struct device device;
    struct pci_function f;
    uint8_t pirq;    /* a bit for each line that is asserted */
    uint16_t driven; /* ISA IRQs that the lines hold up */
};

/* The ISA IRQs that asserted lines are routed to. */
static uint16_t wanted(const struct piix3 *p)
{
    uint16_t irqs = 0;

    for (unsigned line = 0; line < PCI_NR_LINES; line++) {
        uint8_t route = p->f.config[PIRQ_ROUTE + line];

        if ((p->pirq >> line & 1) && !(route & ROUTE_OFF))
            irqs |= (uint16_t)(1u << (route & ROUTE_IRQ));
    }
    return irqs & ROUTABLE;
}

static void update(struct piix3 *p)
{
    uint16_t irqs = wanted(p), changed = irqs ^ p->driven;

    p->driven = irqs;
    for (unsigned irq = 0; changed >> irq != 0; irq++) {
        struct irq_line line = machine_isa_irq(p->device.machine, irq);

        if (changed >> irq & 1)
            irq_line_set(&line, irqs >> irq & 1);
    }
}

void piix3_set_pirq(struct piix3 *p, unsigned line, bool level)
{
    p->pirq = (uint8_t)((p->pirq & ~(1u << line)) | (unsigned)level << line);
    update(p);
}

static void written(struct pci_function *f, unsigned offset, unsigned size)
{
    if (offset < PIRQ_ROUTE + PCI_NR_LINES && offset + size > PIRQ_ROUTE)
        update(container_of(f, struct piix3, f));
}

/* ------------------------------------------------------------------ the device */

static void fill_config(struct piix3 *p, bool firmware)
{
    struct pci_function *f = &p->f;

    /* It always decodes what is its own. */
    pci_set16(f, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_set16(f, PCI_STATUS, STATUS_RESET);
    f->config[IORT] = IORT_RESET;
    f->config[XBCS] = XBCS_RESET;
    f->config[TOP_OF_MEMORY] = TOM_RESET;
    for (unsigned line = 0; line < PCI_NR_LINES; line++) {
        f->config[PIRQ_ROUTE + line] = firmware ? ROUTE_OFF : firmware_route[line];
        f->write_mask[PIRQ_ROUTE + line] = ROUTE_OFF | ROUTE_IRQ;
    }
}

static int piix3_create(struct device *d, struct machine *m)
{
    static const struct pci_identity id = {
        .vendor = ISA_BRIDGE_VENDOR,
        .device = ISA_BRIDGE_DEVICE,
        .class_code = ISA_BRIDGE_CLASS,
    };
    static const struct pci_ops ops = {.written = written};
    struct piix3 *p = container_of(d, struct piix3, device);

    pci_init(&p->f, m, "piix3", &id, &ops);
    fill_config(p, m->config.firmware);
    m->piix3 = p;
    return pci_attach(&p->f, PIIX3_SLOT);
}

static void piix3_destroy(struct device *d)
{
    d->machine->piix3 = NULL;
}

/* The bus has reset the registers, and every function has let go of its line. */
static void piix3_reset(struct device *d)
{
    update(container_of(d, struct piix3, device));
}

static void piix3_save(struct device *d, struct device_state *s)
{
    struct piix3 *p = container_of(d, struct piix3, device);

    pci_save(&p->f, s);
}

/* The lines are set again by the functions that drive them. */
static bool piix3_load(struct device *d, struct device_state *s)
{
    struct piix3 *p = container_of(d, struct piix3, device);

    if (!pci_load(&p->f, s))
        return false;
    update(p);
    return true;
}

static const struct device_class piix3_class = {
    .name = "piix3",
    .size = sizeof(struct piix3),
    .order = DEVICE_ORDER_CHIPSET,
    .create = piix3_create,
    .reset = piix3_reset,
    .save = piix3_save,
    .load = piix3_load,
    .destroy = piix3_destroy,
};
DEVICE_CLASS(piix3_class);
