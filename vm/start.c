/*
 * From boot to running VMs. The configuration is the first boot module; the others are the files
 * that it names.
 */
#include "lib/log.h"
#include "machine/bootinfo.h"
#include "machine/frame.h"
#include "machine/panic.h"
#include "machine/rtc.h"
#include "vm/console.h"
#include "vm/vmctl.h"
#include "vm/loop.h"
#include "vm/qmp.h"
#include "vm/vm.h"
#include "vmx/caps.h"

#define MAX_VMS 256

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
    console_start();
    qmp_start();
    vmctl_init(configs, count);
}
