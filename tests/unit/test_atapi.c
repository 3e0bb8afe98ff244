/* devices/atapi*: a CD-ROM drive, packet by packet, by PIO and by DMA. */
#include "tests/unit/ide_pc.h"

static uint8_t buf[65536];

static void setup(struct ide_pc *p)
{
    ide_pc_init(p);
    ide_select(p, SECONDARY, 0xa0);
}

/* Sends a packet, whose first bytes are given; the rest is zero. */
static void send(struct ide_pc *p, unsigned features, unsigned limit, const uint8_t packet[12])
{
    pc_outb(&p->pc, p->base + 1, features);
    pc_outb(&p->pc, p->base + 4, limit & 0xff);
    pc_outb(&p->pc, p->base + 5, limit >> 8);
    pc_outb(&p->pc, p->base + 7, 0xa0);
    assert_false(ide_irq(p));
    assert_int_equal(ide_status(p) & 0x89, 0x08);
    assert_int_equal(pc_inb(&p->pc, p->base + 2), 1);
    ide_pio_out(p, packet, 12, 2);
}

/* Takes what the drive gives by PIO; returns how much. The end is with status and interrupt. */
static unsigned take(struct ide_pc *p)
{
    unsigned n = 0, part;

    while (ide_irq(p) && (ide_status(p) & 8)) {
        assert_int_equal(pc_inb(&p->pc, p->base + 2), 2);
        part = pc_inb(&p->pc, p->base + 4) | pc_inb(&p->pc, p->base + 5) << 8;
        assert_true(part > 0 && n + part <= sizeof(buf));
        ide_pio_in(p, buf + n, part, 2);
        n += part;
    }
    assert_int_equal(pc_inb(&p->pc, p->base + 2), 3);
    assert_int_equal(ide_alt_status(p) & 0x88, 0);
    return n;
}

static unsigned ask(struct ide_pc *p, const uint8_t packet[12])
{
    send(p, 0, 0x8000, packet);
    return take(p);
}

#define PACKET(...) ((const uint8_t[12]){__VA_ARGS__})

/* The last command ended with that sense data. */
static void expect_sense(struct ide_pc *p, uint8_t key, unsigned asc)
{
    assert_int_equal(ide_alt_status(p) & 1, key != 0);
    assert_int_equal(ide_error(p), key << 4);
    assert_int_equal(ask(p, PACKET(3, 0, 0, 0, 18)), 18);
    assert_int_equal(buf[0], 0x70);
    assert_int_equal(buf[2], key);
    assert_int_equal(buf[12] << 8 | buf[13], asc);
    assert_int_equal(ide_alt_status(p) & 1, 0);
}

static void clear_attention(struct ide_pc *p)
{
    assert_int_equal(ask(p, PACKET(0)), 0);
    expect_sense(p, 6, 0x2900);
    assert_int_equal(ask(p, PACKET(0)), 0);
    expect_sense(p, 0, 0);
}

static void test_signature(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    assert_int_equal(ide_status(&p), 0);
    assert_int_equal(pc_in(&p.pc, SECONDARY + 4, 2), 0xeb14);
    pc_out(&p.pc, SECONDARY + 4, 2, 0);
    ide_simple(&p, 0xec, 0, 0); /* aborted, and the signature is there again */
    ide_expect_error(&p, 4);
    assert_int_equal(pc_in(&p.pc, SECONDARY + 4, 2), 0xeb14);
    pc_out(&p.pc, SECONDARY + 4, 2, 0);
    ide_simple(&p, 0x20, 0, 1);
    ide_expect_error(&p, 4);
    assert_int_equal(pc_in(&p.pc, SECONDARY + 4, 2), 0xeb14);
    pc_out(&p.pc, SECONDARY + 4, 2, 0);
    ide_simple(&p, 0x08, 0, 0); /* DEVICE RESET */
    assert_false(ide_irq(&p));
    assert_int_equal(ide_status(&p), 0);
    assert_int_equal(ide_error(&p), 1);
    assert_int_equal(pc_in(&p.pc, SECONDARY + 4, 2), 0xeb14);
    ide_pc_finish(&p);
}

