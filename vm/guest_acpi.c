#include "vm/guest_acpi.h"

#include "devices/acpi_pm.h"
#include "devices/hpet.h"
#include "devices/pci.h"
#include "lib/string.h"

/* What iasl made of vm/dsdt.asl: "unsigned char dsdt_aml_code[] = ...". */
static const
#include "build/dsdt.hex"

/* Where they are, as offsets: the RSDP is first. */
#define FACS_AT        GUEST_ACPI_RSDP_ROOM
#define FIRST_TABLE_AT 0x80
#define TABLE_ALIGN    16

#define OEM_ID "TITHE " /* six bytes */

    /* Every table but RSDP and FACS starts so (ACPI 6.4 section 5.2.6). */
    struct table_header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum; /* all bytes of the table add up to zero */
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));

struct facs {
    char signature[4];
    uint32_t length;
    uint32_t hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version;
    uint8_t reserved[31];
} __attribute__((packed));

/* Generic address structure (5.2.3.2). */
struct address {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} __attribute__((packed));
#define SPACE_MEMORY 0
#define SPACE_IO     1

/* Fixed ACPI description table, revision 6 (5.2.9). */
struct fadt {
    struct table_header header;
    uint32_t facs, dsdt;
    uint8_t reserved1, profile;
    uint16_t sci_irq;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_size, pm1_control_size, pm2_control_size, pm_timer_size, gpe0_size, gpe1_size;
    uint8_t gpe1_base, cst_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved2;
    uint32_t flags;
    struct address reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_flags;
    uint8_t minor_revision;
    uint64_t x_facs, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
        x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
    uint64_t hypervisor_id;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "as revision 6 has it");

#define PROFILE_ENTERPRISE_SERVER 4
#define C2_UNSUPPORTED            101 /* a latency above 100 (C3: 1000) says that there is none */
#define C3_UNSUPPORTED            1001
#define CENTURY_REGISTER          0x32 /* in CMOS: devices/rtc.c */

/* FADT boot flags (table 5.11). */
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_8042           BIT(1)
#define BOOT_NO_VGA         BIT(2)

/* FADT flags (table 5.10). */
#define FADT_WBINVD          BIT(0)
#define FADT_PROC_C1         BIT(2)
#define FADT_NO_SLEEP_BUTTON BIT(5) /* no fixed-hardware one */
#define FADT_RTC_NOT_FIXED   BIT(6) /* the RTC wakes nothing up */
#define FADT_TIMER_32BIT     BIT(8)
#define FADT_RESET_REGISTER  BIT(10)

struct madt {
    struct table_header header;
    uint32_t lapic_address;
    uint32_t flags;
} __attribute__((packed));
#define MADT_PCAT_COMPATIBLE BIT(0) /* there are two 8259s as well */

struct madt_lapic {
    uint8_t type, length, processor_uid, apic_id;
    uint32_t flags;
} __attribute__((packed));
struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} __attribute__((packed));
struct madt_override {
    uint8_t type, length, bus, source;
    uint32_t gsi;
    uint16_t flags;
} __attribute__((packed));
struct madt_lapic_nmi {
    uint8_t type, length, processor_uid;
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));

enum madt_type {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_LAPIC_NMI = 4,
};
#define LAPIC_ENABLED    BIT(0)
#define ALL_PROCESSORS   0xff
#define IOAPIC_ID        0 /* as the I/O APIC's ID register has it after reset */
#define FLAGS_CONFORM    0
#define FLAGS_HIGH_LEVEL 0x000d /* active high, level triggered (table 5.26) */
#define PIT_GSI          2

/* IA-PC HPET specification 1.0a section 3.2.4. */
struct hpet_table {
    struct table_header header;
    uint32_t block_id; /* as the low half of the capabilities register */
    struct address base;
    uint8_t number;
    uint16_t min_ticks; /* between periodic interrupts, so that none is lost */
    uint8_t page_protection;
} __attribute__((packed));
_Static_assert(sizeof(struct hpet_table) == 56, "as the specification has it");

/* What RSDT and XSDT list: FADT, MADT, HPET. */
#define TABLES 3

/* Tables are laid out one after the other. */
struct builder {
    const struct guest_memory *memory;
    uint64_t base;
    uint64_t at; /* where the next table goes */
    bool failed; /* a write to guest memory failed, or there were too many fixups: sticky */
    struct guest_acpi_fixups *fixups; /* NULL: not wanted */
};

static void put(struct builder *b, uint64_t at, const void *data, size_t n)
{
    if (!b->memory->write(b->memory->opaque, GPA(at), data, n))
        b->failed = true;
}

