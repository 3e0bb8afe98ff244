#include "vm/vmctl.h"

#include "devices/acpi_pm.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/bootinfo.h"
#include "machine/frame.h"
#include "machine/panic.h"
#include "machine/power.h"
#include "vm/console.h"

static struct {
    struct vmctl *vms;
    unsigned count;
    unsigned alive; /* VMs that have not ended */
    bool failed;    /* one could not start when the machine did, or crashed: the exit status is 1 */
    void (*listener)(struct vmctl *c, enum vmctl_event e, unsigned detail);
} control;

/* ------------------------------------------------------------------ looking */

unsigned vmctl_count(void)
{
    return control.count;
}

struct vmctl *vmctl_at(unsigned number)
{
    return number >= 1 && number <= control.count ? &control.vms[number - 1] : NULL;
}

/* Up to four digits; 0: it is no number. */
static unsigned number_of(const char *text)
{
    unsigned n = 0;

    for (unsigned i = 0; text[i] != '\0'; i++) {
        if (text[i] < '0' || text[i] > '9' || i >= 4)
            return 0;
        n = n * 10 + (unsigned)(text[i] - '0');
    }
    return n;
}

struct vmctl *vmctl_find(const char *name)
{
    for (unsigned i = 0; i < control.count; i++)
        if (strcmp(control.vms[i].config.name, name) == 0)
            return &control.vms[i];
    return vmctl_at(number_of(name));
}

enum vmctl_state vmctl_state(const struct vmctl *c)
{
    if (c->vm != NULL && c->vm->state == VM_RUNNING)
        return VMCTL_RUNNING;
    if (c->vm != NULL && c->vm->state == VM_PAUSED)
        return VMCTL_PAUSED;
    if (c->crashed)
        return VMCTL_CRASHED;
    return c->vm != NULL ? VMCTL_ENDED : VMCTL_SHUT_OFF;
}

const char *vmctl_state_name(enum vmctl_state state)
{
    static const char *const names[] = {
        [VMCTL_SHUT_OFF] = "shut off", [VMCTL_RUNNING] = "running", [VMCTL_PAUSED] = "paused",
        [VMCTL_ENDED] = "ended",       [VMCTL_CRASHED] = "crashed",
    };

    return names[state];
}

bool vmctl_stays(void)
{
    char how[16];

    return bootinfo_option("console", how, sizeof(how)) && strcmp(how, "monitor") == 0;
}

/* ------------------------------------------------------------------ telling */

void vmctl_listen(void (*listener)(struct vmctl *c, enum vmctl_event e, unsigned detail))
{
    control.listener = listener;
}

static void tell(struct vmctl *c, enum vmctl_event e, unsigned detail)
{
    if (control.listener != NULL)
        control.listener(c, e, detail);
}

void vmctl_vm_suspended(struct vm *vm)
{
    vm_log(vm, "suspended");
    tell(vm->control, VMCTL_SUSPENDED, 0);
}

void vmctl_vm_end(struct vm *vm, enum vm_end why)
{
    switch (why) {
    case VM_END_RESET:
    case VM_END_RESTART:
        tell(vm->control, VMCTL_RESET, why);
        break;
    case VM_END_CRASH:
        tell(vm->control, VMCTL_CRASH, why);
        break;
    default:
        tell(vm->control, VMCTL_SHUTDOWN, why);
    }
}

/* ------------------------------------------------------------------ beginning and end */

static bool create(struct vmctl *c)
{
    c->crashed = false;
    if (vm_create(&c->config, c) == NULL)
        return false;
    control.alive++;
    return true;
}

static void start(struct vmctl *c)
{
    const struct vm_config *config = &c->config;
    bool firmware = config->firmware[0] != '\0';

    vm_log(c->vm, "starting: %lu MiB, %lu CPU%s, %s %s", config->memory >> 20, config->cpus,
           config->cpus == 1 ? "" : "s", firmware ? "firmware" : "kernel",
           firmware ? config->firmware : config->kernel);
}

static void create_all(void)
{
    for (unsigned i = 0; i < control.count; i++) {
        struct vmctl *c = &control.vms[i];

        if (!c->config.valid) {
            log_line("%s: not started: see above", c->config.name);
            control.failed = true;
        } else if (c->config.start && !create(c)) {
            control.failed = true;
        }
    }
}

void vmctl_init(struct vm_config *configs, unsigned count)
{
    control.vms = heap_alloc(count * sizeof(*control.vms));
    if (control.vms == NULL)
        fatal("no memory for the VMs' descriptions");
    control.count = count;
    for (unsigned i = 0; i < count; i++) {
        control.vms[i].config = configs[i];
        control.vms[i].number = i + 1;
    }
    heap_free(configs);
    create_all();
    if (control.alive == 0 && !vmctl_stays())
        fatal("no VM could be started");
    for (unsigned i = 0; i < count; i++)
        if (control.vms[i].vm != NULL)
            start(&control.vms[i]);
    for (unsigned i = 0; i < count; i++)
        if (control.vms[i].vm != NULL)
            vm_start(control.vms[i].vm);
}