static void test_identify(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    ide_simple(&p, 0xa1, 0, 0);
    assert_true(ide_irq(&p));
    ide_pio_in(&p, buf, 512, 2);
    assert_int_equal(ide_status(&p), 0x50);
    assert_int_equal(buf[0] | buf[1] << 8, 0x85c0);
    assert_int_equal(buf[99] & 3, 3); /* LBA and DMA */
    assert_int_equal(buf[164] & 0x10, 0x10);
    ide_simple(&p, 0xef, 3, 0x42);
    ide_expect_ok(&p);
    ide_simple(&p, 0xa1, 0, 0);
    ide_pio_in(&p, buf, 512, 2);
    assert_int_equal(buf[176] | buf[177] << 8, 0x43f);
    ide_simple(&p, 0xef, 3, 0x7f);
    ide_expect_error(&p, 4);
    for (unsigned c = 0xe0; c <= 0xe1; c++) {
        ide_simple(&p, c, 0, 0);
        ide_expect_ok(&p);
    }
    ide_simple(&p, 0xe5, 0, 0);
    ide_expect_ok(&p);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 2), 0xff);
    ide_simple(&p, 0xc8, 0, 0);
    ide_expect_error(&p, 4);
    ide_simple(&p, 0, 0, 0);
    ide_expect_error(&p, 4);
    ide_simple(&p, 0xe6, 0, 0);
    ide_expect_ok(&p);
    ide_simple(&p, 0xa1, 0, 0);
    assert_false(ide_irq(&p));
    ide_simple(&p, 0x08, 0, 0);
    ide_simple(&p, 0xa1, 0, 0);
    assert_true(ide_irq(&p));
    ide_pc_finish(&p);
}

static void test_attention(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    /* INQUIRY is answered all the same; REQUEST SENSE tells it and clears it. */
    assert_int_equal(ask(&p, PACKET(0x12, 0, 0, 0, 36)), 36);
    assert_int_equal(buf[0], 5);
    assert_int_equal(buf[1], 0x80);
    assert_int_equal(buf[4], 31);
    assert_memory_equal(buf + 8, "TITHE   CD-ROM          1   ", 28);
    assert_int_equal(ask(&p, PACKET(3, 0, 0, 0, 18)), 18);
    assert_int_equal(buf[2], 6);
    assert_int_equal(buf[12], 0x29);
    assert_int_equal(ask(&p, PACKET(0)), 0);
    expect_sense(&p, 0, 0);
    ide_pc_finish(&p);
}

static void test_sense(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    assert_int_equal(ask(&p, PACKET(0xff)), 0);
    expect_sense(&p, 5, 0x2000);
    assert_int_equal(ask(&p, PACKET(3, 0, 0, 0, 5)), 5); /* cut to what was allocated */
    assert_int_equal(buf[2], 0);
    assert_int_equal(ask(&p, PACKET(3)), 0);
    ide_control(&p, 4); /* a software reset is no reason for attention */
    ide_control(&p, 0);
    ide_select(&p, SECONDARY, 0xa0);
    assert_int_equal(ask(&p, PACKET(0)), 0);
    expect_sense(&p, 0, 0);
    machine_reset(&p.pc.m);
    ide_pc_enable(&p);
    clear_attention(&p);
    ide_pc_finish(&p);
}

static void test_read_pio(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    assert_int_equal(ask(&p, PACKET(0x28, 0, 0, 0, 0, 20, 0, 0, 5)), 5 * 2048);
    assert_memory_equal(buf, p.cd + 20 * 2048, 5 * 2048);
    /* Blocks no larger than the limit, also when that is odd or less than a sector. */
    send(&p, 0, 701, PACKET(0xa8, 0, 0, 0, 1, 0x2b, 0, 0, 0, 1)); /* block 299, the last */
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 4) | pc_inb(&p.pc, SECONDARY + 5) << 8, 700);
    assert_int_equal(take(&p), 2048);
    assert_memory_equal(buf, p.cd + 299 * 2048, 2048);
    send(&p, 0, 0, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 31)); /* 62 KiB at once */
    assert_int_equal(take(&p), 31 * 2048);
    assert_memory_equal(buf, p.cd, 31 * 2048);
    /* More than the buffer: in two parts. */
    send(&p, 0, 0xffff, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 40));
    for (unsigned n = 0; n < 40 * 2048;) {
        unsigned part = pc_inb(&p.pc, SECONDARY + 4) | pc_inb(&p.pc, SECONDARY + 5) << 8;

        assert_int_equal(ide_status(&p) & 8, 8);
        ide_pio_in(&p, buf, part, 4);
        assert_memory_equal(buf, p.cd + n, part);
        n += part;
    }
    assert_int_equal(take(&p), 0);
    assert_int_equal(ask(&p, PACKET(0x28)), 0); /* no blocks are no error */
    expect_sense(&p, 0, 0);
    assert_int_equal(ask(&p, PACKET(0x28, 0, 0, 0, 1, 0x2c, 0, 0, 1)), 0);
    expect_sense(&p, 5, 0x2100);
    assert_int_equal(ask(&p, PACKET(0xa8, 0, 0, 0, 1, 0x2b, 0, 0, 0, 2)), 0);
    expect_sense(&p, 5, 0x2100);
    assert_int_equal(ask(&p, PACKET(0xa8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)), 0);
    expect_sense(&p, 5, 0x2100);
    ide_pc_finish(&p);
}

