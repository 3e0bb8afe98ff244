/*
 * ATAPI CD-ROM drives: the PACKET command (ATA/ATAPI-6, 8.23 and 9.8), sense data, and the packet
 * commands that do something (MMC-3, SFF-8020i). Those that tell something are in atapi_info.c.
 */
#include "devices/ide.h"
#include "lib/string.h"

#define CD_BLOCK_SIZE    2048u
#define CD_BLOCK_SECTORS (CD_BLOCK_SIZE / DISK_SECTOR_SIZE)
/* No medium is larger: counts of sectors then fit 32 bits. */
#define CD_MAX_BLOCKS (BIT(30) - 1)

/* The interrupt reason, in the count register (7.13). */
#define REASON_COMMAND 1 /* C/D */
#define REASON_TO_HOST 2 /* I/O */
#define REASON_STATUS  (REASON_COMMAND | REASON_TO_HOST)

/* PACKET's feature register. */
#define PACKET_DMA     0x01
#define PACKET_OVERLAP 0x02

#define PACKET_SIZE 12

/* ATA commands that a packet device knows. */
#define CMD_NOP             0x00
#define CMD_DEVICE_RESET    0x08
#define CMD_READ_SECTORS    0x20
#define CMD_DIAGNOSE        0x90
#define CMD_PACKET          0xa0
#define CMD_IDENTIFY_PACKET 0xa1
#define CMD_STANDBY_NOW     0xe0
#define CMD_IDLE_NOW        0xe1
#define CMD_CHECK_POWER     0xe5
#define CMD_SLEEP           0xe6
#define CMD_IDENTIFY        0xec
#define CMD_SET_FEATURES    0xef

#define POWER_ACTIVE 0xff

/* Media events (MMC-3 table 141). */
#define EVENT_NEW_MEDIUM 2
#define EVENT_REMOVAL    3

/* Fixed sense data (SPC-2, 7.20.2). */
#define SENSE_SIZE    18
#define SENSE_CURRENT 0x70
#define SENSE_REST    (SENSE_SIZE - 8)

/* START STOP UNIT, byte 4. */
#define UNIT_START 0x01
#define UNIT_LOEJ  0x02

/* READ CD, bytes 1 and 9: sector type, and which parts of a sector are wanted. */
#define CD_TYPE(b)    ((b) >> 2 & 7)
#define CD_TYPE_ANY   0
#define CD_TYPE_MODE1 2
#define CD_PARTS_NONE 0x00
#define CD_PARTS_DATA 0x10

/* ------------------------------------------------------------------ ends */

static void end_command(struct ide_drive *d, uint8_t status, uint8_t error)
{
    d->s.status = (uint8_t)(ATA_DRDY | status);
    d->s.error = error;
    ide_set_intrq(d, true);
}

static void end_packet(struct ide_drive *d, uint8_t status)
{
    d->s.regs.count = REASON_STATUS;
    end_command(d, status, (uint8_t)(d->s.sense << 4));
}

void atapi_good(struct ide_drive *d)
{
    end_packet(d, ATA_DSC);
}

void atapi_check(struct ide_drive *d, uint8_t sense, uint16_t asc_ascq)
{
    d->s.sense = sense;
    d->s.asc = (uint8_t)(asc_ascq >> 8);
    d->s.ascq = (uint8_t)asc_ascq;
    end_packet(d, ATA_DSC | ATA_ERR);
}

void atapi_reply(struct ide_drive *d, uint32_t n, uint32_t allocated)
{
    d->s.fill = MIN(n, allocated);
    d->s.left = 0;
    if (d->s.fill == 0)
        atapi_good(d);
    else
        ide_transfer_start(d, IDE_IN, d->s.dma);
}

/* ------------------------------------------------------------------ medium */

uint32_t atapi_blocks(const struct ide_drive *d)
{
    if (d->disk == NULL || d->s.tray_open)
        return 0;
    return (uint32_t)MIN(d->disk->sectors / CD_BLOCK_SECTORS, CD_MAX_BLOCKS);
}

