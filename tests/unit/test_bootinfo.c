/*
 * Multiboot information, good and damaged. machine/ is not built for the host as a whole, so the
 * file under test is included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include "machine/bootinfo_parse.c"
#include "tests/unit/random.h"

#define BASE 0x9000u /* where the memory that there is begins */
#define SIZE 4096u

static struct random rnd = {1};
static uint8_t memory[SIZE];

/* Reads beyond the memory are refused, and those inside get a copy of their own size: ASan sees
 * who looks further than asked for. */
struct reader_state {
    void *copies[4096];
    unsigned n;
};

static const void *read_memory(void *opaque, uint64_t address, uint64_t len)
{
    struct reader_state *s = opaque;

    if (address < BASE || address - BASE > SIZE || len > SIZE - (address - BASE))
        return NULL;
    if (s->n == ARRAY_SIZE(s->copies))
        return NULL;
    s->copies[s->n] = malloc(len == 0 ? 1 : len);
    memcpy(s->copies[s->n], memory + (address - BASE), len);
    return s->copies[s->n++];
}

static bool parse(struct bootinfo *b, uint32_t magic)
{
    static struct reader_state s;
    const struct bootinfo_reader r = {read_memory, &s};
    bool ok = bootinfo_parse(b, &r, magic, BASE);

    while (s.n > 0)
        free(s.copies[--s.n]);
    return ok;
}

static size_t put(size_t at, const void *data, size_t n)
{
    memcpy(memory + at, data, n);
    return at + n;
}

static void check_common(const struct bootinfo *b)
{
    assert_string_equal(b->cmdline, "exit=poweroff quiet");
    assert_string_equal(b->loader, "GRUB");
    assert_int_equal(b->nr_modules, 2);
    assert_string_equal(b->modules[0].name, "tithe.conf");
    assert_int_equal(b->modules[0].start.v, 0x200000);
    assert_int_equal(b->modules[0].size, 0x123);
    assert_string_equal(b->modules[1].name, "vmlinuz");
    assert_int_equal(b->modules_dropped, 1);
    assert_int_equal(b->nr_ranges, 2);
    assert_int_equal(b->ranges[0].type, BOOT_RANGE_USABLE);
    assert_int_equal(b->ranges[1].start.v, 0x100000000);
    assert_int_equal(b->ranges[1].type, BOOT_RANGE_RESERVED); /* 77 is no type we know */
    assert_int_equal(b->fb.kind, BOOT_FB_RGB);
    assert_int_equal(b->fb.pitch, 4096);
    assert_int_equal(b->fb.green.pos, 8);
}

/* ------------------------------------------------------------ multiboot 1 */

static void build_mb1(void)
{
    struct mb1_info info = {
        .flags =
            MB1_HAS_CMDLINE | MB1_HAS_MODULES | MB1_HAS_MMAP | MB1_HAS_LOADER | MB1_HAS_FRAMEBUFFER,
        .cmdline = BASE + 0x200,
        .boot_loader_name = BASE + 0x240,
        .mods_count = 3,
        .mods_addr = BASE + 0x280,
        .mmap_addr = BASE + 0x400,
        .framebuffer_addr = 0xfd000000,
        .framebuffer_pitch = 4096,
        .framebuffer_width = 1024,
        .framebuffer_height = 768,
        .framebuffer_bpp = 32,
        .framebuffer_type = MB_FRAMEBUFFER_RGB,
        .red_pos = 16,
        .red_size = 8,
        .green_pos = 8,
        .green_size = 8,
        .blue_size = 8,
    };
    const struct mb1_module modules[] = {
        {0x200000, 0x200123, BASE + 0x300, 0},
        {0x300000, 0x400000, BASE + 0x340, 0},
        {0x400000, 0x300000, 0, 0}, /* ends before it begins */
    };
    const struct mb1_mmap entries[] = {
        {20, 0, 0x9fc00, 1},
        {20, 0x100000000, 0x1000, 77},
    };

    memset(memory, 0, sizeof(memory));
    info.mmap_length = sizeof(entries);
    put(0, &info, sizeof(info));
    put(0x200, "exit=poweroff quiet", 20);
    put(0x240, "GRUB", 5);
    put(0x280, modules, sizeof(modules));
    put(0x300, "/boot/tithe.conf x", 19);
    put(0x340, "vmlinuz quiet=/dev/x", 21);
    put(0x400, entries, sizeof(entries));
}

static void test_mb1(void **state)
{
    static struct bootinfo b;

    (void)state;
    build_mb1();
    assert_true(parse(&b, MB1_LOADER_MAGIC));
    check_common(&b);
    assert_false(parse(&b, 0x12345678));
}

/* ------------------------------------------------------------ multiboot 2 */