static void test_read_dma(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    ide_prd(&p, 0x1000, 0x10000, 0);
    ide_prd(&p, 0x1008, 0x20000, (50 * 2048 - 65536) | PRD_LAST);
    ide_bm_prepare(&p, 0x1000, BM_TO_MEM);
    send(&p, 1, 0, PACKET(0x28, 0, 0, 0, 0, 7, 0, 0, 50));
    assert_false(ide_irq(&p));
    ide_bm_start(&p, BM_TO_MEM);
    ide_settle(&p);
    assert_true(ide_irq(&p));
    assert_int_equal(ide_bm_status(&p) & 7, BM_INTR);
    ide_bm_stop(&p);
    assert_int_equal(ide_status(&p), 0x50);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 2), 3);
    assert_memory_equal(p.pc.f.ram + 0x10000, p.cd + 7 * 2048, 50 * 2048);
    /* An answer from the drive's buffer by DMA, and an error where data was wanted. */
    ide_bm_prepare(&p, 0x1000, BM_TO_MEM);
    ide_bm_start(&p, BM_TO_MEM);
    send(&p, 1, 0, PACKET(0x25));
    assert_true(ide_irq(&p));
    assert_int_equal(ide_bm_status(&p) & 7, BM_INTR | BM_ACTIVE);
    ide_bm_stop(&p);
    assert_memory_equal(p.pc.f.ram + 0x10000, "\0\0\1\x2b\0\0\x08\0", 8);
    ide_bm_start(&p, BM_TO_MEM);
    send(&p, 1, 0, PACKET(0x28, 0, 0xff, 0, 0, 7, 0, 0, 50));
    assert_true(ide_irq(&p));
    assert_int_equal(ide_status(&p) & 9, 1);
    ide_bm_stop(&p);
    expect_sense(&p, 5, 0x2100);
    /* Overlapped commands are not offered. */
    ide_simple(&p, 0xa0, 2, 0);
    ide_expect_error(&p, 4);
    ide_pc_finish(&p);
}

static void test_capacity_and_seek(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    assert_int_equal(ask(&p, PACKET(0x25)), 8);
    assert_memory_equal(buf, "\0\0\1\x2b\0\0\x08\0", 8);
    assert_int_equal(ask(&p, PACKET(0x2b, 0, 0, 0, 1, 0x2b)), 0);
    expect_sense(&p, 0, 0);
    assert_int_equal(ask(&p, PACKET(0x2b, 0, 0, 0, 1, 0x2c)), 0);
    expect_sense(&p, 5, 0x2100);
    assert_int_equal(ask(&p, PACKET(0xbb)), 0);
    expect_sense(&p, 0, 0);
    ide_pc_finish(&p);
}

static void test_read_cd(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    assert_int_equal(ask(&p, PACKET(0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0x10)), 2 * 2048);
    assert_memory_equal(buf, p.cd + 9 * 2048, 2 * 2048);
    assert_int_equal(ask(&p, PACKET(0xbe, 2 << 2, 0, 0, 0, 9, 0, 0, 1, 0x10)), 2048);
    assert_int_equal(ask(&p, PACKET(0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0)), 0);
    expect_sense(&p, 0, 0);
    assert_int_equal(ask(&p, PACKET(0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0xf8)), 0);
    expect_sense(&p, 5, 0x2400);
    assert_int_equal(ask(&p, PACKET(0xbe, 1 << 2, 0, 0, 0, 9, 0, 0, 2, 0x10)), 0);
    expect_sense(&p, 5, 0x6400);
    ide_pc_finish(&p);
}

