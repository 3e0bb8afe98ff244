/* devices/i8042: how systems set up a keyboard and a mouse, translation, A20, reset. */
#include "tests/unit/pc.h"

#include "devices/i8042.h"

#define OBF 0x01
#define AUX 0x20

static uint8_t status(struct pc *pc)
{
    return pc_inb(pc, 0x64);
}

static void command(struct pc *pc, unsigned c)
{
    pc_outb(pc, 0x64, c);
}

/* The next byte from the keyboard or the controller. */
static uint8_t byte(struct pc *pc)
{
    assert_int_equal(status(pc) & (OBF | AUX), OBF);
    return pc_inb(pc, 0x60);
}

static uint8_t mouse_byte(struct pc *pc)
{
    assert_int_equal(status(pc) & (OBF | AUX), OBF | AUX);
    return pc_inb(pc, 0x60);
}

static void mouse(struct pc *pc, unsigned c)
{
    command(pc, 0xd4);
    pc_outb(pc, 0x60, c);
}

static void assert_empty(struct pc *pc)
{
    assert_int_equal(status(pc) & OBF, 0);
}

static uint8_t command_byte(struct pc *pc)
{
    command(pc, 0x20);
    return byte(pc);
}

static void set_command_byte(struct pc *pc, unsigned v)
{
    command(pc, 0x60);
    pc_outb(pc, 0x60, v);
}

static void test_controller(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    assert_int_equal(status(&pc), 0x14);
    assert_int_equal(command_byte(&pc), 0x65);
    command(&pc, 0xaa);
    assert_int_equal(status(&pc) & 0x08, 0x08);
    assert_int_equal(byte(&pc), 0x55);
    command(&pc, 0xab);
    assert_int_equal(byte(&pc), 0);
    command(&pc, 0xa9);
    assert_int_equal(byte(&pc), 0);
    command(&pc, 0xa8);
    assert_int_equal(command_byte(&pc) & 0x20, 0);
    command(&pc, 0xa7);
    assert_int_equal(command_byte(&pc) & 0x20, 0x20);
    command(&pc, 0xad);
    assert_int_equal(command_byte(&pc) & 0x10, 0x10);
    command(&pc, 0xae);
    assert_int_equal(command_byte(&pc) & 0x10, 0);
    set_command_byte(&pc, 0xff);
    assert_int_equal(command_byte(&pc), 0x77);
    command(&pc, 0xc0);
    assert_int_equal(byte(&pc), 0x80);
    command(&pc, 0x6a); /* its RAM */
    pc_outb(&pc, 0x60, 0x5c);
    command(&pc, 0x2a);
    assert_int_equal(byte(&pc), 0x5c);
    assert_empty(&pc);
    pc_finish(&pc);
}

static void test_keyboard(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    set_command_byte(&pc, 0x05); /* interrupt, no translation */
    pc_outb(&pc, 0x60, 0xff);
    assert_true(pc_irq(&pc, 1));
    assert_int_equal(byte(&pc), 0xfa);
    assert_true(pc_irq(&pc, 1));
    assert_int_equal(byte(&pc), 0xaa);
    assert_false(pc_irq(&pc, 1));
    pc_outb(&pc, 0x60, 0xf2);
    assert_int_equal(byte(&pc), 0xfa);
    assert_int_equal(byte(&pc), 0xab);
    assert_int_equal(byte(&pc), 0x83);
    pc_outb(&pc, 0x60, 0xed);
    assert_int_equal(byte(&pc), 0xfa);
    pc_outb(&pc, 0x60, 0x02);
    assert_int_equal(byte(&pc), 0xfa);
    pc_outb(&pc, 0x60, 0xf0);
    assert_int_equal(byte(&pc), 0xfa);
    pc_outb(&pc, 0x60, 0x03);
    assert_int_equal(byte(&pc), 0xfa);
    pc_outb(&pc, 0x60, 0xf0);
    assert_int_equal(byte(&pc), 0xfa);
    pc_outb(&pc, 0x60, 0x00);
    assert_int_equal(byte(&pc), 0xfa);
    assert_int_equal(byte(&pc), 3);
    pc_outb(&pc, 0x60, 0xf3);
    assert_int_equal(byte(&pc), 0xfa);
    pc_outb(&pc, 0x60, 0xf5); /* a command where a parameter should be */
    assert_int_equal(byte(&pc), 0xfa);
    pc_outb(&pc, 0x60, 0xee);
    assert_int_equal(byte(&pc), 0xee);
    pc_outb(&pc, 0x60, 0xfe);
    assert_int_equal(byte(&pc), 0xee);
    pc_outb(&pc, 0x60, 0x01);
    assert_int_equal(byte(&pc), 0xfe);
    assert_empty(&pc);
    pc_finish(&pc);
}

