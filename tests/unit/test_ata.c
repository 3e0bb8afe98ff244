/* devices/ata*, ide_ports, ide_transfer: ATA disks by PIO, command by command. */
#include "tests/unit/ide_pc.h"

static uint8_t buf[65536];

static uint16_t word(unsigned n)
{
    return (uint16_t)(buf[2 * n] | buf[2 * n + 1] << 8);
}

/* What n sectors from there on hold, by READ SECTORS. */
static void read_sectors(struct ide_pc *p, uint32_t lba, unsigned n, uint8_t *to)
{
    ide_command28(p, 0x20, lba, n);
    for (unsigned i = 0; i < n; i++) {
        assert_true(ide_irq(p));
        assert_int_equal(ide_status(p), 0x58);
        assert_false(ide_irq(p));
        ide_pio_in(p, to + i * 512, 512, 2);
    }
    assert_false(ide_irq(p));
    assert_int_equal(ide_status(p), 0x50);
}

static void test_reset_and_signature(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    for (unsigned device = 0; device < 2; device++) {
        ide_select(&p, PRIMARY, 0xa0 | device << 4);
        assert_int_equal(ide_status(&p), 0x50);
        assert_int_equal(ide_error(&p), 1);
        assert_int_equal(pc_in(&p.pc, PRIMARY + 2, 2), 0x0101); /* a word is two registers */
        assert_int_equal(pc_in(&p.pc, PRIMARY + 4, 2), 0);
        assert_int_equal(pc_inb(&p.pc, PRIMARY + 6), 0xa0 | device << 4);
    }
    /* SRST, with a transfer under way: busy as long as it lasts, then the signature. */
    ide_select(&p, PRIMARY, 0xe0);
    ide_command28(&p, 0x20, 5, 2);
    assert_true(ide_irq(&p));
    ide_control(&p, 0x04);
    assert_false(ide_irq(&p));
    assert_int_equal(ide_alt_status(&p), 0x80);
    pc_outb(&p.pc, PRIMARY + 7, 0xec); /* not taken */
    pc_outb(&p.pc, PRIMARY + 2, 0x77);
    ide_control(&p, 0);
    assert_int_equal(ide_alt_status(&p), 0x50);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 2), 1);
    assert_int_equal(pc_in(&p.pc, PRIMARY, 2), 0);
    assert_false(ide_irq(&p));
    ide_pc_finish(&p);
}

static void test_diagnostic(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_select(&p, PRIMARY, 0xf0);
    ide_simple(&p, 0x90, 0, 0x55);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 6), 0xa0);
    ide_expect_ok(&p);
    assert_int_equal(ide_error(&p), 1);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 2), 1);
    ide_select(&p, SECONDARY, 0xa0);
    ide_simple(&p, 0x90, 0, 0);
    assert_true(ide_irq(&p));
    assert_int_equal(ide_status(&p), 0);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 4), 0x14);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 5), 0xeb);
    ide_pc_finish(&p);
}

/* Device 0 answers for a device 1 that is not there; the CD-ROM with zeroes. */
static void test_absent(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_select(&p, SECONDARY, 0xb0);
    assert_int_equal(ide_status(&p), 0);
    assert_int_equal(ide_alt_status(&p), 0);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 4), 0);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 6), 0xb0);
    ide_simple(&p, 0xec, 0, 0);
    assert_false(ide_irq(&p));
    assert_int_equal(pc_in(&p.pc, SECONDARY, 2), 0xffff);
    pc_out(&p.pc, SECONDARY, 2, 5);
    assert_int_equal(ide_status(&p), 0);
    ide_pc_finish(&p);
}

