/* A whole machine: allocations that fail one by one, and damaged state streams. */
#include "tests/unit/pc.h"

/* Whichever allocation fails, creation fails cleanly; fake_host_finish sees what is left over. */
static void test_no_memory(void **state)
{
    struct machine_config config = {.nr_vcpus = 2, .ram_bytes = MIB(64), .debug_console = true};
    int err = E_NOMEM;
    struct pc pc;
    long n;

    (void)state;
    for (n = 0; err != 0; n++) {
        memset(&pc, 0, sizeof(pc));
        fake_host_init(&pc.f);
        pc.f.allocs_left = n;
        err = machine_create(&pc.m, &pc.f.host, &config, &fake_cpu_ops, &pc.f);
        assert_true(err == 0 || err == E_NOMEM);
        if (err == 0)
            machine_destroy(&pc.m);
        fake_host_finish(&pc.f);
    }
    assert_true(n > 10);
}

/* Some accesses to every device; none may find the machine in an impossible state. */
static void use(struct pc *pc)
{
    static const uint16_t ports[] = {0x60,  0x64,  0x70,  0x71,  0x3f8, 0x3fa, 0x3f9, 0x3fd,
                                     0x600, 0x602, 0x608, 0xcf8, 0xcfc, 0x92,  0x80,  0x60c};

    for (int i = 0; i < 200; i++) {
        unsigned port = ports[(size_t)rand() % ARRAY_SIZE(ports)];

        if (rand() & 1)
            pc_out(pc, port, 1u << rand() % 3, (uint32_t)rand());
        else
            (void)pc_in(pc, port, 1u << rand() % 3);
        if (i % 50 == 0)
            fake_host_advance(&pc->f, fake_host_us(10000));
    }
}

static void test_damaged_stream(void **state)
{
    static uint8_t good[65536], bad[65536];
    struct device_state s = {.buf = good, .size = sizeof(good)};
    unsigned loaded = 0;
    struct pc pc, to;
    bool ok;

    (void)state;
    srand(10);
    pc_init(&pc);
    use(&pc);
    assert_true(machine_save(&pc.m, &s));
    for (int round = 0; round < 1500; round++) {
        struct device_state l = {.buf = bad, .size = s.pos};

        memcpy(bad, good, s.pos);
        for (int i = rand() % 20; i > 0; i--)
            bad[(size_t)rand() % s.pos] = (uint8_t)rand();
        if (round % 8 == 0)
            l.size = (size_t)rand() % s.pos;
        pc_init(&to);
        ok = machine_load(&to.m, &l);
        loaded += ok;
        assert_true(l.pos <= l.size);
        if (l.size < s.pos)
            assert_false(ok);
        use(&to);
        pc_finish(&to);
    }
    assert_in_range(loaded, 50, 1400);
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_damaged_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
