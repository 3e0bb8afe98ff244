/* Pseudo-random numbers that are the same in every run (splitmix64). */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include "lib/types.h"

struct random {
    uint64_t state; /* the seed to begin with */
};

static inline uint64_t random_next(struct random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
static inline unsigned random_below(struct random *r, unsigned limit)
{
    return (unsigned)(random_next(r) % limit);
}

#endif
