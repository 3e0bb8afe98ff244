/* The 8254 and port 0x61: modes, latches, BCD, phase, and calibrations as kernels do them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "devices/pic.h"
#include "devices/pit_channel.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

#define CONTROL 0x43
#define SYSTEM  0x61

struct fixture {
    struct fake_host host;
    struct machine m;
};

/* ------------------------------------------------------------------ a counter by itself */

static void program(struct pit_channel *c, uint64_t tick, uint8_t control, uint16_t count)
{
    pit_channel_control(c, control);
    pit_channel_write(c, tick, (uint8_t)count);
    pit_channel_write(c, tick, (uint8_t)(count >> 8));
}

static uint16_t read16(struct pit_channel *c, uint64_t tick)
{
    uint8_t low = pit_channel_read(c, tick);

    return (uint16_t)(low | pit_channel_read(c, tick) << 8);
}

/* The output's course, from the tick on: "1" and "0". */
static const char *course(struct pit_channel *c, uint64_t tick, unsigned n)
{
    static char text[64];

    for (unsigned i = 0; i < n; i++)
        text[i] = pit_channel_output(c, tick + i) ? '1' : '0';
    text[n] = '\0';
    return text;
}

static void mode_0(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    program(&c, 100, 0x30, 4);
    assert_string_equal(course(&c, 101, 8), "00001111"); /* loaded at 101, up 4 later */
    assert_int_equal(read16(&c, 101), 4);
    assert_int_equal(read16(&c, 104), 1);
    assert_int_equal(read16(&c, 105), 0);
    assert_int_equal(read16(&c, 106), 0xffff); /* it goes on counting */
    assert_int_equal(pit_channel_next_rise(&c, 100), 105);
    assert_int_equal(pit_channel_next_rise(&c, 105), PIT_NEVER);
    pit_channel_write(&c, 110, 3); /* the first byte stops the count */
    assert_false(pit_channel_output(&c, 110));
    assert_int_equal(pit_channel_next_rise(&c, 110), PIT_NEVER);
    pit_channel_write(&c, 110, 0);
    assert_int_equal(pit_channel_next_rise(&c, 110), 114);
}

static void mode_0_gate(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, false);
    program(&c, 0, 0x30, 10);
    assert_int_equal(read16(&c, 500), 10); /* waits for the gate */
    pit_channel_set_gate(&c, 500, true);
    assert_int_equal(read16(&c, 504), 6);
    pit_channel_set_gate(&c, 504, false);
    assert_int_equal(read16(&c, 900), 6);
    pit_channel_set_gate(&c, 900, true);
    assert_false(pit_channel_output(&c, 905));
    assert_true(pit_channel_output(&c, 906));
}

static void mode_1(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, false);
    program(&c, 0, 0x32, 3);
    assert_true(pit_channel_output(&c, 50));
    pit_channel_set_gate(&c, 50, true);
    assert_string_equal(course(&c, 50, 7), "1000111");
    pit_channel_set_gate(&c, 60, false);
    pit_channel_set_gate(&c, 61, true);
    pit_channel_set_gate(&c, 62, false);
    pit_channel_set_gate(&c, 63, true); /* triggered again: longer */
    assert_string_equal(course(&c, 63, 6), "000011");
}

static void mode_2(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    program(&c, 0, 0x34, 4);
    assert_string_equal(course(&c, 1, 12), "111011101110");
    assert_int_equal(read16(&c, 1), 4);
    assert_int_equal(read16(&c, 4), 1);
    assert_int_equal(read16(&c, 5), 4);
    assert_int_equal(pit_channel_next_rise(&c, 1), 5);
    assert_int_equal(pit_channel_next_rise(&c, 5), 9);
    program(&c, 6, 0x34, 4);
    pit_channel_write(&c, 8, 3); /* a new count waits for the period's end, at 11 */
    pit_channel_write(&c, 8, 0);
    assert_string_equal(course(&c, 7, 10), "1110110110");
}

