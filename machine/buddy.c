#include "lib/assert.h"
#include "lib/string.h"
#include "machine/buddy.h"

/* ------------------------------------------------------------ free lists */

/* Onto its list; counted by the caller. */
static inline void push_uncounted(struct buddy *b, uint32_t at, unsigned order, bool clean)
{
    struct frame *f = &b->frames[at];
    uint32_t *head = &b->heads[clean][order];

    f->owner = FRAME_FREE;
    f->order = (uint8_t)order;
    f->clean = clean;
    f->next = *head;
    f->prev = BUDDY_NONE;
    if (*head != BUDDY_NONE)
        b->frames[*head].prev = at;
    *head = at;
    b->filled[clean] |= 1u << order;
}

static void push(struct buddy *b, uint32_t at, unsigned order, bool clean)
{
    push_uncounted(b, at, order, clean);
    if (clean)
        b->stats.clean += BIT(order);
}

/* The first of a list that is not empty; counted by the caller. */
static inline uint32_t pop_uncounted(struct buddy *b, unsigned order, bool clean)
{
    uint32_t *head = &b->heads[clean][order], at = *head;

    *head = b->frames[at].next;
    if (*head != BUDDY_NONE)
        b->frames[*head].prev = BUDDY_NONE;
    else
        b->filled[clean] &= ~(1u << order);
    return at;
}

static void unlink(struct buddy *b, uint32_t at)
{
    struct frame *f = &b->frames[at];

    if (f->prev != BUDDY_NONE)
        b->frames[f->prev].next = f->next;
    else
        b->heads[f->clean][f->order] = f->next;
    if (f->next != BUDDY_NONE)
        b->frames[f->next].prev = f->prev;
    else if (f->prev == BUDDY_NONE)
        b->filled[f->clean] &= ~(1u << f->order);
    if (f->clean)
        b->stats.clean -= BIT(f->order);
    f->order = BUDDY_INSIDE;
}

/* Whether at starts a free block of that order. */
static bool is_free_block(const struct buddy *b, uint64_t at, unsigned order)
{
    return at + BIT(order) <= b->n && b->frames[at].owner == FRAME_FREE &&
           b->frames[at].order == order;
}

/* Puts a block on its list, after merging it with its buddy as often as that goes. */
static void push_merged(struct buddy *b, uint32_t at, unsigned order, bool clean)
{
    for (; order < FRAME_ORDER_1G; order++) {
        uint32_t other = at ^ (uint32_t)BIT(order);

        if (!is_free_block(b, other, order) || b->frames[other].clean != clean)
            break;
        unlink(b, other);
        b->frames[at].order = BUDDY_INSIDE;
        at = MIN(at, other);
    }
    push(b, at, order, clean);
}

/* The first frame speaks for the whole block: those inside it only say that they are. */
static inline void set_owner(struct buddy *b, uint32_t at, unsigned order, enum frame_owner owner)
{
    b->frames[at] = (struct frame){.owner = (uint8_t)owner, .order = (uint8_t)order};
    b->stats.by_owner[owner] += BIT(order);
}

/* ------------------------------------------------------------ setting up */

void buddy_init(struct buddy *b, struct frame *frames, uint32_t n)
{
    *b = (struct buddy){.frames = frames, .n = n};
    for (unsigned order = 0; order < BUDDY_ORDERS; order++)
        b->heads[0][order] = b->heads[1][order] = BUDDY_NONE;
    b->stats.by_owner[FRAME_RESERVED] = n;
}

static void add_free(struct buddy *b, uint32_t start, uint32_t end)
{
    while (start < end) {
        unsigned order = start == 0 ? FRAME_ORDER_1G : (unsigned)__builtin_ctz(start);

        order = MIN(order, (unsigned)FRAME_ORDER_1G);
        while (start + BIT(order) > end)
            order--;
        for (uint32_t i = start; i < start + BIT(order); i++) {
            b->frames[i].owner = FRAME_FREE;
            b->frames[i].order = BUDDY_INSIDE;
        }
        push_merged(b, start, order, false);
        start += (uint32_t)BIT(order);
    }
}