/* A channel with a slave only, and one with nothing. */
static void test_empty_places(void **state)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64)};
    struct pc pc;

    (void)state;
    config.disk[1] = (struct disk_image){buf, 51200, false, false, NULL};
    pc_init_with(&pc, &config);
    pc_outb(&pc, PRIMARY + 6, 0xa0);
    assert_int_equal(pc_inb(&pc, PRIMARY + 7), 0x7f);
    assert_int_equal(pc_inb(&pc, PRIMARY + 2), 0x7f);
    pc_outb(&pc, PRIMARY + 6, 0xb0);
    assert_int_equal(pc_inb(&pc, PRIMARY + 7), 0x50);
    pc_outb(&pc, SECONDARY + 6, 0xa0);
    assert_int_equal(pc_inb(&pc, SECONDARY + 7), 0x7f);
    assert_int_equal(pc_inb(&pc, 0x376), 0x7f);
    pc_finish(&pc);
    /* Without an image there is no function. */
    pc_init(&pc);
    assert_int_equal(pc_inb(&pc, PRIMARY + 7), 0xff);
    pc_finish(&pc);
}

static void test_identify(void **state)
{
    uint8_t sum = 0;
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_simple(&p, 0xec, 0, 0);
    assert_true(ide_irq(&p));
    assert_int_equal(ide_status(&p), 0x58);
    ide_pio_in(&p, buf, 512, 2);
    assert_int_equal(ide_status(&p), 0x50);
    assert_int_equal(word(0), 0x40);
    assert_int_equal(word(1), DISK_SECTORS / (16 * 63));
    assert_int_equal(word(3), 16);
    assert_int_equal(word(6), 63);
    assert_memory_equal(buf + 20, "no e", 4); /* "one" in words, high byte first */
    assert_memory_equal(buf + 54, "iTht eidks", 10);
    assert_int_equal(word(49) & 0x300, 0x300);
    assert_int_equal(word(60) | word(61) << 16, DISK_SECTORS);
    assert_int_equal(word(100), DISK_SECTORS);
    assert_int_equal(word(83), 0x7400);
    assert_int_equal(word(86), 0x3400);
    assert_int_equal(word(128) & 1, 0); /* no security */
    assert_int_equal(word(82) & 2, 0);
    assert_int_equal(word(169), 1);
    assert_int_equal(word(80) & 0x180, 0x180); /* without which Linux does not trim */
    assert_int_equal(word(53), 7);
    assert_int_equal(word(59), 0);
    for (int i = 0; i < 512; i++)
        sum = (uint8_t)(sum + buf[i]);
    assert_int_equal(sum, 0);
    /* What was set shows. */
    ide_simple(&p, 0xc6, 0, 16);
    ide_expect_ok(&p);
    ide_simple(&p, 0xef, 3, 0x45);
    ide_expect_ok(&p);
    ide_simple(&p, 0xef, 0x82, 0);
    ide_expect_ok(&p);
    pc_outb(&p.pc, PRIMARY + 6, 0xe7);
    pc_outb(&p.pc, PRIMARY + 2, 32);
    pc_outb(&p.pc, PRIMARY + 7, 0x91);
    ide_expect_ok(&p);
    ide_simple(&p, 0xec, 0, 0);
    ide_pio_in(&p, buf, 512, 4);
    assert_int_equal(word(59), 0x110);
    assert_int_equal(word(88), 0x203f);
    assert_int_equal(word(63), 7);
    assert_int_equal(word(85) & 0x20, 0);
    assert_int_equal(word(54), DISK_SECTORS / (8 * 32));
    assert_int_equal(word(55), 8);
    assert_int_equal(word(56), 32);
    ide_pc_finish(&p);
}

static void test_read(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    read_sectors(&p, 100, 3, buf);
    assert_memory_equal(buf, p.image + 51200, 3 * 512);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 2), 0); /* all went over, up to there */
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 3), 102);
    read_sectors(&p, 0, 100, buf);
    assert_memory_equal(buf, p.image, 100 * 512);
    ide_select(&p, PRIMARY, 0xf0);
    read_sectors(&p, 99, 1, buf);
    assert_memory_equal(buf, p.image2 + 99 * 512, 500);
    assert_memory_equal(buf + 500, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    ide_pc_finish(&p);
}

static void test_count_of_zero(void **state)
{
    static uint8_t all[256 * 512];
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_command28(&p, 0x20, 10, 0);
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(ide_status(&p), 0x58);
        ide_pio_in(&p, all + i * 512, 512, 4);
    }
    assert_int_equal(ide_status(&p), 0x50);
    assert_memory_equal(all, p.image + 10 * 512, sizeof(all));
    ide_command48(&p, 0x24, 0, 0); /* 65536 sectors are more than there are */
    ide_expect_error(&p, 0x10);
    ide_pc_finish(&p);
}

