/* devices/dma8237: registers, transfers in every mode, requests, and a guest that writes anything.
 */
#include "devices/dma8237.h"
#include "tests/unit/pc.h"
#include "tests/unit/random.h"

/* As the guest sees channel n: ports of its address, count and page. */
static unsigned address_port(unsigned n)
{
    return n < 4 ? n * 2 : 0xc0 + (n - 4) * 4;
}
static unsigned count_port(unsigned n)
{
    return n < 4 ? n * 2 + 1 : 0xc2 + (n - 4) * 4;
}
static unsigned page_port(unsigned n)
{
    static const uint8_t port[] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};

    return port[n];
}
/* Register 8 to 15 of the channel's chip. */
static unsigned control_port(unsigned n, unsigned reg)
{
    return n < 4 ? reg : 0xc0 + reg * 2;
}

static void out16(struct pc *pc, unsigned port, unsigned value)
{
    pc_outb(pc, port, value & 0xff);
    pc_outb(pc, port, value >> 8);
}
static unsigned in16(struct pc *pc, unsigned port)
{
    unsigned low = pc_inb(pc, port);

    return low | (unsigned)pc_inb(pc, port) << 8;
}

#define MODE_WRITE  0x44 /* single */
#define MODE_READ   0x48
#define MODE_VERIFY 0x40
#define AUTO_INIT   0x10
#define DECREMENT   0x20

static void program(struct pc *pc, unsigned n, unsigned mode, uint32_t at, unsigned units)
{
    unsigned shift = n < 4 ? 0 : 1;

    pc_outb(pc, control_port(n, 10), 4 | (n & 3));
    pc_outb(pc, control_port(n, 12), 0);
    pc_outb(pc, control_port(n, 11), mode | (n & 3));
    out16(pc, address_port(n), at >> shift & 0xffff);
    out16(pc, count_port(n), units - 1);
    pc_outb(pc, page_port(n), at >> 16);
    pc_outb(pc, control_port(n, 10), n & 3);
}

static void claim(struct pc *pc, unsigned n)
{
    const struct dma_client nobody = {NULL, NULL};

    assert_int_equal(dma_claim(pc->m.dma, n, &nobody), 0);
    assert_int_equal(dma_claim(pc->m.dma, n, &nobody), E_EXIST);
}

static void expect(struct pc *pc, unsigned n, void *buffer, size_t bytes, enum dma_direction way,
                   size_t moved, bool tc)
{
    struct dma_result r = dma_transfer(pc->m.dma, n, buffer, bytes, way);

    assert_int_equal(r.bytes, moved);
    assert_int_equal(r.terminal_count, tc);
}

static void test_registers(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    for (unsigned n = 0; n < 8; n++) {
        pc_outb(&pc, control_port(n, 12), 0);
        out16(&pc, address_port(n), 0x1234 + n);
        out16(&pc, count_port(n), 0x8765 - n);
        pc_outb(&pc, page_port(n), 0xa0 + n);
    }
    for (unsigned n = 0; n < 8; n++) {
        assert_int_equal(in16(&pc, address_port(n)), 0x1234 + n);
        assert_int_equal(in16(&pc, count_port(n)), 0x8765 - n);
        assert_int_equal(pc_inb(&pc, page_port(n)), 0xa0 + n);
    }
    for (unsigned port = 0x80; port < 0x90; port++)
        pc_outb(&pc, port, port + 1);
    for (unsigned port = 0x80; port < 0x90; port++)
        assert_int_equal(pc_inb(&pc, port), port + 1);
    assert_int_equal(pc_inb(&pc, 0x0d), 0);
    assert_int_equal(pc_inb(&pc, 0xda), 0);
    for (unsigned reg = 9; reg < 15; reg++)
        if (reg != 13)
            assert_int_equal(pc_inb(&pc, reg), 0xff);
    assert_int_equal(bus_counters(pc.m.bus)->unclaimed_reads, 0);
    pc_finish(&pc);
}

