/*
 * Decoding the moves between vector registers and memory: legacy SSE, VEX and EVEX encodings
 * (SDM vol. 2, 2.3 and 2.7). Only forms with a memory operand; everything else is unknown.
 */
#include "emulate/decoder.h"

#define MAP_0F   1
#define MAP_0F38 2

#define OPCODE_VEX3     0xc4 /* LES outside 64-bit mode, unless what follows looks like mod 3 */
#define OPCODE_EVEX     0x62 /* BOUND, likewise */
#define OPCODE_MOVNTDQA 0x2a

#define VVVV_NONE 15 /* the field is stored inverted: 1111b says "not used" */

/* The fields that VEX and EVEX have in common, the right way up. */
struct vex {
    uint8_t map, pp, vvvv, length; /* length: 16, 32 or 64 bytes */
    bool evex;
    bool w;
};

/* Which column of emu_vector_map: F2 and F3 go before 66. */
static unsigned mandatory_prefix(const struct emu_insn *i)
{
    if (i->prefixes & EMU_PREFIX_REP)
        return 2;
    if (i->prefixes & EMU_PREFIX_REPNE)
        return 3;
    return i->prefixes & EMU_PREFIX_OPSIZE ? 1 : 0;
}

/* Operands and sizes, from the table's entry and a ModRM byte that has been read. */
static void set_operands(struct emu_decoder *d, const struct emu_vector_move *m, bool w)
{
    struct emu_insn *i = d->insn;
    struct emu_operand *reg = &i->dst, *mem = &i->src;

    if (m->op == EMU_OP_VECTOR_STORE || m->op == EMU_OP_VECTOR_STORE_HIGH) {
        reg = &i->src;
        mem = &i->dst;
    }
    i->op = m->op;
    i->aligned = m->flags & EMU_VECTOR_ALIGNED;
    reg->kind = EMU_OPERAND_VECTOR;
    reg->reg |= (d->modrm >> 3 & 7) | (d->rex & EMU_REX_R ? 8 : 0);
    reg->size = i->vlen;
    mem->kind = EMU_OPERAND_MEM;
    mem->size = m->size ? m->size : i->vlen;
    if (m->flags & EMU_VECTOR_BY_W)
        mem->size = w ? 8 : 4;
    i->op_size = mem->size;
    i->src2.kind = EMU_OPERAND_NONE;
}

enum emu_decoded emu_decode_sse(struct emu_decoder *d, enum emu_vector_row row)
{
    struct emu_insn *i = d->insn;
    const struct emu_vector_move *m = &emu_vector_map[row][mandatory_prefix(i)];

    if (m->op == EMU_OP_UNKNOWN || (m->flags & EMU_VECTOR_NO_VEX))
        return EMU_DECODE_UNKNOWN;
    emu_decode_modrm(d);
    if (d->modrm >> 6 == 3)
        return EMU_DECODE_UNKNOWN;
    if (i->prefixes & EMU_PREFIX_LOCK)
        return EMU_DECODE_UNDEFINED;
    i->vlen = 16;
    i->dst.reg = i->src.reg = 0;
    set_operands(d, m, d->rex & EMU_REX_W);
    i->vvvv = i->op == EMU_OP_VECTOR_STORE ? 0 : i->dst.reg; /* merges go with the old value */
    return EMU_DECODED;
}

static const struct emu_vector_move *find_move(const struct vex *v, uint8_t opcode)
{
    static const struct emu_vector_move none = {EMU_OP_UNKNOWN, 0, 0};

    if (v->map == MAP_0F38 && opcode == OPCODE_MOVNTDQA)
        return &emu_vector_map[EMU_VECTOR_38_2A][v->pp];
    if (v->map == MAP_0F && emu_opcode_map0f[opcode].form == EMU_FORM_VECTOR)
        return &emu_vector_map[emu_opcode_map0f[opcode].group][v->pp];
    return &none;
}

/* Does this entry have the VEX or EVEX form that was found? */
static bool form_exists(const struct emu_vector_move *m, const struct vex *v)
{
    if (m->op == EMU_OP_UNKNOWN)
        return false;
    if (v->evex)
        return m->flags & (v->w ? EMU_VECTOR_EVEX_W1 : EMU_VECTOR_EVEX_W0);
    return !(m->flags & EMU_VECTOR_NO_VEX);
}

