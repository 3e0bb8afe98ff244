/*
 * Proportional share: earliest eligible virtual deadline first (Stoica, Abdel-Wahab, Jeffay,
 * Baruah, Gehrke, Plaxton: "A proportional share resource allocation algorithm for real-time,
 * time-shared systems", RTSS 1996), with reservations served first by due time as in a virtual
 * clock (the first phase of mClock: Gulati, Merchant, Varman, OSDI 2010).
 *
 * An entity's virtual time advances by what it ran, divided by its weight; the queue's virtual
 * time is the entities' mean by weight. Who is not ahead of the mean is eligible, and among those
 * the one runs whose request (a slice) is to be served first. docs/scheduling.md says more.
 */
#include "lib/checked.h"
#include "sched/group.h"
#include "sched/policy.h"

/* Virtual time is ticks << VIRTUAL_SHIFT / weight. */
#define VIRTUAL_SHIFT 16

/* No entity is charged for more at once: some minutes. Keeps products below 2^63. */
#define MAX_CHARGE (1ull << 38)

/* A running entity keeps its CPU for a sixteenth of a slice at least. */
#define MIN_RUN_SHIFT 4

/* One queue falls behind another by so many slices before entities move. */
#define MOVE_SLICES 2

static uint64_t to_virtual(uint64_t ticks, uint64_t weight)
{
    return (ticks << VIRTUAL_SHIFT) / weight;
}

/* The other way, and at most so many. */
static uint64_t to_ticks(uint64_t time, uint64_t weight, uint64_t most)
{
    uint64_t product;

    return __builtin_mul_overflow(time, weight, &product) ? most
                                                          : MIN(product >> VIRTUAL_SHIFT, most);
}

/* ------------------------------------------------------------------ the queue's virtual time */

/* Lets q->time be the mean, rounded down, and keeps the rest in sum. */
static uint64_t settle(struct sched_queue *q)
{
    int64_t weight = (int64_t)q->weight, step;

    if (weight == 0)
        return q->time;
    step = q->sum / weight;
    if (step * weight > q->sum)
        step--;
    q->sum -= step * weight;
    q->time += (uint64_t)step;
    return q->time;
}

/* Tells the other queues how far this one is. */
static void publish(struct sched_queue *q)
{
    uint64_t progress = settle(q) + q->offset;

    __atomic_store_n(&q->progress, progress, __ATOMIC_RELAXED);
    if (tree_before(__atomic_load_n(&q->sched->front, __ATOMIC_RELAXED), progress))
        __atomic_store_n(&q->sched->front, progress, __ATOMIC_RELAXED);
}

static void add(struct sched_queue *q, struct sched_entity *e)
{
    if (q->weight == 0) {
        q->time = e->v.time;
        q->sum = 0;
    }
    e->v.weight = group_weight(e);
    e->v.residue = 0;
    e->v.floor_rate = group_floor_rate(e);
    q->sum += (int64_t)(e->v.time - q->time) * (int64_t)e->v.weight;
    q->floors_rate += e->v.floor_rate;
    __atomic_store_n(&q->weight, q->weight + e->v.weight, __ATOMIC_RELAXED);
}

