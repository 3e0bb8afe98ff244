/*
 * A sorted list. Queues hold a handful of timers (a few per VM), and setting the soonest one,
 * which is what a guest's own timer nearly always is, looks at one node.
 */
#include "lib/timerq.h"

void timerq_init(struct timerq *q)
{
    list_init(&q->timers);
}

void timer_init(struct timer *t, void (*fire)(struct timer *t, uint64_t now), void *opaque)
{
    list_init(&t->node);
    t->deadline = TIMER_NEVER;
    t->queue = NULL;
    t->fire = fire;
    t->opaque = opaque;
}

bool timerq_set(struct timerq *q, struct timer *t, uint64_t deadline)
{
    struct list *pos;

    list_remove(&t->node);
    t->deadline = deadline;
    t->queue = q;
    for (pos = q->timers.next; pos != &q->timers; pos = pos->next)
        if (list_entry(pos, struct timer, node)->deadline > deadline)
            break;
    list_insert_before(pos, &t->node);
    return q->timers.next == &t->node;
}

void timerq_cancel(struct timer *t)
{
    list_remove(&t->node);
    t->deadline = TIMER_NEVER;
    t->queue = NULL;
}

struct timer *timerq_pop(struct timerq *q, uint64_t now)
{
    struct timer *t;

    if (timerq_next(q) > now)
        return NULL;
    t = list_entry(q->timers.next, struct timer, node);
    timerq_cancel(t);
    return t;
}

void timerq_expire(struct timerq *q, uint64_t now)
{
    struct timer *t;

    while ((t = timerq_pop(q, now)) != NULL)
        t->fire(t, now);
}
