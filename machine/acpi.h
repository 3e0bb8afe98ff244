/*
 * What we need of the ACPI tables. Source: ACPI Specification 6.5 ch. 5; IA-PC HPET 1.0a; PCI
 * Firmware 3.0 (MCFG).
 */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include "lib/types.h"

#define ACPI_MAX_CPUS    256
#define ACPI_MAX_IOAPICS 8
#define ACPI_MAX_NMIS    16
#define ACPI_MAX_ECAMS   16

enum acpi_space {
    ACPI_SPACE_MEMORY = 0,
    ACPI_SPACE_IO = 1,
};

/* A register somewhere; address 0: not there. */
struct acpi_register {
    uint8_t space;
    uint64_t address;
};

struct acpi_ioapic {
    hpa_t address;
    uint32_t gsi_base;
};

struct acpi_isa_route {
    uint32_t gsi;
    bool active_low, level;
};

struct acpi_info {
    /* MADT */
    uint32_t cpus[ACPI_MAX_CPUS]; /* APIC ids that may be started */
    unsigned nr_cpus;
    struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
    unsigned nr_ioapics;
    struct acpi_isa_route isa[16];
    struct acpi_nmi {
        uint32_t processor; /* ACPI processor id; UINT32_MAX: all */
        uint8_t lint;
        bool active_low, level;
    } nmis[ACPI_MAX_NMIS];
    unsigned nr_nmis;
    uint32_t processor_ids[ACPI_MAX_CPUS]; /* ACPI processor id of cpus[i] */

    /* FADT */
    bool has_fadt;
    struct acpi_register pm1a_control, pm1b_control, pm_timer, reset, sleep_control;
    bool pm_timer_32bit;
    uint8_t reset_value;
    uint32_t smi_command; /* port that switches ACPI on; 0: none */
    uint8_t acpi_enable;
    hpa_t dsdt;
    bool has_s5;
    uint8_t s5_type_a, s5_type_b; /* SLP_TYP values of \_S5 */

    hpa_t hpet; /* 0: none */
    struct acpi_ecam {
        hpa_t base;
        uint16_t segment;
        uint8_t bus_first, bus_last;
    } ecams[ACPI_MAX_ECAMS];
    unsigned nr_ecams;
};

/* Finds and reads the tables; says what is wrong with them in a line each. */
void acpi_init(void);
const struct acpi_info *acpi_info(void);
/* Whether there are tables at all. */
bool acpi_present(void);

/* ------------------------------------------------------------ pure: also on the host */

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision, creator_id, creator_revision;
} __attribute__((packed));

struct acpi_rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    /* Since revision 2. */
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

#define ACPI_RSDP_V1_SIZE 20

/* Before any table: ISA IRQs at their own inputs, nothing else. */
void acpi_parse_start(struct acpi_info *a);
/* Whether the bytes add up to 0. */
bool acpi_checksum(const void *p, size_t n);
/* Signature and checksum; size is how much there is to look at. */
bool acpi_rsdp_valid(const struct acpi_rsdp *r, size_t size);
/* One table, all of it (checked already), into a. false: damaged, or not of interest. */
bool acpi_parse_table(struct acpi_info *a, const struct acpi_header *h);
/* Looks for \_S5 in a DSDT or SSDT. */
bool acpi_parse_s5(struct acpi_info *a, const struct acpi_header *h);

#endif
