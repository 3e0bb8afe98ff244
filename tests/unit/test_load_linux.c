/* vm/load_linux and the address map: a small bzImage made here, then damaged in every way. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <asm/bootparam.h>

#include "devices/machine.h"
#include "tests/unit/guest_ram.h"

#define SETUP_SECTS 3
#define CODE_SIZE   0x3000u
#define FILE_SIZE   ((SETUP_SECTS + 1) * 512 + CODE_SIZE)
#define RAM         MIB(32)
#define BOOT_PARAMS 0x10000

struct kernel {
    uint8_t file[FILE_SIZE];
    size_t size;
    struct setup_header *h;
};

/* As Linux 6.x has it, but small: 1 MiB of memory needed at 16 MiB. */
static void make_kernel(struct kernel *k)
{
    for (size_t i = 0; i < sizeof(k->file); i++)
        k->file[i] = (uint8_t)(i * 7 + i / 256);
    memset(k->file, 0, 0x300);
    k->size = sizeof(k->file);
    k->h = (struct setup_header *)(k->file + 0x1f1);
    k->h->setup_sects = SETUP_SECTS;
    k->h->syssize = CODE_SIZE / 16;
    k->h->boot_flag = 0xaa55;
    k->h->jump = 0x6aeb; /* jmp over the header, which ends at 0x202 + 0x6a */
    k->h->header = 0x53726448;
    k->h->version = 0x20f;
    k->h->loadflags = LOADED_HIGH;
    k->h->code32_start = 0x100000;
    k->h->initrd_addr_max = 0x7fffffff;
    k->h->kernel_alignment = 0x200000;
    k->h->relocatable_kernel = 1;
    k->h->xloadflags = XLF_KERNEL_64;
    k->h->cmdline_size = 2047;
    k->h->pref_address = MIB(16);
    k->h->init_size = MIB(1);
    k->h->setup_data = 0x1234;
}

struct run {
    struct guest_ram ram;
    struct entry_state entry;
    char why[128];
    int result;
};

static void load(struct run *run, const struct kernel *k, uint64_t ram_bytes, size_t initrd_size,
                 const char *cmdline)
{
    uint8_t *file = malloc(k->size), *initrd = malloc(initrd_size + 1);
    struct load_request r = {.memory = &run->ram.memory,
                             .kernel = file,
                             .kernel_size = k->size,
                             .cmdline = cmdline,
                             .initrd = initrd_size == 0 ? NULL : initrd,
                             .initrd_size = initrd_size,
                             .rsdp = GPA(0xe0000)};

    memcpy(file, k->file, k->size);
    memset(initrd, 0xab, initrd_size);
    guest_ram_init(&run->ram, ram_bytes, MIN(ram_bytes, RAM));
    run->why[0] = '\0';
    run->result = load_linux(&r, &run->entry, run->why, sizeof(run->why));
    assert_true((run->result == 0) == (run->why[0] == '\0'));
    free(file);
    free(initrd);
}

static uint64_t read64(const struct run *run, uint64_t at)
{
    uint64_t v;

    memcpy(&v, run->ram.bytes + at, sizeof(v));
    return v;
}

static void check_flat(const struct entry_state *e, unsigned seg, uint16_t selector,
                       uint32_t access)
{
    assert_int_equal(e->seg[seg].selector, selector);
    assert_int_equal(e->seg[seg].access, access);
    assert_int_equal(e->seg[seg].base, 0);
    assert_int_equal(e->seg[seg].limit, UINT32_MAX);
}

static void check_segments(const struct run *run, uint32_t code)
{
    const struct entry_state *e = &run->entry;

    check_flat(e, ENTRY_CS, 0x10, code);
    check_flat(e, ENTRY_DS, 0x18, 0xc093);
    check_flat(e, ENTRY_ES, 0x18, 0xc093);
    check_flat(e, ENTRY_SS, 0x18, 0xc093);
    assert_int_equal(e->seg[ENTRY_LDTR].access, 1 << 16);
    assert_int_equal(e->seg[ENTRY_TR].access, 0x8b);
    assert_int_equal(e->rflags, 2);
    assert_int_equal(e->gdt_limit, 31);
    assert_int_equal(read64(run, e->gdt_base), 0);
    assert_int_equal(read64(run, e->gdt_base + 0x10),
                     code == 0xa09b ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull);
    assert_int_equal(read64(run, e->gdt_base + 0x18), 0x00cf93000000ffffull);
}

/* What the page tables that entry starts with make of an address. */
static uint64_t translate(const struct run *run, uint64_t va)
{
    uint64_t table = run->entry.cr3, e = 0;

    for (int level = 3; level >= 1; level--) {
        e = read64(run, table + (va >> (12 + 9 * level) & 511) * 8);
        assert_true(e & 1);
        assert_true(e & 2);
        table = e & 0xffffffffff000ull;
    }
    assert_true(e & 0x80);
    return (e & 0xfffffffe00000ull) | (va & 0x1fffff);
}

