/*
 * The scheduler in simulated time: shares, reservations, limits, latency, siblings, accounts. All
 * is counted in ticks of the simulation, so every run is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/unit/sched_sim.h"

#define MAX_VMS 16
#define SECOND  SIM_HZ
#define STEP    (SIM_HZ / 10) /* windows begin every so often */
#define WINDOW  100           /* steps: 10 s */

static const struct sim_load busy = {SIM_BUSY, 0, 0, 0};

/* What each VM got up to each step. */
struct history {
    uint64_t ran[1000][MAX_VMS];
    unsigned nr;
};

static void record(struct sim *m, struct history *h, unsigned seconds)
{
    h->nr = 0;
    for (unsigned i = 0; i <= seconds * 10; i++) {
        for (unsigned k = 0; k < m->nr_vms; k++)
            h->ran[i][k] = sim_ran(m, &m->vms[k]);
        h->nr++;
        if (i < seconds * 10)
            sim_run(m, STEP);
    }
}

/* In every window of so many steps, the VM has had low to high, in tenths of a percent of a CPU. */
static void assert_windows(const struct history *h, unsigned vm, unsigned steps, unsigned low,
                           unsigned high)
{
    assert_true(h->nr > steps);
    for (unsigned i = steps; i < h->nr; i++) {
        uint64_t ran = h->ran[i][vm] - h->ran[i - steps][vm];

        assert_in_range(ran * 1000 / (steps * STEP), low, high);
    }
}

static struct sim_vm *add_shares(struct sim *m, uint64_t shares)
{
    struct sched_params p = sim_shares(shares);

    return sim_add(m, &p, 1, &busy);
}

static struct sim_vm *add_bounded(struct sim *m, uint64_t shares, uint64_t reservation,
                                  uint64_t limit, unsigned vcpus)
{
    struct sched_params p = sim_shares(shares);

    p.reservation = reservation;
    p.limit = limit;
    return sim_add(m, &p, vcpus, &busy);
}

static void begin(struct sim *m, unsigned cpus)
{
    sim_init(m, &sched_proportional, cpus, MAX_VMS, 1);
    m->check = true;
}

static void end(struct sim *m)
{
    sim_audit(m);
    sim_destroy(m);
}

/* ------------------------------------------------------------------ shares */

/* 1:2:4 on one CPU: 14.3, 28.6 and 57.1 % +- 1 % in every window of 10 s. */
static void test_shares(void **state)
{
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 1);
    for (unsigned i = 0; i < 3; i++)
        add_shares(&m, 1000ull << i);
    record(&m, &h, 60);
    assert_windows(&h, 0, WINDOW, 133, 153);
    assert_windows(&h, 1, WINDOW, 276, 296);
    assert_windows(&h, 2, WINDOW, 561, 581);
    end(&m);
}

/* Shares are the VM's: two vCPUs get no more than one does. */
static void test_equal_vms(void **state)
{
    struct sched_params p = sim_shares(SCHED_DEFAULT_SHARES);
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 2);
    sim_add(&m, &p, 2, &busy);
    sim_add(&m, &p, 1, &busy);
    sim_add(&m, &p, 1, &busy);
    record(&m, &h, 30);
    for (unsigned i = 0; i < 3; i++)
        assert_windows(&h, i, WINDOW, 657, 677);
    end(&m);
}

/* What does not fit evenly moves about: each gets its part of all CPUs, but no more than one. */
static void test_several_cpus(void **state)
{
    static const unsigned due[] = {143, 286, 429, 571, 714, 857};
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 3);
    for (unsigned i = 0; i < ARRAY_SIZE(due); i++)
        add_shares(&m, 1000 * (i + 1));
    record(&m, &h, 30);
    for (unsigned i = 0; i < ARRAY_SIZE(due); i++)
        assert_windows(&h, i, WINDOW, due[i] - 10, due[i] + 10);
    end(&m);
    begin(&m, 2);
    add_shares(&m, 100000); /* it cannot use what it would be given */
    add_shares(&m, 1000);
    add_shares(&m, 1000);
    record(&m, &h, 30);
    assert_windows(&h, 0, WINDOW, 990, 1000);
    assert_windows(&h, 1, WINDOW, 490, 510);
    assert_windows(&h, 2, WINDOW, 490, 510);
    end(&m);
}

