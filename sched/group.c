/*
 * Groups: parameters, the limit that a group's entities share, and siblings kept together.
 *
 * The limit is a clock of its own (as in mClock, Gulati et al. 2010): for each tick that an entity
 * runs it advances by 100 / limit ticks; while it is ahead of the time, nobody in the group runs.
 */
#include "sched/group.h"

#include "lib/assert.h"
#include "lib/checked.h"
#include "sched/internal.h"
#include "sched/policy.h"

/* What a group under its limit may save up, in slices. */
#define LIMIT_BURST_SLICES 2

/* ------------------------------------------------------------------ parameters */

static uint64_t all_cpus(const struct sched *s)
{
    return s->nr_cpus == SCHED_MAX_CPUS ? UINT64_MAX : BIT(s->nr_cpus) - 1;
}

static uint64_t count_bits(uint64_t mask)
{
    uint64_t n = 0;

    for (; mask != 0; mask &= mask - 1)
        n++;
    return n;
}

int sched_params_check(const struct sched *s, const struct sched_params *p)
{
    uint64_t cpus = p->affinity & all_cpus(s);

    if (p->shares == 0 || p->shares > SCHED_MAX_SHARES || cpus == 0)
        return E_INVAL;
    if (p->reservation > 100 * count_bits(cpus))
        return E_INVAL;
    return p->limit != 0 && p->limit < p->reservation ? E_INVAL : 0;
}

/* Exchanges what a group had reserved for what it wants. */
static int reserve(struct sched *s, uint64_t had, uint64_t wants)
{
    uint64_t total;
    int error = E_NOSPC;

    spin_lock(&s->lock);
    total = s->reserved - had + wants;
    if (total <= 100 * (uint64_t)s->nr_cpus) {
        s->reserved = total;
        error = 0;
    }
    spin_unlock(&s->lock);
    return error;
}

int sched_group_init(struct sched_group *g, struct sched *s, const struct sched_params *p,
                     uint64_t now)
{
    int error = sched_params_check(s, p);

    if (error == 0)
        error = reserve(s, 0, p->reservation);
    if (error != 0)
        return error;
    *g = (struct sched_group){.sched = s, .lock = SPINLOCK_INIT, .params = *p, .limit_due = now};
    g->params.affinity &= all_cpus(s);
    return 0;
}

void sched_group_destroy(struct sched_group *g)
{
    ASSERT(g->nr == 0 && g->active == 0);
    (void)!reserve(g->sched, g->params.reservation, 0);
}

/* An entity that waits in a queue gets its place anew; the others will when they join. */
static void rejoin(struct sched_entity *e, uint64_t now)
{
    struct sched_queue *q = sched_lock_home(e);

    if (e->state == SCHED_READY) {
        sched_take_ready(q, e);
        q->sched->policy->join(q, e, SCHED_JOIN_CHANGED, now);
        sched_put_ready(q, e);
    }
    spin_unlock(&q->lock);
}

int sched_group_set(struct sched_group *g, const struct sched_params *p, uint64_t now)
{
    uint64_t affinity = p->affinity & all_cpus(g->sched);
    int error = sched_params_check(g->sched, p);

    if (error != 0 || affinity != g->params.affinity)
        return E_INVAL;
    error = reserve(g->sched, g->params.reservation, p->reservation);
    if (error != 0)
        return error;
    spin_lock(&g->lock);
    g->params = *p;
    g->params.affinity = affinity;
    g->limit_due = now;
    spin_unlock(&g->lock);
    for (unsigned i = 0; i < g->nr; i++)
        rejoin(g->entities[i], now);
    return 0;
}

int sched_entity_init(struct sched_entity *e, struct sched_group *g, const bool *resident,
                      uint64_t now)
{
    unsigned first = (unsigned)__builtin_ctzll(g->params.affinity);
    int error = E_NOSPC;

    *e = (struct sched_entity){.group = g, .resident = resident};
    e->queue = &g->sched->queues[first];
    e->node.mask = g->params.affinity;
    account_init(&e->account, ACCOUNT_HALTED, now);
    spin_lock(&g->lock);
    if (g->nr < SCHED_MAX_ENTITIES) {
        g->entities[g->nr++] = e;
        error = 0;
    }
    spin_unlock(&g->lock);
    return error;
}

void sched_entity_destroy(struct sched_entity *e)
{
    struct sched_group *g = e->group;
    unsigned i = 0;

    ASSERT(e->state == SCHED_BLOCKED);
    spin_lock(&g->lock);
    while (i < g->nr && g->entities[i] != e)
        i++;
    ASSERT(i < g->nr);
    g->entities[i] = g->entities[--g->nr];
    spin_unlock(&g->lock);
}

