/*
 * Accesses to device registers by MOV, in short. The CPU has checked the access and said which
 * guest-physical address it goes to, so that segments, the address and its rights need no second
 * look: what is missing is which register, which size, and how long the instruction is.
 */
#ifndef VM_DEVICE_MOV_H
#define VM_DEVICE_MOV_H

#include "lib/types.h"

struct vcpu;

/*
 * An instruction that was decoded at an address, and all that says that the same bytes are there
 * still: the page-table entries on the way to it, by value, and the bytes themselves.
 */
struct mov_site {
    uint64_t rip, cr3;
    uint64_t generation;  /* of the EPT: the pointers below are good while it stays */
    uint64_t bytes[2];    /* the instruction and what follows it */
    const uint64_t *code; /* where they are; not aligned */
    /* Page-table entries by level; those below a large page's are the same one again. */
    const uint64_t *slot[4];
    uint64_t entry[4];
    uint8_t length, kind; /* of the instruction; kind: enum mov_kind */
    uint8_t size;         /* of the access: 1, 2, 4 or 8 */
    uint8_t width;        /* of the register that is loaded */
    uint8_t reg;          /* vmx_reg; for the high bytes the one that they are part of */
    uint64_t imm;         /* for MOV_STORE_IMM */
};

#define MOV_SITES 16 /* a power of two */

/*
 * The vCPU has exited because of an access to gpa: does it, if it is a MOV, MOVZX or MOVSX in
 * 64-bit mode whose register is one of registers (bit n: register n is stored in vmx.regs). False:
 * nothing was done.
 */
MUST_CHECK bool device_mov(struct vcpu *c, gpa_t gpa, uint32_t registers);
/* The same for the vCPU's own APIC page, which the CPU has found to be what was accessed. */
MUST_CHECK bool device_mov_apic(struct vcpu *c, unsigned offset, uint32_t registers);

#endif
