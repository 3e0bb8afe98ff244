/*
 * Ticket spinlocks: fair, and they know their holder so that a missing or a doubled lock is an
 * assertion and not a hang. VMM code runs with interrupts off, so none of them saves flags.
 */
#ifndef LIB_SPINLOCK_H
#define LIB_SPINLOCK_H

#include "lib/assert.h"
#include "lib/types.h"

struct spinlock {
    uint32_t next;    /* the ticket that the next taker draws */
    uint32_t serving; /* the ticket whose turn it is */
};

#define SPINLOCK_INIT \
    {                 \
        0, 0          \
    }

static inline void spin_wait(struct spinlock *l, uint32_t mine)
{
    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != mine)
        __builtin_ia32_pause();
}
static inline void spin_lock(struct spinlock *l)
{
    uint32_t mine = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

    if (unlikely(__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != mine))
        spin_wait(l, mine);
}
/* Only the holder writes serving, and stores are seen in order: no lock prefix is needed. */
static inline void spin_unlock(struct spinlock *l)
{
    __asm__ volatile("incl %0" : "+m"(l->serving) : : "memory", "cc");
}
static inline bool spin_is_locked(struct spinlock *l)
{
    return __atomic_load_n(&l->next, __ATOMIC_RELAXED) !=
           __atomic_load_n(&l->serving, __ATOMIC_RELAXED);
}

#endif
