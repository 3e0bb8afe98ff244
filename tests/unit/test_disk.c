/* devices/disk, devices/disk_cow: requests, copy on write, no memory, geometry. */
#include "tests/unit/ide_pc.h"

#include "devices/disk_cow.h"

#define SECTORS 5000u /* more than one leaf of the table, and no whole number of chunks */

struct fixture {
    struct fake_host f;
    struct disk *d;
    uint8_t *image, *copy; /* copy: what the disk should hold */
    enum disk_status status;
    unsigned answers;
    uint32_t finished;
};

static void answered(struct disk_request *r, enum disk_status status)
{
    struct fixture *x = r->opaque;

    assert_false(r->pending);
    x->status = status;
    x->finished = r->finished;
    x->answers++;
}

static enum disk_status ask(struct fixture *x, enum disk_op op, uint64_t sector, uint32_t count,
                            void *data)
{
    struct disk_request r = {
        .op = op, .sector = sector, .count = count, .data = data, .done = answered, .opaque = x};
    unsigned before = x->answers;

    disk_submit(x->d, &r);
    assert_int_equal(x->answers, before + 1);
    return x->status;
}

static void setup(struct fixture *x, uint64_t bytes, bool read_only)
{
    memset(x, 0, sizeof(*x));
    fake_host_init(&x->f);
    x->image = malloc(bytes);
    x->copy = calloc(1, ALIGN_UP(bytes, 512ul));
    ide_fill(x->image, bytes, 5);
    memcpy(x->copy, x->image, bytes);
    x->d = disk_cow_create(&x->f.host, "test", x->image, bytes, read_only);
    assert_non_null(x->d);
    assert_int_equal(x->d->sectors, (bytes + 511) / 512);
}

/* The image never changes, and all memory comes back. */
static void finish(struct fixture *x, uint64_t bytes)
{
    uint8_t *fresh = malloc(bytes);

    ide_fill(fresh, bytes, 5);
    assert_memory_equal(fresh, x->image, bytes);
    free(fresh);
    disk_destroy(x->d);
    fake_host_finish(&x->f);
    free(x->image);
    free(x->copy);
}

static void check_all(struct fixture *x)
{
    uint8_t *got = malloc(x->d->sectors * 512);

    assert_int_equal(ask(x, DISK_READ, 0, (uint32_t)x->d->sectors, got), DISK_OK);
    assert_memory_equal(got, x->copy, x->d->sectors * 512);
    free(got);
}

static void write_at(struct fixture *x, uint64_t sector, uint32_t count, unsigned seed)
{
    ide_fill(x->copy + sector * 512, count * 512ul, seed);
    assert_int_equal(ask(x, DISK_WRITE, sector, count, x->copy + sector * 512), DISK_OK);
    assert_int_equal(x->finished, count);
}

static void test_copy_on_write(void **state)
{
    struct fixture x;

    (void)state;
    setup(&x, SECTORS * 512, false);
    check_all(&x);
    assert_int_equal(disk_cow_written(x.d), 0);
    write_at(&x, 3, 1, 100); /* within a chunk */
    assert_int_equal(disk_cow_written(x.d), 4096);
    check_all(&x);
    write_at(&x, 4, 2, 101); /* the same chunk again */
    assert_int_equal(disk_cow_written(x.d), 4096);
    write_at(&x, 6, 19, 102);    /* across chunks, with parts at both ends */
    write_at(&x, 4090, 20, 103); /* across leaves */
    write_at(&x, 0, 1, 104);
    write_at(&x, SECTORS - 1, 1, 105);
    check_all(&x);
    assert_int_equal(disk_cow_written(x.d), (4 + 3 + 1) * 4096ul);
    assert_int_equal(ask(&x, DISK_FLUSH, 0, 0, NULL), DISK_OK);
    finish(&x, SECTORS * 512);
}

