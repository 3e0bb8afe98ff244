/*
 * A machine of one flat memory for the emulator to work on, which counts what it is asked for and
 * fails on demand.
 */
#ifndef TESTS_UNIT_EMULATE_MACHINE_H
#define TESTS_UNIT_EMULATE_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "emulate/access.h"

/* Access rights of usable segments: present, S, DPL 0 and the type. */
#define RIGHTS_DATA        0x93
#define RIGHTS_READ_ONLY   0x91
#define RIGHTS_EXPAND_DOWN 0x97
#define RIGHTS_CODE        0x9b
#define RIGHTS_EXECUTE     0x99

#define MEMORY_SIZE 0x20000ul

/* A machine of one flat memory. Accesses that touch bad_address get bad_result. */
struct machine {
    struct emu_ctx c;
    uint8_t *memory;
    uint64_t window; /* the linear address of memory[0] */
    uint64_t bad_address;
    enum emu_result bad_result;
    unsigned reads, writes, exchanges, probes;
    enum emu_access last_access;
    unsigned steal; /* so many locked attempts find that someone was faster */
    uint16_t port;
    unsigned port_size, ins, outs;
    uint32_t port_value;
    uint8_t vectors[32][64];
};

static inline enum emu_result locate(struct emu_ctx *c, gva_t addr, unsigned size, uint8_t **p)
{
    struct machine *m = c->opaque;

    if (m->bad_address - addr.v < size) {
        c->fault = (struct emu_fault){.vector = 14, .has_error = true, .error = 2, .cr2 = addr.v};
        return m->bad_result;
    }
    if (addr.v - m->window > MEMORY_SIZE - size)
        fail_msg("access outside: %#lx", addr.v);
    *p = m->memory + (addr.v - m->window);
    return EMU_OK;
}

static inline enum emu_result machine_read(struct emu_ctx *c, gva_t addr, void *data, unsigned size,
                                           enum emu_access access)
{
    struct machine *m = c->opaque;
    uint8_t *p;
    enum emu_result r = locate(c, addr, size, &p);

    m->reads++;
    m->last_access = access;
    if (r == EMU_OK)
        memcpy(data, p, size);
    return r;
}

static inline enum emu_result machine_write(struct emu_ctx *c, gva_t addr, const void *data,
                                            unsigned size)
{
    struct machine *m = c->opaque;
    uint8_t *p;
    enum emu_result r = locate(c, addr, size, &p);

    m->writes++;
    if (r == EMU_OK)
        memcpy(p, data, size);
    return r;
}

static inline enum emu_result machine_cmpxchg(struct emu_ctx *c, gva_t addr, const void *expected,
                                              const void *desired, unsigned size, bool *done)
{
    struct machine *m = c->opaque;
    uint8_t *p;
    enum emu_result r = locate(c, addr, size, &p);

    m->exchanges++;
    if (r != EMU_OK)
        return r;
    if (m->steal) {
        m->steal--;
        p[0]++;
    }
    *done = memcmp(p, expected, size) == 0;
    if (*done)
        memcpy(p, desired, size);
    return EMU_OK;
}

static inline enum emu_result machine_in(struct emu_ctx *c, uint16_t port, unsigned size,
                                         uint32_t *value)
{
    struct machine *m = c->opaque;

    m->port = port;
    m->port_size = size;
    m->ins++;
    *value = m->port_value++;
    return EMU_OK;
}

static inline enum emu_result machine_out(struct emu_ctx *c, uint16_t port, unsigned size,
                                          uint32_t value)
{
    struct machine *m = c->opaque;

    m->port = port;
    m->port_size = size;
    m->port_value = value;
    m->outs++;
    return EMU_OK;
}

static inline enum emu_result machine_vector_get(struct emu_ctx *c, unsigned n, void *data,
                                                 unsigned size)
{
    struct machine *m = c->opaque;

    memcpy(data, m->vectors[n], size);
    return EMU_OK;
}

static inline enum emu_result machine_vector_set(struct emu_ctx *c, unsigned n, const void *data,
                                                 unsigned size, bool clear_upper)
{
    struct machine *m = c->opaque;

    memcpy(m->vectors[n], data, size);
    if (clear_upper)
        memset(m->vectors[n] + size, 0, 64 - size);
    return EMU_OK;
}

static inline enum emu_result machine_probe(struct emu_ctx *c, gva_t addr, unsigned size,
                                            enum emu_access access)
{
    struct machine *m = c->opaque;
    uint8_t *p;

    (void)access;
    m->probes++;
    return locate(c, addr, size, &p);
}

static const struct emu_ops machine_ops = {
    .read = machine_read,
    .write = machine_write,
    .cmpxchg = machine_cmpxchg,
    .in = machine_in,
    .out = machine_out,
    .vector_get = machine_vector_get,
    .vector_set = machine_vector_set,
    .probe = machine_probe,
};

static inline struct machine *machine_new(enum emu_mode mode)
{
    struct machine *m = calloc(1, sizeof(*m));
    bool small = mode == EMU_REAL || mode == EMU_V86;

    m->memory = calloc(1, MEMORY_SIZE);
    m->bad_address = UINT64_MAX;
    m->c.ops = &machine_ops;
    m->c.opaque = m;
    m->c.mode = mode;
    m->c.rip = 0x100;
    m->c.rflags = BIT(1);
    m->c.rep_limit = UINT64_MAX;
    for (unsigned n = 0; n < EMU_NR_SEGS; n++) {
        m->c.seg[n].limit = small ? 0xffff : UINT32_MAX;
        m->c.seg[n].access = n == EMU_CS ? RIGHTS_CODE : RIGHTS_DATA;
        if (mode == EMU_PROT32)
            m->c.seg[n].access |= EMU_SEG_BIG;
    }
    return m;
}

static inline void machine_free(struct machine *m)
{
    free(m->memory);
    free(m);
}

static inline enum emu_result step(struct machine *m, const char *text)
{
    uint8_t *exact, b[EMU_MAX_INSN + 1];
    unsigned n = 0;
    enum emu_result r;
    char *end;

    for (; *text; text = end)
        b[n++] = (uint8_t)strtoul(text, &end, 16);
    exact = malloc(n); /* ASan sees a read past the end */
    memcpy(exact, b, n);
    r = emu_step(&m->c, exact, n);
    free(exact);
    return r;
}

/* Expects a fault, and that no register changed. */
static inline void step_faults(struct machine *m, const char *text, unsigned vector, bool has_error)
{
    struct emu_ctx before = m->c;

    assert_int_equal(step(m, text), EMU_FAULT);
    assert_int_equal(m->c.fault.vector, vector);
    assert_int_equal(m->c.fault.has_error, has_error);
    assert_int_equal(m->c.fault.error, 0);
    assert_memory_equal(m->c.regs, before.regs, sizeof(before.regs));
    assert_int_equal(m->c.rip, before.rip);
    assert_int_equal(m->c.rflags, before.rflags);
}

static inline void step_ok(struct machine *m, const char *text)
{
    uint64_t rip = m->c.rip;

    assert_int_equal(step(m, text), EMU_OK);
    assert_int_equal(m->c.rip, rip + (strlen(text) + 1) / 3);
}

#endif
