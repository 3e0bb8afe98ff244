/* The opcode maps: data only. Opcodes that are not listed are EMU_OP_UNKNOWN. */
#include "emulate/opcodes.h"

/* clang-format off */

#define BYTE  EMU_OPCODE_BYTE
#define LOCK  EMU_OPCODE_LOCK
#define D64   EMU_OPCODE_DEFAULT64
#define F64   EMU_OPCODE_FORCE64
#define N64   EMU_OPCODE_NOT_LONG
#define MEM   EMU_OPCODE_MEMORY
#define NP    EMU_OPCODE_NO_PREFIX
#define MAX32 EMU_OPCODE_MAX32

#define OP(o, f)            {EMU_OP_##o, EMU_FORM_##f, 0, 0}
#define OPF(o, f, flags)    {EMU_OP_##o, EMU_FORM_##f, 0, flags}
#define GROUP(g, f, flags)  {EMU_OP_UNKNOWN, EMU_FORM_##f, EMU_GROUP_##g, flags}
#define SPECIAL(f)          {EMU_OP_UNKNOWN, EMU_FORM_##f, 0, 0}
#define VECTOR(row)         {EMU_OP_UNKNOWN, EMU_FORM_VECTOR, EMU_VECTOR_##row, 0}

/* The pair "byte operand, full operand" that most opcodes come in. */
#define PAIR(n, o, f, flags) \
    [n] = OPF(o, f, (flags) | BYTE), [(n) + 1] = OPF(o, f, flags)

/* The six encodings of each of ADD, OR, ADC, SBB, AND, SUB, XOR. */
#define ARITHMETIC(n, o) \
    PAIR(n, o, RM_R, LOCK), PAIR((n) + 2, o, R_RM, 0), PAIR((n) + 4, o, A_IMM, 0)

const struct emu_opcode emu_opcode_map1[256] = {
    ARITHMETIC(0x00, ADD), ARITHMETIC(0x08, OR), ARITHMETIC(0x10, ADC), ARITHMETIC(0x18, SBB),
    ARITHMETIC(0x20, AND), ARITHMETIC(0x28, SUB), ARITHMETIC(0x30, XOR),
    PAIR(0x38, CMP, RM_R, 0), PAIR(0x3a, CMP, R_RM, 0), PAIR(0x3c, CMP, A_IMM, 0),
    [0x0f] = SPECIAL(ESCAPE),
    [0x26] = SPECIAL(PREFIX), [0x2e] = SPECIAL(PREFIX), [0x36] = SPECIAL(PREFIX),
    [0x3e] = SPECIAL(PREFIX), [0x64] = SPECIAL(PREFIX), [0x65] = SPECIAL(PREFIX),
    [0x66] = SPECIAL(PREFIX), [0x67] = SPECIAL(PREFIX), [0xf0] = SPECIAL(PREFIX),
    [0xf2] = SPECIAL(PREFIX), [0xf3] = SPECIAL(PREFIX),
    [0x40 ... 0x4f] = SPECIAL(REX),
    [0x62] = SPECIAL(EVEX),
    [0x63] = OP(MOVSX, R_RM32), /* MOVSXD in 64-bit mode; else ARPL, which the decoder refuses */
    [0x69] = OP(IMUL, R_RM_IMM), [0x6b] = OP(IMUL, R_RM_IMM8),
    PAIR(0x6c, INS, STRING, MAX32), PAIR(0x6e, OUTS, STRING, MAX32),
    [0x80] = GROUP(1, RM_IMM, BYTE), [0x81] = GROUP(1, RM_IMM, 0),
    [0x82] = GROUP(1, RM_IMM, BYTE | N64), [0x83] = GROUP(1, RM_IMM8, 0),
    PAIR(0x84, TEST, RM_R, 0), PAIR(0x86, XCHG, RM_R, LOCK),
    PAIR(0x88, MOV, RM_R, 0), PAIR(0x8a, MOV, R_RM, 0),
    [0x8c] = OPF(MOV, RM_SREG, EMU_OPCODE_SREG),
    [0x8f] = GROUP(1A, RM, D64),
    PAIR(0xa0, MOV, A_MOFFS, 0), PAIR(0xa2, MOV, MOFFS_A, 0),
    PAIR(0xa4, MOVS, STRING, 0), PAIR(0xa6, CMPS, STRING, 0),
    PAIR(0xa8, TEST, A_IMM, 0),
    PAIR(0xaa, STOS, STRING, 0), PAIR(0xac, LODS, STRING, 0), PAIR(0xae, SCAS, STRING, 0),
    [0xc0] = GROUP(2, RM_IMM8, BYTE), [0xc1] = GROUP(2, RM_IMM8, 0),
    [0xc4] = SPECIAL(VEX3), [0xc5] = SPECIAL(VEX2),
    [0xc6] = GROUP(11, RM_IMM, BYTE), [0xc7] = GROUP(11, RM_IMM, 0),
    [0xd0] = GROUP(2, RM_1, BYTE), [0xd1] = GROUP(2, RM_1, 0),
    [0xd2] = GROUP(2, RM_CL, BYTE), [0xd3] = GROUP(2, RM_CL, 0),
    [0xd7] = OPF(XLAT, XLAT, BYTE),
    PAIR(0xe4, IN, A_IMM8, MAX32), PAIR(0xe6, OUT, A_IMM8, MAX32),
    PAIR(0xec, IN, A_DX, MAX32), PAIR(0xee, OUT, A_DX, MAX32),
    [0xf6] = GROUP(3, RM, BYTE), [0xf7] = GROUP(3, RM, 0),
    [0xfe] = GROUP(4, RM, BYTE), [0xff] = GROUP(5, RM, 0),
};