void vmctl_power_off(void)
{
    power_off(control.failed ? 1 : 0);
}

void vmctl_vm_ended(struct vm *vm, bool kept)
{
    struct vmctl *c = vm->control;

    c->crashed = vm->crashed;
    control.failed |= vm->crashed;
    if (!kept) {
        vm_destroy(vm);
        c->vm = NULL;
    }
    console_gone(c);
    if (--control.alive > 0 || vmctl_stays())
        return;
    log_line("all VMs have ended");
    vmctl_power_off();
}

/* ------------------------------------------------------------------ what the operator does */

static bool is_live(const struct vmctl *c)
{
    return vmctl_state(c) == VMCTL_RUNNING || vmctl_state(c) == VMCTL_PAUSED;
}

#define NOT_RUNNING "it is not running (`start` starts it)"

const char *vmctl_start(struct vmctl *c)
{
    if (!c->config.valid)
        return "its configuration has errors, which the log names (`log`)";
    if (vmctl_state(c) == VMCTL_PAUSED)
        return "it is suspended (`resume` lets it go on)";
    if (is_live(c))
        return "it is running already";
    if (c->vm != NULL)
        vm_destroy(c->vm);
    c->vm = NULL;
    if (!create(c))
        return "it could not be started: the line above says why";
    start(c);
    vm_start(c->vm);
    tell(c, VMCTL_STARTED, 0);
    return NULL;
}

const char *vmctl_shutdown(struct vmctl *c)
{
    if (vmctl_state(c) == VMCTL_PAUSED)
        return "it is suspended and would not notice (`resume` first)";
    if (!is_live(c))
        return NOT_RUNNING;
    if (!c->config.acpi)
        return "it has no ACPI (acpi = no), so no power button (`destroy` ends it)";
    spin_lock(&c->vm->lock);
    acpi_pm_power_button(&c->vm->machine);
    spin_unlock(&c->vm->lock);
    tell(c, VMCTL_POWERDOWN, 0);
    return NULL;
}

/* One that is paused has nobody to leave, and is ended at once. */
static const char *end(struct vmctl *c, enum vm_end why)
{
    struct vm *vm = c->vm;

    if (!is_live(c))
        return NOT_RUNNING;
    if (vm->state == VM_PAUSED) {
        vm_end_stopped(vm, why);
        return NULL;
    }
    spin_lock(&vm->lock);
    vm_request_end(vm, why);
    spin_unlock(&vm->lock);
    return NULL;
}

const char *vmctl_destroy(struct vmctl *c)
{
    return end(c, VM_END_DESTROY);
}

const char *vmctl_reset(struct vmctl *c)
{
    return end(c, VM_END_RESTART);
}

const char *vmctl_suspend(struct vmctl *c)
{
    if (!is_live(c))
        return NOT_RUNNING;
    if (c->vm->pause)
        return "it is suspended already";
    vm_pause(c->vm);
    return NULL;
}

const char *vmctl_resume(struct vmctl *c)
{
    if (!is_live(c))
        return NOT_RUNNING;
    if (!c->vm->pause)
        return "it is not suspended";
    vm_resume(c->vm);
    vm_log(c->vm, "resumed");
    tell(c, VMCTL_RESUMED, 0);
    return NULL;
}

/* ------------------------------------------------------------------ its part of the CPUs */

struct sched_params vmctl_cpu(const struct vmctl *c)
{
    const struct vm_config *f = &c->config;

    return (struct sched_params){f->cpu_shares, f->cpu_reservation, f->cpu_limit, f->cpu_affinity};
}

/* A VM that runs stays on its CPUs; the others take any that there are. */
const char *vmctl_set_cpu(struct vmctl *c, const struct sched_params *p)
{
    int error = sched_params_check(loop_sched(), p);

    if (error == 0 && c->vm != NULL && p->affinity != c->config.cpu_affinity)
        return "affinity can only be changed while the VM is shut off (`destroy` ends it)";
    if (error == 0 && c->vm != NULL)
        error = sched_group_set(&c->vm->sched, p, rdtsc());
    if (error == E_NOSPC)
        return "the machine's CPUs are reserved already (give less)";
    if (error != 0)
        return "shares, reservation, limit and affinity do not fit together or this machine "
               "(docs/scheduling.md)";
    c->config.cpu_shares = p->shares;
    c->config.cpu_reservation = p->reservation;
    c->config.cpu_limit = p->limit;
    c->config.cpu_affinity = p->affinity;
    return NULL;
}
