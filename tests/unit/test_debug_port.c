/* devices/debug_port: POST codes, the delay port, and the console's lines. */
#include "devices/debug_port.h"
#include "tests/unit/pc.h"

static void text(struct pc *pc, unsigned port, const char *s)
{
    for (; *s != '\0'; s++)
        pc_outb(pc, port, (unsigned char)*s);
}

static void init_console(struct pc *pc)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(2), .debug_console = true};

    pc_init_with(pc, &config);
}

static void test_post_and_delay(void **state)
{
    const struct bus_counters *counters;
    uint8_t code;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    counters = bus_counters(pc.m.bus);
    assert_false(debug_port_post(pc.m.debug_port, &code));
    pc_outb(&pc, 0x80, 0x5a);
    assert_true(debug_port_post(pc.m.debug_port, &code));
    assert_int_equal(code, 0x5a);
    assert_int_equal(pc_inb(&pc, 0x80), 0x5a);
    pc_outb(&pc, 0xed, 1);
    assert_int_equal(pc_inb(&pc, 0xed), 0xff);
    assert_int_equal(counters->unclaimed_reads + counters->unclaimed_writes, 0);
    /* No console unless it was asked for. */
    text(&pc, 0xe9, "x\n");
    text(&pc, 0x402, "x\n");
    assert_int_equal(pc_inb(&pc, 0xe9), 0xff);
    assert_int_equal(pc.f.log_lines, 0);
    assert_int_equal(counters->unclaimed_writes, 4);
    machine_reset(&pc.m);
    assert_int_equal(pc_inb(&pc, 0x80), 0);
    assert_false(debug_port_post(pc.m.debug_port, &code));
    pc_finish(&pc);
}

static void test_console(void **state)
{
    char long_line[300];
    struct pc pc;

    (void)state;
    init_console(&pc);
    assert_int_equal(pc_inb(&pc, 0xe9), 0xe9);
    assert_int_equal(pc_inb(&pc, 0x402), 0xe9);
    text(&pc, 0x402, "SeaBIOS (version 1.16)\r");
    assert_int_equal(pc.f.log_lines, 0);
    text(&pc, 0xe9, "\n\n\n");
    assert_int_equal(pc.f.log_lines, 1);
    assert_string_equal(pc.f.last_log, "SeaBIOS (version 1.16)");
    text(&pc, 0xe9, "a\tb\x1b[2J\xff\n");
    assert_string_equal(pc.f.last_log, "a b?[2J?");
    memset(long_line, 'x', sizeof(long_line) - 1);
    long_line[sizeof(long_line) - 1] = '\0';
    text(&pc, 0xe9, long_line);
    assert_int_equal(pc.f.log_lines, 4);
    assert_int_equal(strlen(pc.f.last_log), 120);
    machine_reset(&pc.m); /* what was begun is not lost */
    assert_int_equal(pc.f.log_lines, 5);
    assert_int_equal(strlen(pc.f.last_log), 299 - 240);
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    struct pc a, b;
    uint8_t code;

    (void)state;
    init_console(&a);
    init_console(&b);
    text(&a, 0xe9, "hel");
    pc_outb(&a, 0x80, 0x42);
    pc_migrate(&a, &b);
    text(&b, 0xe9, "lo\n");
    assert_string_equal(b.f.last_log, "hello");
    assert_int_equal(pc_inb(&b, 0x80), 0x42);
    assert_true(debug_port_post(b.m.debug_port, &code));
    assert_int_equal(code, 0x42);
    pc_finish(&a);
    pc_finish(&b);
}

static void test_fuzz(void **state)
{
    struct pc pc;

    (void)state;
    srand(9);
    init_console(&pc);
    for (int i = 0; i < 100000; i++) {
        static const unsigned ports[] = {0x80, 0xed, 0xe9, 0x402};

        pc_out(&pc, ports[rand() % 4], 1u << rand() % 3, (uint32_t)rand());
        for (const char *c = pc.f.last_log; *c != '\0'; c++)
            assert_true(*c >= ' ' && *c <= '~');
    }
    assert_true(pc.f.log_lines > 100);
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post_and_delay),
        cmocka_unit_test(test_console),
        cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
