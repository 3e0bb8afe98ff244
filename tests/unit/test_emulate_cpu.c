/*
 * The executor against the real processor: every operation, in random encodings with random
 * registers, flags and memory, run natively and emulated; registers, flags and memory must agree
 * but for the flags that the SDM leaves undefined.
 */
#include "tests/unit/emulate_native.h"
#include "emulate/decode.h"

#define ROUNDS_PER_OP  40000
#define MAX_CANDIDATES 3000

/* An opcode with its ModRM.reg digit and mandatory prefix, known to decode. */
struct candidate {
    uint8_t prefix; /* 0, 66, F3, F2 */
    uint8_t map;    /* 0: one byte, 1: 0F, 2: 0F 38 */
    uint8_t opcode;
    uint8_t digit;
};

static struct candidate candidates[EMU_NR_OPS][MAX_CANDIDATES];
static unsigned nr_candidates[EMU_NR_OPS];

/* The instruction under test and what surrounds it. */
struct trial {
    uint64_t *seed;
    uint8_t bytes[EMU_MAX_INSN];
    struct emu_insn insn;
    uint64_t target; /* the linear address that its memory operand is to have */
    uint8_t image[ARENA_SIZE];
};

static const uint8_t prefix_values[] = {0, 0x66, 0xf3, 0xf2};

static unsigned place_opcode(uint8_t *b, const struct candidate *k)
{
    unsigned n = 0;

    if (k->map)
        b[n++] = 0x0f;
    if (k->map == 2)
        b[n++] = 0x38;
    b[n++] = k->opcode;
    return n;
}

static void find_candidate(const struct candidate *k)
{
    uint8_t b[EMU_MAX_INSN] = {k->prefix};
    unsigned n = k->prefix != 0;
    struct emu_insn i;

    n += place_opcode(b + n, k);
    b[n] = k->digit << 3;
    if (emu_decode(EMU_LONG64, b, sizeof(b), &i) != EMU_DECODED)
        return;
    if (nr_candidates[i.op] < MAX_CANDIDATES)
        candidates[i.op][nr_candidates[i.op]++] = *k;
}

static int find_candidates(void **state)
{
    for (unsigned n = 0; n < 3 * 256 * 8; n++) {
        for (unsigned p = 0; p < ARRAY_SIZE(prefix_values); p++) {
            struct candidate k = {prefix_values[p], n >> 11, n >> 3 & 0xff, n & 7};

            find_candidate(&k);
        }
    }
    return native_setup(state);
}

/* ------------------------------------------------------------------ encodings */

static bool chance(struct trial *t, unsigned one_in)
{
    return random64(t->seed) % one_in == 0;
}

/* ModRM, SIB, displacement and immediate are random; some end in a register operand. */
static void random_tail(struct trial *t, uint8_t *b, unsigned n, unsigned digit, bool group)
{
    uint64_t r[2] = {random64(t->seed), random64(t->seed)};
    unsigned reg = group ? digit : random64(t->seed) & 7;

    memcpy(b + n, r, EMU_MAX_INSN - n);
    b[n] = (b[n] & 0xc7) | reg << 3;
    if (b[n] >> 6 == 3 && !chance(t, 3))
        b[n] &= 0x3f;
}

/* Does the digit choose the operation, or is it just a register? */
static bool is_group(const struct candidate *k)
{
    return (k->map == 0 && (k->opcode >= 0x80 || k->opcode == 0x8f)) || k->map == 1;
}

static void encode_legacy(struct trial *t, const struct candidate *k)
{
    static const uint8_t extra[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x65, 0x2e, 0x3e};
    uint8_t *b = t->bytes;
    unsigned n = 0;

    if (k->prefix)
        b[n++] = k->prefix;
    for (unsigned p = 0; p < ARRAY_SIZE(extra); p++) {
        if (chance(t, 8) && n < 3)
            b[n++] = extra[p];
    }
    if (!chance(t, 3))
        b[n++] = 0x40 | (random64(t->seed) & 15);
    n += place_opcode(b + n, k);
    random_tail(t, b, n, k->digit, is_group(k));
}

