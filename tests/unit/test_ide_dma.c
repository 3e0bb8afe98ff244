/* devices/ide_dma: transfers by the bus master, and tables of a guest that means no good. */
#include "tests/unit/ide_pc.h"

#define TABLE 0x1000u
#define DATA  0x10000u

static uint8_t *ram(struct ide_pc *p, uint32_t at)
{
    return p->pc.f.ram + at;
}

/* One region of bytes, to be read into or written from. */
static void one_region(struct ide_pc *p, uint32_t bytes, unsigned direction)
{
    ide_prd(p, TABLE, DATA, (bytes & 0xffff) | PRD_LAST);
    ide_bm_prepare(p, TABLE, direction);
}

static void expect_end(struct ide_pc *p, uint8_t bm)
{
    assert_true(ide_irq(p));
    assert_int_equal(ide_bm_status(p) & 7, bm);
    ide_bm_stop(p);
    assert_int_equal(ide_status(p), 0x50);
    pc_outb(&p->pc, ide_bm(p) + 2, BM_INTR | BM_ERROR);
    assert_int_equal(ide_bm_status(p) & 7, 0);
}

static void test_read(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    /* Command first, as Linux does it; then start first. */
    one_region(&p, 8 * 512, BM_TO_MEM);
    ide_command28(&p, 0xc8, 40, 8);
    assert_int_equal(ide_alt_status(&p), 0x58);
    assert_false(ide_irq(&p));
    ide_bm_start(&p, BM_TO_MEM);
    expect_end(&p, BM_INTR);
    assert_memory_equal(ram(&p, DATA), p.image + 40 * 512, 8 * 512);
    one_region(&p, 512, BM_TO_MEM);
    ide_bm_start(&p, BM_TO_MEM);
    assert_int_equal(ide_bm_status(&p) & 7, BM_ACTIVE);
    ide_command48(&p, 0x25, 4095, 1);
    expect_end(&p, BM_INTR);
    assert_memory_equal(ram(&p, DATA), p.image + 4095 * 512, 512);
    ide_pc_finish(&p);
}

/* Regions of all lengths, over pages, at any even address; more than one slice. */
static void test_scattered(void **state)
{
    uint32_t at = DATA + 2, total = 400 * 512, left = total, n, i = 0, starts[600], sizes[600];
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    srand(4);
    while (left > 0) {
        n = MIN(left, (uint32_t)(rand() % 2000 + 1) * 2);
        starts[i] = at;
        sizes[i] = n;
        left -= n;
        ide_prd(&p, TABLE + 8 * i, at, n | (left == 0 ? PRD_LAST : 0));
        at += n + 2;
        i++;
    }
    assert_true(at < FAKE_RAM_SIZE);
    ide_bm_prepare(&p, TABLE, BM_TO_MEM);
    ide_command48(&p, 0x25, 1000, 400);
    ide_bm_start(&p, BM_TO_MEM);
    assert_false(ide_irq(&p));
    ide_settle(&p);
    expect_end(&p, BM_INTR);
    for (unsigned k = 0, done = 0; k < i; done += sizes[k++]) {
        assert_memory_equal(ram(&p, starts[k]), p.image + 1000 * 512 + done, sizes[k]);
        assert_int_equal(*ram(&p, starts[k] + sizes[k]), 0); /* not a byte more */
    }
    ide_pc_finish(&p);
}

