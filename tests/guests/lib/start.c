/* From the boot stub to guest_main: console, traps, interrupts, and the loader's word. */
#include "guest.h"

#define MULTIBOOT_LOADED 0x2badb002
#define INFO_MEMORY      BIT(0)
#define INFO_CMDLINE     BIT(2)
#define INFO_MMAP        BIT(6)

/* Multiboot 1 information, as far as it is used. */
struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr;
};

struct multiboot_mmap {
    uint32_t size; /* of what follows */
    uint64_t base, bytes;
    uint32_t type;
} __attribute__((packed));

struct guest_memory guest_memory[GUEST_MAX_MEMORY];
unsigned guest_nr_memory;
uint32_t guest_mem_lower, guest_mem_upper;
char guest_cmdline[128];

static void copy_mmap(const struct multiboot_info *info)
{
    uint64_t p = info->mmap_addr, end = p + info->mmap_length;

    while (p < end && guest_nr_memory < GUEST_MAX_MEMORY) {
        const struct multiboot_mmap *m = (const void *)p;

        guest_memory[guest_nr_memory++] = (struct guest_memory){m->base, m->bytes, m->type};
        p += m->size + sizeof(m->size);
    }
}

static void copy_info(const struct multiboot_info *info)
{
    if (info->flags & INFO_MEMORY) {
        guest_mem_lower = info->mem_lower;
        guest_mem_upper = info->mem_upper;
    }
    if (info->flags & INFO_CMDLINE)
        (void)string_copy(guest_cmdline, sizeof(guest_cmdline),
                          (const char *)(uint64_t)info->cmdline);
    if (info->flags & INFO_MMAP)
        copy_mmap(info);
}

void guest_start(uint32_t magic, uint32_t info);
void guest_start(uint32_t magic, uint32_t info)
{
    console_init();
    segment_init();
    trap_init();
    mode32_init();
    pic_init();
    if (magic == MULTIBOOT_LOADED)
        copy_info((const struct multiboot_info *)(uint64_t)info);
    guest_main();
    check_finish();
}
