/*
 * What an operand is at run time: registers, and memory behind segmentation, canonical and
 * alignment checks (SDM vol. 3, chapter 5.3 to 5.5; vol. 1, 3.3.7).
 */
#ifndef EMULATE_ACCESS_H
#define EMULATE_ACCESS_H

#include "emulate/alu.h"

/* Exception vectors (SDM vol. 3 table 6-1). */
#define EMU_VECTOR_DE 0
#define EMU_VECTOR_UD 6
#define EMU_VECTOR_SS 12
#define EMU_VECTOR_GP 13
#define EMU_VECTOR_AC 17

/* Fills in ctx->fault, error code 0 where the vector has one, and returns EMU_FAULT. */
enum emu_result emu_raise(struct emu_ctx *c, unsigned vector);

/* Segment access rights, VMX format (SDM vol. 3 table 25-2). */
#define EMU_SEG_WRITABLE    BIT(1) /* data; in code segments: readable */
#define EMU_SEG_EXPAND_DOWN BIT(2) /* data; in code segments: conforming */
#define EMU_SEG_CODE        BIT(3)
#define EMU_SEG_BIG         BIT(14) /* D/B */
#define EMU_SEG_UNUSABLE    BIT(16)

/* The general case of emu_linear. */
enum emu_result emu_linear_checked(struct emu_ctx *c, enum emu_seg seg, uint64_t offset,
                                   unsigned size, enum emu_access access, gva_t *addr);

/* Are both in the canonical range, 48 bits sign-extended? */
static inline bool emu_canonical(uint64_t first, uint64_t last)
{
    const uint64_t half = BIT(47);

    return ((first + half) | (last + half)) >> 48 == 0;
}

/* The linear address of seg:offset, if size bytes there may be accessed that way. */
static inline enum emu_result emu_linear(struct emu_ctx *c, enum emu_seg seg, uint64_t offset,
                                         unsigned size, enum emu_access access, gva_t *addr)
{
    if (likely(c->mode == EMU_LONG64 && seg < EMU_FS && !c->wp_alignment &&
               emu_canonical(offset, offset + size - 1))) {
        addr->v = offset;
        return EMU_OK;
    }
    return emu_linear_checked(c, seg, offset, size, access, addr);
}

/* The offset that the instruction's memory operand has; inside its segment, not yet checked. */
static inline uint64_t emu_effective(const struct emu_ctx *c, const struct emu_insn *i)
{
    uint64_t a = (uint64_t)i->disp;

    if (i->base < EMU_NR_REGS)
        a += c->regs[i->base];
    else if (i->base == EMU_BASE_RIP)
        a += i->next_rip;
    if (i->index < EMU_NR_REGS)
        a += c->regs[i->index] << i->scale;
    return a & emu_mask(i->addr_size);
}

/* The linear address of the instruction's memory operand. */
static inline enum emu_result emu_operand_linear(struct emu_ctx *c, const struct emu_insn *i,
                                                 unsigned size, enum emu_access access, gva_t *addr)
{
    return emu_linear(c, i->seg, emu_effective(c, i), size, access, addr);
}

/* Asks whether an access would fault, where the ops can tell; otherwise EMU_OK. */
static inline enum emu_result emu_probe(struct emu_ctx *c, gva_t addr, unsigned size,
                                        enum emu_access access)
{
    return c->ops->probe ? c->ops->probe(c, addr, size, access) : EMU_OK;
}

/* size bytes (at most 8), zero-extended. */
static inline enum emu_result emu_read(struct emu_ctx *c, gva_t addr, unsigned size,
                                       enum emu_access access, uint64_t *value)
{
    uint64_t v = 0;
    enum emu_result r = c->ops->read(c, addr, &v, size, access);

    *value = v & emu_mask(size);
    return r;
}
static inline enum emu_result emu_write(struct emu_ctx *c, gva_t addr, unsigned size,
                                        uint64_t value)
{
    return c->ops->write(c, addr, &value, size);
}

static inline uint64_t emu_reg(const struct emu_ctx *c, unsigned reg, unsigned size)
{
    return c->regs[reg] & emu_mask(size);
}
/* 32-bit results clear the upper half, smaller ones keep the rest (SDM vol. 1, 3.4.1.1). */
static inline void emu_set_reg(struct emu_ctx *c, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t mask = emu_mask(size);

    if (size >= 4)
        c->regs[reg] = value & mask;
    else
        c->regs[reg] = (c->regs[reg] & ~mask) | (value & mask);
}

/* Registers, immediates and memory alike. */
enum emu_result emu_get_operand(struct emu_ctx *c, const struct emu_insn *i,
                                const struct emu_operand *o, uint64_t *value);
enum emu_result emu_set_operand(struct emu_ctx *c, const struct emu_insn *i,
                                const struct emu_operand *o, uint64_t value);

/*
 * *o = fn(*o, ...): the one place where an operand in memory is read and written back, atomically
 * when locked. alu has all but dst filled in; afterwards it has the operand's old value and the
 * new flags, which the caller commits.
 */
enum emu_result emu_modify(struct emu_ctx *c, const struct emu_insn *i, const struct emu_operand *o,
                           bool locked, emu_alu_fn *fn, struct emu_alu *alu);
/* The same for memory whose linear address is known already. */
enum emu_result emu_modify_memory(struct emu_ctx *c, gva_t addr, bool locked, emu_alu_fn *fn,
                                  struct emu_alu *alu);

/* How often a locked operation is tried before the instruction is to be run again later. */
#define EMU_LOCK_ATTEMPTS 64

#endif