static void test_write(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_fill(ram(&p, DATA), 300 * 512, 50);
    ide_prd(&p, TABLE, DATA, 0); /* 64 KiB */
    ide_prd(&p, TABLE + 8, DATA + 65536, 0);
    ide_prd(&p, TABLE + 16, DATA + 131072, (300 * 512 - 131072) | PRD_LAST);
    ide_bm_prepare(&p, TABLE, 0);
    ide_command48(&p, 0x35, 2000, 300);
    ide_bm_start(&p, 0);
    ide_settle(&p);
    expect_end(&p, BM_INTR);
    memset(ram(&p, DATA + 0x60000), 0, 300 * 512);
    for (unsigned i = 0; i < 3; i++)
        ide_prd(&p, TABLE + 8 * i, DATA + 0x60000 + 65536 * i, i == 2 ? PRD_LAST : 0);
    ide_bm_prepare(&p, TABLE, BM_TO_MEM);
    ide_command48(&p, 0x25, 2000, 300);
    ide_bm_start(&p, BM_TO_MEM);
    ide_settle(&p);
    expect_end(&p, BM_INTR | BM_ACTIVE); /* the regions were larger */
    assert_memory_equal(ram(&p, DATA + 0x60000), ram(&p, DATA), 300 * 512);
    ide_pc_finish(&p);
}

/* Smaller regions than data: the bus master stops and no interrupt comes. */
static void test_short_table(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    one_region(&p, 1000, BM_TO_MEM);
    ide_command28(&p, 0xc8, 0, 4);
    ide_bm_start(&p, BM_TO_MEM);
    ide_settle(&p);
    assert_int_equal(ide_bm_status(&p) & 7, 0);
    assert_false(ide_irq(&p));
    assert_int_equal(ide_alt_status(&p) & 8, 8);
    assert_memory_equal(ram(&p, DATA), p.image, 1000);
    assert_int_equal(*ram(&p, DATA + 1000), 0);
    /* A write of which too little came does nothing. */
    ide_control(&p, 4);
    ide_control(&p, 0);
    memset(ram(&p, DATA), 0xcc, 4096);
    one_region(&p, 1000, 0);
    ide_command28(&p, 0xca, 0, 4);
    ide_bm_start(&p, 0);
    ide_settle(&p);
    assert_int_equal(ide_bm_status(&p) & 7, 0);
    assert_false(ide_irq(&p));
    ide_control(&p, 4);
    ide_control(&p, 0);
    ide_bm_stop(&p);
    one_region(&p, 2048, BM_TO_MEM);
    ide_command28(&p, 0xc8, 0, 4);
    ide_bm_start(&p, BM_TO_MEM);
    expect_end(&p, BM_INTR);
    assert_memory_equal(ram(&p, DATA), p.image, 2048);
    ide_pc_finish(&p);
}

static void expect_pci_error(struct ide_pc *p)
{
    assert_int_equal(ide_bm_status(p) & 7, BM_ERROR);
    assert_false(ide_irq(p));
    ide_bm_stop(p);
    pc_outb(&p->pc, ide_bm(p) + 2, BM_ERROR);
    assert_int_equal(ide_bm_status(p) & 7, 0);
    ide_control(p, 4);
    ide_control(p, 0);
}

/* Tables and regions where there is no memory. */
static void test_bad_addresses(void **state)
{
    static const uint32_t nowhere[] = {FAKE_RAM_SIZE, 0xfffffff8, 0x80000000, FAKE_RAM_SIZE - 4};
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
        ide_bm_prepare(&p, nowhere[i], BM_TO_MEM);
        ide_command28(&p, 0xc8, 0, 1);
        ide_bm_start(&p, BM_TO_MEM);
        expect_pci_error(&p);
        for (unsigned direction = 0; direction <= BM_TO_MEM; direction += BM_TO_MEM) {
            ide_prd(&p, TABLE, nowhere[i], 512 | PRD_LAST);
            ide_bm_prepare(&p, TABLE, direction);
            ide_command28(&p, direction != 0 ? 0xc8 : 0xca, 0, 1);
            ide_bm_start(&p, direction);
            expect_pci_error(&p);
        }
    }
    /* A region that goes on beyond the end. */
    ide_prd(&p, TABLE, FAKE_RAM_SIZE - 256, 512 | PRD_LAST);
    ide_bm_prepare(&p, TABLE, BM_TO_MEM);
    ide_command28(&p, 0xc8, 0, 1);
    ide_bm_start(&p, BM_TO_MEM);
    expect_pci_error(&p);
    ide_pc_finish(&p);
}

