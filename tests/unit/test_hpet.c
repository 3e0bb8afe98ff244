/* devices/hpet: registers, one-shot and periodic timers, routes, and a guest that writes anything.
 */
#include "devices/hpet.h"
#include "devices/lapic.h"
#include "tests/unit/pc.h"
#include "tests/unit/random.h"

#define CONFIG     0x010
#define STATUS     0x020
#define COUNTER    0x0f0
#define TCONFIG(n) (0x100 + 0x20 * (n))
#define TCOMP(n)   (0x108 + 0x20 * (n))

#define ENABLE    1
#define LEGACY    2
#define LEVEL     0x02
#define INTERRUPT 0x04
#define PERIODIC  0x08
#define SET_VALUE 0x40
#define SHORT     0x100
#define PIN(n)    ((n) << 9)

#define TICK 10 /* of the fake host's TSC, which is 1 GHz */

static uint64_t get(struct pc *pc, unsigned reg)
{
    return bus_memory_read(pc->m.bus, GPA(GUEST_HPET_BASE + reg), 8);
}
static uint32_t get32(struct pc *pc, unsigned reg)
{
    return (uint32_t)bus_memory_read(pc->m.bus, GPA(GUEST_HPET_BASE + reg), 4);
}
static void set(struct pc *pc, unsigned reg, uint64_t value)
{
    bus_memory_write(pc->m.bus, GPA(GUEST_HPET_BASE + reg), 8, value);
}
static void set32(struct pc *pc, unsigned reg, uint32_t value)
{
    bus_memory_write(pc->m.bus, GPA(GUEST_HPET_BASE + reg), 4, value);
}

/* I/O APIC pin n gives vector 0x40 + n to the one CPU, by edges or by level. */
static void open_pin(struct pc *pc, unsigned n, bool level)
{
    bus_memory_write(pc->m.bus, GPA(GUEST_IOAPIC_BASE), 4, 0x10 + n * 2);
    bus_memory_write(pc->m.bus, GPA(GUEST_IOAPIC_BASE + 0x10), 4, 0x40 + n + (level ? 0x8000 : 0));
}
/* Whether the pin's interrupt is the one to be served; then it is, and is over. */
static bool came(struct pc *pc, unsigned n)
{
    struct lapic *l = pc->m.lapic[0];

    (void)lapic_sync(l);
    if (lapic_pending(l) != (int)(0x40 + n))
        return false;
    lapic_accept(l, (int)(0x40 + n));
    lapic_eoi(l);
    return true;
}

static void start(struct pc *pc)
{
    pc_init(pc);
    lapic_write(pc->m.lapic[0], 0xf0, 0x1ff);
    for (unsigned n = 20; n < 24; n++)
        open_pin(pc, n, n == 23);
}

static void advance(struct pc *pc, uint64_t ticks)
{
    fake_host_advance(&pc->f, ticks * TICK);
}

static void test_capabilities(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    assert_true(get(&pc, 0) == 0x009896808086a201); /* 10 ns in femtoseconds */
    assert_int_equal(get32(&pc, 4), 10000000);
    set(&pc, 0, 0);
    assert_int_equal(get32(&pc, 0), 0x8086a201);
    assert_true(get(&pc, TCONFIG(0)) == 0x00f0000000000030);
    assert_true(get(&pc, TCONFIG(1)) == 0x00f0000000000020);
    assert_true(get(&pc, TCONFIG(2)) == 0x00f0000000000020);
    assert_true(get(&pc, TCOMP(2)) == UINT64_MAX);
    assert_int_equal(get(&pc, TCONFIG(3)), 0);
    set(&pc, TCONFIG(1), UINT64_MAX); /* no pin 31, not periodic, no messages */
    assert_true(get(&pc, TCONFIG(1)) == (0x00f0000000000020 | LEVEL | INTERRUPT | SHORT));
    set(&pc, TCONFIG(0), PERIODIC | SET_VALUE | PIN(22));
    assert_true(get(&pc, TCONFIG(0)) == (0x00f0000000000030 | PERIODIC | SET_VALUE | PIN(22)));
    set(&pc, TCONFIG(0), PIN(3)); /* not there: the old one stays */
    assert_true(get(&pc, TCONFIG(0)) == (0x00f0000000000030 | PIN(22)));
    set(&pc, CONFIG, UINT64_MAX);
    assert_int_equal(get(&pc, CONFIG), 3);
    machine_reset(&pc.m);
    assert_int_equal(get(&pc, CONFIG), 0);
    assert_true(get(&pc, TCONFIG(0)) == 0x00f0000000000030);
    assert_false(pc.m.timers_replaced);
    pc_finish(&pc);
}

