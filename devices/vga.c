/*
 * The display adapter as a device: its ports, the legacy window, and PCI function 1234:1111 with
 * the framebuffer at BAR 0 and its registers at BAR 2.
 */
#include <linux/pci_regs.h>

#include "devices/vga_internal.h"

#define VGA_VENDOR     0x1234
#define VGA_DEVICE     0x1111
#define VGA_CLASS      0x030000
#define SUBSYSTEM      0x1af4 /* QEMU's, with subsystem 0x1100: what drivers have seen */
#define SUBSYSTEM_ID   0x1100
#define BAR_LFB        0
#define BAR_MMIO       2
#define WINDOW_START   0xa0000ul
#define WINDOW_SIZE    0x20000ul
#define MMIO_SIZE      0x1000
#define MMIO_PORTS     0x400 /* ports from 0x3C0 on */
#define MMIO_PORTS_END 0x420
#define MMIO_DISPI     0x500 /* 16 bits each */
#define MMIO_DISPI_END (MMIO_DISPI + 2 * (VGA_NR_DISPI + 1))
#define MONO_PORT(p)   ((uint16_t)((p)-VGA_PORT_MONO_OFFSET))
#define DISPI_PORTS    3 /* two registers of 16 bits at neighbouring ports */
#define ATTR_TO_GC     16

/* ------------------------------------------------------------------ ports */

/* The ranges that the ports come in; each register is a byte. */
static const struct {
    uint16_t start;
    uint8_t count;
} port_ranges[VGA_NR_PORT_RANGES] = {
    {MONO_PORT(VGA_PORT_CRTC), 2}, {MONO_PORT(VGA_PORT_STATUS), 1},
    {VGA_PORT_ATTR, ATTR_TO_GC},   {VGA_PORT_CRTC, 2},
    {VGA_PORT_STATUS, 1},
};

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    const struct vga_ports *p = opaque;

    return vga_port_read(p->vga, p->start + (unsigned)offset);
}

static void ports_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    const struct vga_ports *p = opaque;

    vga_port_write(p->vga, p->start + (unsigned)offset, (uint8_t)value);
}

static const struct bus_ops ports_ops = {ports_read, ports_write, 1};

static int add_ports(struct vga *v, struct bus *bus)
{
    int err = bus_add_ports(bus, VGA_PORT_DISPI, DISPI_PORTS, "vga-dispi", &vga_dispi_ops, v);

    for (unsigned i = 0; err == 0 && i < VGA_NR_PORT_RANGES; i++) {
        v->ports[i] = (struct vga_ports){v, port_ranges[i].start};
        err = bus_add_ports(bus, port_ranges[i].start, port_ranges[i].count, "vga", &ports_ops,
                            &v->ports[i]);
    }
    return err;
}

/* ------------------------------------------------------------------ BAR 2 */

static bool mmio_is_port(uint64_t offset)
{
    return offset >= MMIO_PORTS && offset < MMIO_PORTS_END;
}
static bool mmio_is_dispi(uint64_t offset)
{
    return offset >= MMIO_DISPI && offset < MMIO_DISPI_END;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *v = opaque;
    unsigned port = VGA_PORT_ATTR + (unsigned)offset - MMIO_PORTS;

    if (mmio_is_port(offset) && size == 2)
        return vga_port_read(v, port) | (uint64_t)vga_port_read(v, port + 1) << 8;
    if (mmio_is_port(offset))
        return vga_port_read(v, port);
    if (mmio_is_dispi(offset))
        return vga_dispi_read(v, (unsigned)(offset - MMIO_DISPI) / 2) >> 8 * (offset & 1);
    return UINT16_MAX;
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = opaque;
    unsigned port = VGA_PORT_ATTR + (unsigned)offset - MMIO_PORTS;

    if (mmio_is_port(offset)) {
        vga_port_write(v, port, (uint8_t)value);
        if (size == 2)
            vga_port_write(v, port + 1, (uint8_t)(value >> 8));
    } else if (mmio_is_dispi(offset) && size == 2 && offset % 2 == 0) {
        vga_dispi_write(v, (unsigned)(offset - MMIO_DISPI) / 2, (uint16_t)value);
    }
}

