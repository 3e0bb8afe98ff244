/* What VMX asks when a guest has exited: ports, memory, the local APIC, ends. */
#include "lib/assert.h"
#include "machine/apic.h"
#include "machine/interrupt.h"
#include "machine/timer.h"
#include "vm/vm.h"
#include "vmx/caps.h"
#include "vmx/vmcs.h"

/* ------------------------------------------------------------------ ports */

static uint32_t port_read(struct vmx_vcpu *v, uint16_t port, unsigned size)
{
    struct vm *vm = vcpu_of(v)->vm;
    uint32_t value;

    spin_lock(&vm->lock);
    value = vm_port_read(vm, port, size);
    spin_unlock(&vm->lock);
    return value;
}

static void port_write(struct vmx_vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
    struct vm *vm = vcpu_of(v)->vm;

    spin_lock(&vm->lock);
    vm_port_write(vm, port, size, value);
    spin_unlock(&vm->lock);
}

static void port_string(struct vmx_vcpu *v, const struct vmx_io *io)
{
    if (!port_string_run(vcpu_of(v), io))
        emulation_run(vcpu_of(v), NULL);
}

/* ------------------------------------------------------------------ memory */

static void ept_fault(struct vmx_vcpu *v, gpa_t gpa, unsigned access, bool linear)
{
    struct vcpu *c = vcpu_of(v);

    if (likely(vm_is_ram(c->vm, gpa))) {
        if (unlikely(!vm_populate(c->vm, gpa)))
            vm_crash(c, "the machine has no memory left for it");
        return;
    }
    if (access == EPT_READ && vm_map_void(c->vm, gpa))
        return;
    if (!linear || vmx_event_queued(v) || !device_mov(c, gpa, UINT32_MAX))
        emulation_run(c, linear ? &gpa : NULL);
}

/* Option ROMs' place is searched word by word: the long way maps it. */
static bool ept_quick(struct vmx_vcpu *v, gpa_t gpa, bool linear)
{
    struct vcpu *c = vcpu_of(v);
    const struct guest_region *r = vm_region(c->vm, gpa);

    if (likely(r != NULL))
        return vm_populate_region(c->vm, r, gpa);
    return linear && gpa.v >= GUEST_LOW_RAM_MAX && device_mov(c, gpa, VMX_QUICK_REGISTERS);
}

/* ------------------------------------------------------------------ local APIC */

static void apic_access(struct vmx_vcpu *v, unsigned offset, bool linear)
{
    gpa_t gpa = GPA(GUEST_LAPIC_BASE);

    if (!linear || vmx_event_queued(v) || !device_mov(vcpu_of(v), GPA(gpa.v + offset), UINT32_MAX))
        emulation_run(vcpu_of(v), &gpa);
}

static bool apic_quick(struct vmx_vcpu *v, unsigned offset)
{
    return device_mov_apic(vcpu_of(v), offset, VMX_QUICK_REGISTERS);
}

static void apic_written(struct vmx_vcpu *v, unsigned offset)
{
    struct vcpu *c = vcpu_of(v);

    spin_lock(&c->vm->lock);
    lapic_written(c->lapic, offset);
    spin_unlock(&c->vm->lock);
}

static void apic_eoi_exit(struct vmx_vcpu *v, uint8_t vector)
{
    struct vcpu *c = vcpu_of(v);

    spin_lock(&c->vm->lock);
    lapic_eoi_vector(c->lapic, vector);
    spin_unlock(&c->vm->lock);
}

static void apic_tpr_lowered(struct vmx_vcpu *v)
{
    vcpu_request(vcpu_of(v), REQUEST_EVENTS);
}

/* The guest's TSC on this vCPU is ahead of the VM's, by which the devices go, by so much. */
static uint64_t tsc_ahead(const struct vcpu *c)
{
    return c->vmx.tsc_offset - c->vm->tsc_offset;
}

static bool apic_msr_read(struct vmx_vcpu *v, uint32_t msr, uint64_t *value)
{
    struct vcpu *c = vcpu_of(v);
    bool ok;

    spin_lock(&c->vm->lock);
    ok = lapic_msr_read(c->lapic, msr, value);
    spin_unlock(&c->vm->lock);
    if (ok && msr == MSR_TSC_DEADLINE && *value != 0)
        *value += tsc_ahead(c);
    return ok;
}

static bool apic_msr_write(struct vmx_vcpu *v, uint32_t msr, uint64_t value)
{
    struct vcpu *c = vcpu_of(v);
    bool ok;

    spin_lock(&c->vm->lock);
    ok = lapic_msr_write(c->lapic, msr, value);
    spin_unlock(&c->vm->lock);
    if (msr == MSR_APIC_BASE && ok) {
        vmx_set_apic_mode(&c->vmx, vcpu_apic_mode(c));
        vcpu_request(c, REQUEST_EVENTS);
    }
    return ok;
}

static void apic_deadline(struct vmx_vcpu *v, uint64_t tsc)
{
    struct vcpu *c = vcpu_of(v);
    struct vm *vm = c->vm;

    if (tsc != 0)
        tsc -= tsc_ahead(c);
    spin_lock(&vm->lock);
    lapic_set_deadline(c->lapic, tsc);
    spin_unlock(&vm->lock);
}

