/*
 * The pmap: by hand, against a model of one state per page, and walked as the CPU walks it (SDM
 * vol. 3 section 29.3.2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include "ept/ept.h"
#include "lib/string.h"
#include "tests/unit/fake_frames.h"
#include "tests/unit/random.h"

#define VM_ID 7

/* Bits of an entry as the hardware sees them (SDM tables 29-1 to 29-7). */
#define HW_LARGE    BIT(7)
#define HW_ACCESSED BIT(8)
#define HW_DIRTY    BIT(9)
#define HW_ADDR     0x000ffffffffff000ull

static const struct ept_caps all_caps = {true, true, true, true};

static void start(struct ept *e)
{
    fake_frames_limit(FAKE_FRAMES_NO_LIMIT);
    assert_int_equal(ept_init(e, &all_caps, VM_ID), 0);
}

static void count_released(void *opaque, UNUSED enum ept_kind kind, UNUSED mpn_t mpn,
                           unsigned order)
{
    *(uint64_t *)opaque += BIT(order);
}

/* Ends it; returns how many pages of guest frames were given back. */
static uint64_t end(struct ept *e)
{
    uint64_t released = 0;

    fake_frames_limit(FAKE_FRAMES_NO_LIMIT);
    ept_audit(e, NULL, NULL);
    ept_destroy(e, count_released, &released);
    assert_int_equal(fake_frames_used(), 0);
    return released;
}

/* The entry that maps gpa for the CPU, bits set as an access sets them; NULL: EPT violation. */
static uint64_t *hardware_walk(const struct ept *e, gpa_t gpa, unsigned access, unsigned *order)
{
    uint64_t *table = (uint64_t *)(ept_pointer(e) & HW_ADDR);

    for (unsigned shift = 39;; shift -= 9) {
        uint64_t *entry = &table[gpa.v >> shift & 511];

        if ((*entry & access) != access)
            return NULL;
        *entry |= HW_ACCESSED;
        if (shift == 12 || (*entry & HW_LARGE)) {
            if (access & EPT_WRITE)
                *entry |= HW_DIRTY;
            *order = shift - 12;
            return entry;
        }
        table = (uint64_t *)(*entry & HW_ADDR);
    }
}

static bool touch(const struct ept *e, gpa_t gpa, unsigned access)
{
    unsigned order;

    return hardware_walk(e, gpa, access, &order) != NULL;
}

static void test_pointer(void **state)
{
    struct ept e;

    (void)state;
    start(&e);
    assert_int_equal(ept_pointer(&e) & PAGE_MASK, 6 | 3 << 3 | 1 << 6);
    assert_int_equal(frame_get(e.root)->vm, VM_ID);
    e.caps.accessed_dirty = false;
    assert_int_equal(ept_pointer(&e) & PAGE_MASK, 6 | 3 << 3);
    end(&e);
    fake_frames_limit(0);
    assert_int_equal(ept_init(&e, &all_caps, VM_ID), E_NOMEM);
}

static void test_every_order(void **state)
{
    static const unsigned orders[] = {EPT_ORDER_4K, EPT_ORDER_2M, EPT_ORDER_1G};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
        unsigned order = orders[i], hw_order;
        uint64_t size = PAGE_SIZE << order;
        gpa_t gpa = GPA(GIB(3) + size), last = GPA(gpa.v + size - PAGE_SIZE);
        mpn_t mpn = MPN(GIB(40) >> PAGE_SHIFT);
        struct ept e;
        struct ept_mapping m;
        uint64_t *entry;

        start(&e);
        assert_int_equal(ept_map(&e, gpa, mpn, order, EPT_PRIVATE, EPT_RW, EPT_TYPE_WB), 0);
        m = ept_lookup(&e, last);
        assert_int_equal(m.kind, EPT_PRIVATE);
        assert_int_equal(m.order, order);
        assert_int_equal(m.mpn.v, mpn.v + BIT(order) - 1);
        assert_int_equal(m.access, EPT_RW);
        assert_int_equal(e.tables, 4 - i);
        entry = hardware_walk(&e, last, EPT_READ, &hw_order);
        assert_non_null(entry);
        assert_int_equal(hw_order, order);
        assert_int_equal(*entry & HW_ADDR, mpn_hpa(mpn).v);
        assert_int_equal(*entry >> 3 & 7, EPT_TYPE_WB);
        assert_null(hardware_walk(&e, last, EPT_EXEC, &hw_order));
        assert_int_equal(ept_lookup(&e, GPA(gpa.v - 1)).kind, EPT_ABSENT);
        assert_int_equal(ept_lookup(&e, GPA(gpa.v + size)).kind, EPT_ABSENT);
        assert_int_equal(e.pages[EPT_PRIVATE], BIT(order));
        assert_int_equal(end(&e), BIT(order));
    }
}

