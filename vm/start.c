/*
 * From boot to running VMs, and from the last VM's end to power-off. The configuration is the
 * first boot module; the others are the files that it names.
 */
#include "lib/list.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "machine/bootinfo.h"
#include "machine/frame.h"
#include "machine/panic.h"
#include "machine/power.h"
#include "machine/rtc.h"
#include "vm/loop.h"
#include "vm/vm.h"
#include "vmx/caps.h"

#define MAX_VMS 256

/* VMs that have not ended; the exit status is 1 if one could not start or crashed. */
static unsigned alive;
static bool failed;
static struct list vms = LIST_INIT(vms);
static struct spinlock vms_lock = SPINLOCK_INIT; /* from when the first one is started */

static void report(UNUSED void *opaque, const char *line)
{
    log_line("%s", line);
}

static bool module_exists(UNUSED void *opaque, const char *name)
{
    return bootinfo_module(name) != NULL;
}

/* The VMs that the configuration describes; *count of them. */
static struct vm_config *read_config(unsigned *count)
{
    static const struct config_ops ops = {report, module_exists, NULL};
    const struct bootinfo *b = bootinfo();
    const struct boot_module *m = &b->modules[0];
    struct vm_config *configs;

    if (b->nr_modules == 0)
        fatal("no configuration: the first boot module must be one (see docs/configuration.md)");
    configs = heap_alloc(MAX_VMS * sizeof(*configs));
    if (configs == NULL)
        fatal("no memory for the configuration");
    *count = config_parse(hpa_ptr(m->start), m->size, m->name, configs, MAX_VMS, &ops);
    if (*count == 0)
        fatal("%s describes no VM: a section looks like [vm \"name\"]", m->name);
    return configs;
}

/* Memory that guests will touch soon is cleared now, so that first touches are quick. */
static void clear_memory(const struct vm_config *configs, unsigned count)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < count; i++)
        if (configs[i].valid && configs[i].start)
            pages += configs[i].memory / PAGE_SIZE;
    frame_scrub(pages);
}

static void start_one(const struct vm_config *config)
{
    struct vm *vm = vm_create(config);

    if (vm == NULL) {
        failed = true;
        return;
    }
    alive++;
    list_push_back(&vms, &vm->node);
}

static void start_all(const struct vm_config *configs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!configs[i].valid) {
            log_line("%s: not started: see above", configs[i].name);
            failed = true;
        } else if (configs[i].start) {
            start_one(&configs[i]);
        }
    }
}

void hypervisor_start(void)
{
    struct vm_config *configs;
    unsigned count;
    char unused[2];

    vmx_caps_init();
    rtc_init();
    loop_init();
    vmx_accounting = bootinfo_option("stats", unused, sizeof(unused));
    configs = read_config(&count);
    clear_memory(configs, count);
    vmx_cpu_start();
    start_all(configs, count);
    heap_free(configs);
    if (alive == 0)
        fatal("no VM could be started");
    list_for_each (n, &vms) {
        struct vm *vm = list_entry(n, struct vm, node);

        vm_log(vm, "starting: %lu MiB, %lu CPU%s, %s %s", vm->config.memory >> 20, vm->config.cpus,
               vm->config.cpus == 1 ? "" : "s", vm_has_firmware(vm) ? "firmware" : "kernel",
               vm_has_firmware(vm) ? vm->config.firmware : vm->config.kernel);
    }
    /* One that is not started cannot end; one that is may be gone at once. */
    list_for_each_safe (n, &vms)
        vm_start(list_entry(n, struct vm, node));
}

void vms_ended(struct vm *vm, bool kept)
{
    if (!kept) {
        spin_lock(&vms_lock);
        list_remove(&vm->node);
        spin_unlock(&vms_lock);
    }
    if (vm->crashed)
        __atomic_store_n(&failed, true, __ATOMIC_SEQ_CST);
    if (__atomic_sub_fetch(&alive, 1, __ATOMIC_SEQ_CST) > 0)
        return;
    log_line("all VMs have ended");
    power_off(failed ? 1 : 0);
}
