/*
 * A guest's ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, FACS, MADT, HPET and the DSDT, which is
 * compiled from vm/dsdt.asl. They tell about the machine that devices/ builds.
 */
#ifndef VM_GUEST_ACPI_H
#define VM_GUEST_ACPI_H

#include "lib/types.h"
#include "vm/load.h"

#define GUEST_ACPI_BASE GUEST_BIOS_START /* all tables are within [base, base + size) */
#define GUEST_ACPI_SIZE 0x10000ul

struct guest_acpi_config {
    unsigned nr_vcpus; /* local APIC ids 0 to nr_vcpus - 1 */
    bool com[4];       /* which serial ports there are */
    bool vga;          /* there is a VGA, which the guest may probe for */
};

/* Builds the tables in guest memory; *rsdp tells where the root pointer is. 0 or negative error. */
MUST_CHECK int guest_acpi_build(const struct guest_memory *memory,
                                const struct guest_acpi_config *config, gpa_t *rsdp);

/*
 * The same anywhere: what would have to change if the tables were moved. The RSDP is first and may
 * be taken away from the others; offsets below GUEST_ACPI_RSDP_ROOM are in it.
 */
#define GUEST_ACPI_RSDP_ROOM 0x40
#define GUEST_ACPI_RSDP_SIZE 36
#define GUEST_ACPI_FIXUPS    24

struct guest_acpi_fixup {
    bool checksum;          /* else an address */
    uint8_t size;           /* of the address, in bytes */
    uint32_t offset;        /* of the address or the checksum */
    uint32_t start, length; /* what the checksum is of */
};
struct guest_acpi_fixups {
    struct guest_acpi_fixup fixup[GUEST_ACPI_FIXUPS]; /* an address before the checksums over it */
    unsigned count;
};

/* *end is where the tables end; fixups may be NULL. */
MUST_CHECK int guest_acpi_build_at(const struct guest_memory *memory, gpa_t base,
                                   const struct guest_acpi_config *config,
                                   struct guest_acpi_fixups *fixups, uint64_t *end);

#endif
