#include "vm/vm.h"

void task_switch_run(struct vmx_vcpu *v, UNUSED uint64_t qualification)
{
    vm_crash(vcpu_of(v), "task switch");
}