/*
 * An IPI to itself concerns nobody else, and where the CPU delivers it is two bits, as long as
 * nothing else is requested or in service. For IF see hold_back in vcpu.c.
 */
static bool apic_icr(struct vmx_vcpu *v, uint64_t value)
{
    struct vcpu *c = vcpu_of(v);
    bool ok;

    if (likely(c->lapic->virtual_delivery) && likely(lapic_icr_to_self(c->lapic, value)) &&
        (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) && vmread(VMCS_GUEST_INTERRUPT_STATUS) == 0) {
        lapic_request(c->lapic, (uint32_t)value);
        vmwrite(VMCS_GUEST_INTERRUPT_STATUS, (uint8_t)value);
        return true;
    }
    spin_lock(&c->vm->lock);
    ok = lapic_write_icr(c->lapic, value);
    spin_unlock(&c->vm->lock);
    return ok;
}

/* CR8 is the upper half of the task priority register. */
static uint64_t cr8_read(struct vmx_vcpu *v)
{
    return lapic_read(vcpu_of(v)->lapic, LAPIC_TPR) >> 4 & 0xf;
}

static void cr8_write(struct vmx_vcpu *v, uint64_t value)
{
    struct vcpu *c = vcpu_of(v);

    spin_lock(&c->vm->lock);
    lapic_write(c->lapic, LAPIC_TPR, (uint32_t)value << 4);
    spin_unlock(&c->vm->lock);
    vcpu_request(c, REQUEST_EVENTS);
}

/* A deadline stays where it is in the guest's TSC, so it moves in the VM's time. */
static void tsc_moved(struct vmx_vcpu *v, uint64_t delta)
{
    struct vcpu *c = vcpu_of(v);
    uint64_t deadline;

    spin_lock(&c->vm->lock);
    if (lapic_msr_read(c->lapic, MSR_TSC_DEADLINE, &deadline) && deadline != 0)
        (void)!lapic_msr_write(c->lapic, MSR_TSC_DEADLINE, deadline - delta);
    spin_unlock(&c->vm->lock);
}

/* ------------------------------------------------------------------ running */

static void halt(struct vmx_vcpu *v)
{
    vcpu_request(vcpu_of(v), REQUEST_HALT);
}

static void host_interrupt(struct vmx_vcpu *v, unsigned vector)
{
    loop_work_for(NULL);
    interrupt_dispatch(vector);
    loop_work_done();
    /* It may have been the timer's, or a kick for one that another CPU has set. */
    timer_run();
    /* Or a kick to look at a request that came before the guest had been entered. */
    v->turns = 0;
}

static void host_timer(struct vmx_vcpu *v)
{
    vcpu_timers(vcpu_of(v));
}

static void window(struct vmx_vcpu *v)
{
    vcpu_request(vcpu_of(v), REQUEST_EVENTS);
}

/* It spins for a lock: whoever holds it may be waiting for this CPU. */
static void pause_loop(struct vmx_vcpu *v)
{
    vcpu_request(vcpu_of(v), REQUEST_YIELD);
}

/*
 * Calls for benchmarks, at any privilege level; both return 0. 0 does nothing: it measures the way
 * in and out. 1 yields: others who wait for this CPU go first.
 */
enum call { CALL_NOTHING, CALL_YIELD };

static bool vmcall(struct vmx_vcpu *v)
{
    uint64_t call = v->regs[REG_RAX];

    if (call > CALL_YIELD)
        return false;
    if (call == CALL_YIELD)
        vcpu_request(vcpu_of(v), REQUEST_YIELD);
    v->regs[REG_RAX] = 0;
    return true;
}

static void triple_fault(struct vmx_vcpu *v)
{
    struct vcpu *c = vcpu_of(v);

    vm_log(c->vm, "triple fault at rip 0x%lx: the VM is reset", vmx_rip(v));
    vm_dump(c);
    spin_lock(&c->vm->lock);
    vm_request_end(c->vm, VM_END_RESET);
    spin_unlock(&c->vm->lock);
}

static void broken(struct vmx_vcpu *v, const char *why)
{
    vm_crash(vcpu_of(v), why);
}

const struct vmx_client vm_client = {
    .port_read = port_read,
    .port_write = port_write,
    .port_string = port_string,
    .ept_fault = ept_fault,
    .ept_quick = ept_quick,
    .apic_access = apic_access,
    .apic_quick = apic_quick,
    .apic_written = apic_written,
    .apic_eoi = apic_eoi_exit,
    .apic_tpr_lowered = apic_tpr_lowered,
    .apic_msr_read = apic_msr_read,
    .apic_msr_write = apic_msr_write,
    .apic_deadline = apic_deadline,
    .apic_icr = apic_icr,
    .cr8_read = cr8_read,
    .cr8_write = cr8_write,
    .tsc_moved = tsc_moved,
    .halt = halt,
    .interrupt = host_interrupt,
    .timer = host_timer,
    .window = window,
    .pause = pause_loop,
    .vmcall = vmcall,
    .task_switch = task_switch_run,
    .triple_fault = triple_fault,
    .broken = broken,
};
