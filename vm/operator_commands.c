/* The monitor's commands. Names and words are those that virsh's users know. */
#include "lib/log.h"
#include "lib/string.h"
#include "machine/console.h"
#include "machine/console_init.h"
#include "machine/frame.h"
#include "machine/timer.h"
#include "vm/config.h"
#include "vm/console.h"
#include "vm/vmctl.h"
#include "vm/operator.h"
#include "vm/stats.h"
#include "vm/vm.h"

#define LOG_LINES     40
#define LOG_LINES_MAX 100

static void fail(const char *what, const char *why)
{
    operator_print("error: %s: %s\n", what, why);
}

/* The VM that argv[1] names; NULL, and that is told. */
static struct vmctl *vm_named(const char *name)
{
    struct vmctl *c = vmctl_find(name);

    if (c == NULL)
        operator_print("error: no VM is named '%s' (`list` shows what there is)\n", name);
    return c;
}

/* A number, digits only; false: it is none, and that is told. */
static bool number_of(const char *text, uint64_t max, uint64_t *n)
{
    *n = 0;
    for (const char *s = text; *s != '\0'; s++) {
        if (*s < '0' || *s > '9' || *n > max) {
            *n = max + 1;
            break;
        }
        *n = *n * 10 + (uint64_t)(*s - '0');
    }
    if (text[0] != '\0' && *n <= max)
        return true;
    operator_print("error: '%s' is not a number from 0 to %lu\n", text, max);
    return false;
}

/* ------------------------------------------------------------------ looking */

static void help_one(const char *name)
{
    bool several;
    const struct command *c = command_find(&operator_commands, name, &several);

    if (c == NULL)
        operator_print("error: unknown command: '%s' (`help` lists what there is)\n", name);
    else
        operator_print("%s %s\n    %s\n", c->name, c->usage, c->help);
}

static void help(UNUSED void *opaque, unsigned argc, const char *const argv[])
{
    if (argc > 1) {
        help_one(argv[1]);
        return;
    }
    for (unsigned i = 0; i < operator_commands.count; i++) {
        const struct command *c = &operator_commands.commands[i];

        operator_print("  %-9s %-44s %s\n", c->name, c->usage, c->help);
    }
    operator_print("A command may be shortened. A VM's number does for its name.\n");
}

static uint64_t cpu_ms(const struct vmctl *c)
{
    return c->vm == NULL ? 0 : clock_to_ns(stats_ticks_used(c->vm)) / 1000000;
}

static void list(UNUSED void *opaque, UNUSED unsigned argc, UNUSED const char *const argv[])
{
    operator_print(" Id  %-20s %-9s %4s %10s %10s %12s\n", "Name", "State", "CPUs", "Mem(MiB)",
                   "Used(MiB)", "Time(s)");
    for (unsigned i = 1; i <= vmctl_count(); i++) {
        const struct vmctl *c = vmctl_at(i);
        uint64_t used = c->vm != NULL ? stats_memory_used(c->vm) : 0, ms = cpu_ms(c);

        operator_print(" %-3u %-20s %-9s %4lu %10lu %10lu %8lu.%03lu\n", i, c->config.name,
                       vmctl_state_name(vmctl_state(c)), c->config.cpus, c->config.memory / MIB(1),
                       used / MIB(1), ms / 1000, ms % 1000);
    }
}

static const char *action_name(enum config_action action)
{
    static const char *const names[] = {"destroy", "restart", "preserve"};

    return names[action];
}

static void info_running(const struct vmctl *c)
{
    uint64_t ms = cpu_ms(c);

    operator_print("Used memory:    %lu KiB\n", stats_memory_used(c->vm) / KIB(1));
    operator_print("CPU time:       %lu.%03lu s\n", ms / 1000, ms % 1000);
    operator_print("Exits:          %lu\n", stats_exits(c->vm));
    operator_print("Resets:         %u\n", c->vm->restarts);
}

static void info(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    const struct vmctl *c = vm_named(argv[1]);
    const struct vm_config *f;

    if (c == NULL)
        return;
    f = &c->config;
    operator_print("Id:             %u\n", c->number);
    operator_print("Name:           %s\n", f->name);
    operator_print("State:          %s\n", vmctl_state_name(vmctl_state(c)));
    operator_print("CPU(s):         %lu\n", f->cpus);
    operator_print("Max memory:     %lu KiB\n", f->memory / KIB(1));
    if (f->firmware[0] != '\0')
        operator_print("Firmware:       %s\n", f->firmware);
    else
        operator_print("Kernel:         %s\n", f->kernel);
    operator_print("CPU shares:     %lu, reservation %lu%%, limit %lu%%\n", f->cpu_shares,
                   f->cpu_reservation, f->cpu_limit);
    operator_print("On poweroff:    %s\nOn reboot:      %s\nOn crash:       %s\n",
                   action_name(f->on_poweroff), action_name(f->on_reboot),
                   action_name(f->on_crash));
    if (c->vm != NULL)
        info_running(c);
}

