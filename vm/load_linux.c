/*
 * Linux, by its x86 boot protocol (Documentation/x86/boot.rst): a bzImage is started at its 64-bit
 * entry point, or at the 32-bit one when it has no other.
 */
#include <asm/bootparam.h>

#include "lib/checked.h"
#include "lib/string.h"
#include "vm/load_common.h"

/* Where the protocol's structures are in guest memory, all below 640 KiB. */
#define PAGE_TABLES 0x2000ul /* PML4, PDPT, and four page directories */
#define BOOT_PARAMS 0x10000ul
#define CMDLINE     0x20000ul
#define CMDLINE_MAX 0x10000ul

#define HEADER_OFFSET  offsetof(struct boot_params, hdr)
#define HEADER_END_REF 0x201       /* the byte after this one plus its value is the header's end */
#define HEADER_MAGIC   0x53726448u /* "HdrS" */
#define BOOT_FLAG      0xaa55

#define VERSION_OLDEST     0x206 /* Linux 2.6.22: it says how long a command line may be */
#define VERSION_INIT_SIZE  0x20a /* pref_address and init_size */
#define VERSION_XLOADFLAGS 0x20c

#define LOADER_UNDEFINED 0xff
#define ENTRY64_OFFSET   0x200
#define SECTOR           512u
#define E820_RAM         1
#define E820_RESERVED    2

/* Page table entries and control registers (SDM vol. 3 sections 2.5 and 4.5). */
#define PTE_PRESENT BIT(0)
#define PTE_WRITE   BIT(1)
#define PTE_LARGE   BIT(7)
#define CR0_PG      BIT(31)
#define CR4_PAE     BIT(5)
#define EFER_LME    BIT(8)
#define EFER_LMA    BIT(10)

/* A kernel whose header was checked. */
struct image {
    struct setup_header header; /* as it will be handed to the kernel */
    const uint8_t *code;        /* the protected-mode part, in the file */
    uint64_t code_size;
    uint64_t load_at;
    bool is_64bit;
};

bool load_is_linux(const void *kernel, size_t size)
{
    struct setup_header h;

    if (size < HEADER_OFFSET + sizeof(h))
        return false;
    memcpy(&h, (const uint8_t *)kernel + HEADER_OFFSET, sizeof(h));
    return h.boot_flag == BOOT_FLAG && h.header == HEADER_MAGIC;
}

/* The header as far as the file has one; what its version does not have is zero. */
static int read_header(const struct load *l, struct image *image)
{
    const uint8_t *file = l->r->kernel;
    struct setup_header *h = &image->header;
    size_t end;

    if (!load_is_linux(file, l->r->kernel_size))
        return load_fail(l, E_BADFMT, "kernel: not a Linux bzImage");
    end = HEADER_END_REF + 1 + file[HEADER_END_REF];
    memset(h, 0, sizeof(*h));
    memcpy(h, file + HEADER_OFFSET, MIN(end - HEADER_OFFSET, sizeof(*h)));
    if (h->version < VERSION_OLDEST)
        return load_fail(l, E_BADFMT,
                         "kernel: boot protocol %u.%02u is too old, 2.06 (Linux 2.6.22) is needed",
                         h->version >> 8, h->version & 0xffu);
    if (!(h->loadflags & LOADED_HIGH))
        return load_fail(l, E_BADFMT, "kernel: a zImage, not a bzImage");
    image->is_64bit = h->version >= VERSION_XLOADFLAGS && (h->xloadflags & XLF_KERNEL_64);
    return 0;
}

/* Finds the protected-mode code behind the real-mode part. */
static int find_code(const struct load *l, struct image *image)
{
    const struct setup_header *h = &image->header;
    uint64_t sectors = h->setup_sects == 0 ? 4 : h->setup_sects; /* 0 means 4, by the protocol */
    uint64_t start = (sectors + 1) * SECTOR;
    uint64_t size = (uint64_t)h->syssize * 16;

    if (size <= ENTRY64_OFFSET)
        return load_fail(l, E_BADFMT, "kernel: its header says that it has no code");
    if (!checked_range(start, size, l->r->kernel_size))
        return load_fail(l, E_BADFMT, "kernel: truncated, it has %lu of %lu bytes",
                         (uint64_t)l->r->kernel_size, start + size);
    image->code = (const uint8_t *)l->r->kernel + start;
    image->code_size = size;
    return 0;
}

/*
 * Where the kernel goes: where it prefers to be. A relocatable one would run at any higher address
 * too, but none is better, and below that address it moves itself up again.
 */
static int place_kernel(struct load *l, struct image *image)
{
    const struct setup_header *h = &image->header;
    bool has_size = h->version >= VERSION_INIT_SIZE;
    uint64_t at = has_size ? h->pref_address : GUEST_HIGH_START;
    uint64_t needs = MAX(image->code_size, has_size ? h->init_size : 0);
    char size[LOAD_SIZE_TEXT], start[LOAD_SIZE_TEXT], memory[LOAD_SIZE_TEXT];

    if (at < GUEST_HIGH_START)
        at = GUEST_HIGH_START;
    if (h->relocatable_kernel && at < GIB(4)) {
        if (h->kernel_alignment == 0 || (h->kernel_alignment & (h->kernel_alignment - 1)) != 0)
            return load_fail(l, E_BADFMT, "kernel: alignment 0x%x is not a power of two",
                             h->kernel_alignment);
        at = ALIGN_UP(at, (uint64_t)h->kernel_alignment);
    }
    if (!checked_range(at, needs, l->low_end))
        return load_fail(l, E_NOSPC, "kernel needs %s from %s on, the VM has %s of memory",
                         load_size_text(size, needs), load_size_text(start, at),
                         load_size_text(memory, l->low_end));
    image->load_at = at;
    l->kernel_end = at + needs;
    return load_write(l, at, image->code, image->code_size);
}

