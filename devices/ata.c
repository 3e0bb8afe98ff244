/* ATA disks: T13's ATA/ATAPI-6 (d1410r3b), chapter 8, and TRIM of ATA8-ACS2. */
#include "devices/ide.h"
#include "lib/string.h"

/* Flags of a command that moves sectors. */
#define A_WRITE    0x01
#define A_DMA      0x02
#define A_MULTIPLE 0x04
#define A_48BIT    0x08
#define A_VERIFY   0x10

/* CHECK POWER MODE's answers (8.7). */
#define POWER_STANDBY 0x00
#define POWER_IDLE    0x80
#define POWER_ACTIVE  0xff

/* DATA SET MANAGEMENT: the feature register's bit for TRIM, and blocks of ranges at most. */
#define DSM_TRIM       0x01
#define DSM_MAX_BLOCKS 8 /* as IDENTIFY's word 105 says */

#define MAX_MULTIPLE 16

struct ata_command {
    void (*run)(struct ide_drive *d, unsigned flags);
    unsigned flags;
};

/* ------------------------------------------------------------------ ends */

static void end_command(struct ide_drive *d, uint8_t status, uint8_t error)
{
    d->s.status = (uint8_t)(ATA_DRDY | ATA_DSC | status);
    d->s.error = error;
    ide_set_intrq(d, true);
}

static void done(struct ide_drive *d)
{
    end_command(d, 0, 0);
}

static void fail(struct ide_drive *d, uint8_t error)
{
    end_command(d, ATA_ERR, error);
}

static void abort_command(struct ide_drive *d, unsigned flags UNUSED)
{
    fail(d, ATA_ABRT);
}

static void do_nothing(struct ide_drive *d, unsigned flags UNUSED)
{
    done(d);
}

/* ------------------------------------------------------------------ addresses */

static uint32_t sector_count(const struct ide_drive *d, unsigned flags)
{
    uint32_t n = d->s.regs.count;

    if (flags & A_48BIT)
        n |= (uint32_t)d->s.hob.count << 8;
    if (n != 0)
        return n;
    return flags & A_48BIT ? 65536 : 256;
}

/* The sector by cylinder, head and sector in the geometry that the host has set (or 2^64 - 1). */
static uint64_t chs_address(const struct ide_drive *d)
{
    const struct ata_registers *r = &d->s.regs;
    unsigned head = d->channel->selected & ATA_HEAD;
    uint64_t cylinder = (uint64_t)r->high << 8 | r->mid;

    if (r->low == 0 || r->low > d->s.sectors || head >= d->s.heads)
        return UINT64_MAX;
    return (cylinder * d->s.heads + head) * d->s.sectors + r->low - 1;
}

/* What the registers address, 2^64 - 1 if that is nothing. */
static uint64_t address(const struct ide_drive *d, unsigned flags)
{
    const struct ata_registers *r = &d->s.regs, *h = &d->s.hob;
    uint64_t lba = (uint64_t)r->high << 16 | (uint64_t)r->mid << 8 | r->low;

    if (flags & A_48BIT)
        return lba | (uint64_t)h->high << 40 | (uint64_t)h->mid << 32 | (uint64_t)h->low << 24;
    if (d->channel->selected & ATA_LBA)
        return lba | (uint64_t)(d->channel->selected & ATA_HEAD) << 24;
    return chs_address(d);
}

/* Puts an address where the command under way had its own: an error's, or the last sector's. */
static void put_address(struct ide_drive *d, uint64_t sector)
{
    struct ata_registers *r = &d->s.regs, *h = &d->s.hob;
    uint8_t head = (uint8_t)(sector >> 24 & ATA_HEAD);

    if (d->s.is_48bit) {
        h->low = (uint8_t)(sector >> 24);
        h->mid = (uint8_t)(sector >> 32);
        h->high = (uint8_t)(sector >> 40);
    } else {
        if (!(d->channel->selected & ATA_LBA)) {
            unsigned track = d->s.sectors, cylinder = d->s.heads * track;

            head = (uint8_t)(sector % cylinder / track);
            sector = sector / cylinder << 8 | (sector % track + 1);
        }
        d->channel->selected = (uint8_t)((d->channel->selected & ~ATA_HEAD) | head);
    }
    r->low = (uint8_t)sector;
    r->mid = (uint8_t)(sector >> 8);
    r->high = (uint8_t)(sector >> 16);
}

/* ------------------------------------------------------------------ sectors */

static uint32_t block_of(const struct ide_drive *d, unsigned flags)
{
    if (flags & (A_DMA | A_VERIFY))
        return IDE_BUFFER_SECTORS;
    return flags & A_MULTIPLE ? d->s.multiple : 1;
}

