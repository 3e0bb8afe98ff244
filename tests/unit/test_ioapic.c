/* The IOAPIC: registers, edges and levels to the local APICs and back, the wiring of the ISA IRQs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pic.h"
#include "lib/string.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

#define CPUS 4
#define PINS 24

#define RTE_LOGICAL    BIT(11)
#define RTE_LOW        BIT(13)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL      BIT(15)
#define RTE_MASKED     BIT(16)
#define RTE_MODE(mode) ((uint64_t)(mode) << 8)
#define RTE_DEST(dest) ((uint64_t)(dest) << 56)

struct fixture {
    struct fake_host host;
    struct machine m;
};

static uint32_t reg_read(struct fixture *f, uint8_t reg)
{
    bus_memory_write(f->m.bus, GPA(GUEST_IOAPIC_BASE), 4, reg);
    return (uint32_t)bus_memory_read(f->m.bus, GPA(GUEST_IOAPIC_BASE + 0x10), 4);
}

static void reg_write(struct fixture *f, uint8_t reg, uint32_t value)
{
    bus_memory_write(f->m.bus, GPA(GUEST_IOAPIC_BASE), 4, reg);
    bus_memory_write(f->m.bus, GPA(GUEST_IOAPIC_BASE + 0x10), 4, value);
}

static uint64_t entry(struct fixture *f, unsigned pin)
{
    return reg_read(f, (uint8_t)(0x10 + 2 * pin)) | (uint64_t)reg_read(f, (uint8_t)(0x11 + 2 * pin))
                                                        << 32;
}

/* As Linux: the destination first, the mask last. */
static void set_entry(struct fixture *f, unsigned pin, uint64_t value)
{
    reg_write(f, (uint8_t)(0x11 + 2 * pin), (uint32_t)(value >> 32));
    reg_write(f, (uint8_t)(0x10 + 2 * pin), (uint32_t)value);
}

static int setup(void **state)
{
    static struct fixture f;

    fake_host_init(&f.host);
    fake_machine_create(&f.host, &f.m, CPUS);
    for (unsigned i = 0; i < CPUS; i++) {
        lapic_write(f.m.lapic[i], LAPIC_SVR, 0x1ff);
        lapic_write(f.m.lapic[i], LAPIC_LDR, 1u << (24 + i));
    }
    memset(f.host.cpu, 0, sizeof(f.host.cpu));
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

static bool accept(struct fixture *f, unsigned cpu, int vector)
{
    if (lapic_pending(f->m.lapic[cpu]) != vector)
        return false;
    lapic_accept(f->m.lapic[cpu], vector);
    return true;
}

static void pulse(struct fixture *f, unsigned pin)
{
    ioapic_set_pin(f->m.ioapic, pin, false);
    ioapic_set_pin(f->m.ioapic, pin, true);
}

static void registers(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(reg_read(f, 1), 0x170020);
    assert_int_equal(reg_read(f, 0), 0);
    reg_write(f, 0, 0xffffffff);
    assert_int_equal(reg_read(f, 0), 0x0f000000);
    assert_int_equal(reg_read(f, 2), 0x0f000000);
    for (unsigned pin = 0; pin < PINS; pin++)
        assert_int_equal(entry(f, pin), RTE_MASKED);
    set_entry(f, 5, UINT64_MAX);
    assert_int_equal(entry(f, 5), 0xff0000000001afff); /* status and remote IRR: read-only */
    set_entry(f, 5, RTE_MASKED);
    reg_write(f, 0x40, 0xffffffff); /* beyond the last pin */
    reg_write(f, 0xff, 0xffffffff);
    assert_int_equal(reg_read(f, 0x40), 0);
    assert_int_equal(bus_memory_read(f->m.bus, GPA(GUEST_IOAPIC_BASE + 0x20), 4), 0);
    ioapic_set_pin(f->m.ioapic, PINS, true);
    ioapic_set_pin(f->m.ioapic, UINT32_MAX, true);
}

static void edges(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 4, RTE_DEST(2) | 0x34);
    ioapic_set_pin(f->m.ioapic, 4, true);
    assert_true(accept(f, 2, 0x34));
    lapic_eoi(f->m.lapic[2]);
    ioapic_set_pin(f->m.ioapic, 4, true);
    assert_false(accept(f, 2, 0x34));
    pulse(f, 4);
    assert_true(accept(f, 2, 0x34));
    lapic_eoi(f->m.lapic[2]);
    set_entry(f, 4, RTE_DEST(2) | RTE_MASKED | 0x34);
    pulse(f, 4); /* lost */
    set_entry(f, 4, RTE_DEST(2) | 0x34);
    assert_false(accept(f, 2, 0x34));
    assert_int_equal(entry(f, 4), RTE_DEST(2) | 0x34);
}