static void write_sectors(struct ide_pc *p, uint32_t lba, unsigned n, const uint8_t *from)
{
    ide_command28(p, 0x30, lba, n);
    assert_false(ide_irq(p)); /* the first block is asked for without */
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(ide_status(p), 0x58);
        ide_pio_out(p, from + i * 512, 512, i % 2 == 0 ? 2 : 4);
        assert_true(ide_irq(p));
    }
    ide_expect_ok(p);
}

static void test_write(void **state)
{
    static uint8_t data[5 * 512];
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_fill(data, sizeof(data), 99);
    write_sectors(&p, 1000, 5, data);
    read_sectors(&p, 1000, 5, buf);
    assert_memory_equal(buf, data, sizeof(data));
    read_sectors(&p, 999, 1, buf);
    assert_memory_equal(buf, p.image + 999 * 512, 512);
    ide_simple(&p, 0xe7, 0, 0);
    ide_expect_ok(&p);
    ide_simple(&p, 0xea, 0, 0);
    ide_expect_ok(&p);
    machine_reset(&p.pc.m); /* the disk keeps it */
    ide_pc_enable(&p);
    read_sectors(&p, 1000, 5, buf);
    assert_memory_equal(buf, data, sizeof(data));
    ide_pc_finish(&p);
}

static void test_multiple(void **state)
{
    static uint8_t data[20 * 512];
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_command28(&p, 0xc4, 0, 1);
    ide_expect_error(&p, 0x04); /* not set */
    ide_simple(&p, 0xc6, 0, 32);
    ide_expect_error(&p, 0x04);
    ide_simple(&p, 0xc6, 0, 3);
    ide_expect_error(&p, 0x04);
    ide_simple(&p, 0xc6, 0, 8);
    ide_expect_ok(&p);
    /* 20 sectors are blocks of 8, 8 and 4. */
    ide_command28(&p, 0xc4, 50, 20);
    for (unsigned at = 0; at < 20; at += 8) {
        assert_true(ide_irq(&p));
        assert_int_equal(ide_status(&p), 0x58);
        ide_pio_in(&p, buf + at * 512, MIN(8, 20 - at) * 512, 2);
    }
    assert_int_equal(ide_status(&p), 0x50);
    assert_memory_equal(buf, p.image + 50 * 512, 20 * 512);
    ide_fill(data, sizeof(data), 21);
    ide_command48(&p, 0x39, 300, 20);
    for (unsigned at = 0; at < 20; at += 8) {
        assert_int_equal(ide_status(&p), 0x58);
        ide_pio_out(&p, data + at * 512, MIN(8, 20 - at) * 512, 2);
        assert_true(ide_irq(&p));
    }
    ide_expect_ok(&p);
    ide_command48(&p, 0x29, 300, 20);
    ide_pio_in(&p, buf, 20 * 512, 2);
    assert_int_equal(ide_status(&p), 0x50);
    assert_memory_equal(buf, data, sizeof(data));
    ide_pc_finish(&p);
}

/* 48-bit registers: what was written before is the high order byte, and HOB shows it. */
static void test_48bit(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_command48(&p, 0x24, 4000, 96);
    for (unsigned i = 0; i < 96; i++)
        ide_pio_in(&p, buf + i * 512, 512, 2);
    assert_int_equal(ide_status(&p), 0x50);
    assert_memory_equal(buf, p.image + 4000 * 512, 96 * 512);
    ide_command48(&p, 0x24, 0x123456789abc, 1);
    ide_expect_error(&p, 0x10);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 5), 0x78);
    ide_control(&p, 0x80);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 3), 0x56);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 5), 0x12);
    pc_outb(&p.pc, PRIMARY + 3, 1); /* a write ends it */
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 3), 1);
    /* Not with CHS. */
    p.device = 0xa0;
    ide_command48(&p, 0x24, 0, 1);
    ide_expect_error(&p, 0x04);
    ide_pc_finish(&p);
}

