/* devices/rtc: the calendar against the C library's, setting it, each interrupt, CMOS RAM. */
#include "tests/unit/pc.h"

#include <time.h>

#define HZ    FAKE_TSC_HZ
#define REG_A 10
#define REG_B 11
#define REG_C 12
#define REG_D 13
#define B_SET 0x80
#define B_PIE 0x40
#define B_AIE 0x20
#define B_UIE 0x10
#define B_BIN 0x04
#define B_24H 0x02

static uint8_t get(struct pc *pc, unsigned reg)
{
    pc_outb(pc, 0x70, reg);
    return pc_inb(pc, 0x71);
}

static void set(struct pc *pc, unsigned reg, unsigned value)
{
    pc_outb(pc, 0x70, reg);
    pc_outb(pc, 0x71, value);
}

static unsigned bcd(unsigned v)
{
    return v / 10 << 4 | v % 10;
}

/* The clock shows what the C library says of t, in the mode that register B has. */
static void check_time(struct pc *pc, time_t t)
{
    bool bin = get(pc, REG_B) & B_BIN, h24 = get(pc, REG_B) & B_24H;
    struct tm tm;
    unsigned hour;

    gmtime_r(&t, &tm);
#define SHOWN(v) (bin ? (unsigned)(v) : bcd((unsigned)(v)))
    assert_int_equal(get(pc, 0), SHOWN(tm.tm_sec));
    assert_int_equal(get(pc, 2), SHOWN(tm.tm_min));
    hour = (unsigned)tm.tm_hour;
    if (h24)
        assert_int_equal(get(pc, 4), SHOWN(hour));
    else
        assert_int_equal(get(pc, 4), SHOWN(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12) << 7);
    assert_int_equal(get(pc, 6), tm.tm_wday + 1);
    assert_int_equal(get(pc, 7), SHOWN(tm.tm_mday));
    assert_int_equal(get(pc, 8), SHOWN(tm.tm_mon + 1));
    assert_int_equal(get(pc, 9), SHOWN(tm.tm_year % 100));
    assert_int_equal(get(pc, 0x32), SHOWN((tm.tm_year + 1900) / 100));
}

static void test_calendar(void **state)
{
    static const time_t times[] = {0,          951782399,    951782400,  951868800,
                                   1709164800, 1709251199,   1709251200, 1700000000,
                                   2147483647, 2147483648,   4102444799, 4102444800,
                                   4107542400, 253402300000, 1735689599, 1735689600};
    static const uint8_t modes[] = {B_24H, B_24H | B_BIN, 0, B_BIN};
    struct pc pc;

    (void)state;
    pc_init(&pc);
    for (size_t i = 0; i < ARRAY_SIZE(times); i++)
        for (size_t j = 0; j < ARRAY_SIZE(modes); j++) {
            pc.f.wall_base = 5000000000; /* far away, so that it is seen to have changed */
            (void)get(&pc, 0);
            pc.f.wall_base = (uint64_t)times[i];
            if (times[i] == 0)
                pc.f.wall_base = 100000;
            set(&pc, REG_B, modes[j]);
            time_t shown = (time_t)(pc.f.wall_base + 1);
            check_time(&pc, shown);
        }
    /* Every hour of the day, and of 400 days. */
    for (unsigned h = 0; h < 9600; h += h < 48 ? 1 : 25) {
        pc.f.wall_base = 1704067200ull + h * 3600ull;
        check_time(&pc, (time_t)pc.f.wall_base + 1);
    }
    pc_finish(&pc);
}

static void write_time(struct pc *pc, time_t t)
{
    struct tm tm;

    gmtime_r(&t, &tm);
    set(pc, 0, bcd((unsigned)tm.tm_sec));
    set(pc, 2, bcd((unsigned)tm.tm_min));
    set(pc, 4, bcd((unsigned)tm.tm_hour));
    set(pc, 7, bcd((unsigned)tm.tm_mday));
    set(pc, 8, bcd((unsigned)tm.tm_mon + 1));
    set(pc, 9, bcd((unsigned)tm.tm_year % 100));
    set(pc, 0x32, bcd((unsigned)(tm.tm_year + 1900) / 100));
}