static void sub(struct sched_queue *q, struct sched_entity *e)
{
    q->sum -= (int64_t)(e->v.time - q->time) * (int64_t)e->v.weight;
    q->floors_rate -= e->v.floor_rate;
    __atomic_store_n(&q->weight, q->weight - e->v.weight, __ATOMIC_RELAXED);
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* ------------------------------------------------------------------ joining and leaving */

/* Sets e's time to lead (at least low, and within bounds) after mean, and counts it in. */
static void add_at(struct sched_queue *q, struct sched_entity *e, uint64_t mean, int64_t lead,
                   int64_t low)
{
    int64_t bound = (int64_t)to_virtual(q->sched->lag_max, group_weight(e));

    e->v.time = mean + (uint64_t)clamp(lead, MAX(low, -bound), bound);
    add(q, e);
}

/*
 * It slept, or was held: what it had run too much is not forgotten until the others have come as
 * far. What was due to it before it slept is gone, if it was held (low) it is not. An empty queue
 * starts where the others are.
 */
static void add_back(struct sched_queue *q, struct sched_entity *e, int64_t low, uint64_t now)
{
    int64_t lead = e->v.lead, passed;

    if (q->weight == 0)
        q->offset = __atomic_load_n(&q->sched->front, __ATOMIC_RELAXED) - settle(q);
    passed = (int64_t)(settle(q) + q->offset - e->v.left);
    if (lead > 0)
        lead = MAX(lead - MAX(passed, 0), 0);
    add_at(q, e, settle(q), lead, low);
    if (tree_before(e->v.floor_due, now))
        e->v.floor_due = now;
}

static int64_t scale(int64_t x, uint64_t from, uint64_t to)
{
    uint64_t size = x < 0 ? -(uint64_t)x : (uint64_t)x;

    size = MIN(mul_div(size, from, to), (uint64_t)INT64_MAX >> 1);
    return x < 0 ? -(int64_t)size : (int64_t)size;
}

/* Its weight may have changed: lead and request keep their length in ticks, the mean remains. */
static void add_again(struct sched_queue *q, struct sched_entity *e)
{
    uint64_t had = e->v.weight, weight = group_weight(e), mean = settle(q);
    int64_t lead = (int64_t)(e->v.time - mean);
    int64_t request = (int64_t)(e->v.deadline - e->v.time);

    sub(q, e);
    add_at(q, e, mean, scale(lead, had, weight), INT64_MIN);
    e->v.deadline = e->v.time + (uint64_t)scale(request, had, weight);
}

/* Behind all others: past the mean of those. */
static void add_last(struct sched_queue *q, struct sched_entity *e)
{
    uint64_t mean;

    sub(q, e);
    mean = settle(q);
    add_at(q, e, mean, (int64_t)(e->v.time - mean), 1);
    e->v.deadline = e->v.time;
}

static void ask(struct sched_entity *e, uint64_t ticks)
{
    e->v.deadline = e->v.time + to_virtual(ticks, e->v.weight);
}

/* Puts e, whose time is set, into the order. */
static void enqueue(struct sched_queue *q, struct sched_entity *e)
{
    e->node.key = e->v.time;
    e->node.value = e->v.deadline;
    if (e->v.floor_rate == 0)
        return;
    e->floor.key = e->v.floor_due;
    e->floor.value = e->v.floor_due + mul_div(q->sched->slice, GROUP_RATE_UNIT, e->v.floor_rate);
    tree_insert(&q->floors, &e->floor);
}

static void join(struct sched_queue *q, struct sched_entity *e, enum sched_join how, uint64_t now)
{
    uint64_t slice = q->sched->slice;

    switch (how) {
    case SCHED_JOIN_WOKEN:
        add_back(q, e, 0, now);
        ask(e, q->sched->wake_slice);
        break;
    case SCHED_JOIN_RELEASED:
        add_back(q, e, INT64_MIN, now);
        ask(e, slice);
        break;
    case SCHED_JOIN_MOVED:
        add_at(q, e, settle(q), e->v.lead, INT64_MIN);
        ask(e, slice);
        break;
    case SCHED_JOIN_REQUEUED:
    case SCHED_JOIN_CHANGED:
        add_again(q, e);
        break;
    case SCHED_JOIN_YIELDED:
        add_last(q, e);
        break;
    }
    if (!tree_before(e->v.time, e->v.deadline))
        ask(e, slice);
    enqueue(q, e);
    publish(q);
}

static void unqueue(struct sched_queue *q, struct sched_entity *e)
{
    if (tree_linked(&e->floor))
        tree_remove(&q->floors, &e->floor);
}

static void leave(struct sched_queue *q, struct sched_entity *e)
{
    settle(q);
    sub(q, e);
    e->v.lead = (int64_t)(e->v.time - settle(q));
    e->v.left = q->time + q->offset;
    publish(q);
}

/* ------------------------------------------------------------------ running */

static uint64_t to_floor(const struct sched_entity *e, uint64_t ticks)
{
    return mul_div(ticks, GROUP_RATE_UNIT, e->v.floor_rate);
}

/* What it gets beyond its reservation is not held against it for longer than a few slices. */
static void charge_floor(struct sched_queue *q, struct sched_entity *e, uint64_t ticks,
                         uint64_t now)
{
    uint64_t most = now + to_floor(e, 2 * q->sched->slice);

    e->v.floor_due += to_floor(e, ticks);
    if (tree_before(most, e->v.floor_due))
        e->v.floor_due = most;
}

static void charge(struct sched_queue *q, struct sched_entity *e, uint64_t ticks, uint64_t now)
{
    struct sched_virtual *v = &e->v;
    uint64_t work = (MIN(ticks, MAX_CHARGE) << VIRTUAL_SHIFT) + v->residue;
    uint64_t step = work / v->weight, bound = to_virtual(q->sched->lag_max, v->weight), limit;

    v->residue = work - step * v->weight;
    v->time += step;
    q->sum += (int64_t)(step * v->weight);
    limit = settle(q) + bound;
    if (tree_before(limit, v->time)) { /* its reservation gives it more than its shares */
        q->sum -= (int64_t)(v->time - limit) * (int64_t)v->weight;
        v->time = limit;
    }
    if (v->floor_rate != 0)
        charge_floor(q, e, ticks, now);
    if (!tree_before(v->time, v->deadline)) {
        e->expired = true;
        ask(e, q->sched->slice);
    }
    publish(q);
}

static struct sched_entity *pick_floor(struct sched_queue *q, uint64_t now)
{
    struct tree_node *n = tree_empty(&q->floors) ? NULL : tree_pick(&q->floors, now);

    return n != NULL ? container_of(n, struct sched_entity, floor) : NULL;
}

static struct sched_entity *pick(struct sched_queue *q, uint64_t now)
{
    struct sched_entity *e = pick_floor(q, now);
    struct tree_node *n;

    if (e != NULL)
        return e;
    n = tree_pick(&q->ready, settle(q));
    return n != NULL ? container_of(n, struct sched_entity, node) : NULL;
}

static bool preempts(struct sched_queue *q, uint64_t now)
{
    struct sched_virtual *v = &q->current->v;
    struct sched_entity *e = pick_floor(q, now);
    bool floor_due = v->floor_rate != 0 && !tree_before(now, v->floor_due);
    struct tree_node *n;

    if (e != NULL)
        return !floor_due ||
               tree_before(e->floor.value, v->floor_due + to_floor(q->current, q->sched->slice));
    if (floor_due)
        return false;
    n = tree_pick(&q->ready, settle(q));
    return n != NULL && tree_before(n->value, v->deadline);
}

/* The rest of its request, or up to the next reservation that comes due. */
static uint64_t until(struct sched_queue *q, uint64_t now)
{
    const struct sched_virtual *v = &q->current->v;
    uint64_t slice = q->sched->slice, ticks = to_ticks(v->deadline - v->time, v->weight, slice);
    uint64_t shortest = slice >> MIN_RUN_SHIFT;
    struct tree_node *floor = tree_empty(&q->floors) ? NULL : tree_first(&q->floors);

    if (floor != NULL && tree_before(now, floor->key))
        ticks = MIN(ticks, floor->key - now);
    return now + MAX(ticks, shortest);
}

/* ------------------------------------------------------------------ between queues */

/* Reservations that do not fit count more than any shares. */
static uint64_t load(const struct sched_queue *q, const struct sched_entity *e)
{
    uint64_t weight = __atomic_load_n(&q->weight, __ATOMIC_RELAXED);
    uint64_t rate = group_floor_rate(e);

    if (rate != 0 && __atomic_load_n(&q->floors_rate, __ATOMIC_RELAXED) + rate > GROUP_RATE_UNIT)
        weight += 1ull << 48;
    return weight;
}

/* So much virtual time is that many ticks for an entity of q of average weight. */
static uint64_t typical(const struct sched_queue *q, uint64_t ticks)
{
    uint64_t weight = __atomic_load_n(&q->weight, __ATOMIC_RELAXED);
    uint64_t count = __atomic_load_n(&q->nr_ready, __ATOMIC_RELAXED) + 1ull;

    return mul_div(ticks << VIRTUAL_SHIFT, count, MAX(weight, 1));
}

static int64_t gap(const struct sched_queue *from, const struct sched_queue *to)
{
    return (int64_t)(__atomic_load_n(&to->progress, __ATOMIC_RELAXED) -
                     __atomic_load_n(&from->progress, __ATOMIC_RELAXED));
}

static bool should_move(const struct sched_queue *from, const struct sched_queue *to)
{
    return gap(from, to) > (int64_t)typical(from, MOVE_SLICES * from->sched->slice);
}

/*
 * e keeps its place among all entities of all queues: in a queue that is further on it is behind,
 * and catches up. Queues that have drifted far apart (shares that no CPU can give) are drawn
 * together, so that this has bounds.
 */
static void carry(struct sched_queue *from, struct sched_queue *to, struct sched_entity *e)
{
    int64_t most = (int64_t)typical(from, from->sched->lag_max);

    if (gap(from, to) > most)
        from->offset += (uint64_t)(gap(from, to) - most);
    publish(from);
    if (to->weight == 0) {
        to->offset = from->offset;
        to->time = from->time;
        return;
    }
    e->v.lead = (int64_t)(e->v.time + from->offset - to->offset - settle(to));
}

const struct sched_policy sched_proportional = {
    .name = "proportional",
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
