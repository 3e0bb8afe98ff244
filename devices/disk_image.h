/* The image of a disk, as the configuration gives it: a boot module's bytes, which stay unchanged.
 */
#ifndef DEVICES_DISK_IMAGE_H
#define DEVICES_DISK_IMAGE_H

#include "lib/types.h"

struct disk_image {
    const uint8_t *data; /* NULL: no such disk */
    uint64_t size;       /* bytes */
    bool read_only;      /* writes are refused; else they are kept apart from data */
    bool cdrom;          /* sectors of 2048 bytes, behind ATAPI */
    const char *name;    /* of the boot module; lives as long as the machine */
};

/*
 * Where images are on the two IDE channels: primary master and slave, secondary master and slave.
 */
#define DISK_IMAGES 4

#endif
