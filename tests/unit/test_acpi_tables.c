/*
 * The host's ACPI tables, good and damaged. machine/ is not built for the host as a whole, so the
 * file under test is included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include "machine/acpi_parse.c"
#include "tests/unit/random.h"

static struct random rnd = {1};

/* A table under construction. */
static struct {
    uint8_t bytes[1024];
    uint32_t n;
} t;

static void start(const char *signature, uint32_t fixed)
{
    memset(&t, 0, sizeof(t));
    memcpy(t.bytes, signature, 4);
    t.n = fixed;
}

static void add(const void *data, size_t n)
{
    memcpy(t.bytes + t.n, data, n);
    t.n += (uint32_t)n;
}

/* Parses a copy that is exactly as long as it says, so that ASan sees reads beyond it. */
static bool parse_as(struct acpi_info *a, uint32_t length,
                     bool (*parse)(struct acpi_info *, const struct acpi_header *))
{
    struct acpi_header *h = malloc(length);
    bool ok;

    memcpy(t.bytes + 4, &length, 4);
    memcpy(h, t.bytes, length);
    ok = parse(a, h);
    free(h);
    return ok;
}

static bool parse(struct acpi_info *a)
{
    return parse_as(a, t.n, acpi_parse_table);
}

static void build_madt(void)
{
    const struct madt_lapic cpus[] = {
        {MADT_LAPIC, 8, 0, 0, MADT_ENABLED},
        {MADT_LAPIC, 8, 1, 2, MADT_ENABLED},
        {MADT_LAPIC, 8, 2, 4, 0},
    };
    const struct madt_x2apic x2[] = {
        {MADT_X2APIC, 16, 0, 2, MADT_ENABLED, 1}, /* once more */
        {MADT_X2APIC, 16, 0, 0x120, MADT_ENABLED, 9},
    };
    const struct madt_ioapic io = {MADT_IOAPIC, 12, 8, 0, 0xfec00000, 0};
    const struct madt_override overrides[] = {
        {MADT_OVERRIDE, 10, 0, 0, 2, 0},
        {MADT_OVERRIDE, 10, 0, 9, 9, 0xf},  /* low, level */
        {MADT_OVERRIDE, 10, 0, 77, 9, 0xf}, /* no ISA IRQ */
    };
    const struct madt_lapic_nmi nmi = {MADT_LAPIC_NMI, 6, MADT_ALL_CPUS_8, 0, 1};
    const uint8_t unknown[] = {0x7f, 4, 1, 2};

    start("APIC", MADT_FIXED);
    add(cpus, sizeof(cpus));
    add(unknown, sizeof(unknown));
    add(x2, sizeof(x2));
    add(&io, sizeof(io));
    add(overrides, sizeof(overrides));
    add(&nmi, sizeof(nmi));
}

static void test_madt(void **state)
{
    struct acpi_info a;

    (void)state;
    acpi_parse_start(&a);
    build_madt();
    assert_true(parse(&a));
    assert_int_equal(a.nr_cpus, 3);
    assert_int_equal(a.cpus[1], 2);
    assert_int_equal(a.cpus[2], 0x120);
    assert_int_equal(a.processor_ids[2], 9);
    assert_int_equal(a.nr_ioapics, 1);
    assert_int_equal(a.ioapics[0].address.v, 0xfec00000);
    assert_int_equal(a.isa[0].gsi, 2);
    assert_int_equal(a.isa[4].gsi, 4);
    assert_true(a.isa[9].level && a.isa[9].active_low && !a.isa[0].level);
    assert_int_equal(a.nr_nmis, 1);
    assert_int_equal(a.nmis[0].processor, UINT32_MAX);
}

