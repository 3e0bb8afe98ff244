/*
 * A simulated machine for the scheduler: CPUs, and vCPUs that want to run in patterns. Events in
 * the order of their time, nothing random but what the seed gives: every run is the same.
 */
#ifndef TESTS_SCHED_SIM_H
#define TESTS_SCHED_SIM_H

#include "sched/group.h"
#include "sched/policy.h"
#include "tests/unit/random.h"

#define SIM_HZ 1000000000ull /* a tick is a nanosecond */
#define SIM_MS (SIM_HZ / 1000)

enum sim_kind {
    SIM_BUSY,        /* always wants to run */
    SIM_PERIODIC,    /* every pause ticks it wants to run for burst ticks */
    SIM_INTERACTIVE, /* runs about burst ticks, sleeps about pause ticks */
};

struct sim_load {
    enum sim_kind kind;
    uint64_t burst, pause; /* ticks */
    uint64_t spin;         /* PAUSE loops: it yields after so many ticks of running; 0: never */
};

struct sim_task {
    struct sched_entity e;
    struct sim_load load;
    uint64_t left;     /* of its burst */
    uint64_t period;   /* when its next period begins */
    uint64_t woken_at; /* since its wake-up it has not run yet; 0: it has */
    uint64_t latency;  /* the longest that took */
    uint64_t wakeups;
    bool off; /* goes to sleep for good as soon as it can */
};

struct sim_vm {
    struct sched_group group;
    unsigned nr;
    struct sim_task *tasks;
    bool there;
};

struct sim_cpu {
    struct sched_entity *current;
    uint64_t started, until, spin_at;
};

struct sim_event {
    uint64_t at, order;
    struct sim_task *task;
};

struct sim {
    struct sched s;
    struct sched_queue *queues;
    struct sim_cpu *cpus;
    unsigned nr_cpus;
    struct sim_vm *vms;
    unsigned nr_vms, max_vms;
    struct sim_event *events; /* a heap: the wake-ups to come */
    unsigned nr_events, max_events;
    struct random rnd;
    uint64_t now, start, order;
    bool check; /* after each event: nothing waits for a CPU that is idle */
    uint64_t switches;
    uint64_t skew; /* the largest seen between siblings, if check is set */
};

void sim_init(struct sim *m, const struct sched_policy *policy, unsigned nr_cpus, unsigned max_vms,
              uint64_t seed);
void sim_destroy(struct sim *m);
/* A VM of nr vCPUs with that load, which start at once. */
struct sim_vm *sim_add(struct sim *m, const struct sched_params *p, unsigned nr,
                       const struct sim_load *load);
/* Its vCPUs go to sleep and stay there. */
void sim_stop(struct sim *m, struct sim_vm *vm);
/* Until the clock has advanced by so much. */
void sim_run(struct sim *m, uint64_t ticks);
/* The CPU that is interrupted, for others than who runs there. */
void sim_interrupt(struct sim *m, unsigned cpu, uint64_t ticks);
/* What the VM has run up to now. */
uint64_t sim_ran(const struct sim *m, const struct sim_vm *vm);
/* Tree nodes visited by all queues; decisions made. */
uint64_t sim_steps(const struct sim *m);
uint64_t sim_decisions(const struct sim *m);
/* Every tick of every vCPU and CPU is in one state, and both sides count the same. */
void sim_audit(const struct sim *m);

static inline struct sched_params sim_shares(uint64_t shares)
{
    return (struct sched_params){.shares = shares, .affinity = UINT64_MAX};
}

#endif