static void exits(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    const struct vmctl *c;

    if (strcmp(argv[1], "on") == 0 || strcmp(argv[1], "off") == 0) {
        __atomic_store_n(&vmx_accounting, argv[1][1] == 'n', __ATOMIC_RELAXED);
        return;
    }
    c = vm_named(argv[1]);
    if (c == NULL)
        return;
    if (c->vm == NULL) {
        fail(argv[1], "it is not running (`start` starts it)");
        return;
    }
    operator_print("%-24s %12s %14s %10s\n", "Exit", "Count", "Ticks", "Ticks/exit");
    for (unsigned r = 0; r < EXIT_TABLE_SIZE; r++) {
        uint64_t n = stats_exits_of(c->vm, r), timed;
        uint64_t ticks = stats_exit_ticks(c->vm, r, &timed);

        if (n > 0)
            operator_print("%-24s %12lu %14lu %10lu\n", vmx_exit_name(r), n, ticks,
                           timed != 0 ? ticks / timed : 0);
    }
    operator_print("%-24s %12lu\n", "total", stats_exits(c->vm));
    if (!vmx_accounting)
        operator_print("Ticks, of the TSC, are counted after `exits on`.\n");
}

static void mem(UNUSED void *opaque, UNUSED unsigned argc, UNUSED const char *const argv[])
{
    struct frame_stats s = frame_stats();

    operator_print("Machine: %lu MiB, free %lu MiB (%lu MiB of them cleared)\n",
                   s.total * PAGE_SIZE / MIB(1), s.free * PAGE_SIZE / MIB(1),
                   s.clean * PAGE_SIZE / MIB(1));
    operator_print("In use (KiB): guests %lu, their tables %lu, hypervisor %lu, modules %lu\n",
                   s.by_owner[FRAME_GUEST] * 4, s.by_owner[FRAME_EPT] * 4,
                   s.by_owner[FRAME_HYPERVISOR] * 4, s.by_owner[FRAME_MODULE] * 4);
    operator_print(" Id  %-20s %12s %12s %12s\n", "Name", "Max(KiB)", "Private", "Tables");
    for (unsigned i = 1; i <= vmctl_count(); i++) {
        const struct vmctl *c = vmctl_at(i);
        const struct ept *e = c->vm != NULL ? &c->vm->ept : NULL;

        operator_print(" %-3u %-20s %12lu %12lu %12lu\n", i, c->config.name,
                       c->config.memory / KIB(1), e != NULL ? e->pages[EPT_PRIVATE] * 4 : 0,
                       e != NULL ? e->tables * 4 : 0);
    }
}

/* It asserts: who comes back from it has found nothing. */
static void audit(UNUSED void *opaque, UNUSED unsigned argc, UNUSED const char *const argv[])
{
    unsigned vms = 0;

    for (unsigned i = 1; i <= vmctl_count(); i++) {
        struct vm *vm = vmctl_at(i)->vm;

        if (vm == NULL)
            continue;
        spin_lock(&vm->ept.lock);
        ept_audit(&vm->ept, NULL, NULL);
        spin_unlock(&vm->ept.lock);
        vms++;
    }
    frame_audit();
    operator_print("audit: the frame table and the tables of %u VMs agree\n", vms);
}

static void dump(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    struct vmctl *c = vm_named(argv[1]);

    if (c == NULL)
        return;
    if (c->vm == NULL || c->vm->state == VM_RUNNING) {
        fail(argv[1], "its vCPUs must stand still (`suspend` it first)");
        return;
    }
    for (unsigned i = 0; i < c->vm->vmx.nr_vcpus; i++) {
        vmx_vcpu_load(&c->vm->vcpus[i]->vmx);
        vmx_dump(&c->vm->vcpus[i]->vmx, c->config.name);
        vmx_vcpu_put(&c->vm->vcpus[i]->vmx);
    }
}

/* Where the last so many lines of the log begin. */
static uint64_t log_start(uint64_t lines, uint64_t end)
{
    uint64_t pos = 0, starts[LOG_LINES_MAX + 1] = {0}, n = 0, at;
    char text[128];
    size_t got;

    while ((got = console_log_read(&pos, text, sizeof(text))) > 0 && pos <= end) {
        at = pos - got;
        for (size_t i = 0; i < got; i++)
            if (text[i] == '\n')
                starts[n++ % ARRAY_SIZE(starts)] = at + i + 1;
    }
    return n <= lines ? 0 : starts[(n - 1 - lines) % ARRAY_SIZE(starts)];
}

