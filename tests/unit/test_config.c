/* vm/config: what is accepted, the exact text of every error, and files of garbage. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vm/config.h"

#define MAX_VMS 4

struct result {
    struct vm_config vms[MAX_VMS];
    unsigned nr_vms, nr_lines;
    char lines[64][256];
};

static void take_line(void *opaque, const char *line)
{
    struct result *r = opaque;

    assert_true(r->nr_lines < 64);
    assert_null(strchr(line, '\n'));
    for (const char *c = line; *c != '\0'; c++)
        assert_true(*c >= ' ' && *c <= '~');
    snprintf(r->lines[r->nr_lines++], sizeof(r->lines[0]), "%s", line);
}

static bool module_exists(void *opaque, const char *name)
{
    (void)opaque;
    return strcmp(name, "vmlinuz") == 0 || strcmp(name, "initrd.img") == 0;
}

/* Parses a copy of exactly n bytes, so that a read past the end is found. */
static struct result *parse_bytes(const char *text, size_t n)
{
    static struct result r;
    struct config_ops ops = {take_line, module_exists, &r};
    char *copy = malloc(n == 0 ? 1 : n);

    memset(&r, 0, sizeof(r));
    memcpy(copy, text, n);
    r.nr_vms = config_parse(copy, n, "tithe.conf", r.vms, MAX_VMS, &ops);
    free(copy);
    assert_true(r.nr_vms <= MAX_VMS);
    return &r;
}

static struct result *parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void test_full(void **state)
{
    struct result *r = parse("\xef\xbb\xbf# two machines\r\n"
                             "[vm \"debian\"]   ; the first\r\n"
                             "  Memory = 1G\n"
                             "\tcpus=4 # four\n"
                             "cpu_shares = 2500\ncpu_reservation = 50\n"
                             "cpu_limit = 150\ncpu_affinity = 0-3,5,63\n"
                             "kernel = \"vmlinuz\"\n"
                             "initrd = initrd.img\n"
                             "cmdline = console=ttyS0 \"a b  \" x;y#z \\\n"
                             "          quiet \\\"q\\\" c:\\\\d  ; comment\n"
                             "on_poweroff = preserve\n"
                             "on_reboot = destroy\n"
                             "on_crash = restart\n"
                             "com1 = log\n"
                             "boot = linux\n"
                             "acpi = no\n"
                             "start = off\n"
                             "debug_console = yes\ndebug_exit = yes\n"
                             "vga = yes\n"
                             "screen = console\n"
                             "\n"
                             "[ vm b-2.x_ ]\n"
                             "kernel = vmlinuz");
    struct vm_config *a = &r->vms[0], *b = &r->vms[1];

    (void)state;
    assert_int_equal(r->nr_lines, 0);
    assert_int_equal(r->nr_vms, 2);
    assert_true(a->valid);
    assert_int_equal(a->line, 2);
    assert_string_equal(a->name, "debian");
    assert_int_equal(a->memory, GIB(1));
    assert_int_equal(a->cpus, 4);
    assert_int_equal(a->cpu_shares, 2500);
    assert_int_equal(a->cpu_reservation, 50);
    assert_int_equal(a->cpu_limit, 150);
    assert_true(a->cpu_affinity == (0xf | BIT(5) | BIT(63)));
    assert_string_equal(a->kernel, "vmlinuz");
    assert_string_equal(a->initrd, "initrd.img");
    assert_string_equal(a->cmdline, "console=ttyS0 a b   x;y#z  quiet \"q\" c:\\d");
    assert_int_equal(a->on_poweroff, CONFIG_PRESERVE);
    assert_int_equal(a->on_reboot, CONFIG_DESTROY);
    assert_int_equal(a->on_crash, CONFIG_RESTART);
    assert_int_equal(a->com1, CONFIG_SERIAL_LOG);
    assert_int_equal(a->boot, CONFIG_BOOT_LINUX);
    assert_false(a->acpi);
    assert_false(a->start);
    assert_true(a->debug_console);
    assert_true(a->debug_exit);
    assert_int_equal(a->vga, CONFIG_VGA_YES);
    assert_int_equal(a->screen, CONFIG_SCREEN_CONSOLE);
    assert_true(b->valid);
    assert_int_equal(b->line, 25);
    assert_string_equal(b->name, "b-2.x_");
    assert_int_equal(b->memory, MIB(256));
    assert_int_equal(b->cpus, 1);
    assert_int_equal(b->cpu_shares, 1000);
    assert_int_equal(b->cpu_reservation, 0);
    assert_int_equal(b->cpu_limit, 0);
    assert_true(b->cpu_affinity == UINT64_MAX);
    assert_string_equal(b->initrd, "");
    assert_string_equal(b->cmdline, "");
    assert_int_equal(b->on_poweroff, CONFIG_DESTROY);
    assert_int_equal(b->on_reboot, CONFIG_RESTART);
    assert_int_equal(b->on_crash, CONFIG_DESTROY);
    assert_int_equal(b->com1, CONFIG_SERIAL_CONSOLE);
    assert_int_equal(b->boot, CONFIG_BOOT_AUTO);
    assert_true(b->acpi);
    assert_true(b->start);
    assert_false(b->debug_console);
    assert_false(b->debug_exit);
    assert_int_equal(b->vga, CONFIG_VGA_AUTO);
    assert_int_equal(b->screen, CONFIG_SCREEN_NONE);
}