static void test_flip_flop(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    out16(&pc, 0x04, 0xbeef);
    assert_int_equal(pc_inb(&pc, 0x04), 0xef);
    assert_int_equal(pc_inb(&pc, 0xc4), 0); /* each chip has its own */
    assert_int_equal(pc_inb(&pc, 0x04), 0xbe);
    (void)pc_inb(&pc, 0x05); /* one for all registers of a chip */
    assert_int_equal(pc_inb(&pc, 0x04), 0xbe);
    (void)pc_inb(&pc, 0x05);
    pc_outb(&pc, 0x0c, 0);
    assert_int_equal(pc_inb(&pc, 0x04), 0xef);
    pc_outb(&pc, 0x0d, 0);
    assert_int_equal(pc_inb(&pc, 0x04), 0xef);
    pc_outb(&pc, 0x04, 0x11); /* the high half */
    assert_int_equal(in16(&pc, 0x04), 0x11ef);
    /* The second chip's registers are at odd ports too. */
    pc_outb(&pc, 0xd8, 0);
    out16(&pc, 0xc5, 0x4242);
    assert_int_equal(in16(&pc, 0xc4), 0x4242);
    pc_finish(&pc);
}

static void test_masks(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    assert_int_equal(pc_inb(&pc, 0x0f), 0xff);
    assert_int_equal(pc_inb(&pc, 0xde), 0xfe); /* no firmware: the cascade is open */
    pc_outb(&pc, 0x0a, 2);
    assert_int_equal(pc_inb(&pc, 0x0f), 0xfb);
    pc_outb(&pc, 0x0a, 6);
    assert_int_equal(pc_inb(&pc, 0x0f), 0xff);
    pc_outb(&pc, 0x0f, 0x35);
    assert_int_equal(pc_inb(&pc, 0x0f), 0xf5);
    pc_outb(&pc, 0x0e, 0);
    assert_int_equal(pc_inb(&pc, 0x0f), 0xf0);
    pc_outb(&pc, 0x0d, 0);
    assert_int_equal(pc_inb(&pc, 0x0f), 0xff);
    pc_outb(&pc, 0xda, 0);
    assert_int_equal(pc_inb(&pc, 0xde), 0xff);
    machine_reset(&pc.m);
    assert_int_equal(pc_inb(&pc, 0xde), 0xfe);
    pc_finish(&pc);
}

static void fill(struct pc *pc)
{
    for (unsigned i = 0; i < FAKE_RAM_SIZE; i++)
        pc->f.ram[i] = (uint8_t)(i * 7 + (i >> 8));
}

static void test_bytes(void **state)
{
    uint8_t buffer[300], want[300];
    struct pc pc;

    (void)state;
    pc_init(&pc);
    fill(&pc);
    claim(&pc, 2);
    program(&pc, 2, MODE_READ, 0x12345, 256);
    expect(&pc, 2, buffer, 100, DMA_FROM_DEVICE, 0, false); /* the other way */
    expect(&pc, 2, buffer, 100, DMA_TO_DEVICE, 100, false);
    assert_memory_equal(buffer, pc.f.ram + 0x12345, 100);
    assert_int_equal(in16(&pc, 0x04), 0x2345 + 100);
    assert_int_equal(in16(&pc, 0x05), 155);
    assert_int_equal(pc_inb(&pc, 0x08), 0);
    expect(&pc, 2, buffer, 300, DMA_TO_DEVICE, 156, true);
    assert_memory_equal(buffer, pc.f.ram + 0x12345 + 100, 156);
    assert_int_equal(in16(&pc, 0x05), 0xffff);
    assert_int_equal(pc_inb(&pc, 0x0f), 0xff); /* masked by the end */
    assert_int_equal(pc_inb(&pc, 0x08), 4);
    assert_int_equal(pc_inb(&pc, 0x08), 0); /* reading clears it */
    expect(&pc, 2, buffer, 1, DMA_TO_DEVICE, 0, false);

    memset(want, 0x5a, sizeof(want));
    program(&pc, 2, MODE_WRITE, 0x20000, 300);
    expect(&pc, 2, want, 300, DMA_FROM_DEVICE, 300, true);
    assert_memory_equal(pc.f.ram + 0x20000, want, 300);
    assert_int_equal(pc.f.ram[0x20000 + 300], (uint8_t)((0x20000 + 300) * 7 + (0x2012c >> 8)));
    pc_finish(&pc);
}

