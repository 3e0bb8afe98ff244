/*
 * Where time went: every tick of a vCPU and of a CPU is in exactly one state, so the states add up
 * to the time since the start. Ticks of the TSC.
 */
#ifndef SCHED_ACCOUNT_H
#define SCHED_ACCOUNT_H

#include "lib/types.h"

enum account_state {
    ACCOUNT_HALTED,     /* a vCPU that waits for an event; a CPU that is idle */
    ACCOUNT_READY,      /* could run, but others do */
    ACCOUNT_HELD,       /* could run, but its limit or a sibling that lags keeps it back */
    ACCOUNT_GUEST,      /* executes the guest's instructions */
    ACCOUNT_HYPERVISOR, /* the hypervisor works, for this vCPU */
    ACCOUNT_INTERRUPT,  /* interrupts meant for others: stolen from this vCPU */
    ACCOUNT_STATES,
};

struct account {
    uint64_t ticks[ACCOUNT_STATES]; /* of the states' ended parts */
    uint64_t start, since;          /* when it began; when it entered its state */
    enum account_state state;
};

void account_init(struct account *a, enum account_state state, uint64_t now);
/* Since it entered its state. A clock that goes back counts as standing still. */
static inline uint64_t account_elapsed(const struct account *a, uint64_t now)
{
    return (int64_t)(now - a->since) > 0 ? now - a->since : 0;
}
/* From now on in that state. */
static inline void account_switch(struct account *a, enum account_state state, uint64_t now)
{
    uint64_t ticks = account_elapsed(a, now);

    a->ticks[a->state] += ticks;
    a->since += ticks;
    a->state = state;
}
/* The ticks in that state up to now, the part that goes on included. */
uint64_t account_ticks(const struct account *a, enum account_state state, uint64_t now);
/* The states' names as statistics print them. */
const char *account_name(enum account_state state);

#endif
