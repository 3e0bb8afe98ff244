/* Entities' states: woken, chosen, running, put back, held, blocked. */
#include "sched/sched.h"

#include "lib/assert.h"
#include "sched/group.h"
#include "sched/internal.h"
#include "sched/policy.h"

/* At most so many HELD entities are released in one decision; the others soon after. */
#define MAX_RELEASES 8
/* An idle CPU tries so often to get work: what it is given may be at its limit. */
#define MAX_PULLS 8

static const struct sched_policy *const policies[] = {&sched_proportional, &sched_round_robin};

static bool same_text(const char *a, const char *b)
{
    for (; *a != '\0' && *a == *b; a++, b++)
        ;
    return *a == *b;
}

const struct sched_policy *sched_policy_named(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++)
        if (same_text(policies[i]->name, name))
            return policies[i];
    return NULL;
}

void sched_init(struct sched *s, const struct sched_policy *policy, struct sched_queue *queues,
                unsigned nr_cpus, uint64_t hz, uint64_t now)
{
    uint64_t ms = MAX(hz / 1000, 1);

    ASSERT(nr_cpus > 0 && nr_cpus <= SCHED_MAX_CPUS);
    *s = (struct sched){.policy = policy, .queues = queues, .nr_cpus = nr_cpus};
    s->lock = (struct spinlock)SPINLOCK_INIT;
    s->slice = 5 * ms;
    s->wake_slice = ms;
    s->lag_max = 20 * ms;
    s->skew_max = 25 * ms;
    s->hold_max = 100 * ms;
    s->balance_every = 10 * ms;
    for (unsigned i = 0; i < nr_cpus; i++) {
        queues[i] = (struct sched_queue){.lock = SPINLOCK_INIT, .sched = s, .cpu = i};
        queues[i].until = SCHED_NEVER;
        queues[i].balanced = now;
        account_init(&queues[i].account, ACCOUNT_HYPERVISOR, now);
    }
}

/* ------------------------------------------------------------------ locks */

struct sched_queue *sched_lock_home(struct sched_entity *e)
{
    for (;;) {
        struct sched_queue *q = __atomic_load_n(&e->queue, __ATOMIC_ACQUIRE);

        spin_lock(&q->lock);
        if (__atomic_load_n(&e->queue, __ATOMIC_RELAXED) == q)
            return q;
        spin_unlock(&q->lock);
    }
}

void sched_lock_two(struct sched_queue *a, struct sched_queue *b)
{
    spin_lock(a->cpu <= b->cpu ? &a->lock : &b->lock);
    if (a != b)
        spin_lock(a->cpu <= b->cpu ? &b->lock : &a->lock);
}

