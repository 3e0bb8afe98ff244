/* The bus: lookup, splitting and widening, overlap, and a comparison with a simple model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "devices/bus.h"
#include "lib/string.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

#define LOG_SIZE 16

struct access {
    uint64_t offset, value;
    unsigned size;
    bool write;
};

/* A range that answers reads with its offsets' low bytes, and keeps a log. */
struct probe {
    struct bus_ops ops;
    struct access log[LOG_SIZE];
    unsigned count;
    uint8_t seed;
};

struct fixture {
    struct fake_host host;
    struct bus *bus;
};

static void probe_log(struct probe *p, struct access a)
{
    p->log[p->count++ % LOG_SIZE] = a;
}

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
    struct probe *p = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)(uint8_t)(p->seed + offset + i) << (8 * i);
    probe_log(p, (struct access){offset, value, size, false});
    return size == 8 ? value : value | 0xbad0000000000000ull; /* excess bits must not get through */
}

static void probe_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    probe_log(opaque, (struct access){offset, value, size, true});
}

static struct probe probe(unsigned sizes, uint8_t seed)
{
    return (struct probe){.ops = {probe_read, probe_write, sizes}, .seed = seed};
}

static int setup(void **state)
{
    static struct fixture f;

    fake_host_init(&f.host);
    f.bus = bus_create(&f.host.host);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    bus_destroy(f->bus);
    fake_host_finish(&f->host);
    return 0;
}

static void assert_access(const struct probe *p, unsigned i, bool write, uint64_t offset,
                          unsigned size, uint64_t value)
{
    assert_int_equal(p->log[i].write, write);
    assert_int_equal(p->log[i].offset, offset);
    assert_int_equal(p->log[i].size, size);
    assert_int_equal(p->log[i].value, value);
}

/* ------------------------------------------------------------------ ports */

static void unclaimed_is_all_ones(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;

    assert_int_equal(bus_port_read(b, 0x123, 1), 0xff);
    assert_int_equal(bus_port_read(b, 0x123, 2), 0xffff);
    assert_int_equal(bus_port_read(b, 0xffff, 4), 0xffffffff);
    assert_int_equal(bus_memory_read(b, GPA(0xfed00000), 8), UINT64_MAX);
    assert_int_equal(bus_memory_read(b, GPA(UINT64_MAX - 3), 8), UINT64_MAX);
    assert_int_equal(bus_counters(b)->unclaimed_reads, 5);
    bus_port_write(b, 0x123, 4, 1);
    bus_memory_write(b, GPA(0), 8, 1);
    assert_int_equal(bus_counters(b)->unclaimed_writes, 2);
}

static void ports_by_size(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;
    struct probe p = probe(1 | 2, 0x10);

    assert_int_equal(bus_add_ports(b, 0x3f8, 8, "p", &p.ops, &p), 0);
    assert_int_equal(bus_port_read(b, 0x3f9, 1), 0x11);
    assert_int_equal(bus_port_read(b, 0x3f9, 2), 0x1211);
    assert_int_equal(p.count, 2);
    assert_int_equal(bus_port_read(b, 0x3f8, 4), 0x13121110); /* two words, low one first */
    assert_access(&p, 2, false, 0, 2, 0x1110);
    assert_access(&p, 3, false, 2, 2, 0x1312);
    bus_port_write(b, 0x3f8, 4, 0xddccbbaa);
    assert_access(&p, 4, true, 0, 2, 0xbbaa);
    assert_access(&p, 5, true, 2, 2, 0xddcc);
    assert_int_equal(bus_counters(b)->unclaimed_reads + bus_counters(b)->unclaimed_writes, 0);
}

/* An access over a range's end goes byte by byte, and what is beyond reads as ones. */
static void ports_across_the_end(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;
    struct probe p = probe(1 | 2 | 4, 0x10), q = probe(1, 0x80);

    assert_int_equal(bus_add_ports(b, 0x1fe, 2, "p", &p.ops, &p), 0);
    assert_int_equal(bus_add_ports(b, 0x200, 1, "q", &q.ops, &q), 0);
    assert_int_equal(bus_port_read(b, 0x1fe, 4), 0xff801110);
    assert_access(&p, 0, false, 0, 1, 0x10);
    assert_access(&p, 1, false, 1, 1, 0x11);
    assert_int_equal(q.count, 1);
    assert_int_equal(bus_counters(b)->unclaimed_reads, 1);
    bus_port_write(b, 0x1ff, 2, 0x2211);
    assert_access(&p, 2, true, 1, 1, 0x11);
    assert_access(&q, 1, true, 0, 1, 0x22);
    assert_int_equal(bus_add_ports(b, 0xffff, 1, "p", &p.ops, &p), 0);
    assert_int_equal(bus_port_read(b, 0xffff, 2), 0xff10); /* does not wrap to port 0 */
}

