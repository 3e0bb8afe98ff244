/*
 * The IDE function of the PIIX3 (82371SB, data sheet 290550, 2.3 and 2.7): two channels at the
 * PC's ports with IRQ 14 and 15, and the PCI function that turns them on. A machine without images
 * has none.
 */
#include "devices/ide.h"

#include <linux/pci_regs.h>

#include "devices/disk_cow.h"
#include "lib/string.h"

#define IDE_VENDOR   0x8086
#define IDE_DEVICE   0x7010
#define IDE_CLASS    0x010180 /* bus master, both channels at the legacy ports */
#define IDE_SLOT     1
#define IDE_FUNCTION 1
#define IDE_DMA_BAR  4

/* IDETIM of each channel: timings, and whether its ports are decoded at all. */
#define IDETIM(channel) (0x40 + 2 * (channel))
#define IDETIM_DECODE   0x8000
#define IDETIM_WRITABLE 0xf3ff
#define SIDETIM         0x44

#define COMMAND_PORTS 8

static const struct {
    uint16_t command, control;
    uint8_t irq;
} legacy[IDE_CHANNELS] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};

bool ide_is_bus_master(const struct ide_channel *c)
{
    return pci_get16(&c->ide->pci, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

static uint64_t dma_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide *ide = opaque;

    return ide_dma_read(&ide->channel[offset / IDE_DMA_PORTS], offset % IDE_DMA_PORTS, size);
}

static void dma_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct ide *ide = opaque;

    ide_dma_write(&ide->channel[offset / IDE_DMA_PORTS], offset % IDE_DMA_PORTS, size, value);
}

static const struct bus_ops dma_ops = {dma_read, dma_write, 1 | 2 | 4};

/* ------------------------------------------------------------------ the PCI function */

static struct ide *of_function(struct pci_function *f)
{
    return container_of(f, struct ide, pci);
}

static int map_bar(struct pci_function *f, unsigned bar UNUSED, uint64_t address)
{
    return bus_add_ports(f->machine->bus, (uint16_t)address, IDE_CHANNELS * IDE_DMA_PORTS,
                         "ide-dma", &dma_ops, of_function(f));
}

static void unmap_bar(struct pci_function *f, unsigned bar UNUSED, uint64_t address)
{
    bus_remove_ports(f->machine->bus, (uint16_t)address);
}

static bool decode_wanted(const struct ide *ide, unsigned channel)
{
    return (pci_get16(&ide->pci, PCI_COMMAND) & PCI_COMMAND_IO) &&
           (pci_get16(&ide->pci, IDETIM(channel)) & IDETIM_DECODE);
}

/* Where something else has the ports, as a BAR that a guest put there, the channel has none. */
static bool add_ports(struct ide *ide, unsigned channel)
{
    struct bus *bus = ide->device.machine->bus;
    struct ide_channel *c = &ide->channel[channel];

    if (bus_add_ports(bus, legacy[channel].command, COMMAND_PORTS, "ide", &ide_command_ops, c) != 0)
        return false;
    if (bus_add_ports(bus, legacy[channel].control, 1, "ide-control", &ide_control_ops, c) == 0)
        return true;
    bus_remove_ports(bus, legacy[channel].command);
    return false;
}

static void remove_ports(struct ide *ide, unsigned channel)
{
    bus_remove_ports(ide->device.machine->bus, legacy[channel].command);
    bus_remove_ports(ide->device.machine->bus, legacy[channel].control);
}

static void update_decoding(struct ide *ide)
{
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        bool wanted = decode_wanted(ide, i);

        if (wanted && !ide->decoded[i])
            ide->decoded[i] = add_ports(ide, i);
        else if (!wanted && ide->decoded[i]) {
            ide->decoded[i] = false;
            remove_ports(ide, i);
        }
    }
}

/* Config space was written: what is decoded may change, and DMA may be allowed now. */
static void config_written(struct pci_function *f, unsigned offset UNUSED, unsigned size UNUSED)
{
    struct ide *ide = of_function(f);

    update_decoding(ide);
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ide_dma_run(&ide->channel[i]);
}

static const struct pci_ops ide_pci_ops = {map_bar, unmap_bar, config_written};

