#include "vm/firmware_files.h"

#include "devices/machine.h"
#include "lib/checked.h"
#include "lib/format.h"
#include "lib/string.h"
#include "vm/load.h"

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE   "etc/acpi/rsdp"

/* Commands of the script, and where it can put a file. */
enum {
    STEP_ALLOCATE = 1,
    STEP_ADD_POINTER = 2,
    STEP_ADD_CHECKSUM = 3,
};
enum {
    ZONE_HIGH = 1,
    ZONE_F_SEGMENT = 2, /* where the RSDP is searched for */
};
#define TABLES_ALIGN 64 /* the FACS wants so much */
#define RSDP_ALIGN   16

#define E820_RAM 1

static void add_file(struct firmware_files *f, const char *name, const void *data, uint64_t size)
{
    f->file[f->count++] =
        (struct firmware_file){.name = name, .data = data, .size = (uint32_t)size};
}

/* ------------------------------------------------------------------ ACPI */

/* The tables are built at address 0, so that every address in them is an offset. */
static bool tables_write(void *opaque, gpa_t to, const void *from, size_t n)
{
    struct firmware_files *f = opaque;

    if (!checked_range(to.v, n, sizeof(f->tables)))
        return false;
    memcpy(f->tables + to.v, from, n);
    return true;
}

static bool tables_read(void *opaque, gpa_t from, void *to, size_t n)
{
    const struct firmware_files *f = opaque;

    if (!checked_range(from.v, n, sizeof(f->tables)))
        return false;
    memcpy(to, f->tables + from.v, n);
    return true;
}

static struct firmware_step *add_step(struct firmware_files *f, uint32_t command)
{
    struct firmware_step *s = &f->step[f->nr_steps++];

    s->command = command;
    return s;
}

static void add_allocation(struct firmware_files *f, const char *file, uint32_t align, uint8_t zone)
{
    struct firmware_step *s = add_step(f, STEP_ALLOCATE);

    string_copy(s->allocate.file, sizeof(s->allocate.file), file);
    s->allocate.align = align;
    s->allocate.zone = zone;
}

static const char *file_of(const struct guest_acpi_fixup *fixup)
{
    return fixup->offset < GUEST_ACPI_RSDP_ROOM ? RSDP_FILE : TABLES_FILE;
}

/* All addresses are of tables. */
static void add_fixup(struct firmware_files *f, const struct guest_acpi_fixup *fixup)
{
    struct firmware_step *s = add_step(f, fixup->checksum ? STEP_ADD_CHECKSUM : STEP_ADD_POINTER);

    if (fixup->checksum) {
        string_copy(s->checksum.file, sizeof(s->checksum.file), file_of(fixup));
        s->checksum.offset = fixup->offset;
        s->checksum.start = fixup->start;
        s->checksum.length = fixup->length;
    } else {
        string_copy(s->pointer.file, sizeof(s->pointer.file), file_of(fixup));
        string_copy(s->pointer.target, sizeof(s->pointer.target), TABLES_FILE);
        s->pointer.offset = fixup->offset;
        s->pointer.size = fixup->size;
    }
}

static int add_acpi(struct firmware_files *f, const struct guest_acpi_config *config)
{
    const struct guest_memory memory = {tables_write, tables_read, f, sizeof(f->tables)};
    struct guest_acpi_fixups fixups = {.count = 0};
    uint64_t end;
    int err = guest_acpi_build_at(&memory, GPA(0), config, &fixups, &end);

    if (err != 0)
        return err;
    memcpy(f->rsdp, f->tables, sizeof(f->rsdp));
    memset(f->tables, 0, GUEST_ACPI_RSDP_ROOM);
    add_allocation(f, TABLES_FILE, TABLES_ALIGN, ZONE_HIGH);
    add_allocation(f, RSDP_FILE, RSDP_ALIGN, ZONE_F_SEGMENT);
    for (unsigned i = 0; i < fixups.count; i++)
        add_fixup(f, &fixups.fixup[i]);
    add_file(f, TABLES_FILE, f->tables, MIN(end, sizeof(f->tables)));
    add_file(f, RSDP_FILE, f->rsdp, sizeof(f->rsdp));
    add_file(f, "etc/table-loader", f->step, f->nr_steps * sizeof(f->step[0]));
    return 0;
}

/* ------------------------------------------------------------------ the rest */

/* RAM below and above 4 GiB; what is special below 1 MiB the firmware knows. */
static void add_e820(struct firmware_files *f, uint64_t ram_bytes)
{
    uint64_t low = guest_low_ram_end(ram_bytes), all = ALIGN_DOWN(ram_bytes, PAGE_SIZE);
    unsigned n = 0;

    f->e820[n++] = (struct firmware_e820){0, low, E820_RAM};
    if (all > low)
        f->e820[n++] = (struct firmware_e820){GUEST_RAM_ABOVE_4G, all - low, E820_RAM};
    add_file(f, "etc/e820", f->e820, n * sizeof(f->e820[0]));
}

uint32_t firmware_floppy_size(uint64_t size)
{
    static const uint16_t kib[] = {160, 180, 320, 360, 720, 1200, 1440, 2880};

    for (unsigned i = 0; i < ARRAY_SIZE(kib); i++)
        if (size != 0 && size <= KIB(kib[i]))
            return (uint32_t)KIB(kib[i]);
    return 0;
}

/*
 * SeaBIOS keeps the floppy's image in RAM: what is written is lost with the VM. It takes images of
 * whole floppies only, so that a shorter one is padded.
 */
static void add_floppy(struct firmware_files *f, const struct disk_image *floppy)
{
    uint32_t capacity = firmware_floppy_size(floppy->size);

    if (capacity == 0)
        return;
    (void)format_text(f->floppy_name, sizeof(f->floppy_name), "floppyimg/%s", floppy->name);
    add_file(f, f->floppy_name, floppy->data, floppy->size);
    f->file[f->count - 1].padded = capacity;
}

int firmware_files_build(struct firmware_files *f, const struct firmware_request *r)
{
    int err = 0;

    if (r->vgabios.size > UINT32_MAX)
        return E_RANGE;
    add_e820(f, r->ram_bytes);
    if (r->floppy.data != NULL)
        add_floppy(f, &r->floppy);
    /* The name says for which PCI device it is (devices/vga.c). */
    if (r->vgabios.data != NULL)
        add_file(f, "pci1234,1111.rom", r->vgabios.data, r->vgabios.size);
    if (r->acpi != NULL)
        err = add_acpi(f, r->acpi);
    return err;
}
