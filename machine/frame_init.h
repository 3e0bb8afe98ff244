/* Memory before and while the frame allocator comes up. Boot CPU only. */
#ifndef MACHINE_FRAME_INIT_H
#define MACHINE_FRAME_INIT_H

#include "lib/types.h"
#include "machine/memmap.h"

/* Reads the loader's memory map; ends with a fatal line when there is too little. */
void frame_early_init(void);
/* All RAM, as the loader has it; what modules and image occupy included. */
const struct memmap *frame_ram(void);
/* A zeroed page for a page table; below 4 GiB while the early page tables are in use. */
hpa_t frame_table_page(void);
/* Makes the frame table and the allocator. Needs the final page tables. */
void frame_init(void);
/* A page below 1 MiB for AP start-up code, or HPA(0). The same one on every call. */
hpa_t frame_low_page(void);

#endif
