/*
 * The hypervisor's address space. The layout, by PML4 entry:
 *
 *   0 to 255    nothing: no address of a guest or a NULL pointer means anything here
 *   256 to 383  direct map: RAM (and devices, where used) at DIRECT_MAP_BASE + physical address
 *   384         stacks, an unmapped page below each
 *   511         the image, at IMAGE_BASE + physical address
 *
 * Nothing is writable and executable, under any name: the image's text and read-only data are left
 * out of the direct map. Mappings are only ever added, so no CPU has to flush anything.
 * Source: SDM vol. 3 ch. 4 (paging), 12.12 (PAT).
 */
#include "lib/assert.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "machine/cpu.h"
#include "machine/frame.h"
#include "machine/frame_init.h"
#include "machine/image.h"
#include "machine/paging.h"

#define PTE_P     BIT(0)
#define PTE_RW    BIT(1)
#define PTE_PWT   BIT(3) /* PAT entry 1: write combining (machine/features.c) */
#define PTE_PCD   BIT(4) /* with PWT PAT entry 3: uncached */
#define PTE_LARGE BIT(7)
#define PTE_G     BIT(8)
#define PTE_NX    BIT(63)
#define PTE_ADDR  0x000ffffffffff000ull

#define MAP_TEXT        (PTE_P | PTE_G)
#define MAP_RODATA      (PTE_P | PTE_G | PTE_NX)
#define MAP_DATA        (PTE_P | PTE_G | PTE_NX | PTE_RW)
#define MAP_DEVICE      (MAP_DATA | PTE_PWT | PTE_PCD)
#define MAP_FRAMEBUFFER (MAP_DATA | PTE_PWT)

#define ENTRIES         512
#define TOP_LEVEL       4
#define STACKS_BASE     0xffffc00000000000ul
#define DIRECT_MAP_SIZE (STACKS_BASE - DIRECT_MAP_BASE)

extern uint64_t early_tables[][ENTRIES]; /* boot/entry.asm */

static hpa_t root;
static uint64_t stacks_next = STACKS_BASE;
static struct spinlock lock = SPINLOCK_INIT;

/* ------------------------------------------------------------ walking */

/* What one entry of a table of that level covers; level 1 holds the 4 KiB pages. */
static uint64_t level_size(unsigned level)
{
    return PAGE_SIZE << (9 * (level - 1));
}
static unsigned level_index(uint64_t va, unsigned level)
{
    return va / level_size(level) % ENTRIES;
}
static uint64_t *table_of(uint64_t entry)
{
    return hpa_ptr(HPA(entry & PTE_ADDR));
}
static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & PTE_LARGE);
}

bool paging_lookup(uint64_t va, hpa_t *pa)
{
    uint64_t entry = read_cr3();

    /* Not canonical: bits 63 to 47 differ. */
    if ((int64_t)(va << 16) >> 16 != (int64_t)va)
        return false;
    for (unsigned level = TOP_LEVEL; level >= 1; level--) {
        entry = table_of(entry)[level_index(va, level)];
        if (!(entry & PTE_P))
            return false;
        if (is_leaf(entry, level)) {
            uint64_t offset = va & (level_size(level) - 1);

            *pa = HPA((entry & PTE_ADDR & ~(level_size(level) - 1)) + offset);
            return true;
        }
    }
    return false;
}

static unsigned max_leaf_level(void)
{
    return cpuid(0x80000001, 0).edx & BIT(26) ? 3 : 2; /* 1 GiB pages */
}

/*
 * Maps one page at va, as large as address, size and what is there allow. Returns its size; where
 * something is mapped already, that stays as it is.
 */
static uint64_t map_one(uint64_t va, uint64_t pa, uint64_t size, uint64_t flags, unsigned max_leaf)
{
    uint64_t *table = hpa_ptr(root);

    for (unsigned level = TOP_LEVEL;; level--) {
        uint64_t *entry = &table[level_index(va, level)], page = level_size(level);

        if (*entry & PTE_P) {
            if (is_leaf(*entry, level))
                return page - (va & (page - 1));
        } else if (level <= max_leaf && ((va | pa) & (page - 1)) == 0 && size >= page) {
            *entry = pa | flags | (level > 1 ? PTE_LARGE : 0);
            return page;
        } else {
            *entry = frame_table_page().v | PTE_P | PTE_RW;
        }
        table = table_of(*entry);
    }
}

static void map(uint64_t va, uint64_t pa, uint64_t size, uint64_t flags)
{
    unsigned max_leaf = max_leaf_level();

    ASSERT(((va | pa | size) & PAGE_MASK) == 0);
    while (size > 0) {
        uint64_t done = MIN(map_one(va, pa, size, flags, max_leaf), size);

        va += done;
        pa += done;
        size -= done;
    }
}

