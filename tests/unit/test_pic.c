/* The pair of 8259A: initialisation as kernels do it, priorities, the modes, random use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "devices/lapic.h"
#include "devices/pic.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

#define MASTER 0x20
#define SLAVE  0xa0
#define BASE   0x30 /* vectors, as Linux has them */

#define EOI      0x20
#define READ_IRR 0x0a
#define READ_ISR 0x0b

struct fixture {
    struct fake_host host;
    struct machine m;
    struct irq_line irq[16];
};

static void set(struct fixture *f, unsigned irq, bool level)
{
    irq_line_set(&f->irq[irq], level);
}

static void pulse(struct fixture *f, unsigned irq)
{
    set(f, irq, false);
    set(f, irq, true);
}

static uint8_t ack(struct fixture *f)
{
    return pic_acknowledge(f->m.pic);
}

static bool output(struct fixture *f)
{
    return pic_output(f->m.pic);
}

static uint8_t status(struct fixture *f, uint16_t port, uint8_t what)
{
    fake_outb(&f->m, port, what);
    return fake_inb(&f->m, port);
}

static void init_chip(struct fixture *f, uint16_t port, uint8_t base, uint8_t icw3, uint8_t icw4)
{
    fake_outb(&f->m, port, 0x11);
    fake_outb(&f->m, port + 1, base);
    fake_outb(&f->m, port + 1, icw3);
    fake_outb(&f->m, port + 1, icw4);
}

/* The sequence of Linux's init_8259A, with everything unmasked in the end. */
static void linux_init(struct fixture *f, uint8_t master_icw4)
{
    fake_outb(&f->m, MASTER + 1, 0xff);
    init_chip(f, MASTER, BASE, 0x04, master_icw4);
    init_chip(f, SLAVE, BASE + 8, 0x02, 0x01);
    fake_outb(&f->m, MASTER + 1, 0);
    fake_outb(&f->m, SLAVE + 1, 0);
}

