/*
 * The ports of an IDE channel: the task file that both drives on the cable hear, selection, resets
 * and the interrupt line (ATA/ATAPI-6, chapters 7 and 9).
 */
#include "devices/ide.h"
#include "lib/string.h"

/* Offsets of the command block. */
enum {
    PORT_DATA,
    PORT_ERROR, /* features when written */
    PORT_COUNT,
    PORT_LOW,
    PORT_MID,
    PORT_HIGH,
    PORT_DEVICE,
    PORT_STATUS, /* command when written */
};

/* What the bus reads as when nobody drives it: its pull-down holds DD7 low (ATA/ATAPI-6, 4.3). */
#define FLOATING 0x7f

/* ------------------------------------------------------------------ who is on the cable */

static struct ide_drive *selected(struct ide_channel *c)
{
    return &c->drive[(c->selected & ATA_DEV) != 0];
}

static bool present(const struct ide_drive *d)
{
    return d->kind != NULL;
}

/* Only the selected drive drives the line, and none while the host disables it. */
bool ide_irq_wanted(struct ide_channel *c)
{
    struct ide_drive *d = selected(c);

    return present(d) && d->s.intrq && !(c->control & ATA_NIEN);
}

static void update_irq(struct ide_channel *c)
{
    bool level = ide_irq_wanted(c);

    if (level == c->irq_level)
        return;
    c->irq_level = level;
    if (level)
        ide_dma_interrupt(c);
    irq_line_set(&c->irq, level);
}

void ide_set_intrq(struct ide_drive *d, bool level)
{
    d->s.intrq = level;
    update_irq(d->channel);
}

/* ------------------------------------------------------------------ resets */

void ide_set_signature(struct ide_drive *d, bool packet)
{
    struct ata_registers *r = &d->s.regs;

    r->count = 1;
    r->low = 1;
    r->mid = packet ? 0x14 : 0;
    r->high = packet ? 0xeb : 0;
    memset(&d->s.hob, 0, sizeof(d->s.hob));
    d->channel->selected = (uint8_t)(ATA_DEV_BITS | (d->channel->selected & ATA_DEV));
}

void ide_drive_reset(struct ide_drive *d, bool hard)
{
    ide_transfer_abort(d);
    d->s.asleep = false;
    ide_set_intrq(d, false);
    d->kind->reset(d, hard);
}

void ide_reset_drives(struct ide_channel *c, bool hard)
{
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES; i++)
        if (present(&c->drive[i]))
            ide_drive_reset(&c->drive[i], hard);
    c->selected = ATA_DEV_BITS;
    update_irq(c);
}

void ide_diagnose(struct ide_channel *c)
{
    ide_reset_drives(c, false);
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES; i++)
        if (present(&c->drive[i]))
            ide_set_intrq(&c->drive[i], true);
}

/* A software reset lasts as long as its bit is set. */
static void write_control(struct ide_channel *c, uint8_t value)
{
    bool was = c->control & ATA_SRST, now = value & ATA_SRST;

    c->control = value & (ATA_NIEN | ATA_SRST | ATA_HOB);
    if (was != now)
        ide_reset_drives(c, false);
    for (unsigned i = 0; now && i < IDE_CHANNEL_DRIVES; i++)
        c->drive[i].s.status = present(&c->drive[i]) ? ATA_BSY : 0;
    update_irq(c);
}

/* ------------------------------------------------------------------ the command block */

static uint8_t read_register(const struct ide_channel *c, const struct ide_drive *d,
                             unsigned offset)
{
    const struct ata_registers *r = c->control & ATA_HOB ? &d->s.hob : &d->s.regs;

    switch (offset) {
    case PORT_ERROR:
        return d->s.error;
    case PORT_COUNT:
        return r->count;
    case PORT_LOW:
        return r->low;
    case PORT_MID:
        return r->mid;
    case PORT_HIGH:
        return r->high;
    case PORT_DEVICE:
        return c->selected;
    default:
        return d->s.status;
    }
}