static void test_firmware(void **state)
{
    struct result *r = parse("[vm a]\nfirmware = vmlinuz\nvgabios = vmlinuz\nfloppy = initrd.img\n"
                             "disk = vmlinuz\ndisk4 = initrd.img\ncdrom = vmlinuz\n"
                             "boot_order = cdrom ,disk\nboot_menu = yes\n"
                             "[vm b]\nfirmware = vmlinuz\n"
                             "[vm c]\nkernel = vmlinuz\ndisk2 = vmlinuz\ndisk3 = vmlinuz\n");
    static const uint8_t order[2][CONFIG_BOOT_DEVICES] = {{3, 2}, {1, 2, 3, 4}};

    (void)state;
    assert_int_equal(r->nr_lines, 0);
    assert_int_equal(r->nr_vms, 3);
    assert_string_equal(r->vms[0].firmware, "vmlinuz");
    assert_string_equal(r->vms[0].kernel, "");
    assert_string_equal(r->vms[0].vgabios, "vmlinuz");
    assert_string_equal(r->vms[0].floppy, "initrd.img");
    assert_string_equal(r->vms[0].disk[0], "vmlinuz");
    assert_string_equal(r->vms[0].disk[1], "");
    assert_string_equal(r->vms[0].disk[3], "initrd.img");
    assert_string_equal(r->vms[0].cdrom, "vmlinuz");
    assert_memory_equal(r->vms[0].boot_order, order[0], sizeof(order[0]));
    assert_true(r->vms[0].boot_menu);
    assert_memory_equal(r->vms[1].boot_order, order[1], sizeof(order[1]));
    assert_false(r->vms[1].boot_menu);
    assert_string_equal(r->vms[2].disk[1], "vmlinuz");
    assert_string_equal(r->vms[2].disk[2], "vmlinuz");
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"256M", MIB(256)},     {"2m", MIB(2)},       {"65536K", MIB(64)}, {"2GiB", GIB(2)},
                {"\"16MiB\"", MIB(16)}, {"2052K", KIB(2052)}, {"256G", GIB(256)}};
    char text[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        snprintf(text, sizeof(text), "[vm a]\nkernel=vmlinuz\nmemory=%s", good[i].text);
        assert_int_equal(parse(text)->nr_lines, 0);
        assert_int_equal(parse(text)->vms[0].memory, good[i].bytes);
    }
}

