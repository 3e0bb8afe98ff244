/* vm/guest_acpi: every table's checksum and links, then what iasl makes of them. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices/hpet.h"
#include "devices/machine.h"
#include "tests/unit/guest_ram.h"
#include "vm/guest_acpi.h"

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}
static uint64_t get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t total = 0;

    while (n-- > 0)
        total = (uint8_t)(total + *p++);
    return total;
}

/* A table at a guest address: within the area, with the signature and checksum that it must have.
 */
static const uint8_t *table(const struct guest_ram *g, uint64_t at, const char *signature)
{
    const uint8_t *t = g->bytes + at;

    assert_in_range(at, GUEST_ACPI_BASE, GUEST_ACPI_BASE + GUEST_ACPI_SIZE - 36);
    assert_memory_equal(t, signature, 4);
    assert_true(at + get32(t + 4) <= GUEST_ACPI_BASE + GUEST_ACPI_SIZE);
    assert_int_equal(sum(t, get32(t + 4)), 0);
    return t;
}

struct tables {
    struct guest_ram ram;
    const uint8_t *rsdp, *xsdt, *rsdt, *fadt, *madt, *hpet, *dsdt, *facs;
};

static void build(struct tables *t, const struct guest_acpi_config *config)
{
    gpa_t rsdp;

    guest_ram_init(&t->ram, MIB(2), MIB(2));
    assert_int_equal(guest_acpi_build(&t->ram.memory, config, &rsdp), 0);
    t->rsdp = t->ram.bytes + rsdp.v;
    assert_int_equal(rsdp.v % 16, 0);
    assert_memory_equal(t->rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(t->rsdp, 20), 0);
    assert_int_equal(sum(t->rsdp, 36), 0);
    t->rsdt = table(&t->ram, get32(t->rsdp + 16), "RSDT");
    t->xsdt = table(&t->ram, get64(t->rsdp + 24), "XSDT");
    assert_int_equal(get32(t->xsdt + 4), 36 + 3 * 8);
    t->fadt = table(&t->ram, get64(t->xsdt + 36), "FACP");
    t->madt = table(&t->ram, get64(t->xsdt + 44), "APIC");
    assert_int_equal(get32(t->rsdt + 36), get64(t->xsdt + 36));
    assert_int_equal(get32(t->rsdt + 40), get64(t->xsdt + 44));
    t->hpet = table(&t->ram, get64(t->xsdt + 52), "HPET");
    assert_int_equal(get32(t->rsdt + 44), get64(t->xsdt + 52));
    t->dsdt = table(&t->ram, get64(t->fadt + 140), "DSDT");
    assert_int_equal(get32(t->fadt + 40), get64(t->fadt + 140));
    t->facs = t->ram.bytes + get32(t->fadt + 36);
    assert_memory_equal(t->facs, "FACS", 4);
    assert_int_equal(get32(t->fadt + 36) % 64, 0);
}

/* Offsets are those of ACPI 6.4 table 5.9. */
static void test_fadt(void **state)
{
    struct tables t;

    (void)state;
    build(&t, &(struct guest_acpi_config){.nr_vcpus = 1, .com = {true}});
    assert_int_equal(get32(t.fadt + 4), 276);
    assert_int_equal(t.fadt[8], 6);
    assert_int_equal(t.fadt[46], 9);         /* SCI_INT */
    assert_int_equal(get32(t.fadt + 48), 0); /* SMI_CMD */
    assert_int_equal(get32(t.fadt + 56), 0x600);
    assert_int_equal(get32(t.fadt + 64), 0x604);
    assert_int_equal(get32(t.fadt + 76), 0x608);
    assert_int_equal(t.fadt[88], 4);
    assert_int_equal(t.fadt[89], 2);
    assert_int_equal(t.fadt[91], 4);
    assert_int_equal(t.fadt[108], 0x32);
    assert_int_equal(t.fadt[109], 7); /* legacy devices, 8042, no VGA */
    assert_true(get32(t.fadt + 112) & BIT(10));
    assert_int_equal(t.fadt[116], 1);
    assert_int_equal(get64(t.fadt + 120), 0xcf9);
    assert_int_equal(t.fadt[128], 6);
    assert_int_equal(get64(t.fadt + 132), 0);
    assert_int_equal(get64(t.fadt + 152), 0x600);
    assert_int_equal(get64(t.fadt + 176), 0x604);
    assert_int_equal(get64(t.fadt + 212), 0x608);
    guest_ram_free(&t.ram);
    build(&t, &(struct guest_acpi_config){.nr_vcpus = 1, .vga = true});
    assert_int_equal(t.fadt[109], 3);
    guest_ram_free(&t.ram);
}

