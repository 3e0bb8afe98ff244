/*
 * A guest that writes anything to every port of the IDE controller, for as long as it likes. What
 * must hold: no access outside of its buffers (the sanitizers watch), bounded work, images that
 * stay as they are, and a channel that a reset always makes usable again.
 */
#include "tests/unit/ide_pc.h"

#define ROUNDS   24
#define ACCESSES 20000

static unsigned any(unsigned n)
{
    return (unsigned)rand() % n;
}

/* Ports of both channels and of the bus master, the control port more rarely. */
static unsigned any_port(void)
{
    unsigned channel = any(2) ? PRIMARY : SECONDARY;

    switch (any(8)) {
    case 0:
    case 1:
        return IDE_BM + any(16);
    case 2:
        return any(4) ? channel : channel + 0x206;
    default:
        return channel + any(8);
    }
}

/* Commands that are there, more often than others. */
static uint8_t any_command(void)
{
    static const uint8_t known[] = {0x06, 0x08, 0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35,
                                    0x39, 0x40, 0x42, 0x90, 0x91, 0xa0, 0xa0, 0xa0, 0xa1,
                                    0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xec, 0xef, 0xe7, 0xf8};

    return any(4) ? known[any(sizeof(known))] : (uint8_t)rand();
}

static void any_packet(struct ide_pc *p)
{
    static const uint8_t known[] = {0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b,
                                    0x43, 0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbb, 0xbd, 0xbe};
    uint8_t packet[12];

    for (unsigned i = 0; i < sizeof(packet); i++)
        packet[i] = any(3) ? 0 : (uint8_t)rand();
    packet[0] = any(8) ? known[any(sizeof(known))] : (uint8_t)rand();
    ide_select(p, SECONDARY, 0xa0);
    pc_outb(&p->pc, SECONDARY + 1, any(2));
    pc_outb(&p->pc, SECONDARY + 7, 0xa0);
    ide_pio_out(p, packet, 12, 2);
}

static void any_string(struct ide_pc *p)
{
    static uint8_t data[40000];
    unsigned n = any(2) ? any(sizeof(data)) : any(600), size = any(2) ? 2 : 4;

    p->base = any(2) ? PRIMARY : SECONDARY;
    n = (unsigned)ALIGN_DOWN(n, 4u);
    if (any(2))
        ide_pio_in(p, data, n, size);
    else
        ide_pio_out(p, data, n, size);
}

static void any_memory(struct ide_pc *p)
{
    unsigned at = any(FAKE_RAM_SIZE - 8) & ~3u;

    ide_prd(p, at, any(4) ? any(FAKE_RAM_SIZE) : (uint32_t)rand() << 1,
            any(70000) | (any(4) ? 0 : PRD_LAST));
}

static void one_access(struct ide_pc *p)
{
    unsigned port = any_port(), size = 1u << any(3);

    switch (any(16)) {
    case 0:
        any_packet(p);
        break;
    case 1:
        any_string(p);
        break;
    case 2:
        any_memory(p);
        break;
    case 3:
        fake_host_advance(&p->pc.f, any(50000));
        break;
    case 4:
        pc_outb(&p->pc, (any(2) ? PRIMARY : SECONDARY) + 7, any_command());
        break;
    case 5:
        pc_out(&p->pc, IDE_BM + any(2) * 8 + 4, 4, any(FAKE_RAM_SIZE));
        pc_outb(&p->pc, IDE_BM + any(2) * 8, any(2) ? 9 : 1);
        break;
    case 6:
        if (any(20) == 0)
            ide_config_write(p, any(64) * 4, 4, (uint32_t)rand());
        break;
    default:
        if (any(2))
            (void)pc_in(&p->pc, port, size);
        else
            pc_out(&p->pc, port, size, any(3) ? any(256) : (uint32_t)rand());
    }
}

/* After all that, a reset gives a drive that works. */
static void check_alive(struct ide_pc *p)
{
    static uint8_t sector[512];

    ide_config_write(p, 0x40, 4, 0x80008000);
    ide_config_write(p, PCI_COMMAND, 2, 0);
    ide_pc_enable(p);
    for (unsigned i = 0; i < 2; i++) {
        p->base = i == 0 ? PRIMARY : SECONDARY;
        ide_control(p, 4);
        ide_control(p, 0);
        ide_bm_stop(p);
        ide_select(p, p->base, i == 0 ? 0xe0 : 0xa0);
        ide_simple(p, i == 0 ? 0xec : 0xa1, 0, 0);
        assert_true(ide_irq(p));
        assert_int_equal(ide_status(p) & 0x89, 8);
        ide_pio_in(p, sector, 512, 2);
        assert_int_equal(ide_status(p), 0x50);
        assert_int_equal(sector[510], 0xa5);
    }
}

static void test_anything(void **state)
{
    struct ide_pc p;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        srand(round);
        ide_pc_init(&p);
        if (round % 4 == 3)
            p.pc.f.allocs_left = (long)any(30);
        for (unsigned i = 0; i < ACCESSES; i++)
            one_access(&p);
        check_alive(&p);
        ide_pc_finish(&p);
    }
}

/* The same in two machines, one of which gets the other's state now and then: they stay equal. */
static void test_migrating(void **state)
{
    static uint8_t stream[400000];
    struct device_state s;
    struct ide_pc p, q;

    (void)state;
    ide_pc_init(&p);
    ide_pc_init(&q);
    for (unsigned i = 0; i < 3000; i++) {
        srand(i);
        for (unsigned k = 0; k < 20; k++)
            one_access(&p);
        s = (struct device_state){.buf = stream, .size = sizeof(stream)};
        assert_true(machine_save(&p.pc.m, &s));
        s.size = s.pos;
        s.pos = 0;
        q.pc.f.now = p.pc.f.now;
        assert_true(machine_load(&q.pc.m, &s));
        assert_int_equal(s.pos, s.size);
        assert_int_equal(pc_irq(&p.pc, 14), pc_irq(&q.pc, 14));
        assert_int_equal(pc_irq(&p.pc, 15), pc_irq(&q.pc, 15));
    }
    ide_pc_finish(&p);
    ide_pc_finish(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anything),
        cmocka_unit_test(test_migrating),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
