#include "tests/unit/sched_sim.h"

#include <stdlib.h>
#include "lib/assert.h"

static void *zalloc(size_t n, size_t size)
{
    void *p = calloc(n, size);

    ASSERT(p != NULL);
    return p;
}

static struct sim_task *task_of(struct sched_entity *e)
{
    return container_of(e, struct sim_task, e);
}

/* ------------------------------------------------------------------ wake-ups to come */

static bool sooner(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(struct sim_event *a, struct sim_event *b)
{
    struct sim_event t = *a;

    *a = *b;
    *b = t;
}

static void wake_at(struct sim *m, struct sim_task *task, uint64_t at)
{
    unsigned i = m->nr_events++;

    ASSERT(m->nr_events <= m->max_events);
    m->events[i] = (struct sim_event){at, m->order++, task};
    for (; i > 0 && sooner(&m->events[i], &m->events[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&m->events[i], &m->events[(i - 1) / 2]);
}

static struct sim_task *pop_event(struct sim *m)
{
    struct sim_task *task = m->events[0].task;
    unsigned i = 0;

    m->events[0] = m->events[--m->nr_events];
    for (;;) {
        unsigned child = 2 * i + 1;

        if (child + 1 < m->nr_events && sooner(&m->events[child + 1], &m->events[child]))
            child++;
        if (child >= m->nr_events || !sooner(&m->events[child], &m->events[i]))
            return task;
        swap(&m->events[i], &m->events[child]);
        i = child;
    }
}

/* ------------------------------------------------------------------ CPUs */

static void check_choice(struct sim *m, unsigned cpu, struct sched_entity *e)
{
    ASSERT(e->group->params.affinity & BIT(cpu));
    ASSERT(e->state == SCHED_RUNNING && e->queue == &m->queues[cpu]);
}

static void sleep_now(struct sim *m, unsigned cpu);
static void dispatch(struct sim *m, unsigned cpu);

static void kick(struct sim *m, int cpu)
{
    if (cpu != SCHED_NO_CPU && m->cpus[cpu].current == NULL)
        dispatch(m, (unsigned)cpu);
}

static void run_chosen(struct sim *m, unsigned cpu, struct sched_choice choice)
{
    struct sim_cpu *c = &m->cpus[cpu];
    struct sim_task *task;

    c->current = choice.entity;
    c->until = choice.until;
    if (choice.entity == NULL) {
        kick(m, choice.kick);
        return;
    }
    check_choice(m, cpu, choice.entity);
    task = task_of(choice.entity);
    c->started = m->now;
    if (task->off) {
        sleep_now(m, cpu);
        kick(m, choice.kick);
        return;
    }
    c->spin_at = task->load.spin != 0 ? m->now + task->load.spin : SCHED_NEVER;
    if (task->woken_at != 0) {
        task->latency = MAX(task->latency, m->now - task->woken_at);
        task->woken_at = 0;
    }
    m->switches++;
    kick(m, choice.kick);
}

static void dispatch(struct sim *m, unsigned cpu)
{
    run_chosen(m, cpu, sched_pick(&m->queues[cpu], m->now));
}

/* The running task has run up to now. */
static void advance(struct sim *m, struct sim_cpu *c)
{
    struct sim_task *task = task_of(c->current);

    if (task->left != SCHED_NEVER)
        task->left -= MIN(task->left, m->now - c->started);
    c->started = m->now;
}

static void give_up(struct sim *m, unsigned cpu, enum sched_requeue why)
{
    sched_requeue(m->cpus[cpu].current, why, m->now);
    dispatch(m, cpu);
}

static uint64_t about(struct sim *m, uint64_t mean)
{
    return mean / 2 + random_next(&m->rnd) % (mean + 1);
}

static void sleep_now(struct sim *m, unsigned cpu)
{
    struct sim_task *task = task_of(m->cpus[cpu].current);
    bool blocked = sched_block(&task->e, m->now);

    ASSERT(blocked);
    if (task->load.kind == SIM_PERIODIC && !task->off)
        wake_at(m, task, MAX(task->period, m->now));
    else if (!task->off)
        wake_at(m, task, m->now + about(m, task->load.pause));
    dispatch(m, cpu);
}

static void look(struct sim *m, unsigned cpu)
{
    struct sim_cpu *c = &m->cpus[cpu];
    struct sched_choice choice;

    advance(m, c);
    if (task_of(c->current)->off || task_of(c->current)->left == 0) {
        sleep_now(m, cpu);
        return;
    }
    choice = sched_look(&m->queues[cpu], m->now);
    c->until = choice.until;
    if (choice.entity == NULL)
        give_up(m, cpu, SCHED_PREEMPTED);
    else
        kick(m, choice.kick);
}

static void tell(struct sim *m, int cpu)
{
    if (cpu == SCHED_NO_CPU)
        return;
    if (m->cpus[cpu].current == NULL)
        dispatch(m, (unsigned)cpu);
    else if (sched_news(&m->queues[cpu]))
        look(m, (unsigned)cpu);
}

static void wake(struct sim *m, struct sim_task *task)
{
    struct sim_load *l = &task->load;

    if (task->off)
        return;
    task->left = l->kind == SIM_BUSY       ? SCHED_NEVER
                 : l->kind == SIM_PERIODIC ? l->burst
                                           : about(m, l->burst);
    task->period = MAX(task->period, m->now) + l->pause;
    task->woken_at = m->now;
    task->wakeups++;
    tell(m, sched_wake(&task->e, m->now));
}

/* ------------------------------------------------------------------ checks */

static uint64_t kept_waiting(const struct sched_entity *e, uint64_t now)
{
    return e->waited + (e->wait_since != 0 ? now - e->wait_since : 0);
}

/* How much more the siblings that wait have waited than those that run now. */
static void measure_skew(struct sim *m, const struct sim_vm *vm)
{
    for (unsigned i = 0; i < vm->nr; i++)
        for (unsigned k = 0; k < vm->nr; k++) {
            const struct sched_entity *a = &vm->tasks[i].e, *b = &vm->tasks[k].e;
            uint64_t wa = kept_waiting(a, m->now), wb = kept_waiting(b, m->now);

            if (a->state == SCHED_RUNNING && b->state == SCHED_READY && wb > wa)
                m->skew = MAX(m->skew, wb - wa);
        }
}

/* Nothing at n or below it could run on that CPU now. */
static void check_none_for(const struct sim *m, unsigned cpu, const struct tree_node *n)
{
    if (n == NULL || !(n->any & BIT(cpu)))
        return;
    if (n->mask & BIT(cpu))
        ASSERT(group_release(container_of(n, struct sched_entity, node), m->now) != m->now);
    check_none_for(m, cpu, n->left);
    check_none_for(m, cpu, n->right);
}

static void check_state(struct sim *m)
{
    for (unsigned i = 0; i < m->nr_cpus; i++)
        for (unsigned k = 0; m->cpus[i].current == NULL && k < m->nr_cpus; k++)
            check_none_for(m, i, m->queues[k].ready.root);
    for (unsigned i = 0; i < m->nr_vms; i++)
        if (m->vms[i].nr > 1)
            measure_skew(m, &m->vms[i]);
}

static uint64_t states_sum(const struct account *a, uint64_t now)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < ACCOUNT_STATES; i++)
        sum += account_ticks(a, i, now);
    return sum;
}

void sim_audit(const struct sim *m)
{
    uint64_t cpus[ACCOUNT_STATES] = {0}, tasks[ACCOUNT_STATES] = {0};

    for (unsigned i = 0; i < m->nr_cpus; i++) {
        ASSERT(states_sum(&m->queues[i].account, m->now) == m->now - m->start);
        for (unsigned k = 0; k < ACCOUNT_STATES; k++)
            cpus[k] += account_ticks(&m->queues[i].account, k, m->now);
    }
    for (unsigned i = 0; i < m->nr_vms; i++)
        for (unsigned t = 0; t < m->vms[i].nr; t++) {
            const struct account *a = &m->vms[i].tasks[t].e.account;

            ASSERT(states_sum(a, m->now) == m->now - a->start);
            for (unsigned k = 0; k < ACCOUNT_STATES; k++)
                tasks[k] += account_ticks(a, k, m->now);
        }
    ASSERT(cpus[ACCOUNT_GUEST] == tasks[ACCOUNT_GUEST]);
    ASSERT(cpus[ACCOUNT_INTERRUPT] >= tasks[ACCOUNT_INTERRUPT]);
}

/* ------------------------------------------------------------------ running */

static uint64_t cpu_next(const struct sim_cpu *c)
{
    uint64_t left;

    if (c->current == NULL)
        return c->until;
    left = task_of(c->current)->left;
    return MIN(MIN(c->until, c->spin_at), left == SCHED_NEVER ? SCHED_NEVER : c->started + left);
}

static void cpu_event(struct sim *m, unsigned cpu)
{
    struct sim_cpu *c = &m->cpus[cpu];

    if (c->current == NULL) {
        dispatch(m, cpu);
    } else if (c->spin_at <= m->now) {
        advance(m, c);
        run_chosen(m, cpu, sched_hand_over(&m->queues[cpu], m->now));
    } else {
        look(m, cpu);
    }
}

void sim_run(struct sim *m, uint64_t ticks)
{
    uint64_t end = m->now + ticks;

    for (;;) {
        uint64_t next = m->nr_events > 0 ? m->events[0].at : SCHED_NEVER;
        unsigned cpu = m->nr_cpus;

        for (unsigned i = 0; i < m->nr_cpus; i++)
            if (cpu_next(&m->cpus[i]) < next) {
                cpu = i;
                next = cpu_next(&m->cpus[i]);
            }
        if (next > end)
            break;
        m->now = MAX(m->now, next);
        if (cpu == m->nr_cpus)
            wake(m, pop_event(m));
        else
            cpu_event(m, cpu);
        if (m->check)
            check_state(m);
    }
    m->now = end;
}

void sim_interrupt(struct sim *m, unsigned cpu, uint64_t ticks)
{
    struct sim_cpu *c = &m->cpus[cpu];

    if (c->current != NULL)
        advance(m, c);
    sched_interrupt_begin(&m->queues[cpu], m->now);
    m->now += ticks;
    sched_interrupt_end(&m->queues[cpu], m->now);
    c->started = m->now;
}

/* ------------------------------------------------------------------ making */

void sim_init(struct sim *m, const struct sched_policy *policy, unsigned nr_cpus, unsigned max_vms,
              uint64_t seed)
{
    *m = (struct sim){.nr_cpus = nr_cpus, .max_vms = max_vms, .rnd = {seed}};
    m->max_events = max_vms * SCHED_MAX_ENTITIES * 2;
    m->queues = zalloc(nr_cpus, sizeof(*m->queues));
    m->cpus = zalloc(nr_cpus, sizeof(*m->cpus));
    m->vms = zalloc(max_vms, sizeof(*m->vms));
    m->events = zalloc(m->max_events, sizeof(*m->events));
    m->now = m->start = SIM_HZ;
    sched_init(&m->s, policy, m->queues, nr_cpus, SIM_HZ, m->now);
    for (unsigned i = 0; i < nr_cpus; i++)
        dispatch(m, i);
}

void sim_destroy(struct sim *m)
{
    for (unsigned i = 0; i < m->nr_vms; i++)
        free(m->vms[i].tasks);
    free(m->events);
    free(m->vms);
    free(m->cpus);
    free(m->queues);
}

struct sim_vm *sim_add(struct sim *m, const struct sched_params *p, unsigned nr,
                       const struct sim_load *load)
{
    struct sim_vm *vm = &m->vms[m->nr_vms++];
    int error = sched_group_init(&vm->group, &m->s, p, m->now);

    ASSERT(m->nr_vms <= m->max_vms && error == 0);
    vm->nr = nr;
    vm->there = true;
    vm->tasks = zalloc(nr, sizeof(*vm->tasks));
    for (unsigned i = 0; i < nr; i++) {
        error = sched_entity_init(&vm->tasks[i].e, &vm->group, NULL, m->now);
        ASSERT(error == 0);
        vm->tasks[i].load = *load;
        wake_at(m, &vm->tasks[i], m->now);
    }
    return vm;
}

void sim_stop(struct sim *m, struct sim_vm *vm)
{
    vm->there = false;
    for (unsigned i = 0; i < vm->nr; i++) {
        vm->tasks[i].off = true;
        for (unsigned k = 0; k < m->nr_cpus; k++)
            if (m->cpus[k].current == &vm->tasks[i].e)
                look(m, k);
    }
}

uint64_t sim_ran(const struct sim *m, const struct sim_vm *vm)
{
    uint64_t ran = 0;

    for (unsigned i = 0; i < vm->nr; i++)
        ran += account_ticks(&vm->tasks[i].e.account, ACCOUNT_GUEST, m->now);
    return ran;
}

uint64_t sim_steps(const struct sim *m)
{
    uint64_t steps = 0;

    for (unsigned i = 0; i < m->nr_cpus; i++)
        steps += m->queues[i].ready.steps + m->queues[i].held.steps + m->queues[i].floors.steps;
    return steps;
}

uint64_t sim_decisions(const struct sim *m)
{
    uint64_t decisions = 0;

    for (unsigned i = 0; i < m->nr_cpus; i++)
        decisions += m->queues[i].decisions;
    return decisions;
}