static void chs(struct ide_pc *p, unsigned command, unsigned c, unsigned h, unsigned s)
{
    pc_outb(&p->pc, PRIMARY + 6, 0xa0 | h);
    pc_outb(&p->pc, PRIMARY + 2, 1);
    pc_outb(&p->pc, PRIMARY + 3, s);
    pc_outb(&p->pc, PRIMARY + 4, c & 0xff);
    pc_outb(&p->pc, PRIMARY + 5, c >> 8);
    pc_outb(&p->pc, PRIMARY + 7, command);
}

static void test_chs(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    chs(&p, 0x20, 2, 3, 4);
    assert_int_equal(ide_status(&p), 0x58);
    ide_pio_in(&p, buf, 512, 2);
    assert_memory_equal(buf, p.image + ((2 * 16 + 3) * 63 + 3) * 512, 512);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 3), 4);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 4), 2);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 6), 0xa3);
    chs(&p, 0x20, 0, 0, 0);
    ide_expect_error(&p, 0x10);
    chs(&p, 0x20, 0, 0, 64);
    ide_expect_error(&p, 0x10);
    chs(&p, 0x20, 5, 0, 1);
    ide_expect_error(&p, 0x10);
    /* Four heads of 10 sectors. */
    pc_outb(&p.pc, PRIMARY + 6, 0xa3);
    pc_outb(&p.pc, PRIMARY + 2, 10);
    pc_outb(&p.pc, PRIMARY + 7, 0x91);
    ide_expect_ok(&p);
    chs(&p, 0x21, 7, 2, 10);
    ide_pio_in(&p, buf, 512, 2);
    assert_memory_equal(buf, p.image + ((7 * 4 + 2) * 10 + 9) * 512, 512);
    chs(&p, 0x20, 0, 4, 1);
    ide_expect_error(&p, 0x10);
    chs(&p, 0x70, 7, 1, 1);
    ide_expect_ok(&p);
    chs(&p, 0x70, 7, 4, 1);
    ide_expect_error(&p, 0x10);
    pc_outb(&p.pc, PRIMARY + 2, 0);
    pc_outb(&p.pc, PRIMARY + 7, 0x91);
    ide_expect_error(&p, 0x04);
    ide_pc_finish(&p);
}

static void test_range(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_command28(&p, 0x20, DISK_SECTORS - 1, 1);
    ide_pio_in(&p, buf, 512, 2);
    assert_int_equal(ide_status(&p), 0x50);
    for (unsigned i = 0; i < 2; i++) {
        ide_command28(&p, i == 0 ? 0x20 : 0x30, DISK_SECTORS, 1);
        ide_expect_error(&p, 0x10);
        ide_command28(&p, i == 0 ? 0x20 : 0x30, DISK_SECTORS - 1, 2);
        ide_expect_error(&p, 0x10);
    }
    ide_command28(&p, 0x40, DISK_SECTORS - 5, 5);
    ide_settle(&p);
    ide_expect_ok(&p);
    ide_command28(&p, 0x40, DISK_SECTORS - 5, 6);
    ide_expect_error(&p, 0x10);
    ide_command48(&p, 0x42, 0, DISK_SECTORS);
    assert_int_equal(ide_status(&p), 0x80); /* at work, in slices */
    pc_outb(&p.pc, PRIMARY + 7, 0xec);      /* and not to be disturbed */
    pc_outb(&p.pc, PRIMARY + 6, 0xf0);
    ide_settle(&p);
    ide_expect_ok(&p);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 6), 0xe0);
    ide_command48(&p, 0x42, 0, DISK_SECTORS); /* ended by a reset */
    ide_control(&p, 4);
    ide_control(&p, 0);
    ide_settle(&p);
    assert_false(ide_irq(&p));
    assert_int_equal(ide_status(&p), 0x50);
    ide_pc_finish(&p);
}

