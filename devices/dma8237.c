/*
 * Two 8237A (Intel data sheet 231466), the first one's request on channel 0 of the second, with the
 * page registers of the PC/AT (82371SB data sheet, "DMA registers"). Bus cycles take no time: a
 * transfer is done when its device asks for it.
 *
 * As in the PIIX3 there are no memory-to-memory transfers, so the temporary register stays 0, and
 * the levels of DREQ and DACK, the kinds of timing and the priorities mean nothing: those bits of
 * the command register are kept for nobody.
 */
#include "devices/dma8237.h"

#include "devices/bus.h"
#include "devices/machine.h"
#include "lib/assert.h"
#include "lib/string.h"

#define PORT_CHIP_0     0x00 /* a register a port */
#define PORT_CHIP_1     0xc0 /* a register every other port, A0 is not decoded */
#define PORT_PAGES      0x81 /* port 0x80, the first of them, has the POST codes */
#define CHIP_0_PORTS    0x10
#define CHIP_1_PORTS    0x20
#define PAGE_PORTS      0x0f
#define NR_CHIPS        2u
#define CHIP_CHANNELS   4u
#define NR_CHANNELS     8u
#define CASCADE_CHANNEL 4u

/* Registers; below FIRST_CONTROL are the channels', address and count. */
enum {
    FIRST_CONTROL = 8,
    REG_COMMAND = 8, /* written; read it is the status */
    REG_STATUS = 8,
    REG_REQUEST,
    REG_MASK_ONE,
    REG_MODE,
    REG_FLIP_FLOP,
    REG_MASTER_CLEAR, /* written */
    REG_TEMPORARY = REG_MASTER_CLEAR,
    REG_CLEAR_MASK,
    REG_MASK,
};

#define COMMAND_DISABLE 0x04
#define SELECT_CHANNEL  0x03 /* in what is written to request, mask and mode */
#define SELECT_SET      0x04
#define MASK_ALL        0x0f
#define STATUS_REQUESTS 4 /* shift; below are the terminal counts */

#define MODE_TRANSFER_SHIFT 2
#define MODE_AUTO_INIT      0x10
#define MODE_DECREMENT      0x20
#define MODE_BITS           0xfc
#define MODE_CASCADE        0xc0 /* of the two bits of the mode proper */

enum transfer_type { VERIFY, WRITE, READ, ILLEGAL };

#define BLOCK 256u /* bytes that are moved through the stack at a time */

#define DMA_TAG    0x20414d44u /* "DMA " */
#define DMA_STREAM 1           /* version */

/* Units are bytes on the first chip and words on the second. */
struct dma_channel {
    uint16_t base_address, base_count;
    uint16_t address, count; /* of units; the count is one less than there are */
    uint8_t mode;
    uint8_t reserved[3];
};

/* Masks have a bit for each channel. */
struct dma_chip {
    struct dma_channel channel[CHIP_CHANNELS];
    uint8_t command;
    uint8_t mask;
    uint8_t software; /* requests by the request register */
    uint8_t dreq;     /* requests by devices */
    uint8_t reached;  /* terminal counts since the status was read */
    uint8_t second;   /* the flip-flop: the next byte is a high one */
    uint8_t reserved[2];
};

struct dma_state {
    struct dma_chip chip[NR_CHIPS];
    uint8_t page[PAGE_PORTS];
    uint8_t reserved;
};

struct dma {
    struct device device;
    struct dma_state s;
    struct dma_client client[NR_CHANNELS];
    uint8_t claimed; /* a bit for each channel */
};

static struct dma *to_dma(struct device *d)
{
    return container_of(d, struct dma, device);
}

static unsigned unit_of(unsigned channel)
{
    return channel < CHIP_CHANNELS ? 1 : 2;
}

static struct dma_chip *chip_of(struct dma *d, unsigned channel)
{
    return &d->s.chip[channel / CHIP_CHANNELS];
}

static struct dma_channel *channel_of(struct dma *d, unsigned channel)
{
    return &chip_of(d, channel)->channel[channel % CHIP_CHANNELS];
}

static uint8_t bit_of(unsigned channel)
{
    return (uint8_t)(1u << channel % CHIP_CHANNELS);
}

static bool is_cascade(const struct dma_channel *c)
{
    return (c->mode & MODE_CASCADE) == MODE_CASCADE;
}

static enum transfer_type type_of(const struct dma_channel *c)
{
    return (enum transfer_type)(c->mode >> MODE_TRANSFER_SHIFT & 3);
}

/* ------------------------------------------------------------------ moving */

/* Which register holds address bits 16 to 23 of a channel is a matter of the PC/AT's wiring. */
static uint64_t page_of(const struct dma *d, unsigned channel)
{
    static const uint8_t port[NR_CHANNELS] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};

    return d->s.page[port[channel] - PORT_PAGES];
}