static void print_log(UNUSED void *opaque, unsigned argc, const char *const argv[])
{
    uint64_t lines = LOG_LINES, pos, end = console_log_end();
    char text[128];
    size_t n;

    if (argc > 1 && !number_of(argv[1], LOG_LINES_MAX, &lines))
        return;
    pos = log_start(lines, end);
    while (pos < end && (n = console_log_read(&pos, text, sizeof(text) - 1)) > 0) {
        text[n] = '\0';
        operator_print("%s", text);
    }
}

static void version(UNUSED void *opaque, UNUSED unsigned argc, UNUSED const char *const argv[])
{
    operator_print("Tithe " TITHE_VERSION "\n");
}

/* ------------------------------------------------------------------ doing */

static void act(const char *name, const char *(*what)(struct vmctl *c))
{
    struct vmctl *c = vm_named(name);
    const char *why = c != NULL ? what(c) : NULL;

    if (why != NULL)
        fail(c->config.name, why);
}

static void start(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    act(argv[1], vmctl_start);
}

static void press(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    act(argv[1], vmctl_shutdown);
}

static void destroy(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    act(argv[1], vmctl_destroy);
}

static void suspend(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    act(argv[1], vmctl_suspend);
}

static void resume(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    act(argv[1], vmctl_resume);
}

static void reset(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    act(argv[1], vmctl_reset);
}

static void show(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    act(argv[1], console_show);
}

static void set(UNUSED void *opaque, UNUSED unsigned argc, const char *const argv[])
{
    struct vmctl *c = vm_named(argv[1]);
    struct sched_params p;
    const char *why;
    uint64_t n;

    if (c == NULL || !number_of(argv[3], UINT32_MAX, &n))
        return;
    p = vmctl_cpu(c);
    if (strcmp(argv[2], "shares") == 0)
        p.shares = n;
    else if (strcmp(argv[2], "reservation") == 0)
        p.reservation = n;
    else if (strcmp(argv[2], "limit") == 0)
        p.limit = n;
    else if (strcmp(argv[2], "affinity") == 0)
        p.affinity = n < SCHED_MAX_CPUS ? BIT(n) : 0;
    else {
        fail(argv[2], "can be shares, reservation, limit or affinity");
        return;
    }
    why = vmctl_set_cpu(c, &p);
    if (why != NULL)
        fail(argv[1], why);
}

static void power_off_all(UNUSED void *opaque, UNUSED unsigned argc,
                          UNUSED const char *const argv[])
{
    log_line("powered off by the operator");
    vmctl_power_off();
}

/* ------------------------------------------------------------------ the table */

#define OF_VM                          \
    {                                  \
        COMMAND_NAME, COMMAND_ANYTHING \
    }

static const struct command commands[] = {
    {"audit", "", "recounts all memory", 0, 0, {0}, NULL, audit},
    {"console", "VM", "its console; Ctrl-^ m leads back", 1, 1, OF_VM, NULL, show},
    {"destroy", "VM", "ends it at once, as if unplugged", 1, 1, OF_VM, NULL, destroy},
    {"dump", "VM", "the state of its vCPUs, while suspended", 1, 1, OF_VM, NULL, dump},
    {"exits", "VM|on|off", "its exits; counts their time or not", 1, 1, OF_VM, NULL, exits},
    {"help", "[COMMAND]", "this", 0, 1, {COMMAND_COMMAND}, NULL, help},
    {"info", "VM", "more about a VM", 1, 1, OF_VM, NULL, info},
    {"list", "", "the VMs and their states", 0, 0, {0}, NULL, list},
    {"log", "[LINES]", "the log's last lines", 0, 1, {0}, NULL, print_log},
    {"mem", "", "where the memory is", 0, 0, {0}, NULL, mem},
    {"poweroff", "", "ends all VMs and turns the machine off", 0, 0, {0}, NULL, power_off_all},
    {"reset", "VM", "as its reset button", 1, 1, OF_VM, NULL, reset},
    {"resume", "VM", "a suspended VM goes on", 1, 1, OF_VM, NULL, resume},
    {"set",
     "VM shares|reservation|limit|affinity N",
     "its part of the CPUs",
     3,
     3,
     {COMMAND_NAME, COMMAND_CHOICE},
     "shares reservation limit affinity",
     set},
    {"shutdown", "VM", "presses its power button", 1, 1, OF_VM, NULL, press},
    {"start", "VM", "starts one that is shut off", 1, 1, OF_VM, NULL, start},
    {"suspend", "VM", "it stands still until `resume`", 1, 1, OF_VM, NULL, suspend},
    {"version", "", "Tithe's version", 0, 0, {0}, NULL, version},
};

static const char *vm_name(UNUSED void *opaque, unsigned index)
{
    const struct vmctl *c = vmctl_at(index + 1);

    return c != NULL ? c->config.name : NULL;
}

const struct command_table operator_commands = {
    .commands = commands,
    .count = ARRAY_SIZE(commands),
    .vm_name = vm_name,
};