static void note(struct builder *b, struct guest_acpi_fixup fixup)
{
    if (b->fixups == NULL)
        return;
    if (b->fixups->count == GUEST_ACPI_FIXUPS)
        b->failed = true;
    else
        b->fixups->fixup[b->fixups->count++] = fixup;
}

/* There is an address of so many bytes at, an address itself. */
static void note_pointer(struct builder *b, uint64_t at, unsigned size)
{
    note(b, (struct guest_acpi_fixup){.offset = (uint32_t)(at - b->base), .size = (uint8_t)size});
}

/* The checksum at makes the n bytes from start on add up to zero. */
static void note_checksum(struct builder *b, uint64_t at, uint64_t start, size_t n)
{
    note(b, (struct guest_acpi_fixup){.checksum = true,
                                      .offset = (uint32_t)(at - b->base),
                                      .start = (uint32_t)(start - b->base),
                                      .length = (uint32_t)n});
}

static uint8_t sum(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint8_t total = 0;

    while (n-- > 0)
        total = (uint8_t)(total + *p++);
    return total;
}

static void fill_header(struct table_header *h, const char *signature, uint8_t revision, size_t n)
{
    memset(h, 0, sizeof(*h));
    memcpy(h->signature, signature, sizeof(h->signature));
    h->length = (uint32_t)n;
    h->revision = revision;
    memcpy(h->oem_id, OEM_ID, sizeof(h->oem_id));
    memcpy(h->oem_table_id, OEM_ID, sizeof(h->oem_id));
    memcpy(h->oem_table_id + 6, signature, 2);
    h->oem_revision = 1;
    memcpy(h->creator_id, "TITH", sizeof(h->creator_id));
    h->creator_revision = 1;
}

/* The table at has addresses in it: when they change, so does its checksum. */
static void note_table(struct builder *b, uint64_t at, const struct table_header *h)
{
    note_checksum(b, at + offsetof(struct table_header, checksum), at, h->length);
}

/* Writes a finished table, with its checksum, and returns where it is. */
static uint64_t put_table(struct builder *b, struct table_header *h)
{
    uint64_t at = b->at;

    h->checksum = 0;
    h->checksum = (uint8_t)-sum(h, h->length);
    put(b, at, h, h->length);
    b->at = ALIGN_UP(at + h->length, TABLE_ALIGN);
    return at;
}

/*
 * The DSDT is written as iasl made it, then COMS gets its value: Name (COMS, byte) is NameOp, the
 * four letters, BytePrefix, the byte (section 20.2). The checksum makes up for the difference.
 */
static uint64_t put_dsdt(struct builder *b, uint8_t com_mask)
{
    static const uint8_t pattern[] = {0x08, 'C', 'O', 'M', 'S', 0x0a};
    const size_t size = sizeof(dsdt_aml_code);
    uint64_t at = b->at;
    size_t i = sizeof(struct table_header);
    uint8_t checksum;

    while (i + sizeof(pattern) < size && memcmp(dsdt_aml_code + i, pattern, sizeof(pattern)) != 0)
        i++;
    i += sizeof(pattern);
    if (i >= size) {
        b->failed = true;
        return at;
    }
    checksum = dsdt_aml_code[offsetof(struct table_header, checksum)];
    checksum = (uint8_t)(checksum + dsdt_aml_code[i] - com_mask);
    put(b, at, dsdt_aml_code, size);
    put(b, at + i, &com_mask, 1);
    put(b, at + offsetof(struct table_header, checksum), &checksum, 1);
    b->at = ALIGN_UP(at + size, TABLE_ALIGN);
    return at;
}

static void put_facs(struct builder *b)
{
    struct facs facs = {.signature = {'F', 'A', 'C', 'S'}, .length = sizeof(facs), .version = 2};

    put(b, b->base + FACS_AT, &facs, sizeof(facs));
}

static struct address io_address(uint64_t port, unsigned bytes)
{
    return (struct address){SPACE_IO, (uint8_t)(bytes * 8), 0, (uint8_t)(bytes == 4 ? 3 : bytes),
                            port};
}

