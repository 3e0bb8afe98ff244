/*
 * String instructions, with their REP prefixes, and IN and OUT. An iteration either happens as a
 * whole or not at all, so that a fault or a retry leaves the registers where the work stopped.
 */
#include "emulate/exec.h"

/* What the iterations of one instruction share. */
struct string {
    struct emu_ctx *c;
    const struct emu_insn *i;
    uint64_t step; /* what rSI and rDI move by, negative when DF is set */
};

typedef enum emu_result iteration_fn(struct string *s);

static uint64_t index_reg(const struct string *s, enum emu_reg reg)
{
    return s->c->regs[reg] & emu_mask(s->i->addr_size);
}

static void advance(struct string *s, enum emu_reg reg)
{
    emu_set_reg(s->c, reg, s->i->addr_size, s->c->regs[reg] + s->step);
}

/* seg:[rSI]; the segment may be overridden. */
static enum emu_result source(struct string *s, gva_t *addr)
{
    return emu_linear(s->c, s->i->seg, index_reg(s, EMU_RSI), s->i->op_size, EMU_READ, addr);
}

/* ES:[rDI]; the segment is always ES. */
static enum emu_result destination(struct string *s, enum emu_access access, gva_t *addr)
{
    return emu_linear(s->c, EMU_ES, index_reg(s, EMU_RDI), s->i->op_size, access, addr);
}

static enum emu_result movs(struct string *s)
{
    unsigned size = s->i->op_size;
    gva_t from, to;
    uint64_t v;
    enum emu_result r = source(s, &from);

    if (r == EMU_OK)
        r = destination(s, EMU_WRITE, &to);
    if (r == EMU_OK)
        r = emu_probe(s->c, to, size, EMU_WRITE);
    if (r == EMU_OK)
        r = emu_read(s->c, from, size, EMU_READ, &v);
    if (r == EMU_OK)
        r = emu_write(s->c, to, size, v);
    if (r != EMU_OK)
        return r;
    advance(s, EMU_RSI);
    advance(s, EMU_RDI);
    return EMU_OK;
}

static enum emu_result cmps(struct string *s)
{
    unsigned size = s->i->op_size;
    gva_t first, second;
    uint64_t a, b;
    enum emu_result r = source(s, &first);

    if (r == EMU_OK)
        r = destination(s, EMU_READ, &second);
    if (r == EMU_OK)
        r = emu_probe(s->c, second, size, EMU_READ);
    if (r == EMU_OK)
        r = emu_read(s->c, first, size, EMU_READ, &a);
    if (r == EMU_OK)
        r = emu_read(s->c, second, size, EMU_READ, &b);
    if (r != EMU_OK)
        return r;
    s->c->rflags = emu_compare(a, b, size, s->c->rflags);
    advance(s, EMU_RSI);
    advance(s, EMU_RDI);
    return EMU_OK;
}

static enum emu_result scas(struct string *s)
{
    unsigned size = s->i->op_size;
    gva_t addr;
    uint64_t v;
    enum emu_result r = destination(s, EMU_READ, &addr);

    if (r == EMU_OK)
        r = emu_read(s->c, addr, size, EMU_READ, &v);
    if (r != EMU_OK)
        return r;
    s->c->rflags = emu_compare(emu_reg(s->c, EMU_RAX, size), v, size, s->c->rflags);
    advance(s, EMU_RDI);
    return EMU_OK;
}

static enum emu_result stos(struct string *s)
{
    unsigned size = s->i->op_size;
    gva_t addr;
    enum emu_result r = destination(s, EMU_WRITE, &addr);

    if (r == EMU_OK)
        r = emu_write(s->c, addr, size, emu_reg(s->c, EMU_RAX, size));
    if (r == EMU_OK)
        advance(s, EMU_RDI);
    return r;
}

static enum emu_result lods(struct string *s)
{
    unsigned size = s->i->op_size;
    gva_t addr;
    uint64_t v;
    enum emu_result r = source(s, &addr);

    if (r == EMU_OK)
        r = emu_read(s->c, addr, size, EMU_READ, &v);
    if (r != EMU_OK)
        return r;
    emu_set_reg(s->c, EMU_RAX, size, v);
    advance(s, EMU_RSI);
    return EMU_OK;
}

