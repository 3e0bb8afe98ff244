/*
 * The bus master of an IDE channel: Programming Interface for Bus Master IDE Controller 1.0
 * (SFF-8038i) and 82371SB data sheet, 2.7. The guest gives it a table of memory regions.
 *
 * How a transfer ends (SFF-8038i, 3.1): with as much data as regions the active bit falls; with
 * less data it stays up and only the interrupt is there; with more data the bus master stops and
 * the drive waits in vain, without an interrupt; so it does when memory cannot be reached, and
 * then the error bit is up.
 */
#include "devices/ide.h"
#include "lib/string.h"

#define REG_COMMAND 0
#define REG_STATUS  2
#define REG_TABLE   4

#define COMMAND_START  0x01
#define COMMAND_TO_MEM 0x08
#define COMMAND_BITS   (COMMAND_START | COMMAND_TO_MEM)

#define STATUS_ACTIVE    0x01
#define STATUS_ERROR     0x02 /* cleared by writing 1, as is the next */
#define STATUS_INTERRUPT 0x04
#define STATUS_CAPABLE   0x60 /* notes of the firmware about the two drives */
#define STATUS_BITS      (STATUS_ACTIVE | STATUS_ERROR | STATUS_INTERRUPT | STATUS_CAPABLE)

#define TABLE_BITS 0xfffffffcu

/* A descriptor: address, byte count (0: 64 KiB), and a bit for the last one. Both are even. */
struct descriptor {
    uint32_t address, count;
};
#define DESCRIPTOR_LAST     BIT(31)
#define DESCRIPTOR_COUNT(v) ((v)&0xfffe)
#define DESCRIPTOR_FULL     0x10000u
/* A table of tiny regions does not keep us longer than this many at a time. */
#define DESCRIPTORS_AT_A_TIME 512

/* ------------------------------------------------------------------ moving data */

static void stop(struct ide_channel *c, uint8_t error)
{
    c->dma.status = (uint8_t)((c->dma.status & ~STATUS_ACTIVE) | error);
}

/* Takes the next descriptor; false when there is none, or it cannot be read. */
static bool next_region(struct ide_channel *c)
{
    struct ide_dma_state *m = &c->dma;
    struct descriptor d;

    if (m->last) {
        stop(c, 0);
        return false;
    }
    if (!c->host->ops->dma_read(c->host, GPA(m->next), &d, sizeof(d))) {
        stop(c, STATUS_ERROR);
        return false;
    }
    m->next += sizeof(d);
    m->address = d.address & ~1u;
    m->remaining = DESCRIPTOR_COUNT(d.count) == 0 ? DESCRIPTOR_FULL : DESCRIPTOR_COUNT(d.count);
    m->last = (d.count & DESCRIPTOR_LAST) != 0;
    return true;
}

/* Between the drive's buffer and the present region, as much as both have. */
static bool move(struct ide_channel *c, struct ide_drive *d)
{
    struct device_host *host = c->host;
    uint32_t n = MIN(c->dma.remaining, d->s.end - d->s.pos);
    uint8_t *at = d->buffer + d->s.pos;
    bool ok = c->dma.command & COMMAND_TO_MEM
                  ? host->ops->dma_write(host, GPA(c->dma.address), at, n)
                  : host->ops->dma_read(host, GPA(c->dma.address), at, n);

    if (!ok) {
        stop(c, STATUS_ERROR);
        return false;
    }
    d->s.pos += n;
    c->dma.address += n;
    c->dma.remaining -= n;
    return true;
}

static bool wants_dma(const struct ide_drive *d)
{
    return d->kind != NULL && d->s.ready && d->s.dma;
}

/* The drive that asks for DMA: the selected one, if both do. */
static struct ide_drive *asking_drive(struct ide_channel *c)
{
    struct ide_drive *d = &c->drive[(c->selected & ATA_DEV) != 0];

    if (wants_dma(d))
        return d;
    return wants_dma(ide_other(d)) ? ide_other(d) : NULL;
}

