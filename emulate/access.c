/* Segmentation, memory and register operands. */
#include "emulate/access.h"

enum emu_result emu_raise(struct emu_ctx *c, unsigned vector)
{
    c->fault.vector = vector;
    c->fault.error = 0;
    c->fault.cr2 = 0;
    /* Real mode pushes no error codes. */
    c->fault.has_error = vector >= EMU_VECTOR_SS && c->mode != EMU_REAL;
    return EMU_FAULT;
}

static enum emu_result segment_fault(struct emu_ctx *c, enum emu_seg seg)
{
    return emu_raise(c, seg == EMU_SS ? EMU_VECTOR_SS : EMU_VECTOR_GP);
}

/*
 * Word, doubleword and quadword accesses; wider ones have their own rule in the instructions.
 * CR0.AM and the rest have been looked at by whoever set wp_alignment.
 */
static enum emu_result check_alignment(struct emu_ctx *c, uint64_t addr, unsigned size)
{
    if (size <= 8 && (addr & (size - 1)))
        return emu_raise(c, EMU_VECTOR_AC);
    return EMU_OK;
}

static bool within_limit(const struct emu_segment *s, uint64_t offset, unsigned size)
{
    const uint32_t down = EMU_SEG_CODE | EMU_SEG_EXPAND_DOWN;
    uint64_t last = offset + size - 1;

    if ((s->access & down) == EMU_SEG_EXPAND_DOWN)
        return offset > s->limit && last <= (s->access & EMU_SEG_BIG ? UINT32_MAX : UINT16_MAX);
    return last <= s->limit;
}

/* May a segment of this type be read or written? Real and virtual-8086 mode do not ask. */
static bool type_allows(uint32_t rights, enum emu_access access)
{
    if (rights & EMU_SEG_UNUSABLE)
        return false;
    if (access == EMU_READ)
        return !(rights & EMU_SEG_CODE) || (rights & EMU_SEG_WRITABLE /* readable */);
    return !(rights & EMU_SEG_CODE) && (rights & EMU_SEG_WRITABLE);
}

static enum emu_result linear_legacy(struct emu_ctx *c, enum emu_seg seg, uint64_t offset,
                                     unsigned size, enum emu_access access, gva_t *addr)
{
    const struct emu_segment *s = &c->seg[seg];

    if (c->mode >= EMU_PROT16) {
        if (s->access & EMU_SEG_UNUSABLE)
            return segment_fault(c, seg);
        if (!type_allows(s->access, access))
            return emu_raise(c, EMU_VECTOR_GP);
    }
    if (!within_limit(s, offset, size))
        return segment_fault(c, seg);
    addr->v = (uint32_t)(s->base + offset);
    return c->wp_alignment ? check_alignment(c, addr->v, size) : EMU_OK;
}

static enum emu_result linear_long(struct emu_ctx *c, enum emu_seg seg, uint64_t offset,
                                   unsigned size, gva_t *addr)
{
    addr->v = offset;
    if (seg == EMU_FS || seg == EMU_GS)
        addr->v += c->seg[seg].base;
    if (!emu_canonical(addr->v, addr->v + size - 1))
        return segment_fault(c, seg);
    return c->wp_alignment ? check_alignment(c, addr->v, size) : EMU_OK;
}

enum emu_result emu_linear_checked(struct emu_ctx *c, enum emu_seg seg, uint64_t offset,
                                   unsigned size, enum emu_access access, gva_t *addr)
{
    if (c->mode == EMU_LONG64)
        return linear_long(c, seg, offset, size, addr);
    return linear_legacy(c, seg, offset, size, access, addr);
}

static enum emu_result read_memory(struct emu_ctx *c, const struct emu_insn *i, unsigned size,
                                   uint64_t *value)
{
    gva_t addr;
    enum emu_result r = emu_operand_linear(c, i, size, EMU_READ, &addr);

    return r != EMU_OK ? r : emu_read(c, addr, size, EMU_READ, value);
}