/* READ, WRITE and READ VERIFY in all their forms (8.27 to 8.66). */
static void move_sectors(struct ide_drive *d, unsigned flags)
{
    struct ide_drive_state *s = &d->s;
    uint64_t first = address(d, flags);
    uint32_t count = sector_count(d, flags);

    if (((flags & A_MULTIPLE) && s->multiple == 0) ||
        ((flags & A_48BIT) && !(d->channel->selected & ATA_LBA)) ||
        ((flags & A_WRITE) && d->disk->read_only)) {
        fail(d, ATA_ABRT);
        return;
    }
    if (first >= d->disk->sectors || count > d->disk->sectors - first) {
        fail(d, ATA_IDNF);
        return;
    }
    s->power = POWER_ACTIVE;
    s->sector = first;
    s->left = count;
    s->block = block_of(d, flags);
    s->drq_max = IDE_BUFFER_SIZE;
    ide_transfer_start(d,
                       flags & A_VERIFY  ? IDE_VERIFY
                       : flags & A_WRITE ? IDE_DISK_OUT
                                         : IDE_DISK_IN,
                       (flags & A_DMA) != 0);
}

static void flush(struct ide_drive *d, unsigned flags UNUSED)
{
    ide_transfer_start(d, IDE_FLUSH, false);
}

/* ATA8-ACS2, 7.5. The ranges come by DMA. */
static void data_set_management(struct ide_drive *d, unsigned flags)
{
    uint32_t blocks = sector_count(d, flags);

    if (d->s.regs.features != DSM_TRIM || blocks > DSM_MAX_BLOCKS || d->disk->read_only) {
        fail(d, ATA_ABRT);
        return;
    }
    d->s.fill = blocks * DISK_SECTOR_SIZE;
    d->s.left = 0;
    ide_transfer_start(d, IDE_OUT, true);
}

static void seek(struct ide_drive *d, unsigned flags)
{
    if (address(d, flags) >= d->disk->sectors)
        fail(d, ATA_IDNF);
    else
        done(d);
}

static void read_native_max(struct ide_drive *d, unsigned flags)
{
    uint64_t last = d->disk->sectors - 1;

    if (!(d->channel->selected & ATA_LBA)) {
        fail(d, ATA_ABRT);
        return;
    }
    put_address(d, flags & A_48BIT ? last : MIN(last, 0x0ffffffeu));
    done(d);
}

/* ------------------------------------------------------------------ settings */

static void identify(struct ide_drive *d, unsigned flags UNUSED)
{
    ata_identify(d);
    d->s.fill = DISK_SECTOR_SIZE;
    d->s.drq_max = IDE_BUFFER_SIZE;
    ide_transfer_start(d, IDE_IN, false);
}

static void set_multiple(struct ide_drive *d, unsigned flags UNUSED)
{
    uint8_t n = d->s.regs.count;

    if (n > MAX_MULTIPLE || (n & (n - 1)) != 0) {
        fail(d, ATA_ABRT);
        return;
    }
    d->s.multiple = n;
    done(d);
}

/* 8.16 of ATA-5: sectors of a track, and the highest head. */
static void initialize_parameters(struct ide_drive *d, unsigned flags UNUSED)
{
    if (d->s.regs.count == 0) {
        fail(d, ATA_ABRT);
        return;
    }
    d->s.sectors = d->s.regs.count;
    d->s.heads = (uint8_t)((d->channel->selected & ATA_HEAD) + 1);
    done(d);
}

static void set_features(struct ide_drive *d, unsigned flags UNUSED)
{
    if (ata_set_features(d))
        done(d);
    else
        fail(d, ATA_ABRT);
}

static void diagnose(struct ide_drive *d, unsigned flags UNUSED)
{
    ide_diagnose(d->channel);
}

/* ------------------------------------------------------------------ power */

static void standby(struct ide_drive *d, unsigned flags UNUSED)
{
    d->s.power = POWER_STANDBY;
    done(d);
}

static void idle(struct ide_drive *d, unsigned flags UNUSED)
{
    d->s.power = POWER_IDLE;
    done(d);
}

static void go_to_sleep(struct ide_drive *d, unsigned flags UNUSED)
{
    d->s.asleep = true;
    d->s.power = POWER_STANDBY;
    done(d);
}

static void check_power(struct ide_drive *d, unsigned flags UNUSED)
{
    d->s.regs.count = d->s.power;
    done(d);
}

/* ------------------------------------------------------------------ the table */

