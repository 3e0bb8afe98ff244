/*
 * What a scheduling policy is: the order of the entities in a queue. States, limits, siblings,
 * locks and the accounts are sched.c's; which CPU is place.c's.
 *
 * All calls come with the queue locked. "Joined" is an entity that is READY or RUNNING here.
 */
#ifndef SCHED_POLICY_H
#define SCHED_POLICY_H

#include "sched/sched.h"

enum sched_join {
    SCHED_JOIN_WOKEN,
    SCHED_JOIN_RELEASED, /* it was HELD */
    SCHED_JOIN_MOVED,    /* from another queue, after carry */
    SCHED_JOIN_REQUEUED, /* it was RUNNING: it never left */
    SCHED_JOIN_YIELDED,  /* likewise, and others are to be first */
    SCHED_JOIN_CHANGED,  /* it was READY: it never left; its group's parameters have changed */
};

struct sched_policy {
    const char *name;
    /* e becomes READY: sets node.key and node.value for the ready tree. */
    void (*join)(struct sched_queue *q, struct sched_entity *e, enum sched_join how, uint64_t now);
    /* A READY entity is taken out of the ready tree: to run, to be held, or to be moved. */
    void (*unqueue)(struct sched_queue *q, struct sched_entity *e);
    /* e is not here any more: blocked, held or moved away. */
    void (*leave)(struct sched_queue *q, struct sched_entity *e);
    /* The running entity has used so many ticks; sets expired when its request is served. */
    void (*charge)(struct sched_queue *q, struct sched_entity *e, uint64_t ticks, uint64_t now);
    /* The READY entity that should run now; NULL: there is none. */
    struct sched_entity *(*pick)(struct sched_queue *q, uint64_t now);
    /* Whether a READY entity should run instead of the running one, whose time is not over. */
    bool (*preempts)(struct sched_queue *q, uint64_t now);
    /* How long the running entity may go on when others are READY. */
    uint64_t (*until)(struct sched_queue *q, uint64_t now);

    /* How loaded q is for e, to choose the least; without the lock, so roughly. */
    uint64_t (*load)(const struct sched_queue *q, const struct sched_entity *e);
    /* Whether fairness wants an entity to move; without locks, so roughly. */
    bool (*should_move)(const struct sched_queue *from, const struct sched_queue *to);
    /* e, out of its queue, is about to move. Both are locked. */
    void (*carry)(struct sched_queue *from, struct sched_queue *to, struct sched_entity *e);
};

extern const struct sched_policy sched_proportional, sched_round_robin;
/* By name; NULL: there is no such policy. */
const struct sched_policy *sched_policy_named(const char *name);

#endif
