/*
 * The walker, and what is built on it. Four levels; level 0 holds 4 KiB entries, level 1 2 MiB,
 * level 2 1 GiB; order = 9 * level.
 */
#include "ept/ept.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/frame.h"

#define LEVELS  4
#define ENTRIES 512u

#define ENTRY_TYPE_SHIFT 3
#define ENTRY_LARGE      BIT(7)
#define ENTRY_ACCESSED   BIT(8)
#define ENTRY_DIRTY      BIT(9)
#define ENTRY_ADDR       0x000ffffffffff000ull
#define ENTRY_KIND_SHIFT 52
#define ENTRY_KIND_MASK  (0xfull << ENTRY_KIND_SHIFT)

/* EPTP fields. */
#define EPTP_WALK_4         (3u << 3)
#define EPTP_ACCESSED_DIRTY BIT(6)

_Static_assert(LEVELS * 9 + PAGE_SHIFT == 48, "EPT_LIMIT is what the levels map");
_Static_assert(EPT_NR_KINDS <= 16, "a kind fits into bits 55:52");

static bool entry_mapped(uint64_t e)
{
    return e & EPT_RWX;
}

static enum ept_kind entry_kind(uint64_t e)
{
    return (enum ept_kind)((e & ENTRY_KIND_MASK) >> ENTRY_KIND_SHIFT);
}

/* A mapped entry that points to a table: leaves carry a kind, tables never do. */
static bool entry_is_table(uint64_t e)
{
    return entry_mapped(e) && entry_kind(e) == EPT_ABSENT;
}

static mpn_t entry_mpn(uint64_t e)
{
    return MPN((e & ENTRY_ADDR) >> PAGE_SHIFT);
}

static uint64_t *entry_table(uint64_t e)
{
    return mpn_ptr(entry_mpn(e));
}

static unsigned level_index(gpa_t gpa, unsigned level)
{
    return (gpa.v >> (PAGE_SHIFT + 9 * level)) % ENTRIES;
}

static uint64_t level_size(unsigned level)
{
    return PAGE_SIZE << (9 * level);
}

