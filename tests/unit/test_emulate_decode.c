/*
 * The instruction decoder against Zydis: whatever it accepts, Zydis must accept with the same
 * length, operation, sizes, registers, immediate and memory operand. What it must accept is in
 * a list of its own, so that refusing everything does not pass.
 */
#include "tests/unit/emulate_zydis.h"

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
