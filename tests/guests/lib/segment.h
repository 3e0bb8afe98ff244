/* The GDT and TSS of the guest kernels. */
#ifndef GUESTS_SEGMENT_H
#define GUESTS_SEGMENT_H

#include "lib/types.h"

/* In the order that SYSCALL, SYSRET and SYSENTER want. */
enum selector {
    SEL_CODE64 = 0x08,
    SEL_DATA = 0x10,
    SEL_USER_CODE32 = 0x18,
    SEL_USER_DATA = 0x20,
    SEL_USER_CODE64 = 0x28,
    SEL_TSS = 0x30, /* two entries */
    SEL_CODE32 = 0x40,
    SEL_CODE16 = 0x48,
    SEL_DATA16 = 0x50,
    SEL_DATA32 = 0x58,
    SEL_FREE = 0x60, /* from here on a kernel's own */
    SEL_LIMIT = 0x100,
};

#define IST_DOUBLE_FAULT 1
#define IST_SPARE        2

/* The 64-bit TSS (SDM vol. 3 section 8.7) with a whole I/O permission bitmap. */
struct tss64 {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_base;
    uint8_t io_bitmap[8192 + 1];
} __attribute__((packed));

/* Loads GDT, segment registers and TR. */
void segment_init(void);
void segment_load_gdt(void);
/* The raw descriptor behind a selector. */
uint64_t *segment_descriptor(unsigned selector);
/* A code or data descriptor: access byte, flags (G, D/B, L: bits 3 to 1 of the nibble). */
uint64_t segment_make(uint32_t base, uint32_t limit, unsigned access, unsigned flags);
struct tss64 *segment_tss(void);

/* Access bytes and flags. */
#define SEG_CODE    0x9b
#define SEG_DATA    0x93
#define SEG_DPL3    0x60
#define SEG_PRESENT 0x80
#define SEG_4K      0x8
#define SEG_32      0x4
#define SEG_64      0x2

#endif
