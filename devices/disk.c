/* Requests as every disk has them, and the geometry that an old system expects. */
#include "devices/disk.h"

#include "lib/checked.h"
#include "lib/string.h"

/* ------------------------------------------------------------------ requests */

static enum disk_status check(const struct disk *d, const struct disk_request *r)
{
    if (r->op == DISK_FLUSH)
        return DISK_OK;
    if (!checked_range(r->sector, r->count, d->sectors))
        return DISK_BAD_RANGE;
    if (r->op != DISK_READ && d->read_only)
        return DISK_PROTECTED;
    return DISK_OK;
}

void disk_submit(struct disk *d, struct disk_request *r)
{
    enum disk_status status = check(d, r);

    r->finished = 0;
    r->pending = true;
    if (status != DISK_OK)
        disk_done(r, status);
    else
        d->ops->submit(d, r);
}

void disk_cancel(struct disk *d, struct disk_request *r)
{
    if (!r->pending)
        return;
    d->ops->cancel(d, r);
    r->pending = false;
}

void disk_done(struct disk_request *r, enum disk_status status)
{
    r->pending = false;
    r->done(r, status);
}

/* ------------------------------------------------------------------ geometry */

/* The classic partition table: four entries of 16 bytes, with a signature behind them. */
#define MBR_TABLE      446
#define MBR_ENTRIES    4
#define MBR_ENTRY_SIZE 16
#define MBR_SIGNATURE  510
#define MBR_MAGIC_0    0x55
#define MBR_MAGIC_1    0xaa
/* In an entry: its type (0: unused), the head and the sector where it ends. */
#define ENTRY_TYPE       4
#define ENTRY_END_HEAD   5
#define ENTRY_END_SECTOR 6
#define END_SECTOR_MASK  0x3f /* above are bits of the cylinder */

/* ATA/ATAPI-6, 6.2: what IDENTIFY DEVICE can tell. */
#define MAX_CYLINDERS 16383
#define MAX_HEADS     16
#define MAX_SECTORS   63

static struct disk_geometry geometry_of(uint64_t total, unsigned heads, unsigned sectors)
{
    uint64_t cylinders = total / (heads * sectors);

    return (struct disk_geometry){
        .cylinders = (uint16_t)MAX(1, MIN(cylinders, MAX_CYLINDERS)),
        .heads = (uint8_t)heads,
        .sectors = (uint8_t)sectors,
    };
}

/* Partitions end with a cylinder: the last head and the last sector of a track are in the entry. */
static bool entry_geometry(const uint8_t *entry, uint64_t total, struct disk_geometry *g)
{
    unsigned heads = entry[ENTRY_END_HEAD] + 1u,
             sectors = entry[ENTRY_END_SECTOR] & END_SECTOR_MASK;

    if (entry[ENTRY_TYPE] == 0 || heads > MAX_HEADS || sectors == 0 || total / heads < sectors)
        return false;
    *g = geometry_of(total, heads, sectors);
    return true;
}

struct disk_geometry disk_guess_geometry(const uint8_t *first_sector, uint64_t sectors)
{
    struct disk_geometry g = geometry_of(sectors, MAX_HEADS, MAX_SECTORS);

    if (first_sector == NULL || first_sector[MBR_SIGNATURE] != MBR_MAGIC_0 ||
        first_sector[MBR_SIGNATURE + 1] != MBR_MAGIC_1)
        return g;
    for (unsigned i = 0; i < MBR_ENTRIES; i++)
        if (entry_geometry(first_sector + MBR_TABLE + i * MBR_ENTRY_SIZE, sectors, &g))
            break;
    return g;
}