/* Maps the pages that [start, start + size) touches at their direct-map address. */
static void *map_direct(hpa_t start, uint64_t size, uint64_t flags)
{
    uint64_t first = ALIGN_DOWN(start.v, PAGE_SIZE);

    ASSERT(size <= DIRECT_MAP_SIZE && start.v < DIRECT_MAP_SIZE - size);
    spin_lock(&lock);
    map(DIRECT_MAP_BASE + first, first, ALIGN_UP(start.v + size, PAGE_SIZE) - first, flags);
    spin_unlock(&lock);
    return hpa_ptr(start);
}

/* ------------------------------------------------------------ the final tables */

static void map_image(const char *start, const char *end, uint64_t flags)
{
    uint64_t first = (uintptr_t)start, last = ALIGN_UP((uintptr_t)end, PAGE_SIZE);

    map(first, first - IMAGE_BASE, last - first, flags);
}

static void map_ram(void)
{
    static struct memmap writable; /* too large for the stack */
    bool ok;

    writable = *frame_ram();
    ok = memmap_remove(&writable, (uintptr_t)image_start - IMAGE_BASE,
                       (uintptr_t)image_data_start - IMAGE_BASE);
    ASSERT(ok);
    for (unsigned i = 0; i < writable.n; i++) {
        const struct memmap_range *r = &writable.ranges[i];

        map(DIRECT_MAP_BASE + r->start, r->start, r->end - r->start, MAP_DATA);
    }
}

static void map_modules(void)
{
    const struct bootinfo *b = bootinfo();

    for (unsigned i = 0; i < b->nr_modules; i++)
        if (b->modules[i].size > 0)
            map_direct(b->modules[i].start, b->modules[i].size, MAP_DATA);
}

static void map_screen(void)
{
    const struct boot_framebuffer *fb = &bootinfo()->fb;

    if (fb->kind == BOOT_FB_RGB)
        map_direct(fb->base, (uint64_t)fb->pitch * fb->height, MAP_FRAMEBUFFER);
    else
        map_direct(HPA(0xb8000), KIB(32), MAP_DEVICE);
}

void paging_init(void)
{
    root = frame_table_page();
    map_image(image_start, image_text_end, MAP_TEXT);
    map_image(image_rodata_start, image_data_start, MAP_RODATA);
    map_image(image_data_start, image_end, MAP_DATA);
    map_ram();
    map_modules();
    map_screen();
    write_cr3(root.v);
}

uint64_t paging_cr3(void)
{
    return root.v;
}

hpa_t paging_hpa(const void *p)
{
    hpa_t pa = HPA(0);
    bool mapped = paging_lookup((uintptr_t)p, &pa);

    ASSERT(mapped);
    return pa;
}

/* ------------------------------------------------------------ later additions */

void *paging_map_device(hpa_t start, uint64_t size)
{
    return map_direct(start, size, MAP_DEVICE);
}

const void *paging_map_firmware(hpa_t start, uint64_t size)
{
    return map_direct(start, size, MAP_RODATA);
}

void *paging_map_framebuffer(hpa_t start, uint64_t size)
{
    return map_direct(start, size, MAP_FRAMEBUFFER);
}

void *paging_alloc_stack(unsigned pages)
{
    uint64_t top;

    spin_lock(&lock);
    stacks_next += PAGE_SIZE; /* the guard */
    for (unsigned i = 0; i < pages; i++) {
        mpn_t m = frame_alloc(0, FRAME_HYPERVISOR, FRAME_ZERO);

        if (mpn_is_none(m)) {
            spin_unlock(&lock);
            return NULL; /* what was mapped stays lost: out of memory at boot ends in fatal */
        }
        map(stacks_next, mpn_hpa(m).v, PAGE_SIZE, MAP_DATA);
        stacks_next += PAGE_SIZE;
    }
    top = stacks_next;
    spin_unlock(&lock);
    return (void *)top;
}

bool paging_is_stack_guard(uint64_t va)
{
    hpa_t pa;

    return va >= STACKS_BASE && va < stacks_next && !paging_lookup(va, &pa);
}

/* ------------------------------------------------------------ AP start-up */

/*
 * The early tables lie below 8 MiB and are free since paging_init. They become: a PML4 whose upper
 * half is that of the final one, and the path to one page.
 */
uint64_t paging_make_startup(hpa_t page)
{
    const uint64_t *final = hpa_ptr(root);
    unsigned table = 0;

    memset(early_tables, 0, 4 * PAGE_SIZE);
    memcpy(&early_tables[0][ENTRIES / 2], &final[ENTRIES / 2], PAGE_SIZE / 2);
    for (unsigned level = TOP_LEVEL; level > 1; level--, table++)
        early_tables[table][level_index(page.v, level)] =
            ((uintptr_t)early_tables[table + 1] - IMAGE_BASE) | PTE_P | PTE_RW;
    early_tables[table][level_index(page.v, 1)] = page.v | PTE_P;
    return (uintptr_t)early_tables[0] - IMAGE_BASE;
}

void paging_drop_startup(void)
{
    memset(early_tables, 0, 4 * PAGE_SIZE);
}