/* As Linux sets the clock: SET and the divider's reset; then half a second to the next update. */
static void test_set(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    fake_host_advance(&pc.f, HZ / 3);
    set(&pc, REG_B, B_24H | B_SET);
    set(&pc, REG_A, 0x76);
    write_time(&pc, 1234567890);
    fake_host_advance(&pc.f, 10 * HZ); /* it stands still */
    assert_int_equal(get(&pc, 0), 0x30);
    set(&pc, REG_B, B_24H);
    set(&pc, REG_A, 0x26);
    check_time(&pc, 1234567890);
    fake_host_advance(&pc.f, HZ / 2 - 1000);
    check_time(&pc, 1234567890);
    assert_true(get(&pc, REG_A) & 0x80);
    fake_host_advance(&pc.f, 2000);
    check_time(&pc, 1234567891);
    assert_false(get(&pc, REG_A) & 0x80);
    /* It goes on from there, through a reset too, and over a pause of the VM. */
    fake_host_advance(&pc.f, 86400 * HZ);
    check_time(&pc, 1234567891 + 86400);
    machine_reset(&pc.m);
    check_time(&pc, 1234567891 + 86400);
    pc.f.wall_base += 5000;
    assert_int_equal(get(&pc, 2), bcd((1234567891 + 86400 + 5000) / 60 % 60));
    /* One register without SET. */
    set(&pc, 4, 0x07);
    assert_int_equal(get(&pc, 4), 0x07);
    fake_host_advance(&pc.f, 3600 * HZ);
    assert_int_equal(get(&pc, 4), 0x08);
    pc_finish(&pc);
}

/* UIP is up for the last 244 us of a second; after it falls the time was just updated. */
static void test_update_in_progress(void **state)
{
    unsigned ups = 0;
    uint8_t second;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    for (int i = 0; i < 1000000 && !(get(&pc, REG_A) & 0x80); i++)
        fake_host_advance(&pc.f, fake_host_us(10));
    second = get(&pc, 0);
    while (get(&pc, REG_A) & 0x80) {
        assert_int_equal(get(&pc, 0), second);
        fake_host_advance(&pc.f, fake_host_us(10));
        ups++;
    }
    assert_in_range(ups, 23, 26);
    assert_int_not_equal(get(&pc, 0), second);
    set(&pc, REG_B, B_24H | B_SET);
    for (unsigned i = 0; i < 200000; i++) {
        fake_host_advance(&pc.f, fake_host_us(10));
        assert_false(get(&pc, REG_A) & 0x80);
    }
    pc_finish(&pc);
}

/* Counts interrupts while ticks go by, answering each by reading register C. */
static unsigned count_interrupts(struct pc *pc, uint64_t ticks, uint64_t step, uint8_t expect)
{
    unsigned n = 0;

    for (uint64_t end = pc->f.now + ticks; pc->f.now < end;) {
        fake_host_advance(&pc->f, step);
        if (!pc_irq(pc, 8))
            continue;
        n++;
        assert_int_equal(get(pc, REG_C) & (0x80 | expect), 0x80 | expect);
        assert_false(pc_irq(pc, 8));
        assert_int_equal(get(pc, REG_C) & 0x80, 0);
    }
    return n;
}

