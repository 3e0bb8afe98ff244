#include "power.h"
#include "x86.h"
#include "lib/string.h"

#define SLP_EN        0x2000
#define SLP_TYP_SHIFT 10

/* Offsets in the FADT (ACPI 6.4 table 5.9). */
#define FADT_DSDT        40
#define FADT_PM1A_CNT    64
#define FADT_PM1B_CNT    68
#define FADT_PM_TIMER    76
#define FADT_FLAGS       112
#define FADT_RESET       116
#define FADT_RESET_VALUE 128
#define FADT_TMR_VAL_EXT BIT(8)
#define FADT_RESET_SUP   BIT(10)
#define TABLE_LENGTH     4
#define TABLE_HEADER     36
#define RSDP_RSDT        16

static uint32_t field32(const uint8_t *table, unsigned offset)
{
    uint32_t v;

    memcpy(&v, table + offset, sizeof(v));
    return v;
}

static const uint8_t *scan_rsdp(uint64_t from, uint64_t to)
{
    for (uint64_t p = from; p < to; p += 16)
        if (memcmp((const void *)p, "RSD PTR ", 8) == 0)
            return (const uint8_t *)p;
    return NULL;
}

static const uint8_t *find_rsdp(void)
{
    const uint8_t *ebda = (const uint8_t *)0x40e; /* its segment, BIOS data area */
    uint64_t start = (uint64_t)(ebda[0] | ebda[1] << 8) << 4;
    const uint8_t *found =
        start >= 0x80000 && start < 0xa0000 ? scan_rsdp(start, start + 1024) : NULL;

    return found != NULL ? found : scan_rsdp(0xe0000, 0x100000);
}

static const uint8_t *find_table(const char *signature)
{
    const uint8_t *rsdp = find_rsdp(), *rsdt;

    if (rsdp == NULL)
        return NULL;
    rsdt = (const uint8_t *)(uint64_t)field32(rsdp, RSDP_RSDT);
    for (uint32_t i = TABLE_HEADER; i + 4 <= field32(rsdt, TABLE_LENGTH); i += 4) {
        const uint8_t *t = (const uint8_t *)(uint64_t)field32(rsdt, i);

        if (memcmp(t, signature, 4) == 0)
            return t;
    }
    return NULL;
}

/*
 * The first number of the package \_S5: NameOp, name, PackageOp, length, count, number (a byte
 * with or without its prefix 0Ah). Good enough for tables that do not compute it.
 */
static uint8_t find_sleep_type(const uint8_t *dsdt)
{
    uint32_t length = field32(dsdt, TABLE_LENGTH);

    for (uint32_t i = TABLE_HEADER; i + 12 < length; i++) {
        const uint8_t *p = dsdt + i;

        if (memcmp(p, "_S5_", 4) != 0 || p[4] != 0x12)
            continue;
        p += 6 + (p[5] >> 6) + 1; /* the package's length has 1 to 4 bytes; then the count */
        return *p == 0x0a ? p[1] : *p & 7;
    }
    return 0;
}

bool power_find_acpi(struct power_acpi *acpi)
{
    const uint8_t *fadt = find_table("FACP");
    uint32_t length;

    memset(acpi, 0, sizeof(*acpi));
    acpi->reset_space = 0xff;
    if (fadt == NULL)
        return false;
    length = field32(fadt, TABLE_LENGTH);
    acpi->pm1a_control = (uint16_t)field32(fadt, FADT_PM1A_CNT);
    acpi->pm1b_control = (uint16_t)field32(fadt, FADT_PM1B_CNT);
    acpi->pm_timer = (uint16_t)field32(fadt, FADT_PM_TIMER);
    acpi->timer_32bit = field32(fadt, FADT_FLAGS) & FADT_TMR_VAL_EXT;
    acpi->sleep_type = find_sleep_type((const uint8_t *)(uint64_t)field32(fadt, FADT_DSDT));
    if (length > FADT_RESET_VALUE && field32(fadt, FADT_FLAGS) & FADT_RESET_SUP) {
        acpi->reset_space = fadt[FADT_RESET];
        memcpy(&acpi->reset_address, fadt + FADT_RESET + 4, sizeof(acpi->reset_address));
        acpi->reset_value = fadt[FADT_RESET_VALUE];
    }
    return true;
}

/* Bochs' and QEMU's own switches, for machines without tables. */
static void off_without_tables(void)
{
    static const char word[] = "Shutdown";

    out16(0x604, SLP_EN);
    out16(0xb004, SLP_EN);
    for (const char *p = word; *p != '\0'; p++)
        out8(0x8900, (uint8_t)*p);
}

void power_off(void)
{
    struct power_acpi acpi;

    if (power_find_acpi(&acpi) && acpi.pm1a_control != 0)
        out16(acpi.pm1a_control, (uint16_t)(acpi.sleep_type << SLP_TYP_SHIFT | SLP_EN));
    off_without_tables();
    while (true)
        asm volatile("cli; hlt");
}
