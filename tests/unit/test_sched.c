/* The scheduler: turns, wake-ups that come at any time, and races, with threads for CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <time.h>
#include <threads.h> /* pthread.h declares a sched_requeue of its own */
#include "sched/group.h"
#include "sched/policy.h"
#include "tests/unit/random.h"

#define ENTITIES 5
#define CPUS     2
#define HZ       1000000 /* a slice is 5000 ticks */
#define SLICE    5000

struct fixture {
    struct sched s;
    struct sched_queue q[CPUS];
    struct sched_group g[ENTITIES];
    struct sched_entity e[ENTITIES];
    bool resident[ENTITIES];
};

static void start(struct fixture *f, const struct sched_policy *policy, unsigned cpus)
{
    struct sched_params p = {SCHED_DEFAULT_SHARES, 0, 0, UINT64_MAX};

    sched_init(&f->s, policy, f->q, cpus, HZ, 0);
    for (unsigned i = 0; i < ENTITIES; i++) {
        f->resident[i] = false;
        assert_int_equal(sched_group_init(&f->g[i], &f->s, &p, 0), 0);
        assert_int_equal(sched_entity_init(&f->e[i], &f->g[i], &f->resident[i], 0), 0);
    }
}

static void finish(struct fixture *f)
{
    for (unsigned i = 0; i < ENTITIES; i++) {
        sched_entity_destroy(&f->e[i]);
        sched_group_destroy(&f->g[i]);
    }
}

static const struct sched_policy *const policies[] = {&sched_proportional, &sched_round_robin};

static void test_empty(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
        struct fixture f;
        struct sched_choice c;

        start(&f, policies[i], 1);
        c = sched_pick(f.q, 0);
        assert_null(c.entity);
        assert_true(c.until == SCHED_NEVER);
        assert_false(sched_contended(f.q));
        assert_int_equal(sched_wake(&f.e[0], 1), 0);
        assert_int_equal(sched_wake(&f.e[0], 1), SCHED_NO_CPU); /* ready already */
        assert_true(sched_contended(f.q));
        c = sched_pick(f.q, 2);
        assert_ptr_equal(c.entity, &f.e[0]);
        assert_true(c.until == SCHED_NEVER); /* nobody else wants the CPU */
        assert_false(sched_contended(f.q));
        assert_true(sched_block(&f.e[0], 5));
        assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_GUEST, 9), 3);
        assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_READY, 9), 1);
        assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_HALTED, 9), 5);
        assert_null(sched_pick(f.q, 6).entity);
        finish(&f);
    }
}

/* Who runs alone is told when company comes, and then has a slice. */
static void test_company(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
        struct sched_choice c;
        struct fixture f;

        start(&f, policies[i], 1);
        sched_wake(&f.e[0], 0);
        assert_ptr_equal(sched_pick(f.q, 0).entity, &f.e[0]);
        assert_false(sched_news(f.q));
        assert_int_equal(sched_wake(&f.e[1], 10), 0);
        assert_true(sched_news(f.q));
        c = sched_look(f.q, 10);
        assert_false(sched_news(f.q));
        if (c.entity != NULL) {
            assert_in_range(c.until, 11, 10 + SLICE);
            c = sched_look(f.q, c.until);
        }
        assert_null(c.entity);
        sched_requeue(&f.e[0], SCHED_PREEMPTED, 2 * SLICE);
        assert_ptr_equal(sched_pick(f.q, 2 * SLICE).entity, &f.e[1]);
        assert_true(sched_block(&f.e[1], 2 * SLICE));
        assert_ptr_equal(sched_pick(f.q, 2 * SLICE).entity, &f.e[0]);
        assert_true(sched_block(&f.e[0], 2 * SLICE));
        finish(&f);
    }
}

/* Round robin is just that. */
static void test_turns(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, &sched_round_robin, 1);
    for (unsigned i = 0; i < ENTITIES; i++)
        assert_int_equal(sched_wake(&f.e[i], 0), 0);
    for (unsigned i = 0; i < 3 * ENTITIES; i++) {
        struct sched_choice c = sched_pick(f.q, i * SLICE);

        assert_ptr_equal(c.entity, &f.e[i % ENTITIES]);
        assert_int_equal(c.until, (i + 1) * SLICE);
        assert_null(sched_look(f.q, c.until).entity);
        sched_requeue(c.entity, SCHED_PREEMPTED, c.until);
    }
}

/* A wake-up while it runs makes the next attempt to block fail, and only that one. */
static void test_wake_while_running(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
        struct fixture f;

        start(&f, policies[i], 1);
        sched_wake(&f.e[0], 0);
        assert_ptr_equal(sched_pick(f.q, 0).entity, &f.e[0]);
        assert_int_equal(sched_wake(&f.e[0], 1), SCHED_NO_CPU);
        assert_int_equal(sched_wake(&f.e[0], 1), SCHED_NO_CPU);
        assert_false(sched_block(&f.e[0], 2));
        assert_int_equal(f.e[0].state, SCHED_RUNNING);
        assert_true(sched_block(&f.e[0], 3));
        assert_int_equal(f.e[0].state, SCHED_BLOCKED);
        assert_int_equal(sched_wake(&f.e[0], 4), 0);
        assert_ptr_equal(sched_pick(f.q, 5).entity, &f.e[0]);
        assert_true(sched_block(&f.e[0], 6));
        finish(&f);
    }
}

