/* Bitmaps over arrays of uint64_t; bit n is bit n % 64 of word n / 64. */
#ifndef LIB_BITMAP_H
#define LIB_BITMAP_H

#include "lib/types.h"

#define BITMAP_WORDS(bits) (((bits) + 63) / 64)

static inline bool bitmap_test(const uint64_t *map, unsigned n)
{
    return map[n / 64] >> (n % 64) & 1;
}
static inline void bitmap_set(uint64_t *map, unsigned n)
{
    map[n / 64] |= BIT(n % 64);
}
static inline void bitmap_clear(uint64_t *map, unsigned n)
{
    map[n / 64] &= ~BIT(n % 64);
}

#endif
