/*
 * What a disk controller sees of a disk: sectors that are read, written, flushed and discarded,
 * with completion by a callback. Behind it is an image in memory (devices/disk_cow.h) or, as far
 * as this interface goes, a real disk that answers later.
 */
#ifndef DEVICES_DISK_H
#define DEVICES_DISK_H

#include "lib/types.h"

#define DISK_SECTOR_SIZE  512u
#define DISK_SECTOR_SHIFT 9

enum disk_op {
    DISK_READ,
    DISK_WRITE,
    DISK_FLUSH,   /* no data; what was written before is on the medium when it is done */
    DISK_DISCARD, /* no data; what the sectors hold afterwards is up to the disk, but stays so */
};

/* How a request ended. */
enum disk_status {
    DISK_OK,
    DISK_BAD_RANGE, /* beyond the end of the disk; nothing was done */
    DISK_PROTECTED, /* a write to a read-only disk; nothing was done */
    DISK_BAD_MEDIUM /* a sector cannot be read or written: the one after those that are done */
};

/* Belongs to the disk from disk_submit until done is called or disk_cancel returns. */
struct disk_request {
    enum disk_op op;
    uint64_t sector;   /* the first */
    uint32_t count;    /* of sectors */
    void *data;        /* count sectors, to or from */
    uint32_t finished; /* set by the disk: sectors that are done, also when it ends in an error */
    /* May be called before disk_submit returns. */
    void (*done)(struct disk_request *r, enum disk_status status);
    void *opaque;
    bool pending; /* set by disk_submit, cleared before done is called */
};

/* Cylinders, heads, sectors: how systems that know no block addresses see a disk. */
struct disk_geometry {
    uint16_t cylinders; /* up to 16383 */
    uint8_t heads;      /* up to 16 */
    uint8_t sectors;    /* of a track, up to 63 */
};

struct disk;

struct disk_ops {
    /* Carries out a request that was checked, and ends it with disk_done. */
    void (*submit)(struct disk *d, struct disk_request *r);
    /* Forgets a pending request: neither r nor its data are touched afterwards. */
    void (*cancel)(struct disk *d, struct disk_request *r);
    void (*destroy)(struct disk *d);
};

struct disk {
    const struct disk_ops *ops;
    const char *name;
    uint64_t sectors;
    struct disk_geometry geometry;
    bool read_only;
};

/* Starts a request, whose op, sector, count, data, done and opaque are set. */
void disk_submit(struct disk *d, struct disk_request *r);
/* A request that is pending is none any more, and its done is not called. */
void disk_cancel(struct disk *d, struct disk_request *r);
/* For disk_ops: ends a request. */
void disk_done(struct disk_request *r, enum disk_status status);
static inline void disk_destroy(struct disk *d)
{
    if (d != NULL)
        d->ops->destroy(d);
}

/*
 * The geometry that the disk was partitioned for, if the partition table in its first sector
 * (NULL: it has none) tells one that an ATA disk can have; else as most disks of its size have it.
 */
struct disk_geometry disk_guess_geometry(const uint8_t *first_sector, uint64_t sectors);

#endif