void sched_unlock_two(struct sched_queue *a, struct sched_queue *b)
{
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

/* ------------------------------------------------------------------ states */

/* Siblings see the state, and since when e waits. */
static void set_state(struct sched_entity *e, enum sched_state state, uint64_t now)
{
    static const enum account_state accounts[] = {
        [SCHED_BLOCKED] = ACCOUNT_HALTED,
        [SCHED_READY] = ACCOUNT_READY,
        [SCHED_HELD] = ACCOUNT_HELD,
        [SCHED_RUNNING] = ACCOUNT_GUEST,
    };
    bool waits = state == SCHED_READY || state == SCHED_HELD;

    account_switch(&e->account, accounts[state], now);
    if (waits && e->wait_since == 0) {
        __atomic_store_n(&e->wait_since, MAX(now, 1), __ATOMIC_RELAXED);
    } else if (!waits && e->wait_since != 0) {
        uint64_t ticks = tree_before(e->wait_since, now) ? now - e->wait_since : 0;

        __atomic_store_n(&e->wait_since, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&e->waited, e->waited + ticks, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&e->state, state, __ATOMIC_RELAXED);
}

/* Sets or clears q's bit in a mask that all CPUs share, and leaves it alone if it is right. */
static void set_bit(struct sched_queue *q, uint64_t *mask, bool set)
{
    uint64_t bit = BIT(q->cpu);

    if (!!(__atomic_load_n(mask, __ATOMIC_RELAXED) & bit) == set)
        return;
    if (set)
        __atomic_fetch_or(mask, bit, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(mask, ~bit, __ATOMIC_SEQ_CST);
}

/* Tells the other CPUs what waits here. */
static void count_ready(struct sched_queue *q, unsigned count)
{
    uint64_t wanted = tree_empty(&q->ready) ? 0 : q->ready.root->any;

    __atomic_store_n(&q->wanted, wanted, __ATOMIC_SEQ_CST);
    __atomic_store_n(&q->nr_ready, count, __ATOMIC_SEQ_CST);
    set_bit(q, &q->sched->contended, count > 0);
}

void sched_put_ready(struct sched_queue *q, struct sched_entity *e)
{
    tree_insert(&q->ready, &e->node);
    count_ready(q, q->nr_ready + 1);
}

void sched_take_ready(struct sched_queue *q, struct sched_entity *e)
{
    tree_remove(&q->ready, &e->node);
    q->sched->policy->unqueue(q, e);
    if (q->favoured == e)
        q->favoured = NULL;
    count_ready(q, q->nr_ready - 1);
}

/* how says whether it was READY or RUNNING before. */
static void make_ready(struct sched_queue *q, struct sched_entity *e, enum sched_join how,
                       uint64_t now)
{
    if (how == SCHED_JOIN_WOKEN || how == SCHED_JOIN_RELEASED)
        __atomic_fetch_add(&e->group->active, 1, __ATOMIC_RELAXED);
    q->sched->policy->join(q, e, how, now);
    set_state(e, SCHED_READY, now);
    sched_put_ready(q, e);
}

/* A READY entity that may not run yet. Its siblings have its part of the shares meanwhile. */
static void hold(struct sched_queue *q, struct sched_entity *e, uint64_t until, uint64_t now)
{
    sched_take_ready(q, e);
    q->sched->policy->leave(q, e);
    set_state(e, SCHED_HELD, now);
    __atomic_fetch_sub(&e->group->active, 1, __ATOMIC_RELAXED);
    e->immune = q->sched->slice;
    e->node.key = e->node.value = until;
    tree_insert(&q->held, &e->node);
}

static void release_held(struct sched_queue *q, uint64_t now)
{
    for (unsigned i = 0; i < MAX_RELEASES; i++) {
        struct tree_node *n = tree_first(&q->held);

        if (n == NULL || tree_before(now, n->key))
            return;
        tree_remove(&q->held, n);
        make_ready(q, container_of(n, struct sched_entity, node), SCHED_JOIN_RELEASED, now);
    }
}

static uint64_t next_release(struct sched_queue *q)
{
    struct tree_node *n = tree_first(&q->held);

    return n != NULL ? n->key : SCHED_NEVER;
}

/* Brings the running entity's use of the CPU up to date. Time in others' interrupts is not its. */
static void charge(struct sched_queue *q, uint64_t now)
{
    struct sched_entity *e = q->current;
    uint64_t to = q->interrupt_since != 0 ? q->interrupt_since : now, ticks;

    if (!tree_before(e->charged, to))
        return;
    ticks = to - e->charged;
    e->charged = to;
    e->immune -= MIN(e->immune, ticks);
    q->sched->policy->charge(q, e, ticks, now);
    group_charge(e->group, ticks, now);
}

/* ------------------------------------------------------------------ waking and blocking */

/* Who should look, now that e waits in q. */
static int whom_to_tell(struct sched_queue *q, uint64_t now)
{
    if (q->current == NULL)
        return (int)q->cpu;
    charge(q, now);
    if (q->nr_ready == 1 || q->sched->policy->preempts(q, now)) {
        sched_set_news(q);
        return (int)q->cpu;
    }
    return place_idle_helper(q);
}

/* e is BLOCKED, in home, which is locked, as is target. */
static int wake_to(struct sched_entity *e, struct sched_queue *home, struct sched_queue *target,
                   uint64_t now)
{
    if (target != home)
        e->moves++;
    __atomic_store_n(&e->queue, target, __ATOMIC_RELEASE);
    group_forget_waiting(e, now);
    e->immune = 0;
    e->wakeup = false;
    make_ready(target, e, SCHED_JOIN_WOKEN, now);
    return whom_to_tell(target, now);
}

int sched_wake(struct sched_entity *e, uint64_t now)
{
    for (;;) {
        struct sched_queue *home = sched_lock_home(e), *target = home;
        int cpu = SCHED_NO_CPU;
        bool done = true;

        if (e->state == SCHED_BLOCKED)
            target = place_for(e);
        if (target != home) {
            spin_unlock(&home->lock);
            sched_lock_two(home, target);
            /* Others may have been quicker; then all over again. */
            done = e->queue == home && e->state == SCHED_BLOCKED;
            if (!done)
                place_unclaim(target);
        }
        if (done && e->state == SCHED_BLOCKED)
            cpu = wake_to(e, home, target, now);
        else if (done)
            e->wakeup = true;
        sched_unlock_two(home, target);
        if (done)
            return cpu;
    }
}

static void stop_running(struct sched_queue *q, uint64_t now)
{
    charge(q, now);
    q->current = NULL;
    q->until = SCHED_NEVER;
    account_switch(&q->account, ACCOUNT_HYPERVISOR, now);
}

bool sched_block(struct sched_entity *e, uint64_t now)
{
    struct sched_queue *q = e->queue;
    bool block;

    spin_lock(&q->lock);
    ASSERT(q->current == e && e->state == SCHED_RUNNING);
    block = !e->wakeup;
    if (block) {
        stop_running(q, now);
        q->sched->policy->leave(q, e);
        set_state(e, SCHED_BLOCKED, now);
        __atomic_fetch_sub(&e->group->active, 1, __ATOMIC_RELAXED);
    }
    e->wakeup = false;
    spin_unlock(&q->lock);
    return block;
}

/* A sibling of e that waits in the same queue: it may hold the lock that e spins for. */
static struct sched_entity *waiting_sibling(struct sched_queue *q, struct sched_entity *e)
{
    struct sched_group *g = e->group;

    for (unsigned i = 0; i < g->nr; i++) {
        struct sched_entity *s = g->entities[i];

        if (s != e && s->queue == q && s->state == SCHED_READY)
            return s;
    }
    return NULL;
}

void sched_requeue(struct sched_entity *e, enum sched_requeue why, uint64_t now)
{
    struct sched_queue *q = e->queue;

    spin_lock(&q->lock);
    ASSERT(q->current == e && e->state == SCHED_RUNNING);
    stop_running(q, now);
    if (why == SCHED_YIELDS)
        q->favoured = waiting_sibling(q, e);
    make_ready(q, e, why == SCHED_YIELDS ? SCHED_JOIN_YIELDED : SCHED_JOIN_REQUEUED, now);
    spin_unlock(&q->lock);
}

/* ------------------------------------------------------------------ choosing */

/* The entity that runs next; those that may not run yet are put aside on the way. */
static struct sched_entity *choose(struct sched_queue *q, uint64_t now)
{
    for (;;) {
        struct sched_entity *e = q->favoured != NULL ? q->favoured : q->sched->policy->pick(q, now);
        uint64_t release;

        if (e == NULL)
            return NULL;
        release = group_release(e, now);
        if (release == now)
            return e;
        hold(q, e, release, now);
    }
}

/* Who has a CPU for itself looks seldom whether there is work elsewhere, if none is known. */
#define LONELY_BALANCES 10

/* Up to when the running entity may go on. */
static uint64_t time_for(struct sched_queue *q, uint64_t now)
{
    const struct sched *s = q->sched;
    uint64_t until = next_release(q), balance = s->balance_every;

    if (q->nr_ready > 0)
        return MIN(until, s->policy->until(q, now));
    if (group_watched(q->current->group))
        until = MIN(until, now + s->slice);
    if (s->nr_cpus == 1)
        return until;
    if (__atomic_load_n(&s->contended, __ATOMIC_RELAXED) == 0)
        balance *= LONELY_BALANCES;
    return MIN(until, now + balance);
}

/* e is in no tree any more. */
static void run(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    set_state(e, SCHED_RUNNING, now);
    e->wakeup = false;
    e->expired = false;
    e->charged = now;
    q->current = e;
    q->until = time_for(q, now);
    account_switch(&q->account, ACCOUNT_GUEST, now);
}

/* Chooses in q alone; with nothing there, q's CPU is idle from then on. */
static struct sched_choice choose_here(struct sched_queue *q, uint64_t now)
{
    struct sched_choice choice = {.kick = SCHED_NO_CPU};

    spin_lock(&q->lock);
    ASSERT(q->current == NULL);
    __atomic_store_n(&q->news, false, __ATOMIC_SEQ_CST);
    q->decisions++;
    release_held(q, now);
    choice.entity = choose(q, now);
    set_bit(q, &q->sched->idle, choice.entity == NULL);
    if (choice.entity != NULL) {
        sched_take_ready(q, choice.entity);
        run(q, choice.entity, now);
        choice.until = q->until;
        choice.kick = place_idle_helper(q);
    } else {
        choice.until = next_release(q);
        account_switch(&q->account, ACCOUNT_HALTED, now);
    }
    spin_unlock(&q->lock);
    return choice;
}

/*
 * An idle CPU says so before it looks at the other queues, and who makes an entity ready looks for
 * idle CPUs afterwards: one of the two sees the other.
 */
struct sched_choice sched_pick(struct sched_queue *q, uint64_t now)
{
    bool taken = place_balance(q, now);
    struct sched_choice choice = choose_here(q, now);

    for (unsigned i = 0; i < MAX_PULLS && choice.entity == NULL && place_pull(q, now); i++) {
        choice = choose_here(q, now);
        taken = true;
    }
    if (choice.entity == NULL && taken) /* what it has taken may not run yet: others go on */
        choice.kick = place_idle_helper(q);
    return choice;
}

/* Nothing but the order in which those who are ready come: no siblings, none to be released. */
static bool yields_plainly(const struct sched_queue *q, uint64_t now)
{
    return q->favoured == NULL && tree_empty(&q->held) && q->current->group->nr == 1 &&
           q->nr_ready > 0 && q->interrupt_since == 0 && !place_balance_due(q, now);
}

/* The one who runs and the one who is next change places. */
static struct sched_choice exchange(struct sched_queue *q, struct sched_entity *next, uint64_t now)
{
    struct sched_entity *e = q->current;

    tree_remove(&q->ready, &next->node);
    q->sched->policy->unqueue(q, next);
    set_state(e, SCHED_READY, now);
    tree_insert(&q->ready, &e->node);
    __atomic_store_n(&q->wanted, q->ready.root->any, __ATOMIC_SEQ_CST);
    __atomic_store_n(&q->news, false, __ATOMIC_SEQ_CST);
    q->decisions++;
    run(q, next, now);
    return (struct sched_choice){next, q->until, place_idle_helper(q)};
}

struct sched_choice sched_hand_over(struct sched_queue *q, uint64_t now)
{
    struct sched_entity *e = q->current, *next;
    struct sched_choice choice;

    if (!yields_plainly(q, now)) {
        sched_requeue(e, SCHED_YIELDS, now);
        return sched_pick(q, now);
    }
    spin_lock(&q->lock);
    charge(q, now);
    q->sched->policy->join(q, e, SCHED_JOIN_YIELDED, now);
    next = q->sched->policy->pick(q, now);
    if (likely(next != NULL && next != e && group_release(next, now) == now)) {
        choice = exchange(q, next, now);
        spin_unlock(&q->lock);
        return choice;
    }
    stop_running(q, now);
    set_state(e, SCHED_READY, now);
    sched_put_ready(q, e);
    spin_unlock(&q->lock);
    return sched_pick(q, now);
}

struct sched_choice sched_look(struct sched_queue *q, uint64_t now)
{
    struct sched_entity *e = q->current;
    struct sched_choice choice = {.entity = e};

    (void)place_balance(q, now);
    spin_lock(&q->lock);
    __atomic_store_n(&q->news, false, __ATOMIC_SEQ_CST);
    charge(q, now);
    release_held(q, now);
    if (q->nr_ready > 0 && (e->expired || q->sched->policy->preempts(q, now)))
        choice.entity = NULL;
    if (group_release(e, now) != now)
        choice.entity = NULL;
    e->expired = false;
    choice.until = q->until = time_for(q, now);
    choice.kick = choice.entity != NULL ? place_idle_helper(q) : SCHED_NO_CPU;
    spin_unlock(&q->lock);
    return choice;
}

/* ------------------------------------------------------------------ accounting */

static void run_as(struct sched_queue *q, enum account_state state, uint64_t now)
{
    account_switch(&q->account, state, now);
    if (q->current != NULL)
        account_switch(&q->current->account, state, now);
}

void sched_guest(struct sched_queue *q, uint64_t now)
{
    run_as(q, ACCOUNT_GUEST, now);
}

void sched_hypervisor(struct sched_queue *q, uint64_t now)
{
    run_as(q, ACCOUNT_HYPERVISOR, now);
}

void sched_interrupt_begin(struct sched_queue *q, uint64_t now)
{
    spin_lock(&q->lock);
    q->interrupt_since = MAX(now, 1);
    q->interrupted = q->account.state;
    run_as(q, ACCOUNT_INTERRUPT, now);
    spin_unlock(&q->lock);
}

void sched_interrupt_end(struct sched_queue *q, uint64_t now)
{
    spin_lock(&q->lock);
    if (q->current != NULL && tree_before(q->interrupt_since, now))
        q->current->charged += now - q->interrupt_since;
    q->interrupt_since = 0;
    run_as(q, q->interrupted, now);
    spin_unlock(&q->lock);
}
