/*
 * The decoder's entrance, and a shortcut for what nearly all accesses to devices are: one operand
 * in memory, the other a register or an immediate; 32- or 64-bit addresses; no prefixes but 66 and
 * REX. The same tables and the same results as in decode.c, but in one go, with all state in
 * registers: a third of the instructions. The tests hold both against each other.
 */
#include "emulate/decoder.h"

#define PREFIX_OPSIZE 0x66
#define ESCAPE        0x0f
#define FIRST_DISP8   0x40 /* ModRM bytes by their mod field */
#define FIRST_DISP32  0x80
#define FIRST_REG     0xc0

static inline int32_t load32(const uint8_t *p)
{
    return (int32_t)(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

/* The memory operand, from its ModRM byte on; returns what follows it. */
static inline const uint8_t *quick_memory(enum emu_mode mode, unsigned rex, const uint8_t *p,
                                          struct emu_insn *i)
{
    unsigned modrm = *p++, base = modrm & 7, sib, index = EMU_NO_REG, scale = 0;

    if (base == EMU_RSP) {
        sib = *p++;
        base = sib & 7;
        index = (sib >> 3 & 7) | (rex & EMU_REX_X) << 2;
        scale = sib >> 6;
        if (index == EMU_RSP) {
            index = EMU_NO_REG;
            scale = 0;
        }
        if (base == EMU_RBP && modrm < FIRST_DISP8)
            base = EMU_NO_REG;
    } else if (base == EMU_RBP && modrm < FIRST_DISP8) {
        base = mode == EMU_LONG64 ? EMU_BASE_RIP : EMU_NO_REG;
    }
    if (base < EMU_BASE_RIP)
        base |= (rex & EMU_REX_B) << 3;
    i->index = index;
    i->scale = scale;
    i->base = base;
    i->seg = base - EMU_RSP <= EMU_RBP - EMU_RSP ? EMU_SS : EMU_DS;
    if (modrm >= FIRST_DISP32 || base >= EMU_BASE_RIP) {
        i->disp = load32(p);
        return p + 4;
    }
    if (modrm >= FIRST_DISP8) {
        i->disp = (int8_t)*p;
        return p + 1;
    }
    i->disp = 0;
    return p;
}

static inline void quick_register(struct emu_operand *o, unsigned reg, unsigned size, unsigned rex)
{
    bool high = size == 1 && !rex && reg >= 4;

    o->kind = high ? EMU_OPERAND_REG_HIGH : EMU_OPERAND_REG;
    o->reg = high ? reg - 4 : reg;
    o->size = size;
}

static inline const uint8_t *quick_immediate(const uint8_t *p, struct emu_insn *i, unsigned size)
{
    i->src.kind = EMU_OPERAND_IMM;
    i->src.size = size;
    if (size >= 4) {
        i->imm = load32(p);
        return p + 4;
    }
    i->imm = size == 1 ? (int8_t)p[0] : (int16_t)(p[0] | p[1] << 8);
    return p + size;
}

/* The operands of a form up to EMU_FORM_LAST_QUICK; p is at ModRM. Returns the end. */
static inline const uint8_t *quick_operands(enum emu_mode mode, unsigned form, unsigned size,
                                            unsigned rex, const uint8_t *p, struct emu_insn *i)
{
    unsigned reg = (*p >> 3 & 7) | (rex & EMU_REX_R) << 1;
    bool load = form != EMU_FORM_RM_R && form != EMU_FORM_RM_IMM;
    struct emu_operand *memory = load ? &i->src : &i->dst;

    p = quick_memory(mode, rex, p, i);
    memory->kind = EMU_OPERAND_MEM;
    memory->size = size;
    if (form >= EMU_FORM_R_RM8)
        memory->size = form == EMU_FORM_R_RM8 ? 1 : 2;
    i->src2.kind = EMU_OPERAND_NONE;
    if (form == EMU_FORM_RM_IMM)
        return quick_immediate(p, i, size);
    quick_register(load ? &i->dst : &i->src, reg, size, rex);
    return p;
}

/* At least 15 bytes must be given. False: this is one for the rest of the decoder. */
static inline bool decode_quick(enum emu_mode mode, const uint8_t *bytes, struct emu_insn *i)
{
    unsigned size = 4, rex = 0, flags, op, opcode;
    const uint8_t *p = bytes;
    const struct emu_opcode *e;

    if (mode < EMU_PROT32)
        return false;
    opcode = *p++;
    i->prefixes = 0;
    if (opcode == PREFIX_OPSIZE) {
        i->prefixes = EMU_PREFIX_OPSIZE;
        size = 2;
        opcode = *p++;
    }
    if (mode == EMU_LONG64 && opcode >> 4 == 4) {
        rex = opcode;
        size = rex & EMU_REX_W ? 8 : size;
        opcode = *p++;
    }
    e = &emu_opcode_map1[opcode];
    if (opcode == ESCAPE) {
        opcode = *p++;
        e = &emu_opcode_map0f[opcode];
    }
    if (e->form == EMU_FORM_NONE || e->form > EMU_FORM_LAST_QUICK || *p >= FIRST_REG)
        return false;
    op = e->op;
    flags = e->flags;
    if (unlikely(op == EMU_OP_UNKNOWN)) {
        op = emu_opcode_groups[e->group][*p >> 3 & 7].op;
        flags |= emu_opcode_groups[e->group][*p >> 3 & 7].flags;
        if (op <= EMU_OP_UNDEFINED)
            return false;
    }
    if (flags & ~(EMU_OPCODE_BYTE | EMU_OPCODE_LOCK))
        return false;
    if (flags & EMU_OPCODE_BYTE)
        size = 1;
    i->op = op;
    i->opcode = opcode;
    i->op_size = size;
    i->addr_size = mode == EMU_LONG64 ? 8 : 4;
    i->len = (uint8_t)(quick_operands(mode, e->form, size, rex, p, i) - bytes);
    return true;
}

enum emu_decoded emu_decode(enum emu_mode mode, const uint8_t *bytes, unsigned len,
                            struct emu_insn *insn)
{
    if (likely(len >= EMU_MAX_INSN) && likely(decode_quick(mode, bytes, insn)))
        return EMU_DECODED;
    return emu_decode_any(mode, bytes, len, insn);
}
