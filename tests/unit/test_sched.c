/* The scheduler: turns, wake-ups that come at any time, and fairness; with threads for races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <time.h>
#include <threads.h> /* pthread.h declares a sched_requeue of its own */
#include "sched/sched.h"
#include "tests/unit/random.h"

#define ENTITIES 5

struct fixture {
    struct sched_queue q;
    struct sched_entity e[ENTITIES];
};

static void start(struct fixture *f)
{
    sched_queue_init(&f->q);
    for (unsigned i = 0; i < ENTITIES; i++)
        sched_entity_init(&f->e[i]);
}

static void wake_all(struct fixture *f)
{
    for (unsigned i = 0; i < ENTITIES; i++)
        assert_true(sched_wake(&f->q, &f->e[i], 0));
}

static void test_empty(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assert_null(sched_pick(&f.q, 0));
    assert_false(sched_contended(&f.q));
    assert_true(sched_wake(&f.q, &f.e[0], 1));
    assert_false(sched_wake(&f.q, &f.e[0], 1)); /* ready already: once in the list */
    assert_true(sched_contended(&f.q));
    assert_ptr_equal(sched_pick(&f.q, 2), &f.e[0]);
    assert_false(sched_contended(&f.q));
    assert_true(sched_block(&f.q, &f.e[0], 5));
    assert_int_equal(f.e[0].ran, 3);
    assert_null(sched_pick(&f.q, 6));
}

static void test_turns(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    wake_all(&f);
    for (unsigned i = 0; i < 4 * ENTITIES; i++) {
        struct sched_entity *e = sched_pick(&f.q, 10 * i);

        assert_ptr_equal(e, &f.e[i % ENTITIES]);
        assert_int_equal(f.q.nr_ready, ENTITIES - 1);
        sched_requeue(&f.q, e, 10 * i + 7);
    }
    for (unsigned i = 0; i < ENTITIES; i++)
        assert_int_equal(f.e[i].ran, 4 * 7);
}

/* A wake-up while it runs makes the next attempt to block fail, and only that one. */
static void test_wake_while_running(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    wake_all(&f);
    assert_ptr_equal(sched_pick(&f.q, 0), &f.e[0]);
    assert_false(sched_wake(&f.q, &f.e[0], 1));
    assert_false(sched_wake(&f.q, &f.e[0], 1));
    assert_false(sched_block(&f.q, &f.e[0], 2));
    assert_int_equal(f.e[0].state, SCHED_RUNNING);
    assert_true(sched_block(&f.q, &f.e[0], 3));
    assert_int_equal(f.e[0].state, SCHED_BLOCKED);
    assert_true(sched_wake(&f.q, &f.e[0], 4));
    /* It comes after all who waited before it. */
    for (unsigned i = 1; i < ENTITIES; i++) {
        assert_ptr_equal(sched_pick(&f.q, 5), &f.e[i]);
        assert_true(sched_block(&f.q, &f.e[i], 6));
    }
    assert_ptr_equal(sched_pick(&f.q, 7), &f.e[0]);
}

/*
 * Random events: nobody waits longer than it takes the others to have one turn each, and the time
 * that entities ran is all the time in which there was one to run.
 */
static void test_fair(void **state)
{
    struct random rnd = {1};
    struct fixture f;
    uint64_t now = 0, busy = 0, ran = 0, waited[ENTITIES] = {0};

    (void)state;
    start(&f);
    for (unsigned i = 0; i < 20000; i++) {
        struct sched_entity *e;
        uint64_t slice = random_below(&rnd, 100);

        sched_wake(&f.q, &f.e[random_below(&rnd, ENTITIES)], now);
        e = sched_pick(&f.q, now);
        assert_non_null(e);
        for (unsigned k = 0; k < ENTITIES; k++) {
            waited[k] = f.e[k].state == SCHED_READY ? waited[k] + 1 : 0;
            assert_true(waited[k] < ENTITIES);
        }
        now += slice;
        busy += slice;
        if (random_below(&rnd, 3) != 0 || !sched_block(&f.q, e, now))
            sched_requeue(&f.q, e, now);
        now += random_below(&rnd, 10);
    }
    for (unsigned i = 0; i < ENTITIES; i++) {
        ran += f.e[i].ran;
        assert_true(f.e[i].ran > busy / ENTITIES / 2);
    }
    assert_int_equal(ran, busy);
}

/* ------------------------------------------------------------------ races */

#define WAKERS   2
#define WORK     20000 /* pieces for each entity */
#define PATIENCE 5     /* seconds */

struct race {
    struct fixture f;
    uint64_t given[ENTITIES], done[ENTITIES]; /* atomic */
    unsigned wakers;                          /* atomic: the number of the next thread */
    unsigned finished;                        /* atomic */
    bool stop;                                /* atomic: it hangs */
};

static bool wait_done(struct race *r, unsigned k, uint64_t pieces)
{
    while (__atomic_load_n(&r->done[k], __ATOMIC_SEQ_CST) < pieces) {
        if (__atomic_load_n(&r->stop, __ATOMIC_RELAXED))
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
            sched_wake(&r->f.q, &r->f.e[k], i);
        }
        for (unsigned k = me; k < ENTITIES; k += WAKERS)
            if (!wait_done(r, k, i))
                return 1;
    }
    __atomic_fetch_add(&r->finished, 1, __ATOMIC_SEQ_CST);
    return 0;
}

/* An entity works off what it sees, dawdles, then tries to block; now and then it yields. */
static void run(struct race *r, struct sched_entity *e, uint64_t now)
{
    unsigned k = (unsigned)(e - r->f.e);

    do {
        uint64_t given = __atomic_load_n(&r->given[k], __ATOMIC_SEQ_CST);

        __atomic_store_n(&r->done[k], given, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < now % 50; i++)
            __builtin_ia32_pause();
        if (now % 7 == 0) {
            sched_requeue(&r->f.q, e, now);
            return;
        }
    } while (!sched_block(&r->f.q, e, now));
}

static bool out_of_patience(time_t *since, bool idle)
{
    struct timespec t;

    timespec_get(&t, TIME_UTC);
    if (!idle)
        *since = t.tv_sec;
    return t.tv_sec - *since > PATIENCE;
}

/*
 * The next piece of work comes the moment the last one is done, while the entity is about to
 * block. A lost wake-up leaves everybody waiting.
 */
static void test_no_lost_wakeups(void **state)
{
    static struct race r;
    thrd_t threads[WAKERS];
    time_t since = 0;
    int failed = 0;

    (void)state;
    start(&r.f);
    for (unsigned i = 0; i < WAKERS; i++)
        assert_int_equal(thrd_create(&threads[i], waker, &r), thrd_success);
    for (uint64_t now = 1; __atomic_load_n(&r.finished, __ATOMIC_SEQ_CST) < WAKERS; now++) {
        struct sched_entity *e = sched_pick(&r.f.q, now);

        if (e != NULL)
            run(&r, e, now);
        else
            thrd_yield();
        if (out_of_patience(&since, e == NULL && now > 1)) {
            __atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
            break;
        }
    }
    for (unsigned i = 0; i < WAKERS; i++) {
        thrd_join(threads[i], &failed);
        assert_int_equal(failed, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_wake_while_running),
        cmocka_unit_test(test_fair),
        cmocka_unit_test(test_no_lost_wakeups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