/* A table without an end, of regions of two bytes: bounded work at a time. */
static void test_endless_table(void **state)
{
    struct ide_pc p;
    unsigned pauses = 0;

    (void)state;
    ide_pc_init(&p);
    for (uint32_t at = 0; at < FAKE_RAM_SIZE; at += 8)
        ide_prd(&p, at, 0x80000, 2);
    ide_bm_prepare(&p, 0, 0);
    ide_command28(&p, 0xca, 0, 128);
    ide_bm_start(&p, 0);
    while (!ide_irq(&p)) {
        assert_int_equal(ide_bm_status(&p) & 7, BM_ACTIVE);
        fake_host_advance(&p.pc.f, 10000);
        assert_true(++pauses < 1000);
    }
    assert_true(pauses > 32);
    expect_end(&p, BM_INTR | BM_ACTIVE);
    ide_pc_finish(&p);
}

/* Without bus mastering, or with the direction the other way round, nothing moves. */
static void test_not_allowed(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_config_write(&p, PCI_COMMAND, 2, PCI_COMMAND_IO);
    one_region(&p, 512, BM_TO_MEM);
    ide_command28(&p, 0xc8, 3, 1);
    ide_bm_start(&p, BM_TO_MEM);
    ide_settle(&p);
    assert_false(ide_irq(&p));
    assert_int_equal(*ram(&p, DATA), 0);
    ide_config_write(&p, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    expect_end(&p, BM_INTR);
    assert_memory_equal(ram(&p, DATA), p.image + 3 * 512, 512);
    one_region(&p, 512, 0);
    ide_command28(&p, 0xc8, 3, 1);
    ide_bm_start(&p, 0);
    pc_outb(&p.pc, IDE_BM, BM_START | BM_TO_MEM); /* cannot be changed while it is active */
    assert_false(ide_irq(&p));
    ide_bm_stop(&p);
    ide_bm_start(&p, BM_TO_MEM);
    expect_end(&p, BM_INTR);
    ide_pc_finish(&p);
}

static void test_registers(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    pc_out(&p.pc, IDE_BM + 4, 4, 0xffffffff);
    assert_int_equal(pc_in(&p.pc, IDE_BM + 4, 4), 0xfffffffc);
    pc_out(&p.pc, IDE_BM + 4, 2, 0x1234);
    assert_int_equal(pc_in(&p.pc, IDE_BM + 4, 4), 0xffff1234);
    assert_int_equal(pc_in(&p.pc, IDE_BM + 12, 4), 0); /* the other channel has its own */
    pc_outb(&p.pc, IDE_BM + 2, 0xff);
    assert_int_equal(pc_inb(&p.pc, IDE_BM + 2), 0x60);
    pc_outb(&p.pc, IDE_BM, 0xf6);
    assert_int_equal(pc_inb(&p.pc, IDE_BM), 0);
    assert_int_equal(pc_inb(&p.pc, IDE_BM + 1), 0);
    (void)pc_in(&p.pc, IDE_BM + 6, 4);
    pc_out(&p.pc, IDE_BM + 6, 4, 0xffffffff);
    assert_int_equal(ide_config_read(&p, 0, 4), 0x70108086);
    assert_int_equal(ide_config_read(&p, 8, 4), 0x01018000);
    assert_int_equal(ide_config_read(&p, 0x40, 4), 0x80008000);
    ide_pc_finish(&p);
}

/* The PCI function turns ports on and off, and the registers move with their BAR. */
static void test_decoding(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    assert_int_equal(ide_status(&p), 0x50);
    ide_config_write(&p, 0x40, 2, 0);
    assert_int_equal(ide_status(&p), 0xff);
    assert_int_equal(ide_alt_status(&p), 0xff);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 6), 0xa0);
    ide_config_write(&p, 0x40, 2, 0xffff);
    assert_int_equal(ide_config_read(&p, 0x40, 2), 0xf3ff);
    assert_int_equal(ide_status(&p), 0x50);
    ide_config_write(&p, PCI_COMMAND, 2, 0);
    assert_int_equal(ide_status(&p), 0xff);
    assert_int_equal(pc_inb(&p.pc, SECONDARY + 7), 0xff);
    assert_int_equal(pc_inb(&p.pc, IDE_BM + 2), 0xff);
    ide_config_write(&p, PCI_BASE_ADDRESS_4, 4, 0xd000);
    ide_config_write(&p, PCI_COMMAND, 2, PCI_COMMAND_IO);
    assert_int_equal(ide_status(&p), 0x50);
    assert_int_equal(pc_inb(&p.pc, 0xd002), 0);
    assert_int_equal(pc_inb(&p.pc, IDE_BM + 2), 0xff);
    /* Over somebody else's ports: not decoded, and no harm. */
    ide_config_write(&p, PCI_BASE_ADDRESS_4, 4, 0x1f0);
    assert_int_equal(ide_status(&p), 0x50);
    machine_reset(&p.pc.m);
    assert_int_equal(ide_status(&p), 0x50);
    ide_pc_finish(&p);
}