/* The same move as VEX or EVEX, for the vector operations. */
static void encode_vex(struct trial *t, const struct candidate *k, bool evex)
{
    unsigned pp = k->prefix == 0 ? 0 : k->prefix == 0x66 ? 1 : k->prefix == 0xf3 ? 2 : 3;
    uint64_t r = random64(t->seed);
    unsigned vvvv = k->opcode == 0x12 || k->opcode == 0x16 ? r & 0x78 : 0x78;
    uint8_t *b = t->bytes;
    unsigned n = 0;

    if (evex) {
        b[n++] = 0x62;
        b[n++] = (r >> 8 & 0xf0) | k->map;
        b[n++] = (r >> 16 & 0x80) | 0x7c | pp;
        b[n++] = (r >> 24) % 3 << 5 | 8;
    } else if (k->map == 1 && (r & 0x80)) {
        b[n++] = 0xc5;
        b[n++] = (r >> 8 & 0x84) | vvvv | pp;
    } else {
        b[n++] = 0xc4;
        b[n++] = (r >> 8 & 0xe0) | k->map;
        b[n++] = (r >> 16 & 0x84) | vvvv | pp;
    }
    b[n++] = k->opcode;
    random_tail(t, b, n, 0, false);
}

static void encode(struct trial *t, const struct candidate *k, enum emu_op op)
{
    unsigned level = native_best_level();
    uint64_t r = random64(t->seed) % 4;

    if (op < EMU_OP_VECTOR_LOAD || level < VECTORS_AVX || r == 0)
        return encode_legacy(t, k);
    encode_vex(t, k, level == VECTORS_AVX512 && r == 1);
}

/* ------------------------------------------------------------------ registers and memory */

/* Changes a 4-byte displacement, which lies right before the immediate. */
static void patch_disp(struct trial *t, int32_t disp)
{
    struct emu_insn i;

    for (unsigned at = 1; at + 4 <= t->insn.len; at++) {
        int32_t old;

        memcpy(&old, t->bytes + at, 4);
        if (old != (int32_t)t->insn.disp)
            continue;
        memcpy(t->bytes + at, &disp, 4);
        if (emu_decode(EMU_LONG64, t->bytes, EMU_MAX_INSN, &i) == EMU_DECODED && i.disp == disp &&
            i.len == t->insn.len && i.imm == t->insn.imm) {
            t->insn = i;
            return;
        }
        memcpy(t->bytes + at, &old, 4);
    }
}

static uint64_t segment_base(const struct trial *t)
{
    return t->insn.seg == EMU_GS ? GS_BASE : 0;
}

static uint64_t effective(const struct trial *t)
{
    struct emu_ctx c;
    struct emu_insn i = t->insn;

    memcpy(c.regs, native.regs, sizeof(c.regs));
    i.next_rip = ARENA_CODE + i.len;
    return emu_effective(&c, &i) + segment_base(t);
}

/* Makes the memory operand's address the target, by a register or the displacement. */
static bool aim(struct trial *t)
{
    struct emu_insn *i = &t->insn;
    bool fixed = i->base >= EMU_BASE_RIP || i->base == i->index;
    uint64_t delta;

    if (i->seg == EMU_FS)
        return false;
    if (i->index < EMU_NR_REGS && fixed)
        native.regs[i->index] &= 0xfff;
    delta = t->target - effective(t);
    if (!fixed)
        native.regs[i->base] += delta;
    else if (i->dst.kind == EMU_OPERAND_MEM || i->src.kind == EMU_OPERAND_MEM)
        patch_disp(t, (int32_t)(i->disp + (int64_t)delta));
    return effective(t) == t->target;
}

static bool aim_moffs(struct trial *t)
{
    uint64_t offset = t->target - segment_base(t);

    for (unsigned at = 1; at < 6; at++) {
        if ((t->bytes[at - 1] & 0xfc) != 0xa0)
            continue;
        memcpy(t->bytes + at, &offset, t->insn.addr_size);
        return emu_decode(EMU_LONG64, t->bytes, EMU_MAX_INSN, &t->insn) == EMU_DECODED &&
               effective(t) == t->target;
    }
    return false;
}

static bool uses_register(const struct emu_insn *i, unsigned reg)
{
    return i->base == reg || i->index == reg;
}

