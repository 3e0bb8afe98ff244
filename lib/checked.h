/* Arithmetic that says when it does not fit, and exact scaling between clocks. */
#ifndef LIB_CHECKED_H
#define LIB_CHECKED_H

#include "lib/types.h"

/* *sum = a + b; false when it wraps. */
MUST_CHECK static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}
MUST_CHECK static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* Whether [start, start + len) lies within [0, limit), without wrapping. */
static inline bool checked_range(uint64_t start, uint64_t len, uint64_t limit)
{
    return start <= limit && len <= limit - start;
}

/*
 * a * b / c with a 128-bit product, rounded down; c > 0. Saturates at UINT64_MAX when the
 * quotient does not fit.
 */
static inline uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 p = (unsigned __int128)a * b;
    uint64_t hi = (uint64_t)(p >> 64), lo = (uint64_t)p, q, r;

    if (hi >= c)
        return UINT64_MAX;
    /* DIV does it at once; the compiler would call a library routine for 128 / 64. */
    __asm__("divq %4" : "=a"(q), "=d"(r) : "0"(lo), "1"(hi), "rm"(c) : "cc");
    return q;
}

#endif