/* With firmware all is off until it turns it on. */
static void test_firmware(void **state)
{
    static uint8_t image[51200];
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64), .firmware = true};
    struct ide_pc p;

    (void)state;
    config.disk[0] = (struct disk_image){image, sizeof(image), false, false, "x"};
    memset(&p, 0, sizeof(p));
    pc_init_with(&p.pc, &config);
    p.base = PRIMARY;
    assert_int_equal(ide_status(&p), 0xff);
    ide_config_write(&p, PCI_COMMAND, 2, PCI_COMMAND_IO);
    assert_int_equal(ide_status(&p), 0xff);
    ide_config_write(&p, 0x40, 2, 0x8000);
    assert_int_equal(ide_status(&p), 0x50);
    pc_finish(&p.pc);
}

static void test_trim(void **state)
{
    uint64_t ranges[64] = {8 | 24ull << 48, 2000 | 0ull << 48, 3000 | 1000ull << 48};
    uint8_t zero[512] = {0};
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    ide_fill(ram(&p, DATA), 64 * 512, 9);
    one_region(&p, 64 * 512, 0);
    ide_command28(&p, 0xca, 0, 64);
    ide_bm_start(&p, 0);
    expect_end(&p, BM_INTR);
    memcpy(ram(&p, DATA), ranges, sizeof(ranges));
    one_region(&p, 512, 0);
    pc_outb(&p.pc, PRIMARY + 1, 1);
    ide_command48(&p, 0x06, 0, 1);
    ide_bm_start(&p, 0);
    assert_int_equal(ide_status(&p), 0x80);
    ide_settle(&p);
    expect_end(&p, BM_INTR);
    one_region(&p, 64 * 512, BM_TO_MEM);
    ide_command28(&p, 0xc8, 0, 64);
    ide_bm_start(&p, BM_TO_MEM);
    expect_end(&p, BM_INTR);
    assert_memory_equal(ram(&p, DATA + 8 * 512), zero, 512);
    assert_memory_equal(ram(&p, DATA + 31 * 512), zero, 512);
    assert_memory_not_equal(ram(&p, DATA + 7 * 512), zero, 512);
    assert_memory_not_equal(ram(&p, DATA + 32 * 512), zero, 512);
    /* Beyond the end; too many blocks; another function. */
    ranges[0] = (DISK_SECTORS - 1) | 2ull << 48;
    memcpy(ram(&p, DATA), ranges, sizeof(ranges));
    one_region(&p, 512, 0);
    pc_outb(&p.pc, PRIMARY + 1, 1);
    ide_command48(&p, 0x06, 0, 1);
    ide_bm_start(&p, 0);
    ide_expect_error(&p, 0x10);
    ide_bm_stop(&p);
    ide_command48(&p, 0x06, 0, 9);
    ide_expect_error(&p, 0x04);
    pc_outb(&p.pc, PRIMARY + 1, 2);
    ide_command48(&p, 0x06, 0, 1);
    ide_expect_error(&p, 0x04);
    ide_pc_finish(&p);
}