static bool is_memory(const struct emu_insn *i)
{
    return i->dst.kind == EMU_OPERAND_MEM || i->src.kind == EMU_OPERAND_MEM;
}

/* A bit offset in a register reaches some way up and down from the target. */
static bool prepare_bit(struct trial *t)
{
    const struct emu_insn *i = &t->insn;
    int64_t offset = (int64_t)(random64(t->seed) % 4096) - 2048;
    uint64_t *reg = &native.regs[i->src.reg];

    if (i->src.kind != EMU_OPERAND_REG || i->dst.kind != EMU_OPERAND_MEM)
        return true;
    if (uses_register(i, i->src.reg))
        return false;
    *reg = (*reg & ~emu_mask(i->op_size)) | ((uint64_t)offset & emu_mask(i->op_size));
    return true;
}

/* Dividends whose quotient fits come up often enough only when they are made. */
static void prepare_division(struct trial *t)
{
    uint64_t r = random64(t->seed) % 4;

    if (r == 0)
        return;
    native.regs[EMU_RDX] = r == 1 ? 0 : r == 2 ? UINT64_MAX : random64(t->seed) & 0xff;
    if (t->insn.op_size == 1 && r != 3)
        native.regs[EMU_RAX] = (int64_t)(int8_t)native.regs[EMU_RAX];
}

static void put(struct trial *t, uint64_t addr, uint64_t value)
{
    memcpy(t->image + (addr - ARENA_DATA), &value, 8);
}

/* Half of the comparisons should find what they expect. */
static void prepare_exchange(struct trial *t)
{
    if (!is_memory(&t->insn) || chance(t, 2))
        return;
    put(t, t->target, native.regs[EMU_RAX]);
    if (t->insn.op != EMU_OP_CMPXCHG8B)
        return;
    put(t, t->target + t->insn.dst.size / 2, native.regs[EMU_RDX]);
}

static bool prepare_branch(struct trial *t)
{
    const struct emu_insn *i = &t->insn;

    if (i->prefixes & EMU_PREFIX_OPSIZE) /* AMD's processors take it, Intel's do not */
        return false;
    if (is_memory(i))
        put(t, t->target, ARENA_LANDED);
    else
        native.regs[i->dst.reg] = ARENA_LANDED;
    return true;
}

static bool stack_usable(const struct trial *t)
{
    uint64_t rsp = native.regs[EMU_RSP];

    (void)t;
    return rsp >= ARENA_DATA + 64 && rsp <= ARENA_DATA + ARENA_SIZE - 64;
}

/* What the operation wants of its surroundings. False: not to be run natively. */
static bool prepare(struct trial *t)
{
    switch (t->insn.op) {
    case EMU_OP_BT ... EMU_OP_BTC:
        return prepare_bit(t);
    case EMU_OP_SHLD ... EMU_OP_SHRD:
        if (t->insn.op_size != 2)
            return true;
        if (t->insn.src2.kind == EMU_OPERAND_IMM)
            return (t->insn.imm & 31) <= 16;
        return (native.regs[EMU_RCX] & 31) <= 16;
    case EMU_OP_CMPXCHG ... EMU_OP_CMPXCHG8B:
        prepare_exchange(t);
        return true;
    case EMU_OP_CALL:
        return prepare_branch(t) && stack_usable(t);
    case EMU_OP_JMP:
        return prepare_branch(t);
    case EMU_OP_PUSH ... EMU_OP_POP:
        return stack_usable(t);
    case EMU_OP_IN ... EMU_OP_OUT:
    case EMU_OP_MOVS ... EMU_OP_OUTS:
        return false;
    default:
        return true;
    }
}

static void random_registers(struct trial *t)
{
    for (unsigned n = 0; n < EMU_NR_REGS; n++)
        native.regs[n] = random_value(t->seed);
    native.regs[EMU_RSP] = ARENA_TARGET + 8 * (random64(t->seed) % 32);
    native.rflags = (random64(t->seed) & EMU_ARITHMETIC_FLAGS) | BIT(1) | BIT(9);
    native.level = VECTORS_NONE;
    if (t->insn.op < EMU_OP_VECTOR_LOAD)
        return;
    native.level = native_best_level();
    for (unsigned n = 0; n < NR_VECTORS; n++) {
        for (unsigned k = 0; k < 8; k++) {
            uint64_t v = random64(t->seed);

            memcpy(&native.vectors[n][8 * k], &v, 8);
        }
    }
}

