/* The local APIC's timer: counts, modes, phase, and a calibration as Linux does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "devices/lapic.h"
#include "lib/string.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

#define MSR_TSC_DEADLINE 0x6e0
#define VECTOR           0xec
#define MASKED           0x10000
#define PERIODIC         0x20000
#define DEADLINE         0x40000
#define DIVIDE_1         0xb
#define DIVIDE_16        0x3
/* TSC ticks per count at divide by 1: the fake machine's apic_shift is 3. */
#define TICK 8

struct fixture {
    struct fake_host host;
    struct machine m;
    struct lapic *l;
};

static int setup(void **state)
{
    static struct fixture f;

    fake_host_init(&f.host);
    fake_machine_create(&f.host, &f.m, 1);
    f.l = f.m.lapic[0];
    lapic_write(f.l, LAPIC_SVR, 0x1ff);
    lapic_write(f.l, LAPIC_TIMER_DIVIDE, DIVIDE_1);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    machine_destroy(&f->m);
    fake_host_finish(&f->host);
    return 0;
}

/* Whether the timer's interrupt is pending; takes it. */
static bool ticked(struct fixture *f)
{
    if (lapic_pending(f->l) != VECTOR)
        return false;
    lapic_accept(f->l, VECTOR);
    lapic_eoi(f->l);
    return true;
}

static uint32_t current(struct fixture *f)
{
    return lapic_read(f->l, LAPIC_TIMER_CURRENT);
}

static void one_shot(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_TIMER, VECTOR);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 1000);
    assert_int_equal(current(f), 1000);
    fake_host_advance(&f->host, 300 * TICK);
    assert_int_equal(current(f), 700);
    fake_host_advance(&f->host, 700 * TICK - 1);
    assert_int_equal(current(f), 1);
    assert_false(ticked(f));
    fake_host_advance(&f->host, 1);
    assert_int_equal(current(f), 0);
    assert_true(ticked(f));
    fake_host_advance(&f->host, 5000 * TICK);
    assert_false(ticked(f));
    assert_int_equal(current(f), 0);
    assert_int_equal(lapic_read(f->l, LAPIC_TIMER_INITIAL), 1000);
}

static void stopped_by_zero(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_TIMER, VECTOR);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 1000);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 0);
    assert_int_equal(current(f), 0);
    fake_host_advance(&f->host, 2000 * TICK);
    assert_false(ticked(f));
}

static void dividers(void **state)
{
    struct fixture *f = *state;
    static const uint8_t config[] = {0xb, 0, 1, 2, 3, 8, 9, 0xa};

    lapic_write(f->l, LAPIC_LVT_TIMER, MASKED | VECTOR);
    for (unsigned i = 0; i < ARRAY_SIZE(config); i++) {
        lapic_write(f->l, LAPIC_TIMER_DIVIDE, config[i]);
        lapic_write(f->l, LAPIC_TIMER_INITIAL, 0xffffffff);
        fake_host_advance(&f->host, (100 * TICK) << i);
        assert_int_equal(current(f), 0xffffffff - 100);
    }
    assert_false(ticked(f));
}

static void divider_keeps_the_count(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_TIMER, VECTOR);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 1000);
    fake_host_advance(&f->host, 400 * TICK);
    lapic_write(f->l, LAPIC_TIMER_DIVIDE, DIVIDE_16);
    assert_int_equal(current(f), 600);
    fake_host_advance(&f->host, 16 * 600 * TICK - 1);
    assert_false(ticked(f));
    fake_host_advance(&f->host, 1);
    assert_true(ticked(f));
    lapic_write(f->l, LAPIC_TIMER_DIVIDE, DIVIDE_1);
    assert_int_equal(current(f), 0); /* it does not come to life again */
}

/* Each period begins where the last one ended, even when it is served late. */
static void periodic_keeps_phase(void **state)
{
    struct fixture *f = *state;
    uint64_t start = f->host.now, period = 10000 * TICK;

    lapic_write(f->l, LAPIC_LVT_TIMER, PERIODIC | VECTOR);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 10000);
    for (unsigned i = 1; i <= 100; i++) {
        fake_host_jump(&f->host, start + i * period + i * 7 - f->host.now); /* i * 7 late */
        assert_true(ticked(f));
        assert_int_equal(f->l->timer_deadline, start + (i + 1) * period);
    }
    fake_host_jump(&f->host, 50 * period + 3); /* not scheduled: one tick, not fifty */
    assert_true(ticked(f));
    assert_false(ticked(f));
    assert_int_equal((f->l->timer_deadline - start) % period, 0);
    assert_in_range(f->l->timer_deadline - f->host.now, 1, period);
    fake_host_advance(&f->host, period);
    assert_true(ticked(f));
}

static void fast_periodic_is_bounded(void **state)
{
    struct fixture *f = *state;
    unsigned before;

    lapic_write(f->l, LAPIC_LVT_TIMER, PERIODIC | VECTOR);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 1);
    before = f->host.cpu[0].wakes;
    for (unsigned i = 0; i < 100000; i++) {
        fake_host_advance(&f->host, 10); /* 1 ms in all */
        ticked(f);
    }
    assert_in_range(f->host.cpu[0].wakes - before, 40, 51);
}

static void masked_does_not_tick(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_TIMER, PERIODIC | MASKED | VECTOR);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 10000);
    fake_host_advance(&f->host, 25000 * TICK);
    assert_false(ticked(f));
    assert_int_equal(current(f), 5000);
    lapic_write(f->l, LAPIC_LVT_TIMER, PERIODIC | VECTOR);
    fake_host_advance(&f->host, 5000 * TICK);
    assert_true(ticked(f));
}