static void test_toc(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    assert_int_equal(ask(&p, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 200)), 20);
    assert_memory_equal(buf, "\0\x12\1\1\0\x14\1\0\0\0\0\0\0\x14\xaa\0\0\0\1\x2c", 20);
    assert_int_equal(ask(&p, PACKET(0x43, 2, 0, 0, 0, 0, 0xaa, 0, 200)), 12);
    assert_memory_equal(buf, "\0\x0a\1\1\0\x14\xaa\0\0\0\6\0", 12); /* 450 frames are 6 s */
    assert_int_equal(ask(&p, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 4)), 4);
    assert_memory_equal(buf, "\0\x12\1\1", 4);
    assert_int_equal(ask(&p, PACKET(0x43, 0, 1, 0, 0, 0, 0, 0, 200)), 12);
    assert_memory_equal(buf, "\0\x0a\1\1\0\x14\1\0\0\0\0\0", 12);
    assert_int_equal(ask(&p, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 200, 0x40)), 12);
    assert_int_equal(ask(&p, PACKET(0x43, 0, 2, 0, 0, 0, 0, 0, 200)), 48);
    assert_memory_equal(buf, "\0\x2e\1\1\1\x14\0\xa0\0\0\0\0\1\0\0", 15);
    assert_memory_equal(buf + 26, "\1\x14\0\xa2\0\0\0\0\0\6\0", 11);
    assert_memory_equal(buf + 37, "\1\x14\0\1\0\0\0\0\0\2\0", 11);
    assert_int_equal(ask(&p, PACKET(0x43, 0, 3, 0, 0, 0, 0, 0, 200)), 0);
    expect_sense(&p, 5, 0x2400);
    assert_int_equal(ask(&p, PACKET(0x43, 0, 0, 0, 0, 0, 2, 0, 200)), 0);
    expect_sense(&p, 5, 0x2400);
    ide_pc_finish(&p);
}

static void test_mode_sense(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0)), 28);
    assert_memory_equal(buf, "\0\x1a\1", 3);
    assert_int_equal(buf[8], 0x2a);
    assert_int_equal(buf[9], 18);
    assert_int_equal(buf[8 + 6], 0x29);
    assert_int_equal(ask(&p, PACKET(0x1a, 0, 0x01, 0, 255)), 12);
    assert_memory_equal(buf, "\x0b\1\0\0\1\6\0\5", 8);
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0)), 8 + 8 + 8 + 20);
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0x6a, 0, 0, 0, 0, 1, 0)), 28);
    assert_int_equal(buf[8 + 6], 0); /* nothing can be changed */
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0xea, 0, 0, 0, 0, 1, 0)), 0);
    expect_sense(&p, 5, 0x3900);
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0x05, 0, 0, 0, 0, 1, 0)), 0);
    expect_sense(&p, 5, 0x2400);
    ide_pc_finish(&p);
}

static void test_tray(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    /* The medium that was there from the start is an event, once. */
    assert_int_equal(ask(&p, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8)), 8);
    assert_memory_equal(buf, "\0\6\4\x10\2\2\0\0", 8);
    assert_int_equal(ask(&p, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8)), 8);
    assert_int_equal(buf[4], 0);
    assert_int_equal(ask(&p, PACKET(0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8)), 4);
    assert_memory_equal(buf, "\0\2\x80\x10", 4);
    assert_int_equal(ask(&p, PACKET(0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8)), 0);
    expect_sense(&p, 5, 0x2400);
    /* Locked, then let out. */
    assert_int_equal(ask(&p, PACKET(0x1e, 0, 0, 0, 1)), 0);
    assert_int_equal(ask(&p, PACKET(0x1b, 0, 0, 0, 2)), 0);
    expect_sense(&p, 5, 0x5302);
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0)), 28);
    assert_int_equal(buf[8 + 6], 0x2b);
    assert_int_equal(ask(&p, PACKET(0x1e)), 0);
    assert_int_equal(ask(&p, PACKET(0x1b, 0, 0, 0, 2)), 0);
    assert_int_equal(ask(&p, PACKET(0)), 0);
    expect_sense(&p, 2, 0x3a02);
    assert_int_equal(ask(&p, PACKET(0x25)), 0);
    expect_sense(&p, 2, 0x3a02);
    assert_int_equal(ask(&p, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8)), 8);
    assert_memory_equal(buf + 4, "\3\1", 2);
    assert_int_equal(ask(&p, PACKET(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8)), 8);
    assert_int_equal(buf[1], 0x10);
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0)), 28);
    assert_int_equal(buf[2], 0x71);
    /* And in again: the medium may be another. */
    assert_int_equal(ask(&p, PACKET(0x1b, 0, 0, 0, 3)), 0);
    assert_int_equal(ask(&p, PACKET(0)), 0);
    expect_sense(&p, 6, 0x2800);
    assert_int_equal(ask(&p, PACKET(0)), 0);
    expect_sense(&p, 0, 0);
    assert_int_equal(ask(&p, PACKET(0x1b, 0, 0, 0, 1)), 0);
    assert_int_equal(ask(&p, PACKET(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8)), 8);
    assert_int_equal(buf[1], 0);
    ide_pc_finish(&p);
}

