/* 32-bit protected mode, entered from long mode and left again (mode32.asm). */
#ifndef GUESTS_MODE32_H
#define GUESTS_MODE32_H

#include "lib/types.h"

/* The last trap there. From esp on only where the privilege changed, from es on only from V86. */
struct trap32 {
    uint32_t edi, esi, ebp, esp0, ebx, edx, ecx, eax;
    uint32_t vector, error;
    uint32_t eip, cs, eflags, esp, ss, es, ds, fs, gs;
};
extern volatile struct trap32 trap32_frame;
extern volatile uint32_t trap32_cr2;

/* Fills the 32-bit IDT. Called before guest_main. */
void mode32_init(void);
/*
 * Runs 32-bit code without paging, interrupts off, until it returns; false when a trap came that
 * it did not expect. Segments, TR and IDT are restored.
 */
bool mode32_call(const void *code);
/* A gate of the 32-bit IDT: interrupt gate to its stub; dpl for INT n. */
void mode32_set_gate(unsigned vector, unsigned dpl);
uint64_t *mode32_gate(unsigned vector);

/* What 32-bit code left in a dword, by the name of its check. */
struct mode32_result {
    const char *name;
    volatile uint32_t *got;
    uint32_t want;
};
void mode32_check(const struct mode32_result *results, unsigned n);

/* As mode32.inc's TRAPPED32 puts it. */
#define TRAP32(vector, error) ((uint32_t)(vector) << 16 | (error))
#define NO_TRAP32             TRAP32(256, 0)

/* The 32-bit TSS (SDM vol. 3 section 8.2.1) with an I/O bitmap for every port. */
struct tss32 {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2;
    uint32_t cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_base;
    uint8_t interrupts[32]; /* redirection bitmap of virtual-8086 mode extensions */
    uint8_t io_bitmap[8192 + 1];
} __attribute__((packed));
/* Puts a descriptor for it at selector; available, all ports denied, stack 0 for traps. */
void mode32_make_tss(struct tss32 *tss, unsigned selector);

#endif