static void test_refused(void **state)
{
    struct ept e;
    mpn_t m = MPN(512);

    (void)state;
    start(&e);
    e.caps.large_1g = false;
#define MAP(gpa, mpn, order) ept_map(&e, gpa, mpn, order, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB)
    assert_int_equal(MAP(GPA(0), MPN(0), EPT_ORDER_1G), E_INVAL);
    assert_int_equal(MAP(GPA(0), m, 1), E_INVAL);
    assert_int_equal(MAP(GPA(PAGE_SIZE), m, EPT_ORDER_2M), E_INVAL);
    assert_int_equal(MAP(GPA(0), MPN(513), EPT_ORDER_2M), E_INVAL);
    assert_int_equal(MAP(GPA(EPT_LIMIT), m, EPT_ORDER_4K), E_INVAL);
    assert_int_equal(MAP(GPA(1), m, EPT_ORDER_4K), E_INVAL);
    assert_int_equal(MAP(GPA(0), m, EPT_ORDER_4K), 0);
    assert_int_equal(MAP(GPA(0), m, EPT_ORDER_4K), E_EXIST);
    assert_int_equal(MAP(GPA(0), m, EPT_ORDER_2M), E_EXIST);
#undef MAP
    assert_int_equal(ept_change(&e, GPA(PAGE_SIZE), 0, EPT_SHARED, EPT_READ), E_NOENT);
    assert_int_equal(ept_change(&e, GPA(0), EPT_ORDER_2M, EPT_SHARED, EPT_READ), E_NOENT);
    assert_int_equal(ept_split(&e, GPA(0), EPT_ORDER_2M), E_NOENT);
    assert_int_equal(ept_split(&e, GPA(0), EPT_ORDER_4K), E_INVAL);
    assert_int_equal(ept_merge(&e, GPA(0), EPT_ORDER_2M), E_INVAL);
    assert_true(mpn_is_none(ept_unmap(&e, GPA(0), EPT_ORDER_2M, EPT_ABSENT, 0)));
    assert_true(mpn_is_none(ept_unmap(&e, GPA(EPT_LIMIT), 0, EPT_ABSENT, 0)));
    assert_int_equal(ept_lookup(&e, GPA(EPT_LIMIT)).kind, EPT_ABSENT);
    assert_int_equal(end(&e), 1);
}

static void test_payload(void **state)
{
    static const enum ept_kind kinds[] = {EPT_BALLOONED, EPT_COMPRESSED, EPT_SWAPPED};
    const uint64_t largest = BIT(40) - 1;
    struct ept e;
    mpn_t mpn = MPN(1234);

    (void)state;
    start(&e);
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct ept_mapping m;

        assert_int_equal(ept_map(&e, GPA(0), mpn, 0, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), 0);
        assert_int_equal(ept_unmap(&e, GPA(0), 0, kinds[i], largest - i).v, mpn.v);
        m = ept_lookup(&e, GPA(0));
        assert_int_equal(m.kind, kinds[i]);
        assert_int_equal(m.payload, largest - i);
        assert_int_equal(m.access, 0);
        assert_true(mpn_is_none(m.mpn));
        assert_false(touch(&e, GPA(0), EPT_READ));
        assert_int_equal(e.pages[kinds[i]], 1);
        ept_audit(&e, NULL, NULL);
    }
    assert_int_equal(end(&e), 0);
}

