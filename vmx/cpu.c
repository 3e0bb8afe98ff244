/* VMX operation on one physical CPU (SDM vol. 3 section 24.7). */
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/types.h"
#include "machine/cpu.h"
#include "machine/frame.h"
#include "machine/panic.h"
#include "machine/percpu.h"
#include "vmx/caps.h"
#include "vmx/cpu.h"
#include "vmx/internal.h"
#include "vmx/msrs.h"
#include "vmx/vmcs.h"

void vmcs_fail(const char *instruction, uint64_t operand)
{
    uint64_t error = 0;

    __asm__ volatile("vmread %1, %0"
                     : "=r"(error)
                     : "r"((uint64_t)VMCS_INSTRUCTION_ERROR.encoding)
                     : "cc");
    panic("%s of 0x%lx failed, VM-instruction error %lu (SDM vol. 3 section 31.4)", instruction,
          operand, error);
}

#ifdef VMX_COUNT_FIELDS
struct vmcs_accesses vmcs_accesses;

struct vmcs_accesses vmcs_counted(void)
{
    return vmcs_accesses;
}
#else
struct vmcs_accesses vmcs_counted(void)
{
    return (struct vmcs_accesses){0};
}
#endif

void vmcs_clear(hpa_t vmcs)
{
    __asm__ goto("vmclear %0\n\tjbe %l[fail]" : : "m"(vmcs.v) : "cc", "memory" : fail);
    return;
fail:
    vmcs_fail("VMCLEAR", vmcs.v);
}

void vmcs_load(hpa_t vmcs)
{
    __asm__ goto("vmptrld %0\n\tjbe %l[fail]" : : "m"(vmcs.v) : "cc", "memory" : fail);
    return;
fail:
    vmcs_fail("VMPTRLD", vmcs.v);
}

struct invalidate_descriptor {
    uint64_t first, second;
};

void vmx_invept(uint64_t eptp)
{
    struct invalidate_descriptor d = {eptp, 0};
    uint64_t type = vmx_caps.invept_single ? 1 : 2;

    __asm__ goto("invept %0, %1\n\tjbe %l[fail]" : : "m"(d), "r"(type) : "cc", "memory" : fail);
    return;
fail:
    vmcs_fail("INVEPT", eptp);
}

void vmx_invvpid(uint16_t vpid)
{
    struct invalidate_descriptor d = {vpid, 0};
    uint64_t type = 1;

    __asm__ goto("invvpid %0, %1\n\tjbe %l[fail]" : : "m"(d), "r"(type) : "cc", "memory" : fail);
    return;
fail:
    vmcs_fail("INVVPID", vpid);
}

/* Every CPU must offer what was settled on the boot CPU. */
static void check_same(void)
{
    static const struct {
        uint32_t msr, true_msr;
        const char *name;
        const uint32_t *used;
    } words[] = {
        {MSR_VMX_PIN, MSR_VMX_TRUE_PIN, "pin", &vmx_caps.pin},
        {MSR_VMX_PROC, MSR_VMX_TRUE_PROC, "processor", &vmx_caps.proc},
        {MSR_VMX_PROC2, MSR_VMX_PROC2, "secondary", &vmx_caps.proc2},
        {MSR_VMX_EXIT, MSR_VMX_TRUE_EXIT, "exit", &vmx_caps.exit},
        {MSR_VMX_ENTRY, MSR_VMX_TRUE_ENTRY, "entry", &vmx_caps.entry},
    };
    bool true_controls = rdmsr(MSR_VMX_BASIC) & VMX_BASIC_TRUE_CONTROLS;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        uint64_t v = rdmsr(true_controls ? words[i].true_msr : words[i].msr);
        uint32_t used = *words[i].used;

        if ((used & (uint32_t)v) != (uint32_t)v || (used & ~(uint32_t)(v >> 32)) != 0)
            fatal("CPU %u: its VT-x %s controls differ from the boot CPU's", this_cpu()->index,
                  words[i].name);
    }
}

static void unlock(void)
{
    uint64_t v = vmx_feature_control();

    if (!(v & FEATURE_CONTROL_LOCK) &&
        !wrmsr_safe(MSR_FEATURE_CONTROL, v | FEATURE_CONTROL_VMX | FEATURE_CONTROL_LOCK))
        fatal("CPU %u: IA32_FEATURE_CONTROL cannot be set", this_cpu()->index);
}

void vmx_cpu_start(void)
{
    struct percpu *cpu = this_cpu();
    mpn_t region = frame_alloc(FRAME_ORDER_4K, FRAME_HYPERVISOR, FRAME_ZERO);
    hpa_t pa = mpn_hpa(region);

    if (mpn_is_none(region))
        fatal("no memory for CPU %u's VMXON region", cpu->index);
    unlock();
    check_same();
    *(uint32_t *)mpn_ptr(region) = vmx_caps.revision;
    cpu->vmx = mpn_ptr(region);
    switch_init_cpu(cpu);
    write_cr0((read_cr0() | vmx_caps.cr0_fixed0) & vmx_caps.cr0_fixed1);
    write_cr4(read_cr4() | CR4_VMXE);
    __asm__ goto("vmxon %0\n\tjbe %l[fail]" : : "m"(pa.v) : "cc", "memory" : fail);
    return;
fail:
    fatal("CPU %u: VMXON failed (another hypervisor holds it?)", cpu->index);
}

void vmx_cpu_stop(void)
{
    struct percpu *cpu = this_cpu();

    if (cpu->vmx == NULL)
        return;
    cpu->vmx = NULL;
    __asm__ volatile("vmxoff" ::: "cc", "memory");
    write_cr4(read_cr4() & ~CR4_VMXE);
}