static void test_native_max(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_command28(&p, 0xf8, 0, 0);
    ide_expect_ok(&p);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 3) | pc_inb(&p.pc, PRIMARY + 4) << 8,
                     DISK_SECTORS - 1);
    ide_command48(&p, 0x27, 0xffffffffffff, 0);
    ide_expect_ok(&p);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 5), 0);
    ide_control(&p, 0x80);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 5), 0);
    p.device = 0xa0;
    ide_simple(&p, 0xf8, 0, 0);
    ide_expect_error(&p, 0x04);
    ide_pc_finish(&p);
}

static void test_power(void **state)
{
    static const struct {
        uint8_t command, count;
    } steps[] = {{0xe0, 0}, {0xe1, 0x80}, {0xe2, 0}, {0xe3, 0x80}, {0x94, 0}, {0x95, 0x80}};
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        ide_simple(&p, steps[i].command, 0, 0);
        ide_expect_ok(&p);
        ide_simple(&p, i % 2 == 0 ? 0xe5 : 0x98, 0, 0x55);
        ide_expect_ok(&p);
        assert_int_equal(pc_inb(&p.pc, PRIMARY + 2), steps[i].count);
    }
    read_sectors(&p, 0, 1, buf);
    ide_simple(&p, 0xe5, 0, 0);
    ide_expect_ok(&p);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 2), 0xff);
    /* Only a reset wakes it up. */
    ide_simple(&p, 0xe6, 0, 0);
    ide_expect_ok(&p);
    ide_simple(&p, 0xec, 0, 0);
    assert_false(ide_irq(&p));
    assert_int_equal(ide_status(&p) & 8, 0);
    ide_control(&p, 4);
    ide_control(&p, 0);
    read_sectors(&p, 0, 1, buf);
    ide_pc_finish(&p);
}

static void test_features(void **state)
{
    static const uint8_t good[][2] = {{3, 0},    {3, 1},    {3, 8},    {3, 12},  {3, 0x20},
                                      {3, 0x22}, {3, 0x40}, {3, 0x45}, {2, 0},   {0x82, 0},
                                      {0x55, 0}, {0xaa, 0}, {0x66, 0}, {0xcc, 0}};
    static const uint8_t bad[][2] = {{3, 2},    {3, 13}, {3, 0x10}, {3, 0x23}, {3, 0x46},
                                     {3, 0x80}, {5, 1},  {0, 0},    {0xff, 0}};
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        ide_simple(&p, 0xef, good[i][0], good[i][1]);
        ide_expect_ok(&p);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        ide_simple(&p, 0xef, bad[i][0], bad[i][1]);
        ide_expect_error(&p, 0x04);
    }
    ide_pc_finish(&p);
}

/* All that is not there is aborted: security, HPA, PACKET, SMART, and whatever else. */
static void test_unknown(void **state)
{
    static const uint8_t known[] = {
        0x06, 0x20, 0x21, 0x24, 0x25, 0x27, 0x29, 0x30, 0x31, 0x34, 0x35, 0x39, 0x40, 0x41,
        0x42, 0x90, 0x91, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0xc4, 0xc5, 0xc6, 0xc8, 0xc9,
        0xca, 0xcb, 0xe0, 0xe1, 0xe2, 0xe3, 0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xef, 0xf8};
    struct ide_pc p;
    unsigned aborted = 0;

    (void)state;
    ide_pc_init(&p);
    for (unsigned c = 0; c < 256; c++) {
        if (memchr(known, (int)c, sizeof(known)) != NULL)
            continue;
        ide_simple(&p, c, 0, 0);
        if ((c & 0xf0) == 0x10 || (c & 0xf0) == 0x70) {
            (void)ide_status(&p);
            continue;
        }
        ide_expect_error(&p, 0x04);
        aborted++;
    }
    assert_int_equal(aborted, 256 - 32 - ARRAY_SIZE(known));
    ide_simple(&p, 0x10, 0, 0);
    ide_expect_ok(&p);
    ide_pc_finish(&p);
}