static void test_accessed(void **state)
{
    struct ept e;
    gpa_t large = GPA(LARGE_SIZE), small = GPA(PAGE_SIZE);

    (void)state;
    start(&e);
    assert_int_equal(ept_map(&e, large, MPN(512), 9, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), 0);
    assert_int_equal(ept_map(&e, small, MPN(3), 0, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), 0);
    assert_false(ept_test_and_clear_accessed(&e, small));
    assert_true(touch(&e, small, EPT_READ));
    assert_true(ept_lookup(&e, small).accessed);
    assert_false(ept_lookup(&e, small).dirty);
    assert_true(ept_test_and_clear_accessed(&e, small));
    assert_false(ept_test_and_clear_accessed(&e, small));
    assert_false(ept_test_and_clear_accessed(&e, GPA(0)));
    assert_false(ept_test_and_clear_accessed(&e, GPA(EPT_LIMIT)));

    /* Neither a change nor a split nor a merge loses them. */
    assert_true(touch(&e, GPA(large.v + 5 * PAGE_SIZE), EPT_WRITE));
    assert_int_equal(ept_change(&e, large, 9, EPT_SHARED, EPT_READ), 0);
    assert_true(ept_lookup(&e, large).dirty);
    assert_int_equal(ept_split(&e, large, 9), 0);
    assert_true(ept_lookup(&e, GPA(large.v + PAGE_SIZE)).dirty);
    assert_true(ept_test_and_clear_accessed(&e, large));
    assert_int_equal(ept_merge(&e, large, 9), 0);
    assert_true(ept_lookup(&e, large).accessed && ept_lookup(&e, large).dirty);
    assert_int_equal(ept_lookup(&e, large).access, EPT_READ);
    end(&e);
}

static void test_stale(void **state)
{
    struct ept e;

    (void)state;
    start(&e);
    assert_true(ept_stale(&e, 0)); /* whatever ran here before */
    assert_false(ept_stale(&e, 0));
    assert_int_equal(ept_map(&e, GPA(0), MPN(1), 0, EPT_PRIVATE, EPT_RW, EPT_TYPE_WB), 0);
    assert_false(ept_stale(&e, 0)); /* absence is not cached */
    assert_int_equal(ept_change(&e, GPA(0), 0, EPT_SHARED, EPT_RWX), 0);
    assert_false(ept_stale(&e, 0));
    assert_int_equal(ept_change(&e, GPA(0), 0, EPT_SHARED, EPT_READ), 0);
    assert_true(ept_stale(&e, 0));
    assert_int_equal(ept_unmap(&e, GPA(0), 0, EPT_ABSENT, 0).v, 1);
    assert_true(ept_stale(&e, 0));
    assert_true(ept_stale(&e, 63)); /* each CPU for itself */
    assert_false(ept_stale(&e, 63));
    end(&e);
}

/* Tables that hold nothing any more make room for a large page, however deep they are. */
static void test_empty_tables_go(void **state)
{
    struct ept e;

    (void)state;
    start(&e);
    for (unsigned i = 0; i < 4; i++) {
        gpa_t gpa = GPA(i * LARGE_SIZE);

        assert_int_equal(ept_map(&e, gpa, MPN(i), 0, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), 0);
        assert_int_equal(ept_unmap(&e, gpa, 0, EPT_ABSENT, 0).v, i);
    }
    assert_int_equal(e.tables, 7);
    assert_false(ept_stale(&e, 0) && ept_stale(&e, 0));
    assert_int_equal(ept_map(&e, GPA(0), MPN(0), 9, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), 0);
    assert_int_equal(e.tables, 6);
    assert_true(ept_stale(&e, 0));
    assert_int_equal(ept_map(&e, GPA(0), MPN(0), 18, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), E_EXIST);
    assert_int_equal(ept_unmap(&e, GPA(0), 9, EPT_ABSENT, 0).v, 0);
    assert_int_equal(ept_map(&e, GPA(0), MPN(0), 18, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), 0);
    assert_int_equal(e.tables, 2);
    assert_int_equal(end(&e), BIT(18));
}