static void test_64bit(void **state)
{
    struct boot_params bp;
    struct kernel k;
    struct run run;

    (void)state;
    make_kernel(&k);
    load(&run, &k, RAM, 5000, "console=ttyS0");
    assert_string_equal(run.why, "");
    assert_int_equal(run.entry.rip, MIB(16) + 0x200);
    assert_int_equal(run.entry.gpr[ENTRY_RSI], BOOT_PARAMS);
    assert_int_equal(run.entry.cr0, 0x80000011);
    assert_int_equal(run.entry.cr4, 0x20);
    assert_int_equal(run.entry.efer, 0x500);
    check_segments(&run, 0xa09b);
    for (uint64_t va = 0; va < GIB(4); va += MIB(2))
        assert_int_equal(translate(&run, va + 0x1234), va + 0x1234);
    assert_memory_equal(run.ram.bytes + MIB(16), k.file + (SETUP_SECTS + 1) * 512, CODE_SIZE);

    memcpy(&bp, run.ram.bytes + BOOT_PARAMS, sizeof(bp));
    assert_int_equal(bp.hdr.type_of_loader, 0xff);
    assert_int_equal(bp.hdr.code32_start, MIB(16));
    assert_int_equal(bp.hdr.setup_data, 0);
    assert_int_equal(bp.hdr.version, 0x20f);
    assert_int_equal(bp.hdr.init_size, MIB(1));
    assert_int_equal(bp.hdr.kernel_info_offset, 0); /* beyond this header's end */
    assert_int_equal(bp.sentinel, 0);
    assert_int_equal(bp.acpi_rsdp_addr, 0xe0000);
    assert_string_equal((char *)run.ram.bytes + bp.hdr.cmd_line_ptr, "console=ttyS0");
    assert_int_equal(bp.hdr.ramdisk_size, 5000);
    assert_int_equal(bp.hdr.ramdisk_image, RAM - 8192);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(run.ram.bytes[bp.hdr.ramdisk_image + i], 0xab);
    assert_int_equal(bp.e820_entries, 3);
    assert_int_equal(bp.e820_table[0].addr, 0);
    assert_int_equal(bp.e820_table[0].size, 0xa0000);
    assert_int_equal(bp.e820_table[0].type, 1);
    assert_int_equal(bp.e820_table[1].addr, 0xe0000);
    assert_int_equal(bp.e820_table[1].size, 0x20000);
    assert_int_equal(bp.e820_table[1].type, 2);
    assert_int_equal(bp.e820_table[2].addr, 0x100000);
    assert_int_equal(bp.e820_table[2].size, RAM - 0x100000);
    assert_int_equal(bp.e820_table[2].type, 1);
    guest_ram_free(&run.ram);
}

static void test_32bit(void **state)
{
    struct boot_params bp;
    struct kernel k;
    struct run run;

    (void)state;
    make_kernel(&k);
    k.h->version = 0x206;
    k.h->relocatable_kernel = 0;
    load(&run, &k, RAM, 0, "");
    assert_int_equal(run.result, 0);
    assert_int_equal(run.entry.rip, MIB(1));
    assert_int_equal(run.entry.cr0, 0x11);
    assert_int_equal(run.entry.cr3, 0);
    assert_int_equal(run.entry.cr4, 0);
    assert_int_equal(run.entry.efer, 0);
    assert_int_equal(run.entry.gpr[ENTRY_RSI], BOOT_PARAMS);
    assert_int_equal(run.entry.gpr[ENTRY_RBX], 0);
    assert_int_equal(run.entry.gpr[ENTRY_RBP], 0);
    assert_int_equal(run.entry.gpr[ENTRY_RDI], 0);
    check_segments(&run, 0xc09b);
    memcpy(&bp, run.ram.bytes + BOOT_PARAMS, sizeof(bp));
    assert_int_equal(bp.hdr.ramdisk_image, 0);
    assert_int_equal(bp.hdr.ramdisk_size, 0);
    guest_ram_free(&run.ram);
}

/* The initrd stays below what the kernel can reach, and e820 continues above 4 GiB. */
static void test_large_memory(void **state)
{
    struct boot_params bp;
    struct kernel k;
    struct run run;

    (void)state;
    make_kernel(&k);
    k.h->initrd_addr_max = (uint32_t)MIB(24) - 1;
    load(&run, &k, GIB(5), 4096, "");
    assert_int_equal(run.result, 0);
    memcpy(&bp, run.ram.bytes + BOOT_PARAMS, sizeof(bp));
    assert_int_equal(bp.hdr.ramdisk_image, MIB(24) - 4096);
    assert_int_equal(bp.e820_entries, 4);
    assert_int_equal(bp.e820_table[2].size, GUEST_LOW_RAM_MAX - 0x100000);
    assert_int_equal(bp.e820_table[3].addr, GIB(4));
    assert_int_equal(bp.e820_table[3].size, GIB(5) - GUEST_LOW_RAM_MAX);
    guest_ram_free(&run.ram);
}

static void expect_error(const struct kernel *k, uint64_t ram_bytes, size_t initrd_size,
                         const char *cmdline, const char *why)
{
    struct run run;

    load(&run, k, ram_bytes, initrd_size, cmdline);
    assert_true(run.result < 0);
    assert_string_equal(run.why, why);
    guest_ram_free(&run.ram);
}

