/*
 * Putting a kernel into a new VM's memory, and the state in which its first vCPU starts. Pure: it
 * knows guest memory only through struct guest_memory, and the CPU state that it makes is data.
 *
 * Everything in a kernel file is checked before it is used: these are files from outside.
 */
#ifndef VM_LOAD_H
#define VM_LOAD_H

#include "lib/types.h"

/* A guest's RAM. The functions return false when any byte is outside of RAM. */
struct guest_memory {
    bool (*write)(void *opaque, gpa_t to, const void *from, size_t n);
    bool (*read)(void *opaque, gpa_t from, void *to, size_t n);
    void *opaque;
    uint64_t ram_bytes;
};

/* The address map of every guest. */
#define GUEST_BASE_RAM_END 0xa0000ul  /* 640 KiB; the hole for VGA and option ROMs starts here */
#define GUEST_BIOS_START   0xe0000ul  /* backed by RAM, reserved for the guest: ACPI tables */
#define GUEST_HIGH_START   0x100000ul /* 1 MiB */
#define GUEST_RAM_ABOVE_4G GIB(4)

/* A piece of guest-physical memory that is backed by RAM. */
struct guest_region {
    gpa_t start;
    uint64_t size;
    bool usable; /* RAM for the guest to use; else reserved in its memory map */
};
#define GUEST_MAX_REGIONS 4

/*
 * The RAM of a guest with ram_bytes, by address; returns how many regions. As on a PC, ram_bytes
 * counts addresses: the 256 KiB hole below the BIOS area is lost, and what does not fit below
 * GUEST_LOW_RAM_MAX (devices/machine.h) continues at 4 GiB.
 */
unsigned guest_ram_regions(uint64_t ram_bytes, struct guest_region regions[GUEST_MAX_REGIONS]);
/* Where RAM below 4 GiB ends. */
uint64_t guest_low_ram_end(uint64_t ram_bytes);

/* Registers in the order of their encoding. */
enum entry_gpr {
    ENTRY_RAX,
    ENTRY_RCX,
    ENTRY_RDX,
    ENTRY_RBX,
    ENTRY_RSP,
    ENTRY_RBP,
    ENTRY_RSI,
    ENTRY_RDI,
    ENTRY_NR_GPRS = 16,
};

/* Segment registers in the order of their VMCS fields. */
enum entry_seg {
    ENTRY_ES,
    ENTRY_CS,
    ENTRY_SS,
    ENTRY_DS,
    ENTRY_FS,
    ENTRY_GS,
    ENTRY_LDTR,
    ENTRY_TR,
    ENTRY_NR_SEGS,
};

struct entry_segment {
    uint16_t selector;
    uint32_t limit;
    uint32_t access; /* VMX access rights (SDM vol. 3 table 25-2) */
    uint64_t base;
};

/* The state of a vCPU at its first instruction. */
struct entry_state {
    uint64_t rip, rflags;
    uint64_t gpr[ENTRY_NR_GPRS];
    uint64_t cr0, cr3, cr4, efer;
    struct entry_segment seg[ENTRY_NR_SEGS];
    uint64_t gdt_base, idt_base;
    uint32_t gdt_limit, idt_limit;
};

/* What is to be loaded. The files stay where they are and are only read. */
struct load_request {
    const struct guest_memory *memory;
    const void *kernel;
    size_t kernel_size;
    const void *initrd; /* NULL: none */
    size_t initrd_size;
    const char *cmdline; /* "" for none */
    gpa_t rsdp;          /* of the ACPI tables; 0: the guest has none */
};

/* Whether a file claims to be such a kernel; it may still be a bad one. */
bool load_is_linux(const void *kernel, size_t size);
bool load_is_multiboot(const void *kernel, size_t size);

/*
 * Load a kernel. 0, or a negative error with one line that says why in why[size]:
 * "initrd of 64 MiB does not fit into 32 MiB of memory (...)".
 */
MUST_CHECK int load_linux(const struct load_request *r, struct entry_state *entry, char *why,
                          size_t size);
MUST_CHECK int load_multiboot(const struct load_request *r, struct entry_state *entry, char *why,
                              size_t size);

#endif
