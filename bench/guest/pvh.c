/* The memory map of a PVH guest (Xen, include/public/arch-x86/hvm/start_info.h). */
#include "bench.h"

#define START_INFO_MAGIC 0x336ec578u

struct start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modules, cmdline, rsdp;
    /* From version 1 on: */
    uint64_t memmap;
    uint32_t memmap_entries, reserved;
};

struct memmap_entry {
    uint64_t address, size;
    uint32_t type, reserved;
};

extern const uint64_t pvh_info; /* pvh.asm */

void pvh_read_memory(void)
{
    const struct start_info *info = (const void *)pvh_info;
    const struct memmap_entry *map;

    if (info == NULL || info->magic != START_INFO_MAGIC || info->version < 1)
        return;
    map = (const void *)info->memmap;
    for (unsigned i = 0; i < info->memmap_entries && guest_nr_memory < GUEST_MAX_MEMORY; i++)
        guest_memory[guest_nr_memory++] =
            (struct guest_memory){map[i].address, map[i].size, map[i].type};
}
