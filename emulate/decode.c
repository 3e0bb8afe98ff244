/*
 * Decoding: prefixes, opcode look-up, ModRM, operands. Nothing is cleared in advance: each field
 * of the result is written once, since a device access pays for every instruction spent here.
 */
#include "emulate/decoder.h"

#define MOD_REGISTER 3

/* What the ModRM byte's r/m means with 16-bit addresses (SDM vol. 2 table 2-1). */
static const struct {
    uint8_t base, index;
} mem16[8] = {
    {EMU_RBX, EMU_RSI},    {EMU_RBX, EMU_RDI},    {EMU_RBP, EMU_RSI},    {EMU_RBP, EMU_RDI},
    {EMU_RSI, EMU_NO_REG}, {EMU_RDI, EMU_NO_REG}, {EMU_RBP, EMU_NO_REG}, {EMU_RBX, EMU_NO_REG},
};

static uint32_t load16(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t load32(const uint8_t *p)
{
    return load16(p) | load16(p + 2) << 16;
}

static bool fetch_unsigned(struct emu_decoder *d, unsigned size, uint64_t *value)
{
    const uint8_t *p = d->bytes + d->pos;

    if (size > d->len - d->pos)
        return false;
    d->pos += size;
    if (size == 1)
        *value = p[0];
    else if (size == 2)
        *value = load16(p);
    else if (size == 4)
        *value = load32(p);
    else
        *value = load32(p) | (uint64_t)load32(p + 4) << 32;
    return true;
}

bool emu_fetch_signed(struct emu_decoder *d, unsigned size, int64_t *value)
{
    uint64_t v;

    if (!fetch_unsigned(d, size, &v))
        return false;
    *value = (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
    return true;
}

bool emu_fetch_byte(struct emu_decoder *d, uint8_t *b)
{
    if (d->pos >= d->len)
        return false;
    *b = d->bytes[d->pos++];
    return true;
}

/* The bytes ran out: is that the caller's or the architecture's limit? */
enum emu_decoded emu_out_of_bytes(const struct emu_decoder *d)
{
    return d->len == EMU_MAX_INSN ? EMU_DECODE_TOO_LONG : EMU_DECODE_NEED_MORE;
}

/* In 64-bit mode only FS and GS overrides mean anything; the others are ignored. */
static void set_segment(struct emu_decoder *d, enum emu_seg seg)
{
    if (d->mode != EMU_LONG64 || seg >= EMU_FS)
        d->seg_override = seg;
}

static void apply_prefix(struct emu_decoder *d, uint8_t byte)
{
    uint8_t *p = &d->insn->prefixes;

    d->rex = 0; /* a REX counts only right before the opcode */
    switch (byte) {
    case 0x26:
        return set_segment(d, EMU_ES);
    case 0x2e:
        return set_segment(d, EMU_CS);
    case 0x36:
        return set_segment(d, EMU_SS);
    case 0x3e:
        return set_segment(d, EMU_DS);
    case 0x64:
        return set_segment(d, EMU_FS);
    case 0x65:
        return set_segment(d, EMU_GS);
    case 0x66:
        *p |= EMU_PREFIX_OPSIZE;
        return;
    case 0x67:
        *p |= EMU_PREFIX_ADDRSIZE;
        return;
    case 0xf0:
        *p |= EMU_PREFIX_LOCK;
        return;
    case 0xf2: /* of F2 and F3 the last one counts */
        *p = (*p & ~EMU_PREFIX_REP) | EMU_PREFIX_REPNE;
        return;
    default:
        *p = (*p & ~EMU_PREFIX_REPNE) | EMU_PREFIX_REP;
        return;
    }
}

/* Reads prefixes up to the first opcode byte. */
static bool decode_prefixes(struct emu_decoder *d, uint8_t *opcode)
{
    for (;;) {
        uint8_t form;

        if (!emu_fetch_byte(d, opcode))
            return false;
        form = emu_opcode_map1[*opcode].form;
        if (form == EMU_FORM_PREFIX)
            apply_prefix(d, *opcode);
        else if (form == EMU_FORM_REX && d->mode == EMU_LONG64)
            d->rex = *opcode;
        else
            return true;
    }
}

/* The address size. It is known as soon as the prefixes are. */
static uint8_t address_size(const struct emu_decoder *d)
{
    bool other = d->insn->prefixes & EMU_PREFIX_ADDRSIZE;

    if (d->mode == EMU_LONG64)
        return other ? 4 : 8;
    if (d->mode == EMU_PROT32)
        return other ? 2 : 4;
    return other ? 4 : 2;
}

static uint8_t operand_size(const struct emu_decoder *d, unsigned flags)
{
    bool other = d->insn->prefixes & EMU_PREFIX_OPSIZE;

    if (flags & EMU_OPCODE_BYTE)
        return 1;
    if (flags & EMU_OPCODE_NO_PREFIX) /* nothing could make it 16 bits */
        return d->rex & EMU_REX_W ? 8 : 4;
    if (d->mode == EMU_LONG64) {
        if ((flags & EMU_OPCODE_FORCE64) || (d->rex & EMU_REX_W))
            return flags & EMU_OPCODE_MAX32 ? 4 : 8;
        if (other)
            return 2;
        return flags & EMU_OPCODE_DEFAULT64 ? 8 : 4;
    }
    if (d->mode == EMU_PROT32)
        return other ? 2 : 4;
    return other ? 4 : 2;
}

static bool decode_mem16(struct emu_decoder *d)
{
    struct emu_insn *i = d->insn;
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

    i->scale = 0;
    i->disp = 0;
    if (mod == 0 && rm == 6) {
        i->base = i->index = EMU_NO_REG;
        i->seg = EMU_DS;
        return emu_fetch_signed(d, 2, &i->disp);
    }
    i->base = mem16[rm].base;
    i->index = mem16[rm].index;
    i->seg = i->base == EMU_RBP ? EMU_SS : EMU_DS;
    return mod == 0 || emu_fetch_signed(d, mod, &i->disp);
}

static bool decode_sib(struct emu_decoder *d, unsigned mod)
{
    struct emu_insn *i = d->insn;
    uint8_t sib;

    if (!emu_fetch_byte(d, &sib))
        return false;
    i->index = (sib >> 3 & 7) | (d->rex & EMU_REX_X ? 8 : 0);
    i->scale = sib >> 6;
    if (i->index == EMU_RSP) {
        i->index = EMU_NO_REG;
        i->scale = 0;
    }
    i->base = (sib & 7) | (d->rex & EMU_REX_B ? 8 : 0);
    if ((sib & 7) == EMU_RBP && mod == 0)
        i->base = EMU_NO_REG;
    return true;
}

static bool decode_mem32(struct emu_decoder *d)
{
    struct emu_insn *i = d->insn;
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;
    bool ok;

    i->disp = 0;
    if (rm == EMU_RSP) {
        if (!decode_sib(d, mod))
            return false;
    } else {
        i->index = EMU_NO_REG;
        i->scale = 0;
        i->base = rm | (d->rex & EMU_REX_B ? 8 : 0);
        if (rm == EMU_RBP && mod == 0)
            i->base = d->mode == EMU_LONG64 ? EMU_BASE_RIP : EMU_NO_REG;
    }
    i->seg = i->base == EMU_RSP || i->base == EMU_RBP ? EMU_SS : EMU_DS;
    if (mod == 1) {
        ok = emu_fetch_signed(d, 1, &i->disp);
        i->disp *= 1 << d->disp8_shift;
        return ok;
    }
    if (mod == 2 || i->base >= EMU_BASE_RIP)
        return emu_fetch_signed(d, 4, &i->disp);
    return true;
}

bool emu_decode_modrm(struct emu_decoder *d)
{
    bool ok;

    if (!emu_fetch_byte(d, &d->modrm))
        return false;
    if (d->modrm >> 6 == MOD_REGISTER)
        return true;
    ok = d->insn->addr_size == 2 ? decode_mem16(d) : decode_mem32(d);
    if (d->seg_override != EMU_NO_SEG)
        d->insn->seg = d->seg_override;
    return ok;
}

/* What an operand is, and where its number is found. */
enum operand_spec {
    SPEC_NONE,
    SPEC_RM, /* ModRM.rm, of the operand size */
    SPEC_RM8,
    SPEC_RM16,
    SPEC_RM32,
    SPEC_R, /* ModRM.reg */
    SPEC_A, /* the accumulator */
    SPEC_CL,
    SPEC_DX,
    SPEC_SREG,
    SPEC_MEM, /* memory without ModRM */
    SPEC_IMM,
};

enum imm_spec {
    IMM_NONE,
    IMM_BYTE,
    IMM_FULL, /* of the operand size, at most 32 bits */
    IMM_ADDRESS,
    IMM_ONE, /* there is no byte; it is 1 */
};

static const struct form {
    uint8_t modrm; /* bool: has a ModRM byte */
    uint8_t dst, src, src2;
    uint8_t imm;
} forms[] = {
    [EMU_FORM_NONE] = {0, SPEC_NONE, SPEC_NONE, SPEC_NONE, IMM_NONE},
    [EMU_FORM_RM_R] = {1, SPEC_RM, SPEC_R, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM] = {1, SPEC_R, SPEC_RM, SPEC_NONE, IMM_NONE},
    [EMU_FORM_RM] = {1, SPEC_RM, SPEC_NONE, SPEC_NONE, IMM_NONE},
    [EMU_FORM_RM_IMM] = {1, SPEC_RM, SPEC_IMM, SPEC_NONE, IMM_FULL},
    [EMU_FORM_RM_IMM8] = {1, SPEC_RM, SPEC_IMM, SPEC_NONE, IMM_BYTE},
    [EMU_FORM_RM_1] = {1, SPEC_RM, SPEC_IMM, SPEC_NONE, IMM_ONE},
    [EMU_FORM_RM_CL] = {1, SPEC_RM, SPEC_CL, SPEC_NONE, IMM_NONE},
    [EMU_FORM_A_IMM] = {0, SPEC_A, SPEC_IMM, SPEC_NONE, IMM_FULL},
    [EMU_FORM_A_MOFFS] = {0, SPEC_A, SPEC_MEM, SPEC_NONE, IMM_ADDRESS},
    [EMU_FORM_MOFFS_A] = {0, SPEC_MEM, SPEC_A, SPEC_NONE, IMM_ADDRESS},
    [EMU_FORM_R_RM8] = {1, SPEC_R, SPEC_RM8, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM16] = {1, SPEC_R, SPEC_RM16, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM32] = {1, SPEC_R, SPEC_RM32, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM_IMM] = {1, SPEC_R, SPEC_RM, SPEC_IMM, IMM_FULL},
    [EMU_FORM_R_RM_IMM8] = {1, SPEC_R, SPEC_RM, SPEC_IMM, IMM_BYTE},
    [EMU_FORM_RM_R_IMM8] = {1, SPEC_RM, SPEC_R, SPEC_IMM, IMM_BYTE},
    [EMU_FORM_RM_R_CL] = {1, SPEC_RM, SPEC_R, SPEC_CL, IMM_NONE},
    [EMU_FORM_RM_SREG] = {1, SPEC_RM, SPEC_SREG, SPEC_NONE, IMM_NONE},
    [EMU_FORM_A_IMM8] = {0, SPEC_A, SPEC_IMM, SPEC_NONE, IMM_BYTE},
    [EMU_FORM_A_DX] = {0, SPEC_A, SPEC_DX, SPEC_NONE, IMM_NONE},
    [EMU_FORM_STRING] = {0, SPEC_NONE, SPEC_NONE, SPEC_NONE, IMM_NONE},
};

static void operand_reg(const struct emu_decoder *d, struct emu_operand *o, unsigned reg,
                        unsigned size)
{
    o->kind = EMU_OPERAND_REG;
    o->reg = reg;
    o->size = size;
    /* Without any REX, byte registers 4 to 7 are the high halves of 0 to 3. */
    if (size == 1 && !d->rex && reg >= 4) {
        o->kind = EMU_OPERAND_REG_HIGH;
        o->reg = reg - 4;
    }
}

static void operand_rm(const struct emu_decoder *d, struct emu_operand *o, unsigned size)
{
    if (d->modrm >> 6 == MOD_REGISTER) {
        operand_reg(d, o, (d->modrm & 7) | (d->rex & EMU_REX_B ? 8 : 0), size);
        return;
    }
    o->kind = EMU_OPERAND_MEM;
    o->size = size;
}

static void operand_fixed(struct emu_operand *o, enum emu_operand_kind kind, unsigned reg,
                          unsigned size)
{
    o->kind = kind;
    o->reg = reg;
    o->size = size;
}

static void decode_operand(const struct emu_decoder *d, struct emu_operand *o, unsigned spec)
{
    unsigned size = d->insn->op_size;

    switch (spec) {
    case SPEC_RM:
        return operand_rm(d, o, size);
    case SPEC_RM8:
        return operand_rm(d, o, 1);
    case SPEC_RM16:
        return operand_rm(d, o, 2);
    case SPEC_RM32: /* MOVSXD with a 16-bit destination reads 16 bits */
        return operand_rm(d, o, MIN(size, 4u));
    case SPEC_R:
        return operand_reg(d, o, (d->modrm >> 3 & 7) | (d->rex & EMU_REX_R ? 8 : 0), size);
    case SPEC_A:
        return operand_fixed(o, EMU_OPERAND_REG, EMU_RAX, size);
    case SPEC_CL:
        return operand_fixed(o, EMU_OPERAND_REG, EMU_RCX, 1);
    case SPEC_DX:
        return operand_fixed(o, EMU_OPERAND_REG, EMU_RDX, 2);
    case SPEC_SREG:
        return operand_fixed(o, EMU_OPERAND_SEG, d->modrm >> 3 & 7, 2);
    case SPEC_MEM:
        return operand_fixed(o, EMU_OPERAND_MEM, 0, size);
    case SPEC_IMM:
        return operand_fixed(o, EMU_OPERAND_IMM, 0, size);
    default:
        o->kind = EMU_OPERAND_NONE;
        return;
    }
}

/* The address in the instruction itself (MOV with a moffs operand). */
static bool decode_moffs(struct emu_decoder *d)
{
    struct emu_insn *i = d->insn;
    uint64_t address;

    i->base = i->index = EMU_NO_REG;
    i->scale = 0;
    i->seg = d->seg_override != EMU_NO_SEG ? d->seg_override : EMU_DS;
    if (!fetch_unsigned(d, i->addr_size, &address))
        return false;
    i->disp = (int64_t)address;
    return true;
}

static bool decode_imm(struct emu_decoder *d, unsigned spec)
{
    struct emu_insn *i = d->insn;

    switch (spec) {
    case IMM_BYTE:
        return emu_fetch_signed(d, 1, &i->imm);
    case IMM_FULL:
        return emu_fetch_signed(d, MIN(i->op_size, 4), &i->imm);
    case IMM_ADDRESS:
        return decode_moffs(d);
    case IMM_ONE:
        i->imm = 1;
        return true;
    default:
        return true;
    }
}

/* Which prefixes and operands make this encoding undefined. */
static bool is_undefined(const struct emu_decoder *d, unsigned flags, unsigned form)
{
    const struct emu_insn *i = d->insn;
    bool memory = forms[form].modrm && d->modrm >> 6 != MOD_REGISTER;

    if (i->op == EMU_OP_UNDEFINED)
        return true;
    if ((flags & EMU_OPCODE_MEMORY) && !memory)
        return true;
    if ((flags & EMU_OPCODE_NOT_LONG) && d->mode == EMU_LONG64)
        return true;
    if ((flags & EMU_OPCODE_NO_PREFIX) &&
        (i->prefixes & (EMU_PREFIX_OPSIZE | EMU_PREFIX_REP | EMU_PREFIX_REPNE)))
        return true;
    if (form == EMU_FORM_RM_SREG && (d->modrm >> 3 & 7) >= EMU_NR_SEGS)
        return true;
    /* LOCK needs an operation that may have it, and a destination in memory. */
    return (i->prefixes & EMU_PREFIX_LOCK) &&
           !((flags & EMU_OPCODE_LOCK) && i->dst.kind == EMU_OPERAND_MEM);
}

/* ModRM has been read (if the form has one) and groups are resolved. */
static enum emu_decoded decode_operands(struct emu_decoder *d, unsigned form, unsigned flags)
{
    struct emu_insn *i = d->insn;
    const struct form *f = &forms[form];

    i->op_size = operand_size(d, flags);
    decode_operand(d, &i->dst, f->dst);
    decode_operand(d, &i->src, f->src);
    decode_operand(d, &i->src2, f->src2);
    if (!decode_imm(d, f->imm))
        return emu_out_of_bytes(d);
    if (form == EMU_FORM_STRING || form == EMU_FORM_NONE)
        i->seg = d->seg_override != EMU_NO_SEG ? d->seg_override : EMU_DS;
    if (form == EMU_FORM_RM_SREG && i->dst.kind == EMU_OPERAND_MEM)
        i->dst.size = 2; /* in memory a selector has 16 bits, whatever the operand size */
    if (i->op == EMU_OP_CMPXCHG8B)
        i->dst.size = 2 * MAX(i->op_size, 4);
    i->len = d->pos;
    return is_undefined(d, flags, form) ? EMU_DECODE_UNDEFINED : EMU_DECODED;
}

static enum emu_decoded decode_entry(struct emu_decoder *d, const struct emu_opcode *e)
{
    unsigned form = e->form, flags = e->flags;

    d->insn->op = e->op;
    if (form == EMU_FORM_VECTOR)
        return emu_decode_sse(d, e->group);
    if (e->op == EMU_OP_UNKNOWN && e->group == EMU_GROUP_NONE)
        return EMU_DECODE_UNKNOWN;
    if (forms[form].modrm && !emu_decode_modrm(d))
        return emu_out_of_bytes(d);
    if (e->group) {
        e = &emu_opcode_groups[e->group][d->modrm >> 3 & 7];
        d->insn->op = e->op;
        flags |= e->flags;
        form = e->form ? e->form : form;
    }
    if (d->insn->op == EMU_OP_UNKNOWN)
        return EMU_DECODE_UNKNOWN;
    return decode_operands(d, form, flags);
}

/* The three-byte map 0F 38: MOVBE and one vector move; F2 in front makes it CRC32. */
static enum emu_decoded decode_0f38(struct emu_decoder *d)
{
    static const struct emu_opcode movbe[2] = {
        {EMU_OP_MOVBE, EMU_FORM_R_RM, EMU_OPCODE_MEMORY, 0},
        {EMU_OP_MOVBE, EMU_FORM_RM_R, EMU_OPCODE_MEMORY, 0},
    };
    uint8_t opcode;

    if (!emu_fetch_byte(d, &opcode))
        return emu_out_of_bytes(d);
    d->insn->opcode = opcode;
    if (opcode == 0x2a)
        return emu_decode_sse(d, EMU_VECTOR_38_2A);
    if ((opcode & ~1) == 0xf0 && !(d->insn->prefixes & (EMU_PREFIX_REP | EMU_PREFIX_REPNE)))
        return decode_entry(d, &movbe[opcode & 1]);
    return EMU_DECODE_UNKNOWN;
}

static enum emu_decoded decode_0f(struct emu_decoder *d)
{
    uint8_t opcode;

    if (!emu_fetch_byte(d, &opcode))
        return emu_out_of_bytes(d);
    d->insn->opcode = opcode;
    if (emu_opcode_map0f[opcode].form == EMU_FORM_ESCAPE)
        return decode_0f38(d);
    return decode_entry(d, &emu_opcode_map0f[opcode]);
}

enum emu_decoded emu_decode(enum emu_mode mode, const uint8_t *bytes, unsigned len,
                            struct emu_insn *insn)
{
    struct emu_decoder d;
    uint8_t opcode;

    d.bytes = bytes;
    d.len = MIN(len, (unsigned)EMU_MAX_INSN);
    d.pos = 0;
    d.mode = mode;
    d.rex = 0;
    d.seg_override = EMU_NO_SEG;
    d.disp8_shift = 0;
    d.insn = insn;
    insn->prefixes = 0;
    insn->aligned = false;
    if (!decode_prefixes(&d, &opcode))
        return emu_out_of_bytes(&d);
    insn->opcode = opcode;
    insn->addr_size = address_size(&d);
    if (emu_opcode_map1[opcode].form == EMU_FORM_ESCAPE)
        return decode_0f(&d);
    if (emu_opcode_map1[opcode].form > EMU_FORM_ESCAPE)
        return emu_decode_vex(&d, opcode);
    if (opcode == 0x63 && mode != EMU_LONG64)
        return EMU_DECODE_UNKNOWN; /* ARPL */
    return decode_entry(&d, &emu_opcode_map1[opcode]);
}