void buddy_add(struct buddy *b, uint32_t start, uint32_t end, enum frame_owner owner)
{
    ASSERT(start <= end && end <= b->n && owner != FRAME_RESERVED);
    for (uint32_t i = start; i < end; i++)
        ASSERT(b->frames[i].owner == FRAME_RESERVED);
    b->stats.by_owner[FRAME_RESERVED] -= end - start;
    b->stats.total += end - start;
    if (owner == FRAME_FREE) {
        b->stats.by_owner[FRAME_FREE] += end - start;
        b->stats.free += end - start;
        add_free(b, start, end);
        return;
    }
    for (uint32_t i = start; i < end; i++)
        set_owner(b, i, 0, owner);
}

/* ------------------------------------------------------------ allocating */

/*
 * The smallest order that has a block of at least order, and which of two of a size: the one whose
 * cleanliness is wanted. BUDDY_ORDERS: there is none.
 */
static inline unsigned find(const struct buddy *b, unsigned order, bool want_clean, bool *clean)
{
    uint32_t any = (b->filled[0] | b->filled[1]) >> order;

    if (unlikely(any == 0))
        return BUDDY_ORDERS;
    order += (unsigned)__builtin_ctz(any);
    *clean = b->filled[want_clean] >> order & 1 ? want_clean : !want_clean;
    return order;
}

/* Cuts the free block at to 2^order frames, which belong to nobody then. */
static void carve(struct buddy *b, uint32_t at, unsigned order)
{
    unsigned have = b->frames[at].order;
    bool clean = b->frames[at].clean;

    unlink(b, at);
    while (have > order) {
        have--;
        push(b, at + (uint32_t)BIT(have), have, clean);
    }
    b->stats.free -= BIT(order);
    b->stats.by_owner[FRAME_FREE] -= BIT(order);
}

/* Merges clean blocks of one order with buddies that are not; true when one of want came up. */
static bool merge_mixed_order(struct buddy *b, unsigned order, unsigned want)
{
    uint32_t at = b->heads[1][order];

    while (at != BUDDY_NONE) {
        uint32_t next = b->frames[at].next, other = at ^ (uint32_t)BIT(order);

        if (is_free_block(b, other, order)) {
            unlink(b, at);
            push_merged(b, at, order, false);
            if ((b->filled[0] | b->filled[1]) >> want != 0)
                return true;
        }
        at = next;
    }
    return false;
}

static __attribute__((noinline)) bool merge_mixed(struct buddy *b, unsigned want)
{
    for (unsigned order = 0; order < want; order++)
        if (merge_mixed_order(b, order, want))
            return true;
    return false;
}

uint32_t buddy_alloc(struct buddy *b, unsigned order, enum frame_owner owner, bool want_clean,
                     bool *clean)
{
    unsigned have;
    bool is_clean = want_clean;
    uint32_t at;

    ASSERT(order <= FRAME_ORDER_1G && owner > FRAME_FREE);
    have = find(b, order, want_clean, &is_clean);
    if (unlikely(have == BUDDY_ORDERS)) {
        if (b->stats.free < BIT(order) || !merge_mixed(b, order))
            return BUDDY_NONE;
        have = find(b, order, want_clean, &is_clean);
    }
    *clean = is_clean;
    at = pop_uncounted(b, have, is_clean);
    while (have > order) {
        have--;
        push_uncounted(b, at + (uint32_t)BIT(have), have, is_clean);
    }
    b->stats.clean -= is_clean ? BIT(order) : 0;
    b->stats.free -= BIT(order);
    b->stats.by_owner[FRAME_FREE] -= BIT(order);
    set_owner(b, at, order, owner);
    return at;
}