static void test_periodic(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    set(&pc, REG_B, B_24H | B_PIE);
    assert_in_range(count_interrupts(&pc, 2 * HZ, fake_host_us(50), 0x40), 2047, 2049);
    set(&pc, REG_A, 0x2f); /* 2 Hz */
    assert_in_range(count_interrupts(&pc, 10 * HZ, fake_host_us(1000), 0x40), 19, 21);
    set(&pc, REG_A, 0x21); /* 256 Hz */
    assert_in_range(count_interrupts(&pc, HZ, fake_host_us(50), 0x40), 255, 257);
    set(&pc, REG_A, 0x23); /* 8192 Hz */
    assert_in_range(count_interrupts(&pc, HZ, fake_host_us(5), 0x40), 8190, 8193);
    /* Unanswered: one interrupt and no timers. After a long pause one, not thousands. */
    fake_host_advance(&pc.f, HZ);
    assert_true(pc_irq(&pc, 8));
    assert_true(list_empty(&pc.f.timers.timers));
    (void)get(&pc, REG_C);
    fake_host_jump(&pc.f, 100 * HZ);
    assert_in_range(count_interrupts(&pc, 1000, 1000, 0x40), 1, 1);
    set(&pc, REG_A, 0x20);
    (void)get(&pc, REG_C);
    assert_int_equal(count_interrupts(&pc, HZ, fake_host_us(1000), 0x40), 0);
    /* The flag shows without the interrupt. */
    set(&pc, REG_B, B_24H);
    set(&pc, REG_A, 0x26);
    (void)get(&pc, REG_C);
    assert_int_equal(get(&pc, REG_C), 0);
    fake_host_advance(&pc.f, fake_host_us(980));
    assert_int_equal(get(&pc, REG_C) & 0xc0, 0x40);
    assert_false(pc_irq(&pc, 8));
    pc_finish(&pc);
}

static void test_update_interrupt(void **state)
{
    uint8_t second;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    set(&pc, REG_B, B_24H | B_UIE);
    assert_in_range(count_interrupts(&pc, 60 * HZ, fake_host_us(1000), 0x10), 60, 60);
    second = get(&pc, 0);
    while (!pc_irq(&pc, 8))
        fake_host_advance(&pc.f, fake_host_us(1));
    assert_int_not_equal(get(&pc, 0), second); /* at the change, not later */
    assert_false(get(&pc, REG_A) & 0x80);
    set(&pc, REG_B, B_24H | B_UIE | B_SET);
    (void)get(&pc, REG_C);
    assert_int_equal(count_interrupts(&pc, 3 * HZ, fake_host_us(1000), 0x10), 0);
    pc_finish(&pc);
}

static void set_clock(struct pc *pc, time_t t)
{
    set(pc, REG_B, B_24H | B_SET);
    write_time(pc, t);
    set(pc, REG_B, B_24H);
}

static void test_alarm(void **state)
{
    uint64_t start;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    set_clock(&pc, 1700000000); /* 22:13:20 */
    set(&pc, 5, 0x22);
    set(&pc, 3, 0x14);
    set(&pc, 1, 0x05);
    (void)get(&pc, REG_C);
    set(&pc, REG_B, B_24H | B_AIE);
    assert_int_equal(count_interrupts(&pc, 44 * HZ, fake_host_us(10000), 0x20), 0);
    assert_int_equal(count_interrupts(&pc, 2 * HZ, fake_host_us(10000), 0x20), 1);
    assert_int_equal(count_interrupts(&pc, 86398 * HZ, HZ / 2, 0x20), 0);
    assert_int_equal(count_interrupts(&pc, 3 * HZ, HZ / 2, 0x20), 1);
    /* Don't care: each hour, each minute, each second. */
    set(&pc, 5, 0xff);
    assert_int_equal(count_interrupts(&pc, 86400 * HZ, HZ, 0x20), 24);
    set(&pc, 3, 0xc0);
    assert_int_equal(count_interrupts(&pc, 3600 * HZ, HZ / 4, 0x20), 60);
    set(&pc, 1, 0xff);
    assert_in_range(count_interrupts(&pc, 60 * HZ, HZ / 8, 0x20), 60, 60);
    /* No time of day: never, and it costs nothing. */
    set(&pc, 1, 0x75);
    assert_true(list_empty(&pc.f.timers.timers));
    start = pc.f.now;
    assert_int_equal(count_interrupts(&pc, 86400 * HZ, 60 * HZ, 0x20), 0);
    assert_true(pc.f.now > start);
    pc_finish(&pc);
}