/* ------------------------------------------------------------------ an entity's part */

static uint64_t active(const struct sched_group *g)
{
    return MAX(__atomic_load_n(&g->active, __ATOMIC_RELAXED), 1u);
}

uint64_t group_weight(const struct sched_entity *e)
{
    const struct sched_group *g = e->group;
    uint64_t weight = g->params.shares * GROUP_WEIGHT_UNIT / active(g);

    return MAX(weight, 1);
}

uint64_t group_floor_rate(const struct sched_entity *e)
{
    const struct sched_group *g = e->group;
    uint64_t rate = g->params.reservation * GROUP_RATE_UNIT / (100 * active(g));

    return MIN(rate, GROUP_RATE_UNIT);
}

/* ------------------------------------------------------------------ the limit */

void group_charge(struct sched_group *g, uint64_t ticks, uint64_t now)
{
    uint64_t limit, burst;

    if (__atomic_load_n(&g->params.limit, __ATOMIC_RELAXED) == 0)
        return;
    spin_lock(&g->lock);
    limit = g->params.limit;
    if (limit != 0) {
        burst = mul_div(LIMIT_BURST_SLICES * g->sched->slice, 100, limit);
        if (tree_before(g->limit_due, now - burst))
            g->limit_due = now - burst;
        g->limit_due += mul_div(ticks, 100, limit);
    }
    spin_unlock(&g->lock);
}

static uint64_t limit_release(struct sched_group *g, uint64_t now)
{
    uint64_t due;

    if (__atomic_load_n(&g->params.limit, __ATOMIC_RELAXED) == 0)
        return now;
    due = __atomic_load_n(&g->limit_due, __ATOMIC_RELAXED);
    return tree_before(now, due) ? due : now;
}

/* ------------------------------------------------------------------ siblings */

/*
 * How long s has been kept from running. Its own CPU may change this meanwhile: at worst a
 * sibling is held once for nothing.
 */
static uint64_t waited(const struct sched_entity *s, uint64_t now)
{
    uint64_t since = __atomic_load_n(&s->wait_since, __ATOMIC_RELAXED);
    uint64_t ticks = __atomic_load_n(&s->waited, __ATOMIC_RELAXED);

    return since != 0 && tree_before(since, now) ? ticks + (now - since) : ticks;
}

static const struct sched_queue *queue_of(const struct sched_entity *s)
{
    return __atomic_load_n(&s->queue, __ATOMIC_RELAXED);
}

static bool waits(const struct sched_entity *s)
{
    return __atomic_load_n(&s->state, __ATOMIC_RELAXED) == SCHED_READY;
}

/*
 * e has run, or slept, while a sibling has waited for another CPU: once the difference is too large
 * e is held, for as long as it is ahead. What e waits then makes up for it.
 */
static uint64_t sibling_release(const struct sched_entity *e, uint64_t now)
{
    const struct sched_group *g = e->group;
    const struct sched *s = g->sched;
    uint64_t mine, ahead = 0;

    if (e->immune > 0 || active(g) < 2)
        return now;
    mine = waited(e, now);
    for (unsigned i = 0; i < g->nr; i++) {
        const struct sched_entity *other = g->entities[i];
        uint64_t theirs = waited(other, now);

        if (queue_of(other) != e->queue && waits(other) && theirs > mine)
            ahead = MAX(ahead, theirs - mine);
    }
    return ahead > s->skew_max ? now + MIN(ahead, s->hold_max) : now;
}

uint64_t group_release(const struct sched_entity *e, uint64_t now)
{
    uint64_t limit = limit_release(e->group, now);

    return limit != now ? limit : sibling_release(e, now);
}

void group_forget_waiting(struct sched_entity *e, uint64_t now)
{
    const struct sched_group *g = e->group;
    uint64_t most = e->waited;

    for (unsigned i = 0; i < g->nr; i++)
        if (g->entities[i]->state != SCHED_BLOCKED)
            most = MAX(most, waited(g->entities[i], now));
    __atomic_store_n(&e->waited, most, __ATOMIC_RELAXED);
}

bool group_watched(const struct sched_group *g)
{
    bool waiting = __atomic_load_n(&g->sched->contended, __ATOMIC_RELAXED) != 0;

    return g->params.limit != 0 || (waiting && active(g) > 1);
}
