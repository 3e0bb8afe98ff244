/*
 * Small objects: each class carves single frames, which begin with a header, into equal cells.
 * What is larger gets whole frames; being page aligned is what tells the two apart.
 */
#include "lib/assert.h"
#include "lib/list.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "machine/frame.h"

#define SLAB_MAGIC 0x7469746865736c62ull

struct cell {
    struct cell *next;
};

/* At the start of a frame of cells. */
struct slab {
    uint64_t magic;
    struct list node; /* in its class, while it has a free cell */
    struct cell *free;
    uint32_t class;
    uint32_t used;
};

/* From 64 bytes up, cells are aligned to a cache line; the largest fits a frame twice. */
#define SLAB_HEADER 64
static const uint16_t cell_sizes[] = {32, 64, 128, 256, 448, 960, 1984};
_Static_assert(sizeof(struct slab) <= SLAB_HEADER, "the header fits");
#define NR_CLASSES ARRAY_SIZE(cell_sizes)
_Static_assert(SLAB_HEADER + 2 * 1984 <= PAGE_SIZE, "two of the largest cells fit a frame");

static struct spinlock lock = SPINLOCK_INIT;
static struct list partial[NR_CLASSES]; /* slabs with a free cell */

static unsigned class_of(size_t bytes)
{
    unsigned class = 0;

    while (class < NR_CLASSES && cell_sizes[class] < bytes)
        class ++;
    return class;
}

static struct slab *new_slab(unsigned class)
{
    mpn_t m = frame_alloc(0, FRAME_HYPERVISOR, 0);
    struct slab *s;

    if (mpn_is_none(m))
        return NULL;
    s = mpn_ptr(m);
    *s = (struct slab){.magic = SLAB_MAGIC, .class = class};
    for (size_t at = SLAB_HEADER; at + cell_sizes[class] <= PAGE_SIZE; at += cell_sizes[class]) {
        struct cell *c = (struct cell *)((char *)s + at);

        c->next = s->free;
        s->free = c;
    }
    list_push_front(&partial[class], &s->node);
    return s;
}

static void *alloc_cell(unsigned class)
{
    struct slab *s;
    struct cell *c;

    if (partial[class].next == NULL)
        list_init(&partial[class]);
    if (list_empty(&partial[class])) {
        if ((s = new_slab(class)) == NULL)
            return NULL;
    } else {
        s = list_entry(partial[class].next, struct slab, node);
    }
    c = s->free;
    s->free = c->next;
    s->used++;
    if (s->free == NULL)
        list_remove(&s->node);
    return c;
}

static void *alloc_frames(size_t bytes)
{
    unsigned order = 0;
    mpn_t m;

    while ((PAGE_SIZE << order) < bytes)
        if (++order > FRAME_ORDER_1G)
            return NULL;
    m = frame_alloc(order, FRAME_HYPERVISOR, FRAME_ZERO);
    return mpn_is_none(m) ? NULL : mpn_ptr(m);
}

void *heap_alloc(size_t bytes)
{
    unsigned class = class_of(bytes);
    void *p;

    if (class == NR_CLASSES)
        return alloc_frames(bytes);
    spin_lock(&lock);
    p = alloc_cell(class);
    spin_unlock(&lock);
    return p == NULL ? NULL : memset(p, 0, cell_sizes[class]);
}

static void free_cell(struct slab *s, struct cell *c)
{
    ASSERT(s->magic == SLAB_MAGIC && s->class < NR_CLASSES && s->used > 0);
    ASSERT(((uintptr_t)c - (uintptr_t)s - SLAB_HEADER) % cell_sizes[s->class] == 0);
    if (s->free == NULL)
        list_push_front(&partial[s->class], &s->node);
    c->next = s->free;
    s->free = c;
    s->used--;
    if (s->used == 0) {
        list_remove(&s->node);
        s->magic = 0;
        frame_free(hpa_mpn(ptr_hpa(s)), 0);
    }
}

void heap_free(void *p)
{
    if (p == NULL)
        return;
    if (((uintptr_t)p & PAGE_MASK) == 0) {
        mpn_t m = hpa_mpn(ptr_hpa(p));
        struct frame *f = frame_get(m);

        ASSERT(f != NULL && f->owner == FRAME_HYPERVISOR);
        frame_free(m, f->order);
        return;
    }
    spin_lock(&lock);
    free_cell((struct slab *)ALIGN_DOWN((uintptr_t)p, PAGE_SIZE), p);
    spin_unlock(&lock);
}
