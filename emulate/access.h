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

/* The linear address of seg:offset, if size bytes there may be accessed that way. */
enum emu_result emu_linear(struct emu_ctx *c, enum emu_seg seg, uint64_t offset, unsigned size,
                           enum emu_access access, gva_t *addr);

/* The offset that the instruction's memory operand has; inside its segment, not yet checked. */
uint64_t emu_effective(const struct emu_ctx *c, const struct emu_insn *i);

/* The linear address of the instruction's memory operand. */
enum emu_result emu_operand_linear(struct emu_ctx *c, const struct emu_insn *i, unsigned size,
                                   enum emu_access access, gva_t *addr);

/* Asks whether an access would fault, where the ops can tell; otherwise EMU_OK. */
static inline enum emu_result emu_probe(struct emu_ctx *c, gva_t addr, unsigned size,
                                        enum emu_access access)
{
    return c->ops->probe ? c->ops->probe(c, addr, size, access) : EMU_OK;
}

/* size bytes (at most 8), zero-extended. */
enum emu_result emu_read(struct emu_ctx *c, gva_t addr, unsigned size, enum emu_access access,
                         uint64_t *value);
enum emu_result emu_write(struct emu_ctx *c, gva_t addr, unsigned size, uint64_t value);

static inline uint64_t emu_reg(const struct emu_ctx *c, unsigned reg, unsigned size)
{
    return c->regs[reg] & emu_mask(size);
}
/* 32-bit results clear the upper half, smaller ones keep the rest (SDM vol. 1, 3.4.1.1). */
void emu_set_reg(struct emu_ctx *c, unsigned reg, unsigned size, uint64_t value);

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
