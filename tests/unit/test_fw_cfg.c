/* devices/fw_cfg: the directory, selectors, the data port, DMA with good and bad requests. */
#include "tests/unit/pc.h"

#include "devices/fw_cfg.h"

#define SELECTOR 0x510
#define DATA     0x511
#define DMA_HIGH 0x514
#define DMA_LOW  0x518

#define REQUEST 0x1000 /* where the tests put DMA requests */
#define BUFFER  0x2000

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static const uint8_t blob[1000] = {1, 2, 3, [999] = 99};
static const struct firmware_file files[] = {
    {.name = "etc/first", .data = "first", .size = 5},
    {.name = "a-name-that-is-as-long-as-names-of-files-can-be-0123456",
     .data = blob,
     .size = sizeof(blob)},
    {.name = "padded", .data = "pad", .size = 3, .padded = 512},
};

static void start(struct pc *pc)
{
    struct machine_config config = {.nr_vcpus = 2,
                                    .ram_bytes = FAKE_RAM_SIZE,
                                    .firmware = true,
                                    .files = files,
                                    .nr_files = ARRAY_SIZE(files),
                                    .no_graphics = true};

    pc_init_with(pc, &config);
}

static void read_data(struct pc *pc, void *to, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ((uint8_t *)to)[i] = pc_inb(pc, DATA);
}

static uint32_t item32(struct pc *pc, unsigned selector)
{
    uint32_t v;

    pc_out(pc, SELECTOR, 2, selector);
    read_data(pc, &v, sizeof(v));
    return v;
}

/* What the control word is after a request. */
static uint32_t dma(struct pc *pc, uint32_t control, uint32_t length, uint64_t address)
{
    struct {
        uint32_t control, length;
        uint64_t address;
    } r = {__builtin_bswap32(control), __builtin_bswap32(length), __builtin_bswap64(address)};

    memcpy(pc->f.ram + REQUEST, &r, sizeof(r));
    pc_out(pc, DMA_LOW, 4, __builtin_bswap32(REQUEST));
    memcpy(&r, pc->f.ram + REQUEST, sizeof(r));
    return __builtin_bswap32(r.control);
}

static void test_items(void **state)
{
    struct pc pc;
    char text[5];

    (void)state;
    start(&pc);
    assert_int_equal(item32(&pc, 0), 0x554d4551); /* "QEMU" */
    assert_int_equal(pc_inb(&pc, DATA), 0);       /* beyond the end */
    assert_int_equal(item32(&pc, 1), 3);          /* ports and DMA */
    assert_int_equal(item32(&pc, 4), 1);
    assert_int_equal(item32(&pc, 5), 2);
    assert_int_equal(item32(&pc, 0x0f), 2);
    assert_int_equal(item32(&pc, 0x0e), 0);
    assert_int_equal(item32(&pc, 0x8003), 0);
    assert_int_equal(item32(&pc, 0x20 + ARRAY_SIZE(files)), 0);
    assert_int_equal(item32(&pc, 0xffff), 0);
    pc_out(&pc, SELECTOR, 2, 0x20);
    read_data(&pc, text, sizeof(text));
    assert_memory_equal(text, "first", 5);
    assert_int_equal(pc_inb(&pc, DATA), 0);
    pc_finish(&pc);
}

static void test_directory(void **state)
{
    struct {
        uint32_t size;
        uint16_t select, reserved;
        char name[56];
    } entry;
    struct pc pc;

    (void)state;
    start(&pc);
    assert_int_equal(__builtin_bswap32(item32(&pc, 0x19)), ARRAY_SIZE(files));
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
        read_data(&pc, &entry, sizeof(entry));
        assert_int_equal(__builtin_bswap32(entry.size), i == 2 ? 512 : files[i].size);
        assert_int_equal(__builtin_bswap16(entry.select), 0x20 + i);
        assert_string_equal(entry.name, files[i].name);
    }
    assert_int_equal(pc_inb(&pc, DATA), 0);
    pc_finish(&pc);
}

/* Nothing can be written, and odd accesses do nothing. */
static void test_writes_refused(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    pc_out(&pc, SELECTOR, 2, 0x20);
    pc_outb(&pc, DATA, 'x');
    pc_outb(&pc, SELECTOR, 0x19);
    assert_int_equal(pc_inb(&pc, DATA), 'f');
    assert_int_equal(dma(&pc, 0x20u << 16 | DMA_SELECT | DMA_WRITE, 5, BUFFER), DMA_ERROR);
    assert_int_equal(item32(&pc, 0x20), 0x73726966); /* "firs" */
    pc_finish(&pc);
}