const struct emu_opcode emu_opcode_map0f[256] = {
    [0x10] = VECTOR(10), [0x11] = VECTOR(11), [0x12] = VECTOR(12), [0x13] = VECTOR(13),
    [0x16] = VECTOR(16), [0x17] = VECTOR(17),
    [0x28] = VECTOR(28), [0x29] = VECTOR(29), [0x2b] = VECTOR(2B),
    [0x38] = SPECIAL(ESCAPE),
    [0x40 ... 0x4f] = OP(CMOVCC, R_RM),
    [0x6e] = VECTOR(6E), [0x6f] = VECTOR(6F), [0x7e] = VECTOR(7E), [0x7f] = VECTOR(7F),
    [0x90 ... 0x9f] = OPF(SETCC, RM, BYTE),
    [0xa3] = OP(BT, RM_R), [0xab] = OPF(BTS, RM_R, LOCK),
    [0xb3] = OPF(BTR, RM_R, LOCK), [0xbb] = OPF(BTC, RM_R, LOCK),
    [0xa4] = OP(SHLD, RM_R_IMM8), [0xa5] = OP(SHLD, RM_R_CL),
    [0xac] = OP(SHRD, RM_R_IMM8), [0xad] = OP(SHRD, RM_R_CL),
    [0xaf] = OP(IMUL, R_RM),
    PAIR(0xb0, CMPXCHG, RM_R, LOCK), PAIR(0xc0, XADD, RM_R, LOCK),
    [0xb6] = OP(MOVZX, R_RM8), [0xb7] = OP(MOVZX, R_RM16),
    [0xbe] = OP(MOVSX, R_RM8), [0xbf] = OP(MOVSX, R_RM16),
    [0xba] = GROUP(8, RM_IMM8, 0),
    [0xc3] = OPF(MOV, RM_R, MEM | NP), /* MOVNTI */
    [0xc7] = GROUP(9, RM, 0),
    [0xd6] = VECTOR(D6), [0xe7] = VECTOR(E7), [0xf0] = VECTOR(F0),
};

#define IN_GROUP(o)                  {EMU_OP_##o, EMU_FORM_NONE, 0, 0}
#define IN_GROUP_FLAGS(o, flags)     {EMU_OP_##o, EMU_FORM_NONE, 0, flags}
#define UD                           {EMU_OP_UNDEFINED, EMU_FORM_NONE, 0, EMU_OPCODE_UNDEFINED}