static uint16_t port(const struct emu_ctx *c)
{
    return (uint16_t)c->regs[EMU_RDX];
}

/* What a port gives cannot be given back: the probe comes first. */
static enum emu_result ins(struct string *s)
{
    unsigned size = s->i->op_size;
    uint32_t v = 0;
    gva_t addr;
    enum emu_result r = destination(s, EMU_WRITE, &addr);

    if (r == EMU_OK)
        r = emu_probe(s->c, addr, size, EMU_WRITE);
    if (r == EMU_OK)
        r = s->c->ops->in(s->c, port(s->c), size, &v);
    if (r == EMU_OK)
        r = emu_write(s->c, addr, size, v);
    if (r == EMU_OK)
        advance(s, EMU_RDI);
    return r;
}

static enum emu_result outs(struct string *s)
{
    unsigned size = s->i->op_size;
    gva_t addr;
    uint64_t v;
    enum emu_result r = source(s, &addr);

    if (r == EMU_OK)
        r = emu_read(s->c, addr, size, EMU_READ, &v);
    if (r == EMU_OK)
        r = s->c->ops->out(s->c, port(s->c), size, (uint32_t)v);
    if (r == EMU_OK)
        advance(s, EMU_RSI);
    return r;
}

static iteration_fn *const iterations[EMU_NR_OPS] = {
    [EMU_OP_MOVS] = movs, [EMU_OP_CMPS] = cmps, [EMU_OP_STOS] = stos, [EMU_OP_LODS] = lods,
    [EMU_OP_SCAS] = scas, [EMU_OP_INS] = ins,   [EMU_OP_OUTS] = outs,
};

/* REPE and REPNE also look at ZF; for the others both prefixes are plain REP. */
static bool condition_ends(const struct string *s)
{
    bool equal = s->c->rflags & EMU_ZF;

    if (s->i->op != EMU_OP_CMPS && s->i->op != EMU_OP_SCAS)
        return false;
    return s->i->prefixes & EMU_PREFIX_REPNE ? equal : !equal;
}

/* A single step counts one iteration as an instruction. */
static uint64_t iteration_limit(const struct emu_ctx *c)
{
    return (c->rflags & EMU_TF) || c->rep_limit == 0 ? 1 : c->rep_limit;
}

static enum emu_result repeat(struct string *s, struct emu_insn *i)
{
    struct emu_ctx *c = s->c;
    uint64_t limit = iteration_limit(c), flags = c->rflags;

    for (uint64_t n = 0; index_reg(s, EMU_RCX) != 0; n++) {
        enum emu_result r;

        if (n == limit) {
            i->next_rip = c->rip; /* to be gone on with */
            return EMU_OK;
        }
        r = iterations[i->op](s);
        if (r != EMU_OK) {
            c->rflags = flags; /* the comparison so far never was (REP's page) */
            return r;
        }
        emu_set_reg(c, EMU_RCX, i->addr_size, c->regs[EMU_RCX] - 1);
        if (condition_ends(s))
            break;
    }
    return EMU_OK;
}

enum emu_result emu_exec_string(struct emu_ctx *c, struct emu_insn *i)
{
    uint64_t size = i->op_size;
    struct string s = {.c = c, .i = i, .step = c->rflags & EMU_DF ? -size : size};

    if (i->prefixes & (EMU_PREFIX_REP | EMU_PREFIX_REPNE))
        return repeat(&s, i);
    return iterations[i->op](&s);
}

static uint16_t io_port(const struct emu_ctx *c, const struct emu_insn *i)
{
    return i->src.kind == EMU_OPERAND_IMM ? (uint8_t)i->imm : port(c);
}

enum emu_result emu_exec_in(struct emu_ctx *c, struct emu_insn *i)
{
    uint32_t v = 0;
    enum emu_result r = c->ops->in(c, io_port(c, i), i->op_size, &v);

    if (r == EMU_OK)
        emu_set_reg(c, EMU_RAX, i->op_size, v);
    return r;
}

enum emu_result emu_exec_out(struct emu_ctx *c, struct emu_insn *i)
{
    return c->ops->out(c, io_port(c, i), i->op_size, (uint32_t)emu_reg(c, EMU_RAX, i->op_size));
}