/* Other CPUs' hardware walks these tables meanwhile: an entry appears and changes whole. */
static void entry_set(uint64_t *p, uint64_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static mpn_t table_alloc(struct ept *e)
{
    mpn_t mpn = frame_alloc(FRAME_ORDER_4K, FRAME_EPT, FRAME_ZERO);

    if (!mpn_is_none(mpn)) {
        frame_get(mpn)->vm = e->vm;
        e->tables++;
    }
    return mpn;
}

static void table_free(struct ept *e, mpn_t mpn)
{
    frame_free(mpn, FRAME_ORDER_4K);
    e->tables--;
}

int ept_init(struct ept *e, const struct ept_caps *caps, uint32_t vm)
{
    memset(e, 0, sizeof(*e));
    e->caps = *caps;
    e->vm = vm;
    e->generation = 1; /* the first entry on each CPU flushes what an earlier VM left there */
    e->root = table_alloc(e);
    return mpn_is_none(e->root) ? E_NOMEM : 0;
}

uint64_t ept_pointer(const struct ept *e)
{
    return mpn_hpa(e->root).v | EPT_TYPE_WB | EPTP_WALK_4 |
           (e->caps.accessed_dirty ? EPTP_ACCESSED_DIRTY : 0);
}

/*
 * The entry for gpa at the lowest level that exists, not below want; *level is where it stands.
 */
static uint64_t *walk(const struct ept *e, gpa_t gpa, unsigned want, unsigned *level)
{
    uint64_t *table = mpn_ptr(e->root);
    unsigned l = LEVELS - 1;

    for (;;) {
        uint64_t *entry = &table[level_index(gpa, l)];

        if (l == want || !entry_is_table(*entry)) {
            *level = l;
            return entry;
        }
        table = entry_table(*entry);
        l--;
    }
}

/* As walk, down to level want, making tables on the way. NULL: no memory, or a leaf in the way. */
static uint64_t *walk_create(struct ept *e, gpa_t gpa, unsigned want, int *error)
{
    unsigned level;
    uint64_t *entry = walk(e, gpa, want, &level);

    while (level > want) {
        mpn_t table;

        if (entry_kind(*entry) != EPT_ABSENT) {
            *error = E_EXIST;
            return NULL;
        }
        table = table_alloc(e);
        if (mpn_is_none(table)) {
            *error = E_NOMEM;
            return NULL;
        }
        entry_set(entry, mpn_hpa(table).v | EPT_RWX);
        entry = (uint64_t *)mpn_ptr(table) + level_index(gpa, --level);
    }
    return entry;
}

struct ept_mapping ept_lookup(const struct ept *e, gpa_t gpa)
{
    struct ept_mapping m = {.mpn = MPN_NONE};
    unsigned level;
    uint64_t entry;

    if (gpa.v >= EPT_LIMIT)
        return m;
    entry = *walk(e, gpa, 0, &level);
    m.kind = entry_kind(entry);
    m.order = 9 * level;
    if (entry_mapped(entry)) {
        m.mpn = MPN(entry_mpn(entry).v + (gpa.v % level_size(level) >> PAGE_SHIFT));
        m.access = entry & EPT_RWX;
        m.accessed = entry & ENTRY_ACCESSED;
        m.dirty = entry & ENTRY_DIRTY;
    } else {
        m.payload = (entry & ENTRY_ADDR) >> PAGE_SHIFT;
    }
    return m;
}

static bool order_offered(const struct ept *e, unsigned order)
{
    return order == EPT_ORDER_4K || (order == EPT_ORDER_2M && e->caps.large_2m) ||
           (order == EPT_ORDER_1G && e->caps.large_1g);
}

static uint64_t leaf(mpn_t mpn, unsigned order, enum ept_kind kind, unsigned access, unsigned type)
{
    return mpn_hpa(mpn).v | access | (uint64_t)type << ENTRY_TYPE_SHIFT |
           (order > 0 ? ENTRY_LARGE : 0) | (uint64_t)kind << ENTRY_KIND_SHIFT;
}

static void count(struct ept *e, enum ept_kind kind, unsigned order, int sign)
{
    if (kind != EPT_ABSENT)
        e->pages[kind] += sign * (1l << order);
}

static bool table_empty(const uint64_t *table)
{
    for (unsigned i = 0; i < ENTRIES; i++)
        if (table[i] != 0 && !(entry_is_table(table[i]) && table_empty(entry_table(table[i]))))
            return false;
    return true;
}

static void free_tables(struct ept *e, mpn_t mpn)
{
    const uint64_t *table = mpn_ptr(mpn);

    for (unsigned i = 0; i < ENTRIES; i++)
        if (table[i] != 0)
            free_tables(e, entry_mpn(table[i]));
    table_free(e, mpn);
}

/* Tables that hold nothing any more are in the way of a large mapping: they go. */
static bool drop_empty_tables(struct ept *e, uint64_t *entry)
{
    mpn_t mpn = entry_mpn(*entry);

    if (!table_empty(mpn_ptr(mpn)))
        return false;
    entry_set(entry, 0);
    ept_bump(e); /* a CPU may have cached the way through them */
    free_tables(e, mpn);
    return true;
}

int ept_map(struct ept *e, gpa_t gpa, mpn_t mpn, unsigned order, enum ept_kind kind,
            unsigned access, unsigned type)
{
    uint64_t size = PAGE_SIZE << order;
    uint64_t *entry;
    int error = 0;

    ASSERT(kind != EPT_ABSENT && (access & EPT_RWX) != 0);
    if (!order_offered(e, order) || gpa.v >= EPT_LIMIT || gpa.v % size != 0 ||
        mpn_hpa(mpn).v % size != 0)
        return E_INVAL;
    entry = walk_create(e, gpa, order / 9, &error);
    if (entry == NULL)
        return error;
    if (entry_is_table(*entry) && order > 0 && !drop_empty_tables(e, entry))
        return E_EXIST;
    if (entry_mapped(*entry))
        return E_EXIST;
    count(e, entry_kind(*entry), order, -1);
    count(e, kind, order, 1);
    entry_set(entry, leaf(mpn, order, kind, access, type));
    return 0;
}

bool ept_find_hole(const struct ept *e, gpa_t gpa, struct ept_hole *hole)
{
    unsigned level;

    if (gpa.v >= EPT_LIMIT)
        return false;
    hole->entry = walk(e, gpa, 0, &level);
    hole->order = 9 * level;
    return *hole->entry == 0;
}

/* Tables are missing on the way down. */
static __attribute__((noinline)) int fill_below(struct ept *e, gpa_t gpa, unsigned order,
                                                enum ept_kind kind, uint64_t value)
{
    int error = 0;
    uint64_t *entry = walk_create(e, gpa, order / 9, &error);

    if (entry == NULL)
        return error;
    e->pages[kind] += 1ul << order;
    entry_set(entry, value);
    return 0;
}

int ept_fill(struct ept *e, const struct ept_hole *hole, gpa_t gpa, mpn_t mpn, unsigned order,
             enum ept_kind kind, unsigned access, unsigned type)
{
    uint64_t value = leaf(mpn, order, kind, access, type);

    ASSERT(order <= hole->order && *hole->entry == 0);
    if (unlikely(order != hole->order))
        return fill_below(e, gpa, order, kind, value);
    e->pages[kind] += 1ul << order;
    entry_set(hole->entry, value);
    return 0;
}

mpn_t ept_unmap(struct ept *e, gpa_t gpa, unsigned order, enum ept_kind left, uint64_t payload)
{
    unsigned level;
    uint64_t *entry, old;

    if (gpa.v >= EPT_LIMIT)
        return MPN_NONE;
    entry = walk(e, gpa, order / 9, &level);
    old = *entry;
    if (9 * level != order || !entry_mapped(old) || entry_is_table(old))
        return MPN_NONE;
    count(e, entry_kind(old), order, -1);
    count(e, left, order, 1);
    entry_set(entry, (uint64_t)left << ENTRY_KIND_SHIFT | (payload << PAGE_SHIFT & ENTRY_ADDR));
    ept_bump(e);
    return entry_mpn(old);
}

int ept_change(struct ept *e, gpa_t gpa, unsigned order, enum ept_kind kind, unsigned access)
{
    unsigned level;
    uint64_t *entry, old, new;

    if (gpa.v >= EPT_LIMIT)
        return E_INVAL;
    entry = walk(e, gpa, order / 9, &level);
    ASSERT(kind != EPT_ABSENT && (access & EPT_RWX) != 0);
    old = __atomic_load_n(entry, __ATOMIC_RELAXED);
    if (9 * level != order || !entry_mapped(old) || entry_is_table(old))
        return E_NOENT;
    /* The CPU may set accessed and dirty meanwhile: they must not be lost. */
    do
        new = (old & ~(ENTRY_KIND_MASK | EPT_RWX)) | access | (uint64_t)kind << ENTRY_KIND_SHIFT;
    while (
        !__atomic_compare_exchange_n(entry, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    count(e, entry_kind(old), order, -1);
    count(e, kind, order, 1);
    if (old & EPT_RWX & ~access)
        ept_bump(e);
    return 0;
}

int ept_split(struct ept *e, gpa_t gpa, unsigned order)
{
    unsigned level;
    uint64_t *entry, *table, old;
    mpn_t mpn;

    if (gpa.v >= EPT_LIMIT || order == 0)
        return E_INVAL;
    entry = walk(e, gpa, order / 9, &level);
    if (9 * level != order || !entry_mapped(*entry) || entry_is_table(*entry))
        return E_NOENT;
    mpn = table_alloc(e);
    if (mpn_is_none(mpn))
        return E_NOMEM;
    table = mpn_ptr(mpn);
    old = __atomic_load_n(entry, __ATOMIC_RELAXED);
    do
        for (uint64_t i = 0; i < ENTRIES; i++) {
            table[i] = old + i * level_size(level - 1);
            if (level == 1)
                table[i] &= ~ENTRY_LARGE;
        }
    while (!__atomic_compare_exchange_n(entry, &old, mpn_hpa(mpn).v | EPT_RWX, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    ept_bump(e); /* until they flush, CPUs may use the large translation, which says the same */
    return 0;
}

int ept_merge(struct ept *e, gpa_t gpa, unsigned order)
{
    const uint64_t used = ENTRY_ACCESSED | ENTRY_DIRTY;
    unsigned level;
    uint64_t *entry, *table, first, bits = 0;
    mpn_t mpn;

    if (!order_offered(e, order) || order == 0 || gpa.v >= EPT_LIMIT)
        return E_INVAL;
    entry = walk(e, gpa, order / 9, &level);
    if (9 * level != order || !entry_is_table(*entry))
        return E_INVAL;
    mpn = entry_mpn(*entry);
    table = entry_table(*entry);
    first = table[0] & ~used;
    if (!entry_mapped(first) || entry_is_table(first) ||
        mpn_hpa(entry_mpn(first)).v % level_size(level) != 0)
        return E_INVAL;
    for (uint64_t i = 0; i < ENTRIES; i++) {
        if ((table[i] & ~used) != first + i * level_size(level - 1))
            return E_INVAL;
        bits |= table[i] & used;
    }
    entry_set(entry, first | ENTRY_LARGE | bits);
    ept_bump(e);
    table_free(e, mpn);
    return 0;
}

bool ept_test_and_clear_accessed(struct ept *e, gpa_t gpa)
{
    unsigned level;
    uint64_t *entry;

    ASSERT(e->caps.accessed_dirty);
    if (gpa.v >= EPT_LIMIT)
        return false;
    entry = walk(e, gpa, 0, &level);
    if (!entry_mapped(*entry))
        return false;
    return __atomic_fetch_and(entry, ~ENTRY_ACCESSED, __ATOMIC_ACQ_REL) & ENTRY_ACCESSED;
}

typedef void (*release_fn)(void *opaque, enum ept_kind kind, mpn_t mpn, unsigned order);

static void destroy_table(struct ept *e, mpn_t mpn, unsigned level, release_fn release,
                          void *opaque)
{
    uint64_t *table = mpn_ptr(mpn);

    for (unsigned i = 0; i < ENTRIES; i++) {
        if (entry_is_table(table[i]))
            destroy_table(e, entry_mpn(table[i]), level - 1, release, opaque);
        else if (entry_mapped(table[i]))
            release(opaque, entry_kind(table[i]), entry_mpn(table[i]), 9 * level);
    }
    table_free(e, mpn);
}

void ept_destroy(struct ept *e, release_fn release, void *opaque)
{
    destroy_table(e, e->root, LEVELS - 1, release, opaque);
    ASSERT(e->tables == 0);
    e->root = MPN_NONE;
    memset(e->pages, 0, sizeof(e->pages));
}

struct audit {
    uint64_t tables;
    uint64_t pages[EPT_NR_KINDS];
    void (*visit)(void *opaque, gpa_t gpa, const struct ept_mapping *m);
    void *opaque;
};

static void audit_table(const struct ept *e, mpn_t mpn, unsigned level, gpa_t start,
                        struct audit *a)
{
    const uint64_t *table = mpn_ptr(mpn);

    a->tables++;
    ASSERT(frame_get(mpn)->owner == FRAME_EPT && frame_get(mpn)->vm == e->vm);
    for (unsigned i = 0; i < ENTRIES; i++) {
        gpa_t gpa = GPA(start.v + i * level_size(level));

        if (entry_is_table(table[i])) {
            ASSERT(level > 0);
            audit_table(e, entry_mpn(table[i]), level - 1, gpa, a);
        } else if (table[i] != 0) {
            struct ept_mapping m = ept_lookup(e, gpa);

            ASSERT(m.order == 9 * level && m.kind != EPT_ABSENT);
            a->pages[m.kind] += 1ul << m.order;
            if (a->visit != NULL)
                a->visit(a->opaque, gpa, &m);
        }
    }
}

void ept_audit(const struct ept *e,
               void (*visit)(void *opaque, gpa_t gpa, const struct ept_mapping *m), void *opaque)
{
    struct audit a = {.visit = visit, .opaque = opaque};

    audit_table(e, e->root, LEVELS - 1, GPA(0), &a);
    ASSERT(a.tables == e->tables);
    for (unsigned k = 1; k < EPT_NR_KINDS; k++)
        ASSERT(a.pages[k] == e->pages[k]);
}
