/* Between sched.c and place.c. */
#ifndef SCHED_INTERNAL_H
#define SCHED_INTERNAL_H

#include "sched/sched.h"

/* Locks the queue that e is in, whichever that is by then. */
struct sched_queue *sched_lock_home(struct sched_entity *e);
/* Two queues, which may be the same, in the order of the rules. */
void sched_lock_two(struct sched_queue *a, struct sched_queue *b);
void sched_unlock_two(struct sched_queue *a, struct sched_queue *b);

/* A READY entity out of, and into, its queue's ready tree and order. */
void sched_take_ready(struct sched_queue *q, struct sched_entity *e);
void sched_put_ready(struct sched_queue *q, struct sched_entity *e);

/* Where a BLOCKED entity that wakes should go. Its queue is locked. */
struct sched_queue *place_for(struct sched_entity *e);
/* It does not go there after all; q is locked. */
void place_unclaim(struct sched_queue *q);
/* Another CPU that is idle and may take something that waits somewhere; SCHED_NO_CPU: none. */
int place_idle_helper(const struct sched_queue *q);
/* Takes one READY entity from another queue for this one, which has none. */
bool place_pull(struct sched_queue *q, uint64_t now);
/* Whether place_balance would look. */
bool place_balance_due(const struct sched_queue *q, uint64_t now);
/* From time to time: takes one from a queue that has fallen behind this one. True: it did. */
bool place_balance(struct sched_queue *q, uint64_t now);

#endif