static void narrow_reads_are_widened(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;
    struct probe p = probe(4, 0x20);

    assert_int_equal(bus_add_ports(b, 0xcf8, 8, "p", &p.ops, &p), 0);
    assert_int_equal(bus_port_read(b, 0xcfa, 1), 0x22);
    assert_access(&p, 0, false, 0, 4, 0x23222120);
    assert_int_equal(bus_port_read(b, 0xcfe, 2), 0x2726);
    bus_port_write(b, 0xcf9, 1, 6); /* narrower than all it takes: dropped */
    assert_int_equal(bus_counters(b)->unclaimed_writes, 1);
    assert_int_equal(p.count, 3);
}

static void port_tables_are_made_on_demand(void **state)
{
    struct fixture *f = *state;
    struct probe p = probe(1, 0);
    long before = f->host.live_allocs;

    assert_int_equal(bus_add_ports(f->bus, 0x20, 2, "p", &p.ops, &p), 0);
    assert_int_equal(bus_add_ports(f->bus, 0x40, 4, "p", &p.ops, &p), 0);
    assert_int_equal(f->host.live_allocs - before, 1);
    assert_int_equal(bus_add_ports(f->bus, 0x4f0, 32, "p", &p.ops, &p), 0); /* over two pages */
    assert_int_equal(f->host.live_allocs - before, 3);
    f->host.allocs_left = 0;
    assert_int_equal(bus_add_ports(f->bus, 0x1000, 1, "p", &p.ops, &p), E_NOMEM);
    f->host.allocs_left = -1;
    assert_int_equal(bus_add_ports(f->bus, 0x1000, 1, "p", &p.ops, &p), 0);
}

static void bad_ranges_are_refused(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;
    struct probe p = probe(1, 0);

    assert_int_equal(bus_add_ports(b, 0x100, 16, "p", &p.ops, &p), 0);
    assert_int_equal(bus_add_ports(b, 0x10f, 1, "p", &p.ops, &p), E_EXIST);
    assert_int_equal(bus_add_ports(b, 0xff, 2, "p", &p.ops, &p), E_EXIST);
    assert_int_equal(bus_add_ports(b, 0x110, 0, "p", &p.ops, &p), E_RANGE);
    assert_int_equal(bus_add_ports(b, 0xfff0, 17, "p", &p.ops, &p), E_RANGE);
    assert_int_equal(bus_add_ports(b, 0xfff0, UINT32_MAX, "p", &p.ops, &p), E_RANGE);
    assert_int_equal(bus_add_memory(b, GPA(0x1000), 0, "p", &p.ops, &p), E_RANGE);
    assert_int_equal(bus_add_memory(b, GPA(UINT64_MAX), 2, "p", &p.ops, &p), E_RANGE);
    assert_int_equal(bus_add_memory(b, GPA(0x1000), UINT64_MAX, "p", &p.ops, &p), E_RANGE);
    assert_int_equal(bus_add_memory(b, GPA(0x1000), 0x1000, "p", &p.ops, &p), 0);
    assert_int_equal(bus_add_memory(b, GPA(0x1fff), 1, "p", &p.ops, &p), E_EXIST);
    assert_int_equal(bus_add_memory(b, GPA(0), 0x1001, "p", &p.ops, &p), E_EXIST);
    assert_int_equal(bus_add_memory(b, GPA(0), 0x10000, "p", &p.ops, &p), E_EXIST);
    assert_int_equal(bus_add_memory(b, GPA(0x2000), 1, "p", &p.ops, &p), 0);
    assert_int_equal(bus_add_memory(b, GPA(0xfff), 1, "p", &p.ops, &p), 0);
}

static void full_tables_are_an_error(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;
    struct probe p = probe(1, 0);
    int err = 0;
    unsigned n;

    for (n = 0; n < 1000 && err == 0; n++)
        err = bus_add_ports(b, (uint16_t)(n * 2), 1, "p", &p.ops, &p);
    assert_int_equal(err, E_NOSPC);
    assert_true(n > 64);
    for (n = 0, err = 0; n < 1000 && err == 0; n++)
        err = bus_add_memory(b, GPA(n * 16), 8, "p", &p.ops, &p);
    assert_int_equal(err, E_NOSPC);
    bus_remove_ports(b, 0);
    assert_int_equal(bus_add_ports(b, 0x8000, 1, "p", &p.ops, &p), 0);
}

/* ------------------------------------------------------------------ memory */

