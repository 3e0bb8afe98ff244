/* vm/load_multiboot: kernels of each kind made here, then damaged in every way. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <linux/elf.h>

#include "devices/machine.h"
#include "tests/unit/guest_ram.h"

#define FILE_SIZE 0x2400
#define HEADER_AT 0x200
#define CODE_AT   0x1000
#define CODE_SIZE 0x1234
#define RAM       MIB(8)

struct kernel {
    uint8_t file[FILE_SIZE];
    size_t size;
    uint32_t *header;
};

static void make_header(struct kernel *k, uint32_t flags)
{
    for (size_t i = 0; i < sizeof(k->file); i++)
        k->file[i] = (uint8_t)(i * 3 + i / 256);
    memset(k->file, 0, CODE_AT);
    k->size = sizeof(k->file);
    k->header = (uint32_t *)(void *)(k->file + HEADER_AT);
    k->header[0] = 0x1badb002;
    k->header[1] = flags;
    k->header[2] = -(0x1badb002 + flags);
}

static Elf32_Phdr *make_elf32(struct kernel *k, uint32_t flags)
{
    Elf32_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1},
                    .e_type = ET_EXEC,
                    .e_machine = EM_386,
                    .e_entry = 0xc0100010,
                    .e_phoff = 0x40,
                    .e_phentsize = sizeof(Elf32_Phdr),
                    .e_phnum = 2};
    Elf32_Phdr p = {.p_type = PT_LOAD,
                    .p_offset = CODE_AT,
                    .p_vaddr = 0xc0100000,
                    .p_paddr = 0x100000,
                    .p_filesz = CODE_SIZE,
                    .p_memsz = 0x3000};

    make_header(k, flags);
    memcpy(k->file, &h, sizeof(h));
    memcpy(k->file + 0x40 + sizeof(p), &p, sizeof(p)); /* the first is PT_NULL */
    return (Elf32_Phdr *)(void *)(k->file + 0x40 + sizeof(p));
}

static Elf64_Phdr *make_elf64(struct kernel *k)
{
    Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
                    .e_type = ET_EXEC,
                    .e_machine = EM_X86_64,
                    .e_entry = 0x200004,
                    .e_phoff = 0x40,
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 1};
    Elf64_Phdr p = {.p_type = PT_LOAD,
                    .p_offset = CODE_AT,
                    .p_vaddr = 0x200000,
                    .p_paddr = 0x200000,
                    .p_filesz = CODE_SIZE,
                    .p_memsz = CODE_SIZE};

    make_header(k, 0);
    memcpy(k->file, &h, sizeof(h));
    memcpy(k->file + 0x40, &p, sizeof(p));
    return (Elf64_Phdr *)(void *)(k->file + 0x40);
}

/* The whole file at 1 MiB, by the header's addresses, with a bss. */
static void make_kludge(struct kernel *k)
{
    make_header(k, 1 << 16 | 3);
    k->header[3] = 0x100000 + HEADER_AT;
    k->header[4] = 0x100000;
    k->header[5] = 0x100000 + FILE_SIZE;
    k->header[6] = 0x100000 + FILE_SIZE + 0x5000;
    k->header[7] = 0x101000;
}

struct run {
    struct guest_ram ram;
    struct entry_state entry;
    char why[128];
    int result;
};

static void load(struct run *run, const struct kernel *k, size_t initrd_size, const char *cmdline)
{
    uint8_t *file = malloc(k->size == 0 ? 1 : k->size), *initrd = malloc(initrd_size + 1);
    struct load_request r = {.memory = &run->ram.memory,
                             .kernel = file,
                             .kernel_size = k->size,
                             .cmdline = cmdline,
                             .initrd = initrd_size == 0 ? NULL : initrd,
                             .initrd_size = initrd_size};

    memcpy(file, k->file, k->size);
    memset(initrd, 0xab, initrd_size);
    guest_ram_init(&run->ram, RAM, RAM);
    run->why[0] = '\0';
    run->result = load_multiboot(&r, &run->entry, run->why, sizeof(run->why));
    assert_true((run->result == 0) == (run->why[0] == '\0'));
    free(file);
    free(initrd);
}

