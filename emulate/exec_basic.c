/* Moves, arithmetic and bit operations. */
#include "emulate/exec.h"

static void set_flags(struct emu_ctx *c, uint64_t flags)
{
    c->rflags = (c->rflags & ~EMU_ARITHMETIC_FLAGS) | (flags & EMU_ARITHMETIC_FLAGS);
}

/* Everything of the kind dst = dst op src. */
enum emu_result emu_exec_modify(struct emu_ctx *c, struct emu_insn *i)
{
    struct emu_alu a;
    enum emu_result r;

    a.size = i->dst.size;
    a.flags = c->rflags;
    a.src = 0;
    if (i->src.kind != EMU_OPERAND_NONE) {
        r = emu_get_operand(c, i, &i->src, &a.src);
        if (r != EMU_OK)
            return r;
    }
    r = emu_modify(c, i, &i->dst, emu_locked(i), emu_alu_table[i->op], &a);
    if (r == EMU_OK)
        set_flags(c, a.flags);
    return r;
}

/* CMP and TEST: only the flags are kept. */
enum emu_result emu_exec_compare(struct emu_ctx *c, struct emu_insn *i)
{
    struct emu_alu a;
    enum emu_result r;

    a.size = i->dst.size;
    a.flags = c->rflags;
    r = emu_get_operand(c, i, &i->dst, &a.dst);
    if (r == EMU_OK)
        r = emu_get_operand(c, i, &i->src, &a.src);
    if (r != EMU_OK)
        return r;
    emu_alu_table[i->op](&a);
    set_flags(c, a.flags);
    return EMU_OK;
}

/* A register as bit offset reaches beyond the operand: whole operands up or down (BT's page). */
static uint64_t bit_displacement(const struct emu_ctx *c, const struct emu_insn *i)
{
    int64_t offset = (int64_t)emu_sign_extend(c->regs[i->src.reg], i->op_size);
    int64_t bits = 8 * i->op_size;

    return (uint64_t)((offset & ~(bits - 1)) / 8);
}

enum emu_result emu_exec_bit(struct emu_ctx *c, struct emu_insn *i)
{
    enum emu_access access = i->op == EMU_OP_BT ? EMU_READ : EMU_READ_WRITE;
    struct emu_alu a = {.size = i->op_size, .flags = c->rflags};
    uint64_t offset;
    enum emu_result r;
    gva_t addr;

    if (i->dst.kind != EMU_OPERAND_MEM)
        return i->op == EMU_OP_BT ? emu_exec_compare(c, i) : emu_exec_modify(c, i);
    emu_get_operand(c, i, &i->src, &a.src); /* register or immediate: cannot fail */
    offset = emu_effective(c, i);
    if (i->src.kind == EMU_OPERAND_REG)
        offset = (offset + bit_displacement(c, i)) & emu_mask(i->addr_size);
    r = emu_linear(c, i->seg, offset, i->op_size, access, &addr);
    if (r != EMU_OK)
        return r;
    if (i->op == EMU_OP_BT) {
        r = emu_read(c, addr, a.size, EMU_READ, &a.dst);
        emu_alu_table[EMU_OP_BT](&a);
    } else {
        r = emu_modify_memory(c, addr, emu_locked(i), emu_alu_table[i->op], &a);
    }
    if (r == EMU_OK)
        set_flags(c, a.flags);
    return r;
}

enum emu_result emu_exec_double_shift(struct emu_ctx *c, struct emu_insn *i)
{
    struct emu_alu a = {.size = i->op_size, .flags = c->rflags};
    enum emu_result r;

    emu_get_operand(c, i, &i->src, &a.src); /* registers or an immediate: cannot fail */
    emu_get_operand(c, i, &i->src2, &a.count);
    r = emu_modify(c, i, &i->dst, false, emu_alu_table[i->op], &a);
    if (r == EMU_OK)
        set_flags(c, a.flags);
    return r;
}

/* XCHG with memory is locked with or without the prefix. */
enum emu_result emu_exec_exchange(struct emu_ctx *c, struct emu_insn *i)
{
    struct emu_alu a = {.size = i->op_size, .flags = c->rflags};
    enum emu_result r;

    emu_get_operand(c, i, &i->src, &a.src);
    r = emu_modify(c, i, &i->dst, true, emu_alu_table[EMU_OP_XCHG], &a);
    return r == EMU_OK ? emu_set_operand(c, i, &i->src, a.dst) : r;
}

enum emu_result emu_exec_xadd(struct emu_ctx *c, struct emu_insn *i)
{
    struct emu_alu a = {.size = i->op_size, .flags = c->rflags};
    uint64_t sum;
    enum emu_result r;

    emu_get_operand(c, i, &i->src, &a.src);
    r = emu_modify(c, i, &i->dst, emu_locked(i), emu_alu_table[EMU_OP_XADD], &a);
    if (r != EMU_OK)
        return r;
    emu_set_operand(c, i, &i->src, a.dst); /* a register, as all sources of XADD are */
    /* Both operands the same register: the sum is what stays. */
    if (i->dst.kind != EMU_OPERAND_MEM) {
        sum = (a.dst + a.src) & emu_mask(a.size);
        emu_set_operand(c, i, &i->dst, sum);
    }
    set_flags(c, a.flags);
    return EMU_OK;
}