static void memory_by_size(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;
    struct probe p = probe(4, 0x30), q = probe(1 | 2 | 4 | 8, 0x80);
    struct bus_range found;

    assert_int_equal(bus_add_memory(b, GPA(0xfec00000), 0x100, "p", &p.ops, &p), 0);
    assert_int_equal(bus_add_memory(b, GPA(0xf0000000), 0x100, "q", &q.ops, &q), 0);
    assert_int_equal(bus_memory_read(b, GPA(0xfec00010), 4), 0x43424140);
    assert_int_equal(bus_memory_read(b, GPA(0xf0000000), 8), 0x8786858483828180);
    assert_int_equal(bus_memory_read(b, GPA(0xfec00010), 8), 0x4746454443424140);
    assert_access(&p, 1, false, 0x10, 4, 0x43424140);
    assert_access(&p, 2, false, 0x14, 4, 0x47464544);
    bus_memory_write(b, GPA(0xfec00010), 8, 0x8877665544332211);
    assert_access(&p, 3, true, 0x10, 4, 0x44332211);
    assert_access(&p, 4, true, 0x14, 4, 0x88776655);
    assert_true(bus_find_memory(b, GPA(0xfec000ff), &found));
    assert_string_equal(found.name, "p");
    assert_false(bus_find_memory(b, GPA(0xfec00100), &found));
    bus_remove_memory(b, GPA(0xfec00001)); /* not a start */
    assert_true(bus_find_memory(b, GPA(0xfec00000), &found));
    bus_remove_memory(b, GPA(0xfec00000));
    assert_false(bus_find_memory(b, GPA(0xfec00000), &found));
    assert_true(bus_find_memory(b, GPA(0xf0000000), &found));
}

/* ------------------------------------------------------------------ against a model */

#define MODEL_SPACE  512
#define MODEL_RANGES 8

struct model {
    struct probe probe[MODEL_RANGES];
    uint16_t start[MODEL_RANGES], size[MODEL_RANGES]; /* size 0: not there */
};

static int model_owner(const struct model *m, unsigned addr)
{
    for (int i = 0; i < MODEL_RANGES; i++)
        if (addr - m->start[i] < m->size[i])
            return i;
    return -1;
}

static bool model_free(const struct model *m, unsigned start, unsigned size)
{
    for (unsigned a = start; a < start + size; a++)
        if (model_owner(m, a) >= 0)
            return false;
    return true;
}

static uint64_t model_read(const struct model *m, unsigned addr, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        int owner = model_owner(m, addr + i);
        uint8_t byte = 0xff;

        if (owner >= 0)
            byte = (uint8_t)(m->probe[owner].seed + addr + i - m->start[owner]);
        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void model_change(struct bus *b, struct model *m, struct random *r)
{
    unsigned i = random_below(r, MODEL_RANGES);
    unsigned start = random_below(r, MODEL_SPACE - 64), size = 8 + random_below(r, 5) * 8;
    int expect = model_free(m, start, size) ? 0 : E_EXIST;

    if (m->size[i] != 0) {
        bus_remove_ports(b, m->start[i]);
        bus_remove_memory(b, GPA(m->start[i]));
        m->size[i] = 0;
        return;
    }
    m->probe[i] = probe(1 | random_below(r, 16), (uint8_t)random_next(r));
    assert_int_equal(bus_add_ports(b, (uint16_t)start, size, "m", &m->probe[i].ops, &m->probe[i]),
                     expect);
    assert_int_equal(bus_add_memory(b, GPA(start), size, "m", &m->probe[i].ops, &m->probe[i]),
                     expect);
    if (expect == 0) {
        m->start[i] = (uint16_t)start;
        m->size[i] = (uint16_t)size;
    }
}

static void same_as_a_model(void **state)
{
    struct bus *b = ((struct fixture *)*state)->bus;
    struct random r = {1};
    struct model m;

    memset(&m, 0, sizeof(m));
    for (unsigned n = 0; n < 100000; n++) {
        unsigned addr = random_below(&r, MODEL_SPACE), size = 1u << random_below(&r, 4);

        if (random_below(&r, 16) == 0)
            model_change(b, &m, &r);
        assert_int_equal(bus_memory_read(b, GPA(addr), size), model_read(&m, addr, size));
        if (size <= 4)
            assert_int_equal(bus_port_read(b, (uint16_t)addr, size), model_read(&m, addr, size));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unclaimed_is_all_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_by_size, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_across_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(narrow_reads_are_widened, setup, teardown),
        cmocka_unit_test_setup_teardown(port_tables_are_made_on_demand, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_ranges_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(full_tables_are_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_by_size, setup, teardown),
        cmocka_unit_test_setup_teardown(same_as_a_model, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
