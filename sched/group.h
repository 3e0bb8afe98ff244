/*
 * A VM as the scheduler sees it: its entities, and what they may have of the machine together.
 */
#ifndef SCHED_GROUP_H
#define SCHED_GROUP_H

#include "sched/sched.h"

#define SCHED_MAX_ENTITIES   16 /* of a group */
#define SCHED_DEFAULT_SHARES 1000
#define SCHED_MAX_SHARES     1000000

struct sched_params {
    uint64_t shares;      /* its weight against other groups, 1 to SCHED_MAX_SHARES */
    uint64_t reservation; /* the least that it gets while it wants it, in percent of one CPU */
    uint64_t limit;       /* the most that it gets, in percent of one CPU; 0: no limit */
    uint64_t affinity;    /* a bit for each CPU that it may run on */
};

struct sched_group {
    struct sched *sched;
    struct spinlock lock; /* of the members, of params being set, and of limit_due */
    struct sched_params params;
    unsigned active; /* atomic: entities that are READY or RUNNING */
    unsigned nr;
    struct sched_entity *entities[SCHED_MAX_ENTITIES];
    uint64_t limit_due; /* ticks: it has had its limit up to here */
};

/*
 * Whether these parameters make sense on this machine: 0, or E_INVAL. Reservations of more than
 * the machine's CPUs are only found by sched_group_init and sched_group_set.
 */
MUST_CHECK int sched_params_check(const struct sched *s, const struct sched_params *p);
/* 0; E_INVAL: see above; E_NOSPC: the machine's CPUs are reserved already. */
MUST_CHECK int sched_group_init(struct sched_group *g, struct sched *s,
                                const struct sched_params *p, uint64_t now);
/* The group has no entities any more. */
void sched_group_destroy(struct sched_group *g);
/* New parameters, which take effect at once; affinity stays as it is. Errors: as above. */
MUST_CHECK int sched_group_set(struct sched_group *g, const struct sched_params *p, uint64_t now);

/* Adds an entity, BLOCKED. resident: see struct sched_entity. E_NOSPC: there are too many. */
MUST_CHECK int sched_entity_init(struct sched_entity *e, struct sched_group *g,
                                 const bool *resident, uint64_t now);
/* Takes a BLOCKED entity out of its group. */
void sched_entity_destroy(struct sched_entity *e);

/* ---- for sched.c and the policies ---- */

/* An entity's part of its group's shares, in 64ths; and of its reservation, CPU = 65536. */
#define GROUP_WEIGHT_UNIT 64
#define GROUP_RATE_UNIT   65536
uint64_t group_weight(const struct sched_entity *e);
uint64_t group_floor_rate(const struct sched_entity *e);
/* One of its entities has run. */
void group_charge(struct sched_group *g, uint64_t ticks, uint64_t now);
/* When e may run: now, or a time to come, up to which its limit or its siblings keep it back. */
uint64_t group_release(const struct sched_entity *e, uint64_t now);
/* e was blocked: what it or its siblings have waited before does not count any more. */
void group_forget_waiting(struct sched_entity *e, uint64_t now);
/* Whether e has to be looked at each slice, even when it has its CPU for itself. */
bool group_watched(const struct sched_group *g);

#endif