static void level_until_eoi(void **state)
{
    struct fixture *f = *state;
    struct lapic *l = f->m.lapic[1];
    uint64_t programmed = RTE_DEST(1) | RTE_LEVEL | RTE_LOW | 0x51, bitmap[4];

    set_entry(f, 11, programmed);
    ioapic_set_pin(f->m.ioapic, 11, true);
    assert_int_equal(entry(f, 11), programmed | RTE_REMOTE_IRR);
    assert_true(accept(f, 1, 0x51));
    lapic_eoi_exit_bitmap(l, bitmap);
    assert_int_equal(bitmap[1], BIT(0x11));
    ioapic_set_pin(f->m.ioapic, 11, false);
    ioapic_set_pin(f->m.ioapic, 11, true); /* outstanding: not sent again */
    assert_int_equal(lapic_sync(l), -1);
    lapic_write(l, LAPIC_EOI, 0);
    assert_true(accept(f, 1, 0x51)); /* still asserted */
    ioapic_set_pin(f->m.ioapic, 11, false);
    lapic_write(l, LAPIC_EOI, 0);
    assert_int_equal(lapic_pending(l), -1);
    assert_int_equal(entry(f, 11), programmed);
}

static void level_while_masked(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 10, RTE_LEVEL | RTE_MASKED | 0x61);
    ioapic_set_pin(f->m.ioapic, 10, true);
    assert_false(accept(f, 0, 0x61));
    set_entry(f, 10, RTE_LEVEL | 0x61);
    assert_true(accept(f, 0, 0x61)); /* a level waits */
    set_entry(f, 10, RTE_LEVEL | RTE_MASKED | 0x61);
    assert_true(entry(f, 10) & RTE_REMOTE_IRR);
    lapic_eoi(f->m.lapic[0]);
    assert_false(entry(f, 10) & RTE_REMOTE_IRR);
    assert_false(accept(f, 0, 0x61));
}

/* Two pins on one vector, and one EOI for both: each is served as it needs. */
static void shared_vector(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 16, RTE_LEVEL | 0x71);
    set_entry(f, 17, RTE_LEVEL | 0x71);
    ioapic_set_pin(f->m.ioapic, 16, true);
    ioapic_set_pin(f->m.ioapic, 17, true);
    assert_true(accept(f, 0, 0x71));
    ioapic_set_pin(f->m.ioapic, 16, false);
    lapic_eoi(f->m.lapic[0]);
    assert_true(accept(f, 0, 0x71));
    ioapic_set_pin(f->m.ioapic, 17, false);
    lapic_eoi(f->m.lapic[0]);
    assert_false(accept(f, 0, 0x71));
}

/* Linux's ways of ending an interrupt by hand: the EOI register, and a while as edge. */
static void eoi_by_hand(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 9, RTE_LEVEL | 0x41);
    ioapic_set_pin(f->m.ioapic, 9, true);
    assert_true(entry(f, 9) & RTE_REMOTE_IRR);
    ioapic_set_pin(f->m.ioapic, 9, false);
    bus_memory_write(f->m.bus, GPA(GUEST_IOAPIC_BASE + 0x40), 4, 0x42);
    assert_true(entry(f, 9) & RTE_REMOTE_IRR); /* not that vector */
    bus_memory_write(f->m.bus, GPA(GUEST_IOAPIC_BASE + 0x40), 4, 0x41);
    assert_false(entry(f, 9) & RTE_REMOTE_IRR);
    ioapic_set_pin(f->m.ioapic, 9, true);
    ioapic_set_pin(f->m.ioapic, 9, false);
    set_entry(f, 9, RTE_MASKED | 0x41);
    set_entry(f, 9, RTE_MASKED | RTE_LEVEL | 0x41);
    assert_int_equal(entry(f, 9), RTE_MASKED | RTE_LEVEL | 0x41);
}

static void not_accepted_is_not_outstanding(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->m.lapic[3], LAPIC_SVR, 0xff);
    set_entry(f, 20, RTE_DEST(3) | RTE_LEVEL | 0x81);
    ioapic_set_pin(f->m.ioapic, 20, true);
    assert_false(entry(f, 20) & RTE_REMOTE_IRR);
    lapic_write(f->m.lapic[3], LAPIC_SVR, 0x1ff);
    set_entry(f, 20, RTE_DEST(3) | RTE_LEVEL | 0x81);
    assert_true(accept(f, 3, 0x81));
}

