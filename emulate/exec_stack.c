/* PUSH, POP, CALL and JMP with an operand in memory. */
#include "emulate/exec.h"

/* How much of rSP is used: by mode and SS.B (SDM vol. 1, 6.2.3). */
static unsigned stack_width(const struct emu_ctx *c)
{
    if (c->mode == EMU_LONG64)
        return 8;
    return c->seg[EMU_SS].access & EMU_SEG_BIG ? 4 : 2;
}

/* rSP after moving it by delta; only the stack's width of it changes. */
static uint64_t moved_rsp(const struct emu_ctx *c, int delta)
{
    uint64_t mask = emu_mask(stack_width(c)), rsp = c->regs[EMU_RSP];

    return (rsp & ~mask) | ((rsp + (uint64_t)(int64_t)delta) & mask);
}

static enum emu_result stack_linear(struct emu_ctx *c, uint64_t rsp, unsigned size,
                                    enum emu_access access, gva_t *addr)
{
    return emu_linear(c, EMU_SS, rsp & emu_mask(stack_width(c)), size, access, addr);
}

/* Where a push of size bytes goes; nothing is changed, and the write will not fault. */
static enum emu_result prepare_push(struct emu_ctx *c, unsigned size, uint64_t *rsp, gva_t *addr)
{
    enum emu_result r;

    *rsp = moved_rsp(c, -(int)size);
    r = stack_linear(c, *rsp, size, EMU_WRITE, addr);
    return r == EMU_OK ? emu_probe(c, *addr, size, EMU_WRITE) : r;
}

static enum emu_result push(struct emu_ctx *c, unsigned size, uint64_t rsp, gva_t addr,
                            uint64_t value)
{
    enum emu_result r = emu_write(c, addr, size, value);

    if (r == EMU_OK)
        c->regs[EMU_RSP] = rsp;
    return r;
}

enum emu_result emu_exec_push(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t value, rsp;
    enum emu_result r;
    gva_t addr;

    r = prepare_push(c, i->op_size, &rsp, &addr);
    if (r == EMU_OK)
        r = emu_get_operand(c, i, &i->dst, &value);
    return r == EMU_OK ? push(c, i->op_size, rsp, addr, value) : r;
}

/* An address based on rSP is computed with rSP after the pop (POP's page). */
enum emu_result emu_exec_pop(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t before = c->regs[EMU_RSP], value;
    enum emu_result r;
    gva_t addr;

    r = stack_linear(c, before, i->op_size, EMU_READ, &addr);
    if (r == EMU_OK)
        r = emu_read(c, addr, i->op_size, EMU_READ, &value);
    if (r != EMU_OK)
        return r;
    c->regs[EMU_RSP] = moved_rsp(c, i->op_size);
    r = emu_set_operand(c, i, &i->dst, value);
    if (r != EMU_OK)
        c->regs[EMU_RSP] = before;
    return r;
}

/* The target of a near branch must lie within CS, or be canonical. */
static enum emu_result check_target(struct emu_ctx *c, uint64_t target)
{
    if (c->mode == EMU_LONG64) {
        if (!emu_canonical(target, target))
            return emu_raise(c, EMU_VECTOR_GP);
    } else if (target > c->seg[EMU_CS].limit) {
        return emu_raise(c, EMU_VECTOR_GP);
    }
    return EMU_OK;
}

enum emu_result emu_exec_jmp(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t target;
    enum emu_result r = emu_get_operand(c, i, &i->dst, &target);

    if (r == EMU_OK)
        r = check_target(c, target);
    if (r == EMU_OK)
        i->next_rip = target;
    return r;
}

enum emu_result emu_exec_call(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t target, rsp;
    enum emu_result r;
    gva_t addr;

    r = prepare_push(c, i->op_size, &rsp, &addr);
    if (r == EMU_OK)
        r = emu_get_operand(c, i, &i->dst, &target);
    if (r == EMU_OK)
        r = check_target(c, target);
    if (r == EMU_OK)
        r = push(c, i->op_size, rsp, addr, i->next_rip);
    if (r == EMU_OK)
        i->next_rip = target;
    return r;
}
