/* vm/firmware_files: what firmware finds, and that its script puts the ACPI tables right. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vm/firmware_files.h"

static const uint8_t image[] = {1, 2, 3};

static const struct firmware_file *find(const struct firmware_files *f, const char *name)
{
    for (unsigned i = 0; i < f->count; i++)
        if (strcmp(f->file[i].name, name) == 0)
            return &f->file[i];
    return NULL;
}

static struct firmware_files *build(const struct firmware_request *r)
{
    struct firmware_files *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(firmware_files_build(f, r), 0);
    return f;
}

static void test_e820(void **state)
{
    struct firmware_files *f = build(&(struct firmware_request){.ram_bytes = MIB(64)});
    const struct firmware_file *e820 = find(f, "etc/e820");

    (void)state;
    assert_int_equal(f->count, 1);
    assert_int_equal(e820->size, 20);
    assert_memory_equal(e820->data, "\0\0\0\0\0\0\0\0\0\0\0\4\0\0\0\0\1\0\0\0", 20);
    free(f);
    f = build(&(struct firmware_request){.ram_bytes = GIB(5)});
    e820 = find(f, "etc/e820");
    assert_int_equal(e820->size, 40);
    assert_int_equal(f->e820[0].size, GIB(3));
    assert_int_equal(f->e820[1].start, GIB(4));
    assert_int_equal(f->e820[1].size, GIB(2));
    free(f);
}

static void test_images(void **state)
{
    static const char long_name[] = "a-name-of-an-image-that-is-longer-than-what-fits-there.img";
    struct firmware_request r = {
        .ram_bytes = MIB(64),
        .floppy = {.data = image, .size = 3, .name = "dos.img"},
        .vgabios = {.data = image, .size = 2, .name = "vga.bin"},
    };
    struct firmware_files *f = build(&r);

    (void)state;
    assert_ptr_equal(find(f, "floppyimg/dos.img")->data, image);
    assert_int_equal(find(f, "floppyimg/dos.img")->size, 3);
    assert_int_equal(find(f, "floppyimg/dos.img")->padded, 160 * 1024);
    assert_int_equal(find(f, "pci1234,1111.rom")->size, 2);
    assert_null(find(f, "etc/table-loader"));
    free(f);
    r.floppy.name = long_name;
    f = build(&r);
    assert_int_equal(strlen(f->floppy_name), FW_CFG_NAME_MAX - 1);
    free(f);
    r.floppy.size = GIB(4);
    f = build(&r);
    assert_int_equal(f->count, 2); /* left out */
    free(f);
    r.vgabios.size = GIB(4);
    f = calloc(1, sizeof(*f));
    assert_int_equal(firmware_files_build(f, &r), E_RANGE);
    free(f);
    assert_int_equal(firmware_floppy_size(0), 0);
    assert_int_equal(firmware_floppy_size(1440 * 1024), 1440 * 1024);
    assert_int_equal(firmware_floppy_size(1440 * 1024 + 1), 2880 * 1024);
    assert_int_equal(firmware_floppy_size(2880 * 1024 + 1), 0);
}

/* ------------------------------------------------------------------ the script */

/* Files as firmware has loaded them; addresses are made up. */
struct loaded {
    const char *name;
    uint8_t *data;
    uint32_t size;
    uint64_t address;
};

static struct loaded loaded[2];

static struct loaded *where(const char *name)
{
    for (unsigned i = 0; i < 2; i++)
        if (loaded[i].name != NULL && strcmp(loaded[i].name, name) == 0)
            return &loaded[i];
    fail_msg("%s was not allocated", name);
    return NULL;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t total = 0;

    while (n-- > 0)
        total = (uint8_t)(total + *p++);
    return total;
}

