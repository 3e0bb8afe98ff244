/*
 * Which CPU: where an entity goes when it wakes, and what CPUs take from each other. Others' queues
 * are looked at without their locks; what was seen is checked again with them.
 */
#include "lib/assert.h"
#include "sched/internal.h"
#include "sched/policy.h"

static bool is_resident(const struct sched_entity *e)
{
    return e->resident != NULL && __atomic_load_n(e->resident, __ATOMIC_ACQUIRE);
}

/* An idle CPU out of mask, which is not idle any more then: each wakes for one. */
static struct sched_queue *claim_idle(struct sched *s, uint64_t mask)
{
    uint64_t idle = __atomic_load_n(&s->idle, __ATOMIC_SEQ_CST) & mask;
    uint64_t bit = idle & -idle;

    if (bit == 0 || !(__atomic_fetch_and(&s->idle, ~bit, __ATOMIC_SEQ_CST) & bit))
        return NULL;
    return &s->queues[__builtin_ctzll(bit)];
}

/* The CPU where e ran last, unless another one has clearly less to do. */
static struct sched_queue *least_loaded(struct sched_entity *e)
{
    struct sched *s = e->queue->sched;
    struct sched_queue *best = e->queue;
    uint64_t load, least = s->policy->load(best, e);

    least -= least / 4;
    for (unsigned i = 0; i < s->nr_cpus; i++) {
        if (!(e->node.mask & BIT(i)))
            continue;
        load = s->policy->load(&s->queues[i], e);
        if (load < least) {
            best = &s->queues[i];
            least = load;
        }
    }
    return best;
}

struct sched_queue *place_for(struct sched_entity *e)
{
    struct sched_queue *idle;

    if (is_resident(e) || e->queue->sched->nr_cpus == 1)
        return e->queue;
    idle = claim_idle(e->queue->sched, e->node.mask & BIT(e->queue->cpu));
    if (idle == NULL)
        idle = claim_idle(e->queue->sched, e->node.mask);
    return idle != NULL ? idle : least_loaded(e);
}

/* An idle CPU that nobody kicks would go on sleeping, and none would know that it is idle. */
void place_unclaim(struct sched_queue *q)
{
    if (q->current == NULL)
        __atomic_fetch_or(&q->sched->idle, BIT(q->cpu), __ATOMIC_SEQ_CST);
}

/*
 * Each CPU that finds work passes this on, so that as many idle CPUs wake as there is work for.
 * That something waits while a CPU is idle is rare, and is soon over unless affinity wants it so.
 */
int place_idle_helper(const struct sched_queue *q)
{
    const struct sched *s = q->sched;
    uint64_t idle = __atomic_load_n(&s->idle, __ATOMIC_SEQ_CST) & ~BIT(q->cpu);
    uint64_t from = __atomic_load_n(&s->contended, __ATOMIC_SEQ_CST);

    if (likely(idle == 0))
        return SCHED_NO_CPU;
    for (; from != 0; from &= from - 1) {
        const struct sched_queue *other = &s->queues[__builtin_ctzll(from)];
        uint64_t able = idle & __atomic_load_n(&other->wanted, __ATOMIC_RELAXED);

        if (able != 0)
            return __builtin_ctzll(able);
    }
    return SCHED_NO_CPU;
}

/* What may move to that CPU; at most one entity of a queue is resident, and is passed over. */
static struct sched_entity *find_movable(struct sched_queue *from, unsigned cpu)
{
    struct tree_node *n = tree_first_with(&from->ready, BIT(cpu)), *first = n;
    struct sched_entity *e;

    if (n == NULL)
        return NULL;
    e = container_of(n, struct sched_entity, node);
    if (!is_resident(e))
        return e;
    tree_remove(&from->ready, first);
    n = tree_first_with(&from->ready, BIT(cpu));
    tree_insert(&from->ready, first);
    e = n != NULL ? container_of(n, struct sched_entity, node) : NULL;
    return e != NULL && !is_resident(e) ? e : NULL;
}

static void move(struct sched_queue *from, struct sched_queue *to, struct sched_entity *e,
                 uint64_t now)
{
    const struct sched_policy *policy = from->sched->policy;

    sched_take_ready(from, e);
    policy->leave(from, e);
    policy->carry(from, to, e);
    __atomic_store_n(&e->queue, to, __ATOMIC_RELEASE);
    policy->join(to, e, SCHED_JOIN_MOVED, now);
    sched_put_ready(to, e);
    e->moves++;
}

/* Takes one entity from there, if one may come. */
static bool take_from(struct sched_queue *from, struct sched_queue *to, uint64_t now)
{
    struct sched_entity *e;

    sched_lock_two(from, to);
    e = find_movable(from, to->cpu);
    if (e != NULL)
        move(from, to, e, now);
    sched_unlock_two(from, to);
    return e != NULL;
}

bool place_pull(struct sched_queue *q, uint64_t now)
{
    struct sched *s = q->sched;

    /* Each looks at its neighbours first, so that not all go to the same. */
    for (unsigned i = 1; i < s->nr_cpus; i++) {
        struct sched_queue *from = &s->queues[(q->cpu + i) % s->nr_cpus];

        if (sched_contended(from) && take_from(from, q, now))
            return true;
    }
    return false;
}

bool place_balance_due(const struct sched_queue *q, uint64_t now)
{
    return q->sched->nr_cpus > 1 && now - q->balanced >= q->sched->balance_every;
}

bool place_balance(struct sched_queue *q, uint64_t now)
{
    struct sched *s = q->sched;
    struct sched_queue *best = NULL;

    if (!place_balance_due(q, now))
        return false;
    q->balanced = now;
    for (unsigned i = 1; i < s->nr_cpus; i++) {
        struct sched_queue *from = &s->queues[(q->cpu + i) % s->nr_cpus];

        if (!sched_contended(from) || !s->policy->should_move(from, q))
            continue;
        if (best == NULL || s->policy->should_move(from, best))
            best = from;
    }
    return best != NULL && take_from(best, q, now);
}