static void attention(struct ide_drive *d, uint16_t asc)
{
    d->s.attention = true;
    d->s.attention_asc = (uint8_t)(asc >> 8);
}

static void test_unit_ready(struct ide_drive *d)
{
    atapi_good(d); /* the medium was looked for already */
}

static void set_tray(struct ide_drive *d, bool open)
{
    if (d->s.tray_open == open)
        return;
    d->s.tray_open = open;
    if (d->disk == NULL)
        return;
    d->s.media_event = open ? EVENT_REMOVAL : EVENT_NEW_MEDIUM;
    if (!open)
        attention(d, ASC_MEDIUM_CHANGED);
}

static void start_stop(struct ide_drive *d)
{
    uint8_t what = d->s.packet[4];

    if ((what & UNIT_LOEJ) && !(what & UNIT_START) && d->s.locked) {
        atapi_check(d, SENSE_ILLEGAL, ASC_REMOVAL_PREVENTED);
        return;
    }
    if (what & UNIT_LOEJ)
        set_tray(d, !(what & UNIT_START));
    atapi_good(d);
}

static void prevent_allow(struct ide_drive *d)
{
    d->s.locked = d->s.packet[4] & 1;
    atapi_good(d);
}

/* Sense data is told once. Attention comes before what the last command left (SPC-2, 7.20). */
static void request_sense(struct ide_drive *d)
{
    uint8_t *b = d->buffer;

    memset(b, 0, SENSE_SIZE);
    b[0] = SENSE_CURRENT;
    b[7] = SENSE_REST;
    if (d->s.sense == SENSE_NONE && d->s.attention) {
        b[2] = SENSE_ATTENTION;
        b[12] = d->s.attention_asc;
        d->s.attention = false;
    } else {
        b[2] = d->s.sense;
        b[12] = d->s.asc;
        b[13] = d->s.ascq;
    }
    d->s.sense = SENSE_NONE;
    d->s.asc = 0;
    d->s.ascq = 0;
    atapi_reply(d, SENSE_SIZE, d->s.packet[4]);
}

/* ------------------------------------------------------------------ blocks */

static void read_capacity(struct ide_drive *d)
{
    be32_put(d->buffer, atapi_blocks(d) - 1);
    be32_put(d->buffer + 4, CD_BLOCK_SIZE);
    atapi_reply(d, 8, 8);
}

static void read_blocks(struct ide_drive *d, uint32_t first, uint32_t count)
{
    uint32_t blocks = atapi_blocks(d);

    if (first > blocks || count > blocks - first || first == blocks) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_ADDRESS);
        return;
    }
    if (count == 0) {
        atapi_good(d);
        return;
    }
    d->s.sector = (uint64_t)first * CD_BLOCK_SECTORS;
    d->s.left = count * CD_BLOCK_SECTORS;
    d->s.block = IDE_BUFFER_SECTORS;
    ide_transfer_start(d, IDE_DISK_IN, d->s.dma);
}

static void read_10(struct ide_drive *d)
{
    read_blocks(d, be32_get(d->s.packet + 2), be16_get(d->s.packet + 7));
}

static void read_12(struct ide_drive *d)
{
    read_blocks(d, be32_get(d->s.packet + 2), be32_get(d->s.packet + 6));
}

/* Only the data of a sector, which is all that the image has. */
static void read_cd(struct ide_drive *d)
{
    const uint8_t *p = d->s.packet;
    uint8_t type = CD_TYPE(p[1]);
    uint32_t count = (uint32_t)p[6] << 16 | be16_get(p + 7);

    if (type != CD_TYPE_ANY && type != CD_TYPE_MODE1) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_TRACK_MODE);
        return;
    }
    if (p[9] != CD_PARTS_NONE && p[9] != CD_PARTS_DATA) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    read_blocks(d, be32_get(p + 2), p[9] == CD_PARTS_NONE ? 0 : count);
}