static const struct bus_ops mmio_ops = {mmio_read, mmio_write, 1 | 2};

/* ------------------------------------------------------------------ PCI */

static int vga_map(struct pci_function *f, unsigned bar, uint64_t address)
{
    struct vga *v = container_of(f, struct vga, pci);

    if (bar == BAR_LFB)
        return vga_lfb_map(v, address);
    return bus_add_memory(f->machine->bus, GPA(address), MMIO_SIZE, "vga-mmio", &mmio_ops, v);
}

static void vga_unmap(struct pci_function *f, unsigned bar, uint64_t address)
{
    if (bar == BAR_LFB)
        vga_lfb_unmap(container_of(f, struct vga, pci));
    else
        bus_remove_memory(f->machine->bus, GPA(address));
}

static const struct pci_ops vga_pci_ops = {.map = vga_map, .unmap = vga_unmap};

static int add_function(struct vga *v, struct machine *m)
{
    static const struct pci_identity id = {
        .vendor = VGA_VENDOR,
        .device = VGA_DEVICE,
        .subsystem_vendor = SUBSYSTEM,
        .subsystem = SUBSYSTEM_ID,
        .class_code = VGA_CLASS,
    };

    pci_init(&v->pci, m, "vga", &id, &vga_pci_ops);
    pci_add_bar_memory(&v->pci, BAR_LFB, VGA_VRAM_SIZE, false, true);
    pci_add_bar_memory(&v->pci, BAR_MMIO, MMIO_SIZE, false, false);
    v->pci.write_mask[PCI_COMMAND] |= PCI_COMMAND_IO; /* the ports answer whatever it says */
    return pci_attach(&v->pci, VGA_PCI_SLOT);
}

/* ------------------------------------------------------------------ the device */

static struct vga *to_vga(struct device *d)
{
    return container_of(d, struct vga, device);
}

static int vga_create(struct device *d, struct machine *m)
{
    struct vga *v = to_vga(d);
    int err;

    if (!m->config.vga)
        return E_NODEV;
    err = vga_vram_create(v);
    if (err != 0)
        return err;
    err = add_ports(v, m->bus);
    if (err == 0)
        err = bus_add_memory(m->bus, GPA(WINDOW_START), WINDOW_SIZE, "vga-window", &vga_window_ops,
                             v);
    if (err == 0)
        err = add_function(v, m);
    if (err != 0)
        vga_vram_destroy(v);
    else
        m->vga = v;
    return err;
}

static void vga_destroy(struct device *d)
{
    struct vga *v = to_vga(d);

    pci_detach(&v->pci);
    vga_vram_destroy(v);
    d->machine->vga = NULL;
}

/* The memory keeps what it has, as RAM does. */
static void vga_reset(struct device *d)
{
    struct vga *v = to_vga(d);

    pci_reset(&v->pci);
    vga_regs_reset(v);
    vga_dispi_reset(v);
    vga_memory_update(v);
    vga_touch(v);
}

static void vga_save(struct device *d, struct device_state *s)
{
    const struct vga *v = to_vga(d);

    device_state_put(s, &v->s, sizeof(v->s));
    pci_save(&v->pci, s);
    vga_vram_save(v, s);
}

static bool vga_load(struct device *d, struct device_state *s)
{
    struct vga *v = to_vga(d);

    device_state_get(s, &v->s, sizeof(v->s));
    vga_regs_sanitize(&v->s);
    if (s->failed || !vga_dispi_valid(&v->s)) {
        vga_reset(d);
        return false;
    }
    v->timing_valid = false;
    vga_memory_update(v);
    vga_touch(v);
    return pci_load(&v->pci, s) && vga_vram_load(v, s);
}

static const struct device_class vga_class = {
    .name = "vga",
    .size = sizeof(struct vga),
    .order = DEVICE_ORDER_PERIPHERAL,
    .create = vga_create,
    .reset = vga_reset,
    .save = vga_save,
    .load = vga_load,
    .destroy = vga_destroy,
};
DEVICE_CLASS(vga_class);
