/*
 * A channel in the device state stream. What is on the disks is no part of it, as guest memory is
 * none. A drive whose disk still works on a request cannot be saved: that would be lost.
 */
#include "devices/ide.h"
#include "lib/string.h"

struct channel_fields {
    uint8_t control, selected;
    struct ide_dma_state dma;
};

/* So that a stream does not get into another drive. */
struct drive_header {
    uint64_t sectors;
    uint32_t kind; /* 0: no drive; 1: ATA; 2: ATAPI */
};

static struct drive_header header_of(const struct ide_drive *d)
{
    return (struct drive_header){
        .sectors = d->disk == NULL ? 0 : d->disk->sectors,
        .kind = d->kind == NULL   ? 0
                : d->kind->packet ? 2
                                  : 1,
    };
}

static void save_drive(const struct ide_drive *d, struct device_state *s)
{
    struct drive_header h = header_of(d);

    device_state_put(s, &h, sizeof(h));
    if (h.kind == 0)
        return;
    if (d->request.pending)
        s->failed = true;
    device_state_put(s, &d->s, sizeof(d->s));
    device_state_put(s, d->buffer, d->s.transfer == IDE_NOTHING ? 0 : d->s.fill);
}

void ide_channel_save(const struct ide_channel *c, struct device_state *s)
{
    struct channel_fields f;

    memset(&f, 0, sizeof(f));
    f.control = c->control;
    f.selected = c->selected;
    f.dma = c->dma;
    device_state_put(s, &f, sizeof(f));
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES; i++)
        save_drive(&c->drive[i], s);
}

static bool needs_disk(const struct ide_drive_state *s)
{
    return s->transfer >= IDE_DISK_IN;
}

static bool moves_sectors(const struct ide_drive_state *s)
{
    return s->transfer == IDE_DISK_IN || s->transfer == IDE_DISK_OUT || s->transfer == IDE_VERIFY;
}

/* What the transfer code relies on. Every transfer sets all of it when it starts. */
static bool transfer_valid(const struct ide_drive *d, const struct ide_drive_state *s)
{
    if (s->transfer >= IDE_TRANSFERS || (needs_disk(s) && d->disk == NULL))
        return false;
    if (s->fill > IDE_BUFFER_SIZE || s->end > s->fill || s->pos > s->fill)
        return false;
    if (s->ready && s->pos >= s->end)
        return false;
    if (s->transfer == IDE_DISCARD && (s->pos % 8 != 0 || s->fill % 8 != 0))
        return false;
    if (s->transfer == IDE_DISK_OUT && s->fill % DISK_SECTOR_SIZE != 0)
        return false;
    if (moves_sectors(s) && (s->block == 0 || s->block > IDE_BUFFER_SECTORS))
        return false;
    return !s->ready || s->dma || s->transfer == IDE_PACKET || s->drq_max != 0;
}

static bool valid(const struct ide_drive *d, const struct ide_drive_state *s)
{
    if (!d->kind->packet && (s->heads == 0 || s->sectors == 0 || s->multiple > 16))
        return false;
    return s->transfer == IDE_NOTHING ? !s->ready : transfer_valid(d, s);
}

/* A transfer that was between two slices goes on. */
static void resume(struct ide_drive *d)
{
    const struct ide_drive_state *s = &d->s;

    if (s->transfer == IDE_VERIFY || s->transfer == IDE_DISCARD || (s->ready && s->dma))
        ide_transfer_pause(d);
}

static bool load_drive(struct ide_drive *d, struct device_state *s)
{
    struct drive_header h, own = header_of(d);
    struct ide_drive_state state;

    device_state_get(s, &h, sizeof(h));
    if (s->failed || h.kind != own.kind || h.sectors != own.sectors)
        return false;
    if (h.kind == 0)
        return true;
    device_state_get(s, &state, sizeof(state));
    if (s->failed || !valid(d, &state))
        return false;
    ide_transfer_abort(d);
    d->s = state;
    device_state_get(s, d->buffer, state.transfer == IDE_NOTHING ? 0 : state.fill);
    resume(d);
    return !s->failed;
}

bool ide_channel_load(struct ide_channel *c, struct device_state *s)
{
    struct channel_fields f;

    device_state_get(s, &f, sizeof(f));
    if (s->failed)
        return false;
    c->control = f.control & (ATA_NIEN | ATA_SRST | ATA_HOB);
    c->selected = f.selected | ATA_DEV_BITS;
    c->dma = f.dma;
    ide_dma_sanitize(c);
    for (unsigned i = 0; i < IDE_CHANNEL_DRIVES; i++)
        if (!load_drive(&c->drive[i], s))
            return false;
    return true;
}