static void test_madt(void **state)
{
    unsigned lapics = 0, overrides = 0, ioapics = 0, nmis = 0, end;
    struct tables t;

    (void)state;
    build(&t, &(struct guest_acpi_config){.nr_vcpus = MACHINE_MAX_VCPUS});
    assert_int_equal(get32(t.madt + 36), GUEST_LAPIC_BASE);
    assert_int_equal(get32(t.madt + 40), 1);
    end = get32(t.madt + 4);
    for (unsigned at = 44; at < end; at += t.madt[at + 1]) {
        const uint8_t *e = t.madt + at;

        assert_true(e[1] != 0 && at + e[1] <= end);
        switch (e[0]) {
        case 0:
            assert_int_equal(e[3], lapics++);
            assert_int_equal(get32(e + 4), 1);
            break;
        case 1:
            ioapics++;
            assert_int_equal(get32(e + 4), GUEST_IOAPIC_BASE);
            assert_int_equal(get32(e + 8), 0);
            break;
        case 2:
            overrides++;
            assert_int_equal(get32(e + 4), e[3] == 0 ? 2 : 9);
            assert_int_equal(e[8], e[3] == 0 ? 0 : 0xd);
            break;
        case 4:
            nmis++;
            assert_int_equal(e[2], 0xff);
            assert_int_equal(e[5], 1);
            break;
        default:
            fail();
        }
    }
    assert_int_equal(lapics, MACHINE_MAX_VCPUS);
    assert_int_equal(ioapics, 1);
    assert_int_equal(overrides, 2);
    assert_int_equal(nmis, 1);
    guest_ram_free(&t.ram);
}

/* Offsets are those of the HPET specification 1.0a, table 3. */
static void test_hpet(void **state)
{
    struct tables t;

    (void)state;
    build(&t, &(struct guest_acpi_config){.nr_vcpus = 1});
    assert_int_equal(get32(t.hpet + 4), 56);
    assert_int_equal(get32(t.hpet + 36), 0x8086a201);
    assert_int_equal(t.hpet[40], 0);
    assert_int_equal(get64(t.hpet + 44), 0xfed00000);
    assert_int_equal(t.hpet[52], 0);
    assert_int_equal(t.hpet[53] | t.hpet[54] << 8, HPET_MIN_TICKS);
    guest_ram_free(&t.ram);
}

/* COMS in the DSDT's disassembly tells which serial ports there are. */
static void test_dsdt_coms(void **state)
{
    static const uint8_t name[] = {0x08, 'C', 'O', 'M', 'S', 0x0a};
    struct tables t;

    (void)state;
    build(&t, &(struct guest_acpi_config){.nr_vcpus = 2, .com = {true, false, true, false}});
    const uint8_t *found = memmem(t.dsdt, get32(t.dsdt + 4), name, sizeof(name));
    assert_non_null(found);
    assert_int_equal(found[sizeof(name)], 5);
    guest_ram_free(&t.ram);
}

