/*
 * One byte string, decoded by the emulator and by Zydis, and every detail compared. Zydis' known
 * slips are named where they are left out.
 */
#ifndef TESTS_UNIT_EMULATE_ZYDIS_H
#define TESTS_UNIT_EMULATE_ZYDIS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <Zydis/Zydis.h>
#include "emulate/decode.h"
#include "lib/types.h"

#define NR_MODES 5

static const char *const mode_names[NR_MODES] = {"real", "v86", "prot16", "prot32", "long64"};

struct checker {
    ZydisDecoder zydis[NR_MODES];
    uint8_t *exact[EMU_MAX_INSN + 1]; /* heap blocks of just n bytes: ASan sees any over-read */
    unsigned long tried, accepted;
};

struct reference {
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};

static inline void NORETURN mismatch(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                                     const struct reference *z, const char *what, long ours,
                                     long theirs)
{
    fprintf(stderr, "%s:", mode_names[mode]);
    for (unsigned n = 0; n < EMU_MAX_INSN; n++)
        fprintf(stderr, "%s%02x", n == i->len ? " | " : " ", b[n]);
    fprintf(stderr, ": %s %ld (%#lx), Zydis %ld (%#lx) [%s]\n", what, ours, ours, theirs, theirs,
            z ? ZydisMnemonicGetString(z->insn.mnemonic) : "-");
    fail();
    abort();
}

#define SAME(what, ours, theirs)                                         \
    do {                                                                 \
        if ((long)(ours) != (long)(theirs))                              \
            mismatch(mode, b, i, z, what, (long)(ours), (long)(theirs)); \
    } while (0)

static inline unsigned zydis_reg_number(ZydisRegister reg)
{
    if (reg == ZYDIS_REGISTER_NONE)
        return EMU_NO_REG;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return EMU_BASE_RIP;
    return (unsigned)ZydisRegisterGetId(reg);
}

static inline unsigned zydis_segment(ZydisRegister reg)
{
    switch (reg) {
    case ZYDIS_REGISTER_ES:
        return EMU_ES;
    case ZYDIS_REGISTER_CS:
        return EMU_CS;
    case ZYDIS_REGISTER_SS:
        return EMU_SS;
    case ZYDIS_REGISTER_FS:
        return EMU_FS;
    case ZYDIS_REGISTER_GS:
        return EMU_GS;
    default:
        return EMU_DS;
    }
}

static const char *const mnemonics[EMU_NR_OPS] = {
    [EMU_OP_ADD] = "add",         [EMU_OP_OR] = "or",       [EMU_OP_ADC] = "adc",
    [EMU_OP_SBB] = "sbb",         [EMU_OP_AND] = "and",     [EMU_OP_SUB] = "sub",
    [EMU_OP_XOR] = "xor",         [EMU_OP_CMP] = "cmp",     [EMU_OP_ROL] = "rol",
    [EMU_OP_ROR] = "ror",         [EMU_OP_RCL] = "rcl",     [EMU_OP_RCR] = "rcr",
    [EMU_OP_SHL] = "shl",         [EMU_OP_SHR] = "shr",     [EMU_OP_SAR] = "sar",
    [EMU_OP_SHLD] = "shld",       [EMU_OP_SHRD] = "shrd",   [EMU_OP_TEST] = "test",
    [EMU_OP_NOT] = "not",         [EMU_OP_NEG] = "neg",     [EMU_OP_INC] = "inc",
    [EMU_OP_DEC] = "dec",         [EMU_OP_MUL] = "mul",     [EMU_OP_IMUL_WIDE] = "imul",
    [EMU_OP_DIV] = "div",         [EMU_OP_IDIV] = "idiv",   [EMU_OP_IMUL] = "imul",
    [EMU_OP_BT] = "bt",           [EMU_OP_BTS] = "bts",     [EMU_OP_BTR] = "btr",
    [EMU_OP_BTC] = "btc",         [EMU_OP_XCHG] = "xchg",   [EMU_OP_XADD] = "xadd",
    [EMU_OP_CMPXCHG] = "cmpxchg", [EMU_OP_MOVZX] = "movzx", [EMU_OP_MOVBE] = "movbe",
    [EMU_OP_PUSH] = "push",       [EMU_OP_POP] = "pop",     [EMU_OP_CALL] = "call",
    [EMU_OP_JMP] = "jmp",         [EMU_OP_XLAT] = "xlat",   [EMU_OP_IN] = "in",
    [EMU_OP_OUT] = "out",
};

static const char *const conditions[16] = {"o", "no", "b", "nb", "z", "nz", "be", "nbe",
                                           "s", "ns", "p", "np", "l", "nl", "le", "nle"};

