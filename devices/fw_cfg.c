/*
 * fw_cfg by ports: a selector, a data port that gives the selected item's bytes one after the
 * other, and a DMA interface that copies many at once. Beyond the end of an item, and for items
 * that are not there, bytes are zero.
 */
#include "devices/fw_cfg.h"

#include <linux/qemu_fw_cfg.h>

#include "devices/bus.h"
#include "devices/machine.h"
#include "lib/string.h"

#define PORT_SELECTOR 0x510 /* 16 bits; the data port is the byte after it */
#define PORT_DMA      0x514 /* address of a request, big-endian, in two halves: high, low */
#define DMA_LOW       4     /* offset of the half whose write starts a transfer */

#define FEATURES    (FW_CFG_VERSION | FW_CFG_VERSION_DMA)
#define DMA_PIECE   256u   /* copied at a time */
#define DMA_LONGEST MIB(4) /* of one request: nothing takes longer than that */

#define FW_CFG_TAG    0x47464346u /* "FCFG" */
#define FW_CFG_STREAM 1           /* version */

struct fw_cfg {
    struct device device;
    uint64_t dma_address; /* its high half, until the low one is written */
    uint32_t offset;      /* of the next byte of the selected item */
    uint16_t selected;
    /* The items that are no files. */
    char signature[4];
    uint32_t features;
    uint16_t nr_cpus;
    uint16_t no_graphics;
    uint16_t boot_menu;
    struct {
        uint32_t count; /* big-endian */
        struct fw_cfg_file entry[FW_CFG_MAX_FILES];
    } directory;
};

struct item {
    const void *data;
    uint32_t size;
};

static uint16_t big16(uint16_t v)
{
    return __builtin_bswap16(v);
}
static uint32_t big32(uint32_t v)
{
    return __builtin_bswap32(v);
}

/* ------------------------------------------------------------------ items */

static struct item find_item(const struct fw_cfg *f)
{
    const struct machine_config *config = &f->device.machine->config;

    switch (f->selected) {
    case FW_CFG_SIGNATURE:
        return (struct item){f->signature, sizeof(f->signature)};
    case FW_CFG_ID:
        return (struct item){&f->features, sizeof(f->features)};
    case FW_CFG_NB_CPUS:
    case FW_CFG_MAX_CPUS:
        return (struct item){&f->nr_cpus, sizeof(f->nr_cpus)};
    case FW_CFG_NOGRAPHIC:
        return (struct item){&f->no_graphics, sizeof(f->no_graphics)};
    case FW_CFG_BOOT_MENU:
        return (struct item){&f->boot_menu, sizeof(f->boot_menu)};
    case FW_CFG_FILE_DIR:
        return (struct item){&f->directory, sizeof(f->directory.count) +
                                                config->nr_files * sizeof(struct fw_cfg_file)};
    default:
        if ((unsigned)f->selected - FW_CFG_FILE_FIRST >= config->nr_files)
            return (struct item){NULL, 0};
        return (struct item){config->files[f->selected - FW_CFG_FILE_FIRST].data,
                             config->files[f->selected - FW_CFG_FILE_FIRST].size};
    }
}

static void select_item(struct fw_cfg *f, uint16_t selector)
{
    f->selected = selector;
    f->offset = 0;
}

/* How many of the next n bytes the item still has. */
static uint32_t available(const struct fw_cfg *f, uint32_t n)
{
    uint32_t size = find_item(f).size;

    return f->offset >= size ? 0 : MIN(n, size - f->offset);
}

/* The item's end is where it stays: offsets do not wrap. */
static void skip(struct fw_cfg *f, uint32_t n)
{
    f->offset += available(f, n);
}

static void read_bytes(struct fw_cfg *f, uint8_t *to, uint32_t n)
{
    uint32_t there = available(f, n);

    if (there != 0)
        memcpy(to, (const uint8_t *)find_item(f).data + f->offset, there);
    memset(to + there, 0, n - there);
    f->offset += there;
}

/* ------------------------------------------------------------------ DMA */

static bool copy_out(struct fw_cfg *f, uint64_t to, uint32_t n)
{
    struct device_host *host = f->device.machine->host;
    uint8_t piece[DMA_PIECE];

    for (uint32_t part; n > 0; n -= part, to += part) {
        part = MIN(n, DMA_PIECE);
        read_bytes(f, piece, part);
        if (!host->ops->dma_write(host, GPA(to), piece, part))
            return false;
    }
    return true;
}

/* Carries out a request; false: it has failed. */
static bool transfer(struct fw_cfg *f, uint32_t control, uint32_t length, uint64_t address)
{
    if (control & FW_CFG_DMA_CTL_SELECT)
        select_item(f, (uint16_t)(control >> 16));
    if (control & FW_CFG_DMA_CTL_READ)
        return length <= DMA_LONGEST && copy_out(f, address, length);
    if (control & FW_CFG_DMA_CTL_WRITE)
        return length == 0;
    if (control & FW_CFG_DMA_CTL_SKIP)
        skip(f, length);
    return true;
}

