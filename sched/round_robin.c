/*
 * Round robin: all who are ready take turns of one slice. Shares and reservations mean nothing to
 * it; limits and siblings are sched.c's.
 */
#include "sched/policy.h"

static void join(struct sched_queue *q, struct sched_entity *e, UNUSED enum sched_join how,
                 UNUSED uint64_t now)
{
    e->node.key = e->node.value = q->turn++;
}

static void unqueue(UNUSED struct sched_queue *q, UNUSED struct sched_entity *e) {}

static void leave(UNUSED struct sched_queue *q, UNUSED struct sched_entity *e) {}

static void charge(UNUSED struct sched_queue *q, struct sched_entity *e, uint64_t ticks,
                   UNUSED uint64_t now)
{
    e->v.residue += ticks;
    if (e->v.residue < q->sched->slice)
        return;
    e->v.residue = 0;
    e->expired = true;
}

static struct sched_entity *pick(struct sched_queue *q, UNUSED uint64_t now)
{
    struct tree_node *n = tree_first(&q->ready);
    struct sched_entity *e = n != NULL ? container_of(n, struct sched_entity, node) : NULL;

    if (e != NULL)
        e->v.residue = 0;
    return e;
}

static bool preempts(UNUSED struct sched_queue *q, UNUSED uint64_t now)
{
    return false;
}

static uint64_t until(struct sched_queue *q, uint64_t now)
{
    return now + q->sched->slice - q->current->v.residue;
}

static uint64_t load(const struct sched_queue *q, UNUSED const struct sched_entity *e)
{
    return __atomic_load_n(&q->nr_ready, __ATOMIC_RELAXED) +
           (__atomic_load_n(&q->current, __ATOMIC_RELAXED) != NULL);
}

static bool should_move(const struct sched_queue *from, const struct sched_queue *to)
{
    return load(from, NULL) > load(to, NULL) + 1;
}

static void carry(UNUSED struct sched_queue *from, UNUSED struct sched_queue *to,
                  UNUSED struct sched_entity *e)
{
}

const struct sched_policy sched_round_robin = {
    .name = "round-robin",
    .join = join,
    .unqueue = unqueue,
    .leave = leave,
    .charge = charge,
    .pick = pick,
    .preempts = preempts,
    .until = until,
    .load = load,
    .should_move = should_move,
    .carry = carry,
};