/* Registers and memory for a decoded instruction. False: try another. */
static bool set_up(struct trial *t)
{
    struct emu_insn *i = &t->insn;
    uint64_t value = random_value(t->seed);
    bool aligned = i->op == EMU_OP_CMPXCHG8B || (i->op >= EMU_OP_VECTOR_LOAD && i->aligned);

    random_registers(t);
    if (i->op == EMU_OP_DIV || i->op == EMU_OP_IDIV)
        prepare_division(t);
    t->target = ARENA_TARGET + random64(t->seed) % 64;
    if (aligned)
        t->target &= ~63ul;
    if (i->op == EMU_OP_XLAT)
        native.regs[EMU_RBX] = t->target - segment_base(t);
    else if (is_memory(i) && i->base == EMU_NO_REG && i->addr_size == 8 && i->index == EMU_NO_REG &&
             aim_moffs(t))
        ;
    else if (is_memory(i) && !aim(t))
        return false;
    if (i->seg == EMU_FS)
        return false;
    put(t, t->target, value);
    return prepare(t);
}

/* ------------------------------------------------------------------ flags */

static unsigned shift_count(const struct trial *t, const struct native_state *before)
{
    const struct emu_insn *i = &t->insn;
    bool twice = i->op == EMU_OP_SHLD || i->op == EMU_OP_SHRD;
    const struct emu_operand *count = twice ? &i->src2 : &i->src;
    uint64_t v = count->kind == EMU_OPERAND_IMM ? (uint64_t)i->imm : before->regs[EMU_RCX];

    return v & (i->op_size == 8 ? 63 : 31);
}

static uint64_t undefined_after_shift(const struct trial *t, const struct native_state *before)
{
    unsigned count = shift_count(t, before), bits = 8 * t->insn.op_size;
    uint64_t undefined = count > 1 ? EMU_OF : 0;

    if (count == 0)
        return 0;
    if (t->insn.op <= EMU_OP_RCR)
        return undefined;
    if ((t->insn.op == EMU_OP_SHL || t->insn.op == EMU_OP_SHR) && count >= bits)
        undefined |= EMU_CF;
    return undefined | EMU_AF;
}

static uint64_t undefined_flags(const struct trial *t, const struct native_state *before)
{
    switch (t->insn.op) {
    case EMU_OP_AND:
    case EMU_OP_OR:
    case EMU_OP_XOR:
    case EMU_OP_TEST:
        return EMU_AF;
    case EMU_OP_ROL ... EMU_OP_SHRD:
        return undefined_after_shift(t, before);
    case EMU_OP_MUL:
    case EMU_OP_IMUL_WIDE:
    case EMU_OP_IMUL:
        return EMU_SF | EMU_ZF | EMU_AF | EMU_PF;
    case EMU_OP_DIV:
    case EMU_OP_IDIV:
        return EMU_ARITHMETIC_FLAGS;
    case EMU_OP_BT ... EMU_OP_BTC:
        return EMU_OF | EMU_SF | EMU_AF | EMU_PF;
    default:
        return 0;
    }
}

/* ------------------------------------------------------------------ the test */

static const char *compare_outcome(const struct trial *t, struct emulated *e,
                                   enum emu_result result, const struct native_state *before)
{
    if (e->strayed)
        return "address";
    if (native.faulted) /* the flags in the signal frame are not the interrupted ones */
        return result == EMU_FAULT && e->ctx.fault.vector == EMU_VECTOR_DE ? NULL : "fault";
    if (result != EMU_OK)
        return "result";
    if (e->ctx.rip != (native.landed ? ARENA_LANDED : ARENA_CODE + t->insn.len))
        return "RIP";
    return native_difference(e, undefined_flags(t, before));
}