/* Loads and stores between memory and registers are spared the detour over general operands. */
static enum emu_result load(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned size = i->src.size;
    enum emu_result r;
    uint64_t v;
    gva_t addr;

    r = emu_operand_linear(c, i, size, EMU_READ, &addr);
    if (likely(r == EMU_OK))
        r = emu_read(c, addr, size, EMU_READ, &v);
    if (unlikely(r != EMU_OK))
        return r;
    if (likely(i->dst.kind == EMU_OPERAND_REG))
        emu_set_reg(c, i->dst.reg, i->dst.size, v);
    else
        emu_set_operand(c, i, &i->dst, v);
    return EMU_OK;
}

static enum emu_result store(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned size = i->dst.size;
    enum emu_result r;
    uint64_t v;
    gva_t addr;

    if (likely(i->src.kind == EMU_OPERAND_REG))
        v = emu_reg(c, i->src.reg, size);
    else
        emu_get_operand(c, i, &i->src, &v); /* half a register, selector or immediate */
    r = emu_operand_linear(c, i, size, EMU_WRITE, &addr);
    return likely(r == EMU_OK) ? emu_write(c, addr, size, v) : r;
}

/* MOV, MOVZX: values are zero-extended on their way anyway. */
enum emu_result emu_exec_mov(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t v;

    if (i->src.kind == EMU_OPERAND_MEM)
        return load(c, i);
    if (i->dst.kind == EMU_OPERAND_MEM)
        return store(c, i);
    emu_get_operand(c, i, &i->src, &v);
    return emu_set_operand(c, i, &i->dst, v);
}

enum emu_result emu_exec_movsx(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t v;
    enum emu_result r = emu_get_operand(c, i, &i->src, &v);

    return r == EMU_OK ? emu_set_operand(c, i, &i->dst, emu_sign_extend(v, i->src.size)) : r;
}

enum emu_result emu_exec_movbe(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t v;
    enum emu_result r = emu_get_operand(c, i, &i->src, &v);

    if (r != EMU_OK)
        return r;
    return emu_set_operand(c, i, &i->dst, __builtin_bswap64(v) >> (64 - 8 * i->op_size));
}

enum emu_result emu_exec_setcc(struct emu_ctx *c, struct emu_insn *i)
{
    return emu_set_operand(c, i, &i->dst, emu_condition(i->opcode & 15, c->rflags));
}

/* The source is read whatever the condition, and a 32-bit destination loses its upper half. */
enum emu_result emu_exec_cmovcc(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t v;
    enum emu_result r = emu_get_operand(c, i, &i->src, &v);

    if (r != EMU_OK)
        return r;
    if (!emu_condition(i->opcode & 15, c->rflags))
        v = emu_reg(c, i->dst.reg, i->op_size);
    return emu_set_operand(c, i, &i->dst, v);
}

/* Products and dividends are in rDX:rAX, or in AX when the operand is a byte. */
static void set_wide(struct emu_ctx *c, unsigned size, uint64_t low, uint64_t high)
{
    if (size == 1) {
        emu_set_reg(c, EMU_RAX, 2, high << 8 | low);
        return;
    }
    emu_set_reg(c, EMU_RAX, size, low);
    emu_set_reg(c, EMU_RDX, size, high);
}

enum emu_result emu_exec_multiply(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned size = i->op_size;
    uint64_t v, low, high;
    enum emu_result r = emu_get_operand(c, i, &i->dst, &v);

    if (r != EMU_OK)
        return r;
    emu_multiply(size, i->op == EMU_OP_IMUL_WIDE, emu_reg(c, EMU_RAX, size), v, &low, &high,
                 &c->rflags);
    set_wide(c, size, low, high);
    return EMU_OK;
}

/* The forms with two and three operands: the high half is dropped. */
enum emu_result emu_exec_imul(struct emu_ctx *c, struct emu_insn *i)
{
    const struct emu_operand *factor = i->src2.kind == EMU_OPERAND_NONE ? &i->dst : &i->src2;
    uint64_t a, b, low, high;
    enum emu_result r = emu_get_operand(c, i, &i->src, &a);

    if (r != EMU_OK)
        return r;
    emu_get_operand(c, i, factor, &b);
    emu_multiply(i->op_size, true, a, b, &low, &high, &c->rflags);
    return emu_set_operand(c, i, &i->dst, low);
}

enum emu_result emu_exec_divide(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned size = i->op_size;
    uint64_t divisor, quotient, remainder, high;
    enum emu_result r = emu_get_operand(c, i, &i->dst, &divisor);

    if (r != EMU_OK)
        return r;
    high = size == 1 ? c->regs[EMU_RAX] >> 8 & 0xff : emu_reg(c, EMU_RDX, size);
    if (!emu_divide(size, i->op == EMU_OP_IDIV, high, emu_reg(c, EMU_RAX, size), divisor, &quotient,
                    &remainder))
        return emu_raise(c, EMU_VECTOR_DE);
    set_wide(c, size, quotient, remainder);
    return EMU_OK;
}

/* AL = seg:[rBX + AL] */
enum emu_result emu_exec_xlat(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t offset = c->regs[EMU_RBX] + emu_reg(c, EMU_RAX, 1), v;
    gva_t addr;
    enum emu_result r;

    r = emu_linear(c, i->seg, offset & emu_mask(i->addr_size), 1, EMU_READ, &addr);
    if (r == EMU_OK)
        r = emu_read(c, addr, 1, EMU_READ, &v);
    if (r == EMU_OK)
        emu_set_reg(c, EMU_RAX, 1, v);
    return r;
}
