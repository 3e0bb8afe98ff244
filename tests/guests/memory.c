/* RAM: the loader's map, every page of it with its own pattern, and what lies outside of it. */
#include "lib/guest.h"

#define TYPE_RAM  1
#define ONE_MIB   0x100000ul
#define FOUR_GIB  (1ul << 32)
#define HOLE      0xd0000000ul /* nobody's, with no PCI BAR set up there */
#define TEST_FROM 0x400000ul   /* clear of this kernel and of what the loader left */

static uint64_t ram_end; /* of the RAM that begins at 1 MiB */

static bool overlaps(const struct guest_memory *a, const struct guest_memory *b)
{
    return a->base < b->base + b->bytes && b->base < a->base + a->bytes;
}

static void check_map(void)
{
    bool overlap = false, low = false;
    uint64_t total = 0;

    for (unsigned i = 0; i < guest_nr_memory; i++) {
        const struct guest_memory *m = &guest_memory[i];

        console_print("info map-%u %#lx+%#lx type %u\n", i, m->base, m->bytes, m->type);
        for (unsigned j = 0; j < i; j++)
            overlap = overlap || overlaps(m, &guest_memory[j]);
        if (m->type != TYPE_RAM)
            continue;
        total += m->bytes;
        low = low || (m->base == 0 && m->bytes >= 0x80000);
        if (m->base <= ONE_MIB && m->base + m->bytes > ONE_MIB)
            ram_end = m->base + m->bytes;
    }
    CHECK("map-there", guest_nr_memory >= 2);
    CHECK("map-no-overlap", !overlap);
    CHECK("map-low-memory", low);
    CHECK("map-from-1m", ram_end > 8 * ONE_MIB);
    CHECK_EQ("map-agrees-with-mem-upper", guest_mem_upper, (ram_end - ONE_MIB) >> 10);
    CHECK("map-total", total >= ram_end - ONE_MIB);
    check_info("ram-end", ram_end);
}

static uint64_t pattern(uint64_t address, uint64_t salt)
{
    return (address ^ salt) * 0x9e3779b97f4a7c15ul;
}

/* Writes each stride's start and end, then looks at all of them again. */
static unsigned wrong_pages(uint64_t stride, uint64_t salt)
{
    unsigned wrong = 0;

    for (uint64_t a = TEST_FROM; a + stride <= ram_end; a += stride) {
        *(volatile uint64_t *)a = pattern(a, salt);
        *(volatile uint64_t *)(a + stride - 8) = pattern(a + 1, salt);
    }
    for (uint64_t a = TEST_FROM; a + stride <= ram_end; a += stride) {
        wrong += *(volatile uint64_t *)a != pattern(a, salt);
        wrong += *(volatile uint64_t *)(a + stride - 8) != pattern(a + 1, salt);
    }
    return wrong;
}

static void check_patterns(void)
{
    CHECK_EQ("every-2m", wrong_pages(LARGE_SIZE, 1), 0);
    CHECK_EQ("every-4k", wrong_pages(PAGE_SIZE, 2), 0);
    CHECK_EQ("every-4k-again", wrong_pages(PAGE_SIZE, 3), 0);
}

/* All bits of one page, and the sizes of access on it. */
static void check_page(void)
{
    volatile uint8_t *p = (volatile uint8_t *)TEST_FROM;
    unsigned wrong = 0;

    for (unsigned i = 0; i < PAGE_SIZE; i++)
        p[i] = (uint8_t)(i * 7);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        wrong += p[i] != (uint8_t)(i * 7);
    CHECK_EQ("every-byte", wrong, 0);
    *(volatile uint64_t *)p = 0x8877665544332211;
    CHECK_EQ("byte-order", p[0] << 8 | p[7], 0x1188);
    *(volatile uint64_t *)(p + PAGE_SIZE - 3) = 0x0123456789abcdef;
    CHECK_EQ("page-crossing", *(volatile uint64_t *)(p + PAGE_SIZE - 3), 0x0123456789abcdef);
    CHECK_EQ("page-crossing-second", p[PAGE_SIZE], 0x89);
    *(volatile uint64_t *)(p + LARGE_SIZE - 3) = 0x0123456789abcdef;
    CHECK_EQ("large-page-crossing", *(volatile uint64_t *)(p + LARGE_SIZE - 3), 0x0123456789abcdef);
}

static void check_hole(const char *reads, const char *drops, uint64_t address)
{
    volatile uint64_t *p = (volatile uint64_t *)address;

    CHECK_EQ(reads, *p, ~0ul);
    *p = 0;
    CHECK_EQ(drops, *p, ~0ul);
}

static void check_outside(void)
{
    volatile uint8_t *hole = (volatile uint8_t *)HOLE;

    check_hole("hole-reads-ones", "hole-drops-writes", HOLE);
    check_hole("above-ram-reads-ones", "above-ram-drops-writes", ram_end + 16 * ONE_MIB);
    CHECK_EQ("hole-8", hole[3], 0xff);
    CHECK_EQ("hole-16", *(volatile uint16_t *)(hole + 1), 0xffff);
    CHECK_EQ("hole-32-page-crossing", *(volatile uint32_t *)(hole + PAGE_SIZE - 2), 0xffffffff);
    asm volatile("lock incl (%0)" : : "r"(hole) : "memory", "cc");
    CHECK_EQ("hole-locked", *(volatile uint32_t *)hole, 0xffffffff);
}

/* ROM between 0xF0000 and 1 MiB takes no writes where the firmware left it so. */
static void check_low(void)
{
    volatile uint8_t *p = (volatile uint8_t *)0x50000;
    uint8_t old = *p;

    *p = 0x5a;
    CHECK_EQ("low-memory", *p, 0x5a);
    *p = old;
    check_info("reset-vector", *(volatile uint8_t *)0xffff0);
}

void guest_main(void)
{
    check_group(check_map);
    check_group(check_patterns);
    check_group(check_page);
    check_group(check_outside);
    check_group(check_low);
}
