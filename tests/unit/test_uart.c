/* devices/uart: what drivers do with a 16550, interrupt by interrupt, and random accesses. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <linux/serial_reg.h>

#include "tests/unit/fake_host.h"

#define COM1 0x3f8
#define COM2 0x2f8
#define COM3 0x3e8
#define COM4 0x2e8

/* The cable's other end. */
struct cable {
    char sent[8192];
    size_t n, room; /* room: how many more bytes it takes */
    unsigned writes, rooms;
};

struct fixture {
    struct fake_host f;
    struct machine m;
    struct cable cable[4];
};

static size_t cable_write(void *opaque, const void *data, size_t n)
{
    struct cable *c = opaque;
    size_t taken = MIN(n, MIN(c->room, sizeof(c->sent) - c->n));

    memcpy(c->sent + c->n, data, taken);
    c->n += taken;
    c->room -= taken;
    c->writes++;
    return taken;
}

static void cable_room(void *opaque)
{
    ((struct cable *)opaque)->rooms++;
}

/* ports: bit n for COM n+1. */
static void set_up(struct fixture *x, unsigned ports)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = FAKE_RAM_SIZE};

    memset(x, 0, sizeof(*x));
    fake_host_init(&x->f);
    for (unsigned i = 0; i < 4; i++) {
        x->cable[i].room = SIZE_MAX;
        if (ports >> i & 1)
            config.com[i] = (struct chardev){cable_write, &x->cable[i], cable_room};
    }
    assert_int_equal(machine_create(&x->m, &x->f.host, &config, &fake_cpu_ops, &x->f), 0);
}

static void tear_down(struct fixture *x)
{
    machine_destroy(&x->m);
    fake_host_finish(&x->f);
}

static uint8_t in(struct fixture *x, unsigned port)
{
    return (uint8_t)bus_port_read(x->m.bus, (uint16_t)port, 1);
}

static void out(struct fixture *x, unsigned port, unsigned value)
{
    bus_port_write(x->m.bus, (uint16_t)port, 1, value);
}

static bool irq(const struct fixture *x, unsigned n)
{
    return x->m.isa_level >> n & 1;
}

static size_t input(struct fixture *x, unsigned com, const char *text)
{
    return machine_serial_input(&x->m, com, text, strlen(text));
}

