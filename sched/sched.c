/* Round robin: ready entities take turns. */
#include "lib/assert.h"
#include "sched/sched.h"

void sched_queue_init(struct sched_queue *q)
{
    *q = (struct sched_queue){.lock = SPINLOCK_INIT};
    list_init(&q->ready);
}

void sched_entity_init(struct sched_entity *e)
{
    *e = (struct sched_entity){.state = SCHED_BLOCKED};
    list_init(&e->node);
}

static void make_ready(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    e->state = SCHED_READY;
    e->since = now;
    list_push_back(&q->ready, &e->node);
    q->nr_ready++;
}

static void stop_running(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    ASSERT(q->current == e && e->state == SCHED_RUNNING);
    e->ran += now - e->since;
    q->current = NULL;
}

bool sched_wake(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    bool blocked;

    spin_lock(&q->lock);
    blocked = e->state == SCHED_BLOCKED;
    if (blocked)
        make_ready(q, e, now);
    else
        e->wakeup = true;
    spin_unlock(&q->lock);
    return blocked;
}

bool sched_block(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    bool block;

    spin_lock(&q->lock);
    block = !e->wakeup;
    if (block) {
        stop_running(q, e, now);
        e->state = SCHED_BLOCKED;
        e->since = now;
    }
    e->wakeup = false;
    spin_unlock(&q->lock);
    return block;
}

void sched_requeue(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    spin_lock(&q->lock);
    stop_running(q, e, now);
    make_ready(q, e, now);
    spin_unlock(&q->lock);
}

struct sched_entity *sched_pick(struct sched_queue *q, uint64_t now)
{
    struct sched_entity *e = NULL;

    spin_lock(&q->lock);
    ASSERT(q->current == NULL);
    if (!list_empty(&q->ready)) {
        e = list_entry(q->ready.next, struct sched_entity, node);
        list_remove(&e->node);
        q->nr_ready--;
        e->state = SCHED_RUNNING;
        e->since = now;
        e->wakeup = false;
        q->current = e;
    }
    spin_unlock(&q->lock);
    return e;
}