static uint32_t read32(const struct run *run, uint64_t at)
{
    uint32_t v;

    assert_true(at + 4 <= RAM);
    memcpy(&v, run->ram.bytes + at, sizeof(v));
    return v;
}

static void check_entry(const struct run *run, uint64_t rip)
{
    const struct entry_state *e = &run->entry;

    assert_string_equal(run->why, "");
    assert_int_equal(run->result, 0);
    assert_int_equal(e->rip, rip);
    assert_int_equal(e->gpr[ENTRY_RAX], 0x2badb002);
    assert_int_equal(e->cr0, 0x11);
    assert_int_equal(e->cr4, 0);
    assert_int_equal(e->efer, 0);
    assert_int_equal(e->rflags, 2);
    assert_int_equal(e->seg[ENTRY_CS].access, 0xc09b);
    assert_int_equal(e->seg[ENTRY_CS].limit, UINT32_MAX);
    assert_int_equal(e->seg[ENTRY_SS].access, 0xc093);
}

static void check_zero(const struct run *run, uint64_t from, uint64_t to)
{
    for (; from < to; from++)
        assert_int_equal(run->ram.bytes[from], 0);
    assert_int_equal(run->ram.bytes[to], 0xee);
}

/* Offsets are those of the specification's section 3.3. */
static void check_info(const struct run *run, size_t initrd_size, const char *cmdline)
{
    uint64_t info = run->entry.gpr[ENTRY_RBX];
    uint32_t mods, mmap;

    assert_int_equal(read32(run, info), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    assert_int_equal(read32(run, info + 4), 640);
    assert_int_equal(read32(run, info + 8), 7 * 1024);
    assert_string_equal((char *)run->ram.bytes + read32(run, info + 16), cmdline);
    assert_int_equal(read32(run, info + 20), initrd_size != 0);
    if (initrd_size != 0) {
        mods = read32(run, info + 24);
        assert_int_equal(read32(run, mods) % 4096, 0);
        assert_int_equal(read32(run, mods + 4) - read32(run, mods), initrd_size);
        assert_int_equal(run->ram.bytes[read32(run, mods)], 0xab);
        assert_int_equal(run->ram.bytes[read32(run, mods + 4) - 1], 0xab);
        assert_string_equal((char *)run->ram.bytes + read32(run, mods + 8), "initrd");
    }
    assert_int_equal(read32(run, info + 44), 3 * 24);
    mmap = read32(run, info + 48);
    assert_int_equal(read32(run, mmap), 20);
    assert_int_equal(read32(run, mmap + 4), 0);
    assert_int_equal(read32(run, mmap + 12), 0xa0000);
    assert_int_equal(read32(run, mmap + 20), 1);
    assert_int_equal(read32(run, mmap + 24 + 20), 2);
    assert_int_equal(read32(run, mmap + 48 + 4), 0x100000);
    assert_int_equal(read32(run, mmap + 48 + 12), MIB(7));
    assert_string_equal((char *)run->ram.bytes + read32(run, info + 64), "Tithe");
}

static void test_elf32(void **state)
{
    struct kernel k;
    struct run run;

    (void)state;
    (void)make_elf32(&k, 7);
    load(&run, &k, 10000, "one two");
    check_entry(&run, 0x100010);
    assert_memory_equal(run.ram.bytes + 0x100000, k.file + CODE_AT, CODE_SIZE);
    check_zero(&run, 0x100000 + CODE_SIZE, 0x103000);
    check_info(&run, 10000, "one two");
    guest_ram_free(&run.ram);
}

static void test_elf64(void **state)
{
    struct kernel k;
    struct run run;

    (void)state;
    (void)make_elf64(&k);
    load(&run, &k, 0, "");
    check_entry(&run, 0x200004);
    assert_memory_equal(run.ram.bytes + 0x200000, k.file + CODE_AT, CODE_SIZE);
    check_info(&run, 0, "");
    guest_ram_free(&run.ram);
}

static void test_kludge(void **state)
{
    struct kernel k;
    struct run run;

    (void)state;
    make_kludge(&k);
    load(&run, &k, 0, "x");
    check_entry(&run, 0x101000);
    assert_memory_equal(run.ram.bytes + 0x100000, k.file, FILE_SIZE);
    check_zero(&run, 0x100000 + FILE_SIZE, 0x100000 + FILE_SIZE + 0x5000);
    guest_ram_free(&run.ram);

    /* Only a part of the file, no bss; then all that the file has. */
    k.header[4] = 0x100000 + HEADER_AT;
    k.header[5] = 0x102000;
    k.header[6] = 0;
    load(&run, &k, 0, "x");
    check_entry(&run, 0x101000);
    assert_memory_equal(run.ram.bytes + 0x100200, k.file + 0x200, 0x1e00);
    assert_int_equal(run.ram.bytes[0x1001ff], 0xee);
    assert_int_equal(run.ram.bytes[0x102000], 0xee);
    guest_ram_free(&run.ram);
    k.header[5] = 0;
    load(&run, &k, 0, "x");
    check_entry(&run, 0x101000);
    assert_memory_equal(run.ram.bytes + 0x100200, k.file + 0x200, FILE_SIZE - 0x200);
    guest_ram_free(&run.ram);
}

static void test_recognised(void **state)
{
    struct kernel k;

    (void)state;
    make_kludge(&k);
    assert_true(load_is_multiboot(k.file, k.size));
    assert_false(load_is_linux(k.file, k.size));
    assert_false(load_is_multiboot(k.file, HEADER_AT + 11));
    k.header[2]++;
    assert_false(load_is_multiboot(k.file, k.size));
    assert_false(load_is_multiboot(k.file, 0));
}

static void expect_error(const struct kernel *k, size_t initrd_size, const char *why)
{
    struct run run;

    load(&run, k, initrd_size, "");
    assert_true(run.result < 0);
    assert_string_equal(run.why, why);
    guest_ram_free(&run.ram);
}

static void test_elf_errors(void **state)
{
    static const char damaged[] = "kernel: truncated or damaged, a segment is not in the file";
    Elf64_Phdr *p64;
    Elf32_Phdr *p;
    struct kernel k;

    (void)state;
    p = make_elf32(&k, 0);
    p->p_filesz = FILE_SIZE - CODE_AT + 1;
    expect_error(&k, 0, damaged);
    p->p_filesz = p->p_memsz + 1;
    expect_error(&k, 0, damaged);
    p->p_filesz = 16;
    p->p_offset = UINT32_MAX - 8;
    expect_error(&k, 0, damaged);
    p = make_elf32(&k, 0);
    p->p_paddr = 0x7000;
    expect_error(&k, 0,
                 "kernel wants 0x3000 bytes at 0x7000, the VM has memory from 1 MiB to 8 MiB");
    p->p_paddr = (uint32_t)RAM - 0x2fff;
    expect_error(&k, 0,
                 "kernel wants 0x3000 bytes at 0x7fd001, the VM has memory from 1 MiB to 8 MiB");
    p = make_elf32(&k, 0);
    p->p_memsz = 0xfff00000;
    expect_error(&k, 0,
                 "kernel wants 0xfff00000 bytes at 0x100000, the VM has memory from 1 MiB "
                 "to 8 MiB");
    p = make_elf32(&k, 0);
    p->p_type = PT_NOTE;
    expect_error(&k, 0, "kernel: it starts at 0xc0100010, where nothing is loaded");
    p64 = make_elf64(&k);
    p64->p_paddr = UINT64_MAX - 100;
    expect_error(&k, 0,
                 "kernel wants 0x1234 bytes at 0xffffffffffffff9b, the VM has memory from 1 "
                 "MiB to 8 MiB");
    (void)make_elf64(&k);
    ((Elf64_Ehdr *)(void *)k.file)->e_phoff = UINT64_MAX - 10;
    expect_error(&k, 0, "kernel: truncated or damaged, program header 0 is not in the file");
    ((Elf64_Ehdr *)(void *)k.file)->e_phnum = 65535;
    expect_error(&k, 0, "kernel: 65535 program headers are too many (at most 64)");
    ((Elf64_Ehdr *)(void *)k.file)->e_machine = EM_AARCH64;
    expect_error(&k, 0, "kernel: not an x86 ELF file, and its Multiboot header has no addresses");
    (void)make_elf32(&k, 0);
    expect_error(&k, MIB(7),
                 "initrd of 7 MiB does not fit into 8 MiB of memory (the kernel takes the first 2 "
                 "MiB)");
    (void)make_elf32(&k, 1 << 5);
    expect_error(&k, 0, "kernel: its Multiboot header needs unknown features (0x20)");
    k.header[0] = 0;
    expect_error(&k, 0, "kernel: no Multiboot header");
}

static void test_kludge_errors(void **state)
{
    struct kernel k;

    (void)state;
    make_kludge(&k);
    k.header[4] = k.header[3] + 1;
    expect_error(&k, 0, "kernel: its Multiboot header has impossible addresses");
    k.header[4] = 0x100000 - 1;
    expect_error(&k, 0, "kernel: its Multiboot header has impossible addresses");
    make_kludge(&k);
    k.header[5]++;
    expect_error(&k, 0, "kernel: truncated or damaged, a segment is not in the file");
    make_kludge(&k);
    k.header[5] = 0x1000;
    k.header[6] = 0;
    expect_error(&k, 0, "kernel: truncated or damaged, a segment is not in the file");
    make_kludge(&k);
    k.header[6] = 0x100001;
    k.header[7] = 0x100000;
    expect_error(&k, 0, "kernel: truncated or damaged, a segment is not in the file");
    make_kludge(&k);
    k.header[7] = 0x10000000;
    expect_error(&k, 0, "kernel: it starts at 0x10000000, where nothing is loaded");
    make_kludge(&k);
    k.size = HEADER_AT + 20;
    expect_error(&k, 0, "kernel: truncated in its Multiboot header");
}

static void test_truncations(void **state)
{
    struct kernel k;
    struct run run;

    (void)state;
    for (size_t n = 0; n < CODE_AT + CODE_SIZE; n += n < 0x300 ? 1 : 61) {
        (void)make_elf32(&k, 0);
        k.size = n;
        load(&run, &k, 0, "");
        assert_true(run.result < 0);
        guest_ram_free(&run.ram);
    }
}

static void test_fuzz(void **state)
{
    struct kernel k;
    struct run run;

    (void)state;
    srand(3);
    for (int round = 0; round < 4000; round++) {
        if (round % 3 == 0)
            make_kludge(&k);
        else if (round % 3 == 1)
            (void)make_elf32(&k, 0);
        else
            (void)make_elf64(&k);
        for (int i = rand() % 6; i >= 0; i--)
            k.file[round % 3 == 0 ? HEADER_AT + 12 + rand() % 20 : rand() % 0xa0] =
                (uint8_t)(rand() % 3 == 0 ? 0xff : rand());
        if (rand() % 4 == 0)
            k.size = (size_t)rand() % FILE_SIZE;
        load(&run, &k, (size_t)(rand() % 3) * 70000, "quiet");
        if (run.result == 0)
            assert_true(run.entry.rip >= MIB(1) && run.entry.rip < RAM);
        guest_ram_free(&run.ram);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf32),       cmocka_unit_test(test_elf64),
        cmocka_unit_test(test_kludge),      cmocka_unit_test(test_recognised),
        cmocka_unit_test(test_elf_errors),  cmocka_unit_test(test_kludge_errors),
        cmocka_unit_test(test_truncations), cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