static void fill_pm_blocks(struct fadt *f)
{
    f->pm1a_event = GUEST_PM_BASE + ACPI_PM1_EVENT;
    f->pm1a_control = GUEST_PM_BASE + ACPI_PM1_CONTROL;
    f->pm_timer = GUEST_PM_BASE + ACPI_PM_TIMER;
    f->gpe0 = GUEST_PM_BASE + ACPI_GPE0;
    f->pm1_event_size = ACPI_PM1_EVENT_SIZE;
    f->pm1_control_size = ACPI_PM1_CONTROL_SIZE;
    f->pm_timer_size = ACPI_PM_TIMER_SIZE;
    f->gpe0_size = ACPI_GPE0_SIZE;
    f->x_pm1a_event = io_address(f->pm1a_event, ACPI_PM1_EVENT_SIZE);
    f->x_pm1a_event.access_size = 2; /* status and enable are words */
    f->x_pm1a_control = io_address(f->pm1a_control, ACPI_PM1_CONTROL_SIZE);
    f->x_pm_timer = io_address(f->pm_timer, ACPI_PM_TIMER_SIZE);
    f->x_gpe0 = io_address(f->gpe0, ACPI_GPE0_SIZE);
    f->x_gpe0.access_size = 1;
}

static uint64_t put_fadt(struct builder *b, const struct guest_acpi_config *config, uint64_t dsdt)
{
    uint64_t at = b->at;
    struct fadt f;

    memset(&f, 0, sizeof(f));
    fill_header(&f.header, "FACP", 6, sizeof(f));
    f.minor_revision = 4;
    f.facs = (uint32_t)(b->base + FACS_AT); /* below 4 GiB: x_facs must be zero then */
    f.dsdt = (uint32_t)dsdt;
    f.x_dsdt = dsdt;
    f.profile = PROFILE_ENTERPRISE_SERVER;
    f.sci_irq = GUEST_SCI_IRQ;
    f.c2_latency = C2_UNSUPPORTED;
    f.c3_latency = C3_UNSUPPORTED;
    f.century = CENTURY_REGISTER;
    f.boot_flags = BOOT_LEGACY_DEVICES | BOOT_8042 | (config->vga ? 0 : BOOT_NO_VGA);
    f.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_RTC_NOT_FIXED |
              FADT_TIMER_32BIT | FADT_RESET_REGISTER;
    f.reset_register = io_address(PCI_RESET_PORT, 1);
    f.reset_value = PCI_RESET_FULL;
    fill_pm_blocks(&f);
    memcpy(&f.hypervisor_id, "Tithe\0\0", sizeof(f.hypervisor_id));
    note_pointer(b, at + offsetof(struct fadt, facs), sizeof(f.facs));
    note_pointer(b, at + offsetof(struct fadt, dsdt), sizeof(f.dsdt));
    note_pointer(b, at + offsetof(struct fadt, x_dsdt), sizeof(f.x_dsdt));
    note_table(b, at, &f.header);
    return put_table(b, &f.header);
}

/* Appends an entry to the MADT in buf. */
static void madt_add(uint8_t *buf, const void *entry)
{
    struct table_header *h = (struct table_header *)buf;
    uint8_t size = ((const uint8_t *)entry)[1];

    memcpy(buf + h->length, entry, size);
    h->length += size;
}

static uint64_t put_madt(struct builder *b, unsigned nr_vcpus)
{
    uint8_t buf[sizeof(struct madt) + MACHINE_MAX_VCPUS * sizeof(struct madt_lapic) +
                sizeof(struct madt_ioapic) + 2 * sizeof(struct madt_override) +
                sizeof(struct madt_lapic_nmi)];
    struct madt *m = (struct madt *)buf;

    fill_header(&m->header, "APIC", 5, sizeof(*m));
    m->lapic_address = GUEST_LAPIC_BASE;
    m->flags = MADT_PCAT_COMPATIBLE;
    for (unsigned i = 0; i < nr_vcpus; i++)
        madt_add(buf, &(struct madt_lapic){MADT_LAPIC, sizeof(struct madt_lapic), (uint8_t)i,
                                           (uint8_t)i, LAPIC_ENABLED});
    madt_add(buf, &(struct madt_ioapic){.type = MADT_IOAPIC,
                                        .length = sizeof(struct madt_ioapic),
                                        .id = IOAPIC_ID,
                                        .address = GUEST_IOAPIC_BASE});
    madt_add(buf, &(struct madt_override){MADT_OVERRIDE, sizeof(struct madt_override), 0, 0,
                                          PIT_GSI, FLAGS_CONFORM});
    madt_add(buf, &(struct madt_override){MADT_OVERRIDE, sizeof(struct madt_override), 0,
                                          GUEST_SCI_IRQ, GUEST_SCI_IRQ, FLAGS_HIGH_LEVEL});
    madt_add(buf, &(struct madt_lapic_nmi){MADT_LAPIC_NMI, sizeof(struct madt_lapic_nmi),
                                           ALL_PROCESSORS, FLAGS_CONFORM, 1});
    return put_table(b, &m->header);
}

