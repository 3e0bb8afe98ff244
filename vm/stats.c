#include "lib/format.h"
#include "lib/log.h"
#include "machine/bootinfo.h"
#include "vm/stats.h"
#include "vm/vm.h"
#include "vmx/msrs.h"

/* A log line takes no more. A histogram fits in as long as its numbers have ten digits. */
struct text {
    char buf[512];
    size_t len;
};

static void add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (t->len < sizeof(t->buf))
        t->len += format_text_v(t->buf + t->len, sizeof(t->buf) - t->len, fmt, args);
    va_end(args);
}

uint64_t stats_exits_of(const struct vm *vm, unsigned reason)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        n += vm->vcpus[i]->vmx.exits[reason];
    return n;
}

uint64_t stats_exits(const struct vm *vm)
{
    uint64_t n = 0;

    for (unsigned r = 0; r < EXIT_TABLE_SIZE; r++)
        n += stats_exits_of(vm, r);
    return n;
}

uint64_t stats_memory_used(const struct vm *vm)
{
    return vm->ept.pages[EPT_PRIVATE] * PAGE_SIZE;
}

/* Of all vCPUs. What the hypervisor does for them is counted between exits and entries. */
static uint64_t ticks_in(const struct vm *vm, enum account_state state, uint64_t now)
{
    uint64_t ticks = 0;

    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++) {
        const struct vcpu *c = vm->vcpus[i];

        if (state == ACCOUNT_HYPERVISOR)
            ticks += c->vmx.host_ticks;
        else
            ticks += account_ticks(&c->sched.account, state, now);
        if (state == ACCOUNT_GUEST)
            ticks -= MIN(ticks, c->vmx.host_ticks);
    }
    return ticks;
}

uint64_t stats_ticks_used(const struct vm *vm)
{
    uint64_t now = rdtsc(), ticks = 0;

    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++) {
        const struct account *a = &vm->vcpus[i]->sched.account;

        ticks += account_ticks(a, ACCOUNT_GUEST, now) + account_ticks(a, ACCOUNT_HYPERVISOR, now);
    }
    return ticks;
}

static void print_accounts(const struct vm *vm)
{
    struct text t = {.len = 0};
    uint64_t now = rdtsc();

    add(&t, "sched: {\"vm\": \"%s\"", vm->config.name);
    for (unsigned i = 0; i < ACCOUNT_STATES; i++)
        add(&t, ", \"%s\": %lu", account_name(i), ticks_in(vm, i, now));
    add(&t, "}");
    log_line("%s", t.buf);
}

/* Of all vCPUs, for one exit reason. */
static struct vmx_times times_of(const struct vm *vm, unsigned reason)
{
    struct vmx_times sum = {0};

    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++) {
        const struct vmx_times *t = vm->vcpus[i]->vmx.times;

        if (t == NULL)
            continue;
        t += reason;
        sum.count += t->count;
        sum.total += t->total;
        sum.max = MAX(sum.max, t->max);
        for (unsigned bin = 0; bin < VMX_TIME_BINS; bin++)
            sum.histogram[bin] += t->histogram[bin];
    }
    return sum;
}

uint64_t stats_exit_ticks(const struct vm *vm, unsigned reason, uint64_t *timed)
{
    struct vmx_times times = {0};

    if (reason < EXIT_NR_TIMES)
        times = times_of(vm, reason);
    *timed = times.count;
    return times.total;
}

/* Without the zeros behind the last used bin. */
static void add_histogram(struct text *t, const struct vmx_times *times)
{
    unsigned bins = VMX_TIME_BINS;

    while (bins > 0 && times->histogram[bins - 1] == 0)
        bins--;
    add(t, ", \"histogram\": [");
    for (unsigned bin = 0; bin < bins; bin++)
        add(t, "%s%lu", bin == 0 ? "" : ",", times->histogram[bin]);
    add(t, "]");
}

/* A line for each reason: all in one would be longer than a line may be. */
static void print_times(const struct vm *vm)
{
    for (unsigned reason = 0; reason < EXIT_NR_TIMES; reason++) {
        struct vmx_times times = times_of(vm, reason);
        struct text t = {.len = 0};

        if (times.count == 0)
            continue;
        add(&t, "times: {\"vm\": \"%s\", \"reason\": \"%s\", \"count\": %lu, \"total\": %lu, ",
            vm->config.name, vmx_exit_name(reason), times.count, times.total);
        add(&t, "\"max\": %lu", times.max);
        add_histogram(&t, &times);
        add(&t, "}");
        log_line("%s", t.buf);
    }
}

void stats_print(struct vm *vm)
{
    struct text t = {.len = 0};
    uint64_t host = 0, total = 0;
    const char *separator = "";
    char unused[2];

    if (!bootinfo_option("stats", unused, sizeof(unused)))
        return;
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        host += vm->vcpus[i]->vmx.host_ticks;
    add(&t, "stats: {\"vm\": \"%s\", \"host_ticks\": %lu, \"exits\": {", vm->config.name, host);
    for (unsigned r = 0; r < EXIT_NR_REASONS; r++) {
        uint64_t n = stats_exits_of(vm, r);

        total += n;
        if (n == 0)
            continue;
        add(&t, "%s\"%s\": %lu", separator, vmx_exit_name(r), n);
        separator = ", ";
    }
    add(&t, "}, \"total\": %lu, \"private_pages\": %lu}", total, vm->ept.pages[EPT_PRIVATE]);
    log_line("%s", t.buf);
    print_times(vm);
    print_accounts(vm);
}