static void test_nien(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_control(&p, 2);
    ide_simple(&p, 0xe7, 0, 0);
    assert_false(ide_irq(&p));
    ide_control(&p, 0); /* it was waiting */
    assert_true(ide_irq(&p));
    assert_int_equal(ide_alt_status(&p), 0x50);
    assert_true(ide_irq(&p));
    /* The other drive, selected, asks for none. */
    pc_outb(&p.pc, PRIMARY + 6, 0xf0);
    assert_false(ide_irq(&p));
    pc_outb(&p.pc, PRIMARY + 6, 0xe0);
    assert_true(ide_irq(&p));
    assert_int_equal(ide_status(&p), 0x50);
    assert_false(ide_irq(&p));
    ide_pc_finish(&p);
}

static void test_read_only(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init_with(&p, true);
    ide_command28(&p, 0x30, 0, 1);
    ide_expect_error(&p, 0x04);
    ide_simple(&p, 0x06, 1, 1);
    ide_expect_error(&p, 0x04);
    ide_simple(&p, 0xec, 0, 0);
    ide_pio_in(&p, buf, 512, 2);
    assert_int_equal(word(169), 0);
    read_sectors(&p, 7, 1, buf);
    ide_pc_finish(&p);
}

/* Without memory a write fails with the address of the sector. */
static void test_write_fails(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    p.pc.f.allocs_left = 2; /* a leaf and a chunk */
    ide_command28(&p, 0x30, 20, 8);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(ide_status(&p), 0x58);
        ide_pio_out(&p, buf, 512, 2);
    }
    assert_int_equal(ide_status(&p), 0x58);
    ide_pio_out(&p, buf, 512, 2);
    ide_expect_error(&p, 0x40);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 3), 24);
    assert_int_equal(p.pc.f.log_lines, 1);
    ide_pc_finish(&p);
}

/* A command in the middle of another's data ends that one. */
static void test_new_command(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_command28(&p, 0x20, 0, 4);
    ide_pio_in(&p, buf, 100, 2);
    ide_command28(&p, 0x20, 9, 1);
    ide_pio_in(&p, buf, 512, 2);
    assert_memory_equal(buf, p.image + 9 * 512, 512);
    assert_int_equal(ide_status(&p), 0x50);
    assert_int_equal(pc_in(&p.pc, PRIMARY, 2), 0);
    ide_command28(&p, 0x30, 0, 1);
    assert_int_equal(pc_in(&p.pc, PRIMARY, 2), 0); /* reading does not move what is written */
    ide_pio_out(&p, buf, 512, 2);
    ide_expect_ok(&p);
    pc_out(&p.pc, PRIMARY, 2, 0x1234); /* nobody wants that */
    ide_pc_finish(&p);
}

/* ------------------------------------------------------------------ a disk that answers later */

static struct disk_request *waiting;
static unsigned cancelled;

static void slow_submit(struct disk *d, struct disk_request *r)
{
    (void)d;
    waiting = r;
}

static void slow_cancel(struct disk *d, struct disk_request *r)
{
    (void)d;
    assert_ptr_equal(r, waiting);
    waiting = NULL;
    cancelled++;
}

static void test_slow_disk(void **state)
{
    static const struct disk_ops ops = {slow_submit, slow_cancel, NULL};
    static uint8_t stream[65536];
    struct device_state s = {.buf = stream, .size = sizeof(stream)};
    struct disk slow = {.ops = &ops, .sectors = DISK_SECTORS, .geometry = {4, 16, 63}}, *own;
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    own = p.ide->channel[0].drive[0].disk;
    p.ide->channel[0].drive[0].disk = &slow;
    ide_command28(&p, 0x20, 5, 1);
    assert_int_equal(ide_status(&p), 0x80);
    assert_false(ide_irq(&p));
    assert_false(machine_save(&p.pc.m, &s)); /* not in the middle of that */
    memset(waiting->data, 0x5a, 512);
    waiting->finished = 1;
    disk_done(waiting, DISK_OK);
    assert_true(ide_irq(&p));
    ide_pio_in(&p, buf, 512, 2);
    assert_int_equal(buf[511], 0x5a);
    assert_int_equal(ide_status(&p), 0x50);
    /* An error, and a reset while it waits. */
    ide_command28(&p, 0xe7, 0, 0);
    assert_int_equal(ide_status(&p), 0x80);
    disk_done(waiting, DISK_BAD_MEDIUM);
    ide_expect_error(&p, 0x40);
    ide_command28(&p, 0x20, 5, 3);
    ide_control(&p, 4);
    assert_int_equal(cancelled, 1);
    assert_null(waiting);
    ide_control(&p, 0);
    assert_int_equal(ide_status(&p), 0x50);
    ide_command28(&p, 0x20, 5, 3);
    machine_reset(&p.pc.m);
    assert_int_equal(cancelled, 2);
    p.ide->channel[0].drive[0].disk = own;
    ide_pc_finish(&p);
}

