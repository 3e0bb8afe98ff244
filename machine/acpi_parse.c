/*
 * ACPI tables into struct acpi_info. Their bytes come from firmware: lengths are checked, and what
 * makes no sense is left out.
 */
#include "lib/checked.h"
#include "lib/string.h"
#include "machine/acpi.h"

#define ISA_IRQS 16

/* MADT (5.2.12): entries of a type and a length behind a fixed part. */
#define MADT_FIXED 44

enum madt_type {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_LAPIC_NMI = 4,
    MADT_X2APIC = 9,
    MADT_X2APIC_NMI = 10,
};

struct madt_lapic {
    uint8_t type, length, processor, apic_id;
    uint32_t flags;
} __attribute__((packed));

struct madt_x2apic {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t apic_id, flags, processor;
} __attribute__((packed));

struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_override {
    uint8_t type, length, bus, irq;
    uint32_t gsi;
    uint16_t flags;
} __attribute__((packed));

struct madt_lapic_nmi {
    uint8_t type, length, processor;
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));

struct madt_x2apic_nmi {
    uint8_t type, length;
    uint16_t flags;
    uint32_t processor;
    uint8_t lint, reserved[3];
} __attribute__((packed));

#define MADT_ENABLED       BIT(0)
#define MADT_POLARITY      3u /* 0: as the bus has it, 1: high, 3: low */
#define MADT_POLARITY_LOW  3u
#define MADT_TRIGGER       (3u << 2)
#define MADT_TRIGGER_LEVEL (3u << 2)
#define MADT_ALL_CPUS_8    0xff

/* FADT (5.2.9). */
struct gas {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} __attribute__((packed));

struct fadt {
    struct acpi_header header;
    uint32_t facs, dsdt;
    uint8_t reserved_0, profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer;
    uint32_t gpe0, gpe1;
    uint8_t lengths[8]; /* of the blocks above; [3]: the PM timer's */
    uint16_t latencies[2], flush_size, flush_stride;
    uint8_t duty[2], alarms[2], century;
    uint16_t boot_arch;
    uint8_t reserved_1;
    uint32_t flags;
    struct gas reset;
    uint8_t reset_value;
    uint8_t reserved_2[3];
    uint64_t x_facs, x_dsdt;
    struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
        x_pm_timer, x_gpe0, x_gpe1;
    struct gas sleep_control, sleep_status;
} __attribute__((packed));

#define FADT_MIN_SIZE     116 /* ACPI 1.0 */
#define FADT_TIMER_32BIT  BIT(8)
#define FADT_HAS_RESET    BIT(10)
#define FADT_TIMER_LENGTH 3

struct hpet_table {
    struct acpi_header header;
    uint32_t event_block;
    struct gas base;
} __attribute__((packed));

struct mcfg_entry {
    uint64_t base;
    uint16_t segment;
    uint8_t bus_first, bus_last;
    uint32_t reserved;
} __attribute__((packed));
#define MCFG_FIXED 44

bool acpi_checksum(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint8_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + b[i]);
    return sum == 0;
}

bool acpi_rsdp_valid(const struct acpi_rsdp *r, size_t size)
{
    return size >= ACPI_RSDP_V1_SIZE && memcmp(r->signature, "RSD PTR ", 8) == 0 &&
           acpi_checksum(r, ACPI_RSDP_V1_SIZE);
}

void acpi_parse_start(struct acpi_info *a)
{
    memset(a, 0, sizeof(*a));
    for (unsigned i = 0; i < ISA_IRQS; i++)
        a->isa[i].gsi = i;
}

/* ------------------------------------------------------------ MADT */

static void add_cpu(struct acpi_info *a, uint32_t apic_id, uint32_t processor, uint32_t flags)
{
    if (!(flags & MADT_ENABLED) || a->nr_cpus == ACPI_MAX_CPUS)
        return;
    /* Firmware may list a CPU both as APIC and as x2APIC. */
    for (unsigned i = 0; i < a->nr_cpus; i++)
        if (a->cpus[i] == apic_id)
            return;
    a->processor_ids[a->nr_cpus] = processor;
    a->cpus[a->nr_cpus++] = apic_id;
}

static void add_override(struct acpi_info *a, const struct madt_override *o)
{
    struct acpi_isa_route *r;

    if (o->bus != 0 || o->irq >= ISA_IRQS)
        return;
    r = &a->isa[o->irq];
    r->gsi = o->gsi;
    r->active_low = (o->flags & MADT_POLARITY) == MADT_POLARITY_LOW;
    r->level = (o->flags & MADT_TRIGGER) == MADT_TRIGGER_LEVEL;
}

