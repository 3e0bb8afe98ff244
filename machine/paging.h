/* The hypervisor's own address space: W^X, guard pages, nothing at 0. */
#ifndef MACHINE_PAGING_H
#define MACHINE_PAGING_H

#include "lib/types.h"

/* The image is linked at this address plus its physical address (boot/tithe.ld). */
#define IMAGE_BASE 0xffffffff80000000ul

/* Builds the final page tables and switches the boot CPU to them. */
void paging_init(void);
/* Memory that firmware has filled (tables): cached, read-only, at its direct-map address. */
const void *paging_map_firmware(hpa_t start, uint64_t size);
/* A linear frame buffer: write combining, at its direct-map address. */
void *paging_map_framebuffer(hpa_t start, uint64_t size);
/* Whether va is mapped in the current page tables; *pa is where it leads to. */
bool paging_lookup(uint64_t va, hpa_t *pa);
/* Whether va lies in the unmapped page below some stack. */
bool paging_is_stack_guard(uint64_t va);
/*
 * Page tables for AP start-up: the hypervisor's, and page mapped one to one (readable,
 * executable). CR3 is below 4 GiB. Valid until paging_drop_startup.
 */
uint64_t paging_make_startup(hpa_t page);
void paging_drop_startup(void);

/* Device memory, uncached, at its direct-map address; maps it on first use. Never executable. */
void *paging_map_device(hpa_t start, uint64_t size);
/* A stack of pages pages with an unmapped guard page below it; returns its top, or NULL. */
void *paging_alloc_stack(unsigned pages);
/* The CR3 value that every CPU uses. */
uint64_t paging_cr3(void);
/* Host-physical address of a hypervisor object (image or direct map). */
hpa_t paging_hpa(const void *p);

#endif
