/*
 * Suspend and resume. While a VM is paused no vCPU of it runs, and its time stands still: the
 * guest's TSC, and with it all devices' time, goes on where it stopped, so no tick is made up for.
 */
#include "machine/timer.h"
#include "vm/vm.h"

void vm_pause(struct vm *vm)
{
    spin_lock(&vm->lock);
    vm->pause = true;
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        vcpu_request(vm->vcpus[i], REQUEST_STOP);
    spin_unlock(&vm->lock);
}

void vm_freeze(struct vm *vm)
{
    spin_lock(&vm->lock);
    vm->frozen_at = rdtsc();
    vm_host_arm_timers(vm);
    spin_unlock(&vm->lock);
    /* Nobody arms them now, but a callback may be on its way. */
    timer_stop(&vm->next_timer);
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        vcpu_stop_timer(vm->vcpus[i]);
    vm->state = VM_PAUSED;
}

void vm_thaw(struct vm *vm)
{
    uint64_t ticks;

    if (vm->frozen_at == 0)
        return;
    spin_lock(&vm->lock);
    ticks = rdtsc() - vm->frozen_at;
    vm->tsc_offset -= ticks;
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        vcpu_skip_time(vm->vcpus[i], ticks);
    vm->frozen_at = 0;
    vm_host_arm_timers(vm);
    spin_unlock(&vm->lock);
}

void vm_resume(struct vm *vm)
{
    vm->pause = false;
    if (vm->state != VM_PAUSED)
        return;
    vm_thaw(vm);
    vm->running_vcpus = vm->vmx.nr_vcpus;
    vm_start(vm);
}