/* Each line stands after "[vm a]\nkernel = vmlinuz\n", so its number is 3. */
static const struct {
    const char *line, *error;
} bad_lines[] = {
    {"memory = 3X", "memory = 3X: not a size (use 256M or 1G)"},
    {"memory = 512", "memory = 512: not a size (use 256M or 1G)"},
    {"memory = M", "memory = M: not a size (use 256M or 1G)"},
    {"memory = 64 M", "memory = 64 M: not a size (use 256M or 1G)"},
    {"memory =", "memory = : not a size (use 256M or 1G)"},
    {"memory = -1M", "memory = -1M: not a size (use 256M or 1G)"},
    {"memory = 1M", "memory = 1M: out of range (2M to 256G)"},
    {"memory = 257G", "memory = 257G: out of range (2M to 256G)"},
    {"memory = 99999999999999999999999G",
     "memory = 99999999999999999999999G: out of range (2M to 256G)"},
    {"memory = 18014398509481985K", "memory = 18014398509481985K: out of range (2M to 256G)"},
    {"memory = 2049K", "memory = 2049K: not a multiple of 4K"},
    {"cpu_affinity = 0-", "cpu_affinity = 0-: not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_affinity = -1", "cpu_affinity = -1: not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_affinity = 3-1", "cpu_affinity = 3-1: not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_affinity = 64", "cpu_affinity = 64: not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_affinity = 0,", "cpu_affinity = 0,: not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_affinity = a", "cpu_affinity = a: not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_affinity = ", "cpu_affinity = : not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_affinity = 0 1", "cpu_affinity = 0 1: not a list of CPUs from 0 to 63 (use 0-3,5)"},
    {"cpu_shares = 0", "cpu_shares = 0: out of range (1 to 1000000)"},
    {"cpu_limit = 1601", "cpu_limit = 1601: out of range (0 to 1600)"},
    {"cpus = 0", "cpus = 0: out of range (1 to 16)"},
    {"cpus = 17", "cpus = 17: out of range (1 to 16)"},
    {"cpus = 18446744073709551617", "cpus = 18446744073709551617: out of range (1 to 16)"},
    {"cpus = two", "cpus = two: not a number"},
    {"cpus = 0x2", "cpus = 0x2: not a number"},
    {"on_crash = explode", "on_crash = explode: not one of destroy, restart, preserve"},
    {"com1 = tty", "com1 = tty: not one of console, null, log"},
    {"boot = efi", "boot = efi: not one of auto, linux, multiboot"},
    {"acpi = maybe", "acpi = maybe: not yes or no"},
    {"initrd = gone.img", "initrd = gone.img: no such boot module"},
    {"initrd =", "initrd = : no name"},
    {"firmware = vmlinuz", "kernel: cannot be used with firmware"},
    {"screen = console\nvga = no", "screen: there is none with vga = no"},
    {"floppy = vmlinuz", "floppy: needs firmware (firmware = MODULE)"},
    {"boot_order = disk", "boot_order: needs firmware (firmware = MODULE)"},
    {"disk = gone.img", "disk = gone.img: no such boot module"},
    {"disk5 = vmlinuz", "disk5: unknown key (did you mean disk?)"},
    {"memry = 1G", "memry: unknown key (did you mean memory?)"},
    {"on-crash = destroy", "on-crash: unknown key (did you mean on_crash?)"},
    {"colour = green", "colour: unknown key"},
    {"colour = green \\\n and blue", "colour: unknown key"},
    {"kernel = vmlinuz", "kernel: was given on line 2 already"},
    {"acpi", "expected \"[vm NAME]\" or \"key = value\""},
    {"= 3", "expected \"[vm NAME]\" or \"key = value\""},
    {"\x01\xff", "expected \"[vm NAME]\" or \"key = value\""},
    {"cmdline = \"no end", "cmdline: the closing \" is missing"},
    {"cmdline = a\\nb", "cmdline: \\ must come before \", \\ or the end of the line"},
    {"cmdline = a\\", "cmdline: \\ at the end of the file"},
    {"cmdline = a\x1b[2J", "cmdline: a control character in it"},
    {"com1 = \xffx\xc3\xa4", "com1 = ?x??: not one of console, null, log"},
    {"memory = 0123456789012345678901234567890123456789012345",
     "memory = 012345678901234567890123456789012345...: not a size (use 256M or 1G)"},
};

static void test_bad_lines(void **state)
{
    char text[512], want[300];
    struct result *r;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad_lines); i++) {
        snprintf(text, sizeof(text), "[vm a]\nkernel = vmlinuz\n%s", bad_lines[i].line);
        snprintf(want, sizeof(want), "tithe.conf:%d: %s",
                 strncmp(bad_lines[i].error, "kernel: cannot", 14) == 0 ? 2 : 3,
                 bad_lines[i].error);
        r = parse(text);
        assert_int_equal(r->nr_lines, 1);
        assert_string_equal(r->lines[0], want);
        assert_int_equal(r->nr_vms, 1);
        assert_false(r->vms[0].valid);
    }
}

