/* IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ATA/ATAPI-6, 8.15 and 8.16; ATA8-ACS2 for TRIM). */
#include "devices/ide.h"
#include "lib/string.h"

#define FIRMWARE_REVISION "1"

/* Words of both. */
#define W_GENERAL        0
#define W_CYLINDERS      1
#define W_HEADS          3
#define W_SECTORS        6
#define W_SERIAL         10
#define W_FIRMWARE       23
#define W_MODEL          27
#define W_MULTIPLE_MAX   47
#define W_CAPABILITIES   49
#define W_CAPABILITIES_2 50
#define W_PIO_MODE       51
#define W_VALID          53
#define W_CURRENT_CHS    54
#define W_CURRENT_SIZE   57
#define W_MULTIPLE       59
#define W_LBA28          60
#define W_MWDMA          63
#define W_PIO            64
#define W_CYCLE_TIMES    65
#define W_ADDITIONAL     69
#define W_MAJOR          80
#define W_SUPPORTED      82
#define W_ENABLED        85
#define W_UDMA           88
#define W_RESET_RESULT   93
#define W_LBA48          100
#define W_DSM_BLOCKS     105
#define W_DSM            169
#define W_INTEGRITY      255

#define SERIAL_BYTES   20
#define FIRMWARE_BYTES 8
#define MODEL_BYTES    40

#define CAN_DMA         BIT(8)
#define CAN_LBA         BIT(9)
#define CAN_IORDY       BIT(11)
#define VALID_54_TO_58  BIT(0)
#define VALID_64_TO_70  BIT(1)
#define VALID_88        BIT(2)
#define ALWAYS_ONE      BIT(14) /* in words 50, 83, 84, 87, 93 */
#define PIO_3_AND_4     3
#define MWDMA_0_TO_2    7
#define UDMA_0_TO_5     0x3f
#define CYCLE_NS        120
#define VERSIONS_4_TO_6 0x070
#define VERSIONS_4_TO_8 0x1f0 /* TRIM is of version 8 */
#define MULTIPLE_MAX    0x8010
#define MULTIPLE_SET    BIT(8)
#define LBA28_MAX       0x0fffffffu
#define ADDITIONAL_DRAT BIT(14) /* what a trimmed sector reads as stays the same */
#define DSM_TRIM        BIT(0)
#define DSM_BLOCKS      8
#define INTEGRITY_MARK  0xa5

/* Words 82 and 83: command sets. */
#define SET_POWER        BIT(3)
#define SET_PACKET       BIT(4)
#define SET_WRITE_CACHE  BIT(5)
#define SET_LOOK_AHEAD   BIT(6)
#define SET_DEVICE_RESET BIT(9)
#define SET_NOP          BIT(14)
#define SET2_48BIT       BIT(10)
#define SET2_FLUSH       BIT(12)
#define SET2_FLUSH_EXT   BIT(13)

/* A packet device, CD-ROM, removable, which wants its 12-byte packet within 50 us. */
#define GENERAL_CDROM 0x85c0
#define GENERAL_DISK  0x0040 /* not removable */

/* Word 93: an 80-wire cable; each drive knows its number by a jumper and passed its tests. */
#define RESET_RESULT_0 0x600b
#define RESET_RESULT_1 0x6b00

static void put(struct ide_drive *d, unsigned word, uint64_t value)
{
    d->buffer[2 * word] = (uint8_t)value;
    d->buffer[2 * word + 1] = (uint8_t)(value >> 8);
}

static void put32(struct ide_drive *d, unsigned word, uint64_t value)
{
    put(d, word, value);
    put(d, word + 1, value >> 16);
}

/* Text is padded with blanks, and each word has its first character in its high byte. */
static void put_text(struct ide_drive *d, unsigned word, const char *text, unsigned bytes)
{
    size_t n = MIN(strlen(text), bytes);

    for (unsigned i = 0; i < bytes; i++)
        d->buffer[2 * word + (i ^ 1)] = i < n ? (uint8_t)text[i] : ' ';
}

/* Which mode of a kind SET FEATURES chose, as a bit of the high byte. */
static uint64_t chosen(const struct ide_drive *d, unsigned kind)
{
    return d->s.xfer_mode >> 3 == kind >> 3 ? BIT(8 + (d->s.xfer_mode & 7)) : 0;
}