/* What became of a request is written over its control word. */
static void dma_start(struct fw_cfg *f, uint64_t at)
{
    struct device_host *host = f->device.machine->host;
    struct fw_cfg_dma_access r;
    uint32_t result;

    if (!host->ops->dma_read(host, GPA(at), &r, sizeof(r)))
        return;
    result = transfer(f, big32(r.control), big32(r.length), __builtin_bswap64(r.address))
                 ? 0
                 : big32(FW_CFG_DMA_CTL_ERROR);
    (void)!host->ops->dma_write(host, GPA(at), &result, sizeof(result));
}

/* The address register reads as a signature, by which the interface is found. */
static uint64_t dma_read(void *opaque UNUSED, uint64_t offset, unsigned size)
{
    static const char signature[] = "QEMU CFG";
    uint32_t value = 0;

    memcpy(&value, signature + offset, size);
    return value;
}

static void dma_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fw_cfg *f = opaque;
    uint32_t half = big32((uint32_t)value);
    uint64_t at;

    if (size != 4)
        return;
    if (offset != DMA_LOW) {
        f->dma_address = (uint64_t)half << 32;
        return;
    }
    at = f->dma_address | half;
    f->dma_address = 0;
    dma_start(f, at);
}

/* ------------------------------------------------------------------ ports */

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    uint8_t byte;

    if (size != 1 || offset != 1)
        return UINT16_MAX;
    read_bytes(opaque, &byte, 1);
    return byte;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    if (size == 2 && offset == 0)
        select_item(opaque, (uint16_t)value);
}

static const struct bus_ops port_ops = {port_read, port_write, 1 | 2};
static const struct bus_ops dma_ops = {dma_read, dma_write, 1 | 2 | 4};

/* ------------------------------------------------------------------ the device */

static void fill_items(struct fw_cfg *f, const struct machine_config *config)
{
    memcpy(f->signature, "QEMU", sizeof(f->signature));
    f->features = FEATURES;
    f->nr_cpus = (uint16_t)config->nr_vcpus;
    f->no_graphics = config->no_graphics;
    f->boot_menu = config->boot_menu;
    f->directory.count = big32(config->nr_files);
    for (unsigned i = 0; i < config->nr_files; i++) {
        struct fw_cfg_file *e = &f->directory.entry[i];

        e->size = big32(MAX(config->files[i].size, config->files[i].padded));
        e->select = big16((uint16_t)(FW_CFG_FILE_FIRST + i));
        string_copy(e->name, sizeof(e->name), config->files[i].name);
    }
}

static int fw_cfg_create(struct device *d, struct machine *m)
{
    struct fw_cfg *f = container_of(d, struct fw_cfg, device);
    int err;

    if (!m->config.firmware)
        return E_NODEV;
    if (m->config.nr_files > FW_CFG_MAX_FILES)
        return E_INVAL;
    fill_items(f, &m->config);
    err = bus_add_ports(m->bus, PORT_SELECTOR, 2, "fw_cfg", &port_ops, f);
    if (err == 0)
        err = bus_add_ports(m->bus, PORT_DMA, 8, "fw_cfg-dma", &dma_ops, f);
    return err;
}

static void fw_cfg_reset(struct device *d)
{
    struct fw_cfg *f = container_of(d, struct fw_cfg, device);

    select_item(f, 0);
    f->dma_address = 0;
}

static void fw_cfg_save(struct device *d, struct device_state *s)
{
    struct fw_cfg *f = container_of(d, struct fw_cfg, device);

    device_state_put_tag(s, FW_CFG_TAG, FW_CFG_STREAM);
    device_state_put(s, &f->dma_address, sizeof(f->dma_address));
    device_state_put(s, &f->offset, sizeof(f->offset));
    device_state_put(s, &f->selected, sizeof(f->selected));
}

static bool fw_cfg_load(struct device *d, struct device_state *s)
{
    struct fw_cfg *f = container_of(d, struct fw_cfg, device);

    if (!device_state_get_tag(s, FW_CFG_TAG, FW_CFG_STREAM))
        return false;
    device_state_get(s, &f->dma_address, sizeof(f->dma_address));
    device_state_get(s, &f->offset, sizeof(f->offset));
    device_state_get(s, &f->selected, sizeof(f->selected));
    return !s->failed;
}

static const struct device_class fw_cfg_class = {
    .name = "fw_cfg",
    .size = sizeof(struct fw_cfg),
    .order = DEVICE_ORDER_PLATFORM,
    .create = fw_cfg_create,
    .reset = fw_cfg_reset,
    .save = fw_cfg_save,
    .load = fw_cfg_load,
};
DEVICE_CLASS(fw_cfg_class);
