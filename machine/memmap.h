/* A set of byte ranges of physical memory: sorted, disjoint, whole pages. Also builds on the host.
 */
#ifndef MACHINE_MEMMAP_H
#define MACHINE_MEMMAP_H

#include "lib/types.h"
#include "machine/bootinfo.h"

#define MEMMAP_MAX (2 * (BOOT_MAX_RANGES + BOOT_MAX_MODULES))

struct memmap {
    struct memmap_range {
        uint64_t start, end;
    } ranges[MEMMAP_MAX];
    unsigned n;
};

/* Adds the whole pages inside [start, end); false when the table is full. */
MUST_CHECK bool memmap_add(struct memmap *m, uint64_t start, uint64_t end);
/* Takes out every page that [start, end) touches; false when the table is full. */
MUST_CHECK bool memmap_remove(struct memmap *m, uint64_t start, uint64_t end);
/*
 * Takes size bytes (whole pages), aligned to align, from the end of the largest range below limit;
 * UINT64_MAX when there is no such range.
 */
uint64_t memmap_take(struct memmap *m, uint64_t size, uint64_t align, uint64_t limit);
uint64_t memmap_size(const struct memmap *m);
/* All RAM that the loader calls usable and nothing else claims. */
MUST_CHECK bool memmap_usable(struct memmap *m, const struct bootinfo *b, uint64_t limit);

#endif
