/*
 * The machine as a whole: creation and its failures, reset, state saved and loaded, and random
 * use of the interrupt hardware: the saved and the loaded machine must go on alike.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pic.h"
#include "lib/string.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

#define CPUS       4
#define STATE_SIZE 262144

struct box {
    struct fake_host host;
    struct machine m;
};

static uint8_t stream[STATE_SIZE], again[STATE_SIZE];

static void box_create(struct box *b, unsigned cpus)
{
    fake_host_init(&b->host);
    fake_machine_create(&b->host, &b->m, cpus);
}

static void box_destroy(struct box *b)
{
    machine_destroy(&b->m);
    fake_host_finish(&b->host);
}

static size_t save(struct box *b, uint8_t *buf)
{
    struct device_state s = {.buf = buf, .size = STATE_SIZE};

    fake_outb(&b->m, 0x70, 0x0c); /* the RTC counts its periods when somebody looks at them */
    fake_inb(&b->m, 0x71);
    assert_true(machine_save(&b->m, &s));
    return s.pos;
}

static bool load(struct box *b, uint8_t *buf, size_t size)
{
    struct device_state s = {.buf = buf, .size = size};

    return machine_load(&b->m, &s);
}

/* ------------------------------------------------------------------ life */

static void every_allocation_can_fail(void **state UNUSED)
{
    struct machine_config config = {.nr_vcpus = 2, .ram_bytes = FAKE_RAM_SIZE, .apic_shift = 3};
    struct fake_host host;
    struct machine m;
    long n = 0;
    int err = E_NOMEM;

    fake_host_init(&host);
    for (n = 0; err != 0; n++) {
        host.allocs_left = n;
        err = machine_create(&m, &host.host, &config, &fake_cpu_ops, &host);
        assert_true(err == 0 || err == E_NOMEM);
        assert_true(err == 0 || host.live_allocs == 0);
        assert_true(n < 1000);
    }
    assert_true(n > 8);
    machine_destroy(&m);
    fake_host_finish(&host);
}

static void bad_configurations(void **state UNUSED)
{
    struct machine_config config = {.nr_vcpus = 0};
    struct fake_host host;
    struct machine m;

    fake_host_init(&host);
    assert_int_equal(machine_create(&m, &host.host, &config, &fake_cpu_ops, &host), E_INVAL);
    config.nr_vcpus = MACHINE_MAX_VCPUS + 1;
    assert_int_equal(machine_create(&m, &host.host, &config, &fake_cpu_ops, &host), E_INVAL);
    fake_host_finish(&host);
}

/* Controllers exist before what is wired to them. */
static void created_in_order(void **state UNUSED)
{
    struct box b;
    unsigned order = 0, n = 0;

    box_create(&b, 1);
    list_for_each (node, &b.m.devices) {
        const struct device *d = list_entry(node, struct device, node);

        assert_true(d->class->order >= order);
        order = d->class->order;
        n++;
    }
    assert_true(n >= 3);
    assert_non_null(b.m.pic);
    assert_non_null(b.m.ioapic);
    box_destroy(&b);
}

static void largest_machine(void **state UNUSED)
{
    struct box b;

    box_create(&b, MACHINE_MAX_VCPUS);
    for (unsigned i = 0; i < MACHINE_MAX_VCPUS; i++)
        assert_int_equal(lapic_read(b.m.lapic[i], LAPIC_ID), i << 24);
    box_destroy(&b);
}

/* ------------------------------------------------------------------ random use */

