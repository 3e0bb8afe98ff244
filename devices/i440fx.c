/*
 * The host bridge at slot 0: Intel 82441FX (data sheet 290549). Its PAM registers say what is found
 * between 768 KiB and 1 MiB: for each 16 KiB (the last 64 KiB in one) whether reads come from RAM
 * and whether writes go there. Firmware copies itself to RAM with them.
 */
#include <linux/pci_regs.h>

#include "devices/machine.h"
#include "devices/pci.h"

#define HOST_BRIDGE_VENDOR   0x8086
#define HOST_BRIDGE_DEVICE   0x1237
#define HOST_BRIDGE_REVISION 2
#define HOST_BRIDGE_CLASS    0x060000
/* By these SeaBIOS knows a virtual machine that has fw_cfg. */
#define HOST_BRIDGE_SUBSYSTEM_VENDOR 0x1af4
#define HOST_BRIDGE_SUBSYSTEM        0x1100

#define STATUS_RESET (PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM)

/* PAM registers: two segments each, but the first one, whose upper half is for all of 0xF0000. */
#define PAM0         0x59
#define NR_PAM       7
#define PAM_READ     BIT(0)
#define PAM_WRITE    BIT(1)
#define PAM_SEGMENT  (PAM_READ | PAM_WRITE)
#define SEGMENT_SIZE 0x4000u
#define SEGMENTS     0xc0000ul /* from here on */
#define NR_SEGMENTS  13u
#define LAST_SEGMENT 0xf0000ul
#define LAST_SIZE    0x10000ul

/* As firmware leaves them: its own last 128 KiB are RAM. */
#define PAM0_FIRMWARE  0x30
#define PAM56_FIRMWARE 0x33

struct i440fx {
    struct device device;
    struct pci_function f;
    uint8_t mapped[NR_SEGMENTS]; /* PAM_* as the host was last told */
};

/* The PAM bits of segment n: 0 to 11 are those of 16 KiB, 12 the last. */
static uint8_t segment_bits(const struct i440fx *b, unsigned n)
{
    const uint8_t *pam = &b->f.config[PAM0];

    if (n == NR_SEGMENTS - 1)
        return pam[0] >> 4 & PAM_SEGMENT;
    return (uint8_t)(pam[1 + n / 2] >> 4 * (n % 2)) & PAM_SEGMENT;
}

/* Tells the host what has changed; neighbours with the same bits at once. */
static void update(struct i440fx *b)
{
    struct device_host *host = b->device.machine->host;

    for (unsigned n = 0; n < NR_SEGMENTS; n++) {
        uint8_t bits = segment_bits(b, n);
        gpa_t start = GPA(SEGMENTS + n * SEGMENT_SIZE);

        if (bits == b->mapped[n])
            continue;
        b->mapped[n] = bits;
        host->ops->map_shadow(host, start, start.v == LAST_SEGMENT ? LAST_SIZE : SEGMENT_SIZE,
                              bits & PAM_READ, bits & PAM_WRITE);
    }
}

static void written(struct pci_function *f, unsigned offset, unsigned size)
{
    if (offset < PAM0 + NR_PAM && offset + size > PAM0)
        update(container_of(f, struct i440fx, f));
}

/* ------------------------------------------------------------------ the device */

/* Without firmware there is no ROM to uncover, so the registers stay as they are. */
static void fill_config(struct i440fx *b, bool firmware)
{
    struct pci_function *f = &b->f;

    pci_set16(f, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_set16(f, PCI_STATUS, STATUS_RESET);
    if (!firmware) {
        f->config[PAM0] = PAM0_FIRMWARE;
        f->config[PAM0 + 5] = PAM56_FIRMWARE;
        f->config[PAM0 + 6] = PAM56_FIRMWARE;
        return;
    }
    f->write_mask[PAM0] = PAM_SEGMENT << 4;
    for (unsigned i = 1; i < NR_PAM; i++)
        f->write_mask[PAM0 + i] = PAM_SEGMENT << 4 | PAM_SEGMENT;
}

static int i440fx_create(struct device *d, struct machine *m)
{
    static const struct pci_identity id = {
        .vendor = HOST_BRIDGE_VENDOR,
        .device = HOST_BRIDGE_DEVICE,
        .subsystem_vendor = HOST_BRIDGE_SUBSYSTEM_VENDOR,
        .subsystem = HOST_BRIDGE_SUBSYSTEM,
        .class_code = HOST_BRIDGE_CLASS,
        .revision = HOST_BRIDGE_REVISION,
    };
    static const struct pci_ops ops = {.written = written};
    struct i440fx *b = container_of(d, struct i440fx, device);

    pci_init(&b->f, m, "host-bridge", &id, &ops);
    fill_config(b, m->config.firmware);
    for (unsigned n = 0; n < NR_SEGMENTS; n++)
        b->mapped[n] = segment_bits(b, n);
    return pci_attach(&b->f, 0);
}

/* The bus has reset the registers. */
static void i440fx_reset(struct device *d)
{
    update(container_of(d, struct i440fx, device));
}

static void i440fx_save(struct device *d, struct device_state *s)
{
    pci_save(&container_of(d, struct i440fx, device)->f, s);
}

static bool i440fx_load(struct device *d, struct device_state *s)
{
    struct i440fx *b = container_of(d, struct i440fx, device);

    if (!pci_load(&b->f, s))
        return false;
    update(b);
    return true;
}

static const struct device_class i440fx_class = {
    .name = "i440fx",
    .size = sizeof(struct i440fx),
    .order = DEVICE_ORDER_CHIPSET,
    .create = i440fx_create,
    .reset = i440fx_reset,
    .save = i440fx_save,
    .load = i440fx_load,
};
DEVICE_CLASS(i440fx_class);