/* 64 KiB on: the page stays. Words go by 128 KiB. */
static void test_wrap(void **state)
{
    uint8_t buffer[64];
    struct pc pc;

    (void)state;
    pc_init(&pc);
    fill(&pc);
    claim(&pc, 1);
    claim(&pc, 5);
    program(&pc, 1, MODE_READ, 0x3fff0, 64);
    expect(&pc, 1, buffer, 64, DMA_TO_DEVICE, 64, true);
    assert_memory_equal(buffer, pc.f.ram + 0x3fff0, 16);
    assert_memory_equal(buffer + 16, pc.f.ram + 0x30000, 48);
    program(&pc, 5, MODE_READ, 0x5fff0, 32);
    pc_outb(&pc, page_port(5), 5); /* bit 0 is not there */
    out16(&pc, address_port(5), 0xfff8);
    expect(&pc, 5, buffer, 64, DMA_TO_DEVICE, 64, true);
    assert_memory_equal(buffer, pc.f.ram + 0x5fff0, 16);
    assert_memory_equal(buffer + 16, pc.f.ram + 0x40000, 48);
    /* Downwards below 0. */
    program(&pc, 1, MODE_READ | DECREMENT, 0x30001, 4);
    expect(&pc, 1, buffer, 4, DMA_TO_DEVICE, 4, true);
    assert_int_equal(buffer[0], pc.f.ram[0x30001]);
    assert_int_equal(buffer[1], pc.f.ram[0x30000]);
    assert_int_equal(buffer[2], pc.f.ram[0x3ffff]);
    assert_int_equal(buffer[3], pc.f.ram[0x3fffe]);
    assert_int_equal(in16(&pc, 0x02), 0xfffd);
    pc_finish(&pc);
}

static void test_words_down(void **state)
{
    uint8_t words[1000], got[1000];
    struct pc pc;

    (void)state;
    pc_init(&pc);
    claim(&pc, 7);
    for (unsigned i = 0; i < sizeof(words); i++)
        words[i] = (uint8_t)(i * 3 + (i >> 8));
    program(&pc, 7, MODE_WRITE | DECREMENT, 0x41000, 500);
    expect(&pc, 7, words, 3, DMA_FROM_DEVICE, 2, false); /* whole words only */
    expect(&pc, 7, words + 2, 998, DMA_FROM_DEVICE, 998, true);
    for (unsigned i = 0; i < 500; i++)
        assert_memory_equal(pc.f.ram + 0x41000 - 2 * i, words + 2 * i, 2);
    program(&pc, 7, MODE_READ | DECREMENT, 0x41000, 500);
    expect(&pc, 7, got, 1000, DMA_TO_DEVICE, 1000, true);
    assert_memory_equal(got, words, 1000);
    pc_finish(&pc);
}

static void test_auto_init(void **state)
{
    uint8_t buffer[64];
    struct pc pc;

    (void)state;
    pc_init(&pc);
    fill(&pc);
    claim(&pc, 3);
    program(&pc, 3, MODE_READ | AUTO_INIT, 0x8000, 40);
    for (unsigned i = 0; i < 3; i++) {
        expect(&pc, 3, buffer, 64, DMA_TO_DEVICE, 40, true); /* not over its end */
        assert_memory_equal(buffer, pc.f.ram + 0x8000, 40);
        assert_int_equal(in16(&pc, 0x06), 0x8000);
        assert_int_equal(in16(&pc, 0x07), 39);
        assert_true(dma_ready(pc.m.dma, 3));
    }
    assert_int_equal(pc_inb(&pc, 0x08), 8);
    pc_finish(&pc);
}