/* With memory for 0, 1, 2... tables: what fails leaves nothing behind that is wrong. */
static void test_no_memory(void **state)
{
    struct ept e;

    (void)state;
    for (unsigned n = 0; n <= 3; n++) {
        start(&e);
        fake_frames_limit(n);
        assert_int_equal(ept_map(&e, GPA(0), MPN(1), 0, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB),
                         n < 3 ? E_NOMEM : 0);
        assert_int_equal(ept_lookup(&e, GPA(0)).kind, n < 3 ? EPT_ABSENT : EPT_PRIVATE);
        assert_int_equal(e.tables, 1 + n);
        ept_audit(&e, NULL, NULL);
        assert_int_equal(end(&e), n == 3);
    }
    start(&e);
    assert_int_equal(ept_map(&e, GPA(0), MPN(0), 18, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB), 0);
    fake_frames_limit(0);
    assert_int_equal(ept_split(&e, GPA(0), 18), E_NOMEM);
    assert_int_equal(ept_lookup(&e, GPA(0)).order, 18);
    assert_int_equal(end(&e), BIT(18));
}

/* ------------------------------------------------------------------ against a model */

#define MODEL_PAGES (GIB(2) / PAGE_SIZE)
#define STEPS       20000

struct page {
    uint8_t kind, order, access;
    uint64_t value; /* MPN, or the payload of the whole leaf */
};

struct model {
    struct ept e;
    struct random rnd;
    struct page pages[MODEL_PAGES];
    uint64_t visited;
};

/* Pages that operations like: the first few of 2 MiB areas at the edges of 1 GiB areas. */
static uint64_t some_page(struct model *m, unsigned order)
{
    static const uint64_t areas[] = {0, 1, 2, 511, 512, 513, 1023};
    uint64_t ppn = areas[random_below(&m->rnd, ARRAY_SIZE(areas))] * 512;

    if (order == EPT_ORDER_4K)
        ppn += random_below(&m->rnd, 4) == 0 ? 511 : random_below(&m->rnd, 6);
    return ALIGN_DOWN(ppn, BIT(order));
}

static unsigned some_order(struct model *m)
{
    unsigned r = random_below(&m->rnd, 64);

    return r < 24 ? EPT_ORDER_4K : r < 62 ? EPT_ORDER_2M : EPT_ORDER_1G;
}

static unsigned some_access(struct model *m)
{
    static const unsigned accesses[] = {EPT_READ, EPT_RW, EPT_RWX, EPT_READ | EPT_EXEC, EPT_EXEC};

    return accesses[random_below(&m->rnd, ARRAY_SIZE(accesses))];
}

static bool mapped_as(const struct model *m, uint64_t ppn, unsigned order)
{
    return m->pages[ppn].access != 0 && m->pages[ppn].order == order;
}

/* Writes a leaf into the model. */
static void model_set(struct model *m, uint64_t ppn, unsigned order, struct page leaf)
{
    for (uint64_t i = 0; i < BIT(order); i++) {
        m->pages[ppn + i] = leaf;
        if (leaf.access != 0)
            m->pages[ppn + i].value += i;
    }
}

static bool model_free(const struct model *m, uint64_t ppn, unsigned order)
{
    const struct page *p = &m->pages[ppn];

    if (p->kind != EPT_ABSENT && p->access == 0 && p->order == order)
        return true;
    for (uint64_t i = 0; i < BIT(order); i++)
        if (p[i].kind != EPT_ABSENT)
            return false;
    return true;
}

static bool model_mergeable(const struct model *m, uint64_t ppn, unsigned order)
{
    const struct page *p = &m->pages[ppn];

    if (p->access == 0 || p->order + 9u != order || p->value % BIT(order) != 0)
        return false;
    for (uint64_t i = 0; i < BIT(order); i++)
        if (p[i].kind != p->kind || p[i].access != p->access || p[i].order != p->order ||
            p[i].value != p->value + i)
            return false;
    return true;
}