/* Within 3 s after a VM has come, gone or changed, every window of 1 s is right. */
static void test_convergence(void **state)
{
    struct sched_params p = sim_shares(3000);
    static struct history h;
    struct sim_vm *second;
    struct sim m;

    (void)state;
    begin(&m, 1);
    add_shares(&m, 1000);
    sim_run(&m, 20 * SECOND);
    second = add_shares(&m, 1000);
    sim_run(&m, 3 * SECOND);
    record(&m, &h, 5);
    assert_windows(&h, 0, 10, 490, 510);
    assert_windows(&h, 1, 10, 490, 510);
    assert_int_equal(sched_group_set(&second->group, &p, m.now), 0);
    sim_run(&m, 3 * SECOND);
    record(&m, &h, 5);
    assert_windows(&h, 0, 10, 240, 260);
    assert_windows(&h, 1, 10, 740, 760);
    sim_stop(&m, second);
    add_shares(&m, 9000);
    sim_run(&m, 3 * SECOND);
    record(&m, &h, 5);
    assert_windows(&h, 0, 10, 90, 110);
    assert_windows(&h, 1, 10, 0, 0);
    assert_windows(&h, 2, 10, 890, 910);
    end(&m);
}

/* ------------------------------------------------------------------ floors and ceilings */

static void test_reservation(void **state)
{
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 1);
    add_bounded(&m, 1, 50, 0, 1); /* by its shares it would get next to nothing */
    add_bounded(&m, 1, 20, 0, 1);
    add_shares(&m, 100000);
    add_shares(&m, 100000);
    record(&m, &h, 30);
    assert_windows(&h, 0, WINDOW, 499, 510);
    assert_windows(&h, 1, WINDOW, 199, 210);
    assert_windows(&h, 2, WINDOW, 140, 160);
    end(&m);
}

/* A reservation is no gift on top: who gets more by its shares anyway gets just that. */
static void test_reservation_within_shares(void **state)
{
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 1);
    add_bounded(&m, 1000, 30, 0, 1);
    add_shares(&m, 1000);
    record(&m, &h, 20);
    assert_windows(&h, 0, WINDOW, 490, 510);
    end(&m);
}

/* When a reservation is taken away, what it gave is not held against the VM. */
static void test_reservation_removed(void **state)
{
    struct sched_params p = sim_shares(1000);
    static struct history h;
    struct sim_vm *vm;
    struct sim m;

    (void)state;
    begin(&m, 1);
    vm = add_bounded(&m, 1000, 90, 0, 1);
    add_shares(&m, 1000);
    record(&m, &h, 20);
    assert_windows(&h, 0, WINDOW, 899, 910);
    assert_int_equal(sched_group_set(&vm->group, &p, m.now), 0);
    sim_run(&m, SECOND);
    record(&m, &h, 3);
    assert_windows(&h, 0, 10, 490, 510);
    end(&m);
}

/* The rest is for the others, or for nobody. */
static void test_limit(void **state)
{
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 1);
    add_bounded(&m, 9000, 0, 20, 1);
    record(&m, &h, 20);
    assert_windows(&h, 0, WINDOW, 190, 201);
    add_shares(&m, 1000);
    record(&m, &h, 20);
    assert_windows(&h, 0, WINDOW, 190, 201);
    assert_windows(&h, 1, WINDOW, 799, 810);
    end(&m);
}

/* The limit is the VM's: four vCPUs divide it, also when not all of them run. */
static void test_limit_of_many(void **state)
{
    static struct history h;
    struct sim_vm *vm;
    struct sim m;

    (void)state;
    begin(&m, 4);
    vm = add_bounded(&m, 1000, 0, 150, 4);
    record(&m, &h, 20);
    assert_windows(&h, 0, WINDOW, 1480, 1510);
    vm->tasks[2].off = vm->tasks[3].off = true;
    sim_run(&m, SECOND);
    record(&m, &h, 20);
    assert_windows(&h, 0, WINDOW, 1480, 1510);
    end(&m);
}

/* Floor and ceiling at the same place, beside a floor that leaves little. */
static void test_both(void **state)
{
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 1);
    add_bounded(&m, 1000, 30, 30, 1);
    add_bounded(&m, 1000, 60, 0, 1);
    add_shares(&m, 1000);
    record(&m, &h, 30);
    assert_windows(&h, 0, WINDOW, 298, 302);
    assert_windows(&h, 1, WINDOW, 598, 610);
    assert_windows(&h, 2, WINDOW, 90, 110);
    end(&m);
}

/* ------------------------------------------------------------------ waking */

/*
 * Who uses less than its part waits, after it woke, no longer than a first request takes at its
 * part of the CPU, and one request that was under way: wake_slice * W / w + slice.
 */