/*
 * Where the selected drive is missing, device 0 answers for device 1: its registers (a packet
 * device: zeroes), and a status of 0 (ATA/ATAPI-6, 9.16). Nobody does so for device 0.
 */
static uint8_t read_absent(struct ide_channel *c, unsigned offset)
{
    struct ide_drive *other = ide_other(selected(c));

    if (!present(other) || other->index != 0)
        return FLOATING;
    if (offset == PORT_DEVICE)
        return c->selected;
    if (offset == PORT_STATUS || other->kind->packet)
        return 0;
    return read_register(c, other, offset);
}

static uint8_t read_byte(struct ide_channel *c, unsigned offset)
{
    struct ide_drive *d = selected(c);

    if (!present(d))
        return read_absent(c, offset);
    if (offset == PORT_STATUS)
        ide_set_intrq(d, false);
    return read_register(c, d, offset);
}

static uint64_t command_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide_channel *c = opaque;
    uint64_t value = 0;

    if (offset == PORT_DATA)
        return present(selected(c)) ? ide_data_read(selected(c), MAX(size, 2u)) : UINT32_MAX;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read_byte(c, (unsigned)offset + i) << (8 * i);
    return value;
}

static uint8_t *register_of(struct ata_registers *r, unsigned offset)
{
    uint8_t *const at[] = {NULL, &r->features, &r->count, &r->low, &r->mid, &r->high};

    return at[offset];
}

/* Both drives hear what is written; what was there before becomes the high order byte. */
static void write_register(struct ide_channel *c, unsigned offset, uint8_t value)
{
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES; i++) {
        struct ide_drive_state *s = &c->drive[i].s;

        *register_of(&s->hob, offset) = *register_of(&s->regs, offset);
        *register_of(&s->regs, offset) = value;
    }
}

static void write_command(struct ide_channel *c, uint8_t command)
{
    struct ide_drive *d = selected(c);

    if (!present(d))
        return;
    ide_set_intrq(d, false);
    ide_transfer_abort(d);
    d->s.command = command;
    d->kind->command(d, command);
}

/* DEVICE RESET is the one thing that a busy packet device takes (8.7). */
static bool is_device_reset(struct ide_channel *c, unsigned offset, uint8_t value)
{
    return offset == PORT_STATUS && value == ATA_DEVICE_RESET && present(selected(c)) &&
           selected(c)->kind->packet && !(c->control & ATA_SRST);
}

static bool busy(const struct ide_channel *c)
{
    return ((c->drive[0].s.status | c->drive[1].s.status) & ATA_BSY) != 0;
}

static void write_byte(struct ide_channel *c, unsigned offset, uint8_t value)
{
    c->control &= (uint8_t)~ATA_HOB;
    if (busy(c) && !is_device_reset(c, offset, value))
        return;
    if (offset == PORT_DEVICE) {
        c->selected = value | ATA_DEV_BITS;
        update_irq(c);
    } else if (offset == PORT_STATUS) {
        write_command(c, value);
    } else {
        write_register(c, offset, value);
    }
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct ide_channel *c = opaque;

    if (offset == PORT_DATA) {
        if (present(selected(c)))
            ide_data_write(selected(c), MAX(size, 2u), (uint32_t)value);
        return;
    }
    for (unsigned i = 0; i < size; i++)
        write_byte(c, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
}

/* The alternate status: the same, but the interrupt stays. */
static uint64_t control_read(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED)
{
    struct ide_channel *c = opaque;
    struct ide_drive *d = selected(c);

    return present(d) ? d->s.status : read_absent(c, PORT_STATUS);
}

static void control_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED,
                          uint64_t value)
{
    write_control(opaque, (uint8_t)value);
}

const struct bus_ops ide_command_ops = {command_read, command_write, 1 | 2 | 4};
const struct bus_ops ide_control_ops = {control_read, control_write, 1};