static void test_edges(void **state)
{
    uint8_t sector[1024];
    struct fixture x;

    (void)state;
    setup(&x, SECTORS * 512, false);
    assert_int_equal(ask(&x, DISK_READ, SECTORS, 1, sector), DISK_BAD_RANGE);
    assert_int_equal(ask(&x, DISK_READ, SECTORS - 1, 2, sector), DISK_BAD_RANGE);
    assert_int_equal(ask(&x, DISK_WRITE, SECTORS - 1, 2, sector), DISK_BAD_RANGE);
    assert_int_equal(ask(&x, DISK_READ, UINT64_MAX, 1, sector), DISK_BAD_RANGE);
    assert_int_equal(ask(&x, DISK_READ, UINT64_MAX - 1, 4, sector), DISK_BAD_RANGE);
    assert_int_equal(ask(&x, DISK_DISCARD, SECTORS - 7, 8, NULL), DISK_BAD_RANGE);
    assert_int_equal(ask(&x, DISK_READ, SECTORS, 0, sector), DISK_OK);
    check_all(&x);
    finish(&x, SECTORS * 512);
}

/* A last sector that is not whole reads with zeroes behind it, and can be written. */
static void test_ragged(void **state)
{
    struct fixture x;

    (void)state;
    for (unsigned bytes = 1; bytes < 9000; bytes += 511) {
        setup(&x, bytes, false);
        check_all(&x);
        write_at(&x, x.d->sectors - 1, 1, bytes);
        check_all(&x);
        finish(&x, bytes);
    }
    fake_host_init(&x.f);
    assert_null(disk_cow_create(&x.f.host, "none", "", 0, false));
    fake_host_finish(&x.f);
}

static void test_read_only(void **state)
{
    uint8_t sector[512] = {1};
    struct fixture x;

    (void)state;
    setup(&x, SECTORS * 512, true);
    assert_int_equal(ask(&x, DISK_WRITE, 0, 1, sector), DISK_PROTECTED);
    assert_int_equal(ask(&x, DISK_DISCARD, 0, 8, NULL), DISK_PROTECTED);
    assert_int_equal(ask(&x, DISK_FLUSH, 0, 0, NULL), DISK_OK);
    check_all(&x);
    assert_int_equal(disk_cow_written(x.d), 0);
    finish(&x, SECTORS * 512);
}

/* The write fails where memory ends, what was there stays, and one line says so. */
static void test_no_memory(void **state)
{
    static uint8_t data[64 * 512];
    struct fixture x;

    (void)state;
    setup(&x, SECTORS * 512, false);
    ide_fill(data, sizeof(data), 77);
    x.f.allocs_left = 3; /* a leaf and two chunks */
    assert_int_equal(ask(&x, DISK_WRITE, 4, 64, data), DISK_BAD_MEDIUM);
    assert_int_equal(x.finished, 4 + 8);
    memcpy(x.copy + 4 * 512, data, 12 * 512);
    check_all(&x);
    assert_int_equal(x.f.log_lines, 1);
    assert_non_null(strstr(x.f.last_log, "test: no memory left"));
    assert_int_equal(ask(&x, DISK_WRITE, 4500, 1, data), DISK_BAD_MEDIUM); /* not even a leaf */
    assert_int_equal(x.f.log_lines, 1);
    assert_int_equal(ask(&x, DISK_WRITE, 9, 1, x.copy + 9 * 512), DISK_OK); /* has its chunk */
    check_all(&x);
    /* What is discarded can be used again. */
    assert_int_equal(ask(&x, DISK_DISCARD, 8, 8, NULL), DISK_OK);
    memset(x.copy + 8 * 512, 0, 8 * 512);
    check_all(&x);
    x.f.allocs_left = -1;
    write_at(&x, 4000, 400, 9);
    check_all(&x);
    finish(&x, SECTORS * 512);
}

static void test_no_memory_at_all(void **state)
{
    uint8_t image[512] = {0};
    struct fake_host f;

    (void)state;
    fake_host_init(&f);
    for (long n = 0; n < 2; n++) {
        f.allocs_left = n;
        assert_null(disk_cow_create(&f.host, "none", image, sizeof(image), false));
    }
    fake_host_finish(&f);
}

/* Whole chunks that were written become zeroes without memory; all else stays as it is. */
static void test_discard(void **state)
{
    struct fixture x;

    (void)state;
    setup(&x, SECTORS * 512, false);
    write_at(&x, 100, 100, 1); /* chunks 12 (its half) to 24 */
    assert_int_equal(disk_cow_written(x.d), 13 * 4096ul);
    assert_int_equal(ask(&x, DISK_DISCARD, 0, 130, NULL), DISK_OK); /* chunks 12 to 15 */
    memset(x.copy + 96 * 512, 0, 32 * 512);
    check_all(&x);
    assert_int_equal(disk_cow_written(x.d), 9 * 4096ul);
    write_at(&x, 97, 1, 2); /* the rest of a discarded chunk stays zero */
    check_all(&x);
    assert_int_equal(ask(&x, DISK_DISCARD, 0, SECTORS, NULL), DISK_OK);
    assert_int_equal(disk_cow_written(x.d), 0);
    finish(&x, SECTORS * 512);
}

