/* A whole machine on a fake host, for tests that talk to its devices as a guest does. */
#ifndef TESTS_UNIT_PC_H
#define TESTS_UNIT_PC_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/fake_host.h"

struct pc {
    struct fake_host f;
    struct machine m;
};

static inline void pc_init_with(struct pc *pc, const struct machine_config *config)
{
    memset(pc, 0, sizeof(*pc));
    fake_host_init(&pc->f);
    assert_int_equal(machine_create(&pc->m, &pc->f.host, config, &fake_cpu_ops, &pc->f), 0);
}

static inline void pc_init(struct pc *pc)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64)};

    pc_init_with(pc, &config);
}

static inline void pc_finish(struct pc *pc)
{
    machine_destroy(&pc->m);
    fake_host_finish(&pc->f);
}

static inline uint32_t pc_in(struct pc *pc, unsigned port, unsigned size)
{
    return bus_port_read(pc->m.bus, (uint16_t)port, size);
}
static inline uint8_t pc_inb(struct pc *pc, unsigned port)
{
    return (uint8_t)pc_in(pc, port, 1);
}
static inline void pc_out(struct pc *pc, unsigned port, unsigned size, uint32_t value)
{
    bus_port_write(pc->m.bus, (uint16_t)port, size, value);
}
static inline void pc_outb(struct pc *pc, unsigned port, unsigned value)
{
    pc_out(pc, port, 1, value);
}

static inline bool pc_irq(const struct pc *pc, unsigned n)
{
    return pc->m.isa_level >> n & 1;
}

/* Moves the whole machine's state from one to the other, by its stream. */
static inline void pc_migrate(struct pc *from, struct pc *to)
{
    static uint8_t buf[65536];
    struct device_state s = {.buf = buf, .size = sizeof(buf)};

    to->f.now = from->f.now;
    assert_true(machine_save(&from->m, &s));
    s.size = s.pos;
    s.pos = 0;
    assert_true(machine_load(&to->m, &s));
    assert_int_equal(s.pos, s.size);
}

#endif
