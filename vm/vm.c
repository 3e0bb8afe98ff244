/* A VM's life: made from its configuration, started, ended, made anew. */
#include "devices/debug_port.h"
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/bootinfo.h"
#include "machine/frame.h"
#include "machine/timer.h"
#include "vm/vmctl.h"
#include "vm/guest_acpi.h"
#include "vm/stats.h"
#include "vm/vm.h"

/* ------------------------------------------------------------------ loading */

static bool memory_write(void *opaque, gpa_t to, const void *from, size_t n)
{
    return vm_write(opaque, to, from, n);
}

static bool memory_read(void *opaque, gpa_t from, void *to, size_t n)
{
    return vm_read(opaque, from, to, n);
}

const void *vm_module(const char *name, size_t *size)
{
    const struct boot_module *m = name[0] != '\0' ? bootinfo_module(name) : NULL;

    *size = m != NULL ? m->size : 0;
    return m != NULL ? hpa_ptr(m->start) : NULL;
}

static int build_acpi(struct vm *vm, gpa_t *rsdp)
{
    struct guest_acpi_config config = {.nr_vcpus = (unsigned)vm->config.cpus};

    *rsdp = GPA(0);
    if (!vm->config.acpi)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(config.com); i++)
        config.com[i] = vm->machine.uart[i] != NULL;
    return guest_acpi_build(&vm->memory, &config, rsdp);
}

/* The firmware starts itself, from the state that a CPU has after RESET. */
static int load_firmware(struct vm *vm)
{
    size_t size;
    const void *image = vm_module(vm->config.firmware, &size);

    return vm->firmware.rom_pages != 0 ? 0 : vm_firmware_init(vm, image, size);
}

/* Puts the kernel and what it needs into memory; the state to start it in is left in entry. */
static int load(struct vm *vm, struct entry_state *entry)
{
    struct load_request r = {.memory = &vm->memory, .cmdline = vm->config.cmdline};
    char why[160] = "";
    bool linux_kernel;
    int error;

    memset(entry, 0, sizeof(*entry));
    r.kernel = vm_module(vm->config.kernel, &r.kernel_size);
    r.initrd = vm_module(vm->config.initrd, &r.initrd_size);
    if (build_acpi(vm, &r.rsdp) != 0) {
        vm_log(vm, "not started: no room for ACPI tables");
        return E_NOSPC;
    }
    linux_kernel = vm->config.boot == CONFIG_BOOT_LINUX ||
                   (vm->config.boot == CONFIG_BOOT_AUTO && load_is_linux(r.kernel, r.kernel_size));
    if (!linux_kernel && vm->config.boot == CONFIG_BOOT_AUTO &&
        !load_is_multiboot(r.kernel, r.kernel_size)) {
        vm_log(vm, "not started: %s is neither a Linux bzImage nor a multiboot kernel",
               vm->config.kernel);
        return E_BADFMT;
    }
    error = linux_kernel ? load_linux(&r, entry, why, sizeof(why))
                         : load_multiboot(&r, entry, why, sizeof(why));
    if (error != 0)
        vm_log(vm, "not started: %s: %s", vm->config.kernel, why);
    return error;
}

/* ------------------------------------------------------------------ making and unmaking */

/* The APIC timer's clock: the TSC divided so that it comes to about 25 MHz, as on real CPUs. */
static unsigned apic_shift(uint64_t tsc_hz)
{
    unsigned shift = 0;

    while (tsc_hz >> shift > 50000000)
        shift++;
    return shift;
}

static int make_apic_access_page(struct vm *vm)
{
    mpn_t page;

    if (!vm->vmx.virtual_apic)
        return 0;
    page = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, FRAME_ZERO);
    if (mpn_is_none(page))
        return E_NOMEM;
    frame_get(page)->vm = vm->id;
    frame_get(page)->ppn = gpa_ppn(GPA(GUEST_LAPIC_BASE)).v;
    vm->vmx.apic_access = mpn_hpa(page);
    return ept_map(&vm->ept, GPA(GUEST_LAPIC_BASE), page, EPT_ORDER_4K, EPT_DEVICE, EPT_RW,
                   EPT_TYPE_WB);
}

bool vm_wants_vga(const struct vm_config *config)
{
    if (config->vga == CONFIG_VGA_AUTO)
        return config->screen != CONFIG_SCREEN_NONE || config->firmware[0] != '\0';
    return config->vga == CONFIG_VGA_YES;
}