static void test_counter(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    set(&pc, COUNTER, 0x1fffffff0);
    advance(&pc, 100);
    assert_true(get(&pc, COUNTER) == 0x1fffffff0);
    set(&pc, CONFIG, ENABLE);
    advance(&pc, 0x20);
    assert_true(get(&pc, COUNTER) == 0x200000010);
    assert_int_equal(get32(&pc, COUNTER), 0x10);
    assert_int_equal(get32(&pc, COUNTER + 4), 2);
    set(&pc, COUNTER, 5); /* only while it is halted */
    assert_true(get(&pc, COUNTER) == 0x200000010);
    set(&pc, CONFIG, 0);
    advance(&pc, 100);
    set32(&pc, COUNTER + 4, 7);
    assert_true(get(&pc, COUNTER) == 0x700000010);
    /* Narrow and unaligned accesses harm nothing. */
    bus_memory_write(pc.m.bus, GPA(GUEST_HPET_BASE + COUNTER + 2), 4, 0x12345678);
    bus_memory_write(pc.m.bus, GPA(GUEST_HPET_BASE + COUNTER), 1, 0x12);
    assert_true(get(&pc, COUNTER) == 0x700000010);
    pc_finish(&pc);
}

static void test_one_shot(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    set(&pc, TCONFIG(2), INTERRUPT | PIN(21));
    set(&pc, TCOMP(2), 1000);
    advance(&pc, 2000);
    assert_false(came(&pc, 21)); /* it does not run */
    set(&pc, CONFIG, ENABLE);
    advance(&pc, 999);
    assert_false(came(&pc, 21));
    advance(&pc, 1);
    assert_true(came(&pc, 21));
    assert_int_equal(get(&pc, STATUS), 0); /* an edge */
    advance(&pc, 1000000);
    assert_false(came(&pc, 21));
    set(&pc, TCOMP(2), 500); /* over: the counter has to come round */
    advance(&pc, 1000000);
    assert_false(came(&pc, 21));
    set(&pc, TCOMP(2), get(&pc, COUNTER) + 10);
    fake_host_jump(&pc.f, 1000 * TICK); /* late, and only once */
    assert_true(came(&pc, 21));
    assert_false(came(&pc, 21));
    /* A second edge while the first was not acknowledged is lost, one after it is not. */
    set(&pc, TCOMP(2), get(&pc, COUNTER) + 10);
    advance(&pc, 10);
    set(&pc, TCOMP(2), get(&pc, COUNTER) + 10);
    advance(&pc, 10);
    assert_true(came(&pc, 21));
    assert_false(came(&pc, 21));
    assert_int_equal(timerq_next(&pc.f.timers), TIMER_NEVER);
    pc_finish(&pc);
}

static void test_32_bits(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    set(&pc, COUNTER, 0x5fffff000);
    set(&pc, TCONFIG(1), INTERRUPT | SHORT | PIN(20));
    assert_int_equal(get(&pc, TCOMP(1)), UINT32_MAX);
    set32(&pc, TCOMP(1) + 4, 9); /* its high half is not there */
    set(&pc, TCOMP(1), 0x1234567800001000);
    assert_int_equal(get(&pc, TCOMP(1)), 0x1000);
    set(&pc, CONFIG, ENABLE);
    advance(&pc, 0xfff);
    assert_false(came(&pc, 20));
    advance(&pc, 1); /* the wrap */
    assert_true(came(&pc, 20));
    advance(&pc, 0xfff);
    assert_false(came(&pc, 20));
    advance(&pc, 1);
    assert_true(came(&pc, 20));
    advance(&pc, 0xffffefff);
    assert_false(came(&pc, 20));
    advance(&pc, 1);
    assert_true(came(&pc, 20));
    pc_finish(&pc);
}

static void test_periodic(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    set(&pc, TCONFIG(0), INTERRUPT | PERIODIC | SET_VALUE | PIN(22));
    set(&pc, TCOMP(0), 3000);
    assert_int_equal(get(&pc, TCONFIG(0)) & SET_VALUE, 0); /* by itself */
    set(&pc, TCOMP(0), 5000);                              /* now the period only */
    assert_int_equal(get(&pc, TCOMP(0)), 3000);
    set(&pc, CONFIG, ENABLE);
    advance(&pc, 2999);
    assert_false(came(&pc, 22));
    advance(&pc, 1);
    assert_true(came(&pc, 22));
    assert_int_equal(get(&pc, TCOMP(0)), 8000);
    for (unsigned i = 0; i < 10; i++) {
        advance(&pc, 4999);
        assert_false(came(&pc, 22));
        advance(&pc, 1);
        assert_true(came(&pc, 22));
    }
    fake_host_jump(&pc.f, 12500 * TICK); /* two are missed: one interrupt, and the phase stays */
    assert_true(came(&pc, 22));
    assert_false(came(&pc, 22));
    assert_int_equal(get(&pc, TCOMP(0)), 3000 + 13 * 5000);
    advance(&pc, 2500);
    assert_true(came(&pc, 22));
    /* Looked at without an interrupt, the comparator is right too. */
    set(&pc, TCONFIG(0), PERIODIC | PIN(22));
    assert_int_equal(timerq_next(&pc.f.timers), TIMER_NEVER);
    advance(&pc, 50001);
    assert_int_equal(get(&pc, TCOMP(0)), 3000 + 24 * 5000);
    pc_finish(&pc);
}

