/*
 * Power management, function 3 of slot 1 (Intel 82371AB, data sheet 290562, chapter 7): says where
 * the registers of devices/acpi_pm.c are. The SMBus host of that chip is not there: its enable bit
 * stays 0.
 */
#include <linux/pci_regs.h>

#include "devices/acpi_pm.h"
#include "devices/machine.h"
#include "devices/pci.h"
#include "devices/piix3.h"

#define PM_VENDOR   0x8086
#define PM_DEVICE   0x7113
#define PM_CLASS    0x068000
#define PM_REVISION 3

/* Registers. */
#define PMBASE         0x40 /* bits 15 to 6 of the address */
#define PMBASE_IO      1
#define PMBASE_ADDRESS 0xffc0
#define DEVACTB        0x58
#define APMC_EN        BIT(25) /* a write to port 0xB2 makes an SMI */
#define PMREGMISC      0x80
#define PMIOSE         0x01 /* the registers at PMBASE can be reached */

#define STATUS_RESET (PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM)

struct piix4_pm {
    struct device device;
    struct pci_function f;
};

static int update(struct piix4_pm *p)
{
    uint16_t base = pci_get16(&p->f, PMBASE) & PMBASE_ADDRESS;

    return acpi_pm_set_base(p->device.machine, p->f.config[PMREGMISC] & PMIOSE ? base : 0);
}

static bool touches(unsigned offset, unsigned size, unsigned reg, unsigned reg_size)
{
    return offset < reg + reg_size && offset + size > reg;
}

static void written(struct pci_function *f, unsigned offset, unsigned size)
{
    if (touches(offset, size, PMBASE, 2) || touches(offset, size, PMREGMISC, 1))
        update(container_of(f, struct piix4_pm, f));
}

/* ------------------------------------------------------------------ the device */

/*
 * APMC_EN is set from the start: firmware takes that for SMM being set up already, and leaves it
 * alone. There is no SMM.
 */
static void fill_config(struct piix4_pm *p, bool firmware)
{
    struct pci_function *f = &p->f;

    pci_set16(f, PCI_STATUS, STATUS_RESET);
    pci_set32(f, DEVACTB, APMC_EN);
    pci_set32(f, PMBASE, PMBASE_IO | (firmware ? 0 : GUEST_PM_BASE));
    f->write_mask[PMBASE] = PMBASE_ADDRESS & 0xff;
    f->write_mask[PMBASE + 1] = PMBASE_ADDRESS >> 8;
    f->config[PMREGMISC] = firmware ? 0 : PMIOSE;
    f->write_mask[PMREGMISC] = PMIOSE;
    f->config[PCI_INTERRUPT_LINE] = firmware ? 0 : GUEST_SCI_IRQ;
}

static int piix4_pm_create(struct device *d, struct machine *m)
{
    static const struct pci_identity id = {
        .vendor = PM_VENDOR,
        .device = PM_DEVICE,
        .class_code = PM_CLASS,
        .revision = PM_REVISION,
        .pin = 1,
    };
    static const struct pci_ops ops = {.written = written};
    struct piix4_pm *p = container_of(d, struct piix4_pm, device);
    int err;

    pci_init(&p->f, m, "piix4-pm", &id, &ops);
    fill_config(p, m->config.firmware);
    err = pci_attach_function(&p->f, PIIX3_SLOT, PIIX3_FUNCTION_PM);
    return err == 0 ? update(p) : err;
}

/* The bus has reset the registers. */
static void piix4_pm_reset(struct device *d)
{
    update(container_of(d, struct piix4_pm, device));
}

static void piix4_pm_save(struct device *d, struct device_state *s)
{
    pci_save(&container_of(d, struct piix4_pm, device)->f, s);
}

static bool piix4_pm_load(struct device *d, struct device_state *s)
{
    struct piix4_pm *p = container_of(d, struct piix4_pm, device);

    if (!pci_load(&p->f, s))
        return false;
    update(p);
    return true;
}

static const struct device_class piix4_pm_class = {
    .name = "piix4-pm",
    .size = sizeof(struct piix4_pm),
    .order = DEVICE_ORDER_CHIPSET + 1,
    .create = piix4_pm_create,
    .reset = piix4_pm_reset,
    .save = piix4_pm_save,
    .load = piix4_pm_load,
};
DEVICE_CLASS(piix4_pm_class);