static void test_latency(void **state)
{
    static const struct sim_load interactive = {SIM_INTERACTIVE, SIM_MS / 2, 30 * SIM_MS, 0};
    static const struct sim_load periodic = {SIM_PERIODIC, 1 * SIM_MS, 50 * SIM_MS, 0};

    (void)state;
    for (unsigned n = 1; n <= 10; n += 3) {
        struct sched_params p = sim_shares(SCHED_DEFAULT_SHARES);
        struct sim_vm *vm[2];
        struct sim m;

        begin(&m, 1);
        for (unsigned i = 0; i < n; i++)
            add_shares(&m, SCHED_DEFAULT_SHARES);
        vm[0] = sim_add(&m, &p, 1, &interactive);
        vm[1] = sim_add(&m, &p, 1, &periodic);
        sim_run(&m, 30 * SECOND);
        for (unsigned i = 0; i < 2; i++) {
            assert_true(vm[i]->tasks[0].wakeups > 500);
            assert_in_range(vm[i]->tasks[0].latency, 0, (n + 2) * m.s.wake_slice + m.s.slice);
        }
        end(&m);
    }
}

/* Nobody who is ready starves, whatever the others' shares: turns come as the share says. */
static void test_no_starvation(void **state)
{
    static const struct sim_load rude = {SIM_INTERACTIVE, 2 * SIM_MS, 1 * SIM_MS, 0};
    struct sched_params p = sim_shares(10000);
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 1);
    add_shares(&m, 100);
    for (unsigned i = 0; i < 5; i++)
        sim_add(&m, &p, 1, &rude);
    record(&m, &h, 60);
    assert_windows(&h, 0, 10 * WINDOW / 2, 1, 20);
    end(&m);
}

/* ------------------------------------------------------------------ siblings */

/*
 * Under round robin nobody moves here: a hog on one of two CPUs halves one vCPU's progress. The
 * other one must not run away from it.
 */
static void run_lopsided(struct sim *m, bool together)
{
    struct sched_params p = sim_shares(1000);

    sim_init(m, &sched_round_robin, 2, MAX_VMS, 1);
    m->check = true;
    if (!together)
        m->s.skew_max = SCHED_NEVER / 4;
    sim_add(m, &p, 2, &busy);
    p.affinity = BIT(0);
    sim_add(m, &p, 1, &busy);
    sim_run(m, SECOND); /* who was alone on its CPU looks within 100 ms */
    m->skew = 0;
    sim_run(m, 30 * SECOND);
}

static void test_siblings(void **state)
{
    struct sim m;

    (void)state;
    run_lopsided(&m, false);
    assert_true(m.skew > 10 * SECOND);
    end(&m);
    run_lopsided(&m, true);
    assert_in_range(m.skew, 1, m.s.skew_max + 2 * m.s.slice);
    assert_true(sim_ran(&m, &m.vms[0]) > 30 * SECOND); /* 15 s for each */
    end(&m);
}

/* Many VMs with several vCPUs: their siblings are kept together, and their shares hold. */
static void test_siblings_and_shares(void **state)
{
    static struct history h;
    struct sim m;

    (void)state;
    begin(&m, 4);
    for (unsigned i = 0; i < 12; i++) {
        struct sched_params p = sim_shares(1000 * (1 + i % 3));

        sim_add(&m, &p, 1 + i % 4, &busy);
    }
    sim_run(&m, SECOND);
    record(&m, &h, 30);
    for (unsigned i = 0; i < 12; i++)
        assert_windows(&h, i, WINDOW, 4000 * (1 + i % 3) / 24 - 10, 4000 * (1 + i % 3) / 24 + 10);
    end(&m);
}

/* Who spins lets its sibling run, which may hold the lock, and does not pay with its share. */
static void test_pause(void **state)
{
    const struct sim_load spins = {SIM_BUSY, 0, 0, SIM_MS / 10};
    struct sched_params p = sim_shares(1000);
    static struct history h;
    struct sched_choice choice;
    struct sim m;

    (void)state;
    begin(&m, 1);
    sim_add(&m, &p, 2, &busy);
    for (unsigned i = 0; i < 3; i++)
        add_shares(&m, 1000);
    for (unsigned i = 0; i < 50; i++) {
        struct sched_entity *e;

        sim_run(&m, 7 * SIM_MS);
        e = m.cpus[0].current;
        if (e->group != &m.vms[0].group)
            continue;
        sched_requeue(e, SCHED_YIELDS, m.now);
        choice = sched_pick(&m.queues[0], m.now);
        assert_non_null(choice.entity);
        assert_ptr_equal(choice.entity->group, e->group);
        assert_ptr_not_equal(choice.entity, e);
        m.cpus[0].current = choice.entity;
        m.cpus[0].started = m.now;
        m.cpus[0].until = choice.until;
    }
    end(&m);
    begin(&m, 1);
    sim_add(&m, &p, 1, &spins);
    add_shares(&m, 1000);
    record(&m, &h, 20);
    assert_windows(&h, 1, WINDOW, 500, 1000); /* never less than its part */
    assert_windows(&h, 0, WINDOW, 10, 500);
    end(&m);
}

