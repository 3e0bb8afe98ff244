/* What the loaders share: messages, filling memory, and the flat segments kernels start with. */
#ifndef VM_LOAD_COMMON_H
#define VM_LOAD_COMMON_H

#include "vm/load.h"

/* VMX access rights (SDM vol. 3 table 25-2) of the segments of a starting kernel. */
#define ENTRY_CODE64   0xa09bu /* present, execute/read, accessed, L, G */
#define ENTRY_CODE32   0xc09bu /* the same with D instead of L */
#define ENTRY_DATA     0xc093u /* present, read/write, accessed, B, G */
#define ENTRY_TSS_BUSY 0x008bu
#define ENTRY_UNUSABLE BIT(16)

/* Selectors that both the Linux boot protocol and our GDT use. */
#define ENTRY_CS_SELECTOR 0x10
#define ENTRY_DS_SELECTOR 0x18

/* Where the GDT is: the second page of guest memory. */
#define LOAD_GDT_BASE 0x1000ul

/* The loader's view of its work: the request and where to write what is wrong. */
struct load {
    const struct load_request *r;
    uint64_t low_end;    /* of RAM below 4 GiB */
    uint64_t kernel_end; /* of the memory that the kernel takes, once known */
    char *why;
    size_t why_size;
};

/* Writes the reason and returns error. */
int load_fail(const struct load *l, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A size as people read it: "61 MiB" (rounded up) or "12 KiB". Returns buf. */
#define LOAD_SIZE_TEXT 32
const char *load_size_text(char buf[LOAD_SIZE_TEXT], uint64_t bytes);

/* Guest memory; E_RANGE with a reason when it is outside of RAM. */
MUST_CHECK int load_write(const struct load *l, uint64_t to, const void *from, size_t n);
MUST_CHECK int load_zero(const struct load *l, uint64_t to, uint64_t n);

/*
 * Writes the initrd as high as possible below limit and above kernel_end, page aligned; *start is
 * where. Nothing is written and *start is 0 when there is none.
 */
MUST_CHECK int load_initrd(const struct load *l, uint64_t limit, uint64_t *start);

/*
 * Writes a GDT with flat code and data segments and sets up entry for protected mode without
 * paging: segments, GDT register, CR0. code is ENTRY_CODE32 or ENTRY_CODE64.
 */
MUST_CHECK int load_segments(const struct load *l, struct entry_state *entry, uint32_t code);

#endif