void buddy_free(struct buddy *b, uint32_t at, unsigned order, bool clean)
{
    enum frame_owner owner;

    ASSERT(order <= FRAME_ORDER_1G && at < b->n && b->n - at >= BIT(order));
    owner = b->frames[at].owner;
    ASSERT(owner > FRAME_FREE && b->frames[at].order == order);
    set_owner(b, at, order, FRAME_FREE); /* counts by_owner[FRAME_FREE] */
    b->stats.by_owner[owner] -= BIT(order);
    b->stats.free += BIT(order);
    push_merged(b, at, order, clean);
}

void buddy_split(struct buddy *b, uint32_t at, unsigned order)
{
    ASSERT(at < b->n && b->frames[at].owner > FRAME_FREE && b->frames[at].order == order);
    for (uint32_t i = at; i < at + BIT(order); i++) {
        b->frames[i] = b->frames[at];
        b->frames[i].order = 0;
    }
}

uint32_t buddy_take_dirty(struct buddy *b, unsigned max_order, unsigned *order)
{
    /* The smallest first: what is left of a block that was begun comes before a new one. */
    for (unsigned o = 0; o < BUDDY_ORDERS; o++) {
        uint32_t at = b->heads[0][o];

        if (at == BUDDY_NONE)
            continue;
        *order = MIN(o, max_order);
        carve(b, at, *order);
        set_owner(b, at, *order, FRAME_HYPERVISOR);
        return at;
    }
    return BUDDY_NONE;
}

/* ------------------------------------------------------------ checking */

static void audit_lists(const struct buddy *b)
{
    uint64_t free = 0, clean = 0;

    for (unsigned c = 0; c < 2; c++) {
        for (unsigned order = 0; order < BUDDY_ORDERS; order++) {
            uint32_t prev = BUDDY_NONE;

            ASSERT((b->filled[c] >> order & 1) == (b->heads[c][order] != BUDDY_NONE));
            for (uint32_t at = b->heads[c][order]; at != BUDDY_NONE; at = b->frames[at].next) {
                const struct frame *f = &b->frames[at];
                uint32_t other = at ^ (uint32_t)BIT(order);

                ASSERT(f->owner == FRAME_FREE && f->order == order && f->clean == (c == 1));
                ASSERT(f->prev == prev && at % BIT(order) == 0 && at + BIT(order) <= b->n);
                ASSERT(order == FRAME_ORDER_1G || !is_free_block(b, other, order) ||
                       b->frames[other].clean != f->clean);
                prev = at;
                free += BIT(order);
                clean += c * BIT(order);
                ASSERT(free <= b->n);
            }
        }
    }
    ASSERT(free == b->stats.free && clean == b->stats.clean);
}

/* Walks block by block: every frame is in exactly one, with one owner throughout. */
static void audit_frames(const struct buddy *b)
{
    uint64_t by_owner[ARRAY_SIZE(b->stats.by_owner)] = {0};

    for (uint64_t at = 0; at < b->n;) {
        const struct frame *head = &b->frames[at];
        uint64_t size = head->owner == FRAME_RESERVED ? 1 : BIT(head->order);

        ASSERT(head->owner < ARRAY_SIZE(by_owner));
        ASSERT(head->owner == FRAME_RESERVED || head->order <= FRAME_ORDER_1G);
        ASSERT(at + size <= b->n);
        for (uint64_t i = 1; i < size; i++)
            ASSERT(b->frames[at + i].order == BUDDY_INSIDE);
        by_owner[head->owner] += size;
        at += size;
    }
    ASSERT(memcmp(by_owner, b->stats.by_owner, sizeof(by_owner)) == 0);
    ASSERT(by_owner[FRAME_FREE] == b->stats.free);
    ASSERT(b->stats.total + by_owner[FRAME_RESERVED] == b->n);
}

void buddy_audit(const struct buddy *b)
{
    audit_lists(b);
    audit_frames(b);
}
