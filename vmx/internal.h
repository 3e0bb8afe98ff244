/* What the files of vmx/ share among themselves. */
#ifndef VMX_INTERNAL_H
#define VMX_INTERNAL_H

#include "vmx/vcpu.h"

struct percpu;

#define DR6_RESET 0xffff0ff0u

/*
 * What a CPU's registers hold for its guest, or the last one that it had: exact while no guest is
 * loaded; else as of when it was.
 */
struct vmx_registers {
    struct vmx_vcpu *loaded;
    bool known;       /* the rest is */
    bool breakpoints; /* DR0 to DR3 are not all 0 */
    uint64_t dr6;
    uint64_t msrs[SWITCHED_COUNT];
    uint64_t xcr0;       /* exact always */
    uint64_t components; /* XCR0's bits: what may not be in its initial state */
};

/* entry.asm. */
enum vmx_left {
    VMX_LEFT_EXIT,    /* an exit that is to be handled */
    VMX_LEFT_HANDLED, /* one that has been, but the owner's attention is asked for */
    VMX_ENTRY_FAILED, /* the entry instruction itself */
};
enum vmx_left vmx_enter(struct vmx_vcpu *v);
/* Values of HOST_RIP: without and with time measured. */
void vmx_exit(void);
void vmx_exit_timed(void);

/* exit.c, for entry.asm. */

/* What a quick handler says. */
enum vmx_quick {
    VMX_QUICK_NOT,  /* nothing was done: the full way is to be taken */
    VMX_QUICK_DONE, /* RIP is where it is to be */
    VMX_QUICK_SKIP, /* RIP goes past the instruction */
};
/*
 * Handlers that run with only those registers stored that a C function may clobber: what they
 * find in regs[] of RBX, RBP and R12 to R15 is old. They queue no event.
 */
typedef enum vmx_quick (*vmx_quick_fn)(struct vmx_vcpu *v);
extern const vmx_quick_fn vmx_quick_exits[EXIT_TABLE_SIZE];
NORETURN void vmx_instruction_failed(void);

/* cpuid.c. */
struct cpuid_table *cpuid_table_create(const struct vmx_vm *vm);
void cpuid_table_destroy(struct cpuid_table *t);
void cpuid_exit(struct vmx_vcpu *v);
/* Fills the leaves that the exit path knows: all, or one that shows a changed CR4 or XCR0. */
void cpuid_update(struct vmx_vcpu *v);
void cpuid_update_leaf(struct vmx_vcpu *v, uint64_t cr4, uint32_t leaf);
/* CR4 bits and XCR0 bits that this VM's CPUID offers. */
uint64_t cpuid_cr4_allowed(const struct vmx_vm *vm);
uint64_t cpuid_xcr0_allowed(const struct vmx_vm *vm);
uint64_t cpuid_efer_allowed(const struct vmx_vm *vm);
unsigned cpuid_phys_bits(const struct vmx_vm *vm);
/* Whether the table's leaf has the feature. */
bool cpuid_has_rdtscp(const struct vmx_vm *vm);
bool cpuid_has_invpcid(const struct vmx_vm *vm);

/* msr.c. */
/* Once, before the first exit. */
void msr_init_tables(void);
void msr_init(struct vmx_vcpu *v);
void msr_reset(struct vmx_vcpu *v, bool init);
void msr_read_exit(struct vmx_vcpu *v);
void msr_write_exit(struct vmx_vcpu *v);
enum vmx_quick msr_read_quick(struct vmx_vcpu *v);
enum vmx_quick msr_write_quick(struct vmx_vcpu *v);
/* Whether the guest reads (or writes) the MSR without an exit from now on. */
void msr_bitmap_set(struct vmx_vcpu *v, uint32_t msr, bool read_exits, bool write_exits);

/* control.c: CR and DR exits. */
void control_reset(struct vmx_vcpu *v, bool init);
void control_cr_exit(struct vmx_vcpu *v);
void control_dr_exit(struct vmx_vcpu *v);
void control_xsetbv_exit(struct vmx_vcpu *v);

/* fpu.c. */
int fpu_init(struct vmx_vcpu *v);
void fpu_destroy(struct vmx_vcpu *v);
void fpu_reset(struct vmx_vcpu *v);
/* The guest has set XCR0: its part of the registers becomes larger, perhaps. */
void fpu_set_xcr0(struct vmx_vcpu *v, uint64_t xcr0);
void fpu_switch_in(struct vmx_vcpu *v, struct vmx_registers *r);
void fpu_switch_out(struct vmx_vcpu *v, struct vmx_registers *r);
/* Before the CPU's first guest. */
void fpu_learn(const struct vmx_vcpu *v, struct vmx_registers *r);

/* switch.c. */
void switch_init_cpu(struct percpu *cpu);
/* This CPU's. */
struct vmx_registers *switch_registers(void);
/* The bitmap for the MSRs that are switched with the vCPU. */
void switch_init_msrs(struct vmx_vcpu *v);
/* The guest is about to write some of them (or to use debug registers): they are its to use. */
void switch_open_msrs(struct vmx_vcpu *v);
void switch_open_debug(struct vmx_vcpu *v);
/* As after RESET. */
void switch_reset_msrs(struct vmx_vcpu *v);
void switch_reset_debug(struct vmx_vcpu *v);

/* vcpu.c: the part of the VMCS's host state that differs from CPU to CPU. */
void vmx_write_host_cpu(void);

#endif