/* Where a unit is. Words are at even addresses: bit 0 of the page is not there. */
static gpa_t address_of(const struct dma *d, unsigned channel, uint16_t address)
{
    uint64_t page = page_of(d, channel);

    if (unit_of(channel) == 1)
        return GPA(page << 16 | address);
    return GPA((page & ~1ull) << 16 | (uint64_t)address << 1);
}

/* Moves units upwards from the channel's address; the address does not wrap within them. */
static void move(struct dma *d, unsigned channel, uint16_t address, uint8_t *buffer, unsigned units,
                 enum transfer_type type)
{
    struct device_host *host = d->device.machine->host;
    size_t n = (size_t)units * unit_of(channel);
    gpa_t at = address_of(d, channel, address);

    if (type == WRITE)
        (void)host->ops->dma_write(host, at, buffer, n); /* lost where there is no RAM */
    else if (type == READ && !host->ops->dma_read(host, at, buffer, n))
        memset(buffer, UINT8_MAX, n);
}

static void reverse(uint8_t *to, const uint8_t *from, unsigned units, unsigned unit)
{
    for (unsigned i = 0; i < units; i++)
        memcpy(to + i * unit, from + (units - 1 - i) * unit, unit);
}

/* Downwards, what comes first is at the highest address. */
static void move_down(struct dma *d, unsigned channel, uint8_t *buffer, unsigned units,
                      enum transfer_type type)
{
    uint16_t address = channel_of(d, channel)->address;
    unsigned unit = unit_of(channel);
    uint8_t upwards[BLOCK];

    while (units > 0) {
        unsigned n = MIN(MIN(units, BLOCK / unit), address + 1u);

        if (type == WRITE)
            reverse(upwards, buffer, n, unit);
        move(d, channel, (uint16_t)(address - n + 1), upwards, n, type);
        if (type == READ)
            reverse(buffer, upwards, n, unit);
        address = (uint16_t)(address - n);
        buffer += n * unit;
        units -= n;
    }
}

static void move_up(struct dma *d, unsigned channel, uint8_t *buffer, unsigned units,
                    enum transfer_type type)
{
    uint16_t address = channel_of(d, channel)->address;
    unsigned before_wrap = MIN(units, 0x10000u - address);

    move(d, channel, address, buffer, before_wrap, type);
    if (before_wrap < units)
        move(d, channel, 0, buffer + before_wrap * unit_of(channel), units - before_wrap, type);
}

/* The count has run out: the channel starts over, or is masked (data sheet, "autoinitialize"). */
static void terminal_count(struct dma *d, unsigned channel)
{
    struct dma_chip *chip = chip_of(d, channel);
    struct dma_channel *c = channel_of(d, channel);

    chip->reached |= bit_of(channel);
    chip->software &= (uint8_t)~bit_of(channel);
    if (c->mode & MODE_AUTO_INIT) {
        c->address = c->base_address;
        c->count = c->base_count;
    } else {
        chip->mask |= bit_of(channel);
    }
}

/* Moves units, not more than are left; true when these were all. */
static bool advance(struct dma *d, unsigned channel, uint8_t *buffer, unsigned units,
                    enum transfer_type type)
{
    struct dma_channel *c = channel_of(d, channel);
    bool all = units == c->count + 1u;

    if (c->mode & MODE_DECREMENT) {
        move_down(d, channel, buffer, units, type);
        c->address = (uint16_t)(c->address - units);
    } else {
        move_up(d, channel, buffer, units, type);
        c->address = (uint16_t)(c->address + units);
    }
    c->count = (uint16_t)(c->count - units); /* 0xffff after the last one */
    if (all)
        terminal_count(d, channel);
    return all;
}

/* ------------------------------------------------------------------ what devices call */

int dma_claim(struct dma *d, unsigned channel, const struct dma_client *client)
{
    ASSERT(channel < NR_CHANNELS && channel != CASCADE_CHANNEL);
    if (d->claimed >> channel & 1)
        return E_EXIST;
    d->claimed |= (uint8_t)(1u << channel);
    d->client[channel] = *client;
    return 0;
}

void dma_request(struct dma *d, unsigned channel, bool level)
{
    struct dma_chip *chip = chip_of(d, channel);

    ASSERT(d->claimed >> channel & 1);
    if (level)
        chip->dreq |= bit_of(channel);
    else
        chip->dreq &= (uint8_t)~bit_of(channel);
}

/* A chip gets the bus when it is on; the first one through the second one's channel 0. */
static bool has_bus(const struct dma *d, unsigned chip)
{
    const struct dma_chip *second = &d->s.chip[1];

    if (d->s.chip[chip].command & COMMAND_DISABLE)
        return false;
    if (chip == 1)
        return true;
    return !(second->command & COMMAND_DISABLE) && !(second->mask & bit_of(CASCADE_CHANNEL)) &&
           is_cascade(&second->channel[0]);
}