static const struct ata_command commands[256] = {
    [0x00] = {abort_command, 0}, /* NOP, whose purpose is to be aborted (8.21) */
    [0x06] = {data_set_management, A_48BIT},
    [0x10 ... 0x1f] = {do_nothing, 0}, /* RECALIBRATE */
    [0x20 ... 0x21] = {move_sectors, 0},
    [0x24] = {move_sectors, A_48BIT},
    [0x25] = {move_sectors, A_48BIT | A_DMA},
    [0x27] = {read_native_max, A_48BIT},
    [0x29] = {move_sectors, A_48BIT | A_MULTIPLE},
    [0x30 ... 0x31] = {move_sectors, A_WRITE},
    [0x34] = {move_sectors, A_48BIT | A_WRITE},
    [0x35] = {move_sectors, A_48BIT | A_WRITE | A_DMA},
    [0x39] = {move_sectors, A_48BIT | A_WRITE | A_MULTIPLE},
    [0x40 ... 0x41] = {move_sectors, A_VERIFY},
    [0x42] = {move_sectors, A_48BIT | A_VERIFY},
    [0x70 ... 0x7f] = {seek, 0},
    [0x90] = {diagnose, 0},
    [0x91] = {initialize_parameters, 0},
    [0x94] = {standby, 0}, /* 94h to 99h: the old codes of E0h to E6h */
    [0x95] = {idle, 0},
    [0x96] = {standby, 0},
    [0x97] = {idle, 0},
    [0x98] = {check_power, 0},
    [0x99] = {go_to_sleep, 0},
    [0xc4] = {move_sectors, A_MULTIPLE},
    [0xc5] = {move_sectors, A_WRITE | A_MULTIPLE},
    [0xc6] = {set_multiple, 0},
    [0xc8 ... 0xc9] = {move_sectors, A_DMA},
    [0xca ... 0xcb] = {move_sectors, A_WRITE | A_DMA},
    [0xe0] = {standby, 0},
    [0xe1] = {idle, 0},
    [0xe2] = {standby, 0},
    [0xe3] = {idle, 0},
    [0xe5] = {check_power, 0},
    [0xe6] = {go_to_sleep, 0},
    [0xe7] = {flush, 0},
    [0xea] = {flush, A_48BIT},
    [0xec] = {identify, 0},
    [0xef] = {set_features, 0},
    [0xf8] = {read_native_max, 0},
};

static void ata_command(struct ide_drive *d, uint8_t command)
{
    const struct ata_command *c = &commands[command];

    if (d->s.asleep)
        return;
    d->s.is_48bit = (c->flags & A_48BIT) != 0;
    if (c->run == NULL)
        fail(d, ATA_ABRT);
    else
        c->run(d, c->flags);
}

/* ------------------------------------------------------------------ a transfer's events */

/* The first block that is to be written is asked for without an interrupt (9.6). */
static void ata_drq(struct ide_drive *d, bool first)
{
    bool out = d->s.transfer == IDE_DISK_OUT || d->s.transfer == IDE_OUT;

    d->s.status = ATA_DRDY | ATA_DSC | ATA_DRQ;
    d->s.error = 0;
    if (!d->s.dma && !(first && out))
        ide_set_intrq(d, true);
}

static void moved(struct ide_drive *d)
{
    put_address(d, d->s.sector - 1);
    d->s.regs.count = 0;
    d->s.hob.count = 0;
}

/* With PIO to the host the last interrupt came with the last block (9.5). */
static void ata_complete(struct ide_drive *d, enum ide_transfer was)
{
    bool pio_in = !d->s.dma && (was == IDE_DISK_IN || was == IDE_IN);

    if (was == IDE_OUT) {
        ide_transfer_start(d, IDE_DISCARD, true);
        return;
    }
    if (was == IDE_DISK_IN || was == IDE_DISK_OUT || was == IDE_VERIFY)
        moved(d);
    if (!pio_in) {
        done(d);
        return;
    }
    d->s.status = ATA_DRDY | ATA_DSC;
    d->s.error = 0;
}

static void ata_failed(struct ide_drive *d, enum disk_status status)
{
    put_address(d, d->s.sector);
    fail(d, status == DISK_BAD_RANGE ? ATA_IDNF : status == DISK_PROTECTED ? ATA_ABRT : ATA_UNC);
}

static void ata_reset(struct ide_drive *d, bool hard)
{
    struct ide_drive_state *s = &d->s;

    if (hard) {
        s->multiple = 0;
        s->heads = d->disk->geometry.heads;
        s->sectors = d->disk->geometry.sectors;
        s->xfer_mode = 0;
        s->write_cache = true;
        s->look_ahead = true;
    }
    s->power = POWER_ACTIVE;
    ide_set_signature(d, false);
    s->status = ATA_DRDY | ATA_DSC;
    s->error = ATA_DIAGNOSED;
}

const struct ide_kind ata_kind = {
    .packet = false,
    .reset = ata_reset,
    .command = ata_command,
    .drq = ata_drq,
    .complete = ata_complete,
    .failed = ata_failed,
};
