/*
 * The buddy allocator against a simple model, and the memory map. machine/ is not built for the
 * host as a whole, so the files under test are included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include "machine/buddy.c"
#include "machine/memmap.c"
#include "tests/unit/random.h"

#define FRAMES     5000 /* not a power of two: the last blocks are odd ones */
#define MAX_BLOCKS 2000

static struct random rnd = {1};

/* The model: who has each frame, and whether it is all zeroes. */
struct model {
    struct buddy b;
    uint8_t owner[FRAMES];
    bool zero[FRAMES];
    struct {
        uint32_t at;
        unsigned order;
    } blocks[MAX_BLOCKS];
    unsigned n;
};

/* Holes: frame 0, and some in the middle. */
static const struct {
    uint32_t start, end;
} given[] = {{1, 1000}, {1003, 1024}, {1025, 4096}, {4097, FRAMES}};

static struct model *make_model(void)
{
    struct model *m = calloc(1, sizeof(*m));

    buddy_init(&m->b, calloc(FRAMES, sizeof(struct frame)), FRAMES);
    for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
        buddy_add(&m->b, given[i].start, given[i].end, FRAME_FREE);
        memset(m->owner + given[i].start, FRAME_FREE, given[i].end - given[i].start);
    }
    buddy_audit(&m->b);
    return m;
}

static void free_model(struct model *m)
{
    free(m->b.frames);
    free(m);
}

static bool model_alloc(struct model *m, unsigned order, bool want_clean)
{
    bool clean = false;
    uint32_t at = buddy_alloc(&m->b, order, FRAME_GUEST, want_clean, &clean);

    if (at == BUDDY_NONE)
        return false;
    assert_int_equal(at % BIT(order), 0);
    assert_int_equal(m->b.frames[at].owner, FRAME_GUEST);
    for (uint32_t i = at; i < at + BIT(order); i++) {
        assert_int_equal(m->owner[i], FRAME_FREE);
        assert_int_equal(m->b.frames[i].order, i == at ? order : BUDDY_INSIDE);
        if (clean)
            assert_true(m->zero[i]);
        m->owner[i] = FRAME_GUEST;
        m->zero[i] = false;
    }
    m->blocks[m->n].at = at;
    m->blocks[m->n++].order = order;
    return true;
}

static void model_free(struct model *m, unsigned which)
{
    uint32_t at = m->blocks[which].at;
    unsigned order = m->blocks[which].order;

    m->blocks[which] = m->blocks[--m->n];
    memset(m->owner + at, FRAME_FREE, BIT(order));
    buddy_free(&m->b, at, order, false);
}

static void model_scrub(struct model *m)
{
    unsigned order;
    uint32_t at = buddy_take_dirty(&m->b, random_next(&rnd) % 6, &order);

    if (at == BUDDY_NONE)
        return;
    for (uint32_t i = at; i < at + BIT(order); i++) {
        assert_int_equal(m->owner[i], FRAME_FREE);
        m->zero[i] = true;
    }
    buddy_free(&m->b, at, order, true);
}

static void test_against_model(void **state)
{
    struct model *m = make_model();

    (void)state;
    for (unsigned step = 0; step < 60000; step++) {
        unsigned what = random_next(&rnd) % 10;

        if (what < 5 && m->n < MAX_BLOCKS)
            model_alloc(m, random_next(&rnd) % 10, what & 1);
        else if (what < 8 && m->n > 0)
            model_free(m, random_next(&rnd) % m->n);
        else
            model_scrub(m);
        if (step % 500 == 0)
            buddy_audit(&m->b);
    }
    buddy_audit(&m->b);
    free_model(m);
}

/* Whatever happened before: all that is free can be had, page by page and in the largest blocks. */
static void test_everything_can_be_had(void **state)
{
    struct model *m = make_model();
    uint64_t pages = m->b.stats.total, got = 0;
    bool clean;

    (void)state;
    for (unsigned i = 0; i < 200; i++)
        model_scrub(m);
    while (buddy_alloc(&m->b, 0, FRAME_EPT, got % 2, &clean) != BUDDY_NONE)
        got++;
    assert_int_equal(got, pages);
    assert_int_equal(m->b.stats.free, 0);
    for (uint32_t i = 0; i < FRAMES; i++)
        if (m->b.frames[i].owner == FRAME_EPT)
            buddy_free(&m->b, i, 0, i % 3 == 0); /* clean and not, side by side */
    buddy_audit(&m->b);
    /* 2048 to 4095 is one block, if mixed neighbours are merged for it. */
    assert_int_equal(buddy_alloc(&m->b, 11, FRAME_EPT, false, &clean), 2048);
    assert_false(clean);
    assert_int_equal(buddy_alloc(&m->b, 11, FRAME_EPT, false, &clean), BUDDY_NONE);
    buddy_audit(&m->b);
    free_model(m);
}

