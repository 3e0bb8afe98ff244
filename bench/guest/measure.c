/* Rounds, medians, and the lines that tell them. */
#include "bench.h"
#include "account.h"
#include "lib/format.h"

static uint32_t samples[BENCH_ROUNDS];

static void sift_down(uint32_t *a, unsigned root, unsigned count)
{
    while (2 * root + 1 < count) {
        unsigned child = 2 * root + 1;
        uint32_t swap = a[root];

        if (child + 1 < count && a[child + 1] > a[child])
            child++;
        if (a[root] >= a[child])
            return;
        a[root] = a[child];
        a[child] = swap;
        root = child;
    }
}

/* Heap sort. */
static void sort(uint32_t *a, unsigned count)
{
    for (unsigned i = count / 2; i-- > 0;)
        sift_down(a, i, count);
    for (unsigned end = count; end-- > 1;) {
        uint32_t swap = a[0];

        a[0] = a[end];
        a[end] = swap;
        sift_down(a, 0, end);
    }
}

/* What stands around the operation: the same for every round, so the least is the truth. */
static uint32_t baseline(bench_timed_t without)
{
    uint32_t least = UINT32_MAX;

    if (without == NULL)
        return 0;
    for (unsigned i = 0; i < BENCH_WARMUP; i++)
        least = MIN(least, without());
    return least;
}

/* Signed: where an operation costs nothing, a round may come out below the baseline. */
static int32_t net(uint32_t sample, uint32_t base)
{
    return (int32_t)(sample - base);
}

#define XEN_DEBUG_PORT 0xe9
#define MAX_LINE       200

void bench_print(const char *fmt, ...)
{
    char line[MAX_LINE];
    va_list args;

    va_start(args, fmt);
    (void)format_text_v(line, sizeof(line), fmt, args);
    va_end(args);
    console_print("%s", line);
    if (strcmp(account_hypervisor(), "XenVMMXenVMM") != 0)
        return;
    for (const char *p = line; *p != '\0'; p++)
        out8(XEN_DEBUG_PORT, (uint8_t)*p);
}

static void print_average(const char *what, uint32_t sum, unsigned rounds)
{
    uint32_t per_mille = (uint32_t)((uint64_t)sum * 1000 / rounds);

    bench_print("%s%u.%03u", what, per_mille / 1000, per_mille % 1000);
}

/* What stands behind an operation's costs under Tithe. */
static void print_account(const struct account *a, unsigned rounds)
{
    uint32_t total = account_total(a);

    print_average("", total, rounds);
    if ((uint64_t)total * 1000 >= rounds)
        bench_print(" reason=%u ticks=%lu", account_main_reason(a), a->ticks / rounds);
    if (account_counts_fields()) {
        print_average(" reads=", a->reads, rounds);
        print_average(" writes=", a->writes, rounds);
    }
}

static void report(const char *name, unsigned rounds, uint32_t base, const struct account *a)
{
    sort(samples, rounds);
    bench_print("bench %s %d %d ", name, net(samples[rounds / 2], base), net(samples[0], base));
    if (account_available())
        print_account(a, rounds);
    else
        bench_print("-");
    bench_print("\n");
    console_flush();
}

static void measure(const char *name, bench_timed_t with, bench_timed_t without, unsigned rounds,
                    unsigned warmup)
{
    uint32_t base = baseline(without);
    struct account a;

    for (unsigned i = 0; i < warmup; i++)
        (void)with();
    account_begin(&a);
    for (unsigned i = 0; i < rounds; i++)
        samples[i] = with();
    account_end(&a);
    report(name, rounds, base, &a);
}

void bench_skip(const char *name, const char *why)
{
    bench_print("skip %s %s\n", name, why);
    console_flush();
}

void bench_run_times(const struct bench_op *op, unsigned rounds, unsigned warmup)
{
    measure(op->name, op->with, op->without, rounds, warmup);
}

void bench_run_latency(const char *name, bench_timed_t sample, unsigned rounds, unsigned warmup)
{
    measure(name, sample, NULL, rounds, warmup);
}

void bench_run(const struct bench_op *ops, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct trap t;

        TRAP_CATCH(t, (void)ops[i].with());
        if (t.vector == TRAP_NONE)
            bench_run_times(&ops[i], BENCH_ROUNDS, BENCH_WARMUP);
        else
            bench_skip(ops[i].name, "it faults here");
    }
}
