/*
 * Kernels with a Multiboot header (Multiboot specification 0.6.96): ELF files, or any file whose
 * header tells the addresses. They start in 32-bit protected mode without paging.
 */
#include <linux/elf.h>

#include "lib/checked.h"
#include "lib/string.h"
#include "vm/load_common.h"

#define HEADER_MAGIC  0x1badb002u
#define LOADED_MAGIC  0x2badb002u /* in EAX at the start */
#define HEADER_SEARCH 8192u       /* the header is within so much of the file's start */

/* Header flags. Of those below 16, a loader must know each that is set. */
#define FLAG_PAGE_ALIGN BIT(0)
#define FLAG_MEMORY     BIT(1)
#define FLAG_VIDEO      BIT(2) /* a wish: the information tells whether it was granted */
#define FLAG_ADDRESSES  BIT(16)
#define FLAGS_MUST_KNOW 0xffffu
#define FLAGS_KNOWN     (FLAG_PAGE_ALIGN | FLAG_MEMORY | FLAG_VIDEO)

struct header {
    uint32_t magic, flags, checksum;
    /* With FLAG_ADDRESSES: */
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

/* The Multiboot information, up to the last field that we give. */
struct info {
    uint32_t flags;
    uint32_t mem_lower, mem_upper; /* KiB */
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr;
    uint32_t drives_length, drives_addr;
    uint32_t config_table;
    uint32_t boot_loader_name;
};
#define INFO_MEMORY  BIT(0)
#define INFO_CMDLINE BIT(2)
#define INFO_MODS    BIT(3)
#define INFO_MMAP    BIT(6)
#define INFO_LOADER  BIT(9)

struct mmap_entry {
    uint32_t size; /* of what follows */
    uint64_t addr, len;
    uint32_t type;
} __attribute__((packed));
#define MMAP_AVAILABLE 1
#define MMAP_RESERVED  2

struct module {
    uint32_t start, end, string, reserved;
};

/* Where the information is in guest memory, all below 640 KiB. */
#define INFO_AT     0x2000ul
#define MMAP_AT     0x2100ul
#define MODULE_AT   0x2200ul
#define LOADER_AT   0x2300ul
#define MOD_NAME_AT 0x2400ul
#define CMDLINE_AT  0x3000ul
#define CMDLINE_MAX 0x10000ul

#define MAX_SEGMENTS 64 /* a kernel has a handful */

/* A loadable piece of a file, from an ELF program header of either class, or the header. */
struct segment {
    uint64_t offset, file_size; /* in the file */
    uint64_t at, memory_size;   /* in guest memory; what the file does not fill is zero */
};

/* A part of the file, copied out; false when it is not in the file. */
static bool file_read(const struct load *l, uint64_t offset, void *to, size_t n)
{
    if (!checked_range(offset, n, l->r->kernel_size))
        return false;
    memcpy(to, (const uint8_t *)l->r->kernel + offset, n);
    return true;
}

/* Finds the header: 4-byte aligned, with a checksum that fits. Its offset, or -1. */
static int64_t find_header(const struct load *l, struct header *h)
{
    const size_t basic = offsetof(struct header, header_addr);

    for (uint64_t at = 0; at + basic <= HEADER_SEARCH && file_read(l, at, h, basic); at += 4)
        if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
            return (int64_t)at;
    return -1;
}

bool load_is_multiboot(const void *kernel, size_t size)
{
    struct load_request r = {.kernel = kernel, .kernel_size = size};
    struct load l = {.r = &r};
    struct header h;

    return find_header(&l, &h) >= 0;
}

/* Puts a segment where it belongs, which must be RAM from 1 MiB on. */
static int load_segment(struct load *l, const struct segment *s)
{
    char memory[LOAD_SIZE_TEXT];
    int err;

    if (s->file_size > s->memory_size || !checked_range(s->offset, s->file_size, l->r->kernel_size))
        return load_fail(l, E_BADFMT, "kernel: truncated or damaged, a segment is not in the file");
    if (s->at < GUEST_HIGH_START || !checked_range(s->at, s->memory_size, l->low_end))
        return load_fail(l, E_NOSPC,
                         "kernel wants 0x%lx bytes at 0x%lx, the VM has memory from 1 MiB to %s",
                         s->memory_size, s->at, load_size_text(memory, l->low_end));
    err = load_write(l, s->at, (const uint8_t *)l->r->kernel + s->offset, s->file_size);
    if (err != 0)
        return err;
    l->kernel_end = MAX(l->kernel_end, s->at + s->memory_size);
    return load_zero(l, s->at + s->file_size, s->memory_size - s->file_size);
}

/* The kernel's header tells where it goes ("a.out kludge"). */
static int load_by_header(struct load *l, uint64_t header_offset, uint64_t *entry)
{
    struct segment s;
    struct header h;

    if (!file_read(l, header_offset, &h, sizeof(h)))
        return load_fail(l, E_BADFMT, "kernel: truncated in its Multiboot header");
    if (h.load_addr > h.header_addr || h.header_addr - h.load_addr > header_offset)
        return load_fail(l, E_BADFMT, "kernel: its Multiboot header has impossible addresses");
    s.at = h.load_addr;
    s.offset = header_offset - (h.header_addr - h.load_addr);
    s.file_size = l->r->kernel_size - s.offset;
    if (h.load_end_addr != 0)
        s.file_size =
            (uint64_t)h.load_end_addr - h.load_addr; /* wraps when it is before: refused */
    s.memory_size = s.file_size;
    if (h.bss_end_addr != 0)
        s.memory_size = (uint64_t)h.bss_end_addr - h.load_addr;
    if (h.entry_addr < s.at || h.entry_addr - s.at >= s.memory_size)
        return load_fail(l, E_BADFMT, "kernel: it starts at 0x%x, where nothing is loaded",
                         h.entry_addr);
    *entry = h.entry_addr;
    return load_segment(l, &s);
}

/* What we need of an ELF header and program header, of either class. */
struct elf {
    bool is_64bit;
    uint64_t entry, phoff;
    uint64_t phentsize, phnum;
};
struct elf_segment {
    uint32_t type;
    uint64_t vaddr;
    struct segment s;
};

static bool elf_read_header(const struct load *l, struct elf *e)
{
    unsigned char ident[EI_NIDENT];
    Elf32_Ehdr h32;
    Elf64_Ehdr h64;

    if (!file_read(l, 0, ident, sizeof(ident)) || memcmp(ident, ELFMAG, SELFMAG) != 0 ||
        ident[EI_DATA] != ELFDATA2LSB)
        return false;
    e->is_64bit = ident[EI_CLASS] == ELFCLASS64;
    if (e->is_64bit) {
        if (!file_read(l, 0, &h64, sizeof(h64)) || h64.e_machine != EM_X86_64)
            return false;
        *e = (struct elf){true, h64.e_entry, h64.e_phoff, h64.e_phentsize, h64.e_phnum};
        return h64.e_phentsize >= sizeof(Elf64_Phdr);
    }
    if (!file_read(l, 0, &h32, sizeof(h32)) || h32.e_machine != EM_386)
        return false;
    *e = (struct elf){false, h32.e_entry, h32.e_phoff, h32.e_phentsize, h32.e_phnum};
    return h32.e_phentsize >= sizeof(Elf32_Phdr);
}

static bool elf_read_segment(const struct load *l, const struct elf *e, unsigned i,
                             struct elf_segment *es)
{
    uint64_t at;
    Elf32_Phdr p32;
    Elf64_Phdr p64;