/* The payload has been read: opcode, ModRM and what they mean. */
static enum emu_decoded decode_vex_body(struct emu_decoder *d, const struct vex *v)
{
    struct emu_insn *i = d->insn;
    const struct emu_vector_move *m;

    i->opcode = emu_fetch8(d);
    m = find_move(v, i->opcode);
    if (!form_exists(m, v))
        return EMU_DECODE_UNKNOWN;
    emu_decode_modrm(d);
    if (d->modrm >> 6 == 3)
        return EMU_DECODE_UNKNOWN;
    if ((m->flags & EMU_VECTOR_L0) && v->length != 16)
        return EMU_DECODE_UNDEFINED;
    if (!(m->flags & EMU_VECTOR_MERGE) && v->vvvv != VVVV_NONE)
        return EMU_DECODE_UNDEFINED;
    i->vlen = v->length;
    i->vvvv = ~v->vvvv & (d->mode == EMU_LONG64 ? 15 : 7);
    i->prefixes |= EMU_PREFIX_VEX;
    set_operands(d, m, v->w && d->mode == EMU_LONG64);
    return EMU_DECODED;
}

/* R, X and B are stored inverted in the top bits; outside 64-bit mode they are all 1. */
static void set_rex(struct emu_decoder *d, uint8_t byte, bool w)
{
    d->rex = 0;
    if (d->mode == EMU_LONG64)
        d->rex = (~byte >> 5 & 7) | (w ? EMU_REX_W : 0);
}

static enum emu_decoded decode_vex2_or_3(struct emu_decoder *d, uint8_t first, bool three)
{
    struct vex v = {.map = MAP_0F, .evex = false, .w = false};
    uint8_t last = first;

    if (three) {
        last = emu_fetch8(d);
        v.map = first & 31;
        v.w = last & 0x80;
        set_rex(d, first, v.w);
    } else {
        set_rex(d, first | 0x60, false); /* it has R only */
    }
    v.pp = last & 3;
    v.length = last & 4 ? 32 : 16;
    v.vvvv = last >> 3 & 15;
    d->insn->dst.reg = d->insn->src.reg = 0;
    return decode_vex_body(d, &v);
}

static enum emu_decoded decode_evex(struct emu_decoder *d, uint8_t first)
{
    struct vex v = {.evex = true};
    uint8_t p[3] = {first};

    p[1] = emu_fetch8(d);
    p[2] = emu_fetch8(d);
    /* Fixed bits; no masking, zeroing, broadcast or second source; 512 bits at most. */
    if ((p[0] & 0x08) || !(p[1] & 0x04) || (p[2] & 0x9f) != 0x08 || (p[2] >> 5 & 3) == 3)
        return EMU_DECODE_UNKNOWN;
    v.map = p[0] & 7;
    v.w = p[1] & 0x80;
    v.vvvv = p[1] >> 3 & 15;
    v.pp = p[1] & 3;
    v.length = 16 << (p[2] >> 5 & 3);
    d->disp8_shift = 4 + (p[2] >> 5 & 3);
    set_rex(d, p[0], v.w);
    /* R' is bit 4 of the register; like R it must say "none" outside 64-bit mode. */
    d->insn->dst.reg = d->insn->src.reg = 0;
    if (!(p[0] & 0x10)) {
        if (d->mode != EMU_LONG64)
            return EMU_DECODE_UNKNOWN;
        d->insn->dst.reg = d->insn->src.reg = 16;
    }
    return decode_vex_body(d, &v);
}

enum emu_decoded emu_decode_vex(struct emu_decoder *d, uint8_t opcode)
{
    const unsigned forbidden =
        EMU_PREFIX_OPSIZE | EMU_PREFIX_LOCK | EMU_PREFIX_REP | EMU_PREFIX_REPNE;
    uint8_t first = emu_fetch8(d);

    if (d->mode != EMU_LONG64 && first >> 6 != 3)
        return EMU_DECODE_UNKNOWN; /* LES, LDS, BOUND */
    if (d->mode == EMU_REAL || d->mode == EMU_V86)
        return EMU_DECODE_UNDEFINED;
    if (d->rex || (d->insn->prefixes & forbidden))
        return EMU_DECODE_UNDEFINED;
    if (opcode == OPCODE_EVEX)
        return decode_evex(d, first);
    return decode_vex2_or_3(d, first, opcode == OPCODE_VEX3);
}