/* Keys in set 2 arrive in set 1 with translation on: A down and up, right Ctrl, F7. */
static void test_keys(void **state)
{
    static const uint8_t keys[] = {0x1c, 0xf0, 0x1c, 0xe0, 0x14, 0xe0,
                                   0xf0, 0x14, 0x83, 0xf0, 0x83};
    static const uint8_t set1[] = {0x1e, 0x9e, 0xe0, 0x1d, 0xe0, 0x9d, 0x41, 0xc1};
    struct pc pc;

    (void)state;
    pc_init(&pc);
    assert_int_equal(i8042_keyboard_input(&pc.m, keys, sizeof(keys)), sizeof(keys));
    for (size_t i = 0; i < sizeof(set1); i++) {
        assert_true(pc_irq(&pc, 1));
        assert_int_equal(byte(&pc), set1[i]);
    }
    assert_empty(&pc);
    set_command_byte(&pc, 0x04);
    assert_int_equal(i8042_keyboard_input(&pc.m, keys, sizeof(keys)), sizeof(keys));
    assert_false(pc_irq(&pc, 1));
    for (size_t i = 0; i < sizeof(keys); i++)
        assert_int_equal(byte(&pc), keys[i]);
    /* Held back while the interface is off, refused while the keyboard is, bounded always. */
    command(&pc, 0xad);
    assert_int_equal(i8042_keyboard_input(&pc.m, keys, 2), 2);
    assert_empty(&pc);
    command(&pc, 0xae);
    assert_int_equal(byte(&pc), 0x1c);
    assert_int_equal(byte(&pc), 0xf0);
    for (unsigned i = 0, n = 0; i < 10; i++, assert_in_range(n, 0, 17))
        n += (unsigned)i8042_keyboard_input(&pc.m, keys, sizeof(keys));
    pc_outb(&pc, 0x60, 0xf5);
    while (status(&pc) & OBF)
        (void)pc_inb(&pc, 0x60);
    assert_int_equal(i8042_keyboard_input(&pc.m, keys, 1), 0);
    pc_finish(&pc);
}

static void test_mouse(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    set_command_byte(&pc, 0x47);
    mouse(&pc, 0xff);
    assert_true(pc_irq(&pc, 12));
    assert_false(pc_irq(&pc, 1));
    assert_int_equal(mouse_byte(&pc), 0xfa);
    assert_int_equal(mouse_byte(&pc), 0xaa);
    assert_int_equal(mouse_byte(&pc), 0);
    assert_false(pc_irq(&pc, 12));
    mouse(&pc, 0xf2);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    assert_int_equal(mouse_byte(&pc), 0);
    mouse(&pc, 0xf3);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    mouse(&pc, 200);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    mouse(&pc, 0xe8);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    mouse(&pc, 3);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    mouse(&pc, 0xf4);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    mouse(&pc, 0xe9);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    assert_int_equal(mouse_byte(&pc), 0x20);
    assert_int_equal(mouse_byte(&pc), 3);
    assert_int_equal(mouse_byte(&pc), 200);
    mouse(&pc, 0xeb);
    assert_int_equal(mouse_byte(&pc), 0xfa);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(mouse_byte(&pc), i == 0 ? 8 : 0);
    mouse(&pc, 0x11);
    assert_int_equal(mouse_byte(&pc), 0xfe);
    /* The loop that systems test the mouse's interrupt with. */
    command(&pc, 0xd3);
    pc_outb(&pc, 0x60, 0xa5);
    assert_true(pc_irq(&pc, 12));
    assert_int_equal(mouse_byte(&pc), 0xa5);
    command(&pc, 0xd2);
    pc_outb(&pc, 0x60, 0x5a);
    assert_true(pc_irq(&pc, 1));
    assert_int_equal(byte(&pc), 0x5a);
    assert_empty(&pc);
    pc_finish(&pc);
}