static void add_nmi(struct acpi_info *a, uint32_t processor, uint16_t flags, uint8_t lint)
{
    if (a->nr_nmis == ACPI_MAX_NMIS || lint > 1)
        return;
    a->nmis[a->nr_nmis++] = (struct acpi_nmi){
        .processor = processor,
        .lint = lint,
        .active_low = (flags & MADT_POLARITY) == MADT_POLARITY_LOW,
        .level = (flags & MADT_TRIGGER) == MADT_TRIGGER_LEVEL,
    };
}

static void madt_lapic(struct acpi_info *a, const void *entry)
{
    const struct madt_lapic *e = entry;

    add_cpu(a, e->apic_id, e->processor, e->flags);
}

static void madt_x2apic(struct acpi_info *a, const void *entry)
{
    const struct madt_x2apic *e = entry;

    add_cpu(a, e->apic_id, e->processor, e->flags);
}

static void madt_ioapic(struct acpi_info *a, const void *entry)
{
    const struct madt_ioapic *e = entry;

    if (a->nr_ioapics < ACPI_MAX_IOAPICS)
        a->ioapics[a->nr_ioapics++] =
            (struct acpi_ioapic){.address = HPA(e->address), .gsi_base = e->gsi_base};
}

static void madt_override(struct acpi_info *a, const void *entry)
{
    add_override(a, entry);
}

static void madt_lapic_nmi(struct acpi_info *a, const void *entry)
{
    const struct madt_lapic_nmi *e = entry;

    add_nmi(a, e->processor == MADT_ALL_CPUS_8 ? UINT32_MAX : e->processor, e->flags, e->lint);
}

static void madt_x2apic_nmi(struct acpi_info *a, const void *entry)
{
    const struct madt_x2apic_nmi *e = entry;

    add_nmi(a, e->processor, e->flags, e->lint);
}

static const struct madt_kind {
    uint8_t size; /* at least; 0: not of interest */
    void (*add)(struct acpi_info *a, const void *entry);
} madt_kinds[] = {
    [MADT_LAPIC] = {sizeof(struct madt_lapic), madt_lapic},
    [MADT_IOAPIC] = {sizeof(struct madt_ioapic), madt_ioapic},
    [MADT_OVERRIDE] = {sizeof(struct madt_override), madt_override},
    [MADT_LAPIC_NMI] = {sizeof(struct madt_lapic_nmi), madt_lapic_nmi},
    [MADT_X2APIC] = {sizeof(struct madt_x2apic), madt_x2apic},
    [MADT_X2APIC_NMI] = {sizeof(struct madt_x2apic_nmi), madt_x2apic_nmi},
};

static bool parse_madt(struct acpi_info *a, const struct acpi_header *h)
{
    const uint8_t *p = (const uint8_t *)h;

    if (h->length < MADT_FIXED)
        return false;
    for (uint32_t at = MADT_FIXED; at + 2 <= h->length;) {
        uint8_t type = p[at], length = p[at + 1];

        if (length < 2 || length > h->length - at)
            return false;
        if (type < ARRAY_SIZE(madt_kinds) && madt_kinds[type].size > 0 &&
            length >= madt_kinds[type].size)
            madt_kinds[type].add(a, p + at);
        at += length;
    }
    return true;
}

/* ------------------------------------------------------------ FADT */

/* The extended form, if the table has it and it says something; else the old port number. */
static struct acpi_register fadt_register(const struct gas *x, uint32_t port)
{
    if (x->address != 0)
        return (struct acpi_register){.space = x->space, .address = x->address};
    return (struct acpi_register){.space = ACPI_SPACE_IO, .address = port};
}