static void delivery_modes(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 3, RTE_DEST(0x6) | RTE_LOGICAL | 0x90);
    pulse(f, 3);
    assert_false(accept(f, 0, 0x90));
    assert_true(accept(f, 1, 0x90));
    assert_true(accept(f, 2, 0x90));
    set_entry(f, 3, RTE_DEST(0xf) | RTE_LOGICAL | RTE_MODE(LAPIC_LOWEST_PRIORITY) | 0xa0);
    pulse(f, 3);
    pulse(f, 3);
    pulse(f, 3);
    assert_int_equal(accept(f, 0, 0xa0) + accept(f, 1, 0xa0) + accept(f, 2, 0xa0) +
                         accept(f, 3, 0xa0),
                     3); /* equals take turns */
    set_entry(f, 3, RTE_DEST(2) | RTE_MODE(LAPIC_NMI) | RTE_LEVEL);
    pulse(f, 3);
    pulse(f, 3);
    assert_int_equal(f->host.cpu[2].nmis, 2); /* by edge, whatever the trigger bit says */
    assert_false(entry(f, 3) & RTE_REMOTE_IRR);
    set_entry(f, 3, RTE_DEST(1) | RTE_MODE(LAPIC_INIT));
    pulse(f, 3);
    assert_int_equal(f->host.cpu[1].inits, 1);
}

/* Linux's last resort for the timer: the PIC through pin 0 as ExtINT. */
static void extint_through_pin_0(void **state)
{
    struct fixture *f = *state;
    struct irq_line timer = machine_isa_irq(&f->m, 0);

    fake_outb(&f->m, 0x20, 0x11);
    fake_outb(&f->m, 0x21, 0x30);
    fake_outb(&f->m, 0x21, 0x04);
    fake_outb(&f->m, 0x21, 0x01);
    set_entry(f, 0, RTE_MODE(LAPIC_EXTINT));
    assert_false(lapic_accepts_extint(f->m.lapic[0]));
    irq_line_set(&timer, true);
    assert_true(lapic_accepts_extint(f->m.lapic[0]));
    assert_int_equal(pic_acknowledge(f->m.pic), 0x30);
    assert_false(lapic_accepts_extint(f->m.lapic[0]));
}

static void isa_wiring(void **state)
{
    struct fixture *f = *state;

    for (unsigned irq = 0; irq < 16; irq++) {
        struct irq_line line = machine_isa_irq(&f->m, irq);
        unsigned pin = irq == 0 ? 2 : irq;

        set_entry(f, pin, 0x30 + irq);
        irq_line_set(&line, true);
        irq_line_set(&line, false);
        assert_int_equal(accept(f, 0, (int)(0x30 + irq)), irq != 2);
        lapic_eoi(f->m.lapic[0]);
    }
}

static void changes_are_counted(void **state)
{
    struct fixture *f = *state;
    uint32_t before = f->m.eoi_generation;

    set_entry(f, 4, 0x34);
    assert_int_equal(f->m.eoi_generation, before);
    set_entry(f, 5, RTE_LEVEL | 0x35);
    assert_int_not_equal(f->m.eoi_generation, before);
}

/* A level is never lost and never stuck: after the handlers ran, every asserted pin is in flight.
 */
static void random_levels(void **state)
{
    struct fixture *f = *state;
    struct random r = {5};
    uint32_t lines = 0;
    unsigned taken = 0;

    for (unsigned pin = 0; pin < PINS; pin++)
        set_entry(f, pin, RTE_DEST(pin % CPUS) | RTE_LEVEL | (0x40 + pin * 8));
    for (unsigned n = 0; n < 100000; n++) {
        unsigned pin = random_below(&r, PINS), cpu = random_below(&r, CPUS);
        struct lapic *l = f->m.lapic[cpu];

        if (random_below(&r, 2)) {
            lines ^= 1u << pin;
            ioapic_set_pin(f->m.ioapic, pin, lines >> pin & 1);
        } else if (lapic_pending(l) >= 0) {
            lapic_accept(l, lapic_pending(l));
            taken++;
        } else {
            lapic_eoi(l);
        }
        for (pin = 0; pin < PINS; pin++)
            assert_true(!(lines >> pin & 1) || (entry(f, pin) & RTE_REMOTE_IRR));
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(registers, setup, teardown),
        cmocka_unit_test_setup_teardown(edges, setup, teardown),
        cmocka_unit_test_setup_teardown(level_until_eoi, setup, teardown),
        cmocka_unit_test_setup_teardown(level_while_masked, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_vector, setup, teardown),
        cmocka_unit_test_setup_teardown(eoi_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(not_accepted_is_not_outstanding, setup, teardown),
        cmocka_unit_test_setup_teardown(delivery_modes, setup, teardown),
        cmocka_unit_test_setup_teardown(extint_through_pin_0, setup, teardown),
        cmocka_unit_test_setup_teardown(isa_wiring, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(random_levels, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
