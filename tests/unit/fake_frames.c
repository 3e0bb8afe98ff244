#include "tests/unit/fake_frames.h"
#include <stdlib.h>
#include "lib/assert.h"
#include "lib/string.h"

struct block {
    mpn_t mpn;
    struct frame frame;
    struct block *next;
};

static struct block *blocks;
static uint64_t allowed = FAKE_FRAMES_NO_LIMIT;

static struct block **find(mpn_t mpn)
{
    struct block **b = &blocks;

    while (*b != NULL && (*b)->mpn.v != mpn.v)
        b = &(*b)->next;
    return b;
}

/* What is not asked to be zero is filled with a pattern: nobody may count on zeroes. */
mpn_t frame_alloc(unsigned order, enum frame_owner owner, unsigned flags)
{
    size_t size = PAGE_SIZE << order;
    struct block *b;
    void *memory;

    if (allowed == 0)
        return MPN_NONE;
    if (allowed != FAKE_FRAMES_NO_LIMIT)
        allowed--;
    b = calloc(1, sizeof(*b));
    ASSERT(b != NULL && posix_memalign(&memory, size, size) == 0);
    memset(memory, flags & FRAME_ZERO ? 0 : 0xa5, size);
    *b = (struct block){hpa_mpn(ptr_hpa(memory)), {.owner = owner, .order = order}, blocks};
    blocks = b;
    return b->mpn;
}

/* Only whole blocks, as they were allocated. */
void frame_free(mpn_t mpn, unsigned order)
{
    struct block **at = find(mpn), *b = *at;

    ASSERT(b != NULL && b->frame.order == order);
    *at = b->next;
    free(mpn_ptr(mpn));
    free(b);
}

struct frame *frame_get(mpn_t mpn)
{
    struct block *b = *find(mpn);

    return b == NULL ? NULL : &b->frame;
}

void fake_frames_limit(uint64_t allocations)
{
    allowed = allocations;
}

uint64_t fake_frames_used(void)
{
    uint64_t n = 0;

    for (const struct block *b = blocks; b != NULL; b = b->next)
        n++;
    return n;
}
