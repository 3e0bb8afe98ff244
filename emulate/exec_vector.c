/*
 * Moves between vector registers and memory. The registers themselves are the caller's; values
 * pass through a small buffer as bytes.
 */
#include "emulate/exec.h"
#include "lib/string.h"

#define VECTOR_MAX 64
#define XMM_SIZE   16
#define HALF_SIZE  8

static bool is_vex(const struct emu_insn *i)
{
    return i->prefixes & EMU_PREFIX_VEX;
}

static enum emu_result vector_linear(struct emu_ctx *c, const struct emu_insn *i, unsigned size,
                                     enum emu_access access, gva_t *addr)
{
    enum emu_result r = emu_operand_linear(c, i, size, access, addr);

    if (r == EMU_OK && i->aligned && (addr->v & (size - 1)))
        return emu_raise(c, EMU_VECTOR_GP);
    return r;
}

static enum emu_result vector_read(struct emu_ctx *c, const struct emu_insn *i, void *data)
{
    gva_t addr;
    enum emu_result r = vector_linear(c, i, i->src.size, EMU_READ, &addr);

    return r == EMU_OK ? c->ops->read(c, addr, data, i->src.size, EMU_READ) : r;
}

static enum emu_result vector_write(struct emu_ctx *c, const struct emu_insn *i, const void *data)
{
    gva_t addr;
    enum emu_result r = vector_linear(c, i, i->dst.size, EMU_WRITE, &addr);

    return r == EMU_OK ? c->ops->write(c, addr, data, i->dst.size) : r;
}

/* A scalar load clears the rest of the XMM register. */
enum emu_result emu_exec_vector_load(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned size = MAX(i->src.size, XMM_SIZE);
    uint8_t data[VECTOR_MAX];
    enum emu_result r;

    memset(data, 0, size);
    r = vector_read(c, i, data);
    return r == EMU_OK ? c->ops->vector_set(c, i->dst.reg, data, size, is_vex(i)) : r;
}

enum emu_result emu_exec_vector_store(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned size = MAX(i->dst.size, XMM_SIZE);
    uint8_t data[VECTOR_MAX];
    enum emu_result r = c->ops->vector_get(c, i->src.reg, data, size);

    return r == EMU_OK ? vector_write(c, i, data) : r;
}

/* One half from memory, the other from a register (VEX: vvvv, else the destination itself). */
enum emu_result emu_exec_vector_load_half(struct emu_ctx *c, struct emu_insn *i)
{
    unsigned offset = i->op == EMU_OP_VECTOR_LOAD_HIGH ? HALF_SIZE : 0;
    uint8_t data[XMM_SIZE];
    enum emu_result r = c->ops->vector_get(c, i->vvvv, data, XMM_SIZE);

    if (r == EMU_OK)
        r = vector_read(c, i, data + offset);
    return r == EMU_OK ? c->ops->vector_set(c, i->dst.reg, data, XMM_SIZE, is_vex(i)) : r;
}

enum emu_result emu_exec_vector_store_high(struct emu_ctx *c, struct emu_insn *i)
{
    uint8_t data[XMM_SIZE];
    enum emu_result r = c->ops->vector_get(c, i->src.reg, data, XMM_SIZE);

    return r == EMU_OK ? vector_write(c, i, data + HALF_SIZE) : r;
}
