/* devices/debug_exit: not there unless asked for; what a write says and does. */
#include "tests/unit/pc.h"
#include "tests/unit/random.h"

#define PORT 0x501

static void init(struct pc *pc)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(2), .debug_exit = true};

    pc_init_with(pc, &config);
}

static void test_absent(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    pc_out(&pc, PORT, 4, 1);
    assert_int_equal(pc.f.power_offs, 0);
    assert_int_equal(pc.f.log_lines, 0);
    assert_int_equal(pc_in(&pc, PORT, 4), UINT32_MAX);
    pc_finish(&pc);
}

static void test_exit(void **state)
{
    static const struct {
        unsigned port, size;
        uint32_t value;
        const char *log;
    } writes[] = {
        {PORT, 1, 0, "debug exit 1"},           {PORT, 1, 0x10, "debug exit 33"},
        {PORT, 2, 0xffff, "debug exit 131071"}, {PORT, 4, UINT32_MAX, "debug exit 8589934591"},
        {PORT + 3, 1, 7, "debug exit 15"},
    };
    struct pc pc;

    (void)state;
    init(&pc);
    assert_int_equal(pc_in(&pc, PORT, 4), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
        pc_out(&pc, writes[i].port, writes[i].size, writes[i].value);
        assert_string_equal(pc.f.last_log, writes[i].log);
        assert_int_equal(pc.f.log_lines, i + 1);
        assert_int_equal(pc.f.power_offs, i + 1);
        /* On its way off it says nothing more. */
        pc_outb(&pc, PORT, 99);
        assert_int_equal(pc.f.log_lines, i + 1);
        assert_int_equal(pc.f.power_offs, i + 1);
        machine_reset(&pc.m);
    }
    pc_outb(&pc, PORT + 4, 1);
    assert_int_equal(pc.f.power_offs, ARRAY_SIZE(writes));
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    struct pc a, b;

    (void)state;
    init(&a);
    init(&b);
    pc_outb(&a, PORT, 1);
    pc_migrate(&a, &b);
    pc_outb(&b, PORT, 1);
    assert_int_equal(b.f.log_lines, 0);
    assert_int_equal(b.f.power_offs, 0);
    machine_reset(&b.m);
    pc_outb(&b, PORT, 1);
    assert_int_equal(b.f.power_offs, 1);
    pc_finish(&a);
    pc_finish(&b);
}

/* Accesses of every size around the ports: one line and one power-off until the reset. */
static void test_fuzz(void **state)
{
    struct random r = {5};
    struct pc pc;

    (void)state;
    init(&pc);
    for (unsigned round = 0; round < 1000; round++) {
        unsigned before = pc.f.power_offs;

        for (unsigned i = 0; i < 20; i++) {
            unsigned port = PORT - 4 + random_below(&r, 12), size = 1u << random_below(&r, 3);

            if (random_below(&r, 2))
                (void)pc_in(&pc, port, size);
            else
                pc_out(&pc, port, size, (uint32_t)random_next(&r));
        }
        assert_in_range(pc.f.power_offs - before, 0, 1);
        machine_reset(&pc.m);
    }
    assert_int_equal(pc.f.power_offs, pc.f.log_lines);
    assert_true(pc.f.power_offs > 500);
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_exit),
        cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
