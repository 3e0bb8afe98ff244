/*
 * Which vCPU runs on which physical CPU, and until when. Pure: it knows lib/ alone, and runs on
 * the host as well. Time is in ticks (of the TSC). docs/scheduling.md explains the algorithm.
 *
 * A vCPU is an entity, a VM a group of them. One queue per CPU; what is ready on a CPU, and in
 * which order, is its policy's matter (sched/policy.h). An entity is BLOCKED, READY, RUNNING (its
 * queue's current), or HELD: it could run, but its group's limit is used up, or a sibling lags.
 *
 * Locks, in this order: queues' by ascending CPU, a group's. An entity's queue changes only with
 * both queues locked, never while it is RUNNING. Nothing here blocks or calls back.
 */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H

#include "lib/spinlock.h"
#include "lib/types.h"
#include "sched/account.h"
#include "sched/tree.h"

#define SCHED_MAX_CPUS 64
#define SCHED_NEVER    UINT64_MAX
#define SCHED_NO_CPU   (-1)

struct sched_group;
struct sched_policy;
struct sched_queue;

enum sched_state { SCHED_BLOCKED, SCHED_READY, SCHED_HELD, SCHED_RUNNING };

/* What the proportional policy keeps of an entity. */
struct sched_virtual {
    uint64_t time;      /* virtual: ticks run, divided by weight */
    uint64_t deadline;  /* virtual: by when its request is to be served */
    uint64_t weight;    /* as it counts in its queue's sums */
    uint64_t residue;   /* of the division */
    int64_t lead;       /* over the others' mean when it left them */
    uint64_t left;      /* the queue's progress then */
    uint64_t floor_due; /* ticks: it has had its reservation up to here */
    uint64_t floor_rate;
};

struct sched_entity {
    struct tree_node node;  /* in its queue's ready or held tree */
    struct tree_node floor; /* in its queue's floors while READY, if it has a reservation */
    struct sched_group *group;
    struct sched_queue *queue; /* atomic */
    enum sched_state state;    /* atomic: siblings look */
    bool wakeup;               /* woken while running: it must not block before looking again */
    bool expired;              /* its request is served: others first */
    const bool *resident;      /* true: its registers are in its CPU, it cannot move; or NULL */
    uint64_t charged;          /* running: up to when it has been charged */
    uint64_t immune;           /* ticks that it runs before it is held for its siblings again */
    uint64_t waited;           /* atomic: ticks it was kept from running, for its siblings */
    uint64_t wait_since;       /* atomic; 0: it does not wait */
    struct sched_virtual v;
    struct account account;
    uint64_t moves; /* to other CPUs */
};

struct sched_queue {
    struct spinlock lock;
    struct sched *sched;
    unsigned cpu;
    struct sched_entity *current;
    struct sched_entity *favoured; /* READY here, and to run next: its sibling spins */
    struct tree ready, held;       /* held: by the time of release */
    unsigned nr_ready;             /* atomic */
    uint64_t wanted;               /* atomic: a bit for each CPU that one who is ready may go to */
    bool news;                     /* atomic: the current's time is to be looked at again */
    uint64_t until;                /* the current's time, or SCHED_NEVER */
    uint64_t balanced;             /* when it last looked for work elsewhere */
    uint64_t interrupt_since;      /* 0: not in an interrupt that is meant for others */
    enum account_state interrupted;
    struct account account;
    uint64_t decisions;
    /* Of the proportional policy: */
    uint64_t time;     /* virtual: the entities' mean, by weight, as of the last look */
    int64_t sum;       /* weight * (entity's time - time), over all */
    uint64_t weight;   /* atomic: sum of READY and RUNNING entities' */
    uint64_t offset;   /* virtual time + offset can be compared between queues */
    uint64_t progress; /* atomic: time + offset */
    uint64_t floors_rate;
    struct tree floors;
    /* Of the round robin: */
    uint64_t turn;
};

struct sched {
    const struct sched_policy *policy;
    struct sched_queue *queues; /* one for each CPU */
    unsigned nr_cpus;
    uint64_t idle;      /* atomic: a bit for each CPU that found nothing to run */
    uint64_t contended; /* atomic: a bit for each CPU that entities wait for */
    uint64_t front;     /* atomic: the largest progress of any queue */
    /* In ticks: */
    uint64_t slice;      /* a request: what an entity runs before others get their turn */
    uint64_t wake_slice; /* the first request after a wake-up */
    uint64_t lag_max;    /* an entity is at most so much ahead of its due, or behind */
    uint64_t skew_max;   /* siblings are kept that close */
    uint64_t hold_max;   /* but held no longer than that at a time */
    uint64_t balance_every;
    struct spinlock lock; /* of: */
    uint64_t reserved;    /* percent of a CPU, all groups' */
};

/* queues[nr_cpus]: memory for them; hz: ticks per second. */
void sched_init(struct sched *s, const struct sched_policy *policy, struct sched_queue *queues,
                unsigned nr_cpus, uint64_t hz, uint64_t now);

/*
 * Makes e ready if it is blocked, on a CPU chosen for it; else remembers the wake-up for
 * sched_block. Returns the CPU that should look at its queue now (its own too), or SCHED_NO_CPU.
 */
int sched_wake(struct sched_entity *e, uint64_t now);
/* The running entity wants to block. False: it was woken meanwhile and goes on running. */
MUST_CHECK bool sched_block(struct sched_entity *e, uint64_t now);

enum sched_requeue {
    SCHED_PREEMPTED, /* it has been told to give way */
    SCHED_YIELDS,    /* it spins: its siblings first, then all others */
};
/* The running entity gives the CPU up but remains ready. */
void sched_requeue(struct sched_entity *e, enum sched_requeue why, uint64_t now);

struct sched_choice {
    struct sched_entity *entity; /* what runs now; NULL: nothing */
    uint64_t until;              /* then call sched_look (or, with nothing to run, sched_pick) */
    int kick;                    /* an idle CPU that should call sched_pick, or SCHED_NO_CPU */
};
/* Makes the next entity the running one; with none here, one that waits for another CPU. */
struct sched_choice sched_pick(struct sched_queue *q, uint64_t now);
/* sched_requeue with SCHED_YIELDS, and sched_pick, in one. */
struct sched_choice sched_hand_over(struct sched_queue *q, uint64_t now);
/*
 * The running entity's time is over, or there are news. With entity NULL it should give way
 * (sched_requeue, sched_pick); else it goes on.
 */
struct sched_choice sched_look(struct sched_queue *q, uint64_t now);

/* Whether sched_look is due. */
static inline bool sched_news(const struct sched_queue *q)
{
    return __atomic_load_n(&q->news, __ATOMIC_SEQ_CST);
}
static inline void sched_set_news(struct sched_queue *q)
{
    __atomic_store_n(&q->news, true, __ATOMIC_SEQ_CST);
}
/* Whether somebody else waits for this CPU. */
static inline bool sched_contended(const struct sched_queue *q)
{
    return __atomic_load_n(&q->nr_ready, __ATOMIC_SEQ_CST) > 0;
}

/* ---- accounting, by the queue's own CPU while an entity runs ---- */

/* The guest executes from here on; the hypervisor works for it from here on. */
void sched_guest(struct sched_queue *q, uint64_t now);
void sched_hypervisor(struct sched_queue *q, uint64_t now);
/* The CPU serves somebody else's interrupt; the running entity, if any, is not charged for it. */
void sched_interrupt_begin(struct sched_queue *q, uint64_t now);
void sched_interrupt_end(struct sched_queue *q, uint64_t now);

#endif