static bool parse_fadt(struct acpi_info *a, const struct acpi_header *h)
{
    struct fadt f = {0};

    if (h->length < FADT_MIN_SIZE)
        return false;
    memcpy(&f, h, MIN((size_t)h->length, sizeof(f))); /* what is beyond its end reads as 0 */
    a->has_fadt = true;
    a->pm1a_control = fadt_register(&f.x_pm1a_control, f.pm1a_control);
    a->pm1b_control = fadt_register(&f.x_pm1b_control, f.pm1b_control);
    a->pm_timer = fadt_register(&f.x_pm_timer, f.pm_timer);
    if (f.x_pm_timer.address == 0 && f.lengths[FADT_TIMER_LENGTH] != 4)
        a->pm_timer.address = 0;
    a->pm_timer_32bit = f.flags & FADT_TIMER_32BIT;
    a->sleep_control = fadt_register(&f.sleep_control, 0);
    if (f.flags & FADT_HAS_RESET) {
        a->reset = fadt_register(&f.reset, 0);
        a->reset_value = f.reset_value;
    }
    a->smi_command = f.smi_command;
    a->acpi_enable = f.acpi_enable;
    a->dsdt = HPA(f.x_dsdt != 0 ? f.x_dsdt : f.dsdt);
    return true;
}

/* ------------------------------------------------------------ \_S5 */

/* AML (ACPI 6.5 ch. 20): Name (_S5, Package () {a, b, ...}) */
#define AML_NAME        0x08
#define AML_PACKAGE     0x12
#define AML_ZERO        0x00
#define AML_ONE         0x01
#define AML_BYTE_PREFIX 0x0a
#define AML_ROOT        '\\'

/* A small integer at *at, which moves behind it. */
static bool aml_integer(const uint8_t *p, uint32_t size, uint32_t *at, uint8_t *v)
{
    if (*at >= size)
        return false;
    switch (p[*at]) {
    case AML_ZERO:
    case AML_ONE:
        *v = p[(*at)++];
        return true;
    case AML_BYTE_PREFIX:
        if (*at + 1 >= size)
            return false;
        *v = p[*at + 1];
        *at += 2;
        return true;
    default:
        return false;
    }
}

/* The package behind the name. Its length takes 1 to 4 bytes, as the first one's top bits say. */
static bool parse_s5_package(struct acpi_info *a, const uint8_t *p, uint32_t size, uint32_t at)
{
    if (at + 2 >= size || p[at] != AML_PACKAGE)
        return false;
    at += 2 + (p[at + 1] >> 6) + 1; /* and the number of elements */
    if (!aml_integer(p, size, &at, &a->s5_type_a) || !aml_integer(p, size, &at, &a->s5_type_b))
        return false;
    a->has_s5 = true;
    return true;
}

bool acpi_parse_s5(struct acpi_info *a, const struct acpi_header *h)
{
    const uint8_t *p = (const uint8_t *)h;

    for (uint32_t at = sizeof(*h) + 2; at + 4 < h->length; at++) {
        bool named = p[at - 1] == AML_NAME || (p[at - 1] == AML_ROOT && p[at - 2] == AML_NAME);

        if (named && memcmp(p + at, "_S5_", 4) == 0 && parse_s5_package(a, p, h->length, at + 4))
            return true;
    }
    return false;
}

/* ------------------------------------------------------------ HPET, MCFG */

static bool parse_hpet(struct acpi_info *a, const struct acpi_header *h)
{
    const struct hpet_table *t = (const struct hpet_table *)h;

    if (h->length < sizeof(*t) || t->base.space != ACPI_SPACE_MEMORY || t->base.address == 0)
        return false;
    if (a->hpet.v == 0)
        a->hpet = HPA(t->base.address);
    return true;
}

static bool parse_mcfg(struct acpi_info *a, const struct acpi_header *h)
{
    const uint8_t *p = (const uint8_t *)h;
    struct mcfg_entry e;

    if (h->length < MCFG_FIXED)
        return false;
    for (uint32_t at = MCFG_FIXED; checked_range(at, sizeof(e), h->length); at += sizeof(e)) {
        memcpy(&e, p + at, sizeof(e));
        if (a->nr_ecams == ACPI_MAX_ECAMS || e.bus_last < e.bus_first)
            continue;
        a->ecams[a->nr_ecams++] = (struct acpi_ecam){.base = HPA(e.base),
                                                     .segment = e.segment,
                                                     .bus_first = e.bus_first,
                                                     .bus_last = e.bus_last};
    }
    return true;
}

static const struct {
    char signature[5];
    bool (*parse)(struct acpi_info *a, const struct acpi_header *h);
} tables[] = {
    {"APIC", parse_madt},
    {"FACP", parse_fadt},
    {"HPET", parse_hpet},
    {"MCFG", parse_mcfg},
};

bool acpi_parse_table(struct acpi_info *a, const struct acpi_header *h)
{
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
        if (memcmp(h->signature, tables[i].signature, sizeof(h->signature)) == 0)
            return tables[i].parse(a, h);
    return true;
}