static void mode_3(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    program(&c, 0, 0x36, 4);
    assert_string_equal(course(&c, 1, 8), "11001100");
    assert_int_equal(read16(&c, 1), 4);
    assert_int_equal(read16(&c, 2), 2); /* by two */
    assert_int_equal(read16(&c, 3), 4);
    program(&c, 10, 0x36, 5); /* odd: up one longer */
    assert_string_equal(course(&c, 11, 10), "1110011100");
    assert_int_equal(pit_channel_next_rise(&c, 11), 16);
    pit_channel_write(&c, 21, 8); /* within the high half, which ends at 24: then 4 low */
    pit_channel_write(&c, 21, 0);
    assert_int_equal(pit_channel_next_rise(&c, 21), 28);
    assert_string_equal(course(&c, 21, 11), "11100001111");
    program(&c, 40, 0x3e, 4); /* mode 7 is mode 3 */
    assert_string_equal(course(&c, 41, 4), "1100");
}

static void mode_4_and_5(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    program(&c, 0, 0x38, 3);
    assert_string_equal(course(&c, 1, 7), "1110111");
    assert_int_equal(pit_channel_next_rise(&c, 1), 5);
    pit_channel_reset(&c, false);
    program(&c, 0, 0x3a, 3);
    assert_int_equal(pit_channel_next_rise(&c, 9), PIT_NEVER);
    pit_channel_set_gate(&c, 10, true);
    assert_string_equal(course(&c, 11, 7), "1110111");
}

static void bcd(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    program(&c, 0, 0x31, 0x1000);
    assert_int_equal(read16(&c, 1), 0x1000);
    assert_int_equal(read16(&c, 2), 0x0999);
    assert_int_equal(read16(&c, 1001), 0);
    assert_int_equal(read16(&c, 1002), 0x9999);
    assert_true(pit_channel_output(&c, 1001));
    program(&c, 0, 0x35, 0); /* 10000 */
    assert_int_equal(pit_channel_next_rise(&c, 1), 10001);
    program(&c, 0, 0x35, 0xffff); /* not digits: a number all the same */
    assert_in_range(pit_channel_next_rise(&c, 1), 2, 65536);
}

static void largest_count(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    program(&c, 0, 0x34, 0);
    assert_int_equal(pit_channel_next_rise(&c, 1), 65537);
    assert_int_equal(read16(&c, 1), 0);
    assert_int_equal(read16(&c, 2), 0xffff);
}

static void one_byte_access(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    pit_channel_control(&c, 0x14); /* low byte, mode 2 */
    pit_channel_write(&c, 0, 18);
    assert_int_equal(pit_channel_read(&c, 1), 18);
    assert_int_equal(pit_channel_read(&c, 2), 17);
    pit_channel_control(&c, 0x24); /* high byte */
    pit_channel_write(&c, 0, 2);
    assert_int_equal(pit_channel_read(&c, 1), 2);
    assert_int_equal(pit_channel_read(&c, 2), 1);
    assert_int_equal(pit_channel_next_rise(&c, 1), 513);
}

static void latches(void **state UNUSED)
{
    struct pit_channel c;

    pit_channel_reset(&c, true);
    program(&c, 0, 0x34, 1000);
    pit_channel_latch_count(&c, 101);
    pit_channel_latch_count(&c, 201); /* latched already */
    assert_int_equal(read16(&c, 500), 900);
    assert_int_equal(read16(&c, 501), 500);
    pit_channel_latch_status(&c, 501);
    pit_channel_latch_count(&c, 601);
    assert_int_equal(pit_channel_read(&c, 700), 0xb4); /* the status first: out, mode 2 */
    assert_int_equal(read16(&c, 700), 400);
    pit_channel_write(&c, 700, 1);
    pit_channel_write(&c, 700, 1);
    pit_channel_latch_status(&c, 702);
    assert_int_equal(pit_channel_read(&c, 702), 0xf4); /* null count: not in effect yet */
    pit_channel_latch_status(&c, 1002);
    assert_int_equal(pit_channel_read(&c, 1002), 0xb4);
}

/* ------------------------------------------------------------------ in the machine */