static uint64_t put_hpet(struct builder *b)
{
    struct hpet_table t;

    memset(&t, 0, sizeof(t));
    fill_header(&t.header, "HPET", 1, sizeof(t));
    t.block_id = HPET_BLOCK_ID;
    t.base = (struct address){.space = SPACE_MEMORY, .bit_width = 64, .address = GUEST_HPET_BASE};
    t.min_ticks = HPET_MIN_TICKS;
    return put_table(b, &t.header);
}

/* The lists of all tables: the RSDT has 32-bit addresses, for old systems, the XSDT 64-bit ones. */
static uint64_t put_rsdt(struct builder *b, const uint64_t tables[TABLES])
{
    struct {
        struct table_header header;
        uint32_t tables[TABLES];
    } __attribute__((packed)) rsdt;

    fill_header(&rsdt.header, "RSDT", 1, sizeof(rsdt));
    for (unsigned i = 0; i < TABLES; i++) {
        rsdt.tables[i] = (uint32_t)tables[i];
        note_pointer(b, b->at + sizeof(rsdt.header) + i * sizeof(rsdt.tables[0]),
                     sizeof(rsdt.tables[0]));
    }
    note_table(b, b->at, &rsdt.header);
    return put_table(b, &rsdt.header);
}

static uint64_t put_xsdt(struct builder *b, const uint64_t tables[TABLES])
{
    struct {
        struct table_header header;
        uint64_t tables[TABLES];
    } __attribute__((packed)) xsdt;

    fill_header(&xsdt.header, "XSDT", 1, sizeof(xsdt));
    for (unsigned i = 0; i < TABLES; i++) {
        xsdt.tables[i] = tables[i];
        note_pointer(b, b->at + sizeof(xsdt.header) + i * sizeof(xsdt.tables[0]),
                     sizeof(xsdt.tables[0]));
    }
    note_table(b, b->at, &xsdt.header);
    return put_table(b, &xsdt.header);
}

static void put_rsdp(struct builder *b, uint64_t rsdt, uint64_t xsdt)
{
    struct rsdp r;

    memset(&r, 0, sizeof(r));
    memcpy(r.signature, "RSD PTR ", sizeof(r.signature));
    memcpy(r.oem_id, OEM_ID, sizeof(r.oem_id));
    r.revision = 2;
    r.rsdt = (uint32_t)rsdt;
    r.length = sizeof(r);
    r.xsdt = xsdt;
    r.checksum = (uint8_t)-sum(&r, offsetof(struct rsdp, length));
    r.extended_checksum = (uint8_t)-sum(&r, sizeof(r));
    put(b, b->base, &r, sizeof(r));
    note_pointer(b, b->base + offsetof(struct rsdp, rsdt), sizeof(r.rsdt));
    note_pointer(b, b->base + offsetof(struct rsdp, xsdt), sizeof(r.xsdt));
    note_checksum(b, b->base + offsetof(struct rsdp, checksum), b->base,
                  offsetof(struct rsdp, length));
    note_checksum(b, b->base + offsetof(struct rsdp, extended_checksum), b->base, sizeof(r));
}

int guest_acpi_build_at(const struct guest_memory *memory, gpa_t base,
                        const struct guest_acpi_config *config, struct guest_acpi_fixups *fixups,
                        uint64_t *end)
{
    struct builder b = {
        .memory = memory, .base = base.v, .at = base.v + FIRST_TABLE_AT, .fixups = fixups};
    uint8_t com_mask = 0;
    uint64_t tables[TABLES];

    if (config->nr_vcpus == 0 || config->nr_vcpus > MACHINE_MAX_VCPUS)
        return E_INVAL;
    for (unsigned i = 0; i < ARRAY_SIZE(config->com); i++)
        com_mask = (uint8_t)(com_mask | config->com[i] << i);
    put_facs(&b);
    tables[0] = put_fadt(&b, config, put_dsdt(&b, com_mask));
    tables[1] = put_madt(&b, config->nr_vcpus);
    tables[2] = put_hpet(&b);
    put_rsdp(&b, put_rsdt(&b, tables), put_xsdt(&b, tables));
    *end = b.at;
    return b.failed || b.at > base.v + GUEST_ACPI_SIZE ? E_RANGE : 0;
}

int guest_acpi_build(const struct guest_memory *memory, const struct guest_acpi_config *config,
                     gpa_t *rsdp)
{
    uint64_t end;

    *rsdp = GPA(GUEST_ACPI_BASE);
    return guest_acpi_build_at(memory, *rsdp, config, NULL, &end);
}
