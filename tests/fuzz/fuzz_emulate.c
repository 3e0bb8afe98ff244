/*
 * Fuzzing the emulator: random modes, registers, segments and instruction bytes, and callbacks
 * that answer as the input says. Checked are, besides what the sanitizers see: nothing changes
 * unless an instruction succeeds, vectors are real ones, and it always comes back.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_emulate.c emulate/?*.c
 */
#include <stdlib.h>
#include <string.h>
#include "emulate/access.h"

#define MAX_INSN_GIVEN 18
#define REP_LIMIT      50

/* The input, read front to back; zeros once it is used up. */
struct input {
    const uint8_t *data;
    size_t size;
};

static uint64_t take(struct input *in, unsigned size)
{
    uint64_t v = 0;
    unsigned n = size < in->size ? size : (unsigned)in->size;

    if (n)
        memcpy(&v, in->data, n);
    in->data += n;
    in->size -= n;
    return v;
}

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Mostly fine, sometimes a fault or a retry. */
static enum emu_result answer(struct emu_ctx *c)
{
    switch (take(c->opaque, 1)) {
    case 1:
        c->fault = (struct emu_fault){.vector = 14, .has_error = true};
        return EMU_FAULT;
    case 2:
        return EMU_RETRY;
    default:
        return EMU_OK;
    }
}

/* Addresses must have been checked, and sizes be ones that exist. */
static void check_access(const struct emu_ctx *c, gva_t addr, unsigned size)
{
    check(size >= 1 && size <= 64 && (size & (size - 1)) == 0);
    if (c->mode == EMU_LONG64)
        check(emu_canonical(addr.v, addr.v + size - 1));
    else
        check(addr.v <= UINT32_MAX);
}

static enum emu_result fuzz_read(struct emu_ctx *c, gva_t addr, void *data, unsigned size,
                                 enum emu_access access)
{
    check_access(c, addr, size);
    check(access == EMU_READ || access == EMU_READ_WRITE);
    for (unsigned n = 0; n < size; n++)
        ((uint8_t *)data)[n] = (uint8_t)take(c->opaque, 1);
    return answer(c);
}

static enum emu_result fuzz_write(struct emu_ctx *c, gva_t addr, const void *data, unsigned size)
{
    uint8_t copy[64];

    check_access(c, addr, size);
    memcpy(copy, data, size);
    return answer(c);
}

static enum emu_result fuzz_cmpxchg(struct emu_ctx *c, gva_t addr, const void *expected,
                                    const void *desired, unsigned size, bool *done)
{
    uint8_t copy[32];

    check_access(c, addr, size);
    memcpy(copy, expected, size);
    memcpy(copy, desired, size);
    *done = take(c->opaque, 1) & 1;
    return answer(c);
}

static enum emu_result fuzz_in(struct emu_ctx *c, uint16_t port, unsigned size, uint32_t *value)
{
    (void)port;
    check(size == 1 || size == 2 || size == 4);
    *value = (uint32_t)take(c->opaque, 4);
    return answer(c);
}

static enum emu_result fuzz_out(struct emu_ctx *c, uint16_t port, unsigned size, uint32_t value)
{
    (void)port;
    (void)value;
    check(size == 1 || size == 2 || size == 4);
    return answer(c);
}

static enum emu_result fuzz_vector_get(struct emu_ctx *c, unsigned n, void *data, unsigned size)
{
    check(n < 32 && (size == 16 || size == 32 || size == 64));
    memset(data, (int)take(c->opaque, 1), size);
    return answer(c);
}

static enum emu_result fuzz_vector_set(struct emu_ctx *c, unsigned n, const void *data,
                                       unsigned size, bool clear_upper)
{
    uint8_t copy[64];

    (void)clear_upper;
    check(n < 32 && (size == 16 || size == 32 || size == 64));
    memcpy(copy, data, size);
    return answer(c);
}

static enum emu_result fuzz_probe(struct emu_ctx *c, gva_t addr, unsigned size,
                                  enum emu_access access)
{
    (void)access;
    check_access(c, addr, size);
    return answer(c);
}

static const struct emu_ops fuzz_ops = {
    .read = fuzz_read,
    .write = fuzz_write,
    .cmpxchg = fuzz_cmpxchg,
    .in = fuzz_in,
    .out = fuzz_out,
    .vector_get = fuzz_vector_get,
    .vector_set = fuzz_vector_set,
    .probe = fuzz_probe,
};

static void make_context(struct emu_ctx *c, struct input *in)
{
    uint8_t how = (uint8_t)take(in, 1);

    memset(c, 0, sizeof(*c));
    c->ops = &fuzz_ops;
    c->opaque = in;
    c->mode = how % 5;
    c->wp_alignment = how & 0x80;
    c->rep_limit = REP_LIMIT;
    c->rflags = take(in, 3);
    c->rip = take(in, c->mode == EMU_LONG64 ? 8 : 4);
    for (unsigned n = 0; n < EMU_NR_REGS; n++)
        c->regs[n] = how & 0x40 ? take(in, 8) : take(in, 2);
    for (unsigned n = 0; n < EMU_NR_SEGS; n++) {
        c->seg[n].base = take(in, 4);
        c->seg[n].limit = how & 0x20 ? (uint32_t)take(in, 4) : UINT32_MAX;
        c->seg[n].access = how & 0x20 ? (uint32_t)take(in, 3) : 0xc093;
    }
}

static bool is_string(const struct emu_ctx *c, const uint8_t *insn, unsigned len)
{
    struct emu_insn i;

    return emu_decode(c->mode, insn, len, &i) == EMU_DECODED && i.op >= EMU_OP_MOVS &&
           i.op <= EMU_OP_OUTS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct emu_ctx c, before;
    unsigned len = (unsigned)take(&in, 1) % MAX_INSN_GIVEN;
    uint8_t *insn = malloc(len ? len : 1); /* just as long: a read past its end is seen */
    enum emu_result r;

    for (unsigned n = 0; n < len; n++)
        insn[n] = (uint8_t)take(&in, 1);
    make_context(&c, &in);
    before = c;
    r = emu_step(&c, insn, len);
    check(r == EMU_OK || r == EMU_FAULT || r == EMU_RETRY || r == EMU_UNSUPPORTED);
    check(!c.need_more || (r == EMU_UNSUPPORTED && len < EMU_MAX_INSN));
    if (r == EMU_FAULT)
        check(c.fault.vector < 32);
    if (r != EMU_OK) {
        check(c.rip == before.rip && c.rflags == before.rflags);
        check(is_string(&c, insn, len) || memcmp(c.regs, before.regs, sizeof(c.regs)) == 0);
    }
    free(insn);
    return 0;
}