/* Operations whose name in Zydis depends on size, prefix or condition. */
static inline bool same_family(const struct emu_insn *i, const char *name)
{
    static const char *const strings[] = {"movs", "cmps", "stos", "lods", "scas", "ins", "outs"};
    bool load = i->op != EMU_OP_VECTOR_STORE && i->op != EMU_OP_VECTOR_STORE_HIGH;

    switch (i->op) {
    case EMU_OP_MOV:
        return strcmp(name, "mov") == 0 || strcmp(name, "movnti") == 0;
    case EMU_OP_MOVSX:
        return strcmp(name, "movsx") == 0 || strcmp(name, "movsxd") == 0;
    case EMU_OP_CMPXCHG8B:
        return strcmp(name, i->dst.size == 16 ? "cmpxchg16b" : "cmpxchg8b") == 0;
    case EMU_OP_SETCC:
        return strncmp(name, "set", 3) == 0 && strcmp(name + 3, conditions[i->opcode & 15]) == 0;
    case EMU_OP_CMOVCC:
        return strncmp(name, "cmov", 4) == 0 && strcmp(name + 4, conditions[i->opcode & 15]) == 0;
    default:
        break;
    }
    if (i->op >= EMU_OP_MOVS && i->op <= EMU_OP_OUTS)
        return strncmp(name, strings[i->op - EMU_OP_MOVS], 3) == 0;
    name += *name == 'v';
    if (strncmp(name, "movh", 4) == 0)
        return i->op == (load ? EMU_OP_VECTOR_LOAD_HIGH : EMU_OP_VECTOR_STORE_HIGH);
    if (strncmp(name, "movl", 4) == 0)
        return i->op == (load ? EMU_OP_VECTOR_LOAD_LOW : EMU_OP_VECTOR_STORE);
    if (i->aligned != (strncmp(name, "mova", 4) == 0 || strncmp(name, "movdqa", 6) == 0 ||
                       strncmp(name, "movnt", 5) == 0))
        return false;
    return strncmp(name, "mov", 3) == 0 || strcmp(name, "lddqu") == 0;
}

static inline bool same_operation(const struct emu_insn *i, const struct reference *z)
{
    const char *name = ZydisMnemonicGetString(z->insn.mnemonic);

    return mnemonics[i->op] ? strcmp(name, mnemonics[i->op]) == 0 : same_family(i, name);
}

static inline void check_memory(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                                const struct reference *z, const ZydisDecodedOperand *o)
{
    uint64_t mask = UINT64_MAX >> (64 - 8 * i->addr_size);
    unsigned base = zydis_reg_number(o->mem.base);
    int64_t disp = o->mem.disp.value;

    /* Zydis 4.0 makes R13D of [index + disp32] with 67 and REX.B; processors use no base. */
    if (i->addr_size == 4 && base == EMU_R13 && z->insn.raw.modrm.mod == 0) {
        base = EMU_NO_REG;
        disp = z->insn.raw.disp.value;
    }
    SAME("operand type", o->type, ZYDIS_OPERAND_TYPE_MEMORY);
    /* With CET a 3E prefix on an indirect branch is NOTRACK and no override; we have no CET. */
    if (!(z->insn.attributes & ZYDIS_ATTRIB_HAS_NOTRACK))
        SAME("segment", i->seg, zydis_segment(o->mem.segment));
    SAME("base", i->base, base);
    SAME("index", i->index, zydis_reg_number(o->mem.index));
    if (i->index != EMU_NO_REG)
        SAME("scale", 1 << i->scale, o->mem.scale);
    SAME("displacement", i->disp & mask, disp & mask);
}

static inline void check_register(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                                  const struct reference *z, const struct emu_operand *ours,
                                  const ZydisDecodedOperand *o)
{
    ZydisRegister reg = o->reg.value;
    unsigned number = ours->reg;

    SAME("operand type", o->type, ZYDIS_OPERAND_TYPE_REGISTER);
    if (ours->kind == EMU_OPERAND_SEG) {
        SAME("selector", ours->reg, zydis_segment(reg));
        return;
    }
    if (ours->kind == EMU_OPERAND_VECTOR) {
        SAME("vector register", ours->reg, ZydisRegisterGetId(reg));
        return;
    }
    if (ours->kind == EMU_OPERAND_REG_HIGH) {
        SAME("high register", ZYDIS_REGISTER_AH + (int)number, reg);
        return;
    }
    if (ours->size == 1) { /* Zydis counts AL..BL, AH..BH, SPL..DIL, R8B.. */
        SAME("byte register", ZYDIS_REGISTER_AL + (int)(number < 4 ? number : number + 4), reg);
        return;
    }
    SAME("register", number, ZydisRegisterGetId(reg));
}