static bool step_map(struct model *m, uint64_t ppn, unsigned order)
{
    struct page leaf = {EPT_PRIVATE, (uint8_t)order, (uint8_t)some_access(m), ppn + BIT(19)};
    uint64_t generation = m->e.generation, tables = m->e.tables;
    bool limited = random_below(&m->rnd, 4) == 0;
    int error;

    if (random_below(&m->rnd, 8) == 0)
        leaf.value = random_below(&m->rnd, 100) * BIT(18);
    if (limited)
        fake_frames_limit(random_below(&m->rnd, 2));
    error = ept_map(&m->e, GPA(ppn * PAGE_SIZE), MPN(leaf.value), order, leaf.kind, leaf.access,
                    EPT_TYPE_WB);
    fake_frames_limit(FAKE_FRAMES_NO_LIMIT);
    assert_int_equal(m->e.generation != generation, m->e.tables < tables);
    if (limited && error == E_NOMEM)
        return false;
    assert_int_equal(error, model_free(m, ppn, order) ? 0 : E_EXIST);
    if (error == 0)
        model_set(m, ppn, order, leaf);
    return error == 0;
}

static bool step_unmap(struct model *m, uint64_t ppn, unsigned order)
{
    static const enum ept_kind kinds[] = {EPT_ABSENT, EPT_ABSENT, EPT_BALLOONED, EPT_SWAPPED};
    enum ept_kind left = kinds[random_below(&m->rnd, ARRAY_SIZE(kinds))];
    uint64_t payload = left == EPT_ABSENT ? 0 : random_next(&m->rnd) >> 24;
    bool expected = mapped_as(m, ppn, order);
    uint64_t generation = m->e.generation;
    mpn_t mpn = ept_unmap(&m->e, GPA(ppn * PAGE_SIZE), order, left, payload);

    assert_int_equal(mpn_is_none(mpn), !expected);
    assert_int_equal(m->e.generation, generation + expected);
    if (!expected)
        return false;
    assert_int_equal(mpn.v, m->pages[ppn].value);
    model_set(m, ppn, order,
              (struct page){(uint8_t)left, left == EPT_ABSENT ? 0 : (uint8_t)order, 0, payload});
    return true;
}

static bool step_change(struct model *m, uint64_t ppn, unsigned order)
{
    bool expected = mapped_as(m, ppn, order);
    uint64_t generation = m->e.generation;
    struct page leaf = m->pages[ppn];
    unsigned access = some_access(m), lost = leaf.access & ~access;
    int error = ept_change(&m->e, GPA(ppn * PAGE_SIZE), order, EPT_SHARED, access);

    assert_int_equal(error, expected ? 0 : E_NOENT);
    assert_int_equal(m->e.generation, generation + (expected && lost != 0));
    if (!expected)
        return false;
    leaf.kind = EPT_SHARED;
    leaf.access = (uint8_t)access;
    model_set(m, ppn, order, leaf);
    return true;
}

static bool step_split(struct model *m, uint64_t ppn, unsigned order)
{
    bool limited = random_below(&m->rnd, 4) == 0, expected = mapped_as(m, ppn, order);
    uint64_t generation = m->e.generation;
    struct page leaf = m->pages[ppn];
    int error, right = !expected ? E_NOENT : limited ? E_NOMEM : 0;

    if (limited)
        fake_frames_limit(0);
    error = ept_split(&m->e, GPA(ppn * PAGE_SIZE), order);
    fake_frames_limit(FAKE_FRAMES_NO_LIMIT);
    assert_int_equal(error, right);
    assert_int_equal(m->e.generation, generation + (error == 0));
    if (error != 0)
        return false;
    leaf.order -= 9;
    model_set(m, ppn, order, leaf);
    return true;
}

static bool step_merge(struct model *m, uint64_t ppn, unsigned order)
{
    uint64_t generation = m->e.generation;
    struct page leaf = m->pages[ppn];
    bool expected = model_mergeable(m, ppn, order);
    int error = ept_merge(&m->e, GPA(ppn * PAGE_SIZE), order);

    assert_int_equal(error, expected ? 0 : E_INVAL);
    assert_int_equal(m->e.generation, generation + expected);
    if (!expected)
        return false;
    leaf.order += 9;
    model_set(m, ppn, order, leaf);
    return true;
}