static void test_random(void **state)
{
    struct fixture x;

    (void)state;
    srand(11);
    setup(&x, SECTORS * 512, false);
    for (int i = 0; i < 3000; i++) {
        uint64_t sector = (uint64_t)rand() % SECTORS;
        uint32_t count = (uint32_t)rand() % 40 + 1;

        count = (uint32_t)MIN(count, SECTORS - sector);
        if (rand() % 4 == 0) {
            assert_int_equal(ask(&x, DISK_DISCARD, sector, count, NULL), DISK_OK);
            assert_int_equal(ask(&x, DISK_READ, sector, count, x.copy + sector * 512), DISK_OK);
        } else {
            write_at(&x, sector, count, (unsigned)rand());
        }
        if (i % 100 == 0)
            check_all(&x);
    }
    check_all(&x);
    finish(&x, SECTORS * 512);
}

static void assert_geometry(struct disk_geometry g, unsigned c, unsigned h, unsigned s)
{
    assert_int_equal(g.cylinders, c);
    assert_int_equal(g.heads, h);
    assert_int_equal(g.sectors, s);
}

static void test_geometry(void **state)
{
    uint8_t mbr[512] = {0};

    (void)state;
    assert_geometry(disk_guess_geometry(NULL, 20480), 20, 16, 63);
    assert_geometry(disk_guess_geometry(NULL, 1), 1, 16, 63);
    assert_geometry(disk_guess_geometry(NULL, BIT(40)), 16383, 16, 63);
    mbr[446 + 16 + 4] = 0x83; /* the second entry ends at head 7, sector 32 */
    mbr[446 + 16 + 5] = 7;
    mbr[446 + 16 + 6] = 0xc0 | 32;
    assert_geometry(disk_guess_geometry(mbr, 20480), 20, 16, 63); /* no signature */
    mbr[510] = 0x55;
    mbr[511] = 0xaa;
    assert_geometry(disk_guess_geometry(mbr, 20480), 80, 8, 32);
    assert_geometry(disk_guess_geometry(mbr, 100), 1, 16, 63); /* less than a cylinder */
    mbr[446 + 16 + 5] = 254; /* translated by a BIOS: says nothing about the disk */
    assert_geometry(disk_guess_geometry(mbr, 20480), 20, 16, 63);
    mbr[446 + 16 + 5] = 7;
    mbr[446 + 16 + 6] = 0xc0;
    assert_geometry(disk_guess_geometry(mbr, 20480), 20, 16, 63);
}

/* A disk that answers later: cancelling forgets the request. */
static void slow_submit(struct disk *d, struct disk_request *r)
{
    (void)d;
    assert_true(r->pending);
}

static unsigned cancels;

static void slow_cancel(struct disk *d, struct disk_request *r)
{
    (void)d;
    assert_true(r->pending);
    cancels++;
}

static void test_cancel(void **state)
{
    static const struct disk_ops ops = {slow_submit, slow_cancel, NULL};
    struct disk d = {.ops = &ops, .sectors = 10};
    struct fixture x = {.d = &d};
    struct disk_request r = {.op = DISK_READ, .count = 1, .done = answered, .opaque = &x};

    (void)state;
    disk_cancel(&d, &r);
    assert_int_equal(cancels, 0);
    disk_submit(&d, &r);
    assert_int_equal(x.answers, 0);
    disk_cancel(&d, &r);
    assert_int_equal(cancels, 1);
    assert_false(r.pending);
    disk_submit(&d, &r);
    disk_done(&r, DISK_OK);
    assert_int_equal(x.answers, 1);
    disk_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_on_write), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_ragged),        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_no_memory_at_all),
        cmocka_unit_test(test_discard),       cmocka_unit_test(test_random),
        cmocka_unit_test(test_geometry),      cmocka_unit_test(test_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
