/*
 * A drive's data on its way: between the disk and the drive's buffer, and between the buffer and
 * the host, in DRQ blocks by PIO or in pieces of the buffer by DMA.
 */
#include "devices/ide.h"
#include "lib/checked.h"
#include "lib/string.h"

/* Between two slices of a long transfer the guest gets so long. */
#define SLICE_PAUSE_US 10
/* One slice of discarding: each chunk that is freed takes its time. */
#define DISCARD_SECTORS 8192u

/* An entry of DATA SET MANAGEMENT's ranges (ATA8-ACS2, 7.5): 48 bits of address, 16 of count. */
#define RANGE_SIZE      8
#define RANGE_SECTOR(r) ((r)&0xffffffffffffull)
#define RANGE_COUNT(r)  ((uint32_t)((r) >> 48))

static bool to_host(const struct ide_drive *d)
{
    return d->s.transfer == IDE_IN || d->s.transfer == IDE_DISK_IN;
}

static void finish(struct ide_drive *d)
{
    enum ide_transfer was = d->s.transfer;

    d->s.transfer = IDE_NOTHING;
    d->s.ready = false;
    d->kind->complete(d, was);
}

/* ------------------------------------------------------------------ the host's side */

/* Offers the next part of the buffer: a DRQ block, or all of it (DMA, a command packet). */
static void offer(struct ide_drive *d, bool first)
{
    struct ide_drive_state *s = &d->s;

    bool whole = s->dma || s->transfer == IDE_PACKET;

    s->end = whole ? s->fill : MIN(s->fill, s->pos + s->drq_max);
    s->ready = true;
    d->kind->drq(d, first);
    if (!s->dma)
        return;
    if (first)
        ide_dma_run(d->channel);
    else
        ide_transfer_pause(d);
}

uint32_t ide_data_read(struct ide_drive *d, unsigned size)
{
    struct ide_drive_state *s = &d->s;
    uint32_t value = 0;

    if (!s->ready || s->dma || !to_host(d))
        return 0;
    memcpy(&value, d->buffer + s->pos, MIN(size, s->end - s->pos));
    s->pos = MIN(s->pos + size, s->end);
    if (s->pos == s->end)
        ide_transfer_next(d);
    return value;
}

void ide_data_write(struct ide_drive *d, unsigned size, uint32_t value)
{
    struct ide_drive_state *s = &d->s;

    if (!s->ready || s->dma || to_host(d))
        return;
    memcpy(d->buffer + s->pos, &value, MIN(size, s->end - s->pos));
    s->pos = MIN(s->pos + size, s->end);
    if (s->pos == s->end)
        ide_transfer_next(d);
}

/* ------------------------------------------------------------------ the disk's side */

static void disk_answered(struct disk_request *r, enum disk_status status);

static void ask_disk(struct ide_drive *d, enum disk_op op, uint64_t sector, uint32_t count)
{
    d->s.ready = false;
    d->s.status = ATA_BSY;
    d->request = (struct disk_request){
        .op = op,
        .sector = sector,
        .count = count,
        .data = op == DISK_READ || op == DISK_WRITE ? d->buffer : NULL,
        .done = disk_answered,
        .opaque = d,
    };
    disk_submit(d->disk, &d->request);
}

static void read_disk(struct ide_drive *d)
{
    ask_disk(d, DISK_READ, d->s.sector, MIN(d->s.left, d->s.block));
}

/* Makes room for the next sectors that the host is to write. */
static void want_sectors(struct ide_drive *d, bool first)
{
    d->s.pos = 0;
    d->s.fill = MIN(d->s.left, d->s.block) << DISK_SECTOR_SHIFT;
    offer(d, first);
}

/* The next piece of the ranges in the buffer; pos is the entry, left what it still has. */
static void discard_next(struct ide_drive *d)
{
    struct ide_drive_state *s = &d->s;
    uint64_t range;

    while (s->left == 0 && s->pos < s->fill) {
        memcpy(&range, d->buffer + s->pos, sizeof(range));
        s->pos += RANGE_SIZE;
        s->sector = RANGE_SECTOR(range);
        s->left = RANGE_COUNT(range);
    }
    if (s->left == 0)
        finish(d);
    else
        ask_disk(d, DISK_DISCARD, s->sector, MIN(s->left, DISCARD_SECTORS));
}

/* ------------------------------------------------------------------ going on */

static void sectors_done(struct ide_drive *d, uint32_t count)
{
    d->s.sector += count;
    d->s.left -= MIN(count, d->s.left);
}

static void disk_read_done(struct ide_drive *d, uint32_t count)
{
    bool first = d->s.fill == 0;

    d->s.pos = 0;
    d->s.fill = count << DISK_SECTOR_SHIFT;
    offer(d, first);
}

static void disk_answered(struct disk_request *r, enum disk_status status)
{
    struct ide_drive *d = r->opaque;

    sectors_done(d, r->finished);
    if (status != DISK_OK) {
        d->s.transfer = IDE_NOTHING;
        d->kind->failed(d, status);
        return;
    }
    switch (d->s.transfer) {
    case IDE_DISK_IN:
        disk_read_done(d, r->count);
        break;
    case IDE_DISK_OUT:
        if (d->s.left != 0)
            want_sectors(d, false);
        else
            finish(d);
        break;
    case IDE_VERIFY:
    case IDE_DISCARD:
        ide_transfer_pause(d);
        break;
    default:
        finish(d);
        break;
    }
}

void ide_transfer_next(struct ide_drive *d)
{
    struct ide_drive_state *s = &d->s;

    s->ready = false;
    if (s->pos < s->fill)
        offer(d, false);
    else if (s->transfer == IDE_DISK_IN && s->left != 0)
        read_disk(d);
    else if (s->transfer == IDE_DISK_OUT)
        ask_disk(d, DISK_WRITE, s->sector, s->fill >> DISK_SECTOR_SHIFT);
    else
        finish(d);
}

void ide_transfer_start(struct ide_drive *d, enum ide_transfer what, bool dma)
{
    struct ide_drive_state *s = &d->s;

    s->transfer = (uint8_t)what;
    s->dma = dma;
    s->pos = 0;
    switch (what) {
    case IDE_DISK_IN:
        s->fill = 0;
        read_disk(d);
        break;
    case IDE_DISK_OUT:
        want_sectors(d, true);
        break;
    case IDE_VERIFY:
        read_disk(d);
        break;
    case IDE_FLUSH:
        ask_disk(d, DISK_FLUSH, 0, 0);
        break;
    case IDE_DISCARD:
        s->left = 0;
        discard_next(d);
        break;
    default:
        offer(d, true);
        break;
    }
}

void ide_transfer_abort(struct ide_drive *d)
{
    if (d->disk != NULL)
        disk_cancel(d->disk, &d->request);
    d->channel->host->ops->timer_cancel(d->channel->host, &d->slice);
    d->s.transfer = IDE_NOTHING;
    d->s.ready = false;
}

void ide_transfer_pause(struct ide_drive *d)
{
    struct device_host *host = d->channel->host;
    uint64_t pause = mul_div(SLICE_PAUSE_US, host->tsc_hz, 1000000);

    host->ops->timer_set(host, &d->slice, device_now(host) + pause);
}

void ide_transfer_go_on(struct timer *t, uint64_t now UNUSED)
{
    struct ide_drive *d = t->opaque;

    if (d->s.transfer == IDE_DISCARD)
        discard_next(d);
    else if (d->s.transfer == IDE_VERIFY && d->s.left != 0)
        read_disk(d);
    else if (d->s.transfer == IDE_VERIFY)
        finish(d);
    else
        ide_dma_run(d->channel);
}