static void test_split(void **state)
{
    struct model *m = make_model();
    uint64_t before = m->b.stats.free;
    bool clean;
    uint32_t at = buddy_alloc(&m->b, 9, FRAME_GUEST, false, &clean);

    (void)state;
    assert_int_not_equal(at, BUDDY_NONE);
    buddy_split(&m->b, at, 9);
    buddy_audit(&m->b);
    for (uint32_t i = 0; i < 512; i++)
        buddy_free(&m->b, at + i * 5 % 512, 0, false);
    buddy_audit(&m->b);
    assert_int_equal(m->b.stats.free, before);
    free_model(m);
}

static void test_clean_is_kept(void **state)
{
    struct model *m = make_model();
    bool clean;
    unsigned order;

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        uint32_t at = buddy_take_dirty(&m->b, 0, &order);

        buddy_free(&m->b, at, 0, true);
    }
    assert_int_equal(m->b.stats.clean, 8);
    /* Who does not ask for zeroes does not get them, while there is something else. */
    buddy_alloc(&m->b, 9, FRAME_GUEST, false, &clean);
    assert_false(clean);
    assert_int_equal(m->b.stats.clean, 8);
    buddy_audit(&m->b);
    free_model(m);
}

/* ------------------------------------------------------------ the memory map */

#define MAP_PAGES 64

static void check_map(const struct memmap *m, const bool *want)
{
    bool have[MAP_PAGES] = {false};

    for (unsigned i = 0; i < m->n; i++) {
        assert_true(m->ranges[i].start < m->ranges[i].end);
        if (i > 0)
            assert_true(m->ranges[i - 1].end < m->ranges[i].start);
        for (uint64_t at = m->ranges[i].start; at < m->ranges[i].end; at += PAGE_SIZE)
            have[at / PAGE_SIZE] = true;
    }
    assert_memory_equal(have, want, sizeof(have));
}

static void test_memmap_against_model(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 500; round++) {
        struct memmap m = {.n = 0};
        bool want[MAP_PAGES] = {false};

        for (unsigned step = 0; step < 30; step++) {
            uint64_t start = random_next(&rnd) % (MAP_PAGES * PAGE_SIZE);
            uint64_t end = start + random_next(&rnd) % (MAP_PAGES * PAGE_SIZE - start);
            bool add = random_next(&rnd) % 2;

            assert_true(add ? memmap_add(&m, start, end) : memmap_remove(&m, start, end));
            /* Only whole pages are added, every touched page is removed. */
            for (uint64_t page = 0; page < MAP_PAGES; page++) {
                uint64_t first = page * PAGE_SIZE, last = first + PAGE_SIZE;

                if (add && first >= start && last <= end)
                    want[page] = true;
                if (!add && first < end && last > start && start < end)
                    want[page] = false;
            }
            check_map(&m, want);
        }
    }
}

static void test_memmap_take(void **state)
{
    struct memmap m = {.n = 0};

    (void)state;
    assert_true(memmap_add(&m, 0x1000, 0x3000));
    assert_true(memmap_add(&m, 0x10000, 0x20000));
    assert_int_equal(memmap_take(&m, 0x1000, 0x1000, UINT64_MAX), 0x1f000);
    assert_int_equal(memmap_take(&m, 0x1000, 0x1000, 0x8000), 0x2000);
    assert_int_equal(memmap_take(&m, 0x2000, 0x8000, UINT64_MAX), 0x18000);
    assert_int_equal(memmap_take(&m, 0x100000, 0x1000, UINT64_MAX), UINT64_MAX);
    assert_int_equal(memmap_size(&m), 0x1000 + 0x8000 + 0x5000);
}

/* A firmware's map: overlaps, and a range up to the last address. */
static void test_memmap_usable(void **state)
{
    static struct bootinfo b;
    struct memmap m;

    (void)state;
    b.ranges[0] = (struct boot_range){HPA(0), 0x9fc00, BOOT_RANGE_USABLE};
    b.ranges[1] = (struct boot_range){HPA(0x100000), 0x700000, BOOT_RANGE_USABLE};
    b.ranges[2] = (struct boot_range){HPA(0x7ff800), 0x1000, BOOT_RANGE_NVS};
    b.ranges[3] = (struct boot_range){HPA(0xfffffffffffff000), 0x1000, BOOT_RANGE_RESERVED};
    b.ranges[4] = (struct boot_range){HPA(0x100000000), UINT64_MAX - 0xffffffff, BOOT_RANGE_USABLE};
    b.nr_ranges = 5;
    assert_true(memmap_usable(&m, &b, 0x200000000));
    assert_int_equal(m.n, 3);
    assert_int_equal(m.ranges[0].end, 0x9f000);
    assert_int_equal(m.ranges[1].end, 0x7ff000);
    assert_int_equal(m.ranges[2].end, 0x200000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_everything_can_be_had),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_clean_is_kept),
        cmocka_unit_test(test_memmap_against_model),
        cmocka_unit_test(test_memmap_take),
        cmocka_unit_test(test_memmap_usable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