static void allocate(const struct firmware_files *f, const struct firmware_step *s, unsigned n)
{
    const struct firmware_file *file = find(f, s->allocate.file);
    uint64_t address = s->allocate.zone == 2 ? 0xf5a00 : 0x1ffe000;

    assert_true(n < 2);
    assert_non_null(file);
    assert_in_range(s->allocate.zone, 1, 2);
    assert_int_equal(address % s->allocate.align, 0);
    loaded[n] = (struct loaded){s->allocate.file, malloc(file->size), file->size, address};
    memcpy(loaded[n].data, file->data, file->size);
}

static void add_pointer(const struct firmware_step *s)
{
    struct loaded *in = where(s->pointer.file);
    uint64_t v = 0;

    assert_true(s->pointer.offset + s->pointer.size <= in->size);
    memcpy(&v, in->data + s->pointer.offset, s->pointer.size);
    assert_true(v < where(s->pointer.target)->size);
    v += where(s->pointer.target)->address;
    memcpy(in->data + s->pointer.offset, &v, s->pointer.size);
}

static void add_checksum(const struct firmware_step *s)
{
    struct loaded *in = where(s->checksum.file);

    assert_true(s->checksum.offset < in->size);
    assert_true(s->checksum.start + s->checksum.length <= in->size);
    in->data[s->checksum.offset] = (uint8_t)(in->data[s->checksum.offset] -
                                             sum(in->data + s->checksum.start, s->checksum.length));
}

static const uint8_t *at(uint64_t address, const char *signature)
{
    for (unsigned i = 0; i < 2; i++)
        if (address - loaded[i].address < loaded[i].size) {
            const uint8_t *t = loaded[i].data + (address - loaded[i].address);
            uint32_t length;

            assert_memory_equal(t, signature, 4);
            memcpy(&length, t + 4, 4);
            if (strcmp(signature, "FACS") != 0 && strcmp(signature, "RSD ") != 0)
                assert_int_equal(sum(t, length), 0);
            return t;
        }
    fail_msg("0x%lx is nowhere", (unsigned long)address);
    return NULL;
}

static uint64_t get(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size);
    return v;
}

/* Follows every address from the RSDP on, in both lists. */
static void check_tables(void)
{
    const uint8_t *rsdp = where("etc/acpi/rsdp")->data, *xsdt, *rsdt, *fadt;

    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(where("etc/acpi/rsdp")->size, 36);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    rsdt = at(get(rsdp + 16, 4), "RSDT");
    xsdt = at(get(rsdp + 24, 8), "XSDT");
    fadt = at(get(xsdt + 36, 8), "FACP");
    assert_int_equal(get(rsdt + 36, 4), get(xsdt + 36, 8));
    at(get(xsdt + 44, 8), "APIC");
    at(get(rsdt + 40, 4), "APIC");
    at(get(xsdt + 52, 8), "HPET");
    at(get(rsdt + 44, 4), "HPET");
    at(get(fadt + 40, 4), "DSDT");
    at(get(fadt + 140, 8), "DSDT");
    at(get(fadt + 36, 4), "FACS");
    assert_int_equal(get(fadt + 36, 4) % 64, 0);
    assert_int_equal(get(fadt + 132, 8), 0);
}

static void test_script(void **state)
{
    const struct guest_acpi_config acpi = {.nr_vcpus = 16, .com = {true, false, true}};
    struct firmware_files *f =
        build(&(struct firmware_request){.ram_bytes = MIB(64), .acpi = &acpi});
    const struct firmware_file *script = find(f, "etc/table-loader");
    unsigned allocated = 0;

    (void)state;
    assert_int_equal(sizeof(struct firmware_step), 128);
    assert_int_equal(script->size % 128, 0);
    for (unsigned i = 0; i < script->size / 128; i++) {
        const struct firmware_step *s = &((const struct firmware_step *)script->data)[i];

        switch (s->command) {
        case 1:
            allocate(f, s, allocated++);
            break;
        case 2:
            add_pointer(s);
            break;
        case 3:
            add_checksum(s);
            break;
        default:
            fail();
        }
    }
    assert_int_equal(allocated, 2);
    check_tables();
    for (unsigned i = 0; i < 2; i++)
        free(loaded[i].data);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_e820),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_script),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
