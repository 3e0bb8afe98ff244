/* GDT, TSS and IDT of each CPU, and what happens on an exception. SDM vol. 3 ch. 3, 6, 8.7. */
#ifndef MACHINE_TRAP_H
#define MACHINE_TRAP_H

#include "lib/types.h"

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18

struct percpu;

/* The registers of interrupted code, as machine/trap_entry.asm leaves them on the stack. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/*
 * Names an instruction that may fault, and where to go on then: for use in inline assembly with
 * the labels given as text ("1b", "2b").
 */
#define TRAP_FIXUP(from, to) \
    ".pushsection exception_table, \"a\"\n\t.balign 8\n\t.quad " from ", " to "\n\t.popsection\n"

/* Fills the IDT and loads the boot CPU's GDT, TSS and IDT, with one early stack for all ISTs. */
void trap_init(void);
/*
 * Gives cpu its GDT and TSS and a stack of its own for NMI, #DF and #MC; false: no memory. On the
 * CPU itself trap_load then loads them.
 */
MUST_CHECK bool trap_prepare(struct percpu *cpu);
void trap_load(struct percpu *cpu);
/* The IDT that all CPUs share, for the VMCS host state. */
uint64_t trap_idt_base(void);
/* An NMI that came as a VM exit; never returns in a panic of another CPU. */
void trap_nmi(void);
/* NMIs that nobody asked for, so far. */
uint64_t trap_nmi_count(void);

#endif