static void test_dma(void **state)
{
    struct pc pc;

    (void)state;
    start(&pc);
    assert_int_equal(pc_in(&pc, DMA_HIGH, 4), 0x554d4551);
    assert_int_equal(pc_in(&pc, DMA_LOW, 4), 0x47464320); /* " CFG" */
    memset(pc.f.ram + BUFFER, 0xaa, 4096);
    assert_int_equal(dma(&pc, 0x21u << 16 | DMA_SELECT | DMA_READ, 1000, BUFFER), 0);
    assert_memory_equal(pc.f.ram + BUFFER, blob, 1000);
    assert_int_equal(pc.f.ram[BUFFER + 1000], 0xaa);
    /* On from there: zeroes. */
    assert_int_equal(dma(&pc, DMA_READ, 10, BUFFER + 2000), 0);
    assert_int_equal(pc.f.ram[BUFFER + 2009], 0);
    assert_int_equal(pc.f.ram[BUFFER + 2010], 0xaa);
    /* Skipping, also far beyond the end; the port goes on where DMA has stopped. */
    assert_int_equal(dma(&pc, 0x21u << 16 | DMA_SELECT | DMA_SKIP, 999, 0), 0);
    assert_int_equal(pc_inb(&pc, DATA), 99);
    assert_int_equal(dma(&pc, 0x21u << 16 | DMA_SELECT | DMA_SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(dma(&pc, DMA_SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(pc_inb(&pc, DATA), 0);
    /* Selecting alone, and reading nothing from nowhere. */
    assert_int_equal(dma(&pc, 0x20u << 16 | DMA_SELECT, 0, 0), 0);
    assert_int_equal(dma(&pc, DMA_READ, 0, UINT64_MAX), 0);
    assert_int_equal(pc_inb(&pc, DATA), 'f');
    pc_finish(&pc);
}

static void test_dma_bad(void **state)
{
    uint32_t unchanged = 0x5a5a5a5a;
    struct pc pc;

    (void)state;
    start(&pc);
    assert_int_equal(dma(&pc, 0x21u << 16 | DMA_SELECT | DMA_READ, 8, FAKE_RAM_SIZE - 4),
                     DMA_ERROR);
    assert_int_equal(dma(&pc, 0x21u << 16 | DMA_SELECT | DMA_READ, 8, UINT64_MAX - 3), DMA_ERROR);
    assert_int_equal(dma(&pc, 0x21u << 16 | DMA_SELECT | DMA_READ, 0x80000000, BUFFER), DMA_ERROR);
    assert_int_equal(dma(&pc, 0x21u << 16 | DMA_SELECT | DMA_READ, UINT32_MAX, 0), DMA_ERROR);
    /* A request that is not in RAM is not there. */
    memcpy(pc.f.ram + FAKE_RAM_SIZE - 4, &unchanged, 4);
    pc_out(&pc, DMA_LOW, 4, __builtin_bswap32(FAKE_RAM_SIZE - 4));
    assert_memory_equal(pc.f.ram + FAKE_RAM_SIZE - 4, &unchanged, 4);
    pc_out(&pc, DMA_HIGH, 4, 0xffffffff);
    pc_out(&pc, DMA_LOW, 4, 0xffffffff);
    /* The high half counts for one request only. */
    assert_int_equal(dma(&pc, 0x20u << 16 | DMA_SELECT | DMA_READ, 5, BUFFER), 0);
    assert_memory_equal(pc.f.ram + BUFFER, "first", 5);
    pc_finish(&pc);
}

/* Half read, then moved: it goes on in the middle. */
static void test_save_load(void **state)
{
    struct pc a, b;

    (void)state;
    start(&a);
    start(&b);
    assert_int_equal(item32(&a, 0x20), 0x73726966);
    pc_migrate(&a, &b);
    assert_int_equal(pc_inb(&b, DATA), 't');
    machine_reset(&b.m);
    assert_int_equal(pc_inb(&b, DATA), 'Q');
    pc_finish(&a);
    pc_finish(&b);
}

static void test_not_without_firmware(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    pc_out(&pc, SELECTOR, 2, 0);
    assert_int_equal(pc_inb(&pc, DATA), 0xff);
    assert_int_equal(pc_in(&pc, DMA_HIGH, 4), 0xffffffff);
    pc_finish(&pc);
}

/* Any sequence of accesses leaves memory around the buffers alone (ASan sees the rest). */
static void test_fuzz(void **state)
{
    struct pc pc;

    (void)state;
    srand(12);
    start(&pc);
    for (int i = 0; i < 100000; i++) {
        unsigned port = SELECTOR + (unsigned)rand() % 14, size = 1u << rand() % 3;

        if (rand() % 4 == 0)
            dma(&pc, (uint32_t)rand() % 0x30 << 16 | (uint32_t)rand() % 32, (uint32_t)rand() % 3000,
                (uint64_t)rand() % (2 * FAKE_RAM_SIZE));
        else if (port >= DMA_HIGH && rand() % 8 == 0)
            pc_out(&pc, port, size, (uint32_t)rand());
        else if (rand() % 2 && port < DMA_HIGH)
            pc_out(&pc, port, size, (uint32_t)rand() % 0x30);
        else
            (void)pc_in(&pc, port, size);
    }
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_writes_refused),
        cmocka_unit_test(test_dma),
        cmocka_unit_test(test_dma_bad),
        cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_not_without_firmware),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