/* What a guest's access or a line's change gave back, so that two machines can be compared. */
static uint64_t random_lapic(struct box *b, struct random *r)
{
    struct lapic *l = b->m.lapic[random_below(r, CPUS)];
    unsigned offset = random_below(r, 0x44) * 16;
    uint32_t value = (uint32_t)random_next(r), msr = 0x800 + random_below(r, 0x44);
    uint64_t got = 0;

    switch (random_below(r, 10)) {
    case 0:
        return lapic_read(l, offset);
    case 1:
        lapic_write(l, offset, value);
        return 0;
    case 2:
        return lapic_msr_read(l, msr, &got) ? got : 1;
    case 3:
        return lapic_msr_write(l, msr, value);
    case 4:
        lapic_write(l, LAPIC_SVR, 0x1ff);
        return lapic_msr_write(l, 0x80f, 0x1ff);
    case 5:
        lapic_msr_write(l, 0x6e0, b->host.now + random_below(r, 100000)) ? got++ : 0;
        return got;
    case 6:
        return lapic_msr_write(l, 0x1b, GUEST_LAPIC_BASE | (value & 0xc00));
    default:
        if (lapic_pending(l) >= 0)
            lapic_accept(l, lapic_pending(l));
        else
            lapic_eoi(l);
        return (uint64_t)lapic_in_service(l);
    }
}

static uint64_t random_ioapic(struct box *b, struct random *r)
{
    gpa_t base = GPA(GUEST_IOAPIC_BASE);
    uint32_t value = (uint32_t)random_next(r);

    if (random_below(r, 8) == 0)
        bus_memory_write(b->m.bus, GPA(base.v + random_below(r, 0x50)), 4, value);
    bus_memory_write(b->m.bus, base, 4, 0x10 + random_below(r, 0x31));
    if (random_below(r, 2))
        return bus_memory_read(b->m.bus, GPA(base.v + 0x10), 4);
    bus_memory_write(b->m.bus, GPA(base.v + 0x10), 4, value & ~(value >> 3 & BIT(16)));
    return 0;
}

static uint64_t random_port(struct box *b, struct random *r)
{
    static const uint16_t ports[] = {0x20, 0x21, 0xa0,  0xa1,  0x40, 0x41,
                                     0x42, 0x43, 0x4d0, 0x4d1, 0x61};
    uint16_t port = ports[random_below(r, ARRAY_SIZE(ports))];
    unsigned size = 1u << random_below(r, 2);

    if (random_below(r, 2))
        return bus_port_read(b->m.bus, port, size);
    bus_port_write(b->m.bus, port, size, (uint32_t)random_next(r));
    return 0;
}

/* Only lines that belong to no device: those drive their own anew when they are loaded. */
static uint64_t random_step(struct box *b, struct random *r)
{
    static const uint8_t free_lines[] = {6, 7, 13, 14, 15};
    unsigned irq = free_lines[random_below(r, ARRAY_SIZE(free_lines))];
    struct irq_line line = machine_isa_irq(&b->m, irq);

    switch (random_below(r, 8)) {
    case 0:
    case 1:
    case 2:
        return random_lapic(b, r);
    case 3:
        return random_ioapic(b, r);
    case 4:
        return random_port(b, r);
    case 5:
        irq_line_set(&line, random_below(r, 2));
        return b->m.isa_level;
    case 6:
        return pic_output(b->m.pic) ? pic_acknowledge(b->m.pic) : 0x100;
    default:
        fake_host_advance(&b->host, random_below(r, 200000));
        return b->host.now;
    }
}

static unsigned bits_in(const struct lapic *l, unsigned bank)
{
    unsigned n = 0;

    for (unsigned i = 0; i < 8; i++)
        n += (unsigned)__builtin_popcount(l->page[bank / 4 + 4 * i]);
    return n;
}

/* The summaries say what the registers say, and what is injected is above what is in service. */
static void check_lapic(struct lapic *l)
{
    int irr = lapic_sync(l), isr = lapic_in_service(l), pending = lapic_pending(l);

    assert_int_equal(irr < 0, bits_in(l, LAPIC_IRR) == 0);
    assert_int_equal(isr < 0, bits_in(l, LAPIC_ISR) == 0);
    assert_true(irr < 0 || irr >= 16);
    assert_true(isr < 0 || isr >= 16);
    assert_true(pending < 0 || (pending == irr && pending >> 4 > isr >> 4));
}