static bool run_trial(struct trial *t, const struct candidate *k, enum emu_op op)
{
    static struct emulated e;
    struct native_state before;
    const char *differs;
    enum emu_result r;

    encode(t, k, op);
    if (emu_decode(EMU_LONG64, t->bytes, EMU_MAX_INSN, &t->insn) != EMU_DECODED ||
        t->insn.op != op || !set_up(t))
        return false;
    before = native;
    emulated_init(&e, t->image);
    r = emu_step(&e.ctx, t->bytes, EMU_MAX_INSN);
    native_execute(t->bytes, t->insn.len, t->image);
    differs = compare_outcome(t, &e, r, &before);
    if (differs) {
        native_explain(t->bytes, t->insn.len, &e, &before, differs);
        fprintf(stderr, "operation %d, result %d, target %#lx\n", (int)op, (int)r, t->target);
        fail();
    }
    return true;
}

/* Runs of one operation must have had memory operands, and every size that it comes in. */
struct coverage {
    unsigned memory, registers, locked, faulted;
    unsigned sizes; /* all operand sizes that were there, or-ed: they are powers of two */
};

static void count(struct coverage *v, const struct emu_insn *i)
{
    if (is_memory(i))
        v->memory++;
    else
        v->registers++;
    if (i->prefixes & EMU_PREFIX_LOCK)
        v->locked++;
    if (native.faulted)
        v->faulted++;
    v->sizes |= i->op_size;
}

#define ALL_SIZES  (1 | 2 | 4 | 8)
#define WORD_SIZES (2 | 4 | 8)

static unsigned expected_sizes(enum emu_op op)
{
    switch (op) {
    case EMU_OP_SETCC:
    case EMU_OP_XLAT:
        return 1;
    case EMU_OP_PUSH:
    case EMU_OP_POP:
        return 2 | 8;
    case EMU_OP_CALL:
    case EMU_OP_JMP:
        return 8;
    case EMU_OP_VECTOR_LOAD:
    case EMU_OP_VECTOR_STORE:
        return native_best_level() == VECTORS_AVX512 ? 4 | 8 | 16 | 32 | 64 : 4 | 8 | 16;
    case EMU_OP_VECTOR_LOAD_LOW ... EMU_OP_VECTOR_STORE_HIGH:
        return 8;
    case EMU_OP_SHLD ... EMU_OP_SHRD:
    case EMU_OP_IMUL:
    case EMU_OP_BT ... EMU_OP_BTC:
    case EMU_OP_CMPXCHG8B:
    case EMU_OP_MOVZX ... EMU_OP_MOVBE:
    case EMU_OP_CMOVCC:
        return WORD_SIZES;
    default:
        return ALL_SIZES;
    }
}

static void run_operation(enum emu_op op, uint64_t *seed)
{
    struct trial t = {.seed = seed};
    struct coverage v = {0};
    unsigned done = 0;

    random_image(seed, t.image);
    for (unsigned n = 0; done < ROUNDS_PER_OP; n++) {
        if (n == 40 * ROUNDS_PER_OP)
            fail_msg("operation %u: too few encodings can be run", op);
        if (!run_trial(&t, &candidates[op][random64(seed) % nr_candidates[op]], op))
            continue;
        count(&v, &t.insn);
        done++;
    }
    assert_int_equal(v.sizes & expected_sizes(op), expected_sizes(op));
    assert_true(op == EMU_OP_XLAT || v.memory > ROUNDS_PER_OP / 3);
    if (op == EMU_OP_DIV || op == EMU_OP_IDIV)
        assert_true(v.faulted > 100 && v.faulted < ROUNDS_PER_OP / 2);
    if (op == EMU_OP_ADD || op == EMU_OP_XCHG || op == EMU_OP_CMPXCHG8B)
        assert_true(v.locked > 100);
}

static void test_operations(void **state)
{
    uint64_t seed = 0x637075;

    (void)state;
    native_catch_sigfpe();
    for (unsigned op = EMU_OP_ADD; op < EMU_NR_OPS; op++) {
        if (op >= EMU_OP_MOVS && op <= EMU_OP_OUT)
            continue; /* strings have their own test; ports cannot be used here */
        assert_true(nr_candidates[op] > 0);
        run_operation(op, &seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operations)};

    return cmocka_run_group_tests(tests, find_candidates, NULL);
}