/* ------------------------------------------------------------------ accounts */

/* Interrupts for others hit one of two equal VMs only; it gets back what they took. */
static void test_interrupts(void **state)
{
    struct sim_vm *a, *b;
    struct sim m;
    uint64_t difference;

    (void)state;
    begin(&m, 1);
    a = add_shares(&m, 1000);
    b = add_shares(&m, 1000);
    for (unsigned i = 0; i < 20000; i++) {
        sim_run(&m, SIM_MS);
        if (m.cpus[0].current == &a->tasks[0].e)
            sim_interrupt(&m, 0, SIM_MS / 4);
    }
    assert_true(account_ticks(&a->tasks[0].e.account, ACCOUNT_INTERRUPT, m.now) > SECOND);
    assert_int_equal(account_ticks(&b->tasks[0].e.account, ACCOUNT_INTERRUPT, m.now), 0);
    difference = sim_ran(&m, a) > sim_ran(&m, b) ? sim_ran(&m, a) - sim_ran(&m, b)
                                                 : sim_ran(&m, b) - sim_ran(&m, a);
    assert_in_range(difference, 0, 2 * m.s.slice);
    end(&m);
}

static void test_accounts(void **state)
{
    struct account a;
    uint64_t sum = 0;

    (void)state;
    account_init(&a, ACCOUNT_HALTED, 100);
    account_switch(&a, ACCOUNT_READY, 110);
    account_switch(&a, ACCOUNT_GUEST, 105); /* a clock that goes back stands still */
    account_switch(&a, ACCOUNT_HYPERVISOR, 150);
    assert_int_equal(account_ticks(&a, ACCOUNT_HALTED, 160), 10);
    assert_int_equal(account_ticks(&a, ACCOUNT_READY, 160), 0);
    assert_int_equal(account_ticks(&a, ACCOUNT_GUEST, 160), 40);
    assert_int_equal(account_ticks(&a, ACCOUNT_HYPERVISOR, 160), 10);
    for (unsigned i = 0; i < ACCOUNT_STATES; i++) {
        assert_non_null(account_name(i));
        sum += account_ticks(&a, i, 160);
    }
    assert_int_equal(sum, 60);
}

/* ------------------------------------------------------------------ everything at once */

static struct sim_load random_load(struct random *rnd)
{
    struct sim_load l = {.kind = random_below(rnd, 3)};

    l.burst = SIM_MS / 10 + random_below(rnd, 20 * SIM_MS);
    l.pause = SIM_MS / 10 + random_below(rnd, 60 * SIM_MS);
    l.spin = random_below(rnd, 8) == 0 ? SIM_MS : 0;
    return l;
}

static void add_random(struct sim *m)
{
    struct sched_params p = sim_shares(1 + random_below(&m->rnd, 5000));
    struct sim_load l = random_load(&m->rnd);

    if (random_below(&m->rnd, 3) == 0)
        p.limit = 40 + random_below(&m->rnd, 200);
    if (random_below(&m->rnd, 4) == 0)
        p.reservation = random_below(&m->rnd, 100 / MAX_VMS * m->nr_cpus);
    if (random_below(&m->rnd, 3) == 0)
        p.affinity = 1 + random_below(&m->rnd, BIT(m->nr_cpus) - 1);
    sim_add(m, &p, 1 + random_below(&m->rnd, 4), &l);
}

/*
 * VMs come and go, with every kind of load and parameter. After each event: no CPU is idle while
 * something waits that may run there, and who runs may run there. Accounts are exact throughout.
 */