static void test_configuration(void **state)
{
    struct ide_pc p;

    (void)state;
    setup(&p);
    assert_int_equal(ask(&p, PACKET(0x46, 0, 0, 0, 0, 0, 0, 1, 0)), 8 + 8 + 8 + 8 + 12 + 8);
    assert_memory_equal(buf, "\0\0\0\x30\0\0\0\x08", 8);
    assert_memory_equal(buf + 8, "\0\0\3\4\0\x08\1\0", 8);
    assert_int_equal(ask(&p, PACKET(0x46, 2, 0, 0x1e, 0, 0, 0, 1, 0)), 16);
    assert_memory_equal(buf + 8, "\0\x1e\1\4", 4);
    assert_int_equal(ask(&p, PACKET(0x46, 2, 1, 0, 0, 0, 0, 1, 0)), 8);
    assert_int_equal(ask(&p, PACKET(0x46, 0, 0, 0x10, 0, 0, 0, 1, 0)), 8 + 12 + 8);
    assert_int_equal(ask(&p, PACKET(0x46, 3, 0, 0, 0, 0, 0, 1, 0)), 0);
    expect_sense(&p, 5, 0x2400);
    clear_attention(&p);
    assert_int_equal(ask(&p, PACKET(0x1b, 0, 0, 0, 2)), 0);
    assert_int_equal(ask(&p, PACKET(0x46, 1, 0, 0, 0, 0, 0, 1, 0)), 8 + 8 + 8 + 8);
    assert_int_equal(buf[7], 0);
    assert_int_equal(ask(&p, PACKET(0x1b, 0, 0, 0, 3)), 0);
    assert_int_equal(ask(&p, PACKET(0)), 0);
    assert_int_equal(ask(&p, PACKET(0x51, 0, 0, 0, 0, 0, 0, 1, 0)), 34);
    assert_memory_equal(buf, "\0\x20\x0e\1\1\1\1\x20", 8);
    assert_int_equal(ask(&p, PACKET(0x12, 1, 0, 0, 36)), 0);
    expect_sense(&p, 5, 0x2400);
    ide_pc_finish(&p);
}

/* A medium that cannot be read, and a machine's state in the middle of data. */
static void bad_submit(struct disk *d, struct disk_request *r)
{
    (void)d;
    disk_done(r, DISK_BAD_MEDIUM);
}

static void test_medium_error(void **state)
{
    static const struct disk_ops ops = {bad_submit, NULL, NULL};
    struct disk bad = {.ops = &ops, .sectors = 400, .read_only = true}, *own;
    struct ide_pc p;

    (void)state;
    setup(&p);
    clear_attention(&p);
    own = p.ide->channel[1].drive[0].disk;
    p.ide->channel[1].drive[0].disk = &bad;
    assert_int_equal(ask(&p, PACKET(0x28, 0, 0, 0, 0, 7, 0, 0, 1)), 0);
    expect_sense(&p, 3, 0x1100);
    p.ide->channel[1].drive[0].disk = NULL; /* no medium */
    assert_int_equal(ask(&p, PACKET(0)), 0);
    expect_sense(&p, 2, 0x3a00);
    assert_int_equal(ask(&p, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0)), 28);
    assert_int_equal(buf[2], 0x70);
    p.ide->channel[1].drive[0].disk = own;
    ide_pc_finish(&p);
}

static void test_state(void **state)
{
    struct ide_pc from, to;

    (void)state;
    setup(&from);
    ide_pc_init(&to);
    to.base = SECONDARY;
    clear_attention(&from);
    send(&from, 0, 1000, PACKET(0x28, 0, 0, 0, 0, 20, 0, 0, 2));
    ide_pio_in(&from, buf, 300, 2);
    pc_migrate(&from.pc, &to.pc);
    assert_int_equal(ide_status(&to) & 8, 8);
    ide_pio_in(&to, buf + 300, 700, 2);
    assert_memory_equal(buf, to.cd + 20 * 2048, 1000);
    assert_int_equal(take(&to), 4096 - 1000);
    assert_memory_equal(buf, to.cd + 20 * 2048 + 1000, 4096 - 1000);
    ide_pc_finish(&from);
    ide_pc_finish(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_identify),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_sense),
        cmocka_unit_test(test_read_pio),
        cmocka_unit_test(test_read_dma),
        cmocka_unit_test(test_capacity_and_seek),
        cmocka_unit_test(test_read_cd),
        cmocka_unit_test(test_toc),
        cmocka_unit_test(test_mode_sense),
        cmocka_unit_test(test_tray),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_medium_error),
        cmocka_unit_test(test_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