static void test_fadt(void **state)
{
    struct fadt f = {
        .dsdt = 0x1000,
        .smi_command = 0xb2,
        .acpi_enable = 0xf1,
        .pm1a_control = 0x604,
        .pm_timer = 0x608,
        .lengths = {[FADT_TIMER_LENGTH] = 4},
        .flags = FADT_HAS_RESET | FADT_TIMER_32BIT,
        .reset = {.space = ACPI_SPACE_IO, .address = 0xcf9},
        .reset_value = 6,
        .x_dsdt = 0x123456789,
        .x_pm1a_control = {.space = ACPI_SPACE_MEMORY, .address = 0xfe000004},
    };
    struct acpi_info a;

    (void)state;
    memcpy(f.header.signature, "FACP", 4);
    start("FACP", 0);
    add(&f, sizeof(f));
    acpi_parse_start(&a);
    assert_true(parse(&a));
    assert_int_equal(a.pm1a_control.address, 0xfe000004);
    assert_int_equal(a.pm1a_control.space, ACPI_SPACE_MEMORY);
    assert_int_equal(a.pm_timer.address, 0x608);
    assert_int_equal(a.reset.address, 0xcf9);
    assert_int_equal(a.dsdt.v, 0x123456789);

    /* One of ACPI 1.0 ends before the extended fields. */
    acpi_parse_start(&a);
    assert_true(parse_as(&a, FADT_MIN_SIZE, acpi_parse_table));
    assert_int_equal(a.pm1a_control.address, 0x604);
    assert_int_equal(a.reset.address, 0);
    assert_int_equal(a.dsdt.v, 0x1000);
    assert_false(parse_as(&a, FADT_MIN_SIZE - 1, acpi_parse_table));
}

static void test_s5(void **state)
{
    /* Name (_S4_, ...) as a decoy, then Name (\_S5_, Package () {5, 1, 0, 0}) */
    const uint8_t aml[] = {AML_NAME,    '_', 'S',      '4',      '_', AML_PACKAGE, 4,   1,
                           0x0a,        7,   AML_NAME, AML_ROOT, '_', 'S',         '5', '_',
                           AML_PACKAGE, 8,   4,        0x0a,     5,   AML_ONE,     0,   0};
    struct acpi_info a;

    (void)state;
    acpi_parse_start(&a);
    start("DSDT", sizeof(struct acpi_header));
    add(aml, sizeof(aml));
    assert_true(parse_as(&a, t.n, acpi_parse_s5));
    assert_true(a.has_s5);
    assert_int_equal(a.s5_type_a, 5);
    assert_int_equal(a.s5_type_b, 1);
    /* Cut off anywhere before the two values, it is not found, and nothing beyond is read. */
    for (uint32_t n = sizeof(struct acpi_header); n < t.n - 2; n++) {
        acpi_parse_start(&a);
        assert_false(parse_as(&a, n, acpi_parse_s5));
    }
}

static void test_hpet_mcfg(void **state)
{
    struct hpet_table h = {.base = {.address = 0xfed00000}};
    const struct mcfg_entry entries[] = {{0xb0000000, 0, 0, 255, 0}, {0, 0, 9, 3, 0}};
    struct acpi_info a;

    (void)state;
    acpi_parse_start(&a);
    memcpy(h.header.signature, "HPET", 4);
    start("HPET", 0);
    add(&h, sizeof(h));
    assert_true(parse(&a));
    assert_int_equal(a.hpet.v, 0xfed00000);
    start("MCFG", MCFG_FIXED);
    add(entries, sizeof(entries));
    assert_true(parse(&a));
    assert_int_equal(a.nr_ecams, 1);
    assert_int_equal(a.ecams[0].bus_last, 255);
}

static void test_damaged(void **state)
{
    struct acpi_info a;
    unsigned refused = 0;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        build_madt();
        for (unsigned i = random_below(&rnd, 6); i > 0; i--)
            t.bytes[MADT_FIXED + random_below(&rnd, t.n - MADT_FIXED)] = (uint8_t)random_next(&rnd);
        t.n -= random_below(&rnd, t.n - (uint32_t)sizeof(struct acpi_header));
        acpi_parse_start(&a);
        refused += !parse(&a);
        assert_true(a.nr_cpus <= ACPI_MAX_CPUS && a.nr_ioapics <= ACPI_MAX_IOAPICS);
    }
    assert_true(refused > 0);
}

static void test_rsdp(void **state)
{
    struct acpi_rsdp r = {.signature = "RSD PTR", .rsdt = 0x1234};
    uint8_t sum = 0;

    (void)state;
    r.signature[7] = ' ';
    assert_false(acpi_rsdp_valid(&r, sizeof(r)));
    for (unsigned i = 0; i < ACPI_RSDP_V1_SIZE; i++)
        sum = (uint8_t)(sum + ((uint8_t *)&r)[i]);
    r.checksum = (uint8_t)-sum;
    assert_true(acpi_rsdp_valid(&r, ACPI_RSDP_V1_SIZE));
    assert_false(acpi_rsdp_valid(&r, ACPI_RSDP_V1_SIZE - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_madt),    cmocka_unit_test(test_fadt),
        cmocka_unit_test(test_s5),      cmocka_unit_test(test_hpet_mcfg),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_rsdp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