static int make_sched_group(struct vm *vm)
{
    const struct sched_params p = {vm->config.cpu_shares, vm->config.cpu_reservation,
                                   vm->config.cpu_limit, vm->config.cpu_affinity};
    int error = sched_group_init(&vm->sched, loop_sched(), &p, rdtsc());

    if (error == E_NOSPC)
        vm_log(vm, "not started: cpu_reservation = %lu: the CPUs are reserved already",
               p.reservation);
    else if (error != 0)
        vm_log(vm,
               "not started: cpu_reservation, cpu_limit or cpu_affinity do not fit together, "
               "or not this machine's %u CPUs",
               loop_sched()->nr_cpus);
    return error;
}

static int make_parts(struct vm *vm)
{
    struct machine_config config = {0};
    int error = vm_memory_init(vm);

    if (error != 0)
        return error;
    vm->vmx = (struct vmx_vm){
        .client = &vm_client,
        .ept = &vm->ept,
        .tsc_hz = clock_hz(),
        .apic_shift = apic_shift(clock_hz()),
        .nr_vcpus = (unsigned)vm->config.cpus,
    };
    error = vmx_vm_init(&vm->vmx);
    if (error == 0)
        error = make_apic_access_page(vm);
    if (error != 0)
        return error;
    vm_host_init(vm, &config);
    config.nr_vcpus = vm->vmx.nr_vcpus;
    config.ram_bytes = vm->config.memory;
    config.apic_shift = vm->vmx.apic_shift;
    config.debug_console = vm->config.debug_console;
    config.debug_exit = vm->config.debug_exit;
    config.vga = vm_wants_vga(&vm->config);
    vm_disks_config(vm, &config);
    error = vm_firmware_config(vm, &config);
    if (error == 0)
        error = machine_create(&vm->machine, &vm->host, &config, &vm_cpu_ops, vm);
    if (error == 0)
        error = vm_host_connect(vm);
    if (error != 0)
        return error;
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++) {
        vm->vcpus[i] = vcpu_create(vm, i);
        if (vm->vcpus[i] == NULL)
            return E_NOMEM;
    }
    return 0;
}

void vm_destroy(struct vm *vm)
{
    if (vm->host.ops != NULL)
        vm_host_disconnect(vm);
    for (unsigned i = 0; i < MACHINE_MAX_VCPUS; i++) {
        if (vm->vcpus[i] != NULL)
            vcpu_destroy(vm->vcpus[i]);
        vm->vcpus[i] = NULL; /* devices that go away may want to tell them something */
    }
    sched_group_destroy(&vm->sched);
    if (vm->machine.host != NULL)
        machine_destroy(&vm->machine);
    if (vm->host.ops != NULL)
        vm_host_destroy(vm);
    if (vm->vmx.cpuid != NULL)
        vmx_vm_destroy(&vm->vmx);
    if (vm->ept.tables > 0)
        vm_memory_destroy(vm);
    vm_firmware_destroy(vm);
    heap_free(vm);
}

/*
 * What firmware does before it starts a kernel: the boot CPU's local APIC on, with the PIC's
 * output and NMI on its pins (virtual wire mode).
 */
static void set_virtual_wire(struct vm *vm)
{
    struct lapic *l = vm->machine.lapic[0];

    spin_lock(&vm->lock);
    lapic_write(l, LAPIC_SVR, 0x1ff);
    lapic_write(l, LAPIC_LVT_LINT0, LAPIC_EXTINT << 8);
    lapic_write(l, LAPIC_LVT_LINT1, LAPIC_NMI << 8);
    spin_unlock(&vm->lock);
}

/* Everything as after power-on, the kernel loaded. */
static int prepare(struct vm *vm)
{
    bool firmware = vm_has_firmware(vm);
    struct entry_state entry;
    int error = firmware ? load_firmware(vm) : load(vm, &entry);
    uint64_t tsc_offset;

    if (error != 0)
        return error;
    /*
     * The guest's TSC starts at 0, also after a reset. The devices' time, which it may be ahead or
     * behind of, goes on.
     */
    tsc_offset = -rdtsc();
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        vcpu_reset(vm->vcpus[i], i == 0 && !firmware ? &entry : NULL, tsc_offset);
    if (!firmware)
        set_virtual_wire(vm);
    vm->end = VM_END_NONE;
    vm->running_vcpus = vm->vmx.nr_vcpus;
    return 0;
}

static void all_left(struct job *j);

struct vm *vm_create(const struct vm_config *config, struct vmctl *control)
{
    static uint32_t last_id;
    struct vm *vm = heap_alloc(sizeof(*vm));