/* Without firmware, which would do so, the channels are on from the start. */
static int attach(struct ide *ide)
{
    static const struct pci_identity id = {
        .vendor = IDE_VENDOR,
        .device = IDE_DEVICE,
        .class_code = IDE_CLASS,
    };
    struct machine *m = ide->device.machine;
    struct pci_function *f = &ide->pci;

    pci_init(f, m, "ide", &id, &ide_pci_ops);
    pci_add_bar_ports(f, IDE_DMA_BAR, IDE_CHANNELS * IDE_DMA_PORTS);
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        f->write_mask[IDETIM(i)] = (uint8_t)IDETIM_WRITABLE;
        f->write_mask[IDETIM(i) + 1] = IDETIM_WRITABLE >> 8;
        if (!m->config.firmware)
            pci_set16(f, IDETIM(i), IDETIM_DECODE);
    }
    f->write_mask[SIDETIM] = UINT8_MAX;
    if (!m->config.firmware)
        pci_set16(f, PCI_COMMAND, PCI_COMMAND_IO);
    return pci_attach_function(f, IDE_SLOT, IDE_FUNCTION);
}

/* ------------------------------------------------------------------ the device */

static struct ide *to_ide(struct device *d)
{
    return container_of(d, struct ide, device);
}

static int create_drive(struct ide_drive *d, const struct disk_image *image)
{
    struct device_host *host = d->channel->host;
    const char *name = image->name != NULL ? image->name : "disk";

    if (image->data == NULL)
        return 0;
    d->buffer = host->ops->alloc(host, IDE_BUFFER_SIZE);
    d->disk =
        disk_cow_create(host, name, image->data, image->size, image->read_only || image->cdrom);
    if (d->buffer == NULL || d->disk == NULL)
        return E_NOMEM;
    d->kind = image->cdrom ? &atapi_kind : &ata_kind;
    return 0;
}

static void destroy_channel(struct ide_channel *c)
{
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES; i++) {
        struct ide_drive *d = &c->drive[i];

        if (d->kind != NULL)
            ide_transfer_abort(d);
        disk_destroy(d->disk);
        c->host->ops->free(c->host, d->buffer);
    }
}

static void ide_destroy(struct device *device)
{
    struct ide *ide = to_ide(device);

    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        destroy_channel(&ide->channel[i]);
    pci_detach(&ide->pci);
}

static int create_channel(struct ide *ide, unsigned n, const struct disk_image *images)
{
    struct ide_channel *c = &ide->channel[n];
    int err = 0;

    c->host = ide->device.machine->host;
    c->ide = ide;
    c->irq = machine_isa_irq(ide->device.machine, legacy[n].irq);
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES; i++) {
        c->drive[i].channel = c;
        c->drive[i].index = i;
        timer_init(&c->drive[i].slice, ide_transfer_go_on, &c->drive[i]);
    }
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES && err == 0; i++)
        err = create_drive(&c->drive[i], &images[i]);
    return err;
}

static bool any_image(const struct machine_config *config)
{
    for (unsigned i = 0; i < DISK_IMAGES; i++)
        if (config->disk[i].data != NULL)
            return true;
    return false;
}

static int ide_create(struct device *device, struct machine *m)
{
    struct ide *ide = to_ide(device);
    int err = 0;

    if (!any_image(&m->config))
        return E_NODEV;
    for (unsigned i = 0; i < IDE_CHANNELS && err == 0; i++)
        err = create_channel(ide, i, &m->config.disk[i * IDE_CHANNEL_DRIVES]);
    if (err == 0)
        err = attach(ide);
    if (err == 0)
        return 0;
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        if (ide->channel[i].host != NULL)
            destroy_channel(&ide->channel[i]);
    return err;
}

/* The disks keep what was written to them, as on a PC. */
static void ide_reset(struct device *device)
{
    struct ide *ide = to_ide(device);

    pci_reset(&ide->pci);
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];

        c->control = 0;
        c->irq_level = false;
        ide_dma_reset(c);
        ide_reset_drives(c, true);
        irq_line_set(&c->irq, c->irq_level);
    }
    update_decoding(ide);
}

static void ide_save(struct device *device, struct device_state *s)
{
    struct ide *ide = to_ide(device);

    pci_save(&ide->pci, s);
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ide_channel_save(&ide->channel[i], s);
}

/* The line's level is known to the interrupt controllers, whose state came before. */
static bool ide_load(struct device *device, struct device_state *s)
{
    struct ide *ide = to_ide(device);

    if (!pci_load(&ide->pci, s))
        return false;
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];

        if (!ide_channel_load(c, s))
            return false;
        c->irq_level = ide_irq_wanted(c);
        irq_line_set(&c->irq, c->irq_level);
    }
    update_decoding(ide);
    return true;
}

static const struct device_class ide_class = {
    .name = "ide",
    .size = sizeof(struct ide),
    .order = DEVICE_ORDER_PERIPHERAL,
    .create = ide_create,
    .reset = ide_reset,
    .save = ide_save,
    .load = ide_load,
    .destroy = ide_destroy,
};
DEVICE_CLASS(ide_class);