static int write_cmdline(const struct load *l, struct image *image)
{
    uint64_t max = MIN((uint64_t)image->header.cmdline_size, CMDLINE_MAX - 1);
    size_t n = strlen(l->r->cmdline);

    if (n > max)
        return load_fail(l, E_RANGE, "command line of %lu bytes is too long, the kernel takes %lu",
                         n, max);
    image->header.cmd_line_ptr = CMDLINE;
    return load_write(l, CMDLINE, l->r->cmdline, n + 1);
}

static int write_initrd(const struct load *l, struct image *image)
{
    uint64_t start;
    int err = load_initrd(l, (uint64_t)image->header.initrd_addr_max + 1, &start);

    if (err != 0)
        return err;
    image->header.ramdisk_image = (uint32_t)start;
    image->header.ramdisk_size = start == 0 ? 0 : (uint32_t)l->r->initrd_size;
    return 0;
}

static int write_e820(const struct load *l)
{
    struct guest_region regions[GUEST_MAX_REGIONS];
    uint8_t n = (uint8_t)guest_ram_regions(l->r->memory->ram_bytes, regions);
    struct boot_e820_entry map[GUEST_MAX_REGIONS];
    int err;

    for (unsigned i = 0; i < n; i++)
        map[i] = (struct boot_e820_entry){regions[i].start.v, regions[i].size,
                                          regions[i].usable ? E820_RAM : E820_RESERVED};
    err = load_write(l, BOOT_PARAMS + offsetof(struct boot_params, e820_entries), &n, 1);
    if (err != 0)
        return err;
    return load_write(l, BOOT_PARAMS + offsetof(struct boot_params, e820_table), map,
                      n * sizeof(map[0]));
}

/* The "zero page". It is written in pieces: at 4 KiB it is too large for the stack. */
static int write_boot_params(const struct load *l, struct image *image)
{
    struct setup_header *h = &image->header;
    uint64_t rsdp = l->r->rsdp.v;
    int err;

    h->type_of_loader = LOADER_UNDEFINED;
    h->code32_start = (uint32_t)image->load_at;
    h->setup_data = 0;
    err = load_zero(l, BOOT_PARAMS, sizeof(struct boot_params));
    if (err == 0)
        err = load_write(l, BOOT_PARAMS + HEADER_OFFSET, h, sizeof(*h));
    if (err == 0)
        err = load_write(l, BOOT_PARAMS + offsetof(struct boot_params, acpi_rsdp_addr), &rsdp,
                         sizeof(rsdp));
    return err != 0 ? err : write_e820(l);
}

/* Identity mapping of the low 4 GiB with 2 MiB pages; every CPU with long mode has those. */
static int write_page_tables(const struct load *l)
{
    const uint64_t pml4 = PAGE_TABLES, pdpt = pml4 + PAGE_SIZE, directories = pdpt + PAGE_SIZE;
    const uint64_t flags = PTE_PRESENT | PTE_WRITE;
    uint64_t entries[64], address = 0;
    int err = load_zero(l, pml4, 2 * PAGE_SIZE);

    entries[0] = pdpt | flags;
    if (err == 0)
        err = load_write(l, pml4, entries, sizeof(entries[0]));
    for (unsigned i = 0; i < 4; i++)
        entries[i] = (directories + i * PAGE_SIZE) | flags;
    if (err == 0)
        err = load_write(l, pdpt, entries, 4 * sizeof(entries[0]));
    for (uint64_t at = directories; err == 0 && at < directories + 4 * PAGE_SIZE;
         at += sizeof(entries)) {
        for (unsigned i = 0; i < ARRAY_SIZE(entries); i++, address += LARGE_SIZE)
            entries[i] = address | PTE_LARGE | flags;
        err = load_write(l, at, entries, sizeof(entries));
    }
    return err;
}

static int set_entry(const struct load *l, const struct image *image, struct entry_state *entry)
{
    int err = load_segments(l, entry, image->is_64bit ? ENTRY_CODE64 : ENTRY_CODE32);

    if (err != 0)
        return err;
    entry->rip = image->load_at;
    entry->gpr[ENTRY_RSI] = BOOT_PARAMS;
    if (!image->is_64bit)
        return 0;
    entry->rip += ENTRY64_OFFSET;
    entry->cr0 |= CR0_PG;
    entry->cr3 = PAGE_TABLES;
    entry->cr4 = CR4_PAE;
    entry->efer = EFER_LME | EFER_LMA;
    return write_page_tables(l);
}

int load_linux(const struct load_request *r, struct entry_state *entry, char *why, size_t size)
{
    struct load l = {
        .r = r, .low_end = guest_low_ram_end(r->memory->ram_bytes), .why = why, .why_size = size};
    struct image image;
    int err = read_header(&l, &image);

    if (err == 0)
        err = find_code(&l, &image);
    if (err == 0)
        err = place_kernel(&l, &image);
    if (err == 0)
        err = write_cmdline(&l, &image);
    if (err == 0)
        err = write_initrd(&l, &image);
    if (err == 0)
        err = write_boot_params(&l, &image);
    return err != 0 ? err : set_entry(&l, &image, entry);
}
