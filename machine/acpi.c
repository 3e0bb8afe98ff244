/* Finding the ACPI tables in memory. Reading them is machine/acpi_parse.c. */
#include "lib/log.h"
#include "lib/string.h"
#include "machine/acpi.h"
#include "machine/bootinfo.h"
#include "machine/paging.h"

#define BDA_EBDA_SEGMENT 0x40e
#define EBDA_SEARCH      KIB(1)
#define ROM_START        0xe0000
#define ROM_END          0x100000
#define RSDP_ALIGN       16
#define MAX_TABLE        MIB(16)
#define MAX_TABLES       256

static struct acpi_info info;
static bool present;

const struct acpi_info *acpi_info(void)
{
    return &info;
}

bool acpi_present(void)
{
    return present;
}

static const struct acpi_rsdp *search(uint64_t start, uint64_t end)
{
    const char *p = paging_map_firmware(HPA(start), end - start);

    for (uint64_t at = 0; at + ACPI_RSDP_V1_SIZE <= end - start; at += RSDP_ALIGN)
        if (acpi_rsdp_valid((const struct acpi_rsdp *)(p + at), end - start - at))
            return (const struct acpi_rsdp *)(p + at);
    return NULL;
}

/* Where a BIOS puts it: the first KiB of the EBDA, or the ROM area (ACPI 6.5, 5.2.5.1). */
static const struct acpi_rsdp *search_bios(void)
{
    uint64_t ebda;
    uint16_t segment;

    memcpy(&segment, paging_map_firmware(HPA(BDA_EBDA_SEGMENT), 2), 2);
    ebda = (uint64_t)segment << 4;
    if (ebda >= 0x400 && ebda < 0xa0000) {
        const struct acpi_rsdp *r = search(ebda, ebda + EBDA_SEARCH);

        if (r != NULL)
            return r;
    }
    return search(ROM_START, ROM_END);
}

static const struct acpi_rsdp *find_rsdp(void)
{
    const struct bootinfo *b = bootinfo();

    if (b->rsdp_length > 0) {
        const struct acpi_rsdp *r = (const struct acpi_rsdp *)b->rsdp_copy;

        if (acpi_rsdp_valid(r, b->rsdp_length))
            return r;
        log_line("acpi: the loader's RSDP is damaged");
    }
    return b->efi ? NULL : search_bios();
}

/* Maps a table and checks it; NULL with a line about it when it is not usable. */
static const struct acpi_header *map_table(uint64_t address)
{
    const struct acpi_header *h;

    if (address == 0 || address >= BIT(46))
        return NULL;
    h = paging_map_firmware(HPA(address), sizeof(*h));
    if (h->length < sizeof(*h) || h->length > MAX_TABLE) {
        log_line("acpi: the table at %#lx has a length of %u", address, h->length);
        return NULL;
    }
    paging_map_firmware(HPA(address), h->length);
    if (!acpi_checksum(h, h->length)) {
        log_line("acpi: the %.4s table at %#lx has a wrong checksum", h->signature, address);
        return NULL;
    }
    return h;
}

static void read_table(uint64_t address)
{
    const struct acpi_header *h = map_table(address);

    if (h == NULL)
        return;
    if (!acpi_parse_table(&info, h))
        log_line("acpi: the %.4s table at %#lx is damaged", h->signature, address);
}

/* RSDT or XSDT: addresses of 4 or 8 bytes behind the header. */
static void read_root(const struct acpi_header *root, size_t entry_size)
{
    const char *p = (const char *)(root + 1);
    size_t n = (root->length - sizeof(*root)) / entry_size;

    for (size_t i = 0; i < MIN(n, (size_t)MAX_TABLES); i++) {
        uint64_t address = 0;

        memcpy(&address, p + i * entry_size, entry_size);
        read_table(address);
    }
}

static const struct acpi_header *find_root(const struct acpi_rsdp *r, size_t *entry_size)
{
    const struct acpi_header *root;

    *entry_size = 8;
    if (r->revision >= 2 && (root = map_table(r->xsdt)) != NULL)
        return root;
    *entry_size = 4;
    return map_table(r->rsdt);
}

void acpi_init(void)
{
    const struct acpi_rsdp *rsdp;
    const struct acpi_header *root, *dsdt;
    size_t entry_size;

    acpi_parse_start(&info);
    rsdp = find_rsdp();
    if (rsdp == NULL || (root = find_root(rsdp, &entry_size)) == NULL) {
        log_line("acpi: no tables");
        return;
    }
    present = true;
    read_root(root, entry_size);
    if (!info.has_fadt)
        return;
    dsdt = map_table(info.dsdt.v);
    if (dsdt == NULL || !acpi_parse_s5(&info, dsdt))
        log_line("acpi: no way to power off is described");
}