static void test_verify_and_holes(void **state)
{
    uint8_t buffer[32], ones[32], before[32];
    struct pc pc;

    (void)state;
    pc_init(&pc);
    fill(&pc);
    claim(&pc, 2);
    memset(ones, 0xff, sizeof(ones));
    memset(buffer, 0, sizeof(buffer));
    memcpy(before, pc.f.ram + 0x1000, 32);
    program(&pc, 2, MODE_VERIFY, 0x1000, 64);
    expect(&pc, 2, buffer, 32, DMA_FROM_DEVICE, 32, false);
    assert_memory_equal(pc.f.ram + 0x1000, before, 32);
    expect(&pc, 2, buffer, 32, DMA_TO_DEVICE, 32, true);
    assert_memory_equal(buffer, ones, 32);
    memset(buffer, 0, sizeof(buffer));
    program(&pc, 2, MODE_READ, 0xf00000, 32); /* no RAM there */
    expect(&pc, 2, buffer, 32, DMA_TO_DEVICE, 32, true);
    assert_memory_equal(buffer, ones, 32);
    program(&pc, 2, MODE_WRITE, 0xf00000, 32);
    expect(&pc, 2, buffer, 32, DMA_FROM_DEVICE, 32, true);
    program(&pc, 2, MODE_VERIFY | 0x0c, 0x1000, 32);
    expect(&pc, 2, buffer, 32, DMA_FROM_DEVICE, 0, false); /* no such type */
    pc_finish(&pc);
}

/* What keeps a channel from the bus. */
static void test_not_ready(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    claim(&pc, 2);
    claim(&pc, 6);
    program(&pc, 2, MODE_READ, 0, 16);
    program(&pc, 6, MODE_READ, 0, 16);
    assert_true(dma_ready(pc.m.dma, 2) && dma_ready(pc.m.dma, 6));
    pc_outb(&pc, 0x08, 4);
    assert_true(!dma_ready(pc.m.dma, 2) && dma_ready(pc.m.dma, 6));
    pc_outb(&pc, 0x08, 0);
    pc_outb(&pc, 0xd0, 4);
    assert_true(!dma_ready(pc.m.dma, 2) && !dma_ready(pc.m.dma, 6));
    pc_outb(&pc, 0xd0, 0);
    pc_outb(&pc, 0xd4, 4); /* the cascade masked */
    assert_true(!dma_ready(pc.m.dma, 2) && dma_ready(pc.m.dma, 6));
    pc_outb(&pc, 0xd4, 0);
    pc_outb(&pc, 0xd6, 0x40); /* and not a cascade */
    assert_false(dma_ready(pc.m.dma, 2));
    pc_outb(&pc, 0xd6, 0xc0);
    assert_true(dma_ready(pc.m.dma, 2));
    pc_outb(&pc, 0x0b, 0xca);
    assert_false(dma_ready(pc.m.dma, 2)); /* a cascade to nowhere */
    pc_finish(&pc);
}

/* With firmware nothing is open before it has opened it. */
static void test_firmware(void **state)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(2), .firmware = true};
    struct pc pc;

    (void)state;
    pc_init_with(&pc, &config);
    claim(&pc, 2);
    program(&pc, 2, MODE_READ, 0, 16);
    assert_false(dma_ready(pc.m.dma, 2));
    assert_int_equal(pc_inb(&pc, 0xde), 0xff);
    pc_outb(&pc, 0xd6, 0xc0);
    pc_outb(&pc, 0xd4, 0);
    assert_true(dma_ready(pc.m.dma, 2));
    pc_finish(&pc);
}

struct device_side {
    struct pc *pc;
    unsigned calls;
    uint8_t got[16];
};

static void device_ready(void *opaque, unsigned channel)
{
    struct device_side *s = opaque;

    s->calls++;
    expect(s->pc, channel, s->got, 16, DMA_TO_DEVICE, 16, true);
    dma_request(s->pc->m.dma, channel, false);
}

static void test_request(void **state)
{
    struct device_side side = {.calls = 0};
    struct dma_client client = {device_ready, &side};
    struct pc pc;

    (void)state;
    pc_init(&pc);
    fill(&pc);
    side.pc = &pc;
    assert_int_equal(dma_claim(pc.m.dma, 2, &client), 0);
    dma_request(pc.m.dma, 2, true);
    assert_int_equal(pc_inb(&pc, 0x08), 0x40);
    program(&pc, 2, MODE_READ, 0x4000, 16);
    assert_int_equal(side.calls, 1);
    assert_memory_equal(side.got, pc.f.ram + 0x4000, 16);
    assert_int_equal(pc_inb(&pc, 0x08), 0x04);
    program(&pc, 2, MODE_READ, 0x4000, 16);
    assert_int_equal(side.calls, 1); /* its DREQ is down */
    pc_finish(&pc);
}