/* A disk error in the middle of DMA: an interrupt, and the error in the drive. */
static void test_disk_error(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    p.pc.f.allocs_left = 3;
    one_region(&p, 64 * 512, 0);
    ide_command28(&p, 0xca, 0, 64);
    ide_bm_start(&p, 0);
    ide_expect_error(&p, 0x40);
    assert_int_equal(pc_inb(&p.pc, PRIMARY + 3), 16);
    assert_int_equal(ide_bm_status(&p) & 6, BM_INTR);
    ide_pc_finish(&p);
}

/* A long transfer goes on in another machine; a reset of the machine ends one. */
static void test_state(void **state)
{
    struct ide_pc from, to;

    (void)state;
    ide_pc_init(&from);
    ide_pc_init(&to);
    for (unsigned i = 0; i < 4; i++)
        ide_prd(&from, TABLE + 8 * i, DATA + 65536 * i, i == 3 ? PRD_LAST : 0);
    memcpy(ram(&to, TABLE), ram(&from, TABLE), 32);
    ide_bm_prepare(&from, TABLE, BM_TO_MEM);
    ide_command48(&from, 0x25, 512, 512);
    ide_bm_start(&from, BM_TO_MEM);
    assert_false(ide_irq(&from));
    {
        static uint8_t stream[200000];
        struct device_state s = {.buf = stream, .size = sizeof(stream)};

        to.pc.f.now = from.pc.f.now;
        assert_true(machine_save(&from.pc.m, &s));
        s.pos = 0;
        assert_true(machine_load(&to.pc.m, &s));
    }
    ide_settle(&to);
    expect_end(&to, BM_INTR);
    assert_memory_equal(ram(&to, DATA + 65536), from.image + 512 * 512 + 65536, 3 * 65536);
    machine_reset(&from.pc.m);
    ide_settle(&from);
    assert_false(ide_irq(&from));
    ide_pc_finish(&from);
    ide_pc_finish(&to);
}

/* Both drives of a channel at once: each in its own order, nothing is lost or mixed up. */
static void test_two_drives(void **state)
{
    struct ide_pc p;

    (void)state;
    ide_pc_init(&p);
    one_region(&p, 512, BM_TO_MEM);
    ide_command28(&p, 0xc8, 3, 1);
    ide_select(&p, PRIMARY, 0xf0);
    ide_command28(&p, 0xc8, 4, 1);
    ide_bm_start(&p, BM_TO_MEM);
    assert_true(ide_irq(&p));
    assert_memory_equal(ram(&p, DATA), p.image2 + 4 * 512, 512);
    assert_int_equal(ide_status(&p), 0x50);
    ide_bm_stop(&p);
    ide_bm_start(&p, BM_TO_MEM);
    assert_false(ide_irq(&p));
    ide_select(&p, PRIMARY, 0xe0);
    assert_true(ide_irq(&p));
    assert_memory_equal(ram(&p, DATA), p.image + 3 * 512, 512);
    ide_pc_finish(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),          cmocka_unit_test(test_scattered),
        cmocka_unit_test(test_write),         cmocka_unit_test(test_short_table),
        cmocka_unit_test(test_bad_addresses), cmocka_unit_test(test_endless_table),
        cmocka_unit_test(test_not_allowed),   cmocka_unit_test(test_registers),
        cmocka_unit_test(test_decoding),      cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_trim),          cmocka_unit_test(test_disk_error),
        cmocka_unit_test(test_state),         cmocka_unit_test(test_two_drives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