static void random_use(void **state UNUSED)
{
    struct random r = {17};
    struct box b;

    box_create(&b, CPUS);
    for (unsigned n = 0; n < 200000; n++) {
        random_step(&b, &r);
        check_lapic(b.m.lapic[n % CPUS]);
        assert_int_equal(b.m.intr_level, pic_output(b.m.pic));
        if (random_below(&r, 20000) == 0)
            machine_reset(&b.m);
    }
    box_destroy(&b);
}

/* ------------------------------------------------------------------ state */

static void saved_and_loaded_go_on_alike(void **state UNUSED)
{
    for (unsigned seed = 0; seed < 40; seed++) {
        struct random r = {100 + seed}, same;
        struct box a, b;
        size_t size;

        box_create(&a, CPUS);
        box_create(&b, CPUS);
        for (unsigned n = 0; n < 3000; n++)
            random_step(&a, &r);
        same = r;
        b.host.now = a.host.now;
        size = save(&a, stream);
        assert_true(load(&b, stream, size));
        assert_int_equal(save(&b, again), size);
        assert_memory_equal(stream, again, size);
        for (unsigned n = 0; n < 3000; n++)
            assert_int_equal(random_step(&a, &r), random_step(&b, &same));
        assert_int_equal(save(&a, stream), size);
        assert_int_equal(save(&b, again), size);
        assert_memory_equal(stream, again, size);
        box_destroy(&a);
        box_destroy(&b);
    }
}

static void cut_off_streams_are_refused(void **state UNUSED)
{
    struct random r = {23};
    struct box b;
    size_t size, pos;

    box_create(&b, 1);
    for (unsigned n = 0; n < 1000; n++) {
        fake_outb(&b.m, (uint16_t)(0x40 + n % 4), (uint8_t)random_next(&r));
        fake_host_advance(&b.host, 1000);
    }
    size = save(&b, stream);
    for (pos = 0; pos < size; pos += pos % 7 + 1)
        assert_false(load(&b, stream, pos));
    assert_true(load(&b, stream, size));
    for (pos = 0; pos < size; pos += size / 50) {
        struct device_state s = {.buf = again, .size = pos};

        assert_false(machine_save(&b.m, &s)); /* does not fit */
    }
    box_destroy(&b);
}

static void other_machines_streams_are_refused(void **state UNUSED)
{
    struct box a, b;
    size_t size;

    box_create(&a, 1);
    box_create(&b, 2);
    size = save(&a, stream);
    assert_false(load(&b, stream, size));
    stream[0] ^= 1;
    assert_false(load(&a, stream, size));
    box_destroy(&a);
    box_destroy(&b);
}

/* A damaged stream is refused or taken, but the machine that took it stays within its bounds. */
static void damaged_streams_do_no_harm(void **state UNUSED)
{
    struct random r = {29};
    unsigned refused = 0;
    struct box a;
    size_t size;

    box_create(&a, CPUS);
    for (unsigned n = 0; n < 3000; n++)
        random_step(&a, &r);
    size = save(&a, stream);
    for (unsigned n = 0; n < 1000; n++) {
        struct box b;

        memcpy(again, stream, size);
        for (unsigned i = 1 + random_below(&r, 8); i > 0; i--)
            again[random_below(&r, (unsigned)size)] = (uint8_t)random_next(&r);
        box_create(&b, CPUS);
        b.host.now = a.host.now;
        if (load(&b, again, size)) {
            for (unsigned i = 0; i < 200; i++)
                random_step(&b, &r);
            for (unsigned i = 0; i < CPUS; i++)
                check_lapic(b.m.lapic[i]);
        } else {
            refused++;
        }
        box_destroy(&b);
    }
    assert_in_range(refused, 1, 999);
    box_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_can_fail),
        cmocka_unit_test(bad_configurations),
        cmocka_unit_test(created_in_order),
        cmocka_unit_test(largest_machine),
        cmocka_unit_test(random_use),
        cmocka_unit_test(saved_and_loaded_go_on_alike),
        cmocka_unit_test(cut_off_streams_are_refused),
        cmocka_unit_test(other_machines_streams_are_refused),
        cmocka_unit_test(damaged_streams_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
