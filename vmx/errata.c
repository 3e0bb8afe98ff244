/* How machines with defects are known. */
#include "machine/cpu.h"
#include "vmx/errata.h"

#define CPUID_1_ECX_HYPERVISOR BIT(31)
#define UCODE_REVISION_SHIFT   32

/* The MSR is written with 0, and CPUID puts the revision there (SDM vol. 3 section 10.11.7.1). */
static bool has_microcode(void)
{
    uint64_t v;

    if (!wrmsr_safe(MSR_UCODE_REV, 0))
        return false;
    (void)cpuid(1, 0);
    return rdmsr_safe(MSR_UCODE_REV, &v) && v >> UCODE_REVISION_SHIFT != 0;
}

bool errata_delivers_masked(void)
{
    return !(cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR) && !has_microcode();
}
