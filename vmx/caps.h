/*
 * What VT-x this machine has and what of it we use, settled once at boot on the boot CPU and
 * checked on every other one.
 */
#ifndef VMX_CAPS_H
#define VMX_CAPS_H

#include "ept/ept.h"
#include "lib/types.h"

struct vmx_caps {
    uint32_t revision; /* of the VMCS */
    /* The control words to use: required and available optional bits, reserved bits as needed. */
    uint32_t pin, proc, proc2, exit, entry;
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    struct ept_caps ept;
    bool invept_single, invvpid_single;
    bool string_io_info;       /* INS and OUTS come with address and segment */
    unsigned preemption_shift; /* the timer counts TSC >> shift */
    /* The whole of our APIC virtualisation, which is used together or not at all. */
    bool virtual_apic;
    bool virtual_apic_smp; /* for VMs with several vCPUs, too */
};

extern struct vmx_caps vmx_caps;

static inline bool vmx_has_pin(uint64_t bit)
{
    return vmx_caps.pin & bit;
}
static inline bool vmx_has_proc(uint64_t bit)
{
    return vmx_caps.proc & bit;
}
static inline bool vmx_has_proc2(uint64_t bit)
{
    return vmx_caps.proc2 & bit;
}

/*
 * Negotiates on the boot CPU and prints what is used. Ends in fatal(), with the missing feature's
 * name, when a required one is not there.
 */
void vmx_caps_init(void);

/*
 * IA32_FEATURE_CONTROL of this CPU (SDM vol. 3 section 24.7). A function of its own, so that a test
 * can change what it returns: no emulator has firmware that locks VT-x off.
 */
uint64_t vmx_feature_control(void);

/* Turns VMX on, on this CPU (VMXON); fatal() when this CPU cannot do what was settled. */
void vmx_cpu_start(void);
/* VMXOFF, if on: before power-off and reset. */
void vmx_cpu_stop(void);

#endif
