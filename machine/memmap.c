#include "lib/string.h"
#include "machine/memmap.h"

static bool insert(struct memmap *m, unsigned at, uint64_t start, uint64_t end)
{
    if (m->n == MEMMAP_MAX)
        return false;
    memmove(&m->ranges[at + 1], &m->ranges[at], (m->n - at) * sizeof(m->ranges[0]));
    m->ranges[at] = (struct memmap_range){start, end};
    m->n++;
    return true;
}

static void drop(struct memmap *m, unsigned at)
{
    m->n--;
    memmove(&m->ranges[at], &m->ranges[at + 1], (m->n - at) * sizeof(m->ranges[0]));
}

bool memmap_add(struct memmap *m, uint64_t start, uint64_t end)
{
    unsigned at = 0;

    if (start > UINT64_MAX - PAGE_MASK)
        return true;
    start = ALIGN_UP(start, PAGE_SIZE);
    end = ALIGN_DOWN(end, PAGE_SIZE);
    if (start >= end)
        return true;
    while (at < m->n && m->ranges[at].end < start)
        at++;
    /* Swallow all ranges that touch or overlap the new one. */
    while (at < m->n && m->ranges[at].start <= end) {
        start = MIN(start, m->ranges[at].start);
        end = MAX(end, m->ranges[at].end);
        drop(m, at);
    }
    return insert(m, at, start, end);
}

bool memmap_remove(struct memmap *m, uint64_t start, uint64_t end)
{
    if (start >= end)
        return true;
    start = ALIGN_DOWN(start, PAGE_SIZE);
    end =
        end > UINT64_MAX - PAGE_MASK ? ALIGN_DOWN(UINT64_MAX, PAGE_SIZE) : ALIGN_UP(end, PAGE_SIZE);
    for (unsigned i = 0; i < m->n;) {
        struct memmap_range *r = &m->ranges[i];
        uint64_t tail = r->end;

        if (r->end <= start || r->start >= end) {
            i++;
        } else if (r->start >= start && r->end <= end) {
            drop(m, i);
        } else if (r->start >= start) {
            r->start = end;
            i++;
        } else {
            r->end = start;
            i++;
            if (tail > end && !insert(m, i, end, tail))
                return false;
        }
    }
    return true;
}

uint64_t memmap_take(struct memmap *m, uint64_t size, uint64_t align, uint64_t limit)
{
    uint64_t best = UINT64_MAX, best_room = 0;

    for (unsigned i = 0; i < m->n; i++) {
        uint64_t end = MIN(m->ranges[i].end, limit), at;

        if (end <= m->ranges[i].start || end - m->ranges[i].start < size)
            continue;
        at = ALIGN_DOWN(end - size, align);
        if (at < m->ranges[i].start || end - m->ranges[i].start <= best_room)
            continue;
        best = at;
        best_room = end - m->ranges[i].start;
    }
    if (best != UINT64_MAX && !memmap_remove(m, best, best + size))
        return UINT64_MAX;
    return best;
}

uint64_t memmap_size(const struct memmap *m)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < m->n; i++)
        size += m->ranges[i].end - m->ranges[i].start;
    return size;
}

bool memmap_usable(struct memmap *m, const struct bootinfo *b, uint64_t limit)
{
    bool ok = true;

    m->n = 0;
    for (unsigned i = 0; i < b->nr_ranges; i++) {
        const struct boot_range *r = &b->ranges[i];
        uint64_t end = r->start.v + (r->size - 1); /* inclusive: the map may reach the very end */

        if (r->type == BOOT_RANGE_USABLE && r->start.v < limit)
            ok &= memmap_add(m, r->start.v, MIN(end, limit - 1) + 1);
    }
    /* Firmware maps overlap; then the more careful entry is right. */
    for (unsigned i = 0; i < b->nr_ranges; i++) {
        const struct boot_range *r = &b->ranges[i];
        uint64_t end = r->start.v + (r->size - 1);

        if (r->type != BOOT_RANGE_USABLE)
            ok &= memmap_remove(m, r->start.v, end == UINT64_MAX ? end : end + 1);
    }
    return ok;
}
