/*
 * Which entity runs next on a physical CPU. Pure: it knows lib/ alone, and runs on the host too.
 * One queue per CPU; an entity belongs to one queue at a time. The policy here is round robin.
 *
 * An entity is either blocked, ready (in the queue's list) or running (the queue's current).
 */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H

#include "lib/list.h"
#include "lib/spinlock.h"
#include "lib/types.h"

enum sched_state { SCHED_BLOCKED, SCHED_READY, SCHED_RUNNING };

struct sched_entity {
    struct list node; /* in its queue's ready list while READY */
    enum sched_state state;
    bool wakeup;    /* woken while running: it must not block before it has looked again */
    uint64_t since; /* when it entered its state, in ticks */
    uint64_t ran;   /* ticks that it was running, in all */
};

struct sched_queue {
    struct spinlock lock;
    struct list ready;
    struct sched_entity *current;
    unsigned nr_ready;
};

void sched_queue_init(struct sched_queue *q);
void sched_entity_init(struct sched_entity *e);

/*
 * Makes e ready, if it is blocked; if it runs, remembers the wake-up for sched_block. Returns true
 * when it was blocked: the queue's CPU should look. Any CPU.
 */
bool sched_wake(struct sched_queue *q, struct sched_entity *e, uint64_t now);
/*
 * The running entity wants to block. False: it was woken meanwhile and goes on running.
 */
MUST_CHECK bool sched_block(struct sched_queue *q, struct sched_entity *e, uint64_t now);
/* The running entity gives the CPU up but remains ready: behind all others. */
void sched_requeue(struct sched_queue *q, struct sched_entity *e, uint64_t now);
/* Takes the next ready entity and makes it the running one; NULL: nothing to run. */
struct sched_entity *sched_pick(struct sched_queue *q, uint64_t now);
/* Whether somebody else waits for this CPU. */
static inline bool sched_contended(const struct sched_queue *q)
{
    return __atomic_load_n(&q->nr_ready, __ATOMIC_RELAXED) > 0;
}

#endif