/* Drive and bus master agree on where the data goes; else nothing would ever move. */
static bool same_direction(const struct ide_channel *c, const struct ide_drive *d)
{
    bool in = d->s.transfer == IDE_IN || d->s.transfer == IDE_DISK_IN;

    return in == ((c->dma.command & COMMAND_TO_MEM) != 0);
}

void ide_dma_run(struct ide_channel *c)
{
    struct ide_drive *d = asking_drive(c);
    unsigned regions = 0;

    if (d == NULL || !(c->dma.status & STATUS_ACTIVE) || !ide_is_bus_master(c) ||
        !same_direction(c, d))
        return;
    while (d->s.pos < d->s.end) {
        if (c->dma.remaining == 0 && regions++ == DESCRIPTORS_AT_A_TIME) {
            ide_transfer_pause(d);
            return;
        }
        if (c->dma.remaining == 0 && !next_region(c))
            return;
        if (!move(c, d))
            return;
    }
    if (c->dma.remaining == 0 && c->dma.last)
        stop(c, 0);
    ide_transfer_next(d);
}

/* ------------------------------------------------------------------ registers */

uint64_t ide_dma_read(struct ide_channel *c, unsigned offset, unsigned size)
{
    const uint8_t bytes[IDE_DMA_PORTS] = {
        [REG_COMMAND] = c->dma.command,
        [REG_STATUS] = c->dma.status,
        [REG_TABLE] = (uint8_t)c->dma.table,
        [REG_TABLE + 1] = (uint8_t)(c->dma.table >> 8),
        [REG_TABLE + 2] = (uint8_t)(c->dma.table >> 16),
        [REG_TABLE + 3] = (uint8_t)(c->dma.table >> 24),
    };
    uint64_t value = 0;

    memcpy(&value, bytes + offset, MIN(size, IDE_DMA_PORTS - offset));
    return value;
}

/* Starting begins with the first descriptor, also after a stop: nothing can be gone on with. */
static void write_command(struct ide_channel *c, uint8_t value)
{
    struct ide_dma_state *m = &c->dma;
    bool started = (value & COMMAND_START) && !(m->command & COMMAND_START);

    if (m->status & STATUS_ACTIVE) /* the direction stays as it is meanwhile */
        value = (uint8_t)((value & ~COMMAND_TO_MEM) | (m->command & COMMAND_TO_MEM));
    m->command = value & COMMAND_BITS;
    if (!(value & COMMAND_START)) {
        stop(c, 0);
    } else if (started) {
        m->status |= STATUS_ACTIVE;
        m->next = m->table;
        m->remaining = 0;
        m->last = false;
        ide_dma_run(c);
    }
}

static void write_byte(struct ide_channel *c, unsigned offset, uint8_t value)
{
    struct ide_dma_state *m = &c->dma;
    unsigned shift = 8 * (offset - REG_TABLE);

    if (offset == REG_COMMAND)
        write_command(c, value);
    else if (offset == REG_STATUS)
        m->status =
            (uint8_t)((m->status & ~STATUS_CAPABLE & ~(value & (STATUS_ERROR | STATUS_INTERRUPT))) |
                      (value & STATUS_CAPABLE));
    else if (offset >= REG_TABLE)
        m->table = ((m->table & ~(0xffu << shift)) | (uint32_t)value << shift) & TABLE_BITS;
}

void ide_dma_write(struct ide_channel *c, unsigned offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size && offset + i < IDE_DMA_PORTS; i++)
        write_byte(c, offset + i, (uint8_t)(value >> (8 * i)));
}

void ide_dma_interrupt(struct ide_channel *c)
{
    c->dma.status |= STATUS_INTERRUPT;
}

void ide_dma_reset(struct ide_channel *c)
{
    memset(&c->dma, 0, sizeof(c->dma));
}

void ide_dma_sanitize(struct ide_channel *c)
{
    struct ide_dma_state *m = &c->dma;

    m->command &= COMMAND_BITS;
    m->status &= STATUS_BITS;
    m->table &= TABLE_BITS;
    if (m->remaining > DESCRIPTOR_FULL)
        m->remaining = 0;
}
