/*
 * Struct offsets and constants for assembly: compiled to assembly text, from which the Makefile
 * makes build/offsets.inc. Each line becomes "%define NAME value".
 */
#include "machine/percpu.h"
#include "machine/trap.h"
#include "vmx/internal.h"
#include "vmx/vmcs_fields.h"

/* The "#" makes the line a comment, so that this file assembles like any other. */
#define VALUE(name, value)         __asm__ volatile("\n# ->" #name " %0" ::"i"(value))
#define OFFSET(name, type, member) VALUE(name, offsetof(type, member))

#define FIELD(width, name, encoding) VALUE(VMCS_##name, encoding);

void offsets(void);

void offsets(void)
{
    OFFSET(PERCPU_SELF, struct percpu, self);
    OFFSET(PERCPU_STACK_TOP, struct percpu, stack_top);
    OFFSET(TRAP_RIP, struct trap_frame, rip);
    OFFSET(VCPU_HOST_RSP, struct vmx_vcpu, host_rsp);
    OFFSET(VCPU_LAUNCHED, struct vmx_vcpu, launched);
    OFFSET(VCPU_ATTENTION, struct vmx_vcpu, attention);
    OFFSET(VCPU_TURNS, struct vmx_vcpu, turns);
    OFFSET(VCPU_EXIT_REASON, struct vmx_vcpu, exit_reason);
    OFFSET(VCPU_EXIT_TSC, struct vmx_vcpu, exit_tsc);
    OFFSET(VCPU_EXITS, struct vmx_vcpu, exits);
    OFFSET(VCPU_CPUID_LEAVES, struct vmx_vcpu, cpuid_leaves);
    OFFSET(VCPU_CPUID_SUBLEAF_MASKS, struct vmx_vcpu, cpuid_subleaf_masks);
    VALUE(CPUID_BASIC_LEAVES, VMX_CPUID_BASIC);
    VALUE(CPUID_QUICK_LEAVES, VMX_CPUID_BASIC + VMX_CPUID_EXTENDED);
    VALUE(EXIT_REASON_MASK, EXIT_TABLE_SIZE - 1);
    VALUE(EXIT_CPUID, EXIT_CPUID);
    VALUE(EXIT_VMCALL, EXIT_VMCALL);
    VALUE(EXIT_IO, EXIT_IO);
    VALUE(EXIT_RDMSR, EXIT_RDMSR);
    VALUE(EXIT_WRMSR, EXIT_WRMSR);
    VALUE(EXIT_EPT_VIOLATION, EXIT_EPT_VIOLATION);
    VALUE(EXIT_PREEMPTION_TIMER, EXIT_PREEMPTION_TIMER);
    VALUE(EXIT_APIC_WRITE, EXIT_APIC_WRITE);
    VALUE(EXIT_APIC_ACCESS, EXIT_APIC_ACCESS);
    VALUE(RFLAGS_TF, RFLAGS_TF);
    VALUE(BLOCKING_SHADOWS, BLOCKING_STI | BLOCKING_MOV_SS);
    VALUE(VMX_QUICK_SKIP, VMX_QUICK_SKIP);
    VALUE(VMX_LEFT_EXIT, VMX_LEFT_EXIT);
    VALUE(VMX_LEFT_HANDLED, VMX_LEFT_HANDLED);
    VALUE(VMX_ENTRY_FAILED, VMX_ENTRY_FAILED);
    VMCS_FIELDS(FIELD)
}
