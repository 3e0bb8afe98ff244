/*
 * A guest's ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, FACS, MADT and the DSDT, which is
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

#endif