/* Empties a whole area, so that large pages get their chance. */
static bool step_clear(struct model *m, uint64_t ppn, UNUSED unsigned order)
{
    const struct page absent = {EPT_ABSENT, 0, 0, 0};

    ppn = ALIGN_DOWN(ppn, BIT(EPT_ORDER_2M));
    for (uint64_t i = ppn; i < ppn + BIT(EPT_ORDER_2M); i += BIT(m->pages[i].order)) {
        unsigned leaf = m->pages[i].order;

        if (m->pages[i].kind == EPT_ABSENT || leaf == EPT_ORDER_1G)
            continue;
        /* What is not mapped becomes absent by way of being mapped. */
        if (m->pages[i].access == 0)
            assert_int_equal(
                ept_map(&m->e, GPA(i * PAGE_SIZE), MPN(0), leaf, EPT_ZERO, EPT_READ, EPT_TYPE_WB),
                0);
        assert_false(mpn_is_none(ept_unmap(&m->e, GPA(i * PAGE_SIZE), leaf, EPT_ABSENT, 0)));
        model_set(m, i, leaf, absent);
    }
    return true;
}

static void check_page(const struct model *m, uint64_t ppn)
{
    const struct page *p = &m->pages[ppn];
    struct ept_mapping found = ept_lookup(&m->e, GPA(ppn * PAGE_SIZE + 123));

    assert_int_equal(found.kind, p->kind);
    assert_int_equal(found.access, p->access);
    assert_int_equal(mpn_is_none(found.mpn), p->access == 0);
    assert_int_equal(p->access != 0 ? found.mpn.v : found.payload, p->value);
    if (p->kind != EPT_ABSENT)
        assert_int_equal(found.order, p->order);
}

static void visit(void *opaque, gpa_t gpa, const struct ept_mapping *found)
{
    struct model *m = opaque;

    assert_int_equal(found->order, m->pages[gpa.v / PAGE_SIZE].order);
    check_page(m, gpa.v / PAGE_SIZE);
    m->visited += BIT(found->order);
}

/* Every leaf is right, and no page of the model is without one. */
static void check_all(struct model *m)
{
    uint64_t present = 0;

    m->visited = 0;
    ept_audit(&m->e, visit, m);
    for (uint64_t i = 0; i < MODEL_PAGES; i++)
        present += m->pages[i].kind != EPT_ABSENT;
    assert_int_equal(m->visited, present);
}

static void test_against_model(void **state)
{
    static bool (*const steps[])(struct model *, uint64_t, unsigned) = {
        step_map,    step_map,   step_map,   step_map,   step_unmap,
        step_change, step_split, step_merge, step_clear,
    };
    struct model *m = calloc(1, sizeof(*m));
    uint64_t used[ARRAY_SIZE(steps)] = {0}, mapped = 0;

    (void)state;
    start(&m->e);
    m->rnd.state = 1;
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned what = random_below(&m->rnd, ARRAY_SIZE(steps)), order = some_order(m);

        if ((steps[what] == step_split || steps[what] == step_merge) && order == EPT_ORDER_4K)
            order = EPT_ORDER_2M;
        used[what] += steps[what](m, some_page(m, order), order);
        for (unsigned k = 0; k < 8; k++)
            check_page(m, some_page(m, EPT_ORDER_4K));
        if (i % 500 == 0)
            check_all(m);
    }
    check_all(m);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
        assert_true(used[i] > 100); /* each kind of step did something now and then */
    for (uint64_t i = 0; i < MODEL_PAGES; i++)
        mapped += m->pages[i].access != 0;
    assert_int_equal(end(&m->e), mapped);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointer),         cmocka_unit_test(test_every_order),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_payload),
        cmocka_unit_test(test_accessed),        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_empty_tables_go), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_against_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
