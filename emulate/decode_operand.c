/* Decoding operands: what each form of instruction has, and immediates. */
#include "emulate/decoder.h"

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
};

static void operand_set(struct emu_operand *o, enum emu_operand_kind kind, unsigned reg,
                        unsigned size)
{
    o->kind = kind;
    o->reg = reg;
    o->size = size;
}

/* Without any REX, byte registers 4 to 7 are the high halves of 0 to 3. */
static void operand_reg(struct emu_operand *o, unsigned reg, unsigned size, uint8_t rex)
{
    if (unlikely(size == 1 && !rex && reg >= 4))
        operand_set(o, EMU_OPERAND_REG_HIGH, reg - 4, size);
    else
        operand_set(o, EMU_OPERAND_REG, reg, size);
}

static void operand_rm(struct emu_operand *o, unsigned rm, bool memory, unsigned size, uint8_t rex)
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

static uint64_t fetch_address(struct emu_decoder *d)
{
    uint64_t low;

    if (d->insn->addr_size == 2)
        return emu_fetch16(d);
    low = emu_fetch32(d);
    return d->insn->addr_size == 8 ? low | (uint64_t)emu_fetch32(d) << 32 : low;
}

/* The address in the instruction itself (MOV with a moffs operand). */
static void decode_moffs(struct emu_decoder *d)
{
    struct emu_insn *i = d->insn;

    i->base = i->index = EMU_NO_REG;
    i->scale = 0;
    i->seg = d->seg_override != EMU_NO_SEG ? d->seg_override : EMU_DS;
    i->disp = (int64_t)fetch_address(d);
}

static void decode_imm(struct emu_decoder *d, unsigned spec)
{
    struct emu_insn *i = d->insn;

    switch (spec) {
    case IMM_BYTE:
        i->imm = (int8_t)emu_fetch8(d);
        return;
    case IMM_FULL:
        i->imm = emu_fetch_signed(d, i->op_size);
        return;
    case IMM_ADDRESS:
        decode_moffs(d);
        return;
    case IMM_ONE:
        i->imm = 1;
        return;
    default:
        return;
    }
}

/* What only a few forms and operations have. */
static void adjust_special(struct emu_decoder *d, unsigned form)
{
    struct emu_insn *i = d->insn;

    if (form >= EMU_FORM_STRING)
        i->seg = d->seg_override != EMU_NO_SEG ? d->seg_override : EMU_DS;
    if (form == EMU_FORM_RM_SREG && i->dst.kind == EMU_OPERAND_MEM)
        i->dst.size = 2;
    if (i->op == EMU_OP_CMPXCHG8B)
        i->dst.size = 2 * MAX(i->op_size, 4);
}

void emu_decode_operands(struct emu_decoder *d, enum emu_form form)
{
    struct emu_insn *i = d->insn;
    const struct form *f = &forms[form];
    const struct operand_source s = {
        .reg = (d->modrm >> 3 & 7) | emu_rex_r(d),
        .rm = (d->modrm & 7) | emu_rex_b(d),
        .memory = d->modrm >> 6 != EMU_MOD_REGISTER,
        .rex = d->rex,
        .size = i->op_size,
    };

    decode_operand(&i->dst, f->dst, s);
    decode_operand(&i->src, f->src, s);
    decode_operand(&i->src2, f->src2, s);
    decode_imm(d, f->imm);
    adjust_special(d, form);
}