const struct emu_opcode emu_opcode_groups[EMU_NR_GROUPS][8] = {
    [EMU_GROUP_1] = {
        IN_GROUP_FLAGS(ADD, LOCK), IN_GROUP_FLAGS(OR, LOCK), IN_GROUP_FLAGS(ADC, LOCK),
        IN_GROUP_FLAGS(SBB, LOCK), IN_GROUP_FLAGS(AND, LOCK), IN_GROUP_FLAGS(SUB, LOCK),
        IN_GROUP_FLAGS(XOR, LOCK), IN_GROUP(CMP),
    },
    [EMU_GROUP_1A] = {IN_GROUP(POP), [1 ... 7] = UD},
    [EMU_GROUP_2] = {
        IN_GROUP(ROL), IN_GROUP(ROR), IN_GROUP(RCL), IN_GROUP(RCR),
        IN_GROUP(SHL), IN_GROUP(SHR), IN_GROUP(SHL), IN_GROUP(SAR),
    },
    [EMU_GROUP_3] = {
        OP(TEST, RM_IMM), OP(TEST, RM_IMM), IN_GROUP_FLAGS(NOT, LOCK), IN_GROUP_FLAGS(NEG, LOCK),
        IN_GROUP(MUL), IN_GROUP(IMUL_WIDE), IN_GROUP(DIV), IN_GROUP(IDIV),
    },
    [EMU_GROUP_4] = {
        IN_GROUP_FLAGS(INC, LOCK), IN_GROUP_FLAGS(DEC, LOCK), [2 ... 7] = UD,
    },
    [EMU_GROUP_5] = { /* /3 and /5 are the far forms */
        IN_GROUP_FLAGS(INC, LOCK), IN_GROUP_FLAGS(DEC, LOCK),
        IN_GROUP_FLAGS(CALL, F64), IN_GROUP(UNKNOWN), IN_GROUP_FLAGS(JMP, F64), IN_GROUP(UNKNOWN),
        IN_GROUP_FLAGS(PUSH, D64), UD,
    },
    [EMU_GROUP_8] = {
        [0 ... 3] = UD, IN_GROUP(BT), IN_GROUP_FLAGS(BTS, LOCK),
        IN_GROUP_FLAGS(BTR, LOCK), IN_GROUP_FLAGS(BTC, LOCK),
    },
    [EMU_GROUP_9] = {[1] = IN_GROUP_FLAGS(CMPXCHG8B, LOCK | MEM)},
    [EMU_GROUP_11] = { /* /7 with a register is XABORT and XBEGIN */
        IN_GROUP(MOV), [1 ... 6] = UD, IN_GROUP(UNKNOWN),
    },
};

#define ALIGNED EMU_VECTOR_ALIGNED
#define BY_W    EMU_VECTOR_BY_W
#define L0      EMU_VECTOR_L0
#define MERGE   EMU_VECTOR_MERGE
#define W0      EMU_VECTOR_EVEX_W0
#define W1      EMU_VECTOR_EVEX_W1
#define ONLY_EVEX EMU_VECTOR_NO_VEX

#define LOAD(size, flags)   {EMU_OP_VECTOR_LOAD, size, flags}
#define STORE(size, flags)  {EMU_OP_VECTOR_STORE, size, flags}
#define LOW                 {EMU_OP_VECTOR_LOAD_LOW, 8, L0 | MERGE}
#define HIGH                {EMU_OP_VECTOR_LOAD_HIGH, 8, L0 | MERGE}
#define NONE                {EMU_OP_UNKNOWN, 0, 0}

const struct emu_vector_move emu_vector_map[EMU_NR_VECTOR_ROWS][4] = {
    /* none, 66, F3, F2 */
    [EMU_VECTOR_10] = {LOAD(0, W0), LOAD(0, W1), LOAD(4, 0), LOAD(8, 0)},
    [EMU_VECTOR_11] = {STORE(0, W0), STORE(0, W1), STORE(4, 0), STORE(8, 0)},
    [EMU_VECTOR_12] = {LOW, LOW, NONE, NONE},
    [EMU_VECTOR_13] = {STORE(8, L0), STORE(8, L0), NONE, NONE},
    [EMU_VECTOR_16] = {HIGH, HIGH, NONE, NONE},
    [EMU_VECTOR_17] = {{EMU_OP_VECTOR_STORE_HIGH, 8, L0}, {EMU_OP_VECTOR_STORE_HIGH, 8, L0},
                       NONE, NONE},
    [EMU_VECTOR_28] = {LOAD(0, ALIGNED | W0), LOAD(0, ALIGNED | W1), NONE, NONE},
    [EMU_VECTOR_29] = {STORE(0, ALIGNED | W0), STORE(0, ALIGNED | W1), NONE, NONE},
    [EMU_VECTOR_2B] = {STORE(0, ALIGNED | W0), STORE(0, ALIGNED | W1), NONE, NONE},
    [EMU_VECTOR_6E] = {NONE, LOAD(0, BY_W | L0), NONE, NONE},
    [EMU_VECTOR_6F] = {NONE, LOAD(0, ALIGNED | W0 | W1), LOAD(0, W0 | W1),
                       LOAD(0, W0 | W1 | ONLY_EVEX)},
    [EMU_VECTOR_7E] = {NONE, STORE(0, BY_W | L0), LOAD(8, L0), NONE},
    [EMU_VECTOR_7F] = {NONE, STORE(0, ALIGNED | W0 | W1), STORE(0, W0 | W1),
                       STORE(0, W0 | W1 | ONLY_EVEX)},
    [EMU_VECTOR_D6] = {NONE, STORE(8, L0), NONE, NONE},
    [EMU_VECTOR_E7] = {NONE, STORE(0, ALIGNED | W0), NONE, NONE},
    [EMU_VECTOR_F0] = {NONE, NONE, NONE, LOAD(0, 0)},
    [EMU_VECTOR_38_2A] = {NONE, LOAD(0, ALIGNED | W0), NONE, NONE},
};
/* clang-format on */