/* What is in a CPU's registers stays there; an idle CPU takes the next one, or goes without. */
static void test_resident(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, &sched_proportional, 2);
    sched_wake(&f.e[0], 0);
    assert_ptr_equal(sched_pick(&f.q[0], 0).entity, &f.e[0]);
    f.resident[0] = true;
    sched_requeue(&f.e[0], SCHED_PREEMPTED, 1);
    assert_null(sched_pick(&f.q[1], 1).entity);
    assert_int_equal(f.e[0].queue->cpu, 0);
    f.resident[0] = false;
    assert_ptr_equal(sched_pick(&f.q[1], 2).entity, &f.e[0]);
    assert_int_equal(f.e[0].queue->cpu, 1);
    f.resident[0] = true;
    assert_true(sched_block(&f.e[0], 3));
    assert_null(sched_pick(&f.q[0], 3).entity); /* idle, but not where its registers are */
    assert_int_equal(sched_wake(&f.e[0], 4), 1);
    assert_ptr_equal(sched_pick(&f.q[1], 5).entity, &f.e[0]);
}

/* The parts of a turn: guest, hypervisor, others' interrupts, for the vCPU and its CPU alike. */
static void test_accounts(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, &sched_proportional, 1);
    sched_wake(&f.e[0], 10);
    assert_ptr_equal(sched_pick(f.q, 15).entity, &f.e[0]);
    sched_hypervisor(f.q, 20);
    sched_guest(f.q, 27);
    sched_interrupt_begin(f.q, 37);
    sched_interrupt_end(f.q, 40);
    assert_true(sched_block(&f.e[0], 50));
    assert_null(sched_pick(f.q, 60).entity);
    assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_READY, 70), 5);
    assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_GUEST, 70), 5 + 10 + 10);
    assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_HYPERVISOR, 70), 7);
    assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_INTERRUPT, 70), 3);
    assert_int_equal(account_ticks(&f.e[0].account, ACCOUNT_HALTED, 70), 10 + 20);
    assert_int_equal(account_ticks(&f.q->account, ACCOUNT_GUEST, 70), 25);
    assert_int_equal(account_ticks(&f.q->account, ACCOUNT_HYPERVISOR, 70), 15 + 7 + 10);
    assert_int_equal(account_ticks(&f.q->account, ACCOUNT_INTERRUPT, 70), 3);
    assert_int_equal(account_ticks(&f.q->account, ACCOUNT_HALTED, 70), 10);
    finish(&f);
}

/* ------------------------------------------------------------------ races */

#define WAKERS   2
#define WORK     2000 /* pieces for each entity */
#define PATIENCE 10   /* seconds without any of it done */

struct race {
    struct fixture f;
    uint64_t now;                             /* atomic */
    uint64_t given[ENTITIES], done[ENTITIES]; /* atomic */
    int on[ENTITIES];                         /* atomic: the CPU that runs it + 1 */
    bool kicked[CPUS];                        /* atomic */
    unsigned wakers, cpus;                    /* atomic: the number of the next thread */
    unsigned finished;                        /* atomic */
    bool stop;                                /* atomic: all is done, or it hangs */
};

static uint64_t tick(struct race *r)
{
    return __atomic_add_fetch(&r->now, 7, __ATOMIC_RELAXED);
}

static bool stopped(struct race *r)
{
    return __atomic_load_n(&r->stop, __ATOMIC_RELAXED);
}

static void kick(struct race *r, int cpu)
{
    if (cpu != SCHED_NO_CPU)
        __atomic_store_n(&r->kicked[cpu], true, __ATOMIC_SEQ_CST);
}

static bool wait_done(struct race *r, unsigned k, uint64_t pieces)
{
    while (__atomic_load_n(&r->done[k], __ATOMIC_SEQ_CST) < pieces) {
        if (stopped(r))
            return false;
        thrd_yield();
    }
    return true;
}

/* Gives each of its entities one piece of work, wakes it, and waits until it is done. */
static int waker(void *opaque)
{
    struct race *r = opaque;
    unsigned me = __atomic_fetch_add(&r->wakers, 1, __ATOMIC_SEQ_CST);

    for (uint64_t i = 1; i <= WORK; i++) {
        for (unsigned k = me; k < ENTITIES; k += WAKERS) {
            __atomic_store_n(&r->given[k], i, __ATOMIC_SEQ_CST);
            kick(r, sched_wake(&r->f.e[k], tick(r)));
        }
        for (unsigned k = me; k < ENTITIES; k += WAKERS)
            if (!wait_done(r, k, i))
                return 1;
    }
    __atomic_fetch_add(&r->finished, 1, __ATOMIC_SEQ_CST);
    return 0;
}

/*
 * An entity works off what it sees, dawdles, then tries to block; now and then it gives way. It is
 * on one CPU at a time, and resident there until another one takes its place (here: at once).
 */