static void test_errors(void **state)
{
    static char long_line[3000];
    struct kernel k;

    (void)state;
    make_kernel(&k);
    expect_error(&k, RAM, MIB(64), "",
                 "initrd of 64 MiB does not fit into 32 MiB of memory (the kernel takes the first "
                 "17 MiB)");
    expect_error(&k, RAM, MIB(15) + 1, "",
                 "initrd of 16 MiB does not fit into 32 MiB of memory (the kernel takes the first "
                 "17 MiB)");
    expect_error(&k, MIB(16), 0, "",
                 "kernel needs 1 MiB from 16 MiB on, the VM has 16 MiB of memory");
    k.h->pref_address = GIB(8);
    expect_error(&k, RAM, 0, "",
                 "kernel needs 1 MiB from 8192 MiB on, the VM has 32 MiB of memory");
    k.h->pref_address = UINT64_MAX;
    expect_error(&k, RAM, 0, "",
                 "kernel needs 1 MiB from 17592186044416 MiB on, the VM has 32 MiB of memory");
    make_kernel(&k);
    k.h->init_size = 0xffffffff;
    expect_error(&k, RAM, 0, "",
                 "kernel needs 4096 MiB from 16 MiB on, the VM has 32 MiB of memory");
    make_kernel(&k);
    k.h->kernel_alignment = 0x300000;
    expect_error(&k, RAM, 0, "", "kernel: alignment 0x300000 is not a power of two");
    k.h->kernel_alignment = 0;
    expect_error(&k, RAM, 0, "", "kernel: alignment 0x0 is not a power of two");
    make_kernel(&k);
    memset(long_line, 'x', 2048);
    expect_error(&k, RAM, 0, long_line,
                 "command line of 2048 bytes is too long, the kernel takes 2047");
    k.h->loadflags = 0;
    expect_error(&k, RAM, 0, "", "kernel: a zImage, not a bzImage");
    k.h->version = 0x205;
    expect_error(&k, RAM, 0, "",
                 "kernel: boot protocol 2.05 is too old, 2.06 (Linux 2.6.22) is needed");
    make_kernel(&k);
    k.h->syssize = 0;
    expect_error(&k, RAM, 0, "", "kernel: its header says that it has no code");
    make_kernel(&k);
    k.size -= 1;
    expect_error(&k, RAM, 0, "", "kernel: truncated, it has 14335 of 14336 bytes");
    k.h->header = 0;
    expect_error(&k, RAM, 0, "", "kernel: not a Linux bzImage");
}

/* Whatever is in the file: an error with a reason, or an entry into what was loaded. */
static void load_damaged(const struct kernel *k)
{
    struct run run;

    load(&run, k, MIB(4), (size_t)(rand() % 3) * 70000, "quiet");
    if (run.result == 0)
        assert_true(run.entry.rip >= MIB(1) && run.entry.rip < MIB(4));
    guest_ram_free(&run.ram);
}

static void test_truncations(void **state)
{
    struct kernel k;

    (void)state;
    make_kernel(&k);
    k.h->pref_address = MIB(2);
    for (size_t n = 1; n < FILE_SIZE; n += n < 0x400 ? 1 : 97) {
        k.size = n;
        struct run run;
        load(&run, &k, MIB(4), 0, "");
        assert_true(run.result < 0);
        guest_ram_free(&run.ram);
    }
}

static void test_fuzz(void **state)
{
    struct kernel k;

    (void)state;
    srand(2);
    for (int round = 0; round < 3000; round++) {
        make_kernel(&k);
        k.h->pref_address = MIB(2); /* a small VM is quick to make */
        for (int i = rand() % 6; i >= 0; i--)
            k.file[0x1f1 + rand() % 0x80] = (uint8_t)(rand() % 3 == 0 ? 0xff : rand());
        if (rand() % 2) {
            k.h->boot_flag = 0xaa55;
            k.h->header = 0x53726448;
        }
        load_damaged(&k);
    }
}

static void test_regions(void **state)
{
    struct guest_region r[GUEST_MAX_REGIONS];

    (void)state;
    assert_int_equal(guest_ram_regions(MIB(2), r), 3);
    assert_int_equal(r[2].size, MIB(1));
    assert_int_equal(guest_ram_regions(GUEST_LOW_RAM_MAX, r), 3);
    assert_int_equal(guest_ram_regions(GUEST_LOW_RAM_MAX + 4096, r), 4);
    assert_int_equal(r[3].start.v, GIB(4));
    assert_int_equal(r[3].size, 4096);
    assert_int_equal(guest_low_ram_end(GIB(64)), GUEST_LOW_RAM_MAX);
    assert_int_equal(guest_low_ram_end(MIB(3) + 5), MIB(3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64bit),        cmocka_unit_test(test_32bit),
        cmocka_unit_test(test_large_memory), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_truncations),  cmocka_unit_test(test_fuzz),
        cmocka_unit_test(test_regions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