static void test_software_request(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    program(&pc, 1, 0x80 | 4, 0x50000, 0x10000);
    pc_outb(&pc, 0x0a, 4 | 1); /* it is not masked by that */
    pc_outb(&pc, 0x09, 4 | 1);
    assert_int_equal(pc.f.ram[0x4ffff], 0);
    assert_int_equal(pc.f.ram[0x50000], 0xff);
    assert_int_equal(pc.f.ram[0x5ffff], 0xff);
    assert_int_equal(pc.f.ram[0x60000], 0);
    assert_int_equal(pc_inb(&pc, 0x08), 0x02);
    /* One that must wait for the bus can be seen, and taken back. */
    pc_outb(&pc, 0x08, 4);
    pc_outb(&pc, 0x09, 4 | 3);
    assert_int_equal(pc_inb(&pc, 0x08), 0x80);
    pc_outb(&pc, 0x09, 3);
    assert_int_equal(pc_inb(&pc, 0x08), 0);
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    uint8_t buffer[64];
    struct pc a, b;

    (void)state;
    pc_init(&a);
    pc_init(&b);
    fill(&a);
    fill(&b);
    claim(&a, 2);
    claim(&b, 2);
    program(&a, 2, MODE_READ, 0x4000, 64);
    expect(&a, 2, buffer, 20, DMA_TO_DEVICE, 20, false);
    dma_request(a.m.dma, 2, true);
    pc_outb(&a, 0x04, 0); /* the flip-flop is at the high half, and base and current differ */
    pc_migrate(&a, &b);
    pc_outb(&b, 0x04, 0x40);
    assert_int_equal(pc_inb(&b, 0x08), 0x40);
    expect(&b, 2, buffer, 64, DMA_TO_DEVICE, 44, true);
    assert_memory_equal(buffer, b.f.ram + 0x4000, 44);
    pc_finish(&a);
    pc_finish(&b);
}

/* Anything to any port, with devices that transfer at any time: nothing outside of the buffers. */
static void test_fuzz(void **state)
{
    struct random r = {11};
    uint8_t *buffer = malloc(5000);
    size_t moved = 0;
    struct pc pc, other;

    (void)state;
    pc_init(&pc);
    pc_init(&other);
    for (unsigned n = 0; n < 8; n++)
        if (n != 4)
            claim(&pc, n);
    for (unsigned i = 0; i < 200000; i++) {
        static const uint8_t first[] = {0x00, 0x80, 0xc0};
        unsigned port = first[random_below(&r, 3)] + random_below(&r, 32);
        unsigned size = 1u << random_below(&r, 3), n = random_below(&r, 8);

        if (random_below(&r, 3) != 0)
            pc_out(&pc, port & 0xff, size, (uint32_t)random_next(&r));
        else
            (void)pc_in(&pc, port & 0xff, size);
        if (n == 4 || random_below(&r, 4) != 0)
            continue;
        dma_request(pc.m.dma, n, random_below(&r, 2));
        moved += dma_transfer(pc.m.dma, n, buffer, random_below(&r, 5000),
                              random_below(&r, 2) ? DMA_TO_DEVICE : DMA_FROM_DEVICE)
                     .bytes;
        if (random_below(&r, 1000) == 0)
            pc_migrate(&pc, &other);
    }
    assert_true(moved > 10000);
    /* It can be programmed again. */
    machine_reset(&pc.m);
    fill(&pc);
    program(&pc, 2, MODE_READ, 0x4000, 64);
    expect(&pc, 2, buffer, 64, DMA_TO_DEVICE, 64, true);
    assert_memory_equal(buffer, pc.f.ram + 0x4000, 64);
    free(buffer);
    pc_finish(&pc);
    pc_finish(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers), cmocka_unit_test(test_flip_flop),
        cmocka_unit_test(test_masks),     cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_wrap),      cmocka_unit_test(test_words_down),
        cmocka_unit_test(test_auto_init), cmocka_unit_test(test_verify_and_holes),
        cmocka_unit_test(test_not_ready), cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_request),   cmocka_unit_test(test_software_request),
        cmocka_unit_test(test_save_load), cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