/* One that no guest could serve comes more slowly. */
static void test_too_fast(void **state)
{
    unsigned times = 0;
    struct pc pc;

    (void)state;
    start(&pc);
    set(&pc, TCONFIG(0), INTERRUPT | PERIODIC | SET_VALUE | PIN(22));
    set(&pc, TCOMP(0), 3);
    set(&pc, CONFIG, ENABLE);
    for (unsigned i = 0; i < 100000; i++) {
        advance(&pc, 10);
        times += came(&pc, 22);
    }
    assert_in_range(times, 450, 501);
    set(&pc, TCONFIG(0), INTERRUPT | PERIODIC | SET_VALUE | PIN(22));
    set(&pc, TCOMP(0), 0);
    advance(&pc, 100000);
    set(&pc, TCONFIG(0), INTERRUPT | PERIODIC | SET_VALUE | PIN(22));
    set(&pc, TCOMP(0), UINT64_MAX);
    advance(&pc, 100000);
    pc_finish(&pc);
}

static void test_level(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    set(&pc, TCONFIG(1), INTERRUPT | LEVEL | PIN(23));
    set(&pc, TCOMP(1), 100);
    set(&pc, CONFIG, ENABLE);
    advance(&pc, 100);
    assert_int_equal(get(&pc, STATUS), 2);
    assert_true(came(&pc, 23));
    assert_true(came(&pc, 23)); /* the line is up still */
    set(&pc, STATUS, 5);
    assert_int_equal(get(&pc, STATUS), 2);
    set(&pc, STATUS, 2);
    assert_int_equal(get(&pc, STATUS), 0);
    (void)came(&pc, 23); /* what was sent at the last EOI */
    assert_false(came(&pc, 23));
    /* Without its interrupt it shows its status only; that comes when it is enabled. */
    set(&pc, TCONFIG(1), LEVEL | PIN(23));
    set(&pc, TCOMP(1), 300);
    advance(&pc, 300);
    assert_int_equal(get(&pc, STATUS), 2);
    assert_false(came(&pc, 23));
    set(&pc, TCONFIG(1), INTERRUPT | LEVEL | PIN(23));
    assert_true(came(&pc, 23));
    /* Halting takes the line down, not the status. */
    set(&pc, CONFIG, 0);
    (void)came(&pc, 23);
    assert_false(came(&pc, 23));
    assert_int_equal(get(&pc, STATUS), 2);
    set(&pc, CONFIG, ENABLE);
    assert_true(came(&pc, 23));
    set(&pc, TCONFIG(1), INTERRUPT | PIN(23)); /* edges have no status */
    assert_int_equal(get(&pc, STATUS), 0);
    pc_finish(&pc);
}

/* PIT and RTC are cut off, timers 0 and 1 have their lines; and back. */
static void test_legacy(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    pc_outb(&pc, 0x43, 0x34); /* the PIT, 1 kHz */
    pc_outb(&pc, 0x40, 0xa9);
    pc_outb(&pc, 0x40, 0x04);
    assert_true(pc_irq(&pc, 0));
    set(&pc, CONFIG, ENABLE | LEGACY);
    assert_false(pc_irq(&pc, 0));
    open_pin(&pc, 2, false);
    open_pin(&pc, 8, false);
    fake_host_advance(&pc.f, fake_host_us(10000));
    assert_false(came(&pc, 2));
    set(&pc, TCONFIG(0), INTERRUPT | PERIODIC | SET_VALUE);
    set(&pc, TCOMP(0), get(&pc, COUNTER) + 10000);
    set(&pc, TCOMP(0), 10000);
    set(&pc, TCONFIG(1), INTERRUPT);
    set(&pc, TCOMP(1), get(&pc, COUNTER) + 15000);
    for (unsigned i = 0; i < 5; i++) {
        advance(&pc, 9999);
        assert_false(came(&pc, 2));
        advance(&pc, 1);
        assert_true(came(&pc, 2));
        assert_true(pc_irq(&pc, 0));
        if (i == 0)
            advance(&pc, 5000);
        assert_int_equal(came(&pc, 8), i == 0);
        if (i == 0)
            advance(&pc, 5000);
        assert_int_equal(came(&pc, 2), i == 0);
    }
    set(&pc, CONFIG, ENABLE);
    (void)came(&pc, 2);
    fake_host_advance(&pc.f, fake_host_us(1001));
    assert_true(came(&pc, 2)); /* the PIT again */
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    struct pc a, b;

    (void)state;
    start(&a);
    start(&b);
    set(&a, TCONFIG(0), INTERRUPT | PERIODIC | SET_VALUE);
    set(&a, TCOMP(0), 3000);
    set(&a, TCONFIG(2), INTERRUPT | LEVEL | PIN(23));
    set(&a, TCOMP(2), 4000);
    set(&a, CONFIG, ENABLE | LEGACY);
    advance(&a, 4500);
    pc_migrate(&a, &b);
    open_pin(&b, 2, false);
    assert_true(b.m.timers_replaced);
    assert_int_equal(get(&b, COUNTER), 4500);
    assert_int_equal(get(&b, STATUS), 4);
    assert_int_equal(get(&b, TCOMP(0)), 6000);
    assert_true(came(&b, 23));
    set(&b, STATUS, 4);
    assert_true(came(&b, 23)); /* sent at the EOI, when the line was up */
    assert_false(came(&b, 23));
    advance(&b, 1500);
    assert_true(came(&b, 2));
    pc_finish(&a);
    pc_finish(&b);
}