static void seek_10(struct ide_drive *d)
{
    if (be32_get(d->s.packet + 2) >= atapi_blocks(d))
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_ADDRESS);
    else
        atapi_good(d);
}

/* ------------------------------------------------------------------ the table */

#define P_MEDIUM    1 /* wants a medium */
#define P_ATTENTION 2 /* is carried out although a unit attention waits */

struct packet_command {
    void (*run)(struct ide_drive *d);
    unsigned flags;
};

static const struct packet_command packets[256] = {
    [0x00] = {test_unit_ready, P_MEDIUM},
    [0x03] = {request_sense, P_ATTENTION},
    [0x12] = {atapi_inquiry, P_ATTENTION},
    [0x1a] = {atapi_mode_sense, 0},
    [0x1b] = {start_stop, 0},
    [0x1e] = {prevent_allow, 0},
    [0x25] = {read_capacity, P_MEDIUM},
    [0x28] = {read_10, P_MEDIUM},
    [0x2b] = {seek_10, P_MEDIUM},
    [0x43] = {atapi_read_toc, P_MEDIUM},
    [0x46] = {atapi_get_configuration, P_ATTENTION},
    [0x4a] = {atapi_get_event, P_ATTENTION},
    [0x51] = {atapi_read_disc_information, P_MEDIUM},
    [0x5a] = {atapi_mode_sense, 0},
    [0xa8] = {read_12, P_MEDIUM},
    [0xbb] = {atapi_good, 0}, /* SET CD SPEED: there is none */
    [0xbd] = {atapi_mechanism_status, 0},
    [0xbe] = {read_cd, P_MEDIUM},
};

static void run_packet(struct ide_drive *d)
{
    const struct packet_command *c = &packets[d->s.packet[0]];

    if (d->s.packet[0] != 0x03) {
        d->s.sense = SENSE_NONE;
        d->s.asc = 0;
        d->s.ascq = 0;
    }
    if (c->run == NULL) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_OPCODE);
    } else if (d->s.attention && !(c->flags & P_ATTENTION)) {
        d->s.attention = false;
        atapi_check(d, SENSE_ATTENTION, (uint16_t)(d->s.attention_asc << 8));
    } else if ((c->flags & P_MEDIUM) && atapi_blocks(d) == 0) {
        atapi_check(d, SENSE_NOT_READY, d->s.tray_open ? ASC_TRAY_OPEN : ASC_NO_MEDIUM);
    } else {
        c->run(d);
    }
}

/* ------------------------------------------------------------------ ATA commands */

static void abort_command(struct ide_drive *d)
{
    end_command(d, ATA_DSC | ATA_ERR, ATA_ABRT);
}

/* Commands of disks are aborted with the signature, by which a host finds out (8.15). */
static void abort_with_signature(struct ide_drive *d)
{
    ide_set_signature(d, true);
    abort_command(d);
}

/* The limit of bytes in a DRQ block is even; 0 and FFFFh are as good as the largest. */
static void packet(struct ide_drive *d)
{
    uint32_t limit = (uint32_t)d->s.regs.high << 8 | d->s.regs.mid;

    if (d->s.regs.features & PACKET_OVERLAP) {
        abort_command(d);
        return;
    }
    d->s.fill = PACKET_SIZE;
    d->s.drq_max = limit < 2 ? 0xfffe : limit & 0xfffe;
    ide_transfer_start(d, IDE_PACKET, false);
}

static void identify_packet(struct ide_drive *d)
{
    atapi_identify(d);
    d->s.fill = DISK_SECTOR_SIZE;
    d->s.drq_max = IDE_BUFFER_SIZE;
    ide_transfer_start(d, IDE_IN, false);
}

static void set_features(struct ide_drive *d)
{
    if (ata_set_features(d))
        end_command(d, ATA_DSC, 0);
    else
        abort_command(d);
}

static void check_power(struct ide_drive *d)
{
    d->s.regs.count = POWER_ACTIVE;
    end_command(d, ATA_DSC, 0);
}