/* ------------------------------------------------------------------ state */

static void test_state(void **state)
{
    struct ide_pc from, to;

    (void)state;
    ide_pc_init(&from);
    ide_pc_init(&to);
    ide_simple(&from, 0xc6, 0, 4);
    ide_expect_ok(&from);
    ide_command28(&from, 0xc4, 33, 7);
    ide_pio_in(&from, buf, 600, 2);
    pc_migrate(&from.pc, &to.pc);
    assert_true(ide_irq(&to));
    assert_int_equal(ide_status(&to), 0x58);
    ide_pio_in(&to, buf + 600, 7 * 512 - 600, 2);
    assert_int_equal(ide_status(&to), 0x50);
    assert_memory_equal(buf, from.image + 33 * 512, 7 * 512);
    /* In the middle of a long verify. */
    ide_command48(&from, 0x42, 0, DISK_SECTORS);
    pc_migrate(&from.pc, &to.pc);
    assert_int_equal(ide_status(&to), 0x80);
    ide_settle(&to);
    ide_expect_ok(&to);
    ide_pc_finish(&from);
    ide_pc_finish(&to);
}

/* Any stream is refused or leaves a machine that still works without harm. */
static void test_damaged_state(void **state)
{
    static uint8_t good[16384], bad[16384];
    struct device_state s = {.buf = good, .size = sizeof(good)};
    struct ide_pc from, to;
    size_t n;

    (void)state;
    srand(3);
    ide_pc_init(&from);
    ide_command28(&from, 0x30, 33, 7);
    ide_pio_out(&from, buf, 100, 2);
    assert_true(machine_save(&from.pc.m, &s));
    n = s.pos;
    for (int i = 0; i < 3000; i++) {
        struct device_state t = {.buf = bad, .size = n};

        memcpy(bad, good, n);
        for (int k = rand() % 4; k >= 0; k--)
            bad[rand() % 2 ? (size_t)rand() % n : n - 900 + (size_t)rand() % 900] = (uint8_t)rand();
        if (i % 100 == 0)
            ide_pc_init(&to);
        (void)!machine_load(&to.pc.m, &t);
        to.pc.f.now = from.pc.f.now;
        ide_pio_out(&to, buf, 1024, 2);
        ide_pio_in(&to, buf, 1024, 2);
        fake_host_advance(&to.pc.f, 100000);
        if (i % 100 == 99)
            ide_pc_finish(&to);
    }
    ide_pc_finish(&from);
}

/* No memory for any of it: the machine is not made, and nothing is left. */
static void test_no_memory(void **state)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64)};
    struct fake_host f;
    struct machine m;
    long n = 0;
    int err;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        config.disk[i] = (struct disk_image){buf, 51200, false, i == 2, "x"};
    do {
        fake_host_init(&f);
        f.allocs_left = n++;
        err = machine_create(&m, &f.host, &config, &fake_cpu_ops, &f);
        if (err == 0)
            machine_destroy(&m);
        fake_host_finish(&f);
    } while (err == E_NOMEM);
    assert_int_equal(err, 0);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_and_signature),
        cmocka_unit_test(test_diagnostic),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_empty_places),
        cmocka_unit_test(test_identify),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_count_of_zero),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_multiple),
        cmocka_unit_test(test_48bit),
        cmocka_unit_test(test_chs),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_native_max),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_nien),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_write_fails),
        cmocka_unit_test(test_new_command),
        cmocka_unit_test(test_slow_disk),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_damaged_state),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