static enum emu_result write_memory(struct emu_ctx *c, const struct emu_insn *i, unsigned size,
                                    uint64_t value)
{
    gva_t addr;
    enum emu_result r = emu_operand_linear(c, i, size, EMU_WRITE, &addr);

    return r != EMU_OK ? r : emu_write(c, addr, size, value);
}

enum emu_result emu_get_operand(struct emu_ctx *c, const struct emu_insn *i,
                                const struct emu_operand *o, uint64_t *value)
{
    if (o->kind == EMU_OPERAND_MEM)
        return read_memory(c, i, o->size, value);
    if (o->kind == EMU_OPERAND_REG) {
        *value = emu_reg(c, o->reg, o->size);
        return EMU_OK;
    }
    switch (o->kind) {
    case EMU_OPERAND_REG_HIGH:
        *value = c->regs[o->reg] >> 8 & 0xff;
        return EMU_OK;
    case EMU_OPERAND_SEG:
        *value = c->seg[o->reg].selector;
        return EMU_OK;
    default:
        *value = (uint64_t)i->imm & emu_mask(o->size);
        return EMU_OK;
    }
}

static void set_reg_operand(struct emu_ctx *c, const struct emu_operand *o, uint64_t value)
{
    if (o->kind == EMU_OPERAND_REG)
        emu_set_reg(c, o->reg, o->size, value);
    else
        c->regs[o->reg] = (c->regs[o->reg] & ~0xff00ull) | (value & 0xff) << 8;
}

enum emu_result emu_set_operand(struct emu_ctx *c, const struct emu_insn *i,
                                const struct emu_operand *o, uint64_t value)
{
    if (o->kind != EMU_OPERAND_MEM) {
        set_reg_operand(c, o, value);
        return EMU_OK;
    }
    return write_memory(c, i, o->size, value);
}

/* Tries until nobody else has written in between; not for ever, since a device may never agree. */
static enum emu_result modify_locked(struct emu_ctx *c, gva_t addr, emu_alu_fn *fn,
                                     struct emu_alu *alu)
{
    struct emu_alu start = *alu;

    for (unsigned n = 0; n < EMU_LOCK_ATTEMPTS; n++) {
        uint64_t old, new;
        bool done = false;
        enum emu_result r = emu_read(c, addr, alu->size, EMU_READ_WRITE, &old);

        if (r != EMU_OK)
            return r;
        *alu = start;
        alu->dst = old;
        new = fn(alu);
        alu->dst = old;
        r = c->ops->cmpxchg(c, addr, &old, &new, alu->size, &done);
        if (r != EMU_OK || done)
            return r;
    }
    return EMU_RETRY;
}

enum emu_result emu_modify_memory(struct emu_ctx *c, gva_t addr, bool locked, emu_alu_fn *fn,
                                  struct emu_alu *alu)
{
    uint64_t old, new;
    enum emu_result r;

    if (locked)
        return modify_locked(c, addr, fn, alu);
    r = emu_read(c, addr, alu->size, EMU_READ_WRITE, &old);
    if (r != EMU_OK)
        return r;
    alu->dst = old;
    new = fn(alu);
    alu->dst = old;
    return emu_write(c, addr, alu->size, new);
}

enum emu_result emu_modify(struct emu_ctx *c, const struct emu_insn *i, const struct emu_operand *o,
                           bool locked, emu_alu_fn *fn, struct emu_alu *alu)
{
    enum emu_result r;
    uint64_t old, new;
    gva_t addr;

    if (o->kind == EMU_OPERAND_MEM) {
        r = emu_operand_linear(c, i, o->size, EMU_READ_WRITE, &addr);
        return r != EMU_OK ? r : emu_modify_memory(c, addr, locked, fn, alu);
    }
    r = emu_get_operand(c, i, o, &old);
    alu->dst = old;
    new = fn(alu);
    alu->dst = old;
    set_reg_operand(c, o, new);
    return r;
}
