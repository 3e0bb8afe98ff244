/*
 * Decoding: prefixes, opcode look-up, ModRM, operands. A device access pays for every instruction
 * spent here: nothing is cleared in advance, each field of the result is written once, and the
 * decoder's state is only ever given to inlined functions, so that the compiler keeps it in
 * registers; what is rare works on a copy.
 */
#include "emulate/decoder.h"

#define MOD_REGISTER 3

#define OPCODE_MOVSXD 0x63

/* What the ModRM byte's r/m means with 16-bit addresses (SDM vol. 2 table 2-1). */
static const struct {
    uint8_t base, index;
} mem16[8] = {
    {EMU_RBX, EMU_RSI},    {EMU_RBX, EMU_RDI},    {EMU_RBP, EMU_RSI},    {EMU_RBP, EMU_RDI},
    {EMU_RSI, EMU_NO_REG}, {EMU_RDI, EMU_NO_REG}, {EMU_RBP, EMU_NO_REG}, {EMU_RBX, EMU_NO_REG},
};

EMU_INLINE uint32_t load16(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

EMU_INLINE uint32_t load32(const uint8_t *p)
{
    return load16(p) | load16(p + 2) << 16;
}

EMU_INLINE bool fetch_signed8(struct emu_decoder *d, int64_t *value)
{
    if (d->pos >= d->len)
        return false;
    *value = (int8_t)d->bytes[d->pos++];
    return true;
}

EMU_INLINE bool fetch_signed32(struct emu_decoder *d, int64_t *value)
{
    if (d->len - d->pos < 4)
        return false;
    *value = (int32_t)load32(d->bytes + d->pos);
    d->pos += 4;
    return true;
}

EMU_INLINE bool fetch_unsigned(struct emu_decoder *d, unsigned size, uint64_t *value)
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

EMU_INLINE bool fetch_signed(struct emu_decoder *d, unsigned size, int64_t *value)
{
    uint64_t v;

    if (!fetch_unsigned(d, size, &v))
        return false;
    *value = (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
    return true;
}

/* In 64-bit mode only FS and GS overrides mean anything; the others are ignored. */
EMU_INLINE void set_segment(struct emu_decoder *d, enum emu_seg seg)
{
    if (d->mode != EMU_LONG64 || seg >= EMU_FS)
        d->seg_override = seg;
}

EMU_INLINE void apply_prefix(struct emu_decoder *d, uint8_t byte)
{
    uint8_t *p = &d->prefixes;

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
EMU_INLINE bool decode_prefixes(struct emu_decoder *d, uint8_t *opcode)
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

/* Sizes without and with the prefix that changes them, by enum emu_mode (SDM vol. 1, 3.6). */
static const uint8_t op_sizes[][2] = {
    [EMU_REAL] = {2, 4},   [EMU_V86] = {2, 4},    [EMU_PROT16] = {2, 4},
    [EMU_PROT32] = {4, 2}, [EMU_LONG64] = {4, 2},
};
static const uint8_t addr_sizes[][2] = {
    [EMU_REAL] = {2, 4},   [EMU_V86] = {2, 4},    [EMU_PROT16] = {2, 4},
    [EMU_PROT32] = {4, 2}, [EMU_LONG64] = {8, 4},
};

EMU_INLINE uint8_t address_size(const struct emu_decoder *d)
{
    return addr_sizes[d->mode][(d->prefixes & EMU_PREFIX_ADDRSIZE) != 0];
}

EMU_INLINE uint8_t operand_size(const struct emu_decoder *d, unsigned flags)
{
    const unsigned forced = EMU_OPCODE_DEFAULT64 | EMU_OPCODE_FORCE64 | EMU_OPCODE_NO_PREFIX;
    uint8_t size = op_sizes[d->mode][(d->prefixes & EMU_PREFIX_OPSIZE) != 0];

    if (flags & EMU_OPCODE_BYTE)
        return 1;
    if (d->rex & EMU_REX_W)
        return flags & EMU_OPCODE_MAX32 ? 4 : 8;
    if (likely(!(flags & forced)))
        return size;
    if (flags & EMU_OPCODE_NO_PREFIX) /* nothing could make it 16 bits */
        return 4;
    if (d->mode != EMU_LONG64 || (size == 2 && !(flags & EMU_OPCODE_FORCE64)))
        return size;
    return 8;
}

static bool __attribute__((noinline)) decode_mem16(struct emu_decoder *d)
{
    struct emu_insn *i = d->insn;
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

    i->scale = 0;
    i->disp = 0;
    if (mod == 0 && rm == 6) {
        i->base = i->index = EMU_NO_REG;
        i->seg = EMU_DS;
        return fetch_signed(d, 2, &i->disp);
    }
    i->base = mem16[rm].base;
    i->index = mem16[rm].index;
    i->seg = i->base == EMU_RBP ? EMU_SS : EMU_DS;
    return mod == 0 || fetch_signed(d, mod, &i->disp);
}

/* The register numbers' fourth bits. */
EMU_INLINE unsigned rex_r(const struct emu_decoder *d)
{
    return (d->rex & EMU_REX_R) << 1;
}
EMU_INLINE unsigned rex_x(const struct emu_decoder *d)
{
    return (d->rex & EMU_REX_X) << 2;
}
EMU_INLINE unsigned rex_b(const struct emu_decoder *d)
{
    return (d->rex & EMU_REX_B) << 3;
}

/* Returns the base register; sets index and scale. */
EMU_INLINE bool decode_sib(struct emu_decoder *d, unsigned mod, unsigned *base)
{
    unsigned index, scale;
    uint8_t sib;

    if (!emu_fetch_byte(d, &sib))
        return false;
    index = (sib >> 3 & 7) | rex_x(d);
    scale = sib >> 6;
    if (index == EMU_RSP) {
        index = EMU_NO_REG;
        scale = 0;
    }
    d->insn->index = index;
    d->insn->scale = scale;
    *base = (sib & 7) | rex_b(d);
    if ((sib & 7) == EMU_RBP && mod == 0)
        *base = EMU_NO_REG;
    return true;
}

EMU_INLINE bool decode_mem32(struct emu_decoder *d)
{
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7, base = rm | rex_b(d);
    struct emu_insn *i = d->insn;
    int64_t disp = 0;

    if (rm == EMU_RSP) {
        if (!decode_sib(d, mod, &base))
            return false;
    } else {
        i->index = EMU_NO_REG;
        i->scale = 0;
        if (rm == EMU_RBP && mod == 0)
            base = d->mode == EMU_LONG64 ? EMU_BASE_RIP : EMU_NO_REG;
    }
    i->base = base;
    i->seg = base == EMU_RSP || base == EMU_RBP ? EMU_SS : EMU_DS;
    if (mod == 1) {
        if (!fetch_signed8(d, &disp))
            return false;
        disp *= 1 << d->disp8_shift;
    } else if (mod == 2 || base >= EMU_BASE_RIP) {
        if (!fetch_signed32(d, &disp))
            return false;
    }
    i->disp = disp;
    return true;
}

/* Reads ModRM, SIB and displacement. Returns false when the bytes run out. */
EMU_INLINE bool decode_modrm(struct emu_decoder *d)
{
    if (!emu_fetch_byte(d, &d->modrm))
        return false;
    if (d->modrm >> 6 == MOD_REGISTER)
        return true;
    if (d->addr_size == 2) {
        struct emu_decoder copy = *d;

        if (!decode_mem16(&copy))
            return false;
        d->pos = copy.pos;
    } else if (!decode_mem32(d)) {
        return false;
    }
    if (d->seg_override != EMU_NO_SEG)
        d->insn->seg = d->seg_override;
    return true;
}

bool emu_decode_modrm(struct emu_decoder *d)
{
    return decode_modrm(d);
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
    uint8_t dst, src, src2;
    uint8_t imm;
} forms[] = {
    [EMU_FORM_NONE] = {SPEC_NONE, SPEC_NONE, SPEC_NONE, IMM_NONE},
    [EMU_FORM_RM_R] = {SPEC_RM, SPEC_R, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM] = {SPEC_R, SPEC_RM, SPEC_NONE, IMM_NONE},
    [EMU_FORM_RM] = {SPEC_RM, SPEC_NONE, SPEC_NONE, IMM_NONE},
    [EMU_FORM_RM_IMM] = {SPEC_RM, SPEC_IMM, SPEC_NONE, IMM_FULL},
    [EMU_FORM_RM_IMM8] = {SPEC_RM, SPEC_IMM, SPEC_NONE, IMM_BYTE},
    [EMU_FORM_RM_1] = {SPEC_RM, SPEC_IMM, SPEC_NONE, IMM_ONE},
    [EMU_FORM_RM_CL] = {SPEC_RM, SPEC_CL, SPEC_NONE, IMM_NONE},
    [EMU_FORM_A_IMM] = {SPEC_A, SPEC_IMM, SPEC_NONE, IMM_FULL},
    [EMU_FORM_A_MOFFS] = {SPEC_A, SPEC_MEM, SPEC_NONE, IMM_ADDRESS},
    [EMU_FORM_MOFFS_A] = {SPEC_MEM, SPEC_A, SPEC_NONE, IMM_ADDRESS},
    [EMU_FORM_R_RM8] = {SPEC_R, SPEC_RM8, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM16] = {SPEC_R, SPEC_RM16, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM32] = {SPEC_R, SPEC_RM32, SPEC_NONE, IMM_NONE},
    [EMU_FORM_R_RM_IMM] = {SPEC_R, SPEC_RM, SPEC_IMM, IMM_FULL},
    [EMU_FORM_R_RM_IMM8] = {SPEC_R, SPEC_RM, SPEC_IMM, IMM_BYTE},
    [EMU_FORM_RM_R_IMM8] = {SPEC_RM, SPEC_R, SPEC_IMM, IMM_BYTE},
    [EMU_FORM_RM_R_CL] = {SPEC_RM, SPEC_R, SPEC_CL, IMM_NONE},
    [EMU_FORM_RM_SREG] = {SPEC_RM, SPEC_SREG, SPEC_NONE, IMM_NONE},
    [EMU_FORM_A_IMM8] = {SPEC_A, SPEC_IMM, SPEC_NONE, IMM_BYTE},
    [EMU_FORM_A_DX] = {SPEC_A, SPEC_DX, SPEC_NONE, IMM_NONE},
    [EMU_FORM_STRING] = {SPEC_NONE, SPEC_NONE, SPEC_NONE, IMM_NONE},
    [EMU_FORM_XLAT] = {SPEC_NONE, SPEC_NONE, SPEC_NONE, IMM_NONE},
    [EMU_FORM_REX] = {SPEC_NONE, SPEC_NONE, SPEC_NONE, IMM_NONE},
};

EMU_INLINE void operand_set(struct emu_operand *o, enum emu_operand_kind kind, unsigned reg,
                            unsigned size)
{
    o->kind = kind;
    o->reg = reg;
    o->size = size;
}

/* Without any REX, byte registers 4 to 7 are the high halves of 0 to 3. */
EMU_INLINE void operand_reg(struct emu_operand *o, unsigned reg, unsigned size, uint8_t rex)
{
    if (unlikely(size == 1 && !rex && reg >= 4))
        operand_set(o, EMU_OPERAND_REG_HIGH, reg - 4, size);
    else
        operand_set(o, EMU_OPERAND_REG, reg, size);
}

EMU_INLINE void operand_rm(struct emu_operand *o, unsigned rm, bool memory, unsigned size,
                           uint8_t rex)
{
    if (memory)
        operand_set(o, EMU_OPERAND_MEM, 0, size);
    else
        operand_reg(o, rm, size, rex);
}

/* What ModRM and the rest say, for the operands of one instruction. */
struct operand_source {
    unsigned reg, rm; /* with the bits of REX */
    bool memory;
    uint8_t rex;
    unsigned size;
};

static void decode_operand(struct emu_operand *o, unsigned spec, struct operand_source s)
{
    switch (spec) {
    case SPEC_RM:
        return operand_rm(o, s.rm, s.memory, s.size, s.rex);
    case SPEC_RM8:
        return operand_rm(o, s.rm, s.memory, 1, s.rex);
    case SPEC_RM16:
        return operand_rm(o, s.rm, s.memory, 2, s.rex);
    case SPEC_RM32: /* MOVSXD with a 16-bit destination reads 16 bits */
        return operand_rm(o, s.rm, s.memory, MIN(s.size, 4u), s.rex);
    case SPEC_R:
        return operand_reg(o, s.reg, s.size, s.rex);
    case SPEC_A:
        return operand_set(o, EMU_OPERAND_REG, EMU_RAX, s.size);
    case SPEC_CL:
        return operand_set(o, EMU_OPERAND_REG, EMU_RCX, 1);
    case SPEC_DX:
        return operand_set(o, EMU_OPERAND_REG, EMU_RDX, 2);
    case SPEC_SREG: /* in memory a selector has 16 bits, whatever the operand size */
        return operand_set(o, EMU_OPERAND_SEG, s.reg & 7, 2);
    case SPEC_MEM:
        return operand_set(o, EMU_OPERAND_MEM, 0, s.size);
    case SPEC_IMM:
        return operand_set(o, EMU_OPERAND_IMM, 0, s.size);
    default:
        return operand_set(o, EMU_OPERAND_NONE, 0, 0);
    }
}

/* The address in the instruction itself (MOV with a moffs operand). */
EMU_INLINE bool decode_moffs(struct emu_decoder *d)
{
    struct emu_insn *i = d->insn;
    uint64_t address;

    i->base = i->index = EMU_NO_REG;
    i->scale = 0;
    i->seg = d->seg_override != EMU_NO_SEG ? d->seg_override : EMU_DS;
    if (!fetch_unsigned(d, d->addr_size, &address))
        return false;
    i->disp = (int64_t)address;
    return true;
}

EMU_INLINE bool decode_imm(struct emu_decoder *d, unsigned spec, unsigned op_size)
{
    int64_t *imm = &d->insn->imm;

    switch (spec) {
    case IMM_BYTE:
        return fetch_signed8(d, imm);
    case IMM_FULL:
        return op_size >= 4 ? fetch_signed32(d, imm) : fetch_signed(d, op_size, imm);
    case IMM_ADDRESS:
        return decode_moffs(d);
    case IMM_ONE:
        *imm = 1;
        return true;
    default:
        return true;
    }
}

/* Which prefixes and operands make this encoding undefined. */
static bool is_undefined(const struct emu_decoder *d, unsigned flags, bool modrm)
{
    bool memory = modrm && d->modrm >> 6 != MOD_REGISTER;

    if (flags & EMU_OPCODE_UNDEFINED)
        return true;
    if ((flags & EMU_OPCODE_MEMORY) && !memory)
        return true;
    if ((flags & EMU_OPCODE_NOT_LONG) && d->mode == EMU_LONG64)
        return true;
    if ((flags & EMU_OPCODE_NO_PREFIX) &&
        (d->prefixes & (EMU_PREFIX_OPSIZE | EMU_PREFIX_REP | EMU_PREFIX_REPNE)))
        return true;
    if ((flags & EMU_OPCODE_SREG) && (d->modrm >> 3 & 7) >= EMU_NR_SEGS)
        return true;
    /* LOCK needs an operation that may have it, and a destination in memory. */
    return (d->prefixes & EMU_PREFIX_LOCK) &&
           !((flags & EMU_OPCODE_LOCK) && d->insn->dst.kind == EMU_OPERAND_MEM);
}

/* What only a few forms and operations have. */
EMU_INLINE void adjust_special(struct emu_decoder *d, unsigned form, unsigned op)
{
    struct emu_insn *i = d->insn;

    if (form >= EMU_FORM_STRING)
        i->seg = d->seg_override != EMU_NO_SEG ? d->seg_override : EMU_DS;
    if (form == EMU_FORM_RM_SREG && i->dst.kind == EMU_OPERAND_MEM)
        i->dst.size = 2;
    if (op == EMU_OP_CMPXCHG8B)
        i->dst.size = 2 * MAX(i->op_size, 4);
}

/* Returns false when the bytes run out. The two forms that nearly everything has go straight. */
EMU_INLINE bool decode_operands(struct emu_decoder *d, unsigned form, unsigned op, unsigned size)
{
    const struct operand_source s = {
        .reg = (d->modrm >> 3 & 7) | rex_r(d),
        .rm = (d->modrm & 7) | rex_b(d),
        .memory = d->modrm >> 6 != MOD_REGISTER,
        .rex = d->rex,
        .size = size,
    };
    struct emu_insn *i = d->insn;
    const struct form *f = &forms[form];

    if (likely(form <= EMU_FORM_R_RM)) {
        operand_rm(form == EMU_FORM_RM_R ? &i->dst : &i->src, s.rm, s.memory, size, s.rex);
        operand_reg(form == EMU_FORM_RM_R ? &i->src : &i->dst, s.reg, size, s.rex);
        i->src2.kind = EMU_OPERAND_NONE;
        return true;
    }
    if (form == EMU_FORM_RM_IMM) {
        operand_rm(&i->dst, s.rm, s.memory, size, s.rex);
        operand_set(&i->src, EMU_OPERAND_IMM, 0, size);
        return decode_imm(d, IMM_FULL, size);
    }
    decode_operand(&i->dst, f->dst, s);
    decode_operand(&i->src, f->src, s);
    decode_operand(&i->src2, f->src2, s);
    if (!decode_imm(d, f->imm, size))
        return false;
    adjust_special(d, form, op);
    return true;
}

/* The opcode has been read; what follows it, in order: ModRM, displacement, immediate. */
EMU_INLINE enum emu_decoded decode_entry(struct emu_decoder *d, const struct emu_opcode *e)
{
    unsigned form = e->form, flags = e->flags, op = e->op, size;
    bool modrm = form <= EMU_FORM_LAST_MODRM;
    struct emu_insn *i = d->insn;

    if (modrm && !decode_modrm(d))
        return emu_out_of_bytes(d);
    if (op == EMU_OP_UNKNOWN) {
        e = &emu_opcode_groups[e->group][d->modrm >> 3 & 7];
        op = e->op;
        flags |= e->flags;
        form = e->form ? e->form : form;
        if (op == EMU_OP_UNKNOWN)
            return EMU_DECODE_UNKNOWN;
    }
    size = operand_size(d, flags);
    i->op = op;
    i->op_size = size;
    i->addr_size = d->addr_size;
    i->prefixes = d->prefixes;
    if (!decode_operands(d, form, op, size))
        return emu_out_of_bytes(d);
    i->len = d->pos;
    if (unlikely((flags & EMU_OPCODE_RESTRICTED) || (d->prefixes & EMU_PREFIX_LOCK))) {
        const struct emu_decoder copy = *d;

        return is_undefined(&copy, flags, modrm) ? EMU_DECODE_UNDEFINED : EMU_DECODED;
    }
    return EMU_DECODED;
}

/* The three-byte map 0F 38: MOVBE and one vector move; F2 in front makes it CRC32. */
EMU_INLINE const struct emu_opcode *entry_0f38(const struct emu_decoder *d, uint8_t opcode)
{
    static const struct emu_opcode movbe[2] = {
        {EMU_OP_MOVBE, EMU_FORM_R_RM, 0, EMU_OPCODE_MEMORY},
        {EMU_OP_MOVBE, EMU_FORM_RM_R, 0, EMU_OPCODE_MEMORY},
    };
    static const struct emu_opcode movntdqa = {EMU_OP_UNKNOWN, EMU_FORM_VECTOR, EMU_VECTOR_38_2A,
                                               0};
    static const struct emu_opcode unknown = {EMU_OP_UNKNOWN, EMU_FORM_NONE, 0, 0};

    if (opcode == 0x2a)
        return &movntdqa;
    if ((opcode & ~1) == 0xf0 && !(d->prefixes & (EMU_PREFIX_REP | EMU_PREFIX_REPNE)))
        return &movbe[opcode & 1];
    return &unknown;
}

/* What follows 0F; NULL when the bytes run out. */
EMU_INLINE const struct emu_opcode *entry_0f(struct emu_decoder *d)
{
    uint8_t opcode;

    if (!emu_fetch_byte(d, &opcode))
        return NULL;
    if (emu_opcode_map0f[opcode].form != EMU_FORM_ESCAPE) {
        d->insn->opcode = opcode;
        return &emu_opcode_map0f[opcode];
    }
    if (!emu_fetch_byte(d, &opcode))
        return NULL;
    d->insn->opcode = opcode;
    return entry_0f38(d, opcode);
}

/* Vector moves, and what follows C4, C5 or 62, out of the way of the rest. */
static enum emu_decoded decode_vector(struct emu_decoder d, const struct emu_opcode *e,
                                      uint8_t opcode)
{
    d.insn->prefixes = d.prefixes;
    d.insn->addr_size = d.addr_size;
    return e->form == EMU_FORM_VECTOR ? emu_decode_sse(&d, e->group) : emu_decode_vex(&d, opcode);
}

enum emu_decoded emu_decode(enum emu_mode mode, const uint8_t *bytes, unsigned len,
                            struct emu_insn *insn)
{
    struct emu_decoder d = {
        .bytes = bytes,
        .len = MIN(len, (unsigned)EMU_MAX_INSN),
        .mode = mode,
        .seg_override = EMU_NO_SEG,
        .insn = insn,
    };
    const struct emu_opcode *e;
    uint8_t opcode;

    if (!decode_prefixes(&d, &opcode))
        return emu_out_of_bytes(&d);
    insn->opcode = opcode;
    d.addr_size = address_size(&d);
    e = &emu_opcode_map1[opcode];
    if (e->form == EMU_FORM_ESCAPE) {
        e = entry_0f(&d);
        if (!e)
            return emu_out_of_bytes(&d);
    }
    if (unlikely(e->form >= EMU_FORM_VECTOR))
        return decode_vector(d, e, opcode);
    if (opcode == OPCODE_MOVSXD && mode != EMU_LONG64)
        return EMU_DECODE_UNKNOWN; /* ARPL */
    return decode_entry(&d, e);
}
