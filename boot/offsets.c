/*
 * Struct offsets and constants for assembly: compiled to assembly text, from which the Makefile
 * makes build/offsets.inc. Each line becomes "%define NAME value".
 */
#include "machine/percpu.h"
#include "machine/trap.h"
#include "vmx/vcpu.h"

/* The "#" makes the line a comment, so that this file assembles like any other. */
#define VALUE(name, value)         __asm__ volatile("\n# ->" #name " %0" ::"i"(value))
#define OFFSET(name, type, member) VALUE(name, offsetof(type, member))

void offsets(void);

void offsets(void)
{
    OFFSET(PERCPU_SELF, struct percpu, self);
    OFFSET(PERCPU_STACK_TOP, struct percpu, stack_top);
    OFFSET(TRAP_RIP, struct trap_frame, rip);
    OFFSET(VCPU_HOST_RSP, struct vmx_vcpu, host_rsp);
    OFFSET(VCPU_LAUNCHED, struct vmx_vcpu, launched);
}