static const struct {
    const char *text, *error;
    unsigned nr_vms;
} bad_files[] = {
    {"[vm a]\ncpus = 2\n", "tithe.conf:1: vm a: no kernel (kernel = MODULE)", 1},
    {"cpus = 2\n", "tithe.conf:1: cpus: outside of a section (start one with [vm NAME])", 0},
    {"[vm a]\nfirmware = vmlinuz\nboot_order = disk,usb\n",
     "tithe.conf:3: boot_order = disk,usb: not a list of floppy, disk, cdrom, network", 1},
    {"[vm a]\nfirmware = vmlinuz\nboot_order = disk,\n",
     "tithe.conf:3: boot_order = disk,: not a list of floppy, disk, cdrom, network", 1},
    {"[vm a]\nfirmware = vmlinuz\nboot_order = disk, cdrom, disk, disk, disk, disk\n",
     "tithe.conf:3: boot_order = disk, cdrom, disk, disk, disk, disk: disk is there twice", 1},
    {"[vm a]\nfirmware = vmlinuz\nboot_order =\n",
     "tithe.conf:3: boot_order = : not a list of floppy, disk, cdrom, network", 1},
    {"[vm a]\nfirmware = vmlinuz\ncmdline = x\n",
     "tithe.conf:3: cmdline: cannot be used with firmware", 1},
    {"[vm a]\nkernel = vmlinuz\ndisk = vmlinuz\ndisk2 = vmlinuz\ndisk3 = vmlinuz\n"
     "disk4 = vmlinuz\ncdrom = vmlinuz\n",
     "tithe.conf:7: cdrom: no place left beside 4 disks", 1},
    {"[disk x]\nsize = 1\n", "tithe.conf:1: unknown section (it must be [vm NAME])", 0},
    {"[]", "tithe.conf:1: unknown section (it must be [vm NAME])", 0},
    {"[vm]\nkernel = x", "tithe.conf:1: no VM name ([vm NAME])", 0},
    {"[vm \"\"]", "tithe.conf:1: no VM name ([vm NAME])", 0},
    {"[vm a b]", "tithe.conf:1: a VM's name has letters, digits, and the characters _ - . only", 0},
    {"[vm \"a b\"]", "tithe.conf:1: a VM's name has letters, digits, and the characters _ - . only",
     0},
    {"[vm \"a\"", "tithe.conf:1: the closing ] is missing", 0},
    {"[vm a] b", "tithe.conf:1: text after the ]", 0},
    {"[vm a1234567890123456789012345678901]",
     "tithe.conf:1: the VM's name is too long (at most 31 bytes)", 0},
    {"[vm a]\nkernel=vmlinuz\n[vm a]\nkernel=vmlinuz\n", "tithe.conf:3: vm a: is on line 1 already",
     2},
    {"[vm a]\nkernel=vmlinuz\n[vm b]\nkernel=vmlinuz\n[vm c]\nkernel=vmlinuz\n"
     "[vm d]\nkernel=vmlinuz\n[vm e]\nkernel=vmlinuz\n",
     "tithe.conf:9: vm e: too many VMs (at most 4)", 4},
};

static void test_bad_files(void **state)
{
    struct result *r;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
        r = parse(bad_files[i].text);
        assert_int_equal(r->nr_lines, 1);
        assert_string_equal(r->lines[0], bad_files[i].error);
        assert_int_equal(r->nr_vms, bad_files[i].nr_vms);
    }
}

/* One bad VM does not take the others with it. */
static void test_others_go_on(void **state)
{
    struct result *r = parse("[vm a]\nkernel = vmlinuz\ncpus = 99\nmemory = 1T\n"
                             "[vm b]\nkernel = vmlinuz\n"
                             "[vm b]\nkernel = vmlinuz\n"
                             "[bad]\nkernel = nowhere\n"
                             "[vm c]\nkernel = vmlinuz\n");

    (void)state;
    assert_int_equal(r->nr_vms, 4);
    assert_false(r->vms[0].valid);
    assert_true(r->vms[1].valid);
    assert_false(r->vms[2].valid);
    assert_true(r->vms[3].valid);
    assert_string_equal(r->vms[3].name, "c");
    assert_int_equal(r->nr_lines, 4);
    assert_string_equal(r->lines[1], "tithe.conf:4: memory = 1T: not a size (use 256M or 1G)");
}