static void put_common(struct ide_drive *d, const char *model, const char *serial)
{
    memset(d->buffer, 0, DISK_SECTOR_SIZE);
    put_text(d, W_SERIAL, serial, SERIAL_BYTES);
    put_text(d, W_FIRMWARE, FIRMWARE_REVISION, FIRMWARE_BYTES);
    put_text(d, W_MODEL, model, MODEL_BYTES);
    put(d, W_CAPABILITIES, CAN_DMA | CAN_LBA | CAN_IORDY);
    put(d, W_PIO_MODE, 2 << 8);
    put(d, W_MWDMA, MWDMA_0_TO_2 | chosen(d, 0x20));
    put(d, W_PIO, PIO_3_AND_4);
    for (unsigned i = 0; i < 4; i++)
        put(d, W_CYCLE_TIMES + i, CYCLE_NS);
    put(d, W_UDMA, UDMA_0_TO_5 | chosen(d, 0x40));
    put(d, W_RESET_RESULT, d->index == 0 ? RESET_RESULT_0 : RESET_RESULT_1);
}

/* Three words of command sets, that there are and that are on. */
static void put_sets(struct ide_drive *d, uint64_t there, uint64_t on, uint64_t second)
{
    put(d, W_SUPPORTED, there);
    put(d, W_SUPPORTED + 1, second | ALWAYS_ONE);
    put(d, W_SUPPORTED + 2, ALWAYS_ONE);
    put(d, W_ENABLED, on);
    put(d, W_ENABLED + 1, second);
    put(d, W_ENABLED + 2, ALWAYS_ONE);
}

static void put_integrity(struct ide_drive *d)
{
    uint8_t sum = 0;

    put(d, W_INTEGRITY, INTEGRITY_MARK);
    for (unsigned i = 0; i < DISK_SECTOR_SIZE - 1; i++)
        sum = (uint8_t)(sum + d->buffer[i]);
    d->buffer[DISK_SECTOR_SIZE - 1] = (uint8_t)-sum;
}

/* The geometry that the disk has, and the one that the host has set. */
static void put_geometry(struct ide_drive *d)
{
    const struct disk_geometry *g = &d->disk->geometry;
    uint32_t cylinder = d->s.heads * d->s.sectors;
    uint64_t cylinders = MIN(d->disk->sectors / cylinder, UINT16_MAX);

    put(d, W_CYLINDERS, g->cylinders);
    put(d, W_HEADS, g->heads);
    put(d, W_SECTORS, g->sectors);
    put(d, W_CURRENT_CHS, cylinders);
    put(d, W_CURRENT_CHS + 1, d->s.heads);
    put(d, W_CURRENT_CHS + 2, d->s.sectors);
    put32(d, W_CURRENT_SIZE, cylinders * cylinder);
}

void ata_identify(struct ide_drive *d)
{
    uint64_t sets = SET_POWER | SET_WRITE_CACHE | SET_LOOK_AHEAD | SET_NOP;
    uint64_t on = SET_POWER | SET_NOP | (d->s.write_cache ? SET_WRITE_CACHE : 0) |
                  (d->s.look_ahead ? SET_LOOK_AHEAD : 0);

    put_common(d, "Tithe disk", d->disk->name);
    put(d, W_GENERAL, GENERAL_DISK);
    put_geometry(d);
    put(d, W_MULTIPLE_MAX, MULTIPLE_MAX);
    put(d, W_CAPABILITIES_2, ALWAYS_ONE);
    put(d, W_VALID, VALID_54_TO_58 | VALID_64_TO_70 | VALID_88);
    put(d, W_MAJOR, VERSIONS_4_TO_8);
    put(d, W_MULTIPLE, d->s.multiple != 0 ? MULTIPLE_SET | d->s.multiple : 0);
    put32(d, W_LBA28, MIN(d->disk->sectors, LBA28_MAX));
    put_sets(d, sets, on, SET2_48BIT | SET2_FLUSH | SET2_FLUSH_EXT);
    put32(d, W_LBA48, d->disk->sectors);
    put32(d, W_LBA48 + 2, d->disk->sectors >> 32);
    if (!d->disk->read_only) {
        put(d, W_ADDITIONAL, ADDITIONAL_DRAT);
        put(d, W_DSM_BLOCKS, DSM_BLOCKS);
        put(d, W_DSM, DSM_TRIM);
    }
    put_integrity(d);
}

void atapi_identify(struct ide_drive *d)
{
    uint64_t sets = SET_POWER | SET_PACKET | SET_DEVICE_RESET | SET_NOP;

    put_common(d, "Tithe CD-ROM", "cdrom");
    put(d, W_GENERAL, GENERAL_CDROM);
    put(d, W_VALID, VALID_64_TO_70 | VALID_88);
    put(d, W_MAJOR, VERSIONS_4_TO_6);
    put_sets(d, sets, sets, 0);
    put_integrity(d);
}
