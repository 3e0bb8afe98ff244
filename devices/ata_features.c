/* SET FEATURES (ATA/ATAPI-6, 8.46): what both kinds of drives let a host set. */
#include "devices/ide.h"

#define FEATURE_WRITE_CACHE_ON  0x02
#define FEATURE_TRANSFER_MODE   0x03
#define FEATURE_LOOK_AHEAD_OFF  0x55
#define FEATURE_KEEP_SETTINGS   0x66 /* over a software reset, which they are here anyhow */
#define FEATURE_WRITE_CACHE_OFF 0x82
#define FEATURE_LOOK_AHEAD_ON   0xaa
#define FEATURE_REVERT_SETTINGS 0xcc

/* Table 54: the kind of transfer in bits 7:3, its mode below. */
#define MODE_KIND(v) ((v) >> 3)
#define MODE(v)      ((v)&7)
#define KIND_DEFAULT 0 /* PIO; mode 1 is without IORDY */
#define KIND_PIO     1
#define KIND_MWDMA   4
#define KIND_UDMA    8
#define MAX_PIO      4
#define MAX_MWDMA    2
#define MAX_UDMA     5

static bool has_mode(uint8_t mode)
{
    switch (MODE_KIND(mode)) {
    case KIND_DEFAULT:
        return MODE(mode) <= 1;
    case KIND_PIO:
        return MODE(mode) <= MAX_PIO;
    case KIND_MWDMA:
        return MODE(mode) <= MAX_MWDMA;
    case KIND_UDMA:
        return MODE(mode) <= MAX_UDMA;
    default:
        return false;
    }
}

static bool set_mode(struct ide_drive *d, uint8_t mode)
{
    if (!has_mode(mode))
        return false;
    if (MODE_KIND(mode) > KIND_PIO) /* the DMA mode stays when PIO is set */
        d->s.xfer_mode = mode;
    return true;
}

bool ata_set_features(struct ide_drive *d)
{
    switch (d->s.regs.features) {
    case FEATURE_TRANSFER_MODE:
        return set_mode(d, d->s.regs.count);
    case FEATURE_WRITE_CACHE_ON:
    case FEATURE_WRITE_CACHE_OFF:
        d->s.write_cache = d->s.regs.features == FEATURE_WRITE_CACHE_ON;
        return true;
    case FEATURE_LOOK_AHEAD_ON:
    case FEATURE_LOOK_AHEAD_OFF:
        d->s.look_ahead = d->s.regs.features == FEATURE_LOOK_AHEAD_ON;
        return true;
    case FEATURE_KEEP_SETTINGS:
    case FEATURE_REVERT_SETTINGS:
        return true;
    default:
        return false;
    }
}