static void test_cmos(void **state)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = GIB(5)};
    struct pc pc;

    (void)state;
    pc_init(&pc);
    assert_int_equal(get(&pc, 0x15) | get(&pc, 0x16) << 8, 640);
    assert_int_equal(get(&pc, 0x17) | get(&pc, 0x18) << 8, 63 * 1024);
    assert_int_equal(get(&pc, 0x34) | get(&pc, 0x35) << 8, 48 * 16);
    assert_int_equal(get(&pc, REG_D), 0x80);
    assert_int_equal(pc_inb(&pc, 0x70), 0xff);
    /* The shutdown byte and the RAM live through a reset; interrupts are off after it. */
    set(&pc, 0x8f, 0x0a); /* with NMIs masked */
    set(&pc, 0x7f, 0x55);
    set(&pc, REG_B, B_24H | B_PIE | B_UIE);
    fake_host_advance(&pc.f, 2 * HZ);
    machine_reset(&pc.m);
    assert_false(pc_irq(&pc, 8));
    assert_int_equal(get(&pc, REG_B), B_24H);
    assert_int_equal(get(&pc, 0x0f), 0x0a);
    assert_int_equal(get(&pc, 0x7f), 0x55);
    set(&pc, REG_C, 0xff);
    set(&pc, REG_D, 0);
    assert_int_equal(get(&pc, REG_D), 0x80);
    pc_finish(&pc);
    pc_init_with(&pc, &config);
    assert_int_equal(get(&pc, 0x30) | get(&pc, 0x31) << 8, 0xffff);
    assert_int_equal(get(&pc, 0x34) | get(&pc, 0x35) << 8, (3072 - 16) * 16);
    assert_int_equal(get(&pc, 0x5b) | get(&pc, 0x5c) << 8 | get(&pc, 0x5d) << 16, 2048 * 16);
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    struct pc a, b;

    (void)state;
    pc_init(&a);
    pc_init(&b);
    set_clock(&a, 1000000000);
    set(&a, REG_B, B_24H | B_UIE);
    fake_host_advance(&a.f, HZ / 3);
    pc_migrate(&a, &b);
    check_time(&b, 1000000000 + (a.f.now - HZ) / HZ);
    assert_in_range(count_interrupts(&b, 10 * HZ, fake_host_us(1000), 0x10), 10, 10);
    pc_finish(&a);
    pc_finish(&b);
}

/* Random registers and times: registers stay in range, and timers do not storm. */
static void test_fuzz(void **state)
{
    struct pc pc;

    (void)state;
    srand(7);
    pc_init(&pc);
    for (int i = 0; i < 60000; i++) {
        unsigned reg = (unsigned)(rand() % 4 == 0 ? rand() % 128 : rand() % 14);

        if (rand() % 3 == 0)
            set(&pc, reg, (unsigned)rand());
        else
            (void)get(&pc, reg);
        if (rand() % 50 == 0)
            set(&pc, REG_B, B_24H | (unsigned)rand() % 128);
        if (rand() % 20 == 0)
            pc.f.wall_base = (uint64_t)rand() * (rand() % 3 == 0 ? 1u : 100u);
        if (rand() % 2)
            fake_host_jump(&pc.f, (uint64_t)rand() * (rand() % 10 == 0 ? 1000u : 1u));
        (void)get(&pc, REG_C);
        assert_false(pc_irq(&pc, 8));
        assert_true(timerq_next(&pc.f.timers) > pc.f.now);
        assert_in_range(get(&pc, 6), 0, 255);
    }
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_update_in_progress),
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_update_interrupt),
        cmocka_unit_test(test_alarm),
        cmocka_unit_test(test_cmos),
        cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