static void test_reset_and_a20(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    command(&pc, 0xfe);
    assert_int_equal(pc.f.cpu_resets, 1);
    command(&pc, 0xff); /* pulses nothing */
    assert_int_equal(pc.f.cpu_resets, 1);
    pc_outb(&pc, 0x92, 0x03);
    assert_int_equal(pc.f.cpu_resets, 2);
    command(&pc, 0xd1);
    pc_outb(&pc, 0x60, 0x02);
    assert_int_equal(pc.f.cpu_resets, 3);
    assert_true(i8042_a20(&pc.m));
    pc_outb(&pc, 0x92, 0);
    assert_false(i8042_a20(&pc.m));
    command(&pc, 0xd0);
    assert_int_equal(byte(&pc), 0x01);
    command(&pc, 0xdf);
    assert_int_equal(pc_inb(&pc, 0x92), 2);
    command(&pc, 0xdd);
    assert_int_equal(pc_inb(&pc, 0x92), 0);
    command(&pc, 0xd1);
    pc_outb(&pc, 0x60, 0x03);
    assert_true(i8042_a20(&pc.m));
    assert_int_equal(pc.f.cpu_resets, 3);
    pc_outb(&pc, 0x60, 0xf2);
    machine_reset(&pc.m);
    assert_false(pc_irq(&pc, 1));
    assert_empty(&pc);
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    struct pc a, b;

    (void)state;
    pc_init(&a);
    pc_init(&b);
    pc_outb(&a, 0x60, 0xf2);
    command(&a, 0x60);
    pc_migrate(&a, &b);
    pc_outb(&b, 0x60, 0x05); /* the command's byte */
    assert_true(pc_irq(&b, 1));
    assert_int_equal(byte(&b), 0xfa);
    assert_int_equal(byte(&b), 0xab);
    assert_int_equal(byte(&b), 0x83);
    pc_finish(&a);
    pc_finish(&b);
}

/* The interrupt lines always agree with status and command byte. */
static void test_fuzz(void **state)
{
    static const uint8_t ports[] = {0x60, 0x64, 0x92};
    struct pc pc;
    uint8_t cb;

    (void)state;
    srand(8);
    pc_init(&pc);
    for (int i = 0; i < 200000; i++) {
        unsigned port = ports[rand() % 3];
        uint8_t s, codes[4] = {(uint8_t)rand(), (uint8_t)rand(), 0xf0, (uint8_t)rand()};

        if (rand() % 8 == 0)
            (void)i8042_keyboard_input(&pc.m, codes, sizeof(codes));
        else if (rand() % 2)
            (void)pc_inb(&pc, port);
        else
            pc_outb(&pc, port, (unsigned)rand());
        if (rand() % 16 != 0)
            continue;
        s = status(&pc);
        while (status(&pc) & OBF)
            (void)pc_inb(&pc, 0x60);
        assert_false(pc_irq(&pc, 1));
        assert_false(pc_irq(&pc, 12));
        cb = command_byte(&pc);
        assert_int_equal(cb & 0x88, 0);
        command(&pc, s & 1 ? 0xd3 : 0xd2);
        pc_outb(&pc, 0x60, 0x77);
        assert_int_equal(pc_irq(&pc, s & 1 ? 12 : 1), (cb & (s & 1 ? 2 : 1)) != 0);
    }
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_controller),    cmocka_unit_test(test_keyboard),
        cmocka_unit_test(test_keys),          cmocka_unit_test(test_mouse),
        cmocka_unit_test(test_reset_and_a20), cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
