/* CMPXCHG, CMPXCHG8B and CMPXCHG16B. */
#include "emulate/exec.h"
#include "lib/string.h"

/*
 * Memory is written either way, with the new value or with what was there (CMPXCHG's page). One
 * try: *done is false when someone else wrote in between.
 */
static enum emu_result compare_exchange(struct emu_ctx *c, gva_t addr, const void *expected,
                                        const void *desired, unsigned size, bool locked, void *old,
                                        bool *done)
{
    const void *write;
    enum emu_result r = c->ops->read(c, addr, old, size, EMU_READ_WRITE);

    if (r != EMU_OK)
        return r;
    write = memcmp(old, expected, size) == 0 ? desired : old;
    if (locked)
        return c->ops->cmpxchg(c, addr, old, write, size, done);
    *done = true;
    return c->ops->write(c, addr, write, size);
}

static enum emu_result compare_exchange_loop(struct emu_ctx *c, gva_t addr, const void *expected,
                                             const void *desired, unsigned size, bool locked,
                                             void *old)
{
    for (unsigned n = 0; n < EMU_LOCK_ATTEMPTS; n++) {
        bool done = false;
        enum emu_result r = compare_exchange(c, addr, expected, desired, size, locked, old, &done);

        if (r != EMU_OK || done)
            return r;
    }
    return EMU_RETRY;
}

/* What to do with registers once the old value is known. */
static enum emu_result finish(struct emu_ctx *c, struct emu_insn *i, uint64_t expected,
                              uint64_t desired, uint64_t old)
{
    uint64_t flags = emu_compare(expected, old, i->op_size, c->rflags);

    c->rflags = flags;
    if (expected != old) {
        emu_set_reg(c, EMU_RAX, i->op_size, old);
        return EMU_OK;
    }
    if (i->dst.kind == EMU_OPERAND_MEM)
        return EMU_OK;
    return emu_set_operand(c, i, &i->dst, desired);
}

enum emu_result emu_exec_cmpxchg(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t expected = emu_reg(c, EMU_RAX, i->op_size), desired, old = 0;
    enum emu_result r;
    gva_t addr;

    emu_get_operand(c, i, &i->src, &desired); /* always a register */
    if (i->dst.kind != EMU_OPERAND_MEM) {
        emu_get_operand(c, i, &i->dst, &old);
        return finish(c, i, expected, desired, old);
    }
    r = emu_operand_linear(c, i, i->op_size, EMU_READ_WRITE, &addr);
    if (r == EMU_OK)
        r = compare_exchange_loop(c, addr, &expected, &desired, i->op_size, emu_locked(i), &old);
    return r == EMU_OK ? finish(c, i, expected, desired, old) : r;
}

/* A value in two registers, low half first, as it lies in memory. */
static void join(const struct emu_ctx *c, unsigned low, unsigned high, unsigned size, uint8_t *to)
{
    memcpy(to, &c->regs[low], size);
    memcpy(to + size, &c->regs[high], size);
}

enum emu_result emu_exec_cmpxchg8b(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned size = i->dst.size, half = size / 2;
    uint8_t expected[16], desired[16], old[16];
    uint64_t low = 0, high = 0;
    enum emu_result r;
    gva_t addr;

    r = emu_operand_linear(c, i, size, EMU_READ_WRITE, &addr);
    if (r != EMU_OK)
        return r;
    if (size == 16 && (addr.v & 15)) /* the 16-byte form must be aligned */
        return emu_raise(c, EMU_VECTOR_GP);
    join(c, EMU_RAX, EMU_RDX, half, expected);
    join(c, EMU_RBX, EMU_RCX, half, desired);
    r = compare_exchange_loop(c, addr, expected, desired, size, emu_locked(i), old);
    if (r != EMU_OK)
        return r;
    if (memcmp(old, expected, size) == 0) {
        c->rflags |= EMU_ZF;
        return EMU_OK;
    }
    c->rflags &= ~EMU_ZF;
    memcpy(&low, old, half);
    memcpy(&high, old + half, half);
    emu_set_reg(c, EMU_RAX, half, low);
    emu_set_reg(c, EMU_RDX, half, high);
    return EMU_OK;
}
