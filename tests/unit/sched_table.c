/*
 * How fair and how cheap the scheduler is with 10 to 10,000 VMs: the table of docs/scheduling.md.
 * `make sched-table` prints it. Everything is counted in simulated time: each run gives the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include "tests/unit/sched_sim.h"

#define CPUS    4
#define SECONDS 30

/* Two thirds always run, the others come and go. All have shares of 500 to 4000. */
static void add_vm(struct sim *m, unsigned i)
{
    static const struct sim_load loads[] = {
        {SIM_BUSY, 0, 0, 0},
        {SIM_INTERACTIVE, 1 * SIM_MS, 200 * SIM_MS, 0},
        {SIM_BUSY, 0, 0, 0},
    };
    struct sched_params p = sim_shares(500 + random_below(&m->rnd, 3500));

    sim_add(m, &p, 1, &loads[i % 3]);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static bool always_runs(const struct sim_vm *vm)
{
    return vm->tasks[0].load.kind == SIM_BUSY;
}

/*
 * What each share is worth when total ticks are divided and nobody can have more than most: who
 * would get more is given most, and the others divide the rest, until it comes out even.
 */
static double worth(const struct sim *m, double total, double most)
{
    double each = 0, last = -1;

    while (each != last) {
        double left = total, shares = 0;

        last = each;
        for (unsigned i = 0; i < m->nr_vms; i++) {
            double wants = (double)m->vms[i].group.params.shares;

            if (always_runs(&m->vms[i]) && wants * each >= most)
                left -= most;
            else if (always_runs(&m->vms[i]))
                shares += wants;
        }
        each = shares > 0 ? left / shares : last;
    }
    return each;
}

/* How far those that always run are from their part of what they got together, in ms, sorted. */
static unsigned errors(const struct sim *m, const uint64_t *before, double *error)
{
    const double most = (double)SECONDS * SIM_HZ;
    double got = 0, each;
    unsigned n = 0;

    for (unsigned i = 0; i < m->nr_vms; i++)
        if (always_runs(&m->vms[i]))
            got += (double)(sim_ran(m, &m->vms[i]) - before[i]);
    each = worth(m, got, most);
    for (unsigned i = 0; i < m->nr_vms; i++)
        if (always_runs(&m->vms[i])) {
            double due = MIN(each * (double)m->vms[i].group.params.shares, most);
            double e = ((double)(sim_ran(m, &m->vms[i]) - before[i]) - due) / SIM_MS;

            error[n++] = e < 0 ? -e : e;
        }
    qsort(error, n, sizeof(*error), by_size);
    return n;
}

static void print_row(const struct sched_policy *policy, unsigned vms)
{
    uint64_t *before = calloc(vms, sizeof(*before)), steps, decisions;
    double *error = calloc(vms, sizeof(*error));
    struct sim m;
    unsigned n;

    sim_init(&m, policy, CPUS, vms, vms);
    for (unsigned i = 0; i < vms; i++)
        add_vm(&m, i);
    sim_run(&m, 3 * SIM_HZ);
    for (unsigned i = 0; i < vms; i++)
        before[i] = sim_ran(&m, &m.vms[i]);
    steps = sim_steps(&m);
    decisions = sim_decisions(&m);
    sim_run(&m, SECONDS * SIM_HZ);
    n = errors(&m, before, error);
    printf("| %s | %u | %lu | %.1f | %.2f | %.2f | %.2f |\n", policy->name, vms,
           sim_decisions(&m) - decisions,
           (double)(sim_steps(&m) - steps) / (double)(sim_decisions(&m) - decisions), error[n / 2],
           error[n * 99 / 100], error[n - 1]);
    sim_destroy(&m);
    free(error);
    free(before);
}

int main(void)
{
    static const unsigned sizes[] = {10, 100, 1000, 10000};

    printf("| policy | VMs | decisions | nodes per decision | error: median | 99 %% | largest |\n");
    printf("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
        print_row(&sched_proportional, sizes[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
        print_row(&sched_round_robin, sizes[i]);
    return 0;
}