/* A slow TSC has a slow clock, whose period is as true. */
static void test_slow_clock(void **state)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(2)};
    struct pc pc;

    (void)state;
    memset(&pc, 0, sizeof(pc));
    fake_host_init(&pc.f);
    pc.f.host.tsc_hz = 20000001;
    assert_int_equal(machine_create(&pc.m, &pc.f.host, &config, &fake_cpu_ops, &pc.f), 0);
    assert_int_equal(get32(&pc, 4), 100000000);
    set(&pc, CONFIG, ENABLE);
    fake_host_advance(&pc.f, 20000001ull * 1000); /* 1000 s */
    assert_in_range(get(&pc, COUNTER), 9999999999ull, 10000000001ull);
    pc_finish(&pc);
}

static void any_access(struct pc *pc, struct random *r)
{
    static const unsigned regs[] = {CONFIG, STATUS, COUNTER, 0x100, 0x108, 0x120,
                                    0x128,  0x140,  0x148,   0x104, 0x10c, 0x12c};
    unsigned reg =
        random_below(r, 8) ? regs[random_below(r, ARRAY_SIZE(regs))] : random_below(r, HPET_SIZE);
    uint64_t value = random_below(r, 3) ? random_below(r, 30000) : random_next(r);
    unsigned size = random_below(r, 2) ? 4u << random_below(r, 2) : 1u << random_below(r, 4);

    if (random_below(r, 3) == 0)
        (void)bus_memory_read(pc->m.bus, GPA(GUEST_HPET_BASE + reg), size);
    else
        bus_memory_write(pc->m.bus, GPA(GUEST_HPET_BASE + reg), size, value);
    if (random_below(r, 4) == 0)
        advance(pc, random_below(r, 20000));
    if (random_below(r, 1000) == 0)
        fake_host_jump(&pc->f, random_next(r) >> 24);
}

/* Anything, with its state moved to another machine now and then; both go on alike. */
static void test_fuzz(void **state)
{
    struct random r = {23};
    struct pc a, b;

    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        start(&a);
        start(&b);
        for (unsigned i = 0; i < 4000; i++)
            any_access(&a, &r);
        pc_migrate(&a, &b);
        for (unsigned i = 0; i < 400; i++) {
            struct random same = {random_next(&r)}, too = same;

            any_access(&a, &same);
            any_access(&b, &too);
            for (unsigned reg = 0; reg < 0x160; reg += 8)
                assert_true(get(&a, reg) == get(&b, reg));
            assert_int_equal(a.m.isa_level, b.m.isa_level);
        }
        machine_reset(&a.m);
        open_pin(&a, 21, false);
        lapic_write(a.m.lapic[0], 0xf0, 0x1ff);
        set(&a, TCONFIG(2), INTERRUPT | PIN(21));
        set(&a, TCOMP(2), 1000);
        set(&a, CONFIG, ENABLE);
        advance(&a, 1000);
        assert_true(came(&a, 21));
        pc_finish(&a);
        pc_finish(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capabilities), cmocka_unit_test(test_counter),
        cmocka_unit_test(test_one_shot),     cmocka_unit_test(test_32_bits),
        cmocka_unit_test(test_periodic),     cmocka_unit_test(test_too_fast),
        cmocka_unit_test(test_level),        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_save_load),    cmocka_unit_test(test_slow_clock),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