static int setup(void **state)
{
    static struct fixture f;

    fake_host_init(&f.host);
    fake_machine_create(&f.host, &f.m, 2);
    for (unsigned i = 0; i < 16; i++)
        f.irq[i] = machine_isa_irq(&f.m, i);
    linux_init(&f, 0x01);
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

static void silent_before_initialisation(void **state)
{
    struct fixture *f = *state;

    machine_reset(&f->m);
    fake_outb(&f->m, MASTER + 1, 0xfb); /* how Linux probes for it */
    assert_int_equal(fake_inb(&f->m, MASTER + 1), 0xfb);
    fake_outb(&f->m, MASTER + 1, 0);
    set(f, 4, true);
    assert_false(output(f));
    fake_outb(&f->m, MASTER, 0x11);
    fake_outb(&f->m, MASTER + 1, BASE);
    assert_false(output(f));
    fake_outb(&f->m, MASTER + 1, 4);
    fake_outb(&f->m, MASTER + 1, 1);
    assert_false(output(f)); /* the edge came before ICW1, which clears the latch */
    pulse(f, 4);
    assert_true(output(f));
    assert_int_equal(ack(f), BASE + 4);
}

static void edge_is_taken_once(void **state)
{
    struct fixture *f = *state;

    set(f, 4, true);
    assert_true(output(f));
    assert_int_equal(status(f, MASTER, READ_IRR), 0x10);
    assert_int_equal(ack(f), BASE + 4);
    assert_false(output(f));
    assert_int_equal(status(f, MASTER, READ_ISR), 0x10);
    assert_int_equal(status(f, MASTER, READ_IRR), 0);
    fake_outb(&f->m, MASTER, EOI);
    assert_int_equal(status(f, MASTER, READ_ISR), 0);
    assert_false(output(f)); /* still high, but no edge */
    pulse(f, 4);
    assert_int_equal(ack(f), BASE + 4);
}

static void priorities_nest(void **state)
{
    struct fixture *f = *state;

    set(f, 5, true);
    set(f, 3, true);
    assert_int_equal(ack(f), BASE + 3);
    set(f, 4, true);
    assert_false(output(f)); /* 4 and 5 are below 3, which is in service */
    set(f, 1, true);
    assert_true(output(f));
    assert_int_equal(ack(f), BASE + 1);
    assert_int_equal(status(f, MASTER, READ_ISR), 0x0a);
    fake_outb(&f->m, MASTER, EOI); /* ends 1, the highest */
    assert_int_equal(status(f, MASTER, READ_ISR), 0x08);
    fake_outb(&f->m, MASTER, 0x63); /* specific: 3 */
    assert_int_equal(ack(f), BASE + 4);
    fake_outb(&f->m, MASTER, EOI);
    assert_int_equal(ack(f), BASE + 5);
}

static void mask_holds_back(void **state)
{
    struct fixture *f = *state;

    fake_outb(&f->m, MASTER + 1, 0x10);
    set(f, 4, true);
    assert_false(output(f));
    fake_outb(&f->m, MASTER + 1, 0);
    assert_true(output(f)); /* the edge was latched */
    fake_outb(&f->m, MASTER + 1, 0xff);
    assert_false(output(f));
}

static void cascade(void **state)
{
    struct fixture *f = *state;

    set(f, 12, true);
    set(f, 8, true);
    assert_int_equal(ack(f), BASE + 8);
    assert_int_equal(status(f, SLAVE, READ_ISR), 0x01);
    assert_int_equal(status(f, MASTER, READ_ISR), 0x04);
    assert_false(output(f));
    fake_outb(&f->m, SLAVE, EOI);
    fake_outb(&f->m, MASTER, EOI);
    assert_int_equal(ack(f), BASE + 12);
    fake_outb(&f->m, SLAVE, EOI);
    fake_outb(&f->m, MASTER, EOI);
    assert_false(output(f));
    set(f, 2, true); /* the cascade input is no ISA line */
    assert_false(output(f));
}

/* A request that goes away before it is acknowledged is the lowest input's, without service. */
static void spurious(void **state)
{
    struct fixture *f = *state;

    set(f, 4, true);
    set(f, 4, false);
    assert_false(output(f));
    assert_int_equal(ack(f), BASE + 7);
    assert_int_equal(status(f, MASTER, READ_ISR), 0);
    set(f, 9, true);
    fake_outb(&f->m, SLAVE + 1, 0xff);
    set(f, 9, false);
    assert_int_equal(ack(f), BASE + 7);
    fake_outb(&f->m, SLAVE + 1, 0);
}

static void slave_request_gone_before_poll(void **state)
{
    struct fixture *f = *state;

    set(f, 9, true);
    fake_outb(&f->m, SLAVE + 1, 0xfd);
    fake_outb(&f->m, MASTER, 0x0c); /* poll the master: it acknowledges input 2 */
    assert_int_equal(fake_inb(&f->m, MASTER), 0x82);
    set(f, 9, false);
    assert_int_equal(status(f, MASTER, READ_ISR), 0x04);
    fake_outb(&f->m, SLAVE, 0x0c);
    assert_int_equal(fake_inb(&f->m, SLAVE), 0);
}

static void level_triggered(void **state)
{
    struct fixture *f = *state;

    fake_outb(&f->m, 0x4d0, 0xff);
    fake_outb(&f->m, 0x4d1, 0xff);
    assert_int_equal(fake_inb(&f->m, 0x4d0), 0xf8);
    assert_int_equal(fake_inb(&f->m, 0x4d1), 0xde);
    set(f, 11, true);
    assert_int_equal(ack(f), BASE + 11);
    fake_outb(&f->m, SLAVE, EOI);
    fake_outb(&f->m, MASTER, EOI);
    assert_true(output(f)); /* still asserted */
    assert_int_equal(ack(f), BASE + 11);
    set(f, 11, false);
    fake_outb(&f->m, SLAVE, EOI);
    fake_outb(&f->m, MASTER, EOI);
    assert_false(output(f));
}

static void auto_eoi_and_rotation(void **state)
{
    struct fixture *f = *state;

    linux_init(f, 0x03); /* automatic EOI */
    set(f, 4, true);
    assert_int_equal(ack(f), BASE + 4);
    assert_int_equal(status(f, MASTER, READ_ISR), 0);
    fake_outb(&f->m, MASTER, 0x80); /* rotate at automatic EOI */
    pulse(f, 4);
    assert_int_equal(ack(f), BASE + 4); /* 4 is the lowest now, 5 the highest */
    pulse(f, 4);
    set(f, 3, true);
    set(f, 5, true);
    assert_int_equal(ack(f), BASE + 5);
    assert_int_equal(ack(f), BASE + 3);
    assert_int_equal(ack(f), BASE + 4);
}

static void rotation_by_command(void **state)
{
    struct fixture *f = *state;

    fake_outb(&f->m, MASTER, 0xc4); /* 4 is the lowest: 5 6 7 0 1 2 3 4 */
    set(f, 0, true);
    set(f, 6, true);
    set(f, 4, true);
    assert_int_equal(ack(f), BASE + 6);
    fake_outb(&f->m, MASTER, 0xa0); /* EOI, and 6 is the lowest */
    assert_int_equal(ack(f), BASE + 0);
    fake_outb(&f->m, MASTER, 0xe0); /* specific EOI of 0, which is the lowest now */
    set(f, 0, false);
    pulse(f, 0);
    assert_int_equal(ack(f), BASE + 4);
}

static void special_mask(void **state)
{
    struct fixture *f = *state;

    set(f, 3, true);
    assert_int_equal(ack(f), BASE + 3);
    set(f, 5, true);
    assert_false(output(f));
    fake_outb(&f->m, MASTER, 0x68);     /* special mask mode */
    fake_outb(&f->m, MASTER + 1, 0x08); /* 3, in service, no longer stands in the way */
    assert_int_equal(ack(f), BASE + 5);
    fake_outb(&f->m, MASTER, EOI); /* ends 5: 3 is masked */
    assert_int_equal(status(f, MASTER, READ_ISR), 0x08);
    fake_outb(&f->m, MASTER, 0x48);
    fake_outb(&f->m, MASTER, EOI);
    assert_int_equal(status(f, MASTER, READ_ISR), 0);
}

static void special_fully_nested(void **state)
{
    struct fixture *f = *state;

    linux_init(f, 0x11);
    set(f, 12, true);
    assert_int_equal(ack(f), BASE + 12);
    set(f, 9, true);
    assert_true(output(f)); /* higher in the slave, same input of the master */
    assert_int_equal(ack(f), BASE + 9);
    linux_init(f, 0x01);
    pulse(f, 12);
    assert_int_equal(ack(f), BASE + 12);
    pulse(f, 9);
    assert_false(output(f));
}

static void poll(void **state)
{
    struct fixture *f = *state;

    fake_outb(&f->m, MASTER, 0x0c);
    assert_int_equal(fake_inb(&f->m, MASTER), 0);
    set(f, 6, true);
    fake_outb(&f->m, MASTER, 0x0c);
    assert_int_equal(fake_inb(&f->m, MASTER), 0x86);
    assert_int_equal(status(f, MASTER, READ_ISR), 0x40);
    assert_false(output(f));
}

static void output_wakes_who_listens(void **state)
{
    struct fixture *f = *state;
    unsigned before;

    assert_false(lapic_accepts_extint(f->m.lapic[0])); /* LINT0 is masked after reset */
    lapic_write(f->m.lapic[0], LAPIC_SVR, 0x1ff);
    lapic_write(f->m.lapic[0], LAPIC_LVT_LINT0, 0x700);
    assert_true(lapic_accepts_extint(f->m.lapic[0]));
    before = f->host.cpu[0].wakes;
    set(f, 1, true);
    assert_int_equal(f->host.cpu[0].wakes, before + 1);
    assert_int_equal(f->host.cpu[1].wakes, 0);
    set(f, 3, true);
    assert_int_equal(f->host.cpu[0].wakes, before + 1); /* it is up already */
    assert_int_equal(ack(f), BASE + 1);
    fake_outb(&f->m, MASTER, EOI);
    assert_int_equal(f->host.cpu[0].wakes, before + 2);
}

/* Whatever is done: a request that is up is acknowledged as an unmasked, requesting input. */
static void random_use(void **state)
{
    struct fixture *f = *state;
    static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
    struct random r = {7};
    unsigned taken = 0;

    for (unsigned n = 0; n < 200000; n++) {
        uint16_t port = ports[random_below(&r, ARRAY_SIZE(ports))];

        if (n % 1000 == 0)
            linux_init(f, (uint8_t)(1 | random_below(&r, 16) << 1));
        if (random_below(&r, 2))
            set(f, random_below(&r, 16), random_below(&r, 2));
        else if (random_below(&r, 4) == 0)
            fake_inb(&f->m, port);
        else if (random_below(&r, 4) == 0)
            fake_outb(&f->m, port, (uint8_t)random_next(&r) & (port & 1 ? 0xff : 0xef));
        assert_int_equal(f->m.intr_level, output(f));
        if (output(f) && random_below(&r, 3) == 0) {
            ack(f);
            taken++;
        }
        if (random_below(&r, 8) == 0) {
            fake_outb(&f->m, SLAVE, EOI);
            fake_outb(&f->m, MASTER, EOI);
        }
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(silent_before_initialisation, setup, teardown),
        cmocka_unit_test_setup_teardown(edge_is_taken_once, setup, teardown),
        cmocka_unit_test_setup_teardown(priorities_nest, setup, teardown),
        cmocka_unit_test_setup_teardown(mask_holds_back, setup, teardown),
        cmocka_unit_test_setup_teardown(cascade, setup, teardown),
        cmocka_unit_test_setup_teardown(spurious, setup, teardown),
        cmocka_unit_test_setup_teardown(slave_request_gone_before_poll, setup, teardown),
        cmocka_unit_test_setup_teardown(level_triggered, setup, teardown),
        cmocka_unit_test_setup_teardown(auto_eoi_and_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(rotation_by_command, setup, teardown),
        cmocka_unit_test_setup_teardown(special_mask, setup, teardown),
        cmocka_unit_test_setup_teardown(special_fully_nested, setup, teardown),
        cmocka_unit_test_setup_teardown(poll, setup, teardown),
        cmocka_unit_test_setup_teardown(output_wakes_who_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(random_use, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
