/* What the files of vmx/ share among themselves. */
#ifndef VMX_INTERNAL_H
#define VMX_INTERNAL_H

#include "vmx/vcpu.h"

/* entry.asm. */
bool vmx_enter(struct vmx_vcpu *v);
void vmx_exit(void);

/* exit.c: handles the exit that just happened. */
void vmx_handle_exit(struct vmx_vcpu *v);

/* cpuid.c. */
struct cpuid_table *cpuid_table_create(const struct vmx_vm *vm);
void cpuid_table_destroy(struct cpuid_table *t);
void cpuid_exit(struct vmx_vcpu *v);
/* CR4 bits and XCR0 bits that this VM's CPUID offers. */
uint64_t cpuid_cr4_allowed(const struct vmx_vm *vm);
uint64_t cpuid_xcr0_allowed(const struct vmx_vm *vm);
uint64_t cpuid_efer_allowed(const struct vmx_vm *vm);
unsigned cpuid_phys_bits(const struct vmx_vm *vm);
/* Whether the table's leaf has the feature. */
bool cpuid_has_rdtscp(const struct vmx_vm *vm);
bool cpuid_has_invpcid(const struct vmx_vm *vm);

/* msr.c. */
void msr_init(struct vmx_vcpu *v);
void msr_reset(struct vmx_vcpu *v, bool init);
void msr_read_exit(struct vmx_vcpu *v);
void msr_write_exit(struct vmx_vcpu *v);
/* Whether the guest reads (or writes) the MSR without an exit from now on. */
void msr_bitmap_set(struct vmx_vcpu *v, uint32_t msr, bool read_exits, bool write_exits);
void msr_switch_in(struct vmx_vcpu *v);
void msr_switch_out(struct vmx_vcpu *v);

/* control.c: CR and DR exits. */
void control_reset(struct vmx_vcpu *v, bool init);
void control_cr_exit(struct vmx_vcpu *v);
void control_dr_exit(struct vmx_vcpu *v);
void control_xsetbv_exit(struct vmx_vcpu *v);

/* fpu.c. */
int fpu_init(struct vmx_vcpu *v);
void fpu_destroy(struct vmx_vcpu *v);
void fpu_reset(struct vmx_vcpu *v);
void fpu_switch_in(struct vmx_vcpu *v);
void fpu_switch_out(struct vmx_vcpu *v);

#endif