static int setup(void **state)
{
    static struct fixture f;

    fake_host_init(&f.host);
    fake_machine_create(&f.host, &f.m, 1);
    fake_outb(&f.m, 0x20, 0x11);
    fake_outb(&f.m, 0x21, 0x30);
    fake_outb(&f.m, 0x21, 0x04);
    fake_outb(&f.m, 0x21, 0x03); /* automatic EOI */
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

static bool ticked(struct fixture *f)
{
    if (!pic_output(f->m.pic))
        return false;
    assert_int_equal(pic_acknowledge(f->m.pic), 0x30);
    return true;
}

static void start_rate(struct fixture *f, uint16_t count)
{
    fake_outb(&f->m, CONTROL, 0x34);
    fake_outb(&f->m, 0x40, (uint8_t)count);
    fake_outb(&f->m, 0x40, (uint8_t)(count >> 8));
    ticked(f); /* to a mode with a high output: an edge of its own */
}

/* As many ticks in an hour as there should be, to the tick. */
static void periodic_does_not_drift(void **state)
{
    struct fixture *f = *state;
    uint64_t start = f->host.now, ticks = 0, seconds = 3600;

    start_rate(f, 11932); /* 100 Hz, nearly */
    while (f->host.now < start + seconds * FAKE_TSC_HZ) {
        fake_host_advance(&f->host, FAKE_TSC_HZ / 100 / 3); /* never in step */
        ticks += ticked(f);
    }
    assert_in_range(ticks, seconds * PIT_HZ / 11932 - 1, seconds * PIT_HZ / 11932 + 1);
}

static void missed_ticks_are_gone(void **state)
{
    struct fixture *f = *state;

    start_rate(f, 1193); /* 1 kHz */
    fake_host_jump(&f->host, 5 * FAKE_TSC_HZ);
    assert_true(ticked(f));
    assert_false(ticked(f));
    fake_host_advance(&f->host, fake_host_us(1001));
    assert_true(ticked(f));
    assert_false(ticked(f));
}

static void fast_rate_is_bounded(void **state)
{
    struct fixture *f = *state;
    unsigned ticks = 0;

    start_rate(f, 2);
    for (unsigned i = 0; i < 10000; i++) {
        fake_host_advance(&f->host, 100);
        ticks += ticked(f);
    }
    assert_in_range(ticks, 40, 50); /* in 1 ms */
}

static void one_shot_strobe(void **state)
{
    struct fixture *f = *state;

    start_rate(f, 1193);
    fake_outb(&f->m, CONTROL, 0x38); /* Linux's one-shot */
    fake_outb(&f->m, 0x40, 0xa9);
    fake_outb(&f->m, 0x40, 0x04);
    fake_host_advance(&f->host, fake_host_us(999));
    assert_false(ticked(f));
    fake_host_advance(&f->host, fake_host_us(4));
    assert_true(ticked(f));
    fake_host_advance(&f->host, FAKE_TSC_HZ);
    assert_false(ticked(f));
}

static void terminal_count_once(void **state)
{
    struct fixture *f = *state;

    fake_outb(&f->m, CONTROL, 0x30);
    fake_outb(&f->m, 0x40, 10);
    fake_outb(&f->m, 0x40, 0);
    fake_host_advance(&f->host, fake_host_us(8));
    assert_false(ticked(f));
    fake_host_advance(&f->host, fake_host_us(3));
    assert_true(ticked(f));
    fake_host_advance(&f->host, FAKE_TSC_HZ);
    assert_false(ticked(f));
}

/* Linux's pit_calibrate_tsc: counter 2 in mode 0 for 50 ms, seen at port 0x61. */
static void calibration_by_port_61(void **state)
{
    struct fixture *f = *state;
    uint64_t start, count = PIT_HZ / 20, hz;

    fake_outb(&f->m, SYSTEM, (uint8_t)((fake_inb(&f->m, SYSTEM) & ~2) | 1));
    fake_outb(&f->m, CONTROL, 0xb0);
    fake_outb(&f->m, 0x42, (uint8_t)count);
    fake_outb(&f->m, 0x42, (uint8_t)(count >> 8));
    start = f->host.now;
    while (!(fake_inb(&f->m, SYSTEM) & 0x20))
        fake_host_advance(&f->host, 1000);
    hz = (f->host.now - start) * PIT_HZ / count;
    assert_in_range(hz, FAKE_TSC_HZ - FAKE_TSC_HZ / 10000, FAKE_TSC_HZ + FAKE_TSC_HZ / 10000);
}

/* Linux's quick_pit_calibrate: it watches the upper byte of counter 2 go down. */
static void calibration_by_count(void **state)
{
    struct fixture *f = *state;
    uint8_t last = 0xff;
    uint64_t start = f->host.now, hz;

    fake_outb(&f->m, SYSTEM, 1);
    fake_outb(&f->m, CONTROL, 0xb0);
    fake_outb(&f->m, 0x42, 0xff);
    fake_outb(&f->m, 0x42, 0xff);
    while (last > 0xff - 64) {
        uint8_t high;

        fake_host_advance(&f->host, 500);
        fake_inb(&f->m, 0x42);
        high = fake_inb(&f->m, 0x42);
        assert_in_range(high, last - 1, last);
        last = high;
    }
    hz = (f->host.now - start) * PIT_HZ / (64 * 256);
    assert_in_range(hz, FAKE_TSC_HZ - FAKE_TSC_HZ / 2000, FAKE_TSC_HZ + FAKE_TSC_HZ / 2000);
}

static void system_port(void **state)
{
    struct fixture *f = *state;
    unsigned changes = 0, last = 0;

    fake_outb(&f->m, SYSTEM, 0xff);
    assert_int_equal(fake_inb(&f->m, SYSTEM) & 0xcf, 0x0f);
    for (unsigned i = 0; i < 10000; i++) { /* 1 ms: the refresh bit changes every 15.1 us */
        unsigned bit = fake_inb(&f->m, SYSTEM) & 0x10;

        changes += bit != last;
        last = bit;
        fake_host_advance(&f->host, 100);
    }
    assert_in_range(changes, 65, 68);
    assert_int_equal(fake_inb(&f->m, CONTROL), 0xff);
}

static void read_back(void **state)
{
    struct fixture *f = *state;
    unsigned count;

    start_rate(f, 1000);
    fake_outb(&f->m, CONTROL, 0x94); /* counter 2, low byte, mode 2 */
    fake_outb(&f->m, 0x42, 50);
    fake_host_advance(&f->host, fake_host_us(100));
    fake_outb(&f->m, CONTROL, 0xc2 | 8); /* status and count of 0 and 2 */
    fake_host_advance(&f->host, fake_host_us(100));
    assert_int_equal(fake_inb(&f->m, 0x40), 0xb4);
    count = fake_inb(&f->m, 0x40);
    count |= (unsigned)fake_inb(&f->m, 0x40) << 8;
    assert_in_range(count, 880, 884);
    assert_int_equal(fake_inb(&f->m, 0x42), 0x94);
    assert_int_equal(fake_inb(&f->m, 0x42), 50); /* its gate is closed */
}

static void random_use(void **state)
{
    struct fixture *f = *state;
    struct random r = {13};
    unsigned ticks = 0;

    for (unsigned n = 0; n < 200000; n++) {
        unsigned what = random_below(&r, 8);

        if (what == 0)
            fake_outb(&f->m, CONTROL, (uint8_t)random_next(&r));
        else if (what == 1)
            fake_outb(&f->m, SYSTEM, (uint8_t)random_next(&r));
        else if (what < 5)
            fake_outb(&f->m, (uint16_t)(0x40 + random_below(&r, 3)), (uint8_t)random_next(&r));
        else if (what == 5)
            fake_inb(&f->m, (uint16_t)(0x40 + random_below(&r, 4)));
        else if (what == 6)
            fake_host_jump(&f->host, random_next(&r) >> (30 + random_below(&r, 30)));
        else
            fake_host_advance(&f->host, random_below(&r, 10000000));
        fake_inb(&f->m, SYSTEM);
        ticks += ticked(f);
    }
    assert_true(ticks > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mode_0),
        cmocka_unit_test(mode_0_gate),
        cmocka_unit_test(mode_1),
        cmocka_unit_test(mode_2),
        cmocka_unit_test(mode_3),
        cmocka_unit_test(mode_4_and_5),
        cmocka_unit_test(bcd),
        cmocka_unit_test(largest_count),
        cmocka_unit_test(one_byte_access),
        cmocka_unit_test(latches),
        cmocka_unit_test_setup_teardown(periodic_does_not_drift, setup, teardown),
        cmocka_unit_test_setup_teardown(missed_ticks_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(fast_rate_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(one_shot_strobe, setup, teardown),
        cmocka_unit_test_setup_teardown(terminal_count_once, setup, teardown),
        cmocka_unit_test_setup_teardown(calibration_by_port_61, setup, teardown),
        cmocka_unit_test_setup_teardown(calibration_by_count, setup, teardown),
        cmocka_unit_test_setup_teardown(system_port, setup, teardown),
        cmocka_unit_test_setup_teardown(read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(random_use, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