bool dma_ready(const struct dma *d, unsigned channel)
{
    const struct dma_chip *chip = &d->s.chip[channel / CHIP_CHANNELS];
    const struct dma_channel *c = &chip->channel[channel % CHIP_CHANNELS];

    return has_bus(d, channel / CHIP_CHANNELS) && !(chip->mask & bit_of(channel)) &&
           !is_cascade(c) && type_of(c) != ILLEGAL;
}

struct dma_result dma_transfer(struct dma *d, unsigned channel, void *buffer, size_t n,
                               enum dma_direction direction)
{
    enum transfer_type type = type_of(channel_of(d, channel));
    struct dma_result r = {0, false};
    unsigned units;

    ASSERT(d->claimed >> channel & 1);
    units = (unsigned)MIN(n / unit_of(channel), channel_of(d, channel)->count + 1u);
    if (units == 0 || !dma_ready(d, channel))
        return r;
    if (type != VERIFY && type != (direction == DMA_TO_DEVICE ? READ : WRITE))
        return r;
    r.bytes = (size_t)units * unit_of(channel);
    if (type == VERIFY && direction == DMA_TO_DEVICE)
        memset(buffer, UINT8_MAX, r.bytes);
    r.terminal_count = advance(d, channel, buffer, units, type);
    return r;
}

/* ------------------------------------------------------------------ requests */

/*
 * A request by software is not masked and runs to the end of the count. No device takes part: what
 * is read goes nowhere, and what is written is the bus's ones. A channel that starts over by itself
 * still has had only this one request.
 */
static void run_software_request(struct dma *d, unsigned channel)
{
    struct dma_channel *c = channel_of(d, channel);
    uint8_t ones[BLOCK];
    bool all = false;

    memset(ones, UINT8_MAX, sizeof(ones));
    while (!all) {
        unsigned units = MIN(c->count + 1u, BLOCK / unit_of(channel));

        all = advance(d, channel, ones, units, type_of(c) == WRITE ? WRITE : VERIFY);
    }
}

/* What the guest wrote may have made requests possible that were waiting. */
static void serve(struct dma *d)
{
    for (unsigned i = 0; i < NR_CHANNELS; i++) {
        struct dma_chip *chip = chip_of(d, i);
        struct dma_channel *c = channel_of(d, i);

        if ((chip->software & bit_of(i)) && has_bus(d, i / CHIP_CHANNELS) && !is_cascade(c) &&
            type_of(c) != ILLEGAL)
            run_software_request(d, i);
        if ((chip->dreq & bit_of(i)) && d->client[i].ready != NULL && dma_ready(d, i))
            d->client[i].ready(d->client[i].opaque, i);
    }
}

/* ------------------------------------------------------------------ registers */

/* Which half the flip-flop says, which then turns over. */
static unsigned next_half(struct dma_chip *chip)
{
    unsigned shift = chip->second ? 8 : 0;

    chip->second ^= 1;
    return shift;
}

static uint8_t channel_read(struct dma_chip *chip, unsigned reg)
{
    const struct dma_channel *c = &chip->channel[reg / 2];

    return (uint8_t)((reg & 1 ? c->count : c->address) >> next_half(chip));
}

/* The base and the current register are written together. */
static void channel_write(struct dma_chip *chip, unsigned reg, uint8_t value)
{
    struct dma_channel *c = &chip->channel[reg / 2];
    uint16_t *base = reg & 1 ? &c->base_count : &c->base_address;
    unsigned shift = next_half(chip);

    *base = (uint16_t)((*base & ~(0xffu << shift)) | (unsigned)value << shift);
    if (reg & 1)
        c->count = *base;
    else
        c->address = *base;
}

static uint8_t status_read(struct dma_chip *chip)
{
    uint8_t status = (uint8_t)((chip->software | chip->dreq) << STATUS_REQUESTS | chip->reached);

    chip->reached = 0;
    return status;
}

static uint8_t chip_read(struct dma_chip *chip, unsigned reg)
{
    if (reg < FIRST_CONTROL)
        return channel_read(chip, reg);
    switch (reg) {
    case REG_STATUS:
        return status_read(chip);
    case REG_TEMPORARY:
        return 0;
    case REG_MASK: /* by the PIIX3's data sheet; the 8237A has no such read */
        return (uint8_t)(~MASK_ALL | chip->mask);
    default:
        return UINT8_MAX; /* cannot be read */
    }
}

/* Sets or clears the bit of the channel that is selected. */
static void select_bit(uint8_t *bits, uint8_t value)
{
    uint8_t bit = bit_of(value & SELECT_CHANNEL);

    *bits = (uint8_t)(value & SELECT_SET ? *bits | bit : *bits & ~bit);
}