static void tsc_deadline(void **state)
{
    struct fixture *f = *state;
    uint64_t v;

    assert_true(lapic_msr_write(f->l, MSR_TSC_DEADLINE, f->host.now + 100));
    assert_true(lapic_msr_read(f->l, MSR_TSC_DEADLINE, &v) && v == 0); /* not in that mode */
    lapic_write(f->l, LAPIC_LVT_TIMER, DEADLINE | VECTOR);
    assert_true(lapic_msr_write(f->l, MSR_TSC_DEADLINE, f->host.now + 100));
    assert_true(lapic_msr_read(f->l, MSR_TSC_DEADLINE, &v) && v == f->host.now + 100);
    fake_host_advance(&f->host, 99);
    assert_false(ticked(f));
    fake_host_advance(&f->host, 1);
    assert_true(ticked(f));
    assert_true(lapic_msr_read(f->l, MSR_TSC_DEADLINE, &v) && v == 0);
    assert_true(lapic_msr_write(f->l, MSR_TSC_DEADLINE, 1)); /* long past: at once */
    fake_host_advance(&f->host, 0);
    assert_true(ticked(f));
    assert_true(lapic_msr_write(f->l, MSR_TSC_DEADLINE, f->host.now + 100));
    assert_true(lapic_msr_write(f->l, MSR_TSC_DEADLINE, 0));
    fake_host_advance(&f->host, 200);
    assert_false(ticked(f));
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 100); /* ignored in this mode */
    assert_int_equal(lapic_read(f->l, LAPIC_TIMER_INITIAL), 0);
    assert_int_equal(current(f), 0);
    assert_true(lapic_msr_write(f->l, MSR_TSC_DEADLINE, f->host.now + 100));
    lapic_write(f->l, LAPIC_LVT_TIMER, VECTOR); /* another mode disarms */
    fake_host_advance(&f->host, 200);
    assert_false(ticked(f));
    assert_true(lapic_msr_read(f->l, MSR_TSC_DEADLINE, &v) && v == 0);
}

/*
 * Linux measures the APIC timer over a tenth of a second: it counts down from the top with divide
 * by 16 while another clock goes on.
 */
static void calibration(void **state)
{
    struct fixture *f = *state;
    uint64_t hz;

    lapic_write(f->l, LAPIC_LVT_TIMER, MASKED | VECTOR);
    lapic_write(f->l, LAPIC_TIMER_DIVIDE, DIVIDE_16);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 0xffffffff);
    fake_host_advance(&f->host, fake_host_us(100000));
    hz = (uint64_t)(0xffffffff - current(f)) * 16 * 10;
    assert_in_range(hz, FAKE_TSC_HZ / TICK - 160, FAKE_TSC_HZ / TICK);
}

static void reset_stops_it(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_TIMER, PERIODIC | VECTOR);
    lapic_write(f->l, LAPIC_TIMER_INITIAL, 10000);
    lapic_reset_init(f->l);
    assert_int_equal(f->l->timer_deadline, TIMER_NEVER);
    lapic_write(f->l, LAPIC_SVR, 0x1ff);
    fake_host_advance(&f->host, 100000 * TICK);
    assert_false(ticked(f));
}

/* Whatever is programmed, the count is never above its start, and time is always found again. */
static void random_use(void **state)
{
    struct fixture *f = *state;
    struct random r = {11};
    unsigned ticks = 0;

    for (unsigned n = 0; n < 100000; n++) {
        unsigned what = random_below(&r, 16);

        if (what == 0)
            lapic_write(f->l, LAPIC_LVT_TIMER, VECTOR | random_below(&r, 4) << 17);
        else if (what == 1)
            lapic_write(f->l, LAPIC_TIMER_DIVIDE, (uint32_t)random_next(&r));
        else if (what == 2)
            lapic_write(f->l, LAPIC_TIMER_INITIAL,
                        (uint32_t)(random_next(&r) >> random_below(&r, 64)));
        else if (what == 3)
            assert_true(
                lapic_msr_write(f->l, MSR_TSC_DEADLINE, f->host.now + random_below(&r, 9999)));
        else if (what == 4)
            fake_host_jump(&f->host, random_next(&r) >> (20 + random_below(&r, 40)));
        else
            fake_host_advance(&f->host, random_below(&r, 100000));
        assert_true(current(f) <= lapic_read(f->l, LAPIC_TIMER_INITIAL));
        assert_true(timerq_next(&f->host.timers) > f->host.now || what < 4);
        ticks += ticked(f);
        if (f->host.now > BIT(60)) { /* centuries: as after a new start */
            machine_reset(&f->m);
            lapic_write(f->l, LAPIC_SVR, 0x1ff);
            f->host.now = FAKE_TSC_HZ;
        }
    }
    assert_true(ticks > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_shot, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_by_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(dividers, setup, teardown),
        cmocka_unit_test_setup_teardown(divider_keeps_the_count, setup, teardown),
        cmocka_unit_test_setup_teardown(periodic_keeps_phase, setup, teardown),
        cmocka_unit_test_setup_teardown(fast_periodic_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(masked_does_not_tick, setup, teardown),
        cmocka_unit_test_setup_teardown(tsc_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(calibration, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_stops_it, setup, teardown),
        cmocka_unit_test_setup_teardown(random_use, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