static void run(struct race *r, struct sched_entity *e, unsigned cpu)
{
    unsigned k = (unsigned)(e - r->f.e);

    ASSERT(__atomic_exchange_n(&r->on[k], (int)cpu + 1, __ATOMIC_SEQ_CST) == 0);
    for (;;) {
        uint64_t given = __atomic_load_n(&r->given[k], __ATOMIC_SEQ_CST), now = tick(r);

        __atomic_store_n(&r->done[k], given, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < now % 50; i++)
            __builtin_ia32_pause();
        if (sched_news(&r->f.q[cpu]))
            kick(r, sched_look(&r->f.q[cpu], now).kick);
        __atomic_store_n(&r->f.resident[k], true, __ATOMIC_SEQ_CST);
        __atomic_store_n(&r->on[k], 0, __ATOMIC_SEQ_CST);
        if (now % 5 == 0) {
            sched_requeue(e, now % 2 == 0 ? SCHED_YIELDS : SCHED_PREEMPTED, now);
            break;
        }
        if (sched_block(e, now))
            break;
        __atomic_store_n(&r->on[k], (int)cpu + 1, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&r->f.resident[k], false, __ATOMIC_RELEASE);
}

/* A CPU sleeps until it is kicked, as the real one does; its timer is the time that passes. */
static int cpu_thread(void *opaque)
{
    struct race *r = opaque;
    unsigned cpu = __atomic_fetch_add(&r->cpus, 1, __ATOMIC_SEQ_CST);

    while (!stopped(r)) {
        struct sched_choice c;

        __atomic_store_n(&r->kicked[cpu], false, __ATOMIC_SEQ_CST);
        c = sched_pick(&r->f.q[cpu], tick(r));
        kick(r, c.kick);
        if (c.entity != NULL) {
            run(r, c.entity, cpu);
            continue;
        }
        while (!__atomic_load_n(&r->kicked[cpu], __ATOMIC_SEQ_CST) && !stopped(r))
            thrd_yield();
    }
    return 0;
}

static uint64_t all_done(struct race *r)
{
    uint64_t sum = 0;

    for (unsigned k = 0; k < ENTITIES; k++)
        sum += __atomic_load_n(&r->done[k], __ATOMIC_RELAXED);
    return sum;
}

static bool wait_for_wakers(struct race *r)
{
    uint64_t had = 0;
    time_t since = time(NULL);

    while (__atomic_load_n(&r->finished, __ATOMIC_SEQ_CST) < WAKERS) {
        if (all_done(r) != had)
            since = time(NULL);
        had = all_done(r);
        if (time(NULL) - since > PATIENCE)
            return false;
        thrd_sleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

/*
 * The next piece of work comes the moment the last one is done, while the entity is about to
 * block, and CPUs sleep as soon as they find nothing. A lost wake-up or kick leaves all waiting.
 */
static void race(const struct sched_policy *policy)
{
    static struct race r;
    thrd_t threads[WAKERS + CPUS];
    bool in_time;

    r = (struct race){.now = 0};
    start(&r.f, policy, CPUS);
    for (unsigned i = 0; i < WAKERS + CPUS; i++)
        assert_int_equal(thrd_create(&threads[i], i < WAKERS ? waker : cpu_thread, &r),
                         thrd_success);
    in_time = wait_for_wakers(&r);
    __atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < WAKERS + CPUS; i++)
        thrd_join(threads[i], NULL);
    assert_true(in_time);
}

static void test_no_lost_wakeups(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++)
        race(policies[i]);
}

/* Whoever yields comes after all others: they take turns, and all time is somebody's. */
static void hand_around(const struct sched_policy *policy, unsigned n)
{
    unsigned turns[ENTITIES] = {0}, rounds = 60 * n;
    uint64_t now = 1, ticks = 0;
    struct sched_choice c;
    struct fixture f;

    start(&f, policy, 1);
    for (unsigned i = 0; i < n; i++)
        (void)sched_wake(&f.e[i], 0);
    c = sched_pick(f.q, now);
    for (unsigned i = 0; i < rounds; i++) {
        const struct sched_entity *last = c.entity;

        turns[last - f.e]++;
        now += 7;
        c = sched_hand_over(f.q, now);
        assert_true(n == 1 || c.entity != last);
        assert_true(n == 1 || c.until > now);
        assert_int_equal(f.q->nr_ready, n - 1);
    }
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(turns[i], rounds / n);
        ticks += account_ticks(&f.e[i].account, ACCOUNT_GUEST, now);
    }
    assert_int_equal(ticks, now - 1);
    for (unsigned i = 0; i < n; i++) {
        assert_true(sched_block(c.entity, now));
        c = sched_pick(f.q, now);
    }
    finish(&f);
}

static void test_hand_around(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++)
        for (unsigned n = 1; n <= ENTITIES; n++)
            hand_around(policies[i], n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),           cmocka_unit_test(test_company),
        cmocka_unit_test(test_turns),           cmocka_unit_test(test_wake_while_running),
        cmocka_unit_test(test_resident),        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_no_lost_wakeups), cmocka_unit_test(test_hand_around),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