static inline void check_operand(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                                 const struct reference *z, const struct emu_operand *ours,
                                 const ZydisDecodedOperand *o)
{
    uint64_t mask;

    switch (ours->kind) {
    case EMU_OPERAND_MEM:
        check_memory(mode, b, i, z, o);
        break;
    case EMU_OPERAND_IMM:
        SAME("operand type", o->type, ZYDIS_OPERAND_TYPE_IMMEDIATE);
        mask = UINT64_MAX >> (64 - 8 * ours->size);
        if (o->size < 8 * ours->size && !o->imm.is_signed)
            mask = UINT64_MAX >> (64 - o->size); /* bit and shift counts */
        SAME("immediate", i->imm & mask, o->imm.value.u & mask);
        return;
    default:
        check_register(mode, b, i, z, ours, o);
        break;
    }
    /* Of a vector register Zydis means the part that is used. A 16-bit MOVSXD reads 16 bits in
     * the SDM, 32 in Zydis. */
    if (ours->kind != EMU_OPERAND_VECTOR && !(i->op == EMU_OP_MOVSX && i->op_size == 2))
        SAME("operand size", 8 * ours->size, o->size);
}

/* String instructions have hidden operands in Zydis: the source's segment is what can vary. */
static inline void check_string(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                                const struct reference *z)
{
    for (unsigned n = 0; n < z->insn.operand_count; n++) {
        const ZydisDecodedOperand *o = &z->ops[n];

        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        SAME("string operand size", 8 * i->op_size, o->size);
        if (ZydisRegisterGetId(o->mem.base) == EMU_RSI)
            SAME("string segment", i->seg, zydis_segment(o->mem.segment));
        else
            SAME("destination segment", EMU_ES, zydis_segment(o->mem.segment));
    }
    SAME("repeat prefix", !!(i->prefixes & (EMU_PREFIX_REP | EMU_PREFIX_REPNE)),
         !!(z->insn.attributes &
            (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)));
}