static void power_command(struct ide_drive *d)
{
    end_command(d, ATA_DSC, 0);
}

static void go_to_sleep(struct ide_drive *d)
{
    d->s.asleep = true;
    end_command(d, ATA_DSC, 0);
}

static void diagnose(struct ide_drive *d)
{
    ide_diagnose(d->channel);
}

/* No interrupt: a host looks at the status (8.7). */
static void device_reset(struct ide_drive *d)
{
    ide_drive_reset(d, false);
}

static void (*const commands[256])(struct ide_drive *d) = {
    [CMD_DEVICE_RESET] = device_reset,
    [CMD_READ_SECTORS] = abort_with_signature,
    [CMD_DIAGNOSE] = diagnose,
    [CMD_PACKET] = packet,
    [CMD_IDENTIFY_PACKET] = identify_packet,
    [CMD_STANDBY_NOW] = power_command,
    [CMD_IDLE_NOW] = power_command,
    [CMD_CHECK_POWER] = check_power,
    [CMD_SLEEP] = go_to_sleep,
    [CMD_IDENTIFY] = abort_with_signature,
    [CMD_SET_FEATURES] = set_features,
    [CMD_NOP] = abort_command,
};

static void atapi_command(struct ide_drive *d, uint8_t command)
{
    if (d->s.asleep && command != CMD_DEVICE_RESET)
        return;
    if (commands[command] == NULL)
        abort_command(d);
    else
        commands[command](d);
}

/* ------------------------------------------------------------------ a transfer's events */

static bool is_packet_data(const struct ide_drive *d)
{
    return d->s.command == CMD_PACKET;
}

static void atapi_drq(struct ide_drive *d, bool first UNUSED)
{
    struct ide_drive_state *s = &d->s;
    uint32_t n = s->end - s->pos;

    s->status = ATA_DRDY | ATA_DRQ;
    s->error = 0;
    if (s->transfer == IDE_PACKET) {
        s->regs.count = REASON_COMMAND;
        return;
    }
    if (is_packet_data(d)) {
        s->regs.count = REASON_TO_HOST;
        s->regs.mid = s->dma ? s->regs.mid : (uint8_t)n;
        s->regs.high = s->dma ? s->regs.high : (uint8_t)(n >> 8);
    }
    if (!s->dma)
        ide_set_intrq(d, true);
}

static void atapi_complete(struct ide_drive *d, enum ide_transfer was)
{
    if (was == IDE_PACKET) {
        memcpy(d->s.packet, d->buffer, PACKET_SIZE);
        d->s.dma = d->s.regs.features & PACKET_DMA;
        d->s.status = ATA_BSY;
        run_packet(d);
    } else if (is_packet_data(d)) {
        atapi_good(d);
    } else { /* IDENTIFY PACKET DEVICE: its interrupt came with its data */
        d->s.status = ATA_DRDY | ATA_DSC;
    }
}

static void atapi_failed(struct ide_drive *d, enum disk_status status)
{
    if (status == DISK_BAD_RANGE)
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_ADDRESS);
    else
        atapi_check(d, SENSE_MEDIUM_ERROR, ASC_READ_ERROR);
}

/* After a reset a packet device is not ready until it has had a command (9.12). */
static void atapi_reset(struct ide_drive *d, bool hard)
{
    struct ide_drive_state *s = &d->s;

    if (hard) {
        s->xfer_mode = 0;
        s->tray_open = false;
        s->locked = false;
        s->media_event = d->disk == NULL ? 0 : EVENT_NEW_MEDIUM;
        s->sense = SENSE_NONE;
        attention(d, ASC_RESET);
    }
    ide_set_signature(d, true);
    s->status = 0;
    s->error = ATA_DIAGNOSED;
}

const struct ide_kind atapi_kind = {
    .packet = true,
    .reset = atapi_reset,
    .command = atapi_command,
    .drq = atapi_drq,
    .complete = atapi_complete,
    .failed = atapi_failed,
};