/* The same as RESET; addresses, counts and modes are left. */
static void master_clear(struct dma_chip *chip)
{
    chip->command = 0;
    chip->software = 0;
    chip->reached = 0;
    chip->second = 0;
    chip->mask = MASK_ALL;
}

static void control_write(struct dma_chip *chip, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_COMMAND:
        chip->command = value;
        break;
    case REG_REQUEST:
        select_bit(&chip->software, value);
        break;
    case REG_MASK_ONE:
        select_bit(&chip->mask, value);
        break;
    case REG_MODE:
        chip->channel[value & SELECT_CHANNEL].mode = value & MODE_BITS;
        break;
    case REG_FLIP_FLOP:
        chip->second = 0;
        break;
    case REG_MASTER_CLEAR:
        master_clear(chip);
        break;
    case REG_CLEAR_MASK:
        chip->mask = 0;
        break;
    case REG_MASK:
        chip->mask = value & MASK_ALL;
        break;
    default:
        break;
    }
}

static void chip_write(struct dma *d, struct dma_chip *chip, unsigned reg, uint8_t value)
{
    if (reg < FIRST_CONTROL) {
        channel_write(chip, reg, value);
        return;
    }
    control_write(chip, reg, value);
    serve(d);
}

/* ------------------------------------------------------------------ ports */

static uint64_t first_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    return chip_read(&((struct dma *)opaque)->s.chip[0], (unsigned)offset);
}

static void first_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    struct dma *d = opaque;

    chip_write(d, &d->s.chip[0], (unsigned)offset, (uint8_t)value);
}

static uint64_t second_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    return chip_read(&((struct dma *)opaque)->s.chip[1], (unsigned)offset / 2);
}

static void second_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    struct dma *d = opaque;

    chip_write(d, &d->s.chip[1], (unsigned)offset / 2, (uint8_t)value);
}

/* Seven of them belong to channels, one to the refresh; the others are just kept. */
static uint64_t page_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    return ((const struct dma *)opaque)->s.page[offset];
}

static void page_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    ((struct dma *)opaque)->s.page[offset] = (uint8_t)value;
}

static const struct bus_ops first_ops = {first_read, first_write, 1};
static const struct bus_ops second_ops = {second_read, second_write, 1};
static const struct bus_ops page_ops = {page_read, page_write, 1};

/* ------------------------------------------------------------------ the device */

static int dma_create(struct device *device, struct machine *m)
{
    struct dma *d = to_dma(device);
    int err = bus_add_ports(m->bus, PORT_CHIP_0, CHIP_0_PORTS, "dma", &first_ops, d);

    if (err == 0)
        err = bus_add_ports(m->bus, PORT_CHIP_1, CHIP_1_PORTS, "dma-2", &second_ops, d);
    if (err == 0)
        err = bus_add_ports(m->bus, PORT_PAGES, PAGE_PORTS, "dma-page", &page_ops, d);
    if (err == 0)
        m->dma = d;
    return err;
}

/* Requests are what devices drive: their own resets take them away. */
static void dma_reset(struct device *device)
{
    struct dma *d = to_dma(device);

    memset(&d->s, 0, sizeof(d->s));
    for (unsigned i = 0; i < NR_CHIPS; i++)
        master_clear(&d->s.chip[i]);
    if (device->machine->config.firmware)
        return;
    /* As firmware leaves it: the cascade is open. */
    channel_of(d, CASCADE_CHANNEL)->mode = MODE_CASCADE;
    chip_of(d, CASCADE_CHANNEL)->mask &= (uint8_t)~bit_of(CASCADE_CHANNEL);
}

static void dma_save(struct device *device, struct device_state *s)
{
    device_state_put_tag(s, DMA_TAG, DMA_STREAM);
    device_state_put(s, &to_dma(device)->s, sizeof(struct dma_state));
}

static bool chip_sane(const struct dma_chip *c)
{
    for (unsigned i = 0; i < CHIP_CHANNELS; i++)
        if (c->channel[i].mode & ~MODE_BITS)
            return false;
    return ((c->mask | c->software | c->dreq | c->reached) & ~MASK_ALL) == 0 && c->second <= 1;
}

static bool dma_load(struct device *device, struct device_state *s)
{
    struct dma_state state;

    if (!device_state_get_tag(s, DMA_TAG, DMA_STREAM))
        return false;
    device_state_get(s, &state, sizeof(state));
    if (s->failed || !chip_sane(&state.chip[0]) || !chip_sane(&state.chip[1]))
        return false;
    to_dma(device)->s = state;
    return true;
}

static const struct device_class dma_class = {
    .name = "dma8237",
    .size = sizeof(struct dma),
    .order = DEVICE_ORDER_PLATFORM,
    .create = dma_create,
    .reset = dma_reset,
    .save = dma_save,
    .load = dma_load,
};
DEVICE_CLASS(dma_class);