static inline void check_operands(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                                  const struct reference *z)
{
    const struct emu_operand *ours[3] = {&i->dst, &i->src, &i->src2};
    bool swapped = i->op == EMU_OP_OUT; /* its accumulator is our dst, but comes second */
    unsigned n = 0;

    if (i->op >= EMU_OP_MOVS && i->op <= EMU_OP_OUTS) {
        check_string(mode, b, i, z);
        return;
    }
    if (i->op == EMU_OP_XLAT) {
        for (unsigned k = 0; k < z->insn.operand_count; k++) {
            if (z->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
                SAME("segment", i->seg, zydis_segment(z->ops[k].mem.segment));
        }
        return;
    }
    for (unsigned k = 0; k < 3 && ours[k]->kind != EMU_OPERAND_NONE; k++, n++) {
        const ZydisDecodedOperand *theirs = &z->ops[swapped ? 1 - k : n];

        if (theirs->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(theirs->reg.value) == ZYDIS_REGCLASS_MASK)
            theirs = &z->ops[++n]; /* EVEX: k0, no masking */
        /* MOVLPS and MOVHPS as VEX loads have the merged register in between. */
        if (k == 1 && (i->op == EMU_OP_VECTOR_LOAD_LOW || i->op == EMU_OP_VECTOR_LOAD_HIGH) &&
            (i->prefixes & EMU_PREFIX_VEX)) {
            SAME("merged register", i->vvvv, ZydisRegisterGetId(theirs->reg.value));
            theirs = &z->ops[++n];
        }
        check_operand(mode, b, i, z, ours[k], theirs);
    }
}

/*
 * Zydis gives vector moves, MOVNTI, and what ignores it, an operand size of their own. What the
 * operands themselves have is compared in any case.
 */
static inline bool has_operand_width(const struct emu_insn *i)
{
    return i->op < EMU_OP_VECTOR_LOAD && i->op != EMU_OP_IN && i->op != EMU_OP_OUT &&
           i->op != EMU_OP_INS && i->op != EMU_OP_OUTS && i->op_size > 1 &&
           i->op != EMU_OP_CMPXCHG8B && !(i->op == EMU_OP_MOV && i->opcode == 0xc3);
}

static inline void compare(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                           const struct reference *z)
{
    if (!same_operation(i, z))
        mismatch(mode, b, i, z, "operation", i->op, z->insn.mnemonic);
    SAME("length", i->len, z->insn.length);
    SAME("address size", 8 * i->addr_size, z->insn.address_width);
    if (has_operand_width(i))
        SAME("operand size", 8 * i->op_size, z->insn.operand_width);
    check_operands(mode, b, i, z);
}

/* One byte string: our verdict, and if we accept it, Zydis' agreement. */
static inline enum emu_decoded check(struct checker *k, enum emu_mode mode, const uint8_t *b)
{
    struct emu_insn insn = {0}, *i = &insn;
    struct reference ref, *z = NULL;
    enum emu_decoded r;
    ZyanStatus status;

    memcpy(k->exact[EMU_MAX_INSN], b, EMU_MAX_INSN);
    r = emu_decode(mode, k->exact[EMU_MAX_INSN], EMU_MAX_INSN, i);
    k->tried++;
    if (r == EMU_DECODE_NEED_MORE)
        mismatch(mode, b, i, z, "wants more than 15 bytes", r, 0);
    if (r == EMU_DECODE_UNKNOWN)
        return r;
    status = ZydisDecoderDecodeFull(&k->zydis[mode], b, EMU_MAX_INSN, &ref.insn, ref.ops);
    if (r != EMU_DECODED) {
        if (ZYAN_SUCCESS(status) && ref.insn.encoding != ZYDIS_INSTRUCTION_ENCODING_XOP)
            mismatch(mode, b, i, &ref, "refused", r, 0);
        return r;
    }
    if (!ZYAN_SUCCESS(status))
        mismatch(mode, b, i, NULL, "accepted", i->op, (long)status);
    k->accepted++;
    compare(mode, b, i, &ref);
    return r;
}

static inline bool same_operand(const struct emu_operand *a, const struct emu_operand *b)
{
    if (a->kind == EMU_OPERAND_NONE || a->kind != b->kind)
        return a->kind == b->kind;
    if (a->size != b->size)
        return false;
    return a->kind == EMU_OPERAND_MEM || a->kind == EMU_OPERAND_IMM || a->reg == b->reg;
}

/* The same, as far as it means anything for this operation. */
static inline bool same_insn(const struct emu_insn *a, const struct emu_insn *b)
{
    bool memory = a->dst.kind == EMU_OPERAND_MEM || a->src.kind == EMU_OPERAND_MEM;
    bool imm = a->src.kind == EMU_OPERAND_IMM || a->src2.kind == EMU_OPERAND_IMM;

    if (a->op != b->op || a->opcode != b->opcode || a->len != b->len ||
        a->prefixes != b->prefixes || a->op_size != b->op_size || a->addr_size != b->addr_size)
        return false;
    if (memory && (a->seg != b->seg || a->base != b->base || a->index != b->index ||
                   a->scale != b->scale || a->disp != b->disp))
        return false;
    if (imm && a->imm != b->imm)
        return false;
    return same_operand(&a->dst, &b->dst) && same_operand(&a->src, &b->src) &&
           same_operand(&a->src2, &b->src2);
}

/*
 * Given just its own bytes, an instruction goes through the general decoder; given 15 it may have
 * taken the shortcut. Both must say the same. Every shorter string must ask for more, and
 * none may be read past its end.
 */
static inline void check_truncated(struct checker *k, enum emu_mode mode, const uint8_t *b)
{
    struct emu_insn insn = {0}, whole, *i = &insn;
    const struct reference *z = NULL;
    unsigned len;

    if (emu_decode(mode, b, EMU_MAX_INSN, i) != EMU_DECODED)
        return;
    whole = *i;
    len = i->len;
    for (unsigned n = 0; n < len; n++) {
        memcpy(k->exact[n], b, n);
        SAME("truncated", emu_decode(mode, k->exact[n], n, i), EMU_DECODE_NEED_MORE);
    }
    memcpy(k->exact[len], b, len);
    SAME("exact", emu_decode(mode, k->exact[len], len, i), EMU_DECODED);
    SAME("shortcut", same_insn(&whole, i), true);
}

static inline int setup(void **state)
{
    static const ZydisMachineMode modes[NR_MODES] = {
        ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_MACHINE_MODE_LEGACY_16,
        ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth stacks[NR_MODES] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_16,
                                                     ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                                     ZYDIS_STACK_WIDTH_64};
    struct checker *k = calloc(1, sizeof(*k));

    for (unsigned n = 0; n < NR_MODES; n++)
        ZydisDecoderInit(&k->zydis[n], modes[n], stacks[n]);
    for (unsigned n = 0; n <= EMU_MAX_INSN; n++)
        k->exact[n] = malloc(n ? n : 1);
    *state = k;
    return 0;
}

static inline int teardown(void **state)
{
    struct checker *k = *state;

    for (unsigned n = 0; n <= EMU_MAX_INSN; n++)
        free(k->exact[n]);
    free(k);
    return 0;
}

#endif