/* A command line of exactly the greatest length fits, one byte more does not. */
static void test_longest(void **state)
{
    static char text[CONFIG_CMDLINE_MAX + 100];
    int n = sprintf(text, "[vm a]\nkernel=vmlinuz\ncmdline = ");
    struct result *r;

    (void)state;
    memset(text + n, 'x', CONFIG_CMDLINE_MAX - 1);
    r = parse(text);
    assert_int_equal(r->nr_lines, 0);
    assert_int_equal(strlen(r->vms[0].cmdline), CONFIG_CMDLINE_MAX - 1);
    text[n + CONFIG_CMDLINE_MAX - 1] = 'x';
    r = parse(text);
    assert_int_equal(r->nr_lines, 1);
    assert_string_equal(r->lines[0], "tithe.conf:3: cmdline = xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                     "...: too long (at most 2047 bytes)");
    assert_false(r->vms[0].valid);
}

/* A value's continuation keeps the line numbers right. */
static void test_lines(void **state)
{
    struct result *r = parse("[vm a]\nkernel = vmlinuz\ncmdline = a \\\r\n b \\\n c\ncpus = x\n");

    (void)state;
    assert_string_equal(r->vms[0].cmdline, "a  b  c");
    assert_int_equal(r->nr_lines, 1);
    assert_string_equal(r->lines[0], "tithe.conf:6: cpus = x: not a number");
}

/* A large file of errors ends with one line that says that there are more. */
static void test_flood(void **state)
{
    size_t n = 1 << 20;
    char *text = malloc(n);
    struct result *r;

    (void)state;
    for (size_t i = 0; i < n; i++)
        text[i] = i % 4 == 3 ? '\n' : '\0';
    r = parse_bytes(text, n);
    assert_int_equal(r->nr_vms, 0);
    assert_int_equal(r->nr_lines, 51);
    assert_string_equal(r->lines[50], "tithe.conf:51: too many errors, the rest is not shown");
    free(text);
}

/* Random bytes, and a good file with random damage: bounded, and no field is left unterminated. */
static void test_fuzz(void **state)
{
    static const char seed_text[] = "[vm \"a\"]\nkernel = vmlinuz\nmemory = 64M # x\n"
                                    "cmdline = \"a \\\"b\" \\\n c\ncpus = 2\non_crash = restart\n"
                                    "[vm b]\nkernel=vmlinuz\nacpi = no\n"
                                    "[vm c]\nfirmware=vmlinuz\nboot_order = disk, cdrom\n"
                                    "disk = initrd.img\n";
    static const char letters[] = "[]\"\\\n\r#;= \tvmkernelcpus0123456789MGK\0\xff";
    char text[sizeof(seed_text) * 2];
    size_t n;

    (void)state;
    srand(1);
    for (int round = 0; round < 30000; round++) {
        n = sizeof(seed_text) - 1;
        memcpy(text, seed_text, n);
        for (int i = rand() % 8; i >= 0; i--)
            text[(size_t)rand() % n] = letters[(size_t)rand() % (sizeof(letters) - 1)];
        if (round % 4 == 0)
            n = (size_t)rand() % n;
        if (round % 4 == 1)
            for (size_t i = 0; i < n; i++)
                text[i] = letters[(size_t)rand() % (sizeof(letters) - 1)];
        struct result *r = parse_bytes(text, n);
        for (unsigned i = 0; i < r->nr_vms; i++) {
            assert_non_null(memchr(r->vms[i].cmdline, 0, CONFIG_CMDLINE_MAX));
            assert_non_null(memchr(r->vms[i].kernel, 0, CONFIG_MODULE_MAX));
            if (r->vms[i].valid) {
                assert_in_range(r->vms[i].cpus, 1, CONFIG_MAX_CPUS);
                assert_in_range(r->vms[i].memory, CONFIG_MIN_MEMORY, CONFIG_MAX_MEMORY);
                assert_true(module_exists(NULL, r->vms[i].kernel) ||
                            module_exists(NULL, r->vms[i].firmware));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),      cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_firmware),  cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_bad_files), cmocka_unit_test(test_others_go_on),
        cmocka_unit_test(test_longest),   cmocka_unit_test(test_lines),
        cmocka_unit_test(test_flood),     cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