static size_t put_tag(size_t at, uint32_t type, const void *data, size_t n)
{
    struct mb2_tag tag = {type, (uint32_t)(sizeof(tag) + n)};

    put(put(at, &tag, sizeof(tag)), data, n);
    return ALIGN_UP(at + tag.size, 8ul);
}

static size_t put_module(size_t at, uint32_t start, uint32_t end, const char *line)
{
    uint8_t body[64];

    memcpy(body, &start, 4);
    memcpy(body + 4, &end, 4);
    strcpy((char *)body + 8, line);
    return put_tag(at, MB2_TAG_MODULE, body, 8 + strlen(line) + 1);
}

static void build_mb2(void)
{
    struct {
        uint32_t entry_size, version;
        struct mb2_mmap_entry entries[2];
    } mmap = {sizeof(struct mb2_mmap_entry), 0, {{0, 0x9fc00, 1, 0}, {0x100000000, 0x1000, 77, 0}}};
    struct mb2_framebuffer fb = {
        .addr = 0xfd000000,
        .pitch = 4096,
        .width = 1024,
        .height = 768,
        .bpp = 32,
        .type = MB_FRAMEBUFFER_RGB,
        .red_pos = 16,
        .red_size = 8,
        .green_pos = 8,
        .green_size = 8,
        .blue_size = 8,
    };
    uint8_t old[20] = "RSD PTR old", new[36] = "RSD PTR new";
    uint64_t efi = 0x1000;
    size_t at = sizeof(struct mb2_info);
    uint32_t total;

    memset(memory, 0, sizeof(memory));
    at = put_tag(at, MB2_TAG_CMDLINE, "exit=poweroff quiet", 20);
    at = put_tag(at, MB2_TAG_LOADER, "GRUB", 5);
    at = put_module(at, 0x200000, 0x200123, "tithe.conf");
    at = put_module(at, 0x300000, 0x400000, "/vmlinuz quiet=/dev/x");
    at = put_module(at, 0x400000, 0x300000, "");
    at = put_tag(at, MB2_TAG_MMAP, &mmap, sizeof(mmap));
    at = put_tag(at, MB2_TAG_FRAMEBUFFER, (char *)&fb + 8, sizeof(fb) - 8);
    at = put_tag(at, MB2_TAG_ACPI_NEW, new, sizeof(new));
    at = put_tag(at, MB2_TAG_ACPI_OLD, old, sizeof(old));
    at = put_tag(at, MB2_TAG_EFI64, &efi, sizeof(efi));
    at = put_tag(at, 4711, "unknown", 8);
    at = put_tag(at, MB2_TAG_END, "", 0);
    total = (uint32_t)at;
    put(0, &total, sizeof(total));
}

static void test_mb2(void **state)
{
    static struct bootinfo b;

    (void)state;
    build_mb2();
    assert_true(parse(&b, MB2_LOADER_MAGIC));
    check_common(&b);
    assert_true(b.efi);
    assert_int_equal(b.rsdp_length, 36);
    assert_string_equal((char *)b.rsdp_copy, "RSD PTR new");
}

/* Nothing of it may reach beyond what it says it has; ASan and UBSan look on. */
static void test_damaged(void **state)
{
    static struct bootinfo b;
    unsigned refused = 0;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        bool two = round % 2;

        if (two)
            build_mb2();
        else
            build_mb1();
        for (unsigned i = random_below(&rnd, 8); i > 0; i--)
            memory[random_below(&rnd, 0x480)] = (uint8_t)random_next(&rnd);
        refused += !parse(&b, two ? MB2_LOADER_MAGIC : MB1_LOADER_MAGIC);
        assert_true(b.nr_ranges <= BOOT_MAX_RANGES && b.nr_modules <= BOOT_MAX_MODULES);
        assert_true(memchr(b.cmdline, 0, sizeof(b.cmdline)) != NULL);
        assert_true(b.rsdp_length <= sizeof(b.rsdp_copy));
    }
    assert_true(refused > 0);
}

/* ------------------------------------------------------------ options */

static void test_options(void **state)
{
    const char *line = "  /boot/tithe.elf exit=poweroff  sync a=b=c exit=no exits=1";
    char v[8];

    (void)state;
    assert_true(bootinfo_find_option(line, "exit", v, sizeof(v)));
    assert_string_equal(v, "powerof"); /* cut, and ended */
    assert_true(bootinfo_find_option(line, "sync", v, sizeof(v)));
    assert_string_equal(v, "");
    assert_true(bootinfo_find_option(line, "a", v, sizeof(v)));
    assert_string_equal(v, "b=c");
    assert_true(bootinfo_find_option(line, "exits", v, sizeof(v)));
    assert_string_equal(v, "1");
    assert_false(bootinfo_find_option(line, "ex", v, sizeof(v)));
    assert_false(bootinfo_find_option("", "ex", v, sizeof(v)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mb1),
        cmocka_unit_test(test_mb2),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
