/* The hypervisor's own address space: W^X, guard pages, nothing at 0. */
#ifndef MACHINE_PAGING_H
#define MACHINE_PAGING_H

#include "lib/types.h"

/* Device memory, uncached, at its direct-map address; maps it on first use. Never executable. */
void *paging_map_device(hpa_t start, uint64_t size);
/* A stack of pages pages with an unmapped guard page below it; returns its top, or NULL. */
void *paging_alloc_stack(unsigned pages);
/* The CR3 value that every CPU uses. */
uint64_t paging_cr3(void);
/* Host-physical address of a hypervisor object (image or direct map). */
hpa_t paging_hpa(const void *p);

#endif
