/*
 * The instruction decoder against Zydis: whatever it accepts, Zydis must accept with the same
 * length, operation, sizes, registers, immediate and memory operand. What it must accept is in
 * a list of its own, so that refusing everything does not pass.
 */
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

static void NORETURN mismatch(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
                              const struct reference *z, const char *what, long ours, long theirs)
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

static unsigned zydis_reg_number(ZydisRegister reg)
{
    if (reg == ZYDIS_REGISTER_NONE)
        return EMU_NO_REG;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return EMU_BASE_RIP;
    return (unsigned)ZydisRegisterGetId(reg);
}

static unsigned zydis_segment(ZydisRegister reg)
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
static bool same_family(const struct emu_insn *i, const char *name)
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

static bool same_operation(const struct emu_insn *i, const struct reference *z)
{
    const char *name = ZydisMnemonicGetString(z->insn.mnemonic);

    return mnemonics[i->op] ? strcmp(name, mnemonics[i->op]) == 0 : same_family(i, name);
}

static void check_memory(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
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

static void check_register(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
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

static void check_operand(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
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
static void check_string(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
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

static void check_operands(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
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
static bool has_operand_width(const struct emu_insn *i)
{
    return i->op < EMU_OP_VECTOR_LOAD && i->op != EMU_OP_IN && i->op != EMU_OP_OUT &&
           i->op != EMU_OP_INS && i->op != EMU_OP_OUTS && i->op_size > 1 &&
           i->op != EMU_OP_CMPXCHG8B && !(i->op == EMU_OP_MOV && i->opcode == 0xc3);
}

static void compare(enum emu_mode mode, const uint8_t *b, const struct emu_insn *i,
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
static enum emu_decoded check(struct checker *k, enum emu_mode mode, const uint8_t *b)
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

static bool same_operand(const struct emu_operand *a, const struct emu_operand *b)
{
    if (a->kind == EMU_OPERAND_NONE || a->kind != b->kind)
        return a->kind == b->kind;
    if (a->size != b->size)
        return false;
    return a->kind == EMU_OPERAND_MEM || a->kind == EMU_OPERAND_IMM || a->reg == b->reg;
}

/* The same, as far as it means anything for this operation. */
static bool same_insn(const struct emu_insn *a, const struct emu_insn *b)
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
static void check_truncated(struct checker *k, enum emu_mode mode, const uint8_t *b)
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

static int setup(void **state)
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

static int teardown(void **state)
{
    struct checker *k = *state;

    for (unsigned n = 0; n <= EMU_MAX_INSN; n++)
        free(k->exact[n]);
    free(k);
    return 0;
}

/* ------------------------------------------------------------------ what must be accepted */

static const struct {
    enum emu_mode mode;
    const char *bytes;
    enum emu_op op;
} supported[] = {
#define L EMU_LONG64
#define P EMU_PROT32
#define R EMU_REAL
    {L, "88 07", EMU_OP_MOV},
    {L, "89 07", EMU_OP_MOV},
    {L, "48 8b 04 25 00 00 e0 fe", EMU_OP_MOV},
    {L, "8a 07", EMU_OP_MOV},
    {L, "66 8b 47 10", EMU_OP_MOV},
    {L, "8b 05 10 00 00 00", EMU_OP_MOV},
    {L, "c6 07 01", EMU_OP_MOV},
    {L, "c7 07 01 02 03 04", EMU_OP_MOV},
    {L, "48 c7 07 01 02 03 84", EMU_OP_MOV},
    {L, "66 c7 07 01 02", EMU_OP_MOV},
    {L, "a1 01 02 03 04 05 06 07 08", EMU_OP_MOV},
    {L, "67 a2 01 02 03 04", EMU_OP_MOV},
    {P, "a0 01 02 03 04", EMU_OP_MOV},
    {P, "67 a3 01 02", EMU_OP_MOV},
    {R, "a1 01 02", EMU_OP_MOV},
    {L, "8c 1f", EMU_OP_MOV},
    {R, "26 8c 0e 34 12", EMU_OP_MOV},
    {R, "8b 40 10", EMU_OP_MOV},
    {R, "67 66 8b 04 8d 01 02 03 04", EMU_OP_MOV},
    {L, "0f b6 07", EMU_OP_MOVZX},
    {L, "0f b7 07", EMU_OP_MOVZX},
    {L, "48 0f be 07", EMU_OP_MOVSX},
    {L, "0f bf 07", EMU_OP_MOVSX},
    {L, "48 63 07", EMU_OP_MOVSX},
    {L, "0f c3 07", EMU_OP_MOV},
    {L, "48 0f c3 07", EMU_OP_MOV},
    {L, "0f 38 f0 07", EMU_OP_MOVBE},
    {L, "66 0f 38 f1 07", EMU_OP_MOVBE},
    {L, "00 07", EMU_OP_ADD},
    {L, "01 07", EMU_OP_ADD},
    {L, "02 07", EMU_OP_ADD},
    {L, "03 07", EMU_OP_ADD},
    {L, "09 07", EMU_OP_OR},
    {L, "0b 07", EMU_OP_OR},
    {L, "11 07", EMU_OP_ADC},
    {L, "13 07", EMU_OP_ADC},
    {L, "19 07", EMU_OP_SBB},
    {L, "1b 07", EMU_OP_SBB},
    {L, "21 07", EMU_OP_AND},
    {L, "23 07", EMU_OP_AND},
    {L, "29 07", EMU_OP_SUB},
    {L, "2b 07", EMU_OP_SUB},
    {L, "31 07", EMU_OP_XOR},
    {L, "33 07", EMU_OP_XOR},
    {L, "39 07", EMU_OP_CMP},
    {L, "3b 07", EMU_OP_CMP},
    {L, "80 07 01", EMU_OP_ADD},
    {L, "81 0f 01 02 03 04", EMU_OP_OR},
    {L, "83 17 ff", EMU_OP_ADC},
    {L, "f0 83 1f 01", EMU_OP_SBB},
    {L, "83 27 01", EMU_OP_AND},
    {L, "83 2f 01", EMU_OP_SUB},
    {L, "83 37 01", EMU_OP_XOR},
    {L, "83 3f 01", EMU_OP_CMP},
    {P, "82 3f 01", EMU_OP_CMP},
    {L, "84 07", EMU_OP_TEST},
    {L, "85 07", EMU_OP_TEST},
    {L, "f6 07 01", EMU_OP_TEST},
    {L, "f7 07 01 02 03 04", EMU_OP_TEST},
    {L, "f0 f7 17", EMU_OP_NOT},
    {L, "f0 f6 1f", EMU_OP_NEG},
    {L, "f0 fe 07", EMU_OP_INC},
    {L, "ff 0f", EMU_OP_DEC},
    {L, "86 07", EMU_OP_XCHG},
    {L, "f0 87 07", EMU_OP_XCHG},
    {L, "f0 0f c0 07", EMU_OP_XADD},
    {L, "0f c1 07", EMU_OP_XADD},
    {L, "f0 0f b0 0f", EMU_OP_CMPXCHG},
    {L, "f0 48 0f b1 0f", EMU_OP_CMPXCHG},
    {L, "f0 0f c7 0f", EMU_OP_CMPXCHG8B},
    {L, "f0 48 0f c7 0f", EMU_OP_CMPXCHG8B},
    {P, "0f c7 0f", EMU_OP_CMPXCHG8B},
    {L, "0f a3 07", EMU_OP_BT},
    {L, "f0 0f ab 07", EMU_OP_BTS},
    {L, "0f b3 07", EMU_OP_BTR},
    {L, "0f bb 07", EMU_OP_BTC},
    {L, "0f ba 27 01", EMU_OP_BT},
    {L, "f0 0f ba 2f 01", EMU_OP_BTS},
    {L, "0f ba 37 01", EMU_OP_BTR},
    {L, "0f ba 3f 01", EMU_OP_BTC},
    {L, "c0 07 03", EMU_OP_ROL},
    {L, "c1 0f 03", EMU_OP_ROR},
    {L, "d0 17", EMU_OP_RCL},
    {L, "d1 1f", EMU_OP_RCR},
    {L, "d2 27", EMU_OP_SHL},
    {L, "d3 2f", EMU_OP_SHR},
    {L, "c1 37 02", EMU_OP_SHL},
    {L, "48 c1 3f 02", EMU_OP_SAR},
    {L, "0f a4 07 05", EMU_OP_SHLD},
    {L, "0f a5 07", EMU_OP_SHLD},
    {L, "0f ac 07 05", EMU_OP_SHRD},
    {L, "0f ad 07", EMU_OP_SHRD},
    {L, "f6 27", EMU_OP_MUL},
    {L, "f7 2f", EMU_OP_IMUL_WIDE},
    {L, "f7 37", EMU_OP_DIV},
    {L, "48 f7 3f", EMU_OP_IDIV},
    {L, "0f af 07", EMU_OP_IMUL},
    {L, "69 07 01 02 03 04", EMU_OP_IMUL},
    {L, "6b 07 01", EMU_OP_IMUL},
    {L, "ff 37", EMU_OP_PUSH},
    {L, "66 ff 37", EMU_OP_PUSH},
    {L, "8f 07", EMU_OP_POP},
    {L, "ff 17", EMU_OP_CALL},
    {L, "ff 27", EMU_OP_JMP},
    {P, "ff 27", EMU_OP_JMP},
    {R, "ff 16 00 10", EMU_OP_CALL},
    {L, "0f 94 07", EMU_OP_SETCC},
    {L, "0f 44 07", EMU_OP_CMOVCC},
    {R, "d7", EMU_OP_XLAT},
    {L, "a4", EMU_OP_MOVS},
    {L, "f3 48 a5", EMU_OP_MOVS},
    {L, "f3 aa", EMU_OP_STOS},
    {R, "66 ab", EMU_OP_STOS},
    {R, "26 ac", EMU_OP_LODS},
    {L, "ad", EMU_OP_LODS},
    {L, "f3 a6", EMU_OP_CMPS},
    {L, "67 f2 af", EMU_OP_SCAS},
    {L, "f3 6c", EMU_OP_INS},
    {L, "f3 66 6d", EMU_OP_INS},
    {R, "f3 2e 6e", EMU_OP_OUTS},
    {P, "6f", EMU_OP_OUTS},
    {L, "e4 60", EMU_OP_IN},
    {L, "ed", EMU_OP_IN},
    {L, "e7 80", EMU_OP_OUT},
    {R, "ee", EMU_OP_OUT},
    {L, "0f 10 07", EMU_OP_VECTOR_LOAD},
    {L, "66 0f 11 07", EMU_OP_VECTOR_STORE},
    {L, "f3 0f 10 07", EMU_OP_VECTOR_LOAD},
    {L, "f2 0f 11 07", EMU_OP_VECTOR_STORE},
    {L, "0f 28 07", EMU_OP_VECTOR_LOAD},
    {L, "66 0f 29 07", EMU_OP_VECTOR_STORE},
    {L, "0f 2b 07", EMU_OP_VECTOR_STORE},
    {L, "66 0f 6f 07", EMU_OP_VECTOR_LOAD},
    {L, "f3 44 0f 6f 07", EMU_OP_VECTOR_LOAD},
    {L, "66 0f 7f 07", EMU_OP_VECTOR_STORE},
    {L, "f3 0f 7f 07", EMU_OP_VECTOR_STORE},
    {L, "66 0f e7 07", EMU_OP_VECTOR_STORE},
    {L, "66 0f 6e 07", EMU_OP_VECTOR_LOAD},
    {L, "66 48 0f 7e 07", EMU_OP_VECTOR_STORE},
    {L, "f3 0f 7e 07", EMU_OP_VECTOR_LOAD},
    {L, "66 0f d6 07", EMU_OP_VECTOR_STORE},
    {L, "0f 12 07", EMU_OP_VECTOR_LOAD_LOW},
    {L, "66 0f 16 07", EMU_OP_VECTOR_LOAD_HIGH},
    {L, "0f 13 07", EMU_OP_VECTOR_STORE},
    {L, "0f 17 07", EMU_OP_VECTOR_STORE_HIGH},
    {L, "66 0f 38 2a 07", EMU_OP_VECTOR_LOAD},
    {L, "f2 0f f0 07", EMU_OP_VECTOR_LOAD},
    {L, "c5 fe 6f 07", EMU_OP_VECTOR_LOAD},
    {L, "c5 fd 7f 07", EMU_OP_VECTOR_STORE},
    {L, "c4 c1 7a 6f 00", EMU_OP_VECTOR_LOAD},
    {P, "c5 f8 10 07", EMU_OP_VECTOR_LOAD},
    {L, "c5 fd e7 07", EMU_OP_VECTOR_STORE},
    {L, "c4 e1 f9 6e 07", EMU_OP_VECTOR_LOAD},
    {L, "c5 fa 11 07", EMU_OP_VECTOR_STORE},
    {L, "c5 f0 16 07", EMU_OP_VECTOR_LOAD_HIGH},
    {L, "62 f1 fe 48 6f 07", EMU_OP_VECTOR_LOAD},
    {L, "62 e1 7f 48 7f 47 02", EMU_OP_VECTOR_STORE},
    {L, "62 f1 7d 48 e7 07", EMU_OP_VECTOR_STORE},
#undef L
#undef P
#undef R
};

/* Bytes from "0f b6 07", the rest filled with nops. */
static void parse(const char *text, uint8_t *b)
{
    unsigned n = 0;
    char *end;

    memset(b, 0x90, EMU_MAX_INSN);
    for (; *text; text = end)
        b[n++] = (uint8_t)strtoul(text, &end, 16);
}

static void test_supported(void **state)
{
    uint8_t b[EMU_MAX_INSN];
    struct emu_insn i;

    for (unsigned n = 0; n < ARRAY_SIZE(supported); n++) {
        parse(supported[n].bytes, b);
        if (check(*state, supported[n].mode, b) != EMU_DECODED)
            fail_msg("must be supported: %s", supported[n].bytes);
        assert_int_equal(emu_decode(supported[n].mode, b, EMU_MAX_INSN, &i), EMU_DECODED);
        assert_int_equal(i.len, (strlen(supported[n].bytes) + 1) / 3);
        if (i.op != supported[n].op)
            fail_msg("wrong operation: %s", supported[n].bytes);
        check_truncated(*state, supported[n].mode, b);
    }
}

/* What the architecture does not define, or forbids with LOCK. */
static void test_undefined(void **state)
{
    static const char *const undefined[] = {
        "f0 88 07",    "f0 8b 07",    "f0 03 07",    "f0 01 c0",    "f0 83 3f 01",
        "f0 0f a3 07", "f0 a4",       "f0 0f 10 07", "f0 c5 fe 6f", "66 c5 fe 6f 07",
        "48 c5 fe 6f", "c5 ee 6f 07", "fe 17",       "ff 3f",       "8c 37",
        "0f ba 07 01", "c6 0f 01",    "f3 0f c3 07", "82 00 01",    "0f c3 c0",
    };
    static const uint8_t prefixes[EMU_MAX_INSN] = {[0 ... 14] = 0x2e};
    uint8_t b[EMU_MAX_INSN];

    for (unsigned n = 0; n < ARRAY_SIZE(undefined); n++) {
        parse(undefined[n], b);
        if (check(*state, EMU_LONG64, b) != EMU_DECODE_UNDEFINED)
            fail_msg("must be undefined: %s", undefined[n]);
    }
    assert_int_equal(check(*state, EMU_LONG64, prefixes), EMU_DECODE_TOO_LONG);
}

/* ------------------------------------------------------------------ systematic */

static const uint8_t modrm_samples[] = {0x00, 0x04, 0x05, 0x06, 0x0d, 0x14, 0x1c, 0x25, 0x2e,
                                        0x33, 0x3b, 0x44, 0x45, 0x4e, 0x54, 0x6d, 0x7c, 0x84,
                                        0x85, 0x8e, 0x9c, 0xb5, 0xc0, 0xc4, 0xd1, 0xe6, 0xfd};

static const char *const prefix_samples[] = {
    "66",       "67",       "f0",       "f2",    "f3",       "2e",       "36",
    "3e",       "26",       "64",       "65",    "66 67",    "66 f2",    "f3 66",
    "f2 f3",    "f3 f2",    "f0 66",    "64 2e", "2e 65",    "40",       "41",
    "42",       "44",       "48",       "4f",    "66 48",    "48 66",    "f3 49",
    "f2 4c",    "66 44",    "66 41",    "f0 48", "67 43",    "40 48",    "67 65 48",
    "48 26 44", "f3 67 48", "66 f3 44", "67 f2", "f0 67 44", "66 66 66", "f0 f0",
};

/* Prefixes, opcode and ModRM are placed; the rest is filled with bytes that tell positions. */
static void try_one(struct checker *k, enum emu_mode mode, const uint8_t *prefix, unsigned np,
                    unsigned map, unsigned opcode, unsigned modrm, unsigned sib)
{
    static const uint8_t filler[EMU_MAX_INSN] = {0x81, 0x22, 0x43, 0xe4, 0x15, 0x76, 0x97, 0x38,
                                                 0xa9, 0x5a, 0x6b, 0x0c, 0x2d, 0x4e, 0x6f};
    uint8_t b[EMU_MAX_INSN];
    unsigned n = np;

    memcpy(b, filler, sizeof(b));
    memcpy(b, prefix, np);
    if (map >= 1)
        b[n++] = 0x0f;
    if (map >= 2)
        b[n++] = map == 2 ? 0x38 : 0x3a;
    b[n++] = (uint8_t)opcode;
    b[n++] = (uint8_t)modrm;
    b[n++] = (uint8_t)sib;
    if (check(k, mode, b) == EMU_DECODED && (opcode + modrm) % 8 == 0)
        check_truncated(k, mode, b);
}

static void try_modrms(struct checker *k, enum emu_mode mode, const uint8_t *prefix, unsigned np,
                       unsigned map, unsigned opcode)
{
    if (np == 0) {
        for (unsigned m = 0; m < 256; m++)
            try_one(k, mode, prefix, np, map, opcode, m, (m * 37 + 0x25) & 0xff);
        return;
    }
    for (unsigned m = 0; m < ARRAY_SIZE(modrm_samples); m++) {
        try_one(k, mode, prefix, np, map, opcode, modrm_samples[m], 0x25);
        try_one(k, mode, prefix, np, map, opcode, modrm_samples[m], (opcode * 41 + m * 7) & 0xff);
    }
}

static void test_systematic(void **state)
{
    struct checker *k = *state;
    uint8_t prefix[EMU_MAX_INSN];

    for (unsigned mode = 0; mode < NR_MODES; mode++) {
        for (unsigned n = 0; n < 4 * 256; n++) {
            try_modrms(k, mode, prefix, 0, n >> 8, n & 0xff);
            for (unsigned p = 0; p < ARRAY_SIZE(prefix_samples); p++) {
                parse(prefix_samples[p], prefix);
                try_modrms(k, mode, prefix, (unsigned)(strlen(prefix_samples[p]) + 1) / 3, n >> 8,
                           n & 0xff);
            }
        }
    }
    printf("%lu tried, %lu accepted\n", k->tried, k->accepted);
    assert_true(k->accepted > 500000);
}

static void test_sib(void **state)
{
    uint8_t b[EMU_MAX_INSN] = {0, 0x8b, 0, 0, 0x11, 0x22, 0x33, 0x84};

    for (unsigned rex = 0x40; rex < 0x50; rex++) {
        for (unsigned n = 0; n < 3 * 256; n++) {
            b[0] = (uint8_t)rex;
            b[2] = (uint8_t)((n >> 8) << 6 | 4);
            b[3] = (uint8_t)n;
            assert_int_equal(check(*state, EMU_LONG64, b), EMU_DECODED);
            b[0] = 0x36;
            assert_int_equal(check(*state, EMU_PROT32, b), EMU_DECODED);
        }
    }
}

static void test_vex(void **state)
{
    struct checker *k = *state;
    uint8_t b[EMU_MAX_INSN] = {[5] = 0x81, 0x92, 0x23, 0x34, 0x45, 0x56, 0x67};
    unsigned long before = k->accepted;

    for (unsigned n = 0; n < 256 * 256; n++) {
        for (unsigned m = 0; m < ARRAY_SIZE(modrm_samples); m += 3) {
            uint8_t two[4] = {0xc5, (uint8_t)n, (uint8_t)(n >> 8), modrm_samples[m]};
            uint8_t three[5] = {0xc4, (uint8_t)(((n * 7 + m) & 7) << 5 | (1 + (n >> 3) % 3)),
                                (uint8_t)n, (uint8_t)(n >> 8), modrm_samples[m]};

            memcpy(b, two, sizeof(two));
            for (unsigned mode = EMU_PROT16; mode < NR_MODES; mode++)
                check(k, mode, b);
            memcpy(b, three, sizeof(three));
            for (unsigned mode = 0; mode < NR_MODES; mode++)
                check(k, mode, b);
        }
    }
    printf("%lu VEX forms accepted\n", k->accepted - before);
    assert_true(k->accepted - before > 4000);
}

/* ------------------------------------------------------------------ random */

static uint64_t random64(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545f4914f6cdd1dull;
}

static void fill_random(uint64_t *seed, uint8_t *b)
{
    uint64_t r[2] = {random64(seed), random64(seed)};

    memcpy(b, r, EMU_MAX_INSN);
}

static void test_random(void **state)
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e,
                                       0x26, 0x64, 0x65, 0x48, 0x44, 0x41, 0x4f, 0x0f};
    struct checker *k = *state;
    uint64_t seed = 0x7469746865;
    unsigned long before = k->accepted;

    for (unsigned n = 0; n < 3000000; n++) {
        uint8_t b[EMU_MAX_INSN];
        enum emu_mode mode = n % NR_MODES;

        fill_random(&seed, b);
        for (unsigned p = 0; p < (n >> 4) % 5; p++)
            b[p] = prefixes[b[p] % sizeof(prefixes)];
        if (check(k, mode, b) == EMU_DECODED && n % 4 == 0)
            check_truncated(k, mode, b);
    }
    printf("%lu of the random ones accepted\n", k->accepted - before);
    assert_true(k->accepted - before > 300000);
}

/* EVEX prefixes are too rare among random bytes. */
static void test_random_evex(void **state)
{
    static const uint8_t opcodes[] = {0x10, 0x11, 0x28, 0x29, 0x2b, 0x6f, 0x7f, 0xe7, 0x2a, 0x6e};
    struct checker *k = *state;
    uint64_t seed = 0x65766578;
    unsigned long before = k->accepted;

    for (unsigned n = 0; n < 300000; n++) {
        uint8_t b[EMU_MAX_INSN];

        fill_random(&seed, b);
        b[0] = 0x62;
        b[1] = (b[1] & 0xf0) | (1 + n % 2);
        b[2] |= n % 3 ? 0x7c : 0x04;
        b[3] = n % 5 ? (b[3] & 0x60) | 8 : b[3];
        b[4] = opcodes[b[4] % sizeof(opcodes)];
        check(k, EMU_LONG64, b);
        b[1] |= 0xf0;
        check(k, EMU_PROT32, b);
    }
    assert_true(k->accepted - before > 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supported),   cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_systematic),  cmocka_unit_test(test_sib),
        cmocka_unit_test(test_vex),         cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_evex),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