/* Line setup as a driver does it: 115200 8N1, FIFOs with trigger 8, interrupts to the PIC. */
static void driver_init(struct fixture *x, unsigned base, unsigned ier)
{
    out(x, base + UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
    out(x, base + UART_DLL, 1);
    out(x, base + UART_DLM, 0);
    out(x, base + UART_LCR, UART_LCR_WLEN8);
    out(x, base + UART_FCR,
        UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT | UART_FCR_TRIGGER_8);
    out(x, base + UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
    out(x, base + UART_IER, ier);
}

static void test_reset_values(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    assert_int_equal(in(&x, COM1 + UART_IER), 0);
    assert_int_equal(in(&x, COM1 + UART_IIR), 1);
    assert_int_equal(in(&x, COM1 + UART_LCR), 0);
    assert_int_equal(in(&x, COM1 + UART_MCR), 0);
    assert_int_equal(in(&x, COM1 + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in(&x, COM1 + UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
    tear_down(&x);
}

/* How drivers tell what chip it is: IER's upper bits, the scratch register, the FIFO bits. */
static void test_probe(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    out(&x, COM1 + UART_IER, 0xff);
    assert_int_equal(in(&x, COM1 + UART_IER), 0x0f);
    out(&x, COM1 + UART_IER, 0);
    out(&x, COM1 + UART_SCR, 0xa5);
    assert_int_equal(in(&x, COM1 + UART_SCR), 0xa5);
    out(&x, COM1 + UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(in(&x, COM1 + UART_IIR) >> 6, 3);
    out(&x, COM1 + UART_FCR, 0);
    assert_int_equal(in(&x, COM1 + UART_IIR) >> 6, 0);
    out(&x, COM1 + UART_MCR, 0xff);
    assert_int_equal(in(&x, COM1 + UART_MCR), 0x1f);
    out(&x, COM1 + UART_LCR, UART_LCR_DLAB);
    out(&x, COM1 + UART_DLL, 0x34);
    out(&x, COM1 + UART_DLM, 0x12);
    assert_int_equal(in(&x, COM1 + UART_DLL), 0x34);
    assert_int_equal(in(&x, COM1 + UART_DLM), 0x12);
    out(&x, COM1 + UART_LCR, 0);
    assert_int_equal(in(&x, COM1 + UART_IER), 0);
    assert_int_equal(x.cable[0].n, 0);
    tear_down(&x);
}

/* DTR, RTS, OUT1 and OUT2 come back as DSR, CTS, RI and DCD. */
static void test_loopback_modem(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    out(&x, COM1 + UART_IER, UART_IER_MSI);
    out(&x, COM1 + UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
    assert_false(irq(&x, 4)); /* no OUT2 pin in loopback */
    assert_int_equal(in(&x, COM1 + UART_IIR), UART_IIR_MSI);
    assert_int_equal(in(&x, COM1 + UART_MSR), UART_MSR_DCD | UART_MSR_CTS | UART_MSR_DDSR);
    assert_int_equal(in(&x, COM1 + UART_MSR), UART_MSR_DCD | UART_MSR_CTS);
    assert_int_equal(in(&x, COM1 + UART_IIR), UART_IIR_NO_INT);
    out(&x, COM1 + UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1 | UART_MCR_DTR);
    assert_int_equal(in(&x, COM1 + UART_MSR),
                     UART_MSR_RI | UART_MSR_DSR | UART_MSR_DDCD | UART_MSR_DCTS | UART_MSR_DDSR);
    out(&x, COM1 + UART_MCR, UART_MCR_OUT2);
    assert_true(irq(&x, 4));
    assert_true(in(&x, COM1 + UART_MSR) & UART_MSR_TERI);
    assert_false(irq(&x, 4));
    tear_down(&x);
}

static void test_loopback_data(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    driver_init(&x, COM1, UART_IER_RDI | UART_IER_RLSI);
    out(&x, COM1 + UART_MCR, UART_MCR_LOOP);
    for (unsigned i = 0; i < 17; i++)
        out(&x, COM1 + UART_TX, i);
    assert_int_equal(x.cable[0].n, 0);
    assert_int_equal(in(&x, COM1 + UART_IIR) & 0xf, UART_IIR_RLSI);
    assert_true(in(&x, COM1 + UART_LSR) & UART_LSR_OE);
    assert_false(in(&x, COM1 + UART_LSR) & UART_LSR_OE);
    assert_int_equal(in(&x, COM1 + UART_IIR) & 0xf, UART_IIR_RDI);
    assert_int_equal(input(&x, 0, "x"), 0); /* the cable is cut off */
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(in(&x, COM1 + UART_RX), i);
    assert_false(in(&x, COM1 + UART_LSR) & UART_LSR_DR);
    /* Without FIFOs the newest byte stays. */
    out(&x, COM1 + UART_FCR, 0);
    out(&x, COM1 + UART_TX, 'a');
    out(&x, COM1 + UART_TX, 'b');
    assert_int_equal(in(&x, COM1 + UART_LSR),
                     UART_LSR_OE | UART_LSR_DR | UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in(&x, COM1 + UART_RX), 'b');
    tear_down(&x);
}

/* A polling console: wait for THRE, write, one chardev call each and never a wait. */
static void test_polled_output(void **state)
{
    static const char text[] = "Linux version 6.1";
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    driver_init(&x, COM1, 0);
    for (const char *c = text; *c != '\0'; c++) {
        assert_int_equal(in(&x, COM1 + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        out(&x, COM1 + UART_TX, (unsigned char)*c);
    }
    assert_string_equal(x.cable[0].sent, text);
    assert_false(irq(&x, 4));
    tear_down(&x);
}

/* Interrupt-driven output: THRI at once when enabled, gone by IIR, again after a byte. */
static void test_output_interrupts(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    driver_init(&x, COM1, 0);
    assert_false(irq(&x, 4));
    out(&x, COM1 + UART_IER, UART_IER_THRI);
    assert_true(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_THRI);
    assert_false(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_NO_INT);
    for (unsigned i = 0; i < 16; i++)
        out(&x, COM1 + UART_TX, 'a' + i);
    assert_true(irq(&x, 4));
    assert_int_equal(x.cable[0].n, 16);
    out(&x, COM1 + UART_IER, 0);
    assert_false(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_NO_INT);
    /* Off and on again raises it again, which drivers test for. */
    out(&x, COM1 + UART_IER, UART_IER_THRI);
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_THRI);
    out(&x, COM1 + UART_IER, 0);
    out(&x, COM1 + UART_IER, UART_IER_THRI);
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_THRI);
    tear_down(&x);
}

/* A chardev that is full: bytes wait in the FIFO, in order, until it resumes. */
static void test_full_chardev(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    driver_init(&x, COM1, UART_IER_THRI);
    (void)in(&x, COM1 + UART_IIR);
    x.cable[0].room = 2;
    for (unsigned i = 0; i < 20; i++)
        out(&x, COM1 + UART_TX, 'a' + i);
    assert_int_equal(x.cable[0].n, 2);
    assert_int_equal(in(&x, COM1 + UART_LSR), 0);
    assert_false(irq(&x, 4));
    x.cable[0].room = 5;
    machine_serial_resume(&x.m, 0);
    assert_int_equal(x.cable[0].n, 7);
    assert_false(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_LSR), 0);
    out(&x, COM1 + UART_TX, 'S');
    x.cable[0].room = 100;
    machine_serial_resume(&x.m, 0);
    assert_true(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_memory_equal(x.cable[0].sent, "abcdefghijklmnopqrS", 19);
    assert_int_equal(x.cable[0].n, 19);
    /* What waits can be thrown away. */
    x.cable[0].room = 0;
    out(&x, COM1 + UART_TX, 'x');
    assert_int_equal(in(&x, COM1 + UART_LSR), 0);
    out(&x, COM1 + UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);
    assert_int_equal(in(&x, COM1 + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    machine_serial_resume(&x.m, 0);
    assert_int_equal(x.cable[0].n, 19);
    tear_down(&x);
}

static void test_input(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    /* Before the guest cares: one byte fits, nothing is lost. */
    assert_int_equal(input(&x, 0, "ab"), 1);
    assert_int_equal(input(&x, 0, "b"), 0);
    assert_int_equal(in(&x, COM1 + UART_RX), 'a');
    assert_int_equal(x.cable[0].rooms, 1);
    driver_init(&x, COM1, UART_IER_RDI | UART_IER_RLSI);
    assert_int_equal(input(&x, 0, "1234567"), 7);
    assert_true(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
    assert_int_equal(input(&x, 0, "89abcdefghijk"), 9);
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_RDI);
    for (const char *c = "123456789"; *c != '\0'; c++) {
        assert_true(in(&x, COM1 + UART_LSR) & UART_LSR_DR);
        assert_int_equal(in(&x, COM1 + UART_RX), *c);
    }
    assert_int_equal(x.cable[0].rooms, 2);
    assert_int_equal(in(&x, COM1 + UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
    for (const char *c = "abcdefg"; *c != '\0'; c++)
        assert_int_equal(in(&x, COM1 + UART_RX), *c);
    assert_false(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in(&x, COM1 + UART_RX), 0);
    tear_down(&x);
}

/* Receive before transmit before modem; OUT2 lets them out. */
static void test_priorities(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    driver_init(&x, COM1, 0);
    out(&x, COM1 + UART_MCR, UART_MCR_LOOP);
    out(&x, COM1 + UART_MCR, 0); /* leaves deltas */
    assert_int_equal(input(&x, 0, "x"), 1);
    out(&x, COM1 + UART_IER, 0x0f);
    assert_false(irq(&x, 4));
    out(&x, COM1 + UART_MCR, UART_MCR_OUT2);
    assert_true(irq(&x, 4));
    assert_int_equal(in(&x, COM1 + UART_IIR) & 0xf, UART_IIR_RX_TIMEOUT);
    (void)in(&x, COM1 + UART_RX);
    assert_int_equal(in(&x, COM1 + UART_IIR) & 0xf, UART_IIR_THRI);
    assert_int_equal(in(&x, COM1 + UART_IIR) & 0xf, UART_IIR_MSI);
    assert_true(irq(&x, 4));
    (void)in(&x, COM1 + UART_MSR);
    assert_int_equal(in(&x, COM1 + UART_IIR) & 0xf, UART_IIR_NO_INT);
    assert_false(irq(&x, 4));
    tear_down(&x);
}

static void test_ports(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 0xe); /* COM1 is there all the same: its output vanishes */
    driver_init(&x, COM1, 0);
    out(&x, COM1 + UART_TX, 'x');
    assert_int_equal(in(&x, COM1 + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    out(&x, COM2 + UART_TX, '2');
    out(&x, COM3 + UART_TX, '3');
    out(&x, COM4 + UART_TX, '4');
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(x.cable[i].n, 1);
        assert_int_equal(x.cable[i].sent[0], '1' + i);
    }
    /* COM1 and COM3 share IRQ 4: it is down when neither has it up. */
    driver_init(&x, COM1, UART_IER_RDI);
    driver_init(&x, COM3, UART_IER_RDI);
    driver_init(&x, COM2, UART_IER_RDI);
    assert_int_equal(input(&x, 0, "a"), 1);
    assert_int_equal(input(&x, 2, "b"), 1);
    assert_true(irq(&x, 4));
    assert_false(irq(&x, 3));
    (void)in(&x, COM1 + UART_RX);
    assert_true(irq(&x, 4));
    (void)in(&x, COM3 + UART_RX);
    assert_false(irq(&x, 4));
    assert_int_equal(input(&x, 1, "c"), 1);
    assert_true(irq(&x, 3));
    assert_int_equal(machine_serial_input(&x.m, 4, "x", 1), 0);
    machine_serial_resume(&x.m, 4);
    tear_down(&x);
    set_up(&x, 1);
    assert_int_equal(in(&x, COM2 + UART_LSR), 0xff);
    assert_int_equal(input(&x, 1, "c"), 0);
    machine_serial_resume(&x.m, 1);
    tear_down(&x);
}

static void test_reset(void **state)
{
    struct fixture x;

    (void)state;
    set_up(&x, 1);
    driver_init(&x, COM1, UART_IER_RDI);
    assert_int_equal(input(&x, 0, "0123456789abcdefg"), 16);
    assert_true(irq(&x, 4));
    machine_reset(&x.m);
    assert_false(irq(&x, 4));
    assert_int_equal(x.cable[0].rooms, 1);
    assert_int_equal(in(&x, COM1 + UART_IER), 0);
    assert_int_equal(in(&x, COM1 + UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    tear_down(&x);
}

static void test_save_load(void **state)
{
    static uint8_t buf[65536];
    struct device_state s = {.buf = buf, .size = sizeof(buf)};
    struct fixture a, b;

    (void)state;
    set_up(&a, 3);
    set_up(&b, 3);
    driver_init(&a, COM2, UART_IER_RDI);
    a.cable[1].room = 0;
    out(&a, COM2 + UART_TX, 'q');
    assert_int_equal(input(&a, 1, "hello"), 5);
    assert_true(machine_save(&a.m, &s));
    s.size = s.pos;
    s.pos = 0;
    assert_true(machine_load(&b.m, &s));
    assert_true(irq(&b, 3));
    assert_int_equal(in(&b, COM2 + UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
    for (const char *c = "hello"; *c != '\0'; c++)
        assert_int_equal(in(&b, COM2 + UART_RX), *c);
    machine_serial_resume(&b.m, 1);
    assert_int_equal(b.cable[1].sent[0], 'q');
    tear_down(&a);
    tear_down(&b);
}

/* Any access at any time: the line always agrees with IIR, and no byte of input is lost. */
static void test_fuzz(void **state)
{
    struct fixture x;
    uint8_t mcr;

    (void)state;
    srand(4);
    for (int round = 0; round < 200; round++) {
        set_up(&x, 0xf);
        for (int i = 0; i < 500; i++) {
            switch (rand() % 8) {
            case 0:
                (void)machine_serial_input(&x.m, 0, "abcdefghijklmnopqrst", (size_t)rand() % 20);
                break;
            case 1:
                x.cable[0].room = (size_t)rand() % 4;
                machine_serial_resume(&x.m, 0);
                break;
            case 2:
            case 3:
            case 4:
                (void)in(&x, COM1 + rand() % 8);
                break;
            default:
                out(&x, COM1 + rand() % 8, (unsigned)rand());
            }
            mcr = in(&x, COM1 + UART_MCR);
            if ((mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) != UART_MCR_OUT2) {
                assert_false(irq(&x, 4));
            } else {
                bool up = irq(&x, 4);
                assert_int_equal(up, !(in(&x, COM1 + UART_IIR) & UART_IIR_NO_INT));
            }
        }
        tear_down(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_values),   cmocka_unit_test(test_probe),
        cmocka_unit_test(test_loopback_modem), cmocka_unit_test(test_loopback_data),
        cmocka_unit_test(test_polled_output),  cmocka_unit_test(test_output_interrupts),
        cmocka_unit_test(test_full_chardev),   cmocka_unit_test(test_input),
        cmocka_unit_test(test_priorities),     cmocka_unit_test(test_ports),
        cmocka_unit_test(test_reset),          cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
