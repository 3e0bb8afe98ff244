/*
 * A disk whose contents are an image in memory that is never written to. What the guest writes is
 * kept beside it in chunks, made when they are first written, for as long as the disk lives.
 */
#ifndef DEVICES_DISK_COW_H
#define DEVICES_DISK_COW_H

#include "devices/device.h"
#include "devices/disk.h"

#define DISK_COW_CHUNK 4096u

/*
 * A disk over bytes at image, which stay there while it lives; a last sector that is not whole is
 * filled up with zeroes. NULL: no memory, or an image without a byte.
 */
struct disk *disk_cow_create(struct device_host *host, const char *name, const void *image,
                             uint64_t bytes, bool read_only);
/* How much memory the written chunks take, in bytes. */
uint64_t disk_cow_written(const struct disk *d);

#endif