/* Writes a table to a file and has iasl disassemble it; what it says must hold no complaint. */
static void disassemble(const char *dir, const char *name, const uint8_t *t, const char *expect)
{
    char path[200], line[600];
    bool found = false;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(t, 1, get32(t + 4), f), get32(t + 4));
    assert_int_equal(fclose(f), 0);
    snprintf(line, sizeof(line), "cd %s && iasl -vs -d %s.aml > %s.log 2>&1", dir, name, name);
    assert_int_equal(system(line), 0);
    snprintf(line, sizeof(line), "grep -iE 'error|warning|invalid|incorrect' %s/%s.log %s/%s.dsl",
             dir, name, dir, name);
    assert_int_not_equal(system(line), 0);
    snprintf(path, sizeof(path), "%s/%s.dsl", dir, name);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL)
        found |= strstr(line, expect) != NULL;
    assert_true(found);
    assert_int_equal(fclose(f), 0);
}

/* Runs methods of the DSDT in dir with ACPICA's interpreter; its output must have a line. */
static void execute(const char *dir, const char *commands, const char *expect)
{
    char line[400];
    bool found = false;
    FILE *f;

    snprintf(line, sizeof(line), "cd %s && timeout 20 acpiexec -b '%s' dsdt.aml 2>&1", dir,
             commands);
    f = popen(line, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        found |= strstr(line, expect) != NULL;
        assert_null(strstr(line, "Exception"));
    }
    assert_int_equal(pclose(f), 0);
    assert_true(found);
}

static void test_iasl(void **state)
{
    char dir[] = "/tmp/tithe-acpi-XXXXXX", command[100];
    struct tables t;

    (void)state;
    assert_non_null(mkdtemp(dir));
    build(&t, &(struct guest_acpi_config){.nr_vcpus = 3, .com = {true}});
    disassemble(dir, "dsdt", t.dsdt, "Name (COMS, 0x01)");
    disassemble(dir, "fadt", t.fadt, "Reset Register");
    disassemble(dir, "madt", t.madt, "Local Apic ID : 02");
    disassemble(dir, "hpet", t.hpet, "Hardware Block ID : 8086A201");
    disassemble(dir, "xsdt", t.xsdt, "ACPI Table Address   1");
    disassemble(dir, "rsdt", t.rsdt, "ACPI Table Address   1");
    execute(dir, "execute \\_SB.PCI0._PRT", "Contains 128 Elements");
    execute(dir, "execute \\_SB.PCI0._PRT", "[Integer] = 000000000000000B"); /* with the PICs */
    execute(dir, "execute \\_PIC 1;execute \\_SB.PCI0._PRT", "[Integer] = 0000000000000013");
    execute(dir, "execute \\_SB.PCI0.COM1._STA", "[Integer] = 000000000000000F");
    execute(dir, "execute \\_SB.PCI0.COM2._STA", "[Integer] = 0000000000000000");
    /* What was disassembled compiles again. */
    snprintf(command, sizeof(command), "cd %s && iasl -vs -we dsdt.dsl > again.log 2>&1", dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    guest_ram_free(&t.ram);
}

static void test_errors(void **state)
{
    struct guest_ram g;
    gpa_t rsdp;

    (void)state;
    guest_ram_init(&g, MIB(2), MIB(2));
    assert_int_equal(guest_acpi_build(&g.memory, &(struct guest_acpi_config){.nr_vcpus = 0}, &rsdp),
                     E_INVAL);
    assert_int_equal(
        guest_acpi_build(&g.memory, &(struct guest_acpi_config){.nr_vcpus = 17}, &rsdp), E_INVAL);
    guest_ram_free(&g);
    guest_ram_init(&g, MIB(2), 0xe0100);
    assert_int_equal(guest_acpi_build(&g.memory, &(struct guest_acpi_config){.nr_vcpus = 1}, &rsdp),
                     E_RANGE);
    guest_ram_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fadt),      cmocka_unit_test(test_madt),
        cmocka_unit_test(test_hpet),      cmocka_unit_test(test_iasl),
        cmocka_unit_test(test_dsdt_coms), cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