static void test_everything(void **state)
{
    static const struct sched_policy *const policies[] = {&sched_proportional, &sched_round_robin};

    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct sim m;

        sim_init(&m, policies[seed % 2], 1 + seed % 6, MAX_VMS, seed);
        m.check = true;
        while (m.nr_vms < MAX_VMS) {
            add_random(&m);
            if (random_below(&m.rnd, 3) == 0)
                sim_stop(&m, &m.vms[random_below(&m.rnd, m.nr_vms)]);
            sim_run(&m, SECOND / 4);
            sim_interrupt(&m, random_below(&m.rnd, m.nr_cpus), SIM_MS);
            sim_audit(&m);
        }
        end(&m);
    }
}

/* Half of n equal VMs always run, half come and go. Returns tree nodes visited per decision. */
static uint64_t cost_of(unsigned n)
{
    static const struct sim_load comes = {SIM_INTERACTIVE, SIM_MS, 200 * SIM_MS, 0};
    const int64_t close = 40 * (int64_t)SIM_MS;
    struct sched_params p = sim_shares(1000);
    static uint64_t got[10000];
    uint64_t cost;
    struct sim m;

    sim_init(&m, &sched_proportional, 4, n, 1);
    for (unsigned i = 0; i < n; i++)
        sim_add(&m, &p, 1, i % 2 != 0 ? &comes : &busy);
    sim_run(&m, 4 * SECOND);
    for (unsigned i = 0; i < n; i++)
        got[i] = sim_ran(&m, &m.vms[i]);
    sim_run(&m, 10 * SECOND);
    for (unsigned i = 2; i < n; i += 2) {
        int64_t more =
            (int64_t)(sim_ran(&m, &m.vms[i]) - got[i]) - (int64_t)(sim_ran(&m, &m.vms[0]) - got[0]);

        assert_true(more < close && more > -close);
    }
    cost = sim_steps(&m) / sim_decisions(&m);
    end(&m);
    return cost;
}

/* Ten times the VMs cost so many nodes more each time: the cost grows as the logarithm. */
static void test_many(void **state)
{
    uint64_t cost[] = {cost_of(100), cost_of(1000), cost_of(10000)};

    (void)state;
    assert_in_range(cost[0], 1, 40);
    assert_in_range(cost[1] - cost[0], 1, 30);
    assert_in_range(cost[2] - cost[1], 1, 30);
}

/* ------------------------------------------------------------------ admission */

static void test_params(void **state)
{
    struct sched_params p = sim_shares(1000), q = p;
    struct sched_group a, b;
    struct sim m;

    (void)state;
    begin(&m, 2);
    assert_int_equal(sched_params_check(&m.s, &p), 0);
    p.shares = 0;
    assert_int_equal(sched_params_check(&m.s, &p), E_INVAL);
    p.shares = SCHED_MAX_SHARES + 1;
    assert_int_equal(sched_params_check(&m.s, &p), E_INVAL);
    p = q;
    p.affinity = BIT(2); /* there is no such CPU */
    assert_int_equal(sched_params_check(&m.s, &p), E_INVAL);
    p.affinity = BIT(1);
    p.reservation = 101; /* of one CPU */
    assert_int_equal(sched_params_check(&m.s, &p), E_INVAL);
    p.reservation = 50;
    p.limit = 40;
    assert_int_equal(sched_params_check(&m.s, &p), E_INVAL);
    q.reservation = 150;
    p.limit = 0;
    assert_int_equal(sched_group_init(&a, &m.s, &q, m.now), 0);
    assert_int_equal(sched_group_init(&b, &m.s, &p, m.now), 0);
    p.reservation = 51;
    assert_int_equal(sched_group_set(&b, &p, m.now), E_NOSPC);
    assert_int_equal(b.params.reservation, 50);
    p.affinity = BIT(0);
    assert_int_equal(sched_group_set(&b, &p, m.now), E_INVAL);
    sched_group_destroy(&a);
    p = b.params;
    p.reservation = 100;
    assert_int_equal(sched_group_set(&b, &p, m.now), 0);
    sched_group_destroy(&b);
    assert_int_equal(m.s.reserved, 0);
    assert_ptr_equal(sched_policy_named("round-robin"), &sched_round_robin);
    assert_ptr_equal(sched_policy_named("proportional"), &sched_proportional);
    assert_null(sched_policy_named("proportion"));
    end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_equal_vms),
        cmocka_unit_test(test_several_cpus),
        cmocka_unit_test(test_convergence),
        cmocka_unit_test(test_reservation),
        cmocka_unit_test(test_reservation_within_shares),
        cmocka_unit_test(test_reservation_removed),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_of_many),
        cmocka_unit_test(test_both),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_no_starvation),
        cmocka_unit_test(test_siblings),
        cmocka_unit_test(test_siblings_and_shares),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_interrupts),
        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_params),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
