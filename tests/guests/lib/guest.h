/* Everything that a guest kernel includes, and what it defines: guest_main. */
#ifndef GUESTS_GUEST_H
#define GUESTS_GUEST_H

#include "check.h"
#include "irq.h"
#include "mode32.h"
#include "power.h"
#include "segment.h"
#include "timing.h"
#include "trap.h"
#include "user.h"
#include "x86.h"
#include "lib/string.h"

/* The kernel's subject. Runs with interrupts off, both PICs masked, exceptions caught. */
void guest_main(void);

/* Ring 3's view of memory below 4 GiB starts here (boot.asm). */
#define USER_BASE (1ul << 39)

static inline void *user_alias(const void *p)
{
    return (void *)((uint64_t)p + USER_BASE);
}

/* From the loader (multiboot 1): copied before anything is overwritten. */
struct guest_memory {
    uint64_t base, bytes;
    uint32_t type; /* 1: RAM */
};
#define GUEST_MAX_MEMORY 32
extern struct guest_memory guest_memory[GUEST_MAX_MEMORY];
extern unsigned guest_nr_memory;
extern uint32_t guest_mem_lower, guest_mem_upper; /* KiB */
extern char guest_cmdline[128];
extern char image_end[];

#endif