    if (!checked_add(e->phoff, i * e->phentsize, &at))
        return false;
    if (e->is_64bit) {
        if (!file_read(l, at, &p64, sizeof(p64)))
            return false;
        *es = (struct elf_segment){
            p64.p_type, p64.p_vaddr, {p64.p_offset, p64.p_filesz, p64.p_paddr, p64.p_memsz}};
        return true;
    }
    if (!file_read(l, at, &p32, sizeof(p32)))
        return false;
    *es = (struct elf_segment){
        p32.p_type, p32.p_vaddr, {p32.p_offset, p32.p_filesz, p32.p_paddr, p32.p_memsz}};
    return true;
}

/* Loads an ELF file; *entry is the physical address of its entry point. */
static int load_elf(struct load *l, uint64_t *entry)
{
    struct elf_segment es;
    bool found = false;
    struct elf e;
    int err;

    if (!elf_read_header(l, &e))
        return load_fail(l, E_BADFMT,
                         "kernel: not an x86 ELF file, and its Multiboot header has no addresses");
    if (e.phnum > MAX_SEGMENTS)
        return load_fail(l, E_BADFMT, "kernel: %lu program headers are too many (at most %u)",
                         e.phnum, MAX_SEGMENTS);
    for (unsigned i = 0; i < e.phnum; i++) {
        if (!elf_read_segment(l, &e, i, &es))
            return load_fail(l, E_BADFMT,
                             "kernel: truncated or damaged, program header %u is not "
                             "in the file",
                             i);
        if (es.type != PT_LOAD || es.s.memory_size == 0)
            continue;
        err = load_segment(l, &es.s);
        if (err != 0)
            return err;
        if (e.entry >= es.vaddr && e.entry - es.vaddr < es.s.memory_size) {
            *entry = e.entry - es.vaddr + es.s.at;
            found = true;
        }
    }
    return found ? 0
                 : load_fail(l, E_BADFMT, "kernel: it starts at 0x%lx, where nothing is loaded",
                             e.entry);
}

static int load_kernel(struct load *l, uint64_t *entry)
{
    struct header h;
    int64_t at = find_header(l, &h);

    if (at < 0)
        return load_fail(l, E_BADFMT, "kernel: no Multiboot header");
    if (h.flags & FLAGS_MUST_KNOW & ~FLAGS_KNOWN)
        return load_fail(l, E_BADFMT, "kernel: its Multiboot header needs unknown features (0x%lx)",
                         (unsigned long)(h.flags & FLAGS_MUST_KNOW & ~FLAGS_KNOWN));
    return h.flags & FLAG_ADDRESSES ? load_by_header(l, (uint64_t)at, entry) : load_elf(l, entry);
}

static int write_mmap(const struct load *l, struct info *info)
{
    struct guest_region regions[GUEST_MAX_REGIONS];
    unsigned n = guest_ram_regions(l->r->memory->ram_bytes, regions);
    struct mmap_entry map[GUEST_MAX_REGIONS];

    for (unsigned i = 0; i < n; i++)
        map[i] = (struct mmap_entry){sizeof(map[0]) - sizeof(map[0].size), regions[i].start.v,
                                     regions[i].size,
                                     regions[i].usable ? MMAP_AVAILABLE : MMAP_RESERVED};
    info->flags |= INFO_MEMORY | INFO_MMAP;
    info->mem_lower = GUEST_BASE_RAM_END / 1024;
    info->mem_upper = (uint32_t)((l->low_end - GUEST_HIGH_START) / 1024);
    info->mmap_addr = MMAP_AT;
    info->mmap_length = (uint32_t)(n * sizeof(map[0]));
    return load_write(l, MMAP_AT, map, info->mmap_length);
}

/* The initrd becomes the one module. */
static int write_module(const struct load *l, struct info *info)
{
    struct module module = {.string = MOD_NAME_AT};
    uint64_t start;
    int err = load_initrd(l, l->low_end, &start);

    info->flags |= INFO_MODS;
    if (err != 0 || start == 0)
        return err;
    info->mods_count = 1;
    info->mods_addr = MODULE_AT;
    module.start = (uint32_t)start;
    module.end = (uint32_t)(start + l->r->initrd_size);
    err = load_write(l, MOD_NAME_AT, "initrd", sizeof("initrd"));
    return err != 0 ? err : load_write(l, MODULE_AT, &module, sizeof(module));
}

static int write_strings(const struct load *l, struct info *info)
{
    static const char loader[] = "Tithe";
    size_t n = strlen(l->r->cmdline) + 1;
    int err;

    if (n > CMDLINE_MAX)
        return load_fail(l, E_RANGE, "command line of %lu bytes is too long (at most %lu)", n - 1,
                         CMDLINE_MAX - 1);
    info->flags |= INFO_CMDLINE | INFO_LOADER;
    info->cmdline = CMDLINE_AT;
    info->boot_loader_name = LOADER_AT;
    err = load_write(l, CMDLINE_AT, l->r->cmdline, n);
    return err != 0 ? err : load_write(l, LOADER_AT, loader, sizeof(loader));
}

static int write_info(const struct load *l)
{
    struct info info;
    int err;

    memset(&info, 0, sizeof(info));
    err = write_mmap(l, &info);
    if (err == 0)
        err = write_module(l, &info);
    if (err == 0)
        err = write_strings(l, &info);
    return err != 0 ? err : load_write(l, INFO_AT, &info, sizeof(info));
}

int load_multiboot(const struct load_request *r, struct entry_state *entry, char *why, size_t size)
{
    struct load l = {
        .r = r, .low_end = guest_low_ram_end(r->memory->ram_bytes), .why = why, .why_size = size};
    uint64_t start = 0;
    int err = load_kernel(&l, &start);

    if (err == 0)
        err = write_info(&l);
    if (err == 0)
        err = load_segments(&l, entry, ENTRY_CODE32);
    if (err != 0)
        return err;
    entry->rip = start;
    entry->gpr[ENTRY_RAX] = LOADED_MAGIC;
    entry->gpr[ENTRY_RBX] = INFO_AT;
    return 0;
}