    if (vm == NULL) {
        log_line("%s: not started: no memory", config->name);
        return NULL;
    }
    vm->left.run = all_left;
    vm->tsc_offset = -rdtsc();
    vm->id = ++last_id;
    vm->config = *config;
    vm->control = control;
    control->vm = vm;
    vm->memory = (struct guest_memory){memory_write, memory_read, vm, config->memory};
    if (make_sched_group(vm) != 0) {
        control->vm = NULL;
        heap_free(vm);
        return NULL;
    }
    if (make_parts(vm) != 0)
        vm_log(vm, "not started: the machine has no memory left for it");
    else if (prepare(vm) == 0)
        return vm;
    vm_destroy(vm);
    control->vm = NULL;
    return NULL;
}

/* The lock keeps the VM from ending, and from being gone, before the last one is started. */
void vm_start(struct vm *vm)
{
    spin_lock(&vm->lock);
    vm->state = VM_RUNNING;
    vm_host_arm_timers(vm); /* what was set before there were vCPUs */
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        vcpu_start(vm->vcpus[i]);
    spin_unlock(&vm->lock);
}

/* ------------------------------------------------------------------ ending */

void vm_request_end(struct vm *vm, enum vm_end why)
{
    enum vm_end none = VM_END_NONE;

    if (!__atomic_compare_exchange_n(&vm->end, &none, why, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return;
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        vcpu_request(vm->vcpus[i], REQUEST_STOP);
}

void vm_dump(struct vcpu *c)
{
    uint8_t post;

    vmx_dump(&c->vmx, c->vm->config.name);
    if (debug_port_post(c->vm->machine.debug_port, &post))
        vm_log(c->vm, "last POST code (port 80h): %02x", post);
}

void vm_crash(struct vcpu *c, const char *why)
{
    vm_log(c->vm, "stopped: %s", why);
    vm_dump(c);
    spin_lock(&c->vm->lock);
    vm_request_end(c->vm, VM_END_CRASH);
    spin_unlock(&c->vm->lock);
}

static enum config_action action_for(const struct vm *vm)
{
    switch (vm->end) {
    case VM_END_RESET:
        return vm->config.on_reboot;
    case VM_END_CRASH:
        return vm->config.on_crash;
    case VM_END_DESTROY:
        return CONFIG_DESTROY;
    case VM_END_RESTART:
        return CONFIG_RESTART;
    default:
        return vm->config.on_poweroff;
    }
}

static const char *end_text(const struct vm *vm)
{
    switch (vm->end) {
    case VM_END_RESET:
    case VM_END_RESTART:
        return "reset";
    case VM_END_CRASH:
        return "crashed";
    case VM_END_DESTROY:
        return "destroyed";
    default:
        return "powered off";
    }
}

/*
 * Reset keeps memory, as on a PC; the kernel is loaded again on top of it. Who was paused is so
 * afterwards.
 */
static bool restart(struct vm *vm)
{
    vm_thaw(vm);
    spin_lock(&vm->lock);
    machine_reset(&vm->machine);
    spin_unlock(&vm->lock);
    vm->restarts++;
    if (prepare(vm) != 0)
        return false;
    if (vm->pause)
        vm_freeze(vm);
    else
        vm_start(vm);
    return true;
}

static void finish(struct vm *vm)
{
    enum config_action action = action_for(vm);

    vm_log(vm, "%s", end_text(vm));
    if (vm->end == VM_END_CRASH)
        vm->crashed = true;
    stats_print(vm);
    ept_audit(&vm->ept, NULL, NULL);
    vmctl_vm_end(vm, vm->end);
    if (action == CONFIG_RESTART && restart(vm))
        return;
    vm->state = VM_STOPPED;
    vmctl_vm_ended(vm, action == CONFIG_PRESERVE);
}

/* To pause, or to end; the end counts. */
static void all_left(struct job *j)
{
    struct vm *vm = container_of(j, struct vm, left);

    if (vm->end != VM_END_NONE) {
        finish(vm);
        return;
    }
    vm_freeze(vm);
    if (vm->pause)
        vmctl_vm_suspended(vm);
    else
        vm_resume(vm);
}

void vm_end_stopped(struct vm *vm, enum vm_end why)
{
    vm->end = why;
    finish(vm);
}

/* With the job posted the VM may be gone. */
void vm_vcpu_stopped(struct vm *vm)
{
    if (__atomic_sub_fetch(&vm->running_vcpus, 1, __ATOMIC_SEQ_CST) == 0)
        job_post(&vm->left);
}
