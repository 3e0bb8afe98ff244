/* devices/acpi_pm: power off, the timer against the TSC, its overflow, the SCI. */
#include "tests/unit/pc.h"

#include "devices/acpi_pm.h"

#define STATUS  0x600
#define ENABLE  0x602
#define CONTROL 0x604
#define TIMER   0x608
#define GPE     0x60c

static void test_power_off(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    assert_int_equal(pc_in(&pc, CONTROL, 2), 1); /* SCI_EN: always in ACPI mode */
    pc_out(&pc, CONTROL, 2, 5 << 10);
    assert_int_equal(pc_in(&pc, CONTROL, 2), 5 << 10 | 1);
    pc_out(&pc, CONTROL, 2, 1 << 10 | 1 << 13); /* suspended to RAM, which there is not */
    pc_out(&pc, CONTROL, 2, 5 << 10 | 1 << 13);
    pc_out(&pc, CONTROL, 2, 0);
    assert_int_equal(pc.f.power_offs, 0);
    pc_out(&pc, CONTROL, 2, 0 << 10 | 1 << 13);
    assert_int_equal(pc.f.power_offs, 1);
    assert_false(pc_in(&pc, CONTROL, 2) & 1 << 13);
    pc_outb(&pc, CONTROL + 1, 1 << 13 >> 8); /* by bytes */
    assert_int_equal(pc.f.power_offs, 2);
    pc_finish(&pc);
}

static void test_timer(void **state)
{
    uint32_t start, end;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    start = pc_in(&pc, TIMER, 4);
    fake_host_advance(&pc.f, FAKE_TSC_HZ);
    end = pc_in(&pc, TIMER, 4);
    assert_in_range(end - start, 3579544, 3579546);
    fake_host_advance(&pc.f, 100 * FAKE_TSC_HZ);
    assert_in_range(pc_in(&pc, TIMER, 4) - end, 357954499, 357954501); /* no drift */
    assert_int_equal(pc_inb(&pc, TIMER + 1), pc_in(&pc, TIMER, 4) >> 8 & 0xff);
    pc_out(&pc, TIMER, 4, 0); /* read-only */
    assert_in_range(pc_in(&pc, TIMER, 4) - end, 357954499, 357954501);
    pc_finish(&pc);
}

/* The status bit rises each time the timer's highest bit changes: every 599.93 s. */
static void test_overflow(void **state)
{
    const uint64_t half = (1ull << 31) * FAKE_TSC_HZ / 3579545;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    fake_host_advance(&pc.f, half - 2 * FAKE_TSC_HZ);
    assert_int_equal(pc_in(&pc, STATUS, 2), 0);
    pc_out(&pc, ENABLE, 2, 1);
    assert_int_equal(pc_in(&pc, ENABLE, 2), 1);
    fake_host_advance(&pc.f, FAKE_TSC_HZ / 2);
    assert_false(pc_irq(&pc, 9));
    fake_host_advance(&pc.f, FAKE_TSC_HZ);
    assert_true(pc_irq(&pc, 9));
    assert_true(pc_in(&pc, TIMER, 4) >> 31);
    assert_int_equal(pc_in(&pc, STATUS, 2), 1);
    assert_true(list_empty(&pc.f.timers.timers)); /* nothing more to tell */
    pc_out(&pc, STATUS, 2, 1);
    assert_false(pc_irq(&pc, 9));
    assert_int_equal(pc_in(&pc, STATUS, 2), 0);
    fake_host_advance(&pc.f, half - FAKE_TSC_HZ);
    assert_false(pc_irq(&pc, 9));
    fake_host_advance(&pc.f, 2 * FAKE_TSC_HZ);
    assert_true(pc_irq(&pc, 9));
    pc_out(&pc, ENABLE, 2, 0);
    assert_false(pc_irq(&pc, 9));
    assert_int_equal(pc_in(&pc, STATUS, 2), 1);
    pc_finish(&pc);
}

static void test_power_button(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    acpi_pm_power_button(&pc.m);
    assert_int_equal(pc_in(&pc, STATUS, 2), 1 << 8);
    assert_false(pc_irq(&pc, 9));
    pc_out(&pc, ENABLE, 2, 0xffff);
    assert_int_equal(pc_in(&pc, ENABLE, 2), 0x521);
    assert_true(pc_irq(&pc, 9));
    pc_outb(&pc, STATUS + 1, 1);
    assert_false(pc_irq(&pc, 9));
    acpi_pm_power_button(&pc.m);
    assert_true(pc_irq(&pc, 9));
    machine_reset(&pc.m);
    assert_false(pc_irq(&pc, 9));
    assert_int_equal(pc_in(&pc, ENABLE, 2), 0);
    pc_finish(&pc);
}

static void test_gpe(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    acpi_pm_event(&pc.m, 3);
    acpi_pm_event(&pc.m, 9);
    assert_int_equal(pc_in(&pc, GPE, 2), 0x208);
    assert_false(pc_irq(&pc, 9));
    pc_outb(&pc, GPE + 3, 2);
    assert_true(pc_irq(&pc, 9));
    pc_outb(&pc, GPE + 1, 2);
    assert_false(pc_irq(&pc, 9));
    assert_int_equal(pc_in(&pc, GPE, 4), 0x02000008);
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    struct pc a, b;

    (void)state;
    pc_init(&a);
    pc_init(&b);
    pc_out(&a, ENABLE, 2, 0x101);
    acpi_pm_power_button(&a.m);
    pc_out(&a, CONTROL, 2, 5 << 10);
    pc_migrate(&a, &b);
    assert_true(pc_irq(&b, 9));
    assert_int_equal(pc_in(&b, STATUS, 2), 0x100);
    assert_int_equal(pc_in(&b, CONTROL, 2), 5 << 10 | 1);
    assert_int_equal(pc_in(&a, TIMER, 4), pc_in(&b, TIMER, 4));
    pc_finish(&a);
    pc_finish(&b);
}

/* The SCI is up exactly when an enabled event is there. */
static void test_fuzz(void **state)
{
    struct pc pc;

    (void)state;
    srand(6);
    pc_init(&pc);
    for (int i = 0; i < 100000; i++) {
        unsigned port = 0x600 + (unsigned)rand() % 0x10, size = 1u << rand() % 3;
        bool want;

        if (rand() % 64 == 0)
            fake_host_advance(&pc.f, (uint64_t)rand() * 100);
        else if (rand() % 16 == 0)
            acpi_pm_event(&pc.m, (unsigned)rand());
        else if (rand() % 2)
            pc_out(&pc, port, size, (uint32_t)rand());
        else
            (void)pc_in(&pc, port, size);
        pc_out(&pc, STATUS, 2, 0); /* makes it look at the timer */
        want = (pc_in(&pc, STATUS, 2) & pc_in(&pc, ENABLE, 2)) ||
               (pc_in(&pc, GPE, 2) & pc_in(&pc, GPE + 2, 2));
        assert_int_equal(pc_irq(&pc, 9), want);
    }
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_off), cmocka_unit_test(test_timer),
        cmocka_unit_test(test_overflow),  cmocka_unit_test(test_power_button),
        cmocka_unit_test(test_gpe),       cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
