/*
 * A queue of one-shot timers, ordered by deadline. The unit is whatever the owner counts (TSC
 * ticks here). Not locked: the owner of a queue does that.
 */
#ifndef LIB_TIMERQ_H
#define LIB_TIMERQ_H

#include "lib/list.h"
#include "lib/types.h"

#define TIMER_NEVER UINT64_MAX

struct timer {
    struct list node;                            /* in its queue while armed */
    uint64_t deadline;                           /* TIMER_NEVER while not armed */
    struct timerq *queue;                        /* the queue it is armed in, or NULL */
    void (*fire)(struct timer *t, uint64_t now); /* called once, with the timer disarmed */
    void *opaque;
};

struct timerq {
    struct list timers; /* soonest first */
};

void timerq_init(struct timerq *q);
/* Gives a timer its callback; must come before its first use. */
void timer_init(struct timer *t, void (*fire)(struct timer *t, uint64_t now), void *opaque);
/* Arms t, or moves it when it is armed already. Returns true when it is now the soonest. */
bool timerq_set(struct timerq *q, struct timer *t, uint64_t deadline);
/* Disarms t, if it is armed. */
void timerq_cancel(struct timer *t);
/* Takes the soonest timer out of the queue if its deadline is not after now; else NULL. */
struct timer *timerq_pop(struct timerq *q, uint64_t now);
/* Fires all timers whose deadline is not after now. A callback may arm and cancel timers. */
void timerq_expire(struct timerq *q, uint64_t now);

static inline bool timer_armed(const struct timer *t)
{
    return t->queue != NULL;
}
/* The soonest deadline, or TIMER_NEVER. */
static inline uint64_t timerq_next(const struct timerq *q)
{
    return list_empty(&q->timers) ? TIMER_NEVER
                                  : list_entry(q->timers.next, struct timer, node)->deadline;
}

#endif
